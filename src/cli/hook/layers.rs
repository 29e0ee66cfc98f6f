//! The deny and ask rules of every layer of an agent's settings.

use std::path::{Path, PathBuf};

use crate::language::hook::{Agent, Rules, from_arguments};
use crate::reach::machine::processes;

/// Largest settings file that is read; a larger one may hold any rule.
const LARGEST: u64 = 1 << 20;

/// Most processes above this one whose arguments are looked at.
const ABOVE: usize = 6;

/// Reads the rules that hold for a session in a directory.
pub(super) fn rules(agent: Agent, cwd: &str) -> Rules {
    let mut rules = Rules::default();
    for path in files(agent, cwd) {
        add_file(&mut rules, &path, Rules::add);
    }
    for dir in policy_dirs(agent, cwd) {
        add_policies(agent, &mut rules, &dir);
    }
    for line in arguments(agent) {
        add_arguments(agent, &mut rules, &line, cwd);
    }
    rules
}

fn var(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Returns the settings files of an agent, whether they are there or not.
fn files(agent: Agent, cwd: &str) -> Vec<PathBuf> {
    let home = var("HOME").unwrap_or_default();
    let (folder, project) = match agent {
        Agent::Claude => (".claude", var("CLAUDE_PROJECT_DIR")),
        Agent::Qwen => (".qwen", var("QWEN_PROJECT_DIR").or_else(|| var("CLAUDE_PROJECT_DIR"))),
        Agent::Gemini => (".gemini", var("GEMINI_PROJECT_DIR")),
        Agent::Codex => (".codex", None),
        Agent::Copilot => (".copilot", None),
        Agent::Cursor => (".cursor", None),
    };
    let mut files = Vec::new();
    if agent == Agent::Claude {
        let managed = Path::new("/etc/claude-code");
        files.push(managed.join("managed-settings.json"));
        let parts = std::fs::read_dir(managed.join("managed-settings.d"));
        files.extend(parts.into_iter().flatten().flatten().map(|entry| entry.path()));
        files.push(var("CLAUDE_CONFIG_DIR").unwrap_or_else(|| home.join(folder)).join("settings.json"));
    } else {
        files.push(home.join(folder).join("settings.json"));
    }
    match agent {
        Agent::Gemini => files.push(PathBuf::from("/etc/gemini-cli/settings.json")),
        Agent::Qwen => files.push(PathBuf::from("/etc/qwen-code/settings.json")),
        Agent::Cursor => files.push(home.join(folder).join("cli-config.json")),
        Agent::Claude | Agent::Codex | Agent::Copilot => {}
    }
    for dir in project.into_iter().chain(above(cwd)) {
        files.push(dir.join(folder).join("settings.json"));
        files.push(dir.join(folder).join("settings.local.json"));
        if agent == Agent::Cursor {
            files.push(dir.join(folder).join("cli.json"));
        }
    }
    files.sort();
    files.dedup();
    files
}

/// Returns the folders of policies of an agent that has some.
fn policy_dirs(agent: Agent, cwd: &str) -> Vec<PathBuf> {
    let (system, folder) = match agent {
        Agent::Gemini => ("/etc/gemini-cli/policies", ".gemini/policies"),
        Agent::Codex => ("/etc/codex/rules", ".codex/rules"),
        _ => return Vec::new(),
    };
    let own = if agent == Agent::Codex { var("CODEX_HOME").map(|home| home.join("rules")) } else { None };
    let mut dirs = vec![PathBuf::from(system), var("HOME").unwrap_or_default().join(folder)];
    dirs.extend(own);
    dirs.extend(above(cwd).map(|dir| dir.join(folder)));
    dirs.sort();
    dirs.dedup();
    dirs
}

/// Returns a directory and those above it: the project's folder is that of the session or one above.
fn above(cwd: &str) -> impl Iterator<Item = PathBuf> {
    Path::new(cwd).ancestors().filter(|dir| dir.is_absolute()).map(Path::to_path_buf)
}

/// Adds a file of policies, or all that lie in a folder.
fn add_policies(agent: Agent, rules: &mut Rules, path: &Path) {
    let add = if agent == Agent::Codex { Rules::add_prefix_rules } else { Rules::add_policy };
    let Ok(entries) = std::fs::read_dir(path) else { return add_file(rules, path, add) };
    let ending = if agent == Agent::Codex { "rules" } else { "toml" };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|own| own == ending) {
            add_file(rules, &path, add);
        }
    }
}

fn add_file(rules: &mut Rules, path: &Path, add: fn(&mut Rules, &str)) {
    match std::fs::metadata(path) {
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {}
        Ok(meta) if meta.len() <= LARGEST => match std::fs::read_to_string(path) {
            Ok(text) if text.trim().is_empty() => {}
            Ok(text) => add(rules, &text),
            Err(_) => rules.add_rule("Bash"),
        },
        // What cannot be read may forbid anything.
        _ => rules.add_rule("Bash"),
    }
}

/// Returns the arguments of the processes that the agent may be: Claude Code says which, the others are above this one.
fn arguments(agent: Agent) -> Vec<Vec<u8>> {
    let said =
        std::env::var("CLAUDE_PID").ok().filter(|_| agent == Agent::Claude).and_then(|pid| pid.parse::<u32>().ok());
    match said {
        Some(pid) => std::fs::read(format!("/proc/{pid}/cmdline")).into_iter().collect(),
        None => processes::arguments_above().take(ABOVE).collect(),
    }
}

/// Adds what the agent was started with: `--settings`, `--disallowedTools`, `--deny-tool`, `--policy`.
fn add_arguments(agent: Agent, rules: &mut Rules, line: &[u8], cwd: &str) {
    let arguments: Vec<String> =
        line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let found = from_arguments(agent, &arguments);
    for rule in &found.rules {
        rules.add_rule(rule);
    }
    for settings in found.settings {
        if settings.trim_start().starts_with('{') {
            rules.add(&settings);
        } else {
            add_file(rules, &Path::new(cwd).join(settings), Rules::add);
        }
    }
    for path in found.policies {
        add_policies(agent, rules, &Path::new(cwd).join(path));
    }
}
