//! The hands: each room talks to one thing outside.
//!
//! Rooms stand in the order in which they may import each other; blank lines keep rustfmt from sorting them.

pub mod clock;

pub mod config;

pub mod index;

pub mod transport;

pub mod stage;

pub mod probe;

pub mod docker;

pub mod machine;

pub mod files;

pub mod executor;

pub mod store;

pub mod learned;

pub mod frames;

pub mod advice;

// After `config`: it needs to know where the engine's socket is.
pub mod client;
