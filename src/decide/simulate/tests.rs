use proptest::prelude::{ProptestConfig, prop, proptest};

use crate::decide::learn::waits::{Waited, predict};
use crate::decide::place::problem::{File, Network, Path, Problem, Room, Site, Wait, Work};
use crate::decide::place::tests::{holds, problems};
use crate::decide::place::timetable::Booking;
use crate::decide::simulate::luck::{Chance, Luck};
use crate::decide::simulate::queue::{Job, jobs, starts};
use crate::decide::simulate::world::{Belief, Course, Outage, Ran, Strategy, World};

/// A laptop with the data, and a faster cluster behind a thin link, where jobs wait.
fn problem(tasks: usize) -> Problem {
    let site = |cores, speed, wait| Site { room: Room::cores(cores), speed, wait, rate: 0.0 };
    let path = || Some(Path { links: vec![0], latency: 0.1, per_byte: 1e-8 });
    let network = Network {
        sites: vec![site(2, 1.0, Wait::None), site(16, 2.0, Wait::Each(60.0))],
        paths: vec![None, path(), path(), None],
        links: 1,
    };
    let files: Vec<File> =
        (0..2 * tasks).map(|file| File { bytes: 1e8, at: if file < tasks { vec![0] } else { Vec::new() } }).collect();
    let work = |task: usize| Work {
        seconds: 100.0 + (task % 7) as f64 * 30.0,
        room: Room::cores(1),
        inputs: if task == 0 { vec![0] } else { vec![task as u32, (tasks + (task - 1) / 2) as u32] },
        outputs: vec![(tasks + task) as u32],
        after: if task == 0 { Vec::new() } else { vec![((task - 1) / 2) as u32] },
        only: Vec::new(),
        policy: None,
        waits: None,
    };
    Problem::new(network, (0..tasks).map(work).collect(), files).expect("it is sound")
}

fn end(problem: &Problem, strategy: Strategy, chance: Chance, seed: u64) -> f64 {
    let belief = Belief::of(problem);
    let luck = Luck::draw(&belief.seconds, chance, seed);
    let course = World { problem, luck: &luck, outages: &[], here: None, policies: &[] }.run(strategy, &belief, seed);
    for (task, ran) in course.ran.iter().enumerate() {
        assert!(ran.staged <= ran.start && ran.start < ran.end && ran.end <= course.end, "{strategy:?}: {ran:?}");
        for before in &problem.task(task).after {
            assert!(course.ran[*before as usize].end <= ran.start, "{strategy:?}: {task} ran before what it waits for");
        }
    }
    course.end
}

#[test]
fn every_strategy_runs_everything_in_order_and_none_beats_the_bound() {
    let problem = problem(63);
    for strategy in Strategy::ALL {
        let end = end(&problem, strategy, Chance::default(), 1);
        assert!(end.is_finite() && end >= problem.lower_bound(), "{strategy:?}: {end}");
    }
}

#[test]
fn what_knows_queues_and_data_is_done_before_what_does_not() {
    let problem = problem(127);
    let mean = |strategy| {
        let chance = Chance { runs: 0.4, waits: 0.5, fails: 0.02 };
        (0..8).map(|seed| end(&problem, strategy, chance, seed)).sum::<f64>() / 8.0
    };
    let full = mean(Strategy::Full);
    for other in [Strategy::Random, Strategy::RoundRobin, Strategy::Locality] {
        assert!(full < mean(other), "{other:?}: {} against {full}", mean(other));
    }
}

#[test]
fn a_run_follows_from_its_seed() {
    let problem = problem(31);
    let chance = Chance { runs: 0.4, waits: 0.5, fails: 0.1 };
    for strategy in Strategy::ALL {
        let (first, again) = (end(&problem, strategy, chance, 7), end(&problem, strategy, chance, 7));
        assert!((first - again).abs() < 1e-12);
    }
    assert!((end(&problem, Strategy::Full, chance, 7) - end(&problem, Strategy::Full, chance, 8)).abs() > 1e-9);
}

#[test]
fn nothing_starts_on_a_host_that_is_away_and_what_fails_takes_longer() {
    let problem = problem(31);
    let belief = Belief::of(&problem);
    let luck = Luck::draw(&belief.seconds, Chance::default(), 3);
    let outages = [Outage { site: 1, from: 0.0, seconds: 5_000.0 }];
    let course = World { problem: &problem, luck: &luck, outages: &outages, here: None, policies: &[] }.run(
        Strategy::Full,
        &belief,
        3,
    );
    assert!(course.ran.iter().all(|ran| ran.site == 0 || ran.start >= 5_000.0), "{course:?}");
    let fails = Luck::draw(&belief.seconds, Chance { fails: 0.5, ..Chance::default() }, 3);
    assert!(fails.failed > 5 && fails.seconds.iter().sum::<f64>() > luck.seconds.iter().sum::<f64>());
}

/// Returns what comes of work that takes what is told, with that believed.
fn live(problem: &Problem, belief: &Belief) -> Course {
    let seconds = problem.tasks.iter().map(|task| task.seconds).collect();
    let luck = Luck { seconds, waits: Vec::new(), failed: 0 };
    World { problem, luck: &luck, outages: &[], here: Some(0), policies: &[] }.run(Strategy::Full, belief, 0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_engine_runs_everything_once_in_order_where_there_is_room(
        problem in problems(),
        factors in prop::collection::vec(0.3..3.0_f64, 3),
    ) {
        let mut belief = Belief::of(&problem);
        belief.seconds.fill(50.0);
        belief.speeds.iter_mut().zip(&factors).for_each(|(speed, factor)| *speed *= factor);
        let course = live(&problem, &belief);
        let booked = |ran: &Ran| Booking { site: ran.site, staged: ran.staged, start: ran.start, end: ran.end };
        let bookings: Vec<Booking> = course.ran.iter().map(booked).collect();
        holds(&problem, &bookings, course.end)?;
    }
}

/// Forty tasks of ten seconds without files, over hosts of two cores each.
fn sweep(waits: [Wait; 2]) -> Problem {
    let sites = waits.map(|wait| Site { room: Room::cores(2), speed: 1.0, wait, rate: 0.0 });
    let network = Network { sites: sites.to_vec(), paths: vec![None; 4], links: 0 };
    let task = Work { seconds: 10.0, room: Room::cores(1), ..Work::default() };
    Problem::new(network, vec![task; 40], Vec::new()).unwrap()
}

#[test]
fn what_a_cluster_runs_goes_there_in_few_submissions() {
    // Three hundred tasks that end at other times each, beside a machine that is no good for them.
    let cluster = Site { room: Room::cores(64), speed: 1.0, wait: Wait::Each(60.0), rate: 0.0 };
    let here = Site { room: Room::cores(1), speed: 0.1, wait: Wait::None, rate: 0.0 };
    let network = Network { sites: vec![cluster, here], paths: vec![None; 4], links: 0 };
    let task = Work { seconds: 600.0, room: Room::cores(1), ..Work::default() };
    let problem = Problem::new(network, vec![task; 300], Vec::new()).unwrap();
    let belief = Belief::of(&problem);
    let luck = Luck::draw(&belief.seconds, Chance { runs: 0.5, ..Chance::default() }, 5);
    let course = World { problem: &problem, luck: &luck, outages: &[], here: Some(1), policies: &[] }.run(
        Strategy::Full,
        &belief,
        5,
    );
    let there: Vec<&Ran> = course.ran.iter().filter(|ran| ran.site == 0).collect();
    let mut given: Vec<f64> = there.iter().map(|ran| ran.given).collect();
    given.sort_by(f64::total_cmp);
    given.dedup();
    // Twice as many as run at once, then an eighth of that at a time.
    let wanted = 1 + (there.len() - 128).div_ceil(16);
    assert!(there.len() > 250 && given.len() <= wanted + 1, "{} in {}", there.len(), given.len());
    assert!(course.ran.iter().all(|ran| ran.given <= ran.staged), "{course:?}");
}

#[test]
fn a_host_that_is_away_is_given_nothing_until_it_is_back() {
    let run = |outages: &[Outage]| {
        let problem = sweep([Wait::None; 2]);
        let belief = Belief::of(&problem);
        let luck = Luck::draw(&belief.seconds, Chance::default(), 0);
        World { problem: &problem, luck: &luck, outages, here: None, policies: &[] }.run(Strategy::Full, &belief, 0)
    };
    let away = |from, seconds| Outage { site: 1, from, seconds };
    let of_second = |course: &Course| course.ran.iter().filter(|ran| ran.site == 1).count();
    // Six in the first thirty seconds, and all others on the host that is there, instead of waiting for hours.
    let course = run(&[away(30.0, 10_000.0)]);
    assert_eq!((course.ran.len(), of_second(&course)), (40, 6));
    assert!((course.end - 170.0).abs() < 1.0, "{}", course.end);
    // It is used again when it is back, and not at the end of the first of two times that overlap.
    let course = run(&[away(30.0, 20.0), away(40.0, 40.0)]);
    let late = course.ran.iter().filter(|ran| ran.site == 1 && ran.start > 29.0);
    assert!(late.clone().count() > 5 && late.clone().all(|ran| ran.start >= 80.0), "{course:?}");
    // From the very beginning; and where there is no other host, work waits.
    let course = run(&[away(0.0, 10_000.0)]);
    assert_eq!((course.ran.len(), of_second(&course)), (40, 0));
    let course = run(&[away(0.0, 10_000.0), Outage { site: 0, from: 0.0, seconds: 20_000.0 }]);
    assert_eq!((course.ran.len(), of_second(&course)), (40, 40));
    assert!(course.ran.iter().all(|ran| ran.start >= 10_000.0), "{course:?}");
}

#[test]
fn time_that_clocks_do_not_have_ends_nothing_else() {
    // As long as a scenario may say, on a host that is as slow as it may be: it is never over, and what else there is, is.
    let mut problem = sweep([Wait::None; 2]);
    problem.tasks[39].seconds = 1e13;
    let course = live(&problem, &Belief::of(&problem));
    assert!(!course.ran[39].is_over() && course.end.is_infinite(), "{course:?}");
    assert_eq!(course.ran.iter().filter(|ran| ran.is_over()).count(), 39, "{course:?}");
    // What begins only just before the end of all clocks is no earlier for it.
    problem.tasks[39] = Work { seconds: 1e13 / 2.0, after: vec![38], ..problem.tasks[39].clone() };
    problem.tasks[38].seconds = 1e13 / 2.0;
    let problem = Problem::new(problem.network, problem.tasks, Vec::new()).unwrap();
    let course = live(&problem, &Belief::of(&problem));
    assert!(course.ran[38].is_over() && !course.ran[39].is_over(), "{course:?}");
    // A hundred years, for all the while nothing can be done.
    let years = 100.0 * 365.0 * 86_400.0;
    let problem = sweep([Wait::None; 2]);
    let belief = Belief::of(&problem);
    let luck = Luck::draw(&belief.seconds, Chance::default(), 0);
    let outages = [0, 1].map(|site| Outage { site, from: 0.0, seconds: years });
    let course = World { problem: &problem, luck: &luck, outages: &outages, here: None, policies: &[] }.run(
        Strategy::Full,
        &belief,
        0,
    );
    assert!(course.end.is_finite() && course.ran.iter().all(|ran| ran.start >= years), "{course:?}");
}

#[test]
fn what_never_runs_never_ends_whatever_the_placement() {
    // The data lies on an island of one core; the cores are where no link leads to.
    let site = |cores| Site { room: Room::cores(cores), speed: 1.0, wait: Wait::None, rate: 0.0 };
    let path = || Some(Path { links: vec![0], latency: 0.0, per_byte: 1e-6 });
    let network = Network {
        sites: vec![site(1), site(2), site(2)],
        paths: [vec![None; 5], vec![path(), None, path(), None]].concat(),
        links: 1,
    };
    let work = |only: Vec<u16>, inputs: Vec<u32>, after: Vec<u32>| Work {
        seconds: 10.0,
        room: Room::cores(1),
        only,
        inputs,
        after,
        ..Work::default()
    };
    let files = vec![File { bytes: 10.0, at: vec![0] }, File { bytes: 10.0, at: vec![2] }];
    let tasks = vec![
        work(vec![1, 2], vec![0], Vec::new()),
        work(vec![1], vec![1], Vec::new()),
        work(Vec::new(), Vec::new(), vec![0]),
    ];
    let problem = Problem::new(network, tasks, files).unwrap();
    let belief = Belief::of(&problem);
    let luck = Luck::draw(&belief.seconds, Chance::default(), 0);
    for strategy in Strategy::ALL {
        let course =
            World { problem: &problem, luck: &luck, outages: &[], here: None, policies: &[] }.run(strategy, &belief, 0);
        assert!(course.end.is_infinite(), "{strategy:?}: {course:?}");
        // Neither what cannot run nor what waits for it; the link is free for what else needs it.
        let over: Vec<bool> = course.ran.iter().map(Ran::is_over).collect();
        assert_eq!(over, [false, true, false], "{strategy:?}: {course:?}");
    }
}

#[test]
fn a_host_slower_than_thought_is_found_out() {
    let problem = sweep([Wait::None; 2]);
    // Thought eight times as fast as it is.
    let belief = Belief { speeds: vec![1.0, 8.0], ..Belief::of(&problem) };
    let end = live(&problem, &belief).end;
    assert!(end < 155.0, "{end}: 100 is best, 200 without learning");
}

#[test]
fn what_much_has_to_move_for_goes_first() {
    let sites = vec![Site { room: Room::cores(1), speed: 1.0, wait: Wait::None, rate: 0.0 }; 2];
    let path = || Some(Path { links: vec![0], latency: 0.0, per_byte: 1e-6 });
    let network = Network { sites, paths: vec![None, path(), path(), None], links: 1 };
    let work = |outputs: Vec<u32>, inputs: Vec<u32>| Work {
        seconds: 10.0,
        room: Room::cores(1),
        after: inputs.clone(),
        inputs,
        outputs,
        ..Work::default()
    };
    // Each of three makes a file that another reads: the last makes the largest.
    let tasks = (0..3).map(|file| work(vec![file], Vec::new())).chain((0..3).map(|file| work(Vec::new(), vec![file])));
    let files = [1.0, 1.0, 1e8].map(|bytes| File { bytes, at: Vec::new() });
    let problem = Problem::new(network, tasks.collect(), files.to_vec()).unwrap();
    let course = live(&problem, &Belief::of(&problem));
    assert!(course.ran[2].start < 1.0, "{course:?}");
}

#[test]
fn an_allocation_takes_work_for_when_it_is_there() {
    let (soon, late) = (sweep([Wait::None, Wait::Once(50.0)]), sweep([Wait::None, Wait::Once(1000.0)]));
    let far = |problem: &Problem| {
        let course = live(problem, &Belief::of(problem));
        (course.ran.iter().filter(|ran| ran.site == 1).count(), course.end)
    };
    let ((taken, end), (none, alone)) = (far(&soon), far(&late));
    assert!((14..=16).contains(&taken) && end < 131.0, "both are done at once: {taken}, {end}");
    assert!(none == 0 && alone < 201.0, "nothing waits for what comes too late: {none}, {alone}");
}

#[test]
fn an_allocation_is_for_the_first_of_those_that_are_ready_when_it_is_there() {
    let site = |speed, wait| Site { room: Room::cores(1), speed, wait, rate: 0.0 };
    let sites = vec![site(1.0, Wait::None), site(4.0, Wait::Once(20.0))];
    let network = Network { sites, paths: vec![None; 4], links: 0 };
    let work = |seconds, after| Work { seconds, room: Room::cores(1), after, ..Work::default() };
    // When the first two are to be placed, the last is not ready; the allocation is better for either.
    let tasks = vec![work(10.0, Vec::new()), work(25.0, Vec::new()), work(80.0, vec![0])];
    let problem = Problem::new(network, tasks, Vec::new()).unwrap();
    let course = live(&problem, &Belief::of(&problem));
    let sites: Vec<u16> = course.ran.iter().map(|ran| ran.site).collect();
    assert!(sites == [0, 0, 1] && course.end < 41.0, "{course:?}");
}

#[test]
fn a_queue_starts_jobs_in_order_and_fills_gaps() {
    let job = |submitted, cores, asked| Job { submitted, cores, asked, runs: asked };
    let all = [job(0.0, 3, 100.0), job(1.0, 4, 100.0), job(2.0, 1, 50.0), job(3.0, 1, 500.0)];
    // The third ends before the second can start, the fourth would hold it up.
    assert_eq!(starts(&all, 4), [0.0, 100.0, 2.0, 200.0]);
    let many = jobs(2_000, 64, 0.9, 5);
    let begun = starts(&many, 64);
    assert!(begun.iter().zip(&many).all(|(start, job)| *start >= job.submitted && start.is_finite()));
    let mut events: Vec<(f64, i64)> = Vec::new();
    for (start, job) in begun.iter().zip(&many) {
        events.push((*start, i64::from(job.cores)));
        events.push((start + job.runs, -i64::from(job.cores)));
    }
    events.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut taken = 0;
    assert!(
        events.iter().all(|(_, cores)| {
            taken += cores;
            taken <= 64
        }),
        "more runs than there is room for"
    );
}

#[test]
fn intervals_of_waits_hold_four_of_five() {
    let (mut held, mut of) = (0u32, 0u32);
    for seed in 0..4 {
        let all = jobs(3_000, 128, 0.85, 100 + seed);
        let begun = starts(&all, 128);
        let (within, predicted) = coverage(&all, &begun);
        held += within;
        of += predicted;
    }
    let share = f64::from(held) / f64::from(of);
    assert!(of > 8_000 && (0.72..0.88).contains(&share), "{share} of {of}");
}

/// Predicts each wait from what is known when its job is submitted; returns how many lay in the interval, of how many.
fn coverage(all: &[Job], begun: &[f64]) -> (u32, u32) {
    let (mut held, mut of) = (0, 0);
    for (number, job) in all.iter().enumerate().skip(500) {
        let before = all.iter().zip(begun).take(number).skip(number.saturating_sub(800));
        let waited =
            |job: &Job, seconds| Waited { submitted: job.submitted, seconds, cores: job.cores, asked: job.asked };
        let (mut started, mut waiting) = (Vec::new(), Vec::new());
        for (other, start) in before {
            if *start <= job.submitted {
                started.push(waited(other, start - other.submitted));
            } else {
                waiting.push(waited(other, job.submitted - other.submitted));
            }
        }
        let Some(found) = predict(&started, &waiting, job.submitted, job.cores, job.asked) else { continue };
        let wait = begun[number] - job.submitted;
        of += 1;
        held += u32::from((found.low..=found.high).contains(&wait));
    }
    (held, of)
}
