//! Cuts a TOML text into pieces that end with a statement, so that the tokens of a large file are never all in memory.

use toml_parser::Source;
use toml_parser::lexer::{Token, TokenKind};

/// Tokens after which the next end of a statement ends a piece.
const PIECE: usize = 4096;

/// Most tokens of one value: an array of two million strings, each on a line of its own.
pub(super) const MOST_TOKENS: usize = 8_000_000;

/// A value has more than [`MOST_TOKENS`] tokens; the place where it was given up.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong(pub(super) usize);

/// Calls `each` with the tokens of one or more whole statements at a time.
///
/// Where a bracket is never closed, a line that can only be a header or a key ends the statement, so that one missing `]`
/// does not hide the rest of the file.
pub(super) fn statements(text: &str, mut each: impl FnMut(&[Token])) -> Result<(), TooLong> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut open: Vec<TokenKind> = Vec::new();
    let mut line = Line::default();
    for token in Source::new(text).lex() {
        tokens.push(token);
        match token.kind() {
            TokenKind::Newline => {
                let header = line.is_header(text, &tokens);
                if header && !open.is_empty() {
                    split(&mut tokens, line.start, &mut each);
                    open.clear();
                }
                if (open.is_empty() || header) && tokens.len() >= PIECE {
                    each(&tokens);
                    tokens.clear();
                }
                if header {
                    open.clear();
                }
                line = Line { start: tokens.len(), ..Line::default() };
            }
            TokenKind::Whitespace => {}
            kind => {
                if line.first.is_none() {
                    line.first = Some(kind);
                }
                let in_array = open.last() == Some(&TokenKind::LeftSquareBracket);
                if kind == TokenKind::Equals && in_array && line.is_key(&tokens) {
                    split(&mut tokens, line.start, &mut each);
                    open.clear();
                    line.start = 0;
                }
                nest(&mut open, kind);
            }
        }
        if tokens.len() > MOST_TOKENS {
            return Err(TooLong(token.span().start()));
        }
    }
    each(&tokens);
    Ok(())
}

fn nest(open: &mut Vec<TokenKind>, kind: TokenKind) {
    match kind {
        TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => open.push(kind),
        TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => {
            open.pop();
        }
        _ => {}
    }
}

/// Ends the piece before the line that starts at `start`.
fn split(tokens: &mut Vec<Token>, start: usize, each: &mut impl FnMut(&[Token])) {
    let rest = tokens.split_off(start.min(tokens.len()));
    if !tokens.is_empty() {
        each(tokens);
    }
    *tokens = rest;
}

/// The line being read.
#[derive(Default)]
struct Line {
    /// Where it starts in the tokens.
    start: usize,
    /// Its first token.
    first: Option<TokenKind>,
}

impl Line {
    fn tokens<'a>(&self, tokens: &'a [Token]) -> impl Iterator<Item = &'a Token> {
        let skip = |token: &&Token| {
            !matches!(token.kind(), TokenKind::Whitespace | TokenKind::Newline | TokenKind::Comment | TokenKind::Eof)
        };
        tokens.get(self.start..).unwrap_or_default().iter().filter(skip)
    }

    /// Returns whether the line is `[a.b]` or `[[a.b]]` with bare keys that are no values.
    fn is_header(&self, text: &str, tokens: &[Token]) -> bool {
        if self.first != Some(TokenKind::LeftSquareBracket) {
            return false;
        }
        let mut names = 0;
        let mut last = TokenKind::LeftSquareBracket;
        for token in self.tokens(tokens) {
            last = token.kind();
            match last {
                TokenKind::LeftSquareBracket if names == 0 => {}
                TokenKind::Dot | TokenKind::RightSquareBracket if names > 0 => {}
                TokenKind::Atom => {
                    let word = text.get(token.span().start()..token.span().end()).unwrap_or_default();
                    let letters = word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
                    let value = matches!(word, "true" | "false" | "inf" | "nan");
                    let number = word.bytes().next().is_none_or(|b| !b.is_ascii_alphabetic() && b != b'_');
                    if !letters || names == 0 && (value || number) {
                        return false;
                    }
                    names += 1;
                }
                _ => return false,
            }
        }
        last == TokenKind::RightSquareBracket
    }

    /// Returns whether the line so far is `key =`.
    fn is_key(&self, tokens: &[Token]) -> bool {
        let mut kinds = self.tokens(tokens).map(Token::kind);
        kinds.next() == Some(TokenKind::Atom) && kinds.next() == Some(TokenKind::Equals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<String> {
        let mut pieces = Vec::new();
        statements(text, |tokens| {
            let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { return };
            pieces.push(text[first.span().start()..last.span().end()].to_owned());
        })
        .unwrap();
        pieces
    }

    #[test]
    fn an_open_bracket_ends_where_a_header_or_key_starts() {
        assert_eq!(pieces("a = [1,\n[tasks.b]\nrun = \"x\"\n"), ["a = [1,\n", "[tasks.b]\nrun = \"x\"\n"]);
        assert_eq!(pieces("a = [1,\nb = 2\n"), ["a = [1,\n", "b = 2\n"]);
        let nested = "a = [\n[1, 2],\n[true],\n[\"x\"],\n{b = [1]},\n]\n";
        assert_eq!(pieces(nested), [nested]);
        let table = "a = {\nb = 1,\nc = 2\n}\n";
        assert_eq!(pieces(table), [table]);
    }

    #[test]
    fn long_texts_come_in_pieces_that_join_to_the_whole() {
        let text = "[tasks.a]\nrun = [\n\"true\",\n]\n".repeat(2000);
        let pieces = pieces(&text);
        assert!(pieces.len() > 4);
        assert!(pieces.iter().all(|piece| piece.len() < 60_000));
        assert_eq!(pieces.concat(), text);
    }
}
