//! `csync simulate`: what would become of a workflow on described hosts.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::foreseen::Known;
use crate::cli::planned::planned;
use crate::cli::profile::learned_if_there;
use crate::cli::submission::key_value;
use crate::cli::view::table::{Cell, Column, Page, Table};
use crate::cli::view::words::{duration, many, number};
use crate::decide::learn::shipped;
use crate::decide::place::problem::{File, Problem, Room, Work};
use crate::decide::simulate::luck::Luck;
use crate::decide::simulate::stage::Stage;
use crate::decide::simulate::world::{Belief, Course, Strategy, World};
use crate::language::command::{Signature, TokenKey};
use crate::language::scenario::{self, Scenario};
use crate::model::api::ErrorKind;
use crate::model::host::HostName;
use crate::model::id::{InstanceId, TaskId};
use crate::model::plan::Plan;
use crate::model::resources::{Amount, Request};
use crate::model::units::Bytes;
use crate::reach::learned::Learned;
use crate::serve::prepare::lore::signature_of;

/// Say what would become of a workflow on hosts that are described: where it would run, for how long, how much would move
///
/// Nothing is started and no host is asked. The decisions are csync's own, on virtual time. FILE is a `hosts.toml` with more in it:
/// `cores`, `memory`, `speed`, `wait`, `rate`, `down` of hosts, `rate` and `latency` of links, `[tasks.NAME]` with `time` and
/// `output`, `[chance]`. A task takes what the file says, else what was learned of it, else what it asks for, else ten minutes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The workflow
    #[arg(value_name = "WORKFLOW", default_value = "workflow.toml")]
    workflow: PathBuf,
    /// What describes the hosts
    #[arg(long, value_name = "FILE")]
    hosts: PathBuf,
    /// Set a parameter of the workflow; may be given several times
    #[arg(short, long = "param", value_name = "KEY=VALUE", value_parser = key_value)]
    params: Vec<(String, String)>,
    /// How many times chance is asked
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// What chance depends on
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Also how it would go without csync's placement
    #[arg(long)]
    compare: bool,
}

/// Columns of the hosts.
const HOSTS: &[Column] = &[
    Column::Text("HOST"),
    Column::Number("TASKS"),
    Column::Number("CORE-HOURS"),
    Column::Number("BUSY"),
    Column::Number("WAITED"),
    Column::Detail("COST"),
];
/// Columns of the comparison.
const WAYS: &[Column] = &[
    Column::Text("PLACEMENT"),
    Column::Number("MIDDLE"),
    Column::Number("80 % FROM"),
    Column::Number("TO"),
    Column::Number("MOVES"),
];

/// Seconds of a task of which nothing is known.
const GUESS: f64 = 600.0;
/// Most pairs of instances that wait for each other.
const PAIRS: usize = 5_000_000;

/// What run times rest on.
#[derive(Clone, Copy, Debug, Default)]
struct Sources {
    said: u32,
    learned: u32,
    asked: u32,
    shipped: u32,
    guessed: u32,
    /// Files that tasks make and of which nobody knows how large they will be.
    unsized_files: u32,
    /// Those that count as large as others of their task.
    likened_files: u32,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let shown = args.hosts.display();
    let text = std::fs::read_to_string(&args.hosts)
        .map_err(|error| Failure::usage(format!("{shown} cannot be read")).because(&error))?;
    let described = scenario::read(&text).map_err(|why| {
        Failure::new(ErrorKind::Invalid, format!("{shown}: {why}")).hint("docs/simulate.md says what may stand there")
    })?;
    let (_, planned) = planned(context, &args.workflow, &args.params)?;
    let plan = &planned.expanded.plan;
    let stage = Stage::of(&described);
    let mut sources = Sources::default();
    let problem = problem(context, plan, &described, &stage, &mut sources)?;
    let mut belief = Belief::of(&problem);
    // What is learned of an instance of a task tells of the others.
    belief.kinds = plan.instance_ids().map(|instance| plan.instance(instance).task.0).collect();
    let here = stage.names.iter().position(|name| name == HostName::LOCAL).map(|site| site as u16);
    let ways: &[Strategy] = if args.compare { &Strategy::ALL } else { &[Strategy::Full] };
    let mut told = Vec::new();
    for way in ways {
        let courses: Vec<Course> = (0..u64::from(args.runs))
            .map(|n| {
                let luck = Luck::draw(&belief.seconds, stage.chance, args.seed.wrapping_add(n));
                World { problem: &problem, luck: &luck, outages: &stage.outages, here }.run(
                    *way,
                    &belief,
                    args.seed.wrapping_add(n),
                )
            })
            .collect();
        told.push(Told::of(*way, courses));
    }
    tell(context, plan, &stage, &problem, &told, sources)
}

/// What came of one way to place tasks, over all draws.
struct Told {
    way: Strategy,
    low: f64,
    middle: f64,
    high: f64,
    moved: f64,
    /// The course in the middle.
    course: Course,
}

impl Told {
    fn of(way: Strategy, mut courses: Vec<Course>) -> Self {
        courses.sort_by(|a, b| a.end.total_cmp(&b.end));
        let last = courses.len().saturating_sub(1);
        let at = |share: f64| courses.get((share * last as f64).round() as usize).map_or(0.0, |course| course.end);
        let (low, middle, high) = (at(0.1), at(0.5), at(0.9));
        let moved = courses.iter().map(|course| course.moved).sum::<f64>() / courses.len().max(1) as f64;
        let place = (0.5 * last as f64).round() as usize;
        let course = if place < courses.len() {
            courses.swap_remove(place)
        } else {
            Course { end: 0.0, moved: 0.0, ran: Vec::new() }
        };
        Self { way, low, middle, high, moved, course }
    }
}

/// Makes hosts, tasks and files of what is known.
fn problem(
    context: &Context,
    plan: &Plan,
    described: &Scenario,
    stage: &Stage,
    sources: &mut Sources,
) -> Result<Problem, Failure> {
    let mut files: Vec<File> = vec![File::default(); plan.producers.len()];
    let elsewhere = Known::load(context, &plan.root)?.replicas;
    let elsewhere: HashMap<&str, f64> = elsewhere.iter().map(|it| (it.path.as_str(), it.size.0 as f64)).collect();
    let size = |path: &str| size(plan, path).or_else(|| elsewhere.get(path).copied());
    let known: Vec<Option<f64>> = (0..plan.paths.len() as u32).map(|path| size(plan.paths.get(path))).collect();
    let mut alike = Alike::default();
    let mut tasks: Vec<Work> = Vec::with_capacity(plan.instances.len());
    for instance in plan.instance_ids() {
        let row = plan.instance(instance);
        let task = plan.task(row.task);
        let said = described.tasks.get(&task.name).copied().unwrap_or_default();
        for (path, place) in plan.outputs(instance).iter().zip(0..) {
            let bytes = said.output.map(|bytes| bytes.0 as f64).or(known.get(path.index()).copied().flatten());
            alike.add((row.task, place), path.index(), bytes);
            if let Some(file) = files.get_mut(path.index()) {
                file.bytes = bytes.unwrap_or_default();
            }
        }
        let numbers = |paths: &[crate::model::id::PathId]| paths.iter().map(|path| path.0).collect::<Vec<u32>>();
        tasks.push(Work {
            seconds: 0.0,
            room: room(plan, instance),
            inputs: numbers(plan.inputs(instance)),
            outputs: numbers(plan.outputs(instance)),
            after: Vec::new(),
            only: Vec::new(),
            waits: None,
        });
    }
    for (path, bytes) in alike.guessed() {
        *(if bytes.is_some() { &mut sources.likened_files } else { &mut sources.unsized_files }) += 1;
        if let Some((file, bytes)) = files.get_mut(path).zip(bytes) {
            file.bytes = bytes;
        }
    }
    for (number, file) in files.iter_mut().enumerate() {
        if plan.producers.get(number).copied().flatten().is_none() {
            file.bytes = known.get(number).copied().flatten().unwrap_or_default();
            file.at.push(stage.data);
        }
    }
    order(plan, &mut tasks)?;
    let inputs: Vec<f64> = tasks
        .iter()
        .map(|work| work.inputs.iter().filter_map(|file| files.get(*file as usize)).map(|file| file.bytes).sum())
        .collect();
    let seconds = seconds(context, plan, described, &inputs, sources)?;
    for (work, seconds) in tasks.iter_mut().zip(seconds) {
        work.seconds = seconds;
    }
    Problem::new(stage.network.clone(), tasks, files).map_err(|error| {
        let named = plan.instance_ids().find(|instance| error.to_string().contains(&format!("task {} ", instance.0)));
        let of = named.map_or_else(String::new, |instance| format!(" ({})", plan.label(instance)));
        Failure::new(ErrorKind::Invalid, format!("the workflow does not fit the hosts: {error}{of}"))
    })
}

/// Files that instances of one task make in the same place of their lists: those whose size is known tell of the others.
#[derive(Default)]
struct Alike {
    sizes: HashMap<(TaskId, u32), Vec<f64>>,
    lacking: Vec<((TaskId, u32), usize)>,
}

impl Alike {
    fn add(&mut self, kind: (TaskId, u32), path: usize, bytes: Option<f64>) {
        match bytes {
            Some(bytes) => self.sizes.entry(kind).or_default().push(bytes),
            None => self.lacking.push((kind, path)),
        }
    }

    /// Returns the files of unknown size, with the middle of those of their kind.
    fn guessed(mut self) -> Vec<(usize, Option<f64>)> {
        self.sizes.values_mut().for_each(|sizes| sizes.sort_unstable_by(f64::total_cmp));
        let middle = |kind| self.sizes.get(kind).and_then(|sizes| sizes.get(sizes.len() / 2)).copied();
        self.lacking.iter().map(|(kind, path)| (*path, middle(kind))).collect()
    }
}

/// Returns the size of a file that is on disk.
fn size(plan: &Plan, path: &str) -> Option<f64> {
    let meta = std::fs::metadata(Path::new(&plan.root).join(path)).ok()?;
    meta.is_file().then_some(meta.len() as f64)
}

/// Has every instance wait for those that make what it reads, and for those of the tasks that it needs.
fn order(plan: &Plan, tasks: &mut [Work]) -> Result<(), Failure> {
    let mut pairs = 0;
    for instance in plan.instance_ids() {
        for dependent in plan.dependents(instance) {
            if let Some(work) = tasks.get_mut(dependent.index()) {
                work.after.push(instance.0);
                pairs += 1;
            }
        }
        let needs = &plan.task_of(instance).needs;
        for before in needs.iter().flat_map(|task| plan.instances_of(*task)) {
            if let Some(work) = tasks.get_mut(instance.index()) {
                work.after.push(before.0);
                pairs += 1;
            }
        }
        if pairs > PAIRS {
            return Err(Failure::new(
                ErrorKind::Invalid,
                "too many instances wait for each other to be simulated".to_owned(),
            ));
        }
    }
    for work in tasks {
        work.after.sort_unstable();
        work.after.dedup();
    }
    Ok(())
}

/// Returns what an instance asks for, in its first alternative.
fn room(plan: &Plan, instance: InstanceId) -> Room {
    let Some(request) = plan.task_of(instance).settings.resources.first() else { return Room::cores(1) };
    let memory = match request.mem {
        Amount::Exact(memory) => memory.0,
        Amount::Range { min, max } => min.or(max).map_or(0, |memory| memory.0),
        Amount::Auto => 0,
    };
    Room { cores: request.cores(), memory, gpus: request.gpus }
}

/// Returns how long each instance runs on a host of speed one.
fn seconds(
    context: &Context,
    plan: &Plan,
    described: &Scenario,
    inputs: &[f64],
    sources: &mut Sources,
) -> Result<Vec<f64>, Failure> {
    context.block_on(async {
        // What is of no use to `csync route` is of none here: the tasks then take what they ask for.
        let of_no_use = |failure| context.say(&format!("What was learned is of no use here: {failure}."));
        let mut learned = learned_if_there(context).await.map_err(of_no_use).unwrap_or_default();
        let key = learned.as_ref().map_or_else(|| TokenKey::new([0; 32]), |learned| learned.tokens().clone());
        let mut by_signature: BTreeMap<Signature, Vec<crate::decide::learn::profile::Profile>> = BTreeMap::new();
        let mut all = Vec::with_capacity(plan.instances.len());
        for (instance, input) in plan.instance_ids().zip(inputs) {
            let task = plan.task_of(instance);
            if let Some(time) = described.tasks.get(&task.name).and_then(|said| said.time) {
                sources.said += 1;
                all.push(time.0 as f64);
                continue;
            }
            let signature = signature_of(plan, instance, &key);
            let found = match (&signature, learned.as_mut()) {
                (Some(signature), Some(learned)) => run_time(learned, signature, &mut by_signature, *input).await,
                _ => Ok(None),
            };
            match found {
                Ok(Some(found)) => {
                    sources.learned += 1;
                    all.push(found);
                    continue;
                }
                Ok(None) => {}
                Err(failure) => {
                    of_no_use(failure);
                    learned = None;
                }
            }
            let asked = task.settings.resources.first().and_then(Request::walltime).map(|time| time.0 as f64);
            let shipped = signature.as_ref().and_then(shipped::prior).and_then(|prior| prior.wall).map(|law| law.base);
            *(match (asked, shipped) {
                (Some(_), _) => &mut sources.asked,
                (None, Some(_)) => &mut sources.shipped,
                (None, None) => &mut sources.guessed,
            }) += 1;
            all.push(asked.or(shipped).unwrap_or(GUESS));
        }
        if let Some(learned) = learned {
            learned.close().await;
        }
        Ok(all)
    })
}

/// Returns what was learned of a command's run time, of the class of hosts where most was.
async fn run_time(
    learned: &mut Learned,
    signature: &Signature,
    known: &mut BTreeMap<Signature, Vec<crate::decide::learn::profile::Profile>>,
    input: f64,
) -> Result<Option<f64>, Failure> {
    if !known.contains_key(signature) {
        let mut entries = learned.likes(signature).await?;
        entries
            .sort_by_key(|entry| (entry.signature != *signature, std::cmp::Reverse(entry.profile.summary().count())));
        known.insert(signature.clone(), entries.into_iter().map(|entry| entry.profile).collect());
    }
    let found = known.get(signature).and_then(|all| all.iter().find_map(|profile| profile.run_time(input)));
    Ok(found.map(|found| found.middle))
}

fn tell(
    context: &Context,
    plan: &Plan,
    stage: &Stage,
    problem: &Problem,
    told: &[Told],
    sources: Sources,
) -> Result<Exit, Failure> {
    let Some(ours) = told.last() else { return Ok(Exit::Success) };
    let hosts = hosts(stage, problem, &ours.course);
    if context.json() {
        let ways = told.iter().map(|told| {
            json!({ "placement": told.way.name(), "low_s": told.low, "middle_s": told.middle, "high_s": told.high, "moved_bytes": told.moved })
        });
        let ways: Vec<_> = ways.collect();
        context.print_json(&json!({
            "tasks": plan.instances.len(), "bound_s": problem.lower_bound(), "middle_s": ours.middle, "low_s": ours.low,
            "high_s": ours.high, "moved_bytes": ours.moved, "hosts": hosts.iter().map(Busy::json).collect::<Vec<_>>(),
            "placements": ways,
        }))?;
        return Ok(Exit::Success);
    }
    let tasks = many(plan.instances.len() as u32, "task");
    context.print(&format!(
        "{tasks} on {}: {} (80 %: {} to {}), {} moved. No placement can beat {}.",
        many(stage.names.len() as u32, "host"),
        duration(ours.middle),
        duration(ours.low),
        duration(ours.high),
        Bytes(ours.moved as u64),
        duration(problem.lower_bound()),
    ))?;
    let mut table = Table::new(Page::stdout(context.paint()), HOSTS);
    for busy in &hosts {
        table.row(vec![
            Cell::new(&busy.name),
            Cell::new(number(busy.tasks)),
            Cell::new(format!("{:.1}", busy.core_hours)),
            Cell::new(format!("{:.0} %", 100.0 * busy.share)),
            Cell::new(duration(busy.waited)),
            Cell::new(format!("{:.2}", busy.cost)),
        ]);
    }
    context.print(&table.print())?;
    if told.len() > 1 {
        let mut table = Table::new(Page::stdout(context.paint()), WAYS);
        for told in told {
            table.row(vec![
                Cell::new(told.way.name()),
                Cell::new(duration(told.middle)),
                Cell::new(duration(told.low)),
                Cell::new(duration(told.high)),
                Cell::new(Bytes(told.moved as u64)),
            ]);
        }
        context.print(&format!("\n{}", table.print()))?;
    }
    context.say(&sources.words());
    Ok(Exit::Success)
}

impl Sources {
    fn words(self) -> String {
        let parts = [
            (self.said, "said by the file"),
            (self.learned, "learned"),
            (self.asked, "what the tasks ask for"),
            (self.shipped, "what people commonly give"),
            (self.guessed, "guessed (10m)"),
        ];
        let parts: Vec<String> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", number(*n))).collect();
        let mut words = format!("Run times: {}.", parts.join(", "));
        if self.likened_files > 0 {
            let files = many(self.likened_files, "file");
            words.push_str(
                &format_args!(" {files} of unknown size count as large as others of their task.").to_string(),
            );
        }
        if self.unsized_files > 0 {
            let files = many(self.unsized_files, "file");
            words.push_str(
                &format_args!(" {files} of unknown size count as empty; `[tasks.NAME] output = \"2G\"` says more.")
                    .to_string(),
            );
        }
        words
    }
}

/// What a host did.
struct Busy {
    name: String,
    tasks: u32,
    core_hours: f64,
    share: f64,
    waited: f64,
    cost: f64,
}

impl Busy {
    fn json(&self) -> serde_json::Value {
        json!({
            "name": self.name, "tasks": self.tasks, "core_hours": self.core_hours, "busy": self.share,
            "waited_s": self.waited, "cost": self.cost,
        })
    }
}

fn hosts(stage: &Stage, problem: &Problem, course: &Course) -> Vec<Busy> {
    let mut all: Vec<Busy> = Vec::new();
    for (site, name) in (0_u16..).zip(&stage.names) {
        let of = course.ran.iter().enumerate().filter(|(_, ran)| ran.site == site);
        let (mut tasks, mut core_seconds, mut waited) = (0_u32, 0.0, 0.0);
        for (task, ran) in of {
            tasks += 1;
            core_seconds += (ran.end - ran.start) * f64::from(problem.task(task).room.cores);
            waited += ran.start - ran.staged;
        }
        let described = stage.network.sites.get(usize::from(site));
        let cores = described.map_or(1.0, |site| f64::from(site.room.cores));
        all.push(Busy {
            name: name.clone(),
            tasks,
            core_hours: core_seconds / 3600.0,
            share: core_seconds / (cores * course.end).max(f64::MIN_POSITIVE),
            waited: waited / f64::from(tasks.max(1)),
            cost: core_seconds / 3600.0 * described.map_or(0.0, |site| site.rate),
        });
    }
    all
}
