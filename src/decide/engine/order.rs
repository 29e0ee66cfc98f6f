//! The order in which a plan can run: files and `needs` together.

use crate::model::id::{InstanceId, TaskId};
use crate::model::plan::Plan;

/// One step of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decide) enum Step {
    /// All that the task needs is over: its instances may start as their files allow.
    Open(TaskId),
    /// The instance comes after everything that it depends on.
    Instance(InstanceId),
}

/// Per task, the tasks that name it in `needs`, each once.
#[derive(Clone, Debug, Default)]
pub(in crate::decide) struct NeededBy {
    ends: Vec<u32>,
    tasks: Vec<TaskId>,
}

impl NeededBy {
    /// Turns `needs` around.
    pub(in crate::decide) fn new(plan: &Plan) -> Self {
        let mut pairs: Vec<(TaskId, TaskId)> = Vec::new();
        for (index, task) in plan.tasks.iter().enumerate() {
            pairs.extend(task.needs.iter().map(|&need| (need, TaskId(index as u32))));
        }
        if pairs.is_empty() {
            return Self::default();
        }
        pairs.sort_unstable();
        pairs.dedup();
        let mut ends = vec![0u32; plan.tasks.len()];
        for (need, _) in &pairs {
            if let Some(end) = ends.get_mut(need.index()) {
                *end += 1;
            }
        }
        let mut sum = 0;
        for end in &mut ends {
            sum += *end;
            *end = sum;
        }
        Self { ends, tasks: pairs.into_iter().map(|(_, task)| task).collect() }
    }

    /// Returns the tasks that need this one.
    pub(in crate::decide) fn of(&self, task: TaskId) -> &[TaskId] {
        let index = task.index();
        let end = self.ends.get(index).copied().unwrap_or(0);
        let start = if index == 0 { 0 } else { self.ends.get(index - 1).copied().unwrap_or(0) };
        self.tasks.get(start as usize..end as usize).unwrap_or(&[])
    }

    /// Returns how many tasks each task needs, each counted once.
    pub(in crate::decide) fn counts(&self, tasks: usize) -> Vec<u32> {
        let mut counts = vec![0u32; tasks];
        for task in &self.tasks {
            if let Some(count) = counts.get_mut(task.index()) {
                *count += 1;
            }
        }
        counts
    }
}

/// Returns an order in which everything comes after what it depends on; none when the plan has a cycle.
///
/// A task without instances passes on what it waits for: a task that needs it waits for what it needs.
pub(in crate::decide) fn order(plan: &Plan, needed_by: &NeededBy) -> Option<Vec<Step>> {
    let mut walk = Walk {
        plan,
        needed_by,
        waiting: vec![0; plan.instances.len()],
        left: plan.task_instances.iter().map(|slice| slice.len).collect(),
        barriers: needed_by.counts(plan.tasks.len()),
        open: vec![false; plan.tasks.len()],
        steps: Vec::with_capacity(plan.instances.len() + plan.tasks.len()),
    };
    for dependent in &plan.dependents {
        if let Some(waiting) = walk.waiting.get_mut(dependent.index()) {
            *waiting += 1;
        }
    }
    walk.run();
    (walk.steps.len() == plan.instances.len() + plan.tasks.len()).then_some(walk.steps)
}

struct Walk<'a> {
    plan: &'a Plan,
    needed_by: &'a NeededBy,
    waiting: Vec<u32>,
    left: Vec<u32>,
    barriers: Vec<u32>,
    /// The step that opens the task has been taken, not only appended.
    open: Vec<bool>,
    steps: Vec<Step>,
}

#[expect(clippy::indexing_slicing, reason = "one element per task or instance of the plan; ids are the plan's own")]
impl Walk<'_> {
    fn run(&mut self) {
        for task in 0..self.plan.tasks.len() {
            if self.barriers[task] == 0 {
                self.steps.push(Step::Open(TaskId(task as u32)));
            }
        }
        // The list of steps is its own worklist: a step may append others.
        let mut next = 0;
        while let Some(&step) = self.steps.get(next) {
            next += 1;
            match step {
                Step::Open(task) => self.opened(task),
                Step::Instance(instance) => self.passed(instance),
            }
        }
    }

    fn opened(&mut self, task: TaskId) {
        self.open[task.index()] = true;
        if self.left[task.index()] == 0 {
            self.finished(task);
        }
        for instance in self.plan.instances_of(task) {
            if self.waiting[instance.index()] == 0 {
                self.steps.push(Step::Instance(instance));
            }
        }
    }

    fn passed(&mut self, instance: InstanceId) {
        for &dependent in self.plan.dependents(instance) {
            let waiting = &mut self.waiting[dependent.index()];
            *waiting -= 1;
            if *waiting == 0 && self.open[self.plan.instance(dependent).task.index()] {
                self.steps.push(Step::Instance(dependent));
            }
        }
        let task = self.plan.instance(instance).task;
        self.left[task.index()] -= 1;
        if self.left[task.index()] == 0 {
            self.finished(task);
        }
    }

    fn finished(&mut self, task: TaskId) {
        for &next in self.needed_by.of(task) {
            self.barriers[next.index()] -= 1;
            if self.barriers[next.index()] == 0 {
                self.steps.push(Step::Open(next));
            }
        }
    }
}

/// Returns, per instance, what the longest chain weighs that starts with it.
#[expect(clippy::indexing_slicing, reason = "one element per task or instance of the plan; ids are the plan's own")]
pub(in crate::decide) fn heights(plan: &Plan, steps: &[Step], mut weigh: impl FnMut(InstanceId) -> u32) -> Vec<u32> {
    let mut heights = vec![0u32; plan.instances.len()];
    // Longest chain inside and below a task, and longest chain below the tasks that need it.
    let mut chain = vec![0u32; plan.tasks.len()];
    let mut below = vec![0u32; plan.tasks.len()];
    for step in steps.iter().rev() {
        match *step {
            Step::Instance(instance) => {
                let task = plan.instance(instance).task.index();
                let after = plan.dependents(instance).iter().map(|dependent| heights[dependent.index()]).max();
                let height = after.unwrap_or(0).max(below[task]).saturating_add(weigh(instance));
                heights[instance.index()] = height;
                chain[task] = chain[task].max(height);
            }
            Step::Open(task) => {
                let height = chain[task.index()].max(below[task.index()]);
                for need in &plan.task(task).needs {
                    below[need.index()] = below[need.index()].max(height);
                }
            }
        }
    }
    heights
}
