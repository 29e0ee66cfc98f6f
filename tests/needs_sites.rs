//! Journeys of work that runs elsewhere: a Slurm cluster behind two jump hosts, a Grid Engine, a workstation, and this machine.

use std::fs;

use serde_json::json;

use crate::bed::Bed;
use crate::far::{HOSTS, configure, engine_pid};
use crate::world::{signal, until};

/// Joins the shared bed, with these hosts known.
fn shared() -> Bed {
    let bed = Bed::shared();
    configure(&bed, HOSTS);
    bed
}

#[test]
fn one_workflow_spans_a_cluster_a_grid_engine_a_workstation_and_this_machine() {
    let bed = shared();
    bed.write("text.txt", "one\ntwo\nthree\nfour\n");
    bed.write(
        "workflow.toml",
        r#"
name = "far"
[tasks.split]
foreach = { range = [1, 4] }
inputs = ["text.txt"]
outputs = ["parts/{item}.txt"]
run = "hostname; echo said >&2; sed -n {item}p {inputs} > {outputs}"
on = "cluster"
[tasks.shout]
foreach = { range = [1, 4] }
inputs = ["parts/{item}.txt"]
outputs = ["loud/{item} it's.txt"]
run = ["sh", "-c", "hostname; tr a-z A-Z < \"$1\" > \"$2\"", "sh", "{inputs[0]}", "{outputs[0]}"]
on = "grid"
[tasks.join]
inputs = ["loud/*.txt"]
outputs = ["all"]
run = "hostname; cat {inputs} > {outputs}"
on = "lab"
[tasks.check]
inputs = ["all"]
run = "test \"$(wc -l < {inputs})\" = 4"
"#,
    );
    let done = bed.csync(&["submit"]).exits(0);
    assert!(done.out.contains("10 done"), "{}", done.out);
    assert_eq!(bed.read("all"), "ONE\nTWO\nTHREE\nFOUR\n");
    let log = |label: &str| bed.csync(&["logs", "1", label, "--stdout"]).exits(0).out;
    assert!(["n1\n", "n2\n", "n3\n"].contains(&log("split[2]").as_str()));
    // A node that is suspected is found by what ran there.
    let suspect = log("split[2]").trim_end().to_owned();
    for words in [&["why", "split[2]"][..], &["show", "1", "split[2]"]] {
        let told = bed.csync(words).exits(0).out;
        assert!(told.contains(&format!("ran on node {suspect}\n")), "{told}");
    }
    let shown = bed.csync(&["show", "1", "--state", "done", "--json"]).exits(0).out;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let allocation = |label: &str| {
        let mut all = shown["instances"].as_array().unwrap().iter();
        all.find(|one| one["label"] == label).unwrap()["attempts"][0]["allocation"].clone()
    };
    let slurm = allocation("split[2]");
    assert_eq!((&slurm["node"], &slurm["nodes"], &slurm["cpus"]), (&json!(suspect), &json!(1), &json!(1)), "{slurm}");
    assert_eq!(allocation("shout[2]"), json!({"node": "gridx", "nodes": 1, "cpus": 1}));
    assert_eq!(allocation("join"), json!(null), "a workstation has no nodes");
    assert_eq!((log("shout[2]").as_str(), log("join").as_str()), ("gridx\n", "station\n"));
    let why = bed.csync(&["why", "split[1]"]).exits(0).out;
    assert!(why.contains("on hpc: success"), "{why}");
    // What came back is known to be up to date.
    assert!(bed.csync(&["submit"]).exits(0).out.contains("everything is up to date"));
    // One line changes: what the others' parts are like is seen when they come back.
    bed.write("text.txt", "one\ntwo\nthree\nfive\n");
    let done = bed.csync(&["submit"]).exits(0);
    assert!(done.out.contains("7 done, 3 cached"), "{}", done.out);
    assert_eq!(bed.read("all"), "ONE\nTWO\nTHREE\nFIVE\n");
    // What the batch system remembers of these jobs is learned from.
    let mine = "qsub -sync y -b y -N by_hand -o /dev/null -e /dev/null sleep 2";
    bed.on("grid", mine).exits(0);
    let told = bed.csync(&["profile", "import", "--json", "--from", "grid"]).exits(0).json();
    assert!(told["jobs"].as_u64().is_some_and(|jobs| jobs >= 1), "{told}");
    let none = bed.csync(&["profile", "import", "--from", "lab"]).exits(2);
    assert!(none.err.contains("neither `sacct` nor `qacct`"), "{none:?}");
}

#[test]
fn what_slurm_remembers_of_jobs_and_of_its_queues_is_learned_from() {
    let bed = Bed::own(&["slurm", "db"]);
    configure(&bed, HOSTS);
    // Jobs of before csync: one, one that waits for it, and an array; beside them one of csync's own.
    let sent = bed.on("login", "sbatch --parsable -J align -o /dev/null --wrap 'sleep 4'").exits(0).out;
    let after = format!("sbatch --parsable -d afterok:{} -J sort -o /dev/null --wrap 'sleep 1'", sent.trim());
    bed.on("login", &after).exits(0);
    bed.on("login", "sbatch -a 1-3 -J fit -o /dev/null --wrap 'sleep 1'").exits(0);
    bed.write("workflow.toml", "name = \"own\"\n[tasks.t]\nrun = \"sleep 1\"\non = \"hpc\"\n");
    bed.csync(&["submit"]).exits(0);
    let over = || bed.on("login", "sacct -n -X -P -S now-1hour -o State").exits(0).out.matches("COMPLETED").count();
    until("the accounting knows them all", || over() == 6);
    // The zone is told behind each time, whatever it is.
    let zoned = "export SLURM_TIME_FORMAT=%Y-%m-%dT%H:%M:%S%z; sacct -n -X -P -S now-1hour -o Start%30";
    let times = bed.on("login", zoned).exits(0).out;
    assert!(times.lines().all(|time| time.len() == 24 && time.as_bytes()[19] == b'+'), "{times}");
    let import = || bed.csync(&["profile", "import", "--json", "--from", "hpc"]).exits(0).json();
    let wait = || {
        let answer = bed.csync(&["route", "--json", "--time", "1m", "--", "python", "x.py"]).exits(0).json();
        let places = answer["places"].as_array().unwrap();
        places.iter().find(|place| place["host"] == "hpc").unwrap()["wait"].clone()
    };
    // One of csync's own is known already; of an array one counts.
    assert_eq!(wait()["source"]["learned"], 1);
    for _ in 0..2 {
        let told = import();
        assert!(told["jobs"].as_u64().is_some_and(|jobs| jobs >= 5), "{told}");
        assert_eq!(told["waits"], 3, "{told}");
        let wait = wait();
        assert_eq!(wait["source"]["learned"], 4, "{wait}");
    }
}

#[test]
fn a_member_that_fails_is_explained_and_the_others_come_back() {
    let bed = shared();
    bed.write(
        "workflow.toml",
        r#"
name = "mixed"
[tasks.t]
foreach = { range = [1, 3] }
outputs = ["out/{item}"]
run = "echo told; echo x > {outputs}; [ {item} != 2 ] || { echo broken >&2; exit 7; }"
on = "hpc"
[tasks.lazy]
outputs = ["never"]
run = "true"
on = "lab"
"#,
    );
    let done = bed.csync(&["submit"]).exits(1);
    assert!(done.out.contains("t[2]  exit code 7"), "{}", done.out);
    assert!(bed.path("out/1").exists() && bed.path("out/3").exists() && !bed.path("out/2").exists());
    assert_eq!(bed.csync(&["logs", "1", "t[2]", "--stderr"]).exits(0).err, "broken\n");
    let why = bed.csync(&["why", "lazy"]).exits(0).out;
    assert!(why.contains("did not make") && why.contains("never"), "{why}");
}

#[test]
fn jobs_go_on_without_the_engine_and_the_next_one_adopts_them() {
    let bed = shared();
    let trace = bed.scratch("login");
    bed.write(
        "workflow.toml",
        format!(
            r#"
name = "long"
[tasks.t]
foreach = {{ range = [1, 5] }}
outputs = ["out/{{item}}"]
run = "echo $CSYNC_JOB >> {trace}/started; while [ ! -e {trace}/go ]; do sleep 0.2; done; date > {{outputs}}"
on = "hpc"
"#
        ),
    );
    bed.csync(&["submit", "--detach"]).exits(0);
    let started = || bed.on("login", &format!("cat {trace}/started 2>/dev/null | wc -l")).out.trim().to_owned();
    until("all of them run", || started() == "5");
    signal(engine_pid(&bed), "KILL");
    bed.on("login", &format!("touch {trace}/go")).exits(0);
    bed.csync(&["wait", "last"]).exits(0);
    assert_eq!(started(), "5", "nothing ran twice");
    let show = bed.csync(&["show", "last"]).exits(0).out;
    assert!(show.contains("5 done"), "{show}");
}

#[test]
fn cancelled_jobs_leave_the_queue() {
    let bed = shared();
    bed.write(
        "workflow.toml",
        "name = \"idle\"\n[tasks.t]\nforeach = { range = [1, 12] }\nrun = \"sleep 600\"\non = \"hpc\"\n[tasks.s]\nrun = \"sleep 601\"\non = \"lab\"\n",
    );
    bed.csync(&["submit", "--detach"]).exits(0);
    let running =
        || bed.csync(&["show", "last", "--state", "running", "--json"]).out.matches("\"running\"").count() > 1;
    until("some of them run", running);
    bed.csync(&["cancel", "last"]).exits(0);
    bed.csync(&["wait", "last"]).exits(130);
    let id = bed.csync(&["show", "last"]).exits(0).out;
    assert!(id.contains("13 cancelled"), "{id}");
    until("the queue has none of them", || !bed.on("login", "squeue -h -o %j").exits(0).out.contains("-1-0-1"));
    until("the workstation has none", || bed.on("station", "pgrep -f 'sleep 60[1]'").out.is_empty());
}

#[test]
fn work_goes_elsewhere_when_a_host_cannot_be_reached() {
    let bed = Bed::own(&["slurm"]);
    configure(&bed, HOSTS);
    bed.now("crash login");
    bed.write(
        "workflow.toml",
        "name = \"away\"\n[tasks.t]\nforeach = { range = [1, 3] }\noutputs = [\"o/{item}\"]\nrun = \"hostname > {outputs}\"\non = [\"hpc\", \"lab\", \"local\"]\n",
    );
    let done = bed.csync(&["submit"]).exits(0);
    let log = fs::read_to_string(bed.home().join("state/engine.log")).unwrap();
    assert_eq!(bed.read("o/2"), "station\n", "{}\n{log}", done.err);
    bed.now("cut station");
    bed.csync(&["submit", "--rerun"]).exits(0);
    assert_eq!(bed.read("o/2"), "laptop\n");
    // It is back, and takes work again.
    bed.now("boot login");
    bed.now("heal station");
    let again = || {
        bed.csync(&["submit", "--rerun"]).exits(0);
        bed.read("o/2").starts_with('n')
    };
    until("the cluster takes work again", again);
}

/// Submits three tasks that say when they start; returns where they say it.
fn three(bed: &Bed, name: &str) -> String {
    let trace = bed.scratch("login");
    let run = format!("echo $CSYNC_JOB >> {trace}/started");
    bed.write(
        &format!("{name}.toml"),
        format!("name = \"{name}\"\n[tasks.t]\nforeach = {{ range = [1, 3] }}\nrun = \"{run}\"\non = \"hpc\"\n"),
    );
    bed.csync(&["submit", "--detach", &format!("{name}.toml")]).exits(0);
    trace
}

/// Waits for the last run, and checks that each of the three ran once.
#[track_caller]
fn each_ran_once(bed: &Bed, trace: &str) {
    bed.csync(&["wait", "last"]).exits(0);
    let started = bed.on("login", &format!("sort {trace}/started")).exits(0).out;
    let instances: Vec<&str> = started.lines().filter_map(|key| key.split('.').nth(1)).collect();
    assert_eq!(instances, ["0", "1", "2"], "{started}");
}

#[test]
fn nothing_runs_twice_wherever_the_engine_is_killed_on_the_way_out() {
    let bed = shared();
    let sent = |trace: &str| bed.on("login", &format!("ls {trace} ~/.csync/jobs 2>/dev/null | grep -c csync-")).out;
    for point in ["at once", "when its directory is there", "when it is in the queue"] {
        let before = sent("/nonexistent");
        let trace = three(&bed, &point.replace(' ', "-"));
        match point {
            "at once" => {}
            "when its directory is there" => until(point, || sent("/nonexistent") != before),
            _ => until(point, || !bed.on("login", "squeue -h -o %j").exits(0).out.is_empty()),
        }
        signal(engine_pid(&bed), "KILL");
        each_ran_once(&bed, &trace);
    }
}

/// Submits to the workstation what reads a large file, in two submissions; returns where they say that they run.
fn two_that_read(bed: &Bed, name: &str) -> String {
    let trace = bed.scratch("station");
    bed.write(&format!("{name}.bin"), vec![7_u8; 40 << 20]);
    let task = |task: &str, cpus: u32| {
        format!(
            "[tasks.{task}]\nforeach = {{ range = [1, 2] }}\ninputs = [\"{name}.bin\"]\nresources = {{ cpus = {cpus} }}\n\
             run = \"echo $CSYNC_JOB >> {trace}/started\"\non = \"lab\"\n"
        )
    };
    bed.write(&format!("{name}.toml"), format!("name = \"{name}\"\n{}{}", task("t", 1), task("u", 2)));
    bed.csync(&["submit", "--detach", &format!("{name}.toml")]).exits(0);
    trace
}

#[test]
fn nothing_is_lost_or_runs_twice_wherever_the_engine_ends_on_the_way_to_a_workstation() {
    let bed = Bed::own(&[]);
    configure(&bed, HOSTS);
    bed.now("delay gate 60");
    let on = |script: &str| bed.on("station", script).out;
    let part = "find ~/.csync/trees -name '.csync-*.part' -size +1M 2>/dev/null";
    let jobs = "ls ~/.csync/jobs 2>/dev/null | grep -c csync-";
    for (point, how) in [
        ("its input is on its way", "KILL"),
        ("its input is on its way", "stop"),
        ("its directory is there", "KILL"),
        ("it is out", "KILL"),
        ("it runs", "stop"),
    ] {
        until("nothing of before is left", || on(jobs).trim() == "0");
        let trace = two_that_read(&bed, &format!("{point}-{how}").replace(' ', "-"));
        match point {
            "its input is on its way" => until(point, || !on(part).is_empty()),
            "its directory is there" => until(point, || on(jobs).trim() != "0"),
            "it is out" => until(point, || on("ls ~/.csync/jobs/*/submitting").contains("submitting")),
            _ => until(point, || !on(&format!("cat {trace}/started 2>/dev/null")).is_empty()),
        }
        if how == "KILL" {
            signal(engine_pid(&bed), "KILL");
        } else {
            bed.csync(&["engine", "stop", "--now"]).exits(0);
        }
        bed.csync(&["wait", "last"]).exits(0);
        let started = on(&format!("sort {trace}/started"));
        let instances: Vec<&str> = started.lines().filter_map(|key| key.split('.').nth(1)).collect();
        assert_eq!(instances, ["0", "1", "2", "3"], "{how} when {point}: {started}");
    }
}

#[test]
fn a_batch_system_that_hangs_is_waited_for_and_given_nothing_twice() {
    let bed = Bed::own(&["slurm"]);
    configure(&bed, HOSTS);
    bed.now("freeze slurmctld");
    let trace = three(&bed, "hung");
    until("it is on its way", || bed.on("login", "ls ~/.csync/jobs/*/submitting").out.contains("submitting"));
    bed.now("thaw slurmctld");
    each_ran_once(&bed, &trace);
}

#[test]
fn what_ends_while_the_link_is_cut_comes_back_when_it_is_mended() {
    let bed = Bed::own(&["slurm"]);
    configure(&bed, HOSTS);
    let trace = bed.scratch("login");
    bed.write(
        "workflow.toml",
        format!(
            r#"
name = "cut"
[tasks.t]
foreach = {{ range = [1, 3] }}
outputs = ["out/{{item}}"]
run = "echo $CSYNC_JOB >> {trace}/started; while [ ! -e {trace}/go ]; do sleep 0.1; done; echo {{item}} > {{outputs}}"
on = "hpc"
"#
        ),
    );
    bed.csync(&["submit", "--detach"]).exits(0);
    let lines = |file: &str| bed.on("login", &format!("cat {file} 2>/dev/null | wc -l")).out.trim().to_owned();
    until("all of them run", || lines(&format!("{trace}/started")) == "3");
    bed.now("cut gate");
    bed.on("login", &format!("touch {trace}/go")).exits(0);
    until("they are over", || bed.on("login", "cat ~/.csync/jobs/*/*/status | grep -c state=ended").out.trim() == "3");
    bed.now("heal gate");
    each_ran_once(&bed, &trace);
    assert_eq!((bed.read("out/1").as_str(), bed.read("out/3").as_str()), ("1\n", "3\n"));
}

#[test]
fn a_host_that_nobody_looked_at_runs_nothing() {
    let bed = shared();
    configure(&bed, "[hosts.hpc]\nssh = \"login\"\n");
    bed.write("workflow.toml", "name = \"w\"\n[tasks.t]\nrun = \"true\"\non = \"hpc\"\n");
    // Taken for a host without a batch system, its login node would run the task.
    let refused = bed.csync(&["submit"]).exits(2);
    assert!(refused.err.contains("`csync hosts probe hpc` finds out"), "{}", refused.err);
}
