//! The runs as a state machine: events in, actions out.

pub mod protocol;
