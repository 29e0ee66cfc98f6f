//! What people see: words, tables, messages.

mod failure;
mod paint;

pub(super) use failure::failure;
pub(super) use paint::Paint;
