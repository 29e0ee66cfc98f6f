//! Tasks whose `foreach` is a glob that what other tasks make may match: they are expanded after those.
//!
//! A `foreach` glob finds files that exist and files that other tasks make: those of tasks without such a glob, wherever they
//! are written, and those of tasks with one that are written above. What a task makes itself is no element of its own.

use crate::language::manifest::draft::{Foreach, TaskDraft, Workflow};
use crate::language::manifest::glob::{literal_end, literal_start};
use crate::language::manifest::paths::normal;
use crate::language::manifest::template::{Name, Part, Template};
use crate::language::manifest::values::Values;

/// Most pairs of a glob and an output that are compared before all such tasks are taken to be late.
const MOST_PAIRS: usize = 10_000_000;

/// Returns, per task, whether it is expanded late.
pub(super) fn late_tasks(workflow: &Workflow, values: &Values, root: &str) -> Vec<bool> {
    let mut late = vec![false; workflow.tasks.len()];
    let patterns: Vec<(usize, String)> = workflow
        .tasks
        .iter()
        .enumerate()
        .filter_map(|(index, task)| {
            let sweep = workflow.sweeps.get(task.sweep? as usize)?;
            let Some(Foreach::Glob(template)) = &sweep.foreach else { return None };
            let pattern = values.constant(workflow, *template);
            Some((index, normal(&pattern, root).into_owned()))
        })
        .collect();
    if patterns.is_empty() {
        return late;
    }
    let outputs: usize = workflow.tasks.iter().map(|task| (task.outputs.end - task.outputs.start) as usize).sum();
    if patterns.len().saturating_mul(outputs) > MOST_PAIRS {
        for (index, _) in &patterns {
            set(&mut late, *index);
        }
        return late;
    }
    for (maker, task) in workflow.tasks.iter().enumerate() {
        for output in task.outputs.of(&workflow.lists) {
            let (start, end) = ends(workflow, values, root, *output);
            for (index, pattern) in &patterns {
                if *index != maker && agree(&start, &end, pattern) {
                    set(&mut late, *index);
                }
            }
        }
    }
    late
}

/// Returns whether a task may make what its own `foreach` glob matches.
pub(super) fn may_make_own(workflow: &Workflow, values: &Values, root: &str, task: &TaskDraft) -> bool {
    let sweep = task.sweep.and_then(|sweep| workflow.sweeps.get(sweep as usize));
    let Some(Foreach::Glob(template)) = sweep.and_then(|sweep| sweep.foreach.as_ref()) else { return false };
    let pattern = values.constant(workflow, *template);
    let pattern = normal(&pattern, root);
    task.outputs.of(&workflow.lists).iter().any(|output| {
        let (start, end) = ends(workflow, values, root, *output);
        agree(&start, &end, &pattern)
    })
}

fn set(late: &mut [bool], index: usize) {
    if let Some(late) = late.get_mut(index) {
        *late = true;
    }
}

/// Returns the texts that every path of an output begins and ends with.
fn ends(workflow: &Workflow, values: &Values, root: &str, output: Template) -> (String, String) {
    let mut start: Option<String> = None;
    let mut text = String::new();
    for part in workflow.templates.parts(output) {
        match part {
            Part::Text(literal) => text.push_str(literal),
            Part::Hole(hole) => {
                if let Name::Param(index, of) = hole.name {
                    text.push_str(values.param(index, of));
                } else {
                    let before = std::mem::take(&mut text);
                    start.get_or_insert(before);
                }
            }
        }
    }
    let start = start.unwrap_or_else(|| text.clone());
    // A start such as `./a` is another spelling; one that may go up (`..`) begins with nothing that is known.
    let start = if start.contains("..") { String::new() } else { normal(&start, root).into_owned() };
    (if start == "." { String::new() } else { start }, text)
}

/// Returns whether a path with these ends may match a pattern.
fn agree(start: &str, end: &str, pattern: &str) -> bool {
    let (first, last) = (literal_start(pattern), literal_end(pattern));
    (start.starts_with(first) || first.starts_with(start)) && (end.ends_with(last) || last.ends_with(end))
}
