//! What may go to several hosts: it waits in one pool, and is bound to a host when its turn comes and there is room.
//!
//! Where the best host has no room, an instance waits for it rather than going to a worse one; others may still find room.

use std::sync::Arc;
use std::time::Duration;

use crate::decide::engine::attempts::record_end;
use crate::decide::engine::grant::{self, Needs};
use crate::decide::engine::machine::{Engine, Look, Shared, Turn};
use crate::decide::engine::phase::Phase;
use crate::decide::engine::protocol::{Action, Follow, Halt, Mark};
use crate::decide::engine::rooms::named;
use crate::decide::engine::run::{Live, Run};
use crate::decide::graph::estimate::Estimate;
use crate::decide::outlook::board::{Fitting, Want};
use crate::decide::outlook::foresee::{Outlook, Queues, UNKNOWN_RUN};
use crate::decide::outlook::parts::{Bound, QueueId};
use crate::decide::outlook::sheet::{Sheet, best_queue};
use crate::model::api::RunState;
use crate::model::batch::Flavour;
use crate::model::choice::{Excluded, Placement, Policy};
use crate::model::id::{HostId, InstanceId, JobKey, RunId, TaskId};
use crate::model::job::{Ended, Outcome};
use crate::model::units::Timestamp;

/// Instances looked at in one round that have to wait, at most: a round stays cheap however many are ready.
const LOOKED_AT: usize = 32;
/// After how long what waits for a choice is looked at again for news of how long queues make wait.
const SOON: Duration = Duration::from_secs(1);
/// After how long what waits in queues is looked at again.
const REVISED: Duration = Duration::from_mins(1);
/// How much of the time where it is another place may take at most, for a task to be called back from a queue.
const WORTH: f64 = 0.7;
/// Stands for no instance: a timer of the run itself.
const NOBODY: InstanceId = InstanceId(u32::MAX);
/// Excluded hosts that are told.
const TOLD: usize = 8;

/// What waits in a queue: when it was handed over, and where it is.
type Waiting = (Timestamp, InstanceId, (HostId, QueueId));

/// Where an instance goes.
pub(super) struct Siting {
    want: Want,
    best: Sheet,
    /// Whether it is another queue of its host than the first that it fits.
    beside: bool,
    /// Whether csync chose the host, and not only the queue there.
    placed: bool,
    next: Option<Sheet>,
    /// How many hosts were compared.
    compared: usize,
    /// Hosts that could not be compared, and why.
    out: Vec<(HostId, &'static str)>,
}

/// The hosts as they were weighed for an instance: what is like it needs no more than what changed since.
struct Weighed {
    run: RunId,
    task: TaskId,
    want: Want,
    /// Whether it was tried before.
    again: bool,
    /// Those of a host together, the first queue first that it fits.
    sheets: Vec<Sheet>,
    out: Vec<(HostId, &'static str)>,
    /// Hosts that something was bound to, or held for, since.
    changed: Vec<HostId>,
}

impl Weighed {
    fn is_for(&self, run: RunId, task: TaskId, (want, again): (&Want, bool)) -> bool {
        self.run == run && self.task == task && self.want == *want && self.again == again
    }

    /// Returns the best place with whether it is another queue than the first of its host, the next best, and how many hosts there are.
    fn best(&self) -> Option<(Sheet, bool, Option<Sheet>, usize)> {
        let (mut best, mut next, mut hosts) = (None::<(&Sheet, bool)>, None::<&Sheet>, 0);
        let mut consider = |sheet, beside| {
            if best.is_none_or(|(best, _): (&Sheet, bool)| Sheet::is_better_than(sheet, best)) {
                next = best.replace((sheet, beside)).map(|(before, _)| before);
            } else if next.is_none_or(|next| sheet.is_better_than(next)) {
                next = Some(sheet);
            }
        };
        let mut rest = self.sheets.as_slice();
        while let Some((first, others)) = rest.split_first() {
            hosts += 1;
            // Most hosts have one queue: thousands are looked through in a round.
            let queues = others.iter().take_while(|other| other.host == first.host).count();
            let (of_host, others) = rest.split_at(1 + queues);
            rest = others;
            let Some(here) = (if queues > 0 { best_queue(of_host) } else { None }) else {
                consider(first, false);
                continue;
            };
            for (at, sheet) in of_host.iter().enumerate() {
                // A queue that is a little better is no choice.
                if std::ptr::eq(sheet, here) || !sheet.is_better_than(here) {
                    consider(sheet, at > 0);
                }
            }
        }
        best.map(|(best, beside)| (best.clone(), beside, next.cloned(), hosts))
    }
}

impl Engine {
    /// Binds what waits in the pool and finds room.
    pub(super) fn place(&mut self, now: Timestamp, actions: &mut Vec<Action>, look: Look) {
        // Something is bound where the rest waits: when that is over, they are looked at at the latest.
        let is_due = match look {
            Look::Now => true,
            Look::Soon => self.shared.looked.is_none_or(|at| now.since(at) >= SOON),
            Look::Never => false,
        };
        if !is_due || !self.shared.hosts.has_pooled() {
            return;
        }
        self.shared.looked = Some(now);
        self.shared.board.begin();
        let (mut held, mut weighed) = (Vec::new(), None);
        while held.len() < LOOKED_AT
            && let Some(rank) = self.shared.hosts.next_pooled()
        {
            let (id, instance) = rank.instance();
            let Some(run) = self.runs.get_mut(&id).filter(|run| run.is_ready(instance)) else { continue };
            let Some(siting) = run.choose(instance, &mut self.shared, now, &mut weighed) else {
                held.push(rank);
                continue;
            };
            let changed = siting.best.host;
            let moves = siting.best.moved > 0.0;
            let goes = self.shared.has_room(&siting);
            if goes {
                let mut turn = Turn { shared: &mut self.shared, now, actions };
                run.hand_over_placed(instance, siting, &mut turn);
                run.settle(&mut turn);
            } else {
                self.shared.board.hold(&siting.want, &siting.best);
                held.push(rank);
            }
            // What moves holds links, and with them other hosts.
            weighed = weighed.filter(|_| !(goes && moves));
            if let Some(weighed) = &mut weighed {
                weighed.changed.push(changed);
            }
            if !goes && !self.shared.has_any_room() {
                break;
            }
        }
        for rank in held {
            self.shared.hosts.pool(rank);
        }
    }
}

impl Shared {
    /// Returns whether the partitions of a host are told apart: there are several, and it is known how long they make jobs wait.
    fn tells_queues(&self, host: HostId) -> bool {
        self.hosts.has_several(host) && self.board.name(host).is_some()
    }

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

    /// Returns the best host for an instance, among those that can be used; none where there is none now. `weighed` is what was
    /// found for the one before.
    fn choose(
        &self,
        instance: InstanceId,
        shared: &mut Shared,
        now: Timestamp,
        weighed: &mut Option<Weighed>,
    ) -> Option<Siting> {
        let task = self.plan.instance(instance).task;
        let policy = self.routes.policy(task)?;
        let want = shared.outlooks.get(&self.id)?.want(&self.plan, instance, policy);
        let again = self.troubles.contains_key(&instance);
        if !weighed.as_ref().is_some_and(|weighed| weighed.is_for(self.id, task, (&want, again))) {
            *weighed = Some(self.weigh(instance, want, shared, now)?);
        }
        let weighed = weighed.as_mut()?;
        for host in std::mem::take(&mut weighed.changed) {
            let Some(at) = weighed.sheets.iter().position(|sheet| sheet.host == host) else { continue };
            let of_host = weighed.sheets[at..].iter().take_while(|sheet| sheet.host == host).count();
            let first = (host, weighed.sheets[at].queue);
            let mut anew = Vec::new();
            if self.weigh_host(instance, &weighed.want, first, (&mut *shared, now), &mut anew) {
                weighed.sheets.splice(at..at + of_host, anew);
            }
        }
        let (best, beside, next, compared) = weighed.best()?;
        let (want, out) = (weighed.want.clone(), weighed.out.clone());
        Some(Siting { want, best, beside, placed: true, next, compared, out })
    }

    /// Hands an instance over to the host that it has: where csync may choose among partitions there, to the one where it starts
    /// soonest.
    pub(super) fn hand_over_on(&mut self, instance: InstanceId, host: HostId, turn: &mut Turn<'_>) {
        let siting = if self.is_ready(instance) { self.choose_queue(instance, host, turn) } else { None };
        match siting {
            Some(siting) => self.hand_over_placed(instance, siting, turn),
            None => self.hand_over(instance, (host, None), None, turn),
        }
    }

    /// Returns in which queue of its host an instance starts soonest; none where there is nothing to tell apart.
    fn choose_queue(&self, instance: InstanceId, host: HostId, turn: &mut Turn<'_>) -> Option<Siting> {
        let (shared, now) = (&mut *turn.shared, turn.now);
        if !shared.tells_queues(host) {
            return None;
        }
        let want = shared.outlooks.get(&self.id)?.want(&self.plan, instance, Policy::Fastest);
        let first = self.first_queue(self.plan.instance(instance).task, host, shared);
        let mut sheets = Vec::new();
        self.weigh_host(instance, &want, (host, first), (shared, now), &mut sheets);
        let again = self.troubles.contains_key(&instance);
        let task = self.plan.instance(instance).task;
        let weighed = Weighed { run: self.id, task, want, again, sheets, out: Vec::new(), changed: Vec::new() };
        let (best, beside, next, compared) = weighed.best()?;
        Some(Siting { want: weighed.want, best, beside, placed: false, next, compared, out: weighed.out })
    }

    /// Returns the queue of a host that a task goes to where nobody chooses.
    fn first_queue(&self, task: TaskId, host: HostId, shared: &mut Shared) -> QueueId {
        let fitting = self.fitting(task, shared);
        fitting.iter().flat_map(|all| all.iter()).find(|(of, _)| *of == host).and_then(|(_, queue)| *queue)
    }

    /// Weighs an instance on all hosts that it fits.
    fn weigh(&self, instance: InstanceId, want: Want, shared: &mut Shared, now: Timestamp) -> Option<Weighed> {
        let task = self.plan.instance(instance).task;
        let (mut sheets, mut out) = (Vec::new(), Vec::new());
        for &(host, queue) in self.fitting(task, shared)?.iter() {
            if shared.hosts.is_shut(host) {
                out.push((host, "it could not be used"));
            } else if !self.weigh_host(instance, &want, (host, queue), (&mut *shared, now), &mut sheets) {
                out.push((host, "there is no way for its inputs"));
            }
        }
        out.truncate(TOLD);
        let again = self.troubles.contains_key(&instance);
        Some(Weighed { run: self.id, task, want, again, sheets, out, changed: Vec::new() })
    }

    /// Weighs an instance in the queues of a host, the one first that it goes to where nobody chooses; returns whether it can run
    /// there.
    fn weigh_host(
        &self,
        instance: InstanceId,
        want: &Want,
        (host, queue): (HostId, QueueId),
        (shared, now): (&mut Shared, Timestamp),
        sheets: &mut Vec<Sheet>,
    ) -> bool {
        let queues = self.queues(instance, host, (&mut *shared, now));
        let (first, others) = queues.as_ref().and_then(|all| all.split_first()).unwrap_or((&queue, &[]));
        let Some(sheet) = self.weigh_on(instance, want, (host, *first), shared, now) else { return false };
        sheets.push(sheet);
        for &other in others {
            let Shared { outlooks, board, .. } = shared;
            let Some(outlook) = outlooks.get_mut(&self.id) else { break };
            let run = self.expect(instance, host, outlook);
            sheets.extend(board.weigh_beside(want, (host, other), run, now));
        }
        true
    }

    /// Returns the queues of a host that an instance fits by what it asks for and what was learned of that; none where there is
    /// nothing to choose. What was tried before may need more than that: it goes where nobody chooses.
    fn queues(&self, instance: InstanceId, host: HostId, (shared, now): (&mut Shared, Timestamp)) -> Option<Queues> {
        let task = self.plan.instance(instance).task;
        let settings = self.plan.task(task);
        if self.troubles.contains_key(&instance) || !shared.hosts.has_queues(host, settings) {
            return None;
        }
        let foresight = self.foresee(instance, host, shared, now);
        let Shared { hosts, outlooks, board, .. } = shared;
        let outlook = outlooks.get_mut(&self.id)?;
        let needs = Needs { mem: foresight.bytes(), time: foresight.walltime(), ..Needs::default() };
        let (asking, version) = ((task, host, needs.mem, needs.time), hosts.version());
        let queues = outlook.queues(&asking, version).or_else(|| {
            let fitting = grant::fitting_with(&settings.resources, &needs, &hosts.rooms(host, settings)?);
            let queues: Queues = fitting.into_iter().map(|name| board.queue(host, Some(name))).collect();
            outlook.set_queues(asking, version, Arc::clone(&queues));
            Some(queues)
        });
        queues.filter(|queues| !queues.is_empty())
    }

    /// Weighs an instance in one queue of a host.
    fn weigh_on(
        &self,
        instance: InstanceId,
        want: &Want,
        (host, queue): (HostId, QueueId),
        shared: &mut Shared,
        now: Timestamp,
    ) -> Option<Sheet> {
        let Shared { outlooks, board, .. } = shared;
        let run = self.expect(instance, host, outlooks.get_mut(&self.id)?);
        board.weigh(want, (host, queue), run, now)
    }

    /// Returns how long an instance runs on a host.
    fn expect(&self, instance: InstanceId, host: HostId, outlook: &mut Outlook) -> Estimate {
        let state = &self.tasks[self.plan.instance(instance).task.index()];
        outlook.expect(&self.plan, instance, host, (state.ended, state.usage.wall))
    }

    /// Returns the hosts of a task's route that have what it asks for, and in which queue; found out again when a host's room has
    /// changed.
    fn fitting(&self, task: TaskId, shared: &mut Shared) -> Option<Fitting> {
        let Shared { hosts, outlooks, board, .. } = shared;
        let outlook = outlooks.get_mut(&self.id)?;
        let version = hosts.version();
        if let Some(fitting) = outlook.fitting(task, version) {
            return Some(fitting);
        }
        let settings = self.plan.task(task);
        let mut fitting = Vec::new();
        for &host in self.routes.of(task) {
            let Some(rooms) = hosts.rooms(host, settings) else {
                fitting.push((host, None));
                continue;
            };
            if let Ok((_, room, _)) = grant::place(&settings.resources, &rooms) {
                // Grid Engine chooses by itself.
                let goes = room.partition.filter(|_| hosts.flavour(host) != Some(Flavour::Sge));
                fitting.push((host, board.queue(host, named(settings).or(goes))));
            }
        }
        let fitting: Fitting = fitting.into();
        outlook.set_fitting(task, version, Arc::clone(&fitting));
        Some(fitting)
    }

    /// Returns why an instance goes where it goes, as it is shown and kept.
    fn placement(&self, instance: InstanceId, siting: &Siting, shared: &Shared) -> Option<Placement> {
        let (board, outlook) = (&shared.board, shared.outlooks.get(&self.id)?);
        let named =
            |&(host, why): &(HostId, &str)| Some(Excluded { host: board.name(host)?.clone(), why: why.to_owned() });
        let mut excluded: Vec<Excluded> = siting.out.iter().filter_map(named).collect();
        excluded.extend(outlook.excluded(self.plan.instance(instance).task).iter().take(TOLD).cloned());
        let other = siting.next.as_ref().is_some_and(|next| next.host != siting.best.host);
        Some(Placement {
            policy: siting.want.policy,
            said: !siting.placed,
            chosen: board.terms(&siting.best)?,
            next: siting.next.as_ref().and_then(|next| board.terms(next)),
            others: siting.compared.saturating_sub(1 + usize::from(other)) as u32,
            excluded,
        })
    }

    fn hand_over_placed(&mut self, instance: InstanceId, siting: Siting, turn: &mut Turn<'_>) {
        // Of one queue of the host that it has there is nothing to tell.
        let is_choice = siting.placed || siting.next.is_some();
        let placement = if is_choice { self.placement(instance, &siting, turn.shared) } else { None };
        let Siting { want, best, beside, placed, .. } = siting;
        let board = &turn.shared.board;
        let queue = if beside { board.queue_name(best.host, best.queue).map(Box::from) } else { None };
        self.hand_over(instance, (best.host, queue), placement, turn);
        if self.live.get(&instance).is_none_or(|live| live.placed.is_some()) {
            return;
        }
        let key = self.key(instance);
        let bound = turn.shared.board.bind(&want, (&best, placed), key, turn.now);
        if let Some(live) = self.live.get_mut(&instance) {
            live.placed = Some(bound);
        }
        let may_leave = placed || self.may_move(instance, best.host, turn.shared);
        if may_leave && turn.shared.hosts.flavour(best.host).is_some() {
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

    /// Calls back from queues what would be over elsewhere much earlier, by what is known now: what csync placed on another host or in
    /// another queue, what has its host in another queue there.
    pub(super) fn revise(&mut self, turn: &mut Turn<'_>) {
        if self.halt != Halt::Going || self.state != RunState::Active {
            return;
        }
        let (placed, of_host) = self.in_queues(turn.shared);
        if placed.is_empty() && of_host.is_empty() {
            return;
        }
        turn.shared.board.begin();
        let mut back = Vec::new();
        for (_, instance, at) in placed.into_iter().take(LOOKED_AT) {
            let Some(own) = self.live.get(&instance).and_then(|live| live.placed) else { continue };
            turn.shared.board.lift(at.0, &[own]);
            let better = self.better_place(instance, at, turn);
            turn.shared.board.put_back(at.0, &[own]);
            if let Some(siting) = better {
                turn.shared.board.hold(&siting.want, &siting.best);
                back.push(instance);
            }
        }
        self.revise_queues(of_host, &mut back, turn);
        for instance in &back {
            if let Some(live) = self.live.get_mut(instance) {
                live.called_back = true;
            }
        }
        // Noted before it is done: the next engine must not take the ending for a person's.
        self.mark(Mark::CalledBack, &back, turn);
        turn.actions.extend(back.iter().map(|&instance| Action::Withdraw(self.key(instance))));
        self.watch_queues(turn);
    }

    /// Returns where an instance that csync placed would be over much earlier than where it waits, as if it did not wait there: none
    /// where there is no such place, or no room in it.
    fn better_place(&self, instance: InstanceId, at: (HostId, QueueId), turn: &mut Turn<'_>) -> Option<Siting> {
        let siting = self.choose(instance, turn.shared, turn.now, &mut None)?;
        if (siting.best.host, siting.best.queue) == at || !turn.shared.has_room(&siting) {
            return None;
        }
        let stays = self.weigh_on(instance, &siting.want, at, turn.shared, turn.now)?;
        (siting.best.total < stays.total * WORTH).then_some(siting)
    }

    /// Returns what waits in queues and may be called back, in the order in which it was handed over: what csync placed, and what has
    /// its host and may go to another queue there.
    fn in_queues(&self, shared: &Shared) -> (Vec<Waiting>, Vec<Waiting>) {
        let waits = |live: &Live| live.started.is_none() && !live.stop && !live.called_back;
        let (mut placed, mut of_host) = (Vec::new(), Vec::new());
        for (&instance, live) in self.live.iter().filter(|(_, live)| waits(live)) {
            let Some(bound) = live.placed.filter(|bound| bound.started.is_none()) else { continue };
            if shared.hosts.flavour(live.host).is_none() {
                continue;
            }
            let waiting = (live.submitted, instance, (live.host, bound.queue));
            if bound.placed {
                placed.push(waiting);
            } else if self.may_move(instance, live.host, shared) {
                of_host.push(waiting);
            }
        }
        placed.sort_unstable();
        of_host.sort_unstable();
        (placed, of_host)
    }

    /// Returns whether a job that has its host may be called back for another queue there. Not where others were handed over behind
    /// it: those would end unrun.
    fn may_move(&self, instance: InstanceId, host: HostId, shared: &Shared) -> bool {
        !self.is_ahead() && shared.hosts.has_queues(host, self.plan.task_of(instance))
    }

    /// Finds what would be over much earlier in another queue of the host that it has, the last in a queue first, which has most before
    /// it: what was handed over after a job does not hold that up where it is, and is before it where it would go.
    fn revise_queues(&self, waiting: Vec<Waiting>, back: &mut Vec<InstanceId>, turn: &mut Turn<'_>) {
        let mut later: Vec<(HostId, Bound)> = Vec::new();
        let mut moved: Vec<(HostId, Bound, Bound)> = Vec::new();
        for (_, instance, (host, queue)) in waiting.into_iter().rev().take(LOOKED_AT) {
            let Some(own) = self.live.get(&instance).and_then(|live| live.placed) else { continue };
            turn.shared.board.lift(host, &[own]);
            let siting = self.choose_queue(instance, host, turn).filter(|siting| siting.best.queue != queue);
            let behind: Vec<Bound> = later
                .iter()
                .filter(|(at, bound)| (*at, bound.queue) == (host, queue))
                .map(|(_, bound)| *bound)
                .collect();
            turn.shared.board.lift(host, &behind);
            let better = siting.filter(|siting| {
                let stays = self.weigh_on(instance, &siting.want, (host, queue), turn.shared, turn.now);
                stays.is_some_and(|stays| siting.best.total < stays.total * WORTH)
            });
            turn.shared.board.put_back(host, &behind);
            let there = Bound { queue: better.as_ref().map_or(queue, |siting| siting.best.queue), ..own };
            turn.shared.board.put_back(host, &[there]);
            if better.is_some() {
                moved.push((host, own, there));
                back.push(instance);
            } else {
                later.push((host, own));
            }
        }
        // They are where they were until their batch system has let them go.
        for (host, own, there) in moved {
            turn.shared.board.lift(host, &[there]);
            turn.shared.board.put_back(host, &[own]);
        }
    }

    /// Takes in that an instance was called back: it waits for its turn again, as if it had never been handed over.
    pub(super) fn come_back(&mut self, mut ended: Box<Ended>, turn: &mut Turn<'_>) {
        let instance = ended.key.instance;
        ended.notes.push("called back from the queue: another place was better by then".to_owned());
        record_end(ended, Follow::Retry(turn.now), turn);
        self.wait_for_retry(instance, Duration::ZERO, turn);
    }

    /// Counts again what was bound to hosts before a restart.
    pub(super) fn bind_again(&mut self, turn: &mut Turn<'_>) {
        let mut waits = false;
        let unbound = |live: &Live| live.placed.is_none();
        let mut all: Vec<InstanceId> = self.live.iter().filter(|(_, it)| unbound(it)).map(|(&it, _)| it).collect();
        all.sort_unstable();
        for instance in all {
            let task = self.plan.instance(instance).task;
            let placed = self.routes.policy(task).is_some();
            let tells = |live: &&Live| placed || turn.shared.tells_queues(live.host);
            let Some(live) = self.live.get(&instance).filter(tells) else { continue };
            let (host, cpus, since, started) = (live.host, live.grant.cpus, live.submitted, live.started);
            let named = live.partition.clone();
            let first = self.first_queue(task, host, turn.shared);
            let queue = named.map_or(first, |name| turn.shared.board.queue(host, Some(&name)));
            let outlook = turn.shared.outlooks.get_mut(&self.id);
            let expected = outlook.map_or(UNKNOWN_RUN, |outlook| self.expect(instance, host, outlook)).middle;
            let key = JobKey { run: self.id, instance, attempt: self.attempts[instance.index()] };
            let mut bound = Bound { cpus, queue, expected, slower: 1.0, since, started: None, placed };
            turn.shared.board.again(host, bound, key);
            if let Some(at) = started {
                turn.shared.board.started(host, &mut bound, key, at);
            }
            let may_leave = placed || self.may_move(instance, host, turn.shared);
            waits |= may_leave && started.is_none() && turn.shared.hosts.flavour(host).is_some();
            if let Some(live) = self.live.get_mut(&instance) {
                live.placed = Some(bound);
                live.partition = live.partition.take().filter(|_| queue != first);
            }
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
