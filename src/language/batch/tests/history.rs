//! What histories say.

use std::collections::{BTreeMap, BTreeSet};

use super::queue::job_text;
use super::{OPENPBS, SLURMS, file, recorded, reply, said};
use crate::language::batch::call::Ask;
use crate::language::batch::{history, parse_history, parse_queue};
use crate::model::batch::EndingClass::{
    Cancelled, Completed, Failed, LaunchFailed, Live, NeverRan, NodeFail, Oom, Requeued, Timeout, Untold,
};
use crate::model::batch::{BatchId, Ending, EndingClass, Flavour, Reading};
use crate::model::units::{Bytes, Walltime};

fn slurm(folder: &str, name: &str) -> Vec<Ending> {
    parse_history(Flavour::Slurm, &reply(folder, name).reply()).unwrap()
}

fn find<'a>(endings: &'a [Ending], name: &str, member: Option<u32>) -> &'a Ending {
    let found = endings.iter().rfind(|ending| ending.name.as_deref() == Some(name) && ending.member == member);
    found.unwrap_or_else(|| panic!("{name} {member:?}"))
}

#[test]
fn endings_of_every_slurm() {
    for folder in SLURMS {
        let endings = slurm(folder, "sacct-P");
        for (name, class, code, signal) in [
            ("ok", Completed, Some(0), None),
            ("fail", Failed, Some(3), None),
            ("segv", Failed, Some(0), Some(11)),
            ("timeout", Timeout, Some(0), None),
            ("cancelrunning", Cancelled, Some(0), None),
            ("steps", Completed, Some(0), None),
        ] {
            let ending = find(&endings, name, None);
            assert_eq!((ending.class, ending.exit_code, ending.signal), (class, code, signal), "{folder} {name}");
        }
        assert_eq!(find(&endings, "arr", Some(3)).class, Failed, "{folder}");
        assert_eq!(find(&endings, "arr", Some(4)).class, Completed, "{folder}");
        let timeout = find(&endings, "timeout", None);
        assert!(matches!(timeout.wall, Some(Reading::MoreThan(Walltime(80..100)))), "{folder}: {:?}", timeout.wall);
        assert!(find(&endings, "ok", None).start.is_some() && find(&endings, "ok", None).node.is_some());
        // No line is lost but one that a comment broke in two (csync does not ask for comments): not known, not guessed.
        let lines = reply(folder, "sacct-P").stdout;
        let ids = lines.lines().skip(1).map(|line| line.split('|').next().unwrap());
        // The parts of a heterogeneous job are one.
        let jobs = ids.filter(|id| {
            id.starts_with(|c: char| c.is_ascii_digit()) && !id.contains(['.', '[']) && !id.ends_with("+1")
        });
        assert_eq!(endings.len(), jobs.count() - 1, "{folder}");
    }
}

#[test]
fn every_recorded_slurm_history() {
    for folder in SLURMS {
        for recorded in recorded(folder) {
            let asked = recorded.command.starts_with("sacct -P") && !recorded.command.contains("--json");
            if asked && recorded.status == 0 {
                let endings = parse_history(Flavour::Slurm, &recorded.reply()).unwrap();
                assert_eq!(endings.is_empty(), recorded.stdout.lines().count() == 1, "{}", recorded.name);
                let over = endings.iter().filter(|ending| ending.class != Live).count();
                assert!(endings.is_empty() || over > 0, "{}: {endings:?}", recorded.name);
            } else if asked {
                let answer = parse_history(Flavour::Slurm, &recorded.reply());
                assert!(answer.is_err(), "{}", recorded.name);
            }
        }
    }
}

#[test]
fn what_was_killed_for_memory_used_more_than_it_asked_for() {
    let endings = slurm("slurm-22.05-cgroup", "sacct-P");
    let oom = find(&endings, "oom", None);
    // The record says 3.5 MB: sampling missed it.
    assert_eq!((oom.class, oom.signal), (Oom, None));
    assert_eq!(oom.peak_memory, Some(Reading::MoreThan(Bytes::mib(50))));
    let step = find(&endings, "stepoom", None);
    assert_eq!((step.class, step.why.as_deref()), (Completed, Some("a step was killed for its memory")));
    assert_eq!(find(&endings, "steps", None).peak_memory, Some(Reading::Measured(Bytes(40_388 << 10))));
    assert_eq!(find(&endings, "oom", None).cpu_ms, Some(54));
}

#[test]
fn a_failed_node_and_the_start_after_it() {
    let endings = slurm("slurm-22.05-cgroup", "sacct-nodefail");
    assert_eq!(find(&endings, "nodefail", None).class, NodeFail);
    // Sent back to the queue: its last start counts.
    assert_eq!(find(&endings, "requeued", None).class, Live);
    assert_eq!(endings.len(), 2);
}

#[test]
fn words_that_were_not_recorded() {
    for (word, reason, class) in [
        ("CANCELLED", "DependencyNeverSatisfied", NeverRan),
        ("CANCELLED by 0", "None", Cancelled),
        ("OUT_OF_ME+", "None", Oom),
        ("PREEMPTED", "None", EndingClass::Preempted),
        ("BOOT_FAIL", "None", LaunchFailed),
        ("REQUEUED", "None", Requeued),
        ("DEADLINE", "None", Timeout),
        ("SOMETHING_NEW", "None", Live),
    ] {
        let text = format!("JobID|State|ExitCode|Reason|JobName\n7|{word}|0:0|{reason}|x\n");
        let endings = parse_history(Flavour::Slurm, &said(0, &text, "")).unwrap();
        assert_eq!(endings[0].class, class, "{word}");
    }
    let per_core = "JobID|State|ReqMem|AllocCPUS|JobName\n7|OUT_OF_MEMORY|100Mc|4|x\n";
    let endings = parse_history(Flavour::Slurm, &said(0, per_core, "")).unwrap();
    assert_eq!(endings[0].peak_memory, Some(Reading::MoreThan(Bytes::mib(400))));
}

#[test]
fn the_memory_of_a_job_is_that_of_all_tasks_of_its_largest_step() {
    for (name, steps, expected) in [
        ("one of many cores", "7.0|COMPLETED|3072M|8|1|3072M|solve\n", Some(3072)),
        ("many tasks", "7.0|COMPLETED|3072M|32|32|2048M|solve\n", Some(65_536)),
        ("of which one is large", "7.0|COMPLETED|50000M|32|32|1M|solve\n", Some(50_000)),
        ("without a mean", "7.0|COMPLETED|3072M|32|32||solve\n", Some(98_304)),
        (
            "one after another",
            "7.batch|COMPLETED|9M|32||9M|batch\n7.0|COMPLETED|2M|32|4|2M|a\n7.1|COMPLETED|4M|32|4|4M|b\n",
            Some(16),
        ),
        ("of how many nobody tells", "7.0|COMPLETED|3072M|32|||solve\n", None),
        ("but one core has one", "7.0|COMPLETED|3072M|1|||solve\n", Some(3072)),
    ] {
        let text = format!("JobID|State|MaxRSS|AllocCPUS|NTasks|AveRSS|JobName\n7|COMPLETED||32|||x\n{steps}");
        let endings = parse_history(Flavour::Slurm, &said(0, &text, "")).unwrap();
        assert_eq!(endings[0].peak_memory, expected.map(|mib| Reading::Measured(Bytes::mib(mib))), "{name}");
    }
}

#[test]
fn every_slurm_knows_the_columns_that_are_asked_for() {
    let call = history(Flavour::Slurm, Ask::Mine);
    let columns = call.split("-o ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    assert!(columns.contains(",NTasks,AveRSS,"), "{columns}");
    for folder in SLURMS {
        let known = reply(folder, "sacct-fields").stdout;
        let known: BTreeSet<&str> = known.split_whitespace().collect();
        let unknown: Vec<&str> = columns.split(',').filter(|column| !known.contains(column)).collect();
        assert!(unknown.is_empty(), "{folder}: {unknown:?}");
    }
}

fn pbs(name: &str) -> BTreeMap<String, Ending> {
    let text = job_text(&file(&format!("pbs/{name}.json")));
    let endings = parse_history(Flavour::Pbs, &said(0, &text, "")).unwrap();
    let key = |ending: &Ending| match ending.member {
        Some(member) => ending.id.as_str().replace("[]", &format!("[{member}]")),
        None => ending.id.to_string(),
    };
    endings.into_iter().map(|ending| (key(&ending).replace(".pbshead", ""), ending)).collect()
}

/// What happened, to which job, and how it reads: class, exit code, signal.
type End = (&'static str, &'static str, EndingClass, Option<i32>, Option<i32>);

/// The measured ends of jobs on PBS.
const PBS: &[End] = &[
    ("exit 0", "0", Completed, Some(0), None),
    ("exit 3", "1", Failed, Some(3), None),
    ("over its walltime", "2", Timeout, None, None),
    ("over its memory, killed by mom", "3", Oom, None, None),
    ("SEGV in a child of the shell", "4", Failed, Some(139), Some(11)),
    ("a member that failed", "5[2]", Failed, Some(5), None),
    ("a member that was killed", "5[3]", Failed, Some(137), Some(9)),
    ("a dependency that failed", "8", NeverRan, None, None),
    ("waits for its time", "12", Live, None, None),
    ("deleted before it ran", "15", Cancelled, None, None),
    ("runs", "18", Live, None, None),
    ("log could not be delivered", "43", Completed, Some(0), None),
    ("deleted while it ran", "46", Cancelled, Some(143), Some(15)),
    ("deleted, exits 9 in its trap", "47", Cancelled, Some(143), Some(15)),
    ("over its CPU time", "61", Failed, Some(137), Some(9)),
    ("command missing", "53", Failed, Some(127), None),
    ("a waiting member was deleted", "84[6]", Untold, None, None),
    ("array deleted before it ran", "87[3]", Cancelled, None, None),
];

#[test]
fn endings_of_pbs() {
    let endings = pbs("all_xft4");
    for (what, id, class, code, signal) in PBS {
        let ending = &endings[*id];
        assert_eq!((ending.class, ending.exit_code, ending.signal), (*class, *code, *signal), "{what}: {ending:?}");
    }
    // The array's own record says 0 although members failed.
    assert!(!endings.contains_key("5[]"));
    assert_eq!(endings["2"].wall, Some(Reading::MoreThan(Walltime(23))));
    assert_eq!(endings["1"].peak_memory, None, "0kb is unmeasured");
    assert_eq!(endings["0"].peak_memory, Some(Reading::Measured(Bytes(167_660 << 10))));
    assert_eq!((endings["0"].cpu_ms, endings["0"].node.as_deref()), (Some(3000), Some("pbsn1")));
    assert_eq!(endings["3"].peak_memory, Some(Reading::MoreThan(Bytes::mib(100))));
}

#[test]
fn of_members_that_pbs_kept_nothing_of_it_tells_what_their_array_is() {
    let classes = |name: &str| {
        let said = reply(OPENPBS, name);
        let members = |ending: &Ending| Some((ending.member?, ending.class, ending.exit_code));
        let endings = parse_history(Flavour::Pbs, &said.reply()).unwrap();
        endings.iter().filter_map(members).collect::<Vec<_>>()
    };
    // The first was deleted while it ran, the last before; then the whole was.
    let of_all = (2..=5).map(|member| (member, Live, None));
    let first = [(1, Cancelled, Some(143))].into_iter().chain(of_all).chain([(6, Untold, None)]);
    assert_eq!(classes("qstat-members-deleted"), first.collect::<Vec<_>>());
    let others = (2..=5).map(|member| (member, Cancelled, Some(143)));
    let then = [(1, Untold, None)].into_iter().chain(others).chain([(6, Untold, None)]);
    assert_eq!(classes("qstat-array-deleted"), then.collect::<Vec<_>>());
    // Without a history: the first failed, three went well, one runs.
    let queue = parse_queue(Flavour::Pbs, &reply(OPENPBS, "qstat-members-off").reply()).unwrap();
    let over: Vec<_> = queue.jobs.iter().filter_map(|job| job.over).collect();
    assert_eq!(over, [Untold; 4]);
    assert_eq!(classes("qstat-members-never"), [(1, NeverRan, None), (2, NeverRan, None)]);
}

#[test]
fn memory_killed_by_the_control_group_of_pbs() {
    for (name, code) in
        [("qstat_xf_cg_over", Some(0)), ("qstat_xf_cg_over_exec", Some(137)), ("qstat_xf_cg_nomem", Some(137))]
    {
        let endings = pbs(name);
        let ending = endings.values().next().unwrap();
        assert_eq!((ending.class, ending.exit_code), (Oom, code), "{name}: {ending:?}");
        assert!(matches!(ending.peak_memory, Some(Reading::MoreThan(_))), "{name}: {ending:?}");
        assert!(ending.why.as_deref().is_some_and(|why| why.contains("Cgroup mem limit exceeded")), "{name}");
    }
}

#[test]
fn a_node_of_pbs_that_was_lost() {
    for (status, state, runs, class) in [
        ("-20", "F", "1", NodeFail),
        ("-20", "Q", "1", Live),
        ("-4", "F", "1", NodeFail),
        ("-14", "F", "1", NodeFail),
        ("-12", "F", "1", Requeued),
        ("-16", "F", "1", LaunchFailed),
        ("-17", "F", "1", LaunchFailed),
        ("-22", "F", "1", LaunchFailed),
        ("-30", "F", "1", LaunchFailed),
        ("-13", "F", "1", LaunchFailed),
        ("-21", "F", "1", LaunchFailed),
        ("-5", "F", "1", NodeFail),
        ("-32", "F", "1", NodeFail),
        ("-31", "F", "1", Oom),
        ("-1", "F", "1", LaunchFailed),
        ("271", "F", "1", Failed),
        ("265", "F", "1", Failed),
    ] {
        let text = format!(
            "Job Id: 1.s\n    job_state = {state}\n    Exit_status = {status}\n    run_count = {runs}\n    substate = 93\n"
        );
        let endings = parse_history(Flavour::Pbs, &said(0, &text, "")).unwrap();
        assert_eq!(endings[0].class, class, "{status} {state}");
    }
    // Deleted: by force, in order, by force in its shell; and just when it ended by itself.
    for (status, class) in [("265", Cancelled), ("271", Cancelled), ("137", Cancelled), ("3", Failed)] {
        let text = format!(
            "Job Id: 1.s\n    job_state = F\n    Exit_status = {status}\n    run_count = 1\n    substate = 91\n"
        );
        let endings = parse_history(Flavour::Pbs, &said(0, &text, "")).unwrap();
        assert_eq!(endings[0].class, class, "{status}");
    }
    let forced = reply(OPENPBS, "qstat-deleted-by-force");
    let endings = parse_history(Flavour::Pbs, &forced.reply()).unwrap();
    assert_eq!((endings[0].class, endings[0].signal), (Cancelled, Some(9)));
    let lost = pbs("nodedown_jobs");
    assert_eq!(lost.values().next().unwrap().class, Live, "sent back to the queue");
}

#[test]
fn every_recorded_pbs_history() {
    let mut seen = 0;
    for recorded in recorded("pbs") {
        let command = recorded.command.trim_matches(['\'', '"']);
        let asked = command.starts_with("qstat -x")
            && (command.contains("f ") || command.contains("-xf") || command.contains(" -f"));
        if !asked || command.contains("dsv") || command.contains('|') {
            continue;
        }
        seen += 1;
        let json = command.contains("json");
        let text = if json { job_text(&recorded.stdout) } else { recorded.stdout.clone() };
        let answer = parse_history(Flavour::Pbs, &said(recorded.status, &text, &recorded.stderr));
        let off = recorded.stderr.contains("not configured");
        assert_eq!(answer.is_err(), off, "{}: {answer:?}", recorded.name);
        if let Ok(endings) = answer {
            let records = text.lines().filter(|line| line.starts_with("Job Id:") && !line.contains("[]")).count();
            assert_eq!(endings.len(), records, "{}", recorded.name);
        }
    }
    assert!(seen > 40, "{seen}");
}

#[test]
fn text_and_json_of_pbs_say_the_same() {
    for name in ["ok", "fail3", "wall", "mem", "segv", "sub2", "depok", "depfail", "toobig", "longrun"] {
        let text = reply("pbs", &format!("qstat_xf_{name}"));
        let recorded = recorded("pbs");
        let of = |json: bool| {
            let wanted = format!("pbs/qstat_xf_{name}");
            recorded.iter().find(|r| r.name == wanted && r.command.contains("json") == json).unwrap().clone()
        };
        let plain = parse_history(Flavour::Pbs, &of(false).reply()).unwrap();
        let json = parse_history(Flavour::Pbs, &said(0, &job_text(&of(true).stdout), "")).unwrap();
        let brief = |endings: &[Ending]| {
            endings.iter().map(|e| (e.class, e.exit_code, e.peak_memory, e.end)).collect::<Vec<_>>()
        };
        assert_eq!(brief(&plain), brief(&json), "{name} {}", text.name);
    }
}

fn sge(name: &str) -> Vec<Ending> {
    parse_history(Flavour::Sge, &reply("sge-8.1.9", name).reply()).unwrap()
}

#[test]
fn endings_of_grid_engine() {
    for (name, class, code, signal) in [
        ("qacct-OK", Completed, Some(0), None),
        ("qacct-FAIL", Failed, Some(3), None),
        ("qacct-SEGV", Failed, Some(139), Some(11)),
        ("qacct-VMEM", Failed, Some(1), None),
        ("qacct-HRT", Timeout, Some(137), Some(9)),
        ("qacct-SRT", Failed, Some(138), Some(10)),
        ("qacct-CANR", Failed, Some(137), Some(9)),
        ("qacct-E99", Requeued, Some(99), None),
        ("qacct-E100", Failed, Some(100), None),
        ("qacct-NOCWD", LaunchFailed, None, None),
        ("qacct-BADOUT", LaunchFailed, None, None),
        ("qacct-NODE", NodeFail, None, None),
    ] {
        let endings = sge(name);
        let ending = endings.last().unwrap();
        assert_eq!((ending.class, ending.exit_code, ending.signal), (class, code, signal), "{name}: {ending:?}");
        assert_eq!(endings.len(), 1, "{name}");
    }
    let array = sge("qacct-ARR");
    assert_eq!(array.iter().map(|e| (e.member, e.class)).collect::<Vec<_>>()[2], (Some(3), Failed));
    assert_eq!(array.len(), 6);
    // `ru_maxrss` says 580 KB of a process of 580 MB.
    assert_eq!(
        sge("qacct-MEMOK")[0].peak_memory,
        Some(Reading::Measured(Bytes((583.309 * f64::from(1 << 20)) as u64)))
    );
    assert_eq!(sge("qacct-FAIL")[0].peak_memory, None, "too short to be measured");
    assert_eq!(sge("qacct-NOCWD")[0].why.as_deref(), Some("changing into working directory"));
    assert_eq!(sge("qacct-HRT")[0].wall, Some(Reading::MoreThan(Walltime(6))));
}

#[test]
fn every_recorded_grid_engine_history() {
    let mut seen = 0;
    for recorded in recorded("sge-8.1.9").iter().filter(|r| r.command.starts_with("qacct -j")) {
        seen += 1;
        let endings = parse_history(Flavour::Sge, &recorded.reply()).unwrap();
        assert_eq!(endings.is_empty(), recorded.status != 0, "{}: a job it does not know is no failure", recorded.name);
    }
    assert!(seen > 18, "{seen}");
    let all = sge("qacct-jobs");
    let text = reply("sge-8.1.9", "qacct-jobs").stdout;
    let values = |key: &str| text.lines().filter(|line| line.starts_with(key)).map(str::to_owned).collect::<Vec<_>>();
    let members: BTreeSet<_> = values("jobnumber").into_iter().zip(values("taskid")).collect();
    assert!(members.len() < values("jobnumber").len());
    assert_eq!(all.len(), members.len(), "of a job that was sent back, the last start counts");
}

#[test]
fn histories_that_do_not_answer() {
    for (flavour, status, stderr) in [
        (Flavour::Slurm, 1, "Slurm accounting storage is disabled"),
        (Flavour::Slurm, 1, "sacct: error: Problem talking to the database: Connection refused"),
        (Flavour::Slurm, 0, ""),
        (Flavour::Pbs, 0, "qstat: PBS is not configured to maintain job history 0.pbshead"),
        (
            Flavour::Sge,
            1,
            "/opt/sge/default/common/accounting: No such file or directory\nno jobs running since startup",
        ),
        (Flavour::Sge, 127, "sh: qacct: not found"),
    ] {
        let answer = parse_history(flavour, &said(status, "", stderr));
        assert!(answer.is_err(), "{flavour} {stderr}: {answer:?}");
    }
}

#[test]
fn several_jobs_of_grid_engine_are_asked_for_in_one_script() {
    let ids = [BatchId("1".to_owned()), BatchId("2".to_owned())];
    assert!(history(Flavour::Sge, Ask::Ids(&ids)).contains("for j in 1 2; do"));
}
