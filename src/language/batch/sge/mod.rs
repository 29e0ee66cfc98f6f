//! Grid Engine: Sun's, Son of Grid Engine, Open Grid Scheduler, Univa's.

mod probe;
mod xml;

pub use probe::{PROBE, parse_probe};
