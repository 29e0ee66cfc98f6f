//! Errors in words: what, why, and the command that helps; mistakes in files with the place underlined.

use std::fmt::{self, Write as _};

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

use crate::cli::errors::{Source, Told};
use crate::cli::view::Paint;
use crate::model::api::ErrorKind;
use crate::model::diagnostic::{Diagnostic, Severity};

/// Most mistakes shown at once; the rest is counted.
const SHOWN: usize = 20;

/// Returns a failure as people see it.
pub(in crate::cli) fn failure(told: &Told, paint: Paint) -> String {
    let mut text = String::new();
    if let Some(source) = &told.source {
        text.push_str(&diagnostics(&told.diagnostics, source, paint));
    }
    let word = if told.kind == ErrorKind::Internal { "internal error" } else { "error" };
    let _ = writeln!(text, "{}: {}", paint.red(word), told.message);
    if told.source.is_none() {
        for diagnostic in told.diagnostics.iter().take(SHOWN) {
            let _ = writeln!(text, "  - {}", diagnostic.message);
        }
    }
    for cause in &told.causes {
        let _ = writeln!(text, "  {} {cause}", paint.dim("because:"));
    }
    if let Some(hint) = &told.hint {
        let _ = writeln!(text, "{}: {hint}", paint.cyan("hint"));
    }
    if told.kind == ErrorKind::Internal {
        let _ = writeln!(text, "This is a mistake in csync; `csync doctor --json` prints what a report of it needs.");
    }
    text
}

/// Returns mistakes in a file with their places underlined.
pub(in crate::cli) fn diagnostics(diagnostics: &[Diagnostic], source: &Source, paint: Paint) -> String {
    let theme = if paint.is_on() { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(100).with_context_lines(1).with_links(false);
    let shared = NamedSource::new(&source.name, source.text.clone());
    let mut text = String::new();
    for diagnostic in diagnostics.iter().take(SHOWN) {
        let shown = Shown { diagnostic, source: &shared };
        if handler.render_report(&mut text, &shown).is_err() {
            text.push_str(&diagnostic.message);
        }
        text.push('\n');
    }
    if diagnostics.len() > SHOWN {
        let _ = writeln!(text, "... and {} more\n", diagnostics.len() - SHOWN);
    }
    text
}

/// A [`Diagnostic`] in miette's terms.
struct Shown<'a> {
    diagnostic: &'a Diagnostic,
    source: &'a NamedSource<String>,
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnostic.fmt(f)
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.diagnostic.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl miette::Diagnostic for Shown<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.diagnostic.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = |span: crate::model::diagnostic::Span, words: Option<String>| {
            LabeledSpan::new(words, span.start as usize, span.end.saturating_sub(span.start) as usize)
        };
        let first = self.diagnostic.span.map(|span| place(span, self.diagnostic.label.clone()));
        let others = self.diagnostic.related.iter().map(move |(span, words)| place(*span, Some(words.clone())));
        Some(Box::new(first.into_iter().chain(others)))
    }
}
