//! From what a task asks for and what the machine has to what an attempt is granted.

use crate::decide::engine::protocol::Capacity;
use crate::decide::engine::rooms::{Misfit, Room, Rooms, refusal};
use crate::model::job::Outcome;
use crate::model::resources::{Amount, Grant, Hold, Request};
use crate::model::task::Retry;
use crate::model::units::{Bytes, Walltime};

/// Returns what a first attempt is granted: the first alternative that fits, in the first room that it fits.
///
/// Of a range, cores are granted as many as the room has, walltime as much as is allowed, and memory as little as will do:
/// it grows when that was too little. Memory left to csync is the share of the room that goes with the cores, and nobody is held
/// to it.
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
    if rooms.is_offline() {
        return Err("asks for the internet, and there is none where jobs run".to_owned());
    }
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

/// Returns the partitions that the first alternative fits which fits any, in the order in which they are tried.
pub(super) fn fitting<'p>(alternatives: &[Request], rooms: &Rooms<'p>) -> Vec<&'p str> {
    let of = |request: &Request| -> Vec<&'p str> {
        rooms.each(request).filter(|room| fit(request, room).is_ok()).filter_map(|room| room.partition).collect()
    };
    let mut all = alternatives.iter().filter(|_| !rooms.is_offline()).map(of);
    all.find(|names| !names.is_empty()).unwrap_or_default()
}

/// Returns the same where a task asks for all that was learned of it.
pub(super) fn fitting_with<'p>(alternatives: &[Request], needs: &Needs, rooms: &Rooms<'p>) -> Vec<&'p str> {
    fitting(&needs.filled(alternatives, Amount::Exact), rooms)
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
    let (mem, hold) = match memory(request.mem, cpus, capacity) {
        Ok(mem) => mem,
        Err(least) => return misfit(format!("{least} of memory{on_one}"), capacity.mem.to_string()),
    };
    if request.gpus > capacity.gpus {
        let gpus = if request.gpus == 1 { "GPU" } else { "GPUs" };
        return misfit(format!("{} {gpus}{on_one}", request.gpus), capacity.gpus.to_string());
    }
    let time = match walltime(request.time, room.time) {
        Ok(time) => time,
        Err((least, most)) => return misfit(format!("{least} of walltime"), most.to_string()),
    };
    Ok(Grant { cpus, mem, hold, time, gpus: request.gpus })
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

/// Returns the memory granted, and what that means.
///
/// # Errors
/// How much is needed, when there is not as much.
fn memory(amount: Amount<Bytes>, cpus: u32, room: Capacity) -> Result<(Bytes, Hold), Bytes> {
    let share = || Bytes((u128::from(room.mem.0) * u128::from(cpus) / u128::from(room.cpus.max(1))) as u64);
    let least = match amount {
        Amount::Exact(mem) => mem,
        Amount::Range { min: Some(min), .. } => min,
        Amount::Range { min: None, max: Some(max) } => max.min(room.mem),
        Amount::Auto | Amount::Range { min: None, max: None } => return Ok((share(), Hold::Nothing)),
    };
    if least > room.mem {
        return Err(least);
    }
    Ok((least, Hold::Limit))
}

/// What to ask for where a task leaves that to csync, by what was learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// Memory.
    pub(super) mem: Option<Bytes>,
    /// Walltime.
    pub(super) time: Option<Walltime>,
    /// Memory after the last attempt ran out of it.
    pub(super) mem_after: Option<Bytes>,
    /// Walltime after the last attempt ran out of it.
    pub(super) time_after: Option<Walltime>,
    /// How an attempt is held to memory that csync chose: by a batch system that holds everybody to what is asked for; elsewhere
    /// not at all, since a guess of csync's ends nothing.
    pub(super) hold: Hold,
}

impl Needs {
    /// Returns the alternatives with what was learned in them: exactly that, or as much of it as there is.
    fn filled(&self, alternatives: &[Request], how: fn(u64) -> Amount<u64>) -> Vec<Request> {
        let fill = |request: &Request| Request {
            mem: filled(request.mem, self.mem, |bytes| bytes.0, Bytes, how),
            time: filled(request.time, self.time, |time| time.0, Walltime, how),
            ..request.clone()
        };
        alternatives.iter().map(fill).collect()
    }
}

/// Puts what was learned where an amount is left to csync, and into a range as far as that goes.
fn filled<T: Copy>(
    amount: Amount<T>,
    learned: Option<T>,
    number: impl Fn(T) -> u64,
    unit: impl Fn(u64) -> T,
    how: fn(u64) -> Amount<u64>,
) -> Amount<T> {
    let Some(value) = learned.map(&number) else { return amount };
    match amount {
        Amount::Auto | Amount::Range { min: None, max: None } => match how(value) {
            Amount::Exact(value) => Amount::Exact(unit(value)),
            Amount::Range { min, max } => Amount::Range { min: min.map(&unit), max: max.map(&unit) },
            Amount::Auto => amount,
        },
        Amount::Range { min: Some(min), max } => {
            let most = max.map_or(u64::MAX, &number).max(number(min));
            Amount::Range { min: Some(unit(value.clamp(number(min), most))), max }
        }
        Amount::Range { min: None, .. } | Amount::Exact(_) => amount,
    }
}

/// Returns what an attempt is granted, by what the last one had where there was one.
///
/// What was learned counts where a task leaves an amount to csync. A room that has all of it is looked for first; where none has,
/// it gets what there is.
///
/// # Errors
/// Why no room has what is asked for, as a message for people.
pub(super) fn granted(
    alternatives: &[Request],
    rooms: &Rooms<'_>,
    needs: &Needs,
    last: Option<(&Grant, &Outcome, &Retry)>,
) -> Result<Grant, String> {
    let any = needs.mem.is_some() || needs.time.is_some();
    let filled = any.then(|| {
        let exact = needs.filled(alternatives, Amount::Exact);
        let as_much = || needs.filled(alternatives, |value| Amount::Range { min: None, max: Some(value) });
        if place(&exact, rooms).is_ok() { exact } else { as_much() }
    });
    let asked = filled.as_deref().unwrap_or(alternatives);
    let (request, room, grant) = place(asked, rooms)?;
    let hold = hold(alternatives, asked, request, needs);
    let base = Grant { hold: grant.hold.min(hold), ..grant };
    let Some((last, outcome, retry)) = last else { return Ok(base) };
    Ok(next((request, &room, base), rooms, &Last { grant: last, outcome, retry, needs, alternatives, hold }))
}

/// Returns how an attempt is held to its memory: as a person's word, where the alternative that was chosen says how much.
fn hold(alternatives: &[Request], asked: &[Request], chosen: &Request, needs: &Needs) -> Hold {
    let written = alternatives.iter().zip(asked).find(|(_, asked)| std::ptr::eq(*asked, chosen));
    let is_left = written
        .is_some_and(|(written, _)| matches!(written.mem, Amount::Auto | Amount::Range { min: None, max: None }));
    if is_left { needs.hold } else { Hold::Limit }
}

/// Returns whether csync itself chose what an attempt ran out of, by what it learned: such a mistake is csync's to mend.
pub(super) fn is_own_mistake(alternatives: &[Request], grant: &Grant, outcome: &Outcome) -> bool {
    let any = |is_left: fn(&Request) -> bool| alternatives.iter().any(is_left);
    match outcome {
        Outcome::Oom => grant.hold != Hold::Nothing && any(|request| request.mem == Amount::Auto),
        Outcome::Timeout => grant.time.is_some() && any(|request| request.time == Amount::Auto),
        _ => false,
    }
}

/// The attempt before.
#[derive(Clone, Copy)]
struct Last<'a> {
    grant: &'a Grant,
    outcome: &'a Outcome,
    retry: &'a Retry,
    needs: &'a Needs,
    /// What the task asks for, as it is written.
    alternatives: &'a [Request],
    /// How the next one is held to its memory.
    hold: Hold,
}

/// Returns what the attempt after a failed one is granted: in the first room where that can help, else in the first that it fits.
fn next((request, first, base): (&Request, &Room<'_>, Grant), rooms: &Rooms<'_>, last: &Last<'_>) -> Grant {
    let bounds = bounds(last.alternatives);
    let fallback = grown(base, last, bounds, first);
    let mut all = rooms.each(request).filter_map(|room| {
        let base = fit(request, &room).ok()?;
        let base = Grant { hold: base.hold.min(last.hold), ..base };
        let grant = grown(base, last, bounds, &room);
        can_help(&grant, last.grant, last.outcome).then_some(grant)
    });
    all.next().unwrap_or(fallback)
}

/// Returns never less than an attempt had, and more of what it ran out of: as was learned, else by the task's factor; as far as the
/// room and the task's own upper bound go.
fn grown(base: Grant, before: &Last<'_>, (most_mem, most_time): (Bytes, Walltime), room: &Room<'_>) -> Grant {
    let Last { grant: last, outcome, retry, needs, alternatives, hold } = *before;
    let is_auto = |is: fn(&Request) -> bool| alternatives.iter().any(is);
    let mut grant = base;
    let limit = room.capacity.mem;
    if *outcome == Outcome::Oom {
        let learned = needs.mem_after.filter(|_| is_auto(|request| request.mem == Amount::Auto));
        let more = learned.map_or_else(|| last.mem.scaled(retry.mem.max(1.0)), |mem| mem.max(last.mem));
        grant.mem = base.mem.max(more).min(limit).min(most_mem).max(base.mem);
        // What ran out of memory once must be given room, also where nothing was asked for.
        grant.hold = hold;
    } else if last.hold != Hold::Nothing {
        grant.mem = base.mem.max(last.mem).min(limit);
        grant.hold = hold;
    }
    if let (Some(base), Some(last)) = (base.time, last.time) {
        let learned = needs.time_after.filter(|_| is_auto(|request| request.time == Amount::Auto));
        let more = match (outcome, learned) {
            (Outcome::Timeout, Some(time)) => time.max(last),
            (Outcome::Timeout, None) => last.scaled(retry.time.max(1.0)),
            _ => last,
        };
        let most = most_time.min(room.time.unwrap_or(Walltime(u64::MAX)));
        grant.time = Some(base.max(more).min(most).max(base));
    }
    grant
}

/// Returns whether another attempt after this outcome could go better than the last: one that ran out of memory, and cannot
/// be given more, would only do so again.
pub(super) fn can_help(next: &Grant, last: &Grant, outcome: &Outcome) -> bool {
    *outcome != Outcome::Oom || last.hold == Hold::Nothing || next.mem > last.mem
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
