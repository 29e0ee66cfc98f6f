//! `csync hook test`: what the hook would say to a command, and why.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::hook::layers;
use crate::cli::hook::lookup::Lookup;
use crate::decide::advise::{Mode, advise};
use crate::language::hook::Agent;
use crate::language::shell::read;

/// Say what the hook would say to a command, and why
///
/// Nothing runs. The command is one argument, as an agent would send it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The command, in one argument
    #[arg(value_name = "COMMAND")]
    command: String,
    /// As if the hook were installed with `--rewrite`
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "options", value_parser = ["options", "submit"])]
    rewrite: Option<String>,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let mode = match args.rewrite.as_deref() {
        None => Mode::Advise,
        Some("submit") => Mode::Submit,
        Some(_) => Mode::Rewrite,
    };
    let state = context.state_dir()?;
    let cwd = std::env::current_dir().map(|dir| dir.to_string_lossy().into_owned()).unwrap_or_default();
    let facts = Lookup::open(Some(&state));
    let verdict = advise(&args.command, &cwd, mode, &facts);
    let script = read(&args.command);
    let forbidden = layers::rules(Agent::Claude, &cwd).fit(&args.command);
    if context.json() {
        let commands = script.as_ref().map(|script| {
            let heads = script.commands.iter().map(|command| command.words.first().map(|word| word.text.clone()));
            heads.collect::<Vec<_>>()
        });
        let advice: Vec<_> =
            verdict.advice.iter().map(|piece| json!({ "kind": piece.kind.name(), "text": piece.text })).collect();
        let value =
            json!({ "commands": commands, "advice": advice, "rewritten": verdict.rewritten, "forbidden": forbidden });
        context.print_json(&value)?;
        return Ok(Exit::Success);
    }
    if script.is_none() {
        context.print("Nothing: the command is not understood for sure.")?;
    } else if verdict.advice.is_empty() {
        context.print("Nothing.")?;
    } else if forbidden {
        context.print(
            "Nothing: a deny or ask rule of Claude Code's settings fits the command, and is left to judge it.",
        )?;
    }
    for piece in verdict.advice.iter().filter(|_| !forbidden) {
        context.print(&format!("{}: {}", piece.kind.name(), piece.text))?;
    }
    if let Some(rewritten) = verdict.rewritten.filter(|_| !forbidden) {
        context.print(&format!("It would run as: {rewritten}"))?;
    }
    Ok(Exit::Success)
}
