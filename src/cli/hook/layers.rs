//! The deny and ask rules of every layer of an agent's settings.

use std::path::{Path, PathBuf};

use crate::language::hook::{Agent, Rules, from_arguments};

/// Largest settings file that is read; a larger one may hold any rule.
const LARGEST: u64 = 1 << 20;

/// Reads the rules that hold for a session in a directory.
pub(super) fn rules(agent: Agent, cwd: &str) -> Rules {
    let mut rules = Rules::default();
    for path in files(agent, cwd) {
        add_file(&mut rules, &path);
    }
    if agent == Agent::Claude {
        add_arguments(&mut rules, cwd);
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
    // The project's folder is that of the session or one above it.
    let mut at = Some(Path::new(cwd));
    let mut dirs: Vec<PathBuf> = project.into_iter().collect();
    while let Some(dir) = at.filter(|dir| dir.is_absolute()) {
        dirs.push(dir.to_path_buf());
        at = dir.parent();
    }
    for dir in dirs {
        files.push(dir.join(folder).join("settings.json"));
        files.push(dir.join(folder).join("settings.local.json"));
    }
    files.sort();
    files.dedup();
    files
}

fn add_file(rules: &mut Rules, path: &Path) {
    match std::fs::metadata(path) {
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {}
        Ok(meta) if meta.len() <= LARGEST => match std::fs::read_to_string(path) {
            Ok(text) if text.trim().is_empty() => {}
            Ok(text) => rules.add(&text),
            Err(_) => rules.add_rule("Bash"),
        },
        // What cannot be read may forbid anything.
        _ => rules.add_rule("Bash"),
    }
}

/// Adds what the agent was started with: `--settings`, `--disallowedTools`.
fn add_arguments(rules: &mut Rules, cwd: &str) {
    let Some(pid) = std::env::var("CLAUDE_PID").ok().and_then(|pid| pid.parse::<u32>().ok()) else { return };
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return };
    let arguments: Vec<String> =
        line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let (found, settings) = from_arguments(&arguments);
    for rule in &found {
        rules.add_rule(rule);
    }
    for settings in settings {
        if settings.trim_start().starts_with('{') {
            rules.add(&settings);
        } else {
            add_file(rules, &Path::new(cwd).join(settings));
        }
    }
}
