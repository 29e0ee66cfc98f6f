//! A workflow file, checked: what stands in it, compiled, before anything is known of the disk or of `-p`.

use std::collections::BTreeMap;

use crate::language::manifest::template::{Template, Templates};
use crate::language::manifest::when::Condition;
use crate::model::choice::Policy;
use crate::model::diagnostic::Span;
use crate::model::resources::Request;
use crate::model::task::{Checkpoint, OnError, Retry, Settings};

/// A workflow file, parsed and checked as far as that is possible without looking at disk.
#[derive(Clone, Debug, Default)]
pub struct Workflow {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) max_failures: Option<u32>,
    pub(super) policy: Option<Policy>,
    pub(super) params: Vec<Param>,
    pub(super) data: BTreeMap<String, Vec<String>>,
    pub(super) templates: Templates,
    pub(super) tasks: Vec<TaskDraft>,
    /// `inputs` and `outputs` of all tasks, and arguments of their commands.
    pub(super) lists: Vec<Template>,
    /// `needs` of all tasks.
    pub(super) needs: Vec<Need>,
    /// What tasks say besides; those that say the same share one. The first is what `[defaults]` says.
    pub(super) settings: Vec<Draft>,
    pub(super) sweeps: Vec<Sweep>,
    /// Whether errors were found.
    pub(super) refused: bool,
}

/// A param and its default.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Param {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) kind: ParamKind,
    pub(super) span: Span,
}

/// What values a param takes: what its default is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParamKind {
    Text,
    Integer,
    Number,
    Boolean,
}

/// A slice of one of the workflow's vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Range {
    /// Returns the slice of a vector.
    pub(super) fn of<T>(self, all: &[T]) -> &[T] {
        all.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// A task as written.
#[derive(Clone, Debug)]
pub(super) struct TaskDraft {
    /// In the templates' text.
    pub(super) name: (u32, u32),
    /// The place of its name.
    pub(super) span: Span,
    pub(super) run: Run,
    pub(super) inputs: Range,
    pub(super) outputs: Range,
    pub(super) needs: Range,
    /// Index into [`Workflow::settings`].
    pub(super) settings: u32,
    /// Index into [`Workflow::sweeps`].
    pub(super) sweep: Option<u32>,
}

/// The command of a task.
#[derive(Clone, Copy, Debug)]
pub(super) enum Run {
    /// There is none: a task that only gathers others.
    Missing,
    Shell(Template),
    /// In [`Workflow::lists`].
    Argv(Range),
}

/// An entry of `needs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Need {
    /// Index of the task.
    pub(super) task: u32,
    pub(super) span: Span,
}

/// What makes the instances of a task.
#[derive(Clone, Debug, Default)]
pub(super) struct Sweep {
    pub(super) foreach: Option<Foreach>,
    pub(super) foreach_span: Span,
    pub(super) matrix: Vec<(String, Values)>,
    pub(super) matrix_span: Span,
    /// Keys of `include` that the matrix does not have.
    pub(super) added: Vec<String>,
    pub(super) include: Vec<Combination>,
    pub(super) exclude: Vec<Combination>,
    pub(super) when: Option<Condition>,
}

/// An element of `include` or `exclude`: index of the key among matrix keys and added ones, and the value.
pub(super) type Combination = Vec<(u32, Template)>;

/// Values of one matrix key.
#[derive(Clone, Debug)]
pub(super) enum Values {
    List(Vec<Template>),
    Range(Steps),
}

/// Whole numbers from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Steps {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) step: i64,
}

impl Steps {
    /// Returns how many there are.
    pub(super) const fn len(self) -> u64 {
        let ascends = self.step > 0;
        if ascends && self.last < self.first || !ascends && self.last > self.first {
            return 0;
        }
        self.last.abs_diff(self.first) / self.step.unsigned_abs() + 1
    }

    /// Iterates over the numbers.
    pub(super) fn iter(self) -> impl Iterator<Item = i64> {
        (0..self.len()).map(move |n| self.first.wrapping_add((n as i64).wrapping_mul(self.step)))
    }
}

/// Where the elements of `foreach` come from.
#[derive(Clone, Debug)]
pub(super) enum Foreach {
    Glob(Template),
    List(Vec<Template>),
    /// Columns, and cells row by row.
    Rows(Vec<String>, Vec<Template>),
    /// A file with a header, and the byte between its fields.
    Table(Template, u8),
    Lines(Template),
    Range(Steps),
}

/// What a task says besides its command and files, or `[defaults]` for it; texts are not filled in yet.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) resources: Vec<Request>,
    pub(super) retry: Retry,
    pub(super) on_error: OnError,
    pub(super) cache: bool,
    pub(super) env: BTreeMap<String, Template>,
    pub(super) workdir: Option<Template>,
    pub(super) stdin: Option<Template>,
    pub(super) setup: Vec<Template>,
    pub(super) modules: Vec<Template>,
    pub(super) conda: Option<Template>,
    pub(super) container: Option<Template>,
    pub(super) binds: Vec<Template>,
    pub(super) secrets: Vec<String>,
    pub(super) priority: i32,
    pub(super) tags: Vec<String>,
    pub(super) max_parallel: Option<u32>,
    pub(super) on: Vec<Template>,
    pub(super) batch: BTreeMap<String, Template>,
    /// Whether it reaches for the internet, where that is said.
    pub(super) internet: Option<bool>,
    pub(super) checkpoint: Option<Checkpoint>,
    /// The task that was the first to say this.
    pub(super) first_task: u32,
    /// Who said a value, by its key (`resources.mem`, `env.PATH`); built-in when it is not here.
    pub(super) origins: BTreeMap<String, Origin>,
}

impl Default for Draft {
    fn default() -> Self {
        let built_in = Settings::default();
        Self {
            resources: built_in.resources,
            retry: built_in.retry,
            on_error: built_in.on_error,
            cache: built_in.cache,
            env: BTreeMap::new(),
            workdir: None,
            stdin: None,
            setup: Vec::new(),
            modules: Vec::new(),
            conda: None,
            container: None,
            binds: Vec::new(),
            secrets: Vec::new(),
            priority: built_in.priority,
            tags: Vec::new(),
            max_parallel: built_in.max_parallel,
            on: Vec::new(),
            batch: BTreeMap::new(),
            internet: None,
            checkpoint: None,
            first_task: 0,
            origins: BTreeMap::new(),
        }
    }
}

/// Who said a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Nobody: what csync does when nothing is said.
    #[default]
    BuiltIn,
    /// `[defaults]`, here.
    Defaults(Span),
    /// The task, here.
    Task(Span),
}

impl Origin {
    /// Returns the same one who said it, at another place.
    pub(super) const fn at(self, span: Span) -> Self {
        match self {
            Self::BuiltIn => Self::BuiltIn,
            Self::Defaults(_) => Self::Defaults(span),
            Self::Task(_) => Self::Task(span),
        }
    }
}

impl Workflow {
    /// Returns the workflow's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what the workflow is for, in its author's words.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// Returns the names of the tasks, in the order of the file.
    pub fn task_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tasks.iter().map(|task| self.templates.column(task.name))
    }

    /// Returns the params and their defaults.
    pub fn params(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.params.iter().map(|param| (param.name.as_str(), param.value.as_str()))
    }

    /// Returns the names of the secrets that tasks ask for; one that several ask for, several times.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.settings.iter().flat_map(|draft| &draft.secrets).map(String::as_str)
    }

    /// Returns what counts where csync chooses among hosts.
    pub fn policy(&self) -> Option<Policy> {
        self.policy
    }

    /// Returns the places of a dataset: `host:/path`.
    pub fn places_of(&self, dataset: &str) -> &[String] {
        self.data.get(dataset).map_or(&[], Vec::as_slice)
    }

    /// Returns whether [`read`](super::read) found errors, so that it must not be expanded.
    pub fn is_refused(&self) -> bool {
        self.refused
    }
}
