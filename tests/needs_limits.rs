//! A Slurm whose nodes hold memory limits by control groups, as clusters do: the kernel kills, Slurm says `OUT_OF_MEMORY`, csync
//! asks for more. Its daemons trust each other by munge. Needs root.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::bed::Bed;
use crate::far::{configure, nothing_left};
use crate::world::until;

/// Takes that many MiB, then says so.
const HOG: &str = "import sys\nx = bytearray(int(sys.argv[1]) << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\nprint(len(x) >> 20)\n";

/// By the login node on which nothing else of Slurm runs.
const HOSTS: &str = "[hosts.hpc]\nssh = \"login2\"\npolicy = { connections_per_minute = 60 }\n";

fn bed() -> Bed {
    let bed = Bed::own(&["slurm", "munge", "cgroup"]);
    configure(&bed, HOSTS);
    bed.csync(&["hosts", "probe", "hpc"]).exits(0);
    bed.write("hog.py", HOG);
    bed
}

/// Writes a workflow of one task with these resources and further lines.
fn write(bed: &Bed, file: &str, run: &str, mem: &str, more: &str) {
    bed.write(
        file,
        format!(
            "name = \"w\"\n[tasks.t]\ninputs = [\"hog.py\"]\noutputs = [\"made\"]\nrun = \"{run}\"\non = \"hpc\"\n{more}\n\
             resources = {{ cpus = 1, mem = \"{mem}\", time = \"5m\" }}\n"
        ),
    );
}

/// The groups that the bed made in the machine.
fn groups(bed: &Bed) -> Vec<PathBuf> {
    let name = fs::read_to_string(bed.dir().join("cgroup")).unwrap();
    let dirs = ["memory", "freezer"].map(|kind| PathBuf::from(format!("/sys/fs/cgroup/{kind}/{}", name.trim())));
    assert!(dirs.iter().all(|dir| dir.join("n1").is_dir()), "{dirs:?}");
    dirs.into()
}

/// What Slurm says of all its jobs, in their order: how each ended, and the memory that it had asked for.
fn slurm_says(bed: &Bed) -> Vec<String> {
    let say =
        "scontrol -o show job | sort -t= -k2n | sed 's/.* JobState=\\([A-Z_]*\\) .*,mem=\\([0-9.]*[MG]\\),.*/\\1 \\2/'";
    bed.on("login", say).exits(0).out.lines().map(str::to_owned).collect()
}

/// The attempts of a run's task.
fn attempts(bed: &Bed, run: &str) -> Vec<Value> {
    let shown = bed.csync(&["show", run, "t", "--json"]).exits(0).json();
    shown["instances"][0]["attempts"].as_array().unwrap().clone()
}

const MIB: u64 = 1 << 20;

#[test]
fn what_slurm_ends_for_its_memory_asks_for_more_and_succeeds() {
    let bed = bed();
    write(&bed, "workflow.toml", "python3 hog.py 150 > {outputs}", "100MB", "retries = 1");
    bed.csync(&["submit"]).exits(0);
    assert_eq!(bed.read("made"), "150\n");
    assert_eq!(slurm_says(&bed), ["OUT_OF_MEMORY 100M", "COMPLETED 200M"]);
    let both = attempts(&bed, "1");
    let peaks: Vec<u64> = both.iter().map(|it| it["usage"]["peak_memory"].as_u64().unwrap() / MIB).collect();
    assert!(matches!(peaks[..], [95..=100, 150..=200]), "{peaks:?}");
    for (attempt, outcome, mem) in [(&both[0], "oom", 100), (&both[1], "success", 200)] {
        assert_eq!(attempt["outcome"]["class"], outcome, "{attempt}");
        assert_eq!(attempt["grant"]["mem"], mem * MIB, "{attempt}");
        assert_eq!(attempt["usage"]["meter"], "cgroup", "{attempt}");
    }
    let why = bed.csync(&["why", "1", "t"]).exits(0).out;
    assert!(why.contains("attempt 1 ended before: it used more than its memory, 100M"), "{why}");

    // Left to csync, who knows nothing yet: the partition's own limit ends the first, and the others ask for more than was seen.
    write(&bed, "workflow.toml", "python3 hog.py 300 > {outputs}", "auto", "retries = 1");
    bed.csync(&["submit"]).exits(0);
    assert_eq!(bed.read("made"), "300\n");
    let all = attempts(&bed, "2");
    let said = slurm_says(&bed).split_off(2);
    assert_eq!(said.len(), all.len());
    let (last, before) = said.split_last().unwrap();
    assert!(last.starts_with("COMPLETED "), "{said:?}");
    assert!(!before.is_empty() && before.iter().all(|it| it.starts_with("OUT_OF_MEMORY ")), "{said:?}");
    assert!(all.iter().all(|attempt| attempt["usage"]["meter"] == "cgroup"), "{all:?}");

    nothing_left(&bed, "login");
    let groups = groups(&bed);
    drop(bed);
    until("no control group is left", || groups.iter().all(|dir| !dir.exists()));
}

#[test]
fn a_script_that_goes_on_without_what_was_killed_has_not_succeeded_though_slurm_says_nothing() {
    let bed = bed();
    let trace = bed.scratch("login");
    let run = format!(
        "touch {trace}/up; until [ -e {trace}/go ]; do sleep 0.1; done; python3 hog.py 300 || true; echo made > {{outputs}}"
    );
    write(&bed, "workflow.toml", &run, "100MB", "");
    bed.csync(&["submit", "--detach"]).exits(0);
    until("it runs", || bed.on("login", &format!("test -e {trace}/up")).code == 0);
    // Who would say OUT_OF_MEMORY cannot be asked: the wrapper's own count is all that tells.
    bed.now("stop-part munged-login2");
    bed.on("login", &format!("touch {trace}/go")).exits(0);
    bed.csync(&["wait", "last"]).exits(1);
    let why = bed.csync(&["why", "last", "t"]).exits(0).out;
    for words in ["it used more than its memory, 100M", "and exited with 0", "resources.mem = \"200M\""] {
        assert!(why.contains(words), "`{words}` is missing: {why}");
    }
    bed.now("start-part munged-login2");
    until("Slurm says it too", || slurm_says(&bed) == ["OUT_OF_MEMORY 100M"]);
    nothing_left(&bed, "login");
}
