//! Tables that fit the terminal, and lie flat where there is none.

use std::fmt;
use std::io::IsTerminal;

use console::measure_text_width;

use crate::cli::view::paint::{Paint, Tone};
use crate::cli::view::words::{cut, squeeze};
use crate::model::api::RunState;
use crate::model::job::State;

/// Blanks between columns.
const GAP: usize = 2;

/// Narrowest that a text is cut to; an [`Column::Extra`] with less room is left out.
const TEXT_MIN: usize = 16;

/// Where text is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Page {
    /// Columns of the terminal; none where nothing is to be cut.
    pub(in crate::cli) width: Option<usize>,
    /// Colors.
    pub(in crate::cli) paint: Paint,
}

impl Page {
    /// Returns standard output as a page.
    pub(in crate::cli) fn stdout(paint: Paint) -> Self {
        Self { width: std::io::stdout().is_terminal().then(|| width(&console::Term::stdout())), paint }
    }

    /// Returns standard error as a page.
    pub(in crate::cli) fn stderr(paint: Paint) -> Self {
        Self { width: std::io::stderr().is_terminal().then(|| width(&console::Term::stderr())), paint }
    }

    /// Returns the width, a usual one where there is no terminal.
    pub(in crate::cli) fn width_or(self, usual: usize) -> usize {
        self.width.unwrap_or(usual)
    }
}

fn width(terminal: &console::Term) -> usize {
    usize::from(terminal.size().1).max(20)
}

/// A column: its title, and how it gives way where room is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Column {
    /// Words that are never cut.
    Word(&'static str),
    /// Numbers: to the right, never cut.
    Number(&'static str),
    /// Numbers that are left out before anything is cut, the last column first.
    Detail(&'static str),
    /// Text that may be cut.
    Text(&'static str),
    /// A label, which is cut in its middle.
    Label(&'static str),
    /// Text that may be cut, and left out.
    Extra(&'static str),
}

impl Column {
    const fn title(self) -> &'static str {
        match self {
            Self::Word(title)
            | Self::Number(title)
            | Self::Detail(title)
            | Self::Text(title)
            | Self::Label(title)
            | Self::Extra(title) => title,
        }
    }
}

/// A cell: text and its color. Control characters in it become blanks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Cell {
    text: String,
    width: usize,
    tone: Tone,
}

impl Cell {
    /// Makes a plain cell.
    pub(in crate::cli) fn new(text: impl fmt::Display) -> Self {
        let text = cut(&format!("{text}"), usize::MAX);
        Self { width: measure_text_width(&text), text, tone: Tone::Plain }
    }

    /// Gives it a color.
    #[must_use]
    pub(in crate::cli) fn tone(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }
}

/// Rows under titles.
#[derive(Debug)]
pub(in crate::cli) struct Table {
    columns: &'static [Column],
    page: Page,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Starts a table.
    pub(in crate::cli) fn new(page: Page, columns: &'static [Column]) -> Self {
        let titles = columns.iter().map(|column| Cell::new(column.title()).tone(Tone::Bold)).collect();
        Self { columns, page, rows: vec![titles] }
    }

    /// Adds a row, a cell for each column.
    pub(in crate::cli) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Returns the table, without blanks at the ends of lines.
    pub(in crate::cli) fn print(&self) -> String {
        let widths = self.widths();
        let mut out = String::new();
        for row in &self.rows {
            let mut blanks = 0;
            for ((cell, width), column) in row.iter().zip(&widths).zip(self.columns) {
                let Some(width) = *width else { continue };
                let text = match column {
                    _ if cell.width <= width => cell.text.clone(),
                    Column::Label(_) => squeeze(&cell.text, width),
                    _ => cut(&cell.text, width),
                };
                let pad = width.saturating_sub(measure_text_width(&text));
                let (before, after) =
                    if matches!(column, Column::Number(_) | Column::Detail(_)) { (pad, 0) } else { (0, pad) };
                if text.is_empty() {
                    blanks += pad + GAP;
                    continue;
                }
                out.push_str(&" ".repeat(blanks + before));
                out.push_str(&self.page.paint.with(cell.tone, text).to_string());
                blanks = after + GAP;
            }
            out.push('\n');
        }
        out
    }

    /// Returns the width of each column; none for one that is left out.
    fn widths(&self) -> Vec<Option<usize>> {
        let wanted = |index: usize| self.rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.width).max();
        let mut widths: Vec<Option<usize>> = (0..self.columns.len()).map(wanted).collect();
        let Some(page) = self.page.width else { return widths };
        let may_give = |column: Column| matches!(column, Column::Text(_) | Column::Label(_) | Column::Extra(_));
        let given = |widths: &[Option<usize>]| widths.iter().flatten().map(|width| width + GAP).sum::<usize>();
        // Texts of half a line are worth more than details.
        let capped = |widths: &[Option<usize>]| {
            let texts = self.columns.iter().zip(widths).filter(|(column, _)| may_give(**column));
            given(widths)
                - texts.filter_map(|(_, width)| width.map(|width| width.saturating_sub(page / 2))).sum::<usize>()
        };
        for index in (0..self.columns.len()).rev() {
            let detail = matches!(self.columns.get(index), Some(Column::Detail(_)));
            if detail
                && capped(&widths) > page + GAP
                && let Some(width) = widths.get_mut(index)
            {
                *width = None;
            }
        }
        while given(&widths) > page + GAP {
            let over = given(&widths) - page - GAP;
            // The widest gives way first, down to the next one's width at a time.
            let texts = || self.columns.iter().zip(&widths).enumerate().filter(|(_, (column, _))| may_give(**column));
            let Some((widest, width)) =
                texts().filter_map(|(index, (_, width))| Some((index, (*width)?))).max_by_key(|(_, width)| *width)
            else {
                break;
            };
            let next = texts().filter_map(|(_, (_, other))| *other).filter(|other| *other < width).max().unwrap_or(0);
            let narrower = width.saturating_sub(over.min((width - next).max(1))).max(TEXT_MIN.min(width));
            let is_extra = matches!(self.columns.get(widest), Some(Column::Extra(_)));
            let Some(slot) = widths.get_mut(widest) else { break };
            if narrower < width {
                *slot = Some(narrower);
            } else if is_extra {
                *slot = None;
            } else {
                break;
            }
        }
        widths
    }
}

/// Returns the color of an instance's state.
pub(in crate::cli) const fn state_tone(state: State) -> Tone {
    match state {
        State::Done => Tone::Green,
        State::Failed | State::Lost => Tone::Red,
        State::Running => Tone::Cyan,
        State::Cancelled => Tone::Yellow,
        State::Pending | State::Ready | State::Queued | State::Cached | State::Skipped => Tone::Plain,
    }
}

/// Returns the color of a run's state.
pub(in crate::cli) const fn run_tone(state: RunState) -> Tone {
    match state {
        RunState::Active => Tone::Cyan,
        RunState::Succeeded => Tone::Green,
        RunState::Failed => Tone::Red,
        RunState::Cancelled => Tone::Yellow,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COLUMNS: &[Column] =
        &[Column::Number("RUN"), Column::Text("NAME"), Column::Word("STATE"), Column::Extra("DIRECTORY")];

    fn table(width: Option<usize>, rows: &[[&str; 4]]) -> String {
        let mut table = Table::new(Page { width, paint: Paint::new(false) }, COLUMNS);
        for row in rows {
            table.row(row.iter().map(Cell::new).collect());
        }
        table.print()
    }

    #[test]
    fn what_gives_way_does_so_in_order() {
        let rows =
            [["1", "a-name-of-thirty-characters-ok", "done", "/data/ada/projects/lambda"], ["20", "b", "failed", "/x"]];
        let tables = [None, Some(60), Some(40)].map(|width| table(width, &rows));
        insta::assert_snapshot!(tables.join("\n"));
    }

    proptest! {
        #[test]
        fn tables_fit(width in 50usize..200, cells in prop::collection::vec("\\PC{0,80}", 0..8)) {
            let rows: Vec<[&str; 4]> = cells.iter().map(|cell| ["12", cell.as_str(), "failed", cell.as_str()]).collect();
            for line in table(Some(width), &rows).lines() {
                prop_assert!(measure_text_width(line) <= width, "{line}");
            }
        }
    }
}
