//! What the worker's threads share.
//!
//! Locks are taken in this order: the owners of strays, [`Shop::office`], `Running::control`.

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::model::id::JobKey;
use crate::model::job::{Ended, Job, News, Outcome};
use crate::model::resources::Usage;
use crate::model::units::Bytes;
use crate::reach::clock;
use crate::reach::config::StateDir;
use crate::reach::executor::wire::{FromWorker, Hello, WIRE};
use crate::reach::machine::cgroup::{Group, Groups};
use crate::reach::machine::processes;

use super::desk::{Desk, Refusal};
use super::link::{Bell, Link};
use super::slot;
use super::strays::Strays;
use super::watch::Watch;
use super::{Options, WorkerError};

/// Stack of a slot's thread: enough to hash files, little to have many.
const STACK: usize = 256 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Shop {
    pub(super) state: StateDir,
    pub(super) state_id: String,
    worker: String,
    groups: Option<Groups>,
    /// Processes that the kernel ended for want of memory, when that was last looked at.
    kills: AtomicU64,
    office: Mutex<Office>,
    /// Wakes slots that have nothing to do.
    wake: Condvar,
    pub(super) strays: Strays,
    pub(super) watch: Watch,
    pub(super) bell: Bell,
}

/// What is under the one lock.
#[derive(Debug, Default)]
pub(super) struct Office {
    pub(super) desk: Desk,
    pub(super) link: Option<Link>,
    /// Whether the engine told the worker to leave.
    pub(super) leaving: bool,
    threads: usize,
    idle: usize,
}

impl Shop {
    /// Opens what the threads share. Must be called on the main thread, which is who adopts strays.
    pub(super) fn open(state: StateDir, options: &Options) -> Result<Self, WorkerError> {
        let mut name = [0; 8];
        rustix::rand::getrandom(&mut name, rustix::rand::GetRandomFlags::empty())
            .map_err(|source| WorkerError::System { what: "no random numbers", source: source.into() })?;
        let state_id = state.id();
        let groups = Groups::find(options.cgroup.as_deref());
        if let Some(groups) = &groups {
            groups.clear(&group_prefix(&state_id));
        }
        Ok(Self {
            groups,
            kills: AtomicU64::new(processes::killed_for_memory().unwrap_or(0)),
            strays: Strays::new(state_id.clone()),
            state,
            state_id,
            worker: format!("{:016x}", u64::from_ne_bytes(name)),
            office: Mutex::default(),
            wake: Condvar::new(),
            watch: Watch::default(),
            bell: Bell::new().map_err(|source| WorkerError::System { what: "no event descriptor", source })?,
        })
    }

    /// Locks what is shared.
    pub(super) fn office(&self) -> MutexGuard<'_, Office> {
        self.office.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a control group for the job of a slot; none where there can be none, and memory is sampled.
    pub(super) fn group(&self, slot: usize, limit: Bytes) -> Option<Group> {
        let groups = self.groups.as_ref()?;
        let name = format!("{}{slot}", group_prefix(&self.state_id));
        groups.make(&name, limit).inspect_err(|error| tracing::warn!(%error, "cannot make a control group")).ok()
    }

    /// Returns whether the kernel ended anything for want of memory since this was asked last. Asked when a job was killed by
    /// nobody that is known.
    pub(super) fn was_out_of_memory(&self) -> bool {
        let Some(now) = processes::killed_for_memory() else { return false };
        self.kills.swap(now, Ordering::Relaxed) < now
    }

    /// Removes the control groups of this state directory.
    pub(super) fn clear_groups(&self) {
        if let Some(groups) = &self.groups {
            groups.clear(&group_prefix(&self.state_id));
        }
    }

    /// Waits until there may be something to start.
    pub(super) fn rest<'a>(&self, mut office: MutexGuard<'a, Office>) -> MutexGuard<'a, Office> {
        office.idle += 1;
        office = self.wake.wait(office).unwrap_or_else(PoisonError::into_inner);
        office.idle -= 1;
        office
    }

    /// Wakes or makes a slot, if another job may start now. That slot does the same for the next.
    pub(super) fn call_another(self: &Arc<Self>, office: &mut Office) {
        if !office.desk.has_next() {
            return;
        }
        if office.idle > 0 {
            self.wake.notify_one();
        } else if office.threads < office.desk.limits().cpus as usize {
            let shop = Arc::clone(self);
            let number = office.threads;
            let thread = std::thread::Builder::new().name(format!("slot-{number}")).stack_size(STACK);
            match thread.spawn(move || slot::work(&shop, number)) {
                Ok(_) => office.threads += 1,
                // The slots that there are go on; the next ending tries again.
                Err(error) => tracing::warn!(%error, threads = office.threads, "cannot start another slot"),
            }
        }
    }

    /// Keeps an ending and sends it, or lets it wait for others.
    pub(super) fn end(&self, office: &mut Office, ended: Box<Ended>) {
        let news = News::Ended(ended);
        Self::tell(office, &news);
        let News::Ended(ended) = news else { return };
        office.desk.keep(ended);
        let waiting = office.desk.waiting();
        let low = waiting <= office.desk.limits().cpus as usize;
        match &mut office.link {
            Some(link) if low => link.flush(&self.bell),
            Some(link) => link.wait(waiting, &self.bell),
            None => {}
        }
        if office.desk.is_idle() && (office.leaving || office.link.is_none() || self.strays.has_unknown()) {
            self.bell.ring();
        }
    }

    /// Puts news into the batch for the engine, if there is one.
    pub(super) fn tell(office: &mut Office, news: &News) {
        let Some(link) = &mut office.link else { return };
        match serde_json::to_vec(news) {
            Ok(text) => link.push(&text),
            Err(error) => tracing::error!(%error, "news cannot be written"),
        }
    }

    /// Ends a job that never started.
    pub(super) fn refuse(&self, office: &mut Office, job: &Job, outcome: Outcome) {
        let ended = Ended {
            key: job.key,
            outcome,
            started: None,
            ended: clock::now(),
            usage: Usage::default(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            notes: Vec::new(),
            allocation: None,
        };
        self.end(office, Box::new(ended));
    }

    /// Greets an engine with all that is known, and sends it news from now on.
    pub(super) fn greet(&self, stream: UnixStream) -> std::io::Result<()> {
        let mut office = self.office();
        let hello = FromWorker::Hello(Hello {
            wire: WIRE,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            worker: self.worker.clone(),
            pid: std::process::id(),
            live: office.desk.live(),
            endings: office.desk.unacked().cloned().collect(),
        });
        let text = serde_json::to_vec(&hello)?;
        office.leaving = false;
        office.link = Some(Link::new(stream, &text)?);
        Ok(())
    }

    /// Returns whether an attempt is running now.
    pub(super) fn is_running(&self, key: JobKey) -> bool {
        self.office().desk.is_running(key)
    }
}

/// How the names of a state directory's control groups begin; the number of a slot follows.
fn group_prefix(state_id: &str) -> String {
    format!("csync-{state_id}-")
}

/// Says why a job is not taken.
pub(super) fn refusal(job: &Job, refusal: Refusal, desk: &Desk) -> Outcome {
    match refusal {
        Refusal::TooLarge => {
            let (grant, limits) = (&job.grant, desk.limits());
            Outcome::Rejected {
                message: format!(
                    "it needs {} cores, {} of memory and {} GPUs; this machine gives {}, {} and {}",
                    grant.cpus, grant.mem, grant.gpus, limits.cpus, limits.mem, limits.gpus
                ),
            }
        }
        Refusal::NoEnvironment => {
            Outcome::Spawn { message: format!("the worker was not told the environment {}", job.environment) }
        }
    }
}
