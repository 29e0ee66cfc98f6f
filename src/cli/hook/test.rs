//! `csync hook test`: what the hook would say to a command, and why.

use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::hook::lookup::Lookup;
use crate::cli::hook::{fast, layers};
use crate::decide::advise::{Mode, advise};
use crate::language::hook::{self, Agent, render, sent};
use crate::language::shell::{read, unix_lines};

/// Say what the hook would say to a command, and why
///
/// Nothing runs. The command is one argument, as an agent would send it. With `--agent`, what that agent would be answered stands
/// below, to the letter.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The command, in one argument
    #[arg(value_name = "COMMAND")]
    command: String,
    /// As if the hook were installed with `--rewrite`
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "options", value_parser = ["options", "submit"])]
    rewrite: Option<String>,
    /// The agent that asks: its rules count, and its answer is shown
    #[arg(long, value_name = "AGENT", value_parser = Agent::ALL.map(|(_, name)| name))]
    agent: Option<String>,
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
    let script = read(&unix_lines(&args.command));
    let named = args.agent.as_deref().and_then(Agent::named);
    let agent = named.unwrap_or(Agent::Claude);
    let forbidden = layers::rules(agent, &cwd).fit(&args.command);
    let answers = named.map(|agent| answers(agent, &args.command, &cwd, mode, &facts)).unwrap_or_default();
    if context.json() {
        let commands = script.as_ref().map(|script| {
            let heads = script.commands.iter().map(|command| command.words.first().map(|word| word.text.clone()));
            heads.collect::<Vec<_>>()
        });
        let advice: Vec<_> =
            verdict.advice.iter().map(|piece| json!({ "kind": piece.kind.name(), "text": piece.text })).collect();
        let mut value =
            json!({ "commands": commands, "advice": advice, "rewritten": verdict.rewritten, "forbidden": forbidden });
        for (when, line) in answers {
            value[when] = line.and_then(|line| serde_json::from_str(&line).ok()).unwrap_or(Value::Null);
        }
        context.print_json(&value)?;
        return Ok(Exit::Success);
    }
    if script.is_none() {
        context.print("Nothing: the command is not understood for sure.")?;
    } else if verdict.advice.is_empty() {
        context.print("Nothing.")?;
    } else if forbidden {
        let whose = named.map_or("Claude Code", Agent::name);
        context.print(&format!(
            "Nothing: a deny or ask rule of {whose}'s settings fits the command, and is left to judge it."
        ))?;
    }
    for piece in verdict.advice.iter().filter(|_| !forbidden) {
        context.print(&format!("{}: {}", piece.kind.name(), piece.text))?;
    }
    if let Some(rewritten) = verdict.rewritten.filter(|_| !forbidden) {
        context.print(&format!("It would run as: {rewritten}"))?;
    }
    for (when, line) in answers {
        context.print(&format!("{} {when}: {}", agent.name(), line.as_deref().unwrap_or("no answer")))?;
    }
    Ok(Exit::Success)
}

/// Returns what an agent is answered before a command, and behind it where its model is told then.
fn answers(agent: Agent, command: &str, cwd: &str, mode: Mode, facts: &Lookup) -> Vec<(&'static str, Option<String>)> {
    let moments = [("before", false), ("after", true)];
    let heard = moments.into_iter().filter(|(_, ran)| !ran || agent.is_told_after());
    heard
        .map(|(when, ran)| {
            let event = hook::read(agent, sent(agent, ran, command, cwd).as_bytes());
            let changes = event.as_ref().is_some_and(|event| event.takes_changes(agent)) && !ran;
            let mode = if changes { mode } else { Mode::Advise };
            (
                when,
                event.and_then(|event| {
                    render(agent, &event, fast::judged(agent, &event, command, mode, facts).1.as_ref())
                }),
            )
        })
        .collect()
}
