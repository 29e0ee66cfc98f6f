//! The files of a directory that go along with a command: what git tracks, and what it does not ignore; without git, all of them.
//! Less what `.csyncignore` names.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use walkdir::WalkDir;

use crate::language::ignored::{FILE, Ignored};
use crate::reach::files::FilesError;

/// Most files that are looked at: a home directory, or a data set, is no place for a command's files.
pub const MOST: usize = 200_000;

/// Who says what belongs to a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// Git.
    ByGit,
    /// Nobody: everything does.
    All,
}

/// The files of a directory.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Their names, relative to the directory, in order, with their sizes.
    pub files: Vec<(String, u64)>,
    /// Who chose them.
    pub chosen: Chosen,
    /// Names that are not UTF-8, or have a line end, and stay behind.
    pub odd: Vec<PathBuf>,
    /// What is wrong with `.csyncignore`.
    pub mistakes: Vec<String>,
}

impl Tree {
    /// Returns the size of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, size)| size).sum()
    }

    /// Returns the largest files, the largest first.
    pub fn largest(&self, count: usize) -> Vec<&(String, u64)> {
        let mut all: Vec<_> = self.files.iter().collect();
        all.sort_by(|(a, small), (b, large)| large.cmp(small).then_with(|| a.cmp(b)));
        all.truncate(count);
        all
    }

    /// Adds files, and the files of directories, whatever git says of them.
    ///
    /// # Errors
    /// When there is no such file in the directory.
    pub fn add(&mut self, root: &Path, names: &[String]) -> Result<(), FilesError> {
        let mut known: HashSet<String> = self.files.iter().map(|(name, _)| name.clone()).collect();
        for name in names {
            let path = root.join(name);
            fs::metadata(&path).map_err(FilesError::io("find", &path))?;
            let (mut found, mut odd) = (Vec::new(), Vec::new());
            walk(root, &path, &Ignored::read("").0, &mut found, &mut odd)?;
            self.files.extend(found.into_iter().filter(|(name, _)| known.insert(name.clone())));
            self.odd.append(&mut odd);
        }
        self.files.sort_unstable();
        Ok(())
    }
}

/// Finds the files of a directory.
///
/// # Errors
/// When it cannot be read, git fails, or there are too many.
pub fn tree(root: &Path) -> Result<Tree, FilesError> {
    let patterns = root.join(FILE);
    let text = match fs::read_to_string(&patterns) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(FilesError::Io { action: "read", path: patterns, source }),
    };
    let (ignored, mistakes) = Ignored::read(&text);
    let (mut files, mut odd) = (Vec::new(), Vec::new());
    let chosen = if let Some(listed) = listed_by_git(root)? {
        take(root, listed, &ignored, &mut files, &mut odd)?;
        Chosen::ByGit
    } else {
        walk(root, root, &ignored, &mut files, &mut odd)?;
        Chosen::All
    };
    files.sort_unstable();
    files.dedup();
    Ok(Tree { files, chosen, odd, mistakes })
}

/// Asks git what it tracks and does not ignore; none where there is no git, or no repository.
fn listed_by_git(root: &Path) -> Result<Option<Vec<PathBuf>>, FilesError> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root).stdin(Stdio::null());
    let output = match git.output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(FilesError::Io { action: "ask git about", path: root.to_owned(), source }),
    };
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        if words.contains("not a git repository") {
            return Ok(None);
        }
        let last = words.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason given").to_owned();
        let source = io::Error::other(last);
        return Err(FilesError::Io { action: "ask git about", path: root.to_owned(), source });
    }
    let names = output.stdout.split(|&byte| byte == 0).filter(|name| !name.is_empty());
    Ok(Some(names.map(path_of).collect()))
}

fn path_of(name: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(name))
}

/// Takes what git listed: files that are there; submodules and repositories within are asked themselves.
fn take(
    root: &Path,
    listed: Vec<PathBuf>,
    ignored: &Ignored,
    files: &mut Vec<(String, u64)>,
    odd: &mut Vec<PathBuf>,
) -> Result<(), FilesError> {
    for name in listed {
        let path = root.join(&name);
        // What git tracks and somebody removed is not there; a link that leads nowhere neither.
        let Ok(meta) = fs::metadata(&path) else { continue };
        if !meta.is_dir() {
            keep(&name, meta.len(), ignored, files, odd)?;
            continue;
        }
        match listed_by_git(&path)?.filter(|_| path.join(".git").exists()) {
            Some(inner) => {
                let inner = inner.into_iter().map(|below| name.join(below)).collect();
                take(root, inner, ignored, files, odd)?;
            }
            None => walk(root, &path, ignored, files, odd)?,
        }
    }
    Ok(())
}

/// Takes everything below a directory, or a file.
fn walk(
    root: &Path,
    from: &Path,
    ignored: &Ignored,
    files: &mut Vec<(String, u64)>,
    odd: &mut Vec<PathBuf>,
) -> Result<(), FilesError> {
    let below = |path: &Path| path.strip_prefix(root).unwrap_or(path).to_path_buf();
    let enter = |entry: &walkdir::DirEntry| {
        let name = below(entry.path());
        !entry.file_type().is_dir()
            || name.as_os_str().is_empty()
            || name.to_str().is_none_or(|name| !ignored.has_dir(name))
    };
    for entry in WalkDir::new(from).follow_links(true).into_iter().filter_entry(enter) {
        let entry = match entry {
            Ok(entry) => entry,
            // A link that leads nowhere, or in a circle, is nothing to send.
            Err(error) if error.loop_ancestor().is_some() || is_missing(&error) => continue,
            Err(error) => {
                let path = error.path().unwrap_or(from).to_owned();
                return Err(FilesError::Io { action: "read", path, source: error.into() });
            }
        };
        if entry.file_type().is_file() {
            let path = entry.path().to_owned();
            let meta =
                entry.metadata().map_err(|error| FilesError::Io { action: "look at", path, source: error.into() })?;
            keep(&below(entry.path()), meta.len(), ignored, files, odd)?;
        }
    }
    Ok(())
}

fn is_missing(error: &walkdir::Error) -> bool {
    error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn keep(
    name: &Path,
    size: u64,
    ignored: &Ignored,
    files: &mut Vec<(String, u64)>,
    odd: &mut Vec<PathBuf>,
) -> Result<(), FilesError> {
    match name.to_str().filter(|name| !name.contains('\n')) {
        None => odd.push(name.to_owned()),
        Some(name) if ignored.has(name) => {}
        Some(name) => files.push((name.to_owned(), size)),
    }
    if files.len() > MOST {
        return Err(FilesError::TooMany { root: PathBuf::from("it"), most: MOST });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    fn names(tree: &Tree) -> Vec<&str> {
        tree.files.iter().map(|(name, _)| name.as_str()).collect()
    }

    #[test]
    fn without_git_everything_goes_but_what_csyncignore_names() {
        let dir = lab(&[
            ("train.py", "x"),
            ("data/big", "12345"),
            ("data/keep/a", "1"),
            ("__pycache__/a.pyc", "1"),
            (".csync/lock", "1"),
            (".csyncignore", "big\n"),
        ]);
        std::os::unix::fs::symlink("train.py", dir.path().join("link.py")).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("dangling")).unwrap();
        std::os::unix::fs::symlink("..", dir.path().join("data/circle")).unwrap();
        let found = tree(dir.path()).unwrap();
        assert_eq!(found.chosen, Chosen::All);
        assert_eq!(names(&found), ["data/keep/a", "link.py", "train.py"]);
        assert_eq!(found.bytes(), 3);
    }

    #[test]
    fn git_says_what_belongs_to_a_repository() {
        let dir = lab(&[
            (".gitignore", "out/\n"),
            ("a.py", "12"),
            ("gone.py", "1"),
            ("new.py", "123"),
            ("out/result", "1"),
            ("skip.csv", "1"),
            (".csyncignore", "*.csv\n"),
        ]);
        let git = |args: &[&str]| {
            let done = Command::new("git").args(args).current_dir(dir.path()).stdout(Stdio::null()).status();
            done.is_ok_and(|status| status.success())
        };
        // A machine without git has nothing to be tested here.
        if !git(&["init", "-q"]) {
            return;
        }
        assert!(git(&["add", "a.py", "gone.py", ".gitignore"]));
        fs::remove_file(dir.path().join("gone.py")).unwrap();
        let mut found = tree(dir.path()).unwrap();
        assert_eq!(found.chosen, Chosen::ByGit);
        assert_eq!(names(&found), [".gitignore", "a.py", "new.py"]);
        assert_eq!(found.largest(2), [&(".gitignore".to_owned(), 5), &("new.py".to_owned(), 3)]);
        found.add(dir.path(), &["out".to_owned()]).unwrap();
        assert_eq!(names(&found), [".gitignore", "a.py", "new.py", "out/result"]);
        assert!(found.add(dir.path(), &["nothing".to_owned()]).is_err());
    }
}
