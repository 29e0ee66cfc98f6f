//! `csync hosts list`.

use std::fmt::Write as _;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::hosts::Known;
use crate::cli::hosts::show::out_of_service;
use crate::cli::view::engine::host as describe;
use crate::cli::view::paint::Tone;
use crate::cli::view::table::{Cell, Column, Page, Table};
use crate::cli::view::words::ago;
use crate::model::api::{Breaker, Contact};
use crate::model::facts::Probed;
use crate::model::host::Host;
use crate::model::units::Timestamp;
use crate::reach::clock;

/// List the hosts
///
/// WAY is how a host is reached, BATCH its batch system, STATE how the last probe went, or that the engine cannot use it now: `open`
/// (the circuit is, until the next try) or `half-open` (it is being tried). Below it says how many nodes of clusters were out of
/// service when they were probed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

const COLUMNS: &[Column] = &[
    Column::Text("HOST"),
    Column::Text("WAY"),
    Column::Word("BATCH"),
    Column::Word("STATE"),
    Column::Word("PROBED"),
    Column::Extra("TAGS"),
];

/// Runs it.
pub(super) fn run(context: &Context) -> Result<Exit, Failure> {
    let known = Known::load(context)?;
    let nothing = Probed::default();
    let probed = |host: &Host| known.probed.get(&host.name).unwrap_or(&nothing);
    if context.json() {
        let hosts: Vec<_> =
            known.hosts.iter().map(|host| row(host, probed(host), known.contacts.get(&host.name))).collect();
        context.print_json(&json!({ "hosts": hosts }))?;
        return Ok(Exit::Success);
    }
    let rows: Vec<Row<'_>> =
        known.hosts.iter().map(|host| (host, probed(host), known.contacts.get(&host.name))).collect();
    context.print(&table(&rows, clock::now(), Page::stdout(context.paint())))?;
    if rows.len() == 1 {
        context.say("`csync hosts import` takes more from ~/.ssh/config.");
    } else if rows.iter().any(|(host, probed, _)| state(host, probed) == "not probed") {
        context.say("`csync hosts probe` looks at those that were not probed.");
    } else if let Some((host, ..)) = rows.iter().find(|(host, probed, _)| state(host, probed) == "failed") {
        context.say(&format!("`csync hosts test {}` says what is in the way.", host.name));
    }
    Ok(Exit::Success)
}

/// A host, what was found there, and how the engine stands with it.
type Row<'a> = (&'a Host, &'a Probed, Option<&'a Contact>);

fn row(host: &Host, probed: &Probed, contact: Option<&Contact>) -> serde_json::Value {
    json!({
        "name": host.name,
        "ssh": host.ssh,
        "batch": host.batch,
        "state": state(host, probed),
        "probed": probed.at,
        "failure": probed.failure,
        "contact": contact,
        "tags": host.tags,
        "transfer_only": host.transfer_only,
        "simulated": host.simulated,
    })
}

/// Returns how a host is, as far as its last probe says.
fn state(host: &Host, probed: &Probed) -> &'static str {
    match probed {
        Probed { failure: Some(_), .. } => "failed",
        Probed { facts: Some(_), .. } => "ok",
        _ if host.name.is_local() => "here",
        _ => "not probed",
    }
}

/// Says which nodes of a host start no jobs, as far as its last probe says.
fn away(probed: &Probed) -> Option<String> {
    out_of_service(&probed.facts.as_ref()?.batch.as_ref()?.offers.partitions)
}

fn table(rows: &[Row<'_>], now: Timestamp, page: Page) -> String {
    let mut table = Table::new(page, COLUMNS);
    let mut more = String::new();
    for (host, probed, contact) in rows {
        let way = host.ssh.as_ref().map_or_else(
            || if host.simulated.is_some() { "simulated" } else { "this machine" }.to_owned(),
            |alias| format!("ssh {alias}"),
        );
        let batch = match host.batch {
            _ if host.transfer_only => "transfer".to_owned(),
            Some(batch) => batch.to_string(),
            None => "?".to_owned(),
        };
        let mut state = state(host, probed);
        if let Some(contact) = contact.filter(|it| it.breaker != Breaker::Closed || it.full.is_some()) {
            let _ = writeln!(more, "{}: {}", page.paint.bold(&host.name), describe(contact, now));
            if contact.breaker != Breaker::Closed {
                state = contact.breaker.word();
            }
        }
        if let Some(away) = away(probed) {
            let _ = writeln!(more, "{}: out of service {away}", page.paint.bold(&host.name));
        }
        let tone = match state {
            "failed" | "open" => Tone::Red,
            "ok" | "here" => Tone::Green,
            _ => Tone::Yellow,
        };
        let last = probed.failure.as_ref().map(|failure| failure.at).or(probed.at);
        table.row(vec![
            Cell::new(&host.name),
            Cell::new(way),
            Cell::new(batch),
            Cell::new(state).tone(tone),
            Cell::new(last.map_or_else(|| "-".to_owned(), |at| ago(at, now))),
            Cell::new(host.tags.join(" ")),
        ]);
    }
    let mut text = table.print();
    if !more.is_empty() {
        text.push('\n');
        text.push_str(&more);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::view::Paint;
    use crate::model::facts::{Facts, ProbeFailure};
    use crate::model::host::{Batch, HostName};

    #[test]
    fn hosts_are_listed_with_what_is_known_of_them() {
        let now = Timestamp(3_600_000_000);
        let host = |name: &str| Host::new(name.parse().unwrap());
        let local = Host { tags: vec!["laptop".to_owned()], ..Host::new(HostName::local()) };
        let hpc = Host { batch: Some(Batch::Slurm), tags: vec!["gpu".to_owned(), "big".to_owned()], ..host("hpc") };
        let nas = Host { transfer_only: true, ..host("nas") };
        let seen = Probed { at: Some(Timestamp(0)), facts: Some(Facts::default()), failure: None };
        let failure = Some(ProbeFailure { at: Timestamp(3_000_000_000), message: "no".to_owned() });
        let lost = Probed { failure, ..seen.clone() };
        let breaker =
            Breaker::Open { why: "no route to host".to_owned(), since: now, next_try: Timestamp(3_602_000_000) };
        let open = Contact { host: "lab".parse().unwrap(), breaker, full: None, jobs: 3, login: None };
        let (new, lab) = (host("new"), host("lab"));
        let rows: [Row<'_>; 5] = [
            (&local, &Probed::default(), None),
            (&hpc, &seen, None),
            (&nas, &lost, None),
            (&new, &Probed::default(), None),
            (&lab, &seen, Some(&open)),
        ];
        let page = Page { width: Some(80), paint: Paint::new(false) };
        insta::assert_snapshot!(table(&rows, now, page));
    }
}
