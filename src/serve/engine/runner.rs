//! The loop in three beats: wait on all sources, hand what came to the core, write and do what the core asks for.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::decide::engine::machine::{Engine, Illegal};
use crate::decide::engine::protocol::{Action, Event, Record};
use crate::decide::engine::run::Run;
use crate::decide::fresh::memos::memo;
use crate::decide::fresh::select::named;
use crate::decide::outlook::known::Known;
use crate::language::command::TokenKey;
use crate::model::api::{Affected, ApiError, EngineInfo, ErrorKind, Progress, RunState};
use crate::model::data::DataFact;
use crate::model::id::{HostId, InstanceId, JobKey, RunId, TaskId};
use crate::model::job::{Ended, News, Outcome};
use crate::model::resources::Grant;
use crate::model::units::Timestamp;
use crate::reach::clock;
use crate::reach::config::StateDir;
use crate::reach::executor::LocalEvent;
use crate::reach::store::{Batch, HandedTo, Place, Store, StoreError};
use crate::serve::engine::admit::facts_of;
use crate::serve::engine::adviser::Adviser;
use crate::serve::engine::again::asked;
use crate::serve::engine::brought::{Brought, Endings, Fetching};
use crate::serve::engine::care::{Care, drop_secrets};
use crate::serve::engine::check::Answers;
use crate::serve::engine::handle::{Busy, Handle, Message, Reply};
use crate::serve::engine::keeper::Keeper;
use crate::serve::engine::learner::{Learner, Learnt};
use crate::serve::engine::link::{Link, Linked, for_container};
use crate::serve::engine::refusal::{chain, illegal, no_run, refuse, storage};
use crate::serve::engine::settings::Settings;
use crate::serve::engine::sites::Sites;
use crate::serve::engine::timers::{Timers, until};
use crate::serve::engine::watch::{Note, Watch, Watcher};
use crate::serve::engine::why;
use crate::serve::prepare::job::job;
use crate::serve::site::stock::Stock;
use crate::serve::site::{Order, SiteNews};

/// Requests that wait for the runner. A bound, so that a crowd of clients waits with its requests instead of filling memory.
const MOST_MESSAGES: usize = 256;
/// Inputs taken in before what they ask for is written and done: a turn stays short enough that nobody waits for it.
const MOST_INPUTS: usize = 256;
/// Runs that are over and kept in memory, for who looks at them next.
const MOST_OVER: usize = 2;

/// Why the runner left.
#[derive(Debug)]
pub enum Left {
    /// It was told to.
    Told,
    /// It had nothing to do for long.
    Idle,
    /// Its store is beyond repair by waiting.
    Storage(StoreError),
}

/// Who an attempt was handed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// This local worker, as far as one was known.
    Worker(Option<u64>),
    /// A host.
    Host(HostId),
}

/// What the runner's own tasks report.
pub(super) enum Report {
    Linked(Box<Linked>),
    Checked(Answers),
    /// Inputs of an attempt on this machine came, or are on their way.
    Brought(Brought),
    Moving(RunId),
    /// Something was learned of tasks of a run.
    Learned(RunId, Vec<(TaskId, Arc<Known>)>, TokenKey),
    /// So far it is learned from what ended.
    Learnt(Learnt),
}

/// What the core asked for and is done after the commit.
#[derive(Default)]
pub(super) struct Todo {
    starts: Vec<(JobKey, Grant)>,
    stops: Vec<JobKey>,
    withdraws: Vec<JobKey>,
    pub(super) starts_there: Vec<(HostId, JobKey, Grant, Option<Box<str>>)>,
    behind: HashMap<JobKey, Vec<JobKey>>,
    stops_there: Vec<(HostId, JobKey)>,
    withdraws_there: Vec<(HostId, JobKey)>,
    forsaken: Vec<(HostId, JobKey)>,
    checks: Vec<(RunId, InstanceId)>,
    acks: Vec<JobKey>,
    over: Vec<RunId>,
    replies: Vec<Box<dyn FnOnce() + Send>>,
}

/// The engine's loop and everything that it owns.
pub struct Runner {
    pub(super) state: StateDir,
    pub(super) settings: Settings,
    pub(super) started: Timestamp,
    pub(super) core: Engine,
    pub(super) store: Store,
    pub(super) batch: Batch,
    pub(super) cares: HashMap<RunId, Care>,
    /// Attempts in flight, and who each was handed to.
    pub(super) handed: HashMap<JobKey, Given>,
    /// The hosts that jobs are handed over to.
    pub(super) sites: Sites,
    /// Attempts whose inputs are being fetched from hosts.
    pub(super) fetching: Fetching,
    pub(super) link: Link,
    pub(super) learner: Learner,
    pub(super) adviser: Adviser,
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) turns: u64,
    /// What is wrong with the store, while it is.
    pub(super) trouble: Option<String>,
    timers: Timers,
    /// The instance whose attempt's end was noted last; the core tells of it once more.
    noted: Option<(RunId, InstanceId)>,
    actions: Vec<Action>,
    pub(super) todo: Todo,
    pub(super) inbox: mpsc::Receiver<Message>,
    reported: mpsc::Receiver<Report>,
    busy: Arc<Busy>,
    quiet_since: Instant,
    pub(super) leaving: bool,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("runs", &self.cares.len()).finish_non_exhaustive()
    }
}

/// What a wait ended with.
enum Input {
    Message(Message),
    News(Option<LocalEvent>),
    Site(HostId, SiteNews),
    Report(Report),
    Timer,
    Quiet,
    Idle,
}

impl Runner {
    /// Opens the store and takes up the runs that were live; no worker is looked for.
    pub(super) async fn take_up(state: StateDir, settings: Settings) -> Result<(Self, Handle), StoreError> {
        let store = Store::open(&Place::of(&state)).await?;
        let (to, inbox) = mpsc::channel(MOST_MESSAGES);
        // As many as there are tasks of our own that may report at once: the link, and one check per run.
        let (reports, reported) = mpsc::channel(64);
        let started = clock::now();
        let busy = Arc::new(Busy::default());
        let handle = Handle {
            to,
            reader: store.reader(),
            state: state.clone(),
            here: settings.capacity,
            busy: Arc::clone(&busy),
        };
        let mut runner = Self {
            state,
            settings,
            started,
            core: Engine::new(started.0.unsigned_abs() ^ u64::from(std::process::id())),
            store,
            batch: Batch::default(),
            cares: HashMap::new(),
            handed: HashMap::new(),
            sites: Sites::default(),
            fetching: Fetching::default(),
            link: Link::default(),
            learner: Learner::default(),
            adviser: Adviser::default(),
            reports,
            turns: 0,
            trouble: None,
            timers: Timers::default(),
            noted: None,
            actions: Vec::new(),
            todo: Todo::default(),
            inbox,
            reported,
            busy,
            quiet_since: Instant::now(),
            leaving: false,
        };
        let reader = runner.store.reader();
        let known = Stock::knowing(reader.replicas(None).await?, reader.rates().await?, &reader.shared().await?);
        runner.sites.stock = Arc::new(known);
        runner.restore_all().await?;
        let sent = runner.store.reader().submissions().await?;
        let facts = facts_of(&runner.store.reader()).await?;
        runner.adopt_there(sent, &facts);
        let left = reader.untaught_turns().await?;
        runner.learn_what_is_left(left);
        runner.store.write(&runner.batch).await?;
        runner.batch.clear();
        runner.next_lessons();
        Ok((runner, handle))
    }

    /// Runs until it is told to leave or has nothing to do for long. What jobs run then go on without it.
    pub async fn run(mut self) -> Left {
        self.perform();
        self.end_runs().await;
        let keeper = Keeper::begin(self.state.clone());
        let left = loop {
            let input = self.wait().await;
            if matches!(input, Input::Idle) {
                break Left::Idle;
            }
            if let Err(left) = self.turn(input).await {
                break left;
            }
            if self.leaving {
                break Left::Told;
            }
        };
        // Who follows a run learns that there will be no more lines.
        self.ring_all();
        drop(keeper);
        self.dismiss_worker().await;
        self.close_lessons().await;
        self.adviser.leave().await;
        self.store.close().await;
        left
    }

    /// First beat.
    async fn wait(&mut self) -> Input {
        let idle_at = self.idle_at();
        let Self { inbox, reported, link, timers, busy, sites, .. } = self;
        tokio::select! {
            // News first: what has ended makes room for more.
            biased;
            news = link.news() => Input::News(news),
            Some((host, news)) = sites.news.recv() => Input::Site(host, news),
            Some(report) = reported.recv() => Input::Report(report),
            () = timers.due() => Input::Timer,
            Some(message) = inbox.recv() => Input::Message(message),
            () = busy.bell.notified() => Input::Quiet,
            () = until(idle_at) => Input::Idle,
        }
    }

    /// When it leaves if nothing happens; never while something is to be done or somebody is being answered.
    fn idle_at(&self) -> Option<Instant> {
        let idle = self.settings.idle?;
        let live = self.core.runs().any(|run| run.state() == RunState::Active);
        if live || self.busy.is_busy() { None } else { self.quiet_since.checked_add(idle) }
    }

    /// Second and third beat: takes in what came, and what else is there by now; then writes, then acts.
    async fn turn(&mut self, input: Input) -> Result<(), Left> {
        self.turns += 1;
        self.quiet_since = Instant::now();
        self.take(input).await;
        for _ in 0..MOST_INPUTS {
            let Some(input) = self.more() else { break };
            self.take(input).await;
        }
        self.commit().await?;
        self.perform();
        self.end_runs().await;
        self.ring();
        Ok(())
    }

    /// Returns what can be taken in without waiting.
    fn more(&mut self) -> Option<Input> {
        if let Some(news) = self.link.more_news() {
            return Some(Input::News(Some(news)));
        }
        if let Ok((host, news)) = self.sites.news.try_recv() {
            return Some(Input::Site(host, news));
        }
        if let Ok(report) = self.reported.try_recv() {
            return Some(Input::Report(report));
        }
        self.inbox.try_recv().ok().map(Input::Message)
    }

    async fn take(&mut self, input: Input) {
        match input {
            Input::News(Some(LocalEvent::News(news))) => news.into_iter().for_each(|news| self.hear(news)),
            Input::News(Some(LocalEvent::Lost) | None) => self.lose_worker(),
            // The store is waited for.
            Input::Site(host, SiteNews::Nodes(nodes)) => self.keep_nodes(host, nodes).await,
            Input::Site(host, news) => self.hear_site(host, news),
            Input::Report(Report::Linked(linked)) => self.linked(*linked),
            Input::Report(Report::Checked(answers)) => self.checked(answers),
            Input::Report(Report::Brought(brought)) => self.brought(brought),
            Input::Report(Report::Moving(run)) => self.mark_changed(run),
            Input::Report(Report::Learned(run, known, key)) => self.hear_learned(run, known, &key),
            Input::Report(Report::Learnt(learnt)) => self.hear_learnt(learnt),
            Input::Timer => {
                while let Some(timer) = self.timers.take() {
                    self.tell_or_log(Event::Timer(timer));
                }
            }
            Input::Message(message) => self.obey(message).await,
            Input::Quiet | Input::Idle => {}
        }
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Started { key, at } => {
                self.mark_changed(key.run);
                self.tell_or_log(Event::Started(key, at));
            }
            News::Ended(ended) => self.hear_end(ended),
        }
    }

    /// Takes in an ending, which is acknowledged once it is written; also one that nobody waits for.
    pub(super) fn hear_end(&mut self, ended: Box<Ended>) {
        self.todo.acks.push(ended.key);
        self.tell_or_log(Event::Ended(ended));
    }

    async fn obey(&mut self, message: Message) {
        match message {
            Message::Look(look) => look(self),
            Message::Admit(admission, reply) => self.admit(*admission, reply).await,
            Message::Done(done, reply) => self.keep_done(*done, reply).await,
            Message::Restore(loaded, reply) => {
                let restored = self.restore(*loaded);
                self.answer(reply, restored);
            }
            Message::Cancel(run, labels, reply) => {
                let answer = self.select(run, &labels).and_then(|instances| {
                    self.batch.event(clock::now(), Some(run), &asked("cancel", &labels));
                    self.affect(Event::Cancel(run, instances))
                });
                self.answer(reply, answer);
            }
            Message::Retry(run, ask, reply) => {
                let answer = if ask.lost { self.retry_lost(run, &ask.labels) } else { self.retry(run, &ask.labels) };
                self.answer(reply, answer);
            }
            Message::Forget(runs, reply) => {
                let forgotten = self.store.delete_runs(&runs).await.map_err(|error| storage(&error));
                for run in runs.iter().filter(|_| forgotten.is_ok()) {
                    self.drop_run(*run);
                }
                self.answer(reply, forgotten);
            }
            Message::KeepProbed(report, reply) => {
                let kept = self.store.keep_probed(&report).await.map_err(|error| storage(&error));
                self.answer(reply, kept);
            }
            Message::KeepNodes(report, reply) => {
                let kept = self.store.keep_nodes(&report).await.map_err(|error| storage(&error));
                self.answer(reply, kept);
            }
            Message::KeepWaits(report, reply) => {
                let kept = self.store.keep_waits(&report).await.map_err(|error| storage(&error));
                self.tell_waits(Some(&report.host)).await;
                self.answer(reply, kept);
            }
            Message::ForgetWaits(ask, reply) => {
                let gone = self.store.forget_waits(ask.host.as_ref()).await.map_err(|error| storage(&error));
                self.tell_waits(ask.host.as_ref()).await;
                self.answer(reply, gone);
            }
            Message::Stop { now, reply } => {
                let answer = self.stop(now);
                self.answer(reply, answer);
            }
            Message::Leave => self.leaving = true,
        }
    }

    pub(super) fn stop(&mut self, now: bool) -> Result<EngineInfo, ApiError> {
        let live = self.live_runs();
        if live > 0 && !now {
            let runs = if live == 1 { "1 run is".to_owned() } else { format!("{live} runs are") };
            return Err(ApiError {
                hint: Some(
                    "`csync engine stop --now` stops it all the same: the next engine goes on with them".to_owned(),
                ),
                ..refuse(ErrorKind::Conflict, format!("{runs} not over"))
            });
        }
        self.leaving = true;
        Ok(self.info())
    }

    pub(super) fn select(&self, run: RunId, labels: &[String]) -> Result<Vec<InstanceId>, ApiError> {
        let Some(it) = self.core.run(run) else { return Err(no_run(run)) };
        named(it.plan(), labels).map_err(|error| why::unknown_names(it, &error))
    }

    pub(super) fn affect(&mut self, event: Event) -> Result<Affected, ApiError> {
        self.tell(event).map(|instances| Affected { instances }).map_err(illegal)
    }

    /// Answers after the commit, which what is said may depend on.
    pub(super) fn answer<T: Send + 'static>(&mut self, reply: Reply<T>, answer: Result<T, ApiError>) {
        // Fails when who asked has gone.
        self.todo.replies.push(Box::new(move || drop(reply.send(answer))));
    }

    /// Does something after the commit.
    pub(super) fn after_commit(&mut self, act: impl FnOnce() + Send + 'static) {
        self.todo.replies.push(Box::new(act));
    }

    /// Hands an event to the core and sorts what follows from it. Returns how many instances it touched.
    pub(super) fn tell(&mut self, event: Event) -> Result<u32, Illegal> {
        let now = clock::now();
        let mut actions = std::mem::take(&mut self.actions);
        let told = self.core.handle(event, now, &mut actions);
        for action in actions.drain(..) {
            self.sort(action, now);
        }
        self.actions = actions;
        told
    }

    pub(super) fn tell_or_log(&mut self, event: Event) {
        if let Err(error) = self.tell(event) {
            tracing::error!(%error, "the core refuses an event");
        }
    }

    fn sort(&mut self, action: Action, now: Timestamp) {
        match action {
            Action::Record(record) => self.record(record),
            Action::Start { key, host: HostId::LOCAL, grant, .. } => {
                // Handed over again, to another worker: the store has to know which.
                let worker = Given::Worker(self.link.worker());
                if self.handed.get(&key) != Some(&worker) {
                    self.batch.submitted(key, &grant, now, HandedTo::Worker(self.link.worker()), None);
                    self.handed.insert(key, worker);
                }
                self.todo.starts.push((key, grant));
            }
            Action::Start { key, host, grant, partition } => {
                self.todo.starts_there.push((host, key, grant, partition));
            }
            Action::Behind(key, before) => drop(self.todo.behind.insert(key, before)),
            Action::Stop(key) => match self.handed.get(&key) {
                Some(Given::Host(host)) => self.todo.stops_there.push((*host, key)),
                _ => self.todo.stops.push(key),
            },
            Action::Withdraw(key) => match self.handed.get(&key) {
                Some(Given::Host(host)) => self.todo.withdraws_there.push((*host, key)),
                _ => self.todo.withdraws.push(key),
            },
            Action::Forsake(key) => {
                if let Some(Given::Host(host)) = self.handed.get(&key) {
                    self.todo.forsaken.push((*host, key));
                }
            }
            Action::Check(run, instance) => self.todo.checks.push((run, instance)),
            Action::SetTimer(timer, delay) => self.timers.set(timer, delay),
            Action::Tell(run, instance) => self.settled(run, instance),
            Action::Over(run) => self.todo.over.push(run),
        }
    }

    fn record(&mut self, record: Record) {
        match record {
            Record::Submitted { key, host, grant, at, choice, partition } => {
                self.learner.asks(key, &grant);
                let (to, given) = if host == HostId::LOCAL {
                    let worker = self.link.worker();
                    (HandedTo::Worker(worker), Given::Worker(worker))
                } else {
                    (HandedTo::Host(self.sites.name(host), partition.as_deref()), Given::Host(host))
                };
                self.batch.submitted(key, &grant, at, to, choice.as_deref());
                self.handed.insert(key, given);
                self.mark_changed(key.run);
            }
            Record::Ended { ended, follow } => {
                let given = self.handed.remove(&ended.key);
                self.teach(&ended, given);
                self.remember(&ended, given);
                self.batch.ended(&ended, follow);
            }
            Record::Marked { run, mark, instances } => self.batch.marked(run, mark, &instances),
            Record::Run { run, state, at } => {
                let counts = self.core.run(run).map(Run::counts).unwrap_or_default();
                self.batch.run(run, state, at, &counts);
                if let Some(care) = self.cares.get_mut(&run) {
                    care.head.ended = (state != RunState::Active).then_some(at);
                }
            }
            Record::Halted(run, halt) => self.batch.halted(run, halt),
        }
    }

    /// Keeps what an attempt found and made, and notes its end for those who watch.
    fn remember(&mut self, ended: &Ended, given: Option<Given>) {
        self.noted = Some((ended.key.run, ended.key.instance));
        let Some(care) = self.cares.get_mut(&ended.key.run) else { return };
        care.changed = true;
        if !care.watchers.is_empty() {
            care.note(&Note::of(ended));
        }
        let Some(run) = self.core.run(ended.key.run) else { return };
        if ended.outcome == Outcome::Success && !matches!(given, Some(Given::Host(_))) {
            // Made anew here: what lies on hosts under its name is another content.
            let plan = run.plan();
            let stock = &self.sites.stock;
            if stock.has_any(&plan.root) {
                let paths = plan.outputs(ended.key.instance).iter().map(|&path| plan.path(path));
                let gone = |path: &str| DataFact::Gone { root: plan.root.clone(), path: path.to_owned(), host: None };
                let facts: Vec<DataFact> =
                    paths.filter(|path| !stock.copies(&plan.root, path).is_empty()).map(gone).collect();
                stock.take_in(&facts);
                self.batch.data(facts);
            }
        }
        care.hashes.learn_from(run.plan(), ended);
        if ended.outcome == Outcome::Success
            && run.plan().task_of(ended.key.instance).cache
            && let Some(memo) = memo(run.plan(), ended, &care.hashes)
        {
            self.batch.memo(care.workflow, &memo);
        }
    }

    /// Notes an instance that was settled, unless the end of its attempt said so already.
    fn settled(&mut self, run: RunId, instance: InstanceId) {
        if self.noted.take() == Some((run, instance)) {
            return;
        }
        let Some(care) = self.cares.get_mut(&run) else { return };
        care.changed = true;
        if !care.watchers.is_empty() {
            care.note(&Note::settled(instance));
        }
    }

    /// Third beat, second half: does what was asked for, in few messages.
    fn perform(&mut self) {
        let todo = std::mem::take(&mut self.todo);
        let Todo { starts, stops, withdraws, checks, acks, replies, over, .. } = todo;
        let Todo { starts_there, behind, stops_there, withdraws_there, forsaken, .. } = todo;
        self.todo.over = over;
        // Before what takes their place.
        self.stop_there(forsaken, Order::Forsake);
        self.start_there(starts_there, behind);
        self.stop_there(stops_there, Order::Stop);
        self.stop_there(withdraws_there, Order::Withdraw);
        if let Link::Up { local, .. } = &self.link
            && !acks.is_empty()
        {
            local.ack(acks);
        }
        let (before, behind) = Endings { stops, withdraws }.around(&starts);
        self.end_here(before);
        let starts = self.hold_back(starts);
        self.start(&starts);
        self.end_here(behind);
        self.check(checks);
        for reply in replies {
            reply();
        }
    }

    /// Hands an attempt to the worker after the next commit.
    pub(super) fn start_later(&mut self, key: JobKey, grant: Grant) {
        self.todo.starts.push((key, grant));
    }

    fn start(&mut self, starts: &[(JobKey, Grant)]) {
        // Without a worker nothing is handed over: the next one adopts what it has not.
        let Link::Up { local, .. } = &self.link else { return };
        let mut jobs = Vec::with_capacity(starts.len());
        for &(key, grant) in starts {
            let (Some(run), Some(care)) = (self.core.run(key.run), self.cares.get_mut(&key.run)) else { continue };
            if !std::mem::replace(&mut care.introduced, true) {
                local.environment(care.means.environment(key.run));
            }
            let mut job = job(run.plan(), key, grant, key.run.0, &mut care.hashes);
            let task = run.plan().task_of(key.instance);
            care.means.give_secrets(task, &mut job.env);
            if task.container.is_some() {
                job.env.extend(for_container(&self.state, &self.settings.launch, run.plan(), key));
            }
            jobs.push(job);
        }
        if !jobs.is_empty() {
            local.start(jobs);
        }
    }

    /// Lets go of what runs held that are over.
    async fn end_runs(&mut self) {
        for run in std::mem::take(&mut self.todo.over) {
            let Some(it) = self.core.run(run) else { continue };
            if it.state() == RunState::Active {
                continue;
            }
            tracing::info!(%run, state = ?it.state(), "over");
            if let Link::Up { local, .. } = &self.link {
                local.forget(run.0);
            }
            drop_secrets(&self.state, run);
            let Some(care) = self.cares.get_mut(&run) else { continue };
            care.introduced = false;
            care.lock = None;
            care.memos = None;
            care.means.secrets.clear();
            care.ring(true);
            let workflow = care.workflow;
            if let Err(error) = self.store.compact_memos(workflow).await {
                tracing::warn!(error = chain(&error), "memos are not merged; they are as good as before");
            }
            self.push_out();
        }
    }

    fn ring(&mut self) {
        for care in self.cares.values_mut().filter(|care| care.changed) {
            care.ring(false);
        }
    }

    /// Returns a run with what is kept of it.
    pub(super) fn view(&self, run: RunId) -> Option<(&Run, &Care)> {
        Some((self.core.run(run)?, self.cares.get(&run)?))
    }

    pub(super) fn care(&mut self, run: RunId) -> Option<&mut Care> {
        self.cares.get_mut(&run)
    }

    /// Notes that somebody looks at a run.
    pub(super) fn touch(&mut self, run: RunId) {
        self.turns += 1;
        if let Some(care) = self.cares.get_mut(&run) {
            care.used = self.turns;
        }
    }

    /// Tells whether the end of a run, if it has one, is written and nothing is held for it any more. Until it is, who
    /// follows the run is called once more.
    pub(super) fn is_settled(&self, run: RunId) -> bool {
        self.trouble.is_none() && !self.todo.over.contains(&run)
    }

    pub(super) fn progress(&mut self, run: RunId, watch: &Watch) -> Option<Progress> {
        let it = self.core.run(run)?;
        let eta = self.eta(it);
        let mut progress = self.cares.get_mut(&run)?.progress(it, watch, eta)?;
        // The last line comes when the end is written: who reads it asks the store next.
        progress.over &= self.is_settled(run);
        progress.moving = self.sites.stock.moving(run);
        progress.trouble = self.trouble.as_ref().or(self.link_trouble()).cloned();
        progress.logins = self.core.run(run).map(|it| self.logins_of(it)).unwrap_or_default();
        progress.away = self.core.run(run).map(|it| self.away_of(it)).unwrap_or_default();
        Some(progress)
    }

    /// Forgets runs that are over and were not looked at for longest, down to a few.
    pub(super) fn push_out(&mut self) {
        let over = |run: &RunId| self.core.run(*run).is_none_or(|it| it.state() != RunState::Active);
        let kept = |care: &Care| care.watchers.iter().all(Watcher::is_gone);
        let mut old: Vec<_> = self
            .cares
            .iter()
            .filter(|(run, care)| over(run) && kept(care))
            .map(|(run, care)| (care.used, *run))
            .collect();
        old.sort_unstable();
        for (_, run) in old.iter().take(old.len().saturating_sub(MOST_OVER)) {
            self.drop_run(*run);
        }
    }

    fn drop_run(&mut self, run: RunId) {
        self.core.forget(run);
        self.cares.remove(&run);
    }
}
