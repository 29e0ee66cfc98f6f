//! A TOML text as a tree: nodes of 32 bytes in one vector, each with its place in the text.
//!
//! Texts of values are borrowed from the source; only those with escapes are kept decoded.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

use crate::model::diagnostic::Span;

/// No node.
pub(in crate::language) const NONE: u32 = u32::MAX;

/// Children of a table that are found by walking; further ones are in an index.
const WALKED: u32 = 8;

/// A node of a [`Tree`], by position.
pub(in crate::language) type NodeId = u32;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::language) enum Kind {
    String,
    Integer,
    Float,
    Boolean,
    Datetime,
    Array,
    Table,
}

impl Kind {
    /// Returns the kind in words, for messages.
    pub(in crate::language) const fn words(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Float => "a number with a fraction",
            Self::Boolean => "a boolean",
            Self::Datetime => "a date",
            Self::Array => "an array",
            Self::Table => "a table",
        }
    }
}

/// How a table or array came to be, which decides what may be added to it later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::language) enum Made {
    /// A value: `x = 1`, `x = [..]`, `x = {..}`: nothing may be added.
    Value,
    /// `[x]`, or an element of `[[x]]`.
    Header,
    /// On the way to a deeper `[x.y]`.
    Implicit,
    /// By a dotted key: `x.y = 1`.
    Dotted,
    /// The array of `[[x]]`.
    Headers,
}

/// One node. Its two payload words hold: a string's borrowed bytes in the source (start, end) or, decoded, its index; the
/// bits of a number; a container's first and last child.
#[derive(Clone, Copy, Debug)]
pub(in crate::language) struct Node {
    pub(in crate::language) key: Span,
    pub(in crate::language) span: Span,
    pub(in crate::language) low: u32,
    pub(in crate::language) high: u32,
    pub(in crate::language) next: NodeId,
    pub(in crate::language) kind: Kind,
    pub(in crate::language) made: Made,
    /// Whether the text of a string is in `decoded`.
    pub(in crate::language) escaped: bool,
}

/// A TOML text as a tree.
#[derive(Debug)]
pub(in crate::language) struct Tree<'t> {
    text: &'t str,
    nodes: Vec<Node>,
    decoded: Vec<String>,
    /// Keys that are not their own text (`"a b"`, `'x'`), by the start of their span.
    odd_keys: HashMap<u32, String>,
    /// By the hash of table and key. Two keys of one hash are so rare that the second one is looked for by walking.
    index: HashMap<u64, NodeId>,
}

impl<'t> Tree<'t> {
    /// Makes the tree of an empty document; its root is node 0.
    pub(in crate::language) fn new(text: &'t str) -> Self {
        let root = Node {
            key: Span::default(),
            span: Span::default(),
            low: NONE,
            high: NONE,
            next: NONE,
            kind: Kind::Table,
            made: Made::Header,
            escaped: false,
        };
        Self { text, nodes: vec![root], decoded: Vec::new(), odd_keys: HashMap::new(), index: HashMap::new() }
    }

    /// The root table.
    pub(in crate::language) const ROOT: NodeId = 0;

    /// Returns the source.
    pub(in crate::language) const fn text(&self) -> &'t str {
        self.text
    }

    /// Returns a node.
    #[expect(clippy::indexing_slicing, reason = "ids are made by the tree that they index")]
    pub(in crate::language) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    #[expect(clippy::indexing_slicing, reason = "ids are made by the tree that they index")]
    pub(in crate::language) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    /// Returns what a node is.
    pub(in crate::language) fn kind(&self, id: NodeId) -> Kind {
        self.node(id).kind
    }

    /// Returns the place of a node's value; of a table with a header, its header.
    pub(in crate::language) fn span(&self, id: NodeId) -> Span {
        self.node(id).span
    }

    /// Returns the place of a node's key.
    pub(in crate::language) fn key_span(&self, id: NodeId) -> Span {
        self.node(id).key
    }

    /// Returns a node's key; empty for an element of an array.
    pub(in crate::language) fn key(&self, id: NodeId) -> &str {
        self.key_at(self.node(id).key)
    }

    fn key_at(&self, key: Span) -> &str {
        match self.odd_keys.get(&key.start) {
            Some(text) => text,
            None => self.text.get(key.range()).unwrap_or_default(),
        }
    }

    /// Remembers the text of a key that is not written as it reads.
    pub(in crate::language) fn name_key(&mut self, key: Span, text: String) {
        self.odd_keys.insert(key.start, text);
    }

    /// Returns a string's text.
    pub(in crate::language) fn str(&self, id: NodeId) -> Option<&str> {
        let node = self.node(id);
        if node.kind != Kind::String {
            return None;
        }
        if node.escaped {
            self.decoded.get(node.low as usize).map(String::as_str)
        } else {
            self.text.get(node.low as usize..node.high as usize)
        }
    }

    /// Returns where a string's first byte stands, when its bytes are those of the file.
    pub(in crate::language) fn body(&self, id: NodeId) -> Option<u32> {
        let node = self.node(id);
        (node.kind == Kind::String && !node.escaped).then_some(node.low)
    }

    /// Returns an integer.
    pub(in crate::language) fn integer(&self, id: NodeId) -> Option<i64> {
        let node = self.node(id);
        (node.kind == Kind::Integer).then_some(self.bits(id) as i64)
    }

    /// Returns a number, whole or not.
    pub(in crate::language) fn number(&self, id: NodeId) -> Option<f64> {
        match self.kind(id) {
            Kind::Integer => Some(self.bits(id) as i64 as f64),
            Kind::Float => Some(f64::from_bits(self.bits(id))),
            _ => None,
        }
    }

    /// Returns a boolean.
    pub(in crate::language) fn boolean(&self, id: NodeId) -> Option<bool> {
        (self.kind(id) == Kind::Boolean).then(|| self.node(id).low == 1)
    }

    fn bits(&self, id: NodeId) -> u64 {
        let node = self.node(id);
        u64::from(node.high) << 32 | u64::from(node.low)
    }

    /// Returns a scalar as the text that a command sees: strings as they are, decimal numbers as they are written.
    pub(in crate::language) fn scalar(&self, id: NodeId) -> Option<Cow<'_, str>> {
        let written = || self.text.get(self.span(id).range()).unwrap_or_default();
        match self.kind(id) {
            Kind::String => self.str(id).map(Cow::Borrowed),
            Kind::Boolean => Some(Cow::Borrowed(if self.node(id).low == 1 { "true" } else { "false" })),
            Kind::Integer => self.integer(id).map(|value| Cow::Owned(value.to_string())),
            Kind::Float => Some(Cow::Owned(written().replace('_', "").trim_start_matches('+').to_owned())),
            Kind::Datetime | Kind::Array | Kind::Table => None,
        }
    }

    /// Iterates over the children of a table or array.
    pub(in crate::language) fn children(&self, id: NodeId) -> Children<'_, 't> {
        let node = self.node(id);
        let first = if matches!(node.kind, Kind::Array | Kind::Table) { node.low } else { NONE };
        Children { tree: self, next: first }
    }

    /// Finds a child of a table by key.
    pub(in crate::language) fn get(&self, table: NodeId, key: &str) -> Option<NodeId> {
        let mut walked = 0;
        for child in self.children(table) {
            if self.key(child) == key {
                return Some(child);
            }
            walked += 1;
            if walked == WALKED {
                return self.get_indexed(table, key);
            }
        }
        None
    }

    fn get_indexed(&self, table: NodeId, key: &str) -> Option<NodeId> {
        let found = *self.index.get(&hash(table, key))?;
        if self.key(found) == key { Some(found) } else { self.children(table).find(|&child| self.key(child) == key) }
    }

    /// Hashes a node as it is written, with its key.
    pub(in crate::language) fn hash(&self, id: NodeId, hasher: &mut blake3::Hasher) {
        let node = self.node(id);
        hasher.update(self.key(id).as_bytes()).update(&[0, node.kind as u8]);
        if node.kind == Kind::Array || node.kind == Kind::Table {
            for child in self.children(id) {
                self.hash(child, hasher);
            }
        } else {
            hasher.update(self.text.get(node.span.range()).unwrap_or_default().as_bytes());
        }
        hasher.update(&[1]);
    }

    /// Makes a node that hangs nowhere.
    pub(in crate::language) fn make(&mut self, kind: Kind, made: Made, span: Span) -> NodeId {
        let (key, next) = (Span::default(), NONE);
        let (low, high) = (NONE, NONE);
        self.nodes.push(Node { key, span, low, high, next, kind, made, escaped: false });
        (self.nodes.len() - 1) as NodeId
    }

    /// Keeps a string that is not its own text.
    pub(in crate::language) fn decode(&mut self, id: NodeId, text: String) {
        self.decoded.push(text);
        let low = (self.decoded.len() - 1) as u32;
        let node = self.node_mut(id);
        node.low = low;
        node.escaped = true;
    }

    /// Hangs a node into a table under a key, or into an array. The caller has looked that the key is free.
    pub(in crate::language) fn attach(&mut self, parent: NodeId, key: Span, child: NodeId) {
        let last = self.node(parent).high;
        self.node_mut(child).key = key;
        if last == NONE {
            self.node_mut(parent).low = child;
        } else {
            self.node_mut(last).next = child;
        }
        self.node_mut(parent).high = child;
        if self.kind(parent) == Kind::Table && self.has_more_than_walked(parent) {
            let hash = hash(parent, self.key_at(key));
            self.index.entry(hash).or_insert(child);
        }
    }

    fn has_more_than_walked(&self, table: NodeId) -> bool {
        self.children(table).nth(WALKED as usize).is_some()
    }
}

/// Hashes a table and a key with the standard library's hasher and fixed keys.
fn hash(table: NodeId, key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u32(table);
    hasher.write(key.as_bytes());
    hasher.finish()
}

/// Children of a node, in the order of the file.
pub(in crate::language) struct Children<'a, 't> {
    tree: &'a Tree<'t>,
    next: NodeId,
}

impl Iterator for Children<'_, '_> {
    type Item = NodeId;

    fn next(&mut self) -> Option<NodeId> {
        if self.next == NONE {
            return None;
        }
        let id = self.next;
        self.next = self.tree.node(id).next;
        Some(id)
    }
}
