//! `workflow.toml`: from text to a checked [`Workflow`], to a [`Plan`], to the command of one attempt.
//!
//! Every function is pure. What lies on disk comes in as [`Facts`]: the caller asks [`wants`] what expansion needs to know,
//! looks, and calls [`expand`].

use std::collections::BTreeMap;

use crate::model::diagnostic::{Diagnostic, Span};
use crate::model::id::{InstanceId, PathId};
use crate::model::job::Invocation;
use crate::model::plan::Plan;
use crate::model::resources::Grant;

/// A workflow file, parsed and checked as far as that is possible without looking at disk.
#[derive(Clone, Debug, Default)]
pub struct Workflow {}

/// What [`expand`] needs to know of the disk, relative to the workflow's directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Glob patterns (`foreach` and `inputs`).
    pub globs: Vec<String>,
    /// Files to read (`foreach = { csv = ... }`).
    pub files: Vec<String>,
}

/// The answers to [`Wants`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Per pattern: the paths that match, sorted, relative as the pattern is.
    pub globs: BTreeMap<String, Vec<String>>,
    /// Per file: its text, or why it cannot be read.
    pub files: BTreeMap<String, Result<String, String>>,
}

/// Bounds on expansion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most instances of a workflow; a `matrix` that explodes is refused with its size.
    pub instances: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { instances: 2_000_000 }
    }
}

/// A workflow expanded.
#[derive(Clone, Debug, Default)]
pub struct Expanded {
    /// The plan.
    pub plan: Plan,
    /// Instances whose `when` is false.
    pub left: Vec<InstanceId>,
    /// Paths that some instance reads and none makes: they must exist.
    pub external: Vec<PathId>,
    /// Warnings.
    pub warnings: Vec<Diagnostic>,
}

/// A command ready for an executor, from one instance and what its attempt was granted. Paths are absolute.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// What runs; `setup`, `modules` and `conda` are in it.
    pub invocation: Invocation,
    /// Working directory.
    pub workdir: String,
    /// Variables on top of the submitter's environment.
    pub env: Vec<(String, String)>,
    /// Standard input.
    pub stdin: Option<String>,
}

/// Reads and checks a workflow file. Returns what could be read, and every mistake found; errors among them refuse the file.
pub fn read(_text: &str) -> (Workflow, Vec<Diagnostic>) {
    (Workflow::default(), Vec::new())
}

/// Returns what [`expand`] needs to know of the disk.
pub fn wants(_workflow: &Workflow, _params: &BTreeMap<String, String>) -> Result<Wants, Vec<Diagnostic>> {
    Ok(Wants::default())
}

/// Expands a workflow into instances in the directory `root` (absolute).
///
/// # Errors
/// Every mistake that shows only now: unknown parameters, two producers of one file, cycles, too many instances.
pub fn expand(
    _workflow: &Workflow,
    _root: &str,
    _params: &BTreeMap<String, String>,
    _facts: &Facts,
    _limits: Limits,
) -> Result<Expanded, Vec<Diagnostic>> {
    Ok(Expanded::default())
}

/// Returns the mistake "this input does not exist and no task makes it", with its place.
pub fn missing_input(_workflow: &Workflow, plan: &Plan, path: PathId) -> Diagnostic {
    Diagnostic::error(Span::default(), format!("input `{}` does not exist", plan.path(path)))
}

/// Renders the command of one attempt. A value that cannot be quoted where it stands was refused by [`expand`].
pub fn render(plan: &Plan, _instance: InstanceId, _grant: &Grant, _attempt: u32) -> Rendered {
    Rendered { invocation: Invocation::Script(String::new()), workdir: plan.root.clone(), env: Vec::new(), stdin: None }
}
