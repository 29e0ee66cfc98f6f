//! How long a job waits by the time limit that it asks for: in steps, since short jobs fill gaps, and fit partitions that long ones
//! do not.

use crate::decide::learn::waits::apart;

/// What a job waits by its time limit, in seconds; nothing where nobody knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Steps(Vec<Step>);

#[derive(Clone, Copy, Debug, PartialEq)]
struct Step {
    /// The longest limit that waits so long.
    end: f64,
    /// How long.
    wait: f64,
}

impl Steps {
    /// Makes steps of limits, each with what jobs waited that asked for about as much.
    ///
    /// A longer limit starts no sooner: where it was seen to, that is chance, and both count for what they waited on average. Waits
    /// that are hardly apart are one step.
    pub fn of(mut waits: Vec<(f64, f64)>) -> Self {
        waits.retain(|(limit, wait)| *limit > 0.0 && wait.is_finite());
        waits.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let mut pools: Vec<(f64, f64, f64)> = Vec::with_capacity(waits.len());
        for (end, wait) in waits {
            let (mut sum, mut n) = (wait.max(0.0), 1.0);
            while let Some((_, before, of)) = pools.pop_if(|(_, before, of)| *before / *of > sum / n) {
                (sum, n) = (sum + before, n + of);
            }
            pools.push((end, sum, n));
        }
        let mut steps: Vec<Step> = Vec::with_capacity(pools.len());
        for (end, sum, n) in pools {
            let wait = sum / n;
            match steps.last_mut().filter(|last| !apart(last.wait, wait)) {
                Some(last) => last.end = end,
                None => steps.push(Step { end, wait }),
            }
        }
        Self(steps)
    }

    /// Returns whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns how long a job waits that asks for so much; of more than anybody asked for, as long as the longest.
    pub fn wait(&self, limit: f64) -> f64 {
        self.step(limit).map_or(0.0, |step| step.wait)
    }

    /// Returns what to ask for where `least` is needed and `more` would be safer: only so much that it starts as soon, where the wait
    /// that this saves is longer than the time that is given up.
    pub fn within(&self, least: f64, more: f64) -> f64 {
        let Some(step) = self.step(least).filter(|step| least <= step.end && step.end < more) else { return more };
        if self.wait(more) - step.wait > more - step.end { step.end } else { more }
    }

    /// Returns it in the seconds of a host that takes so many times as long.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        Self(self.0.iter().map(|step| Step { end: step.end * factor, wait: step.wait * factor }).collect())
    }

    fn step(&self, limit: f64) -> Option<&Step> {
        self.0.iter().find(|step| limit <= step.end).or(self.0.last())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: f64 = 3600.0;

    #[test]
    fn a_longer_limit_starts_no_sooner_and_what_is_hardly_apart_is_one_step() {
        let steps = Steps::of(vec![(8.0 * HOUR, 5000.0), (HOUR, 60.0), (2.0 * HOUR, 80.0), (4.0 * HOUR, 7000.0)]);
        let waits = [0.5, 1.0, 2.0, 2.1, 4.0, 8.0, 99.0].map(|hours| steps.wait(hours * HOUR) as u32);
        assert_eq!(waits, [60, 60, 60, 6000, 6000, 6000, 6000]);
        assert_eq!((Steps::default().wait(HOUR), Steps::of(vec![(HOUR, f64::NAN)]).is_empty()), (0.0, true));
        let slow = steps.scaled(2.0);
        assert_eq!((slow.wait(4.0 * HOUR), slow.wait(4.1 * HOUR)), (120.0, 12_000.0));
    }

    #[test]
    fn room_is_given_up_for_a_wait_that_is_longer() {
        let steps = Steps::of(vec![(HOUR, 60.0), (24.0 * HOUR, 6000.0)]);
        for (least, more, wanted) in [
            (3500.0, 3800.0, HOUR),
            (3000.0, 3300.0, 3300.0),
            (3700.0, 4000.0, 4000.0),
            // Three hours of room are worth more than an hour and a half in the queue.
            (3500.0, 4.0 * HOUR, 4.0 * HOUR),
            (25.0 * HOUR, 26.0 * HOUR, 26.0 * HOUR),
        ] {
            assert_eq!(steps.within(least, more) as u32, wanted as u32, "{least} {more}");
        }
        assert_eq!(Steps::default().within(1.0, 2.0) as u32, 2);
    }

    proptest::proptest! {
        #[test]
        fn waits_grow_with_the_limit_and_stay_among_those_seen(all in proptest::collection::vec((0.0..1e6f64, 0.0..1e6f64), 1..40)) {
            let steps = Steps::of(all.clone());
            let most = all.iter().fold(0.0_f64, |most, (_, wait)| most.max(*wait));
            let mut before = 0.0;
            for limit in 0..100 {
                let wait = steps.wait(f64::from(limit) * 1e4);
                proptest::prop_assert!(before <= wait && wait <= most + 1e-6, "{steps:?} at {limit}");
                before = wait;
            }
        }
    }
}
