//! Plans of whole workflows.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::decide::place::problem::Problem;
use crate::decide::place::rank::{by_rank, upward};
use crate::decide::place::timetable::{Booking, Timetable};

pub use crate::model::choice::Policy;

/// How much is tried to find a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Schedules to make at most; one at least.
    pub schedules: u32,
    /// What the search's chances depend on.
    pub seed: u64,
}

impl Effort {
    /// One schedule: for what is decided anew often.
    pub const QUICK: Self = Self { schedules: 1, seed: 0 };

    /// The best of a few, as far as that costs a few milliseconds at most (measured at 1 us a task and host).
    pub fn fair(tasks: usize, sites: usize) -> Self {
        let one = tasks.saturating_mul(sites).max(1);
        Self { schedules: u32::try_from(30_000 / one).unwrap_or(u32::MAX).clamp(1, 64), seed: 0 }
    }
}

/// Where and when everything runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Of each task.
    pub bookings: Vec<Booking>,
    /// Seconds until all is done.
    pub end: f64,
    /// A time that no plan can beat; see [`Problem::lower_bound`].
    pub bound: f64,
    /// Bytes moved between hosts.
    pub moved: f64,
}

/// How much the transfers count in the ranks of the schedules that are tried first.
const WEIGHTS: [f64; 5] = [1.0, 0.0, 3.0, 0.3, 10.0];

/// Plans a workflow.
pub fn plan(problem: &Problem, policy: Policy, effort: Effort) -> Plan {
    let seconds: Vec<f64> = problem.tasks.iter().map(|task| task.seconds).collect();
    let speeds: Vec<f64> = problem.network.sites.iter().map(|site| site.speed).collect();
    let bound = problem.lower_bound();
    let ranks = upward(problem, &seconds, &speeds, WEIGHTS[0]);
    let mut best = schedule(problem, &seconds, &by_rank(problem, &ranks), policy);
    if problem.tasks.iter().all(|task| task.policy.unwrap_or(policy) == Policy::Fastest) {
        let mut tried = 1;
        let mut best_ranks = ranks;
        for weight in WEIGHTS.into_iter().skip(1) {
            if tried >= effort.schedules || is_best(best.end(), bound) {
                break;
            }
            tried += 1;
            let ranks = upward(problem, &seconds, &speeds, weight);
            let next = schedule(problem, &seconds, &by_rank(problem, &ranks), policy);
            if next.end() < best.end() {
                best = next;
                best_ranks = ranks;
            }
        }
        let mut search =
            Search { problem, seconds: &seconds, random: effort.seed, ranks: best_ranks, forced: Vec::new() };
        search.forced.resize(problem.tasks.len(), None);
        while tried < effort.schedules && !is_best(best.end(), bound) {
            tried += 1;
            search.step(&mut best);
        }
    }
    let bookings = (0..problem.tasks.len()).filter_map(|task| best.booking(task)).collect();
    Plan { bookings, end: best.end(), bound, moved: best.moved() }
}

fn is_best(end: f64, bound: f64) -> bool {
    end <= bound * 1.0005
}

fn schedule<'a>(problem: &'a Problem, seconds: &'a [f64], order: &[u32], policy: Policy) -> Timetable<'a> {
    let mut timetable = Timetable::new(problem, seconds);
    let mut given = vec![0.0; problem.network.sites.len()];
    for &task in order {
        let site = choose(problem, &mut timetable, task as usize, policy, &given);
        if let Some(given) = given.get_mut(usize::from(site)) {
            *given += timetable.duration(task as usize, site) * f64::from(problem.task(task as usize).room.cores);
        }
        timetable.commit(task as usize, site);
    }
    timetable
}

/// Returns the host on which a task is best off: by what the policy counts, then where it is over first.
fn choose(problem: &Problem, timetable: &mut Timetable<'_>, task: usize, policy: Policy, given: &[f64]) -> u16 {
    let allowed = problem.allowed(task);
    if let &[only] = allowed {
        return only;
    }
    let all = allowed.iter().map(|&site| {
        let counts = match problem.task(task).policy.unwrap_or(policy) {
            Policy::Fastest => 0.0,
            Policy::Locality => timetable.missing(task, site),
            Policy::Cheapest => cost(problem, task, site, timetable.duration(task, site)),
            Policy::Spread => {
                let cores = problem.network.sites.get(usize::from(site)).map_or(1, |site| site.room.cores.max(1));
                given.get(usize::from(site)).copied().unwrap_or_default() / f64::from(cores)
            }
        };
        (counts, timetable.trial(task, site).end, site)
    });
    let best = all.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    best.map_or(0, |(_, _, site)| site)
}

fn cost(problem: &Problem, task: usize, site: u16, duration: f64) -> f64 {
    let known = problem.network.sites.iter().any(|site| site.rate > 0.0);
    let rate = problem.network.sites.get(usize::from(site)).map_or(0.0, |site| site.rate);
    duration * f64::from(problem.task(task).room.cores) * if known { rate } else { 1.0 }
}

/// Local search: ranks shaken, and some tasks forced to other hosts; what is better is kept.
struct Search<'a> {
    problem: &'a Problem,
    seconds: &'a [f64],
    random: u64,
    ranks: Vec<f64>,
    forced: Vec<Option<u16>>,
}

impl<'a> Search<'a> {
    fn step(&mut self, best: &mut Timetable<'a>) {
        let mut ranks = None;
        let mut forced = None;
        if self.draw() < 0.5 {
            let spread = [0.02, 0.1, 0.3][self.below(3)];
            let mut shaken = self.ranks.clone();
            for rank in &mut shaken {
                *rank *= 1.0 + spread * self.normal();
            }
            ranks = Some(shaken);
        } else {
            let tasks = self.problem.tasks.len();
            let count = [1, 2, (tasks / 30).max(1)][self.below(3)];
            let mut changed = self.forced.clone();
            for _ in 0..count {
                let task = self.below(tasks);
                let drop = self.draw() < 0.3;
                let allowed = self.problem.allowed(task);
                let site = allowed.get(self.below(allowed.len())).copied();
                if let Some(slot) = changed.get_mut(task) {
                    *slot = if drop && slot.is_some() { None } else { site };
                }
            }
            forced = Some(changed);
        }
        let next = self.run(ranks.as_deref().unwrap_or(&self.ranks), forced.as_deref().unwrap_or(&self.forced));
        if next.end() < best.end() - 1e-9 {
            *best = next;
            self.ranks = ranks.unwrap_or_else(|| std::mem::take(&mut self.ranks));
            self.forced = forced.unwrap_or_else(|| std::mem::take(&mut self.forced));
        }
    }

    /// Makes a schedule. Shaken ranks may put a task before what it waits for, so what is ready is taken by rank.
    fn run(&self, ranks: &[f64], forced: &[Option<u16>]) -> Timetable<'a> {
        let problem = self.problem;
        let mut waits: Vec<u32> = problem.tasks.iter().map(|task| task.after.len() as u32).collect();
        let mut ready = BinaryHeap::new();
        let entry = |task: usize| Ready { rank: ranks.get(task).copied().unwrap_or_default(), task };
        ready.extend((0..problem.tasks.len()).filter(|&task| problem.task(task).after.is_empty()).map(entry));
        let mut timetable = Timetable::new(problem, self.seconds);
        while let Some(Ready { task, .. }) = ready.pop() {
            let site = forced.get(task).copied().flatten();
            let site = site.unwrap_or_else(|| choose(problem, &mut timetable, task, Policy::Fastest, &[]));
            timetable.commit(task, site);
            for (child, _) in problem.children(task) {
                let Some(waits) = waits.get_mut(child) else { continue };
                *waits -= 1;
                if *waits == 0 {
                    ready.push(entry(child));
                }
            }
        }
        timetable
    }

    /// Returns the next number of splitmix64 (Steele, Lea and Flood 2014).
    const fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number from zero to below one.
    fn draw(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// Returns a number of the normal distribution (Box and Muller 1958).
    fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.draw(), self.draw());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}

/// A task that may be placed; the highest rank first, then the lowest number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ready {
    pub(super) rank: f64,
    pub(super) task: usize,
}

impl Eq for Ready {}

impl Ord for Ready {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank.total_cmp(&other.rank).then(other.task.cmp(&self.task))
    }
}

impl PartialOrd for Ready {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
