//! Whether what was taken out of the store still is all that is in it, told without opening it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::reach::learned::store::Place;

/// The store as it was at a time: its file, and the log of what is not in that yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    file: Was,
    log: Option<Was>,
}

/// When a file was changed last, in seconds and nanoseconds, its size and its number.
type Was = (i64, i64, u64, u64);

impl Stamp {
    /// Looks at the store; none where there is none.
    pub fn of(place: &Place) -> Option<Self> {
        let mut log = place.path.as_os_str().to_owned();
        log.push("-wal");
        // An empty log says nothing: who only reads makes one too.
        Some(Self { file: was(&place.path)?, log: was(Path::new(&log)).filter(|(_, _, size, _)| *size > 0) })
    }
}

fn was(path: &Path) -> Option<Was> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.mtime(), meta.mtime_nsec(), meta.len(), meta.ino()))
}
