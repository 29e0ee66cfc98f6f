//! The graph of the hosts that are configured, by what was measured.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::decide::graph::estimate::{Estimate, Source};
use crate::decide::graph::net::{Link, Net};
use crate::language::hosts::Hosts;
use crate::model::data::{DataFact, Rate};
use crate::model::host::HostName;

/// Bytes a second to a host where nothing was measured: a slow link at home, a campus, a data center.
const RATE: Estimate = Estimate::guess(2e6, 20e6, 110e6);
/// Seconds until the first byte comes, where no probe measured how long a host takes to answer: an assumption, two answers of a
/// host that takes a quarter of a second for each, as those do that are an ocean away.
const LATENCY: f64 = 0.5;
/// Answers of a host before the first byte moves: what is there already is looked up, then what takes or sends the bytes is started.
const ANSWERS: f64 = 2.0;
/// Seconds beyond which a host that was slow to answer once is not taken to be so for every file.
const SLOWEST: f64 = 30.0;

/// Returns what lies between the hosts, and what they share; `trip` is how many seconds a host took to answer, where that was measured.
pub fn net(hosts: &Hosts, rates: &[Rate], shared: &[DataFact], trip: impl Fn(&HostName) -> Option<f64>) -> Net {
    let mut net = links(hosts, rates, trip);
    share(&mut net, shared);
    net
}

/// Returns what lies between the hosts.
pub fn links(hosts: &Hosts, rates: &[Rate], trip: impl Fn(&HostName) -> Option<f64>) -> Net {
    let latency = |host: &HostName| {
        let measured = trip(host).filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
        measured.map_or(LATENCY, |seconds| (ANSWERS * seconds).min(SLOWEST))
    };
    let mut net = Net::with_room(hosts.iter().count() + 1);
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
        net.link(&here, &host.name, Link { rate, latency: latency(&host.name) });
    }
    let direct = hosts.links().iter().filter(|(_, link)| link.direct).map(|((from, to), _)| sorted(from, to));
    // Most of what was measured begins or ends here, which is in the graph by now.
    let away = |(one, other): &(&HostName, &HostName)| !one.is_local() && !other.is_local();
    let between: BTreeSet<(&HostName, &HostName)> = direct.chain(newest.keys().copied()).filter(away).collect();
    let known: HashSet<&HostName> =
        if between.is_empty() { HashSet::new() } else { hosts.iter().map(|host| &host.name).collect() };
    for (one, other) in between.into_iter().filter(|(one, other)| known.contains(one) && known.contains(other)) {
        let rate = measured(one, other).unwrap_or(RATE);
        // Both are asked from here.
        net.link(one, other, Link { rate, latency: latency(one) + latency(other) });
    }
    net
}

/// Adds what hosts share.
pub fn share(net: &mut Net, shared: &[DataFact]) {
    let here = HostName::local();
    for fact in shared {
        if let DataFact::Shared { host, directory, seen: true, .. } = fact {
            // One filesystem a directory: what this machine and any host see under the same name.
            net.mount(&here, directory, directory);
            net.mount(host, directory, directory);
        }
    }
}

/// A rate that was measured on the last transfers: the next may be half or half again as fast.
pub const fn spread(rate: f64) -> Estimate {
    Estimate { low: rate * 0.5, middle: rate, high: rate * 1.5, source: Source::Measured(1) }
}

fn sorted<'h>(one: &'h HostName, other: &'h HostName) -> (&'h HostName, &'h HostName) {
    if one <= other { (one, other) } else { (other, one) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host::{Host, Link as Configured};

    fn name(host: &str) -> HostName {
        host.parse().unwrap()
    }

    /// Returns the seconds that nothing but latency takes from here, by host.
    fn latencies(trip: impl Fn(&HostName) -> Option<f64>) -> Vec<f64> {
        let all = ["near", "far", "new"].map(|host| Host::new(name(host)));
        let direct = ((name("near"), name("far")), Configured { direct: true, ..Configured::default() });
        let net = net(&Hosts::new(all.to_vec(), [direct].into_iter().collect()), &[], &[], trip);
        let (here, near) = (HostName::local(), name("near"));
        let from = |source: &HostName, target: &str| {
            let reach = net.reach([source], 1.0);
            net.stop(&name(target)).and_then(|stop| reach.link(stop)).unwrap().latency
        };
        vec![from(&here, "near"), from(&here, "far"), from(&here, "new"), from(&near, "far")]
    }

    #[test]
    fn what_was_measured_of_an_answer_counts_and_else_what_is_assumed() {
        assert_eq!(latencies(|_| None), [0.5, 0.5, 0.5, 1.0]);
        let measured = |host: &HostName| match host.as_str() {
            "near" => Some(0.01),
            "far" => Some(0.2),
            _ => None,
        };
        let found = latencies(measured);
        let wanted = [0.02, 0.4, 0.5, 0.42];
        assert!(found.iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < 1e-9), "{found:?}");
    }

    #[test]
    fn absurd_measurements_take_nothing_out_of_the_graph() {
        assert_eq!(latencies(|_| Some(f64::NAN)), [0.5, 0.5, 0.5, 1.0]);
        assert_eq!(latencies(|_| Some(-3.0)), [0.5, 0.5, 0.5, 1.0]);
        assert_eq!(latencies(|_| Some(f64::INFINITY)), [0.5, 0.5, 0.5, 1.0]);
        assert_eq!(latencies(|_| Some(1e9)), [30.0, 30.0, 30.0, 60.0]);
    }
}
