//! What hooks answer, to the letter of each agent's schema. Nothing here ever allows anything: the `allow` that Codex wants beside
//! a changed command leaves its rules, its sandbox and its questions as they are (tried with the real one).

use serde::Serialize;
use serde_json::value::RawValue;

use crate::language::hook::read::{Event, Fields};
use crate::language::hook::{Agent, Moment};

/// Longest text that agents take.
const LONGEST: usize = 9_000;

/// What there is to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// To the model.
    pub text: String,
    /// The command to run instead.
    pub command: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Specific<'a> {
    hook_event_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    permission_decision: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_input: Option<&'a Fields>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "tool_input")]
    tool_input: Option<&'a Fields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_context: Option<&'a str>,
}

#[derive(Default, Serialize)]
struct Output<'a> {
    #[serde(skip_serializing_if = "Option::is_none", rename = "hookSpecificOutput")]
    specific: Option<Specific<'a>>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "systemMessage")]
    system: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "modifiedArgs")]
    modified: Option<&'a Fields>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "additionalContext")]
    context: Option<&'a str>,
    /// Cursor takes a changed input only with a word on permission; a person is asked then.
    #[serde(skip_serializing_if = "Option::is_none")]
    permission: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_input: Option<&'a Fields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_context: Option<&'a str>,
}

/// Returns the line that answers an event; none where silence is the answer. Cursor takes no silence.
pub fn render(agent: Agent, event: &Event, reply: Option<&Reply>) -> Option<String> {
    let silence = || Some(agent.silence().to_owned()).filter(|line| !line.is_empty());
    let is_before = matches!(event.moment, Moment::Before | Moment::Start);
    let is_heard = is_before || (agent.is_told_after() && matches!(event.moment, Moment::After { .. }));
    let Some(reply) = reply.filter(|_| is_heard) else { return silence() };
    let text = cut(&reply.text);
    // What ran is not changed.
    let changed = reply.command.as_ref().filter(|_| event.takes_changes(agent) && is_before);
    let changed = changed.and_then(|command| with_command(&event.input, command));
    let changed = changed.as_ref();
    let context = (!text.is_empty()).then_some(text);
    let specific = |updated_input: Option<_>, tool_input, additional_context| {
        // Without this word Codex runs what was typed.
        let permission_decision = updated_input.filter(|_| agent == Agent::Codex).map(|_| "allow");
        let name = event.name.as_str();
        Some(Specific { hook_event_name: name, permission_decision, updated_input, tool_input, additional_context })
    };
    let output = match agent {
        Agent::Qwen | Agent::Gemini if !is_before => {
            Output { specific: specific(None, None, Some(context?)), ..Output::default() }
        }
        Agent::Qwen => return None,
        Agent::Claude | Agent::Codex => Output { specific: specific(changed, None, context), ..Output::default() },
        Agent::Gemini => {
            let specific = changed.map(|_| specific(None, changed, None)).unwrap_or_default();
            Output { specific, system: context, ..Output::default() }
        }
        // Under the names that Claude Code has for events it speaks as that does.
        Agent::Copilot if event.name.starts_with(char::is_uppercase) => {
            Output { specific: specific(changed, None, context), ..Output::default() }
        }
        Agent::Copilot => Output { modified: changed, context, ..Output::default() },
        Agent::Cursor if !is_before => {
            // No other event hands something to its model.
            let context = context.filter(|_| event.name == "postToolUse");
            Output { additional_context: context, ..Output::default() }
        }
        Agent::Cursor => Output {
            permission: changed.map(|_| "ask"),
            updated_input: changed,
            agent_message: context.filter(|_| changed.is_some()),
            ..Output::default()
        },
    };
    serde_json::to_string(&output).ok()
}

/// Returns the input with another command, and every other field as it came.
pub(super) fn with_command(input: &Fields, command: &str) -> Option<Fields> {
    let mut fields = input.clone();
    let raw = RawValue::from_string(serde_json::to_string(command).ok()?).ok()?;
    fields.insert("command".to_owned(), raw);
    Some(fields)
}

pub(super) fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
