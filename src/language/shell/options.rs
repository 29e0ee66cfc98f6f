//! Reading options by a table: what each program's own parser would take for options, values and operands.

use crate::language::shell::tables::Table;
use crate::language::shell::word::{Means, Word};

/// An option as given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opt<'w> {
    /// Its name: the long one where it has one.
    pub name: &'static str,
    /// Its value, where it has one; what comes before the first expansion where it expands.
    pub value: Option<&'w str>,
    /// Whether the value is known wholly.
    pub known: bool,
    /// The word that it begins in.
    pub word: usize,
}

/// The options of a call, and what follows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading<'w> {
    /// The options.
    pub options: Vec<Opt<'w>>,
    /// The first word that is none.
    pub next: usize,
    /// Whether `--` ended them.
    pub ended: bool,
}

/// Reads options from a word on, up to the first word that is none of theirs. None where one is not in the table, or where a
/// word expands into something that could be one.
pub(super) fn read<'w>(table: &'static Table, words: &'w [Word], from: usize) -> Option<Reading<'w>> {
    read_with(table, words, from, false)
}

/// The same, where a value that may become several words is taken for one: good enough to speak of, not to change anything.
pub(super) fn guess<'w>(table: &'static Table, words: &'w [Word], from: usize) -> Option<Reading<'w>> {
    read_with(table, words, from, true)
}

fn read_with<'w>(table: &'static Table, words: &'w [Word], from: usize, guesses: bool) -> Option<Reading<'w>> {
    let mut reading = Reading { next: from, ..Reading::default() };
    while let Some(word) = words.get(reading.next) {
        let text = word.text.as_str();
        if word.means == Means::Itself && text == "--" {
            reading.next += 1;
            reading.ended = true;
            break;
        }
        if !text.starts_with('-') || text == "-" {
            // `$x` may become an option, or nothing at all.
            if word.means == Means::AnyWords || (word.means == Means::OneWord && text.is_empty()) {
                return None;
            }
            break;
        }
        let mut step = Step { table, words, at: reading.next, guesses, options: &mut reading.options };
        reading.next = if table.one_dash {
            step.one_dash(text)?
        } else if let Some(long) = text.strip_prefix("--") {
            step.long(long)?
        } else {
            step.cluster(text)?
        };
    }
    Some(reading)
}

struct Step<'w, 'r> {
    table: &'static Table,
    words: &'w [Word],
    at: usize,
    guesses: bool,
    options: &'r mut Vec<Opt<'w>>,
}

impl<'w> Step<'w, '_> {
    /// The rest of this word, as a value.
    fn attached(&mut self, name: &'static str, value: &'w str) -> Option<usize> {
        let word = self.words.get(self.at)?;
        self.options.push(Opt { name, value: Some(value), known: word.means == Means::Itself, word: self.at });
        // An unquoted expansion in it could split it.
        (self.guesses || word.means != Means::AnyWords).then_some(self.at + 1)
    }

    /// The words that follow, as values.
    fn following(&mut self, name: &'static str, count: usize) -> Option<usize> {
        let first = self.words.get(self.at + 1)?;
        for word in self.words.get(self.at + 1..=self.at + count)? {
            if word.means == Means::AnyWords && !self.guesses {
                return None;
            }
        }
        self.options.push(Opt { name, value: Some(&first.text), known: first.means == Means::Itself, word: self.at });
        Some(self.at + 1 + count)
    }

    fn flag(&mut self, name: &'static str) -> usize {
        self.options.push(Opt { name, value: None, known: true, word: self.at });
        self.at + 1
    }

    fn long(&mut self, text: &'w str) -> Option<usize> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None if self.words.get(self.at)?.means != Means::Itself => return None,
            None => (text, None),
        };
        let spec = self.table.long(name)?;
        match (spec.values, value) {
            (0, None) => Some(self.flag(spec.name())),
            (_, Some(value)) if spec.values > 0 || spec.may => self.attached(spec.name(), value),
            (_, Some(_)) => None,
            (count, None) => self.following(spec.name(), count),
        }
    }

    /// `-abc`, `-p22`.
    fn cluster(&mut self, text: &'w str) -> Option<usize> {
        let mut at = 1;
        while let Some(letter) = text.get(at..).and_then(|rest| rest.chars().next()) {
            at += letter.len_utf8();
            if self.table.digits && letter.is_ascii_digit() {
                return Some(self.flag("digits"));
            }
            let spec = self.table.short(letter)?;
            let rest = text.get(at..).filter(|rest| !rest.is_empty());
            let means = self.words.get(self.at)?.means;
            match (spec.values, rest) {
                (0, Some(rest)) if spec.may => return self.attached(spec.name(), rest),
                // The letters that follow are not known.
                (0, None) if means != Means::Itself => return None,
                (0, _) => drop(self.flag(spec.name())),
                // `-p$port`: the value begins where it expands.
                (_, Some(rest)) => return self.attached(spec.name(), rest),
                (_, None) if means != Means::Itself => return self.attached(spec.name(), ""),
                (count, None) => return self.following(spec.name(), count),
            }
        }
        Some(self.at + 1)
    }

    /// `-name value`, as batch systems have it; one letter may have its value behind it: `-lnodes=1`.
    fn one_dash(&mut self, text: &'w str) -> Option<usize> {
        let word = self.words.get(self.at)?;
        let bare = text.strip_prefix("--").or_else(|| text.strip_prefix('-'))?;
        if word.means == Means::Itself
            && let Some(spec) = self.table.long(bare).or_else(|| {
                let mut letters = bare.chars();
                letters.next().filter(|_| letters.as_str().is_empty()).and_then(|letter| self.table.short(letter))
            })
        {
            return match spec.values {
                0 => Some(self.flag(spec.name())),
                count => self.following(spec.name(), count),
            };
        }
        let letter = bare.chars().next()?;
        let spec = self.table.short(letter).filter(|spec| spec.values == 1)?;
        self.attached(spec.name(), bare.get(letter.len_utf8()..)?)
    }
}
