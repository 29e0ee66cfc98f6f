//! `csync watch`: follow a run.

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::follow::{conclude, follow};
use crate::reach::client::RunRef;

/// Follow a run until it is over
///
/// Ctrl-C leaves the run to itself. The exit code is that of the run.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run: a number, or `last`
    #[arg(value_name = "RUN", default_value = "last", hide_default_value = true)]
    run: RunRef,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    context.block_on(async {
        let client = context.reach().await?;
        let run = client.run(args.run).await?.summary.run;
        let followed = follow(context, client, run).await?;
        conclude(context, run, followed).await
    })
}
