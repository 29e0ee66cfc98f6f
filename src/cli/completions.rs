//! `csync completions`.

use clap_complete::Shell;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};

/// Print the completions of a shell
///
/// For bash: `csync completions bash > ~/.local/share/bash-completion/completions/csync`; for zsh: `csync completions zsh >
/// ~/.zfunc/_csync`, with `~/.zfunc` in `fpath`; for fish: `csync completions fish > ~/.config/fish/completions/csync.fish`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell: bash, zsh, fish, elvish or powershell
    #[arg(value_name = "SHELL", hide_possible_values = true)]
    shell: Shell,
}

/// Runs it, for the whole command line.
pub(super) fn run(context: &Context, args: &Args, mut command: clap::Command) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "csync", &mut script);
    let script = String::from_utf8_lossy(&script);
    if context.json() {
        context.print_json(&json!({ "shell": args.shell.to_string(), "script": script }))?;
    } else {
        context.print(&script)?;
    }
    Ok(Exit::Success)
}
