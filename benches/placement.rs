//! Placement beside the references, on `WfInstances`: `cargo bench --bench placement`.
//!
//! S1, the classic model (one task a node, edges alone): SAGA's HEFT and the best of its 20 algorithms. S2, what people wait
//! for (queues, copies that stay, one transfer at a time per link): HEFT with all of that, and the best after 10 CPU seconds of
//! local search. S3, imperfect knowledge: run times as means of their kind, hosts' speeds off by a factor of exp(N(0, 0.4)); the
//! reference binds late by the rank, csync is its engine.
//! Geometric means of makespan over lower bound.
//!
//! The instances are other people's data (LGPL-3.0) and not part of this repository: they are read from `CSYNC_BENCH_DATA`, or
//! `../shared/data` beside it. Without them it says so and measures nothing.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a bench"
)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path as FilePath, PathBuf};
use std::time::Instant;

use csync::decide::place::plan::{Effort, Policy, plan};
use csync::decide::place::problem::{File, Network, Path, Problem, Room, Site, Wait, Work};
use csync::decide::simulate::luck::{Dice, Luck};
use csync::decide::simulate::world::{Belief, Strategy, World};
use serde_json::Value;

/// `net16`: name, slots, speed, queue wait in seconds.
const HOSTS: [(&str, u32, f64, f64); 4] =
    [("laptop", 2, 1.0, 0.0), ("lab1", 4, 1.2, 0.0), ("lab2", 4, 0.8, 0.0), ("hpc", 6, 1.6, 120.0)];
/// Two hosts, MB/s, latency in seconds.
const LINKS: [(usize, usize, f64, f64); 6] = [
    (0, 1, 40.0, 0.02),
    (0, 2, 40.0, 0.02),
    (1, 2, 110.0, 0.001),
    (0, 3, 8.0, 0.06),
    (1, 3, 30.0, 0.03),
    (2, 3, 30.0, 0.03),
];
/// Where the data is at first.
const DATA: u16 = 2;
/// What hosts' speeds are mistaken by: exp(N(0, 0.4)), five draws (Python's `random.Random(seed).gauss`).
const MISTAKEN: [[f64; 4]; 5] = [
    [1.457_447, 0.571_991, 0.761_941, 1.159_746],
    [1.674_097, 1.785_642, 1.026_889, 0.736_521],
    [2.547_893, 0.767_097, 1.171_100, 1.060_360],
    [1.038_610, 1.648_737, 0.688_974, 1.487_283],
    [1.016_477, 1.204_357, 0.831_637, 1.151_483],
];
/// How many orders of the tasks S3 is a mean of.
const ORDERS: u64 = 10;
/// Of published or reference programs: instance, S1 HEFT, S1 best of 20.
const SAGA: [(&str, f64, f64); 8] = [
    ("1000genome-chameleon-22ch-100k-001", 1983.9, 1983.9),
    ("bacass-dirt02-001", 1343.8, 1343.8),
    ("blast-chameleon-large-001", 8214.2, 8197.2),
    ("bwa-chameleon-small-001", 66.1, 66.1),
    ("cycles-chameleon-1l-2c-9p-001", 181.2, 173.5),
    ("epigenomics-chameleon-hep-3seq-100k-001", 316.3, 273.9),
    ("montage-chameleon-2mass-005d-001", 17.5, 17.5),
    ("srasearch-chameleon-50a-001", 3426.9, 3426.9),
];

struct Instance {
    name: String,
    kinds: Vec<String>,
    seconds: Vec<f64>,
    inputs: Vec<Vec<u32>>,
    outputs: Vec<Vec<u32>>,
    after: Vec<Vec<u32>>,
    sizes: Vec<f64>,
    external: Vec<u32>,
}

fn strings(value: &Value) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let all = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    all.filter(|text| seen.insert((*text).to_owned())).map(str::to_owned).collect()
}

fn load(path: &FilePath) -> Instance {
    let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
    let whole: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let (specification, execution) = (&whole["workflow"]["specification"], &whole["workflow"]["execution"]);
    let measured: HashMap<&str, &Value> =
        execution["tasks"].as_array().unwrap().iter().map(|task| (task["id"].as_str().unwrap(), task)).collect();
    let tasks = specification["tasks"].as_array().unwrap();
    let numbers: HashMap<&str, u32> = (0..).zip(tasks).map(|(at, task)| (task["id"].as_str().unwrap(), at)).collect();
    let sizes: HashMap<&str, f64> = specification["files"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|file| {
            let size = file["sizeInBytes"].as_f64();
            (file["id"].as_str().unwrap(), size.unwrap_or_else(|| panic!("{name}: a file without a size: {file}")))
        })
        .collect();
    let mut files: HashMap<String, u32> = HashMap::new();
    let mut instance = Instance {
        name: name.clone(),
        kinds: Vec::new(),
        seconds: Vec::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        after: Vec::new(),
        sizes: Vec::new(),
        external: Vec::new(),
    };
    for task in tasks {
        let ran = measured[task["id"].as_str().unwrap()];
        let named = name.contains("nextflow") || name.contains("dirt02");
        let kind = if named { &task["name"] } else { &ran["command"]["program"] };
        let kind = kind.as_str().unwrap_or_else(|| panic!("{name}: a task of no kind: {task}"));
        instance.kinds.push(kind.trim_end_matches(|letter: char| letter.is_ascii_digit()).to_owned());
        let seconds = ran["runtimeInSeconds"].as_f64();
        // The references run what took no time for a millisecond, too.
        instance.seconds.push(seconds.unwrap_or_else(|| panic!("{name}: a task without a run time: {ran}")).max(1e-3));
        let mut number = |file: String| {
            let size = *sizes.get(file.as_str()).unwrap_or_else(|| panic!("{name}: nothing is said of file {file}"));
            *files.entry(file).or_insert_with(|| {
                instance.sizes.push(size);
                (instance.sizes.len() - 1) as u32
            })
        };
        instance.inputs.push(strings(&task["inputFiles"]).into_iter().map(&mut number).collect());
        instance.outputs.push(strings(&task["outputFiles"]).into_iter().map(&mut number).collect());
        instance.after.push(strings(&task["parents"]).iter().map(|parent| numbers[parent.as_str()]).collect());
    }
    let made: BTreeSet<u32> = instance.outputs.iter().flatten().copied().collect();
    let read: BTreeSet<u32> = instance.inputs.iter().flatten().copied().collect();
    instance.external = read.difference(&made).copied().collect();
    instance
}

/// The links of `net16`, held by one transfer at a time.
fn network(wait: impl Fn(f64) -> Wait) -> Network {
    let sites = HOSTS.iter().map(|&(_, slots, speed, queue)| {
        let wait = if queue > 0.0 { wait(queue) } else { Wait::None };
        Site { room: Room::cores(slots), speed, wait, rate: 0.0 }
    });
    let mut network = Network { sites: sites.collect(), paths: vec![None; 16], links: LINKS.len() };
    for (link, &(a, b, rate, latency)) in (0..).zip(&LINKS) {
        for (from, to) in [(a, b), (b, a)] {
            network.paths[from * 4 + to] = Some(Path { links: vec![link], latency, per_byte: 1.0 / (rate * 1e6) });
        }
    }
    network
}

fn data_aware(instance: &Instance, wait: impl Fn(f64) -> Wait) -> Problem {
    let mut files: Vec<File> = instance.sizes.iter().map(|&bytes| File { bytes, at: Vec::new() }).collect();
    for &file in &instance.external {
        files[file as usize].at.push(DATA);
    }
    let tasks = (0..instance.seconds.len()).map(|task| Work {
        seconds: instance.seconds[task],
        room: Room::cores(1),
        inputs: instance.inputs[task].clone(),
        outputs: instance.outputs[task].clone(),
        after: instance.after[task].clone(),
        only: Vec::new(),
        policy: None,
        waits: None,
    });
    Problem::new(network(wait), tasks.collect(), files).unwrap()
}

/// The classic model: 16 nodes of one slot, a file per edge, transfers that do not meet.
fn classic(instance: &Instance) -> Problem {
    let nodes: Vec<usize> =
        HOSTS.iter().enumerate().flat_map(|(host, &(_, slots, ..))| vec![host; slots as usize]).collect();
    let sites =
        nodes.iter().map(|&host| Site { room: Room::cores(1), speed: HOSTS[host].2, wait: Wait::None, rate: 0.0 });
    let mut paths = Vec::new();
    for &a in &nodes {
        for &b in &nodes {
            let link = LINKS.iter().find(|link| (link.0, link.1) == (a, b) || (link.1, link.0) == (a, b));
            paths.push(Some(Path {
                links: Vec::new(),
                latency: 0.0,
                per_byte: link.map_or(0.0, |link| 1.0 / (link.2 * 1e6)),
            }));
        }
    }
    let (mut files, mut tasks) = (Vec::new(), Vec::<Work>::new());
    for (task, &seconds) in instance.seconds.iter().enumerate() {
        let after = instance.after[task].clone();
        tasks.push(Work { seconds, room: Room::cores(1), after, ..Work::default() });
    }
    for task in 0..tasks.len() {
        let reads: BTreeSet<u32> = instance.inputs[task].iter().copied().collect();
        for before in instance.after[task].clone() {
            let bytes = instance.outputs[before as usize].iter().filter(|file| reads.contains(file));
            files.push(File { bytes: bytes.map(|&file| instance.sizes[file as usize]).sum(), at: Vec::new() });
            let number = (files.len() - 1) as u32;
            tasks[task].inputs.push(number);
            tasks[before as usize].outputs.push(number);
        }
    }
    Problem::new(Network { sites: sites.collect(), paths, links: 0 }, tasks, files).unwrap()
}

/// Runs a workflow with csync's engine, which knows run times as means of their kind, and hosts by mistaken speeds.
fn live(problem: &Problem, believed: &[f64], mistaken: &[f64]) -> f64 {
    let seconds: Vec<f64> = problem.tasks.iter().map(|task| task.seconds).collect();
    let luck = Luck { seconds, waits: Vec::new(), failed: 0 };
    let speeds = problem.network.sites.iter().zip(mistaken).map(|(site, factor)| site.speed * factor).collect();
    let belief = Belief { seconds: believed.to_vec(), speeds, kinds: Vec::new() };
    World { problem, luck: &luck, outages: &[], here: Some(0), policies: &[] }.run(Strategy::Full, &belief, 0).end
}

fn means(instance: &Instance) -> Vec<f64> {
    let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (kind, seconds) in instance.kinds.iter().zip(&instance.seconds) {
        let sum = sums.entry(kind).or_default();
        *sum = (sum.0 + seconds, sum.1 + 1.0);
    }
    instance.kinds.iter().map(|kind| sums[kind.as_str()].0 / sums[kind.as_str()].1).collect()
}

fn geomean(values: impl Iterator<Item = f64> + Clone) -> f64 {
    (values.clone().map(f64::ln).sum::<f64>() / values.count() as f64).exp()
}

fn data() -> Option<PathBuf> {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data"));
    let root = std::env::var_os("CSYNC_BENCH_DATA").map_or(beside, PathBuf::from);
    Some(root.join("wfinstances")).filter(|dir| dir.is_dir())
}

fn main() {
    // `cargo test` only wants to see that it runs.
    if !std::env::args().any(|arg| arg == "--bench") {
        cost_table(&[(170, 4, None)]);
        return;
    }
    let Some(dir) = data() else {
        cost_table(&SIZES);
        println!("placement: no WfInstances here; CSYNC_BENCH_DATA names a directory with `wfinstances/*.json`");
        return;
    };
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "json") && path.to_str().unwrap().contains('-'));
    paths.retain(|path| path.file_stem().is_some_and(|name| name != "net16"));
    paths.sort();
    let instances: Vec<Instance> = paths.iter().map(|path| load(path)).collect();
    classic_table(&instances);
    queue_table(&instances);
    knowledge_table(&instances);
    cost_table(&SIZES);
}

fn timed(problem: &Problem, effort: Effort) -> (f64, f64) {
    let start = Instant::now();
    let made = plan(problem, Policy::Fastest, effort);
    (made.end, start.elapsed().as_secs_f64() * 1e3)
}

fn classic_table(instances: &[Instance]) {
    println!(
        "S1, the classic model: makespan in s\n{:<42}{:>9}{:>9}{:>9}{:>9}{:>9}",
        "", "bound", "HEFT", "best/20", "csync", "ms"
    );
    let mut rows = Vec::new();
    for instance in instances {
        let problem = classic(instance);
        let (end, ms) = timed(&problem, Effort::fair(problem.tasks.len(), 16));
        let known = SAGA.iter().find(|known| known.0 == instance.name);
        let (heft, best) = known.map_or((f64::NAN, f64::NAN), |known| (known.1, known.2));
        let bound = problem.lower_bound();
        println!("{:<42}{bound:>9.1}{heft:>9.1}{best:>9.1}{end:>9.1}{ms:>9.2}", instance.name);
        rows.push((heft / bound, best / bound, end / bound, end / heft));
    }
    println!(
        "geomean over the bound: HEFT {:.3}, best of 20 {:.3}, csync {:.3}; worst csync / HEFT {:.3}\n",
        geomean(rows.iter().map(|row| row.0)),
        geomean(rows.iter().map(|row| row.1)),
        geomean(rows.iter().map(|row| row.2)),
        rows.iter().map(|row| row.3).fold(0.0, f64::max),
    );
}

fn queue_table(instances: &[Instance]) {
    println!(
        "S2, queues, copies and links: makespan over the bound\n{:<42}{:>9}{:>9}{:>9}{:>9}{:>9}",
        "", "one", "fair", "ms", "1000", "s"
    );
    for (name, each) in [("pilot", false), ("per task", true)] {
        let mut rows = Vec::new();
        for instance in instances {
            let problem = data_aware(instance, |queue| if each { Wait::Each(queue) } else { Wait::Once(queue) });
            let bound = problem.lower_bound();
            let (one, _) = timed(&problem, Effort::QUICK);
            let (fair, ms) = timed(&problem, Effort::fair(problem.tasks.len(), 4));
            let (long, long_ms) = timed(&problem, Effort { schedules: 1000, seed: 0 });
            let label = format!("{} {name}", instance.name);
            println!(
                "{label:<42}{:>9.3}{:>9.3}{ms:>9.2}{:>9.3}{:>9.2}",
                one / bound,
                fair / bound,
                long / bound,
                long_ms / 1e3
            );
            rows.push((one / bound, fair / bound, long / bound));
        }
        let (reference, stretch) = if each { (1.448, 1.390) } else { (1.319, 1.281) };
        println!(
            "geomean {name}: HEFT data-aware {reference} (17 instances after 10 s of search: {stretch}), csync one {:.3}, fair {:.3}, 1000 {:.3}\n",
            geomean(rows.iter().map(|row| row.0)),
            geomean(rows.iter().map(|row| row.1)),
            geomean(rows.iter().map(|row| row.2)),
        );
    }
}

/// Puts the tasks of a problem, and what is believed of them, in another order: of those that are believed to be alike, which
/// comes first is luck.
fn shuffled(problem: &Problem, believed: &[f64], seed: u64) -> (Problem, Vec<f64>) {
    let mut dice = Dice::new(seed);
    let mut order: Vec<usize> = (0..problem.tasks.len()).collect();
    for last in (1..order.len()).rev() {
        order.swap(last, dice.below(last + 1));
    }
    let mut place = vec![0; order.len()];
    for (new, &old) in (0_u32..).zip(&order) {
        place[old] = new;
    }
    let task = |&old: &usize| {
        let task = problem.tasks[old].clone();
        Work { after: task.after.iter().map(|&before| place[before as usize]).collect(), ..task }
    };
    let tasks = order.iter().map(task).collect();
    let believed = order.iter().map(|&old| believed[old]).collect();
    (Problem::new(problem.network.clone(), tasks, problem.files.clone()).unwrap(), believed)
}

fn knowledge_table(instances: &[Instance]) {
    println!(
        "S3, imperfect knowledge (pilot), csync's engine on virtual time: makespan over the bound, mean of {ORDERS} orders of the \
         tasks\n{:<42}{:>9}{:>9}{:>9}",
        "", "means", "speeds", "ms"
    );
    let mut rows = Vec::new();
    for instance in instances {
        let problem = data_aware(instance, Wait::Once);
        let (mut known, mut mistaken) = (0.0, 0.0);
        let start = Instant::now();
        for seed in 0..ORDERS {
            let (problem, believed) = shuffled(&problem, &means(instance), seed);
            known += live(&problem, &believed, &[1.0; 4]);
            mistaken += MISTAKEN.iter().map(|factors| live(&problem, &believed, factors)).sum::<f64>() / 5.0;
        }
        let ms = start.elapsed().as_secs_f64() * 1e3 / (6 * ORDERS) as f64;
        let bound = problem.lower_bound() * ORDERS as f64;
        println!("{:<42}{:>9.3}{:>9.3}{ms:>9.2}", instance.name, known / bound, mistaken / bound);
        rows.push((known / bound, mistaken / bound));
    }
    println!(
        "geomean: reference 1.389 and 1.561, csync {:.3} and {:.3}\n",
        geomean(rows.iter().map(|row| row.0)),
        geomean(rows.iter().map(|row| row.1)),
    );
}

/// Layers of tasks that each read two files of the layer before, over hosts in a full mesh.
fn layers(tasks: usize, sites: usize) -> Problem {
    let mut network = Network { sites: Vec::new(), paths: vec![None; sites * sites], links: sites * sites };
    for from in 0..sites {
        let (cores, speed) = (8 + 8 * (from as u32 % 4), 1.0 + 0.1 * from as f64);
        network.sites.push(Site { room: Room::cores(cores), speed, wait: Wait::None, rate: 0.0 });
        for to in (0..sites).filter(|&to| to != from) {
            let link = (from.min(to) * sites + from.max(to)) as u32;
            network.paths[from * sites + to] = Some(Path { links: vec![link], latency: 0.01, per_byte: 1e-8 });
        }
    }
    let width = (tasks / 20).max(1);
    let work = (0..tasks).map(|task| {
        let before = |shift: usize| ((task / width - 1) * width + (task + shift) % width) as u32;
        let after = if task < width { Vec::new() } else { vec![before(0), before(7)] };
        let seconds = 10.0 + (task * 2_654_435_761 % 600) as f64;
        Work {
            seconds,
            room: Room::cores(1),
            inputs: after.clone(),
            outputs: vec![task as u32],
            after,
            only: Vec::new(),
            policy: None,
            waits: None,
        }
    });
    let files = (0..tasks).map(|task| File { bytes: (task * 40_503 % 1000) as f64 * 1e6, at: Vec::new() }).collect();
    let mut work: Vec<Work> = work.collect();
    for task in &mut work {
        task.after.dedup();
        task.inputs.dedup();
    }
    Problem::new(network, work, files).unwrap()
}

/// Tasks, hosts, and how hard to try.
type Size = (usize, usize, Option<Effort>);

const SIZES: [Size; 3] = [(1_700, 4, None), (1_700, 4, Some(Effort::QUICK)), (100_000, 20, None)];

fn cost_table(sizes: &[Size]) {
    println!("\nThe cost of a plan\n{:<42}{:>9}{:>9}", "", "ms", "/ bound");
    for &(tasks, sites, effort) in sizes {
        let problem = layers(tasks, sites);
        let (end, ms) = timed(&problem, effort.unwrap_or_else(|| Effort::fair(tasks, sites)));
        let label = format!("{tasks} tasks, {sites} hosts{}", if effort.is_some() { ", one schedule" } else { "" });
        println!("{label:<42}{ms:>9.1}{:>9.3}", end / problem.lower_bound());
    }
}
