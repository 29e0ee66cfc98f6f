//! Properties of every plan, and small cases whose best plan is known.

use proptest::prelude::*;

use crate::decide::place::plan::{Effort, Plan, Policy, plan};
use crate::decide::place::problem::{File, Network, Path, Problem, ProblemError, Room, Site, Wait, Work};
use crate::decide::place::timetable::Booking;

fn site(cores: u32, speed: f64, wait: Wait) -> Site {
    Site { room: Room::cores(cores), speed, wait, rate: 0.0 }
}

/// Hosts in a full mesh of links of one byte a second.
fn mesh(sites: Vec<Site>) -> Network {
    let n = sites.len();
    let mut network = Network { sites, paths: vec![None; n * n], links: n * n };
    for from in 0..n {
        for to in (0..n).filter(|&to| to != from) {
            let link = (from.min(to) * n + from.max(to)) as u32;
            network.paths[from * n + to] = Some(Path { links: vec![link], latency: 0.0, per_byte: 1.0 });
        }
    }
    network
}

fn work(seconds: f64, after: &[u32], inputs: &[u32], outputs: &[u32]) -> Work {
    Work {
        seconds,
        room: Room::cores(1),
        after: after.to_vec(),
        inputs: inputs.to_vec(),
        outputs: outputs.to_vec(),
        only: Vec::new(),
        policy: None,
        waits: None,
    }
}

fn fast(problem: &Problem) -> Plan {
    plan(problem, Policy::Fastest, Effort::QUICK)
}

#[test]
fn a_task_goes_to_its_data_unless_another_host_is_worth_the_way() {
    let network = || mesh(vec![site(1, 1.0, Wait::None), site(1, 10.0, Wait::None)]);
    let near = vec![File { bytes: 95.0, at: vec![0] }];
    let problem = |seconds| Problem::new(network(), vec![work(seconds, &[], &[0], &[])], near.clone()).unwrap();
    assert_eq!(fast(&problem(100.0)).bookings[0], Booking { site: 0, staged: 0.0, start: 0.0, end: 100.0 });
    assert_eq!(fast(&problem(200.0)).bookings[0], Booking { site: 1, staged: 95.0, start: 95.0, end: 115.0 });
}

#[test]
fn a_queue_counts_for_each_task_or_once() {
    let problem = |wait| {
        let network = mesh(vec![site(1, 1.0, Wait::None), site(1, 10.0, wait)]);
        Problem::new(network, (0..4).map(|_| work(100.0, &[], &[], &[])).collect(), Vec::new()).unwrap()
    };
    let there = |plan: &Plan| plan.bookings.iter().filter(|booking| booking.site == 1).count();
    let once = fast(&problem(Wait::Once(70.0)));
    assert_eq!((there(&once), once.end), (3, 100.0), "80, 90 and 100 beside one at home");
    // In the queue where they go it is otherwise than the host says.
    let own = |seconds: f64| {
        let network = mesh(vec![site(1, 1.0, Wait::None), site(1, 10.0, Wait::Each(150.0))]);
        let work = Work { waits: Some([0.0, seconds].into()), ..work(100.0, &[], &[], &[]) };
        Problem::new(network, vec![work; 4], Vec::new())
    };
    let sooner = fast(&own(70.0).unwrap());
    assert_eq!((there(&sooner), sooner.end), (3, 100.0));
    assert_eq!(own(-1.0).unwrap_err(), ProblemError::NoNumber { what: "task", number: 0 });
    let each = fast(&problem(Wait::Each(150.0)));
    assert_eq!((there(&each), each.end), (3, 180.0), "they wait at the same time, and run one after the other");
}

#[test]
fn transfers_on_one_link_wait_for_each_other_and_copies_stay() {
    let network = mesh(vec![site(4, 1.0, Wait::None), site(4, 100.0, Wait::None)]);
    let files = vec![File { bytes: 10.0, at: vec![0] }, File { bytes: 20.0, at: vec![0] }];
    let tasks = vec![work(1e4, &[], &[0], &[]), work(1e4, &[], &[1], &[]), work(1e4, &[], &[0, 1], &[])];
    let problem = Problem::new(network, tasks, files).unwrap();
    let plan = fast(&problem);
    let mut staged: Vec<f64> = plan.bookings.iter().map(|booking| booking.staged).collect();
    staged.sort_by(f64::total_cmp);
    assert!(plan.bookings.iter().all(|booking| booking.site == 1));
    assert_eq!(staged[2], 30.0, "both files, one after the other");
    assert_eq!(plan.moved, 30.0, "each is brought once");
}

#[test]
fn policies_choose_by_what_they_count() {
    let mut network = mesh(vec![site(1, 1.0, Wait::None), site(1, 4.0, Wait::None)]);
    network.sites[0].rate = 1.0;
    network.sites[1].rate = 10.0;
    let files = vec![File { bytes: 1.0, at: vec![0] }];
    let tasks = (0..4).map(|_| work(100.0, &[], &[0], &[])).collect();
    let problem = Problem::new(network, tasks, files).unwrap();
    let there = |policy| {
        let plan = plan(&problem, policy, Effort::QUICK);
        plan.bookings.iter().filter(|booking| booking.site == 1).count()
    };
    assert_eq!(there(Policy::Fastest), 3, "a fourth there would be over at 101, at home at 100");
    assert_eq!(there(Policy::Locality), 0, "nothing needs to move");
    assert_eq!(there(Policy::Cheapest), 0, "100 core-seconds at 1, or 25 at 10");
    assert_eq!(there(Policy::Spread), 3, "a second at home would be more than three there");
}

#[test]
fn what_cannot_be_planned_is_said() {
    let network = mesh(vec![site(2, 1.0, Wait::None)]);
    let new = |tasks, files| Problem::new(network.clone(), tasks, files).map(drop).unwrap_err();
    assert_eq!(new(vec![work(1.0, &[1], &[], &[]), work(1.0, &[0], &[], &[])], vec![]), ProblemError::Cycle);
    let what = ProblemError::Unknown { task: 0, what: "file", number: 3 };
    assert_eq!(new(vec![work(1.0, &[], &[3], &[])], vec![]), what);
    let wide = Work { room: Room::cores(3), ..work(1.0, &[], &[], &[]) };
    assert_eq!(new(vec![wide], vec![]), ProblemError::NoSite { task: 0 });
    for bad in [f64::NAN, f64::INFINITY, -1.0] {
        let error = new(vec![work(bad, &[], &[], &[])], vec![]);
        assert_eq!(error, ProblemError::NoNumber { what: "task", number: 0 });
        let error = new(vec![], vec![File { bytes: bad, at: vec![] }]);
        assert_eq!(error, ProblemError::NoNumber { what: "file", number: 0 });
    }
}

#[test]
fn a_host_that_cannot_be_reached_from_the_data_is_not_chosen() {
    let mut network = mesh(vec![site(1, 1.0, Wait::None), site(1, 100.0, Wait::None)]);
    network.paths.fill(None);
    let files = vec![File { bytes: 1.0, at: vec![0] }];
    let problem = Problem::new(network, vec![work(10.0, &[], &[0], &[])], files).unwrap();
    assert_eq!(fast(&problem).bookings[0].site, 0);
}

/// Random work over three hosts of several cores, speeds and queues; files from the tasks before and from outside.
pub(in crate::decide) fn problems() -> impl Strategy<Value = Problem> {
    let wait = prop_oneof![Just(Wait::None), (0.0..50.0).prop_map(Wait::Once), (0.0..50.0).prop_map(Wait::Each)];
    let sites = prop::collection::vec((1_u32..5, 0.5..4.0, wait), 3);
    let tasks =
        prop::collection::vec((0.0..100.0, prop::collection::vec(any::<prop::sample::Index>(), 0..3), 1_u32..2), 1..40);
    let bytes = prop::collection::vec(0.0..500.0, 80);
    (sites, tasks, bytes).prop_map(|(sites, tasks, bytes)| {
        let network = mesh(sites.into_iter().map(|(cores, speed, wait)| site(cores, speed, wait)).collect());
        let n = tasks.len();
        let mut all = Vec::new();
        for (number, (seconds, before, _)) in tasks.into_iter().enumerate() {
            let mut after: Vec<u32> = Vec::new();
            if number > 0 {
                after.extend(before.iter().map(|index| index.index(number) as u32));
            }
            after.sort_unstable();
            after.dedup();
            let mut inputs = after.clone();
            inputs.push((n + number) as u32);
            all.push(work(seconds, &after, &inputs, &[number as u32]));
        }
        let file = |(number, bytes): (usize, f64)| File {
            bytes,
            at: if number < n { vec![] } else { vec![(number % 3) as u16] },
        };
        let files = bytes.into_iter().take(2 * n).enumerate().map(file).collect();
        Problem::new(network, all, files).unwrap()
    })
}

pub(in crate::decide) fn holds(problem: &Problem, bookings: &[Booking], end: f64) -> Result<(), TestCaseError> {
    prop_assert_eq!(bookings.len(), problem.tasks.len());
    for (task, booking) in problem.tasks.iter().zip(bookings) {
        let site = &problem.network.sites[usize::from(booking.site)];
        let wait = if let Wait::Each(seconds) = site.wait { seconds } else { 0.0 };
        prop_assert!(booking.start >= booking.staged + wait);
        // The engine counts whole microseconds.
        prop_assert!((booking.end - booking.start - task.seconds / site.speed).abs() < 2e-6);
        for &before in &task.after {
            prop_assert!(booking.staged >= bookings[before as usize].end, "starts after what it waits for");
        }
        if let Wait::Once(opens) = site.wait {
            prop_assert!(booking.start >= opens);
        }
        // As many run at the start of each as there are cores.
        let beside = bookings.iter().filter(|other| {
            other.site == booking.site && other.start <= booking.start && booking.start < other.end - 1e-9
        });
        prop_assert!(beside.count() <= site.room.cores as usize);
    }
    prop_assert!(end >= problem.lower_bound() - 1e-6);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_plan_keeps_order_rooms_queues_and_the_bound(problem in problems()) {
        for policy in [Policy::Fastest, Policy::Locality, Policy::Cheapest, Policy::Spread] {
            let made = plan(&problem, policy, Effort { schedules: 12, seed: 7 });
            holds(&problem, &made.bookings, made.end)?;
        }
    }

    #[test]
    fn more_effort_never_makes_it_worse_and_the_same_seed_makes_the_same(problem in problems()) {
        let ends: Vec<f64> = [1, 4, 16].iter().map(|&schedules| plan(&problem, Policy::Fastest, Effort { schedules, seed: 3 }).end).collect();
        prop_assert!(ends[0] >= ends[1] && ends[1] >= ends[2]);
        let again = || plan(&problem, Policy::Fastest, Effort { schedules: 16, seed: 3 });
        prop_assert_eq!(again(), again());
    }
}
