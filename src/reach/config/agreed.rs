//! Directories whose files a person agreed to send to other machines.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use crate::reach::config::StateDir;

/// What is remembered of one directory.
#[derive(Clone, Debug)]
pub struct Agreed {
    path: PathBuf,
    root: String,
}

impl Agreed {
    /// Makes what is remembered of a directory, absolute; reads nothing.
    pub fn of(state: &StateDir, root: &str) -> Self {
        let name = blake3::hash(root.as_bytes()).to_hex();
        let path = state.root().join("agreed").join(name.get(..16).unwrap_or_default());
        Self { path, root: root.to_owned() }
    }

    /// Returns how many bytes were agreed to; none when nobody was asked.
    pub fn bytes(&self) -> Option<u64> {
        let text = fs::read_to_string(&self.path).ok()?;
        let (bytes, root) = text.split_once('\n')?;
        // Another directory with the same hash was not agreed to.
        if root.trim_end_matches('\n') == self.root { bytes.parse().ok() } else { None }
    }

    /// Remembers that so much was agreed to.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, bytes: u64) -> io::Result<()> {
        if let Some(dir) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        let new = self.path.with_extension("new");
        let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        file.write_all(format!("{bytes}\n{}\n", self.root).as_bytes())?;
        drop(file);
        fs::rename(&new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_agreed_to_is_remembered_of_that_directory_alone() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().to_owned(), None);
        let agreed = Agreed::of(&state, "/a");
        assert_eq!(agreed.bytes(), None);
        agreed.keep(5).unwrap();
        agreed.keep(7).unwrap();
        assert_eq!((agreed.bytes(), Agreed::of(&state, "/b").bytes()), (Some(7), None));
    }
}
