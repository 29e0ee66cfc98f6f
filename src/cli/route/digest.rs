//! The hosts as routing sees them, kept beside the store: read in a millisecond, where reading a thousand hosts takes twenty.
//!
//! It holds as long as nothing changed that it was made of: csync itself, the files of hosts and sites, the table of what probes
//! found, which counts its changes, and that of how fast files moved, of which a few sums are taken. Where it does not hold, is damaged or absent, everything is read, and it is written anew.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cli::context::Context;
use crate::cli::errors::Failure;
use crate::cli::hosts::{Known, unreadable};
use crate::decide::route::need::Place;
use crate::language::hosts::{Hosts, partitions};
use crate::model::batch::Partition;
use crate::model::data::Rate;
use crate::model::facts::{ContainerProgram, Facts, Gpu};
use crate::model::host::{Agents, Batch, ContainerRuntime, Host, HostName, Internet, Link, LoginNode, Simulated};
use crate::model::units::{Bytes, Price, Timestamp};
use crate::reach::config::ConfigDir;
use crate::reach::store::{Place as StorePlace, Reader};

/// The file's kind and version.
const MAGIC: &[u8; 8] = b"csyncdg7";
/// Bytes of the hash behind it.
const HASH: usize = 32;

/// What is known of the hosts, as far as routing goes by it.
#[derive(Debug, Default)]
pub(super) struct RouteHosts {
    pub(super) hosts: Hosts,
    /// How fast files moved between them.
    pub(super) rates: Vec<Rate>,
    /// One for each, in their order.
    of: Vec<Details>,
}

/// What is known of a host beside its configuration.
#[derive(Debug, Default)]
pub(super) struct Details {
    /// As probed.
    pub(super) facts: Option<Facts>,
    /// Its partitions; hosts whose partitions are alike share them.
    pub(super) partitions: Arc<[Partition]>,
    /// Why it is not spoken to at present.
    pub(super) trouble: Option<String>,
}

/// Hosts as they were kept, with what they were made of: they hold where that has not changed.
pub(super) struct KeptHosts {
    of: Stamp,
    hosts: RouteHosts,
}

impl KeptHosts {
    /// Reads them; none where there are none.
    pub(super) fn read(context: &Context) -> Option<Self> {
        let mut digest = read(&path(context).ok()?)?;
        Some(Self { of: digest.stamp.take()?, hosts: digest.hosts() })
    }

    /// Returns their names, and that of this machine.
    pub(super) fn names(&self) -> Vec<HostName> {
        self.hosts.names()
    }
}

fn path(context: &Context) -> Result<PathBuf, Failure> {
    Ok(context.state_dir()?.root().join("hosts.digest"))
}

impl RouteHosts {
    /// Returns the hosts as they are now: as they were kept, where that holds; the store says what changes with what probes found
    /// and with how fast files moved.
    pub(super) fn load(
        context: &Context,
        version: Option<(i64, String)>,
        kept: Option<KeptHosts>,
    ) -> Result<Self, Failure> {
        let dir = ConfigDir::locate(|name| std::env::var_os(name))?;
        let stamp = Stamp::of(&dir, version);
        if let Some(kept) = kept.filter(|kept| stamp.as_ref() == Some(&kept.of)) {
            return Ok(kept.hosts);
        }
        let rates = rates(context)?;
        let digest = Digest::of(stamp, &Known::load(context)?, rates);
        if digest.stamp.is_some() {
            // Without it the next call reads everything too.
            drop(write(&path(context)?, &digest));
        }
        Ok(digest.hosts())
    }

    /// Returns the hosts, each with what is known of it.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Host, &Details)> {
        self.hosts.iter().zip(&self.of)
    }

    /// Returns their names, and that of this machine.
    pub(super) fn names(&self) -> Vec<HostName> {
        self.hosts.iter().map(|host| host.name.clone()).chain([HostName::local()]).collect()
    }

    /// Returns what is known of a host.
    pub(super) fn of(&self, name: &HostName) -> Option<&Details> {
        self.iter().find(|(host, _)| host.name == *name).map(|(_, details)| details)
    }
}

/// Reads how fast files moved; nothing where nothing ran yet.
fn rates(context: &Context) -> Result<Vec<Rate>, Failure> {
    let place = StorePlace::of(&context.state_dir()?);
    context.block_on(async {
        let read = async {
            let Some(reader) = Reader::open(&place).await? else { return Ok(Vec::new()) };
            reader.rates().await
        };
        read.await.map_err(|error| unreadable(&error))
    })
}

/// What a digest was made of.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    files: Vec<FileStamp>,
    store: Option<(i64, String)>,
}

/// A file as it was.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct FileStamp {
    path: PathBuf,
    /// When it was changed, its size, and which file it is; none where there is none.
    was: Option<(i64, i64, u64, u64)>,
}

impl FileStamp {
    fn of(path: PathBuf) -> Self {
        let was = |meta: fs::Metadata| (meta.mtime(), meta.mtime_nsec(), meta.len(), meta.ino());
        let was = fs::metadata(&path).ok().map(was);
        Self { path, was }
    }
}

impl Stamp {
    /// Looks at what a digest is made of; none where that cannot be told.
    fn of(dir: &ConfigDir, store: Option<(i64, String)>) -> Option<Self> {
        let mut files = vec![FileStamp::of(std::env::current_exe().ok()?), FileStamp::of(dir.hosts_file())];
        match fs::read_dir(dir.sites_dir()) {
            Ok(sites) => files.extend(sites.flatten().map(|site| FileStamp::of(site.path()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => return None,
        }
        files.sort();
        Some(Self { files, store })
    }
}

/// The hosts, in few bytes.
#[derive(Debug, Serialize, Deserialize)]
struct Digest {
    stamp: Option<Stamp>,
    hosts: Vec<Kept>,
    /// The partitions of hosts: of those that are alike once.
    partitions: Vec<Arc<[Partition]>>,
    /// Hosts that reach others by themselves.
    direct: Vec<(HostName, HostName)>,
    rates: Vec<Rate>,
}

/// A host.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    name: HostName,
    batch: Option<Batch>,
    transfer_only: bool,
    agents: Agents,
    login_node: LoginNode,
    internet: Internet,
    containers: Vec<ContainerRuntime>,
    /// What is known not to hold limits.
    lax: Vec<ContainerRuntime>,
    rate: Option<Price>,
    simulated: bool,
    /// Which of the digest's partitions it has; none where it has none.
    partitions: Option<u32>,
    machine: Option<KeptMachine>,
    trouble: Option<String>,
}

/// A machine as it was found.
#[derive(Debug, Serialize, Deserialize)]
struct KeptMachine {
    name: String,
    cores: Option<u32>,
    memory: Option<Bytes>,
    gpus: u32,
    trip: Option<f64>,
    at: Option<Timestamp>,
    load: Option<f64>,
}

/// Returns what was found not to hold limits.
fn lax(facts: Option<&Facts>) -> Vec<ContainerRuntime> {
    let programs = facts.into_iter().flat_map(|facts| &facts.containers);
    programs.filter(|program| program.tried.or(program.limits) == Some(false)).map(|program| program.runtime).collect()
}

fn lax_program(runtime: ContainerRuntime) -> ContainerProgram {
    ContainerProgram { runtime, version: String::new(), usable: None, limits: Some(false), tried: None, gpus: None }
}

impl Digest {
    fn of(stamp: Option<Stamp>, known: &Known, rates: Vec<Rate>) -> Self {
        let mut all: Vec<Arc<[Partition]>> = Vec::new();
        let mut places: HashMap<Vec<u8>, u32> = HashMap::new();
        let mut place_of = |partitions: Vec<Partition>| {
            let bytes = postcard::to_stdvec(&partitions).ok().filter(|_| !partitions.is_empty())?;
            Some(*places.entry(bytes).or_insert_with(|| {
                all.push(partitions.into());
                all.len() as u32 - 1
            }))
        };
        let mut kept = |host: &Host| {
            // What this machine has is looked at with each call.
            let facts = known.facts(host).filter(|_| !host.name.is_local());
            let place = Place::of(host, facts, partitions(host, facts));
            let probed = known.probed.get(&host.name);
            let slim = |part: &Partition| Partition {
                node_names: Vec::new(),
                shares: BTreeMap::new(),
                features: Vec::new(),
                ..part.clone()
            };
            Kept {
                name: host.name.clone(),
                batch: host.batch,
                transfer_only: host.transfer_only,
                agents: host.policy.agents,
                login_node: host.policy.login_node,
                internet: host.internet,
                containers: place.runtimes(),
                lax: lax(known.facts(host)),
                rate: host.rate,
                simulated: host.simulated.is_some(),
                partitions: place_of(place.partitions.iter().map(slim).collect()),
                machine: facts.map(|facts| KeptMachine {
                    name: facts.machine.hostname.clone(),
                    cores: facts.machine.cores,
                    memory: facts.machine.memory,
                    gpus: facts.machine.gpus.iter().map(|gpu| gpu.count).sum(),
                    trip: facts.trip,
                    at: facts.at,
                    load: facts.load,
                }),
                trouble: probed.and_then(|probed| probed.failure.as_ref()).map(|failure| failure.message.clone()),
            }
        };
        let links = known.hosts.links().iter().filter(|(_, link)| link.direct);
        let direct = links.map(|(ends, _)| ends.clone()).collect();
        let hosts = known.hosts.iter().map(&mut kept).collect();
        Self { stamp, hosts, partitions: all, direct, rates }
    }

    fn hosts(self) -> RouteHosts {
        let (mut of, none) = (Vec::with_capacity(self.hosts.len()), Arc::from([]));
        let host = |kept: Kept| {
            let mut host = Host::new(kept.name.clone());
            host.batch = kept.batch;
            host.transfer_only = kept.transfer_only;
            host.policy.agents = kept.agents;
            host.policy.login_node = kept.login_node;
            host.internet = kept.internet;
            host.containers = kept.containers;
            host.rate = kept.rate;
            host.simulated = kept.simulated.then(Simulated::default);
            let mut facts = (!kept.lax.is_empty()).then(Facts::default);
            if let Some(machine) = kept.machine {
                let facts = facts.get_or_insert_default();
                facts.machine.hostname = machine.name;
                facts.machine.cores = machine.cores;
                facts.machine.memory = machine.memory;
                (facts.trip, facts.at, facts.load) = (machine.trip, machine.at, machine.load);
                if machine.gpus > 0 {
                    facts.machine.gpus.push(Gpu { count: machine.gpus, ..Gpu::default() });
                }
            }
            if let Some(facts) = &mut facts {
                facts.containers = kept.lax.into_iter().map(lax_program).collect();
            }
            let partitions = kept.partitions.and_then(|place| self.partitions.get(place as usize)).unwrap_or(&none);
            of.push(Details { facts, partitions: Arc::clone(partitions), trouble: kept.trouble });
            host
        };
        let hosts = self.hosts.into_iter().map(host).collect();
        let links = self.direct.into_iter().map(|ends| (ends, Link { direct: true, ..Link::default() })).collect();
        RouteHosts { hosts: Hosts::new(hosts, links), rates: self.rates, of }
    }
}

/// Reads a digest; none where there is none, or where it is damaged.
fn read(path: &Path) -> Option<Digest> {
    let bytes = fs::read(path).ok()?;
    let (hash, body) = bytes.strip_prefix(MAGIC)?.split_at_checked(HASH)?;
    let sound = blake3::hash(body).as_bytes() == hash;
    sound.then(|| postcard::from_bytes(body).ok()).flatten()
}

/// Writes it in the place of what is there: all of it or nothing.
fn write(path: &Path, digest: &Digest) -> io::Result<()> {
    let body = postcard::to_stdvec(digest).map_err(io::Error::other)?;
    let new = path.with_extension(format!("digest-{}", std::process::id()));
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
    let written = file.and_then(|mut file| {
        file.write_all(&[&MAGIC[..], blake3::hash(&body).as_bytes(), &body].concat())?;
        fs::rename(&new, path)
    });
    written.inspect_err(|_| drop(fs::remove_file(&new)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::units::Timestamp;

    #[test]
    fn a_digest_is_read_as_it_was_written_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts.digest");
        let stamp = |store| Stamp { files: vec![FileStamp::of(dir.path().join("none"))], store };
        let version = |probed| Some((probed, "1 2 3".to_owned()));
        let read = |path: &Path, of: &Stamp| read(path).filter(|digest| digest.stamp.as_ref() == Some(of));
        let kept = Kept {
            name: "hpc".parse().unwrap(),
            batch: Some(Batch::Slurm),
            transfer_only: false,
            agents: Agents::Deny,
            login_node: LoginNode::Free,
            internet: Internet { login: Some(true), compute: Some(false) },
            containers: vec![ContainerRuntime::Podman],
            lax: vec![ContainerRuntime::Podman],
            rate: Price::of(0.5),
            simulated: false,
            partitions: Some(0),
            machine: Some(KeptMachine {
                name: "login1".to_owned(),
                cores: Some(4),
                memory: Some(Bytes::gib(8)),
                gpus: 2,
                trip: Some(0.25),
                at: Some(Timestamp(7)),
                load: Some(1.5),
            }),
            trouble: Some("no route".to_owned()),
        };
        let direct = vec![("hpc".parse().unwrap(), "nas".parse().unwrap())];
        let long =
            Partition { name: "long".to_owned(), cores_per_node: Some(8), idle: Some(5), ..Partition::default() };
        let partitions = vec![Arc::from([long])];
        let (source, target) = (HostName::local(), "hpc".parse().unwrap());
        let rate = Rate { source, target, rate: 2.5e7, bytes: Bytes::gib(1), at: Timestamp(7) };
        assert!(read(&path, &stamp(version(3))).is_none());
        write(
            &path,
            &Digest {
                stamp: Some(stamp(version(3))),
                hosts: vec![kept],
                partitions,
                direct,
                rates: vec![rate.clone()],
            },
        )
        .unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing temporary stays");
        assert!(read(&path, &stamp(version(4))).is_none() && read(&path, &stamp(None)).is_none());
        let found = read(&path, &stamp(version(3))).unwrap().hosts();
        assert!(read(&path, &stamp(Some((3, "1 2 4".to_owned())))).is_none());
        assert_eq!(found.rates, [rate]);
        let hpc = found.hosts.get("hpc").unwrap();
        assert_eq!((hpc.batch, hpc.policy.agents, hpc.rate), (Some(Batch::Slurm), Agents::Deny, Price::of(0.5)));
        assert_eq!((hpc.internet.compute, hpc.containers.len()), (Some(false), 1));
        assert!(found.hosts.links().values().all(|link| link.direct) && found.hosts.links().len() == 1);
        let details = found.of(&hpc.name).unwrap();
        assert_eq!(lax(details.facts.as_ref()), [ContainerRuntime::Podman]);
        let machine = &details.facts.as_ref().unwrap().machine;
        let facts = details.facts.as_ref().unwrap();
        assert_eq!((facts.trip, facts.at, facts.load), (Some(0.25), Some(Timestamp(7)), Some(1.5)));
        assert_eq!((machine.hostname.as_str(), machine.cores, machine.gpus[0].count), ("login1", Some(4), 2));
        assert_eq!((details.partitions[0].cores_per_node, details.trouble.as_deref()), (Some(8), Some("no route")));
        assert_eq!(details.partitions[0].idle, Some(5));
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            fs::write(&path, &bytes).unwrap();
            assert!(read(&path, &stamp(version(3))).is_none(), "byte {at}");
        }
    }
}
