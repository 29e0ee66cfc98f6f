//! The lock that makes an engine the only one of its state directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::model::api::{ApiError, ErrorKind};
use crate::reach::client::Client;
use crate::reach::config::StateDir;
use crate::serve::engine::refuse;

/// How long an engine that leaves, or has not begun to listen, is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(1);
/// Pause between two looks: a lock that is let go tells nobody.
const LOOK: Duration = Duration::from_millis(20);

/// The lock, held until it is dropped or this process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock. When somebody has it who does not answer, that one is about to leave, or has just begun: which of the two
    /// shows before long.
    pub(super) async fn take(state: &StateDir) -> Result<Self, ApiError> {
        let path = state.engine_lock();
        let failed = |error: &io::Error| {
            refuse(ErrorKind::Storage, format!("the engine's lock {} cannot be used: {error}", path.display()))
        };
        let open = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(&path);
        let mut file = open.map_err(|error| failed(&error))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(failed(&error)),
                Err(TryLockError::WouldBlock) => {
                    if is_answered(state).await || Instant::now() >= deadline {
                        return Err(taken(&mut file));
                    }
                    sleep(LOOK).await;
                }
            }
        }
        write(&mut file).map_err(|error| failed(&error))?;
        Ok(Self { _file: file })
    }
}

/// Returns whether an engine answers. That its socket takes a connection is not enough: a process that an engine was just about
/// to start when it was killed has copies of its lock and its socket for a moment more.
async fn is_answered(state: &StateDir) -> bool {
    matches!(timeout(ANSWER, Client::find(state)).await, Ok(Ok(Some(_))))
}

/// Says who holds the lock.
fn write(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{} {}", std::process::id(), env!("CARGO_PKG_VERSION"))
}

fn taken(file: &mut File) -> ApiError {
    let mut text = String::new();
    // What cannot be read is not said.
    file.read_to_string(&mut text).ok();
    let who = match text.trim().split_once(' ') {
        Some((pid, version)) => format!("process {pid}, csync {version}"),
        None => "an unknown process".to_owned(),
    };
    ApiError {
        hint: Some("`csync engine status` shows it, `csync engine stop` stops it".to_owned()),
        ..refuse(ErrorKind::Conflict, format!("an engine is there already ({who})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_one_learns_who_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().to_path_buf(), None);
        state.create().unwrap();
        let first = Lock::take(&state).await.unwrap();
        let info = crate::model::api::EngineInfo {
            version: "0".to_owned(),
            api: 1,
            pid: 1,
            started: crate::model::units::Timestamp(0),
            state_dir: String::new(),
            idle_leave: None,
            live_runs: 0,
            local: crate::model::api::LocalInfo::default(),
            trouble: None,
            hosts: Vec::new(),
        };
        let answer = axum::routing::get(move || async move { axum::Json(info) });
        let listener = tokio::net::UnixListener::bind(state.engine_socket()).unwrap();
        let server = tokio::spawn(async move {
            axum::serve(listener, axum::Router::new().route("/v1/engine", answer)).await.unwrap();
        });
        let refusal = Lock::take(&state).await.unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::Conflict);
        assert!(refusal.message.contains(&format!("process {}", std::process::id())), "{refusal}");
        // Nobody answers any more, and the lock is let go while the next one waits.
        server.abort();
        let (next, ()) = tokio::join!(Lock::take(&state), async { drop(first) });
        next.unwrap();
    }
}
