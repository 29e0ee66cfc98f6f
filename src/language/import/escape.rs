//! Braces of others' texts, written so that a workflow reads none of them as a placeholder.

/// Who reads the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// Bash, in whose text a brace after a backslash is nobody's placeholder.
    Shell,
    /// A program, a path, a value.
    Plain,
}

/// Doubles the braces that would be read as a placeholder or as a doubled brace, and no others: `awk '{print $1}'` and
/// `${HOME}` stay as they are. Where a `{` was doubled, the next `}` is, too.
pub(super) fn escape(text: &str, reader: Reader) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len() + 16);
    let mut open = 0u32;
    let mut copied = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let double = match byte {
            b'{' => {
                let before = bytes.get(..at).unwrap_or_default();
                let after = bytes.get(at + 1..).unwrap_or_default();
                let backslashes = before.iter().rev().take_while(|&&byte| byte == b'\\').count();
                let escaped = reader == Reader::Shell && backslashes % 2 == 1;
                let placeholder = before.last() != Some(&b'$') && is_placeholder(after);
                let double = !escaped && (after.first() == Some(&b'{') || placeholder);
                open += u32::from(double);
                double
            }
            b'}' if open > 0 => {
                open -= 1;
                true
            }
            _ => false,
        };
        if double {
            out.push_str(text.get(copied..=at).unwrap_or_default());
            copied = at;
        }
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    out
}

/// Returns whether what follows a `{` makes a placeholder: identifiers with dots and indices up to a `}`.
fn is_placeholder(after: &[u8]) -> bool {
    let word = |from: usize| {
        let rest = after.get(from..).unwrap_or_default();
        let starts = rest.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
        let letters = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        starts.then(|| letters.count())
    };
    let Some(mut at) = word(0) else { return false };
    loop {
        match after.get(at) {
            Some(b'}') => return true,
            Some(b'.') => match word(at + 1) {
                Some(length) => at += 1 + length,
                None => return false,
            },
            Some(b'[') => {
                let digits =
                    after.get(at + 1..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count();
                if digits == 0 || after.get(at + 1 + digits) != Some(&b']') {
                    return false;
                }
                at += digits + 2;
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_would_be_misread_is_doubled() {
        for (text, escaped) in [
            ("awk '{print $1}' ${HOME} {a,b} {1..3} { x; } {}", "awk '{print $1}' ${HOME} {a,b} {1..3} { x; } {}"),
            ("{cpus}", "{{cpus}}"),
            ("{inputs[0]} {item.stem}", "{{inputs[0]}} {{item.stem}}"),
            ("a}}b", "a}}b"),
            ("{{x}}", "{{{{x}}}}"),
            ("${{ x }}", "${{{ x }}}"),
            ("awk '{if (x) {print}}'", "awk '{if (x) {{print}}}'"),
            ("{x", "{x"),
        ] {
            assert_eq!(escape(text, Reader::Plain), escaped, "{text}");
        }
        assert_eq!(escape(r"\{x} \\{x}", Reader::Shell), r"\{x} \\{{x}}");
        assert_eq!(escape(r"\{x}", Reader::Plain), r"\{{x}}");
    }
}
