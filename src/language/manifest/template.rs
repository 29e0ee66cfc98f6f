//! Text with placeholders, compiled: `{identifier...}` is a placeholder, every other brace stays as it is.
//!
//! The rule, in full: `{`, an identifier, any number of `.identifier` and `[number]`, `}` is a placeholder, except after `$`
//! (`${HOME}`) and, in a shell command, after a backslash or in a comment. `{{` is one brace, and so is the `}}` that closes
//! it; a `}}` that closes no `{{` is two (`awk '{if (x) {print $1}}'`). So `{}`, `{a,b}`, `{1..5}`, `{ cmd; }` and
//! `{print $1}` are literal, and `{print}` is a mistake that says to write `{{print}}`.

use crate::language::document::Mistakes;
use crate::language::manifest::bash::{Bash, HOLE, Place};
use crate::language::manifest::draft::Param;
use crate::language::manifest::glob::is_pattern;
use crate::language::manifest::names::{Scope, resolve};
use crate::model::diagnostic::{Diagnostic, Span};
use crate::model::task::PathPart;

/// A compiled text: a slice of [`Templates::pieces`], and its place in the file.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Template {
    first: u32,
    count: u32,
    /// The value's place in the file, quotes included.
    pub(super) span: Span,
}

/// A part of a compiled text.
#[derive(Clone, Copy, Debug)]
enum Piece {
    /// Bytes of [`Templates::text`].
    Text { start: u32, end: u32 },
    /// One of [`Templates::holes`].
    Hole(u32),
}

/// A placeholder in a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Hole {
    /// What it stands for.
    pub(super) name: Name,
    /// Where it stands.
    pub(super) place: Option<Place>,
    /// Its place in the file. Inside [`Templates`] it counts from the start of the value, so that values which read the same
    /// share their holes.
    pub(super) span: Span,
}

/// What a placeholder stands for, as far as the file says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Task,
    /// Index into the workflow's params.
    Param(u32, PathPart),
    /// `{item}` or `{item.column}`: the column's name in [`Templates::text`].
    Item(Option<(u32, u32)>, PathPart),
    /// Index into the task's matrix keys.
    Matrix(u32, PathPart),
    Inputs(Option<u32>, PathPart),
    Outputs(Option<u32>, PathPart),
    Cpus,
    MemMb,
    MemGb,
    MemBytes,
    Gpus,
    TimeS,
    Attempt,
}

/// A part of a template, for those who fill it in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part<'a> {
    Text(&'a str),
    Hole(Hole),
}

/// Every compiled text of a workflow, in a few allocations.
#[derive(Clone, Debug, Default)]
pub(super) struct Templates {
    text: String,
    pieces: Vec<Piece>,
    holes: Vec<Hole>,
}

/// What kind of text is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// A path, an argument, a value: no shell reads it.
    Plain,
    /// Bash source.
    Shell,
}

impl Template {
    /// Returns the number of its first part. Templates that share their parts have the same first part and count.
    pub(super) const fn first(self) -> u32 {
        self.first
    }

    /// Returns how many parts it has.
    pub(super) const fn count(self) -> u32 {
        self.count
    }

    /// Returns the same text at another place of the file.
    pub(super) const fn at(self, span: Span) -> Self {
        Self { span, ..self }
    }
}

impl Templates {
    /// Returns the parts of a template.
    pub(super) fn parts(&self, template: Template) -> impl Iterator<Item = Part<'_>> {
        let range = template.first as usize..(template.first + template.count) as usize;
        self.pieces.get(range).unwrap_or_default().iter().filter_map(move |piece| match *piece {
            Piece::Text { start, end } => self.text.get(start as usize..end as usize).map(Part::Text),
            Piece::Hole(index) => self.holes.get(index as usize).map(|hole| {
                let at = |offset: u32| template.span.start + offset;
                Part::Hole(Hole { span: Span { start: at(hole.span.start), end: at(hole.span.end) }, ..*hole })
            }),
        })
    }

    /// Returns the placeholders of a template.
    pub(super) fn holes(&self, template: Template) -> impl Iterator<Item = Hole> {
        self.parts(template).filter_map(|part| match part {
            Part::Hole(hole) => Some(hole),
            Part::Text(_) => None,
        })
    }

    /// Returns whether a path is a pattern as it is written; values that are filled in never make it one.
    pub(super) fn is_glob(&self, template: Template) -> bool {
        self.parts(template).any(|part| matches!(part, Part::Text(text) if is_pattern(text)))
    }

    /// Writes a template as it stands in the file.
    pub(super) fn source(&self, template: Template, params: &[Param], matrix: &[String]) -> String {
        let mut text = String::new();
        for part in self.parts(template) {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Hole(hole) => {
                    text.push('{');
                    text.push_str(&self.path(hole.name, params, matrix));
                    text.push('}');
                }
            }
        }
        text
    }

    /// Writes what a placeholder names.
    fn path(&self, name: Name, params: &[Param], matrix: &[String]) -> String {
        let list = |word: &str, index: Option<u32>| index.map_or(word.to_owned(), |index| format!("{word}[{index}]"));
        let (path, of) = match name {
            Name::Task => ("name".to_owned(), PathPart::Whole),
            Name::Param(index, of) => {
                let name = params.get(index as usize).map_or("", |param| param.name.as_str());
                (format!("params.{name}"), of)
            }
            Name::Item(None, of) => ("item".to_owned(), of),
            Name::Item(Some(column), of) => (format!("item.{}", self.column(column)), of),
            Name::Matrix(key, of) => (format!("matrix.{}", matrix.get(key as usize).map_or("", String::as_str)), of),
            Name::Inputs(index, of) => (list("inputs", index), of),
            Name::Outputs(index, of) => (list("outputs", index), of),
            Name::Cpus => ("cpus".to_owned(), PathPart::Whole),
            Name::MemMb => ("mem_mb".to_owned(), PathPart::Whole),
            Name::MemGb => ("mem_gb".to_owned(), PathPart::Whole),
            Name::MemBytes => ("mem_bytes".to_owned(), PathPart::Whole),
            Name::Gpus => ("gpus".to_owned(), PathPart::Whole),
            Name::TimeS => ("time_s".to_owned(), PathPart::Whole),
            Name::Attempt => ("attempt".to_owned(), PathPart::Whole),
        };
        match of {
            PathPart::Whole => path,
            PathPart::Name => format!("{path}.name"),
            PathPart::Stem => format!("{path}.stem"),
            PathPart::Dir => format!("{path}.dir"),
            PathPart::Ext => format!("{path}.ext"),
        }
    }

    /// Returns a column's name.
    pub(super) fn column(&self, (start, end): (u32, u32)) -> &str {
        self.text.get(start as usize..end as usize).unwrap_or_default()
    }

    /// Keeps a text, for names of columns.
    pub(super) fn keep(&mut self, text: &str) -> (u32, u32) {
        let start = self.text.len() as u32;
        self.text.push_str(text);
        (start, self.text.len() as u32)
    }

    fn push_text(&mut self, text: &str) {
        if !text.is_empty() {
            let (start, end) = self.keep(text);
            self.pieces.push(Piece::Text { start, end });
        }
    }

    /// Keeps a text that has no placeholders.
    pub(super) fn plain(&mut self, text: &str, span: Span) -> Template {
        let first = self.pieces.len() as u32;
        self.push_text(text);
        Template { first, count: self.pieces.len() as u32 - first, span }
    }

    /// Compiles a text. `body` is the place of its first byte in the file when its bytes are those of the file.
    pub(super) fn compile(
        &mut self,
        text: &str,
        place: (Span, Option<u32>),
        syntax: Syntax,
        scope: &Scope<'_>,
        mistakes: &mut Mistakes,
    ) -> Template {
        let (span, body) = place;
        if text.contains('\0') {
            mistakes.error(span, "a text with a zero byte");
            return Template { span, ..Template::default() };
        }
        if !text.contains(['{', '}']) {
            if syntax == Syntax::Shell {
                warn_open(Bash::new(text), span, mistakes);
            }
            return self.plain(text, span);
        }
        let split = split(text, syntax);
        let mut bash = (syntax == Syntax::Shell).then(|| Bash::new(&split.marked));
        let first = self.pieces.len() as u32;
        let mut literal = String::new();
        let mut from = 0;
        for found in &split.found {
            literal.push_str(split.marked.get(from..found.at).unwrap_or_default());
            from = found.at + HOLE.len_utf8();
            let place = bash.as_mut().map(|bash| bash.place_at(found.at));
            let source = text.get(found.start..found.end).unwrap_or_default();
            if place == Some(Place::Comment) {
                literal.push_str(source);
                continue;
            }
            let at = |offset: usize| body.map(|body| body + offset as u32);
            let hole_span = match (at(found.start), at(found.end)) {
                (Some(start), Some(end)) => Span { start, end },
                _ => span,
            };
            let path = source.get(1..source.len() - 1).unwrap_or_default();
            let Some(name) = resolve(path, hole_span, scope, self, mistakes) else { continue };
            self.push_text(&literal);
            literal.clear();
            self.pieces.push(Piece::Hole(self.holes.len() as u32));
            let within = |at: u32| at - span.start;
            let hole_span = Span { start: within(hole_span.start), end: within(hole_span.end) };
            self.holes.push(Hole { name, place, span: hole_span });
        }
        literal.push_str(split.marked.get(from..).unwrap_or_default());
        self.push_text(&literal);
        if let Some(bash) = bash {
            warn_open(bash, span, mistakes);
        }
        Template { first, count: self.pieces.len() as u32 - first, span }
    }

    /// Gives back memory reserved for growth.
    pub(super) fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.pieces.shrink_to_fit();
        self.holes.shrink_to_fit();
    }
}

fn warn_open(bash: Bash<'_>, span: Span, mistakes: &mut Mistakes) {
    if let Some(what) = bash.finish() {
        mistakes.push(Diagnostic::warning(span, format!("{what} is not closed in this command")));
    }
}

/// A text with its placeholders found but not yet understood.
struct Split {
    /// The text with doubled braces made single and a [`HOLE`] for each placeholder.
    marked: String,
    found: Vec<Found>,
}

/// One placeholder: where its mark is, and where it stands in the text.
struct Found {
    at: usize,
    start: usize,
    end: usize,
}

fn split(text: &str, syntax: Syntax) -> Split {
    let bytes = text.as_bytes();
    let mut split = Split { marked: String::with_capacity(text.len()), found: Vec::new() };
    let mut doubled = 0u32;
    let mut copied = 0;
    let mut at = 0;
    while let Some(brace) = bytes.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == b'{' || byte == b'}'))
    {
        let start = at + brace;
        let two = bytes.get(start + 1) == bytes.get(start);
        if bytes.get(start) == Some(&b'}') {
            at = start + 1;
            if two && doubled > 0 {
                doubled -= 1;
                split.marked.push_str(text.get(copied..at).unwrap_or_default());
                at += 1;
                copied = at;
            }
            continue;
        }
        let before = bytes.get(..start).unwrap_or_default();
        let backslashes = before.iter().rev().take_while(|&&byte| byte == b'\\').count();
        let escaped = syntax == Syntax::Shell && backslashes % 2 == 1;
        if two && !escaped {
            doubled += 1;
            split.marked.push_str(text.get(copied..=start).unwrap_or_default());
            at = start + 2;
            copied = at;
        } else if let Some(length) = path_length(bytes.get(start + 1..).unwrap_or_default())
            && !escaped
            && before.last() != Some(&b'$')
        {
            split.marked.push_str(text.get(copied..start).unwrap_or_default());
            at = start + length + 2;
            copied = at;
            split.found.push(Found { at: split.marked.len(), start, end: at });
            split.marked.push(HOLE);
        } else {
            at = start + 1;
        }
    }
    split.marked.push_str(text.get(copied..).unwrap_or_default());
    split
}

/// Returns the length of the identifier path that a `}` ends, if there is one.
fn path_length(bytes: &[u8]) -> Option<usize> {
    let identifier = |from: usize| {
        let first = bytes.get(from).is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
        let letters = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_' || **byte == b'-';
        first.then(|| bytes.get(from..).unwrap_or_default().iter().take_while(letters).count())
    };
    let mut at = identifier(0)?;
    loop {
        match bytes.get(at)? {
            b'}' => return Some(at),
            b'.' => at += 1 + identifier(at + 1)?,
            b'[' => {
                let digits = bytes.get(at + 1..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
                if digits == 0 || bytes.get(at + 1 + digits) != Some(&b']') {
                    return None;
                }
                at += digits + 2;
            }
            _ => return None,
        }
    }
}
