//! Hosts, what lies between them, and what they hold: the graph that routing minimizes over.
//!
//! Quantities are intervals that say where they come from, so that a sum of guesses is never taken for a measurement.

pub mod datasets;

pub mod estimate;

pub mod load;

pub mod queues;

pub mod net;

pub mod search;

pub mod known;

#[cfg(test)]
mod tests;
