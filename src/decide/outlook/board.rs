//! The hosts as they stand now, for tasks that may go to several: what each would cost, and which is best.
//!
//! A task is weighed when its turn comes, by what is known then: what waits there already, how long batch systems make jobs wait,
//! where the inputs lie and when the links to them are free, how long the command runs there. What was bound to a host counts until
//! it is over, so that the next one sees it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::decide::graph::estimate::{Estimate, Source};
use crate::decide::graph::load::Load;
use crate::decide::graph::net::Link;
use crate::decide::graph::queues::Queues;
use crate::decide::outlook::cores::Cores;
use crate::decide::outlook::files::Hosts;
use crate::decide::outlook::limits::Answers;
use crate::decide::outlook::parts::{Bound, Part, Pool, QueueId};
use crate::decide::outlook::sheet::Sheet;
use crate::model::choice::{Policy, Span, Terms};
use crate::model::host::HostName;
use crate::model::id::{HostId, InstanceId, JobKey, RunId};
use crate::model::units::{Bytes, Timestamp};

/// How much of the time that it may take longer counts against a host: between two that are as fast, the surer one.
const RISK: f64 = 0.1;
/// How many tasks are bound to a batch system, as a multiple of what runs there at once: the next ones queue while these run.
const AHEAD: u32 = 2;
/// What part of that must be free again, once it was full, for a batch system to be given more: what goes there together goes as one
/// array, and what queues meanwhile keeps its cores busy.
const TOGETHER: u32 = 8;
/// Tasks shorter than this may be bound ahead of room anywhere, so that no core idles while an ending is told.
const SHORT: f64 = 2.0;
/// So many cores of them.
const SHORT_AHEAD: u32 = 64;
/// How many mean tasks must have been seen on a host before that outweighs what was thought of its speed.
const PRIOR: f64 = 3.0;
/// What of that counts still when the next one is over: what is learned of the commands tells of the host too by then.
const KEPT: f64 = 0.9;
/// Waits in a queue that are remembered, and how many of them count for more than what was known before.
const WAITS: (usize, usize) = (32, 3);

/// Starts that batch systems told of, that are remembered.
const EXPECTED: usize = 32;
/// By what factors a start may come earlier or later than a batch system expects.
pub(super) const EARLIER: f64 = 0.25;
pub(super) const LATER: f64 = 2.0;
/// How much what a batch system tells of a start counts beside what was seen there before: it knows what runs and what waits, but
/// neither who comes nor who ends early.
const BELIEVED: f64 = 1.0 / 3.0;

/// Seconds after which what a queue makes jobs wait is estimated anew.
const STALE: f64 = 60.0;

/// Hosts that a task fits, and in which queue.
pub type Fitting = Arc<[(HostId, QueueId)]>;

/// What is known of a host when it is set to work.
#[derive(Clone, Debug, PartialEq)]
pub struct SiteFacts {
    /// Its name.
    pub name: HostName,
    /// Whether jobs wait in a queue there.
    pub is_batch: bool,
    /// Cores that may run at once.
    pub slots: u32,
    /// Jobs of ours that it takes at once, where somebody said.
    pub jobs: Option<u32>,
    /// Until a job starts there, where nothing is known of its queue.
    pub wait: Estimate,
    /// What jobs waited in its queues.
    pub queues: Queues,
    /// What an hour of a core costs.
    pub rate: f64,
    /// Its partitions that take jobs, as far as they are known.
    pub parts: Vec<Part>,
    /// From when on its cores are there: of an allocation that was asked for.
    pub opens: Option<Timestamp>,
}

/// A task that is to be placed.
#[derive(Clone, Debug, PartialEq)]
pub struct Want {
    /// Cores.
    pub cpus: u32,
    /// GPUs.
    pub gpus: u32,
    /// Seconds that it asks for.
    pub asked: f64,
    /// What it reads: bytes, and who has them. Of what nobody has nothing is known.
    pub inputs: Vec<(f64, Hosts)>,
    /// The image of its container, where somebody has it: bytes, and who.
    pub image: Option<(f64, Hosts)>,
    /// What counts.
    pub policy: Policy,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Site {
    pub(super) facts: Option<SiteFacts>,
    /// What is bound and not over.
    all: Pool,
    /// The same of each of its queues, by their numbers.
    pools: Vec<Pool>,
    /// Queues that refused a job that csync sent there by itself.
    barred: BTreeSet<QueueId>,
    /// When its link is free.
    link_free: f64,
    /// What is bound and not over, one by one, where it is a machine of few cores.
    cores: Cores,
    /// Seconds that what ended here was expected to take, that it took, and how many there were.
    seen: (f64, f64, f64),
    /// Core-seconds ever bound here.
    given: f64,
    waits: VecDeque<(QueueId, f64)>,
    /// How long its batch system expects what waits there to wait.
    expected: VecDeque<(JobKey, QueueId, f64)>,
    /// What these come to, by queue: asked for at every choice, and changed by few events.
    lately: HashMap<QueueId, (Option<Estimate>, Option<Estimate>)>,
    /// What waits in its queues.
    queued: BTreeSet<(QueueId, Timestamp, JobKey)>,
    /// Its queues by their numbers, each with its position among the partitions that are known.
    names: Vec<(String, Option<usize>)>,
    /// What was foretold of a queue for so many cores and seconds, as powers of two, and when.
    pub(super) foretold: HashMap<(QueueId, u32, i32), (f64, Option<Estimate>)>,
    /// The same by the limit that is asked for.
    pub(super) steps: Answers,
}

/// The hosts as they stand now.
#[derive(Clone, Debug, Default)]
pub struct Board {
    sites: Vec<Site>,
    ways: HashMap<(HostId, HostId), Link>,
}

impl Board {
    fn of(&mut self, host: HostId) -> &mut Site {
        let index = host.index();
        if self.sites.len() <= index {
            self.sites.resize_with(index + 1, Site::default);
        }
        #[expect(clippy::indexing_slicing, reason = "made long enough just now")]
        &mut self.sites[index]
    }

    pub(super) fn site(&self, host: HostId) -> Option<&Site> {
        self.sites.get(host.index())
    }

    pub(super) fn site_mut(&mut self, host: HostId) -> Option<&mut Site> {
        self.sites.get_mut(host.index())
    }

    /// Takes what is known of a host.
    pub fn set(&mut self, host: HostId, facts: SiteFacts) {
        self.of(host).set(facts);
    }

    /// Takes in how many cores of a host's partitions nobody used, by their names.
    pub fn idle(&mut self, host: HostId, idle: &[(String, u32)], at: Timestamp) {
        self.of(host).look(idle, seconds(at));
    }

    /// Has a task go to a queue no more that csync would choose: it refused one.
    pub fn bar(&mut self, host: HostId, queue: QueueId) {
        self.of(host).barred.insert(queue);
    }

    /// Takes how files come from one host to another.
    pub fn set_way(&mut self, from: HostId, to: HostId, link: Link) {
        self.ways.insert((from, to), link);
    }

    /// Returns how many seconds a byte takes from one host to another on average, as if both were drawn at random.
    pub fn per_byte(&self) -> f64 {
        let rates = self.ways.values().map(|link| link.rate.middle).filter(|rate| *rate > 0.0);
        let (sum, ways) = rates.fold((0.0, 0_u32), |(sum, n), rate| (sum + 1.0 / rate, n + 1));
        let hosts = self.hosts().count().max(1) as f64;
        if ways > 0 { sum / f64::from(ways) * (1.0 - 1.0 / hosts) } else { 0.0 }
    }

    /// Takes how fast files came from one host to another; what is no speed tells nothing.
    pub fn measured(&mut self, from: HostId, to: HostId, rate: f64) {
        if !rate.is_finite() || rate <= 0.0 {
            return;
        }
        // Slower is as good as never, and has to stay a number.
        let rate = rate.max(1.0);
        let rate = Estimate { low: rate * 0.5, middle: rate, high: rate * 1.5, source: Source::Measured(1) };
        for ends in [(from, to), (to, from)] {
            if let Some(link) = self.ways.get_mut(&ends) {
                link.rate = rate;
            }
        }
    }

    /// Returns the number of a queue of a host.
    pub fn queue(&mut self, host: HostId, name: Option<&str>) -> QueueId {
        self.of(host).number(name?)
    }

    /// Returns the name of a queue of a host.
    pub fn queue_name(&self, host: HostId, queue: QueueId) -> Option<&str> {
        self.site(host)?.queue_name(queue)
    }

    /// Returns a host's name.
    pub fn name(&self, host: HostId) -> Option<&HostName> {
        Some(&self.site(host)?.facts.as_ref()?.name)
    }

    /// Begins a round of choices: what had to wait in the last one is weighed again.
    pub fn begin(&mut self) {
        for site in &mut self.sites {
            site.all.held = 0.0;
            site.cores.begin();
            site.pools.iter_mut().for_each(|pool| pool.held = 0.0);
        }
    }

    /// Returns how many times longer a host takes than was thought.
    pub fn slowness(&self, host: HostId) -> f64 {
        let Some(Site { seen: (expected, took, n), .. }) = self.site(host) else { return 1.0 };
        if *n <= 0.0 || *expected <= 0.0 {
            return 1.0;
        }
        let prior = PRIOR * expected / n;
        (took + prior) / (expected + prior)
    }

    /// Weighs a task on a host, in a queue of it, where it runs for `run`; none where its inputs cannot be brought there.
    pub fn weigh(
        &mut self,
        want: &Want,
        (host, queue): (HostId, QueueId),
        run: Estimate,
        now: Timestamp,
    ) -> Option<Sheet> {
        let queued = self.sites.get_mut(host.index())?.foretell(queue, want, seconds(now));
        let site = self.site(host)?;
        let facts = site.facts.as_ref()?;
        let now = seconds(now);
        let (mut transfer, mut moved, mut blocked, mut from) = (Estimate::ZERO, 0.0, 0.0_f64, Hosts::default());
        for &(bytes, ref at) in want.inputs.iter().filter(|(_, at)| !at.has(host) && !at.is_empty()) {
            let ways = at.iter().filter_map(|source| Some((source, self.ways.get(&(source, host))?)));
            let costs = ways
                .map(|(source, link)| (source, link.rate.to_get_through(bytes).plus(&Estimate::known(link.latency))));
            let (source, cost) = costs.min_by(|a, b| a.1.middle.total_cmp(&b.1.middle))?;
            let free = self.site(source).map_or(0.0, |site| site.link_free).max(site.link_free);
            blocked = blocked.max(free - now);
            from = from.and(&Hosts::one(source));
            transfer = transfer.plus(&cost);
            moved += bytes;
        }
        if let Some((bytes, at)) = &want.image
            && !at.has(host)
            // What this machine has nobody looked at.
            && host != HostId::LOCAL
        {
            transfer = transfer.plus(&Estimate::pulling(*bytes));
            moved += bytes;
        }
        let (pool, slots) = site.pool(queue, facts, want.cpus);
        let opens = facts.opens.map_or(0.0, |at| seconds(at) - now).max(0.0);
        let behind = if !facts.is_batch && Cores::tells(slots) {
            site.cores.behind(want.cpus, slots, (now, opens))
        } else {
            pool.behind(want.cpus, slots, now) + opens
        };
        let run = run.times(self.slowness(host));
        let sure = queued.plus(&transfer).plus(&run);
        let total = behind.max(blocked + transfer.middle) + queued.middle + run.middle;
        let penalty = (sure.high - sure.middle) * RISK;
        let first = match want.policy {
            Policy::Fastest => 0.0,
            Policy::Locality => moved,
            Policy::Cheapest => facts.rate * run.middle * f64::from(want.cpus) / 3600.0,
            Policy::Spread => (site.given + site.all.held) / f64::from(facts.slots.max(1)),
        };
        Some(Sheet {
            host,
            queue,
            behind,
            opens,
            wait: queued,
            transfer,
            blocked,
            from,
            moved,
            run,
            penalty,
            total: total + penalty,
            first,
        })
    }

    /// Weighs a task in another queue of a host than the first that it fits; none where csync does not send it there by itself:
    /// where no job of ours was ever seen to wait, where it takes no more of them, has refused one, or would have GPUs idle.
    pub fn weigh_beside(
        &mut self,
        want: &Want,
        (host, queue): (HostId, QueueId),
        run: Estimate,
        now: Timestamp,
    ) -> Option<Sheet> {
        if self.site(host)?.takes(queue, want.gpus) { self.weigh(want, (host, queue), run, now) } else { None }
    }

    /// Returns whether a host takes what was weighed now; else it waits for it.
    pub fn has_room(&self, want: &Want, sheet: &Sheet) -> bool {
        let Some(site) = self.site(sheet.host) else { return false };
        let Some(facts) = site.facts.as_ref() else { return false };
        let (pool, slots) = site.pool(sheet.queue, facts, want.cpus);
        let most = most(facts, slots, sheet.run.middle);
        // Who is bound to cores that are not there yet is bound for nothing but to have its inputs come: the first of those that
        // are ready by then shall have them, not the first that would have had to wait elsewhere.
        let is_time = sheet.opens <= sheet.blocked + sheet.transfer.middle;
        // What is larger than the host is thought to be has it alone.
        is_time && (pool.placed == 0 || pool.has_room(want.cpus, most, most / TOGETHER))
    }

    /// Returns the hosts that are known.
    pub fn hosts(&self) -> impl Iterator<Item = HostId> {
        let known = self.sites.iter().zip(0..).filter(|(site, _)| site.facts.is_some());
        known.map(|(_, number)| HostId(number))
    }

    /// Returns whether a host has a core for another task.
    pub fn is_open(&self, host: HostId) -> bool {
        let Some(site) = self.site(host) else { return false };
        let Some(facts) = site.facts.as_ref() else { return false };
        let is_open = |(pool, slots): (Pool, u32)| {
            let most = most(facts, slots, SHORT);
            pool.has_room(1, most, most / TOGETHER)
        };
        // Of tasks of whatever width: as many as the host takes.
        let ahead = if facts.is_batch { AHEAD } else { 1 };
        if facts.jobs.is_some_and(|most| site.all.jobs >= most.saturating_mul(ahead)) {
            return false;
        }
        is_open((site.all, facts.slots))
            || (0..site.names.len() as u16).any(|it| is_open(site.pool(Some(it), facts, u32::MAX)))
    }

    /// Notes that a task waits for a host.
    pub fn hold(&mut self, want: &Want, sheet: &Sheet) {
        let work = sheet.run.middle * f64::from(want.cpus);
        let site = self.of(sheet.host);
        site.each_pool(sheet.queue, |pool| pool.held += work);
        site.cores.hold(want.cpus, sheet.run.middle);
    }

    /// Binds a task to a host; `placed` says whether csync chose that.
    pub fn bind(&mut self, want: &Want, (sheet, placed): (&Sheet, bool), key: JobKey, now: Timestamp) -> Bound {
        let until = seconds(now) + sheet.blocked + sheet.transfer.middle;
        if sheet.moved > 0.0 {
            // One transfer at a time on a link: the next one begins when this one is done.
            for host in sheet.from.clone().and(&Hosts::one(sheet.host)).iter().filter(|host| *host != HostId::LOCAL) {
                let site = self.of(host);
                site.link_free = site.link_free.max(until);
            }
        }
        let (cpus, queue) = (want.cpus, sheet.queue);
        let slower = self.slowness(sheet.host);
        let bound = Bound { cpus, queue, expected: sheet.run.middle, slower, since: now, started: None, placed };
        let work = bound.expected * f64::from(bound.cpus);
        self.of(sheet.host).given += work;
        self.again(sheet.host, bound, key);
        let site = self.of(sheet.host);
        if let Some(facts) = site.facts.as_ref().filter(|facts| placed && facts.is_batch) {
            let (pool, slots) = site.pool(queue, facts, cpus);
            let is_full = !pool.has_room(cpus, most(facts, slots, sheet.run.middle), 0);
            site.each_pool(queue, |pool| pool.full = is_full);
        }
        bound
    }

    /// Counts what is bound to a host already: found again after a restart.
    pub fn again(&mut self, host: HostId, bound: Bound, key: JobKey) {
        let site = self.of(host);
        site.each_pool(bound.queue, |pool| pool.bind(&bound));
        if site.facts.as_ref().is_some_and(|facts| facts.is_batch) {
            site.queued.insert((bound.queue, bound.since, key));
        } else {
            site.cores.bind(key, bound);
        }
    }

    /// Takes out what waits on a host, for something to be weighed as if it were not there.
    pub fn lift(&mut self, host: HostId, all: &[Bound]) {
        let site = self.of(host);
        for bound in all {
            site.each_pool(bound.queue, |pool| pool.end(bound, None));
        }
    }

    /// Puts it back.
    pub fn put_back(&mut self, host: HostId, all: &[Bound]) {
        let site = self.of(host);
        for bound in all {
            site.each_pool(bound.queue, |pool| pool.bind(bound));
        }
    }

    /// Takes in when its batch system expects to start a task.
    pub fn expected(&mut self, host: HostId, bound: Bound, key: JobKey, at: Timestamp) {
        let site = self.of(host);
        site.forget_expected(key);
        if site.expected.len() >= EXPECTED
            && let Some((_, queue, _)) = site.expected.pop_front()
        {
            site.lately.remove(&queue);
        }
        site.lately.remove(&bound.queue);
        site.expected.push_back((key, bound.queue, (seconds(at) - seconds(bound.since)).max(0.0)));
    }

    /// Takes in that a task started.
    pub fn started(&mut self, host: HostId, bound: &mut Bound, key: JobKey, at: Timestamp) {
        if bound.started.is_some() {
            return;
        }
        bound.started = Some(at);
        let site = self.of(host);
        site.each_pool(bound.queue, |pool| pool.start(bound.cpus, seconds(at)));
        site.cores.start(key, at);
        site.forget_expected(key);
        if site.queued.remove(&(bound.queue, bound.since, key)) {
            site.lately.remove(&bound.queue);
            site.waits.push_back((bound.queue, (seconds(at) - seconds(bound.since)).max(0.0)));
            if site.waits.len() > WAITS.0
                && let Some((queue, _)) = site.waits.pop_front()
            {
                site.lately.remove(&queue);
            }
        }
    }

    /// Takes in that a task is over, which ran for so many seconds, when it ran to its end.
    pub fn over(&mut self, host: HostId, bound: Bound, key: JobKey, ran: Option<f64>) {
        let site = self.of(host);
        site.forget_expected(key);
        site.queued.remove(&(bound.queue, bound.since, key));
        site.each_pool(bound.queue, |pool| pool.end(&bound, bound.started.map(seconds)));
        site.cores.end(key);
        if let Some(ran) = ran {
            // Measured by what was known of it, not by what was made of that: else half of a mistake would stay for good.
            let (expected, took, n) = site.seen;
            site.seen = (expected * KEPT + bound.expected / bound.slower, took * KEPT + ran, n * KEPT + 1.0);
        }
    }

    /// Returns a sheet as it is shown and kept.
    pub fn terms(&self, sheet: &Sheet) -> Option<Terms> {
        let transfer = sheet.transfer.plus(&Estimate::known(sheet.blocked));
        Some(Terms {
            host: self.name(sheet.host)?.clone(),
            partition: self.queue_name(sheet.host, sheet.queue).map(str::to_owned),
            behind: rounded(sheet.behind),
            wait: span(&sheet.wait),
            transfer: span(&transfer),
            moved: Bytes(sheet.moved as u64),
            run: span(&sheet.run),
            penalty: rounded(sheet.penalty),
            total: rounded(sheet.total),
        })
    }
}

impl Site {
    fn set(&mut self, mut facts: SiteFacts) {
        for part in &mut facts.parts {
            let seen = self.facts.iter().flat_map(|facts| &facts.parts).find(|known| known.name == part.name);
            // What a look told meanwhile is newer than what the host was surveyed by.
            part.idle = part.idle.into_iter().chain(seen.and_then(|seen| seen.idle)).max_by(|a, b| a.1.total_cmp(&b.1));
        }
        for (name, at) in &mut self.names {
            *at = facts.parts.iter().position(|part| part.name == *name);
        }
        self.facts = Some(facts);
    }

    /// Takes in how many cores nobody used, by partition: what started since it was looked at last is no part of that any more.
    fn look(&mut self, idle: &[(String, u32)], at: f64) {
        for (name, cores) in idle {
            let Some(facts) = self.facts.as_mut() else { return };
            let Some(part) = facts.parts.iter_mut().find(|part| part.name == *name) else { continue };
            part.idle = Some((*cores, at));
            let queue = self.names.iter().position(|(known, _)| known == name);
            if let Some(pool) = queue.and_then(|queue| self.pools.get_mut(queue)) {
                pool.begun = 0;
            }
        }
        self.all.begun = 0;
    }

    /// Returns the number of a queue, which gets one when it has none.
    fn number(&mut self, name: &str) -> QueueId {
        let known = self.names.iter().position(|(known, _)| known == name);
        let at = known.unwrap_or_else(|| {
            let part = self.facts.as_ref().and_then(|facts| facts.parts.iter().position(|part| part.name == name));
            self.names.push((name.to_owned(), part));
            self.names.len() - 1
        });
        u16::try_from(at).ok()
    }

    pub(super) fn queue_name(&self, queue: QueueId) -> Option<&str> {
        Some(self.names.get(usize::from(queue?))?.0.as_str())
    }

    fn part<'f>(&self, queue: QueueId, facts: &'f SiteFacts) -> Option<&'f Part> {
        let (_, at) = self.names.get(usize::from(queue?))?;
        facts.parts.get((*at)?)
    }

    /// Changes what is bound here, and in a queue.
    fn each_pool(&mut self, queue: QueueId, change: impl Fn(&mut Pool)) {
        change(&mut self.all);
        let Some(at) = queue.map(usize::from) else { return };
        if self.pools.len() <= at {
            self.pools.resize_with(at + 1, Pool::default);
        }
        if let Some(pool) = self.pools.get_mut(at) {
            change(pool);
        }
    }

    /// Returns what is bound where a task of so many cores would go, and how many run there at once: of its queue, where several are known and
    /// the size of this one; else of the host.
    fn pool(&self, queue: QueueId, facts: &SiteFacts, cpus: u32) -> (Pool, u32) {
        let slots = self.part(queue, facts).filter(|_| facts.parts.len() > 1).and_then(|part| part.slots);
        // As many jobs as it takes have as many times the cores of one.
        let most = facts.jobs.map_or(u32::MAX, |jobs| jobs.saturating_mul(cpus.max(1)));
        match slots {
            Some(slots) => (self.bound(queue, facts), slots.min(most)),
            None => (self.all, facts.slots.min(most)),
        }
    }

    /// Returns what is bound in a queue, and what of that in others is on nodes of this one.
    fn bound(&self, queue: QueueId, facts: &SiteFacts) -> Pool {
        let own = queue.and_then(|at| self.pools.get(usize::from(at))).copied().unwrap_or_default();
        let Some(part) = self.part(queue, facts) else { return own };
        part.shared.iter().fold(own, |sum, &(other, of)| {
            let at = self.names.iter().position(|(_, known)| *known == Some(other));
            at.and_then(|at| self.pools.get(at)).map_or(sum, |theirs| sum.with(theirs, of))
        })
    }

    /// Returns whether csync sends a task to a queue by itself that is not the first that it fits.
    pub(super) fn takes(&self, queue: QueueId, gpus: u32) -> bool {
        let Some(facts) = &self.facts else { return false };
        let Some(part) = self.part(queue, facts) else { return false };
        let pool = queue.and_then(|at| self.pools.get(usize::from(at))).copied().unwrap_or_default();
        let was_there = facts.queues.has_ours(&part.name) || self.waits.iter().any(|(of, _)| *of == queue);
        was_there
            && (gpus > 0 || !part.has_gpus)
            && part.jobs.is_none_or(|most| pool.jobs < most)
            && !self.barred.contains(&queue)
    }

    /// Returns how busy a queue was when somebody looked: of the cores that nobody used then, those are gone that went to what was
    /// bound here since, and to what waits there. Where a batch system chooses the queue, the freest counts.
    pub(super) fn load(&self, queue: QueueId, facts: &SiteFacts, now: f64) -> Option<Load> {
        let (seen, pool) = match queue {
            Some(_) => (self.part(queue, facts)?.idle, self.bound(queue, facts)),
            None => (facts.parts.iter().filter_map(|part| part.idle).max_by_key(|(cores, _)| *cores), self.all),
        };
        let (cores, at) = seen?;
        Load::idle(cores.saturating_sub(pool.waiting + pool.begun), now - at)
    }

    /// Returns how long a queue makes a job wait; nothing where there is none.
    fn foretell(&mut self, queue: QueueId, want: &Want, now: f64) -> Estimate {
        let Some(facts) = self.facts.as_ref().filter(|facts| facts.is_batch) else { return Estimate::ZERO };
        let key = (queue, want.cpus.max(1).ilog2(), want.asked.max(1.0).log2() as i32);
        let kept = self.foretold.get(&key).filter(|(at, _)| (0.0..STALE).contains(&(now - at)));
        let known = if let Some((_, known)) = kept {
            *known
        } else {
            let known = facts.queues.estimate(self.queue_name(queue), now, want.cpus, want.asked);
            self.foretold.insert(key, (now, known));
            known
        };
        // Beside what was seen, a guess says nothing.
        let known = known.or((facts.wait.source != Source::Guessed).then_some(facts.wait));
        let seen = self.load(queue, facts, now).and_then(|load| load.wait(want.cpus, known));
        self.wait(queue, seen.or(known).unwrap_or(facts.wait), now)
    }

    /// Forgets when its batch system expected to start a job.
    fn forget_expected(&mut self, key: JobKey) {
        let Some(at) = self.expected.iter().position(|(of, ..)| *of == key) else { return };
        if let Some((_, queue, _)) = self.expected.remove(at) {
            self.lately.remove(&queue);
        }
    }

    /// Returns what jobs waited in a queue lately, where enough did, and what the batch system expects of those that wait there.
    fn lately(&mut self, queue: QueueId) -> (Option<Estimate>, Option<Estimate>) {
        if let Some(known) = self.lately.get(&queue) {
            return *known;
        }
        let waits = self.waits.iter().filter(|(of, _)| *of == queue).map(|(_, seconds)| *seconds);
        let mut waits: Vec<f64> = waits.collect();
        let seen = if waits.len() >= WAITS.1 { Estimate::of_seen(&mut waits, Source::Learned) } else { None };
        let expected = self.expected.iter().filter(|(_, of, _)| *of == queue).map(|(.., wait)| *wait);
        let found = (seen, Estimate::of_seen(&mut expected.collect::<Vec<f64>>(), Source::Measured));
        self.lately.insert(queue, found);
        found
    }

    /// Brings in what the batch system expects of those that wait in a queue: all that is known where the rest is a guess, a part
    /// of it else.
    fn told(known: Estimate, expected: Option<Estimate>) -> Estimate {
        let Some(told) = expected else { return known };
        if known.source == Source::Guessed {
            return Estimate { low: told.low * EARLIER, high: told.high * LATER, ..told };
        }
        // As factors: a minute more is much of a minute and little of a day.
        let middle = (known.middle + 1.0).powf(1.0 - BELIEVED) * (told.middle + 1.0).powf(BELIEVED) - 1.0;
        Estimate { low: known.low.min(middle), middle, high: known.high.max(middle), source: known.source }
    }

    /// Returns how long a queue makes jobs wait: as was seen lately, and no less than what waits there now has waited.
    fn wait(&mut self, queue: QueueId, known: Estimate, now: f64) -> Estimate {
        let (seen, expected) = self.lately(queue);
        let wait = Self::told(seen.unwrap_or(known), expected);
        let nobody = JobKey { run: RunId(0), instance: InstanceId(0), attempt: 0 };
        let first = (queue, Timestamp(i64::MIN), nobody);
        let longest = self.queued.range(first..).next().filter(|(of, ..)| *of == queue);
        let longest = longest.map_or(0.0, |(_, since, _)| now - seconds(*since));
        if longest <= wait.middle {
            return wait;
        }
        Estimate { middle: longest, high: wait.high.max(longest * 2.0), source: Source::Measured(1), ..wait }
    }
}

/// Returns how many cores may be bound at once where so many run, to tasks of so many seconds.
fn most(facts: &SiteFacts, slots: u32, run: f64) -> u32 {
    let slots = slots.max(1);
    let most = if facts.is_batch { slots.saturating_mul(AHEAD) } else { slots };
    if run < SHORT { most.saturating_add(SHORT_AHEAD) } else { most }
}

fn seconds(at: Timestamp) -> f64 {
    at.0 as f64 / 1e6
}

/// Three digits behind the point are more than anybody knows.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn span(estimate: &Estimate) -> Span {
    Span {
        low: rounded(estimate.low),
        middle: rounded(estimate.middle),
        high: rounded(estimate.high),
        source: estimate.source.to_string(),
    }
}
