//! Placement while the workflow runs: a task is bound to a host when there is room for it, by what is known then.
//!
//! Binding late is what mistaken run times and hosts slower than thought ask for: with run times known only as means of their
//! kind, a plan made once takes 1.83 times the bound when hosts' speeds are unknown too, binding in the order of the rank 1.54
//! (measured over 17 `WfInstances`).

use std::collections::BinaryHeap;

use crate::decide::place::plan::Ready;
use crate::decide::place::problem::{Problem, Wait};
use crate::decide::place::rank::upward;
use crate::decide::place::timetable::Timetable;

/// Tasks looked at in one decision at most, so that a decision stays cheap however many are ready.
const LOOKED_AT: usize = 64;

/// Tasks bound to a host at least where each waits in a queue, as a multiple of what it runs at once: the next ones wait while
/// these run. Where tasks are shorter than the wait, more must wait so that its cores stay busy. Elsewhere nothing is bound
/// ahead, which was better in every variant measured.
const AHEAD: f64 = 2.0;
/// The most bound ahead, likewise: what is bound cannot go elsewhere any more.
const FAR_AHEAD: f64 = 16.0;

/// How many mean tasks a host's speed must have been seen over before that outweighs what was thought of it. Anything from 1 to
/// 10 does about as well.
const PRIOR: f64 = 3.0;

/// A task that was bound to a host and is not over.
#[derive(Clone, Copy, Debug)]
struct Bound {
    task: usize,
    site: u16,
    /// When it starts, as far as the world says: in the future, or since then.
    start: f64,
}

/// What was seen of a host's speed.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Seconds at speed one that were expected of what ran there.
    expected: f64,
    /// Seconds that it took.
    took: f64,
}

/// Binds tasks to hosts as room comes up.
#[derive(Clone, Debug)]
pub struct Dispatcher<'a> {
    problem: &'a Problem,
    seconds: Vec<f64>,
    thought: Vec<f64>,
    mean: f64,
    seen: Vec<Seen>,
    ranks: Vec<f64>,
    ready: BinaryHeap<Ready>,
    waits: Vec<u32>,
    bound: Vec<Bound>,
    cores: Vec<u32>,
}

impl<'a> Dispatcher<'a> {
    /// Begins with what is believed: seconds of each task on a host of speed one, and the speed of each host.
    pub fn new(problem: &'a Problem, seconds: Vec<f64>, speeds: Vec<f64>) -> Self {
        let ranks = upward(problem, &seconds, &speeds, 1.0);
        let waits: Vec<u32> = problem.tasks.iter().map(|task| task.after.len() as u32).collect();
        let mut ready = BinaryHeap::new();
        for task in (0..problem.tasks.len()).filter(|&task| problem.task(task).after.is_empty()) {
            ready.push(Ready { rank: ranks.get(task).copied().unwrap_or_default(), task });
        }
        let mean = seconds.iter().sum::<f64>() / seconds.len().max(1) as f64;
        let sites = problem.network.sites.len();
        Self {
            problem,
            seconds,
            thought: speeds,
            mean,
            seen: vec![Seen::default(); sites],
            ranks,
            ready,
            waits,
            bound: Vec::new(),
            cores: vec![0; sites],
        }
    }

    /// Takes in that a task is over, which ran for that many seconds. What waited for it may be ready.
    pub fn over(&mut self, task: usize, ran: f64) {
        let Some(at) = self.bound.iter().position(|bound| bound.task == task) else { return };
        let bound = self.bound.swap_remove(at);
        let site = usize::from(bound.site);
        if let Some(cores) = self.cores.get_mut(site) {
            *cores = cores.saturating_sub(self.problem.task(task).room.cores);
        }
        if let (Some(seen), Some(&expected)) = (self.seen.get_mut(site), self.seconds.get(task)) {
            seen.expected += expected;
            seen.took += ran;
        }
        for (child, _) in self.problem.children(task) {
            let Some(waits) = self.waits.get_mut(child) else { continue };
            *waits -= 1;
            if *waits == 0 {
                self.ready.push(Ready { rank: self.ranks.get(child).copied().unwrap_or_default(), task: child });
            }
        }
    }

    /// Returns how fast each host seems to be: what was thought, corrected by what ran there, and by what has been running for
    /// longer than it should.
    pub fn speeds(&self, now: f64) -> Vec<f64> {
        let mut seen = self.seen.clone();
        for bound in self.bound.iter().filter(|bound| bound.start <= now) {
            let site = usize::from(bound.site);
            let (Some(seen), Some(&expected)) = (seen.get_mut(site), self.seconds.get(bound.task)) else { continue };
            let took = now - bound.start;
            if took * self.thought.get(site).copied().unwrap_or(1.0) > expected {
                seen.expected += expected;
                seen.took += took;
            }
        }
        let prior = PRIOR * self.mean;
        let speed =
            |(seen, thought): (&Seen, &f64)| thought * (seen.expected + prior) / seen.took.mul_add(*thought, prior);
        seen.iter().zip(&self.thought).map(speed).collect()
    }

    /// Binds what should be bound now, in `world`, which knows where files are and when links are free.
    ///
    /// A task goes where it is believed to be over first. Where that host has as much as it may have ahead, the task waits for
    /// it rather than going to a worse one; others may still find room.
    pub fn decide(&mut self, now: f64, world: &mut Timetable<'_>) -> Vec<(usize, u16)> {
        world.set_now(now);
        let speeds = self.speeds(now);
        let mut free = self.believed(now, &speeds);
        let mut held = Vec::new();
        let mut done = Vec::new();
        for _ in 0..LOOKED_AT {
            let Some(next) = self.ready.pop() else { break };
            let Some((site, end)) = self.best(next.task, world, &speeds, &free) else {
                held.push(next);
                continue;
            };
            let need = self.problem.task(next.task).room.cores;
            if let Some(free) = free.get_mut(usize::from(site)) {
                take(free, need, end);
            }
            if !self.has_room(site, need) {
                held.push(next);
                if (0_u16..).zip(&self.problem.network.sites).all(|(site, _)| !self.has_room(site, 1)) {
                    break;
                }
                continue;
            }
            let booking = world.commit(next.task, site);
            if let Some(cores) = self.cores.get_mut(usize::from(site)) {
                *cores += need;
            }
            self.bound.push(Bound { task: next.task, site, start: booking.start });
            done.push((next.task, site));
        }
        self.ready.extend(held);
        done
    }

    fn best(&self, task: usize, world: &mut Timetable<'_>, speeds: &[f64], free: &[Vec<f64>]) -> Option<(u16, f64)> {
        let need = self.problem.task(task).room.cores.max(1) as usize;
        let seconds = self.seconds.get(task).copied().unwrap_or_default();
        let ends = self.problem.allowed(task).iter().filter_map(|&site| {
            let room = free.get(usize::from(site))?.get(need - 1)?;
            let ready = world.staged(task, site) + world.wait(task, site);
            Some((site, ready.max(*room) + seconds / speeds.get(usize::from(site))?))
        });
        ends.min_by(|a, b| a.1.total_cmp(&b.1))
    }

    fn has_room(&self, site: u16, need: u32) -> bool {
        let site = usize::from(site);
        let Some(of) = self.problem.network.sites.get(site) else { return false };
        let ahead = match of.wait {
            Wait::Each(wait) => (1.0 + wait * of.speed / self.mean.max(1.0)).clamp(AHEAD, FAR_AHEAD),
            Wait::None | Wait::Once(_) => 1.0,
        };
        self.cores.get(site).is_some_and(|&bound| f64::from(bound + need) <= f64::from(of.room.cores) * ahead)
    }

    /// Returns, for each host, when its cores are believed to be free, the first first.
    fn believed(&self, now: f64, speeds: &[f64]) -> Vec<Vec<f64>> {
        let sites = self.problem.network.sites.iter();
        let mut free: Vec<Vec<f64>> = sites
            .map(|site| {
                let opens = if let Wait::Once(opens) = site.wait { opens } else { 0.0 };
                vec![opens.max(now); site.room.cores as usize]
            })
            .collect();
        let mut bound: Vec<&Bound> = self.bound.iter().collect();
        bound.sort_by(|a, b| a.start.total_cmp(&b.start).then(a.task.cmp(&b.task)));
        for bound in bound {
            let site = usize::from(bound.site);
            let (Some(free), Some(speed)) = (free.get_mut(site), speeds.get(site)) else { continue };
            let need = self.problem.task(bound.task).room.cores;
            let duration = self.seconds.get(bound.task).copied().unwrap_or_default() / speed;
            let first = free.get((need.max(1) - 1) as usize).copied().unwrap_or(now);
            let end = if bound.start <= now { (bound.start + duration).max(now) } else { first + duration };
            take(free, need, end);
        }
        free
    }
}

/// Has the cores that are free first busy until `end`.
fn take(free: &mut [f64], cores: u32, end: f64) {
    let cores = (cores as usize).min(free.len());
    for core in free.iter_mut().take(cores) {
        *core = core.max(end);
    }
    free.sort_by(f64::total_cmp);
}
