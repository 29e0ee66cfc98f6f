//! Ends what a worker left behind that died: every process of this state directory that belongs to a job.
//!
//! They are known by their environment (`CSYNC_STATE_ID` and `CSYNC_JOB`), which a process inherits however it forks away.

use std::collections::HashSet;
use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getpgrp, kill_process_group, pidfd_open, pidfd_send_signal};

use crate::reach::config::StateDir;
use crate::reach::machine::processes;

use super::wire::{VAR_DETACHED, VAR_JOB, VAR_STATE};

/// How long it may take until nothing is left.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long a worker that was killed may hold its lock.
const LOCK_DEADLINE: Duration = Duration::from_secs(5);

/// What the worker left cannot be ended.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// A worker lives: what runs is its own.
    #[error("a local worker lives in this state directory")]
    WorkerLives,
    /// The list of processes or the worker's lock cannot be read.
    #[error("the processes of a dead local worker cannot be found")]
    Blind(#[source] io::Error),
    /// Some do not go.
    #[error("processes of a dead local worker do not end though they were killed: {pids:?}")]
    Stubborn {
        /// Which.
        pids: Vec<i32>,
    },
}

/// Ends every process that dead workers of this state directory left; returns how many, once two looks in a row found none.
///
/// Blocks, for some milliseconds or until what was killed is gone.
///
/// # Errors
/// When a worker lives, `/proc` cannot be read, or something is left after 30 seconds.
pub fn sweep(state: &StateDir) -> Result<u32, SweepError> {
    // Held to the end, so that no worker begins meanwhile.
    let _lock = lock(state)?;
    let id = state.id();
    let spared = lineage();
    let deadline = Instant::now() + DEADLINE;
    let mut ended = HashSet::new();
    let mut quiet = 0;
    while quiet < 2 {
        let found = find(&id, &spared).map_err(SweepError::Blind)?;
        if found.is_empty() {
            quiet += 1;
            continue;
        }
        quiet = 0;
        for process in &found {
            process.kill(&spared);
        }
        ended.extend(found.iter().map(|process| (process.pid, process.start)));
        if !wait_for_end(&found, deadline) {
            let pids = found.iter().map(|process| process.pid.as_raw_pid()).collect();
            return Err(SweepError::Stubborn { pids });
        }
    }
    Ok(u32::try_from(ended.len()).unwrap_or(u32::MAX))
}

/// Takes the worker's lock, which a worker that was killed gives back a moment after its connection closes.
fn lock(state: &StateDir) -> Result<Option<File>, SweepError> {
    // Open for writing too, though nothing is written: on NFS nobody else may lock it for himself.
    let file = match File::options().read(true).write(true).open(state.worker_lock()) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(SweepError::Blind(error)),
    };
    match file.try_lock() {
        Ok(()) => return Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(SweepError::Blind(error)),
    }
    // There is no lock with a deadline: a thread waits for it, and gives it back if it comes too late.
    let (sender, locked) = mpsc::channel();
    std::thread::spawn(move || {
        let result = file.lock().map(|()| file);
        sender.send(result).ok();
    });
    match locked.recv_timeout(LOCK_DEADLINE) {
        Ok(result) => result.map(Some).map_err(SweepError::Blind),
        Err(_) => Err(SweepError::WorkerLives),
    }
}

/// This process and those above it: an engine may have been started from within a job.
fn lineage() -> HashSet<i32> {
    let mut pids = HashSet::new();
    let mut next = Some(rustix::process::getpid());
    while let Some(pid) = next {
        if !pids.insert(pid.as_raw_pid()) {
            break;
        }
        next = processes::stat(pid).and_then(|stat| Pid::from_raw(stat.parent));
    }
    pids
}

/// A process to be ended.
struct Process {
    pid: Pid,
    group: i32,
    start: u64,
    fd: OwnedFd,
}

fn find(id: &str, spared: &HashSet<i32>) -> io::Result<Vec<Process>> {
    let found = processes::all()?.into_iter().filter(|pid| !spared.contains(&pid.as_raw_pid()));
    Ok(found.filter(|pid| is_left(*pid, id)).filter_map(|pid| Process::open(pid, id)).collect())
}

fn is_left(pid: Pid, id: &str) -> bool {
    // What cannot be read belongs to another user, or is gone.
    processes::environment(pid).is_ok_and(|block| {
        processes::variable(&block, VAR_STATE).is_some_and(|value| value == id)
            && processes::variable(&block, VAR_JOB).is_some()
            && processes::variable(&block, VAR_DETACHED).is_none()
    })
}

impl Process {
    /// Takes hold of it; none when it is gone, or its id is another's by now.
    fn open(pid: Pid, id: &str) -> Option<Self> {
        let fd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let stat = processes::stat(pid)?;
        is_left(pid, id).then_some(Self { pid, group: stat.group, start: stat.start, fd })
    }

    fn kill(&self, spared: &HashSet<i32>) {
        let group = Pid::from_raw(self.group).filter(|group| *group != getpgrp() && !spared.contains(&self.group));
        // While the process is not reaped its group's id is nobody else's.
        if let Some(group) = group.filter(|_| processes::stat(self.pid).is_some_and(|stat| stat.start == self.start)) {
            _ = kill_process_group(group, Signal::KILL);
        }
        // Fails when it is gone, which is what is wanted.
        _ = pidfd_send_signal(&self.fd, Signal::KILL);
    }
}

/// Waits until all have ended; returns false at the deadline.
fn wait_for_end(found: &[Process], deadline: Instant) -> bool {
    for process in found {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let mut fds = [PollFd::new(&process.fd, PollFlags::IN)];
        loop {
            match poll(&mut fds, Some(&timeout)) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(0) => return false,
                _ => break,
            }
        }
    }
    true
}
