//! One story each.

use std::collections::VecDeque;
use std::time::Duration;

use super::plan::Workflow;
use super::world::{RUN, World, ended, exit};
use crate::decide::engine::machine::Engine;
use crate::decide::engine::protocol::{Action, Adopted, Capacity, Event, Follow, Halt, Routes, Verdict};
use crate::decide::engine::views::Wait;
use crate::model::api::{Counts, RunState};
use crate::model::id::{HostId, InstanceId, JobKey, RunId, TaskId};
use crate::model::job::{Outcome, State};
use crate::model::resources::{Amount, Request};
use crate::model::task::{OnError, Retry, RetryOn, Settings};
use crate::model::units::{Bytes, Timestamp, Walltime};

fn retries(max: u32, on: &[RetryOn]) -> impl FnOnce(&mut Settings) {
    let retry = Retry { max, on: on.to_vec(), ..Retry::default() };
    move |settings| settings.retry = retry
}

fn asks(cpus: u32, mem: Amount<Bytes>) -> impl FnOnce(&mut Settings) {
    move |settings| {
        settings.resources = vec![Request { cpus: Amount::Exact(cpus), mem, ..Request::default() }];
    }
}

#[test]
fn a_chain_runs_in_order_and_is_over() {
    let mut world = World::with_cores(2);
    let plan = Workflow::default().task("a", 3).task("b", 3).reads("a").task("c", 1).reads_all("b").plan();
    world.submit(&plan);
    world.run_well();
    assert_eq!(world.counts(), Counts { done: 7, ..Counts::default() });
    assert_eq!(world.run_state(), RunState::Succeeded);
    assert_eq!(world.over, [RUN]);
    assert_eq!(world.told.len(), 7);
}

#[test]
fn long_chains_go_first_and_priority_goes_before() {
    let mut world = World::with_cores(1);
    let plan = Workflow::default()
        .task("short", 1)
        .task("long", 1)
        .task("end", 1)
        .reads("long")
        .task("urgent", 1)
        .with(|settings| settings.priority = 5)
        .plan();
    world.submit(&plan);
    let order: Vec<_> = world.grants.iter().map(|(key, _)| key.instance.0).collect();
    assert_eq!(order, [3, 1, 0], "urgent, long, short");
}

#[test]
fn a_failure_skips_what_depends_on_it_and_nothing_else() {
    let mut world = World::with_cores(2);
    let plan = Workflow::default().task("a", 3).task("b", 3).reads("a").task("c", 1).reads_all("b").plan();
    world.submit(&plan);
    world.run_all(|key| if key.instance.0 == 1 { exit(3) } else { Outcome::Success });
    assert_eq!(world.states("b"), [State::Done, State::Skipped, State::Done]);
    assert_eq!(world.state("c"), State::Skipped);
    assert_eq!(world.run_state(), RunState::Failed);
}

#[test]
fn needs_wait_for_the_whole_task_also_through_an_empty_one() {
    let mut world = World::with_cores(2);
    let plan =
        Workflow::default().task("a", 2).task("none", 0).needs("a").task("b", 2).needs("none").needs("none").plan();
    world.submit(&plan);
    world.start();
    world.end(world.key("a"), Outcome::Success);
    assert_eq!(world.states("b"), [State::Pending, State::Pending]);
    let run = world.engine.run(RUN).unwrap();
    assert_eq!(run.waits(world.find("b")[0]), [Wait::Task(TaskId(1), 0)]);
    world.run_well();
    assert_eq!(world.states("b"), [State::Done, State::Done]);
}

#[test]
fn one_failed_instance_of_a_needed_task_is_enough() {
    let mut world = World::with_cores(2);
    let plan = Workflow::default().task("a", 2).task("none", 0).needs("a").task("b", 2).needs("none").plan();
    world.submit(&plan);
    world.run_all(|key| if key.instance.0 == 0 { exit(1) } else { Outcome::Success });
    assert_eq!(world.counts(), Counts { done: 1, failed: 1, skipped: 2, ..Counts::default() });
}

#[test]
fn on_error_ignore_goes_on_and_the_run_succeeds() {
    let mut world = World::with_cores(2);
    let plan = Workflow::default()
        .task("a", 2)
        .with(|settings| settings.on_error = OnError::Ignore)
        .task("b", 2)
        .reads("a")
        .plan();
    world.submit(&plan);
    world.run_all(|key| if key.instance.0 == 0 { exit(1) } else { Outcome::Success });
    assert_eq!(world.counts(), Counts { done: 3, failed: 1, ..Counts::default() });
    assert_eq!(world.run_state(), RunState::Succeeded);
}

#[test]
fn on_error_stop_lets_end_what_runs() {
    let mut world = World::with_cores(2);
    let plan = Workflow::default().task("a", 6).with(|settings| settings.on_error = OnError::Stop).plan();
    world.submit(&plan);
    world.start();
    for key in world.running.keys().copied().collect::<Vec<_>>() {
        world.tell(Event::Started(key, world.now));
    }
    world.end(world.key("a"), exit(1));
    assert_eq!(world.engine.run(RUN).unwrap().halt(), Halt::Stopped);
    assert_eq!(world.counts().running, 1);
    world.obey();
    world.run_well();
    assert_eq!(world.counts(), Counts { done: 1, failed: 1, cancelled: 4, ..Counts::default() });
    assert_eq!(world.run_state(), RunState::Failed);
}

#[test]
fn max_failures_stops() {
    let mut world = World::with_cores(1);
    let mut workflow = Workflow::default().task("a", 5);
    workflow.max_failures = Some(2);
    world.submit(&workflow.plan());
    world.run_all(|_| exit(1));
    assert_eq!(world.counts(), Counts { failed: 2, cancelled: 3, ..Counts::default() });
}

#[test]
fn failures_are_retried_by_class() {
    for (outcome, on, max, attempts) in [
        (exit(1), vec![], 3, 1),
        (exit(1), vec![RetryOn::Exit(Some(75))], 3, 1),
        (exit(75), vec![RetryOn::Exit(Some(75))], 3, 4),
        (exit(75), vec![RetryOn::Exit(None)], 1, 2),
        (Outcome::Timeout, vec![RetryOn::Timeout], 2, 3),
        (Outcome::Timeout, vec![RetryOn::Oom], 2, 1),
        (Outcome::Preempted, vec![RetryOn::Preempted], 2, 3),
        (Outcome::Stage { message: String::new() }, vec![RetryOn::Stage], 1, 2),
        (Outcome::Spawn { message: String::new() }, vec![RetryOn::Spawn], 1, 2),
        (Outcome::Cancelled, vec![RetryOn::Exit(None)], 3, 1),
        // Not the task's fault: neither named nor counted, and bounded.
        (Outcome::NodeFail, vec![], 0, 5),
    ] {
        let mut world = World::with_cores(4);
        world.submit(&Workflow::default().task("a", 1).with(retries(max, &on)).plan());
        world.run_all(|_| outcome.clone());
        assert_eq!(world.ends.len(), attempts, "{outcome:?} with {on:?}");
        assert_eq!(world.ends.last().unwrap().2, Follow::Final);
    }
}

#[test]
fn what_ran_out_of_memory_gets_more_up_to_the_machine() {
    let mut world = World::with_cores(4);
    let plan = Workflow::default()
        .task("a", 1)
        .with(retries(9, &[RetryOn::Oom]))
        .with(asks(1, Amount::Exact(Bytes::mib(1500))))
        .plan();
    world.submit(&plan);
    world.run_all(|_| Outcome::Oom);
    let granted: Vec<_> = world.grants.iter().map(|(_, grant)| grant.mem.0 >> 20).collect();
    assert_eq!(granted, [1500, 3000, 4096], "once it has all there is, another try is of no use");
}

#[test]
fn what_ran_out_of_time_gets_more_up_to_its_bound() {
    let mut world = World::with_cores(4);
    let range = Amount::Range { min: None, max: Some(Walltime(100)) };
    for (time, expected) in [(Amount::Exact(Walltime(100)), vec![100, 150, 225]), (range, vec![100, 100, 100])] {
        world.grants.clear();
        let plan = Workflow::default().task("a", 1).with(retries(2, &[RetryOn::Timeout]));
        let plan = plan.with(|settings| settings.resources = vec![Request { time, ..Request::default() }]).plan();
        let run = RunId(world.store.len() as u32 + 1);
        world.submit_as(run, &plan, vec![Verdict::Stale]);
        world.run_all(|_| Outcome::Timeout);
        let granted: Vec<_> = world.grants.iter().map(|(_, grant)| grant.time.unwrap().0).collect();
        assert_eq!(granted, expected);
    }
}

#[test]
fn a_request_that_is_too_big_is_refused_at_once() {
    let mut world = World::with_cores(2);
    let plan = Workflow::default()
        .task("big", 1)
        .with(asks(3, Amount::Auto))
        .task("heavy", 1)
        .with(asks(1, Amount::Exact(Bytes::gib(3))))
        .task("after", 1)
        .reads("big")
        .task("fine", 1)
        .plan();
    world.submit(&plan);
    assert_eq!(world.counts(), Counts { failed: 2, skipped: 1, queued: 1, ..Counts::default() });
    let run = world.engine.run(RUN).unwrap();
    let message = |label: &str| match run.attempt(world.find(label)[0]).unwrap().outcome {
        Some(Outcome::Rejected { message }) => message,
        other => panic!("{other:?}"),
    };
    assert_eq!(message("big"), "asks for 3 cores, and 2 can be used here");
    assert_eq!(message("heavy"), "asks for 3G of memory, and 2G can be used here");
}

#[test]
fn a_request_is_refused_once_the_machine_is_known() {
    let mut world = World::with_cores(2);
    world.engine = Engine::new(0);
    world.submit(&Workflow::default().task("big", 2).with(asks(3, Amount::Auto)).plan());
    assert_eq!(world.counts().ready, 2);
    world.tell(Event::Room(HostId::LOCAL, world.room));
    assert_eq!(world.run_state(), RunState::Failed);
}

#[test]
fn the_first_alternative_that_fits_is_granted() {
    let mut world = World::with_cores(4);
    let big = Request { cpus: Amount::Exact(16), mem: Amount::Exact(Bytes::gib(1)), ..Request::default() };
    let small = Request { cpus: Amount::Exact(3), ..Request::default() };
    let plan = Workflow::default().task("a", 1).with(|settings| settings.resources = vec![big, small]).plan();
    world.submit(&plan);
    let grant = world.grants[0].1;
    // Memory left to csync: the share of the machine that goes with the cores.
    assert_eq!((grant.cpus, grant.mem, grant.is_limited()), (3, Bytes::gib(3), false));
}

#[test]
fn ranges_and_processes_are_granted_within_the_machine() {
    let mut world = World::with_cores(8);
    let range = |min, max| Amount::Range { min, max };
    for (cpus, processes, expected) in [
        (range(Some(2), Some(16)), None, 8),
        (range(Some(2), None), None, 2),
        (range(None, Some(4)), None, 4),
        (range(None, Some(4)), Some(3), 6),
        (Amount::Exact(2), Some(4), 8),
        (Amount::Auto, Some(5), 5),
    ] {
        world.grants.clear();
        let request = Request { cpus, processes, ..Request::default() };
        let plan = Workflow::default().task("a", 1).with(|settings| settings.resources = vec![request]).plan();
        let run = RunId(world.store.len() as u32 + 1);
        world.submit_as(run, &plan, vec![Verdict::Stale]);
        assert_eq!(world.grants[0].1.cpus, expected, "{cpus:?} x {processes:?}");
        world.run_well();
    }
}

#[test]
fn max_parallel_holds_back_and_lets_in() {
    let mut world = World::with_cores(8);
    world.submit(&Workflow::default().task("a", 10).with(|settings| settings.max_parallel = Some(2)).plan());
    assert_eq!(world.counts(), Counts { queued: 2, ready: 8, ..Counts::default() });
    assert_eq!(world.engine.run(RUN).unwrap().waits(InstanceId(9)), [Wait::MaxParallel(2)]);
    world.run_well();
    assert_eq!(world.counts().done, 10);
}

#[test]
fn little_is_handed_over_ahead_and_in_batches() {
    let mut world = World::with_cores(2);
    world.submit(&Workflow::default().task("a", 1000).plan());
    assert_eq!(world.counts().queued, 64);
    for _ in 0..31 {
        world.start();
        world.end(*world.running.keys().next().unwrap(), Outcome::Success);
    }
    assert_eq!(world.grants.len(), 64, "no refill yet");
    world.end(*world.running.keys().next().unwrap(), Outcome::Success);
    assert_eq!(world.grants.len(), 96);
    // What is known to run is not ahead any more.
    world.start();
    for key in world.running.keys().copied().collect::<Vec<_>>() {
        world.tell(Event::Started(key, world.now));
    }
    world.run_well();
    assert_eq!(world.counts().done, 1000);
}

#[test]
fn a_retry_waits_for_its_delay_and_grows_it() {
    let mut world = World::with_cores(1);
    let retry = Retry { max: 4, on: vec![RetryOn::Exit(None)], delay: 10.0, max_delay: 25.0, ..Retry::default() };
    world.submit(&Workflow::default().task("a", 1).with(|settings| settings.retry = retry).plan());
    for least in [10, 20, 25, 25] {
        world.start();
        world.end(world.key("a"), exit(1));
        let (_, at) = *world.timers.last().unwrap();
        let delay = at.since(world.now);
        let (low, high) = (Duration::from_secs(least), Duration::from_secs(least) * 11 / 10);
        assert!(low <= delay && delay <= high, "{delay:?} for {least}");
        assert_eq!(world.state("a"), State::Ready);
        assert!(matches!(world.engine.run(RUN).unwrap().waits(InstanceId(0))[..], [Wait::Delay(_)]));
        world.fire_timers();
    }
    world.run_all(|_| exit(1));
    assert_eq!(world.state("a"), State::Failed);
}

#[test]
fn up_to_date_instances_never_run_and_doubtful_ones_are_asked_about() {
    let mut world = World::with_cores(1);
    let plan = Workflow::default().task("a", 1).task("b", 2).task("c", 2).reads("b").task("out", 1).plan();
    let verdicts = vec![Verdict::Fresh, Verdict::Stale, Verdict::Stale, Verdict::Check, Verdict::Check, Verdict::Left];
    world.submit_as(RUN, &plan, verdicts);
    world.run_well();
    assert_eq!(world.counts(), Counts { cached: 1, done: 2, ready: 2, skipped: 1, ..Counts::default() });
    let checks = std::mem::take(&mut world.checks);
    assert_eq!(checks, [(RUN, InstanceId(3)), (RUN, InstanceId(4))]);
    world.tell(Event::Checked(RUN, InstanceId(3), true));
    world.tell(Event::Checked(RUN, InstanceId(4), false));
    world.run_well();
    assert_eq!(world.counts(), Counts { cached: 2, done: 3, skipped: 1, ..Counts::default() });
    assert_eq!(world.run_state(), RunState::Succeeded);
}

#[test]
fn a_run_with_nothing_to_do_is_over_at_once() {
    for plan in [Workflow::default().plan(), Workflow::default().task("a", 2).plan()] {
        let mut world = World::with_cores(1);
        world.submit_as(RUN, &plan, vec![Verdict::Fresh; plan.instances.len()]);
        assert_eq!((world.run_state(), world.over.len()), (RunState::Succeeded, 1));
    }
}

#[test]
fn cancel_of_a_run_ends_what_runs_and_then_the_run() {
    let mut world = World::with_cores(1);
    world.submit(&Workflow::default().task("a", 3).task("b", 1).reads_all("a").plan());
    world.start();
    assert_eq!(world.tell(Event::Cancel(RUN, Vec::new())), 4);
    assert_eq!(world.run_state(), RunState::Active, "what is in flight has not ended yet");
    assert_eq!(world.stopping.len(), 3);
    world.obey();
    assert_eq!(world.counts().cancelled, 4);
    assert_eq!(world.run_state(), RunState::Cancelled);
    assert_eq!(world.tell(Event::Cancel(RUN, Vec::new())), 0);
}

#[test]
fn cancel_of_an_instance_skips_what_depends_on_it() {
    let mut world = World::with_cores(1);
    world.submit(&Workflow::default().task("a", 2).task("b", 2).reads("a").plan());
    world.start();
    let second = world.find("a")[1];
    assert_eq!(world.tell(Event::Cancel(RUN, vec![second])), 1);
    world.obey();
    world.run_well();
    assert_eq!(world.states("a"), [State::Done, State::Cancelled]);
    assert_eq!(world.states("b"), [State::Done, State::Skipped]);
    assert_eq!(world.run_state(), RunState::Cancelled);
}

#[test]
fn success_that_comes_before_the_end_asked_for_counts() {
    let mut world = World::with_cores(1);
    world.submit(&Workflow::default().task("a", 1).task("b", 1).reads("a").plan());
    world.start();
    world.tell(Event::Cancel(RUN, vec![InstanceId(0)]));
    world.end(world.key("a"), Outcome::Success);
    assert_eq!(world.state("a"), State::Done);
    world.run_well();
    assert_eq!(world.run_state(), RunState::Succeeded);
}

#[test]
fn retry_of_all_runs_what_failed_and_what_was_skipped() {
    let mut world = World::with_cores(1);
    world.submit(&Workflow::default().task("a", 3).task("b", 3).reads("a").task("c", 1).needs("b").plan());
    world.run_all(|key| if key.instance.0 == 1 { exit(1) } else { Outcome::Success });
    assert_eq!(world.counts(), Counts { done: 4, failed: 1, skipped: 2, ..Counts::default() });
    assert_eq!(world.tell(Event::Retry(RUN, Vec::new())), 3);
    assert_eq!(world.run_state(), RunState::Active);
    world.run_well();
    assert_eq!(world.counts().done, 7);
    assert_eq!((world.run_state(), world.over.len()), (RunState::Succeeded, 2));
    assert_eq!(world.key("a[1]").attempt, 2);
}

#[test]
fn retry_of_one_brings_what_it_needs_and_leaves_what_still_cannot_run() {
    let mut world = World::with_cores(1);
    let plan = Workflow::default().task("a", 2).task("b", 2).reads("a").task("c", 1).reads_all("b").plan();
    world.submit(&plan);
    world.run_all(|_| exit(1));
    let b = world.find("b")[0];
    assert_eq!(world.tell(Event::Retry(RUN, vec![b])), 2, "a[0] and b[0]");
    world.run_well();
    assert_eq!(world.states("b"), [State::Done, State::Skipped]);
    assert_eq!(world.state("c"), State::Skipped);
    // Once the other one is repaired too, all goes on.
    let a = world.find("a")[1];
    assert_eq!(world.tell(Event::Retry(RUN, vec![a])), 3);
    world.run_well();
    assert_eq!(world.run_state(), RunState::Succeeded);
}

#[test]
fn retry_of_what_was_ignored_asks_about_what_ran_after_it() {
    let mut world = World::with_cores(1);
    let workflow = Workflow::default().task("a", 1).with(|settings| settings.on_error = OnError::Ignore);
    world.submit(&workflow.task("b", 1).reads("a").plan());
    world.run_all(|key| if key.instance.0 == 0 { exit(1) } else { Outcome::Success });
    assert_eq!(world.tell(Event::Retry(RUN, Vec::new())), 2);
    world.run_well();
    assert_eq!(world.checks, [(RUN, InstanceId(1))]);
}

#[test]
fn what_would_run_again_behind_something_cancelled_is_skipped() {
    let mut world = World::with_cores(1);
    let workflow = Workflow::default().task("a", 1).with(|settings| settings.on_error = OnError::Ignore);
    world.submit(&workflow.task("b", 1).reads("a").task("c", 1).reads("b").plan());
    world.start();
    world.end(world.key("a"), exit(1));
    world.start();
    world.tell(Event::Retry(RUN, vec![InstanceId(0)]));
    world.tell(Event::Cancel(RUN, vec![InstanceId(0)]));
    world.obey();
    assert_eq!((world.state("a"), world.state("b")), (State::Cancelled, State::Queued));
    world.end(world.key("b"), Outcome::NodeFail);
    assert_eq!((world.state("b"), world.state("c")), (State::Skipped, State::Skipped));
    assert_eq!(world.run_state(), RunState::Cancelled);
}

#[test]
fn a_dead_worker_costs_no_retry() {
    let mut world = World::with_cores(1);
    world.submit(&Workflow::default().task("a", 2).with(retries(1, &[RetryOn::Exit(None)])).plan());
    world.start();
    for _ in 0..4 {
        world.running.clear();
        world.queue.clear();
        world.tell(Event::WorkerDied);
        world.start();
    }
    world.end(world.key("a[0]"), exit(1));
    assert_eq!(world.state("a[0]"), State::Queued, "the retry that it is entitled to");
    world.run_well();
    assert_eq!(world.run_state(), RunState::Succeeded);
}

#[test]
fn what_only_waited_when_workers_died_is_not_given_up() {
    let mut world = World::with_cores(1);
    world.submit(&Workflow::default().task("a", 3).plan());
    for death in 0..7 {
        // The first one takes its worker down before anybody hears that it started.
        let expected = if death < 5 { State::Queued } else { State::Failed };
        assert_eq!(world.state("a[0]"), expected, "after {death} deaths");
        world.running.clear();
        world.queue.clear();
        world.tell(Event::WorkerDied);
    }
    assert_eq!(world.state("a[2]"), State::Queued, "it never had a turn");
    world.run_well();
    assert_eq!(world.counts(), Counts { done: 2, failed: 1, ..Counts::default() });
}

#[test]
fn a_killed_engine_takes_up_what_the_worker_still_has() {
    for (worker, attempts) in [(Adopted::Live, 1), (Adopted::NeverStarted, 1), (Adopted::Died, 2)] {
        let mut world = World::with_cores(1);
        world.submit(&Workflow::default().task("a", 2).task("b", 1).reads_all("a").plan());
        world.start();
        world.end(world.key("a[0]"), Outcome::Success);
        world.restart(worker);
        assert_eq!(world.state("a[0]"), State::Done);
        world.run_well();
        assert_eq!(world.run_state(), RunState::Succeeded);
        assert_eq!(world.key("a[1]").attempt, attempts, "{worker:?}");
    }
}

#[test]
fn a_killed_engine_still_wants_what_was_to_be_cancelled_to_end() {
    for worker in [Adopted::Live, Adopted::NeverStarted, Adopted::Died] {
        let mut world = World::with_cores(1);
        world.submit(&Workflow::default().task("a", 1).plan());
        world.start();
        world.tell(Event::Cancel(RUN, Vec::new()));
        world.stopping.clear();
        world.restart(worker);
        world.obey();
        assert_eq!(world.state("a"), State::Cancelled, "{worker:?}");
        assert_eq!(world.run_state(), RunState::Cancelled);
    }
}

#[test]
fn a_run_that_is_over_is_restored_in_silence_and_can_be_retried() {
    let mut world = World::with_cores(1);
    world.submit(&Workflow::default().task("a", 1).task("b", 1).reads("a").plan());
    world.run_all(|_| exit(1));
    world.over.clear();
    world.restart(Adopted::Live);
    assert!(world.over.is_empty() && world.grants.len() == 1);
    assert_eq!(world.tell(Event::Retry(RUN, Vec::new())), 2);
    world.run_well();
    assert_eq!(world.run_state(), RunState::Succeeded);
    assert!(world.engine.forget(RUN) && !world.engine.forget(RUN));
}

#[test]
fn what_the_executor_has_and_nobody_knows_is_ended() {
    let mut world = World::with_cores(1);
    let key = JobKey { run: RUN, instance: InstanceId(3), attempt: 1 };
    world.tell(Event::Adopted(key, Adopted::Live));
    assert!(world.stopping.contains(&key));
}

#[test]
fn the_end_is_estimated_from_what_ended() {
    let mut world = World::with_cores(2);
    world.submit(&Workflow::default().task("a", 9).plan());
    let milliseconds = |seconds: f64| (seconds * 1000.0).round();
    let eta = |world: &World| world.engine.run(RUN).unwrap().eta(world.engine.capacity(), world.now).map(milliseconds);
    assert_eq!(eta(&world), None);
    world.start();
    world.end(world.key("a[0]"), Outcome::Success);
    // Eight of a second each on two cores, and a millisecond for starting each.
    assert_eq!(eta(&world), Some(4004.0));
    world.room = Capacity { cpus: 1, ..world.room };
    world.tell(Event::Room(HostId::LOCAL, world.room));
    assert_eq!(eta(&world), Some(8008.0));
}

#[test]
fn events_that_cannot_be_are_refused() {
    let mut world = World::with_cores(1);
    let plan = Workflow::default().task("a", 1).plan();
    world.submit(&plan);
    let mut refused = |event: Event| world.engine.handle(event, world.now, &mut Vec::new()).unwrap_err().to_string();
    let submitted = |run: u32, verdicts: usize| Event::Submitted {
        run: RunId(run),
        plan: plan.clone(),
        verdicts: vec![Verdict::Stale; verdicts],
        routes: Routes::default(),
    };
    assert_eq!(refused(submitted(1, 1)), "run 1 exists already");
    assert_eq!(refused(submitted(2, 3)), "what is said of run 2 does not fit its plan");
    assert_eq!(refused(Event::Cancel(RunId(9), Vec::new())), "there is no run 9 in the engine");
    let circle = Workflow::default().task("a", 1).task("b", 1).edge(0, 1).edge(1, 0).plan();
    let circle =
        Event::Submitted { run: RunId(3), plan: circle, verdicts: vec![Verdict::Stale; 2], routes: Routes::default() };
    assert_eq!(refused(circle), "the plan of run 3 has a cycle");
}

/// Not timed: were anything quadratic in it, it would not come to an end.
#[test]
fn many_instances_are_no_burden() {
    let n = 50_000;
    let workflow = || Workflow::default().task("a", n).task("b", n).needs("a").task("c", n).reads("b").needs("a");
    let ends = |outcome: fn(u32) -> Outcome| {
        let (mut engine, mut actions, mut queue) = (Engine::new(1), Vec::new(), VecDeque::new());
        let verdicts = vec![Verdict::Stale; 3 * n as usize];
        let room = Capacity { cpus: 4, mem: Bytes::gib(4), gpus: 0, nodes: 1, jobs: None };
        queue.push_back(Event::Room(HostId::LOCAL, room));
        queue.push_back(Event::Submitted { run: RUN, plan: workflow().plan(), verdicts, routes: Routes::default() });
        let now = Timestamp(2_000_000);
        while let Some(event) = queue.pop_front() {
            engine.handle(event, now, &mut actions).unwrap();
            for action in actions.drain(..) {
                if let Action::Start { key, .. } = action {
                    queue.push_back(Event::Ended(Box::new(ended(key, outcome(key.instance.0), now))));
                }
            }
        }
        engine
    };
    let well = ends(|_| Outcome::Success);
    assert_eq!(well.run(RUN).unwrap().counts().done, 3 * n);
    let mut badly = ends(|_| exit(1));
    assert_eq!(badly.run(RUN).unwrap().counts(), Counts { failed: n, skipped: 2 * n, ..Counts::default() });
    let all: Vec<_> = (0..3 * n).map(InstanceId).collect();
    let mut tell = |event| badly.handle(event, Timestamp(3_000_000), &mut Vec::new()).unwrap();
    assert_eq!(tell(Event::Retry(RUN, all.clone())), 3 * n);
    assert_eq!(tell(Event::Cancel(RUN, all)), 3 * n);
}
