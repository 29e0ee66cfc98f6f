//! Attempts that nothing was learned of yet, read from the store: an engine was killed before it came to that, or could not
//! use what was learned.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::model::host::HostName;
use crate::model::id::{JobKey, RunId};
use crate::model::plan::Plan;
use crate::reach::store::{Reader, StoreError, StoredAttempt, Untaught};
use crate::serve::engine::learner::{Asked, Heard, Told, cut};

/// Turns that are read together: a turn is a few hundred attempts at most.
const TOGETHER: u32 = 200;

/// Reads the attempts of some turns, from one to another, and tells them to who learns.
pub(super) async fn read_again(reader: Reader, (mut from, to): (u64, u64), learner: mpsc::Sender<Heard>) {
    loop {
        match some(&reader, from, to, &learner).await {
            Ok(Some(next)) => from = next,
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(%error, "what some attempts taught cannot be read; the next engine tries it");
                return;
            }
        }
    }
    // Fails when nobody learns any more: then nothing is struck off.
    learner.send(Heard::CaughtUp).await.ok();
}

/// Tells some of them; returns the turn that comes next, none at the end.
async fn some(reader: &Reader, from: u64, to: u64, learner: &mpsc::Sender<Heard>) -> Result<Option<u64>, StoreError> {
    let Some((untaught, next)) = reader.untaught(from, to, TOGETHER).await? else { return Ok(None) };
    let mut by_run: BTreeMap<RunId, Vec<Untaught>> = BTreeMap::new();
    for lesson in untaught {
        by_run.entry(lesson.key.run).or_default().push(lesson);
    }
    for (run, lessons) in by_run {
        // A run that somebody removed meanwhile teaches nothing, and neither does one whose plan another version wrote.
        let plan = match reader.plan(run).await {
            Ok(Some(stored)) => Arc::new(stored.plan),
            Ok(None) | Err(StoreError::Form { .. }) => continue,
            Err(error) => return Err(error),
        };
        let inputs: BTreeMap<JobKey, u64> = lessons.iter().map(|lesson| (lesson.key, lesson.input)).collect();
        let mut instances: Vec<_> = inputs.keys().map(|key| key.instance).collect();
        instances.dedup();
        for attempt in reader.attempts(run, Some(&instances)).await? {
            let Some(input) = inputs.get(&attempt.key) else { continue };
            let Some(told) = told(attempt, &plan, *input) else { continue };
            if learner.send(Heard::Attempt(told, None)).await.is_err() {
                return Ok(None);
            }
        }
    }
    Ok(Some(next))
}

/// Returns what an attempt tells; none where it tells nothing.
fn told(attempt: StoredAttempt, plan: &Arc<Plan>, input: u64) -> Option<Told> {
    let ending = attempt.ending?;
    let cut = cut(&ending.outcome, &ending.usage)?;
    let host = attempt.host.unwrap_or_else(|| HostName::LOCAL.to_owned());
    let (key, asked) = (attempt.key, Asked::of(&attempt.grant));
    Some(Told { plan: Arc::clone(plan), key, host, cut, asked, usage: ending.usage, input, at: ending.ended })
}
