//! Workflows and queues on virtual time, over hosts, links, queues and faults that are described and not there.
//!
//! What decides is the [`engine`](crate::decide::engine) that runs real work, unchanged: it is told of starts and endings at
//! virtual times, by hosts that have their own mind about run times, waits and what fails. What is believed comes to it as a
//! history, and it learns from what ends, as it does from real work. Beside it stand the ways in which work is spread without
//! it, for comparison. Everything follows from a seed.
//!
//! | file | what it holds |
//! |---|---|
//! | `world` | what there is, and the ways to spread work over it |
//! | `script` | work as the engine is told of it |
//! | `live` | the engine, and the hosts that obey it |
//! | `stage` | a described scenario as hosts and links |
//! | `luck` | chance |
//! | `queue` | a batch system's queue of many people |

pub mod luck;

pub mod world;

mod live;

mod script;

pub mod queue;

pub mod stage;

#[cfg(test)]
mod tests;
