//! The loops: wait, ask a mind, perform.
//!
//! Rooms stand in the order in which they may import each other; blank lines keep rustfmt from sorting them.

pub mod prepare;

pub mod worker;

pub mod site;

pub mod engine;

pub mod api;

pub mod host;
