//! How much memory a job's processes have: sampled from `/proc`.
//!
//! Resident memory counts what processes share once for each of them; a job of many processes that share a large table would
//! seem to need many times what it needs. So the largest of them is a lower bound, the sum an upper one, and where the two say
//! different things a closer look is due: at proportional memory, which takes the kernel a walk through all pages. That is done
//! for a small part of the time.

use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::reach::machine::processes;

/// How much longer than a close look takes there is none.
const REST: u32 = 50;
/// The same while it may be over its limit.
const REST_OVER: u32 = 5;

/// What is known of a job's memory.
#[derive(Debug, Default)]
pub(super) struct Memory {
    peak: Option<u64>,
    /// When the last close look was, and how long it took.
    close: Option<(Instant, Duration)>,
}

impl Memory {
    /// Returns the largest seen; none before the first look.
    pub(super) fn peak(&self) -> Option<u64> {
        self.peak
    }

    /// Takes what a control group says.
    pub(super) fn saw(&mut self, used: u64) {
        self.peak = Some(self.peak.unwrap_or(0).max(used));
    }

    /// Looks at the processes of a job, which may have so much.
    pub(super) fn look(&mut self, pids: &[Pid], limit: Option<u64>, now: Instant) {
        let (mut largest, mut sum) = (0, 0);
        for resident in pids.iter().filter_map(|pid| processes::resident(*pid)) {
            largest = resident.max(largest);
            sum += resident;
        }
        let peak = self.peak.unwrap_or(0).max(largest);
        self.peak = Some(peak);
        let is_over = limit.is_some_and(|limit| sum > limit && peak <= limit);
        let rest = if is_over { REST_OVER } else { REST };
        let rested = self.close.is_none_or(|(begin, cost)| begin + cost.saturating_mul(rest) <= now);
        if sum > peak && rested {
            let begin = Instant::now();
            let share = |pid: &Pid| processes::proportional(*pid).or_else(|| processes::resident(*pid));
            self.peak = Some(peak.max(pids.iter().filter_map(share).sum()));
            self.close = Some((begin, begin.elapsed()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_is_taken_as_it_is() {
        let own = rustix::process::getpid();
        let mut memory = Memory::default();
        assert_eq!(memory.peak(), None);
        memory.look(&[own], None, Instant::now());
        let peak = memory.peak().unwrap();
        assert!(peak > 1 << 20, "{peak}");
        memory.look(&[], None, Instant::now());
        assert_eq!(memory.peak(), Some(peak), "a peak stays");
    }

    #[test]
    fn the_largest_is_the_least_and_a_close_look_decides() {
        let own = rustix::process::getpid();
        let mut memory = Memory::default();
        let begin = Instant::now();
        memory.look(&[own, own], None, begin);
        let (_, cost) = memory.close.expect("one look cannot tell");
        let peak = memory.peak().unwrap();
        assert!(peak > 1 << 20, "{peak}");
        // No other for a while.
        memory.close = Some((begin, cost));
        memory.look(&[own, own, own], None, begin + cost);
        assert_eq!(memory.close, Some((begin, cost)));
        memory.look(&[own, own, own], None, begin + cost * REST + Duration::from_secs(1));
        assert_ne!(memory.close, Some((begin, cost)));
    }
}
