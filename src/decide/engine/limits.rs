//! What a site lets us have, as it was probed and as people set it: partitions, how many jobs, how large an array.

use crate::decide::engine::grant;
use crate::decide::engine::protocol::Capacity;
use crate::decide::engine::rooms::{Rooms, leaves_partition, named};
use crate::decide::learn::grain::{Grain, MEBIBYTE};
use crate::language::hosts::partitions;
use crate::model::batch::{Account, BatchFacts, Flavour, History, MemberRequest, Partition, PartitionState, PerWhat};
use crate::model::facts::Facts;
use crate::model::host::{Batch, Host};
use crate::model::resources::{Amount, Request};
use crate::model::task::Settings;
use crate::model::units::Bytes;

/// Most jobs of ours on a host at once, where nobody said.
const JOBS: u32 = 2000;
/// Most members of an array, where the site does not say.
const MEMBERS: u32 = 1000;

/// What a site lets us have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// Its partitions; none where none are known, or there is no batch system.
    pub partitions: Vec<Partition>,
    /// What jobs are charged to that say nothing.
    pub account: Option<String>,
    /// Its batch system.
    pub flavour: Option<Flavour>,
    /// Whether jobs reach the internet, where that is said of the host as a whole.
    pub online: Option<bool>,
    /// Whether memory is asked for by slot: as many times as a job has cores.
    pub counts_by_slot: bool,
    /// Most members of one array.
    pub members: u32,
    /// Whether its own dependencies can be trusted, so that what waits for jobs there can be handed over before they are over.
    pub keeps_order: bool,
}

impl Limits {
    /// Takes what people and a probe said of a host.
    pub fn of(host: &Host, facts: Option<&Facts>) -> Self {
        let flavour = host.batch.and_then(Batch::flavour);
        let mut partitions = if flavour.is_some() { partitions(host, facts) } else { Vec::new() };
        let offers = offers(host, facts);
        let account = offers.and_then(|offers| account(host, offers));
        let longest = account.and_then(|account| account.walltime_max);
        for partition in &mut partitions {
            let applies = account.is_some_and(|it| it.partition.as_ref().is_none_or(|name| *name == partition.name));
            if applies {
                partition.walltime_max = [partition.walltime_max, longest].into_iter().flatten().min();
            }
        }
        let resource = offers.and_then(|offers| offers.dialect.memory_resource.as_ref());
        let members = offers.and_then(|offers| offers.array_max).unwrap_or(MEMBERS).clamp(1, MEMBERS);
        Self {
            partitions,
            account: host.account.clone(),
            flavour,
            online: if host.batch == Some(Batch::None) { host.internet.login } else { host.internet.compute },
            counts_by_slot: resource.is_some_and(|resource| resource.per == PerWhat::Slot),
            members,
            keeps_order: match flavour {
                Some(Flavour::Slurm) => true,
                // Without a history, what comes after a job that is over is dropped unrun.
                Some(Flavour::Pbs) => offers.is_some_and(|offers| offers.dialect.history == History::Kept),
                // It lets what waits begin although that failed.
                Some(Flavour::Sge) | None => false,
            },
        }
    }

    /// Returns whether there are several partitions among which csync may choose: Grid Engine chooses by itself.
    pub fn has_several(&self) -> bool {
        matches!(self.flavour, Some(Flavour::Slurm | Flavour::Pbs)) && self.partitions.len() > 1
    }

    pub(super) fn rooms<'a>(&'a self, whole: Capacity, task: &Settings) -> Rooms<'a> {
        let rooms = Rooms::of(whole, &self.partitions, task, self.account.as_deref());
        if self.online == Some(false) && task.needs_internet() { rooms.offline() } else { rooms }
    }

    /// Returns the partition to be named for a job of a task: none where the task names one, where the batch system chooses by
    /// itself, or where it is the default.
    pub fn partition_for(&self, whole: Capacity, task: &Settings, request: &MemberRequest) -> Option<String> {
        if named(task).is_some() || self.flavour == Some(Flavour::Sge) {
            return None;
        }
        let exact = [Request {
            cpus: Amount::Exact(request.cpus),
            mem: request.mem.map_or(Amount::Auto, Amount::Exact),
            time: request.time.map_or(Amount::Auto, Amount::Exact),
            gpus: request.gpus.as_ref().map_or(0, |gpus| gpus.count),
            nodes: request.nodes,
            processes: Some(request.processes),
            disk: None,
        }];
        let (_, room, _) = grant::place(&exact, &self.rooms(whole, task)).ok()?;
        let name = room.partition?;
        let default = self.partitions.iter().find(|partition| partition.is_default);
        default.is_none_or(|default| default.name != name).then(|| name.to_owned())
    }
}

impl Limits {
    /// Returns the partitions that a task's jobs fit whatever time they ask for, each with its longest walltime in seconds: first the one
    /// that they go to where nobody chooses. One without a name where nothing is to be named; nothing where no time is left to csync.
    pub fn by_time(&self, whole: Capacity, task: &Settings) -> Vec<(Option<&str>, f64)> {
        if self.flavour.is_none() || !task.resources.iter().any(leaves_time) {
            return Vec::new();
        }
        let fits = self.open_to(whole, task, |request| Request { time: Amount::Auto, ..request.clone() });
        let longest = |it: &Partition| it.walltime_max.map_or(f64::INFINITY, |most| most.0 as f64);
        let named: Vec<_> = fits.into_iter().map(|it| (Some(it.name.as_str()), longest(it))).collect();
        if named.is_empty() || self.flavour == Some(Flavour::Sge) {
            return vec![(None, named.iter().map(|(_, most)| *most).reduce(f64::max).unwrap_or(f64::INFINITY))];
        }
        named
    }

    /// Returns in which amounts a job of a task is granted memory, as far as all partitions agree on that which it fits: those that have
    /// whole nodes for it, those that charge for memory in cores.
    pub fn grain(&self, whole: Capacity, task: &Settings) -> Grain {
        let cores = task.resources.first().map_or(1, Request::cores);
        let unit = if self.counts_by_slot { MEBIBYTE * f64::from(cores.max(1)) } else { MEBIBYTE };
        let grain = Grain::multiples(unit);
        if self.flavour.is_none()
            || !self.partitions.iter().any(|it| it.has_whole_nodes || it.memory_max_per_core.is_some())
        {
            return grain;
        }
        let fits =
            self.open_to(whole, task, |request| Request { mem: Amount::Auto, time: Amount::Auto, ..request.clone() });
        let Some(first) = fits.first() else { return grain };
        let per_core =
            first.memory_max_per_core.filter(|most| fits.iter().all(|it| it.memory_max_per_core == Some(*most)));
        let least = |it: &&Partition| it.memory_least.filter(|_| it.has_whole_nodes);
        let node = |it: &&Partition| least(it).map(|mem| it.memory_max.map_or(mem, |most| most.min(mem)));
        let nodes: Option<Vec<Bytes>> = fits.iter().map(node).collect();
        let grain = per_core.map_or(grain, |most| grain.per_core(most.0 as f64, cores));
        let is_one =
            task.resources.iter().all(|request| request.nodes.unwrap_or(1) <= 1 && request.processes.unwrap_or(1) <= 1);
        let least = nodes.filter(|_| is_one).and_then(|all| all.into_iter().min());
        least.map_or(grain, |least| grain.whole_node(least.0 as f64))
    }

    /// Returns the partitions that a task's jobs fit which ask for what is left of its requests, first the one that they go to where
    /// nobody chooses.
    fn open_to(&self, whole: Capacity, task: &Settings, left: impl Fn(&Request) -> Request) -> Vec<&Partition> {
        let asks: Vec<Request> = task.resources.iter().map(left).collect();
        let fits = grant::fitting(&asks, &self.rooms(whole, task)).into_iter();
        let fits = fits.filter_map(|name| self.partitions.iter().find(|it| it.name == name)).enumerate();
        fits.filter(|(at, it)| *at == 0 || it.state == PartitionState::Up).map(|(_, it)| it).collect()
    }

    /// Returns the partitions that a task's jobs fit which ask for one of these, first the one that they go to where nobody chooses. None
    /// where nobody knows any, or the batch system chooses by itself.
    pub fn partitions_of(&self, whole: Capacity, task: &Settings, asks: &[Request]) -> Vec<String> {
        if matches!(self.flavour, None | Some(Flavour::Sge)) {
            return Vec::new();
        }
        let fitting = grant::fitting(asks, &self.rooms(whole, task));
        let is_up = |name: &str| self.partitions.iter().any(|it| it.name == name && it.state == PartitionState::Up);
        // What a probe saw closed may have opened since, where nothing else is left.
        let told = fitting.iter().enumerate().filter(|(at, name)| *at == 0 || is_up(name));
        told.map(|(_, name)| (*name).to_owned()).collect()
    }
}

/// Returns whether a request leaves some of its time to csync.
fn leaves_time(request: &Request) -> bool {
    matches!(request.time, Amount::Auto | Amount::Range { .. })
}

/// Returns whether a task leaves it to csync to which of the partitions that it fits its jobs go.
pub fn chooses_partition(task: &Settings) -> bool {
    leaves_partition(task)
}

/// Returns what a host's batch system offers, where it is the one that jobs go to.
fn offers<'f>(host: &Host, facts: Option<&'f Facts>) -> Option<&'f BatchFacts> {
    let known = facts.and_then(|facts| facts.batch.as_ref())?;
    (host.batch.and_then(Batch::flavour) == Some(known.flavour())).then_some(&known.offers)
}

/// Returns what is known of the account that jobs are charged to which say nothing.
fn account<'f>(host: &Host, offers: &'f BatchFacts) -> Option<&'f Account> {
    match (&host.account, offers.accounts.as_slice()) {
        (None, [only]) => Some(only),
        (Some(name), all) => all.iter().find(|account| account.name == *name),
        (None, _) => None,
    }
}

/// Returns the room of a host as a whole: of a cluster what its batch system is left to refuse, of a machine what it has.
pub fn room(host: &Host, facts: Option<&Facts>) -> Capacity {
    let jobs = Some(jobs(host, facts));
    if host.batch == Some(Batch::None)
        && let Some(machine) = facts.map(|facts| &facts.machine)
    {
        let gpus = machine.gpus.iter().map(|gpu| gpu.count).sum();
        let cpus = machine.cores.unwrap_or(1 << 20);
        return Capacity { cpus, mem: machine.memory.unwrap_or(Bytes::gib(1 << 20)), gpus, nodes: 1, jobs };
    }
    Capacity { cpus: 1 << 20, mem: Bytes::gib(1 << 20), gpus: 1 << 16, nodes: 1 << 16, jobs }
}

/// Says why no job of a task can run on this machine, which lets one job have so much.
pub fn misfit_here(here: Capacity, task: &Settings) -> Option<String> {
    grant::first(&task.resources, &Rooms::whole(here)).err()
}

/// Says why no job of a task can run on a host, as far as its limits are known.
pub fn misfit(host: &Host, facts: Option<&Facts>, task: &Settings) -> Option<String> {
    let limits = Limits::of(host, facts);
    grant::first(&task.resources, &limits.rooms(room(host, facts), task)).err()
}

/// Returns how many jobs of ours may be on a host at once: what a person said, and no more than the site takes.
fn jobs(host: &Host, facts: Option<&Facts>) -> u32 {
    let mut most = host.max_jobs.unwrap_or(JOBS);
    // Grid Engine counts an array as one job: what that allows is learned from its refusals.
    if let Some(offers) = offers(host, facts).filter(|offers| offers.dialect.flavour != Flavour::Sge) {
        let limits = [offers.jobs_max, account(host, offers).and_then(|account| account.jobs_max)];
        most = limits.into_iter().flatten().fold(most, u32::min);
    }
    most.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::batch::{Dialect, Gpus, MemoryResource};
    use crate::model::facts::{BatchSystem, NodeSight};
    use crate::model::task::INTERNET;
    use crate::model::units::Walltime;

    const HOUR: u64 = 3600;

    fn partition(name: &str, hours: Option<u64>, cores: u32, mem: u64) -> Partition {
        Partition {
            name: name.to_owned(),
            is_default: name == "debug",
            walltime_max: hours.map(|hours| Walltime(hours * HOUR)),
            nodes: 4,
            cores_per_node: Some(cores),
            memory_per_node: Some(Bytes::gib(mem)),
            ..Partition::default()
        }
    }

    fn facts(flavour: Flavour) -> Facts {
        let mut gpu = partition("gpu", Some(24), 16, 64);
        gpu.gpus.insert("a100".to_owned(), 2);
        let closed = Partition { state: PartitionState::Closed, ..partition("shut", None, 128, 1024) };
        let theirs = Partition { accounts: vec!["theirs".to_owned()], ..partition("theirs", None, 64, 512) };
        let account = |name: &str, jobs, hours| Account {
            name: name.to_owned(),
            jobs_max: jobs,
            walltime_max: Some(Walltime(hours * HOUR)),
            ..Account::default()
        };
        let offers = BatchFacts {
            dialect: Dialect::of(flavour),
            version: None,
            partitions: vec![
                closed,
                gpu,
                theirs,
                partition("debug", Some(1), 4, 8),
                partition("long", Some(48), 8, 16),
            ],
            accounts: vec![account("mine", Some(40), 36), account("other", None, 1)],
            qos: Vec::new(),
            array_max: Some(250),
            jobs_max: Some(300),
            cgroups: None,
            notes: Vec::new(),
        };
        Facts {
            batch: Some(BatchSystem { offers, bin: None, env: std::collections::BTreeMap::new() }),
            ..Facts::default()
        }
    }

    fn host(flavour: Flavour) -> Host {
        Host {
            batch: Some(Some(flavour).into()),
            account: Some("mine".to_owned()),
            ..Host::new("hpc".parse().unwrap())
        }
    }

    fn limits() -> (Limits, Capacity) {
        let (host, facts) = (host(Flavour::Slurm), facts(Flavour::Slurm));
        (Limits::of(&host, Some(&facts)), room(&host, Some(&facts)))
    }

    fn task(request: Request, batch: &[(&str, &str)]) -> Settings {
        let batch = batch.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Settings { resources: vec![request], batch, ..Settings::default() }
    }

    #[test]
    fn a_job_goes_to_the_first_partition_that_it_fits() {
        let (limits, whole) = limits();
        let base = MemberRequest::default();
        let time = |hours: u64| Some(Walltime(hours * HOUR));
        for (request, named, wanted) in [
            (base.clone(), None, None),
            (MemberRequest { time: time(1), ..base.clone() }, None, None),
            (MemberRequest { time: time(30), ..base.clone() }, None, Some("long")),
            (MemberRequest { cpus: 8, ..base.clone() }, None, Some("gpu")),
            (MemberRequest { cpus: 8, time: time(30), ..base.clone() }, None, Some("long")),
            // Over nodes as many as there are.
            (MemberRequest { cpus: 4, processes: 4, ..base.clone() }, None, None),
            (MemberRequest { cpus: 4, processes: 5, ..base.clone() }, None, Some("gpu")),
            (MemberRequest { mem: Some(Bytes::gib(12)), ..base.clone() }, None, Some("gpu")),
            (MemberRequest { gpus: Some(Gpus { count: 2, model: None }), ..base.clone() }, None, Some("gpu")),
            // A person's word.
            (MemberRequest { time: time(30), ..base.clone() }, Some("debug"), None),
            // None fits, and it was let through: the batch system says why not.
            (MemberRequest { cpus: 999, ..base.clone() }, None, None),
        ] {
            let keys: Vec<_> = named.map(|name| ("partition", name)).into_iter().collect();
            let found = limits.partition_for(whole, &task(Request::default(), &keys), &request);
            assert_eq!(found.as_deref(), wanted, "{request:?}");
        }
        let grid = Limits::of(&host(Flavour::Sge), Some(&facts(Flavour::Sge)));
        let long = MemberRequest { time: time(30), ..base };
        assert_eq!(grid.partition_for(whole, &Settings::default(), &long), None, "Grid Engine chooses by itself");
    }

    #[test]
    fn memory_is_asked_for_in_what_all_partitions_charge_for_that_a_task_fits() {
        const GIB: f64 = 1024.0 * MEBIBYTE;
        let grain = |change: &dyn Fn(&mut Partition), cpus: u32| {
            let mut facts = facts(Flavour::Slurm);
            facts.batch.as_mut().unwrap().offers.partitions.iter_mut().for_each(change);
            let host = host(Flavour::Slurm);
            let (limits, whole) = (Limits::of(&host, Some(&facts)), room(&host, Some(&facts)));
            limits.grain(whole, &task(Request { cpus: Amount::Exact(cpus), ..Request::default() }, &[]))
        };
        let plain = Grain::multiples(MEBIBYTE);
        assert_eq!(grain(&|_| (), 1), plain);
        let dear = |it: &mut Partition| it.memory_max_per_core = Some(Bytes::gib(2));
        assert_eq!(grain(&dear, 3), plain.per_core(2.0 * GIB, 3));
        let whole = |it: &mut Partition| {
            it.has_whole_nodes = true;
            it.memory_least = it.memory_per_node;
        };
        // The smallest node of those that it fits: of `debug`, and without that of `long`.
        assert_eq!(grain(&whole, 1), plain.whole_node(8.0 * GIB));
        assert_eq!(grain(&whole, 8), plain.whole_node(16.0 * GIB));
        let named = |name: &'static str| {
            move |it: &mut Partition| {
                if it.name == name {
                    whole(it);
                }
            }
        };
        assert_eq!(grain(&named("long"), 1), plain, "not all of them");
        let unknown = |it: &mut Partition| it.has_whole_nodes = true;
        assert_eq!(grain(&unknown, 1), plain, "nobody knows how much a node has");
        let mut facts = facts(Flavour::Sge);
        let resource = MemoryResource { name: "h_vmem".to_owned(), per: PerWhat::Slot };
        facts.batch.as_mut().unwrap().offers.dialect.memory_resource = Some(resource);
        let host = host(Flavour::Sge);
        let slots = Limits::of(&host, Some(&facts));
        let four = task(Request { cpus: Amount::Exact(4), ..Request::default() }, &[]);
        assert_eq!(slots.grain(room(&host, Some(&facts)), &four), Grain::multiples(4.0 * MEBIBYTE));
    }

    #[test]
    fn a_job_that_reaches_for_the_internet_goes_to_a_partition_that_has_some() {
        let mut hpc = host(Flavour::Slurm);
        let mut facts = facts(Flavour::Slurm);
        let sight = |internet| NodeSight { internet, ..NodeSight::default() };
        facts.nodes.insert("debug".to_owned(), sight(Some(false)));
        facts.nodes.insert("gpu".to_owned(), sight(None));
        facts.nodes.insert("long".to_owned(), sight(Some(true)));
        let asks = |online: &str| task(Request::default(), &[(INTERNET, online)]);
        let names = |facts: &Facts, online: &str| {
            let (host, task) = (host(Flavour::Slurm), asks(online));
            Limits::of(&host, Some(facts)).partitions_of(room(&host, Some(facts)), &task, &task.resources)
        };
        assert_eq!(names(&facts, "false"), ["debug", "gpu", "long"]);
        assert_eq!(names(&facts, "true"), ["gpu", "long"], "nobody looked in one of them");
        assert_eq!(misfit(&hpc, Some(&facts), &asks("true")), None);
        // One that is closed may open.
        for name in ["gpu", "long", "shut"] {
            facts.nodes.insert(name.to_owned(), sight(Some(false)));
        }
        let why = misfit(&hpc, Some(&facts), &asks("true"));
        assert_eq!(why.as_deref(), Some("asks for the internet, and there is none where jobs run"));
        assert_eq!(misfit(&hpc, Some(&facts), &asks("false")), None);
        hpc.internet.compute = Some(true);
        assert_eq!(misfit(&hpc, Some(&facts), &asks("true")), None, "a person's word");
    }

    #[test]
    fn no_job_is_sent_past_a_routing_queue() {
        let mut facts = facts(Flavour::Pbs);
        let offers = &mut facts.batch.as_mut().unwrap().offers;
        offers.partitions.iter_mut().filter(|it| it.name != "debug").for_each(|it| it.is_routed_only = true);
        let host = host(Flavour::Pbs);
        let (limits, whole) = (Limits::of(&host, Some(&facts)), room(&host, Some(&facts)));
        let cpus = |cpus| Request { cpus: Amount::Exact(cpus), ..Request::default() };
        let names =
            |request: &Request| limits.partitions_of(whole, &Settings::default(), std::slice::from_ref(request));
        assert_eq!((names(&cpus(1)), names(&cpus(16))), (vec!["debug".to_owned()], Vec::new()));
    }

    #[test]
    fn the_partitions_that_a_task_fits_are_told_in_the_order_in_which_they_are_tried() {
        let cpus = |cpus| Request { cpus: Amount::Exact(cpus), ..Request::default() };
        let long = Request { time: Amount::Exact(Walltime(30 * HOUR)), ..Request::default() };
        let facts = facts(Flavour::Sge);
        let (limits, whole) = limits();
        let of = |task: &Settings| limits.partitions_of(whole, task, &task.resources);
        for request in [cpus(1), cpus(8), long.clone()] {
            let found = of(&task(request.clone(), &[]));
            let goes =
                grant::place(std::slice::from_ref(&request), &limits.rooms(whole, &Settings::default())).unwrap();
            assert_eq!(found.first().map(String::as_str), goes.1.partition, "{request:?}");
            assert!(!found.contains(&"theirs".to_owned()), "{found:?}");
        }
        assert_eq!(of(&task(long, &[])), ["long"]);
        assert_eq!(of(&task(cpus(1), &[("partition", "long,debug")])), ["long", "debug"], "a person's word");
        assert!(of(&task(cpus(999), &[])).is_empty());
        let grid = Limits::of(&host(Flavour::Sge), Some(&facts));
        assert!(grid.partitions_of(whole, &task(cpus(1), &[]), &[cpus(1)]).is_empty(), "it chooses by itself");
        for (keys, leaves) in [
            (&[][..], true),
            (&[("slurm.partition", "a")], false),
            (&[("partition", "a")], false),
            (&[("partition", "")], false),
            (&[("partition", ""), ("slurm.p", "a")], false),
        ] {
            assert_eq!(chooses_partition(&task(cpus(1), keys)), leaves, "{keys:?}");
        }
        assert_eq!(of(&task(cpus(1), &[("partition", "")])), of(&task(cpus(1), &[])), "none is named");
    }

    #[test]
    fn what_fits_nowhere_is_refused_with_what_would() {
        let (limits, whole) = limits();
        let cpus = |cpus| Request { cpus: Amount::Exact(cpus), ..Request::default() };
        let time = |hours: u64| Request { time: Amount::Exact(Walltime(hours * HOUR)), ..Request::default() };
        for (task, wanted) in [
            (task(cpus(4), &[("partition", "debug")]), Ok(4)),
            (
                task(cpus(5), &[("partition", "debug")]),
                Err("asks for 5 cores on one node, and the most is 4 in `debug`"),
            ),
            (
                task(cpus(9), &[("queue", "debug,long")]),
                Err("asks for 9 cores on one node, and the most is 4 in `debug`, 8 in `long`"),
            ),
            (
                task(time(40), &[("account", "mine"), ("partition", "debug,long")]),
                Err("asks for 1d16h of walltime, and the most is 1h in `debug`, 1d12h in `long`"),
            ),
            (task(cpus(500), &[("partition", "new")]), Ok(500)),
            (task(cpus(100), &[]), Ok(100)),
            (task(cpus(5), &[("slurm.partition", "gpu")]), Ok(5)),
        ] {
            let granted = grant::first(&task.resources, &limits.rooms(whole, &task)).map(|grant| grant.cpus);
            assert_eq!(granted.as_ref().map_err(String::as_str), wanted.as_ref().map_err(|text| *text), "{task:?}");
        }
    }

    #[test]
    fn a_site_takes_no_more_jobs_than_it_says() {
        for (flavour, max_jobs, account, wanted) in [
            (Flavour::Slurm, None, Some("mine"), 40),
            (Flavour::Slurm, None, Some("other"), 300),
            (Flavour::Slurm, Some(7), Some("mine"), 7),
            (Flavour::Pbs, Some(500), None, 300),
            (Flavour::Sge, None, None, JOBS),
        ] {
            let host = Host { max_jobs, account: account.map(str::to_owned), ..host(flavour) };
            assert_eq!(room(&host, Some(&facts(flavour))).jobs, Some(wanted), "{flavour} {max_jobs:?} {account:?}");
        }
        let (limits, _) = limits();
        assert_eq!(limits.members, 250);
        assert_eq!(Limits::of(&host(Flavour::Pbs), None).members, MEMBERS);
    }

    #[test]
    fn a_machine_without_a_batch_system_has_what_it_has() {
        let mut found = Facts::default();
        found.machine.cores = Some(8);
        found.machine.memory = Some(Bytes::gib(32));
        let lab = Host { batch: Some(Batch::None), ..Host::new("lab".parse().unwrap()) };
        let room = room(&lab, Some(&found));
        assert_eq!((room.cpus, room.mem, room.gpus, room.nodes), (8, Bytes::gib(32), 0, 1));
    }
}
