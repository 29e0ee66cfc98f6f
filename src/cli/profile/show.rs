//! `csync profile show`.

use std::fmt::Write as _;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::profile::{open, place};
use crate::cli::view::words::{duration, many};
use crate::decide::learn::profile::{Prediction, Question};
use crate::decide::learn::stakes::Caution;
use crate::language::command::commands;
use crate::language::command::signature;
use crate::model::api::ErrorKind;
use crate::model::units::Bytes;
use crate::reach::learned::Entry;

/// Show what a command would need
///
/// All that was learned of the same programs counts, whatever their options. Memory and time are given as what to ask for, and
/// as an interval that holds eight of ten.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The command, or its first words
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
    /// Size of its inputs; without it, what was seen most
    #[arg(long, value_name = "SIZE")]
    input: Option<Bytes>,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let place = place(context)?;
    let text = args.words.join(" ");
    let (shown, mut entries) = context.block_on(async {
        let mut learned = open(&place).await?;
        let lines = commands(&text);
        let Some(wanted) = signature(&lines, &[], learned.tokens()) else {
            return Err(Failure::usage(format!("`{text}` is no command that is learned from")));
        };
        let entries = learned.likes(&wanted).await?;
        learned.close().await;
        Ok((wanted.to_string(), entries))
    })?;
    if entries.is_empty() {
        let failure = Failure::new(ErrorKind::NotFound, format!("nothing was learned of `{shown}`"));
        return Err(failure.hint("`csync profile list` shows what was"));
    }
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.profile.summary().count()));
    let needs: Vec<Needs> = entries.iter().map(|entry| Needs::of(entry, args.input)).collect();
    if context.json() {
        let found: Vec<_> = entries.iter().zip(&needs).map(|(entry, needs)| needs.json(entry)).collect();
        context.print_json(&json!({ "command": shown, "found": found }))?;
        return Ok(Exit::Success);
    }
    let mut page = String::new();
    for (entry, needs) in entries.iter().zip(&needs) {
        needs.tell(entry, &mut page);
    }
    context.print(page.trim_end())?;
    Ok(Exit::Success)
}

/// What an input of some size needs.
struct Needs {
    input: f64,
    memory: Option<Prediction>,
    safe: Option<Prediction>,
    time: Option<Prediction>,
    limit: Option<Prediction>,
}

impl Needs {
    fn of(entry: &Entry, input: Option<Bytes>) -> Self {
        let mut inputs: Vec<f64> = entry.profile.summary().kept().map(|(seen, _)| f64::from(seen.input)).collect();
        inputs.sort_unstable_by(f64::total_cmp);
        let usual = || inputs.get(inputs.len() / 2).copied().unwrap_or(0.0);
        let input = input.map_or_else(usual, |input| input.0 as f64);
        let question = Question::plain(input);
        Self {
            input,
            memory: entry.profile.memory(question),
            safe: entry.profile.memory(Question { caution: Caution::Safe, ..question }),
            time: entry.profile.run_time(input),
            limit: entry.profile.time_limit(Question { grain: 60.0, ..question }),
        }
    }

    fn json(&self, entry: &Entry) -> serde_json::Value {
        json!({
            "hosts": format!("hosts-{}", entry.class),
            "runs": entry.profile.summary().count(),
            "input_bytes": self.input,
            "memory_bytes": self.memory,
            "memory_safe_bytes": self.safe.map(|found| found.request),
            "time_s": self.time,
            "time_limit_s": self.limit.map(|found| found.request),
        })
    }

    fn tell(&self, entry: &Entry, page: &mut String) {
        let bytes = |value: f64| Bytes(value as u64).to_string();
        let runs = many(entry.profile.summary().count(), "run");
        let _ = writeln!(page, "{} on hosts-{}: {runs}, inputs of {}", entry.signature, entry.class, bytes(self.input));
        let Some((memory, time)) = self.memory.zip(self.time) else {
            let _ = writeln!(page, "  too little was seen to predict from\n");
            return;
        };
        let safe = self.safe.map_or_else(String::new, |safe| format!(", {} to be safe", bytes(safe.request)));
        let (low, high) = (bytes(memory.low), bytes(memory.high));
        let _ = writeln!(page, "  memory  {low} to {high}; ask for {}{safe}", bytes(memory.request));
        let limit = self.limit.map_or_else(String::new, |limit| format!("; ask for {}", duration(limit.request)));
        let _ = writeln!(page, "  time    {} to {}{limit}\n", duration(time.low), duration(time.high));
    }
}
