//! Another chance for what failed, and for what nothing is heard of.

use crate::decide::engine::protocol::Event;
use crate::model::api::{Affected, ApiError, RunState};
use crate::model::id::RunId;
use crate::reach::clock;
use crate::serve::engine::admit::take_lock;
use crate::serve::engine::runner::Runner;

impl Runner {
    pub(super) fn retry(&mut self, run: RunId, labels: &[String]) -> Result<Affected, ApiError> {
        let instances = self.select(run, labels)?;
        let was_over = self.core.run(run).is_some_and(|it| it.state() != RunState::Active);
        if was_over {
            if let Some(refusal) = self.refuse_retry(run) {
                return Err(refusal);
            }
            self.lock_again(run)?;
        }
        let affected = self.affect(Event::Retry(run, instances));
        if let Some(care) = self.cares.get_mut(&run) {
            if self.core.run(run).is_some_and(|it| it.state() == RunState::Active) {
                // What succeeded in this run is asked about by memos that were written since.
                care.memos = None;
                care.head.ended = None;
                self.batch.event(clock::now(), Some(run), &asked("retry", labels));
            } else if was_over {
                care.lock = None;
            }
        }
        affected
    }

    /// Takes the lock of the directory of a run that was over, if it makes files.
    fn lock_again(&mut self, run: RunId) -> Result<(), ApiError> {
        let Some((it, care)) = self.view(run) else { return Ok(()) };
        let plan = it.plan();
        if plan.instance_ids().all(|instance| plan.outputs(instance).is_empty()) {
            return Ok(());
        }
        let lock = take_lock(&care.head.root, Some(run), &self.state)?;
        if let Some(care) = self.cares.get_mut(&run) {
            care.lock = Some(lock);
        }
        Ok(())
    }

    /// Gives up attempts of whose hosts nothing is heard, and lets others follow.
    pub(super) fn retry_lost(&mut self, run: RunId, labels: &[String]) -> Result<Affected, ApiError> {
        let instances = self.select(run, labels)?;
        let affected = self.affect(Event::RetryLost(run, instances))?;
        if affected.instances > 0 {
            self.mark_changed(run);
            self.batch.event(clock::now(), Some(run), &asked("retry --lost", labels));
        }
        Ok(affected)
    }
}

/// Says in the history of a run what a person asked for.
pub(super) fn asked(what: &str, labels: &[String]) -> String {
    if labels.is_empty() { what.to_owned() } else { format!("{what} {}", labels.join(" ")) }
}
