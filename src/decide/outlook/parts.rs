//! The partitions of a host as a plan tells them apart: how large each is, how busy it was, and what of ours is bound there.

use crate::model::batch::{Partition, PartitionState};
use crate::model::units::Timestamp;

/// Seconds after which nobody knows any more which nodes were out of service: most are repaired within a day.
const REPAIRED: f64 = 86_400.0;

/// A partition that takes jobs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Cores that may run there at once; none where nobody knows.
    pub slots: Option<u32>,
    /// Most jobs of ours that may be there without waiting for each other; none where it does not say.
    pub jobs: Option<u32>,
    /// Whether its nodes have GPUs.
    pub has_gpus: bool,
    /// Cores that nobody used, and when that was seen, in seconds.
    pub idle: Option<(u32, f64)>,
    /// Others of these partitions that have nodes of this one, by their places, and what part of their nodes those are.
    pub shared: Vec<(usize, f64)>,
}

impl Part {
    /// Takes what is known of partitions that take and start jobs; `at` is when somebody looked, and it is `now`, in seconds.
    pub fn of(all: &[Partition], at: Option<f64>, now: f64) -> Vec<Self> {
        let is_up = |it: &&Partition| it.state == PartitionState::Up && !it.is_routed_only;
        let up: Vec<&Partition> = all.iter().filter(is_up).collect();
        let shared = |it: &Partition| {
            let of = |(at, other): (usize, &&Partition)| {
                let nodes = other.shares.get(&it.name).filter(|_| other.nodes > 0)?;
                Some((at, (f64::from(*nodes) / f64::from(other.nodes)).min(1.0)))
            };
            up.iter().enumerate().filter_map(of).collect()
        };
        let is_fresh = is_fresh(at, now);
        let part = |it: &&Partition| Self {
            name: it.name.clone(),
            slots: slots(it, is_fresh),
            jobs: it.running_max.into_iter().chain(it.jobs_max).min(),
            has_gpus: !it.gpus.is_empty(),
            idle: it.idle.zip(at),
            shared: shared(it),
        };
        up.iter().map(part).collect()
    }
}

/// Returns whether nodes that somebody saw out of service at that time are thought to be so still.
pub(super) fn is_fresh(at: Option<f64>, now: f64) -> bool {
    at.is_some_and(|at| (0.0..REPAIRED).contains(&(now - at)))
}

/// Returns how many cores of a partition run jobs at once, of the nodes in service if that is still known; none where nobody knows.
/// A job that needs more nodes than those waits for them.
pub(super) fn slots(partition: &Partition, is_fresh: bool) -> Option<u32> {
    let serving = partition.in_service.filter(|_| is_fresh);
    Some(serving.unwrap_or_else(|| partition.nodes.max(1)).saturating_mul(partition.cores_per_node?))
}

/// A queue of a host, by its number there; none where the host is one.
pub type QueueId = Option<u16>;

/// A task that was bound to a host and is not over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// Cores.
    pub cpus: u32,
    /// The queue.
    pub queue: QueueId,
    /// Seconds that it was expected to run.
    pub expected: f64,
    /// How many times longer than was known of it, since what ran there before had taken longer.
    pub slower: f64,
    /// When it was bound.
    pub since: Timestamp,
    /// When it started.
    pub started: Option<Timestamp>,
    /// Whether csync chose the host, and not only the queue there.
    pub placed: bool,
}

/// What is bound somewhere and not over.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Pool {
    /// How many jobs.
    pub(super) jobs: u32,
    /// Their cores.
    pub(super) cores: u32,
    /// Those of them whose host csync chose: the others go there whether there is room or not.
    pub(super) placed: u32,
    /// Core-seconds that they were expected to take.
    work: f64,
    /// Cores of those that have started, and the sum of their starts, each times its cores.
    running: (f64, f64),
    /// Cores of those that have not.
    pub(super) waiting: u32,
    /// Cores of those that have since somebody looked how busy it is.
    pub(super) begun: u32,
    /// Core-seconds of what would go there and has to wait for room, in this round.
    pub(super) held: f64,
    /// Whether what was placed there last left no room for another like it.
    pub(super) full: bool,
}

impl Pool {
    pub(super) fn bind(&mut self, bound: &Bound) {
        let cpus = bound.cpus;
        self.jobs += 1;
        self.cores += cpus;
        self.placed += if bound.placed { cpus } else { 0 };
        self.waiting += cpus;
        self.work += bound.expected * f64::from(cpus);
    }

    pub(super) fn start(&mut self, cpus: u32, at: f64) {
        self.waiting = self.waiting.saturating_sub(cpus);
        self.begun += cpus;
        self.running.0 += f64::from(cpus);
        self.running.1 += at * f64::from(cpus);
    }

    pub(super) fn end(&mut self, bound: &Bound, started: Option<f64>) {
        let cpus = bound.cpus;
        self.jobs = self.jobs.saturating_sub(1);
        self.cores = self.cores.saturating_sub(cpus);
        self.placed = self.placed.saturating_sub(if bound.placed { cpus } else { 0 });
        self.work = (self.work - bound.expected * f64::from(cpus)).max(0.0);
        let Some(at) = started else {
            self.waiting = self.waiting.saturating_sub(cpus);
            return;
        };
        self.running.0 = (self.running.0 - f64::from(cpus)).max(0.0);
        self.running.1 -= at * f64::from(cpus);
        // Its cores are free again.
        self.begun = self.begun.saturating_sub(cpus);
    }

    /// Returns this with what of another takes part of the same nodes: jobs are thought to be spread over theirs evenly.
    pub(super) fn with(self, other: &Self, part: f64) -> Self {
        let of = |cores: u32| (f64::from(cores) * part).ceil() as u32;
        Self {
            jobs: self.jobs,
            cores: self.cores.saturating_add(of(other.cores)),
            placed: self.placed.saturating_add(of(other.placed)),
            work: other.work.mul_add(part, self.work),
            running: (other.running.0.mul_add(part, self.running.0), other.running.1.mul_add(part, self.running.1)),
            waiting: self.waiting.saturating_add(of(other.waiting)),
            begun: self.begun.saturating_add(of(other.begun)),
            held: other.held.mul_add(part, self.held),
            full: self.full,
        }
    }

    /// Returns whether so many cores fit beside what is placed, where so many may be placed: once it was full, only when so many
    /// together are free again.
    pub(super) fn has_room(&self, cpus: u32, most: u32, together: u32) -> bool {
        let needed = if self.full { cpus.max(together) } else { cpus };
        self.placed.saturating_add(needed) <= most
    }

    /// Returns the core-seconds that are left of it.
    fn left(&self, now: f64) -> f64 {
        let done = self.running.0.mul_add(now, -self.running.1);
        // What takes longer than expected is thought to end soon, and never to be over.
        (self.work - done).max(self.work * 0.05)
    }

    /// Returns after how many seconds it leaves room for so many cores, of so many that run at once.
    pub(super) fn behind(&self, cpus: u32, slots: u32, now: f64) -> f64 {
        let slots = slots.max(1);
        let is_full = self.cores + cpus > slots;
        if is_full || self.held > 0.0 { (self.left(now) + self.held) / f64::from(slots) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_out_of_service_are_no_room_until_they_may_be_repaired() {
        let debug = Partition {
            name: "debug".to_owned(),
            nodes: 4,
            in_service: Some(3),
            cores_per_node: Some(16),
            ..Partition::default()
        };
        let away = Partition { in_service: Some(0), ..debug.clone() };
        let silent = Partition { in_service: None, ..debug.clone() };
        let shut = Partition { state: PartitionState::Closed, ..debug.clone() };
        let all = [debug, away, silent, shut];
        let slots = |at, now| Part::of(&all, at, now).iter().map(|part| part.slots.unwrap()).collect::<Vec<_>>();
        assert_eq!(slots(Some(1000.0), 1060.0), [48, 0, 64]);
        assert_eq!(slots(Some(1000.0), 1000.0 + REPAIRED), [64, 64, 64]);
        assert_eq!((slots(Some(1000.0), 990.0), slots(None, 990.0)), (vec![64, 64, 64], vec![64, 64, 64]));
    }
}
