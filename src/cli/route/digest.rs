//! The hosts as routing sees them, kept beside the store: read in a millisecond, where reading a thousand hosts takes twenty.
//!
//! It holds as long as nothing changed that it was made of: csync itself, the files of hosts and sites, the table of what probes
//! found and that of how fast files moved, which count their changes. Where it does not hold, is damaged or absent, everything is
//! read, and it is written anew.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::task::yield_now;

use crate::cli::context::Context;
use crate::cli::errors::Failure;
use crate::cli::hosts::{Known, unreadable};
use crate::decide::graph::known::links;
use crate::decide::graph::net::Net;
use crate::decide::route::need::{Found, Place};
use crate::language::hosts::{Hosts, partitions};
use crate::model::batch::Partition;
use crate::model::data::Rate;
use crate::model::facts::{ContainerProgram, Facts};
use crate::model::host::{Agents, Batch, ContainerRuntime, Host, HostName, Internet, Link, LoginNode, Simulated};
use crate::model::units::{Bytes, Price, Timestamp};
use crate::reach::config::ConfigDir;
use crate::reach::store::{Place as StorePlace, Reader};

/// The file's kind and version.
const MAGIC: &[u8; 8] = b"csyncd10";
/// Bytes of the hash behind it.
const HASH: usize = 32;
/// Hosts that room is made for before they are read.
const MOST_AT_ONCE: usize = 10_000;

/// What is known of the hosts, as far as routing goes by it.
#[derive(Debug, Default)]
pub(super) struct RouteHosts {
    pub(super) hosts: Hosts,
    /// How fast files moved between them.
    pub(super) rates: Vec<Rate>,
    /// One for each, in their order.
    of: Vec<Details>,
    /// The partitions of hosts: of those that are alike once.
    partitions: Vec<Vec<Partition>>,
    /// What lies between them, where that was worked out before anybody asked.
    links: Option<Net>,
}

/// What is known of a host beside its configuration.
#[derive(Debug, Default)]
pub(super) struct Details {
    /// The machine, as probed.
    machine: Option<KeptMachine>,
    /// What is known not to hold limits.
    pub(super) lax: Vec<ContainerProgram>,
    /// Which of the partitions it has; none where it has none.
    partitions: Option<u32>,
    /// Why it is not spoken to at present.
    pub(super) trouble: Option<String>,
}

impl Details {
    /// Returns what it calls itself.
    pub(super) fn name(&self) -> Option<&str> {
        self.machine.as_ref().map(|machine| machine.name.as_str())
    }

    /// Returns what was found on it.
    pub(super) fn found(&self) -> Option<Found<'_>> {
        let nothing = Found { containers: &self.lax, ..Found::default() };
        let Some(machine) = &self.machine else { return (!self.lax.is_empty()).then_some(nothing) };
        let KeptMachine { cores, memory, gpus, at, load, .. } = *machine;
        Some(Found { cores, memory, gpus, at, load, ..nothing })
    }
}

/// Hosts as they were kept, with what they were made of: they hold where that has not changed.
pub(super) struct KeptHosts {
    of: Stamp,
    hosts: RouteHosts,
}

impl KeptHosts {
    /// Reads them; none where there are none. Lets others go on in between.
    pub(super) async fn read(context: &Context) -> Option<Self> {
        let bytes = fs::read(path(context).ok()?).ok()?;
        yield_now().await;
        let (of, hosts) = unpack(&bytes)?;
        Some(Self { of: of?, hosts })
    }

    /// Returns their names, and that of this machine.
    pub(super) fn names(&self) -> Vec<HostName> {
        self.hosts.names()
    }

    /// Works out what lies between them, which takes half a millisecond for a thousand.
    pub(super) fn work_out(&mut self) {
        self.hosts.links = Some(self.hosts.links());
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
        version: Option<(i64, i64)>,
        kept: Option<KeptHosts>,
    ) -> Result<Self, Failure> {
        let dir = ConfigDir::locate(|name| std::env::var_os(name))?;
        let stamp = Stamp::of(&dir, version);
        if let Some(kept) = kept.filter(|kept| stamp.as_ref() == Some(&kept.of)) {
            return Ok(kept.hosts);
        }
        let rates = rates(context)?;
        Self::digested(context, &Digest::of(stamp, &Known::load(context)?, rates))
    }

    /// Returns the hosts by their files alone.
    pub(super) fn configured(context: &Context) -> Result<Self, Failure> {
        Self::digested(context, &Digest::of(None, &Known::configured(context)?, Vec::new()))
    }

    fn digested(context: &Context, digest: &Digest) -> Result<Self, Failure> {
        let undigested = || Failure::internal("the hosts could not be digested");
        let bytes = digest.pack().map_err(|error| undigested().because(&error))?;
        if digest.stamp.is_some() {
            // Without it the next call reads everything too.
            drop(write(&path(context)?, &bytes));
        }
        unpack(&bytes).map(|(_, hosts)| hosts).ok_or_else(undigested)
    }

    /// Returns the hosts, each with what is known of it.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Host, &Details)> {
        self.hosts.iter().zip(&self.of)
    }

    /// Returns their names, and that of this machine.
    pub(super) fn names(&self) -> Vec<HostName> {
        self.hosts.iter().map(|host| host.name.clone()).chain([HostName::local()]).collect()
    }

    /// Returns what lies between them.
    pub(super) fn links(&mut self) -> Net {
        self.links.take().unwrap_or_else(|| {
            let trips: HashMap<&HostName, f64> =
                self.iter().filter_map(|(host, of)| Some((&host.name, of.machine.as_ref()?.trip?))).collect();
            links(&self.hosts, &self.rates, |host| trips.get(host).copied())
        })
    }

    /// Returns the partitions of a host.
    pub(super) fn partitions(&self, of: &Details) -> &[Partition] {
        of.partitions.and_then(|place| self.partitions.get(place as usize)).map(Vec::as_slice).unwrap_or_default()
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
    store: Option<(i64, i64)>,
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
    fn of(dir: &ConfigDir, store: Option<(i64, i64)>) -> Option<Self> {
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

/// The hosts, in few bytes; [`Unpacked`] is what is read of them.
#[derive(Debug, Serialize)]
struct Digest {
    stamp: Option<Stamp>,
    hosts: Vec<Kept>,
    /// The partitions of hosts: of those that are alike once.
    partitions: Vec<Vec<Partition>>,
    /// Hosts that reach others by themselves.
    direct: Vec<(HostName, HostName)>,
    rates: Vec<Rate>,
}

/// A digest that is read.
#[derive(Debug, Deserialize)]
struct Unpacked {
    stamp: Option<Stamp>,
    hosts: UnpackedHosts,
    partitions: Vec<Vec<Partition>>,
    direct: Vec<(HostName, HostName)>,
    rates: Vec<Rate>,
}

/// The hosts of a digest, each made while it is read: a thousand are not there twice.
#[derive(Debug)]
struct UnpackedHosts {
    hosts: Vec<Host>,
    of: Vec<Details>,
}

impl<'de> Deserialize<'de> for UnpackedHosts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(HostsVisitor)
    }
}

struct HostsVisitor;

impl<'de> Visitor<'de> for HostsVisitor {
    type Value = UnpackedHosts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hosts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<UnpackedHosts, A::Error> {
        // What a damaged length says is not believed.
        let many = all.size_hint().unwrap_or(0).min(MOST_AT_ONCE);
        let mut read = UnpackedHosts { hosts: Vec::with_capacity(many), of: Vec::with_capacity(many) };
        while let Some(kept) = all.next_element::<Kept>()? {
            let (host, details) = kept.host();
            read.hosts.push(host);
            read.of.push(details);
        }
        Ok(read)
    }
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
        let mut all: Vec<Vec<Partition>> = Vec::new();
        let mut places: HashMap<Vec<u8>, u32> = HashMap::new();
        let mut place_of = |partitions: Vec<Partition>| {
            let bytes = postcard::to_stdvec(&partitions).ok().filter(|_| !partitions.is_empty())?;
            Some(*places.entry(bytes).or_insert_with(|| {
                all.push(partitions);
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
                trouble: probed.and_then(|probed| probed.failure.as_ref()).map(ToString::to_string),
            }
        };
        let links = known.hosts.links().iter().filter(|(_, link)| link.direct);
        let direct = links.map(|(ends, _)| ends.clone()).collect();
        let hosts = known.hosts.iter().map(&mut kept).collect();
        Self { stamp, hosts, partitions: all, direct, rates }
    }

    /// Returns it as the bytes of a file.
    fn pack(&self) -> postcard::Result<Vec<u8>> {
        let body = postcard::to_stdvec(self)?;
        Ok([&MAGIC[..], blake3::hash(&body).as_bytes(), &body].concat())
    }
}

impl Kept {
    /// Returns it as a host again, and what is known of it beside.
    fn host(self) -> (Host, Details) {
        let mut host = Host::new(self.name);
        host.batch = self.batch;
        host.transfer_only = self.transfer_only;
        host.policy.agents = self.agents;
        host.policy.login_node = self.login_node;
        host.internet = self.internet;
        host.containers = self.containers;
        host.rate = self.rate;
        host.simulated = self.simulated.then(Simulated::default);
        let lax = self.lax.into_iter().map(lax_program).collect();
        (host, Details { machine: self.machine, lax, partitions: self.partitions, trouble: self.trouble })
    }
}

/// Reads the bytes of a digest, and what it was made of; none where they are damaged.
fn unpack(bytes: &[u8]) -> Option<(Option<Stamp>, RouteHosts)> {
    let (hash, body) = bytes.strip_prefix(MAGIC)?.split_at_checked(HASH)?;
    let sound = blake3::hash(body).as_bytes() == hash;
    let Unpacked { stamp, hosts: UnpackedHosts { hosts, of }, partitions, direct, rates } =
        sound.then(|| postcard::from_bytes(body).ok()).flatten()?;
    let links = direct.into_iter().map(|ends| (ends, Link { direct: true, ..Link::default() })).collect();
    Some((stamp, RouteHosts { hosts: Hosts::new(hosts, links), rates, of, partitions, links: None }))
}

/// Writes them in the place of what is there: all of it or nothing.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension(format!("digest-{}", std::process::id()));
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
    let written = file.and_then(|mut file| {
        file.write_all(bytes)?;
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
        let version = |probed| Some((probed, 5));
        let read = |path: &Path, of: &Stamp| {
            let (stamp, hosts) = unpack(&fs::read(path).ok()?)?;
            (stamp.as_ref() == Some(of)).then_some(hosts)
        };
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
        let partitions = vec![vec![long]];
        let (source, target) = (HostName::local(), "hpc".parse().unwrap());
        let rate = Rate { source, target, rate: 2.5e7, bytes: Bytes::gib(1), at: Timestamp(7) };
        assert!(read(&path, &stamp(version(3))).is_none());
        let (stamped, rates) = (Some(stamp(version(3))), vec![rate.clone()]);
        let digest = Digest { stamp: stamped, hosts: vec![kept], partitions, direct, rates };
        write(&path, &digest.pack().unwrap()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing temporary stays");
        assert!(read(&path, &stamp(version(4))).is_none() && read(&path, &stamp(None)).is_none());
        let found = read(&path, &stamp(version(3))).unwrap();
        assert!(read(&path, &stamp(Some((3, 6)))).is_none());
        assert_eq!(found.rates, [rate]);
        let hpc = found.hosts.get("hpc").unwrap();
        assert_eq!((hpc.batch, hpc.policy.agents, hpc.rate), (Some(Batch::Slurm), Agents::Deny, Price::of(0.5)));
        assert_eq!((hpc.internet.compute, hpc.containers.len()), (Some(false), 1));
        assert!(found.hosts.links().values().all(|link| link.direct) && found.hosts.links().len() == 1);
        let details = found.of(&hpc.name).unwrap();
        let machine = details.found().unwrap();
        assert_eq!(
            machine.containers.iter().map(|it| (it.runtime, it.limits)).collect::<Vec<_>>(),
            [(ContainerRuntime::Podman, Some(false))]
        );
        assert_eq!((machine.cores, machine.memory, machine.gpus), (Some(4), Some(Bytes::gib(8)), 2));
        assert_eq!((machine.at, machine.load, details.name()), (Some(Timestamp(7)), Some(1.5), Some("login1")));
        assert_eq!(
            (found.partitions(details)[0].cores_per_node, details.trouble.as_deref()),
            (Some(8), Some("no route"))
        );
        assert_eq!(found.partitions(details)[0].idle, Some(5));
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            fs::write(&path, &bytes).unwrap();
            assert!(read(&path, &stamp(version(3))).is_none(), "byte {at}");
        }
    }
}
