//! `csync cancel`.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::target::Target;
use crate::cli::view::words::many;
use crate::model::api::{ErrorKind, RunState, Selection};
use crate::model::id::RunId;
use crate::reach::client::{Client, RunRef};

/// Cancel a run, or some of its tasks
///
/// What runs is asked to end (SIGTERM), and killed when it does not. Without a run, the one that is live is meant.
#[derive(Debug, clap::Args)]
#[command(override_usage = "csync cancel [OPTIONS] [RUN] [TASK]...")]
pub struct Args {
    /// The run (a number or `last`), and its tasks or instances to cancel; all of it when none are named
    #[arg(value_name = "RUN] [TASK")]
    target: Vec<String>,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let (run, labels) = Target::parse_many(&args.target);
    let is_all = labels.is_empty();
    let (run, affected) = context.block_on(async {
        let client = context.reach().await?;
        let run = match run {
            Some(run) => client.run(run).await?.summary.run,
            None => the_live_one(&client).await?,
        };
        let affected = client.cancel(RunRef::Id(run), &Selection { labels }).await?;
        Ok((run, affected))
    })?;
    if context.json() {
        context.print_json(&json!({"run": run, "instances": affected.instances}))?;
    } else if affected.instances == 0 {
        let what = if is_all { "it" } else { "what you named" };
        context.say(&format!("Nothing to cancel in run {run}: {what} is over, or ends already."));
    } else {
        let what = many(affected.instances, "instance");
        context.print(&format!("Cancelled {what} of run {run}."))?;
        context.say(&format!("`csync retry {run}` runs them after all."));
    }
    Ok(Exit::Success)
}

/// Finds the run that a person means who names none.
async fn the_live_one(client: &Client) -> Result<RunId, Failure> {
    let live = client.runs(None, Some(RunState::Active)).await?;
    match live.as_slice() {
        [one] => Ok(one.run),
        [] => Err(Failure::new(ErrorKind::Conflict, "no run is live, so there is nothing to cancel")
            .hint("`csync runs` lists what ran")),
        some => {
            let names: Vec<String> = some.iter().map(|run| format!("{} ({})", run.run, run.name)).collect();
            Err(Failure::usage(format!("{} runs are live: {}", some.len(), names.join(", ")))
                .hint("say which: `csync cancel RUN`"))
        }
    }
}
