//! What people ask of instances: cancel, and another chance.

use std::sync::Arc;

use crate::decide::engine::machine::Turn;
use crate::decide::engine::order::{Step, order};
use crate::decide::engine::phase::Phase;
use crate::decide::engine::protocol::{Action, Halt, Mark, Record, Verdict};
use crate::decide::engine::run::Run;
use crate::model::api::RunState;
use crate::model::id::InstanceId;
use crate::model::plan::Plan;

#[expect(clippy::indexing_slicing, reason = "one element per task or instance of the plan; ids are checked first")]
impl Run {
    /// Cancels these instances, or the whole run when none are named; returns how many were neither over nor cancelled.
    ///
    /// What waits is cancelled now. What is in flight is asked to end, and is cancelled when it has: if it succeeds before
    /// it can be ended, it is done, and its results count.
    pub(super) fn cancel(&mut self, instances: &[InstanceId], turn: &mut Turn<'_>) -> u32 {
        if self.state != RunState::Active {
            return 0;
        }
        if instances.is_empty() {
            if self.halt != Halt::Cancelled {
                self.halt = Halt::Cancelled;
                turn.actions.push(Action::Record(Record::Halted(self.id, Halt::Cancelled)));
            }
            let live: Vec<_> = self.live.keys().copied().collect();
            return self.cancel_waiting(turn) + self.end_live(&live, turn);
        }
        let (mut waiting, mut live) = (Vec::new(), Vec::new());
        for &instance in instances {
            match self.phases.get(instance.index()) {
                Some(phase) if phase.is_waiting() => {
                    self.set(instance, Phase::Cancelled);
                    waiting.push(instance);
                }
                Some(phase) if phase.is_in_flight() => live.push(instance),
                _ => {}
            }
        }
        self.mark(Mark::Cancelled, &waiting, turn);
        self.skip_dependents(&waiting, turn);
        waiting.len() as u32 + self.end_live(&live, turn)
    }

    /// Asks for the end of attempts in flight; returns for how many it was not asked before.
    fn end_live(&mut self, instances: &[InstanceId], turn: &mut Turn<'_>) -> u32 {
        let mut asked = Vec::new();
        for &instance in instances {
            let key = self.key(instance);
            let Some(live) = self.live.get_mut(&instance) else { continue };
            if !std::mem::replace(&mut live.stop, true) {
                asked.push(instance);
            }
            // Again for one that was asked before: a person who repeats the command wants it to have an effect.
            turn.actions.push(Action::Stop(key));
        }
        self.mark(Mark::Cancelled, &asked, turn);
        asked.len() as u32
    }

    /// Gives these instances another chance, or all that failed, were cancelled or skipped when none are named; returns how
    /// many are to run again, with what they need and what depends on them.
    pub(super) fn retry(&mut self, instances: &[InstanceId], turn: &mut Turn<'_>) -> u32 {
        let plan = Arc::clone(&self.plan);
        let selected = if instances.is_empty() {
            self.phases.iter().map(|phase| phase.is_unsuccessful()).collect()
        } else {
            self.with_upstream(&plan, instances)
        };
        let reset = self.resets(&plan, &selected);
        if reset.is_empty() {
            return 0;
        }
        for &instance in &reset {
            self.forgive(instance);
            self.phases[instance.index()] = Phase::Pending;
        }
        self.recount();
        if self.halt != Halt::Going {
            self.halt = Halt::Going;
            turn.actions.push(Action::Record(Record::Halted(self.id, Halt::Going)));
        }
        if self.state != RunState::Active {
            self.state = RunState::Active;
            turn.actions.push(Action::Record(Record::Run { run: self.id, state: self.state, at: turn.now }));
        }
        self.mark(Mark::Reset, &reset, turn);
        self.kick(turn);
        reset.len() as u32
    }

    /// Forgets what became of an instance. What had succeeded need not run again where it is still up to date.
    pub(super) fn forgive(&mut self, instance: InstanceId) {
        if matches!(self.phases[instance.index()], Phase::Done | Phase::Cached) {
            self.verdicts[instance.index()] = Verdict::Check;
        }
        self.troubles.remove(&instance);
    }

    /// Selects the unsuccessful ones among the named, and those that they cannot run without.
    fn with_upstream(&self, plan: &Plan, instances: &[InstanceId]) -> Vec<bool> {
        let mut selected = vec![false; plan.instances.len()];
        let mut tasks = vec![false; plan.tasks.len()];
        let mut next = instances.to_vec();
        while let Some(instance) = next.pop() {
            let unsuccessful = self.phases.get(instance.index()).is_some_and(|phase| phase.is_unsuccessful());
            if !unsuccessful || std::mem::replace(&mut selected[instance.index()], true) {
                continue;
            }
            let stands_in_the_way = |other: &InstanceId| {
                let phase = self.phases[other.index()];
                phase.is_unsuccessful() && !phase.is_satisfied()
            };
            next.extend(plan.inputs(instance).iter().filter_map(|&path| plan.producer(path)).filter(stands_in_the_way));
            let mut open = vec![plan.instance(instance).task];
            while let Some(task) = open.pop() {
                if std::mem::replace(&mut tasks[task.index()], true) {
                    continue;
                }
                for &need in &plan.task(task).needs {
                    next.extend(plan.instances_of(need).filter(stands_in_the_way));
                    open.push(need);
                }
            }
        }
        selected
    }

    /// Returns what is to run again: the selected, and what depends on them unless something else keeps it from running.
    /// What could run now and depends on them waits again.
    fn resets(&mut self, plan: &Plan, selected: &[bool]) -> Vec<InstanceId> {
        let steps = order(plan, &self.needed_by).unwrap_or_default();
        let mut above = vec![Above::default(); plan.instances.len()];
        // Before the instances of a task, and with them.
        let mut before = vec![Above::default(); plan.tasks.len()];
        let mut with = vec![Above::default(); plan.tasks.len()];
        let mut reset = Vec::new();
        for step in steps {
            match step {
                Step::Open(task) => {
                    let needs = plan.task(task).needs.iter().map(|need| with[need.index()]);
                    before[task.index()] = needs.fold(Above::default(), Above::or);
                    with[task.index()] = before[task.index()];
                }
                Step::Instance(instance) => {
                    let task = plan.instance(instance).task.index();
                    let phase = self.phases[instance.index()];
                    let above_it = above[instance.index()].or(before[task]);
                    let follows = above_it.reset && !above_it.blocked && phase.is_over() && phase != Phase::Left;
                    let mut says = Above::default();
                    if selected[instance.index()] || follows {
                        reset.push(instance);
                        says.reset = true;
                    } else if phase.is_over() && !phase.is_satisfied() {
                        says.blocked = true;
                    } else if above_it.reset && phase.is_waiting() {
                        self.set(instance, Phase::Pending);
                    }
                    for dependent in plan.dependents(instance) {
                        above[dependent.index()] = above[dependent.index()].or(says);
                    }
                    with[task] = with[task].or(says);
                }
            }
        }
        reset
    }
}

/// What is known of everything that comes before an instance or a task.
#[derive(Clone, Copy, Default)]
struct Above {
    /// Something of it is to run again.
    reset: bool,
    /// Something of it cannot succeed.
    blocked: bool,
}

impl Above {
    const fn or(self, other: Self) -> Self {
        Self { reset: self.reset || other.reset, blocked: self.blocked || other.blocked }
    }
}
