//! What jobs waited in the queues of hosts, and what the next one will wait there.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::decide::graph::estimate::{Estimate, Source};
use crate::decide::learn::waits::{WaitInterval, Waited, apart, by_limit, predict};
use crate::model::host::HostName;

/// Waits of a host, and of each of its queues, that count: older ones tell of another load.
const RECENT: usize = 400;
/// Seconds that a job is taken to ask for which asks for none.
pub const UNKNOWN_LIMIT: f64 = 3600.0;

/// A job that waited on a host.
#[derive(Clone, Debug, PartialEq)]
pub struct Wait {
    /// The host.
    pub host: HostName,
    /// The partition; none where that is not known.
    pub queue: Option<String>,
    /// How long, and what it asked for.
    pub waited: Waited,
    /// Whether csync submitted it: where others wait, jobs of ours need not be let in.
    pub ours: bool,
}

/// What jobs waited on one host, the latest last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Queues {
    all: Vec<Waited>,
    by_queue: BTreeMap<String, Vec<Waited>>,
    /// Queues that jobs of ours waited in.
    ours: BTreeSet<String>,
}

impl Queues {
    /// Sorts waits by their hosts; the newest come first.
    pub fn of_hosts(seen: &[Wait]) -> HashMap<&HostName, Self> {
        let mut by_host: HashMap<&HostName, Self> = HashMap::new();
        for Wait { host, queue, waited, ours } in seen {
            let of = by_host.entry(host).or_default();
            if of.all.len() < RECENT {
                of.all.push(*waited);
            }
            // Also of one where few go: what the others waited there since says nothing of it.
            if let Some(queue) = queue {
                if *ours && !of.ours.contains(queue) {
                    of.ours.insert(queue.clone());
                }
                let own = of.by_queue.entry(queue.clone()).or_default();
                if own.len() < RECENT {
                    own.push(*waited);
                }
            }
        }
        for of in by_host.values_mut() {
            of.all.reverse();
            of.by_queue.values_mut().for_each(|of| of.reverse());
        }
        by_host
    }

    /// Returns whether nothing waited that is known of.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Returns whether any job of ours waited in a queue: what was imported of others says how long it makes wait, and not that it lets
    /// ours in.
    pub fn has_ours(&self, queue: &str) -> bool {
        self.ours.contains(queue)
    }

    /// Estimates what a job waits by what like ones did in its queue alone; none where too few did.
    pub fn own(&self, queue: &str, now: f64, cores: u32, asked: f64) -> Option<Estimate> {
        self.by_queue.get(queue).and_then(|own| predict(own, &[], now, cores, asked)).map(learned)
    }

    /// Returns what a job waits that asks for each of these limits: in its queue, where enough waited there to tell, else on its host;
    /// nothing where too few did.
    pub fn by_limit(&self, queue: Option<&str>, now: f64, cores: u32, limits: &[f64]) -> Vec<f64> {
        let own = queue.and_then(|queue| self.by_queue.get(queue));
        let own = own.map(|own| by_limit(own, now, cores, limits)).filter(|own| !own.is_empty());
        own.unwrap_or_else(|| by_limit(&self.all, now, cores, limits))
    }

    /// Estimates what a job waits that is submitted now: as like ones did in its queue, else as they did on its host.
    pub fn estimate(&self, queue: Option<&str>, now: f64, cores: u32, asked: f64) -> Option<Estimate> {
        let own = queue.and_then(|queue| self.by_queue.get(queue));
        let found = own.and_then(|own| predict(own, &[], now, cores, asked));
        let found = found.or_else(|| predict(&self.all, &[], now, cores, asked));
        let few = || {
            let few = own.filter(|own| !own.is_empty()).unwrap_or(&self.all);
            Estimate::of_seen(&mut few.iter().map(|job| job.seconds).collect::<Vec<f64>>(), Source::Learned)
        };
        found.map(learned).or_else(few)
    }
}

fn learned(found: WaitInterval) -> Estimate {
    Estimate { low: found.low, middle: found.middle, high: found.high, source: Source::Learned(found.n) }
}

/// Returns whether what is known of the waits in two queues is worth telling apart: half a minute and a quarter, or more.
pub fn are_apart(one: &Estimate, other: &Estimate) -> bool {
    apart(one.middle, other.middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(queue: &str, at: f64, seconds: f64) -> Wait {
        let waited = Waited { submitted: at, seconds, cores: 4, asked: 600.0 };
        Wait { host: "hpc".parse().unwrap(), queue: Some(queue.to_owned()), waited, ours: true }
    }

    #[test]
    fn a_queue_is_judged_by_its_own_waits_and_else_by_those_of_its_host() {
        let mut seen: Vec<Wait> = (0..20)
            .flat_map(|n| [wait("short", f64::from(n) * 60.0, 5.0), wait("long", f64::from(n) * 60.0, 7200.0)])
            .collect();
        seen.push(wait("rare", 1300.0, 40.0));
        seen.reverse();
        let hosts = Queues::of_hosts(&seen);
        let of = hosts.values().next().unwrap();
        let middle = |queue| of.estimate(queue, 1400.0, 4, 600.0).unwrap();
        assert!((middle(Some("short")).middle - 5.0).abs() < 1e-9);
        assert!((middle(Some("long")).middle - 7200.0).abs() < 1e-9);
        assert_eq!(middle(Some("short")).source, Source::Learned(20));
        assert_eq!(middle(Some("rare")).source, Source::Learned(41), "one is too few to tell");
        assert_eq!(middle(Some("new")), middle(None));
        assert_eq!((of.own("rare", 1400.0, 4, 600.0), of.own("new", 1400.0, 4, 600.0)), (None, None));
        let (short, long) = ("short", "long");
        let own = |queue| of.own(queue, 1400.0, 4, 600.0).unwrap();
        assert_eq!(own(short), middle(Some(short)));
        assert!(are_apart(&own(short), &own(long)) && are_apart(&own(long), &own(short)));
        assert!(!are_apart(&own(long), &own(long).times(1.2)), "two hours, and a little more");
        assert!(!are_apart(&own(short), &own(short).times(5.0)), "seconds");
        assert_eq!(Queues::default().estimate(None, 0.0, 1, 60.0), None);
        let one = Queues::of_hosts(&seen[..1]);
        assert!((one.values().next().unwrap().estimate(None, 1400.0, 4, 600.0).unwrap().middle - 40.0).abs() < 1e-9);
    }

    #[test]
    fn a_queue_where_few_go_is_judged_by_its_own_waits_however_many_wait_elsewhere() {
        let busy = (0..500).map(|n| wait("busy", 10_000.0 + f64::from(n), 7200.0)).rev();
        let rare = (0..10).map(|n| wait("rare", f64::from(n), 5.0)).rev();
        let seen: Vec<Wait> = busy.chain(rare).collect();
        let hosts = Queues::of_hosts(&seen);
        let of = hosts.values().next().unwrap();
        let middle = |queue| of.estimate(Some(queue), 11_000.0, 4, 600.0).unwrap().middle;
        assert_eq!((middle("rare"), middle("busy")), (5.0, 7200.0));
        assert_eq!((of.all.len(), of.by_queue["busy"].len()), (RECENT, RECENT));
    }
}
