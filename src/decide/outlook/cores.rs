//! When the cores of a host are free, one by one: for hosts of few cores, where it matters which task ends first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::decide::outlook::parts::Bound;
use crate::model::id::JobKey;
use crate::model::units::Timestamp;

/// Most cores of a host that are told apart; of more, the mean tells as much.
const MOST: u32 = 128;
/// What part of its expected time a task is thought to run yet that took longer.
const LATE: f64 = 0.05;

/// What is bound to a host and not over.
#[derive(Clone, Debug, Default)]
pub(super) struct Cores {
    bound: BTreeMap<JobKey, Bound>,
    /// Cores and seconds of what would go there and has to wait for room, in this round.
    held: Vec<(u32, f64)>,
}

impl Cores {
    /// Returns whether the cores of a host of so many are told apart.
    pub(super) const fn tells(slots: u32) -> bool {
        slots <= MOST
    }

    pub(super) fn bind(&mut self, key: JobKey, bound: Bound) {
        self.bound.insert(key, bound);
    }

    pub(super) fn start(&mut self, key: JobKey, at: Timestamp) {
        if let Some(bound) = self.bound.get_mut(&key) {
            bound.started = Some(at);
        }
    }

    pub(super) fn end(&mut self, key: JobKey) {
        self.bound.remove(&key);
    }

    pub(super) fn begin(&mut self) {
        self.held.clear();
    }

    pub(super) fn hold(&mut self, cpus: u32, seconds: f64) {
        self.held.push((cpus, seconds));
    }

    /// Returns after how many seconds so many cores are free, of so many that there are: what runs ends as is expected, what
    /// waits takes the first that are free. They are there after so many seconds.
    pub(super) fn behind(&self, cpus: u32, slots: u32, (now, opens): (f64, f64)) -> f64 {
        let slots = slots.max(1);
        let taken: u32 = self.bound.values().map(|bound| bound.cpus).sum();
        if self.held.is_empty() && taken + cpus <= slots {
            return opens;
        }
        // Seconds from now, as bits: positive numbers stand in their order.
        let mut free: BinaryHeap<Reverse<u64>> = BinaryHeap::with_capacity(slots as usize);
        free.extend((0..slots).map(|_| Reverse(opens.to_bits())));
        let mut take = |cpus: u32, until: &dyn Fn(f64) -> f64| {
            let cores = cpus.clamp(1, slots);
            let mut from = 0.0;
            for _ in 0..cores {
                from = free.pop().map_or(from, |Reverse(bits)| f64::from_bits(bits));
            }
            free.extend((0..cores).map(|_| Reverse(until(from).to_bits())));
            from
        };
        let mut waiting: Vec<&Bound> = Vec::new();
        for bound in self.bound.values() {
            let Some(started) = bound.started else {
                waiting.push(bound);
                continue;
            };
            let left = bound.expected - (now - started.0 as f64 / 1e6);
            let left = left.max(bound.expected * LATE);
            take(bound.cpus, &|_| left);
        }
        waiting.sort_by_key(|bound| bound.since);
        for bound in waiting {
            take(bound.cpus, &|from| from + bound.expected);
        }
        for &(cpus, seconds) in &self.held {
            take(cpus, &|from| from + seconds);
        }
        take(cpus, &|from| from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{InstanceId, RunId};

    const NOW: f64 = 100.0;

    fn key(n: u32) -> JobKey {
        JobKey { run: RunId(1), instance: InstanceId(n), attempt: 1 }
    }

    fn bound(cpus: u32, expected: f64, started: Option<i64>) -> Bound {
        let started = started.map(|seconds| Timestamp(seconds * 1_000_000));
        Bound { cpus, queue: None, expected, slower: 1.0, since: Timestamp(0), started, placed: true }
    }

    /// Four cores, of which three are taken for 10, 40 and 70 seconds more.
    fn cores() -> Cores {
        let mut cores = Cores::default();
        for (n, expected) in [(1, 30.0), (2, 60.0), (3, 90.0)] {
            cores.bind(key(n), bound(1, expected, None));
            cores.start(key(n), Timestamp(80_000_000));
        }
        cores
    }

    fn assert_near(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-9, "{found} {wanted}");
    }

    #[test]
    fn cores_are_free_when_what_they_run_is_over() {
        let cores = cores();
        for (cpus, wanted) in [(1, 0.0), (2, 10.0), (3, 40.0), (4, 70.0), (9, 70.0)] {
            assert_near(cores.behind(cpus, 4, (NOW, 0.0)), wanted);
        }
    }

    #[test]
    fn who_waits_takes_the_first_that_are_free_and_who_is_late_ends_soon() {
        let mut cores = cores();
        cores.bind(key(4), bound(1, 20.0, Some(0)));
        assert_near(cores.behind(1, 4, (NOW, 0.0)), 20.0 * LATE);
        cores.bind(key(5), bound(2, 50.0, None));
        assert_near(cores.behind(1, 4, (NOW, 0.0)), 40.0);
        cores.hold(1, 5.0);
        assert_near(cores.behind(1, 4, (NOW, 0.0)), 45.0);
        cores.begin();
        cores.end(key(5));
        cores.end(key(4));
        assert_near(cores.behind(1, 4, (NOW, 0.0)), 0.0);
    }

    #[test]
    fn an_allocation_is_waited_for() {
        let empty = Cores::default();
        assert_near(empty.behind(2, 4, (NOW, 30.0)), 30.0);
        let mut taken = Cores::default();
        taken.bind(key(1), bound(4, 10.0, None));
        assert_near(taken.behind(1, 4, (NOW, 30.0)), 40.0);
    }
}
