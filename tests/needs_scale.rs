//! Journeys of much work on a cluster: its limits, large arrays.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use crate::bed::{Bed, read_until};
use crate::far::{engine_pid, nothing_left};
use crate::world::{signal, until};

/// The cluster by the login node whose commands of Slurm a test can stand in front of.
const HOSTS: &str = "[hosts.hpc]\nssh = \"login2\"\n";

fn configure(bed: &Bed, hosts: &str) {
    let dir = bed.home().join(".config/csync");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("hosts.toml"), hosts).unwrap();
}

/// Puts a script in front of a command of the bed's Slurm; `$real` is the command itself.
fn in_front_of(bed: &Bed, command: &str, script: &str) {
    let path = bed.dir().join("slurm/bin").join(command);
    fs::remove_file(&path).unwrap();
    fs::write(&path, format!("#!/bin/bash\nreal=/opt/slurm/all/{command}\n{script}\nexec $real \"$@\"\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Changes slurm.conf as an administrator does, by a script for `sed`, and starts the controller anew.
fn restart_slurm(bed: &Bed, script: &str) {
    bed.on("login", &format!("sed -i '{script}' /run/bed/slurm/etc/slurm.conf")).exits(0);
    bed.now("stop-part slurmctld");
    bed.now("start-part slurmctld");
    until("all nodes are back", || bed.on("login", "sinfo -h -t idle -o %D").out.lines().next() == Some("3"));
}

#[test]
fn a_task_goes_to_the_partition_that_it_fits_and_is_refused_where_none_does() {
    let bed = Bed::own(&["slurm"]);
    configure(&bed, HOSTS);
    bed.csync(&["hosts", "probe", "hpc"]).exits(0);
    bed.write(
        "workflow.toml",
        r#"
name = "limits"
[defaults]
on = "hpc"
[tasks.short]
run = "echo $SLURM_JOB_PARTITION"
[tasks.long]
run = "echo $SLURM_JOB_PARTITION"
resources = { time = "2h" }
[tasks.large]
run = "echo $SLURMD_NODENAME"
resources = { mem = "3000M" }
[tasks.wide]
run = "true"
resources = { cpus = 3 }
[tasks.endless]
run = "true"
resources = { time = "2h" }
partition = "debug"
"#,
    );
    let done = bed.csync(&["submit"]).exits(1);
    assert!(done.out.contains("2 failed, 3 done"), "{}", done.out);
    let log = |label: &str| bed.csync(&["logs", "1", label, "--stdout"]).exits(0).out;
    assert_eq!((log("short"), log("long"), log("large")), ("debug\n".into(), "long\n".into(), "n3\n".into()));
    let why = |label: &str| bed.csync(&["why", label]).exits(0).out;
    let wide = why("wide");
    assert!(wide.contains("asks for 3 cores on one node, and the most is 2 in `debug`, 2 in `long`"), "{wide}");
    let endless = why("endless");
    assert!(endless.contains("asks for 2h of walltime, and the most is 1h in `debug`"), "{endless}");
}

#[test]
fn a_site_that_takes_no_more_jobs_is_waited_for() {
    let bed = Bed::own(&["slurm", "db"]);
    configure(&bed, HOSTS);
    bed.csync(&["hosts", "probe", "hpc"]).exits(0);
    let trace = bed.scratch("login");
    let limit = "sacctmgr -i add account lab && sacctmgr -i add user alice account=lab maxsubmitjobs=12";
    bed.on("login", limit).exits(0);
    restart_slurm(&bed, "$aAccountingStorageEnforce=associations,limits");
    assert!(bed.on("login", "sbatch --array=1-13 --wrap true").exits(1).err.contains("AssocMaxSubmitJobLimit"));
    bed.write(
        "workflow.toml",
        format!(
            r#"
name = "many"
[tasks.t]
foreach = {{ range = [1, 40] }}
run = "while [ ! -e {trace}/go ]; do sleep 0.1; done; echo $CSYNC_JOB >> {trace}/ran"
on = "hpc"
"#
        ),
    );
    bed.csync(&["submit", "--detach"]).exits(0);
    let status = || bed.csync(&["status"]).exits(0).out;
    until("it is said that it is full", || status().contains("AssocMaxSubmitJobLimit"));
    until("some run", || {
        bed.csync(&["runs", "-n", "1", "--json"]).exits(0).json()["runs"][0]["counts"]["running"] != 0
    });
    until("it is said why the last one waits", || {
        let why = bed.csync(&["why", "last", "t[40]"]).exits(0).out;
        why.contains("takes no more jobs now (AssocMaxSubmitJobLimit")
    });
    bed.on("login", &format!("touch {trace}/go")).exits(0);
    bed.csync(&["wait", "last"]).exits(0);
    let ran = bed.on("login", &format!("sort {trace}/ran | uniq -c | awk '$1 == 1' | wc -l")).exits(0).out;
    assert_eq!(ran.trim(), "40", "each ran once");
    assert!(!bed.csync(&["show", "last"]).exits(0).out.contains("failed"));
    // What was refused left nothing behind.
    until("nothing is left", || bed.on("login", "ls ~/.csync/jobs").out.trim().is_empty());
}

#[test]
fn arrays_that_a_site_takes_no_more_of_this_size_are_split() {
    let bed = Bed::own(&["slurm"]);
    configure(&bed, HOSTS);
    bed.csync(&["hosts", "probe", "hpc"]).exits(0);
    // After it was probed: 1 to 9 are the indices that are left.
    restart_slurm(&bed, "s/^MaxArraySize=.*/MaxArraySize=10/");
    assert!(
        bed.on("login", "sbatch --array=1-10 --wrap true").exits(1).err.contains("Invalid job array specification")
    );
    bed.write(
        "workflow.toml",
        "name = \"many\"\n[tasks.t]\nforeach = { range = [1, 25] }\nrun = \"echo {item}\"\non = \"hpc\"\n",
    );
    let done = bed.csync(&["submit"]).exits(0);
    assert!(done.out.contains("25 done"), "{}", done.out);
    let tasks = bed.on("login", "scontrol -o show job | sed -n 's/.*ArrayTaskId=\\([0-9]*\\) .*/\\1/p'").out;
    let tasks: Vec<u32> = tasks.lines().map(|line| line.parse().unwrap()).collect();
    assert!(tasks.len() > 20 && tasks.iter().all(|task| *task <= 9), "in arrays that it takes: {tasks:?}");
    nothing_left(&bed, "login");
}

#[test]
fn a_grid_engine_that_takes_no_more_jobs_is_waited_for() {
    let bed = Bed::own(&["sge"]);
    configure(&bed, "[hosts.grid]\nbatch = \"sge\"\n");
    let set = "qconf -sconf | sed 's/^max_u_jobs .*/max_u_jobs 2/' > /tmp/global && qconf -Mconf /tmp/global";
    bed.on("grid", set).exits(0);
    // Different walltimes: a submission each.
    let tasks: Vec<String> = (1..=6)
        .map(|n| {
            format!("[tasks.t{n}]\nrun = \"sleep 1; echo {n}\"\nresources = {{ time = \"{n}m\" }}\non = \"grid\"\n")
        })
        .collect();
    bed.write("workflow.toml", format!("name = \"many\"\n{}", tasks.concat()));
    let done = bed.csync(&["submit"]).exits(0);
    assert!(done.out.contains("6 done"), "{}", done.out);
}

#[test]
fn two_thousand_members_are_few_submissions() {
    let bed = Bed::own(&["slurm"]);
    configure(&bed, &format!("{HOSTS}max_jobs = 5000\n"));
    bed.csync(&["hosts", "probe", "hpc"]).exits(0);
    let trace = bed.scratch("login");
    in_front_of(&bed, "sbatch", &format!("echo \"$@\" >> {trace}/calls"));
    bed.write(
        "workflow.toml",
        // One more than two arrays hold: an array of one member is no array.
        "name = \"wide\"\n[tasks.t]\nforeach = { range = [1, 2001] }\nrun = [\"sleep\", \"60{item}\"]\non = \"hpc\"\n",
    );
    bed.csync(&["submit", "--detach"]).exits(0);
    until("all are in the queue", || bed.on("login", "squeue -h -r | wc -l").out.trim() == "2001");
    let calls = bed.on("login", &format!("cat {trace}/calls")).exits(0).out;
    assert!(calls.lines().count() <= 4, "{calls}");
    bed.csync(&["cancel", "last"]).exits(0);
    bed.csync(&["wait", "last"]).exits(130);
    assert_eq!(bed.on("login", "squeue -h -t PD,R").out, "");
}

#[test]
fn ten_thousand_jobs_of_twenty_runs_are_asked_for_together() {
    let bed = Bed::own(&["slurm"]);
    configure(&bed, &format!("{HOSTS}max_jobs = 20000\n"));
    bed.csync(&["hosts", "probe", "hpc"]).exits(0);
    let trace = bed.scratch("login");
    for command in ["squeue", "scancel"] {
        in_front_of(&bed, command, &format!("echo x >> {trace}/{command}"));
    }
    let calls = |command: &str| bed.on("login", &format!("cat {trace}/{command} 2>/dev/null | wc -l")).out;
    let calls = |command: &str| calls(command).trim().parse::<usize>().unwrap();
    for run in 1..=20 {
        let file = format!("r{run}/workflow.toml");
        let task = "[tasks.t]\nforeach = { range = [1, 500] }\nrun = [\"sleep\", \"6000{item}\"]\non = \"hpc\"\n";
        bed.write(&file, format!("name = \"r{run}\"\n{task}"));
        bed.csync(&["submit", "--detach", &file]).exits(0);
    }
    until("all are in the queue", || bed.on("login", "squeue -h -r -t PD,R | wc -l").out.trim() == "10000");
    // The next engine knows them all again, by a question for all runs and not one for each.
    let log = bed.home().join("state/engine.log");
    signal(engine_pid(&bed), "KILL");
    fs::write(&log, "").unwrap();
    let before = calls("squeue");
    bed.csync(&["show", "last"]).exits(0);
    until("they are adopted", || fs::read_to_string(&log).unwrap().contains("adopted host=hpc jobs=10000"));
    let asked = calls("squeue") - before;
    assert!((1..20).contains(&asked), "{asked} questions");
    let status = bed.csync(&["status", "--json"]).exits(0).json();
    assert_eq!(status["runs"].as_array().unwrap().len(), 20, "{status}");
    // The five hundred of one run end by few orders, and the others stay.
    bed.csync(&["cancel", "last"]).exits(0);
    bed.csync(&["wait", "last"]).exits(130);
    let ended = calls("scancel");
    assert!((1..20).contains(&ended), "{ended} orders");
    until("the others wait on", || bed.on("login", "squeue -h -r -t PD,R | wc -l").out.trim() == "9500");
    // All others at once: a few orders too, and nothing of them is left, in the queue, on the nodes or in scratch.
    let before = (calls("scancel"), calls("squeue"));
    for run in 1..20 {
        bed.csync(&["cancel", &run.to_string()]).exits(0);
    }
    for run in 1..20 {
        bed.csync(&["wait", &run.to_string()]).exits(130);
    }
    let asked = (calls("scancel") - before.0, calls("squeue") - before.1);
    assert!((1..25).contains(&asked.0) && (1..60).contains(&asked.1), "{asked:?} orders and questions");
    nothing_left(&bed, "login");
    let ran = fs::read_to_string(&log).unwrap();
    assert!(!ran.contains("cannot be used"), "clearing away kept nobody from looking: {ran}");
}

/// Submits a task that says what `first` prints and goes on when it is told to; returns what to do on the host to tell it.
fn waiting(bed: &Bed, first: &str) -> String {
    let trace = bed.scratch("login");
    bed.write(
        "workflow.toml",
        format!(
            r#"
name = "waits"
[tasks.t]
outputs = ["made"]
run = "{first}; touch {trace}/runs; while [ ! -e {trace}/go ]; do sleep 0.1; done; echo two; date > {{outputs}}"
on = "hpc"
"#
        ),
    );
    bed.csync(&["submit", "--detach"]).exits(0);
    until("it runs", || bed.on("login", &format!("ls {trace}")).out.contains("runs"));
    format!("touch {trace}/go")
}

#[test]
fn what_a_far_job_prints_is_seen_while_it_runs() {
    let bed = Bed::own(&["slurm"]);
    configure(&bed, "[hosts.hpc]\nssh = \"login\"\nbatch = \"slurm\"\n");
    let go = waiting(&bed, "echo one");
    let mut follower =
        bed.csync_command(&["logs", "-f", "last", "t", "--stdout"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = follower.stdout.take().unwrap();
    assert_eq!(read_until(&mut out, "one\n"), "one\n");
    // Without following, what there is now.
    assert_eq!(bed.csync(&["logs", "last", "t", "--stdout"]).exits(0).out, "one\n");
    bed.on("login", &go).exits(0);
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "two\n");
    assert!(follower.wait().unwrap().success());
    bed.csync(&["wait", "last"]).exits(0);
    assert_eq!(bed.csync(&["logs", "last", "t", "--stdout"]).exits(0).out, "one\ntwo\n");
}

#[test]
fn a_batch_system_is_asked_no_sooner_than_its_site_lets_us_whoever_watches_or_cancels() {
    let bed = Bed::own(&["slurm"]);
    configure(&bed, "[hosts.hpc]\nssh = \"login2\"\nbatch = \"slurm\"\npolicy = { poll_min = \"1h\" }\n");
    bed.csync(&["hosts", "probe", "hpc"]).exits(0);
    let trace = bed.scratch("login");
    in_front_of(&bed, "squeue", &format!("echo x >> {trace}/asked"));
    let asked = || bed.on("login", &format!("cat {trace}/asked 2>/dev/null | wc -l")).out.trim().to_owned();
    let run = format!(
        "for n in 1 2 3 4 5; do while [ ! -e {trace}/go$n ]; do sleep 0.1; done; echo said $n; done; touch {trace}/out; sleep 600"
    );
    bed.write("workflow.toml", format!("name = \"shy\"\n[tasks.t]\nrun = \"{run}\"\non = \"hpc\"\n"));
    bed.csync(&["submit", "--detach"]).exits(0);
    until("it is asked after the submission", || asked() == "1");
    // What a job prints is in its directory: that is read as often as somebody wants to see it.
    for n in 1..=5 {
        // Nor is it asked sooner by an engine after this one, whether that was stopped or died.
        match n {
            4 => drop(bed.csync(&["engine", "stop", "--now"]).exits(0)),
            5 => signal(engine_pid(&bed), "KILL"),
            _ => {}
        }
        bed.on("login", &format!("touch {trace}/go{n}")).exits(0);
        let log = || bed.csync(&["logs", "last", "t", "--stdout"]).exits(0).out;
        until("the line is seen", || log().ends_with(&format!("said {n}\n")));
    }
    let show = bed.csync(&["show", "last"]).exits(0).out;
    assert!(show.contains("1 running"), "its record tells that it runs: {show}");
    bed.csync(&["cancel", "last"]).exits(0);
    bed.csync(&["wait", "last"]).exits(130);
    assert_eq!(bed.on("login", "squeue -h -t PD,R").out, "");
    assert_eq!(asked(), "1", "nothing of it was asked of the batch system");
}

#[test]
fn jobs_on_a_host_that_is_not_named_any_more_are_followed_to_their_end() {
    let bed = Bed::shared();
    configure(&bed, "[hosts.hpc]\nssh = \"login\"\nbatch = \"slurm\"\n");
    let go = waiting(&bed, "true");
    configure(&bed, "");
    signal(engine_pid(&bed), "KILL");
    bed.on("login", &go).exits(0);
    bed.csync(&["wait", "last"]).exits(0);
    assert!(bed.path("made").exists());
}

#[test]
fn an_edited_configuration_holds_for_what_runs() {
    let bed = Bed::own(&["slurm"]);
    let hosts = |jobs: u32| format!("[hosts.hpc]\nssh = \"login\"\nbatch = \"slurm\"\nmax_jobs = {jobs}\n");
    configure(&bed, &hosts(1));
    let trace = bed.scratch("login");
    bed.write(
        "workflow.toml",
        format!("name = \"edit\"\n[tasks.t]\nforeach = {{ range = [1, 4] }}\nrun = \"touch {trace}/$CSYNC_JOB; sleep 60\"\non = \"hpc\"\n"),
    );
    bed.csync(&["submit", "--detach"]).exits(0);
    let running = || bed.on("login", &format!("ls {trace} | wc -l")).out.trim().to_owned();
    until("one runs", || running() == "1");
    let status = || bed.csync(&["status"]).exits(0).out;
    assert!(status().contains("hpc: 1 job"), "{}", status());
    configure(&bed, &hosts(4));
    until("all of them are there", || status().contains("hpc: 4 jobs"));
    bed.csync(&["cancel", "last"]).exits(0);
    bed.csync(&["wait", "last"]).exits(130);
}

#[test]
fn a_host_without_contact_is_shown_with_its_next_try() {
    let bed = Bed::own(&["slurm"]);
    configure(&bed, "[hosts.hpc]\nssh = \"login\"\nbatch = \"slurm\"\n");
    // The keep-alives tell.
    let config = bed.home().join(".ssh/config");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("ServerAliveInterval 2\nServerAliveCountMax 2\n{text}")).unwrap();
    let go = waiting(&bed, "true");
    bed.now("cut gate");
    let status = || bed.csync(&["status"]).exits(0).out;
    until("it is noticed", || status().contains("hpc: 1 job, cannot be used since"));
    assert!(status().contains("next try"), "{}", status());
    let show = bed.csync(&["show", "last"]).exits(0).out;
    assert!(show.contains("1 lost"), "{show}");
    let list = bed.csync(&["hosts", "list"]).exits(0).out;
    assert!(list.contains("open") && list.contains("hpc: 1 job"), "{list}");
    let why = bed.csync(&["why", "t"]).exits(0).out;
    assert!(why.contains("there is no contact with `hpc`"), "{why}");
    bed.now("heal gate");
    until("it is used again", || !status().contains("cannot be used") && !status().contains("could not"));
    bed.on("login", &go).exits(0);
    bed.csync(&["wait", "last"]).exits(0);
}

#[test]
fn a_workflow_handed_over_ahead_goes_on_without_an_engine() {
    let bed = Bed::own(&["slurm"]);
    configure(&bed, "[hosts.hpc]\nssh = \"login\"\nbatch = \"slurm\"\n");
    let trace = bed.scratch("login");
    bed.write(
        "workflow.toml",
        format!(
            r#"
name = "layers"
[defaults]
on = "hpc"
[tasks.a]
foreach = {{ range = [1, 3] }}
outputs = ["a/{{item}}"]
run = "while [ ! -e {trace}/go ]; do sleep 0.1; done; echo $CSYNC_JOB >> {trace}/ran; echo {{item}} > {{outputs}}"
[tasks.b]
foreach = {{ range = [1, 3] }}
inputs = ["a/{{item}}"]
outputs = ["b/{{item}}"]
run = "echo $CSYNC_JOB >> {trace}/ran; cat {{inputs}} {{inputs}} > {{outputs}}"
[tasks.c]
inputs = ["b/*"]
outputs = ["c"]
run = "cat {{inputs}} > {{outputs}}; touch {trace}/end"
"#
        ),
    );
    bed.csync(&["submit", "--detach", "--ahead"]).exits(0);
    until("all layers are in the queue", || bed.on("login", "squeue -h -r | wc -l").out.trim() == "7");
    until("all are known", || bed.csync(&["status"]).exits(0).out.contains("hpc: 7 jobs"));
    signal(engine_pid(&bed), "KILL");
    bed.on("login", &format!("touch {trace}/go")).exits(0);
    until("the last layer ran", || bed.on("login", &format!("ls {trace}")).out.contains("end"));
    bed.csync(&["wait", "last"]).exits(0);
    assert_eq!(bed.read("c"), "1\n1\n2\n2\n3\n3\n");
    let ran = bed.on("login", &format!("wc -l < {trace}/ran")).exits(0).out;
    assert_eq!(ran.trim(), "6", "each ran once");
    // What came back is known by what it was made of.
    assert!(bed.csync(&["submit"]).exits(0).out.contains("everything is up to date"));
    configure(&bed, "[hosts.hpc]\nssh = \"login\"\nbatch = \"slurm\"\nmax_jobs = 2\n");
    the_next_engine_starts_what_was_left_once(&bed, &trace);
    the_next_engine_hands_over_too(&bed, &trace);
}

/// Hands over two tasks of six, for which there is room; the engine that does the others is another one.
fn the_next_engine_starts_what_was_left_once(bed: &Bed, trace: &str) {
    let run = format!("while [ ! -e {trace}/all ]; do sleep 0.1; done; echo {{item}} >> {trace}/left");
    bed.write(
        "six.toml",
        format!("name = \"six\"\n[tasks.t]\non = \"hpc\"\nforeach = {{ range = [1, 6] }}\nrun = \"{run}\"\n"),
    );
    bed.csync(&["submit", "--detach", "six.toml"]).exits(0);
    let jobs = || bed.on("login", "squeue -h -r -o %T").exits(0).out;
    until("two run", || jobs().lines().filter(|state| *state == "RUNNING").count() == 2);
    signal(engine_pid(bed), "KILL");
    bed.csync(&["engine", "restart"]).exits(0);
    until("they are followed again", || bed.csync(&["status"]).exits(0).out.contains("hpc: 2 jobs"));
    assert_eq!(jobs().lines().count(), 2, "no more than there is room for");
    bed.on("login", &format!("touch {trace}/all")).exits(0);
    bed.csync(&["wait", "last"]).exits(0);
    let ran = bed.on("login", &format!("sort {trace}/left")).out;
    assert_eq!(ran, "1\n2\n3\n4\n5\n6\n", "each ran once");
}

/// Hands over two layers of three, for which there is room; the engine that does the third is another one.
fn the_next_engine_hands_over_too(bed: &Bed, trace: &str) {
    configure(bed, "[hosts.hpc]\nssh = \"login\"\nbatch = \"slurm\"\nmax_jobs = 2\n");
    let task = |name: &str, before: &str| {
        format!(
            "[tasks.{name}]\n{before}outputs = [\"{name}\"]\nrun = \"while [ ! -e {trace}/go-{name} ]; do sleep 0.1; done; echo {name} >> {trace}/handed; touch {name}\"\n"
        )
    };
    let tasks = [task("x", ""), task("y", "inputs = [\"x\"]\n"), task("z", "inputs = [\"y\"]\n")].concat();
    bed.write("three.toml", format!("name = \"three\"\n[defaults]\non = \"hpc\"\n{tasks}"));
    bed.csync(&["submit", "--detach", "--ahead", "three.toml"]).exits(0);
    let pending = || bed.on("login", "squeue -h -t PENDING -o %i").exits(0).out;
    let go = |name: &str| bed.on("login", &format!("touch {trace}/go-{name}")).exits(0);
    until("both are known", || bed.csync(&["status"]).exits(0).out.contains("hpc: 2 jobs"));
    until("the first runs", || pending().lines().count() == 1);
    let second = pending();
    signal(engine_pid(bed), "KILL");
    bed.csync(&["engine", "restart"]).exits(0);
    go("x");
    until("the third waits behind the second", || ![second.as_str(), ""].contains(&pending().as_str()));
    go("y");
    go("z");
    bed.csync(&["wait", "last"]).exits(0);
    assert_eq!(bed.on("login", &format!("cat {trace}/handed")).out, "x\ny\nz\n", "each ran once, in order");
}

#[test]
fn what_comes_after_a_failure_does_not_run_ahead() {
    let bed = Bed::own(&["slurm"]);
    configure(&bed, "[hosts.hpc]\nssh = \"login\"\nbatch = \"slurm\"\n");
    bed.write(
        "workflow.toml",
        r#"
name = "broken"
[defaults]
on = "hpc"
[tasks.a]
outputs = ["a"]
run = "sleep 2; exit 3"
[tasks.b]
inputs = ["a"]
outputs = ["b"]
run = "cat {inputs} > {outputs}"
[tasks.c]
needs = ["b"]
run = "true"
"#,
    );
    let done = bed.csync(&["submit", "--ahead"]).exits(1);
    assert!(done.out.contains("1 failed, 2 skipped"), "{}", done.out);
    until("the queue is empty", || bed.on("login", "squeue -h").out.is_empty());
}

#[test]
fn a_member_that_fails_takes_away_only_what_comes_after_it() {
    let bed = Bed::own(&["slurm"]);
    configure(&bed, "[hosts.hpc]\nssh = \"login\"\nbatch = \"slurm\"\n");
    // Slurm knows an array as one: it ends all that comes after it when one member of it has failed.
    bed.write(
        "workflow.toml",
        r#"
name = "members"
[defaults]
on = "hpc"
[tasks.a]
foreach = { range = [1, 3] }
outputs = ["a/{item}"]
run = "sleep 2; [ {item} != 2 ] && echo {item} > {outputs}"
[tasks.b]
foreach = { range = [1, 3] }
inputs = ["a/{item}"]
outputs = ["b/{item}"]
run = "cat {inputs} > {outputs}"
[tasks.c]
inputs = ["b/1"]
outputs = ["c"]
run = "cat {inputs} > {outputs}"
[tasks.d]
needs = ["b"]
run = "true"
"#,
    );
    let done = bed.csync(&["submit", "--ahead"]).exits(1);
    assert!(done.out.contains("1 failed, 5 done, 2 skipped"), "{}", done.out);
    assert_eq!((bed.read("b/1"), bed.read("b/3"), bed.read("c")), ("1\n".into(), "3\n".into(), "1\n".into()));
    until("the queue is empty", || bed.on("login", "squeue -h").out.is_empty());
}
