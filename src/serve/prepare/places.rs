//! Where the tasks of a workflow may run: entries of `on` against the hosts that there are.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;

use crate::decide::engine::limits::{misfit, misfit_here};
use crate::decide::engine::protocol::Capacity;
use crate::language::hosts::{Hosts, HostsFile, merge, shipped};
use crate::language::manifest::{Known, is_here};
use crate::model::api::{ApiError, ErrorKind};
use crate::model::choice::{Excluded, Policy};
use crate::model::diagnostic::Diagnostic;
use crate::model::facts::{Facts, ProbeFailure};
use crate::model::host::{Agents, Host, HostName};
use crate::model::id::TaskId;
use crate::model::plan::Plan;
use crate::model::task::Settings;
use crate::reach::config::{ConfigDir, ConfigDirError, HostsConfig, HostsConfigError};
use crate::serve::prepare::choosing::{is_policy, policy_of};

/// Reads which hosts there are, as the environment says where that is written, and lays what probes found below it.
///
/// # Errors
/// [`ErrorKind::Invalid`] when a file has mistakes, [`ErrorKind::Storage`] when one cannot be read.
pub fn hosts(var: impl Fn(&str) -> Option<OsString>, facts: &BTreeMap<HostName, Facts>) -> Result<Hosts, ApiError> {
    let unreadable = |error: &dyn std::error::Error| ApiError {
        kind: ErrorKind::Storage,
        message: error.to_string(),
        hint: error.source().map(ToString::to_string),
        diagnostics: Vec::new(),
    };
    let config = match ConfigDir::locate(var) {
        Ok(dir) => HostsConfig::load(&dir),
        // Somebody without a home has no hosts.
        Err(ConfigDirError::NoHome) => return Ok(merge(&HostsFile::default(), &shipped(), facts)),
        Err(error) => return Err(unreadable(&error)),
    };
    match config {
        Ok(config) => Ok(config.hosts(facts)),
        Err(error @ HostsConfigError::Mistakes { .. }) => Err(ApiError {
            kind: ErrorKind::Invalid,
            message: error.to_string(),
            hint: Some("`csync hosts list` shows them with their places".to_owned()),
            diagnostics: Vec::new(),
        }),
        Err(error) => Err(unreadable(&error)),
    }
}

/// Where the tasks of a plan may run, first preference first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The lists that differ.
    pub lists: Vec<Vec<HostName>>,
    /// Per task, its list; empty where all run on this machine.
    pub of_task: Vec<u16>,
    /// Per list, what counts where csync chooses among its hosts; else their order does.
    pub policies: Vec<Option<Policy>>,
    /// Hosts that tasks may not go to where csync chooses, and why.
    pub excluded: Vec<(Vec<TaskId>, Vec<Excluded>)>,
    /// Hosts whose last probe came to nothing.
    pub failures: BTreeMap<HostName, ProbeFailure>,
}

impl Places {
    /// Finds the hosts of every task. Entries that name nothing are left out: a submission with one was refused, and a host that
    /// was removed since is no place to go.
    pub fn of(plan: &Plan, hosts: &Hosts) -> Self {
        let mut places = Self::default();
        if plan.tasks.iter().all(|task| task.on.is_empty()) {
            return places;
        }
        let mut known: HashMap<&[String], u16> = HashMap::new();
        for task in &plan.tasks {
            let list = *known.entry(task.on.as_slice()).or_insert_with(|| {
                places.lists.push(resolve(&task.on, hosts));
                places.policies.push(policy_of(&task.on, |entry| is_tag(entry, hosts)));
                u16::try_from(places.lists.len() - 1).unwrap_or(u16::MAX)
            });
            places.of_task.push(list);
        }
        places
    }
}

impl Places {
    /// Returns whether csync chooses the host of any task.
    pub fn chooses(&self) -> bool {
        self.policies.iter().any(Option::is_some)
    }

    /// Returns where a task may run; nothing where that is this machine.
    pub fn of_task(&self, task: TaskId) -> &[HostName] {
        let list = self.of_task.get(task.index()).and_then(|&list| self.lists.get(usize::from(list)));
        list.map_or(&[], Vec::as_slice)
    }

    /// Returns what counts where csync chooses the host of a task.
    pub fn policy(&self, task: TaskId) -> Option<Policy> {
        let list = self.of_task.get(task.index())?;
        self.policies.get(usize::from(*list)).copied().flatten()
    }

    /// Returns every host that is named.
    pub fn names(&self) -> Vec<HostName> {
        let mut names: Vec<HostName> = self.lists.iter().flatten().cloned().collect();
        names.sort();
        names.dedup();
        names
    }
}

/// Returns the first host of these places of which nobody knows how jobs are started there.
pub fn unlooked<'p>(places: &'p Places, hosts: &Hosts) -> Option<&'p HostName> {
    let unknown = |name: &HostName| hosts.get(name.as_str()).is_none_or(|host| host.batch.is_none());
    places.lists.iter().flatten().find(|name| !name.is_local() && unknown(name))
}

/// Returns the first host of these places where coding agents may not start anything by themselves, with what holds there. On
/// this machine the agent's own permissions hold, unless it is denied to agents.
pub fn kept_from_agents<'h>(places: &Places, hosts: &'h Hosts) -> Option<(&'h HostName, Agents)> {
    let here = places.of_task.is_empty() || places.lists.iter().flatten().any(HostName::is_local);
    let named = places.lists.iter().flatten().filter(|name| !name.is_local()).map(HostName::as_str);
    let all = here.then_some(HostName::LOCAL).into_iter().chain(named);
    all.filter_map(|name| hosts.get(name)).find_map(|host| {
        let agents = host.policy.agents;
        let free = agents == Agents::Allow || (host.name.is_local() && agents == Agents::Ask);
        (!free).then_some((&host.name, agents))
    })
}

/// Returns a warning for every task that fits on none of the hosts where it may run, or names a partition that is on none of them,
/// as far as their limits are known. This machine lets one job have `here`.
pub fn misfits(plan: &Plan, hosts: &Hosts, facts: &BTreeMap<HostName, Facts>, here: Capacity) -> Vec<Diagnostic> {
    let places = Places::of(plan, hosts);
    let alone = [HostName::local()];
    let mut warnings = Vec::new();
    for (task, id) in plan.tasks.iter().zip(0..) {
        let list = if places.of_task.is_empty() { &alone } else { places.of_task(TaskId(id)) };
        let whys: Option<Vec<_>> = list.iter().map(|name| misfit_on(name, task, (hosts, facts, here))).collect();
        if let Some((why, helps)) = whys.into_iter().flatten().next() {
            warnings.push(Diagnostic::warning(None, format!("task `{}` {why}", task.name)).help(helps));
        }
    }
    warnings
}

/// Says why no job of a task can run on a host, and what helps.
fn misfit_on(
    name: &HostName,
    task: &Settings,
    (hosts, facts, here): (&Hosts, &BTreeMap<HostName, Facts>, Capacity),
) -> Option<(String, String)> {
    if name.is_local() {
        let helps = "ask for less in its `resources`, or name hosts in `on` that have it (`csync hosts list`)";
        return misfit_here(here, task).map(|why| (why, helps.to_owned()));
    }
    let host = hosts.get(name.as_str())?;
    let told = |(why, helps)| (format!("{why}, on `{name}`"), helps);
    let misfit =
        misfit(host, facts.get(name), task).map(|why| (why, format!("`csync hosts show {name}` lists its limits")));
    misfit.or_else(|| Some((unseen(host, facts.get(name)?, task)?, looks_again(name)))).map(told)
}

/// Returns the first of some hosts that has what a task asks for, as far as that is known; where none has, the first.
pub fn first_fitting<'n>(
    names: &'n [HostName],
    task: &Settings,
    known: (&Hosts, &BTreeMap<HostName, Facts>, Capacity),
) -> &'n [HostName] {
    let fits = names.iter().position(|name| misfit_on(name, task, known).is_none());
    let at = fits.unwrap_or(0);
    names.get(at..=at).unwrap_or(names)
}

fn looks_again(host: &HostName) -> String {
    format!("`csync hosts probe {host}` looks again")
}

/// Says that a task names a partition that the last probe of a host did not see; none where it may be there all the same.
fn unseen(host: &Host, facts: &Facts, task: &Settings) -> Option<String> {
    /// Most that are listed.
    const NAMED: usize = 8;
    let named = task.batch.get("partition").or_else(|| task.batch.get("queue"))?;
    let partitions = &facts.batch.as_ref()?.offers.partitions;
    let seen: Vec<&str> = partitions.iter().map(|partition| partition.name.as_str()).collect();
    let is_there = |name: &str| {
        // Grid Engine takes patterns and nodes of a queue, PBS queues of other servers.
        seen.contains(&name) || host.partitions.contains_key(name) || name.contains(['@', '*', '?', '['])
    };
    // Slurm takes several.
    let name = named.split(',').map(str::trim).find(|name| !is_there(name))?;
    if seen.is_empty() || name.is_empty() {
        return None;
    }
    let list = seen.get(..NAMED).map_or_else(|| seen.join(", "), |first| format!("{}, ...", first.join(", ")));
    Some(format!("names the partition `{name}`, which the last probe did not see, but {list}"))
}

/// Returns what an entry of `on` is.
pub fn known(entry: &str, hosts: &Hosts) -> Known {
    if is_here(entry) {
        Known::Here
    } else if hosts_of(entry, hosts).next().is_some() {
        Known::There
    } else {
        Known::Nowhere
    }
}

/// Returns the names that an entry of `on` may be.
pub(super) fn names(hosts: &Hosts) -> Vec<&str> {
    hosts
        .iter()
        .flat_map(|host| std::iter::once(host.name.as_str()).chain(host.tags.iter().map(String::as_str)))
        .collect()
}

/// Returns the hosts that an entry names: `tag:gpu`, a host, or else a tag. Hosts that only hold data run nothing.
fn hosts_of<'h>(entry: &'h str, hosts: &'h Hosts) -> impl Iterator<Item = &'h HostName> {
    let (tag, named) = match entry.strip_prefix("tag:") {
        Some(tag) => (Some(tag), None),
        None => match hosts.get(entry) {
            Some(host) => (None, Some(host)),
            None => (Some(entry), None),
        },
    };
    let tagged = tag.into_iter().flat_map(|tag| hosts.tagged(tag));
    named.into_iter().chain(tagged).filter(|host| !host.transfer_only).map(|host| &host.name)
}

/// Returns whether an entry names hosts by what they have in common.
fn is_tag(entry: &str, hosts: &Hosts) -> bool {
    entry.starts_with("tag:") || (!is_here(entry) && hosts.get(entry).is_none())
}

fn resolve(on: &[String], hosts: &Hosts) -> Vec<HostName> {
    let mut list: Vec<HostName> = Vec::new();
    for entry in on.iter().filter(|entry| !is_policy(entry)) {
        let found: Vec<HostName> = match entry.as_str() {
            "any" | "near:inputs" => {
                let others = hosts.iter().filter(|host| !host.transfer_only && !host.name.is_local());
                [HostName::local()].into_iter().chain(others.map(|host| host.name.clone())).collect()
            }
            here if is_here(here) => vec![HostName::local()],
            _ => hosts_of(entry, hosts).cloned().collect(),
        };
        for host in found {
            if !list.contains(&host) {
                list.push(host);
            }
        }
    }
    if on.is_empty() {
        list.push(HostName::local());
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::hosts::read;
    use crate::language::manifest::{self, Limits};
    use crate::model::batch::{BatchFacts, Dialect, Flavour, Partition};
    use crate::model::facts::BatchSystem;

    const HERE: Capacity = Capacity { cpus: 2, mem: crate::model::units::Bytes::gib(4), gpus: 0, nodes: 1, jobs: None };

    fn hosts() -> Hosts {
        let text = "[hosts.hpc]\ntags = [\"big\", \"gpu\"]\n[hosts.lab]\ntags = [\"gpu\"]\n[hosts.nas]\ntransfer_only = true\n[hosts.big]\n";
        let (file, mistakes) = read(text, &[]);
        assert_eq!(mistakes, []);
        merge(&file, &shipped(), &BTreeMap::new())
    }

    #[test]
    fn a_partition_that_no_probe_saw_is_told() {
        let (file, _) = read("[hosts.hpc]\nbatch = \"slurm\"\n[hosts.hpc.partitions.hidden]\ncores = 4\n", &[]);
        let hosts = merge(&file, &shipped(), &BTreeMap::new());
        let told = |named: Option<&str>, seen: &[&str]| {
            let partition = |name: &&str| Partition { name: (*name).to_owned(), ..Partition::default() };
            let offers = BatchFacts {
                dialect: Dialect::of(Flavour::Slurm),
                version: None,
                partitions: seen.iter().map(partition).collect(),
                accounts: Vec::new(),
                qos: Vec::new(),
                array_max: None,
                jobs_max: None,
                cgroups: None,
                notes: Vec::new(),
            };
            let batch = BatchSystem { offers, bin: None, env: BTreeMap::new() };
            let facts = Facts { batch: Some(batch), ..Facts::default() };
            let line = named.map_or(String::new(), |name| format!("partition = \"{name}\"\n"));
            let text = format!("name = \"w\"\n[tasks.a]\nrun = \"true\"\non = \"hpc\"\n{line}");
            let (workflow, mistakes) = manifest::read(&text);
            assert!(mistakes.is_empty(), "{mistakes:?}");
            let plan =
                manifest::expand(&workflow, "/w", &BTreeMap::new(), &manifest::Facts::default(), Limits::default());
            let facts = BTreeMap::from([("hpc".parse().unwrap(), facts)]);
            misfits(&plan.unwrap().plan, &hosts, &facts, HERE).into_iter().map(|told| told.message).collect::<Vec<_>>()
        };
        assert_eq!(
            told(Some("debgu"), &["debug", "long"]),
            ["task `a` names the partition `debgu`, which the last probe did not see, but debug, long, on `hpc`"]
        );
        let many = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
        assert!(told(Some("x"), &many)[0].contains("a, b, c, d, e, f, g, h, ..., on"));
        for (named, seen) in [
            (Some("debug"), &["debug", "long"][..]),
            (Some("long,debug"), &["debug", "long"]),
            (Some("hidden"), &["debug"]),
            (Some(""), &["debug"]),
            (Some("q@other"), &["debug"]),
            (Some("debgu"), &[]),
            (None, &["debug"]),
        ] {
            assert_eq!(told(named, seen), Vec::<String>::new(), "{named:?}");
        }
    }

    #[test]
    fn what_this_machine_has_not_is_told() {
        let told = |lines: &str| {
            let (workflow, mistakes) = manifest::read(&format!("name = \"w\"\n[tasks.a]\nrun = \"true\"\n{lines}"));
            assert!(mistakes.is_empty(), "{mistakes:?}");
            let plan =
                manifest::expand(&workflow, "/w", &BTreeMap::new(), &manifest::Facts::default(), Limits::default());
            let plan = plan.unwrap().plan;
            misfits(&plan, &hosts(), &BTreeMap::new(), HERE).into_iter().map(|told| told.message).collect::<Vec<_>>()
        };
        let wide = "resources = { cpus = 99 }\n";
        let cores = ["task `a` asks for 99 cores, and 2 can be used here"];
        assert_eq!(told(wide), cores, "without `on`");
        assert_eq!(told(&format!("{wide}on = \"local\"\n")), cores);
        assert_eq!(
            told(&format!("{wide}on = [\"local\", \"hpc\"]\n")),
            Vec::<String>::new(),
            "the other may have them"
        );
        assert_eq!(
            told("resources = { mem = \"200G\" }\n"),
            ["task `a` asks for 200G of memory, and 4G can be used here"]
        );
        assert_eq!(told("resources = { gpus = 1 }\n"), ["task `a` asks for 1 GPU, and 0 can be used here"]);
        assert_eq!(told("resources = { cpus = 2, mem = \"4G\" }\n"), Vec::<String>::new());
        let names: Vec<HostName> = ["local", "hpc"].map(|name| name.parse().unwrap()).into();
        let request = |cpus| crate::model::resources::Request {
            cpus: crate::model::resources::Amount::Exact(cpus),
            ..Default::default()
        };
        let first = |cpus| {
            let task = Settings { resources: vec![request(cpus)], ..Settings::default() };
            first_fitting(&names, &task, (&hosts(), &BTreeMap::new(), HERE)).to_vec()
        };
        assert_eq!((first(2), first(3)), (vec![names[0].clone()], vec![names[1].clone()]));
    }

    #[test]
    fn entries_are_hosts_before_they_are_tags() {
        let hosts = hosts();
        let list = |on: &[&str]| {
            let on: Vec<String> = on.iter().map(|entry| (*entry).to_owned()).collect();
            resolve(&on, &hosts).iter().map(HostName::to_string).collect::<Vec<_>>()
        };
        assert_eq!(list(&[]), ["local"]);
        assert_eq!(list(&["any"]), ["local", "hpc", "lab", "big"]);
        assert_eq!(list(&["hpc", "lab", "local"]), ["hpc", "lab", "local"]);
        assert_eq!(list(&["gpu"]), ["hpc", "lab"]);
        assert_eq!(list(&["tag:gpu", "hpc"]), ["hpc", "lab"]);
        assert_eq!(list(&["big"]), ["big"], "a host of that name comes first");
        assert_eq!(list(&["tag:big"]), ["hpc"]);
        assert_eq!(list(&["nas", "gone"]), Vec::<String>::new());
        let lists = vec![resolve(&["lab".to_owned()], &hosts)];
        let places = Places { lists, of_task: vec![0], ..Places::default() };
        assert_eq!(unlooked(&places, &hosts).map(HostName::as_str), Some("lab"));
        assert_eq!(unlooked(&Places::default(), &hosts), None);
        assert_eq!(known("nas", &hosts), Known::Nowhere);
        assert_eq!((known("any", &hosts), known("gpu", &hosts)), (Known::Here, Known::There));
    }

    #[test]
    fn csync_chooses_where_a_person_named_no_order() {
        let hosts = hosts();
        let policy = |on: &[&str]| {
            let on: Vec<String> = on.iter().map(|entry| (*entry).to_owned()).collect();
            policy_of(&on, |entry| is_tag(entry, &hosts))
        };
        for (on, wanted) in [
            (&["any"][..], Some(Policy::Fastest)),
            (&["gpu"], Some(Policy::Fastest)),
            (&["tag:big"], Some(Policy::Fastest)),
            (&["near:inputs"], Some(Policy::Locality)),
            (&["hpc"], None),
            (&["local"], None),
            (&["hpc", "any"], None),
            (&["hpc", "lab", "policy:spread"], Some(Policy::Spread)),
            (&["any", "policy:cheapest"], Some(Policy::Cheapest)),
            (&["hpc", "policy:cheapest"], None),
            (&[], None),
        ] {
            assert_eq!(policy(on), wanted, "{on:?}");
        }
    }
}
