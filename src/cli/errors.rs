//! From any error to one message (what happened, why, the command that helps) and one exit code.

use std::fmt;
use std::io;
use std::process::ExitCode;

use serde_json::json;

use crate::model::api::{ApiError, ErrorKind};
use crate::model::diagnostic::{Diagnostic, Severity};
use crate::reach::client::ClientError;
use crate::reach::config::StateDirError;

/// What csync exits with. `csync help exit-codes` prints this table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0.
    Success,
    /// 1.
    RunFailed,
    /// 2.
    Usage,
    /// 3.
    NotFound,
    /// 4.
    Conflict,
    /// 5.
    Storage,
    /// 6.
    Version,
    /// 70.
    Internal,
    /// 124.
    TimedOut,
    /// 130.
    Interrupted,
    /// What the command of `csync run` exited with.
    Command(u8),
}

impl Exit {
    /// Every code that csync itself gives.
    pub const ALL: [Self; 10] = [
        Self::Success,
        Self::RunFailed,
        Self::Usage,
        Self::NotFound,
        Self::Conflict,
        Self::Storage,
        Self::Version,
        Self::Internal,
        Self::TimedOut,
        Self::Interrupted,
    ];

    /// Returns the number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::RunFailed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Conflict => 4,
            Self::Storage => 5,
            Self::Version => 6,
            Self::Internal => 70,
            Self::TimedOut => 124,
            Self::Interrupted => 130,
            Self::Command(code) => code,
        }
    }

    /// Returns what it means.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::RunFailed => "the run failed; of `csync doctor`: something is in the way of running workflows",
            Self::Usage => "wrong usage or bad input: the command line or a workflow has mistakes",
            Self::NotFound => "no such run, task or file",
            Self::Conflict => {
                "something else is in the way: another run in the directory, a run that is over, a busy engine"
            }
            Self::Storage => "the state directory, its database or the disk refuses",
            Self::Version => "csync and the running engine are of different versions",
            Self::Internal => "a mistake in csync",
            Self::TimedOut => "`csync wait --timeout` passed",
            Self::Interrupted => "interrupted, or the run was cancelled",
            Self::Command(_) => "the command's own",
        }
    }

    /// Returns it as the process' exit code.
    pub fn code(self) -> ExitCode {
        ExitCode::from(self.number())
    }
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Invalid => Self::Usage,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Conflict => Self::Conflict,
            ErrorKind::Storage => Self::Storage,
            ErrorKind::Version => Self::Version,
            ErrorKind::Internal => Self::Internal,
        }
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// Whoever read our output has gone: nothing to say, and no failure.
    ClosedPipe,
    /// Anything else.
    Told(Box<Told>),
}

/// A failure in words.
#[derive(Debug)]
pub struct Told {
    /// For programs; decides the exit code.
    pub kind: ErrorKind,
    /// Another exit code than the kind's.
    pub exit: Option<Exit>,
    /// What happened: a lower-case fragment.
    pub message: String,
    /// Why, from the nearest cause to the farthest.
    pub causes: Vec<String>,
    /// What helps, a sentence or two with the command in backticks.
    pub hint: Option<String>,
    /// Mistakes in a file.
    pub diagnostics: Vec<Diagnostic>,
    /// The file that `diagnostics` speak of: its name and text.
    pub source: Option<Source>,
}

/// A text with the name under which people know it.
#[derive(Clone, Debug)]
pub struct Source {
    /// A path, or `<stdin>`.
    pub name: String,
    /// Its content.
    pub text: String,
}

impl Failure {
    /// Makes a failure of a kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Told(Box::new(Told {
            kind,
            exit: None,
            message: message.into(),
            causes: Vec::new(),
            hint: None,
            diagnostics: Vec::new(),
            source: None,
        }))
    }

    /// Makes a failure for what the person wrote.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Makes a failure for a mistake of csync's own.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Makes a failure for what the person broke off.
    pub fn interrupted(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message).exiting(Exit::Interrupted)
    }

    /// Gives it another exit code than its kind's.
    #[must_use]
    pub fn exiting(mut self, exit: Exit) -> Self {
        if let Self::Told(told) = &mut self {
            told.exit = Some(exit);
        }
        self
    }

    /// Makes a failure for mistakes in a file.
    pub fn mistakes(diagnostics: Vec<Diagnostic>, source: Source) -> Self {
        let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
        let what = if errors == 1 { "a mistake".to_owned() } else { format!("{errors} mistakes") };
        let mut failure = Self::usage(format!("{} has {what}", source.name));
        if let Self::Told(told) = &mut failure {
            told.diagnostics = diagnostics;
            told.source = Some(source);
        }
        failure
    }

    /// Adds the command that helps.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Told(told) = &mut self {
            told.hint = Some(hint.into());
        }
        self
    }

    /// Adds why it happened: an error and what lies beneath it.
    #[must_use]
    pub fn because(mut self, error: &(dyn std::error::Error + 'static)) -> Self {
        if let Self::Told(told) = &mut self {
            let mut next = Some(error);
            while let Some(cause) = next {
                told.causes.push(cause.to_string());
                next = cause.source();
            }
        }
        self
    }

    /// Adds the text that the diagnostics speak of.
    #[must_use]
    pub fn with_source(mut self, source: impl FnOnce() -> Source) -> Self {
        if let Self::Told(told) = &mut self
            && !told.diagnostics.is_empty()
        {
            told.source = Some(source());
        }
        self
    }

    /// Returns what it exits with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::ClosedPipe => Exit::Success,
            Self::Told(told) => told.exit.unwrap_or_else(|| told.kind.into()),
        }
    }

    /// Returns it as programs see it: the value of `error`.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::ClosedPipe => serde_json::Value::Null,
            Self::Told(told) => json!({
                "kind": told.kind,
                "message": told.message,
                "causes": told.causes,
                "hint": told.hint,
                "diagnostics": told.diagnostics,
                "exit_code": self.exit().number(),
            }),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClosedPipe => f.write_str("the output was closed"),
            Self::Told(told) => f.write_str(&told.message),
        }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Told(Box::new(Told {
            kind: error.kind,
            exit: None,
            message: error.message,
            causes: Vec::new(),
            hint: error.hint,
            diagnostics: error.diagnostics,
            source: None,
        }))
    }
}

impl From<StateDirError> for Failure {
    fn from(error: StateDirError) -> Self {
        let hint = match error {
            StateDirError::NoHome => "set CSYNC_STATE to a directory of your own: `export CSYNC_STATE=/path/to/it`",
            StateDirError::Unusable { .. } => {
                "`csync doctor` looks into it; `CSYNC_STATE=/another/directory` uses another one"
            }
        };
        Self::new(ErrorKind::Storage, error.to_string()).because_of_source(&error).hint(hint)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let (kind, hint) = match error {
            ClientError::Refused(error) => return error.into(),
            ClientError::StateDir(error) => return error.into(),
            ClientError::NoEngine | ClientError::Broken(_) => (
                ErrorKind::Conflict,
                "run the command again: it starts an engine, which goes on where the last one was",
            ),
            ClientError::Socket { .. } | ClientError::Start(_) | ClientError::Died { .. } => {
                (ErrorKind::Storage, "`csync doctor` looks into it")
            }
            ClientError::Foreign { .. } => {
                (ErrorKind::Storage, "use a directory of your own: `export CSYNC_STATE=/path/to/it`")
            }
            ClientError::Silent(_) | ClientError::Stays { .. } => {
                (ErrorKind::Conflict, "`csync doctor` says which process it is and where its log lies")
            }
            ClientError::Garbled { .. } => (ErrorKind::Version, "`csync engine restart` starts one of this version"),
            ClientError::Skew { .. } => {
                (ErrorKind::Version, "`csync engine restart` starts one of this version; what runs goes on running")
            }
        };
        let failure = Self::new(kind, error.to_string()).because_of_source(&error).hint(hint);
        match error {
            ClientError::Skew { live_runs, .. } => {
                failure.why(format!("it is busy: {live_runs} of its runs are not over"))
            }
            _ => failure,
        }
    }
}

impl Failure {
    /// Adds what lies beneath an error, whose own words are the message already.
    #[must_use]
    pub fn because_of_source(self, error: &(dyn std::error::Error + 'static)) -> Self {
        match error.source() {
            Some(source) => self.because(source),
            None => self,
        }
    }

    /// Adds a reason in words.
    #[must_use]
    pub fn why(mut self, reason: impl Into<String>) -> Self {
        if let Self::Told(told) = &mut self {
            told.causes.push(reason.into());
        }
        self
    }

    /// Makes a failure of writing to standard output.
    pub fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::ClosedPipe;
        }
        Self::new(ErrorKind::Storage, "standard output cannot be written").because(error)
    }
}
