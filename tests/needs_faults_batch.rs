//! What is wrong with a batch system and what administrators do to it, on real Slurm and Grid Engine, each on a bed of its own.

use std::time::{Duration, Instant};

use csync::model::units::Timestamp;

use crate::bed::Bed;
use crate::far::{HOSTS, Held, configure, nothing_left, why_says};
use crate::needs_clock as faketime;
use crate::world::until;

/// Brings up a bed with these parts.
fn bed(parts: &[&str]) -> Bed {
    let bed = Bed::own(parts);
    configure(&bed, HOSTS);
    bed
}

/// Returns the batch system's ids of the jobs that run.
fn running(bed: &Bed) -> Vec<String> {
    let out = bed.on("login", "squeue -h -t running -o %i").exits(0).out;
    out.lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn a_controller_that_is_down_takes_no_jobs_loses_none_and_is_named() {
    let bed = bed(&["slurm"]);
    let held = Held::submit(&bed, "login", "\"hpc\"", 2, "");
    held.run();
    bed.now("stop-part slurmctld");
    // Jobs go on without it, and their own records tell of them.
    bed.write(
        "more/more.toml",
        "name = \"more\"\n[tasks.m]\noutputs = [\"m\"]\nrun = \"hostname > {outputs}\"\non = [\"hpc\", \"lab\"]\n",
    );
    let done = bed.csync(&["submit", "more/more.toml"]).exits(0);
    assert!(done.err.contains("`hpc` cannot be used: its batch system"), "{done:?}");
    assert_eq!(bed.read("more/m"), "station\n");
    bed.write("stay/stay.toml", "name = \"stay\"\n[tasks.s]\noutputs = [\"s\"]\nrun = \"echo $CSYNC_JOB >> ~/stay; hostname > {outputs}\"\non = \"hpc\"\n");
    bed.csync(&["submit", "--detach", "stay/stay.toml"]).exits(0);
    why_says(&bed, "s", &["`hpc` cannot be used: its batch system", "slurm controller"]);
    bed.now("start-part slurmctld");
    bed.csync(&["wait", "last"]).exits(0);
    assert!(bed.read("stay/s").starts_with('n'));
    assert_eq!(bed.on("login", "cat ~/stay").out.lines().count(), 1);
    held.release();
    bed.csync(&["wait", "1"]).exits(0);
    assert_eq!(held.started().len(), 2);
    nothing_left(&bed, "login");
}

#[test]
fn a_controller_that_hangs_keeps_nothing_from_its_end() {
    let bed = bed(&["slurm"]);
    let held = Held::submit(&bed, "login", "\"hpc\"", 2, "");
    held.run();
    bed.now("freeze slurmctld");
    held.release();
    // The wrappers' records tell, though the queue does not answer.
    bed.csync(&["wait", "last"]).exits(0);
    bed.now("thaw slurmctld");
    held.done_once();
}

#[test]
fn a_history_that_is_down_is_asked_again() {
    let bed = bed(&["slurm", "db"]);
    bed.csync(&["hosts", "probe", "hpc"]).exits(0);
    let held = Held::submit(&bed, "login", "\"hpc\"", 1, "");
    held.run();
    bed.now("stop-part slurmdbd");
    // Ended by hand: the history, which would know, is not there, and the queue says enough.
    bed.on("login", "scancel --signal=KILL --full -u alice").exits(0);
    bed.csync(&["wait", "last"]).exits(130);
    why_says(&bed, "t[1]", &["it was cancelled"]);
    bed.now("start-part slurmdbd");
    let again = Held::submit(&bed, "login", "\"hpc\"", 1, "");
    again.run();
    again.release();
    again.done_once();
}

#[test]
fn what_administrators_do_to_jobs_is_told_as_it_was() {
    let bed = bed(&["slurm", "db"]);
    bed.csync(&["hosts", "probe", "hpc"]).exits(0);
    // Cancelled by hand on the cluster: no failure of the task, and nobody is left to wait for.
    let held = Held::submit(&bed, "login", "\"hpc\"", 2, "");
    held.run();
    let ids = running(&bed);
    bed.on("login", &format!("scancel {}", ids[0])).exits(0);
    until("one of them is over", || bed.csync(&["show", "last"]).out.contains("1 cancelled"));
    held.release();
    bed.csync(&["wait", "last"]);
    let why: Vec<String> = ["t[1]", "t[2]"].map(|task| bed.csync(&["why", "last", task]).out).into();
    assert!(why.iter().any(|why| why.contains("cancelled on the cluster, not by csync")), "{why:?}");
    assert!(why.iter().any(|why| why.contains("csync retry")), "{why:?}");
    nothing_left(&bed, "login");

    // Sent back to the queue while it ran: it is followed through its second run, and its end is the end.
    let held = Held::submit(&bed, "login", "\"hpc\"", 1, "");
    held.run();
    let id = running(&bed).remove(0);
    bed.on("login", &format!("scontrol update JobId={id} Requeue=1 && scontrol requeuehold {id}")).exits(0);
    until("it is back in the queue", || {
        bed.on("login", &format!("squeue -h -j {id} -o '%T %r'")).out.trim() == "PENDING job requeued in held state"
    });
    // Its node refuses whatever was granted in the second in which the first run was ended ("Job credential revoked"); of its own
    // accord Slurm waits for two minutes.
    let ended = Instant::now();
    until("that second is over", || ended.elapsed() >= Duration::from_secs(2));
    bed.on("login", &format!("scontrol update JobId={id} StartTime=now && scontrol release {id}")).exits(0);
    until("it runs again", || held.started().len() == 2);
    assert_eq!(held.started()[0], held.started()[1], "the same attempt");
    held.release();
    bed.csync(&["wait", "last"]).exits(0);
    assert_eq!(bed.read("out/1"), "1\n");
    why_says(&bed, "t[1]", &["the batch system started it again once"]);
    nothing_left(&bed, "login");

    // Its node fails: another attempt, on another node, costs none of its retries.
    let held = Held::submit(&bed, "login", "\"hpc\"", 1, "");
    held.run();
    let node = bed.on("login", "squeue -h -t running -o %N").exits(0).out.trim().to_owned();
    bed.now(&format!("crash {node}"));
    until("it runs again", || held.started().len() == 2);
    assert_ne!(held.started()[0], held.started()[1], "another attempt");
    held.release();
    bed.csync(&["wait", "last"]).exits(0);
    why_says(&bed, "t[1]", &["its node on `hpc` failed"]);
    assert_eq!(bed.read("out/1"), "1\n");
}

#[test]
fn partitions_that_are_closed_or_down_are_named() {
    let bed = bed(&["slurm"]);
    let task = |partition: &str| {
        format!(
            "name = \"p\"\n[tasks.t]\noutputs = [\"o\"]\nrun = \"hostname > {{outputs}}\"\npartition = \"{partition}\"\non = \"hpc\"\n"
        )
    };
    bed.write("workflow.toml", task("long"));
    for state in ["INACTIVE", "DRAIN"] {
        bed.on("login", &format!("scontrol update PartitionName=long State={state}")).exits(0);
        bed.csync(&["submit"]).exits(1);
        why_says(&bed, "t", &["Required partition not available"]);
        nothing_left(&bed, "login");
    }
    // One that takes jobs and starts none: it waits, and says for what.
    bed.on("login", "scontrol update PartitionName=long State=DOWN").exits(0);
    bed.csync(&["submit", "--detach"]).exits(0);
    why_says(&bed, "t", &["it waits in the queue of `hpc`", "PartitionDown"]);
    bed.on("login", "scontrol update PartitionName=long State=UP").exits(0);
    bed.csync(&["wait", "last"]).exits(0);
    // Nodes that are drained: the same.
    bed.on("login", "scontrol update NodeName=n[1-3] State=DRAIN Reason=test").exits(0);
    bed.csync(&["submit", "--rerun", "--detach"]).exits(0);
    why_says(&bed, "t", &["it waits in the queue of `hpc`", "DRAINED"]);
    bed.on("login", "scontrol update NodeName=n[1-3] State=RESUME").exits(0);
    bed.csync(&["wait", "last"]).exits(0);
    nothing_left(&bed, "login");
}

#[test]
fn a_job_directory_that_is_removed_under_a_job_is_told_and_disturbs_no_other() {
    let bed = bed(&["slurm"]);
    for (host, far) in [("hpc", "login"), ("lab", "station")] {
        let lost = Held::submit(&bed, far, &format!("\"{host}\""), 1, "");
        lost.run();
        bed.on(far, "rm -rf ~/.csync/jobs/csync-*").exits(0);
        bed.write("other/other.toml", format!("name = \"other\"\n[tasks.o]\noutputs = [\"{host}\"]\nrun = \"hostname > {{outputs}}\"\non = \"{host}\"\n"));
        bed.csync(&["submit", "other/other.toml"]).exits(0);
        lost.release();
        let run = if host == "hpc" { "1" } else { "3" };
        bed.csync(&["wait", run]).exits(1);
        let why = bed.csync(&["why", run, "t[1]"]).exits(0).out;
        assert!(why.contains("removed"), "{why}");
        assert_eq!(lost.started().len(), 1, "it is not run again unasked");
        nothing_left(&bed, far);
    }
    // A clean-up of scratch took the files, and left what is no file: nothing there answers for it, and no other submission's does.
    for (host, far) in [("hpc", "login"), ("lab", "station")] {
        let lost = Held::submit(&bed, far, &format!("\"{host}\""), 1, "");
        lost.run();
        bed.on(far, "find ~/.csync/jobs/csync-* -type f ! -path '*/crew/*' -delete").exits(0);
        lost.release();
        bed.csync(&["wait", "last"]).exits(1);
        why_says(&bed, "t[1]", &["removed", "csync retry"]);
        assert_eq!(lost.started().len(), 1, "it is not run again unasked");
    }
}

#[test]
fn an_output_directory_that_is_removed_under_a_job_is_told_with_what_helps() {
    let bed = bed(&["slurm"]);
    let trees = |name: &str| format!("rm -rf ~/.csync/trees/*/{name}");
    // One that cannot write any more; one whose files went after it had written them, as a clean-up of scratch does.
    let held = Held::submit(&bed, "login", "\"hpc\"", 1, "");
    held.run();
    bed.on("login", &trees("out")).exits(0);
    held.release();
    bed.csync(&["wait", "last"]).exits(1);
    why_says(&bed, "t[1]", &["/.csync/trees/", "/out", "removed", "csync retry", "`scratch`"]);
    assert_eq!(held.started().len(), 1, "it is not run again unasked");
    bed.csync(&["retry"]).exits(0);
    assert_eq!(bed.read("out/1"), "1\n");
    let trace = bed.scratch("login");
    bed.write(
        "after/after.toml",
        format!(
            "name = \"after\"\n[tasks.a]\noutputs = [\"made/a\"]\non = \"hpc\"\n\
             run = \"echo a > made/a; touch {trace}/made; until [ -e {trace}/go ]; do sleep 0.1; done\"\n"
        ),
    );
    bed.csync(&["submit", "--detach", "after/after.toml"]).exits(0);
    until("it has written", || bed.on("login", &format!("[ -e {trace}/made ]")).code == 0);
    bed.on("login", &trees("made")).exits(0);
    bed.on("login", &format!("touch {trace}/go")).exits(0);
    bed.csync(&["wait", "last"]).exits(1);
    why_says(&bed, "a", &["/made", "removed", "csync retry", "`scratch`"]);
    nothing_left(&bed, "login");
    // A command that makes no such file, and has its directory, is told what it was told.
    bed.write("lazy/lazy.toml", "name = \"lazy\"\n[tasks.z]\noutputs = [\"made/z\"]\nrun = \"true\"\non = \"hpc\"\n");
    bed.csync(&["submit", "lazy/lazy.toml"]).exits(1);
    let why = why_says(&bed, "z", &["did not make"]);
    assert!(!why.contains("removed"), "{why}");
}

#[test]
fn what_takes_more_memory_than_it_asked_for_is_told_apart_from_other_failures() {
    let bed = bed(&["slurm"]);
    let hog = "python3 -c 'x = bytearray(400 << 20); import time; time.sleep(60)'";
    bed.write(
        "workflow.toml",
        format!("name = \"hog\"\n[tasks.t]\nrun = \"{hog}\"\nresources = {{ mem = \"100MiB\" }}\non = \"hpc\"\n"),
    );
    bed.csync(&["submit"]).exits(1);
    why_says(&bed, "t", &["it used more than its memory", "give it more"]);
    nothing_left(&bed, "login");
}

#[test]
fn grid_engine_says_what_was_done_to_its_jobs() {
    let bed = bed(&["sge"]);
    bed.csync(&["hosts", "probe", "grid"]).exits(0);
    let held = Held::submit(&bed, "grid", "\"grid\"", 1, "");
    held.run();
    bed.on("grid", "qdel -u alice").exits(0);
    // Grid Engine kills it, wrapper and all, and keeps no word of who wanted that.
    bed.csync(&["wait", "last"]).exits(1);
    let why = bed.csync(&["why", "last", "t[1]"]).exits(0).out;
    assert!(why.contains("it was killed together with its wrapper; nobody says why"), "{why}");
    assert_eq!(held.started().len(), 1, "it is not run again unasked");
    nothing_left(&bed, "grid");
    // Its queue is disabled: jobs wait and say so; the master is down and comes back.
    bed.on("grid", "qmod -d all.q").exits(0);
    let held = Held::submit(&bed, "grid", "\"grid\"", 2, "");
    why_says(&bed, "t[1]", &["it waits in the queue of `grid`"]);
    bed.on("grid", "qmod -e all.q").exits(0);
    held.run();
    bed.now("stop-part qmaster");
    held.release();
    // Their own records tell.
    bed.csync(&["wait", "last"]).exits(0);
    bed.now("start-part qmaster");
    held.done_once();
}

/// Returns the ids of the jobs that are in Grid Engine's queue.
fn in_grid(bed: &Bed) -> Vec<String> {
    let out = bed.on("grid", "qstat -u alice | awk 'NR > 2 { print $1 }'").exits(0).out;
    out.lines().map(str::to_owned).collect()
}

#[test]
fn what_administrators_do_to_jobs_of_grid_engine_is_told_as_it_was() {
    let bed = bed(&["sge"]);
    bed.csync(&["hosts", "probe", "grid"]).exits(0);
    // Its accounting begins with the first job that ran.
    bed.write("first/first.toml", "name = \"first\"\n[tasks.t]\nrun = \"true\"\non = \"grid\"\n");
    bed.csync(&["submit", "first/first.toml"]).exits(0);
    // Deleted by hand while it waits: of that it keeps nothing at all.
    bed.on("grid", "qmod -d all.q").exits(0);
    let held = Held::submit(&bed, "grid", "\"grid\"", 1, "");
    why_says(&bed, "t[1]", &["it waits in the queue of `grid`"]);
    let id = in_grid(&bed).remove(0);
    bed.on("grid", &format!("qdel {id}")).exits(0);
    bed.csync(&["wait", "last"]).exits(130);
    why_says(&bed, "t[1]", &["taken out of the queue before it began", "csync retry"]);
    bed.on("grid", "qmod -e all.q").exits(0);
    assert!(held.started().is_empty(), "it never ran");
    nothing_left(&bed, "grid");

    // Sent back to the queue while it ran: it is followed through its second run, and its end is the end.
    let held = Held::submit(&bed, "grid", "\"grid\"", 1, "");
    held.run();
    let id = in_grid(&bed).remove(0);
    // Forced, since csync asks for it not to be run again.
    bed.on("grid", &format!("qmod -f -rj {id}")).exits(0);
    until("it runs again", || held.started().len() == 2);
    assert_eq!(held.started()[0], held.started()[1], "the same attempt");
    held.release();
    bed.csync(&["wait", "last"]).exits(0);
    assert_eq!(bed.read("out/1"), "1\n");
    why_says(&bed, "t[1]", &["the batch system started it again once"]);
    nothing_left(&bed, "grid");
}

#[test]
fn jobs_of_grid_engine_outlive_its_daemon_and_are_run_again_when_their_node_is_lost() {
    let bed = bed(&["sge"]);
    bed.csync(&["hosts", "probe", "grid"]).exits(0);
    // The daemon alone is gone: its jobs go on, and their own records tell.
    let held = Held::submit(&bed, "grid", "\"grid\"", 2, "");
    held.run();
    bed.now("stop-part execd");
    held.release();
    bed.csync(&["wait", "last"]).exits(0);
    bed.now("start-part execd");
    held.done_once();

    // The node is gone: its master says for minutes that the job runs there, and nobody can know better before the node is back.
    let held = Held::submit(&bed, "grid", "\"grid\"", 1, "");
    held.run();
    let runs = || bed.csync(&["show", "last"]).exits(0).out.contains("1: 1 running");
    until("it is seen that it runs", runs);
    bed.now("crash gridx");
    assert!(runs());
    assert_eq!(held.started().len(), 1);
    bed.now("boot gridx");
    until("it runs again", || held.started().len() == 2);
    assert_ne!(held.started()[0], held.started()[1], "another attempt");
    held.release();
    bed.csync(&["wait", "last"]).exits(0);
    why_says(&bed, "t[1]", &["its node on `grid` failed"]);
    assert_eq!(bed.read("out/1"), "1\n");
    nothing_left(&bed, "grid");
}

/// Returns when the only attempt of the only task was submitted, began and ended, and how long it ran, in seconds.
fn times(bed: &Bed) -> [f64; 4] {
    let shown = bed.csync(&["show", "last", "t", "--json"]).exits(0).json();
    let attempt = &shown["instances"][0]["attempts"][0];
    let at = |key: &str| {
        let at: Timestamp = serde_json::from_value(attempt[key].clone()).unwrap_or_else(|_| panic!("{key}: {shown}"));
        at.0 as f64 / 1e6
    };
    [at("submitted"), at("started"), at("ended"), attempt["usage"]["wall"].as_f64().unwrap()]
}

#[test]
fn jobs_on_clusters_whose_clocks_are_an_hour_off_have_the_times_of_this_one() {
    let bed = bed(&["slurm", "sge"]);
    let library = faketime::library().display().to_string();
    let fake = |offset: &str| format!("LD_PRELOAD={library} FAKETIME={offset} FAKETIME_DONT_FAKE_MONOTONIC=1");
    // Slurm: sessions and nodes an hour ahead; what a session's shell is told, its jobs get.
    let date = |offset: &str| {
        format!(
            "mkdir -p /tmp/bin; printf '#!/bin/sh\n{} exec /bin/date \"$@\"\n' >/tmp/bin/date; chmod +x /tmp/bin/date",
            fake(offset)
        )
    };
    bed.on("login", "echo 'PATH=/tmp/bin:$PATH' >~/.bashrc").exits(0);
    for host in ["login", "n1", "n2", "n3"] {
        bed.on(host, &date("+1h")).exits(0);
    }
    // Grid Engine: what runs on its execution host an hour behind.
    let behind = format!("#!/bin/sh\\n{} exec \"$@\"\\n", fake("-1h"));
    bed.on("gridx", &format!("printf '{behind}' >/tmp/starter; chmod +x /tmp/starter")).exits(0);
    bed.on("grid", "qconf -mattr queue starter_method /tmp/starter all.q").exits(0);
    for (host, lines, at) in [("hpc", "login", 3600), ("grid", "gridx", -3600)] {
        bed.write(
            "workflow.toml",
            format!("name = \"{host}\"\n[tasks.t]\noutputs = [\"{host}\"]\nrun = \"date +%s > {{outputs}}; sleep 2\"\non = \"{host}\"\n"),
        );
        bed.csync(&["submit"]).exits(0);
        let [submitted, started, ended, wall] = times(&bed);
        let there: f64 = bed.read(host).trim().parse().unwrap();
        // Within half an hour: what is wrong is so by a whole one. Its clock is, or this shows nothing.
        let is_near = |seconds: f64| (0.0..1800.0).contains(&seconds);
        assert!(is_near((there - f64::from(at) - started).abs()), "{lines}: {there} {started}");
        assert!(is_near(started - submitted), "{host}: it waited {} s", started - submitted);
        assert!(is_near(wall) && is_near(ended - started), "{host}: {started} {ended} {wall}");
    }
}

#[test]
fn a_controller_that_keeps_no_more_jobs_is_waited_for() {
    let bed = bed(&["slurm"]);
    let few = "s/^MaxJobCount=.*/MaxJobCount=3/; s/^MinJobAge=.*/MinJobAge=2/";
    bed.on("login", &format!("sed -i '{few}' /run/bed/slurm/etc/slurm.conf")).exits(0);
    bed.now("stop-part slurmctld");
    bed.now("start-part slurmctld");
    assert!(bed.on("login", "scontrol show config").out.contains("MaxJobCount             = 3"));
    let held = Held::submit(&bed, "login", "\"hpc\"", 2, "");
    held.run();
    bed.write(
        "more/more.toml",
        "name = \"more\"\n[tasks.m]\nforeach = { range = [1, 5] }\noutputs = [\"m{item}\"]\nrun = \"echo $CSYNC_JOB >> ~/more; hostname > \
         {outputs}\"\non = \"hpc\"\n",
    );
    bed.csync(&["submit", "--detach", "more/more.toml"]).exits(0);
    // `sbatch` itself waits for room, for two minutes; it never comes for all five at once.
    until("it waits for room", || bed.on("login", "pgrep -x sbatch").code == 0);
    held.release();
    bed.csync(&["wait", "1", "2"]).exits(0);
    assert_eq!(bed.on("login", "sort -u ~/more").out.lines().count(), 5);
    assert_eq!(bed.on("login", "cat ~/more").out.lines().count(), 5, "each ran once");
    assert!((1..=5).all(|n| bed.read(&format!("more/m{n}")).starts_with('n')));
    nothing_left(&bed, "login");
}
