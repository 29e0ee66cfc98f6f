//! `csync hook stats`: what was said to agents, and what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::hook::calls::{Entry, entries};
use crate::cli::view::words::many;

/// Show what the hook said to agents, and what came of it
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// What one kind of advice came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Kind {
    /// How often it was given.
    given: u64,
    /// How often a changed command was handed back.
    changed: u64,
    /// How often that is what ran, as far as agents told.
    taken: u64,
    /// How many of these commands went well, as far as agents told.
    well: u64,
    /// How many failed.
    failed: u64,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Stats {
    commands: u32,
    sessions: u32,
    kinds: BTreeMap<String, Kind>,
    /// Exit codes of commands that failed all the same, with how often.
    codes: BTreeMap<i32, u64>,
    /// Median and 99th percentile of the time in the process, in microseconds.
    micros_p50: Option<u64>,
    micros_p99: Option<u64>,
}

/// Runs it.
pub(super) fn run(context: &Context, _args: &Args) -> Result<Exit, Failure> {
    let stats = count(&entries(context.state_dir()?.root()));
    if context.json() {
        context.print_json(&stats)?;
        return Ok(Exit::Success);
    }
    if stats.commands == 0 {
        context.print("Nothing was said yet. `csync hook install` lets agents ask.")?;
        return Ok(Exit::Success);
    }
    let mut text = format!("{} of {} got advice.\n", many(stats.commands, "command"), many(stats.sessions, "session"));
    for (name, kind) in &stats.kinds {
        let _ = writeln!(
            text,
            "  {name:<11} {:>5} given, {:>5} changed, {:>5} of these ran so; {} went well, {} failed",
            kind.given, kind.changed, kind.taken, kind.well, kind.failed
        );
    }
    if !stats.codes.is_empty() {
        let codes: Vec<String> = stats.codes.iter().map(|(code, times)| format!("{code} ({times}x)")).collect();
        let _ = writeln!(text, "Exit codes of those that failed: {}.", codes.join(", "));
    }
    if let (Some(p50), Some(p99)) = (stats.micros_p50, stats.micros_p99) {
        let _ = writeln!(text, "An answer took {p50} µs in the middle, {p99} µs at the 99th percentile.");
    }
    context.print(text.trim_end())?;
    Ok(Exit::Success)
}

fn count(entries: &[Entry]) -> Stats {
    let mut said: BTreeMap<&str, &Entry> = BTreeMap::new();
    let mut ended: BTreeMap<&str, &Entry> = BTreeMap::new();
    for entry in entries {
        // The same call may be asked about twice, and its outcome told twice.
        let of = if entry.kinds.is_empty() { &mut ended } else { &mut said };
        of.entry(&entry.call).or_insert(entry);
    }
    let mut stats = Stats { commands: said.len() as u32, ..Stats::default() };
    stats.sessions = said.values().map(|entry| entry.session.as_str()).collect::<BTreeSet<_>>().len() as u32;
    for (call, entry) in &said {
        for name in &entry.kinds {
            let kind = stats.kinds.entry(name.clone()).or_default();
            kind.given += 1;
            kind.changed += u64::from(entry.changed == Some(true));
            let ended = ended.get(call);
            kind.taken += u64::from(ended.is_some_and(|ended| ended.taken == Some(true)));
            kind.well += u64::from(ended.is_some_and(|ended| ended.well == Some(true)));
            kind.failed += u64::from(ended.is_some_and(|ended| ended.well == Some(false)));
        }
        if let Some(code) = ended.get(call).and_then(|ended| ended.code) {
            *stats.codes.entry(code).or_default() += 1;
        }
    }
    let mut micros: Vec<u64> = said.values().filter_map(|entry| entry.micros).collect();
    micros.sort_unstable();
    stats.micros_p50 = micros.get(micros.len() / 2).copied();
    stats.micros_p99 = micros.get(micros.len() * 99 / 100).copied();
    stats
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_counts_once_however_often_it_is_told() {
        let said = Entry {
            call: "a".to_owned(),
            session: "s".to_owned(),
            kinds: vec!["jump".to_owned()],
            changed: Some(true),
            micros: Some(300),
            ..Entry::default()
        };
        let ended =
            Entry { call: "a".to_owned(), well: Some(false), code: Some(255), taken: Some(true), ..Entry::default() };
        let other = Entry { call: "b".to_owned(), changed: Some(false), ..said.clone() };
        let stats = count(&[said.clone(), ended.clone(), said, ended, other]);
        let kind = Kind { given: 2, changed: 1, taken: 1, well: 0, failed: 1 };
        assert_eq!((stats.commands, stats.sessions, &stats.kinds["jump"]), (2, 1, &kind));
        assert_eq!((stats.micros_p50, stats.codes), (Some(300), [(255, 1)].into()));
        assert_eq!(count(&[]), Stats::default());
    }
}
