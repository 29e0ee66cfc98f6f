//! Why a command cannot run somewhere.

use std::fmt;

use serde::Serialize;

use crate::decide::route::need::{Asker, Cores, Need, Place};
use crate::model::batch::{Partition, PartitionState};
use crate::model::host::{Agents, Batch, ContainerRuntime, HostName};
use crate::model::units::{Bytes, Walltime};

/// Something that a command needs more of than there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "veto")]
pub enum Veto {
    /// The host only holds data.
    DataOnly,
    /// Nobody looked at it yet.
    NotProbed,
    /// It has no Slurm, without which what starts it does nothing.
    NoSlurm {
        /// What starts it.
        launcher: &'static str,
    },
    /// It is not spoken to at present.
    NoContact {
        /// Why.
        why: String,
    },
    /// Coding agents may start nothing there.
    NoAgents,
    /// It is a login node, where nothing heavy runs.
    LoginNode {
        /// Of which cluster.
        of: HostName,
    },
    /// No partition takes jobs.
    Closed,
    /// Too few cores on one node.
    Cores {
        /// Asked for.
        asked: u32,
        /// There.
        most: u32,
    },
    /// Too little memory on one node.
    Memory {
        /// Asked for.
        asked: Bytes,
        /// There.
        most: Bytes,
    },
    /// Too few GPUs on one node.
    Gpus {
        /// Asked for.
        asked: u32,
        /// There.
        most: u32,
    },
    /// Longer than any job may run.
    Time {
        /// Asked for.
        asked: Walltime,
        /// Allowed.
        most: Walltime,
    },
    /// Where jobs run there is no internet.
    NoInternet,
    /// The image is not there, and cannot be taken there from its registry.
    NoImage {
        /// Which.
        image: String,
    },
    /// Neither Apptainer nor Singularity is there, which the image needs.
    NoApptainer,
    /// Nothing there runs containers.
    NoContainers,
    /// What runs containers there does not hold a sandbox to its limits, as was tried or as it says itself.
    NoLimits,
    /// There is no way from where an input lies.
    NoWay {
        /// The input.
        input: String,
    },
}

impl fmt::Display for Veto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |f: &mut fmt::Formatter<'_>, n: u32, what: &str| {
            if n == 0 { write!(f, "no {what}s") } else { write!(f, "{n} {what}{}", if n == 1 { "" } else { "s" }) }
        };
        match self {
            Self::DataOnly => f.write_str("it only holds data (`transfer_only` in hosts.toml)"),
            Self::NotProbed => f.write_str("nobody looked at it yet"),
            Self::NoSlurm { launcher } => write!(f, "there is no Slurm, and `{launcher}` starts nothing without"),
            Self::NoContact { why } => write!(f, "it is not spoken to at present: {why}"),
            Self::NoAgents => f.write_str("coding agents may start nothing there (`policy.agents` in hosts.toml)"),
            Self::LoginNode { of } => {
                write!(f, "it is the login node of {of}, where nothing heavy runs (`policy.login_node` in hosts.toml)")
            }
            Self::Closed => f.write_str("no partition takes jobs"),
            Self::Cores { asked, most } => {
                count(f, *asked, "core")?;
                f.write_str(" on one node, where it has ")?;
                count(f, *most, "core")
            }
            Self::Memory { asked, most } => write!(f, "{asked} of memory on one node, where it has {most}"),
            Self::Gpus { asked, most } => {
                count(f, *asked, "GPU")?;
                f.write_str(" on one node, where it has ")?;
                count(f, *most, "GPU")
            }
            Self::Time { asked, most } => write!(f, "{asked} of walltime, where {most} is allowed"),
            Self::NoInternet => f.write_str("there is no internet where jobs run"),
            Self::NoImage { image } => {
                write!(f, "{image} is not there, and there is no internet to take it from (`csync images push`)")
            }
            Self::NoApptainer => {
                f.write_str("neither Apptainer nor Singularity is there, and nothing else runs that image")
            }
            Self::NoContainers => f.write_str("nothing there runs containers"),
            Self::NoLimits => f.write_str("what runs containers there does not hold the limits of a sandbox"),
            Self::NoWay { input } => write!(f, "there is no way to it from where {input} lies"),
        }
    }
}

/// Where on a host a command fits: the partition, none where it has no batch system.
///
/// # Errors
/// Every reason why it fits nowhere; of several partitions those of the one that lacks least.
pub fn fit<'p>(need: &Need, place: &'p Place<'_>) -> Result<Option<&'p Partition>, Vec<Veto>> {
    let host = place.host;
    if host.transfer_only {
        return Err(vec![Veto::DataOnly]);
    }
    let Some(batch) = host.batch else {
        let why = place.trouble.clone();
        return Err(vec![why.map_or(Veto::NotProbed, |why| Veto::NoContact { why })]);
    };
    let mut vetoes = Vec::new();
    if let Some(launcher) = need.launcher.filter(|it| batch != Batch::Slurm && !(it.is_here && host.name.is_local())) {
        vetoes.push(Veto::NoSlurm { launcher: launcher.name });
    }
    vetoes.extend(place.trouble.clone().map(|why| Veto::NoContact { why }));
    if need.asker == Asker::Agent && host.policy.agents == Agents::Deny {
        vetoes.push(Veto::NoAgents);
    }
    if let Some(of) = place.login_of.filter(|_| need.is_heavy()) {
        vetoes.push(Veto::LoginNode { of: of.clone() });
    }
    if !need.runtimes.is_empty() && !place.has_any(need.runtimes) {
        let any = need.runtimes.contains(&ContainerRuntime::Docker);
        vetoes.push(if any { Veto::NoContainers } else { Veto::NoApptainer });
    } else if need.sandboxed && !place.holds_limits() {
        vetoes.push(Veto::NoLimits);
    }
    let online = if batch == Batch::None { host.internet.login } else { host.internet.compute };
    if need.internet && online == Some(false) {
        vetoes.push(Veto::NoInternet);
    }
    let room = if place.partitions.is_empty() {
        machine(need, place).map(|()| None)
    } else {
        partition(need, place).map(Some)
    };
    match room {
        Ok(room) if vetoes.is_empty() => Ok(room),
        Ok(_) => Err(vetoes),
        Err(lacks) => {
            vetoes.extend(lacks);
            Err(vetoes)
        }
    }
}

/// A machine has what was found on it; of a cluster whose partitions nobody knows, the batch system is left to judge.
fn machine(need: &Need, place: &Place<'_>) -> Result<(), Vec<Veto>> {
    let Some(found) = place.found.filter(|_| place.host.batch == Some(Batch::None)) else { return Ok(()) };
    // Threads share what cores there are.
    let cores = found.cores.filter(|_| need.cores == Cores::Asked);
    let room = Room { cores, memory: found.memory, gpus: Some(found.gpus), ..Room::default() };
    let lacks = room.lacks(need, seconds(need, place));
    if lacks.is_empty() { Ok(()) } else { Err(lacks) }
}

/// Returns how long a command runs on a host; none where nobody knows.
fn seconds(need: &Need, place: &Place<'_>) -> Option<f64> {
    need.time().map(|time| time.middle / place.speed.middle)
}

/// Returns the partitions that a command fits, in the site's order.
pub(super) fn partitions_of<'p>(need: &Need, place: &'p Place<'_>) -> impl Iterator<Item = &'p Partition> {
    let seconds = seconds(need, place);
    let open = place.rooms.iter().zip(&*place.partitions).filter(|(room, _)| room.takes);
    open.filter(move |(room, _)| room.lacks(need, seconds).is_empty()).map(|(_, partition)| partition)
}

/// The first partition that has room: those with GPUs first where some are needed, then the default; those with GPUs last where
/// none are needed, else in the site's order.
fn partition<'p>(need: &Need, place: &'p Place<'_>) -> Result<&'p Partition, Vec<Veto>> {
    let seconds = seconds(need, place);
    let order = |room: &Room| (need.gpus > 0 && !room.has_gpus, !room.is_default, need.gpus == 0 && room.has_gpus);
    // No list is made of them, nor of what they lack: a decision asks a thousand hosts.
    let mut first: Option<(usize, &Room)> = None;
    let mut least: Option<(usize, &Room)> = None;
    for (at, room) in place.rooms.iter().enumerate().filter(|(_, room)| room.takes) {
        let mut lacks = 0;
        room.each_lack(need, seconds, |_| lacks += 1);
        if lacks == 0 {
            if first.is_none_or(|(_, first)| order(room) < order(first)) {
                first = Some((at, room));
            }
        } else if least.is_none_or(|(known, least)| (lacks, order(room)) < (known, order(least))) {
            least = Some((lacks, room));
        }
    }
    let lacking = || least.map_or_else(|| vec![Veto::Closed], |(_, room)| room.lacks(need, seconds));
    first.and_then(|(at, _)| place.partitions.get(at)).ok_or_else(lacking)
}

/// What one job may have somewhere, and where that stands among the partitions of a host; what is not known is not there to lack. As
/// much of a partition as a decision goes by: all of it takes eight times the room, and a thousand hosts are asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Room {
    cores: Option<u32>,
    memory: Option<Bytes>,
    gpus: Option<u32>,
    walltime: Option<Walltime>,
    internet: Option<bool>,
    /// Whether jobs can be submitted there.
    takes: bool,
    is_default: bool,
    has_gpus: bool,
}

impl Room {
    /// Returns the rooms of partitions of a batch system, in their order, for jobs that are charged to an account.
    pub(super) fn of_all(partitions: &[Partition], batch: Option<Batch>, account: Option<&str>) -> Vec<Self> {
        // Where none would be left, what is known of accounts is not the whole of it.
        let is_ours = |partition: &Partition| partition.admits(account);
        let any_is_ours = partitions.iter().any(is_ours);
        // `sinfo` tells the GPUs of the nodes that it tells of: where it told of nodes everywhere, and none has any, there are none. Others
        // have them under names of the site's own, and of what a person alone wrote down nobody looked.
        let was_seen = |partition: &Partition| partition.in_service.is_some();
        let has_none = batch == Some(Batch::Slurm) && !partitions.is_empty() && partitions.iter().all(was_seen);
        let names_gpus = has_none || partitions.iter().any(|partition| !partition.gpus.is_empty());
        let of = |partition: &Partition| Self {
            cores: partition.cores_per_node.into_iter().chain(partition.cores_max).min(),
            memory: partition.memory_per_node.into_iter().chain(partition.memory_max).min(),
            gpus: partition.gpus.values().max().copied().or_else(|| names_gpus.then_some(0)),
            walltime: partition.walltime_max,
            internet: partition.internet,
            takes: partition.state == PartitionState::Up
                && !partition.is_routed_only
                && (!any_is_ours || is_ours(partition)),
            is_default: partition.is_default,
            has_gpus: !partition.gpus.is_empty(),
        };
        partitions.iter().map(of).collect()
    }

    /// Returns what a command lacks there that runs so many seconds, where that is known.
    fn lacks(&self, need: &Need, seconds: Option<f64>) -> Vec<Veto> {
        let mut lacks = Vec::new();
        self.each_lack(need, seconds, |veto| lacks.push(veto));
        lacks
    }

    fn each_lack(&self, need: &Need, seconds: Option<f64>, mut tell: impl FnMut(Veto)) {
        if let Some(most) = self.cores.filter(|&most| need.cpus > most) {
            tell(Veto::Cores { asked: need.cpus, most });
        }
        if let (Some(asked), Some(most)) = (need.memory(), self.memory)
            && asked.middle > most.0 as f64
        {
            tell(Veto::Memory { asked: Bytes(asked.middle as u64), most });
        }
        if let Some(most) = self.gpus.filter(|&most| need.gpus > most) {
            tell(Veto::Gpus { asked: need.gpus, most });
        }
        if let (Some(seconds), Some(most)) = (seconds, self.walltime)
            && seconds > most.0 as f64
        {
            tell(Veto::Time { asked: Walltime(seconds.ceil() as u64), most });
        }
        if need.internet && self.internet == Some(false) {
            tell(Veto::NoInternet);
        }
    }
}
