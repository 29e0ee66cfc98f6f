//! Processes that a job leaves behind: background children, daemons that forked away.
//!
//! The worker is a child subreaper, so whatever loses its parent below it becomes a child of its main thread. When a job's
//! first process ends, one look at that list tells whether anything is left. A process belongs to the job that its environment
//! names, or whose process group it is in. One that hides both is ended when nothing runs. Only children that were not reaped
//! are signalled: their ids cannot have become anybody else's.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getpgrp, kill_process, kill_process_group, pidfd_open};

use crate::model::id::JobKey;
use crate::reach::executor::wire::{VAR_DETACHED, VAR_JOB, VAR_STATE};
use crate::reach::machine::processes::{self, Children};

/// How long a killed process may take to go: one that waits for a dead file server can take for ever.
const PATIENCE: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };
/// How often the list is read again after something was ended: what is ended may leave children of its own.
const ROUNDS: u32 = 100;

/// What was left of a job.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cleaned {
    /// Processes that were ended.
    pub(super) ended: usize,
    /// Processes that could not be told whose they are, and run on.
    pub(super) unknown: usize,
    /// CPU time of those that were ended.
    pub(super) user: Duration,
    /// The same, in the kernel.
    pub(super) system: Duration,
}

/// Whose a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Job(JobKey),
    /// An engine or a worker, of this or another state directory.
    Itself,
    Unknown,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Strays {
    children: Children,
    state_id: String,
    /// Owners that were found out. A child's id is its own until it is reaped, which happens here alone.
    owners: Mutex<HashMap<Pid, Owner>>,
    unknown: AtomicBool,
}

impl Strays {
    /// Must be called on the main thread.
    pub(super) fn new(state_id: String) -> Self {
        Self {
            children: Children::of_main_thread(),
            state_id,
            owners: Mutex::default(),
            unknown: AtomicBool::new(false),
        }
    }

    /// Ends what a job left behind whose first process has ended and is not reaped, and what belongs to jobs that are over.
    /// The members of its control group are its own, whatever they hide.
    pub(super) fn clean(
        &self,
        leader: Pid,
        key: JobKey,
        members: impl Fn() -> Vec<Pid>,
        is_running: impl Fn(JobKey) -> bool,
    ) -> Cleaned {
        if self.children.is_empty() {
            return Cleaned::default();
        }
        let group = leader.as_raw_pid();
        self.end(|pid, owner, in_group| match owner {
            Owner::Job(other) => other == key || !is_running(other),
            Owner::Unknown => in_group == group || members().contains(&pid),
            Owner::Itself => false,
        })
    }

    /// Ends what could not be told whose it is, once nothing runs.
    pub(super) fn clean_unknown(&self) {
        if self.unknown.load(Ordering::Relaxed) {
            let cleaned = self.end(|_, owner, _| owner != Owner::Itself);
            tracing::warn!(ended = cleaned.ended, "ended processes that hid whose they were");
        }
    }

    /// Returns whether there is something for [`Strays::clean_unknown`].
    pub(super) fn has_unknown(&self) -> bool {
        self.unknown.load(Ordering::Relaxed)
    }

    /// Returns what lives and belongs to jobs, and reaps what ended by itself.
    pub(super) fn by_job(&self) -> HashMap<JobKey, Vec<Pid>> {
        let mut found: HashMap<_, Vec<_>> = HashMap::new();
        if !self.children.is_empty() {
            self.end(|_, _, _| false);
            for (pid, owner) in self.owners().iter() {
                if let Owner::Job(key) = owner {
                    found.entry(*key).or_default().push(*pid);
                }
            }
        }
        found
    }

    fn owners(&self) -> MutexGuard<'_, HashMap<Pid, Owner>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, is_meant: impl Fn(Pid, Owner, i32) -> bool) -> Cleaned {
        let mut owners = self.owners();
        let mut cleaned = Cleaned::default();
        for round in 0..ROUNDS {
            let mut meant = Vec::new();
            cleaned.unknown = 0;
            for pid in self.children.list() {
                // What has ended since the first round was killed with its group.
                if reap(pid, &mut owners, &mut cleaned, round > 0) {
                    continue;
                }
                let Some(stat) = processes::stat(pid) else { continue };
                let owner = *owners.entry(pid).or_insert_with(|| self.owner(pid));
                if owner == Owner::Unknown {
                    // It may not have a readable environment yet, in the middle of its exec.
                    owners.remove(&pid);
                }
                if is_meant(pid, owner, stat.group) {
                    meant.push((pid, stat.group));
                } else if owner == Owner::Unknown {
                    cleaned.unknown += 1;
                }
            }
            let mut gone = false;
            for (pid, group) in meant {
                kill(pid, group);
                if wait_for_end(pid) {
                    gone |= reap(pid, &mut owners, &mut cleaned, true);
                } else {
                    tracing::warn!(%pid, "a process does not go, though it was killed");
                    cleaned.unknown += 1;
                }
            }
            if !gone {
                break;
            }
        }
        self.unknown.store(cleaned.unknown > 0, Ordering::Relaxed);
        cleaned
    }

    fn owner(&self, pid: Pid) -> Owner {
        let Ok(block) = processes::environment(pid) else { return Owner::Unknown };
        if processes::variable(&block, VAR_DETACHED).is_some() {
            return Owner::Itself;
        }
        let ours = processes::variable(&block, VAR_STATE).is_some_and(|id| id == self.state_id.as_str());
        let key = processes::variable(&block, VAR_JOB).and_then(|key| key.to_str()?.parse().ok());
        match key {
            Some(key) if ours => Owner::Job(key),
            _ => Owner::Unknown,
        }
    }
}

/// Kills a child that was not reaped, with its process group.
fn kill(pid: Pid, group: i32) {
    if let Some(group) = Pid::from_raw(group).filter(|group| *group != getpgrp()) {
        // The child is a member, so the group's id cannot be anybody else's.
        _ = kill_process_group(group, Signal::KILL);
    }
    // It can have left the group meanwhile.
    _ = kill_process(pid, Signal::KILL);
}

fn wait_for_end(pid: Pid) -> bool {
    // Ready once the process has ended, reaped or not.
    let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) else { return true };
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    loop {
        match poll(&mut fds, Some(&PATIENCE)) {
            Err(rustix::io::Errno::INTR) => {}
            result => return result != Ok(0),
        }
    }
}

/// Reaps a child if it has ended; returns whether it had.
fn reap(pid: Pid, owners: &mut HashMap<Pid, Owner>, cleaned: &mut Cleaned, was_killed: bool) -> bool {
    match wait4::try_wait4_pid(pid.as_raw_pid().unsigned_abs()) {
        Ok(Some(used)) => {
            if was_killed {
                cleaned.ended += 1;
                cleaned.user += used.rusage.utime;
                cleaned.system += used.rusage.stime;
            }
            owners.remove(&pid);
            true
        }
        Ok(None) => false,
        Err(_) => true,
    }
}
