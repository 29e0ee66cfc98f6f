//! What may go to several hosts: where it goes, and what changes that.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::decide::engine::limits::Limits;
use crate::decide::engine::protocol::{Action, Adopted, Capacity, Event, Halt, Mark, Routes, Verdict};
use crate::decide::engine::tests::plan::Workflow;
use crate::decide::engine::tests::world::{RUN, Stored, World, ended};
use crate::decide::graph::estimate::Estimate;
use crate::decide::graph::net::Link;
use crate::decide::graph::queues::{Queues, Wait};
use crate::decide::learn::waits::Waited;
use crate::decide::outlook::board::SiteFacts;
use crate::decide::outlook::files::{Files, Hosts};
use crate::decide::outlook::foresee::Outlook;
use crate::model::api::RunState;
use crate::model::batch::{Flavour, Partition};
use crate::model::choice::Policy;
use crate::model::id::{HostId, InstanceId, JobKey, PathId};
use crate::model::job::{Outcome, State};
use crate::model::plan::{Plan, Slice};
use crate::model::resources::{Amount, Request, Usage};
use crate::model::units::{Bytes, Walltime};

const HERE: HostId = HostId::LOCAL;
const LAB: HostId = HostId(1);
const HPC: HostId = HostId(2);
const ALL: [HostId; 3] = [HERE, LAB, HPC];

/// This machine with two cores, a workstation with eight, a cluster with a queue of two minutes; 10 MB a second between them.
fn world() -> World {
    let mut world = World::with_cores(2);
    world.room = Capacity { cpus: 2, mem: Bytes::gib(64), ..world.room };
    world.tell(Event::Room(HERE, world.room));
    let room = |cpus| Capacity { cpus, mem: Bytes::gib(64), gpus: 0, nodes: 4, jobs: Some(1000) };
    world.tell(Event::Limits(HPC, Arc::new(Limits { flavour: Some(Flavour::Slurm), ..Limits::default() })));
    world.tell(Event::Room(LAB, room(8)));
    world.tell(Event::Room(HPC, room(64)));
    let sites = vec![(HERE, site("local", 2, None)), (LAB, site("lab", 8, None)), (HPC, site("hpc", 16, Some(120.0)))];
    let link = Link { rate: Estimate::known(1e7), latency: 0.5 };
    let ways = ALL.iter().flat_map(|&from| ALL.iter().filter(move |to| **to != from).map(move |&to| (from, to, link)));
    world.tell(Event::Sites(sites, ways.collect()));
    world
}

/// A host with so many cores, where jobs wait so long, if they do.
fn site(name: &str, slots: u32, wait: Option<f64>) -> SiteFacts {
    SiteFacts {
        name: name.parse().unwrap(),
        is_batch: wait.is_some(),
        slots,
        wait: Estimate::known(wait.unwrap_or(0.0)),
        queues: Queues::default(),
        rate: 1.0,
        parts: Vec::new(),
        opens: None,
        jobs: None,
    }
}

/// Tasks of which nothing is known but that they may run for so long.
fn lasting(seconds: u64) -> Request {
    Request { time: Amount::Exact(Walltime(seconds * 10 / 3)), ..Request::default() }
}

fn submit(world: &mut World, plan: &Arc<Plan>, policy: Policy, files: &[(u32, u64, HostId)]) {
    submit_to(world, plan, (&ALL, policy), files);
}

fn submit_to(world: &mut World, plan: &Arc<Plan>, (hosts, policy): (&[HostId], Policy), files: &[(u32, u64, HostId)]) {
    let mut lying = Files::new(plan.paths.len().max(8), Hosts::one(HERE));
    for &(path, bytes, host) in files {
        lying.lies(PathId(path), bytes, Hosts::one(host));
    }
    let outlook = Outlook::new(vec![None; plan.tasks.len()], HashMap::new(), lying);
    world.tell(Event::Outlook(RUN, Box::new(outlook)));
    let routes = Routes::placed(plan.tasks.iter().map(|_| (hosts.to_vec(), Some(policy))));
    let verdicts = vec![Verdict::Stale; plan.instances.len()];
    world.store.insert(
        RUN,
        Stored {
            plan: Arc::clone(plan),
            verdicts: verdicts.clone(),
            routes: routes.clone(),
            attempts: Vec::new(),
            marks: Vec::new(),
            halt: Halt::Going,
            state: RunState::Active,
        },
    );
    world.tell(Event::Submitted { run: RUN, plan: Arc::clone(plan), verdicts, routes });
}

/// Returns how many attempts are in flight here, in the lab and on the cluster.
fn in_flight(world: &World) -> [usize; 3] {
    let run = world.engine.run(RUN).unwrap();
    let mut all = [0; 3];
    for key in run.in_flight() {
        all[run.attempt(key.instance).unwrap().host.unwrap().index()] += 1;
    }
    all
}

/// Ends an attempt that ran so long, wherever it is.
fn end(world: &mut World, n: u32, wall: f64) {
    let key = world.engine.run(RUN).unwrap().key(InstanceId(n));
    world.queue.retain(|(queued, _)| *queued != key);
    let mut ended = ended(key, Outcome::Success, world.now);
    ended.usage = Usage { wall, ..ended.usage };
    world.tell(Event::Started(key, world.now));
    world.tell(Event::Ended(Box::new(ended)));
}

fn plan(instances: u32, seconds: u64) -> Arc<Plan> {
    Workflow::default().task("a", instances).with(|task| task.resources = vec![lasting(seconds)]).plan()
}

#[test]
fn what_is_ready_goes_where_it_is_over_first() {
    let mut world = world();
    submit(&mut world, &plan(10, 60), Policy::Fastest, &[]);
    assert_eq!(in_flight(&world), [2, 8, 0], "a minute more is no reason to queue for two");
    assert_eq!(world.counts().ready, 0);
    let mut world = self::world();
    submit(&mut world, &plan(200, 600), Policy::Fastest, &[]);
    let [here, lab, hpc] = in_flight(&world);
    assert_eq!((here, lab), (2, 8), "as many as there are cores");
    assert!(hpc >= 16, "what would wait longer here than in the queue goes there: {hpc}");
}

#[test]
fn what_goes_to_a_batch_system_goes_together() {
    // Twice as many as run at once, and an eighth of that together; or as many jobs as it takes.
    for (jobs, wanted) in [(1000, [31, 30, 29, 32, 31, 30, 29, 32]), (16, [15, 16, 15, 16, 15, 16, 15, 16])] {
        let mut world = world();
        let cluster = Capacity { cpus: 64, mem: Bytes::gib(64), gpus: 0, nodes: 4, jobs: Some(jobs) };
        world.tell(Event::Room(HPC, cluster));
        submit(&mut world, &plan(200, 600), Policy::Fastest, &[]);
        let full = in_flight(&world);
        assert_eq!(full[2], jobs.min(32) as usize, "{full:?}");
        let on = |world: &World, host: HostId| {
            let run = world.engine.run(RUN).unwrap();
            let there = |key: &JobKey| run.attempt(key.instance).unwrap().host == Some(host);
            run.in_flight().find(there).unwrap().instance.0
        };
        let mut seen = Vec::new();
        for _ in 0..wanted.len() {
            let first = on(&world, HPC);
            end(&mut world, first, 600.0);
            seen.push(in_flight(&world)[2]);
        }
        assert_eq!(seen, wanted);
        // A machine without a queue is given the next one at once.
        let first = on(&world, LAB);
        end(&mut world, first, 600.0);
        assert_eq!(in_flight(&world)[1], 8);
    }
}

#[test]
fn large_inputs_draw_a_task_to_where_they_lie() {
    for (bytes, lies, policy, wanted) in [
        (1_000, HERE, Policy::Fastest, [1, 0, 0]),
        (100_000_000_000, LAB, Policy::Fastest, [0, 1, 0]),
        (1_000, LAB, Policy::Locality, [0, 1, 0]),
    ] {
        let mut world = world();
        submit(&mut world, &reading(60), policy, &[(0, bytes, lies)]);
        assert_eq!(in_flight(&world), wanted, "{bytes} {policy}");
    }
}

/// A task of one input of so many bytes.
fn reading(seconds: u64) -> Arc<Plan> {
    let mut plan = Plan::clone(&plan(1, seconds));
    plan.path_refs = vec![PathId(0)];
    plan.instances[0].inputs = Slice { start: 0, len: 1 };
    plan.instances[0].outputs = Slice { start: 1, len: 0 };
    plan.producers = vec![None];
    Arc::new(plan)
}

#[test]
fn of_a_hundred_hosts_the_last_one_has_what_a_task_reads() {
    let mut world = World::with_cores(2);
    let hosts: Vec<HostId> = (0..100).map(HostId).collect();
    let last = HostId(99);
    let mut sites = Vec::new();
    for &host in &hosts {
        world.tell(Event::Room(host, world.room));
        sites.push((host, site(&format!("host-{}", host.0), 2, None)));
    }
    let link = Link { rate: Estimate::known(1e7), latency: 0.5 };
    let ways =
        hosts.iter().flat_map(|&from| hosts.iter().filter(move |to| **to != from).map(move |&to| (from, to, link)));
    world.tell(Event::Sites(sites, ways.collect()));
    submit_to(&mut world, &reading(60), (&hosts, Policy::Fastest), &[(0, 100_000_000_000, last)]);
    let run = world.engine.run(RUN).unwrap();
    let key = run.in_flight().next().expect("it is handed over");
    assert_eq!(run.attempt(key.instance).unwrap().host, Some(last));
}

#[test]
fn cheapest_is_by_what_an_hour_of_a_core_costs() {
    for (rates, wanted) in [([5.0, 1.0, 0.1], [0, 0, 1]), ([5.0, 0.01, 0.1], [0, 1, 0]), ([0.0, 1.0, 0.1], [1, 0, 0])] {
        let mut world = world();
        let priced = |host: HostId, site: SiteFacts| (host, SiteFacts { rate: rates[host.index()], ..site });
        let sites = vec![
            priced(HERE, site("local", 2, None)),
            priced(LAB, site("lab", 8, None)),
            priced(HPC, site("hpc", 16, Some(120.0))),
        ];
        world.tell(Event::Sites(sites, Vec::new()));
        submit(&mut world, &plan(1, 60), Policy::Cheapest, &[]);
        assert_eq!(in_flight(&world), wanted, "{rates:?}");
    }
}

#[test]
fn the_same_events_have_the_same_actions() {
    // Two chains of tasks that read what lies here and there, on hosts that come, go, and are slower than thought.
    let play = || {
        let mut world = world();
        let chain = Workflow::default()
            .task("a", 40)
            .with(|task| task.resources = vec![lasting(60)])
            .task("b", 40)
            .reads("a")
            .with(|task| task.resources = vec![lasting(600)])
            .plan();
        let files: Vec<(u32, u64, HostId)> =
            (0..8).map(|path| (path, 1 << (20 + path), ALL[path as usize % 3])).collect();
        submit(&mut world, &chain, Policy::Fastest, &files);
        for turn in 0..60_u32 {
            match turn % 12 {
                3 => drop(world.tell(Event::Shut(LAB))),
                7 => drop(world.tell(Event::Opened(LAB))),
                9 => drop(world.tell(Event::Rate(HERE, HPC, f64::from(1 + turn) * 1e6))),
                _ => {}
            }
            let run = world.engine.run(RUN).unwrap();
            let mut all: Vec<InstanceId> = run.in_flight().map(|key| key.instance).collect();
            all.sort_unstable();
            let Some(next) = all.get(turn as usize % all.len().max(1)) else { break };
            end(&mut world, next.0, f64::from(30 + turn * 7 % 90));
            world.now = world.now.after(Duration::from_secs(20));
            world.fire_timers();
            world.obey();
        }
        let hosts = in_flight(&world);
        (world.grants, world.partitions, world.placements, world.ends, world.told, hosts)
    };
    let first = play();
    let used = first.2.iter().map(|placement| placement.chosen.host.to_string()).collect::<BTreeSet<_>>();
    assert!(used.len() == 3, "all hosts are used: {used:?}");
    for _ in 0..4 {
        assert_eq!(play(), first);
    }
}

#[test]
fn evenly_is_by_cores() {
    let mut world = world();
    submit(&mut world, &plan(13, 60), Policy::Spread, &[]);
    assert_eq!(in_flight(&world), [1, 4, 8]);
}

#[test]
fn a_host_that_cannot_be_used_gets_nothing_until_it_can() {
    let mut world = world();
    world.tell(Event::Shut(LAB));
    submit(&mut world, &plan(10, 60), Policy::Fastest, &[]);
    assert_eq!(in_flight(&world)[1], 0);
    let mut world = self::world();
    for host in [LAB, HPC] {
        world.tell(Event::Shut(host));
    }
    submit(&mut world, &plan(10, 60), Policy::Fastest, &[]);
    assert_eq!(in_flight(&world), [2, 0, 0]);
    assert_eq!(world.counts().ready, 8);
    world.tell(Event::Opened(LAB));
    assert_eq!(in_flight(&world), [2, 8, 0]);
}

#[test]
fn a_host_slower_than_thought_gets_less() {
    let mut world = world();
    submit(&mut world, &plan(60, 600), Policy::Fastest, &[]);
    let before = in_flight(&world);
    assert_eq!((before[0], before[1]), (2, 8));
    // The lab's took a hundred times as long.
    let run = world.engine.run(RUN).unwrap();
    let there: Vec<JobKey> =
        run.in_flight().filter(|key| run.attempt(key.instance).and_then(|attempt| attempt.host) == Some(LAB)).collect();
    for key in there {
        end(&mut world, key.instance.0, 60_000.0);
    }
    assert!(in_flight(&world)[1] < 8, "{:?}", in_flight(&world));
}

#[test]
fn what_waits_too_long_in_a_queue_is_called_back_for_a_host_that_is_free() {
    let mut world = world();
    for host in [HERE, LAB] {
        world.tell(Event::Shut(host));
    }
    submit(&mut world, &plan(4, 60), Policy::Fastest, &[]);
    assert_eq!(in_flight(&world), [0, 0, 4]);
    world.tell(Event::Opened(LAB));
    assert_eq!(in_flight(&world), [0, 0, 4], "what is handed over stays");
    // Half an hour later nothing has started, where two minutes were expected.
    world.now = world.now.after(Duration::from_mins(30));
    world.fire_timers();
    world.obey();
    assert_eq!(in_flight(&world), [0, 4, 0]);
    assert_eq!(world.counts().cancelled, 0);
    for n in 0..4 {
        end(&mut world, n, 60.0);
    }
    assert_eq!(world.run_state(), RunState::Succeeded);
}

#[test]
fn a_start_that_is_not_expected_soon_is_reason_to_go_elsewhere() {
    let mut world = world();
    for host in [HERE, LAB] {
        world.tell(Event::Shut(host));
    }
    submit(&mut world, &plan(4, 600), Policy::Fastest, &[]);
    world.tell(Event::Opened(LAB));
    let look_again = |world: &mut World| {
        world.now = world.now.after(Duration::from_mins(1));
        world.fire_timers();
        world.obey();
        in_flight(world)
    };
    assert_eq!(look_again(&mut world), [0, 0, 4], "two minutes are expected");
    for n in 0..4 {
        let key = world.engine.run(RUN).unwrap().key(InstanceId(n));
        world.tell(Event::Expected(key, world.now.after(Duration::from_hours(6))));
    }
    assert_eq!(look_again(&mut world), [0, 4, 0]);
}

#[test]
fn a_call_back_outlives_the_engine() {
    let mut world = world();
    for host in [HERE, LAB] {
        world.tell(Event::Shut(host));
    }
    submit(&mut world, &plan(2, 60), Policy::Fastest, &[]);
    assert_eq!(in_flight(&world), [0, 0, 2]);
    world.tell(Event::Opened(LAB));
    world.now = world.now.after(Duration::from_mins(30));
    world.fire_timers();
    // It is written down, and the engine dies before anything is heard of it.
    let called_back = world.store[&RUN].marks.iter().filter(|(_, mark, _)| *mark == Mark::CalledBack).count();
    assert_eq!(called_back, 2);
    let stored = world.store[&RUN].clone();
    let mut world = self::world();
    let outlook = Outlook::new(vec![None], HashMap::new(), Files::new(8, Hosts::one(HERE)));
    world.tell(Event::Outlook(RUN, Box::new(outlook)));
    world.store.insert(RUN, stored.clone());
    world.tell(stored.event(RUN));
    for n in 0..2 {
        let key = world.engine.run(RUN).unwrap().key(InstanceId(n));
        // Its host ended one meanwhile; the other still waits there, and is called back again.
        if n == 1 {
            world.queue.push_back((key, world.engine.run(RUN).unwrap().attempt(InstanceId(n)).unwrap().grant));
            world.tell(Event::Adopted(key, Adopted::Live));
            assert!(world.stopping.contains(&key), "what still waits is asked for again");
            world.queue.clear();
        }
        world.tell(Event::Ended(Box::new(ended(key, Outcome::Cancelled, world.now))));
    }
    assert_eq!(world.counts().cancelled, 0, "it was nobody's wish");
    assert_eq!(in_flight(&world)[2], 0);
    assert_eq!(in_flight(&world).iter().sum::<usize>(), 2);
}

#[test]
fn a_queue_is_judged_by_its_own_waits() {
    let waits = |queue: &str, seconds: f64| {
        let waited = move |n: i32| Waited { submitted: f64::from(n) * 60.0, seconds, cores: 1, asked: 600.0 };
        let queue = queue.to_owned();
        (0..20).map(move |n| Wait {
            host: "hpc".parse().unwrap(),
            queue: Some(queue.clone()),
            waited: waited(n),
            ours: true,
        })
    };
    let seen: Vec<Wait> = waits("short", 1.0).chain(waits("long", 7200.0)).collect();
    let hpc = Queues::of_hosts(&seen).into_values().next().unwrap();
    // What fits the short queue goes there; what does not is better off where it waits for a core.
    for (limit, wanted) in [(600, HPC), (7200, HERE)] {
        let mut world = world();
        let part = |name: &str, hours: u64| Partition {
            name: name.to_owned(),
            is_default: name == "short",
            nodes: 4,
            cores_per_node: Some(16),
            walltime_max: Some(Walltime(hours * 3600)),
            ..Partition::default()
        };
        let partitions = vec![part("short", 1), part("long", 100)];
        let limits = Limits { flavour: Some(Flavour::Slurm), partitions, ..Limits::default() };
        world.tell(Event::Limits(HPC, Arc::new(limits)));
        world.tell(Event::Shut(LAB));
        let site = |name: &str, queues: Option<&Queues>| SiteFacts {
            name: name.parse().unwrap(),
            is_batch: queues.is_some(),
            slots: 2,
            wait: Estimate::known(600.0),
            queues: queues.cloned().unwrap_or_default(),
            rate: 1.0,
            parts: Vec::new(),
            opens: None,
            jobs: None,
        };
        let link = Link { rate: Estimate::known(1e7), latency: 0.5 };
        let sites = vec![(HERE, site("local", None)), (HPC, site("hpc", Some(&hpc)))];
        world.tell(Event::Sites(sites, vec![(HERE, HPC, link), (HPC, HERE, link)]));
        let three = Workflow::default().task("a", 3).with(|task| {
            let time = Amount::Exact(Walltime(limit));
            task.resources = vec![Request { time, ..Request::default() }];
        });
        submit(&mut world, &three.plan(), Policy::Fastest, &[]);
        let there = in_flight(&world)[HPC.index()];
        assert_eq!(there > 0, wanted == HPC, "{limit}: {there}");
    }
}

#[test]
fn everything_runs_once_and_what_was_chosen_is_kept() {
    let mut world = world();
    let plan = Workflow::default()
        .task("a", 20)
        .with(|task| task.resources = vec![lasting(30)])
        .task("b", 20)
        .reads("a")
        .with(|task| task.resources = vec![lasting(30)])
        .plan();
    submit(&mut world, &plan, Policy::Fastest, &[]);
    let mut turns = 0;
    while world.run_state() == RunState::Active {
        let next = world.engine.run(RUN).unwrap().in_flight().next().expect("something is in flight");
        end(&mut world, next.instance.0, 30.0);
        turns += 1;
        assert!(turns <= 40);
    }
    assert_eq!(world.run_state(), RunState::Succeeded);
    assert!(world.states("a").iter().all(|state| *state == State::Done));
}

#[test]
fn many_tasks_over_many_hosts_are_no_burden() {
    let mut world = world();
    let hosts: Vec<HostId> = (0..20).map(HostId).collect();
    let facts = |number: u16| SiteFacts {
        name: format!("h{number}").parse().unwrap(),
        is_batch: number % 2 == 1,
        slots: 16,
        wait: Estimate::known(f64::from(number)),
        queues: Queues::default(),
        rate: 1.0,
        parts: Vec::new(),
        opens: None,
        jobs: None,
    };
    world.tell(Event::Sites(hosts.iter().map(|host| (*host, facts(host.0))).collect(), Vec::new()));
    let room = Capacity { cpus: 16, mem: Bytes::gib(64), gpus: 0, nodes: 1, jobs: Some(100) };
    for &host in &hosts[1..] {
        world.tell(Event::Room(host, room));
    }
    let plan = plan(5_000, 60);
    let outlook = Outlook::new(vec![None], HashMap::new(), Files::new(plan.paths.len(), Hosts::one(HERE)));
    let routes = Routes::placed([(hosts, Some(Policy::Fastest))]);
    let mut engine = world.engine;
    let mut actions = Vec::new();
    let now = world.now;
    let verdicts = vec![Verdict::Stale; 5_000];
    engine.handle(Event::Outlook(RUN, Box::new(outlook)), now, &mut actions).unwrap();
    engine.handle(Event::Submitted { run: RUN, plan, verdicts, routes }, now, &mut actions).unwrap();
    let mut queue = VecDeque::from(std::mem::take(&mut actions));
    while let Some(action) = queue.pop_front() {
        if let Action::Start { key, .. } = action {
            engine.handle(Event::Ended(Box::new(ended(key, Outcome::Success, now))), now, &mut actions).unwrap();
            queue.extend(actions.drain(..));
        }
    }
    assert_eq!(engine.run(RUN).unwrap().counts().done, 5_000);
}
