//! The deny and ask rules that people wrote for their agent. Agents judge a changed command by them, and no longer the one that
//! was typed: what a rule fits is therefore left alone. In doubt a rule is read as one that fits more.

use serde::Deserialize;

use crate::language::hook::Agent;
use crate::language::shell::{Script, Word, guessed_ssh, inner_script, read, reads_input, unix_lines, unwrap};

/// Deepest nesting of texts in texts.
const DEEPEST: u32 = 3;

/// Rules against commands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    patterns: Vec<Pattern>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    /// Fits every command.
    Any,
    /// Fits commands by a text with `*` in it.
    Glob(String),
    /// Fits commands that begin so.
    Prefix(String),
}

/// The names that agents give their shell tool in rules.
const SHELLS: [&str; 6] = ["Bash", "Shell", "shell", "bash", "run_shell_command", "ShellTool"];

#[derive(Default, Deserialize)]
#[serde(default)]
struct Settings {
    permissions: Permissions,
    tools: Tools,
    #[serde(rename = "excludeTools")]
    exclude_tools: Vec<serde_json::Value>,
}

/// Gemini CLI and Qwen Code.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Tools {
    exclude: Vec<serde_json::Value>,
    #[serde(rename = "confirmationRequired")]
    confirmation_required: Vec<serde_json::Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Permissions {
    deny: Vec<serde_json::Value>,
    ask: Vec<serde_json::Value>,
}

impl Rules {
    /// Adds the rules of a settings file. One that cannot be read may hold any rule: everything fits then.
    pub fn add(&mut self, settings: &str) {
        match serde_json::from_str::<Settings>(settings) {
            Ok(Settings { permissions: Permissions { deny, ask }, tools, exclude_tools }) => {
                let tools = tools.exclude.iter().chain(&tools.confirmation_required);
                for rule in deny.iter().chain(&ask).chain(tools).chain(&exclude_tools) {
                    self.add_rule(rule.as_str().unwrap_or("Bash"));
                }
            }
            Err(_) => self.patterns.push(Pattern::Any),
        }
    }

    /// Adds a rule as it is written: `Bash(ssh *)`. Rules for other tools are passed over.
    pub fn add_rule(&mut self, rule: &str) {
        let rule = rule.trim();
        let inside = SHELLS.iter().chain(&["*"]).find_map(|tool| {
            let rest = rule.strip_prefix(tool)?;
            if rest.is_empty() { Some((*tool, "")) } else { Some((*tool, rest.strip_prefix('(')?.strip_suffix(')')?)) }
        });
        let Some((tool, inside)) = inside else {
            // `Ba*` and the like are not understood: they may mean the shell.
            if rule.contains('*') && !rule.starts_with("mcp__") && !rule.contains('(') {
                self.patterns.push(Pattern::Any);
            }
            return;
        };
        let inside = inside.trim();
        self.patterns.push(match inside.strip_suffix(":*") {
            _ if matches!(inside, "" | "*" | ":*" | "**") => Pattern::Any,
            Some(prefix) => Pattern::Prefix(prefix.trim().to_owned()),
            // To all but Claude Code a rule is how commands begin: `Shell(ssh)`, with what follows behind a colon or as a pattern.
            None if tool != "Bash" => match inside.find([':', '*']) {
                Some(0) => Pattern::Any,
                at => Pattern::Prefix(inside.get(..at.unwrap_or(inside.len())).unwrap_or_default().trim().to_owned()),
            },
            None => Pattern::Glob(inside.to_owned()),
        });
    }

    /// Adds the rules of a policy of Gemini CLI (TOML). One that cannot be read may hold any rule.
    pub fn add_policy(&mut self, policy: &str) {
        let Ok(table) = policy.parse::<toml::Table>() else { return self.patterns.push(Pattern::Any) };
        let rules = table.get("rule").and_then(toml::Value::as_array).into_iter().flatten();
        for rule in rules {
            let texts = |key: &str| match rule.get(key) {
                Some(toml::Value::String(text)) => vec![text.clone()],
                Some(toml::Value::Array(all)) => all.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
                _ => Vec::new(),
            };
            let tools = texts("toolName");
            let shell =
                tools.is_empty() || tools.iter().any(|tool| tool.contains('*') || SHELLS.contains(&tool.as_str()));
            if texts("decision") == ["allow"] || !shell {
                continue;
            }
            let prefixes = texts("commandPrefix");
            if prefixes.is_empty() {
                self.patterns.push(Pattern::Any);
            }
            self.patterns.extend(prefixes.into_iter().map(Pattern::Prefix));
        }
    }

    /// Adds the rules of a file of Codex (`prefix_rule(pattern = ["git", "push"], decision = "prompt")`): each fits whatever begins
    /// with the first word of its pattern.
    pub fn add_prefix_rules(&mut self, text: &str) {
        let plain: String = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
        for call in plain.split("prefix_rule").skip(1) {
            let squeezed: String = call.chars().filter(|letter| !letter.is_whitespace()).collect();
            if squeezed.contains("decision=\"allow\"") || !squeezed.contains("decision=") {
                continue;
            }
            let first = squeezed.split_once("pattern=[").map(|(_, rest)| rest).unwrap_or_default();
            let words: Vec<&str> = match first.strip_prefix('[').and_then(|list| list.split_once(']')) {
                Some((list, _)) => list.split('"').skip(1).step_by(2).collect(),
                None => first.strip_prefix('"').and_then(|rest| rest.split('"').next()).into_iter().collect(),
            };
            if words.is_empty() || words.iter().any(|word| word.contains('\\')) {
                self.patterns.push(Pattern::Any);
            } else {
                self.patterns.extend(words.into_iter().map(|word| Pattern::Prefix(word.to_owned())));
            }
        }
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Says whether a rule fits a line, or any command of it, bare of what it is wrapped in, in texts within too. In doubt one
    /// does.
    pub fn fit(&self, line: &str) -> bool {
        if self.patterns.is_empty() {
            return false;
        }
        if self.patterns.contains(&Pattern::Any) || self.fit_text(line) {
            return true;
        }
        self.fit_script(&unix_lines(line), 0)
    }

    fn fit_script(&self, text: &str, depth: u32) -> bool {
        let Some(script) = read(text) else { return true };
        if depth < DEEPEST && handed(&script).any(|text| self.fit_script(text, depth + 1)) {
            return true;
        }
        script.commands.iter().any(|command| {
            let from = |at: usize| command.words.get(at).map(|word| word.span.start..command.span.end);
            let slices = (0..command.words.len()).filter_map(from).map(|span| script.slice(&span));
            // Every tail of it: whatever wrapper stands in front, known or not.
            slices.into_iter().any(|slice| self.fit_text(slice)) || self.fit_words(&command.words, depth)
        })
    }

    /// Looks at the words as the shell understands them, and at texts among them.
    fn fit_words(&self, words: &[Word], depth: u32) -> bool {
        let head = unwrap(words).map_or(0, |found| found.head);
        let meant: Vec<&str> = words.get(head..).unwrap_or_default().iter().map(|word| word.text.as_str()).collect();
        let mut meant = meant.join(" ");
        if self.fit_text(&meant) {
            return true;
        }
        // `/usr/bin/ssh` is `ssh`.
        if let Some(slash) = meant.split(' ').next().and_then(|first| first.rfind('/')) {
            meant.drain(..=slash);
            if self.fit_text(&meant) {
                return true;
            }
        }
        let script = words.get(head..).and_then(inner_script).map(|text| text.shown().to_owned());
        let inner = script.or_else(|| guessed_ssh(words, head)?.shown(words));
        inner.is_some_and(|inner| depth < DEEPEST && self.fit_script(&inner, depth + 1))
    }

    fn fit_text(&self, text: &str) -> bool {
        let text = text.trim();
        self.patterns.iter().any(|pattern| match pattern {
            Pattern::Any => true,
            Pattern::Prefix(prefix) => text.starts_with(prefix.as_str()),
            // `ssh *` fits `ssh` alone too.
            Pattern::Glob(glob) => {
                fits(glob.as_bytes(), text.as_bytes()) || glob.strip_suffix(" *").is_some_and(|bare| bare == text)
            }
        })
    }
}

/// Returns the here-documents that shells are given to run, those of other machines too.
fn handed(script: &Script) -> impl Iterator<Item = &str> {
    script.documents.iter().filter_map(|document| {
        let words = &script.commands.get(script.first_of(&document.of)?)?.words;
        let head = unwrap(words)?.head;
        let runs = guessed_ssh(words, head).is_some() || words.get(head..).is_some_and(reads_input);
        runs.then_some(document.text.as_str())
    })
}

/// Matches a text against a pattern in which `*` is any text.
fn fits(glob: &[u8], text: &[u8]) -> bool {
    let (mut at, mut pos, mut star) = (0, 0, None);
    while pos < text.len() {
        match glob.get(at) {
            Some(b'*') => {
                star = Some((at, pos));
                at += 1;
            }
            Some(byte) if text.get(pos) == Some(byte) => {
                at += 1;
                pos += 1;
            }
            _ => match star {
                Some((behind, from)) => {
                    at = behind + 1;
                    pos = from + 1;
                    star = Some((behind, from + 1));
                }
                None => return false,
            },
        }
    }
    glob.get(at..).is_none_or(|rest| rest.iter().all(|byte| *byte == b'*'))
}

/// What an agent was started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Started {
    /// Rules.
    pub rules: Vec<String>,
    /// Settings: files, or texts.
    pub settings: Vec<String>,
    /// Files and folders of policies.
    pub policies: Vec<String>,
}

/// Finds rules, settings and policies among the arguments of a process.
pub fn from_arguments(agent: Agent, arguments: &[String]) -> Started {
    let mut found = Started::default();
    let mut words = arguments.iter().peekable();
    while let Some(word) = words.next() {
        let (name, value) = word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
        let is_rules = match agent {
            Agent::Claude => matches!(name, "--disallowedTools" | "--disallowed-tools"),
            Agent::Copilot => matches!(name, "--deny-tool" | "--excluded-tools"),
            Agent::Qwen | Agent::Gemini => matches!(name, "--exclude-tools" | "--excludeTools"),
            Agent::Codex | Agent::Cursor => false,
        };
        match name {
            "--settings" => found.settings.extend(value.map(str::to_owned).or_else(|| words.next().cloned())),
            "--policy" | "--admin-policy" => {
                found.policies.extend(value.map(str::to_owned).or_else(|| words.next().cloned()));
            }
            _ if is_rules => {
                let mut all: Vec<String> = value.into_iter().map(str::to_owned).collect();
                while value.is_none() && words.peek().is_some_and(|next| !next.starts_with("--")) {
                    all.extend(words.next().cloned());
                }
                found.rules.extend(all.iter().flat_map(|list| split_rules(list)));
            }
            _ => {}
        }
    }
    found
}

/// Splits `Bash(a, b),Edit Read` at commas and blanks outside brackets.
fn split_rules(list: &str) -> Vec<String> {
    let (mut rules, mut rule, mut depth) = (Vec::new(), String::new(), 0_i32);
    for letter in list.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' | ' ' if depth == 0 => {
                rules.push(std::mem::take(&mut rule));
                continue;
            }
            _ => {}
        }
        rule.push(letter);
    }
    rules.push(rule);
    rules.retain(|rule| !rule.is_empty());
    rules
}
