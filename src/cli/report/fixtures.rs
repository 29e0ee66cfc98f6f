//! A run for the tests of the report: `index`, three of `align` (one fails twice, one has a hostile name), `report`.

use crate::model::api::{AttemptView, Counts, InstanceView, PlanInstance, PlanTask, RunPlan, RunState, RunSummary};
use crate::model::id::{InstanceId, RunId, TaskId};
use crate::model::job::{Outcome, State};
use crate::model::resources::{Grant, Hold, Meter, Usage};
use crate::model::units::{Bytes, Timestamp};

/// Seconds after the run's first start.
pub(super) fn at(seconds: f64) -> Timestamp {
    Timestamp(1_790_000_000_000_000 + (seconds * 1e6) as i64)
}

fn attempt(number: u32, start: f64, end: f64, outcome: Outcome) -> AttemptView {
    let wall = end - start;
    AttemptView {
        host: None,
        attempt: number,
        grant: Grant { cpus: 2, mem: Bytes::gib(1), hold: Hold::Limit, time: None, gpus: 0 },
        submitted: at(start),
        started: Some(at(start)),
        ended: Some(at(end)),
        outcome: Some(outcome),
        usage: Some(Usage {
            wall,
            user: wall * 0.9,
            system: wall * 0.1,
            peak_memory: Bytes::mib(300),
            meter: Meter::Proc,
            io: None,
        }),
        notes: Vec::new(),
        choice: None,
        allocation: None,
    }
}

fn instance(id: u32, task: &str, label: &str, state: State, attempts: Vec<AttemptView>, after: &[u32]) -> PlanInstance {
    let outcome = attempts.last().and_then(|attempt| attempt.outcome.clone());
    let (instance, label, task) = (InstanceId(id), label.to_owned(), task.to_owned());
    let view = InstanceView { instance, label, task, state, attempts, outcome };
    PlanInstance { view, after: after.iter().map(|&before| InstanceId(before)).collect() }
}

/// The run.
pub(super) fn plan() -> RunPlan {
    let exit = || Outcome::Exit { code: 1, signal: None };
    let hostile = "align[<script>alert(1)</script>]";
    let task = |name: &str, needs: &[u32], first, count| PlanTask {
        name: name.to_owned(),
        needs: needs.iter().map(|&need| TaskId(need)).collect(),
        first,
        count,
    };
    RunPlan {
        summary: RunSummary {
            run: RunId(7),
            name: "variants & more".to_owned(),
            path: Some("workflow.toml".to_owned()),
            root: "/data/lambda".to_owned(),
            state: RunState::Failed,
            counts: Counts { done: 4, failed: 1, ..Counts::default() },
            submitted: at(-1.0),
            ended: Some(at(50.0)),
            command: Some("csync submit -p note='</title>'".to_owned()),
        },
        cpus: 4,
        mem: Bytes::gib(8),
        tasks: vec![task("index", &[], 0, 1), task("align", &[], 1, 3), task("report", &[1], 4, 1)],
        instances: vec![
            instance(0, "index", "index", State::Done, vec![attempt(1, 0.0, 10.0, Outcome::Success)], &[]),
            instance(1, "align", "align[A]", State::Done, vec![attempt(1, 10.0, 30.0, Outcome::Success)], &[0]),
            instance(2, "align", hostile, State::Done, vec![attempt(1, 15.0, 40.0, Outcome::Success)], &[0]),
            instance(
                3,
                "align",
                "align[C]",
                State::Failed,
                vec![attempt(1, 10.0, 14.0, Outcome::Oom), attempt(2, 14.0, 22.0, exit())],
                &[0],
            ),
            instance(4, "report", "report", State::Done, vec![attempt(1, 40.0, 50.0, Outcome::Success)], &[]),
        ],
    }
}

/// A run of many instances in four tasks, each after the same row of the one before, on eight cores.
pub(super) fn large(rows: u32) -> RunPlan {
    let names = ["split", "align", "sort", "call"];
    let mut plan = RunPlan { tasks: Vec::new(), instances: Vec::new(), cpus: 8, ..plan() };
    plan.summary.counts = Counts { done: rows * 4, ..Counts::default() };
    plan.summary.state = RunState::Succeeded;
    let mut free = [0.0f64; 8];
    for (index, name) in names.iter().enumerate() {
        let first = index as u32 * rows;
        plan.tasks.push(PlanTask { name: (*name).to_owned(), needs: vec![], first, count: rows });
        for row in 0..rows {
            let id = first + row;
            let slot = &mut free[(row % 4 * 2) as usize];
            let length = 1.0 + f64::from(row * 37 % 100) / 25.0 * (index as f64 + 1.0);
            let attempt = attempt(1, *slot, *slot + length, Outcome::Success);
            *slot += length;
            let after: Vec<u32> = (index > 0).then(|| id - rows).into_iter().collect();
            plan.instances.push(instance(id, name, &format!("{name}[{row}]"), State::Done, vec![attempt], &after));
        }
    }
    plan
}
