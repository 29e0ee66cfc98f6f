//! What the learner would have asked for on recorded histories, beside the best published methods on the same ones.
//!
//! The histories are not part of the project (some carry no licence). They are looked for in the folder that `CSYNC_TRACES`
//! names, else in `../shared/data/traces`; what is not there is said and left out. `cargo bench --bench replay [PART]`, where a
//! part is `p1`, `p2`, `p3`, `walltime`, `runtime` or `lotaru`.

#![expect(clippy::print_stdout, reason = "a report is what this prints")]
#![expect(clippy::expect_used, reason = "a benchmark that cannot go on says so and ends")]

mod data;
mod hosts;
mod memory;
mod time;

use csync::decide::learn::profile::Question;
use csync::decide::learn::stakes::Caution;

/// A named part of the report.
type Part = (&'static str, fn(&data::Traces));

/// The parts of the report.
const PARTS: [Part; 6] = [
    ("p1", memory::with_history),
    ("p2", memory::from_nothing),
    ("p3", memory::shippable),
    ("walltime", time::limits),
    ("runtime", time::run_times),
    ("lotaru", hosts::lotaru),
];

fn main() {
    // `cargo test` has no minutes to spare: a made-up history of each kind, to see that nothing panics.
    if !std::env::args().any(|arg| arg == "--bench") {
        return smoke();
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let Some(traces) = data::Traces::find() else {
        println!("no histories: set CSYNC_TRACES to a folder with trace_*.csv.gz, wfprofile.csv.gz and lotaru/");
        return;
    };
    for (name, part) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            part(&traces);
            println!();
        }
    }
}

/// Learns from small made-up histories, with all that a replay does.
fn smoke() {
    let mut student = data::Student::default();
    for n in 0..60_u32 {
        let input = f64::from(n % 9) * 1e8;
        student.learn(input, 1e9 + input, 30.0 + input / 1e7);
        let found = student.profile.memory(Question { input, grain: 1e6, caution: Caution::Safe });
        let time = student.profile.run_time(input);
        assert!(student.n < 6 || (found.is_some() && time.is_some()), "nothing is predicted after {n}");
    }
    let rows: Vec<data::Row> = (0..40_u32)
        .map(|n| data::Row {
            id: f64::from(n),
            input: f64::from(n % 7) * 1e8,
            memory: 1e9 + f64::from(n % 7) * 1e8,
            hours: 0.01,
            asked_memory: 8e9,
            asked_time: 3600.0,
            start: f64::from(n) * 10.0,
            complete: f64::from(n) * 10.0 + 36.0,
        })
        .collect();
    memory::smoke(&rows);
    time::smoke(&rows);
    println!("the replays run with `cargo bench --bench replay`");
}
