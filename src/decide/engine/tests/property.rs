//! Whatever happens, in whatever order: random workflows, random ends, kills, cancels and retries.
//!
//! After every event [`World::tell`](super::world::World) checks the invariants of the engine, and that the executor never has
//! two attempts of one instance; here it is checked besides that an engine which is told the records stands where the
//! present one stands, and that everything is over in the end.

use proptest::prelude::*;
use proptest::sample::select;

use super::plan::Workflow;
use super::world::{World, ended, exit};
use crate::decide::engine::machine::Engine;
use crate::decide::engine::phase::Phase;
use crate::decide::engine::protocol::{Adopted, Event, Stage, Verdict};
use crate::decide::engine::run::Run;
use crate::model::api::RunState;
use crate::model::id::{InstanceId, RunId};
use crate::model::job::{Outcome, State};
use crate::model::plan::Plan;
use crate::model::resources::{Amount, Request};
use crate::model::task::{OnError, Retry, RetryOn};
use crate::model::units::Bytes;

/// A task of a random workflow.
#[derive(Clone, Debug)]
struct Draft {
    size: u32,
    /// Which earlier task it reads or needs, if any, and how.
    links: Vec<(usize, Link)>,
    on_error: OnError,
    max_parallel: Option<u32>,
    retries: u32,
    delay: f64,
    cpus: u32,
    mem: Option<u64>,
    priority: i32,
}

#[derive(Clone, Copy, Debug)]
enum Link {
    Reads,
    ReadsAll,
    Needs,
}

fn draft() -> impl Strategy<Value = Draft> {
    let links = prop::collection::vec((0usize..6, select(vec![Link::Reads, Link::ReadsAll, Link::Needs])), 0..3);
    let on_error = select(vec![OnError::Finish, OnError::Finish, OnError::Stop, OnError::Ignore]);
    let limits = (prop::option::of(1u32..3), 0u32..3, select(vec![0.0, 0.0, 30.0]));
    // Of two cores, so that some tasks ask for too much.
    let wants = (select(vec![1u32, 1, 1, 2, 3]), prop::option::of(1u64..4), -1i32..2);
    (0u32..4, links, on_error, limits, wants).prop_map(|(size, links, on_error, limits, wants)| Draft {
        size,
        links,
        on_error,
        max_parallel: limits.0,
        retries: limits.1,
        delay: limits.2,
        cpus: wants.0,
        mem: wants.1,
        priority: wants.2,
    })
}

fn workflow(drafts: &[Draft], max_failures: Option<u32>) -> Workflow {
    let mut workflow = Workflow::default();
    for (index, draft) in drafts.iter().enumerate() {
        workflow = workflow.task(&format!("t{index}"), draft.size).with(|settings| {
            settings.on_error = draft.on_error;
            settings.max_parallel = draft.max_parallel;
            settings.priority = draft.priority;
            settings.retry = Retry { max: draft.retries, delay: draft.delay, ..Retry::default() };
            settings.retry.on.push(RetryOn::Exit(Some(75)));
            let mem = draft.mem.map_or(Amount::Auto, |mem| Amount::Exact(Bytes::gib(mem)));
            settings.resources = vec![Request { cpus: Amount::Exact(draft.cpus), mem, ..Request::default() }];
        });
        for (target, link) in &draft.links {
            let Some(other) = drafts[..index].get(*target) else { continue };
            let name = format!("t{target}");
            workflow = match link {
                Link::Reads if other.size > 0 => workflow.reads(&name),
                Link::ReadsAll => workflow.reads_all(&name),
                _ => workflow.needs(&name),
            };
        }
    }
    workflow.max_failures = max_failures;
    workflow
}

/// Turns wishes into verdicts that can be: what is up to date depends only on what is.
fn verdicts(plan: &Plan, wishes: &[u8]) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = Vec::new();
    for instance in plan.instance_ids() {
        let wish = wishes.get(instance.index() % wishes.len().max(1)).copied().unwrap_or(0);
        let mut before = plan.inputs(instance).iter().filter_map(|&path| plan.producer(path));
        let fresh = before.all(|other| matches!(verdicts[other.index()], Verdict::Fresh | Verdict::Left));
        verdicts.push(match wish % 8 {
            0 if fresh => Verdict::Fresh,
            1 => Verdict::Left,
            2 | 3 => Verdict::Check,
            _ => Verdict::Stale,
        });
    }
    verdicts
}

/// What happens next. Numbers choose among what is there.
#[derive(Clone, Debug)]
enum Step {
    Start,
    Report(usize),
    End(usize, Outcome),
    EndAgain(usize),
    Answer(usize, bool),
    Fire,
    Obey,
    Cancel(Option<usize>),
    Retry(Option<usize>),
    /// Nothing is heard any more of the host of an attempt.
    Lose(usize),
    RetryLost(Option<usize>),
    WorkerDies,
    /// The engine is killed; how much of what the executor had it still has.
    Kill(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let outcomes = vec![
        Outcome::Success,
        Outcome::Success,
        Outcome::Success,
        exit(1),
        exit(75),
        Outcome::Oom,
        Outcome::Timeout,
        Outcome::NodeFail,
        Outcome::Preempted,
        Outcome::Stage { message: "no output".to_owned() },
        Outcome::Cancelled,
    ];
    prop_oneof![
        6 => Just(Step::Start),
        3 => (0usize..8).prop_map(Step::Report),
        12 => (0usize..8, select(outcomes)).prop_map(|(n, outcome)| Step::End(n, outcome)),
        1 => (0usize..8).prop_map(Step::EndAgain),
        4 => (0usize..8, any::<bool>()).prop_map(|(n, fresh)| Step::Answer(n, fresh)),
        2 => Just(Step::Fire),
        2 => Just(Step::Obey),
        1 => prop::option::weighted(0.8, 0usize..16).prop_map(Step::Cancel),
        2 => prop::option::of(0usize..16).prop_map(Step::Retry),
        3 => (0usize..8).prop_map(Step::Lose),
        2 => prop::option::of(0usize..16).prop_map(Step::RetryLost),
        1 => Just(Step::WorkerDies),
        2 => any::<u8>().prop_map(Step::Kill),
    ]
}

fn nth<T>(list: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>, n: usize) -> Option<T> {
    let mut list = list.into_iter();
    let len = list.len();
    if len == 0 { None } else { list.nth(n % len) }
}

fn take(world: &mut World, step: &Step) {
    match step {
        Step::Start => {
            world.start();
        }
        Step::Report(n) => {
            if let Some(key) = nth(world.running.keys().copied(), *n) {
                world.tell(Event::Started(key, world.now));
            }
        }
        Step::End(n, outcome) => {
            if let Some(key) = nth(world.running.keys().copied(), *n) {
                world.end(key, outcome.clone());
            }
        }
        Step::EndAgain(n) => {
            if let Some((key, ..)) = nth(world.ends.iter().copied(), *n) {
                world.tell(Event::Ended(Box::new(ended(key, exit(1), world.now))));
            }
        }
        Step::Answer(n, fresh) => {
            if !world.checks.is_empty() {
                let (run, instance) = world.checks.swap_remove(n % world.checks.len());
                world.tell(Event::Checked(run, instance, *fresh));
            }
        }
        Step::Fire => world.fire_timers(),
        Step::Obey => world.obey(),
        Step::Cancel(which) => {
            world.tell(Event::Cancel(RunId(1), which.and_then(|n| some_instance(world, n)).into_iter().collect()));
        }
        Step::Retry(which) => {
            world.tell(Event::Retry(RunId(1), which.and_then(|n| some_instance(world, n)).into_iter().collect()));
        }
        Step::Lose(n) => {
            let queued: Vec<_> = world.queue.iter().map(|(key, _)| *key).chain(world.running.keys().copied()).collect();
            if let Some(key) = nth(queued, *n) {
                world.tell(Event::Staged(key, Stage::Lost));
            }
        }
        Step::RetryLost(which) => {
            world.tell(Event::RetryLost(RunId(1), which.and_then(|n| some_instance(world, n)).into_iter().collect()));
        }
        Step::WorkerDies => {
            world.running.clear();
            world.queue.clear();
            world.stopping.clear();
            world.tell(Event::WorkerDied);
        }
        Step::Kill(rest) => {
            let queued: Vec<_> = world.queue.iter().map(|(key, _)| *key).collect();
            let rest = *rest;
            world.restart_with(move |key| match (key.instance.0 as u8 ^ rest) % 4 {
                0 => Adopted::Died,
                1 if queued.contains(&key) => Adopted::NeverStarted,
                _ => Adopted::Live,
            });
        }
    }
}

fn some_instance(world: &World, n: usize) -> Option<InstanceId> {
    nth(world.engine.run(RunId(1))?.plan().instance_ids(), n)
}

/// Plays on until nothing happens any more, everything ending well.
fn play_out(world: &mut World) {
    loop {
        let before = (world.ends.len(), world.checks.len(), world.timers.len(), world.stopping.len());
        world.obey();
        for (run, instance) in std::mem::take(&mut world.checks) {
            world.tell(Event::Checked(run, instance, false));
        }
        world.fire_timers();
        world.run_all(|_| Outcome::Success);
        if before == (world.ends.len(), world.checks.len(), world.timers.len(), world.stopping.len()) {
            break;
        }
    }
}

/// What of a run must survive a restart.
fn essence(run: &Run) -> String {
    let state = |instance: InstanceId| match run.phases[instance.index()] {
        // What is with the executor has not been heard of yet; what could run may be held back by another of its task.
        Phase::Queued | Phase::Running | Phase::Lost => State::Queued,
        phase => phase.state(),
    };
    let states: Vec<_> = run.plan.instance_ids().map(|it| (state(it), run.attempts[it.index()])).collect();
    let live: Vec<_> = run.live.iter().map(|(it, live)| (it, live.grant, live.submitted, live.stop)).collect();
    let troubles: Vec<_> =
        run.troubles.iter().map(|(it, trouble)| (it, trouble.grant, &trouble.outcome, trouble.tally)).collect();
    // Sums of the same numbers in another order.
    let wall = |wall: f64| (wall * 1e6).round();
    let tasks: Vec<_> =
        run.tasks.iter().map(|it| (wall(it.usage.wall), it.ended, it.unsatisfied, it.barriers)).collect();
    format!(
        "{:?} {:?}\n{states:?}\n{live:?}\n{troubles:?}\n{tasks:?}\n{:?} {:?}",
        run.halt, run.state, run.verdicts, run.ignored
    )
}

fn assert_restores(world: &World) {
    let mut engine = Engine::new(7);
    let mut actions = Vec::new();
    for (run, stored) in &world.store {
        engine.handle(stored.clone().event(*run), world.now, &mut actions).unwrap();
    }
    for (live, restored) in world.engine.runs().zip(engine.runs()) {
        assert_eq!(essence(live), essence(restored));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_or_done_twice(
        drafts in prop::collection::vec(draft(), 1..6),
        max_failures in prop::option::weighted(0.2, 1u32..3),
        wishes in prop::collection::vec(any::<u8>(), 1..12),
        steps in prop::collection::vec(step(), 0..80),
    ) {
        let mut world = World::with_cores(2);
        let first = workflow(&drafts, max_failures).plan();
        let second = workflow(&drafts[..1], None).plan();
        world.submit_as(RunId(1), &first, verdicts(&first, &wishes));
        world.submit_as(RunId(2), &second, vec![Verdict::Stale; second.instances.len()]);
        assert_restores(&world);
        for step in &steps {
            take(&mut world, step);
            assert_restores(&world);
        }
        play_out(&mut world);
        assert_restores(&world);
        for run in world.engine.runs() {
            prop_assert_ne!(run.state(), RunState::Active, "{:?}", essence(run));
            prop_assert!(run.in_flight().next().is_none());
        }
        prop_assert!(world.queue.is_empty() && world.running.is_empty());
    }
}
