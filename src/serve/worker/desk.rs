//! The worker's desk: what waits, what runs, what ended and is not acknowledged; who may start next. Opens nothing.
//!
//! Jobs start in the order in which they were handed over. When the first does not fit, later ones that do may pass it, but
//! only [`PASSES`] times: then everything waits for it, so that a stream of small jobs cannot starve a large one.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::model::id::JobKey;
use crate::model::job::{Ended, Job};
use crate::model::resources::Grant;
use crate::reach::executor::wire::{Limits, Live};

use super::running::Running;
use super::vars::Vars;

/// How often the first job of the queue may be passed by later ones.
const PASSES: u32 = 64;
/// How far the queue is searched for one that may pass.
const LOOK_AHEAD: usize = 256;
/// Endings kept without acknowledgement; nothing more is started until the engine has taken some.
const UNACKED_MAX: usize = 100_000;

/// A job that may start now.
#[derive(Debug)]
pub(super) struct Ticket {
    /// The job, and how to reach it.
    pub(super) running: Arc<Running>,
    /// Its environment.
    pub(super) vars: Arc<Vars>,
    /// The GPUs that it may use.
    pub(super) gpus: Vec<u32>,
    /// Largest log of a stream.
    pub(super) log_limit: u64,
}

/// What is waiting.
#[derive(Debug)]
struct Queued {
    job: Arc<Job>,
    vars: Arc<Vars>,
}

/// Where a known job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Queued,
    Running,
    /// Ended; its number in `unacked`.
    Ended(u64),
}

/// Why a job is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It needs more than the worker may ever use.
    TooLarge,
    /// Its environment was never sent.
    NoEnvironment,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Desk {
    limits: Limits,
    cpus_used: u32,
    mem_used: u64,
    gpus_used: Vec<bool>,
    queue: VecDeque<Queued>,
    passed: u32,
    known: HashMap<JobKey, Known>,
    running: Vec<Arc<Running>>,
    unacked: BTreeMap<u64, Box<Ended>>,
    next: u64,
    environments: HashMap<u32, Arc<Vars>>,
}

impl Desk {
    /// Returns what the worker may use.
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Changes what the worker may use, and returns the queued jobs that are too large now.
    pub(super) fn configure(&mut self, limits: Limits) -> Vec<Arc<Job>> {
        self.limits = limits;
        let gpus = self.gpus_used.len().max(limits.gpus as usize);
        self.gpus_used.resize(gpus, false);
        let mut large = Vec::new();
        self.queue.retain(|queued| {
            let fits = fits_at_all(&limits, &queued.job.grant);
            if !fits {
                large.push(Arc::clone(&queued.job));
            }
            fits
        });
        large
    }

    /// Keeps an environment for jobs that will refer to it.
    pub(super) fn environment(&mut self, number: u32, vars: Vars) {
        self.environments.insert(number, Arc::new(vars));
    }

    /// Drops an environment; jobs in the queue keep theirs.
    pub(super) fn forget(&mut self, number: u32) {
        self.environments.remove(&number);
    }

    /// Queues a job; one that is known is ignored.
    pub(super) fn submit(&mut self, job: Job) -> Result<(), (Arc<Job>, Refusal)> {
        if self.known.contains_key(&job.key) {
            return Ok(());
        }
        let job = Arc::new(job);
        self.known.insert(job.key, Known::Queued);
        if !fits_at_all(&self.limits, &job.grant) {
            return Err((job, Refusal::TooLarge));
        }
        let Some(vars) = self.environments.get(&job.environment).map(Arc::clone) else {
            return Err((job, Refusal::NoEnvironment));
        };
        self.queue.push_back(Queued { job, vars });
        Ok(())
    }

    /// Takes the next job that may start.
    pub(super) fn admit(&mut self) -> Option<Ticket> {
        let index = self.pick()?;
        let queued = self.queue.remove(index)?;
        self.passed = if index == 0 { 0 } else { self.passed + 1 };
        let grant = &queued.job.grant;
        self.cpus_used += grant.cpus.max(1);
        self.mem_used += grant.kept().0;
        let free = self.gpus_used.iter_mut().zip(0..).filter(|(used, _)| !**used);
        let gpus = free
            .take(grant.gpus as usize)
            .map(|(used, index)| {
                *used = true;
                index
            })
            .collect();
        self.known.insert(queued.job.key, Known::Running);
        let running = Arc::new(Running::new(queued.job));
        self.running.push(Arc::clone(&running));
        Some(Ticket { running, vars: queued.vars, gpus, log_limit: self.limits.log.0 })
    }

    /// Returns whether another job may start now.
    pub(super) fn has_next(&self) -> bool {
        self.pick().is_some()
    }

    fn pick(&self) -> Option<usize> {
        if self.unacked.len() >= UNACKED_MAX {
            return None;
        }
        let fits = |queued: &Queued| self.fits_now(&queued.job.grant);
        if fits(self.queue.front()?) {
            return Some(0);
        }
        if self.passed >= PASSES {
            return None;
        }
        self.queue.iter().take(LOOK_AHEAD).position(fits)
    }

    fn fits_now(&self, grant: &Grant) -> bool {
        let gpus = grant.gpus == 0 || {
            let allowed = self.gpus_used.iter().take(self.limits.gpus as usize);
            allowed.filter(|used| !**used).count() >= grant.gpus as usize
        };
        gpus && self.cpus_used + grant.cpus.max(1) <= self.limits.cpus
            && self.mem_used + grant.kept().0 <= self.limits.mem.0
    }

    /// Gives back what a job used, and keeps its ending until it is acknowledged.
    pub(super) fn release(&mut self, running: &Running, gpus: &[u32]) {
        let grant = &running.job.grant;
        self.cpus_used = self.cpus_used.saturating_sub(grant.cpus.max(1));
        self.mem_used = self.mem_used.saturating_sub(grant.kept().0);
        for &index in gpus {
            if let Some(used) = self.gpus_used.get_mut(index as usize) {
                *used = false;
            }
        }
        if let Some(index) = self.running.iter().position(|other| other.job.key == running.job.key) {
            self.running.swap_remove(index);
        }
    }

    /// Keeps an ending until it is acknowledged.
    pub(super) fn keep(&mut self, ended: Box<Ended>) {
        self.known.insert(ended.key, Known::Ended(self.next));
        self.unacked.insert(self.next, ended);
        self.next += 1;
    }

    /// Forgets endings that are in the journal.
    pub(super) fn ack(&mut self, keys: &[JobKey]) {
        for key in keys {
            if let Some(&Known::Ended(number)) = self.known.get(key) {
                self.known.remove(key);
                self.unacked.remove(&number);
            }
        }
    }

    /// Takes jobs out of the queue and finds those that run; ended and unknown ones are ignored.
    pub(super) fn stop(&mut self, keys: &[JobKey]) -> (Vec<Arc<Job>>, Vec<Arc<Running>>) {
        let running: HashSet<_> =
            keys.iter().copied().filter(|key| self.known.get(key) == Some(&Known::Running)).collect();
        let found = self.running.iter().filter(|job| running.contains(&job.job.key)).map(Arc::clone).collect();
        (self.withdraw(keys), found)
    }

    /// Takes jobs out of the queue; what runs, has ended or is not known is ignored.
    pub(super) fn withdraw(&mut self, keys: &[JobKey]) -> Vec<Arc<Job>> {
        let queued: HashSet<_> =
            keys.iter().copied().filter(|key| self.known.get(key) == Some(&Known::Queued)).collect();
        let mut dropped = Vec::with_capacity(queued.len());
        if queued.is_empty() {
            return dropped;
        }
        if self.queue.front().is_some_and(|head| queued.contains(&head.job.key)) {
            self.passed = 0;
        }
        self.queue.retain(|waiting| {
            let stopped = queued.contains(&waiting.job.key);
            if stopped {
                dropped.push(Arc::clone(&waiting.job));
            }
            !stopped
        });
        dropped
    }

    /// Returns what runs.
    pub(super) fn running(&self) -> &[Arc<Running>] {
        &self.running
    }

    /// Returns whether this attempt is running.
    pub(super) fn is_running(&self, key: JobKey) -> bool {
        self.known.get(&key) == Some(&Known::Running)
    }

    /// Returns how many jobs wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Returns whether nothing waits or runs.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.running.is_empty()
    }

    /// Returns the endings that are not acknowledged, oldest first.
    pub(super) fn unacked(&self) -> impl ExactSizeIterator<Item = &Ended> {
        self.unacked.values().map(AsRef::as_ref)
    }

    /// Returns what was handed over and has not ended, running first.
    pub(super) fn live(&self) -> Vec<Live> {
        let running = self.running.iter().map(|job| Live { key: job.job.key, started: job.started_at() });
        let queued = self.queue.iter().map(|queued| Live { key: queued.job.key, started: None });
        running.chain(queued).collect()
    }
}

const fn fits_at_all(limits: &Limits, grant: &Grant) -> bool {
    grant.cpus <= limits.cpus && grant.kept().0 <= limits.mem.0 && grant.gpus <= limits.gpus && limits.cpus > 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::id::{InstanceId, RunId};
    use crate::model::job::{Invocation, Outcome};
    use crate::model::resources::{Hold, Usage};
    use crate::model::units::{Bytes, Timestamp};
    use crate::reach::executor::wire::Environment;

    fn key(number: u32) -> JobKey {
        JobKey { run: RunId(1), instance: InstanceId(number), attempt: 1 }
    }

    fn job(number: u32, cpus: u32, mem: u64, gpus: u32) -> Job {
        Job {
            key: key(number),
            label: String::new(),
            invocation: Invocation::Argv(vec!["true".to_owned()]),
            workdir: "/".to_owned(),
            environment: 1,
            env: Vec::new(),
            stdin: None,
            grant: Grant {
                cpus,
                mem: Bytes(mem),
                hold: if mem > 0 { Hold::Limit } else { Hold::Nothing },
                time: None,
                gpus,
            },
            checkpoint: None,
            inputs: Vec::new(),
            outputs: Vec::new(),
        }
    }

    fn ended(key: JobKey) -> Box<Ended> {
        Box::new(Ended {
            key,
            outcome: Outcome::Success,
            started: None,
            ended: Timestamp(0),
            usage: Usage::default(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            notes: Vec::new(),
            allocation: None,
        })
    }

    fn desk(cpus: u32, mem: u64, gpus: u32) -> Desk {
        let mut desk = Desk::default();
        assert!(desk.configure(Limits { cpus, mem: Bytes(mem), gpus, ..Limits::default() }).is_empty());
        desk.environment(1, Vars::new(Environment { number: 1, vars: Vec::new(), umask: 0 }));
        desk
    }

    fn end(desk: &mut Desk, ticket: &Ticket) {
        desk.release(&ticket.running, &ticket.gpus);
        desk.keep(ended(ticket.running.job.key));
    }

    fn number(ticket: &Ticket) -> u32 {
        ticket.running.job.key.instance.0
    }

    #[test]
    fn a_stream_of_small_jobs_does_not_starve_a_large_one() {
        let mut desk = desk(4, 0, 0);
        desk.submit(job(0, 1, 0, 0)).unwrap();
        let first = desk.admit().unwrap();
        desk.submit(job(1, 4, 0, 0)).unwrap();
        for small in 0..1000 {
            desk.submit(job(2 + small, 1, 0, 0)).unwrap();
        }
        let mut passed = 0;
        while let Some(small) = desk.admit() {
            passed += 1;
            end(&mut desk, &small);
        }
        assert_eq!(passed, PASSES);
        end(&mut desk, &first);
        assert_eq!(desk.admit().map(|ticket| number(&ticket)), Some(1), "everything waited for it");
        assert!(desk.admit().is_none());
    }

    #[test]
    fn memory_counts_where_it_is_kept_free() {
        let mut desk = desk(8, 100, 0);
        for (number, mem) in [(0, 60), (1, 60), (2, 0), (3, 40)] {
            desk.submit(job(number, 1, mem, 0)).unwrap();
        }
        let started: Vec<_> = std::iter::from_fn(|| desk.admit()).map(|ticket| number(&ticket)).collect();
        assert_eq!(started, [0, 2, 3]);
        let (_, refusal) = desk.submit(job(4, 1, 101, 0)).unwrap_err();
        assert_eq!(refusal, Refusal::TooLarge);
    }

    #[test]
    fn smaller_limits_refuse_what_waits_and_let_run_what_runs() {
        let mut desk = desk(4, 0, 1);
        for (number, cpus) in [(0, 4), (1, 3), (2, 1)] {
            desk.submit(job(number, cpus, 0, 0)).unwrap();
        }
        let running = desk.admit().unwrap();
        let large = desk.configure(Limits { cpus: 2, ..Limits::default() });
        assert_eq!(large.iter().map(|job| job.key).collect::<Vec<_>>(), [key(1)]);
        assert!(desk.admit().is_none(), "four of two are in use");
        end(&mut desk, &running);
        assert_eq!(desk.admit().map(|ticket| number(&ticket)), Some(2));
    }

    #[test]
    fn a_known_job_is_not_taken_twice() {
        let mut desk = desk(1, 0, 0);
        for _ in 0..2 {
            desk.submit(job(1, 1, 0, 0)).unwrap();
        }
        assert_eq!(desk.waiting(), 1);
        let ticket = desk.admit().unwrap();
        desk.submit(job(1, 1, 0, 0)).unwrap();
        end(&mut desk, &ticket);
        desk.submit(job(1, 1, 0, 0)).unwrap();
        assert!(desk.is_idle());
        desk.ack(&[key(1), key(2)]);
        assert_eq!(desk.unacked().len(), 0);
        desk.forget(1);
        assert_eq!(desk.submit(job(1, 1, 0, 0)).unwrap_err().1, Refusal::NoEnvironment);
    }

    proptest! {
        /// Whatever is asked for, in whatever order things end: never more is out than there is, every GPU is out once, and
        /// all that fits at all runs in the end.
        #[test]
        fn nothing_is_given_out_twice(
            jobs in prop::collection::vec((0u32..5, 0u64..120, 0u32..3), 1..60),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 200),
        ) {
            let mut desk = desk(4, 100, 2);
            let mut expected = 0;
            for (number, (cpus, mem, gpus)) in jobs.iter().enumerate() {
                let fits = desk.submit(job(u32::try_from(number).unwrap(), *cpus, *mem, *gpus)).is_ok();
                prop_assert_eq!(fits, *cpus <= 4 && *mem <= 100);
                expected += usize::from(fits);
            }
            let mut out: Vec<Ticket> = Vec::new();
            let mut done = 0;
            for pick in picks {
                while let Some(ticket) = desk.admit() {
                    out.push(ticket);
                }
                let grants = || out.iter().map(|ticket| ticket.running.job.grant);
                prop_assert!(grants().map(|grant| grant.cpus.max(1)).sum::<u32>() <= 4);
                prop_assert!(grants().map(|grant| grant.mem.0).sum::<u64>() <= 100);
                let mut gpus: Vec<_> = out.iter().flat_map(|ticket| ticket.gpus.iter().copied()).collect();
                prop_assert_eq!(gpus.len() as u32, grants().map(|grant| grant.gpus).sum::<u32>());
                gpus.sort_unstable();
                gpus.dedup();
                prop_assert_eq!(gpus.len() as u32, grants().map(|grant| grant.gpus).sum::<u32>());
                if out.is_empty() {
                    break;
                }
                let ticket = out.swap_remove(pick.index(out.len()));
                end(&mut desk, &ticket);
                done += 1;
            }
            prop_assert_eq!(done, expected);
            prop_assert!(desk.is_idle());
        }
    }
}
