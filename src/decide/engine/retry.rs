//! Whether a failed attempt is followed by another, and when.

use std::time::Duration;

use crate::model::id::JobKey;
use crate::model::job::{Ended, Outcome};
use crate::model::task::{Retry, RetryOn};

/// Attempts in a row that may die running with their node or worker before their instance is given up.
///
/// Such an end is not the task's fault and costs none of its `retries`, but a task that takes the worker down with it must
/// not do so for ever. An attempt that only waited its turn counts for nothing.
pub(super) const MAX_NODE_FAILS: u32 = 5;

/// Attempts more, beyond a task's `retries`, where what csync asked for by itself was too little.
pub(super) const MAX_OWN: u32 = 4;

/// What the earlier attempts of an instance, since its last reset, count for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Retries used.
    pub(super) retries: u32,
    /// Attempts in a row that died with their node.
    pub(super) node_fails: u32,
    /// Attempts that csync had given too little of what was left to it.
    pub(super) own: u32,
}

impl Tally {
    /// Counts an attempt that ended and is followed by another; `ran` when it had started.
    pub(super) fn count(&mut self, outcome: &Outcome, ran: bool, own: Fault) {
        if *outcome == Outcome::Cancelled {
            // Called back from a queue: it has not been tried.
        } else if *outcome == Outcome::NodeFail {
            self.node_fails += u32::from(ran);
        } else if own == Fault::Ours && self.own < MAX_OWN {
            self.own += 1;
        } else {
            self.retries += 1;
            self.node_fails = 0;
        }
    }
}

/// Whose fault it is that an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The task's, its machine's, or nobody's.
    Theirs,
    /// csync's: it asked for too little.
    Ours,
}

/// Returns how long to wait before the next attempt; none when the instance has failed for good.
pub(super) fn delay(retry: &Retry, tally: Tally, ended: &Ended, fault: Fault, seed: u64) -> Option<Duration> {
    let (outcome, key) = (&ended.outcome, ended.key);
    if fault == Fault::Ours && tally.own < MAX_OWN {
        return Some(Duration::ZERO);
    }
    if *outcome == Outcome::NodeFail {
        let next = tally.node_fails + u32::from(ended.started.is_some());
        return (next < MAX_NODE_FAILS).then_some(Duration::ZERO);
    }
    if tally.retries >= retry.max || !retry.on.iter().any(|on| answers(*on, outcome)) {
        return None;
    }
    Some(backoff(retry, tally.retries, key, seed))
}

fn answers(on: RetryOn, outcome: &Outcome) -> bool {
    match (on, outcome) {
        (RetryOn::Oom, Outcome::Oom)
        | (RetryOn::Timeout, Outcome::Timeout)
        | (RetryOn::Preempted, Outcome::Preempted)
        | (RetryOn::Stage, Outcome::Stage { .. })
        | (RetryOn::Spawn, Outcome::Spawn { .. })
        | (RetryOn::Exit(None), Outcome::Exit { .. }) => true,
        (RetryOn::Exit(Some(wanted)), Outcome::Exit { code, .. }) => wanted == *code,
        _ => false,
    }
}

/// Grows from try to try up to the bound, and spreads by up to a tenth more, so that what failed together does not come back
/// together.
fn backoff(retry: &Retry, tries: u32, key: JobKey, seed: u64) -> Duration {
    let delay = retry.delay * retry.factor.max(1.0).powi(i32::try_from(tries).unwrap_or(i32::MAX));
    let delay = delay.min(retry.max_delay.max(retry.delay));
    if delay.is_nan() || delay <= 0.0 {
        return Duration::ZERO;
    }
    let mixed = mix(mix(mix(seed ^ u64::from(key.run.0)) ^ u64::from(key.instance.0)) ^ u64::from(key.attempt));
    let spread = 1.0 + (mixed >> 40) as f64 / (1u64 << 24) as f64 / 10.0;
    Duration::try_from_secs_f64(delay * spread).unwrap_or(Duration::MAX)
}

/// The finalizer of splitmix64: spreads nearby numbers over all.
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
