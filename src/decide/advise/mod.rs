//! A line that a coding agent is about to run, and what csync has to say to it: nothing, advice, or a better line.
//!
//! The line is read by [`shell`](crate::language::shell); every room here looks for one kind of thing in it. What is said names
//! the reason; a line is changed only where the caller asked for that, in named words, and reads as the same commands after.

mod danger;
mod data;
mod directives;
mod facts;
mod heavy;
mod jump;
mod known;
mod login;
mod need;
mod poll;
mod request;
mod search;
mod walk;
mod work;

#[cfg(test)]
mod tests;

pub use facts::{Facts, Found, HostFacts, Learned, PartitionFacts, Replica, Way};
pub use known::{NameFacts, Route, host_facts, names};
pub use need::need;
pub use work::{Work, work_of};

use crate::decide::advise::walk::Line;
use crate::language::shell::{Splice, read, rewrite, unix_lines};

/// Most pieces of advice on one line: more is not read.
const MOST: usize = 4;

/// How far a line may be changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Not at all.
    #[default]
    Advise,
    /// Options may be put in; every command keeps its program.
    Rewrite,
    /// What should be a job may become a submission.
    Submit,
}

/// What a piece of advice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A danger.
    Danger,
    /// Heavy work on a login node.
    LoginNode,
    /// A host behind another.
    Jump,
    /// A request to a batch system.
    Request,
    /// A loop that waits.
    Poll,
    /// Data that lies elsewhere.
    Data,
    /// A search that a faster program does.
    Search,
}

impl Kind {
    /// Every kind, with its word.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Danger, "danger"),
        (Self::LoginNode, "login-node"),
        (Self::Jump, "jump"),
        (Self::Request, "request"),
        (Self::Poll, "poll"),
        (Self::Data, "data"),
        (Self::Search, "search"),
    ];

    /// Returns its word.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}

/// A piece of advice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What it is about.
    pub kind: Kind,
    /// What there is to say: facts, in full sentences.
    pub text: String,
    /// The command that it is about: an index into the line's commands.
    pub command: usize,
    /// The change of the line that heeds it, and from which mode on it may be made.
    pub change: Option<(Mode, Splice)>,
}

/// What there is to say to a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Advice, the gravest first.
    pub advice: Vec<Advice>,
    /// The changes that were made, also those that nothing more is said of.
    pub changes: Vec<Splice>,
    /// The changed line, where the mode allows one.
    pub rewritten: Option<String>,
}

/// Judges a line that is about to run in a directory.
pub fn advise(text: &str, cwd: &str, mode: Mode, facts: &impl Facts) -> Verdict {
    let lines = unix_lines(text);
    let mode = if lines == text { mode } else { Mode::Advise };
    let Some(script) = read(&lines).filter(|script| !(script.commands.is_empty() && script.files.is_empty())) else {
        return Verdict::default();
    };
    let line = Line::new(&script, cwd, facts);
    let mut advice = Vec::new();
    danger::look(&line, facts, &mut advice);
    login::look(&line, facts, &mut advice);
    jump::look(&line, facts, &mut advice);
    request::look(&line, facts, &mut advice);
    poll::look(&line, &mut advice);
    data::look(&line, facts, &mut advice);
    search::look(&line, facts, &mut advice);
    advice.sort_by_key(|piece| piece.kind);
    // What is said twice is changed twice.
    let changes = chosen(&advice, mode);
    advice.dedup_by(|one, other| one.text == other.text);
    advice.truncate(MOST);
    let rewritten = if changes.is_empty() { None } else { rewrite(&script, &changes).ok() };
    Verdict { advice, changes, rewritten }
}

/// Chooses the changes that are made: one for a command, and none to a line with a danger in it, which a person should see as it
/// was.
fn chosen(advice: &[Advice], mode: Mode) -> Vec<Splice> {
    let mut splices: Vec<Splice> = Vec::new();
    if advice.iter().any(|piece| piece.kind == Kind::Danger) {
        return splices;
    }
    for (least, splice) in advice.iter().filter_map(|piece| piece.change.as_ref()) {
        if *least <= mode && !splices.iter().any(|other| other.command == splice.command) {
            splices.push(splice.clone());
        }
    }
    splices
}
