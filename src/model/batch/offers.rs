//! What a site's batch system offers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::batch::Dialect;
use crate::model::units::{Bytes, Walltime};

/// A partition (queue) of a site.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Partition {
    /// Its name.
    pub name: String,
    /// Whether jobs that name none go there.
    pub is_default: bool,
    /// Whether it takes and starts jobs.
    pub state: PartitionState,
    /// The partitions that it hands its jobs on to: a routing queue. What holds of it is what one of them allows.
    pub routes_to: Vec<String>,
    /// Whether it takes jobs that such a one hands on, and no others.
    pub is_routed_only: bool,
    /// Longest walltime; none is unlimited.
    pub walltime_max: Option<Walltime>,
    /// Walltime of jobs that name none.
    pub walltime_default: Option<Walltime>,
    /// Nodes.
    pub nodes: u32,
    /// Those that were in service when the host was probed: not down, drained or offline. None where nobody told.
    pub in_service: Option<u32>,
    /// Most nodes of one job.
    pub nodes_max: Option<u32>,
    /// Cores of its largest node, as the batch system counts them.
    pub cores_per_node: Option<u32>,
    /// Most cores of one job.
    pub cores_max: Option<u32>,
    /// Memory of its largest node.
    pub memory_per_node: Option<Bytes>,
    /// Memory of its smallest node.
    pub memory_least: Option<Bytes>,
    /// Most memory of a job on one node.
    pub memory_max: Option<Bytes>,
    /// Most memory of a core: a job that asks for more is given, and charged, further cores.
    pub memory_max_per_core: Option<Bytes>,
    /// Memory per core of jobs that name none.
    pub memory_default_per_core: Option<Bytes>,
    /// Most GPUs on one node, by model; `gpu` where the site names no models.
    pub gpus: BTreeMap<String, u32>,
    /// Names of its nodes, in lists as the batch system writes them: `n[01-16]`.
    pub node_names: Vec<String>,
    /// How many of its nodes other partitions have too, by their names; empty also where nobody told.
    pub shares: BTreeMap<String, u32>,
    /// Features of its nodes.
    pub features: Vec<String>,
    /// Most jobs of one user that run at once.
    pub running_max: Option<u32>,
    /// Most jobs of one user in it.
    pub jobs_max: Option<u32>,
    /// The accounts that may use it; empty for all.
    pub accounts: Vec<String>,
    /// Whether a job has whole nodes, whatever it asks for.
    pub has_whole_nodes: bool,
    /// Cores of its nodes that nobody used when the host was probed; none where it does not say.
    pub idle: Option<u32>,
    /// Whether jobs saw the internet from its nodes; none where none looked, and where it is said for all of the host.
    pub internet: Option<bool>,
}

impl Partition {
    /// Returns whether jobs that are charged to an account may go there, as far as that is known: what nobody names may be any.
    pub fn admits(&self, account: Option<&str>) -> bool {
        self.accounts.is_empty() || account.is_none_or(|account| self.accounts.iter().any(|known| known == account))
    }
}

/// Whether a partition takes and starts jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartitionState {
    /// Both.
    #[default]
    Up,
    /// Takes jobs, starts none.
    Stopped,
    /// Takes none.
    Closed,
}

/// An account that a user may charge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// The partition that it is good for; none for all.
    pub partition: Option<String>,
    /// The qos that go with it.
    pub qos: Vec<String>,
    /// Most jobs that run at once.
    pub running_max: Option<u32>,
    /// Most jobs in the queue.
    pub jobs_max: Option<u32>,
    /// Longest walltime.
    pub walltime_max: Option<Walltime>,
}

/// A quality of service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Qos {
    /// Its name.
    pub name: String,
    /// Longest walltime.
    pub walltime_max: Option<Walltime>,
    /// Most jobs of one user that run at once.
    pub running_max: Option<u32>,
    /// Most jobs of one user in the queue.
    pub jobs_max: Option<u32>,
}

/// What a site's batch system offers, as probed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchFacts {
    /// How it is spoken to.
    pub dialect: Dialect,
    /// Its version, as it says it.
    pub version: Option<String>,
    /// Partitions, in the site's order.
    pub partitions: Vec<Partition>,
    /// Accounts of this user; empty where the site has none or does not tell.
    pub accounts: Vec<Account>,
    /// Quality of service levels.
    pub qos: Vec<Qos>,
    /// Most members of an array.
    pub array_max: Option<u32>,
    /// Most jobs of one user in the queue.
    pub jobs_max: Option<u32>,
    /// Whether memory is measured and enforced by control groups.
    pub cgroups: Option<bool>,
    /// What could not be learned, each in one sentence.
    pub notes: Vec<String>,
}
