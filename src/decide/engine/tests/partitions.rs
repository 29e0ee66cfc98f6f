//! Several partitions of a host: in which of them a task goes that csync places, and what keeps it from some.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::decide::engine::limits::Limits;
use crate::decide::engine::protocol::{Action, Adopted, Capacity, Event, Halt, Record, Routes, Stage, Verdict};
use crate::decide::engine::tests::plan::Workflow;
use crate::decide::engine::tests::world::{RUN, Stored, World, ended};
use crate::decide::graph::estimate::{Estimate, Source};
use crate::decide::graph::queues::{Queues, Wait};
use crate::decide::learn::waits::Waited;
use crate::decide::outlook::board::SiteFacts;
use crate::decide::outlook::files::{Files, Hosts};
use crate::decide::outlook::foresee::Outlook;
use crate::decide::outlook::known::Known;
use crate::decide::outlook::parts::Part;
use crate::language::command::Token;
use crate::model::api::RunState;
use crate::model::batch::{Flavour, Partition};
use crate::model::choice::{Placement, Policy};
use crate::model::id::{HostId, InstanceId, JobKey, RunId};
use crate::model::job::{Ended, Outcome, State};
use crate::model::plan::Plan;
use crate::model::resources::{Amount, Request, Usage};
use crate::model::task::Settings;
use crate::model::units::{Bytes, Timestamp, Walltime};

pub(super) const HPC: HostId = HostId(1);

/// A partition as a table of these tests says it.
#[derive(Clone, Copy)]
pub(super) struct Said {
    pub(super) name: &'static str,
    /// Its longest walltime, in hours.
    pub(super) hours: u64,
    /// What jobs waited there; none did where that is zero.
    pub(super) waited: f64,
    pub(super) gpus: u32,
    /// Most jobs of ours.
    pub(super) jobs: Option<u32>,
    /// Cores that nobody used when it was looked at.
    pub(super) idle: Option<u32>,
    /// How many of its four nodes each of the others has too.
    pub(super) shared: u32,
    /// Whether csync submitted the jobs that waited.
    pub(super) ours: bool,
}

pub(super) const DEBUG: Said =
    Said { name: "debug", hours: 10, waited: 7200.0, gpus: 0, jobs: None, idle: None, shared: 0, ours: true };
pub(super) const SHORT: Said = Said { name: "short", hours: 1, waited: 5.0, ..DEBUG };

/// A cluster with these partitions, of sixteen cores each, the first the default.
pub(super) fn world(said: &[Said]) -> World {
    let mut world = World::with_cores(1);
    let capacity = Capacity { cpus: 16, mem: Bytes::gib(64), gpus: 4, nodes: 4, jobs: Some(1000) };
    world.room = capacity;
    let limits = Limits { flavour: Some(Flavour::Slurm), partitions: partitions(said), ..Limits::default() };
    world.tell(Event::Limits(HPC, Arc::new(limits)));
    world.tell(Event::Room(HPC, capacity));
    survey(&mut world, said);
    world
}

fn partitions(said: &[Said]) -> Vec<Partition> {
    let part = |it: &Said| Partition {
        name: it.name.to_owned(),
        is_default: it.name == said[0].name,
        nodes: 4,
        cores_per_node: Some(4),
        walltime_max: Some(Walltime(it.hours * 3600)),
        gpus: if it.gpus > 0 { BTreeMap::from([("a100".to_owned(), it.gpus)]) } else { BTreeMap::new() },
        jobs_max: it.jobs,
        idle: it.idle,
        shares: said
            .iter()
            .filter(|other| other.name != it.name)
            .map(|other| (other.name.to_owned(), it.shared))
            .collect(),
        ..Partition::default()
    };
    said.iter().map(part).collect()
}

/// Has what is known of the cluster be this from now on.
fn survey(world: &mut World, said: &[Said]) {
    let now = world.now.0 as f64 / 1e6;
    let parts = Part::of(&partitions(said), Some(now), now);
    let queues = queues(said);
    let (wait, name) = (Estimate::guess(5.0, 120.0, 3600.0), "hpc".parse().unwrap());
    let facts = SiteFacts { name, is_batch: true, slots: 16, wait, queues, rate: 1.0, parts, opens: None, jobs: None };
    world.tell(Event::Sites(vec![(HPC, facts)], Vec::new()));
}

pub(super) fn queues(said: &[Said]) -> Queues {
    let waits = |it: &Said| {
        let ours = it.ours;
        let (queue, seconds) = (Some(it.name.to_owned()), it.waited);
        let waited = move |n: i32| Waited { submitted: f64::from(n) - 30.0, seconds, cores: 1, asked: 600.0 };
        (0..20).map(move |n| Wait { host: "hpc".parse().unwrap(), queue: queue.clone(), waited: waited(n), ours })
    };
    let seen: Vec<Wait> = said.iter().filter(|it| it.waited > 0.0).flat_map(waits).collect();
    Queues::of_hosts(&seen).into_values().next().unwrap_or_default()
}

/// Where csync chooses the host, and where a person said it: what is told of partitions holds for both.
pub(super) fn routes() -> [Routes; 2] {
    [Routes::placed([(vec![HPC], Some(Policy::Fastest))]), Routes::new([vec![HPC]])]
}

fn submit(world: &mut World, instances: u32, settings: impl FnOnce(&mut Settings)) {
    let [placed, _] = routes();
    submit_by(world, placed, instances, settings);
}

fn submit_by(world: &mut World, routes: Routes, instances: u32, settings: impl FnOnce(&mut Settings)) {
    let plan = Workflow::default().task("a", instances).with(settings).plan();
    submit_plan(world, routes, &plan, (vec![None], HashMap::new()));
}

pub(super) type Lore = (Vec<Option<Arc<Known>>>, HashMap<HostId, Token>);

pub(super) fn submit_plan(world: &mut World, routes: Routes, plan: &Arc<Plan>, (known, classes): Lore) {
    let outlook = Outlook::new(known, classes, Files::new(plan.paths.len(), Hosts::one(HostId::LOCAL)));
    world.tell(Event::Outlook(RUN, Box::new(outlook)));
    let verdicts = vec![Verdict::Stale; plan.instances.len()];
    let stored = Stored {
        plan: Arc::clone(plan),
        verdicts: verdicts.clone(),
        routes: routes.clone(),
        attempts: Vec::new(),
        marks: Vec::new(),
        halt: Halt::Going,
        state: RunState::Active,
    };
    world.store.insert(RUN, stored);
    world.tell(Event::Submitted { run: RUN, plan: Arc::clone(plan), verdicts, routes });
}

fn lasting(seconds: u64) -> impl FnOnce(&mut Settings) {
    move |task| task.resources = vec![Request { time: Amount::Exact(Walltime(seconds)), ..Request::default() }]
}

/// Returns the partition that is recorded of each attempt, and the one that is named when it is handed over.
pub(super) fn went(world: &World) -> (Vec<&str>, Vec<Option<&str>>) {
    let recorded = world.store[&RUN].attempts.iter().map(|attempt| attempt.partition.as_deref().unwrap_or("-"));
    (recorded.collect(), world.partitions.iter().map(|(_, named)| named.as_deref()).collect())
}

#[test]
fn a_task_goes_to_the_partition_where_it_starts_soonest_of_those_that_csync_may_choose() {
    let waits = |waited, said: Said| Said { waited, ..said };
    for (why, said, seconds, wanted) in [
        ("a shorter queue", &[DEBUG, SHORT][..], 600, "short"),
        ("it does not fit there", &[DEBUG, SHORT], 7200, "debug"),
        ("not worth it", &[waits(40.0, DEBUG), waits(20.0, SHORT)], 600, "debug"),
        ("longer there", &[waits(5.0, DEBUG), waits(7200.0, SHORT)], 600, "debug"),
        ("nobody was ever seen to get in", &[DEBUG, waits(0.0, SHORT)], 600, "debug"),
        ("GPUs would be idle", &[DEBUG, Said { gpus: 2, ..SHORT }], 600, "debug"),
        ("the best of three", &[DEBUG, waits(600.0, SHORT), Said { name: "quick", ..SHORT }], 600, "quick"),
    ] {
        for routes in routes() {
            let mut world = world(said);
            submit_by(&mut world, routes, 1, lasting(seconds));
            let named = (wanted != "debug").then_some(wanted);
            assert_eq!(went(&world), (vec![wanted], vec![named]), "{why}");
        }
    }
}

#[test]
fn what_has_its_host_does_not_wait_for_room_there_and_takes_none_from_what_does() {
    let [placed, fixed] = routes();
    let long = [DEBUG, Said { hours: 10, ..SHORT }];
    let two_cores = |task: &mut Settings| {
        lasting(36_000)(task);
        task.resources[0].cpus = Amount::Exact(2);
    };
    let mut first = world(&long);
    submit_by(&mut first, fixed.clone(), 48, two_cores);
    let went_there = went(&first).0;
    assert_eq!((went_there.len(), &went_there[..8]), (48, &["short"; 8][..]), "all at once, as ever");
    assert!(went_there.contains(&"debug"), "behind those it takes longer than two hours: {went_there:?}");
    let mut second = world(&long);
    submit_by(&mut second, placed.clone(), 48, two_cores);
    assert_eq!(went(&second).0.len(), 32, "of two cores each, for twice what runs at once in both");
    // What csync places after them is handed over as if they were not there, and is behind them.
    let behind = |world: &mut World| placed_next(world, placed.clone()).chosen.behind;
    assert!(behind(&mut first) > 600.0);
    let mut third = world(&long);
    submit_by(&mut third, fixed, 12, lasting(600));
    assert_eq!(went(&third).0, ["short"; 12]);
    while let Some((key, _)) = third.queue.pop_front() {
        third.tell(Event::Started(key, third.now));
        third.tell(Event::Ended(Box::new(ended(key, Outcome::Success, third.now))));
    }
    assert_eq!(third.store[&RUN].state, RunState::Succeeded);
    assert_eq!((behind(&mut third), behind(&mut world(&long))), (0.0, 0.0), "they are over");
}

/// Places a task of another run; returns what is said of that.
fn placed_next(world: &mut World, routes: Routes) -> Placement {
    let plan = Workflow::default().task("b", 1).with(lasting(600)).plan();
    let outlook = Outlook::new(vec![None], HashMap::new(), Files::new(plan.paths.len(), Hosts::one(HostId::LOCAL)));
    let (run, now, mut actions) = (RunId(2), world.now, Vec::new());
    world.engine.handle(Event::Outlook(run, Box::new(outlook)), now, &mut actions).unwrap();
    let verdicts = vec![Verdict::Stale];
    world.engine.handle(Event::Submitted { run, plan, verdicts, routes }, now, &mut actions).unwrap();
    let placement = actions.into_iter().find_map(|action| match action {
        Action::Record(Record::Submitted { choice, .. }) => choice?.placement,
        _ => None,
    });
    placement.unwrap()
}

#[test]
fn news_of_starts_are_gone_by_once_a_second() {
    let [placed, fixed] = routes();
    let mut world = world(&[Said { waited: 5.0, ..DEBUG }, Said { waited: 7200.0, hours: 10, ..SHORT }]);
    submit_by(&mut world, fixed, 4, |task| {
        task.batch.insert("partition".to_owned(), "short".to_owned());
    });
    let plan = Workflow::default().task("b", 40).with(lasting(600)).plan();
    let outlook = Outlook::new(vec![None], HashMap::new(), Files::new(plan.paths.len(), Hosts::one(HostId::LOCAL)));
    let (run, verdicts, now) = (RunId(2), vec![Verdict::Stale; 40], world.now);
    let mut went = |event: Event, now: Timestamp| {
        let mut actions = Vec::new();
        world.engine.handle(event, now, &mut actions).unwrap();
        let start = |action: Action| if let Action::Start { partition, .. } = action { Some(partition) } else { None };
        actions.into_iter().filter_map(start).collect::<Vec<_>>()
    };
    assert_eq!(went(Event::Outlook(run, Box::new(outlook)), now), []);
    let submitted = Event::Submitted { run, plan, verdicts, routes: placed };
    assert_eq!(went(submitted, now), vec![None; 32], "behind those is better than two hours");
    let later = |milliseconds: i64| Timestamp(now.0 + milliseconds * 1000);
    let key = |n| JobKey { run: RUN, instance: InstanceId(n), attempt: 1 };
    // Their queue turns out to be short: three are as many as tell.
    for (n, at) in [(0, 0), (1, 1), (2, 2)] {
        assert_eq!(went(Event::Started(key(n), later(at)), later(at)), []);
    }
    assert_eq!(went(Event::Staged(key(3), Stage::Waiting), later(5000)), []);
    let news = went(Event::Started(key(3), later(5000)), later(5000));
    assert_eq!(news, vec![Some("short".into()); 8]);
}

#[test]
fn nodes_of_several_partitions_are_room_once() {
    let over = |shared| [Said { shared, ..DEBUG }, Said { shared, hours: 10, ..SHORT }];
    // Twice what runs there at once: of one cluster, of two halves of which one is common, of two.
    for (shared, wanted) in [(4, 32), (2, 42), (0, 64)] {
        let mut world = world(&over(shared));
        submit(&mut world, 64, lasting(36_000));
        let went = went(&world).0;
        assert!(went.len().abs_diff(wanted) <= 1, "{shared}: {}", went.len());
    }
    // What waits behind the one is behind it in the other too: going there wins nothing of that.
    let [_, fixed] = routes();
    for (shared, wins) in [(4, false), (0, true)] {
        let mut world = world(&over(shared));
        submit_by(&mut world, fixed.clone(), 48, lasting(36_000));
        let went = went(&world).0;
        assert_eq!(went[..16], ["short"; 16]);
        assert_eq!(went[16] == "debug", wins, "{shared}: {went:?}");
    }
    // Idle cores of the one are gone when the other's job has them.
    for (shared, wanted) in [(4, "debug"), (0, "short")] {
        let idle = |said: Said| Said { idle: Some(2), waited: 60.0, hours: 10, shared, ..said };
        let mut world = world(&[idle(DEBUG), idle(SHORT)]);
        submit(&mut world, 3, lasting(600));
        assert_eq!(went(&world).0, ["debug", "debug", wanted]);
    }
}

/// Runs tasks of a thousand seconds on sixteen cores of a cluster with two partitions, first come first served, and on four of a
/// machine; returns when all are over.
fn makespan(shared: u32, tasks: u32) -> f64 {
    let lab = HostId(2);
    let mut world = world(&[Said { shared, waited: 20.0, ..DEBUG }, Said { shared, waited: 20.0, hours: 10, ..SHORT }]);
    let room = Capacity { cpus: 4, mem: Bytes::gib(64), gpus: 0, nodes: 1, jobs: Some(1000) };
    world.tell(Event::Limits(lab, Arc::new(Limits::default())));
    world.tell(Event::Room(lab, room));
    let (name, queues) = ("lab".parse().unwrap(), Queues::default());
    let facts = SiteFacts {
        name,
        is_batch: false,
        slots: 4,
        wait: Estimate::ZERO,
        queues,
        rate: 1.0,
        parts: Vec::new(),
        opens: None,
        jobs: None,
    };
    world.tell(Event::Sites(vec![(lab, facts)], Vec::new()));
    let plan = Workflow::default().task("a", tasks).with(lasting(3000)).plan();
    let outlook = Outlook::new(vec![None], HashMap::new(), Files::new(plan.paths.len(), Hosts::one(HostId::LOCAL)));
    let routes = Routes::placed([(vec![HPC, lab], Some(Policy::Fastest))]);
    let verdicts = vec![Verdict::Stale; plan.instances.len()];
    let mut engine = std::mem::take(&mut world.engine);
    let (begun, mut now, mut actions) = (world.now, world.now, Vec::new());
    engine.handle(Event::Outlook(RUN, Box::new(outlook)), now, &mut actions).unwrap();
    engine.handle(Event::Submitted { run: RUN, plan, verdicts, routes }, now, &mut actions).unwrap();
    let (mut queues, mut running) = ([VecDeque::new(), VecDeque::new()], Vec::new());
    loop {
        for action in actions.drain(..) {
            if let Action::Start { key, host, .. } = action {
                queues[usize::from(host == lab)].push_back(key);
            }
        }
        let mut started = Vec::new();
        for (at, queue) in queues.iter_mut().enumerate() {
            let taken = running.iter().filter(|(_, of, _)| *of == at).count();
            let free = [16, 4][at] - taken;
            started.extend(queue.drain(..free.min(queue.len())).map(|key| (key, at)));
        }
        for (key, at) in started {
            running.push((Timestamp(now.0 + 1_000_000_000), at, key));
            engine.handle(Event::Started(key, now), now, &mut actions).unwrap();
        }
        let Some(next) = running.iter().map(|(end, ..)| *end).min() else { break };
        now = next;
        for (_, _, key) in running.extract_if(.., |(end, ..)| *end == next) {
            let usage = Usage { wall: 1000.0, ..Usage::default() };
            let over = Ended { usage, ..ended(key, Outcome::Success, now) };
            engine.handle(Event::Ended(Box::new(over)), now, &mut actions).unwrap();
        }
    }
    assert_eq!(engine.run(RUN).unwrap().state(), RunState::Succeeded);
    now.since(begun).as_secs_f64()
}

#[test]
fn who_knows_that_partitions_share_their_nodes_is_done_no_later() {
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for tasks in [20, 40, 60, 80, 100, 140, 200] {
        known.push(makespan(4, tasks));
        unknown.push(makespan(0, tasks));
    }
    assert!(known.iter().zip(&unknown).all(|(known, unknown)| known <= unknown), "{known:?} {unknown:?}");
    assert!(known.iter().sum::<f64>() < unknown.iter().sum(), "{known:?} {unknown:?}");
}

#[test]
fn the_sites_default_is_meant_where_a_person_says_so() {
    for routes in routes() {
        let mut world = world(&[DEBUG, SHORT]);
        submit_by(&mut world, routes, 1, |task| {
            task.batch.insert("partition".to_owned(), String::new());
        });
        assert_eq!(went(&world), (vec!["debug"], vec![None]));
    }
}

#[test]
fn gpus_are_for_those_that_ask_for_them() {
    let mut world = world(&[Said { gpus: 1, ..DEBUG }, Said { gpus: 2, ..SHORT }]);
    submit(&mut world, 1, |task| {
        let time = Amount::Exact(Walltime(600));
        task.resources = vec![Request { time, gpus: 1, ..Request::default() }];
    });
    assert_eq!(went(&world).0, ["short"]);
}

#[test]
fn a_person_who_names_a_partition_has_it() {
    for key in ["partition", "slurm.partition"] {
        for routes in routes() {
            let mut world = world(&[DEBUG, SHORT]);
            submit_by(&mut world, routes, 1, |task| {
                task.batch.insert(key.to_owned(), "debug".to_owned());
            });
            assert_eq!(went(&world), (vec!["debug"], vec![None]), "{key}");
        }
    }
}

#[test]
fn no_more_go_to_a_partition_than_it_takes() {
    for routes in routes() {
        let mut world = world(&[DEBUG, Said { jobs: Some(3), ..SHORT }]);
        submit_by(&mut world, routes, 10, lasting(600));
        let went = went(&world).0;
        assert_eq!(went.iter().filter(|name| **name == "short").count(), 3, "{went:?}");
        assert_eq!(went.len(), 10, "the others go where they went before");
    }
}

#[test]
fn what_is_full_is_waited_for_no_longer_than_it_takes_elsewhere() {
    // Two hours here or five seconds there: sixteen cores of each, three hours a task.
    let mut world = world(&[DEBUG, Said { hours: 10, ..SHORT }]);
    submit(&mut world, 32, lasting(36_000));
    let went = went(&world).0;
    assert_eq!(went[..16], ["short"; 16]);
    assert_eq!(went[16..], ["debug"; 16], "behind those it would be three hours");
}

#[test]
fn cores_that_nobody_uses_count_and_are_looked_at_again_while_it_runs() {
    let both = |here, there| {
        [Said { idle: here, waited: 60.0, ..DEBUG }, Said { idle: there, waited: 60.0, hours: 10, ..SHORT }]
    };
    for (here, there, wanted) in [(Some(0), Some(16), "short"), (Some(16), Some(0), "debug"), (None, None, "debug")] {
        let mut world = world(&both(here, there));
        submit(&mut world, 1, lasting(600));
        assert_eq!(went(&world).0, [wanted], "{here:?} {there:?}");
    }
    // What is bound takes what was idle.
    let mut first = world(&both(Some(0), Some(2)));
    submit(&mut first, 4, lasting(600));
    assert_eq!(went(&first).0, ["short", "short", "debug", "debug"]);
    // By a look since it is the other way around.
    let mut again = world(&both(Some(16), Some(16)));
    again.tell(Event::Idle(HPC, vec![("debug".to_owned(), 0), ("short".to_owned(), 9)], again.now));
    submit(&mut again, 1, lasting(600));
    assert_eq!(went(&again).0, ["short"]);
    // What was seen long ago says nothing.
    let mut late = world(&both(Some(16), Some(16)));
    late.tell(Event::Idle(HPC, vec![("debug".to_owned(), 0), ("short".to_owned(), 9)], Timestamp(0)));
    late.now = Timestamp(late.now.0 + 3_600_000_000);
    submit(&mut late, 1, lasting(600));
    assert_eq!(went(&late).0, ["debug"]);
}

/// Lets a minute pass; what is called back by then is let go.
fn look_again(world: &mut World) {
    world.now = world.now.after(Duration::from_mins(1));
    world.fire_timers();
    world.obey();
}

#[test]
fn what_waits_is_called_back_for_a_partition_that_became_much_better() {
    for routes in routes() {
        let idle = |cores| Said { waited: 60.0, idle: Some(cores), ..DEBUG };
        let mut world = world(&[idle(16), Said { name: "short", ..idle(0) }]);
        submit_by(&mut world, routes, 1, lasting(600));
        look_again(&mut world);
        assert_eq!(went(&world).0, ["debug"], "nothing has changed");
        let tell = |world: &mut World, debug: u32, short: u32| {
            let idle = vec![("debug".to_owned(), debug), ("short".to_owned(), short)];
            world.tell(Event::Idle(HPC, idle, world.now));
            look_again(world);
        };
        tell(&mut world, 16, 16);
        assert_eq!(went(&world).0, ["debug"], "the other one is no better");
        tell(&mut world, 0, 16);
        assert_eq!(went(&world).0, ["debug", "short"]);
        look_again(&mut world);
        assert_eq!(went(&world).0.len(), 2, "it stays there");
        assert!(world.start());
        tell(&mut world, 16, 0);
        assert_eq!(went(&world).0.len(), 2, "it has begun");
        world.run_well();
        assert_eq!((world.run_state(), world.counts().done), (RunState::Succeeded, 1));
    }
}

#[test]
fn one_that_fills_its_partition_is_not_in_its_own_way() {
    for routes in routes() {
        let mut world = world(&[Said { waited: 60.0, ..DEBUG }, Said { waited: 60.0, hours: 10, ..SHORT }]);
        submit_by(&mut world, routes, 1, |task| {
            lasting(10_000)(task);
            task.resources[0].cpus = Amount::Exact(4);
            task.resources[0].nodes = Some(4);
            task.resources[0].processes = Some(4);
        });
        for _ in 0..3 {
            look_again(&mut world);
        }
        assert_eq!(went(&world).0, ["debug"], "both are empty but for it");
    }
}

#[test]
fn of_a_queue_the_last_are_called_back_and_no_more_than_are_better_off() {
    let [_, fixed] = routes();
    let before = [Said { waited: 5.0, ..DEBUG }, Said { waited: 7200.0, hours: 10, ..SHORT }];
    let mut world = world(&before);
    // An hour each, on sixteen cores: the last would begin after two.
    submit_by(&mut world, fixed, 32, lasting(12_000));
    assert_eq!(went(&world).0, ["debug"; 32]);
    survey(&mut world, &[before[0], Said { waited: 5.0, ..before[1] }]);
    look_again(&mut world);
    let moved = |world: &World| {
        let attempts = world.store[&RUN].attempts.iter().skip(32);
        let mut moved: Vec<u32> = attempts.map(|attempt| attempt.key.instance.0).collect();
        moved.sort_unstable();
        moved
    };
    assert_eq!(went(&world).0[32..], ["short"; 16]);
    assert_eq!(moved(&world), (16..32).collect::<Vec<_>>(), "the first sixteen are next where they are");
    look_again(&mut world);
    assert_eq!(moved(&world).len(), 16, "and that is all");
    assert_eq!(world.counts().cancelled, 0);
    world.run_well();
    assert_eq!(world.run_state(), RunState::Succeeded);
}

#[test]
fn what_somebody_said_where_to_go_or_others_wait_behind_is_not_called_back() {
    let [_, fixed] = routes();
    for (key, name, is_ahead, wanted) in [
        ("partition", "debug", false, 1),
        ("slurm.partition", "debug", false, 1),
        ("partition", "", false, 1),
        ("account", "lab", true, 1),
        ("account", "lab", false, 2),
    ] {
        let mut world = world(&[Said { waited: 5.0, ..DEBUG }, Said { waited: 7200.0, hours: 10, ..SHORT }]);
        submit_by(&mut world, fixed.clone().ahead(is_ahead), 1, |task| {
            lasting(600)(task);
            task.batch.insert(key.to_owned(), name.to_owned());
        });
        survey(&mut world, &[DEBUG, Said { hours: 10, ..SHORT }]);
        look_again(&mut world);
        assert_eq!(went(&world).0.len(), wanted, "{key} = {name:?}, {is_ahead}");
    }
}

#[test]
fn what_was_called_back_goes_to_the_other_partition_after_a_restart() {
    let [_, fixed] = routes();
    let mut first = world(&[Said { waited: 5.0, ..DEBUG }, Said { waited: 7200.0, ..SHORT }]);
    submit_by(&mut first, fixed, 1, lasting(600));
    let stored = first.store[&RUN].clone();
    // The next engine knows better, and looks at what the last one left waiting.
    let mut second = world(&[DEBUG, SHORT]);
    let plan = Arc::clone(&stored.plan);
    let outlook = Outlook::new(vec![None], HashMap::new(), Files::new(plan.paths.len(), Hosts::one(HostId::LOCAL)));
    second.tell(Event::Outlook(RUN, Box::new(outlook)));
    second.store.insert(RUN, stored.clone());
    second.tell(stored.event(RUN));
    let key = second.engine.run(RUN).unwrap().key(InstanceId(0));
    second.queue.push_back((key, second.engine.run(RUN).unwrap().attempt(InstanceId(0)).unwrap().grant));
    second.tell(Event::Adopted(key, Adopted::Live));
    look_again(&mut second);
    assert_eq!(went(&second).0, ["debug", "short"]);
}

#[test]
fn a_partition_that_refuses_what_csync_chose_it_for_is_chosen_no_more() {
    routes().into_iter().for_each(refuses);
}

fn refuses(routes: Routes) {
    let mut world = world(&[DEBUG, SHORT]);
    submit_by(&mut world, routes.clone(), 2, lasting(600));
    assert_eq!(went(&world).0, ["short", "short"]);
    let refuse = |world: &mut World, n: u32| {
        let key = world.engine.run(RUN).unwrap().key(InstanceId(n));
        world.queue.retain(|(queued, _)| *queued != key);
        let message = "Invalid qos".to_owned();
        let refused = ended(key, Outcome::Rejected { message }, world.now);
        world.tell(Event::Ended(Box::new(Ended { started: None, ..refused })));
    };
    refuse(&mut world, 0);
    assert_eq!(went(&world).0, ["short", "short", "debug"], "it goes where it would have gone");
    refuse(&mut world, 1);
    assert_eq!(went(&world).0[3], "debug");
    // Where nobody chose, a refusal is the task's own trouble.
    refuse(&mut world, 0);
    assert_eq!(world.states("a")[0], State::Failed);
    let plan = Workflow::default().task("b", 1).plan();
    let outlook = Outlook::new(vec![None], HashMap::new(), Files::new(plan.paths.len(), Hosts::one(HostId::LOCAL)));
    let run = RunId(2);
    let mut actions = Vec::new();
    let (now, verdicts) = (world.now, vec![Verdict::Stale]);
    world.engine.handle(Event::Outlook(run, Box::new(outlook)), now, &mut actions).unwrap();
    world.engine.handle(Event::Submitted { run, plan, verdicts, routes }, now, &mut actions).unwrap();
    let start =
        |action: &Action| if let Action::Start { partition, .. } = action { Some(partition.clone()) } else { None };
    assert_eq!(actions.iter().filter_map(start).collect::<Vec<_>>(), [None], "nor for another run");
}

#[test]
fn a_partition_that_was_chosen_is_known_after_a_restart() {
    routes().into_iter().for_each(is_known_again);
}

fn is_known_again(routes: Routes) {
    let said = [DEBUG, SHORT];
    let mut first = world(&said);
    submit_by(&mut first, routes, 2, lasting(600));
    let stored = first.store[&RUN].clone();
    let mut second = world(&said);
    let plan = Arc::clone(&stored.plan);
    let outlook = Outlook::new(vec![None], HashMap::new(), Files::new(plan.paths.len(), Hosts::one(HostId::LOCAL)));
    second.tell(Event::Outlook(RUN, Box::new(outlook)));
    second.store.insert(RUN, stored.clone());
    second.tell(stored.event(RUN));
    let key = second.engine.run(RUN).unwrap().key(InstanceId(0));
    second.tell(Event::Adopted(key, Adopted::NeverStarted));
    assert_eq!(second.partitions, [(key, Some("short".into()))], "handed over again to where it was to go");
    // Refused there after that, it is csync's mistake still.
    second.queue.retain(|(queued, _)| *queued != key);
    let refused = ended(key, Outcome::Rejected { message: "Invalid qos".to_owned() }, second.now);
    second.tell(Event::Ended(Box::new(Ended { started: None, ..refused })));
    assert_eq!(went(&second).0.last(), Some(&"debug"));
}

#[test]
fn the_terms_of_the_partitions_are_told() {
    for (routes, is_said) in routes().into_iter().zip([false, true]) {
        terms_are_told(routes, is_said);
    }
    // Where there is no choice nothing is told.
    let [placed, fixed] = routes();
    for (routes, told) in [(placed, 1), (fixed, 0)] {
        let mut world = world(&[DEBUG, SHORT]);
        submit_by(&mut world, routes, 1, lasting(7200));
        assert_eq!(world.placements.len(), told);
    }
}

fn terms_are_told(routes: Routes, is_said: bool) {
    let mut world = world(&[DEBUG, SHORT]);
    submit_by(&mut world, routes, 1, lasting(600));
    let placement = world.placements[0].clone();
    assert_eq!(placement.said, is_said);
    assert_eq!(placement.chosen.partition.as_deref(), Some("short"));
    assert!((placement.chosen.wait.middle - 5.0).abs() < 1e-9, "{placement:?}");
    let next = placement.next.unwrap();
    assert_eq!((next.partition.as_deref(), placement.others), (Some("debug"), 0));
    assert!((next.wait.middle - 7200.0).abs() < 1e-9 && next.wait.source == Source::Learned(20).to_string());
}

#[test]
fn what_others_waited_is_no_sign_that_a_partition_lets_ours_in() {
    for routes in routes() {
        for (ours, wanted) in [(true, "short"), (false, "debug")] {
            let mut world = world(&[DEBUG, Said { ours, ..SHORT }]);
            submit_by(&mut world, routes.clone(), 1, lasting(600));
            assert_eq!(went(&world).0, [wanted]);
        }
    }
}
