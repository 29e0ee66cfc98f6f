//! The connection to the local worker: made, lost and made again; what the worker has is compared with what is in flight.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};

use crate::decide::engine::protocol::{Adopted, Event};
use crate::language::manifest::{absolute, shown};
use crate::model::id::{HostId, JobKey};
use crate::model::plan::Plan;
use crate::reach::config::StateDir;
use crate::reach::docker::ENDING;
use crate::reach::executor::wire::{Hello, VAR_PROGRAM, VAR_RECORD, VAR_SHOWN};
use crate::reach::executor::{ConnectError, Connected, Launch, Local, LocalEvent};
use crate::reach::files::aside::set_aside;
use crate::serve::engine::refusal::chain;
use crate::serve::engine::runner::Given;
use crate::serve::engine::runner::{Report, Runner};
use crate::serve::engine::settings::Settings;

/// Messages of the worker that wait for the runner, each with up to a few dozen endings. While the store is in trouble they pile
/// up at the worker, which keeps them anyway.
const MOST_NEWS: usize = 16;
/// First and longest pause before another try to get a worker.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How long a worker may take to leave when it has nothing to do.
const FAREWELL: Duration = Duration::from_secs(5);

/// Where the connection stands.
#[derive(Debug, Default)]
pub(super) enum Link {
    /// No worker is known.
    #[default]
    Down,
    /// One is being looked for or started, after so long a pause; with what went wrong the last time.
    Making { pause: Duration, trouble: Option<String> },
    /// It is there.
    Up { local: Local, events: mpsc::Receiver<LocalEvent>, worker: u64, pid: u32 },
}

/// What came of looking for a worker.
pub(super) struct Linked {
    made: Result<(Local, mpsc::Receiver<LocalEvent>, Hello), String>,
    /// No worker lived before this one, and nothing that one had started lives any more.
    swept: bool,
}

/// A worker that is being looked for, and what will be heard of it.
type Looking = JoinHandle<Result<(Connected, mpsc::Receiver<LocalEvent>), ConnectError>>;

/// The look for a worker that begins before the store is open: it takes as long as that does, and needs nothing of it.
pub(super) struct Early(Looking);

impl Early {
    /// Begins to look.
    pub(super) fn begin(state: &StateDir, settings: &Settings) -> Self {
        Self(look(state, settings, Duration::ZERO))
    }

    /// Lets the worker go, if this look started one: there will be no engine for it.
    pub(super) async fn give_up(self) {
        if let Ok(Ok((Connected { local, swept: Some(_), .. }, mut events))) = self.0.await {
            farewell(&local, &mut events).await;
        }
    }
}

impl Link {
    /// Returns the number of the worker that is there.
    pub(super) fn worker(&self) -> Option<u64> {
        if let Self::Up { worker, .. } = self { Some(*worker) } else { None }
    }

    /// Waits for what the worker says; for ever when there is none.
    pub(super) async fn news(&mut self) -> Option<LocalEvent> {
        match self {
            Self::Up { events, .. } => events.recv().await,
            Self::Down | Self::Making { .. } => std::future::pending().await,
        }
    }

    /// Returns what it has said already.
    pub(super) fn more_news(&mut self) -> Option<LocalEvent> {
        if let Self::Up { events, .. } = self { events.try_recv().ok() } else { None }
    }
}

impl Runner {
    /// Lets the worker go when nothing runs, and waits until it has.
    pub(super) async fn dismiss_worker(&mut self) {
        if !self.in_flight().is_empty() {
            return;
        }
        let Link::Up { local, events, .. } = &mut self.link else { return };
        farewell(local, events).await;
    }

    pub(super) fn worker_pid(&self) -> Option<u32> {
        if let Link::Up { pid, .. } = self.link { Some(pid) } else { None }
    }

    pub(super) fn link_trouble(&self) -> Option<&String> {
        if let Link::Making { trouble, .. } = &self.link { trouble.as_ref() } else { None }
    }

    /// Begins to look for a worker, after a pause.
    pub(super) fn connect(&mut self, pause: Duration) {
        let trouble = self.link_trouble().cloned();
        self.link = Link::Making { pause, trouble };
        let looking = look(&self.state, &self.settings, pause);
        self.await_worker(looking);
    }

    /// Takes the worker that is being looked for already.
    pub(super) fn connect_to(&mut self, early: Early) {
        self.link = Link::Making { pause: Duration::ZERO, trouble: None };
        self.await_worker(early.0);
    }

    fn await_worker(&self, looking: Looking) {
        let outputs = self.outputs_of(&self.in_flight());
        let reports = self.reports.clone();
        tokio::spawn(async move {
            let linked = found(looking, outputs).await;
            // Fails when the runner has left.
            reports.send(Report::Linked(Box::new(linked))).await.ok();
        });
    }

    /// Returns the outputs of attempts that a worker was handed: half-written, should that worker be dead.
    fn outputs_of(&self, keys: &[JobKey]) -> Vec<PathBuf> {
        let handed = keys.iter().filter(|key| matches!(self.handed.get(key), Some(Given::Worker(Some(_)))));
        let mut outputs = Vec::new();
        for key in handed {
            let Some(run) = self.core.run(key.run) else { continue };
            let plan = run.plan();
            let of = plan.outputs(key.instance).iter();
            outputs.extend(of.map(|&path| PathBuf::from(absolute(&plan.root, plan.path(path)))));
        }
        outputs
    }

    /// Takes in that the connection is gone.
    pub(super) fn lose_worker(&mut self) {
        tracing::warn!("the local worker is gone; what it ran is ended and runs again");
        self.connect(Duration::ZERO);
    }

    /// Takes in what came of looking for a worker.
    pub(super) fn linked(&mut self, linked: Linked) {
        let Linked { made, swept } = linked;
        let (local, events, hello) = match made {
            Ok(made) => made,
            Err(trouble) => {
                let last = if let Link::Making { pause, .. } = &self.link { *pause } else { Duration::ZERO };
                let pause = (last * 2).clamp(PAUSE.0, PAUSE.1);
                tracing::warn!(trouble, "no local worker; another try in {pause:?}");
                self.link = Link::Making { pause, trouble: Some(trouble) };
                self.ring_all();
                self.connect(pause);
                return;
            }
        };
        let worker = number(&hello.worker);
        let strange =
            |key: &JobKey| matches!(self.handed.get(key), Some(Given::Worker(Some(other))) if *other != worker);
        if !swept && self.in_flight().iter().any(strange) {
            // The worker before died in the moment between our two looks. What it left has to go before anything new starts,
            // and that cannot be told apart while another worker lives.
            tracing::warn!("another local worker came up before the one that died was cleared away");
            local.leave();
            self.connect(PAUSE.0);
            return;
        }
        tracing::info!(
            worker = hello.worker,
            pid = hello.pid,
            live = hello.live.len(),
            "connected to the local worker"
        );
        self.link = Link::Up { local, events, worker, pid: hello.pid };
        for care in self.cares.values_mut() {
            care.introduced = false;
        }
        self.adopt(hello, worker);
        self.tell_or_log(Event::Room(HostId::LOCAL, self.settings.capacity));
    }

    /// Compares what the worker has with what is in flight.
    fn adopt(&mut self, hello: Hello, worker: u64) {
        let mut known: HashSet<JobKey> = hello.endings.iter().map(|ended| ended.key).collect();
        for ended in hello.endings {
            self.hear_end(Box::new(ended));
        }
        for live in hello.live {
            known.insert(live.key);
            self.mark_changed(live.key.run);
            self.tell_or_log(Event::Adopted(live.key, Adopted::Live));
            if let Some(at) = live.started {
                self.tell_or_log(Event::Started(live.key, at));
            }
        }
        for key in self.in_flight() {
            if known.contains(&key) {
                continue;
            }
            // What this worker was handed and does not know never reached it. What another was handed died with that.
            let how = match self.handed.get(&key) {
                Some(Given::Worker(Some(other))) if *other != worker => Adopted::Died,
                _ => Adopted::NeverStarted,
            };
            self.mark_changed(key.run);
            self.tell_or_log(Event::Adopted(key, how));
        }
    }
}

/// Returns the variables of a job in a container: with what it is run where a daemon does it, where what it used is left, and what
/// it sees of this machine.
pub(super) fn for_container(state: &StateDir, launch: &Launch, plan: &Plan, key: JobKey) -> Vec<(String, String)> {
    let record = state.live_dir().join(format!("{key}.{ENDING}"));
    let program = launch.program.clone().or_else(|| std::env::current_exe().ok());
    let path = |path: PathBuf| path.into_os_string().into_string().ok();
    let shown = shown(plan, &plan.root, key.instance).join("\n");
    let all = [(VAR_PROGRAM, program.and_then(path)), (VAR_RECORD, path(record)), (VAR_SHOWN, Some(shown))];
    all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Looks, after a pause, for a living worker or, when there is none, clears away what a dead one left and starts another.
fn look(state: &StateDir, settings: &Settings, pause: Duration) -> Looking {
    let (state, limits, launch) = (state.clone(), settings.limits, settings.launch.clone());
    tokio::spawn(async move {
        sleep(pause).await;
        let (sender, events) = mpsc::channel(MOST_NEWS);
        let connected = Local::connect(&state, limits, &launch, sender).await?;
        Ok((connected, events))
    })
}

/// Waits for a worker, and puts away what a dead one left half-written before the new one is handed anything.
async fn found(looking: Looking, outputs: Vec<PathBuf>) -> Linked {
    let made = match looking.await {
        Ok(Ok((Connected { local, hello, swept }, events))) => {
            if swept.is_some() {
                // Fails when it panics, which is reported.
                spawn_blocking(move || quarantine(&outputs)).await.ok();
            }
            return Linked { made: Ok((local, events, hello)), swept: swept.is_some() };
        }
        Ok(Err(error)) => chain(&error),
        Err(error) => chain(&error),
    };
    Linked { made: Err(made), swept: false }
}

/// Tells a worker to leave, and waits until it has.
async fn farewell(local: &Local, events: &mut mpsc::Receiver<LocalEvent>) {
    local.leave();
    let gone = async { while !matches!(events.recv().await, None | Some(LocalEvent::Lost)) {} };
    if timeout(FAREWELL, gone).await.is_err() {
        tracing::warn!("the local worker does not leave");
    }
}

/// Moves aside what dead attempts left half-written under its real name. Directories stay: they may have been there before,
/// with other tasks' files in them.
fn quarantine(outputs: &[PathBuf]) {
    for output in outputs.iter().filter(|output| !output.is_dir()) {
        match set_aside(output) {
            Ok(true) => tracing::info!(output = %output.display(), "an unfinished output was moved aside"),
            Ok(false) => {}
            Err(error) => tracing::warn!(error = chain(&error), "an unfinished output stays where it is"),
        }
    }
}

/// Makes a number of a worker's random name, short enough for a million rows.
fn number(worker: &str) -> u64 {
    let hash = blake3::hash(worker.as_bytes());
    u64::from_le_bytes(*hash.as_bytes().first_chunk().unwrap_or(&[0; 8]))
}
