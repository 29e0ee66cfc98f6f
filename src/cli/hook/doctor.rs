//! `csync hook doctor`: is the hook in place, does it answer, does another one change commands too.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::hook::install::{Installed, installed, is_ours};
use crate::cli::hook::lookup::{Lookup, Stale};
use crate::cli::view::words::many;
use crate::language::hook::settings::elements;
use crate::reach::advice;

/// Check that the hook is in place and answers
///
/// Looks at the settings of every agent, of this directory and your own, calls the hook once as an agent would, and names other
/// hooks that see the same commands: when two change a command, the last one to finish wins.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// What was found.
#[derive(Debug, Serialize)]
struct Finding {
    well: bool,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

fn finding(well: bool, message: impl Into<String>, fix: Option<&str>) -> Finding {
    Finding { well, message: message.into(), fix: fix.map(str::to_owned) }
}

/// Runs it.
pub(super) fn run(context: &Context, _args: &Args) -> Result<Exit, Failure> {
    let mut findings = vec![on_path()];
    findings.extend(settings());
    findings.extend(others());
    findings.push(answers());
    findings.push(index(context)?);
    if context.json() {
        context.print_json(&json!({ "findings": findings }))?;
    } else {
        for one in &findings {
            context.print(&format!("{} {}", if one.well { "ok     " } else { "problem" }, one.message))?;
            if let Some(fix) = &one.fix {
                context.print(&format!("        {fix}"))?;
            }
        }
    }
    Ok(if findings.iter().all(|one| one.well) { Exit::Success } else { Exit::RunFailed })
}

fn on_path() -> Finding {
    let path = std::env::var_os("PATH").unwrap_or_default();
    match std::env::split_paths(&path).map(|dir| dir.join("csync")).find(|path| path.is_file()) {
        Some(path) => finding(true, format!("agents find csync: {}", path.display()), None),
        None => {
            finding(false, "`csync` is not on PATH: agents cannot start the hook", Some("put its directory on PATH"))
        }
    }
}

/// Looks for our hook and for others on the same commands.
fn settings() -> Vec<Finding> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let own = std::env::var_os("CLAUDE_CONFIG_DIR").map_or_else(|| home.join(".claude"), PathBuf::from);
    let project = std::env::current_dir().unwrap_or_default().join(".claude");
    let managed = PathBuf::from("/etc/claude-code/managed-settings.json");
    let files =
        [managed, own.join("settings.json"), project.join("settings.json"), project.join("settings.local.json")];
    // In one's own home, the project's settings are one's own.
    let mut files: Vec<PathBuf> = files.into_iter().filter_map(|path| path.canonicalize().ok()).collect();
    files.sort();
    files.dedup();
    let (mut found, mut ours) = (Vec::new(), 0);
    for path in files {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let Ok(value) = serde_json::from_str::<Value>(&text) else {
            let message = format!("{} is no JSON: Claude Code drops every hook in it", path.display());
            found.push(finding(false, message, Some("mend it in an editor")));
            continue;
        };
        if value["disableAllHooks"] == true {
            let message = format!("{} switches all hooks off", path.display());
            found.push(finding(false, message, Some("take `disableAllHooks` out of it")));
        }
        let plugins = value["enabledPlugins"].as_object().into_iter().flatten();
        ours += plugins.filter(|(name, on)| name.starts_with("csync@") && **on == true).count();
        for element in elements(&text, &["hooks", "PreToolUse"]) {
            if is_ours(element) {
                ours += 1;
            } else if sees_commands(element) {
                let message = format!("{} has another hook on Bash: {}", path.display(), command_of(element));
                let fix = "where both change a command, the last to finish wins: `csync hook install --chain` puts csync's behind it";
                found.push(finding(false, message, Some(fix)));
            }
        }
    }
    match ours {
        0 => found.push(finding(
            false,
            "the hook is not installed for Claude Code",
            Some("`csync hook install` puts it in"),
        )),
        1 => found.push(finding(true, "the hook is installed for Claude Code", None)),
        _ => found.push(finding(
            false,
            "the hook is installed more than once",
            Some("`csync hook uninstall`, with and without --project, takes it out; `claude plugin uninstall csync` the plugin"),
        )),
    }
    found
}

/// Looks for our hook in the settings of the other agents, and for others beside it.
fn others() -> Vec<Finding> {
    let mut found = Vec::new();
    for Installed { agent, path, beside } in installed().unwrap_or_default() {
        let name = agent.name();
        found.push(finding(true, format!("the hook is installed for {name}: {}", path.display()), None));
        for element in beside.iter().filter(|element| sees_commands(element)) {
            let message = format!("{} has another hook on the shell: {}", path.display(), command_of(element));
            let fix = format!(
                "where both change a command, one change is lost: `csync hook install --agent {name}` without --rewrite only advises"
            );
            found.push(finding(false, message, Some(&fix)));
        }
    }
    found
}

/// Says whether a hook's matcher lets commands through: a list of names, or else a pattern, which may fit anything.
pub(super) fn sees_commands(element: &str) -> bool {
    let value: Value = serde_json::from_str(element).unwrap_or_default();
    let matcher = value["matcher"].as_str().unwrap_or_default();
    let is_list = matcher.chars().all(|letter| letter.is_ascii_alphanumeric() || "_ -,|".contains(letter));
    let names = || matcher.split([',', '|']).map(str::trim);
    let shells = ["Bash", "Shell", "bash", "run_shell_command"];
    matcher.is_empty()
        || if is_list { names().any(|name| shells.contains(&name)) } else { !matcher.starts_with("mcp__") }
}

fn command_of(element: &str) -> String {
    let value: Value = serde_json::from_str(element).unwrap_or_default();
    let hook = value.pointer("/hooks/0").unwrap_or(&value);
    let command = hook["command"].as_str().or_else(|| hook["bash"].as_str());
    command.unwrap_or("one of another type").chars().take(80).collect()
}

/// Calls the hook as an agent would.
fn answers() -> Finding {
    let event = json!({"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {"command": "mkfs.ext4 /dev/none"}, "cwd": "/"});
    let start = Instant::now();
    let output = std::env::current_exe().and_then(|program| {
        let mut child = Command::new(program)
            .args(["hook", "claude"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        if let Some(stdin) = &mut child.stdin {
            stdin.write_all(event.to_string().as_bytes())?;
        }
        child.wait_with_output()
    });
    match output {
        Ok(output) if String::from_utf8_lossy(&output.stdout).contains("additionalContext") => {
            finding(true, format!("the hook answers, in {:.1} ms", start.elapsed().as_secs_f64() * 1000.0), None)
        }
        Ok(_) => finding(
            false,
            "the hook does not answer: a deny rule may fit everything, or the machine is slow",
            Some("its log is hook.log in the state directory"),
        ),
        Err(error) => finding(false, format!("the hook cannot be started: {error}"), None),
    }
}

/// Says that the index has no room for all that is known, and what helps.
pub(in crate::cli) fn crowded(cut: u64) -> (String, String) {
    let records = many(u32::try_from(cut).unwrap_or(u32::MAX), "record");
    let message = format!("the index of the hook has no room for {records}: those of the oldest copies are left out");
    let fix = "`csync clean --inputs` forgets copies that nobody needs, `csync profile forget --unused DAYS` commands";
    (message, fix.to_owned())
}

fn index(context: &Context) -> Result<Finding, Failure> {
    let state = context.state_dir()?;
    if !advice::path(state.root()).exists() {
        return Ok(finding(
            false,
            "nothing is known of hosts: there is no index",
            Some("`csync hosts import` and `csync hosts probe` make it"),
        ));
    }
    if let Some(cut) = advice::cut(state.root()) {
        let (message, fix) = crowded(cut);
        return Ok(finding(true, message, Some(&fix)));
    }
    let lookup = Lookup::open(Some(&state));
    Ok(match (lookup.is_known(), lookup.stale(Some(state.root()))) {
        (false, _) => finding(false, "the index of hosts is damaged", Some("`csync hook refresh` makes it anew")),
        (true, Stale::Yes) => {
            finding(true, "the index of hosts is older than hosts.toml: the next call makes it anew", None)
        }
        (true, Stale::No) => finding(true, "the index of hosts is up to date", None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_without_room_says_what_is_left_out() {
        let (message, fix) = crowded(20_000);
        assert!(
            message.contains("no room for 20,000 records") && fix.contains("csync clean --inputs"),
            "{message} {fix}"
        );
        assert!(crowded(1).0.contains("for 1 record:"));
    }

    #[test]
    fn matchers_are_lists_or_patterns() {
        for (matcher, sees) in [
            ("", true),
            ("Bash", true),
            ("Edit|Bash", true),
            ("Edit, Bash", true),
            ("Edit|Write", false),
            ("BashOutput", false),
            ("B.sh", true),
            ("^Ba", true),
            ("*", true),
            ("mcp__.*", false),
        ] {
            assert_eq!(sees_commands(&json!({ "matcher": matcher }).to_string()), sees, "{matcher}");
        }
        assert!(sees_commands("{}"));
        assert_eq!(command_of(r#"{"bash": "x"}"#), "x");
        assert_eq!(command_of(r#"{"hooks": [{"command": "y"}]}"#), "y");
    }
}
