//! Workflows and queues on virtual time, over hosts, links, queues and faults that are described and not there.
//!
//! The decisions are those of [`place`](crate::decide::place), unchanged: a [`Dispatcher`](crate::decide::place::dispatch)
//! that knows what is believed, in a world that has its own mind about run times, waits and what fails. Beside it stand the
//! ways in which work is spread without it, for comparison. Everything follows from a seed.

pub mod luck;

pub mod world;

pub mod queue;

pub mod stage;

#[cfg(test)]
mod tests;
