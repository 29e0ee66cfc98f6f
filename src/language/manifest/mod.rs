//! `workflow.toml`: from text to a checked [`Workflow`], to a [`Plan`], to the command of one attempt.
//!
//! Every function is pure. What lies on disk comes in as [`Facts`]: the caller asks [`wants()`] what expansion needs to know,
//! looks, asks again until nothing is wanted, and calls [`expand()`].
//!
//! ```text
//! text -> statements -> parse -> tree -> check (task, settings, amounts, sweep, when, template) -> Workflow
//! Workflow + params + Facts -> expand (late, rows, fill, outputs, inputs, order) -> Plan -> render -> Rendered
//! ```
//!
//! What the format leaves open is decided here:
//!
//! - A task with `foreach` and `matrix` has an instance for every element and combination, the combinations of one element
//!   next to each other. `include` and `exclude` stand beside `matrix` and mean what they mean for GitHub Actions.
//! - `foreach` is also a list of tables (`{item.column}`), `{ tsv = }`, `{ lines = }` and `{ range = [first, last, step] }`
//!   with both ends included; a matrix key takes `{ range = }` too. In a table with a header, `{item}` is the first column.
//! - A `foreach` glob goes over files that exist and over what other tasks make (see `late`); input globs match both too, but
//!   for what the same task makes. Values that are filled in never act as wildcards.
//! - An input inside a directory that a task makes waits for that task; an input that is a directory waits for all that make
//!   something in it. No output lies inside another.
//! - An instance whose `when` is false makes nothing: another may make the same file.
//! - A table in `resources` is laid over that of `[defaults]`, key by key, and so are `env`, `retry` and flags of batch
//!   systems; an array of tables, and every list, takes the place of the one before.
//! - With `workdir`, `{inputs}` and `{outputs}` are absolute paths. Alone in an element of an argument list they are as many
//!   arguments as there are files. Names that begin with `-` get `./` in front.
//! - How braces are read is said in `template`, how values are quoted in bash in `bash`: where bash has no quoting for a
//!   place (here-documents, backticks, `$'...'`, `${...}`), only values that need none may stand, and in arithmetic only
//!   whole numbers. Nothing is filled in inside comments.

mod amounts;
mod bash;
mod check;
mod contain;
mod draft;
mod elsewhere;
mod expand;
mod explain;
mod fill;
mod glob;
mod inputs;
mod keys;
mod late;
mod names;
mod order;
mod outputs;
mod paths;
mod render;
mod rows;
mod schema;
mod settings;
mod sweep;
mod task;
mod template;
mod templates;
mod values;
mod wants;
mod when;

#[cfg(test)]
mod tests;

pub use check::{read, read_knowing};
pub use contain::{contain, contained, own_file, ready_script, shown, within};
pub use draft::{Origin, Workflow};
pub use elsewhere::{Known, elsewhere, is_here, nowhere};
pub use expand::expand;
pub use explain::{Effective, explain, explain_at};
pub use glob::matcher;
pub use paths::{datasets_in, is_remote, localized};
pub use render::{absolute, render, render_at};
pub use schema::schema;
pub use templates::{Starter, templates};
pub use wants::{missing_input, wants};

use std::collections::BTreeMap;

use crate::model::diagnostic::Diagnostic;
use crate::model::id::{InstanceId, PathId};
use crate::model::job::Invocation;
use crate::model::plan::Plan;

/// What [`expand()`] needs to know of the disk, relative to the workflow's directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// Glob patterns (`foreach` and `inputs`).
    pub globs: Vec<String>,
    /// Files to read (`foreach = { csv = ... }`).
    pub files: Vec<String>,
}

impl Wants {
    /// Returns whether everything is known.
    pub const fn is_empty(&self) -> bool {
        self.globs.is_empty() && self.files.is_empty()
    }
}

/// The answers to [`Wants`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Per pattern: the paths that match, sorted, relative as the pattern is.
    pub globs: BTreeMap<String, Vec<String>>,
    /// Per file: its text, or why it cannot be read.
    pub files: BTreeMap<String, Result<String, String>>,
}

impl Facts {
    /// Adds what was seen since.
    pub fn add(&mut self, more: Self) {
        self.globs.extend(more.globs);
        self.files.extend(more.files);
    }
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
