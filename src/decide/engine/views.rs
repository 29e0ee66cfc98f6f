//! What the API asks of a run: every answer from counters that are kept as events come in, or from the few instances that
//! live.

use std::sync::Arc;

use crate::decide::engine::phase::Phase;
use crate::decide::engine::protocol::{AttemptState, Capacity, Halt, Stage, Verdict};
use crate::decide::engine::run::Run;
use crate::model::api::{Counts, RunState};
use crate::model::id::{HostId, InstanceId, JobKey, RunId, TaskId};
use crate::model::job::State;
use crate::model::plan::Plan;
use crate::model::resources::{Amount, Grant, Usage};
use crate::model::units::Timestamp;

/// Something that an instance waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// An instance whose files it reads.
    Instance(InstanceId, State),
    /// A task named in its `needs`, of which so many instances are not over.
    Task(TaskId, u32),
    /// The answer whether it is up to date.
    Check,
    /// Its task's `max_parallel`, which is this.
    MaxParallel(u32),
    /// The delay of a retry, until then.
    Delay(Timestamp),
    /// Room: it is in the ready queue, or with the executor and not started.
    Room,
}

/// What starting an attempt and taking in its end costs, seconds of a core: measured at 0.8 ms. Counts where attempts are tiny.
const SPAWN: f64 = 0.001;

#[expect(clippy::indexing_slicing, reason = "one element per task of the plan")]
impl Run {
    /// Returns its id.
    pub fn id(&self) -> RunId {
        self.id
    }

    /// Returns its plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Returns where it stands.
    pub fn state(&self) -> RunState {
        self.state
    }

    /// Returns whether it starts attempts.
    pub fn halt(&self) -> Halt {
        self.halt
    }

    /// Returns its instances by state.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns a task's instances by state.
    pub fn task_counts(&self, task: TaskId) -> Counts {
        self.tasks.get(task.index()).map(|task| task.counts).unwrap_or_default()
    }

    /// Returns what the ended attempts of a task used: wall and CPU summed, peak memory the largest.
    pub fn task_usage(&self, task: TaskId) -> Usage {
        self.tasks.get(task.index()).map(|task| task.usage).unwrap_or_default()
    }

    /// Returns where an instance stands.
    pub fn instance_state(&self, instance: InstanceId) -> Option<State> {
        self.phases.get(instance.index()).map(|phase| phase.state())
    }

    /// Returns whether an instance is no part of the run (`--only`, `when`).
    pub fn is_left(&self, instance: InstanceId) -> bool {
        self.phases.get(instance.index()) == Some(&Phase::Left)
    }

    /// Returns whether an instance was to be looked at again before it runs, rather than run in any case.
    pub fn is_checked_first(&self, instance: InstanceId) -> bool {
        self.verdicts.get(instance.index()) == Some(&Verdict::Check)
    }

    /// Returns how many attempts an instance had.
    pub fn attempts(&self, instance: InstanceId) -> u32 {
        self.attempts.get(instance.index()).copied().unwrap_or(0)
    }

    /// Returns the attempt of an instance that is in flight, or else the last one if it failed. What succeeded is in the store.
    pub fn attempt(&self, instance: InstanceId) -> Option<AttemptState> {
        let attempt = self.attempts(instance);
        if let Some(live) = self.live.get(&instance) {
            return Some(AttemptState {
                attempt,
                host: Some(live.host),
                stage: live.stage,
                grant: live.grant,
                started: live.started,
                outcome: self.troubles.get(&instance).map(|trouble| trouble.outcome.clone()),
                usage: None,
            });
        }
        self.troubles.get(&instance).map(|trouble| AttemptState {
            attempt,
            host: None,
            stage: Stage::Given,
            grant: trouble.grant,
            started: trouble.started,
            outcome: Some(trouble.outcome.clone()),
            usage: Some(trouble.usage),
        })
    }

    /// Returns the keys of the attempts that an executor has, or had when the engine stopped.
    pub fn in_flight(&self) -> impl Iterator<Item = JobKey> {
        self.live.keys().map(|&instance| self.key(instance))
    }

    /// Returns where an instance may run, first preference first.
    pub fn route(&self, instance: InstanceId) -> &[HostId] {
        self.plan.instances.get(instance.index()).map_or(&[], |it| self.routes.of(it.task))
    }

    /// Returns the attempts in flight on other hosts, with what they were granted.
    pub fn in_flight_there(&self) -> impl Iterator<Item = (HostId, JobKey, Grant)> {
        let there = self.live.iter().filter(|(_, live)| live.host != HostId::LOCAL);
        there.map(|(&instance, live)| (live.host, self.key(instance), live.grant))
    }

    /// Returns the attempts that run, longest first, at most `limit`.
    pub fn running(&self, limit: usize) -> Vec<(InstanceId, u32, Timestamp)> {
        let mut running: Vec<_> = self
            .live
            .iter()
            .filter_map(|(&instance, live)| Some((instance, self.attempts(instance), live.started?)))
            .collect();
        running.sort_unstable_by_key(|&(instance, _, since)| (since, instance));
        running.truncate(limit);
        running
    }

    /// Iterates over what the attempts known to run on this machine were granted.
    pub fn grants(&self) -> impl Iterator<Item = Grant> {
        let here = self.live.values().filter(|live| live.host == HostId::LOCAL);
        here.filter(|live| live.started.is_some()).map(|live| live.grant)
    }

    /// Returns what an instance waits for; nothing when it runs or is over.
    pub fn waits(&self, instance: InstanceId) -> Vec<Wait> {
        let Some(phase) = self.phases.get(instance.index()) else { return Vec::new() };
        match phase {
            Phase::Pending => self.upstream_waits(instance),
            Phase::Checking => vec![Wait::Check],
            Phase::Held => self.plan.task_of(instance).max_parallel.map(Wait::MaxParallel).into_iter().collect(),
            Phase::Delayed => {
                let until = self.troubles.get(&instance).and_then(|trouble| trouble.until);
                until.map(|(at, _)| Wait::Delay(at)).into_iter().collect()
            }
            Phase::Ready | Phase::Queued => vec![Wait::Room],
            _ => Vec::new(),
        }
    }

    fn upstream_waits(&self, instance: InstanceId) -> Vec<Wait> {
        let mut waits = Vec::new();
        for producer in self.plan.inputs(instance).iter().filter_map(|&path| self.plan.producer(path)) {
            let phase = self.phases.get(producer.index()).filter(|phase| !phase.is_satisfied());
            let wait = phase.map(|phase| Wait::Instance(producer, phase.state()));
            waits.extend(wait.filter(|wait| !waits.contains(wait)));
        }
        for &need in &self.plan.task_of(instance).needs {
            let left = self.tasks[need.index()].unsatisfied;
            let wait = (left > 0 || self.tasks[need.index()].barriers > 0).then_some(Wait::Task(need, left));
            waits.extend(wait.filter(|wait| !waits.contains(wait)));
        }
        waits
    }

    /// Estimates the seconds until the end of the run from the mean run time of what ended, task by task; none before
    /// anything did. A task of which nothing ended is taken for an average one.
    pub fn eta(&self, room: Option<Capacity>, now: Timestamp) -> Option<f64> {
        let (ended, wall) =
            self.tasks.iter().fold((0u32, 0.0), |(ended, wall), task| (ended + task.ended, wall + task.usage.wall));
        if ended == 0 {
            return None;
        }
        let overall = wall / f64::from(ended);
        let cores = f64::from(room.map_or(1, |room| room.cpus.max(1)));
        let mean = |task: usize| {
            let task = &self.tasks[task];
            SPAWN + if task.ended == 0 { overall } else { task.usage.wall / f64::from(task.ended) }
        };
        let mut core_seconds = 0.0;
        let mut longest: f64 = 0.0;
        for (index, task) in self.tasks.iter().enumerate() {
            let left = f64::from(task.counts.pending + task.counts.ready + task.counts.queued);
            if left > 0.0 {
                let task = self.plan.task(TaskId(index as u32));
                let cpus = task.resources.first().map_or(1.0, |request| cores_of(request.cpus, request.processes));
                let width = f64::from(task.max_parallel.unwrap_or(u32::MAX)).min((cores / cpus).floor().max(1.0));
                core_seconds += left * mean(index) * cpus.min(cores);
                longest = longest.max((left / width).ceil() * mean(index));
            }
        }
        for (&instance, live) in &self.live {
            let Some(started) = live.started else { continue };
            let left = (mean(self.plan.instance(instance).task.index()) - now.since(started).as_secs_f64()).max(0.0);
            core_seconds += left * f64::from(live.grant.cpus);
            longest = longest.max(left);
        }
        Some((core_seconds / cores).max(longest))
    }
}

fn cores_of(amount: Amount<u32>, processes: Option<u32>) -> f64 {
    let cpus = match amount {
        Amount::Auto => 1,
        Amount::Exact(cpus) => cpus,
        Amount::Range { min, max } => max.or(min).unwrap_or(1),
    };
    f64::from(cpus.max(1)) * f64::from(processes.unwrap_or(1).max(1))
}
