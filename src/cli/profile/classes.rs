//! What classes of hosts are called: what kind of host it is, as far as this machine knows it, and a token. What was learned holds the
//! token alone.

use std::collections::{BTreeMap, HashMap};

use crate::cli::context::Context;
use crate::cli::planned;
use crate::language::command::{Token, TokenKey};
use crate::language::hosts::partitions;
use crate::model::facts::Facts;
use crate::model::host::{Host, HostName};
use crate::reach::config::{ConfigDir, HostsConfig};
use crate::reach::learned::class_of;
use crate::reach::store::{Place, Reader};

/// Which classes are hosts that this machine knows, and of what kind these are.
#[derive(Debug, Default)]
pub(super) struct Classes(HashMap<Token, Kind>);

/// A kind of host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Some node of it has GPUs.
    Gpu,
    /// Somebody looked, and it has none.
    Cpu,
}

impl Classes {
    /// Looks at the hosts that are known here. Where that cannot be, they are called less: what was learned is told all the same.
    pub(super) fn of(context: &Context, key: &TokenKey) -> Self {
        let gpus = planned::here().gpus > 0;
        let here = (class_of(HostName::LOCAL, key), if gpus { Kind::Gpu } else { Kind::Cpu });
        let facts = facts(context).unwrap_or_default();
        let config = ConfigDir::locate(|name| std::env::var_os(name)).ok().and_then(|dir| HostsConfig::load(&dir).ok());
        let hosts = config.map(|config| config.hosts(&facts)).unwrap_or_default();
        let kinds = hosts.iter().filter(|host| !host.name.is_local()).filter_map(|host| {
            let kind = kind(host, facts.get(&host.name))?;
            Some((class_of(host.name.as_str(), key), kind))
        });
        Self(kinds.chain([here]).collect())
    }

    /// Returns what a class is called.
    pub(super) fn name(&self, class: Token) -> String {
        let kind = match self.0.get(&class) {
            Some(Kind::Gpu) => "gpu-",
            Some(Kind::Cpu) => "cpu-",
            None => "",
        };
        format!("{kind}host-{class}")
    }
}

fn facts(context: &Context) -> Option<BTreeMap<HostName, Facts>> {
    let place = Place::of(&context.state_dir().ok()?);
    let probed = context.block_on(async {
        let Ok(Some(reader)) = Reader::open(&place).await else { return Ok(None) };
        let probed = reader.probed().await.ok();
        Ok(probed)
    });
    let probed = probed.ok().flatten()?;
    Some(probed.into_iter().filter_map(|(host, probed)| Some((host, probed.facts?))).collect())
}

/// Returns of what kind a host is; none where nobody looked.
fn kind(host: &Host, facts: Option<&Facts>) -> Option<Kind> {
    let partitions = partitions(host, facts);
    let has_gpus = partitions.iter().any(|partition| partition.gpus.values().any(|count| *count > 0))
        || facts.is_some_and(|facts| facts.machine.gpus.iter().any(|gpu| gpu.count > 0));
    match (has_gpus, facts) {
        (true, _) => Some(Kind::Gpu),
        (false, Some(_)) => Some(Kind::Cpu),
        (false, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::hosts::{merge, read, shipped};
    use crate::model::facts::Gpu;

    #[test]
    fn a_host_is_called_by_its_kind_as_far_as_it_is_known() {
        let text = "[hosts.hpc]\nbatch = \"slurm\"\n[hosts.hpc.partitions.gpu]\ngpus = 4\n[hosts.lab]\n[hosts.new]\n[hosts.box]\n";
        let (file, mistakes) = read(text, &[]);
        assert_eq!(mistakes, []);
        let hosts = merge(&file, &shipped(), &BTreeMap::new());
        let plain = Facts::default();
        let mut card = Facts::default();
        card.machine.gpus.push(Gpu { count: 1, ..Gpu::default() });
        let of = |name: &str, facts: Option<&Facts>| kind(hosts.get(name).unwrap(), facts);
        assert_eq!(of("hpc", None), Some(Kind::Gpu), "a person wrote it down");
        assert_eq!(
            (of("lab", Some(&plain)), of("box", Some(&card)), of("new", None)),
            (Some(Kind::Cpu), Some(Kind::Gpu), None)
        );
        let classes = Classes(HashMap::from([(Token(1 << 96), Kind::Gpu), (Token(2 << 96), Kind::Cpu)]));
        let names = [1_u128, 2, 3].map(|number| classes.name(Token(number << 96)));
        assert_eq!(names, ["gpu-host-00000001", "cpu-host-00000002", "host-00000003"]);
    }
}
