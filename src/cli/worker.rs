//! `csync worker`: what the engine starts to run jobs; hidden.

use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};

/// Arguments of `csync worker`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The state directory of the engine
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
}

/// Runs it.
pub(super) fn run(_context: &Context, _args: &Args) -> Result<Exit, Failure> {
    Err(Failure::internal("`csync worker` is not built yet"))
}
