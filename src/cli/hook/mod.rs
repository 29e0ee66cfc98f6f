//! `csync hook`: advice where a coding agent types its commands.
//!
//! `csync hook AGENT` is dispatched before the command line is built: see [`fast`]. The rest are ordinary commands.

pub(crate) mod fast;

mod calls;
mod chained;
mod doctor;
mod install;
mod layers;
mod lesson;
mod lookup;
mod refresh;
mod stats;
mod test;

pub(in crate::cli) use doctor::crowded;
pub(in crate::cli) use refresh::after_change;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::decide::advise::Facts;

/// Advise coding agents on the commands that they are about to run
///
/// An agent asks this command before every shell command. Most often it says nothing; heavy work on a login node, an `ssh` that
/// lacks its jump host, a submission without memory or time, a loop that polls and commands that destroy get a sentence. It never
/// allows anything, and where it fails it is silent.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
enum Command {
    Install(install::Args),
    Uninstall(install::UninstallArgs),
    Doctor(doctor::Args),
    Test(test::Args),
    Stats(stats::Args),
    #[command(hide = true)]
    Refresh(refresh::Args),
    /// Answer Claude Code (read one event on standard input)
    Claude(AgentArgs),
    /// Answer Codex CLI
    Codex(AgentArgs),
    /// Answer Qwen Code
    Qwen(AgentArgs),
    /// Answer Gemini CLI
    Gemini(AgentArgs),
    /// Answer Copilot CLI
    Copilot(AgentArgs),
    /// Answer Cursor
    Cursor(AgentArgs),
}

/// How an agent is answered.
#[derive(Debug, clap::Args)]
struct AgentArgs {
    /// Change commands where that is safe: options put in; with `submit`, also submissions in the place of `ssh`
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "options", value_parser = ["options", "submit"])]
    rewrite: Option<String>,
    /// Ask another hook first (its JSON, as it stands in the agent's settings), and judge what it made of the command
    #[arg(long, value_name = "HOOK", require_equals = true)]
    chain: Option<String>,
}

/// Returns what is known to judge commands by.
pub(super) fn facts_for(context: &Context) -> Result<impl Facts, Failure> {
    Ok(lookup::Lookup::open(Some(&context.state_dir()?)))
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    match &args.command {
        Command::Install(args) => install::run(context, args),
        Command::Uninstall(args) => install::uninstall(context, args),
        Command::Doctor(args) => doctor::run(context, args),
        Command::Test(args) => test::run(context, args),
        Command::Stats(args) => stats::run(context, args),
        Command::Refresh(args) => refresh::run(context, args),
        // Agents never come here, whatever else they pass: `fast` takes them first.
        Command::Claude(_)
        | Command::Codex(_)
        | Command::Qwen(_)
        | Command::Gemini(_)
        | Command::Copilot(_)
        | Command::Cursor(_) => Ok(Exit::Success),
    }
}
