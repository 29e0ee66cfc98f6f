//! The reply of another hook of Claude Code, with csync's put behind it. Where two hooks change a command, the last one to finish
//! wins and the other's change is lost; one behind the other, each sees what the one before made of it.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::language::hook::read::{Event, Fields};
use crate::language::hook::render::{Reply, cut, with_command};

/// What another hook answered.
#[derive(Clone, Debug, Default)]
pub struct Theirs {
    whole: Fields,
    specific: Fields,
}

impl Theirs {
    /// Reads an answer. None where the agent would read no decision out of it.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let whole: Fields = serde_json::from_str(text).ok().filter(|_| text.starts_with('{'))?;
        let specific = whole.get("hookSpecificOutput").and_then(|raw| serde_json::from_str(raw.get()).ok());
        Some(Self { whole, specific: specific.unwrap_or_default() })
    }

    /// Returns the command that the other hook would have run instead.
    pub fn command(&self) -> Option<String> {
        let input: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(self.specific.get("updatedInput")?.get()).ok()?;
        serde_json::from_str(input.get("command")?.get()).ok()
    }

    /// Says whether it holds a word on permission: that is about the command as it is there, and no other.
    pub fn decides(&self) -> bool {
        self.specific.contains_key("permissionDecision")
            || self.whole.contains_key("decision")
            || self.whole.contains_key("continue")
    }

    /// Returns the line that answers an event with what the other hook said and what there is to say besides.
    pub fn with(mut self, event: &Event, reply: Option<&Reply>) -> Option<String> {
        if let Some(reply) = reply {
            let own = |key: &str| self.specific.get(key).and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
            let text = own("additionalContext")
                .map_or_else(|| reply.text.clone(), |theirs| format!("{theirs}\n{}", reply.text));
            self.specific.insert("hookEventName".to_owned(), raw(&event.name)?);
            self.specific.insert("additionalContext".to_owned(), raw(cut(&text))?);
            if let Some(command) = reply.command.as_ref().filter(|_| !self.decides()) {
                let theirs = self.specific.get("updatedInput").and_then(|raw| serde_json::from_str(raw.get()).ok());
                let changed = with_command(theirs.as_ref().unwrap_or(&event.input), command)?;
                self.specific.insert("updatedInput".to_owned(), raw(&changed)?);
            }
            self.whole.insert("hookSpecificOutput".to_owned(), raw(&self.specific)?);
        }
        serde_json::to_string(&self.whole).ok()
    }
}

fn raw(value: &(impl serde::Serialize + ?Sized)) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::hook::{Agent, read};
    use serde_json::{Value, json};

    const EVENT: &str =
        r#"{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":"ssh n ls","timeout":1e3}}"#;

    fn with(theirs: &Value) -> (Option<String>, Value) {
        let event = read(Agent::Claude, EVENT.as_bytes()).unwrap();
        let theirs = Theirs::read(&format!("\n {theirs}\n")).unwrap();
        let command = theirs.command();
        let reply = Reply { text: "why".to_owned(), command: Some("new".to_owned()) };
        (command, serde_json::from_str(&theirs.with(&event, Some(&reply)).unwrap()).unwrap())
    }

    #[test]
    fn what_the_other_said_stays() {
        let (command, merged) = with(&json!({}));
        assert_eq!(command, None);
        let specific = json!({"hookEventName": "PreToolUse", "additionalContext": "why", "updatedInput": {"command": "new", "timeout": 1e3}});
        assert_eq!(merged, json!({"hookSpecificOutput": specific}));
        let theirs = json!({"systemMessage": "s", "hookSpecificOutput": {"hookEventName": "PreToolUse", "additionalContext": "first",
            "updatedInput": {"command": "rtk ssh n ls", "timeout": 7, "x": 1}}});
        let (command, merged) = with(&theirs);
        assert_eq!(command.as_deref(), Some("rtk ssh n ls"));
        assert_eq!(merged["systemMessage"], "s");
        assert_eq!(merged["hookSpecificOutput"]["updatedInput"], json!({"command": "new", "timeout": 7, "x": 1}));
        assert_eq!(merged["hookSpecificOutput"]["additionalContext"], "first\nwhy");
        for decided in [
            json!({"hookSpecificOutput": {"hookEventName": "PreToolUse", "permissionDecision": "allow"}}),
            json!({"hookSpecificOutput": {"permissionDecision": "ask", "updatedInput": {"command": "a"}}}),
            json!({"decision": "block", "reason": "no"}),
        ] {
            let (_, merged) = with(&decided);
            let of = |value: &Value| value["hookSpecificOutput"]["updatedInput"]["command"].clone();
            assert_eq!(of(&merged), of(&decided), "nothing is changed that another one allowed or forbade");
            assert_eq!(merged["decision"], decided["decision"]);
        }
        let event = read(Agent::Claude, EVENT.as_bytes()).unwrap();
        let silent = Theirs::read("{\"a\": 1e3}").unwrap().with(&event, None).unwrap();
        assert_eq!(silent, "{\"a\":1e3}");
        for none in ["", "banner {}", "{} {}", "[]", "null"] {
            assert!(Theirs::read(none).is_none(), "{none}");
        }
    }
}
