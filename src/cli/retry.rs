//! `csync retry`.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::follow::{conclude, follow};
use crate::cli::target::Target;
use crate::cli::view::words::many;
use crate::model::api::Selection;

/// Run again what failed or was cancelled
///
/// The workflow is taken as it was submitted; after a change of the file, `csync submit` runs what the change concerns.
/// Stays with the run as `csync submit` does.
#[derive(Debug, clap::Args)]
#[command(override_usage = "csync retry [OPTIONS] [RUN] [TASK]...")]
pub struct Args {
    /// The run (a number or `last`), and its tasks or instances to run again; all that failed, were cancelled or skipped
    /// when none are named
    #[arg(value_name = "RUN] [TASK")]
    target: Vec<String>,
    /// Do not stay with the run
    #[arg(short, long)]
    detach: bool,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let (run, labels) = Target::parse_many(&args.target);
    context.block_on(async {
        let client = context.reach().await?;
        let run = client.run(run.unwrap_or_default()).await?.summary.run;
        let affected = client.retry(run.into(), &Selection { labels }).await?;
        let nothing = affected.instances == 0;
        if nothing {
            context.say(&format!("Nothing to retry in run {run}: nothing that you named failed or was cancelled."));
        } else {
            context.say(&format!("Running {} of run {run} again.", many(affected.instances, "instance")));
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
