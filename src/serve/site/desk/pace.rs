//! How often a host is looked at, and how often its batch system is asked in that.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::units::Timestamp;
use crate::serve::site::pause;

/// Between two looks while somebody watches what a job prints.
pub(super) const WATCHED: Duration = Duration::from_secs(2);

/// Shortest and longest pause before a host is tried again that could not be reached.
const AWAY: (u64, u64) = (2, 60);

/// Returns how long a host is left alone that could not be used, after it could not so many times in a row before: twice as long each
/// time, up to a minute.
pub(super) fn away(times: u32) -> Duration {
    Duration::from_secs((AWAY.0 << times.min(6)).min(AWAY.1))
}

/// Why a host is looked at sooner than its batch system may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Haste {
    None,
    /// Something is to end: its own record tells that it did.
    Stopping,
    /// Somebody watches what a job prints.
    Watched,
    /// And more of it is there than came.
    Behind,
}

/// When a batch system was asked last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    asked: Option<Instant>,
}

impl Pace {
    /// Goes on with when the engine before asked it, by the wall clock, which says `clock` now. A time that is still to come is one of
    /// a clock that was set back: then it was asked just now.
    pub(super) fn kept(at: Option<Timestamp>, clock: Timestamp, now: Instant) -> Self {
        Self { asked: at.and_then(|at| now.checked_sub(clock.since(at))) }
    }

    /// Takes note that it is asked, or that its answer came: it may have been asked as late as that.
    pub(super) const fn asked(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    /// Returns from when on it may be asked again; nothing where it was never asked.
    pub(super) fn ready(self, least: Duration) -> Option<Instant> {
        self.asked.map(|asked| asked + least)
    }

    /// Returns whether it may be asked now.
    pub(super) fn may_ask(self, now: Instant, least: Duration) -> bool {
        self.ready(least).is_none_or(|at| now >= at)
    }

    /// Returns when the next look is.
    pub(super) fn next(self, now: Instant, quiet: u32, least: Duration, haste: Haste) -> Instant {
        let soon = now + pause(quiet, Duration::ZERO);
        let usual = self.ready(least).map_or(soon, |at| at.max(soon));
        match haste {
            Haste::None => usual,
            Haste::Stopping => soon,
            Haste::Watched => usual.min(now + WATCHED),
            Haste::Behind => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_mins(2);

    /// Lets an hour pass in which it is looked at as soon as it may be; returns at which seconds that was, and at which the batch
    /// system was asked.
    fn hour(mut haste: impl FnMut(u64) -> Haste) -> (Vec<u64>, Vec<u64>) {
        let start = Instant::now();
        let (mut pace, mut now, mut looks, mut asked) = (Pace::default(), start, Vec::new(), Vec::new());
        while now < start + Duration::from_hours(1) {
            let second = (now - start).as_secs();
            looks.push(second);
            if pace.may_ask(now, LEAST) {
                pace.asked(now);
                asked.push(second);
            }
            // An answer takes a second.
            let heard = now + Duration::from_secs(1);
            if pace.asked == Some(now) {
                pace.asked(heard);
            }
            now = pace.next(heard, looks.len() as u32, LEAST, haste(second)).max(heard);
        }
        (looks, asked)
    }

    #[test]
    fn a_batch_system_is_never_asked_sooner_than_its_site_lets_us() {
        for haste in [Haste::None, Haste::Stopping, Haste::Watched, Haste::Behind] {
            let (looks, asked) = hour(|_| haste);
            let gaps: Vec<u64> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(gaps.iter().all(|gap| *gap >= LEAST.as_secs()), "{haste:?}: {asked:?}");
            assert!(gaps.iter().all(|gap| *gap <= LEAST.as_secs() + 61), "{haste:?}, and is not forgotten: {asked:?}");
            match haste {
                Haste::None => assert_eq!(looks, asked),
                Haste::Stopping => assert!(looks.len() >= 59),
                Haste::Watched => assert!(looks.len() >= 1200, "{}", looks.len()),
                Haste::Behind => assert!(looks.len() >= 3600, "{}", looks.len()),
            }
        }
    }

    #[test]
    fn the_next_engine_asks_no_sooner_than_the_one_before_would_have() {
        let (now, clock) = (Instant::now(), Timestamp(1_000_000_000_000_000));
        let wait = |at: Option<i64>| {
            let pace = Pace::kept(at.map(|seconds| Timestamp(clock.0 + seconds * 1_000_000)), clock, now);
            assert_eq!(pace.may_ask(now, LEAST), pace.ready(LEAST).is_none_or(|at| at <= now));
            pace.ready(LEAST).map_or(0, |at| at.saturating_duration_since(now).as_secs())
        };
        assert_eq!(wait(None), 0);
        assert_eq!([-1, -100, -119, -120, -9999].map(|at| wait(Some(at))), [119, 20, 1, 0, 0]);
        assert_eq!(wait(Some(86_400)), 120, "a clock that was set back");
        assert_eq!(wait(Some(-1_000_000_000)), 0, "long ago");
    }

    #[test]
    fn a_host_that_is_away_for_long_is_tried_once_a_minute_for_ever() {
        let waits: Vec<u64> = (0..9).map(|times| away(times).as_secs()).collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60, 60, 60]);
        assert_eq!(away(u32::MAX).as_secs(), 60);
    }

    #[test]
    fn where_nothing_is_demanded_a_watched_host_is_asked_with_each_look() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        assert_eq!(
            pace.next(start, 0, LEAST, Haste::None),
            start + Duration::from_secs(1),
            "after the first submission"
        );
        pace.asked(start);
        let least = Duration::from_secs(1);
        let next = pace.next(start, 9, least, Haste::Watched);
        assert_eq!(next, start + WATCHED);
        assert!(pace.may_ask(next, least));
        assert_eq!(pace.next(start, 0, LEAST, Haste::None), start + LEAST);
        assert_eq!(pace.next(start, 9, least, Haste::None), start + Duration::from_mins(1));
    }
}
