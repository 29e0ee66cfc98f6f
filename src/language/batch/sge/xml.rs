//! As much XML as Grid Engine writes: elements with attributes and text, no namespaces, no CDATA, no comments.

use std::borrow::Cow;

/// A piece of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// `<name a='b'>`: its name, and the attributes as they stand.
    Open(&'a str, &'a str),
    /// Text between tags, unescaped.
    Text(Cow<'a, str>),
    /// `</name>`; also after `<name/>`.
    Close(&'a str),
}

/// Walks over the pieces of a document; stops where it is no longer well-formed.
#[derive(Clone, Debug)]
pub(super) struct Pieces<'a> {
    rest: &'a str,
    closing: Option<&'a str>,
}

/// Starts at the beginning of a document.
pub(super) const fn pieces(document: &str) -> Pieces<'_> {
    Pieces { rest: document, closing: None }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        if let Some(name) = self.closing.take() {
            return Some(Piece::Close(name));
        }
        loop {
            let (text, after) = match self.rest.find('<') {
                Some(0) => ("", self.rest),
                Some(at) => self.rest.split_at(at),
                None => return None,
            };
            self.rest = after;
            if !text.trim().is_empty() {
                return Some(Piece::Text(unescape(text)));
            }
            let (tag, after) = after.get(1..)?.split_once('>')?;
            self.rest = after;
            if tag.starts_with(['?', '!']) {
                continue;
            }
            if let Some(name) = tag.strip_prefix('/') {
                return Some(Piece::Close(name.trim()));
            }
            let (tag, empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
            let (name, attributes) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
            self.closing = empty.then_some(name);
            return Some(Piece::Open(name, attributes));
        }
    }
}

/// Finds `name='value'` among attributes.
pub(super) fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = attributes;
    loop {
        let (key, after) = rest.split_once('=')?;
        let quote = after.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let (value, after) = after.get(1..)?.split_once(quote)?;
        if key.trim() == name {
            return Some(value);
        }
        rest = after;
    }
}

/// Replaces `&lt;` and its like; what is none stays as it is.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let known = after.split_once(';').and_then(|(name, after)| Some((entity(name)?, after)));
        if let Some((letter, after)) = known {
            out.push(letter);
            rest = after;
        } else {
            out.push('&');
            rest = after;
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn entity(name: &str) -> Option<char> {
    Some(match name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn documents_are_walked() {
        let text = "<?xml version='1.0'?>\n<a x='1' y=\"b c\">\n <b>1 &lt; 2 &amp;&#x41; &no; &</b><c/></a>";
        let found: Vec<Piece<'_>> = pieces(text).collect();
        assert_eq!(
            found,
            [
                Piece::Open("a", "x='1' y=\"b c\""),
                Piece::Open("b", ""),
                Piece::Text("1 < 2 &A &no; &".into()),
                Piece::Close("b"),
                Piece::Open("c", ""),
                Piece::Close("c"),
                Piece::Close("a"),
            ]
        );
        assert_eq!(attribute("x='1' y=\"b c\"", "y"), Some("b c"));
        assert_eq!(attribute("x='1'", "z"), None);
        assert_eq!(attribute("x=1", "x"), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "(?s)[<>/&;='\" a-c#x0-9é\n]{0,100}") {
            for piece in pieces(&text) {
                if let Piece::Open(_, attributes) = piece {
                    let _ = attribute(attributes, "a");
                }
            }
        }
    }
}
