//! The minds: pure functions and state machines. Time, randomness and facts come in as arguments.

pub mod fresh;

pub mod engine;
