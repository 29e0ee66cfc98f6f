//! Files that commands write: all at once, and never over what a person wrote.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::cli::errors::Failure;
use crate::cli::view::words::shell_word;
use crate::model::api::ErrorKind;

/// Writes a file that must not be there yet.
pub(super) fn create(path: &Path, text: &str, replace_with: Option<&str>) -> Result<(), Failure> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            let replace = replace_with.map(|option| format!(", or replace it with `{option}`")).unwrap_or_default();
            Failure::new(ErrorKind::Conflict, format!("there is a file `{}` already", path.display()))
                .hint(format!("choose another name with `-o FILE`{replace}"))
        } else {
            unwritable(path, &error)
        }
    })?;
    file.write_all(text.as_bytes()).map_err(|error| {
        // Half a file is worse than none: it would stand in the way of the next try.
        drop(fs::remove_file(path));
        unwritable(path, &error)
    })
}

/// Writes a file, whatever was there: the new text stands under its name at once or not at all.
pub(super) fn replace(path: &Path, text: impl AsRef<[u8]>) -> Result<(), Failure> {
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        // Devices and pipes (`/dev/stdout`) are written to, not renamed over.
        return fs::write(path, &text).map_err(|error| unwritable(path, &error));
    }
    let beside = beside(path);
    let written = File::create(&beside).and_then(|mut file| file.write_all(text.as_ref()));
    written.and_then(|()| fs::rename(&beside, path)).map_err(|error| {
        drop(fs::remove_file(&beside));
        unwritable(path, &error)
    })
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!(".{name}.{}.part", std::process::id()))
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let name = path.display().to_string();
    let failure = Failure::new(ErrorKind::Storage, format!("`{name}` cannot be written")).because(error);
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match parent {
        Some(parent) if error.kind() == io::ErrorKind::NotFound => {
            failure.hint(format!("make its directory first: `mkdir -p {}`", shell_word(&parent.display().to_string())))
        }
        _ => failure.hint("choose another place with `-o FILE`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_made_once_and_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        create(&path, "one", None).unwrap();
        assert_eq!(create(&path, "two", Some("--force")).unwrap_err().exit().number(), 4);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        replace(&path, "three").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(replace(&dir.path().join("no/where"), "x").unwrap_err().exit().number(), 5);
    }
}
