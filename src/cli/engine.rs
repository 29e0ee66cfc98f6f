//! `csync engine`: look after the process that runs workflows.

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};

/// Arguments of `csync engine`.
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
        /// Stop although runs are live: the next engine goes on with them
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
pub(super) fn run(_context: &Context, args: &Args) -> Result<Exit, Failure> {
    match args.command {
        Command::Status | Command::Stop { .. } | Command::Restart | Command::Serve => {
            Err(Failure::internal("`csync engine` is not built yet"))
        }
    }
}
