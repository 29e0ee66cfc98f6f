//! A line of bash, read for what it runs: its simple commands with the bytes that each word stands on, the options of the
//! programs that csync knows, and edits that change named words and no other byte.
//!
//! ```text
//! text -> read -> Script { commands, loops, files }          two readers must agree: tree-sitter's grammar and `word`
//! Command -> unwrap -> where the program stands behind sudo, env, timeout, ...
//! words -> call -> Call { options, operands, command }  by the tables of `tables`
//! Script + Splice -> rewrite -> text                  read again, it must be the same commands but for the splices
//! ```
//!
//! Whatever is not understood for sure is not read: a caller then says nothing.

mod call;
mod edit;
mod options;
mod read;
mod script;
mod tables;
mod word;
mod wrap;

#[cfg(test)]
mod tests;

pub use call::{Call, Place, SshCall, call, guessed_ssh, place, ssh};
pub use edit::{Refused, Splice, rewrite};
pub use options::{Opt, Reading};
pub use read::{LONGEST, read, unix_lines};
pub use script::{Command, Document, File, Input, Loop, LoopKind, Output, Script, Span, Stands};
pub use word::{Means, Word, words};
pub use wrap::{Opened, Unwrapped, in_terminal, inner_script, reads_input, unwrap};
