//! Routes as people and agents read them.

use std::fmt::Write as _;

use crate::cli::route::advice::Advice;
use crate::cli::view::paint::Tone;
use crate::cli::view::table::{Cell, Column, Page, Table};
use crate::cli::view::words::{about, many};
use crate::decide::graph::estimate::{Estimate, Source};
use crate::decide::graph::load::Load;
use crate::decide::route::need::Need;
use crate::decide::route::sheet::{Routes, Sheet};
use crate::decide::route::veto::Veto;
use crate::model::choice::Policy;
use crate::model::host::HostName;
use crate::model::units::Bytes;

/// The columns: the total is the sum of the four behind it, and rows are in its order.
const COLUMNS: &[Column] = &[
    Column::Text("PLACE"),
    Column::Word("TOTAL"),
    Column::Word("WAIT"),
    Column::Word("TRANSFER"),
    Column::Word("RUN"),
    Column::Word("RISK"),
    Column::Extra("RESTS ON"),
];
/// The same with what a policy counts before the total.
const MOVES: &[Column] = &counting("MOVES");
const COST: &[Column] = &counting("COST");
const CORE_HOURS: &[Column] = &counting("CORE-HOURS");

const fn counting(title: &'static str) -> [Column; 8] {
    [
        Column::Text("PLACE"),
        Column::Word(title),
        Column::Word("TOTAL"),
        Column::Word("WAIT"),
        Column::Word("TRANSFER"),
        Column::Word("RUN"),
        Column::Word("RISK"),
        Column::Extra("RESTS ON"),
    ]
}

fn columns(policy: Policy, routes: &Routes<'_>) -> &'static [Column] {
    match policy {
        Policy::Fastest | Policy::Spread => COLUMNS,
        Policy::Locality => MOVES,
        Policy::Cheapest if routes.priced => COST,
        Policy::Cheapest => CORE_HOURS,
    }
}

/// Returns what the policy counts of a place before the total.
fn counted(policy: Policy, routes: &Routes<'_>, sheet: &Sheet<'_>) -> Option<String> {
    match policy {
        Policy::Fastest | Policy::Spread => None,
        Policy::Locality => Some(Bytes(sheet.moved as u64).to_string()),
        Policy::Cheapest if routes.priced => Some(format!("{:.2}", sheet.cost.unwrap_or(0.0))),
        Policy::Cheapest => Some(sheet.core_hours.map_or_else(|| "?".to_owned(), |hours| format!("{hours:.2}"))),
    }
}

/// Returns the places as a table, and the rest as sentences.
pub(super) fn table(routes: &Routes<'_>, (need, policy): (&Need, Policy), page: Page) -> String {
    let mut out = format!("{}\n", asked(need));
    if routes.places.is_empty() {
        out.push_str("No host can run it.\n");
    } else {
        let mut table = Table::new(page, columns(policy, routes));
        for (at, sheet) in routes.places.iter().enumerate() {
            let tone = if at == 0 { Tone::Green } else { Tone::Plain };
            let run = sheet.run.as_ref().map_or_else(|| "?".to_owned(), span);
            let terms = |total: &Estimate, wait: &Estimate, penalty: f64| {
                let counted = counted(policy, routes, sheet);
                let terms =
                    [span(total), span(wait), span(&sheet.transfer), run.clone(), about_or_none(penalty)].into_iter();
                let cells = counted.into_iter().chain(terms).map(Cell::new);
                cells.chain([Cell::new(total.source)]).collect::<Vec<_>>()
            };
            let place = Cell::new(name(sheet)).tone(tone);
            table.row([vec![place], terms(&sheet.total, &sheet.wait, sheet.penalty)].concat());
            for other in &sheet.apart {
                let place = Cell::new(format!("or {}/{}", sheet.host, other.partition));
                table.row([vec![place], terms(&other.total, &other.wait, other.penalty)].concat());
            }
        }
        out.push_str(&table.print());
    }
    out
}

/// Returns every term of every place.
pub(super) fn explained(routes: &Routes<'_>, need: &Need, page: Page) -> String {
    let mut out = format!("{}\n", asked(need));
    for sheet in &routes.places {
        let _ = writeln!(out, "{}  {}", page.paint.bold(name(sheet)), ends(&sheet.total));
        let run = sheet.run.map_or_else(|| "not known".to_owned(), |run| sourced(&run));
        let terms = [
            ("wait", sourced(&sheet.wait)),
            ("transfer", transfer(sheet)),
            ("run", run),
            ("risk", format!("{}, a tenth of what it may take longer", about_or_none(sheet.penalty))),
        ];
        for (term, value) in terms {
            let _ = writeln!(out, "  {term:<8}  {value}");
        }
        if let Some(hours) = sheet.core_hours {
            let price = sheet.cost.map_or_else(String::new, |cost| format!(", {cost:.2} by its rate"));
            let _ = writeln!(out, "  cost      {hours:.2} core-hours{price}");
        }
        if let Some(busy) = &sheet.load {
            let _ = writeln!(out, "  load      {}", load(busy));
        }
        for other in &sheet.apart {
            let (wait, risk, all) = (sourced(&other.wait), about_or_none(other.penalty), ends(&other.total));
            let _ = writeln!(out, "  or in     {}: wait {wait}; risk {risk}; {all} in all", other.partition);
        }
    }
    out
}

/// Returns what an agent needs to know: the best place, what it takes there and here, and what runs it there.
pub(super) fn for_agent(routes: &Routes<'_>, need: &Need, advice: Option<&Advice>) -> String {
    let Some(best) = routes.places.first() else {
        let reasons = routes.vetoed.iter().map(|vetoed| {
            let first = vetoed.reasons.first().map(ToString::to_string).unwrap_or_default();
            format!("{}: {first}", vetoed.host)
        });
        return format!("No host can run this. {}.", reasons.collect::<Vec<_>>().join("; "));
    };
    let mut out = format!("Best place: {}, about {}", name(best), about(best.seconds()));
    let here = routes.places.iter().find(|sheet| sheet.host.is_local());
    if let Some(here) = here.filter(|here| here.host != best.host) {
        // By the time alone this machine would come first.
        let risk = if here.seconds() < best.seconds() && best.total.middle <= here.total.middle {
            ", less surely"
        } else {
            ""
        };
        let _ = write!(out, " (here about {}{risk})", about(here.seconds()));
    }
    if need.time.is_none() {
        out.push_str(" before it runs; its run time is not known");
    } else if need.time.is_some_and(|time| time.source == Source::Prior) {
        out.push_str("; its run time is a shipped figure");
    }
    out.push('.');
    if let Some(advice) = advice {
        let _ = write!(out, " {}", advice.sentence());
    }
    out
}

fn asked(need: &Need) -> String {
    let mut parts = vec![if need.cpus == 1 { "1 core".to_owned() } else { format!("{} cores", need.cpus) }];
    parts.extend(need.memory.map(|memory| memory_of(&memory)));
    parts.extend((need.gpus > 0).then(|| format!("{} GPU{}", need.gpus, if need.gpus == 1 { "" } else { "s" })));
    let bytes: f64 = need.inputs.iter().map(|input| input.bytes).sum();
    if !need.inputs.is_empty() {
        let mut at: Vec<&str> = need.inputs.iter().flat_map(|input| &input.at).map(HostName::as_str).collect();
        at.sort_unstable();
        at.dedup();
        parts.push(format!("{} of input on {}", Bytes(bytes as u64), at.join(", ")));
    }
    parts.join(", ")
}

fn memory_of(memory: &Estimate) -> String {
    let [low, middle, high] = [memory.low, memory.middle, memory.high].map(|bytes| Bytes(bytes as u64));
    match memory.source {
        source @ Source::Prior => format!("{middle} ({low}-{high}) of memory by {source}"),
        _ => format!("{middle} of memory"),
    }
}

fn name(sheet: &Sheet<'_>) -> String {
    match sheet.partition {
        Some(partition) => format!("{}/{partition}", sheet.host),
        None => sheet.host.to_string(),
    }
}

/// An interval in few characters: the middle, and the ends where they are far from it.
fn span(estimate: &Estimate) -> String {
    let middle = about_or_none(estimate.middle);
    if estimate.high <= estimate.middle * 1.25 + 1.0 && estimate.low >= estimate.middle * 0.75 - 1.0 {
        return middle;
    }
    format!("{middle} ({}-{})", about_or_none(estimate.low), about_or_none(estimate.high))
}

fn about_or_none(seconds: f64) -> String {
    if seconds < 0.5 { "0s".to_owned() } else { about(seconds) }
}

fn sourced(estimate: &Estimate) -> String {
    format!("{}, {}", ends(estimate), estimate.source)
}

/// An interval whole: the middle, and the ends where they are told otherwise.
fn ends(estimate: &Estimate) -> String {
    let [low, middle, high] = [estimate.low, estimate.middle, estimate.high].map(about_or_none);
    if low == middle && high == middle { middle } else { format!("{middle} ({low}-{high})") }
}

/// Says how busy it was: `12 cores idle, 4m 00s ago`.
fn load(load: &Load) -> String {
    let idle = load.idle_cores.map(|cores| format!("{} idle", many(cores, "core")));
    let running = load.running.map(|running| format!("{running:.1} processes ran"));
    let said: Vec<String> = [idle, running].into_iter().flatten().collect();
    format!("{}, {} ago", said.join(", "), about(load.age_s))
}

fn transfer(sheet: &Sheet<'_>) -> String {
    if sheet.ways.is_empty() {
        return "nothing moves".to_owned();
    }
    let ways = sheet.ways.iter().map(|way| way.iter().map(HostName::as_str).collect::<Vec<_>>().join(" > "));
    let ways = ways.collect::<Vec<_>>().join(", ");
    format!("{}, {} by {ways}", sourced(&sheet.transfer), Bytes(sheet.moved as u64))
}

/// Says that the threads of a command have fewer cores in the best place than they are.
pub(super) fn shared(routes: &Routes<'_>, need: &Need) -> Option<String> {
    let best = routes.places.first()?;
    let cores = many(best.shared?, "core");
    Some(format!(
        "Its {} share {cores} on {}, which takes longer; `--cpus {}` asks where there is one for each.",
        many(need.cpus, "thread"),
        best.host,
        need.cpus
    ))
}

/// Says what lets a command run that no host has the cores for which its options for threads say.
pub(super) fn fewer(routes: &Routes<'_>) -> Option<String> {
    let reasons = routes.vetoed.iter().filter_map(|vetoed| match vetoed.reasons.as_slice() {
        [Veto::Cores { asked, most }] => Some((*most, *asked)),
        _ => None,
    });
    let (most, asked) = reasons.max().filter(|_| routes.places.is_empty())?;
    Some(format!("Its options for threads say {}; `--cpus {most}` asks where it runs with fewer.", many(asked, "core")))
}

/// Counts hosts.
pub(super) fn hosts(count: usize) -> String {
    many(u32::try_from(count).unwrap_or(u32::MAX), "host")
}

/// Returns why hosts are no place for it, of so many at most.
pub(super) fn vetoed(routes: &Routes<'_>, shown: usize) -> String {
    let mut out = String::new();
    for vetoed in routes.vetoed.iter().take(shown) {
        let reasons: Vec<String> = vetoed.reasons.iter().map(ToString::to_string).collect();
        let looks = vetoed.reasons.contains(&Veto::NotProbed);
        let failed = vetoed.reasons.iter().any(|reason| matches!(reason, Veto::NoContact { .. }));
        let help = if looks {
            format!("; `csync hosts probe {}` does.", vetoed.host)
        } else if failed {
            format!("; `csync hosts probe {}` tries again.", vetoed.host)
        } else {
            ".".to_owned()
        };
        let _ = writeln!(out, "Not on {}: {}{help}", vetoed.host, reasons.join("; "));
    }
    let rest = routes.vetoed.len().saturating_sub(shown);
    if rest > 0 {
        let _ = writeln!(out, "Nor on {} more; `--all` says why.", hosts(rest));
    }
    out
}
