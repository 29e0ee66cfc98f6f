//! Which instances a submission is about: `--only`, `--rerun`, and what is left out.

use crate::decide::fresh::reason::Reason;
use crate::model::api::Rerun;
use crate::model::id::InstanceId;
use crate::model::plan::Plan;

/// Names that mean nothing in the workflow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no task or instance is called {}", names(.0))]
pub struct UnknownNames(pub Vec<String>);

fn names(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// What a submission is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Per instance, why it is left out, if it is.
    pub(super) left: Vec<Option<Reason>>,
    /// Per instance, whether it runs in any case; empty when none does.
    pub(super) forced: Vec<bool>,
}

impl Selection {
    /// Selects from a plan: `left` are the instances whose `when` is false, `only` the labels of `--only` (all when there are
    /// none), which bring with them what they need.
    ///
    /// # Errors
    /// Labels that name nothing.
    pub fn new(plan: &Plan, left: &[InstanceId], only: &[String], rerun: &Rerun) -> Result<Self, UnknownNames> {
        let mut selection = Self { left: vec![None; plan.instances.len()], forced: Vec::new() };
        if !only.is_empty() {
            selection.left.fill(Some(Reason::Only));
            for instance in with_upstream(plan, named(plan, only)?) {
                if let Some(left) = selection.left.get_mut(instance.index()) {
                    *left = None;
                }
            }
        }
        for instance in left {
            if let Some(left) = selection.left.get_mut(instance.index()) {
                *left = Some(Reason::When);
            }
        }
        selection.forced = match rerun {
            Rerun::Stale => Vec::new(),
            Rerun::All => vec![true; plan.instances.len()],
            Rerun::Tasks(labels) => {
                let mut forced = vec![false; plan.instances.len()];
                for instance in named(plan, labels)? {
                    if let Some(forced) = forced.get_mut(instance.index()) {
                        *forced = true;
                    }
                }
                forced
            }
        };
        Ok(selection)
    }

    /// Returns whether an instance is part of the run.
    pub fn takes(&self, instance: InstanceId) -> bool {
        self.left.get(instance.index()).is_some_and(Option::is_none)
    }

    /// Returns whether an instance runs in any case.
    pub(super) fn forces(&self, instance: InstanceId) -> bool {
        self.forced.get(instance.index()).copied().unwrap_or(false)
    }
}

/// Returns the instances that labels name: tasks or instances.
///
/// # Errors
/// Labels that name nothing.
pub fn named(plan: &Plan, labels: &[String]) -> Result<Vec<InstanceId>, UnknownNames> {
    let mut found = Vec::new();
    let mut unknown = Vec::new();
    for label in labels {
        let instances = plan.find(label);
        // A task whose `foreach` matched nothing exists and has no instance.
        if instances.is_empty() && !plan.tasks.iter().any(|task| task.name == *label) {
            unknown.push(label.clone());
        }
        found.extend(instances);
    }
    if unknown.is_empty() { Ok(found) } else { Err(UnknownNames(unknown)) }
}

/// Adds to instances all that they depend on, by files and by `needs`.
#[expect(clippy::indexing_slicing, reason = "one element per task or instance of the plan; ids are the plan's own")]
fn with_upstream(plan: &Plan, mut next: Vec<InstanceId>) -> Vec<InstanceId> {
    let mut seen = vec![false; plan.instances.len()];
    let mut seen_tasks = vec![false; plan.tasks.len()];
    let mut found = Vec::new();
    while let Some(instance) = next.pop() {
        if std::mem::replace(&mut seen[instance.index()], true) {
            continue;
        }
        found.push(instance);
        next.extend(plan.inputs(instance).iter().filter_map(|&path| plan.producer(path)));
        let mut tasks = vec![plan.instance(instance).task];
        while let Some(task) = tasks.pop() {
            if !std::mem::replace(&mut seen_tasks[task.index()], true) {
                for &need in &plan.task(task).needs {
                    next.extend(plan.instances_of(need));
                    tasks.push(need);
                }
            }
        }
    }
    found
}
