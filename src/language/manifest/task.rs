//! Checks `[tasks.NAME]`: names, commands, files, `needs`.

use std::collections::{HashMap, HashSet};

use crate::language::document::{KeySet, Kind, NodeId, Reading, Tree, did_you_mean};
use crate::language::manifest::check::Check;
use crate::language::manifest::draft::{Draft, Need, Range, Run, Sweep, TaskDraft, Workflow};
use crate::language::manifest::keys::{SettingKey, TaskKey};
use crate::language::manifest::names::{Item, Known, Scope};
use crate::language::manifest::settings::{Layer, apply};
use crate::language::manifest::sweep;
use crate::language::manifest::template::Syntax;
use crate::model::diagnostic::{Diagnostic, Span};

/// Most tasks of a file.
const MOST_TASKS: usize = 4_000_000;

/// Checks every task.
pub(super) fn check_tasks(check: &mut Check<'_, '_>, id: NodeId, workflow: &mut Workflow) {
    let tree = check.tree;
    if tree.kind(id) != Kind::Table {
        check.wrong(id, "tasks", "a table of tasks");
        check.help_last("write each task as `[tasks.NAME]`");
        return;
    }
    let ids: Vec<NodeId> = tree.children(id).collect();
    if ids.is_empty() || ids.len() > MOST_TASKS {
        let message = if ids.is_empty() {
            "the workflow has no tasks".to_owned()
        } else {
            format!("more than {MOST_TASKS} tasks")
        };
        check.error(tree.span(id), message, "add a task: `[tasks.hello]` and under it `run = \"echo hello\"`");
        return;
    }
    workflow.tasks.reserve_exact(ids.len());
    let mut tasks = Tasks { table: id, ids, shared: HashMap::new(), workflow };
    for index in 0..tasks.ids.len() {
        tasks.check(check, index);
    }
    workflow.lists.shrink_to_fit();
    workflow.needs.shrink_to_fit();
}

/// The tasks of a file while they are checked.
struct Tasks<'w> {
    /// The table that holds them.
    table: NodeId,
    /// Their nodes; their order is that of the ids too.
    ids: Vec<NodeId>,
    /// Settings seen before, by the hash of their text.
    shared: HashMap<[u8; 32], u32>,
    workflow: &'w mut Workflow,
}

impl Tasks<'_> {
    fn check(&mut self, check: &mut Check<'_, '_>, index: usize) {
        let tree = check.tree;
        let Some(&id) = self.ids.get(index) else { return };
        let name = tree.key(id);
        let span = tree.key_span(id);
        check.name(name, span, "task");
        let mut draft = TaskDraft {
            name: check.templates.keep(name),
            span,
            run: Run::Missing,
            inputs: Range::default(),
            outputs: Range::default(),
            needs: Range::default(),
            settings: 0,
            sweep: None,
        };
        if tree.kind(id) == Kind::Table {
            self.fields(check, id, name, &mut draft);
        } else {
            check.wrong(id, &format!("tasks.{name}"), "a table");
            check.help_last(format!("write `[tasks.{name}]` and its keys below"));
        }
        self.workflow.tasks.push(draft);
    }

    fn fields(&mut self, check: &mut Check<'_, '_>, id: NodeId, name: &str, task: &mut TaskDraft) {
        let words = format!("task `{name}`");
        let params = std::mem::take(&mut check.params);
        let sweep = sweep::read(check, id, &params);
        let empty = Vec::new();
        let matrix: Vec<String> = sweep.as_ref().map_or_else(Vec::new, Sweep::matrix_keys);
        let scope = Scope {
            known: Known::Attempt,
            params: &params,
            item: sweep.as_ref().map_or(Item::None, |sweep| sweep.item()),
            matrix: if matrix.is_empty() { &empty } else { &matrix },
            defaults: false,
        };
        let layer = Layer { scope, table: &words, of_task: true };
        let hash = Self::settings_hash(check.tree, id, sweep.is_some());
        let known = hash.and_then(|hash| self.shared.get(&hash).copied());
        let before = check.mistakes.total();
        let skip = known.is_some() || hash.is_none();
        if skip {
            task.settings = known.unwrap_or(0);
            check.keys::<AnyKey>(id, &words, |check, AnyKey(key), id| {
                if let Some(key) = key {
                    self.own(check, key, id, &layer, task);
                }
            });
        } else {
            let mut draft = self.workflow.settings.first().cloned().unwrap_or_default();
            apply(check, id, &layer, &mut draft, |check, key, id| {
                self.own(check, key, id, &layer, task);
                true
            });
            task.settings = self.keep(draft);
            if let Some(hash) = hash
                && check.mistakes.total() == before
            {
                self.shared.insert(hash, task.settings);
            }
        }
        if matches!(task.run, Run::Missing) && check.tree.get(id, "run").is_none() && check.mistakes.total() == before {
            let message = format!("task `{name}` has no `run`");
            check.error(
                task.span,
                message,
                "add `run = \"...\"`; for a task that only gathers others, `run = \"true\"`",
            );
        }
        check.params = params;
        task.sweep = sweep.map(|sweep| {
            self.workflow.sweeps.push(sweep);
            (self.workflow.sweeps.len() - 1) as u32
        });
    }

    fn keep(&mut self, mut draft: Draft) -> u32 {
        draft.first_task = self.workflow.tasks.len() as u32;
        self.workflow.settings.push(draft);
        (self.workflow.settings.len() - 1) as u32
    }

    /// Hashes what a task says of its settings; none when it says nothing. With a sweep, placeholders depend on its columns,
    /// so such tasks share nothing.
    fn settings_hash(tree: &Tree<'_>, id: NodeId, sweeps: bool) -> Option<[u8; 32]> {
        let mut hasher = blake3::Hasher::new();
        let mut any = false;
        for child in tree.children(id) {
            if SettingKey::find(tree.key(child)).is_some() {
                any = true;
                tree.hash(child, &mut hasher);
            }
        }
        if sweeps && any {
            hasher.update(&id.to_le_bytes());
        }
        any.then(|| *hasher.finalize().as_bytes())
    }

    fn own(&mut self, check: &mut Check<'_, '_>, key: TaskKey, id: NodeId, layer: &Layer<'_>, task: &mut TaskDraft) {
        match key {
            TaskKey::Run => task.run = self.run(check, id, layer),
            TaskKey::Description => drop(check.string(id, "description")),
            TaskKey::Inputs => task.inputs = self.paths(check, id, "inputs", layer),
            TaskKey::Outputs => task.outputs = self.paths(check, id, "outputs", layer),
            TaskKey::Needs => task.needs = self.needs(check, id, task.span),
            TaskKey::Foreach | TaskKey::Matrix | TaskKey::Include | TaskKey::Exclude | TaskKey::When => {}
        }
    }

    fn run(&mut self, check: &mut Check<'_, '_>, id: NodeId, layer: &Layer<'_>) -> Run {
        let tree = check.tree;
        match tree.kind(id) {
            Kind::String => {
                let Some(text) = check.string(id, "run") else { return Run::Missing };
                if text.trim().is_empty() {
                    check.error(
                        tree.span(id),
                        "`run` is empty",
                        "for a task that only gathers others, write `run = \"true\"`",
                    );
                    return Run::Missing;
                }
                Run::Shell(check.template(id, text, Syntax::Shell, &layer.scope))
            }
            Kind::Array => {
                let words = check.strings(id, "run", false);
                let Some(&(first, program)) = words.first() else {
                    check.error(
                        tree.span(id),
                        "`run` is empty",
                        "write the program and its arguments: `run = [\"echo\", \"hello\"]`",
                    );
                    return Run::Missing;
                };
                if program.is_empty() {
                    check.mistakes.error(tree.span(first), "the program has no name");
                }
                let start = self.workflow.lists.len() as u32;
                for (id, word) in words {
                    let template = check.template(id, word, Syntax::Plain, &layer.scope);
                    self.workflow.lists.push(template);
                }
                Run::Argv(Range { start, end: self.workflow.lists.len() as u32 })
            }
            _ => {
                check.wrong(id, "run", "a string (bash) or an array of strings (no shell)");
                Run::Missing
            }
        }
    }

    fn paths(&mut self, check: &mut Check<'_, '_>, id: NodeId, key: &str, layer: &Layer<'_>) -> Range {
        let tree = check.tree;
        if tree.kind(id) == Kind::Table {
            check.wrong(id, key, "an array of paths");
            check.help_last(format!("files have numbers here, not names: `{key} = [\"a\", \"b\"]`, `{{{key}[0]}}`"));
            return Range::default();
        }
        let scope = Scope { known: Known::Row, ..layer.scope };
        let start = self.workflow.lists.len() as u32;
        for (id, path) in check.strings(id, key, false) {
            let span = tree.span(id);
            if path.is_empty() {
                check.mistakes.error(span, format!("an empty path in `{key}`"));
            } else if key == "outputs" && path.contains('\n') {
                check.mistakes.push(Diagnostic::warning(span, "a path with a line break in it"));
            }
            check.dataset(path, span);
            if key == "outputs" && path.starts_with("data:") {
                let help = "name a file here; `csync data add` makes a dataset of the directory that it is in";
                check.error(span, "tasks write no datasets", help);
            }
            let template = check.template(id, path, Syntax::Plain, &scope);
            if key == "outputs" && check.templates.is_glob(template) {
                let message = "an output has no wildcards: csync must know its name before the task runs";
                let help = "name each output, or name the directory: `outputs = [\"out\"]`";
                check.error(span, message, help);
            }
            self.workflow.lists.push(template);
        }
        Range { start, end: self.workflow.lists.len() as u32 }
    }

    fn needs(&mut self, check: &mut Check<'_, '_>, id: NodeId, task: Span) -> Range {
        let tree = check.tree;
        let start = self.workflow.needs.len();
        let mut seen = HashSet::new();
        for (id, name) in check.strings(id, "needs", false) {
            let span = tree.span(id);
            let found = tree.get(self.table, name).and_then(|node| self.ids.binary_search(&node).ok());
            let Some(index) = found else {
                if check.mistakes.is_full() {
                    check.mistakes.error(span, "there is no such task");
                    continue;
                }
                let names = || self.ids.iter().map(|&id| tree.key(id));
                let help = did_you_mean(name, names().take(10_000)).unwrap_or_else(|| {
                    let few: Vec<String> = names().take(12).map(|name| format!("`{name}`")).collect();
                    format!("the tasks are {}{}", few.join(", "), if self.ids.len() > 12 { ", ..." } else { "" })
                });
                check.error(span, format!("there is no task `{}`", name.escape_debug()), help);
                continue;
            };
            if self.ids.get(index).is_some_and(|&id| tree.key_span(id) == task) {
                check.error(span, format!("task `{name}` needs itself"), "remove it");
                continue;
            }
            if !seen.insert(index) {
                check.mistakes.push(Diagnostic::warning(span, format!("`{name}` is named twice")));
                continue;
            }
            self.workflow.needs.push(Need { task: index as u32, span });
        }
        Range { start: start as u32, end: self.workflow.needs.len() as u32 }
    }
}

/// Every key of a task; settings are passed over.
#[derive(Clone, Copy)]
struct AnyKey(Option<TaskKey>);

impl KeySet for AnyKey {
    fn texts() -> Vec<&'static str> {
        let mut texts = TaskKey::texts();
        texts.extend(SettingKey::texts());
        texts
    }

    fn of(text: &str) -> Option<Self> {
        match TaskKey::find(text) {
            Some(key) => Some(Self(Some(key))),
            None => SettingKey::find(text).map(|_| Self(None)),
        }
    }
}
