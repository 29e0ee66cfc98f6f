//! The minds: pure functions and state machines. Time, randomness and facts come in as arguments.
//!
//! Rooms stand in the order in which they may import each other; blank lines keep rustfmt from sorting them.

pub mod outcome;

pub mod learn;

pub mod place;

pub mod graph;

pub mod route;

pub mod outlook;

pub mod engine;

pub mod simulate;

pub mod fresh;

pub mod advise;
