//! Files of workflows that lie on hosts, and how fast files move.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::model::host::HostName;
use crate::model::plan::Fingerprint;
use crate::model::units::{Bytes, Timestamp};

/// A copy of a workflow's file that lies on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// The workflow's directory here.
    pub root: String,
    /// Its path from there.
    pub path: String,
    /// The host that has it.
    pub host: HostName,
    /// The directory that stands for the workflow's there.
    pub place: String,
    /// Its size.
    pub size: Bytes,
    /// When it was written, in seconds since 1970.
    pub mtime: i64,
    /// When it was recorded.
    pub at: Timestamp,
}

impl Replica {
    /// Returns its fingerprint: that of the file here, once it is fetched.
    pub const fn fingerprint(&self) -> Fingerprint {
        Fingerprint { size: self.size.0, mtime: self.mtime.saturating_mul(1_000_000), hash: None }
    }

    /// Returns its path on its host.
    pub fn there(&self) -> String {
        format!("{}/{}", self.place.trim_end_matches('/'), self.path)
    }

    /// Returns the path that it would have here.
    pub fn here(&self) -> String {
        format!("{}/{}", self.root.trim_end_matches('/'), self.path)
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
pub struct Elsewhere(HashMap<String, Fingerprint>);

impl Elsewhere {
    /// Returns the fingerprint of a file that lies on some host.
    pub fn get(&self, path: &str) -> Option<Fingerprint> {
        self.0.get(path).copied()
    }

    /// Returns whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> FromIterator<&'a Replica> for Elsewhere {
    fn from_iter<T: IntoIterator<Item = &'a Replica>>(replicas: T) -> Self {
        Self(replicas.into_iter().map(|replica| (replica.path.clone(), replica.fingerprint())).collect())
    }
}
