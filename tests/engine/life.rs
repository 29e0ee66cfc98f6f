//! How the engine comes and goes, and what the next one finds.

use std::collections::BTreeMap;
use std::time::Duration;

use csync::model::api::{ApiError, Counts, ErrorKind, RunState};
use csync::model::job::Outcome;
use csync::reach::client::{InstanceQuery, RunRef};
use rustix::process::{Signal, kill_process, test_kill_process};

use super::{World, assert_ended, refusal};

/// Instances that say when they begin and end.
const STEPS: &str = r#"
name = "steps"
[tasks.t]
matrix = { n = ["01", "02", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14", "15", "16"] }
outputs = ["out.{matrix.n}"]
run = "echo begin {matrix.n} {attempt} >> log; sleep 0.05; echo {matrix.n} > {outputs[0]}; echo end {matrix.n} {attempt} >> log"
"#;

/// Asserts that no attempt overlapped another of its instance, and that each instance ended well once; returns how many
/// attempts there were.
fn assert_no_overlap(log: &str) -> usize {
    let mut lines: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for line in log.lines() {
        let words: Vec<_> = line.split(' ').collect();
        lines.entry(words[1]).or_default().push((words[0], words[2]));
    }
    assert_eq!(lines.len(), 16, "{log}");
    for (instance, told) in &lines {
        let ends: Vec<_> = told.iter().filter(|(what, _)| *what == "end").collect();
        assert_eq!(ends.len(), 1, "{instance}: {told:?}");
        assert_eq!(told.last(), ends.first().copied(), "{instance}: nothing after its end: {told:?}");
        let begins: Vec<_> = told.iter().filter(|(what, _)| *what == "begin").map(|(_, attempt)| attempt).collect();
        let mut once = begins.clone();
        once.dedup();
        assert_eq!(begins, once, "{instance}: no attempt begins twice: {told:?}");
    }
    log.lines().filter(|line| line.starts_with("begin")).count()
}

#[test]
fn an_engine_that_was_killed_is_taken_over_from() {
    let mut world = World::new();
    let run = world.submit(STEPS);
    for lines in [3, 9, 17, 24] {
        world.until_lines("log", lines);
        world.kill();
        world.start();
    }
    assert_ended(&world.wait(run), RunState::Succeeded, Counts { done: 16, ..Counts::default() });
    // The worker lived: every instance ran once.
    assert_eq!(assert_no_overlap(&world.read("log")), 16);
    let views = world.instances(run, &InstanceQuery::default());
    assert!(views.iter().all(|view| view.attempts.len() == 1 && view.outcome == Some(Outcome::Success)));
}

#[test]
fn what_a_dead_worker_ran_runs_again() {
    let world = World::new();
    let run = world.submit(STEPS);
    for lines in [5, 15] {
        world.until_lines("log", lines);
        let worker = world.worker_pid();
        kill_process(worker, Signal::KILL).unwrap();
        world.until("there is another", || (world.worker_pid() != worker).then_some(()));
    }
    assert_ended(&world.wait(run), RunState::Succeeded, Counts { done: 16, ..Counts::default() });
    // An ending that died with the worker makes its instance run once more: after it, never beside it.
    let log = world.read("log");
    let mut open: BTreeMap<&str, &str> = BTreeMap::new();
    for line in log.lines() {
        let words: Vec<_> = line.split(' ').collect();
        if words[0] == "begin" {
            open.insert(words[1], words[2]);
        } else {
            assert_eq!(open.get(words[1]), Some(&words[2]), "ended after another began: {log}");
        }
    }
}

#[test]
fn both_killed_at_once_lose_nothing() {
    let mut world = World::new();
    let run = world.submit(STEPS);
    world.until_lines("log", 7);
    let worker = world.worker_pid();
    world.kill();
    kill_process(worker, Signal::KILL).unwrap();
    world.start();
    assert_ended(&world.wait(run), RunState::Succeeded, Counts { done: 16, ..Counts::default() });
    let views = world.instances(run, &InstanceQuery::default());
    let died = views.iter().flat_map(|view| &view.attempts).filter(|it| it.outcome == Some(Outcome::NodeFail)).count();
    assert!(died > 0, "what ran then is recorded as what it was");
    assert!(views.iter().all(|view| view.outcome == Some(Outcome::Success)));
}

#[test]
fn an_engine_that_is_asked_to_leave_leaves_its_jobs_running() {
    let mut world = World::new();
    let run = world.submit(STEPS);
    world.until_lines("log", 3);
    let refused = refusal(world.runtime.block_on(world.client().stop(false)).unwrap_err());
    assert_eq!(refused.kind, ErrorKind::Conflict);
    world.signal(Signal::TERM);
    assert!(world.gone());
    assert!(!world.state.engine_socket().exists());
    // Jobs that were handed over go on without an engine.
    let before = world.read("log").lines().count();
    world.until_lines("log", before + 4);
    world.start();
    assert_ended(&world.wait(run), RunState::Succeeded, Counts { done: 16, ..Counts::default() });
    assert_eq!(assert_no_overlap(&world.read("log")), 16);
}

#[test]
fn an_idle_engine_leaves_with_its_worker() {
    let mut world = World::with(&[("CSYNC_IDLE", "1")]);
    let worker = world.worker_pid();
    assert_ended(
        &world.run("name = \"w\"\n[tasks.t]\nrun = [\"true\"]\n"),
        RunState::Succeeded,
        Counts { done: 1, ..Counts::default() },
    );
    assert!(world.gone());
    world.until("the worker has left", || test_kill_process(worker).is_err().then_some(()));
}

#[test]
fn somebody_who_is_answered_keeps_the_engine() {
    let world = World::with(&[("CSYNC_IDLE", "1")]);
    world.run("name = \"w\"\n[tasks.t]\nrun = \"echo x\"\n");
    let run = world.submit("name = \"v\"\n[tasks.t]\nrun = \"sleep 1.5\"\n");
    // Longer than the idle time, and no other sign of life.
    assert_ended(&world.wait(run), RunState::Succeeded, Counts { done: 1, ..Counts::default() });
}

#[test]
fn the_second_engine_is_told_who_the_first_is() {
    let mut world = World::new();
    let (mut second, line) = world.try_start();
    assert!(!second.wait().unwrap().success());
    let refused: ApiError = serde_json::from_str(&line).unwrap();
    assert_eq!(refused.kind, ErrorKind::Conflict);
    let pid = world.engine().id().to_string();
    assert!(refused.message.contains(&pid), "{refused}");
    assert!(world.client().info().live_runs == 0, "the first one serves on");
}

#[test]
fn what_a_dead_engine_left_over_is_in_nobodys_way() {
    let mut world = World::new();
    world.run("name = \"w\"\n[tasks.t]\nrun = \"echo x\"\n");
    world.kill();
    assert!(world.state.engine_socket().exists());
    world.start();
    let client = world.client();
    let runs = world.runtime.block_on(client.runs(None, None)).unwrap();
    assert_eq!(runs.len(), 1);
    // Of a run that is over too.
    let why = world.runtime.block_on(client.why(RunRef::Last, "t")).unwrap();
    assert_eq!(why[0].instance.attempts.len(), 1);
}

#[test]
fn a_directory_has_one_run_at_a_time() {
    let mut world = World::new();
    let run = world.submit(STEPS);
    let refused = world.try_submit(STEPS).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Conflict);
    assert!(refused.message.contains(&format!("run {run}")), "{refused}");
    // Another engine holds it for the same run.
    world.kill();
    world.start();
    assert_eq!(world.try_submit(STEPS).unwrap_err().kind, ErrorKind::Conflict);
    world.wait(run);
    assert_ended(&world.run(STEPS), RunState::Succeeded, Counts { cached: 16, ..Counts::default() });
}

#[test]
fn retries_wait_and_are_counted_across_engines() {
    let mut world = World::new();
    let run = world.submit(
        r#"
name = "again"
[tasks.t]
retry = { max = 2, on = ["exit"], delay = "1s", factor = 1.0 }
run = "echo {attempt} >> tries; [ -e go ]"
"#,
    );
    world.until_lines("tries", 1);
    world.until("the delay", || (world.counts(run).ready == 1).then_some(()));
    world.kill();
    world.start();
    std::fs::write(world.file("go"), "").unwrap();
    assert_ended(&world.wait(run), RunState::Succeeded, Counts { done: 1, ..Counts::default() });
    assert_eq!(world.read("tries"), "1\n2\n");
    let view = world.instances(run, &InstanceQuery::default()).remove(0);
    let ended = view.attempts[0].ended.unwrap();
    assert!(view.attempts[1].submitted.since(ended) >= Duration::from_millis(900));
}
