//! What is kept of hosts to judge lines by: each host's facts, and every name that leads to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::decide::advise::facts::{HostFacts, PartitionFacts, Way};
use crate::language::batch::nodes::{MOST_NODES, node_names};
use crate::language::hosts::partitions;
use crate::model::batch::{Partition, PartitionState};
use crate::model::facts::Facts;
use crate::model::host::{Host, LoginNode};

/// What `ssh_config` says of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The address that it leads to: the name itself where nothing is said.
    pub host_name: String,
    /// Jump hosts, as `ProxyJump` has them; or that another command carries the connection.
    pub jump: Option<String>,
    /// Whether another command carries the connection.
    pub by_command: bool,
    /// The account, where one is said.
    pub user: Option<String>,
    /// The port.
    pub port: u16,
}

/// A name, and where it leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameFacts {
    /// The host.
    pub host: String,
    /// What `ssh` lacks to get there.
    pub way: Option<Way>,
    /// Whether it names a compute node of the host.
    pub is_node: bool,
}

/// Returns what is kept of a host.
pub fn host_facts(host: &Host, probed: Option<&Facts>) -> HostFacts {
    let dialect = probed.and_then(|facts| Some(&facts.batch.as_ref()?.offers.dialect));
    let shared = host.filesystems.iter().map(|path| path.as_str().to_owned());
    HostFacts {
        name: host.name.as_str().to_owned(),
        batch: host.batch.and_then(crate::model::host::Batch::flavour),
        light: host.policy.login_node == LoginNode::Light,
        agents: host.policy.agents,
        shared: shared.collect(),
        partitions: partitions(host, probed).iter().map(partition).collect(),
        one_node_environment: dialect.and_then(|dialect| dialect.one_node_environment.clone()),
        memory_resource: dialect.and_then(|dialect| dialect.memory_resource.clone()),
    }
}

fn partition(partition: &Partition) -> PartitionFacts {
    PartitionFacts {
        name: partition.name.clone(),
        is_default: partition.is_default,
        is_up: partition.state == PartitionState::Up,
        walltime_max: partition.walltime_max,
        memory: partition.memory_max.or(partition.memory_per_node),
        cores: partition.cores_per_node,
        gpus: !partition.gpus.is_empty(),
    }
}

/// Returns every name that leads to hosts. `route` says what `ssh_config` makes of a name; none where that is not known, and then
/// nothing is lacking.
pub fn names(
    hosts: &[&Host],
    probed: &BTreeMap<String, &Facts>,
    route: &mut dyn FnMut(&str) -> Option<Route>,
) -> BTreeMap<String, NameFacts> {
    let mut names: BTreeMap<String, NameFacts> = BTreeMap::new();
    for host in hosts {
        let Some(alias) = &host.ssh else { continue };
        let alias = alias.as_str();
        let name = host.name.as_str();
        names.entry(alias.to_owned()).or_insert_with(|| NameFacts { host: name.to_owned(), way: None, is_node: false });
        let Some(own) = route(alias) else { continue };
        for other in [name, own.host_name.as_str()] {
            if other != alias && !names.contains_key(other) {
                let way = route(other).and_then(|there| lacking(other, &own, &there));
                names.insert(other.to_owned(), NameFacts { host: name.to_owned(), way, is_node: false });
            }
        }
    }
    for host in hosts {
        let Some(facts) = probed.get(host.name.as_str()) else { continue };
        add_nodes(host, facts, route, &mut names);
    }
    names
}

/// Returns what `ssh NAME` lacks to get where the host's own name gets.
fn lacking(name: &str, own: &Route, there: &Route) -> Option<Way> {
    // What a person wrote for this name holds.
    let is_said = there.jump.is_some() || there.by_command || there.host_name != name;
    let jump = own.jump.clone().filter(|_| !is_said && !own.by_command)?;
    Some(Way {
        jump,
        host_name: (own.host_name != name).then(|| own.host_name.clone()),
        user: own.user.clone().filter(|_| there.user.is_none()),
        port: (own.port != 22 && there.port == 22).then_some(own.port),
    })
}

/// Compute nodes are reached through the login node.
fn add_nodes(
    host: &Host,
    facts: &Facts,
    route: &mut dyn FnMut(&str) -> Option<Route>,
    names: &mut BTreeMap<String, NameFacts>,
) {
    let (Some(alias), Some(batch)) = (&host.ssh, &facts.batch) else { return };
    let lists = batch.offers.partitions.iter().flat_map(|partition| &partition.node_names);
    let mut left = MOST_NODES;
    for node in lists.flat_map(|list| node_names(list)) {
        if left == 0 {
            return;
        }
        left -= 1;
        if names.contains_key(&node) {
            continue;
        }
        let said = route(&node).is_none_or(|there| there.jump.is_some() || there.by_command || there.host_name != node);
        let way = (!said).then(|| Way { jump: alias.as_str().to_owned(), ..Way::default() });
        names.insert(node, NameFacts { host: host.name.as_str().to_owned(), way, is_node: true });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::batch::{BatchFacts, Dialect, Flavour, Partition};
    use crate::model::facts::BatchSystem;

    fn hosts() -> Vec<Host> {
        let mut inner = Host::new("lab".parse().unwrap());
        inner.ssh = Some("inner".parse().unwrap());
        vec![Host::new("hpc".parse().unwrap()), inner]
    }

    fn probed() -> Facts {
        let partition = Partition {
            name: "p".to_owned(),
            node_names: vec!["n[1-2]".to_owned(), "own".to_owned()],
            ..Partition::default()
        };
        let offers = BatchFacts {
            dialect: Dialect::of(Flavour::Slurm),
            version: None,
            partitions: vec![partition],
            accounts: vec![],
            qos: vec![],
            array_max: None,
            jobs_max: None,
            cgroups: None,
            notes: vec![],
        };
        Facts { batch: Some(BatchSystem { offers, bin: None, env: BTreeMap::new() }), ..Facts::default() }
    }

    /// `hpc` is an address behind `gw`; `inner` is 10.0.0.9 behind `gw,mid`; `own` is what a person wrote for a node.
    fn route(name: &str) -> Option<Route> {
        let plain = |host_name: &str| Route { host_name: host_name.to_owned(), port: 22, ..Route::default() };
        Some(match name {
            "hpc" => Route { jump: Some("gw".to_owned()), ..plain("hpc") },
            "inner" => {
                Route { jump: Some("gw,mid".to_owned()), user: Some("ada".to_owned()), port: 2222, ..plain("10.0.0.9") }
            }
            "own" => Route { jump: Some("x".to_owned()), ..plain("own") },
            "n2" => return None,
            other => plain(other),
        })
    }

    #[test]
    fn every_name_leads_to_its_host() {
        let (hosts, facts) = (hosts(), probed());
        let hosts: Vec<&Host> = hosts.iter().collect();
        let probed = BTreeMap::from([("hpc".to_owned(), &facts)]);
        let names = names(&hosts, &probed, &mut route);
        let way = |name: &str| names[name].way.clone();
        assert_eq!((way("hpc"), way("inner")), (None, None), "ssh knows these");
        let lab = Way {
            jump: "gw,mid".to_owned(),
            host_name: Some("10.0.0.9".to_owned()),
            user: Some("ada".to_owned()),
            port: Some(2222),
        };
        assert_eq!(way("lab"), Some(lab.clone()));
        assert_eq!(way("10.0.0.9"), Some(Way { host_name: None, ..lab }));
        assert_eq!(way("n1"), Some(Way { jump: "hpc".to_owned(), ..Way::default() }));
        assert_eq!((way("n2"), way("own")), (None, None), "nothing is known, and a person said so");
        assert!(names["n1"].is_node && !names["hpc"].is_node && names["n1"].host == "hpc");
    }
}
