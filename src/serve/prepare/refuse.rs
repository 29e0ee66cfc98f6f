//! What a submission is refused for that only shows here: inputs that are not there, wishes that nobody can meet.

use crate::decide::engine::protocol::Verdict;
use crate::decide::fresh::judge::Judgement;
use crate::decide::fresh::select::Selection;
use crate::language::manifest::{Workflow, missing_input};
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
pub(super) fn unserved(plan: &Plan, selection: &Selection) -> Vec<Diagnostic> {
    let tasks = (0..plan.tasks.len() as u32).map(TaskId);
    let taken = tasks.filter(|&task| plan.instances_of(task).any(|instance| selection.takes(instance)));
    taken.filter_map(|task| unserved_task(plan.task(task))).take(MOST_SHOWN).collect()
}

fn unserved_task(task: &Task) -> Option<Diagnostic> {
    if let Some(image) = &task.container {
        let message =
            format!("task `{}` runs in the container `{image}`, and csync cannot start containers", task.name);
        return Some(Diagnostic::error(None, message).help("install the tools on this machine and remove `container`"));
    }
    if !task.on.is_empty() && !task.on.iter().any(|place| is_here(place)) {
        let places = task.on.iter().map(|place| format!("`{place}`")).collect::<Vec<_>>().join(", ");
        let message = format!("task `{}` runs on {places}, and csync reaches this machine only", task.name);
        return Some(Diagnostic::error(None, message).help("write `on = \"local\"`, or leave `on` out"));
    }
    None
}

/// Returns whether a place can be the local machine.
fn is_here(place: &str) -> bool {
    matches!(place, "any" | "local" | "localhost") || place.starts_with("near:")
}
