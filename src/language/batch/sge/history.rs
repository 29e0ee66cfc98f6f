//! `qacct`.

use std::collections::BTreeMap;

use crate::language::batch::call::{Ask, could_not_ask, preamble};
use crate::language::batch::table::c_time;
use crate::language::batch::text::{clock_ms, given, memory};
use crate::language::quote::sh;
use crate::model::batch::{BatchId, CouldNotAsk, Ending, EndingClass, Reading, Reply};
use crate::model::units::{Bytes, Walltime};

/// Returns the command that asks the history: one call a job, each of which reads the site's whole accounting file. It knows
/// of an ending only some seconds (15 by default) after the queue forgot the job.
pub fn history(ask: Ask<'_>) -> String {
    let words: Vec<_> = match ask {
        Ask::Mine => return format!("{}$csync_limit qacct -o \"$(id -un)\" -j\n", preamble(60)),
        Ask::Ids(ids) => ids.iter().map(|id| sh(id.as_str())).collect(),
        Ask::Names(names) => names.iter().map(|name| sh(name.as_str())).collect(),
    };
    format!("{}for j in {}; do $csync_limit qacct -j \"$j\"; done\n", preamble(60), words.join(" "))
}

/// Reads what it said. A job that it does not know is left out.
pub fn parse_history(reply: &Reply<'_>) -> Result<Vec<Ending>, CouldNotAsk> {
    const FILE: [&str; 3] = ["accounting", "commlib error", "unable to send message"];
    let endings: Vec<Ending> = records(reply.stdout).iter().filter_map(read).collect();
    let mut complaints = reply.stderr.lines().map(str::trim);
    let unknown = complaints.any(|line| line.starts_with("error: job") && line.ends_with("not found"));
    let broken = FILE.iter().any(|text| reply.stderr.contains(text));
    if broken || (endings.is_empty() && !unknown && reply.status != 0) {
        return Err(could_not_ask(reply));
    }
    Ok(latest(endings))
}

/// Of a member that was sent back, the last start counts.
fn latest(endings: Vec<Ending>) -> Vec<Ending> {
    let mut places: BTreeMap<(BatchId, Option<u32>), usize> = BTreeMap::new();
    let mut found: Vec<Ending> = Vec::new();
    for ending in endings {
        let at = *places.entry((ending.id.clone(), ending.member)).or_insert(found.len());
        match found.get_mut(at) {
            Some(earlier) => *earlier = ending,
            None => found.push(ending),
        }
    }
    found
}

fn records(text: &str) -> Vec<BTreeMap<&str, &str>> {
    let mut found = vec![BTreeMap::new()];
    for line in text.lines() {
        if line.starts_with("=====") {
            found.push(BTreeMap::new());
        } else if let (Some(record), Some((key, value))) = (found.last_mut(), pair(line)) {
            record.insert(key, value);
        }
    }
    found
}

fn pair(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(char::is_whitespace)?;
    Some((key, value.trim()))
}

fn read(keys: &BTreeMap<&str, &str>) -> Option<Ending> {
    let get = |key: &str| keys.get(key).copied();
    let number = |key: &str| get(key)?.split_whitespace().next()?.parse::<i32>().ok();
    let id = get("jobnumber").filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()))?;
    let failed = number("failed").unwrap_or(0);
    let status = number("exit_status");
    let started = get("start_time").and_then(c_time);
    let wall = get("ru_wallclock").and_then(seconds);
    let class = class(keys, failed, status, wall);
    Some(Ending {
        id: BatchId(id.to_owned()),
        member: get("taskid").and_then(|task| task.parse().ok()),
        name: get("jobname").map(str::to_owned),
        class,
        word: get("failed").unwrap_or_default().to_owned(),
        exit_code: status.filter(|_| started.is_some()),
        signal: status.filter(|status| (129..=192).contains(status)).map(|status| status - 128),
        peak_memory: peak(keys, class),
        cpu_ms: get("cpu").and_then(|text| clock_ms(text.trim_end_matches('s'))),
        wall: wall.filter(|_| started.is_some()).map(|wall| match class {
            EndingClass::Timeout => Reading::MoreThan(wall),
            _ => Reading::Measured(wall),
        }),
        start: started,
        end: get("end_time").and_then(c_time),
        node: get("hostname").and_then(given).map(str::to_owned),
        why: get("failed").and_then(|text| text.split_once(':')).map(|(_, why)| why.trim().to_owned()),
    })
}

fn seconds(text: &str) -> Option<Walltime> {
    text.trim_end_matches('s').split('.').next()?.parse().ok().map(Walltime)
}

/// Reads the code in `failed`. `37` is any of three limits: which, the request tells.
fn class(keys: &BTreeMap<&str, &str>, failed: i32, status: Option<i32>, wall: Option<Walltime>) -> EndingClass {
    match failed {
        0 if status == Some(0) => EndingClass::Completed,
        // 30: exit code 100, "application error"; 100: ended by a signal, whoever sent it.
        0 | 30 | 100 => EndingClass::Failed,
        // The execution daemon came back and does not find it any more: its node, or what watched over it there, was lost.
        19 | 21 => EndingClass::NodeFail,
        25 => EndingClass::Requeued,
        37 => {
            let limit = asked(keys, "h_rt").and_then(clock_ms).map(|ms| Walltime(ms / 1000));
            match (limit, wall) {
                (Some(limit), Some(wall)) if wall < limit && asked(keys, "h_vmem").is_some() => EndingClass::Oom,
                _ => EndingClass::Timeout,
            }
        }
        _ => EndingClass::LaunchFailed,
    }
}

/// Finds a request in `category  -l h_rt=5,h_vmem=2G -pe smp 2`.
fn asked<'a>(keys: &BTreeMap<&str, &'a str>, name: &str) -> Option<&'a str> {
    let words = keys.get("category")?.split([' ', ',']);
    words.filter_map(|word| word.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// `ru_maxrss` is misprinted by 1024; `maxvmem` counts address space, and is 0 where a job was too short to be measured.
fn peak(keys: &BTreeMap<&str, &str>, class: EndingClass) -> Option<Reading<Bytes>> {
    let used = keys.get("maxvmem").and_then(|text| memory(text, Bytes(1))).filter(|bytes| bytes.0 > 0)?;
    Some(if class == EndingClass::Oom { Reading::MoreThan(used) } else { Reading::Measured(used) })
}
