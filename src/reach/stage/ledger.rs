//! What this process knows of what was brought to a directory of a host: the host is asked only where something of that is gone here.
//!
//! It may know of more than was brought, which costs a question when that is gone, but never of less: what is brought is taken in before
//! it is sent, and a process that knows nothing yet asks.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::spawn_blocking;

use crate::reach::clock;
use crate::reach::stage::StageError;
use crate::reach::stage::brought::{Brought, Gone};
use crate::reach::stage::look::here;

/// How long a directory has not changed that does not change again within the same step of its filesystem's clock, in seconds.
const SETTLED: i64 = 3;

/// From so many pieces on what was written down is gathered, although nothing is gone.
pub(super) const MANY: usize = 64;

/// What whoever brings knows of what was brought before, and wants of it.
#[derive(Clone, Copy)]
pub struct Tidy<'a> {
    /// What is known.
    pub ledger: &'a Ledger,
    /// Says what stays although it is gone here, whatever was brought under that name once.
    pub spares: &'a (dyn Fn(&str) -> bool + Send + Sync),
}

impl<'a> Tidy<'a> {
    /// Nothing is spared.
    #[must_use]
    pub const fn all(ledger: &'a Ledger) -> Self {
        Self { ledger, spares: &|_| false }
    }
}

/// See the room.
#[derive(Debug, Default)]
pub struct Ledger {
    book: Arc<Mutex<Book>>,
}

#[derive(Debug, Default)]
struct Book {
    /// Whether the host said what was brought before.
    has_asked: bool,
    /// The pieces in which that is written down there, as far as is known.
    pieces: usize,
    /// What was brought, by the directory that it is in.
    dirs: HashMap<String, Dir>,
    /// What is gone here, and stays there as long as it is spared.
    spared: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Dir {
    /// What is in it, and whether that is a directory.
    names: HashMap<String, bool>,
    /// What it was when all of these were seen in it here.
    seen: Option<Stamp>,
    /// How many names came to it since this process began: two that look at it at once do not pass over what came between them.
    added: u64,
}

/// Changes when something comes to a directory or goes from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    mtime: (i64, i64),
}

impl Stamp {
    fn of(dir: &Path) -> Option<Self> {
        let meta = fs::metadata(dir).ok().filter(fs::Metadata::is_dir)?;
        Some(Self { device: meta.dev(), inode: meta.ino(), mtime: (meta.mtime(), meta.mtime_nsec()) })
    }

    fn is_settled(self) -> bool {
        self.mtime.0 + SETTLED < clock::now().0 / 1_000_000
    }
}

impl Ledger {
    /// Returns whether the host has to be asked what was brought: nobody did yet, something of it is gone here that nothing spares, or it
    /// is written down in too many pieces.
    pub(super) async fn lacks(
        &self,
        from: &Path,
        spares: &(dyn Fn(&str) -> bool + Send + Sync),
    ) -> Result<bool, StageError> {
        let released: Vec<String> = {
            let book = open(&self.book);
            if !book.has_asked || book.pieces >= MANY {
                return Ok(true);
            }
            book.spared.iter().filter(|name| !spares(name)).cloned().collect()
        };
        let (book, from) = (Arc::clone(&self.book), from.to_owned());
        let looking = spawn_blocking(move || {
            let is_back = released.iter().all(|name| fs::metadata(from.join(name)).is_ok());
            (is_back, gone(&book, &from))
        });
        let (is_back, gone) = looking.await.map_err(|error| here(Path::new("."), std::io::Error::other(error)))?;
        let (staying, gone): (Vec<_>, Vec<_>) = gone.into_iter().partition(|name| spares(name));
        let mut book = open(&self.book);
        for name in staying {
            book.forget(&name);
            book.spared.insert(name);
        }
        Ok(!is_back || !gone.is_empty())
    }

    /// Takes in files that are about to be brought.
    pub(super) fn brings<'a>(&self, files: impl Iterator<Item = &'a str>) {
        let mut book = open(&self.book);
        files.for_each(|name| book.insert(name, false));
    }

    /// Takes in directories that are about to be made.
    pub(super) fn makes(&self, dirs: &[String]) {
        let mut book = open(&self.book);
        for name in dirs {
            book.insert(name, true);
        }
    }

    /// Returns whether a directory was brought, as far as is known.
    pub(super) fn has_made(&self, dir: &str) -> bool {
        let (above, base) = split(dir);
        open(&self.book).dirs.get(above).is_some_and(|of| of.names.get(base) == Some(&true))
    }

    /// Counts a piece that is written down there.
    pub(super) fn writes(&self) {
        open(&self.book).pieces += 1;
    }

    /// Takes in what the host said, and what of it was found to be gone here.
    pub(super) fn settle(&self, brought: &Brought, gone: Gone) {
        let mut book = open(&self.book);
        book.has_asked = true;
        book.pieces = brought.pieces();
        brought.files().for_each(|name| book.insert(name, false));
        brought.dirs().for_each(|name| book.insert(name, true));
        for name in gone.removed {
            book.forget(&name);
            book.spared.remove(&name);
        }
        for name in gone.spared {
            book.forget(&name);
            book.spared.insert(name);
        }
    }
}

fn open(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Splits a name into the directory that it is in and the rest.
fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('/').unwrap_or(("", name))
}

impl Book {
    fn insert(&mut self, name: &str, is_dir: bool) {
        if name.is_empty() {
            return;
        }
        let (dir, base) = split(name);
        if self.dirs.get(dir).is_some_and(|of| of.names.get(base) == Some(&is_dir)) {
            return;
        }
        let of = self.dirs.entry(dir.to_owned()).or_default();
        of.names.insert(base.to_owned(), is_dir);
        of.seen = None;
        of.added += 1;
        self.insert(dir, true);
    }

    fn forget(&mut self, name: &str) {
        let (dir, base) = split(name);
        if let Some(of) = self.dirs.get_mut(dir) {
            of.names.remove(base);
            if of.names.is_empty() {
                self.dirs.remove(dir);
            }
        }
    }
}

/// Returns what was brought and is not here any more as what it was. Only directories are looked into that changed since all was seen
/// in them.
fn gone(book: &Mutex<Book>, from: &Path) -> Vec<String> {
    let known: Vec<(String, Option<Stamp>)> =
        open(book).dirs.iter().map(|(name, dir)| (name.clone(), dir.seen)).collect();
    let mut gone = Vec::new();
    for (name, seen) in known {
        let path = from.join(&name);
        let now = Stamp::of(&path);
        if now.is_some() && now == seen {
            continue;
        }
        let Some((names, added)) = open(book).dirs.get(&name).map(|dir| (dir.names.clone(), dir.added)) else {
            continue;
        };
        let (lacking, has_links) = look(&path, names);
        if lacking.is_empty() {
            // What a link leads to goes without a change of the directory.
            let seen = now.filter(|stamp| !has_links && stamp.is_settled());
            if let Some(dir) = open(book).dirs.get_mut(&name).filter(|dir| dir.added == added) {
                dir.seen = seen;
            }
        }
        let full = |base: String| if name.is_empty() { base } else { format!("{name}/{base}") };
        gone.extend(lacking.into_iter().map(full));
    }
    gone
}

/// Returns which of these are not in a directory as what they were, and whether any is a link.
fn look(dir: &Path, names: HashMap<String, bool>) -> (Vec<String>, bool) {
    let mut has_links = false;
    let mut is_here = |path: PathBuf, is_dir: bool| {
        let Ok(meta) = fs::symlink_metadata(&path) else { return false };
        if !meta.is_symlink() {
            return meta.is_dir() == is_dir;
        }
        has_links = true;
        fs::metadata(&path).is_ok_and(|meta| meta.is_dir() == is_dir)
    };
    let lacking = names.into_iter().filter(|(name, is_dir)| !is_here(dir.join(name), *is_dir)).map(|(name, _)| name);
    let lacking = lacking.collect();
    (lacking, has_links)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    struct Known {
        dir: tempfile::TempDir,
        ledger: Ledger,
    }

    impl Known {
        fn new(files: &[&str]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            for name in files {
                let path = dir.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
            let known = Self { dir, ledger: Ledger::default() };
            known.ledger.settle(&Brought::default(), Gone::default());
            known.ledger.brings(files.iter().copied());
            known
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        /// Has a directory be as old as one in which nothing happens any more.
        fn settle(&self, dir: &str) {
            let before = SystemTime::UNIX_EPOCH + Duration::from_micros(clock::now().0 as u64) - Duration::from_mins(5);
            fs::File::open(self.path(dir)).unwrap().set_modified(before).unwrap();
        }

        async fn lacks(&self) -> bool {
            self.lacks_but(&|_| false).await
        }

        async fn lacks_but(&self, spares: &(dyn Fn(&str) -> bool + Send + Sync)) -> bool {
            self.ledger.lacks(self.dir.path(), spares).await.unwrap()
        }

        fn is_seen(&self, dir: &str) -> bool {
            open(&self.ledger.book).dirs[dir].seen.is_some()
        }
    }

    #[tokio::test]
    async fn who_knows_nothing_asks_and_who_knows_all_does_not() {
        assert!(Ledger::default().lacks(Path::new("/"), &|_| false).await.unwrap());
        let known = Known::new(&["top", "d/a", "d/deep/b"]);
        assert!(!known.lacks().await);
        for (n, gone) in ["d/deep/b", "d/a", "top"].into_iter().enumerate() {
            fs::remove_file(known.path(gone)).unwrap();
            assert!(known.lacks().await, "{gone}");
            let gone = Gone { removed: vec![gone.to_owned()], spared: Vec::new() };
            known.ledger.settle(&Brought::default(), gone);
            assert!(!known.lacks().await, "{n}");
        }
        fs::remove_dir(known.path("d/deep")).unwrap();
        assert!(known.lacks().await, "a directory");
    }

    #[tokio::test]
    async fn what_did_not_change_is_not_looked_into() {
        let known = Known::new(&["d/a", "e/b"]);
        assert!(!known.lacks().await && !known.is_seen("d"), "it may change again within the same step of the clock");
        known.settle("d");
        known.settle("e");
        assert!(!known.lacks().await && known.is_seen("d") && known.is_seen("e"));
        known.ledger.brings(["d/c"].into_iter());
        assert!(!known.is_seen("d") && known.is_seen("e"), "what came since was not seen");
        assert!(known.lacks().await);
        // The target of a link goes without a trace in the directory that the link is in.
        std::os::unix::fs::symlink("../e/b", known.path("d/c")).unwrap();
        known.settle("d");
        assert!(!known.lacks().await && !known.is_seen("d"));
        fs::remove_file(known.path("e/b")).unwrap();
        known.settle("e");
        let gone = Gone { removed: vec!["e/b".to_owned()], spared: Vec::new() };
        known.ledger.settle(&Brought::default(), gone);
        assert!(known.lacks().await);
    }

    #[tokio::test]
    async fn another_kind_of_the_same_name_is_not_the_same() {
        let known = Known::new(&["d/file", "d/dir/in"]);
        fs::remove_file(known.path("d/file")).unwrap();
        assert!(known.lacks().await);
        fs::create_dir(known.path("d/file")).unwrap();
        assert!(known.lacks().await, "a directory in the place of a file");
    }

    #[tokio::test]
    async fn what_is_spared_is_asked_for_when_it_no_longer_is() {
        let known = Known::new(&["made", "a"]);
        fs::remove_file(known.path("made")).unwrap();
        for _ in 0..2 {
            assert!(!known.lacks_but(&|name| name == "made").await);
        }
        assert!(known.lacks().await);
        fs::write(known.path("made"), "").unwrap();
        assert!(!known.lacks().await, "it is back");
    }

    #[tokio::test]
    async fn many_pieces_are_asked_for() {
        let known = Known::new(&["a"]);
        for _ in 0..MANY {
            assert!(!known.lacks().await);
            known.ledger.writes();
        }
        assert!(known.lacks().await);
    }
}
