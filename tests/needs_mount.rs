//! A disk that is full.

use crate::arena::{World, finish};

/// Runs csync where the state directory lies on a filesystem of this size, seen by nobody else; what it says goes to `said`.
fn script(size: &str) -> String {
    format!(
        r#"
        mkdir -p "$CSYNC_STATE" && mount -t tmpfs -o size={size} none "$CSYNC_STATE" || exit 99
        timeout 60 "$0" submit workflow.toml > said 2>&1
        code=$?
        timeout 60 "$0" engine stop --now >> said 2>&1
        exit $code
        "#
    )
}

#[test]
fn a_full_disk_is_named_and_nothing_hangs() {
    let world = World::new();
    world.workflow(
        "[tasks.fills]\nrun = \"head -c 8000000 /dev/zero\"\n[tasks.after]\nneeds = [\"fills\"]\nrun = \"true\"\n",
    );
    let on_disk_of = |size: &str| {
        let csync = env!("CARGO_BIN_EXE_csync");
        finish(&mut world.program("unshare", &["--mount", "bash", "-c", &script(size), csync])).code
    };
    // Either the task cannot write its output, and that is how it failed; or the engine cannot write down what happened.
    let code = on_disk_of("1m");
    let said = world.read("said");
    match code {
        Some(1) => assert!(said.contains("exit code"), "{said}"),
        Some(5) => assert!(said.contains("full"), "{said}"),
        other => panic!("{other:?}: {said}"),
    }
    // The same work succeeds where there is room.
    let code = on_disk_of("64m");
    assert_eq!(code, Some(0), "{}", world.read("said"));
}
