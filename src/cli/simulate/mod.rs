//! `csync simulate`: what would become of a workflow on described hosts.

mod needs;
mod never;
mod on;
mod told;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::cli::by::By;
use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::foreseen::Known;
use crate::cli::planned::planned;
use crate::cli::simulate::needs::{needs, room};
use crate::cli::simulate::on::{Held, held};
use crate::cli::simulate::told::{Told, tell};
use crate::cli::submission::key_value;
use crate::cli::view::words::{many, number};
use crate::decide::place::problem::{File, Problem, ProblemError, Room, Work};
use crate::decide::simulate::luck::Luck;
use crate::decide::simulate::stage::Stage;
use crate::decide::simulate::world::{Belief, Course, Strategy, World};
use crate::language::scenario::{self, Scenario};
use crate::model::api::ErrorKind;
use crate::model::host::HostName;
use crate::model::id::TaskId;
use crate::model::plan::Plan;
use crate::model::units::Bytes;

/// Say what would become of a workflow on hosts that are described: where it would run, for how long, how much would move
///
/// Nothing is started and no host is asked. The decisions are csync's own, on virtual time. FILE is a `hosts.toml` with more in it:
/// `cores`, `memory`, `speed`, `wait`, `rate`, `down` of hosts, `rate` and `latency` of links, `[tasks.NAME]` with `time` and
/// `memory`, `output`, `[chance]`. A task takes what the file says, else what was learned of it, else what it asks for, else ten minutes;
/// as much memory as the file says, else as it asks for, else as was learned. It runs where its `on` says; where no task says
/// `on`, all hosts are compared.
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
    /// What counts where csync chooses among hosts, instead of what the workflow says
    #[arg(long, value_enum, value_name = "POLICY")]
    policy: Option<By>,
    /// Also how it would go without csync's placement
    #[arg(long)]
    compare: bool,
}

/// Tasks that are named to somebody who named one that there is not.
const TOLD: usize = 20;

/// Most pairs of instances that wait for each other.
const PAIRS: usize = 5_000_000;

/// What run times and memory rest on.
#[derive(Clone, Copy, Debug, Default)]
struct Sources {
    said: u32,
    learned: u32,
    asked: u32,
    shipped: u32,
    guessed: u32,
    /// Those whose memory the file says, and those that get what was learned.
    memory_said: u32,
    memory_learned: u32,
    /// Files that tasks make and of which nobody knows how large they will be.
    unsized_files: u32,
    /// Those that count as large as others of their task.
    likened_files: u32,
    /// Whether any task says where it runs.
    is_said: bool,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let shown = args.hosts.display();
    let text = std::fs::read_to_string(&args.hosts)
        .map_err(|error| Failure::usage(format!("{shown} cannot be read")).because(&error))?;
    let described = scenario::read(&text).map_err(|why| {
        Failure::new(ErrorKind::Invalid, format!("{shown}: {why}")).hint("docs/simulate.md says what may stand there")
    })?;
    let (file, mut planned) = planned(context, &args.workflow, &args.params)?;
    let named = shown.to_string();
    let tasks: Vec<&str> = planned.expanded.plan.tasks.iter().map(|task| task.name.as_str()).collect();
    if let Some(unknown) = described.tasks.keys().find(|name| !tasks.contains(&name.as_str())) {
        let failure = Failure::usage(format!("{named}: [tasks.{unknown}]: the workflow has no task of that name"));
        let listed = tasks.iter().take(TOLD).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let more = if tasks.len() > TOLD { ", ..." } else { "" };
        return Err(failure.hint(format!("it has {listed}{more}; `csync check --explain` lists all")));
    }
    let held = held(&mut planned, &described, (&named, &file.source), args.policy.map(Into::into))?;
    let plan = &planned.expanded.plan;
    let stage = Stage::of(&described);
    let mut sources = Sources { is_said: held.is_said, ..Sources::default() };
    let problem = problem(context, plan, (&described, &stage), &held, &mut sources)?;
    let of_task = |instance| held.policies.get(plan.instance(instance).task.index()).copied().flatten();
    let policies: Vec<_> = plan.instance_ids().map(of_task).collect();
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
                World { problem: &problem, luck: &luck, outages: &stage.outages, here, policies: &policies }.run(
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

/// Makes hosts, tasks and files of what is known.
fn problem(
    context: &Context,
    plan: &Plan,
    (described, stage): (&Scenario, &Stage),
    held: &Held,
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
            only: held.only.get(row.task.index()).cloned().unwrap_or_default(),
            policy: held.policies.get(row.task.index()).copied().flatten(),
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
    for (work, need) in tasks.iter_mut().zip(needs(context, plan, described, &inputs, sources)?) {
        work.seconds = need.seconds;
        work.room.memory = need.memory.unwrap_or(work.room.memory);
    }
    let rooms: Vec<Room> = tasks.iter().map(|work| work.room).collect();
    Problem::new(stage.network.clone(), tasks, files).map_err(|error| misfit(plan, &rooms, &error))
}

/// Says why a workflow does not fit the hosts.
fn misfit(plan: &Plan, rooms: &[Room], error: &ProblemError) -> Failure {
    let ProblemError::NoSite { task } = *error else {
        return Failure::new(ErrorKind::Invalid, format!("the workflow does not fit the hosts: {error}"));
    };
    let label = plan.instance_ids().nth(task).map(|instance| plan.label(instance)).unwrap_or_default();
    let Room { cores, memory, gpus } = rooms.get(task).copied().unwrap_or_default();
    let mut needs = vec![many(cores, "core")];
    needs.extend((memory > 0).then(|| format!("{} of memory", Bytes(memory))));
    needs.extend((gpus > 0).then(|| many(gpus, "GPU")));
    let message = format!("no host has the room that `{label}` needs where it may run: {}", needs.join(", "));
    Failure::new(ErrorKind::Invalid, message).hint(
        "describe a host that has it (`cores`, `memory`, `gpus`), name others in `on`, or ask for less in its `resources`; \
         `[tasks.NAME]` with `memory` says how much it takes",
    )
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
        let parts = [(self.memory_said, "said by the file"), (self.memory_learned, "learned")];
        if parts.iter().any(|(n, _)| *n > 0) {
            let parts: Vec<String> =
                parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", number(*n))).collect();
            words.push_str(&format_args!(" Memory: {}.", parts.join(", ")).to_string());
        }
        if self.likened_files > 0 {
            let files = many(self.likened_files, "file");
            let count = if self.likened_files == 1 { "counts" } else { "count" };
            words.push_str(
                &format_args!(" {files} of unknown size {count} as large as others of their task.").to_string(),
            );
        }
        if self.unsized_files > 0 {
            let files = many(self.unsized_files, "file");
            let count = if self.unsized_files == 1 { "counts" } else { "count" };
            words.push_str(
                &format_args!(" {files} of unknown size {count} as empty; `[tasks.NAME] output = \"2G\"` says more.")
                    .to_string(),
            );
        }
        if !self.is_said {
            words.push_str(
                " No task says `on`: all hosts were compared, as with `on = \"any\"`; `csync submit` runs what says none here.",
            );
        }
        words
    }
}
