//! How large a run's files are, and which hosts have them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::id::{HostId, PathId};

/// How many hosts are kept as bits: more than most people have. The numbers of all others are in a list.
const BITS: u16 = 64;

/// A set of hosts. Two words for each file, and nothing allocated where few hosts are known.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hosts {
    bits: u64,
    /// Hosts with higher numbers, in order, each once; none is no list.
    others: Option<Arc<Vec<HostId>>>,
}

impl Hosts {
    /// Returns the set of one host.
    pub fn one(host: HostId) -> Self {
        if host.0 < BITS {
            Self { bits: 1 << host.0, others: None }
        } else {
            Self { bits: 0, others: Some(Arc::new(vec![host])) }
        }
    }

    /// Returns both together.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        let others = match (self.others, &other.others) {
            (Some(mut mine), Some(theirs)) => {
                if mine != *theirs {
                    let all = Arc::make_mut(&mut mine);
                    all.extend_from_slice(theirs);
                    all.sort_unstable();
                    all.dedup();
                }
                Some(mine)
            }
            (mine, theirs) => mine.or_else(|| theirs.clone()),
        };
        Self { bits: self.bits | other.bits, others }
    }

    /// Returns whether a host is among them.
    pub fn has(&self, host: HostId) -> bool {
        if host.0 < BITS { self.bits & (1 << host.0) != 0 } else { self.others().binary_search(&host).is_ok() }
    }

    /// Returns whether nobody is.
    pub const fn is_empty(&self) -> bool {
        self.bits == 0 && self.others.is_none()
    }

    /// Returns whether a host is among both.
    pub fn meets(&self, other: &Self) -> bool {
        self.bits & other.bits != 0 || self.others().iter().any(|&host| other.has(host))
    }

    /// Iterates over them, by their numbers.
    pub fn iter(&self) -> impl Iterator<Item = HostId> {
        let mut bits = self.bits;
        let low = std::iter::from_fn(move || {
            let host = (bits != 0).then(|| HostId(bits.trailing_zeros() as u16));
            bits &= bits.wrapping_sub(1);
            host
        });
        low.chain(self.others().iter().copied())
    }

    fn others(&self) -> &[HostId] {
        self.others.as_deref().map_or(&[], Vec::as_slice)
    }
}

/// Sizes and places of a plan's paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    bytes: Vec<u64>,
    at: Vec<Hosts>,
    /// Hosts that see one directory, so that a file on one is on all of them.
    alike: Hosts,
    /// Images, by what tasks name as their container: their sizes, and who has them.
    images: BTreeMap<String, (u64, Hosts)>,
}

impl Files {
    /// Makes room for so many paths of which nothing is known; `alike` see the run's directory.
    pub fn new(paths: usize, alike: Hosts) -> Self {
        Self { bytes: vec![0; paths], at: vec![Hosts::default(); paths], alike, images: BTreeMap::new() }
    }

    /// Notes that hosts have a file.
    pub fn lies(&mut self, path: PathId, bytes: u64, hosts: Hosts) {
        let all = if hosts.meets(&self.alike) { hosts.and(&self.alike) } else { hosts };
        if let (Some(size), Some(at)) = (self.bytes.get_mut(path.index()), self.at.get_mut(path.index())) {
            *size = bytes;
            *at = all.and(at);
        }
    }

    /// Notes that hosts have the image of a container.
    pub fn has_image(&mut self, container: &str, bytes: u64, hosts: Hosts) {
        let known = self.images.entry(container.to_owned()).or_default();
        *known = (known.0.max(bytes), hosts.and(&known.1));
    }

    /// Returns the size of a container's image and who has it, where anybody does.
    pub fn image(&self, container: &str) -> Option<(f64, Hosts)> {
        let (bytes, at) = self.images.get(container)?;
        Some((*bytes as f64, at.clone()))
    }

    /// Notes that a file was made anew: it is nowhere else.
    pub fn made(&mut self, path: PathId, bytes: u64, hosts: Hosts) {
        if let Some(at) = self.at.get_mut(path.index()) {
            *at = Hosts::default();
        }
        self.lies(path, bytes, hosts);
    }

    /// Notes that a file is on its way to a host.
    pub fn comes(&mut self, path: PathId, host: HostId) {
        let size = self.bytes(path);
        self.lies(path, size, Hosts::one(host));
    }

    /// Returns the size of a file, as far as it is known.
    pub fn bytes(&self, path: PathId) -> u64 {
        self.bytes.get(path.index()).copied().unwrap_or(0)
    }

    /// Returns who has it.
    pub fn at(&self, path: PathId) -> &Hosts {
        const NOBODY: &Hosts = &Hosts { bits: 0, others: None };
        self.at.get(path.index()).unwrap_or(NOBODY)
    }
}
