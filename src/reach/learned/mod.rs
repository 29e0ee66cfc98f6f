//! What was learned, sealed: `learned.db`, in a file of its own, and the key that opens it.
//!
//! Every record is sealed by itself (XChaCha20-Poly1305) before SQLite sees it, under a data key of the day; data keys are
//! wrapped by the master key, a file that its owner alone can read, itself behind a passphrase (Argon2id) where somebody wants
//! that. What is not sealed is keyed hashes, which mean nothing without the key, and the days on which records were written.
//! Who copies the file has nothing; who merges it with the key has what was learned, and no name of a host, person, file or
//! argument: there is none in it.

mod class;
mod error;
mod exchange;
mod extract;
mod key;
mod record;
mod seal;
mod spool;
mod stamp;
mod store;

#[cfg(test)]
mod tests;

pub use class::class_of;
pub use error::LearnedError;
pub use exchange::{BEGINNING, Dated};
pub use extract::{Extract, MOST_KIN, Mention};
pub use key::{MasterKey, protect};
pub use record::Entry;
pub use spool::take_in;
pub use stamp::Stamp;
pub use store::{Cared, Learned, Lesson, Place};
