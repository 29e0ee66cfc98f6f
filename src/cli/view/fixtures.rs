//! Runs for the tests of views.

use crate::model::api::{
    AttemptView, Counts, EndedView, EngineInfo, HeldView, InstancePage, InstanceView, LocalInfo, Progress, RunDetail,
    RunState, RunSummary, RunningView, TaskView,
};
use crate::model::id::{InstanceId, RunId};
use crate::model::job::{Outcome, State};
use crate::model::resources::{Flow, Grant, Hold, Io, Meter, Usage};
use crate::model::units::{Bytes, Timestamp};

pub(in crate::cli) fn at(seconds: i64) -> Timestamp {
    Timestamp((1_790_000_000 + seconds) * 1_000_000)
}

pub(in crate::cli) fn now() -> Timestamp {
    at(4000)
}

fn run(id: u32, name: &str, state: RunState, counts: Counts, started: i64, ended: Option<i64>) -> RunSummary {
    RunSummary {
        run: RunId(id),
        name: name.to_owned(),
        path: Some("workflow.toml".to_owned()),
        root: format!("/data/ada/projects/lambda-phage/{name}"),
        state,
        counts,
        submitted: at(started),
        ended: ended.map(at),
        command: Some(format!("csync submit -p ref=hg{id}")),
    }
}

pub(in crate::cli) fn runs() -> Vec<RunSummary> {
    let failed = Counts { failed: 2, done: 100, skipped: 18, ..Counts::default() };
    let active = Counts { done: 45_000, running: 2, pending: 55_000, failed: 1, ..Counts::default() };
    let cached = Counts { cached: 12, ..Counts::default() };
    let cancelled = Counts { cancelled: 3, done: 1, ..Counts::default() };
    vec![
        run(12, "rnaseq", RunState::Failed, failed, 3600, Some(3730)),
        run(11, "a-sweep-with-a-name-that-is-longer-than-people-should-choose", RunState::Active, active, 100, None),
        run(10, "quickstart", RunState::Succeeded, cached, 50, Some(50)),
        run(9, "bl\u{fc}te\n\u{1b}[31m", RunState::Cancelled, cancelled, -400_000, Some(-399_000)),
    ]
}

pub(in crate::cli) fn usage(wall: f64, peak: u64) -> Usage {
    let io = Some(Io { read: Bytes::mib(3 * peak), written: Bytes::mib(peak), flow: Flow::Calls });
    Usage { wall, user: wall * 1.5, system: wall * 0.1, peak_memory: Bytes::mib(peak), meter: Meter::Proc, io }
}

pub(in crate::cli) fn detail() -> RunDetail {
    let task = |name: &str, counts: Counts, after: &[&str], usage: Usage| TaskView {
        name: name.to_owned(),
        counts,
        after: after.iter().map(|&name| name.to_owned()).collect(),
        usage,
    };
    RunDetail {
        summary: runs().remove(0),
        tasks: vec![
            task("index", Counts { cached: 1, ..Counts::default() }, &[], Usage::default()),
            task("align", Counts { done: 58, failed: 2, ..Counts::default() }, &["index"], usage(230.0, 1500)),
            task("count", Counts { skipped: 1, ..Counts::default() }, &["align", "index"], Usage::default()),
        ],
        logins: Vec::new(),
        eta: None,
        moving: Vec::new(),
        elsewhere: vec![HeldView { host: "hpc".parse().unwrap(), files: 3, bytes: Bytes::gib(40) }],
    }
}

pub(in crate::cli) fn instance(label: &str, state: State, outcome: Option<Outcome>) -> InstanceView {
    let grant = Grant { cpus: 2, mem: Bytes::gib(1), hold: Hold::Limit, time: None, gpus: 0 };
    let ran = matches!(state, State::Running | State::Done | State::Failed);
    let attempt = AttemptView {
        host: None,
        attempt: 2,
        grant,
        submitted: at(3600),
        started: Some(at(3601)),
        ended: outcome.as_ref().map(|_| at(3612)),
        outcome: outcome.clone(),
        usage: outcome.as_ref().map(|_| usage(11.4, 700)),
        notes: Vec::new(),
        choice: None,
        allocation: None,
    };
    InstanceView {
        instance: InstanceId(7),
        label: label.to_owned(),
        task: label.split('[').next().unwrap_or_default().to_owned(),
        state,
        attempts: if ran { vec![attempt] } else { Vec::new() },
        outcome,
    }
}

pub(in crate::cli) fn instances() -> InstancePage {
    let stage =
        Outcome::Stage { message: "output `bam/B.bam` was not made although the command ended with 0".to_owned() };
    InstancePage {
        total: 120,
        instances: vec![
            instance("align[A_R1.fastq.gz]", State::Failed, Some(Outcome::Exit { code: 1, signal: None })),
            instance("align[B with blanks]", State::Failed, Some(stage)),
            instance("align[C]", State::Done, Some(Outcome::Success)),
            instance("align[D]", State::Running, None),
            instance("count", State::Pending, None),
        ],
    }
}

pub(in crate::cli) fn progress() -> Progress {
    let summary = runs().remove(1);
    Progress {
        tasks: vec![("sweep".to_owned(), summary.counts)],
        summary,
        running: vec![
            RunningView { label: "sweep[n=10,seed=3]".to_owned(), since: at(3000), attempt: 1 },
            RunningView { label: "sweep[n=10,seed=4]".to_owned(), since: at(3990), attempt: 2 },
        ],
        ended: vec![EndedView {
            label: "sweep[n=10,seed=2]".to_owned(),
            state: State::Failed,
            attempt: 3,
            outcome: Some(Outcome::Oom),
            usage: Some(usage(3.2, 900)),
        }],
        eta: Some(80.0),
        moving: Vec::new(),
        logins: Vec::new(),
        trouble: None,
        away: Vec::new(),
        over: false,
    }
}

pub(in crate::cli) fn engine(live_runs: u32) -> EngineInfo {
    EngineInfo {
        version: "0.1.0".to_owned(),
        api: 1,
        pid: 4321,
        started: at(0),
        state_dir: "/data/ada/.local/state/csync".to_owned(),
        idle_leave: Some(300),
        live_runs,
        local: LocalInfo {
            cpus: 8,
            mem: Bytes::gib(32),
            cpus_used: 2,
            mem_used: Bytes::gib(3),
            running: 2,
            queued: 64,
            worker_pid: Some(4322),
        },
        trouble: None,
        hosts: Vec::new(),
    }
}
