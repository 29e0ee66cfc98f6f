//! What queues say.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::{env, fs, process};

use proptest::prelude::*;

use super::{OPENPBS, Recorded, SLURMS, recorded, reply, root, said};
use crate::language::batch::call::Ask;
use crate::language::batch::{parse_cancel, parse_history, parse_queue, parse_start, queue, sge, start};
use crate::model::batch::{BatchId, Flavour, Members, Prospect, Queue, QueueState, Queued};
use crate::model::units::Walltime;

/// Prints what `qstat -F json` said of jobs as `qstat -f -w` prints it.
pub(super) fn job_text(json: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    let mut text = String::new();
    for (id, keys) in value["Jobs"].as_object().into_iter().flatten() {
        writeln!(text, "Job Id: {id}").unwrap();
        for (key, value) in keys.as_object().unwrap() {
            match value.as_object() {
                Some(parts) if key != "Variable_List" => {
                    parts.iter().for_each(|(part, value)| line(&mut text, &format!("{key}.{part}"), value));
                }
                _ => line(&mut text, key, value),
            }
        }
        text.push('\n');
    }
    text
}

fn line(text: &mut String, key: &str, value: &serde_json::Value) {
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    writeln!(text, "    {key} = {value}").unwrap();
}

/// Says in one line what a queue holds.
fn summary(queue: &Queue) -> String {
    let mut states: BTreeMap<String, usize> = BTreeMap::new();
    let mut odd = Vec::new();
    for job in &queue.jobs {
        *states.entry(format!("{:?}", job.state)).or_default() += 1;
        if job.prospect != Prospect::Normal {
            odd.push(format!("{} {:?}", job.id, job.prospect));
        }
    }
    let states: Vec<String> = states.into_iter().map(|(state, number)| format!("{number} {state}")).collect();
    format!("{}; {}", states.join(", "), odd.join(", "))
}

#[test]
fn every_recorded_slurm_queue() {
    for folder in SLURMS {
        let mut seen = 0;
        for recorded in recorded(folder) {
            // The columns by name: `-h` and `-O` are not how csync asks.
            let asked = recorded.command.contains("squeue")
                && recorded.command.contains("%i|")
                && !recorded.command.contains("-h ");
            if !asked {
                continue;
            }
            seen += 1;
            let queue = parse_queue(Flavour::Slurm, &recorded.reply()).unwrap();
            assert!(!queue.jobs.is_empty(), "{}", recorded.name);
            for job in &queue.jobs {
                assert!(job.name.is_some() && job.id.as_str().parse::<u64>().is_ok(), "{}: {job:?}", recorded.name);
            }
            assert_eq!(queue.jobs.len(), recorded.stdout.lines().count() - 1, "{}: no line is lost", recorded.name);
        }
        assert!(seen >= 3, "{folder}: {seen}");
    }
}

#[test]
fn a_busy_slurm_in_four_versions() {
    for folder in SLURMS {
        let all = reply(folder, "squeue-all");
        let queue = parse_queue(Flavour::Slurm, &all.reply()).unwrap();
        let of = |name: &str| {
            let name = name.parse().unwrap();
            let found: Vec<_> = queue.named(&name).collect();
            found.into_iter().next().unwrap_or_else(|| panic!("{folder}: {name}"))
        };
        assert_eq!(of("depnever").prospect, Prospect::Never, "{folder}");
        assert_eq!((of("held").state, of("held").prospect), (QueueState::Held, Prospect::Blocked), "{folder}");
        assert_eq!((of("begin").state, of("begin").prospect), (QueueState::Held, Prospect::Normal), "{folder}");
        assert_eq!((of("depok").state, of("depok").prospect), (QueueState::Held, Prospect::Normal), "{folder}");
        assert_eq!(of("timeout").state, QueueState::Running, "{folder}");
        assert!(of("timeout").start.is_some());
        let odd =
            queue.jobs.iter().find(|job| job.name.as_deref().is_some_and(|name| name.starts_with("we|ird"))).unwrap();
        assert_eq!((odd.name.as_deref(), odd.state), (Some("we|ird name \"q\" ü"), QueueState::Waiting), "{folder}");
        let array: Vec<_> = queue.jobs.iter().filter(|job| job.name.as_deref() == Some("arr")).collect();
        let ranges = array.iter().filter(|job| matches!(&job.members, Members::Ranges(ranges) if ranges[0].1 == 6));
        assert_eq!(ranges.count(), 1, "{folder}: {array:?}");
        let waiting = queue.member(&array[0].id, 4).unwrap();
        assert_eq!(waiting.state, QueueState::Waiting, "{folder}");
        assert!(queue.member(&array[0].id, 7).is_none(), "{folder}");
        // What can never run is told from what waits for its turn.
        let never: Vec<_> = queue
            .jobs
            .iter()
            .filter(|job| job.prospect == Prospect::Never)
            .map(|job| job.reason.as_deref().unwrap())
            .collect();
        assert!(never.contains(&"PartitionTimeLimit"), "{folder}: {never:?}");
    }
}

#[test]
fn a_start_that_slurm_expects_is_read_and_nothing_else() {
    // Midnight of that day, as `date +%s` prints it.
    const MIDNIGHT: u64 = 1_795_219_200;
    for folder in SLURMS {
        let wait = |name: &str| {
            let said = reply(folder, name);
            parse_start(Flavour::Slurm, &format!("{MIDNIGHT}\n{}{}", said.stdout, said.stderr))
        };
        let idle = wait("sbatch-testonly").unwrap();
        let busy = wait("sbatch-testonly-busy").unwrap();
        assert!((3.0 * 3600.0..5.0 * 3600.0).contains(&idle) && busy > 40.0 * 3600.0, "{folder}: {idle} {busy}");
        assert_eq!(wait("sbatch-testonly-impossible"), None, "{folder}");
    }
    assert_eq!(parse_start(Flavour::Slurm, "sbatch: Job 4 to start at 2026-11-21T03:37:38 using 2\n"), None);
    assert_eq!(parse_start(Flavour::Slurm, "9999999999\nsbatch: Job 4 to start at 2026-11-21T03:37:38 u\n"), Some(0.0));
    let asked = start(Flavour::Slurm, 4, Some(Walltime(90)), Some("a b")).unwrap();
    let wanted = "sbatch --test-only '--cpus-per-task=4' '--time=2' '--account=a b' '--wrap=true' 2>&1";
    assert!(asked.contains(wanted), "{asked}");
    assert_eq!(start(Flavour::Sge, 1, None, None), None);
}

#[test]
fn answers_that_are_none() {
    let recorded = |folder: &str, name: &str| reply(folder, name);
    for (flavour, folder, name) in [
        (Flavour::Slurm, "slurm-22.05-cgroup", "ctlddown-squeue"),
        (Flavour::Slurm, "slurm-22.05-cgroup", "mungedown-squeue"),
        (Flavour::Pbs, "pbs", "down_qstat"),
        (Flavour::Pbs, "pbs", "down_qstat_json"),
        (Flavour::Pbs, "pbs", "frozen_qstat"),
        (Flavour::Pbs, "pbs", "err_wrong_server"),
        (Flavour::Pbs, "pbs", "err_wrong_server_unreach"),
        (Flavour::Pbs, "pbs", "histoff_qstat_x"),
        (Flavour::Pbs, "pbs", "err_qstat_u_json"),
    ] {
        let reply = recorded(folder, name);
        let answer = parse_queue(flavour, &reply.reply());
        assert!(answer.is_err(), "{name}: {answer:?}");
    }
    for (flavour, status, stdout, stderr) in [
        (Flavour::Slurm, 0, "", ""),
        (Flavour::Slurm, 124, "JOBID|NAME|STATE\n1|a|RUNNING\n", ""),
        (Flavour::Slurm, 1, "JOBID|NAME|STATE\n", "slurm_load_jobs error: Socket timed out on send/recv operation"),
        (Flavour::Slurm, 127, "", "squeue: not found"),
        (Flavour::Pbs, 0, "", "pbs_iff: all reserved ports in use"),
        (Flavour::Pbs, 255, "", ""),
        (Flavour::Pbs, 143, "Job Id: 1.a\n    job_state = R\n", ""),
        (Flavour::Sge, 1, "", "error: commlib error: got select error (Connection refused)"),
        (Flavour::Sge, 0, "", ""),
        (
            Flavour::Sge,
            0,
            "<?xml version='1.0'?>\n<job_info>\n<queue_info><job_list><JB_job_number>1</JB_job_number>",
            "",
        ),
    ] {
        let answer = parse_queue(flavour, &said(status, stdout, stderr));
        assert!(answer.is_err(), "{flavour} {status} {stdout:?} {stderr}: {answer:?}");
    }
}

#[test]
fn empty_queues_are_answers() {
    let empty_sge = "<?xml version='1.0'?>\n<job_info  xmlns:xsd=\"x\">\n  <queue_info>\n  </queue_info>\n  <job_info>\n  </job_info>\n</job_info>\n";
    for (flavour, reply) in [
        (Flavour::Slurm, said(0, "JOBID|ARRAY_JOB_ID|STATE|PARTITION|START_TIME|NODELIST|REASON|NAME\n", "")),
        (Flavour::Pbs, said(0, "Owner: alice\n", "")),
        (Flavour::Sge, said(0, empty_sge, "")),
    ] {
        assert_eq!(parse_queue(flavour, &reply), Ok(Queue::default()), "{flavour}");
    }
    for (flavour, folder, name) in [
        (Flavour::Slurm, "slurm-22.05-cgroup", "squeue-nosuch"),
        (Flavour::Pbs, "pbs", "err_qstat_unknown"),
        (Flavour::Pbs, "pbs", "err_qstat_finished_nox"),
        (Flavour::Pbs, "pbs", "histoff_qstat_id"),
    ] {
        assert_eq!(parse_queue(flavour, &reply(folder, name).reply()), Ok(Queue::default()), "{name}");
    }
}

/// Recorded PBS queues, as text: what each holds.
const PBS: &[&str] = &[
    "pbs/qstat_f_json_mixed: 3 Held, 4 Running, 9 Waiting; 11.pbshead Blocked, 15.pbshead Never, 16.pbshead Blocked",
    "pbs/qstat_f_mixed: 3 Held, 4 Running, 9 Waiting; 11.pbshead Blocked, 15.pbshead Never, 16.pbshead Blocked",
    "pbs/qstat_t_json_mixed: 3 Held, 8 Running, 9 Waiting; 11.pbshead Blocked, 15.pbshead Never, 16.pbshead Blocked",
    "pbs/err_qstat_other_user: 1 Running; ",
    "pbs/qstat_queue_json: 2 Ending, 7 Held, 1 Running, 1 Waiting; 15.pbshead Never, 22.pbshead Blocked, 23.pbshead Blocked, 38.pbshead Blocked, 39.pbshead Blocked, 41.pbshead Blocked, 42.pbshead Blocked",
    "pbs/json_numnames: 17 Held, 1 Running, 1 Waiting; 16.pbshead Blocked, 22.pbshead Blocked, 23.pbshead Blocked, 29.pbshead Blocked, 30.pbshead Blocked, 38.pbshead Blocked, 39.pbshead Blocked, 41.pbshead Blocked, 42.pbshead Blocked, 63.pbshead Blocked, 64.pbshead Blocked, 65.pbshead Blocked, 66.pbshead Blocked, 67.pbshead Blocked, 68.pbshead Blocked, 69.pbshead Blocked, 70.pbshead Blocked",
    "pbs/json_V: 1 Held; 71.pbshead Blocked",
    "pbs/text_V: 1 Held; 71.pbshead Blocked",
    "pbs/json_V2: 1 Held; 72.pbshead Blocked",
    "pbs/json_V3: 1 Held; 73.pbshead Blocked",
    "pbs/arr2_qstat_f_json: 1 Running; ",
    "pbs/arr2_qstat_ft_json: 1 Over, 4 Running; ",
    "pbs/arr3_json: 1 Waiting; ",
    "pbs/dep_json: 1 Held; ",
    "pbs/histoff_live_json: 1 Held; ",
    "pbs/qstat_fw: 1 Held; ",
    "pbs/qstat_f_wrap: 1 Held; ",
];

/// Whether a recorded command asked for records of jobs, not of the history.
fn asks_pbs(recorded: &Recorded) -> bool {
    let command = &recorded.command;
    let full =
        command.contains("qstat") && command.contains("-f") || command.contains("-ft") || command.contains("-t -f");
    full && recorded.status == 0
        && !command.contains('|')
        && !command.contains("-x")
        && !command.contains("-Q")
        && !command.contains("-B")
        && !command.contains("time ")
}

#[test]
fn every_recorded_pbs_queue() {
    let mut found = Vec::new();
    for recorded in recorded("pbs").iter().filter(|recorded| asks_pbs(recorded)) {
        let text = if recorded.command.contains("json") { job_text(&recorded.stdout) } else { recorded.stdout.clone() };
        let queue = parse_queue(Flavour::Pbs, &said(0, &text, "")).unwrap();
        found.push(format!("{}: {}", recorded.name, summary(&queue)));
    }
    assert_eq!(found, PBS);
}

/// Recorded queues of Grid Engine: what each holds.
const SGE: &[&str] = &[
    "sge-8.1.9/qstat-xml: 2 Held, 2 Running, 14 Waiting; 25 Blocked, 30 Blocked",
    "sge-8.1.9/qstat-g-d-xml: 2 Held, 2 Running, 19 Waiting; 25 Blocked, 30 Blocked",
    "sge-8.1.9/qstat-ext-xml: 2 Held, 2 Running, 14 Waiting; 25 Blocked, 30 Blocked",
    "sge-8.1.9/qstat-r-xml: 2 Held, 2 Running, 14 Waiting; 25 Blocked, 30 Blocked",
];

#[test]
fn every_recorded_grid_engine_queue() {
    let mut found = Vec::new();
    for recorded in recorded("sge-8.1.9") {
        let queue = recorded.command.starts_with("qstat") && recorded.command.contains("-xml");
        // Other documents: of one job, of queues, of clusters of queues.
        if queue && !["-j", "-g c", "-f"].iter().any(|flag| recorded.command.contains(flag)) {
            let queue = parse_queue(Flavour::Sge, &recorded.reply()).unwrap();
            found.push(format!("{}: {}", recorded.name, summary(&queue)));
        }
    }
    assert_eq!(found, SGE);
}

#[test]
fn members_that_wait_together_are_one_line_of_grid_engine() {
    let queue = parse_queue(Flavour::Sge, &reply("sge-8.1.9", "qstat-r-xml").reply()).unwrap();
    let id = BatchId("23".to_owned());
    assert_eq!(queue.member(&id, 5).unwrap().members, Members::Ranges(vec![(1, 6, 1)]));
    let running = queue.jobs.iter().find(|job| job.name.as_deref() == Some("memok")).unwrap();
    assert_eq!((running.partition.as_deref(), running.node.as_deref()), (Some("all.q"), Some("sgx")));
}

#[test]
fn grid_engine_explains_errors() {
    for (name, id, why) in [
        ("qstat-j-err", "32", "exit_status of job start = 100"),
        ("qstat-j-badwd", "33", "can't chdir to /nonexistent: No such file or directory"),
        ("qstat-j-pending", "28", "queue instance \"all.q@sgx\" dropped because it is full"),
    ] {
        let found = sge::parse_explain(&reply("sge-8.1.9", name).reply());
        assert_eq!(found, [(BatchId(id.to_owned()), why.to_owned())], "{name}");
    }
    assert_eq!(sge::parse_explain(&reply("sge-8.1.9", "qstat-j-nosuch").reply()), []);
}

#[test]
fn what_pbs_holds_itself_is_told_from_what_waits_for_another() {
    for (holds, substate, prospect) in [
        ("n", 10, Prospect::Normal),
        ("s", 22, Prospect::Normal),
        ("s", 20, Prospect::Blocked),
        ("us", 22, Prospect::Blocked),
        ("p", 20, Prospect::Blocked),
    ] {
        let comment = "job held, too many failed attempts to run";
        let text = format!(
            "Job Id: 1.s\n    job_state = H\n    Hold_Types = {holds}\n    substate = {substate}\n    comment = {comment}\n"
        );
        let queue = parse_queue(Flavour::Pbs, &said(0, &text, "")).unwrap();
        assert_eq!((queue.jobs[0].prospect, queue.jobs[0].state), (prospect, QueueState::Held), "{holds} {substate}");
    }
    // The server's own name is no complaint.
    let gone = said(153, "Owner: alice\n", "qstat: Unknown Job Id 9.interconnect");
    assert_eq!(parse_queue(Flavour::Pbs, &gone), Ok(Queue::default()));
}

#[test]
fn what_pbs_expects_is_told_where_it_knows() {
    let queue = parse_queue(Flavour::Pbs, &reply(OPENPBS, "qstat-expected").reply()).unwrap();
    let start = |name: &str, member| {
        let found = |job: &&Queued| job.name.as_deref() == Some(name) && job.members == member;
        queue.jobs.iter().find(found).unwrap_or_else(|| panic!("{name}")).start.map(|start| start.0 / 1_000_000)
    };
    // 15:24:32 and 17:54:32 of that day; e1 runs.
    assert_eq!(start("e1", Members::All), Some(1_795_357_472));
    assert_eq!(start("e2", Members::All), Some(1_795_361_072));
    assert_eq!(start("nowall", Members::All), Some(1_795_370_072));
    // Behind one without a walltime: in five years, says PBS.
    assert_eq!(start("earr", Members::One(2)), None);
    for one in ["held", "never"] {
        assert_eq!(start(one, Members::All), None, "{one}");
    }
    let never = queue.jobs.iter().find(|job| job.name.as_deref() == Some("never")).unwrap();
    assert_eq!(never.prospect, Prospect::Never, "{:?}", never.reason);
}

#[test]
fn who_comes_to_pbs_now_begins_after_those_who_wait() {
    let said = |name: &str| parse_start(Flavour::Pbs, &reply(OPENPBS, name).stdout);
    // At 14:24:37, the last that asks for four cores or fewer and is expected within a year: at 17:54:32.
    assert_eq!(said("start-4"), Some(3.5 * 3600.0 - 5.0));
    assert_eq!((said("start-1"), said("start-idle")), (None, None));
    assert_eq!(parse_start(Flavour::Pbs, "1795357477\nstart Sun Nov 22 14:00:00 2026\n"), Some(0.0));
    assert_eq!(parse_start(Flavour::Pbs, "start Sun Nov 22 14:00:00 2026\n"), None);
}

/// A `qstat` that tells of one queue, and what the question makes of it.
#[test]
fn the_question_for_a_start_keeps_those_who_wait_and_ask_for_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let queue = root().join(OPENPBS).join("qstat-expected.out");
    let program = format!(
        "#!/bin/sh\ncase $* in '-B -f') echo '    default_queue = workq' ;; '-f -w workq') cat '{}' ;; *) exit 2 ;; esac\n",
        queue.display()
    );
    let qstat = dir.path().join("qstat");
    fs::write(&qstat, program).unwrap();
    fs::set_permissions(&qstat, fs::Permissions::from_mode(0o755)).unwrap();
    let ask = |cpus| {
        let path = format!("{}:{}", dir.path().display(), env::var("PATH").unwrap());
        let script = start(Flavour::Pbs, cpus, None, None).unwrap();
        let done = process::Command::new("sh").args(["-c", &script]).env("PATH", path).output().unwrap();
        String::from_utf8(done.stdout).unwrap().lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let far = "start Fri Nov 21 17:54:32 2031";
    let three =
        [far, "start Sun Nov 22 15:24:32 2026", "start Sun Nov 22 16:24:32 2026", "start Sun Nov 22 17:54:32 2026"];
    assert_eq!(ask(3), three);
    assert_eq!(ask(4).len(), 5);
    assert_eq!(ask(1), Vec::<String>::new());
}

#[test]
fn who_did_not_reach_pbs_learned_of_no_job() {
    for complaint in [
        "qstat: cannot connect to server s (errno=15010)",
        "Cannot connect to default server host 's' - check pbs_server daemon.",
        "Couldn't connect to cluster: s",
        "Unable to connect to server s",
        "Communication failure.",
        "No route to host",
        "pbs_iff: all reserved ports in use",
    ] {
        let text = format!("Unknown Job Id 9.s\n{complaint}\n");
        assert!(parse_queue(Flavour::Pbs, &said(153, "", &format!("qstat: {text}"))).is_err(), "{complaint}");
        assert!(parse_cancel(Flavour::Pbs, &said(153, "", &format!("qdel: {text}"))).is_err(), "{complaint}");
    }
}

#[test]
fn other_users_jobs_of_pbs_are_left_out() {
    let text = "Owner: alice\nJob Id: 1.s\n    Job_Owner = alice@h\n    job_state = Q\nJob Id: 2.s\n    Job_Owner = bob@h\n    job_state = R\n";
    let queue = parse_queue(Flavour::Pbs, &said(0, text, "")).unwrap();
    assert_eq!(queue.jobs.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["1.s"]);
}

#[test]
fn what_pbs_says_is_reduced_on_the_host() {
    // The pattern must let through what the parser reads, and nothing of the environment.
    let ids = [BatchId("71.pbshead".to_owned())];
    let script = queue(Flavour::Pbs, Ask::Ids(&ids));
    let stand_in = format!(
        "qstat() {{ cat <<'EOF'\n{}\nEOF\n}}\n{}",
        reply("pbs", "text_V").stdout,
        script.replace("command -v timeout", "false")
    );
    let output = std::process::Command::new("sh").args(["-c", &stand_in]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).replace(
        &format!(
            "Owner: {}",
            String::from_utf8_lossy(&std::process::Command::new("id").arg("-un").output().unwrap().stdout).trim()
        ),
        "Owner: pbsu1",
    );
    assert!(output.status.success() && !text.contains("BASH_FUNC") && !text.contains("line2"), "{text}");
    let queue = parse_queue(Flavour::Pbs, &said(0, &text, "")).unwrap();
    assert_eq!((queue.jobs[0].name.as_deref(), queue.jobs[0].prospect), (Some("bigenv"), Prospect::Blocked));
}

#[test]
fn pbs_is_asked_by_name_for_what_has_the_name_alone() {
    let names = ["csync-0a-1-2".parse().unwrap(), "csync-0a-1-3".parse().unwrap()];
    let script = queue(Flavour::Pbs, Ask::Names(&names)).replace("command -v timeout", "false");
    let run = |qselect: &str| {
        let stand_in = format!(
            "qselect() {{ {qselect}; }}\nqstat() {{ for i in \"$@\"; do case $i in -*) ;; *) \
             printf 'Job Id: %s\\n    Job_Name = csync-0a-1-2\\n    job_state = Q\\n' \"$i\" ;; esac; done; exit 153; }}\n{script}"
        );
        let output = std::process::Command::new("sh").args(["-c", &stand_in]).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    // One left between both questions: the exit status speaks of that one.
    let (status, stdout, _) = run("[ \"$2\" = csync-0a-1-2 ] && echo '5[].s' && echo 7.s || true");
    let found = parse_queue(Flavour::Pbs, &said(status, &stdout, "qstat: Unknown Job Id 7.s")).unwrap();
    assert_eq!(found.named(&names[0]).count(), 2, "{stdout}");
    // Without any id `qstat` would tell of everything, and is not asked.
    let (status, stdout, stderr) = run("true");
    assert_eq!(parse_queue(Flavour::Pbs, &said(status, &stdout, &stderr)), Ok(Queue::default()));
    let (status, stdout, stderr) = run("echo 'qselect: cannot connect to server s' >&2; return 162");
    assert!(parse_queue(Flavour::Pbs, &said(status, &stdout, &stderr)).is_err());
}

#[test]
fn queries_are_valid_shell() {
    let ids = [BatchId("5[].s".to_owned()), BatchId("7".to_owned())];
    let names = ["csync-0a-1-2".parse().unwrap()];
    for flavour in Flavour::ALL {
        for ask in [Ask::Mine, Ask::Ids(&ids), Ask::Names(&names)] {
            for script in [queue(flavour, ask), crate::language::batch::history(flavour, ask)] {
                let output = std::process::Command::new("sh").args(["-n", "-c", &script]).output().unwrap();
                assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
                assert!(!script.contains(" 5[].s"), "brackets are wildcards: {script}");
            }
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(
        status in prop::sample::select(vec![0, 1, 35, 153]),
        lines in prop::collection::vec("(JOBID\\|STATE\\|NAME|[0-9]{1,3}(_\\[?[0-9,%:-]{0,6}\\]?)?\\|[A-Z]{0,9}\\|.{0,9}|Job Id: [0-9\\[\\].a]{0,8}|    [a-zA-Z_]{1,9} = .{0,9}|</?(job_list|job_info|tasks|state)>|.{0,20})", 0..20),
    ) {
        let text = lines.join("\n");
        for flavour in Flavour::ALL {
            let _queue = parse_queue(flavour, &said(status, &text, ""));
            let _history = crate::language::batch::parse_history(flavour, &said(status, &text, ""));
        }
    }

    #[test]
    fn names_of_jobs_never_hide_other_jobs(names in prop::collection::vec("[^\n\r\0]{0,12}", 1..10)) {
        let mut text = "JOBID|ARRAY_JOB_ID|STATE|PARTITION|START_TIME|NODELIST|REASON|NAME\n".to_owned();
        for (at, name) in names.iter().enumerate() {
            writeln!(text, "{at}|{at}|PENDING|debug|N/A||Priority|{name}").unwrap();
        }
        let queue = parse_queue(Flavour::Slurm, &said(0, &text, "")).unwrap();
        let found: Vec<_> = queue.jobs.iter().filter_map(|job| job.name.clone()).collect();
        prop_assert_eq!(found, names);
    }
}

/// Torque's commands in front of a Slurm answer to some of what a PBS is asked, in its format, and to the rest with how they are
/// used: that is no answer, and above all not that nothing is there.
#[test]
fn torques_commands_in_front_of_slurm_are_not_taken_for_a_pbs_without_jobs() {
    let said = |name: &str| reply("slurm-torque-22.05", name);
    for name in ["qstat-x", "qstat-fx", "qstat-fF", "qstat-B"] {
        let recorded = said(name);
        assert_ne!(recorded.status, 0);
        let why = parse_queue(Flavour::Pbs, &recorded.reply()).unwrap_err().why;
        assert!(why.contains("nknown option") || why.contains("requires an argument"), "{name}: {why}");
        assert!(parse_history(Flavour::Pbs, &recorded.reply()).is_err(), "{name}");
    }
    // Its records are written otherwise: that no job is found in them does not say that there is none.
    for name in ["qstat-f", "qstat-after"] {
        let recorded = said(name);
        assert!(recorded.status == 0 && recorded.stdout.contains("job_state"), "{name}");
        let why = parse_queue(Flavour::Pbs, &recorded.reply()).unwrap_err().why;
        assert!(why.contains("another batch system"), "{name}: {why}");
    }
    // Tables are no records: neither of jobs nor of queues.
    for (name, status, words) in [("qstat", 0, "pbsjob"), ("qstat-Q", 0, "debug"), ("qstat-q", 153, "long")] {
        let recorded = said(name);
        assert!(recorded.status == status && recorded.stdout.contains(words), "{name}");
        assert!(parse_queue(Flavour::Pbs, &recorded.reply()).is_err(), "{name}");
        assert!(parse_history(Flavour::Pbs, &recorded.reply()).is_err(), "{name}");
    }
    // Of a job that nobody knows it says nothing, and fails.
    let unknown = said("qdel-nosuch");
    assert_eq!((unknown.status, unknown.stdout.as_str(), unknown.stderr.as_str()), (1, "", ""));
    assert!(parse_queue(Flavour::Pbs, &unknown.reply()).is_err());
}
