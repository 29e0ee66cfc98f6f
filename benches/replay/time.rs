//! Time: limits that are not reached, and how long things take.

use std::collections::{BTreeMap, VecDeque};

use csync::decide::learn::profile::Question;
use csync::decide::learn::stakes::Caution;

use crate::data::{Row, Student, Table, Traces, by_start, ended, median};

/// Hours asked for, and what was killed for too few.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    tasks: u32,
    kills: u32,
    long_kills: u32,
    hours: f64,
    burnt: f64,
    used: f64,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
enum Way {
    Preset,
    ThreeTimesTheLongest,
    Learned(Caution),
}

/// What a workflow without a time limit of its own is given, in seconds.
const PRESET: f64 = 4.0 * 3600.0;

fn replay(rows: &[Row], way: Way, asked: &mut Asked) {
    let mut student = Student::default();
    let mut under_way = Vec::new();
    for row in by_start(rows) {
        for over in ended(&mut under_way, row.start) {
            student.learn(over.input, over.memory, over.hours * 3600.0);
        }
        let (took, preset) = (row.hours * 3600.0, if row.asked_time.is_finite() { row.asked_time } else { PRESET });
        let learned = |caution| {
            let question = Question { input: row.input, grain: 60.0, caution };
            student.profile.time_limit(question).map(|found| found.request)
        };
        let limit = match way {
            Way::Preset => None,
            _ if student.n < 3 => None,
            Way::ThreeTimesTheLongest => Some((3.0 * student.most_time).max(60.0)),
            Way::Learned(caution) => learned(caution),
        };
        let mut limit = limit.map_or(preset, |limit| limit.min(preset));
        asked.tasks += 1;
        asked.used += row.hours;
        asked.long_kills += u32::from(limit < took && took > 3600.0);
        while limit < took {
            asked.kills += 1;
            asked.burnt += limit / 3600.0;
            limit = (2.0 * limit).max(60.0).min(preset.max(2.0 * limit));
        }
        asked.hours += limit / 3600.0;
        under_way.push(row);
    }
}

/// The walltime protocol.
pub(crate) fn limits(traces: &Traces) {
    println!("walltime: hours asked for, killed at the limit (of tasks over an hour), hours burnt so");
    println!("  on six workflows: preset 124,564 h; three times the longest 28,839 h (-77 %), 1.7 % killed");
    let ways = [
        ("preset", Way::Preset),
        ("longest x3", Way::ThreeTimesTheLongest),
        ("csync", Way::Learned(Caution::Balanced)),
        ("csync lean", Way::Learned(Caution::Lean)),
        ("csync safe", Way::Learned(Caution::Safe)),
    ];
    let workflows: Vec<Vec<Vec<Row>>> = traces.workflows().iter().map(|name| traces.workflow(name)).collect();
    let mut preset = f64::NAN;
    for (name, way) in ways {
        let mut asked = Asked::default();
        workflows.iter().flatten().for_each(|rows| replay(rows, way, &mut asked));
        if matches!(way, Way::Preset) {
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
