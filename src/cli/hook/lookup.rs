//! Facts for one line, from the index beside the database.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::decide::advise::{Facts, Found, HostFacts, Learned, NameFacts, Replica};
use crate::reach::config::ConfigDir;
use crate::reach::index::Index;

/// Largest batch script that is read.
const LARGEST_SCRIPT: u64 = 256 << 10;

/// What the index says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    /// csync's name of this machine, where it is one of the hosts.
    pub(super) here: Option<String>,
    /// `hosts.toml` as it was.
    pub(super) hosts: Stamp,
}

/// A file as it was at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    changed: i64,
    nanos: i64,
    size: u64,
}

impl Stamp {
    /// Looks at a file; one that is not there has a stamp too.
    pub(super) fn of(path: &Path) -> Self {
        std::fs::metadata(path).map_or_else(
            |_| Self::default(),
            |meta| Self { changed: meta.mtime(), nanos: meta.mtime_nsec(), size: meta.len() },
        )
    }
}

impl std::fmt::Display for Stamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:09} {}", self.changed, self.nanos, self.size)
    }
}

/// Whether the index is behind what people wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stale {
    Yes,
    No,
}

/// Returns where the index lies.
pub(super) fn index_path(state: &Path) -> PathBuf {
    state.join("advice.idx")
}

/// Returns where it stands of which `hosts.toml` no index could be made.
pub(super) fn tried_path(state: &Path) -> PathBuf {
    state.join("advice.tried")
}

/// The key of a host's facts.
pub(super) fn host_key(name: &str) -> String {
    format!("host {name}")
}

/// The key of a name that leads to a host.
pub(super) fn name_key(name: &str) -> String {
    format!("name {name}")
}

/// The key of a directory's or file's replicas.
pub(super) fn data_key(path: &str) -> String {
    format!("data {path}")
}

/// The key of what the index says of itself.
pub(super) const META_KEY: &str = "meta";

/// The facts for one line.
#[derive(Debug)]
pub(super) struct Lookup {
    index: Option<Index>,
    meta: Option<Meta>,
}

impl Lookup {
    /// Opens the index. Without one, or with a damaged one, nothing is known.
    pub(super) fn open(state: Option<&Path>) -> Self {
        let index = state.and_then(|state| Index::open(&index_path(state)).ok());
        let meta = index.as_ref().and_then(|index| index.get(META_KEY));
        Self { index, meta }
    }

    /// Says whether there is an index that can be read.
    pub(super) fn is_known(&self) -> bool {
        self.meta.is_some()
    }

    /// Says whether `hosts.toml` was changed since the index was made, or since that was tried in vain.
    pub(super) fn stale(&self, state: Option<&Path>) -> Stale {
        let Ok(dir) = ConfigDir::locate(|name| std::env::var_os(name)) else { return Stale::No };
        let now = Stamp::of(&dir.hosts_file());
        let known = self.meta.as_ref().map_or_else(Stamp::default, |meta| meta.hosts.clone());
        if now == known {
            return Stale::No;
        }
        let tried = state.and_then(|state| std::fs::read_to_string(tried_path(state)).ok());
        if tried.is_some_and(|tried| tried == now.to_string()) { Stale::No } else { Stale::Yes }
    }

    fn host_facts(&self, name: &str) -> Option<Arc<HostFacts>> {
        self.index.as_ref()?.get(&host_key(name)).map(Arc::new)
    }
}

impl Facts for Lookup {
    fn host(&self, name: &str) -> Option<Found> {
        let NameFacts { host, way, is_node } = self.index.as_ref()?.get(&name_key(name))?;
        Some(Found { host: self.host_facts(&host)?, way, is_node })
    }

    fn here(&self) -> Option<Arc<HostFacts>> {
        self.host_facts(self.meta.as_ref()?.here.as_deref().unwrap_or("local"))
    }

    fn request(&self, _words: &[&str]) -> Option<Learned> {
        None
    }

    fn replicas(&self, path: &str) -> Vec<Replica> {
        let Some(index) = &self.index else { return Vec::new() };
        // A file below a dataset's directory lies where that lies.
        let mut at = Some(Path::new(path));
        while let Some(path) = at.filter(|path| path.as_os_str().len() > 1) {
            if let Some(found) = path.to_str().and_then(|path| index.get::<Vec<Replica>>(&data_key(path))) {
                return found;
            }
            at = path.parent();
        }
        Vec::new()
    }

    fn has_program(&self, name: &str) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .any(|dir| std::fs::metadata(dir.join(name)).is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0))
    }

    fn batch_script(&self, path: &str) -> Option<String> {
        let meta = std::fs::metadata(path).ok()?;
        (meta.is_file() && meta.len() <= LARGEST_SCRIPT).then(|| std::fs::read_to_string(path).ok())?
    }
}
