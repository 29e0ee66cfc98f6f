//! How work is spread, against how csync spreads it, on virtual time: `cargo bench --bench ablation`.
//!
//! Made-up workflows (layers, trees, chains, sweeps) over a laptop, two lab machines and a batch cluster, as in the bench of
//! placement: 120 s of queue a task, thin links, data on a lab machine. Run times are known as means of their kind, hosts' speeds
//! with an error, waits vary, some attempts fail. Prints a table of geometric means over the lower bound; `--svg FILE` draws it.
//! It also says how often the interval of waits holds on synthetic queues, of seeds that nothing was chosen on.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "a bench")]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use csync::decide::learn::waits::{Waited, predict};
use csync::decide::place::problem::{File, Network, Path, Problem, Room, Site, Wait, Work};
use csync::decide::simulate::luck::{Chance, Dice, Luck};
use csync::decide::simulate::queue::{Job, jobs, starts};
use csync::decide::simulate::world::{Belief, Ran, Strategy, World};

/// Name, cores, speed, queue wait.
const HOSTS: [(&str, u32, f64, f64); 4] =
    [("laptop", 2, 1.0, 0.0), ("lab1", 4, 1.2, 0.0), ("lab2", 4, 0.8, 0.0), ("hpc", 16, 1.6, 120.0)];
/// MB/s and latency between hosts.
const LINKS: [(usize, usize, f64, f64); 6] = [
    (0, 1, 40.0, 0.02),
    (0, 2, 40.0, 0.02),
    (1, 2, 110.0, 0.001),
    (0, 3, 8.0, 0.06),
    (1, 3, 30.0, 0.03),
    (2, 3, 30.0, 0.03),
];
const DATA: u16 = 2;

/// What is true of the world: run times off by 0.3, waits by 0.5, one attempt of a hundred fails.
const CHANCE: Chance = Chance { runs: 0.3, waits: 0.5, fails: 0.01 };
/// How far off the hosts' speeds are believed to be.
const SPEEDS: f64 = 0.2;

fn network() -> Network {
    let sites = HOSTS.iter().map(|&(_, cores, speed, wait)| {
        let wait = if wait > 0.0 { Wait::Each(wait) } else { Wait::None };
        Site { room: Room::cores(cores), speed, wait, rate: 0.0 }
    });
    let mut network = Network { sites: sites.collect(), paths: vec![None; 16], links: LINKS.len() };
    for (link, &(a, b, rate, latency)) in (0..).zip(&LINKS) {
        for (from, to) in [(a, b), (b, a)] {
            network.paths[from * 4 + to] = Some(Path { links: vec![link], latency, per_byte: 1.0 / (rate * 1e6) });
        }
    }
    network
}

/// A shape: which tasks each waits for.
type Shape = (&'static str, fn(usize, usize) -> Vec<usize>, usize, f64, f64);

/// Name, what task `n` of so many waits for, how many tasks, mean seconds, mean bytes of a file.
const SHAPES: [Shape; 8] = [
    ("sweep of 200, 10 s", |_, _| Vec::new(), 200, 10.0, 2e6),
    ("sweep of 200, 20 min", |_, _| Vec::new(), 200, 1200.0, 5e7),
    ("layers 10 x 20, 5 min", layers, 200, 300.0, 2e8),
    ("layers 10 x 20, 15 s", layers, 200, 15.0, 1e7),
    ("chains 20 x 10, 5 min", chains, 200, 300.0, 1e9),
    ("chains 20 x 10, 15 s", chains, 200, 15.0, 1e7),
    ("tree of 255, 200 s", |n, _| if n == 0 { Vec::new() } else { vec![(n - 1) / 2] }, 255, 200.0, 1e8),
    ("gather of 128, 400 s", |n, all| if n + 1 == all { (0..n).collect() } else { Vec::new() }, 129, 400.0, 3e8),
];

fn layers(n: usize, _: usize) -> Vec<usize> {
    if n < 20 { Vec::new() } else { vec![(n / 20 - 1) * 20 + n % 20, (n / 20 - 1) * 20 + (n + 7) % 20] }
}

fn chains(n: usize, _: usize) -> Vec<usize> {
    if n < 20 { Vec::new() } else { vec![n - 20] }
}

fn problem(shape: &Shape, seed: u64) -> Problem {
    let &(_, after, count, seconds, bytes) = shape;
    let mut dice = Dice::new(seed);
    let mut files: Vec<File> = (0..count).map(|_| File { bytes: bytes * dice.factor(0.8), at: Vec::new() }).collect();
    let work = (0..count).map(|number| {
        let before = after(number, count);
        let mut inputs: Vec<u32> = before.iter().map(|&task| task as u32).collect();
        if before.is_empty() {
            files.push(File { bytes: bytes * dice.factor(0.8), at: vec![DATA] });
            inputs.push((files.len() - 1) as u32);
        }
        Work {
            seconds: seconds * [0.5, 1.0, 2.0][number % 3],
            room: Room::cores(1),
            inputs,
            outputs: vec![number as u32],
            after: before.into_iter().map(|task| task as u32).collect(),
            only: Vec::new(),
            waits: None,
            policy: None,
        }
    });
    let work = work.collect();
    Problem::new(network(), work, files).unwrap()
}

fn geomean(values: &[f64]) -> f64 {
    (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp()
}

/// What came of a shape: each strategy's makespan over the bound; how many tasks csync's engine gave to hosts with a queue, and in how
/// many submissions.
struct Row {
    ratios: [f64; 7],
    given: (usize, usize),
}

/// Returns what comes of each shape.
fn table(seeds: u64) -> Vec<Row> {
    let row = |shape: &Shape| {
        let mut ratios: [Vec<f64>; 7] = std::array::from_fn(|_| Vec::new());
        let mut given = (0, 0);
        for seed in 0..seeds {
            let problem = problem(shape, 1000 + seed);
            let mut dice = Dice::new(7000 + seed);
            let mut belief = Belief::of(&problem);
            belief.speeds.iter_mut().for_each(|speed| *speed *= dice.factor(SPEEDS));
            let truth: Vec<f64> = problem.tasks.iter().map(|task| task.seconds).collect();
            let luck = Luck::draw(&truth, CHANCE, seed);
            let world = World { problem: &problem, luck: &luck, outages: &[], here: Some(0), policies: &[] };
            for (ratios, strategy) in ratios.iter_mut().zip(Strategy::ALL) {
                let course = world.run(strategy, &belief, seed);
                ratios.push(course.end / problem.lower_bound());
                if strategy == Strategy::Full {
                    let queued = |ran: &&Ran| HOSTS[usize::from(ran.site)].3 > 0.0;
                    let at = |ran: &Ran| (ran.site, ran.given.to_bits());
                    let all: Vec<(u16, u64)> = course.ran.iter().filter(queued).map(at).collect();
                    given = (given.0 + all.len(), given.1 + all.iter().collect::<BTreeSet<_>>().len());
                }
            }
        }
        Row { ratios: ratios.map(|ratios| geomean(&ratios)), given }
    };
    SHAPES.iter().map(row).collect()
}

/// Draws the means as bars.
fn svg(means: &[f64; 7]) -> String {
    let most = means.iter().copied().fold(0.0, f64::max);
    let mut text = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 640 250\" font-family=\"sans-serif\" \
                    font-size=\"13\"><rect width=\"640\" height=\"250\" fill=\"#fff\"/>\n\
                    <text x=\"10\" y=\"20\">Time until done, over what no placement can beat (geometric mean)</text>\n"
        .to_owned();
    for (at, (strategy, mean)) in Strategy::ALL.iter().zip(means).enumerate() {
        let (y, width) = (40 + 29 * at, 420.0 * mean / most);
        let color = if *strategy == Strategy::Full { "#2a7" } else { "#89a" };
        let _ = writeln!(
            text,
            "<text x=\"150\" y=\"{}\" text-anchor=\"end\">{}</text><rect x=\"160\" y=\"{y}\" width=\"{width:.1}\" height=\"20\" \
             fill=\"{color}\"/><text x=\"{:.1}\" y=\"{}\">{mean:.2}</text>",
            y + 15,
            strategy.name(),
            166.0 + width,
            y + 15,
        );
    }
    text + "</svg>\n"
}

/// Waits that were foretold.
#[derive(Clone, Copy, Default)]
struct Foretold {
    /// How many there were.
    of: u32,
    /// How many lay in their intervals.
    held: u32,
    /// How many jobs waited for nothing.
    at_once: u32,
    /// How many intervals were wider than that, and how many of those held: one that says "at once" of what does so nine times of ten
    /// holds those nine, and none that is narrower could be.
    wide: u32,
    wide_held: u32,
}

impl Foretold {
    fn plus(self, other: Self) -> Self {
        Self {
            of: self.of + other.of,
            held: self.held + other.held,
            at_once: self.at_once + other.at_once,
            wide: self.wide + other.wide,
            wide_held: self.wide_held + other.wide_held,
        }
    }
}

/// Foretells the wait of each job of a queue.
fn coverage(all: &[Job], begun: &[f64]) -> Foretold {
    let mut sum = Foretold::default();
    for (number, job) in all.iter().enumerate().skip(500) {
        let waited =
            |job: &Job, seconds| Waited { submitted: job.submitted, seconds, cores: job.cores, asked: job.asked };
        let (mut started, mut waiting) = (Vec::new(), Vec::new());
        for (other, start) in all.iter().zip(begun).take(number).skip(number.saturating_sub(800)) {
            if *start <= job.submitted {
                started.push(waited(other, start - other.submitted));
            } else {
                waiting.push(waited(other, job.submitted - other.submitted));
            }
        }
        let Some(found) = predict(&started, &waiting, job.submitted, job.cores, job.asked) else { continue };
        let wait = begun[number] - job.submitted;
        let held = (found.low..=found.high).contains(&wait);
        let wide = found.high > found.low;
        sum = sum.plus(Foretold {
            of: 1,
            held: u32::from(held),
            at_once: u32::from(wait <= 0.0),
            wide: u32::from(wide),
            wide_held: u32::from(wide && held),
        });
    }
    sum
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let whole = args.iter().any(|arg| arg == "--bench");
    let rows = table(if whole { 20 } else { 1 });
    print!("{:<22}", "over the bound");
    for strategy in Strategy::ALL {
        print!("{:>18}", strategy.name());
    }
    println!();
    for (shape, row) in SHAPES.iter().zip(&rows) {
        print!("{:<22}", shape.0);
        for ratio in &row.ratios {
            print!("{ratio:>18.2}");
        }
        println!();
    }
    let means: [f64; 7] =
        std::array::from_fn(|at| geomean(&rows.iter().map(|row| row.ratios[at]).collect::<Vec<f64>>()));
    print!("{:<22}", "geometric mean");
    for mean in &means {
        print!("{mean:>18.2}");
    }
    println!("\n");
    println!("arrays: what csync gave to hosts with a queue, and in how many submissions");
    for (shape, Row { given: (tasks, submissions), .. }) in SHAPES.iter().zip(&rows) {
        println!("  {:<20} {tasks:>6} tasks in {submissions:>5}", shape.0);
    }
    println!();
    if let Some(file) = args.iter().position(|arg| arg == "--svg").and_then(|at| args.get(at + 1)) {
        std::fs::write(file, svg(&means)).unwrap();
    }
    println!("waits: how often the 80 % interval held, on queues of seeds that nothing was chosen on");
    for load in [0.6, 0.75, 0.85, 0.95, 1.05] {
        for cores in [64, 512] {
            let mut sum = Foretold::default();
            for seed in 0..(if whole { 6 } else { 1 }) {
                let all = jobs(if whole { 3_000 } else { 700 }, cores, load, 500 + seed);
                sum = sum.plus(coverage(&all, &starts(&all, cores)));
            }
            let share = |part: u32, of: u32| 100.0 * f64::from(part) / f64::from(of.max(1));
            println!(
                "  load {load:<5} {cores:>4} cores  {:>5.1} % of {}; {:>5.1} % started at once; {:>5.1} % of {} that might wait",
                share(sum.held, sum.of),
                sum.of,
                share(sum.at_once, sum.of),
                share(sum.wide_held, sum.wide),
                sum.wide,
            );
        }
    }
}
