//! Slurm, 20.11 and later.
//!
//! Text formats with a delimiter, never `--json`: its shape differs between versions, 22.05 gives wrong exit codes, and a
//! controller that is down gives an empty list with exit status 0.

mod history;
mod load;
mod probe;
mod queue;
mod start;
mod submit;

pub use history::{history, parse_history};
pub use load::{load, parse_load};
pub use probe::{PROBE, parse_probe};
pub use queue::{parse_queue, queue};
pub use start::{parse_start, start};
pub use submit::{cancel, parse_cancel, parse_submit, submit};
