//! `csync status`: the engine and what runs now. Starts nothing.

use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::view;
use crate::cli::view::table::Page;
use crate::model::api::RunState;
use crate::reach::client::ClientError;
use crate::reach::clock;

/// Show the engine and what runs now
///
/// Starts nothing: where no engine is running, nothing runs.
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
    match found {
        None if context.json() => context.print_json(&json!({"engine": Value::Null, "runs": []}))?,
        None => context.print("No engine is running, and nothing runs. `csync submit` starts one.")?,
        Some((client, runs)) if context.json() => {
            context.print_json(&json!({"engine": client.info(), "runs": runs}))?;
        }
        Some((client, runs)) => {
            let (now, page) = (clock::now(), Page::stdout(context.paint()));
            let mut text = view::engine::engine(client.info(), client.is_ours(), now, page);
            if runs.is_empty() {
                text.push_str("Nothing runs. `csync runs` lists what ran.\n");
            } else {
                text.push('\n');
                text.push_str(&view::run::runs(&runs, now, page));
            }
            context.print(&text)?;
        }
    }
    Ok(Exit::Success)
}
