//! How jobs run: the local worker, seen from the engine.
//!
//! The worker is a process of its own ([`crate::serve::worker`]) that outlives the engine. [`Local`] finds a living one or starts
//! one; [`wire`] is what the two say to each other; [`sweep()`] ends what a worker left behind that died.

mod local;
mod sweep;
pub mod wire;

pub use local::{ConnectError, Connected, Launch, Local, LocalEvent};
pub use sweep::{SweepError, sweep};
