//! What instances read, and the order that follows: an instance waits for those that make what it reads.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};

use crate::language::document::Mistakes;
use crate::language::manifest::contain::file_of;
use crate::language::manifest::draft::TaskDraft;
use crate::language::manifest::expand::{Expansion, MOST_FILES};
use crate::language::manifest::fill::{Filler, Segment, write_path, write_pattern};
use crate::language::manifest::glob::{bad_pattern, literal_start, matcher};
use crate::language::manifest::outputs::label;
use crate::language::manifest::paths::{is_remote, normal, parent};
use crate::model::diagnostic::{Diagnostic, Span};
use crate::model::id::{InstanceId, PathId, TaskId};
use crate::model::plan::Slice;

/// Most edges of a plan: each takes 12 bytes while they are sorted.
const MOST_EDGES: usize = 50_000_000;

/// Most comparisons of a path with a pattern.
const MOST_COMPARISONS: usize = 300_000_000;

/// Fills in the inputs of an expansion.
pub(super) struct Inputs<'e, 'a> {
    of: &'e mut Expansion<'a>,
    /// Paths that are made, sorted by text; filled when the first pattern comes.
    sorted: OnceCell<Vec<PathId>>,
    /// What a pattern without a row's values matches: existing paths and made ones.
    matches: HashMap<String, Vec<PathId>>,
    comparisons: usize,
    /// Instances whose `when` is false.
    left: Vec<InstanceId>,
    /// Paths that an active instance reads.
    read: Vec<bool>,
    /// From the instance that makes to the one that reads.
    edges: Vec<(u32, u32)>,
}

/// An input of a task as written.
struct Written<'a> {
    segments: Vec<Segment<'a>>,
    span: Span,
    pattern: bool,
    /// Whether it is the same for every row.
    constant: bool,
}

impl<'e, 'a> Inputs<'e, 'a> {
    /// Starts with an expansion whose outputs are known.
    pub(super) fn new(of: &'e mut Expansion<'a>) -> Self {
        let left = std::mem::take(&mut of.left);
        Self {
            of,
            left,
            sorted: OnceCell::new(),
            matches: HashMap::new(),
            comparisons: 0,
            read: Vec::new(),
            edges: Vec::new(),
        }
    }

    /// Fills in inputs, order and producers.
    pub(super) fn run(mut self, mistakes: &mut Mistakes) {
        let workflow = self.of.workflow;
        for (index, task) in workflow.tasks.iter().enumerate() {
            self.task(TaskId(index as u32), task, mistakes);
            if self.of.plan.path_refs.len() > MOST_FILES {
                mistakes.error(task.span, format!("the instances name more than {MOST_FILES} files in all"));
                return;
            }
        }
        self.of.check_unquoted(mistakes);
        self.order(mistakes);
        self.of.left = std::mem::take(&mut self.left);
        self.finish();
    }

    fn task(&mut self, id: TaskId, task: &'a TaskDraft, mistakes: &mut Mistakes) {
        let name = self.of.workflow.templates.column(task.name);
        let columns = self.of.plan.task(id).columns.clone();
        let filler = Filler { workflow: self.of.workflow, values: self.of.values, name, columns: &columns };
        let written: Vec<Written<'a>> = task
            .inputs
            .of(&self.of.workflow.lists)
            .iter()
            .map(|template| {
                let pattern = self.of.workflow.templates.is_glob(*template);
                let segments = filler.segments(*template, mistakes);
                let constant = segments.iter().all(Segment::is_constant);
                Written { segments, span: template.span, pattern, constant }
            })
            .collect();
        let constant = written.iter().all(|input| input.constant);
        let own = file_of(self.of.plan.task(id), &self.of.plan.root);
        let mut shared: Option<Slice> = None;
        let mut fewest = usize::MAX;
        let instances = self.of.plan.instances_of(id);
        let instances: Vec<InstanceId> = instances.collect();
        for &instance in &instances {
            let active = self.left.binary_search(&instance).is_err();
            let slice = match shared {
                Some(slice) => slice,
                None => self.instance(instance, id, &written, own.as_deref(), active, mistakes),
            };
            // Instances that read the same share one list of it.
            if constant && shared.is_none() && active {
                shared = Some(slice);
            }
            fewest = fewest.min(slice.len as usize - usize::from(own.is_some()));
            if let Some(instance) = self.of.plan.instances.get_mut(instance.index()) {
                instance.inputs = slice;
            }
        }
        if !instances.is_empty() {
            self.check_numbers(task, fewest, mistakes);
        }
    }

    /// Checks `{inputs[n]}` and `{outputs[n]}` against how many there are.
    fn check_numbers(&self, task: &TaskDraft, inputs: usize, mistakes: &mut Mistakes) {
        let outputs = task.outputs.of(&self.of.workflow.lists).len();
        self.of.check_file_numbers(task, inputs, outputs, mistakes);
    }

    fn instance(
        &mut self,
        instance: InstanceId,
        task: TaskId,
        written: &[Written<'_>],
        image: Option<&str>,
        active: bool,
        mistakes: &mut Mistakes,
    ) -> Slice {
        let start = self.of.plan.path_refs.len() as u32;
        let row = self.of.plan.instance(instance).row;
        let mut text = String::new();
        for input in written {
            if input.pattern {
                write_pattern(&input.segments, &self.of.plan.cells, row, &mut text);
                let pattern = normal(&text, &self.of.plan.root).into_owned();
                self.matching(&pattern, instance, task, input, active, mistakes);
                continue;
            }
            write_path(&input.segments, &self.of.plan.cells, row, &mut text);
            let path = normal(&text, &self.of.plan.root);
            if path.is_empty() {
                let message = format!("an input without a name, in {}", label(&self.of.plan, instance));
                mistakes.push(Diagnostic::error(input.span, message));
                continue;
            }
            let id = PathId(self.of.paths.intern(&path));
            self.push(id, active);
        }
        // The last: `declared` leaves it out.
        if let Some(image) = image {
            let id = PathId(self.of.paths.intern(image));
            self.push(id, active);
        }
        Slice { start, len: self.of.plan.path_refs.len() as u32 - start }
    }

    fn push(&mut self, path: PathId, active: bool) {
        self.of.plan.path_refs.push(path);
        if self.read.len() <= path.index() {
            self.read.resize(path.index() + 1, false);
        }
        if active && let Some(read) = self.read.get_mut(path.index()) {
            *read = true;
        }
    }

    /// Appends what a pattern matches, but for what the same task makes.
    fn matching(
        &mut self,
        pattern: &str,
        instance: InstanceId,
        task: TaskId,
        input: &Written<'_>,
        active: bool,
        mistakes: &mut Mistakes,
    ) {
        let span = input.span;
        let found = if input.constant {
            if !self.matches.contains_key(pattern) {
                let found = self.search(pattern, span, mistakes);
                self.matches.insert(pattern.to_owned(), found);
            }
            self.matches.get(pattern).cloned().unwrap_or_default()
        } else {
            // Patterns with a row's values in them come once each: remembering them would only fill memory.
            self.search(pattern, span, mistakes)
        };
        let before = self.of.plan.path_refs.len();
        for path in found {
            let own = self.of.makers.of(path).is_some_and(|maker| self.of.plan.instance(maker).task == task);
            if !own {
                self.push(path, active);
            }
        }
        if self.of.plan.path_refs.len() > before {
            return;
        }
        // All that would make something that matches is left out: then what reads it has nothing to read, which is known
        // once the disk is looked at.
        for path in self.made_by_left(pattern) {
            self.push(path, active);
        }
        if self.of.plan.path_refs.len() == before && active {
            let message = format!(
                "`{pattern}` matches no file, and nothing that another task makes, for {}",
                label(&self.of.plan, instance)
            );
            mistakes.push(Diagnostic::error(span, message).help("globs start in the workflow's directory"));
        }
    }

    /// Returns what instances would make that are left out, where it matches a pattern.
    fn made_by_left(&self, pattern: &str) -> Vec<PathId> {
        let Ok(matcher) = matcher(pattern) else { return Vec::new() };
        let made = self.left.iter().flat_map(|&instance| self.of.plan.outputs(instance));
        let mut made: Vec<PathId> =
            made.filter(|path| matcher.is_match(self.of.paths.strings.get(path.0))).copied().collect();
        made.sort_unstable();
        made.dedup();
        made
    }

    fn search(&mut self, pattern: &str, span: Span, mistakes: &mut Mistakes) -> Vec<PathId> {
        let mut found = Vec::new();
        if is_remote(pattern) {
            found.push(PathId(self.of.paths.intern(pattern)));
            return found;
        }
        let exist = self.of.facts.globs.get(pattern).map(Vec::as_slice).unwrap_or_default();
        for path in exist {
            let path = normal(path, &self.of.plan.root);
            found.push(PathId(self.of.paths.intern(&path)));
        }
        let matcher = match matcher(pattern) {
            Ok(matcher) => matcher,
            Err(why) => {
                mistakes.push(bad_pattern(pattern, &why, span));
                return found;
            }
        };
        let text = |path: &PathId| self.of.paths.strings.get(path.0);
        let mut comparisons = 0;
        for path in self.made_from(literal_start(pattern)) {
            comparisons += 1;
            if matcher.is_match(text(&path)) {
                found.push(path);
            }
        }
        self.comparisons += comparisons;
        if self.comparisons > MOST_COMPARISONS {
            let help = "begin the pattern with a directory of its own, or name the files";
            let message = format!("patterns were compared with files more than {MOST_COMPARISONS} times");
            mistakes.push(Diagnostic::error(span, message).help(help));
            self.comparisons = 0;
        }
        let text = |path: &PathId| self.of.paths.strings.get(path.0);
        found.sort_unstable_by(|left, right| text(left).cmp(text(right)));
        found.dedup();
        found
    }

    /// Returns the paths that are made and begin with a text.
    fn made_from(&self, start: &str) -> impl Iterator<Item = PathId> {
        let text = |path: &PathId| self.of.paths.strings.get(path.0);
        let sorted = self.sorted.get_or_init(|| {
            let mut made: Vec<PathId> = self.of.makers.paths().collect();
            made.sort_unstable_by(|left, right| text(left).cmp(text(right)));
            made
        });
        let from = sorted.partition_point(|path| text(path) < start);
        sorted.get(from..).unwrap_or_default().iter().take_while(move |path| text(path).starts_with(start)).copied()
    }

    /// Finds for each instance those that it waits for.
    fn order(&mut self, mistakes: &mut Mistakes) {
        let around = self.around();
        let mut makers: Vec<u32> = Vec::new();
        for instance in self.of.plan.instance_ids() {
            if self.left.binary_search(&instance).is_ok() {
                continue;
            }
            makers.clear();
            for path in self.of.plan.inputs(instance) {
                match self.of.makers.of(*path) {
                    Some(maker) if maker == instance => self.own_output(instance, *path, mistakes),
                    Some(maker) => makers.push(maker.0),
                    None => {
                        let around = around.get(path).map(Vec::as_slice).unwrap_or_default();
                        makers.extend(around.iter().filter(|maker| **maker != instance).map(|maker| maker.0));
                    }
                }
            }
            makers.sort_unstable();
            makers.dedup();
            self.edges.extend(makers.iter().map(|maker| (*maker, instance.0)));
            if self.edges.len() > MOST_EDGES {
                let help = "use `needs` where every instance of a task waits for all of another";
                mistakes.push(
                    Diagnostic::error(None, format!("files tie instances together more than {MOST_EDGES} times"))
                        .help(help),
                );
                return;
            }
        }
        let external = self.read.iter().enumerate().filter(|(_, read)| **read).map(|(path, _)| PathId(path as u32));
        let external = external.filter(|path| self.of.makers.of(*path).is_none() && !around.contains_key(path));
        let external = external.filter(|path| !is_remote(self.of.paths.strings.get(path.0)));
        self.of.external = external.collect();
    }

    fn own_output(&self, instance: InstanceId, path: PathId, mistakes: &mut Mistakes) {
        let text = self.of.paths.strings.get(path.0);
        let task = self.of.workflow.tasks.get(self.of.plan.instance(instance).task.index());
        let message = format!("{} reads `{text}`, which it makes itself", label(&self.of.plan, instance));
        let help = "let it write to another name: what a task makes is removed before it runs";
        mistakes.push(Diagnostic::error(task.map(|task| task.span), message).help(help));
    }

    /// Finds who makes paths that nobody makes under that very name: those inside a directory that is made, and directories
    /// in which something is made.
    fn around(&self) -> BTreeMap<PathId, Vec<InstanceId>> {
        let mut around = BTreeMap::new();
        let mut last: Option<(&str, Option<InstanceId>)> = None;
        for (index, _) in self.read.iter().enumerate().filter(|(_, read)| **read) {
            let path = PathId(index as u32);
            let text = self.of.paths.strings.get(path.0);
            if self.of.makers.of(path).is_some() || is_remote(text) {
                continue;
            }
            let dir = parent(text).unwrap_or_default();
            let above = match last {
                Some((known, above)) if known == dir => above,
                _ => self.of.makers.above(text, &self.of.paths),
            };
            last = Some((dir, above));
            if let Some(above) = above {
                around.insert(path, vec![above]);
            } else if self.of.makers.has_dir(text) {
                let inside = format!("{text}/");
                let mut makers: Vec<InstanceId> =
                    self.made_from(&inside).filter_map(|made| self.of.makers.of(made)).collect();
                makers.sort_unstable();
                makers.dedup();
                around.insert(path, makers);
            }
        }
        around
    }

    /// Sorts the edges by where they start, and hands paths and producers to the plan.
    fn finish(self) {
        let plan = &mut self.of.plan;
        let mut ends = vec![0u32; plan.instances.len()];
        for (from, _) in &self.edges {
            if let Some(end) = ends.get_mut(*from as usize) {
                *end += 1;
            }
        }
        let mut sum = 0;
        for end in &mut ends {
            sum += std::mem::replace(end, sum);
        }
        let mut dependents = vec![InstanceId(0); self.edges.len()];
        for (from, to) in &self.edges {
            let Some(at) = ends.get_mut(*from as usize) else { continue };
            if let Some(place) = dependents.get_mut(*at as usize) {
                *place = InstanceId(*to);
            }
            *at += 1;
        }
        plan.dependent_ends = ends;
        plan.dependents = dependents;
        plan.paths = std::mem::take(&mut self.of.paths).strings;
        plan.producers = std::mem::take(&mut self.of.makers).into_producers(plan.paths.len());
        plan.paths.shrink();
        plan.cells.shrink();
        plan.path_refs.shrink_to_fit();
        plan.instances.shrink_to_fit();
    }
}
