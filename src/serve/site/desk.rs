//! The loop of a site: takes orders, has one thing of each kind under way, and keeps what is where.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::decide::engine::protocol::{Adopted, Capacity, Stage};
use crate::model::api::Full;
use crate::model::batch::JobName;
use crate::model::id::JobKey;
use crate::model::job::{Ended, Outcome};
use crate::model::resources::{Grant, Usage};
use crate::model::units::Timestamp;
use crate::reach::clock;
use crate::reach::config::KeptHost;
use crate::reach::store::Sent;
use crate::reach::transport::{LinkState, TransportError};
use crate::serve::site::fetch::{Fetched, Wanted, fetch};
use crate::serve::site::quota::Quota;
use crate::serve::site::send::{Ground, NotSent, SentOut, ground, group, send};
use crate::serve::site::tick::{Asked, Heard, MemberNews, tick};
use crate::serve::site::{Means, Order, SiteJob, SiteNews, pause};

/// How long jobs are gathered before they go out together.
const GATHER: Duration = Duration::from_millis(100);
/// Shortest and longest pause before a host is tried again that could not be reached.
const AWAY: (u64, u64) = (2, 60);
/// Between two looks while somebody watches what a job prints, unless the site asks for more.
const WATCHED: Duration = Duration::from_secs(2);
/// How often it is looked at whether the connection is still there, which asks nobody.
const PULSE: Duration = Duration::from_secs(5);
/// Submissions under way at once: each takes a channel.
const SENDING: usize = 2;

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
    /// What it was granted, as far as this engine knows.
    pub(super) grant: Option<Grant>,
    /// It was asked to end.
    pub(super) stopping: bool,
}

impl Member {
    /// Returns whether news say no more than what is known: of most of ten thousand members, most of the time.
    pub(super) fn is_known(&self, news: &MemberNews) -> bool {
        let stage = match news {
            MemberNews::Waiting => Stage::Waiting,
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

/// What one of our own tasks came back with.
enum Done {
    Sent(JobName, Result<SentOut, NotSent>),
    Heard(Result<Heard, TransportError>),
    Fetched(JobName, Vec<(u32, Fetched)>),
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
    /// Of those, what goes no further, and how it is over then.
    removed: HashMap<JobKey, Outcome>,
    /// Submissions whose members are over, to be cleared away.
    closing: Vec<JobName>,
    sending: usize,
    /// How many jobs it takes.
    quota: Quota,
    /// Why it took no more, while it does not.
    full: Option<String>,
    /// Submissions refused as too many, by their first member: the next with it has another name.
    refused: HashMap<JobKey, u32>,
    /// Since when it is not known what became of what the engine before had there.
    adopting: Option<Instant>,
    /// Attempts whose output somebody watches.
    watched: HashMap<JobKey, Watched>,
    /// Whether the ground was seen by this engine: what the last one knew of it may be gone.
    entered: bool,
    /// The configuration's file as it was when it was read.
    edited: Option<(SystemTime, u64)>,
    next_pulse: Instant,
    connected: bool,
    asking: bool,
    /// The number of the next look.
    turn: u64,
    /// Looks in a row that brought nothing new.
    quiet: u32,
    next_tick: Instant,
    /// Why it cannot be used, and how often in a row it could not.
    away: Option<(String, u32)>,
    next_try: Instant,
}

impl Desk {
    pub(super) fn new(means: Means, inbox: mpsc::UnboundedReceiver<Order>) -> Self {
        let now = Instant::now();
        Self {
            quota: Quota::new(means.room.jobs.unwrap_or(u32::MAX)),
            full: None,
            refused: HashMap::new(),
            adopting: None,
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
            removed: HashMap::new(),
            closing: Vec::new(),
            sending: 0,
            asking: false,
            turn: 0,
            quiet: 0,
            next_tick: now,
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
        if self.asking || !self.has_work() && self.away.is_none() {
            return never;
        }
        if self.away.is_some() || self.ground.is_none() {
            return self.next_try;
        }
        let idle = self.live.is_empty() && self.closing.is_empty();
        let tick = if idle { never } else { self.next_tick.min(self.next_pulse) };
        if self.waiting.is_empty() || self.sending >= SENDING {
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
        if self.asking {
            return;
        }
        let Some(ground) = self.ground.clone() else {
            if (self.has_work() || self.away.is_some()) && now >= self.next_try {
                self.asking = true;
                self.try_again();
                self.spawn(|means| async move { Done::Ground(ground_of(&means).await) });
            }
            return;
        };
        self.feel_pulse(now);
        if self.away.is_none()
            && self.entered
            && now >= self.gathered
            && self.sending < SENDING
            && !self.waiting.is_empty()
        {
            self.send(&ground);
        }
        let looks = !self.live.is_empty() || !self.closing.is_empty() || self.away.is_some() || !self.entered;
        let due = if self.away.is_some() { self.next_try } else { self.next_tick };
        if looks && now >= due {
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

    /// A connection that is gone is noticed at once, by its keep-alives: the next look says whether the host is.
    fn feel_pulse(&mut self, now: Instant) {
        if now < self.next_pulse {
            return;
        }
        self.next_pulse = now + PULSE;
        let state = self.means.connections.states().remove(&self.means.host.name);
        let connected = matches!(state, Some(LinkState::Open { .. }));
        if std::mem::replace(&mut self.connected, connected) && !connected {
            self.next_tick = now;
        }
    }

    /// Notices that the configuration's file was written.
    fn look_at_file(&mut self) {
        let now = stamp(&self.means);
        if now != self.edited {
            self.edited = now;
            self.means.reporter.say_soon(SiteNews::Edited);
        }
    }

    /// Says that it is tried again, when it could not be used.
    fn try_again(&self) {
        if self.away.is_some() {
            self.means.reporter.say_soon(SiteNews::Trying);
        }
    }

    /// How many jobs of ours are there, or on their way.
    fn ours(&self) -> u32 {
        let count = |live: &Live| live.members.iter().filter(|member| !member.over).count();
        u32::try_from(self.live.values().map(count).sum::<usize>()).unwrap_or(u32::MAX)
    }

    /// Sends what was gathered, as far as it is let in: what asks for the same in one submission.
    fn send(&mut self, ground: &Arc<Ground>) {
        let allowed = self.quota.allows(self.ours(), Instant::now()) as usize;
        let rest = self.waiting.split_off(allowed.min(self.waiting.len()));
        let waiting = std::mem::replace(&mut self.waiting, rest);
        for jobs in group(waiting, &self.means) {
            let Some(first) = jobs.first() else { continue };
            let name = name_of(&self.means, first.key, self.refused.get(&first.key).copied().unwrap_or(0));
            let sent = Sent {
                name: name.clone(),
                host: self.means.host.name.to_string(),
                at: clock::now(),
                batch: None,
                members: jobs.iter().map(|job| job.key).collect(),
            };
            self.take_in(sent.clone(), Way::Sending);
            for job in &jobs {
                self.jobs.insert(job.key, job.clone());
            }
            self.sending += 1;
            let ground = Arc::clone(ground);
            self.spawn(|means| async move {
                let result = send(&means, &ground, &sent, jobs).await;
                Done::Sent(name, result)
            });
        }
    }

    fn take_in(&mut self, sent: Sent, state: Way) {
        for (key, index) in sent.members.iter().zip(1..) {
            self.of.insert(*key, (sent.name.clone(), index));
        }
        let member = |key: &JobKey| Member {
            key: *key,
            stage: Stage::Given,
            started: None,
            over: false,
            missing: 0,
            grant: None,
            stopping: false,
        };
        let members = sent.members.iter().map(member).collect();
        self.live.insert(sent.name.clone(), Live { sent, notes: Vec::new(), members, state });
    }

    /// Returns those whose output is watched, of what has started; forgets those whom nobody watches any more.
    fn watched(&mut self) -> Vec<(JobName, u32, JobKey)> {
        self.watched.retain(|key, watched| {
            watched.by.retain(|by| by.strong_count() > 0);
            self.jobs.contains_key(key) && !(watched.by.is_empty() && watched.told.is_empty())
        });
        let started = |key: &JobKey| {
            let (name, index) = self.of.get(key)?;
            let live = self.live.get(name)?;
            let member = live.members.get(*index as usize - 1)?;
            let runs = live.state == Way::There && member.started.is_some() && !member.over;
            runs.then(|| (name.clone(), *index, *key))
        };
        self.watched.keys().filter_map(started).collect()
    }

    /// Returns how long to wait before the next look.
    fn wait(&self, behind: bool) -> Duration {
        let least = self.means.host.policy.poll_min;
        let usual = pause(self.quiet, least);
        if self.watched.is_empty() {
            return usual;
        }
        let soon = if behind { Duration::ZERO } else { WATCHED };
        usual.min(soon.max(least))
    }

    /// Asks for everything of ours.
    fn look(&mut self, ground: Arc<Ground>) {
        self.look_at_file();
        let mut live: Vec<Live> = self.live.values().filter(|live| live.state != Way::Sending).cloned().collect();
        for member in live.iter_mut().flat_map(|live| &mut live.members) {
            member.grant = self.jobs.get(&member.key).map(|job| job.grant);
            member.stopping = self.stops.contains(&member.key);
        }
        let asked = Asked {
            live,
            stops: self.stops.iter().filter_map(|key| self.of.get(key).cloned()).collect(),
            closing: self.closing.clone(),
            watched: self.watched(),
            turn: self.turn,
        };
        self.turn += 1;
        self.asking = true;
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
            Order::Withdraw(keys) => drop(self.take_back(keys).await),
            Order::Adopt(sent, jobs) => self.adopt(sent, jobs).await,
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
        } else {
            // Nobody here knows it: it is over, as far as this host goes.
            self.end(never_ran(key, Outcome::Cancelled, Vec::new())).await;
        }
    }

    /// Goes on with another configuration. What is there stays where it is: another scratch holds from when nothing is left.
    async fn configure(&mut self, means: Means) {
        tracing::info!(host = %means.host.name, "configured anew");
        if means.host.scratch != self.means.host.scratch && !self.has_work() {
            (self.ground, self.entered) = (None, false);
        }
        self.quota.set_most(means.room.jobs.unwrap_or(u32::MAX));
        self.edited = stamp(&means);
        self.means = Arc::new(means);
        self.keep();
        self.next_tick = self.next_tick.min(Instant::now() + self.wait(false));
        self.say_room().await;
    }

    /// Keeps what is known of the host for the next engine.
    fn keep(&self) {
        let scratch = self.ground.as_ref().map(|ground| ground.scratch.clone());
        let kept = KeptHost { host: self.means.host.clone(), scratch };
        if let Err(error) = kept.keep(&self.means.state) {
            tracing::warn!(host = %self.means.host.name, %error, "what is known of it cannot be kept");
        }
    }

    async fn adopt(&mut self, sent: Vec<Sent>, jobs: Vec<SiteJob>) {
        if self.ground.is_none() && !sent.is_empty() {
            // What lies there is asked for at once; the look itself tells whether the place is still there.
            let kept = KeptHost::load(&self.means.state, &self.means.host.name);
            let kept = kept.filter(|kept| kept.host.scratch == self.means.host.scratch);
            self.ground = kept.and_then(|kept| kept.scratch).map(|scratch| Arc::new(Ground { scratch }));
        }
        let known: HashMap<JobKey, SiteJob> = jobs.into_iter().map(|job| (job.key, job)).collect();
        let mut sent = sent;
        // What was sent again under another name counts under that.
        sent.sort_by_key(|sent| sent.at);
        for sent in sent {
            let state = if sent.batch.is_some() || self.means.dialect.is_none() { Way::There } else { Way::Doubtful };
            self.take_in(sent, state);
        }
        for (key, job) in known {
            if self.of.contains_key(&key) {
                self.say(SiteNews::Adopted(key, Adopted::Live)).await;
                self.jobs.insert(key, job);
            } else {
                // No submission holds it: the engine ended before anything was decided on.
                self.say(SiteNews::Adopted(key, Adopted::NeverStarted)).await;
            }
        }
        // Members that the store knows to have ended, or that another submission holds.
        for (name, live) in &mut self.live {
            for member in &mut live.members {
                let holds = self.of.get(&member.key).is_some_and(|(of, _)| of == name);
                member.over |= !holds || !self.jobs.contains_key(&member.key);
            }
        }
        let done: Vec<JobName> =
            self.live.values().filter(|live| is_over(live)).map(|live| live.sent.name.clone()).collect();
        for name in done {
            self.close(&name);
        }
        self.next_tick = Instant::now();
        self.adopting = Some(self.next_tick);
    }

    fn member_mut(&mut self, key: JobKey) -> Option<&mut Member> {
        let (name, index) = self.of.get(&key)?;
        self.live.get_mut(name)?.members.get_mut(*index as usize - 1)
    }

    async fn finish(&mut self, done: Done) {
        match done {
            Done::Ground(Ok(ground)) => {
                self.asking = false;
                self.ground = Some(Arc::new(ground));
                self.entered = true;
                self.keep();
                self.back().await;
            }
            Done::Sent(name, result) => {
                self.sending -= 1;
                self.sent(&name, result).await;
            }
            Done::Heard(Ok(heard)) => {
                self.asking = false;
                if heard.no_ground {
                    // Made anew; then it is seen what became of what lay there.
                    (self.ground, self.entered) = (None, false);
                    return;
                }
                self.entered = true;
                self.back().await;
                self.hear(heard).await;
            }
            Done::Ground(Err(error)) | Done::Heard(Err(error)) => {
                self.asking = false;
                self.leave(&error).await;
            }
            Done::Fetched(name, members) => self.fetched(&name, members).await,
        }
    }

    /// The host answers.
    async fn back(&mut self) {
        if self.away.take().is_some() {
            tracing::info!(host = %self.means.host.name, "answers again");
            self.say(SiteNews::Opened(self.room())).await;
        }
        self.next_tick = self.next_tick.min(Instant::now() + Duration::from_secs(1));
    }

    /// The host does not answer: what was not sent goes elsewhere, the fate of what was is unknown.
    async fn leave(&mut self, error: &TransportError) {
        let words = error.to_string();
        tracing::warn!(host = %self.means.host.name, error = words, "cannot be asked");
        // What was told and not taken in is told again: the next looks ask for everything.
        self.turn = 0;
        let times = self.away.as_ref().map_or(0, |(_, times)| times + 1);
        self.away = Some((words.clone(), times));
        let wait = (AWAY.0 << times.min(6)).min(AWAY.1);
        let wait = Duration::from_secs(wait);
        self.next_try = Instant::now() + wait;
        self.say(SiteNews::Shut(words.clone(), clock::now().after(wait))).await;
        for job in std::mem::take(&mut self.waiting) {
            self.end(never_ran(job.key, Outcome::NodeFail, vec![words.clone()])).await;
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

    async fn sent(&mut self, name: &JobName, result: Result<SentOut, NotSent>) {
        self.quiet = 0;
        self.next_tick = Instant::now() + pause(0, self.means.host.policy.poll_min);
        match result {
            Ok(out) => {
                let Some(live) = self.live.get_mut(name) else { return };
                live.state = Way::There;
                live.sent.batch = out.batch;
                live.notes = out.notes;
                let sent = live.sent.clone();
                let keys = sent.members.clone();
                self.quota.accepted(self.ours(), Instant::now());
                if self.full.take().is_some() || self.quota.learned().is_some() {
                    self.say_room().await;
                }
                if sent.batch.is_some() {
                    self.say(SiteNews::Known(sent)).await;
                }
                for key in keys {
                    self.stage(key, Stage::Waiting).await;
                }
            }
            Err(NotSent::Doubtful(error)) => {
                if let Some(live) = self.live.get_mut(name) {
                    live.state = Way::Doubtful;
                }
                self.leave(&error).await;
            }
            Err(NotSent::Refused(members)) => {
                for (key, outcome, note) in members {
                    self.end(never_ran(key, outcome, note.into_iter().collect())).await;
                }
                self.close(name);
            }
            Err(NotSent::Full(why)) => self.full(name, why).await,
            Err(NotSent::Unreached(error)) => {
                let keys = self.live.get(name).map(|live| live.sent.members.clone()).unwrap_or_default();
                self.leave(&error).await;
                for key in keys {
                    self.end(never_ran(key, Outcome::NodeFail, vec![error.to_string()])).await;
                }
                self.close(name);
            }
        }
    }

    /// The batch system takes no more: what was to be sent waits here.
    async fn full(&mut self, name: &JobName, why: String) {
        let keys = self.live.get(name).map(|live| live.sent.members.clone()).unwrap_or_default();
        tracing::info!(host = %self.means.host.name, why, jobs = keys.len(), "takes no more jobs");
        let tried = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        self.quota.refused(self.ours().saturating_sub(tried), tried, Instant::now());
        self.full = Some(why);
        if let Some(first) = keys.first() {
            *self.refused.entry(*first).or_default() += 1;
        }
        self.close(name);
        let back: Vec<SiteJob> = keys.iter().filter_map(|key| self.jobs.remove(key)).collect();
        for job in &back {
            self.say(SiteNews::Staged(job.key, Stage::Given)).await;
        }
        self.waiting.splice(0..0, back);
        // Asked to end while they were on their way.
        let stopped: Vec<JobKey> = keys.into_iter().filter(|key| self.stops.contains(key)).collect();
        self.take_back(stopped).await;
        self.say_room().await;
    }

    /// Returns its room, with how many jobs it takes as was learned.
    fn room(&self) -> Capacity {
        let known = self.means.room;
        let jobs = self.quota.learned().map_or(known.jobs, |(learned, _)| Some(learned.max(1)));
        Capacity { jobs, ..known }
    }

    async fn say_room(&self) {
        let now = Instant::now();
        let full = self.full.clone().zip(self.quota.learned()).map(|(why, (jobs, until))| Full {
            why,
            jobs,
            next_try: clock::now().after(until.saturating_duration_since(now)),
        });
        self.say(SiteNews::Room(self.room(), full)).await;
    }

    async fn stage(&mut self, key: JobKey, stage: Stage) {
        let Some(member) = self.member_mut(key) else { return };
        if std::mem::replace(&mut member.stage, stage) != stage {
            self.say(SiteNews::Staged(key, stage)).await;
        }
    }

    async fn hear(&mut self, heard: Heard) {
        if let Some(since) = self.adopting.take() {
            let waited = since.elapsed().as_millis();
            tracing::info!(host = %self.means.host.name, jobs = self.ours(), milliseconds = waited, "adopted");
        }
        let mut changed = false;
        if heard.cut_off {
            self.turn = 0;
        }
        for (name, batch) in heard.found {
            let Some(live) = self.live.get_mut(&name) else { continue };
            live.state = Way::There;
            if batch.is_some() && live.sent.batch != batch {
                live.sent.batch.clone_from(&batch);
                let sent = live.sent.clone();
                self.say(SiteNews::Known(sent)).await;
            }
        }
        for name in heard.never_sent {
            changed = true;
            let Some(live) = self.live.get(&name) else { continue };
            let keys: Vec<JobKey> = live.members.iter().filter(|member| !member.over).map(|it| it.key).collect();
            for key in keys {
                self.end(never_ran(key, Outcome::NodeFail, vec!["it did not reach the batch system".to_owned()])).await;
            }
            self.close(&name);
        }
        let mut over: BTreeMap<JobName, Vec<(u32, MemberNews)>> = BTreeMap::new();
        for (name, index, news) in heard.members {
            changed |= self.member_news(&name, index, &news).await;
            if let MemberNews::Over { .. } = news {
                over.entry(name).or_default().push((index, news));
            }
        }
        let closed: HashSet<&JobName> = heard.closed.iter().collect();
        self.closing.retain(|name| !closed.contains(name));
        for name in heard.closed {
            self.say(SiteNews::Closed(name)).await;
        }
        for (name, members) in over {
            self.fetch(&name, members);
        }
        // Each fails when nobody waits any more.
        for told in self.watched.values_mut().flat_map(|watched| watched.told.drain(..)) {
            told.send(()).ok();
        }
        self.quiet = if changed { 0 } else { self.quiet.saturating_add(1) };
        self.next_tick = Instant::now() + self.wait(heard.behind);
    }

    /// Takes in what is known of a member; returns whether it is new.
    async fn member_news(&mut self, name: &JobName, index: u32, news: &MemberNews) -> bool {
        let Some(member) = self.live.get_mut(name).and_then(|live| live.members.get_mut(index as usize - 1)) else {
            return false;
        };
        let (key, before) = (member.key, member.stage);
        match news {
            MemberNews::Waiting => member.missing = 0,
            MemberNews::Missing => {
                member.missing += 1;
                return false;
            }
            MemberNews::Running(at) => {
                member.missing = 0;
                let new = member.started.replace(*at).is_none();
                if new {
                    self.say(SiteNews::Started(key, *at)).await;
                }
            }
            MemberNews::Over { .. } => member.over = true,
            MemberNews::Remove(_) | MemberNews::Lost(_) => {}
        }
        if let MemberNews::Remove(outcome) = news {
            // It stays in the queue until it is cancelled; its end is ours to say.
            self.removed.insert(key, outcome.clone());
            self.stops.insert(key);
            self.next_tick = Instant::now();
            return true;
        }
        if let MemberNews::Lost(why) = news {
            tracing::warn!(host = %self.means.host.name, %key, why, "nobody knows what became of it");
            self.stage(key, Stage::Lost).await;
            return false;
        }
        let stage = match news {
            MemberNews::Waiting | MemberNews::Missing | MemberNews::Remove(_) | MemberNews::Lost(_) => Stage::Waiting,
            MemberNews::Running(_) => Stage::Running,
            MemberNews::Over { .. } => Stage::StagingOut,
        };
        self.stage(key, stage).await;
        before != stage
    }

    fn fetch(&self, name: &JobName, members: Vec<(u32, MemberNews)>) {
        let (Some(ground), Some(live)) = (self.ground.clone(), self.live.get(name)) else { return };
        let mut wanted = Vec::new();
        for (index, news) in members {
            let MemberNews::Over { outcome, usage, started, ended, mut notes } = news else { continue };
            notes.extend(live.notes.iter().cloned());
            let Some(key) = live.members.get(index as usize - 1).map(|member| member.key) else { continue };
            let Some(job) = self.jobs.get(&key).cloned() else { continue };
            let outcome = match self.removed.get(&key) {
                Some(removed) if outcome != Outcome::Success => removed.clone(),
                _ if self.stops.contains(&key) && outcome != Outcome::Success => Outcome::Cancelled,
                _ => outcome,
            };
            let ended = Ended { key, outcome, started, ended, usage, inputs: Vec::new(), outputs: Vec::new(), notes };
            wanted.push((index, job, ended));
        }
        let name = name.clone();
        let wanted = Wanted { sent: live.sent.clone(), members: wanted, last: is_over(live) };
        self.spawn(|means| async move {
            let fetched = fetch(&means, &ground, wanted).await;
            Done::Fetched(name, fetched)
        });
    }

    async fn fetched(&mut self, name: &JobName, members: Vec<(u32, Fetched)>) {
        let mut away = None;
        for (index, fetched) in members {
            match fetched {
                Fetched::Ended(ended) => self.end(*ended).await,
                Fetched::Later(error) => {
                    // Seen again by the next look.
                    if let Some(member) =
                        self.live.get_mut(name).and_then(|live| live.members.get_mut(index as usize - 1))
                    {
                        member.over = false;
                    }
                    away = Some(error);
                }
            }
        }
        if let Some(error) = away {
            self.leave(&error).await;
        }
        if self
            .live
            .get(name)
            .is_some_and(|live| live.members.iter().all(|member| !self.jobs.contains_key(&member.key)))
        {
            self.close(name);
        }
    }

    async fn end(&mut self, ended: Ended) {
        self.stops.remove(&ended.key);
        self.removed.remove(&ended.key);
        self.jobs.remove(&ended.key);
        if let Some(member) = self.member_mut(ended.key) {
            member.over = true;
        }
        self.say(SiteNews::Ended(Box::new(ended))).await;
    }

    /// Lets go of a submission; what it left on the host is cleared away with the next look.
    fn close(&mut self, name: &JobName) {
        if let Some(live) = self.live.remove(name) {
            for key in &live.sent.members {
                if self.of.get(key).is_some_and(|(of, _)| of == name) {
                    self.of.remove(key);
                }
            }
            self.closing.push(name.clone());
        }
    }
}

/// Returns when the configuration's file was written, and how large it is.
fn stamp(means: &Means) -> Option<(SystemTime, u64)> {
    let meta = std::fs::metadata(means.file.as_ref()?).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

fn is_over(live: &Live) -> bool {
    live.members.iter().all(|member| member.over)
}

async fn ground_of(means: &Means) -> Result<Ground, TransportError> {
    ground(means).await
}

/// Returns the name of the submission whose first member this is: unique, since no attempt is ever sent twice, but for those that
/// were refused as too many.
fn name_of(means: &Means, first: JobKey, refused: u32) -> JobName {
    let id = means.state.id();
    let mut text = format!("csync-{}-{}-{}-{}", id.get(..8).unwrap_or(&id), first.run, first.instance, first.attempt);
    if refused > 0 {
        // What was refused before under the plain name is cleared away by and by.
        let _infallible = write!(text, "-{refused}");
    }
    // Letters, digits and `-`, at most 14 + 4 * 11 of them.
    text.parse().unwrap_or_else(|_| unreachable_name())
}

fn unreachable_name() -> JobName {
    #[expect(clippy::expect_used, reason = "a constant that is a name")]
    "csync".parse().expect("a name")
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
    }
}
