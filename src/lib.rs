//! The map of csync: six floors, each importing only the floors above it in this list.
//!
//! | floor | what it holds | what is absent |
//! |---|---|---|
//! | [`model`] | the nouns, valid by construction; parsing and printing of units | logic |
//! | [`language`] | text to model and back: workflow files, import of others' formats | files, processes, clocks; rooms that know each other (their `mod` lines say which share what) |
//! | [`decide`] | the minds: what is up to date, what runs next; pure functions and state machines | I/O, time of its own, randomness |
//! | [`reach`] | the hands: each talks to one thing outside | decisions |
//! | [`serve`] | the loops: wait, ask a mind, perform | parsing of people's files |
//! | [`cli`] | the door: one file per command; views; errors to exit codes | everything else |
//!
//! Nothing above `reach` does I/O, reads a clock or the environment: `tests/house.rs` holds these walls.

pub mod cli;
pub mod decide;
pub mod language;
pub mod model;
pub mod reach;
pub mod serve;
