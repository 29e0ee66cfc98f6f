//! Where mistakes are collected while a file is read, and how a near miss finds the word that was meant.

use crate::model::diagnostic::{Diagnostic, Severity, Span};

/// Most mistakes reported at once: a file of garbage has millions, and nobody reads more.
const MOST: usize = 100;

/// Mistakes found so far.
#[derive(Debug, Default)]
pub(in crate::language) struct Mistakes {
    list: Vec<Diagnostic>,
    errors: usize,
    dropped: usize,
}

impl Mistakes {
    /// Adds a mistake.
    pub(in crate::language) fn push(&mut self, mistake: Diagnostic) {
        self.errors += usize::from(mistake.severity == Severity::Error);
        if self.list.len() < MOST {
            self.list.push(mistake);
        } else {
            self.dropped += 1;
        }
    }

    /// Returns how many there are, warnings included.
    pub(in crate::language) const fn count(&self) -> usize {
        self.list.len() + self.dropped
    }

    /// Adds an error without a hint.
    pub(in crate::language) fn error(&mut self, span: Span, message: impl Into<String>) {
        self.push(Diagnostic::error(span, message));
    }

    /// Adds a hint to the mistake added last, if that is kept.
    pub(in crate::language) fn help_last(&mut self, help: impl Into<String>) {
        if self.dropped == 0
            && let Some(last) = self.list.last_mut()
        {
            last.help = Some(help.into());
        }
    }

    /// Adds a second place to the mistake added last, if that is kept.
    pub(in crate::language) fn relate_last(&mut self, span: Span, words: &str) {
        if self.dropped == 0
            && let Some(last) = self.list.last_mut()
        {
            last.related.push((span, words.to_owned()));
        }
    }

    /// Puts earlier mistakes before these.
    pub(in crate::language) fn prepend(&mut self, earlier: Self) {
        let later = std::mem::replace(self, earlier);
        self.dropped += later.dropped;
        self.errors += later.errors;
        for mistake in later.list {
            if self.list.len() < MOST {
                self.list.push(mistake);
            } else {
                self.dropped += 1;
            }
        }
    }

    /// Returns whether further mistakes are only counted, so that no hint needs to be thought of.
    pub(in crate::language) const fn is_full(&self) -> bool {
        self.list.len() >= MOST
    }

    /// Returns whether there is a mistake at a place.
    pub(in crate::language) fn has_at(&self, span: Span) -> bool {
        self.list.iter().any(|mistake| mistake.span == Some(span))
    }

    /// Returns how many errors were added, those not kept included.
    pub(in crate::language) const fn errors(&self) -> usize {
        self.errors
    }

    /// Returns how many mistakes were added, those not kept included.
    pub(in crate::language) fn total(&self) -> usize {
        self.list.len() + self.dropped
    }

    /// Returns the mistakes in the order of the file, each once.
    pub(in crate::language) fn finish(mut self) -> Vec<Diagnostic> {
        self.list.sort_by_key(|mistake| (mistake.span.is_none(), mistake.span));
        self.list.dedup();
        if self.dropped > 0 {
            let message = format!("{} more mistakes are not shown", self.dropped);
            // What was dropped may hold the only error: the file must still be refused.
            let severity = if self.errors > 0 { Severity::Error } else { Severity::Warning };
            self.list.push(Diagnostic { severity, ..Diagnostic::error(None, message) });
        }
        self.list
    }
}

/// Returns the candidate that a mistyped word was probably meant to be.
pub(in crate::language) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A third of the word may be wrong: more would suggest words that nobody meant.
    let bound = ((word.chars().count() + 1) / 3).min(4);
    let word: Vec<char> = word.chars().map(fold).collect();
    if word.len() > 64 {
        return None;
    }
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let distance = distance(&word, candidate, bound)?;
            Some((distance, candidate))
        })
        .min_by_key(|(distance, candidate)| (*distance, candidate.len().abs_diff(word.len())))
        .map(|(_, candidate)| candidate)
}

/// Returns the name among `names` that a word was meant to be, as a hint.
pub(in crate::language) fn did_you_mean<'n>(word: &str, names: impl IntoIterator<Item = &'n str>) -> Option<String> {
    nearest(word, names).map(|near| format!("did you mean `{near}`?"))
}

/// Takes `-` for `_` and capitals for small letters, so that `Mem-MB` is near `mem_mb`.
const fn fold(letter: char) -> char {
    if letter == '-' { '_' } else { letter.to_ascii_lowercase() }
}

/// Counts the letters to insert, remove, replace or swap with their neighbour; none when over the bound.
fn distance(word: &[char], candidate: &str, bound: usize) -> Option<usize> {
    let other: Vec<char> = candidate.chars().map(fold).collect();
    if other.len().abs_diff(word.len()) > bound {
        return None;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (i, letter) in word.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, other_letter) in other.iter().enumerate() {
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
            let mut best =
                (at(&last, j) + usize::from(letter != other_letter)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && word.get(i - 1) == Some(other_letter) && other.get(j - 1) == Some(letter);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|&distance| distance <= bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_find_their_word() {
        let words = ["inputs", "outputs", "run", "resources", "retries", "mem_mb", "workdir"];
        for (typed, meant) in [
            ("input", Some("inputs")),
            ("ouptuts", Some("outputs")),
            ("Run", Some("run")),
            ("mem-mb", Some("mem_mb")),
            ("resource", Some("resources")),
            ("", None),
            ("banana", None),
            ("c", None),
            ("imputs", Some("inputs")),
        ] {
            assert_eq!(nearest(typed, words), meant, "{typed}");
        }
    }

    #[test]
    fn a_flood_of_mistakes_is_cut_and_still_refuses() {
        let mut mistakes = Mistakes::default();
        for n in 0..MOST {
            mistakes.push(Diagnostic::warning(Span::new(n, n + 1), "odd"));
        }
        mistakes.error(Span::new(0, 1), "wrong");
        let all = mistakes.finish();
        assert_eq!(all.len(), MOST + 1);
        assert_eq!(all[MOST].severity, Severity::Error);
        assert_eq!(all[MOST].message, "1 more mistakes are not shown");
    }
}
