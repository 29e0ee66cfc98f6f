//! The engine against a simulated executor and a store that only remembers records.

mod hosts;
mod learned;
mod partitions;
mod placing;
mod plan;
mod property;
mod sanity;
mod scenarios;
mod waits;
mod world;
