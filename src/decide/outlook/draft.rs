//! A plan of a whole run before it is submitted: where every task would go, when, and what that rests on.
//!
//! The run itself is placed task by task, by what is known when each is ready; this is what that comes to if all goes as expected.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::decide::graph::estimate::Source;
use crate::decide::outlook::board::Board;
use crate::decide::outlook::files::Hosts;
use crate::decide::outlook::foresee::Outlook;
use crate::decide::outlook::parts::QueueId;
use crate::decide::outlook::sheet::{Sheet, best_queue};
use crate::decide::outlook::survey::Survey;
use crate::decide::place::plan::{Effort, Policy, plan as schedule};
use crate::decide::place::problem::{File, Network, Path, Problem, ProblemError, Room, Site, Wait, Work};
use crate::model::choice::Terms;
use crate::model::host::HostName;
use crate::model::id::{HostId, InstanceId, PathId, TaskId};
use crate::model::plan::Plan;
use crate::model::resources::Amount;
use crate::model::task::Settings;
use crate::model::units::Timestamp;

/// Tasks that hosts are compared by at most.
const MOST_COMPARED: usize = 200;

/// Instances of a task on one host.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The task.
    pub task: TaskId,
    /// The host.
    pub host: HostId,
    /// How many.
    pub instances: u32,
    /// The first of them.
    pub first: InstanceId,
    /// What that one costs there, in the queue that it goes to, as far as the host was surveyed.
    pub terms: Option<Terms>,
    /// When the first starts, in seconds from now.
    pub start: f64,
    /// When the last is over.
    pub end: f64,
}

/// A plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    /// The tasks in the order of the workflow.
    pub lines: Vec<Line>,
    /// When all is over, in seconds from now.
    pub end: f64,
    /// A time that no plan can beat.
    pub bound: f64,
    /// Bytes that move between hosts.
    pub moved: f64,
}

/// What is to be planned.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Which instances run.
    pub runs: &'a dyn Fn(InstanceId) -> bool,
    /// Where each task may go; this machine where nothing is said.
    pub routes: &'a dyn Fn(TaskId) -> &'a [HostName],
    /// The partitions of a host that an instance fits, first the one that it goes to where nobody chooses; none where nothing is to
    /// be named there.
    pub queues: &'a dyn Fn(&mut Outlook, InstanceId, HostId) -> Vec<String>,
    /// What this machine lets one job have.
    pub here: Room,
    /// What counts for each task.
    pub policies: &'a dyn Fn(TaskId) -> Policy,
    /// The time.
    pub now: Timestamp,
}

/// Plans a run over the hosts of a survey, which are numbered in its order.
///
/// # Errors
/// When what is known of the hosts makes no sense.
pub fn draft(wanted: Wanted<'_>, survey: &Survey, outlook: &mut Outlook) -> Result<Draft, ProblemError> {
    let numbers: HashMap<&HostName, u16> = survey.sites.iter().map(|site| &site.name).zip(0..).collect();
    // What is made anew is nowhere until then, whatever an earlier run left of it.
    for path in (0..wanted.plan.paths.len() as u32).map(PathId) {
        if wanted.plan.producer(path).is_some_and(wanted.runs) {
            let bytes = outlook.files.bytes(path);
            outlook.files.made(path, bytes, Hosts::default());
        }
    }
    let speeds = speeds(wanted, survey, outlook);
    let mut kinds = Kinds { wanted, survey, board: board(survey), known: HashMap::new() };
    let (tasks, of) = works(&mut kinds, (&numbers, &speeds), outlook);
    let Kinds { mut board, known, .. } = kinds;
    let Wanted { plan, here, policies, now, .. } = wanted;
    let file = |path: u32| {
        let path = PathId(path);
        let at = outlook.files.at(path).iter().filter(|host| host.index() < survey.sites.len());
        File { bytes: outlook.files.bytes(path) as f64, at: at.map(|host| host.0).collect() }
    };
    let files = (0..plan.paths.len() as u32).map(file).collect();
    let effort = Effort::fair(tasks.len(), survey.sites.len());
    let widest = tasks.iter().map(|task| task.room.cores).max().unwrap_or(1);
    let problem = Problem::new(network((survey, here, widest), &numbers, &speeds), tasks, files)?;
    let made = schedule(&problem, Policy::Fastest, effort);
    let mut lines: BTreeMap<(TaskId, u16), Line> = BTreeMap::new();
    for (booking, instance) in made.bookings.iter().zip(&of).filter_map(|(booking, it)| Some((booking, (*it)?))) {
        let task = plan.instance(instance).task;
        let line = lines.entry((task, booking.site)).or_insert_with(|| {
            let host = HostId(booking.site);
            let run = outlook.expect(plan, instance, host, (0, 0.0));
            let queue = known.get(&task).and_then(|kind| kind.queues.get(host.index()).copied().flatten());
            let sheet = board.weigh(&outlook.want(plan, instance, policies(task)), (host, queue), run, now);
            let terms = sheet.and_then(|sheet| board.terms(&sheet));
            Line { task, host, instances: 0, first: instance, terms, start: booking.start, end: booking.end }
        });
        line.instances += 1;
        line.start = line.start.min(booking.start);
        line.end = line.end.max(booking.end);
        // What is made there lies there, for what is told of the tasks after it.
        for &path in plan.outputs(instance) {
            let bytes = outlook.files.bytes(path);
            outlook.files.lies(path, bytes, Hosts::one(HostId(booking.site)));
        }
    }
    Ok(Draft { lines: lines.into_values().collect(), end: made.end, bound: made.bound, moved: made.moved })
}

/// Returns what instances cost, each on the host that it has: in the queue there where it starts soonest.
pub fn terms_of(
    wanted: Wanted<'_>,
    survey: &Survey,
    outlook: &mut Outlook,
    all: &[(InstanceId, HostId)],
) -> Vec<Option<Terms>> {
    let mut kinds = Kinds { wanted, survey, board: board(survey), known: HashMap::new() };
    let mut terms = |&(instance, host)| {
        let sheet = kinds.best(instance, host, outlook)?;
        kinds.board.terms(&sheet)
    };
    all.iter().map(&mut terms).collect()
}

/// Returns the hosts of a survey as they stand when nothing runs.
fn board(survey: &Survey) -> Board {
    let numbers: HashMap<&HostName, u16> = survey.sites.iter().map(|site| &site.name).zip(0..).collect();
    let mut board = Board::default();
    for (site, number) in survey.sites.iter().zip(0..) {
        board.set(HostId(number), site.clone());
    }
    for (from, to, link) in &survey.ways {
        if let (Some(&from), Some(&to)) = (numbers.get(from), numbers.get(to)) {
            board.set_way(HostId(from), HostId(to), *link);
        }
    }
    board
}

/// Returns how many times faster each host of a survey is than this machine, by what was learned of the tasks on both; as fast
/// where nothing was.
fn speeds(wanted: Wanted<'_>, survey: &Survey, outlook: &mut Outlook) -> Vec<f64> {
    let Wanted { plan, runs, .. } = wanted;
    let mut sums = vec![(0.0, 0.0); survey.sites.len()];
    let tasks = (0..plan.tasks.len() as u32).map(TaskId).filter(|task| outlook.knows(*task));
    let firsts: Vec<InstanceId> = tasks.filter_map(|task| plan.instances_of(task).find(|it| runs(*it))).collect();
    for instance in firsts.into_iter().take(MOST_COMPARED) {
        let mut learned = |host: u16| {
            let found = outlook.expect(plan, instance, HostId(host), (0, 0.0));
            matches!(found.source, Source::Learned(_)).then_some(found.middle)
        };
        let Some(here) = learned(0) else { continue };
        for (sum, host) in sums.iter_mut().zip(0..) {
            if let Some(there) = learned(host) {
                *sum = (sum.0 + here, sum.1 + there);
            }
        }
    }
    let speed = |(here, there): (f64, f64)| if there > 0.0 { (here / there).clamp(0.05, 20.0) } else { 1.0 };
    sums.into_iter().map(speed).collect()
}

fn network((survey, here, widest): (&Survey, Room, u32), numbers: &HashMap<&HostName, u16>, speeds: &[f64]) -> Network {
    let sites: Vec<Site> = survey
        .sites
        .iter()
        .zip(speeds)
        .map(|(site, speed)| Site {
            // Elsewhere, memory and GPUs of many nodes are for the batch system to share out.
            room: if site.name.is_local() {
                Room { cores: site.slots.max(1), ..here }
            } else {
                // Of as many jobs as it takes, all may be as wide as the widest.
                let jobs = site.jobs.map_or(u32::MAX, |jobs| jobs.saturating_mul(widest.max(1)));
                Room { cores: site.slots.min(jobs).max(1), memory: u64::MAX, gpus: u32::MAX }
            },
            speed: *speed,
            wait: if site.is_batch { Wait::Each(site.wait.middle) } else { Wait::None },
            rate: site.rate,
        })
        .collect();
    let n = sites.len();
    let mut paths = vec![None; n * n];
    for (from, to, link) in &survey.ways {
        let (Some(&from), Some(&to)) = (numbers.get(from), numbers.get(to)) else { continue };
        // Each host has one link to the others; this machine has one to each.
        let links = [from, to].into_iter().filter(|end| *end > 0).map(u32::from).collect();
        let per_byte = if link.rate.middle > 0.0 { 1.0 / link.rate.middle } else { continue };
        if let Some(slot) = paths.get_mut(usize::from(from) * n + usize::from(to)) {
            *slot = Some(Path { links, latency: link.latency, per_byte });
        }
    }
    Network { sites, paths, links: n }
}

/// In which queue the instances of a task go on each host of a survey, and how long they wait there.
#[derive(Debug)]
struct Kind {
    queues: Vec<QueueId>,
    waits: Option<Arc<[f64]>>,
}

/// The tasks, as far as that was found out: by the first instance of each.
struct Kinds<'w, 's> {
    wanted: Wanted<'w>,
    survey: &'s Survey,
    board: Board,
    known: HashMap<TaskId, Kind>,
}

impl Kinds<'_, '_> {
    /// Returns how long the instances of a task wait on each host; none where it goes to no batch system.
    fn waits(&mut self, instance: InstanceId, only: &[u16], outlook: &mut Outlook) -> Option<Arc<[f64]>> {
        let task = self.wanted.plan.instance(instance).task;
        if let Some(kind) = self.known.get(&task) {
            return kind.waits.clone();
        }
        let kind = self.find(instance, only, outlook);
        let waits = kind.waits.clone();
        self.known.insert(task, kind);
        waits
    }

    fn find(&mut self, instance: InstanceId, only: &[u16], outlook: &mut Outlook) -> Kind {
        let sites = &self.survey.sites;
        let is_batch = |site: &&u16| sites.get(usize::from(**site)).is_some_and(|site| site.is_batch);
        let mut kind = Kind { queues: Vec::new(), waits: None };
        let mut waits: Vec<f64> = Vec::new();
        for &site in only.iter().filter(is_batch) {
            let Some(sheet) = self.best(instance, HostId(site), outlook) else { continue };
            if waits.is_empty() {
                waits = sites.iter().map(|site| site.wait.middle).collect();
                kind.queues = vec![None; sites.len()];
            }
            let slots = (waits.get_mut(usize::from(site)), kind.queues.get_mut(usize::from(site)));
            if let (Some(wait), Some(queue)) = slots {
                (*wait, *queue) = (sheet.wait.middle, sheet.queue);
            }
        }
        kind.waits = (!waits.is_empty()).then(|| waits.into());
        kind
    }

    /// Weighs an instance in the queues of a host where nothing of ours is, as a run does when its turn comes.
    fn best(&mut self, instance: InstanceId, host: HostId, outlook: &mut Outlook) -> Option<Sheet> {
        let Wanted { plan, queues, policies, now, .. } = self.wanted;
        let names = queues(outlook, instance, host);
        let want = outlook.want(plan, instance, policies(plan.instance(instance).task));
        let run = outlook.expect(plan, instance, host, (0, 0.0));
        let mut all = names.iter().map(|name| self.board.queue(host, Some(name))).collect::<Vec<_>>().into_iter();
        let first = self.board.weigh(&want, (host, all.next().flatten()), run, now)?;
        let others = all.filter_map(|queue| self.board.weigh_beside(&want, (host, queue), run, now));
        let sheets: Vec<Sheet> = std::iter::once(first).chain(others).collect();
        best_queue(&sheets).cloned()
    }
}

/// Returns the room that an instance takes: what it is held to, and what no two can have. What this machine has not, where it goes there
/// all the same, is told elsewhere: the plan has it alone there.
fn room_of(task: &Settings, (cores, may_be_here): (u32, bool), here: Room) -> Room {
    let request = task.resources.first();
    let asked = request.and_then(|request| match request.mem {
        Amount::Exact(mem) | Amount::Range { min: Some(mem), .. } => Some(mem.0),
        Amount::Auto | Amount::Range { min: None, .. } => None,
    });
    let (memory, gpus) = (asked.unwrap_or(0), request.map_or(0, |request| request.gpus));
    let most = if may_be_here { (here.memory, here.gpus) } else { (u64::MAX, u32::MAX) };
    Room { cores, memory: memory.min(most.0), gpus: gpus.min(most.1) }
}

/// Returns the tasks of the problem, and which instance each stands for: none for those that stand between a task and what needs it.
fn works(
    kinds: &mut Kinds<'_, '_>,
    (numbers, speeds): (&HashMap<&HostName, u16>, &[f64]),
    outlook: &mut Outlook,
) -> (Vec<Work>, Vec<Option<InstanceId>>) {
    let survey = kinds.survey;
    let Wanted { plan, runs, routes, here, policies, .. } = kinds.wanted;
    let (mut works, mut of): (Vec<Work>, Vec<Option<InstanceId>>) = (Vec::new(), Vec::new());
    let mut at: HashMap<InstanceId, u32> = HashMap::new();
    for instance in plan.instance_ids().filter(|instance| runs(*instance)) {
        at.insert(instance, of.len() as u32);
        of.push(Some(instance));
    }
    // One gate behind each task that others need: as many edges as instances, not their product.
    let mut gates: HashMap<TaskId, u32> = HashMap::new();
    for need in plan.tasks.iter().flat_map(|task| &task.needs) {
        gates.entry(*need).or_insert_with(|| {
            of.push(None);
            (of.len() - 1) as u32
        });
    }
    for instance in of.iter().filter_map(|instance| *instance) {
        let task = plan.instance(instance).task;
        let producers = plan.inputs(instance).iter().filter_map(|&path| at.get(&plan.producer(path)?).copied());
        let needs = plan.task(task).needs.iter().filter_map(|need| gates.get(need).copied());
        let mut after: Vec<u32> = producers.chain(needs).collect();
        after.sort_unstable();
        after.dedup();
        let only: Vec<u16> = routes(task).iter().filter_map(|host| numbers.get(host).copied()).collect();
        let only = if only.is_empty() { vec![0] } else { only };
        let most = only.iter().filter_map(|&site| survey.sites.get(usize::from(site))).map(|site| site.slots).max();
        let cpus = outlook.want(plan, instance, policies(task)).cpus.min(most.unwrap_or(1).max(1));
        let first = only.first().copied().unwrap_or(0);
        // Times are told for this machine: on the first host that it may go to, it takes what is expected there.
        let speed = speeds.get(usize::from(first)).copied().unwrap_or(1.0);
        works.push(Work {
            seconds: outlook.expect(plan, instance, HostId(first), (0, 0.0)).middle * speed,
            room: room_of(plan.task(task), (cpus, only.contains(&0)), here),
            inputs: plan.inputs(instance).iter().map(|path| path.0).collect(),
            outputs: plan.outputs(instance).iter().map(|path| path.0).collect(),
            after,
            policy: Some(policies(task)),
            waits: kinds.waits(instance, &only, outlook),
            only,
        });
    }
    let mut gates: Vec<(u32, TaskId)> = gates.into_iter().map(|(task, gate)| (gate, task)).collect();
    gates.sort_unstable();
    for (_, task) in gates {
        let after = plan.instances_of(task).filter_map(|instance| at.get(&instance).copied()).collect();
        works.push(Work { after, only: vec![0], ..Work::default() });
    }
    (works, of)
}
