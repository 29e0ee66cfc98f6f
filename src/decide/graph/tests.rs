use proptest::prelude::*;

use crate::decide::graph::estimate::{Estimate, Source};
use crate::decide::graph::net::{Link, Net};
use crate::model::host::HostName;

fn host(number: usize) -> HostName {
    format!("h{number}").parse().unwrap()
}

fn link(rate: f64, latency: f64) -> Link {
    Link { rate: Estimate::known(rate), latency }
}

#[test]
fn what_is_relayed_takes_as_long_as_its_slowest_link() {
    let mut net = Net::default();
    net.link(&host(0), &host(1), link(10.0, 0.5));
    net.link(&host(0), &host(2), link(5.0, 0.25));
    let from = [host(1)];
    let way = net.reach(&from, 100.0).way(net.stop(&host(2)).unwrap()).unwrap();
    assert_eq!(way.hosts, [host(1), host(0), host(2)]);
    assert_eq!(way.seconds, Estimate::known(20.75));
    net.link(&host(1), &host(2), link(4.0, 0.0));
    assert_eq!(
        net.reach(&from, 100.0).way(net.stop(&host(2)).unwrap()).unwrap().hosts.len(),
        3,
        "25 seconds the direct way"
    );
    assert_eq!(net.reach(&from, 10.0).way(net.stop(&host(2)).unwrap()).unwrap().hosts.len(), 2, "2.5 against 2.75");
    assert_eq!(net.reach(&from, 1e9).way(net.stop(&host(1)).unwrap()).unwrap().seconds, Estimate::ZERO, "it is there");
}

#[test]
fn islands_and_dead_links_are_not_reached() {
    let mut net = Net::default();
    net.link(&host(0), &host(1), link(10.0, 0.0));
    net.link(&host(1), &host(2), link(0.0, 0.0));
    net.link(&host(0), &host(3), link(f64::INFINITY, f64::INFINITY));
    net.host(&host(4));
    net.link(&host(5), &host(5), link(1.0, 1.0));
    let reach = net.reach([&host(0), &host(9)], 5.0);
    assert_eq!(reach.seconds(net.stop(&host(1)).unwrap()).map(|seconds| seconds.middle), Some(0.5));
    for nowhere in [2, 3, 4, 5] {
        assert_eq!(reach.way(net.stop(&host(nowhere)).unwrap()), None, "{nowhere}");
    }
    assert_eq!(net.stop(&host(9)), None);
}

#[test]
fn a_shared_filesystem_is_seen_from_all_that_mount_it() {
    let mut net = Net::default();
    net.mount(&host(0), "nfs:/people", "/people");
    net.mount(&host(1), "nfs:/people", "/export/people/");
    net.mount(&host(2), "nfs:/people", "/people");
    net.mount(&host(0), "nfs:/data", "/people/me/data");
    net.mount(&host(3), "nfs:/data", "/");
    let seen = |path: &str| {
        let seen = net.seen_at(&host(0), path);
        seen.into_iter().map(|(host, path)| format!("{host}:{path}")).collect::<Vec<_>>()
    };
    assert_eq!(seen("/people/me/a"), ["h0:/people/me/a", "h1:/export/people/me/a", "h2:/people/me/a"]);
    assert_eq!(seen("/people/me/data/b"), ["h0:/people/me/data/b", "h3:/b"], "the innermost mount");
    assert_eq!(seen("/peoples"), ["h0:/peoples"], "no directory of that name is mounted");
    assert_eq!(net.seen_at(&host(9), "/x"), [(host(9), "/x".to_owned())]);
}

#[test]
fn intervals_add_up_and_say_what_they_rest_on() {
    let measured = Estimate { low: 1.0, middle: 4.0, high: 8.0, source: Source::Measured(9) };
    let learned = Estimate { low: 6.0, middle: 10.0, high: 13.0, source: Source::Learned(5) };
    let sum = measured.plus(&learned);
    assert_eq!(sum, Estimate { low: 9.0, middle: 14.0, high: 19.0, source: Source::Learned(5) });
    assert_eq!(measured.plus(&Estimate::ZERO), measured, "nothing known for sure changes nothing");
    assert_eq!(measured.plus(&Estimate::guess(0.0, 0.0, 0.0)).source, Source::Measured(9));
    assert_eq!(
        measured.to_get_through(8.0),
        Estimate { low: 1.0, middle: 2.0, high: 8.0, source: Source::Measured(9) }
    );
    assert_eq!(Estimate::of_seen(&mut [], Source::Learned), None);
    let seen = Estimate::of_seen(&mut [5.0, 1.0, 2.0, 4.0, 3.0], Source::Learned).unwrap();
    assert_eq!((seen.middle, seen.source.to_string().as_str()), (3.0, "from 5 runs"));
    assert!((seen.low - 1.4).abs() < 1e-9 && (seen.high - 4.6).abs() < 1e-9);
}

/// The cheapest way by trying all.
fn by_hand(
    links: &[(usize, usize, f64, f64)],
    at: usize,
    to: usize,
    bytes: f64,
    seen: &mut Vec<usize>,
    so_far: (f64, f64),
) -> f64 {
    if at == to {
        return so_far.0 + if so_far.1.is_infinite() { 0.0 } else { bytes / so_far.1 };
    }
    seen.push(at);
    let mut best = f64::INFINITY;
    for &(a, b, rate, latency) in links {
        for (from, there) in [(a, b), (b, a)] {
            if from == at && !seen.contains(&there) {
                let next = (so_far.0 + latency, so_far.1.min(rate));
                best = best.min(by_hand(links, there, to, bytes, seen, next));
            }
        }
    }
    seen.pop();
    best
}

proptest! {
    #[test]
    fn no_way_is_cheaper(
        links in prop::collection::vec((0_usize..6, 0_usize..6, 1.0..100.0, 0.0..3.0), 0..12),
        bytes in 0.0..500.0,
    ) {
        let links: Vec<_> = links.into_iter().filter(|(a, b, ..)| a != b).collect();
        let mut net = Net::default();
        for number in 0..6 {
            net.host(&host(number));
        }
        for &(a, b, rate, latency) in &links {
            net.link(&host(a), &host(b), link(rate, latency));
        }
        let reach = net.reach([&host(0)], bytes);
        for to in 0..6 {
            let best = by_hand(&links, 0, to, bytes, &mut Vec::new(), (0.0, f64::INFINITY));
            match reach.way(net.stop(&host(to)).unwrap()) {
                None => prop_assert!(best.is_infinite()),
                Some(way) => {
                    prop_assert!((way.seconds.middle - best).abs() < 1e-6, "{} {best}", way.seconds.middle);
                    prop_assert_eq!(way.hosts.first(), Some(&host(0)));
                    prop_assert_eq!(way.hosts.last(), Some(&host(to)));
                }
            }
        }
    }
}
