//! What becomes known of data and commands, put into the index that hooks of coding agents look things up in; beside the
//! engine's work, and never in its way. Without an index nobody asks, and nothing is done.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::model::data::DataFact;
use crate::reach::advice;
use crate::reach::config::StateDir;
use crate::reach::index::IndexError;

/// Heaps of facts that wait; when there are more the index is made anew once.
const MOST_WAITING: usize = 1024;
/// How long the engine waits, when it leaves, for what is still to be put in.
const FAREWELL: Duration = Duration::from_secs(2);

/// The way to the task that puts things in; it starts with the first.
#[derive(Default)]
pub(super) struct Adviser {
    task: Option<(mpsc::Sender<Vec<DataFact>>, JoinHandle<()>)>,
}

impl Adviser {
    /// Passes on what was found out of data; it is stored already.
    pub(super) fn tell(&mut self, state: &StateDir, facts: &[DataFact]) {
        if facts.is_empty() || !is_asked(state) {
            return;
        }
        let (to, _) = self.task.get_or_insert_with(|| {
            let (to, from) = mpsc::channel(MOST_WAITING);
            (to, tokio::spawn(keep(state.clone(), from)))
        });
        if let Err(TrySendError::Full(_)) = to.try_send(facts.to_vec()) {
            advice::refresh_in_background();
        }
    }

    /// Waits until everything is put in that was told.
    pub(super) async fn leave(&mut self) {
        if let Some((to, task)) = self.task.take() {
            drop(to);
            if timeout(FAREWELL, task).await.is_err() {
                tracing::debug!("the index for coding agents lacks what came last");
            }
        }
    }
}

/// Says whether hooks look things up here.
pub(super) fn is_asked(state: &StateDir) -> bool {
    advice::path(state.root()).exists()
}

/// Has the index made anew, where hooks look things up here: hosts changed.
pub(super) fn hosts_changed(state: &StateDir) {
    if is_asked(state) {
        advice::refresh_in_background();
    }
}

/// Puts in what is told, until nobody is left to tell; what waits goes in together.
async fn keep(state: StateDir, mut from: mpsc::Receiver<Vec<DataFact>>) {
    let state = Arc::new(state);
    while let Some(mut facts) = from.recv().await {
        while let Ok(more) = from.try_recv() {
            facts.extend(more);
        }
        let state = Arc::clone(&state);
        change(move || advice::put_data(state.root(), &facts)).await;
    }
}

/// Changes the index; one that cannot be changed is made anew.
pub(super) async fn change(put: impl FnOnce() -> Result<(), IndexError> + Send + 'static) {
    match spawn_blocking(put).await {
        Ok(Ok(())) => {}
        Ok(Err(IndexError::Io(error))) => tracing::debug!(%error, "the index for coding agents is behind"),
        Ok(Err(IndexError::TooLarge | IndexError::Damaged)) => advice::refresh_in_background(),
        Err(error) => tracing::debug!(%error, "the index for coding agents is behind"),
    }
}
