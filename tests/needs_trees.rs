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
    assert_eq!(parts(), 0, "nothing of it is left");
    // What the one has seen the other would miss, if both looked by the same stamps.
    let stamps = bed.on("login", "ls -A /mnt/scratch/one/jobs").exits(0).out;
    for name in ["first", "second"] {
        let is_of = |line: &str| line.starts_with(".look-") && line.contains(&format!("-{name}-"));
        assert!(stamps.lines().any(is_of), "{name}: {stamps}");
    }
}
