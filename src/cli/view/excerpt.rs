//! Excerpts of a source text around a place, whatever its size: of a text of 100 MB only the lines shown are looked at closely,
//! and of a line of a megabyte only what stands beside the place is shown.

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

use crate::cli::errors::Source;

/// Longest line that is shown whole.
const LONG: usize = 400;

/// Bytes shown before a place in a longer line; twice as many are shown after it.
const SIDE: usize = 40;

/// A source in miette's terms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Excerpt<'a> {
    source: &'a Source,
}

impl<'a> Excerpt<'a> {
    pub(super) const fn new(source: &'a Source) -> Self {
        Self { source }
    }

    /// Returns how much of a span is underlined: not more than is shown.
    pub(super) fn shown(self, start: usize, length: usize) -> SourceSpan {
        let text = self.source.text.as_str();
        let start = boundary(text, start);
        let line = line_around(text, start);
        let most = if line.len() > LONG { SIDE } else { length };
        SourceSpan::new(start.into(), boundary(text, start + length.min(most)) - start)
    }
}

impl SourceCode for Excerpt<'_> {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let text = self.source.text.as_str();
        let start = boundary(text, span.offset());
        let line = line_around(text, start);
        let (from, to, before, after) = if line.len() > LONG {
            let from = boundary(text, start.saturating_sub(SIDE).max(line.start));
            (from, boundary(text, (start + 2 * SIDE).min(line.end)), 0, 0)
        } else {
            let end = line_around(text, boundary(text, start + span.len().saturating_sub(1))).end;
            (back(text, line.start, before), boundary(text, forth(text, end, after) + 1), before, after)
        };
        let inner = text.get(from..to).unwrap_or_default();
        let local = SourceSpan::new((start - from).into(), span.len().min(to.saturating_sub(start)));
        let contents = inner.read_span(&local, before, after)?;
        let lines_before = text.as_bytes().iter().take(from).filter(|&&byte| byte == b'\n').count();
        let column = if contents.line() == 0 { from.saturating_sub(line_around(text, from).start) } else { 0 };
        Ok(Box::new(MietteSpanContents::new_named(
            self.source.name.clone(),
            contents.data(),
            SourceSpan::new((contents.span().offset() + from).into(), contents.span().len()),
            contents.line() + lines_before,
            contents.column() + column,
            contents.line_count(),
        )))
    }
}

/// Returns the nearest boundary of a character at or before a position.
fn boundary(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// Returns the line that a position is in, without its newline.
fn line_around(text: &str, at: usize) -> std::ops::Range<usize> {
    let (head, tail) = text.split_at(boundary(text, at));
    let start = head.rfind('\n').map_or(0, |newline| newline + 1);
    let end = tail.find('\n').map_or(text.len(), |newline| head.len() + newline);
    start..end
}

/// Returns the start of the lines before a line that are shown with it.
fn back(text: &str, mut start: usize, lines: usize) -> usize {
    for _ in 0..lines {
        let Some(end) = start.checked_sub(1) else { break };
        let line = line_around(text, end);
        if line.len() > LONG {
            break;
        }
        start = line.start;
    }
    start
}

/// Returns the end of the lines after a line that are shown with it.
fn forth(text: &str, mut end: usize, lines: usize) -> usize {
    for _ in 0..lines {
        if end >= text.len() {
            break;
        }
        let line = line_around(text, end + 1);
        if line.len() > LONG {
            break;
        }
        end = line.end;
    }
    end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source(text: String) -> Source {
        Source { name: "w.toml".to_owned(), text }
    }

    #[test]
    fn an_excerpt_is_what_miette_itself_would_take() {
        let text: String =
            (1..40).flat_map(|n| ["line ", if n % 2 == 0 { "even" } else { "odd one" }, " is here\n"]).collect();
        let source = source(text.clone());
        for start in [0, 5, 100, text.len() - 3] {
            for lines in 0..3 {
                let span = SourceSpan::new(start.into(), 2);
                let theirs = text.read_span(&span, lines, lines).unwrap();
                let ours = Excerpt::new(&source);
                let ours = ours.read_span(&span, lines, lines).unwrap();
                assert_eq!((ours.line(), ours.column(), ours.span()), (theirs.line(), theirs.column(), theirs.span()));
                assert_eq!(String::from_utf8_lossy(ours.data()), String::from_utf8_lossy(theirs.data()));
            }
        }
    }

    #[test]
    fn of_a_long_line_the_part_around_the_place_is_shown() {
        let text = format!("short\n{}\nshort again\n", "x".repeat(1_000_000));
        let source = source(text);
        let excerpt = Excerpt::new(&source);
        let contents = excerpt.read_span(&excerpt.shown(500_000, 300_000), 1, 1).unwrap();
        assert!(contents.data().len() <= 3 * SIDE, "{}", contents.data().len());
        assert_eq!((contents.line(), contents.column()), (1, 499_994));
        let contents = excerpt.read_span(&excerpt.shown(2, 2), 1, 1).unwrap();
        assert_eq!(contents.data(), b"short\n", "a long line beside it is left out");
    }

    proptest! {
        #[test]
        fn no_place_is_too_odd(text in "[a-zé\n]{0,60}", start in 0usize..80, length in 0usize..80, lines in 0usize..3) {
            let source = source(text);
            let excerpt = Excerpt::new(&source);
            let _shown = excerpt.read_span(&excerpt.shown(start, length), lines, lines).is_ok();
        }
    }
}
