//! One thing that a layer says about a host, and how it is laid over what the layers below say.

use std::time::Duration;

use crate::model::host::{
    Agents, Batch, ContainerRuntime, Host, HostPath, Internet, LoginNode, Origin, PartitionSettings, Simulated,
    SshAlias,
};
use crate::model::units::{Bytes, Price, Walltime};

/// One thing said about a host. A list takes the place of the one below it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the key of `Host` that it sets")]
pub enum Setting {
    Ssh(SshAlias),
    Site(String),
    Batch(Batch),
    Scratch(HostPath),
    Tags(Vec<String>),
    Account(String),
    MaxJobs(u32),
    Rate(Price),
    KeepAbove(Bytes),
    Containers(Vec<ContainerRuntime>),
    InternetLogin(bool),
    InternetCompute(bool),
    Filesystems(Vec<HostPath>),
    TransferOnly(bool),
    Simulated(Simulated),
    LoginNode(LoginNode),
    PollMin(Duration),
    Agents(Agents),
    ConnectionsPerMinute(u32),
    AskInternet(bool),
    /// Of the partition of this name.
    Partition(String, PartitionSetting),
}

/// One thing said about a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the key of `PartitionSettings` that it sets")]
pub enum PartitionSetting {
    Walltime(Walltime),
    DefaultWalltime(Walltime),
    Nodes(u32),
    Cores(u32),
    Memory(Bytes),
    Gpus(u32),
}

/// A setting, and the line of its file that says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What.
    pub setting: Setting,
    /// Where, from 1.
    pub line: u32,
}

impl Setting {
    /// Returns the key by which [`Host::origins`] knows the value.
    pub fn key(&self) -> String {
        let key = match self {
            Self::Ssh(_) => "ssh",
            Self::Site(_) => "site",
            Self::Batch(_) => "batch",
            Self::Scratch(_) => "scratch",
            Self::Tags(_) => "tags",
            Self::Account(_) => "account",
            Self::MaxJobs(_) => "max_jobs",
            Self::Rate(_) => "rate",
            Self::KeepAbove(_) => "keep_above",
            Self::Containers(_) => "containers",
            Self::InternetLogin(_) => "internet.login",
            Self::InternetCompute(_) => "internet.compute",
            Self::Filesystems(_) => "filesystems",
            Self::TransferOnly(_) => "transfer_only",
            Self::Simulated(_) => "simulated",
            Self::LoginNode(_) => "policy.login_node",
            Self::PollMin(_) => "policy.poll_min",
            Self::Agents(_) => "policy.agents",
            Self::ConnectionsPerMinute(_) => "policy.connections_per_minute",
            Self::AskInternet(_) => "policy.ask_internet",
            Self::Partition(name, setting) => return format!("partitions.{name}.{}", setting.key()),
        };
        key.to_owned()
    }

    /// Lays it over what is said of a host so far.
    pub fn lay_over(self, host: &mut Host, origin: Origin) {
        if let Self::Simulated(_) = self {
            host.origins.extend(["batch", "scratch"].map(|key| (key.to_owned(), origin.clone())));
        }
        host.origins.insert(self.key(), origin);
        match self {
            Self::Ssh(alias) => host.ssh = Some(alias),
            Self::Site(site) => host.site = Some(site),
            Self::Batch(batch) => host.batch = Some(batch),
            Self::Scratch(path) => host.scratch = Some(path),
            Self::Tags(tags) => host.tags = tags,
            Self::Account(account) => host.account = Some(account),
            Self::MaxJobs(most) => host.max_jobs = Some(most),
            Self::Rate(price) => host.rate = Some(price),
            Self::KeepAbove(size) => host.keep_above = size,
            Self::Containers(containers) => host.containers = containers,
            Self::InternetLogin(there) => host.internet = Internet { login: Some(there), ..host.internet },
            Self::InternetCompute(there) => host.internet = Internet { compute: Some(there), ..host.internet },
            Self::Filesystems(paths) => host.filesystems = paths,
            Self::TransferOnly(only) => host.transfer_only = only,
            Self::Simulated(simulated) => {
                // Nobody need look at what is made up; and what a look finds is this machine's.
                host.ssh = None;
                host.batch = Some(Batch::Slurm);
                host.scratch = "~/.csync".parse().ok();
                host.filesystems = Vec::new();
                host.simulated = Some(simulated);
            }
            Self::LoginNode(login_node) => host.policy.login_node = login_node,
            Self::PollMin(least) => host.policy.poll_min = least,
            Self::Agents(agents) => host.policy.agents = agents,
            Self::ConnectionsPerMinute(most) => host.policy.connections_per_minute = most,
            Self::AskInternet(may) => host.policy.ask_internet = may,
            Self::Partition(name, setting) => setting.lay_over(host.partitions.entry(name).or_default()),
        }
    }
}

impl PartitionSetting {
    const fn key(self) -> &'static str {
        match self {
            Self::Walltime(_) => "walltime",
            Self::DefaultWalltime(_) => "default_walltime",
            Self::Nodes(_) => "nodes",
            Self::Cores(_) => "cores",
            Self::Memory(_) => "memory",
            Self::Gpus(_) => "gpus",
        }
    }

    const fn lay_over(self, partition: &mut PartitionSettings) {
        match self {
            Self::Walltime(time) => partition.walltime = Some(time),
            Self::DefaultWalltime(time) => partition.default_walltime = Some(time),
            Self::Nodes(nodes) => partition.nodes = Some(nodes),
            Self::Cores(cores) => partition.cores = Some(cores),
            Self::Memory(memory) => partition.memory = Some(memory),
            Self::Gpus(gpus) => partition.gpus = Some(gpus),
        }
    }
}
