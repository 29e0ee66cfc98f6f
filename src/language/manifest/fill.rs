//! Fills in what an expansion knows: params everywhere, rows in paths, and turns the rest into the plan's templates.

use std::borrow::Cow;

use crate::language::document::Mistakes;
use crate::language::manifest::bash::Place;
use crate::language::manifest::draft::Workflow;
use crate::language::manifest::glob::escape;
use crate::language::manifest::names::no_column;
use crate::language::manifest::paths::part;
use crate::language::manifest::template::{Hole as Written, Name, Part as WrittenPart, Template as Draft};
use crate::language::manifest::values::Values;
use crate::language::quote::{self, is_plain};
use crate::model::diagnostic::{Diagnostic, Span};
use crate::model::plan::Strings;
use crate::model::task::{Hole, Part, PathPart, Quote, Template};

/// A part of a path of one task, before its rows are known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Segment<'a> {
    /// As written.
    Text(&'a str),
    /// A value that is the same for every row.
    Value(&'a str),
    Column(u32, PathPart),
}

/// A hole whose value has no quoting where it stands: each instance's value must need none.
#[derive(Clone, Debug)]
pub(super) struct Unquoted {
    pub(super) hole: Hole,
    pub(super) number: bool,
    pub(super) place: &'static str,
    pub(super) span: Span,
}

/// Fills in the texts of one task.
pub(super) struct Filler<'a, 'c> {
    pub(super) workflow: &'a Workflow,
    pub(super) values: &'a Values,
    /// The task's name.
    pub(super) name: &'a str,
    /// The task's columns.
    pub(super) columns: &'c [String],
}

impl Segment<'_> {
    /// Returns whether it is the same for every row.
    pub(super) const fn is_constant(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Value(_))
    }
}

impl<'a> Filler<'a, '_> {
    /// Finds the column of `{item.column}`, which may turn out to be a part of the path `{item}`.
    fn item(
        &self,
        column: Option<(u32, u32)>,
        of: PathPart,
        span: Span,
        mistakes: &mut Mistakes,
    ) -> Option<(u32, PathPart)> {
        let Some(column) = column else { return Some((0, of)) };
        let name = self.workflow.templates.column(column);
        let found = self.columns.iter().position(|known| known.strip_prefix("item.") == Some(name));
        if let Some(index) = found {
            return Some((index as u32, of));
        }
        let parts =
            [("name", PathPart::Name), ("stem", PathPart::Stem), ("dir", PathPart::Dir), ("ext", PathPart::Ext)];
        if let Some((_, of)) = parts.iter().find(|(word, _)| *word == name)
            && !self.columns.is_empty()
        {
            return Some((0, *of));
        }
        let columns: Vec<String> =
            self.columns.iter().filter_map(|known| known.strip_prefix("item.")).map(str::to_owned).collect();
        let message = format!("the rows of `{}` have no column `{name}`", self.name);
        mistakes.push(Diagnostic::error(span, message).help(no_column(name, &columns)));
        None
    }

    fn matrix(&self, key: u32) -> u32 {
        let before = self.columns.iter().position(|column| column.starts_with("matrix.")).unwrap_or(0);
        before as u32 + key
    }

    /// Prepares a path for its rows.
    pub(super) fn segments(&self, template: Draft, mistakes: &mut Mistakes) -> Vec<Segment<'a>> {
        let mut segments = Vec::new();
        for part in self.workflow.templates.parts(template) {
            let hole = match part {
                WrittenPart::Text(text) => {
                    segments.push(Segment::Text(text));
                    continue;
                }
                WrittenPart::Hole(hole) => hole,
            };
            match hole.name {
                Name::Task => segments.push(Segment::Value(self.name)),
                Name::Param(index, of) => segments.push(Segment::Value(self.values.param(index, of))),
                Name::Matrix(key, of) => segments.push(Segment::Column(self.matrix(key), of)),
                Name::Item(column, of) => {
                    let found = self.item(column, of, hole.span, mistakes);
                    segments.extend(found.map(|(column, of)| Segment::Column(column, of)));
                }
                // The check refused everything else in a path.
                _ => {}
            }
        }
        segments
    }

    /// Returns the row's column, or the text, that a name stands for before anything runs.
    pub(super) fn constant_or_column(&self, name: Name, span: Span, mistakes: &mut Mistakes) -> Option<Segment<'a>> {
        match name {
            Name::Task => Some(Segment::Value(self.name)),
            Name::Param(index, of) => Some(Segment::Value(self.values.param(index, of))),
            Name::Matrix(key, of) => Some(Segment::Column(self.matrix(key), of)),
            Name::Item(column, of) => {
                self.item(column, of, span, mistakes).map(|(column, of)| Segment::Column(column, of))
            }
            _ => None,
        }
    }

    /// Turns a text into the plan's template: params are filled in, the rest is left to each attempt.
    pub(super) fn template(&self, template: Draft, unquoted: &mut Vec<Unquoted>, mistakes: &mut Mistakes) -> Template {
        let mut parts: Vec<Part> = Vec::new();
        for part in self.workflow.templates.parts(template) {
            match part {
                WrittenPart::Text(text) => push_text(&mut parts, text),
                WrittenPart::Hole(hole) => self.hole(hole, &mut parts, unquoted, mistakes),
            }
        }
        Template { parts }
    }

    fn hole(&self, hole: Written, parts: &mut Vec<Part>, unquoted: &mut Vec<Unquoted>, mistakes: &mut Mistakes) {
        let quote = match hole.place {
            None => Ok(Quote::Raw),
            Some(Place::Bare) => Ok(Quote::Bare),
            Some(Place::Single) => Ok(Quote::Single),
            Some(Place::Double) => Ok(Quote::Double),
            Some(Place::Plain(place)) => Err((false, place)),
            Some(Place::Number) => Err((true, "inside arithmetic")),
            Some(Place::Comment) => return,
        };
        let filled = match hole.name {
            Name::Param(index, of) => {
                let value = self.values.param(index, of);
                let mut text = String::new();
                match quote {
                    Ok(quote) => quote::push(value, quote, &mut text),
                    Err((number, place)) => {
                        if !fits(value, number) {
                            mistakes.push(cannot_quote(value, number, place, hole.span));
                        }
                        text.push_str(value);
                    }
                }
                return push_text(parts, &text);
            }
            Name::Task => Hole::Name,
            Name::Item(column, of) => match self.item(column, of, hole.span, mistakes) {
                Some((column, of)) => Hole::Column(column, of),
                None => return,
            },
            Name::Matrix(key, of) => Hole::Column(self.matrix(key), of),
            Name::Inputs(index, of) => Hole::Inputs(index, of),
            Name::Outputs(index, of) => Hole::Outputs(index, of),
            Name::Cpus => Hole::Cpus,
            Name::MemMb => Hole::MemMb,
            Name::MemGb => Hole::MemGb,
            Name::MemBytes => Hole::MemBytes,
            Name::Gpus => Hole::Gpus,
            Name::TimeS => Hole::TimeS,
            Name::Attempt => Hole::Attempt,
        };
        let quote = match quote {
            // Numbers need no quotes anywhere.
            _ if is_number(&filled) => Quote::Raw,
            Ok(quote) => quote,
            Err((number, place)) => {
                unquoted.push(Unquoted { hole: filled.clone(), number, place, span: hole.span });
                Quote::Raw
            }
        };
        parts.push(Part::Hole(filled, quote));
    }
}

const fn is_number(hole: &Hole) -> bool {
    !matches!(hole, Hole::Name | Hole::Column(..) | Hole::Inputs(..) | Hole::Outputs(..))
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if text.is_empty() {
        return;
    }
    if let Some(Part::Text(last)) = parts.last_mut() {
        last.push_str(text);
    } else {
        parts.push(Part::Text(text.to_owned()));
    }
}

/// Returns whether a value may stand where there is no quoting.
pub(super) fn fits(value: &str, number: bool) -> bool {
    if number {
        let digits = value.strip_prefix('-').unwrap_or(value);
        !digits.is_empty() && digits.len() < 19 && digits.bytes().all(|byte| byte.is_ascii_digit())
    } else {
        is_plain(value)
    }
}

/// Says that a value has no quoting where it stands.
pub(super) fn cannot_quote(value: &str, number: bool, place: &str, span: Span) -> Diagnostic {
    let shown: Cow<'_, str> =
        if value.chars().count() > 60 { value.chars().take(60).chain("...".chars()).collect() } else { value.into() };
    let shown = shown.escape_debug();
    if number {
        let message = format!("only a whole number can stand {place}, and here it is `{shown}`");
        return Diagnostic::error(span, message).help("let a variable hold it: `env = { VALUE = \"{...}\" }`");
    }
    let message = format!("`{shown}` cannot be quoted {place}");
    let help = "let a variable hold it, `env = { VALUE = \"{...}\" }`, and write `\"$VALUE\"`";
    Diagnostic::error(span, message).help(help)
}

/// Writes a path for one row.
pub(super) fn write_path(segments: &[Segment<'_>], cells: &Strings, row: u32, to: &mut String) {
    to.clear();
    for segment in segments {
        match *segment {
            Segment::Text(text) | Segment::Value(text) => to.push_str(text),
            Segment::Column(column, of) => to.push_str(part(cells.get(row + column), of)),
        }
    }
}

/// Writes a pattern for one row: the row's values match themselves alone.
pub(super) fn write_pattern(segments: &[Segment<'_>], cells: &Strings, row: u32, to: &mut String) {
    to.clear();
    for segment in segments {
        match *segment {
            Segment::Text(text) => to.push_str(text),
            Segment::Value(value) => escape(value, to),
            Segment::Column(column, of) => escape(part(cells.get(row + column), of), to),
        }
    }
}
