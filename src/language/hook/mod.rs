//! The wire of each coding agent's hooks, in and out, and the rules that people wrote about what may run.
//!
//! What comes in is read tolerantly: unknown events and fields are passed over. What goes out is exactly what each agent's own
//! schema knows: one of them refuses a whole reply for one field too many.

mod chain;
mod read;
mod render;
mod rules;
pub mod settings;

#[cfg(test)]
mod tests;

pub use chain::Theirs;
pub use read::{Event, Moment, Scanner, read, sent};
pub use render::{Reply, render};
pub use rules::{Rules, Started, from_arguments};

/// The variable by which csync itself marks what an agent runs.
pub const AGENT_MARK: &str = "CSYNC_AGENT";

/// Variables by which agents mark the commands that they run, and who does.
const MARKS: [(&str, &str); 8] = [
    ("CLAUDECODE", "Claude Code"),
    ("CODEX_SANDBOX", "Codex"),
    ("CODEX_THREAD_ID", "Codex"),
    ("QWEN_CODE", "Qwen Code"),
    ("GEMINI_CLI", "Gemini CLI"),
    ("COPILOT_CLI", "Copilot CLI"),
    ("CURSOR_AGENT", "Cursor"),
    (AGENT_MARK, "a coding agent"),
];

/// Returns the coding agent in whose environment a process runs.
pub fn agent_of<V: AsRef<str>>(mut var: impl FnMut(&str) -> Option<V>) -> Option<&'static str> {
    MARKS
        .iter()
        .find(|(name, _)| var(name).is_some_and(|value| !matches!(value.as_ref(), "" | "0")))
        .map(|(_, agent)| *agent)
}

/// A coding agent whose hooks csync speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    /// Claude Code.
    Claude,
    /// Codex CLI.
    Codex,
    /// Qwen Code.
    Qwen,
    /// Gemini CLI.
    Gemini,
    /// Copilot CLI.
    Copilot,
    /// Cursor.
    Cursor,
}

impl Agent {
    /// Every agent, with its word on the command line.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Claude, "claude"),
        (Self::Codex, "codex"),
        (Self::Qwen, "qwen"),
        (Self::Gemini, "gemini"),
        (Self::Copilot, "copilot"),
        (Self::Cursor, "cursor"),
    ];

    /// Finds an agent by its word.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, word)| *word == name).map(|(agent, _)| *agent)
    }

    /// Returns its word on the command line.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(agent, _)| *agent == self).map_or("", |(_, name)| name)
    }

    /// Returns whether a changed command can be handed back without granting anything. Qwen Code takes none.
    pub const fn takes_changes(self) -> bool {
        !matches!(self, Self::Qwen)
    }

    /// Returns whether the model is told something only together with a command's result; what is said before it runs goes to
    /// the person, or nowhere.
    pub const fn is_told_after(self) -> bool {
        matches!(self, Self::Qwen | Self::Gemini | Self::Cursor)
    }

    /// Returns what it is answered where there is nothing to say: Cursor takes no silence.
    pub const fn silence(self) -> &'static str {
        if matches!(self, Self::Cursor) { "{}" } else { "" }
    }
}
