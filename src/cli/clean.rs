//! `csync clean`.

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};

/// Arguments of `csync clean`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub(super) fn run(_context: &Context, _args: &Args) -> Result<Exit, Failure> {
    Err(Failure::internal("`csync clean` is not built yet"))
}
