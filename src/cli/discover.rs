//! `csync discover`: which commands of past sessions csync would have had something to say to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::hook::facts_for;
use crate::cli::view::words::many;
use crate::decide::advise::{Kind, Mode, advise};
use crate::language::transcript::commands;
use crate::model::units::Walltime;

/// Largest session that is read.
const LARGEST: u64 = 256 << 20;

/// Look which commands of past agent sessions could have been routed or sized better
///
/// Reads the sessions that Claude Code keeps on this machine, and nothing else; nothing is stored, and nothing leaves the machine.
/// What is said to each command is what the hook would say today. What would have been saved is the time that sessions waited for
/// commands that failed, for work on login nodes, and for loops that ask a batch system.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The directory of the sessions [default: `projects` below Claude Code's directory]
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print the commands too
    #[arg(long)]
    commands: bool,
}

/// What would have been said.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Found {
    /// How often.
    count: u32,
    /// How many of these commands failed.
    failed: u32,
    /// How long sessions waited for them, in seconds.
    seconds: f64,
    /// How much of that was waiting for commands that failed, and for loops that only asked: what would have been saved.
    saved_seconds: f64,
    /// The commands, where they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    commands: Vec<String>,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let dir =
        args.dir.clone().or_else(sessions_dir).ok_or_else(|| Failure::usage("HOME is not set: name the directory"))?;
    let facts = facts_for(context)?;
    let (mut kinds, mut sessions, mut total) = (BTreeMap::<&str, Found>::new(), 0_u32, 0_u32);
    for path in files(&dir) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        sessions += 1;
        for called in commands(&text) {
            total += 1;
            let said = advise(&called.command, &called.cwd, Mode::Advise, &facts).advice;
            for piece in said {
                let found = kinds.entry(piece.kind.name()).or_default();
                found.count += 1;
                found.failed += u32::from(called.failed == Some(true));
                let seconds = called.seconds.unwrap_or_default();
                found.seconds += seconds;
                // One that failed would have been asked for, or reached, as it had to be; a job is not waited for at all.
                let spared = called.failed == Some(true) || matches!(piece.kind, Kind::LoginNode | Kind::Poll);
                found.saved_seconds += if spared && piece.kind != Kind::Danger { seconds } else { 0.0 };
                if args.commands {
                    found.commands.push(called.command.clone());
                }
            }
        }
    }
    show(context, sessions, total, &kinds)
}

fn show(context: &Context, sessions: u32, total: u32, kinds: &BTreeMap<&str, Found>) -> Result<Exit, Failure> {
    if context.json() {
        context.print_json(&json!({ "sessions": sessions, "commands": total, "advice": kinds }))?;
        return Ok(Exit::Success);
    }
    context.print(&format!("{} with {} were read.", many(sessions, "session"), many(total, "command")))?;
    for (kind, found) in kinds {
        let time = |seconds: f64| Walltime(seconds.round() as u64);
        let (count, waited) = (many(found.count, "command"), time(found.seconds));
        let saved = match time(found.saved_seconds) {
            Walltime(0) => String::new(),
            saved => format!("; {saved} of that would have been saved"),
        };
        context.print(&format!(
            "  {kind:<11} {count}: {} failed, sessions waited {waited} for them{saved}",
            found.failed
        ))?;
        for command in &found.commands {
            context.print(&format!("      {}", command.replace('\n', " ⏎ ")))?;
        }
    }
    if kinds.is_empty() {
        context
            .print("csync would have said nothing. It knows more once `csync hosts probe` has looked at your hosts.")?;
    }
    Ok(Exit::Success)
}

fn sessions_dir() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("CLAUDE_CONFIG_DIR").or_else(|| set("HOME").map(|home| home.join(".claude"))).map(|dir| dir.join("projects"))
}

/// Returns the sessions below a directory, those of subagents too.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(dir).max_depth(4).sort_by_file_name().into_iter().flatten();
    let is_session = |path: &Path| path.extension().is_some_and(|extension| extension == "jsonl");
    entries
        .filter(|entry| entry.file_type().is_file() && is_session(entry.path()))
        .filter(|entry| entry.metadata().is_ok_and(|meta| meta.len() <= LARGEST))
        .map(walkdir::DirEntry::into_path)
        .collect()
}
