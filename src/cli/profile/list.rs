//! `csync profile list`.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::profile::{open, place};
use crate::cli::view::table::{Cell, Column, Page, Table};
use crate::cli::view::words::{ago, duration, number};
use crate::decide::learn::profile::{Prediction, Question};
use crate::model::units::{Bytes, Timestamp};
use crate::reach::clock;
use crate::reach::learned::Entry;

const COLUMNS: &[Column] = &[
    Column::Text("COMMAND"),
    Column::Number("RUNS"),
    Column::Number("MEMORY"),
    Column::Number("REQUEST"),
    Column::Number("TIME"),
    Column::Number("CPUS"),
    Column::Detail("LAST"),
    Column::Extra("HOSTS"),
];

/// A row of the list: what an input of the usual size needs.
struct Row<'a> {
    entry: &'a Entry,
    input: f64,
    memory: Option<Prediction>,
    time: Option<Prediction>,
    cpus: Option<f64>,
    last: Option<Timestamp>,
}

impl<'a> Row<'a> {
    fn new(entry: &'a Entry) -> Self {
        let summary = entry.profile.summary();
        let middle = |mut numbers: Vec<f64>| {
            numbers.sort_unstable_by(f64::total_cmp);
            numbers.get(numbers.len() / 2).copied()
        };
        let kept = || summary.kept().map(|(seen, _)| seen);
        let input = middle(kept().map(|seen| f64::from(seen.input)).collect()).unwrap_or(0.0);
        let used = kept().filter(|seen| seen.wall > 0.0 && seen.cpu > 0.0).map(|seen| f64::from(seen.cpu / seen.wall));
        Self {
            entry,
            input,
            memory: entry.profile.memory(Question::plain(input)),
            time: entry.profile.run_time(input),
            cpus: middle(used.collect()),
            last: summary.latest().map(|minutes| Timestamp(i64::from(minutes) * 60_000_000)),
        }
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "command": self.entry.signature.to_string(),
            "hosts": format!("hosts-{}", self.entry.class),
            "runs": self.entry.profile.summary().count(),
            "input_bytes": self.input,
            "memory_bytes": self.memory,
            "time_s": self.time,
            "cpus": self.cpus,
            "last": self.last,
        })
    }
}

/// Runs it.
pub(super) fn run(context: &Context) -> Result<Exit, Failure> {
    let place = place(context)?;
    let (mut entries, unreadable) = context.block_on(async {
        let mut learned = open(&place).await?;
        let entries = learned.all().await?;
        let unreadable = learned.unreadable();
        learned.close().await;
        Ok((entries, unreadable))
    })?;
    if unreadable > 0 {
        context.warn(&format!("{unreadable} records are damaged and left out."));
    }
    entries.sort_by_cached_key(|entry| (entry.signature.to_string(), entry.class));
    let rows: Vec<Row<'_>> = entries.iter().map(Row::new).collect();
    if context.json() {
        context.print_json(&json!({ "profiles": rows.iter().map(Row::json).collect::<Vec<_>>() }))?;
        return Ok(Exit::Success);
    }
    if rows.is_empty() {
        context.say("Nothing was learned yet: runs teach, and `csync profile import` reads what a site already knows.");
        return Ok(Exit::Success);
    }
    let mut table = Table::new(Page::stdout(context.paint()), COLUMNS);
    let now = clock::now();
    for row in &rows {
        let dash = || "-".to_owned();
        let bytes = |value: f64| Bytes(value as u64).to_string();
        table.row(vec![
            Cell::new(&row.entry.signature),
            Cell::new(number(row.entry.profile.summary().count())),
            Cell::new(row.memory.map_or_else(dash, |found| bytes(found.middle))),
            Cell::new(row.memory.map_or_else(dash, |found| bytes(found.request))),
            Cell::new(row.time.map_or_else(dash, |found| duration(found.middle))),
            Cell::new(row.cpus.map_or_else(dash, |cpus| format!("{cpus:.1}"))),
            Cell::new(row.last.map_or_else(dash, |last| ago(last, now))),
            Cell::new(format!("hosts-{}", row.entry.class)),
        ]);
    }
    context.print(&table.print())?;
    Ok(Exit::Success)
}
