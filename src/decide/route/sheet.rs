//! Cost sheets, and the order of places.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use crate::decide::graph::estimate::Estimate;
use crate::decide::graph::load::Load;
use crate::decide::graph::net::Net;
use crate::decide::graph::queues::are_apart;
use crate::decide::graph::search::Reach;
use crate::decide::place::plan::Policy;
use crate::decide::route::need::{Input, Need, Place};
use crate::decide::route::veto::{Veto, fit, partitions_of};
use crate::model::host::{Batch, HostName};

/// How much of the time that it may take longer counts against a place, when places are compared: between two that are as fast,
/// the surer one.
const RISK: f64 = 0.1;

/// What running a command in a place costs, in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sheet<'a> {
    /// The host.
    pub host: &'a HostName,
    /// The partition that it fits; none where there are none.
    pub partition: Option<&'a str>,
    /// Until it starts, once everything is there.
    pub wait: Estimate,
    /// Until its inputs are there.
    pub transfer: Estimate,
    /// While it runs; none where nobody knows.
    pub run: Option<Estimate>,
    /// All of that; without the run where nobody knows how long that is.
    pub total: Estimate,
    /// Bytes that have to be moved.
    pub moved: f64,
    /// The ways that they take.
    pub ways: Vec<Vec<HostName>>,
    /// Cores times hours; none where nobody knows how long it runs.
    pub core_hours: Option<f64>,
    /// What that costs by the host's rate; none where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// Other partitions there that it fits, where jobs are known to wait otherwise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub apart: Vec<Apart<'a>>,
    /// How busy it was when somebody looked last, where that is in the wait or the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
}

/// Another partition of a place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Apart<'a> {
    /// The partition.
    pub partition: &'a str,
    /// Until it starts there, once everything is there.
    pub wait: Estimate,
    /// All of it, as of the place.
    pub total: Estimate,
}

/// A host where it cannot run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Vetoed<'a> {
    /// The host.
    pub host: &'a HostName,
    /// Every reason.
    pub reasons: Vec<Veto>,
}

/// Where a command can run, the best place first, and where it cannot.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Routes<'a> {
    /// The best places with their costs; this machine last, where it can run there and is none of the best.
    pub places: Vec<Sheet<'a>>,
    /// How many more places there are.
    pub others: usize,
    /// Hosts that are no place for it.
    pub vetoed: Vec<Vetoed<'a>>,
}

/// Inputs that lie in the same places.
struct Group<'a> {
    bytes: f64,
    name: &'a str,
    reach: Reach<'a>,
}

/// A place as it is compared with others: of a thousand few are shown, and a whole sheet is made of those alone.
#[derive(Clone, Copy)]
struct Weight {
    /// What the policy counts.
    first: f64,
    /// How long it takes, the surer the better.
    then: f64,
    /// Which place.
    at: u32,
}

impl Weight {
    fn compare(&self, other: &Self) -> Ordering {
        self.first.total_cmp(&other.first).then(self.then.total_cmp(&other.then)).then(self.at.cmp(&other.at))
    }
}

/// Ranks places for a command, and makes the sheets of so many, at most. The order of places that cost the same is kept.
pub fn route<'a>(net: &Net, need: &Need, places: &'a [Place<'a>], policy: Policy, shown: usize) -> Routes<'a> {
    let groups = groups(net, need);
    // Where any host has a rate, one that has none costs nothing.
    let priced = places.iter().any(|place| place.host.rate.is_some());
    let image = need.image.as_ref().map(Missing::new);
    let mut routes = Routes::default();
    let mut weights: Vec<Weight> = Vec::with_capacity(places.len());
    for (place, at) in places.iter().zip(0..) {
        match costs(net, need, place, &groups, image.as_ref()) {
            Ok(costs) => weights.push(costs.weight(place, policy, priced, at)),
            Err(reasons) => routes.vetoed.push(Vetoed { host: &place.host.name, reasons }),
        }
    }
    let all = weights.len();
    if shown < all {
        weights.select_nth_unstable_by(shown, Weight::compare);
    }
    let (best, rest) = weights.split_at_mut(shown.min(all));
    best.sort_unstable_by(Weight::compare);
    let of = |weight: &Weight| places.get(weight.at as usize);
    let is_here = |weight: &&Weight| of(weight).is_some_and(|place| place.host.name.is_local());
    let here = rest.iter().find(is_here);
    let made = best.iter().chain(here).filter_map(|weight| sheet(net, need, of(weight)?, &groups, image.as_ref()));
    routes.places = made.collect();
    routes.others = all - routes.places.len();
    routes
}

/// Returns the inputs by where they lie: those of one place travel together.
fn groups<'a>(net: &'a Net, need: &'a Need) -> Vec<Group<'a>> {
    let mut by_place: BTreeMap<&[HostName], (f64, &str)> = BTreeMap::new();
    for input in need.inputs.iter().filter(|input| !input.at.is_empty()) {
        let group = by_place.entry(&input.at).or_insert((0.0, &input.name));
        group.0 += input.bytes;
    }
    let groups = by_place.into_iter();
    groups.map(|(at, (bytes, name))| Group { bytes, name, reach: net.reach(at, bytes) }).collect()
}

/// What a place costs.
struct Costs<'a> {
    partition: Option<&'a str>,
    wait: Estimate,
    transfer: Estimate,
    run: Option<Estimate>,
    total: Estimate,
    moved: f64,
    core_hours: Option<f64>,
    load: Option<Load>,
}

impl Costs<'_> {
    fn weight(&self, place: &Place<'_>, policy: Policy, priced: bool, at: u32) -> Weight {
        let first = match policy {
            Policy::Fastest | Policy::Spread => 0.0,
            Policy::Locality => self.moved,
            Policy::Cheapest if priced => self.cost(place).unwrap_or(0.0),
            Policy::Cheapest => self.core_hours.unwrap_or(0.0),
        };
        Weight { first, then: self.total.middle + (self.total.high - self.total.middle) * RISK, at }
    }

    fn cost(&self, place: &Place<'_>) -> Option<f64> {
        Some(self.core_hours? * place.host.rate?.value())
    }
}

/// An image that some hosts have not.
struct Missing<'a> {
    image: &'a Input,
    at: HashSet<&'a str>,
}

impl<'a> Missing<'a> {
    fn new(image: &'a Input) -> Self {
        // What this machine has nobody looked at.
        let at = image.at.iter().map(HostName::as_str).chain([HostName::LOCAL]).collect();
        Self { image, at }
    }

    /// Returns what has to come to a host.
    fn bytes(&self, place: &Place<'_>) -> Result<f64, Vec<Veto>> {
        if self.at.contains(place.host.name.as_str()) {
            return Ok(0.0);
        }
        if place.host.internet.login == Some(false) && self.image.at.is_empty() {
            return Err(vec![Veto::NoImage { image: self.image.name.clone() }]);
        }
        Ok(self.image.bytes)
    }
}

fn costs<'a>(
    net: &Net,
    need: &Need,
    place: &'a Place<'a>,
    groups: &[Group<'_>],
    image: Option<&Missing<'_>>,
) -> Result<Costs<'a>, Vec<Veto>> {
    let partition = fit(need, place)?;
    let (mut transfer, mut moved) = (Estimate::ZERO, 0.0);
    let stop = if groups.is_empty() { None } else { place.stop.or_else(|| net.stop(&place.host.name)) };
    for group in groups {
        let no_way = || vec![Veto::NoWay { input: group.name.to_owned() }];
        let stop = stop.ok_or_else(no_way)?;
        let seconds = group.reach.seconds(stop).ok_or_else(no_way)?;
        if !group.reach.is_source(stop) {
            transfer = transfer.plus(&seconds);
            moved += group.bytes;
        }
    }
    let missing = image.map_or(Ok(0.0), |image| image.bytes(place))?;
    if missing > 0.0 {
        transfer = transfer.plus(&Estimate::pulling(missing));
        moved += missing;
    }
    let (wait, load) =
        (place.wait(partition, need).unwrap_or_else(|| unknown_wait(place)), place.load(partition, need));
    let stretch = place.stretch(load.as_ref(), need);
    let run = need.time.map(|time| time.to_run_at(&place.speed).times(stretch));
    let partition = partition.map(|partition| partition.name.as_str());
    let total = wait.plus(&transfer);
    let total = run.map_or(total, |run| total.plus(&run));
    let core_hours = run.map(|run| run.middle / 3600.0 * f64::from(need.cpus));
    Ok(Costs { partition, wait, transfer, run, total, moved, core_hours, load })
}

/// Makes the sheet of a place that can run it.
fn sheet<'a>(
    net: &Net,
    need: &Need,
    place: &'a Place<'a>,
    groups: &[Group<'_>],
    image: Option<&Missing<'_>>,
) -> Option<Sheet<'a>> {
    let found = costs(net, need, place, groups, image).ok()?;
    let (cost, host) = (found.cost(place), &place.host.name);
    let Costs { partition, wait, transfer, run, total, moved, core_hours, load } = found;
    let stop = place.stop.or_else(|| net.stop(host));
    let away = groups.iter().filter_map(|group| Some((group, stop?)));
    let away = away.filter(|(group, stop)| !group.reach.is_source(*stop));
    let ways = away.filter_map(|(group, stop)| Some(group.reach.way(stop)?.hosts)).collect();
    let before = run.map_or(transfer, |run| transfer.plus(&run));
    let others = partitions_of(need, place).filter(|other| Some(other.name.as_str()) != partition);
    let apart = others.filter_map(|other| {
        let there = place.own_wait(other, need).filter(|there| are_apart(there, &wait))?;
        Some(Apart { partition: &other.name, wait: there, total: there.plus(&before) })
    });
    let apart = if partition.is_some() { apart.collect() } else { Vec::new() };
    Some(Sheet { host, partition, wait, transfer, run, total, moved, ways, core_hours, cost, apart, load })
}

/// Returns the wait on a host that nothing was submitted to: none on a machine of one's own, if it was looked at; a queue may
/// take seconds or an hour.
fn unknown_wait(place: &Place<'_>) -> Estimate {
    match place.host.batch {
        Some(Batch::None) if place.found.is_some() => Estimate::ZERO,
        Some(Batch::None) => Estimate::guess(0.0, 1.0, 60.0),
        _ => Estimate::guess(5.0, 120.0, 3600.0),
    }
}
