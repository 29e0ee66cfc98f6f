//! Answers that go on: progress and logs.

use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::stream::unfold;
use tokio::time::{Instant, sleep_until};

use crate::model::api::{ApiError, ErrorKind};
use crate::model::id::RunId;
use crate::serve::engine::{Answering, Handle, LogReader, Watch, refuse};

/// Shortest time between two lines of progress. The first change after a quiet time is told at once.
const PACE: Duration = Duration::from_millis(100);

struct Following {
    handle: Handle,
    run: RunId,
    watch: Watch,
    told: Option<Instant>,
    over: bool,
    _answering: Answering,
}

/// Tells the progress of a run, line by line, until it is over. A reader that is slow gets fewer lines.
pub(super) fn progress(handle: Handle, run: RunId, watch: Watch) -> Body {
    let answering = handle.busy().begin();
    let following = Following { handle, run, watch, told: None, over: false, _answering: answering };
    Body::from_stream(unfold(following, |mut following| async move {
        if following.over {
            return None;
        }
        let line = following.next().await;
        // A stream that breaks off says that there was more: the engine leaves.
        following.over |= line.is_err();
        Some((line, following))
    }))
}

impl Following {
    async fn next(&mut self) -> Result<Bytes, ApiError> {
        if let Some(told) = self.told {
            self.watch.changed().await;
            tokio::select! {
                () = sleep_until(told + PACE) => {}
                // A short run would seem to take as long as the pace.
                () = self.watch.over() => {}
            }
        }
        let progress = self.handle.progress(self.run, &self.watch).await?;
        self.over = progress.over;
        let asked = Instant::now();
        let mut line = serde_json::to_vec(&progress).map_err(|error| refuse(ErrorKind::Internal, error.to_string()))?;
        line.push(b'\n');
        // A line of a hundred thousand tasks costs time: it comes as seldom as it is large.
        self.told = Some(asked + asked.elapsed() * 20);
        Ok(line.into())
    }
}

/// Reads a log to its end, or for as long as it is followed.
pub(super) fn log(handle: &Handle, log: LogReader) -> Body {
    let answering = handle.busy().begin();
    Body::from_stream(unfold(Some((log, answering)), |reading| async move {
        let (mut log, answering) = reading?;
        match log.next().await {
            Ok(Some(piece)) => Some((Ok(piece), Some((log, answering)))),
            Ok(None) => None,
            Err(error) => Some((Err::<Bytes, ApiError>(error), None)),
        }
    }))
}
