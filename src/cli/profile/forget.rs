//! `csync profile forget`.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::profile::{open, place};
use crate::language::command::{commands, signature};

/// Forget what was learned of a command, or everything
///
/// Nothing of it stays in the file.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The command, or its first words
    #[arg(
        value_name = "COMMAND",
        required_unless_present = "all",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    words: Vec<String>,
    /// Everything
    #[arg(long, conflicts_with = "words")]
    all: bool,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let place = place(context)?;
    let text = args.words.join(" ");
    let gone = context.block_on(async {
        let mut learned = open(&place).await?;
        let key = learned.tokens().clone();
        let wanted = signature(&commands(&text), &[], &key).map(|signature| signature.likes(&key));
        let gone = learned.forget(|entry| args.all || Some(entry.signature.likes(&key)) == wanted).await?;
        learned.close().await;
        Ok(gone)
    })?;
    if context.json() {
        context.print_json(&json!({ "forgotten": gone }))?;
    } else if gone == 0 {
        context.say("Nothing was known of it.");
    } else {
        context.say(&format!("Forgotten: {gone} {}.", if gone == 1 { "record" } else { "records" }));
    }
    Ok(Exit::Success)
}
