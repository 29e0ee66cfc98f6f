//! Memory: with a history, from nothing, and on a set that may be shipped.

use std::collections::{BTreeMap, VecDeque};

use csync::decide::learn::profile::Question;
use csync::decide::learn::stakes::Caution;

use crate::data::{Row, Student, Traces, by_start, ended, split};
use crate::time::in_order;

/// What is wasted, in GB-hours, and how many attempts failed for it.
#[derive(Clone, Copy, Debug, Default)]
struct Waste {
    gbh: f64,
    failed: u32,
    tasks: u32,
    /// How many needed between the ends of the 80 % interval.
    within: u32,
}

impl Waste {
    fn of(allocations: &[f64], needed: f64, hours: f64) -> Self {
        let mut waste = Self { tasks: 1, ..Self::default() };
        for allocation in allocations {
            if *allocation < needed {
                waste.gbh += allocation * 1e-9 * hours;
                waste.failed += 1;
            } else {
                waste.gbh += (allocation - needed) * 1e-9 * hours;
            }
        }
        waste
    }

    fn add(&mut self, other: Self) {
        self.gbh += other.gbh;
        self.failed += other.failed;
        self.tasks += other.tasks;
        self.within += other.within;
    }
}

/// What the references reach on a workflow: GB-hours and failures of the hybrid and of the Ponder-like method.
type Reference = (&'static str, (f64, u32), (f64, u32));

/// With a history: hybrid (a failure also costs ten minutes), Ponder-like.
const P1: [Reference; 6] = [
    ("chipseq", (58.3, 37), (92.5, 0)),
    ("eager", (240.3, 15), (1258.2, 2)),
    ("iwd", (0.4, 2), (1.1, 0)),
    ("mag", (264.1, 87), (398.5, 4)),
    ("methylseq", (682.2, 11), (402.0, 4)),
    ("rnaseq", (56.0, 22), (42.2, 1)),
];

/// From nothing, sized when a task starts, retries escalate: the same two.
const P2: [Reference; 6] = [
    ("chipseq", (262.4, 124), (252.4, 20)),
    ("eager", (1327.1, 34), (2577.5, 13)),
    ("iwd", (2.3, 15), (3.2, 2)),
    ("mag", (2864.2, 131), (3070.8, 18)),
    ("methylseq", (1732.7, 54), (2066.4, 12)),
    ("rnaseq", (830.0, 27), (820.4, 2)),
];

/// Input bytes, memory in bytes, run time in seconds.
type Task = (f64, f64, f64);

/// What the largest node has.
const NODE: f64 = 128e9;

fn request(student: &Student, input: f64, caution: Caution) -> Option<(f64, f64, f64)> {
    let found = student.profile.memory(Question { input, grain: 0.0, caution })?;
    Some((found.request, found.low, found.high))
}

/// A third of each process is known, the rest comes one by one.
fn one_by_one(rows: &[Row], caution: Caution, seed: u32) -> Waste {
    let (history, later) = split(rows.len(), seed);
    let mut student = Student::default();
    for row in history.into_iter().map(|i| rows[i]) {
        student.learn(row.input, row.memory, row.hours * 3600.0);
    }
    let mut waste = Waste::default();
    for row in later.into_iter().map(|i| rows[i]) {
        let (first, low, high) = request(&student, row.input, caution).unwrap_or((row.asked_memory, 0.0, 0.0));
        let mut allocations = vec![first];
        while allocations.last().is_some_and(|last| *last < row.memory) {
            allocations.extend(allocations.last().map(|last| student.profile.memory_after(*last)));
        }
        let within = u32::from((low..=high).contains(&row.memory));
        waste.add(Waste { within, ..Waste::of(&allocations, row.memory, row.hours) });
        student.learn(row.input, row.memory, row.hours * 3600.0);
    }
    waste
}

/// Nothing is known; a result counts when it is there; the workflow's own request until three are.
fn as_it_came(rows: &[Row], caution: Caution) -> Waste {
    let mut student = Student::default();
    let mut under_way = Vec::new();
    let mut waste = Waste::default();
    for row in by_start(rows) {
        for over in ended(&mut under_way, row.start) {
            student.learn(over.input, over.memory, over.hours * 3600.0);
        }
        let most = row.asked_memory.max(student.most_memory * 1.2);
        let learned = if student.n < 3 { None } else { request(&student, row.input, caution) };
        let mut allocations = vec![learned.map_or(row.asked_memory, |(first, ..)| first.min(most))];
        while let Some(last) = allocations.last().copied().filter(|last| *last < row.memory) {
            let next = student.profile.memory_after(last).max(last * 1.05);
            allocations.push(if last < row.asked_memory { next.min(row.asked_memory) } else { (2.0 * last).min(NODE) });
        }
        waste.add(Waste::of(&allocations, row.memory, row.hours));
        under_way.push(row);
    }
    waste
}

fn line(name: &str, ours: Waste, safe: Waste, reference: Option<((f64, u32), (f64, u32))>) {
    let ((hybrid, hybrid_failed), (ponder, ponder_failed)) = reference.unwrap_or(((f64::NAN, 0), (f64::NAN, 0)));
    println!(
        "  {name:<10} {:>6} tasks   {:>8.1} / {:<4} beside {hybrid:>8.1} / {hybrid_failed:<4}  safe {:>8.1} / {:<3} beside {ponder:>8.1} / {ponder_failed}",
        ours.tasks, ours.gbh, ours.failed, safe.gbh, safe.failed,
    );
}

fn table(traces: &Traces, references: &[Reference], replay: impl Fn(&[Row], Caution) -> Waste) -> Waste {
    let mut sums = [Waste::default(); 2];
    let mut reference_sums = ((0.0, 0), (0.0, 0));
    for workflow in traces.workflows() {
        let processes = traces.workflow(&workflow);
        let run = |caution| {
            let mut sum = Waste::default();
            for rows in &processes {
                sum.add(replay(rows, caution));
            }
            sum
        };
        let (ours, safe) = (run(Caution::Balanced), run(Caution::Safe));
        let reference =
            references.iter().find(|(name, ..)| *name == workflow).map(|(_, hybrid, ponder)| (*hybrid, *ponder));
        line(&workflow, ours, safe, reference);
        sums[0].add(ours);
        sums[1].add(safe);
        if let Some((hybrid, ponder)) = reference {
            reference_sums.0 = (reference_sums.0.0 + hybrid.0, reference_sums.0.1 + hybrid.1);
            reference_sums.1 = (reference_sums.1.0 + ponder.0, reference_sums.1.1 + ponder.1);
        }
    }
    line("sum", sums[0], sums[1], Some(reference_sums));
    sums[0]
}

/// Protocol P1.
pub(crate) fn with_history(traces: &Traces) {
    println!("P1, with a history: GB-hours wasted / failed attempts (hybrid; safe: Ponder-like)");
    let usable = |rows: &[Row]| rows.len() >= 34 && rows.iter().all(|row| row.hours != 0.0);
    let replay = |seed| {
        move |rows: &[Row], caution| if usable(rows) { one_by_one(rows, caution, seed) } else { Waste::default() }
    };
    let sum = table(traces, &P1, replay(1996));
    println!(
        "  80 % interval of memory held {:.1} % of {}",
        100.0 * f64::from(sum.within) / f64::from(sum.tasks),
        sum.tasks
    );
    for seed in 1..=4 {
        let mut sums = [Waste::default(); 2];
        for workflow in traces.workflows() {
            for rows in traces.workflow(&workflow) {
                sums[0].add(replay(seed)(&rows, Caution::Balanced));
                sums[1].add(replay(seed)(&rows, Caution::Safe));
            }
        }
        println!(
            "  split {seed}: {:.1} / {}  safe {:.1} / {}",
            sums[0].gbh, sums[0].failed, sums[1].gbh, sums[1].failed
        );
    }
}

/// Protocol P2.
pub(crate) fn from_nothing(traces: &Traces) {
    println!("P2, from nothing, sized at the start, retries escalate: GB-hours / failed (hybrid; safe: Ponder-like)");
    table(traces, &P2, as_it_came);
}

/// Protocol P3.
pub(crate) fn shippable(traces: &Traces) {
    const LAG: usize = 16;
    const PRESET: f64 = 4e9;
    let Some(table) = traces.table("wfprofile.csv.gz") else { return println!("P3: no wfprofile.csv.gz") };
    let (memory, wall, input) =
        (table.numbers("memory_bytes"), table.numbers("runtime_s"), table.numbers("input_bytes"));
    let mut categories: BTreeMap<(String, String), Vec<Task>> = BTreeMap::new();
    for (i, key) in in_order(&table) {
        if memory[i] > 0.0 && wall[i] > 0.0 {
            categories.entry(key).or_default().push((input[i], memory[i], wall[i]));
        }
    }
    let mut sum = Waste::default();
    for tasks in categories.values() {
        let (mut student, mut unseen) = (Student::default(), VecDeque::new());
        for (input, memory, wall) in tasks.iter().copied() {
            if unseen.len() >= LAG {
                let (input, memory, wall) = unseen.pop_front().expect("there are that many");
                student.learn(input, memory, wall);
            }
            let mut allocations = vec![request(&student, input, Caution::Balanced).map_or(PRESET, |(first, ..)| first)];
            while let Some(last) = allocations.last().copied().filter(|last| *last < memory) {
                allocations.push(student.profile.memory_after(last).max(1e8));
            }
            sum.add(Waste::of(&allocations, memory, wall / 3600.0));
            unseen.push_back((input, memory, wall));
        }
    }
    println!("P3, shippable set: GB-hours / failed");
    println!(
        "  {} tasks   {:.1} / {} beside 140.2 / 356 (waste-leader, failures x3), 182.6 / 140 (max seen)",
        sum.tasks, sum.gbh, sum.failed
    );
}

/// Goes through a small history with both protocols: what is predicted must come to something.
pub(crate) fn smoke(rows: &[Row]) {
    for caution in [Caution::Balanced, Caution::Safe] {
        let (known, cold) = (one_by_one(rows, caution, 1996), as_it_came(rows, caution));
        assert!(known.tasks > 20 && known.gbh.is_finite() && cold.tasks > 30 && cold.gbh.is_finite());
    }
}
