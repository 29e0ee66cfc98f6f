//! What every day asks of what was learned, however long an engine stays: a new data key, old records sealed under it, and those
//! dropped that nothing was added to for long.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::model::units::Timestamp;
use crate::reach::advice;
use crate::reach::clock;
use crate::reach::config::StateDir;
use crate::reach::learned::{Learned, LearnedError, Place, Stamp};
use crate::serve::engine::adviser::{change, is_asked};
use crate::serve::prepare::lore::passphrase;

/// How long after its start an engine looks first: who started it has its answer by then.
const FIRST: Duration = Duration::from_secs(5);
/// How often it looks: a day's key is at most so much older than a day.
const EVERY: Duration = Duration::from_hours(1);

/// The task that looks after what was learned.
#[derive(Debug)]
pub(super) struct Keeper(JoinHandle<()>);

impl Keeper {
    pub(super) fn begin(state: StateDir) -> Self {
        let mut next = FIRST;
        let due = move || {
            let pause = std::mem::replace(&mut next, EVERY);
            async move {
                sleep(pause).await;
                Some(clock::now())
            }
        };
        Self(tokio::spawn(keep(state, due)))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // A portion that is not committed is done by the next engine.
        self.0.abort();
    }
}

/// Looks whenever it is due, until it never is again.
async fn keep<F: Future<Output = Option<Timestamp>>>(state: StateDir, mut due: impl FnMut() -> F) {
    while let Some(now) = due().await {
        if let Err(error) = look(&state, now).await {
            tracing::debug!(%error, "what was learned is looked after in another hour");
        }
    }
}

/// Does what the day asks for, portion by portion: whoever learns meanwhile waits for one at most.
async fn look(state: &StateDir, now: Timestamp) -> Result<(), LearnedError> {
    let place = Place::of(state);
    // Nothing is made where nothing was learned.
    if std::fs::metadata(&place.path).map_or(0, |meta| meta.len()) == 0 {
        return Ok(());
    }
    let before = Stamp::of(&place);
    let mut learned = Learned::open(&place, passphrase().as_deref(), now).await?;
    let dropped = in_portions(&mut learned, now, place.retention()).await;
    learned.close().await;
    let dropped = dropped?;
    if is_asked(state) {
        if dropped > 0 {
            // What is gone must not be told of any more.
            advice::refresh_in_background();
        } else {
            let (root, stamps) = (state.root().to_owned(), before.zip(Stamp::of(&place)));
            change(move || advice::put_learned(&root, &place, &[], stamps)).await;
        }
    }
    Ok(())
}

async fn in_portions(learned: &mut Learned, now: Timestamp, retention: u32) -> Result<u64, LearnedError> {
    let mut dropped = 0;
    loop {
        let cared = learned.care(now, retention).await?;
        dropped += cared.dropped;
        if cared.is_done {
            return Ok(dropped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::command::signature;
    use crate::model::observation::Observation;
    use crate::reach::learned::Lesson;

    const DAY: i64 = 86_400_000_000;

    /// Learns of so many kinds of commands on a day.
    async fn learn(place: &Place, kinds: std::ops::Range<u64>, day: i64) {
        let now = Timestamp(day * DAY);
        let mut learned = Learned::open(place, None, now).await.unwrap();
        let key = learned.tokens().clone();
        let lesson = |kind: u64| Lesson {
            signature: signature(&[vec!["samtools".to_owned(), format!("--kind{kind}")]], &[], &key).unwrap(),
            class: key.token("class", "alpha"),
            seen: Observation { id: kind, at: 1, wall: 60.0, ..Observation::default() },
        };
        learned.learn(kinds.map(lesson).collect(), now).await.unwrap();
        learned.close().await;
    }

    /// Returns how many records there are, and under which numbers of keys.
    async fn records(place: &Place, day: i64) -> (usize, Vec<i64>) {
        let mut learned = Learned::open(place, None, Timestamp(day * DAY)).await.unwrap();
        let all = learned.all().await.unwrap().len();
        let keys = learned.sealed_with().await.unwrap();
        learned.close().await;
        (all, keys)
    }

    #[tokio::test]
    async fn an_engine_that_stays_for_months_changes_keys_and_drops_what_is_old() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().to_owned(), None);
        let place = Place::of(&state);
        // Before anything was learned it makes nothing.
        look(&state, Timestamp(100 * DAY)).await.unwrap();
        assert!(!place.path.exists() && !place.key.exists());
        learn(&place, 0..600, 100).await;
        learn(&place, 600..700, 200).await;
        assert_eq!(records(&place, 200).await, (700, vec![1]), "whoever writes does not change keys by that");
        // More than one portion, all within a look, and the next day's look again; the same day's does nothing.
        let days = [201, 201, 202, 279, 280, 281].into_iter();
        for (day, kept) in days.zip([(700, 2), (700, 2), (700, 3), (700, 4), (700, 5), (100, 6)]) {
            let mut once = Some(Timestamp(day * DAY));
            keep(state.clone(), || std::future::ready(once.take())).await;
            assert_eq!(records(&place, day).await, (kept.0, vec![kept.1]), "{day}");
        }
        // As somebody said.
        place.set_retention(5).unwrap();
        let mut days = vec![Timestamp(283 * DAY), Timestamp(282 * DAY)];
        keep(state.clone(), || std::future::ready(days.pop())).await;
        assert_eq!(records(&place, 283).await, (0, vec![]));
    }

    #[tokio::test]
    async fn what_is_open_goes_on_when_the_key_changes() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().to_owned(), None);
        let place = Place::of(&state);
        learn(&place, 0..3, 100).await;
        let mut open = Learned::open(&place, None, Timestamp(100 * DAY)).await.unwrap();
        look(&state, Timestamp(101 * DAY)).await.unwrap();
        assert_eq!((open.all().await.unwrap().len(), open.unreadable()), (3, 0), "the new key is read where it is met");
        open.close().await;
    }
}
