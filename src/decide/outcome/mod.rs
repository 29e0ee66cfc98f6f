//! Why an attempt on a host ended, judged from all witnesses together: the wrapper's own record, the queue, the history.
//!
//! The rules are a table ([`RULES`](rules::RULES)), tried in order; each is tested by rows of its own. What they rest on:
//!
//! - The wrapper's record is the first witness. What ended by itself, with nothing sent to it from outside, is judged at once;
//!   where a signal came first, or a process was killed, the batch system knows why.
//! - A queue that does not know a job says that it does not run, not that it ended well. A witness that could not be asked says
//!   nothing.
//! - Records of batch systems come late: `qacct` by 15 s, `sacct` by some seconds, files on network filesystems by more. Until
//!   [`Patience`] is spent, what is missing is asked for again.
//! - What nobody knows is lost, which is a state and not a failure. It is never guessed.

mod rules;

#[cfg(test)]
mod tests;

use crate::language::batch::wrapper::Ended;
use crate::model::batch::{Answer, Ending, EndingClass, QueueState, Queued};
use crate::model::job::Outcome;
use crate::model::units::{Bytes, Walltime};

/// What the wrapper's record says.
#[derive(Clone, Copy, Debug)]
pub enum Own<'a> {
    /// There is none: it has not started, or its directory is gone.
    Missing,
    /// It started.
    Started,
    /// It ended.
    Ended(&'a Ended),
    /// The host could not be asked.
    Unknown,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Memory of the whole member, where going over it ends the attempt.
    pub mem: Option<Bytes>,
    /// Walltime.
    pub time: Option<Walltime>,
}

/// Whether csync itself cancelled it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cancel {
    /// No.
    #[default]
    No,
    /// Yes, before this was asked.
    Asked,
}

/// Whether a witness that knows nothing yet is asked again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Patience {
    /// It may know more in a while.
    #[default]
    Left,
    /// It had time enough since the queue forgot the job, and answered meanwhile (or there is none).
    Spent,
}

/// What the batch system itself wrote into the job's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Log {
    /// There is no batch system.
    #[default]
    None,
    /// It was not read yet.
    Unread,
    /// It was read; of an end it said this, or nothing.
    Read(Option<EndingClass>),
}

/// How jobs come to the queue that they run from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Routing {
    /// They are submitted to it.
    #[default]
    Direct,
    /// Others hand them on: one that no queue takes vanishes.
    HandedOn,
}

/// What a history that is kept has said, of a job that it does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hearing {
    /// Nothing: it could not be asked.
    #[default]
    Silent,
    /// That it does not know it; it may be behind.
    Told,
    /// The same for longer than any of them is behind.
    ToldLong,
}

/// All that is known of one member.
#[derive(Clone, Debug)]
pub struct Evidence<'a> {
    /// The wrapper's record.
    pub own: Own<'a>,
    /// The queue's line.
    pub queue: Answer<&'a Queued>,
    /// The history's ending; [`Answer::Unknown`] where the site keeps none.
    pub history: Answer<&'a Ending>,
    /// What the batch system wrote into the job's log.
    pub log: Log,
    /// What was asked for.
    pub asked: Asked,
    /// Whether csync cancelled it.
    pub cancel: Cancel,
    /// Whether to ask again.
    pub patience: Patience,
    /// How jobs come to the queue that they run from.
    pub routing: Routing,
    /// What the history has said.
    pub hearing: Hearing,
}

/// What follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is not over.
    Live(QueueState),
    /// It is over.
    Over {
        /// Why.
        outcome: Outcome,
        /// What people should know besides.
        note: Option<String>,
    },
    /// It will never run, or goes no further: to be cancelled, and over so.
    Remove {
        /// Why.
        outcome: Outcome,
    },
    /// Not known yet: ask again.
    AskAgain,
    /// Nobody could be asked: it may be in any state.
    Unreached(String),
    /// Everybody was asked and nobody knows.
    Lost(String),
}

/// A verdict, and the rule that it follows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// The rule's name, for explanations.
    pub rule: &'static str,
}

/// Judges a member: the first rule that applies decides.
pub fn judge(evidence: &Evidence<'_>) -> Judgement {
    let case = rules::Case::of(evidence);
    let found = rules::RULES.iter().find_map(|rule| Some((rule.name, (rule.verdict)(&case)?)));
    let (rule, verdict) = found.unwrap_or_else(|| ("nobody knows", rules::nobody_knows(&case)));
    Judgement { verdict, rule }
}
