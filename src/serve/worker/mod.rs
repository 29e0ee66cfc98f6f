//! The local worker: a process that runs jobs as its children, outlives the engine, and records endings.
//!
//! Threads, no async runtime: it stays small, so that starting a process from it is cheap. A slot per core runs jobs
//! ([`slot`]); the main thread talks to the engine ([`door`]); one more keeps watch over jobs that run for a while ([`watch`]).
//!
//! It goes on without an engine: what it was handed is run, and endings are kept until an engine has acknowledged them. It
//! leaves when it is told to and nothing is left to do; or when no engine has been there for [`Options::idle`], nothing runs
//! and nothing is unacknowledged; with unacknowledged endings it waits a day. When its state directory is deleted it finishes
//! what runs and leaves.

mod command;
mod desk;
mod door;
mod link;
mod logs;
mod memory;
mod running;
mod shop;
mod slot;
mod stage;
mod strays;
mod vars;
mod watch;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::reach::config::{StateDir, StateDirError};

/// What the starter of a worker waits for on its standard output.
const READY: &str = "ready\n";

/// How a worker behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long it stays without an engine when there is nothing to do.
    pub idle: Duration,
    /// A directory to make memory control groups in, for jobs whose memory is enforced; see
    /// [`Groups::find`](crate::reach::machine::cgroup::Groups::find) for what is used when none is named.
    pub cgroup: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { idle: Duration::from_mins(1), cgroup: None }
    }
}

/// The worker cannot work.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Its state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateDirError),
    /// A file in its state directory cannot be used.
    #[error("the local worker cannot use {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The system refuses something that it needs.
    #[error("the local worker cannot work: {what}")]
    System {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Runs the worker until it leaves. Must be called on the main thread of a process of its own: it changes the process's session,
/// umask and role as a reaper. Prints a line on standard output once an engine can connect.
///
/// # Errors
/// When it cannot start; once it runs, nothing ends it but leaving.
pub fn main(state: StateDir, options: &Options) -> Result<(), WorkerError> {
    let system =
        |what: &'static str| move |source: rustix::io::Errno| WorkerError::System { what, source: source.into() };
    // Fails for a process that leads a group already: then somebody started it by hand, from a terminal.
    _ = rustix::process::setsid();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(system("it cannot adopt processes that lose their parent"))?;
    state.create()?;
    let lock = take_lock(&state)?;
    clear_live(&state)?;
    let listener = door::listen(&state)?;
    let shop = Arc::new(shop::Shop::open(state, options)?);
    let watched = Arc::clone(&shop);
    std::thread::Builder::new()
        .name("watch".to_owned())
        .stack_size(256 << 10)
        .spawn(move || watch::work(&watched))
        .map_err(|source| WorkerError::System { what: "it cannot start a thread", source })?;
    tracing::info!(pid = std::process::id(), "the local worker is there");
    // Whoever started it may be gone already; that is not its concern.
    io::stdout().write_all(READY.as_bytes()).and_then(|()| io::stdout().flush()).ok();
    door::serve(&shop, &listener, &lock, options)?;
    shop.clear_groups();
    // The next worker makes a socket of its own as soon as it has the lock.
    std::fs::remove_file(shop.state.worker_socket()).ok();
    tracing::info!("the local worker leaves");
    Ok(())
}

/// Waits for the lock: a worker before this one may be about to leave.
fn take_lock(state: &StateDir) -> Result<File, WorkerError> {
    let path = state.worker_lock();
    let open = || {
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
        file.lock()?;
        Ok(file)
    };
    open().map_err(|source| WorkerError::File { path: path.clone(), source })
}

/// Removes what a worker before this one left: logs of jobs that died with it before they had a name.
fn clear_live(state: &StateDir) -> Result<(), WorkerError> {
    let path = state.live_dir();
    let clear = || {
        for entry in std::fs::read_dir(&path)? {
            let path = entry?.path();
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove what a worker before this one left");
            }
        }
        Ok(())
    };
    clear().map_err(|source| WorkerError::File { path: path.clone(), source })
}
