//! What is asked for, what is granted, and what was used: three types, never one.

use serde::{Deserialize, Serialize};

use crate::model::units::{Bytes, Walltime};

/// An amount as a workflow asks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Amount<T> {
    /// Let csync choose: what was learned, else the executor's default.
    #[default]
    Auto,
    /// Exactly this.
    Exact(T),
    /// Anything between the two; either may be left out in the file.
    Range {
        /// The least that will do.
        min: Option<T>,
        /// The most that is of use.
        max: Option<T>,
    },
}

/// Where a batch system ran an attempt, and what it granted it there, as far as it says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocation {
    /// The node; of several the first, where the attempt's own process ran.
    pub node: String,
    /// How many nodes.
    pub nodes: u32,
    /// Cores on that node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// Memory on that node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem: Option<Bytes>,
    /// GPUs on that node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpus: Option<u32>,
    /// Which GPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_ids: Option<String>,
}

/// Resources asked for by a task instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Cores per process.
    pub cpus: Amount<u32>,
    /// Memory of the whole instance.
    pub mem: Amount<Bytes>,
    /// Walltime.
    pub time: Amount<Walltime>,
    /// GPUs.
    pub gpus: u32,
    /// Scratch space.
    pub disk: Option<Bytes>,
    /// Nodes.
    pub nodes: Option<u32>,
    /// Ranks; cores are per rank.
    pub processes: Option<u32>,
}

impl Request {
    /// Returns the cores that it asks for, of all its processes; of a range the least.
    pub fn cores(&self) -> u32 {
        let cores = match self.cpus {
            Amount::Exact(cores) => cores,
            Amount::Range { min, max } => min.or(max).unwrap_or(1),
            Amount::Auto => 1,
        };
        cores.max(1).saturating_mul(self.processes.unwrap_or(1).max(1))
    }

    /// Returns the walltime that it asks for, of a range the most; none where that is left to csync.
    pub fn walltime(&self) -> Option<Walltime> {
        match self.time {
            Amount::Exact(time) => Some(time),
            Amount::Range { min, max } => max.or(min),
            Amount::Auto => None,
        }
    }
}

/// What the memory of a grant means where the attempt runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hold {
    /// Nothing: memory was left to csync, and nothing was learned.
    #[default]
    Nothing,
    /// It is kept free for the attempt; going over it ends nothing. So is what csync chose by what it learned where no batch
    /// system holds anybody to it.
    Room,
    /// It is kept free, and going over it ends the attempt.
    Limit,
}

/// Resources granted to one attempt: what `{cpus}`, `{mem_*}`, `{time_s}` and `{gpus}` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Cores in all (cores per process times processes).
    pub cpus: u32,
    /// Memory that may be used.
    pub mem: Bytes,
    /// What `mem` means where it runs.
    pub hold: Hold,
    /// Walltime after which the attempt is ended; none means unlimited.
    pub time: Option<Walltime>,
    /// GPUs.
    pub gpus: u32,
}

impl Grant {
    /// Returns whether going over the memory ends the attempt.
    pub fn is_limited(&self) -> bool {
        self.hold == Hold::Limit
    }

    /// Returns the memory that is kept free for it.
    pub const fn kept(&self) -> Bytes {
        match self.hold {
            Hold::Nothing => Bytes(0),
            Hold::Room | Hold::Limit => self.mem,
        }
    }
}

/// How a [`Usage`] was measured, best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Meter {
    /// A control group: the whole tree, exact.
    Cgroup,
    /// Sampling `/proc` for the whole tree, and rusage at the end.
    Proc,
    /// rusage alone: CPU of all waited-for descendants; peak memory of the largest single process.
    #[default]
    Rusage,
}

/// What is counted of bytes that were read and written, best first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flow {
    /// What all calls read and wrote that the processes waited for made: pipes count, and what was cached too. So count Nextflow
    /// (`rchar`, `wchar`) and Slurm (`MaxDiskRead`, `MaxDiskWrite`).
    #[default]
    Calls,
    /// The same, as looks at `/proc` saw it: what was read and written after the last one is missing.
    Sampled,
    /// What went to and from block devices: nothing of what was cached, nor of a network's filesystem.
    Devices,
}

impl Flow {
    /// Returns whether it says the same of the same attempt every time, whatever was cached and wherever the files lie: only then
    /// can it be learned.
    pub const fn is_repeatable(self) -> bool {
        matches!(self, Self::Calls | Self::Sampled)
    }
}

/// Bytes read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Io {
    /// Read.
    pub read: Bytes,
    /// Written.
    pub written: Bytes,
    /// What is counted.
    #[serde(default)]
    pub flow: Flow,
}

impl Io {
    /// Returns both together.
    pub const fn total(self) -> u64 {
        self.read.0.saturating_add(self.written.0)
    }

    /// Returns what two attempts read and wrote; the worse count is the sum's.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            read: Bytes(self.read.0.saturating_add(other.read.0)),
            written: Bytes(self.written.0.saturating_add(other.written.0)),
            flow: self.flow.max(other.flow),
        }
    }
}

/// Resources that an attempt used, whole process tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Run time in seconds; 0 where nobody measured it.
    pub wall: f64,
    /// User CPU seconds.
    pub user: f64,
    /// System CPU seconds.
    pub system: f64,
    /// Peak resident memory.
    pub peak_memory: Bytes,
    /// How the peak was measured.
    #[serde(default)]
    pub meter: Meter,
    /// Bytes read and written; none where nobody counted: what was over at once, and hosts that do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io: Option<Io>,
}

impl Usage {
    /// Returns the run time in seconds; none where nobody measured it: of what was lost with its node nobody may have.
    pub fn ran(&self) -> Option<f64> {
        (self.wall > 0.0).then_some(self.wall)
    }

    /// Returns CPU seconds, user and system.
    pub fn cpu(&self) -> f64 {
        self.user + self.system
    }
}
