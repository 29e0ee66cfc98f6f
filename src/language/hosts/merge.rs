//! The layers laid over each other: built-in, what was probed, the site file, `hosts.toml`. What a workflow or the command line
//! says is laid over that with [`Setting::lay_over`](super::Setting::lay_over).

use std::collections::BTreeMap;

use crate::language::document::nearest;
use crate::language::hosts::read::{Entry, HostsFile};
use crate::language::hosts::setting::{Said, Setting};
use crate::language::hosts::site::{SiteFile, generic};
use crate::model::batch::{Partition, PartitionState};
use crate::model::facts::{BatchSystem, Facts};
use crate::model::host::{Batch, Host, HostName, HostPath, Links, Origin, PartitionSettings};
use crate::model::units::Bytes;

/// All hosts that csync knows, each with everything that holds for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    hosts: Vec<Host>,
    links: Links,
}

impl Hosts {
    /// Makes them of hosts of which everything is known, this machine among them.
    pub const fn new(hosts: Vec<Host>, links: Links) -> Self {
        Self { hosts, links }
    }

    /// Returns a host.
    pub fn get(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name.as_str() == name)
    }

    /// Iterates over the hosts: this machine, then the others in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter()
    }

    /// Returns the hosts with a tag.
    pub fn tagged(&self, tag: &str) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(move |host| host.tags.iter().any(|of_host| of_host == tag))
    }

    /// Returns the links between them.
    pub const fn links(&self) -> &Links {
        &self.links
    }
}

/// Lays what `hosts.toml` says over the site files and over what was found on the hosts.
pub fn merge(file: &HostsFile, sites: &[SiteFile], facts: &BTreeMap<HostName, Facts>) -> Hosts {
    let nothing = Entry { name: HostName::local(), said: Vec::new() };
    let (own, others): (Vec<&Entry>, Vec<&Entry>) = file.hosts.iter().partition(|entry| entry.name.is_local());
    let entries = own.first().copied().into_iter().chain(own.is_empty().then_some(&nothing)).chain(others);
    let hosts = entries.map(|entry| merge_one(entry, sites, facts.get(&entry.name))).collect();
    Hosts { hosts, links: file.links.clone() }
}

fn merge_one(entry: &Entry, sites: &[SiteFile], facts: Option<&Facts>) -> Host {
    let mut host = Host::new(entry.name.clone());
    for setting in facts.map(found).unwrap_or_default() {
        // This machine is no cluster, even where it has the commands of one, unless a person says so.
        if !(host.name.is_local() && matches!(setting, Setting::Batch(_) | Setting::Scratch(_))) {
            setting.lay_over(&mut host, Origin::Probed);
        }
    }
    let said = |wanted: fn(&Setting) -> Option<&Setting>| entry.said.iter().find_map(|said| wanted(&said.setting));
    let named = said(|setting| matches!(setting, Setting::Site(_)).then_some(setting));
    let batch = said(|setting| matches!(setting, Setting::Batch(_)).then_some(setting));
    let site = match (named, batch) {
        (Some(Setting::Site(name)), _) => Some(name.as_str()),
        (_, Some(Setting::Batch(batch))) => batch.flavour().map(generic),
        _ => host.batch.and_then(Batch::flavour).map(generic),
    };
    if let Some(site) = site.and_then(|name| sites.iter().find(|site| site.name == name)) {
        // What made a site file that nobody named the one that holds is not said by it.
        let follows = |said: &&Said| named.is_some() || !matches!(said.setting, Setting::Batch(_));
        for said in site.said.iter().filter(follows) {
            said.setting.clone().lay_over(&mut host, Origin::Site(site.name.clone()));
        }
    }
    for said in &entry.said {
        said.setting.clone().lay_over(&mut host, Origin::File(said.line));
    }
    host
}

/// Returns what a probe says of the values that people may also set.
fn found(facts: &Facts) -> Vec<Setting> {
    let flavour = facts.batch.as_ref().map(BatchSystem::flavour);
    let mut settings = vec![Setting::Batch(flavour.into())];
    let usable = facts.containers.iter().filter(|program| program.usable != Some(false));
    let containers: Vec<_> = usable.map(|program| program.runtime).collect();
    if !containers.is_empty() {
        settings.push(Setting::Containers(containers));
    }
    settings.extend(facts.internet.login.map(Setting::InternetLogin));
    settings.extend(facts.internet.compute.or_else(|| internet_of_all(facts)).map(Setting::InternetCompute));
    let shared = facts.filesystems.iter().filter(|filesystem| filesystem.network);
    let shared: Vec<HostPath> = shared.filter_map(|filesystem| filesystem.mount.parse().ok()).collect();
    if !shared.is_empty() {
        settings.push(Setting::Filesystems(shared));
    }
    let scratch = facts.scratch.first().and_then(|candidate| candidate.path.parse::<HostPath>().ok());
    settings.extend(scratch.map(|path| Setting::Scratch(path.join("csync"))));
    settings
}

/// Returns whether jobs saw the internet on compute nodes, where they looked in every partition that takes any, and saw the same.
fn internet_of_all(facts: &Facts) -> Option<bool> {
    let partitions = &facts.batch.as_ref()?.offers.partitions;
    let mut seen = partitions
        .iter()
        .filter(|partition| takes_jobs(partition))
        .map(|partition| facts.nodes.get(&partition.name).and_then(|sight| sight.internet));
    let first = seen.next()??;
    seen.all(|internet| internet == Some(first)).then_some(first)
}

/// Returns whether jobs can be sent to a partition, and run in that one.
pub fn takes_jobs(partition: &Partition) -> bool {
    partition.state != PartitionState::Closed && !partition.is_routed_only && partition.routes_to.is_empty()
}

/// What `sinfo` says of memory that nobody configured is 1 MB (slurm.conf, `RealMemory`): less than this is taken for that.
const CONFIGURED: Bytes = Bytes::mib(64);

/// Returns a host's partitions: what its batch system said of them, under what people set; those that people alone name come
/// last.
pub fn partitions(host: &Host, facts: Option<&Facts>) -> Vec<Partition> {
    let found = facts.and_then(|facts| facts.batch.as_ref()).map(|batch| batch.offers.partitions.clone());
    let mut all = found.unwrap_or_default();
    for partition in &mut all {
        partition.memory_per_node = partition.memory_per_node.filter(|mem| *mem >= CONFIGURED);
        partition.memory_least = partition.memory_least.filter(|mem| *mem >= CONFIGURED);
    }
    for (name, settings) in &host.partitions {
        let at = all.iter().position(|partition| partition.name == *name).unwrap_or_else(|| {
            all.push(Partition { name: name.clone(), ..Partition::default() });
            all.len() - 1
        });
        if let Some(partition) = all.get_mut(at) {
            set(partition, settings);
        }
    }
    // What holds for all of a host is said there; a person's word counts more than what a job saw.
    if let Some(facts) = facts.filter(|_| host.internet.compute.is_none()) {
        for partition in &mut all {
            partition.internet = facts.nodes.get(&partition.name).and_then(|sight| sight.internet);
        }
    }
    all
}

fn set(partition: &mut Partition, settings: &PartitionSettings) {
    partition.walltime_max = settings.walltime.or(partition.walltime_max);
    partition.walltime_default = settings.default_walltime.or(partition.walltime_default);
    if let Some(nodes) = settings.nodes {
        // Those that a probe saw out of service are out of it, however many somebody says that there are.
        let away = partition.in_service.map_or(0, |serving| partition.nodes.saturating_sub(serving));
        partition.in_service = partition.in_service.map(|_| nodes.saturating_sub(away));
        partition.nodes = nodes;
    }
    partition.cores_per_node = settings.cores.or(partition.cores_per_node);
    partition.memory_per_node = settings.memory.or(partition.memory_per_node);
    partition.memory_least = settings.memory.or(partition.memory_least);
    if let Some(gpus) = settings.gpus {
        let models = std::mem::take(&mut partition.gpus);
        let model = models.into_keys().next().unwrap_or_else(|| "gpu".to_owned());
        partition.gpus = if gpus == 0 { BTreeMap::new() } else { [(model, gpus)].into() };
    }
}

/// Returns the host that a mistyped name was probably meant to be.
pub fn near<'h>(name: &str, hosts: &'h Hosts) -> Option<&'h str> {
    nearest(name, hosts.iter().map(|host| host.name.as_str()))
}
