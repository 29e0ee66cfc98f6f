//! The index that hooks of coding agents look things up in (`advice.idx`): where it lies, what its keys are, and how changes get
//! into it. It is made whole by `csync hook refresh`; between these times the engine puts in what it learns.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{FlockOperation, flock};

use crate::decide::advise::Replica;
use crate::model::data::{DataFact, Rate};
use crate::model::host::HostName;
use crate::reach::index::{CUT_KEY, Index, IndexEditor, IndexError};
use crate::reach::learned::{Entry, Extract, Place, Stamp};

/// The key of what the index says of itself.
pub const META_KEY: &str = "meta";

/// Returns where the index lies.
pub fn path(state: &Path) -> PathBuf {
    state.join("advice.idx")
}

/// The key of a host's facts.
pub fn host_key(name: &str) -> String {
    format!("host {name}")
}

/// The key of a name that leads to a host.
pub fn name_key(name: &str) -> String {
    format!("name {name}")
}

/// The key of a file's or directory's copies on hosts.
pub fn data_key(path: &str) -> String {
    format!("data {path}")
}

/// The key of how fast files move between two hosts.
pub fn rate_key(one: &str, other: &str) -> String {
    let (one, other) = if one <= other { (one, other) } else { (other, one) };
    format!("rate {one} {other}")
}

/// Returns how many records had no room in the index when it was made; none where all had.
pub fn cut(state: &Path) -> Option<u64> {
    Index::open(&path(state)).ok()?.get(CUT_KEY)
}

/// Keeps others from changing the index, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Waits until nobody else changes the index.
///
/// # Errors
/// When the lock cannot be had: a full disk, a read-only directory.
pub fn lock(state: &Path) -> std::io::Result<Lock> {
    let file = File::options().create(true).append(true).mode(0o600).open(state.join("advice.lock"))?;
    flock(&file, FlockOperation::LockExclusive)?;
    Ok(Lock { _file: file })
}

/// A copy, as the index has it.
pub fn copy(replica: &crate::model::data::Replica) -> Replica {
    let (host, path) = (replica.host.as_str().to_owned(), replica.there());
    Replica { host, path, bytes: Some(replica.size), seconds: None }
}

/// Puts what was learned of data into the index.
///
/// # Errors
/// [`IndexError`]; [`IndexError::TooLarge`] where it has to be made anew.
pub fn put_data(state: &Path, facts: &[DataFact]) -> Result<(), IndexError> {
    let _lock = lock(state)?;
    let mut editor = IndexEditor::open(&path(state))?;
    facts.iter().try_for_each(|fact| match fact {
        DataFact::Lies(replica) => {
            let key = data_key(&replica.here());
            let mut copies = without(editor.get(&key), Some(&replica.host));
            copies.push(copy(replica));
            editor.put(&key, &copies)
        }
        DataFact::Gone { root, path, host } => {
            let key = data_key(&format!("{}/{path}", root.trim_end_matches('/')));
            let copies = without(editor.get(&key), host.as_ref());
            if copies.is_empty() { editor.remove(&key) } else { editor.put(&key, &copies) }
        }
        DataFact::Rate(Rate { source, target, rate, .. }) => {
            editor.put(&rate_key(source.as_str(), target.as_str()), rate)
        }
        // What is here needs no advice where else it is.
        DataFact::Brought(_)
        | DataFact::Cleaned { .. }
        | DataFact::Shared { .. }
        | DataFact::Holds(_)
        | DataFact::Dropped { .. } => Ok(()),
    })
}

/// Returns the copies that are not on a host; none where no host is named.
fn without(copies: Option<Vec<Replica>>, host: Option<&HostName>) -> Vec<Replica> {
    let mut copies = copies.unwrap_or_default();
    copies.retain(|copy| host.is_some_and(|host| copy.host != host.as_str()));
    copies
}

/// Puts what was learned of commands into the index. Where the key stands behind a passphrase nothing is. With the stamps of the
/// store before and after these were all that it learned, an index that held all of it holds all of it still.
///
/// # Errors
/// [`IndexError`]; [`IndexError::TooLarge`] where it has to be made anew.
pub fn put_learned(
    state: &Path,
    place: &Place,
    entries: &[Entry],
    stamps: Option<(Stamp, Stamp)>,
) -> Result<(), IndexError> {
    let Some(extract) = Extract::open(place) else { return Ok(()) };
    let _lock = lock(state)?;
    let mut editor = IndexEditor::open(&path(state))?;
    entries.iter().try_for_each(|entry| extract.put(entry, &mut editor))?;
    stamps.map_or(Ok(()), |(before, now)| extract.put_stamp(&before, &now, &mut editor))
}

/// Has the index made anew by a process of its own, and does not wait for it.
pub fn refresh_in_background() {
    let Ok(program) = std::env::current_exe() else { return };
    let mut command = Command::new(program);
    command.args(["--quiet", "hook", "refresh"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    // Without it the index stays as old as it is.
    drop(command.spawn());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::data;
    use crate::model::units::{Bytes, Timestamp};
    use crate::reach::index::IndexWriter;

    fn lies(host: &str, path: &str) -> DataFact {
        DataFact::Lies(data::Replica {
            root: "/p/".to_owned(),
            path: path.to_owned(),
            host: host.parse().unwrap(),
            place: "/scratch/p".to_owned(),
            size: Bytes::gib(2),
            mtime: 0,
            at: Timestamp(0),
        })
    }

    #[test]
    fn copies_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path();
        assert!(matches!(put_data(state, &[lies("hpc", "a")]), Err(IndexError::Io(_))), "nobody asked for an index");
        IndexWriter::default().write(&path(state)).unwrap();
        put_data(state, &[lies("hpc", "a"), lies("hpc", "a"), lies("lab", "a"), lies("hpc", "b")]).unwrap();
        let hosts = |name: &str| {
            let copies: Option<Vec<Replica>> = Index::open(&path(state)).unwrap().get(&data_key(name));
            copies.map(|all| all.into_iter().map(|copy| copy.host).collect::<Vec<_>>())
        };
        assert_eq!(hosts("/p/a"), Some(vec!["hpc".to_owned(), "lab".to_owned()]));
        let gone = |host: Option<&str>| DataFact::Gone {
            root: "/p".to_owned(),
            path: "a".to_owned(),
            host: host.map(|host| host.parse().unwrap()),
        };
        put_data(state, &[gone(Some("hpc"))]).unwrap();
        assert_eq!(hosts("/p/a"), Some(vec!["lab".to_owned()]));
        put_data(state, &[gone(None), gone(None)]).unwrap();
        assert_eq!((hosts("/p/a"), hosts("/p/b")), (None, Some(vec!["hpc".to_owned()])));
        let rate = Rate {
            source: "hpc".parse().unwrap(),
            target: HostName::local(),
            rate: 5e6,
            bytes: Bytes::gib(1),
            at: Timestamp(0),
        };
        put_data(state, &[DataFact::Rate(rate)]).unwrap();
        assert_eq!(Index::open(&path(state)).unwrap().get::<f64>(&rate_key("local", "hpc")), Some(5e6));
    }
}
