//! `csync status`: the engine and what runs now. Starts nothing.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::hosts::unreadable;
use crate::cli::profile::say_if_of_no_use;
use crate::cli::record::running;
use crate::cli::view;
use crate::cli::view::table::Page;
use crate::cli::view::words::cut;
use crate::model::api::{RunState, RunSummary};
use crate::model::done::DoneRun;
use crate::model::host::HostName;
use crate::model::id::RunId;
use crate::reach::client::ClientError;
use crate::reach::clock;
use crate::reach::store::{Place, Reader};

/// Show the engine and what runs now
///
/// Starts nothing. Where no engine is running, it names the runs that the last one left unfinished: what it had started goes on
/// without it, and the next engine takes them up.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub(super) fn run(context: &Context, _args: &Args) -> Result<Exit, Failure> {
    let found = context.block_on(async {
        let Some(client) = context.find().await? else { return Ok(None) };
        match client.runs(None, Some(RunState::Active)).await {
            Ok(runs) => Ok(Some((client, runs))),
            // It left between the two questions.
            Err(ClientError::NoEngine) => Ok(None),
            Err(error) => Err(error.into()),
        }
    })?;
    let sandboxes = running(&context.state_dir()?);
    say_if_of_no_use(context);
    match found {
        None => {
            let left = left_unfinished(context)?;
            if context.json() {
                let left: Vec<RunId> = left.iter().map(|run| run.run).collect();
                context.print_json(
                    &json!({"engine": Value::Null, "runs": [], "left": left, "sandboxes": shown(&sandboxes)}),
                )?;
            } else {
                context.print(&without_engine(&left, &sandboxes))?;
            }
        }
        Some((client, runs)) if context.json() => {
            context.print_json(&json!({"engine": client.info(), "runs": runs, "sandboxes": shown(&sandboxes)}))?;
        }
        Some((client, runs)) => {
            let (now, page) = (clock::now(), Page::stdout(context.paint()));
            let mut text = view::engine::engine(client.info(), client.is_ours(), now, page);
            if !runs.is_empty() {
                text.push('\n');
                text.push_str(&view::run::runs(&runs, now, page));
            } else if sandboxes.is_empty() {
                text.push_str("Nothing runs. `csync runs` lists what ran.\n");
            }
            text.push_str(&words(&sandboxes));
            context.print(&text)?;
        }
    }
    Ok(Exit::Success)
}

/// Says what runs in sandboxes, which are runs only when they are over.
fn words(sandboxes: &[DoneRun]) -> String {
    let mut text = String::new();
    for sandbox in sandboxes {
        let host = sandbox.host.as_ref().map_or(HostName::LOCAL, HostName::as_str);
        let command = cut(sandbox.submission.command.as_deref().unwrap_or_default(), 60);
        let _infallible = writeln!(text, "In a sandbox on {host} since {}: {command}", sandbox.asked);
    }
    text
}

fn shown(sandboxes: &[DoneRun]) -> Vec<Value> {
    let one = |sandbox: &DoneRun| json!({"command": sandbox.submission.command, "host": sandbox.host, "asked": sandbox.asked});
    sandboxes.iter().map(one).collect()
}

/// Reads which runs were not over when the last engine ended, oldest first.
fn left_unfinished(context: &Context) -> Result<Vec<RunSummary>, Failure> {
    let place = Place::of(&context.state_dir()?);
    context.block_on(async {
        let Some(reader) = Reader::open(&place).await.map_err(|error| unreadable(&error))? else {
            return Ok(Vec::new());
        };
        let active = reader.active_runs().await.map_err(|error| unreadable(&error))?;
        Ok(active.into_iter().map(|run| run.summary).collect())
    })
}

/// Returns the sentences for a machine without an engine.
fn without_engine(left: &[RunSummary], sandboxes: &[DoneRun]) -> String {
    let Some(last) = left.last() else {
        if !sandboxes.is_empty() {
            return format!("No engine is running.\n{}", words(sandboxes));
        }
        return "No engine is running, and nothing runs. `csync submit` starts one.".to_owned();
    };
    let names: Vec<String> = left.iter().map(|run| format!("{} ({})", run.run, cut(&run.name, 60))).collect();
    let (were, them) = if left.len() == 1 { ("run", "it") } else { ("runs", "them") };
    format!(
        "No engine is running. The last one left {were} {} unfinished: what it had started goes on, nothing new starts.\n\
         `csync watch {}` starts an engine, which takes {them} up.",
        names.join(", "),
        last.run
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::view::fixtures;

    #[test]
    fn what_is_said_without_an_engine() {
        assert!(without_engine(&[], &[]).contains("nothing runs"));
        let run =
            |number, name: &str| RunSummary { run: RunId(number), name: name.to_owned(), ..fixtures::runs().remove(0) };
        let one = without_engine(&[run(3, "words")], &[]);
        assert!(one.contains("left run 3 (words) unfinished") && one.contains("`csync watch 3`"), "{one}");
        let two = without_engine(&[run(3, "words"), run(5, "align")], &[]);
        assert!(two.contains("left runs 3 (words), 5 (align) unfinished") && two.contains("takes them up"), "{two}");
    }
}
