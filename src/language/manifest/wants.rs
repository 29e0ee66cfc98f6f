//! What an expansion needs to know of the disk, and what it says of files that are not there.

use std::collections::{BTreeMap, BTreeSet};

use crate::language::manifest::draft::Workflow;
use crate::language::manifest::fill::{Filler, Segment, write_pattern};
use crate::language::manifest::glob::is_pattern;
use crate::language::manifest::mistakes::Mistakes;
use crate::language::manifest::outputs::label;
use crate::language::manifest::paths::{is_remote, normal};
use crate::language::manifest::rows::{Rows, Source};
use crate::language::manifest::template::Part;
use crate::language::manifest::values::Values;
use crate::language::manifest::{Facts, Limits, Wants};
use crate::model::diagnostic::{Diagnostic, Severity, Span};
use crate::model::id::{InstanceId, PathId};
use crate::model::plan::{Plan, Strings};

/// Returns what [`expand`](super::expand) needs to know of the disk beyond what is known. Call it with no facts, look, and
/// call it again with what was seen, until it wants nothing: patterns can hold values of rows that stand in a file.
///
/// # Errors
/// Params that the workflow does not have, and everything else that shows already.
pub fn wants(
    workflow: &Workflow,
    root: &str,
    params: &BTreeMap<String, String>,
    facts: &Facts,
) -> Result<Wants, Vec<Diagnostic>> {
    let mut mistakes = Mistakes::default();
    let values = Values::new(workflow, params, &mut mistakes);
    let limit = Limits::default().instances;
    let source = Source { workflow, values: &values, facts, root, limit };
    let mut wanted = Wanted { facts, globs: BTreeSet::new(), files: BTreeSet::new() };
    for task in &workflow.tasks {
        let sweep = task.sweep.and_then(|sweep| workflow.sweeps.get(sweep as usize));
        let foreach = sweep.and_then(|sweep| sweep.foreach.as_ref()).and_then(|foreach| source.want(foreach));
        let known = match foreach {
            Some((pattern, true)) => wanted.glob(pattern),
            Some((file, false)) => wanted.file(file),
            None => true,
        };
        let patterns: Vec<_> = task
            .inputs
            .of(&workflow.lists)
            .iter()
            .filter(|input| {
                workflow.templates.parts(**input).any(|part| matches!(part, Part::Text(text) if is_pattern(text)))
            })
            .collect();
        if patterns.is_empty() || !known {
            continue;
        }
        let name = workflow.templates.column(task.name);
        let rows = match sweep {
            Some(sweep) => source.rows(name, sweep, &[], &mut mistakes),
            None => Some(Rows::single()),
        };
        let Some(rows) = rows else { continue };
        let filler = Filler { workflow, values: &values, name, columns: &rows.columns };
        for pattern in patterns {
            let segments = filler.segments(*pattern, &mut mistakes);
            let constant = segments.iter().all(|part| matches!(part, Segment::Text(_)));
            let count = if constant { rows.len().min(1) } else { rows.len() };
            let mut text = String::new();
            for row in 0..count {
                let mut cells = Strings::default();
                rows.push(row, &mut cells);
                write_pattern(&segments, &cells, 0, &mut text);
                wanted.glob(normal(&text, root).into_owned());
            }
        }
    }
    let all = mistakes.finish();
    if all.iter().any(|mistake| mistake.severity == Severity::Error) {
        return Err(all);
    }
    Ok(Wants { globs: wanted.globs.into_iter().collect(), files: wanted.files.into_iter().collect() })
}

/// What is wanted and not known.
struct Wanted<'f> {
    facts: &'f Facts,
    globs: BTreeSet<String>,
    files: BTreeSet<String>,
}

impl Wanted<'_> {
    /// Wants a pattern; returns whether it is known.
    fn glob(&mut self, pattern: String) -> bool {
        let known = self.facts.globs.contains_key(&pattern) || is_remote(&pattern);
        if !known {
            self.globs.insert(pattern);
        }
        known
    }

    /// Wants a file; returns whether it is known.
    fn file(&mut self, file: String) -> bool {
        let known = self.facts.files.contains_key(&file);
        if !known {
            self.files.insert(file);
        }
        known
    }
}

/// Returns the mistake "this input does not exist and no task makes it", with its place.
pub fn missing_input(workflow: &Workflow, plan: &Plan, path: PathId) -> Diagnostic {
    let text = plan.path(path);
    let reader = plan.instance_ids().find(|&instance| plan.inputs(instance).contains(&path));
    let place = reader.and_then(|instance| input_span(workflow, plan, instance));
    let of = reader.map_or(String::new(), |instance| format!(", which {} reads,", label(plan, instance)));
    let mistake = Diagnostic::error(place, format!("`{text}`{of} does not exist, and no task makes it"));
    mistake.help("paths start in the workflow's directory; a task makes what it names in `outputs`")
}

/// Returns the place of a task's inputs.
fn input_span(workflow: &Workflow, plan: &Plan, instance: InstanceId) -> Option<Span> {
    let task = workflow.tasks.get(plan.instance(instance).task.index())?;
    let inputs = task.inputs.of(&workflow.lists);
    match inputs {
        [] => Some(task.span),
        [first, .., last] => Some(Span { start: first.span.start, end: last.span.end }),
        [one] => Some(one.span),
    }
}
