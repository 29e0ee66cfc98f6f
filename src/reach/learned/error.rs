//! What can be wrong with what was learned. Nothing of it stops any work: csync goes on without.

use std::io;
use std::path::PathBuf;

/// What was learned cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LearnedError {
    /// The key opens something else.
    #[error("the key {} does not open {}: it belongs to another store, or the passphrase is wrong", key.display(), path.display())]
    WrongKey {
        /// The store.
        path: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The key is behind a passphrase, and none was given.
    #[error("the key {} needs a passphrase", key.display())]
    Passphrase {
        /// The key.
        key: PathBuf,
    },
    /// The key is not one, or others can read it.
    #[error("the key {} cannot be used: {detail}", key.display())]
    Key {
        /// The key.
        key: PathBuf,
        /// Why.
        detail: &'static str,
    },
    /// A store without its key: it was copied here, or the key was lost.
    #[error("{} was sealed with a key that is not here ({} is missing)", path.display(), key.display())]
    KeyLost {
        /// The store.
        path: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// Some other program's file, or one of a later csync.
    #[error("{} is not a store that this csync reads", path.display())]
    Foreign {
        /// The store.
        path: PathBuf,
    },
    /// What another machine wrote is sealed with a key of its own.
    #[error("{} was sealed with another key than {}", path.display(), key.display())]
    OtherKey {
        /// What it wrote.
        path: PathBuf,
        /// The key here.
        key: PathBuf,
    },
    /// What another machine wrote was changed on the way, or is not all there.
    #[error("{} is damaged or cut short", path.display())]
    Damaged {
        /// What it wrote.
        path: PathBuf,
    },
    /// The file is damaged, or cannot be read or written.
    #[error("{} cannot be used", path.display())]
    Unusable {
        /// The store.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// A file cannot be read or written.
    #[error("{} cannot be used", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}
