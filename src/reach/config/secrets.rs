//! Secrets that people keep for their workflows: one file in the state directory, which its owner alone can read. Nothing here
//! prints a value, and no error holds one.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::reach::config::StateDir;

/// Longest value: a key file with its certificate.
const LONGEST: usize = 64 << 10;

/// The secrets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The file cannot be read or written.
    #[error("{path} cannot be used")]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others could read it.
    #[error("{path} can be read by others, or is not yours")]
    Open {
        /// Which.
        path: PathBuf,
    },
    /// It holds something else.
    #[error("{path} does not hold secrets as csync writes them")]
    Damaged {
        /// Which.
        path: PathBuf,
    },
    /// The name cannot be a variable's.
    #[error("`{}` cannot name a variable: a letter or `_`, then letters, digits and `_`", .0.escape_debug())]
    BadName(String),
    /// The value cannot be a variable's.
    #[error("a value is not empty, has at most 64 KiB and no zero byte")]
    BadValue,
}

/// The secrets of a state directory.
pub struct Secrets {
    path: PathBuf,
    values: BTreeMap<String, String>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("path", &self.path).field("names", &self.values.keys()).finish_non_exhaustive()
    }
}

impl Secrets {
    /// Reads the secrets; none where there is no file.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or others could read it.
    pub fn load(dir: &StateDir) -> Result<Self, SecretsError> {
        let path = dir.secrets();
        let values = read(&path)?;
        Ok(Self { path, values })
    }

    /// Returns the names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Returns a value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Keeps a value; returns whether there was one of this name.
    ///
    /// # Errors
    /// When the name or the value cannot be a variable's, or the file cannot be written.
    pub fn set(dir: &StateDir, name: &str, value: String) -> Result<bool, SecretsError> {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let first = name.bytes().next().is_some_and(|byte| letters(byte) && !byte.is_ascii_digit());
        if !first || !name.bytes().all(letters) {
            return Err(SecretsError::BadName(name.to_owned()));
        }
        if value.is_empty() || value.len() > LONGEST || value.contains('\0') {
            return Err(SecretsError::BadValue);
        }
        change(dir, |values| values.insert(name.to_owned(), value).is_some())
    }

    /// Forgets a value; returns whether there was one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn remove(dir: &StateDir, name: &str) -> Result<bool, SecretsError> {
        change(dir, |values| values.remove(name).is_some())
    }
}

/// Reads, changes and writes, with nobody in between.
fn change(dir: &StateDir, change: impl FnOnce(&mut BTreeMap<String, String>) -> bool) -> Result<bool, SecretsError> {
    let path = dir.secrets();
    let unusable = |source: io::Error| SecretsError::Unusable { path: path.clone(), source };
    let lock = private().create(true).append(true).open(path.with_extension("lock")).map_err(unusable)?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|error| unusable(error.into()))?;
    let mut values = read(&path)?;
    let changed = change(&mut values);
    write(&path, &values).map_err(unusable)?;
    Ok(changed)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn read(path: &Path) -> Result<BTreeMap<String, String>, SecretsError> {
    let unusable = |source| SecretsError::Unusable { path: path.to_path_buf(), source };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(unusable(error)),
    };
    let meta = file.metadata().map_err(unusable)?;
    if meta.mode() & 0o077 != 0 || meta.uid() != rustix::process::getuid().as_raw() {
        return Err(SecretsError::Open { path: path.to_path_buf() });
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(unusable)?;
    // What serde says of a mistake would quote from the file.
    serde_json::from_str(&text).map_err(|_| SecretsError::Damaged { path: path.to_path_buf() })
}

fn write(path: &Path, values: &BTreeMap<String, String>) -> io::Result<()> {
    let new = path.with_extension("new");
    // One that an earlier process left may have other permissions.
    std::fs::remove_file(&new)
        .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
    let mut file = private().write(true).create_new(true).open(&new)?;
    file.write_all(&serde_json::to_vec_pretty(values)?)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn values_are_kept_for_their_owner_alone() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(temp.path().to_path_buf(), None);
        assert_eq!(Secrets::load(&dir).unwrap().names().count(), 0);
        assert!(!Secrets::set(&dir, "TOKEN", "first".to_owned()).unwrap());
        assert!(Secrets::set(&dir, "TOKEN", "two\nlines".to_owned()).unwrap());
        assert!(!Secrets::set(&dir, "A", "x".to_owned()).unwrap());
        let secrets = Secrets::load(&dir).unwrap();
        assert_eq!(
            (secrets.get("TOKEN"), secrets.names().collect::<Vec<_>>()),
            (Some("two\nlines"), vec!["A", "TOKEN"])
        );
        assert!(!format!("{secrets:?}").contains("lines"), "{secrets:?}");
        assert_eq!(std::fs::metadata(dir.secrets()).unwrap().mode() & 0o777, 0o600);
        assert!(Secrets::remove(&dir, "A").unwrap() && !Secrets::remove(&dir, "A").unwrap());
        for (name, value) in [("1A", "x"), ("", "x"), ("A-B", "x"), ("A", ""), ("A", "a\0b")] {
            assert!(Secrets::set(&dir, name, value.to_owned()).is_err(), "{name}");
        }
        std::fs::set_permissions(dir.secrets(), std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Secrets::load(&dir), Err(SecretsError::Open { .. })));
        std::fs::set_permissions(dir.secrets(), std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(dir.secrets(), "hunter2").unwrap();
        let error = Secrets::load(&dir).unwrap_err();
        assert!(matches!(error, SecretsError::Damaged { .. }) && !error.to_string().contains("hunter2"));
    }

    #[test]
    fn nothing_is_lost_when_many_write_at_once() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::at(temp.path().to_path_buf(), None);
        std::thread::scope(|scope| {
            for n in 0..8 {
                let dir = &dir;
                scope.spawn(move || Secrets::set(dir, &format!("N{n}"), "x".to_owned()).unwrap());
            }
        });
        assert_eq!(Secrets::load(&dir).unwrap().names().count(), 8);
    }
}
