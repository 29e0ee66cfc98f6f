//! `qstat -x`: the history.

use crate::language::batch::call::Ask;
use crate::language::batch::pbs::queue::node;
use crate::language::batch::pbs::records::{self, Record};
use crate::language::batch::pbs::traces::TRACE;
use crate::language::batch::table::c_time;
use crate::language::batch::text::{clock_ms, memory};
use crate::model::batch::{CouldNotAsk, Ending, EndingClass, Members, Reading, Reply};
use crate::model::units::{Bytes, Walltime};

/// How comments of versions that report every kill alike say that it was for memory.
const MEMORY: [&str; 2] = ["exceeded resource mem", "exceeded resource vmem"];

/// What it means that a routing queue found no other for a job.
const UNROUTED: &str = "no queue behind its routing queue takes a job of that size and length";

/// Returns the command that asks the history, members of arrays one by one.
pub fn history(ask: Ask<'_>) -> String {
    records::ask(ask, "-x")
}

/// Reads what it said. Where history is off nothing was asked: `qstat -x` then keeps silent about living jobs too.
pub fn parse_history(reply: &Reply<'_>) -> Result<Vec<Ending>, CouldNotAsk> {
    let records = records::parse(reply)?;
    // An array's own exit status is that of whichever member ended last. What the log says of it is said of all.
    let tells = |record: &&Record<'_>| !record.is_array() || record.get(TRACE).is_some();
    Ok(records.iter().filter(tells).filter_map(read).collect())
}

fn read(record: &Record<'_>) -> Option<Ending> {
    let word = record.get("job_state")?;
    let class = class(record, word);
    let status = record.number("Exit_status").filter(|_| is_over(word) && class != EndingClass::Untold);
    let (exit_code, signal) = status.map(code).unwrap_or_default();
    let wall = record.get("resources_used.walltime").and_then(clock_ms).map(|ms| Walltime(ms / 1000));
    Some(Ending {
        id: record.id.clone(),
        member: match record.members {
            Members::One(member) => Some(member),
            Members::All | Members::Ranges(_) => None,
        },
        name: record.get("Job_Name").map(str::to_owned),
        class,
        word: word.to_owned(),
        exit_code,
        signal,
        peak_memory: peak(record, class),
        cpu_ms: record.get("resources_used.cput").and_then(clock_ms),
        wall: wall.map(|wall| match class {
            EndingClass::Timeout => Reading::MoreThan(wall),
            _ => Reading::Measured(wall),
        }),
        start: record.get("stime").and_then(c_time),
        end: record.get("obittime").or_else(|| record.get("mtime")).filter(|_| is_over(word)).and_then(c_time),
        node: record.get("exec_host").and_then(node),
        why: why(record),
    })
}

/// Over are finished jobs, and members of an array that still lives. A job that was sent back keeps its old exit status.
fn is_over(word: &str) -> bool {
    matches!(word, "F" | "X" | "C")
}

fn ran(record: &Record<'_>) -> bool {
    record.number("run_count").is_some_and(|count| count >= 1) || record.get("exec_host").is_some()
}

/// Whether PBS keeps no record of that member, and shows its array's instead, exit status included: that of one that was deleted
/// before it ran, and without a history of any that is over. What a dependency, or a deletion, did to the whole is its members' end.
fn is_stand_in(record: &Record<'_>, comment: &str, substate: Option<i32>) -> bool {
    let of_all = record.get("Exit_status").is_none() && matches!(substate, Some(91 | 92));
    comment == "Subjob finished" && !ran(record) && !of_all
}

pub(super) fn class(record: &Record<'_>, word: &str) -> EndingClass {
    let substate = record.number("substate");
    if !is_over(word) || substate == Some(94) {
        return EndingClass::Live;
    }
    let comment = record.get("comment").unwrap_or_default();
    if is_stand_in(record, comment, substate) {
        return EndingClass::Untold;
    }
    // A script that went on after a process was killed exits with 0: this alone tells.
    // Swap has a limit, and words, of its own.
    let over_memory = |text: &str| text.contains("mem limit exceeded") || text.contains("memsw limit exceeded");
    if record.get("resources_used.diag_messages").is_some_and(over_memory) {
        return EndingClass::Oom;
    }
    // The negative ones: `JOB_EXEC_...` in OpenPBS's job.h.
    match record.number("Exit_status") {
        None if substate == Some(91) => EndingClass::Cancelled,
        None => EndingClass::NeverRan,
        Some(0) if !ran(record) => EndingClass::Cancelled,
        Some(0) => EndingClass::Completed,
        Some(-29) => EndingClass::Timeout,
        Some(-26 | -27 | -31) => EndingClass::Oom,
        // -4 to -6: its node's daemon was started anew and ended what it found; -14: a node of several was lost; -32: its
        // node was set up anew.
        Some(-32 | -20 | -14 | -6..=-4) => EndingClass::NodeFail,
        // Checkpointed, or sent back by a hook after it ran.
        Some(-12 | -11 | -15 | -18) => EndingClass::Requeued,
        // Nothing of it ran: no such user, a password, a hook that refused it or broke, other nodes that did not join.
        Some(-10..=-1 | -13 | -16 | -17 | -19 | -23..=-21 | -30) => EndingClass::LaunchFailed,
        // Versions before 14 report every kill as 271.
        Some(271) if comment.contains("walltime") => EndingClass::Timeout,
        Some(271) if MEMORY.iter().any(|text| comment.contains(text)) => EndingClass::Oom,
        // Deleted, and ended by that, whatever the signal: `qdel -W force` kills at once.
        Some(129..=192 | 257..=320) if substate == Some(91) => EndingClass::Cancelled,
        Some(_) => EndingClass::Failed,
    }
}

/// Reads an exit status: above 256 a signal to the top process, above 128 what shells say of a child, below 0 PBS's own.
fn code(status: i32) -> (Option<i32>, Option<i32>) {
    match status {
        257..=320 => (Some(status - 128), Some(status - 256)),
        129..=192 => (Some(status), Some(status - 128)),
        0.. => (Some(status), None),
        _ => (None, None),
    }
}

/// Reads the peak: `0kb` is unmeasured, and as much as was asked for is where it was stopped.
fn peak(record: &Record<'_>, class: EndingClass) -> Option<Reading<Bytes>> {
    let bytes = |key: &str| record.get(key).and_then(|text| memory(text, Bytes(1))).filter(|bytes| bytes.0 > 0);
    let (asked, used) = (bytes("Resource_List.mem"), bytes("resources_used.mem"));
    if class == EndingClass::Oom {
        return asked.or(used).map(Reading::MoreThan);
    }
    used.map(|used| if asked == Some(used) { Reading::MoreThan(used) } else { Reading::Measured(used) })
}

fn why(record: &Record<'_>) -> Option<String> {
    let undelivered = (record.number("Stageout_status") == Some(0)).then_some("its log could not be delivered");
    let parts = [record.get("resources_used.diag_messages"), undelivered, record.get("comment")];
    let parts: Vec<&str> = parts.into_iter().flatten().collect();
    let why = (!parts.is_empty()).then(|| parts.join("; "))?;
    let is_unrouted = record.get(TRACE).is_some() && why.ends_with("by all possible destinations");
    Some(if is_unrouted { format!("{why}: {UNROUTED}") } else { why })
}
