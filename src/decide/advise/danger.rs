//! Commands that destroy what cannot be brought back.

use std::sync::Arc;

use crate::decide::advise::facts::{Facts, HostFacts};
use crate::decide::advise::walk::{At, Line, Redirect, Step};
use crate::decide::advise::{Advice, Kind};
use crate::language::shell::{Means, Output, Place, Word, call, place as place_in};

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

/// Variables that hold a directory with all that somebody has.
const WHOLES: &[&str] = &["HOME", "SCRATCH", "WORK", "PROJECT", "GROUP_HOME", "GROUP_SCRATCH", "DATA", "STORE"];

/// Names of disks and their parts.
const DISKS: &[&str] = &["sd", "nvme", "vd", "hd", "xvd", "mmcblk", "md", "dm-", "mapper/", "disk/", "loop"];

/// Looks for dangers, in texts within the line too.
pub(super) fn look(line: &Line<'_>, facts: &impl Facts, advice: &mut Vec<Advice>) {
    let here = facts.here();
    for step in &line.steps {
        let heredoc = line.command(step).is_none_or(|command| command.stands.in_heredoc);
        let Some(program) = step.program().filter(|_| !heredoc) else { continue };
        let danger = match program {
            "rm" => removes(step, here.as_ref()).or_else(|| removes_found(line, step, here.as_ref())),
            "find" => finds_and_removes(step, here.as_ref()),
            "rsync" => mirrors(step, here.as_ref(), facts),
            "chmod" | "chown" | "chgrp" => for_all_below(step, program),
            "scancel" => scancel(step).or_else(|| listed(line, step)),
            "qdel" | "bkill" => kills_all(step, program).or_else(|| listed(line, step)),
            "kill" | "pkill" | "killall" | "skill" => ends_processes(step, program),
            "dd" => writes_device(step),
            "shred" | "wipefs" | "blkdiscard" | "sgdisk" | "mkswap" if names_device(step) => {
                Some(format!("`{program}` erases a whole device."))
            }
            "tee" | "cp" if names_disk(step, program) => Some(format!("`{program}` overwrites a whole device.")),
            "git" => pushes(step, facts),
            _ if program == "mkfs" || program.starts_with("mkfs.") => {
                Some(format!("`{program}` makes a new filesystem: all that is on the device is gone."))
            }
            _ => None,
        };
        // One that only says what it would do, or how it is called.
        let asks = |word: &Word| matches!(word.text.as_str(), "--help" | "--version" | "--dry-run");
        if let Some(danger) = danger.filter(|_| !step.arguments().iter().any(asks)) {
            let text = format!("{danger}{} There is no way back.", place(&step.at));
            advice.push(Advice { kind: Kind::Danger, text, command: step.command, change: None });
        }
    }
    advice.extend(line.redirects.iter().filter_map(|redirect| overwrites(line, redirect)));
}

/// `> /dev/sda`.
fn overwrites(line: &Line<'_>, redirect: &Redirect) -> Option<Advice> {
    let file = &redirect.file;
    let text = line.script.commands.get(redirect.command).is_some_and(|command| command.stands.in_heredoc);
    let disk = file.word.text.strip_prefix("/dev/").filter(|name| is_disk(name))?;
    (file.is_written && !file.stands.in_heredoc && !text).then(|| {
        let rest = if file.word.fixed().is_some() { "" } else { "..." };
        let text = format!("`>` overwrites the device /dev/{disk}{rest}.{} There is no way back.", place(&redirect.at));
        Advice { kind: Kind::Danger, text, command: redirect.command, change: None }
    })
}

fn is_disk(name: &str) -> bool {
    DISKS.iter().any(|disk| name.starts_with(disk))
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
    let host = host_at(step, here);
    step.arguments().iter().filter(|word| !word.text.starts_with('-')).find_map(|word| target(step, word, host))
}

fn host_at<'f>(step: &'f Step, here: Option<&'f Arc<HostFacts>>) -> Option<&'f Arc<HostFacts>> {
    match &step.at {
        At::Here => here,
        At::There(host, _) => host.as_ref(),
        At::Node(host, _) => Some(host),
        At::Inside => None,
    }
}

fn target(step: &Step, word: &Word, host: Option<&Arc<HostFacts>>) -> Option<String> {
    let raw = word.text.as_str();
    // What was found, of which nobody knows what it is.
    if step.many && raw.contains("{}") {
        return None;
    }
    if raw == "~" && step.written(word).trim_end_matches(['/', '*']) == "~" {
        return Some("`rm -r` of ~: all that is in the home directory goes.".to_owned());
    }
    if let Some(name) = whole(step.written(word)) {
        return Some(format!("`rm -r` of ${name}: all that is in that directory goes."));
    }
    // All that is here.
    let raw = if step.written(word) == "*" { "./" } else { raw };
    if word.means != Means::Itself && (raw.is_empty() || raw == "~") {
        // `*`, and what the shell makes of a variable: nobody knows.
        return None;
    }
    let path = lexical(step, raw)?;
    let bare = if path.len() > 1 { path.trim_end_matches('/') } else { path.as_str() };
    let bare = if bare.is_empty() { "/" } else { bare };
    // `/scratch/*` is what is in it; `/scratch/$USER` is not known to be all of it.
    let whole = word.means == Means::Itself || (path.ends_with('/') && !step.written(word).contains(['$', '`']));
    if whole && ROOTS.contains(&bare) {
        return Some(format!(
            "`rm -r` of {bare}: everything below it goes, other people's files too where permissions let it."
        ));
    }
    let shown = if word.means == Means::Itself { path.as_str() } else { step.written(word) };
    if SYSTEM.iter().any(|dir| path.starts_with(dir)) {
        return Some(format!("`rm -r` of {shown}, which belongs to the system."));
    }
    let host = host?;
    let shared = host.shared.iter().find(|dir| is_below(&path, dir))?;
    Some(format!("`rm -r` of {shown}: {shared} is shared by every machine of {} that mounts it.", host.name))
}

/// Returns the variable that a word is, where that holds all that somebody has: `"$HOME"`, `${SCRATCH}/*`.
fn whole(written: &str) -> Option<&'static str> {
    let bare = written.replace(['"', '{', '}'], "");
    let bare = bare.strip_prefix('$')?.trim_end_matches(['*', '/']);
    WHOLES.iter().find(|name| **name == bare).copied()
}

/// Returns an absolute path without `.` and `..`, as far as that can be said without looking.
fn lexical(step: &Step, raw: &str) -> Option<String> {
    let joined = match raw.strip_prefix('/') {
        Some(_) => raw.to_owned(),
        None if raw.starts_with('~') => return None,
        None => format!("{}/{raw}", step.cwd.as_ref()?),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/').filter(|part| !matches!(*part, "" | ".")) {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    let slash = if joined.ends_with('/') && !parts.is_empty() { "/" } else { "" };
    Some(format!("/{}{slash}", parts.join("/")))
}

/// `find DIR -delete`, and `-exec rm`, of all that is there: nothing else is asked of what it finds.
fn finds_and_removes(step: &Step, here: Option<&Arc<HostFacts>>) -> Option<String> {
    let (dirs, tests) = search(step).filter(|(_, tests)| asks_nothing(tests))?;
    let removal = |pair: &[Word]| matches!(pair, [how, what] if how.text.starts_with("-exec") && what.text == "rm");
    let removes = tests.iter().any(|word| word.text == "-delete") || tests.windows(2).any(removal);
    let found = dirs.iter().find_map(|word| target(step, word, host_at(step, here))).filter(|_| removes)?;
    Some(found.replacen("`rm -r`", "`find` and removal", 1))
}

/// `find DIR | xargs rm` of all that is there.
fn removes_found(line: &Line<'_>, step: &Step, here: Option<&Arc<HostFacts>>) -> Option<String> {
    let before = step.command.checked_sub(1).filter(|_| step.many && step.own)?;
    let find =
        line.steps.iter().find(|other| other.command == before && other.own && other.program() == Some("find"))?;
    let (dirs, tests) = search(find)?;
    line.command(find).filter(|command| command.stands.output == Output::Pipe && asks_nothing(tests))?;
    let found = dirs.iter().find_map(|word| target(find, word, host_at(find, here)))?;
    Some(found.replacen("`rm -r`", "`find` and removal", 1))
}

/// Splits the arguments of `find` into where it looks and what it asks.
fn search(step: &Step) -> Option<(&[Word], &[Word])> {
    let words = step.arguments();
    let dirs = words.iter().take_while(|word| !word.text.starts_with(['-', '(', '!'])).count();
    words.split_at_checked(dirs)
}

/// Says whether `find` asks nothing of what it finds but what kind it is.
fn asks_nothing(tests: &[Word]) -> bool {
    let mut tests = tests.iter().map(|word| word.text.as_str());
    while let Some(test) = tests.next() {
        match test {
            "-type" | "-maxdepth" | "-mindepth" => drop(tests.next()),
            "-print" | "-print0" | "-depth" | "-d" | "-xdev" | "-mount" | "-delete" => {}
            // What follows is what is done with it.
            "-exec" | "-execdir" => return true,
            _ => return false,
        }
    }
    true
}

/// `rsync --delete` onto all of a shared directory.
fn mirrors(step: &Step, here: Option<&Arc<HostFacts>>, facts: &impl Facts) -> Option<String> {
    let call = call(&step.words, step.head)?;
    call.options.iter().find(|option| option.name.starts_with("del") && !option.name.contains("delay-updates"))?;
    if call.has(&["dry-run", "list-only"]) || call.operands.len() < 2 {
        return None;
    }
    let text = step.words.get(*call.operands.last()?)?.fixed()?;
    let (path, host) = match place_in(text) {
        Place::Here(path) => (path.to_owned(), host_at(step, here).cloned()),
        Place::There { host, path, .. } => (path.to_owned(), facts.host(host).map(|found| found.host)),
    };
    let path = lexical(step, &path)?;
    let bare = if path.len() > 1 { path.trim_end_matches('/') } else { path.as_str() };
    let shared = host.is_some_and(|host| host.shared.iter().any(|dir| dir.trim_end_matches('/') == bare));
    (shared || ROOTS.contains(&bare)).then(|| {
        format!("`rsync --delete` onto {bare}: everything there that the source does not have goes, other people's files too.")
    })
}

/// `chmod -R` of a root.
fn for_all_below(step: &Step, program: &str) -> Option<String> {
    let recursive = |word: &Word| {
        word.text == "--recursive"
            || (word.text.starts_with('-') && !word.text.starts_with("--") && word.text.contains('R'))
    };
    step.arguments().iter().find(|word| recursive(word))?;
    let root = step.arguments().iter().filter_map(Word::fixed).find_map(|text| {
        let path = lexical(step, text).filter(|_| text.contains('/') || text == ".")?;
        let bare = if path.len() > 1 { path.trim_end_matches('/').to_owned() } else { path };
        ROOTS.contains(&bare.as_str()).then_some(bare)
    })?;
    Some(format!("`{program} -R` of {root} changes everything below it; nobody knows how it was."))
}

/// `squeue -u me | xargs scancel`, `scancel $(squeue ...)`, `for job in $(squeue ...)`.
fn listed(line: &Line<'_>, step: &Step) -> Option<String> {
    let lists = ["squeue", "qstat", "qselect", "bjobs"];
    let list = line.steps.iter().filter_map(Step::program).find(|program| lists.contains(program))?;
    let taken =
        step.many || !step.loops.is_empty() || step.arguments().iter().any(|word| step.written(word).contains(list));
    taken.then(|| {
        format!(
            "`{}` gets every job that `{list}` lists, also those that others of your sessions and csync submitted.",
            step.program().unwrap_or_default()
        )
    })
}

/// `kill -1`, `pkill -u`: all that runs of a user.
fn ends_processes(step: &Step, program: &str) -> Option<String> {
    let words: Vec<&str> = step.arguments().iter().map(|word| word.text.as_str()).collect();
    let all = match program {
        "kill" => words.len() > 1 && words.last() == Some(&"-1"),
        "skill" => words.iter().any(|word| matches!(*word, "-u" | "--user")),
        _ => {
            let by_user = |word: &&&str| matches!(**word, "-u" | "--user" | "--euid" | "-U" | "--uid");
            let named = words.iter().filter(|word| !word.starts_with('-')).count();
            words.iter().find(by_user).is_some() && named < 2
        }
    };
    all.then(|| format!("`{program}` would end every process of a user there, those of other sessions too."))
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
        // `-vu me`: a letter that takes a value may stand behind others that take none.
        let letters = text.strip_prefix('-').filter(|rest| !rest.starts_with('-')).unwrap_or_default();
        let behind = letters.trim_start_matches(|letter| "bcfHiQvV".contains(letter));
        wide.iter().find(|option| {
            text == **option
                || (!behind.is_empty()
                    && behind.len() < letters.len()
                    && option.len() == 2
                    && option.ends_with(behind.get(..1).unwrap_or_default()))
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
        .find(|text| matches!((program, *text), ("qdel", "-u" | "all" | "-uall" | "*") | ("bkill", "-u" | "0")))?;
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

/// `tee` writes all that it names, `cp` the last.
fn names_disk(step: &Step, program: &str) -> bool {
    let paths: Vec<&Word> = step.arguments().iter().filter(|word| !word.text.starts_with('-')).collect();
    let written = if program == "tee" { 0 } else { paths.len().saturating_sub(1) };
    paths.iter().skip(written).filter_map(|word| word.text.strip_prefix("/dev/")).any(is_disk)
}

/// A forced push, on another machine or over `ssh`.
fn pushes(step: &Step, facts: &impl Facts) -> Option<String> {
    let words: Vec<&str> = step.arguments().iter().map(|word| word.text.as_str()).collect();
    let mut at = 0;
    while words.get(at)?.starts_with('-') {
        at += if matches!(words.get(at), Some(&("-C" | "-c" | "--git-dir" | "--work-tree" | "--namespace"))) {
            2
        } else {
            1
        };
    }
    words.get(at).filter(|verb| **verb == "push")?;
    let arguments = words.get(at + 1..).unwrap_or_default();
    // `-uf` is `-u -f`; `-o` takes a value.
    let letters =
        |word: &str| word.starts_with('-') && !(word.starts_with("--") || word.starts_with("-o")) && word.contains('f');
    let forced = arguments.iter().any(|word| {
        matches!(*word, "--force" | "--mirror") || letters(word) || (word.starts_with('+') && word.len() > 1)
    });
    let is_ssh = |url: &str| {
        url.starts_with("ssh://") || url.starts_with("git+ssh://") || matches!(place_of(url), Place::There { .. })
    };
    let remote = arguments.iter().find(|word| !word.starts_with('-')).copied();
    let far = matches!(step.at, At::There(..) | At::Node(..));
    let dir = words.get(..at).and_then(|before| before.windows(2).find(|pair| pair.first() == Some(&"-C")));
    let dir = dir.map_or_else(|| step.cwd.clone(), |pair| lexical(step, pair.last()?));
    let by_ssh = || match remote {
        Some(url) if url.contains(':') => is_ssh(url),
        _ if step.at != At::Here => false,
        name => dir.and_then(|dir| facts.git_remote(&dir, name)).is_some_and(|url| is_ssh(&url)),
    };
    (forced && (far || by_ssh())).then(|| {
        "A forced push replaces what others may have pushed since; `--force-with-lease` refuses then.".to_owned()
    })
}

/// Reads a URL of git: without a scheme it is a place as `scp` has them.
fn place_of(url: &str) -> Place<'_> {
    if url.contains("://") { Place::Here(url) } else { place_in(url) }
}
