//! When a job would start, by the batch system's own estimate: `sbatch --test-only`, which submits nothing.

use crate::language::batch::call::{limited, preamble};
use crate::language::batch::table::iso_time;
use crate::model::units::Walltime;

/// What stands before the time in what it says.
const WORDS: &str = " to start at ";

/// Returns the command that asks when a job of that size would start; the cluster's own time comes first.
pub fn start(cpus: u32, time: Option<Walltime>, account: Option<&str>) -> String {
    let mut words = vec!["sbatch".to_owned(), "--test-only".to_owned(), format!("--cpus-per-task={}", cpus.max(1))];
    words.extend(time.map(|time| format!("--time={}", time.0.div_ceil(60).max(1))));
    words.extend(account.map(|account| format!("--account={account}")));
    words.push("--wrap=true".to_owned());
    format!("{}date +%s; {} 2>&1\n", preamble(10), limited(&words))
}

/// Reads in how many seconds it would start; none where that is not said.
pub fn parse_start(output: &str) -> Option<f64> {
    let now: f64 = output.lines().find_map(|line| line.trim().parse::<u64>().ok())? as f64;
    let (_, said) = output.lines().find_map(|line| line.split_once(WORDS))?;
    let at = iso_time(said.split_ascii_whitespace().next()?)?;
    Some((at.0 as f64 / 1e6 - now).max(0.0))
}
