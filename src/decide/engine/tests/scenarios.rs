//! One story each.

use super::plan::Workflow;
use super::world::{World, exit};
use crate::model::api::{Counts, RunState};
use crate::model::job::{Outcome, State};

#[test]
fn a_chain_runs_in_order_and_is_over() {
    let mut world = World::with_cores(2);
    let plan = Workflow::default().task("a", 3).task("b", 3).reads("a").task("c", 1).reads_all("b").plan();
    world.submit(&plan);
    let mut order = Vec::new();
    world.run_all(|key| {
        order.push(key.instance.0);
        Outcome::Success
    });
    assert_eq!(world.counts(), Counts { done: 7, ..Counts::default() });
    assert_eq!(world.run_state(), RunState::Succeeded);
    assert_eq!(world.over.len(), 1);
    assert_eq!(world.told.len(), 7);
    let place = |instance: u32| order.iter().position(|&other| other == instance).unwrap();
    assert!(place(0) < place(3) && place(5) < place(6));
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
