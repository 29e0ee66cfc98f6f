//! What a placeholder may name, and what was meant when it names nothing.

use std::collections::HashMap;

use crate::language::document::{Mistakes, nearest};
use crate::language::manifest::template::{Name, Templates};
use crate::model::diagnostic::{Diagnostic, Span};
use crate::model::task::PathPart;

/// Which values are known where a text is filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Known {
    /// The params alone: the same for every instance of every task.
    Params,
    /// Also the task's name and the instance's row.
    Row,
    /// Also the instance's files, and what an attempt was granted.
    Attempt,
}

/// What `{item}` is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Item<'a> {
    /// There is none.
    #[default]
    None,
    /// One value.
    Value,
    /// A row with these columns.
    Columns(&'a [String]),
    /// A row whose columns are known once its file is read.
    Unknown,
}

/// Names of params, and the position of each.
#[derive(Clone, Debug, Default)]
pub(super) struct Params {
    names: Vec<String>,
    positions: HashMap<String, u32>,
}

impl Params {
    /// Takes the names in the order of the file.
    pub(super) fn new(names: Vec<String>) -> Self {
        let positions = names.iter().enumerate().map(|(at, name)| (name.clone(), at as u32)).collect();
        Self { names, positions }
    }

    /// Returns a param's position.
    pub(super) fn position(&self, name: &str) -> Option<u32> {
        self.positions.get(name).copied()
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }
}

/// What the placeholders of a text may name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub(super) known: Known,
    pub(super) params: &'a Params,
    pub(super) item: Item<'a>,
    pub(super) matrix: &'a [String],
    /// Whether the text is for every task, so that no row can be named.
    pub(super) defaults: bool,
}

impl Scope<'_> {
    /// Returns whether a row can be named, so that the same text means something else in another task.
    pub(super) const fn has_row(&self) -> bool {
        !matches!(self.item, Item::None) || !self.matrix.is_empty()
    }
}

/// What other tools call the same.
const SYNONYMS: &[(&str, &str)] = &[
    ("input", "inputs"),
    ("output", "outputs"),
    ("threads", "cpus"),
    ("cores", "cpus"),
    ("cpu", "cpus"),
    ("task.cpus", "cpus"),
    ("task.attempt", "attempt"),
    ("mem", "mem_mb"),
    ("memory", "mem_mb"),
    ("resources.mem_mb", "mem_mb"),
    ("resources.cpus", "cpus"),
    ("gpu", "gpus"),
    ("time", "time_s"),
    ("walltime", "time_s"),
    ("runtime", "time_s"),
    ("task", "name"),
    ("task.name", "name"),
    ("rule", "name"),
    ("it", "item"),
    ("i", "item"),
    ("x", "item"),
    ("each", "item"),
];

/// Finds what a placeholder names; a mistake when it names nothing.
pub(super) fn resolve(
    path: &str,
    span: Span,
    scope: &Scope<'_>,
    templates: &mut Templates,
    mistakes: &mut Mistakes,
) -> Option<Name> {
    let parts = split(path);
    let [first, rest @ ..] = parts.as_slice() else { return None };
    let found = match *first {
        "params" => param(rest, scope),
        "item" => item(rest, scope, templates),
        "matrix" => matrix(rest, scope),
        "inputs" => list(rest).map(|(index, part)| Name::Inputs(index, part)),
        "outputs" => list(rest).map(|(index, part)| Name::Outputs(index, part)),
        word => match (word, rest) {
            ("name", []) => Ok(Name::Task),
            ("cpus", []) => Ok(Name::Cpus),
            ("mem_mb", []) => Ok(Name::MemMb),
            ("mem_gb", []) => Ok(Name::MemGb),
            ("mem_bytes", []) => Ok(Name::MemBytes),
            ("gpus", []) => Ok(Name::Gpus),
            ("time_s", []) => Ok(Name::TimeS),
            ("attempt", []) => Ok(Name::Attempt),
            _ if mistakes.is_full() => Err(String::new()),
            _ => Err(unknown(path, first, scope)),
        },
    };
    match found.and_then(|name| allowed(name, path, scope)) {
        Err(_) if mistakes.is_full() => {
            mistakes.error(span, "an unknown placeholder");
            None
        }
        Ok(name) => Some(name),
        Err(help) => {
            mistakes.push(Diagnostic::error(span, format!("unknown placeholder `{{{path}}}`")).help(help));
            None
        }
    }
}

/// Cuts `a.b[0].c` into `a`, `b`, `[0`, `c`.
fn split(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for piece in path.split('.') {
        let mut rest = piece;
        while let Some(at) = rest.get(1..).and_then(|rest| rest.find('[')) {
            let (head, tail) = rest.split_at(at + 1);
            parts.push(head.trim_end_matches(']'));
            rest = tail;
        }
        parts.push(rest.trim_end_matches(']'));
    }
    parts
}

fn path_part(word: &str) -> Option<PathPart> {
    match word {
        "name" => Some(PathPart::Name),
        "stem" => Some(PathPart::Stem),
        "dir" => Some(PathPart::Dir),
        "ext" => Some(PathPart::Ext),
        _ => None,
    }
}

/// Reads the rest of a name as the part of a path.
fn ending(rest: &[&str]) -> Result<PathPart, String> {
    match rest {
        [] => Ok(PathPart::Whole),
        [word] => path_part(word).ok_or_else(|| match nearest(word, ["name", "stem", "dir", "ext"]) {
            Some(near) => format!("did you mean `.{near}`?"),
            None => format!("`.{word}` is no part of a path: there are `.name`, `.stem`, `.dir`, `.ext`"),
        }),
        _ => Err("write one of `.name`, `.stem`, `.dir`, `.ext` at the end".to_owned()),
    }
}

fn param(rest: &[&str], scope: &Scope<'_>) -> Result<Name, String> {
    let [name, rest @ ..] = rest else { return Err("name the param: `{params.NAME}`".to_owned()) };
    match scope.params.position(name) {
        Some(index) => Ok(Name::Param(index, ending(rest)?)),
        None => Err(match nearest(name, scope.params.iter()) {
            Some(near) => format!("did you mean `{{params.{near}}}`?"),
            None => format!("add `{name} = \"...\"` to `[params]`"),
        }),
    }
}

fn item(rest: &[&str], scope: &Scope<'_>, templates: &mut Templates) -> Result<Name, String> {
    let column = |name: &str, rest: &[&str], templates: &mut Templates| {
        Ok(Name::Item(Some(templates.keep(name)), ending(rest)?))
    };
    match (scope.item, rest) {
        (Item::None, _) if scope.defaults => {
            Err("`[defaults]` is for every task: a row is known in a task alone".to_owned())
        }
        (Item::None, _) => Err("this task has no `foreach`".to_owned()),
        (_, []) => Ok(Name::Item(None, PathPart::Whole)),
        (Item::Value, rest) => Ok(Name::Item(None, ending(rest)?)),
        (Item::Unknown, [name, rest @ ..]) => column(name, rest, templates),
        (Item::Columns(columns), [name, rest @ ..]) => {
            if columns.iter().any(|column| column == name) {
                return column(name, rest, templates);
            }
            match (path_part(name), rest) {
                (Some(part), []) => Ok(Name::Item(None, part)),
                _ => Err(no_column(name, columns)),
            }
        }
    }
}

/// Says which columns there are.
pub(super) fn no_column(name: &str, columns: &[String]) -> String {
    match nearest(name, columns.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{{item.{near}}}`?"),
        None => format!("the columns are {}", listed(columns)),
    }
}

fn matrix(rest: &[&str], scope: &Scope<'_>) -> Result<Name, String> {
    if scope.matrix.is_empty() {
        let words = if scope.defaults {
            "`[defaults]` is for every task: a row is known in a task alone"
        } else {
            "this task has no `matrix`"
        };
        return Err(words.to_owned());
    }
    let [name, rest @ ..] = rest else {
        return Err(format!("name the key: {}", listed(scope.matrix)));
    };
    match scope.matrix.iter().position(|key| key == name) {
        Some(index) => Ok(Name::Matrix(index as u32, ending(rest)?)),
        None => Err(match nearest(name, scope.matrix.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{{matrix.{near}}}`?"),
            None => format!("the matrix has {}", listed(scope.matrix)),
        }),
    }
}

fn list(rest: &[&str]) -> Result<(Option<u32>, PathPart), String> {
    match rest {
        [index, rest @ ..] if index.starts_with('[') => {
            let number =
                index.trim_start_matches('[').parse().map_err(|_| "a number that large counts nothing".to_owned())?;
            Ok((Some(number), ending(rest)?))
        }
        _ => Ok((None, ending(rest)?)),
    }
}

/// Refuses a name that is not known yet where the text is filled in.
fn allowed(name: Name, path: &str, scope: &Scope<'_>) -> Result<Name, String> {
    let needs = match name {
        Name::Param(..) => Known::Params,
        Name::Task | Name::Item(..) | Name::Matrix(..) => Known::Row,
        _ => Known::Attempt,
    };
    if needs <= scope.known {
        return Ok(name);
    }
    Err(match scope.known {
        Known::Params => format!("`{{{path}}}` differs between instances: only `{{params.NAME}}` can stand here"),
        _ => format!(
            "`{{{path}}}` is known only when the command is started: name files by `{{item}}`, `{{matrix.KEY}}`, `{{params.NAME}}` or `{{name}}`"
        ),
    })
}

/// Guesses what an unknown placeholder was meant to be.
fn unknown(path: &str, first: &str, scope: &Scope<'_>) -> String {
    if scope.matrix.iter().any(|key| key == first) {
        return format!("did you mean `{{matrix.{path}}}`?");
    }
    if let Item::Columns(columns) = scope.item
        && columns.iter().any(|column| column == first)
    {
        return format!("did you mean `{{item.{path}}}`?");
    }
    if scope.params.position(first).is_some() {
        return format!("did you mean `{{params.{path}}}`?");
    }
    let name = path.strip_prefix("wildcards.").or_else(|| path.strip_prefix("config."));
    if let Some(name) = name {
        let group = if path.starts_with("config") { "params" } else { "item" };
        return format!("csync writes `{{{group}.{name}}}`");
    }
    if let Some((_, right)) = SYNONYMS.iter().find(|(wrong, _)| *wrong == path || *wrong == first) {
        return format!("csync calls it `{{{right}}}`");
    }
    let known = [
        "name",
        "item",
        "params",
        "matrix",
        "inputs",
        "outputs",
        "cpus",
        "mem_mb",
        "mem_gb",
        "mem_bytes",
        "gpus",
        "time_s",
        "attempt",
    ];
    match nearest(first, known) {
        Some(near) => format!("did you mean `{{{near}}}`? Braces that stay are doubled: `{{{{{path}}}}}`"),
        None => format!("braces that stay are doubled: `{{{{{path}}}}}`"),
    }
}

/// Lists names for a message.
pub(super) fn listed(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(12).map(|name| format!("`{name}`")).collect();
    let more = if names.len() > 12 { ", ..." } else { "" };
    format!("{}{more}", shown.join(", "))
}
