//! A real quota that is used up under csync: on a file system that enforces one (btrfs on a loop device), which root alone can mount.

use crate::bed::Bed;
use crate::far::{configure, why_says};
use crate::world::until;

/// A cluster and a workstation whose job directories lie where alice may have 48 MiB.
const HOSTS: &str = r#"
[hosts.hpc]
ssh = "login"
batch = "slurm"
scratch = "/mnt/quota/hpc"
policy = { connections_per_minute = 60 }

[hosts.lab]
ssh = "station"
batch = "none"
scratch = "/mnt/quota/lab"
policy = { connections_per_minute = 60 }
"#;

/// Each with the machine of the bed that it is.
const BOTH: [(&str, &str); 2] = [("hpc", "login"), ("lab", "station")];

fn bed() -> Bed {
    let bed = Bed::own(&["slurm", "quota"]);
    configure(&bed, HOSTS);
    bed
}

/// Takes so much of what may be there, in megabytes.
fn take(bed: &Bed, megabytes: u32) {
    bed.on("station", &format!("head -c {megabytes}000000 /dev/zero > /mnt/quota/taken && sync -f /mnt/quota"))
        .exits(0);
}

/// Takes all that there is.
fn take_all(bed: &Bed) {
    let done = bed.on("station", "LC_ALL=C head -c 100000000 /dev/zero > /mnt/quota/taken; echo x > /mnt/quota/more");
    assert!(done.code != 0 && done.err.contains("Disk quota exceeded"), "{done:?}");
}

/// Makes room again, and has the host tried at once.
fn make_room(bed: &Bed, host: &str) {
    bed.on("station", "rm /mnt/quota/taken && sync -f /mnt/quota").exits(0);
    bed.csync(&["login", host]).exits(0);
}

fn submit(bed: &Bed, task: &str) -> crate::world::Done {
    bed.write("workflow.toml", format!("name = \"w\"\n[tasks.t]\n{task}\n"));
    bed.csync(&["submit"])
}

fn submit_detached(bed: &Bed, task: &str) {
    bed.write("workflow.toml", format!("name = \"w\"\n[tasks.t]\n{task}\n"));
    bed.csync(&["submit", "--detach"]).exits(0);
}

/// Waits until nothing of what is over lies there, and nothing of it runs.
fn nothing_left(bed: &Bed) {
    until("no job directory is left", || {
        bed.on("station", "ls -d /mnt/quota/*/jobs/csync-* 2>/dev/null").out.is_empty()
    });
    for machine in ["station", "login", "n1", "n2", "n3"] {
        let find = "grep -slE 'CSYNC_MEMBER=/mnt/quota/' /proc/[0-9]*/environ";
        until("no process is left", || bed.on(machine, find).out.is_empty());
    }
    until("the queue is empty", || bed.on("login", "squeue -h").out.is_empty());
}

/// What is to be said of it: the words, the place, what makes room, what else helps.
fn helps(host: &str) -> [String; 3] {
    ["Disk quota exceeded".to_owned(), format!("csync clean --on {host} --inputs"), format!("`scratch` of `{host}`")]
}

#[track_caller]
fn why_helps(bed: &Bed, host: &str) {
    let words = helps(host);
    why_says(bed, "t", &words.each_ref().map(String::as_str));
}

#[track_caller]
fn status_helps(bed: &Bed, host: &str) {
    let wanted = helps(host);
    let place = format!("nothing can be written to /mnt/quota/{host} on {host}: ");
    until(&format!("it is said of {host} that its quota is used up"), || {
        let status = bed.csync(&["status"]).exits(0).out;
        status.contains(&place) && wanted.iter().all(|words| status.contains(words))
    });
}

#[test]
fn a_quota_used_up_by_inputs_ends_the_task_with_what_helps() {
    let bed = bed();
    take(&bed, 40);
    for (host, _) in BOTH {
        // One that moves by itself, and some that move together.
        for (count, size) in [(1, 20_000_000), (20, 1_000_000)] {
            let inputs: Vec<String> = (0..count).map(|n| format!("\"in-{host}-{count}-{n}\"")).collect();
            for name in &inputs {
                bed.write(name.trim_matches('"'), vec![b'x'; size]);
            }
            let inputs = inputs.join(", ");
            let out = format!("out-{host}-{count}");
            submit(&bed, &format!("inputs = [{inputs}]\noutputs = [\"{out}\"]\nrun = \"cat {{inputs}} | wc -c > {{outputs}}\"\non = \"{host}\""))
                .exits(1);
            why_helps(&bed, host);
            make_room(&bed, host);
            bed.csync(&["retry"]).exits(0);
            assert_eq!(bed.read(&out).trim(), "20000000");
            nothing_left(&bed);
            // What the message names makes room for the next.
            bed.csync(&["clean", "--on", host, "--inputs", "--yes"]).exits(0);
            take(&bed, 40);
        }
    }
}

#[test]
fn a_quota_used_up_by_outputs_loses_no_end_and_no_other_job() {
    let bed = bed();
    for ((host, machine), first) in BOTH.into_iter().zip([1, 3]) {
        // Another job is there, which ends while there is no room.
        let trace = bed.scratch(machine);
        let until_told = format!("while [ ! -e {trace}/go ]; do sleep 0.1; done");
        submit_detached(
            &bed,
            &format!(
                "outputs = [\"small-{host}\"]\nrun = \"echo $CSYNC_JOB >> {trace}/small; {until_told}; echo x > {{outputs}}; touch {trace}/made\"\non = \"{host}\""
            ),
        );
        until("it runs", || bed.on(machine, &format!("ls {trace}")).out.contains("small"));
        take(&bed, 30);
        bed.write(
            "large/large.toml",
            format!(
                "name = \"large\"\n[tasks.t]\noutputs = [\"large-{host}\"]\nrun = \"echo $CSYNC_JOB >> {trace}/large; head -c 25000000 /dev/zero > {{outputs}}\"\non = \"{host}\"\n"
            ),
        );
        bed.csync(&["submit", "--detach", "large/large.toml"]).exits(0);
        status_helps(&bed, host);
        bed.on(machine, &format!("touch {trace}/go")).exits(0);
        // Neither is given up, and neither runs again, until there is room for what they have to say.
        let shown = bed.csync(&["show", "last"]).exits(0).out;
        assert!(!shown.contains("failed") && !shown.contains("done"), "{shown}");
        make_room(&bed, host);
        bed.csync(&["wait", "last"]).exits(1);
        why_says(&bed, "t", &["exit code 1", &format!("csync clean --on {host} --inputs")]);
        bed.csync(&["retry", "--detach"]).exits(0);
        bed.csync(&["wait", "last"]).exits(0);
        assert_eq!(bed.path(&format!("large/large-{host}")).metadata().unwrap().len(), 25_000_000);
        // It may have wanted to write its file while there was no room, and failed.
        let small = bed.csync(&["wait", &first.to_string()]);
        let made = bed.on(machine, &format!("ls {trace}")).out.contains("made");
        assert_eq!(
            (small.code, bed.path(&format!("small-{host}")).exists()),
            if made { (0, true) } else { (1, false) }
        );
        let attempts = |name: &str| bed.on(machine, &format!("cut -d. -f3 {trace}/{name}")).exits(0).out;
        assert_eq!((attempts("small").as_str(), attempts("large").as_str()), ("1\n", "1\n2\n"));
        nothing_left(&bed);
        bed.csync(&["clean", "--on", host, "--inputs", "--yes"]).exits(0);
    }
}

#[test]
fn a_quota_used_up_before_a_job_starts_is_told_and_it_runs_when_there_is_room() {
    let bed = bed();
    // On the cluster it waits in the queue meanwhile.
    bed.on("login", "scontrol update partitionname=debug state=down").exits(0);
    let trace = bed.scratch("login");
    submit_detached(
        &bed,
        &format!("outputs = [\"made\"]\nrun = \"echo $CSYNC_JOB >> {trace}/ran; echo x > {{outputs}}\"\non = \"hpc\""),
    );
    until("it is in the queue", || !bed.on("login", "squeue -h -t PD").out.is_empty());
    take_all(&bed);
    status_helps(&bed, "hpc");
    bed.on("login", "scontrol update partitionname=debug state=up").exits(0);
    until("it left the queue, or cannot be started", || bed.on("login", "squeue -h -t PD -o %r").out.trim().is_empty());
    make_room(&bed, "hpc");
    let ended = bed.csync(&["wait", "last"]);
    if ended.code != 0 {
        bed.csync(&["retry"]).exits(0);
    }
    assert_eq!(bed.read("made"), "x\n");
    assert_eq!(bed.on("login", &format!("wc -l < {trace}/ran")).out.trim(), "1", "it ran once");
    nothing_left(&bed);
}

#[test]
fn what_runs_on_a_full_host_can_be_cancelled() {
    let bed = bed();
    for (host, machine) in BOTH {
        let trace = bed.scratch(machine);
        submit_detached(&bed, &format!("run = \"touch {trace}/runs; sleep 1000\"\non = \"{host}\""));
        until("it runs", || bed.on(machine, &format!("ls {trace}")).out.contains("runs"));
        take_all(&bed);
        status_helps(&bed, host);
        bed.csync(&["cancel", "last"]).exits(0);
        let sleeps = "pgrep -x sleep -a | grep 1000";
        let nodes: &[&str] = if host == "hpc" { &["n1", "n2", "n3"] } else { &["station"] };
        until("nothing of it runs", || nodes.iter().all(|node| bed.on(node, sleeps).out.is_empty()));
        make_room(&bed, host);
        bed.csync(&["wait", "last"]).exits(130);
        nothing_left(&bed);
    }
}
