//! A clock that jumps back.

use std::path::PathBuf;

use crate::arena::World;

/// The library that the program `faketime` preloads; the program itself would wait for the engine to leave.
pub(crate) fn library() -> PathBuf {
    let dirs = std::fs::read_dir("/usr/lib").expect("/usr/lib is readable");
    dirs.filter_map(|entry| Some(entry.ok()?.path().join("faketime/libfaketime.so.1")))
        .find(|path| path.exists())
        .expect("Debian's faketime is installed")
}

#[test]
fn runs_go_on_after_the_clock_went_back() {
    let mut world = World::new();
    world.workflow(
        r#"
        [tasks.a]
        outputs = ["a"]
        run = "echo a > a"
        [tasks.b]
        inputs = ["a"]
        outputs = ["b"]
        run = "cp a b"
        [tasks.limited]
        resources = { time = "1h" }
        outputs = ["limited"]
        run = "date +%s > limited; sleep 0.1"
        "#,
    );
    world.submit().code(0);
    world.stop();
    let before: i64 = world.read("limited").trim().parse().expect("seconds");

    world.set("LD_PRELOAD", &library().display().to_string());
    world.set("FAKETIME", "-2d");
    // Only the wall clock jumps on real machines.
    world.set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    world.submit().code(0);
    assert_eq!(world.counts(), "3 cached", "files from the future are as good as they were");
    world.csync(&["submit", "--rerun", "workflow.toml"]).code(0);
    let detail = world.detail("last");
    assert_eq!(detail.summary.counts.done, 3);
    let after: i64 = world.read("limited").trim().parse().expect("seconds");
    assert!(after < before - 86_400, "the clock went back for the task: {before} {after}");
    assert!(detail.tasks.iter().all(|task| (0.0..60.0).contains(&task.usage.wall)), "{detail:?}");
    assert!(detail.summary.ended.is_some_and(|ended| ended >= detail.summary.submitted), "{detail:?}");
    world.stop();
}
