//! What jobs of a history waited in the queues of their host: the latest of each queue, handed to the engine.

use std::collections::{BTreeMap, HashMap};

use jiff::tz::TimeZone;

use crate::cli::context::Context;
use crate::cli::errors::Failure;
use crate::cli::hosts::Known;
use crate::language::history::PastWait;
use crate::model::facts::{JobWait, QueueReport};
use crate::model::host::{Batch, HostName};
use crate::model::units::{Timestamp, Walltime};

/// Waits of a queue that are kept: predictions go by the latest few hundred.
const OF_A_QUEUE: usize = 200;
/// Queues that are kept apart.
const QUEUES: usize = 50;

/// Waits that were read, bounded by the number of queues.
#[derive(Default)]
pub(super) struct Waited {
    /// Beginning of the names of jobs that this csync submitted: what these waited it saw itself.
    own: String,
    /// By when they were submitted and their ids, so that members of an array are one.
    queues: HashMap<Option<String>, BTreeMap<(i64, String), PastWait>>,
}

impl Waited {
    /// Begins; jobs whose names begin with `own` are left out.
    pub(super) fn new(own: String) -> Self {
        Self { own, queues: HashMap::new() }
    }

    /// Takes in a job. Of an array the member counts that started first: the others wait for each other too.
    pub(super) fn take(&mut self, wait: PastWait) {
        if wait.name.starts_with(&self.own) {
            return;
        }
        let at = wait.submitted;
        if !self.queues.contains_key(&wait.queue) {
            if self.queues.len() >= QUEUES {
                return;
            }
            self.queues.insert(wait.queue.clone(), BTreeMap::new());
        }
        let Some(all) = self.queues.get_mut(&wait.queue) else { return };
        let is_old = || all.first_key_value().is_some_and(|((first, _), _)| at < *first);
        if all.len() >= OF_A_QUEUE && is_old() {
            return;
        }
        let known = all.entry((at, wait.job.clone())).or_insert_with(|| wait.clone());
        if started(&wait) < started(known) {
            *known = wait;
        }
        if all.len() > OF_A_QUEUE {
            all.pop_first();
        }
    }

    /// Returns what is told of a host; times without a zone are of this one.
    fn told(self, host: HostName, zone: &TimeZone) -> QueueReport {
        let all = self.queues.into_values().flat_map(BTreeMap::into_values);
        let mut waits: Vec<JobWait> = all.filter_map(|wait| told(wait, zone)).collect();
        waits.sort_by(|a, b| (a.since, &a.job).cmp(&(b.since, &b.job)));
        QueueReport { host, waits }
    }

    /// Hands over to the engine what was read of a host; returns how many jobs that are.
    pub(super) fn hand_over(self, context: &Context, host: &HostName, zone: &TimeZone) -> Result<usize, Failure> {
        let report = self.told(host.clone(), zone);
        let count = report.waits.len();
        if count > 0 {
            context.block_on(async { Ok(context.reach().await?.keep_waits(&report).await?) })?;
        }
        Ok(count)
    }
}

/// Returns when a job started, and since when it waited, for two of one submission to be compared.
fn started(wait: &PastWait) -> (i64, i64) {
    (wait.since + wait.seconds as i64, wait.since)
}

fn told(wait: PastWait, zone: &TimeZone) -> Option<JobWait> {
    let since = if let Some(ahead) = wait.ahead {
        wait.since - i64::from(ahead)
    } else {
        let there = jiff::Timestamp::from_second(wait.since).ok()?.to_zoned(TimeZone::UTC).datetime();
        there.to_zoned(zone.clone()).ok()?.timestamp().as_second()
    };
    let micros = |seconds: f64| Timestamp((seconds * 1e6) as i64);
    Some(JobWait {
        job: wait.job,
        partition: wait.queue,
        since: micros(since as f64),
        started: micros(since as f64 + wait.seconds),
        cores: wait.cores,
        time: (wait.asked >= 1.0).then_some(Walltime(wait.asked as u64)),
    })
}

/// Returns the host that a report is of, where it is one whose batch system makes jobs wait.
pub(super) fn host_of(context: &Context, name: &str) -> Result<Option<HostName>, Failure> {
    let known = Known::load(context)?;
    let host = known.hosts.get(name).filter(|host| host.batch != Some(Batch::None));
    Ok(host.map(|host| host.name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(job: &str, since: i64, seconds: f64) -> PastWait {
        let queue = Some("long".to_owned());
        PastWait { job: job.to_owned(), queue, submitted: since, since, seconds, cores: 4, ..PastWait::default() }
    }

    fn taken(all: Vec<PastWait>) -> Vec<(String, i64, i64)> {
        let mut waited = Waited::new("csync-0123abcd-".to_owned());
        for wait in all {
            waited.take(wait);
        }
        let told = waited.told("hpc".parse().unwrap(), &TimeZone::fixed(jiff::tz::offset(1)));
        told.waits
            .into_iter()
            .map(|wait| (wait.job, wait.since.0 / 1_000_000, (wait.started.0 - wait.since.0) / 1_000_000))
            .collect()
    }

    #[test]
    fn an_array_is_one_lesson_and_own_jobs_are_none() {
        let own = PastWait { name: "csync-0123abcd-1-1".to_owned(), ..wait("9", 7200, 1.0) };
        let other = PastWait { name: "csync-ffffffff-1-1".to_owned(), ..wait("10", 7200, 2.0) };
        // The last one was let go later, and then started at once.
        let late = PastWait { since: 8000, ..wait("7", 7200, 1.0) };
        let all = vec![late, wait("7", 7200, 50.0), wait("7", 7200, 20.0), wait("7", 7200, 900.0), own, other];
        // An hour ahead of Greenwich.
        assert_eq!(taken(all), [("10".to_owned(), 3600, 2), ("7".to_owned(), 3600, 20)]);
        // A job that was put back into the queue waited twice.
        assert_eq!(taken(vec![wait("7", 7200, 50.0), wait("7", 9000, 20.0)]).len(), 2);
        let told = PastWait { ahead: Some(-3600), ..wait("8", 7200, 5.0) };
        assert_eq!(taken(vec![told]), [("8".to_owned(), 10_800, 5)]);
    }

    #[test]
    fn the_latest_of_a_queue_are_kept_in_whatever_order_they_are_told() {
        let forth: Vec<PastWait> = (0..1000).map(|n| wait(&n.to_string(), 3600 + n, 1.0)).collect();
        let back: Vec<PastWait> = forth.iter().rev().cloned().collect();
        let kept = taken(forth);
        assert_eq!((kept.len(), kept[0].1), (OF_A_QUEUE, 800));
        assert_eq!(kept, taken(back));
    }
}
