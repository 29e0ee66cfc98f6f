//! A run while it runs, in words.

use crate::cli::view::paint::Tone;
use crate::cli::view::table::{Page, state_tone};
use crate::cli::view::words::{self, about, counts, cut, duration, elapsed, number, squeeze};
use crate::model::api::{EndedView, MovingView, Progress, RunningView};
use crate::model::job::State;
use crate::model::units::Timestamp;

/// Returns what stands beside the bar: `45/120, 2 failed, 6 running, 1m 02s, about 1m 20s left`.
pub(in crate::cli) fn beside(progress: &Progress, now: Timestamp, page: Page) -> String {
    let (run, paint) = (&progress.summary, page.paint);
    let mut parts = vec![format!("{}/{}", number(run.counts.over()), number(run.counts.total()))];
    if run.counts.failed > 0 {
        parts.push(paint.red(format!("{} failed", number(run.counts.failed))).to_string());
    }
    if run.counts.running > 0 {
        parts.push(format!("{} running", number(run.counts.running)));
    }
    parts.push(elapsed(run.submitted, now));
    if let Some(eta) = progress.eta.filter(|_| !progress.over) {
        parts.push(format!("about {} left", about(eta)));
    }
    parts.join(", ")
}

/// Returns the counters as a line of their own, for where there is no bar.
pub(in crate::cli) fn counters(progress: &Progress, now: Timestamp, page: Page) -> String {
    let run = &progress.summary;
    let eta = progress.eta.map_or(String::new(), |eta| format!(", about {} left", about(eta)));
    format!("Run {} after {}: {}{eta}", run.run, elapsed(run.submitted, now), counts(&run.counts, page.paint))
}

/// Returns a line for an instance that runs, its label cut so that the line fits.
pub(in crate::cli) fn running(one: &RunningView, widest: usize, now: Timestamp, page: Page) -> String {
    let again = if one.attempt > 1 { format!("  attempt {}", one.attempt) } else { String::new() };
    let room = page.width_or(120).saturating_sub(24).min(widest);
    let label = squeeze(&one.label, room);
    let pad = room.saturating_sub(console::measure_text_width(&label));
    format!("    {label}{:pad$}  {}{}", "", page.paint.dim(elapsed(one.since, now)), page.paint.dim(again))
}

/// Returns a line for files on their way.
pub(in crate::cli) fn moving(one: &MovingView, page: Page) -> String {
    let text = one.to_string();
    format!("    {}", page.paint.dim(cut(&text, page.width_or(120).saturating_sub(4))))
}

/// Returns a line for an instance that is over, or an attempt that another follows.
pub(in crate::cli) fn ended(one: &EndedView, page: Page) -> String {
    let (word, tone) = match one.state {
        State::Ready => ("again", Tone::Yellow),
        state => (words::state(state), state_tone(state)),
    };
    let time = one.usage.and_then(|usage| usage.ran()).map_or(String::new(), duration);
    let how = match (&one.outcome, one.state) {
        (Some(outcome), State::Failed | State::Ready | State::Cancelled) => {
            let after = one.usage.map_or_else(String::new, |usage| words::after(outcome, &usage));
            let attempt = if one.attempt > 1 || one.state == State::Ready {
                format!(", attempt {}", one.attempt)
            } else {
                String::new()
            };
            format!("{}{after}{attempt}", words::outcome(outcome))
        }
        _ => time,
    };
    let room = page.width_or(200).saturating_sub(13 + console::measure_text_width(&how)).max(20);
    let line = format!("{word:>9}  {}  {how}", squeeze(&one.label, room));
    let line = cut(line.trim_end(), page.width.unwrap_or(usize::MAX));
    // The word is painted last: cutting counts no colors.
    match line.strip_prefix(&format!("{word:>9}")) {
        Some(rest) => format!("{}{rest}", page.paint.with(tone, format!("{word:>9}"))),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::view::Paint;
    use crate::cli::view::fixtures;
    use crate::model::job::Outcome;
    use crate::model::units::Bytes;

    const NARROW: Page = Page { width: Some(80), paint: Paint::new(false) };

    #[test]
    fn progress_reads_well() {
        let progress = fixtures::progress();
        let now = fixtures::now();
        let mut lines = vec![beside(&progress, now, NARROW), counters(&progress, now, NARROW)];
        lines.extend(progress.running.iter().map(|one| running(one, 30, now, NARROW)));
        let there = MovingView {
            source: "local".parse().unwrap(),
            target: "cluster".parse().unwrap(),
            done: Bytes(1_288_490_188),
            total: Bytes(3_650_722_201),
            rate: 47_185_920.0,
            left: Some(49.4),
        };
        let back =
            MovingView { source: there.target.clone(), target: there.source.clone(), left: None, ..there.clone() };
        let across = MovingView { target: "lab".parse().unwrap(), left: Some(600.0), ..back.clone() };
        lines.extend([there, back, across].iter().map(|one| moving(one, NARROW)));
        let failed = progress.ended[0].clone();
        let again = EndedView { state: State::Ready, attempt: 1, ..failed.clone() };
        let done = EndedView { state: State::Done, outcome: Some(Outcome::Success), attempt: 1, ..failed.clone() };
        let long = EndedView { label: "x".repeat(100), ..failed.clone() };
        lines.extend([failed, again, done, long].iter().map(|one| ended(one, NARROW)));
        insta::assert_snapshot!(lines.join("\n"));
    }
}
