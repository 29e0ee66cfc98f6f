//! Times that a host tells by a clock of its own, as this machine's clock would have told them: how long a job waited is the time
//! between a submission here and a start there.

use std::collections::HashMap;

use crate::language::batch::wrapper::{Record, Stage};
use crate::language::probe::skew;
use crate::model::batch::Ending;
use crate::model::units::Timestamp;
use crate::serve::site::desk::Live;

/// Microseconds by which clocks that agree may seem to differ: an answer takes its time.
const SLACK: i64 = 2_000_000;

/// Microseconds that a host's clock is ahead of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ahead(i64);

impl Ahead {
    /// Reads the time that a host printed last of all in an answer that came `now`. What hardly differs from before is the same, so
    /// that the start of a job is not another one with every look.
    pub(super) fn heard(self, printed: Option<&[u8]>, now: Timestamp) -> Self {
        let seconds = now.0 as f64 / 1e6;
        let seen = printed.and_then(|printed| skew(&String::from_utf8_lossy(printed), seconds, seconds));
        let Some(seen) = seen.map(|skew| (skew.seconds * 1e6) as i64) else { return self };
        match seen {
            seen if (seen - self.0).abs() <= SLACK => self,
            seen if seen.abs() <= SLACK => Self::default(),
            seen => Self(seen),
        }
    }

    /// Returns what our clock said at a time of theirs.
    pub(super) const fn here(self, theirs: Timestamp) -> Timestamp {
        Timestamp(theirs.0.saturating_sub(self.0))
    }

    /// Sets the times that the history tells.
    pub(super) fn set_endings(self, endings: &mut [Ending]) {
        for ending in endings {
            ending.start = ending.start.map(|at| self.here(at));
            ending.end = ending.end.map(|at| self.here(at));
        }
    }

    /// Sets the times of records of what was sent.
    pub(super) fn set_all(self, records: &mut [Record], live: &[Live], now: Timestamp) {
        let live: HashMap<&str, &Live> = live.iter().map(|live| (live.sent.name.as_str(), live)).collect();
        for record in records {
            let Some(live) = live.get(record.submission.as_str()) else { continue };
            let member =
                record.member.parse::<usize>().ok().and_then(|number| live.members.get(number.checked_sub(1)?));
            self.set(record, live.sent.at, member.and_then(|member| member.started), now);
        }
    }

    /// Sets the times of a record of a job that was sent then. A node's clock may differ from that of the host that was asked:
    /// nothing began before it was sent, nor after it was heard of; where that leaves a choice, it began when that was first heard.
    fn set(self, record: &mut Record, sent: Timestamp, known: Option<Timestamp>, now: Timestamp) {
        let told = record.started;
        let ran = match &record.stage {
            Stage::Ended(ended) => ended.at.0.saturating_sub(told.0).max(0),
            Stage::Started => 0,
        };
        let latest = Timestamp(now.0.saturating_sub(ran));
        let mut started = self.here(told);
        if started > latest {
            started = known.unwrap_or(latest).min(latest);
        }
        started = started.max(sent);
        record.started = started;
        if let Stage::Ended(ended) = &mut record.stage {
            ended.at = Timestamp(ended.at.0.saturating_sub(told.0).saturating_add(started.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;

    fn at(second: i64) -> Timestamp {
        Timestamp((1_700_000_000 + second) * 1_000_000)
    }

    fn printed(second: i64) -> String {
        format!("{}.000000000\n", 1_700_000_000 + second)
    }

    fn record(from: i64, to: Option<i64>) -> Record {
        let second = |second: i64| 1_700_000_000 + second;
        let end = to.map_or("state=started\n".to_owned(), |to| {
            format!("state=ended\nhow=exit\ncode=0\nended={}.0\n", second(to))
        });
        let head =
            format!("csync=1\nsubmission=s\nmember=1\nhost=h\nstarted={}.0\npid=1\nbirth=1\nboot=b\n", second(from));
        Record::parse(&format!("{head}{end}end=1\n")).unwrap()
    }

    /// When it began and ended, in seconds.
    fn told(record: &Record) -> (i64, Option<i64>) {
        let second = |at: Timestamp| at.0 / 1_000_000 - 1_700_000_000;
        let end = match &record.stage {
            Stage::Ended(ended) => Some(second(ended.at)),
            Stage::Started => None,
        };
        (second(record.started), end)
    }

    #[test]
    fn clocks_that_agree_are_left_alone_and_others_are_heard_once() {
        let none = Ahead::default();
        assert_eq!(none.heard(Some(printed(1).as_bytes()), at(0)), none);
        assert_eq!((none.heard(None, at(0)), none.heard(Some(b"date: no\n"), at(0))), (none, none));
        let ahead = none.heard(Some(printed(HOUR).as_bytes()), at(0));
        assert_eq!(ahead.here(at(HOUR + 5)), at(5));
        assert_eq!(ahead.heard(Some(printed(HOUR + 11).as_bytes()), at(10)), ahead, "an answer that took a second");
        assert_eq!(ahead.heard(Some(printed(20).as_bytes()), at(20)), none, "somebody set it right");
    }

    #[test]
    fn jobs_begin_after_they_were_sent_and_before_that_is_heard_of() {
        let (none, ahead) = (Ahead::default(), Ahead(HOUR * 1_000_000));
        for (clock, from, to, known, wanted) in [
            // By the clock of the host that was asked, or by one like ours.
            (none, 10, Some(40), None, (10, Some(40))),
            (ahead, HOUR + 10, Some(HOUR + 40), None, (10, Some(40))),
            (ahead, HOUR + 10, None, None, (10, None)),
            // A node whose clock is its own: an hour behind, and an hour ahead.
            (none, 10 - HOUR, Some(40 - HOUR), None, (5, Some(35))),
            (none, HOUR + 10, None, None, (100, None)),
            (none, HOUR + 10, None, Some(at(12)), (12, None)),
            (none, HOUR + 10, Some(HOUR + 40), Some(at(12)), (12, Some(42))),
            (none, HOUR + 10, Some(HOUR + 40), None, (70, Some(100))),
        ] {
            let mut record = record(from, to);
            clock.set(&mut record, at(5), known, at(100));
            assert_eq!(told(&record), wanted, "{clock:?} {from} {to:?} {known:?}");
        }
    }
}
