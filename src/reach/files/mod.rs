//! Files of a workflow's directory: what matches a pattern, what lies there, what is in it; half-written outputs; the lock.

pub mod aside;
pub mod gather;
pub mod lock;
pub mod look;
pub mod tree;

use std::io;
use std::path::{Path, PathBuf};

/// Something about a file could not be done.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The system refused.
    #[error("cannot {action} {path}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A name that is not UTF-8 matches a pattern.
    #[error("the name of {path} is not UTF-8; rename it", path = path.display())]
    NotUtf8 {
        /// The name, as far as it can be shown.
        path: PathBuf,
    },
    /// A pattern that means nothing.
    #[error("`{pattern}` is not a pattern: {why}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// The directory holds more files than are looked at.
    #[error("{root} holds more than {most} files", root = root.display())]
    TooMany {
        /// The directory.
        root: PathBuf,
        /// How many are looked at.
        most: usize,
    },
    /// Another run writes to the directory.
    #[error("{root} is being written to by {owner}", root = root.display())]
    Locked {
        /// The directory.
        root: PathBuf,
        /// Who, as its lock says.
        owner: lock::Owner,
    },
}

impl FilesError {
    /// Returns the message with its cause, for where there is room for one line only.
    pub fn whole(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }

    fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

#[cfg(test)]
mod tests;
