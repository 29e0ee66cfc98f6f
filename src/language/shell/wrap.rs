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
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Unwrapped {
    /// Its word.
    pub head: usize,
    /// The words of the programs around it.
    pub around: Vec<usize>,
    /// Whether it is started more than once, with words that are not known yet: `xargs`, `parallel`.
    pub many: bool,
    /// Whether it is started again and again as it is: `watch`.
    pub again: bool,
    /// Whether something in front of it expands, which may put other words there: `env A=$B program`.
    pub unsure: bool,
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
        let Some(name) = head.fixed().map(base) else { return (found.many || found.again).then_some(found) };
        let Some((table, between)) = wrapper(name) else { return Some(found) };
        if found.around.len() == DEEPEST {
            return None;
        }
        let reading = read(table, in_front(words, found.head + 1, between)?, found.head + 1)?;
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
        found.many |= matches!(name, "xargs" | "gxargs" | "parallel");
        found.again |= name == "watch";
        found.as_other |= matches!(name, "sudo" | "doas");
        found.has_terminal |= matches!(name, "screen" | "unbuffer");
        found.around.push(found.head);
        let head = behind(words, reading.next, between, found.many)?;
        found.unsure |= words.get(reading.next..head)?.iter().any(may_be_other);
        found.head = head;
    }
}

/// Says whether a word may become several, or one that is an option.
fn may_be_other(word: &Word) -> bool {
    word.means == Means::AnyWords || (word.means == Means::OneWord && word.text.is_empty())
}

/// Returns the words among which a wrapper's options are: what expands in front of the program is none of them.
fn in_front(words: &[Word], from: usize, between: Between) -> Option<&[Word]> {
    let expands = words.iter().skip(from).position(may_be_other);
    match expands.filter(|_| between != Between::Nothing) {
        Some(at) => words.get(..from + at),
        None => Some(words),
    }
}

/// Passes over what stands in front of the program.
fn behind(words: &[Word], mut at: usize, between: Between, many: bool) -> Option<usize> {
    match between {
        Between::Nothing => {}
        Between::Words(count) => at += count,
        Between::Settings => {
            while words.get(at).is_some_and(is_setting) {
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

fn is_shell(word: &Word) -> bool {
    matches!(word.fixed().map(base), Some("bash" | "sh" | "dash" | "zsh" | "ksh" | "mksh"))
}

/// Says whether a shell runs what it reads: `bash -s`, `sh -`, `bash`. The words begin with the shell.
pub fn reads_input(words: &[Word]) -> bool {
    let Some(reading) = words.first().filter(|word| is_shell(word)).and_then(|_| read(&SHELL, words, 1)) else {
        return false;
    };
    let has = |name: &str| reading.options.iter().any(|option| option.name == name);
    let first = words.get(reading.next).map(Word::fixed);
    // `-n` reads and runs nothing.
    let otherwise = ["c", "n", "help", "version", "dump-strings"].iter().any(|name| has(name));
    !otherwise && (has("s") || matches!(first, None | Some(Some("-" | "/dev/stdin"))))
}

/// Returns the text that a shell is given to run: `bash -lc 'text'`. The words begin with the shell.
pub fn inner_script(words: &[Word]) -> Option<&Word> {
    words.first().filter(|word| is_shell(word))?;
    // To a shell `-c` is a flag, and its first operand the text. The table says that it takes a value: where it is the last
    // letter of its word and no option follows, that is the same.
    let reading = read(&SHELL, words, 1)?;
    let at = reading.options.iter().find(|option| option.name == "c")?;
    let is_last = words.get(at.word)?.text.ends_with('c') && at.value.is_some();
    words.get(at.word + 1).filter(|text| is_last && !text.text.starts_with('-'))
}

/// What a program that gives others a terminal starts in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened<'w> {
    /// A text that a shell is given, and whether nothing in it expands.
    Text(&'w str, bool),
    /// A program and its arguments, from this word on.
    Words(usize),
}

/// Returns what `tmux` and `script` start in the terminals that they make. The words begin with the program.
pub fn in_terminal(words: &[Word]) -> Option<Opened<'_>> {
    match base(words.first()?.fixed()?) {
        "script" => {
            let reading = read(&SCRIPT, words, 1)?;
            let text = reading.options.iter().find(|option| option.name == "command" && option.known)?;
            text.value.map(|value| Opened::Text(value, true))
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
                words.get(at).map(|word| Opened::Text(word.shown(), word.fixed().is_some()))
            } else {
                Some(Opened::Words(at))
            }
        }
        _ => None,
    }
}
