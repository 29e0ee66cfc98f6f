//! Who makes which file: one instance each, and no file inside another's directory.

use crate::language::document::Mistakes;
use crate::language::manifest::draft::Workflow;
use crate::language::manifest::paths::{Interner, parent};
use crate::model::diagnostic::{Diagnostic, Span};
use crate::model::id::{InstanceId, PathId};
use crate::model::plan::Plan;

/// Most mistakes of one kind: a template that forgets `{item}` makes one per instance.
const MOST: usize = 10;

/// The instance that makes each path.
#[derive(Debug, Default)]
pub(super) struct Makers {
    /// By path: the number of the instance plus one; 0 is none.
    by_path: Vec<u32>,
    /// Directories that hold outputs.
    dirs: Interner,
    /// By directory: a path made in it.
    inside: Vec<PathId>,
    clashes: usize,
}

impl Makers {
    /// Returns the instance that makes a path.
    pub(super) fn of(&self, path: PathId) -> Option<InstanceId> {
        self.by_path.get(path.index()).copied().filter(|&maker| maker > 0).map(|maker| InstanceId(maker - 1))
    }

    /// Returns whether anything is made in a directory.
    pub(super) fn has_dir(&self, dir: &str) -> bool {
        self.dirs.find(dir).is_some()
    }

    /// Returns whether any made path is a directory of other paths' spelling, looking at a path's parents.
    pub(super) fn above(&self, path: &str, paths: &Interner) -> Option<InstanceId> {
        let mut dir = parent(path);
        while let Some(name) = dir {
            if let Some(maker) = paths.find(name).and_then(|id| self.of(PathId(id))) {
                return Some(maker);
            }
            dir = parent(name);
        }
        None
    }

    /// Takes note that an instance makes a path.
    pub(super) fn made(
        &mut self,
        path: PathId,
        instance: InstanceId,
        plan: &Plan,
        paths: &Interner,
        workflow: &Workflow,
        mistakes: &mut Mistakes,
    ) {
        let index = path.index();
        if self.by_path.len() <= index {
            self.by_path.resize(index + 1, 0);
        }
        let Some(maker) = self.by_path.get_mut(index) else { return };
        if *maker == 0 {
            *maker = instance.0 + 1;
            return;
        }
        let first = InstanceId(*maker - 1);
        self.clashes += 1;
        if self.clashes > MOST {
            return;
        }
        mistakes.push(clash(path, first, instance, plan, paths, workflow));
    }

    /// Finds outputs that lie inside other outputs.
    pub(super) fn check_nesting(
        &mut self,
        plan: &Plan,
        paths: &Interner,
        workflow: &Workflow,
        mistakes: &mut Mistakes,
    ) {
        let mut last: &str = "";
        for index in 0..self.by_path.len() as u32 {
            if self.by_path.get(index as usize).is_none_or(|&maker| maker == 0) {
                continue;
            }
            let mut dir = parent(paths.strings.get(index));
            if dir == Some(last) {
                continue;
            }
            last = dir.unwrap_or_default();
            while let Some(name) = dir {
                if self.dirs.find(name).is_some() {
                    break;
                }
                self.dirs.intern(name);
                self.inside.push(PathId(index));
                dir = parent(name);
            }
        }
        let nested = (0..self.dirs.strings.len() as u32).filter_map(|dir| {
            let outer = PathId(paths.find(self.dirs.strings.get(dir))?);
            let inner = *self.inside.get(dir as usize)?;
            Some((outer, self.of(outer)?, inner, self.of(inner)?))
        });
        for (outer, outer_maker, inner, inner_maker) in nested.take(MOST) {
            let (outer_text, inner_text) = (paths.strings.get(outer.0), paths.strings.get(inner.0));
            let message = format!(
                "{} makes `{outer_text}`, and {} makes `{inner_text}` inside it",
                label(plan, outer_maker),
                label(plan, inner_maker)
            );
            let mut mistake = Diagnostic::error(output_span(plan, workflow, inner_maker, inner), message);
            if let Some(span) = output_span(plan, workflow, outer_maker, outer) {
                mistake = mistake.related(span, "the directory");
            }
            mistakes.push(
                mistake
                    .help("a directory is what is in it, all of which its task answers for: give each its own place"),
            );
        }
    }

    /// Returns the makers, one entry per path of the plan.
    pub(super) fn into_producers(mut self, paths: usize) -> Vec<Option<InstanceId>> {
        self.by_path.resize(paths, 0);
        self.by_path.into_iter().map(|maker| maker.checked_sub(1).map(InstanceId)).collect()
    }

    /// Iterates over the paths that are made.
    pub(super) fn paths(&self) -> impl Iterator<Item = PathId> {
        let made = self.by_path.iter().enumerate().filter(|(_, maker)| **maker > 0);
        made.map(|(path, _)| PathId(path as u32))
    }
}

fn clash(
    path: PathId,
    first: InstanceId,
    second: InstanceId,
    plan: &Plan,
    paths: &Interner,
    workflow: &Workflow,
) -> Diagnostic {
    let text = paths.strings.get(path.0);
    let (first_task, second_task) = (plan.instance(first).task, plan.instance(second).task);
    let span = output_span(plan, workflow, second, path);
    if first == second {
        return Diagnostic::error(span, format!("{} names its output `{text}` twice", label(plan, first)));
    }
    let message = format!("{} and {} both make `{text}`", label(plan, first), label(plan, second));
    if first_task == second_task {
        let help = "let the name differ between instances: put `{item...}` or `{matrix...}` into it";
        return Diagnostic::error(span, message).help(help);
    }
    let mut mistake = Diagnostic::error(span, message).label("made here");
    if let Some(span) = output_span(plan, workflow, first, path) {
        mistake = mistake.related(span, "and here");
    }
    mistake.help("a file has one task that makes it")
}

/// Returns the place where an instance's output is written.
pub(super) fn output_span(plan: &Plan, workflow: &Workflow, instance: InstanceId, path: PathId) -> Option<Span> {
    let slice = plan.instance(instance).outputs;
    let refs = plan.path_refs.get(slice.start as usize..).unwrap_or_default();
    let at = refs.iter().take(slice.len as usize).rposition(|at| *at == path);
    let task = workflow.tasks.get(plan.instance(instance).task.index())?;
    let outputs = task.outputs.of(&workflow.lists);
    at.and_then(|at| outputs.get(at)).map(|template| template.span)
}

/// Returns an instance's name in backticks, for messages.
pub(super) fn label(plan: &Plan, instance: InstanceId) -> String {
    format!("`{}`", plan.label(instance))
}
