//! The layers laid over each other: built-in, what was probed, the site file, `hosts.toml`. What a workflow or the command line
//! says is laid over that with [`Setting::lay_over`](super::Setting::lay_over).

use std::collections::BTreeMap;

use crate::language::hosts::read::{Entry, HostsFile};
use crate::language::hosts::setting::Setting;
use crate::language::hosts::site::{SiteFile, generic};
use crate::model::facts::{BatchSystem, Facts};
use crate::model::host::{Batch, Host, HostName, HostPath, Links, Origin};

/// All hosts that csync knows, each with everything that holds for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    hosts: Vec<Host>,
    links: Links,
}

impl Hosts {
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
        for said in &site.said {
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
    settings.extend(facts.internet.compute.map(Setting::InternetCompute));
    let shared = facts.filesystems.iter().filter(|filesystem| filesystem.network);
    let shared: Vec<HostPath> = shared.filter_map(|filesystem| filesystem.mount.parse().ok()).collect();
    if !shared.is_empty() {
        settings.push(Setting::Filesystems(shared));
    }
    let scratch = facts.scratch.first().and_then(|candidate| candidate.path.parse::<HostPath>().ok());
    settings.extend(scratch.map(|path| Setting::Scratch(path.join("csync"))));
    settings
}
