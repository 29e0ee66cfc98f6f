//! What is to be placed, and over what.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::model::choice::Policy;

/// Cores, memory and GPUs: what a host has, what is free of it, or what a task needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Cores.
    pub cores: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// GPUs.
    pub gpus: u32,
}

impl Room {
    /// Makes room of that many cores, with memory that never runs short.
    pub const fn cores(cores: u32) -> Self {
        Self { cores, memory: 0, gpus: 0 }
    }

    /// Returns whether there is as much in `free`.
    pub const fn fits(self, free: Self) -> bool {
        self.cores <= free.cores && self.memory <= free.memory && self.gpus <= free.gpus
    }

    /// Returns what is left when that much is taken.
    #[must_use]
    pub const fn less(self, taken: Self) -> Self {
        Self {
            cores: self.cores.saturating_sub(taken.cores),
            memory: self.memory.saturating_sub(taken.memory),
            gpus: self.gpus.saturating_sub(taken.gpus),
        }
    }
}

/// What a batch system makes tasks wait.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Wait {
    /// Nothing: a machine of one's own.
    #[default]
    None,
    /// That many seconds once, after which its room stays ours: an allocation that holds many tasks.
    Once(f64),
    /// That many seconds for each task, from when its inputs are there: a job each.
    Each(f64),
}

/// A host that tasks may run on.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// What it has.
    pub room: Room,
    /// How many times faster than the host that run times are told for.
    pub speed: f64,
    /// Its queue.
    pub wait: Wait,
    /// What a core costs per hour, in whatever people count in; zero where that is not known.
    pub rate: f64,
}

/// How files come from one host to another.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Path {
    /// The links that a transfer holds all along, by number. None: transfers do not get in each other's way.
    pub links: Vec<u32>,
    /// Seconds before the first byte comes.
    pub latency: f64,
    /// Seconds a byte, of the slowest link.
    pub per_byte: f64,
}

/// The hosts and what is between them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Network {
    /// The hosts.
    pub sites: Vec<Site>,
    /// For each host in turn, the ways from it to every host; none where there is no way. Nobody asks for the way to oneself.
    pub paths: Vec<Option<Path>>,
    /// How many links there are.
    pub links: usize,
}

impl Network {
    /// Returns the way from one host to another.
    pub fn path(&self, from: usize, to: usize) -> Option<&Path> {
        self.paths.get(from * self.sites.len() + to).and_then(Option::as_ref)
    }
}

/// A task.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    /// Seconds that it runs on a host of speed one.
    pub seconds: f64,
    /// What it needs.
    pub room: Room,
    /// Files that it reads.
    pub inputs: Vec<u32>,
    /// Files that it makes.
    pub outputs: Vec<u32>,
    /// Tasks that must be over before it starts.
    pub after: Vec<u32>,
    /// Where it may run; all hosts that have room when empty.
    pub only: Vec<u16>,
    /// What counts for it, where that is not what counts for all.
    pub policy: Option<Policy>,
    /// Seconds that a batch system makes it wait on each host, where that is not what the host says: in the queue that it goes to.
    pub waits: Option<Arc<[f64]>>,
}

/// A file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct File {
    /// Its size.
    pub bytes: f64,
    /// Where copies of it are before anything runs.
    pub at: Vec<u16>,
}

/// Why something cannot be planned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProblemError {
    /// Task and number of a file, task or host that is not there.
    #[error("task {task} names {what} {number}, which is not there")]
    Unknown {
        /// The task.
        task: usize,
        /// What kind of thing.
        what: &'static str,
        /// Its number.
        number: u32,
    },
    /// There is no order.
    #[error("tasks wait for each other in a circle")]
    Cycle,
    /// No host can run it.
    #[error("no host has the room that task {task} needs")]
    NoSite {
        /// The task.
        task: usize,
    },
    /// A number that means nothing: negative, infinite, or not one.
    #[error("{what} {number} has a size, speed, rate or time that is no number from zero on")]
    NoNumber {
        /// What kind of thing.
        what: &'static str,
        /// Its number.
        number: usize,
    },
}

/// Work and network, checked, with what every plan needs worked out once.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Hosts and links.
    pub network: Network,
    /// The tasks.
    pub tasks: Vec<Work>,
    /// The files.
    pub files: Vec<File>,
    /// Tasks in an order in which none comes before what it waits for; ties by number.
    pub order: Vec<u32>,
    children: Vec<u32>,
    first_child: Vec<u32>,
    edge_bytes: Vec<f64>,
    allowed: Vec<u16>,
    first_allowed: Vec<u32>,
}

impl Problem {
    /// Checks and prepares. Inputs are put in the order in which they are fetched, the largest first.
    ///
    /// # Errors
    /// When numbers point nowhere or mean nothing, tasks wait for each other in a circle, or one can run nowhere.
    pub fn new(network: Network, mut tasks: Vec<Work>, files: Vec<File>) -> Result<Self, ProblemError> {
        check_numbers(&network, &tasks, &files)?;
        check_references(&network, &tasks, &files)?;
        for task in &mut tasks {
            let bytes = |file: &u32| files.get(*file as usize).map_or(0.0, |file| file.bytes);
            task.inputs.sort_by(|a, b| bytes(b).total_cmp(&bytes(a)));
        }
        let (first_child, children) = children(&tasks);
        let order = order(&tasks, &first_child, &children)?;
        let edge_bytes = edge_bytes(&tasks, &files, &first_child, &children);
        let mut allowed = Vec::new();
        let mut first_allowed = vec![0];
        for (number, task) in tasks.iter().enumerate() {
            let before = allowed.len();
            for (at, site) in (0_u16..).zip(&network.sites) {
                if task.room.fits(site.room) && (task.only.is_empty() || task.only.contains(&at)) {
                    allowed.push(at);
                }
            }
            if allowed.len() == before {
                return Err(ProblemError::NoSite { task: number });
            }
            first_allowed.push(allowed.len() as u32);
        }
        Ok(Self { network, tasks, files, order, children, first_child, edge_bytes, allowed, first_allowed })
    }

    /// Returns the tasks that wait for this one, with the bytes of the files that they read of it.
    pub fn children(&self, task: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let range = range(&self.first_child, task);
        let children = self.children.get(range.clone()).unwrap_or_default();
        let bytes = self.edge_bytes.get(range).unwrap_or_default();
        children.iter().map(|&child| child as usize).zip(bytes.iter().copied())
    }

    /// Returns the hosts that a task may run on.
    pub fn allowed(&self, task: usize) -> &[u16] {
        self.allowed.get(range(&self.first_allowed, task)).unwrap_or_default()
    }

    /// Returns the task.
    ///
    /// # Panics
    /// Never for the number of a task.
    #[expect(clippy::indexing_slicing, reason = "numbers were checked")]
    pub fn task(&self, task: usize) -> &Work {
        &self.tasks[task]
    }

    /// Returns a time that no plan can beat: all work spread over all cores at their speeds, or the longest chain on the
    /// fastest host that may run each task.
    pub fn lower_bound(&self) -> f64 {
        let power: f64 = self.network.sites.iter().map(|site| site.speed * f64::from(site.room.cores)).sum();
        let total: f64 = self.tasks.iter().map(|task| task.seconds * f64::from(task.room.cores)).sum();
        let mut ends = vec![0.0_f64; self.tasks.len()];
        let mut longest = 0.0_f64;
        for &number in &self.order {
            let task = self.task(number as usize);
            let speeds = self.allowed(number as usize).iter().map(|&at| self.speed(at));
            let fastest = speeds.fold(f64::MIN_POSITIVE, f64::max);
            let after = task.after.iter().filter_map(|&before| ends.get(before as usize));
            let end = after.fold(0.0, |latest: f64, &end| latest.max(end)) + task.seconds / fastest;
            if let Some(slot) = ends.get_mut(number as usize) {
                *slot = end;
            }
            longest = longest.max(end);
        }
        longest.max(if power > 0.0 { total / power } else { 0.0 })
    }

    /// Returns how fast a host is.
    pub fn speed(&self, site: u16) -> f64 {
        self.network.sites.get(usize::from(site)).map_or(1.0, |site| site.speed)
    }
}

fn range(first: &[u32], at: usize) -> std::ops::Range<usize> {
    let bound = |at: usize| first.get(at).map_or(0, |&bound| bound as usize);
    bound(at)..bound(at + 1)
}

fn check_numbers(network: &Network, tasks: &[Work], files: &[File]) -> Result<(), ProblemError> {
    let good = |number: f64| number.is_finite() && number >= 0.0;
    let wait = |wait: Wait| match wait {
        Wait::None => 0.0,
        Wait::Once(seconds) | Wait::Each(seconds) => seconds,
    };
    let bad_site = network
        .sites
        .iter()
        .position(|site| !(good(site.speed) && site.speed > 0.0 && good(site.rate) && good(wait(site.wait))));
    let bad_path = network
        .paths
        .iter()
        .position(|path| path.as_ref().is_some_and(|path| !(good(path.latency) && good(path.per_byte))));
    let bad_wait = |task: &Work| task.waits.as_ref().is_some_and(|waits| !waits.iter().all(|&wait| good(wait)));
    let bad_task = tasks.iter().position(|task| !good(task.seconds) || bad_wait(task));
    let bad_file = files.iter().position(|file| !good(file.bytes));
    for (what, bad) in [("host", bad_site), ("path", bad_path), ("task", bad_task), ("file", bad_file)] {
        if let Some(number) = bad {
            return Err(ProblemError::NoNumber { what, number });
        }
    }
    Ok(())
}

fn check_references(network: &Network, tasks: &[Work], files: &[File]) -> Result<(), ProblemError> {
    for (number, task) in tasks.iter().enumerate() {
        let file = task.inputs.iter().chain(&task.outputs).find(|&&file| file as usize >= files.len());
        let before = task.after.iter().find(|&&before| before as usize >= tasks.len());
        let site = task.only.iter().find(|&&site| usize::from(site) >= network.sites.len());
        let site = site.map(|&site| u32::from(site));
        for (what, found) in [("file", file.copied()), ("task", before.copied()), ("host", site)] {
            if let Some(unknown) = found {
                return Err(ProblemError::Unknown { task: number, what, number: unknown });
            }
        }
    }
    Ok(())
}

/// Returns, as a list per task in one vector, who waits for each task.
fn children(tasks: &[Work]) -> (Vec<u32>, Vec<u32>) {
    let mut first = vec![0_u32; tasks.len() + 1];
    for &before in tasks.iter().flat_map(|task| &task.after) {
        if let Some(count) = first.get_mut(before as usize + 1) {
            *count += 1;
        }
    }
    let mut sum = 0;
    for count in &mut first {
        sum += *count;
        *count = sum;
    }
    let mut next = first.clone();
    let mut children = vec![0_u32; sum as usize];
    for (number, task) in (0_u32..).zip(tasks) {
        for &before in &task.after {
            let Some(at) = next.get_mut(before as usize) else { continue };
            if let Some(slot) = children.get_mut(*at as usize) {
                *slot = number;
            }
            *at += 1;
        }
    }
    (first, children)
}

fn order(tasks: &[Work], first: &[u32], children: &[u32]) -> Result<Vec<u32>, ProblemError> {
    let mut waits: Vec<usize> = tasks.iter().map(|task| task.after.len()).collect();
    let ready = (0_u32..).zip(&waits).filter(|&(_, &waits)| waits == 0).map(|(number, _)| Reverse(number));
    let mut ready: BinaryHeap<_> = ready.collect();
    let mut order = Vec::with_capacity(tasks.len());
    while let Some(Reverse(number)) = ready.pop() {
        order.push(number);
        for &child in children.get(range(first, number as usize)).unwrap_or_default() {
            let Some(waits) = waits.get_mut(child as usize) else { continue };
            *waits -= 1;
            if *waits == 0 {
                ready.push(Reverse(child));
            }
        }
    }
    if order.len() == tasks.len() { Ok(order) } else { Err(ProblemError::Cycle) }
}

/// Returns the bytes that pass along each edge. Marks files by the task that reads them, so that the cost is that of the files'
/// lists and not of their product.
fn edge_bytes(tasks: &[Work], files: &[File], first: &[u32], children: &[u32]) -> Vec<f64> {
    let mut bytes = vec![0.0; children.len()];
    let mut maker: Vec<Vec<u32>> = vec![Vec::new(); files.len()];
    for (number, task) in (0_u32..).zip(tasks) {
        for &file in &task.outputs {
            if let Some(makers) = maker.get_mut(file as usize) {
                makers.push(number);
            }
        }
    }
    let mut next: Vec<u32> = first.to_vec();
    let mut from: std::collections::HashMap<u32, f64> = std::collections::HashMap::new();
    // The same order in which `children` was filled.
    for task in tasks {
        from.clear();
        for &file in &task.inputs {
            let size = files.get(file as usize).map_or(0.0, |file| file.bytes);
            for &made_by in maker.get(file as usize).into_iter().flatten() {
                *from.entry(made_by).or_default() += size;
            }
        }
        for &before in &task.after {
            let Some(at) = next.get_mut(before as usize) else { continue };
            if let (Some(slot), Some(size)) = (bytes.get_mut(*at as usize), from.get(&before)) {
                *slot = *size;
            }
            *at += 1;
        }
    }
    bytes
}
