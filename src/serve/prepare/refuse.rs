//! What a submission is refused for that only shows here: inputs that are not there, wishes that nobody can meet.

use crate::decide::engine::protocol::Verdict;
use crate::decide::fresh::judge::Judgement;
use crate::decide::fresh::select::Selection;
use crate::language::manifest::{Workflow, is_remote, missing_input, refused_task};
use crate::model::diagnostic::Diagnostic;
use crate::model::id::{PathId, TaskId};
use crate::model::plan::{Fingerprint, Plan};
use crate::model::task::Task;
use crate::serve::prepare::MOST_SHOWN;

/// Returns a mistake for every input that must exist and does not.
pub(super) fn missing_inputs(
    workflow: &Workflow,
    plan: &Plan,
    external: &[PathId],
    judgement: &Judgement,
    seen: &[Option<Fingerprint>],
) -> Vec<Diagnostic> {
    let is_seen = |path: PathId| seen.get(path.index()).is_some_and(Option::is_some);
    if external.iter().all(|&path| is_seen(path)) {
        return Vec::new();
    }
    // Only what takes part in the run needs its inputs.
    let mut needed = vec![false; plan.paths.len()];
    for (instance, verdict) in plan.instance_ids().zip(&judgement.verdicts) {
        if *verdict != Verdict::Left {
            for path in plan.inputs(instance) {
                if let Some(needed) = needed.get_mut(path.index()) {
                    *needed = true;
                }
            }
        }
    }
    let is_needed = |path: PathId| needed.get(path.index()).copied().unwrap_or(false);
    let missing: Vec<PathId> = external.iter().copied().filter(|&path| is_needed(path) && !is_seen(path)).collect();
    let mut mistakes: Vec<_> =
        missing.iter().take(MOST_SHOWN).map(|&path| missing_input(workflow, plan, path)).collect();
    if missing.len() > MOST_SHOWN {
        mistakes.push(Diagnostic::error(None, format!("{} more inputs do not exist", missing.len() - MOST_SHOWN)));
    }
    mistakes
}

/// Returns a mistake for every task of the run that asks for what the local machine cannot do.
pub(super) fn unserved(workflow: &Workflow, plan: &Plan, selection: &Selection) -> Vec<Diagnostic> {
    let remote: Vec<bool> = plan.paths.iter().map(is_remote).collect();
    let any_remote = remote.contains(&true);
    let is_remote = |path: &PathId| remote.get(path.index()).copied().unwrap_or(false);
    let mut mistakes = Vec::new();
    for task in (0..plan.tasks.len() as u32).map(TaskId) {
        let mut taken = plan.instances_of(task).filter(|&instance| selection.takes(instance)).peekable();
        if taken.peek().is_none() {
            continue;
        }
        let mut refusal = unserved_task(plan.task(task));
        if refusal.is_none() && any_remote {
            let mut paths = taken.flat_map(|instance| plan.inputs(instance).iter().chain(plan.outputs(instance)));
            refusal = paths.find(|path| is_remote(path)).map(|path| unserved_path(plan, task, *path));
        }
        if let Some((message, help)) = refusal {
            mistakes.push(refused_task(workflow, task, message).help(help));
        }
        if mistakes.len() == MOST_SHOWN {
            break;
        }
    }
    mistakes
}

/// Returns what is wrong with a task's wishes, and what to write instead.
fn unserved_task(task: &Task) -> Option<(String, &'static str)> {
    let name = &task.name;
    if let Some(image) = &task.container {
        let message = format!("task `{name}` runs in the container `{image}`, and csync cannot start containers yet");
        return Some((message, "install the tools on this machine and leave `container` out"));
    }
    if !task.on.is_empty() && !task.on.iter().any(|place| is_here(place)) {
        let places = task.on.iter().map(|place| format!("`{place}`")).collect::<Vec<_>>().join(", ");
        let message = format!("task `{name}` runs on {places}, and csync reaches this machine alone yet");
        return Some((message, "write `on = \"local\"`, or leave `on` out"));
    }
    None
}

fn unserved_path(plan: &Plan, task: TaskId, path: PathId) -> (String, &'static str) {
    let (name, path) = (&plan.task(task).name, plan.path(path));
    let message = format!("task `{name}` names `{path}`, and csync cannot move data between machines yet");
    (message, "copy the data here and name it by its path")
}

/// Returns whether a place can be the local machine.
fn is_here(place: &str) -> bool {
    matches!(place, "any" | "local" | "localhost") || place.starts_with("near:")
}
