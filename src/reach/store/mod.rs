//! The store: one SQLite file with the runs, their attempts and what need not run again.
//!
//! One writer, the engine. Records of one turn of its loop are one transaction, one round trip to the database's thread
//! ([`Store::write`]); readers are other connections ([`Reader`]). A commit survives the engine's death, not the machine's
//! (`synchronous = NORMAL`): jobs do not survive that either.

mod batch;
mod codec;
mod data;
mod error;
mod hosts;
mod memos;
mod open;
mod runs;
mod sql;
#[cfg(test)]
mod tests;
mod untaught;

pub use batch::{Batch, HandedTo, Sent, Untaught};
pub use codec::{decode_env, decode_plan, encode_env, encode_plan};
pub use data::Routing;
pub use error::StoreError;
pub use memos::WorkflowKey;
pub use open::{Place, Reader, Store, set_aside};
pub use runs::{Ending, NewRun, Records, RunFilter, StoredAttempt, StoredPlan, StoredRun};
