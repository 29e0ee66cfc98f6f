//! Several hosts: where work goes, where else when one is shut, and how much of it.

use std::sync::Arc;

use crate::decide::engine::limits::Limits;
use crate::decide::engine::machine::Engine;
use crate::decide::engine::protocol::{Adopted, Capacity, Event, Halt, Routes, Stage, Verdict};
use crate::decide::engine::tests::plan::Workflow;
use crate::decide::engine::tests::world::{RUN, Stored, World, ended, exit};
use crate::model::api::RunState;
use crate::model::id::{HostId, InstanceId, JobKey, RunId};
use crate::model::job::{Outcome, State};
use crate::model::plan::Plan;
use crate::model::resources::Amount;
use crate::model::units::Bytes;

const CLUSTER: HostId = HostId(1);
const LAB: HostId = HostId(2);

/// Returns a run as the store has it when it was just submitted.
fn stored(plan: &Arc<Plan>, verdicts: &[Verdict], routes: &Routes) -> Stored {
    Stored {
        plan: Arc::clone(plan),
        verdicts: verdicts.to_vec(),
        routes: routes.clone(),
        attempts: Vec::new(),
        marks: Vec::new(),
        halt: Halt::Going,
        state: RunState::Active,
    }
}

/// Submits a task of so many instances that may run on these hosts.
fn submit(world: &mut World, instances: u32, route: &[HostId]) {
    let plan = Workflow::default().task("a", instances).plan();
    let verdicts = vec![Verdict::Stale; plan.instances.len()];
    let routes = Routes::new([route.to_vec()]);
    let stored = stored(&plan, &verdicts, &routes);
    world.store.insert(RUN, stored);
    world.tell(Event::Submitted { run: RUN, plan, verdicts, routes });
}

const fn cluster(jobs: u32) -> Capacity {
    Capacity { cpus: 4, mem: Bytes::gib(4), gpus: 0, nodes: 2, jobs: Some(jobs) }
}

/// Returns the key of the n-th instance's attempt.
fn key(world: &World, n: u32) -> JobKey {
    world.engine.run(RUN).unwrap().key(InstanceId(n))
}

/// Returns on which hosts how many attempts are in flight.
fn in_flight(world: &World) -> [usize; 3] {
    let run = world.engine.run(RUN).unwrap();
    let mut all = [0; 3];
    for key in run.in_flight() {
        all[run.attempt(key.instance).unwrap().host.unwrap().index()] += 1;
    }
    all
}

#[test]
fn work_goes_to_the_first_host_that_can_be_used() {
    let mut world = World::with_cores(8);
    world.tell(Event::Room(CLUSTER, cluster(100)));
    world.tell(Event::Room(LAB, cluster(100)));
    submit(&mut world, 10, &[CLUSTER, LAB, HostId::LOCAL]);
    assert_eq!(in_flight(&world), [0, 10, 0]);
    world.run_well();
    assert_eq!(world.run_state(), RunState::Succeeded);
}

#[test]
fn no_more_jobs_than_a_host_takes_are_handed_over_to_it() {
    let mut world = World::with_cores(8);
    world.tell(Event::Room(CLUSTER, cluster(16)));
    submit(&mut world, 40, &[CLUSTER]);
    assert_eq!(in_flight(&world), [0, 16, 0]);
    // One that started is still a job there.
    let first = key(&world, 0);
    world.tell(Event::Started(first, world.now));
    assert_eq!(in_flight(&world), [0, 16, 0]);
    // An eighth is worth a batch.
    world.start();
    world.end(key(&world, 0), Outcome::Success);
    assert_eq!(in_flight(&world), [0, 15, 0]);
    world.end(key(&world, 1), exit(1));
    assert_eq!(in_flight(&world), [0, 16, 0]);
    world.run_well();
    assert_eq!(world.counts().done, 39);
}

#[test]
fn what_a_host_has_takes_its_place_before_the_host_says_so() {
    let mut world = World::with_cores(8);
    world.tell(Event::Room(CLUSTER, cluster(2)));
    submit(&mut world, 6, &[CLUSTER]);
    world.tell(Event::Started(key(&world, 0), world.now));
    assert_eq!(in_flight(&world), [0, 2, 0]);
    // The next engine knows the room from the configuration, and what is there from its records.
    world.engine = Engine::new(7);
    world.tell(Event::Room(CLUSTER, cluster(2)));
    for (run, stored) in world.store.clone() {
        world.tell(stored.event(run));
    }
    assert_eq!(in_flight(&world), [0, 2, 0]);
    for n in [0, 1] {
        world.tell(Event::Adopted(key(&world, n), Adopted::Live));
    }
    assert_eq!(in_flight(&world), [0, 2, 0]);
    world.run_well();
    assert_eq!(world.counts().done, 6);
}

#[test]
fn what_was_not_handed_over_goes_elsewhere_when_a_host_is_shut() {
    let mut world = World::with_cores(8);
    world.tell(Event::Room(CLUSTER, cluster(4)));
    world.tell(Event::Room(LAB, cluster(3)));
    submit(&mut world, 10, &[CLUSTER, LAB]);
    assert_eq!(in_flight(&world), [0, 4, 0]);
    world.tell(Event::Shut(CLUSTER));
    assert_eq!(in_flight(&world), [0, 4, 3]);
    // It comes back: what is still ready prefers it again.
    world.tell(Event::Opened(CLUSTER));
    world.tell(Event::Shut(LAB));
    world.start();
    world.end(key(&world, 0), Outcome::Success);
    assert_eq!(in_flight(&world), [0, 4, 3]);
    world.run_well();
    assert_eq!(world.run_state(), RunState::Succeeded);
}

#[test]
fn work_waits_where_everything_is_shut_or_unknown() {
    let mut world = World::with_cores(8);
    submit(&mut world, 2, &[CLUSTER]);
    assert_eq!(world.states("a"), [State::Ready, State::Ready]);
    world.tell(Event::Shut(CLUSTER));
    world.tell(Event::Room(CLUSTER, cluster(4)));
    assert_eq!(in_flight(&world), [0, 0, 0]);
    world.tell(Event::Opened(CLUSTER));
    assert_eq!(in_flight(&world), [0, 2, 0]);
}

#[test]
fn a_request_goes_where_it_fits_and_is_refused_where_nothing_fits() {
    let mut world = World::with_cores(1);
    world.tell(Event::Room(CLUSTER, cluster(4)));
    let plan = Workflow::default().task("wide", 1).with(|task| task.resources[0].cpus = Amount::Exact(3)).plan();
    for (run, route) in [(1, vec![HostId::LOCAL, CLUSTER]), (2, vec![HostId::LOCAL])] {
        let run = RunId(run);
        let (verdicts, routes) = (vec![Verdict::Stale], Routes::new([route]));
        let stored = stored(&plan, &verdicts, &routes);
        world.room = cluster(4);
        world.store.insert(run, stored);
        world.tell(Event::Submitted { run, plan: Arc::clone(&plan), verdicts, routes });
    }
    assert_eq!(in_flight(&world), [0, 1, 0]);
    assert_eq!(world.engine.run(RunId(2)).unwrap().state(), RunState::Failed);
}

#[test]
fn a_dead_worker_takes_nothing_elsewhere_with_it() {
    let mut world = World::with_cores(2);
    world.tell(Event::Room(CLUSTER, cluster(4)));
    submit(&mut world, 2, &[CLUSTER]);
    world.tell(Event::WorkerDied);
    assert_eq!(in_flight(&world), [0, 2, 0]);
    assert!(world.ends.is_empty());
}

#[test]
fn how_far_an_attempt_is_can_be_seen() {
    let mut world = World::with_cores(2);
    world.tell(Event::Room(CLUSTER, cluster(4)));
    submit(&mut world, 1, &[CLUSTER]);
    let first = key(&world, 0);
    let stage = |world: &World| world.engine.run(RUN).unwrap().attempt(first.instance).unwrap().stage;
    assert_eq!(stage(&world), Stage::Given);
    world.tell(Event::Staged(first, Stage::Waiting));
    assert_eq!(stage(&world), Stage::Waiting);
    assert!(world.told.is_empty(), "nothing is over");
}

/// Submits two layers of so many instances, the second reading the first's files, to be handed over ahead.
fn submit_layers(world: &mut World, instances: u32) {
    let plan = Workflow::default().task("a", instances).task("b", instances).reads("a").plan();
    let verdicts = vec![Verdict::Stale; plan.instances.len()];
    let routes = Routes::new([vec![CLUSTER], vec![CLUSTER]]).ahead(true);
    let stored = stored(&plan, &verdicts, &routes);
    world.store.insert(RUN, stored);
    world.tell(Event::Submitted { run: RUN, plan, verdicts, routes });
}

fn keeps_order() -> Arc<Limits> {
    Arc::new(Limits { keeps_order: true, ..Limits::default() })
}

#[test]
fn what_waits_for_a_host_alone_goes_ahead_as_far_as_there_is_room() {
    let mut world = World::with_cores(2);
    world.tell(Event::Limits(CLUSTER, keeps_order()));
    world.tell(Event::Room(CLUSTER, cluster(5)));
    submit_layers(&mut world, 3);
    assert_eq!(in_flight(&world), [0, 5, 0], "the first layer, and two of the second");
    world.start();
    world.end(key(&world, 0), Outcome::Success);
    assert_eq!(in_flight(&world), [0, 5, 0], "the last of the second, for which there is room now");
    world.run_well();
    assert_eq!((world.run_state(), world.counts().done), (RunState::Succeeded, 6));
}

#[test]
fn nothing_goes_ahead_where_the_host_does_not_keep_the_order() {
    let mut world = World::with_cores(2);
    world.tell(Event::Room(CLUSTER, cluster(10)));
    submit_layers(&mut world, 3);
    assert_eq!(in_flight(&world), [0, 3, 0]);
}

/// Submits a workflow to be handed over ahead, each task to one of these hosts.
fn submit_ahead(world: &mut World, workflow: Workflow, hosts: &[HostId]) {
    let plan = workflow.plan();
    let verdicts = vec![Verdict::Stale; plan.instances.len()];
    let routes = Routes::new(hosts.iter().map(|&host| vec![host])).ahead(true);
    let stored = stored(&plan, &verdicts, &routes);
    world.store.insert(RUN, stored);
    world.tell(Event::Submitted { run: RUN, plan, verdicts, routes });
}

#[test]
fn what_waits_for_what_cannot_be_told_by_name_does_not_go_ahead() {
    let plain = || Workflow::default().task("a", 2).task("x", 2);
    for (what, workflow, ahead) in [
        ("files alone", plain().task("b", 1).reads_all("a").reads_all("x"), 1),
        ("files in a directory", plain().task("b", 1).reads_all("a").reads_around("x"), 0),
        ("and all of them are needed", plain().task("b", 1).reads_around("x").needs("x"), 0),
        ("and others are needed", plain().task("b", 1).reads_around("x").needs("a"), 0),
        ("all of a task", plain().task("b", 1).needs("x").needs("a"), 1),
        ("nothing, which needs something", plain().task("none", 0).needs("a").task("b", 1).reads("x").needs("none"), 0),
    ] {
        let mut world = World::with_cores(2);
        world.tell(Event::Limits(CLUSTER, keeps_order()));
        world.tell(Event::Room(CLUSTER, cluster(10)));
        submit_ahead(&mut world, workflow, &[CLUSTER; 4]);
        assert_eq!(in_flight(&world), [0, 4 + ahead, 0], "{what}");
        world.run_well();
        assert_eq!((world.run_state(), world.counts().done), (RunState::Succeeded, 5), "{what}");
    }
}

#[test]
fn what_waits_for_what_failed_waits_in_vain() {
    let mut world = World::with_cores(2);
    world.tell(Event::Limits(CLUSTER, keeps_order()));
    world.tell(Event::Room(CLUSTER, cluster(10)));
    let workflow = Workflow::default().task("a", 2).task("b", 2).reads("a").task("c", 1).needs("a");
    submit_ahead(&mut world, workflow, &[CLUSTER; 3]);
    assert_eq!(in_flight(&world), [0, 5, 0]);
    let vain = |world: &World| {
        let run = world.engine.run(RUN).unwrap();
        (0..5).filter(|n| run.waits_in_vain(InstanceId(*n))).collect::<Vec<_>>()
    };
    let ahead = |world: &World| world.engine.run(RUN).unwrap().may_have_gone_ahead(InstanceId(2));
    assert_eq!((vain(&world), ahead(&world)), (vec![], true), "all is under way");
    world.start();
    world.end(key(&world, 0), Outcome::Success);
    assert_eq!(vain(&world), [0; 0], "one is well, one under way");
    world.end(key(&world, 1), exit(1));
    assert_eq!(vain(&world), [3, 4], "the others of the one are not");
    let now = world.now;
    world.tell(Event::Started(key(&world, 2), now));
    assert!(!ahead(&world));
}

#[test]
fn what_went_ahead_of_a_failure_is_skipped_once_its_host_has_dropped_it() {
    let mut world = World::with_cores(2);
    world.tell(Event::Limits(CLUSTER, keeps_order()));
    world.tell(Event::Room(CLUSTER, cluster(10)));
    submit_layers(&mut world, 1);
    assert_eq!(in_flight(&world), [0, 2, 0]);
    world.start();
    world.end(key(&world, 0), exit(1));
    // Not started, and so not to blame.
    world.end(key(&world, 1), Outcome::NodeFail);
    assert_eq!(world.states("b"), [State::Skipped]);
    assert_eq!(world.run_state(), RunState::Failed);
}

#[test]
fn what_is_lost_runs_elsewhere_when_a_person_says_so() {
    let mut world = World::with_cores(8);
    world.tell(Event::Room(CLUSTER, cluster(10)));
    world.tell(Event::Room(LAB, cluster(10)));
    submit(&mut world, 3, &[CLUSTER, LAB]);
    world.start();
    let before: Vec<JobKey> = (0..3).map(|n| key(&world, n)).collect();
    for key in &before[..2] {
        world.tell(Event::Started(*key, world.now));
        world.tell(Event::Staged(*key, Stage::Lost));
    }
    world.tell(Event::Shut(CLUSTER));
    // One that is heard of is none of them, however it is named; one that is named is the only one.
    assert_eq!(world.tell(Event::RetryLost(RUN, vec![InstanceId(2)])), 0);
    assert_eq!(world.tell(Event::RetryLost(RUN, vec![InstanceId(1), InstanceId(2)])), 1);
    assert_eq!((in_flight(&world), world.counts().lost), ([0, 2, 1], 1));
    assert_eq!(world.tell(Event::RetryLost(RUN, Vec::new())), 1);
    assert_eq!((in_flight(&world), world.counts().lost), ([0, 1, 2], 0));
    assert_eq!(world.forsaken.iter().copied().collect::<Vec<_>>(), before[..2]);
    assert_eq!(world.tell(Event::RetryLost(RUN, Vec::new())), 0);
    // The host answers again: whatever it says of those that nobody waits for changes nothing.
    for key in &before[..2] {
        let now = world.now;
        world.tell(Event::Staged(*key, Stage::Running));
        world.tell(Event::Started(*key, now));
        world.tell(Event::Ended(Box::new(ended(*key, Outcome::Success, now))));
    }
    world.tell(Event::Opened(CLUSTER));
    assert_eq!((in_flight(&world), world.counts().done), ([0, 1, 2], 0));
    world.run_well();
    assert_eq!((world.run_state(), world.counts().done), (RunState::Succeeded, 3));
}

#[test]
fn what_is_lost_costs_no_attempt_of_the_task_when_a_person_gives_it_up() {
    let mut world = World::with_cores(8);
    world.tell(Event::Room(CLUSTER, cluster(10)));
    submit(&mut world, 1, &[CLUSTER]);
    // More often than attempts may die with their nodes.
    for _ in 0..10 {
        world.start();
        let lost = key(&world, 0);
        world.tell(Event::Started(lost, world.now));
        world.tell(Event::Staged(lost, Stage::Lost));
        assert_eq!(world.tell(Event::RetryLost(RUN, Vec::new())), 1);
    }
    world.run_well();
    assert_eq!(world.run_state(), RunState::Succeeded);
}

#[test]
fn what_is_lost_and_was_cancelled_is_over_when_a_person_gives_it_up() {
    let mut world = World::with_cores(8);
    world.tell(Event::Room(CLUSTER, cluster(10)));
    submit(&mut world, 2, &[CLUSTER]);
    world.start();
    for n in 0..2 {
        world.tell(Event::Staged(key(&world, n), Stage::Lost));
    }
    world.tell(Event::Cancel(RUN, Vec::new()));
    assert_eq!((world.run_state(), in_flight(&world)), (RunState::Active, [0, 2, 0]), "nobody knows that they ended");
    assert_eq!(world.tell(Event::RetryLost(RUN, Vec::new())), 2);
    assert_eq!((world.run_state(), world.counts().cancelled), (RunState::Cancelled, 2));
    assert_eq!(world.tell(Event::Retry(RUN, Vec::new())), 2);
    world.run_well();
    assert_eq!(world.run_state(), RunState::Succeeded);
}
