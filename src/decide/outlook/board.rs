//! The hosts as they stand now, for tasks that may go to several: what each would cost, and which is best.
//!
//! A task is weighed when its turn comes, by what is known then: what waits there already, how long batch systems make jobs wait,
//! where the inputs lie and when the links to them are free, how long the command runs there. What was bound to a host counts until
//! it is over, so that the next one sees it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::decide::graph::estimate::{Estimate, Source};
use crate::decide::graph::net::Link;
use crate::decide::graph::queues::Queues;
use crate::decide::outlook::files::Hosts;
use crate::model::choice::{Policy, Span, Terms};
use crate::model::host::HostName;
use crate::model::id::{HostId, InstanceId, JobKey, RunId};
use crate::model::units::{Bytes, Timestamp};

/// How much of the time that it may take longer counts against a host: between two that are as fast, the surer one.
const RISK: f64 = 0.1;
/// How many tasks are bound to a batch system, as a multiple of what runs there at once: the next ones queue while these run.
const AHEAD: u32 = 2;
/// Tasks shorter than this may be bound ahead of room anywhere, so that no core idles while an ending is told.
const SHORT: f64 = 2.0;
/// So many cores of them.
const SHORT_AHEAD: u32 = 64;
/// How many mean tasks must have been seen on a host before that outweighs what was thought of its speed.
const PRIOR: f64 = 3.0;
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

/// A queue of a host, by its number there; none where the host is one.
pub type QueueId = Option<u16>;

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
    /// Until a job starts there, where nothing is known of its queue.
    pub wait: Estimate,
    /// What jobs waited in its queues.
    pub queues: Queues,
    /// What an hour of a core costs.
    pub rate: f64,
}

/// A task that is to be placed.
#[derive(Clone, Debug, PartialEq)]
pub struct Want {
    /// Cores.
    pub cpus: u32,
    /// Seconds that it asks for.
    pub asked: f64,
    /// What it reads: bytes, and who has them. Of what nobody has nothing is known.
    pub inputs: Vec<(f64, Hosts)>,
    /// The image of its container, where somebody has it: bytes, and who.
    pub image: Option<(f64, Hosts)>,
    /// What counts.
    pub policy: Policy,
}

/// What a task costs on a host, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sheet {
    /// The host.
    pub host: HostId,
    /// The queue.
    pub queue: QueueId,
    /// Until what was bound there before leaves room.
    pub behind: f64,
    /// Until the batch system starts it.
    pub wait: Estimate,
    /// Until its inputs are there, from when the links are free.
    pub transfer: Estimate,
    /// Until the links are free.
    pub blocked: f64,
    /// Hosts that inputs come from.
    pub from: Hosts,
    /// Bytes that come.
    pub moved: f64,
    /// While it runs.
    pub run: Estimate,
    /// What counts against the host for what is not sure.
    pub penalty: f64,
    /// All of that.
    pub total: f64,
    /// What the policy counts before that.
    first: f64,
}

/// A task that was bound to a host and is not over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// Cores.
    pub cpus: u32,
    /// The queue.
    pub queue: QueueId,
    /// Seconds that it was expected to run.
    pub expected: f64,
    /// When it was bound.
    pub since: Timestamp,
    /// When it started.
    pub started: Option<Timestamp>,
}

#[derive(Clone, Debug, Default)]
struct Site {
    facts: Option<SiteFacts>,
    /// Cores of what is bound and not over.
    cores: u32,
    /// Core-seconds that it was expected to take.
    work: f64,
    /// Cores of what has started, and the sum of its starts, each times its cores.
    running: (u32, f64),
    /// When its link is free.
    link_free: f64,
    /// Seconds that what ended here was expected to take, that it took, and how many there were.
    seen: (f64, f64, u32),
    /// Core-seconds ever bound here.
    given: f64,
    waits: VecDeque<(QueueId, f64)>,
    /// How long its batch system expects what waits there to wait.
    expected: VecDeque<(JobKey, QueueId, f64)>,
    /// What waits in its queues.
    queued: BTreeSet<(QueueId, Timestamp, JobKey)>,
    /// Its queues by their numbers.
    names: Vec<String>,
    /// What was foretold of a queue for so many cores and seconds, as powers of two, and when.
    foretold: HashMap<(QueueId, u32, i32), (f64, Option<Estimate>)>,
    /// Core-seconds of what would go here and has to wait for room, in this round.
    held: f64,
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

    fn site(&self, host: HostId) -> Option<&Site> {
        self.sites.get(host.index())
    }

    /// Takes what is known of a host.
    pub fn set(&mut self, host: HostId, facts: SiteFacts) {
        self.of(host).facts = Some(facts);
    }

    /// Takes how files come from one host to another.
    pub fn set_way(&mut self, from: HostId, to: HostId, link: Link) {
        self.ways.insert((from, to), link);
    }

    /// Takes how fast files came from one host to another.
    pub fn measured(&mut self, from: HostId, to: HostId, rate: f64) {
        let rate = Estimate { low: rate * 0.5, middle: rate, high: rate * 1.5, source: Source::Measured(1) };
        for ends in [(from, to), (to, from)] {
            if let Some(link) = self.ways.get_mut(&ends) {
                link.rate = rate;
            }
        }
    }

    /// Returns the number of a queue of a host.
    pub fn queue(&mut self, host: HostId, name: Option<&str>) -> QueueId {
        let (name, names) = (name?, &mut self.of(host).names);
        let known = names.iter().position(|known| known == name);
        let at = known.unwrap_or_else(|| {
            names.push(name.to_owned());
            names.len() - 1
        });
        u16::try_from(at).ok()
    }

    /// Returns a host's name.
    pub fn name(&self, host: HostId) -> Option<&HostName> {
        Some(&self.site(host)?.facts.as_ref()?.name)
    }

    /// Begins a round of choices: what had to wait in the last one is weighed again.
    pub fn begin(&mut self) {
        for site in &mut self.sites {
            site.held = 0.0;
        }
    }

    /// Returns how many times longer a host takes than was thought.
    pub fn slowness(&self, host: HostId) -> f64 {
        let Some(Site { seen: (expected, took, n), .. }) = self.site(host) else { return 1.0 };
        if *n == 0 || *expected <= 0.0 {
            return 1.0;
        }
        let prior = PRIOR * expected / f64::from(*n);
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
        let slots = f64::from(facts.slots.max(1));
        let now = seconds(now);
        let (mut transfer, mut moved, mut blocked, mut from) = (Estimate::ZERO, 0.0, 0.0_f64, Hosts::default());
        for &(bytes, at) in want.inputs.iter().filter(|(_, at)| !at.has(host) && !at.is_empty()) {
            let ways = at.iter().filter_map(|source| Some((source, self.ways.get(&(source, host))?)));
            let costs = ways
                .map(|(source, link)| (source, link.rate.to_get_through(bytes).plus(&Estimate::known(link.latency))));
            let (source, cost) = costs.min_by(|a, b| a.1.middle.total_cmp(&b.1.middle))?;
            let free = self.site(source).map_or(0.0, |site| site.link_free).max(site.link_free);
            blocked = blocked.max(free - now);
            from = from.and(Hosts::one(source));
            transfer = transfer.plus(&cost);
            moved += bytes;
        }
        if let Some((bytes, at)) = want.image
            && !at.has(host)
            // What this machine has nobody looked at.
            && host != HostId::LOCAL
        {
            transfer = transfer.plus(&Estimate::pulling(bytes));
            moved += bytes;
        }
        let is_full = site.cores + want.cpus > facts.slots.max(1);
        let behind = if is_full || site.held > 0.0 { (site.left(now) + site.held) / slots } else { 0.0 };
        let run = run.times(self.slowness(host));
        let sure = queued.plus(&transfer).plus(&run);
        let total = behind.max(blocked + transfer.middle) + queued.middle + run.middle;
        let penalty = (sure.high - sure.middle) * RISK;
        let first = match want.policy {
            Policy::Fastest => 0.0,
            Policy::Locality => moved,
            Policy::Cheapest => facts.rate * run.middle * f64::from(want.cpus) / 3600.0,
            Policy::Spread => (site.given + site.held) / slots,
        };
        Some(Sheet {
            host,
            queue,
            behind,
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

    /// Returns whether a host takes what was weighed now; else it waits for it.
    pub fn has_room(&self, want: &Want, sheet: &Sheet) -> bool {
        let Some(site) = self.site(sheet.host) else { return false };
        let Some(facts) = site.facts.as_ref() else { return false };
        let most = most(facts);
        let most = if sheet.run.middle < SHORT { most.saturating_add(SHORT_AHEAD) } else { most };
        // What is larger than the host is thought to be has it alone.
        site.cores == 0 || site.cores + want.cpus <= most
    }

    /// Returns the hosts that are known.
    pub fn hosts(&self) -> impl Iterator<Item = HostId> {
        let known = self.sites.iter().zip(0..).filter(|(site, _)| site.facts.is_some());
        known.map(|(_, number)| HostId(number))
    }

    /// Returns whether a host has a core for another task.
    pub fn is_open(&self, host: HostId) -> bool {
        let site = self.site(host);
        site.is_some_and(|site| site.facts.as_ref().is_some_and(|facts| site.cores < most(facts)))
    }

    /// Notes that a task waits for a host.
    pub fn hold(&mut self, want: &Want, sheet: &Sheet) {
        self.of(sheet.host).held += sheet.run.middle * f64::from(want.cpus);
    }

    /// Binds a task to a host.
    pub fn bind(&mut self, want: &Want, sheet: &Sheet, key: JobKey, now: Timestamp) -> Bound {
        let until = seconds(now) + sheet.blocked + sheet.transfer.middle;
        if sheet.moved > 0.0 {
            // One transfer at a time on a link: the next one begins when this one is done.
            for host in sheet.from.and(Hosts::one(sheet.host)).iter().filter(|host| *host != HostId::LOCAL) {
                let site = self.of(host);
                site.link_free = site.link_free.max(until);
            }
        }
        let (cpus, queue) = (want.cpus, sheet.queue);
        let bound = Bound { cpus, queue, expected: sheet.run.middle, since: now, started: None };
        let work = bound.expected * f64::from(bound.cpus);
        self.of(sheet.host).given += work;
        self.again(sheet.host, bound, key);
        bound
    }

    /// Counts what is bound to a host already: found again after a restart.
    pub fn again(&mut self, host: HostId, bound: Bound, key: JobKey) {
        let site = self.of(host);
        site.cores += bound.cpus;
        site.work += bound.expected * f64::from(bound.cpus);
        if site.facts.as_ref().is_some_and(|facts| facts.is_batch) {
            site.queued.insert((bound.queue, bound.since, key));
        }
    }

    /// Takes in when its batch system expects to start a task.
    pub fn expected(&mut self, host: HostId, bound: Bound, key: JobKey, at: Timestamp) {
        let site = self.of(host);
        site.expected.retain(|(of, ..)| *of != key);
        if site.expected.len() >= EXPECTED {
            site.expected.pop_front();
        }
        site.expected.push_back((key, bound.queue, (seconds(at) - seconds(bound.since)).max(0.0)));
    }

    /// Takes in that a task started.
    pub fn started(&mut self, host: HostId, bound: &mut Bound, key: JobKey, at: Timestamp) {
        if bound.started.is_some() {
            return;
        }
        bound.started = Some(at);
        let site = self.of(host);
        site.running.0 += bound.cpus;
        site.running.1 += seconds(at) * f64::from(bound.cpus);
        site.expected.retain(|(of, ..)| *of != key);
        if site.queued.remove(&(bound.queue, bound.since, key)) {
            site.waits.push_back((bound.queue, (seconds(at) - seconds(bound.since)).max(0.0)));
            if site.waits.len() > WAITS.0 {
                site.waits.pop_front();
            }
        }
    }

    /// Takes in that a task is over, which ran for so many seconds, when it ran to its end.
    pub fn over(&mut self, host: HostId, bound: Bound, key: JobKey, ran: Option<f64>) {
        let site = self.of(host);
        site.expected.retain(|(of, ..)| *of != key);
        site.queued.remove(&(bound.queue, bound.since, key));
        site.cores = site.cores.saturating_sub(bound.cpus);
        site.work = (site.work - bound.expected * f64::from(bound.cpus)).max(0.0);
        if let Some(started) = bound.started {
            site.running.0 = site.running.0.saturating_sub(bound.cpus);
            site.running.1 -= seconds(started) * f64::from(bound.cpus);
        }
        if let Some(ran) = ran {
            site.seen.0 += bound.expected;
            site.seen.1 += ran;
            site.seen.2 += 1;
        }
    }

    /// Returns a sheet as it is shown and kept.
    pub fn terms(&self, sheet: &Sheet) -> Option<Terms> {
        let transfer = sheet.transfer.plus(&Estimate::known(sheet.blocked));
        Some(Terms {
            host: self.name(sheet.host)?.clone(),
            partition: sheet.queue.and_then(|at| self.site(sheet.host)?.names.get(usize::from(at)).cloned()),
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

impl Sheet {
    /// Returns whether this host is the better one; of two alike the first by number.
    pub fn is_better_than(&self, other: &Self) -> bool {
        let order = self.first.total_cmp(&other.first).then(self.total.total_cmp(&other.total));
        order.then(self.host.cmp(&other.host)).is_lt()
    }
}

impl Site {
    /// Returns the core-seconds that are left of what is bound.
    fn left(&self, now: f64) -> f64 {
        let done = f64::from(self.running.0).mul_add(now, -self.running.1);
        // What takes longer than expected is thought to end soon, and never to be over.
        (self.work - done).max(self.work * 0.05)
    }

    /// Returns how long a queue makes a job wait; nothing where there is none.
    fn foretell(&mut self, queue: QueueId, want: &Want, now: f64) -> Estimate {
        let Some(facts) = self.facts.as_ref().filter(|facts| facts.is_batch) else { return Estimate::ZERO };
        let key = (queue, want.cpus.max(1).ilog2(), want.asked.max(1.0).log2() as i32);
        let kept = self.foretold.get(&key).filter(|(at, _)| (0.0..STALE).contains(&(now - at)));
        let known = if let Some((_, known)) = kept {
            *known
        } else {
            let name = queue.and_then(|queue| self.names.get(usize::from(queue))).map(String::as_str);
            let known = facts.queues.estimate(name, now, want.cpus, want.asked);
            self.foretold.insert(key, (now, known));
            known
        };
        self.wait(queue, known.unwrap_or(facts.wait), now)
    }

    /// Brings in what the batch system expects of those that wait in a queue: all that is known where the rest is a guess, a part
    /// of it else.
    fn told(&self, queue: QueueId, known: Estimate) -> Estimate {
        let mut all: Vec<f64> =
            self.expected.iter().filter(|(_, of, _)| *of == queue).map(|(.., wait)| *wait).collect();
        let Some(told) = Estimate::of_seen(&mut all, Source::Measured) else { return known };
        if known.source == Source::Guessed {
            return Estimate { low: told.low * EARLIER, high: told.high * LATER, ..told };
        }
        // As factors: a minute more is much of a minute and little of a day.
        let middle = (known.middle + 1.0).powf(1.0 - BELIEVED) * (told.middle + 1.0).powf(BELIEVED) - 1.0;
        Estimate { low: known.low.min(middle), middle, high: known.high.max(middle), source: known.source }
    }

    /// Returns how long a queue makes jobs wait: as was seen lately, and no less than what waits there now has waited.
    fn wait(&self, queue: QueueId, known: Estimate, now: f64) -> Estimate {
        let mut lately: Vec<f64> = Vec::new();
        lately.extend(self.waits.iter().filter(|(of, _)| *of == queue).map(|(_, seconds)| *seconds));
        let wait = if lately.len() >= WAITS.1 { Estimate::of_seen(&mut lately, Source::Learned) } else { None };
        let wait = self.told(queue, wait.unwrap_or(known));
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

/// Returns how many cores may be bound to a host at once.
fn most(facts: &SiteFacts) -> u32 {
    let slots = facts.slots.max(1);
    if facts.is_batch { slots.saturating_mul(AHEAD) } else { slots }
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
