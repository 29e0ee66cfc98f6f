//! Where the tasks of a submission would go and what they would ask for: the part of a dry run that rests on what was learned.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::errors::Failure;
use crate::cli::view::words::{about, cut, many, number};
use crate::decide::engine::limits::{Limits, chooses_partition, room};
use crate::decide::engine::protocol::{Capacity, Verdict};
use crate::decide::graph::estimate::{Estimate, Source};
use crate::decide::graph::known::net;
use crate::decide::graph::queues::{UNKNOWN_LIMIT, Wait, are_apart};
use crate::decide::outlook::board::Board;
use crate::decide::outlook::draft::{Draft, Line, Wanted, draft, terms_of};
use crate::decide::outlook::files::{Files, Hosts as HostSet};
use crate::decide::outlook::foresee::{Foresight, Outlook};
use crate::decide::outlook::known::foreseen;
use crate::decide::outlook::limits::Conditions;
use crate::decide::outlook::survey::{Survey, survey};
use crate::decide::place::problem::Room;
use crate::language::hosts::Hosts;
use crate::model::choice::{Excluded, Foreseen, Span, Terms};
use crate::model::data::{Brought, DataFact, Rate, Replica};
use crate::model::diagnostic::Diagnostic;
use crate::model::facts::{Facts, ProbeFailure};
use crate::model::host::HostName;
use crate::model::id::{HostId, InstanceId, TaskId};
use crate::model::plan::Plan;
use crate::model::resources::{Amount, Request};
use crate::model::task::Settings as TaskSettings;
use crate::model::units::Bytes;
use crate::reach::clock;
use crate::reach::store::{Place, Reader};
use crate::serve::engine::storage;
use crate::serve::prepare::Prepared;
use crate::serve::prepare::lore::{lore, lying};
use crate::serve::prepare::places::first_fitting;

/// Instances beyond which no plan is made: it would take seconds.
const MOST_PLANNED: usize = 200_000;

/// What earlier runs showed.
#[derive(Default)]
pub(super) struct Known {
    pub(super) facts: BTreeMap<HostName, Facts>,
    /// Hosts whose last probe came to nothing.
    pub(super) failures: BTreeMap<HostName, ProbeFailure>,
    pub(super) replicas: Vec<Replica>,
    brought: Vec<Brought>,
    waits: Vec<Wait>,
    rates: Vec<Rate>,
    shared: Vec<DataFact>,
}

impl Known {
    /// Reads it; nothing where nothing ran yet.
    pub(super) fn load(context: &Context, root: &str) -> Result<Self, Failure> {
        let Ok(state_dir) = context.state_dir() else { return Ok(Self::default()) };
        let place = Place::of(&state_dir);
        if !place.path.exists() {
            return Ok(Self::default());
        }
        context.block_on(async {
            let Some(reader) = Reader::open(&place).await.map_err(|error| storage(&error))? else {
                return Ok(Self::default());
            };
            let read = async {
                let (mut facts, mut failures) = (BTreeMap::new(), BTreeMap::new());
                for (host, probed) in reader.probed().await? {
                    failures.extend(probed.failure.map(|failure| (host.clone(), failure)));
                    facts.extend(probed.facts.map(|found| (host, found)));
                }
                Ok(Self {
                    facts,
                    failures,
                    replicas: reader.replicas(Some(root)).await?,
                    brought: reader.brought(root).await?,
                    waits: reader.waits().await?,
                    rates: reader.rates().await?,
                    shared: reader.shared().await?,
                })
            };
            Ok(read.await.map_err(|error| storage(&error))?)
        })
    }
}

/// Where the tasks of a run would go, and what they would ask for.
#[derive(Debug, Default, Serialize)]
pub(super) struct Places {
    /// By task and host.
    tasks: Vec<TaskForeseen>,
    /// Of the run as a whole, where it is not too large to be planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<Whole>,
    /// How many instances there are, where these are too many to plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    too_many: Option<usize>,
    /// What could not be read of what was learned.
    #[serde(skip)]
    pub(super) trouble: Option<Diagnostic>,
}

#[derive(Debug, Serialize)]
struct TaskForeseen {
    task: String,
    instances: u32,
    host: HostName,
    /// Whether csync chose it.
    placed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    terms: Option<Terms>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem: Option<Foreseen>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Foreseen>,
    /// Whether nobody knows how long it runs: that is then a guess, whoever runs it.
    #[serde(skip)]
    is_unknown: bool,
    /// What is asked for by what was learned, in words.
    asks: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    excluded: Vec<Excluded>,
    /// Where it has a batch system: the partition that it goes to with its wait, then others that it fits, where jobs are known to
    /// wait otherwise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    partitions: Vec<PartitionForeseen>,
}

#[derive(Debug, Serialize)]
struct PartitionForeseen {
    partition: String,
    wait: Span,
}

#[derive(Debug, Serialize)]
struct Whole {
    /// Seconds until all is over, if all goes as expected.
    end: f64,
    /// Seconds that no plan can beat.
    bound: f64,
    /// Bytes that move between hosts.
    moved: Bytes,
}

/// Foresees where tasks would go; nothing where there is nothing to say.
pub(super) fn foresee(
    context: &Context,
    prepared: &Prepared,
    known: &Known,
    (hosts, here): (&Hosts, Capacity),
) -> Result<Places, Failure> {
    let plan = &*prepared.plan;
    let names = prepared.places.names();
    let runs =
        |instance: InstanceId| matches!(prepared.verdicts.get(instance.index()), Some(Verdict::Stale | Verdict::Check));
    let all = plan.instance_ids().filter(|instance| runs(*instance)).count();
    let Ok(state) = context.state_dir() else { return Ok(Places::default()) };
    if all == 0 {
        return Ok(Places::default());
    }
    let lore = context.block_on(async { Ok(lore(&state, plan, &prepared.verdicts, &names, clock::now()).await) })?;
    let trouble = lore.trouble;
    let net = net(hosts, &known.rates, &known.shared, |host| known.facts.get(host)?.trip);
    let survey = survey(&names, hosts, &known.facts, &net, &known.waits, (here.cpus, clock::now()));
    let number = |name: &HostName| {
        let at = survey.sites.iter().position(|site| site.name == *name);
        at.and_then(|at| u16::try_from(at).ok()).map(HostId)
    };
    let set = |names: &[HostName]| {
        names.iter().filter_map(number).fold(HostSet::default(), |set, host| set.and(&HostSet::one(host)))
    };
    let mut files = Files::new(plan.paths.len(), HostSet::one(HostId::LOCAL));
    for lying in lying(plan, &known.replicas, &known.brought) {
        files.lies(lying.path, lying.bytes, set(&lying.hosts));
    }
    let classes: HashMap<HostId, _> =
        lore.classes.iter().filter_map(|(host, class)| Some((number(host)?, *class))).collect();
    let mut outlook = Outlook::new(lore.of_task, classes, files).excluding(prepared.places.excluded.clone());
    let routes = |task: TaskId| {
        let all = prepared.places.of_task(task);
        // Where nobody chooses, their order does, and none is known to be away.
        let is_ordered = prepared.places.policy(task).is_none();
        if is_ordered { first_fitting(all, plan.task(task), (hosts, &known.facts, here)) } else { all }
    };
    let limits = limits(&survey, hosts, &known.facts);
    let mut board = Board::default();
    for (site, at) in survey.sites.iter().zip(0..) {
        board.set(HostId(at), site.clone());
    }
    let told = Told { prepared, limits, survey: &survey, board: RefCell::new(board) };
    let queues = |outlook: &mut Outlook, instance: InstanceId, host: HostId| {
        let settings = plan.task_of(instance);
        let foresight = outlook.foresee(plan, instance, host, &told.conditions(host, settings));
        let mut all = told.fitting(host, settings, &foresight);
        // Where a person says where it goes, there is nothing to choose.
        all.truncate(if chooses_partition(settings) { usize::MAX } else { 1 });
        all
    };
    let policies = |task: TaskId| prepared.places.policy(task).unwrap_or_default();
    let now = clock::now();
    let rooms = Room { cores: here.cpus, memory: here.mem.0, gpus: here.gpus };
    let wanted = Wanted { plan, runs: &runs, routes: &routes, queues: &queues, here: rooms, policies: &policies, now };
    let made = if all <= MOST_PLANNED { draft(wanted, &survey, &mut outlook).ok() } else { None };
    let places = match made {
        Some(made) => told.planned(&made, &mut outlook),
        None => told.unplanned(wanted, &mut outlook),
    };
    Ok(Places { trouble, too_many: Some(all).filter(|all| *all > MOST_PLANNED), ..places })
}

/// Returns what the hosts of a survey let one job have, in its order.
fn limits(survey: &Survey, hosts: &Hosts, facts: &BTreeMap<HostName, Facts>) -> Vec<Option<(Limits, Capacity)>> {
    let of = |name: &HostName| {
        let (host, facts) = (hosts.get(name.as_str())?, facts.get(name));
        Some((Limits::of(host, facts), room(host, facts)))
    };
    survey.sites.iter().map(|site| of(&site.name)).collect()
}

struct Told<'a> {
    prepared: &'a Prepared,
    survey: &'a Survey,
    /// What its hosts let one job have.
    limits: Vec<Option<(Limits, Capacity)>>,
    /// The hosts as they would be set to work.
    board: RefCell<Board>,
}

impl Told<'_> {
    fn planned(&self, draft: &Draft, outlook: &mut Outlook) -> Places {
        let task = |line: &Line| {
            let one = self.task(line.first, (line.host, line.terms.as_ref()), line.instances, outlook)?;
            let terms = line.terms.clone();
            let asked = self.prepared.plan.task(line.task).resources.first().and_then(Request::walltime);
            let is_unknown =
                asked.is_none() && terms.as_ref().is_none_or(|terms| terms.run.source == Source::Guessed.to_string());
            Some(TaskForeseen { terms, is_unknown, start: Some(line.start), end: Some(line.end), ..one })
        };
        let tasks = draft.lines.iter().filter_map(task).collect();
        let whole = Whole { end: draft.end, bound: draft.bound, moved: Bytes(draft.moved as u64) };
        Places { tasks, plan: Some(whole), ..Places::default() }
    }

    /// Where there are too many to plan: what is asked for alone.
    fn unplanned(&self, wanted: Wanted<'_>, outlook: &mut Outlook) -> Places {
        let plan: &Plan = &self.prepared.plan;
        let has_seen = |task: TaskId| {
            let host = self.prepared.places.of_task(task).first();
            let site = self.survey.sites.iter().find(|site| Some(&site.name) == host);
            site.is_some_and(|site| !site.queues.is_empty())
        };
        let all = (0..plan.tasks.len() as u32).map(TaskId);
        let tasks = all.filter(|task| outlook.knows(*task) || has_seen(*task)).collect::<Vec<_>>();
        let found = tasks.into_iter().filter_map(|task| {
            let mut all = plan.instances_of(task).filter(|instance| (wanted.runs)(*instance));
            let first = all.next()?;
            let host = (wanted.routes)(task).first().cloned().unwrap_or_else(HostName::local);
            let number = self.survey.sites.iter().position(|site| site.name == host)?;
            Some(((first, HostId(number as u16)), 1 + all.count() as u32))
        });
        let (firsts, counts): (Vec<_>, Vec<_>) = found.unzip();
        let terms = terms_of(wanted, self.survey, outlook, &firsts);
        let all = firsts.into_iter().zip(counts).zip(&terms);
        let told = all.filter_map(|(((first, host), instances), terms)| {
            self.task(first, (host, terms.as_ref()), instances, outlook)
        });
        Places { tasks: told.collect(), ..Places::default() }
    }

    /// Returns under which conditions a host takes a task.
    fn conditions(&self, host: HostId, task: &TaskSettings) -> Conditions {
        let Some(Some((limits, whole))) = self.limits.get(host.index()) else { return Conditions::of(None) };
        let mut board = self.board.borrow_mut();
        let fits = limits.by_time(*whole, task);
        let fits = fits.into_iter().map(|(name, most)| (board.queue(host, name), most)).collect();
        let request = task.resources.first();
        let asks = (request.map_or(1, Request::cores), request.map_or(0, |request| request.gpus));
        let waits = board.steps(host, fits, asks, clock::now());
        Conditions { flavour: limits.flavour, waits, grain: limits.grain(*whole, task) }
    }

    fn task(
        &self,
        first: InstanceId,
        (host, terms): (HostId, Option<&Terms>),
        instances: u32,
        outlook: &mut Outlook,
    ) -> Option<TaskForeseen> {
        let plan: &Plan = &self.prepared.plan;
        let id = plan.instance(first).task;
        let name = &self.survey.sites.get(host.index())?.name;
        let foresight = outlook.foresee(plan, first, host, &self.conditions(host, plan.task(id)));
        let partitions = self.partitions((host, terms), plan.task(id), &foresight);
        let Foresight { mem, time, .. } = foresight;
        let (mem, time) = (mem.as_ref().map(foreseen), time.as_ref().map(foreseen));
        let mut asks = Vec::new();
        asks.extend(mem.zip(foresight.bytes()).map(|(mem, asked)| format!("memory {asked}: {}", mem.memory())));
        asks.extend(time.zip(foresight.walltime()).map(|(time, asked)| format!("walltime {asked}: {}", time.time())));
        Some(TaskForeseen {
            task: plan.task(id).name.clone(),
            instances,
            host: name.clone(),
            placed: self.prepared.places.policy(id).is_some(),
            terms: None,
            start: None,
            end: None,
            mem,
            time,
            asks,
            excluded: outlook.excluded(id).to_vec(),
            partitions,
            is_unknown: false,
        })
    }

    /// Returns the partitions of a host that a task fits, with what was learned of it, first the one that it goes to where nobody
    /// chooses.
    fn fitting(&self, host: HostId, task: &TaskSettings, foresight: &Foresight) -> Vec<String> {
        let Some(Some((limits, whole))) = self.limits.get(host.index()) else { return Vec::new() };
        let mut asks = task.resources.clone();
        for request in &mut asks {
            if request.mem == Amount::Auto {
                request.mem = foresight.bytes().map_or(Amount::Auto, Amount::Exact);
            }
            if request.time == Amount::Auto {
                request.time = foresight.walltime().map_or(Amount::Auto, Amount::Exact);
            }
        }
        limits.partitions_of(*whole, task, &asks)
    }

    /// Says to which partition of a host a task goes, and which others would make it wait otherwise.
    fn partitions(
        &self,
        (host, terms): (HostId, Option<&Terms>),
        task: &TaskSettings,
        foresight: &Foresight,
    ) -> Vec<PartitionForeseen> {
        let Some(site) = self.survey.sites.get(host.index()).filter(|site| site.is_batch) else { return Vec::new() };
        let first = task.resources.first();
        let asked = first.and_then(Request::walltime).or_else(|| foresight.walltime());
        let (cores, now) = (first.map_or(1, Request::cores), clock::now().0 as f64 / 1e6);
        let asked = asked.map_or(UNKNOWN_LIMIT, |time| time.0 as f64);
        let names = self.fitting(host, task, foresight);
        let chosen = terms.and_then(|terms| Some((terms.partition.as_ref()?, &terms.wait)));
        let Some(goes) = chosen.map(|(name, _)| name).or(names.first()) else { return Vec::new() };
        let wait = site.queues.estimate(Some(goes), now, cores, asked).unwrap_or(site.wait);
        let span =
            |it: &Estimate| Span { low: it.low, middle: it.middle, high: it.high, source: it.source.to_string() };
        let others = names.iter().filter(|name| *name != goes).filter_map(|partition| {
            let own = site.queues.own(partition, now, cores, asked).filter(|own| are_apart(own, &wait))?;
            Some(PartitionForeseen { partition: partition.clone(), wait: span(&own) })
        });
        let wait = chosen.map_or_else(|| span(&wait), |(_, wait)| wait.clone());
        [PartitionForeseen { partition: goes.clone(), wait }].into_iter().chain(others).collect()
    }
}

impl Places {
    /// Returns whether there is nothing to say.
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.too_many.is_none()
    }

    /// Says it in lines.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let mut told: Vec<(&HostName, &str)> = Vec::new();
        for task in &self.tasks {
            let count =
                if task.instances == 1 { String::new() } else { format!(" ({})", many(task.instances, "instance")) };
            let mut line = format!("{}{count} on {}", cut(&task.task, 60), task.host);
            if let Some(terms) = &task.terms {
                let _ = write!(line, ": {}", sentence(terms, task.is_unknown));
            }
            if let Some(end) = task.end.filter(|_| !task.is_unknown) {
                let _ = write!(line, "; over in {}", about(end));
            }
            let _ = writeln!(out, "{line}");
            for ask in &task.asks {
                let _ = writeln!(out, "  {ask}");
            }
            for (at, PartitionForeseen { partition, wait }) in task.partitions.iter().enumerate() {
                let partition = cut(partition, 60);
                let how = format!("{} ({})", about(wait.middle), wait.source);
                let _ = if at == 0 {
                    writeln!(out, "  partition {partition}: queue {how}")
                } else {
                    writeln!(out, "  it fits {partition} too: queue {how}")
                };
            }
            for excluded in &task.excluded {
                if !told.contains(&(&excluded.host, excluded.why.as_str())) {
                    told.push((&excluded.host, &excluded.why));
                    let _ = writeln!(out, "  not on {}: {}", excluded.host, cut(&excluded.why, 300));
                }
            }
        }
        if let Some(whole) = &self.plan {
            let unknown = self.tasks.iter().filter(|task| task.is_unknown).count();
            let _ = writeln!(out, "{}", whole.sentence(unknown, self.tasks.len()));
        }
        if let Some(all) = self.too_many {
            let _ = writeln!(
                out,
                "No plan of the whole is made of {} instances, more than {}: each is placed when its turn comes.",
                number(all as u32),
                number(MOST_PLANNED as u32)
            );
        }
        out
    }
}

impl Whole {
    /// Says it, where so many of the tasks are such that nobody knows how long they run.
    fn sentence(&self, unknown: usize, all: usize) -> String {
        let Self { end, bound, moved } = self;
        let moved = if *moved > Bytes(0) { format!(", with {moved} moved") } else { String::new() };
        let (end, bound) = (about(*end), about(*bound));
        if unknown == all {
            return format!(
                "How long they run is not known: `time` in `resources` tells it, or a run of a second or more.\n\
                 At a minute each, over in about {end}{moved}; no plan can take less than {bound}."
            );
        }
        let guessed = if unknown > 0 { " and what is not known takes a minute" } else { "" };
        format!("Over in about {end}{moved}, if all goes as expected{guessed}; no plan can take less than {bound}.")
    }
}

/// Says the terms of a host in one line, each with what it rests on.
fn sentence(terms: &Terms, is_unknown: bool) -> String {
    let mut parts = Vec::new();
    if terms.wait.middle > 0.5 {
        parts.push(format!("queue {} ({})", about(terms.wait.middle), terms.wait.source));
    }
    if terms.moved > Bytes(0) {
        parts.push(format!("transfer {} of {} ({})", about(terms.transfer.middle), terms.moved, terms.transfer.source));
    }
    parts.push(if is_unknown {
        "run not known".to_owned()
    } else {
        format!("run {} ({})", about(terms.run.middle), terms.run.source)
    });
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_to_plan_says_so() {
        assert!(Places::default().is_empty() && Places::default().text().is_empty());
        let large = Places { too_many: Some(250_000), ..Places::default() };
        assert!(!large.is_empty());
        assert_eq!(
            large.text(),
            "No plan of the whole is made of 250,000 instances, more than 200,000: each is placed when its turn comes.\n"
        );
        assert_eq!(serde_json::to_value(&large).unwrap()["too_many"], 250_000);
    }
}
