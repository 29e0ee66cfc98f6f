//! The loop of a site: takes orders, has one thing of each kind under way, and keeps what is where.

mod boxed;
mod clearing;
mod keep;
mod news;
mod out;
mod pace;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::decide::engine::protocol::Stage;
use crate::language::batch::room::{is_full, make_room};
use crate::model::batch::JobName;
use crate::model::id::JobKey;
use crate::model::job::{Ended, Outcome};
use crate::model::resources::{Grant, Usage};
use crate::model::units::Timestamp;
use crate::reach::clock;
use crate::reach::config::KeptHost;
use crate::reach::store::Sent;
use crate::reach::transport::TransportError;
use crate::serve::site::boxes::{Boxed, Boxes, is_marked};
use crate::serve::site::clocks::Ahead;
use crate::serve::site::desk::clearing::STUCK;
use crate::serve::site::desk::keep::stamp;
use crate::serve::site::desk::pace::{Haste, Pace, WATCHED, away};
use crate::serve::site::fetch::Fetched;
use crate::serve::site::quota::Quota;
use crate::serve::site::send::{Ground, NotSent, SentOut, ground};
use crate::serve::site::tick::{Asked, Heard, MemberNews, Queueing, Scope, tick};
use crate::serve::site::{Means, Order, SiteJob, SiteNews};

/// How long jobs are gathered before they go out together.
const GATHER: Duration = Duration::from_millis(100);
/// How often it is looked at whether the connection is still there, which asks nobody.
const PULSE: Duration = Duration::from_secs(5);
/// Looks in a row without a word of the batch system after which nothing more is given to it.
const SILENT: u32 = 2;
/// How often a batch system is asked how busy it is, in a look that asks for everything of ours.
const LOAD: Duration = Duration::from_mins(3);
/// By how many microseconds a start must be expected otherwise than before to be told.
const EXPECTED: u64 = 60_000_000;
/// Submissions under way at once: each takes a channel.
const SENDING: usize = 4;

/// A member of a submission.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) key: JobKey,
    pub(super) stage: Stage,
    pub(super) started: Option<Timestamp>,
    /// Its end has been seen, and its outputs are being fetched, or it was reported.
    pub(super) over: bool,
    /// Queries in a row that found no trace of it.
    pub(super) missing: u32,
    /// When the first of them was.
    pub(super) missed: Option<Timestamp>,
    /// Why it waits, in the batch system's words.
    pub(super) reason: Option<Arc<str>>,
    /// When the batch system expects to start it.
    pub(super) until: Option<Timestamp>,
    /// What it was granted, as far as this engine knows.
    pub(super) grant: Option<Grant>,
    /// It was asked to end.
    pub(super) stopping: bool,
}

impl Member {
    /// Returns whether the batch system expects to start it at another time than before: a minute more or less is none.
    pub(super) fn expects(&self, told: &Queueing) -> bool {
        let known = self.until.map_or(i64::MIN, |until| until.0);
        told.until.is_some_and(|until| until.0.abs_diff(known) > EXPECTED)
    }

    /// Returns whether news say no more than what is known: of most of ten thousand members, most of the time.
    pub(super) fn is_known(&self, news: &MemberNews) -> bool {
        let stage = match news {
            MemberNews::Waiting(told) if self.reason == told.reason && !self.expects(told) => Stage::Waiting,
            MemberNews::Running(at) if self.started == Some(*at) => Stage::Running,
            _ => return false,
        };
        self.stage == stage && self.missing == 0
    }
}

/// A submission that is on the host, or on its way there.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) sent: Sent,
    /// What the dialect could not say when it was submitted.
    pub(super) notes: Vec<String>,
    pub(super) members: Vec<Member>,
    pub(super) state: Way,
    /// Some of it did not succeed: what comes after it is ended unrun by its batch system, whichever of its members that waits for.
    pub(super) spoilt: bool,
}

/// How far a submission is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It is being sent.
    Sending,
    /// Not known whether it went through: the host is to be asked for its name.
    Doubtful,
    /// It is there.
    There,
}

/// Who watches what an attempt prints.
#[derive(Default)]
struct Watched {
    by: Vec<Weak<()>>,
    told: Vec<oneshot::Sender<()>>,
}

/// Whether the host is being asked for something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Asking {
    #[default]
    No,
    Yes,
    /// And somebody gave it a new chance meanwhile: what was asked before that may fail for a reason that is gone.
    OnceMore,
}

/// Whether something is being cleared away.
#[derive(Clone, Copy, Debug)]
enum Clearing {
    /// From then on it can be.
    No {
        /// When.
        since: Instant,
    },
    Yes,
}

/// What one of our own tasks came back with.
enum Done {
    Sent(JobName, Result<SentOut, NotSent>, Vec<Boxed>),
    Boxed(JobName, u32, MemberNews),
    Heard(Result<Heard, TransportError>),
    Fetched(JobName, Vec<(u32, Fetched)>),
    Cleared(Result<Vec<JobName>, TransportError>),
    Ground(Result<Ground, TransportError>),
}

/// See [`super::Site`].
pub(super) struct Desk {
    means: Arc<Means>,
    inbox: mpsc::UnboundedReceiver<Order>,
    done: (mpsc::UnboundedSender<Done>, mpsc::UnboundedReceiver<Done>),
    ground: Option<Arc<Ground>>,
    /// Handed over and not sent, since when.
    waiting: Vec<SiteJob>,
    gathered: Instant,
    jobs: HashMap<JobKey, SiteJob>,
    live: BTreeMap<JobName, Live>,
    of: HashMap<JobKey, (JobName, u32)>,
    /// To be ended.
    stops: HashSet<JobKey>,
    /// Nobody waits for these, and what became of them is not known yet.
    strays: HashSet<JobKey>,
    /// Of those to be ended, what goes no further, and how it is over then.
    removed: HashMap<JobKey, Outcome>,
    /// Why members wait, not told yet.
    reasons: Vec<(JobKey, Option<Arc<str>>)>,
    /// When attempts are expected to start, news.
    expected: Vec<(JobKey, Timestamp)>,
    /// Submissions whose members are over, to be cleared away.
    closing: Vec<JobName>,
    clearing: Clearing,
    /// How long to wait once nothing of it could be.
    stuck: Duration,
    /// What the containers of those are called.
    containers: HashMap<JobName, Vec<String>>,
    sending: usize,
    /// How many jobs it takes.
    quota: Quota,
    /// Why it took no more, while it does not.
    full: Option<String>,
    /// Submissions that did not go out and are made anew, by their first member: the next with it has another name.
    refused: HashMap<JobKey, u32>,
    /// How submissions are called off that are on their way.
    offs: HashMap<JobName, CancellationToken>,
    /// Of those that are on their way, what is not to be submitted, if it is not too late.
    withdrawn: HashSet<JobKey>,
    /// Since when it is not known what became of what the engine before had there.
    adopting: Option<Instant>,
    /// Sent behind something that did not succeed: its batch system ends them unrun.
    orphans: HashSet<JobKey>,
    /// What is over, and is fetched when what it came after was.
    later: Vec<(JobName, Vec<(u32, MemberNews)>)>,
    /// Containers on the host's daemon.
    boxes: Arc<Boxes>,
    /// Attempts that a container is followed for, and how they are told to end.
    boxed: HashMap<JobKey, Arc<Notify>>,
    /// Attempts whose output somebody watches.
    watched: HashMap<JobKey, Watched>,
    /// Whether the ground was seen by this engine: what the last one knew of it may be gone.
    entered: bool,
    /// The configuration's file as it was when it was read.
    edited: Option<(SystemTime, u64)>,
    next_pulse: Instant,
    connected: bool,
    asking: Asking,
    /// The number of the next look.
    turn: u64,
    /// How far the host's clock is ahead.
    ahead: Ahead,
    /// Looks in a row that brought nothing new.
    quiet: u32,
    next_tick: Instant,
    /// When the batch system was asked last: what its site demands holds whatever the reason for a look.
    pace: Pace,
    /// When it is asked again how busy the batch system is.
    next_load: Instant,
    /// Looks in a row in which the batch system did not answer.
    silent: u32,
    /// Why it cannot be used, and how often in a row it could not.
    away: Option<(String, u32)>,
    next_try: Instant,
}

impl Desk {
    pub(super) fn new(means: Means, inbox: mpsc::UnboundedReceiver<Order>) -> Self {
        let now = Instant::now();
        let asked = KeptHost::asked(&means.state, &means.host.name);
        let pace = Pace::kept(asked, clock::now(), now);
        Self {
            quota: Quota::new(means.room.jobs.unwrap_or(u32::MAX)),
            full: None,
            refused: HashMap::new(),
            offs: HashMap::new(),
            withdrawn: HashSet::new(),
            adopting: None,
            orphans: HashSet::new(),
            later: Vec::new(),
            boxes: Arc::new(Boxes::new(&means)),
            boxed: HashMap::new(),
            watched: HashMap::new(),
            entered: false,
            edited: stamp(&means),
            next_pulse: now,
            connected: false,
            means: Arc::new(means),
            inbox,
            done: mpsc::unbounded_channel(),
            ground: None,
            waiting: Vec::new(),
            gathered: now,
            jobs: HashMap::new(),
            live: BTreeMap::new(),
            of: HashMap::new(),
            stops: HashSet::new(),
            strays: HashSet::new(),
            removed: HashMap::new(),
            reasons: Vec::new(),
            expected: Vec::new(),
            closing: Vec::new(),
            stuck: STUCK.0,
            containers: HashMap::new(),
            clearing: Clearing::No { since: now },
            sending: 0,
            asking: Asking::No,
            turn: 0,
            ahead: Ahead::default(),
            quiet: 0,
            next_tick: now,
            pace,
            next_load: now,
            silent: 0,
            away: None,
            next_try: now,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            self.dispatch();
            let due = self.due();
            let (_, finished) = &mut self.done;
            tokio::select! {
                biased;
                Some(done) = finished.recv() => self.finish(done).await,
                order = self.inbox.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => break,
                },
                () = sleep_until(due) => {}
            }
        }
    }

    async fn say(&self, news: SiteNews) {
        self.means.reporter.say(news).await;
    }

    fn has_work(&self) -> bool {
        !self.waiting.is_empty() || !self.live.is_empty() || !self.closing.is_empty()
    }

    /// When there is something to do although nothing happens.
    fn due(&self) -> Instant {
        let never = Instant::now() + Duration::from_hours(1);
        if self.asking != Asking::No || !self.has_work() && self.away.is_none() {
            return never;
        }
        if self.ground.is_none() {
            return self.next_try;
        }
        if self.away.is_some() {
            return self.look_due();
        }
        let tick = if self.live.is_empty() { never } else { self.next_tick.min(self.next_pulse) };
        let tick = self.clears_at().map_or(tick, |at| tick.min(at));
        if self.sending >= SENDING || !self.has_ready() {
            return tick;
        }
        let more = match self.quota.learned() {
            Some((_, until)) if self.quota.allows(self.ours(), Instant::now()) == 0 => until,
            _ => self.gathered,
        };
        tick.min(more)
    }

    /// Begins what can begin.
    fn dispatch(&mut self) {
        let now = Instant::now();
        if self.asking != Asking::No {
            return;
        }
        let Some(ground) = self.ground.clone() else {
            if (self.has_work() || self.away.is_some()) && now >= self.next_try {
                self.asking = Asking::Yes;
                self.try_again();
                self.spawn(|means| async move { Done::Ground(ground_of(&means).await) });
            }
            return;
        };
        self.feel_pulse(now);
        if self.away.is_none() && self.entered && self.clears_at().is_some_and(|at| now >= at) {
            self.clear(Arc::clone(&ground));
        }
        if self.away.is_none() && self.entered && now >= self.gathered && self.sending < SENDING && self.has_ready() {
            self.send(&ground);
        }
        let looks = !self.live.is_empty() || self.away.is_some() || !self.entered;
        if looks && now >= self.look_due() {
            self.try_again();
            self.look(ground);
        }
    }

    fn spawn<F: Future<Output = Done> + Send + 'static>(&self, work: impl FnOnce(Arc<Means>) -> F) {
        let (to, work) = (self.done.0.clone(), work(Arc::clone(&self.means)));
        tokio::spawn(async move {
            // Fails when the desk is gone.
            to.send(work.await).ok();
        });
    }

    /// Says that it is tried again, when it could not be used.
    fn try_again(&self) {
        if self.away.is_some() {
            self.means.reporter.say_soon(SiteNews::Trying);
        }
    }

    /// When it is looked at again. Whether a batch system answers that did not is seen by asking it, and so not before it may be.
    fn look_due(&self) -> Instant {
        match (&self.away, self.silent) {
            (None, _) => self.next_tick,
            (Some(_), 0) => self.next_try,
            (Some(_), _) => self.pace.ready(self.least()).map_or(self.next_try, |at| at.max(self.next_try)),
        }
    }

    /// The shortest time between two questions to the batch system.
    fn least(&self) -> Duration {
        self.means.host.policy.poll_min
    }

    /// Returns when the next look is.
    fn next_look(&self, behind: bool) -> Instant {
        // What is made up has nobody who could be disturbed.
        let quiet = if self.means.host.simulated.is_some() { 0 } else { self.quiet };
        let haste = match (self.watched.is_empty(), self.stops.is_empty()) {
            (false, _) if behind => Haste::Behind,
            (false, _) => Haste::Watched,
            (true, false) => Haste::Stopping,
            (true, true) => Haste::None,
        };
        self.pace.next(Instant::now(), quiet, self.least(), haste)
    }

    /// Asks for everything of ours.
    fn look(&mut self, ground: Arc<Ground>) {
        self.look_at_file();
        let now = Instant::now();
        let asked = |live: &&Live| live.state != Way::Sending && !is_marked(&live.sent);
        let mut live: Vec<Live> = self.live.values().filter(asked).cloned().collect();
        for member in live.iter_mut().flat_map(|live| &mut live.members) {
            member.grant = self.jobs.get(&member.key).map(|job| job.grant);
            member.stopping = self.stops.contains(&member.key);
        }
        // Where nothing of ours is, the batch system is not asked, and nowhere more often than its site lets us: then job directories
        // are read alone. Where there is none, nobody is spared by that.
        let may = self.means.dialect.is_none() || self.pace.may_ask(now, self.least());
        let asks = may && (!live.is_empty() || self.away.is_some());
        if asks {
            self.note_asked();
        }
        let asked = Asked {
            live,
            stops: self
                .stops
                .iter()
                .filter(|key| !self.boxed.contains_key(key))
                .filter_map(|key| self.of.get(key).cloned())
                .collect(),
            watched: self.watched(),
            turn: self.turn,
            ahead: self.ahead,
            load: now >= self.next_load && asks && !self.live.is_empty(),
            scope: if asks { Scope::All } else { Scope::Directories },
        };
        if asked.load {
            self.next_load = now + LOAD;
        }
        self.turn += 1;
        self.asking = Asking::Yes;
        self.spawn(|means| async move { Done::Heard(tick(&means, &ground, asked).await) });
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Start(jobs) => {
                if self.waiting.is_empty() {
                    self.gathered = Instant::now() + GATHER;
                }
                self.waiting.extend(jobs);
            }
            Order::Stop(keys) | Order::Withdraw(keys) if keys.is_empty() => {}
            Order::Stop(keys) => {
                for key in self.take_back(keys).await {
                    self.stop(key).await;
                }
                self.quiet = 0;
                self.next_tick = Instant::now();
            }
            Order::Withdraw(keys) => {
                for key in self.take_back(keys).await {
                    if self.call_off(key) {
                        self.withdrawn.insert(key);
                    }
                }
            }
            Order::Forsake(keys) => {
                for key in keys {
                    self.forsake(key).await;
                }
                self.next_tick = Instant::now();
            }
            Order::Try => match self.asking {
                Asking::No => self.next_try = Instant::now(),
                Asking::Yes | Asking::OnceMore => self.asking = Asking::OnceMore,
            },
            Order::Adopt(sent, jobs, vain) => self.adopt(sent, jobs, vain).await,
            Order::Configure(means) => self.configure(*means).await,
            Order::Watch(key, by, told) => {
                let watched = self.watched.entry(key).or_default();
                watched.by.push(by);
                watched.told.extend(told);
                self.next_tick = self.next_tick.min(Instant::now() + self.means.host.policy.poll_min.min(WATCHED));
            }
        }
    }

    /// Ends those that were not sent; returns the others.
    async fn take_back(&mut self, keys: Vec<JobKey>) -> Vec<JobKey> {
        let mut keys: HashSet<JobKey> = keys.into_iter().collect();
        let (ended, kept) = std::mem::take(&mut self.waiting).into_iter().partition(|job| keys.remove(&job.key));
        self.waiting = kept;
        let ended: Vec<SiteJob> = ended;
        for job in ended {
            self.end(never_ran(job.key, Outcome::Cancelled, Vec::new())).await;
        }
        keys.into_iter().collect()
    }

    async fn stop(&mut self, key: JobKey) {
        if self.of.contains_key(&key) {
            self.stops.insert(key);
            self.stop_boxed(key);
            self.call_off(key);
        } else {
            // Nobody here knows it: it is over, as far as this host goes.
            self.end(never_ran(key, Outcome::Cancelled, Vec::new())).await;
        }
    }

    fn member_mut(&mut self, key: JobKey) -> Option<&mut Member> {
        let (name, index) = self.of.get(&key)?;
        self.live.get_mut(name)?.members.get_mut(*index as usize - 1)
    }

    async fn finish(&mut self, done: Done) {
        let is_answer = matches!(done, Done::Ground(_) | Done::Heard(_));
        let asked = if is_answer { std::mem::take(&mut self.asking) } else { Asking::No };
        self.take(done).await;
        if asked == Asking::OnceMore {
            self.next_try = Instant::now();
        }
    }

    async fn take(&mut self, done: Done) {
        match done {
            Done::Ground(Ok(ground)) => {
                self.ground = Some(Arc::new(ground));
                self.entered = true;
                self.keep();
                self.back().await;
                self.fetch_later();
            }
            Done::Sent(name, result, boxed) => {
                self.sending -= 1;
                self.sent(&name, result).await;
                self.follow(&name, boxed);
            }
            Done::Boxed(name, index, news) => self.hear_boxed(name, index, news).await,
            Done::Heard(Ok(heard)) => {
                if heard.no_ground {
                    // Made anew; then it is seen what became of what lay there.
                    (self.ground, self.entered) = (None, false);
                    return;
                }
                self.entered = true;
                if heard.scope == Scope::All {
                    self.note_asked();
                    self.silent = if heard.silent.is_some() { self.silent.saturating_add(1) } else { 0 };
                }
                match (&heard.unwritable, &heard.silent) {
                    (Some(why), _) => self.shut(self.unwritable(why)).await,
                    // It may be busy for a moment. One that was away stays so until it answers.
                    (None, Some(why)) if self.silent >= SILENT || self.away.is_some() => {
                        self.shut(format!("its batch system does not answer: {why}")).await;
                    }
                    _ => self.back().await,
                }
                self.hear(heard).await;
            }
            Done::Ground(Err(error)) | Done::Heard(Err(error)) => self.leave(&error).await,
            Done::Fetched(name, members) => self.fetched(&name, members).await,
            Done::Cleared(result) => self.cleared(result).await,
        }
    }

    /// Nobody knows whether a submission went through: the next looks find out.
    fn doubt(&mut self, name: &JobName) {
        if let Some(live) = self.live.get_mut(name) {
            live.state = Way::Doubtful;
        }
    }

    /// The host answers.
    async fn back(&mut self) {
        if self.away.take().is_some() {
            tracing::info!(host = %self.means.host.name, "answers again");
            self.boxes.set_away(false);
            self.say(SiteNews::Opened(self.room())).await;
            self.find_boxed().await;
        }
        self.next_tick = self.next_tick.min(Instant::now() + Duration::from_secs(1));
    }

    /// Takes nothing more until the host, or its batch system, answers: what was not sent goes elsewhere.
    async fn shut(&mut self, words: String) {
        tracing::warn!(host = %self.means.host.name, why = words, "cannot be used");
        let times = self.away.as_ref().map_or(0, |(_, times)| times + 1);
        self.away = Some((words.clone(), times));
        let now = Instant::now();
        self.next_try = now + away(times);
        let wait = self.look_due().saturating_duration_since(now);
        self.say(SiteNews::Shut(words.clone(), clock::now().after(wait))).await;
        for job in std::mem::take(&mut self.waiting) {
            self.end(never_ran(job.key, Outcome::NodeFail, vec![words.clone()])).await;
        }
    }

    /// Says that nothing can be written there: what is there goes on, and nothing more is sent.
    fn unwritable(&self, why: &str) -> String {
        let host = self.means.host.name.as_str();
        let place = self.ground.as_ref().map_or("", |ground| ground.scratch.as_str());
        let helps = if is_full(why) {
            make_room(host)
        } else {
            "`scratch` of the host in hosts.toml names another place".to_owned()
        };
        format!("nothing can be written to {place} on {host}: {why}; {helps}")
    }

    /// The host does not answer: the fate of what was sent is unknown.
    async fn leave(&mut self, error: &TransportError) {
        // What was told and not taken in is told again: the next looks ask for everything.
        self.turn = 0;
        self.shut(said(error)).await;
        self.boxes.set_away(true);
        if let TransportError::NeedsLogin { detail, .. } = error {
            self.say(SiteNews::NeedsLogin(detail.clone())).await;
        }
        let mut lost = Vec::new();
        for member in self.live.values_mut().flat_map(|live| &mut live.members) {
            if !member.over && member.stage != Stage::Lost {
                member.stage = Stage::Lost;
                lost.push(member.key);
            }
        }
        for key in lost {
            self.say(SiteNews::Staged(key, Stage::Lost)).await;
        }
    }

    async fn stage(&mut self, key: JobKey, stage: Stage) {
        let Some(member) = self.member_mut(key) else { return };
        if std::mem::replace(&mut member.stage, stage) != stage {
            self.say(SiteNews::Staged(key, stage)).await;
        }
    }

    async fn end(&mut self, ended: Ended) {
        self.stops.remove(&ended.key);
        self.removed.remove(&ended.key);
        self.orphans.remove(&ended.key);
        self.strays.remove(&ended.key);
        self.tell_behind(&ended).await;
        self.jobs.remove(&ended.key);
        if let Some(member) = self.member_mut(ended.key) {
            member.over = true;
        }
        if ended.outcome != Outcome::Success {
            self.spoil(ended.key);
        }
        let key = ended.key;
        self.say(SiteNews::Ended(Box::new(ended))).await;
        self.forget_box(key);
    }

    /// Lets go of a submission; what it left on the host is cleared away with the next look.
    fn close(&mut self, name: &JobName) {
        if let Some(live) = self.live.remove(name) {
            for key in &live.sent.members {
                if self.strays.remove(key) {
                    self.stops.remove(key);
                }
                if self.of.get(key).is_some_and(|(of, _)| of == name) {
                    self.of.remove(key);
                }
            }
            self.forget_boxed(&live);
            self.closing.push(name.clone());
        }
    }
}

async fn ground_of(means: &Means) -> Result<Ground, TransportError> {
    ground(means).await
}

/// Makes the end of an attempt that did not run.
pub(super) fn never_ran(key: JobKey, outcome: Outcome, notes: Vec<String>) -> Ended {
    Ended {
        key,
        outcome,
        started: None,
        ended: clock::now(),
        usage: Usage::default(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        notes,
        allocation: None,
    }
}

/// An error and the command that helps.
fn said(error: &TransportError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let told = causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"));
    error.hint().map_or(told.clone(), |hint| format!("{told}; {hint}"))
}

fn is_over(live: &Live) -> bool {
    live.members.iter().all(|member| member.over)
}
