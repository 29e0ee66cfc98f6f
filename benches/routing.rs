//! Routing over a thousand hosts, alone and with what it looks up: the goal is 200 us for a decision.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use std::collections::HashMap;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use csync::decide::graph::estimate::{Estimate, Source};
use csync::decide::graph::net::{Link, Net};
use csync::decide::learn::profile::{Prediction, Profile, Question};
use csync::decide::place::plan::Policy;
use csync::decide::route::need::{Input, Need, Place};
use csync::decide::route::sheet::route;
use csync::model::batch::Partition;
use csync::model::host::{Batch, Host, HostName};
use csync::model::observation::Observation;
use csync::model::units::{Bytes, Walltime};

const HOSTS: u32 = 1000;
const DATASETS: u32 = 100_000;
const PROFILES: u64 = 10_000;
/// As many as `csync route` shows.
const SHOWN: usize = 20;

fn name(number: u32) -> HostName {
    format!("host{number}").parse().unwrap()
}

fn partition(number: u32) -> Partition {
    Partition {
        name: format!("p{number}"),
        walltime_max: Some(Walltime(3600 << number)),
        cores_per_node: Some(8 << number),
        memory_per_node: Some(Bytes::gib(32 << number)),
        ..Partition::default()
    }
}

fn routing(criterion: &mut Criterion) {
    let mut net = Net::default();
    let here = HostName::local();
    let mut hosts = vec![Host::new(here.clone())];
    for number in 0..HOSTS {
        let rate = Estimate::known(1e6 * f64::from(1 + number % 110));
        net.link(&here, &name(number), Link { rate, latency: 0.01 * f64::from(number % 7) });
        hosts.push(Host {
            batch: Some(if number % 3 == 0 { Batch::None } else { Batch::Slurm }),
            ..Host::new(name(number))
        });
    }
    let places = hosts.iter().map(|host| {
        let of = Place::of(host, None, (0..4).map(partition).collect::<Vec<_>>());
        Place { wait: Some(Estimate::known(60.0)), stop: net.stop(&host.name), ..of }
    });
    let places: Vec<_> = places.collect();
    let input = |name: &str, bytes, at| Input { name: name.to_owned(), bytes, at };
    let need = Need {
        cpus: 16,
        memory: Some(Estimate::known(6e10)),
        time: Some(Estimate::known(5000.0)),
        inputs: vec![input("here", 1e9, vec![here.clone()]), input("there", 5e9, vec![name(7), name(500)])],
        ..Need::default()
    };
    criterion.bench_function("route over 1000 hosts", |bencher| {
        bencher.iter(|| route(black_box(&net), black_box(&need), black_box(&places), Policy::Fastest, SHOWN));
    });
    let datasets: HashMap<String, (f64, Vec<HostName>)> = (0..DATASETS)
        .map(|number| (format!("/data/set{number}"), (1e9, vec![name(number % HOSTS), name(number * 7 % HOSTS)])))
        .collect();
    // A few that differ: without optimization, as tests build this, learning them all takes minutes.
    let learned: Vec<Profile> = (0..16).map(learned).collect();
    let profiles: HashMap<u64, Profile> = (0..PROFILES).zip(learned.iter().cycle().cloned()).collect();
    criterion.bench_function("decide over 1000 hosts, 100000 datasets, 10000 profiles", |bencher| {
        bencher.iter(|| {
            let (bytes, at) = datasets.get(black_box("/data/set777")).unwrap();
            let profile = profiles.get(&black_box(77)).unwrap();
            let memory = profile.memory(Question::plain(*bytes)).unwrap();
            let time = profile.run_time(*bytes).unwrap();
            let estimate = |found: Prediction| {
                let source = Source::Learned(found.n);
                Estimate { low: found.low, middle: found.middle, high: found.high, source }
            };
            let inputs = vec![input("here", 1e9, vec![here.clone()]), input("set", *bytes, at.clone())];
            let (memory, time) = (Some(estimate(memory)), Some(estimate(time)));
            let need = Need { cpus: 16, memory, time, inputs, ..Need::default() };
            black_box(route(&net, &need, &places, Policy::Fastest, SHOWN).places.len())
        });
    });
}

fn learned(of: u64) -> Profile {
    let mut profile = Profile::default();
    for id in 0..64 {
        let input = 1e8 * (1 + (id * 7 + of) % 50) as f32;
        let (memory, wall) = (1e9 + 0.3 * input, 100.0 + input / 1e7);
        profile.observe(of, Observation { id, at: id as u32, input, memory, wall, ..Observation::default() });
    }
    profile
}

criterion_group!(benches, routing);
criterion_main!(benches);
