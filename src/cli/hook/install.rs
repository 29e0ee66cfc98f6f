//! `csync hook install` and `uninstall`: an agent's settings, shown before they are changed, and a copy kept.

use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::hook::chained::OPTION;
use crate::cli::hook::doctor::sees_commands;
use crate::cli::hook::refresh;
use crate::language::hook::Agent;
use crate::language::hook::settings::{NotEdited, append, elements, remove};
use crate::model::api::ErrorKind;

/// Let a coding agent ask csync before it runs commands
///
/// The change of the agent's settings is shown, and made when you agree; a copy of what was there is kept beside it. Without
/// `--rewrite` commands are never changed, only advised on.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: Target,
    /// Change commands where that is safe: options put in; with `submit`, also submissions in the place of `ssh`
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "options", value_parser = ["options", "submit"])]
    rewrite: Option<String>,
    /// Put csync behind the one other hook on Bash that there is: that one first, then csync on what came out (Claude Code)
    #[arg(long)]
    chain: bool,
}

/// Stop an agent from asking csync
///
/// What `csync hook install` put into the agent's settings is taken out of them; everything else stays.
#[derive(Debug, clap::Args)]
pub(super) struct UninstallArgs {
    #[command(flatten)]
    target: Target,
}

/// Whose settings.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(super) struct Target {
    /// The agent: claude, codex, qwen, gemini, copilot or cursor
    #[arg(long, value_name = "AGENT", default_value = "claude", value_parser = agent)]
    agent: Agent,
    /// In this directory's settings, for everybody who works here
    #[arg(long, conflicts_with = "user")]
    project: bool,
    /// In your own settings, for all directories (the default)
    #[arg(long)]
    user: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Show the change and make none
    #[arg(short = 'n', long)]
    dry_run: bool,
}

fn agent(text: &str) -> Result<Agent, String> {
    Agent::named(text).ok_or_else(|| "write claude, codex, qwen, gemini, copilot or cursor".to_owned())
}

/// The array of hooks that see a command of Claude Code before it runs.
const BEFORE: [&str; 2] = ["hooks", "PreToolUse"];

/// Where an agent's hooks stand, and how one is written.
struct Shape {
    path: PathBuf,
    /// Ways to the arrays of hooks, with the element that goes into each.
    hooks: Vec<(Vec<&'static str>, String)>,
    /// What a new file says besides.
    new: &'static str,
}

impl Shape {
    fn of(target: &Target, rewrite: Option<&str>, other: Option<&Value>) -> Result<Self, Failure> {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
        let home = home.ok_or_else(|| Failure::usage("HOME is not set"))?;
        let base = if target.project { std::env::current_dir().unwrap_or_default() } else { home };
        let mut words = vec!["hook".to_owned(), target.agent.name().to_owned()];
        words.extend(
            rewrite.map(|how| if how == "submit" { "--rewrite=submit".to_owned() } else { "--rewrite".to_owned() }),
        );
        let line = format!("csync {}", words.join(" "));
        let claude = |matcher: Option<&str>| {
            // Without a shell between them: nothing to quote, and ten milliseconds less.
            let hook = json!({"type": "command", "command": "csync", "args": words, "timeout": 5});
            entry(matcher, &hook)
        };
        let chained = other.map(|other| {
            let args: Vec<String> = words.iter().cloned().chain([format!("{OPTION}{other}")]).collect();
            // The agent waits for both as long as it waited for the other.
            let timeout = other["timeout"].as_f64().unwrap_or(600.0) + 5.0;
            entry(Some("Bash"), &json!({"type": "command", "command": "csync", "args": args, "timeout": timeout}))
        });
        let shell = |matcher: &str, timeout: u32| {
            entry(Some(matcher), &json!({"type": "command", "command": line, "timeout": timeout}))
        };
        Ok(match target.agent {
            Agent::Claude => {
                let own = std::env::var_os("CLAUDE_CONFIG_DIR").filter(|dir| !dir.is_empty() && !target.project);
                let dir = own.map_or_else(|| base.join(".claude"), PathBuf::from);
                let before = (BEFORE.to_vec(), chained.unwrap_or_else(|| claude(Some("Bash"))));
                let after = (vec!["hooks", "PostToolUse"], claude(Some("Bash")));
                let failed = (vec!["hooks", "PostToolUseFailure"], claude(Some("Bash")));
                let start = (vec!["hooks", "SessionStart"], claude(None));
                Self { path: dir.join("settings.json"), hooks: vec![before, after, failed, start], new: "" }
            }
            Agent::Codex => Self {
                path: base.join(".codex/hooks.json"),
                hooks: vec![(vec!["hooks", "PreToolUse"], shell("Bash", 5))],
                new: "",
            },
            Agent::Qwen => Self {
                path: base.join(".qwen/settings.json"),
                // It tells its model of a command that failed by another event.
                hooks: ["PreToolUse", "PostToolUse", "PostToolUseFailure"]
                    .map(|event| (vec!["hooks", event], shell("Bash|run_shell_command", 5)))
                    .to_vec(),
                new: "",
            },
            Agent::Gemini => Self {
                path: base.join(".gemini/settings.json"),
                hooks: ["BeforeTool", "AfterTool"]
                    .map(|event| (vec!["hooks", event], shell("run_shell_command", 5000)))
                    .to_vec(),
                new: "",
            },
            Agent::Copilot => {
                let hook = json!({"type": "command", "bash": line, "timeoutSec": 5});
                let path =
                    base.join(if target.project { ".github/hooks/csync.json" } else { ".copilot/hooks/csync.json" });
                Self {
                    path,
                    hooks: vec![(vec!["hooks", "preToolUse"], pretty(&hook))],
                    new: "{\n  \"version\": 1\n}\n",
                }
            }
            Agent::Cursor => {
                let hook = json!({"command": line, "matcher": "Shell"});
                let path = base.join(".cursor/hooks.json");
                Self {
                    path,
                    // Its model hears of a command with its result alone.
                    hooks: ["preToolUse", "postToolUse", "postToolUseFailure"]
                        .map(|event| (vec!["hooks", event], pretty(&hook)))
                        .to_vec(),
                    new: "{\n  \"version\": 1\n}\n",
                }
            }
        })
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn entry(matcher: Option<&str>, hook: &Value) -> String {
    pretty(&match matcher {
        Some(matcher) => json!({"matcher": matcher, "hooks": [hook]}),
        None => json!({"hooks": [hook]}),
    })
}

/// Says whether an element of an array of hooks is ours.
pub(super) fn is_ours(element: &str) -> bool {
    let squeezed = element.replace(char::is_whitespace, "");
    squeezed.contains("\"csynchook") || (squeezed.contains("csync\"") && squeezed.contains("[\"hook\","))
}

/// Our hook in the settings of an agent.
pub(super) struct Installed {
    pub(super) agent: Agent,
    pub(super) path: PathBuf,
    /// Other hooks on the same event.
    pub(super) beside: Vec<String>,
}

/// Finds our hook in the settings of agents other than Claude Code, the person's own and this directory's.
pub(super) fn installed() -> Result<Vec<Installed>, Failure> {
    let mut found: Vec<Installed> = Vec::new();
    let agents = Agent::ALL.into_iter().map(|(agent, _)| agent).filter(|agent| *agent != Agent::Claude);
    for (agent, project) in agents.flat_map(|agent| [(agent, false), (agent, true)]) {
        let shape = Shape::of(&Target { agent, project, user: false, yes: false, dry_run: true }, None, None)?;
        let (Ok(Some(text)), Some((event, _))) = (read(&shape.path), shape.hooks.first()) else { continue };
        let (ours, beside): (Vec<&str>, Vec<&str>) = elements(&text, event).into_iter().partition(|own| is_ours(own));
        // In one's own home, the project's settings are one's own.
        if !ours.is_empty() && !found.iter().any(|known| known.path == shape.path) {
            let beside = beside.into_iter().map(str::to_owned).collect();
            found.push(Installed { agent, path: shape.path, beside });
        }
    }
    Ok(found)
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    if args.chain && args.target.agent != Agent::Claude {
        return Err(Failure::usage("only hooks of Claude Code can be put one behind the other"));
    }
    let plain = Shape::of(&args.target, args.rewrite.as_deref(), None)?;
    let before = read(&plain.path)?;
    // One that is there already may be of another kind: it goes first.
    let mut text = taken_out(&plain, before.clone().unwrap_or_else(|| plain.new.to_owned()))?;
    let other = if args.chain { Some(only_other(&plain.path, &text)?) } else { None };
    let shape = Shape::of(&args.target, args.rewrite.as_deref(), other.as_ref().map(|(_, hook)| hook))?;
    if let Some((element, _)) = &other {
        text = remove(&text, &BEFORE, |own| own == element).map_err(|error| unedited(&shape.path, error))?;
    }
    for (path, element) in &shape.hooks {
        text = append(&text, path, element).map_err(|error| unedited(&shape.path, error))?;
    }
    let exit = change(context, &args.target, &shape.path, before.as_deref(), &text)?;
    if exit == Exit::Success && !args.target.dry_run {
        refresh::prepare_to_learn(context)?;
    }
    refresh::after_change(context);
    Ok(exit)
}

/// Finds the one other hook that sees commands: its element, and the hook in it.
fn only_other(path: &Path, text: &str) -> Result<(String, Value), Failure> {
    let all = elements(text, &BEFORE);
    let mut others = all.into_iter().filter(|element| sees_commands(element));
    let (Some(element), None) = (others.next(), others.next()) else {
        return Err(Failure::usage(format!("{} has not one other hook on Bash, but none or several", path.display()))
            .hint("without --chain csync's stands beside them"));
    };
    let value: Value = serde_json::from_str(element).unwrap_or_default();
    let hooks = value["hooks"].as_array().map(Vec::as_slice).unwrap_or_default();
    match hooks {
        // What is told to other tools too would be told to Bash alone.
        [hook] if value["matcher"] == "Bash" && hook["command"].is_string() && hook.get("if").is_none() => {
            Ok((element.to_owned(), hook.clone()))
        }
        _ => Err(Failure::usage("the other hook is not one command for Bash alone")
            .hint("without --chain csync's stands beside it")),
    }
}

/// Takes our hooks out of settings, and puts back what they were put behind.
fn taken_out(shape: &Shape, mut text: String) -> Result<String, Failure> {
    let failed = |error| unedited(&shape.path, error);
    let ours = |element: &&str| is_ours(element);
    let behind: Vec<String> = elements(&text, &BEFORE).into_iter().filter(ours).filter_map(chained_to).collect();
    for (path, _) in &shape.hooks {
        if elements(&text, path).iter().any(ours) {
            text = remove(&text, path, is_ours).map_err(failed)?;
        }
    }
    for element in behind {
        text = append(&text, &BEFORE, &element).map_err(failed)?;
    }
    Ok(text)
}

/// Returns the element of the hook that one of ours was put behind.
fn chained_to(element: &str) -> Option<String> {
    let value: Value = serde_json::from_str(element).ok()?;
    let args = value["hooks"][0]["args"].as_array()?;
    let other = args.iter().find_map(|arg| arg.as_str()?.strip_prefix(OPTION))?;
    Some(entry(Some("Bash"), &serde_json::from_str(other).ok()?))
}

/// Runs it.
pub(super) fn uninstall(context: &Context, args: &UninstallArgs) -> Result<Exit, Failure> {
    let shape = Shape::of(&args.target, None, None)?;
    let Some(before) = read(&shape.path)? else {
        context.say(&format!("{} is not there: nothing to take out.", shape.path.display()));
        return Ok(Exit::Success);
    };
    let text = taken_out(&shape, before.clone())?;
    change(context, &args.target, &shape.path, Some(&before), &text)
}

fn read(path: &Path) -> Result<Option<String>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(storage(path, "read", &error)),
    }
}

fn storage(path: &Path, verb: &str, error: &std::io::Error) -> Failure {
    Failure::new(ErrorKind::Storage, format!("{} cannot be {verb}", path.display())).because(error)
}

fn unedited(path: &Path, error: NotEdited) -> Failure {
    Failure::new(ErrorKind::Conflict, format!("{} cannot be changed", path.display()))
        .because(&error)
        .hint("put the hook in by hand: `csync hook claude --help` shows the command")
}

/// Shows the change and makes it.
fn change(context: &Context, target: &Target, path: &Path, before: Option<&str>, after: &str) -> Result<Exit, Failure> {
    let changed = before != Some(after);
    let backup = changed.then(|| backup_path(path)).filter(|_| before.is_some());
    if !context.json() {
        context.say(&if changed {
            diff(path, before.unwrap_or_default(), after)
        } else {
            "Nothing to change.".to_owned()
        });
    }
    let agreed = target.yes || target.dry_run || agrees(context)?;
    let done = changed && agreed && !target.dry_run;
    if done {
        write(path, before, after, backup.as_deref())?;
        let kept = backup
            .as_ref()
            .map(|backup| format!(" What was there is kept in {}", backup.display()))
            .unwrap_or_default();
        context.say(&format!("{} is changed.{kept}", path.display()));
    }
    if context.json() {
        context.print_json(&json!({ "file": path, "changed": done, "backup": backup.filter(|_| done) }))?;
    }
    Ok(if agreed { Exit::Success } else { Exit::RunFailed })
}

fn agrees(context: &Context) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(
            Failure::usage("nobody can be asked here").hint("`--yes` agrees beforehand, `--dry-run` only shows")
        );
    }
    context.warn("Change it? [y/N]");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|error| Failure::usage("no answer").because(&error))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn backup_path(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    (1..10_000_u32)
        .map(|number| path.with_file_name(format!("{name}.before-csync-{number}")))
        .find(|path| !path.exists())
        .unwrap_or_default()
}

/// Writes all of it or nothing; a link stays a link.
fn write(path: &Path, before: Option<&str>, after: &str, backup: Option<&Path>) -> Result<(), Failure> {
    let failed = |error: &std::io::Error| storage(path, "written", error);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|error| failed(&error))?;
    }
    if let (Some(backup), Some(before)) = (backup, before) {
        std::fs::write(backup, before).map_err(|error| failed(&error))?;
    }
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let new = target.with_extension(format!("new-{}", std::process::id()));
    std::fs::write(&new, after)
        .and_then(|()| match std::fs::metadata(&target) {
            Ok(meta) => std::fs::set_permissions(&new, meta.permissions()),
            Err(_) => Ok(()),
        })
        .and_then(|()| std::fs::rename(&new, &target))
        .inspect_err(|_| drop(std::fs::remove_file(&new)))
        .map_err(|error| failed(&error))
}

/// Returns the lines that differ: the edits are few, and at the same places.
fn diff(path: &Path, before: &str, after: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let start = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let most = old.len().min(new.len()) - start;
    let end = old.iter().rev().zip(new.iter().rev()).take(most).take_while(|(old, new)| old == new).count();
    let mut text = format!("{}:\n", path.display());
    let around = |lines: &[&str], sign: char, text: &mut String| {
        for line in lines {
            let _ = writeln!(text, "{sign} {line}");
        }
    };
    around(new.get(start.saturating_sub(2)..start).unwrap_or_default(), ' ', &mut text);
    around(old.get(start..old.len() - end).unwrap_or_default(), '-', &mut text);
    around(new.get(start..new.len() - end).unwrap_or_default(), '+', &mut text);
    around(new.get(new.len() - end..(new.len() - end + 2).min(new.len())).unwrap_or_default(), ' ', &mut text);
    text.trim_end().to_owned()
}
