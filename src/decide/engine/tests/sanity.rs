//! What must hold after every event, whatever happened.

use std::collections::BTreeSet;

use crate::decide::engine::machine::Engine;
use crate::decide::engine::phase::Phase;
use crate::decide::engine::protocol::Halt;
use crate::decide::engine::queue::Rank;
use crate::decide::engine::run::Run;
use crate::model::api::RunState;
use crate::model::id::{InstanceId, RunId, TaskId};

impl Engine {
    /// Checks every invariant.
    pub(super) fn sanity_check(&self) {
        let queued: BTreeSet<(RunId, InstanceId)> = self.shared().hosts.all_ready().map(Rank::instance).collect();
        let ahead = self.runs().flat_map(|run| run.live.values()).filter(|live| live.ahead).count();
        assert_eq!(ahead, self.shared().hosts.all_given(), "jobs handed over ahead");
        for run in self.runs() {
            run.sanity_check(&queued);
        }
    }
}

impl Run {
    fn sanity_check(&self, queued: &BTreeSet<(RunId, InstanceId)>) {
        assert_eq!(self.counts.total() as usize, self.plan.instances.len());
        let mut fresh = self.clone();
        fresh.recount();
        assert_eq!(self.counts, fresh.counts);
        assert_eq!(self.ignored, fresh.ignored);
        assert_eq!(self.waiting, fresh.waiting);
        assert!(!self.has_work(), "something was left undone");
        for (index, (task, again)) in self.tasks.iter().zip(&fresh.tasks).enumerate() {
            let limit = self.plan.task(TaskId(index as u32)).max_parallel;
            assert_eq!(task.counts, again.counts, "task {index}");
            assert_eq!(task.unsatisfied, again.unsatisfied, "task {index}");
            assert_eq!(task.barriers, again.barriers, "barriers of task {index}");
            if self.halt == Halt::Going {
                assert_eq!((task.spoiled, task.doomed), (again.spoiled, again.doomed), "fate of task {index}");
            }
            if let Some(limit) = limit {
                assert_eq!(task.admitted, again.admitted, "places of task {index}");
                assert!(task.admitted <= limit, "max_parallel of task {index}");
            }
        }
        let over = self.counts.over() == self.counts.total();
        assert_eq!(over, self.state != RunState::Active, "{:?} with {:?}", self.state, self.counts);
        for instance in self.plan.instance_ids() {
            self.check_instance(instance, queued);
        }
    }

    fn check_instance(&self, instance: InstanceId, queued: &BTreeSet<(RunId, InstanceId)>) {
        let phase = self.phases[instance.index()];
        let task = self.plan.instance(instance).task;
        let place = format!("{instance} is {phase:?}");
        assert_eq!(self.live.contains_key(&instance), phase.is_in_flight(), "{place}");
        match phase {
            Phase::Pending => {
                assert!(!self.is_free(instance), "{place} and waits for nothing");
                assert!(!self.tasks[task.index()].doomed, "{place} for ever");
                for upstream in self.plan.inputs(instance).iter().filter_map(|&path| self.plan.producer(path)) {
                    let upstream = self.phases[upstream.index()];
                    assert!(upstream.is_satisfied() || !upstream.is_over(), "{place} behind {upstream:?}");
                }
            }
            Phase::Ready => assert!(queued.contains(&(self.id, instance)), "{place} and in no queue"),
            Phase::Held => {
                let held = self.tasks[task.index()].held.as_ref().unwrap();
                assert!(held.iter().any(|rank| rank.instance().1 == instance), "{place} by nobody");
                let limit = self.plan.task(task).max_parallel.unwrap();
                assert!(self.tasks[task.index()].admitted >= limit, "{place} although there is a place");
            }
            Phase::Delayed => assert!(self.troubles[&instance].until.is_some(), "{place} without a timer"),
            _ => {}
        }
        if self.halt != Halt::Going {
            assert!(!phase.is_waiting(), "{place} in a halted run");
        }
    }
}
