//! `csync submit`.

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};

/// Arguments of `csync submit`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub(super) fn run(_context: &Context, _args: &Args) -> Result<Exit, Failure> {
    Err(Failure::internal("`csync submit` is not built yet"))
}
