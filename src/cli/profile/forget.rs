//! `csync profile forget`.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::profile::{open, place};
use crate::language::command::{commands, signature};
use crate::model::api::ErrorKind;
use crate::reach::clock;
use crate::reach::learned::Entry;

/// Forget what was learned of a command, or everything
///
/// Nothing of it stays in the file.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The command, or its first words
    #[arg(
        value_name = "COMMAND",
        required_unless_present_any = ["all", "unused", "retention"],
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
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let place = place(context)?;
    if let Some(days) = args.retention {
        let failed = |error: &std::io::Error| Failure::new(ErrorKind::Storage, "it cannot be kept").because(error);
        place.set_retention(days).map_err(|error| failed(&error))?;
    }
    let text = args.words.join(" ");
    let gone = context.block_on(async {
        let mut learned = open(&place).await?;
        let key = learned.tokens().clone();
        let wanted = signature(&commands(&text), &[], &key).map(|signature| signature.likes(&key));
        // Minutes since 1970, as observations have it.
        let now = u32::try_from(clock::now().0.max(0) / 60_000_000).unwrap_or(u32::MAX);
        let before = args.unused.or(args.retention).map(|days| now.saturating_sub(days.saturating_mul(1440)));
        let goes = |entry: &Entry| match before {
            Some(before) => entry.profile.summary().latest().is_none_or(|latest| latest < before),
            None => args.all || Some(entry.signature.likes(&key)) == wanted,
        };
        let gone = learned.forget(goes).await?;
        learned.close().await;
        Ok(gone)
    })?;
    if context.json() {
        context.print_json(&json!({ "forgotten": gone }))?;
    } else if gone == 0 {
        context.say(if args.retention.is_some() { "Nothing is that old." } else { "Nothing was known of it." });
    } else {
        context.say(&format!("Forgotten: {gone} {}.", if gone == 1 { "record" } else { "records" }));
    }
    Ok(Exit::Success)
}
