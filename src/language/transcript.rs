//! Coding-agent sessions, as Claude Code writes them: a JSON value a line, in a format of its own that changes. What is not
//! understood is passed over.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::Deserialize;

use crate::model::units::Timestamp;

/// A shell command of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Called {
    /// The agent's name of the call.
    pub id: String,
    /// The command.
    pub command: String,
    /// The session's directory.
    pub cwd: String,
    /// Whether it failed; none where no result was written.
    pub failed: Option<bool>,
    /// Seconds from the call to its result.
    pub seconds: Option<f64>,
}

#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    cwd: Option<String>,
    #[serde(default)]
    timestamp: Option<Timestamp>,
    #[serde(default)]
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: serde_json::Value,
}

/// Reads the shell commands of a session, in their order. A command that stands there twice, as in a session that was resumed,
/// counts once.
pub fn commands(text: &str) -> Vec<Called> {
    let mut order: Vec<String> = Vec::new();
    let mut calls: BTreeMap<String, (Called, Option<Timestamp>)> = BTreeMap::new();
    for line in text.lines() {
        // Most lines are neither, and some are large.
        if !line.contains("tool_use") && !line.contains("tool_result") {
            continue;
        }
        let Ok(Line { cwd, timestamp, message: Some(message) }) = serde_json::from_str::<Line>(line) else { continue };
        for block in message.content.as_array().into_iter().flatten() {
            let text = |name: &str| block.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
            match (text("type").as_str(), text("name").as_str()) {
                ("tool_use", "Bash") => {
                    let Some(command) = block.pointer("/input/command").and_then(serde_json::Value::as_str) else {
                        continue;
                    };
                    let id = text("id");
                    let cwd = cwd.clone().unwrap_or_default();
                    let called =
                        Called { id: id.clone(), command: command.to_owned(), cwd, failed: None, seconds: None };
                    if let Entry::Vacant(entry) = calls.entry(id.clone()) {
                        entry.insert((called, timestamp));
                        order.push(id);
                    }
                }
                ("tool_result", _) => {
                    if let Some((called, since)) =
                        calls.get_mut(&text("tool_use_id")).filter(|(called, _)| called.failed.is_none())
                    {
                        called.failed =
                            Some(block.get("is_error").and_then(serde_json::Value::as_bool).unwrap_or(false));
                        called.seconds = timestamp.zip(*since).map(|(now, since)| now.since(since).as_secs_f64());
                    }
                }
                _ => {}
            }
        }
    }
    order.iter().filter_map(|id| calls.remove(id)).map(|(called, _)| called).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_with_what_came_of_them() {
        let text = r#"{"type":"user","cwd":"/p","message":{"role":"user","content":"go"}}
{"type":"assistant","cwd":"/p","timestamp":"2026-01-01T00:00:00.000Z","message":{"content":[{"type":"text","text":"tool_use"},{"type":"tool_use","id":"a","name":"Bash","input":{"command":"ssh n"}}]}}
{"type":"assistant","cwd":"/p","message":{"content":[{"type":"tool_use","id":"a","name":"Bash","input":{"command":"ssh n"}}]}}
{"type":"assistant","message":{"content":[{"type":"tool_use","id":"b","name":"Edit","input":{}},{"type":"tool_use","id":"c","name":"Bash","input":{"command":"ls"}}]}}
not json with tool_use
{"type":"user","timestamp":"2026-01-01T00:00:02.500Z","message":{"content":[{"type":"tool_result","tool_use_id":"a","is_error":true,"content":"x"}]}}
{"type":"from-the-future","tool_use":1}"#;
        let found = commands(text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!((found[0].command.as_str(), found[0].cwd.as_str()), ("ssh n", "/p"));
        assert_eq!((found[0].failed, found[0].seconds), (Some(true), Some(2.5)));
        assert_eq!((found[1].command.as_str(), found[1].failed), ("ls", None));
    }
}
