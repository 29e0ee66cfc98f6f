//! The pure engine: runs driven from submission to end, and the judgement of what is up to date.

#![expect(clippy::expect_used, reason = "a benchmark that cannot go on says so and ends")]

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use csync::decide::engine::machine::Engine;
use csync::decide::engine::protocol::{Action, Capacity, Event, Routes, Verdict};
use csync::decide::fresh::judge::Judge;
use csync::decide::fresh::memos::{Memos, definition, key};
use csync::decide::fresh::select::Selection;
use csync::language::manifest::{self, Facts, Limits};
use csync::model::api::Rerun;
use csync::model::id::{HostId, JobKey, RunId};
use csync::model::job::{Ended, Outcome};
use csync::model::plan::{Fingerprint, Memo, Plan};
use csync::model::resources::Usage;
use csync::model::units::{Bytes, Timestamp};

fn plan(tasks: &str) -> Arc<Plan> {
    let (workflow, diagnostics) = manifest::read(&format!("name = \"bench\"\nschema = 1\n{tasks}"));
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let expanded = manifest::expand(&workflow, "/bench", &BTreeMap::new(), &Facts::default(), Limits::default());
    Arc::new(expanded.expect("the workflow is sound").plan)
}

fn list(n: usize) -> String {
    (0..n).map(|i| i.to_string()).collect::<Vec<_>>().join(", ")
}

fn flat(n: usize) -> Arc<Plan> {
    plan(&format!("[tasks.t]\nforeach = [{}]\nrun = [\"true\"]\n", list(n)))
}

fn chain(n: usize) -> Arc<Plan> {
    let mut tasks = "[tasks.t0]\nrun = [\"true\"]\n".to_owned();
    for i in 1..n {
        let _ = writeln!(tasks, "[tasks.t{i}]\nneeds = [\"t{}\"]\nrun = [\"true\"]", i - 1);
    }
    plan(&tasks)
}

/// Runs a plan to its end with an executor that finishes everything at once; returns how many attempts there were.
fn drive(plan: &Arc<Plan>) -> usize {
    let mut engine = Engine::new(1);
    let mut actions = Vec::new();
    let room = Capacity { cpus: 2, mem: Bytes::gib(4), gpus: 0, nodes: 1, jobs: None };
    let mut events = VecDeque::from([
        Event::Room(HostId::LOCAL, room),
        Event::Submitted {
            run: RunId(1),
            plan: Arc::clone(plan),
            verdicts: vec![Verdict::Stale; plan.instances.len()],
            routes: Routes::default(),
        },
    ]);
    let (mut now, mut attempts) = (1_000_000, 0);
    while let Some(event) = events.pop_front() {
        now += 1;
        engine.handle(event, Timestamp(now), &mut actions).expect("a legal event");
        for action in actions.drain(..) {
            if let Action::Start { key, .. } = action {
                attempts += 1;
                events.push_back(Event::Ended(Box::new(success(key, now))));
            }
        }
    }
    attempts
}

fn success(key: JobKey, at: i64) -> Ended {
    Ended {
        key,
        outcome: Outcome::Success,
        started: Some(Timestamp(at)),
        ended: Timestamp(at + 500),
        usage: Usage::default(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        notes: Vec::new(),
    }
}

fn runs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("engine");
    group.sample_size(20);
    for (name, plan) in [("flat", flat(10_000)), ("chain", chain(500))] {
        let n = plan.instances.len();
        group.throughput(Throughput::Elements(n as u64));
        group.bench_function(format!("{name}/{n}"), |bencher| {
            bencher.iter_batched(|| (), |()| assert_eq!(drive(&plan), n), BatchSize::LargeInput);
        });
    }
    group.finish();
}

/// All files as a memo remembers them.
fn fresh(criterion: &mut Criterion) {
    let n = 10_000;
    let plan = plan(&format!(
        "[tasks.t]\nforeach = [{}]\ninputs = [\"source\"]\noutputs = [\"out/{{item}}\"]\nrun = \"touch {{outputs}}\"\n",
        list(n)
    ));
    let print = Fingerprint { size: 7, mtime: 1, hash: Some([1; 16]) };
    let mut memos = Memos::default();
    for instance in plan.instance_ids() {
        let files = |paths: &[csync::model::id::PathId]| paths.iter().map(|_| print).collect::<Vec<_>>();
        memos.insert(&Memo {
            key: key(&plan, instance),
            definition: definition(&plan, instance),
            inputs: files(plan.inputs(instance)),
            outputs: files(plan.outputs(instance)),
        });
    }
    let seen = vec![Some(Fingerprint { hash: None, ..print }); plan.paths.len()];
    let selection = Selection::new(&plan, &[], &[], &Rerun::Stale).expect("everything is selected");
    let mut group = criterion.benchmark_group("fresh");
    group.throughput(Throughput::Elements(n as u64));
    group.bench_function(format!("judge/{n} up to date"), |bencher| {
        bencher.iter(|| {
            let judgement = Judge::new(&plan, &memos, &selection).judge(&seen);
            assert!(judgement.verdicts.iter().all(|verdict| *verdict == Verdict::Fresh));
        });
    });
    group.finish();
}

criterion_group!(benches, runs, fresh);
criterion_main!(benches);
