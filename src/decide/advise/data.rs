//! Data that lies on another host than the command that reads it, and data that is brought file by file.

use std::fmt::Write as _;

use crate::decide::advise::facts::{Facts, Replica};
use crate::decide::advise::walk::{At, Line, Step, absolute, host_of as host_in};
use crate::decide::advise::{Advice, Kind};
use crate::language::shell::{LoopKind, Place, Word, place};
use crate::model::host::Agents;

/// Most paths of a line that are looked up.
const MOST: usize = 16;

/// Programs that bring data, make it, or only name it.
const NAMES_ONLY: &[&str] =
    &["scp", "rsync", "sftp", "mkdir", "touch", "rm", "cd", "echo", "printf", "csync", "ssh", "chmod", "ln", "export"];

/// Looks for such data.
pub(super) fn look(line: &Line<'_>, facts: &impl Facts, advice: &mut Vec<Advice>) {
    advice.extend(line.steps.iter().find_map(|step| one_by_one(line, step, facts)));
    let here = facts.here().map_or_else(|| "local".to_owned(), |here| here.name.clone());
    let mut left = MOST;
    for step in &line.steps {
        let Some(host) = host_of(&step.at, &here) else { continue };
        let heredoc = line.command(step).is_none_or(|command| command.stands.in_heredoc || command.stands.substituted);
        if heredoc || step.program().is_none_or(|program| NAMES_ONLY.contains(&program)) {
            continue;
        }
        for path in step.arguments().iter().filter_map(|word| path_in(step, word)) {
            if left == 0 {
                return;
            }
            left -= 1;
            advice.extend(judge(step.command, &path, host, facts));
        }
    }
    for redirect in line.redirects.iter().filter(|redirect| !redirect.file.is_written).take(left) {
        let stands = redirect.file.stands;
        let path = redirect.file.word.fixed().and_then(|name| absolute(name, redirect.cwd.as_deref()));
        if let (false, Some(path), Some(host)) =
            (stands.in_heredoc || stands.substituted, path, host_of(&redirect.at, &here))
        {
            advice.extend(judge(redirect.command, &path, host, facts));
        }
    }
}

/// `for file in *; do scp $file host:; done`: a connection for every file.
fn one_by_one(line: &Line<'_>, step: &Step, facts: &impl Facts) -> Option<Advice> {
    let program = step.program().filter(|program| step.at == At::Here && matches!(*program, "scp" | "rsync"))?;
    let stands = line.command(step)?.stands;
    if stands.in_heredoc || stands.substituted || !goes_through_files(line, step) {
        return None;
    }
    let varies = |word: &Word| step.written(word).contains('$') || (step.many && word.shown().contains("{}"));
    let operands = step.arguments().iter().filter(|word| !word.text.starts_with('-'));
    let (mut host, mut is_last, mut is_each) = (None, false, false);
    for word in operands {
        is_each |= varies(word);
        is_last = false;
        if let Place::There { host: name, .. } = place(word.shown()) {
            // Another host each time is another thing, and so are two.
            if name.contains(['$', '{']) || host.is_some_and(|other| other != name) {
                return None;
            }
            (host, is_last) = (Some(name), true);
        }
    }
    let name = host_in(host.filter(|_| is_each)?);
    let found = facts.host(name)?;
    let how = if is_last { format!("FILES {name}:DIR") } else { format!("{name}:DIR/ .") };
    let mut text = format!(
        "`{program}` is started for every file here, each time with a connection of its own. One `rsync -a {how}` brings them \
         all over one, and leaves out what is there already; `--files-from=LIST` takes their names from a list."
    );
    if is_last && found.host.batch.is_some() && found.host.agents != Agents::Deny {
        let _ = write!(
            text,
            " `csync submit --on {} -- ...` takes along what lies in the directory of a job.",
            found.host.name
        );
    }
    Some(Advice { kind: Kind::Data, text, command: step.command, change: None })
}

/// Says whether a command is started for each of several things: by `for`, by a loop that reads a list, by `xargs`.
fn goes_through_files(line: &Line<'_>, step: &Step) -> bool {
    let has = |number: usize, program: &str| {
        let within = |other: &&Step| other.loops.iter().any(|(own, _)| *own == number);
        line.steps.iter().filter(within).any(|other| other.program() == Some(program))
    };
    // One that ends when that went well tries again.
    let reads = |number: usize| has(number, "read");
    let tries = step.loops.iter().any(|(number, _)| has(*number, "break") || has(*number, "exit"));
    let around = |word: &Word| word.fixed().is_some_and(|name| name.ends_with("xargs"));
    !tries
        && step
            .loops
            .iter()
            .any(|(number, kind)| *kind == LoopKind::Words || (*kind == LoopKind::Condition && reads(*number)))
        || (step.many && step.words.iter().take(step.head).any(around))
}

/// Returns the name of the host where something runs.
fn host_of<'h>(at: &'h At, here: &'h str) -> Option<&'h str> {
    match at {
        At::Here => Some(here),
        At::There(Some(host), _) | At::Node(host, _) => Some(&host.name),
        At::There(None, _) | At::Inside => None,
    }
}

/// Returns the absolute path that a word names: as it is, or behind `--option=`.
fn path_in(step: &Step, word: &Word) -> Option<String> {
    let text = word.fixed().filter(|text| !(step.many && text.contains('{')))?;
    let text = if text.starts_with('-') { text.split_once('=')?.1 } else { text };
    // A bare word may be anything; one with an ending is most likely a file.
    let is_path =
        text.contains('/') || text.split_once('.').is_some_and(|(name, end)| !name.is_empty() && !end.is_empty());
    is_path.then(|| step.absolute(text)).flatten()
}

fn judge(command: usize, path: &str, host: &str, facts: &impl Facts) -> Option<Advice> {
    let replicas = facts.replicas(path, host);
    let is_here = |replica: &Replica| replica.host == host || (replica.host == "local" && host == "local");
    if replicas.is_empty() || replicas.iter().any(is_here) {
        return None;
    }
    let nearest = replicas.iter().min_by_key(|replica| replica.seconds.unwrap_or(u64::MAX))?;
    let mut text = format!("{path} lies on {}", nearest.host);
    if nearest.path != path {
        let _ = write!(text, " ({})", nearest.path);
    }
    let _ = write!(text, ", and csync knows of no copy on {host}.");
    match (nearest.bytes, nearest.seconds) {
        (Some(bytes), Some(seconds)) => {
            let _ = write!(text, " Bringing its {bytes} would take about {}.", crate::model::units::Walltime(seconds));
        }
        (Some(bytes), None) => {
            let _ = write!(text, " It has {bytes}; how fast the way is was not measured.");
        }
        _ => {}
    }
    let _ = write!(
        text,
        " A job on {} would read it where it lies: `csync submit --on {} -- ...`.",
        nearest.host, nearest.host
    );
    Some(Advice { kind: Kind::Data, text, command, change: None })
}
