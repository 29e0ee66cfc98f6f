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

/// A recursive `grep`, as far as `rg` has the same.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
struct Grep<'w> {
    recursive: bool,
    numbers: bool,
    extended: bool,
    fixed: bool,
    /// Files that are no text are passed over.
    text_only: bool,
    flags: Vec<String>,
    /// Patterns of files; the last that fits decides, so what is left out comes behind what is taken.
    takes: Vec<&'w str>,
    leaves: Vec<&'w str>,
    operands: Vec<&'w str>,
}

impl<'w> Grep<'w> {
    fn read(step: &'w Step) -> Option<Self> {
        let (extended, fixed) = (step.program() == Some("egrep"), step.program() == Some("fgrep"));
        let mut grep = Self { extended, fixed, ..Self::default() };
        for word in step.arguments() {
            let text = word.fixed()?;
            if let Some(files) = text.strip_prefix("--include=") {
                grep.takes.push(files);
            } else if let Some(dir) = text.strip_prefix("--exclude-dir=") {
                grep.leaves.push(dir);
            } else if text == "--recursive" {
                grep.recursive = true;
            } else if text.starts_with("--") {
                return None;
            } else if let Some(letters) = text.strip_prefix('-').filter(|letters| !letters.is_empty()) {
                letters.chars().try_for_each(|letter| grep.take(letter))?;
            } else {
                grep.operands.push(text);
            }
        }
        Some(grep)
    }

    fn take(&mut self, letter: char) -> Option<()> {
        match letter {
            'r' => self.recursive = true,
            'n' => self.numbers = true,
            'E' => self.extended = true,
            'F' => self.fixed = true,
            'I' => self.text_only = true,
            'i' | 'l' | 'w' | 'v' | 'H' => self.flags.push(format!("-{letter}")),
            _ => return None,
        }
        Some(())
    }
}

/// Returns the call of `rg` that finds what a recursive `grep` finds.
fn grep(step: &Step) -> Option<String> {
    let grep = Grep::read(step)?;
    let [pattern, paths @ ..] = grep.operands.as_slice() else { return None };
    if !grep.recursive || paths.is_empty() || !(grep.fixed || means_the_same(pattern, grep.extended)) {
        return None;
    }
    // To `grep` these are patterns of names; to `rg` a slash is a path's, and braces are choices.
    let is_name = |glob: &&str| glob.chars().all(|letter| letter.is_alphanumeric() || "._-+*?".contains(letter));
    if pattern.starts_with('-') || !grep.takes.iter().chain(&grep.leaves).all(is_name) {
        return None;
    }
    let mut words = vec![if grep.text_only { "rg -uu" } else { "rg -uuu" }.to_owned(), "--no-heading".to_owned()];
    words.extend(grep.flags);
    words.extend(grep.takes.iter().map(|files| format!("-g {}", sh(files))));
    words.extend(grep.leaves.iter().map(|dir| format!("-g {}", sh(&format!("!**/{dir}/**")))));
    words.push(if grep.numbers { "-n" } else { "-N" }.to_owned());
    words.extend(grep.fixed.then(|| "-F".to_owned()));
    words.push(sh(pattern).into_owned());
    words.extend(paths.iter().map(|path| sh(path).into_owned()));
    Some(words.join(" "))
}

/// Says whether a pattern means the same to `grep` and to `rg`.
fn means_the_same(pattern: &str, extended: bool) -> bool {
    // What stands in front of a letter; at the start, nothing that could be repeated.
    let mut before = '(';
    let mut open = 0_u32;
    for (at, letter) in pattern.char_indices() {
        let is_last = at + letter.len_utf8() == pattern.len();
        let same = match letter {
            // In basic expressions these are anchors at the ends alone; elsewhere `grep` looks for the letter, or refuses.
            '^' => at == 0,
            '$' => is_last && at > 0,
            // Repeated twice, or nothing repeated: `a+?` is one thing here and another there.
            '*' => !"(|^*+?".contains(before),
            '+' | '?' if extended => !"(|^*+?".contains(before),
            '|' if extended => !is_last && !"(|^".contains(before),
            '(' if extended => {
                open += 1;
                true
            }
            ')' if extended && open > 0 => {
                open -= 1;
                !"(|".contains(before)
            }
            letter => letter.is_alphanumeric() || " _-/:,=@%<>\"'#&;~!.".contains(letter),
        };
        if !same {
            return false;
        }
        before = if letter == ')' { 'x' } else { letter };
    }
    open == 0 && !pattern.is_empty()
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
