//! How large a run's files are, and which hosts have them.

use std::collections::BTreeMap;

use crate::model::id::{HostId, PathId};

/// Hosts as bits: the first 64, which are more than anybody places tasks on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hosts(pub u64);

impl Hosts {
    /// Returns the set of one host; of none when its number is too high.
    pub const fn one(host: HostId) -> Self {
        Self(if host.0 < 64 { 1 << host.0 } else { 0 })
    }

    /// Returns both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns whether a host is among them.
    pub const fn has(self, host: HostId) -> bool {
        self.0 & Self::one(host).0 != 0
    }

    /// Returns whether nobody is.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Iterates over them.
    pub fn iter(self) -> impl Iterator<Item = HostId> {
        (0..64).map(HostId).filter(move |&host| self.has(host))
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
        let all = if hosts.0 & self.alike.0 == 0 { hosts } else { hosts.and(self.alike) };
        if let (Some(size), Some(at)) = (self.bytes.get_mut(path.index()), self.at.get_mut(path.index())) {
            *size = bytes;
            *at = at.and(all);
        }
    }

    /// Notes that hosts have the image of a container.
    pub fn has_image(&mut self, container: &str, bytes: u64, hosts: Hosts) {
        let known = self.images.entry(container.to_owned()).or_default();
        *known = (known.0.max(bytes), known.1.and(hosts));
    }

    /// Returns the size of a container's image and who has it, where anybody does.
    pub fn image(&self, container: &str) -> Option<(f64, Hosts)> {
        let &(bytes, at) = self.images.get(container)?;
        Some((bytes as f64, at))
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
    pub fn at(&self, path: PathId) -> Hosts {
        self.at.get(path.index()).copied().unwrap_or_default()
    }
}
