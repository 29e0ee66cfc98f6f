//! Plans that read like workflows.

use std::sync::Arc;

use crate::model::id::{InstanceId, PathId, TaskId};
use crate::model::plan::{Instance, Plan, Slice, Strings};
use crate::model::task::{Command, Settings, Task, Template};

/// Builds a plan task by task. Every instance makes one file.
#[derive(Default)]
pub(super) struct Workflow {
    tasks: Vec<Task>,
    sizes: Vec<u32>,
    /// Reader and what it reads, by position.
    reads: Vec<(u32, u32)>,
    /// Reader of a directory and what makes a file in it, by position.
    within: Vec<(u32, u32)>,
    pub(super) max_failures: Option<u32>,
}

impl Workflow {
    /// Adds a task with so many instances; what follows speaks of it.
    pub(super) fn task(mut self, name: &str, instances: u32) -> Self {
        self.tasks.push(Task {
            name: name.to_owned(),
            command: Arc::new(Command::Shell(Template::default())),
            settings: Arc::new(Settings::default()),
            needs: Vec::new(),
            columns: if instances == 1 { Vec::new() } else { vec!["item".to_owned()] },
            definition: [0; 16],
        });
        self.sizes.push(instances);
        self
    }

    /// Changes the settings of the task added last.
    pub(super) fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.tasks.last_mut().unwrap().settings));
        self
    }

    /// The task added last needs another.
    pub(super) fn needs(mut self, name: &str) -> Self {
        let need = self.id(name);
        self.tasks.last_mut().unwrap().needs.push(need);
        self
    }

    /// Every instance of the task added last reads the file of the same-numbered one of another.
    pub(super) fn reads(mut self, name: &str) -> Self {
        let (from, size) = self.slice(self.id(name));
        let (start, len) = self.slice(TaskId(self.tasks.len() as u32 - 1));
        self.reads.extend((0..len).map(|n| (start + n, from + n % size)));
        self
    }

    /// Every instance of the task added last reads all files of another.
    pub(super) fn reads_all(mut self, name: &str) -> Self {
        let (from, size) = self.slice(self.id(name));
        let (start, len) = self.slice(TaskId(self.tasks.len() as u32 - 1));
        self.reads.extend((0..len).flat_map(|n| (0..size).map(move |m| (start + n, from + m))));
        self
    }

    /// One instance reads the file of an earlier one.
    pub(super) fn edge(mut self, reader: u32, read: u32) -> Self {
        self.reads.push((reader, read));
        self
    }

    /// Every instance of the task added last reads a directory in which every instance of another makes its file.
    pub(super) fn reads_around(mut self, name: &str) -> Self {
        let (from, size) = self.slice(self.id(name));
        let (start, len) = self.slice(TaskId(self.tasks.len() as u32 - 1));
        self.within.extend((0..len).flat_map(|n| (0..size).map(move |m| (start + n, from + m))));
        self
    }

    fn id(&self, name: &str) -> TaskId {
        TaskId(self.tasks.iter().position(|task| task.name == name).unwrap() as u32)
    }

    fn slice(&self, task: TaskId) -> (u32, u32) {
        (self.sizes[..task.index()].iter().sum(), self.sizes[task.index()])
    }

    /// Makes the plan.
    pub(super) fn plan(self) -> Arc<Plan> {
        let total: u32 = self.sizes.iter().sum();
        let mut reads = self.reads;
        reads.sort_unstable();
        reads.dedup();
        let mut plan = Plan { name: "test".to_owned(), root: "/lab".to_owned(), ..Plan::default() };
        plan.max_failures = self.max_failures;
        let mut paths = Strings::default();
        let mut readers = reads.iter().peekable();
        for (index, size) in self.sizes.iter().enumerate() {
            let start = plan.instances.len() as u32;
            plan.task_instances.push(Slice { start, len: *size });
            for n in 0..*size {
                let instance = start + n;
                paths.push(&format!("out/{instance}"));
                plan.producers.push(Some(InstanceId(instance)));
                let inputs = plan.path_refs.len() as u32;
                while let Some((_, read)) = readers.next_if(|(reader, _)| *reader == instance) {
                    plan.path_refs.push(PathId(*read));
                }
                let outputs = plan.path_refs.len() as u32;
                plan.path_refs.push(PathId(instance));
                plan.instances.push(Instance {
                    task: TaskId(index as u32),
                    row: plan.cells.len() as u32,
                    inputs: Slice { start: inputs, len: outputs - inputs },
                    outputs: Slice { start: outputs, len: 1 },
                });
                if *size != 1 {
                    plan.cells.push(&n.to_string());
                }
            }
        }
        let mut dependents: Vec<_> = reads.iter().chain(&self.within).map(|&(reader, read)| (read, reader)).collect();
        dependents.sort_unstable();
        dependents.dedup();
        plan.dependent_ends = (0..total).map(|n| dependents.partition_point(|&(read, _)| read <= n) as u32).collect();
        plan.dependents = dependents.into_iter().map(|(_, reader)| InstanceId(reader)).collect();
        plan.tasks = self.tasks;
        plan.paths = paths;
        Arc::new(plan)
    }
}
