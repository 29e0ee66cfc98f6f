//! Time: limits that are not reached, and how long things take.

use std::collections::{BTreeMap, VecDeque};

use csync::decide::learn::limits::{Limits, Past, Way};
use csync::decide::learn::stakes::Caution;
use csync::model::observation::Observation;

use crate::data::{Row, Student, Table, Traces, by_start, median};

/// What a workflow without a time limit of its own is given, in seconds.
const PRESET: f64 = 4.0 * 3600.0;

/// The attempts of a process, as `csync profile replay` goes through those of a report.
fn history(rows: &[Row]) -> impl Iterator<Item = Past> {
    by_start(rows).into_iter().map(|row| {
        let took = row.hours * 3600.0;
        let (input, memory, wall) = (row.input as f32, row.memory as f32, took as f32);
        Past {
            times: (row.start, row.complete),
            took,
            asked: Some(if row.asked_time.is_finite() { row.asked_time } else { PRESET }),
            seen: Observation { input, memory, wall, ..Observation::default() },
        }
    })
}

/// The walltime protocol.
pub(crate) fn limits(traces: &Traces) {
    println!("walltime: hours asked for, killed at the limit (of tasks over an hour), hours burnt so");
    println!("  on six workflows: preset 124,564 h; three times the longest 28,839 h (-77 %), 1.7 % killed");
    let ways = [
        ("preset", Way::Asked),
        ("longest x3", Way::Longest(3.0)),
        ("csync", Way::Learned(Caution::Balanced)),
        ("csync lean", Way::Learned(Caution::Lean)),
        ("csync safe", Way::Learned(Caution::Safe)),
    ];
    let workflows: Vec<Vec<Vec<Row>>> = traces.workflows().iter().map(|name| traces.workflow(name)).collect();
    let mut preset = f64::NAN;
    for (name, way) in ways {
        let mut asked = Limits::default();
        workflows.iter().flatten().for_each(|rows| asked.add(&Limits::of(history(rows), way)));
        if way == Way::Asked {
            preset = asked.hours;
        }
        println!(
            "  {name:<11} {:>7.0} h ({:>5.1} %)  {:>4} killed ({:.2} %), {:>2} long, {:>6.1} h burnt of {:.0} h used",
            asked.hours,
            100.0 * (asked.hours / preset - 1.0),
            asked.kills,
            100.0 * f64::from(asked.kills) / f64::from(asked.tasks),
            asked.long_kills,
            asked.burnt,
            asked.used,
        );
    }
}

/// Goes through a small history: limits must come to something.
pub(crate) fn smoke(rows: &[Row]) {
    let [asked, learned] = [Way::Asked, Way::Learned(Caution::Balanced)].map(|way| Limits::of(history(rows), way));
    assert!(asked.tasks > 30 && learned.predicted > 20 && learned.hours < asked.hours, "{asked:?} {learned:?}");
}

/// The rows of the shippable set in the order of their instances, each with its application and category.
pub(crate) fn in_order(table: &Table) -> Vec<(usize, (String, String))> {
    let (created, instance, order) = (table.texts("created"), table.texts("instance"), table.numbers("order"));
    let (app, category) = (table.texts("app"), table.texts("category"));
    let mut rows: Vec<usize> = (0..created.len()).collect();
    rows.sort_by(|a, b| {
        (&created[*a], &instance[*a]).cmp(&(&created[*b], &instance[*b])).then(order[*a].total_cmp(&order[*b]))
    });
    rows.into_iter().map(|i| (i, (app[i].clone(), category[i].clone()))).collect()
}

/// Run times of the shippable set.
pub(crate) fn run_times(traces: &Traces) {
    const LAG: usize = 16;
    let Some(table) = traces.table("wfprofile.csv.gz") else { return println!("run time: no wfprofile.csv.gz") };
    let (wall, input) = (table.numbers("runtime_s"), table.numbers("input_bytes"));
    let mut categories: BTreeMap<(String, String), Vec<(f64, f64)>> = BTreeMap::new();
    for (i, key) in in_order(&table) {
        if wall[i] > 1.0 {
            categories.entry(key).or_default().push((input[i], wall[i]));
        }
    }
    let mut errors: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let (mut within, mut all) = (0u32, 0u32);
    for ((app, _), tasks) in categories.iter().filter(|(_, tasks)| tasks.len() >= 40) {
        let (mut student, mut unseen) = (Student::default(), VecDeque::new());
        for (input, wall) in tasks.iter().copied() {
            if unseen.len() >= LAG {
                let (input, wall) = unseen.pop_front().expect("there are that many");
                student.learn(input, 0.0, wall);
            }
            if let Some(found) = student.profile.run_time(input).filter(|_| student.n >= 5) {
                errors.entry(app).or_default().push((found.middle - wall).abs() / wall);
                all += 1;
                within += u32::from((found.low..=found.high).contains(&wall));
            }
            unseen.push_back((input, wall));
        }
    }
    println!("run time, shippable set: median relative error of {all}");
    for (app, errors) in &errors {
        print!("  {app} {:.3}", median(errors.iter().copied()));
    }
    println!("\n  all {:.3} beside 0.274 (median of the 7 nearest)", median(errors.values().flatten().copied()));
    println!("  80 % interval held {:.1} %", 100.0 * f64::from(within) / f64::from(all));
}
