//! What runs where and when, as far as it is decided: bookings of hosts and links, and copies of files.

use crate::decide::place::problem::{Path, Problem, Wait};
use crate::decide::place::profile::Profile;

/// A task's place in a timetable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Booking {
    /// The host.
    pub site: u16,
    /// When its inputs are there.
    pub staged: f64,
    /// When it starts.
    pub start: f64,
    /// When it is over.
    pub end: f64,
}

/// A timetable that grows task by task.
#[derive(Clone, Debug)]
pub struct Timetable<'a> {
    problem: &'a Problem,
    /// Seconds of each task at speed one, as this timetable has it.
    seconds: &'a [f64],
    speeds: Vec<f64>,
    profiles: Vec<Profile>,
    each: Vec<f64>,
    /// How many times as long each task waits as its host says; as long where none is named.
    delays: &'a [f64],
    copies: Vec<Vec<(u16, f64)>>,
    links: Vec<f64>,
    bookings: Vec<Option<Booking>>,
    /// No transfer begins before.
    now: f64,
    moved: f64,
    end: f64,
    /// Links as they were before a trial.
    undo: Vec<(u32, f64)>,
    arrivals: Vec<(u32, f64)>,
}

impl<'a> Timetable<'a> {
    /// Makes an empty timetable for tasks that run for `seconds` on a host of speed one.
    pub fn new(problem: &'a Problem, seconds: &'a [f64]) -> Self {
        let sites = &problem.network.sites;
        let opens = |wait| if let Wait::Once(seconds) = wait { seconds } else { 0.0 };
        let each = |wait| if let Wait::Each(seconds) = wait { seconds } else { 0.0 };
        Self {
            problem,
            seconds,
            speeds: sites.iter().map(|site| site.speed).collect(),
            profiles: sites.iter().map(|site| Profile::new(opens(site.wait), site.room)).collect(),
            each: sites.iter().map(|site| each(site.wait)).collect(),
            delays: &[],
            copies: problem.files.iter().map(|file| file.at.iter().map(|&at| (at, 0.0)).collect()).collect(),
            links: vec![0.0; problem.network.links],
            bookings: vec![None; problem.tasks.len()],
            now: 0.0,
            moved: 0.0,
            end: 0.0,
            undo: Vec::new(),
            arrivals: Vec::new(),
        }
    }

    /// Has hosts of other speeds than the problem says: what somebody believes.
    #[must_use]
    pub fn at_speeds(mut self, speeds: &[f64]) -> Self {
        self.speeds = speeds.to_vec();
        self
    }

    /// Has each task wait so many times as long in queues as their hosts say: what chance brings.
    #[must_use]
    pub const fn delayed(mut self, factors: &'a [f64]) -> Self {
        self.delays = factors;
        self
    }

    /// Has a host run nothing for some time; for one that opens later, nothing changes before.
    pub fn close(&mut self, site: u16, from: f64, seconds: f64) {
        let room = self.problem.network.sites.get(usize::from(site)).map(|site| site.room);
        if let (Some(profile), Some(room)) = (self.profiles.get_mut(usize::from(site)), room) {
            profile.take(from, seconds, room);
        }
    }

    /// Lets time pass: no transfer begins before.
    pub const fn set_now(&mut self, now: f64) {
        self.now = now;
    }

    /// Returns where a task is booked.
    pub fn booking(&self, task: usize) -> Option<Booking> {
        self.bookings.get(task).copied().flatten()
    }

    /// Returns when the last booked task is over.
    pub const fn end(&self) -> f64 {
        self.end
    }

    /// Returns the bytes that are moved between hosts.
    pub const fn moved(&self) -> f64 {
        self.moved
    }

    /// Returns how long a task runs on a host.
    pub fn duration(&self, task: usize, site: u16) -> f64 {
        let seconds = self.seconds.get(task).copied().unwrap_or_default();
        seconds / self.speeds.get(usize::from(site)).copied().unwrap_or(1.0)
    }

    /// Returns how long a batch system makes a task wait on a host.
    pub fn wait(&self, task: usize, site: u16) -> f64 {
        let own = self.problem.task(task).waits.as_ref().and_then(|waits| waits.get(usize::from(site)));
        own.or_else(|| self.each.get(usize::from(site))).copied().unwrap_or_default()
    }

    /// Returns the bytes of a task's inputs that a host has no copy of.
    pub fn missing(&self, task: usize, site: u16) -> f64 {
        let there =
            |file: &u32| self.copies.get(*file as usize).is_some_and(|all| all.iter().any(|&(at, _)| at == site));
        let inputs = self.problem.task(task).inputs.iter();
        inputs.filter(|file| !there(file)).map(|&file| self.bytes(file)).sum()
    }

    /// Returns when all inputs of a task can be on a host: never when there is no way for one.
    pub fn staged(&mut self, task: usize, site: u16) -> f64 {
        let staged = self.stage(task, site);
        while let Some((link, until)) = self.undo.pop() {
            if let Some(slot) = self.links.get_mut(link as usize) {
                *slot = until;
            }
        }
        staged
    }

    /// Returns how a task would be booked on a host.
    pub fn trial(&mut self, task: usize, site: u16) -> Booking {
        let staged = self.staged(task, site);
        self.book(task, site, staged)
    }

    /// Books a task on a host, with the transfers of its inputs.
    pub fn commit(&mut self, task: usize, site: u16) -> Booking {
        let staged = self.fetch(task, site);
        let booking = self.book(task, site, staged);
        let room = self.problem.task(task).room;
        if let Some(profile) = self.profiles.get_mut(usize::from(site)) {
            profile.take(booking.start, booking.end - booking.start, room);
        }
        self.note(task, booking);
        booking
    }

    /// Books the transfers of a task's inputs alone, and returns when they are all there: never when there is no way for one.
    pub fn fetch(&mut self, task: usize, site: u16) -> f64 {
        let staged = self.stage(task, site);
        self.undo.clear();
        for (file, at) in std::mem::take(&mut self.arrivals) {
            self.moved += self.bytes(file);
            if let Some(copies) = self.copies.get_mut(file as usize) {
                copies.push((site, at));
            }
        }
        staged
    }

    /// Takes in where and when a task runs that somebody else found room for: what it makes lies there then.
    pub fn note(&mut self, task: usize, booking: Booking) {
        for &file in &self.problem.task(task).outputs {
            if let Some(copies) = self.copies.get_mut(file as usize) {
                copies.push((booking.site, booking.end));
            }
        }
        if let Some(slot) = self.bookings.get_mut(task) {
            *slot = Some(booking);
        }
        self.end = self.end.max(booking.end);
    }

    fn book(&self, task: usize, site: u16, staged: f64) -> Booking {
        let duration = self.duration(task, site);
        let ready = staged + self.wait(task, site) * self.delays.get(task).copied().unwrap_or(1.0);
        let profile = self.profiles.get(usize::from(site));
        let room = self.problem.task(task).room;
        let start = profile.map_or(f64::INFINITY, |profile| profile.earliest(ready, duration, room));
        Booking { site, staged, start, end: start + duration }
    }

    /// Books the transfers of a task's inputs on links, the largest first; `undo` takes that back, `arrivals` says when they
    /// come.
    fn stage(&mut self, task: usize, site: u16) -> f64 {
        self.undo.clear();
        self.arrivals.clear();
        let problem = self.problem;
        let work = problem.task(task);
        let over = work.after.iter().filter_map(|&before| self.booking(before as usize));
        let mut staged = over.fold(self.now, |latest, before| latest.max(before.end));
        for &file in &work.inputs {
            let Some(copies) = self.copies.get(file as usize) else { continue };
            if let Some(&(_, at)) = copies.iter().find(|&&(at, _)| at == site) {
                staged = staged.max(at);
                continue;
            }
            // Nobody has it yet and nobody makes it: it is no file to wait for.
            if copies.is_empty() {
                continue;
            }
            let ways = copies.iter().filter_map(|&(from, at)| {
                let path = problem.network.path(usize::from(from), usize::from(site))?;
                Some((self.arrival(path, file, at), path))
            });
            // What is never made holds no link.
            let ways = ways.filter(|(arrival, _)| arrival.is_finite());
            let Some((arrival, path)) = ways.min_by(|a, b| a.0.total_cmp(&b.0)) else { return f64::INFINITY };
            for &link in &path.links {
                if let Some(until) = self.links.get_mut(link as usize) {
                    self.undo.push((link, *until));
                    *until = arrival;
                }
            }
            self.arrivals.push((file, arrival));
            staged = staged.max(arrival);
        }
        staged
    }

    fn arrival(&self, path: &Path, file: u32, from: f64) -> f64 {
        let busy = path.links.iter().filter_map(|&link| self.links.get(link as usize));
        let start = busy.fold(from.max(self.now), |latest, &until| latest.max(until));
        start + path.latency + self.bytes(file) * path.per_byte
    }

    fn bytes(&self, file: u32) -> f64 {
        self.problem.files.get(file as usize).map_or(0.0, |file| file.bytes)
    }
}
