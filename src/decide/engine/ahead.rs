//! `--ahead`: what waits only for what a host has in hand is handed over to it before that is over, where the host keeps the order
//! by itself. So a workflow goes on there while nobody watches.
//!
//! An attempt that is ahead is in flight like any other. When what it waits for fails, its host ends it unrun, and it waits here
//! again, or is not run, as if it had never been handed over.

use std::sync::Arc;

use crate::decide::engine::machine::Turn;
use crate::decide::engine::phase::Phase;
use crate::decide::engine::protocol::{Action, Halt, Verdict};
use crate::decide::engine::run::Run;
use crate::model::api::RunState;
use crate::model::id::{HostId, InstanceId, JobKey, TaskId};
use crate::model::plan::Plan;

/// Most attempts that one waits for natively.
const MOST_BEFORE: usize = 1000;

#[expect(
    clippy::indexing_slicing,
    reason = "one element per task or instance of the plan; ids were checked at the door"
)]
impl Run {
    /// Returns whether things of this run are handed over ahead.
    pub(super) fn is_ahead(&self) -> bool {
        self.routes.is_ahead() && self.halt == Halt::Going && self.state == RunState::Active
    }

    /// Hands over what can go ahead, layer by layer.
    pub(super) fn go_ahead(&mut self, turn: &mut Turn<'_>) {
        let plan = Arc::clone(&self.plan);
        let mut waiting: Vec<InstanceId> = plan.instance_ids().filter(|&it| self.may_go_ahead(it)).collect();
        self.held_back = false;
        loop {
            let before = waiting.len();
            waiting.retain(|&instance| !self.go_behind(&plan, instance, turn));
            if waiting.len() == before {
                return;
            }
        }
    }

    fn may_go_ahead(&self, instance: InstanceId) -> bool {
        // What may be up to date after all is looked at when its inputs are there.
        let is_stale = self.verdicts[instance.index()] == Verdict::Stale;
        let alone = self.plan.task_of(instance).max_parallel.is_none();
        self.phases[instance.index()] == Phase::Pending && is_stale && alone
    }

    /// Hands an instance over behind what it waits for; returns whether it did.
    fn go_behind(&mut self, plan: &Plan, instance: InstanceId, turn: &mut Turn<'_>) -> bool {
        let task = plan.instance(instance).task;
        // Where csync chooses, it chooses when the time has come.
        let Some(&host) = self.routes.of(task).first().filter(|_| self.routes.policy(task).is_none()) else {
            return false;
        };
        if !turn.shared.hosts.takes_ahead(host) {
            self.held_back |= turn.shared.hosts.keeps_order(host);
            return false;
        }
        let Some(before) = self.in_hand(plan, instance, host) else { return false };
        if turn.shared.hosts.choose(self.routes.of(task), plan.task(task)) != Ok(host) {
            return false;
        }
        let attempt = self.attempts[instance.index()] + 1;
        turn.actions.push(Action::Behind(JobKey { run: self.id, instance, attempt }, before));
        self.set(instance, Phase::Ready);
        self.hand_over_on(instance, host, turn);
        true
    }

    /// Returns the attempts that an instance waits for, when a host has all of them; none when something else is in the way too.
    fn in_hand(&self, plan: &Plan, instance: InstanceId, host: HostId) -> Option<Vec<JobKey>> {
        let makers = self.makers(plan, instance);
        // Files that are made in a directory that it reads, or a directory that is made around a file, are nobody's to wait for by
        // name: what of them comes from here, and what is there, is known when they are all made.
        if makers.len() < self.waiting[instance.index()] as usize {
            return None;
        }
        let mut before = Vec::with_capacity(makers.len());
        for maker in makers {
            before.push(self.attempt_in_hand(maker, host)?);
        }
        for &need in &plan.task_of(instance).needs {
            let open = self.tasks[need.index()].unsatisfied as usize;
            // What has nothing left to do itself is over when what it needs is.
            if open == 0 && self.tasks[need.index()].barriers > 0 || before.len() + open > MOST_BEFORE {
                return None;
            }
            let first = before.len();
            for other in self.live_of(need) {
                before.push(self.attempt_in_hand(other, host)?);
            }
            if before.len() - first < open {
                return None;
            }
        }
        before.sort_unstable();
        before.dedup();
        (!before.is_empty() && before.len() <= MOST_BEFORE).then_some(before)
    }

    /// Returns whether an attempt that was handed over and has not started, as far as is known, may wait for others there.
    pub fn may_have_gone_ahead(&self, instance: InstanceId) -> bool {
        self.routes.is_ahead() && self.live.get(&instance).is_some_and(|live| live.started.is_none())
    }

    /// Returns whether such an attempt waits for what is not under way any more, and did not succeed.
    pub fn waits_in_vain(&self, instance: InstanceId) -> bool {
        if !self.may_have_gone_ahead(instance) || self.is_free(instance) {
            return false;
        }
        let is_under_way = |maker: &InstanceId| self.live.contains_key(maker);
        let lacks_some = |need: &TaskId| {
            let under_way = self.live_of(*need).filter(|other| !self.phases[other.index()].is_satisfied()).count();
            under_way < self.tasks[need.index()].unsatisfied as usize
        };
        !self.makers(&self.plan, instance).iter().all(is_under_way)
            || self.plan.task_of(instance).needs.iter().any(lacks_some)
    }

    /// Returns the instances of a task that are under way.
    fn live_of(&self, task: TaskId) -> impl Iterator<Item = InstanceId> {
        let of_task = self.plan.task_instances[task.index()].range();
        let of_task = InstanceId(of_task.start as u32)..InstanceId(of_task.end as u32);
        self.live.range(of_task).map(|(&instance, _)| instance)
    }

    /// Returns an attempt that is under way on a host and that others can wait for there.
    fn attempt_in_hand(&self, instance: InstanceId, host: HostId) -> Option<JobKey> {
        let live = self.live.get(&instance).filter(|live| live.host == host && !live.stop)?;
        let is_here = matches!(self.phases[instance.index()], Phase::Queued | Phase::Running);
        (is_here && live.grant.cpus > 0).then(|| self.key(instance))
    }
}
