//! Commands that destroy what cannot be brought back.

use std::sync::Arc;

use crate::decide::advise::facts::{Facts, HostFacts};
use crate::decide::advise::walk::{At, Line, Step};
use crate::decide::advise::{Advice, Kind};
use crate::language::shell::{Means, Word};

/// Directories of the system, and those that hold everybody's data.
const ROOTS: &[&str] = &[
    "/",
    "/bin",
    "/boot",
    "/data",
    "/dev",
    "/etc",
    "/gpfs",
    "/home",
    "/lib",
    "/lib64",
    "/lustre",
    "/mnt",
    "/opt",
    "/proc",
    "/project",
    "/projects",
    "/root",
    "/sbin",
    "/scratch",
    "/srv",
    "/sys",
    "/usr",
    "/var",
    "/work",
];

/// Directories of the system below which nothing is a person's own.
const SYSTEM: &[&str] = &["/bin/", "/boot/", "/etc/", "/lib/", "/sbin/", "/usr/", "/var/lib/", "/var/log"];

/// Looks for dangers, in texts within the line too.
pub(super) fn look(line: &Line<'_>, facts: &impl Facts, advice: &mut Vec<Advice>) {
    let here = facts.here();
    for step in &line.steps {
        let heredoc = line.command(step).is_none_or(|command| command.stands.in_heredoc);
        let Some(program) = step.program().filter(|_| !heredoc) else { continue };
        let danger = match program {
            "rm" => removes(step, here.as_ref()),
            "scancel" => scancel(step),
            "qdel" | "bkill" => kills_all(step, program),
            "dd" => writes_device(step),
            "shred" | "wipefs" | "blkdiscard" | "sgdisk" if names_device(step) => {
                Some(format!("`{program}` erases a whole device."))
            }
            "git" => pushes(step),
            _ if program == "mkfs" || program.starts_with("mkfs.") => {
                Some(format!("`{program}` makes a new filesystem: all that is on the device is gone."))
            }
            _ => None,
        };
        if let Some(danger) = danger {
            let text = format!("{danger}{} There is no way back.", place(&step.at));
            advice.push(Advice { kind: Kind::Danger, text, command: step.command, change: None });
        }
    }
}

fn place(at: &At) -> String {
    match at {
        At::There(_, name) | At::Node(_, name) => format!(" It would happen on {name}."),
        At::Here | At::Inside => String::new(),
    }
}

/// `rm -r` of a root, of a directory of the system, or of what other machines see too.
fn removes(step: &Step, here: Option<&Arc<HostFacts>>) -> Option<String> {
    let flag = |word: &Word, letters: [char; 2], long: &str| {
        let text = word.text.as_str();
        text == long || (text.starts_with('-') && !text.starts_with("--") && text.contains(letters))
    };
    if !step.arguments().iter().any(|word| flag(word, ['r', 'R'], "--recursive")) {
        return None;
    }
    let host = match &step.at {
        At::Here => here,
        At::There(host, _) => host.as_ref(),
        At::Node(host, _) => Some(host),
        At::Inside => None,
    };
    step.arguments().iter().filter(|word| !word.text.starts_with('-')).find_map(|word| target(step, word, host))
}

fn target(step: &Step, word: &Word, host: Option<&Arc<HostFacts>>) -> Option<String> {
    let raw = word.text.as_str();
    if raw == "~" && word.span.len() <= 2 {
        return Some("`rm -r` of ~: all that is in the home directory goes.".to_owned());
    }
    if word.means != Means::Itself && (raw.is_empty() || raw == "~") {
        // `*`, and what the shell makes of a variable: nobody knows.
        return None;
    }
    let path = step.absolute(raw)?;
    let bare = if path.len() > 1 { path.trim_end_matches('/') } else { path.as_str() };
    let bare = if bare.is_empty() { "/" } else { bare };
    // `/scratch/*` is what is in it; `/scratch/$USER` is not known to be all of it.
    let whole = word.means == Means::Itself || path.ends_with('/');
    if whole && ROOTS.contains(&bare) {
        return Some(format!(
            "`rm -r` of {bare}: everything below it goes, other people's files too where permissions let it."
        ));
    }
    if SYSTEM.iter().any(|dir| path.starts_with(dir)) {
        return Some(format!("`rm -r` of {path}, which belongs to the system."));
    }
    let host = host?;
    let shared = host.shared.iter().find(|dir| is_below(&path, dir))?;
    Some(format!("`rm -r` of {path}: {shared} is shared by every machine of {} that mounts it.", host.name))
}

fn is_below(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// `scancel` by user, account, partition or state instead of by job.
fn scancel(step: &Step) -> Option<String> {
    let wide = [
        "-u",
        "--user",
        "-A",
        "--account",
        "-p",
        "--partition",
        "-t",
        "--state",
        "-q",
        "--qos",
        "--me",
        "-n",
        "--name",
    ];
    let named = |word: &Word| {
        let text = word.text.as_str();
        wide.iter().find(|option| {
            text == **option
                || text
                    .strip_prefix(**option)
                    .is_some_and(|rest| rest.starts_with('=') || (!option.starts_with("--") && !rest.is_empty()))
        })
    };
    let option = step.arguments().iter().find_map(named)?;
    Some(format!(
        "`scancel {option}` cancels every job that it fits, also those that others of your sessions and csync submitted."
    ))
}

fn kills_all(step: &Step, program: &str) -> Option<String> {
    let first = step.arguments().iter().map(|word| word.text.as_str());
    let wide = first
        .into_iter()
        .find(|text| matches!((program, *text), ("qdel", "-u" | "all" | "-uall") | ("bkill", "-u" | "0")))?;
    Some(format!("`{program} {wide}` ends every job that it fits, not those of this work alone."))
}

fn writes_device(step: &Step) -> Option<String> {
    let to = step.arguments().iter().find_map(|word| word.text.strip_prefix("of=/dev/"))?;
    let harmless = ["null", "zero", "stdout", "stderr", "tty", "shm/"].iter().any(|name| to.starts_with(name));
    (!harmless).then(|| format!("`dd` overwrites the device /dev/{to}."))
}

fn names_device(step: &Step) -> bool {
    step.arguments().iter().any(|word| word.text.starts_with("/dev/") && !word.text.starts_with("/dev/shm/"))
}

/// A forced push, on another machine or over `ssh`.
fn pushes(step: &Step) -> Option<String> {
    let mut words = step.arguments().iter().map(|word| word.text.as_str()).skip_while(|word| *word != "push").skip(1);
    let arguments: Vec<&str> = words.by_ref().collect();
    let forced = arguments
        .iter()
        .any(|word| matches!(*word, "--force" | "-f" | "--mirror") || (word.starts_with('+') && word.len() > 1));
    let by_ssh = arguments.iter().any(|word| word.starts_with("ssh://") || (word.contains('@') && word.contains(':')));
    let far = matches!(step.at, At::There(..) | At::Node(..));
    (forced && (by_ssh || far)).then(|| {
        "A forced push replaces what others may have pushed since; `--force-with-lease` refuses then.".to_owned()
    })
}
