//! `csync check`.

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};

/// Check a workflow without running it
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub(super) fn run(_context: &Context, _args: &Args) -> Result<Exit, Failure> {
    Err(Failure::internal("`csync check` is not built yet"))
}
