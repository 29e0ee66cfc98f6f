//! The engine on virtual time, and hosts that do what it says.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use crate::decide::engine::machine::Engine;
use crate::decide::engine::protocol::{Action, Event, Stage, TimerId};
use crate::decide::place::problem::{Room, Wait};
use crate::decide::place::timetable::{Booking, Timetable};
use crate::decide::simulate::script::{BEGIN, RUN, Script};
use crate::decide::simulate::world::{Belief, Course, World};
use crate::model::api::RunState;
use crate::model::id::{HostId, InstanceId, JobKey, TaskId};
use crate::model::job::{Ended, Outcome};
use crate::model::plan::Fingerprint;
use crate::model::resources::Usage;
use crate::model::units::Timestamp;

/// Seconds for which the engine gathers what it learns, as it does with real work.
const GATHERED: f64 = 2.0;
/// Seconds (some 200,000 years) from which on nothing comes any more: timestamps end not long after.
const HORIZON: f64 = 6e12;
/// How many timers may fire while nothing else comes, before the engine is thought to wait for what never will.
const PATIENCE: u32 = 100;

/// What comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum News {
    /// The inputs of an attempt are there.
    Staged(JobKey),
    /// Its batch system could start it, if there is room.
    Ready(JobKey),
    /// It is over.
    Over(JobKey),
    /// A host is away.
    Shuts(u16),
    /// A host may start what it could not before.
    Opens(u16),
    /// What was learned is told.
    Learned,
    /// A timer of the engine.
    Timer(TimerId),
}

/// An attempt that a host has.
#[derive(Clone, Copy, Debug)]
struct Job {
    key: JobKey,
    site: u16,
    staged: f64,
    start: Option<f64>,
}

/// A host: what is free, and who waits there, in the order in which they could start.
#[derive(Clone, Debug)]
struct Here {
    free: Room,
    opens: f64,
    waiting: Vec<u32>,
}

/// Runs work on virtual time as the engine says.
pub(super) fn run(world: &World<'_>, belief: &Belief) -> Course {
    let script = Script::new(world, belief);
    let sites = &world.problem.network.sites;
    let opens = |wait| if let Wait::Once(seconds) = wait { seconds } else { 0.0 };
    let hosts = sites.iter().map(|site| Here { free: site.room, opens: opens(site.wait), waiting: Vec::new() });
    let mut live = Live {
        world,
        table: world.begin(),
        engine: Engine::new(0),
        hosts: hosts.collect(),
        jobs: vec![None; world.problem.tasks.len()],
        given: vec![0.0; world.problem.tasks.len()],
        learned: BTreeSet::new(),
        coming: BinaryHeap::new(),
        now: 0.0,
        told: 0,
        script,
    };
    live.go();
    let mut course = live.world.course(&live.table);
    course.ran.iter_mut().zip(&live.given).for_each(|(ran, given)| ran.given = *given);
    course
}

struct Live<'w, 'p> {
    world: &'w World<'p>,
    script: Script<'p>,
    /// Copies of files, links, and what ran.
    table: Timetable<'p>,
    engine: Engine,
    hosts: Vec<Here>,
    /// The attempt of each task that a host has.
    jobs: Vec<Option<Job>>,
    /// When each task was handed over last.
    given: Vec<f64>,
    /// Tasks of the plan of which something was learned that the engine was not told yet.
    learned: BTreeSet<TaskId>,
    coming: BinaryHeap<Reverse<(Timestamp, u64, News)>>,
    /// Seconds since the beginning.
    now: f64,
    /// How many news came, so that those of one time keep their order.
    told: u64,
}

impl Live<'_, '_> {
    fn go(&mut self) {
        for away in self.world.outages {
            if away.from > 0.0 {
                self.comes(away.from, News::Shuts(away.site));
            } else {
                self.take(News::Shuts(away.site));
            }
        }
        for event in self.script.events() {
            self.tell(event);
        }
        self.opens_later();
        let mut idle = 0;
        while let Some(Reverse((at, _, news))) = self.coming.pop() {
            self.now = since(at);
            idle = if matches!(news, News::Timer(_)) { idle + 1 } else { 0 };
            if self.is_over() || idle > PATIENCE && self.has_nothing_coming() {
                break;
            }
            self.take(news);
        }
    }

    fn is_over(&self) -> bool {
        self.engine.run(RUN).is_none_or(|run| run.state() != RunState::Active)
    }

    /// Returns whether nothing can come any more but timers.
    fn has_nothing_coming(&self) -> bool {
        let is_timer = |Reverse((.., news)): &Reverse<(Timestamp, u64, News)>| matches!(news, News::Timer(_));
        // Nor does what a host has and cannot start: what would let it start would come.
        self.coming.iter().all(is_timer)
    }

    /// Has hosts look again at who waits when an allocation is there, or when they are back.
    fn opens_later(&mut self) {
        let opens: Vec<(u16, f64)> = (0..).zip(&self.hosts).map(|(site, here)| (site, here.opens)).collect();
        let back = self.world.outages.iter().map(|outage| (outage.site, outage.from + outage.seconds));
        for (site, at) in opens.into_iter().chain(back).filter(|(_, at)| *at > 0.0) {
            self.comes(at, News::Opens(site));
        }
    }

    fn comes(&mut self, at: f64, news: News) {
        if at < HORIZON {
            self.told += 1;
            self.coming.push(Reverse((time(at), self.told, news)));
        }
    }

    fn take(&mut self, news: News) {
        match news {
            News::Staged(key) if self.has(key) => {
                let (wait, now) = (self.wait(key), self.now);
                let task = self.script.task(key.instance) as usize;
                if let Some(job) = self.jobs.get_mut(task).and_then(Option::as_mut) {
                    job.staged = now;
                }
                self.tell(Event::Staged(key, Stage::Waiting));
                self.comes(self.now + wait, News::Ready(key));
            }
            News::Ready(key) => {
                let Some(site) = self.job(key).map(|job| job.site) else { return };
                let task = self.script.task(key.instance);
                if let Some(here) = self.hosts.get_mut(usize::from(site)) {
                    here.waiting.push(task);
                }
                self.start(site);
            }
            News::Over(key) => self.end(key),
            News::Shuts(site) => self.tell(Event::Shut(self.script.host(site))),
            News::Opens(site) => self.open(site),
            News::Learned => {
                let known = std::mem::take(&mut self.learned).into_iter().map(|task| (task, self.script.known(task)));
                let known = known.collect();
                self.tell(Event::Learned(RUN, known));
            }
            News::Timer(timer) => self.tell(Event::Timer(timer)),
            News::Staged(_) => {}
        }
    }

    /// Tells the engine, and does what it asks.
    fn tell(&mut self, event: Event) {
        let mut actions = Vec::new();
        // What cannot be is no event of this world.
        if self.engine.handle(event, time(self.now), &mut actions).is_err() {
            return;
        }
        for action in actions {
            match action {
                Action::Start { key, host, .. } => self.fetch(key, host),
                Action::Stop(key) | Action::Withdraw(key) => self.withdraw(key),
                Action::Check(run, instance) => self.tell(Event::Checked(run, instance, false)),
                Action::SetTimer(timer, after) => self.comes(self.now + after.as_secs_f64(), News::Timer(timer)),
                Action::Record(_) | Action::Behind(..) | Action::Forsake(_) | Action::Tell(..) | Action::Over(_) => {}
            }
        }
    }

    /// Has the inputs of an attempt brought to its host.
    fn fetch(&mut self, key: JobKey, host: HostId) {
        let (task, site) = (self.script.task(key.instance), self.script.site(host));
        self.table.set_now(self.now);
        let staged = self.table.fetch(task as usize, site);
        if let Some(slot) = self.jobs.get_mut(task as usize) {
            *slot = Some(Job { key, site, staged, start: None });
        }
        if let Some(given) = self.given.get_mut(task as usize) {
            *given = self.now;
        }
        self.comes(staged, News::Staged(key));
    }

    /// Drops an attempt that has not started.
    fn withdraw(&mut self, key: JobKey) {
        let Some(job) = self.job(key).filter(|job| job.start.is_none()) else { return };
        self.forget(key, job.site);
        self.tell(Event::Ended(Box::new(ended(key, Outcome::Cancelled, None, self.now))));
    }

    fn forget(&mut self, key: JobKey, site: u16) {
        let task = self.script.task(key.instance);
        if let Some(here) = self.hosts.get_mut(usize::from(site)) {
            here.waiting.retain(|waiting| *waiting != task);
        }
        if let Some(slot) = self.jobs.get_mut(task as usize) {
            *slot = None;
        }
    }

    fn job(&self, key: JobKey) -> Option<Job> {
        let task = self.script.task(key.instance) as usize;
        self.jobs.get(task).copied().flatten().filter(|job| job.key == key)
    }

    fn has(&self, key: JobKey) -> bool {
        self.job(key).is_some()
    }

    /// Returns how long the batch system of its host keeps an attempt waiting.
    fn wait(&self, key: JobKey) -> f64 {
        let task = self.script.task(key.instance) as usize;
        let Some(job) = self.job(key) else { return 0.0 };
        self.table.wait(task, job.site) * self.world.luck.waits.get(task).copied().unwrap_or(1.0)
    }

    /// Starts on a host who can start, the first first; who needs more than is free lets others pass.
    fn start(&mut self, site: u16) {
        let Some(here) = self.hosts.get(usize::from(site)).filter(|here| here.opens <= self.now + 1e-6) else { return };
        let mut free = here.free;
        let mut started = Vec::new();
        for &task in &here.waiting {
            let room = self.world.problem.task(task as usize).room;
            let seconds = self.table.duration(task as usize, site);
            if room.fits(free) && !self.is_away(site, seconds) {
                free = free.less(room);
                started.push((task, seconds));
            }
        }
        if let Some(here) = self.hosts.get_mut(usize::from(site)) {
            here.free = free;
            here.waiting.retain(|task| !started.iter().any(|(other, _)| other == task));
        }
        for (task, seconds) in started {
            let Some(job) = self.jobs.get_mut(task as usize).and_then(Option::as_mut) else { continue };
            job.start = Some(self.now);
            let key = job.key;
            self.comes(self.now + seconds, News::Over(key));
            self.tell(Event::Started(key, time(self.now)));
        }
    }

    /// Starts on a host what waits there, and has the engine look again at what it kept until then.
    fn open(&mut self, site: u16) {
        self.start(site);
        // As soon as the engine hears of it: real ones take up to a minute to see either.
        if !self.is_away(site, 0.0) {
            self.tell(Event::Opened(self.script.host(site)));
        }
        if let Some(room) = self.script.room(site) {
            self.tell(room);
        }
    }

    /// Returns whether what is to run so long would run into a time in which a host is away.
    fn is_away(&self, site: u16, seconds: f64) -> bool {
        let now = self.now;
        let within = |from: f64, long: f64| now + seconds > from && now + 1e-6 < from + long;
        self.world.outages.iter().any(|away| away.site == site && within(away.from, away.seconds))
    }

    fn end(&mut self, key: JobKey) {
        let Some(Job { site, staged, start: Some(start), .. }) = self.job(key) else { return };
        let task = self.script.task(key.instance) as usize;
        let work = self.world.problem.task(task);
        self.table.note(task, Booking { site, staged, start, end: self.now });
        self.forget(key, site);
        if let Some(here) = self.hosts.get_mut(usize::from(site)) {
            here.free.cores += work.room.cores;
            here.free.memory += work.room.memory;
            here.free.gpus += work.room.gpus;
        }
        let bytes = |file: &u32| self.world.problem.files.get(*file as usize).map_or(0.0, |file| file.bytes);
        let made = |file| Some(Fingerprint { size: bytes(file) as u64, mtime: 0, hash: None });
        let outputs = work.outputs.iter().map(made).collect();
        let ended = Ended { outputs, ..ended(key, Outcome::Success, Some(start), self.now) };
        self.learn(key.instance, site, start);
        // Its cores are free before the engine hears of it.
        self.start(site);
        self.tell(Event::Ended(Box::new(ended)));
    }

    fn learn(&mut self, instance: InstanceId, site: u16, start: f64) {
        self.script.learn(instance, site, self.now - start, time(self.now));
        if self.learned.is_empty() {
            self.comes(self.now + GATHERED, News::Learned);
        }
        self.learned.insert(self.script.plan.instance(instance).task);
    }
}

fn time(seconds: f64) -> Timestamp {
    Timestamp(BEGIN.0.saturating_add((seconds * 1e6).ceil() as i64))
}

fn since(at: Timestamp) -> f64 {
    (at.0 - BEGIN.0) as f64 / 1e6
}

fn ended(key: JobKey, outcome: Outcome, start: Option<f64>, now: f64) -> Ended {
    let wall = start.map_or(0.0, |start| now - start);
    Ended {
        key,
        outcome,
        started: start.map(time),
        ended: time(now),
        usage: Usage { wall, ..Usage::default() },
        inputs: Vec::new(),
        outputs: Vec::new(),
        notes: Vec::new(),
        allocation: None,
    }
}
