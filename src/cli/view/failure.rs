//! Errors in words: what, why, and the command that helps; mistakes in files with the place underlined.

use std::fmt::{self, Write as _};

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, SourceCode};

use crate::cli::errors::{Source, Told};
use crate::cli::view::Paint;
use crate::cli::view::excerpt::Excerpt;
use crate::model::api::ErrorKind;
use crate::model::diagnostic::{Diagnostic, Severity, Span};

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
    let excerpt = Excerpt::new(source);
    let mut text = String::new();
    for diagnostic in diagnostics.iter().take(SHOWN) {
        let shown = Shown { diagnostic, excerpt };
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
    excerpt: Excerpt<'a>,
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
        Some(&self.excerpt)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = move |span: Span, words: Option<String>| {
            let (start, length) = (span.start as usize, span.end.saturating_sub(span.start) as usize);
            (words, self.excerpt.shown(start, length))
        };
        let first = self.diagnostic.span.map(|span| place(span, self.diagnostic.label.clone()));
        let first = first.map(|(words, span)| LabeledSpan::new_primary_with_span(words, span));
        let others = self.diagnostic.related.iter().map(move |(span, words)| place(*span, Some(words.clone())));
        let others = others.map(|(words, span)| LabeledSpan::new_with_span(words, span));
        Some(Box::new(first.into_iter().chain(others)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::errors::Failure;

    fn told(failure: Failure) -> Box<Told> {
        match failure {
            Failure::Told(told) => told,
            Failure::ClosedPipe => panic!("it has words"),
        }
    }

    #[test]
    fn what_why_and_what_helps() {
        let io = std::io::Error::other("no space left on device");
        let plain =
            Failure::new(ErrorKind::Storage, "the database cannot be written").because(&io).hint("`csync clean`");
        let internal = Failure::internal("the plan has no task 7");
        let texts = [plain, internal].map(|one| failure(&told(one), Paint::new(false)));
        insta::assert_snapshot!(texts.join("----\n"));
    }

    #[test]
    fn several_mistakes_with_their_places() {
        let text = "name = \"w\"\n[tasks.a]\ncmd = \"true\"\noutputs = [\"x\"]\n[tasks.b]\noutputs = [\"x\"]\n";
        let at = |word: &str, from: usize| {
            let start = text.get(from..).and_then(|rest| rest.find(word)).unwrap() + from;
            Span::new(start, start + word.len())
        };
        let first = at("\"x\"", 0);
        let diagnostics = vec![
            Diagnostic::error(at("cmd", 0), "unknown key `cmd`").help("csync calls it `run`"),
            Diagnostic::error(at("\"x\"", first.end as usize), "two tasks make `x`")
                .label("made here too")
                .related(first, "made here"),
            Diagnostic::warning(None, "nothing reads `x`"),
        ];
        let source = Source { name: "w.toml".to_owned(), text: text.to_owned() };
        let shown = failure(&told(Failure::mistakes(diagnostics, source)), Paint::new(false));
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn of_many_mistakes_the_rest_is_counted() {
        let source = Source { name: "w.toml".to_owned(), text: "x\n".repeat(100) };
        let many: Vec<_> =
            (0..100).map(|n| Diagnostic::error(Span::new(n * 2, n * 2 + 1), format!("mistake {n}"))).collect();
        let text = diagnostics(&many, &source, Paint::new(false));
        assert!(
            text.contains("mistake 19") && !text.contains("mistake 20") && text.contains("... and 80 more"),
            "{text}"
        );
    }
}
