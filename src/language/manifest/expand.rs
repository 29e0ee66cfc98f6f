//! Expansion: rows to instances, texts to paths, paths to order.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::language::document::Mistakes;
use crate::language::manifest::contain::declared;
use crate::language::manifest::draft::{Draft, Foreach, Run, TaskDraft, Workflow};
use crate::language::manifest::fill::{Filler, Segment, Unquoted, cannot_quote, fits, write_path};
use crate::language::manifest::glob::{bad_pattern, literal_start, matcher};
use crate::language::manifest::inputs::Inputs;
use crate::language::manifest::late::{late_tasks, may_make_own};
use crate::language::manifest::order::check_order;
use crate::language::manifest::outputs::{Makers, label};
use crate::language::manifest::paths::{Interner, normal, part};
use crate::language::manifest::rows::{Rows, Source};
use crate::language::manifest::template::{Name, Template};
use crate::language::manifest::values::Values;
use crate::language::manifest::when::Condition;
use crate::language::manifest::{Expanded, Facts, Limits};
use crate::model::diagnostic::{Diagnostic, Severity, Span};
use crate::model::id::{InstanceId, PathId, TaskId};
use crate::model::plan::{Instance, Plan, Slice, Strings};
use crate::model::task::{Command, Hole, INTERNET, Settings, Task};

/// Most bytes of the texts of a plan: they are numbered with 32 bits.
const MOST_BYTES: usize = 3 << 30;

/// Most commands that are kept to be shared: where all differ, keeping them costs more than it saves.
const MOST_SHARED: usize = 4096;

/// Most inputs and outputs of all instances together.
pub(super) const MOST_FILES: usize = 100_000_000;

/// Expands a workflow into instances in the directory `root` (absolute).
///
/// # Errors
/// Every mistake that shows only now: unknown parameters, two producers of one file, cycles, too many instances.
pub fn expand(
    workflow: &Workflow,
    root: &str,
    params: &BTreeMap<String, String>,
    facts: &Facts,
    limits: Limits,
) -> Result<Expanded, Vec<Diagnostic>> {
    let mut mistakes = Mistakes::default();
    if workflow.refused {
        mistakes.push(Diagnostic::error(None, "the workflow has mistakes").help("run `csync check`"));
        return Err(mistakes.finish());
    }
    let values = Values::new(workflow, params, &mut mistakes);
    let mut expansion = Expansion::new(workflow, root, &values, facts);
    expansion.rows_and_outputs(limits, &mut mistakes);
    if mistakes.errors() == 0 {
        expansion.inputs(&mut mistakes);
    }
    if mistakes.errors() == 0 {
        check_order(&expansion.plan, workflow, &mut mistakes);
    }
    let all = mistakes.finish();
    if all.iter().any(|mistake| mistake.severity == Severity::Error) {
        return Err(all);
    }
    Ok(Expanded { plan: expansion.plan, left: expansion.left, external: expansion.external, warnings: all })
}

/// A command, and the hash of the definition that it gives a task.
#[derive(Clone)]
struct Defined {
    command: Arc<Command>,
    definition: [u8; 16],
}

/// A plan being made.
pub(super) struct Expansion<'a> {
    pub(super) workflow: &'a Workflow,
    pub(super) values: &'a Values,
    pub(super) facts: &'a Facts,
    pub(super) plan: Plan,
    pub(super) paths: Interner,
    pub(super) makers: Makers,
    /// Instances whose `when` is false.
    pub(super) left: Vec<InstanceId>,
    pub(super) external: Vec<PathId>,
    /// Holes whose values need looking at, with their task.
    pub(super) unquoted: Vec<(TaskId, Unquoted)>,
    /// Settings that were made, and their hash, by the draft's index.
    settings: Vec<Option<(Arc<Settings>, blake3::Hash)>>,
    /// Commands that were made, by the parts of the template and the draft's index.
    commands: HashMap<(u32, u32, u32), Defined>,
    buffer: String,
}

/// The glob of a `foreach`.
#[derive(Clone)]
struct Glob {
    /// What every match begins with.
    start: String,
    matcher: globset::GlobMatcher,
    span: Span,
}

impl<'a> Expansion<'a> {
    pub(super) fn new(workflow: &'a Workflow, root: &str, values: &'a Values, facts: &'a Facts) -> Self {
        let settings = Arc::new(Settings::default());
        let command = Arc::new(Command::Argv(Vec::new()));
        let blank = || Task {
            name: String::new(),
            command: Arc::clone(&command),
            settings: Arc::clone(&settings),
            needs: Vec::new(),
            columns: Vec::new(),
            definition: [0; 16],
        };
        let plan = Plan {
            name: workflow.name.clone(),
            root: root.to_owned(),
            max_failures: workflow.max_failures,
            tasks: workflow.tasks.iter().map(|_| blank()).collect(),
            task_instances: vec![Slice::default(); workflow.tasks.len()],
            ..Plan::default()
        };
        Self {
            workflow,
            values,
            facts,
            plan,
            paths: Interner::default(),
            makers: Makers::default(),
            left: Vec::new(),
            external: Vec::new(),
            unquoted: Vec::new(),
            settings: vec![None; workflow.settings.len()],
            commands: HashMap::new(),
            buffer: String::new(),
        }
    }

    /// Makes tasks and instances, and what the instances write.
    pub(super) fn rows_and_outputs(&mut self, limits: Limits, mistakes: &mut Mistakes) {
        let late = late_tasks(self.workflow, self.values, &self.plan.root);
        let tasks = || late.iter().enumerate();
        let (early, late): (Vec<_>, Vec<_>) = tasks().partition(|(_, late)| !**late);
        for (index, _) in &early {
            if !self.rows_of(*index, None, limits, mistakes) {
                return;
            }
        }
        let mut globs = Vec::new();
        for (index, _) in &late {
            let glob = self.glob_of(*index, mistakes);
            globs.push(glob.clone());
            if !self.rows_of(*index, glob, limits, mistakes) {
                return;
            }
        }
        for (at, ((index, _), glob)) in late.iter().zip(&globs).enumerate() {
            if let Some(glob) = glob {
                let after: Vec<usize> = late.iter().skip(at + 1).map(|(index, _)| *index).collect();
                self.check_later(*index, glob, &after, mistakes);
            }
        }
        self.makers.check_nesting(&self.plan, &self.paths, self.workflow, mistakes);
    }

    /// Makes the instances of a task; false when it makes no sense to go on.
    fn rows_of(&mut self, index: usize, glob: Option<Glob>, limits: Limits, mistakes: &mut Mistakes) -> bool {
        let workflow = self.workflow;
        let Some(task) = workflow.tasks.get(index) else { return false };
        let name = workflow.templates.column(task.name);
        let room = limits.instances.saturating_sub(self.plan.instances.len() as u64);
        let directory = self.plan.root.clone();
        let source = Source {
            workflow,
            values: self.values,
            facts: self.facts,
            root: &directory,
            limit: room,
            whole: limits.instances,
        };
        let sweep = task.sweep.and_then(|sweep| workflow.sweeps.get(sweep as usize));
        let made: Vec<String> = glob.map_or_else(Vec::new, |glob| self.made_like(index, &glob));
        let made: Vec<&str> = made.iter().map(String::as_str).collect();
        let rows = match sweep {
            Some(sweep) => source.rows(name, sweep, &made, mistakes),
            None => Some(Rows::single()),
        };
        let Some(rows) = rows else { return true };
        if rows.len() as u64 > room {
            let message = format!("the workflow would have more than {} instances", limits.instances);
            mistakes.push(Diagnostic::error(task.span, message).help("split the workflow"));
            return false;
        }
        self.task(index, task, name, rows, mistakes);
        self.has_room()
    }

    /// Returns whether names and numbers of files are within what 32 bits can count.
    fn has_room(&self) -> bool {
        self.paths.bytes() < MOST_BYTES
            && self.plan.cells.bytes() < MOST_BYTES
            && self.plan.path_refs.len() < MOST_FILES
    }

    /// Returns the glob of a task's `foreach`.
    fn glob_of(&self, index: usize, mistakes: &mut Mistakes) -> Option<Glob> {
        let task = self.workflow.tasks.get(index)?;
        let sweep = self.workflow.sweeps.get(task.sweep? as usize)?;
        let Some(Foreach::Glob(template)) = &sweep.foreach else { return None };
        let pattern = self.values.constant(self.workflow, *template);
        let pattern = normal(&pattern, &self.plan.root).into_owned();
        match matcher(&pattern) {
            Ok(matcher) => Some(Glob { start: literal_start(&pattern).to_owned(), matcher, span: sweep.foreach_span }),
            Err(why) => {
                mistakes.push(bad_pattern(&pattern, &why, sweep.foreach_span));
                None
            }
        }
    }

    /// Returns what other tasks make, so far, that matches a glob.
    fn made_like(&self, index: usize, glob: &Glob) -> Vec<String> {
        let made = self.makers.paths().map(|path| (path, self.paths.strings.get(path.0)));
        let made = made.filter(|(_, text)| text.starts_with(&glob.start) && glob.matcher.is_match(text));
        let own = |path| self.makers.of(path).is_some_and(|maker| self.plan.instance(maker).task.index() == index);
        made.filter(|(path, _)| !own(*path)).map(|(_, text)| text.to_owned()).collect()
    }

    /// Refuses a glob that matches what tasks make that are expanded after it.
    fn check_later(&self, index: usize, glob: &Glob, after: &[usize], mistakes: &mut Mistakes) {
        let later = self.makers.paths().find_map(|path| {
            let maker = self.makers.of(path)?;
            let task = self.plan.instance(maker).task.index();
            let text = self.paths.strings.get(path.0);
            let matches = after.contains(&task) && text.starts_with(&glob.start) && glob.matcher.is_match(text);
            matches.then_some((text, task))
        });
        if let Some((text, task)) = later {
            let name = |index: usize| self.plan.tasks.get(index).map_or("", |task| task.name.as_str());
            let message = format!(
                "`{}` goes over what `{}` makes (`{text}`), which is written below it",
                name(index),
                name(task)
            );
            let mut mistake = Diagnostic::error(glob.span, message);
            if let Some(task) = self.workflow.tasks.get(task) {
                mistake = mistake.related(task.span, "this task");
            }
            mistakes.push(mistake.help(format!("move `[tasks.{}]` above `[tasks.{}]`", name(task), name(index))));
        }
    }

    /// Leaves out elements of a glob that the task makes itself: they are there when it has run once.
    fn leave_out_own(&self, outputs: &[Vec<Segment<'_>>], rows: &mut Rows) {
        let found: HashSet<String> = rows.items().map(|item| normal(item, &self.plan.root).into_owned()).collect();
        let mut own = HashSet::new();
        let mut path = String::new();
        for row in 0..rows.len() {
            let mut cells = Strings::default();
            rows.push(row, &mut cells);
            for segments in outputs {
                write_path(segments, &cells, 0, &mut path);
                let path = normal(&path, &self.plan.root);
                if let Some(item) = found.get(path.as_ref()) {
                    own.insert(item.clone());
                }
            }
        }
        if !own.is_empty() {
            rows.retain(|item| !own.contains(normal(item, &self.plan.root).as_ref()));
        }
    }

    fn task(&mut self, index: usize, task: &'a TaskDraft, name: &'a str, mut rows: Rows, mistakes: &mut Mistakes) {
        let columns = rows.columns.clone();
        let filler = Filler { workflow: self.workflow, values: self.values, name, columns: &columns };
        let outputs = task.outputs.of(&self.workflow.lists);
        let outputs: Vec<Vec<Segment<'a>>> = outputs.iter().map(|path| filler.segments(*path, mistakes)).collect();
        if rows.found && may_make_own(self.workflow, self.values, &self.plan.root, task) {
            self.leave_out_own(&outputs, &mut rows);
        }
        let mut unquoted = Vec::new();
        let (settings, hash) = self.settings(task.settings, &filler, &mut unquoted, mistakes);
        let Defined { command, definition } = self.command(task, &filler, &hash, &mut unquoted, mistakes);
        let needs = task.needs.of(&self.workflow.needs).iter().map(|need| TaskId(need.task)).collect();
        let start = self.plan.instances.len() as u32;
        let made = Task { name: name.to_owned(), command, settings, needs, columns: columns.clone(), definition };
        if let Some(task) = self.plan.tasks.get_mut(index) {
            *task = made;
        }
        self.unquoted.extend(unquoted.into_iter().map(|hole| (TaskId(index as u32), hole)));
        for row in 0..rows.len() {
            self.instance(TaskId(index as u32), task, &filler, &outputs, (&rows, row), mistakes);
            if !self.has_room() {
                let message = "the names of all files and rows take more than 3 GiB, or there are too many of them";
                mistakes.push(Diagnostic::error(task.span, message).help("split the workflow"));
                break;
            }
        }
        let len = self.plan.instances.len() as u32 - start;
        if let Some(slice) = self.plan.task_instances.get_mut(index) {
            *slice = Slice { start, len };
        }
    }

    /// Makes one instance and what it writes.
    fn instance(
        &mut self,
        id: TaskId,
        task: &TaskDraft,
        filler: &Filler<'_, '_>,
        outputs: &[Vec<Segment<'_>>],
        (rows, row): (&Rows, usize),
        mistakes: &mut Mistakes,
    ) {
        let cells = self.plan.cells.len() as u32;
        rows.push(row, &mut self.plan.cells);
        let instance = InstanceId(self.plan.instances.len() as u32);
        let start = self.plan.path_refs.len() as u32;
        let (inputs, made) = (Slice { start, len: 0 }, Slice { start, len: outputs.len() as u32 });
        self.plan.instances.push(Instance { task: id, row: cells, inputs, outputs: made });
        let sweep = task.sweep.and_then(|sweep| self.workflow.sweeps.get(sweep as usize));
        let when = sweep.and_then(|sweep| sweep.when.as_ref());
        let left = when.is_some_and(|when| self.holds(when, filler, cells, mistakes) == Some(false));
        if left {
            self.left.push(instance);
        }
        let mut text = std::mem::take(&mut self.buffer);
        for (number, segments) in outputs.iter().enumerate() {
            write_path(segments, &self.plan.cells, cells, &mut text);
            let path = normal(&text, &self.plan.root);
            if path.is_empty() || path == "." {
                let span = task.outputs.of(&self.workflow.lists).get(number).map(|template| template.span);
                let what = if path.is_empty() {
                    "an output without a name"
                } else {
                    "an output that is the workflow's own directory"
                };
                let message = format!("{what}, in {}", label(&self.plan, instance));
                mistakes.push(Diagnostic::error(span, message));
            }
            let id = PathId(self.paths.intern(&path));
            self.plan.path_refs.push(id);
            if !left {
                self.makers.made(id, instance, &self.plan, &self.paths, self.workflow, mistakes);
            }
        }
        self.buffer = text;
    }

    /// Evaluates a condition for a row; none after a mistake.
    fn holds(&self, when: &Condition, filler: &Filler<'_, '_>, row: u32, mistakes: &mut Mistakes) -> Option<bool> {
        let cells = &self.plan.cells;
        let result = when.holds(&|name| {
            let mut inner = Mistakes::default();
            match filler.constant_or_column(name, when.span, &mut inner) {
                Some(Segment::Text(text) | Segment::Value(text)) => Ok(Cow::Owned(text.to_owned())),
                Some(Segment::Column(column, of)) => Ok(Cow::Owned(part(cells.get(row + column), of).to_owned())),
                None => Err(inner.finish().into_iter().next().map_or_else(String::new, |mistake| mistake.message)),
            }
        });
        result.map_err(|why| mistakes.error(when.span, why)).ok()
    }

    /// Checks `{inputs[n]}` and `{outputs[n]}` of a task against how many there are.
    pub(super) fn check_file_numbers(&self, task: &TaskDraft, inputs: usize, outputs: usize, mistakes: &mut Mistakes) {
        let templates = &self.workflow.templates;
        let run: &[Template] = match &task.run {
            Run::Missing => &[],
            Run::Shell(template) => std::slice::from_ref(template),
            Run::Argv(range) => range.of(&self.workflow.lists),
        };
        for hole in run.iter().flat_map(|template| templates.holes(*template)) {
            let (index, count, word) = match hole.name {
                Name::Inputs(Some(index), _) => (index, inputs, "input"),
                Name::Outputs(Some(index), _) => (index, outputs, "output"),
                _ => continue,
            };
            if index as usize >= count {
                let message = format!("there is no {word} number {index}: the task has {count}");
                mistakes.push(Diagnostic::error(hole.span, message).help("the first one is number 0"));
            }
        }
    }

    fn inputs(&mut self, mistakes: &mut Mistakes) {
        Inputs::new(self).run(mistakes);
    }

    /// Checks the values that have no quoting where they stand.
    pub(super) fn check_unquoted(&self, mistakes: &mut Mistakes) {
        for (task, hole) in &self.unquoted {
            let bad = self.plan.instances_of(*task).find_map(|instance| {
                let values = self.plan.hole_values(instance, &hole.hole);
                values.into_iter().find(|value| !fits(value, hole.number)).map(|value| (instance, value))
            });
            if let Some((instance, value)) = bad {
                let mistake = cannot_quote(&value, hole.number, hole.place, hole.span);
                mistakes.push(mistake.label(format!("in {}", label(&self.plan, instance))));
            }
        }
    }

    /// Makes a task's command and the hash of its definition; once for all tasks that share the compiled text.
    fn command(
        &mut self,
        task: &TaskDraft,
        filler: &Filler<'_, '_>,
        settings: &blake3::Hash,
        unquoted: &mut Vec<Unquoted>,
        mistakes: &mut Mistakes,
    ) -> Defined {
        let shared = match task.run {
            Run::Shell(template) if filler.columns.is_empty() => {
                Some((template.first(), template.count(), task.settings))
            }
            _ => None,
        };
        if let Some(defined) = shared.and_then(|shared| self.commands.get(&shared)) {
            return defined.clone();
        }
        let before = (unquoted.len(), mistakes.count());
        let command = Arc::new(command(task, filler, unquoted, mistakes));
        let definition = definition(&command, settings, filler.columns);
        let defined = Defined { command, definition };
        if let Some(shared) = shared
            && (unquoted.len(), mistakes.count()) == before
            && self.commands.len() < MOST_SHARED
        {
            self.commands.insert(shared, defined.clone());
        }
        defined
    }

    /// Makes a draft's settings; drafts are shared, so this is done once for most tasks.
    fn settings(
        &mut self,
        index: u32,
        filler: &Filler<'_, '_>,
        unquoted: &mut Vec<Unquoted>,
        mistakes: &mut Mistakes,
    ) -> (Arc<Settings>, blake3::Hash) {
        if let Some(Some((settings, hash))) = self.settings.get(index as usize) {
            return (Arc::clone(settings), *hash);
        }
        let Some(draft) = self.workflow.settings.get(index as usize) else {
            return (Arc::new(Settings::default()), blake3::hash(b""));
        };
        let before = unquoted.len();
        let settings = Arc::new(settings(draft, filler, unquoted, mistakes));
        let hash = settings_hash(&settings);
        // Values that need looking at belong to one task: such settings are made anew for each.
        if unquoted.len() == before
            && let Some(place) = self.settings.get_mut(index as usize)
        {
            *place = Some((Arc::clone(&settings), hash));
        }
        (settings, hash)
    }
}

fn command(
    task: &TaskDraft,
    filler: &Filler<'_, '_>,
    unquoted: &mut Vec<Unquoted>,
    mistakes: &mut Mistakes,
) -> Command {
    match task.run {
        Run::Missing => Command::Argv(Vec::new()),
        Run::Shell(template) => Command::Shell(filler.template(template, unquoted, mistakes)),
        Run::Argv(range) => {
            let words = range.of(&filler.workflow.lists);
            Command::Argv(words.iter().map(|word| filler.template(*word, unquoted, mistakes)).collect())
        }
    }
}

fn settings(draft: &Draft, filler: &Filler<'_, '_>, unquoted: &mut Vec<Unquoted>, mistakes: &mut Mistakes) -> Settings {
    let text = |template| filler.values.constant(filler.workflow, template);
    let mut fill = |template| filler.template(template, unquoted, mistakes);
    let internet = draft.internet.map(|internet| (INTERNET.to_owned(), internet.to_string()));
    Settings {
        env: draft.env.iter().map(|(name, value)| (name.clone(), fill(*value))).collect(),
        workdir: draft.workdir.map(&mut fill),
        stdin: draft.stdin.map(&mut fill),
        setup: draft.setup.iter().copied().map(&mut fill).collect(),
        modules: draft.modules.iter().copied().map(text).collect(),
        conda: draft.conda.map(text),
        container: draft.container.map(text),
        binds: draft.binds.iter().copied().map(text).collect(),
        on: draft.on.iter().copied().map(text).collect(),
        batch: draft.batch.iter().map(|(key, value)| (key.clone(), text(*value))).chain(internet).collect(),
        resources: draft.resources.clone(),
        retry: draft.retry.clone(),
        on_error: draft.on_error,
        cache: draft.cache,
        secrets: draft.secrets.clone(),
        priority: draft.priority,
        tags: draft.tags.clone(),
        max_parallel: draft.max_parallel,
        checkpoint: draft.checkpoint.clone(),
        tree: false,
    }
}

/// Hashes the settings that decide what an instance computes; not those that decide where, how often or how fast.
fn settings_hash(settings: &Settings) -> blake3::Hash {
    let Settings { env, workdir, stdin, setup, modules, conda, container, binds, secrets, .. } = settings;
    let parts = (env, workdir, stdin, setup, modules, conda, container, binds, secrets);
    blake3::hash(&postcard::to_stdvec(&parts).unwrap_or_default())
}

fn definition(command: &Command, settings: &blake3::Hash, columns: &[String]) -> [u8; 16] {
    let parts = postcard::to_stdvec(&(command, columns)).unwrap_or_default();
    let hash = blake3::Hasher::new().update(settings.as_bytes()).update(&parts).finalize();
    let mut short = [0; 16];
    short.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
    short
}

impl Plan {
    /// Returns the values of a hole that does not depend on an attempt: one, or one per file.
    pub(super) fn hole_values(&self, instance: InstanceId, hole: &Hole) -> Vec<String> {
        let files = |all: &[PathId], index: Option<u32>, of| -> Vec<String> {
            let chosen = all.iter().enumerate().filter(|(at, _)| index.is_none_or(|index| index as usize == *at));
            chosen.map(|(_, path)| part(self.path(*path), of).to_owned()).collect()
        };
        match *hole {
            Hole::Name => vec![self.task_of(instance).name.clone()],
            Hole::Column(column, of) => vec![part(self.cell(instance, column), of).to_owned()],
            Hole::Inputs(index, of) => files(declared(self, instance), index, of),
            Hole::Outputs(index, of) => files(self.outputs(instance), index, of),
            _ => Vec::new(),
        }
    }
}
