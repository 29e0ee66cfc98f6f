//! The nouns: valid by construction, with the parsing and printing of units. No logic.
//!
//! Rooms stand in the order in which they may import each other; blank lines keep rustfmt from sorting them.

pub mod units;

pub mod id;

pub mod diagnostic;

pub mod resources;

pub mod observation;

pub mod batch;

pub mod host;

pub mod facts;

pub mod choice;

pub mod task;

pub mod plan;

// After `plan`: what lies on a host has the fingerprint of a file.
pub mod data;

pub mod job;

pub mod api;

pub mod done;
