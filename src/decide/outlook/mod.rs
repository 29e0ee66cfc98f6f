//! What a run's tasks will need and where their files lie: what the engine goes by when it hands an attempt over.
//!
//! All of it may be missing: a run whose tasks say everything, or of whose commands nobody knows anything, has none.

pub mod known;

pub mod files;

pub mod parts;

pub mod sheet;

pub mod board;

mod cores;

pub mod limits;

pub mod survey;

pub mod foresee;

pub mod draft;

#[cfg(test)]
mod tests;
