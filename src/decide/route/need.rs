//! What a command needs and what hosts are, as far as routing goes by it.

use std::borrow::Cow;

use crate::decide::graph::estimate::{Estimate, Source};
use crate::decide::graph::load::Load;
use crate::decide::graph::net::Stop;
use crate::decide::graph::queues::{Queues, UNKNOWN_LIMIT};
use crate::decide::route::veto::Room;
use crate::model::batch::Partition;
use crate::model::facts::{ContainerProgram, Facts};
use crate::model::host::{Batch, ContainerRuntime, Host, HostName, LoginNode};
use crate::model::units::{Bytes, Timestamp};

/// What a command needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Need {
    /// Cores.
    pub cpus: u32,
    /// What these are.
    pub cores: Cores,
    /// Bytes of memory; none where nobody knows.
    pub memory: Option<Estimate>,
    /// Seconds that it runs on a host of speed one; none where nobody knows.
    pub time: Option<Estimate>,
    /// GPUs.
    pub gpus: u32,
    /// Whether it reaches for the internet.
    pub internet: bool,
    /// What may run its container; empty where it runs in none.
    pub runtimes: &'static [ContainerRuntime],
    /// Whether it is somebody else's, and runs only where its limits are held.
    pub sandboxed: bool,
    /// The image that it runs in, where that is known.
    pub image: Option<Input>,
    /// What it reads.
    pub inputs: Vec<Input>,
    /// The program of Slurm that starts it; none where none does.
    pub launcher: Option<Launcher>,
    /// Who asks.
    pub asker: Asker,
    /// What time it is, in seconds since 1970: queues have their hours.
    pub now: f64,
}

/// What the cores of a need are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cores {
    /// Asked for: it runs nowhere without.
    #[default]
    Asked,
    /// As many as it has threads: fewer do on a machine, where these share them.
    Threads {
        /// The cores of the machine that its run time is told for, where these are known.
        here: Option<u32>,
    },
}

/// A program of Slurm that starts others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launcher {
    /// Its name.
    pub name: &'static str,
    /// Whether this machine has it.
    pub is_here: bool,
}

/// Who wants to run something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asker {
    /// A person.
    #[default]
    Person,
    /// A coding agent, for which hosts have a policy.
    Agent,
}

/// Something that is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// What it is called: a path, a dataset.
    pub name: String,
    /// Its size.
    pub bytes: f64,
    /// Hosts that have it.
    pub at: Vec<HostName>,
}

/// What was found on a host, as far as routing goes by it: all of what a probe finds takes ten times the room, which counts where a
/// thousand hosts are read for one decision.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Found<'a> {
    /// Cores.
    pub cores: Option<u32>,
    /// Memory.
    pub memory: Option<Bytes>,
    /// GPUs.
    pub gpus: u32,
    /// What runs containers.
    pub containers: &'a [ContainerProgram],
    /// When somebody looked.
    pub at: Option<Timestamp>,
    /// Processes that ran or wanted to then.
    pub load: Option<f64>,
}

impl<'a> From<&'a Facts> for Found<'a> {
    fn from(facts: &'a Facts) -> Self {
        let gpus = facts.machine.gpus.iter().map(|gpu| gpu.count).sum();
        let (cores, memory) = (facts.machine.cores, facts.machine.memory);
        Self { cores, memory, gpus, containers: &facts.containers, at: facts.at, load: facts.load }
    }
}

/// A host, with what is known of it.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// As configured.
    pub host: &'a Host,
    /// As probed.
    pub found: Option<Found<'a>>,
    /// Its partitions; none where it has no batch system.
    pub partitions: Cow<'a, [Partition]>,
    /// What a job may have in each of them.
    pub rooms: Vec<Room>,
    /// Seconds from a submission to the start, where that is known better than by what jobs waited there.
    pub wait: Option<Estimate>,
    /// What jobs waited there, by partition.
    pub queues: Queues,
    /// Where it stands in the graph; looked up by its name where that is not said.
    pub stop: Option<Stop>,
    /// How many times faster than the host that run times are told for.
    pub speed: Estimate,
    /// Why it is not spoken to at present.
    pub trouble: Option<String>,
    /// The cluster whose login node it is, where nothing heavy may run there.
    pub login_of: Option<&'a HostName>,
}

/// What makes sandboxes.
pub const DAEMONS: [ContainerRuntime; 2] = [ContainerRuntime::Docker, ContainerRuntime::Podman];

/// Seconds that something may run, on one core, to be light.
const LIGHT: f64 = 60.0;

impl Need {
    /// Returns how long it runs, where more than a shipped figure says so: that rules out nothing.
    pub(super) fn time(&self) -> Option<Estimate> {
        self.time.filter(|time| time.source != Source::Prior)
    }

    /// Returns the memory that it needs, likewise.
    pub(super) fn memory(&self) -> Option<Estimate> {
        self.memory.filter(|memory| memory.source != Source::Prior)
    }

    /// Returns whether it is more than a login node is for; what nobody knows is.
    pub fn is_heavy(&self) -> bool {
        let is_short = self.time().is_some_and(|time| time.high <= LIGHT);
        !is_short || self.cpus > 1 || self.gpus > 0
    }
}

/// Returns the cluster whose login node this machine is, where nothing heavy may run there: the one that calls itself so; hosts come
/// with what they call themselves.
pub fn light_login<'h>(
    own: &str,
    hosts: impl IntoIterator<Item = (&'h Host, Option<&'h str>)>,
) -> Option<&'h HostName> {
    let is_it = |host: &Host, name: Option<&str>| {
        let is_cluster = host.batch.and_then(Batch::flavour).is_some() && host.simulated.is_none();
        let is_here = !own.is_empty() && name == Some(own);
        is_cluster && is_here && !host.name.is_local() && host.policy.login_node == LoginNode::Light
    };
    hosts.into_iter().find(|(host, name)| is_it(host, *name)).map(|(host, _)| &host.name)
}

impl<'a> Place<'a> {
    /// Makes a place of which nothing is known but the host.
    pub fn of(host: &'a Host, facts: Option<&'a Facts>, partitions: impl Into<Cow<'a, [Partition]>>) -> Self {
        let partitions = partitions.into();
        let (wait, queues, stop) = (None, Queues::default(), None);
        let speed = Estimate::known(1.0);
        let (found, rooms) = (facts.map(Found::from), Room::of_all(&partitions, host.batch, host.account.as_deref()));
        Self { host, found, partitions, rooms, wait, queues, stop, speed, trouble: None, login_of: None }
    }

    /// Returns how long a command waits there, in a partition that is so busy; none where nobody knows.
    pub(super) fn wait(&self, partition: Option<&Partition>, load: Option<&Load>, need: &Need) -> Option<Estimate> {
        let learned = || {
            let (name, asked) =
                (partition.map(|it| it.name.as_str()), need.time.map_or(UNKNOWN_LIMIT, |time| time.high));
            self.queues.estimate(name, need.now, need.cpus, asked)
        };
        beside_others(load, need, self.wait.or_else(learned))
    }

    /// Returns how long a command waits in a partition, by what waited in that one alone.
    pub(super) fn own_wait(&self, partition: &Partition, need: &Need) -> Option<Estimate> {
        let asked = need.time.map_or(UNKNOWN_LIMIT, |time| time.high);
        let own = self.queues.own(&partition.name, need.now, need.cpus, asked)?;
        beside_others(self.load(Some(partition), need).as_ref(), need, Some(own))
    }

    /// Returns the cores that the threads of a command share there, where these are fewer than they; of a cluster none, which refuses
    /// what it has not.
    pub(super) fn shared(&self, need: &Need) -> Option<u32> {
        let is_shared = need.cores != Cores::Asked && self.host.batch == Some(Batch::None);
        self.found?.cores.filter(|cores| is_shared && *cores < need.cpus)
    }

    /// Returns how many times longer it takes there for that. What was learned of how fast a host is has that in it.
    pub(super) fn crowding(&self, need: &Need) -> f64 {
        let (Some(cores), Cores::Threads { here }) = (self.shared(need), need.cores) else { return 1.0 };
        if matches!(self.speed.source, Source::Learned(_)) {
            return 1.0;
        }
        // What people commonly give is told of a core for each.
        let is_common = need.time.is_some_and(|time| time.source == Source::Prior);
        let here = here.filter(|_| !is_common).unwrap_or(need.cpus).min(need.cpus);
        (f64::from(here) / f64::from(cores.max(1))).max(1.0)
    }

    /// Returns how busy it was lately: its partition, or the machine where it is one.
    pub(super) fn load(&self, partition: Option<&Partition>, need: &Need) -> Option<Load> {
        // How busy a login node is says nothing of its cluster.
        let is_one = self.host.batch == Some(Batch::None);
        let found = self.found.filter(|_| is_one || partition.is_some())?;
        Load::of(found.at, found.load, partition, need.now)
    }

    /// Returns how many times longer it takes there for what others do.
    pub(super) fn stretch(&self, load: Option<&Load>, need: &Need) -> f64 {
        let cores = self.found.and_then(|found| found.cores);
        load.map_or(1.0, |load| load.stretch(need.cpus, cores))
    }

    /// Returns whether one of these programs runs containers here that this account may use; by what a person said where they
    /// said it.
    pub(super) fn has_any(&self, runtimes: &[ContainerRuntime]) -> bool {
        let said: &[ContainerRuntime] = &self.host.containers;
        if !said.is_empty() {
            return said.iter().any(|runtime| runtimes.contains(runtime));
        }
        self.found().any(|runtime| runtimes.contains(&runtime))
    }

    /// Returns what runs containers here that this account may use.
    pub fn runtimes(&self) -> Vec<ContainerRuntime> {
        let said: &[ContainerRuntime] = &self.host.containers;
        if said.is_empty() { self.found().collect() } else { said.to_vec() }
    }

    /// Returns whether a sandbox is held to its limits here, as far as anybody knows: what was tried counts more than what a daemon
    /// says of itself.
    pub fn holds_limits(&self) -> bool {
        let programs = self.found.map(|found| found.containers).unwrap_or_default();
        let lax = |runtime| {
            let program = programs.iter().find(|program| program.runtime == runtime);
            program.is_some_and(|program| program.tried.or(program.limits) == Some(false))
        };
        self.runtimes().into_iter().any(|runtime| DAEMONS.contains(&runtime) && !lax(runtime))
    }

    fn found(&self) -> impl Iterator<Item = ContainerRuntime> {
        let found = self.found.into_iter().flat_map(|found| found.containers);
        found.filter(|program| program.usable != Some(false)).map(|program| program.runtime)
    }
}

/// Brings in what others did there when somebody looked last.
fn beside_others(load: Option<&Load>, need: &Need, known: Option<Estimate>) -> Option<Estimate> {
    load.and_then(|load| load.wait(need.cpus, known)).or(known)
}
