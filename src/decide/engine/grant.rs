//! From what a task asks for and what the machine has to what an attempt is granted.

use crate::decide::engine::protocol::Capacity;
use crate::decide::engine::rooms::{Misfit, Room, Rooms, refusal};
use crate::model::job::Outcome;
use crate::model::resources::{Amount, Grant, Request};
use crate::model::task::Retry;
use crate::model::units::{Bytes, Walltime};

/// Returns what a first attempt is granted: the first alternative that fits, in the first room that it fits.
///
/// Of a range, cores are granted as many as the room has, walltime as much as is allowed, and memory as little as will do:
/// it grows when that was too little. Memory left to csync is the share of the room that goes with the cores, and nothing
/// enforces it.
///
/// # Errors
/// Why none fits, as a message for people.
pub(super) fn first(alternatives: &[Request], rooms: &Rooms<'_>) -> Result<Grant, String> {
    place(alternatives, rooms).map(|(_, _, grant)| grant)
}

/// Returns the first alternative that fits, with the first room that it fits and what it is granted there.
///
/// # Errors
/// Why none fits, as a message for people.
pub(super) fn place<'r, 'p>(
    alternatives: &'r [Request],
    rooms: &Rooms<'p>,
) -> Result<(&'r Request, Room<'p>, Grant), String> {
    let mut why = None;
    for request in alternatives {
        let mut misfits = Vec::new();
        for room in rooms.each(request) {
            match fit(request, &room) {
                Ok(grant) => return Ok((request, room, grant)),
                Err(misfit) => misfits.push((room.partition, misfit)),
            }
        }
        // The first preference is what a person thinks of as the task's request.
        why = why.or_else(|| Some(refusal(&misfits)));
    }
    let message = why.unwrap_or_else(|| "asks for nothing that can be granted".to_owned());
    Err(if alternatives.len() > 1 { format!("no alternative fits: the first {message}") } else { message })
}

fn fit(request: &Request, room: &Room<'_>) -> Result<Grant, Misfit> {
    let processes = request.processes.unwrap_or(1).max(1);
    let capacity = room.capacity;
    let misfit = |asks: String, most: String| Err(Misfit { asks, most });
    if let Some(nodes) = request.nodes.filter(|&nodes| nodes > capacity.nodes.max(1)) {
        return misfit(format!("{nodes} nodes"), capacity.nodes.max(1).to_string());
    }
    let on_one = if room.is_one_node { " on one node" } else { "" };
    let cpus = match cores(request.cpus, processes, capacity.cpus) {
        Ok(cpus) => cpus,
        Err(needed) => return misfit(format!("{needed} cores{on_one}"), capacity.cpus.to_string()),
    };
    let (mem, mem_enforced) = match memory(request.mem, cpus, capacity) {
        Ok(mem) => mem,
        Err(least) => return misfit(format!("{least} of memory{on_one}"), capacity.mem.to_string()),
    };
    if request.gpus > capacity.gpus {
        return misfit(format!("{} GPUs{on_one}", request.gpus), capacity.gpus.to_string());
    }
    let time = match walltime(request.time, room.time) {
        Ok(time) => time,
        Err((least, most)) => return misfit(format!("{least} of walltime"), most.to_string()),
    };
    Ok(Grant { cpus, mem, mem_enforced, time, gpus: request.gpus })
}

fn walltime(amount: Amount<Walltime>, limit: Option<Walltime>) -> Result<Option<Walltime>, (Walltime, Walltime)> {
    let (least, most) = match amount {
        Amount::Auto | Amount::Range { min: None, max: None } => return Ok(None),
        Amount::Exact(time) => (time, time),
        Amount::Range { min, max } => (min.or(max).unwrap_or_default(), max.or(min).unwrap_or_default()),
    };
    // A range without a lower end takes what there is.
    let least = if matches!(amount, Amount::Range { min: None, .. }) { Walltime(0) } else { least };
    match limit {
        Some(limit) if least > limit => Err((least, limit)),
        Some(limit) => Ok(Some(most.min(limit))),
        None => Ok(Some(most)),
    }
}

/// Returns the cores granted.
///
/// # Errors
/// How many are needed, when there are not as many.
fn cores(amount: Amount<u32>, processes: u32, limit: u32) -> Result<u32, u64> {
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
        return Err(needed);
    }
    Ok(most.min(limit / processes).max(least) * processes)
}

/// Returns the memory granted, and whether going over it ends the attempt.
///
/// # Errors
/// How much is needed, when there is not as much.
fn memory(amount: Amount<Bytes>, cpus: u32, room: Capacity) -> Result<(Bytes, bool), Bytes> {
    let share = || Bytes((u128::from(room.mem.0) * u128::from(cpus) / u128::from(room.cpus.max(1))) as u64);
    let least = match amount {
        Amount::Exact(mem) => mem,
        Amount::Range { min: Some(min), .. } => min,
        Amount::Range { min: None, max: Some(max) } => max.min(room.mem),
        Amount::Auto | Amount::Range { min: None, max: None } => return Ok((share(), false)),
    };
    if least > room.mem {
        return Err(least);
    }
    Ok((least, true))
}

/// Returns what the attempt after a failed one is granted: in the first room where that can help, else in the first that it fits.
///
/// # Errors
/// Why no room has what is asked for, as a message for people.
pub(super) fn next(
    alternatives: &[Request],
    rooms: &Rooms<'_>,
    last: &Grant,
    outcome: &Outcome,
    retry: &Retry,
) -> Result<Grant, String> {
    let (request, first, base) = place(alternatives, rooms)?;
    let bounds = bounds(alternatives);
    let fallback = grown(base, last, outcome, retry, bounds, &first);
    let mut all = rooms.each(request).filter_map(|room| {
        let base = fit(request, &room).ok()?;
        let grant = grown(base, last, outcome, retry, bounds, &room);
        can_help(&grant, last, outcome).then_some(grant)
    });
    Ok(all.next().unwrap_or(fallback))
}

/// Returns never less than an attempt had, and more of what it ran out of, as far as the room and the task's own upper bound go.
fn grown(
    base: Grant,
    last: &Grant,
    outcome: &Outcome,
    retry: &Retry,
    (most_mem, most_time): (Bytes, Walltime),
    room: &Room<'_>,
) -> Grant {
    let mut grant = base;
    let limit = room.capacity.mem;
    if *outcome == Outcome::Oom {
        grant.mem = base.mem.max(last.mem.scaled(retry.mem.max(1.0))).min(limit).min(most_mem).max(base.mem);
        // What ran out of memory once must be given room, also where nothing was asked for.
        grant.mem_enforced = true;
    } else if last.mem_enforced {
        grant.mem = base.mem.max(last.mem).min(limit);
        grant.mem_enforced = true;
    }
    if let (Some(base), Some(last)) = (base.time, last.time) {
        let factor = if *outcome == Outcome::Timeout { retry.time.max(1.0) } else { 1.0 };
        let most = most_time.min(room.time.unwrap_or(Walltime(u64::MAX)));
        grant.time = Some(base.max(last.scaled(factor)).min(most).max(base));
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
