//! The pure engine: runs driven from submission to end, and the judgement of what is up to date.

#![expect(clippy::expect_used, reason = "a benchmark that cannot go on says so and ends")]

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use csync::decide::engine::machine::Engine;
use csync::decide::engine::protocol::{Action, Capacity, Event, Routes, Verdict};
use csync::decide::fresh::judge::Judge;
use csync::decide::fresh::memos::{Memos, definition, key};
use csync::decide::fresh::select::Selection;
use csync::decide::graph::estimate::Estimate;
use csync::decide::graph::net::Link;
use csync::decide::graph::queues::Queues;
use csync::decide::outlook::board::SiteFacts;
use csync::decide::outlook::files::{Files, Hosts};
use csync::decide::outlook::foresee::Outlook;
use csync::language::manifest::{self, Facts, Limits};
use csync::model::api::Rerun;
use csync::model::choice::Policy;
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

/// Runs a plan on this machine; returns how many attempts there were.
fn drive(plan: &Arc<Plan>) -> usize {
    let room = Capacity { cpus: 2, mem: Bytes::gib(4), gpus: 0, nodes: 1, jobs: None };
    drive_on(plan, Routes::default(), vec![Event::Room(HostId::LOCAL, room)], false)
}

/// The same where csync chooses among twenty hosts, half of them with queues; it may be told when each task starts, and with that how
/// long it waited.
fn drive_placed(plan: &Arc<Plan>, tells_starts: bool) -> usize {
    let hosts: Vec<HostId> = (0..20).map(HostId).collect();
    let facts = |host: &HostId| SiteFacts {
        name: format!("h{}", host.0).parse().expect("a name"),
        is_batch: host.0 % 2 == 1,
        slots: 16 + u32::from(host.0),
        wait: Estimate::known(f64::from(host.0)),
        queues: Queues::default(),
        rate: 1.0,
        parts: Vec::new(),
        opens: None,
        jobs: None,
    };
    let room = Capacity { cpus: 64, mem: Bytes::gib(64), gpus: 0, nodes: 4, jobs: Some(1000) };
    let link = Link { rate: Estimate::known(1e7), latency: 0.1 };
    let ways =
        hosts.iter().flat_map(|&from| hosts.iter().filter(move |to| **to != from).map(move |&to| (from, to, link)));
    let mut events = vec![Event::Sites(hosts.iter().map(|host| (*host, facts(host))).collect(), ways.collect())];
    events.extend(hosts.iter().map(|host| Event::Room(*host, room)));
    let files = Files::new(plan.paths.len(), Hosts::one(HostId::LOCAL));
    let outlook = Outlook::new(vec![None; plan.tasks.len()], HashMap::new(), files);
    events.push(Event::Outlook(RunId(1), Box::new(outlook)));
    let routes = Routes::placed(plan.tasks.iter().map(|_| (hosts.clone(), Some(Policy::Fastest))));
    drive_on(plan, routes, events, tells_starts)
}

/// Runs a plan to its end with an executor that finishes everything at once; returns how many attempts there were.
fn drive_on(plan: &Arc<Plan>, routes: Routes, before: Vec<Event>, tells_starts: bool) -> usize {
    let mut engine = Engine::new(1);
    let mut actions = Vec::new();
    let mut events = VecDeque::from(before);
    events.push_back(Event::Submitted {
        run: RunId(1),
        plan: Arc::clone(plan),
        verdicts: vec![Verdict::Stale; plan.instances.len()],
        routes,
    });
    let (mut now, mut attempts) = (1_000_000, 0);
    while let Some(event) = events.pop_front() {
        now += 1;
        engine.handle(event, Timestamp(now), &mut actions).expect("a legal event");
        for action in actions.drain(..) {
            if let Action::Start { key, .. } = action {
                attempts += 1;
                if tells_starts {
                    events.push_back(Event::Expected(key, Timestamp(now + 60_000_000)));
                    events.push_back(Event::Started(key, Timestamp(now + 1)));
                }
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
        allocation: None,
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
    let plan = flat(10_000);
    for (name, tells_starts) in [("placed over 20 hosts", false), ("placed over 20 hosts, starts told", true)] {
        group.bench_function(format!("{name}/10000"), |bencher| {
            let placed = || assert_eq!(drive_placed(&plan, tells_starts), 10_000);
            bencher.iter_batched(|| (), |()| placed(), BatchSize::LargeInput);
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
