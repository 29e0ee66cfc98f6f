//! One run: where its instances stand, and the counters over them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::decide::engine::machine::Turn;
use crate::decide::engine::order::{NeededBy, heights, order};
use crate::decide::engine::phase::Phase;
use crate::decide::engine::protocol::{Halt, Routes, Stage, TimerId, Verdict};
use crate::decide::engine::queue::Queue;
use crate::decide::engine::retry::Tally;
use crate::decide::outlook::foresee::Outlook;
use crate::decide::outlook::parts::Bound;
use crate::model::api::{Counts, RunState};
use crate::model::id::{HostId, InstanceId, JobKey, RunId, TaskId};
use crate::model::job::Outcome;
use crate::model::plan::Plan;
use crate::model::resources::{Grant, Usage};
use crate::model::units::Timestamp;

/// An attempt that an executor has.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Live {
    pub(super) host: HostId,
    pub(super) stage: Stage,
    pub(super) grant: Grant,
    pub(super) submitted: Timestamp,
    pub(super) started: Option<Timestamp>,
    /// A person asked for its end.
    pub(super) stop: bool,
    /// It counts as handed over: ahead of room where the executor lets in by itself, else until it ends.
    pub(super) ahead: bool,
    /// What it counts for where csync chose its host.
    pub(super) placed: Option<Bound>,
    /// It is called back from its queue: another place is better by now.
    pub(super) called_back: bool,
    /// The partition that csync chose there among several.
    pub(super) partition: Option<Box<str>>,
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
    /// Where its tasks may run.
    pub(super) routes: Routes,
    pub(super) phases: Vec<Phase>,
    /// Per instance, how many of those whose files it reads are not satisfied.
    pub(super) waiting: Vec<u32>,
    /// Per instance, the number of its last attempt.
    pub(super) attempts: Vec<u32>,
    pub(super) heights: Vec<u32>,
    pub(super) tasks: Vec<TaskState>,
    pub(super) live: BTreeMap<InstanceId, Live>,
    pub(super) troubles: BTreeMap<InstanceId, Trouble>,
    /// Answers to [`Action::Check`](crate::decide::engine::protocol::Action) that are on their way and no longer of use.
    pub(super) late_answers: BTreeMap<InstanceId, u32>,
    pub(super) counts: Counts,
    /// Failed instances that their task says to ignore.
    pub(super) ignored: u32,
    pub(super) halt: Halt,
    pub(super) state: RunState,
    /// Tasks whose `max_parallel` may let another in.
    pub(super) freed: Vec<TaskId>,
    /// Instances that are ready and ask for more than there is.
    pub(super) rejects: Vec<InstanceId>,
    /// When what waits in queues is looked at again.
    pub(super) revising: Option<TimerId>,
    /// Whether something could have gone ahead if its host had had room, as far as that is known.
    pub(super) held_back: bool,
}

#[expect(
    clippy::indexing_slicing,
    reason = "one element per task or instance of the plan; ids were checked at the door"
)]
impl Run {
    /// Makes a run in which everything stands as its verdict says; none when the plan has a cycle. What most time hangs on goes
    /// first, as far as that is known; else what most tasks hang on. Files that may have to move take so many seconds a byte.
    pub(super) fn new(
        id: RunId,
        plan: Arc<Plan>,
        verdicts: Vec<Verdict>,
        routes: Routes,
        outlook: Option<&mut Outlook>,
        per_byte: f64,
    ) -> Option<Self> {
        let needed_by = NeededBy::new(&plan);
        let mut outlook = outlook.filter(|outlook| outlook.knows_any());
        let weigh = |instance| {
            let moves = routes.policy(plan.instance(instance).task).is_some();
            outlook.as_mut().map_or(1, |outlook| outlook.weight(&plan, instance, if moves { per_byte } else { 0.0 }))
        };
        let heights = heights(&plan, &order(&plan, &needed_by)?, weigh);
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
            routes,
            waiting: vec![0; instances],
            attempts: vec![0; instances],
            heights,
            tasks: vec![TaskState::default(); plan.tasks.len()],
            plan,
            live: BTreeMap::new(),
            troubles: BTreeMap::new(),
            late_answers: BTreeMap::new(),
            counts: Counts::default(),
            ignored: 0,
            halt: Halt::Going,
            state: RunState::Active,
            freed: Vec::new(),
            rejects: Vec::new(),
            revising: None,
            held_back: true,
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

    pub(super) fn can_start(&self, instance: InstanceId) -> bool {
        self.phases[instance.index()] == Phase::Pending && self.is_free(instance)
    }

    /// Returns whether everything that an instance depends on is satisfied.
    pub(super) fn is_free(&self, instance: InstanceId) -> bool {
        self.waiting[instance.index()] == 0 && self.tasks[self.plan.instance(instance).task.index()].barriers == 0
    }

    pub(super) fn is_finished(&self, task: TaskId) -> bool {
        let task = &self.tasks[task.index()];
        task.unsatisfied == 0 && task.barriers == 0
    }

    /// Moves an instance to another phase and keeps the counters.
    pub(super) fn set(&mut self, instance: InstanceId, phase: Phase) {
        let old = std::mem::replace(&mut self.phases[instance.index()], phase);
        if old == Phase::Checking {
            *self.late_answers.entry(instance).or_default() += 1;
        }
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

    /// Returns the attempt in flight that a key names; none when it is over, or was never known.
    pub(super) fn live_mut(&mut self, key: JobKey) -> Option<&mut Live> {
        if self.attempts.get(key.instance.index()) != Some(&key.attempt) {
            return None;
        }
        self.live.get_mut(&key.instance)
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
    matches!(phase, Phase::Ready | Phase::Queued | Phase::Running | Phase::Lost)
}
