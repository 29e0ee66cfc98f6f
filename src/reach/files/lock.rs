//! The lock of a workflow's directory: one run at a time writes there.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::id::RunId;
use crate::reach::files::FilesError;

/// Who holds the lock of a directory; the content of the lock file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The run; none while it has no number yet.
    pub run: Option<RunId>,
    /// Process id of its engine.
    pub pid: u32,
    /// The engine's machine.
    pub host: String,
    /// The engine's state directory.
    pub state_dir: String,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.run {
            Some(run) => write!(f, "run {run}")?,
            None => f.write_str("another run")?,
        }
        write!(f, " of the engine with process id {} on {}", self.pid, self.host)
    }
}

/// Returns whether this process may write into a directory.
pub fn may_write(dir: &Path) -> bool {
    rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_ok()
}

/// A directory that is held for one run, until this is dropped or its process ends, however it ends.
#[derive(Debug)]
pub struct DirLock {
    file: File,
    path: PathBuf,
    owner: Owner,
}

impl DirLock {
    /// Takes the lock of a directory (absolute): `ROOT/.csync/lock`.
    ///
    /// # Errors
    /// [`FilesError::Locked`] when somebody has it; [`FilesError::Io`] when the directory cannot be written.
    pub fn take(root: &Path, owner: Owner) -> Result<Self, FilesError> {
        let dir = root.join(".csync");
        make_private(&dir)?;
        let path = dir.join("lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path).map_err(FilesError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(FilesError::Locked { root: root.to_path_buf(), owner: read(&file, &owner) });
            }
            Err(TryLockError::Error(source)) => return Err(FilesError::io("lock", &path)(source)),
        }
        let mut lock = Self { file, path, owner };
        lock.write()?;
        Ok(lock)
    }

    /// Says which run it is, once that has a number.
    ///
    /// # Errors
    /// When the lock file cannot be written.
    pub fn name(&mut self, run: RunId) -> Result<(), FilesError> {
        self.owner.run = Some(run);
        self.write()
    }

    fn write(&mut self) -> Result<(), FilesError> {
        let text = serde_json::to_string(&self.owner).unwrap_or_default();
        let mut write = || {
            self.file.set_len(0)?;
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(text.as_bytes())
        };
        write().map_err(FilesError::io("write", &self.path))
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // The file stays: removing it would let a third party lock a new one while a second still waits at the old. What it
        // says is taken out, so that nobody is blamed who is gone.
        drop(self.file.set_len(0));
    }
}

/// Reads who has the lock; somebody unknown when it was taken only just now.
fn read(mut file: &File, like: &Owner) -> Owner {
    let mut text = String::new();
    let read = file.read_to_string(&mut text).ok().and_then(|_| serde_json::from_str(&text).ok());
    read.unwrap_or_else(|| Owner { run: None, pid: 0, host: like.host.clone(), state_dir: String::new() })
}

/// Makes `.csync`, which is nothing to keep under version control.
fn make_private(dir: &Path) -> Result<(), FilesError> {
    match fs::create_dir(dir) {
        Ok(()) => {
            let ignore = dir.join(".gitignore");
            fs::write(&ignore, "*\n").map_err(FilesError::io("write", &ignore))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(FilesError::io("make", dir)(error)),
    }
}
