//! `csync engine`: look after the process that runs workflows.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::view;
use crate::cli::view::table::Page;
use crate::model::api::ErrorKind;
use crate::reach::client::{Client, ClientError};
use crate::reach::clock;
use crate::serve::host;

/// Look after the engine, the process that runs workflows
///
/// It starts by itself when a command needs it, and leaves when it has had nothing to do for a while (`CSYNC_IDLE` seconds, 300
/// when unset). There is one for each user and state directory.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

/// What to do with it.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the engine, without starting one
    Status,
    /// Stop the engine; it starts again when it is needed
    Stop {
        /// Stop although runs are live: what runs goes on, and the next engine takes over
        #[arg(long)]
        now: bool,
    },
    /// Stop the engine and start one of this version; live runs go on
    Restart,
    /// Be the engine: what other commands start in the background
    #[command(hide = true)]
    Serve,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    match args.command {
        Command::Status => status(context),
        Command::Stop { now } => stop(context, now),
        Command::Restart => restart(context),
        Command::Serve => serve(context),
    }
}

fn status(context: &Context) -> Result<Exit, Failure> {
    let found = context.block_on(context.find())?;
    match found {
        None if context.json() => context.print_json(&json!({ "engine": Value::Null }))?,
        None => context.print("No engine is running. It starts when a command needs it.")?,
        Some(client) if context.json() => context.print_json(&json!({ "engine": client.info() }))?,
        Some(client) => {
            let page = Page::stdout(context.paint());
            let info = client.info();
            let mut text = view::engine::engine(info, client.is_ours(), clock::now(), page);
            let _ = writeln!(text, "{} {}", page.paint.bold("State   "), info.state_dir);
            context.print(&text)?;
        }
    }
    Ok(Exit::Success)
}

fn stop(context: &Context, now: bool) -> Result<Exit, Failure> {
    let stopped = context.block_on(async {
        let Some(client) = context.find().await? else { return Ok(None) };
        stop_it(&client, now).await?;
        Ok(Some(client.info().pid))
    })?;
    match stopped {
        _ if context.json() => context.print_json(&json!({ "stopped": stopped }))?,
        None => context.say("No engine is running."),
        Some(pid) => context.print(&format!("Stopped the engine (process {pid})."))?,
    }
    Ok(Exit::Success)
}

async fn stop_it(client: &Client, now: bool) -> Result<(), Failure> {
    client.stop(now).await.map_err(|error| match error {
        ClientError::Refused(error) if error.kind == ErrorKind::Conflict && error.hint.is_none() => {
            Failure::from(error).hint("`csync engine stop --now` stops it all the same: what runs goes on without it")
        }
        error => error.into(),
    })
}

fn restart(context: &Context) -> Result<Exit, Failure> {
    let client = context.block_on(async {
        if let Some(client) = context.find().await? {
            stop_it(&client, true).await?;
        }
        context.reach().await
    })?;
    if context.json() {
        context.print_json(&json!({ "engine": client.info() }))?;
    } else {
        let info = client.info();
        context.print(&format!("Engine csync {} runs (process {}).", info.version, info.pid))?;
    }
    Ok(Exit::Success)
}

fn serve(context: &Context) -> Result<Exit, Failure> {
    host::main(context.state_dir()?)?;
    Ok(Exit::Success)
}
