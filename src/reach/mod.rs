//! The hands: each room talks to one thing outside.

pub mod client;
pub mod clock;
pub mod config;
pub mod executor;
pub mod files;
pub mod machine;
pub mod store;
