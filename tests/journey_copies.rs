//! Files that lie on hosts: which copy is taken, and what happens when one is gone.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::world::{Done, World};

/// Three clusters that are made up on this machine; what is larger than a kilobyte stays where it was made.
const HOSTS: &str = "\
[hosts.one]
simulated = {}
keep_above = \"1K\"
[hosts.two]
simulated = {}
keep_above = \"1K\"
[hosts.three]
simulated = {}
keep_above = \"1K\"
";

/// Two files that one host makes and another reads, so that both have them.
const MAKE: &str = "\
name = \"copies\"
[tasks.make]
outputs = [\"a\", \"b\"]
run = \"head -c 5000 /dev/zero > a; head -c 6000 /dev/zero > b\"
on = \"one\"
[tasks.copy]
inputs = [\"a\", \"b\"]
outputs = [\"size\"]
run = \"cat a b | wc -c > size\"
on = \"two\"
";

#[test]
fn a_copy_that_vanishes_while_a_run_goes_on_is_replaced_by_the_next_one() {
    let world = World::new();
    fs::create_dir(world.path("config")).unwrap();
    world.write("config/hosts.toml", HOSTS);
    let config = world.path("config");
    let csync = |args: &[&str]| -> Done { world.command(args).env("CSYNC_CONFIG", &config).output().unwrap().into() };
    world.write("workflow.toml", MAKE);
    csync(&["submit"]).exits(0);
    assert_eq!(world.read("size").trim(), "11000");
    let copies = |name: &str| -> Vec<(String, String)> {
        let listed = csync(&["data", "where", name, "--json"]).exits(0).json();
        let text = |copy: &serde_json::Value, key: &str| copy[key].as_str().unwrap().to_owned();
        let all = listed.as_array().unwrap().iter();
        all.map(|copy| (text(copy, "host"), format!("{}/{name}", text(copy, "place")))).collect()
    };
    let place = |name: &str, host: &str| copies(name).into_iter().find(|(of, _)| of == host).unwrap().1;
    assert_eq!((copies("a").len(), copies("b").len(), world.path("a").exists()), (2, 2, false));
    // When the run is on its way the one file goes from where it was made, and the other from where it was read: whichever is
    // asked first, one of them is not there.
    let (first, second) = (place("a", "one"), place("b", "two"));
    let more = format!(
        "{MAKE}[tasks.wipe]\nneeds = [\"copy\"]\noutputs = [\"wiped\"]\nrun = \"rm {first} {second}; touch wiped\"\n\
         [tasks.read]\ninputs = [\"a\", \"b\", \"wiped\"]\noutputs = [\"total\"]\n\
         run = \"cat a b | wc -c > total\"\non = \"three\"\n"
    );
    world.write("workflow.toml", &more);
    let done = csync(&["submit"]).exits(0);
    assert!(done.out.contains("2 done, 2 cached"), "nothing is made anew: {done:?}");
    assert_eq!(world.read("total").trim(), "11000");
    // The copy that was missed is known no more; where nobody looked is told as before.
    let on = |name: &str| copies(name).into_iter().map(|(host, _)| host).collect::<Vec<_>>();
    let gone = usize::from(!on("a").contains(&"one".to_owned())) + usize::from(!on("b").contains(&"two".to_owned()));
    assert!(gone >= 1 && on("a").contains(&"three".to_owned()), "{:?} {:?}", on("a"), on("b"));
}

/// The world of the three clusters.
struct Clusters {
    world: World,
    config: PathBuf,
}

impl Clusters {
    fn new() -> Self {
        let world = World::new();
        let config = world.path("config");
        fs::create_dir(&config).unwrap();
        world.write("config/hosts.toml", HOSTS);
        Self { world, config }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.world.command(args);
        command.env("CSYNC_CONFIG", &self.config);
        command
    }

    fn csync(&self, args: &[&str]) -> Done {
        self.command(args).output().unwrap().into()
    }

    fn submit(&self, workflow: &str) -> Done {
        self.world.write("workflow.toml", workflow);
        self.csync(&["submit"]).exits(0)
    }

    /// Runs the same command several times at once.
    fn all_at_once(&self, args: &[&str]) {
        let start = |_| self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let started: Vec<_> = (0..4).map(start).collect();
        for child in started {
            Done::from(child.wait_with_output().unwrap()).exits(0);
        }
    }

    /// Where copies of a file are, by host.
    fn copies(&self, name: &str) -> Vec<(String, String)> {
        let listed = self.csync(&["data", "where", name, "--json"]).exits(0).json();
        let text = |copy: &Value, key: &str| copy[key].as_str().unwrap().to_owned();
        let all = listed.as_array().unwrap().iter();
        all.map(|copy| (text(copy, "host"), format!("{}/{}", text(copy, "place"), text(copy, "path")))).collect()
    }

    fn hosts_of(&self, name: &str) -> Vec<String> {
        self.copies(name).into_iter().map(|(host, _)| host).collect()
    }

    /// Returns what transfers left behind here.
    fn left(&self) -> Vec<String> {
        let names = fs::read_dir(self.world.path("")).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).filter(|name| name.starts_with(".csync-")).collect()
    }
}

#[test]
fn what_several_fetch_at_once_comes_once_and_whole() {
    let clusters = Clusters::new();
    clusters.submit(
        "name = \"large\"\n[tasks.make]\noutputs = [\"big\", \"dir\"]\n\
         run = \"head -c 60000000 /dev/urandom > big; mkdir dir; for i in $(seq 300); do head -c 9999 /dev/urandom > dir/$i; done\"\n\
         on = \"one\"\n",
    );
    let there = |name: &str| clusters.copies(name).remove(0).1;
    let (big, dir) = (there("big"), there("dir"));
    assert!(!clusters.world.path("big").exists() && !clusters.world.path("dir").exists());
    clusters.all_at_once(&["data", "get", "big"]);
    assert!(fs::read(clusters.world.path("big")).unwrap() == fs::read(big).unwrap(), "the same bytes");
    clusters.all_at_once(&["data", "get", "dir"]);
    for n in 1..=300 {
        let name = n.to_string();
        let here = fs::read(clusters.world.path("dir").join(&name)).unwrap();
        assert!(here == fs::read(PathBuf::from(&dir).join(&name)).unwrap(), "{name}");
    }
    assert_eq!(clusters.left(), Vec::<String>::new(), "nothing of it is left");
}

#[test]
fn the_next_copy_is_taken_where_one_is_gone() {
    let clusters = Clusters::new();
    clusters.submit(MAKE);
    let copies = clusters.copies("a");
    assert_eq!(copies.iter().map(|(host, _)| host.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    // Whichever is asked first: of the one file this copy goes, of the other that.
    fs::remove_file(&copies[0].1).unwrap();
    fs::remove_file(&clusters.copies("b")[1].1).unwrap();
    clusters.csync(&["data", "get", "a", "b"]).exits(0);
    let size = |name: &str| fs::metadata(clusters.world.path(name)).unwrap().len();
    assert_eq!((size("a"), size("b")), (5000, 6000));
    assert_eq!(clusters.hosts_of("a"), ["two"], "the copy that was missed is forgotten");
    let told = clusters.csync(&["data", "where", "b"]).exits(0).out;
    assert_eq!(told.lines().filter(|line| line.ends_with("  here")).count(), 1, "{told}");
}

#[test]
fn a_task_here_takes_the_next_copy_where_one_is_gone() {
    let clusters = Clusters::new();
    clusters.submit(MAKE);
    let copies = clusters.copies("a");
    // It goes when the run is on its way: nothing is made anew.
    let first = &copies[0].1;
    let done = clusters.submit(&format!(
        "{MAKE}[tasks.wipe]\nneeds = [\"copy\"]\noutputs = [\"wiped\"]\nrun = \"rm {first}; touch wiped\"\n\
         [tasks.read]\ninputs = [\"a\", \"wiped\"]\noutputs = [\"total\"]\nrun = \"cat a | wc -c > total\"\n"
    ));
    assert!(done.out.contains("2 done, 2 cached"), "{done:?}");
    assert_eq!(clusters.world.read("total").trim(), "5000");
    assert_eq!(clusters.hosts_of("a"), ["two"]);
}

/// A directory that stays where it was made.
const DIR: &str = "\
name = \"dirs\"
[tasks.make]
outputs = [\"dir\"]
run = \"mkdir -p dir/deep; head -c 5000 /dev/zero > dir/file; head -c 6000 /dev/zero > dir/deep/er\"
on = \"one\"
";

#[test]
fn a_file_in_a_directory_that_lies_elsewhere_is_found_in_it() {
    let clusters = Clusters::new();
    clusters.submit(DIR);
    let told = clusters.csync(&["data", "where", "dir/deep/er"]).exits(0);
    assert!(told.out.contains("one:") && told.err.contains("/dir`."), "{told:?}");
    for (name, words) in [("workflow.toml", "It is here alone"), ("nothing", "No host is known")] {
        let told = clusters.csync(&["data", "where", name]).exits(0);
        assert!(told.err.contains(words), "{name}: {told:?}");
    }
    let refused = clusters.csync(&["data", "get", "dir/nothing"]).exits(3);
    assert!(refused.err.contains("nothing like"), "{refused:?}");
    // It is no output of its own: neither moved nor removed.
    for args in [&["data", "rm", "--last", "dir/file"][..], &["data", "move", "dir/file", "--to", "two"]] {
        let refused = clusters.csync(args).exits(3);
        assert!(refused.err.contains("as a whole") && refused.err.contains("/dir`"), "{refused:?}");
    }
    let got = clusters.csync(&["data", "get", "dir/deep/er"]).exits(0);
    assert!(got.err.contains("came with all of"), "{got:?}");
    let size = |name: &str| fs::metadata(clusters.world.path(name)).unwrap().len();
    assert_eq!((size("dir/deep/er"), size("dir/file")), (6000, 5000), "a part would pass for the whole");
}

#[test]
fn moving_takes_all_copies_along_links_among_them() {
    let clusters = Clusters::new();
    clusters.submit(MAKE);
    let (one, two) = (clusters.copies("a").remove(0).1, clusters.copies("a").remove(1).1);
    // As on a filesystem that both see.
    let facts = fs::metadata(&one).unwrap().modified().unwrap();
    fs::remove_file(&two).unwrap();
    std::os::unix::fs::symlink(&one, &two).unwrap();
    let refused = clusters.csync(&["data", "move", "a", "--to", "local"]).exits(2);
    assert!(refused.err.contains("`csync data get ") && refused.err.contains("/a`"), "{refused:?}");
    let moved = clusters.csync(&["data", "move", "a", "--to", "three"]).exits(0);
    assert!(moved.out.contains("Moved 1 output"), "{moved:?}");
    assert_eq!(clusters.hosts_of("a"), ["three"]);
    let there = fs::metadata(clusters.copies("a").remove(0).1).unwrap();
    assert_eq!(there.len(), 5000);
    assert_eq!(there.modified().unwrap().duration_since(facts).map_or(0, |later| later.as_secs()), 0);
    assert!(!PathBuf::from(two).is_symlink() && !PathBuf::from(one).exists());
}

#[test]
fn the_same_file_on_two_hosts_is_one_copy() {
    let clusters = Clusters::new();
    clusters.submit(MAKE);
    let (one, two) = (clusters.copies("a").remove(0).1, clusters.copies("a").remove(1).1);
    // Both have one scratch, under two names.
    let place = |file: &str| PathBuf::from(file).parent().unwrap().to_owned();
    fs::remove_dir_all(place(&two)).unwrap();
    std::os::unix::fs::symlink(place(&one), place(&two)).unwrap();
    let refused = clusters.csync(&["data", "rm", "--on", "one", "a"]).exits(4);
    assert!(refused.err.contains("has no other copy than that on `one`"), "{refused:?}");
    assert!(PathBuf::from(&one).exists());
    clusters.csync(&["data", "rm", "--last", "--on", "one", "a"]).exits(0);
    assert!(!PathBuf::from(&one).exists());
}

#[test]
fn a_copy_of_a_dataset_that_is_not_there_is_refused() {
    let clusters = Clusters::new();
    let there = clusters.world.path("reads").display().to_string();
    fs::create_dir(&there).unwrap();
    let refused = clusters.csync(&["data", "add", "x", &format!("one:{there}-typo")]).exits(3);
    assert!(refused.err.contains("`one` has no directory") && refused.err.contains("-typo"), "{refused:?}");
    assert_eq!(clusters.csync(&["data", "list", "--json"]).exits(0).json()["datasets"], serde_json::json!([]));
    clusters.csync(&["data", "add", "x", &format!("one:{there}")]).exits(0);
    // Whom nobody can ask does not say no.
    let hosts = format!("{HOSTS}[hosts.far]\nssh = \"nobody.invalid\"\nbatch = \"none\"\n");
    clusters.world.write("config/hosts.toml", &hosts);
    let kept = clusters.csync(&["data", "add", "x", "far:/typo"]).exits(1);
    assert!(kept.err.contains("Nobody could ask far whether /typo is there: it is kept"), "{kept:?}");
    assert!(kept.out.contains("far:/typo"), "{kept:?}");
}

#[test]
fn looks_at_nodes_are_not_the_last_run() {
    let clusters = Clusters::new();
    clusters.submit("name = \"mine\"\n[tasks.a]\nrun = \"true\"\n");
    clusters.csync(&["hosts", "probe", "one"]).exits(0);
    let looked = clusters.csync(&["hosts", "probe", "--nodes", "one"]);
    assert!(looked.err.contains("They are run 2"), "{looked:?}");
    assert!(clusters.csync(&["why", "a"]).exits(0).out.contains("a of run 1"));
    assert!(clusters.csync(&["show", "2"]).exits(0).out.contains("probe-nodes"));
}

#[test]
fn what_nobody_is_told_is_said() {
    let clusters = Clusters::new();
    let told = clusters.csync(&["run", "--partition", "short", "--", "true"]).exits(0);
    assert!(told.err.contains("there is no batch system to tell `partition` to; it was left out"), "{told:?}");
}
