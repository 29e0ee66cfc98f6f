//! A command that ran without the engine and is over, as it is handed in to be kept as a run.

use serde::{Deserialize, Serialize};

use crate::model::api::Submission;
use crate::model::host::HostName;
use crate::model::job::Outcome;
use crate::model::resources::{Grant, Usage};
use crate::model::units::Timestamp;

/// `POST /v1/runs/done`: one command that is over. Answered by [`Submitted`](crate::model::api::Submitted).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DoneRun {
    /// The command as a workflow of one task, and from where it was asked for.
    pub submission: Submission,
    /// Where it ran; none is this machine.
    pub host: Option<HostName>,
    /// What it might use.
    pub grant: Grant,
    /// When it was asked for.
    pub asked: Timestamp,
    /// When it started; none where that is not known.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Timestamp,
    /// How.
    pub outcome: Outcome,
    /// What it used.
    pub usage: Usage,
    /// Bytes of the files that went along.
    pub input: u64,
    /// What happened besides, for people.
    pub notes: Vec<String>,
}
