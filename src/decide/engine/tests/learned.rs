//! What was learned of a command, in what its attempts are granted.

use std::collections::HashMap;
use std::sync::Arc;

use crate::decide::engine::limits::Limits;
use crate::decide::engine::protocol::Event;
use crate::decide::engine::tests::plan::Workflow;
use crate::decide::engine::tests::world::{RUN, World};
use crate::decide::learn::evidence::{Law, Prior};
use crate::decide::learn::profile::Profile;
use crate::decide::outlook::files::{Files, Hosts};
use crate::decide::outlook::foresee::Outlook;
use crate::decide::outlook::known::{Known, Seen};
use crate::language::command::Token;
use crate::model::api::RunState;
use crate::model::batch::{Flavour, Partition};
use crate::model::id::{HostId, InstanceId, TaskId};
use crate::model::job::Outcome;
use crate::model::observation::Observation;
use crate::model::resources::{Amount, Hold, Request};
use crate::model::task::Settings;
use crate::model::units::{Bytes, Walltime};

const HERE: Token = Token(1);

/// Ten attempts that needed so many megabytes each.
fn known(megabytes: u32) -> Arc<Known> {
    lasting(megabytes, 50.0)
}

/// Ten attempts that needed so many megabytes, and took so long.
fn lasting(megabytes: u32, wall: f32) -> Arc<Known> {
    let mut profile = Profile::default();
    for id in 0..10 {
        let memory = megabytes as f32 * 1e6;
        let seen = Observation { id, at: id as u32, input: 0.0, memory, wall, ..Observation::default() };
        profile.observe(7, seen);
    }
    let seen = vec![Seen { class: HERE, profile, scale: Vec::new() }];
    Arc::new(Known { seen, ..Known::default() })
}

fn tell_known(world: &mut World, tasks: usize, paths: usize, known: Option<Arc<Known>>) {
    let classes = HashMap::from([(HostId::LOCAL, HERE)]);
    let files = Files::new(paths, Hosts::one(HostId::LOCAL));
    world.tell(Event::Outlook(RUN, Box::new(Outlook::new(vec![known; tasks], classes, files))));
}

#[test]
fn memory_left_to_csync_is_what_was_learned() {
    let mut world = World::with_cores(4);
    let plan = Workflow::default().task("a", 1).plan();
    tell_known(&mut world, 1, 1, Some(known(400)));
    world.submit(&plan);
    let grant = world.grants[0].1;
    assert!(grant.hold == Hold::Room && grant.mem >= Bytes(400_000_000) && grant.mem < Bytes(700_000_000), "{grant:?}");
    assert_eq!(grant.time, None, "nobody asks for time here");
    // A person's word stands.
    let mut world = World::with_cores(4);
    let exact = Request { mem: Amount::Exact(Bytes::gib(2)), ..Request::default() };
    let plan = Workflow::default().task("a", 1).with(|task| task.resources = vec![exact]).plan();
    tell_known(&mut world, 1, 1, Some(known(400)));
    world.submit(&plan);
    assert_eq!(world.grants[0].1.mem, Bytes::gib(2));
    // A range is what a person allows.
    let mut world = World::with_cores(4);
    let range = Amount::Range { min: Some(Bytes::mib(100)), max: Some(Bytes::mib(200)) };
    let range = Request { mem: range, ..Request::default() };
    let plan = Workflow::default().task("a", 1).with(|task| task.resources = vec![range]).plan();
    tell_known(&mut world, 1, 1, Some(known(400)));
    world.submit(&plan);
    assert_eq!(world.grants[0].1.mem, Bytes::mib(200));
}

#[test]
fn a_guess_is_a_limit_where_a_batch_system_makes_it_one_alone() {
    let exact = Request { mem: Amount::Exact(Bytes::gib(2)), ..Request::default() };
    let range = Request { mem: Amount::Range { min: Some(Bytes::mib(100)), max: None }, ..Request::default() };
    for (asked, flavour, wanted) in [
        (Request::default(), None, [Hold::Room, Hold::Room]),
        (Request::default(), Some(Flavour::Slurm), [Hold::Limit, Hold::Limit]),
        (exact, None, [Hold::Limit, Hold::Limit]),
        (range, None, [Hold::Limit, Hold::Limit]),
    ] {
        let mut world = World::with_cores(4);
        world.tell(Event::Limits(HostId::LOCAL, Arc::new(Limits { flavour, ..Limits::default() })));
        let again = |task: &mut Settings| {
            task.resources = vec![asked.clone()];
            task.retry.max = 1;
        };
        let plan = Workflow::default().task("a", 1).with(again).plan();
        tell_known(&mut world, 1, 1, Some(known(400)));
        world.submit(&plan);
        let mut left = 2;
        world.run_all(|_| {
            left -= 1;
            if left > 0 { Outcome::Oom } else { Outcome::Success }
        });
        let holds: Vec<Hold> = world.grants.iter().map(|(_, grant)| grant.hold).collect();
        assert_eq!(holds, wanted, "{asked:?} {flavour:?}");
    }
    // Where nothing was learned, what ran out of memory has more kept free.
    let mut world = World::with_cores(4);
    let plan = Workflow::default().task("a", 1).with(|task| task.retry.max = 1).plan();
    world.submit(&plan);
    let mut left = 2;
    world.run_all(|_| {
        left -= 1;
        if left > 0 { Outcome::Oom } else { Outcome::Success }
    });
    let [first, second] = [world.grants[0].1, world.grants[1].1];
    assert_eq!([first.hold, second.hold], [Hold::Nothing, Hold::Room]);
    assert!(second.mem > first.mem, "{first:?} {second:?}");
}

#[test]
fn more_than_the_machine_has_is_as_much_as_it_has() {
    let mut world = World::with_cores(2);
    let plan = Workflow::default().task("a", 1).plan();
    tell_known(&mut world, 1, 1, Some(known(8000)));
    world.submit(&plan);
    assert_eq!(world.grants[0].1.mem, Bytes::gib(2));
}

#[test]
fn what_csync_asked_too_little_of_is_tried_again_with_what_was_seen() {
    let mut world = World::with_cores(4);
    let plan = Workflow::default().task("a", 1).plan();
    tell_known(&mut world, 1, 1, Some(known(400)));
    world.submit(&plan);
    // The task allows no retry: the mistake was not its.
    let mut left = 2;
    world.run_all(|_| {
        left -= 1;
        if left > 0 { Outcome::Oom } else { Outcome::Success }
    });
    assert_eq!(world.run_state(), RunState::Succeeded);
    let [first, second] = [world.grants[0].1.mem.0, world.grants[1].1.mem.0];
    assert!(second as f64 >= first as f64 * 1.2 && second <= first * 9 / 4, "{first} then {second}");
}

#[test]
fn a_task_that_never_has_enough_fails_in_the_end() {
    let mut world = World::with_cores(64);
    let plan = Workflow::default().task("a", 1).plan();
    tell_known(&mut world, 1, 1, Some(known(100)));
    world.submit(&plan);
    world.run_all(|_| Outcome::Oom);
    assert_eq!(world.run_state(), RunState::Failed);
    assert!((3..=6).contains(&world.grants.len()), "{:?}", world.grants);
    let grown = world.grants.windows(2).all(|pair| pair[0].1.mem < pair[1].1.mem);
    assert!(grown, "{:?}", world.grants);
}

#[test]
fn what_is_learned_meanwhile_counts_for_what_is_handed_over_next() {
    let mut world = World::with_cores(1);
    let plan = Workflow::default().task("a", 1).task("b", 1).reads("a").plan();
    tell_known(&mut world, 2, 2, None);
    world.submit(&plan);
    assert_eq!(world.grants[0].1.hold, Hold::Nothing);
    world.tell(Event::Learned(RUN, vec![(TaskId(1), known(300))]));
    world.run_well();
    assert_eq!(world.grants[1].1.hold, Hold::Room);
    assert_eq!(world.grants[1].1.time, None::<Walltime>);
}

#[test]
fn a_run_that_began_before_anything_was_learned_learns_from_itself() {
    let mut world = World::with_cores(1);
    let plan = Workflow::default().task("a", 1).task("b", 1).reads("a").plan();
    let files = Files::new(2, Hosts::one(HostId::LOCAL));
    // Nobody knew the classes of hosts when it was submitted: there was no key to name them by.
    world.tell(Event::Outlook(RUN, Box::new(Outlook::new(vec![None; 2], HashMap::new(), files))));
    world.submit(&plan);
    world.tell(Event::Learned(RUN, vec![(TaskId(1), known(300))]));
    world.tell(Event::Classes(RUN, vec![(HostId::LOCAL, HERE)]));
    world.run_well();
    let holds: Vec<Hold> = world.grants.iter().map(|(_, grant)| grant.hold).collect();
    assert_eq!(holds.last(), Some(&Hold::Room), "{holds:?}");
}

#[test]
fn what_most_time_hangs_on_goes_first() {
    let first = |known: Vec<Option<Arc<Known>>>| {
        let mut world = World::with_cores(1);
        let plan = Workflow::default().task("short", 1).task("then", 1).reads("short").task("long", 1).plan();
        let classes = HashMap::from([(HostId::LOCAL, HERE)]);
        let files = Files::new(3, Hosts::one(HostId::LOCAL));
        world.tell(Event::Outlook(RUN, Box::new(Outlook::new(known, classes, files))));
        world.submit(&plan);
        world.grants[0].0.instance
    };
    assert_eq!(first(vec![None; 3]), InstanceId(0), "two tasks against one");
    let (short, long) = (lasting(100, 20.0), lasting(100, 3000.0));
    assert_eq!(first(vec![Some(Arc::clone(&short)), Some(short), Some(long)]), InstanceId(2));
}

/// What is shipped of a program, and nothing else.
fn shipped() -> Arc<Known> {
    let law = |base: f64| Some(Law { base, per_byte: 0.0, spread: 2.0 });
    Arc::new(Known { prior: Some(Prior { memory: law(3e9), wall: law(1800.0) }), ..Known::default() })
}

#[test]
fn what_is_shipped_is_asked_of_batch_systems_alone_and_no_more_than_there_is() {
    let granted = |flavour: Option<Flavour>, gib: u64| {
        let mut world = World::with_cores(4);
        world.room.mem = Bytes::gib(gib);
        world.tell(Event::Limits(HostId::LOCAL, Arc::new(Limits { flavour, ..Limits::default() })));
        world.tell(Event::Room(HostId::LOCAL, world.room));
        let plan = Workflow::default().task("a", 1).plan();
        tell_known(&mut world, 1, 1, Some(shipped()));
        world.submit(&plan);
        let grant = world.grants[0].1;
        (grant.hold, grant.mem, grant.time)
    };
    let (hold, mem, time) = granted(Some(Flavour::Slurm), 64);
    assert_eq!((hold, time), (Hold::Limit, Some(Walltime(3600))));
    assert!((6_000_000_000..6_900_000_000).contains(&mem.0), "{mem}");
    assert_eq!(granted(Some(Flavour::Slurm), 4).1, Bytes::gib(4), "what there is");
    let (hold, _, time) = granted(None, 64);
    assert_eq!((hold, time), (Hold::Nothing, None), "what people ask for is no measure of this machine");
}

#[test]
fn memory_is_asked_for_as_a_site_charges_for_it() {
    let granted = |cost: &dyn Fn(&mut Partition)| {
        let mut world = World::with_cores(64);
        world.room.mem = Bytes::gib(64);
        let mut partition = Partition {
            name: "main".to_owned(),
            nodes: 4,
            cores_per_node: Some(16),
            memory_per_node: Some(Bytes::gib(64)),
            ..Partition::default()
        };
        cost(&mut partition);
        let limits = Limits { flavour: Some(Flavour::Slurm), partitions: vec![partition], ..Limits::default() };
        world.tell(Event::Limits(HostId::LOCAL, Arc::new(limits)));
        world.tell(Event::Room(HostId::LOCAL, world.room));
        let plan = Workflow::default().task("a", 1).plan();
        tell_known(&mut world, 1, 1, Some(known(2300)));
        world.submit(&plan);
        world.grants[0].1.mem
    };
    let usual = granted(&|_| ());
    assert!((2_300_000_000..3_000_000_000).contains(&usual.0), "{usual}");
    // A core may have a gibibyte, and three are charged: three are asked for.
    assert_eq!(granted(&|it| it.memory_max_per_core = Some(Bytes::gib(1))), Bytes::gib(3));
    assert_eq!(granted(&|it| it.memory_max_per_core = Some(Bytes::gib(8))), usual, "its own core has that");
    // The whole node is its own, whatever it asks for.
    let whole = |it: &mut Partition| {
        it.has_whole_nodes = true;
        it.memory_least = Some(Bytes::gib(32));
    };
    assert_eq!(granted(&whole), Bytes::gib(28));
}
