//! What one job may have on a host: on the host as a whole, or in one of its partitions (queues).
//!
//! What a host is not known to limit is for its batch system to refuse.

use std::fmt::Write as _;

use crate::decide::engine::protocol::Capacity;
use crate::model::batch::{Partition, PartitionState};
use crate::model::resources::Request;
use crate::model::task::Settings;
use crate::model::units::{Bytes, Walltime};

/// Partitions that a refusal names one by one.
const MOST_NAMED: usize = 6;

/// The room for one job in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room<'a> {
    /// What it may have there.
    pub(super) capacity: Capacity,
    /// Its longest walltime.
    pub(super) time: Option<Walltime>,
    /// The partition; none where the host is one.
    pub(super) partition: Option<&'a str>,
    /// Whether its cores, memory and GPUs must be those of one node among several.
    pub(super) is_one_node: bool,
}

/// Where on a host a job may run, first preference first.
#[derive(Clone, Debug)]
pub(super) struct Rooms<'a> {
    whole: Capacity,
    partitions: Vec<&'a Partition>,
    /// Whether a partition that names no GPUs has none: some partition names its own.
    tells_gpus: bool,
    /// Whether a task reaches for the internet, and jobs are known to have none here.
    is_offline: bool,
}

impl<'a> Rooms<'a> {
    /// Takes a host without partitions.
    pub(super) const fn whole(whole: Capacity) -> Self {
        Self { whole, partitions: Vec::new(), tells_gpus: false, is_offline: false }
    }

    /// Takes those partitions that a task may use: those that it names; else all that are open to its account, the default first.
    /// One that it names and nobody knows is for the batch system to judge.
    pub(super) fn of(whole: Capacity, all: &'a [Partition], task: &Settings, account: Option<&str>) -> Self {
        if all.is_empty() {
            return Self::whole(whole);
        }
        let partitions = if let Some(names) = named(task) {
            let known: Option<Vec<_>> =
                names.split(',').map(|name| all.iter().find(|it| it.name == name.trim())).collect();
            known.unwrap_or_default()
        } else {
            let mut open = open(all, task.batch.get("account").map(String::as_str).or(account));
            if task.needs_internet() && open.iter().any(|it| it.internet != Some(false)) {
                open.retain(|it| it.internet != Some(false));
            }
            open
        };
        let is_offline =
            task.needs_internet() && !partitions.is_empty() && partitions.iter().all(|it| it.internet == Some(false));
        Self { whole, partitions, tells_gpus: all.iter().any(|it| !it.gpus.is_empty()), is_offline }
    }

    /// Says that jobs have no internet here, for a task that reaches for it.
    #[must_use]
    pub(super) fn offline(self) -> Self {
        Self { is_offline: true, ..self }
    }

    /// Returns whether a task reaches for the internet, and jobs are known to have none here.
    pub(super) const fn is_offline(&self) -> bool {
        self.is_offline
    }

    /// Leaves nothing but a partition of that name, if it is one of them.
    #[must_use]
    pub(super) fn only(mut self, name: &str) -> Self {
        if self.partitions.iter().any(|it| it.name == name) {
            self.partitions.retain(|it| it.name == name);
        }
        self
    }

    /// Returns the rooms for a request.
    pub(super) fn each(&self, request: &Request) -> impl Iterator<Item = Room<'a>> {
        let whole = Room { capacity: self.whole, time: None, partition: None, is_one_node: false };
        let alone = self.partitions.is_empty().then_some(whole);
        // One process has one node; several go where the batch system puts them, unless nodes are asked for.
        let nodes = request.nodes.or((request.processes.unwrap_or(1) <= 1).then_some(1));
        let parts: Vec<Room<'a>> = self.partitions.iter().map(|it| self.room(it, nodes)).collect();
        alone.into_iter().chain(parts)
    }

    fn room(&self, partition: &'a Partition, wanted: Option<u32>) -> Room<'a> {
        let whole = self.whole;
        // None are counted where all of them are away.
        let known = (partition.nodes > 0).then_some(partition.nodes);
        let nodes = partition.nodes_max.into_iter().chain(known).fold(whole.nodes, u32::min).max(1);
        let over = wanted.unwrap_or(nodes).clamp(1, nodes);
        let cores = partition.cores_per_node.map_or(whole.cpus, |cores| cores.saturating_mul(over));
        let one = partition.memory_per_node.into_iter().chain(partition.memory_max).min();
        let mem = one.map_or(whole.mem, |mem| Bytes(mem.0.saturating_mul(u64::from(over))));
        let most = partition.gpus.values().max().copied();
        let gpus = most.unwrap_or(if self.tells_gpus { 0 } else { whole.gpus });
        let capacity = Capacity {
            cpus: cores.min(partition.cores_max.unwrap_or(u32::MAX)).min(whole.cpus),
            mem: mem.min(whole.mem),
            gpus: gpus.saturating_mul(over).min(whole.gpus),
            nodes,
            jobs: whole.jobs,
        };
        let is_one_node = over == 1 && nodes > 1;
        Room { capacity, time: partition.walltime_max, partition: Some(&partition.name), is_one_node }
    }
}

/// Returns the partitions that a task names, one or several with commas.
pub(super) fn named(task: &Settings) -> Option<&str> {
    const KEYS: [&str; 6] = ["partition", "queue", "slurm.partition", "slurm.p", "pbs.q", "sge.q"];
    KEYS.iter().find_map(|key| task.batch.get(*key)).map(String::as_str).filter(|name| !name.is_empty())
}

/// Returns whether a job of a task may be sent to any partition that it fits: it names none, nor `""`, which leaves that to the site.
pub(super) fn leaves_partition(task: &Settings) -> bool {
    named(task).is_none() && task.batch.get("partition").is_none_or(|name| !name.is_empty())
}

/// Returns the partitions that a job may go to which names none. What a probe saw closed may have opened since.
fn open<'a>(all: &'a [Partition], account: Option<&str>) -> Vec<&'a Partition> {
    let may_use = |it: &&Partition| !it.is_routed_only && it.admits(account);
    let mut open: Vec<_> = all.iter().filter(may_use).collect();
    if open.is_empty() {
        open = all.iter().collect();
    }
    let state = |it: &Partition| match it.state {
        PartitionState::Up => 0,
        PartitionState::Stopped => 1,
        PartitionState::Closed => 2,
    };
    open.sort_by_key(|it| (state(it), !it.is_default));
    open
}

/// What a request asks for that a room does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    /// What it asks for: `64 cores on one node`.
    pub(super) asks: String,
    /// What there is, at most.
    pub(super) most: String,
}

/// Says why a request fits none of these rooms: what it asks for, and what each has of that.
pub(super) fn refusal(misfits: &[(Option<&str>, Misfit)]) -> String {
    let mut said: Vec<&str> = Vec::new();
    let mut text = String::new();
    for (partition, Misfit { asks, most }) in misfits {
        if partition.is_none() {
            return format!("asks for {asks}, and {most} can be used here");
        }
        if said.contains(&asks.as_str()) {
            continue;
        }
        said.push(asks);
        let _infallible = write!(text, "{}asks for {asks}, and the most is", if text.is_empty() { "" } else { "; " });
        let alike: Vec<_> = misfits.iter().filter(|(_, other)| other.asks == *asks).collect();
        for (at, (partition, other)) in alike.iter().take(MOST_NAMED).enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let _infallible = write!(text, "{comma} {} in `{}`", other.most, partition.unwrap_or_default());
        }
        if alike.len() > MOST_NAMED {
            let _infallible = write!(text, ", and no more in {} others", alike.len() - MOST_NAMED);
        }
    }
    text
}
