//! Starts the engine in the background and waits until it is ready.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe::Receiver;

use crate::model::api::{ApiError, ErrorKind};
use crate::reach::client::{Client, ClientError};
use crate::reach::config::StateDir;

/// Seconds that an engine has to take over what its predecessor left: a large run is read back first.
const READY_WITHIN: u64 = 120;

/// How the engine is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// This program.
    pub program: PathBuf,
    /// The arguments that make it the engine.
    pub args: Vec<OsString>,
}

/// Starts an engine; when another process wins that race, finds its engine.
pub(super) async fn start(state_dir: &StateDir, launch: &Launch) -> Result<Client, ClientError> {
    let log = open_log(state_dir)?;
    let mut command = command(state_dir, launch);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    let mut child = command.spawn().map_err(ClientError::Start)?;
    let line = match child.stdout.take() {
        Some(stdout) => first_line(OwnedFd::from(stdout)).await?,
        None => String::new(),
    };
    match line.trim() {
        "ready" => Client::find(state_dir).await?.ok_or(ClientError::NoEngine),
        "" => Err(died(child, &state_dir.engine_log())),
        line => match serde_json::from_str::<ApiError>(line) {
            Ok(error) if error.kind == ErrorKind::Conflict => winner(state_dir, error).await,
            Ok(error) => Err(error.into()),
            Err(source) => Err(ClientError::Garbled { request: "its start".to_owned(), source }),
        },
    }
}

fn open_log(state_dir: &StateDir) -> Result<File, ClientError> {
    state_dir.create()?;
    OpenOptions::new().create(true).append(true).mode(0o600).open(state_dir.engine_log()).map_err(ClientError::Start)
}

/// Returns the command that starts the engine. It makes itself a session of its own (that is not to be had here without
/// `unsafe`).
pub(super) fn command(state_dir: &StateDir, launch: &Launch) -> Command {
    let mut command = Command::new(&launch.program);
    command.arg0("csync").args(&launch.args).current_dir("/").env("CSYNC_STATE", state_dir.root());
    // An engine started from inside a job is not a part of that job.
    for name in ["CSYNC_JOB", "CSYNC_RUN", "CSYNC_TASK", "CSYNC_STATE_ID"] {
        command.env_remove(name);
    }
    command
}

/// Reads the line in which the engine says how its start went; nothing when it ended without.
async fn first_line(pipe: OwnedFd) -> Result<String, ClientError> {
    let pipe = Receiver::from_owned_fd(pipe).map_err(ClientError::Start)?;
    let mut line = String::new();
    let mut reader = BufReader::new(pipe);
    match tokio::time::timeout(Duration::from_secs(READY_WITHIN), reader.read_line(&mut line)).await {
        Ok(read) => read.map(|_| line).map_err(ClientError::Start),
        Err(_) => Err(ClientError::Silent(READY_WITHIN)),
    }
}

/// Finds the engine that holds the lock. It took the lock some instants ago and will listen in some more: there is nothing
/// to wait on in between but time.
async fn winner(state_dir: &StateDir, refusal: ApiError) -> Result<Client, ClientError> {
    let mut pause = Duration::from_millis(2);
    while pause < Duration::from_secs(8) {
        if let Some(client) = Client::find(state_dir).await? {
            return Ok(client);
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    Err(refusal.into())
}

fn died(mut child: Child, log: &Path) -> ClientError {
    match child.wait() {
        Ok(status) => ClientError::Died { status: status.to_string(), last_words: last_words(log) },
        Err(source) => ClientError::Start(source),
    }
}

/// Returns the last line of a log that says something.
fn last_words(log: &Path) -> String {
    const END: u64 = 4096;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(END)))?;
        let mut bytes = Vec::new();
        file.take(END).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("none").to_owned()
}
