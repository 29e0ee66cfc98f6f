//! Edits of a line: named words are replaced or put in, and no other byte changes. The result is read again and must be the
//! same commands but for these words.

use std::borrow::Cow;

use crate::language::quote::{is_plain, sh};
use crate::language::shell::read::read;
use crate::language::shell::script::{Command, Script, Span};
use crate::language::shell::word::Word;

/// A change of the words of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splice {
    /// The command: an index into [`Script::commands`].
    pub command: usize,
    /// The words that go; where they are none, the new ones come in front of the first.
    pub words: std::ops::Range<usize>,
    /// What each new word means; they are quoted where they must be.
    pub with: Vec<String>,
}

/// Why a line was not edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There are no such words.
    #[error("the line has no such words")]
    NoWords,
    /// The command stands in a text that others read too: a substitution, a here-document.
    #[error("the command stands inside of another one's words")]
    Inside,
    /// Something else stands between the words that go.
    #[error("something stands between the words")]
    Between,
    /// Two changes touch the same bytes.
    #[error("two changes meet")]
    Meet,
    /// The result does not read as was meant.
    #[error("the line would not read as meant")]
    Otherwise,
}

/// Edits a line.
///
/// # Errors
/// [`Refused`]: the line is left as it is then.
pub fn rewrite(script: &Script, splices: &[Splice]) -> Result<String, Refused> {
    let mut edits: Vec<(Span, String)> = splices.iter().map(|splice| edit(script, splice)).collect::<Result<_, _>>()?;
    edits.sort_by_key(|(span, _)| (span.start, span.end));
    let mut text = String::with_capacity(script.text.len() + 64);
    let mut at = 0;
    for (span, with) in &edits {
        text.push_str(script.text.get(at..span.start).ok_or(Refused::Meet)?);
        text.push_str(with);
        at = span.end;
    }
    text.push_str(script.text.get(at..).ok_or(Refused::Meet)?);
    let meet = edits.windows(2).any(|pair| matches!(pair, [one, other] if one.0.start == other.0.start));
    if meet {
        return Err(Refused::Meet);
    }
    let after = read(&text).ok_or(Refused::Otherwise)?;
    if is_meant(script, &after, splices) { Ok(text) } else { Err(Refused::Otherwise) }
}

/// Finds the bytes that change, and what comes there.
fn edit(script: &Script, splice: &Splice) -> Result<(Span, String), Refused> {
    let command = script.commands.get(splice.command).ok_or(Refused::NoWords)?;
    if command.stands.substituted || command.stands.in_heredoc {
        return Err(Refused::Inside);
    }
    let first = splice.words.start == 0;
    let quoted: Vec<_> = splice.with.iter().enumerate().map(|(at, word)| quoted(word, first && at == 0)).collect();
    let text = quoted.join(" ");
    if splice.words.is_empty() {
        // Behind the word before it: what follows may be the end of the line.
        let before = splice.words.start.checked_sub(1).ok_or(Refused::NoWords)?;
        let at = command.words.get(before).ok_or(Refused::NoWords)?.span.end;
        return Ok((at..at, format!(" {text}")));
    }
    let words = command.words.get(splice.words.clone()).ok_or(Refused::NoWords)?;
    let gaps = words.windows(2).all(|pair| match pair {
        [one, other] => {
            let between = script.slice(&(one.span.end..other.span.start));
            between.replace("\\\n", " ").bytes().all(|byte| matches!(byte, b' ' | b'\t'))
        }
        _ => true,
    });
    if !gaps {
        return Err(Refused::Between);
    }
    let (Some(first), Some(last)) = (words.first(), words.last()) else { return Err(Refused::NoWords) };
    Ok((first.span.start..last.span.end, text))
}

/// Quotes a word; behind the program a `=` means itself.
fn quoted(word: &str, is_program: bool) -> Cow<'_, str> {
    let plain = !is_program && word.split('=').all(|part| part.is_empty() || is_plain(part)) && !word.starts_with('=');
    if plain && !word.is_empty() { Cow::Borrowed(word) } else { sh(word) }
}

/// Says whether a line reads as the edits meant it to.
fn is_meant(before: &Script, after: &Script, splices: &[Splice]) -> bool {
    before.commands.len() == after.commands.len()
        && before.loops.len() == after.loops.len()
        && before.defines == after.defines
        && before.files.len() == after.files.len()
        && before.documents.len() == after.documents.len()
        && before
            .documents
            .iter()
            .zip(&after.documents)
            .all(|(old, new)| before.slice(&old.span) == after.slice(&new.span) && old.known == new.known)
        && before
            .files
            .iter()
            .zip(&after.files)
            .all(|(old, new)| old.is_written == new.is_written && is_same(before, &old.word, after, &new.word))
        && before.commands.iter().zip(&after.commands).enumerate().all(|(index, (old, new))| {
            let own: Vec<&Splice> = splices.iter().filter(|splice| splice.command == index).collect();
            old.stands == new.stands && old.assigns == new.assigns && has_words(before, old, after, new, &own)
        })
}

fn has_words(before: &Script, old: &Command, after: &Script, new: &Command, splices: &[&Splice]) -> bool {
    let mut fresh = new.words.iter();
    let mut all_meant = true;
    let mut at = 0;
    while at <= old.words.len() {
        for splice in splices.iter().filter(|splice| splice.words.start == at) {
            for meant in &splice.with {
                all_meant &= fresh.next().and_then(Word::fixed) == Some(meant.as_str());
            }
        }
        let gone = splices.iter().find(|splice| splice.words.contains(&at));
        if let (Some(word), None) = (old.words.get(at), gone) {
            all_meant &= fresh.next().is_some_and(|new| is_same(before, word, after, new));
        }
        at += 1;
    }
    all_meant && fresh.next().is_none()
}

fn is_same(before: &Script, old: &Word, after: &Script, new: &Word) -> bool {
    old.means == new.means && old.text == new.text && before.slice(&old.span) == after.slice(&new.span)
}
