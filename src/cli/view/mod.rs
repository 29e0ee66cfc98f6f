//! What people see: words, tables, messages.

pub(super) mod engine;
pub(super) mod excerpt;
pub(super) mod failure;
#[cfg(test)]
pub(super) mod fixtures;
pub(super) mod harmless;
pub(super) mod paint;
pub(super) mod placement;
pub(super) mod progress;
pub(super) mod run;
pub(super) mod table;
pub(super) mod why;
pub(super) mod words;

pub(super) use failure::failure;
pub(super) use paint::Paint;
