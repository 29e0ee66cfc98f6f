//! A journey of tasks that may go to several hosts: to where their data lies, to where nobody queues, with what was learned.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::bed::Bed;
use crate::far::configure;
use crate::world::until;

/// The hosts of the bed; what the workstation makes stays there.
const HOSTS: &str = r#"
[hosts.hpc]
ssh = "login"
batch = "slurm"
policy = { connections_per_minute = 60 }

[hosts.grid]
batch = "sge"
policy = { connections_per_minute = 60 }

[hosts.lab]
ssh = "station"
batch = "none"
keep_above = "1M"
policy = { connections_per_minute = 60 }

[hosts.unseen]
ssh = "nowhere"
"#;

/// Holds as many megabytes as it is told for as long as it takes to be measured.
const GROW: &str = "import sys, time\nheld = bytearray(int(sys.argv[1]) << 20)\ntime.sleep(1.3)\n";

const WORKFLOW: &str = r#"
name = "anywhere"
[params]
mb = "150"

[tasks.make]
outputs = ["big.bin"]
run = "head -c 30000000 /dev/zero > {outputs}"
on = "lab"

[tasks.use]
inputs = ["big.bin"]
outputs = ["used"]
run = "hostname > {outputs}"
resources = { time = "30s" }
on = "any"

[tasks.choose]
outputs = ["chosen"]
run = "hostname > {outputs}"
resources = { time = "30s" }
on = ["hpc", "lab"]

[tasks.grow]
foreach = { range = [1, 3] }
inputs = ["grow.py"]
run = "python3 grow.py {params.mb}"
"#;

/// Returns what was chosen for an instance.
fn choice(bed: &Bed, label: &str) -> Value {
    let told = bed.csync(&["why", "--placement", "--json", label]).exits(0).out;
    let told: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
    told["instances"][0].clone()
}

#[test]
fn tasks_go_where_their_data_lies_with_what_was_learned() {
    let bed = Bed::shared();
    configure(&bed, HOSTS);
    bed.csync(&["hosts", "probe", "hpc", "grid", "lab"]).exits(0);
    bed.write("grow.py", GROW);
    bed.write("workflow.toml", WORKFLOW);
    let dry = bed.csync(&["submit", "--dry-run", "--policy", "fastest"]).exits(0).out;
    assert!(dry.contains("make on lab") && dry.contains("not on unseen: nobody looked at it yet"), "{dry}");
    assert!(dry.contains("as expected and what is not known takes a minute; no plan can take less than "), "{dry}");
    // csync chooses among a list only since it is told to: the order counts no more.
    bed.csync(&["submit", "--policy", "fastest"]).exits(0);
    assert_eq!(bed.read("used"), "station\n", "the file stayed there");
    assert_eq!(bed.read("chosen"), "station\n", "nobody queues there");
    let used = choice(&bed, "use");
    assert_eq!(used["choice"]["placement"]["chosen"]["host"], "lab", "{used}");
    assert_eq!(used["choice"]["placement"]["chosen"]["moved"].as_u64().or(Some(0)), Some(0), "{used}");
    let told = bed.csync(&["why", "--placement", "use"]).exits(0).out;
    assert!(told.contains("on lab, by the policy `fastest`"), "{told}");
    assert!(told.contains("Not on unseen: nobody looked at it yet."), "{told}");
    let chosen = bed.csync(&["why", "--placement", "choose"]).exits(0).out;
    assert!(chosen.contains("hpc/debug: queue "), "the queue that it did not wait in: {chosen}");
    // Where a person said it, nothing was chosen.
    assert!(bed.csync(&["why", "--placement", "make"]).exits(0).out.contains("csync chose no host"));

    // What three attempts needed is asked for the second time; the engine has written it when it has left.
    bed.csync(&["engine", "stop"]).exits(0);
    bed.csync(&["submit", "--only", "grow", "--rerun=grow"]).exits(0);
    let why = bed.csync(&["why", "grow[1]"]).exits(0).out;
    assert!(why.contains("learned from 3 runs"), "{why}");
    let grown = choice(&bed, "grow[1]");
    let asked = grown["choice"]["mem"]["request"].as_f64().unwrap();
    assert!((100e6..400e6).contains(&asked), "{grown}");
    // Four times as much as ever before: what was learned is kept free on this machine, and ends nothing that needs more.
    bed.csync(&["submit", "--only", "grow", "--rerun=grow", "-p", "mb=600"]).exits(0);
    let why = bed.csync(&["why", "grow[1]"]).exits(0).out;
    assert!(why.contains("kept free") && !why.contains("out of memory"), "{why}");
    assert!(why.contains("it succeeded"), "{why}");
    let kept = fs::read(bed.home().join("state/learned.db")).unwrap();
    assert!(!kept.windows(7).any(|bytes| bytes == b"grow.py"), "what is learned names nothing");
}

const READING: &str = r#"
name = "reading"
[params]
ref = "data:reads/ref"
[tasks.count]
foreach = "data:reads/*.fq"
inputs = ["{item}", "{params.ref}"]
outputs = ["n/{item.stem}"]
run = "cat {item} {params.ref}/* > {outputs}; stat -L -c %h {item} > {outputs}.links"
on = "hpc"
[tasks.here]
inputs = ["data:reads/a.fq"]
outputs = ["here"]
run = "cat {inputs} > {outputs}"
[tasks.choose]
inputs = ["data:reads/big.bin"]
outputs = ["chosen"]
run = "hostname > {outputs}"
resources = { time = "30s" }
on = ["grid", "lab"]
"#;

#[test]
fn tasks_read_datasets_from_whichever_copy_is_there() {
    let bed = Bed::shared();
    configure(&bed, HOSTS);
    bed.csync(&["hosts", "probe", "hpc", "grid", "lab"]).exits(0);
    let (nas, copy) = (format!("{}/fastq", bed.scratch("station")), format!("{}/copy", bed.scratch("login")));
    let files = "printf AAA > a.fq; printf BB > b.fq; printf R > ref/x; touch -d @1000000000 a.fq b.fq ref/x";
    bed.on("station", &format!("mkdir -p {nas}/ref && cd {nas} && {files}; head -c 30000000 /dev/zero > big.bin"))
        .exits(0);
    bed.on("login", &format!("mkdir -p {copy}/ref && cd {copy} && {files}")).exits(0);
    let (nas_place, copy_place) = (format!("lab:{nas}"), format!("hpc:{copy}"));

    let refused = bed.csync(&["data", "add", "reads", "nowhere:/x"]).exits(3).err;
    assert!(refused.contains("no host `nowhere`"), "{refused}");
    let added = bed.csync(&["data", "add", "reads", &nas_place, "--at", &copy_place]).exits(0).out;
    assert!(added.contains("4 files") && added.contains("3 files"), "{added}");
    assert!(added.contains("1 file of the dataset not there"), "{added}");
    let listed = bed.csync(&["data", "list", "--json"]).exits(0).json();
    assert_eq!(listed["datasets"][0]["places"][0]["state"], "origin", "{listed}");
    assert_eq!(listed["datasets"][0]["places"][1]["lacks"], 1, "{listed}");
    let lies = bed.csync(&["data", "where", "data:reads/a.fq"]).exits(0).out;
    assert!(lies.contains(&format!("{nas_place}/a.fq")) && lies.contains(&format!("{copy_place}/a.fq")), "{lies}");
    let unknown = bed.csync(&["data", "where", "data:reads/none"]).exits(3).err;
    assert!(unknown.contains("no dataset has"), "{unknown}");
    let route = bed.csync(&["route", "--json", "wc -c data:reads/big.bin"]).exits(0).out;
    assert!(route.contains("\"lab\"") && route.contains("data:reads/big.bin"), "{route}");

    bed.write("workflow.toml", READING);
    let dry = bed.csync(&["submit", "--dry-run", "--policy", "fastest"]).exits(0).out;
    assert!(dry.contains("choose on lab"), "{dry}");
    bed.csync(&["submit", "--policy", "fastest"]).exits(0);
    assert_eq!((bed.read("n/a"), bed.read("n/b"), bed.read("here")), ("AAAR".into(), "BBR".into(), "AAA".into()));
    assert_eq!(bed.read("chosen"), "station\n", "the large file stayed where it lies");
    assert!(bed.csync(&["submit", "--policy", "fastest"]).exits(0).out.contains("everything is up to date"));
    // Nobody's files are csync's to remove.
    assert!(bed.csync(&["data", "rm", "--last", ".csync/data/reads/a.fq"]).exits(3).err.contains("known to have"));

    // Another content: what reads it runs again, from the place that has it; the other copy is none any more.
    bed.on("station", &format!("printf AAAA > {nas}/a.fq; touch -d @1100000000 {nas}/a.fq")).exits(0);
    let done = bed.csync(&["submit", "--policy", "fastest"]).exits(0).out;
    assert!(done.contains("2 done"), "{done}");
    assert_eq!((bed.read("n/a"), bed.read("here")), ("AAAAR".into(), "AAAA".into()));

    // A copy that is gone is told and not used.
    bed.on("login", &format!("rm -r {copy}")).exits(0);
    let told = bed.csync(&["submit", "--policy", "fastest", "--rerun=count"]).exits(0);
    assert!(format!("{}{}", told.out, told.err).contains("is gone and is not used"), "{} {}", told.out, told.err);
    assert_eq!((bed.read("n/a"), bed.read("n/b")), ("AAAAR".into(), "BBR".into()));
    let scanned = bed.csync(&["data", "scan", "reads"]).exits(1).out;
    assert!(scanned.contains("gone"), "{scanned}");
    bed.csync(&["data", "forget", "reads", "--at", &copy_place]).exits(0);
    bed.csync(&["data", "scan"]).exits(0);
    // Nothing is left of it: then the workflow names what nobody knows.
    bed.csync(&["data", "forget", "reads"]).exits(0);
    let missing = bed.csync(&["submit"]).exits(2).err;
    assert!(missing.contains("there is no dataset `reads`"), "{missing}");
    assert_eq!(bed.on("station", &format!("cat {nas}/a.fq")).exits(0).out, "AAAA", "the files are as they were");
}

const PARTITIONS: &str = r#"
name = "partitions"
[defaults]
resources = { time = "30s" }
[tasks.debug]
foreach = { range = [1, 5] }
run = "true"
on = "hpc"
partition = "debug"
[tasks.long]
foreach = { range = [1, 5] }
run = "true"
on = "hpc"
partition = "long"
[tasks.choose]
needs = ["debug", "long"]
outputs = ["chosen"]
run = "echo $SLURM_JOB_PARTITION > {outputs}"
on = ["hpc", "grid"]
[tasks.fixed]
needs = ["choose"]
outputs = ["fixed"]
run = "echo $SLURM_JOB_PARTITION > {outputs}"
on = "hpc"
[tasks.site]
needs = ["choose"]
outputs = ["site"]
run = "echo $SLURM_JOB_PARTITION > {outputs}"
on = "hpc"
partition = ""
[tasks.name]
needs = ["choose"]
outputs = ["named"]
run = "echo $SLURM_JOB_PARTITION > {outputs}"
on = ["hpc"]
partition = "debug"
"#;

/// Has it that what went to the default partition waited two hours there.
const WAITED: &str = "import sqlite3, sys\n\
    with sqlite3.connect(sys.argv[1]) as store:\n\
    \x20   store.execute(\"UPDATE attempts SET submitted = submitted - 7200000000 WHERE partition = 'debug'\")\n";

#[test]
fn a_task_goes_to_the_partition_of_a_cluster_where_it_starts_soonest() {
    let bed = Bed::shared();
    configure(&bed, HOSTS);
    bed.csync(&["hosts", "probe", "hpc", "grid"]).exits(0);
    let shown = bed.csync(&["hosts", "show", "hpc"]).exits(0).out;
    assert!(shown.contains("2 nodes in debug and long"), "{shown}");
    bed.write("workflow.toml", PARTITIONS);
    bed.csync(&["submit", "--only", "debug", "--only", "long"]).exits(0);
    bed.csync(&["engine", "stop"]).exits(0);
    let store = bed.home().join("state/csync.db");
    let changed = Command::new("python3").args(["-c", WAITED]).arg(&store).status().unwrap();
    assert!(changed.success());

    let dry = bed.csync(&["submit", "--dry-run", "--policy", "fastest", "--rerun=choose"]).exits(0).out;
    assert!(dry.contains("choose on hpc: queue ") && dry.contains("partition long: queue "), "{dry}");
    assert!(dry.contains("it fits debug too: queue 2h"), "{dry}");
    let fixed = dry.split_once("fixed on hpc").unwrap_or_else(|| panic!("{dry}")).1;
    assert!(fixed.trim_start_matches(|it| it != '\n').starts_with("\n  partition long: queue "), "{dry}");
    let site = dry.split_once("site on hpc").unwrap_or_else(|| panic!("{dry}")).1;
    assert!(site.trim_start_matches(|it| it != '\n').starts_with("\n  partition debug: queue 1h"), "{dry}");
    bed.csync(&["submit", "--policy", "fastest"]).exits(0);
    assert_eq!((bed.read("chosen"), bed.read("named")), ("long\n".to_owned(), "debug\n".to_owned()));
    let told = choice(&bed, "choose");
    let placement = &told["choice"]["placement"];
    assert_eq!((&placement["chosen"]["host"], &placement["chosen"]["partition"]), (&"hpc".into(), &"long".into()));
    let told = bed.csync(&["why", "--placement", "choose"]).exits(0).out;
    assert!(told.contains("hpc/long: queue "), "{told}");

    // Where the host is said, the partition is chosen by the same.
    assert_eq!((bed.read("fixed"), bed.read("site")), ("long\n".to_owned(), "debug\n".to_owned()));
    let told = bed.csync(&["why", "--placement", "fixed"]).exits(0).out;
    assert!(told.contains("on hpc, as its workflow says") && told.contains("hpc/debug: queue "), "{told}");
    let said = choice(&bed, "site");
    assert_eq!(said["choice"]["placement"], Value::Null, "{said}");
    let command = ["--", "sh", "-c", "echo $SLURM_JOB_PARTITION > command"];
    bed.csync(&[&["submit", "--yes", "--on", "hpc"][..], &command].concat()).exits(0);
    assert_eq!(bed.read("command"), "long\n");
    // A script of the cluster's own kind that names none means its default.
    bed.write("job.sh", "#!/bin/sh\n#SBATCH -c 1 -t 5\necho $SLURM_JOB_PARTITION > script\n");
    bed.csync(&["submit", "--yes", "job.sh", "--on", "hpc"]).exits(0);
    assert_eq!(bed.read("script"), "debug\n");
}

const BUSY: &str = r#"
name = "busy"
[tasks.first]
outputs = ["first"]
run = "hostname > {outputs}"
resources = { time = "30s" }
on = "hpc"
[tasks.second]
needs = ["first"]
outputs = ["second"]
run = "hostname > {outputs}"
resources = { time = "30s", cpus = 2 }
on = ["hpc", "grid"]
"#;

#[test]
fn a_cluster_that_became_busy_since_its_probe_is_seen_to_be_while_something_of_ours_is_there() {
    let bed = Bed::own(&["slurm", "sge"]);
    configure(&bed, HOSTS);
    bed.csync(&["hosts", "probe", "hpc", "grid"]).exits(0);
    // Others take all of the six cores but one.
    let others = "for n in 1 2 3 4 5; do sbatch -o /dev/null --mem=50 --wrap 'sleep 600'; done";
    bed.on("login", others).exits(0);
    until("they run", || bed.on("login", "squeue -h -t R").exits(0).out.lines().count() == 5);
    bed.write("workflow.toml", BUSY);
    bed.csync(&["submit", "--policy", "fastest"]).exits(0);
    let told = choice(&bed, "second");
    let (chosen, next) = (&told["choice"]["placement"]["chosen"], &told["choice"]["placement"]["next"]);
    assert_eq!((&chosen["host"], &next["host"]), (&"grid".into(), &"hpc".into()), "{told}");
    // A third of twenty minutes at least is by its load: what it says itself of a start is less.
    assert!(next["wait"]["middle"].as_f64() > Some(400.0), "{told}");
}

/// Reads what is here already in two places.
const READ: &str = r#"
name = "read"
[tasks.read]
inputs = ["big.bin"]
outputs = ["size"]
run = "wc -c < big.bin > {outputs}"
resources = { time = "30s" }
on = "lab"
"#;

#[test]
fn what_was_brought_to_a_host_need_not_come_again() {
    let bed = Bed::shared();
    configure(&bed, HOSTS);
    bed.csync(&["hosts", "probe", "hpc", "lab"]).exits(0);
    bed.write("big.bin", "some more words\n".repeat(2_000_000));
    bed.write("workflow.toml", READ);
    let dry = || bed.csync(&["submit", "--dry-run", "--rerun=read"]).exits(0).out;
    let moves = "transfer ";
    assert!(dry().contains(moves), "{}", dry());
    bed.csync(&["submit"]).exits(0);
    assert!(!dry().contains(moves), "{}", dry());
    // Whoever chooses knows it too, for a workflow as for a command.
    bed.write("workflow.toml", READ.replace("\"lab\"", "[\"hpc\", \"lab\"]"));
    let chosen = bed.csync(&["submit", "--dry-run", "--rerun=read", "--policy", "locality"]).exits(0).out;
    assert!(chosen.contains("read on lab") && !chosen.contains(moves), "{chosen}");
    bed.write("workflow.toml", READ);
    let terms = |host: &str| {
        let told = bed.csync(&["route", "--explain", "wc -c big.bin"]).exits(0).out;
        let from = told.find(&format!("\n{host}")).unwrap_or_else(|| panic!("{host}: {told}"));
        told[from..].lines().find(|line| line.contains("transfer")).unwrap_or_default().to_owned()
    };
    assert!(terms("lab").contains("nothing moves"), "{}", terms("lab"));
    assert!(terms("hpc").contains("30.5M by local > hpc"), "{}", terms("hpc"));

    // Gone with the rest of what was brought; brought again; not what is here any more.
    bed.csync(&["clean", "--on", "lab", "--inputs", "--yes"]).exits(0);
    assert!(dry().contains(moves), "{}", dry());
    bed.csync(&["submit", "--rerun=read"]).exits(0);
    assert!(!dry().contains(moves), "{}", dry());
    bed.write("big.bin", "other words\n".repeat(2_000_000));
    assert!(dry().contains(moves), "{}", dry());
}
