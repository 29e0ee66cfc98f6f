//! `csync runs`: the list.

use clap::ValueEnum;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::view;
use crate::cli::view::table::Page;
use crate::model::api::RunState;
use crate::reach::clock;

/// List the runs
///
/// The newest first. DONE counts the instances that succeeded or were up to date.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show at most so many, the newest first
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    limit: u32,
    /// Show all
    #[arg(short, long, conflicts_with = "limit")]
    all: bool,
    /// Show those in this state
    #[arg(long, value_name = "STATE")]
    state: Option<RunStateArg>,
}

/// A run's state on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum RunStateArg {
    /// Not over
    #[value(alias = "active")]
    Running,
    /// Over, and all is well
    Succeeded,
    /// Over, and something failed
    Failed,
    /// Cancelled
    Cancelled,
}

impl From<RunStateArg> for RunState {
    fn from(state: RunStateArg) -> Self {
        match state {
            RunStateArg::Running => Self::Active,
            RunStateArg::Succeeded => Self::Succeeded,
            RunStateArg::Failed => Self::Failed,
            RunStateArg::Cancelled => Self::Cancelled,
        }
    }
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let limit = (!args.all).then_some(args.limit);
    let runs = context.block_on(async {
        let client = context.reach().await?;
        Ok(client.runs(limit, args.state.map(RunState::from)).await?)
    })?;
    if context.json() {
        context.print_json(&json!({ "runs": runs }))?;
    } else if runs.is_empty() {
        let which = args
            .state
            .map_or("No runs yet".to_owned(), |state| format!("No run is {}", view::words::run_state(state.into())));
        context.say(&format!("{which}. `csync submit` starts one, `csync new` writes a workflow to start from."));
    } else {
        context.print(&view::run::runs(&runs, clock::now(), Page::stdout(context.paint())))?;
    }
    Ok(Exit::Success)
}
