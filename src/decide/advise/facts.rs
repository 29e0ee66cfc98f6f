//! What is known when a line is judged. It is looked up as it is needed: a line names few things, the graph has many.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::batch::{Flavour, MemoryResource};
use crate::model::host::Agents;
use crate::model::units::{Bytes, Walltime};

/// Where facts are looked up.
pub trait Facts {
    /// Returns the host that a name leads to: csync's name, a name of `ssh_config`, an address, the name of a compute node.
    fn host(&self, name: &str) -> Option<Found>;
    /// Returns this machine, as far as csync knows which host it is.
    fn here(&self) -> Option<Arc<HostFacts>>;
    /// Returns what a command needs on a host, as its runs so far showed. The words begin with the program; files that they name
    /// lie below the directory.
    fn request(&self, words: &[&str], host: &str, cwd: Option<&str>) -> Option<Learned>;
    /// Returns where csync knows a path's data to lie, and how far that is from a host; the path is absolute.
    fn replicas(&self, path: &str, host: &str) -> Vec<Replica>;
    /// Returns whether a program can be started on this machine.
    fn has_program(&self, name: &str) -> bool;
    /// Returns whether a variable of the environment begins so.
    fn has_variable(&self, prefix: &str) -> bool;
    /// Returns the text of a batch script on this machine.
    fn batch_script(&self, path: &str) -> Option<String>;
    /// Returns where `git push` goes from a directory of this machine: to a remote of that name, or to the only one.
    fn git_remote(&self, _dir: &str, _name: Option<&str>) -> Option<String> {
        None
    }
}

/// A host that a name led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The host.
    pub host: Arc<HostFacts>,
    /// What `ssh` lacks to get there by this name; none where it needs nothing.
    pub way: Option<Way>,
    /// Whether the name is that of a compute node of the host, which then is its login node.
    pub is_node: bool,
}

/// What `ssh` lacks to reach a host by a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// Jump hosts, as `-J` takes them.
    pub jump: String,
    /// The address, where the name alone does not lead there.
    pub host_name: Option<String>,
    /// The account, where it is not the person's own name.
    pub user: Option<String>,
    /// The port, where it is not 22.
    pub port: Option<u16>,
}

/// A host, with what advice is given by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// csync's name of it.
    pub name: String,
    /// Its batch system; none where there is none.
    pub batch: Option<Flavour>,
    /// Whether nothing heavy may run where a login leads.
    pub light: bool,
    /// What coding agents may start there.
    pub agents: Agents,
    /// Directories that other machines see too.
    pub shared: Vec<String>,
    /// Its partitions.
    pub partitions: Vec<PartitionFacts>,
    /// Grid Engine: the parallel environment whose slots lie on one machine.
    pub one_node_environment: Option<String>,
    /// Grid Engine: the resource by which memory is asked for.
    pub memory_resource: Option<MemoryResource>,
}

/// A partition, with what requests are measured by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionFacts {
    /// Its name.
    pub name: String,
    /// Whether jobs that name none go there.
    pub is_default: bool,
    /// Whether it takes jobs and starts them.
    pub is_up: bool,
    /// Longest walltime; none is unlimited.
    pub walltime_max: Option<Walltime>,
    /// Memory of its largest node.
    pub memory: Option<Bytes>,
    /// Cores of its largest node.
    pub cores: Option<u32>,
    /// Whether its nodes have GPUs.
    pub gpus: bool,
}

/// What a command needs, as runs of it showed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// Memory to ask for.
    pub memory: Option<Bytes>,
    /// Walltime to ask for.
    pub walltime: Option<Walltime>,
    /// Cores that it makes use of.
    pub cores: Option<u32>,
    /// Where that is from: `5 runs`.
    pub source: String,
}

/// A copy of data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// The host that has it; `local` is this machine.
    pub host: String,
    /// Where.
    pub path: String,
    /// How much it is.
    pub bytes: Option<Bytes>,
    /// How long bringing it to the host that asks would take, in seconds.
    pub seconds: Option<u64>,
}
