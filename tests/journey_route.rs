//! Where a command should run, as a person and an agent ask it.

use serde_json::json;

use crate::world::{Done, World};

/// A machine of the lab, a cluster, a store of data, one that nobody looked at.
const HOSTS: &str = "\
[hosts.lab]
batch = \"none\"
[hosts.hpc]
batch = \"slurm\"
internet = { compute = false }
[hosts.hpc.policy]
agents = \"deny\"
[hosts.hpc.partitions.short]
walltime = \"4h\"
cores = 32
memory = \"128G\"
[hosts.hpc.partitions.gpu]
walltime = \"2-00:00:00\"
cores = 16
memory = \"64G\"
gpus = 4
[hosts.nas]
transfer_only = true
[hosts.new]
";

fn world() -> World {
    let world = World::new();
    std::fs::create_dir_all(world.path("config")).unwrap();
    world.write("config/hosts.toml", HOSTS);
    world.write("reads.fq", &"ACGT\n".repeat(1000));
    world
}

fn route(world: &World, args: &[&str]) -> Done {
    let mut command = world.command(&["route"]);
    command.args(args).env("CSYNC_CONFIG", world.path("config")).env("CSYNC_CPUS", "2").env("CSYNC_MEM", "8G");
    command.output().unwrap().into()
}

/// The places of an answer, best first.
fn places(answer: &serde_json::Value) -> Vec<String> {
    let places = answer["places"].as_array().unwrap();
    let name = |place: &serde_json::Value| match place["partition"].as_str() {
        Some(partition) => format!("{}/{partition}", place["host"].as_str().unwrap()),
        None => place["host"].as_str().unwrap().to_owned(),
    };
    places.iter().map(name).collect()
}

#[test]
fn a_command_is_told_where_it_should_run_and_why_not_elsewhere() {
    let world = world();
    let answer = route(&world, &["--json", "--time", "1h", "wc -l reads.fq"]).exits(0).json();
    assert_eq!(places(&answer), ["local", "lab", "hpc/short"], "{answer}");
    assert_eq!(answer["inputs"], json!([{"name": "reads.fq", "bytes": 5000.0, "at": ["local"]}]));
    let answer = route(&world, &["--json", "--gpus", "2", "-t", "30h", "--", "python", "train.py", "-@", "8"]).exits(0);
    let answer = answer.json();
    assert_eq!((answer["cpus"].as_u64(), places(&answer)), (Some(8), vec!["lab".to_owned(), "hpc/gpu".to_owned()]));
    let wanted = "csync submit --on lab --cpus 8 --time 1d6h --gpus 2 -- python train.py -@ 8";
    assert_eq!(answer["advice"], json!({ "line": wanted }));
    let told = route(&world, &["-c", "16", "--time", "1h", "sort reads.fq"]).exits(0);
    for words in
        ["16 cores, 4.9K of input on local", "Not on local: 16 cores on one node, where it has 2 cores.", "Not on nas:"]
    {
        assert!(told.out.contains(words), "`{words}` is missing: {told:?}");
    }
    assert!(
        told.err.contains("`csync submit --on lab --cpus 16 --time 1h -- sort reads.fq` runs it there."),
        "{told:?}"
    );
    let told = route(&world, &["--explain", "-t", "1h", "cat nas:/vol/x"]).exits(0);
    assert!(told.out.contains("by nas > local > lab"), "{told:?}");
    assert!(told.err.contains("After `csync data add vol nas:/vol`, a task with `on = "), "{told:?}");
    assert!(told.err.contains("`inputs = [\"data:vol/x\"]`, `run = \"cat {inputs}\"` runs it "), "{told:?}");
    let copies = route(&world, &["--json", "-t", "1h", "scp nas:/vol/x ."]).exits(0).json();
    assert!(copies["advice"]["line"].as_str().is_some_and(|line| line.ends_with(" -- scp nas:/vol/x .")), "{copies}");
    assert!(told.err.contains("How much nas:/vol/x is was not looked up"), "{told:?}");
}

#[test]
fn what_runs_a_command_asks_for_all_that_was_asked_and_leaves_the_partition_open() {
    let world = world();
    world.write(
        "config/hosts.toml",
        &HOSTS.replace("agents = \"deny\"", "agents = \"allow\"").replace("[hosts.lab]\nbatch = \"none\"\n", ""),
    );
    let asked = ["-m", "1152M", "-t", "1h", "--gpus", "1", "-i", "reads.fq", "--", "python", "train.py", "a b"];
    let line = "csync submit --on hpc --mem 1152M --time 1h --gpus 1 --with=reads.fq -- python train.py 'a b'";
    let of = |options: &[&str]| route(&world, &[options, &asked].concat()).exits(0);
    for options in [&[][..], &["--explain"]] {
        let told = of(options);
        assert!(told.out.contains("hpc/gpu"), "{told:?}");
        assert!(told.err.ends_with(&format!("`{line}` runs it there.\n")), "{told:?}");
    }
    let agent = of(&["--for-agent"]);
    assert!(
        agent.out.starts_with("Best place: hpc/gpu, ") && agent.out.ends_with(&format!(". `{line}` runs it there.\n")),
        "{agent:?}"
    );
    assert_eq!(of(&["--json"]).json()["advice"]["line"], line);
    assert_eq!(of(&["--json", "--for-agent"]).json()["advice"]["line"], line);
    // It is taken as it stands.
    let here = route(&world, &["--json", "-c", "2", "-m", "64M", "-t", "5m", "cat reads.fq"]).exits(0).json();
    let line = here["advice"]["line"].as_str().unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(&words[..2], ["csync", "run"], "{line}");
    let ran = world.csync(&words[1..]).exits(0);
    assert_eq!(ran.out, "ACGT\n".repeat(1000));
    let shown = world.json(&["show", "last"]).to_string();
    assert!(shown.contains("\"succeeded\""), "{shown}");
}

#[test]
fn what_is_advised_for_files_of_datasets_is_a_task_that_runs() {
    let world = World::new();
    std::fs::create_dir(world.path("reads")).unwrap();
    for (name, text) in [("reads/b2s", "b\na\n"), ("reads/c.txt", "c\n"), ("reads/d.txt", "d\n"), ("own.txt", "own\n")]
    {
        world.write(name, text);
    }
    world.csync(&["data", "add", "fastq", "reads"]).exits(0);
    let by_place = format!("cat local:{}", world.path("reads/c.txt").display());
    for (asked, wanted) in [
        (&["wc -l data:fastq/b2s"][..], "2 .csync/data/fastq/b2s\n"),
        (&["--", "sort", "data:fastq/b2s", "data:fastq/c.txt"], "a\nb\nc\n"),
        (&["cat data:fastq/b2s data:fastq/*.txt | sort -r | head -n 2"], "d\nc\n"),
        (&["cat data:fastq/*.txt"], "c\nd\n"),
        (&["awk '{print $1 \"{}\"}' < data:fastq/c.txt"], "c{}\n"),
        (&["grep --file='data:fastq/c.txt' data:fastq/c.txt"], "c\n"),
        (&["-i", "data:fastq/d.txt", "--", "paste", "own.txt", "data:fastq/c.txt"], "own\tc\n"),
        (&[by_place.as_str()], "c\n"),
    ] {
        let answer = world.csync(&[&["route", "--json", "-t", "1h"], asked].concat()).exits(0).json();
        let task = answer["advice"]["task"].as_str().unwrap_or_else(|| panic!("{asked:?}: {answer}"));
        world.write("workflow.toml", &format!("name = \"w\"\n[tasks.t]\n{task}\n"));
        world.csync(&["submit"]).exits(0);
        assert_eq!(world.csync(&["logs", "t"]).exits(0).out, wanted, "{task}");
    }
    let told = world.csync(&["route", "wc -l data:fastq/b2s"]).exits(0);
    assert!(told.err.contains("`inputs = [\"data:fastq/b2s\"]`, `run = \"wc -l {inputs}\"` runs it here."), "{told:?}");
    // A sandbox has none of it: no line is advised that cannot run.
    let refused = world.csync(&["route", "--sandbox", "--image", "box:1", "wc -l data:fastq/b2s"]).exits(2);
    assert!(
        refused.err.contains("names `data:fastq/b2s`") && refused.err.contains("leave out --sandbox"),
        "{refused:?}"
    );
    // A pattern counts as all that it stands for.
    let answer = world.csync(&["route", "--json", "wc -l data:fastq/*.txt"]).exits(0).json();
    assert_eq!(answer["inputs"], json!([{"name": "data:fastq/*.txt", "bytes": 4.0, "at": ["local"]}]), "{answer}");
    // What is not there is no input, and that is said.
    for name in ["data:nope/x", "data:fastq/nope", "data:fastq/*.none"] {
        let command = format!("wc -l {name}");
        let told = world.csync(&["route", &command]).exits(0);
        let (_, file) = name.strip_prefix("data:").unwrap().split_once('/').unwrap();
        let unknown = format!("How much {name} is was not looked up: it counts as nothing.");
        let absent = format!("It names {name}, but the dataset `fastq` has no `{file}`: ");
        assert!(told.err.contains(if name.contains("nope/x") { &unknown } else { &absent }), "{told:?}");
        let answer = world.csync(&["route", "--json", &command]).exits(0).json();
        assert_eq!((&answer["inputs"], &answer["not_counted"]), (&json!([]), &json!([name])));
    }
}

#[test]
fn what_a_shell_alone_runs_is_advised_with_one() {
    let world = world();
    let text = "sort -r reads.fq | uniq -c > counts.txt && wc -l < counts.txt";
    let answer = route(&world, &["--json", "-t", "5m", text]).exits(0).json();
    assert_eq!(answer["inputs"], json!([{"name": "reads.fq", "bytes": 5000.0, "at": ["local"]}]));
    let line = answer["advice"]["line"].as_str().unwrap();
    assert_eq!(line, format!("csync run --time 5m -- bash -c '{text}'"));
    assert_eq!(world.csync(&["run", "--time", "5m", "--", "bash", "-c", text]).exits(0).out, "1\n");
    let pipe = "bwa mem -t 2 ref.fa r1.fq | samtools sort -@ 3 -o out.bam";
    assert_eq!(route(&world, &["--json", "-t", "1h", pipe]).exits(0).json()["cpus"], 4);
    let told = route(&world, &["-c", "4", "-t", "1h", pipe]).exits(0);
    let line = format!("`csync submit --on lab --cpus 4 --time 1h -- bash -c '{pipe}'` runs it there.");
    assert!(told.err.contains(&line), "{told:?}");
    let looped = route(&world, &["-t", "5m", "for f in *.fq; do wc -l $f; done"]).exits(0);
    assert!(looped.err.contains("-- bash -c 'for f in *.fq; do wc -l $f; done'` runs it here."), "{looped:?}");
}

#[test]
fn what_is_known_of_hosts_is_what_stands_in_the_files_now() {
    let world = world();
    let asked = ["--json", "--time", "1h", "wc -l reads.fq"];
    // There is a state directory once anything was done.
    world.json(&["profile"]);
    let first = route(&world, &asked).exits(0).json();
    let digest = world.state().join("hosts.digest");
    assert!(digest.exists());
    assert_eq!(route(&world, &asked).exits(0).json(), first);
    // Damaged, absent, of other files, or not to be written: the answer is that of the files.
    std::fs::write(&digest, "nothing of the kind").unwrap();
    assert_eq!(route(&world, &asked).exits(0).json(), first);
    std::fs::remove_file(&digest).unwrap();
    std::fs::create_dir(&digest).unwrap();
    assert_eq!(route(&world, &asked).exits(0).json(), first);
    std::fs::remove_dir(&digest).unwrap();
    world.write("config/hosts.toml", &HOSTS.replace("[hosts.lab]\nbatch", "[hosts.bench]\nbatch"));
    assert_eq!(places(&route(&world, &asked).exits(0).json()), ["local", "bench", "hpc/short"]);
    std::fs::create_dir(world.path("config/sites")).unwrap();
    world.write("config/sites/slurm.toml", "batch = \"slurm\"\nrate = 0.5\n");
    let priced = route(&world, &["--json", "--policy", "cheapest", "--time", "1h", "wc -l reads.fq"]).exits(0).json();
    assert_eq!(places(&priced), ["local", "bench", "hpc/short"], "{priced}");
    assert_eq!(priced["places"][2]["cost"], 0.5, "{priced}");
    world.write("config/hosts.toml", "[hosts.tiny]\ncoers = 1\n");
    assert!(route(&world, &asked).exits(2).err.contains("coers") || route(&world, &asked).out.contains("coers"));
}

#[test]
fn what_people_commonly_give_a_program_is_said_until_something_was_learned() {
    let world = world();
    let told = route(&world, &["samtools sort -o out.bam reads.fq"]).exits(0);
    assert!(told.err.contains("commonly given 36G") && told.err.contains("nf-core"), "{told:?}");
    let answer = route(&world, &["--json", "samtools sort -o out.bam reads.fq"]).exits(0).json();
    assert_eq!(answer["commonly_given"]["program"], "samtools", "{answer}");
    assert_eq!((&answer["commonly_given"]["n"], &answer["memory"]["source"]), (&json!(0), &json!("prior")), "{answer}");
    // It rules out nothing: this machine has eight gigabytes, of which half of what is given would be more.
    assert!(answer["memory"]["middle"].as_f64() > Some(8e9), "{answer}");
    let unknown = route(&world, &["--json", "./mine.sh reads.fq"]).exits(0).json();
    assert_eq!(places(&answer), places(&unknown));
    let told = route(&world, &["--explain", "samtools sort -o out.bam reads.fq"]).exits(0);
    assert!(told.out.contains("of memory by a shipped figure"), "{told:?}");
    assert!(!route(&world, &["--mem", "4G", "--time", "1h", "samtools sort x"]).exits(0).err.contains("commonly"));
    assert_eq!(route(&world, &["--json", "./mine.sh"]).exits(0).json()["commonly_given"], json!(null));
    let mut lines = vec!["JobID|JobName|State|ElapsedRaw|MaxRSS|ReqMem|End".to_owned()];
    for n in 0..20 {
        lines.push(format!("{n}|samtools sort|COMPLETED|600||8G|2026-11-20T{n:02}:00:00"));
        lines.push(format!("{n}.batch|batch|COMPLETED|600|{}M||", 900 + n));
    }
    world.write("jobs.txt", &lines.join("\n"));
    world.csync(&["profile", "import", "jobs.txt"]).exits(0);
    let told = route(&world, &["samtools sort -o out.bam reads.fq"]).exits(0);
    assert!(!told.err.contains("commonly given") && told.err.contains("what was learned of it"), "{told:?}");
}

#[test]
fn agents_get_one_line_under_the_policies_for_them() {
    let world = world();
    let told = route(&world, &["--for-agent", "-c", "8", "-t", "1h", "sort reads.fq"]).exits(0);
    assert_eq!(told.out.lines().count(), 1, "{told:?}");
    assert!(told.out.starts_with("Best place: lab, about 1h 00m"), "{told:?}");
    let told = route(&world, &["--for-agent", "-c", "99", "--internet", "curl x"]).exits(0);
    assert!(told.out.starts_with("Best place: lab"), "nobody knows what it has: {told:?}");
    let answer = route(&world, &["--for-agent", "--json", "-c", "99", "x"]).exits(0).json();
    let hpc = answer["vetoed"].as_array().unwrap().iter().find(|it| it["host"] == "hpc").unwrap();
    let vetoes: Vec<_> = hpc["reasons"].as_array().unwrap().iter().map(|it| it["veto"].as_str().unwrap()).collect();
    assert_eq!(vetoes, ["no_agents", "cores"]);
}

#[test]
fn what_accounting_records_tell_of_queues_is_reckoned_with() {
    let world = world();
    let mut lines =
        vec!["JobID|JobName|State|ElapsedRaw|Partition|Submit|Eligible|Start|AllocCPUS|TimelimitRaw".to_owned()];
    for n in 0..40 {
        let day = 1 + n % 28;
        let line = |id: u32, queue: &str, at: &str, start: &str| {
            format!(
                "{id}|fit|COMPLETED|60|{queue}|2026-11-{day:02}T01:00:00|2026-11-{day:02}T{at}|2026-11-{day:02}T{start}|1|60"
            )
        };
        // What waited for another job for hours started five seconds after that was over.
        lines.push(line(n, "short", "07:00:00", "07:00:05"));
        lines.push(line(100 + n, "gpu", "07:00:00", "09:00:00"));
    }
    world.write("jobs.txt", &lines.join("\n"));
    let import = |host: &str| {
        let mut command = world.command(&["profile", "import", "--json", "--hosts", host, "jobs.txt"]);
        command.env("CSYNC_CONFIG", world.path("config"));
        Done::from(command.output().unwrap()).exits(0).json()
    };
    let wait = |partition: &str| {
        let gpus = if partition == "gpu" { "1" } else { "0" };
        let answer = route(&world, &["--json", "-t", "1h", "--gpus", gpus, "wc -l reads.fq"]).exits(0).json();
        let places = answer["places"].as_array().unwrap();
        places.iter().find(|place| place["partition"] == partition).unwrap()["wait"].clone()
    };
    let before = wait("short");
    // Of a host without a queue, or of one that nobody knows, there is nothing to tell.
    for other in ["lab", "nowhere"] {
        assert_eq!(import(other)["waits"], 0, "{other}");
    }
    assert_eq!(wait("short"), before);
    for _ in 0..2 {
        assert_eq!(import("hpc")["waits"], 80);
        let (short, gpu) = (wait("short"), wait("gpu"));
        assert_eq!((&short["middle"], &gpu["middle"]), (&5.0.into(), &7200.0.into()), "{short} {gpu}");
        assert_eq!(short["source"], json!({ "learned": 40 }), "each counts once");
    }
    // What was imported is forgotten again: of one host, and with everything.
    let forget = |args: &[&str]| world.json(&[&["profile", "forget"], args].concat())["waits"].clone();
    assert_eq!(forget(&["--waits", "lab"]), 0);
    assert_eq!((forget(&["--waits", "hpc"]), wait("short")), (json!(80), before.clone()));
    assert_eq!((&import("hpc")["waits"], forget(&["--all"]), wait("short")), (&json!(80), json!(80), before));
    let told = world.csync(&["profile", "forget", "--waits", "hpc"]).exits(0);
    assert!(told.err.contains("No wait of it was imported."), "{told:?}");
}

#[test]
fn two_datasets_of_one_name_are_places_of_one_and_what_is_gone_counts_no_more() {
    let world = World::new();
    for dir in ["one", "two"] {
        std::fs::create_dir(world.path(dir)).unwrap();
    }
    world.write("one/a.fq", "AAA");
    world.write("two/a.fq", "BBBBBB");
    world.csync(&["data", "add", "reads", "one"]).exits(0);
    let told = world.csync(&["data", "add", "reads", "two"]).exits(0).out;
    assert!(told.contains("1 file of the dataset not there"), "{told}");
    let places = world.json(&["data", "list"])["datasets"][0]["places"].clone();
    assert_eq!(
        (&places[0]["state"], &places[1]["state"], &places[1]["lacks"]),
        (&json!("origin"), &json!("partial"), &json!(1))
    );
    let read = || world.csync(&["route", "--json", "wc -c data:reads/a.fq"]).exits(0).json()["inputs"].clone();
    assert_eq!(
        read(),
        json!([{"name": "data:reads/a.fq", "bytes": 3.0, "at": ["local"]}]),
        "the first says what it is"
    );
    std::fs::remove_dir_all(world.path("one")).unwrap();
    assert!(world.csync(&["data", "scan", "reads"]).exits(1).out.contains("gone"));
    assert_eq!(read()[0]["bytes"], 6.0, "what is left says it now");
    std::fs::remove_dir_all(world.path("two")).unwrap();
    world.csync(&["data", "scan", "reads"]).exits(1);
    let refused = world.csync(&["route", "--input", "data:reads/a.fq", "wc"]).exits(3);
    assert!(
        refused.err.contains("there is no input `data:reads/a.fq`: no copy of the dataset `reads` is left"),
        "{refused:?}"
    );
    assert!(refused.err.contains("`csync data where reads`"), "{refused:?}");
    let routed = world.csync(&["route", "wc -c data:reads/a.fq"]);
    assert!(
        routed.err.contains("no copy of the dataset `reads` is left") && !routed.err.contains("not looked up"),
        "{routed:?}"
    );
    world.write("workflow.toml", "name = \"w\"\n[tasks.a]\ninputs = [\"data:reads/a.fq\"]\nrun = \"wc -c {inputs}\"\n");
    let refused = world.csync(&["submit"]);
    assert!(refused.code != 0 && refused.err.contains("reads"), "{refused:?}");
    // What a task would go over nobody knows: that is not nothing.
    world.write(
        "workflow.toml",
        "name = \"w\"\n[tasks.a]\nforeach = \"data:reads/*.fq\"\ninputs = [\"{item}\"]\nrun = \"wc -c {inputs}\"\n",
    );
    let refused = world.csync(&["submit"]).exits(2);
    for words in ["no copy of the dataset `reads` is left", "`csync data where reads`", "`csync data add reads "] {
        assert!(refused.err.contains(words), "`{words}` is missing: {refused:?}");
    }
    world.csync(&["data", "where", "reads"]);
}

#[test]
fn what_nobody_can_run_has_no_run_that_is_left_out_and_times_are_such() {
    let world = world();
    // The hosts of this world were never looked at: nothing is known that they lack.
    let none = World::new().csync(&["route", "--cpus", "9999", "--", "sort", "reads.fq"]).exits(3);
    assert!(none.out.contains("No host can run it.") && !none.err.contains("left out"), "{none:?}");
    assert!(route(&world, &["--", "sort", "reads.fq"]).exits(0).err.contains("the run is left out"));
    for time in ["0", "0s", "10000d"] {
        let refused = route(&world, &["--time", time, "--", "sort", "reads.fq"]).exits(2);
        assert!(refused.err.contains("from 1s to "), "{time}: {refused:?}");
    }
    route(&world, &["--time", "365d", "--", "sort", "reads.fq"]).exits(0);
    // Where there is no Slurm, nothing of it starts anything.
    let mut srun = world.command(&["route", "--", "srun", "sort", "reads.fq"]);
    std::fs::create_dir_all(world.path("bin")).unwrap();
    srun.env("CSYNC_CONFIG", world.path("config")).env("PATH", world.path("bin"));
    let told: Done = srun.output().unwrap().into();
    assert!(told.out.contains("Not on local: there is no Slurm, and `srun` starts nothing without"), "{told:?}");
    assert!(told.out.contains("hpc/short"), "{told:?}");
}

#[test]
fn what_is_no_command_is_refused() {
    let world = world();
    for (args, wanted) in [
        (&[""][..], "the command is empty"),
        (&["a $("], "cannot be read as words"),
        (&["a | | b"], "cannot be read as words"),
        (&["# a"], "the command is empty"),
        (&["--input", "nowhere", "x"], "there is no input `nowhere`"),
        (&["--cpus", "0", "x"], "--cpus"),
        (&["--sandbox", "--image", "box:1", "--gpus", "1", "x"], "--gpus"),
    ] {
        let refused = route(&world, args);
        assert!([2, 3].contains(&refused.code) && refused.err.contains(wanted), "{args:?}: {refused:?}");
    }
    std::fs::remove_dir_all(world.path("config")).unwrap();
    let alone = route(&world, &["--json", "-c", "99", "x"]).exits(3).json();
    assert_eq!((&alone["places"], &alone["advice"]), (&json!([]), &json!(null)));
    // Threads share the cores that there are; cores that are asked for have to be there.
    let threads = route(&world, &["-t", "1h", "bwa mem -t 8 ref.fa r1.fq"]).exits(0);
    let note = "Its 8 threads share 2 cores on local, which takes longer; `--cpus 8` asks where there is one for each.";
    assert!(threads.err.contains(note), "{threads:?}");
    assert!(
        threads.err.contains("`csync run --cpus 2 --time 1h -- bwa mem -t 8 ref.fa r1.fq` runs it here."),
        "{threads:?}"
    );
    let told = route(&world, &["--json", "-t", "1h", "bwa mem -t 8 ref.fa r1.fq"]).exits(0).json();
    assert_eq!((&told["cpus"], &told["places"][0]["shared"]), (&8.into(), &2.into()), "{told}");
    assert!(!route(&world, &["-c", "8", "-t", "1h", "bwa mem -t 8 x"]).exits(3).err.contains("threads share"));
}

#[test]
fn a_command_and_a_script_of_a_megabyte_are_read() {
    let world = world();
    // The kernel takes 128 kB in one argument and two megabytes in all.
    let part = "x".repeat(100_000);
    let mut words = vec!["--json", "--", "echo"];
    words.extend(std::iter::repeat_n(part.as_str(), 11));
    let long = route(&world, &words).exits(0).json();
    assert!(long["places"].as_array().is_some_and(|places| !places.is_empty()), "{:.300}", long.to_string());
    let script = "echo a word that goes on and on\n".repeat(33_000);
    assert!(script.len() > 1 << 20);
    world.write("workflow.toml", &format!("name = \"w\"\n[tasks.a]\nrun = '''\n{script}'''\n"));
    world.csync(&["submit"]).exits(0);
    assert_eq!(world.csync(&["logs", "a"]).exits(0).out, script.replace("echo ", ""));
}

/// A site as nf-core has it.
const SITE: &str = "\
params {
  config_profile_description = 'The cluster of X'
  config_profile_url = 'https://example.org/x'
}
singularity {
  enabled = true
}
process {
  executor = 'slurm'
  queue = 'long'
  resourceLimits = [
    memory: 64.GB,
    cpus: 16,
    time: 48.h
  ]
}
";

#[test]
fn a_site_of_nf_core_becomes_one_that_hosts_have() {
    let world = world();
    let csync = |args: &[&str]| -> Done {
        world.command(args).env("CSYNC_CONFIG", world.path("config")).output().unwrap().into()
    };
    world.write("x.config", SITE);
    let import = ["hosts", "import", "--nf-core", "x.config"];
    let dry = csync(&[&import[..], &["--dry-run"]].concat()).exits(0);
    assert!(dry.out.contains("[partitions.\"long\"]") && dry.err.contains("It would be"), "{dry:?}");
    assert!(!world.path("config/sites/x.toml").exists());
    let told = csync(&import).exits(0);
    assert_eq!(world.read("config/sites/x.toml").trim_end(), told.out.trim_end());
    assert!(told.err.contains("`site = \"x\"` in hosts.toml takes it"), "{told:?}");
    // What it says holds for a host of that site.
    world.write("config/hosts.toml", "[hosts.lab]\nbatch = \"none\"\n[hosts.theirs]\nsite = \"x\"\n");
    let of = |cores: &str| {
        let answer = route(&world, &["--json", "-c", cores, "-t", "24h", "--", "python", "train.py"]).exits(0).json();
        (places(&answer).contains(&"theirs/long".to_owned()), answer.to_string())
    };
    let (few, many) = (of("16"), of("17"));
    assert!(few.0, "{}", few.1);
    assert!(!many.0 && many.1.contains(r#"{"asked":17,"most":16,"veto":"cores"}"#), "{}", many.1);
    // What is there is not written over; what is no site, and no file, is said.
    let again = csync(&import).exits(4);
    assert!(again.err.contains("x.toml") && again.err.contains("`csync hosts import --nf-core`"), "{again:?}");
    world.write("y.config", "env {\n TMPDIR = '/tmp'\n}\n");
    let refused = csync(&["hosts", "import", "--nf-core", "y.config"]).exits(2);
    assert!(refused.err.contains("neither whose site it is nor its executor"), "{refused:?}");
    let refused = csync(&["hosts", "import", "--nf-core", "none.config"]).exits(2);
    assert!(refused.err.contains("none.config cannot be read"), "{refused:?}");
    world.write("a b.config", SITE);
    let refused = csync(&["hosts", "import", "--nf-core", "a b.config"]).exits(2);
    assert!(refused.err.contains("is no name for a site"), "{refused:?}");
}

#[test]
fn what_this_machine_has_not_is_told_wherever_hosts_are_chosen() {
    let world = World::new();
    std::fs::create_dir_all(world.path("config")).unwrap();
    let csync = |args: &[&str]| -> Done {
        world.command(args).env("CSYNC_CONFIG", world.path("config")).output().unwrap().into()
    };
    let file = |lines: &str| {
        let text =
            format!("name = \"w\"\n[tasks.wide]\noutputs = [\"out\"]\nrun = \"hostname > {{outputs}}\"\n{lines}\n");
        world.write("workflow.toml", &text);
    };
    let wide = "resources = { cpus = 99 }";
    let cores = "task `wide` asks for 99 cores, and 2 can be used here";
    // Where nothing is said it goes here: that it cannot is seen before it is submitted.
    file(wide);
    for args in [&["check"][..], &["submit", "--dry-run"]] {
        let told = csync(args).exits(0).err;
        assert!(told.contains(cores) && told.contains("`csync hosts list`"), "{args:?}: {told}");
    }
    csync(&["check", "--strict"]).exits(2);
    // No host has it: refused before anything starts, with what helps.
    for resources in [wide, "resources = { mem = \"900T\" }", "resources = { gpus = 77 }"] {
        file(&format!("{resources}\non = \"any\""));
        for args in [&["submit", "--dry-run"][..], &["submit"]] {
            let refused = csync(args).exits(2);
            assert!(refused.err.contains("no host of task `wide` can run it: `local`: it asks for "), "{refused:?}");
            assert!(refused.err.contains("ask for less in its `resources`, or name other hosts"), "{refused:?}");
        }
    }
    // A cluster may have it: it goes there, and this machine is told to be no place for it.
    world.write("config/hosts.toml", "[hosts.hpc]\nssh = \"nowhere\"\nbatch = \"slurm\"\n");
    file(&format!("{wide}\non = \"any\""));
    let dry = csync(&["submit", "--dry-run"]).exits(0).out;
    assert!(
        dry.contains("wide on hpc") && dry.contains("not on local: it asks for 99 cores, and 2 can be used"),
        "{dry}"
    );
    file(&format!("{wide}\non = [\"local\", \"hpc\"]"));
    let dry = csync(&["submit", "--dry-run"]).exits(0);
    assert!(dry.out.contains("wide on hpc") && !dry.err.contains("99 cores"), "the order is no order to fail: {dry:?}");
    let routed = csync(&["route", "--cpus", "3", "--", "sort", "x"]).exits(0).out;
    assert!(routed.contains("local: 3 cores on one node, where it has 2 cores"), "{routed}");
}

#[test]
fn a_dry_run_goes_by_what_counts_for_each_task_and_by_who_asks() {
    let world = World::new();
    std::fs::create_dir(world.path("config")).unwrap();
    let host = |name: &str, rate: u32, agents: &str| {
        format!("[hosts.{name}]\nsimulated = {{}}\nrate = {rate}\n[hosts.{name}.policy]\nagents = \"{agents}\"\n")
    };
    world.write("config/hosts.toml", &(host("dear", 9, "ask") + &host("cheap", 1, "ask")));
    let csync = |args: &[&str], agent: bool| -> Done {
        let mut command = world.command(args);
        command.env("CSYNC_CONFIG", world.path("config"));
        if agent {
            command.env("CLAUDECODE", "1")
        } else {
            command.env_remove("CLAUDECODE")
        };
        command.output().unwrap().into()
    };
    // The first of the file is as soon as the other, and dearer.
    let workflow =
        |policy: &str| format!("name = \"w\"\n{policy}[tasks.a]\nrun = \"true\"\non = [\"dear\", \"cheap\"]\n");
    world.write("workflow.toml", &workflow("[workflow]\npolicy = \"cheapest\"\n"));
    let dry = csync(&["submit", "--dry-run"], false).exits(0).out;
    assert!(dry.contains("a on cheap"), "{dry}");
    // What an agent may not start, it is not promised.
    for args in [&["submit", "--dry-run"][..], &["submit"]] {
        let refused = csync(args, true).exits(2);
        assert!(refused.err.contains("a person has to start it there"), "{refused:?}");
        assert!(refused.err.contains("ask the person") && !refused.err.contains("ask for less"), "{refused:?}");
    }
    csync(&["submit"], false).exits(0);
    assert!(csync(&["why", "last", "a"], false).exits(0).out.contains("on cheap"));
    world.write("workflow.toml", "name = \"w\"\n[tasks.a]\nrun = \"true\"\non = \"cheap\"\n");
    let dry = csync(&["submit", "--dry-run", "--rerun"], true).exits(0);
    assert!(dry.err.contains("may not start anything on `cheap` by itself"), "{dry:?}");
}

#[test]
fn rows_stand_in_the_order_of_the_numbers_that_are_shown() {
    let world = world();
    let asked = ["--time", "1h", "--cpus", "2", "wc -l reads.fq"];
    let table = |options: &[&str]| route(&world, &[options, &asked].concat()).exits(0).out;
    let titles =
        |text: &str| text.lines().nth(1).map(|line| line.split_whitespace().take(6).collect::<Vec<_>>().join(" "));
    let fastest = table(&[]);
    assert_eq!(titles(&fastest).as_deref(), Some("PLACE TOTAL WAIT TRANSFER RUN RISK"), "{fastest}");
    // An unknown queue: 5 s to an hour, so that a tenth of what it may take longer is 5m 48s.
    let hpc = fastest.lines().find(|line| line.starts_with("hpc/short")).unwrap().to_owned();
    assert!(hpc.contains("1h 07m") && hpc.contains(" 5m 48s "), "{fastest}");
    assert!(titles(&table(&["--policy", "locality"])).is_some_and(|titles| titles.starts_with("PLACE MOVES TOTAL")));
    assert!(
        titles(&table(&["--policy", "cheapest"])).is_some_and(|titles| titles.starts_with("PLACE CORE-HOURS TOTAL"))
    );
    let told = table(&["--explain"]);
    assert!(told.contains("  risk      5m 48s, a tenth of what it may take longer\n"), "{told}");
    let answer = route(&world, &[&["--json"], &asked[..]].concat()).exits(0).json();
    for place in answer["places"].as_array().unwrap() {
        let middle = |term: &str| place[term]["middle"].as_f64().unwrap();
        let sum = middle("wait") + middle("transfer") + middle("run") + place["penalty"].as_f64().unwrap();
        assert!((sum - middle("total")).abs() < 1e-6, "{place}");
    }
    let totals: Vec<f64> =
        answer["places"].as_array().unwrap().iter().map(|place| place["total"]["middle"].as_f64().unwrap()).collect();
    assert!(totals.is_sorted(), "{answer}");
}

#[test]
fn a_task_that_reaches_for_the_internet_runs_where_there_is_some() {
    let world = World::new();
    std::fs::create_dir(world.path("config")).unwrap();
    let csync = |args: &[&str]| -> Done {
        world.command(args).env("CSYNC_CONFIG", world.path("config")).output().unwrap().into()
    };
    let host =
        |name: &str, online: bool| format!("[hosts.{name}]\nsimulated = {{}}\ninternet = {{ compute = {online} }}\n");
    world.write(
        "config/hosts.toml",
        &(host("dark", false) + &host("light", true) + "[hosts.gone]\nssh = \"gone.invalid\"\n"),
    );
    let workflow = |internet: &str| {
        let text = format!(
            "name = \"w\"\n[tasks.get]\nrun = \"echo got > got\"\noutputs = [\"got\"]\non = [\"dark\", \"light\", \"gone\"]\n\
             resources = {{ internet = {internet} }}\n[workflow]\npolicy = \"fastest\"\n"
        );
        world.write("workflow.toml", &text);
    };
    csync(&["hosts", "probe", "dark", "light"]).exits(0);
    csync(&["hosts", "probe", "gone"]).exits(1);
    workflow("\"yes\"");
    let refused = csync(&["check"]).exits(2);
    assert!(refused.err.contains("`internet` is `true` or `false`, not a string"), "{refused:?}");
    workflow("true");
    let explained = csync(&["check", "--explain"]).exits(0).out;
    assert!(explained.contains("resources.internet") && explained.contains("true"), "{explained}");
    let dry = csync(&["submit", "--dry-run"]).exits(0).out;
    assert!(dry.contains("not on dark: there is no internet where jobs run"), "{dry}");
    assert!(
        dry.contains("not on gone: the last probe, at 2") && dry.contains("`csync hosts probe gone` tries again"),
        "{dry}"
    );
    assert!(!dry.contains("nobody looked"), "{dry}");
    csync(&["submit"]).exits(0);
    csync(&["wait", "last"]).exits(0);
    let why = csync(&["why", "--placement", "get"]).exits(0).out;
    assert!(why.contains("on light, by the policy") && why.contains("Not on dark: there is no internet"), "{why}");
    assert!(why.contains("Not on gone: the last probe, at 2"), "{why}");
    // Of hosts in a person's order the first that has some.
    let text = world.read("workflow.toml").replace(", \"gone\"", "").replace("policy = \"fastest\"\n", "");
    world.write("workflow.toml", &text);
    let dry = csync(&["submit", "--dry-run", "--rerun=get"]).exits(0).out;
    assert!(dry.contains("get on light"), "{dry}");
    csync(&["submit", "--rerun=get"]).exits(0);
    assert_eq!(
        csync(&["show", "last", "get", "--json"]).exits(0).json()["instances"][0]["attempts"][0]["host"],
        "light"
    );
    workflow("false");
    let dry = csync(&["submit", "--dry-run", "--rerun=get"]).exits(0).out;
    assert!(!dry.contains("internet"), "{dry}");
}

#[test]
fn a_damaged_store_is_told_and_advice_is_given_without_it() {
    let world = world();
    let asked = ["--time", "1h", "wc -l reads.fq"];
    world.csync(&["run", "--", "true"]).exits(0);
    world.csync(&["engine", "stop"]).exits(0);
    let database = world.state().join("csync.db");
    let mut bytes = std::fs::read(&database).unwrap();
    bytes.iter_mut().skip(100).for_each(|byte| *byte ^= 0x5a);
    std::fs::write(&database, bytes).unwrap();
    let told = route(&world, &asked).exits(0);
    assert!(told.out.contains("hpc/short") && told.err.contains("cannot be read and counts for nothing: "), "{told:?}");
    assert!(told.err.contains("`csync doctor` says what helps"), "{told:?}");
    let answer = route(&world, &[&["--json"], &asked[..]].concat()).exits(0).json();
    assert!(answer["unread"].is_string(), "{answer}");
    assert_eq!(places(&answer), ["local", "lab", "hpc/short"], "{answer}");
    std::fs::remove_file(&database).unwrap();
    assert!(route(&world, &[&["--json"], &asked[..]].concat()).exits(0).json()["unread"].is_null());
}
