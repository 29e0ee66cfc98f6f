//! What a job printed, for a terminal: colours and text. Titles, questions that terminals answer, the clipboard and what moves the
//! cursor about are left out.

/// Where in an escape sequence we are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum State {
    /// In none.
    #[default]
    Text,
    /// Behind `ESC`.
    Escape,
    /// Behind `ESC` and a letter that announces one more: `ESC ( B`.
    OneMore,
    /// In `ESC [`, with what came since.
    Control(Vec<u8>),
    /// In a string that ends with BEL or `ESC \`: a title, the clipboard.
    Words,
    /// Behind an `ESC` in there.
    WordsEscape,
    /// Behind the first byte of what may be a C1 control in UTF-8.
    High,
}

/// Longest colour that is let through.
const MOST: usize = 32;

/// Lets text and colours through, piece by piece.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Harmless {
    state: State,
}

impl Harmless {
    /// Returns what of the next piece a terminal may see.
    pub(in crate::cli) fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            self.state = match std::mem::take(&mut self.state) {
                State::Text => text(byte, &mut out),
                State::Escape => escape(byte),
                State::OneMore => State::Text,
                State::Control(seen) => control(seen, byte, &mut out),
                State::Words if byte == 0x07 => State::Text,
                State::Words if byte == 0x1b => State::WordsEscape,
                State::Words => State::Words,
                State::WordsEscape => {
                    if byte == b'\\' {
                        State::Text
                    } else {
                        State::Words
                    }
                }
                State::High if (0x80..0xa0).contains(&byte) => State::Text,
                State::High => {
                    out.push(0xc2);
                    text(byte, &mut out)
                }
            };
        }
        out
    }
}

fn text(byte: u8, out: &mut Vec<u8>) -> State {
    match byte {
        0x1b => return State::Escape,
        0xc2 => return State::High,
        b'\n' | b'\r' | b'\t' | 0x20..=0x7e | 0x80..=0xff => out.push(byte),
        _ => {}
    }
    State::Text
}

const fn escape(byte: u8) -> State {
    match byte {
        b'[' => State::Control(Vec::new()),
        b']' | b'P' | b'^' | b'_' | b'X' => State::Words,
        0x20..=0x2f => State::OneMore,
        0x1b => State::Escape,
        _ => State::Text,
    }
}

fn control(mut seen: Vec<u8>, byte: u8, out: &mut Vec<u8>) -> State {
    match byte {
        0x20..=0x3f => {
            if seen.len() <= MOST {
                seen.push(byte);
            }
            State::Control(seen)
        }
        b'm' if seen.len() <= MOST && seen.iter().all(|byte| byte.is_ascii_digit() || b";:".contains(byte)) => {
            out.extend_from_slice(b"\x1b[");
            out.extend_from_slice(&seen);
            out.push(b'm');
            State::Text
        }
        0x1b => State::Escape,
        _ => State::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_text_pass_and_nothing_else() {
        for (printed, shown) in [
            (b"plain \xc3\xa4\t\r\n".as_slice(), b"plain \xc3\xa4\t\r\n".as_slice()),
            (b"\x1b[31;1mred\x1b[0m", b"\x1b[31;1mred\x1b[0m"),
            (b"\x1b]0;title\x07a\x1b]52;c;ZXZpbA==\x1b\\b", b"ab"),
            (b"\x1b[2J\x1b[1;1H\x1b[c\x1b[6n\x1b[?1049hx", b"x"),
            (b"\x1b(B\x1bcx\0\x07\x08\x7f", b"x"),
            (b"\x1bPq#0\x1b\\y\x1b_hidden\x1b\\z", b"yz"),
            // Controls as two bytes of UTF-8, beside letters that begin alike.
            (b"a\xc2\x9b31mb\xc2\xa9", b"a31mb\xc2\xa9"),
        ] {
            assert_eq!(Harmless::default().take(printed), shown, "{printed:?}");
            // Whole or byte by byte: the same.
            let mut harmless = Harmless::default();
            let pieces: Vec<u8> = printed.iter().flat_map(|byte| harmless.take(&[*byte])).collect();
            assert_eq!(pieces, shown, "{printed:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_escape_but_colours_is_let_through(bytes: Vec<u8>) {
            let shown = Harmless::default().take(&bytes);
            let text = String::from_utf8_lossy(&shown).into_owned();
            for part in text.split('\u{1b}').skip(1) {
                let rest = part.trim_start_matches(|letter: char| letter.is_ascii_digit() || "[;:".contains(letter));
                proptest::prop_assert!(part.starts_with('[') && rest.starts_with('m'), "{part:?}");
            }
        }
    }
}
