//! Runs, their tasks and their instances, for people.

use std::fmt::Write as _;

use console::measure_text_width;

use crate::cli::view::paint::Tone;
use crate::cli::view::table::{Cell, Column, Page, Table, run_tone, state_tone};
use crate::cli::view::why::{asked, ran_on};
use crate::cli::view::words::{
    self, about, ago, between, clock, command_on, counts, cut, duration, many, number, squeeze,
};
use crate::model::api::{Counts, HeldView, InstancePage, InstanceView, RunDetail, RunState, RunSummary, TaskView};
use crate::model::job::State;
use crate::model::units::{Bytes, Timestamp};

const RUNS: &[Column] = &[
    Column::Number("RUN"),
    Column::Text("WORKFLOW"),
    Column::Word("STATE"),
    Column::Number("DONE"),
    Column::Number("FAILED"),
    Column::Number("TIME"),
    Column::Word("SUBMITTED"),
    Column::Extra("DIRECTORY"),
];

const TASKS: &[Column] = &[
    Column::Text("TASK"),
    Column::Number("DONE"),
    Column::Number("FAILED"),
    Column::Number("RUNNING"),
    Column::Detail("CPU"),
    Column::Detail("PEAK MEMORY"),
    Column::Detail("I/O"),
    Column::Extra("AFTER"),
];

const INSTANCES: &[Column] = &[
    Column::Label("INSTANCE"),
    Column::Word("STATE"),
    Column::Number("ATTEMPT"),
    Column::Number("TIME"),
    Column::Detail("CPU"),
    Column::Detail("PEAK MEMORY"),
    Column::Detail("I/O"),
    Column::Text("HOW IT ENDED"),
];

/// Returns runs as a table.
pub(in crate::cli) fn runs(runs: &[RunSummary], now: Timestamp, page: Page) -> String {
    let mut table = Table::new(page, RUNS);
    for run in runs {
        table.row(vec![
            Cell::new(run.run),
            Cell::new(&run.name),
            Cell::new(words::run_state(run.state)).tone(run_tone(run.state)),
            Cell::new(share(&run.counts)),
            Cell::new(some(run.counts.failed)),
            Cell::new(between(run.submitted, run.ended, now)),
            Cell::new(ago(run.submitted, now)),
            Cell::new(&run.root),
        ]);
    }
    table.print()
}

/// Returns a run with its tasks.
pub(in crate::cli) fn detail(detail: &RunDetail, now: Timestamp, page: Page) -> String {
    let (run, paint) = (&detail.summary, page.paint);
    let mut out = String::new();
    let state = words::painted_run_state(run.state, paint);
    let _ = writeln!(out, "{} {state}", paint.bold(format!("Run {} of {}:", run.run, cut(&run.name, 60))));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "  {} {value}", paint.dim(format_args!("{name:<10}")));
    };
    line("instances", &format!("{}: {}", number(run.counts.total()), counts(&run.counts, paint)));
    line("submitted", &format!("{} ({})", clock(run.submitted), ago(run.submitted, now)));
    let mut time = between(run.submitted, run.ended, now);
    if let Some(eta) = detail.eta.filter(|_| run.ended.is_none()) {
        let _ = write!(time, ", about {} left", about(eta));
    }
    line("time", &time);
    line("directory", &run.root);
    if let Some(path) = &run.path {
        line("file", path);
    }
    if let Some(command) = &run.command {
        line("command", command);
    }
    for login in &detail.logins {
        let (host, why) = (&login.host, &login.why);
        line("waits for", &format!("a login to {host} ({why}): `csync login {host}`"));
    }
    for one in &detail.moving {
        line("files", &one.to_string());
    }
    for HeldView { host, files, bytes } in &detail.elsewhere {
        line("elsewhere", &format!("{} ({bytes}) on {host}, `csync data list` names them", many(*files, "output")));
    }
    out.push('\n');
    out.push_str(&tasks(&detail.tasks, page));
    out
}

fn tasks(tasks: &[TaskView], page: Page) -> String {
    let mut table = Table::new(page, TASKS);
    for task in tasks {
        let ran = task.usage.wall > 0.0 || task.usage.peak_memory > Bytes(0);
        let state = task_state(&task.counts);
        table.row(vec![
            Cell::new(&task.name),
            Cell::new(share(&task.counts)).tone(state_tone(state)),
            Cell::new(some(task.counts.failed)).tone(Tone::Red),
            Cell::new(some(task.counts.running)),
            Cell::new(if ran { duration(task.usage.cpu()) } else { String::new() }),
            Cell::new(words::peak(task.usage.peak_memory).unwrap_or_default()),
            Cell::new(task.usage.io.map_or_else(String::new, |io| Bytes(io.total()).to_string())),
            Cell::new(task.after.join(", ")),
        ]);
    }
    table.print()
}

/// Returns the state whose color a task has.
fn task_state(counts: &Counts) -> State {
    if counts.failed > 0 {
        State::Failed
    } else if counts.running > 0 {
        State::Running
    } else if counts.total() > 0 && counts.done + counts.cached == counts.total() {
        State::Done
    } else {
        State::Pending
    }
}

/// Returns instances as a table, and how many more there are.
pub(in crate::cli) fn instances(instances: &InstancePage, offset: u32, now: Timestamp, page: Page) -> String {
    let mut table = Table::new(page, INSTANCES);
    for instance in &instances.instances {
        table.row(instance_row(instance, now));
    }
    let mut out = table.print();
    if instances.instances.len() <= EXPLAINED {
        for one in &instances.instances {
            let last = one.attempts.last().and_then(|last| Some((last.choice.as_ref()?, last)));
            for line in last.into_iter().flat_map(|(choice, last)| asked(choice, last)) {
                let _ = writeln!(out, "{}: {line}", cut(&one.label, 60));
            }
            if let Some(line) = one.attempts.last().and_then(ran_on) {
                let _ = writeln!(out, "{}: {line}", cut(&one.label, 60));
            }
        }
    }
    let shown = offset + instances.instances.len() as u32;
    if shown < instances.total {
        let left = many(instances.total - shown, "more instance");
        let _ = writeln!(out, "... and {left}; `--offset {shown}` goes on, `--limit N` shows more at once.");
    }
    out
}

fn instance_row(instance: &InstanceView, now: Timestamp) -> Vec<Cell> {
    let last = instance.attempts.last();
    let usage = last.and_then(|attempt| attempt.usage);
    let io = usage.and_then(|usage| usage.io);
    let time = match (usage, last.and_then(|attempt| attempt.started)) {
        (Some(usage), _) => usage.ran().map_or(String::new(), duration),
        (None, Some(started)) => words::elapsed(started, now),
        (None, None) => String::new(),
    };
    let outcome = instance.outcome.as_ref().map(words::outcome).filter(|_| instance.state != State::Done);
    vec![
        Cell::new(&instance.label),
        Cell::new(words::state(instance.state)).tone(state_tone(instance.state)),
        Cell::new(last.map_or(String::new(), |attempt| attempt.attempt.to_string())),
        Cell::new(time),
        Cell::new(usage.filter(|usage| usage.cpu() > 0.0).map_or(String::new(), |usage| duration(usage.cpu()))),
        Cell::new(usage.and_then(|usage| words::peak(usage.peak_memory)).unwrap_or_default()),
        Cell::new(io.map_or_else(String::new, |io| Bytes(io.total()).to_string())),
        Cell::new(outcome.unwrap_or_default()),
    ]
}

/// Instances of a page for which it is said what csync asked for by itself, at most.
const EXPLAINED: usize = 5;

/// Returns the instances of a run that failed, one line each, with the last words of those whose log is known, and the command
/// that says why.
pub(in crate::cli) fn failed(run: &RunSummary, instances: &InstancePage, words: &[Vec<String>], page: Page) -> String {
    let paint = page.paint;
    let mut out = format!("{}\n", paint.red("Failed:"));
    let width = page.width_or(200);
    let how = |one: &InstanceView| one.outcome.as_ref().map(words::outcome).unwrap_or_default();
    let widest = instances.instances.iter().map(|one| measure_text_width(&one.label)).max().unwrap_or(0);
    let widest = widest.min(width.saturating_sub(24).max(20));
    for (index, one) in instances.instances.iter().enumerate() {
        let label = squeeze(&one.label, widest);
        let pad = widest.saturating_sub(measure_text_width(&label));
        let room = width.saturating_sub(widest + 4).max(16);
        let _ = writeln!(out, "  {label}{:pad$}  {}", "", cut(&how(one), room));
        for line in words.get(index).into_iter().flatten() {
            let _ = writeln!(out, "    {} {}", paint.dim("|"), cut(line, width.saturating_sub(6)));
        }
    }
    let more = instances.total.saturating_sub(instances.instances.len() as u32);
    if more > 0 {
        let _ = writeln!(out, "  ... and {} more: `csync show {} --state failed`", number(more), run.run);
    }
    if let Some(first) = instances.instances.first() {
        let why = command_on("why", run.run, &first.label);
        let _ = writeln!(
            out,
            "{}: `{why}` says why; `csync retry {}` runs what failed again.",
            paint.cyan("hint"),
            run.run
        );
    }
    out
}

/// Returns the sentence that ends a run.
pub(in crate::cli) fn ending(run: &RunSummary, now: Timestamp, page: Page) -> String {
    let paint = page.paint;
    let name = format!("Run {} of {}", run.run, cut(&run.name, 60));
    let time = between(run.submitted, run.ended, now);
    let all = run.counts.total();
    if run.state == RunState::Succeeded && run.counts.cached == all && all > 0 {
        return format!("{name}: {} ({}).", paint.green("everything is up to date"), many(all, "instance"));
    }
    let state = words::painted_run_state(run.state, paint);
    let word = if run.state == RunState::Active { "for" } else { "after" };
    format!("{name} {state} {word} {time}: {}.", counts(&run.counts, paint))
}

/// Returns `34/120`.
fn share(counts: &Counts) -> String {
    format!("{}/{}", number(counts.done + counts.cached), number(counts.total()))
}

/// Returns a counter, nothing for zero.
fn some(count: u32) -> String {
    if count == 0 { String::new() } else { number(count) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::view::Paint;
    use crate::cli::view::fixtures;
    use crate::model::resources::Allocation;

    const WIDE: Page = Page { width: Some(200), paint: Paint::new(false) };
    const NARROW: Page = Page { width: Some(80), paint: Paint::new(false) };
    const FLAT: Page = Page { width: None, paint: Paint::new(false) };

    #[test]
    fn runs_fit_the_terminal() {
        let all = fixtures::runs();
        insta::assert_snapshot!("runs_80", runs(&all, fixtures::now(), NARROW));
        insta::assert_snapshot!("runs_200", runs(&all, fixtures::now(), WIDE));
        let flat = runs(&all, fixtures::now(), FLAT);
        assert!(flat.contains(&all[1].root), "nothing is cut where there is no terminal");
        for page in [NARROW, WIDE] {
            for line in runs(&all, fixtures::now(), page).lines() {
                assert!(measure_text_width(line) <= page.width.unwrap(), "{line}");
            }
        }
    }

    #[test]
    fn a_run_in_detail() {
        // The clock is printed in the person's time zone.
        let text = detail(&fixtures::detail(), fixtures::now(), NARROW);
        let text: Vec<_> = text.lines().filter(|line| !line.contains("submitted")).collect();
        insta::assert_snapshot!(text.join("\n"));
    }

    #[test]
    fn instances_with_how_they_ended() {
        let page = fixtures::instances();
        insta::assert_snapshot!("instances", instances(&page, 0, fixtures::now(), NARROW));
        insta::assert_snapshot!(
            "failed",
            failed(&fixtures::runs()[0], &page, &[vec!["no luck today".to_owned()]], NARROW)
        );
    }

    #[test]
    fn the_node_of_the_last_attempt_is_told_of_few_instances() {
        let mut page = fixtures::instances();
        let allocation = Allocation { node: "n1".to_owned(), nodes: 2, ..Allocation::default() };
        page.instances[2].attempts[0].allocation = Some(Box::new(allocation));
        let text = instances(&page, 0, fixtures::now(), NARROW);
        assert!(text.contains("\nalign[C]: ran on nodes n1 and 1 more\n"), "{text}");
        let last = page.instances[2].clone();
        page.instances.extend(vec![last; EXPLAINED]);
        let text = instances(&page, 0, fixtures::now(), NARROW);
        assert!(!text.contains("ran on"), "{text}");
    }

    #[test]
    fn endings() {
        let lines: Vec<String> = fixtures::runs().iter().map(|run| ending(run, fixtures::now(), FLAT)).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
