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
    // `cargo test` builds it and has no minutes to spare.
    if !std::env::args().any(|arg| arg == "--bench") {
        println!("the replays run with `cargo bench --bench replay`");
        return;
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
