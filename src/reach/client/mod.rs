//! The client of the engine: HTTP over its Unix socket, and the engine started when it is needed.
//!
//! Every request has a connection of its own: on a Unix socket that costs some 50 us, and a request that streams never
//! holds up another. Requests that end with the run (submission, waiting, streams) have no deadline but the person's
//! patience; all others have one.

mod calls;
mod error;
mod http;
mod launch;
mod stream;
#[cfg(test)]
mod tests;

pub use calls::{InstanceQuery, LogQuery, RunRef};
pub use error::ClientError;
pub use launch::Launch;
pub use stream::{Chunks, Lines};

use std::path::PathBuf;

use crate::model::api::{API_VERSION, EngineInfo};
use crate::reach::config::StateDir;

/// A running engine that answered.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    info: EngineInfo,
}

impl Client {
    /// Finds the running engine, of whatever version; none when there is none. Starts nothing.
    ///
    /// # Errors
    /// When there is one that cannot be reached or understood.
    pub async fn find(state_dir: &StateDir) -> Result<Option<Self>, ClientError> {
        let socket = state_dir.engine_socket();
        let mut answer = http::greet(&socket).await;
        if matches!(answer, Err(ClientError::Broken(_))) {
            // It ended while we asked. Whether there is another one by now shows when we ask again.
            answer = http::greet(&socket).await;
        }
        match answer {
            Ok(info) => Ok(Some(Self { socket, info })),
            // One that dies while it is asked is none either.
            Err(error) if error.is_lost() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Finds the running engine, or starts one. One of another version is replaced when it has nothing to do.
    ///
    /// # Errors
    /// [`ClientError::Skew`] when one of another version is busy; why it could not be started.
    pub async fn reach(state_dir: &StateDir, launch: &Launch) -> Result<Self, ClientError> {
        if let Some(client) = Self::find(state_dir).await? {
            if client.is_ours() {
                return Ok(client);
            }
            if client.info.live_runs > 0 {
                return Err(client.skew());
            }
            match client.stop(false).await {
                Err(ClientError::Refused(_)) => return Err(client.skew()),
                other => other?,
            }
        }
        launch::start(state_dir, launch).await
    }

    /// Returns what the engine said of itself when it was found.
    pub fn info(&self) -> &EngineInfo {
        &self.info
    }

    /// Returns whether the engine is of our version.
    pub fn is_ours(&self) -> bool {
        self.info.api == API_VERSION && self.info.version == env!("CARGO_PKG_VERSION")
    }

    fn skew(&self) -> ClientError {
        ClientError::Skew {
            theirs: self.info.version.clone(),
            ours: env!("CARGO_PKG_VERSION").to_owned(),
            live_runs: self.info.live_runs,
        }
    }
}
