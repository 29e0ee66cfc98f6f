//! From the tree of a file to a checked [`Workflow`]: the tables of the file as a whole. Tasks are checked in `task`.

use std::collections::{BTreeMap, HashMap};

use crate::language::document::{Kind, Mistakes, NodeId, Reading, Tree, did_you_mean, parse};
use crate::language::manifest::draft::{Draft, Param, ParamKind, Workflow};
use crate::language::manifest::keys::{DataKey, RootKey, WorkflowKey, meant};
use crate::language::manifest::names::{Item, Known, Params, Scope};
use crate::language::manifest::settings::{Layer, apply};
use crate::language::manifest::task::check_tasks;
use crate::language::manifest::template::{Syntax, Template, Templates};
use crate::model::choice::Policy;
use crate::model::diagnostic::{Diagnostic, Span};

/// Version of the format.
const SCHEMA: i64 = 1;

/// Most commands that are remembered to be shared: where all differ, remembering them costs more than it saves.
const MOST_SHARED: usize = 4096;

/// Reads and checks a workflow file. Returns what could be read, and every mistake found; errors among them refuse the file.
pub fn read(text: &str) -> (Workflow, Vec<Diagnostic>) {
    read_knowing(text, BTreeMap::new())
}

/// Reads and checks a workflow file that may name these datasets too, each with its places. What the file says of a dataset goes
/// before that.
pub fn read_knowing(text: &str, datasets: BTreeMap<String, Vec<String>>) -> (Workflow, Vec<Diagnostic>) {
    let mut mistakes = Mistakes::default();
    let tree = parse(text, &mut mistakes);
    let mut check = Check {
        tree: &tree,
        mistakes,
        templates: Templates::default(),
        params: Params::default(),
        data: Vec::new(),
        commands: HashMap::new(),
    };
    let mut workflow = Workflow { data: datasets, ..Workflow::default() };
    check.root(&mut workflow);
    workflow.templates = check.templates;
    workflow.templates.shrink();
    workflow.refused = check.mistakes.errors() > 0;
    (workflow, check.mistakes.finish())
}

/// What every check needs.
pub(super) struct Check<'a, 't> {
    pub(super) tree: &'a Tree<'t>,
    pub(super) mistakes: Mistakes,
    pub(super) templates: Templates,
    /// Names of the params.
    pub(super) params: Params,
    /// Names of the datasets.
    pub(super) data: Vec<String>,
    /// Commands as they stand in the file, compiled: of 100,000 tasks written out, nearly all say one of a few.
    pub(super) commands: HashMap<&'t str, Template>,
}

impl<'a, 't> Reading<'a, 't> for Check<'a, 't> {
    fn tree(&self) -> &'a Tree<'t> {
        self.tree
    }

    fn mistakes(&mut self) -> &mut Mistakes {
        &mut self.mistakes
    }

    fn meant(key: &str, known: &[&'static str]) -> Option<String> {
        meant(key, known)
    }
}

impl Check<'_, '_> {
    /// Compiles a string with placeholders.
    pub(super) fn template(&mut self, id: NodeId, text: &str, syntax: Syntax, scope: &Scope<'_>) -> Template {
        if syntax == Syntax::Shell && text.contains("\r\n") {
            // A file with the line ends of Windows; bash would take the first half for a part of the command.
            let place = (self.tree.span(id), None);
            return self.templates.compile(&text.replace("\r\n", "\n"), place, syntax, scope, &mut self.mistakes);
        }
        let span = self.tree.span(id);
        let place = (span, self.tree.body(id));
        // Only what compiles the same way for every task is shared: no row, and nothing to be said about it.
        if syntax != Syntax::Shell || scope.known != Known::Attempt || scope.defaults || scope.has_row() {
            return self.templates.compile(text, place, syntax, scope, &mut self.mistakes);
        }
        let written = self.tree.text().get(span.range()).unwrap_or_default();
        if let Some(same) = self.commands.get(written) {
            return same.at(span);
        }
        let mistakes = self.mistakes.count();
        let template = self.templates.compile(text, place, syntax, scope, &mut self.mistakes);
        if self.mistakes.count() == mistakes && self.commands.len() < MOST_SHARED {
            self.commands.insert(written, template);
        }
        template
    }

    fn root(&mut self, workflow: &mut Workflow) {
        let mut tables = BTreeMap::new();
        let tree = self.tree;
        let mistakes_before = self.mistakes.errors();
        self.keys::<RootKey>(Tree::ROOT, "a workflow", |check, key, id| match key {
            RootKey::Name => workflow.name = check.workflow_name(id).unwrap_or_default(),
            RootKey::Schema => check.schema(id),
            RootKey::Description => workflow.description = check.string(id, "description").map(str::to_owned),
            RootKey::Params => workflow.params = check.params(id),
            RootKey::Data => workflow.data.append(&mut check.data(id)),
            RootKey::Workflow => check.keys::<WorkflowKey>(id, "`workflow`", |check, key, id| match key {
                WorkflowKey::MaxFailures => {
                    let most = i64::from(u32::MAX);
                    workflow.max_failures = check.integer(id, "max_failures", 1, most).map(|most| most as u32);
                }
                WorkflowKey::Policy => workflow.policy = check.policy(id),
            }),
            RootKey::Defaults => drop(tables.insert("defaults", id)),
            RootKey::Tasks => drop(tables.insert("tasks", id)),
        });
        if tree.get(Tree::ROOT, "name").is_none() && mistakes_before == 0 {
            self.error(Span::default(), "the workflow has no name", "begin the file with `name = \"...\"`");
        }
        self.params = Params::new(workflow.params.iter().map(|param| param.name.clone()).collect());
        self.data = workflow.data.keys().cloned().collect();
        let mut defaults = Draft::default();
        if let Some(&id) = tables.get("defaults") {
            self.defaults(id, &mut defaults);
        }
        workflow.settings.push(defaults);
        match tables.get("tasks") {
            Some(&id) => check_tasks(self, id, workflow),
            None if self.mistakes.errors() == 0 => {
                let help = "add one: `[tasks.hello]` and under it `run = \"echo hello\"`";
                self.mistakes.push(Diagnostic::error(None, "the workflow has no tasks").help(help));
            }
            None => {}
        }
    }

    fn workflow_name(&mut self, id: NodeId) -> Option<String> {
        let name = self.string(id, "name")?;
        let good = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.' | ' ');
        if name.trim().is_empty() || !name.chars().all(good) || name.len() > 200 {
            let help = "letters, digits, `_`, `-`, `.` and blanks, at most 200";
            self.error(self.tree.span(id), "this is not a name for a workflow", help);
        }
        Some(name.to_owned())
    }

    fn policy(&mut self, id: NodeId) -> Option<Policy> {
        let text = self.string(id, "policy")?;
        let policy = Policy::named(text);
        if policy.is_none() {
            let names = Policy::ALL.map(|(_, name)| name);
            let help = did_you_mean(text, names).unwrap_or_else(|| format!("one of `{}`", names.join("`, `")));
            self.error(self.tree.span(id), format!("`{text}` is no policy"), help);
        }
        policy
    }

    fn schema(&mut self, id: NodeId) {
        if let Some(version) = self.integer(id, "schema", 1, i64::MAX)
            && version != SCHEMA
        {
            let message = format!("the file is of version {version} of the format, this csync reads version {SCHEMA}");
            self.error(self.tree.span(id), message, "install a newer csync");
        }
    }

    fn params(&mut self, id: NodeId) -> Vec<Param> {
        if self.tree.kind(id) != Kind::Table {
            self.wrong(id, "params", "a table");
            return Vec::new();
        }
        let tree = self.tree;
        let mut params = Vec::new();
        for child in tree.children(id) {
            let name = tree.key(child);
            self.name(name, tree.key_span(child), "param");
            let kind = match tree.kind(child) {
                Kind::String => ParamKind::Text,
                Kind::Integer => ParamKind::Integer,
                Kind::Float => ParamKind::Number,
                Kind::Boolean => ParamKind::Boolean,
                _ => {
                    self.wrong(child, name, "a string, a number or a boolean");
                    continue;
                }
            };
            let value = tree.scalar(child).unwrap_or_default().into_owned();
            if value.contains('\0') {
                self.mistakes.error(tree.span(child), "a text with a zero byte");
            }
            if value.contains("{params.") {
                let words = "placeholders are not filled in inside `[params]`";
                self.mistakes.push(Diagnostic::warning(tree.span(child), words));
            }
            params.push(Param { name: name.to_owned(), value, kind, span: tree.key_span(child) });
        }
        params
    }

    /// Checks a name that placeholders can use.
    pub(super) fn name(&mut self, name: &str, span: Span, what: &str) {
        let first = name.chars().next();
        let good = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
        if first.is_some_and(|first| first.is_ascii_alphabetic() || first == '_') && name.chars().all(good) {
            return;
        }
        if self.mistakes.has_at(span) {
            return;
        }
        let help = "a letter or `_`, then letters, digits, `_` and `-` (A-Z, a-z, 0-9)";
        let odd = name.chars().find(|&letter| !good(letter));
        let why = match odd {
            Some(odd) => format!(": it has `{}`", odd.escape_default()),
            None if name.is_empty() => ": it is empty".to_owned(),
            None => ": it begins with a digit or `-`".to_owned(),
        };
        self.error(span, format!("`{}` is no name for a {what}{why}", name.escape_debug()), help);
    }

    fn data(&mut self, id: NodeId) -> BTreeMap<String, Vec<String>> {
        if self.tree.kind(id) != Kind::Table {
            self.wrong(id, "data", "a table");
            return BTreeMap::new();
        }
        let tree = self.tree;
        let mut data = BTreeMap::new();
        for child in tree.children(id) {
            let name = tree.key(child);
            self.name(name, tree.key_span(child), "dataset");
            let mut places = Vec::new();
            self.keys::<DataKey>(child, &format!("`data.{name}`"), |check, DataKey::At, id| {
                for (element, place) in check.strings(id, "at", true) {
                    if !place.contains(":/") {
                        let help = "write `host:/absolute/path`";
                        check.error(tree.span(element), format!("`{place}` is not a place on a host"), help);
                    }
                    places.push(place.to_owned());
                }
            });
            if tree.kind(child) == Kind::Table && tree.get(child, "at").is_none() {
                let message = format!("`data.{name}` does not say where it is");
                self.error(tree.key_span(child), message, "add `at = [\"host:/path\"]`");
            }
            data.insert(name.to_owned(), places);
        }
        data
    }

    /// Checks that the dataset of `data:NAME/...` is one.
    pub(super) fn dataset(&mut self, text: &str, span: Span) {
        let Some(rest) = text.strip_prefix("data:") else { return };
        let name = rest.split('/').next().unwrap_or_default();
        if name.contains('{') || self.data.iter().any(|known| known == name) {
            return;
        }
        let known = self.data.iter().map(String::as_str);
        let help = did_you_mean(name, known).unwrap_or_else(|| {
            format!(
                "`csync data add {name} HOST:/PATH` names one, and so does `[data.{name}]` with `at = [\"host:/path\"]`"
            )
        });
        self.error(span, format!("there is no dataset `{}`", name.escape_debug()), help);
    }

    fn defaults(&mut self, id: NodeId, draft: &mut Draft) {
        if self.tree.kind(id) != Kind::Table {
            self.wrong(id, "defaults", "a table");
            return;
        }
        let params = self.params.clone();
        let scope = Scope { known: Known::Attempt, params: &params, item: Item::None, matrix: &[], defaults: true };
        let layer = Layer { scope, table: "`[defaults]`", of_task: false };
        apply(self, id, &layer, draft, |_, _, _| false);
    }
}
