//! What an expansion needs to know of the disk, and what it says of files that are not there.

use std::collections::{BTreeMap, BTreeSet};

use crate::language::document::Mistakes;
use crate::language::manifest::draft::Workflow;
use crate::language::manifest::expand::Expansion;
use crate::language::manifest::fill::{Filler, write_pattern};
use crate::language::manifest::glob::{bad_pattern, escape, matcher};
use crate::language::manifest::outputs::label;
use crate::language::manifest::paths::{is_remote, normal};
use crate::language::manifest::rows::Source;
use crate::language::manifest::template::{Name, Part, Template};
use crate::language::manifest::values::Values;
use crate::language::manifest::{Facts, Limits, Wants};
use crate::model::data::DATA;
use crate::model::diagnostic::{Diagnostic, Severity, Span};
use crate::model::id::{InstanceId, PathId, TaskId};
use crate::model::plan::Plan;
use crate::model::task::Task;

/// Returns what [`expand`](super::expand()) needs to know of the disk beyond what is known. Call it with no facts, look, and
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
    let source = Source { workflow, values: &values, facts, root, limit, whole: limit };
    let mut wanted = Wanted { facts, globs: BTreeSet::new(), files: BTreeSet::new() };
    for sweep in &workflow.sweeps {
        match sweep.foreach.as_ref().and_then(|foreach| source.want(foreach)) {
            Some((pattern, true)) => wanted.glob(pattern, sweep.foreach_span, &mut mistakes),
            Some((file, false)) => wanted.file(file),
            None => {}
        }
    }
    let rows_known = wanted.globs.is_empty() && wanted.files.is_empty();
    let mut of_rows = Vec::new();
    for (index, task) in workflow.tasks.iter().enumerate() {
        for template in task.inputs.of(&workflow.lists) {
            if !workflow.templates.is_glob(*template) {
                continue;
            }
            let name = workflow.templates.column(task.name);
            match constant(workflow, &values, name, *template) {
                Some(pattern) => wanted.glob(normal(&pattern, root).into_owned(), template.span, &mut mistakes),
                None => of_rows.push((TaskId(index as u32), *template)),
            }
        }
    }
    if rows_known && !of_rows.is_empty() && mistakes.errors() == 0 {
        let mut expansion = Expansion::new(workflow, root, &values, facts);
        expansion.rows_and_outputs(Limits::default(), &mut mistakes);
        wanted.patterns_of_rows(&expansion, &of_rows, &mut mistakes);
    }
    let all = mistakes.finish();
    if all.iter().any(|mistake| mistake.severity == Severity::Error) {
        return Err(all);
    }
    Ok(Wants { globs: wanted.globs.into_iter().collect(), files: wanted.files.into_iter().collect() })
}

/// Fills in a pattern that does not depend on a row.
fn constant(workflow: &Workflow, values: &Values, name: &str, template: Template) -> Option<String> {
    let mut pattern = String::new();
    for part in workflow.templates.parts(template) {
        match part {
            Part::Text(text) => pattern.push_str(text),
            Part::Hole(hole) => match hole.name {
                Name::Task => escape(name, &mut pattern),
                Name::Param(index, of) => escape(values.param(index, of), &mut pattern),
                _ => return None,
            },
        }
    }
    Some(pattern)
}

/// What is wanted and not known.
struct Wanted<'f> {
    facts: &'f Facts,
    globs: BTreeSet<String>,
    files: BTreeSet<String>,
}

impl Wanted<'_> {
    /// Wants a pattern, unless it is known.
    fn glob(&mut self, pattern: String, span: Span, mistakes: &mut Mistakes) {
        if self.facts.globs.contains_key(&pattern) || self.globs.contains(&pattern) || is_remote(&pattern) {
            return;
        }
        match matcher(&pattern) {
            Ok(_) => drop(self.globs.insert(pattern)),
            Err(why) => mistakes.push(bad_pattern(&pattern, &why, span)),
        }
    }

    /// Wants a file, unless it is known.
    fn file(&mut self, file: String) {
        if !self.facts.files.contains_key(&file) {
            self.files.insert(file);
        }
    }

    /// Wants patterns that hold values of rows, one for each instance.
    fn patterns_of_rows(
        &mut self,
        expansion: &Expansion<'_>,
        templates: &[(TaskId, Template)],
        mistakes: &mut Mistakes,
    ) {
        let plan = &expansion.plan;
        let mut pattern = String::new();
        for (task, template) in templates {
            let Task { name, columns, .. } = plan.task(*task);
            let filler = Filler { workflow: expansion.workflow, values: expansion.values, name, columns };
            let segments = filler.segments(*template, mistakes);
            for instance in plan.instances_of(*task) {
                write_pattern(&segments, &plan.cells, plan.instance(instance).row, &mut pattern);
                self.glob(normal(&pattern, &plan.root).into_owned(), template.span, mistakes);
            }
        }
    }
}

/// Returns the mistake "this input does not exist and no task makes it", with its place.
pub fn missing_input(workflow: &Workflow, plan: &Plan, path: PathId) -> Diagnostic {
    let text = plan.path(path);
    let reader = plan.instance_ids().find(|&instance| plan.inputs(instance).contains(&path));
    let place = reader.and_then(|instance| input_span(workflow, plan, instance));
    let of = reader.map_or(String::new(), |instance| format!(", which {} reads,", label(plan, instance)));
    if let Some(rest) = text.strip_prefix(DATA) {
        let mistake =
            Diagnostic::error(place, format!("no copy of its dataset has `data:{rest}`{}", of.trim_end_matches(',')));
        return mistake.help("`csync data scan` looks again, `csync data list` says what there is");
    }
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
