//! Staging: files of a directory here to the same names in a directory on a host, back, and from host to host.
//!
//! What both ends have alike does not move: files of the same size and modification time, and those of the same size and
//! checksum. Small files go together as streams of `tar`, large ones one by one, so that a transfer that broke goes on where it
//! ended. What arrives does so under temporary names, is compared by size and checksum, and is renamed: nobody ever reads half a
//! file, and whoever has the old one open keeps it.
//!
//! What a host sends is not trusted: nothing but what was asked for is taken, no links, no devices, no names that lead out, no
//! more files and bytes than the limits. That holds for what is passed on to another host too, which never touches a disk here.
//!
//! Large files take the same stream as everything else, and not SFTP: `benches/stage/run` measures them side by side. Of one that
//! changed since it moved last, only the difference does, where both ends have `rsync`.

mod bring;
mod brought;
mod delta;
mod direct;
mod fetch;
mod gather;
mod ledger;
mod look;
mod pack;
mod relay;
mod unpack;

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::vec::IntoIter;

use crate::language::batch::room::is_full;
use crate::reach::stage::brought::UNTOLD;
use crate::reach::transport::{SUMMING, TransportError, WAITING};

pub use bring::bring;
pub use direct::Direct;
pub use fetch::{Fetched, Take, fetch};
pub use ledger::{Ledger, Tidy};
pub use look::{Seen, list_all, look, look_into, sums};
pub use relay::relay;

/// From this size on a file moves on its own: what it costs to ask for it no longer shows, and it is worth going on with.
pub const LARGE: u64 = 16 << 20;

/// Most bytes of one stream of small files, and most files: what a cut costs. Two streams run at a time: while one is compared and
/// gets its names, the other is on its way.
const STREAM: (u64, usize) = (64 << 20, 5_000);

// With what `tar` says of each: what comes as a stream waits in memory where it is taken slowly, and holds up nobody.
const _: () = assert!(STREAM.0 + STREAM.1 as u64 * 2048 <= WAITING as u64, "others would wait for a stream");

/// The streams that are still to go.
type Queue<T> = Mutex<IntoIter<Vec<T>>>;

/// Returns the next stream.
fn next<T>(queue: &Queue<T>) -> Option<Vec<T>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).next()
}

/// Most files that are taken from a host at a time.
const MOST_FILES: usize = 2_000_000;

/// Sets `$whole` to what has `tar` follow links for good: that of GNU, told to follow them, still packs a file that has two names by them
/// as a link to itself, which nobody takes.
const WHOLE: &str = "whole=; tar --hard-dereference --version >/dev/null 2>&1 && whole=--hard-dereference; ";

/// How much is read and written at once.
const BUFFER: usize = 256 * 1024;

/// What moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Files that were looked at.
    pub files: u64,
    /// Files that had to move.
    pub moved: u64,
    /// Bytes that moved: of their contents, less what had arrived before.
    pub bytes: u64,
}

/// Files could not be brought or fetched.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The host could not be asked.
    #[error(transparent)]
    Transport(TransportError),
    /// A file here.
    #[error("{path} cannot be staged", path = path.display())]
    Here {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that changed while it was sent.
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

impl StageError {
    /// Returns whether it has to do with the host alone, whichever files are to be staged: its disk is full, or nobody can read what is
    /// written down there.
    #[must_use]
    pub fn is_of_host(&self) -> bool {
        matches!(self, Self::There { action, words, .. } if *action == UNTOLD || is_full(words))
    }
}

impl From<TransportError> for StageError {
    /// What is wrong with a file is no fault of the connection; nor is what comes out the same each time: more names than are read, and
    /// a command that was given hours. A quick one that is late tells of a host that does not answer.
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::FarFile { host, path, detail } => {
                Self::There { host, action: "does not move a file", words: format!("{path}: {detail}") }
            }
            TransportError::File { path, source } => Self::Here { path, source },
            TransportError::Flood { host, limit } => Self::There {
                host,
                action: "has more files than can be asked for at a time",
                words: format!(
                    "their names are more than {limit} bytes; let the task pack them into one, as with `tar -cf`"
                ),
            },
            TransportError::Deadline { host, after } if after >= SUMMING => Self::There {
                host,
                action: "does not get done with these files",
                words: format!(
                    "not within {} h; `csync doctor` tells how its scratch does, and fewer files, packed with `tar -cf`, take less time",
                    after.as_secs() / 3600
                ),
            },
            error => Self::Transport(error),
        }
    }
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

/// Returns a name as every other spelling of it is: without `./`, `//` and a slash at its end.
fn plain(name: &str) -> String {
    let parts: Vec<&str> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    parts.join("/")
}

/// Returns the first lines of what a host complained.
fn words(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
    if lines.is_empty() { "no reason given".to_owned() } else { lines.join("; ") }
}

/// Splits what is to be sent into streams: none is large enough that losing it to a cut hurts.
fn streams<T>(files: Vec<T>, size: impl Fn(&T) -> u64) -> Vec<Vec<T>> {
    let mut filling = Filling::default();
    let mut streams: Vec<Vec<T>> = files
        .into_iter()
        .filter_map(|file| {
            let size = size(&file);
            filling.push(file, size)
        })
        .collect();
    streams.extend(Some(filling.files).filter(|files| !files.is_empty()));
    streams
}

/// A stream that is being filled.
struct Filling<T> {
    files: Vec<T>,
    bytes: u64,
}

impl<T> Default for Filling<T> {
    fn default() -> Self {
        Self { files: Vec::new(), bytes: 0 }
    }
}

impl<T> Filling<T> {
    /// Adds a file; returns the stream before it where that is full.
    fn push(&mut self, file: T, size: u64) -> Option<Vec<T>> {
        let (most, count) = STREAM;
        let is_full = !self.files.is_empty() && (self.bytes + size > most || self.files.len() >= count);
        let full = is_full.then(|| {
            self.bytes = 0;
            std::mem::take(&mut self.files)
        });
        self.bytes += size;
        self.files.push(file);
        full
    }
}
