//! The index that `csync route` and hooks look up in what was learned: a running engine keeps it as new as its store, and one that
//! is older is not gone by.
//!
//! Which of both an answer comes from shows where the store cannot be read: it is overwritten in place, and what tells whether it
//! was changed (its time, its size, its number) stays as it was.

use std::fs::{File, FileTimes};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use csync::reach::advice;
use csync::reach::config::StateDir;
use csync::reach::index::Index;
use csync::reach::learned::{Extract, Place};

use crate::world::{World, until};

const WORKFLOW: &str =
    "name = \"w\"\n[tasks.a]\nforeach = [1, 2, 3]\ninputs = [\"in\"]\nrun = \"sleep 1.1; sort in\"\n";

fn place(world: &World) -> Place {
    Place::of(&StateDir::at(world.state(), None))
}

/// Returns whether the index says of itself that it has all of the store as that is now.
fn is_whole(world: &World) -> bool {
    let extract = Extract::open(&place(world)).expect("there is a key");
    Index::open(&advice::path(&world.state())).is_ok_and(|index| extract.is_all(&index, &place(world)))
}

/// The store's files, overwritten until it is dropped.
struct Unreadable(Vec<(PathBuf, Vec<u8>)>);

impl Unreadable {
    fn new(world: &World) -> Self {
        let names = ["learned.db", "learned.db-wal"].map(|name| world.state().join(name));
        let there = names.into_iter().filter_map(|path| Some((path.clone(), std::fs::read(path).ok()?)));
        let files: Vec<_> = there.collect();
        for (path, bytes) in &files {
            put(path, &vec![0xa5; bytes.len()]);
        }
        Self(files)
    }
}

impl Drop for Unreadable {
    fn drop(&mut self) {
        for (path, bytes) in &self.0 {
            put(path, bytes);
        }
    }
}

/// Overwrites a file, and leaves its time as it was.
fn put(path: &Path, bytes: &[u8]) {
    let file = File::options().write(true).open(path).unwrap();
    let changed = file.metadata().unwrap().modified().unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file.set_times(FileTimes::new().set_modified(changed)).unwrap();
}

/// Returns of how many runs it is known how long the command takes; none where nobody knows.
fn learned(world: &World) -> Option<u64> {
    let answer = world.csync(&["route", "--json", "sort in"]).exits(0).json();
    answer["places"][0]["run"]["source"]["learned"].as_u64()
}

/// Returns the same where the store cannot be read.
fn learned_without_store(world: &World) -> Option<u64> {
    let _unreadable = Unreadable::new(world);
    learned(world)
}

#[test]
fn an_engine_keeps_the_index_as_new_as_what_it_learns_and_an_older_one_is_not_gone_by() {
    let world = World::new();
    world.write("in", "b\na\n");
    world.write("workflow.toml", WORKFLOW);
    world.csync(&["submit"]).exits(0);
    // It has written what it was told when it has left.
    world.csync(&["engine", "stop"]).exits(0);
    assert_eq!((learned(&world), learned_without_store(&world)), (Some(3), None), "there is no index");
    world.csync(&["--quiet", "hook", "refresh"]).exits(0);
    assert!(is_whole(&world));
    assert_eq!(learned_without_store(&world), Some(3), "out of the index");

    // The next engine learns more, and stays.
    world.csync(&["submit", "--rerun=a"]).exits(0);
    let runs = || world.json(&["profile"])["profiles"][0]["runs"].as_u64();
    until("it has learned from those", || runs() == Some(6));
    until("the index has all of that", || is_whole(&world));
    assert_eq!(learned_without_store(&world), Some(6), "out of the index, while the engine is there");

    // Another process learns, and leaves the index as it is: there was none when it ended.
    world.write("jobs.txt", "JobID|JobName|State|ElapsedRaw|End\n1|align|COMPLETED|600|2026-11-20T01:00:00\n");
    let (index, away) = (advice::path(&world.state()), world.path("away"));
    std::fs::rename(&index, &away).unwrap();
    world.csync(&["profile", "import", "jobs.txt"]).exits(0);
    std::fs::rename(&away, &index).unwrap();
    assert!(!is_whole(&world));
    assert_eq!(learned_without_store(&world), None, "what the index has may be less than there is");
    assert_eq!(learned(&world), Some(6), "the store is read");
    // With the next change that finds one it is whole again.
    world.csync(&["profile", "forget", "align"]).exits(0);
    assert!(is_whole(&world));
    assert_eq!(learned_without_store(&world), Some(6));

    // An engine that leaves closes the store, whose log goes into its file: the index has all of it still.
    world.csync(&["submit", "--rerun=a"]).exits(0);
    world.csync(&["engine", "stop"]).exits(0);
    assert!(is_whole(&world));
    assert_eq!(learned_without_store(&world), Some(9));
}
