//! Numbers, times and states in words.

use std::fmt::Write as _;

use crate::cli::view::Paint;
use crate::model::api::{Counts, RunState};
use crate::model::id::RunId;
use crate::model::job::{Outcome, State};
use crate::model::resources::{Flow, Io, Usage};
use crate::model::units::{Bytes, Timestamp};

/// Returns a length of time as people say it: `12ms`, `3.2s`, `1m 32s`, `2h 05m`, `3d 4h`; `never` where it has no end.
pub(in crate::cli) fn duration(seconds: f64) -> String {
    if seconds.is_infinite() && seconds > 0.0 {
        return "never".to_owned();
    }
    let seconds = if seconds.is_finite() { seconds.max(0.0) } else { 0.0 };
    let whole = seconds.round() as u64;
    if seconds < 0.9995 {
        format!("{:.0}ms", seconds * 1000.0)
    } else if seconds < 9.95 {
        format!("{seconds:.1}s")
    } else if whole < 60 {
        format!("{whole}s")
    } else if whole < 3600 {
        format!("{}m {:02}s", whole / 60, whole % 60)
    } else if whole < 86_400 {
        format!("{}h {:02}m", whole / 3600, whole / 60 % 60)
    } else {
        format!("{}d {}h", whole / 86_400, whole / 3600 % 24)
    }
}

/// Returns the time between two points in words; until `now`, without fractions, when there is no second.
pub(in crate::cli) fn between(start: Timestamp, end: Option<Timestamp>, now: Timestamp) -> String {
    match end {
        Some(end) => duration(end.since(start).as_secs_f64()),
        None => elapsed(start, now),
    }
}

/// Returns the time since a point, for displays that change: no fractions.
pub(in crate::cli) fn elapsed(since: Timestamp, now: Timestamp) -> String {
    whole(now.since(since).as_secs())
}

/// Returns an estimate: at least a second, no fractions.
pub(in crate::cli) fn about(seconds: f64) -> String {
    whole(seconds.max(1.0).round() as u64)
}

fn whole(seconds: u64) -> String {
    if seconds < 60 { format!("{seconds}s") } else { duration(seconds as f64) }
}

/// Returns how long ago something was: `just now`, `5m ago`, `3h ago`, and the date when that is shorter.
pub(in crate::cli) fn ago(then: Timestamp, now: Timestamp) -> String {
    match now.since(then).as_secs() {
        0..5 => "just now".to_owned(),
        seconds @ 5..60 => format!("{seconds}s ago"),
        seconds @ 60..3600 => format!("{}m ago", seconds / 60),
        seconds @ 3600..172_800 => format!("{}h ago", seconds / 3600),
        seconds @ 172_800..2_592_000 => format!("{}d ago", seconds / 86_400),
        _ => then.to_string().get(..10).unwrap_or_default().to_owned(),
    }
}

/// Returns a point in time in the person's time zone.
pub(in crate::cli) fn clock(time: Timestamp) -> String {
    match jiff::Timestamp::from_microsecond(time.0) {
        Ok(time) => time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => time.to_string(),
    }
}

/// Returns a number with its thousands apart: `100,000`.
pub(in crate::cli) fn number(number: impl Into<u64>) -> String {
    let digits = number.into().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns a number of things: `1 instance`, `2,000 instances`.
pub(in crate::cli) fn many(count: u32, thing: &str) -> String {
    format!("{} {thing}{}", number(count), if count == 1 { "" } else { "s" })
}

/// Returns the word for a state.
pub(in crate::cli) const fn state(state: State) -> &'static str {
    match state {
        State::Pending => "pending",
        State::Ready => "ready",
        State::Queued => "queued",
        State::Running => "running",
        State::Done => "done",
        State::Cached => "cached",
        State::Failed => "failed",
        State::Cancelled => "cancelled",
        State::Skipped => "skipped",
        State::Lost => "lost",
    }
}

/// Returns the word for a run's state.
pub(in crate::cli) const fn run_state(state: RunState) -> &'static str {
    match state {
        RunState::Active => "running",
        RunState::Succeeded => "succeeded",
        RunState::Failed => "failed",
        RunState::Cancelled => "cancelled",
    }
}

/// Returns a run's state, painted.
pub(in crate::cli) fn painted_run_state(state: RunState, paint: Paint) -> String {
    let word = run_state(state);
    match state {
        RunState::Active => paint.cyan(word).to_string(),
        RunState::Succeeded => paint.green(word).to_string(),
        RunState::Failed => paint.red(word).to_string(),
        RunState::Cancelled => paint.yellow(word).to_string(),
    }
}

/// Returns how an attempt ended, to follow "it failed: ".
pub(in crate::cli) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Success => "success".to_owned(),
        Outcome::Exit { code, signal: Some(signal) } => format!("killed by {}, exit code {code}", signal_name(*signal)),
        Outcome::Exit { code, signal: None } => format!("exit code {code}"),
        Outcome::Oom => "out of memory".to_owned(),
        Outcome::Timeout => "over its walltime".to_owned(),
        Outcome::NodeFail => "its worker or host failed".to_owned(),
        Outcome::Preempted => "preempted".to_owned(),
        Outcome::Cancelled => "cancelled".to_owned(),
        Outcome::Rejected { message } => format!("rejected: {message}"),
        Outcome::Stage { message } | Outcome::Spawn { message } => message.clone(),
    }
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        _ => return format!("signal {signal}"),
    };
    name.to_owned()
}

/// Returns the counters that are not zero, the important ones first: `2 failed, 34 done, 6 running, 80 waiting`.
pub(in crate::cli) fn counts(counts: &Counts, paint: Paint) -> String {
    let waiting = counts.pending + counts.ready + counts.queued;
    let mut text = String::new();
    let parts = [
        (counts.failed, "failed"),
        (counts.lost, "lost"),
        (counts.done, "done"),
        (counts.cached, "cached"),
        (counts.running, "running"),
        (waiting, "waiting"),
        (counts.skipped, "skipped"),
        (counts.cancelled, "cancelled"),
    ];
    for (count, word) in parts.into_iter().filter(|(count, _)| *count > 0) {
        let separator = if text.is_empty() { "" } else { ", " };
        let part = format!("{} {word}", number(count));
        let _ = match word {
            "failed" | "lost" => write!(text, "{separator}{}", paint.red(part)),
            "running" => write!(text, "{separator}{}", paint.cyan(part)),
            "done" => write!(text, "{separator}{}", paint.green(part)),
            _ => write!(text, "{separator}{part}"),
        };
    }
    if text.is_empty() { "nothing to do".to_owned() } else { text }
}

/// Returns a word that a shell reads as this text, for commands that people copy.
pub(in crate::cli) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,+@%=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Returns a peak of memory; none where nobody saw any: what was over before the first look, or was killed with its wrapper.
pub(in crate::cli) fn peak(bytes: Bytes) -> Option<String> {
    (bytes > Bytes(0)).then(|| bytes.to_string())
}

/// Returns ` after 11s`; nothing where nobody measured that, or where nothing of the task ran.
pub(in crate::cli) fn after(outcome: &Outcome, usage: &Usage) -> String {
    let ran = usage.ran().filter(|_| !matches!(outcome, Outcome::Spawn { .. } | Outcome::Rejected { .. }));
    ran.map_or_else(String::new, |ran| format!(" after {}", duration(ran)))
}

/// Returns `CPU 18s, peak memory 700M`, as far as that was measured.
pub(in crate::cli) fn used(usage: &Usage) -> String {
    match (usage.cpu(), peak(usage.peak_memory)) {
        (cpu, Some(peak)) => format!("CPU {}, peak memory {peak}", duration(cpu)),
        (cpu, None) if cpu > 0.0 => format!("CPU {}, peak memory not seen", duration(cpu)),
        (_, None) => "CPU and peak memory not seen".to_owned(),
    }
}

/// Returns `read 3G, wrote 1G`, with what is counted where that is not all of it.
pub(in crate::cli) fn moved(io: Io) -> String {
    let Io { read, written, flow } = io;
    match flow {
        Flow::Calls => format!("read {read}, wrote {written}"),
        Flow::Sampled => format!("read at least {read}, wrote at least {written}"),
        Flow::Devices => format!("read {read} of devices, wrote {written}"),
    }
}

/// Returns a command on an instance or task of a run.
pub(in crate::cli) fn command_on(command: &str, run: RunId, label: &str) -> String {
    format!("csync {command} {run} {}", shell_word(label))
}

/// Returns text cut to a number of columns, its end marked where something is missing. Colors are taken off,
/// and control characters, which would move the cursor, become blanks.
pub(in crate::cli) fn cut(text: &str, width: usize) -> String {
    let bare = console::strip_ansi_codes(text);
    let clean: String = bare.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    // It goes by letters one by one, and some are wider together: those that a selector makes pictures of.
    let mut room = width;
    loop {
        let text = console::truncate_str(&clean, room, "…");
        let over = console::measure_text_width(&text).saturating_sub(width);
        if over == 0 || room == 0 {
            return text.into_owned();
        }
        room = room.saturating_sub(over);
    }
}

/// Returns a label cut in its middle to a number of columns: labels that begin alike differ at their ends.
pub(in crate::cli) fn squeeze(label: &str, width: usize) -> String {
    let whole = cut(label, usize::MAX);
    if console::measure_text_width(&whole) <= width {
        return whole;
    }
    let head = cut(&whole, width.div_ceil(2).max(1));
    let room = width.saturating_sub(console::measure_text_width(&head));
    let mut tail = whole.as_str();
    while console::measure_text_width(tail) > room || console::measure_text_width(&format!("{head}{tail}")) > width {
        let mut rest = tail.chars();
        if rest.next().is_none() {
            break;
        }
        tail = rest.as_str();
    }
    head + tail
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_read_well() {
        let table = [
            (0.0, "0ms"),
            (0.0124, "12ms"),
            (0.9999, "1.0s"),
            (3.24, "3.2s"),
            (9.96, "10s"),
            (59.4, "59s"),
            (59.7, "1m 00s"),
            (92.0, "1m 32s"),
            (3599.9, "1h 00m"),
            (7500.0, "2h 05m"),
            (90_000.0, "1d 1h"),
            (f64::NAN, "0ms"),
            (f64::INFINITY, "never"),
            (f64::NEG_INFINITY, "0ms"),
            (-1.0, "0ms"),
        ];
        for (seconds, words) in table {
            assert_eq!(duration(seconds), words, "{seconds}");
        }
        let at = |seconds: i64| Timestamp(seconds * 1_000_000);
        for (seconds, words) in
            [(0, "just now"), (59, "59s ago"), (61, "1m ago"), (7300, "2h ago"), (172_800, "2d ago")]
        {
            assert_eq!(ago(at(0), at(seconds)), words);
        }
        assert_eq!(ago(at(0), at(5_000_000)), "1970-01-01");
        assert_eq!(ago(at(10), at(0)), "just now", "a clock that went back");
        assert_eq!(elapsed(at(0), Timestamp(1_900_000)), "1s");
    }

    #[test]
    fn numbers_have_their_thousands_apart() {
        for (n, words) in [(0u32, "0"), (999, "999"), (1000, "1,000"), (100_000, "100,000"), (1_000_000, "1,000,000")] {
            assert_eq!(number(n), words);
        }
        assert_eq!(many(1, "instance"), "1 instance");
    }

    #[test]
    fn counters_name_what_matters_first() {
        let many = Counts { pending: 3, queued: 1, running: 2, done: 1000, failed: 1, skipped: 5, ..Counts::default() };
        assert_eq!(counts(&many, Paint::new(false)), "1 failed, 1,000 done, 2 running, 4 waiting, 5 skipped");
        assert_eq!(counts(&Counts::default(), Paint::new(false)), "nothing to do");
    }

    #[test]
    fn outcomes_in_words() {
        assert_eq!(outcome(&Outcome::Exit { code: 137, signal: Some(9) }), "killed by SIGKILL, exit code 137");
        assert_eq!(outcome(&Outcome::Exit { code: 1, signal: None }), "exit code 1");
    }

    #[test]
    fn what_did_not_run_has_no_time() {
        let usage = Usage { wall: 11.0, ..Usage::default() };
        assert_eq!(after(&Outcome::Oom, &usage), " after 11s");
        assert_eq!(after(&Outcome::NodeFail, &Usage::default()), "");
        assert_eq!(after(&Outcome::Spawn { message: "bwa is not there".to_owned() }, &usage), "");
    }

    #[test]
    fn cut_text_says_so() {
        assert_eq!(cut("align[A]", 8), "align[A]");
        assert_eq!(cut("align[ABC]", 8), "align[A…");
        assert_eq!(cut("a\nb\x1b[2J\x07", 20), "a b ");
        // A candle, and one that is a picture of two columns: the letters alone would count one.
        assert_eq!(cut("\u{1f56f}ab", 3), "\u{1f56f}ab");
        assert_eq!(cut("\u{1f56f}\u{fe0f}ab", 3), "\u{1f56f}…");
    }

    #[test]
    fn squeezed_labels_keep_their_ends() {
        assert_eq!(squeeze("align[A]", 8), "align[A]");
        assert_eq!(squeeze("align[sample_0001.fastq.gz]", 13), "align[…tq.gz]");
    }

    proptest! {
        #[test]
        fn cut_text_fits(text in "\\PC*", width in 1usize..40) {
            prop_assert!(console::measure_text_width(&cut(&text, width)) <= width);
            prop_assert!(console::measure_text_width(&squeeze(&text, width)) <= width);
        }

        #[test]
        fn shell_words_have_no_open_quote(text in "[^\\x00]*") {
            let word = shell_word(&text);
            let inner = word.replace(r"'\''", "");
            prop_assert!(inner == word && !inner.contains('\'') || inner.starts_with('\'') && inner.ends_with('\''));
        }
    }
}
