//! What a plan asks for that cannot be served: hosts that nobody knows, files that cannot be brought, images without a name.

use crate::language::conda::is_file;
use crate::language::container::{Image, bind};
use crate::language::document::nearest;
use crate::language::manifest::draft::{Foreach, Origin, Workflow};
use crate::language::manifest::paths::is_remote;
use crate::model::diagnostic::{Diagnostic, Span};
use crate::model::id::TaskId;
use crate::model::plan::Plan;

/// What an entry of `on` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// This machine, or csync's choice.
    Here,
    /// Other hosts.
    There,
    /// No host, no tag.
    Nowhere,
}

/// Returns what an entry of `on` is without looking at any host: this machine, or csync's choice, which is this machine too.
pub fn is_here(place: &str) -> bool {
    matches!(place, "any" | "local" | "localhost" | "near:inputs") || place.starts_with("near:data:")
}

/// Returns, for each task that asks for what cannot be served, one mistake per wish, with its place. `known` says what an entry
/// of `on` is, and `names` are the hosts and tags that there are.
///
/// Flags for batch systems (`account`, `partition`, `slurm`, ...) are no such wishes: they say how to queue where there is a
/// queue.
pub fn elsewhere(
    workflow: &Workflow,
    plan: &Plan,
    known: &dyn Fn(&str) -> Known,
    names: &[&str],
) -> Vec<(TaskId, Diagnostic)> {
    let mut all = Vec::new();
    for (index, task) in plan.tasks.iter().enumerate() {
        let id = TaskId(index as u32);
        let place = |key: &str| place(workflow, id, key);
        if let Some(image) = &task.container {
            if let Err(why) = image.parse::<Image>() {
                let message = format!("task `{}` runs in the container `{image}`: {why}", task.name);
                let help =
                    "an image in a registry is written as `docker://python:3.12-slim`, one in a file as `tools.sif`";
                all.push((id, Diagnostic::error(place("container"), message).help(help)));
            }
            if let Some(file) = task.conda.as_deref().filter(|conda| is_file(conda)) {
                let message =
                    format!("task `{}` runs in a container, where no environment is made of `{file}`", task.name);
                let help = "leave out `container` or `conda`; an environment that the image has is named by its name";
                all.push((id, Diagnostic::error(place("conda"), message).help(help)));
            }
            let mut made =
                plan.instances_of(id).flat_map(|instance| plan.outputs(instance)).map(|path| plan.path(*path));
            if let Some(path) = made.find(|path| path.starts_with("../")) {
                let message = format!(
                    "task `{}` makes `{path}` in a container, to which all around the workflow's directory would be open for that",
                    task.name
                );
                let help = "write below the workflow's directory, or name the place by its absolute path";
                all.push((id, Diagnostic::error(files_place(workflow, id), message).help(help)));
            }
            let bad = task.binds.iter().find_map(|entry| bind(entry, &plan.root).err());
            if let Some(why) = bad {
                let message = format!("task `{}`: {why}", task.name);
                let help = "what a task reads and writes is bound without a word";
                all.push((id, Diagnostic::error(place("binds"), message).help(help)));
            }
        }
        if let Some(unknown) = unknown(&task.on, known) {
            let message = format!("task `{}` runs on `{unknown}`, and there is no such host or tag", task.name);
            let help = match nearest(unknown, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`csync hosts list` shows the hosts, `csync hosts import` takes them from ssh's configuration"
                    .to_owned(),
            };
            all.push((id, Diagnostic::error(place("on"), message).help(help)));
        }
        let leaves = task.on.iter().any(|entry| known(entry) == Known::There);
        if leaves && let Some(path) = fixed_path(plan, id) {
            let message = format!(
                "task `{}` names `{path}`, which csync does not bring to other hosts: it is outside the workflow's directory",
                task.name
            );
            let help = "copy it, or link to it, below the workflow's directory and write that name";
            all.push((id, Diagnostic::error(files_place(workflow, id), message).help(help)));
        }
        if let Some((pattern, span)) = remote_glob(workflow, id) {
            let message = format!(
                "task `{}` goes over `{pattern}`, and files of other machines are known as datasets alone",
                task.name
            );
            let help = "`csync data add NAME HOST:/DIRECTORY` names one; then write `data:NAME/*`";
            all.push((id, Diagnostic::error(span, message).help(help)));
        }
        if let Some(path) = remote_path(plan, id) {
            let message =
                format!("task `{}` names `{path}`, and files of other machines are known as datasets alone", task.name);
            let help = "`csync data add NAME HOST:/DIRECTORY` names one; then write `data:NAME/FILE`";
            all.push((id, Diagnostic::error(files_place(workflow, id), message).help(help)));
        }
    }
    all
}

/// Returns, for each task that would run on a host or a tag that there is not, its name, which, and where that is written.
pub fn nowhere<'p>(
    workflow: &Workflow,
    plan: &'p Plan,
    known: &dyn Fn(&str) -> Known,
) -> Vec<(&'p str, &'p str, Option<Span>)> {
    let tasks = (0..).map(TaskId).zip(&plan.tasks);
    let found = tasks.filter_map(|(id, task)| Some((task.name.as_str(), unknown(&task.on, known)?, id)));
    found.map(|(task, entry, id)| (task, entry, place(workflow, id, "on"))).collect()
}

fn unknown<'p>(on: &'p [String], known: &dyn Fn(&str) -> Known) -> Option<&'p str> {
    on.iter().map(String::as_str).find(|entry| known(entry) == Known::Nowhere)
}

/// Returns the first input or output of a task that is outside the workflow's directory on this machine.
fn fixed_path(plan: &Plan, task: TaskId) -> Option<&str> {
    find_path(plan, task, is_fixed)
}

fn is_fixed(path: &str) -> bool {
    path.starts_with('/') || path.starts_with("../")
}

/// Returns the first input or output of a task that is on another host.
fn remote_path(plan: &Plan, task: TaskId) -> Option<&str> {
    find_path(plan, task, is_remote)
}

fn find_path(plan: &Plan, task: TaskId, wanted: impl Fn(&str) -> bool) -> Option<&str> {
    let mut last = None;
    plan.instances_of(task).find_map(|instance| {
        let slice = plan.instance(instance).inputs;
        // Instances that read the same share the list.
        let inputs = if last.replace(slice) == Some(slice) { &[] } else { plan.inputs(instance) };
        let mut paths = inputs.iter().chain(plan.outputs(instance)).map(|path| plan.path(*path));
        paths.find(|path| wanted(path))
    })
}

/// Returns the glob of a task's `foreach` when it is for another host.
fn remote_glob(workflow: &Workflow, task: TaskId) -> Option<(String, Span)> {
    let sweep = workflow.sweeps.get(workflow.tasks.get(task.index())?.sweep? as usize)?;
    let Some(Foreach::Glob(template)) = sweep.foreach else { return None };
    let pattern = workflow.templates.source(template, &workflow.params, &[]);
    (is_remote(&pattern) && !pattern.starts_with("data:")).then_some((pattern, sweep.foreach_span))
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
    let outside = |text: &str| (is_remote(text) && !text.starts_with("data:")) || is_fixed(text);
    remote.into_iter().find(|(text, _)| outside(text)).map(|(_, span)| span).or(Some(task.span))
}
