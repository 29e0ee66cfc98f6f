//! `csync clean`.

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::view::words::many;
use crate::model::api::Clean;
use crate::model::id::RunId;
use crate::model::units::Walltime;

/// Remove old runs and their logs
///
/// Results stay where they are, and what is up to date stays so: only the record of the runs goes. Runs that are not over
/// are never touched.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true))]
pub struct Args {
    /// These runs
    #[arg(value_name = "RUN", group = "which")]
    runs: Vec<u32>,
    /// Those that were over so long ago: 30d, 12h
    #[arg(long, value_name = "TIME", group = "which", conflicts_with_all = ["runs", "all"])]
    older_than: Option<Walltime>,
    /// All but so many of the newest
    #[arg(long, value_name = "N", group = "which", conflicts_with_all = ["runs", "all"])]
    keep: Option<u32>,
    /// All that are over
    #[arg(long, group = "which", conflicts_with = "runs")]
    all: bool,
    /// Say what would go
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let which = Clean {
        runs: args.runs.iter().copied().map(RunId).collect(),
        older_than: args.older_than.map(|time| time.0),
        keep: args.keep,
        dry_run: args.dry_run,
    };
    let cleaned = context.block_on(async { Ok(context.reach().await?.clean(&which).await?) })?;
    if context.json() {
        context.print_json(&cleaned)?;
    } else if cleaned.runs.is_empty() {
        context.say("Nothing to clean: no run that is over is like that.");
    } else {
        let verb = if args.dry_run { "Would remove" } else { "Removed" };
        let runs = many(cleaned.runs.len() as u32, "run");
        context.print(&format!("{verb} {runs} with {} of logs.", cleaned.bytes))?;
    }
    Ok(Exit::Success)
}
