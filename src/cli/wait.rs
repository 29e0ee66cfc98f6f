//! `csync wait`: for programs.

use std::time::Duration;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::follow::exit;
use crate::cli::view;
use crate::cli::view::table::Page;
use crate::model::api::{ErrorKind, RunSummary};
use crate::model::units::Walltime;
use crate::reach::client::{ClientError, RunRef};
use crate::reach::clock;

/// Engines that may go away one after the other while we wait, before we give up.
const LOST_MAX: u32 = 5;

/// Wait for runs and exit as they did, for scripts
///
/// Returns when all of them are over: 0 when all went well, 1 when one failed, 130 when one was cancelled, 124 when the
/// timeout passed first. A line for each run is printed as it ends.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The runs: numbers, or `last`
    #[arg(value_name = "RUN", default_value = "last", hide_default_value = true)]
    runs: Vec<RunRef>,
    /// Wait no longer than this: 90s, 1h30m, 01:30:00
    #[arg(long, value_name = "TIME")]
    timeout: Option<Walltime>,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let over = context.block_on(async {
        let all = all(context, &args.runs);
        match args.timeout {
            Some(limit) => tokio::time::timeout(Duration::from_secs(limit.0), all).await.ok().transpose(),
            None => all.await.map(Some),
        }
    })?;
    let Some(over) = over else {
        let limit = args.timeout.unwrap_or_default();
        return Err(Failure::new(
            ErrorKind::Conflict,
            format!("the timeout of {limit} passed before the run was over"),
        )
        .exiting(Exit::TimedOut)
        .hint("`csync status` shows what runs; the run goes on"));
    };
    if context.json() {
        context.print_json(&json!({ "runs": over }))?;
    }
    let worst = over.iter().map(|run| exit(run.state)).max_by_key(|exit| exit.number());
    Ok(worst.unwrap_or(Exit::Success))
}

async fn all(context: &Context, runs: &[RunRef]) -> Result<Vec<RunSummary>, Failure> {
    let mut over = Vec::new();
    for run in named(context, runs).await? {
        let summary = one(context, run).await?;
        if !context.json() && !context.quiet() {
            context.print(&view::run::ending(&summary, clock::now(), Page::stdout(context.paint())))?;
        }
        over.push(summary);
    }
    Ok(over)
}

/// Gives `last` its number now: by the time that others are over, another run may be the last.
async fn named(context: &Context, runs: &[RunRef]) -> Result<Vec<RunRef>, Failure> {
    let client = context.reach().await?;
    let mut named = Vec::new();
    for run in runs {
        named.push(match run {
            RunRef::Last => client.run(RunRef::Last).await?.summary.run.into(),
            RunRef::Id(_) => *run,
        });
    }
    Ok(named)
}

/// Waits for one run, through the end of engines.
async fn one(context: &Context, run: RunRef) -> Result<RunSummary, Failure> {
    let mut lost = 0;
    loop {
        match context.reach().await?.wait(run).await {
            Ok(summary) => return Ok(summary),
            Err(error @ (ClientError::NoEngine | ClientError::Broken(_))) => {
                lost += 1;
                if lost > LOST_MAX {
                    return Err(error.into());
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}
