//! What a probe found on a host. Kept as JSON: every field may be missing in what an older csync wrote, and unknown ones are
//! passed over.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::batch::{BatchFacts, Flavour};
use crate::model::host::{ContainerRuntime, HostName, Internet};
use crate::model::units::{Bytes, Timestamp, Walltime};

/// What is known of a host from looking, and when somebody looked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Probed {
    /// When it was last seen as it is described.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// What was found then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
    /// The last attempt, when that came to nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<ProbeFailure>,
}

/// `POST /v1/hosts`: what a probe found on a host; `GET /v1/hosts` lists them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostReport {
    /// The host.
    pub host: HostName,
    /// What was found.
    pub probed: Probed,
}

/// `POST /v1/hosts/nodes`: what jobs saw on compute nodes of a host, by partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeReport {
    /// The host.
    pub host: HostName,
    /// What was seen; what is not told stays as it was known.
    pub nodes: BTreeMap<String, NodeSight>,
}

/// `POST /v1/waits`: how long jobs waited in the queues of a host that csync did not submit, as accounting records tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueueReport {
    /// The host.
    pub host: HostName,
    /// The jobs.
    pub waits: Vec<JobWait>,
}

/// `POST /v1/waits/forget`: forgets what was told so, of a host or of all; answered with how many jobs that were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueForget {
    /// The host; all where none is named.
    #[serde(default)]
    pub host: Option<HostName>,
}

/// How long a job waited in a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobWait {
    /// The batch system's id of its submission.
    pub job: String,
    /// The partition, where it is told.
    #[serde(default)]
    pub partition: Option<String>,
    /// When it could have started first.
    pub since: Timestamp,
    /// When it started.
    pub started: Timestamp,
    /// Cores.
    pub cores: u32,
    /// Time that it asked for, where it is told.
    #[serde(default)]
    pub time: Option<Walltime>,
}

/// A probe that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeFailure {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub message: String,
}

impl fmt::Display for ProbeFailure {
    /// Says when the probe failed, and why.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.to_string();
        let second = at.split_once('.').map_or(at.as_str(), |(second, _)| second);
        write!(f, "the last probe, at {second}Z, failed: {}", self.message)
    }
}

/// What a probe found. Nothing here was asked of a person; what could not be found out is missing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Who csync is there.
    pub account: Login,
    /// The machine that a login reaches.
    pub machine: Machine,
    /// The batch system; none where there is none.
    pub batch: Option<BatchSystem>,
    /// What runs containers.
    pub containers: Vec<ContainerProgram>,
    /// What loads environment modules.
    pub modules: Option<Modules>,
    /// Conda or a kin of it.
    pub conda: Option<Program>,
    /// Mounted filesystems that can hold work, in the host's order.
    pub filesystems: Vec<Filesystem>,
    /// Directories that could be scratch, the best first.
    pub scratch: Vec<ScratchCandidate>,
    /// What is used up of what is allowed, where a command tells.
    pub quotas: Vec<Quota>,
    /// Whether the internet can be reached.
    pub internet: Internet,
    /// Programs that csync makes use of, with their versions.
    pub tools: BTreeMap<String, String>,
    /// Seconds that the host's clock is ahead of ours, and by how much that may be wrong.
    pub skew: Option<Skew>,
    /// Seconds that a command took that only says the time, over a connection that was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trip: Option<f64>,
    /// When that was: how busy it was holds for a while.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// Processes that ran or wanted to, in the mean of the five minutes before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<f64>,
    /// What is odd enough for a person to know, a sentence each.
    pub notes: Vec<String>,
    /// What jobs saw on compute nodes, by partition: a probe, which starts none, does not see it. Kept beside what probes find.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<String, NodeSight>,
}

/// What a job saw on the compute node that it ran on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeSight {
    /// When.
    pub at: Timestamp,
    /// What the node calls itself.
    pub node: String,
    /// Whether the internet can be reached from there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub internet: Option<bool>,
    /// The GPUs that it was given; none where it asked for none, and saw none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<Vec<Gpu>>,
}

/// An account on a host, as a command of csync finds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Login {
    /// User name.
    pub user: String,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
    /// Mask of permissions that new files lack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
}

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// What it calls itself.
    pub hostname: String,
    /// Kernel and its release: `Linux 6.1.0`.
    pub kernel: String,
    /// Kind of processor: `x86_64`.
    pub arch: String,
    /// Distribution, in its own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distribution: Option<String>,
    /// Cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<u32>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    /// GPUs.
    pub gpus: Vec<Gpu>,
}

/// A GPU, or several that are alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gpu {
    /// How many.
    pub count: u32,
    /// Model.
    pub model: String,
    /// Memory of each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    /// Version of the driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Newest CUDA that the driver supports, or the version of AMD's driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
}

/// A program and its version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Program {
    /// Path or name.
    pub path: String,
    /// Version, in its own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A program that runs containers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerProgram {
    /// Which.
    pub runtime: ContainerRuntime,
    /// Version, in its own words.
    pub version: String,
    /// Whether this account may use it; none where that was not found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usable: Option<bool>,
    /// Whether it holds limits of memory and processes itself: in batch jobs the batch system does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<bool>,
    /// Whether limits were read back from a container that ran there, and held; none where that was not tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried: Option<bool>,
    /// Whether GPUs can be used in its containers; none where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<bool>,
}

/// What loads environment modules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Modules {
    /// `lmod` or `tcl`.
    pub kind: String,
    /// Version, in its own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The file that brings the command `module` into a shell that has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
}

/// A mounted filesystem.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filesystem {
    /// Where it is mounted.
    pub mount: String,
    /// Its kind: `ext4`, `nfs4`, `lustre`.
    pub kind: String,
    /// Whether it is one that other machines mount too.
    pub network: bool,
    /// Size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
    /// Room for this account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free: Option<Bytes>,
}

/// A directory that could be scratch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScratchCandidate {
    /// The directory.
    pub path: String,
    /// Why it is one: `$SCRATCH`, `by name`, `home`.
    pub why: String,
    /// Where its filesystem is mounted.
    pub mount: String,
    /// Whether compute nodes are likely to see it.
    pub shared: bool,
    /// Room in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free: Option<Bytes>,
}

/// What is used of what is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quota {
    /// The filesystem.
    pub filesystem: String,
    /// Used.
    pub used: Bytes,
    /// Allowed; none is unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Bytes>,
}

/// How far two clocks are apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Skew {
    /// Seconds that theirs is ahead of ours.
    pub seconds: f64,
    /// By how much that may be wrong: half of the round trip, and the second that their clock is read in.
    pub error: f64,
}

/// A batch system, as found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchSystem {
    /// What it offers.
    pub offers: BatchFacts,
    /// The directory of its commands, where a shell that is no login shell does not find them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bin: Option<String>,
    /// Variables that its commands need, and that only a login shell sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

impl BatchSystem {
    /// Returns which dialect it speaks.
    pub const fn flavour(&self) -> Flavour {
        self.offers.dialect.flavour
    }
}
