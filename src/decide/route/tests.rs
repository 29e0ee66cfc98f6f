use crate::decide::graph::estimate::{Estimate, Source};
use crate::decide::graph::net::{Link, Net};
use crate::decide::graph::queues::{Queues, Wait};
use crate::decide::learn::waits::Waited;
use crate::decide::place::plan::Policy;
use crate::decide::route::need::{Asker, Cores, DAEMONS, Input, Launcher, Need, Place, light_login};
use crate::decide::route::sheet::{Routes, route};
use crate::decide::route::veto::{Veto, fit};
use crate::language::container::RUNTIMES;
use crate::model::batch::{Partition, PartitionState};
use crate::model::facts::{ContainerProgram, Facts, Gpu};
use crate::model::host::{Agents, Batch, ContainerRuntime, Host, HostName, LoginNode, Policy as HostPolicy};
use crate::model::units::{Bytes, Price, Timestamp, Walltime};

fn name(name: &str) -> HostName {
    name.parse().unwrap()
}

fn host(named: &str, batch: Option<Batch>) -> Host {
    Host { batch, ..Host::new(name(named)) }
}

fn facts(cores: u32, gib: u64) -> Facts {
    let mut facts = Facts::default();
    facts.machine.cores = Some(cores);
    facts.machine.memory = Some(Bytes::gib(gib));
    facts
}

fn partition(name: &str, cores: u32, gib: u64, hours: u64) -> Partition {
    Partition {
        name: name.to_owned(),
        is_default: name == "short",
        walltime_max: Some(Walltime(hours * 3600)),
        cores_per_node: Some(cores),
        memory_per_node: Some(Bytes::gib(gib)),
        ..Partition::default()
    }
}

/// A star around this machine.
fn star(rates: &[(&str, f64)]) -> Net {
    let mut net = Net::default();
    net.host(&HostName::local());
    for &(host, rate) in rates {
        net.link(&HostName::local(), &name(host), Link { rate: Estimate::known(rate), latency: 0.0 });
    }
    net
}

fn need() -> Need {
    Need { cpus: 4, time: Some(Estimate::known(600.0)), ..Need::default() }
}

fn order<'a>(routes: &Routes<'a>) -> Vec<&'a str> {
    routes.places.iter().map(|sheet| sheet.host.as_str()).collect()
}

fn said(routes: &Routes<'_>) -> Vec<String> {
    let all = routes
        .vetoed
        .iter()
        .flat_map(|vetoed| vetoed.reasons.iter().map(move |reason| format!("{}: {reason}", vetoed.host)));
    all.collect()
}

#[test]
fn places_are_ranked_by_wait_transfer_and_run() {
    let (here, lab, hpc) =
        (Host::new(HostName::local()), host("lab", Some(Batch::None)), host("hpc", Some(Batch::Slurm)));
    let (small, large) = (facts(8, 16), facts(64, 256));
    let mut places = vec![
        Place::of(&here, Some(&small), Vec::new()),
        Place { speed: Estimate::known(2.0), ..Place::of(&lab, Some(&large), Vec::new()) },
        Place {
            speed: Estimate::known(4.0),
            wait: Some(Estimate { low: 10.0, middle: 60.0, high: 90.0, source: Source::Learned(12) }),
            ..Place::of(&hpc, None, vec![partition("short", 32, 128, 4)])
        },
    ];
    let net = star(&[("lab", 1e6), ("hpc", 1e6)]);
    let at = |bytes: f64| Need {
        inputs: vec![Input { name: "reads.fq".to_owned(), bytes, at: vec![HostName::local()] }],
        ..need()
    };
    let routes = route(&net, &at(0.0), &places, Policy::Fastest, 9);
    assert_eq!(order(&routes), ["hpc", "lab", "local"], "60 + 150, 300, 600");
    assert_eq!(routes.places[0].partition, Some("short"));
    let best = &routes.places[0];
    assert_eq!(
        (best.total.middle, best.penalty, best.seconds()),
        (213.0, 3.0, 210.0),
        "a tenth of the 30 s that it may wait longer"
    );
    assert_eq!(best.total.source, Source::Learned(12));
    let routes = route(&net, &at(2e8), &places, Policy::Fastest, 9);
    assert_eq!(order(&routes), ["hpc", "lab", "local"], "410, 500, 600");
    assert_eq!(routes.places[0].ways, [[HostName::local(), name("hpc")]]);
    let far = at(4.5e8);
    assert_eq!(order(&route(&net, &far, &places, Policy::Fastest, 9)), ["local", "hpc", "lab"], "600, 660, 750");
    let routes = route(&net, &at(1.0), &places, Policy::Locality, 9);
    assert_eq!(order(&routes), ["local", "hpc", "lab"], "nothing moves, then what is faster");
    // Where the wait is not known, it may be long.
    places[2].wait = None;
    let routes = route(&net, &at(0.0), &places, Policy::Fastest, 9);
    assert_eq!(order(&routes), ["lab", "local", "hpc"], "270 s at best, and may be an hour");
    assert_eq!(routes.places[2].total.source, Source::Guessed);
}

#[test]
fn the_terms_of_a_sheet_add_up_to_what_places_are_ranked_by() {
    // Faster by its middles, and less sure than that is worth.
    let (sure, quick) = (host("sure", Some(Batch::Slurm)), host("quick", Some(Batch::Slurm)));
    let wait = |middle: f64, high: f64| Some(Estimate { low: 0.0, middle, high, source: Source::Learned(12) });
    let place = |host, wait| Place { wait, ..Place::of(host, None, vec![partition("short", 32, 128, 4)]) };
    let places = [place(&quick, wait(50.0, 250.0)), place(&sure, wait(60.0, 61.0))];
    let net = star(&[("sure", 1e6), ("quick", 1e6)]);
    let inputs = vec![Input { name: "reads.fq".to_owned(), bytes: 1e7, at: vec![HostName::local()] }];
    let unsure = Estimate { low: 300.0, middle: 600.0, high: 900.0, source: Source::Learned(3) };
    let need = Need { inputs, time: Some(Estimate { high: 601.0, ..unsure }), ..need() };
    let routes = route(&net, &need, &places, Policy::Fastest, 9);
    assert_eq!(order(&routes), ["sure", "quick"]);
    assert!(routes.places[0].seconds() > routes.places[1].seconds(), "{routes:?}");
    for need in [need.clone(), Need { time: Some(unsure), ..need.clone() }, Need { time: None, ..need }] {
        let routes = route(&net, &need, &places, Policy::Fastest, 9);
        for sheet in &routes.places {
            let run = sheet.run.map_or(0.0, |run| run.middle);
            let sum = sheet.wait.middle + sheet.transfer.middle + run + sheet.penalty;
            assert!((sheet.total.middle - sum).abs() < 1e-9, "{sheet:?}");
            assert!(((sheet.total.high - sheet.total.middle) / 10.0 - sheet.penalty).abs() < 1e-9, "{sheet:?}");
        }
        assert!(routes.places.is_sorted_by(|a, b| a.total.middle <= b.total.middle), "{routes:?}");
        let told = serde_json::to_value(&routes).unwrap();
        assert_eq!(told["places"][0]["penalty"].as_f64(), Some(routes.places[0].penalty));
    }
}

#[test]
fn the_cheapest_place_is_that_of_the_least_rate_and_of_a_thousand_few_are_shown() {
    let priced =
        |name: &str, rate: Option<f64>| Host { rate: rate.and_then(Price::of), ..host(name, Some(Batch::None)) };
    let hosts =
        [priced("local", Some(0.1)), priced("cloud", Some(0.5)), priced("grant", Some(0.02)), priced("lab", None)];
    let big = facts(64, 256);
    let mut places: Vec<Place<'_>> = hosts.iter().map(|host| Place::of(host, Some(&big), Vec::new())).collect();
    places[1].speed = Estimate::known(2.0);
    let net = star(&[]);
    assert_eq!(order(&route(&net, &need(), &places, Policy::Fastest, 9)), ["cloud", "local", "grant", "lab"]);
    let routes = route(&net, &need(), &places, Policy::Cheapest, 9);
    assert_eq!(order(&routes), ["lab", "grant", "local", "cloud"], "one without a rate costs nothing");
    let costs: Vec<Option<f64>> =
        routes.places.iter().map(|sheet| sheet.cost.map(|cost| (cost * 1e6).round())).collect();
    assert_eq!(costs, [None, Some(13_333.0), Some(66_667.0), Some(166_667.0)]);
    // Without any rate core-hours count.
    let bare: Vec<Host> = hosts.iter().map(|host| Host { rate: None, ..host.clone() }).collect();
    let mut places: Vec<Place<'_>> = bare.iter().map(|host| Place::of(host, Some(&big), Vec::new())).collect();
    places[3].speed = Estimate::known(2.0);
    assert_eq!(order(&route(&net, &need(), &places, Policy::Cheapest, 9)), ["lab", "local", "cloud", "grant"]);
    // The best two, and this machine.
    places[2].speed = Estimate::known(1.5);
    let routes = route(&net, &need(), &places, Policy::Fastest, 2);
    assert_eq!((order(&routes), routes.others), (vec!["lab", "grant", "local"], 1));
    let routes = route(&net, &need(), &places, Policy::Fastest, 0);
    assert_eq!((order(&routes), routes.others), (vec!["local"], 3));
}

#[test]
fn partitions_that_make_wait_otherwise_are_told_apart() {
    let hpc = host("hpc", Some(Batch::Slurm));
    let waited = |queue: &str, at: u32, seconds: f64| Wait {
        host: name("hpc"),
        queue: Some(queue.to_owned()),
        waited: Waited { submitted: f64::from(at) * 60.0, seconds, cores: 4, asked: 600.0 },
        ours: true,
    };
    // The newest come first.
    let waits = |of: &[(&str, f64)]| -> Vec<Wait> {
        (0..20).rev().flat_map(|at| of.iter().map(move |(queue, seconds)| waited(queue, at, *seconds))).collect()
    };
    let partitions =
        || vec![partition("short", 32, 128, 4), partition("long", 32, 128, 48), partition("tiny", 2, 4, 4)];
    let need = Need { now: 1200.0, ..need() };
    let told = |seen: &[Wait]| {
        let queues = Queues::of_hosts(seen).into_values().next().unwrap_or_default();
        let places = [Place { queues, ..Place::of(&hpc, None, partitions()) }];
        let routes = route(&star(&[("hpc", 1e6)]), &need, &places, Policy::Fastest, 9);
        let sheet = &routes.places[0];
        let apart = sheet.apart.iter().map(|it| format!("{} {} {}", it.partition, it.wait.middle, it.total.middle));
        (sheet.partition.map(str::to_owned), sheet.wait.middle, apart.collect::<Vec<_>>())
    };
    let short = Some("short".to_owned());
    let seen = waits(&[("short", 5.0), ("long", 7200.0), ("tiny", 7200.0)]);
    assert_eq!(told(&seen), (short.clone(), 5.0, vec!["long 7200 7800".to_owned()]), "it does not fit the tiny one");
    // A partition with less wait is told too: naming it is left to the person.
    let seen = waits(&[("short", 7200.0), ("long", 5.0)]);
    assert_eq!(told(&seen), (short.clone(), 7200.0, vec!["long 5 605".to_owned()]));
    assert_eq!(told(&waits(&[("short", 600.0), ("long", 650.0)])).2, Vec::<String>::new(), "nearly the same");
    assert_eq!(told(&waits(&[("short", 600.0)])).2, Vec::<String>::new(), "nothing is known of the other");
    assert_eq!(told(&[]), (short, 120.0, Vec::new()));
}

#[test]
fn what_others_did_lately_counts_in_the_wait_and_in_the_run() {
    let (hpc, lab) = (host("hpc", Some(Batch::Slurm)), host("lab", Some(Batch::None)));
    let at = Some(Timestamp(1_000_000_000));
    let login = Facts { at, load: Some(50.0), ..facts(4, 8) };
    let shared = Facts { at, load: Some(6.0), ..facts(8, 16) };
    let idle = |idle| vec![Partition { idle, ..partition("short", 32, 128, 4) }];
    let told = |idle_cores, now| {
        let places = [Place::of(&hpc, Some(&login), idle(idle_cores)), Place::of(&lab, Some(&shared), Vec::new())];
        let routes = route(&star(&[]), &Need { now, ..need() }, &places, Policy::Fastest, 9);
        let of = |name: &str| routes.places.iter().find(|sheet| sheet.host.as_str() == name).unwrap().clone();
        let (hpc, lab) = (of("hpc"), of("lab"));
        (
            (hpc.wait.middle, hpc.wait.source, hpc.load.and_then(|it| it.idle_cores)),
            (lab.run.unwrap().middle, lab.load.is_some()),
        )
    };
    let (free, crowded) = told(Some(64), 1000.0);
    assert_eq!(free, (15.0, Source::Guessed, Some(64)));
    assert_eq!(crowded, (750.0, true), "4 cores beside 6 processes on 8: a quarter longer");
    assert_eq!(told(Some(3), 1000.0).0, (1200.0, Source::Guessed, Some(3)));
    assert_eq!(told(None, 1000.0).0, (120.0, Source::Guessed, None), "a login node's load is not its cluster's");
    let (long_ago, alone) = told(Some(64), 9000.0);
    assert_eq!((long_ago, alone), ((120.0, Source::Guessed, None), (600.0, false)));
}

#[test]
fn what_lies_on_hosts_that_vanished_is_nowhere_and_cycles_of_links_end() {
    let (here, lab) = (Host::new(HostName::local()), host("lab", Some(Batch::None)));
    let big = facts(64, 256);
    let places = [Place::of(&here, Some(&big), Vec::new()), Place::of(&lab, Some(&big), Vec::new())];
    let lies = |at: &[&str]| Need {
        inputs: vec![Input { name: "reads.fq".to_owned(), bytes: 1e6, at: at.iter().map(|host| name(host)).collect() }],
        ..need()
    };
    let mut net = star(&[("lab", 1e6)]);
    let routes = route(&net, &lies(&["gone"]), &places, Policy::Fastest, 9);
    assert!(routes.places.is_empty() && said(&routes).iter().all(|said| said.contains("no way")), "{routes:?}");
    // One copy that is left is enough.
    assert_eq!(order(&route(&net, &lies(&["gone", "lab"]), &places, Policy::Fastest, 9)), ["lab", "local"]);
    // Jump hosts that lead to each other, an island, links of no and of endless rate.
    let link = |rate| Link { rate: Estimate::known(rate), latency: 0.25 };
    for (one, other, rate) in [("a", "b", 1e6), ("b", "c", 1e6), ("c", "a", 1e6), ("d", "e", 1e6), ("lab", "d", 0.0)] {
        net.link(&name(one), &name(other), link(rate));
    }
    net.link(&name("a"), &name("lab"), link(f64::INFINITY));
    let routes = route(&net, &lies(&["c"]), &places, Policy::Fastest, 9);
    assert_eq!(order(&routes), ["local", "lab"], "what streams through takes no longer");
    assert_eq!(routes.places[1].ways, [[name("c"), name("a"), name("lab")]]);
    assert!(routes.places.iter().all(|sheet| sheet.total.high.is_finite()), "{routes:?}");
    assert!(route(&net, &lies(&["e"]), &places, Policy::Fastest, 9).places.is_empty(), "the island is not reached");
    for rate in [f64::NAN, -1.0, 0.0] {
        let mut net = star(&[]);
        net.link(&HostName::local(), &name("lab"), link(rate));
        let routes = route(&net, &lies(&["lab"]), &places, Policy::Fastest, 9);
        assert_eq!(order(&routes), ["lab"], "{rate} bytes a second bring nothing here");
    }
    let endless = route(&net, &lies(&["a"]), &places, Policy::Fastest, 9);
    assert_eq!((order(&endless)[0], endless.places[0].transfer.middle), ("lab", 0.25), "no time but the latency");
}

#[test]
fn data_that_lies_elsewhere_draws_the_command_there() {
    let (here, lab) = (Host::new(HostName::local()), host("lab", Some(Batch::None)));
    let big = facts(8, 16);
    let places = [Place::of(&here, Some(&big), Vec::new()), Place::of(&lab, Some(&big), Vec::new())];
    let mut wanted = need();
    wanted.inputs.push(Input { name: "lab:/data".to_owned(), bytes: 1e9, at: vec![name("lab"), name("nas")] });
    let routes = route(&star(&[("lab", 1e7), ("nas", 1e6)]), &wanted, &places, Policy::Fastest, 9);
    assert_eq!(order(&routes), ["lab", "local"]);
    assert_eq!(routes.places[1].transfer, Estimate::known(100.0), "from the nearer copy");
    assert!(routes.places[0].moved < 1.0);
    let mut island = star(&[("lab", 1e7)]);
    island.host(&name("far"));
    wanted.inputs[0].at = vec![name("far")];
    let routes = route(&island, &wanted, &places, Policy::Fastest, 9);
    assert_eq!(
        said(&routes),
        [
            "local: there is no way to it from where lab:/data lies",
            "lab: there is no way to it from where lab:/data lies"
        ]
    );
}

#[test]
fn a_queue_that_takes_what_others_hand_on_is_no_place_to_go() {
    let hpc = host("hpc", Some(Batch::Pbs));
    let behind = Partition { is_routed_only: true, ..partition("short", 8, 64, 4) };
    let both = [behind.clone(), partition("route", 8, 64, 4)];
    let fits = |partitions: &[Partition]| {
        let places = [Place::of(&hpc, None, partitions.to_vec())];
        let routes = route(&star(&[("hpc", 1e7)]), &need(), &places, Policy::Fastest, 9);
        routes.places.first().and_then(|sheet| sheet.partition.map(str::to_owned))
    };
    assert_eq!((fits(&both).as_deref(), fits(&[behind])), (Some("route"), None));
}

#[test]
fn what_reaches_for_the_internet_goes_where_jobs_saw_it() {
    let online = |name: &str, internet| Partition { internet, ..partition(name, 8, 64, 4) };
    let hpc = host("hpc", Some(Batch::Slurm));
    let goes = |partitions: Vec<Partition>, internet| {
        let place = Place::of(&hpc, None, partitions);
        fit(&Need { internet, ..need() }, &place).map(|partition| partition.unwrap().name.clone())
    };
    let both = || vec![online("short", Some(false)), online("long", Some(true))];
    assert_eq!(goes(both(), true).as_deref(), Ok("long"));
    assert_eq!(goes(both(), false).as_deref(), Ok("short"));
    // What nobody saw may be there.
    assert_eq!(goes(vec![online("short", Some(false)), online("long", None)], true).as_deref(), Ok("long"));
    assert_eq!(goes(vec![online("short", Some(false))], true), Err(vec![Veto::NoInternet]));
}

#[test]
fn every_veto_says_what_is_missing() {
    let mut nas = host("nas", Some(Batch::None));
    nas.transfer_only = true;
    let unseen = host("unseen", None);
    let mut lab = host("lab", Some(Batch::None));
    lab.internet.login = Some(false);
    let mut hpc = host("hpc", Some(Batch::Slurm));
    hpc.policy.agents = Agents::Deny;
    hpc.internet.compute = Some(false);
    let (machine, partitions) = (facts(2, 8), vec![partition("short", 8, 64, 4), partition("long", 16, 16, 48)]);
    let shut = Partition { state: PartitionState::Closed, ..partition("short", 8, 64, 4) };
    let closed = host("closed", Some(Batch::Pbs));
    let login = host("login", Some(Batch::None));
    // All that is asked for is there, and no way to what it reads.
    let mut island = host("island", Some(Batch::None));
    island.containers = vec![ContainerRuntime::Podman];
    let mut large = facts(64, 256);
    large.machine.gpus = vec![Gpu { count: 8, ..Gpu::default() }];
    let places = [
        Place::of(&nas, None, Vec::new()),
        Place::of(&unseen, None, Vec::new()),
        Place::of(&lab, Some(&machine), Vec::new()),
        Place { trouble: Some("the link is cut".to_owned()), ..Place::of(&hpc, None, partitions) },
        Place::of(&closed, None, vec![shut]),
        Place { login_of: Some(&hpc.name), ..Place::of(&login, None, Vec::new()) },
        Place::of(&island, Some(&large), Vec::new()),
    ];
    let wanted = Need {
        cpus: 4,
        cores: Cores::Asked,
        memory: Some(Estimate::known(32.0 * 1024.0 * 1024.0 * 1024.0)),
        time: Some(Estimate::known(36_000.0)),
        gpus: 1,
        internet: true,
        runtimes: &RUNTIMES,
        sandboxed: false,
        image: None,
        inputs: vec![Input { name: "reads.fq".to_owned(), bytes: 1e9, at: vec![HostName::local()] }],
        launcher: None,
        asker: Asker::Agent,
        now: 0.0,
    };
    let routes = route(&star(&[]), &wanted, &places, Policy::Fastest, 9);
    assert_eq!(routes.places, []);
    insta::assert_snapshot!(said(&routes).join("\n"));
}

#[test]
fn threads_share_what_cores_there_are_and_cores_that_are_asked_for_have_to_be_there() {
    let (small, large, hpc) =
        (host("small", Some(Batch::None)), host("large", Some(Batch::None)), host("hpc", Some(Batch::Slurm)));
    let (few, many, net) = (facts(4, 64), facts(64, 64), star(&[]));
    let places = |speed: Estimate| {
        [
            Place { speed, ..Place::of(&small, Some(&few), Vec::new()) },
            Place::of(&large, Some(&many), Vec::new()),
            Place::of(&hpc, None, vec![partition("short", 16, 64, 4)]),
        ]
    };
    let told = |cores: Cores, speed: Estimate| {
        let wanted = Need { cpus: 32, cores, ..need() };
        let places = places(speed);
        let routes = route(&net, &wanted, &places, Policy::Fastest, 9);
        let mut told: Vec<_> = routes
            .places
            .iter()
            .map(|sheet| (sheet.host.to_string(), sheet.run.map(|run| run.middle.round() as u32), sheet.shared))
            .collect();
        told.sort();
        (told, said(&routes))
    };
    let run = |host: &str, seconds: u32, shared: Option<u32>| (host.to_owned(), Some(seconds), shared);
    let refused = "hpc: 32 cores on one node, where it has 16 cores";
    // Eight threads to a core take eight times as long as one does where the run time is told for.
    for (here, seconds) in [(Some(64), 4800), (None, 4800), (Some(8), 1200), (Some(4), 600), (Some(2), 600)] {
        let (places, vetoed) = told(Cores::Threads { here }, Estimate::known(1.0));
        assert_eq!(places, [run("large", 600, None), run("small", seconds, Some(4))], "{here:?}");
        assert_eq!(vetoed, [refused]);
    }
    // What people commonly give a command is told of a core for each thread, however few there are here.
    let common = |here| {
        let time = need().time.map(|time| Estimate { source: Source::Prior, ..time });
        let wanted = Need { cpus: 32, cores: Cores::Threads { here }, time, ..need() };
        let places = places(Estimate::known(1.0));
        let routes = route(&net, &wanted, &places, Policy::Fastest, 9);
        routes.places.iter().map(|sheet| sheet.run.map(|run| run.middle.round() as u32)).collect::<Vec<_>>()
    };
    assert_eq!((common(Some(2)), common(None)), (vec![Some(600), Some(4800)], vec![Some(600), Some(4800)]));
    // What is known of how fast it is there was learned with as few cores.
    let known = Estimate { source: Source::Learned(9), ..Estimate::known(1.0) };
    let (places, _) = told(Cores::Threads { here: Some(64) }, known);
    assert_eq!(places[1], run("small", 600, Some(4)));
    let (places, vetoed) = told(Cores::Asked, Estimate::known(1.0));
    assert_eq!(places, [run("large", 600, None)]);
    assert_eq!(vetoed, ["small: 32 cores on one node, where it has 4 cores", refused]);
}

#[test]
fn what_an_account_may_not_use_is_no_place_for_it() {
    let theirs = Partition { accounts: vec!["smith".to_owned()], ..partition("pi_smith", 64, 256, 100) };
    let all = [partition("short", 64, 256, 1), theirs];
    let wanted = Need { time: Some(Estimate::known(7200.0)), ..need() };
    let fits = |account: Option<&str>, all: &[Partition]| {
        let hpc = Host { account: account.map(str::to_owned), ..host("hpc", Some(Batch::Slurm)) };
        fit(&wanted, &Place::of(&hpc, None, all.to_vec())).ok().map(|found| found.unwrap().name.clone())
    };
    assert_eq!(fits(Some("mine"), &all), None);
    assert_eq!(fits(Some("smith"), &all).as_deref(), Some("pi_smith"));
    assert_eq!(fits(None, &all).as_deref(), Some("pi_smith"), "whose it is that nobody names, nobody knows");
    assert_eq!(fits(Some("mine"), &all[1..]).as_deref(), Some("pi_smith"), "somewhere it has to go");
}

#[test]
fn nothing_heavy_runs_on_a_login_node() {
    let (here, hpc) = (Host::new(HostName::local()), host("hpc", Some(Batch::Slurm)));
    let (machine, net) = (facts(64, 256), star(&[]));
    let told = |need: &Need, login_of| {
        let places = [Place { login_of, ..Place::of(&here, Some(&machine), Vec::new()) }];
        let routes = route(&net, need, &places, Policy::Fastest, 9);
        assert_eq!(routes.places.len() + routes.vetoed.len(), 1);
        said(&routes).pop()
    };
    let light = Need { cpus: 1, time: Some(Estimate::known(60.0)), ..need() };
    let why = "local: it is the login node of hpc, where nothing heavy runs (`policy.login_node` in hosts.toml)";
    for (heavy, what) in [
        (Need { cpus: 2, ..light.clone() }, "more than a core"),
        (Need { time: Some(Estimate::known(61.0)), ..light.clone() }, "more than a minute"),
        (Need { time: Some(Estimate { high: 90.0, ..Estimate::known(30.0) }), ..light.clone() }, "perhaps more"),
        (Need { time: None, ..light.clone() }, "nobody knows"),
    ] {
        assert_eq!(told(&heavy, Some(&hpc.name)).as_deref(), Some(why), "{what}");
        assert_eq!(told(&heavy, None), None, "{what}");
    }
    assert_eq!(told(&light, Some(&hpc.name)), None);
    // Which cluster that is: the one that calls itself as this machine does, unless its login node is free.
    let free = |host: &Host| Host { policy: HostPolicy { login_node: LoginNode::Free, ..host.policy }, ..host.clone() };
    let (lab, free) = (host("lab", Some(Batch::None)), free(&hpc));
    let login = |host: &Host, named: &str| light_login("login1", [(host, Some(named))]).is_some();
    assert!(login(&hpc, "login1") && !login(&hpc, "login2") && !login(&free, "login1") && !login(&lab, "login1"));
    assert_eq!(light_login("", [(&hpc, Some(""))]), None);
}

#[test]
fn a_partition_with_gpus_is_left_to_those_who_need_them() {
    let hpc = host("hpc", Some(Batch::Slurm));
    let gpu = Partition { gpus: [("a100".to_owned(), 4)].into(), ..partition("gpu", 8, 64, 4) };
    let places = [Place::of(&hpc, None, vec![gpu, partition("long", 8, 64, 48)])];
    let net = star(&[("hpc", 1.0)]);
    let chosen = |wanted: &Need| route(&net, wanted, &places, Policy::Fastest, 9).places[0].partition;
    assert_eq!(chosen(&need()), Some("long"));
    assert_eq!(chosen(&Need { gpus: 1, ..need() }), Some("gpu"));
    let huge = Need { gpus: 8, ..need() };
    let routes = route(&net, &huge, &places, Policy::Fastest, 9);
    assert_eq!(said(&routes), ["hpc: 8 GPUs on one node, where it has 4 GPUs"]);
}

#[test]
fn where_a_probe_saw_all_nodes_and_no_gpu_there_is_none() {
    let net = star(&[("hpc", 1.0)]);
    let seen = |name: &str| Partition { in_service: Some(3), ..partition(name, 8, 64, 48) };
    let told = |batch: Batch, partitions: Vec<Partition>| {
        let hpc = host("hpc", Some(batch));
        let place = Place::of(&hpc, None, partitions);
        said(&route(&net, &Need { gpus: 1, ..need() }, &[place], Policy::Fastest, 9))
    };
    let none = ["hpc: 1 GPU on one node, where it has no GPUs"];
    assert_eq!(told(Batch::Slurm, vec![seen("short"), seen("long")]), none);
    // Where nobody looked, or others have names of their own for them, the batch system is left to judge.
    assert_eq!(told(Batch::Slurm, vec![seen("short"), partition("written", 8, 64, 48)]), Vec::<String>::new());
    assert_eq!(told(Batch::Pbs, vec![seen("short")]), Vec::<String>::new());
    let gpu = Partition { gpus: [("a100".to_owned(), 4)].into(), ..seen("gpu") };
    assert_eq!(told(Batch::Slurm, vec![seen("short"), gpu]), Vec::<String>::new());
}

#[test]
fn what_slurm_alone_starts_goes_where_there_is_one() {
    let net = star(&[("hpc", 1.0), ("grid", 1.0)]);
    let (hpc, grid, local) =
        (host("hpc", Some(Batch::Slurm)), host("grid", Some(Batch::Sge)), host("local", Some(Batch::None)));
    let places = [&hpc, &grid, &local].map(|host| Place::of(host, None, Vec::new()));
    let with = |is_here| Need { launcher: Some(Launcher { name: "srun", is_here }), ..need() };
    let wanted = with(false);
    let routes = route(&net, &wanted, &places, Policy::Fastest, 9);
    assert_eq!(order(&routes), ["hpc"]);
    let mut told = said(&routes);
    told.sort();
    let why = "there is no Slurm, and `srun` starts nothing without";
    assert_eq!(told, [format!("grid: {why}"), format!("local: {why}")]);
    let wanted = with(true);
    assert_eq!(said(&route(&net, &wanted, &places, Policy::Fastest, 9)), [format!("grid: {why}")]);
}

#[test]
fn a_failed_look_is_not_told_as_none() {
    let (net, unseen) = (star(&[("hpc", 1.0)]), host("hpc", None));
    let place =
        |trouble: Option<&str>| Place { trouble: trouble.map(str::to_owned), ..Place::of(&unseen, None, Vec::new()) };
    let told = |trouble| said(&route(&net, &need(), &[place(trouble)], Policy::Fastest, 9));
    assert_eq!(told(None), ["hpc: nobody looked at it yet"]);
    assert_eq!(told(Some("no route to host")), ["hpc: it is not spoken to at present: no route to host"]);
}

#[test]
fn a_file_that_apptainer_alone_runs_goes_where_it_is() {
    let with = |named, runtimes: &[ContainerRuntime]| {
        let mut host = host(named, Some(Batch::None));
        host.containers = runtimes.to_vec();
        host
    };
    let docker = with("lab", &[ContainerRuntime::Docker]);
    let apptainer = with("hpc", &[ContainerRuntime::Podman, ContainerRuntime::Apptainer]);
    let mut probed = facts(8, 8);
    let program = |runtime, usable| ContainerProgram {
        runtime,
        version: "1".to_owned(),
        usable,
        limits: None,
        tried: None,
        gpus: None,
    };
    probed.containers =
        vec![program(ContainerRuntime::Singularity, Some(false)), program(ContainerRuntime::Docker, Some(true))];
    let seen = host("seen", Some(Batch::None));
    let places = [
        Place::of(&docker, None, Vec::new()),
        Place::of(&apptainer, None, Vec::new()),
        Place::of(&seen, Some(&probed), Vec::new()),
    ];
    let net = star(&[("lab", 1.0), ("hpc", 1.0), ("seen", 1.0)]);
    let sif = Need { runtimes: &[ContainerRuntime::Apptainer, ContainerRuntime::Singularity], ..need() };
    let routes = route(&net, &sif, &places, Policy::Fastest, 9);
    assert_eq!(order(&routes), ["hpc"]);
    let why = "neither Apptainer nor Singularity is there, and nothing else runs that image";
    assert_eq!(said(&routes), [format!("lab: {why}"), format!("seen: {why}")]);
    // One that is in a registry goes to all of them.
    let any = Need { runtimes: &RUNTIMES, ..need() };
    assert_eq!(route(&net, &any, &places, Policy::Fastest, 9).places.len(), 3);
}

#[test]
fn a_sandbox_goes_where_its_limits_are_held() {
    let program = |runtime, limits, tried| ContainerProgram {
        runtime,
        version: "1".to_owned(),
        usable: Some(true),
        limits,
        tried,
        gpus: None,
    };
    let (docker, podman) = (ContainerRuntime::Docker, ContainerRuntime::Podman);
    let cases = [
        ("told", vec![program(podman, Some(true), None)], true),
        ("untold", vec![program(docker, None, None)], true),
        ("lax", vec![program(podman, Some(false), None)], false),
        // What was tried counts.
        ("tried", vec![program(podman, Some(true), Some(false))], false),
        ("better", vec![program(podman, Some(false), Some(true))], true),
        ("both", vec![program(podman, None, Some(false)), program(docker, None, None)], true),
        ("none", vec![program(ContainerRuntime::Apptainer, None, None)], false),
    ];
    for (named, programs, goes) in cases {
        let lab = host(named, Some(Batch::None));
        let mut probed = facts(8, 8);
        probed.containers = programs;
        let places = [Place::of(&lab, Some(&probed), Vec::new())];
        let net = star(&[(named, 1.0)]);
        let sandbox = Need { runtimes: &DAEMONS, sandboxed: true, ..need() };
        let routes = route(&net, &sandbox, &places, Policy::Fastest, 9);
        assert_eq!(routes.places.len(), usize::from(goes), "{named}: {:?}", said(&routes));
        // A task goes there all the same.
        assert_eq!(route(&net, &Need { runtimes: &RUNTIMES, ..need() }, &places, Policy::Fastest, 9).places.len(), 1);
    }
}

#[test]
fn an_image_that_is_not_there_has_to_come() {
    let (mut lab, hpc) = (host("lab", Some(Batch::None)), host("hpc", Some(Batch::None)));
    let net = star(&[("lab", 1.0), ("hpc", 1.0)]);
    let image = Input { name: "star:1".to_owned(), bytes: 2e9, at: vec![hpc.name.clone()] };
    let wanted = Need { image: Some(image), ..need() };
    let places = [Place::of(&lab, None, Vec::new()), Place::of(&hpc, None, Vec::new())];
    let routes = route(&net, &wanted, &places, Policy::Fastest, 9);
    assert_eq!(order(&routes), ["hpc", "lab"]);
    assert_eq!((routes.places[0].moved, routes.places[1].moved), (0.0, 2e9));
    assert_eq!(routes.places[1].transfer, Estimate::pulling(2e9));
    // Without internet it comes from who has it, and where nobody has it not at all.
    lab.internet.login = Some(false);
    let places = [Place::of(&lab, None, Vec::new())];
    assert_eq!(order(&route(&net, &wanted, &places, Policy::Fastest, 9)), ["lab"]);
    let image = Input { name: "star:1".to_owned(), bytes: 0.0, at: Vec::new() };
    let wanted = Need { image: Some(image), ..need() };
    let routes = route(&net, &wanted, &places, Policy::Fastest, 9);
    assert_eq!(
        said(&routes),
        ["lab: star:1 is not there, and there is no internet to take it from (`csync images push`)"]
    );
}

#[test]
fn what_nobody_knows_vetoes_nothing() {
    let hpc = host("hpc", Some(Batch::Sge));
    let places = [Place::of(&hpc, None, Vec::new())];
    let wanted = Need { cpus: 512, gpus: 4, internet: true, ..Need::default() };
    let routes = route(&star(&[("hpc", 1.0)]), &wanted, &places, Policy::Fastest, 9);
    assert_eq!(order(&routes), ["hpc"], "its batch system is left to judge");
    assert_eq!((routes.places[0].run, routes.places[0].core_hours), (None, None));
}
