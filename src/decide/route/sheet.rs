//! Cost sheets, and the order of places.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use crate::decide::graph::estimate::Estimate;
use crate::decide::graph::load::Load;
use crate::decide::graph::net::{Net, Stop};
use crate::decide::graph::queues::are_apart;
use crate::decide::graph::search::Reach;
use crate::decide::place::plan::Policy;
use crate::decide::route::need::{Input, Need, Place};
use crate::decide::route::veto::{Veto, fit, partitions_of};
use crate::model::batch::Partition;
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
    /// What counts against the place for what is not sure.
    pub penalty: f64,
    /// All of that; without the run where nobody knows how long that is. Under the policy `fastest` the least is the best.
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
    /// The cores there that its threads share, where these are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared: Option<u32>,
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
    /// What counts against it for what is not sure.
    pub penalty: f64,
    /// All of it, as of the place.
    pub total: Estimate,
}

impl Sheet<'_> {
    /// Returns the seconds until it is over, of which half the time it takes less: the total without what is no time.
    pub fn seconds(&self) -> f64 {
        self.total.middle - self.penalty
    }
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
    /// Whether the rates of hosts are what counts, under the policy `cheapest`; else core-hours do.
    #[serde(skip)]
    pub priced: bool,
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
    let asked = Asked { net, need, groups: groups(net, need), image: need.image.as_ref().map(Missing::new) };
    let priced = policy == Policy::Cheapest && places.iter().any(|place| place.host.rate.is_some());
    let mut routes = Routes { priced, ..Routes::default() };
    let mut weights: Vec<Weight> = Vec::with_capacity(places.len());
    for (place, at) in places.iter().zip(0..) {
        match asked.weight(place, policy, priced) {
            Ok((first, then)) => weights.push(Weight { first, then, at }),
            Err(reasons) => routes.vetoed.push(Vetoed { host: &place.host.name, reasons }),
        }
    }
    let all = weights.len();
    if shown < all {
        weights.select_nth_unstable_by(shown, Weight::compare);
    }
    let (best, rest) = weights.split_at_mut(shown.min(all));
    best.sort_unstable_by(Weight::compare);
    let local = places.iter().zip(0..).find(|(place, _)| place.host.name.is_local()).map(|(_, at)| at);
    let here = rest.iter().find(|weight| Some(weight.at) == local);
    let made = best.iter().chain(here).filter_map(|weight| asked.sheet(places.get(weight.at as usize)?));
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

/// What the cost of a place is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Wait,
    Transfer,
    Run,
}

/// What is known of a place beside its costs.
struct Fitting<'a> {
    partition: Option<&'a Partition>,
    /// Bytes that have to come.
    moved: f64,
    load: Option<Load>,
}

/// What every place is asked.
struct Asked<'n> {
    net: &'n Net,
    need: &'n Need,
    groups: Vec<Group<'n>>,
    image: Option<Missing<'n>>,
}

impl Asked<'_> {
    /// Tells what running it in a place costs, part by part, in seconds. They are told and not returned: a place is weighed by two
    /// figures of each part, and to put whole estimates together for all places takes as long as all else.
    #[inline]
    fn parts<'a>(&self, place: &'a Place<'a>, mut tell: impl FnMut(Part, Estimate)) -> Result<Fitting<'a>, Vec<Veto>> {
        let need = self.need;
        let partition = fit(need, place)?;
        let mut moved = 0.0;
        let stop = if self.groups.is_empty() { None } else { self.stop(place) };
        for group in &self.groups {
            let no_way = || vec![Veto::NoWay { input: group.name.to_owned() }];
            let stop = stop.ok_or_else(no_way)?;
            let seconds = group.reach.seconds(stop).ok_or_else(no_way)?;
            if !group.reach.is_source(stop) {
                tell(Part::Transfer, seconds);
                moved += group.bytes;
            }
        }
        let missing = self.image.as_ref().map_or(Ok(0.0), |image| image.bytes(place))?;
        if missing > 0.0 {
            tell(Part::Transfer, Estimate::pulling(missing));
            moved += missing;
        }
        let load = place.load(partition, need);
        tell(Part::Wait, place.wait(partition, load.as_ref(), need).unwrap_or_else(|| unknown_wait(place)));
        if let Some(time) = need.time {
            let stretch = place.stretch(load.as_ref(), need) * place.crowding(need);
            tell(Part::Run, time.to_run_at(&place.speed).times(stretch));
        }
        Ok(Fitting { partition, moved, load })
    }

    /// Returns what the policy counts of a place, and how long it takes there, the surer the better.
    fn weight(&self, place: &Place<'_>, policy: Policy, priced: bool) -> Result<(f64, f64), Vec<Veto>> {
        // The middle and the upper end of the total, as a sheet puts them together.
        let (mut middle, mut above, mut run) = (0.0, 0.0, None);
        let fitting = self.parts(place, |part, seconds| {
            middle += seconds.middle;
            above += (seconds.high - seconds.middle).powi(2);
            if part == Part::Run {
                run = Some(seconds.middle);
            }
        })?;
        let first = match policy {
            Policy::Fastest | Policy::Spread => 0.0,
            Policy::Locality => fitting.moved,
            // Where any host has a rate, one that has none costs nothing.
            Policy::Cheapest if priced => self.price(place, run).1.unwrap_or(0.0),
            Policy::Cheapest => self.price(place, run).0.unwrap_or(0.0),
        };
        Ok((first, middle + above.sqrt() * RISK))
    }

    /// Makes the sheet of a place that can run it.
    fn sheet<'a>(&self, place: &'a Place<'a>) -> Option<Sheet<'a>> {
        let (mut wait, mut transfer, mut run) = (Estimate::ZERO, Estimate::ZERO, None);
        let fitting = self.parts(place, |part, seconds| match part {
            Part::Wait => wait = seconds,
            Part::Transfer => transfer = transfer.plus(&seconds),
            Part::Run => run = Some(seconds),
        });
        let Fitting { partition, moved, load } = fitting.ok()?;
        let before = run.map_or(transfer, |run| transfer.plus(&run));
        let (penalty, total) = with_risk(wait.plus(&before));
        let (core_hours, cost) = self.price(place, run.map(|run| run.middle));
        let (host, partition) = (&place.host.name, partition.map(|partition| partition.name.as_str()));
        let stop = self.stop(place);
        let away = self.groups.iter().filter_map(|group| Some((group, stop?)));
        let away = away.filter(|(group, stop)| !group.reach.is_source(*stop));
        let ways = away.filter_map(|(group, stop)| Some(group.reach.way(stop)?.hosts)).collect();
        let others = partitions_of(self.need, place).filter(|other| Some(other.name.as_str()) != partition);
        let apart = others.filter_map(|other| {
            let there = place.own_wait(other, self.need).filter(|there| are_apart(there, &wait))?;
            let (penalty, total) = with_risk(there.plus(&before));
            Some(Apart { partition: &other.name, wait: there, penalty, total })
        });
        let apart = if partition.is_some() { apart.collect() } else { Vec::new() };
        let shared = place.shared(self.need);
        Some(Sheet {
            host,
            partition,
            wait,
            transfer,
            run,
            penalty,
            total,
            moved,
            ways,
            core_hours,
            cost,
            apart,
            shared,
            load,
        })
    }

    /// Returns where a place stands in the graph.
    fn stop(&self, place: &Place<'_>) -> Option<Stop> {
        place.stop.or_else(|| self.net.stop(&place.host.name))
    }

    /// Returns what running so many seconds in a place takes: cores times hours, and what those cost by the host's rate.
    fn price(&self, place: &Place<'_>, run: Option<f64>) -> (Option<f64>, Option<f64>) {
        let cores = place.shared(self.need).unwrap_or(self.need.cpus);
        let core_hours = run.map(|seconds| seconds / 3600.0 * f64::from(cores));
        (core_hours, core_hours.zip(place.host.rate).map(|(hours, rate)| hours * rate.value()))
    }
}

/// Returns what counts against a place for what is not sure of the time there, and that time with it.
fn with_risk(time: Estimate) -> (f64, Estimate) {
    let penalty = (time.high - time.middle) * RISK;
    (penalty, Estimate { low: time.low + penalty, middle: time.middle + penalty, high: time.high + penalty, ..time })
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
