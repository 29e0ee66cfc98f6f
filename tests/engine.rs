//! The engine as a process, over its real socket, with a real worker.

mod api;
mod faults;
mod life;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use csync::model::api::{ApiError, Counts, InstanceView, RunState, RunSummary, Submission, Submitted};
use csync::model::id::RunId;
use csync::reach::client::{Client, ClientError, InstanceQuery, RunRef};
use csync::reach::config::StateDir;
use csync::reach::executor::sweep;
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;

/// How long anything may take here: only a hang takes longer.
const DEADLINE: Duration = Duration::from_mins(1);

/// A state directory, a directory to work in, and perhaps an engine.
struct World {
    dir: tempfile::TempDir,
    state: StateDir,
    runtime: Runtime,
    engine: Option<Child>,
    settings: Vec<(&'static str, &'static str)>,
}

impl World {
    /// With an engine that is ready.
    fn new() -> Self {
        Self::with(&[])
    }

    /// With an engine that is ready and was started with these variables.
    fn with(settings: &[(&'static str, &'static str)]) -> Self {
        let mut world = Self::without_engine(settings);
        world.start();
        world
    }

    fn without_engine(settings: &[(&'static str, &'static str)]) -> Self {
        let dir = tempfile::tempdir().expect("a directory for a test");
        let state = StateDir::at(dir.path().join("state"), None);
        std::fs::create_dir(dir.path().join("work")).expect("a directory to work in");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { dir, state, runtime, engine: None, settings: settings.to_vec() }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_csync"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.dir.path()).env("CSYNC_STATE", self.state.root()).env("CSYNC_CPUS", "2");
        command.envs(self.settings.iter().copied()).current_dir(self.work());
        command
    }

    /// Starts an engine and returns the line in which it says how that went.
    fn try_start(&self) -> (Child, String) {
        let mut command = self.command();
        command.args(["engine", "serve"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(self.log());
        let mut engine = command.spawn().expect("csync starts");
        let mut line = String::new();
        BufReader::new(engine.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        (engine, line.trim_end().to_owned())
    }

    fn log(&self) -> Stdio {
        std::fs::create_dir_all(self.state.root()).expect("a state directory");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.state.engine_log());
        log.expect("a log").into()
    }

    fn start(&mut self) {
        let (engine, line) = self.try_start();
        assert_eq!(line, "ready", "{}", self.diagnostics());
        self.engine = Some(engine);
    }

    fn engine(&mut self) -> &mut Child {
        self.engine.as_mut().expect("an engine")
    }

    fn pid(&mut self) -> Pid {
        let id = self.engine().id();
        Pid::from_raw(i32::try_from(id).expect("a process id")).expect("a process id")
    }

    /// Sends a signal to the engine.
    fn signal(&mut self, signal: Signal) {
        let pid = self.pid();
        kill_process(pid, signal).expect("the engine lives");
    }

    /// Kills the engine as a crash would.
    fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.engine.take().expect("an engine").wait().expect("it ended");
    }

    /// Waits until the engine has ended by itself; returns whether it ended well.
    fn gone(&mut self) -> bool {
        let engine = self.engine.take().expect("an engine");
        let pid = Pid::from_child(&engine);
        let mut engine = engine;
        let deadline = Instant::now() + DEADLINE;
        let fd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("a child");
        let mut fds = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
        let left = rustix::event::Timespec { tv_sec: DEADLINE.as_secs().cast_signed(), tv_nsec: 0 };
        let ended = rustix::event::poll(&mut fds, Some(&left)).expect("poll");
        assert!(ended > 0 && Instant::now() < deadline, "the engine does not leave: {}", self.diagnostics());
        engine.wait().expect("it ended").success()
    }

    fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.work().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    fn client(&self) -> Client {
        let found = self.runtime.block_on(Client::find(&self.state));
        let found = found.unwrap_or_else(|error| panic!("{error}: {}", self.diagnostics()));
        found.unwrap_or_else(|| panic!("no engine: {}", self.diagnostics()))
    }

    fn worker_pid(&self) -> Pid {
        self.until("there is a worker", || {
            let pid = self.client().info().local.worker_pid?;
            Pid::from_raw(i32::try_from(pid).ok()?)
        })
    }

    fn submission(&self, text: &str) -> Submission {
        let path = std::env::var("PATH").expect("PATH is set");
        Submission {
            text: text.to_owned(),
            root: self.work().to_str().expect("UTF-8").to_owned(),
            env: vec![("PATH".to_owned(), path)],
            umask: 0o022,
            ..Submission::default()
        }
    }

    fn try_submit(&self, text: &str) -> Result<Submitted, ApiError> {
        self.send(&self.submission(text))
    }

    fn send(&self, submission: &Submission) -> Result<Submitted, ApiError> {
        self.runtime.block_on(self.client().submit(submission)).map_err(refusal)
    }

    fn submit(&self, text: &str) -> RunId {
        self.try_submit(text).unwrap_or_else(|error| panic!("refused: {error:?}")).run
    }

    /// Waits until a run is over.
    fn wait(&self, run: RunId) -> RunSummary {
        let client = self.client();
        let wait = async { tokio::time::timeout(DEADLINE, client.wait(RunRef::Id(run))).await };
        let ended = self.runtime.block_on(wait);
        let summary = ended.unwrap_or_else(|_| panic!("run {run} hangs: {}", self.diagnostics()));
        summary.unwrap_or_else(|error| panic!("{error}: {}", self.diagnostics()))
    }

    /// Submits a workflow and waits until it is over.
    fn run(&self, text: &str) -> RunSummary {
        self.wait(self.submit(text))
    }

    fn counts(&self, run: RunId) -> Counts {
        let detail = self.runtime.block_on(self.client().run(RunRef::Id(run))).expect("a run");
        detail.summary.counts
    }

    fn instances(&self, run: RunId, which: &InstanceQuery) -> Vec<InstanceView> {
        self.runtime.block_on(self.client().instances(RunRef::Id(run), which)).expect("instances").instances
    }

    /// Waits until something is so, looking again and again.
    fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < deadline, "in vain: {what}: {}", self.diagnostics());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until a file has so many lines.
    fn until_lines(&self, name: &str, lines: usize) {
        self.until(name, || (self.read(name).lines().count() >= lines).then_some(()));
    }

    fn diagnostics(&self) -> String {
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        format!("engine.log:\n{}worker.log:\n{}", read(&self.state.engine_log()), read(&self.state.worker_log()))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let worker = self.runtime.block_on(Client::find(&self.state)).ok().flatten();
        let worker = worker.and_then(|client| client.info().local.worker_pid);
        if let Some(mut engine) = self.engine.take() {
            engine.kill().ok();
            engine.wait().ok();
        }
        if let Some(pid) = worker.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
            kill_process(pid, Signal::KILL).ok();
        }
        // Whoever the worker was that an engine before had: it leaves when its directory is gone. Jobs go now.
        sweep(&self.state).ok();
    }
}

fn refusal(error: ClientError) -> ApiError {
    match error {
        ClientError::Refused(error) => error,
        other => panic!("no refusal: {other}"),
    }
}

/// Asserts how a run ended.
#[track_caller]
fn assert_ended(summary: &RunSummary, state: RunState, counts: Counts) {
    assert_eq!((summary.state, summary.counts), (state, counts));
}
