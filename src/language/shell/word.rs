//! Words: what they mean after the shell took the quotes off, as far as that can be known before it runs.

use crate::language::shell::script::Span;

/// A word of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The bytes that it stands on, quotes included.
    pub span: Span,
    /// What it means; where it expands, what comes before the first expansion.
    pub text: String,
    /// How far that is known.
    pub means: Means,
    /// Where it expands, what it means as a shell would read it again: variables stand in it, and `$_` for what else only the
    /// shell knows.
    pub shape: String,
    /// Whether some of it is quoted: then it is no alias and no word of the shell.
    pub quoted: bool,
}

/// How far a word is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// Wholly: nothing in it expands.
    Itself,
    /// It becomes one word, with something in it that only the shell knows.
    OneWord,
    /// It may become any number of words: expansions that are not quoted, patterns, braces.
    AnyWords,
}

impl Word {
    /// Returns what the word means, where nothing in it expands.
    pub fn fixed(&self) -> Option<&str> {
        (self.means == Means::Itself).then_some(self.text.as_str())
    }

    /// Returns what the word means, with variables in the places of what only the shell knows.
    pub fn shown(&self) -> &str {
        if self.means == Means::Itself { &self.text } else { &self.shape }
    }
}

/// Reads the word that stands on these bytes. Substitutions stand on the bytes of `holes`: a command in them may hold anything.
/// None where the bytes are not exactly one word, or more than this reader knows.
pub(super) fn word(text: &str, span: Span, holes: &[Span]) -> Option<Word> {
    // A word that begins so is none: the rest of the line is a comment.
    let raw = text.get(span.clone()).filter(|raw| !raw.starts_with('#'))?;
    let mut decoder = Decoder {
        rest: raw,
        end: span.end,
        holes,
        text: String::new(),
        shape: String::new(),
        means: Means::Itself,
        quoted: false,
    };
    decoder.run()?;
    let Decoder { text, shape, means, quoted, .. } = decoder;
    Some(Word { span, text, means, shape, quoted })
}

/// Splits a text that holds words and nothing else into them: no operators, no comments, no lines.
pub fn words(text: &str) -> Option<Vec<Word>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with([' ', '\t']) {
            at += 1;
            continue;
        }
        let length = length(rest)?;
        found.push(word(text, at..at + length, &[])?);
        at += length;
    }
    Some(found)
}

/// Measures the word in front: up to a blank that is not quoted.
fn length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' => break,
            b'\\' => at += 1,
            b'\'' => at += 1 + text.get(at + 1..)?.find('\'')?,
            b'"' => at += 1 + double_end(text.get(at + 1..)?)?,
            _ => {}
        }
        at += 1;
    }
    (at <= bytes.len() && text.is_char_boundary(at)).then_some(at)
}

/// Finds the quote that ends `"...`; none where something in it is substituted, whose own quotes would be in the way.
fn double_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return Some(at),
            b'\\' => at += 1,
            b'`' => return None,
            b'$' if matches!(bytes.get(at + 1), Some(b'(' | b'{')) => return None,
            _ => {}
        }
        at += 1;
    }
    None
}

/// Returns the variable behind a `$`, as it is written; one without a meaning where it is more than that.
fn variable(rest: &str) -> &str {
    let inside = rest.strip_prefix('{').unwrap_or(rest);
    let name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let length = inside.find(|letter| !name(letter)).unwrap_or(inside.len());
    let is_name = inside.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    match (is_name, inside.len() == rest.len()) {
        (true, true) => rest.get(..length).unwrap_or("_"),
        (true, false) if inside.get(length..).is_some_and(|rest| rest.starts_with('}')) => {
            rest.get(..length + 2).unwrap_or("_")
        }
        _ => "_",
    }
}

struct Decoder<'a> {
    rest: &'a str,
    /// Where the word ends in the whole text.
    end: usize,
    holes: &'a [Span],
    text: String,
    /// What comes behind the first expansion too; empty before there is one.
    shape: String,
    means: Means,
    quoted: bool,
}

impl Decoder<'_> {
    fn run(&mut self) -> Option<()> {
        // A home directory is one word, whatever is in its name.
        if self.rest.starts_with('~') {
            self.text.push('~');
            self.expands(Means::OneWord, "");
        }
        while let Some(letter) = self.next() {
            match letter {
                '\'' => self.single()?,
                '"' => self.double()?,
                '\\' => self.escaped()?,
                '$' => self.dollar()?,
                '`' => self.backticks(Means::AnyWords)?,
                '<' | '>' if self.rest.starts_with('(') && self.text.is_empty() => return self.process(),
                // A byte that ends words stands in one: the readers do not agree.
                ' ' | '\t' | '\n' | ';' | '|' | '&' | '<' | '>' | '(' | ')' => return None,
                '*' => self.expands(Means::AnyWords, "*"),
                '?' => self.expands(Means::AnyWords, "?"),
                // Alone they mean themselves: `{}`, `[`.
                '{' if self.rest.contains(',') || self.rest.contains("..") => self.expands(Means::AnyWords, "{"),
                '[' if self.rest.contains(']') => self.expands(Means::AnyWords, "["),
                // `~` behind `=` or `:` in assignments, and as an argument of some builtins.
                '~' if self.text.ends_with(['=', ':']) => self.expands(Means::AnyWords, "~"),
                letter => self.push(letter),
            }
        }
        Some(())
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.rest.chars().next()?;
        self.rest = self.rest.get(letter.len_utf8()..).unwrap_or_default();
        Some(letter)
    }

    fn push(&mut self, letter: char) {
        if self.means == Means::Itself {
            self.text.push(letter);
        } else {
            self.shape.push(letter);
        }
    }

    /// Passes over the substitution that began so many bytes ago.
    fn pass_hole(&mut self, ago: usize) -> Option<()> {
        let start = (self.end - self.rest.len()).checked_sub(ago)?;
        let hole = self.holes.iter().find(|hole| hole.start == start)?;
        self.rest = self.rest.get(hole.len().checked_sub(ago)?..)?;
        Some(())
    }

    /// Something expands here, that `shown` stands for.
    fn expands(&mut self, means: Means, shown: &str) {
        if self.means == Means::Itself {
            self.shape.clone_from(&self.text);
        }
        self.shape.push_str(shown);
        if self.means != Means::AnyWords {
            self.means = means;
        }
    }

    fn single(&mut self) -> Option<()> {
        self.quoted = true;
        let (inside, rest) = self.rest.split_once('\'')?;
        self.rest = rest;
        inside.chars().for_each(|letter| self.push(letter));
        Some(())
    }

    fn escaped(&mut self) -> Option<()> {
        self.quoted = true;
        match self.next()? {
            '\n' => {}
            letter => self.push(letter),
        }
        Some(())
    }

    fn double(&mut self) -> Option<()> {
        self.quoted = true;
        loop {
            match self.next()? {
                '"' => return Some(()),
                '\\' => match self.next()? {
                    '\n' => {}
                    letter @ ('$' | '`' | '"' | '\\') => self.push(letter),
                    letter => {
                        self.push('\\');
                        self.push(letter);
                    }
                },
                '`' => self.backticks(Means::OneWord)?,
                '$' => self.dollar_in_quotes()?,
                letter => self.push(letter),
            }
        }
    }

    fn dollar_in_quotes(&mut self) -> Option<()> {
        match self.rest.chars().next() {
            // It stands for itself where no name follows.
            Some(letter) if letter.is_ascii_alphanumeric() || "_({[@*#?-$!".contains(letter) => {
                // `"$@"` and `"${x[@]}"` become any number of words; so may what another variable names: `"${!x}"`.
                let many =
                    self.rest.starts_with(['@', '{']) && (self.rest.contains('@') || self.rest.starts_with("{!"));
                self.expansion(if many { Means::AnyWords } else { Means::OneWord })
            }
            _ => {
                self.push('$');
                Some(())
            }
        }
    }

    /// What follows a `$` outside quotes.
    fn dollar(&mut self) -> Option<()> {
        match self.rest.chars().next() {
            Some('\'') => {
                self.next();
                self.ansi_c()
            }
            // A text to translate: which one comes out is the locale's business.
            Some('"') => None,
            Some(letter) if letter.is_ascii_alphanumeric() || "_({[@*#?-$!".contains(letter) => {
                self.expansion(Means::AnyWords)
            }
            _ => {
                self.push('$');
                Some(())
            }
        }
    }

    /// Passes over an expansion behind its `$`.
    fn expansion(&mut self, means: Means) -> Option<()> {
        self.expands(means, "$");
        self.shape.push_str(variable(self.rest));
        match self.next()? {
            '(' if self.rest.starts_with('(') => self.nested('(', ')'),
            '(' => self.pass_hole(2),
            '{' => self.nested('{', '}'),
            '[' => self.nested('[', ']'),
            letter if letter.is_ascii_alphabetic() || letter == '_' => {
                let name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
                let length = self.rest.find(|letter| !name(letter)).unwrap_or(self.rest.len());
                self.rest = self.rest.get(length..)?;
                Some(())
            }
            _ => Some(()),
        }
    }

    /// Passes over what stands between brackets: quotes in it are kept together, and so are brackets of the same kind. What
    /// tree-sitter says is its end must be its end here too, or the word does not come out whole.
    fn nested(&mut self, open: char, close: char) -> Option<()> {
        let mut depth = 1;
        while depth > 0 {
            match self.next()? {
                '\\' => drop(self.next()?),
                '\'' => self.rest = self.rest.split_once('\'')?.1,
                '"' => {
                    let (means, shape) = (self.means, self.shape.len());
                    self.double()?;
                    self.means = means;
                    self.shape.truncate(shape);
                }
                '`' => self.rest = self.rest.split_once('`')?.1,
                letter if letter == open => depth += 1,
                letter if letter == close => depth -= 1,
                _ => {}
            }
        }
        Some(())
    }

    fn backticks(&mut self, means: Means) -> Option<()> {
        self.expands(means, "$_");
        self.pass_hole(1)
    }

    /// `<(...)`: a name of the shell's choice.
    fn process(&mut self) -> Option<()> {
        self.expands(Means::OneWord, "$_");
        self.pass_hole(1)?;
        self.rest.is_empty().then_some(())
    }

    /// `$'...'`.
    fn ansi_c(&mut self) -> Option<()> {
        self.quoted = true;
        loop {
            match self.next()? {
                '\'' => return Some(()),
                '\\' => match self.next()? {
                    'n' => self.push('\n'),
                    't' => self.push('\t'),
                    'r' => self.push('\r'),
                    letter @ ('\\' | '\'' | '"' | '?') => self.push(letter),
                    // Numbers and control characters: rare, and easy to get wrong.
                    _ => return None,
                },
                letter => self.push(letter),
            }
        }
    }
}
