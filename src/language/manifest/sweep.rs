//! Checks `foreach`, `matrix`, `include`, `exclude` and `when`.

use crate::language::document::{Kind, NodeId, Reading};
use crate::language::manifest::check::Check;
use crate::language::manifest::draft::{Combination, Foreach, Steps, Sweep, Values};
use crate::language::manifest::keys::ForeachKey;
use crate::language::manifest::names::{Item, Known, Params, Scope, listed};
use crate::language::manifest::template::{Syntax, Template};
use crate::language::manifest::when::Condition;
use crate::model::diagnostic::Diagnostic;

/// Most columns of a row and keys of a matrix.
const MOST_COLUMNS: usize = 1000;

impl Sweep {
    /// Returns what `{item}` is.
    pub(super) fn item(&self) -> Item<'_> {
        match &self.foreach {
            None => Item::None,
            Some(Foreach::Glob(_) | Foreach::List(_) | Foreach::Lines(_) | Foreach::Range(_)) => Item::Value,
            Some(Foreach::Rows(columns, _)) => Item::Columns(columns),
            Some(Foreach::Table(..)) => Item::Unknown,
        }
    }

    /// Returns the keys of the matrix, those that `include` adds last.
    pub(super) fn matrix_keys(&self) -> Vec<String> {
        self.matrix.iter().map(|(key, _)| key).chain(&self.added).cloned().collect()
    }
}

/// Reads what makes the instances of a task; none when it has one instance without a condition.
pub(super) fn read(check: &mut Check<'_, '_>, task: NodeId, params: &Params) -> Option<Sweep> {
    let tree = check.tree;
    let scope = Scope { known: Known::Params, params, item: Item::None, matrix: &[], defaults: false };
    let mut sweep = Sweep::default();
    let find = |key: &str| tree.get(task, key);
    let keys = [find("foreach"), find("matrix"), find("include"), find("exclude"), find("when")];
    if keys.iter().all(Option::is_none) {
        return None;
    }
    let [foreach_id, matrix_id, include_id, exclude_id, when_id] = keys;
    if let Some(id) = foreach_id {
        sweep.foreach_span = tree.span(id);
        sweep.foreach = foreach(check, id, &scope);
    }
    if let Some(id) = matrix_id {
        sweep.matrix_span = tree.span(id);
        matrix(check, id, &scope, &mut sweep);
    }
    for (id, key) in [(include_id, "include"), (exclude_id, "exclude")] {
        if let Some(id) = id {
            if matrix_id.is_none() {
                check.error(tree.key_span(id), format!("`{key}` without a `matrix`"), "add `matrix = { key = [...] }`");
            } else {
                combinations(check, id, key, &scope, &mut sweep);
            }
        }
    }
    if let Some(id) = when_id {
        let matrix = sweep.matrix_keys();
        let scope = Scope { known: Known::Row, params, item: sweep.item(), matrix: &matrix, defaults: false };
        let condition = Condition::read(check, id, &scope);
        sweep.when = condition;
    }
    Some(sweep)
}

fn foreach(check: &mut Check<'_, '_>, id: NodeId, scope: &Scope<'_>) -> Option<Foreach> {
    let tree = check.tree;
    match tree.kind(id) {
        Kind::String => {
            let text = check.string(id, "foreach")?;
            let path = std::path::Path::new(text);
            let table = path.extension().and_then(|end| end.to_str()).filter(|end| matches!(*end, "csv" | "tsv"));
            if let Some(end) = table
                && !text.contains(['*', '?', '['])
            {
                let words = format!("this is one element, the file `{text}` itself");
                let help = format!("for its rows, write `foreach = {{ {end} = \"{text}\" }}`");
                check.mistakes.push(Diagnostic::warning(tree.span(id), words).help(help));
            }
            check.dataset(text, tree.span(id));
            Some(Foreach::Glob(check.template(id, text, Syntax::Plain, scope)))
        }
        Kind::Array if tree.children(id).next().is_some_and(|child| tree.kind(child) == Kind::Table) => {
            rows(check, id, scope)
        }
        Kind::Array => {
            let elements: Vec<NodeId> = tree.children(id).collect();
            let list = elements.into_iter().filter_map(|child| scalar(check, child, "an element of foreach", scope));
            Some(Foreach::List(list.collect()))
        }
        Kind::Table => foreach_table(check, id, scope),
        _ => {
            check.wrong(id, "foreach", "a glob, a list, or a table such as `{ csv = \"samples.csv\" }`");
            None
        }
    }
}

fn foreach_table(check: &mut Check<'_, '_>, id: NodeId, scope: &Scope<'_>) -> Option<Foreach> {
    let mut found = Vec::new();
    let mistakes = check.mistakes.errors();
    check.keys::<ForeachKey>(id, "`foreach`", |check, key, id| {
        let file = |check: &mut Check<'_, '_>| {
            let text = check.string(id, key.text())?;
            if text.is_empty() {
                check.mistakes.error(check.tree.span(id), "an empty path");
            }
            Some(check.template(id, text, Syntax::Plain, scope))
        };
        let foreach = match key {
            ForeachKey::Csv => file(check).map(|file| Foreach::Table(file, b',')),
            ForeachKey::Tsv => file(check).map(|file| Foreach::Table(file, b'\t')),
            ForeachKey::Lines => file(check).map(Foreach::Lines),
            ForeachKey::Range => steps(check, id).map(Foreach::Range),
        };
        found.extend(foreach);
    });
    if found.len() != 1 && check.mistakes.errors() == mistakes {
        let help = "write one of `csv`, `tsv`, `lines`, `range`";
        check.error(check.tree.span(id), "`foreach` takes its elements from one place", help);
    }
    found.pop()
}

/// Reads `[first, last]` or `[first, last, step]`.
fn steps(check: &mut Check<'_, '_>, id: NodeId) -> Option<Steps> {
    let tree = check.tree;
    let help = "write `range = [1, 100]`, or with a step `range = [0, 100, 10]`: both ends are included";
    let numbers: Option<Vec<i64>> = match tree.kind(id) {
        Kind::Array => tree.children(id).map(|child| tree.integer(child)).collect(),
        _ => None,
    };
    let steps = match numbers.as_deref() {
        Some(&[first, last]) => Steps { first, last, step: 1 },
        Some(&[first, last, step]) if step != 0 => Steps { first, last, step },
        _ => {
            check.error(tree.span(id), "`range` is two or three whole numbers", help);
            return None;
        }
    };
    if steps.len() == 0 {
        check.error(tree.span(id), "the range is empty", help);
    }
    Some(steps)
}

fn scalar(check: &mut Check<'_, '_>, id: NodeId, key: &str, scope: &Scope<'_>) -> Option<Template> {
    let tree = check.tree;
    let Some(text) = tree.scalar(id) else {
        check.wrong(id, key, "a string, a number or a boolean");
        return None;
    };
    Some(check.template(id, &text, Syntax::Plain, scope))
}

/// Reads a list of tables: rows with named columns.
fn rows(check: &mut Check<'_, '_>, id: NodeId, scope: &Scope<'_>) -> Option<Foreach> {
    let tree = check.tree;
    let children: Vec<NodeId> = tree.children(id).collect();
    let columns: Vec<String> = children
        .first()
        .map(|&first| tree.children(first).map(|child| tree.key(child).to_owned()).collect())
        .unwrap_or_default();
    for child in children.first().into_iter().flat_map(|&first| tree.children(first)) {
        check.name(tree.key(child), tree.key_span(child), "column");
    }
    if columns.is_empty() {
        check.error(tree.span(id), "a row without columns", "write rows as `{ sample = \"A\", reads = \"A.fastq\" }`");
        return None;
    }
    if columns.len() > MOST_COLUMNS {
        check.mistakes.error(tree.span(id), format!("a row of more than {MOST_COLUMNS} columns"));
        return None;
    }
    let mut cells = Vec::new();
    for row in children {
        if tree.kind(row) != Kind::Table {
            check.wrong(row, "an element of foreach", "a table, as the first one is");
            continue;
        }
        for child in tree.children(row) {
            if !columns.iter().any(|column| column == tree.key(child)) {
                let message = format!("the first row has no column `{}`", tree.key(child));
                check.error(tree.key_span(child), message, format!("it has {}", listed(&columns)));
            }
        }
        for column in &columns {
            if let Some(cell) = tree.get(row, column) {
                cells.extend(scalar(check, cell, column, scope));
            } else {
                let message = format!("this row has no `{column}`");
                check.error(tree.span(row), message, format!("every row has {}", listed(&columns)));
            }
        }
    }
    Some(Foreach::Rows(columns, cells))
}

fn matrix(check: &mut Check<'_, '_>, id: NodeId, scope: &Scope<'_>, sweep: &mut Sweep) {
    let tree = check.tree;
    if tree.kind(id) != Kind::Table {
        check.wrong(id, "matrix", "a table of lists");
        check.help_last("write `matrix = { a = [1, 2], b = [\"x\", \"y\"] }`");
        return;
    }
    for child in tree.children(id) {
        let key = tree.key(child);
        let of_tables = || tree.children(child).next().is_some_and(|first| tree.kind(first) == Kind::Table);
        if matches!(key, "include" | "exclude") && tree.kind(child) == Kind::Array && of_tables() {
            let message = format!("`{key}` stands beside `matrix`, not in it");
            check.error(tree.key_span(child), message, format!("write `{key} = [...]` in the task"));
            continue;
        }
        check.name(key, tree.key_span(child), "matrix key");
        let values = match tree.kind(child) {
            Kind::Array => {
                let elements: Vec<NodeId> = tree.children(child).collect();
                let list = elements.into_iter().filter_map(|child| scalar(check, child, "a matrix value", scope));
                Some(Values::List(list.collect()))
            }
            Kind::Table => range_of(check, child).map(Values::Range),
            _ => {
                check.wrong(child, &format!("matrix.{key}"), "a list of values or `{ range = [first, last] }`");
                if let Some(text) = tree.scalar(child) {
                    check.help_last(format!("for one value, write `{key} = [{text}]`"));
                }
                None
            }
        };
        if matches!(&values, Some(Values::List(list)) if list.is_empty()) {
            check.error(
                tree.span(child),
                format!("`matrix.{key}` has no values"),
                "without values there are no instances",
            );
        }
        if let Some(values) = values {
            sweep.matrix.push((key.to_owned(), values));
        }
    }
    if tree.children(id).next().is_none() {
        check.error(tree.span(id), "an empty matrix", "write `matrix = { a = [1, 2], b = [\"x\", \"y\"] }`");
    }
}

fn range_of(check: &mut Check<'_, '_>, id: NodeId) -> Option<Steps> {
    let tree = check.tree;
    let mut children = tree.children(id);
    match (children.next(), children.next()) {
        (Some(child), None) if tree.key(child) == "range" => steps(check, child),
        _ => {
            check.wrong(id, "a matrix key", "a list of values or `{ range = [first, last] }`");
            None
        }
    }
}

/// Reads `include` or `exclude`.
fn combinations(check: &mut Check<'_, '_>, id: NodeId, key: &str, scope: &Scope<'_>, sweep: &mut Sweep) {
    let tree = check.tree;
    if tree.kind(id) != Kind::Array {
        check.wrong(id, key, "an array of tables");
        check.help_last(format!("write `{key} = [{{ a = 1, b = \"x\" }}]`"));
        return;
    }
    for child in tree.children(id) {
        if tree.kind(child) != Kind::Table {
            check.wrong(child, &format!("an element of {key}"), "a table");
            continue;
        }
        if sweep.matrix.len() + sweep.added.len() > MOST_COLUMNS {
            check.mistakes.error(tree.span(child), format!("a matrix of more than {MOST_COLUMNS} keys"));
            return;
        }
        let mut combination = Combination::new();
        for cell in tree.children(child) {
            let name = tree.key(cell);
            let keys = sweep.matrix_keys();
            let index = match keys.iter().position(|known| known == name) {
                Some(index) if key == "include" || index < sweep.matrix.len() => index,
                _ if key == "include" => {
                    check.name(name, tree.key_span(cell), "matrix key");
                    sweep.added.push(name.to_owned());
                    keys.len()
                }
                _ => {
                    let message = format!("the matrix has no `{name}`");
                    check.error(tree.key_span(cell), message, format!("it has {}", listed(&keys)));
                    continue;
                }
            };
            if let Some(template) = scalar(check, cell, name, scope) {
                combination.push((index as u32, template));
            }
        }
        if tree.children(child).next().is_none() {
            check.mistakes.error(tree.span(child), format!("an empty element of `{key}`"));
        }
        match key {
            "include" => sweep.include.push(combination),
            _ => sweep.exclude.push(combination),
        }
    }
}
