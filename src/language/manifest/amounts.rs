//! `resources`, `retry` and `checkpoint`: amounts with units.

use std::str::FromStr;

use crate::language::document::{Kind, NodeId, Reading, did_you_mean};
use crate::language::manifest::check::Check;
use crate::language::manifest::draft::{Draft, Origin};
use crate::language::manifest::keys::{CheckpointKey, RangeKey, ResourceKey, RetryKey};
use crate::model::resources::{Amount, Request};
use crate::model::task::{Checkpoint, RetryOn};
use crate::model::units::{Bytes, Walltime};

/// Most cores, GPUs, nodes or ranks of one instance.
const MOST: i64 = 1 << 24;

/// Lays `resources` over a draft: a table over each alternative there is, an array in place of them.
pub(super) fn resources(check: &mut Check<'_, '_>, id: NodeId, origin: Origin, draft: &mut Draft) {
    let tree = check.tree;
    match tree.kind(id) {
        Kind::Table => {
            let mut all = std::mem::take(&mut draft.resources);
            for (index, request) in all.iter_mut().enumerate() {
                let mistakes = std::mem::take(&mut check.mistakes);
                request_of(check, id, origin, request, draft);
                // The same table over each alternative has the same mistakes.
                if index > 0 {
                    check.mistakes = mistakes;
                } else {
                    check.mistakes.prepend(mistakes);
                }
            }
            draft.resources = all;
        }
        Kind::Array => {
            let base = draft.resources.first().cloned().unwrap_or_default();
            let mut all = Vec::new();
            for child in tree.children(id) {
                let mut request = base.clone();
                request_of(check, child, origin, &mut request, draft);
                all.push(request);
            }
            if all.is_empty() {
                let help = "write a table: `resources = { cpus = 1 }`";
                check.error(tree.span(id), "`resources` has no alternative", help);
            } else {
                draft.resources = all;
            }
        }
        _ => {
            check.wrong(id, "resources", "a table, or an array of tables");
            check.help_last("write `resources = { cpus = 4, mem = \"8G\" }`");
        }
    }
}

fn request_of(check: &mut Check<'_, '_>, id: NodeId, origin: Origin, request: &mut Request, draft: &mut Draft) {
    check.keys::<ResourceKey>(id, "`resources`", |check, key, id| {
        let text = key.text();
        let count =
            |check: &mut Check<'_, '_>, least: i64| check.integer(id, text, least, MOST).map(|count| count as u32);
        match key {
            ResourceKey::Cpus => request.cpus = amount(check, id, text, cores).unwrap_or(request.cpus),
            ResourceKey::Mem => request.mem = amount(check, id, text, unit::<Bytes>).unwrap_or(request.mem),
            ResourceKey::Time => request.time = amount(check, id, text, unit::<Walltime>).unwrap_or(request.time),
            ResourceKey::Gpus => request.gpus = count(check, 0).unwrap_or(request.gpus),
            ResourceKey::Disk => request.disk = unit::<Bytes>(check, id, text).or(request.disk),
            ResourceKey::Nodes => request.nodes = count(check, 1).or(request.nodes),
            ResourceKey::Processes => request.processes = count(check, 1).or(request.processes),
            // Of the task, and not of one alternative: no alternative does what it does without.
            ResourceKey::Internet => draft.internet = check.boolean(id, text).or(draft.internet),
        }
        draft.origins.insert(format!("resources.{text}"), origin.at(check.tree.key_span(id)));
    });
}

/// Reads a number of cores.
fn cores(check: &mut Check<'_, '_>, id: NodeId, key: &str) -> Option<u32> {
    if check.tree.kind(id) == Kind::Integer {
        return check.integer(id, key, 1, MOST).map(|count| count as u32);
    }
    check.wrong(id, key, "a whole number, `\"auto\"` or `{ min = , max = }`");
    None
}

/// Reads a text with a unit.
fn unit<T: FromStr<Err: std::fmt::Display>>(check: &mut Check<'_, '_>, id: NodeId, key: &str) -> Option<T> {
    let tree = check.tree;
    let Some(text) = tree.str(id) else {
        check.wrong(id, key, "a text with a unit");
        if let Some(number) = tree.scalar(id) {
            let units = if matches!(key, "mem" | "disk") {
                format!("\"{number}M\"` or `\"{number}G")
            } else {
                format!("\"{number}s\"` or `\"{number}m")
            };
            check.help_last(format!("say the unit: `{units}\"`"));
        }
        return None;
    };
    if text.contains('{') {
        let message = format!("placeholders are not filled in in `{key}`");
        check.error(tree.span(id), message, "write the value, or lay it over with `[defaults.resources]`");
        return None;
    }
    match text.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            let message = error.to_string();
            let (what, help) = message.split_once("; ").unwrap_or((&message, ""));
            check.error(tree.span(id), what, help);
            None
        }
    }
}

/// Reads `"auto"`, a value, or `{ min = , max = }`.
fn amount<T: PartialOrd + Copy>(
    check: &mut Check<'_, '_>,
    id: NodeId,
    key: &str,
    read: fn(&mut Check<'_, '_>, NodeId, &str) -> Option<T>,
) -> Option<Amount<T>> {
    let tree = check.tree;
    if tree.str(id) == Some("auto") {
        return Some(Amount::Auto);
    }
    if tree.kind(id) != Kind::Table {
        return read(check, id, key).map(Amount::Exact);
    }
    let (mut min, mut max) = (None, None);
    let before = check.mistakes.total();
    let mut good = true;
    check.keys::<RangeKey>(id, &format!("`{key}`"), |check, end, id| {
        let value = read(check, id, &format!("{key}.{}", end.text()));
        good &= value.is_some();
        match end {
            RangeKey::Min => min = value,
            RangeKey::Max => max = value,
        }
    });
    if let (Some(least), Some(most)) = (min, max)
        && least > most
    {
        check.mistakes.error(tree.span(id), format!("`{key}`: `min` is over `max`"));
    }
    if good && min.is_none() && max.is_none() && check.mistakes.total() == before {
        check.error(
            tree.span(id),
            format!("`{key}` says neither `min` nor `max`"),
            "write `\"auto\"` to let csync choose",
        );
    }
    Some(Amount::Range { min, max })
}

/// Lays `retry` over a draft.
pub(super) fn retry(check: &mut Check<'_, '_>, id: NodeId, origin: Origin, draft: &mut Draft) {
    if check.tree.kind(id) == Kind::Integer {
        let number = check.tree.scalar(id).unwrap_or_default().into_owned();
        check.wrong(id, "retry", "a table");
        check.help_last(format!("write `retries = {number}`"));
        return;
    }
    check.keys::<RetryKey>(id, "`retry`", |check, key, id| {
        let text = key.text();
        let retry = &mut draft.retry;
        match key {
            RetryKey::Max => {
                let max = check.integer(id, text, 0, i64::from(u32::MAX));
                retry.max = max.map_or(retry.max, |max| max as u32);
            }
            RetryKey::On => retry.on = causes(check, id),
            RetryKey::Mem => retry.mem = factor(check, id, text).unwrap_or(retry.mem),
            RetryKey::Time => retry.time = factor(check, id, text).unwrap_or(retry.time),
            RetryKey::Factor => retry.factor = factor(check, id, text).unwrap_or(retry.factor),
            RetryKey::Delay => retry.delay = seconds(check, id, text).map_or(retry.delay, |wait| wait as f64),
            RetryKey::MaxDelay => {
                retry.max_delay = seconds(check, id, text).map_or(retry.max_delay, |wait| wait as f64);
            }
        }
        draft.origins.insert(format!("retry.{text}"), origin.at(check.tree.key_span(id)));
    });
}

fn factor(check: &mut Check<'_, '_>, id: NodeId, key: &str) -> Option<f64> {
    let value = check.tree.number(id);
    match value {
        None => check.wrong(id, key, "a number"),
        Some(value) if !(1.0..=1000.0).contains(&value) => {
            check.mistakes.error(check.tree.span(id), format!("`{key}` is a factor between 1 and 1000"));
        }
        Some(_) => return value,
    }
    None
}

fn seconds(check: &mut Check<'_, '_>, id: NodeId, key: &str) -> Option<u64> {
    unit::<Walltime>(check, id, key).map(|time| time.0)
}

/// Reads the failures that are answered by another attempt.
fn causes(check: &mut Check<'_, '_>, id: NodeId) -> Vec<RetryOn> {
    let words = ["oom", "timeout", "node_fail", "preempted", "stage", "spawn", "exit"];
    let mut causes = Vec::new();
    for (id, text) in check.strings(id, "on", true) {
        let code = text.strip_prefix("exit:").map(|code| code.trim().parse::<i32>().ok());
        let cause = match (text, code) {
            ("oom", _) => Some(RetryOn::Oom),
            ("timeout", _) => Some(RetryOn::Timeout),
            ("node_fail", _) => Some(RetryOn::NodeFail),
            ("preempted", _) => Some(RetryOn::Preempted),
            ("stage", _) => Some(RetryOn::Stage),
            ("spawn", _) => Some(RetryOn::Spawn),
            ("exit", _) => Some(RetryOn::Exit(None)),
            (_, Some(Some(code @ 1..=255))) => Some(RetryOn::Exit(Some(code))),
            _ => None,
        };
        if cause.is_none() {
            let help = match text {
                "all" | "any" | "always" | "error" | "failure" => "any exit code but 0 is `exit`".to_owned(),
                _ if code.is_some() || text.parse::<i32>().is_ok() => {
                    "write `exit:CODE` with a code from 1 to 255".to_owned()
                }
                _ => did_you_mean(text, words).unwrap_or_else(|| {
                    format!("there are {}, `exit:CODE`", words.map(|word| format!("`{word}`")).join(", "))
                }),
            };
            check.error(check.tree.span(id), format!("`{text}` is no failure to retry on"), help);
        }
        causes.extend(cause);
    }
    causes
}

/// Reads `checkpoint`.
pub(super) fn checkpoint(check: &mut Check<'_, '_>, id: NodeId) -> Option<Checkpoint> {
    let signals = ["USR1", "USR2", "TERM", "INT", "HUP", "QUIT", "CONT", "ALRM", "XCPU", "WINCH"];
    let (mut signal, mut before) = (None, None);
    let mistakes = check.mistakes.errors();
    check.keys::<CheckpointKey>(id, "`checkpoint`", |check, key, id| match key {
        CheckpointKey::Signal => {
            let Some(text) = check.string(id, "signal") else { return };
            let name = text.strip_prefix("SIG").unwrap_or(text);
            if signals.contains(&name) {
                signal = Some(name.to_owned());
            } else {
                let help =
                    did_you_mean(name, signals).unwrap_or_else(|| "write `USR1`, `USR2`, `TERM` or `INT`".to_owned());
                check.error(check.tree.span(id), format!("`{text}` is no signal that a command can answer"), help);
            }
        }
        CheckpointKey::Before => before = seconds(check, id, "before"),
    });
    if let (Some(signal), Some(before)) = (&signal, before) {
        return Some(Checkpoint { signal: signal.clone(), before });
    }
    if check.mistakes.errors() == mistakes {
        let help = "write `checkpoint = { signal = \"USR1\", before = \"5m\" }`";
        check.error(check.tree.key_span(id), "`checkpoint` needs `signal` and `before`", help);
    }
    None
}
