//! What SSH writes and reads: destinations, the options that `ssh -G` prints, `known_hosts`, and what `ssh` says when it fails.
//!
//! Pure functions over text. Connections are made in [`crate::reach::transport`].

pub mod config;
pub mod destination;
pub mod hop;
pub mod known_hosts;
pub mod options;
pub mod support;
pub mod trouble;

pub use destination::{BadDestination, Destination};
pub use hop::{Hop, Method};
pub use options::{Options, Person};
pub use trouble::{HostKeyTrouble, Trouble, Unreached, read_trouble};
