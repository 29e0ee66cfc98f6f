//! A disk that is full.

use crate::arena::{World, finish};

/// Runs csync where the state directory lies on a small filesystem, seen by nobody else. Gives it room as soon as csync says
/// that the disk is full, or is over by itself; what it says goes to `said`, and what `status` says to `status`.
const SCRIPT: &str = r#"
    mkdir -p "$CSYNC_STATE" && mount -t tmpfs -o size=1m none "$CSYNC_STATE" || exit 99
    # A pipe into which nobody writes, to wait at.
    mkfifo pipe && exec {pipe}<>pipe
    timeout 60 "$0" submit workflow.toml > said 2>&1 &
    submit=$!
    for _ in $(seq 200); do
        kill -0 $submit 2>/dev/null || break
        "$0" status > status 2>&1
        grep -q full status && break
        read -t 0.1 -u $pipe
    done
    mount -o remount,size=64m "$CSYNC_STATE" || exit 99
    wait $submit
    code=$?
    # The engine looks for room at growing intervals, and takes nothing in before it has found some.
    for _ in $(seq 30); do
        [ $code = 0 ] && break
        timeout 60 "$0" submit workflow.toml > again 2>&1
        echo $? > again.code
        [ "$(cat again.code)" = 5 ] || break
        read -t 1 -u $pipe
    done
    timeout 60 "$0" engine stop --now >> said 2>&1
    exit $code
"#;

#[test]
fn a_full_disk_is_named_and_the_work_goes_on_where_there_is_room() {
    let world = World::new();
    world.workflow(
        "[tasks.fills]\nrun = \"head -c 8000000 /dev/zero\"\n[tasks.after]\nneeds = [\"fills\"]\nrun = \"true\"\n",
    );
    let csync = env!("CARGO_BIN_EXE_csync");
    let code = finish(&mut world.program("unshare", &["--mount", "bash", "-c", SCRIPT, csync])).code;
    let said = world.read("said");
    // The task could not write its output, and failed so; or the engine could not write down what happened: then it said so,
    // waited for room, and lost nothing.
    match code {
        Some(0) => assert!(world.read("status").contains("full"), "{said}"),
        Some(1) => assert!(said.contains("exit code"), "{said}"),
        Some(5) => assert!(said.contains("full"), "{said}"),
        other => panic!("{other:?}: {said}"),
    }
    if code != Some(0) {
        assert_eq!(world.read("again.code").trim(), "0", "{}", world.read("again"));
    }
}
