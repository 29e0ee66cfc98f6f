//! Which of several hosts csync may choose for a task, and by what.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::decide::engine::limits::{misfit, misfit_here};
use crate::decide::engine::protocol::{Capacity, Verdict};
use crate::decide::graph::estimate::Estimate;
use crate::decide::route::need::{Asker, Need, Place, light_login};
use crate::decide::route::veto::{Veto, fit};
use crate::language::container::Image;
use crate::language::hosts::{Hosts, partitions};
use crate::language::manifest::Workflow;
use crate::model::api::{ApiError, ErrorKind};
use crate::model::choice::{Excluded, Policy};
use crate::model::facts::{Facts, ProbeFailure};
use crate::model::host::{Agents, Batch, HostName};
use crate::model::id::{InstanceId, TaskId};
use crate::model::plan::Plan;
use crate::model::resources::{Amount, Request};
use crate::model::task::Settings;
use crate::reach::docker::runtimes;
use crate::reach::machine::host_name;
use crate::serve::prepare::places::Places;

/// Before the name of a policy, among the entries of `on`: what was said of a run stays with its tasks.
const POLICY: &str = "policy:";

/// Writes into a plan what is said of it elsewhere: the policy of the run or the workflow, and the hosts that hold datasets.
pub fn mark(plan: &mut Plan, workflow: &Workflow, asked: Option<Policy>) {
    let policy = asked.or(workflow.policy());
    let is_near = |entry: &String| entry.starts_with("near:data:");
    if policy.is_none() && !plan.tasks.iter().any(|task| task.on.iter().any(is_near)) {
        return;
    }
    let mut marked: HashMap<usize, Arc<Settings>> = HashMap::new();
    for task in &mut plan.tasks {
        if task.on.is_empty() {
            continue;
        }
        let known = marked.entry(Arc::as_ptr(&task.settings).addr());
        let settings = known.or_insert_with(|| {
            let mut settings = Settings::clone(&task.settings);
            settings.on = settings.on.iter().flat_map(|entry| near(entry, workflow)).collect();
            settings.on.extend(policy.map(|policy| format!("{POLICY}{policy}")));
            Arc::new(settings)
        });
        task.settings = Arc::clone(settings);
    }
}

/// Returns the hosts that hold a dataset, in the place of `near:data:NAME`.
fn near(entry: &str, workflow: &Workflow) -> Vec<String> {
    let Some(name) = entry.strip_prefix("near:data:") else { return vec![entry.to_owned()] };
    let name = name.split('/').next().unwrap_or(name);
    let places = workflow.places_of(name).iter().filter_map(|place| place.split_once(':'));
    let mut hosts: Vec<String> = places.map(|(host, _)| host.to_owned()).collect();
    hosts.dedup();
    match hosts.len() {
        0 => vec!["any".to_owned()],
        1 => hosts,
        _ => hosts.into_iter().chain([format!("{POLICY}{}", Policy::Fastest)]).collect(),
    }
}

/// Returns what counts where csync chooses among the hosts of these entries, of which `tags` is a tag; none where their order does.
pub(super) fn policy_of(on: &[String], is_tag: impl Fn(&str) -> bool) -> Option<Policy> {
    let said = on.iter().rev().find_map(|entry| Policy::named(entry.strip_prefix(POLICY)?));
    let mut places = on.iter().filter(|entry| !is_policy(entry));
    let (first, more) = (places.next()?, places.next());
    let near = first == "near:inputs";
    match more {
        None if near => said.or(Some(Policy::Locality)),
        None if first == "any" || is_tag(first) => said.or(Some(Policy::Fastest)),
        None => None,
        Some(_) => said,
    }
}

/// Returns whether an entry of `on` says what counts, and no place.
pub(super) fn is_policy(entry: &str) -> bool {
    entry.starts_with(POLICY)
}

impl Places {
    /// Leaves out hosts that a task could not run on, where csync chooses: what they lack, or what they are not for. This machine lets
    /// one job have `here`. What the verdicts say is not to run is left where it is; without verdicts all runs.
    ///
    /// # Errors
    /// When none is left for some task.
    pub fn exclude(
        &mut self,
        (plan, verdicts): (&Plan, &[Verdict]),
        hosts: &Hosts,
        facts: &BTreeMap<HostName, Facts>,
        (asker, here): (Asker, Capacity),
    ) -> Result<(), ApiError> {
        if self.policies.iter().all(Option::is_none) {
            return Ok(());
        }
        let before = self.lists.len();
        let called = hosts.iter().map(|host| {
            let facts = facts.get(&host.name);
            (host, facts.map(|facts| facts.machine.hostname.as_str()))
        });
        let login_of = light_login(&host_name(), called);
        let failures = std::mem::take(&mut self.failures);
        let means = Means { hosts, facts, failures: &failures, asker, here, login_of };
        let mut known: HashMap<(u16, usize, bool, bool), u16> = HashMap::new();
        let may_run = |instance: InstanceId| {
            let verdict = verdicts.get(instance.index());
            verdict.is_none_or(|verdict| matches!(verdict, Verdict::Stale | Verdict::Check))
        };
        let mut told: BTreeMap<u16, (Vec<TaskId>, Vec<Excluded>)> = BTreeMap::new();
        for (task, id) in plan.tasks.iter().zip(0..).map(|(task, id)| (task, TaskId(id))) {
            let Some(&list) = self.of_task.get(id.index()) else { continue };
            let at = usize::from(list);
            let (Some(&Some(policy)), Some(names)) = (self.policies.get(at), self.lists.get(at)) else { continue };
            let stays = names_elsewhere(plan, id);
            let runs = plan.instances_of(id).any(may_run);
            let key = (list, Arc::as_ptr(&task.settings).addr(), stays, runs);
            if let Some(&chosen) = known.get(&key) {
                self.of_task[id.index()] = chosen;
                if let Some((tasks, _)) = told.get_mut(&chosen) {
                    tasks.push(id);
                }
                continue;
            }
            let (mut left, mut excluded) = (Vec::new(), Vec::new());
            for name in names {
                match means.lacks(name, &task.settings, stays) {
                    None => left.push(name.clone()),
                    Some(why) => excluded.push(Excluded { host: name.clone(), why }),
                }
            }
            if left.is_empty() && !runs {
                left.clone_from(names);
            }
            if left.is_empty() {
                return Err(nowhere(&task.name, &excluded));
            }
            let chosen = u16::try_from(self.lists.len()).unwrap_or(u16::MAX);
            // Of one host there is nothing to choose, but why.
            self.lists.push(left);
            self.policies.push(Some(policy));
            self.of_task[id.index()] = chosen;
            known.insert(key, chosen);
            told.insert(chosen, (vec![id], excluded));
        }
        // What was chosen from is no place to go any more.
        for (list, policy) in self.lists.iter_mut().zip(&mut self.policies).take(before) {
            if policy.take().is_some() {
                list.clear();
            }
        }
        self.excluded = told.into_values().filter(|(_, excluded)| !excluded.is_empty()).collect();
        self.failures = failures;
        Ok(())
    }
}

/// Returns whether a task names files outside the workflow's directory: those are brought nowhere.
fn names_elsewhere(plan: &Plan, task: TaskId) -> bool {
    let outside = |path: &str| path.starts_with('/') || path.starts_with("../");
    plan.instances_of(task).any(|instance| {
        let paths = plan.inputs(instance).iter().chain(plan.outputs(instance));
        paths.map(|path| plan.path(*path)).any(outside)
    })
}

/// Why nothing goes to a host that an agent sends.
const FOR_PEOPLE: &str = "a person has to start it there (`policy.agents` in hosts.toml)";

/// What hosts are judged by.
struct Means<'a> {
    hosts: &'a Hosts,
    facts: &'a BTreeMap<HostName, Facts>,
    failures: &'a BTreeMap<HostName, ProbeFailure>,
    asker: Asker,
    /// What one job may have of this machine.
    here: Capacity,
    /// The cluster whose login node this machine is.
    login_of: Option<&'a HostName>,
}

impl Means<'_> {
    /// Returns why a task cannot run on a host; none where it can.
    fn lacks(&self, name: &HostName, task: &Settings, stays: bool) -> Option<String> {
        if name.is_local() {
            if !has_runtime(task, self.hosts) {
                return Some("nothing here runs its container".to_owned());
            }
            if let Some(why) = misfit_here(self.here, task) {
                return Some(format!("it {why}"));
            }
            let online = self.hosts.get(HostName::LOCAL).and_then(|host| host.internet.login);
            if task.needs_internet() && online == Some(false) {
                return Some(Veto::NoInternet.to_string());
            }
            let is_heavy = task.resources.iter().all(|request| need(request, task, 1).is_heavy());
            // What names files outside can run nowhere else.
            let of = self.login_of.filter(|_| is_heavy && !stays)?;
            return Some(Veto::LoginNode { of: of.clone() }.to_string());
        }
        if stays {
            return Some("it names files outside the workflow's directory, which are not brought".to_owned());
        }
        let Some(host) = self.hosts.get(name.as_str()) else { return Some("hosts.toml does not name it".to_owned()) };
        if self.asker == Asker::Agent && host.policy.agents != Agents::Allow {
            return Some(FOR_PEOPLE.to_owned());
        }
        if let Some(failure) = self.failures.get(name).filter(|_| host.batch.is_none() && !host.transfer_only) {
            return Some(format!("{failure} (`csync hosts probe {name}` tries again)"));
        }
        let facts = self.facts.get(name);
        let place = Place::of(host, facts, partitions(host, facts));
        // A machine by itself has all of it; elsewhere nodes share it.
        let nodes = |request| if host.batch.and_then(Batch::flavour).is_some() { spread(request) } else { 1 };
        let mut least: Option<Vec<Veto>> = None;
        for request in &task.resources {
            match fit(&need(request, task, nodes(request)), &place) {
                Ok(_) => return misfit(host, facts, task).map(|why| format!("it {why}")),
                Err(vetoes) => {
                    least = least.filter(|known| known.len() <= vetoes.len()).or(Some(vetoes));
                }
            }
        }
        let words: Vec<String> = least.unwrap_or_default().iter().map(ToString::to_string).collect();
        Some(words.join("; "))
    }
}

/// Returns whether this machine runs what a task's container is, unless the task itself says where that is found.
fn has_runtime(task: &Settings, hosts: &Hosts) -> bool {
    let Some(Ok(image)) = task.container.as_ref().map(|image| image.parse::<Image>()) else { return true };
    let said = hosts.get(HostName::LOCAL).map(|host| host.containers.clone()).unwrap_or_default();
    let found = || if said.is_empty() { runtimes() } else { said.clone() };
    !task.modules.is_empty()
        || task.env.contains_key("PATH")
        || found().iter().any(|runtime| image.runtimes().contains(runtime))
}

/// Returns over how many nodes a request is spread at most: what it asks for is of all of them together.
fn spread(request: &Request) -> u32 {
    request.nodes.or(request.processes).unwrap_or(1).max(1)
}

/// Returns what a request asks of one of so many nodes.
fn need(request: &Request, task: &Settings, nodes: u32) -> Need {
    fn least<T: Copy>(amount: Amount<T>) -> Option<T> {
        match amount {
            Amount::Auto => None,
            Amount::Exact(value) => Some(value),
            Amount::Range { min, .. } => min,
        }
    }
    let image: Option<Image> = task.container.as_ref().and_then(|image| image.parse().ok());
    Need {
        cpus: least(request.cpus).unwrap_or(1).saturating_mul(request.processes.unwrap_or(1).max(1)).div_ceil(nodes),
        memory: least(request.mem).map(|mem| Estimate::known(mem.0 as f64 / f64::from(nodes))),
        time: least(request.time).map(|time| Estimate::known(time.0 as f64)),
        gpus: request.gpus.div_ceil(nodes),
        internet: task.needs_internet(),
        runtimes: image.map_or(&[], |image| image.runtimes()),
        ..Need::default()
    }
}

fn nowhere(task: &str, excluded: &[Excluded]) -> ApiError {
    let whys: Vec<String> = excluded.iter().map(|it| format!("`{}`: {}", it.host, it.why)).collect();
    let hint = if excluded.iter().any(|it| it.why == FOR_PEOPLE) {
        "ask the person to submit it in a terminal, or to write `agents = \"allow\"` into the `policy` of such a host"
    } else {
        "ask for less in its `resources`, or name other hosts in `on`"
    };
    ApiError {
        kind: ErrorKind::Invalid,
        message: format!("no host of task `{task}` can run it: {}", whys.join("; ")),
        hint: Some(hint.to_owned()),
        diagnostics: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::hosts::{merge, read, shipped};
    use crate::model::facts::Machine;
    use crate::model::plan::{Instance, Slice};
    use crate::model::task::{Command, INTERNET, Task, Template};
    use crate::model::units::{Bytes, Timestamp, Walltime};

    const HOSTS: &str = r#"
[hosts.hpc]
batch = "slurm"
policy = { agents = "deny" }
[hosts.hpc.partitions.short]
cores = 8
walltime = "1h"
[hosts.lab]
batch = "none"
[hosts.new]
"#;

    /// A machine that has no GPU.
    const HERE: Capacity = Capacity { cpus: 8, mem: Bytes::gib(16), gpus: 0, nodes: 1, jobs: None };

    fn task(name: &str, request: Request) -> Task {
        let settings = Settings { resources: vec![request], on: vec!["any".to_owned()], ..Settings::default() };
        Task {
            name: name.to_owned(),
            command: Arc::new(Command::Shell(Template::default())),
            settings: Arc::new(settings),
            needs: Vec::new(),
            columns: Vec::new(),
            definition: [0; 16],
        }
    }

    #[test]
    fn what_reaches_for_the_internet_goes_where_there_is_some_and_a_failed_probe_is_told() {
        let text = r#"
[hosts.local]
internet = { login = false }
[hosts.dark]
batch = "slurm"
internet = { login = true, compute = false }
[hosts.lab]
batch = "none"
[hosts.gone]
"#;
        let (file, mistakes) = read(text, &[]);
        assert_eq!(mistakes, []);
        let hosts = merge(&file, &shipped(), &BTreeMap::new());
        let chosen = |internet: &str| {
            let mut one = task("a", Request::default());
            Arc::make_mut(&mut one.settings).batch.insert(INTERNET.to_owned(), internet.to_owned());
            let mut plan = Plan { tasks: vec![one], ..Plan::default() };
            let (task, none) = (TaskId(0), Slice::default());
            plan.instances.push(Instance { task, row: 0, inputs: none, outputs: none });
            plan.task_instances.push(Slice { start: 0, len: 1 });
            let failure = ProbeFailure { at: Timestamp(60_000_000), message: "no route to host".to_owned() };
            let failures = BTreeMap::from([("gone".parse().unwrap(), failure)]);
            let mut places = Places { failures, ..Places::of(&plan, &hosts) };
            places.exclude((&plan, &[]), &hosts, &BTreeMap::new(), (Asker::Person, HERE)).unwrap();
            let of: Vec<String> = places.of_task(TaskId(0)).iter().map(HostName::to_string).collect();
            let told = places.excluded.iter().flat_map(|(_, of)| of).map(|it| format!("{}: {}", it.host, it.why));
            (of.join(" "), told.collect::<Vec<_>>())
        };
        let gone = "gone: the last probe, at 1970-01-01T00:01:00Z, failed: no route to host (`csync hosts probe gone` tries again)";
        assert_eq!(chosen("false"), ("local dark lab".to_owned(), vec![gone.to_owned()]));
        let offline = |host: &str| format!("{host}: there is no internet where jobs run");
        assert_eq!(chosen("true"), ("lab".to_owned(), vec![offline("local"), offline("dark"), gone.to_owned()]));
    }

    #[test]
    fn this_machine_is_no_choice_for_what_nothing_here_runs() {
        let text = "[hosts.local]\ncontainers = [\"docker\"]\n";
        let (file, mistakes) = read(text, &[]);
        assert_eq!(mistakes, []);
        let hosts = merge(&file, &shipped(), &BTreeMap::new());
        let task = |container: Option<&str>, modules: &[&str]| Settings {
            container: container.map(str::to_owned),
            modules: modules.iter().map(|&name| name.to_owned()).collect(),
            ..Settings::default()
        };
        for (container, modules, runs) in [
            (None, &[][..], true),
            (Some("docker://x"), &[], true),
            (Some("x.sif"), &[], false),
            (Some("x.sif"), &["apptainer"], true),
        ] {
            assert_eq!(has_runtime(&task(container, modules), &hosts), runs, "{container:?}");
        }
    }

    #[test]
    fn hosts_that_cannot_run_a_task_are_no_choice() {
        let (file, mistakes) = read(HOSTS, &[]);
        assert_eq!(mistakes, []);
        let hosts = merge(&file, &shipped(), &BTreeMap::new());
        let long = Request { time: Amount::Exact(Walltime(7200)), ..Request::default() };
        let mut plan = Plan { tasks: vec![task("a", Request::default()), task("b", long)], ..Plan::default() };
        let outside = plan.paths.push("/data/x");
        plan.tasks.push(task("c", Request::default()));
        plan.path_refs.push(crate::model::id::PathId(outside));
        for number in 0..3 {
            let inputs = Slice { start: 0, len: u32::from(number == 2) };
            let task = TaskId(number);
            plan.instances.push(Instance { task, row: 0, inputs, outputs: Slice::default() });
            plan.task_instances.push(Slice { start: number, len: 1 });
        }
        let placed = |asker| {
            let mut places = Places::of(&plan, &hosts);
            places.exclude((&plan, &[]), &hosts, &BTreeMap::new(), (asker, HERE)).unwrap();
            let of = |task: u32| places.of_task(TaskId(task)).iter().map(HostName::to_string).collect::<Vec<_>>();
            assert_eq!(places.policy(TaskId(0)), Some(Policy::Fastest));
            let whys: Vec<String> = places.excluded.iter().flat_map(|(_, of)| of).map(|it| it.why.clone()).collect();
            ([of(0), of(1), of(2)].map(|hosts| hosts.join(" ")), whys.join("|"))
        };
        let (of, whys) = placed(Asker::Person);
        assert_eq!(of, ["local hpc lab", "local lab", "local"]);
        assert!(whys.contains("2h of walltime, where 1h is allowed"), "{whys}");
        assert!(
            whys.contains("nobody looked at it yet") && whys.contains("outside the workflow's directory"),
            "{whys}"
        );
        let (of, whys) = placed(Asker::Agent);
        assert!(!of[0].contains("hpc") && whys.contains("a person has to start it there"), "{of:?} {whys}");
        // On the cluster's own login node nothing heavy is placed here; what can run nowhere else is.
        let machine = Machine { hostname: host_name(), ..Machine::default() };
        let facts = BTreeMap::from([("hpc".parse().unwrap(), Facts { machine, ..Facts::default() })]);
        let mut near = Places::of(&plan, &hosts);
        near.exclude((&plan, &[]), &hosts, &facts, (Asker::Person, HERE)).unwrap();
        let here = |task: u32| near.of_task(TaskId(task)).iter().any(HostName::is_local);
        assert_eq!([here(0), here(1), here(2)], [false, false, true]);
        let strict = Places { lists: vec![vec!["hpc".parse().unwrap()]], ..Places::of(&plan, &hosts) };
        let refused = strict.clone().exclude((&plan, &[]), &hosts, &BTreeMap::new(), (Asker::Agent, HERE)).unwrap_err();
        assert!(refused.message.starts_with("no host of task `a` can run it: `hpc`: "), "{}", refused.message);
        // Nobody asks where something could run that is up to date.
        let fresh = [Verdict::Fresh, Verdict::Stale, Verdict::Left];
        let refused = strict.clone().exclude((&plan, &fresh), &hosts, &BTreeMap::new(), (Asker::Agent, HERE));
        assert!(refused.unwrap_err().message.starts_with("no host of task `b` can run it"));
        let mut fresh = strict.clone();
        fresh.exclude((&plan, &[Verdict::Fresh; 3]), &hosts, &BTreeMap::new(), (Asker::Agent, HERE)).unwrap();
        assert_eq!(fresh.of_task(TaskId(0)).len(), 1);
    }

    #[test]
    fn this_machine_is_judged_by_what_it_has() {
        let (file, mistakes) = read("[hosts.hpc]\nbatch = \"slurm\"\n", &[]);
        assert_eq!(mistakes, []);
        let hosts = merge(&file, &shipped(), &BTreeMap::new());
        let placed = |request: Request, hosts: &Hosts| {
            let mut plan = Plan { tasks: vec![task("a", request)], ..Plan::default() };
            plan.instances.push(Instance {
                task: TaskId(0),
                row: 0,
                inputs: Slice::default(),
                outputs: Slice::default(),
            });
            plan.task_instances.push(Slice { start: 0, len: 1 });
            let mut places = Places::of(&plan, hosts);
            places.exclude((&plan, &[]), hosts, &BTreeMap::new(), (Asker::Person, HERE)).map(|()| {
                let of: Vec<String> = places.of_task(TaskId(0)).iter().map(HostName::to_string).collect();
                (of.join(" "), places.excluded.first().map_or(String::new(), |(_, all)| all[0].why.clone()))
            })
        };
        let exact = |cpus, gib| Request {
            cpus: Amount::Exact(cpus),
            mem: Amount::Exact(Bytes::gib(gib)),
            ..Request::default()
        };
        for (request, of, why) in [
            (exact(8, 16), "local hpc", ""),
            (exact(9, 16), "hpc", "it asks for 9 cores, and 8 can be used here"),
            (exact(8, 17), "hpc", "it asks for 17G of memory, and 16G can be used here"),
            (Request { gpus: 1, ..exact(1, 1) }, "hpc", "it asks for 1 GPU, and 0 can be used here"),
            (Request { processes: Some(3), ..exact(3, 1) }, "hpc", "it asks for 9 cores, and 8 can be used here"),
            (Request { cpus: Amount::Range { min: Some(2), max: Some(64) }, ..exact(1, 1) }, "local hpc", ""),
        ] {
            let told = placed(request.clone(), &hosts).unwrap();
            assert_eq!((told.0.as_str(), told.1.as_str()), (of, why), "{request:?}");
        }
        // What a request asks for is of all its nodes together.
        let nodes =
            "[hosts.hpc]\nbatch = \"slurm\"\n[hosts.hpc.partitions.big]\ncores = 64\nmemory = \"256G\"\nnodes = 4\n";
        let hosts = merge(&read(nodes, &[]).0, &shipped(), &BTreeMap::new());
        let spread = |gib, nodes| Request { processes: Some(256), nodes, ..exact(1, gib) };
        for request in [spread(600, Some(4)), spread(600, None), Request { gpus: 4, ..spread(1000, Some(4)) }] {
            assert_eq!(placed(request.clone(), &hosts).unwrap().0, "hpc", "{request:?}");
        }
        for request in [spread(1100, Some(4)), spread(600, Some(8)), spread(600, Some(1)), exact(64, 600)] {
            let refused = placed(request.clone(), &hosts).unwrap_err();
            assert!(refused.message.contains("`hpc`: "), "{request:?}: {}", refused.message);
        }
        let alone = merge(&read("", &[]).0, &shipped(), &BTreeMap::new());
        let refused = placed(exact(1, 200), &alone).unwrap_err();
        assert_eq!(
            refused.message,
            "no host of task `a` can run it: `local`: it asks for 200G of memory, and 16G can be used here"
        );
        assert!(refused.hint.is_some_and(|hint| hint.contains("`resources`") && hint.contains("`on`")));
    }
}
