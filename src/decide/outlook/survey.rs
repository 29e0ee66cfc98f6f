//! What is known of hosts before tasks are placed on them: how much runs there at once, how long its queue is, how files come.

use std::collections::{BTreeMap, HashMap};

use crate::decide::graph::estimate::{Estimate, Source};
use crate::decide::graph::net::{Link, Net};
use crate::decide::outlook::board::SiteFacts;
use crate::language::hosts::{Hosts, partitions};
use crate::model::batch::PartitionState;
use crate::model::facts::Facts;
use crate::model::host::{Batch, Host, HostName};

/// Waits of a host that count: older ones tell of another load.
const RECENT: usize = 100;
/// Until a job starts in a queue of which nothing is known: seconds or an hour.
pub const UNKNOWN_WAIT: Estimate = Estimate::guess(5.0, 120.0, 3600.0);
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

/// Returns how long jobs waited on each host, by what was seen last.
pub fn waits(seen: &[(HostName, f64)]) -> HashMap<&HostName, Estimate> {
    let mut by_host: HashMap<&HostName, Vec<f64>> = HashMap::new();
    for (host, seconds) in seen {
        let of = by_host.entry(host).or_default();
        if of.len() < RECENT {
            of.push(*seconds);
        }
    }
    let hosts = by_host.into_iter();
    hosts.filter_map(|(host, mut of)| Some((host, Estimate::of_seen(&mut of, Source::Learned)?))).collect()
}

/// Surveys some hosts; this machine, which is always among them, has so many cores.
pub fn survey(
    names: &[HostName],
    hosts: &Hosts,
    facts: &BTreeMap<HostName, Facts>,
    net: &Net,
    seen: &[(HostName, f64)],
    cores: u32,
) -> Survey {
    let waits = waits(seen);
    let here = HostName::local();
    let mut survey = Survey::default();
    survey.sites.push(SiteFacts { name: here.clone(), is_batch: false, slots: cores, wait: Estimate::ZERO, rate: 1.0 });
    for host in names.iter().filter(|name| !name.is_local()).filter_map(|name| hosts.get(name.as_str())) {
        let is_batch = host.batch != Some(Batch::None);
        survey.sites.push(SiteFacts {
            name: host.name.clone(),
            is_batch,
            slots: slots(host, facts.get(&host.name)),
            wait: if is_batch { waits.get(&host.name).copied().unwrap_or(UNKNOWN_WAIT) } else { Estimate::ZERO },
            rate: 1.0,
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

/// Returns how many cores run at once on a host.
fn slots(host: &Host, facts: Option<&Facts>) -> u32 {
    let most = host.max_jobs.unwrap_or(u32::MAX);
    let cores = if host.batch == Some(Batch::None) {
        facts.and_then(|facts| facts.machine.cores)
    } else {
        let open = partitions(host, facts).into_iter().filter(|partition| partition.state == PartitionState::Up);
        let cores = open.filter_map(|partition| Some(partition.nodes.max(1).saturating_mul(partition.cores_per_node?)));
        // Partitions share nodes: the largest is what there is for sure.
        cores.max()
    };
    let unknown = if host.batch == Some(Batch::None) { 1 } else { UNKNOWN_SLOTS };
    cores.unwrap_or(unknown).min(most).max(1)
}
