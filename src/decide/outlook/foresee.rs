//! What an attempt will need on a host, by what was learned.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::decide::graph::estimate::{Estimate, Source};
use crate::decide::graph::queues::UNKNOWN_LIMIT;
use crate::decide::learn::grain::MEBIBYTE;
use crate::decide::learn::profile::{Prediction, Question, Source as Basis};
use crate::decide::learn::stakes::Caution;
use crate::decide::outlook::board::{Fitting, Want};
use crate::decide::outlook::files::{Files, Hosts};
use crate::decide::outlook::known::Known;
use crate::decide::outlook::limits::Conditions;
use crate::decide::outlook::parts::QueueId;
use crate::language::command::Token;
use crate::model::choice::{Excluded, Policy};
use crate::model::id::{HostId, InstanceId, PathId, TaskId};
use crate::model::plan::Plan;
use crate::model::resources::Request;
use crate::model::units::{Bytes, Walltime};

/// Least memory that is asked for by what was learned: a shell and what watches it have to fit too.
const LEAST: f64 = 64e6;
/// Predictions kept, before all are forgotten.
const MOST_KEPT: usize = 4096;
/// Into how many steps a power of two is divided: of sizes of inputs, and of what is asked for. Jobs that ask for the same go out
/// together.
const STEPS: f64 = 8.0;

/// A task on a host, with the memory and the time that it asks for there by what was learned.
pub type Asking = (TaskId, HostId, Option<Bytes>, Option<Walltime>);

/// Queues of a host that a task fits, the one first that it goes to where nobody chooses.
pub type Queues = Arc<[QueueId]>;

/// How long a task runs of which nobody knows anything.
pub const UNKNOWN_RUN: Estimate = Estimate::guess(1.0, 60.0, 3600.0);

/// What is foreseen of an attempt on a host.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Foresight {
    /// Its memory.
    pub mem: Option<Prediction>,
    /// Its time limit.
    pub time: Option<Prediction>,
    /// The memory that is asked for by that, rounded as far as it costs no more.
    bytes: Option<Bytes>,
    /// The walltime, rounded as far as it starts as soon.
    walltime: Option<Walltime>,
}

impl Foresight {
    /// Returns the memory to ask for.
    pub fn bytes(&self) -> Option<Bytes> {
        self.bytes
    }

    /// Returns the walltime to ask for: whole minutes, which Slurm counts in.
    pub fn walltime(&self) -> Option<Walltime> {
        self.walltime
    }
}

/// Rounds up to an eighth of its power of two, and to a multiple of `grain`.
pub fn coarse(value: f64, grain: f64) -> f64 {
    let step = (value.log2().floor().exp2() / STEPS).max(grain);
    let step = (step / grain).ceil() * grain;
    (value / step).ceil() * step
}

/// What a run's tasks need, as far as it is known, and where their files lie.
#[derive(Clone, Debug, Default)]
pub struct Outlook {
    known: Vec<Option<Arc<Known>>>,
    classes: HashMap<HostId, Token>,
    /// The run's files.
    pub files: Files,
    /// By the conditions there.
    asked: HashMap<(TaskId, HostId, u32), (Conditions, Foresight)>,
    runs: HashMap<(TaskId, HostId, u32), Option<Prediction>>,
    /// Per task that may go to several hosts: those that it fits, as of some version of their rooms.
    fitting: HashMap<TaskId, (u32, Fitting)>,
    /// The queues of a host that a task fits where it asks for so much memory and time, as of some version of their rooms.
    queues: HashMap<Asking, (u32, Queues)>,
    /// Hosts that tasks may not go to, and why: few lists differ.
    excluded: Vec<(Vec<TaskId>, Vec<Excluded>)>,
}

impl Outlook {
    /// Takes what is known of each task in the order of the plan, and the classes of the hosts.
    pub fn new(known: Vec<Option<Arc<Known>>>, classes: HashMap<HostId, Token>, files: Files) -> Self {
        Self { known, classes, files, ..Self::default() }
    }

    /// Takes which hosts some tasks may not go to.
    #[must_use]
    pub fn excluding(mut self, excluded: Vec<(Vec<TaskId>, Vec<Excluded>)>) -> Self {
        self.excluded = excluded;
        self
    }

    /// Returns the hosts that a task may not go to, and why.
    pub fn excluded(&self, task: TaskId) -> &[Excluded] {
        let of = self.excluded.iter().find(|(tasks, _)| tasks.binary_search(&task).is_ok());
        of.map_or(&[], |(_, excluded)| excluded)
    }

    /// Returns the hosts that a task fits, and in which queue, as far as that was found out for this version of their rooms.
    pub fn fitting(&self, task: TaskId, version: u32) -> Option<Fitting> {
        self.fitting.get(&task).filter(|(of, _)| *of == version).map(|(_, hosts)| Arc::clone(hosts))
    }

    /// Keeps the hosts that a task fits.
    pub fn set_fitting(&mut self, task: TaskId, version: u32, hosts: Fitting) {
        self.fitting.insert(task, (version, hosts));
    }

    /// Returns the queues of a host that a task fits, as far as that was found out for this version of their rooms.
    pub fn queues(&self, asking: &Asking, version: u32) -> Option<Queues> {
        self.queues.get(asking).filter(|(of, _)| *of == version).map(|(_, queues)| Arc::clone(queues))
    }

    /// Keeps the queues of a host that a task fits.
    pub fn set_queues(&mut self, asking: Asking, version: u32, queues: Queues) {
        keep(&mut self.queues, asking, (version, queues));
    }

    /// Takes of which class hosts are of which that was not known.
    pub fn classify(&mut self, classes: Vec<(HostId, Token)>) {
        for (host, class) in classes {
            if let Entry::Vacant(slot) = self.classes.entry(host) {
                slot.insert(class);
                self.asked.retain(|(_, of, _), _| *of != host);
                self.runs.retain(|(_, of, _), _| *of != host);
            }
        }
    }

    /// Takes what was learned since.
    pub fn learn(&mut self, task: TaskId, known: Arc<Known>) {
        if let Some(slot) = self.known.get_mut(task.index()) {
            let mut known = known;
            if let Some(before) = slot.as_ref().filter(|before| before.seen.iter().any(|seen| !seen.scale.is_empty())) {
                // How hosts compare is found out once a run.
                for seen in &mut Arc::make_mut(&mut known).seen {
                    let same = before.seen.iter().find(|known| known.class == seen.class);
                    seen.scale = same.map(|same| same.scale.clone()).unwrap_or_default();
                }
            }
            *slot = Some(known);
            self.asked.retain(|(of, ..), _| *of != task);
            self.runs.retain(|(of, ..), _| *of != task);
        }
    }

    /// Returns whether anything is known of a task.
    pub fn knows(&self, task: TaskId) -> bool {
        self.of(task).is_some()
    }

    /// Returns the bytes that an instance reads.
    pub fn input(&self, plan: &Plan, instance: InstanceId) -> f64 {
        self.total(plan.inputs(instance))
    }

    /// Foresees what an instance needs on a host under its conditions; batch systems ask for time too.
    pub fn foresee(&mut self, plan: &Plan, instance: InstanceId, host: HostId, conditions: &Conditions) -> Foresight {
        let task = plan.instance(instance).task;
        let Some(known) = self.of(task).cloned() else { return Foresight::default() };
        let class = self.class(host);
        // Exactly: what is larger than all that was seen is another case.
        let input = self.input(plan, instance);
        let key = (task, host, (input as f32).to_bits());
        if let Some((_, foresight)) = self.asked.get(&key).filter(|(of, _)| of == conditions) {
            return *foresight;
        }
        let Conditions { flavour, waits, grain } = conditions;
        // Where no batch system holds anybody to it, it is kept free, and too little of it is everybody's trouble.
        let caution = if flavour.is_some() { Caution::Balanced } else { Caution::Safe };
        let question = |grain| Question { input, grain, caution };
        // What people commonly ask of a batch system is no measure of what to keep free on a machine of one's own.
        let counts = |found: &Prediction| flavour.is_some() || found.source != Basis::Shipped;
        let mem = known.memory_in(class, question(MEBIBYTE), grain).filter(counts);
        let time = flavour.as_ref().and_then(|_| known.time_limit(class, question(60.0), waits));
        let rounded = |found: Prediction| {
            let request = found.request.max(1.0);
            Walltime(waits.within(request, coarse(request, 60.0)) as u64)
        };
        let bytes = mem.map(|found| Bytes(grain.rounded(found.request.max(LEAST), coarse) as u64));
        let foresight = Foresight { mem, time, bytes, walltime: time.map(rounded) };
        keep(&mut self.asked, key, (conditions.clone(), foresight));
        foresight
    }

    /// Foresees how long an instance runs on a host.
    pub fn run_time(&mut self, plan: &Plan, instance: InstanceId, host: HostId) -> Option<Prediction> {
        let task = plan.instance(instance).task;
        let (known, class) = (self.of(task)?, self.class(host));
        let input = bucket(self.input(plan, instance));
        let key = (task, host, (input as f32).to_bits());
        if let Some(found) = self.runs.get(&key) {
            return *found;
        }
        let found = known.run_time(class, input);
        keep(&mut self.runs, key, found);
        found
    }

    /// Estimates how long an instance runs on a host: as was learned; as long as others of its task did, which is how many and how
    /// long in all; by its limit; by what is shipped; or not at all.
    pub fn expect(&mut self, plan: &Plan, instance: InstanceId, host: HostId, ended: (u32, f64)) -> Estimate {
        let found = self.run_time(plan, instance, host);
        let estimate =
            |found: Prediction, source| Estimate { low: found.low, middle: found.middle, high: found.high, source };
        if let Some(found) = found.filter(|found| found.source != Basis::Shipped) {
            return estimate(found, Source::Learned(found.n));
        }
        if ended.0 > 0 {
            let mean = ended.1 / f64::from(ended.0);
            return Estimate { low: mean * 0.5, middle: mean, high: mean * 2.0, source: Source::Learned(ended.0) };
        }
        match plan.task_of(instance).resources.first().and_then(Request::walltime) {
            // Limits are far above what is used.
            Some(time) => Estimate::guess(time.0 as f64 * 0.05, time.0 as f64 * 0.3, time.0 as f64),
            _ => found.map_or(UNKNOWN_RUN, |found| estimate(found, Source::Prior)),
        }
    }

    /// Returns the class of a host; of one that nobody classified none that anything was learned on.
    fn class(&self, host: HostId) -> Token {
        self.classes.get(&host).copied().unwrap_or(Token(0))
    }

    /// Returns whether anything is known of any task.
    pub fn knows_any(&self) -> bool {
        self.known.iter().any(Option::is_some)
    }

    /// Returns what an instance weighs where what hangs on each is compared: tenths of the seconds that it is expected to run on
    /// this machine, and that what it reads takes at so many seconds a byte.
    pub fn weight(&mut self, plan: &Plan, instance: InstanceId, per_byte: f64) -> u32 {
        let expected = self.expect(plan, instance, HostId::LOCAL, (0, 0.0)).middle;
        let comes = if per_byte > 0.0 { self.input(plan, instance) * per_byte } else { 0.0 };
        ((expected + comes) * 10.0).clamp(1.0, 1e8) as u32
    }

    /// Returns what an instance is placed by.
    pub fn want(&self, plan: &Plan, instance: InstanceId, policy: Policy) -> Want {
        let mut inputs: Vec<(f64, Hosts)> = Vec::new();
        for &path in plan.inputs(instance) {
            let (bytes, at) = (self.files.bytes(path) as f64, self.files.at(path));
            match inputs.iter_mut().find(|(_, known)| known == at) {
                Some((sum, _)) => *sum += bytes,
                None => inputs.push((bytes, at.clone())),
            }
        }
        let request = plan.task_of(instance).resources.first();
        let cpus = request.map_or(1, Request::cores);
        let asked = request.and_then(Request::walltime).map(|time| time.0 as f64);
        let container = plan.task_of(instance).container.as_deref();
        let image = container.and_then(|container| self.files.image(container));
        let gpus = request.map_or(0, |request| request.gpus);
        Want { cpus, gpus, asked: asked.unwrap_or(UNKNOWN_LIMIT), inputs, image, policy }
    }

    /// Returns what to ask for after an attempt on a host ran out of this much memory.
    pub fn memory_after(&self, task: TaskId, host: HostId, failed: Bytes) -> Option<Bytes> {
        let after = self.of(task)?.memory_after(*self.classes.get(&host)?, failed.0 as f64)?;
        Some(Bytes(coarse(after, 1024.0 * 1024.0) as u64))
    }

    /// Returns what to ask for after an attempt on a host ran out of this much time.
    pub fn time_after(&self, task: TaskId, host: HostId, failed: Walltime) -> Option<Walltime> {
        let after = self.of(task)?.time_after(*self.classes.get(&host)?, failed.0 as f64)?;
        Some(Walltime(coarse(after, 60.0) as u64))
    }

    fn of(&self, task: TaskId) -> Option<&Arc<Known>> {
        self.known.get(task.index())?.as_ref()
    }

    fn total(&self, paths: &[PathId]) -> f64 {
        paths.iter().map(|&path| self.files.bytes(path) as f64).sum()
    }
}

/// Rounds a size of inputs down to a step: few sizes are asked about then, for each of many hosts.
fn bucket(bytes: f64) -> f64 {
    if bytes < STEPS {
        return bytes.max(0.0).floor();
    }
    let step = bytes.log2().floor().exp2() / STEPS;
    (bytes / step).floor() * step
}

fn keep<K: std::hash::Hash + Eq, V>(map: &mut HashMap<K, V>, key: K, value: V) {
    if map.len() >= MOST_KEPT {
        map.clear();
    }
    map.insert(key, value);
}
