//! `qsub` and `qdel` of PBS.

use std::fmt::Write as _;

use crate::language::batch::call::{
    Call, Meaning, Target, Unsayable, could_not_ask, judge, limited, path, preamble, ranges, raw_flags, share,
    submit_from, units,
};
use crate::language::batch::can_be_waited_for;
use crate::language::batch::pbs::records::did_not_reach;
use crate::model::batch::RefusalKind::{Account, ArrayTooLarge, OverLimit, Partition, Permission, Request};
use crate::model::batch::{BatchId, Cancelled, CouldNotAsk, Flavour, MemberRequest, RefusalKind, Reply, Sharing};
use crate::model::batch::{Submission, Submitted};
use crate::model::units::{Bytes, Walltime};

/// Flags that csync sets itself.
const OURS: [&str; 8] = ["J", "N", "o", "e", "j", "I", "V", "f"];

/// Letters that mean something in the path of a log: another host, `^array_index^`, the next of a list.
const MISREAD: [char; 3] = [':', '^', ','];

/// Returns the command that submits.
pub fn submit(submission: &Submission) -> Result<Call, Unsayable> {
    let mut notes = Vec::new();
    let words = arguments(submission, &mut notes)?;
    Ok(Call { script: submit_from(&submission.directory, "", &words), notes })
}

fn arguments(submission: &Submission, notes: &mut Vec<String>) -> Result<Vec<String>, Unsayable> {
    let log = path(submission, &submission.log, "PBS", &MISREAD)?;
    // Without -f a process that outlives the call submits: behind a server that hangs even after the call was given up.
    let mut words = vec!["qsub".to_owned(), "-f".to_owned()];
    let mut option = |name: &str, value: &str| words.extend([name.to_owned(), value.to_owned()]);
    option("-N", submission.name.as_str());
    // The login shell may be anything.
    option("-S", "/bin/sh");
    option("-j", "oe");
    if let Some(array) = submission.members() {
        let cap = array.cap.map(|cap| format!("%{cap}")).unwrap_or_default();
        option("-J", &format!("1-{}{cap}", array.size));
        option("-o", &format!("{log}.^array_index^"));
    } else {
        option("-o", &log);
        // Tries are csync's to count. An array must be one that PBS may start again: it refuses others.
        option("-r", "n");
    }
    if let Some(account) = &submission.account {
        option("-A", account);
    }
    // A reservation is a queue of its own.
    if let Some(queue) = submission.reservation.as_ref().or(submission.partition.as_ref()) {
        option("-q", queue);
    }
    if !submission.after.is_empty() {
        option("-W", &format!("depend=afterok:{}", dependencies(&submission.after)?));
    }
    let raw = raw_flags(submission, "pbs.")?;
    let whole = raw.iter().any(|(name, value)| *name == "l" && value.is_some_and(|v| v.contains("select=")));
    resources(&submission.request, whole, &mut option);
    for (name, value) in raw {
        if OURS.contains(&name) {
            notes.push(format!("`-{name}` is csync's own; it was left out"));
        } else {
            words.push(format!("-{name}"));
            words.extend(value.map(str::to_owned));
        }
    }
    notes.extend(unsaid(submission));
    words.push(path(submission, &submission.script, "PBS", &[])?);
    Ok(words)
}

/// `afterok` of an array fires although members failed: only plain jobs may be waited for.
fn dependencies(after: &[BatchId]) -> Result<String, Unsayable> {
    if !after.iter().all(|id| can_be_waited_for(Flavour::Pbs, id)) {
        return Err(Unsayable::Dependency("PBS"));
    }
    Ok(after.iter().map(BatchId::as_str).collect::<Vec<_>>().join(":"))
}

fn unsaid(submission: &Submission) -> Vec<String> {
    let mut notes = Vec::new();
    if submission.qos.is_some() {
        notes.push("PBS has no qos; it was left out".to_owned());
    }
    if submission.constraint.is_some() {
        notes.push("PBS has no constraint; write the resource into `pbs.l`".to_owned());
    }
    if submission.request.gpus.as_ref().is_some_and(|gpus| gpus.model.is_some()) {
        notes.push("how a GPU's model is asked for differs between PBS sites; it was left out".to_owned());
    }
    if submission.reservation.is_some() && submission.partition.is_some() {
        notes.push("a reservation of PBS is a queue; the partition was left out".to_owned());
    }
    notes
}

/// Asks for resources; `whole` says that a flag passed through asks for chunks already.
fn resources(request: &MemberRequest, whole: bool, option: &mut impl FnMut(&str, &str)) {
    if !whole {
        option("-l", &format!("select={}", chunks(request)));
        let several = request.nodes.is_some_and(|nodes| nodes > 1);
        match (several, request.sharing) {
            (true, Sharing::Exclusive) => option("-l", "place=scatter:excl"),
            (true, Sharing::Shared) => option("-l", "place=scatter"),
            (false, Sharing::Exclusive) => option("-l", "place=excl"),
            (false, Sharing::Shared) => {}
        }
    }
    if let Some(time) = request.time {
        option("-l", &format!("walltime={}", clock(time)));
    }
}

/// Returns the chunks: one a node where nodes are asked for, else one a process. Where processes do not divide evenly, the
/// first nodes have one more.
fn chunks(request: &MemberRequest) -> String {
    let processes = request.processes.max(1);
    let count = request.nodes.unwrap_or(processes).clamp(1, processes);
    let (each, more) = (processes / count, processes % count);
    let gpus = request.gpus.as_ref().map_or(0, |gpus| gpus.count).div_ceil(count);
    let chunk = |number: u32, ranks: u32| {
        let mut text = format!("{number}:ncpus={}", ranks.saturating_mul(request.cpus));
        if processes > 1 {
            let _infallible = write!(text, ":mpiprocs={ranks}:ompthreads={}", request.cpus);
        }
        if let Some(mem) = request.mem {
            let part = Bytes(share(mem, processes).0.saturating_mul(u64::from(ranks)));
            let _infallible = write!(text, ":mem={}mb", units(part, Bytes::mib(1)));
        }
        if gpus > 0 {
            let _infallible = write!(text, ":ngpus={gpus}");
        }
        text
    };
    match more {
        0 => chunk(count, each),
        more => format!("{}+{}", chunk(more, each + 1), chunk(count - more, each)),
    }
}

fn clock(time: Walltime) -> String {
    let seconds = time.0.max(1);
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// What `qsub` says when it does not submit. Order matters: the first that is found decides.
const MESSAGES: &[(&str, Meaning)] = &[
    ("cannot connect to server", Meaning::Later),
    ("Couldn't connect", Meaning::Later),
    ("Connection refused", Meaning::Later),
    ("reserved ports in use", Meaning::Later),
    ("shutting down", Meaning::Later),
    ("Server connection table full", Meaning::Later),
    ("No free connections", Meaning::Later),
    ("would exceed", Meaning::Full),
    // `... already in complex`, `... for user alice already in queue workq`, `... in 'Q' state already in ...`.
    ("Maximum number of jobs ", Meaning::Full),
    ("End of File", Meaning::Unknown),
    ("timed out", Meaning::Unknown),
    ("Batch protocol error", Meaning::Unknown),
    ("PBS server internal error", Meaning::Unknown),
    ("System error", Meaning::Unknown),
    ("Failed to save job", Meaning::Unknown),
    ("Array job exceeds", refused(ArrayTooLarge)),
    ("violates queue and/or server resource limits", refused(OverLimit)),
    ("Unknown queue", refused(Partition)),
    ("Queue is not enabled", refused(Partition)),
    ("No default queue", refused(Partition)),
    ("Unauthorized", refused(Permission)),
    ("Bad UID", refused(Permission)),
    ("Invalid credential", refused(Permission)),
    ("Bad GID", refused(Permission)),
    ("Access to queue is denied", refused(Permission)),
    ("Access from host not allowed", refused(Permission)),
    ("Invalid Account", refused(Account)),
    ("Illegal attribute or resource value", refused(Request)),
    ("Unknown resource", refused(Request)),
];

const fn refused(kind: RefusalKind) -> Meaning {
    Meaning::Refused(kind)
}

/// Reads what `qsub` said: a line with the id alone, `12.server` or `12[].server`.
pub fn parse_submit(reply: &Reply<'_>) -> Submitted {
    match reply.stdout.lines().rev().find_map(|line| is_id(line.trim())) {
        Some(id) => Submitted::Accepted(id),
        None => judge(reply, MESSAGES),
    }
}

fn is_id(line: &str) -> Option<BatchId> {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let rest = line.get(digits..)?;
    let rest = rest.strip_prefix("[]").unwrap_or(rest);
    let host = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    let ends = rest.is_empty() || rest.strip_prefix('.').is_some_and(host);
    (digits > 0 && ends).then(|| BatchId(line.to_owned()))
}

/// Returns the command that cancels all of these.
pub fn cancel(targets: &[Target]) -> String {
    let mut words = vec!["qdel".to_owned()];
    for Target { id, members } in targets {
        let list = ranges(members);
        match id.as_str().split_once("[]") {
            Some((number, server)) if !list.is_empty() => {
                words.extend(list.iter().map(|range| format!("{number}[{range}]{server}")));
            }
            _ => words.push(id.to_string()),
        }
    }
    format!("{}{}\n", preamble(120), limited(&words))
}

/// Reads what `qdel` said, a line for each job that it did not delete.
pub fn parse_cancel(reply: &Reply<'_>) -> Result<Cancelled, CouldNotAsk> {
    const OVER: [&str; 3] = ["Unknown Job Id", "Job has finished", "Request invalid for finished array subjob"];
    let mut cancelled = Cancelled::default();
    for line in reply.stderr.lines() {
        let Some(text) = line.trim().strip_prefix("qdel: ") else { continue };
        let (why, id) = text.rsplit_once(' ').unwrap_or((text, ""));
        if !id.starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        if OVER.iter().any(|over| why.contains(over)) {
            cancelled.unknown.push(id.to_owned());
        } else {
            cancelled.refused.push((id.to_owned(), why.trim().to_owned()));
        }
    }
    let understood = reply.status == 0 || !cancelled.unknown.is_empty() || !cancelled.refused.is_empty();
    if understood && !did_not_reach(reply.stderr) { Ok(cancelled) } else { Err(could_not_ask(reply)) }
}
