//! What PBS's own log tells of jobs that PBS has forgotten.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::language::batch::call::Ask;
use crate::language::batch::{history, parse_history, traces};
use crate::model::batch::EndingClass::{Cancelled, Completed, NeverRan};
use crate::model::batch::{BatchId, EndingClass, Flavour, Reply};

/// What an OpenPBS 23.06.06 wrote when jobs were deleted with their history (`qdel -x -W force`), waiting ones (0, 2[], a member of
/// 3[]) and one that ran (1); and of one that no queue took.
const LOG: &str = "\
11/23/2026 01:56:40;0008;Server@pbs;Job;0.pbs;Job Queued at request of alice@pbs, owner = alice@pbs, job name = wait, queue = workq
11/23/2026 01:56:41;0008;Server@pbs;Job;0.pbs;Job to be deleted at request of alice@pbs
11/23/2026 01:56:41;0080;Server@pbs;Job;0.pbs;Also deleted job history
11/23/2026 01:56:41;0008;Server@pbs;Job;2[].pbs;Job to be deleted at request of alice@pbs
11/23/2026 01:56:42;0008;Server@pbs;Job;1.pbs;Job sent signal SIGKILL on delete
11/23/2026 01:56:42;0008;Server@pbs;Job;1.pbs;Job to be deleted at request of alice@pbs
11/23/2026 01:56:42;0008;Server@pbs;Job;3[2].pbs;Job to be deleted at request of alice@pbs
11/23/2026 01:56:43;0008;Server@pbs;Job;10.pbs;Job to be deleted at request of bob@pbs
11/23/2026 01:56:44;0008;Server@pbs;Job;4.pbs;Job rejected by all possible destinations
";

fn program(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs a command where PBS's home is a directory with such a log, and its `qstat` does this. Returns what is known then: the id, the
/// member, the class and why.
fn told(command: &str, log: Option<&str>, qstat: &str) -> Vec<(String, Option<u32>, EndingClass, Option<String>)> {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    program(
        &at("tracejob"),
        &format!("echo 'USAGE: tracejob'; echo 'default prefix path = {}'; exit 1", dir.path().display()),
    );
    program(&at("qstat"), qstat);
    if let Some(log) = log {
        fs::create_dir(at("server_logs")).unwrap();
        // No log of a day, and one that is over.
        fs::write(at("server_logs/20261122.old"), LOG).unwrap();
        fs::write(at("server_logs/20261122"), "").unwrap();
        fs::write(at("server_logs/20261123"), log).unwrap();
    }
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let out = Command::new("sh").args(["-c", command]).env("PATH", path).output().unwrap();
    let (stdout, stderr) = (String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap());
    let reply = Reply { status: out.status.code().unwrap(), stdout: &stdout, stderr: &stderr };
    let endings = parse_history(Flavour::Pbs, &reply).unwrap_or_else(|error| panic!("{error:?}: {reply:?}"));
    let mut told: Vec<_> =
        endings.into_iter().map(|ending| (ending.id.to_string(), ending.member, ending.class, ending.why)).collect();
    told.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    told
}

fn ids(ids: &[&str]) -> Vec<BatchId> {
    ids.iter().map(|id| BatchId((*id).to_owned())).collect()
}

#[test]
fn who_deleted_a_job_that_pbs_has_forgotten_stands_in_its_log() {
    let asked = ids(&["0.pbs", "1.pbs", "2[].pbs", "3[].pbs", "4.pbs", "5.pbs"]);
    let forgotten = "for i; do case $i in *.pbs) echo \"qstat: Unknown Job Id $i\" >&2;; esac; done; exit 153";
    let deleted = |id: &str, member| {
        (id.to_owned(), member, Cancelled, Some("Job to be deleted at request of alice@pbs".to_owned()))
    };
    let rejected = "Job rejected by all possible destinations: no queue behind its routing queue takes a job of that size and length";
    let all = vec![
        deleted("0.pbs", None),
        deleted("1.pbs", None),
        deleted("2[].pbs", None),
        deleted("3[].pbs", Some(2)),
        ("4.pbs".to_owned(), None, NeverRan, Some(rejected.to_owned())),
    ];
    // With a history, and without one, where `qstat` is not asked.
    assert_eq!(told(&history(Flavour::Pbs, Ask::Ids(&asked)), Some(LOG), forgotten), all);
    assert_eq!(told(&traces(Flavour::Pbs, &asked).unwrap(), Some(LOG), "exit 1"), all);
    // Not the host of the server.
    assert_eq!(told(&history(Flavour::Pbs, Ask::Ids(&asked)), None, forgotten), []);
    assert_eq!(told(&traces(Flavour::Pbs, &asked).unwrap(), None, "exit 1"), []);
}

#[test]
fn what_the_history_knows_is_not_looked_for_in_the_log() {
    let known =
        "printf 'Job Id: 0.pbs\\n    job_state = F\\n    Exit_status = 0\\n    run_count = 1\\n    substate = 92\\n'";
    let command = history(Flavour::Pbs, Ask::Ids(&ids(&["0.pbs"])));
    assert_eq!(told(&command, Some(LOG), known), [("0.pbs".to_owned(), None, Completed, None)]);
}
