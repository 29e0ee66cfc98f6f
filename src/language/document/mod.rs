//! TOML files that people write: the text as a tree with the place of everything, mistakes collected while it is read, and
//! what every reader of such a tree does alike.

mod mistakes;
mod parse;
mod reading;
mod statements;
mod tree;

pub(in crate::language) use mistakes::{Mistakes, did_you_mean, nearest};
pub(in crate::language) use parse::parse;
pub(in crate::language) use reading::{KeySet, Reading, keys};
pub(in crate::language) use tree::{Kind, NodeId, Tree};
