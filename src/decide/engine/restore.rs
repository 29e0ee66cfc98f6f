//! A run from its records: where it stood, not what was decided on the way.

use std::sync::Arc;
use std::time::Duration;

use crate::decide::engine::machine::{Illegal, Turn};
use crate::decide::engine::phase::Phase;
use crate::decide::engine::protocol::{AttemptRecord, Follow, Halt, Mark, Routes, Stage, TimerId, Verdict};
use crate::decide::engine::retry::Fault;
use crate::decide::engine::run::{Live, Run, Trouble};
use crate::model::api::RunState;
use crate::model::id::{HostId, InstanceId, RunId};
use crate::model::job::Outcome;
use crate::model::plan::Plan;
use crate::model::task::OnError;
use crate::model::units::Timestamp;

/// Stands for a timer until [`Run::resume`] sets one; timers are numbered from 1.
const NO_TIMER: TimerId = TimerId(0);

/// What the store knows of a run.
pub(super) struct Restored {
    pub(super) run: RunId,
    pub(super) plan: Arc<Plan>,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) routes: Routes,
    pub(super) attempts: Vec<AttemptRecord>,
    pub(super) marks: Vec<(InstanceId, Mark, u32)>,
    pub(super) halt: Halt,
    pub(super) state: RunState,
}

/// Makes the run that stands where its records end.
pub(super) fn restore(mut told: Restored, turn: &mut Turn<'_>) -> Result<Run, Illegal> {
    let instances = told.plan.instances.len();
    let known = |instance: InstanceId| instance.index() < instances;
    let fits = told.verdicts.len() == instances
        && told.attempts.iter().all(|attempt| known(attempt.key.instance))
        && told.marks.iter().all(|(instance, ..)| known(*instance));
    if !fits {
        return Err(Illegal::Misfit(told.run));
    }
    let per_byte = turn.shared.board.per_byte();
    let outlook = turn.shared.outlooks.get_mut(&told.run);
    let run = Run::new(told.run, told.plan, told.verdicts, told.routes, outlook, per_byte);
    let mut run = run.ok_or(Illegal::Cycle(told.run))?;
    run.halt = told.halt;
    run.state = told.state;
    // Stable: what is said of one instance keeps its order.
    told.attempts.sort_by_key(|attempt| attempt.key);
    told.marks.sort_by_key(|(instance, ..)| *instance);
    let mut marks = told.marks.into_iter().peekable();
    for attempt in told.attempts {
        let key = attempt.key;
        // Marks before this attempt was handed over.
        while let Some((instance, mark, _)) =
            marks.next_if(|(instance, _, attempts)| (*instance, *attempts) < (key.instance, key.attempt))
        {
            run.replay_mark(instance, mark);
        }
        run.replay_attempt(attempt);
    }
    for (instance, mark, _) in marks {
        run.replay_mark(instance, mark);
    }
    run.recount();
    if run.state == RunState::Active {
        run.take_place(turn);
        run.resume(turn);
    }
    Ok(run)
}

#[expect(clippy::indexing_slicing, reason = "`restore` checked the instances")]
impl Run {
    /// Replays an attempt without what followed for others: that has records of its own.
    fn replay_attempt(&mut self, attempt: AttemptRecord) {
        let instance = attempt.key.instance;
        self.attempts[instance.index()] = attempt.key.attempt;
        let AttemptRecord { host, grant, submitted, outcome, follow, started, usage, partition, .. } = attempt;
        let Some(outcome) = outcome else {
            let stage = if started.is_some() { Stage::Running } else { Stage::Given };
            let live = Live {
                host,
                stage,
                grant,
                submitted,
                started,
                stop: false,
                ahead: false,
                placed: None,
                called_back: false,
                partition,
            };
            self.live.insert(instance, live);
            self.phases[instance.index()] = if started.is_some() { Phase::Running } else { Phase::Queued };
            return;
        };
        if started.is_some() {
            self.add_usage(instance, &usage);
        }
        let before = self.troubles.remove(&instance);
        if outcome == Outcome::Success {
            self.phases[instance.index()] = Phase::Done;
            return;
        }
        let mut tally = before.map(|trouble| trouble.tally).unwrap_or_default();
        let until = match follow {
            Some(Follow::Retry(at)) => {
                tally.count(&outcome, started.is_some(), Fault::Theirs);
                self.phases[instance.index()] = Phase::Delayed;
                Some(at)
            }
            Some(Follow::Final) | None => {
                self.phases[instance.index()] = match (&outcome, self.plan.task_of(instance).on_error) {
                    (Outcome::Cancelled, _) => Phase::Cancelled,
                    (_, OnError::Ignore) => Phase::Ignored,
                    _ => Phase::Failed,
                };
                None
            }
        };
        let until = until.map(|at| (at, NO_TIMER));
        self.troubles.insert(instance, Trouble { grant, outcome, started, usage, tally, until });
    }

    fn replay_mark(&mut self, instance: InstanceId, mark: Mark) {
        let phase = self.phases[instance.index()];
        self.phases[instance.index()] = match mark {
            Mark::Cached => Phase::Cached,
            Mark::Skipped => Phase::Skipped,
            Mark::Cancelled => match phase {
                // Asked for while the attempt was in flight, which ended well before it could be ended.
                Phase::Done => Phase::Done,
                Phase::Queued | Phase::Running | Phase::Lost => {
                    if let Some(live) = self.live.get_mut(&instance) {
                        live.stop = true;
                    }
                    phase
                }
                _ => Phase::Cancelled,
            },
            Mark::CalledBack => {
                if let Some(live) = self.live.get_mut(&instance) {
                    live.called_back = true;
                }
                phase
            }
            Mark::Reset => {
                self.forgive(instance);
                Phase::Pending
            }
        };
    }

    /// Counts what hosts have been handed before as handed over: there is so much less room, also until they say what they know of it.
    fn take_place(&mut self, turn: &mut Turn<'_>) {
        for live in self.live.values_mut().filter(|live| live.host != HostId::LOCAL) {
            live.ahead = live.started.is_none() || !turn.shared.hosts.lets_in_by_itself(live.host);
            if live.ahead {
                turn.shared.hosts.given(live.host);
            }
        }
    }

    /// Sets timers, and starts what can start.
    fn resume(&mut self, turn: &mut Turn<'_>) {
        let delayed: Vec<(InstanceId, Timestamp)> = self
            .troubles
            .iter()
            .filter(|(instance, _)| self.phases[instance.index()] == Phase::Delayed)
            .filter_map(|(&instance, trouble)| Some((instance, trouble.until?.0)))
            .collect();
        for (instance, at) in delayed {
            // The clock may have been set back meanwhile: nobody waits longer than the task says.
            let retry = &self.plan.task_of(instance).retry;
            let most = retry.max_delay.max(retry.delay).max(0.0) * 1.1;
            let delay = at.since(turn.now).min(Duration::try_from_secs_f64(most).unwrap_or(Duration::MAX));
            if let Some(trouble) = self.troubles.get_mut(&instance) {
                trouble.until = None;
            }
            self.wait_for_retry(instance, delay, turn);
        }
        self.bind_again(turn);
        self.kick(turn);
    }
}
