//! Programs that start another: where the one that does the work begins.

use crate::language::shell::options::read;
use crate::language::shell::tables::{
    COMMAND, DOAS, ENV, EXEC, FLOCK, IONICE, NICE, NOTHING, NUMACTL, PARALLEL, SCREEN, SCRIPT, SETSID, SHELL, SSHPASS,
    STDBUF, SUDO, SYSTEMD_RUN, TASKSET, TIME, TIMEOUT, TMUX, TMUX_KEYS, TMUX_NEW, Table, WATCH, XARGS,
};
use crate::language::shell::word::{Means, Word};

/// Deepest nesting of wrappers that is followed.
const DEEPEST: usize = 8;

/// Where the program stands that does the work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unwrapped {
    /// Its word.
    pub head: usize,
    /// The words of the programs around it.
    pub around: Vec<usize>,
    /// Whether it is started more than once, or with words that are not known yet: `xargs`, `parallel`, `watch`.
    pub many: bool,
    /// Whether it runs as another user.
    pub as_other: bool,
    /// Whether it is given a terminal of its own.
    pub has_terminal: bool,
}

/// What stands between a wrapper's options and the program.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Between {
    /// Nothing.
    Nothing,
    /// Settings of variables: `A=b`.
    Settings,
    /// This many words.
    Words(usize),
}

/// Returns how a wrapper is read.
fn wrapper(name: &str) -> Option<(&'static Table, Between)> {
    Some(match name {
        "sudo" => (&SUDO, Between::Settings),
        "doas" => (&DOAS, Between::Settings),
        "env" => (&ENV, Between::Settings),
        "timeout" | "gtimeout" => (&TIMEOUT, Between::Words(1)),
        "nohup" | "chronic" | "unbuffer" => (&NOTHING, Between::Nothing),
        "nice" => (&NICE, Between::Nothing),
        "ionice" => (&IONICE, Between::Nothing),
        "time" | "gtime" => (&TIME, Between::Nothing),
        "xargs" | "gxargs" => (&XARGS, Between::Nothing),
        "parallel" => (&PARALLEL, Between::Nothing),
        "stdbuf" => (&STDBUF, Between::Nothing),
        "setsid" => (&SETSID, Between::Nothing),
        "exec" => (&EXEC, Between::Nothing),
        "command" | "builtin" => (&COMMAND, Between::Nothing),
        "watch" => (&WATCH, Between::Nothing),
        "taskset" => (&TASKSET, Between::Words(1)),
        "numactl" => (&NUMACTL, Between::Nothing),
        "sshpass" => (&SSHPASS, Between::Nothing),
        "screen" => (&SCREEN, Between::Nothing),
        "flock" => (&FLOCK, Between::Words(1)),
        "systemd-run" => (&SYSTEMD_RUN, Between::Nothing),
        _ => return None,
    })
}

/// Returns a program's name without its directory.
pub(super) fn base(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Finds the program that does the work. None where that is not known for sure.
pub fn unwrap(words: &[Word]) -> Option<Unwrapped> {
    let mut found = Unwrapped::default();
    loop {
        let head = words.get(found.head)?;
        // `parallel "$run {}"`: which one nobody knows, but that there is one.
        let Some(name) = head.fixed().map(base) else { return found.many.then_some(found) };
        let Some((table, between)) = wrapper(name) else { return Some(found) };
        if found.around.len() == DEEPEST {
            return None;
        }
        let reading = read(table, words, found.head + 1)?;
        let has = |names: &[&str]| reading.options.iter().any(|option| names.contains(&option.name));
        // What these start is not a word of the line: a text that is split again, an editor, a login shell, a description.
        let otherwise = match name {
            "env" => has(&["split-string"]),
            "sudo" => has(&["edit", "login", "shell", "list", "validate", "host", "chroot"]),
            "doas" => has(&["s"]),
            "command" => has(&["v", "V"]),
            "ionice" | "taskset" => has(&["pid", "pgid", "uid"]),
            // Sessions that are there already.
            "screen" => has(&["r", "R", "x", "X", "Q"]) || (has(&["d", "D"]) && !has(&["m"])),
            "systemd-run" => has(&["host", "machine", "shell"]),
            "parallel" => has(&["sshlogin", "sshloginfile", "slf", "onall", "nonall", "pipe", "pipe-part", "sem"]),
            _ => false,
        };
        if otherwise {
            return None;
        }
        found.many |= matches!(name, "xargs" | "gxargs" | "parallel" | "watch");
        found.as_other |= matches!(name, "sudo" | "doas");
        found.has_terminal |= matches!(name, "screen" | "unbuffer");
        found.around.push(found.head);
        found.head = behind(words, reading.next, between, found.many)?;
    }
}

/// Passes over what stands in front of the program.
fn behind(words: &[Word], mut at: usize, between: Between, many: bool) -> Option<usize> {
    match between {
        Between::Nothing => {}
        Between::Words(count) => {
            let passed = words.get(at..at + count)?;
            if passed.iter().any(|word| word.means == Means::AnyWords) {
                return None;
            }
            at += count;
        }
        Between::Settings => {
            while words.get(at).is_some_and(is_setting) {
                if words.get(at)?.means == Means::AnyWords {
                    return None;
                }
                at += 1;
            }
        }
    }
    // `parallel ::: a b` runs its arguments.
    let first = words.get(at)?;
    (!(many && first.text.starts_with(":::"))).then_some(at)
}

fn is_setting(word: &Word) -> bool {
    word.text.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty()
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// Returns the text that a shell is given to run: `bash -lc 'text'`. The words begin with the shell.
pub fn inner_script(words: &[Word]) -> Option<&str> {
    let head = base(words.first()?.fixed()?);
    if !matches!(head, "bash" | "sh" | "dash" | "zsh" | "ksh" | "mksh") {
        return None;
    }
    // To a shell `-c` is a flag, and its first operand the text. The table says that it takes a value: where it is the last
    // letter of its word and no option follows, that is the same.
    let reading = read(&SHELL, words, 1)?;
    let at = reading.options.iter().find(|option| option.name == "c" && option.known)?;
    let is_last = words.get(at.word)?.text.ends_with('c');
    at.value.filter(|value| is_last && !value.starts_with('-'))
}

/// What a program that gives others a terminal starts in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened<'w> {
    /// A text that a shell is given.
    Text(&'w str),
    /// A program and its arguments, from this word on.
    Words(usize),
}

/// Returns what `tmux` and `script` start in the terminals that they make. The words begin with the program.
pub fn in_terminal(words: &[Word]) -> Option<Opened<'_>> {
    match base(words.first()?.fixed()?) {
        "script" => {
            let reading = read(&SCRIPT, words, 1)?;
            let text = reading.options.iter().find(|option| option.name == "command" && option.known)?;
            text.value.map(Opened::Text)
        }
        "tmux" => {
            let verb = read(&TMUX, words, 1)?.next;
            let (table, types) = match words.get(verb)?.fixed()? {
                "new" | "new-session" | "neww" | "new-window" | "splitw" | "split-window" | "respawn-pane"
                | "respawnp" | "respawn-window" | "respawnw" => (&TMUX_NEW, false),
                // What is typed in a session.
                "send" | "send-keys" => (&TMUX_KEYS, true),
                _ => return None,
            };
            let at = read(table, words, verb + 1)?.next;
            if types || at + 1 == words.len() {
                words.get(at)?.fixed().map(Opened::Text)
            } else {
                Some(Opened::Words(at))
            }
        }
        _ => None,
    }
}
