//! `csync report`.

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};

/// Write an HTML report of a run
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub(super) fn run(_context: &Context, _args: &Args) -> Result<Exit, Failure> {
    Err(Failure::internal("`csync report` is not built yet"))
}
