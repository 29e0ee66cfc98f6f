//! Routing over a thousand hosts: the goal is 200 us for a decision.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use csync::decide::graph::estimate::Estimate;
use csync::decide::graph::net::{Link, Net};
use csync::decide::place::plan::Policy;
use csync::decide::route::need::{Input, Need, Place};
use csync::decide::route::sheet::route;
use csync::model::batch::Partition;
use csync::model::host::{Batch, Host, HostName};
use csync::model::units::{Bytes, Walltime};

const HOSTS: u32 = 1000;

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
    let place =
        |host| Place { wait: Some(Estimate::known(60.0)), ..Place::of(host, None, (0..4).map(partition).collect()) };
    let places: Vec<_> = hosts.iter().map(place).collect();
    let input = |name: &str, bytes, at| Input { name: name.to_owned(), bytes, at };
    let need = Need {
        cpus: 16,
        memory: Some(Estimate::known(6e10)),
        time: Some(Estimate::known(5000.0)),
        inputs: vec![input("here", 1e9, vec![here]), input("there", 5e9, vec![name(7), name(500)])],
        ..Need::default()
    };
    criterion.bench_function("route over 1000 hosts", |bencher| {
        bencher.iter(|| route(black_box(&net), black_box(&need), black_box(&places), Policy::Fastest));
    });
}

criterion_group!(benches, routing);
criterion_main!(benches);
