//! What readers of a [`Tree`] do alike: take a value of the kind that a key has, or say what is wrong with it, and what was
//! meant by an unknown key.

use crate::language::document::mistakes::Mistakes;
use crate::language::document::tree::{Kind, NodeId, Tree};
use crate::model::diagnostic::{Diagnostic, Span};

/// Makes an enum of a table whose keys are fixed.
macro_rules! keys {
    ($(#[$doc:meta])* $name:ident { $($key:ident = $text:literal: $about:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum $name { $($key,)* }

        impl $name {
            /// Every key.
            pub(super) const ALL: &'static [Self] = &[$(Self::$key,)*];

            /// Returns the key as written.
            pub(super) const fn text(self) -> &'static str {
                match self { $(Self::$key => $text,)* }
            }

            /// Returns what the key means.
            pub(super) const fn about(self) -> &'static str {
                match self { $(Self::$key => $about,)* }
            }

            /// Finds a key.
            pub(super) fn find(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$key),)*
                    _ => None,
                }
            }
        }

        impl $crate::language::document::KeySet for $name {
            fn texts() -> Vec<&'static str> {
                Self::ALL.iter().map(|key| key.text()).collect()
            }

            fn of(text: &str) -> Option<Self> {
                Self::find(text)
            }
        }
    };
}
pub(in crate::language) use keys;

/// The keys of one table.
pub(in crate::language) trait KeySet: Copy {
    /// Returns every key as written.
    fn texts() -> Vec<&'static str>;

    /// Finds a key.
    fn of(text: &str) -> Option<Self>;
}

/// A reader at work: a tree, and the mistakes found in it so far.
pub(in crate::language) trait Reading<'a, 't: 'a>: Sized {
    /// Returns what is read.
    fn tree(&self) -> &'a Tree<'t>;

    /// Returns the mistakes found so far.
    fn mistakes(&mut self) -> &mut Mistakes;

    /// Returns what to write instead of an unknown key, as a sentence.
    fn meant(key: &str, known: &[&'static str]) -> Option<String>;

    /// Adds an error.
    fn error(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.mistakes().push(Diagnostic::error(span, message).help(help));
    }

    /// Says that a value is of the wrong type.
    fn wrong(&mut self, id: NodeId, key: &str, accepted: &str) {
        let tree = self.tree();
        let found = tree.kind(id).words();
        let mut mistake = Diagnostic::error(tree.span(id), format!("`{key}` is {accepted}, not {found}"));
        if tree.kind(id) == Kind::Datetime {
            mistake = mistake.help("a date is a text here: put it in quotes");
        }
        self.mistakes().push(mistake);
    }

    /// Says that a key is none of a table's.
    fn unknown<K: KeySet>(&mut self, id: NodeId, table: &str) {
        let tree = self.tree();
        let key = tree.key(id);
        if self.mistakes().is_full() {
            return self.mistakes().error(tree.key_span(id), "an unknown key");
        }
        let known = K::texts();
        let help = Self::meant(key, &known).unwrap_or_else(|| {
            let known: Vec<String> = known.iter().map(|key| format!("`{key}`")).collect();
            format!("{table} takes {}", known.join(", "))
        });
        let mistake = Diagnostic::error(tree.key_span(id), format!("unknown key `{key}` in {table}"));
        self.mistakes().push(mistake.help(help));
    }

    /// Calls `each` for every key of a table; a mistake when it is no table or a key is unknown.
    fn keys<K: KeySet>(&mut self, id: NodeId, table: &str, mut each: impl FnMut(&mut Self, K, NodeId)) {
        let tree = self.tree();
        if tree.kind(id) != Kind::Table {
            self.wrong(id, table.trim_matches('`'), "a table");
            return;
        }
        for child in tree.children(id) {
            match K::of(tree.key(child)) {
                Some(key) => each(self, key, child),
                None => self.unknown::<K>(child, table),
            }
        }
    }

    /// Returns a string.
    fn string(&mut self, id: NodeId, key: &str) -> Option<&'a str> {
        let tree = self.tree();
        let text = tree.str(id);
        match text {
            None => self.wrong(id, key, "a string"),
            Some(text) if text.contains('\0') => self.mistakes().error(tree.span(id), "a text with a zero byte"),
            Some(_) => return text,
        }
        None
    }

    /// Returns a whole number between bounds.
    fn integer(&mut self, id: NodeId, key: &str, least: i64, most: i64) -> Option<i64> {
        let tree = self.tree();
        let Some(value) = tree.integer(id) else {
            self.wrong(id, key, "a whole number");
            return None;
        };
        if (least..=most).contains(&value) {
            return Some(value);
        }
        let bound = if value < least { format!("at least {least}") } else { format!("at most {most}") };
        self.mistakes().error(tree.span(id), format!("`{key}` is {bound}"));
        None
    }

    /// Returns a boolean.
    fn boolean(&mut self, id: NodeId, key: &str) -> Option<bool> {
        let value = self.tree().boolean(id);
        if value.is_none() {
            self.wrong(id, key, "`true` or `false`");
        }
        value
    }

    /// Returns the elements of an array; a single string counts as an array of one where `single` says so.
    fn strings(&mut self, id: NodeId, key: &str, single: bool) -> Vec<(NodeId, &'a str)> {
        let tree = self.tree();
        match tree.kind(id) {
            Kind::String if single => self.string(id, key).map(|text| (id, text)).into_iter().collect(),
            Kind::Array => {
                let mut all = Vec::new();
                for child in tree.children(id) {
                    match tree.kind(child) {
                        Kind::String => all.extend(self.string(child, key).map(|text| (child, text))),
                        _ => self.wrong(child, &format!("an element of {key}"), "a string"),
                    }
                }
                all
            }
            _ => {
                let accepted = if single { "a string or an array of strings" } else { "an array of strings" };
                self.wrong(id, key, accepted);
                if tree.kind(id) == Kind::String {
                    let written = tree.text().get(tree.span(id).range()).unwrap_or_default();
                    self.help_last(format!("write `{key} = [{written}]`"));
                }
                Vec::new()
            }
        }
    }

    /// Adds a hint to the mistake added last.
    fn help_last(&mut self, help: impl Into<String>) {
        self.mistakes().help_last(help);
    }

    /// Adds a second place to the mistake added last.
    fn relate_last(&mut self, span: Span, words: &str) {
        self.mistakes().relate_last(span, words);
    }
}
