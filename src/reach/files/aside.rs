//! Half-written outputs: moved out of the way, so that none stands under its real name once its attempt is over.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::reach::files::FilesError;

/// Returns where a half-written file goes: `dir/.NAME.failed`. The same directory, hence the same filesystem: moving is one step.
pub fn aside(path: &Path) -> Option<PathBuf> {
    let mut name = OsString::from(".");
    name.push(path.file_name()?);
    name.push(".failed");
    Some(path.with_file_name(name))
}

/// Moves what an unsuccessful attempt left of an output (absolute) aside, in place of what an earlier one left; returns
/// whether there was something.
///
/// # Errors
/// When it cannot be moved.
pub fn set_aside(path: &Path) -> Result<bool, FilesError> {
    let Some(aside) = aside(path) else { return Ok(false) };
    match fs::rename(path, &aside) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        // A directory does not take another's place unless that is empty, nor that of a file, nor a file its.
        Err(error) if in_the_way(&error) => {
            if fs::symlink_metadata(path).is_err_and(|error| is_gone(&error)) {
                return Ok(false);
            }
            remove(&aside)?;
            fs::rename(path, &aside).map(|()| true).map_err(FilesError::io("move aside", path))
        }
        Err(error) => Err(FilesError::io("move aside", path)(error)),
    }
}

/// Removes a file or a directory with all that is in it, and says whether there was one. A link is removed, not followed.
///
/// # Errors
/// When it cannot be removed.
pub fn remove(path: &Path) -> Result<bool, FilesError> {
    // Most often there is a file, or nothing: one call.
    match fs::remove_file(path) {
        Ok(()) => return Ok(true),
        Err(error) if is_gone(&error) => return Ok(false),
        // EISDIR on Linux, EPERM elsewhere.
        Err(error) if matches!(error.kind(), io::ErrorKind::IsADirectory | io::ErrorKind::PermissionDenied) => {
            if !fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
                return Err(FilesError::io("remove", path)(error));
            }
        }
        Err(error) => return Err(FilesError::io("remove", path)(error)),
    }
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(true),
        Err(error) if is_gone(&error) => Ok(false),
        Err(error) => Err(FilesError::io("remove", path)(error)),
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn in_the_way(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::AlreadyExists
    )
}
