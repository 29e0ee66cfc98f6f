//! `csync new`.

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};

/// Write a workflow file to start from
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub(super) fn run(_context: &Context, _args: &Args) -> Result<Exit, Failure> {
    Err(Failure::internal("`csync new` is not built yet"))
}
