//! The configuration directory: what people write.
//!
//! ```text
//! hosts.toml          the hosts
//! sites/NAME.toml     site files of this person's own
//! ```

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Largest file that is read: a hundred thousand hosts.
const LARGEST: u64 = 16 << 20;

/// The configuration cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ConfigDirError {
    /// No home directory is known.
    #[error("no home directory is known (neither HOME nor XDG_CONFIG_HOME is set)")]
    NoHome,
    /// A file cannot be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("{path} cannot be written")]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody else wrote the file since it was read.
    #[error("{path} was changed by somebody else in this moment")]
    Changed {
        /// Which.
        path: PathBuf,
    },
}

/// The configuration directory's layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigDir {
    root: PathBuf,
}

impl ConfigDir {
    /// Finds the configuration directory from environment variables: `CSYNC_CONFIG`, else `XDG_CONFIG_HOME/csync`, else
    /// `HOME/.config/csync`. Touches nothing.
    ///
    /// # Errors
    /// [`ConfigDirError::NoHome`].
    pub fn locate(var: impl Fn(&str) -> Option<OsString>) -> Result<Self, ConfigDirError> {
        let set = |name: &str| var(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = set("CSYNC_CONFIG")
            .or_else(|| set("XDG_CONFIG_HOME").map(|dir| dir.join("csync")))
            .or_else(|| set("HOME").map(|home| home.join(".config/csync")))
            .ok_or(ConfigDirError::NoHome)?;
        let root = std::path::absolute(&root).map_err(|source| ConfigDirError::Unreadable { path: root, source })?;
        Ok(Self { root })
    }

    /// Returns the file of the hosts.
    pub fn hosts_file(&self) -> PathBuf {
        self.root.join("hosts.toml")
    }

    /// Returns where this person's own site files lie.
    pub fn sites_dir(&self) -> PathBuf {
        self.root.join("sites")
    }

    /// Reads the file of the hosts; empty where there is none.
    ///
    /// # Errors
    /// [`ConfigDirError::Unreadable`].
    pub fn read_hosts(&self) -> Result<String, ConfigDirError> {
        Ok(read(&self.hosts_file())?.unwrap_or_default())
    }

    /// Reads this person's own site files: names and texts, sorted by name.
    ///
    /// # Errors
    /// [`ConfigDirError::Unreadable`].
    pub fn read_sites(&self) -> Result<Vec<(String, String)>, ConfigDirError> {
        let dir = self.sites_dir();
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(ConfigDirError::Unreadable { path: dir, source }),
        };
        let mut sites = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path();
            let is_toml = path.extension().is_some_and(|extension| extension == "toml");
            let Some(name) = path.file_stem().and_then(|stem| stem.to_str()).filter(|_| is_toml) else { continue };
            if let Some(text) = read(&path)? {
                sites.push((name.to_owned(), text));
            }
        }
        sites.sort();
        Ok(sites)
    }

    /// Writes the file of the hosts, where it holds `before`: all of it or nothing. A link stays a link.
    ///
    /// # Errors
    /// [`ConfigDirError::Changed`] when it holds something else by now; [`ConfigDirError::Unwritable`].
    pub fn write_hosts(&self, before: &str, after: &str) -> Result<(), ConfigDirError> {
        let path = self.hosts_file();
        if self.read_hosts()? != before {
            return Err(ConfigDirError::Changed { path });
        }
        let write = || -> io::Result<()> {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.root)?;
            // People keep their configuration elsewhere and link to it.
            let target = std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
            let mut name = target.file_name().unwrap_or_default().to_owned();
            name.push(format!(".new-{}", std::process::id()));
            let new = target.with_file_name(name);
            std::fs::write(&new, after)?;
            if let Ok(meta) = std::fs::metadata(&target) {
                std::fs::set_permissions(&new, meta.permissions())?;
            }
            std::fs::rename(&new, &target).inspect_err(|_| drop(std::fs::remove_file(&new)))
        };
        write().map_err(|source| ConfigDirError::Unwritable { path, source })
    }
}

/// Reads a text; none where there is none.
pub(super) fn read(path: &Path) -> Result<Option<String>, ConfigDirError> {
    let unreadable = |source| ConfigDirError::Unreadable { path: path.to_path_buf(), source };
    match std::fs::metadata(path) {
        Ok(meta) if meta.len() > LARGEST => Err(unreadable(io::ErrorKind::FileTooLarge.into())),
        Ok(_) => std::fs::read_to_string(path).map(Some).map_err(unreadable),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locate(vars: &[(&str, &str)]) -> Result<ConfigDir, ConfigDirError> {
        ConfigDir::locate(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value)))
    }

    #[test]
    fn the_nearest_variable_wins() {
        let root = |vars: &[(&str, &str)]| locate(vars).unwrap().root;
        assert_eq!(root(&[("HOME", "/h")]), Path::new("/h/.config/csync"));
        assert_eq!(root(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")]), Path::new("/x/csync"));
        assert_eq!(root(&[("HOME", "/h"), ("CSYNC_CONFIG", "/c"), ("XDG_CONFIG_HOME", "")]), Path::new("/c"));
        assert!(matches!(locate(&[]), Err(ConfigDirError::NoHome)));
    }

    #[test]
    fn a_file_is_written_whole_and_a_link_stays_one() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("config");
        let dir = locate(&[("CSYNC_CONFIG", root.to_str().unwrap())]).unwrap();
        assert_eq!(dir.read_hosts().unwrap(), "");
        assert_eq!(dir.read_sites().unwrap(), []);
        dir.write_hosts("", "a").unwrap();
        assert!(matches!(dir.write_hosts("", "b"), Err(ConfigDirError::Changed { .. })));
        let elsewhere = temp.path().join("dotfiles.toml");
        std::fs::rename(dir.hosts_file(), &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, dir.hosts_file()).unwrap();
        dir.write_hosts("a", "b").unwrap();
        assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "b");
        assert!(dir.hosts_file().is_symlink());
        std::fs::create_dir(dir.sites_dir()).unwrap();
        for (name, text) in [("z.toml", "1"), ("a.toml", "2"), ("README", "3"), (".toml", "4")] {
            std::fs::write(dir.sites_dir().join(name), text).unwrap();
        }
        let sites = dir.read_sites().unwrap();
        assert_eq!(sites, [("a".to_owned(), "2".to_owned()), ("z".to_owned(), "1".to_owned())]);
        assert_eq!(std::fs::read_dir(&root).unwrap().count(), 2, "nothing temporary stays");
    }
}
