//! `csync status`.

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};

/// Arguments of `csync status`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub(super) fn run(_context: &Context, _args: &Args) -> Result<Exit, Failure> {
    Err(Failure::internal("`csync status` is not built yet"))
}
