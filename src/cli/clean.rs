//! `csync clean`.

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::far;
use crate::cli::view::words::many;
use crate::model::api::Clean;
use crate::model::id::RunId;
use crate::model::units::Walltime;

/// Remove old runs and their logs, or job directories on a host
///
/// Results stay where they are, and what is up to date stays so: only the record of the runs goes. Runs that are not over
/// are never touched.
///
/// With `--on HOST` it removes the directories that jobs had there: they are listed with what they hold, and you are asked.
/// Those of jobs that are not over stay, and those of another csync. RUN and `--older-than` choose among the others.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true))]
pub struct Args {
    /// These runs
    #[arg(value_name = "RUN", group = "which")]
    runs: Vec<u32>,
    /// Those that were over so long ago: 30d, 12h
    #[arg(long, value_name = "TIME", group = "which", conflicts_with = "all")]
    older_than: Option<Walltime>,
    /// All but so many of the newest
    #[arg(long, value_name = "N", group = "which", conflicts_with_all = ["runs", "all"])]
    keep: Option<u32>,
    /// All that are over
    #[arg(long, group = "which", conflicts_with = "runs")]
    all: bool,
    /// Job directories on this host instead; may be given several times
    #[arg(long, value_name = "HOST", group = "which", conflicts_with = "keep")]
    on: Vec<String>,
    /// With `--on`: also what was brought there for jobs to read
    #[arg(long, requires = "on")]
    inputs: bool,
    /// With `--on`: remove without asking
    #[arg(short, long, requires = "on")]
    yes: bool,
    /// Say what would go
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    if !args.on.is_empty() {
        let Args { runs, older_than, inputs, dry_run, yes, .. } = args;
        let which = far::Which { runs, older_than: *older_than, inputs: *inputs, dry_run: *dry_run, yes: *yes };
        return far::clean(context, &args.on, which);
    }
    if !args.runs.is_empty() && args.older_than.is_some() {
        return Err(Failure::usage("both runs and an age are given").hint("give one of them"));
    }
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
