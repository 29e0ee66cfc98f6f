//! Additions to `hosts.toml` that leave alone what stands there: comments, order, and every value that somebody wrote.

use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike};

use crate::model::host::HostName;

/// What a new file begins with.
const HEAD: &str = "\
# Hosts that csync knows. `csync hosts import` and `csync hosts probe` add to this file; what you write stays as it is.
# Addresses, users, keys and jump hosts stay in ~/.ssh/config. `csync hosts show HOST` says who said each value.
";

/// The text is no TOML, so that nothing can be added to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file is no TOML")]
pub struct BadText(#[source] pub toml_edit::TomlError);

/// A value to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A string.
    Text(String),
    /// An array of strings.
    Words(Vec<String>),
    /// A boolean.
    Flag(bool),
    /// A whole number.
    Number(i64),
}

impl Value {
    fn to_toml(&self) -> toml_edit::Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Words(words) => toml_edit::Value::Array(words.iter().map(String::as_str).collect::<Array>()),
            Self::Flag(flag) => (*flag).into(),
            Self::Number(number) => (*number).into(),
        }
    }
}

/// Adds keys to a host, and the host when it is not there; `policy.poll_min` is a key of a table in it. A key that is there
/// keeps its value. Returns the new text and the keys that were added; none when nothing changed.
///
/// # Errors
/// [`BadText`]; nothing is lost then.
pub fn add(text: &str, host: &HostName, keys: &[(&str, Value)]) -> Result<(String, Vec<String>), BadText> {
    let mut document: DocumentMut = text.parse().map_err(BadText)?;
    // A text without tables is a comment at its end, and what is added would come before it.
    let head = match (document.as_table().is_empty(), text.trim().is_empty()) {
        (true, true) => HEAD.to_owned(),
        (true, false) => format!("{}\n", text.trim_end()),
        (false, _) => String::new(),
    };
    if !head.is_empty() {
        document = DocumentMut::new();
    }
    let mut added = Vec::new();
    let Some(hosts) = table_in(document.as_table_mut(), "hosts", Looks::Hidden) else {
        return Ok((text.to_owned(), added));
    };
    let is_new = !hosts.contains_key(host.as_str());
    let Some(entry) = table_in(hosts, host.as_str(), Looks::Header) else { return Ok((text.to_owned(), added)) };
    for (path, value) in keys {
        if insert(entry, path, value) {
            added.push((*path).to_owned());
        }
    }
    let changed = is_new || !added.is_empty();
    Ok((if changed { head + &document.to_string() } else { text.to_owned() }, added))
}

/// How a new table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looks {
    /// With a header of its own, after a blank line.
    Header,
    /// Not at all: only the headers of its tables are.
    Hidden,
    /// Between braces.
    Inline,
}

/// Finds a table in a table, making it when it is not there; none when something else stands in its place.
fn table_in<'d>(parent: &'d mut dyn TableLike, name: &str, looks: Looks) -> Option<&'d mut dyn TableLike> {
    if !parent.contains_key(name) {
        // Between the braces of an inline table, every table is one.
        let new =
            if looks == Looks::Inline { toml_edit::value(InlineTable::new()) } else { Item::Table(new_table(looks)) };
        parent.insert(name, new);
    }
    parent.get_mut(name)?.as_table_like_mut()
}

fn new_table(looks: Looks) -> Table {
    let mut table = Table::new();
    table.set_implicit(looks == Looks::Hidden);
    table.decor_mut().set_prefix("\n");
    table
}

fn insert(table: &mut dyn TableLike, path: &str, value: &Value) -> bool {
    match path.split_once('.') {
        Some((name, rest)) => table_in(table, name, Looks::Inline).is_some_and(|inner| insert(inner, rest, value)),
        None if table.contains_key(path) => false,
        None => {
            table.insert(path, Item::Value(value.to_toml()));
            true
        }
    }
}
