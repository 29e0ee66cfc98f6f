//! `csync profile list`.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::profile::classes::Classes;
use crate::cli::profile::{open, place, told_damaged};
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
    Column::Detail("UNUSED"),
    Column::Detail("HELD"),
    Column::Detail("KILLED"),
    Column::Detail("LAST"),
    Column::Detail("I/O"),
    Column::Detail("HOSTS"),
];

/// List what was learned: runs, memory, time, CPU use
///
/// MEMORY and TIME are what an input of the usual size needs, REQUEST the memory to ask for. UNUSED is the part of the memory asked for
/// so far that was not used, and of the time: `88/97 %`; HELD how often the 80 % interval of memory held what came next, and that of the
/// time; KILLED how many ran out of the time asked for; I/O the bytes that were read and written.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Args {
    /// All commands, not only those with the most runs
    #[arg(long)]
    all: bool,
}

/// Commands that are shown unless all are asked for.
const SHOWN: usize = 50;

/// A row of the list: what an input of the usual size needs.
struct Row<'a> {
    entry: &'a Entry,
    input: f64,
    memory: Option<Prediction>,
    time: Option<Prediction>,
    cpus: Option<f64>,
    io: Option<f64>,
    last: Option<Timestamp>,
    /// Of memory, and of time.
    unused: [Option<f64>; 2],
    held: [Option<f64>; 2],
    killed: u32,
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
            io: middle(kept().filter(|seen| seen.io > 0.0).map(|seen| f64::from(seen.io)).collect()),
            unused: [entry.profile.unused(), entry.profile.unused_time()],
            held: [entry.profile.held().share(), entry.profile.held_time().share()],
            killed: summary.killed(),
            // Reports need not say when a job ended.
            last: summary.latest().map(|minutes| Timestamp(i64::from(minutes) * 60_000_000)),
        }
    }

    fn json(&self, classes: &Classes) -> serde_json::Value {
        json!({
            "command": self.entry.signature.to_string(),
            "hosts": classes.name(self.entry.class),
            "runs": self.entry.profile.summary().count(),
            "input_bytes": self.input,
            "memory_bytes": self.memory,
            "time_s": self.time,
            "cpus": self.cpus,
            "io_bytes": self.io,
            "unused": self.unused[0],
            "held": self.held[0],
            "time_unused": self.unused[1],
            "time_held": self.held[1],
            "killed": self.killed,
            "last": self.last,
        })
    }
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let place = place(context)?;
    let (mut entries, unreadable, key) = context.block_on(async {
        let mut learned = open(&place).await?;
        let entries = learned.all().await?;
        let (unreadable, key) = (learned.unreadable(), learned.tokens().clone());
        learned.close().await;
        Ok((entries, unreadable, key))
    })?;
    let classes = Classes::of(context, &key);
    if unreadable > 0 {
        context.warn(&told_damaged(unreadable));
    }
    let known = entries.len();
    if !args.all {
        entries.sort_by_cached_key(|entry| {
            (std::cmp::Reverse(entry.profile.summary().count()), entry.signature.to_string(), entry.class)
        });
        entries.truncate(SHOWN);
    }
    entries.sort_by_cached_key(|entry| (entry.signature.to_string(), entry.class));
    let rows: Vec<Row<'_>> = entries.iter().map(Row::new).collect();
    if context.json() {
        context.print_json(
            &json!({ "known": known, "profiles": rows.iter().map(|row| row.json(&classes)).collect::<Vec<_>>() }),
        )?;
        return Ok(Exit::Success);
    }
    if rows.is_empty() {
        context.say("Nothing was learned yet: what runs for a second or longer teaches, and `csync profile import` reads what a site already knows.");
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
            Cell::new(percents(row.unused)),
            Cell::new(percents(row.held)),
            Cell::new(number(row.killed)),
            Cell::new(row.last.map_or_else(dash, |last| ago(last, now))),
            Cell::new(row.io.map_or_else(dash, bytes)),
            Cell::new(classes.name(row.entry.class)),
        ]);
    }
    context.print(&table.print())?;
    if rows.len() < known {
        context.say(&format!(
            "The {} with the most runs of {known}; `csync profile list --all` shows the rest.",
            rows.len()
        ));
    }
    Ok(Exit::Success)
}

/// Says two parts of a hundred, of memory and of time: `88/97 %`.
fn percents(parts: [Option<f64>; 2]) -> String {
    let [memory, time] = parts.map(|part| part.map_or_else(|| "-".to_owned(), |part| format!("{:.0}", 100.0 * part)));
    if parts == [None, None] { memory } else { format!("{memory}/{time} %") }
}
