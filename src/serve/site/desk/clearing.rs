//! What is over is cleared away, and tried again where it cannot be.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::model::batch::JobName;
use crate::reach::transport::TransportError;
use crate::serve::site::SiteNews;
use crate::serve::site::clear::{self, clear};
use crate::serve::site::desk::{Clearing, Desk, Done};
use crate::serve::site::prints::forget;
use crate::serve::site::send::Ground;

/// After how long it is tried again to clear away what could not be, at first and at most: often a batch system has a last word to
/// write there.
pub(super) const STUCK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

impl Desk {
    /// Returns when what is over is cleared away; none while nothing is, or it is being done.
    pub(super) fn clears_at(&self) -> Option<Instant> {
        match self.clearing {
            Clearing::No { since } if !self.closing.is_empty() => Some(since),
            _ => None,
        }
    }

    pub(super) fn clear(&mut self, ground: Arc<Ground>) {
        self.clearing = Clearing::Yes;
        let with_containers = |name: &JobName| (name.clone(), self.containers.get(name).cloned().unwrap_or_default());
        let closing = self.closing.iter().take(clear::MOST).map(with_containers).collect();
        let boxes = Arc::clone(&self.boxes);
        self.spawn(|means| async move {
            let cleared = clear(&means, &ground, &boxes, closing).await;
            if let Ok(gone) = &cleared {
                let (state, gone) = (means.state.clone(), gone.clone());
                // A panic there is reported; what is left is in nobody's way.
                spawn_blocking(move || forget(&state, &gone)).await.ok();
            }
            Done::Cleared(cleared)
        });
    }

    /// What could not be cleared away is tried again in a while.
    pub(super) async fn cleared(&mut self, result: Result<Vec<JobName>, TransportError>) {
        let gone: HashSet<JobName> = match result {
            Ok(gone) => gone.into_iter().collect(),
            Err(error) => {
                tracing::info!(host = %self.means.host.name, %error, "what is over cannot be cleared away now");
                HashSet::new()
            }
        };
        let wait = if gone.is_empty() { self.stuck } else { Duration::ZERO };
        self.stuck = if gone.is_empty() { (self.stuck * 2).min(STUCK.1) } else { STUCK.0 };
        self.clearing = Clearing::No { since: Instant::now() + wait };
        let (gone, left) = std::mem::take(&mut self.closing).into_iter().partition(|name| gone.contains(name));
        self.closing = left;
        let gone: Vec<JobName> = gone;
        // What stays for now does not keep the others waiting.
        let tried = self.closing.len().min(clear::MOST - gone.len().min(clear::MOST));
        self.closing.rotate_left(tried);
        for name in gone {
            self.containers.remove(&name);
            self.say(SiteNews::Closed(name)).await;
        }
    }
}
