//! `csync retry`.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::follow::{conclude, follow};
use crate::cli::target::Target;
use crate::cli::view::words::many;
use crate::model::api::{RetryAsk, RunState};

/// Run again what failed or was cancelled
///
/// The workflow is taken as it was submitted; after a change of the file, `csync submit` runs what the change concerns.
/// Stays with the run as `csync submit` does.
///
/// With `--lost` it is what is lost that runs again: of which nobody knows whether it still runs, since there is no contact
/// with its host. csync waits for the host by itself, however long; only you can know that it will not come back, or that
/// it may run a second time. Should the host answer after all, what still runs there is ended, and nothing that it made is
/// taken.
#[derive(Debug, clap::Args)]
#[command(override_usage = "csync retry [OPTIONS] [RUN] [TASK]...")]
pub struct Args {
    /// The run (a number or `last`), and its tasks or instances to run again; all that failed, were cancelled or skipped
    /// (with `--lost`: all that are lost) when none are named
    #[arg(value_name = "RUN] [TASK")]
    target: Vec<String>,
    /// Run again what is lost, without waiting for its host
    #[arg(long)]
    lost: bool,
    /// Do not stay with the run
    #[arg(short, long)]
    detach: bool,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let (run, labels) = Target::parse_many(&args.target);
    context.block_on(async {
        let client = context.reach().await?;
        let summary = client.run(run.unwrap_or_default()).await?.summary;
        let run = summary.run;
        let what = if labels.is_empty() { "nothing of it" } else { "nothing that you named" };
        let affected = client.retry(run.into(), &RetryAsk { labels, lost: args.lost }).await?;
        let nothing = affected.instances == 0;
        let again = many(affected.instances, "instance");
        context.say(&match (args.lost, nothing) {
            (false, true) => format!("Nothing to retry in run {run}: {what} failed or was cancelled."),
            (false, false) => format!("Running {again} of run {run} again."),
            (true, true) => format!("Nothing to retry in run {run}: {what} is lost."),
            (true, false) => {
                format!("No longer waiting for {again} of run {run}; what was cancelled is over, the rest runs again.")
            }
        });
        if nothing && summary.state == RunState::Active {
            context.say(&format!("It still runs: `csync watch {run}` follows it, `csync cancel {run}` ends it."));
        }
        if args.detach || nothing {
            if context.json() {
                context.print_json(&json!({"run": run, "instances": affected.instances}))?;
            }
            return Ok(Exit::Success);
        }
        let followed = follow(context, client, run).await?;
        conclude(context, run, followed).await
    })
}
