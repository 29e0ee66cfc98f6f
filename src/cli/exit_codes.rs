//! `csync help exit-codes`.

use std::fmt::Write as _;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};

/// List the exit codes
#[derive(Debug, clap::Args)]
#[command(long_about = table())]
pub struct Args {}

/// Runs it.
pub(super) fn run(context: &Context, _args: &Args) -> Result<Exit, Failure> {
    if context.json() {
        let codes: Vec<_> =
            Exit::ALL.iter().map(|exit| json!({"code": exit.number(), "meaning": exit.meaning()})).collect();
        context.print_json(&json!({ "exit_codes": codes }))?;
    } else {
        context.print(&table())?;
    }
    Ok(Exit::Success)
}

/// Returns the documented table.
fn table() -> String {
    let mut text = String::from("What csync exits with:\n\n");
    for exit in Exit::ALL {
        let _ = writeln!(text, "  {:>3}  {}", exit.number(), exit.meaning());
    }
    text.push_str("\n`csync run` passes on the exit code of its command.\n");
    text
}
