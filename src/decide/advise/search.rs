//! Searches that `rg` and `fd` do faster, where they are installed and mean the same.

use crate::decide::advise::facts::Facts;
use crate::decide::advise::walk::{At, Line, Step};
use crate::decide::advise::{Advice, Kind};
use crate::language::quote::sh;
use crate::language::shell::{Output, Word};

/// Looks for recursive `grep` and for `find` by name.
pub(super) fn look(line: &Line<'_>, facts: &impl Facts, advice: &mut Vec<Advice>) {
    for step in line.steps.iter().filter(|step| step.own && step.at == At::Here && step.head == 0) {
        let Some(command) = line.command(step).filter(|command| !command.stands.in_heredoc) else { continue };
        let better = match step.program() {
            Some("grep" | "egrep" | "fgrep") if facts.has_program("rg") => grep(step).map(|text| ("rg", text)),
            // Others read what `find` prints, in its order.
            Some("find") if command.stands.output == Output::Inherited && facts.has_program("fd") => {
                find(step).map(|text| ("fd", text))
            }
            _ => None,
        };
        if let Some((program, better)) = better {
            let text = format!("`{program}` is installed and finds the same faster: `{better}`.");
            advice.push(Advice { kind: Kind::Search, text, command: step.command, change: None });
        }
    }
}

/// Returns the call of `rg` that finds what a recursive `grep` finds.
fn grep(step: &Step) -> Option<String> {
    let mut flags = vec!["-uuu".to_owned(), "--no-heading".to_owned()];
    let (mut recursive, mut numbers, mut extended) = (false, false, step.program() == Some("egrep"));
    let mut fixed = step.program() == Some("fgrep");
    let mut operands: Vec<&str> = Vec::new();
    for word in step.arguments() {
        let text = word.fixed()?;
        match text {
            "--recursive" => recursive = true,
            "--" => return None,
            _ if text.starts_with("--include=") => flags.push(format!("-g {}", sh(text.strip_prefix("--include=")?))),
            _ if text.starts_with("--exclude-dir=") => {
                flags.push(format!("-g {}", sh(&format!("!**/{}/**", text.strip_prefix("--exclude-dir=")?))));
            }
            _ if text.starts_with("--") => return None,
            _ => match text.strip_prefix('-').filter(|letters| !letters.is_empty()) {
                None => operands.push(text),
                Some(letters) => {
                    for letter in letters.chars() {
                        match letter {
                            'r' => recursive = true,
                            'n' => numbers = true,
                            'E' => extended = true,
                            'F' => fixed = true,
                            'i' | 'l' | 'w' | 'v' | 'H' => flags.push(format!("-{letter}")),
                            'I' => {}
                            _ => return None,
                        }
                    }
                }
            },
        }
    }
    let [pattern, paths @ ..] = operands.as_slice() else { return None };
    if !recursive || paths.is_empty() || !(fixed || means_the_same(pattern, extended)) {
        return None;
    }
    flags.push(if numbers { "-n" } else { "-N" }.to_owned());
    if fixed {
        flags.push("-F".to_owned());
    }
    let paths: Vec<_> = paths.iter().map(|path| sh(path)).collect();
    Some(format!("rg {} {} {}", flags.join(" "), sh(pattern), paths.join(" ")))
}

/// Says whether a pattern means the same to `grep` and to `rg`.
fn means_the_same(pattern: &str, extended: bool) -> bool {
    let plain = |letter: char| letter.is_alphanumeric() || " _-/:,=@%<>\"'#&;~!.^$*".contains(letter);
    // In basic expressions these are plain letters; brackets have classes and odd corners in both.
    let more = |letter: char| extended && "+?|()".contains(letter);
    !pattern.is_empty()
        && !pattern.starts_with('*')
        && !pattern.starts_with('-')
        && pattern.chars().all(|letter| plain(letter) || more(letter))
}

/// Returns the call of `fd` that finds what `find DIR [-type f|d] -name PATTERN` finds.
fn find(step: &Step) -> Option<String> {
    let words: Vec<&str> = step.arguments().iter().map(Word::fixed).collect::<Option<_>>()?;
    let (dir, tests) = match words.as_slice() {
        [dir, rest @ ..] if !dir.starts_with('-') => (*dir, rest),
        _ => return None,
    };
    let (kind, name) = match tests {
        ["-name", name] => (None, *name),
        ["-type", kind @ ("f" | "d"), "-name", name] | ["-name", name, "-type", kind @ ("f" | "d")] => {
            (Some(*kind), *name)
        }
        _ => return None,
    };
    // `find` names the directory itself too, where the pattern fits it.
    if kind != Some("f") && may_fit(name, dir.trim_end_matches('/').rsplit('/').next().unwrap_or(dir)) {
        return None;
    }
    let kind = kind.map(|kind| format!(" -t {kind}")).unwrap_or_default();
    let odd = |letter: char| matches!(letter, '[' | ']' | '{' | '}' | '\\' | '/');
    (!name.contains(odd) && !name.starts_with('-')).then(|| format!("fd -u -s{kind} -g {} {}", sh(name), sh(dir)))
}

/// Says whether a pattern may fit a name: what stands before its first and behind its last wildcard does.
fn may_fit(pattern: &str, name: &str) -> bool {
    let wild = ['*', '?'];
    let (Some(first), Some(last)) = (pattern.find(wild), pattern.rfind(wild)) else { return pattern == name };
    let (head, tail) = (pattern.get(..first).unwrap_or_default(), pattern.get(last + 1..).unwrap_or_default());
    name.starts_with(head) && name.ends_with(tail) && name.len() >= head.len() + tail.len()
}
