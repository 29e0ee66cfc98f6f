//! A task as written in the workflow, checked and compiled: what every instance of it shares.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::id::TaskId;
use crate::model::resources::Request;

/// How a command is started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// `run = "..."`: a bash script in strict mode (`bash -euo pipefail -c`).
    Shell(Template),
    /// `run = [...]`: an argument list, no shell.
    Argv(Vec<Template>),
}

/// Text with holes that are filled for every attempt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// Literal text and holes, in order.
    pub parts: Vec<Part>,
}

/// One part of a [`Template`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Part {
    /// Literal text.
    Text(String),
    /// A placeholder, and how its value is quoted where it stands.
    Hole(Hole, Quote),
}

/// What a placeholder stands for. Parameters are constants of a run and are filled in at expansion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hole {
    /// `{name}`: the task's name.
    Name,
    /// `{item}`, `{item.column}`, `{matrix.key}`: a column of the instance's row (index into [`Task::columns`]).
    Column(u32, PathPart),
    /// `{inputs}` (all, separated by blanks) or `{inputs[i]}`.
    Inputs(Option<u32>, PathPart),
    /// `{outputs}` or `{outputs[i]}`.
    Outputs(Option<u32>, PathPart),
    /// `{cpus}`: cores granted for this attempt.
    Cpus,
    /// `{mem_mb}`: MiB granted, rounded down.
    MemMb,
    /// `{mem_gb}`: GiB granted, rounded down, at least 1.
    MemGb,
    /// `{mem_bytes}`: bytes granted.
    MemBytes,
    /// `{gpus}`: GPUs granted.
    Gpus,
    /// `{time_s}`: walltime granted in seconds; 0 when unlimited.
    TimeS,
    /// `{attempt}`: the attempt, from 1.
    Attempt,
}

/// The part of a path that a placeholder takes: `{item.stem}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PathPart {
    /// All of it.
    #[default]
    Whole,
    /// `.name`: the last component.
    Name,
    /// `.stem`: the last component without its extensions (`reads/A_R1.fastq.gz` -> `A_R1`); a leading dot does not start one.
    Stem,
    /// `.dir`: everything before the last component; `.` when there is nothing.
    Dir,
    /// `.ext`: what follows the last dot of the last component.
    Ext,
}

/// Where a hole stands in a shell command, hence how its value must be quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Quote {
    /// Not in a shell (argument lists, paths, environment values): as it is.
    Raw,
    /// Outside quotes: quoted as one word (a list: one word each).
    Bare,
    /// Inside `'...'`.
    Single,
    /// Inside `"..."`.
    Double,
}

/// What a failed instance does to the rest of its run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// Run what does not depend on it.
    #[default]
    Finish,
    /// Start nothing more; what runs may end.
    Stop,
    /// Go on as if it had succeeded.
    Ignore,
}

/// A failure that a retry may answer: `oom`, `timeout`, `node_fail`, `preempted`, `stage`, `spawn`, `exit:75`, `exit` (any code).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetryOn {
    /// Out of memory.
    Oom,
    /// Over its walltime.
    Timeout,
    /// The node (or the local worker) died.
    NodeFail,
    /// Preempted by the batch system.
    Preempted,
    /// A declared output was missing, or files could not be moved.
    Stage,
    /// The command could not be started.
    Spawn,
    /// This exit code, or any code but 0.
    Exit(Option<i32>),
}

/// When and how a failed attempt is followed by another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts after the first.
    pub max: u32,
    /// Which failures are retried.
    pub on: Vec<RetryOn>,
    /// Factor on memory after `oom`.
    pub mem: f64,
    /// Factor on walltime after `timeout`.
    pub time: f64,
    /// Seconds before the first retry.
    pub delay: f64,
    /// Factor on the delay for each further retry.
    pub factor: f64,
    /// Upper bound of the delay, seconds.
    pub max_delay: f64,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max: 0,
            on: vec![RetryOn::Oom, RetryOn::Timeout, RetryOn::NodeFail, RetryOn::Preempted],
            mem: 2.0,
            time: 1.5,
            delay: 0.0,
            factor: 2.0,
            max_delay: 1800.0,
        }
    }
}

/// A task, checked and compiled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its name in the workflow.
    pub name: String,
    /// What runs.
    pub command: Command,
    /// Alternatives, first preference first; never empty.
    pub resources: Vec<Request>,
    /// Retries.
    pub retry: Retry,
    /// What its failure does.
    pub on_error: OnError,
    /// Whether an instance that is up to date is not run again.
    pub cache: bool,
    /// Environment on top of the submitter's.
    pub env: BTreeMap<String, Template>,
    /// Working directory, relative to the workflow's directory; the workflow's directory itself when none.
    pub workdir: Option<Template>,
    /// Standard input, relative to the workflow's directory; `/dev/null` when none.
    pub stdin: Option<Template>,
    /// Shell lines before the command.
    pub setup: Vec<String>,
    /// Environment modules to load.
    pub modules: Vec<String>,
    /// Conda environment.
    pub conda: Option<String>,
    /// Container image.
    pub container: Option<String>,
    /// Extra binds of the container.
    pub binds: Vec<String>,
    /// Names of secrets handed over in the environment.
    pub secrets: Vec<String>,
    /// Higher runs first.
    pub priority: i32,
    /// Free words.
    pub tags: Vec<String>,
    /// Most instances in flight at once.
    pub max_parallel: Option<u32>,
    /// Where it may run, first preference first; `any` when empty.
    pub on: Vec<String>,
    /// Batch keys: `account`, `partition`, `qos`, `constraint`, and raw flags as `slurm.NAME`, `pbs.NAME`, `sge.NAME`.
    pub batch: BTreeMap<String, String>,
    /// `checkpoint = {signal, before}`: a signal sent some seconds before the walltime ends.
    pub checkpoint: Option<Checkpoint>,
    /// Tasks that must be over before any instance of this one starts (`needs`), besides what files say.
    pub needs: Vec<TaskId>,
    /// Names of the row's columns: `item`, `item.sample`, `matrix.a`; empty for a task without `foreach` and `matrix`.
    pub columns: Vec<String>,
    /// Hash of everything that, besides an instance's row and files, decides what it computes: the caching key of the definition.
    pub definition: [u8; 16],
}

/// A signal that tells a job to save its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Signal name without `SIG`: `USR1`, `TERM`.
    pub signal: String,
    /// Seconds before the end of the walltime.
    pub before: u64,
}
