//! Where the tasks of a workflow may run among hosts that are described.

use crate::cli::errors::{Failure, Source};
use crate::language::hosts::Hosts;
use crate::language::manifest::{Known, nowhere};
use crate::language::scenario::{Scenario, ScenarioHost};
use crate::model::choice::Policy;
use crate::model::diagnostic::Diagnostic;
use crate::model::host::{Host, HostName, Links};
use crate::model::id::TaskId;
use crate::model::task::Task;
use crate::serve::prepare::places::{Places, known};
use crate::serve::prepare::{Planned, mark};

/// Where each task of a plan may run.
pub(super) struct Held {
    /// By number; all hosts where it is empty.
    pub(super) only: Vec<Vec<u16>>,
    /// What counts where csync chooses among them; else their order does.
    pub(super) policies: Vec<Option<Policy>>,
    /// Whether any task says where it runs.
    pub(super) is_said: bool,
}

/// Finds where the tasks may run: where their `on` says, as the engine reads it. Where none of them says anything, all hosts are
/// compared: who asks what would become of a workflow there does not ask about this machine.
pub(super) fn held(
    planned: &mut Planned,
    described: &Scenario,
    (file, source): (&str, &Source),
    asked: Option<Policy>,
) -> Result<Held, Failure> {
    let hosts = hosts(described, file)?;
    let names: Vec<&str> = described.hosts.keys().map(String::as_str).collect();
    let here = names.iter().position(|name| *name == HostName::LOCAL);
    let here = here.or_else(|| described.hosts.values().position(|host| host.data));
    let what = |entry: &str| match entry {
        "local" | "localhost" if here.is_none() => Known::Nowhere,
        _ => known(entry, &hosts),
    };
    let helps = |what: &str| format!("{file} describes {}{what}", list(&names));
    let says_here = "; `data = true` in one of them says that it is this machine, as the name `local` does";
    let mistakes: Vec<Diagnostic> = nowhere(&planned.workflow, &planned.expanded.plan, &what)
        .into_iter()
        .map(|(task, entry, place)| {
            let is_here = matches!(entry, "local" | "localhost");
            let message = format!("task `{task}` runs on `{entry}`, and {file} describes no such host or tag");
            Diagnostic::error(place, message).help(helps(if is_here { says_here } else { "" }))
        })
        .collect();
    if !mistakes.is_empty() {
        return Err(Failure::mistakes(mistakes, source.clone()));
    }
    let asked = asked.or(planned.workflow.policy());
    let plan = &mut planned.expanded.plan;
    let is_said = plan.tasks.iter().any(|task| !task.on.is_empty());
    if !is_said {
        let all = described.hosts.values().zip(0..).filter(|(host, _)| !host.transfer_only);
        let all: Vec<u16> = all.map(|(_, site)| site).collect();
        let only = |task: &Task| Ok(whole(online(task, all.clone(), (described, file))?, names.len()));
        let only = plan.tasks.iter().map(only).collect::<Result<_, Failure>>()?;
        let policies = vec![Some(asked.unwrap_or_default()); plan.tasks.len()];
        return Ok(Held { only, policies, is_said });
    }
    mark(plan, &planned.workflow, asked);
    let places = Places::of(plan, &hosts);
    let mut held = Held { only: Vec::new(), policies: Vec::new(), is_said };
    for (number, task) in (0..).zip(&plan.tasks) {
        let site = |host: &HostName| match names.iter().position(|name| *name == host.as_str()) {
            None if host.is_local() => here,
            found => found,
        };
        let mut only: Vec<u16> = Vec::new();
        for site in places.of_task(TaskId(number)).iter().filter_map(site).map(|site| site as u16) {
            if !only.contains(&site) {
                only.push(site);
            }
        }
        if only.is_empty() {
            let why = if task.on.is_empty() { "says no `on` and so runs on this machine" } else { "names in `on`" };
            let failure = Failure::usage(format!(
                "{file} describes no host where task `{}` runs, which {why}{}",
                task.name,
                if task.on.is_empty() { String::new() } else { format!(" {}", task.on.join(", ")) }
            ));
            return Err(failure.hint(helps(says_here)));
        }
        let policy = places.policy(TaskId(number));
        let only = online(task, only, (described, file))?;
        held.only.push(if policy.is_some() { whole(only, names.len()) } else { only });
        held.policies.push(policy);
    }
    Ok(held)
}

/// Leaves out hosts without internet, for a task that reaches for it.
fn online(task: &Task, only: Vec<u16>, (described, file): (&Scenario, &str)) -> Result<Vec<u16>, Failure> {
    if !task.needs_internet() {
        return Ok(only);
    }
    let is_offline = |site: u16| described.hosts.values().nth(site.into()).is_some_and(ScenarioHost::is_offline);
    let left: Vec<u16> = only.into_iter().filter(|site| !is_offline(*site)).collect();
    if left.is_empty() {
        let failure = format!("{file} describes no host with internet where task `{}` may run", task.name);
        return Err(Failure::usage(failure).hint(
            "`resources.internet` says that it reaches for it, `internet = { compute = true }` that a host has it",
        ));
    }
    Ok(left)
}

/// Returns the hosts; none where they are all that there are.
fn whole(only: Vec<u16>, all: usize) -> Vec<u16> {
    if only.len() == all { Vec::new() } else { only }
}

fn list(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// Returns the described hosts as those that `on` names.
fn hosts(described: &Scenario, file: &str) -> Result<Hosts, Failure> {
    let host = |(name, host): (&String, &ScenarioHost)| {
        let name: HostName = name.parse().map_err(|why| Failure::usage(format!("{file}: [hosts.{name}]: {why}")))?;
        Ok(Host { tags: host.tags.clone(), transfer_only: host.transfer_only, ..Host::new(name) })
    };
    let hosts: Result<Vec<Host>, Failure> = described.hosts.iter().map(host).collect();
    Ok(Hosts::new(hosts?, Links::default()))
}
