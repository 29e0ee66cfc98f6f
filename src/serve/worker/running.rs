//! A job that runs, as the threads besides its own see it: how to signal it, why it is being ended, how it stands.
//!
//! Signals never reach a process that is not the job's: its pid is taken from here before it is reaped, under the lock under
//! which signals are sent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};

use crate::model::job::Job;
use crate::model::units::Timestamp;
use crate::reach::machine::cgroup::Group;
use crate::reach::machine::processes;

use super::logs::Logs;
use super::memory::Memory;

/// Why csync ends a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It was asked to.
    Cancelled,
    /// Over its walltime.
    Timeout,
    /// Over its memory.
    Oom,
    /// A limit of csync's own.
    Limit(String),
}

/// What changes while a job runs.
#[derive(Debug, Default)]
pub(super) struct Control {
    /// Its process, from the spawn until it was seen to have ended.
    pub(super) pid: Option<Pid>,
    /// When it was spawned.
    pub(super) since: Option<(Instant, Timestamp)>,
    /// Why it is being ended.
    pub(super) why: Option<Why>,
    /// When it is killed, if it does not end by itself.
    pub(super) kill_at: Option<Instant>,
    /// Whether the checkpoint signal was sent.
    pub(super) checkpointed: bool,
    /// Whether the engine was told that it started.
    pub(super) announced: bool,
    /// When it is looked at next.
    pub(super) look_at: Option<Instant>,
    /// Time between looks.
    pub(super) pause: Duration,
    /// Its memory, as far as it was looked at.
    pub(super) memory: Memory,
    /// The control group that it is in.
    pub(super) group: Option<Group>,
    /// Its log files.
    pub(super) logs: Option<Logs>,
    /// What happened besides, for people.
    pub(super) notes: Vec<String>,
}

/// A job that runs.
#[derive(Debug)]
pub(super) struct Running {
    /// The job.
    pub(super) job: Arc<Job>,
    control: Mutex<Control>,
}

impl Running {
    /// Makes the entry of a job that is about to be spawned.
    pub(super) fn new(job: Arc<Job>) -> Self {
        Self { job, control: Mutex::default() }
    }

    /// Locks what changes.
    pub(super) fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when it was spawned.
    pub(super) fn started_at(&self) -> Option<Timestamp> {
        self.control().since.map(|(_, at)| at)
    }

    /// Begins to end the job: asks it, and sets the time at which it is killed. The first reason stays.
    pub(super) fn end(&self, why: Why, grace: Duration) {
        let mut control = self.control();
        if control.why.is_none() {
            control.end(why, grace);
        }
    }
}

impl Control {
    /// See [`Running::end`].
    pub(super) fn end(&mut self, why: Why, grace: Duration) {
        self.why = Some(why);
        if grace.is_zero() {
            self.kill_at = Some(Instant::now());
            self.signal(Signal::KILL);
        } else {
            self.kill_at = Some(Instant::now() + grace);
            self.signal(Signal::TERM);
            self.signal_apart(Signal::TERM);
            // A stopped process takes the signal only once it goes on.
            self.signal(Signal::CONT);
        }
    }

    /// Sends a signal to the job's process group, while its leader has not been reaped.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid {
            // The group has no member left to signal, or none of ours: the end is on its way.
            _ = kill_process_group(pid, signal);
        }
    }

    /// Sends a signal to descendants that left the job's process group. Those that are missed are ended when the job is over.
    fn signal_apart(&self, signal: Signal) {
        let Some(leader) = self.pid else { return };
        for pid in processes::tree([leader]).into_iter().skip(1) {
            let before = processes::stat(pid);
            let Some(before) = before.filter(|stat| stat.group != leader.as_raw_pid()) else { continue };
            let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
            // What the descriptor names is what was seen in the tree, if it still says the same of itself.
            if processes::stat(pid).is_some_and(|now| now.start == before.start) {
                // Fails when it is gone.
                pidfd_send_signal(&fd, signal).ok();
            }
        }
    }
}
