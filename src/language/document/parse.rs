//! Reads TOML text into a [`Tree`]: every syntax mistake, every key written twice, with both places.

use std::borrow::Cow;

use toml_parser::decoder::{Encoding, ScalarKind};
use toml_parser::parser::{EventReceiver, RecursionGuard, ValidateWhitespace, parse_document};
use toml_parser::{ErrorSink, Expected, ParseError, Raw, Source};

use crate::language::document::mistakes::Mistakes;
use crate::language::document::statements::{MOST_TOKENS, statements};
use crate::language::document::tree::{Kind, Made, NodeId, Tree};
use crate::model::diagnostic::{Diagnostic, Span};

/// Largest workflow file: fifteen times 100,000 tasks written out.
const LARGEST: usize = 256 << 20;

/// Deepest nesting of arrays and inline tables, and most parts of a dotted key.
const DEEPEST: u32 = 64;

/// Reads a text. What has mistakes is left out of the tree.
pub(in crate::language) fn parse<'t>(text: &'t str, mistakes: &mut Mistakes) -> Tree<'t> {
    let mut builder = Builder {
        text,
        tree: Tree::new(text),
        mistakes,
        table: Tree::ROOT,
        keys: Vec::new(),
        header: None,
        open: Vec::new(),
        target: None,
    };
    if text.len() > LARGEST {
        let message =
            format!("the file has {} MiB, csync reads workflow files up to {} MiB", text.len() >> 20, LARGEST >> 20);
        let help = "write tasks that differ in their files alone as one task with `foreach`";
        builder.mistakes.push(Diagnostic::error(None, message).help(help));
        return builder.tree;
    }
    let source = Source::new(text);
    let mut errors: Vec<ParseError> = Vec::new();
    let cut = statements(text, |tokens| {
        let mut checked = ValidateWhitespace::new(&mut builder, source);
        let mut guarded = RecursionGuard::new(&mut checked, DEEPEST);
        parse_document(tokens, &mut guarded, &mut errors);
        // The parser says nothing of a bracket at the very end.
        if let (Some((start, _)), []) = (builder.header, errors.as_slice()) {
            builder.mistakes.error(Span::new(start, start + 1), "unclosed table");
        }
        for error in errors.drain(..) {
            let mistake = builder.mistake(&error);
            builder.mistakes.push(mistake);
        }
        builder.forget_value();
    });
    if let Err(long) = cut {
        let message = format!("a value of more than {MOST_TOKENS} parts");
        let help = "put long lists into a file: `foreach = { csv = \"samples.csv\" }`";
        builder.mistakes.push(Diagnostic::error(Span::new(long.0, long.0 + 1), message).help(help));
    }
    builder.tree
}

/// A key as it stands in the text.
#[derive(Clone, Copy)]
struct Key {
    span: Span,
    encoding: Option<Encoding>,
}

/// Turns events into the tree.
struct Builder<'t, 'm> {
    text: &'t str,
    tree: Tree<'t>,
    mistakes: &'m mut Mistakes,
    /// The table of the last header.
    table: NodeId,
    /// Parts of the key being read.
    keys: Vec<Key>,
    /// Start of the header being read, and whether it is `[[x]]`.
    header: Option<(usize, bool)>,
    /// Arrays and inline tables being read.
    open: Vec<NodeId>,
    /// Where the next value goes: table and key.
    target: Option<(NodeId, Span)>,
}

impl<'t> Builder<'t, '_> {
    /// Says a parser's mistake in our words.
    fn mistake(&self, error: &ParseError) -> Diagnostic {
        let at = |span: toml_parser::Span| {
            // A mistake at a single point underlines the letter there; at the end of the text, the one before.
            let (start, end) = (span.start().min(self.text.len()), span.end().min(self.text.len()));
            if start < end {
                return Span::new(start, end);
            }
            let next = self.text.get(start..).and_then(|rest| rest.chars().next());
            Span::new(start, start + next.filter(|&letter| letter != '\n').map_or(0, char::len_utf8))
        };
        let span = error.unexpected().or_else(|| error.context()).map(at);
        let expected: Vec<String> = error
            .expected()
            .unwrap_or_default()
            .iter()
            .map(|expected| match expected {
                Expected::Literal("\n") => "a new line".to_owned(),
                Expected::Literal(literal) => format!("`{literal}`"),
                Expected::Description(words) => (*words).to_owned(),
                _ => "something else".to_owned(),
            })
            .collect();
        let mut mistake = Diagnostic::error(span, error.description());
        if !expected.is_empty() {
            mistake = mistake.label(format!("expected {}", expected.join(" or ")));
        }
        if error.description().contains("string values must be quoted") {
            mistake = mistake.help("texts stand in quotes: `key = \"text\"`");
        }
        mistake
    }

    /// Forgets a value that a mistake left unfinished.
    fn forget_value(&mut self) {
        self.keys.clear();
        self.open.clear();
        self.header = None;
        self.target = None;
    }

    fn raw(&self, span: Span, encoding: Option<Encoding>) -> Raw<'t> {
        let text = self.text.get(span.range()).unwrap_or_default();
        Raw::new_unchecked(text, encoding, toml_parser::Span::new_unchecked(span.range().start, span.range().end))
    }

    /// Returns a key's text, and keeps it when it is not written as it reads.
    fn key_text(&mut self, key: Key, error: &mut dyn ErrorSink) -> Cow<'t, str> {
        let mut text = Cow::Borrowed("");
        self.raw(key.span, key.encoding).decode_key(&mut text, error);
        if key.encoding.is_some() {
            self.tree.name_key(key.span, text.clone().into_owned());
        }
        text
    }

    /// Says that a key is written twice.
    fn twice(&mut self, key: Span, name: &str, first: NodeId) {
        let first = match self.tree.key_span(first) {
            span if span == Span::default() => self.tree.span(first),
            span => span,
        };
        let mistake = Diagnostic::error(key, format!("`{name}` is written twice")).label("again here");
        self.mistakes.push(mistake.related(first, "first here"));
    }

    /// Walks down one part of a key or header, making the table where there is none; none after a mistake.
    fn descend(&mut self, table: NodeId, key: Key, made: Made, error: &mut dyn ErrorSink) -> Option<NodeId> {
        let name = self.key_text(key, error);
        let Some(child) = self.tree.get(table, &name) else {
            let child = self.tree.make(Kind::Table, made, key.span);
            self.tree.attach(table, key.span, child);
            return Some(child);
        };
        let node = *self.tree.node(child);
        match (node.kind, node.made) {
            // A header may go through everything that headers made; a dotted key only through what dotted keys made.
            (Kind::Table, Made::Header | Made::Implicit) if made == Made::Implicit => Some(child),
            (Kind::Table, Made::Dotted) => Some(child),
            (Kind::Table, Made::Implicit) => {
                self.tree.node_mut(child).made = Made::Dotted;
                Some(child)
            }
            (Kind::Array, Made::Headers) if made == Made::Implicit => Some(node.high),
            (Kind::Table, Made::Value) => {
                let message = format!("`{name}` is an inline table: all of it stands between its braces");
                self.mistakes.push(Diagnostic::error(key.span, message).related(node.key, "closed here"));
                None
            }
            (Kind::Table, _) => {
                let message = format!("`{name}` has a table of its own: write its keys there");
                self.mistakes.push(Diagnostic::error(key.span, message).related(node.span, "this table"));
                None
            }
            _ => {
                let message = format!("`{name}` is {}, not a table", node.kind.words());
                self.mistakes.push(Diagnostic::error(key.span, message).related(node.key, "written here"));
                None
            }
        }
    }

    /// Walks down all but the last part.
    fn descend_all(&mut self, from: NodeId, keys: &[Key], made: Made, error: &mut dyn ErrorSink) -> Option<NodeId> {
        if keys.len() > DEEPEST as usize {
            let span = keys.first().map_or(Span::default(), |key| key.span);
            self.mistakes.error(span, format!("a key of more than {DEEPEST} parts"));
            return None;
        }
        keys.iter().try_fold(from, |table, &key| self.descend(table, key, made, error))
    }

    /// Begins to read a header. The parser passes over a bracket within one, as in `[[[x]`.
    fn open_header(&mut self, span: toml_parser::Span, array: bool) {
        if let Some((start, _)) = self.header {
            let mistake = Diagnostic::error(Span::new(start, span.end()), "a header within a header");
            self.mistakes.push(mistake.help("write `[name]` for a table, `[[name]]` for an element of an array"));
        }
        self.forget_value();
        self.header = Some((span.start(), array));
    }

    /// Opens the table of a header that has been read.
    fn open_table(&mut self, span: Span, array: bool, error: &mut dyn ErrorSink) {
        let keys = std::mem::take(&mut self.keys);
        let table = self.tree.make(Kind::Table, Made::Header, span);
        self.table = table;
        let Some((&own, above)) = keys.split_last() else { return };
        let Some(parent) = self.descend_all(Tree::ROOT, above, Made::Implicit, error) else { return };
        let name = self.key_text(own, error);
        let existing = self.tree.get(parent, &name);
        let Some(existing) = existing else {
            if array {
                let list = self.tree.make(Kind::Array, Made::Headers, span);
                self.tree.attach(parent, own.span, list);
                self.tree.attach(list, Span::default(), table);
            } else {
                self.tree.attach(parent, own.span, table);
            }
            return;
        };
        let node = *self.tree.node(existing);
        match (node.kind, node.made, array) {
            (Kind::Array, Made::Headers, true) => self.tree.attach(existing, Span::default(), table),
            (Kind::Table, Made::Implicit, false) => {
                let node = self.tree.node_mut(existing);
                node.made = Made::Header;
                node.span = span;
                node.key = own.span;
                self.table = existing;
            }
            _ => self.twice(own.span, &name, existing),
        }
    }

    /// Finds where the value of a key goes; none after a mistake.
    fn free_place(&mut self, table: NodeId, keys: &[Key], error: &mut dyn ErrorSink) -> Option<(NodeId, Span)> {
        let (&last, above) = keys.split_last()?;
        let table = self.descend_all(table, above, Made::Dotted, error)?;
        let name = self.key_text(last, error);
        if let Some(existing) = self.tree.get(table, &name) {
            self.twice(last.span, &name, existing);
            return None;
        }
        Some((table, last.span))
    }

    /// Hangs a value where it belongs.
    fn place(&mut self, value: NodeId) {
        if let Some((table, key)) = self.target.take() {
            self.tree.attach(table, key, value);
        } else if let Some(&array) = self.open.last()
            && self.tree.kind(array) == Kind::Array
        {
            self.tree.attach(array, Span::default(), value);
        }
    }

    fn close(&mut self, span: toml_parser::Span) {
        if let Some(node) = self.open.pop() {
            self.tree.node_mut(node).span.end = span.end() as u32;
        }
        self.keys.clear();
    }

    fn open_value(&mut self, span: toml_parser::Span, kind: Kind) {
        let node = self.tree.make(kind, Made::Value, Span::new(span.start(), span.end()));
        self.place(node);
        self.open.push(node);
    }

    fn string(&mut self, id: NodeId, text: Cow<'t, str>) {
        match text {
            Cow::Borrowed(text) => {
                let start = (text.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
                // An empty text may be borrowed from anywhere.
                let start = if text.is_empty() { 0 } else { start };
                let node = self.tree.node_mut(id);
                node.low = start as u32;
                node.high = (start + text.len()) as u32;
            }
            Cow::Owned(text) => self.tree.decode(id, text),
        }
    }

    fn number(&mut self, id: NodeId, bits: u64) {
        let node = self.tree.node_mut(id);
        node.low = bits as u32;
        node.high = (bits >> 32) as u32;
    }

    fn scalar_value(&mut self, span: Span, encoding: Option<Encoding>, error: &mut dyn ErrorSink) -> NodeId {
        let mut text = Cow::Borrowed("");
        let kind = self.raw(span, encoding).decode_scalar(&mut text, error);
        let id = self.tree.make(Kind::String, Made::Value, span);
        let kind = match kind {
            ScalarKind::String => {
                self.string(id, text);
                Kind::String
            }
            ScalarKind::Boolean(value) => {
                self.number(id, u64::from(value));
                Kind::Boolean
            }
            ScalarKind::DateTime => Kind::Datetime,
            ScalarKind::Float => {
                self.number(id, text.parse::<f64>().unwrap_or(f64::NAN).to_bits());
                Kind::Float
            }
            ScalarKind::Integer(radix) => {
                match i64::from_str_radix(&text, radix.value()) {
                    Ok(value) => self.number(id, value as u64),
                    Err(_) if text.is_empty() => self.number(id, 0),
                    Err(_) => self.mistakes.error(span, "a number of more than 64 bits"),
                }
                Kind::Integer
            }
        };
        self.tree.node_mut(id).kind = kind;
        id
    }
}

impl EventReceiver for Builder<'_, '_> {
    fn std_table_open(&mut self, span: toml_parser::Span, _: &mut dyn ErrorSink) {
        self.open_header(span, false);
    }

    fn std_table_close(&mut self, span: toml_parser::Span, error: &mut dyn ErrorSink) {
        if let Some((start, array)) = self.header.take() {
            self.open_table(Span::new(start, span.end()), array, error);
        }
    }

    fn array_table_open(&mut self, span: toml_parser::Span, _: &mut dyn ErrorSink) {
        self.open_header(span, true);
    }

    fn array_table_close(&mut self, span: toml_parser::Span, error: &mut dyn ErrorSink) {
        self.std_table_close(span, error);
    }

    fn inline_table_open(&mut self, span: toml_parser::Span, _: &mut dyn ErrorSink) -> bool {
        self.open_value(span, Kind::Table);
        true
    }

    fn inline_table_close(&mut self, span: toml_parser::Span, _: &mut dyn ErrorSink) {
        self.close(span);
    }

    fn array_open(&mut self, span: toml_parser::Span, _: &mut dyn ErrorSink) -> bool {
        self.open_value(span, Kind::Array);
        true
    }

    fn array_close(&mut self, span: toml_parser::Span, _: &mut dyn ErrorSink) {
        self.close(span);
    }

    fn simple_key(&mut self, span: toml_parser::Span, encoding: Option<Encoding>, _: &mut dyn ErrorSink) {
        // A new statement begins where no key was waiting for its value.
        self.keys.push(Key { span: Span::new(span.start(), span.end()), encoding });
    }

    fn key_val_sep(&mut self, _: toml_parser::Span, error: &mut dyn ErrorSink) {
        let keys = std::mem::take(&mut self.keys);
        self.target = None;
        let table = match self.open.last() {
            Some(&open) if self.tree.kind(open) == Kind::Table => open,
            Some(_) => return,
            None => self.table,
        };
        self.target = self.free_place(table, &keys, error);
        if self.target.is_none() {
            // After a mistake, the value goes where nobody looks.
            let lost = self.tree.make(Kind::Table, Made::Value, Span::default());
            self.target = Some((lost, Span::default()));
        }
    }

    fn scalar(&mut self, span: toml_parser::Span, encoding: Option<Encoding>, error: &mut dyn ErrorSink) {
        let value = self.scalar_value(Span::new(span.start(), span.end()), encoding, error);
        self.place(value);
    }

    fn newline(&mut self, _: toml_parser::Span, _: &mut dyn ErrorSink) {
        if self.open.is_empty() {
            self.keys.clear();
            self.target = None;
        }
    }
}

/// Prints a tree as nested values, for tests.
#[cfg(test)]
pub(in crate::language) fn outline(tree: &Tree<'_>, id: NodeId) -> serde_json::Value {
    match tree.kind(id) {
        Kind::Table => tree.children(id).map(|child| (tree.key(child).to_owned(), outline(tree, child))).collect(),
        Kind::Array => tree.children(id).map(|child| outline(tree, child)).collect(),
        Kind::Datetime => serde_json::Value::from("date"),
        Kind::Integer => tree.integer(id).into(),
        Kind::Float => tree.number(id).into(),
        Kind::Boolean => tree.boolean(id).into(),
        Kind::String => tree.str(id).into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> (serde_json::Value, Vec<String>) {
        let mut mistakes = Mistakes::default();
        let tree = parse(text, &mut mistakes);
        let outline = outline(&tree, Tree::ROOT);
        (outline, mistakes.finish().into_iter().map(|mistake| mistake.message).collect())
    }

    #[test]
    fn everything_toml_has_is_read() {
        let text = r#"
a = "x\ty"
b = 'raw\t'
c = """
two
lines"""
d = [1, -2_000, 0x10, 1.5, true, 1979-05-27]
e.f.g = {h = 1, "i j" = [{}]}
[t]
u = 1
[t.v.w]
[[l]]
m = 1
[[l]]
[l.n]
o = 2
"#;
        let (tree, mistakes) = read(text);
        assert_eq!(mistakes, [""; 0]);
        assert_eq!(
            tree,
            serde_json::json!({
                "a": "x\ty", "b": "raw\\t", "c": "two\nlines",
                "d": [1, -2000, 16, 1.5, true, "date"],
                "e": {"f": {"g": {"h": 1, "i j": [{}]}}},
                "t": {"u": 1, "v": {"w": {}}},
                "l": [{"m": 1}, {"n": {"o": 2}}],
            })
        );
    }

    #[test]
    fn what_toml_forbids_is_refused() {
        for (text, message) in [
            ("a = 1\na = 2", "`a` is written twice"),
            ("[a]\n[a]", "`a` is written twice"),
            ("a.b = 1\na.b = 2", "`b` is written twice"),
            ("[a]\n[[a]]", "`a` is written twice"),
            ("a = {b = 1}\n[a.c]", "`a` is an inline table: all of it stands between its braces"),
            ("[a.b]\nc = 1\n[a]\nb.d = 1", "`b` has a table of its own: write its keys there"),
            ("a = 1\n[a.b]", "`a` is an integer, not a table"),
            ("a = {b = 1, b = 2}", "`b` is written twice"),
            ("a = 99999999999999999999", "a number of more than 64 bits"),
            ("a = ", "string values must be quoted"),
            ("a = [1, 2", "unclosed array"),
            ("[a", "unclosed table"),
            ("[", "unclosed table"),
            ("a = 1\n[[", "unclosed table"),
            ("a = \"b", "invalid basic string"),
        ] {
            let (_, mistakes) = read(text);
            assert_eq!(mistakes, [message], "{text}");
        }
    }

    #[test]
    fn a_dotted_key_may_go_on_with_what_a_header_passed_through() {
        let (tree, mistakes) = read("[t.b.c]\n[t]\nb.d = 1\n");
        assert_eq!((tree, mistakes), (serde_json::json!({"t": {"b": {"c": {}, "d": 1}}}), Vec::new()));
    }

    #[test]
    fn several_mistakes_are_found_at_once() {
        let (tree, mistakes) = read("a = [1,\nb = 2\n[t]\nc = yes\nd = 1\nd = 2\n[u\ne = 3\n");
        assert_eq!(
            mistakes,
            ["unclosed array", "string values must be quoted", "`d` is written twice", "unclosed table"]
        );
        assert_eq!(tree["b"], 2);
        assert_eq!(tree["t"]["d"], 1);
    }

    #[test]
    fn a_large_table_finds_its_keys() {
        let text = (0..1000).map(|n| format!("[t.k{n}]\nv = {n}\n")).collect::<Vec<_>>().concat();
        let mut mistakes = Mistakes::default();
        let tree = parse(&text, &mut mistakes);
        let table = tree.get(Tree::ROOT, "t").unwrap();
        for n in [0, 7, 8, 9, 500, 999] {
            let child = tree.get(table, &format!("k{n}")).unwrap();
            assert_eq!(tree.integer(tree.get(child, "v").unwrap()), Some(n));
        }
        assert_eq!(tree.get(table, "k1000"), None);
        assert_eq!(std::mem::size_of_val(tree.node(0)), 32);
    }

    #[test]
    fn nesting_has_a_bound() {
        let (_, mistakes) = read(&format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000)));
        assert_eq!(mistakes, ["cannot recurse further; max recursion depth met"]);
        let (_, mistakes) = read(&format!("{}a = 1", "a.".repeat(1000)));
        assert_eq!(mistakes, ["a key of more than 64 parts"]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            read(&text);
        }

        #[test]
        fn a_soup_of_toml_is_read_or_refused(parts in prop::collection::vec(prop::sample::select(vec![
            "a", "b.c", "[", "]", "[[", "]]", "{", "}", "=", ",", ".", "\n", " ", "\"x\"", "'y'", "\"\"\"", "'''", "1", "-1.5e3",
            "true", "#c", "1979-05-27", "\\", "\r", "\u{feff}", "é", "[tasks.a]", "run = ",
        ]), 0..60)) {
            read(&parts.concat());
        }

        #[test]
        fn what_the_toml_crate_takes_is_taken_and_equal(parts in prop::collection::vec(prop::sample::select(vec![
            "a = 1\n", "b.c = 'x'\n", "[t]\n", "[t.u]\n", "[[l]]\n", "[l.m]\n", "d = [1, 2]\n", "e = {f = {g = 1}}\n",
            "b.d = \"\"\"\nq\"\"\"\n", "[b]\n", "t.v = 1\n", "[e.f]\n", "\"a\" = 2\n", "[t.b]\n", "[t.b.c]\n",
        ]), 0..8)) {
            let text = parts.concat();
            let (tree, mistakes) = read(&text);
            match text.parse::<toml::Table>() {
                Ok(table) => {
                    prop_assert!(mistakes.is_empty(), "{:?} in {}", mistakes, text);
                    prop_assert_eq!(tree, serde_json::to_value(&table).unwrap());
                }
                Err(_) => prop_assert!(!mistakes.is_empty(), "{}", text),
            }
        }
    }
}
