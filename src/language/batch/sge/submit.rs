//! `qsub` and `qdel` of Grid Engine.

use crate::language::batch::call::{
    Call, Meaning, Target, Unsayable, could_not_ask, ended_from_outside, judge, limited, path, preamble, ranges,
    raw_flags, share, submit_from, units,
};
use crate::model::batch::RefusalKind::{Account, ArrayTooLarge, OverLimit, Partition, Permission, Request};
use crate::model::batch::{BatchId, Cancelled, CouldNotAsk, Dialect, MemberRequest, PerWhat, RefusalKind, Reply};
use crate::model::batch::{Sharing, Submission, Submitted};
use crate::model::units::Bytes;

/// Flags that csync sets itself.
const OURS: [&str; 14] = ["N", "t", "tc", "o", "e", "j", "wd", "cwd", "V", "b", "sync", "terse", "verify", "now"];

/// Letters that mean something in paths: another host, `$TASK_ID`, the next of a list.
const MISREAD: [char; 3] = [':', '$', ','];

/// Returns the command that submits.
pub fn submit(dialect: &Dialect, submission: &Submission) -> Result<Call, Unsayable> {
    let mut notes = Vec::new();
    let words = arguments(dialect, submission, &mut notes)?;
    Ok(Call { script: submit_from(&submission.directory, "", &words), notes })
}

fn arguments(dialect: &Dialect, submission: &Submission, notes: &mut Vec<String>) -> Result<Vec<String>, Unsayable> {
    if !submission.after.is_empty() {
        // `-hold_jid` releases after failures too.
        return Err(Unsayable::Dependency("Grid Engine"));
    }
    let log = path(submission, &submission.log, "Grid Engine", &MISREAD)?;
    let mut words = vec!["qsub".to_owned(), "-terse".to_owned()];
    let mut option = |parts: &[&str]| words.extend(parts.iter().map(|part| (*part).to_owned()));
    option(&["-N", submission.name.as_str()]);
    option(&["-wd", &path(submission, "", "Grid Engine", &MISREAD)?]);
    // The queue's shell may be anything.
    option(&["-S", "/bin/sh"]);
    option(&["-j", "y"]);
    // Tries are csync's to count.
    option(&["-r", "n"]);
    match submission.members() {
        Some(array) => {
            option(&["-t", &format!("1-{}", array.size)]);
            if let Some(cap) = array.cap {
                option(&["-tc", &cap.to_string()]);
            }
            option(&["-o", &format!("{log}.$TASK_ID")]);
        }
        None => option(&["-o", &log]),
    }
    for (name, value) in [("-P", &submission.account), ("-q", &submission.partition), ("-ar", &submission.reservation)]
    {
        if let Some(value) = value {
            option(&[name, value]);
        }
    }
    let raw = raw_flags(submission, "sge.")?;
    let environment = raw.iter().any(|(name, _)| *name == "pe");
    resources(dialect, submission, environment, &mut option, notes)?;
    for (name, value) in raw {
        if OURS.contains(&name) {
            notes.push(format!("`-{name}` is csync's own; it was left out"));
        } else {
            words.push(format!("-{name}"));
            // `-pe smp 4` takes two words.
            words.extend(value.into_iter().flat_map(str::split_whitespace).map(str::to_owned));
        }
    }
    words.push(path(submission, &submission.script, "Grid Engine", &[])?);
    Ok(words)
}

/// Asks for slots, memory, walltime and GPUs; `chosen` says that a flag passed through names the parallel environment.
fn resources(
    dialect: &Dialect,
    submission: &Submission,
    chosen: bool,
    option: &mut impl FnMut(&[&str]),
    notes: &mut Vec<String>,
) -> Result<(), Unsayable> {
    let request = &submission.request;
    let slots = request.processes.max(1).saturating_mul(request.cpus.max(1));
    if slots > 1 && !chosen {
        let one_node = request.nodes.unwrap_or(if request.processes > 1 { 2 } else { 1 }) <= 1;
        let (first, second) = (&dialect.one_node_environment, &dialect.many_nodes_environment);
        let environment = if one_node { first } else { second.as_ref().map_or(first, |_| second) };
        match environment {
            // Its value is two words.
            Some(environment) => option(&["-pe", environment, &slots.to_string()]),
            // One slot for what uses several would starve its neighbours.
            None => return Err(Unsayable::Environment(slots)),
        }
    }
    let counted = memory(dialect, request, slots, option, notes);
    if let Some(time) = request.time {
        option(&["-l", &format!("h_rt={}", time.0.max(1))]);
        if let Some((signal, before)) = submission.signal.as_ref().filter(|(_, before)| *before < time.0) {
            // The soft limit sends this signal and no other.
            if signal == "USR1" {
                option(&["-l", &format!("s_rt={}", time.0 - before)]);
            }
        }
    }
    if let Some(gpus) = request.gpus.as_ref().filter(|gpus| gpus.count > 0) {
        match &dialect.gpu_resource {
            // Counted by slot.
            Some(name) => option(&["-l", &format!("{name}={}", gpus.count.div_ceil(slots))]),
            None => notes.push("no resource for GPUs is known here; write `sge.l`".to_owned()),
        }
    }
    // Else an impossible request waits for ever, without a reason in the queue. Values that hosts report are not known to
    // the check: it refuses every job that asks for one.
    option(&["-w", if counted { "e" } else { "n" }]);
    if request.sharing == Sharing::Exclusive {
        notes.push("how a host is had alone differs between Grid Engine sites; write `sge.l`".to_owned());
    }
    if submission.qos.is_some() || submission.constraint.is_some() {
        notes.push("Grid Engine has no qos and no constraint; they were left out".to_owned());
    }
    Ok(())
}

/// Asks for memory; returns whether everything asked for can be checked when it is submitted.
fn memory(
    dialect: &Dialect,
    request: &MemberRequest,
    slots: u32,
    option: &mut impl FnMut(&[&str]),
    notes: &mut Vec<String>,
) -> bool {
    let Some(mem) = request.mem else { return true };
    let Some(resource) = &dialect.memory_resource else {
        notes.push("no resource for memory is known here; write `sge.l`".to_owned());
        return true;
    };
    let part = match resource.per {
        PerWhat::Slot => share(mem, slots),
        PerWhat::Job | PerWhat::Load => mem,
    };
    option(&["-l", &format!("{}={}M", resource.name, units(part, Bytes::mib(1)))]);
    resource.per != PerWhat::Load
}

/// What `qsub` says when it does not submit. Order matters: the first that is found decides.
const MESSAGES: &[(&str, Meaning)] = &[
    // The request went out and no answer came back.
    ("Error reading answer list", Meaning::Unknown),
    ("failed receiving gdi request", Meaning::Unknown),
    ("got read timeout", Meaning::Unknown),
    ("unable to send message to qmaster", Meaning::Later),
    ("unable to contact qmaster", Meaning::Later),
    ("commlib error", Meaning::Later),
    ("jobs are allowed per user", Meaning::Full),
    ("jobs per cluster", Meaning::Full),
    ("tasks", refused(ArrayTooLarge)),
    ("no suitable queues", refused(OverLimit)),
    ("because it only offers", refused(OverLimit)),
    ("unknown queue", refused(Partition)),
    ("advance reservation", refused(Partition)),
    ("requested project", refused(Account)),
    ("project", refused(Account)),
    ("no permission", refused(Permission)),
    ("denied", refused(Permission)),
    ("has no access", refused(Permission)),
    ("parallel environment", refused(Request)),
    ("unknown resource", refused(Request)),
];

const fn refused(kind: RefusalKind) -> Meaning {
    Meaning::Refused(kind)
}

/// Reads what `qsub` said: `3`, `23.1-6:1`, or a sentence. Warnings may stand around it.
pub fn parse_submit(reply: &Reply<'_>) -> Submitted {
    let said = reply.stdout.lines().chain(reply.stderr.lines()).find_map(accepted);
    said.map_or_else(|| judge(reply, MESSAGES), Submitted::Accepted)
}

fn accepted(line: &str) -> Option<BatchId> {
    let line = line.trim();
    let text = match line.find("our job").and_then(|at| line.get(at + "our job".len()..)) {
        Some(sentence) if line.contains("has been submitted") => {
            sentence.trim_start_matches("-array").split_whitespace().next()?
        }
        _ => line,
    };
    let number = text.split('.').next()?;
    let rest = text.get(number.len()..)?;
    let tasks = rest.bytes().all(|byte| byte.is_ascii_digit() || b".-:".contains(&byte));
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (digits && tasks).then(|| BatchId(number.to_owned()))
}

/// Returns the command that cancels all of these.
pub fn cancel(targets: &[Target]) -> String {
    let mut words = vec!["qdel".to_owned()];
    for Target { id, members } in targets {
        match ranges(members).as_slice() {
            [] => words.push(id.to_string()),
            list => words.extend(list.iter().map(|range| format!("{id}.{range}"))),
        }
    }
    format!("{}{}\n", preamble(60), limited(&words))
}

/// Reads what `qdel` said: a line for each job, on standard output whether it went well or not.
pub fn parse_cancel(reply: &Reply<'_>) -> Result<Cancelled, CouldNotAsk> {
    let mut cancelled = Cancelled::default();
    let mut understood = false;
    for line in reply.stdout.lines().chain(reply.stderr.lines()).map(str::trim) {
        let mut quoted = line.split('"').skip(1).step_by(2);
        let unknown = line.ends_with("does not exist") || line.contains("already in deletion");
        if unknown {
            let first = quoted.next().or_else(|| line.split_whitespace().nth(1)).unwrap_or_default();
            let member = quoted.next().map(|task| format!(".{task}")).unwrap_or_default();
            cancelled.unknown.push(format!("{first}{member}"));
        } else if line.starts_with("denied") || line.contains("insufficient") || line.contains("not allowed") {
            let id = quoted.next().unwrap_or_default();
            cancelled.refused.push((id.to_owned(), line.to_owned()));
        }
        understood |=
            unknown || line.contains("deletion") || line.contains("has deleted") || line.starts_with("denied");
    }
    if understood && !ended_from_outside(reply.status) { Ok(cancelled) } else { Err(could_not_ask(reply)) }
}
