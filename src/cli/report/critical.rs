//! The critical path: from the end of the run back to its start, always to what was waited for last.

use serde::Serialize;

use crate::cli::report::facts::Facts;
use crate::model::api::RunPlan;

/// A step of the critical path.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Step {
    /// Position of the instance in the plan.
    pub(super) instance: usize,
    /// What people call it.
    pub(super) label: String,
    /// Seconds since the start at which its first attempt started.
    pub(super) start_s: f64,
    /// Seconds since the start at which its last attempt ended.
    pub(super) end_s: f64,
    /// Seconds that it waited for room, between the end of what it waited for and its own start.
    pub(super) waited_s: f64,
}

/// Returns the steps of the critical path, the first first.
pub(super) fn path(plan: &RunPlan, facts: &Facts) -> Vec<Step> {
    let mut times: Vec<Option<(f64, f64)>> = vec![None; plan.instances.len()];
    for span in &facts.spans {
        if let Some(time) = times.get_mut(span.instance) {
            let (start, end) = time.unwrap_or((span.start, span.end));
            *time = Some((start.min(span.start), end.max(span.end)));
        }
    }
    let end = |instance: usize| times.get(instance).copied().flatten().map(|(_, end)| end);
    let later = |a: Option<usize>, b: usize| match a {
        Some(a) if end(a) >= end(b) => Some(a),
        _ => end(b).map(|_| b).or(a),
    };
    // The last of each task, for those that wait for whole tasks.
    let last_of = |first: u32, count: u32| (first as usize..first as usize + count as usize).fold(None, later);
    let last: Vec<Option<usize>> = plan.tasks.iter().map(|task| last_of(task.first, task.count)).collect();
    let mut task_of = vec![0; plan.instances.len()];
    for (index, task) in plan.tasks.iter().enumerate() {
        for slot in task_of.iter_mut().skip(task.first as usize).take(task.count as usize) {
            *slot = index;
        }
    }
    let mut steps: Vec<Step> = Vec::new();
    let mut next = (0..plan.instances.len()).fold(None, later);
    while let Some(instance) = next {
        let Some((start, end_s)) = times.get(instance).copied().flatten() else { break };
        let view = plan.instances.get(instance);
        let files = view.iter().flat_map(|instance| instance.after.iter().map(|before| before.index()));
        let needs = task_of.get(instance).and_then(|&task| plan.tasks.get(task)).map_or(&[][..], |task| &task.needs);
        let tasks = needs.iter().filter_map(|need| last.get(need.index()).copied().flatten());
        let before = files.chain(tasks).fold(None, later);
        let ready = before.and_then(end).unwrap_or(0.0);
        steps.push(Step {
            instance,
            label: view.map_or_else(String::new, |instance| instance.view.label.clone()),
            start_s: start,
            end_s,
            waited_s: (start - ready).max(0.0),
        });
        // A plan has no cycle, but a report must end whatever it is given.
        next = before.filter(|_| steps.len() < plan.instances.len());
    }
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::fixtures;

    #[test]
    fn the_path_goes_through_what_was_waited_for_last() {
        let plan = fixtures::plan();
        let facts = Facts::new(&plan, fixtures::at(1000.0));
        let steps = path(&plan, &facts);
        let words: Vec<_> =
            steps.iter().map(|step| (step.label.as_str(), step.start_s, step.end_s, step.waited_s)).collect();
        assert_eq!(
            words,
            [
                ("index", 0.0, 10.0, 0.0),
                ("align[<script>alert(1)</script>]", 15.0, 40.0, 5.0),
                ("report", 40.0, 50.0, 0.0),
            ]
        );
    }

    #[test]
    fn no_path_where_nothing_ran() {
        let mut plan = fixtures::plan();
        for instance in &mut plan.instances {
            instance.view.attempts.clear();
        }
        assert_eq!(path(&plan, &Facts::new(&plan, fixtures::at(0.0))), []);
    }
}
