//! Why an instance stands where it stands, for people.

use std::fmt::Write as _;

use crate::cli::view::paint::Tone;
use crate::cli::view::table::{Page, state_tone};
use crate::cli::view::words::{self, cut};
use crate::model::api::{AttemptView, Why};
use crate::model::choice::Choice;
use crate::model::id::RunId;
use crate::model::resources::Hold;
use crate::model::units::{Bytes, Timestamp};

/// Lines of a command that are shown.
const COMMAND_LINES: usize = 30;

/// Returns the explanation of one instance.
pub(in crate::cli) fn why(run: RunId, why: &Why, now: Timestamp, page: Page) -> String {
    let (one, paint) = (&why.instance, page.paint);
    let mut out = String::new();
    let state = paint.with(state_tone(one.state), words::state(one.state));
    let _ = writeln!(out, "{} of run {run}: {state}", paint.bold(cut(&one.label, 200)));
    for reason in &why.reasons {
        let _ = writeln!(out, "  {}", cut(reason, usize::MAX));
    }
    let heading = |out: &mut String, text: &str| {
        let _ = writeln!(out, "\n{}", paint.bold(text));
    };
    if !one.attempts.is_empty() {
        heading(&mut out, "Attempts");
        for attempt in &one.attempts {
            let _ = writeln!(out, "  {}", attempt_line(attempt, now, page));
            for line in attempt.choice.iter().flat_map(|choice| asked(choice, attempt)) {
                let _ = writeln!(out, "     {line}");
            }
            if let Some(line) = ran_on(attempt) {
                let _ = writeln!(out, "     {line}");
            }
            for note in &attempt.notes {
                let _ = writeln!(out, "     {}", paint.dim(cut(note, usize::MAX)));
            }
        }
    }
    if !why.command.is_empty() {
        heading(&mut out, "Command");
        let total = why.command.trim_end().lines().count();
        for line in why.command.trim_end().lines().take(COMMAND_LINES) {
            let _ = writeln!(out, "  {}", cut(line, usize::MAX));
        }
        if total > COMMAND_LINES {
            let _ = writeln!(out, "  {}", paint.dim(format_args!("... {} more lines", total - COMMAND_LINES)));
        }
    }
    if !why.log_tail.is_empty() {
        heading(&mut out, "Last words");
        for line in &why.log_tail {
            let _ = writeln!(out, "  {} {}", paint.dim("|"), cut(line, page.width_or(1000).saturating_sub(4)));
        }
    }
    if !why.advice.is_empty() {
        heading(&mut out, "What to do");
        for advice in &why.advice {
            let _ = writeln!(out, "  {}", paint.with(Tone::Cyan, cut(advice, usize::MAX)));
        }
    }
    out
}

/// Says what csync asked for by itself, and why that much.
pub(in crate::cli) fn asked(choice: &Choice, attempt: &AttemptView) -> Vec<String> {
    let grant = &attempt.grant;
    let mut lines = Vec::new();
    lines.extend(choice.mem.map(|mem| format!("memory {}: {}", grant.mem, mem.memory())));
    lines.extend(choice.time.zip(grant.time).map(|(time, limit)| format!("walltime {limit}: {}", time.time())));
    lines
}

/// Says on which node a batch system ran it, and what it granted it there where that is not what was asked for.
pub(in crate::cli) fn ran_on(attempt: &AttemptView) -> Option<String> {
    let allocation = attempt.allocation.as_deref()?;
    let node = cut(&allocation.node, 80);
    if allocation.nodes > 1 {
        // What is known is of one node, and what was asked for is of all.
        return Some(format!("ran on nodes {node} and {} more", allocation.nodes - 1));
    }
    let grant = &attempt.grant;
    let mut other = Vec::new();
    let cores = allocation.cpus.filter(|cpus| *cpus != grant.cpus);
    other.extend(cores.map(|cpus| format!("{} (asked for: {})", words::many(cpus, "core"), grant.cpus)));
    // Batch systems count in mebibytes.
    let mebibytes = |bytes: Bytes| bytes.0.div_ceil(Bytes::mib(1).0);
    let limited = grant.is_limited().then_some(grant.mem);
    let memory = allocation.mem.zip(limited).filter(|(got, asked)| mebibytes(*got) != mebibytes(*asked));
    other.extend(memory.map(|(got, asked)| format!("{got} of memory (asked for: {asked})")));
    let gpus = allocation.gpus.filter(|gpus| *gpus != grant.gpus);
    other.extend(gpus.map(|gpus| format!("{} (asked for: {})", words::many(gpus, "GPU"), grant.gpus)));
    let granted = if other.is_empty() { String::new() } else { format!("; granted {}", other.join(", ")) };
    Some(format!("ran on node {node}{granted}"))
}

/// Returns `2  out of memory after 11s; CPU 18s, peak memory 700M of 1G, 2 cores`.
fn attempt_line(attempt: &AttemptView, now: Timestamp, page: Page) -> String {
    let grant = &attempt.grant;
    let cores = words::many(grant.cpus, "core");
    let memory = match grant.hold {
        Hold::Nothing => String::new(),
        Hold::Room => format!(" ({} kept free)", grant.mem),
        Hold::Limit if attempt.usage.is_none_or(|usage| usage.peak_memory == Bytes(0)) => format!(", {}", grant.mem),
        Hold::Limit => format!(" of {}", grant.mem),
    };
    let limit = grant.time.map_or(String::new(), |time| format!(" of {time}"));
    let how = match (&attempt.outcome, attempt.usage, attempt.started) {
        (Some(outcome), Some(usage), _) => {
            let after = words::after(outcome, &usage);
            format!(
                "{}{after}{}; {}{memory}{}, {cores}",
                words::outcome(outcome),
                if after.is_empty() { "" } else { limit.as_str() },
                words::used(&usage),
                usage.io.map_or_else(String::new, |io| format!(", {}", words::moved(io)))
            )
        }
        (Some(outcome), None, _) => words::outcome(outcome),
        (None, _, Some(started)) => format!("runs since {}{limit}; {cores}{memory}", words::elapsed(started, now)),
        (None, _, None) => {
            let time = grant.time.map_or(String::new(), |time| format!(", {time}"));
            format!("handed over {}; {cores}{memory}{time}", words::ago(attempt.submitted, now))
        }
    };
    let place = attempt.host.as_ref().map_or(String::new(), |host| format!("on {host}: "));
    format!("{}  {place}{how}", page.paint.bold(attempt.attempt))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::view::Paint;
    use crate::cli::view::fixtures;
    use crate::model::job::{Outcome, State};
    use crate::model::resources::{Allocation, Usage};

    #[test]
    fn what_nobody_measured_is_not_said_to_be_nothing() {
        let line = |usage| {
            let mut instance = fixtures::instance("a", State::Failed, Some(Outcome::NodeFail));
            let mut attempt = instance.attempts.remove(0);
            attempt.usage = usage;
            attempt_line(&attempt, fixtures::now(), Page { width: None, paint: Paint::new(false) })
        };
        // Lost with its node; by the history of a batch system; before it began.
        let known = Usage { wall: 33.0, user: 5.5, ..Usage::default() };
        assert_eq!(
            [Some(Usage::default()), Some(known), None].map(line),
            [
                "2  its worker or host failed; CPU and peak memory not seen, 1G, 2 cores",
                "2  its worker or host failed after 33s; CPU 5.5s, peak memory not seen, 1G, 2 cores",
                "2  its worker or host failed",
            ]
        );
    }

    #[test]
    fn the_node_is_told_and_what_was_granted_where_it_is_not_what_was_asked_for() {
        let one = Allocation { node: "n1".to_owned(), nodes: 1, ..Allocation::default() };
        let asked = Allocation { cpus: Some(2), mem: Some(Bytes::gib(1)), gpus: Some(0), ..one.clone() };
        let told = |allocation: &Allocation| {
            let mut attempt = fixtures::instance("a", State::Done, Some(Outcome::Success)).attempts.remove(0);
            assert_eq!(ran_on(&attempt), None, "nothing is known of where it ran");
            attempt.allocation = Some(Box::new(allocation.clone()));
            ran_on(&attempt).unwrap()
        };
        for (allocation, text) in [
            (one.clone(), "ran on node n1"),
            (asked.clone(), "ran on node n1"),
            // Slurm counts in mebibytes.
            (Allocation { mem: Some(Bytes(Bytes::gib(1).0 - 1)), ..asked.clone() }, "ran on node n1"),
            (Allocation { cpus: Some(4), ..asked.clone() }, "ran on node n1; granted 4 cores (asked for: 2)"),
            (
                Allocation { cpus: Some(1), mem: Some(Bytes::gib(8)), gpus: Some(1), ..asked.clone() },
                "ran on node n1; granted 1 core (asked for: 2), 8G of memory (asked for: 1G), 1 GPU (asked for: 0)",
            ),
            // What one of them has is no answer to what was asked for of all.
            (Allocation { nodes: 3, cpus: Some(1), ..asked.clone() }, "ran on nodes n1 and 2 more"),
            (Allocation { node: "n\u{1b}[31m1".to_owned(), ..one }, "ran on node n1"),
        ] {
            assert_eq!(told(&allocation), text, "{allocation:?}");
        }
    }

    #[test]
    fn a_failure_explained() {
        let mut instance = fixtures::instance("align[B]", State::Failed, Some(Outcome::Oom));
        let allocation = Allocation { node: "n1".to_owned(), nodes: 1, cpus: Some(4), ..Allocation::default() };
        instance.attempts[0].allocation = Some(Box::new(allocation));
        instance.attempts[0].notes = vec!["3 processes left behind were ended".to_owned()];
        let failed = Why {
            instance,
            reasons: vec!["It used more memory than it was granted, and all its retries are used up.".to_owned()],
            command: "bwa mem ref.fa B.fq |\n  samtools sort > B.bam\n".to_owned(),
            log_tail: vec!["[M::bwa_idx_load] read 0 ALT contigs".to_owned(), "\u{1b}[31mKilled".to_owned()],
            advice: vec!["csync logs 12 'align[B]'".to_owned(), "csync retry 12 'align[B]'".to_owned()],
        };
        let waiting = Why {
            instance: fixtures::instance("count", State::Pending, None),
            reasons: vec!["It waits for align[B].".to_owned()],
            command: String::new(),
            log_tail: Vec::new(),
            advice: Vec::new(),
        };
        let page = Page { width: Some(80), paint: Paint::new(false) };
        let texts = [failed, waiting].map(|one| why(RunId(12), &one, fixtures::now(), page));
        insta::assert_snapshot!(texts.join("\n----\n"));
    }
}
