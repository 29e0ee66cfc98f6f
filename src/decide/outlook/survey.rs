//! What is known of hosts before tasks are placed on them: how much runs there at once, how long its queue is, how files come.

use std::collections::BTreeMap;

use crate::decide::graph::estimate::{Estimate, Source};
use crate::decide::graph::load::Load;
use crate::decide::graph::net::{Link, Net};
use crate::decide::graph::queues::{Queues, UNKNOWN_LIMIT, Wait};
use crate::decide::outlook::board::{EARLIER, LATER, SiteFacts};
use crate::decide::outlook::parts::{self, Part};
use crate::language::hosts::{Hosts, partitions};
use crate::model::batch::PartitionState;
use crate::model::facts::Facts;
use crate::model::host::{Batch, Host, HostName};
use crate::model::units::{Price, Timestamp};

/// Until a job starts in a queue of which nothing is known: seconds or an hour.
pub const UNKNOWN_WAIT: Estimate = Estimate::guess(5.0, 120.0, 3600.0);
/// Until a batch system that would start a job now may start it all the same.
const MINUTE: f64 = 60.0;
/// Cores of a cluster of which nothing is known.
const UNKNOWN_SLOTS: u32 = 64;

/// Hosts, and what lies between them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Survey {
    /// The hosts.
    pub sites: Vec<SiteFacts>,
    /// How files come from one to another.
    pub ways: Vec<(HostName, HostName, Link)>,
}

impl Survey {
    /// Takes in how many seconds the batch system of a host would make a job wait by its own word; what is known better stays.
    pub fn told(&mut self, host: &HostName, seconds: f64) {
        let guessed = |site: &&mut SiteFacts| site.name == *host && site.is_batch && site.queues.is_empty();
        for site in self.sites.iter_mut().filter(guessed) {
            let (low, high) = (seconds * EARLIER, seconds.max(MINUTE) * LATER);
            site.wait = Estimate { low, middle: seconds, high, source: Source::Measured(1) };
        }
    }
}

/// Surveys some hosts; this machine, which is always among them, has so many cores; it is that time.
pub fn survey(
    names: &[HostName],
    hosts: &Hosts,
    facts: &BTreeMap<HostName, Facts>,
    net: &Net,
    seen: &[Wait],
    (cores, now): (u32, Timestamp),
) -> Survey {
    let mut queues = Queues::of_hosts(seen);
    let here = HostName::local();
    // Where any host has a rate, one that has none costs nothing; where none has, core-hours count.
    let none = if hosts.iter().any(|host| host.rate.is_some()) { 0.0 } else { 1.0 };
    let rate = |host: Option<&Host>| host.and_then(|host| host.rate).map_or(none, Price::value);
    let mut survey = Survey::default();
    survey.sites.push(SiteFacts {
        name: here.clone(),
        is_batch: false,
        slots: cores,
        jobs: None,
        wait: Estimate::ZERO,
        queues: Queues::default(),
        rate: rate(hosts.get(here.as_str())),
        parts: Vec::new(),
        opens: None,
    });
    for host in names.iter().filter(|name| !name.is_local()).filter_map(|name| hosts.get(name.as_str())) {
        let is_batch = host.batch != Some(Batch::None);
        let queues = if is_batch { queues.remove(&host.name).unwrap_or_default() } else { Queues::default() };
        let at = now.0 as f64 / 1e6;
        let usual = || queues.estimate(None, at, 1, UNKNOWN_LIMIT);
        let usual = || usual().or_else(|| by_load(host, facts.get(&host.name), at)).unwrap_or(UNKNOWN_WAIT);
        survey.sites.push(SiteFacts {
            name: host.name.clone(),
            is_batch,
            slots: slots(host, facts.get(&host.name), at),
            jobs: host.max_jobs,
            wait: if is_batch { usual() } else { Estimate::ZERO },
            queues,
            rate: rate(Some(host)),
            parts: if is_batch { parts(host, facts.get(&host.name), at) } else { Vec::new() },
            opens: None,
        });
    }
    let all: Vec<HostName> = survey.sites.iter().map(|site| site.name.clone()).collect();
    for from in &all {
        let reach = net.reach([from], 1e9);
        for to in all.iter().filter(|to| *to != from) {
            let link = net.stop(to).and_then(|stop| reach.link(stop));
            survey.ways.extend(link.map(|link| (from.clone(), to.clone(), link)));
        }
    }
    survey
}

/// Returns the partitions of a host that take jobs.
fn parts(host: &Host, facts: Option<&Facts>, now: f64) -> Vec<Part> {
    Part::of(&partitions(host, facts), looked(facts), now)
}

/// Returns when a host was probed, in seconds.
fn looked(facts: Option<&Facts>) -> Option<f64> {
    Some(facts?.at?.0 as f64 / 1e6)
}

/// Returns how long a small job waits by the cores that nobody used lately, of the partition that had the most of them.
fn by_load(host: &Host, facts: Option<&Facts>, now: f64) -> Option<Estimate> {
    let all = partitions(host, facts);
    let freest =
        all.iter().filter(|it| it.state == PartitionState::Up && !it.is_routed_only).max_by_key(|it| it.idle)?;
    Load::of(facts?.at, None, Some(freest), now)?.wait(1, None)
}

/// Returns how many cores run at once on a host.
fn slots(host: &Host, facts: Option<&Facts>, now: f64) -> u32 {
    let cores = if host.batch == Some(Batch::None) {
        facts.and_then(|facts| facts.machine.cores)
    } else {
        let open = partitions(host, facts).into_iter().filter(|partition| partition.state == PartitionState::Up);
        let is_fresh = parts::is_fresh(looked(facts), now);
        let cores = open.filter_map(|partition| parts::slots(&partition, is_fresh));
        // Partitions share nodes: the largest is what there is for sure.
        cores.max()
    };
    let unknown = if host.batch == Some(Batch::None) { 1 } else { UNKNOWN_SLOTS };
    // How many jobs it takes is another limit, however many cores they have.
    cores.unwrap_or(unknown).max(1)
}
