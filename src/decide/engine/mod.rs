//! The runs as a state machine: events in, actions out.
//!
//! [`Engine::handle`](machine::Engine::handle) is the only way in. It reads no clock, opens nothing and draws no randomness:
//! the same events at the same times give the same actions. What must survive a crash leaves as
//! [`Record`](protocol::Record); an engine that is told the records again ([`Event::Restored`](protocol::Event)) stands where
//! the first one stood.
//!
//! | file | what it holds |
//! |---|---|
//! | `protocol` | events, actions, records |
//! | `machine` | the engine: its runs, what they share, one method per event |
//! | `run` | one run: the phases of its instances and the counters over them |
//! | `attempts` | the life of an attempt |
//! | `ahead` | what is handed over before its turn, where the host keeps the order |
//! | `spread` | what a change of one instance does to the others |
//! | `select` | cancel and retry by people |
//! | `restore` | a run from its records |
//! | `hosts` | what each host has room for, and what is ready for it |
//! | `placing` | what may go to several hosts, bound to one when its turn comes, and called back when another is better |
//! | `rooms` | what one job may have on a host or in one of its partitions |
//! | `foresight` | what an attempt needs by what was learned, and by what jobs wait |
//! | `phase`, `order`, `grant`, `retry`, `queue` | the small parts |
//! | `views` | what the API asks |

pub mod limits;
pub mod machine;
pub mod protocol;
pub mod run;
pub mod views;

mod ahead;
mod attempts;
mod foresight;
mod grant;
mod hosts;
pub(in crate::decide) mod order;
mod phase;
mod placing;
mod queue;
mod restore;
mod retry;
mod rooms;
mod select;
mod spread;

#[cfg(test)]
mod tests;
