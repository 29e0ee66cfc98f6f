//! What a submission is refused for that only shows here: inputs that are not there, wishes that nobody can meet.

use crate::decide::engine::protocol::Verdict;
use crate::decide::fresh::judge::Judgement;
use crate::decide::fresh::select::Selection;
use crate::decide::graph::datasets::{Catalog, Worth};
use crate::language::hosts::Hosts;
use crate::language::manifest::{Workflow, elsewhere, missing_input};
use crate::model::data::DATA;
use crate::model::diagnostic::Diagnostic;
use crate::model::id::{PathId, TaskId};
use crate::model::plan::{Fingerprint, Plan};
use crate::serve::prepare::MOST_SHOWN;
use crate::serve::prepare::places::{known, names};

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

/// Returns the mistake of a task that goes over the files of a dataset of which no copy is left: what it would go over nobody knows,
/// and that is not nothing.
pub(super) fn gone(pattern: &str, catalog: &Catalog) -> Option<Diagnostic> {
    let inside = pattern.strip_prefix(DATA)?;
    let name = inside.split('/').next()?;
    let places = catalog.places(name);
    if places.is_empty() || !places.iter().all(|place| catalog.worth(place) == Worth::Gone) {
        return None;
    }
    let message = format!("no copy of the dataset `{name}` is left: nobody knows what `data:{inside}` matches");
    let help = format!(
        "`csync data where {name}` says where it was, `csync data add {name} HOST:/DIRECTORY` names another copy"
    );
    Some(Diagnostic::error(None, message).help(help))
}

/// Returns, for each task that asks for what cannot be served, a mistake per wish.
pub fn wishes(workflow: &Workflow, plan: &Plan, hosts: &Hosts) -> Vec<(TaskId, Diagnostic)> {
    elsewhere(workflow, plan, &|entry| known(entry, hosts), &names(hosts))
}

/// Returns a mistake for every wish of a task of the run that cannot be served.
pub(super) fn unserved(workflow: &Workflow, plan: &Plan, selection: &Selection, hosts: &Hosts) -> Vec<Diagnostic> {
    let taken = |task: TaskId| plan.instances_of(task).any(|instance| selection.takes(instance));
    let wishes = wishes(workflow, plan, hosts).into_iter();
    wishes.filter(|(task, _)| taken(*task)).map(|(_, mistake)| mistake).take(MOST_SHOWN).collect()
}
