//! Follows bash source just far enough to know, at every byte, how a value that is put there must be quoted.
//!
//! Where this cannot be known, or bash has no quoting for the place, the answer is [`Place::Plain`]: only a value that needs no
//! quoting anywhere may stand there.

/// Stands in the source for a value, so that no word is read across it.
pub(super) const HOLE: char = '\u{1}';

/// How a value must be quoted at a place of bash source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Outside quotes.
    Bare,
    /// Inside `'...'`.
    Single,
    /// Inside `"..."`.
    Double,
    /// Where there is no safe quoting; says where that is.
    Plain(&'static str),
    /// Inside arithmetic: numbers only.
    Number,
    /// In a comment: nothing is filled in.
    Comment,
}

/// What encloses the present position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    /// Commands. `closing` when a `)` ends them: `$(`, `<(`, `>(`; `parens` are those open within.
    Commands {
        closing: bool,
        parens: u32,
    },
    Single,
    Double,
    Ansi,
    Backtick,
    /// `${...}`.
    Braces,
    /// `((` and `$((`, or `$[`: ends where this many brackets are closed.
    Arithmetic {
        brackets: Brackets,
        depth: u32,
    },
    /// A here-document: index into `documents`.
    Document(usize),
    Comment,
}

/// What encloses arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Brackets {
    Round,
    Square,
}

/// A here-document announced by `<<WORD`.
#[derive(Clone, Debug)]
struct Document {
    word: Vec<u8>,
    /// Whether the word was quoted: then a backslash in the document means nothing.
    quoted: bool,
    tabs: bool,
    depth: usize,
}

/// Follows bash source byte by byte.
pub(super) struct Bash<'s> {
    source: &'s [u8],
    at: usize,
    frames: Vec<Frame>,
    documents: Vec<Document>,
    /// Documents whose body starts at the next end of line.
    waiting: Vec<usize>,
    /// Whether a `#` here would start a comment.
    word_start: bool,
    /// Whether the line of a here-document goes on from the one before.
    glued: bool,
    /// Set where the source is beyond this reader: from there on only plain values are safe.
    lost: Option<&'static str>,
}

impl<'s> Bash<'s> {
    /// Starts at the beginning of a source.
    pub(super) fn new(source: &'s str) -> Self {
        Self {
            source: source.as_bytes(),
            at: 0,
            frames: vec![Frame::Commands { closing: false, parens: 0 }],
            documents: Vec::new(),
            waiting: Vec::new(),
            word_start: true,
            glued: false,
            lost: None,
        }
    }

    /// Returns the place at a later offset, where a [`HOLE`] stands for a value.
    pub(super) fn place_at(&mut self, offset: usize) -> Place {
        while self.at < offset {
            self.step();
        }
        if self.at > offset {
            self.lose("after a here-document whose last word is not plain");
            return Place::Plain("in the word that ends a here-document");
        }
        self.at += 1;
        self.word_start = false;
        // Whatever comes out of arithmetic is evaluated, through any quotes: `a[$(cmd)]` would run.
        let arithmetic = self.frames.iter().any(|frame| matches!(frame, Frame::Arithmetic { .. }));
        let place = match self.frame() {
            Frame::Comment => Place::Comment,
            _ if arithmetic => Place::Number,
            Frame::Commands { .. } => Place::Bare,
            Frame::Single => Place::Single,
            Frame::Double => Place::Double,
            Frame::Ansi => Place::Plain("inside $'...'"),
            Frame::Backtick => Place::Plain("inside `...`"),
            Frame::Braces => Place::Plain("inside ${...}"),
            Frame::Arithmetic { .. } => Place::Number,
            Frame::Document(_) => Place::Plain("in a here-document"),
        };
        match (self.lost, place) {
            (_, Place::Number | Place::Plain(_)) | (None, _) => place,
            (Some(why), _) => Place::Plain(why),
        }
    }

    /// Follows the source to its end; returns what is still open there, in words.
    pub(super) fn finish(mut self) -> Option<&'static str> {
        while self.at < self.source.len() {
            self.step();
        }
        if self.lost.is_some() {
            return None;
        }
        self.frames.iter().find_map(|frame| match frame {
            Frame::Single => Some("a `'`"),
            Frame::Double => Some("a `\"`"),
            Frame::Ansi => Some("a `$'`"),
            Frame::Backtick => Some("a backtick"),
            Frame::Braces => Some("a `${`"),
            Frame::Commands { closing: true, .. } => Some("a `$(`"),
            Frame::Commands { .. } | Frame::Arithmetic { .. } | Frame::Document(_) | Frame::Comment => None,
        })
    }

    fn frame(&self) -> Frame {
        self.frames.last().copied().unwrap_or(Frame::Commands { closing: false, parens: 0 })
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.source.get(self.at + ahead).copied()
    }

    fn rest(&self) -> &'s [u8] {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn lose(&mut self, why: &'static str) {
        self.lost.get_or_insert(why);
    }

    /// Takes at least one byte.
    fn step(&mut self) {
        let Some(byte) = self.byte(0) else {
            self.at += 1;
            return;
        };
        match self.frame() {
            Frame::Commands { closing, parens } => self.commands(byte, closing, parens),
            Frame::Single => self.quoted(byte, b'\'', false, false),
            Frame::Double => self.quoted(byte, b'"', true, true),
            Frame::Ansi => self.quoted(byte, b'\'', true, false),
            Frame::Backtick => self.quoted(byte, b'`', true, false),
            Frame::Braces => self.braces(byte),
            Frame::Arithmetic { brackets, depth } => self.arithmetic(byte, brackets, depth),
            Frame::Document(index) => self.document(index),
            Frame::Comment => {
                if byte == b'\n' {
                    self.frames.pop();
                } else {
                    self.at += 1;
                }
            }
        }
    }

    /// One byte inside quotes.
    fn quoted(&mut self, byte: u8, close: u8, escapes: bool, expands: bool) {
        if byte == close {
            self.frames.pop();
            self.at += 1;
            self.word_start = false;
        } else if byte == b'\\' && escapes {
            self.at += 2;
        } else if !(expands && self.expansion(byte)) {
            self.at += 1;
        }
    }

    /// Takes `$...` or a backtick, where it opens something or is a variable.
    fn expansion(&mut self, byte: u8) -> bool {
        let rest = self.rest();
        let (frame, length) = if byte == b'`' {
            (Frame::Backtick, 1)
        } else if rest.starts_with(b"$((") {
            (Frame::Arithmetic { brackets: Brackets::Round, depth: 2 }, 3)
        } else if rest.starts_with(b"$(") {
            (Frame::Commands { closing: true, parens: 0 }, 2)
        } else if rest.starts_with(b"${") {
            (Frame::Braces, 2)
        } else if rest.starts_with(b"$[") {
            (Frame::Arithmetic { brackets: Brackets::Square, depth: 1 }, 2)
        } else if byte == b'$' {
            // `$#`, `$'` (inside double quotes) and the like: the second letter means nothing else.
            self.at += if self.byte(1).is_some_and(|next| b"#?$!*@-".contains(&next)) { 2 } else { 1 };
            self.word_start = false;
            return true;
        } else {
            return false;
        };
        self.frames.push(frame);
        self.at += length;
        self.word_start = true;
        true
    }

    fn commands(&mut self, byte: u8, closing: bool, parens: u32) {
        let rest = self.rest();
        let word_start = std::mem::replace(&mut self.word_start, false);
        match byte {
            b'\\' => {
                // A line that goes on is as if it had not ended.
                self.word_start = word_start && rest.starts_with(b"\\\n");
                self.at += 2;
            }
            b'\'' => self.open(Frame::Single, 1),
            b'"' => self.open(Frame::Double, 1),
            b'$' if rest.starts_with(b"$'") => self.open(Frame::Ansi, 2),
            b'$' if rest.starts_with(b"$\"") => self.open(Frame::Double, 2),
            b'$' | b'`' => {
                self.expansion(byte);
            }
            b'#' if word_start => self.open(Frame::Comment, 1),
            b'<' | b'>' => self.redirection(rest),
            b'(' if rest.starts_with(b"((") => self.open(Frame::Arithmetic { brackets: Brackets::Round, depth: 2 }, 2),
            b'(' => self.parens(closing, parens + 1),
            b')' if parens > 0 => self.parens(closing, parens - 1),
            b')' if closing => {
                self.frames.pop();
                self.at += 1;
                if self
                    .waiting
                    .iter()
                    .any(|&index| self.documents.get(index).is_some_and(|d| d.depth > self.frames.len()))
                {
                    self.lose("after a here-document that ends inside $(...)");
                }
            }
            b'\n' => {
                self.at += 1;
                self.word_start = true;
                self.open_documents();
            }
            b' ' | b'\t' | b';' | b'|' | b'&' | b')' => {
                self.at += 1;
                self.word_start = true;
            }
            b'c' if word_start && closing && self.is_word(b"case") => {
                // The `)` of its patterns cannot be told from the one that ends the `$(`.
                self.lose("after `case` inside $(...)");
                self.at += 4;
            }
            _ => self.at += 1,
        }
    }

    fn is_word(&self, word: &[u8]) -> bool {
        let rest = self.rest();
        rest.starts_with(word) && rest.get(word.len()).is_none_or(|next| b" \t\n\\".contains(next))
    }

    fn open(&mut self, frame: Frame, length: usize) {
        self.frames.push(frame);
        self.at += length;
    }

    fn parens(&mut self, closing: bool, parens: u32) {
        if let Some(frame) = self.frames.last_mut() {
            *frame = Frame::Commands { closing, parens };
        }
        self.at += 1;
        self.word_start = true;
    }

    fn redirection(&mut self, rest: &[u8]) {
        if rest.starts_with(b"<(") || rest.starts_with(b">(") {
            self.open(Frame::Commands { closing: true, parens: 0 }, 2);
        } else if rest.starts_with(b"<<<") {
            self.at += 3;
        } else if rest.starts_with(b"<<") {
            self.announce_document();
        } else {
            self.at += 1;
        }
        self.word_start = true;
    }

    /// Reads `<<WORD` or `<<-WORD`, with the quotes of the word removed.
    fn announce_document(&mut self) {
        self.at += 2;
        let tabs = self.byte(0) == Some(b'-');
        self.at += usize::from(tabs);
        while matches!(self.byte(0), Some(b' ' | b'\t')) {
            self.at += 1;
        }
        let mut word = Vec::new();
        let mut quote = None;
        let mut quoted = false;
        while let Some(byte) = self.byte(0) {
            quoted |= matches!(byte, b'\'' | b'"' | b'\\');
            match (quote, byte) {
                (None, b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')') => break,
                (None, b'\'' | b'"') => quote = Some(byte),
                (Some(open), _) if open == byte => quote = None,
                (None | Some(b'"'), b'\\') => {
                    self.at += 1;
                    word.extend(self.byte(0));
                }
                (None, b'$' | b'`') => {
                    self.lose("after a here-document whose last word is not plain");
                    word.push(byte);
                }
                _ => word.push(byte),
            }
            self.at += 1;
        }
        self.waiting.push(self.documents.len());
        self.documents.push(Document { word, quoted, tabs, depth: self.frames.len() });
    }

    /// Starts the bodies of the documents announced on the line that just ended.
    fn open_documents(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        for &index in waiting.iter().rev() {
            if self.documents.get(index).is_some_and(|document| document.depth != self.frames.len()) {
                self.lose("after a here-document that begins outside $(...)");
            }
        }
        self.frames.extend(waiting.iter().rev().map(|&index| Frame::Document(index)));
    }

    /// Takes a line of a here-document; its value places are inside the line, so byte by byte but for the line that ends it.
    fn document(&mut self, index: usize) {
        let line_start = self.at == 0 || self.source.get(self.at - 1) == Some(&b'\n');
        let glued = std::mem::replace(&mut self.glued, false);
        let Some(document) = self.documents.get(index) else { return };
        if !document.quoted && self.byte(0) == Some(b'\\') {
            // A line that ends with a backslash goes on: the next one does not end the document.
            self.glued = self.byte(1) == Some(b'\n');
            self.at += 2;
            return;
        }
        if line_start {
            let rest = self.rest();
            let line = rest.split(|&byte| byte == b'\n').next().unwrap_or_default();
            let tabs = if document.tabs { line.iter().take_while(|&&byte| byte == b'\t').count() } else { 0 };
            let text = line.get(tabs..).unwrap_or_default();
            if glued {
                if document.word.ends_with(text) {
                    self.lose("after a here-document whose end is unclear");
                }
                self.at += 1;
                return;
            }
            if text == document.word {
                self.at += line.len() + usize::from(line.len() < rest.len());
                self.frames.pop();
                self.word_start = true;
                return;
            }
            if !document.word.is_empty() && text.starts_with(&document.word) {
                // `EOF)` ends it in some versions of bash.
                self.lose("after a here-document whose end is unclear");
            }
        }
        self.at += 1;
    }

    fn braces(&mut self, byte: u8) {
        match byte {
            b'}' => {
                self.frames.pop();
                self.at += 1;
                self.word_start = false;
            }
            b'\\' => self.at += 2,
            b'"' => self.open(Frame::Double, 1),
            b'\'' => {
                // Inside double quotes it quotes in `${x%'a'}` and not in `${x:-it's}`.
                if self.frames.contains(&Frame::Double) {
                    self.lose("after a `'` inside \"${...}\"");
                }
                self.open(Frame::Single, 1);
            }
            _ => {
                if !self.expansion(byte) {
                    self.at += 1;
                }
            }
        }
    }

    fn arithmetic(&mut self, byte: u8, brackets: Brackets, depth: u32) {
        let depth = match (brackets, byte) {
            (Brackets::Round, b'(') | (Brackets::Square, b'[') => depth + 1,
            (Brackets::Round, b')') | (Brackets::Square, b']') => depth - 1,
            _ => depth,
        };
        if let Some(frame) = self.frames.last_mut() {
            *frame = Frame::Arithmetic { brackets, depth };
        }
        match byte {
            _ if depth == 0 => {
                self.frames.pop();
                self.at += 1;
            }
            b'\\' => self.at += 2,
            b'"' => self.open(Frame::Double, 1),
            b'\'' => {
                // In an expression it quotes nothing, but where two subshells look like one it does.
                self.lose("after a `'` inside ((...))");
                self.at += 1;
            }
            b'$' | b'`' => {
                self.expansion(byte);
            }
            b'#' if matches!(self.at.checked_sub(1).and_then(|at| self.source.get(at)), Some(b' ' | b'\t' | b'\n')) => {
                self.lose("after a `#` inside ((...))");
                self.at += 1;
            }
            b'<' if self.rest().starts_with(b"<<") => {
                // A shift, unless the parentheses are two subshells.
                let word = self.rest().iter().skip(2).find(|&&byte| byte != b' ' && byte != b'-');
                if brackets == Brackets::Round
                    && word.is_some_and(|byte| !byte.is_ascii_digit() && !b"$({".contains(byte))
                {
                    self.lose("after a `<<` inside ((...))");
                }
                self.at += 2;
            }
            _ => self.at += 1,
        }
        self.word_start = false;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The places of every `@` of a source.
    fn places(source: &str) -> Vec<Place> {
        let source = source.replace('@', &HOLE.to_string());
        let mut bash = Bash::new(&source);
        let places = source.match_indices(HOLE).map(|(offset, _)| bash.place_at(offset)).collect();
        bash.finish();
        places
    }

    #[test]
    fn the_place_is_known() {
        use Place::{Bare, Comment, Double, Number, Single};
        for (source, expected) in [
            ("echo @ '@' \"@\" @", vec![Bare, Single, Double, Bare]),
            ("a\\'@ \\\"@ 'x\\'@", vec![Bare, Bare, Bare]),
            ("\"$(cmd @ \"@\" '@')@\"@", vec![Bare, Double, Single, Double, Bare]),
            ("# @ it's\n@", vec![Comment, Bare]),
            ("x#@ $#@ ${#x}@ a;#@", vec![Bare, Bare, Bare, Comment]),
            ("``#@ $(a)#@ \"\"#@", vec![Bare; 3]),
            ("a \\\n# it's @\n@", vec![Comment, Bare]),
            ("echo $((@ * 2)) @", vec![Number, Bare]),
            ("$[a[1] + @] '@' $((a[(1)] + @)) @", vec![Number, Single, Number, Bare]),
            ("$(( \"@\" + $(f @ '@') )) $[\"@\"] @", vec![Number, Number, Number, Number, Bare]),
            ("((x = @ << 2)); echo @", vec![Number, Bare]),
            ("$'a\\'b' @ $\"a @\"", vec![Bare, Double]),
            ("(cd x; f @) | \"$(a (b) @)@\"", vec![Bare, Bare, Double]),
            ("awk '{print $1}' @ \"it's @\"", vec![Bare, Double]),
            ("cat <<< @ ; diff <(a @) >(b '@')", vec![Bare, Bare, Single]),
            ("case @ in a) @;; esac; @", vec![Bare; 3]),
            ("cat <<EOF\nit's\nEOF\n'@'", vec![Single]),
            ("cat <<-'E F' - <<B\n\"\n\tE F\n'\nB\n@", vec![Bare]),
            ("a=(@ \"@\") @", vec![Bare, Double, Bare]),
            ("`a \\` 'b`@ \"`x`@\"", vec![Bare, Double]),
            ("\"${x:-\"a\"}@\" ${y%'}'}@", vec![Double, Bare]),
        ] {
            assert_eq!(places(source), expected, "{source}");
        }
    }

    #[test]
    fn where_bash_cannot_quote_only_plain_values_may_stand() {
        for (source, plain) in [
            ("$'@'", vec![true]),
            ("`@`", vec![true]),
            ("${x:-@}", vec![true]),
            ("cat <<EOF\n@\nEOF\n@", vec![true, false]),
            ("cat <<EOF\n@EOF\n@\nEOF\n@", vec![true, true, false]),
            ("cat <<@\n@", vec![true, true]),
            ("cat <<E@F\nEF\n@", vec![true, true]),
            ("cat <<E\n'\\\nE\n@\nE\n@", vec![true, true]),
            ("cat <<'E'\n'\\\nE\n@", vec![false]),
            ("\"$(case x in a) b;; esac)@\"", vec![true]),
            ("\"$(echo case)@\"", vec![false]),
            ("$(cat <<E\nE)\n@", vec![true]),
            ("\"${x:-it's}\" @", vec![true]),
            ("$((cat <<E\n'\nE\n) )@", vec![true]),
            ("$['a'] @", vec![true]),
        ] {
            let found: Vec<bool> = places(source).iter().map(|place| matches!(place, Place::Plain(_))).collect();
            assert_eq!(found, plain, "{source}");
        }
    }

    #[test]
    fn what_stays_open_is_named() {
        let open = |source: &str| Bash::new(source).finish();
        assert_eq!(open("echo 'a"), Some("a `'`"));
        assert_eq!(open("echo \"$(a"), Some("a `\"`"));
        assert_eq!(open("echo \"$(a)\" # it's"), None);
    }

    proptest! {
        #[test]
        fn any_source_is_followed(source in "[-a-e'\"`$(){}<>#@\\\\\n \t=;\\[\\]]{0,60}") {
            places(&source);
        }
    }
}
