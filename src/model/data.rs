//! Files of workflows that lie on hosts, and how fast files move.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::host::HostName;
use crate::model::plan::Fingerprint;
use crate::model::units::{Bytes, Timestamp};

pub use crate::model::plan::{DATA, spoken};

/// Splits the path of a dataset's file into the directory that stands for the dataset and the rest; other paths are their rest.
pub fn within(path: &str) -> (&str, &str) {
    let cut = path.strip_prefix(DATA).and_then(|rest| rest.find('/')).map(|cut| DATA.len() + cut);
    match cut {
        Some(cut) => (path.get(..cut).unwrap_or_default(), path.get(cut + 1..).unwrap_or_default()),
        None => ("", path),
    }
}

/// Returns the directories above a path, the outermost first; none of what is in a dataset, of which every file is known.
pub fn above(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.match_indices('/').map(|(at, _)| at).filter(|_| !path.starts_with(DATA));
    ends.filter_map(|end| path.get(..end))
}

/// Puts the directory that stands for a dataset behind another one.
pub fn joined(directory: &str, prefix: &str) -> String {
    if prefix.is_empty() { directory.to_owned() } else { format!("{}/{prefix}", directory.trim_end_matches('/')) }
}

/// A file of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its path from the dataset's directory.
    pub path: String,
    /// Its size.
    pub size: Bytes,
    /// When it was written, in seconds since 1970.
    pub mtime: i64,
}

/// A directory of a host that holds a copy of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// The dataset's name.
    pub dataset: String,
    /// The host.
    pub host: HostName,
    /// The directory, absolute.
    pub path: String,
    /// When somebody looked; never, where there is none.
    pub looked: Option<Timestamp>,
    /// What kept the last look from showing it: it is gone, or its host was not reached.
    pub trouble: Option<Trouble>,
    /// What it has, sorted by path, as of the last look that showed it.
    pub files: Vec<Listed>,
}

/// Why nobody sees a copy of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// There is no such directory.
    Gone,
    /// The host was not reached, or did not answer.
    Unreached(String),
}

impl Holding {
    /// Makes one that nobody has looked at.
    pub fn new(dataset: &str, host: HostName, path: &str) -> Self {
        let path = path.trim_end_matches('/').to_owned();
        Self { dataset: dataset.to_owned(), host, path, looked: None, trouble: None, files: Vec::new() }
    }

    /// Returns how much it has.
    pub fn bytes(&self) -> Bytes {
        Bytes(self.files.iter().map(|file| file.size.0).fold(0, u64::saturating_add))
    }

    /// Returns whether what is in it can be used.
    pub fn is_there(&self) -> bool {
        self.looked.is_some() && self.trouble != Some(Trouble::Gone)
    }
}

/// Datasets that are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetAsk {
    /// Their names; all where none is named.
    pub names: Vec<String>,
    /// Directories of hosts.
    #[serde(default)]
    pub places: Vec<(HostName, String)>,
    /// Variables that say where hosts.toml is.
    #[serde(default)]
    pub env: Vec<(String, String)>,
}

/// What stands in the place of a workflow's directory where an image is meant: its name is the path.
pub const IMAGES: &str = "image:";

/// A copy of a workflow's file that lies on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// The workflow's directory here.
    pub root: String,
    /// Its path from there.
    pub path: String,
    /// The host that has it.
    pub host: HostName,
    /// The directory that stands for the workflow's there; of a dataset's file, for the dataset's; an image's digest.
    pub place: String,
    /// Its size.
    pub size: Bytes,
    /// When it was written, in seconds since 1970.
    pub mtime: i64,
    /// When it was recorded.
    pub at: Timestamp,
}

/// What was seen of the images on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagesSeen {
    /// The host.
    pub host: HostName,
    /// What each is known as, its digest, and its size.
    pub images: Vec<(String, String, Bytes)>,
    /// Whether that is all that there are: then others are no longer there.
    pub all: bool,
}

/// Says that a host has an image.
pub fn has_image(host: &HostName, image: &str, (digest, size): (String, Bytes), at: Timestamp) -> DataFact {
    DataFact::Lies(Replica {
        root: IMAGES.to_owned(),
        path: image.to_owned(),
        host: host.clone(),
        place: digest,
        size,
        mtime: 0,
        at,
    })
}

impl Replica {
    /// Returns whether it is an image.
    pub fn is_image(&self) -> bool {
        self.root == IMAGES
    }

    /// Returns its fingerprint: that of the file here, once it is fetched.
    pub const fn fingerprint(&self) -> Fingerprint {
        Fingerprint { size: self.size.0, mtime: self.mtime.saturating_mul(1_000_000), hash: None }
    }

    /// Returns its path on its host.
    pub fn there(&self) -> String {
        format!("{}/{}", self.place.trim_end_matches('/'), within(&self.path).1)
    }

    /// Returns whether it is a file of a dataset, which is its owner's.
    pub fn is_of_dataset(&self) -> bool {
        self.path.starts_with(DATA)
    }

    /// Returns the name of its dataset; empty where it is of none.
    pub fn dataset(&self) -> &str {
        within(&self.path).0.strip_prefix(DATA).unwrap_or_default()
    }

    /// Returns the path that it would have here.
    pub fn here(&self) -> String {
        format!("{}/{}", self.root.trim_end_matches('/'), self.path)
    }
}

/// What is here, and was brought to a host for a task to read or fetched from it: while it is the same here, it need not move to that
/// host again. It is no copy to fall back on: whoever changes the file here does not ask for that one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brought {
    /// The workflow's directory here.
    pub root: String,
    /// The path of the file or directory from there.
    pub path: String,
    /// The host.
    pub host: HostName,
    /// Its size then, with all that is in it.
    pub size: Bytes,
    /// When it had been written then, in microseconds since 1970.
    pub mtime: i64,
    /// When that was.
    pub at: Timestamp,
}

impl Brought {
    /// Returns whether what is here is still what was brought.
    pub fn is(&self, here: &Fingerprint) -> bool {
        (self.size.0, self.mtime) == (here.size, here.mtime)
    }
}

/// How fast files moved from one host to another, one of which may be this machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// From where.
    pub source: HostName,
    /// Where to.
    pub target: HostName,
    /// Bytes per second: of the last transfers, each later one counting as much as all before.
    pub rate: f64,
    /// Bytes of the last.
    pub bytes: Bytes,
    /// When that was.
    pub at: Timestamp,
}

/// Something learned of data and of the ways to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataFact {
    /// A copy lies there.
    Lies(Replica),
    /// It does not; on no host, where none is named.
    Gone {
        /// The workflow's directory.
        root: String,
        /// The path.
        path: String,
        /// The host.
        host: Option<HostName>,
    },
    /// It was brought there, or fetched from there, and is here too.
    Brought(Brought),
    /// What was brought to a host is there no more.
    Cleaned {
        /// The host.
        host: HostName,
    },
    /// A directory holds a dataset, with what was seen there.
    Holds(Holding),
    /// It does not any more; nowhere, where no place is named.
    Dropped {
        /// The dataset.
        dataset: String,
        /// The host and the directory.
        place: Option<(HostName, String)>,
    },
    /// So fast.
    Rate(Rate),
    /// Whether a host sees a directory of this machine under the same name.
    Shared {
        /// Which host.
        host: HostName,
        /// The directory.
        directory: String,
        /// Whether it does.
        seen: bool,
        /// When that was found out.
        at: Timestamp,
    },
}

/// What lies elsewhere of the files of one workflow's directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere(BTreeMap<String, Fingerprint>);

impl Elsewhere {
    /// Returns the fingerprint of a file that lies on some host; of what is in a directory that a task left there, that directory's.
    pub fn get(&self, path: &str) -> Option<Fingerprint> {
        let print = self.0.get(path);
        print.or_else(|| above(path).find_map(|dir| self.0.get(dir))).copied()
    }

    /// Returns the fingerprint of an input of which `here` is here: of a directory, together with what tasks left on hosts of what is in
    /// it, as far as that is not here too.
    pub fn with(&self, path: &str, here: Option<Fingerprint>, is_here: impl Fn(&str) -> bool) -> Option<Fingerprint> {
        if path.starts_with(DATA) {
            return here.or_else(|| self.get(path));
        }
        let below = format!("{path}/");
        let within = self.0.range(below.clone()..).take_while(|(path, _)| path.starts_with(&below));
        let lacking = within.filter(|(path, _)| !is_here(path)).map(|(_, print)| *print);
        let whole = here.into_iter().chain(lacking).reduce(|sum, print| Fingerprint {
            size: sum.size.saturating_add(print.size),
            mtime: sum.mtime.max(print.mtime),
            hash: None,
        });
        whole.or_else(|| self.get(path))
    }

    /// Returns whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Returns the fingerprint that counts of a dataset's file: that of the file here where it is the same, else of the dataset.
pub fn counts(here: Option<Fingerprint>, there: Option<Fingerprint>) -> Option<Fingerprint> {
    let second = |print: Fingerprint| (print.size, print.mtime.div_euclid(1_000_000));
    match (here, there) {
        (Some(here), Some(there)) if second(here) == second(there) => Some(here),
        (here, there) => there.or(here),
    }
}

impl<'a> FromIterator<&'a Replica> for Elsewhere {
    fn from_iter<T: IntoIterator<Item = &'a Replica>>(replicas: T) -> Self {
        let mut all: BTreeMap<String, Fingerprint> = BTreeMap::new();
        for replica in replicas {
            let print = replica.fingerprint();
            if all.insert(replica.path.clone(), print).is_some() || !replica.is_of_dataset() {
                continue;
            }
            // A dataset's directories are what their files are.
            for (cut, _) in replica.path.match_indices('/').filter(|(cut, _)| *cut >= DATA.len()) {
                let directory = replica.path.get(..cut).unwrap_or_default();
                let sum = all.entry(directory.to_owned()).or_insert(Fingerprint { size: 0, ..print });
                sum.size = sum.size.saturating_add(print.size);
                sum.mtime = sum.mtime.max(print.mtime);
            }
        }
        Self(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datasets_file_here_counts_where_it_is_the_same() {
        let print = |size, mtime| Some(Fingerprint { size, mtime, hash: None });
        assert_eq!(counts(print(1, 5_000_123), print(1, 5_000_000)), print(1, 5_000_123));
        assert_eq!(counts(print(2, 5_000_123), print(1, 5_000_000)), print(1, 5_000_000));
        assert_eq!(counts(None, print(1, 5)), print(1, 5));
        assert_eq!(counts(print(1, 5), None), print(1, 5));
    }

    #[test]
    fn directories_of_datasets_are_what_their_files_are() {
        let copy = |path: &str, host: &str, mtime| Replica {
            root: "/w".to_owned(),
            path: path.to_owned(),
            host: host.parse().unwrap(),
            place: "/vol".to_owned(),
            size: Bytes(3),
            mtime,
            at: Timestamp(0),
        };
        let (a, b) = (".csync/data/reads/x/a", ".csync/data/reads/x/y/b");
        let all = [copy(a, "nas", 5), copy(a, "hpc", 5), copy(b, "nas", 7), copy("sub/c", "hpc", 1)];
        let elsewhere: Elsewhere = all.iter().collect();
        let of = |path: &str| elsewhere.get(path).map(|print| (print.size, print.mtime));
        assert_eq!(of(".csync/data/reads/x"), Some((6, 7_000_000)));
        assert_eq!(of(".csync/data/reads/x/y"), Some((3, 7_000_000)));
        assert_eq!((of(".csync/data"), of("sub")), (None, None));
        let with = |path: &str, here: Option<(u64, i64)>, is_here: bool| {
            let here = here.map(|(size, mtime)| Fingerprint { size, mtime, hash: None });
            elsewhere.with(path, here, |_| is_here).map(|print| (print.size, print.mtime))
        };
        assert_eq!(with("sub", None, false), Some((3, 1_000_000)));
        assert_eq!(with("sub", Some((2, 5)), false), Some((5, 1_000_000)), "a part of it is here");
        assert_eq!(with("sub", Some((2, 5)), true), Some((2, 5)), "all of it is");
        assert_eq!((with("sub/c", None, false), with("su", None, false)), (Some((3, 1_000_000)), None));
        assert_eq!((within(a), all[0].there().as_str()), ((".csync/data/reads", "x/a"), "/vol/x/a"));
        assert_eq!((within("sub/c"), all[3].there().as_str()), (("", "sub/c"), "/vol/sub/c"));
    }
}
