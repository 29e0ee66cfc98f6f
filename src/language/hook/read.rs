//! What agents tell hooks.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::language::hook::Agent;

/// The fields of a tool's input, each as it was written.
pub(super) type Fields = BTreeMap<String, Box<RawValue>>;

/// When a hook is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before a tool runs.
    Before,
    /// After it ran: whether that went well.
    After {
        /// Exit code 0, as far as the agent says.
        well: bool,
        /// It goes on in the background, or somebody ended it: nothing is known of its own end.
        unknown: bool,
    },
    /// A session begins.
    Start,
    /// A session ends.
    End,
    /// Something else.
    Other,
}

/// What a hook is called with.
#[derive(Clone, Debug)]
pub struct Event {
    /// When.
    pub moment: Moment,
    /// The event's name, as the agent spells it.
    pub name: String,
    /// The shell command; none where the tool is not the shell.
    pub command: Option<String>,
    /// The session's directory.
    pub cwd: String,
    /// The session.
    pub session: String,
    /// The call of the tool.
    pub call: String,
    /// How long it took, in milliseconds.
    pub took: Option<f64>,
    /// The exit code of a command that failed, where the agent says it.
    pub code: Option<i32>,
    pub(super) input: Fields,
}

/// Every field of every agent that matters.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wire {
    hook_event_name: Option<String>,
    #[serde(rename = "hookEventName")]
    event_name: Option<String>,
    tool_name: Option<String>,
    #[serde(rename = "toolName")]
    name_of_tool: Option<String>,
    tool_input: Option<Box<RawValue>>,
    /// Copilot: JSON in a string.
    #[serde(rename = "toolArgs")]
    tool_args: Option<Box<RawValue>>,
    /// Cursor's shell events.
    command: Option<String>,
    cwd: Option<String>,
    /// Cursor: what is open there.
    workspace_roots: Option<Vec<String>>,
    session_id: Option<String>,
    #[serde(rename = "sessionId")]
    id_of_session: Option<String>,
    /// Cursor sends it beside the others.
    conversation_id: Option<String>,
    tool_use_id: Option<String>,
    #[serde(rename = "toolUseId")]
    id_of_use: Option<String>,
    /// Cursor: one for all that follows a prompt.
    generation_id: Option<String>,
    tool_response: Option<Box<RawValue>>,
    /// Cursor: JSON in a string.
    tool_output: Option<Box<RawValue>>,
    /// Copilot: its events do not say which they are, but only one has a result.
    #[serde(rename = "toolResult")]
    tool_result: Option<CopilotResult>,
    error: Option<String>,
    /// Cursor: `timeout`, `error` or `permission_denied`.
    failure_type: Option<String>,
    is_interrupt: Option<bool>,
    duration_ms: Option<f64>,
    /// Cursor: in milliseconds too.
    duration: Option<f64>,
}

/// What Cursor says of a command that ran.
#[derive(Default, Deserialize)]
#[serde(default)]
struct CursorOutput {
    #[serde(rename = "exitCode")]
    exit_code: Option<i32>,
}

#[derive(Deserialize)]
struct CopilotResult {
    #[serde(default, rename = "resultType")]
    result_type: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Response {
    background_task_id: Option<serde::de::IgnoredAny>,
    timed_out_after_ms: Option<serde::de::IgnoredAny>,
    interrupted: Option<bool>,
}

/// Finds where the first JSON value of a stream ends: nobody has to end the stream.
#[derive(Clone, Debug, Default)]
pub struct Scanner {
    depth: u32,
    quoted: bool,
    escaped: bool,
    passed: usize,
}

impl Scanner {
    /// Looks at the bytes that came; returns where the value ends in the whole stream, when it does.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        for byte in bytes {
            self.passed += 1;
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.quoted => self.escaped = true,
                b'"' => self.quoted = !self.quoted,
                _ if self.quoted => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(self.passed);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

/// Reads what an agent says. None for anything else than an object of its own.
pub fn read(agent: Agent, bytes: &[u8]) -> Option<Event> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let end = Scanner::default().feed(bytes).filter(|_| bytes.trim_ascii_start().starts_with(b"{"))?;
    let mut wire: Wire = serde_json::from_slice(bytes.get(..end)?).ok()?;
    wire.hook_event_name = wire.hook_event_name.or(wire.event_name.take());
    wire.tool_name = wire.tool_name.or(wire.name_of_tool.take());
    let unnamed = match (&wire.tool_name, &wire.tool_result) {
        (Some(_), None) => "preToolUse",
        (Some(_), Some(_)) => "postToolUse",
        (None, _) => "",
    };
    let name = wire.hook_event_name.clone().unwrap_or_else(|| unnamed.to_owned());
    let input = input(&wire).unwrap_or_default();
    let is_shell = wire.tool_name.as_deref().map_or(wire.command.is_some(), |tool| shell_tool(agent, tool));
    let command = input.get("command").and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    let command = command.or_else(|| wire.command.clone()).filter(|_| is_shell);
    // Its shell begins where the call says, and what it says itself may be empty.
    let own_cwd = || {
        let said = input.get("working_directory").and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
        let roots = wire.workspace_roots.iter().flatten().cloned();
        said.into_iter().chain(wire.cwd.clone()).chain(roots).find(|dir| dir.starts_with('/'))
    };
    let cwd = if agent == Agent::Cursor { own_cwd() } else { wire.cwd.clone() };
    let ended = ended(&wire);
    let session = wire.session_id.as_ref().or(wire.id_of_session.as_ref()).or(wire.conversation_id.as_ref());
    let call = wire.tool_use_id.as_ref().or(wire.id_of_use.as_ref()).or(wire.generation_id.as_ref());
    Some(Event {
        moment: moment(&name, &wire, ended),
        command,
        cwd: cwd.unwrap_or_default(),
        session: session.cloned().unwrap_or_default(),
        call: call.cloned().unwrap_or_default(),
        took: wire.duration_ms.or(wire.duration.filter(|_| agent == Agent::Cursor)),
        code: wire.error.as_deref().and_then(exit_code).or(ended.filter(|code| *code != 0)),
        input,
        name,
    })
}

/// Returns the exit code that Cursor says.
fn ended(wire: &Wire) -> Option<i32> {
    let output = wire.tool_output.as_ref()?.get();
    let inner: Option<String> = serde_json::from_str(output).ok();
    serde_json::from_str::<CursorOutput>(inner.as_deref().unwrap_or(output)).ok()?.exit_code
}

impl Event {
    /// Returns whether a changed command can be handed back now, without granting anything.
    pub fn takes_changes(&self, agent: Agent) -> bool {
        agent.takes_changes() && !(agent == Agent::Cursor && self.name == "beforeShellExecution")
    }
}

/// Returns what an agent sends of a command that it is about to run, or that ran.
pub fn sent(agent: Agent, ran: bool, command: &str, cwd: &str) -> String {
    let (before, after, tool) = match agent {
        Agent::Claude | Agent::Codex => ("PreToolUse", "PostToolUse", "Bash"),
        Agent::Qwen => ("PreToolUse", "PostToolUse", "run_shell_command"),
        Agent::Gemini => ("BeforeTool", "AfterTool", "run_shell_command"),
        Agent::Cursor => ("preToolUse", "postToolUse", "Shell"),
        Agent::Copilot => {
            let arguments = json!({ "command": command }).to_string();
            let mut event = json!({ "cwd": cwd, "toolName": "bash", "toolArgs": arguments });
            if ran {
                event["toolResult"] = json!({ "resultType": "success" });
            }
            return event.to_string();
        }
    };
    let name = if ran { after } else { before };
    json!({ "hook_event_name": name, "tool_name": tool, "tool_input": { "command": command }, "cwd": cwd }).to_string()
}

fn input(wire: &Wire) -> Option<Fields> {
    if let Some(input) = &wire.tool_input {
        return serde_json::from_str(input.get()).ok();
    }
    let arguments = wire.tool_args.as_ref()?.get();
    let inner: Option<String> = serde_json::from_str(arguments).ok();
    serde_json::from_str(inner.as_deref().unwrap_or(arguments)).ok()
}

fn shell_tool(agent: Agent, tool: &str) -> bool {
    match agent {
        Agent::Claude | Agent::Codex => tool == "Bash",
        Agent::Qwen => matches!(tool, "Bash" | "run_shell_command" | "Shell"),
        Agent::Gemini => tool == "run_shell_command",
        // The last one is what its editor has.
        Agent::Copilot => matches!(tool, "bash" | "Bash" | "run_in_terminal"),
        Agent::Cursor => tool == "Shell",
    }
}

/// Reads `Exit code 2` off the first line of a complaint.
fn exit_code(error: &str) -> Option<i32> {
    error.lines().next()?.trim().strip_prefix("Exit code ")?.parse().ok()
}

fn moment(name: &str, wire: &Wire, ended: Option<i32>) -> Moment {
    let response: Response =
        wire.tool_response.as_ref().and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    let unknown = response.background_task_id.is_some()
        || response.timed_out_after_ms.is_some()
        || response.interrupted == Some(true)
        || wire.is_interrupt == Some(true)
        || wire.failure_type.as_deref().is_some_and(|kind| kind != "error");
    match name {
        "PreToolUse" | "preToolUse" | "BeforeTool" | "beforeShellExecution" => Moment::Before,
        "PostToolUse" | "postToolUse" | "AfterTool" | "afterShellExecution" => {
            let failed = wire.tool_result.as_ref().is_some_and(|result| result.result_type != "success");
            Moment::After { well: wire.error.is_none() && !failed && ended.is_none_or(|code| code == 0), unknown }
        }
        "PostToolUseFailure" | "postToolUseFailure" => Moment::After { well: false, unknown },
        "SessionStart" | "sessionStart" => Moment::Start,
        "SessionEnd" | "sessionEnd" => Moment::End,
        _ => Moment::Other,
    }
}
