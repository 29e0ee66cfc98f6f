//! A job's life: what is started, how it ends, what is known of it meanwhile.

use serde::{Deserialize, Serialize};

use crate::model::id::JobKey;
use crate::model::plan::Fingerprint;
use crate::model::resources::{Allocation, Grant, Usage};
use crate::model::units::Timestamp;

/// Why an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "class", rename_all = "snake_case")]
pub enum Outcome {
    /// Exit code 0 and every declared output exists.
    Success,
    /// Another exit code; `128 + n` when a signal ended it, as shells say it.
    Exit {
        /// The code.
        code: i32,
        /// The signal, when one ended it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
    },
    /// Over its memory.
    Oom,
    /// Over its walltime.
    Timeout,
    /// The node, or the local worker, died under it.
    NodeFail,
    /// Preempted by the batch system.
    Preempted,
    /// Cancelled by a person or by the run's policy.
    Cancelled,
    /// The executor refused it (more cores than there are, unknown partition).
    Rejected {
        /// The refusal, in the executor's words.
        message: String,
    },
    /// A declared output was not made, or a file could not be moved.
    Stage {
        /// Which, and what happened.
        message: String,
    },
    /// The command could not be started, or was ended by a limit of csync's own.
    Spawn {
        /// Why.
        message: String,
    },
}

impl Outcome {
    /// Returns the name of the class: `success`, `exit`, `oom`, ...
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Exit { .. } => "exit",
            Self::Oom => "oom",
            Self::Timeout => "timeout",
            Self::NodeFail => "node_fail",
            Self::Preempted => "preempted",
            Self::Cancelled => "cancelled",
            Self::Rejected { .. } => "rejected",
            Self::Stage { .. } => "stage",
            Self::Spawn { .. } => "spawn",
        }
    }
}

/// Where a task instance stands, as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits for other instances.
    Pending,
    /// Could run; waits for room, or for the delay of a retry.
    Ready,
    /// Handed to an executor, not started yet.
    Queued,
    /// Running.
    Running,
    /// Succeeded in this run.
    Done,
    /// Was up to date: not run.
    Cached,
    /// Failed for good.
    Failed,
    /// Cancelled.
    Cancelled,
    /// Not run: something that it depends on failed, or its `when` is false.
    Skipped,
    /// No contact with where it runs; fate unknown.
    Lost,
}

impl State {
    /// Returns whether nothing more will happen to it.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Cached | Self::Failed | Self::Cancelled | Self::Skipped)
    }
}

/// What an executor starts: an attempt with everything rendered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Which attempt.
    pub key: JobKey,
    /// What people call the instance; the script's `$0`.
    pub label: String,
    /// What runs.
    pub invocation: Invocation,
    /// Working directory, absolute. Made when it is missing.
    pub workdir: String,
    /// The run's environment, sent to the executor once under this number.
    pub environment: u32,
    /// Variables on top of it.
    pub env: Vec<(String, String)>,
    /// Standard input, absolute.
    pub stdin: Option<String>,
    /// What it may use.
    pub grant: Grant,
    /// Signal and seconds before the walltime's end at which to send it.
    pub checkpoint: Option<(i32, u64)>,
    /// Declared inputs, absolute, each with whether its content is to be hashed (its hash is not known yet).
    pub inputs: Vec<(String, bool)>,
    /// Declared outputs, absolute. Their parent directories are made; old files are removed first.
    pub outputs: Vec<String>,
}

/// A command, rendered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Invocation {
    /// A bash script, strict mode.
    Script(String),
    /// An argument list; never empty.
    Argv(Vec<String>),
}

/// How an attempt ended, in the executor's words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// Which attempt.
    pub key: JobKey,
    /// Why.
    pub outcome: Outcome,
    /// When it was started; none when it never was.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Timestamp,
    /// What it used.
    pub usage: Usage,
    /// Declared inputs as they were at the start, same order; none where one was missing.
    pub inputs: Vec<Option<Fingerprint>>,
    /// Declared outputs as it left them, same order; none where one is missing. Empty unless it succeeded.
    pub outputs: Vec<Option<Fingerprint>>,
    /// What happened besides, for people: "3 processes left behind were ended", "10.2 GiB of output dropped".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Where a batch system ran it, and what it granted it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation: Option<Box<Allocation>>,
}

/// What an executor reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "news", rename_all = "snake_case")]
pub enum News {
    /// An attempt started. Short attempts are reported as ended only.
    Started {
        /// Which attempt.
        key: JobKey,
        /// When.
        at: Timestamp,
    },
    /// An attempt ended.
    Ended(Box<Ended>),
}
