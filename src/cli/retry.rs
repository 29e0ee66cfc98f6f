//! `csync retry`.

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};

/// Arguments of `csync retry`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub(super) fn run(_context: &Context, _args: &Args) -> Result<Exit, Failure> {
    Err(Failure::internal("`csync retry` is not built yet"))
}
