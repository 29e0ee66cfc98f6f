//! Disks, databases and directories that do not do what they should.

use std::os::unix::fs::PermissionsExt;

use csync::model::api::{ApiError, Counts, ErrorKind, RunState};
use rustix::process::{Resource, Rlimit, prlimit};

use super::{World, assert_ended};

#[test]
fn a_full_disk_stops_the_engine_from_starting_more_and_nothing_else() {
    let mut world = World::new();
    let run = world.submit(
        r#"
name = "steps"
[tasks.t]
matrix = { n = ["1", "2", "3", "4", "5", "6", "7", "8"] }
run = "echo {matrix.n} >> log; until [ -e go ]; do sleep 0.01; done; echo end >> log"
"#,
    );
    world.until_lines("log", 2);
    // No file of the engine grows from now on: to a program that is a full disk. Jobs are the worker's children.
    let pid = world.pid();
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: Some(0), maximum: None }).unwrap();
    std::fs::write(world.file("go"), "").unwrap();
    let trouble = world.until("the engine says so", || world.client().info().trouble.clone());
    assert!(trouble.starts_with("storage trouble since 20"), "{trouble}");
    let refused = world.try_submit("name = \"w\"\n[tasks.t]\nrun = \"true\"\n").unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Storage);
    // What is shown is what is stored and what is known besides.
    assert_eq!(world.counts(run).total(), 8);

    prlimit(Some(pid), Resource::Fsize, Rlimit { current: None, maximum: None }).unwrap();
    assert_ended(&world.wait(run), RunState::Succeeded, Counts { done: 8, ..Counts::default() });
    assert_eq!(world.client().info().trouble, None);
    let log = world.read("log");
    assert_eq!(log.lines().filter(|line| *line == "end").count(), 8, "each ran once: {log}");
}

#[test]
fn without_a_worker_the_engine_says_why_and_goes_on_when_there_is_one() {
    let mut world = World::without_engine(&[]);
    let in_the_way = world.state.worker_socket().join("in the way");
    std::fs::create_dir_all(&in_the_way).unwrap();
    world.start();
    let run = world.submit("name = \"w\"\n[tasks.t]\nrun = \"true\"\n");
    let trouble = world.until("the engine says so", || world.client().info().trouble.clone());
    assert!(trouble.contains("local worker"), "{trouble}");
    assert_eq!(world.counts(run).ready, 1, "nothing is handed over");
    std::fs::remove_dir_all(world.state.worker_socket()).unwrap();
    assert_ended(&world.wait(run), RunState::Succeeded, Counts { done: 1, ..Counts::default() });
    assert_eq!(world.client().info().trouble, None);
}

#[test]
fn a_database_that_is_none_is_named_with_what_to_do() {
    let mut world = World::new();
    world.run("name = \"w\"\n[tasks.t]\nrun = \"true\"\n");
    world.kill();
    for suffix in ["", "-wal", "-shm"] {
        let path = world.state.root().join(format!("csync.db{suffix}"));
        std::fs::remove_file(&path).ok();
    }
    std::fs::write(world.state.database(), "no database ".repeat(1000)).unwrap();
    let refused = start_refused(&world);
    assert_eq!(refused.kind, ErrorKind::Storage);
    assert!(refused.message.contains("csync.db") && refused.message.contains("damaged"), "{refused}");
    assert!(refused.hint.unwrap().contains("csync doctor --repair"));
}

#[test]
fn a_setting_that_makes_no_sense_is_named() {
    let world = World::without_engine(&[("CSYNC_MEM", "lots")]);
    let refused = start_refused(&world);
    assert_eq!(refused.kind, ErrorKind::Invalid);
    assert!(refused.message.contains("CSYNC_MEM") && refused.message.contains("lots"), "{refused}");
}

#[test]
fn a_state_directory_that_cannot_be_written_is_named() {
    if rustix::process::geteuid().is_root() {
        // Root writes everywhere; a file where the directory should be says the same.
        let world = World::without_engine(&[]);
        std::fs::create_dir_all(world.state.root()).unwrap();
        std::fs::write(world.state.root().join("runs"), "").unwrap();
        assert_eq!(start_refused(&world).kind, ErrorKind::Storage);
        return;
    }
    let world = World::without_engine(&[]);
    std::fs::create_dir_all(world.state.root()).unwrap();
    let mode = |mode| std::fs::set_permissions(world.state.root(), std::fs::Permissions::from_mode(mode)).unwrap();
    // The log is open before.
    drop(world.log());
    mode(0o500);
    let refused = start_refused(&world);
    mode(0o700);
    assert_eq!(refused.kind, ErrorKind::Storage);
    assert!(refused.hint.unwrap().contains("CSYNC_STATE"));
}

fn start_refused(world: &World) -> ApiError {
    let (mut engine, line) = world.try_start();
    assert!(!engine.wait().unwrap().success());
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}: {}", world.diagnostics()))
}
