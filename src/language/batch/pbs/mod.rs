//! OpenPBS and PBS Professional.

mod probe;

pub use probe::{PROBE, parse_probe};
