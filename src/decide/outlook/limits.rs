//! How long a task waits on a host by the time limit that it asks for: short ones fit partitions that long ones do not, and fill gaps.

use std::sync::Arc;

use crate::decide::graph::estimate::{Estimate, Source};
use crate::decide::graph::queues::Queues;
use crate::decide::learn::grain::{Grain, MEBIBYTE};
use crate::decide::learn::steps::Steps;
use crate::decide::outlook::board::{Board, Site};
use crate::decide::outlook::parts::QueueId;
use crate::model::batch::Flavour;
use crate::model::id::HostId;
use crate::model::units::Timestamp;

/// Limits that are told apart: a quarter of an hour to a week.
const LIMITS: [f64; 7] = [900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0, 172_800.0, 604_800.0];
/// Partitions that are looked at, the first ones that a task fits: some sites have dozens.
const MOST: usize = 8;
/// Seconds after which it is found out anew.
const STALE: f64 = 60.0;
/// Answers kept of a host, before all are forgotten.
const KEPT: usize = 64;

/// Under which conditions a host takes a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditions {
    /// Its batch system; none where nobody holds it to what it asks for.
    pub flavour: Option<Flavour>,
    /// How long it waits there by its time limit.
    pub waits: Arc<Steps>,
    /// In which amounts it is granted memory.
    pub grain: Grain,
}

impl Conditions {
    /// Takes a host of which no more is known than its batch system.
    pub fn of(flavour: Option<Flavour>) -> Self {
        Self { flavour, waits: Arc::default(), grain: Grain::multiples(MEBIBYTE) }
    }
}

/// A partition that a task fits, with its longest walltime in seconds; infinite where it has none.
pub type Fit<N> = (N, f64);

/// Answers of a host: for which partitions and how many cores, when, and what.
pub(super) type Answers = Vec<((Vec<Fit<QueueId>>, u32), (f64, Arc<Steps>))>;

/// Returns how long a job of so many cores waits that is submitted now, by its limit: in the partition, of those that let it in, where
/// that is least. `known` says what becomes of what was seen in a partition by what is known of it otherwise; none where csync does
/// not send it there, unless it is the first that lets it in.
pub fn steps(
    queues: &Queues,
    fits: &[Fit<Option<&str>>],
    (now, cores): (f64, u32),
    known: impl Fn(usize, f64) -> Option<f64>,
) -> Steps {
    let fits = fits.get(..MOST).unwrap_or(fits);
    let longest = fits.iter().map(|(_, most)| *most).fold(0.0, f64::max);
    let mut limits: Vec<f64> = fits.iter().map(|(_, most)| *most).chain(LIMITS).collect();
    limits.retain(|limit| limit.is_finite() && *limit <= longest);
    limits.sort_unstable_by(f64::total_cmp);
    limits.dedup();
    let seen: Vec<Vec<f64>> = fits.iter().map(|(queue, _)| queues.by_limit(*queue, now, cores, &limits)).collect();
    let least = |(at, limit): (usize, &f64)| {
        let open = fits.iter().zip(&seen).enumerate().filter(|(_, ((_, most), _))| limit <= most);
        let waits = open.enumerate().filter_map(|(place, (room, (_, seen)))| {
            let wait = *seen.get(at)?;
            known(room, wait).or((place == 0).then_some(wait))
        });
        Some((*limit, waits.reduce(f64::min)?))
    };
    Steps::of(limits.iter().enumerate().filter_map(least).collect())
}

impl Board {
    /// Takes what jobs waited on a host, where more of that is known than when it was set to work.
    pub fn set_queues(&mut self, host: HostId, queues: Queues) {
        let Some(site) = self.site_mut(host) else { return };
        if let Some(facts) = site.facts.as_mut() {
            facts.queues = queues;
            site.foretold.clear();
            site.steps.clear();
        }
    }

    /// Returns whether any job waited on a host that is known of.
    pub fn has_waits(&self, host: HostId) -> bool {
        self.site(host).is_some_and(Site::has_waits)
    }

    /// Returns how long a task of so many cores waits on a host, by its limit, in the queues that it fits; nothing where no wait of
    /// such a task was ever seen.
    pub fn steps(
        &mut self,
        host: HostId,
        fits: Vec<Fit<QueueId>>,
        (cores, gpus): (u32, u32),
        now: Timestamp,
    ) -> Arc<Steps> {
        let now = now.0 as f64 / 1e6;
        let Some(site) = self.site(host).filter(|site| site.has_waits()) else { return Arc::default() };
        let asked = (fits, cores.max(1).ilog2());
        let kept = site.steps.iter().find(|(of, _)| *of == asked);
        if let Some((_, (_, steps))) = kept.filter(|(_, (at, _))| (0.0..STALE).contains(&(now - at))) {
            return Arc::clone(steps);
        }
        let found = Arc::new(site.steps_now(&asked.0, (cores, gpus), now));
        let Some(site) = self.site_mut(host) else { return found };
        if site.steps.len() >= KEPT {
            site.steps.clear();
        }
        site.steps.retain(|(of, _)| *of != asked);
        site.steps.push((asked, (now, Arc::clone(&found))));
        found
    }
}

impl Site {
    /// Returns whether any job waited here that is known of.
    fn has_waits(&self) -> bool {
        self.facts.as_ref().is_some_and(|facts| facts.is_batch && !facts.queues.is_empty())
    }

    /// Returns how long a task waits in these queues by its limit, as they are now.
    fn steps_now(&self, fits: &[Fit<QueueId>], (cores, gpus): (u32, u32), now: f64) -> Steps {
        let Some(facts) = &self.facts else { return Steps::default() };
        let named: Vec<_> = fits.iter().map(|(queue, most)| (self.queue_name(*queue), *most)).collect();
        steps(&facts.queues, &named, (now, cores), |at, seen| {
            let (queue, _) = fits.get(at)?;
            let goes = at == 0 || self.takes(*queue, gpus);
            let known = Estimate { source: Source::Learned(1), ..Estimate::known(seen) };
            let load = self.load(*queue, facts, now).and_then(|load| load.wait(cores, Some(known)));
            goes.then(|| load.unwrap_or(known).middle)
        })
    }
}
