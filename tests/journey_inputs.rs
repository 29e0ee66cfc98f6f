//! What jobs on another host read: what is here, all of it, and nothing that is gone here; and what becomes of the others where one's
//! input cannot be brought.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::world::{Done, World};

/// A world with a cluster that is made up.
struct Cluster {
    world: World,
    config: PathBuf,
}

impl Cluster {
    fn new() -> Self {
        let world = World::new();
        let config = world.path("config");
        fs::create_dir(&config).unwrap();
        world.write("config/hosts.toml", "[hosts.hpc]\nmax_jobs = 100\n[hosts.hpc.simulated]\nnodes = 4\ncores = 8\n");
        Self { world, config }
    }

    fn csync(&self, args: &[&str]) -> Done {
        self.world.command(args).env("CSYNC_CONFIG", &self.config).output().unwrap().into()
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.world.path(name).parent().unwrap()).unwrap();
        self.world.write(name, text);
    }

    /// Makes a workflow of tasks on the cluster that print what they read, and submits it; returns what `read` printed.
    fn reads(&self, tasks: &str) -> String {
        self.world.write("workflow.toml", &format!("name = \"inputs\"\n[defaults]\non = \"hpc\"\n{tasks}"));
        self.csync(&["submit"]).exits(0);
        self.csync(&["logs", "last", "read", "--stdout"]).exits(0).out
    }
}

#[test]
fn what_is_gone_here_is_not_read_there_however_few_are_left() {
    let cluster = Cluster::new();
    for name in ["data/a.txt", "data/b.txt", "s/a/x.txt", "s/b/x.txt", "s/c/deep/x.txt"] {
        cluster.write(name, &format!("{name}\n"));
    }
    let pattern = "[tasks.read]\ninputs = [\"data/*.txt\", \"s/*/x.txt\", \"s/*/*/x.txt\"]\n\
                   run = \"cat data/*.txt s/*/x.txt s/*/*/x.txt\"\n";
    assert_eq!(cluster.reads(pattern).lines().count(), 5);
    // One is left of each, or none.
    fs::remove_file(cluster.world.path("data/b.txt")).unwrap();
    fs::remove_dir_all(cluster.world.path("s/b")).unwrap();
    assert_eq!(cluster.reads(pattern), "data/a.txt\ns/a/x.txt\ns/c/deep/x.txt\n");
    fs::rename(cluster.world.path("s/c/deep"), cluster.world.path("s/c/deeper")).unwrap();
    assert_eq!(cluster.reads(&pattern.replace("cat", "ls -d s/*/*; cat")).lines().count(), 5);
    // An engine that knows nothing of before; and a task that names none of it.
    cluster.csync(&["engine", "stop"]).exits(0);
    fs::remove_file(cluster.world.path("s/a/x.txt")).unwrap();
    cluster.write("other", "1");
    let other = "[tasks.read]\ninputs = [\"other\"]\nrun = \"find data s -type f\"\n";
    let mut found: Vec<String> = cluster.reads(other).lines().map(str::to_owned).collect();
    found.sort();
    assert_eq!(found, ["data/a.txt", "s/c/deeper/x.txt"]);
}

#[test]
fn what_jobs_made_there_stays() {
    let cluster = Cluster::new();
    cluster.write("d/in", "1\n");
    cluster.write("d/gone", "1\n");
    cluster
        .world
        .write("config/hosts.toml", "[hosts.hpc]\nkeep_above = \"1K\"\n[hosts.hpc.simulated]\nnodes = 1\ncores = 8\n");
    let make = "[tasks.make]\ninputs = [\"d/in\"]\noutputs = [\"d/large\"]\n\
                run = \"head -c 5000 /dev/zero > d/large; echo 1 > d/not\"\n";
    let read =
        |more: &str| format!("{make}[tasks.read]\nneeds = [\"make\"]\ninputs = [\"d/*n*\"]\nrun = \"ls d {more}\"\n");
    assert_eq!(cluster.reads(&read("")), "gone\nin\nlarge\nnot\n");
    fs::remove_file(cluster.world.path("d/gone")).unwrap();
    assert!(!cluster.world.path("d/large").exists());
    assert_eq!(cluster.reads(&read("-1")), "in\nlarge\nnot\n");
}

#[test]
fn a_directory_and_what_is_in_it_may_both_be_named() {
    let cluster = Cluster::new();
    cluster.write("data/sub/x", "1\n");
    cluster.write("data/y", "1\n");
    let both = "[tasks.read]\ninputs = [\"data/**\"]\nrun = \"cat data/sub/x data/y\"\n\
                [tasks.other]\ninputs = [\"data\", \"data/sub\"]\nrun = \"cat data/sub/x\"\n";
    assert_eq!(cluster.reads(both), "1\n1\n");
    // Into what is there: as several files in one command.
    cluster.write("data/sub/x", "changed\n");
    assert_eq!(cluster.reads(both), "changed\n1\n");
}

#[test]
fn a_directory_and_a_large_file_in_it_are_brought_one_after_the_other() {
    let cluster = Cluster::new();
    cluster.write("ref/small", "1");
    fs::File::create(cluster.world.path("ref/big")).unwrap().set_len(150 << 20).unwrap();
    // What asks for something else goes in a submission of its own, at the same time.
    let task = |name: &str, input: &str, mem: u32| {
        format!(
            "[tasks.{name}]\ninputs = [\"{input}\"]\nrun = \"wc -c < ref/big\"\nresources = {{ mem = \"{mem}M\" }}\n"
        )
    };
    let tasks = [task("one", "ref", 101), task("read", "ref/big", 102), task("three", "ref", 103)].concat();
    assert_eq!(cluster.reads(&tasks).trim(), (150 << 20).to_string());
}

#[test]
fn an_input_that_cannot_be_brought_is_no_harm_to_others() {
    let cluster = Cluster::new();
    for n in 1..=6 {
        cluster.write(&format!("in/{n}/f"), &format!("{n}\n"));
    }
    cluster.write("else", "1");
    // A name that no command can be told, and a link to nothing.
    fs::write(cluster.world.path("in/2").join(OsStr::from_bytes(b"caf\xe9")), "").unwrap();
    symlink("nothing", cluster.world.path("in/5/link")).unwrap();
    cluster.world.write(
        "workflow.toml",
        "name = \"bad\"\n[defaults]\non = \"hpc\"\n\
         [tasks.each]\nforeach = { range = [1, 6] }\ninputs = [\"in/{item}\"]\noutputs = [\"out/{item}\"]\n\
         run = \"cat in/{item}/f > out/{item}\"\n\
         [tasks.other]\ninputs = [\"else\"]\noutputs = [\"other\"]\nrun = \"cp else other\"\n",
    );
    cluster.csync(&["submit"]).exits(1);
    let made: Vec<u32> = (1..=6).filter(|n| cluster.world.path(&format!("out/{n}")).exists()).collect();
    assert_eq!(made, [1, 3, 4, 6]);
    assert_eq!(cluster.world.read("other"), "1");
    for (task, words) in [("each[2]", "it is not UTF-8"), ("each[5]", "in/5 cannot be staged: ")] {
        let why = cluster.csync(&["why", "last", task]).exits(0).out;
        assert!(why.contains(words), "{why}");
    }
}
