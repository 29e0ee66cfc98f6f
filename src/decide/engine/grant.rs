//! From what a task asks for and what the machine has to what an attempt is granted.

use crate::decide::engine::protocol::Capacity;
use crate::model::job::Outcome;
use crate::model::resources::{Amount, Grant, Request};
use crate::model::task::Retry;
use crate::model::units::{Bytes, Walltime};

/// Returns what a first attempt is granted: the first alternative that fits the machine.
///
/// Of a range, cores are granted as many as the machine has, walltime as much as is allowed, and memory as little as will do:
/// it grows when that was too little. Memory left to csync is the share of the machine that goes with the cores, and nothing
/// enforces it.
///
/// # Errors
/// Why none fits, as a message for people.
pub(super) fn first(alternatives: &[Request], room: Capacity) -> Result<Grant, String> {
    let mut refusal = None;
    for request in alternatives {
        match fit(request, room) {
            Ok(grant) => return Ok(grant),
            // The first preference is what a person thinks of as the task's request.
            Err(message) => refusal = refusal.or(Some(message)),
        }
    }
    let message = refusal.unwrap_or_else(|| "asks for nothing that can be granted".to_owned());
    Err(if alternatives.len() > 1 { format!("no alternative fits: the first {message}") } else { message })
}

fn fit(request: &Request, room: Capacity) -> Result<Grant, String> {
    let processes = request.processes.unwrap_or(1).max(1);
    if let Some(nodes) = request.nodes.filter(|&nodes| nodes > room.nodes.max(1)) {
        return Err(match room.nodes {
            0 | 1 => format!("asks for {nodes} nodes, and this machine is one"),
            most => format!("asks for {nodes} nodes, and {most} can be used there"),
        });
    }
    let cpus = cores(request.cpus, processes, room.cpus)?;
    let (mem, mem_enforced) = memory(request.mem, cpus, room)?;
    if request.gpus > room.gpus {
        return Err(format!("asks for {} GPUs, and {} can be used here", request.gpus, room.gpus));
    }
    let time = match request.time {
        Amount::Auto => None,
        Amount::Exact(time) => Some(time),
        Amount::Range { min, max } => max.or(min),
    };
    Ok(Grant { cpus, mem, mem_enforced, time, gpus: request.gpus })
}

fn cores(amount: Amount<u32>, processes: u32, limit: u32) -> Result<u32, String> {
    let (least, most) = match amount {
        Amount::Auto => (1, 1),
        Amount::Exact(cpus) => (cpus.max(1), cpus.max(1)),
        Amount::Range { min, max } => {
            let least = min.unwrap_or(1).max(1);
            (least, max.unwrap_or(least).max(least))
        }
    };
    let needed = u64::from(least) * u64::from(processes);
    if needed > u64::from(limit) {
        return Err(format!("asks for {needed} cores, and {limit} can be used here"));
    }
    Ok(most.min(limit / processes).max(least) * processes)
}

fn memory(amount: Amount<Bytes>, cpus: u32, room: Capacity) -> Result<(Bytes, bool), String> {
    let share = || Bytes((u128::from(room.mem.0) * u128::from(cpus) / u128::from(room.cpus.max(1))) as u64);
    let least = match amount {
        Amount::Exact(mem) => mem,
        Amount::Range { min: Some(min), .. } => min,
        Amount::Range { min: None, max: Some(max) } => max.min(room.mem),
        Amount::Auto | Amount::Range { min: None, max: None } => return Ok((share(), false)),
    };
    if least > room.mem {
        return Err(format!("asks for {least} of memory, and {} can be used here", room.mem));
    }
    Ok((least, true))
}

/// Returns what the attempt after a failed one is granted: never less than it had, and more of what it ran out of, as far as
/// the machine and the task's own upper bound go.
pub(super) fn next(
    base: Grant,
    last: &Grant,
    outcome: &Outcome,
    retry: &Retry,
    request: &[Request],
    room: Capacity,
) -> Grant {
    let (most_mem, most_time) = bounds(request);
    let mut grant = base;
    if *outcome == Outcome::Oom {
        grant.mem = base.mem.max(last.mem.scaled(retry.mem.max(1.0))).min(room.mem).min(most_mem).max(base.mem);
        // What ran out of memory once must be given room, also where nothing was asked for.
        grant.mem_enforced = true;
    } else if last.mem_enforced {
        grant.mem = base.mem.max(last.mem).min(room.mem);
        grant.mem_enforced = true;
    }
    if let (Some(base), Some(last)) = (base.time, last.time) {
        let factor = if *outcome == Outcome::Timeout { retry.time.max(1.0) } else { 1.0 };
        grant.time = Some(base.max(last.scaled(factor)).min(most_time).max(base));
    }
    grant
}

/// Returns whether another attempt after this outcome could go better than the last: one that ran out of memory, and cannot
/// be given more, would only do so again.
pub(super) fn can_help(next: &Grant, last: &Grant, outcome: &Outcome) -> bool {
    *outcome != Outcome::Oom || !last.mem_enforced || next.mem > last.mem
}

/// Returns the upper bounds that the task's ranges set; of alternatives, the widest.
fn bounds(alternatives: &[Request]) -> (Bytes, Walltime) {
    let mut mem = Bytes(0);
    let mut time = Walltime(0);
    for request in alternatives {
        mem = mem.max(match request.mem {
            Amount::Range { max: Some(max), .. } => max,
            _ => Bytes(u64::MAX),
        });
        time = time.max(match request.time {
            Amount::Range { max: Some(max), .. } => max,
            _ => Walltime(u64::MAX),
        });
    }
    (mem, time)
}
