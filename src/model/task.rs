//! A task as written in the workflow, checked and compiled: what every instance of it shares.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::Arc;

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

/// A task, checked and compiled. What many tasks say alike is shared: `task.retry` reads through to [`Settings`].
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its name in the workflow.
    pub name: String,
    /// What runs; shared with tasks that run the same.
    pub command: Arc<Command>,
    /// How it runs.
    pub settings: Arc<Settings>,
    /// Tasks that must be over before any instance of this one starts (`needs`), besides what files say.
    pub needs: Vec<TaskId>,
    /// Names of the row's columns: `item`, `item.sample`, `matrix.a`; empty for a task without `foreach` and `matrix`.
    pub columns: Vec<String>,
    /// Hash of everything that, besides an instance's row and files, decides what it computes: the caching key of the definition.
    pub definition: [u8; 16],
}

impl Deref for Task {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.settings
    }
}

/// How a task runs: every key of it but its command, its files and its place in the workflow.
///
/// Of 100,000 tasks written out, nearly all say the same here: they share one of these, in memory and in the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
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
    pub setup: Vec<Template>,
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
    /// Batch keys: `account`, `partition`, `qos`, `constraint`, and raw flags as `slurm.NAME`, `pbs.NAME`, `sge.NAME`; and
    /// [`INTERNET`].
    pub batch: BTreeMap<String, String>,
    /// `checkpoint = {signal, before}`: a signal sent some seconds before the walltime ends.
    pub checkpoint: Option<Checkpoint>,
    /// Whether it works in a copy of the whole directory when it runs elsewhere, and what it made or changed there comes back.
    pub tree: bool,
}

/// What says among the batch keys whether a task reaches for the internet: plans that are stored have no other place for it.
pub const INTERNET: &str = "internet";

impl Settings {
    /// Returns whether it says that it reaches for the internet (`resources.internet`).
    pub fn needs_internet(&self) -> bool {
        self.batch.get(INTERNET).is_some_and(|said| said == "true")
    }
}

impl Default for Settings {
    /// What holds where neither the task nor `[defaults]` says anything.
    fn default() -> Self {
        Self {
            resources: vec![Request::default()],
            retry: Retry::default(),
            on_error: OnError::default(),
            cache: true,
            env: BTreeMap::new(),
            workdir: None,
            stdin: None,
            setup: Vec::new(),
            modules: Vec::new(),
            conda: None,
            container: None,
            binds: Vec::new(),
            secrets: Vec::new(),
            priority: 0,
            tags: Vec::new(),
            max_parallel: None,
            on: Vec::new(),
            batch: BTreeMap::new(),
            checkpoint: None,
            tree: false,
        }
    }
}

/// A signal that tells a job to save its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Signal name without `SIG`: `USR1`, `TERM`.
    pub signal: String,
    /// Seconds before the end of the walltime.
    pub before: u64,
}

/// Tasks on disk: shared [`Settings`] and [`Command`]s are written once and shared again after reading.
pub(crate) mod shared {
    use super::{Arc, Command, Deserialize, HashMap, Serialize, Settings, Task, TaskId};
    use serde::de::{Deserializer, Error};
    use serde::ser::Serializer;

    /// Values in the order in which they were first seen.
    struct Once<'a, T> {
        all: Vec<&'a T>,
        seen: HashMap<*const T, u32>,
    }

    impl<T> Default for Once<'_, T> {
        fn default() -> Self {
            Self { all: Vec::new(), seen: HashMap::new() }
        }
    }

    impl<'a, T> Once<'a, T> {
        fn position(&mut self, shared: &'a Arc<T>) -> u32 {
            *self.seen.entry(Arc::as_ptr(shared)).or_insert_with(|| {
                self.all.push(shared);
                (self.all.len() - 1) as u32
            })
        }
    }

    #[derive(Serialize)]
    struct Written<'a> {
        settings: Vec<&'a Settings>,
        commands: Vec<&'a Command>,
        tasks: Vec<WrittenTask<'a>>,
    }

    #[derive(Serialize)]
    struct WrittenTask<'a> {
        name: &'a str,
        command: u32,
        settings: u32,
        needs: &'a [TaskId],
        columns: &'a [String],
        definition: [u8; 16],
    }

    #[derive(Deserialize)]
    struct Read {
        settings: Vec<Arc<Settings>>,
        commands: Vec<Arc<Command>>,
        tasks: Vec<ReadTask>,
    }

    #[derive(Deserialize)]
    struct ReadTask {
        name: String,
        command: u32,
        settings: u32,
        needs: Vec<TaskId>,
        columns: Vec<String>,
        definition: [u8; 16],
    }

    pub(crate) fn serialize<S: Serializer>(tasks: &[Task], serializer: S) -> Result<S::Ok, S::Error> {
        let mut settings = Once::default();
        let mut commands = Once::default();
        let tasks = tasks
            .iter()
            .map(|task| WrittenTask {
                name: &task.name,
                command: commands.position(&task.command),
                settings: settings.position(&task.settings),
                needs: &task.needs,
                columns: &task.columns,
                definition: task.definition,
            })
            .collect();
        Written { settings: settings.all, commands: commands.all, tasks }.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Task>, D::Error> {
        let read = Read::deserialize(deserializer)?;
        let task = |task: ReadTask| {
            let settings = read.settings.get(task.settings as usize);
            let command = read.commands.get(task.command as usize);
            Ok(Task {
                name: task.name,
                command: Arc::clone(command.ok_or_else(|| D::Error::custom("a task without a command"))?),
                settings: Arc::clone(settings.ok_or_else(|| D::Error::custom("a task without settings"))?),
                needs: task.needs,
                columns: task.columns,
                definition: task.definition,
            })
        };
        read.tasks.into_iter().map(task).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::model::plan::Plan;

    use super::*;

    #[test]
    fn what_is_shared_stays_shared_in_the_store() {
        let settings = Arc::new(Settings::default());
        let command = Arc::new(Command::Argv(Vec::new()));
        let task = |name: &str| Task {
            name: name.to_owned(),
            command: Arc::clone(&command),
            settings: Arc::clone(&settings),
            needs: Vec::new(),
            columns: Vec::new(),
            definition: [7; 16],
        };
        let plan = Plan { tasks: vec![task("a"), task("b")], ..Plan::default() };
        let back: Plan = postcard::from_bytes(&postcard::to_stdvec(&plan).unwrap()).unwrap();
        assert_eq!(back, plan);
        assert!(Arc::ptr_eq(&back.tasks[0].settings, &back.tasks[1].settings));
        assert!(Arc::ptr_eq(&back.tasks[0].command, &back.tasks[1].command));
        assert!(back.tasks[0].cache);
    }
}
