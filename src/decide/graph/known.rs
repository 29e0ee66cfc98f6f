//! The graph of the hosts that are configured, by what was measured.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::decide::graph::estimate::{Estimate, Source};
use crate::decide::graph::net::{Link, Net};
use crate::language::hosts::Hosts;
use crate::model::data::{DataFact, Rate};
use crate::model::host::HostName;

/// Bytes a second to a host where nothing was measured: a slow link at home, a campus, a data center.
const RATE: Estimate = Estimate::guess(2e6, 20e6, 110e6);
/// Seconds until the first byte comes, likewise.
const LATENCY: f64 = 0.5;

/// Returns what lies between the hosts, and what they share.
pub fn net(hosts: &Hosts, rates: &[Rate], shared: &[DataFact]) -> Net {
    let mut net = Net::default();
    let here = HostName::local();
    net.host(&here);
    // The newest of each pair, whichever way the files went.
    let mut newest: HashMap<(&HostName, &HostName), &Rate> = HashMap::with_capacity(rates.len());
    for rate in rates {
        let ends = sorted(&rate.source, &rate.target);
        let known = newest.entry(ends).or_insert(rate);
        if known.at <= rate.at {
            *known = rate;
        }
    }
    let measured = |one: &HostName, other: &HostName| newest.get(&sorted(one, other)).map(|rate| spread(rate.rate));
    for host in hosts.iter().filter(|host| !host.name.is_local()) {
        let rate = measured(&here, &host.name).unwrap_or(RATE);
        net.link(&here, &host.name, Link { rate, latency: LATENCY });
    }
    let direct = hosts.links().iter().filter(|(_, link)| link.direct).map(|((from, to), _)| sorted(from, to));
    // Most of what was measured begins or ends here, which is in the graph by now.
    let away = |(one, other): &(&HostName, &HostName)| !one.is_local() && !other.is_local();
    let between: BTreeSet<(&HostName, &HostName)> = direct.chain(newest.keys().copied()).filter(away).collect();
    let known: HashSet<&HostName> =
        if between.is_empty() { HashSet::new() } else { hosts.iter().map(|host| &host.name).collect() };
    for (one, other) in between.into_iter().filter(|(one, other)| known.contains(one) && known.contains(other)) {
        let rate = measured(one, other).unwrap_or(RATE);
        net.link(one, other, Link { rate, latency: 2.0 * LATENCY });
    }
    for fact in shared {
        if let DataFact::Shared { host, directory, seen: true, .. } = fact {
            // One filesystem a directory: what this machine and any host see under the same name.
            net.mount(&here, directory, directory);
            net.mount(host, directory, directory);
        }
    }
    net
}

/// A rate that was measured on the last transfers: the next may be half or half again as fast.
pub const fn spread(rate: f64) -> Estimate {
    Estimate { low: rate * 0.5, middle: rate, high: rate * 1.5, source: Source::Measured(1) }
}

fn sorted<'h>(one: &'h HostName, other: &'h HostName) -> (&'h HostName, &'h HostName) {
    if one <= other { (one, other) } else { (other, one) }
}
