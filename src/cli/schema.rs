//! `csync schema`.

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};

/// Print the JSON Schema of workflow files
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub(super) fn run(_context: &Context, _args: &Args) -> Result<Exit, Failure> {
    Err(Failure::internal("`csync schema` is not built yet"))
}
