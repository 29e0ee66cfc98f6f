//! Timers of the engine's core. Delays count on the monotonic clock: setting the wall clock changes none.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::decide::engine::protocol::TimerId;

/// Timers that have not fired, the next one first.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, TimerId)>>,
}

impl Timers {
    /// Sets a timer. One that is set too far ahead to be counted never fires.
    pub(super) fn set(&mut self, timer: TimerId, delay: Duration) {
        if let Some(at) = Instant::now().checked_add(delay) {
            self.heap.push(Reverse((at, timer)));
        }
    }

    /// Waits until the next timer is due; for ever when there is none. Nothing is lost when the wait is given up.
    pub(super) async fn due(&self) {
        match self.heap.peek() {
            Some(Reverse((at, _))) => sleep_until(*at).await,
            None => std::future::pending().await,
        }
    }

    /// Takes a timer that is due.
    pub(super) fn take(&mut self) -> Option<TimerId> {
        let Reverse((at, _)) = self.heap.peek()?;
        if *at > Instant::now() {
            return None;
        }
        self.heap.pop().map(|Reverse((_, timer))| timer)
    }
}

/// Waits until then; for ever where there is no such time.
pub(super) async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn timers_fire_in_the_order_of_their_times() {
        let mut timers = Timers::default();
        for (id, millis) in [(1, 20), (2, 5), (3, 10)] {
            timers.set(TimerId(id), Duration::from_millis(millis));
        }
        timers.set(TimerId(4), Duration::MAX);
        let mut fired = Vec::new();
        while fired.len() < 3 {
            timers.due().await;
            fired.extend(std::iter::from_fn(|| timers.take()));
        }
        assert_eq!(fired, [TimerId(2), TimerId(3), TimerId(1)]);
        assert!(timers.heap.is_empty());
    }
}
