//! The ready workflows: they are sound, compute what is known to be right, and do nothing the second time.

use std::fs;
use std::path::Path;

use crate::arena::World;

/// Copies `workflows/` without results.
pub(crate) fn copy_workflows(world: &World) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("workflows");
    let wanted = |entry: &walkdir::DirEntry| {
        entry.depth() != 1 || !["results", ".csync"].iter().any(|name| entry.file_name() == *name)
    };
    for entry in walkdir::WalkDir::new(&from).into_iter().filter_entry(wanted) {
        let entry = entry.expect("workflows/ is readable");
        if entry.file_type().is_file() {
            let path = entry.path().strip_prefix(&from).expect("walked from there");
            world.write(path, fs::read(entry.path()).expect("a file of workflows/"));
        }
    }
}

fn ready() -> World {
    let world = World::new();
    copy_workflows(&world);
    world
}

#[test]
fn all_of_them_pass_the_check() {
    let world = ready();
    let files: Vec<_> = fs::read_dir(world.work())
        .expect("the copy is readable")
        .filter_map(|entry| entry.expect("an entry").file_name().into_string().ok())
        .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "toml"))
        .collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        if file == "variants.toml" && !Path::new("/usr/share/doc/bowtie2/examples/reads/reads_1.fq.gz").exists() {
            continue; // Its inputs are checked where they are: needs_bio.
        }
        world.csync(&["check", &file]).code(0);
    }
}

#[test]
fn quickstart_finds_what_is_known_of_lambda() {
    let world = ready();
    world.csync(&["submit", "quickstart.toml"]).code(0);
    let report = world.read("results/quickstart/report.txt");
    for known in [
        "48502 bases, 49.86 % G+C",
        // Of every textbook: five cuts of EcoRI.
        "EcoRI     6: 21226 4878 5643 7421 5804 3530",
        // Six cuts of HindIII; the marker sold has a seventh, of its mutant repressor gene.
        "HindIII   7: 23130 2027 2322 9416 564 6682 4361",
        "29 of 29 known genes are among them",
    ] {
        assert!(report.contains(known), "`{known}` is missing:\n{report}");
    }
    assert!(report.lines().all(|line| line.chars().count() <= 120), "a person can read it");

    world.csync(&["submit", "quickstart.toml"]).code(0);
    let counts = world.detail("last").summary.counts;
    assert_eq!(counts.cached, counts.total(), "{counts:?}");
}

#[test]
fn sweep_draws_a_map_and_runs_again_what_a_parameter_changes() {
    let world = ready();
    world.csync(&["submit", "sweep.toml"]).code(0);
    assert_eq!(world.counts(), "51 done");
    let peaks = world.read("results/sweep/peaks.tsv");
    // The peak of an epidemic depends on beta / gamma alone: 1 - (1 + ln R) / R for nearly everybody susceptible.
    let peak_of = |beta: &str, gamma: &str| {
        let start = format!("{beta}\t{gamma}\t");
        let line = peaks.lines().find_map(|line| line.strip_prefix(&start)).expect("a line for every pair");
        line.split('\t').next().and_then(|peak| peak.parse::<f64>().ok()).expect("a share")
    };
    for (beta, gamma, ratio) in [("0.8", "0.1", 8.0_f64), ("0.6", "0.2", 3.0), ("0.5", "0.25", 2.0)] {
        let expected = 1.0 - (1.0 + ratio.ln()) / ratio;
        assert!((peak_of(beta, gamma) - expected).abs() < 0.002, "{beta} {gamma}: {peaks}");
    }
    assert!(world.read("results/sweep/peaks.svg").ends_with("</svg>\n"));

    world.csync(&["submit", "sweep.toml"]).code(0);
    assert_eq!(world.counts(), "51 cached");
    world.csync(&["submit", "sweep.toml", "-p", "days=100"]).code(0);
    assert_eq!(world.counts(), "51 done");
}
