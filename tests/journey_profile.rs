//! What runs teach, and what becomes of it: listed, imported, exported, forgotten, and nowhere readable.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};

use crate::world::{World, signal, until};

/// What a day's work holds that nobody else shall read: in the name of a directory, a file, a script, an option's value, a variable,
/// a task and a workflow.
const PLANTED: [&str; 8] = [
    "planteddirectory",
    "plantedfile",
    "plantedscript",
    "plantedpassword",
    "plantedvalue",
    "plantedtask",
    "plantedworkflow",
    "plantedhost",
];

#[test]
fn what_runs_teach_is_listed_and_sealed() {
    let world = World::new();
    fs::create_dir(world.path("planteddirectory")).unwrap();
    // Long enough to tell something.
    world.write(
        "planteddirectory/workflow.toml",
        "name = \"plantedworkflow\"\n[tasks.plantedtask]\ninputs = [\"in.txt\"]\noutputs = [\"plantedfile.out\"]\n\
         env = { PLACE = \"plantedhost\" }\n\
         run = \"sleep 1.1; sort --temporary-directory=/tmp in.txt > plantedfile.out\"\n\
         [tasks.works]\nrun = \"VALUE=plantedvalue ./plantedscript.sh -pplantedpassword --to plantedhost:/data\"\n",
    );
    // It is learned from too: only what went well is.
    world.write("planteddirectory/plantedscript.sh", "#!/bin/sh\nsleep 1.1\necho plantedvalue\n");
    let private = fs::Permissions::from_mode(0o755);
    fs::set_permissions(world.path("planteddirectory/plantedscript.sh"), private).unwrap();
    world.write("planteddirectory/in.txt", "b\na\n");
    assert_eq!(world.json(&["profile"])["profiles"], serde_json::json!([]));
    world.csync(&["submit", "planteddirectory/workflow.toml"]).exits(0);
    world.csync(&["route", "./plantedscript.sh -pplantedpassword plantedhost:/data"]);
    // Every kernel that counts bytes does so for itself.
    let counted = fs::exists("/proc/self/io").unwrap().then(|| {
        assert!(world.csync(&["why", "last", "plantedtask"]).exits(0).out.contains(", read "));
        world.json(&["show", "last", "plantedtask"])["instances"][0]["attempts"][0]["usage"]["io"].clone()
    });
    // An engine that leaves has written what it was told.
    world.csync(&["engine", "stop"]).exits(0);
    let listed = world.json(&["profile", "list"]);
    let profiles = listed["profiles"].as_array().unwrap();
    let profile = profiles.iter().find(|profile| profile["command"] == "sort").unwrap();
    assert_eq!((profiles.len(), &profile["runs"]), (2, &1.into()), "{listed}");
    let exported = world.csync(&["profile", "export", "--csv"]).exits(0).out;
    assert_eq!(exported.lines().count(), 3, "{exported}");
    let mut exports = vec![("CSV", exported.clone().into_bytes()), ("JSON", listed.to_string().into_bytes())];
    world.csync(&["profile", "export", "--sealed", "out.sealed"]).exits(0);
    exports.push(("what is for other machines", fs::read(world.path("out.sealed")).unwrap()));
    // A program of its own writes these, which is not everywhere.
    if world.csync(&["profile", "export", "--parquet", "out.parquet"]).code == 0 {
        exports.push(("Parquet", fs::read(world.path("out.parquet")).unwrap()));
    }
    if let Some(io) = counted {
        let moved = profile["io_bytes"].as_f64().unwrap_or_default();
        assert!((4.0..1e7).contains(&moved) && exported.contains(&format!(",{moved},")), "{listed} {exported}");
        assert_eq!(io["flow"], "calls", "{io}");
        assert_eq!(
            io["read"].as_f64().zip(io["written"].as_f64()).map(|(read, written)| read + written),
            Some(moved),
            "{io}"
        );
    }
    let mut looked = Vec::new();
    for file in fs::read_dir(world.state()).unwrap().map(|entry| entry.unwrap().path()) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        // The journal holds what people submitted, in clear: it is theirs alone, and never leaves.
        if file.is_dir() || name.starts_with("csync.db") {
            continue;
        }
        let bytes = fs::read(&file).unwrap();
        for word in PLANTED.iter().chain((name.starts_with("learned.db")).then_some(&"sort")) {
            assert!(!bytes.windows(word.len()).any(|window| window == word.as_bytes()), "{word} is in {name}");
        }
        looked.push(name);
    }
    for name in ["learned.db", "engine.log", "worker.log"] {
        assert!(looked.iter().any(|looked| looked == name), "{name} is not among {looked:?}");
    }
    for (name, bytes) in &exports {
        for word in PLANTED {
            assert!(!bytes.windows(word.len()).any(|window| window == word.as_bytes()), "{word} is in {name}");
        }
    }
    world.csync(&["profile", "forget", "sort"]).exits(0);
    assert_eq!(world.json(&["profile"])["profiles"].as_array().map(Vec::len), Some(1));
}

#[test]
fn histories_are_learned_from_once() {
    let world = World::new();
    let mut lines = vec!["JobID|JobName|State|ElapsedRaw|MaxRSS|ReqMem|End".to_owned()];
    for n in 0..40 {
        lines.push(format!("{n}|align|COMPLETED|600||8G|2026-11-20T{:02}:00:00", n % 24));
        lines.push(format!("{n}.batch|batch|COMPLETED|600|{}M||", 900 + n));
    }
    let text = lines.join("\n");
    world.write("jobs.txt", &text);
    for _ in 0..2 {
        let told = world.json(&["profile", "import", "jobs.txt"]);
        assert_eq!((&told["jobs"], &told["commands"]), (&40.into(), &1.into()), "{told}");
    }
    let listed = world.json(&["profile"]);
    assert_eq!(listed["profiles"][0]["runs"], 40, "{listed}");
    assert!(listed["profiles"][0]["unused"].as_f64().is_some_and(|part| (0.85..0.95).contains(&part)), "{listed}");
    assert!(listed["profiles"][0]["held"].as_f64().is_some(), "{listed}");
    let request = listed["profiles"][0]["memory_bytes"]["request"].as_f64().unwrap();
    assert!((900e6..1.2e9).contains(&request), "{listed}");
    let shown = world.csync(&["profile", "show", "align"]).exits(0).out;
    assert!(shown.contains("ask for") && !shown.contains("align"), "{shown}");
    let drawn = world.csync(&["profile", "show", "align", "--plot"]).exits(0).out;
    assert!(drawn.contains("peak memory of") && drawn.contains('o') && drawn.contains("80 % interval"), "{drawn}");
    world.csync(&["profile", "show", "--output", "align.html", "align"]).exits(0);
    assert!(world.read("align.html").matches("<svg").count() == 2);
    world.csync(&["profile", "show", "-o", "align.png", "align"]).exits(0);
    let png = fs::read(world.path("align.png")).unwrap();
    assert!(png.starts_with(b"\x89PNG") && png.ends_with(b"IEND\xae\x42\x60\x82"), "{} bytes", png.len());
    assert!(world.csync(&["profile", "show", "-o", "align.bmp", "align"]).exits(2).err.contains(".svg"));
    let replayed = world.json(&["profile", "replay", "jobs.txt"]);
    assert!(replayed["learned_waste_gbh"].as_f64() < replayed["asked_waste_gbh"].as_f64(), "{replayed}");
    world.csync(&["profile", "show", "sed"]).exits(3);
    let shipped = world.csync(&["profile", "show", "samtools", "sort"]).exits(0).out;
    assert!(
        shipped.contains("Nothing was learned") && shipped.contains("36G") && shipped.contains("nf-core"),
        "{shipped}"
    );
    assert_eq!(world.json(&["profile", "forget", "--unused", "36500"])["forgotten"], 0);
    world.write("old.txt", "JobID|JobName|State|ElapsedRaw|End\n1|ancient|COMPLETED|60|2020-01-01T00:00:00\n");
    world.csync(&["profile", "import", "old.txt"]).exits(0);
    assert_eq!(world.json(&["profile", "forget", "--unused", "365"])["forgotten"], 1);
    world.write("odd.txt", "nothing of the kind\n");
    let refused = world.csync(&["profile", "import", "odd.txt"]).exits(2);
    assert!(refused.err.contains("no report that csync knows"), "{refused:?}");
    world.write("bare.txt", "JobID|State\n1|COMPLETED\n");
    let refused = world.csync(&["profile", "import", "bare.txt"]).exits(2);
    assert!(refused.err.contains("neither run times") && refused.err.contains("sacct -P -o ALL"), "{refused:?}");
    // A line without end, numbers of no machine, units mixed, columns missing: what makes sense is taken.
    let mut bad = format!("{text}\n9|x|COMPLETED|-5||1Q|never\n8|{}", "y".repeat(3 << 20));
    bad.push_str(
        "\n7|align|COMPLETED|600||8G|2026-11-20T01:00:00\n7.batch|batch|COMPLETED|600|0.9G||\n6|align|COMPLETED\n",
    );
    world.write("bad.txt", &bad);
    let told = world.json(&["profile", "import", "bad.txt"]);
    assert_eq!((&told["jobs"], &told["skipped"]), (&41.into(), &3.into()), "{told}");
}

#[test]
fn a_replay_leaves_out_what_no_machine_has_and_says_when_nothing_was_predicted() {
    let world = World::new();
    let row = |n| format!("{n}|align|COMPLETED|600|{}M|8G|2026-11-20T{:02}:00:00\n", 900 + n, n % 24);
    let mut text = "JobID|JobName|State|ElapsedRaw|MaxRSS|ReqMem|End\n".to_owned();
    text.extend((0..30).map(row));
    world.write("jobs.txt", &text);
    let sane = world.json(&["profile", "replay", "jobs.txt"]);
    assert_eq!((&sane["jobs"], &sane["left_out"]), (&30.into(), &0.into()), "{sane}");
    text +=
        "90|align|COMPLETED|99999999999999|1G|8G|2026-11-20T01:00:00\n91|align|TIMEOUT|600|1G|8G|2026-11-20T01:00:00\n";
    world.write("absurd.txt", &text);
    let replayed = world.json(&["profile", "replay", "absurd.txt"]);
    assert_eq!((&replayed["jobs"], &replayed["used_gbh"]), (&sane["jobs"], &sane["used_gbh"]), "{replayed}");
    // What its limit cut says something of time.
    assert_eq!((&replayed["left_out"], &replayed["time"]["asked_killed"]), (&1.into(), &1.into()), "{replayed}");
    let told = world.csync(&["profile", "replay", "absurd.txt"]).exits(0);
    assert!(told.err.contains("Left out 1 line: ") && told.out.contains("interval of memory held"), "{told:?}");
    // Jobs that differ in their files alone are of one kind, as where they are learned from.
    let each =
        |n| format!("{n}|bwa mem -t 8 ref.fa r{n}.fq|COMPLETED|600|{}M|8G|2026-11-20T{:02}:00:00\n", 900 + n, n % 24);
    let each: String = (0..30).map(each).collect();
    world.write("each.txt", &format!("{}\n{each}", text.lines().next().unwrap()));
    let told = world.csync(&["profile", "replay", "each.txt"]).exits(0);
    assert!(told.out.contains("memory: 30 jobs of 1 kind, 27 predicted"), "{told:?}");
    world.write("one.txt", &text.lines().take(2).collect::<Vec<_>>().join("\n"));
    let told = world.csync(&["profile", "replay", "one.txt"]).exits(0);
    assert!(told.out.contains("predicted nothing") && !told.out.contains("held"), "{told:?}");
    assert_eq!(world.json(&["profile", "replay", "one.txt"])["interval_held"], serde_json::Value::Null);
}

#[test]
fn what_is_known_of_times_alone_is_shown() {
    let world = World::new();
    let rows: Vec<String> = (0..20).map(|n| format!("{n}|timed|COMPLETED|{}", 600 + n)).collect();
    world.write("jobs.txt", &format!("JobID|JobName|State|ElapsedRaw\n{}\n", rows.join("\n")));
    world.csync(&["profile", "import", "jobs.txt"]).exits(0);
    let shown = world.csync(&["profile", "show", "timed"]).exits(0).out;
    assert!(shown.contains("  time    10m") && !shown.contains("too little"), "{shown}");
    assert!(!shown.contains("  memory  "), "{shown}");
    world.csync(&["profile", "show", "timed", "--output", "timed.svg"]).exits(0);
    let svg = world.read("timed.svg");
    assert!(svg.contains("<svg") && svg.contains("time of"), "{svg}");
    // Nobody told when they ended.
    let listed = world.csync(&["profile", "list"]).exits(0).out;
    assert!(!listed.contains("1970"), "{listed}");
    assert_eq!(world.json(&["profile", "list"])["profiles"][0]["last"], serde_json::Value::Null);
}

/// A report of forty jobs that asked for two hours and took ten minutes, of which one took all of them.
fn timed() -> String {
    let mut lines = vec!["JobID|JobName|State|ElapsedRaw|TimelimitRaw|MaxRSS|ReqMem|End".to_owned()];
    for n in 0..40 {
        let (state, ran) = if n == 11 { ("TIMEOUT", 7200) } else { ("COMPLETED", 600 + n) };
        lines.push(format!("{n}|bwa mem|{state}|{ran}|120||8G|2026-11-20T{:02}:00:00", n % 24));
        lines.push(format!("{n}.batch|batch|{state}|{ran}||{}M||", 900 + n));
    }
    lines.join("\n") + "\n"
}

#[test]
fn what_time_was_asked_for_in_vain_is_told_as_it_is_of_memory() {
    let world = World::new();
    world.write("jobs.txt", &timed());
    world.csync(&["profile", "import", "jobs.txt"]).exits(0);
    let listed = world.json(&["profile"])["profiles"][0].clone();
    assert_eq!((&listed["command"], &listed["runs"], &listed["killed"]), (&"bwa mem".into(), &40.into(), &1.into()));
    let share = |value: &serde_json::Value| value.as_f64().unwrap_or(-1.0);
    // Of 80 hours 8.6 were used.
    assert!((share(&listed["time_unused"]) - 0.892).abs() < 0.002, "{listed}");
    assert!((0.5..=1.0).contains(&share(&listed["time_held"])), "{listed}");
    let page = world.csync(&["profile"]).exits(0).out;
    let row = page.lines().nth(1).unwrap();
    assert!(page.contains("KILLED") && row.contains("89/89 %"), "{page}");
    let shown = world.csync(&["profile", "show", "bwa", "mem"]).exits(0).out;
    for word in ["% of the memory, 89 % of the time asked for so far", "killed  1 attempt at", "that came next lay in"]
    {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    let found = world.csync(&["profile", "show", "--json", "bwa", "mem"]).exits(0).json()["found"][0].clone();
    for key in ["unused", "held", "time_unused", "time_held", "killed"] {
        assert_eq!(found[key], listed[key], "{key}");
    }
    let exported = world.csync(&["profile", "export"]).exits(0).out;
    assert!(exported.lines().next().unwrap().ends_with(",cut,asked_memory_bytes,asked_time_s"), "{exported}");
    assert_eq!(exported.lines().filter(|line| line.ends_with(",8589935000,7200")).count(), 40, "{exported}");
    assert_eq!(exported.lines().filter(|line| line.contains(",time,8589935000,7200")).count(), 1, "{exported}");
    // Both that are known are drawn.
    world.csync(&["profile", "show", "bwa", "mem", "--output", "both.svg"]).exits(0);
    let svg = world.read("both.svg");
    assert!(svg.contains("peak memory of bwa mem") && svg.contains("run time of bwa mem"), "{svg}");
    assert_eq!((svg.matches("<svg").count(), svg.matches("</svg>").count(), svg.matches("<g ").count()), (1, 1, 2));

    let replayed = world.json(&["profile", "replay", "jobs.txt"]);
    let time = &replayed["time"];
    assert_eq!((&replayed["jobs"], &time["jobs"], &time["asked_killed"]), (&39.into(), &39.into(), &1.into()));
    assert_eq!((share(&time["asked_h"]), &time["killed"]), (78.0, &0.into()), "{time}");
    assert!((share(&time["asked_waste_h"]) - (78.0 - share(&time["used_h"]))).abs() < 1e-9, "{time}");
    assert!(share(&time["learned_waste_h"]) < 0.5 * share(&time["asked_waste_h"]), "{time}");
    assert!((0.5..=1.0).contains(&share(&time["interval_held"])), "{time}");
    assert_eq!(replayed["left_out"], 0, "the one that was killed is learned from");
    let told = world.csync(&["profile", "replay", "jobs.txt"]).exits(0).out;
    for word in
        ["time used", "hours unused, 1 of 40 killed at their limit (2.5 %)", "hours unused, 0 of 39 killed at it"]
    {
        assert!(told.contains(word), "{word}: {told}");
    }
    // Times alone are enough for that.
    world.write("bare.txt", "JobID|JobName|State|ElapsedRaw\n1|a|COMPLETED|60\n2|a|COMPLETED|60\n");
    let told = world.csync(&["profile", "replay", "bare.txt"]).exits(0).out;
    assert!(told.contains("memory: no job that tells of it") && told.contains("predicted nothing"), "{told}");
}

#[test]
fn a_store_from_before_times_were_kept_opens_and_nothing_is_made_up() {
    let world = World::new();
    world.json(&["profile"]);
    let stores = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stores");
    for name in ["learned-3.db", "learned-3.key"] {
        let to = world.state().join(name.replace("-3", ""));
        fs::write(&to, fs::read(stores.join(name)).unwrap()).unwrap();
        fs::set_permissions(to, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let listed = world.json(&["profile"])["profiles"][0].clone();
    assert_eq!((&listed["command"], &listed["runs"]), (&"bwa mem".into(), &40.into()), "{listed}");
    assert!(listed["time_unused"].is_null() && listed["time_held"].is_null(), "{listed}");
    assert!(listed["unused"].is_f64() && listed["held"].is_f64() && listed["killed"] == 1, "{listed}");
    // The report that it was made of, told again, adds what was left out then.
    world.write("jobs.txt", &timed());
    world.csync(&["profile", "import", "jobs.txt"]).exits(0);
    let again = world.json(&["profile"])["profiles"][0].clone();
    assert_eq!((&again["runs"], &again["killed"]), (&40.into(), &1.into()), "{again}");
    assert!(again["time_unused"].as_f64().is_some_and(|part| (0.85..0.95).contains(&part)), "{again}");
}

#[test]
fn what_is_told_of_one_is_told_in_the_singular() {
    let world = World::new();
    world.write("one.txt", "JobID|JobName|State|ElapsedRaw\n1|a|COMPLETED|60\nnonsense\n");
    let told = world.csync(&["profile", "import", "one.txt"]).exits(0).err;
    assert!(told.contains("1 job of 1 kind of commands was learned from."), "{told}");
    assert!(told.contains("1 line told of nothing that can be learned from."), "{told}");
}

#[test]
fn a_damaged_store_is_said_and_nothing_stops() {
    let world = World::new();
    world.write("workflow.toml", "name = \"w\"\n[tasks.a]\nrun = \"sleep 1.1\"\n");
    assert_eq!(world.json(&["profile"])["profiles"], serde_json::json!([]));
    std::fs::write(world.state().join("learned.db"), "no database at all, but long enough to be looked at").unwrap();
    let refused = world.csync(&["profile"]).exits(5);
    assert!(refused.err.contains("learned.db") && refused.err.contains("mv "), "{refused:?}");
    world.csync(&["submit"]).exits(0);
    what_if_goes_on_without_what_was_learned(&world);
    // Nor does the key of another store, or one that is gone.
    fs::remove_file(world.state().join("learned.db")).unwrap();
    world.write("jobs.txt", "JobID|JobName|State|ElapsedRaw|End\n1|align|COMPLETED|60|2026-11-20T00:00:00\n");
    world.csync(&["profile", "import", "jobs.txt"]).exits(0);
    let key = world.state().join("learned.key");
    fs::write(&key, [7; 32]).unwrap();
    what_if_goes_on_without_what_was_learned(&world);
    fs::remove_file(&key).unwrap();
    what_if_goes_on_without_what_was_learned(&world);
}

fn what_if_goes_on_without_what_was_learned(world: &World) {
    world.write("what-if.toml", "[hosts.laptop]\ncores = 2\n");
    let told = world.csync(&["simulate", "--hosts", "what-if.toml"]).exits(0);
    assert!(told.out.contains("1 task on 1 host: 10m 00s"), "{told:?}");
    assert!(told.err.contains("What was learned is of no use here: "), "{told:?}");
}

#[test]
fn a_damaged_record_is_told_and_the_rest_is_used() {
    let world = World::new();
    world.write("in", "b\na\n");
    world.write("workflow.toml", "name = \"w\"\n[tasks.a]\ninputs = [\"in\"]\nrun = \"sort in\"\n");
    let row = |id: u32| format!("{id}|sort|COMPLETED|6{id:02}|5{id:02}M|2026-11-20T00:{id:02}:00");
    let head = "JobID|JobName|State|ElapsedRaw|MaxRSS|End".to_owned();
    let rows: Vec<String> = std::iter::once(head).chain((0..60).map(row)).collect();
    world.write("jobs.txt", &(rows.join("\n") + "\n"));
    world.csync(&["profile", "import", "--hosts", "local", "jobs.txt"]).exits(0);
    assert!(!world.csync(&["submit", "--dry-run"]).exits(0).err.contains("damaged"));
    assert!(world.csync(&["doctor"]).exits(0).out.contains("1 record can be read"));
    // Six pages are the tables'; what a record has no room for there lies in those behind.
    let store = world.state().join("learned.db");
    let mut bytes = fs::read(&store).unwrap();
    assert!(bytes.len() > 6 * 4096, "the record is as large as that");
    bytes.chunks_mut(4096).skip(6).for_each(|page| page[100] ^= 1);
    fs::write(&store, bytes).unwrap();
    let shown = world.csync(&["profile", "show", "sort"]);
    assert!(shown.err.contains("1 record is damaged and left out"), "{shown:?}");
    let told = world.csync(&["submit", "--dry-run"]).exits(0).err;
    let told: Vec<&str> = told.split_whitespace().filter(|word| *word != "│").collect();
    let told = told.join(" ");
    assert_eq!(told.matches("damaged").count(), 1, "{told}");
    assert!(told.contains("of what was learned") && told.contains("`csync doctor`"), "{told}");
    let doctor = world.csync(&["doctor"]).exits(0).out;
    assert!(doctor.contains("1 record is damaged and left out"), "{doctor}");
}

#[test]
fn what_was_not_used_for_long_is_dropped_as_somebody_says() {
    let world = World::new();
    let header = "JobID|JobName|State|ElapsedRaw|MaxRSS|End";
    world.write("jobs.txt", &format!("{header}\n1|align|COMPLETED|600|900M|2020-01-01T00:00:00\n"));
    world.json(&["profile", "import", "jobs.txt"]);
    assert!(world.csync(&["profile", "forget", "--retention", "0"]).exits(2).err.contains("0 is not in"));
    // As long as anybody can say: nothing is that old.
    let told = world.csync(&["profile", "forget", "--retention", "36500"]).exits(0).err;
    assert!(told.contains("Nothing is that old"), "{told}");
    assert_eq!(fs::read_to_string(world.state().join("learned.retention")).unwrap().trim(), "36500");
    assert_eq!(world.json(&["profile", "forget", "--retention", "30"])["forgotten"], 1);
    assert_eq!(world.json(&["profile"])["profiles"], serde_json::json!([]));
}

/// Of Grid Engine, Nextflow and Snakemake reports need not say when a job ended: such a job is not of the year 1970.
#[test]
fn what_nobody_told_the_end_of_is_as_old_as_its_import() {
    let world = World::new();
    fs::create_dir_all(world.path("bm")).unwrap();
    world.write("bm/minimap2.tsv", "s\th:m:s\tmax_rss\n12.5\t0:00:12\t300\n");
    world.write(
        "trace.txt",
        "hash\tprocess\tstatus\texit\trealtime\tpeak_rss\nab/1\tSAMTOOLS_SORT\tCOMPLETED\t0\t2m\t9 MB\n",
    );
    let qacct = |name: &str, end: &str| {
        format!("====\njobname {name}\njobnumber 7\n{end}failed 0\nexit_status 0\nru_wallclock 60\nmaxrss 9000K\n")
    };
    world.write("untold.txt", &qacct("sort", ""));
    world.write("told.txt", &qacct("bwa", "end_time Wed Jan  1 03:30:52 2020\n"));
    world.json(&["profile", "import", "bm/minimap2.tsv", "trace.txt", "untold.txt", "told.txt"]);
    let listed = || {
        let told = world.json(&["profile"]);
        let names = told["profiles"].as_array().unwrap().iter().map(|it| it["command"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(listed(), ["bwa", "minimap2", "samtools sort", "sort"]);
    let last = world.json(&["profile", "show", "bwa"])["found"][0].clone();
    assert!(last.is_object(), "{last}");
    assert_eq!(world.json(&["profile", "list"])["profiles"][0]["last"], "2020-01-01T03:30:00.000Z");
    for (option, gone) in [("--unused", 1), ("--retention", 0)] {
        assert_eq!(world.json(&["profile", "forget", option, "30"])["forgotten"], gone, "{option}");
        assert_eq!(listed(), ["minimap2", "samtools sort", "sort"], "{option}");
    }
}

#[test]
fn what_one_of_many_tasks_needed_is_not_taken_for_all() {
    let world = World::new();
    let row = |n: u32| {
        format!(
            "{n}|sort|COMPLETED|600|32||||128G|2026-11-20T{n:02}:00:00\n\
             {n}.batch|batch|COMPLETED|600|32|1|20M|20M||\n{n}.0|sort|COMPLETED|600|32|32|3G|2G||\n"
        )
    };
    let header = "JobID|JobName|State|ElapsedRaw|AllocCPUS|NTasks|MaxRSS|AveRSS|ReqMem|End\n";
    let text = (0..12).map(row).fold(header.to_owned(), |text, row| text + &row);
    world.write("jobs.txt", &text);
    let told = world.json(&["profile", "import", "jobs.txt"]);
    assert_eq!((&told["jobs"], &told["without_memory"]), (&12.into(), &0.into()), "{told}");
    let memory = world.json(&["profile"])["profiles"][0]["memory_bytes"]["middle"].as_f64().unwrap() / 1_073_741_824.0;
    assert!((63.9..64.1).contains(&memory), "{memory}");
    // Without a word of how many there were the time is learned alone, and that is said.
    world.json(&["profile", "forget", "--all"]);
    world.write("jobs.txt", &text.replace("AllocCPUS|NTasks|", "Other|Another|"));
    let told = world.csync(&["profile", "import", "jobs.txt"]).exits(0).err;
    assert!(told.contains("12 jobs of 1 kind") && told.contains("Of 12 jobs no memory was learned"), "{told}");
    let profile = world.json(&["profile"])["profiles"][0].clone();
    assert!(profile["memory_bytes"].is_null() && profile["time_s"].is_object(), "{profile}");
}

#[test]
fn benchmark_files_of_one_name_are_jobs_of_their_own() {
    let world = World::new();
    for (n, sample) in ["A", "B", "C"].iter().enumerate() {
        fs::create_dir_all(world.path(&format!("bm/{sample}"))).unwrap();
        world.write(&format!("bm/{sample}/bwa_mem.tsv"), &format!("s\tmax_rss\n12.{n}\t300\n"));
    }
    let runs = || world.json(&["profile"])["profiles"][0]["runs"].clone();
    let told = world.json(&["profile", "import", "bm/A/bwa_mem.tsv", "bm/B/bwa_mem.tsv"]);
    assert_eq!((&told["jobs"], &told["repeated"], runs()), (&2.into(), &0.into(), 2.into()), "{told}");
    world.json(&["profile", "import", "bm/C/bwa_mem.tsv"]);
    assert_eq!(runs(), 3);
    // Moved elsewhere, and told again, each is the same.
    fs::rename(world.path("bm/C"), world.path("bm/D")).unwrap();
    world.json(&["profile", "import", "bm/D/bwa_mem.tsv", "bm/A/bwa_mem.tsv"]);
    assert_eq!(runs(), 3);
    assert_eq!(world.csync(&["profile", "export"]).exits(0).out.lines().count(), 4);
}

#[test]
fn an_import_that_fails_leaves_what_others_learned_meanwhile() {
    let world = World::new();
    let store = world.state().join("learned.db");
    let begin = || {
        let mut command = world.command(&["profile", "import", "-"]);
        let importing = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until("the store is made", || fs::metadata(&store).is_ok_and(|meta| meta.len() > 0));
        importing
    };
    let fail = |mut importing: Child| {
        importing.stdin.take().unwrap().write_all(b"nothing of the kind\n").unwrap();
        assert_eq!(importing.wait().unwrap().code(), Some(2));
    };
    fail(begin());
    assert!(!store.exists() && !world.state().join("learned.key").exists(), "nobody learned anything");
    world.write("jobs.txt", "JobID|JobName|State|ElapsedRaw|End\n1|sort|COMPLETED|60|2026-11-20T00:00:00\n");
    let importing = begin();
    world.csync(&["profile", "import", "jobs.txt"]).exits(0);
    fail(importing);
    assert_eq!(world.json(&["profile"])["profiles"][0]["runs"], 1);
    // What can be seen to be none is told before anything is read of the others.
    world.write("odd.txt", "nothing of the kind\n");
    world.write("more.txt", "JobID|JobName|State|ElapsedRaw|End\n2|sort|COMPLETED|60|2026-11-20T00:01:00\n");
    world.csync(&["profile", "import", "more.txt", "odd.txt"]).exits(2);
    assert_eq!(world.json(&["profile"])["profiles"][0]["runs"], 1);
}

#[test]
fn what_was_learned_survives_being_killed_while_more_is_written() {
    let world = World::new();
    let header = "JobID|JobName|State|ElapsedRaw|MaxRSS|End";
    world.write("first.txt", &format!("{header}\n1|align|COMPLETED|600|900M|2026-11-20T00:00:00\n"));
    world.json(&["profile", "import", "first.txt"]);
    let rows: Vec<String> =
        (0..2000).map(|n| format!("{n}|kind{n}|COMPLETED|600|{}M|2026-11-20T00:00:00", 100 + n)).collect();
    world.write("more.txt", &format!("{header}\n{}\n", rows.join("\n")));
    let log = world.state().join("learned.db-wal");
    for at in [0, 1, 50_000, 200_000, 800_000] {
        let mut writing = world.command(&["profile", "import", "more.txt"]).stderr(Stdio::null()).spawn().unwrap();
        // Until so much is written, or it was faster.
        until("it writes", || {
            writing.try_wait().unwrap().is_some() || fs::metadata(&log).map_or(0, |meta| meta.len()) >= at
        });
        writing.kill().unwrap();
        writing.wait().unwrap();
        // All of an import, or nothing of it, beside what was there.
        let rows = world.csync(&["profile", "export"]).exits(0).out.lines().count();
        assert!(rows == 2 || rows == 2002, "{at}: {rows} lines");
    }
    world.json(&["profile", "import", "more.txt"]);
    assert_eq!(world.csync(&["profile", "export"]).exits(0).out.lines().count(), 2002);
}

#[test]
fn what_an_engine_did_not_come_to_learn_the_next_one_learns() {
    let world = World::new();
    // The last one leaves as soon as the run is over; another is killed then, before it has gathered what to write together.
    world.write(
        "workflow.toml",
        "name = \"w\"\n[tasks.a]\nforeach = { range = [1, 3] }\ninputs = [\"in.txt\"]\nrun = \"sleep 1.1; sort in.txt\"\n",
    );
    world.write("in.txt", &"line\n".repeat(1000));
    world.csync(&["submit"]).exits(0);
    let pid = world.json(&["status"])["engine"]["pid"].as_u64().unwrap();
    signal(u32::try_from(pid).unwrap(), "KILL");
    until("the engine is gone", || world.json(&["status"])["engine"].is_null());
    let runs = |world: &World| world.json(&["profile"])["profiles"][0]["runs"].as_u64().unwrap_or(0);
    let before = runs(&world);
    world.csync(&["engine", "restart"]).exits(0);
    until("the next engine has learned", || runs(&world) == 3);
    // In full, and once: also by one that is told to leave before it could strike anything off.
    let exported = world.csync(&["profile", "export"]).exits(0).out;
    let sizes: Vec<&str> = exported.lines().skip(1).filter_map(|row| row.split(',').nth(3)).collect();
    assert_eq!(sizes, ["5000"; 3], "{exported}");
    for _ in 0..2 {
        world.csync(&["engine", "stop"]).exits(0);
        assert_eq!(runs(&world), 3, "{before} before");
        world.csync(&["engine", "restart"]).exits(0);
    }
}

/// Holds as many megabytes as it is told, in the shell itself; where it was given less than it holds for good, until it is ended
/// for that.
const HOLDING: &str = r#"
name = "holding"
[params]
mb = "20"
least = "0"
[tasks.hold]
foreach = { range = [1, 3] }
run = "held=$(head -c {params.mb}000000 /dev/zero | tr '\\0' x); sleep 1.2; if [ {mem_mb} -lt {params.least} ]; then sleep 600; fi; true"
on = "hpc"
"#;

#[test]
fn a_job_that_runs_out_of_learned_memory_is_tried_again_with_more() {
    let world = World::new();
    fs::create_dir(world.path("config")).unwrap();
    world.write("config/hosts.toml", "[hosts.hpc]\nsimulated = { nodes = 1, cores = 4 }\n");
    world.write("workflow.toml", HOLDING);
    let config = world.path("config");
    let csync = |args: &[&str]| -> crate::world::Done {
        world.command(args).env("CSYNC_CONFIG", &config).output().unwrap().into()
    };
    // Nothing is known: the cluster is asked for nothing. Three attempts are enough to tell; an engine that leaves has learned.
    csync(&["submit"]).exits(0);
    csync(&["engine", "stop"]).exits(0);
    // 150 MB where 20 were ever needed: the task allows no retry, and the mistake was not its.
    csync(&["submit", "--rerun=hold", "--only", "hold", "-p", "mb=150", "-p", "least=140"]).exits(0);
    let why = csync(&["why", "--json", "hold[1]"]).exits(0).out;
    let told: serde_json::Value = serde_json::from_str(&why).unwrap();
    let attempts = told["instances"][0]["instance"]["attempts"].as_array().unwrap();
    let mems: Vec<u64> = attempts.iter().map(|attempt| attempt["grant"]["mem"].as_u64().unwrap()).collect();
    assert!((2..=5).contains(&mems.len()) && mems.windows(2).all(|pair| pair[0] < pair[1]), "{mems:?} {why}");
    assert!(mems[0] < 140 << 20 && *mems.last().unwrap() >= 140 << 20, "{mems:?}");
    let why = csync(&["why", "hold[1]"]).exits(0).out;
    assert!(why.contains("out of memory") && why.contains("it succeeded"), "{why}");
}

/// A report of jobs of some ids, each of which ended on the day of its number.
fn report(ids: impl IntoIterator<Item = u32>) -> String {
    let row = |id: u32| {
        format!("{id}|sort|{}|60|500M|4G|00:10:00|2026-10-{:02}T{:02}:00:00\n", state(id), 1 + id / 24, id % 24)
    };
    let header = "JobID|JobName|State|ElapsedRaw|MaxRSS|ReqMem|Timelimit|End\n".to_owned();
    ids.into_iter().map(row).fold(header, |text, row| text + &row)
}

fn state(id: u32) -> &'static str {
    if id.is_multiple_of(10) { "TIMEOUT" } else { "COMPLETED" }
}

#[test]
fn a_job_counts_once_whatever_the_report_is_called_that_tells_of_it() {
    let world = World::new();
    let counted = || {
        let told = world.json(&["profile"]);
        let counted = ["runs", "killed"].map(|key| told["profiles"][0][key].as_u64().unwrap());
        (counted[0], counted[1])
    };
    world.write("jobs.txt", &report(0..300));
    world.json(&["profile", "import", "jobs.txt"]);
    assert_eq!(counted(), (300, 30));
    // Spelled otherwise, copied, and twice at once.
    world.json(&["profile", "import", "./jobs.txt"]);
    world.json(&["profile", "import", world.path("jobs.txt").to_str().unwrap()]);
    world.write("copy.txt", &report(0..300));
    world.json(&["profile", "import", "copy.txt", "jobs.txt"]);
    assert_eq!(counted(), (300, 30));
    // It grew, under its own name and under another.
    world.write("jobs.txt", &report(0..310));
    world.json(&["profile", "import", "jobs.txt"]);
    assert_eq!(counted(), (310, 31));
    world.write("grown.txt", &report(0..400));
    world.json(&["profile", "import", "grown.txt"]);
    assert_eq!(counted(), (400, 40));
    // Other jobs under the same name count beside them; of a report that begins later, those of whole days count once.
    world.write("jobs.txt", &report(480..600));
    world.json(&["profile", "import", "jobs.txt"]);
    assert_eq!(counted(), (520, 52));
    world.write("jobs.txt", &report(240..620));
    world.json(&["profile", "import", "jobs.txt"]);
    assert_eq!(counted(), (620, 62));
}

#[test]
fn what_repeats_is_not_called_nothing() {
    let world = World::new();
    let rows = "1|sort|COMPLETED|60|500M|2026-10-01T00:00:00\n";
    world
        .write("jobs.txt", &format!("\u{feff}JobID|JobName|State|ElapsedRaw|MaxRSS|End\n{rows}{rows}{rows}nonsense\n"));
    let told = world.csync(&["profile", "import", "jobs.txt"]).exits(0).err;
    assert!(told.contains("1 job of 1 kind of commands was learned from."), "{told}");
    assert!(told.contains("2 lines repeat what was told already."), "{told}");
    assert!(told.contains("1 line told of nothing that can be learned from."), "{told}");
    let told = world.json(&["profile", "import", "jobs.txt"]);
    assert_eq!((&told["repeated"], &told["skipped"]), (&serde_json::json!(2), &serde_json::json!(1)), "{told}");
}

#[test]
fn a_program_is_shown_and_forgotten_whole_and_what_is_listed_by_its_token() {
    let world = World::new();
    let row = |id: u32, name: &str| format!("{id}|{name}|COMPLETED|60|500M|2026-10-01T00:{id:02}:00\n");
    let names = ["SAMTOOLS_SORT", "SAMTOOLS_VIEW", "our_own_thing"];
    let rows: String = (0..8).flat_map(|id| names.map(|name| row(id, name))).collect();
    world.write("jobs.txt", &format!("JobID|JobName|State|ElapsedRaw|MaxRSS|End\n{rows}"));
    world.json(&["profile", "import", "jobs.txt"]);
    let listed = |world: &World| -> Vec<String> {
        let told = world.json(&["profile"]);
        told["profiles"].as_array().unwrap().iter().map(|it| it["command"].as_str().unwrap().to_owned()).collect()
    };
    let all = listed(&world);
    let token = all.iter().find(|name| !name.contains("samtools")).unwrap().clone();
    assert_eq!(all.len(), 3, "{all:?}");
    let shown = world.csync(&["profile", "show", "samtools"]).exits(0).out;
    assert!(shown.contains("samtools sort on ") && shown.contains("samtools view on "), "{shown}");
    assert!(world.csync(&["profile", "show", &token]).exits(0).out.contains(&token));
    let json = world.csync(&["profile", "show", "samtools", "sort", "--json"]).exits(0).json();
    assert_eq!((&json["command"], json["found"].as_array().unwrap().len()), (&"samtools sort".into(), 1), "{json}");
    assert_eq!(world.csync(&["profile", "forget", &token, "--json"]).exits(0).json()["forgotten"], 1);
    assert_eq!(listed(&world), ["samtools sort", "samtools view"]);
    assert_eq!(world.json(&["profile", "forget", "samtools"])["forgotten"], 2);
    assert_eq!(listed(&world), Vec::<String>::new());
}

#[test]
fn a_sum_of_accounting_is_told_what_tells_of_each_job() {
    let world = World::new();
    world.write(
        "sum.txt",
        "Total System Usage\n    WALLCLOCK         UTIME         STIME\n         1437         0.144\n",
    );
    let refused = world.csync(&["profile", "import", "sum.txt"]).exits(2);
    assert!(refused.err.contains("`qacct -j > jobs.txt`") && !refused.err.contains("sacct -P"), "{refused:?}");
    assert!(!world.state().join("learned.db").exists() && !world.state().join("learned.key").exists());
}
