//! `csync schema`: the JSON Schema of workflow files.

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::language::manifest;

/// Print the JSON Schema of workflow files
///
/// Editors that know TOML check and complete a workflow with it: `csync schema > workflow.schema.json`, and as the first line
/// of the workflow `#:schema ./workflow.schema.json`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs it.
pub(super) fn run(context: &Context, _args: &Args) -> Result<Exit, Failure> {
    context.print_json(&manifest::schema())?;
    Ok(Exit::Success)
}
