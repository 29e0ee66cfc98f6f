//! Staging: files of a directory here to the same names in a directory on a host, and back.
//!
//! What both ends have alike (size and modification time) does not move. Many small files go as one stream of `tar`, large ones
//! one by one, so that a broken transfer goes on where it ended. What comes back is written under a temporary name and renamed,
//! and is not trusted: nothing but what was asked for is taken, no links, no devices, no more than the limit.

mod bring;
mod fetch;
mod look;

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

use crate::reach::transport::TransportError;

pub use bring::bring;
pub use fetch::fetch;
pub use look::{Seen, look};

/// From this size on a file moves on its own: what it costs to ask for it no longer shows, and it is worth going on with.
pub const LARGE: u64 = 64 << 20;

/// How much is read and written at once.
const BUFFER: usize = 256 * 1024;

/// What moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Files that were looked at.
    pub files: u64,
    /// Files that had to move.
    pub moved: u64,
    /// Bytes of their contents.
    pub bytes: u64,
}

/// Files could not be brought or fetched.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The host could not be asked.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A file here.
    #[error("{path} cannot be staged", path = path.display())]
    Here {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file here that changed while it was sent.
    #[error("{path} changed while it was sent", path = path.display())]
    Changed {
        /// Which.
        path: PathBuf,
    },
    /// The host says no.
    #[error("{host} {action}: {words}")]
    There {
        /// Which.
        host: String,
        /// What was tried.
        action: &'static str,
        /// In its words.
        words: String,
    },
    /// What came is not what was asked for.
    #[error("{host} sent {what}")]
    Strange {
        /// Who.
        host: String,
        /// What it sent.
        what: String,
    },
    /// More than is fetched.
    #[error("`{name}` has {size} bytes, more than the {limit} that are fetched")]
    TooLarge {
        /// Which.
        name: String,
        /// How large it is.
        size: u64,
        /// What is allowed.
        limit: u64,
    },
    /// A name that cannot be staged.
    #[error("`{}` cannot be staged: {why}", .name.escape_debug())]
    Name {
        /// Which.
        name: String,
        /// Why.
        why: &'static str,
    },
}

/// Refuses names that would leave the directory.
fn checked(name: &str) -> Result<&str, StageError> {
    let bad = |why| Err(StageError::Name { name: name.to_owned(), why });
    if name.is_empty() || name.starts_with('/') {
        return bad("only names within the workflow's directory move between hosts");
    }
    if name.split('/').any(|part| part == "..") {
        return bad("it leads out of the workflow's directory");
    }
    if name.contains('\0') {
        return bad("it has a zero byte");
    }
    Ok(name)
}

/// Returns the first lines of what a host complained.
fn words(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
    if lines.is_empty() { "no reason given".to_owned() } else { lines.join("; ") }
}
