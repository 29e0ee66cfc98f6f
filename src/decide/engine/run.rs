//! One run: where its instances stand, and what the end of one does to the others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::decide::engine::grant;
use crate::decide::engine::machine::Turn;
use crate::decide::engine::order::{NeededBy, heights, order};
use crate::decide::engine::phase::Phase;
use crate::decide::engine::protocol::{Action, Adopted, Follow, Halt, Mark, Record, TimerId, Verdict};
use crate::decide::engine::queue::{Queue, Rank};
use crate::decide::engine::retry::{self, Tally};
use crate::model::api::{Counts, RunState};
use crate::model::id::{InstanceId, JobKey, RunId, TaskId};
use crate::model::job::{Ended, Outcome};
use crate::model::plan::Plan;
use crate::model::resources::{Grant, Usage};
use crate::model::task::OnError;
use crate::model::units::Timestamp;

/// An attempt that an executor has.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Live {
    pub(super) grant: Grant,
    pub(super) submitted: Timestamp,
    pub(super) started: Option<Timestamp>,
    /// A person asked for its end.
    pub(super) stop: bool,
    /// It counts as handed over ahead of room.
    pub(super) ahead: bool,
}

/// What is kept of an instance whose last attempt failed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Trouble {
    pub(super) grant: Grant,
    pub(super) outcome: Outcome,
    pub(super) started: Option<Timestamp>,
    pub(super) usage: Usage,
    pub(super) tally: Tally,
    /// While it waits for the delay of a retry: until when, and the timer that ends the wait.
    pub(super) until: Option<(Timestamp, TimerId)>,
}

/// What a run knows of one of its tasks.
#[derive(Clone, Debug, Default)]
pub(super) struct TaskState {
    pub(super) counts: Counts,
    /// Summed over its ended attempts; of the peak, the largest.
    pub(super) usage: Usage,
    /// Attempts that ran and ended.
    pub(super) ended: u32,
    /// Instances that what depends on them still waits for.
    pub(super) unsatisfied: u32,
    /// Tasks named in its `needs` that are not over.
    pub(super) barriers: u32,
    /// It will never be finished: an instance of it, or a task that it needs, will not succeed.
    pub(super) spoiled: bool,
    /// A task that it needs is spoiled.
    pub(super) doomed: bool,
    /// Instances in the ready queue or in flight, where `max_parallel` bounds them.
    pub(super) admitted: u32,
    /// Instances that `max_parallel` holds back.
    pub(super) held: Option<Box<Queue>>,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Run {
    pub(super) id: RunId,
    pub(super) plan: Arc<Plan>,
    pub(super) needed_by: NeededBy,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) phases: Vec<Phase>,
    /// Per instance, how many of those whose files it reads are not satisfied.
    pub(super) waiting: Vec<u32>,
    /// Per instance, the number of its last attempt.
    pub(super) attempts: Vec<u32>,
    pub(super) heights: Vec<u32>,
    pub(super) tasks: Vec<TaskState>,
    pub(super) live: BTreeMap<InstanceId, Live>,
    pub(super) troubles: BTreeMap<InstanceId, Trouble>,
    pub(super) counts: Counts,
    /// Failed instances that their task says to ignore.
    pub(super) ignored: u32,
    pub(super) halt: Halt,
    pub(super) state: RunState,
    /// Tasks whose `max_parallel` may let another in.
    freed: Vec<TaskId>,
    /// Instances that are ready and ask for more than there is.
    rejects: Vec<InstanceId>,
}

#[expect(
    clippy::indexing_slicing,
    reason = "one element per task or instance of the plan; ids were checked at the door"
)]
impl Run {
    /// Makes a run in which everything stands as its verdict says; none when the plan has a cycle.
    pub(super) fn new(id: RunId, plan: Arc<Plan>, verdicts: Vec<Verdict>) -> Option<Self> {
        let needed_by = NeededBy::new(&plan);
        let heights = heights(&plan, &order(&plan, &needed_by)?);
        let phases = verdicts.iter().map(|verdict| match verdict {
            Verdict::Fresh => Phase::Cached,
            Verdict::Left => Phase::Left,
            Verdict::Check | Verdict::Stale => Phase::Pending,
        });
        let instances = plan.instances.len();
        let mut run = Self {
            id,
            needed_by,
            phases: phases.collect(),
            verdicts,
            waiting: vec![0; instances],
            attempts: vec![0; instances],
            heights,
            tasks: vec![TaskState::default(); plan.tasks.len()],
            plan,
            live: BTreeMap::new(),
            troubles: BTreeMap::new(),
            counts: Counts::default(),
            ignored: 0,
            halt: Halt::Going,
            state: RunState::Active,
            freed: Vec::new(),
            rejects: Vec::new(),
        };
        run.recount();
        Some(run)
    }

    /// Counts everything anew from the phases.
    pub(super) fn recount(&mut self) {
        let plan = Arc::clone(&self.plan);
        self.counts = Counts::default();
        self.ignored = 0;
        self.waiting.fill(0);
        for (task, barriers) in self.tasks.iter_mut().zip(self.needed_by.counts(plan.tasks.len())) {
            task.counts = Counts::default();
            task.unsatisfied = 0;
            task.admitted = 0;
            task.spoiled = false;
            task.doomed = false;
            task.barriers = barriers;
        }
        let mut spoiled = Vec::new();
        for instance in plan.instance_ids() {
            let phase = self.phases[instance.index()];
            let id = plan.instance(instance).task;
            let task = &mut self.tasks[id.index()];
            *task.counts.of(phase.state()) += 1;
            *self.counts.of(phase.state()) += 1;
            self.ignored += u32::from(phase == Phase::Ignored);
            task.admitted += u32::from(occupies(phase));
            if !phase.is_satisfied() {
                task.unsatisfied += 1;
                for dependent in plan.dependents(instance) {
                    self.waiting[dependent.index()] += 1;
                }
                if phase.is_over() && !std::mem::replace(&mut task.spoiled, true) {
                    spoiled.push(id);
                }
            }
        }
        while let Some(task) = spoiled.pop() {
            for &next in self.needed_by.of(task) {
                let next_task = &mut self.tasks[next.index()];
                next_task.doomed = true;
                if !std::mem::replace(&mut next_task.spoiled, true) {
                    spoiled.push(next);
                }
            }
        }
        let finished = (0..plan.tasks.len() as u32).map(TaskId).filter(|&task| self.is_finished(task)).collect();
        self.lower_barriers(finished);
    }

    /// Starts what can start: after a submission, a restart, or a retry.
    pub(super) fn kick(&mut self, turn: &mut Turn<'_>) {
        let plan = Arc::clone(&self.plan);
        for instance in plan.instance_ids() {
            if self.can_start(instance) {
                self.arm(instance, turn);
            }
        }
    }

    fn can_start(&self, instance: InstanceId) -> bool {
        self.phases[instance.index()] == Phase::Pending && self.is_free(instance)
    }

    /// Returns whether everything that an instance depends on is satisfied.
    pub(super) fn is_free(&self, instance: InstanceId) -> bool {
        self.waiting[instance.index()] == 0 && self.tasks[self.plan.instance(instance).task.index()].barriers == 0
    }

    fn is_finished(&self, task: TaskId) -> bool {
        let task = &self.tasks[task.index()];
        task.unsatisfied == 0 && task.barriers == 0
    }

    /// Moves an instance to another phase and keeps the counters.
    pub(super) fn set(&mut self, instance: InstanceId, phase: Phase) {
        let old = std::mem::replace(&mut self.phases[instance.index()], phase);
        let id = self.plan.instance(instance).task;
        let task = &mut self.tasks[id.index()];
        *self.counts.of(old.state()) -= 1;
        *self.counts.of(phase.state()) += 1;
        *task.counts.of(old.state()) -= 1;
        *task.counts.of(phase.state()) += 1;
        self.ignored = self.ignored + u32::from(phase == Phase::Ignored) - u32::from(old == Phase::Ignored);
        task.unsatisfied = task.unsatisfied + u32::from(old.is_satisfied()) - u32::from(phase.is_satisfied());
        if occupies(old) != occupies(phase) && self.plan.task(id).max_parallel.is_some() {
            if occupies(phase) {
                task.admitted += 1;
            } else {
                task.admitted -= 1;
                self.freed.push(id);
            }
        }
    }

    /// Lets an instance go that waits for nothing any more.
    fn arm(&mut self, instance: InstanceId, turn: &mut Turn<'_>) {
        if self.verdicts[instance.index()] == Verdict::Stale {
            self.make_ready(instance, turn);
        } else {
            self.set(instance, Phase::Checking);
            turn.actions.push(Action::Check(self.id, instance));
        }
    }

    /// Puts an instance where it gets its turn.
    pub(super) fn make_ready(&mut self, instance: InstanceId, turn: &mut Turn<'_>) {
        let id = self.plan.instance(instance).task;
        let task = self.plan.task(id);
        let rank = Rank::new(task.priority, self.id, self.heights[instance.index()], instance);
        if turn.shared.capacity.is_some_and(|room| grant::first(&task.resources, room).is_err()) {
            self.set(instance, Phase::Ready);
            self.rejects.push(instance);
        } else if task.max_parallel.is_some() {
            self.set(instance, Phase::Held);
            self.tasks[id.index()].held.get_or_insert_default().push(rank);
            if self.freed.last() != Some(&id) {
                self.freed.push(id);
            }
        } else {
            self.set(instance, Phase::Ready);
            turn.shared.ready.push(rank);
        }
    }

    /// Does what the last changes made due, until nothing is: refuses what cannot be granted, lets in what `max_parallel`
    /// held back, ends the run.
    pub(super) fn settle(&mut self, turn: &mut Turn<'_>) {
        loop {
            if let Some(instance) = self.rejects.pop() {
                self.reject(instance, turn);
            } else if let Some(task) = self.freed.pop() {
                self.admit(task, turn);
            } else {
                break;
            }
        }
        if self.state == RunState::Active && self.counts.over() == self.counts.total() {
            self.state = self.end_state();
            turn.actions.push(Action::Record(Record::Run { run: self.id, state: self.state, at: turn.now }));
            turn.actions.push(Action::Over(self.id));
        }
    }

    fn end_state(&self) -> RunState {
        if self.halt == Halt::Cancelled {
            RunState::Cancelled
        } else if self.counts.failed > self.ignored {
            RunState::Failed
        } else if self.counts.cancelled > 0 {
            RunState::Cancelled
        } else {
            RunState::Succeeded
        }
    }

    fn admit(&mut self, id: TaskId, turn: &mut Turn<'_>) {
        let limit = self.plan.task(id).max_parallel.unwrap_or(u32::MAX).max(1);
        while self.tasks[id.index()].admitted < limit {
            let Some(rank) = self.tasks[id.index()].held.as_mut().and_then(|held| held.pop()) else { break };
            let (_, instance) = rank.instance();
            if self.phases[instance.index()] == Phase::Held {
                self.set(instance, Phase::Ready);
                turn.shared.ready.push(rank);
            }
        }
    }

    /// Hands an instance over to the executor, if it is still ready.
    pub(super) fn hand_over(&mut self, instance: InstanceId, turn: &mut Turn<'_>) {
        let Some(room) = turn.shared.capacity else { return };
        if self.phases[instance.index()] != Phase::Ready {
            return;
        }
        let task = self.plan.task_of(instance);
        let Ok(base) = grant::first(&task.resources, room) else {
            // The machine became smaller, or its size was not known when the instance became ready.
            self.rejects.push(instance);
            return;
        };
        let grant = match self.troubles.get(&instance) {
            Some(last) => grant::next(base, &last.grant, &last.outcome, &task.retry, &task.resources, room),
            None => base,
        };
        let key = self.next_attempt(instance);
        let live = Live { grant, submitted: turn.now, started: None, stop: false, ahead: true };
        turn.shared.ahead += 1;
        self.live.insert(instance, live);
        self.set(instance, Phase::Queued);
        turn.actions.push(Action::Record(Record::Submitted { key, grant, at: turn.now }));
        turn.actions.push(Action::Start { key, grant });
    }

    fn next_attempt(&mut self, instance: InstanceId) -> JobKey {
        let attempt = &mut self.attempts[instance.index()];
        *attempt += 1;
        JobKey { run: self.id, instance, attempt: *attempt }
    }

    /// Fails an instance whose request the machine cannot meet: an attempt that never starts.
    fn reject(&mut self, instance: InstanceId, turn: &mut Turn<'_>) {
        let Some(room) = turn.shared.capacity else { return };
        if self.phases[instance.index()] != Phase::Ready {
            return;
        }
        let Err(message) = grant::first(&self.plan.task_of(instance).resources, room) else { return };
        let key = self.next_attempt(instance);
        let grant = Grant { cpus: 0, mem: room.mem, mem_enforced: false, time: None, gpus: 0 };
        let live = Live { grant, submitted: turn.now, started: None, stop: false, ahead: false };
        self.live.insert(instance, live);
        turn.actions.push(Action::Record(Record::Submitted { key, grant, at: turn.now }));
        self.ended(Box::new(never_ran(key, Outcome::Rejected { message }, turn.now)), turn);
    }

    /// Returns the attempt in flight that a key names; none when it is over, or was never known.
    pub(super) fn live_mut(&mut self, key: JobKey) -> Option<&mut Live> {
        if self.attempts.get(key.instance.index()) != Some(&key.attempt) {
            return None;
        }
        self.live.get_mut(&key.instance)
    }

    /// Takes in that an attempt started.
    pub(super) fn started(&mut self, key: JobKey, at: Timestamp, turn: &mut Turn<'_>) {
        let Some(live) = self.live_mut(key) else { return };
        live.started = Some(at);
        turn.shared.ahead -= usize::from(std::mem::take(&mut live.ahead));
        self.set(key.instance, Phase::Running);
    }

    /// Takes in that an attempt ended.
    pub(super) fn ended(&mut self, ended: Box<Ended>, turn: &mut Turn<'_>) {
        let key = ended.key;
        let instance = key.instance;
        if self.live_mut(key).is_none() {
            return;
        }
        let Some(live) = self.live.remove(&instance) else { return };
        turn.shared.ahead -= usize::from(live.ahead);
        if ended.started.is_some() {
            self.add_usage(instance, &ended.usage);
        }
        if ended.outcome == Outcome::Success {
            self.troubles.remove(&instance);
            record_end(ended, Follow::Final, turn);
            self.set(instance, Phase::Done);
            self.release(instance, turn);
            return;
        }
        let cancelled = live.stop || ended.outcome == Outcome::Cancelled;
        let delay = if cancelled || self.halt != Halt::Going { None } else { self.delay(&ended, &live, turn) };
        self.note_trouble(&ended, &live, delay.is_some());
        match delay {
            Some(delay) => {
                record_end(ended, Follow::Retry(turn.now.after(delay)), turn);
                self.wait_for_retry(instance, delay, turn);
            }
            None => {
                record_end(ended, Follow::Final, turn);
                self.fail(instance, cancelled, turn);
            }
        }
    }

    pub(super) fn add_usage(&mut self, instance: InstanceId, usage: &Usage) {
        let task = &mut self.tasks[self.plan.instance(instance).task.index()];
        task.ended += 1;
        task.usage.wall += usage.wall;
        task.usage.user += usage.user;
        task.usage.system += usage.system;
        task.usage.peak_memory = task.usage.peak_memory.max(usage.peak_memory);
    }

    /// Returns after how long a failed attempt is followed by another, if it is.
    fn delay(&self, ended: &Ended, live: &Live, turn: &Turn<'_>) -> Option<Duration> {
        let instance = ended.key.instance;
        let task = self.plan.task_of(instance);
        let tally = self.troubles.get(&instance).map(|trouble| trouble.tally).unwrap_or_default();
        let delay = retry::delay(&task.retry, tally, &ended.outcome, ended.key, turn.shared.seed)?;
        if let Some(room) = turn.shared.capacity {
            let base = grant::first(&task.resources, room).ok()?;
            let next = grant::next(base, &live.grant, &ended.outcome, &task.retry, &task.resources, room);
            if !grant::can_help(&next, &live.grant, &ended.outcome) {
                return None;
            }
        }
        Some(delay)
    }

    fn note_trouble(&mut self, ended: &Ended, live: &Live, again: bool) {
        let before = self.troubles.remove(&ended.key.instance);
        let mut tally = before.map(|trouble| trouble.tally).unwrap_or_default();
        if again {
            tally.count(&ended.outcome);
        }
        let trouble = Trouble {
            grant: live.grant,
            outcome: ended.outcome.clone(),
            started: ended.started,
            usage: ended.usage,
            tally,
            until: None,
        };
        self.troubles.insert(ended.key.instance, trouble);
    }

    pub(super) fn wait_for_retry(&mut self, instance: InstanceId, delay: Duration, turn: &mut Turn<'_>) {
        if delay.is_zero() {
            self.make_ready(instance, turn);
            return;
        }
        let timer = turn.shared.set_timer(self.id, instance);
        if let Some(trouble) = self.troubles.get_mut(&instance) {
            trouble.until = Some((turn.now.after(delay), timer));
        }
        self.set(instance, Phase::Delayed);
        turn.actions.push(Action::SetTimer(timer, delay));
    }

    /// Takes in that a timer fired.
    pub(super) fn timer(&mut self, instance: InstanceId, timer: TimerId, turn: &mut Turn<'_>) {
        let Some(trouble) = self.troubles.get_mut(&instance) else { return };
        if trouble.until.is_some_and(|(_, awaited)| awaited == timer) {
            trouble.until = None;
            if self.phases[instance.index()] == Phase::Delayed {
                self.make_ready(instance, turn);
            }
        }
    }

    /// Ends an instance that will not succeed any more, and what that means for the others.
    fn fail(&mut self, instance: InstanceId, cancelled: bool, turn: &mut Turn<'_>) {
        let on_error = self.plan.task_of(instance).on_error;
        if cancelled {
            self.set(instance, Phase::Cancelled);
            self.skip_dependents(&[instance], turn);
        } else if on_error == OnError::Ignore {
            self.set(instance, Phase::Ignored);
            self.release(instance, turn);
        } else {
            self.set(instance, Phase::Failed);
            self.skip_dependents(&[instance], turn);
            let failures = self.counts.failed - self.ignored;
            let too_many = self.plan.max_failures.is_some_and(|most| failures >= most.max(1));
            if self.halt == Halt::Going && (on_error == OnError::Stop || too_many) {
                self.stop(turn);
            }
        }
    }

    /// Starts nothing more; what runs may end.
    fn stop(&mut self, turn: &mut Turn<'_>) {
        self.halt = Halt::Stopped;
        turn.actions.push(Action::Record(Record::Halted(self.id, Halt::Stopped)));
        self.cancel_waiting(turn);
        for (&instance, _) in self.live.iter().filter(|(_, live)| live.started.is_none()) {
            turn.actions.push(Action::Withdraw(self.key(instance)));
        }
    }

    /// Cancels every instance that is neither over nor in flight; returns how many.
    pub(super) fn cancel_waiting(&mut self, turn: &mut Turn<'_>) -> u32 {
        let plan = Arc::clone(&self.plan);
        let waiting = plan.instance_ids().filter(|instance| self.phases[instance.index()].is_waiting());
        let waiting: Vec<_> = waiting.collect();
        for &instance in &waiting {
            self.set(instance, Phase::Cancelled);
        }
        self.mark(Mark::Cancelled, &waiting, turn);
        waiting.len() as u32
    }

    /// Skips everything that depends, directly or not, on instances that will not succeed.
    pub(super) fn skip_dependents(&mut self, from: &[InstanceId], turn: &mut Turn<'_>) {
        let plan = Arc::clone(&self.plan);
        let mut skipped = Vec::new();
        let mut spoiled = Vec::new();
        let mut next = from.to_vec();
        while let Some(instance) = next.pop() {
            for &dependent in plan.dependents(instance) {
                self.skip(dependent, &mut skipped, &mut next);
            }
            let task = plan.instance(instance).task;
            if !std::mem::replace(&mut self.tasks[task.index()].spoiled, true) {
                spoiled.push(task);
            }
            while let Some(task) = spoiled.pop() {
                for other in self.newly_doomed(task) {
                    for dependent in plan.instances_of(other) {
                        self.skip(dependent, &mut skipped, &mut next);
                    }
                    if !std::mem::replace(&mut self.tasks[other.index()].spoiled, true) {
                        spoiled.push(other);
                    }
                }
            }
        }
        self.mark(Mark::Skipped, &skipped, turn);
    }

    fn newly_doomed(&mut self, spoiled: TaskId) -> Vec<TaskId> {
        let mut doomed = self.needed_by.of(spoiled).to_vec();
        doomed.retain(|other| !std::mem::replace(&mut self.tasks[other.index()].doomed, true));
        doomed
    }

    fn skip(&mut self, instance: InstanceId, skipped: &mut Vec<InstanceId>, next: &mut Vec<InstanceId>) {
        if self.phases[instance.index()].is_waiting() {
            self.set(instance, Phase::Skipped);
            skipped.push(instance);
            next.push(instance);
        }
    }

    /// Has it recorded that instances were settled, and told to who watches.
    pub(super) fn mark(&self, mark: Mark, instances: &[InstanceId], turn: &mut Turn<'_>) {
        if instances.is_empty() {
            return;
        }
        let marked = instances.iter().map(|&instance| (instance, self.attempts[instance.index()])).collect();
        turn.actions.push(Action::Record(Record::Marked { run: self.id, mark, instances: marked }));
        let over = instances.iter().filter(|instance| self.phases[instance.index()].is_over());
        turn.actions.extend(over.map(|&instance| Action::Tell(self.id, instance)));
    }

    /// Lets those go that waited for this instance, which has just become satisfied.
    pub(super) fn release(&mut self, instance: InstanceId, turn: &mut Turn<'_>) {
        let plan = Arc::clone(&self.plan);
        for &dependent in plan.dependents(instance) {
            self.waiting[dependent.index()] -= 1;
            if self.can_start(dependent) {
                self.arm(dependent, turn);
            }
        }
        let task = plan.instance(instance).task;
        if self.is_finished(task) {
            for opened in self.lower_barriers(vec![task]) {
                for dependent in plan.instances_of(opened) {
                    if self.can_start(dependent) {
                        self.arm(dependent, turn);
                    }
                }
            }
        }
    }

    /// Lowers the barriers behind tasks that are finished; returns the tasks that are open by that.
    fn lower_barriers(&mut self, mut finished: Vec<TaskId>) -> Vec<TaskId> {
        let mut opened = Vec::new();
        while let Some(task) = finished.pop() {
            for &next in self.needed_by.of(task) {
                self.tasks[next.index()].barriers -= 1;
                if self.tasks[next.index()].barriers == 0 {
                    opened.push(next);
                    if self.tasks[next.index()].unsatisfied == 0 {
                        finished.push(next);
                    }
                }
            }
        }
        opened
    }

    /// Takes in whether an instance is up to date.
    pub(super) fn checked(&mut self, instance: InstanceId, fresh: bool, turn: &mut Turn<'_>) {
        if self.phases.get(instance.index()) != Some(&Phase::Checking) {
            return;
        }
        if fresh {
            self.set(instance, Phase::Cached);
            self.mark(Mark::Cached, &[instance], turn);
            self.release(instance, turn);
        } else {
            self.make_ready(instance, turn);
        }
    }

    /// Takes in what became of an attempt that was in flight when the engine stopped.
    pub(super) fn adopted(&mut self, key: JobKey, how: Adopted, turn: &mut Turn<'_>) {
        let halted = self.halt != Halt::Going;
        let Some(live) = self.live_mut(key) else {
            if how == Adopted::Live {
                turn.actions.push(Action::Stop(key));
            }
            return;
        };
        let unwanted = live.stop || halted && live.started.is_none();
        match how {
            Adopted::Died => return self.ended(Box::new(never_ran(key, Outcome::NodeFail, turn.now)), turn),
            Adopted::NeverStarted if unwanted => {
                return self.ended(Box::new(never_ran(key, Outcome::Cancelled, turn.now)), turn);
            }
            Adopted::NeverStarted => turn.actions.push(Action::Start { key, grant: live.grant }),
            Adopted::Live if live.stop => turn.actions.push(Action::Stop(key)),
            Adopted::Live if unwanted => turn.actions.push(Action::Withdraw(key)),
            Adopted::Live => {}
        }
        if live.started.is_none() && !live.ahead {
            live.ahead = true;
            turn.shared.ahead += 1;
        }
    }

    /// Takes in that everything in flight died with the worker.
    pub(super) fn worker_died(&mut self, turn: &mut Turn<'_>) {
        let dead: Vec<_> = self.live.iter().map(|(&instance, live)| (self.key(instance), live.started)).collect();
        for (key, started) in dead {
            let wall = started.map_or(0.0, |started| turn.now.since(started).as_secs_f64());
            let ended = never_ran(key, Outcome::NodeFail, turn.now);
            let usage = Usage { wall, ..ended.usage };
            self.ended(Box::new(Ended { started, usage, ..ended }), turn);
        }
    }

    /// Returns whether [`Run::settle`] has something to do.
    #[cfg(test)]
    pub(super) fn has_work(&self) -> bool {
        !self.freed.is_empty() || !self.rejects.is_empty()
    }

    /// Returns the key of an instance's last attempt.
    pub(super) fn key(&self, instance: InstanceId) -> JobKey {
        JobKey { run: self.id, instance, attempt: self.attempts[instance.index()] }
    }
}

/// Returns whether an instance in this phase takes one of its task's `max_parallel` places.
const fn occupies(phase: Phase) -> bool {
    matches!(phase, Phase::Ready | Phase::Queued | Phase::Running)
}

fn record_end(ended: Box<Ended>, follow: Follow, turn: &mut Turn<'_>) {
    let key = ended.key;
    turn.actions.push(Action::Record(Record::Ended { ended, follow }));
    turn.actions.push(Action::Tell(key.run, key.instance));
}

fn never_ran(key: JobKey, outcome: Outcome, now: Timestamp) -> Ended {
    Ended {
        key,
        outcome,
        started: None,
        ended: now,
        usage: Usage::default(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        notes: Vec::new(),
    }
}
