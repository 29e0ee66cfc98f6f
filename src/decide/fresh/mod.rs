//! What is up to date, and why the rest is not.
//!
//! An instance is up to date when a memo of it says that the same definition, on the same inputs, left the outputs that lie
//! there. The definition is the task's template and settings, the instance's row and its declared paths; what an attempt was
//! granted is no part of it. A file is the same when its size and modification time are; with another time, when its content
//! is, where its hash was recorded.
//!
//! What a failed or missing thing means: only success leaves a memo, so what failed, was cancelled or never ran runs again. A
//! missing or changed output makes its instance run again, and what reads it is asked about again once that is done
//! ([`Verdict::Check`](crate::decide::engine::protocol::Verdict)): where the new output is the same as the old one, nothing
//! further runs. A missing input that another instance makes is that instance's missing output; one that nothing makes is the
//! caller's to refuse, unless its maker is left out by `when`: then what reads it is left out too.
//!
//! Nothing here looks at a disk: the caller brings fingerprints ([`Judge::paths`](judge::Judge::paths) says of what, and
//! [`Judge::doubtful`](judge::Judge::doubtful) which contents must be read).

pub mod judge;
pub mod memos;
pub mod reason;
pub mod select;

#[cfg(test)]
mod tests;
