//! Lines of a batch script that speak to the batch system, taken apart into words with their places.

use crate::model::diagnostic::Span;

/// A word of a directive, unquoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Its text.
    pub(super) text: String,
    /// Its place in the script.
    pub(super) span: Span,
}

/// A script taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Script {
    /// What follows `#!` in the first line.
    pub(super) shebang: Option<String>,
    /// The directives, in order.
    pub(super) directives: Vec<Vec<Word>>,
    /// Directives that the batch system ignores, as they follow the first command.
    pub(super) late: Vec<Span>,
    /// Everything else, as it stands.
    pub(super) body: String,
}

/// Where directives may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Region {
    /// Before the first command (Slurm, PBS).
    Head,
    /// Anywhere (Grid Engine reads the whole file).
    Anywhere,
}

/// Takes a script apart.
///
/// `prefix` is what a directive's line starts with; words follow it after a blank, or at once where they start with `-`.
pub(super) fn split(text: &str, prefix: &str, region: Region) -> Script {
    let mut script = Script::default();
    let mut started = false;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let start = offset;
        offset += line.len();
        let bare = line.trim_end_matches(['\n', '\r']);
        if start == 0
            && let Some(shebang) = bare.strip_prefix("#!")
        {
            script.shebang = Some(shebang.trim().to_owned());
            continue;
        }
        if let Some(rest) = directive(bare, prefix) {
            if !started || region == Region::Anywhere {
                script.directives.push(words(rest, start + bare.len() - rest.len()));
                if !started {
                    continue;
                }
            } else {
                script.late.push(Span::new(start, start + bare.len()));
            }
        }
        let trimmed = bare.trim_start();
        started |= !trimmed.is_empty() && !trimmed.starts_with('#');
        if started || !trimmed.is_empty() || !script.body.is_empty() {
            script.body.push_str(line);
        }
    }
    script
}

/// Returns what follows the prefix, if the line is a directive.
pub(super) fn directive<'a>(line: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(prefix)?;
    let words = rest.trim_start();
    // `#$` opens plenty of comments that are none of Grid Engine's business.
    (words.starts_with('-') || (prefix != "#$" && words.len() < rest.len())).then_some(rest)
}

/// Splits a directive into words as a shell would: quotes, backslashes, and a comment at the end.
fn words(text: &str, base: usize) -> Vec<Word> {
    let mut words = Vec::new();
    let mut current: Option<(String, usize)> = None;
    let mut quote = None;
    let mut chars = text.char_indices();
    let mut end = 0;
    while let Some((at, c)) = chars.next() {
        end = at + c.len_utf8();
        match (quote, c) {
            (None, '#') if current.is_none() => {
                end = at;
                break;
            }
            (None, c) if c.is_whitespace() => {
                if let Some((text, start)) = current.take() {
                    words.push(Word { text, span: Span::new(base + start, base + at) });
                }
                continue;
            }
            (None, '"' | '\'') => {
                quote = Some(c);
                current.get_or_insert_with(|| (String::new(), at));
                continue;
            }
            (Some(open), c) if c == open => {
                quote = None;
                continue;
            }
            _ => {}
        }
        let (word, _) = current.get_or_insert_with(|| (String::new(), at));
        if c == '\\' && quote != Some('\'') {
            if let Some((at, escaped)) = chars.next() {
                end = at + escaped.len_utf8();
                word.push(escaped);
            }
        } else {
            word.push(c);
        }
    }
    if let Some((text, start)) = current {
        words.push(Word { text, span: Span::new(base + start, base + end) });
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        words(line, 0).into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn words_are_split_as_a_shell_does() {
        for (line, expected) in [
            (" --time=1:00 -c 4", vec!["--time=1:00", "-c", "4"]),
            (r#" -J "two words" # why"#, vec!["-J", "two words"]),
            (r" --comment=a\ b", vec!["--comment=a b"]),
            (" --x=a#b", vec!["--x=a#b"]),
            (" -v 'B=\"x,y\"'", vec!["-v", "B=\"x,y\""]),
            ("   ", vec![]),
            (" -J ''", vec!["-J", ""]),
        ] {
            assert_eq!(texts(line), expected, "{line}");
        }
    }

    #[test]
    fn spans_cover_the_words() {
        let text = "#!/bin/bash\n#SBATCH -J  'a b' # note\necho\n";
        let script = split(text, "#SBATCH", Region::Head);
        let words = &script.directives[0];
        assert_eq!(words.iter().map(|word| &text[word.span.range()]).collect::<Vec<_>>(), ["-J", "'a b'"]);
    }

    #[test]
    fn the_body_is_what_is_left() {
        let text = "#!/bin/bash -l\n\n#SBATCH -c 4\n# hello\n#SBATCH -n 2\n\necho 1\n#SBATCH -p late\n";
        let script = split(text, "#SBATCH", Region::Head);
        assert_eq!(script.shebang.as_deref(), Some("/bin/bash -l"));
        assert_eq!(script.directives.len(), 2);
        assert_eq!(script.late.len(), 1);
        assert_eq!(script.body, "# hello\n\necho 1\n#SBATCH -p late\n");
    }

    #[test]
    fn grid_engine_reads_the_whole_file_and_no_other_comments() {
        let text = "#$ -cwd\n#$HOME is not ours\necho\n#$ -q late\n";
        let script = split(text, "#$", Region::Anywhere);
        assert_eq!(script.directives.len(), 2);
        assert_eq!(script.body, "#$HOME is not ours\necho\n#$ -q late\n");
    }
}
