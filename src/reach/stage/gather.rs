//! Directories that are not here yet: what belongs in them gathers beside, under a name that nobody reads, until all of it has come.
//! A part of a directory would pass for the whole.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::reach::stage::StageError;
use crate::reach::stage::fetch::Far;
use crate::reach::stage::look::{here, with_those_above};

/// What everything is called that is not done.
const OURS: &str = ".csync-";

/// A directory here, and where in it files go for now.
#[derive(Clone, Debug)]
pub(super) struct Goal {
    root: PathBuf,
    /// Directories that are not here, by name, and where what is in them gathers; whether anything has from an earlier try.
    gathering: BTreeMap<String, (String, bool)>,
    /// What is to be in those of which something is there from an earlier try.
    wanted: Arc<HashSet<PathBuf>>,
}

impl Goal {
    /// Looks which directories (plain names) are not here.
    pub(super) fn new<'a>(root: &Path, dirs: impl Iterator<Item = &'a str>) -> Self {
        let mut goal = Self { root: root.to_owned(), gathering: BTreeMap::new(), wanted: Arc::default() };
        let mut dirs: Vec<&str> = dirs.filter(|dir| !dir.is_empty()).collect();
        // The outer ones first: what is in them gathers with them.
        dirs.sort_by_key(|dir| dir.len());
        for dir in dirs {
            let is_absent = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
            if goal.place(dir).is_none() && fs::symlink_metadata(root.join(dir)).is_err_and(is_absent) {
                let beside = beside(dir);
                let has_some = fs::symlink_metadata(root.join(&beside)).is_ok();
                goal.gathering.insert(dir.to_owned(), (beside, has_some));
            }
        }
        goal
    }

    /// Returns the directory.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns where a file goes for now.
    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.root.join(self.name(name))
    }

    /// Returns what a file is called for now.
    pub(super) fn name(&self, name: &str) -> String {
        match self.place(name) {
            Some((dir, beside)) => format!("{beside}{}", name.get(dir.len()..).unwrap_or_default()),
            None => name.to_owned(),
        }
    }

    /// Returns the directory that a file is in, and where that gathers.
    fn place(&self, name: &str) -> Option<(&str, &str)> {
        if self.gathering.is_empty() {
            return None;
        }
        let found = with_those_above(name).find_map(|dir| self.gathering.get_key_value(dir));
        found.map(|(dir, (beside, _))| (dir.as_str(), beside.as_str()))
    }

    /// Returns the directories that gather, and where.
    pub(super) fn gathering(&self) -> impl Iterator<Item = (&str, &str)> {
        self.gathering.iter().map(|(dir, (beside, _))| (dir.as_str(), beside.as_str()))
    }

    /// Removes what an earlier try brought and is wanted no more; halves of files are gone on with.
    pub(super) fn tidy(&mut self, wanted: &[Far]) {
        if self.gathering.values().all(|(_, has_some)| !has_some) {
            return;
        }
        self.wanted = Arc::new(wanted.iter().map(|(name, _)| self.at(name)).collect());
        self.sweep(|name| name.starts_with(OURS));
    }

    /// Removes what is not wanted, but for names that stay.
    fn sweep(&self, stays: impl Fn(&str) -> bool) {
        for (beside, _) in self.gathering.values().filter(|(_, has_some)| *has_some) {
            for entry in walkdir::WalkDir::new(self.root.join(beside)).contents_first(true).into_iter().flatten() {
                if entry.file_type().is_dir() {
                    // Fails where something is in it; an empty one that is wanted is made again.
                    drop(fs::remove_dir(entry.path()));
                } else if !self.wanted.contains(entry.path()) && !stays(entry.file_name().to_str().unwrap_or_default())
                {
                    drop(fs::remove_file(entry.path()));
                }
            }
        }
    }

    /// Makes the directories that no file came in, gives those their names that gathered, and sets the time of all of them, `dirs`, to
    /// when anything last changed in the one that was asked for: when they were made here says nothing.
    pub(super) fn let_in(&self, dirs: &[String], asked: &BTreeMap<String, i64>) -> Result<(), StageError> {
        self.sweep(|_| false);
        for dir in dirs {
            let path = self.at(dir);
            fs::create_dir_all(&path).map_err(|source| here(&path, source))?;
        }
        for (dir, (beside, _)) in &self.gathering {
            let (from, to) = (self.root.join(beside), self.root.join(dir));
            fs::rename(&from, &to).map_err(|source| here(&to, source))?;
        }
        for dir in dirs {
            if let Some(mtime) = with_those_above(dir).find_map(|above| asked.get(above)) {
                // What keeps its time is taken for changed, and no more than that.
                drop(set_time(&self.root.join(dir), *mtime));
            }
        }
        Ok(())
    }
}

fn set_time(dir: &Path, mtime: i64) -> io::Result<()> {
    File::open(dir)?.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(mtime).unwrap_or(0)))
}

/// Returns where a directory gathers: beside it, on the same filesystem, and each time at the same place.
fn beside(dir: &str) -> String {
    let (above, name) = dir.rsplit_once('/').map_or(("", dir), |(above, name)| (above, name));
    let hash = blake3::hash(name.as_bytes()).to_hex();
    let space = if above.is_empty() { "" } else { "/" };
    format!("{above}{space}{OURS}{}.dir", hash.get(..16).unwrap_or_default())
}
