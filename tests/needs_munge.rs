//! A cluster whose commands and daemons trust each other by munge, as real ones do, and a login node on which it does not run.

use crate::bed::Bed;
use crate::far::{Held, configure, nothing_left, why_says};
use crate::world::until;

/// By the login node on which nothing else of Slurm runs.
const HOSTS: &str = "[hosts.hpc]\nssh = \"login2\"\npolicy = { connections_per_minute = 60 }\n";

#[test]
fn without_munge_on_the_login_node_nothing_is_failed_gone_or_sent_twice() {
    let bed = Bed::own(&["slurm", "munge"]);
    configure(&bed, HOSTS);
    bed.csync(&["hosts", "probe", "hpc"]).exits(0);
    let held = Held::submit(&bed, "login", "\"hpc\"", 2, "");
    held.run();
    until("csync knows that they run", || bed.csync(&["show", "1"]).out.contains("2 running"));
    bed.now("stop-part munged-login2");
    // What is submitted now is taken by nobody, and waits for who can take it.
    bed.write(
        "stay/stay.toml",
        "name = \"stay\"\n[tasks.s]\noutputs = [\"s\"]\nrun = \"echo $CSYNC_JOB >> ~/stay; hostname > {outputs}\"\non = \"hpc\"\n",
    );
    bed.csync(&["submit", "--detach", "stay/stay.toml"]).exits(0);
    why_says(&bed, "s", &["`hpc` cannot be used: its batch system", "Munge encode failed", "munged"]);
    // What runs goes on, is not taken for gone, and its own records tell how it ends.
    let show = bed.csync(&["show", "1"]).exits(0).out;
    assert!(show.contains("2 running"), "{show}");
    held.release();
    bed.csync(&["wait", "1"]).exits(0);
    let state = bed.csync(&["show", "2"]).exits(0).out;
    assert!(!state.contains("failed") && !state.contains("done"), "{state}");
    bed.now("start-part munged-login2");
    bed.csync(&["wait", "2"]).exits(0);
    assert!(bed.read("stay/s").starts_with('n'));
    assert_eq!(bed.on("login", "cat ~/stay").out.lines().count(), 1);
    assert_eq!(held.started().len(), 2);
    nothing_left(&bed, "login");
}

#[test]
fn a_cancel_without_munge_is_done_when_it_is_back() {
    let bed = Bed::own(&["slurm", "munge"]);
    configure(&bed, HOSTS);
    bed.csync(&["hosts", "probe", "hpc"]).exits(0);
    let held = Held::submit(&bed, "login", "\"hpc\"", 7, "");
    until("six run", || held.started().len() == 6);
    // The seventh waits in the queue, where nobody but Slurm can end it.
    bed.on("login", "scontrol update partitionname=debug state=down").exits(0);
    bed.now("stop-part munged-login2");
    bed.csync(&["cancel", "last"]).exits(0);
    why_says(&bed, "t[7]", &["its batch system does not answer", "Munge encode failed"]);
    assert_eq!(bed.on("login", "squeue -h -r -t PD").out.lines().count(), 1, "it could not be told");
    bed.now("start-part munged-login2");
    bed.csync(&["wait", "last"]).exits(130);
    assert_eq!(held.started().len(), 6, "the seventh never ran");
    nothing_left(&bed, "login");
}
