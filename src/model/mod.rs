//! The nouns: valid by construction, with the parsing and printing of units. No logic.

pub mod api;
pub mod diagnostic;
pub mod id;
pub mod job;
pub mod plan;
pub mod resources;
pub mod task;
pub mod units;
