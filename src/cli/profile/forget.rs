//! `csync profile forget`.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::hosts::unreadable;
use crate::cli::profile::{Meant, open, place};
use crate::cli::view::words::many;
use crate::decide::graph::queues::Wait;
use crate::language::command::Signature;
use crate::model::api::ErrorKind;
use crate::model::facts::QueueForget;
use crate::model::host::HostName;
use crate::reach::clock;
use crate::reach::learned::Entry;
use crate::reach::store::{Place as StorePlace, Reader};

/// Forget what was learned of a command, or everything
///
/// Nothing of it stays in the file. How long jobs waited in the queues of hosts lies in another one: `--waits` forgets what was imported
/// of that, and `--all` does so too. What csync's own jobs waited goes with their runs (`csync clean`).
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The command, or its first words; of a program alone all that was learned of it; or what `csync profile` lists it as
    #[arg(
        value_name = "COMMAND",
        required_unless_present_any = ["all", "unused", "retention", "waits"],
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    words: Vec<String>,
    /// Everything
    #[arg(long, conflicts_with = "words")]
    all: bool,
    /// What nothing was learned of for so many days
    #[arg(long, value_name = "DAYS", conflicts_with_all = ["words", "all"])]
    unused: Option<u32>,
    /// From now on, what nothing was learned of for so many days, by itself: 180 unless this says otherwise
    #[arg(
        long,
        value_name = "DAYS",
        conflicts_with_all = ["words", "all", "unused"],
        value_parser = clap::value_parser!(u32).range(1..=36_500)
    )]
    retention: Option<u32>,
    /// How long jobs waited on this host, as far as that was imported
    #[arg(long, value_name = "HOST", conflicts_with_all = ["words", "all", "unused", "retention"])]
    waits: Option<HostName>,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    if args.waits.is_some() {
        let gone = forget_waits(context, args.waits.as_ref())?;
        return tell(
            (context, context.json()),
            &json!({ "forgotten": 0, "waits": gone }),
            gone,
            "No wait of it was imported.",
            "wait",
        );
    }
    let place = place(context)?;
    if let Some(days) = args.retention {
        let failed = |error: &std::io::Error| Failure::new(ErrorKind::Storage, "it cannot be kept").because(error);
        place.set_retention(days).map_err(|error| failed(&error))?;
    }
    let (words, json) = match args.words.as_slice() {
        [rest @ .., last] if last == "--json" && !rest.is_empty() => (rest, true),
        words => (words, context.json()),
    };
    let text = words.join(" ");
    let gone = context.block_on(async {
        let mut learned = open(&place).await?;
        let meant = Meant::of(&text, learned.tokens());
        let all = if text.is_empty() { Vec::new() } else { learned.all().await? };
        let meant: HashSet<&Signature> = meant.among(&all).into_iter().map(|entry| &entry.signature).collect();
        // Minutes since 1970, as observations have it.
        let now = u32::try_from(clock::now().0.max(0) / 60_000_000).unwrap_or(u32::MAX);
        let before = args.unused.or(args.retention).map(|days| now.saturating_sub(days.saturating_mul(1440)));
        let goes = |written: u32, entry: &Entry| match before {
            Some(before) => last(written, entry) < before,
            None => args.all || meant.contains(&entry.signature),
        };
        let gone = learned.forget(goes).await?;
        learned.close().await;
        Ok(gone)
    })?;
    let waits = if args.all { forget_waits(context, None)? } else { 0 };
    let nothing = if args.retention.is_some() { "Nothing is that old." } else { "Nothing was known of it." };
    let told = json!({ "forgotten": gone, "waits": waits });
    if gone == 0 && waits > 0 {
        return tell((context, json), &told, waits, nothing, "wait");
    }
    tell((context, json), &told, gone, nothing, "record")
}

/// Returns when something was learned of it last, in minutes since 1970: when the last job ended. Reports need not say when one did; such a
/// job is as old as its record, which was last written on the day that ended at `written`.
fn last(written: u32, entry: &Entry) -> u32 {
    let summary = entry.profile.summary();
    let latest = summary.latest().unwrap_or(0);
    if summary.is_undated() { latest.max(written) } else { latest }
}

/// Forgets the waits that were imported of a host, or of all; returns how many there were. No engine is started where there are none.
fn forget_waits(context: &Context, host: Option<&HostName>) -> Result<u64, Failure> {
    let place = StorePlace::of(&context.state_dir()?);
    let is_it = |wait: &Wait| !wait.ours && host.is_none_or(|host| wait.host == *host);
    context.block_on(async {
        let reader = Reader::open(&place).await.map_err(|error| unreadable(&error))?;
        let Some(reader) = reader else { return Ok(0) };
        let waits = reader.waits().await.map_err(|error| unreadable(&error))?;
        if !waits.iter().any(is_it) {
            return Ok(0);
        }
        let ask = QueueForget { host: host.cloned() };
        Ok(context.reach().await?.forget_waits(&ask).await?)
    })
}

fn tell(
    (context, json): (&Context, bool),
    told: &Value,
    gone: u64,
    nothing: &str,
    what: &str,
) -> Result<Exit, Failure> {
    if json {
        context.print_json(told)?;
    } else if gone == 0 {
        context.say(nothing);
    } else {
        context.say(&format!("Forgotten: {}.", many(u32::try_from(gone).unwrap_or(u32::MAX), what)));
    }
    Ok(Exit::Success)
}
