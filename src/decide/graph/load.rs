//! What others do on a host: cores that nobody used, processes that ran, as a probe saw it. It says something of the next job's wait
//! for a while, and less and less.

use serde::Serialize;

use crate::decide::graph::estimate::{Estimate, Source};
use crate::model::batch::Partition;
use crate::model::units::Timestamp;

/// Seconds after which it says nothing any more: jobs of clusters run for a quarter of an hour in the middle (NREL's Eagle, 11
/// million jobs), so that most of what was seen is over by then.
const HOLDS: f64 = 1800.0;
/// How much it counts at first beside what jobs waited there: as what a batch system says itself of a start.
const BELIEVED: f64 = 1.0 / 3.0;
/// Seconds that a job waits where enough cores are free, and where they are not: seconds to minutes, and as long as others take.
const FREE: [f64; 3] = [1.0, 15.0, 300.0];
const FULL: [f64; 3] = [60.0, 1200.0, 14_400.0];
/// Where nobody knows: as for a queue of which nothing is known.
const UNKNOWN: [f64; 3] = [5.0, 120.0, 3600.0];

/// How busy a host was.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Load {
    /// Cores of the partition that nobody used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_cores: Option<u32>,
    /// Processes that ran or wanted to, in the mean of five minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<f64>,
    /// Seconds ago.
    pub age_s: f64,
}

impl Load {
    /// Returns how busy a partition was, or a machine without any, on which so many processes ran at this time, `now` in seconds; none
    /// where nobody looked, or too long ago.
    pub fn of(at: Option<Timestamp>, running: Option<f64>, partition: Option<&Partition>, now: f64) -> Option<Self> {
        let age_s = now - at?.0 as f64 / 1e6;
        let idle_cores = partition.and_then(|partition| partition.idle);
        let running = running.filter(|_| partition.is_none());
        let tells = idle_cores.is_some() || running.is_some();
        ((0.0..HOLDS).contains(&age_s) && tells).then_some(Self { idle_cores, running, age_s })
    }

    /// Returns the load of a partition of which nobody used so many cores so many seconds ago; none where that is too long ago.
    pub fn idle(cores: u32, age_s: f64) -> Option<Self> {
        (0.0..HOLDS).contains(&age_s).then_some(Self { idle_cores: Some(cores), running: None, age_s })
    }

    /// Returns how much of what it said still holds, 1 to 0.
    fn fresh(&self) -> f64 {
        (1.0 - self.age_s / HOLDS).clamp(0.0, 1.0)
    }

    /// Estimates how long a job of so many cores waits, beside what is known otherwise; none where it says nothing of that.
    pub fn wait(&self, cores: u32, known: Option<Estimate>) -> Option<Estimate> {
        let seen = if self.idle_cores? >= cores { FREE } else { FULL };
        let fresh = self.fresh();
        let between = |unknown: f64, seen: f64| unknown * (seen / unknown).powf(fresh);
        let [low, middle, high] = [0, 1, 2].map(|at| {
            let end = |of: [f64; 3]| of.get(at).copied().unwrap_or_default();
            between(end(UNKNOWN), end(seen))
        });
        let Some(known) = known else {
            // What was seen is the load; what it means for a wait nobody measured.
            return Some(Estimate { low, middle, high, source: Source::Guessed });
        };
        let mixed = |known: f64, seen: f64| known + (seen - known) * BELIEVED * fresh;
        let (low, high) = (mixed(known.low, low), mixed(known.high, high));
        let middle = mixed(known.middle, middle).clamp(low, high);
        Some(Estimate { low, middle, high, source: known.source })
    }

    /// Returns how many times longer a command of so many cores takes on a machine that others use too; 1 where it says nothing.
    pub fn stretch(&self, cores: u32, all: Option<u32>) -> f64 {
        let Some((running, all)) = self.running.zip(all.filter(|all| *all > 0)) else { return 1.0 };
        let crowded = ((running + f64::from(cores)) / f64::from(all.max(cores))).max(1.0);
        1.0 + (crowded - 1.0) * self.fresh()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Option<Timestamp> = Some(Timestamp(1_000_000_000));

    fn partition(idle: Option<u32>) -> Partition {
        Partition { idle, ..Partition::default() }
    }

    #[test]
    fn free_cores_shorten_a_wait_and_a_full_partition_lengthens_it_for_a_while() {
        let partition = partition(Some(8));
        let at = |seconds: f64| Load::of(AT, Some(3.0), Some(&partition), 1000.0 + seconds);
        let now = at(0.0).unwrap();
        assert_eq!(
            (now.idle_cores, now.running, now.age_s),
            (Some(8), None, 0.0),
            "a login node's load is not the partition's"
        );
        let wait = |cores, after: f64| at(after).unwrap().wait(cores, None).unwrap();
        assert_eq!((wait(8, 0.0).middle, wait(9, 0.0).middle), (15.0, 1200.0));
        assert_eq!(wait(8, 0.0).source, Source::Guessed);
        assert!(wait(8, 0.0).middle < wait(8, 600.0).middle && wait(8, 600.0).middle < wait(8, 1799.0).middle);
        assert!((wait(8, 1799.0).middle - 120.0).abs() < 1.0 && (wait(9, 1799.0).high - 3600.0).abs() < 10.0);
        assert_eq!((at(1800.0), at(-1.0)), (None, None), "over, or of a clock that was set");
        let known = Estimate { low: 10.0, middle: 60.0, high: 90.0, source: Source::Learned(12) };
        let mixed = |cores| now.wait(cores, Some(known)).unwrap();
        assert!((mixed(1).middle - 45.0).abs() < 1e-9 && mixed(1).source == Source::Learned(12), "{:?}", mixed(1));
        assert!(mixed(9).middle > 400.0 && mixed(9).low <= mixed(9).middle && mixed(9).middle <= mixed(9).high);
        assert!((at(1799.0).unwrap().wait(9, Some(known)).unwrap().middle - 60.0).abs() < 1.0);
    }

    #[test]
    fn a_machine_that_others_use_takes_longer() {
        let load = |after: f64| Load::of(AT, Some(6.0), None, 1000.0 + after);
        let now = load(0.0).unwrap();
        assert_eq!((now.stretch(2, Some(8)), now.stretch(4, Some(8)), now.stretch(2, Some(4))), (1.0, 1.25, 2.0));
        assert_eq!((now.stretch(2, None), now.stretch(2, Some(0)), now.wait(2, None)), (1.0, 1.0, None));
        assert!((load(900.0).unwrap().stretch(2, Some(4)) - 1.5).abs() < 1e-9);
        assert_eq!(load(5000.0), None);
        let bare = partition(None);
        assert_eq!((Load::of(AT, None, Some(&bare), 1000.0), Load::of(AT, None, None, 1000.0)), (None, None));
        assert_eq!((Load::of(None, None, None, 0.0), Load::of(None, Some(1.0), None, 0.0)), (None, None));
    }
}
