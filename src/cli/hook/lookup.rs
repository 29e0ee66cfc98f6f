//! Facts for one line, from the index beside the database.

use std::cell::OnceCell;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::decide::advise::{Facts, Found, HostFacts, Learned, NameFacts, Replica, need};
use crate::decide::learn::threads::threads;
use crate::language::command::signature;
use crate::model::units::Bytes;
use crate::reach::advice::{META_KEY, data_key, host_key, name_key, path, rate_key};
use crate::reach::config::{ConfigDir, StateDir};
use crate::reach::index::Index;
use crate::reach::learned::{Extract, Place, class_of};

/// Most words of a command that are looked at as files.
const MOST_FILES: usize = 16;

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

/// Returns where it stands of which `hosts.toml` no index could be made.
pub(super) fn tried_path(state: &Path) -> PathBuf {
    state.join("advice.tried")
}

/// The facts for one line.
#[derive(Debug)]
pub(super) struct Lookup {
    index: Option<Index>,
    meta: Option<Meta>,
    /// What opens what was learned; read when it is needed.
    extract: OnceCell<Option<Extract>>,
    place: Option<Place>,
}

impl Lookup {
    /// Opens the index. Without one, or with a damaged one, nothing is known.
    pub(super) fn open(state: Option<&StateDir>) -> Self {
        let index = state.and_then(|state| Index::open(&path(state.root())).ok());
        let meta = index.as_ref().and_then(|index| index.get(META_KEY));
        Self { index, meta, extract: OnceCell::new(), place: state.map(Place::of) }
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

    /// Says how long bringing each copy to a host would take; what lies on this machine is a copy too.
    fn with_costs(&self, mut copies: Vec<Replica>, path: &str, host: &str) -> Vec<Replica> {
        let rate = |from: &str| self.index.as_ref()?.get::<f64>(&rate_key(from, host)).filter(|rate| *rate > 0.0);
        if !copies.iter().any(|copy| copy.host == "local")
            && let Ok(meta) = std::fs::metadata(path)
        {
            let bytes = meta.is_file().then_some(Bytes(meta.len()));
            copies.push(Replica { host: "local".to_owned(), path: path.to_owned(), bytes, seconds: None });
        }
        for copy in &mut copies {
            let seconds = copy.bytes.zip(rate(&copy.host)).map(|(bytes, rate)| (bytes.0 as f64 / rate).ceil() as u64);
            copy.seconds = copy.seconds.or(seconds);
        }
        copies
    }

    /// Returns what was learned of a command.
    fn learned(&self, words: &[&str], host: &str, cwd: Option<&str>) -> Option<Learned> {
        let extract = self.extract.get_or_init(|| Extract::open(self.place.as_ref()?)).as_ref()?;
        let (index, key) = (self.index.as_ref()?, extract.tokens());
        let commands = [words.to_vec()];
        let class = class_of(host, key);
        let files = files(words, cwd);
        let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
        let input: u64 = files.iter().map(|(_, size)| size).sum();
        // What a workflow declares as inputs is part of the signature; a bare command declares none.
        let bare = signature(&commands, &[], key)?;
        let full = signature(&commands, &names, key).filter(|full| *full != bare);
        let known = full.iter().chain([&bare]).flat_map(|signature| extract.find(index, signature, class));
        need(known, input as f64)
    }

    fn host_facts(&self, name: &str) -> Option<Arc<HostFacts>> {
        self.index.as_ref()?.get(&host_key(name)).map(Arc::new)
    }
}

/// Returns the files that words name, each with its size.
fn files<'w>(words: &[&'w str], cwd: Option<&str>) -> Vec<(&'w str, u64)> {
    let dir = cwd.map(Path::new);
    let size = |name: &str| {
        let path = if name.starts_with('/') { PathBuf::from(name) } else { dir?.join(name) };
        std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|meta| meta.len())
    };
    let operands = words.iter().skip(1).filter(|word| !word.is_empty() && !word.starts_with('-')).take(MOST_FILES);
    operands.filter_map(|name| Some((*name, size(name)?))).collect()
}

impl Facts for Lookup {
    fn host(&self, name: &str) -> Option<Found> {
        let NameFacts { host, way, is_node } = self.index.as_ref()?.get(&name_key(name))?;
        Some(Found { host: self.host_facts(&host)?, way, is_node })
    }

    fn here(&self) -> Option<Arc<HostFacts>> {
        self.host_facts(self.meta.as_ref()?.here.as_deref().unwrap_or("local"))
    }

    fn request(&self, words: &[&str], host: &str, cwd: Option<&str>) -> Option<Learned> {
        let learned = self.learned(words, host, cwd);
        // What it says itself is known before anything was learned, and whatever it used so far.
        let Some(cores) = threads(words) else { return learned };
        let said = || Learned { source: "its own options".to_owned(), ..Learned::default() };
        Some(Learned { cores: Some(cores), ..learned.unwrap_or_else(said) })
    }

    fn replicas(&self, path: &str, host: &str) -> Vec<Replica> {
        let Some(index) = &self.index else { return Vec::new() };
        // A file below a dataset's directory lies where that lies.
        let mut at = Some(Path::new(path));
        while let Some(above) = at.filter(|path| path.as_os_str().len() > 1) {
            if let Some(found) = above.to_str().and_then(|path| index.get::<Vec<Replica>>(&data_key(path))) {
                return self.with_costs(found, path, host);
            }
            at = above.parent();
        }
        Vec::new()
    }

    fn has_program(&self, name: &str) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .any(|dir| std::fs::metadata(dir.join(name)).is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0))
    }

    fn has_variable(&self, prefix: &str) -> bool {
        // Where the batch system's own tools are is no request; which job this is, is.
        let harmless = [
            "SLURM_CONF",
            "SLURM_ROOT",
            "SGE_ROOT",
            "SGE_CELL",
            "SGE_CLUSTER_NAME",
            "SGE_QMASTER_PORT",
            "SGE_EXECD_PORT",
            "PBS_SERVER",
            "PBS_EXEC",
            "PBS_HOME",
        ];
        std::env::vars_os()
            .any(|(name, _)| name.to_str().is_some_and(|name| name.starts_with(prefix) && !harmless.contains(&name)))
    }

    fn git_remote(&self, dir: &str, name: Option<&str>) -> Option<String> {
        let git = Path::new(dir).ancestors().map(|dir| dir.join(".git")).find(|git| git.exists())?;
        // A worktree's or submodule's is a file that says where the folder is.
        let named = std::fs::read_to_string(&git).ok();
        let own =
            named.as_deref().and_then(|text| text.trim().strip_prefix("gitdir: ")).map(|path| git.with_file_name(path));
        let folder = own.unwrap_or(git);
        let common = std::fs::read_to_string(folder.join("commondir")).ok().map(|path| folder.join(path.trim()));
        let config = std::fs::read_to_string(common.unwrap_or(folder).join("config")).ok()?;
        push_url(&config, name)
    }

    fn batch_script(&self, path: &str) -> Option<String> {
        let meta = std::fs::metadata(path).ok()?;
        (meta.is_file() && meta.len() <= LARGEST_SCRIPT).then(|| std::fs::read_to_string(path).ok())?
    }
}

/// Finds where git pushes to, in its configuration: to the remote of that name, or to the only one, or to `origin`.
fn push_url(config: &str, name: Option<&str>) -> Option<String> {
    let mut remotes: Vec<(String, String)> = Vec::new();
    let mut within: Option<String> = None;
    for line in config.lines().map(str::trim) {
        if line.starts_with('[') {
            within = line.strip_prefix("[remote \"").and_then(|rest| rest.strip_suffix("\"]")).map(str::to_owned);
        } else if let (Some(remote), Some((key, url))) = (&within, line.split_once('=')) {
            let known = remotes.iter().any(|(own, _)| own == remote);
            match key.trim() {
                "pushurl" => remotes.retain(|(own, _)| own != remote),
                "url" if !known => {}
                _ => continue,
            }
            remotes.push((remote.clone(), url.trim().to_owned()));
        }
    }
    let only = remotes.first().filter(|_| remotes.len() == 1);
    let wanted = name.unwrap_or("origin");
    let found = remotes.iter().find(|(own, _)| own == wanted).or(only.filter(|_| name.is_none()))?;
    Some(found.1.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_says_itself_needs_nothing_that_was_learned() {
        let nothing = Lookup::open(None);
        let asked = |line: &str| nothing.request(&line.split(' ').collect::<Vec<_>>(), "hpc", None);
        let said = asked("bwa mem -t 8 ref.fa r.fq").unwrap();
        assert_eq!((said.cores, said.memory, said.source.as_str()), (Some(8), None, "its own options"));
        assert_eq!(asked("bwa mem ref.fa r.fq"), None);
    }

    #[test]
    fn git_says_where_it_pushes_to() {
        let one = "[core]\n\tbare = false\n[remote \"up\"]\n\turl = git@host:r\n\tfetch = +refs/*\n";
        assert_eq!(push_url(one, None).as_deref(), Some("git@host:r"));
        assert_eq!((push_url(one, Some("origin")), push_url("", None)), (None, None));
        let two = format!(
            "{one}[remote \"origin\"]\n\turl = https://x/r\n\tpushurl = ssh://x/r\n[branch \"m\"]\n\turl = no\n"
        );
        assert_eq!(push_url(&two, None).as_deref(), Some("ssh://x/r"));
        assert_eq!(push_url(&two, Some("up")).as_deref(), Some("git@host:r"));
    }
}
