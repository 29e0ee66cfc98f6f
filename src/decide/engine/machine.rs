//! The engine: its runs, what they share, one method per event.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::decide::engine::hosts::Hosts;
use crate::decide::engine::protocol::{Action, Adopted, Capacity, Event, Routes, TimerId, Verdict};
use crate::decide::engine::queue::Rank;
use crate::decide::engine::restore::{Restored, restore};
use crate::decide::engine::run::Run;
use crate::decide::outlook::board::Board;
use crate::decide::outlook::foresee::Outlook;
use crate::model::api::RunState;
use crate::model::id::{HostId, InstanceId, JobKey, RunId};
use crate::model::plan::Plan;
use crate::model::units::Timestamp;

/// An event that cannot be, in the present state. Events that can race (an ending that comes late) are ignored instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    /// Two runs with one id.
    #[error("run {0} exists already")]
    Twice(RunId),
    /// No such run.
    #[error("there is no run {0} in the engine")]
    Unknown(RunId),
    /// Not one verdict per instance, or records of instances that the plan does not have.
    #[error("what is said of run {0} does not fit its plan")]
    Misfit(RunId),
    /// A plan that has a cycle.
    #[error("the plan of run {0} has a cycle")]
    Cycle(RunId),
}

/// What the runs share.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared {
    pub(super) seed: u64,
    pub(super) hosts: Hosts,
    /// What is known of what runs need; few have any.
    pub(super) outlooks: HashMap<RunId, Outlook>,
    /// The hosts, for what may go to several.
    pub(super) board: Board,
    /// When somebody last looked whether what waits in the pool finds room.
    pub(super) looked: Option<Timestamp>,
    timers: HashMap<TimerId, (RunId, InstanceId)>,
    next_timer: u64,
}

/// Whether what waits in the pool is looked through after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Something may have become free, or is known that was not.
    Now,
    /// How long a queue makes wait is known better, and nothing became free: such news comes for each task, many at a time.
    Soon,
    /// Nothing changed for it.
    Never,
}

impl Look {
    fn after(event: &Event) -> Self {
        match event {
            Event::Expected(..) | Event::Started(..) => Self::Soon,
            Event::Staged(..) => Self::Never,
            _ => Self::Now,
        }
    }
}

impl Shared {
    /// Takes in what is known of what runs need and of the hosts; nothing follows from that alone.
    fn know(&mut self, event: Event) {
        match event {
            Event::Outlook(run, outlook) => drop(self.outlooks.insert(run, *outlook)),
            Event::Sites(sites, ways) => {
                for (host, facts) in sites {
                    self.board.set(host, facts);
                }
                for (from, to, link) in ways {
                    self.board.set_way(from, to, link);
                }
            }
            Event::Queues(host, queues) => self.board.set_queues(host, queues),
            Event::Idle(host, idle, at) => self.board.idle(host, &idle, at),
            Event::Rate(from, to, rate) => self.board.measured(from, to, rate),
            Event::Classes(run, classes) => {
                if let Some(outlook) = self.outlooks.get_mut(&run) {
                    outlook.classify(classes);
                }
            }
            Event::Learned(run, known) => {
                let Some(outlook) = self.outlooks.get_mut(&run) else { return };
                for (task, known) in known {
                    outlook.learn(task, known);
                }
            }
            _ => {}
        }
    }

    /// Names a timer for an instance.
    pub(super) fn set_timer(&mut self, run: RunId, instance: InstanceId) -> TimerId {
        self.next_timer += 1;
        let timer = TimerId(self.next_timer);
        self.timers.insert(timer, (run, instance));
        timer
    }
}

/// What an event is handled with.
pub(super) struct Turn<'a> {
    pub(super) shared: &'a mut Shared,
    pub(super) now: Timestamp,
    pub(super) actions: &'a mut Vec<Action>,
}

/// The runs as a state machine.
///
/// Runs stay after their end, for views and for [`Event::Retry`], until [`Engine::forget`].
#[derive(Clone, Debug, Default)]
pub struct Engine {
    pub(super) runs: BTreeMap<RunId, Run>,
    pub(super) shared: Shared,
}

impl Engine {
    /// Makes an engine without runs. The seed spreads the delays of retries; nothing else depends on it.
    pub fn new(seed: u64) -> Self {
        Self { runs: BTreeMap::new(), shared: Shared { seed, ..Shared::default() } }
    }

    /// Takes in one event and appends what follows from it. The records among it belong in one transaction.
    ///
    /// Returns how many instances [`Event::Cancel`], [`Event::Retry`] or [`Event::RetryLost`] touched; 0 for others.
    ///
    /// # Errors
    /// When the event cannot be; nothing changes then.
    pub fn handle(&mut self, event: Event, now: Timestamp, actions: &mut Vec<Action>) -> Result<u32, Illegal> {
        let look = Look::after(&event);
        let mut turn = Turn { shared: &mut self.shared, now, actions };
        let mut touched = 0;
        match event {
            Event::Submitted { run, plan, verdicts, routes } => {
                self.submitted(run, (plan, verdicts, routes), now, actions)?;
            }
            Event::Restored { run, plan, verdicts, routes, attempts, marks, halt, state } => {
                let told = Restored { run, plan, verdicts, routes, attempts, marks, halt, state };
                self.restored(told, now, actions)?;
            }
            Event::Room(host, capacity) => self.shared.hosts.set_room(host, capacity),
            Event::Limits(host, limits) => self.shared.hosts.set_limits(host, limits),
            Event::Shut(host) => {
                let waiting = self.shared.hosts.shut(host);
                self.queue_again(waiting, now, actions);
            }
            Event::Opened(host) => {
                let waiting = self.shared.hosts.open(host);
                self.queue_again(waiting, now, actions);
            }
            Event::Outlook(..)
            | Event::Sites(..)
            | Event::Queues(..)
            | Event::Idle(..)
            | Event::Rate(..)
            | Event::Classes(..)
            | Event::Learned(..) => {
                turn.shared.know(event);
            }
            Event::Staged(key, stage) => with(&mut self.runs, key.run, |run| run.staged(key, stage)),
            Event::Expected(key, at) => with(&mut self.runs, key.run, |run| run.expected(key, at, &mut turn)),
            Event::Started(key, at) => with(&mut self.runs, key.run, |run| run.started(key, at, &mut turn)),
            Event::Ended(ended) => {
                let run = ended.key.run;
                with(&mut self.runs, run, |run| {
                    run.ended(ended, &mut turn);
                    run.settle(&mut turn);
                });
            }
            Event::Adopted(key, how) => self.adopted(key, how, now, actions),
            Event::WorkerDied => {
                let presumed = presumed_running(&self.runs, turn.shared.hosts.room(HostId::LOCAL));
                for run in self.runs.values_mut() {
                    run.worker_died(&presumed, &mut turn);
                    run.settle(&mut turn);
                }
            }
            Event::Checked(run, instance, fresh) => with(&mut self.runs, run, |run| {
                run.checked(instance, fresh, &mut turn);
                run.settle(&mut turn);
            }),
            Event::Timer(timer) => {
                if let Some((run, instance)) = turn.shared.timers.remove(&timer) {
                    with(&mut self.runs, run, |run| {
                        run.timer(instance, timer, &mut turn);
                        run.settle(&mut turn);
                    });
                }
            }
            Event::Cancel(id, instances) => {
                let run = self.runs.get_mut(&id).ok_or(Illegal::Unknown(id))?;
                touched = run.cancel(&instances, &mut turn);
                run.settle(&mut turn);
            }
            Event::Retry(id, instances) => {
                let run = self.runs.get_mut(&id).ok_or(Illegal::Unknown(id))?;
                touched = run.retry(&instances, &mut turn);
                run.settle(&mut turn);
            }
            Event::RetryLost(id, instances) => {
                let run = self.runs.get_mut(&id).ok_or(Illegal::Unknown(id))?;
                touched = run.retry_lost(&instances, &mut turn);
                run.settle(&mut turn);
            }
        }
        self.refill(now, actions, look);
        Ok(touched)
    }

    fn submitted(
        &mut self,
        id: RunId,
        (plan, verdicts, routes): (Arc<Plan>, Vec<Verdict>, Routes),
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) -> Result<(), Illegal> {
        if self.runs.contains_key(&id) {
            return Err(Illegal::Twice(id));
        }
        if verdicts.len() != plan.instances.len() {
            return Err(Illegal::Misfit(id));
        }
        let per_byte = self.shared.board.per_byte();
        let mut run = Run::new(id, plan, verdicts, routes, self.shared.outlooks.get_mut(&id), per_byte)
            .ok_or(Illegal::Cycle(id))?;
        let mut turn = Turn { shared: &mut self.shared, now, actions };
        run.kick(&mut turn);
        run.settle(&mut turn);
        self.runs.insert(id, run);
        Ok(())
    }

    fn restored(&mut self, told: Restored, now: Timestamp, actions: &mut Vec<Action>) -> Result<(), Illegal> {
        let id = told.run;
        if self.runs.contains_key(&id) {
            return Err(Illegal::Twice(id));
        }
        let mut turn = Turn { shared: &mut self.shared, now, actions };
        let mut run = restore(told, &mut turn)?;
        if run.state() == RunState::Active {
            run.settle(&mut turn);
        }
        self.runs.insert(id, run);
        Ok(())
    }

    fn adopted(&mut self, key: JobKey, how: Adopted, now: Timestamp, actions: &mut Vec<Action>) {
        let mut turn = Turn { shared: &mut self.shared, now, actions };
        match self.runs.get_mut(&key.run) {
            Some(run) => {
                run.adopted(key, how, &mut turn);
                run.settle(&mut turn);
            }
            // No record of it: an executor that has it must not go on with it.
            None if how == Adopted::Live => turn.actions.push(Action::Stop(key)),
            None => {}
        }
    }

    /// Hands over what is ready, host by host: in batches, so that one transaction and one message carry many.
    fn refill(&mut self, now: Timestamp, actions: &mut Vec<Action>, look: Look) {
        let with_room = self.shared.hosts.with_room();
        for &host in &with_room {
            while let Some(rank) = self.shared.hosts.next(host) {
                let (id, instance) = rank.instance();
                if let Some(run) = self.runs.get_mut(&id) {
                    let mut turn = Turn { shared: &mut self.shared, now, actions };
                    run.hand_over_on(instance, host, &mut turn);
                    run.settle(&mut turn);
                }
            }
        }
        self.place(now, actions, look);
        let has_room = self.shared.hosts.has_room_ahead();
        let more = |run: &Run| run.is_ahead() && (!with_room.is_empty() || has_room && run.held_back);
        for run in self.runs.values_mut().filter(|run| more(run)) {
            let mut turn = Turn { shared: &mut self.shared, now, actions };
            run.go_ahead(&mut turn);
            run.settle(&mut turn);
        }
    }

    /// Puts what was ready for other hosts where it goes now.
    fn queue_again(&mut self, waiting: Vec<Rank>, now: Timestamp, actions: &mut Vec<Action>) {
        for rank in waiting {
            let (id, instance) = rank.instance();
            if let Some(run) = self.runs.get_mut(&id) {
                run.queue(instance, rank, &mut self.shared.hosts);
                run.settle(&mut Turn { shared: &mut self.shared, now, actions });
            }
        }
    }

    /// Drops a run that is over; returns whether it did. One that is not over stays.
    pub fn forget(&mut self, run: RunId) -> bool {
        let over = self.runs.get(&run).is_some_and(|run| run.state() != RunState::Active);
        over && {
            self.shared.outlooks.remove(&run);
            self.runs.remove(&run).is_some()
        }
    }

    /// Returns a run.
    pub fn run(&self, run: RunId) -> Option<&Run> {
        self.runs.get(&run)
    }

    /// Iterates over the runs, oldest first.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.values()
    }

    #[cfg(test)]
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Returns the room of this machine, once it is known.
    pub fn capacity(&self) -> Option<Capacity> {
        self.shared.hosts.room(HostId::LOCAL)
    }
}

/// Returns the attempts that had probably started when their worker died, though it had not said so: it starts them in the
/// order of handing over, and reports the start of those that run for a while.
fn presumed_running(runs: &BTreeMap<RunId, Run>, capacity: Option<Capacity>) -> BTreeSet<JobKey> {
    let slots = capacity.map_or(1, |room| room.cpus as usize);
    let mut queued: Vec<_> = runs.values().flat_map(|run| run.queued(HostId::LOCAL)).collect();
    queued.sort_unstable();
    queued.into_iter().take(slots).map(|(_, key)| key).collect()
}

/// Does something with a run, if there is such a run: an event that names another is late, and ignored.
fn with(runs: &mut BTreeMap<RunId, Run>, run: RunId, act: impl FnOnce(&mut Run)) {
    if let Some(run) = runs.get_mut(&run) {
        act(run);
    }
}
