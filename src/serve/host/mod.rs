//! The engine as a process: its lock, its socket, its log, its signals; or hosted by a command that stays.

mod lock;
mod log;

use std::future::Future;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::model::api::{ApiError, ErrorKind};
use crate::reach::config::{StateDir, StateDirError};
use crate::serve::api::{Door, router};
use crate::serve::engine::{BadSetting, Handle, Left, Runner, Settings, refuse, storage};
use crate::serve::host::lock::Lock;

pub use lock::held_elsewhere;

/// How long answers that are being given may take when the engine leaves.
const FAREWELL: Duration = Duration::from_secs(2);
/// What the starter of an engine waits for on its standard output; else it gets an [`ApiError`] as JSON.
const READY: &str = "ready";

/// Is the engine: says on standard output how the start went, then serves until it is told to leave or was idle for long.
///
/// # Errors
/// When another engine is there, a setting makes no sense, or the state directory or its database cannot be used.
pub fn main(state: StateDir) -> Result<(), ApiError> {
    // Fails for a process that leads a group already: then somebody started it by hand, from a terminal.
    rustix::process::setsid().ok();
    log::begin(&state);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| refuse(ErrorKind::Internal, format!("no runtime: {error}")))?;
    let served = runtime.block_on(serve(state));
    // Whatever still blocks on a disk is of no use to anybody any more.
    runtime.shutdown_background();
    served
}

async fn serve(state: StateDir) -> Result<(), ApiError> {
    let settings = Settings::read(|name| std::env::var_os(name));
    let started = match settings.map_err(|error| bad(&error)) {
        Ok(settings) => host(state, settings).await,
        Err(error) => Err(error),
    };
    let hosted = match started {
        Ok(hosted) => {
            say(READY);
            hosted
        }
        Err(error) => {
            say(&serde_json::to_string(&error).unwrap_or_default());
            return Err(error);
        }
    };
    let (mut ends, mut interrupts) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    // A file over a limit of this process (`ulimit -f`) is a full disk then, and not the end of the engine.
    let _too_large = listen(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
    let handle = hosted.handle().clone();
    let left = hosted.left();
    tokio::pin!(left);
    let mut asked = false;
    loop {
        tokio::select! {
            left = &mut left => return left.map(drop),
            _ = ends.recv() => {}
            _ = interrupts.recv() => {}
        }
        if asked {
            tracing::warn!("asked twice to leave: at once");
            return Ok(());
        }
        tracing::info!("asked to leave");
        asked = true;
        let handle = handle.clone();
        tokio::spawn(async move { handle.leave().await });
    }
}

fn listen(kind: SignalKind) -> Result<Signal, ApiError> {
    signal(kind).map_err(|error| refuse(ErrorKind::Internal, format!("signals cannot be caught: {error}")))
}

/// Says something to who started this process, who may have gone.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).ok();
}

/// An engine at work in this process. Dropping it without [`Hosted::leave`] is like killing it: nothing is lost, and the next
/// engine takes over.
#[derive(Debug)]
pub struct Hosted {
    handle: Handle,
    runner: JoinHandle<Left>,
    server: JoinHandle<io::Result<()>>,
    close: oneshot::Sender<()>,
    socket: PathBuf,
    lock: Lock,
}

/// Starts the engine of a state directory in this process. Needs a runtime with I/O and time.
///
/// # Errors
/// When another engine is there, or the state directory or its database cannot be used.
pub async fn host(state: StateDir, settings: Settings) -> Result<Hosted, ApiError> {
    state.create().map_err(|error| unusable(&error))?;
    let lock = Lock::take(&state).await?;
    let socket = state.engine_socket();
    let (runner, handle) = Runner::open(state, settings).await.map_err(|error| storage(&error))?;
    let listener = bind(&socket).map_err(|error| {
        refuse(ErrorKind::Storage, format!("the socket {} cannot be made: {error}", socket.display()))
    })?;
    let (close, closed) = oneshot::channel::<()>();
    let serving = axum::serve(Door::new(listener), router(handle.clone())).with_graceful_shutdown(async {
        // An error says that the sender was dropped, which means the same.
        closed.await.ok();
    });
    let server = tokio::spawn(async move { serving.await });
    let runner = tokio::spawn(runner.run());
    tracing::info!(pid = std::process::id(), version = env!("CARGO_PKG_VERSION"), "the engine is there");
    Ok(Hosted { handle, runner, server, close, socket, lock })
}

impl Hosted {
    /// Returns the way to the engine.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Tells the engine to leave and waits until it has; its worker leaves too, unless something runs.
    ///
    /// # Errors
    /// When it left for a failure of its own.
    pub async fn leave(self) -> Result<(), ApiError> {
        self.handle.leave().await;
        self.left().await
    }

    /// Waits until the engine leaves.
    ///
    /// # Errors
    /// When it left for a failure.
    pub fn left(self) -> impl Future<Output = Result<(), ApiError>> {
        let Self { handle, runner, server, close, socket, lock } = self;
        async move {
            let left = runner.await;
            drop(handle);
            // First the name, then the listener: who comes in between finds nobody, and starts another engine, which waits
            // for the lock.
            std::fs::remove_file(&socket).ok();
            drop(close);
            let mut server = server;
            if timeout(FAREWELL, &mut server).await.is_err() {
                server.abort();
            }
            drop(lock);
            match left {
                Ok(Left::Told) => tracing::info!("the engine leaves"),
                Ok(Left::Idle) => tracing::info!("the engine leaves: there is nothing to do"),
                Ok(Left::Storage(error)) => return Err(storage(&error)),
                Err(error) => return Err(refuse(ErrorKind::Internal, format!("the engine's loop ended: {error}"))),
            }
            Ok(())
        }
    }
}

/// Opens the socket, in the place of one that was left over: who holds the lock is the only engine.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn bad(setting: &BadSetting) -> ApiError {
    ApiError { hint: Some(setting.hint()), ..refuse(ErrorKind::Invalid, setting.to_string()) }
}

fn unusable(error: &StateDirError) -> ApiError {
    let cause = std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"));
    ApiError {
        hint: Some("make it writable, or set CSYNC_STATE to a directory that is".to_owned()),
        ..refuse(ErrorKind::Storage, format!("{error}{cause}"))
    }
}
