//! OpenPBS and PBS Professional.
//!
//! Text of `qstat -f -w`, never JSON: it tells of the first only when several ids are asked for, guesses types, and breaks on
//! other users' environments. Never the table either: it cuts ids and names.

mod history;
mod load;
mod probe;
mod queue;
mod records;
mod start;
mod submit;
mod traces;

pub use history::{history, parse_history};
pub use load::{load, parse_load};
pub use probe::{PROBE, parse_probe};
pub use queue::{parse_queue, queue};
pub use start::{parse_start, start};
pub use submit::{cancel, parse_cancel, parse_submit, submit};
pub use traces::traces;
