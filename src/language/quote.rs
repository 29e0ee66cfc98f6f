//! The one quoting function: nothing reaches a shell that did not pass through here.

use std::borrow::Cow;

use crate::model::task::Quote;

/// Words that bash reads as syntax where a command may stand.
const RESERVED: [&str; 17] = [
    "case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if", "in", "select", "then",
    "time", "until", "while",
];

/// Returns whether a text means itself wherever it stands in a shell command, quoted or not.
pub fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b'+' | b':' | b'@' | b'%' | b',' | b'-')
    };
    !text.is_empty() && text.bytes().all(plain)
}

/// Quotes a text as one word of a POSIX shell command.
///
/// ```
/// use csync::language::quote::sh;
/// assert_eq!(sh("reads/A.fastq"), "reads/A.fastq");
/// assert_eq!(sh("it's"), r"'it'\''s'");
/// ```
pub fn sh(text: &str) -> Cow<'_, str> {
    if is_plain(text) && !RESERVED.contains(&text) {
        return Cow::Borrowed(text);
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    single(text, &mut quoted);
    quoted.push('\'');
    Cow::Owned(quoted)
}

/// Appends a text so that it stands for itself in the given place.
pub(in crate::language) fn push(text: &str, quote: Quote, to: &mut String) {
    match quote {
        Quote::Raw => to.push_str(text),
        Quote::Bare => to.push_str(&sh(text)),
        Quote::Single => single(text, to),
        Quote::Double => {
            for letter in text.chars() {
                if matches!(letter, '"' | '\\' | '$' | '`') {
                    to.push('\\');
                }
                to.push(letter);
            }
        }
    }
}

/// Appends a text inside `'...'`.
fn single(text: &str, to: &mut String) {
    let mut parts = text.split('\'');
    to.push_str(parts.next().unwrap_or_default());
    for part in parts {
        to.push_str("'\\''");
        to.push_str(part);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// Lets bash print words made of these texts, each quoted for its place.
    fn through_bash(texts: &[(String, Quote)]) -> Vec<String> {
        let mut script = String::from("printf '%s\\0'");
        for (text, quote) in texts {
            let (open, close) = match quote {
                Quote::Single => (" '", "'"),
                Quote::Double => (" \"", "\""),
                Quote::Bare | Quote::Raw => (" ", ""),
            };
            script.push_str(open);
            push(text, *quote, &mut script);
            script.push_str(close);
        }
        let output = Command::new("bash").args(["-euo", "pipefail", "-c", &script]).output().unwrap();
        assert!(output.status.success(), "{script}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    #[test]
    fn odd_texts_come_through_every_kind_of_quotes() {
        let texts = [
            "", " ", "a b", "it's", "\"", "$HOME", "`id`", "$(id)", "\\", "a\nb", "~", "*", "{a,b}", "!!", "#x", "-n",
            "=", "a=b", "\t", "é☃", "\u{1}", "'\\''", "if", "&&", "x;y", "\r\n", "$'x'", "%s", "\\n",
        ];
        let places = [Quote::Bare, Quote::Single, Quote::Double];
        let all: Vec<_> = texts.iter().flat_map(|text| places.map(|quote| ((*text).to_owned(), quote))).collect();
        let expected: Vec<String> = all.iter().map(|(text, _)| text.clone()).collect();
        assert_eq!(through_bash(&all), expected);
    }

    #[test]
    fn words_of_the_shell_are_quoted() {
        assert_eq!(sh("if"), "'if'");
        assert_eq!(sh("iff"), "iff");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_text_comes_through(texts in prop::collection::vec("[^\0]{0,20}", 1..20)) {
            let places = [Quote::Bare, Quote::Single, Quote::Double];
            let all: Vec<_> = texts.iter().flat_map(|text| places.map(|quote| (text.clone(), quote))).collect();
            let expected: Vec<String> = all.iter().map(|(text, _)| text.clone()).collect();
            prop_assert_eq!(through_bash(&all), expected);
        }
    }
}
