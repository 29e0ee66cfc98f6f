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
