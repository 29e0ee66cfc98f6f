//! Cost sheets, and the order of places.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::decide::graph::estimate::Estimate;
use crate::decide::graph::net::Net;
use crate::decide::graph::search::Reach;
use crate::decide::place::plan::Policy;
use crate::decide::route::need::{Need, Place};
use crate::decide::route::veto::{Veto, fit};
use crate::model::host::{Batch, HostName};

/// How much of the time that it may take longer counts against a place, when places are compared: between two that are as fast,
/// the surer one.
const RISK: f64 = 0.1;

/// Places whose ways are told: nobody reads more.
const EXPLAINED: usize = 20;

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
    /// The ways that they take; of the first few places.
    pub ways: Vec<Vec<HostName>>,
    /// Cores times hours; none where nobody knows how long it runs.
    pub core_hours: Option<f64>,
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
    /// Places with their costs.
    pub places: Vec<Sheet<'a>>,
    /// Hosts that are no place for it.
    pub vetoed: Vec<Vetoed<'a>>,
}

/// Inputs that lie in the same places.
struct Group<'a> {
    bytes: f64,
    name: &'a str,
    reach: Reach<'a>,
}

/// Ranks places for a command. The order of places that cost the same is kept.
pub fn route<'a>(net: &Net, need: &Need, places: &'a [Place<'a>], policy: Policy) -> Routes<'a> {
    let groups = groups(net, need);
    let mut routes = Routes { places: Vec::with_capacity(places.len()), vetoed: Vec::new() };
    for place in places {
        match sheet(net, need, place, &groups) {
            Ok(sheet) => routes.places.push(sheet),
            Err(reasons) => routes.vetoed.push(Vetoed { host: &place.host.name, reasons }),
        }
    }
    let cost = |sheet: &Sheet<'_>| {
        let first = match policy {
            Policy::Fastest | Policy::Spread => 0.0,
            Policy::Locality => sheet.moved,
            Policy::Cheapest => sheet.core_hours.unwrap_or(0.0),
        };
        (first, (sheet.total.high - sheet.total.middle).mul_add(RISK, sheet.total.middle))
    };
    let mut order: Vec<(f64, f64, u32)> =
        routes.places.iter().map(cost).zip(0..).map(|((first, then), at)| (first, then, at)).collect();
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
    put_in_order(&mut routes.places, order.iter().map(|&(_, _, at)| at).collect());
    for sheet in routes.places.iter_mut().take(EXPLAINED) {
        let Some(stop) = net.stop(sheet.host) else { continue };
        let away = groups.iter().filter(|group| !group.reach.is_source(stop));
        sheet.ways = away.filter_map(|group| Some(group.reach.way(stop)?.hosts)).collect();
    }
    routes
}

/// Moves to each place what `from` says stands elsewhere now. Sheets are large: each is moved about once, and nowhere else.
fn put_in_order<T>(all: &mut [T], mut from: Vec<u32>) {
    for start in 0..all.len() {
        let mut at = start;
        // Round the circle that begins here; what is in order is named as its own place.
        while let Some(slot) = from.get_mut(at) {
            let next = std::mem::replace(slot, at as u32) as usize;
            if next == start || next == at || next >= all.len() {
                break;
            }
            all.swap(at, next);
            at = next;
        }
    }
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

fn sheet<'a>(net: &Net, need: &Need, place: &'a Place<'a>, groups: &[Group<'_>]) -> Result<Sheet<'a>, Vec<Veto>> {
    let partition = fit(need, place)?;
    let host = &place.host.name;
    let (mut transfer, mut moved) = (Estimate::ZERO, 0.0);
    let stop = if groups.is_empty() { None } else { place.stop.or_else(|| net.stop(host)) };
    for group in groups {
        let no_way = || vec![Veto::NoWay { input: group.name.to_owned() }];
        let stop = stop.ok_or_else(no_way)?;
        let seconds = group.reach.seconds(stop).ok_or_else(no_way)?;
        if !group.reach.is_source(stop) {
            transfer = transfer.plus(&seconds);
            moved += group.bytes;
        }
    }
    let partition = partition.map(|partition| partition.name.as_str());
    let wait = place.wait(partition, need).unwrap_or_else(|| unknown_wait(place));
    let run = need.time.map(|time| time.to_run_at(&place.speed));
    let total = wait.plus(&transfer);
    let total = run.map_or(total, |run| total.plus(&run));
    let core_hours = run.map(|run| run.middle / 3600.0 * f64::from(need.cpus));
    Ok(Sheet { host, partition, wait, transfer, run, total, moved, ways: Vec::new(), core_hours })
}

/// Returns the wait on a host that nothing was submitted to: none on a machine of one's own, if it was looked at; a queue may
/// take seconds or an hour.
fn unknown_wait(place: &Place<'_>) -> Estimate {
    match place.host.batch {
        Some(Batch::None) if place.facts.is_some() => Estimate::ZERO,
        Some(Batch::None) => Estimate::guess(0.0, 1.0, 60.0),
        _ => Estimate::guess(5.0, 120.0, 3600.0),
    }
}
