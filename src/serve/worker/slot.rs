//! A slot: the thread that takes a job, starts it, waits for it, cleans up, and takes the next.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};
use wait4::ResUse;

use crate::model::job::{Ended, Job, Outcome};
use crate::model::plan::Fingerprint;
use crate::model::resources::{Io, Meter, Usage};
use crate::model::units::{Bytes, Timestamp};
use crate::reach::clock;
use crate::reach::docker::{Left, Over};
use crate::reach::executor::wire::VAR_RECORD;
use crate::reach::machine::cgroup::Group;
use crate::reach::machine::processes;

use super::command::{self, Pad, Prepared};
use super::desk::Ticket;
use super::logs::Logs;
use super::running::{Control, Why};
use super::shop::Shop;
use super::stage::{self, Staged};
use super::strays::Cleaned;
use super::watch;

/// Runs jobs for as long as the process lives.
pub(super) fn work(shop: &Arc<Shop>, number: usize) {
    let mut logs = Some(Logs::of_slot(&shop.state, number));
    let mut pad = None;
    let mut office = shop.office();
    loop {
        let Some(ticket) = office.desk.admit() else {
            if let Some(pad) = &pad {
                Pad::leave_directory(pad);
            }
            office = shop.rest(office);
            continue;
        };
        shop.call_another(&mut office);
        drop(office);
        ticket.running.control().logs = logs.take();
        let ended = match pad.take().map_or_else(|| Pad::new(number), Ok) {
            Ok(mut made) => {
                let ended = catch_unwind(AssertUnwindSafe(|| run(shop, &mut made, &ticket)));
                pad = Some(made);
                ended.unwrap_or_else(|_| broken(shop, &ticket))
            }
            Err(error) => {
                let message = format!("csync's worker cannot start processes: {error}");
                never_ran(&ticket, Staged::default(), Outcome::Spawn { message })
            }
        };
        logs = ticket.running.control().logs.take().or_else(|| Some(Logs::of_slot(&shop.state, number)));
        office = shop.office();
        office.desk.release(&ticket.running, &ticket.gpus);
        shop.end(&mut office, ended);
    }
}

/// What is known of a job's life when it is over.
struct Life {
    started: Timestamp,
    wall: Duration,
    used: ResUse,
    io: Option<Io>,
    cleaned: Cleaned,
}

/// Runs that are over sooner have read and written nothing that anybody would plan by: their count is not looked for.
const TELLING: Duration = Duration::from_millis(100);

fn run(shop: &Shop, pad: &mut Pad, ticket: &Ticket) -> Box<Ended> {
    let job = &*ticket.running.job;
    let made = if job.outputs.is_empty() {
        Ok(Vec::new())
    } else {
        pad.with_umask(ticket.vars.umask, |_| stage::make_room(job))
    };
    let staged = match made.and_then(|kept| stage::look(job, kept)) {
        Ok(staged) => staged,
        Err(outcome) => return never_ran(ticket, Staged::default(), outcome),
    };
    let prepared = match command::prepare(job, &ticket.vars, &ticket.gpus, &shop.state, &shop.state_id) {
        Ok(prepared) => prepared,
        Err(message) => return never_ran(ticket, staged, Outcome::Spawn { message }),
    };
    let life = spawn(shop, pad, ticket, &prepared).and_then(|pid| follow(shop, ticket, pid));
    // Only where the script was too long for an argument.
    if let Some(script) = prepared.script {
        std::fs::remove_file(script).ok();
    }
    match life {
        Ok(life) => settle(shop, ticket, staged, &life),
        Err(outcome) => never_ran(ticket, staged, outcome),
    }
}

/// Connects the standard streams, and starts the process.
fn spawn(shop: &Shop, pad: &mut Pad, ticket: &Ticket, prepared: &Prepared) -> Result<Pid, Outcome> {
    let job = &*ticket.running.job;
    let stdin = job.stdin.as_ref().map(|path| {
        File::open(path)
            .map_err(|error| Outcome::Stage { message: format!("the standard input {path} cannot be opened: {error}") })
    });
    let stdin = stdin.transpose()?;
    let mut control = ticket.running.control();
    if control.why.is_some() {
        return Err(Outcome::Cancelled);
    }
    // Nobody else has a use for them before there is a process.
    let mut logs = control.logs.take();
    drop(control);
    let refuse = |message: String| Outcome::Spawn { message };
    let group = job.grant.is_limited().then(|| shop.group(pad.number(), job.grant.mem)).flatten();
    let group = group.and_then(|group| enter(group).ok());
    let streams = logs.as_mut().map(Logs::open).transpose();
    let spawned = match streams {
        Ok(Some([out, err])) => {
            let streams = [stdin.as_ref().map(AsFd::as_fd), Some(out), Some(err)];
            pad.with_umask(ticket.vars.umask, |pad| pad.spawn(prepared, &ticket.vars, &job.workdir, streams))
                .map_err(refuse)
        }
        Ok(None) => Err(refuse("its log files are gone".to_owned())),
        Err(error) => Err(refuse(format!("its log files cannot be made: {error}"))),
    };
    let group = group.and_then(|group| leave(group, spawned.as_ref().ok()));
    let mut control = ticket.running.control();
    control.logs = logs;
    control.group = group;
    spawned
}

/// Goes into a group, where that is how processes get into it.
fn enter(group: Group) -> std::io::Result<(Group, bool)> {
    let entered = group.enter().inspect_err(|error| tracing::warn!(%error, "cannot enter a control group"))?;
    Ok((group, entered))
}

/// Comes out again, or sends the process in. Without the group where that fails: the job's memory is sampled then.
fn leave((group, entered): (Group, bool), pid: Option<&Pid>) -> Option<Group> {
    let done = match (entered, pid) {
        (true, _) => group.leave(),
        (false, Some(pid)) => group.adopt(processes::tree([*pid])),
        (false, None) => Ok(()),
    };
    done.inspect_err(|error| tracing::warn!(%error, "cannot use a control group")).ok().map(|()| group)
}

/// Waits for a job, ends what it leaves behind, and reaps it.
fn follow(shop: &Shop, ticket: &Ticket, pid: Pid) -> Result<Life, Outcome> {
    let lost = |error: std::io::Error| Outcome::Spawn { message: format!("it cannot be waited for: {error}") };
    let (since, started) = (Instant::now(), clock::now());
    {
        let mut control = ticket.running.control();
        control.pid = Some(pid);
        control.since = Some((since, started));
        if control.why.is_some() {
            // Asked to end between the spawn and now: the request found nothing to signal.
            control.signal(Signal::TERM);
        }
    }
    shop.watch.expect(since + watch::YOUNG);
    let waited = wait(pid);
    let wall = since.elapsed();
    // From here on nobody else signals it; it is a zombie until it is reaped below, so its pid is nobody else's.
    ticket.running.control().pid = None;
    waited.map_err(lost)?;
    let group = ticket.running.control().group.take();
    let members = || group.as_ref().map(Group::members).unwrap_or_default();
    let cleaned = shop.strays.clean(pid, ticket.running.job.key, members, |key| shop.is_running(key));
    ticket.running.control().group = group;
    // The last moment: the kernel forgets it with the process.
    let io = (wall >= TELLING).then(|| processes::io(pid)).flatten();
    let used = wait4::try_wait4_pid(pid.as_raw_pid().unsigned_abs()).map_err(lost)?;
    let used = used.ok_or_else(|| lost(std::io::Error::other("it has ended and has not")))?;
    Ok(Life { started, wall, used, io, cleaned })
}

/// Waits until a child has ended, and leaves it to be reaped.
fn wait(pid: Pid) -> std::io::Result<()> {
    loop {
        match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other.map(|_| ())?),
        }
    }
}

/// Judges what a job did, and puts its files in order.
fn settle(shop: &Shop, ticket: &Ticket, staged: Staged, life: &Life) -> Box<Ended> {
    let job = &*ticket.running.job;
    let mut control = ticket.running.control();
    let shared = life.cleaned.unknown > 0;
    if let Some(logs) = &mut control.logs {
        let notes = logs.settle(&shop.state, job.key, shared, ticket.log_limit);
        control.notes.extend(notes);
    }
    let boxed = boxed(job);
    let unheld = boxed.as_ref().is_some_and(|over| over.unheld);
    let usage = boxed.as_ref().map_or_else(|| usage(&control, life), |over| usage_inside(over, life));
    let ran_out = control.group.take().is_some_and(|group| group.ran_out()) || boxed.is_some_and(|over| over.oom);
    let why = control.why.take();
    let mut notes = std::mem::take(&mut control.notes);
    drop(control);
    if unheld {
        notes.push("its runtime does not hold it to its memory".to_owned());
    }
    if life.cleaned.ended > 0 {
        let count = life.cleaned.ended;
        let what = if count == 1 { "1 process left behind was" } else { "processes left behind were" };
        notes.push(if count == 1 { format!("{what} ended") } else { format!("{count} {what} ended") });
    }
    let failed = !life.used.status.success();
    if ran_out && !failed {
        notes.push("a process of it was ended for want of memory".to_owned());
    }
    let why = why.or_else(|| (failed && (ran_out || was_killed(shop, life.used.status))).then_some(Why::Oom));
    let (outcome, outputs) = judge(job, why, life.used.status);
    if outcome == Outcome::Success {
        stage::forget_aside(job);
    } else {
        notes.extend(stage::set_aside(job, &staged));
    }
    Box::new(Ended {
        key: job.key,
        outcome,
        started: Some(life.started),
        ended: life.started.after(life.wall),
        usage,
        inputs: staged.inputs,
        outputs,
        notes,
        allocation: None,
    })
}

/// Whether a job was killed by the kernel because the machine has no more memory, or by a shell's account of it.
fn was_killed(shop: &Shop, status: ExitStatus) -> bool {
    let killed = Signal::KILL.as_raw();
    (status.signal() == Some(killed) || status.code() == Some(128 + killed)) && shop.was_out_of_memory()
}

/// Decides how an attempt ended. What csync ended stays ended so, even if the job then says that all is well: what it did
/// after it was told to stop is nobody's guess.
fn judge(job: &Job, why: Option<Why>, status: ExitStatus) -> (Outcome, Vec<Option<Fingerprint>>) {
    let outcome = match why {
        Some(Why::Cancelled) => Outcome::Cancelled,
        Some(Why::Timeout) => Outcome::Timeout,
        Some(Why::Oom) => Outcome::Oom,
        Some(Why::Limit(message)) => Outcome::Spawn { message },
        None => match (status.code(), status.signal()) {
            (Some(0), _) => match stage::collect(job) {
                Ok(outputs) => return (Outcome::Success, outputs),
                Err(outcome) => outcome,
            },
            (Some(code), _) => Outcome::Exit { code, signal: None },
            (None, Some(signal)) => Outcome::Exit { code: 128 + signal, signal: Some(signal) },
            (None, None) => Outcome::Exit { code: -1, signal: None },
        },
    };
    (outcome, Vec::new())
}

/// Returns how the container of a job ended, where a daemon ran one for it.
fn boxed(job: &Job) -> Option<Over> {
    let (_, path) = job.env.iter().find(|(name, _)| name == VAR_RECORD)?;
    Left::take(Path::new(path))?.used
}

/// What a job's container used: no process of it is one of this worker's.
fn usage_inside(over: &Over, life: &Life) -> Usage {
    let (user, system) = over.cpu;
    let wall = life.wall.as_secs_f64();
    Usage { wall, user, system, peak_memory: over.peak, meter: Meter::Cgroup, io: over.io }
}

fn usage(control: &Control, life: &Life) -> Usage {
    let rusage = &life.used.rusage;
    let (peak, meter) = match (control.memory.peak(), &control.group) {
        (looked, Some(group)) => {
            let remembered = group.peak().map(|peak| peak.0);
            (remembered.max(looked).unwrap_or(rusage.maxrss), Meter::Cgroup)
        }
        (Some(peak), None) => (peak.max(rusage.maxrss), Meter::Proc),
        // Never below the worker's own, some MiB: a process has the memory of who starts it until its exec.
        (None, None) => (rusage.maxrss, Meter::Rusage),
    };
    Usage {
        wall: life.wall.as_secs_f64(),
        // What it waited for itself is in its own account, what it left behind is not.
        user: (rusage.utime + life.cleaned.user).as_secs_f64(),
        system: (rusage.stime + life.cleaned.system).as_secs_f64(),
        peak_memory: Bytes(peak),
        meter,
        io: life.io,
    }
}

/// The ending of a job that was never started.
fn never_ran(ticket: &Ticket, staged: Staged, outcome: Outcome) -> Box<Ended> {
    Box::new(Ended {
        key: ticket.running.job.key,
        outcome,
        started: None,
        ended: clock::now(),
        usage: Usage::default(),
        inputs: staged.inputs,
        outputs: Vec::new(),
        notes: Vec::new(),
        allocation: None,
    })
}

/// The ending of a job whose thread panicked: it is killed and reaped, so that nothing runs that nobody follows.
fn broken(shop: &Shop, ticket: &Ticket) -> Box<Ended> {
    let mut control = ticket.running.control();
    control.signal(Signal::KILL);
    let pid = control.pid.take();
    drop(control);
    if let Some(pid) = pid {
        wait(pid).ok();
        shop.strays.clean(pid, ticket.running.job.key, Vec::new, |key| shop.is_running(key));
        wait4::try_wait4_pid(pid.as_raw_pid().unsigned_abs()).ok();
    }
    let message = "csync's worker failed while it ran; see worker.log in the state directory".to_owned();
    never_ran(ticket, Staged::default(), Outcome::Spawn { message })
}
