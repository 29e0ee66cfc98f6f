//! Why the engine did not do what it was asked.

use std::io;
use std::path::PathBuf;

use crate::model::api::ApiError;
use crate::reach::config::StateDirError;

/// The engine refused, or could not be reached, started or understood.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no engine: nobody listens.
    #[error("no engine is running")]
    NoEngine,
    /// It answered that it will not.
    #[error(transparent)]
    Refused(#[from] ApiError),
    /// The state directory cannot be used.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// Its socket cannot be used.
    #[error("the engine's socket {path} cannot be used")]
    Socket {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The socket is another user's.
    #[error("the process behind {path} is another user's (user id {user})")]
    Foreign {
        /// Which.
        path: PathBuf,
        /// Whose.
        user: u32,
    },
    /// The connection broke.
    #[error("the connection to the engine broke")]
    Broken(#[source] hyper::Error),
    /// No answer in time.
    #[error("the engine did not answer within {0} s")]
    Silent(u64),
    /// An answer that makes no sense.
    #[error("the engine's answer to {request} cannot be understood")]
    Garbled {
        /// What was asked.
        request: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The engine is of another version and busy.
    #[error("the engine is csync {theirs}, this is csync {ours}")]
    Skew {
        /// The engine's version.
        theirs: String,
        /// Ours.
        ours: String,
        /// What it is busy with.
        live_runs: u32,
    },
    /// It could not be started.
    #[error("the engine could not be started")]
    Start(#[source] io::Error),
    /// It ended before it was ready.
    #[error("the engine ended right after its start ({status}); its last words: {last_words}")]
    Died {
        /// How.
        status: String,
        /// The end of its log.
        last_words: String,
    },
    /// It did not leave.
    #[error("the engine (process {pid}) did not leave within {seconds} s")]
    Stays {
        /// Its process id.
        pid: u32,
        /// How long we waited.
        seconds: i64,
    },
}

impl ClientError {
    /// Returns whether the engine has gone away, so that another may be started and asked again.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::NoEngine | Self::Broken(_))
    }
}
