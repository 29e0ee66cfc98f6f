//! How much memory a job's processes have: sampled from `/proc`.
//!
//! Resident memory counts what processes share once for each of them; a job of many processes that share a large table would
//! seem to need many times what it needs. So the sum of it only says when a closer look is due: that is proportional memory,
//! which takes the kernel a walk through all pages, and is done for at most one fiftieth of the time.

use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::reach::machine::processes;

/// How much longer than a close look takes there is none.
const REST: u32 = 50;

/// What is known of a job's memory.
#[derive(Debug, Default)]
pub(super) struct Memory {
    peak: Option<u64>,
    /// When the next close look may be.
    close: Option<Instant>,
}

impl Memory {
    /// Returns the largest seen; none before the first look.
    pub(super) fn peak(&self) -> Option<u64> {
        self.peak
    }

    /// Looks at the processes of a job.
    pub(super) fn look(&mut self, pids: &[Pid], now: Instant) {
        let residents = || pids.iter().filter_map(|pid| processes::resident(*pid));
        let sum: u64 = residents().sum();
        let peak = self.peak.unwrap_or(0);
        if sum <= peak {
            return;
        }
        let used = if residents().nth(1).is_none() {
            sum
        } else if self.close.is_none_or(|at| at <= now) {
            let begin = Instant::now();
            let share = |pid: &Pid| processes::proportional(*pid).or_else(|| processes::resident(*pid));
            let used = pids.iter().filter_map(share).sum();
            self.close = Some(now + begin.elapsed().saturating_mul(REST).max(Duration::from_millis(1)));
            used
        } else {
            peak
        };
        self.peak = Some(peak.max(used));
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
        memory.look(&[own], Instant::now());
        let peak = memory.peak().unwrap();
        assert!(peak > 1 << 20, "{peak}");
        memory.look(&[], Instant::now());
        assert_eq!(memory.peak(), Some(peak), "a peak stays");
    }

    #[test]
    fn shared_pages_count_once() {
        let own = rustix::process::getpid();
        let mut once = Memory::default();
        once.look(&[own], Instant::now());
        // As if there were two of it: proportional memory of the same pages, twice; never more than resident memory.
        let mut twice = Memory::default();
        twice.look(&[own, own], Instant::now());
        assert!(twice.peak().unwrap() <= 2 * once.peak().unwrap() + (64 << 20), "{twice:?} {once:?}");
        assert!(twice.close.is_some());
    }
}
