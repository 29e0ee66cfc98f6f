//! `when`: a condition over `params`, `item` and `matrix`.
//!
//! ```text
//! or   = and  { ("or" | "||") and }
//! and  = not  { ("and" | "&&") not }
//! not  = ("not" | "!") not | comparison
//! comparison = value [ ("==" | "!=" | "<" | "<=" | ">" | ">=" | ["not"] "in") value ]
//! value = "text" | 'text' | number | true | false | [ value, ... ] | "(" or ")" | params.x | item | item.column | matrix.key
//! ```
//! Two values that both read as numbers compare as numbers, others as texts. `in` looks for an element of a list, or for a
//! part of a text. A value alone must be `true` or `false`.

use std::borrow::Cow;

use crate::language::document::{Mistakes, NodeId, Reading};
use crate::language::manifest::check::Check;
use crate::language::manifest::names::{Scope, resolve};
use crate::language::manifest::template::{Name, Templates};
use crate::model::diagnostic::{Diagnostic, Span};

/// Deepest nesting of parentheses, lists and `not`.
const DEEPEST: u32 = 64;

/// A condition, compiled.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    root: Node,
    /// Its place in the file.
    pub(super) span: Span,
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Text(String),
    Number(String),
    Boolean(bool),
    Name(Name, Span),
    List(Vec<Self>),
    Not(Box<Self>),
    /// A chain is one node: a tree of its links would be as deep as it is long.
    All(Vec<Self>),
    Any(Vec<Self>),
    Compare(Box<Self>, Operator, Box<Self>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    Unequal,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    NotIn,
}

impl Condition {
    /// Reads the condition of a task; none after a mistake.
    pub(super) fn read(check: &mut Check<'_, '_>, id: NodeId, scope: &Scope<'_>) -> Option<Self> {
        let tree = check.tree;
        let span = tree.span(id);
        if let Some(value) = tree.boolean(id) {
            return Some(Self { root: Node::Boolean(value), span });
        }
        let Some(text) = tree.str(id) else {
            check.wrong(id, "when", "a condition in quotes, `true` or `false`");
            check.help_last("write `when = \"params.mode == 'full'\"`");
            return None;
        };
        let (templates, mistakes) = (&mut check.templates, &mut check.mistakes);
        let mut parser = Parser { text, at: 0, span, body: tree.body(id), scope, templates, mistakes, depth: 0 };
        let root = parser.whole()?;
        Some(Self { root, span })
    }

    /// Evaluates the condition, given what a name stands for.
    ///
    /// # Errors
    /// What is wrong with it: a value alone that is neither `true` nor `false`, or a name that stands for nothing.
    pub(super) fn holds<'v>(&'v self, value: &dyn Fn(Name) -> Result<Cow<'v, str>, String>) -> Result<bool, String> {
        truth(&self.root, value)
    }
}

type Lookup<'l, 'v> = &'l dyn Fn(Name) -> Result<Cow<'v, str>, String>;

fn truth<'v>(node: &'v Node, value: Lookup<'_, 'v>) -> Result<bool, String> {
    match node {
        Node::Boolean(truth) => Ok(*truth),
        Node::Not(inner) => Ok(!truth(inner, value)?),
        Node::All(nodes) => {
            for node in nodes {
                if !truth(node, value)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Node::Any(nodes) => {
            for node in nodes {
                if truth(node, value)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Node::Compare(left, operator, right) => compare(left, *operator, right, value),
        Node::List(_) => Err("a list is neither true nor false".to_owned()),
        Node::Text(_) | Node::Number(_) | Node::Name(..) => match scalar(node, value)?.as_ref() {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(format!("`{other}` is neither `true` nor `false`")),
        },
    }
}

fn scalar<'v>(node: &'v Node, value: Lookup<'_, 'v>) -> Result<Cow<'v, str>, String> {
    match node {
        Node::Text(text) | Node::Number(text) => Ok(Cow::Borrowed(text)),
        Node::Name(name, _) => value(*name),
        Node::List(_) => Err("a list stands only after `in`".to_owned()),
        _ => Ok(Cow::Borrowed(if truth(node, value)? { "true" } else { "false" })),
    }
}

fn compare<'v>(left: &'v Node, operator: Operator, right: &'v Node, value: Lookup<'_, 'v>) -> Result<bool, String> {
    let text = scalar(left, value)?;
    if matches!(operator, Operator::In | Operator::NotIn) {
        let found = match right {
            Node::List(elements) => {
                let mut found = false;
                for element in elements {
                    found |= order(&text, &scalar(element, value)?) == std::cmp::Ordering::Equal;
                }
                found
            }
            _ => scalar(right, value)?.contains(text.as_ref()),
        };
        return Ok(found == (operator == Operator::In));
    }
    let order = order(&text, &scalar(right, value)?);
    Ok(match operator {
        Operator::Equal => order.is_eq(),
        Operator::Unequal => order.is_ne(),
        Operator::Less => order.is_lt(),
        Operator::LessEqual => order.is_le(),
        Operator::Greater => order.is_gt(),
        Operator::GreaterEqual | Operator::In | Operator::NotIn => order.is_ge(),
    })
}

/// Compares as numbers where both are, else as texts.
fn order(left: &str, right: &str) -> std::cmp::Ordering {
    if let (Ok(left), Ok(right)) = (left.parse::<i64>(), right.parse::<i64>()) {
        return left.cmp(&right);
    }
    match (number(left), number(right)) {
        (Some(left), Some(right)) => left.total_cmp(&right),
        _ => left.cmp(right),
    }
}

fn number(text: &str) -> Option<f64> {
    // `inf` and `nan` are names of samples sooner than numbers.
    let digit = text.bytes().any(|byte| byte.is_ascii_digit());
    text.parse::<f64>().ok().filter(|_| digit)
}

/// Reads a condition.
struct Parser<'p> {
    text: &'p str,
    at: usize,
    span: Span,
    body: Option<u32>,
    scope: &'p Scope<'p>,
    templates: &'p mut Templates,
    mistakes: &'p mut Mistakes,
    depth: u32,
}

impl Parser<'_> {
    fn whole(&mut self) -> Option<Node> {
        let node = self.or()?;
        self.blanks();
        if self.at < self.text.len() {
            return self.fail(
                self.at,
                self.text.len(),
                "this does not belong to the condition",
                "join conditions with `and` or `or`",
            );
        }
        Some(node)
    }

    fn place(&self, start: usize, end: usize) -> Span {
        match self.body {
            Some(body) => Span { start: body + start as u32, end: body + end as u32 },
            None => self.span,
        }
    }

    fn fail<T>(&mut self, start: usize, end: usize, message: &str, help: &str) -> Option<T> {
        let span = self.place(start, end);
        self.mistakes.push(Diagnostic::error(span, message).help(help));
        None
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Takes a word or sign when it comes next.
    fn take(&mut self, word: &str) -> bool {
        self.blanks();
        let Some(after) = self.rest().strip_prefix(word) else { return false };
        let letters = word.ends_with(|letter: char| letter.is_ascii_alphabetic());
        let goes_on =
            after.starts_with(|letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-');
        if letters && goes_on {
            return false;
        }
        self.at += word.len();
        true
    }

    fn or(&mut self) -> Option<Node> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return self.fail(self.at, self.text.len(), "too many parentheses", "write it with fewer");
        }
        let first = self.and()?;
        let mut nodes = vec![first];
        while self.take("||") || self.take("or") {
            nodes.push(self.and()?);
        }
        self.depth -= 1;
        if nodes.len() > 1 { Some(Node::Any(nodes)) } else { nodes.pop() }
    }

    fn and(&mut self) -> Option<Node> {
        let first = self.not()?;
        let mut nodes = vec![first];
        while self.take("&&") || self.take("and") {
            nodes.push(self.not()?);
        }
        if nodes.len() > 1 { Some(Node::All(nodes)) } else { nodes.pop() }
    }

    fn not(&mut self) -> Option<Node> {
        self.blanks();
        let mut negations = 0;
        while !self.rest().starts_with("!=") && (self.take("!") || self.take("not")) {
            negations += 1;
        }
        let node = self.comparison()?;
        Some(if negations % 2 == 1 { Node::Not(Box::new(node)) } else { node })
    }

    fn comparison(&mut self) -> Option<Node> {
        let left = self.value()?;
        self.blanks();
        let start = self.at;
        let operators = [
            ("==", Operator::Equal),
            ("!=", Operator::Unequal),
            ("<=", Operator::LessEqual),
            (">=", Operator::GreaterEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
            ("in", Operator::In),
        ];
        let mut found = operators.iter().find(|(sign, _)| self.take(sign)).map(|(_, operator)| *operator);
        if found.is_none() && self.take("not") {
            if !self.take("in") {
                return self.fail(
                    start,
                    self.at,
                    "`not` stands before a condition",
                    "write `not in`, `!=`, or `not` in front",
                );
            }
            found = Some(Operator::NotIn);
        }
        if found.is_none() && self.rest().starts_with('=') {
            return self.fail(start, start + 1, "`=` compares nothing", "write `==`");
        }
        let Some(operator) = found else { return Some(left) };
        let right = self.value()?;
        Some(Node::Compare(Box::new(left), operator, Box::new(right)))
    }

    fn value(&mut self) -> Option<Node> {
        self.blanks();
        let start = self.at;
        let first = self.rest().chars().next();
        match first {
            Some('(') => {
                self.at += 1;
                let node = self.or()?;
                if self.take(")") {
                    Some(node)
                } else {
                    self.fail(start, start + 1, "this `(` is not closed", "add `)`")
                }
            }
            Some('[') => self.list(start),
            Some(quote @ ('"' | '\'')) => {
                let body = self.rest().get(1..).unwrap_or_default();
                let Some(length) = body.find(quote) else {
                    return self.fail(start, self.text.len(), "this text is not closed", "add the quote that ends it");
                };
                let text = body.get(..length).unwrap_or_default().to_owned();
                self.at += length + 2;
                Some(Node::Text(text))
            }
            Some(letter) if letter.is_ascii_digit() || letter == '-' || letter == '+' || letter == '.' => {
                self.number(start)
            }
            Some(letter) if letter.is_ascii_alphabetic() || letter == '_' => self.name(start),
            Some('{') => {
                let help = "names stand without braces here: `params.mode == 'full'`";
                self.fail(start, start + 1, "a condition has no placeholders", help)
            }
            _ => {
                let end = start + first.map_or(0, char::len_utf8);
                self.fail(
                    start,
                    end,
                    "a value is missing here",
                    "write a text in quotes, a number, or `params.x`, `item`, `matrix.x`",
                )
            }
        }
    }

    fn list(&mut self, start: usize) -> Option<Node> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return self.fail(start, start + 1, "too many brackets", "write it with fewer");
        }
        self.at += 1;
        let mut elements = Vec::new();
        while !self.take("]") {
            if !elements.is_empty() && !self.take(",") {
                return self.fail(start, start + 1, "this `[` is not closed", "write `[1, 2]`");
            }
            if self.take("]") {
                break;
            }
            elements.push(self.value()?);
        }
        self.depth -= 1;
        Some(Node::List(elements))
    }

    fn number(&mut self, start: usize) -> Option<Node> {
        let good = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '+' | '_');
        let length = self.rest().find(|letter| !good(letter)).unwrap_or(self.rest().len());
        let text = self.rest().get(..length).unwrap_or_default().replace('_', "");
        self.at += length;
        if number(&text).is_none() {
            return self.fail(start, self.at, "this is no number", "texts stand in quotes: `item == 'A'`");
        }
        Some(Node::Number(text))
    }

    fn name(&mut self, start: usize) -> Option<Node> {
        let good = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_');
        let length = self.rest().find(|letter| !good(letter)).unwrap_or(self.rest().len());
        let path = self.rest().get(..length).unwrap_or_default().to_owned();
        self.at += length;
        match path.as_str() {
            "true" | "True" => return Some(Node::Boolean(true)),
            "false" | "False" => return Some(Node::Boolean(false)),
            _ => {}
        }
        let span = self.place(start, self.at);
        let head = path.split('.').next().unwrap_or_default();
        if !matches!(head, "params" | "item" | "matrix" | "name") {
            let help = if self.scope.params.position(&path).is_some() {
                format!("did you mean `params.{path}`?")
            } else if self.scope.matrix.contains(&path) {
                format!("did you mean `matrix.{path}`?")
            } else {
                format!("a text stands in quotes: `'{path}'`; names are `params.x`, `item`, `item.column`, `matrix.x`")
            };
            self.mistakes.push(Diagnostic::error(span, format!("a condition does not know `{path}`")).help(help));
            return None;
        }
        let name = resolve(&path, span, self.scope, self.templates, self.mistakes)?;
        Some(Node::Name(name, span))
    }
}
