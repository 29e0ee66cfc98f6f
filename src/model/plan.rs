//! A workflow expanded: instances, the paths they read and write, and their order. Built once per submission, kept in the
//! store, immutable while the run lives. Structure of arrays: a million instances cost about 60 bytes each plus their names.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::id::{InstanceId, PathId, TaskId};
use crate::model::task::{Task, shared};

/// Where the files of datasets are found, from a workflow's directory: `data:reads/a.fq` is `.csync/data/reads/a.fq`.
pub const DATA: &str = ".csync/data/";

/// Returns a path as people write it: of a dataset's file `data:NAME/FILE`.
pub fn spoken(path: &str) -> Cow<'_, str> {
    path.strip_prefix(DATA).map_or(Cow::Borrowed(path), |rest| Cow::Owned(format!("data:{rest}")))
}

/// Many strings in one allocation, by index.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strings {
    text: String,
    ends: Vec<u32>,
}

impl Strings {
    /// Appends a string and returns its index.
    ///
    /// The arena holds at most 4 GiB; expansion refuses a workflow long before that.
    pub fn push(&mut self, text: &str) -> u32 {
        self.text.push_str(text);
        self.ends.push(self.text.len() as u32);
        (self.ends.len() - 1) as u32
    }

    /// Returns a string by index; empty for an index that was never returned.
    pub fn get(&self, index: u32) -> &str {
        let index = index as usize;
        let start = if index == 0 { 0 } else { self.ends.get(index - 1).copied().unwrap_or(0) };
        let end = self.ends.get(index).copied().unwrap_or(start);
        self.text.get(start as usize..end as usize).unwrap_or("")
    }

    /// Returns how many strings there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether there is no string.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns how many bytes the strings have together.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Iterates over the strings.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|index| self.get(index as u32))
    }

    /// Gives back memory reserved for growth.
    pub fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}

/// A slice of one of a plan's arrays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// First position.
    pub start: u32,
    /// Number of elements.
    pub len: u32,
}

impl Slice {
    /// Returns the positions, for slicing.
    pub const fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

/// One task instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its task.
    pub task: TaskId,
    /// Its row's cells: position of the first in [`Plan::cells`]; as many as the task has columns.
    pub row: u32,
    /// Declared inputs, in [`Plan::path_refs`].
    pub inputs: Slice,
    /// Declared outputs, in [`Plan::path_refs`].
    pub outputs: Slice,
}

/// A workflow expanded.
///
/// Instances of one task are contiguous, in the order of their rows. Each path has one spelling: relative to
/// [`Plan::root`] where it is in there, else absolute or beginning with `..`. `edges` holds file dependencies only; [`Task::needs`] are kept as barriers between tasks, so
/// that 10,000 instances that need 10,000 others cost 20,000 counters and not 100,000,000 edges.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The workflow's name.
    pub name: String,
    /// The workflow's directory, absolute.
    pub root: String,
    /// Stop after so many failed instances.
    pub max_failures: Option<u32>,
    /// The tasks as written.
    #[serde(with = "shared")]
    pub tasks: Vec<Task>,
    /// Instances of each task, same order as `tasks`.
    pub task_instances: Vec<Slice>,
    /// The instances.
    pub instances: Vec<Instance>,
    /// Values of `foreach` and `matrix` rows.
    pub cells: Strings,
    /// Every path named, once.
    pub paths: Strings,
    /// Per path: the instance that makes it, if any.
    pub producers: Vec<Option<InstanceId>>,
    /// Inputs and outputs of the instances.
    pub path_refs: Vec<PathId>,
    /// Per instance, the end of its dependents in `dependents` (a CSR index).
    pub dependent_ends: Vec<u32>,
    /// Instances that read what an instance writes.
    pub dependents: Vec<InstanceId>,
}

impl Plan {
    /// Gives every task a copy of these files, whatever it declares, to work in; see [`Settings::tree`](crate::model::task::Settings).
    pub fn carry(&mut self, files: &[String]) {
        let slice = Slice { start: self.path_refs.len() as u32, len: files.len() as u32 };
        for file in files {
            self.path_refs.push(PathId(self.paths.push(file)));
            self.producers.push(None);
        }
        for instance in &mut self.instances {
            instance.inputs = slice;
        }
        for task in &mut self.tasks {
            Arc::make_mut(&mut task.settings).tree = true;
        }
    }

    /// Returns a task.
    ///
    /// # Panics
    /// If the id is not of this plan.
    #[expect(clippy::indexing_slicing, reason = "ids are made by the plan that they index")]
    pub fn task(&self, task: TaskId) -> &Task {
        &self.tasks[task.index()]
    }

    /// Returns an instance.
    ///
    /// # Panics
    /// If the id is not of this plan.
    #[expect(clippy::indexing_slicing, reason = "ids are made by the plan that they index")]
    pub fn instance(&self, instance: InstanceId) -> &Instance {
        &self.instances[instance.index()]
    }

    /// Returns the task of an instance.
    pub fn task_of(&self, instance: InstanceId) -> &Task {
        self.task(self.instance(instance).task)
    }

    /// Returns all ids of instances.
    pub fn instance_ids(&self) -> impl DoubleEndedIterator<Item = InstanceId> + ExactSizeIterator + use<> {
        (0..self.instances.len() as u32).map(InstanceId)
    }

    /// Returns the ids of a task's instances.
    #[expect(clippy::indexing_slicing, reason = "ids are made by the plan that they index")]
    pub fn instances_of(
        &self,
        task: TaskId,
    ) -> impl DoubleEndedIterator<Item = InstanceId> + ExactSizeIterator + use<> {
        let slice = self.task_instances[task.index()];
        (slice.start..slice.start + slice.len).map(InstanceId)
    }

    /// Returns a path's text.
    pub fn path(&self, path: PathId) -> &str {
        self.paths.get(path.0)
    }

    /// Returns the declared inputs of an instance.
    pub fn inputs(&self, instance: InstanceId) -> &[PathId] {
        self.path_refs.get(self.instance(instance).inputs.range()).unwrap_or(&[])
    }

    /// Returns the declared outputs of an instance.
    pub fn outputs(&self, instance: InstanceId) -> &[PathId] {
        self.path_refs.get(self.instance(instance).outputs.range()).unwrap_or(&[])
    }

    /// Returns the instance that makes a path.
    pub fn producer(&self, path: PathId) -> Option<InstanceId> {
        self.producers.get(path.index()).copied().flatten()
    }

    /// Returns the instances that read what an instance writes, each once.
    pub fn dependents(&self, instance: InstanceId) -> &[InstanceId] {
        let index = instance.index();
        let start = if index == 0 { 0 } else { self.dependent_ends.get(index - 1).copied().unwrap_or(0) };
        let end = self.dependent_ends.get(index).copied().unwrap_or(start);
        self.dependents.get(start as usize..end as usize).unwrap_or(&[])
    }

    /// Returns a cell of an instance's row.
    pub fn cell(&self, instance: InstanceId, column: u32) -> &str {
        self.cells.get(self.instance(instance).row + column)
    }

    /// Returns what people call an instance: `align`, `align[A.fastq]`, `sweep[n=10,seed=3]`.
    pub fn label(&self, instance: InstanceId) -> String {
        let task = self.task_of(instance);
        if task.columns.is_empty() {
            return task.name.clone();
        }
        let mut label = format!("{}[", task.name);
        let matrix = task.columns.iter().any(|column| column.starts_with("matrix."));
        let mut first = true;
        for (index, column) in task.columns.iter().enumerate() {
            // A CSV row is called by its first column alone; `item` is that column's value.
            let Some(name) = column.strip_prefix("matrix.").or((column == "item").then_some("")) else { continue };
            if !first {
                label.push(',');
            }
            first = false;
            if matrix && !name.is_empty() {
                label.push_str(name);
                label.push('=');
            }
            label.push_str(&spoken(self.cell(instance, index as u32)));
        }
        label.push(']');
        label
    }

    /// Finds an instance by its label, or by `task` alone or `task.N` (N-th instance, from 0).
    pub fn find(&self, label: &str) -> Vec<InstanceId> {
        let name = label.split_once('[').map_or(label, |(name, _)| name);
        let of = |name: &str| self.tasks.iter().position(|task| task.name == name).map(|index| TaskId(index as u32));
        if let Some(task) = of(name) {
            if name == label {
                return self.instances_of(task).collect();
            }
            return self.instances_of(task).filter(|&instance| self.label(instance) == label).collect();
        }
        let numbered = label.rsplit_once('.').and_then(|(name, n)| Some((of(name)?, n.parse::<usize>().ok()?)));
        numbered.and_then(|(task, n)| self.instances_of(task).nth(n)).into_iter().collect()
    }
}

/// What identifies a file's content, as far as it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Size in bytes; of a directory, the sum over its files.
    pub size: u64,
    /// Modification time, microseconds since 1970; of a directory, the latest in the tree.
    pub mtime: i64,
    /// blake3 of the content (16 bytes), where it was computed.
    pub hash: Option<[u8; 16]>,
}

/// What csync remembers of an instance that succeeded, so that it need not run again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memo {
    /// Who: hash of the task's name and the instance's row (`decide::fresh`).
    pub key: [u8; 16],
    /// What it computed: hash of the task's definition, the row and the declared paths.
    pub definition: [u8; 16],
    /// Inputs as they were when it started, in the order of the plan.
    pub inputs: Vec<Fingerprint>,
    /// Outputs as it left them, in the order of the plan.
    pub outputs: Vec<Fingerprint>,
}
