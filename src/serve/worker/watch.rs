//! The watch: a thread that looks at jobs older than 50 ms: tells the engine that they run, puts their logs where they can be
//! followed, ends those that are over a limit. Asleep while nothing runs.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::model::id::JobKey;
use crate::model::job::News;
use crate::model::units::{Bytes, Walltime};
use crate::reach::executor::wire::Limits;
use crate::reach::machine::cgroup::Group;
use crate::reach::machine::processes;

use super::running::{Control, Running, Why};
use super::shop::Shop;

/// Jobs that end sooner are not looked at.
pub(super) const YOUNG: Duration = Duration::from_millis(50);
/// Longest time between two looks at a job.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// The same where memory is enforced.
const PAUSE_ENFORCED: Duration = Duration::from_millis(250);
/// Time between two attempts to kill what does not go.
const KILL_AGAIN: Duration = Duration::from_secs(1);

/// When the watch looks next.
#[derive(Debug, Default)]
pub(super) struct Watch {
    next: Mutex<Option<Instant>>,
    wake: Condvar,
}

impl Watch {
    /// Makes sure that it looks no later than this.
    pub(super) fn expect(&self, at: Instant) {
        let mut next = self.lock();
        if next.is_none_or(|next| next > at) {
            *next = Some(at);
            self.wake.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is time to look.
    fn rest(&self) {
        let mut next = self.lock();
        loop {
            let now = Instant::now();
            next = match *next {
                Some(at) if at <= now => break,
                Some(at) => self.wake.wait_timeout(next, at - now).unwrap_or_else(PoisonError::into_inner).0,
                None => self.wake.wait(next).unwrap_or_else(PoisonError::into_inner),
            };
        }
        // Jobs that start during the look ask for another.
        *next = None;
    }
}

/// Looks at jobs for as long as the process lives.
pub(super) fn work(shop: &Shop) {
    loop {
        shop.watch.rest();
        let (running, limits) = {
            let office = shop.office();
            (office.desk.running().to_vec(), *office.desk.limits())
        };
        let now = Instant::now();
        let mut round = Round { shop, limits, now, orphans: shop.strays.by_job(), news: Vec::new() };
        let next = running.iter().map(|job| round.look(job)).min();
        if !round.news.is_empty() {
            tell(shop, &round.news);
        }
        if let Some(next) = next {
            shop.watch.expect(next);
        }
    }
}

fn tell(shop: &Shop, news: &[News]) {
    let mut office = shop.office();
    for started in news {
        // It may have ended meanwhile; then its ending went out first, and says when it started.
        if matches!(started, News::Started { key, .. } if office.desk.is_running(*key)) {
            Shop::tell(&mut office, started);
        }
    }
    if let Some(link) = &mut office.link {
        link.flush(&shop.bell);
    }
}

/// One look at everything.
struct Round<'a> {
    shop: &'a Shop,
    limits: Limits,
    now: Instant,
    /// Processes that lost their parent and belong to jobs.
    orphans: HashMap<JobKey, Vec<Pid>>,
    news: Vec<News>,
}

impl Round<'_> {
    /// Looks at one job; returns when to look again.
    fn look(&mut self, running: &Running) -> Instant {
        let now = self.now;
        let mut control = running.control();
        let (Some((since, at)), Some(pid)) = (control.since, control.pid) else {
            // About to start, or ending: whoever does it calls again.
            return now + PAUSE_MAX;
        };
        if now < since + YOUNG && control.kill_at.is_none() {
            return since + YOUNG;
        }
        if !control.announced {
            control.announced = true;
            self.news.push(News::Started { key: running.job.key, at });
            publish(self.shop, running, &mut control);
        }
        if control.look_at.is_none_or(|at| at <= now) {
            let pause = self.measure(running, &mut control, pid);
            control.look_at = Some(now + pause);
        }
        let grace = Duration::from_millis(self.limits.grace_ms);
        let limit = enforce(running, &mut control, since, now, grace);
        control.look_at.into_iter().chain(limit).min().unwrap_or(now + PAUSE_MAX)
    }

    /// Looks at what a job uses, and ends it when that is too much; returns for how long that will do.
    fn measure(&mut self, running: &Running, control: &mut Control, pid: Pid) -> Duration {
        let (mem, is_limited) = (running.job.grant.mem, running.job.grant.is_limited());
        let orphans = self.orphans.remove(&running.job.key).unwrap_or_default();
        if let Some(Bytes(used)) = control.group.as_ref().and_then(Group::used) {
            control.memory.saw(used);
        } else {
            let tree = processes::tree(orphans.into_iter().chain([pid]));
            control.memory.look(&tree, is_limited.then_some(mem.0), self.now);
        }
        if is_limited && control.memory.peak().is_some_and(|peak| peak > mem.0) && control.why.is_none() {
            control.end(Why::Oom, Duration::ZERO);
        }
        let longest = if is_limited { PAUSE_ENFORCED } else { PAUSE_MAX };
        control.pause = (control.pause * 3 / 2).clamp(YOUNG, longest);
        match control.logs.as_mut().map(|logs| logs.limit(self.limits.log.0, self.now)) {
            Some(Ok(Some(soon))) => soon.min(control.pause),
            Some(Err(message)) if control.why.is_none() => {
                control.end(Why::Limit(message), Duration::ZERO);
                control.pause
            }
            _ => control.pause,
        }
    }
}

fn publish(shop: &Shop, running: &Running, control: &mut Control) {
    let Some(logs) = &mut control.logs else { return };
    if let Err(error) = logs.publish(&shop.state, running.job.key) {
        // Tried again at the end, where it leaves a note.
        tracing::warn!(key = %running.job.key, %error, "cannot put a log in its place");
    }
}

/// Sends the signals that are due; returns when the next one is.
fn enforce(running: &Running, control: &mut Control, since: Instant, now: Instant, grace: Duration) -> Option<Instant> {
    if let Some(kill_at) = control.kill_at {
        if kill_at <= now {
            control.signal(Signal::KILL);
            control.kill_at = Some(now + KILL_AGAIN);
        }
        return control.kill_at;
    }
    let Walltime(seconds) = running.job.grant.time?;
    // Beyond what a clock can say there is no limit.
    let deadline = since.checked_add(Duration::from_secs(seconds))?;
    if deadline <= now {
        control.end(Why::Timeout, grace);
        return control.kill_at;
    }
    let Some((signal, before)) = running.job.checkpoint.filter(|_| !control.checkpointed) else {
        return Some(deadline);
    };
    let at = deadline.checked_sub(Duration::from_secs(before)).unwrap_or(since).max(since);
    if at > now {
        return Some(at);
    }
    control.checkpointed = true;
    match Signal::from_named_raw(signal) {
        Some(signal) => control.signal(signal),
        None => control.notes.push(format!("the checkpoint signal {signal} does not exist")),
    }
    Some(deadline)
}
