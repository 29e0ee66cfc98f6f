//! What jobs see on the compute nodes they run on, beside their tasks: of each partition once in a while.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::decide::engine::limits::Limits;
use crate::language::probe::NoteRead;
use crate::model::facts::{Facts, NodeSight};
use crate::model::units::Timestamp;
use crate::serve::site::clocks::Ahead;

/// After how long it is looked anew: drivers are renewed when a site is maintained.
const OLD: Duration = Duration::from_hours(30 * 24);
/// How long a look is waited for before another job looks: jobs wait, and short ones end before they have looked.
const SOON: Duration = Duration::from_mins(10);

/// When each partition's nodes were seen last, and when a job was sent that looks.
#[derive(Debug, Default)]
pub struct Seen {
    times: Mutex<BTreeMap<String, Times>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Times {
    seen: Option<Timestamp>,
    sent: Option<Timestamp>,
}

impl Seen {
    /// Makes it of what is known of a host.
    pub fn of(facts: Option<&Facts>) -> Self {
        let seen = facts.into_iter().flat_map(|facts| &facts.nodes);
        let times = seen.map(|(name, sight)| (name.clone(), Times { seen: Some(sight.at), sent: None }));
        Self { times: Mutex::new(times.collect()) }
    }

    /// Returns whether a job that goes to a partition (none: to the default one, or where the batch system likes) is to look; it is
    /// counted on then.
    pub(super) fn wants(&self, partition: Option<&str>, limits: &Limits, now: Timestamp) -> bool {
        let all = &limits.partitions;
        let single = if let [single] = all.as_slice() { Some(single) } else { None };
        let usual = all.iter().find(|partition| partition.is_default).or(single).map(|it| it.name.as_str());
        let name = partition.or(usual).unwrap_or_default();
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let known = times.entry(name.to_owned()).or_default();
        let is_fresh = |time: Option<Timestamp>, age: Duration| time.is_some_and(|time| now.since(time) < age);
        if is_fresh(known.seen, OLD) || is_fresh(known.sent, SOON) {
            return false;
        }
        known.sent = Some(now);
        true
    }

    /// Takes in what a job saw; returns whether that is newer than what was known.
    pub(super) fn learn(&self, partition: &str, at: Timestamp) -> bool {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let known = times.entry(partition.to_owned()).or_default();
        let is_new = known.seen.is_none_or(|seen| at > seen);
        if is_new {
            known.seen = Some(at);
        }
        is_new
    }
}

/// Reads what jobs noted, with its times as our clock tells them.
pub(super) fn sights(notes: &[String], ahead: Ahead, now: Timestamp) -> Vec<(String, NodeSight)> {
    let read = notes.iter().filter_map(|note| NoteRead::of(note));
    let here = |note: NoteRead| {
        let at = ahead.here(note.sight.at).min(now);
        (note.partition, NodeSight { at, ..note.sight })
    };
    read.map(here).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::batch::Partition;
    use crate::model::host::Host;

    #[test]
    fn one_job_looks_at_what_nobody_saw_lately() {
        let now = |minutes: i64| Timestamp((1 << 50) + minutes * 60_000_000);
        let mut facts = Facts::default();
        facts.nodes.insert("gpu".to_owned(), NodeSight { at: now(0), ..NodeSight::default() });
        let seen = Seen::of(Some(&facts));
        let partition =
            |name: &str, is_default| Partition { name: name.to_owned(), is_default, ..Partition::default() };
        let mut limits = Limits::of(&Host::new("hpc".parse().unwrap()), None);
        limits.partitions = vec![partition("debug", true), partition("gpu", false)];
        assert!(!seen.wants(Some("gpu"), &limits, now(5)), "it was seen");
        assert!(seen.wants(None, &limits, now(5)));
        assert!(!seen.wants(Some("debug"), &limits, now(6)), "the job before looks");
        assert!(seen.wants(Some("debug"), &limits, now(16)), "it has not looked");
        assert!(seen.learn("debug", now(17)) && !seen.learn("debug", now(17)), "the same comes twice");
        assert!(!seen.wants(Some("debug"), &limits, now(100)));
        assert!(seen.wants(Some("debug"), &limits, now(31 * 24 * 60)));
    }
}
