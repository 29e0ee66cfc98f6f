//! From a described scenario to hosts and ways between them.

use crate::decide::place::problem::{Network, Path, Room, Site, Wait};
use crate::decide::simulate::luck::Chance;
use crate::decide::simulate::world::Outage;
use crate::language::scenario::{Scenario, ScenarioHost, WaitFor};

/// Bytes a second of a link of which nothing is said: a gigabit's.
const RATE: f64 = 1e8;

/// A scenario, by number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stage {
    /// The hosts' names, in the order of the network's.
    pub names: Vec<String>,
    /// The hosts and the ways between them.
    pub network: Network,
    /// Where the workflow's files lie at first.
    pub data: u16,
    /// When hosts are away.
    pub outages: Vec<Outage>,
    /// How much chance there is.
    pub chance: Chance,
}

impl Stage {
    /// Sets a scenario up. Hosts without a link between them are reached over others, as far as there is a way.
    pub fn of(scenario: &Scenario) -> Self {
        let names: Vec<String> = scenario.hosts.keys().cloned().collect();
        let number = |name: &str| names.iter().position(|known| known == name);
        let count = names.len();
        let mut paths: Vec<Option<Path>> = vec![None; count * count];
        for (link, (name, way)) in (0_u32..).zip(&scenario.links) {
            let Some((a, b)) = scenario.ends(name).and_then(|(a, b)| Some((number(a)?, number(b)?))) else { continue };
            let per_byte = 1.0 / way.rate.map_or(RATE, |rate| rate.0 as f64);
            let path = Path { links: vec![link], latency: way.latency, per_byte };
            for at in [a * count + b, b * count + a] {
                if let Some(slot) = paths.get_mut(at) {
                    *slot = Some(path.clone());
                }
            }
        }
        relay(&mut paths, count);
        let sites = scenario.hosts.values().map(site).collect();
        let outages = (0_u16..).zip(scenario.hosts.values()).flat_map(|(site, host)| {
            let outage = move |away: &_| {
                let away: &crate::language::scenario::ScenarioOutage = away;
                Outage { site, from: away.from.0 as f64, seconds: away.lasts.0 as f64 }
            };
            host.down.iter().map(outage)
        });
        let chance = scenario.chance;
        Self {
            data: data(scenario),
            network: Network { sites, paths, links: scenario.links.len() },
            outages: outages.collect(),
            chance: Chance { runs: chance.runs, waits: chance.waits, fails: chance.fails },
            names,
        }
    }
}

/// Returns where the files lie: where that is said, else here, else on the first host.
fn data(scenario: &Scenario) -> u16 {
    let named = scenario.hosts.values().position(|host| host.data);
    let here = || scenario.hosts.keys().position(|name| name == "local");
    named.or_else(here).unwrap_or_default() as u16
}

fn site(host: &ScenarioHost) -> Site {
    let wait = host.wait.map_or(0.0, |wait| wait.0 as f64);
    let wait = match host.waits.unwrap_or_default() {
        _ if wait <= 0.0 => Wait::None,
        WaitFor::Task => Wait::Each(wait),
        WaitFor::Allocation => Wait::Once(wait),
    };
    Site {
        room: Room {
            cores: host.cores.unwrap_or(1),
            memory: host.memory.map_or(u64::MAX, |memory| memory.0),
            gpus: host.gpus,
        },
        speed: host.speed.unwrap_or(1.0),
        wait,
        rate: host.rate,
    }
}

/// Finds ways over other hosts where there is no link: bytes pass through their memory, at the rate of the slowest part.
fn relay(paths: &mut [Option<Path>], count: usize) {
    let at = |paths: &[Option<Path>], from: usize, to: usize| paths.get(from * count + to).cloned().flatten();
    for over in 0..count {
        for from in 0..count {
            for to in 0..count {
                if from == to || from == over || to == over {
                    continue;
                }
                let (Some(first), Some(second)) = (at(paths, from, over), at(paths, over, to)) else { continue };
                let mut links = first.links;
                links.extend(second.links.into_iter().filter(|link| !links.contains(link)).collect::<Vec<_>>());
                let whole = Path {
                    links,
                    latency: first.latency + second.latency,
                    per_byte: first.per_byte.max(second.per_byte),
                };
                let known = at(paths, from, to);
                let is_better =
                    known.is_none_or(|known| (whole.per_byte, whole.links.len()) < (known.per_byte, known.links.len()));
                if let Some(slot) = paths.get_mut(from * count + to).filter(|_| is_better) {
                    *slot = Some(whole);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::scenario::read;

    #[test]
    fn hosts_without_a_link_are_reached_over_others_and_islands_are_not() {
        let text = "[hosts.a]\n[hosts.b]\nwait = \"1m\"\n[hosts.c]\nwait = \"1m\"\nwaits = \"allocation\"\n[hosts.island]\n\
                    [links]\n\"a-b\" = { rate = \"8M\", latency = 0.5 }\n\"b-c\" = { rate = \"2M\", latency = 0.25 }\n";
        let stage = Stage::of(&read(text).expect("it is sound"));
        let way = stage.network.path(0, 2).expect("over b");
        assert_eq!((way.links.as_slice(), way.latency, way.per_byte), ([0, 1].as_slice(), 0.75, 1.0 / 2_097_152.0));
        assert!(stage.network.path(0, 3).is_none());
        let waits: Vec<Wait> = stage.network.sites.iter().map(|site| site.wait).collect();
        assert_eq!(waits, [Wait::None, Wait::Each(60.0), Wait::Once(60.0), Wait::None]);
    }
}
