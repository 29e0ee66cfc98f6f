//! Who follows a run. A watcher pulls: the runner rings its bell when something changed, and it asks when its reader has taken
//! what it had before. A slow reader costs nothing but what it has not been told yet, which is bounded.

use std::sync::{Arc, Weak};

use tokio::sync::Notify;

use crate::decide::engine::run::Run;
use crate::model::api::{Counts, EndedView, Progress, RunState, RunningView};
use crate::model::id::{InstanceId, RunId, TaskId};
use crate::model::job::{Ended, Outcome, State};
use crate::model::resources::Usage;
use crate::serve::engine::care::Care;
use crate::serve::engine::runner::Runner;

/// Ended instances that a line of progress names at most, failed ones not counted.
const MOST_ENDED: usize = 1000;
/// Running instances that a line of progress names at most.
const MOST_RUNNING: usize = 20;

/// What a watcher wants to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interest {
    /// Everything.
    All,
    /// The end of the run.
    End,
    /// What happens to an instance.
    Instance(InstanceId),
}

/// The runner's side of a watcher.
#[derive(Debug)]
pub(super) struct Watcher {
    interest: Interest,
    bell: Weak<Notify>,
    /// Rung besides when the run is over.
    last_bell: Weak<Notify>,
    notes: Vec<Note>,
    /// Counters of each task as they were told.
    told: Vec<Counts>,
}

impl Watcher {
    /// Returns whether nobody listens any more.
    pub(super) fn is_gone(&self) -> bool {
        self.bell.strong_count() == 0
    }
}

/// The other side: rung when there is something to ask for. Dropping it ends the watch.
#[derive(Clone, Debug)]
pub struct Watch {
    pub(super) bell: Arc<Notify>,
    last_bell: Arc<Notify>,
}

impl Watch {
    /// Waits until something happened since the last wait.
    pub async fn changed(&self) {
        self.bell.notified().await;
    }

    /// Waits until the run is over: news that nobody should get later than need be.
    pub async fn over(&self) {
        self.last_bell.notified().await;
    }
}

/// The end of an attempt, or an instance that was settled without one.
#[derive(Clone, Debug)]
pub(super) struct Note {
    instance: InstanceId,
    attempt: u32,
    outcome: Option<Outcome>,
    usage: Option<Usage>,
}

impl Note {
    pub(super) fn of(ended: &Ended) -> Self {
        let usage = ended.started.is_some().then_some(ended.usage);
        Self { instance: ended.key.instance, attempt: ended.key.attempt, outcome: Some(ended.outcome.clone()), usage }
    }

    pub(super) fn settled(instance: InstanceId) -> Self {
        Self { instance, attempt: 0, outcome: None, usage: None }
    }

    fn must_be_told(&self) -> bool {
        self.outcome.as_ref().is_some_and(|outcome| *outcome != Outcome::Success)
    }
}

impl Care {
    /// Begins a watch.
    pub(super) fn watch(&mut self, interest: Interest) -> Watch {
        let watch = Watch { bell: Arc::new(Notify::new()), last_bell: Arc::new(Notify::new()) };
        let (bell, last_bell) = (Arc::downgrade(&watch.bell), Arc::downgrade(&watch.last_bell));
        self.watchers.push(Watcher { interest, bell, last_bell, notes: Vec::new(), told: Vec::new() });
        watch
    }

    /// Notes something for those who want to hear of everything, and rings for those who follow the instance.
    pub(super) fn note(&mut self, note: &Note) {
        for watcher in &mut self.watchers {
            match watcher.interest {
                Interest::All if note.must_be_told() || watcher.notes.len() < MOST_ENDED => {
                    watcher.notes.push(note.clone());
                }
                Interest::Instance(instance) if instance == note.instance => ring(watcher),
                _ => {}
            }
        }
    }

    /// Rings for those whom a change concerns, and forgets those who have gone.
    pub(super) fn ring(&mut self, over: bool) {
        self.watchers.retain(|watcher| !watcher.is_gone());
        for watcher in self.watchers.iter().filter(|watcher| over || watcher.interest == Interest::All) {
            ring(watcher);
            if let (true, Some(bell)) = (over, watcher.last_bell.upgrade()) {
                bell.notify_one();
            }
        }
        self.changed = false;
    }

    /// Makes the next line for a watcher; none when it is unknown.
    pub(super) fn progress(&mut self, run: &Run, watch: &Watch, eta: Option<f64>) -> Option<Progress> {
        let bell = Arc::downgrade(&watch.bell);
        let summary = self.summary(run);
        let watcher = self.watchers.iter_mut().find(|watcher| watcher.bell.ptr_eq(&bell))?;
        let notes = std::mem::take(&mut watcher.notes);
        Some(Progress {
            over: summary.state != RunState::Active,
            tasks: tell_tasks(run, &mut watcher.told),
            running: running(run),
            ended: notes.into_iter().map(|note| ended(run, note)).collect(),
            eta,
            moving: Vec::new(),
            trouble: None,
            logins: Vec::new(),
            away: Vec::new(),
            summary,
        })
    }
}

impl Runner {
    /// Something that every run may say has changed.
    pub(super) fn mark_all_changed(&mut self) {
        for care in self.cares.values_mut() {
            care.changed = true;
        }
    }

    pub(super) fn mark_changed(&mut self, run: RunId) {
        if let Some(care) = self.cares.get_mut(&run) {
            care.changed = true;
        }
    }
}

fn ring(watcher: &Watcher) {
    if let Some(bell) = watcher.bell.upgrade() {
        bell.notify_one();
    }
}

/// Returns the counters of the tasks where they differ from what was told before: all of them in the first line.
fn tell_tasks(run: &Run, told: &mut Vec<Counts>) -> Vec<(String, Counts)> {
    let first = told.is_empty();
    told.resize(run.plan().tasks.len(), Counts::default());
    let tasks = run.plan().tasks.iter().zip(told).zip(0u32..);
    let changed = tasks.filter_map(|((task, told), id)| {
        let counts = run.task_counts(TaskId(id));
        let changed = std::mem::replace(told, counts) != counts;
        (first || changed).then(|| (task.name.clone(), counts))
    });
    changed.collect()
}

fn running(run: &Run) -> Vec<RunningView> {
    let running = run.running(MOST_RUNNING).into_iter();
    running
        .map(|(instance, attempt, since)| RunningView { label: run.plan().label(instance), since, attempt })
        .collect()
}

fn ended(run: &Run, note: Note) -> EndedView {
    let state = match run.instance_state(note.instance) {
        Some(state) if state.is_over() => state,
        // Another attempt follows, perhaps runs already.
        _ => State::Ready,
    };
    let Note { instance, attempt, outcome, usage } = note;
    EndedView { label: run.plan().label(instance), state, attempt, outcome, usage }
}
