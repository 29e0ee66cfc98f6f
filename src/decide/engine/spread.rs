//! What a change of one instance does to the others, and to the run.

use std::sync::Arc;

use crate::decide::engine::hosts::Hosts;
use crate::decide::engine::machine::Turn;
use crate::decide::engine::phase::Phase;
use crate::decide::engine::protocol::{Action, Halt, Mark, Record, Verdict};
use crate::decide::engine::queue::Rank;
use crate::decide::engine::run::Run;
use crate::model::api::RunState;
use crate::model::id::{InstanceId, TaskId};
use crate::model::plan::Plan;
use crate::model::task::OnError;

#[expect(
    clippy::indexing_slicing,
    reason = "one element per task or instance of the plan; ids were checked at the door"
)]
impl Run {
    /// Lets an instance go that waits for nothing any more.
    pub(super) fn arm(&mut self, instance: InstanceId, turn: &mut Turn<'_>) {
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
        if turn.shared.hosts.choose(self.routes.of(id), task).is_err() {
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
            self.queue(instance, rank, &mut turn.shared.hosts);
        }
    }

    /// Puts a ready instance into the queue of the host that it goes to now.
    pub(super) fn queue(&mut self, instance: InstanceId, rank: Rank, hosts: &mut Hosts) {
        if self.phases[instance.index()] != Phase::Ready {
            return;
        }
        let task = self.plan.instance(instance).task;
        match hosts.choose(self.routes.of(task), self.plan.task(task)) {
            Ok(_) if self.routes.policy(task).is_some() => hosts.pool(rank),
            Ok(host) => hosts.queue(host, rank),
            Err(_) => self.rejects.push(instance),
        }
    }

    /// Takes in whether an instance is up to date.
    pub(super) fn checked(&mut self, instance: InstanceId, fresh: bool, turn: &mut Turn<'_>) {
        if let Some(late) = self.late_answers.get_mut(&instance) {
            *late -= 1;
            if *late == 0 {
                self.late_answers.remove(&instance);
            }
            return;
        }
        if self.phases.get(instance.index()) != Some(&Phase::Checking) {
            return;
        }
        // Any way out of this phase leaves an answer to come; this is the answer.
        self.set(instance, Phase::Pending);
        self.late_answers.remove(&instance);
        if fresh {
            self.set(instance, Phase::Cached);
            self.mark(Mark::Cached, &[instance], turn);
            self.release(instance, turn);
        } else {
            self.make_ready(instance, turn);
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
                self.queue(instance, rank, &mut turn.shared.hosts);
            }
        }
    }

    /// Ends an instance that will not succeed any more, and what that means for the others.
    pub(super) fn fail(&mut self, instance: InstanceId, cancelled: bool, turn: &mut Turn<'_>) {
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

    /// Returns who is still to make what an instance reads under the very name of it, each once. Those that make something in or around
    /// it are none of them, though it waits for them too.
    pub(super) fn makers(&self, plan: &Plan, instance: InstanceId) -> Vec<InstanceId> {
        let makers = plan.inputs(instance).iter().filter_map(|&path| plan.producer(path));
        let mut makers: Vec<_> = makers.filter(|maker| !self.phases[maker.index()].is_satisfied()).collect();
        makers.sort_unstable();
        makers.dedup();
        makers
    }

    /// Skips an instance that waits for what will not succeed.
    pub(super) fn skip_if_hopeless(&mut self, instance: InstanceId, turn: &mut Turn<'_>) {
        let plan = Arc::clone(&self.plan);
        let fails = |maker: &InstanceId| {
            let phase = self.phases[maker.index()];
            phase.is_over() && !phase.is_satisfied()
        };
        let makers = self.makers(&plan, instance);
        let doomed = self.tasks[plan.instance(instance).task.index()].doomed;
        if doomed || makers.iter().any(fails) {
            self.set(instance, Phase::Skipped);
            self.mark(Mark::Skipped, &[instance], turn);
            self.skip_dependents(&[instance], turn);
        }
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
    pub(super) fn lower_barriers(&mut self, mut finished: Vec<TaskId>) -> Vec<TaskId> {
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
}
