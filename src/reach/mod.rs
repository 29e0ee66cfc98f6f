//! The hands: each room talks to one thing outside.

pub mod clock;
pub mod config;
pub mod executor;
pub mod files;
pub mod machine;
pub mod store;

// After `config`: it needs to know where the engine's socket is.
pub mod client;
