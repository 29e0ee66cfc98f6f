//! Work as the engine is told of it: a plan, where its tasks may run, what is known of them and of the hosts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::decide::engine::limits::Limits;
use crate::decide::engine::protocol::{Capacity, Event, Routes, Verdict};
use crate::decide::graph::estimate::{Estimate, Source};
use crate::decide::graph::net::Link;
use crate::decide::graph::queues::Queues;
use crate::decide::learn::profile::Profile;
use crate::decide::learn::summary::Summary;
use crate::decide::outlook::board::SiteFacts;
use crate::decide::outlook::files::{Files, Hosts};
use crate::decide::outlook::foresee::Outlook;
use crate::decide::outlook::known::{Known, Seen};
use crate::decide::place::problem::{Problem, Room, Wait, Work};
use crate::decide::simulate::world::{Belief, World};
use crate::language::command::Token;
use crate::model::batch::Flavour;
use crate::model::choice::Policy;
use crate::model::host::HostName;
use crate::model::id::{HostId, InstanceId, PathId, RunId, TaskId};
use crate::model::observation::{Cut, Observation, Trust};
use crate::model::plan::{Instance, Plan, Slice};
use crate::model::resources::{Amount, Request};
use crate::model::task::{Command, Settings, Task, Template};
use crate::model::units::{Bytes, Timestamp};

/// The run.
pub(super) const RUN: RunId = RunId(1);
/// When it is submitted: some time, so that there is one before it.
pub(super) const BEGIN: Timestamp = Timestamp(1_700_000_000_000_000);
/// Most kinds of tasks, where nobody says which are alike: beyond these, such as are believed to run almost as long are.
const KINDS: usize = 400;
/// Attempts that what is believed of a kind of tasks comes to: as few as count as a history.
const ATTEMPTS: usize = 3;
/// By what factors waits are believed to be off.
const OFF: f64 = 2.0;
/// Whose attempts those are.
const ORIGIN: u64 = 1;

/// Tasks that are of one kind: which, what they need, and where they may run.
type Kind = (u64, (u32, u64, u32), Vec<u16>);

/// Work as a run of the engine.
#[derive(Debug)]
pub(super) struct Script<'a> {
    problem: &'a Problem,
    here: Option<u16>,
    policies: &'a [Option<Policy>],
    /// The plan.
    pub(super) plan: Arc<Plan>,
    /// Which task of the problem each instance is.
    pub(super) of: Vec<u32>,
    /// What is known of each of the plan's tasks on each host.
    profiles: Vec<Vec<Profile>>,
    inputs: Vec<f64>,
    told: u64,
}

impl<'a> Script<'a> {
    /// Makes a run of work of which that is believed.
    pub(super) fn new(world: &World<'a>, belief: &Belief) -> Self {
        let World { problem, here, policies, .. } = *world;
        let kinds = kinds(problem, belief);
        let bytes = |file: &u32| problem.files.get(*file as usize).map_or(0.0, |file| file.bytes);
        let inputs = problem.tasks.iter().map(|work| work.inputs.iter().map(bytes).sum()).collect();
        let of: Vec<u32> = kinds.values().flatten().copied().collect();
        let plan = plan(problem, &kinds, &of);
        let mut script =
            Self { problem, here, policies, plan: Arc::new(plan), of, profiles: Vec::new(), inputs, told: 0 };
        script.profiles = kinds.values().map(|tasks| script.believe(tasks, belief)).collect();
        script
    }

    /// Returns what is believed of some tasks of one kind, on each host.
    fn believe(&mut self, tasks: &[u32], belief: &Belief) -> Vec<Profile> {
        let most = tasks.len().clamp(1, 4 * ATTEMPTS);
        let some: Vec<u32> = (0..most).filter_map(|n| tasks.get(n * tasks.len() / most)).copied().collect();
        let times = ATTEMPTS.div_ceil(some.len().max(1));
        let mut on = |speed: f64| {
            let seen: Vec<Observation> = (0..times)
                .flat_map(|_| some.iter())
                .map(|&task| {
                    let seconds = belief.seconds.get(task as usize).copied().unwrap_or_default() / speed;
                    self.observation(task, seconds, BEGIN)
                })
                .collect();
            let mut summary = Summary::default();
            summary.add_all(ORIGIN, &seen);
            Profile::of(summary)
        };
        belief.speeds.iter().map(|speed| on(*speed)).collect()
    }

    fn observation(&mut self, task: u32, seconds: f64, at: Timestamp) -> Observation {
        self.told += 1;
        Observation {
            id: self.told,
            at: (at.0 / 60_000_000) as u32,
            input: self.inputs.get(task as usize).map_or(0.0, |bytes| *bytes as f32),
            memory: 0.0,
            // What took no time would teach nothing.
            wall: seconds.max(1e-6) as f32,
            cpu: 0.0,
            io: 0.0,
            asked: 0.0,
            asked_time: 0.0,
            cut: Cut::Nothing,
            trust: Trust::Full,
        }
    }

    /// Learns how long a task ran on a host.
    pub(super) fn learn(&mut self, instance: InstanceId, site: u16, seconds: f64, at: Timestamp) {
        let seen = self.observation(self.task(instance), seconds, at);
        let task = self.plan.instance(instance).task;
        let profile = self.profiles.get_mut(task.index()).and_then(|all| all.get_mut(usize::from(site)));
        if let Some(profile) = profile {
            profile.observe(ORIGIN, seen);
        }
    }

    /// Returns what is known of a task of the plan.
    pub(super) fn known(&self, task: TaskId) -> Arc<Known> {
        let profiles = self.profiles.get(task.index()).map_or(&[][..], Vec::as_slice);
        let seen = (0_u16..).zip(profiles).map(|(site, profile)| Seen {
            class: class(site),
            profile: profile.clone(),
            scale: Vec::new(),
        });
        Arc::new(Known { seen: seen.collect(), ..Known::default() })
    }

    /// Returns which task of the problem an instance is.
    pub(super) fn task(&self, instance: InstanceId) -> u32 {
        self.of.get(instance.index()).copied().unwrap_or_default()
    }

    /// Returns the number that the engine has for a host.
    pub(super) fn host(&self, site: u16) -> HostId {
        if self.here == Some(site) { HostId::LOCAL } else { HostId(site + 1) }
    }

    /// Returns which host a number is of.
    pub(super) fn site(&self, host: HostId) -> u16 {
        if host == HostId::LOCAL { self.here.unwrap_or_default() } else { host.0 - 1 }
    }

    fn sites(&self) -> std::ops::Range<u16> {
        0..self.problem.network.sites.len() as u16
    }

    /// Returns what the engine is told before anything runs.
    pub(super) fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for (number, site) in self.sites().zip(&self.problem.network.sites) {
            let host = self.host(number);
            let flavour = matches!(site.wait, Wait::Each(_)).then_some(Flavour::Slurm);
            events.push(Event::Limits(host, Arc::new(Limits { flavour, ..Limits::default() })));
            events.extend(self.room(number));
        }
        let sites = self.sites().map(|site| (self.host(site), self.facts(site))).collect();
        events.push(Event::Sites(sites, self.ways()));
        let plan = &self.plan;
        let mut files = Files::new(plan.paths.len(), Hosts::default());
        for (path, file) in (0..).map(PathId).zip(&self.problem.files) {
            let at = file.at.iter().fold(Hosts::default(), |all, &site| all.and(&Hosts::one(self.host(site))));
            // How large files will be is known before they are made.
            files.lies(path, file.bytes as u64, at);
        }
        let tasks = || (0..plan.tasks.len() as u32).map(TaskId);
        let classes: HashMap<HostId, Token> = self.sites().map(|site| (self.host(site), class(site))).collect();
        let known = tasks().map(|task| Some(self.known(task))).collect();
        events.push(Event::Outlook(RUN, Box::new(Outlook::new(known, classes, files))));
        let routes = tasks().map(|task| {
            let first = plan.instances_of(task).next().map_or(0, |instance| self.task(instance) as usize);
            let (allowed, only) = (self.problem.allowed(first), &self.problem.task(first).only);
            // In the order in which somebody wrote them.
            let said = only.iter().filter(|site| allowed.contains(site));
            let sites: Vec<u16> = if only.is_empty() { allowed.to_vec() } else { said.copied().collect() };
            let hosts: Vec<HostId> = sites.into_iter().map(|site| self.host(site)).collect();
            let policy = self.policies.get(first).copied().unwrap_or(Some(Policy::Fastest)).filter(|_| hosts.len() > 1);
            (hosts, policy)
        });
        let verdicts = vec![Verdict::Stale; plan.instances.len()];
        events.push(Event::Submitted {
            run: RUN,
            plan: Arc::clone(plan),
            verdicts,
            routes: Routes::placed(routes.collect::<Vec<_>>()),
        });
        events
    }

    /// Returns what the engine is told of the room of a host.
    pub(super) fn room(&self, site: u16) -> Option<Event> {
        let (host, described) = (self.host(site), self.problem.network.sites.get(usize::from(site))?);
        Some(Event::Room(host, capacity(described.room, host != HostId::LOCAL)))
    }

    /// Returns what is known of a host.
    fn facts(&self, site: u16) -> SiteFacts {
        let described = self.problem.network.sites.get(usize::from(site));
        let (wait, opens) = match described.map_or(Wait::None, |site| site.wait) {
            Wait::None => (0.0, None),
            Wait::Each(seconds) => (seconds, None),
            Wait::Once(opens) => {
                let opens = Duration::try_from_secs_f64(opens).unwrap_or(Duration::MAX);
                (0.0, Some(BEGIN.after(opens)))
            }
        };
        SiteFacts {
            name: format!("host-{site}").parse().unwrap_or_else(|_| HostName::local()),
            is_batch: wait > 0.0,
            slots: described.map_or(1, |site| site.room.cores.max(1)),
            wait: Estimate { low: wait / OFF, middle: wait, high: wait * OFF, source: Source::Measured(1) },
            queues: Queues::default(),
            rate: described.map_or(0.0, |site| site.rate),
            parts: Vec::new(),
            opens,
            jobs: None,
        }
    }

    fn ways(&self) -> Vec<(HostId, HostId, Link)> {
        let pairs = self.sites().flat_map(|from| self.sites().map(move |to| (from, to)));
        let way = |(from, to): (u16, u16)| {
            let path = self.problem.network.path(usize::from(from), usize::from(to)).filter(|_| from != to)?;
            let rate = Estimate::known(1.0 / path.per_byte.max(1e-15));
            Some((self.host(from), self.host(to), Link { rate, latency: path.latency }))
        };
        pairs.filter_map(way).collect()
    }
}

fn class(site: u16) -> Token {
    Token(u128::from(site) + 1)
}

fn capacity(room: Room, is_far: bool) -> Capacity {
    let mem = if room.memory == 0 { Bytes::gib(1 << 20) } else { Bytes(room.memory.min(1 << 50)) };
    Capacity { cpus: room.cores, mem, gpus: room.gpus, nodes: 1, jobs: is_far.then_some(1 << 20) }
}

/// Sorts tasks by what they have in common: what is learned of one counts for the others, and they may run on the same hosts.
fn kinds(problem: &Problem, belief: &Belief) -> BTreeMap<Kind, Vec<u32>> {
    let sorted = |of: &dyn Fn(usize) -> u64| {
        let mut kinds: BTreeMap<Kind, Vec<u32>> = BTreeMap::new();
        for (number, work) in problem.tasks.iter().enumerate() {
            let Room { cores, memory, gpus } = work.room;
            kinds.entry((of(number), (cores, memory, gpus), work.only.clone())).or_default().push(number as u32);
        }
        kinds
    };
    let seconds = |task: usize| belief.seconds.get(task).copied().unwrap_or_default();
    if !belief.kinds.is_empty() {
        return sorted(&|task| belief.kinds.get(task).copied().map_or(u64::MAX, u64::from));
    }
    let kinds = sorted(&|task| seconds(task).to_bits());
    if kinds.len() <= KINDS { kinds } else { sorted(&|task| ((seconds(task) + 1.0).ln() * 20.0) as u64) }
}

/// Makes the plan: a path for each file, an instance for each task, those of a kind together.
fn plan(problem: &Problem, kinds: &BTreeMap<Kind, Vec<u32>>, of: &[u32]) -> Plan {
    let mut plan = Plan { name: "simulated".to_owned(), root: "/".to_owned(), ..Plan::default() };
    for file in 0..problem.files.len() {
        plan.paths.push(&file.to_string());
    }
    plan.producers = vec![None; problem.files.len()];
    let mut instance_of = vec![InstanceId(0); of.len()];
    for (instance, task) in (0..).map(InstanceId).zip(of) {
        if let Some(slot) = instance_of.get_mut(*task as usize) {
            *slot = instance;
        }
    }
    for (number, tasks) in kinds.values().enumerate() {
        let first = tasks.first().map(|&task| problem.task(task as usize));
        plan.tasks.push(task(number, first, tasks.len()));
        plan.task_instances.push(Slice { start: plan.instances.len() as u32, len: tasks.len() as u32 });
        for &task in tasks {
            let work = problem.task(task as usize);
            let instance = InstanceId(plan.instances.len() as u32);
            let mut refer = |files: &[u32]| {
                let start = plan.path_refs.len() as u32;
                plan.path_refs.extend(files.iter().map(|&file| PathId(file)));
                Slice { start, len: files.len() as u32 }
            };
            let (inputs, outputs) = (refer(&work.inputs), refer(&work.outputs));
            for &file in &work.outputs {
                if let Some(slot) = plan.producers.get_mut(file as usize) {
                    *slot = Some(instance);
                }
            }
            let row = plan.cells.len() as u32;
            if tasks.len() != 1 {
                plan.cells.push(&task.to_string());
            }
            plan.instances.push(Instance { task: TaskId(number as u32), row, inputs, outputs });
        }
    }
    for &task in of {
        let of_task = problem.children(task as usize).filter_map(|(child, _)| instance_of.get(child).copied());
        plan.dependents.extend(of_task);
        plan.dependent_ends.push(plan.dependents.len() as u32);
    }
    plan
}

fn task(number: usize, work: Option<&Work>, instances: usize) -> Task {
    let room = work.map_or(Room::cores(1), |work| work.room);
    let mem = if room.memory == 0 { Amount::Auto } else { Amount::Exact(Bytes(room.memory)) };
    let request = Request { cpus: Amount::Exact(room.cores.max(1)), mem, gpus: room.gpus, ..Request::default() };
    Task {
        name: format!("kind-{number}"),
        command: Arc::new(Command::Shell(Template::default())),
        settings: Arc::new(Settings { resources: vec![request], ..Settings::default() }),
        needs: Vec::new(),
        columns: if instances == 1 { Vec::new() } else { vec!["task".to_owned()] },
        definition: [0; 16],
    }
}
