//! The engine against a simulated executor and a store that only remembers records.

mod plan;
mod property;
mod sanity;
mod scenarios;
mod world;
