//! Why an instance runs, or does not.

use serde::{Deserialize, Serialize};

use crate::model::id::{InstanceId, PathId, TaskId};
use crate::model::plan::{Plan, spoken};

/// Why an instance runs, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// Up to date.
    Fresh,
    /// It has not succeeded yet in this directory.
    NeverRan,
    /// Its command, settings, row or declared paths changed.
    Definition,
    /// An input changed.
    Input(PathId),
    /// An output is missing.
    OutputMissing(PathId),
    /// An output was changed by something else.
    OutputChanged(PathId),
    /// `--rerun`.
    Forced,
    /// `cache = false`.
    NotCached,
    /// An instance whose files it reads runs first.
    Upstream(InstanceId),
    /// A task that it needs runs first.
    Needs(TaskId),
    /// `when` is false.
    When,
    /// `--only` leaves it out.
    Only,
    /// An input is missing, and what would make it is left out by `when`.
    Absent(PathId),
    /// It ran in a sandbox, without the engine, and was over when it was kept.
    Sandboxed,
}

impl Reason {
    /// Returns the reason as a lower-case fragment.
    pub fn sentence(self, plan: &Plan) -> String {
        match self {
            Self::Fresh => "up to date".to_owned(),
            Self::NeverRan => "it has not run here yet".to_owned(),
            Self::Definition => "its definition changed".to_owned(),
            Self::Input(path) => format!("input `{}` changed", spoken(plan.path(path))),
            Self::OutputMissing(path) => format!("output `{}` is missing", spoken(plan.path(path))),
            Self::OutputChanged(path) => format!("output `{}` was changed by something else", spoken(plan.path(path))),
            Self::Forced => "asked for by --rerun".to_owned(),
            Self::NotCached => "`cache = false`: it always runs".to_owned(),
            Self::Upstream(instance) => format!("`{}` runs first", plan.label(instance)),
            Self::Needs(task) => format!("`{}`, which it needs, runs first", plan.task(task).name),
            Self::When => "its `when` is false".to_owned(),
            Self::Only => "left out by --only".to_owned(),
            Self::Absent(path) => {
                format!("input `{}` is missing, and what would make it is left out by `when`", spoken(plan.path(path)))
            }
            Self::Sandboxed => "it ran in a sandbox (`csync run --image`)".to_owned(),
        }
    }
}
