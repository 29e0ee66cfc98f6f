//! The local worker with real processes, over its real socket.

mod basics;
mod deaths;
mod faults;

use std::path::{Path, PathBuf};
use std::time::Duration;

use csync::model::id::{InstanceId, JobKey, RunId};
use csync::model::job::{Ended, Invocation, Job, News};
use csync::model::resources::{Grant, Hold};
use csync::model::units::{Bytes, Walltime};
use csync::reach::config::StateDir;
use csync::reach::executor::wire::{Environment, Hello, Limits};
use csync::reach::executor::{Connected, Launch, Local, LocalEvent, sweep};
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// How long anything may take here: only a hang takes longer.
const DEADLINE: Duration = Duration::from_mins(1);

/// The environment that jobs of these tests refer to.
const ENVIRONMENT: u32 = 1;

/// A state directory, a directory to work in, and an engine's connection to a worker.
struct World {
    dir: tempfile::TempDir,
    state: StateDir,
    runtime: Runtime,
    local: Local,
    hello: Hello,
    events: mpsc::Receiver<LocalEvent>,
    /// News that were read and not asked for yet.
    news: Vec<News>,
    lost: bool,
}

impl World {
    /// A worker with two cores and 1 GiB.
    fn new() -> Self {
        Self::with(Limits { cpus: 2, mem: Bytes::gib(1), ..Limits::default() })
    }

    fn with(limits: Limits) -> Self {
        let dir = tempfile::tempdir().expect("a directory for a test");
        let state = StateDir::at(dir.path().join("state"), None);
        Self::build(dir, state, limits)
    }

    /// With its state somewhere else.
    fn in_state(state: StateDir, limits: Limits) -> Self {
        Self::build(tempfile::tempdir().expect("a directory for a test"), state, limits)
    }

    fn build(dir: tempfile::TempDir, state: StateDir, limits: Limits) -> Self {
        state.create().expect("a state directory");
        std::fs::create_dir(dir.path().join("work")).expect("a directory to work in");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (local, hello, events) = connect(&runtime, &state, limits);
        let world = Self { dir, state, runtime, local, hello, events, news: Vec::new(), lost: false };
        world.environment(0o022);
        world
    }

    /// Drops the connection and makes another, as an engine does that was killed and started again.
    fn reconnect(&mut self, limits: Limits) {
        let (_, events) = mpsc::channel(1);
        self.events = events;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        // The tasks of the connection end with their runtime, and the socket with them.
        std::mem::replace(&mut self.runtime, runtime).shutdown_background();
        (self.local, self.hello, self.events) = connect(&self.runtime, &self.state, limits);
        self.news.clear();
        self.lost = false;
    }

    fn environment(&self, umask: u32) {
        let vars = std::env::vars().filter(|(name, _)| name == "PATH" || name == "HOME").collect();
        self.local.environment(Environment { number: ENVIRONMENT, vars, umask });
    }

    fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// A path in the directory to work in, as text.
    fn path(&self, name: &str) -> String {
        self.work().join(name).to_str().expect("UTF-8").to_owned()
    }

    fn script(&self, number: u32, text: &str) -> Job {
        self.job(number, Invocation::Script(text.to_owned()))
    }

    fn argv(&self, number: u32, argv: &[&str]) -> Job {
        self.job(number, Invocation::Argv(argv.iter().map(|word| (*word).to_owned()).collect()))
    }

    fn job(&self, number: u32, invocation: Invocation) -> Job {
        Job {
            key: key(number),
            label: format!("test[{number}]"),
            invocation,
            workdir: self.work().to_str().expect("UTF-8").to_owned(),
            environment: ENVIRONMENT,
            env: Vec::new(),
            stdin: None,
            grant: Grant { cpus: 1, mem: Bytes::mib(64), hold: Hold::Nothing, time: None, gpus: 0 },
            checkpoint: None,
            inputs: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// Runs a job to its end.
    fn run(&mut self, job: Job) -> Ended {
        let key = job.key;
        self.local.start(vec![job]);
        self.ending(key)
    }

    /// Waits for the ending of a job.
    fn ending(&mut self, key: JobKey) -> Ended {
        self.wait_for(|news| matches!(news, News::Ended(ended) if ended.key == key).then_some(()));
        let ended = |news: &News| matches!(news, News::Ended(ended) if ended.key == key);
        let index = self.news.iter().position(ended).expect("it was just found");
        let News::Ended(ended) = self.news.remove(index) else { unreachable!("it is an ending") };
        *ended
    }

    /// Waits until the engine is told that a job started.
    fn started(&mut self, key: JobKey) {
        self.wait_for(|news| matches!(news, News::Started { key: started, .. } if *started == key).then_some(()));
    }

    /// Waits for news.
    fn wait_for<T>(&mut self, mut is_meant: impl FnMut(&News) -> Option<T>) -> T {
        loop {
            if let Some(found) = self.news.iter().find_map(&mut is_meant) {
                return found;
            }
            match self.event() {
                LocalEvent::News(news) => self.news.extend(news),
                LocalEvent::Lost => panic!("the worker is gone"),
            }
        }
    }

    fn event(&mut self) -> LocalEvent {
        let events = &mut self.events;
        self.runtime
            .block_on(async { tokio::time::timeout(DEADLINE, events.recv()).await })
            .expect("news within the deadline")
            .expect("the connection lives")
    }

    /// Waits until something holds, looking at it again and again.
    fn eventually(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = std::time::Instant::now() + DEADLINE;
        while !holds() {
            assert!(std::time::Instant::now() < deadline, "{what}: not within the deadline");
            self.settle();
            std::thread::yield_now();
        }
    }

    /// Lets the queued messages go out.
    fn settle(&self) {
        self.runtime.block_on(async {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        });
    }

    /// Kills the worker, and waits until the engine's side notices.
    fn kill_worker(&mut self) {
        self.signal_worker(Signal::KILL);
        while !matches!(self.event(), LocalEvent::Lost) {}
        self.lost = true;
    }

    fn signal_worker(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.hello.pid).expect("a pid")).expect("a pid");
        kill_process(pid, signal).expect("the worker lives");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.work().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn exists(&self, name: &str) -> bool {
        self.work().join(name).exists()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !self.lost {
            self.signal_worker(Signal::KILL);
            while !matches!(self.event(), LocalEvent::Lost) {}
        }
        sweep(&self.state).expect("nothing is left");
    }
}

fn connect(runtime: &Runtime, state: &StateDir, limits: Limits) -> (Local, Hello, mpsc::Receiver<LocalEvent>) {
    let cgroup = std::env::var_os("CSYNC_TEST_CGROUP").map(PathBuf::from);
    let (sender, events) = mpsc::channel(64);
    let launch = Launch { program: Some(PathBuf::from(env!("CARGO_BIN_EXE_csync"))), cgroup };
    let connected = runtime.block_on(Local::connect(state, limits, &launch, sender));
    let Connected { local, hello, .. } = connected.unwrap_or_else(|error| {
        let log = std::fs::read_to_string(state.worker_log()).unwrap_or_default();
        panic!("{error:?}\n{log}")
    });
    (local, hello, events)
}

fn key(number: u32) -> JobKey {
    JobKey { run: RunId(1), instance: InstanceId(number), attempt: 1 }
}

/// Whether a process with this id runs (one that ended and was not reaped does not).
fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z ") && !stat.contains(") X "))
}

fn walltime(job: Job, seconds: u64) -> Job {
    Job { grant: Grant { time: Some(Walltime(seconds)), ..job.grant }, ..job }
}
