//! Slurm, 20.11 and later.

mod probe;

pub use probe::{PROBE, parse_probe};
