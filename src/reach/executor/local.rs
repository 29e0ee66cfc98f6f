//! The engine's side of the local worker: finds a living one or starts one, hands over jobs, passes news on.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::model::id::JobKey;
use crate::model::job::{Job, News};
use crate::reach::config::StateDir;
use crate::reach::docker;

use super::sweep::{SweepError, sweep};
use super::wire::{Environment, FromWorker, Hello, Limits, ToWorker, VAR_DETACHED, WIRE};

/// How long a worker may take to start, or to greet.
const DEADLINE: Duration = Duration::from_secs(20);
/// Messages written at once.
const BATCH: usize = 256;
/// Variables that the worker gets of the engine's environment; jobs get those of their submission alone.
const INHERITED: [&str; 6] = ["PATH", "HOME", "XDG_RUNTIME_DIR", "TMPDIR", "RUST_LOG", "RUST_BACKTRACE"];

/// The worker cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The program cannot be started.
    #[error("the local worker cannot be started")]
    Start(#[source] io::Error),
    /// It was started and did not become ready.
    #[error("the local worker did not start: {0}")]
    NotReady(String),
    /// There is none, and what a dead one left does not end.
    #[error(transparent)]
    Sweep(SweepError),
    /// It lives and does not answer in time; another engine may be connected to it.
    #[error("the local worker does not answer")]
    Silent,
    /// Its socket cannot be used.
    #[error("the local worker's socket {path} cannot be used")]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is of another version of csync and has not ended: it leaves when its jobs are over.
    #[error(
        "the local worker (process {pid}) is csync {version}, whose messages (version {theirs}) are not ours ({WIRE})"
    )]
    Version {
        /// Its process.
        pid: u32,
        /// Its version of csync.
        version: String,
        /// Its version of the messages.
        theirs: u32,
    },
    /// It says something that is no greeting.
    #[error("the local worker's greeting cannot be understood")]
    Greeting(#[source] serde_json::Error),
}

/// How a worker is started where none lives.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// The program; this one when none is given.
    pub program: Option<PathBuf>,
    /// A directory to make memory control groups in.
    pub cgroup: Option<PathBuf>,
}

/// What an engine hears of its worker.
#[derive(Debug)]
pub enum LocalEvent {
    /// News, oldest first.
    News(Vec<News>),
    /// The connection is gone, and with it the worker (it never closes it otherwise).
    Lost,
}

/// A connection to the local worker. Nothing here waits: messages are queued, and written in few writes.
#[derive(Clone, Debug)]
pub struct Local {
    messages: mpsc::UnboundedSender<ToWorker>,
}

/// What came of [`Local::connect`].
#[derive(Debug)]
pub struct Connected {
    /// The connection.
    pub local: Local,
    /// The worker's greeting.
    pub hello: Hello,
    /// No worker lived: this one was started after whatever a dead one left was ended, so many processes.
    pub swept: Option<u32>,
}

impl Local {
    /// Connects to the living worker of this state directory. Where there is none, ends whatever a dead one left
    /// ([`sweep`]) and starts one: then the [`Hello`] has a name that no attempt was recorded with.
    ///
    /// Events come after the [`Hello`] that is returned; endings in it are not repeated.
    ///
    /// # Errors
    /// When there is no worker and none can be started, or the one that lives cannot be talked to.
    pub async fn connect(
        state: &StateDir,
        limits: Limits,
        launch: &Launch,
        events: mpsc::Sender<LocalEvent>,
    ) -> Result<Connected, ConnectError> {
        let mut swept = None;
        // A living worker is asked first: to take its lock would mean to wait in vain.
        let (lines, writer, hello) = if let Some(greeted) = greeted(state).await? {
            greeted
        } else {
            swept = clear(state).await?;
            if swept.is_some() {
                start(state, launch).await?;
            }
            greeted(state).await?.ok_or(ConnectError::Silent)?
        };
        let (messages, queue) = mpsc::unbounded_channel();
        tokio::spawn(write(writer, queue));
        tokio::spawn(read(lines, events));
        let local = Self { messages };
        local.configure(limits);
        Ok(Connected { local, hello, swept })
    }

    /// Says what the worker may use from now on.
    pub fn configure(&self, limits: Limits) {
        self.say(ToWorker::Configure(limits));
    }

    /// Sends the environment of a run, before its first job.
    pub fn environment(&self, environment: Environment) {
        self.say(ToWorker::Environment(environment));
    }

    /// Says that no more jobs of a run will come.
    pub fn forget(&self, environment: u32) {
        self.say(ToWorker::Forget(environment));
    }

    /// Hands over jobs.
    pub fn start(&self, jobs: Vec<Job>) {
        self.say(ToWorker::Start(jobs));
    }

    /// Ends jobs; each is answered by its ending.
    pub fn stop(&self, keys: Vec<JobKey>) {
        self.say(ToWorker::Stop(keys));
    }

    /// Drops jobs that were not started; each is answered by its ending.
    pub fn withdraw(&self, keys: Vec<JobKey>) {
        self.say(ToWorker::Withdraw(keys));
    }

    /// Says that these endings are in the journal.
    pub fn ack(&self, keys: Vec<JobKey>) {
        self.say(ToWorker::Ack(keys));
    }

    /// Tells the worker to leave once nothing runs.
    pub fn leave(&self) {
        self.say(ToWorker::Leave);
    }

    fn say(&self, message: ToWorker) {
        // Fails when the connection is lost, which the events say too.
        self.messages.send(message).ok();
    }
}

type Lines = BufReader<OwnedReadHalf>;

/// Connects and reads the greeting; none when there is no worker, or one that is leaving.
async fn greeted(state: &StateDir) -> Result<Option<(Lines, OwnedWriteHalf, Hello)>, ConnectError> {
    let path = state.worker_socket();
    let stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(source) => return Err(ConnectError::Socket { path, source }),
    };
    let (reader, writer) = stream.into_split();
    let mut lines = BufReader::with_capacity(64 << 10, reader);
    let mut line = Vec::new();
    match timeout(DEADLINE, lines.read_until(b'\n', &mut line)).await {
        Err(_) => Err(ConnectError::Silent),
        // It left between our connection and its greeting.
        Ok(Ok(_)) if line.last() != Some(&b'\n') => Ok(None),
        Ok(Err(_)) => Ok(None),
        Ok(Ok(_)) => Ok(Some((lines, writer, understand(&line)?))),
    }
}

/// Ends what a dead worker left and returns how many processes that were; none when there is a living worker after all.
async fn clear(state: &StateDir) -> Result<Option<u32>, ConnectError> {
    let dir = state.clone();
    let swept = tokio::task::spawn_blocking(move || sweep(&dir)).await;
    match swept.map_err(|error| ConnectError::Start(io::Error::other(error)))? {
        Ok(ended) => {
            if ended > 0 {
                tracing::warn!(ended, "ended processes that a dead worker left");
            }
            docker::sweep(&state.live_dir()).await;
            Ok(Some(ended))
        }
        // It was just starting, by the word of an engine that died since.
        Err(SweepError::WorkerLives) => Ok(None),
        Err(error) => Err(ConnectError::Sweep(error)),
    }
}

/// What every version of the greeting has.
#[derive(Deserialize)]
struct AnyGreeting {
    hello: AnyHello,
}

#[derive(Deserialize)]
struct AnyHello {
    wire: u32,
    version: String,
    pid: u32,
}

fn understand(line: &[u8]) -> Result<Hello, ConnectError> {
    let AnyGreeting { hello } = serde_json::from_slice(line).map_err(ConnectError::Greeting)?;
    if hello.wire != WIRE {
        return Err(ConnectError::Version { pid: hello.pid, version: hello.version, theirs: hello.wire });
    }
    match serde_json::from_slice(line).map_err(ConnectError::Greeting)? {
        FromWorker::Hello(hello) => Ok(hello),
        FromWorker::News(_) => Err(ConnectError::Greeting(serde::de::Error::custom("news before the greeting"))),
    }
}

/// Starts a worker and waits until it can be connected to.
async fn start(state: &StateDir, launch: &Launch) -> Result<(), ConnectError> {
    let program = launch.program.clone().map_or_else(std::env::current_exe, Ok).map_err(ConnectError::Start)?;
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(state.worker_log());
    let mut command = Command::new(program);
    command.arg("worker").arg("--state").arg(state.root()).current_dir("/").env_clear().env(VAR_DETACHED, "1");
    command.envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    if let Some(dir) = &launch.cgroup {
        command.arg("--cgroup").arg(dir);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.map_err(ConnectError::Start)?);
    let mut child = command.spawn().map_err(ConnectError::Start)?;
    let stdout = child.stdout.take().map(OwnedFd::from);
    // A thread and not a task: the worker outlives the runtime of its engine, and must not stay a zombie while that lives.
    std::thread::Builder::new()
        .name("worker-wait".to_owned())
        .stack_size(64 << 10)
        .spawn(move || match child.wait() {
            Ok(status) => tracing::info!(%status, "the local worker ended"),
            Err(error) => tracing::warn!(%error, "the local worker cannot be waited for"),
        })
        .map_err(ConnectError::Start)?;
    let Some(stdout) = stdout else { return Err(ConnectError::NotReady("it has no output".to_owned())) };
    let stdout = pipe::Receiver::from_owned_fd(stdout).map_err(ConnectError::Start)?;
    let mut line = String::new();
    let mut first = BufReader::new(stdout.take(4096));
    match timeout(DEADLINE, first.read_line(&mut line)).await {
        Ok(Ok(_)) if line == "ready\n" => Ok(()),
        Ok(Ok(0)) => Err(ConnectError::NotReady(format!("see {}", state.worker_log().display()))),
        Ok(Ok(_)) => Err(ConnectError::NotReady(line.trim_end().to_owned())),
        Ok(Err(error)) => Err(ConnectError::Start(error)),
        Err(_) => Err(ConnectError::Silent),
    }
}

async fn write(mut writer: OwnedWriteHalf, mut queue: mpsc::UnboundedReceiver<ToWorker>) {
    let mut messages = Vec::with_capacity(BATCH);
    let mut text = Vec::new();
    while queue.recv_many(&mut messages, BATCH).await > 0 {
        for message in messages.drain(..) {
            match serde_json::to_writer(&mut text, &message) {
                Ok(()) => text.push(b'\n'),
                Err(error) => tracing::error!(%error, "a message for the worker cannot be written"),
            }
        }
        // The reader sees the end of the connection too, and tells the engine.
        if writer.write_all(&text).await.is_err() {
            return;
        }
        text.clear();
    }
}

async fn read(mut lines: Lines, events: mpsc::Sender<LocalEvent>) {
    let mut line = Vec::new();
    loop {
        line.clear();
        match lines.read_until(b'\n', &mut line).await {
            Ok(_) if line.last() == Some(&b'\n') => {}
            Ok(_) | Err(_) => break,
        }
        match serde_json::from_slice(&line) {
            Ok(FromWorker::News(news)) => {
                if events.send(LocalEvent::News(news)).await.is_err() {
                    return;
                }
            }
            Ok(FromWorker::Hello(_)) => tracing::error!("the worker greets twice"),
            Err(error) => {
                tracing::error!(%error, "a message of the worker cannot be read");
                break;
            }
        }
    }
    // Nobody listens any more when this fails.
    events.send(LocalEvent::Lost).await.ok();
}
