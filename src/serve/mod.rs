//! The loops: wait, ask a mind, perform.

pub mod prepare;

pub mod worker;

pub mod engine;

pub mod api;
