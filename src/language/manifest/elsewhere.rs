//! What a plan asks for that this machine alone cannot serve: other hosts, named datasets, containers.

use crate::language::manifest::draft::{Foreach, Origin, Workflow};
use crate::language::manifest::paths::is_remote;
use crate::model::diagnostic::{Diagnostic, Span};
use crate::model::id::TaskId;
use crate::model::plan::Plan;

/// Returns, for each task that asks for what this machine alone cannot serve, one mistake per wish, with its place.
///
/// Flags for batch systems (`account`, `partition`, `slurm`, ...) are no such wishes: they say how to queue where there is a
/// queue.
pub fn elsewhere(workflow: &Workflow, plan: &Plan) -> Vec<(TaskId, Diagnostic)> {
    let mut all = Vec::new();
    for (index, task) in plan.tasks.iter().enumerate() {
        let id = TaskId(index as u32);
        let place = |key: &str| place(workflow, id, key);
        if let Some(image) = &task.container {
            let message =
                format!("task `{}` runs in the container `{image}`, and csync cannot start containers yet", task.name);
            let help = "install the tools on this machine and remove `container`";
            all.push((id, Diagnostic::error(place("container"), message).help(help)));
        }
        if !task.on.is_empty() && !task.on.iter().any(|place| is_here(place)) {
            let places: Vec<String> = task.on.iter().map(|place| format!("`{place}`")).collect();
            let message =
                format!("task `{}` runs on {}, and csync reaches this machine alone yet", task.name, places.join(", "));
            let help = "write `on = \"local\"`, add `\"local\"` to the list, or leave `on` out";
            all.push((id, Diagnostic::error(place("on"), message).help(help)));
        }
        if let Some((pattern, span)) = remote_glob(workflow, id) {
            let message =
                format!("task `{}` goes over `{pattern}`, and csync cannot look on other machines yet", task.name);
            let help = "copy the files here and write a pattern for them";
            all.push((id, Diagnostic::error(span, message).help(help)));
        }
        if let Some(path) = remote_path(plan, id) {
            let message =
                format!("task `{}` names `{path}`, and csync cannot move data between machines yet", task.name);
            let help = match path.strip_prefix("data:") {
                Some(_) => "copy the dataset here and write its path",
                None => "copy it here and write the path without the host",
            };
            all.push((id, Diagnostic::error(files_place(workflow, id), message).help(help)));
        }
    }
    all
}

/// Returns whether a place can be this machine.
fn is_here(place: &str) -> bool {
    matches!(place, "any" | "local" | "localhost" | "near:inputs") || place.starts_with("near:data:")
}

/// Returns the first input or output of a task that is on another host.
fn remote_path(plan: &Plan, task: TaskId) -> Option<&str> {
    let mut last = None;
    plan.instances_of(task).find_map(|instance| {
        let slice = plan.instance(instance).inputs;
        // Instances that read the same share the list.
        let inputs = if last.replace(slice) == Some(slice) { &[] } else { plan.inputs(instance) };
        let mut paths = inputs.iter().chain(plan.outputs(instance)).map(|path| plan.path(*path));
        paths.find(|path| is_remote(path))
    })
}

/// Returns the glob of a task's `foreach` when it is for another host.
fn remote_glob(workflow: &Workflow, task: TaskId) -> Option<(String, Span)> {
    let sweep = workflow.sweeps.get(workflow.tasks.get(task.index())?.sweep? as usize)?;
    let Some(Foreach::Glob(template)) = sweep.foreach else { return None };
    let pattern = workflow.templates.source(template, &workflow.params, &[]);
    is_remote(&pattern).then_some((pattern, sweep.foreach_span))
}

fn place(workflow: &Workflow, task: TaskId, key: &str) -> Option<Span> {
    let task = workflow.tasks.get(task.index())?;
    let draft = workflow.settings.get(task.settings as usize)?;
    match draft.origins.get(key)? {
        Origin::BuiltIn => None,
        Origin::Defaults(span) | Origin::Task(span) => Some(*span),
    }
}

fn files_place(workflow: &Workflow, task: TaskId) -> Option<Span> {
    let task = workflow.tasks.get(task.index())?;
    let written = task.inputs.of(&workflow.lists).iter().chain(task.outputs.of(&workflow.lists));
    let remote = written.map(|template| (workflow.templates.source(*template, &workflow.params, &[]), template.span));
    remote.into_iter().find(|(text, _)| is_remote(text)).map(|(_, span)| span).or(Some(task.span))
}
