//! What may go to several hosts: it waits in one pool, and is bound to a host when its turn comes and there is room.
//!
//! Where the best host has no room, an instance waits for it rather than going to a worse one; others may still find room.

use std::sync::Arc;
use std::time::Duration;

use crate::decide::engine::attempts::record_end;
use crate::decide::engine::grant;
use crate::decide::engine::hosts::Hosts as Rooms;
use crate::decide::engine::machine::{Engine, Shared, Turn};
use crate::decide::engine::phase::Phase;
use crate::decide::engine::protocol::{Action, Follow, Halt};
use crate::decide::engine::run::{Live, Run};
use crate::decide::outlook::board::{Bound, Sheet, Want};
use crate::decide::outlook::foresee::{Outlook, UNKNOWN_RUN};
use crate::model::api::RunState;
use crate::model::choice::{Excluded, Placement};
use crate::model::id::{HostId, InstanceId, JobKey, TaskId};
use crate::model::job::{Ended, Outcome};
use crate::model::units::Timestamp;

/// Instances looked at in one round that have to wait, at most: a round stays cheap however many are ready.
const LOOKED_AT: usize = 32;
/// After how long what waits in queues is looked at again.
const REVISED: Duration = Duration::from_mins(1);
/// How much of the time where it is another host may take at most, for a task to be called back from a queue.
const WORTH: f64 = 0.7;
/// Stands for no instance: a timer of the run itself.
const NOBODY: InstanceId = InstanceId(u32::MAX);
/// Excluded hosts that are told.
const TOLD: usize = 8;

/// Where an instance goes.
pub(super) struct Siting {
    pub(super) want: Want,
    pub(super) best: Sheet,
    pub(super) placement: Placement,
}

impl Engine {
    /// Binds what waits in the pool and finds room.
    pub(super) fn place(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        if !self.shared.hosts.has_pooled() {
            return;
        }
        self.shared.board.begin();
        let mut held = Vec::new();
        while held.len() < LOOKED_AT
            && let Some(rank) = self.shared.hosts.next_pooled()
        {
            let (id, instance) = rank.instance();
            let Some(run) = self.runs.get_mut(&id).filter(|run| run.is_ready(instance)) else { continue };
            match run.choose(instance, &mut self.shared, now) {
                Some(siting) if self.shared.has_room(&siting) => {
                    let mut turn = Turn { shared: &mut self.shared, now, actions };
                    run.hand_over_placed(instance, siting, &mut turn);
                    run.settle(&mut turn);
                }
                Some(siting) => {
                    self.shared.board.hold(&siting.want, &siting.best);
                    held.push(rank);
                    if !self.shared.has_any_room() {
                        break;
                    }
                }
                None => held.push(rank),
            }
        }
        for rank in held {
            self.shared.hosts.pool(rank);
        }
    }
}

impl Shared {
    /// Returns whether any host takes more at all: where none does, nobody needs to be weighed.
    fn has_any_room(&self) -> bool {
        self.board.hosts().any(|host| self.hosts.takes_one(host) && self.board.is_open(host))
    }

    fn has_room(&self, siting: &Siting) -> bool {
        self.hosts.takes_one(siting.best.host) && self.board.has_room(&siting.want, &siting.best)
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "one element per task or instance of the plan; ids were checked at the door"
)]
impl Run {
    pub(super) fn is_ready(&self, instance: InstanceId) -> bool {
        self.phases.get(instance.index()) == Some(&Phase::Ready)
    }

    /// Returns the best host for an instance, among those that can be used; none where there is none now.
    fn choose(&self, instance: InstanceId, shared: &mut Shared, now: Timestamp) -> Option<Siting> {
        let task = self.plan.instance(instance).task;
        let policy = self.routes.policy(task)?;
        let Shared { hosts, outlooks, board, .. } = shared;
        let outlook = outlooks.get_mut(&self.id)?;
        let want = outlook.want(&self.plan, instance, policy);
        let state = &self.tasks[task.index()];
        let ended = (state.ended, state.usage.wall);
        let (mut best, mut next, mut compared, mut excluded) = (None::<Sheet>, None::<Sheet>, 0, Vec::new());
        for &host in self.fitting(task, hosts, outlook).iter() {
            let mut exclude = |why: &str| {
                if let Some(name) = board.name(host).filter(|_| excluded.len() < TOLD) {
                    excluded.push(Excluded { host: name.clone(), why: why.to_owned() });
                }
            };
            if hosts.is_shut(host) {
                exclude("it could not be used");
                continue;
            }
            let run = outlook.expect(&self.plan, instance, host, ended);
            let Some(sheet) = board.weigh(&want, host, run, now) else {
                exclude("there is no way for its inputs");
                continue;
            };
            compared += 1;
            if best.is_none_or(|best| sheet.is_better_than(&best)) {
                next = best.replace(sheet);
            } else if next.is_none_or(|next| sheet.is_better_than(&next)) {
                next = Some(sheet);
            }
        }
        excluded.extend(outlook.excluded(task).iter().take(TOLD).cloned());
        let best = best?;
        let placement = Placement {
            policy,
            chosen: board.terms(&best)?,
            next: next.and_then(|next| board.terms(&next)),
            others: compared.max(2_u32) - 2,
            excluded,
        };
        Some(Siting { want, best, placement })
    }

    /// Returns the hosts of a task's route that have what it asks for; found out again when a host's room has changed.
    fn fitting(&self, task: TaskId, hosts: &Rooms, outlook: &mut Outlook) -> Arc<[HostId]> {
        let version = hosts.version();
        if let Some(fitting) = outlook.fitting(task, version) {
            return fitting;
        }
        let settings = self.plan.task(task);
        let fits = |host: &&HostId| {
            let rooms = hosts.rooms(**host, settings);
            rooms.is_none_or(|rooms| grant::first(&settings.resources, &rooms).is_ok())
        };
        let fitting: Arc<[HostId]> = self.routes.of(task).iter().filter(fits).copied().collect();
        outlook.set_fitting(task, version, Arc::clone(&fitting));
        fitting
    }

    fn hand_over_placed(&mut self, instance: InstanceId, siting: Siting, turn: &mut Turn<'_>) {
        let Siting { want, best, placement } = siting;
        self.hand_over(instance, best.host, Some(placement), turn);
        if self.live.get(&instance).is_none_or(|live| live.placed.is_some()) {
            return;
        }
        let key = self.key(instance);
        let bound = turn.shared.board.bind(&want, &best, key, turn.now);
        if let Some(live) = self.live.get_mut(&instance) {
            live.placed = Some(bound);
        }
        if turn.shared.hosts.flavour(best.host).is_some() {
            self.watch_queues(turn);
        }
        if let Some(outlook) = turn.shared.outlooks.get_mut(&self.id) {
            for &path in self.plan.inputs(instance) {
                outlook.files.comes(path, best.host);
            }
        }
    }

    /// Has what waits in queues looked at again after a while.
    fn watch_queues(&mut self, turn: &mut Turn<'_>) {
        if self.revising.is_none() {
            let timer = turn.shared.set_timer(self.id, NOBODY);
            self.revising = Some(timer);
            turn.actions.push(Action::SetTimer(timer, REVISED));
        }
    }

    /// Calls back from queues what would be over elsewhere much earlier, by what is known now.
    pub(super) fn revise(&mut self, turn: &mut Turn<'_>) {
        if self.halt != Halt::Going || self.state != RunState::Active {
            return;
        }
        let waits = |live: &Live| {
            live.placed.is_some_and(|bound| bound.started.is_none())
                && live.started.is_none()
                && !live.stop
                && !live.called_back
                && turn.shared.hosts.flavour(live.host).is_some()
        };
        let mut waiting: Vec<(Timestamp, InstanceId, HostId)> = self
            .live
            .iter()
            .filter(|(_, live)| waits(live))
            .map(|(&instance, live)| (live.submitted, instance, live.host))
            .collect();
        if waiting.is_empty() {
            return;
        }
        waiting.sort_unstable();
        turn.shared.board.begin();
        for (_, instance, host) in waiting.into_iter().take(LOOKED_AT) {
            let Some(siting) = self.choose(instance, turn.shared, turn.now) else { continue };
            if siting.best.host == host || !turn.shared.has_room(&siting) {
                continue;
            }
            let Some(stays) = self.stays(instance, host, &siting, turn) else { continue };
            if siting.best.total < stays * WORTH {
                turn.shared.board.hold(&siting.want, &siting.best);
                if let Some(live) = self.live.get_mut(&instance) {
                    live.called_back = true;
                }
                turn.actions.push(Action::Withdraw(self.key(instance)));
            }
        }
        self.watch_queues(turn);
    }

    /// Returns what an instance costs where it is.
    fn stays(&self, instance: InstanceId, host: HostId, siting: &Siting, turn: &mut Turn<'_>) -> Option<f64> {
        let Shared { outlooks, board, .. } = &mut *turn.shared;
        let state = &self.tasks[self.plan.instance(instance).task.index()];
        let run = outlooks.get_mut(&self.id)?.expect(&self.plan, instance, host, (state.ended, state.usage.wall));
        board.weigh(&siting.want, host, run, turn.now).map(|sheet| sheet.total)
    }

    /// Takes in that an instance was called back: it waits for its turn again, as if it had never been handed over.
    pub(super) fn come_back(&mut self, mut ended: Box<Ended>, turn: &mut Turn<'_>) {
        let instance = ended.key.instance;
        ended.notes.push("called back from the queue: another host was better by then".to_owned());
        record_end(ended, Follow::Retry(turn.now), turn);
        self.wait_for_retry(instance, Duration::ZERO, turn);
    }

    /// Counts again what was bound to hosts before a restart.
    pub(super) fn bind_again(&mut self, turn: &mut Turn<'_>) {
        let mut waits = false;
        for (&instance, live) in &mut self.live {
            let task = self.plan.instance(instance).task;
            if live.placed.is_some() || self.routes.policy(task).is_none() {
                continue;
            }
            let key = JobKey { run: self.id, instance, attempt: self.attempts[instance.index()] };
            let mut bound =
                Bound { cpus: live.grant.cpus, expected: UNKNOWN_RUN.middle, since: live.submitted, started: None };
            turn.shared.board.again(live.host, bound, key);
            if let Some(at) = live.started {
                turn.shared.board.started(live.host, &mut bound, key, at);
            }
            live.placed = Some(bound);
            waits |= live.started.is_none() && turn.shared.hosts.flavour(live.host).is_some();
        }
        if waits {
            self.watch_queues(turn);
        }
    }
}

/// Takes in that what was bound to a host is over.
pub(super) fn unbind(ended: &Ended, host: HostId, bound: Option<Bound>, turn: &mut Turn<'_>) {
    if let Some(bound) = bound {
        let ran = (ended.outcome == Outcome::Success).then_some(ended.usage.wall);
        turn.shared.board.over(host, bound, ended.key, ran);
    }
}
