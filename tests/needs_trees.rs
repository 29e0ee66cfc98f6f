//! What jobs on hosts find there is what is here: nothing of another csync, nothing that is no longer here, nothing less.

use std::fs;
use std::process::Command;

use crate::bed::Bed;
use crate::far::{configure, state_id};
use crate::world::{Done, until};

const LAB: &str = "[hosts.lab]\nssh = \"station\"\nbatch = \"none\"\npolicy = { connections_per_minute = 60 }\n";

/// Returns a command of a second csync on the laptop, which plays another machine: with a state of its own.
fn other(bed: &Bed, args: &[&str]) -> Command {
    let state = format!("CSYNC_STATE={}", bed.home().join("other-state").display());
    let mut command = bed.laptop(&["env", &state, "CSYNC_CPUS=2", env!("CARGO_BIN_EXE_csync")]);
    command.args(args);
    command
}

#[test]
fn two_machines_with_one_account_on_a_host_share_no_inputs() {
    let bed = Bed::shared();
    configure(&bed, LAB);
    let other = |args: &[&str]| -> Done { other(&bed, args).output().unwrap().into() };
    let trace = bed.scratch("station");
    // The same path here as there, as on a laptop and a desktop of one person; not the same content.
    let task = |name: &str, wait: &str| {
        format!(
            "name = \"{name}\"\n[tasks.t]\ninputs = [\"in\", \"dir\"]\nrun = \"{wait}cat in dir/*\"\non = \"lab\"\nresources = {{ time = \"5m\" }}\n"
        )
    };
    bed.write("in", "laptop\n");
    bed.write("dir/one", "of the laptop\n");
    let wait = format!("touch {trace}/runs; until [ -e {trace}/go ]; do sleep 0.1; done; ");
    bed.write("workflow.toml", task("laptop", &wait));
    bed.csync(&["submit", "--detach"]).exits(0);
    until("it runs", || bed.on("station", &format!("[ -e {trace}/runs ]")).code == 0);
    bed.write("in", "desktop\n");
    fs::rename(bed.path("dir/one"), bed.path("one")).unwrap();
    bed.write("dir/two", "of the desktop\n");
    bed.write("workflow.toml", task("desktop", ""));
    other(&["submit"]).exits(0);
    let log = other(&["logs", "last", "t", "--stdout"]).exits(0).out;
    assert_eq!(log, "desktop\nof the desktop\n");
    bed.on("station", &format!("touch {trace}/go")).exits(0);
    bed.csync(&["wait", "last"]).exits(0);
    let log = bed.csync(&["logs", "last", "t", "--stdout"]).exits(0).out;
    assert_eq!(log, "laptop\nof the laptop\n");
    // What the one has there the other does not clear away, and its own is all gone.
    let id = state_id(&bed);
    let mine = || bed.on("station", &format!("ls -dA ~/.csync/trees/*{id}* 2>/dev/null")).out;
    other(&["engine", "stop"]).exits(0);
    other(&["clean", "--on", "lab", "--inputs", "--yes"]).exits(0);
    assert_eq!(mine().lines().count(), 1, "{}", mine());
    bed.csync(&["clean", "--on", "lab", "--inputs", "--yes"]).exits(0);
    assert_eq!(mine(), "");
}

#[test]
fn one_large_input_goes_to_two_names_of_one_scratch_at_once() {
    let bed = Bed::own(&["slurm"]);
    let host = |name: &str, ssh: &str| {
        format!("[hosts.{name}]\nssh = \"{ssh}\"\nbatch = \"none\"\nscratch = \"/mnt/scratch/one\"\n")
    };
    configure(&bed, &[host("first", "login"), host("second", "login2")].concat());
    let bytes: Vec<u8> = (0..40u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    bed.write("large", &bytes);
    let task = |name: &str| {
        format!(
            "[tasks.{name}]\ninputs = [\"large\"]\noutputs = [\"{name}\"]\nrun = \"cksum < large > {{outputs}}\"\non = \"{name}\"\n"
        )
    };
    bed.write("workflow.toml", format!("name = \"two\"\n{}{}", task("first"), task("second")));
    // So far away that both are on their way together.
    bed.now("delay gate 30");
    bed.csync(&["submit", "--detach"]).exits(0);
    let parts = || bed.on("login", "find /mnt/scratch/one/trees -name '.csync-*.part' -size +1M").out.lines().count();
    until("both are on their way", || {
        parts() >= 1 && bed.csync(&["show", "last"]).out.matches(" of 40M to ").count() == 2
    });
    // The way breaks: each goes on where it ended.
    bed.now("stop-part sshd-login");
    bed.now("start-part sshd-login");
    bed.now("delay gate 0");
    bed.csync(&["wait", "last"]).exits(0);
    let sum = format!("{}\n", csync::reach::transport::Sum::of(&bytes));
    assert_eq!((bed.read("first"), bed.read("second")), (sum.clone(), sum));
    // What the one has seen the other would miss, if both looked by the same stamps.
    let stamps = bed.on("login", "ls -A /mnt/scratch/one/jobs").exits(0).out;
    for name in ["first", "second"] {
        let is_of = |line: &str| line.starts_with(".look-") && line.contains(&format!("-{name}-"));
        assert!(stamps.lines().any(is_of), "{name}: {stamps}");
    }
}

#[test]
fn what_is_no_longer_here_is_not_there_when_the_job_starts() {
    let bed = Bed::shared();
    configure(&bed, LAB);
    let task = |name: &str, rest: &str| {
        format!(
            "[tasks.{name}]\nrun = \"LC_ALL=C; export LC_ALL; find data | sort\"\ninputs = [\"data\"]\non = \"lab\"\n{rest}"
        )
    };
    let make = "[tasks.make]\ninputs = [\"data\", \"single/x\"]\noutputs = [\"data/made\"]\non = \"lab\"\n\
                run = \"echo w > data/written; echo longer than it was > data/rewritten; echo m > data/made; cat single/x\"\n";
    bed.write("workflow.toml", format!("name = \"stale\"\n{make}"));
    for name in [
        "data/stays",
        "data/goes",
        "data/moves",
        "data/rewritten",
        "data/touched",
        "data/sub/deep/goes",
        "data/kind",
        "single/x",
    ] {
        bed.write(name, "1\n");
    }
    bed.write("data/large", vec![7; 17 << 20]);
    bed.csync(&["submit"]).exits(0);
    assert_eq!(bed.read("data/made"), "m\n");

    // Removed, renamed, gone with its directory, a directory in the place of a file; one that got a new time in between.
    let touched = fs::File::options().append(true).open(bed.path("data/touched")).unwrap();
    touched.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000)).unwrap();
    bed.write("workflow.toml", format!("name = \"stale\"\n{}", task("look", "")));
    bed.csync(&["submit"]).exits(0);
    let look = || bed.csync(&["logs", "last", "look", "--stdout"]).exits(0).out;
    assert!(look().contains("data/touched\n") && look().contains("data/goes\n"), "{}", look());
    for name in ["goes", "touched", "large", "kind", "rewritten"] {
        fs::remove_file(bed.path(&format!("data/{name}"))).unwrap();
    }
    fs::remove_dir_all(bed.path("data/sub")).unwrap();
    fs::rename(bed.path("data/moves"), bed.path("data/moved")).unwrap();
    bed.write("data/kind/file", "1\n");
    bed.csync(&["submit"]).exits(0);
    // What a job wrote stays, also where something of ours was before.
    let there = "data\ndata/kind\ndata/kind/file\ndata/made\ndata/moved\ndata/stays\ndata/written\n";
    assert_eq!(look(), there);

    // A file in the place of a directory; by another input, below or above; and with an engine that knows nothing of before.
    bed.csync(&["engine", "stop"]).exits(0);
    fs::remove_dir_all(bed.path("data/kind")).unwrap();
    bed.write("data/kind", "2\n");
    fs::remove_file(bed.path("single/x")).unwrap();
    bed.write("single/y", "2\n");
    let above = "[tasks.above]\ninputs = [\"single\"]\nrun = \"ls single\"\non = \"lab\"\n";
    bed.write("workflow.toml", format!("name = \"stale\"\n{}{above}", task("look", "")));
    bed.csync(&["submit"]).exits(0);
    assert_eq!(look(), there.replace("data/kind/file\n", ""));
    assert_eq!(bed.csync(&["logs", "last", "above", "--stdout"]).exits(0).out, "y\n");
}

#[test]
fn empty_directories_come_too() {
    let bed = Bed::shared();
    configure(&bed, LAB);
    for dir in ["data/none/deep", "data/some/none", "empty"] {
        fs::create_dir_all(bed.path(dir)).unwrap();
    }
    bed.write("data/some/file", "1");
    bed.write(
        "workflow.toml",
        "name = \"dirs\"\n[tasks.t]\ninputs = [\"data\", \"empty\"]\nrun = \"LC_ALL=C; export LC_ALL; find data empty | sort\"\non = \"lab\"\n",
    );
    let said = || bed.csync(&["logs", "last", "t", "--stdout"]).exits(0).out;
    bed.csync(&["submit"]).exits(0);
    assert_eq!(said(), "data\ndata/none\ndata/none/deep\ndata/some\ndata/some/file\ndata/some/none\nempty\n");
    // Later ones, into what is there; those that are gone here are gone there.
    fs::create_dir(bed.path("empty/new")).unwrap();
    fs::remove_dir_all(bed.path("data/none")).unwrap();
    bed.csync(&["submit"]).exits(0);
    assert_eq!(said(), "data\ndata/some\ndata/some/file\ndata/some/none\nempty\nempty/new\n");
}

#[test]
fn what_lies_on_a_host_comes_with_the_directory_that_it_is_in() {
    let bed = Bed::shared();
    configure(
        &bed,
        "[hosts.hpc]\nssh = \"login\"\nbatch = \"slurm\"\nkeep_above = \"1M\"\n\
         [hosts.lab]\nssh = \"station\"\nbatch = \"none\"\nkeep_above = \"1M\"\n",
    );
    let make = "name = \"within\"\n[tasks.make]\noutputs = [\"data/deep/big\", \"alone/big\"]\non = \"hpc\"\n\
                run = \"head -c 3000000 /dev/zero > data/deep/big; head -c 2000000 /dev/zero > alone/big\"\n";
    let read = |name: &str, on: &str| {
        format!(
            "[tasks.{name}]\nneeds = [\"make\"]\ninputs = [\"data\", \"alone\"]\noutputs = [\"{name}\"]\non = \"{on}\"\n\
             run = \"cat data/small data/deep/big alone/* | wc -c > {{outputs}}\"\n"
        )
    };
    bed.write("data/small", "12345");
    let tasks = [read("there", "hpc"), read("elsewhere", "lab")].concat();
    bed.write("workflow.toml", format!("{make}{tasks}"));
    bed.csync(&["submit"]).exits(0);
    assert_eq!((bed.read("there").trim(), bed.read("elsewhere").trim()), ("5000005", "5000005"));
    assert!(!bed.path("data/deep/big").exists() && !bed.path("alone/big").exists(), "they stay where they are");
    assert!(bed.csync(&["submit"]).exits(0).out.contains("everything is up to date"));
    // It is not taken for one that is gone here, and is there still for the next.
    bed.csync(&["submit", "--rerun=elsewhere"]).exits(0);
    assert_eq!(bed.read("elsewhere").trim(), "5000005");
    // Here too.
    bed.write("workflow.toml", format!("{make}{tasks}{}", read("here", "local")));
    bed.csync(&["submit"]).exits(0);
    assert_eq!(bed.read("here").trim(), "5000005");
}

#[test]
fn what_a_pattern_named_and_is_gone_here_is_gone_there() {
    let bed = Bed::shared();
    configure(&bed, LAB);
    let read = "name = \"globbed\"\n[tasks.read]\ninputs = [\"data/*.txt\"]\non = \"lab\"\nrun = \"cat data/*.txt; ls data\"\n";
    bed.write("workflow.toml", read);
    for name in ["a", "b", "c"] {
        bed.write(&format!("data/{name}.txt"), format!("{name}\n"));
    }
    let said = || bed.csync(&["logs", "last", "read", "--stdout"]).exits(0).out;
    bed.csync(&["submit"]).exits(0);
    assert_eq!(said(), "a\nb\nc\na.txt\nb.txt\nc.txt\n");
    // At once, and once more with an engine that knows it all.
    fs::remove_file(bed.path("data/b.txt")).unwrap();
    bed.csync(&["submit"]).exits(0);
    assert_eq!(said(), "a\nc\na.txt\nc.txt\n");
    fs::rename(bed.path("data/c.txt"), bed.path("data/d.txt")).unwrap();
    bed.csync(&["submit"]).exits(0);
    assert_eq!(said(), "a\nc\na.txt\nd.txt\n");
}
