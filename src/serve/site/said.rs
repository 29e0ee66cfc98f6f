//! What a task says to the batch system of a host, and what cannot be said there.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::language::batch;
use crate::language::hosts::Hosts;
use crate::model::batch::{Array, Dialect, Flavour, Gpus, JobName, MemberRequest, Submission};
use crate::model::diagnostic::Diagnostic;
use crate::model::facts::Facts;
use crate::model::host::{Batch, Host, HostName};
use crate::model::plan::Plan;
use crate::model::resources::{Amount, Grant, Hold};
use crate::model::task::Task;
use crate::model::units::{Bytes, Walltime};

/// Returns what a member asks for. Memory and walltime that the task left to csync are left to the site.
pub(super) fn request(task: &Task, grant: &Grant) -> MemberRequest {
    let wish = task.resources.first();
    let processes = wish.and_then(|wish| wish.processes).unwrap_or(1).max(1);
    let asked_mem = wish.is_some_and(|wish| wish.mem != Amount::Auto) || grant.is_limited();
    MemberRequest {
        cpus: (grant.cpus / processes).max(1),
        processes,
        nodes: wish.and_then(|wish| wish.nodes),
        mem: asked_mem.then_some(grant.mem),
        time: grant.time,
        gpus: (grant.gpus > 0).then_some(Gpus { count: grant.gpus, model: None }),
        ..MemberRequest::default()
    }
}

/// Puts together what is submitted for members of a task.
pub(super) fn submission(
    host: &Host,
    task: &Task,
    request: MemberRequest,
    name: JobName,
    directory: String,
    members: usize,
) -> Submission {
    let key = |name: &str| task.batch.get(name).cloned();
    let raw = task.batch.iter().filter(|(name, _)| name.contains('.'));
    Submission {
        name,
        directory,
        script: "batch.sh".to_owned(),
        log: "batch.log".to_owned(),
        array: u32::try_from(members).ok().map(|size| Array { size, cap: None }),
        request,
        account: key("account").or_else(|| host.account.clone()),
        partition: key("partition").or_else(|| key("queue")).filter(|name| !name.is_empty()),
        qos: key("qos"),
        reservation: key("reservation"),
        constraint: key("constraint"),
        raw: raw.map(|(name, value)| (name.clone(), value.clone())).collect(),
        signal: task.checkpoint.as_ref().map(|it| (it.signal.clone(), it.before)),
        after: Vec::new(),
    }
}

/// Returns how a host's batch system is spoken to; none where it has none. A person may know better what it is than the probe did.
pub fn dialect(host: &Host, facts: Option<&Facts>) -> Option<Dialect> {
    let flavour = host.batch.and_then(Batch::flavour)?;
    let known = facts.and_then(|facts| facts.batch.as_ref()).filter(|system| system.flavour() == flavour);
    Some(known.map_or(Dialect::of(flavour), |system| system.offers.dialect.clone()))
}

/// What is said to a batch system, and to nobody where there is none.
const TO_BATCH: [&str; 6] = ["partition", "queue", "account", "qos", "reservation", "constraint"];

/// Returns what the tasks of a plan ask for that the batch systems of their hosts do not understand: a warning for what is left
/// out, a mistake for what cannot be submitted. `of_task` says which hosts are a task's. Where one of them has a batch system, the
/// others are no reason to say that it is not understood.
pub fn unsaid<'a>(
    plan: &Plan,
    of_task: impl Fn(usize) -> &'a [HostName],
    hosts: &Hosts,
    facts: &BTreeMap<HostName, Facts>,
) -> Vec<Diagnostic> {
    let mut told = Vec::new();
    let mut seen = HashSet::new();
    for (at, task) in plan.tasks.iter().enumerate() {
        let has_none = |name: &HostName| hosts.get(name.as_str()).is_some_and(|host| host.batch == Some(Batch::None));
        let nobody = of_task(at).iter().all(has_none);
        for name in of_task(at) {
            let Some(host) = hosts.get(name.as_str()) else { continue };
            // Tasks that say alike share what they say.
            if !seen.insert((Arc::as_ptr(&task.settings), name)) {
                continue;
            }
            let facts = facts.get(name);
            let Some(dialect) = dialect(host, facts) else {
                let keys =
                    TO_BATCH.into_iter().filter(|key| nobody && task.batch.get(*key).is_some_and(|it| !it.is_empty()));
                let warning = |key| {
                    let message =
                        format!("task `{}` on `{name}`: there is no batch system to tell `{key}` to", task.name);
                    Diagnostic::warning(None, format!("{message}; it was left out"))
                };
                told.extend(keys.map(warning));
                continue;
            };
            for (sentence, is_mistake) in sentences(host, &dialect, task) {
                // What a Grid Engine calls its things is known when somebody looked.
                if facts.is_none() && dialect.flavour == Flavour::Sge && sentence.contains("is known here") {
                    continue;
                }
                let message = format!("task `{}` on `{name}`: {sentence}", task.name);
                told.push(if is_mistake {
                    Diagnostic::error(None, message)
                } else {
                    Diagnostic::warning(None, message)
                });
            }
        }
    }
    told.sort_by(|a, b| a.message.cmp(&b.message));
    told.dedup_by(|a, b| a.message == b.message);
    told
}

fn sentences(host: &Host, dialect: &Dialect, task: &Task) -> Vec<(String, bool)> {
    let Ok(name) = "csync".parse::<JobName>() else { return Vec::new() };
    let submission = submission(host, task, request(task, &foreseen(task)), name, "/csync".to_owned(), 1);
    match batch::submit(dialect, &submission) {
        Ok(call) => call.notes.into_iter().map(|note| (note, false)).collect(),
        Err(unsayable) => vec![(unsayable.to_string(), true)],
    }
}

/// Returns what a task is granted at least.
fn foreseen(task: &Task) -> Grant {
    fn least<T: Copy>(amount: Amount<T>) -> Option<T> {
        match amount {
            Amount::Auto => None,
            Amount::Exact(value) => Some(value),
            Amount::Range { min, max } => min.or(max),
        }
    }
    let wish = task.resources.first().cloned().unwrap_or_default();
    Grant {
        cpus: least(wish.cpus).unwrap_or(1).saturating_mul(wish.processes.unwrap_or(1)),
        mem: least::<Bytes>(wish.mem).unwrap_or_default(),
        hold: Hold::Nothing,
        time: least::<Walltime>(wish.time),
        gpus: wish.gpus,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::hosts::{merge, read, shipped};
    use crate::language::manifest::{self, Limits};

    #[test]
    fn what_cannot_be_said_there_is_told_once() {
        let text = "name = \"w\"\n[defaults]\non = \"pbs\"\n[tasks.a]\nrun = \"true\"\nqos = \"high\"\nconstraint = \"big\"\n\
                    [tasks.b]\nrun = \"true\"\n";
        let (workflow, diagnostics) = manifest::read(text);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        let plan = manifest::expand(&workflow, "/w", &BTreeMap::new(), &manifest::Facts::default(), Limits::default());
        let plan = plan.unwrap().plan;
        let hosts = merge(&read("[hosts.pbs]\nbatch = \"pbs\"\n", &[]).0, &shipped(), &BTreeMap::new());
        let list = ["pbs".parse::<HostName>().unwrap()];
        let told = unsaid(&plan, |_| &list, &hosts, &BTreeMap::new());
        let messages: Vec<_> = told.iter().map(|told| told.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "task `a` on `pbs`: PBS has no constraint; write the resource into `pbs.l`",
                "task `a` on `pbs`: PBS has no qos; it was left out",
            ]
        );
        // Nobody there is told anything, unless another host of the task has somebody.
        let hosts = read("[hosts.pbs]\nbatch = \"pbs\"\n[hosts.lab]\nbatch = \"none\"\n", &[]).0;
        let hosts = merge(&hosts, &shipped(), &BTreeMap::new());
        let (lab, both) = (["lab".parse::<HostName>().unwrap()], ["lab", "pbs"].map(|name| name.parse().unwrap()));
        let told = unsaid(&plan, |_| &lab, &hosts, &BTreeMap::new());
        let messages: Vec<_> = told.iter().map(|told| told.message.as_str()).collect();
        let left_out = |key| format!("task `a` on `lab`: there is no batch system to tell `{key}` to; it was left out");
        assert_eq!(messages, [left_out("constraint"), left_out("qos")]);
        let told = unsaid(&plan, |_| &both, &hosts, &BTreeMap::new());
        assert!(told.iter().all(|told| told.message.contains("on `pbs`")), "{told:?}");
    }
}
