//! `qstat`: the queue.

use crate::language::batch::call::Ask;
use crate::language::batch::pbs::history::class;
use crate::language::batch::pbs::records::{self, Record};
use crate::language::batch::table::c_time;
use crate::model::batch::{CouldNotAsk, Prospect, Queue, QueueState, Queued, Reply};
use crate::model::units::Timestamp;

/// Returns the command that asks the queue, members of arrays one by one.
pub fn queue(ask: Ask<'_>) -> String {
    records::ask(ask, "")
}

/// Reads what it said.
pub fn parse_queue(reply: &Reply<'_>) -> Result<Queue, CouldNotAsk> {
    Ok(Queue::new(records::parse(reply)?.iter().filter_map(read).collect()))
}

fn read(record: &Record<'_>) -> Option<Queued> {
    let word = record.get("job_state")?;
    let substate = record.number("substate");
    let comment = record.get("comment");
    let state = state(word, substate);
    let waits = matches!(state, QueueState::Waiting | QueueState::Held);
    Some(Queued {
        id: record.id.clone(),
        members: record.members.clone(),
        name: record.get("Job_Name").map(str::to_owned),
        state,
        word: word.to_owned(),
        // Members that are over stay as long as their array lives.
        over: (state == QueueState::Over).then(|| class(record, word)),
        reason: comment.filter(|_| waits).map(str::to_owned),
        prospect: if waits { prospect(record, comment.unwrap_or_default()) } else { Prospect::Normal },
        partition: record.get("queue").map(str::to_owned),
        node: record.get("exec_host").and_then(node),
        start: record.get("stime").and_then(c_time).or_else(|| expected(record)),
    })
}

/// Reads when the scheduler expects it to start. Behind a job without a walltime, which is taken to run for five years, that says
/// nothing.
fn expected(record: &Record<'_>) -> Option<Timestamp> {
    const MOST: i64 = 365 * 86_400 * 1_000_000;
    let start = record.get("estimated.start_time").and_then(c_time)?;
    let changed = record.get("mtime").and_then(c_time);
    changed.is_none_or(|changed| start.0.saturating_sub(changed.0) < MOST).then_some(start)
}

/// Takes the first host out of `pbsn1/0*2+pbsn2/1*2`.
pub(super) fn node(hosts: &str) -> Option<String> {
    hosts.split(['/', '+']).next().filter(|host| !host.is_empty()).map(str::to_owned)
}

fn state(word: &str, substate: Option<i32>) -> QueueState {
    // Moved to another server: this one will not tell more.
    if substate == Some(94) {
        return QueueState::Waiting;
    }
    match word {
        "Q" | "T" | "M" => QueueState::Waiting,
        // Waits for its time, or for a file that cannot be staged in.
        "H" | "W" => QueueState::Held,
        "R" | "B" => QueueState::Running,
        "S" | "U" => QueueState::Suspended,
        "F" | "X" | "C" => QueueState::Over,
        _ => QueueState::Ending,
    }
}

fn prospect(record: &Record<'_>, comment: &str) -> Prospect {
    // A system hold is a dependency's (22), or that of a job that PBS failed to start too often: an administrator's to lift.
    let by_system = |holds: &str| holds.contains(['s', 'p']) && record.number("substate") == Some(20);
    let held = record.get("Hold_Types").is_some_and(|holds| holds.contains(['u', 'o']) || by_system(holds));
    let stopped = ["Queue not started", "Queue not enabled", "held by"].iter().any(|text| comment.contains(text));
    if comment.starts_with("Can Never Run") {
        Prospect::Never
    } else if held || stopped || record.number("substate") == Some(37) {
        Prospect::Blocked
    } else {
        Prospect::Normal
    }
}
