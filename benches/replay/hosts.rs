//! Run times on hosts that a task was never on, after a few small runs at home.

use csync::decide::learn::hosts::Factor;

use crate::data::{Student, Traces, median};

/// One run.
struct Run {
    node: String,
    workflow: String,
    task: String,
    label: String,
    input: f64,
    /// Seconds.
    wall: f64,
}

/// A full-size run on some node, beside what was predicted for the node at home.
struct Guess {
    node: String,
    workflow: String,
    task: String,
    label: String,
    wall: f64,
    home: f64,
}

impl Guess {
    fn ratio(&self) -> f64 {
        self.wall / self.home
    }

    fn error(&self, factor: f64) -> f64 {
        (self.home * factor - self.wall).abs() / self.wall
    }
}

/// The nodes that are predicted, each with Lotaru-G's published error and that of a factor learned from other workflows.
const NODES: [(&str, f64, f64); 5] = [
    ("asok01", 0.180, 0.186),
    ("asok02", 0.193, 0.192),
    ("c2", 0.152, 0.167),
    ("n1", 0.191, 0.139),
    ("n2", 0.146, 0.148),
];

fn runs(traces: &Traces) -> Vec<Run> {
    let mut runs = Vec::new();
    for node in traces.list("lotaru/traces") {
        for workflow in traces.list(&format!("lotaru/traces/{node}")) {
            let name = format!("lotaru/traces/{node}/{workflow}/trace.csv");
            let Some(table) = traces.table(&name) else { continue };
            let (labels, tasks) = (table.texts("label"), table.texts("task"));
            let (inputs, walls) = (table.numbers("taskinputsizeuncompressed"), table.numbers("realtime"));
            let rows = labels.into_iter().zip(tasks).zip(inputs.into_iter().zip(walls));
            runs.extend(rows.map(|((label, task), (input, wall))| Run {
                node: node.clone(),
                workflow: workflow.clone(),
                task,
                label,
                input,
                wall: wall / 1e3,
            }));
        }
    }
    runs
}

fn guesses(runs: &[Run]) -> Vec<Guess> {
    let mut tasks: Vec<(&str, &str)> =
        runs.iter().filter(|run| run.node == "local").map(|run| (run.workflow.as_str(), run.task.as_str())).collect();
    tasks.sort_unstable();
    tasks.dedup();
    let mut guesses = Vec::new();
    for (workflow, task) in tasks {
        let of_task = |run: &&Run| run.workflow == workflow && run.task == task;
        for label in ["train-1", "train-2"] {
            let mut student = Student::default();
            let small = runs.iter().filter(of_task).filter(|run| run.node == "local" && run.label == label);
            small.take(6).for_each(|run| student.learn(run.input, 0.0, run.wall));
            for run in runs.iter().filter(of_task).filter(|run| run.label == "test" && run.wall > 0.0) {
                let Some(found) = student.profile.run_time(run.input) else { continue };
                guesses.push(Guess {
                    node: run.node.clone(),
                    workflow: run.workflow.clone(),
                    task: run.task.clone(),
                    label: label.to_owned(),
                    wall: run.wall,
                    home: found.middle.max(1e-3),
                });
            }
        }
    }
    guesses
}

/// The Lotaru protocol.
pub(crate) fn lotaru(traces: &Traces) {
    let guesses = guesses(&runs(traces));
    if guesses.is_empty() {
        return println!("Lotaru: no lotaru/traces");
    }
    println!(
        "Lotaru: median relative error on other hosts: cold (factor of other workflows), warm (after a run of the task)"
    );
    let (mut cold_all, mut warm_all) = (Vec::new(), Vec::new());
    for (node, published, learned) in NODES {
        let (mut cold, mut warm) = (Vec::new(), Vec::new());
        let here: Vec<&Guess> = guesses.iter().filter(|guess| guess.node == node).collect();
        for (i, guess) in here.iter().enumerate() {
            let others = here.iter().filter(|other| other.workflow != guess.workflow).map(|other| other.ratio());
            cold.push(guess.error(Factor::of(others.collect()).middle));
            let same = |other: &Guess| {
                (&other.workflow, &other.task, &other.label) == (&guess.workflow, &guess.task, &guess.label)
            };
            let before =
                here.iter().enumerate().filter(|(j, other)| *j != i && same(other)).map(|(_, other)| other.ratio());
            let factor = median(before);
            if factor.is_finite() {
                warm.push(guess.error(factor));
            }
        }
        println!(
            "  {node:<7} cold {:.3} beside {published:.3} (Lotaru-G), {learned:.3}  warm {:.3}",
            median(cold.iter().copied()),
            median(warm.iter().copied())
        );
        cold_all.extend(cold);
        warm_all.extend(warm);
    }
    println!(
        "  all {}: cold {:.3} beside 0.173, 0.167  warm {:.3} beside 0.055",
        cold_all.len(),
        median(cold_all),
        median(warm_all)
    );
}
