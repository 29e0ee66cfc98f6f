//! The names of hosts in `~/.ssh/config` and the files that it includes.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::language::hosts::{SshConfig, aliases};
use crate::language::manifest::matcher;
use crate::reach::config::config_dir::{ConfigDirError, read};

/// Files that include each other deeper than this: `ssh` itself gives up there.
const DEEPEST: usize = 16;

/// Reads the names of hosts in an `ssh_config` and in what it includes; relative names are below `~/.ssh`, as for `ssh`.
///
/// # Errors
/// When the file itself cannot be read; one that is included and cannot be read is left out, as by `ssh`.
pub fn ssh_aliases(config: &Path, home: &Path) -> Result<SshConfig, ConfigDirError> {
    let mut found = SshConfig::default();
    let text = read(config)?.unwrap_or_default();
    let base = home.join(".ssh");
    let mut seen = HashSet::from([config.to_path_buf()]);
    gather(&text, &base, home, DEEPEST, &mut seen, &mut found);
    Ok(found)
}

fn gather(text: &str, base: &Path, home: &Path, depth: usize, seen: &mut HashSet<PathBuf>, found: &mut SshConfig) {
    let file = aliases(text);
    for alias in file.aliases {
        if !found.aliases.contains(&alias) {
            found.aliases.push(alias);
        }
    }
    found.odd.extend(file.odd);
    for pattern in file.includes.iter().filter(|_| depth > 0) {
        let pattern = pattern.strip_prefix("~/").map_or_else(|| base.join(pattern), |below| home.join(below));
        for path in expand(&pattern) {
            if !seen.insert(path.clone()) {
                continue;
            }
            match read(&path) {
                Ok(Some(text)) => gather(&text, base, home, depth - 1, seen, found),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "an included file is left out"),
            }
        }
    }
}

/// Returns the paths that fit a pattern, sorted.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::new()];
    for part in pattern {
        let name = part.to_string_lossy();
        paths = match matcher(&name) {
            Ok(glob) if name.contains(['*', '?', '[']) => paths
                .iter()
                .flat_map(|dir| names(dir).unwrap_or_default())
                .filter(|path| path.file_name().is_some_and(|name| glob.is_match(name)))
                .collect(),
            _ => paths.into_iter().map(|dir| dir.join(part)).collect(),
        };
    }
    paths
}

fn names(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)?.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn includes_are_followed_as_ssh_does() {
        let temp = tempfile::tempdir().unwrap();
        let home = temp.path();
        std::fs::create_dir_all(home.join(".ssh/config.d")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(home.join(name), text).unwrap();
        write(".ssh/config", "Include config.d/*.conf\nInclude ~/extra none\nHost last a\n");
        write(".ssh/config.d/1.conf", "Host a\nInclude config\n");
        write(".ssh/config.d/2.conf", "Host b *.c\n");
        write(".ssh/config.d/README", "Host no\n");
        write("extra", "Host e u@h\n");
        let found = ssh_aliases(&home.join(".ssh/config"), home).unwrap();
        let names: Vec<&str> = found.aliases.iter().map(AsRef::as_ref).collect();
        assert_eq!((names, found.odd), (vec!["last", "a", "b", "e"], vec!["u@h".to_owned()]));
        let none = ssh_aliases(&home.join("nothing"), home).unwrap();
        assert_eq!(none, SshConfig::default());
    }
}
