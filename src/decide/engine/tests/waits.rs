//! Time limits, where it is known how long jobs wait by what they ask for.

use std::collections::HashMap;
use std::sync::Arc;

use crate::decide::engine::protocol::{Event, Routes};
use crate::decide::engine::tests::partitions::{DEBUG, HPC, SHORT, Said, queues, routes, submit_plan, went, world};
use crate::decide::engine::tests::plan::Workflow;
use crate::decide::learn::profile::Profile;
use crate::decide::outlook::known::{Known, Seen};
use crate::language::command::Token;
use crate::model::choice::Policy;
use crate::model::observation::Observation;

const CLASS: Token = Token(9);

/// What is known of a task whose attempts took fifty to fifty-five minutes so far.
fn fifty_minutes() -> Arc<Known> {
    let mut profile = Profile::default();
    for id in 0..40_u64 {
        let wall = 3000.0 + (id * 37 % 300) as f32;
        let seen = Observation { id: id * 7919 % 1009, at: id as u32, memory: 1e9, wall, ..Observation::default() };
        assert!(profile.observe(7, seen));
    }
    Arc::new(Known { seen: vec![Seen { class: CLASS, profile, scale: Vec::new() }], ..Known::default() })
}

/// Returns what such a task is granted, and where it goes.
fn granted_by_waits(said: &[Said], routes: Routes) -> (Option<u64>, Option<String>) {
    let mut world = world(said);
    let plan = Workflow::default().task("a", 1).plan();
    submit_plan(&mut world, routes, &plan, (vec![Some(fifty_minutes())], HashMap::from([(HPC, CLASS)])));
    let (recorded, _) = went(&world);
    let partition = recorded.first().map(|name| (*name).to_owned());
    (world.grants[0].1.time.map(|time| time.0), partition)
}

#[test]
fn a_limit_that_waits_less_is_asked_for_where_that_is_worth_it() {
    let long = Said { name: "long", ..DEBUG };
    for routes in routes() {
        let granted = |waited| {
            let short = Said { waited: if waited > 0.0 { 5.0 } else { 0.0 }, ..SHORT };
            granted_by_waits(&[short, Said { waited, ..long }], routes.clone())
        };
        let (unknown, there) = granted(0.0);
        assert!(unknown.is_some_and(|limit| limit > 3600) && there.as_deref() == Some("long"), "{unknown:?} {there:?}");
        // A minute is not worth the room that is given up for it.
        assert_eq!(granted(60.0).0, unknown);
        let (limit, there) = granted(7200.0);
        assert_eq!((limit, there.as_deref()), (Some(3600), Some("short")));
    }
}

#[test]
fn what_is_told_of_waits_while_a_run_goes_counts_for_what_is_handed_over_next() {
    for routes in [
        Routes::placed([(vec![HPC], Some(Policy::Fastest)), (vec![HPC], Some(Policy::Fastest))]),
        Routes::new([vec![HPC], vec![HPC]]),
    ] {
        let long = Said { name: "long", ..DEBUG };
        let mut world = world(&[Said { waited: 0.0, ..SHORT }, Said { waited: 0.0, ..long }]);
        let plan = Workflow::default().task("a", 1).task("b", 1).reads("a").plan();
        let known = fifty_minutes();
        submit_plan(
            &mut world,
            routes,
            &plan,
            (vec![Some(Arc::clone(&known)), Some(known)], HashMap::from([(HPC, CLASS)])),
        );
        world.tell(Event::Queues(HPC, queues(&[SHORT, long])));
        world.run_well();
        let asked: Vec<u64> = world.grants.iter().filter_map(|(_, grant)| Some(grant.time?.0)).collect();
        assert!(asked.len() == 2 && asked[0] > 3600 && asked[1] == 3600, "{asked:?}");
    }
}
