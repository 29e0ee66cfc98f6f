//! The graph of the hosts that are configured, by what was measured.

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
    let measured = |one: &HostName, other: &HostName| {
        let both =
            |rate: &&Rate| (&rate.source, &rate.target) == (one, other) || (&rate.source, &rate.target) == (other, one);
        rates.iter().filter(both).max_by_key(|rate| rate.at)
    };
    for host in hosts.iter().filter(|host| !host.name.is_local()) {
        let rate = measured(&here, &host.name).map_or(RATE, |rate| spread(rate.rate));
        net.link(&here, &host.name, Link { rate, latency: LATENCY });
    }
    let between = rates.iter().filter(|rate| !rate.source.is_local() && !rate.target.is_local());
    for rate in between.filter(|rate| hosts.get(rate.source.as_str()).is_some()) {
        net.link(&rate.source, &rate.target, Link { rate: spread(rate.rate), latency: 2.0 * LATENCY });
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
