//! Grid Engine: Sun's, Son of Grid Engine, Open Grid Scheduler, Univa's.

mod history;
mod load;
mod probe;
mod queue;
mod submit;
mod xml;

pub use history::{history, parse_history};
pub use load::{load, parse_load};
pub use probe::{PROBE, parse_probe};
pub use queue::{explain, parse_explain, parse_queue, queue};
pub use submit::{cancel, parse_cancel, parse_submit, submit};
