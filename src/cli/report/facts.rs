//! What a report says of a run, computed from its plan: sums per task, what was used, where the time went.

use serde::Serialize;

use crate::model::api::{AttemptView, PlanInstance, RunPlan};
use crate::model::job::{Outcome, State};
use crate::model::units::Timestamp;

/// An attempt with its place in time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Span {
    /// Position of the instance in the plan.
    pub(super) instance: usize,
    /// Position of the task.
    pub(super) task: usize,
    /// From 1.
    pub(super) attempt: u32,
    /// Seconds since the start of the report.
    pub(super) start: f64,
    /// Seconds since the start of the report.
    pub(super) end: f64,
    /// Cores granted.
    pub(super) cpus: u32,
    /// Whether it failed; one that was cancelled did not.
    pub(super) failed: bool,
}

/// Sums of one task.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct TaskFacts {
    /// Its name.
    pub(super) name: String,
    /// Its instances.
    pub(super) instances: u32,
    /// Instances that ran and succeeded.
    pub(super) done: u32,
    /// Instances that were up to date.
    pub(super) cached: u32,
    /// Instances that failed for good.
    pub(super) failed: u32,
    /// Attempts that ended.
    pub(super) attempts: u32,
    /// Seconds that its attempts ran, together.
    pub(super) wall_s: f64,
    /// CPU seconds.
    pub(super) cpu_s: f64,
    /// Seconds times cores granted.
    pub(super) granted_core_s: f64,
    /// Largest peak of memory, bytes.
    pub(super) peak_memory: u64,
    /// Memory granted to the attempt with that peak; none where memory was left to csync.
    pub(super) granted_memory: Option<u64>,
    /// Seconds of attempts that failed.
    pub(super) lost_s: f64,
    /// Run times of the attempts that succeeded.
    #[serde(skip)]
    pub(super) walls: Vec<f64>,
    /// Peaks of memory of the attempts that succeeded.
    #[serde(skip)]
    pub(super) peaks: Vec<f64>,
}

impl TaskFacts {
    /// Returns the part of the granted cores' time that was computed in; none where nothing ran.
    pub(super) fn cpu_efficiency(&self) -> Option<f64> {
        (self.granted_core_s > 0.0).then(|| self.cpu_s / self.granted_core_s)
    }
}

/// What a report says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Facts {
    /// When the first attempt started; the submission where none did.
    pub(super) start: Timestamp,
    /// Seconds from the first start to the last end, or until now.
    pub(super) makespan: f64,
    /// Per task of the plan.
    pub(super) tasks: Vec<TaskFacts>,
    /// Every attempt that started.
    pub(super) spans: Vec<Span>,
}

impl Facts {
    /// Computes them. `now` ends what still runs.
    pub(super) fn new(plan: &RunPlan, now: Timestamp) -> Self {
        let attempts = || plan.instances.iter().flat_map(|instance| &instance.view.attempts);
        let start = attempts().filter_map(|attempt| attempt.started).min().unwrap_or(plan.summary.submitted);
        let mut facts = Self { start, makespan: 0.0, tasks: Vec::with_capacity(plan.tasks.len()), spans: Vec::new() };
        for (index, task) in plan.tasks.iter().enumerate() {
            let range = task.first as usize..task.first as usize + task.count as usize;
            let mut sums = TaskFacts { name: task.name.clone(), instances: task.count, ..TaskFacts::default() };
            for (offset, instance) in plan.instances.get(range.clone()).unwrap_or_default().iter().enumerate() {
                sums.add(instance);
                let place = (range.start + offset, index);
                let spans = instance.view.attempts.iter().filter_map(|attempt| span(attempt, place, start, now));
                facts.spans.extend(spans);
            }
            facts.tasks.push(sums);
        }
        facts.makespan = facts.spans.iter().map(|span| span.end).fold(0.0, f64::max);
        facts
    }

    /// Returns a sum over the tasks.
    pub(super) fn sum(&self, of: impl Fn(&TaskFacts) -> f64) -> f64 {
        self.tasks.iter().map(of).sum()
    }
}

fn span(attempt: &AttemptView, (instance, task): (usize, usize), origin: Timestamp, now: Timestamp) -> Option<Span> {
    let started = attempt.started?;
    let since = |time: Timestamp| time.since(origin).as_secs_f64();
    let end = since(attempt.ended.unwrap_or(now)).max(since(started));
    let failed =
        attempt.outcome.as_ref().is_some_and(|outcome| !matches!(outcome, Outcome::Success | Outcome::Cancelled));
    let (start, cpus) = (since(started), attempt.grant.cpus);
    Some(Span { instance, task, attempt: attempt.attempt, start, end, cpus, failed })
}

impl TaskFacts {
    fn add(&mut self, instance: &PlanInstance) {
        match instance.view.state {
            State::Done => self.done += 1,
            State::Cached => self.cached += 1,
            State::Failed => self.failed += 1,
            _ => {}
        }
        for attempt in &instance.view.attempts {
            let Some(outcome) = &attempt.outcome else { continue };
            self.attempts += 1;
            let Some(usage) = &attempt.usage else { continue };
            self.wall_s += usage.wall;
            self.cpu_s += usage.cpu();
            self.granted_core_s += usage.wall * f64::from(attempt.grant.cpus);
            if usage.peak_memory.0 >= self.peak_memory {
                self.peak_memory = usage.peak_memory.0;
                self.granted_memory = Some(attempt.grant.kept().0).filter(|kept| *kept > 0);
            }
            if *outcome == Outcome::Success {
                self.walls.push(usage.wall);
                self.peaks.push(usage.peak_memory.0 as f64);
            } else {
                self.lost_s += usage.wall;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::fixtures;

    #[test]
    fn sums_of_a_run() {
        let plan = fixtures::plan();
        let facts = Facts::new(&plan, fixtures::at(1000.0));
        let align = &facts.tasks[1];
        assert_eq!((align.instances, align.done, align.failed, align.attempts), (3, 2, 1, 4));
        assert!((align.wall_s - 57.0).abs() < 1e-9, "{}", align.wall_s);
        assert!((align.lost_s - 12.0).abs() < 1e-9, "{}", align.lost_s);
        assert_eq!(align.walls, [20.0, 25.0]);
        assert_eq!(align.cpu_efficiency(), Some(0.5));
        assert_eq!(facts.spans.len(), 6);
        assert!((facts.makespan - 50.0).abs() < 1e-9, "{}", facts.makespan);
        assert_eq!(facts.tasks[0].cpu_efficiency(), Some(0.5));
    }

    #[test]
    fn what_still_runs_ends_now() {
        let mut plan = fixtures::plan();
        plan.instances[1].view.attempts[0].ended = None;
        plan.instances[1].view.attempts[0].outcome = None;
        assert!((Facts::new(&plan, fixtures::at(100.0)).makespan - 100.0).abs() < 1e-9);
    }

    #[test]
    fn a_run_in_which_nothing_ran() {
        let mut plan = fixtures::plan();
        for instance in &mut plan.instances {
            instance.view.attempts.clear();
        }
        let facts = Facts::new(&plan, fixtures::at(0.0));
        assert_eq!((facts.makespan, facts.spans.len()), (0.0, 0));
        assert_eq!(facts.tasks[1].cpu_efficiency(), None);
    }
}
