//! Command lists: every line is a shell command. One task with a row per line, so that a line that was done before is not
//! run again when others are added, and 100,000 of them cost little.

use std::collections::HashSet;

use crate::language::import::draft::{DraftTask, Foreach, Resources, Run, Text, task_name};
use crate::model::diagnostic::{Diagnostic, Span};

/// Words that open or close a construct of several lines.
const PARTS: &[&str] = &["do", "done", "then", "else", "elif", "fi", "esac", "}", ";;"];

/// Words that change the shell they run in.
const STATE: &[&str] = &["cd", "export", "source", ".", "alias", "module", "set", "ulimit", "umask", "wait", "conda"];

/// Reads a list. Returns its task, and what will surprise.
///
/// # Errors
/// The mistakes found, when no command is there or lines belong together.
pub(super) fn read(text: &str, file: &str) -> Result<(DraftTask, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut notes = Vec::new();
    let mut errors = Vec::new();
    let mut commands = Vec::new();
    let mut seen = HashSet::new();
    let mut repeated = None;
    for (line, span) in lines(text) {
        if let Some(word) = part_of_more(line) {
            if errors.len() < 10 {
                let message =
                    format!("`{word}` belongs to a construct of several lines, and every line runs by itself");
                let help = "join the lines with `;`, or give the file as one task: `csync import --format sbatch`";
                errors.push(Diagnostic::error(span, message).help(help));
            }
            continue;
        }
        if notes.is_empty() {
            notes.extend(surprise(line, span));
        }
        if seen.insert(line) {
            commands.push(line.to_owned());
        } else {
            repeated.get_or_insert(span);
        }
    }
    if let Some(span) = repeated {
        let message = "the same command stands here again; it runs once";
        notes.push(
            Diagnostic::warning(span, message).help("make the lines differ, for example by a comment at the end"),
        );
    }
    if commands.is_empty() && errors.is_empty() {
        errors.push(Diagnostic::error(None, "there is no command in it").help("write one command per line"));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let name = task_name(file);
    let task = DraftTask {
        comments: vec![
            "Every line by a bash of its own, as from a terminal. Add cpus, mem and time as the commands need."
                .to_owned(),
        ],
        foreach: Foreach::Texts(commands),
        run: Run::Argv(vec![
            Text::Literal("bash".to_owned()),
            Text::Literal("-c".to_owned()),
            Text::Template("{item}".to_owned()),
        ]),
        resources: Resources { cpus: Some(1), ..Resources::default() },
        name,
        ..DraftTask::default()
    };
    Ok((task, notes))
}

/// Returns the commands with their places: comments and empty lines are left out, lines that end with a backslash joined.
fn lines(text: &str) -> impl Iterator<Item = (&str, Span)> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        loop {
            let start = rest;
            let mut end = start;
            for line in text.get(start..)?.split_inclusive('\n') {
                end += line.len();
                let bare = line.trim_end_matches(['\n', '\r']);
                let comment = end - line.len() == start && bare.trim_start().starts_with('#');
                let slashes = bare.bytes().rev().take_while(|&b| b == b'\\').count();
                if comment || slashes % 2 == 0 {
                    break;
                }
            }
            if end == start {
                return None;
            }
            rest = end;
            let whole = text.get(start..end)?;
            let trimmed = whole.trim();
            if !trimmed.is_empty() && !trimmed.starts_with('#') {
                let at = start + (whole.len() - whole.trim_start().len());
                return Some((trimmed, Span::new(at, at + trimmed.len())));
            }
        }
    })
}

fn first_word(line: &str) -> &str {
    line.split(|c: char| c.is_whitespace() || c == ';').next().unwrap_or(line)
}

/// Returns the word that shows a line to be a part of something longer.
fn part_of_more(line: &str) -> Option<&str> {
    let first = first_word(line);
    if PARTS.contains(&first) {
        return Some(first);
    }
    let last = line.rsplit(|c: char| c.is_whitespace() || c == ';').next().unwrap_or(line);
    let opens = matches!(first, "for" | "while" | "until" | "if" | "case" | "select");
    (opens && matches!(last, "do" | "then" | "in")).then_some(last)
}

/// Warns of a line that does not do by itself what it does in a script.
fn surprise(line: &str, span: Span) -> Option<Diagnostic> {
    let first = first_word(line);
    let alone = !line.contains("&&") && !line.contains(';') && !line.contains('|');
    let assigns = alone && !line.contains(char::is_whitespace) && line.contains('=') && !line.starts_with('-');
    if alone && STATE.contains(&first) || assigns {
        let message = "every line runs in a shell of its own, so this has no effect on the others";
        return Some(Diagnostic::warning(span, message).help("put it in front of the commands: `cd dir && command`"));
    }
    let background = line.ends_with('&') && !line.ends_with("&&");
    background.then(|| {
        let message =
            "csync runs the lines side by side already; what this starts in the background is ended with its line";
        Diagnostic::warning(span, message).help("remove the `&` at the end")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(text: &str) -> Vec<String> {
        match read(text, "list").unwrap().0.foreach {
            Foreach::Texts(commands) => commands,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_are_commands() {
        let text = "#!/bin/bash\n# a comment\n\n  echo 1 # kept\necho 2\\\n  more\necho '{cpus}' \\\\\necho last";
        assert_eq!(commands(text), ["echo 1 # kept", "echo 2\\\n  more", "echo '{cpus}' \\\\", "echo last"]);
    }

    #[test]
    fn a_comment_with_a_backslash_does_not_eat_the_next_line() {
        assert_eq!(commands("# note \\\necho 1\necho 2 \\"), ["echo 1", "echo 2 \\"]);
    }

    #[test]
    fn a_repeated_line_runs_once_and_is_told() {
        let (task, notes) = read("true\nfalse\ntrue\n", "list").unwrap();
        assert_eq!(task.foreach, Foreach::Texts(vec!["true".to_owned(), "false".to_owned()]));
        assert_eq!(notes.len(), 1);
        assert_eq!(notes[0].span, Some(Span::new(11, 15)));
    }

    #[test]
    fn scripts_are_not_lists() {
        let text = "for i in 1 2 3; do\n  echo $i\ndone\n";
        let errors = read(text, "list").unwrap_err();
        let places: Vec<_> = errors.iter().filter_map(|error| error.span).map(|span| &text[span.range()]).collect();
        assert_eq!(places, ["for i in 1 2 3; do", "done"]);
        assert!(read("# nothing\n\n", "list").is_err());
        assert_eq!(commands("for i in 1 2; do echo $i; done"), ["for i in 1 2; do echo $i; done"]);
    }

    #[test]
    fn lines_that_change_only_their_own_shell_are_told() {
        for line in ["cd /data", "export A=1", "A=1", "module load x", "sleep 9 &"] {
            assert_eq!(read(line, "list").unwrap().1.len(), 1, "{line}");
        }
        for line in ["cd /data && ls", "A=1 cmd", "a && b", "cmd --x=1", "echo a&&b"] {
            assert_eq!(read(line, "list").unwrap().1, [], "{line}");
        }
    }
}
