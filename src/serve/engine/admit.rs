//! How runs come in: from a submission, or back from the store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::decide::engine::protocol::{Capacity, Event, Mark, Verdict};
use crate::decide::engine::run::Run;
use crate::decide::fresh::memos::{Hashes, Memos};
use crate::decide::fresh::reason::Reason;
use crate::decide::graph::datasets::Catalog;
use crate::decide::graph::known::net;
use crate::decide::graph::queues::Wait;
use crate::decide::outlook::files::Files;
use crate::decide::outlook::foresee::Outlook;
use crate::decide::outlook::survey::{Survey, survey};
use crate::decide::route::need::Asker;
use crate::language::container::pulled_name;
use crate::language::hook::agent_of;
use crate::language::hosts::Hosts;
use crate::language::quote::sh;
use crate::model::api::{ApiError, Counts, ErrorKind, RunState, RunSummary, Submission, Submitted};
use crate::model::data::{DataFact, Elsewhere, IMAGES, Rate, Replica};
use crate::model::diagnostic::{Diagnostic, Severity};
use crate::model::facts::{Facts, ProbeFailure};
use crate::model::host::{Agents, Batch, HostName};
use crate::model::id::{InstanceId, JobKey, RunId, TaskId};
use crate::model::plan::Plan;
use crate::reach::clock;
use crate::reach::config::{ConfigDir, StateDir};
use crate::reach::files::lock::{DirLock, Owner, may_write};
use crate::reach::machine::host_name;
use crate::reach::store::{
    NewRun, Reader, Records, StoreError, StoredPlan, StoredRun, WorkflowKey, encode_env, encode_plan,
};
use crate::serve::engine::care::{Care, Means, find_secrets, keep_secrets};
use crate::serve::engine::handle::Reply;
use crate::serve::engine::refusal::{chain, files, illegal, refuse, storage};
use crate::serve::engine::runner::{Given, Runner};
use crate::serve::engine::sites::connection_settings;
use crate::serve::engine::starts::StartAsk;
use crate::serve::prepare::lore::{Lore, Lying, lore, lying};
use crate::serve::prepare::places::Places;
use crate::serve::prepare::{self, Asked, Prepared, places, sets};
use crate::serve::site::{prelude, unsaid};

/// A submission, ready to be taken in.
#[derive(Debug)]
pub(super) struct Admission {
    new: NewRun,
    prepared: Prepared,
    means: Means,
    lock: Option<DirLock>,
    hosts: Hosts,
    facts: BTreeMap<HostName, Facts>,
    /// Where the hosts are configured.
    dir: Option<ConfigDir>,
    /// What was learned of its commands, and where its files lie.
    ground: Ground,
    /// Where the files of its datasets lie.
    data: Vec<DataFact>,
}

/// What was learned of a run's commands, where its files lie, and what is known of the hosts that csync chooses among.
#[derive(Debug, Default)]
pub(super) struct Ground {
    lore: Lore,
    lying: Vec<Lying>,
    seen: Seen,
}

/// What earlier runs showed of hosts.
#[derive(Debug, Default)]
struct Seen {
    waits: Vec<Wait>,
    rates: Vec<Rate>,
    shared: Vec<DataFact>,
    /// In how many seconds clusters would start a job, by their own word.
    starts: Vec<(HostName, f64)>,
}

impl Seen {
    async fn load(reader: &Reader) -> Result<Self, StoreError> {
        let (waits, rates, shared) = (reader.waits().await?, reader.rates().await?, reader.shared().await?);
        Ok(Self { waits, rates, shared, starts: Vec::new() })
    }
}

impl Admission {
    /// Returns what the submitter's environment says.
    pub(super) fn env(&self) -> &[(String, String)] {
        &self.means.env
    }

    /// Returns what to ask the clusters that tasks may go to, of those whose queues nobody knows.
    pub(super) fn unknown_queues(&self) -> Vec<StartAsk> {
        let (places, plan) = (&self.prepared.places, &self.prepared.plan);
        let mut chosen = (0..plan.tasks.len() as u32).map(TaskId).filter(|task| places.policy(*task).is_some());
        let Some(first) = chosen.next() else { return Vec::new() };
        let request = plan.task(first).resources.first();
        let (cpus, time) = request.map_or((1, None), |request| (request.cores(), request.walltime()));
        let names = places.names().into_iter().filter(|name| !self.ground.seen.waits.iter().any(|it| it.host == *name));
        let ask = |name: HostName| {
            let host =
                self.hosts.get(name.as_str()).filter(|host| !host.name.is_local() && host.simulated.is_none())?;
            let flavour = host.batch.and_then(Batch::flavour)?;
            let system = self.facts.get(&name).and_then(|facts| facts.batch.as_ref());
            let prelude = system.filter(|system| system.flavour() == flavour).map(prelude).unwrap_or_default();
            Some(StartAsk { host: name, flavour, prelude, cpus, time, account: host.account.clone() })
        };
        names.filter_map(ask).collect()
    }

    /// Takes what they said.
    pub(super) fn told_starts(&mut self, starts: Vec<(HostName, f64)>) {
        self.ground.seen.starts = starts;
    }
}

impl Ground {
    async fn of(
        (state, reader): (&StateDir, &Reader),
        (plan, verdicts): (&Plan, &[Verdict]),
        (places, chooses): (&Places, bool),
        replicas: &[Replica],
    ) -> Result<Self, StoreError> {
        let runs = verdicts.iter().any(|verdict| matches!(verdict, Verdict::Stale | Verdict::Check));
        if !runs {
            return Ok(Self::default());
        }
        let lore = lore(state, plan, verdicts, &places.names(), clock::now()).await;
        let lying = if chooses || lore.is_of_use() {
            lying(plan, replicas, &reader.brought(&plan.root).await?)
        } else {
            Vec::new()
        };
        let seen = if chooses { Seen::load(reader).await? } else { Seen::default() };
        Ok(Self { lore, lying, seen })
    }
}

/// Hosts whose last probe came to nothing.
type Failures = BTreeMap<HostName, ProbeFailure>;

/// A run as the store has it.
#[derive(Debug)]
pub(super) struct Loaded {
    stored: StoredRun,
    plan: StoredPlan,
    records: Records,
    marks: Vec<(InstanceId, Mark, u32)>,
    facts: BTreeMap<HostName, Facts>,
    failures: Failures,
    ground: Ground,
}

/// Plans a submission and takes the lock of its directory. Blocks.
pub(super) fn prepare(
    submission: Submission,
    state: &StateDir,
    reader: &Reader,
    runtime: &tokio::runtime::Handle,
    catalog: &Catalog,
    here: Capacity,
) -> Result<Admission, ApiError> {
    let memos = |name: &str| {
        let key = WorkflowKey::of(&submission.root, name);
        let memos = runtime.block_on(reader.memos(key)).map_err(|error| storage(&error))?;
        Ok(memos.iter().collect::<Memos>())
    };
    let (facts, failures) = runtime.block_on(probed_of(reader)).map_err(|error| storage(&error))?;
    let var = |name: &str| submission.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.into());
    let hosts = places::hosts(var, &facts)?;
    let dir = ConfigDir::locate(var).ok();
    let mut replicas = runtime.block_on(reader.replicas(Some(&submission.root))).map_err(|error| storage(&error))?;
    // What is seen now of datasets counts, and not what was seen when another run read them.
    let past = replicas.extract_if(.., |replica| !sets::holds_still(replica, catalog)).collect::<Vec<_>>();
    let elsewhere: Elsewhere = replicas.iter().collect();
    let mut prepared = prepare::prepare(Asked::of(&submission, &hosts, &elsewhere, catalog), memos)?;
    let asking =
        agent_of(|name| submission.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()));
    let asker = if asking.is_some() { Asker::Agent } else { Asker::Person };
    prepared.places.failures = failures;
    prepared.places.exclude((&prepared.plan, &prepared.verdicts), &hosts, &facts, (asker, here))?;
    if let Some(host) = places::unlooked(&prepared.places, &hosts) {
        return Err(not_looked_at(host, prepared.places.failures.get(host)));
    }
    if let Some(agent) = asking
        && let Some((host, agents)) = places::kept_from_agents(&prepared.places, &hosts)
    {
        return Err(for_people(agent, host, agents, &submission));
    }
    prepared.warnings.extend(sayable(&prepared, &hosts, &facts)?);
    prepared.warnings.extend(places::misfits(&prepared.plan, &hosts, &facts, here));
    let warning = |message| Diagnostic::warning(None, message);
    prepared.warnings.extend(sets::troubles(catalog).into_iter().map(warning));
    let mut data = sets::lay_out(catalog, &prepared.plan).map_err(|error| {
        refuse(ErrorKind::Storage, format!("{}/.csync/data cannot be written: {error}", submission.root))
    })?;
    let named = past.into_iter().filter(|replica| !catalog.places(replica.dataset()).is_empty());
    data.splice(
        ..0,
        named.map(|replica| DataFact::Gone { root: replica.root, path: replica.path, host: Some(replica.host) }),
    );
    replicas.extend(data.iter().filter_map(|fact| match fact {
        DataFact::Lies(replica) => Some(replica.clone()),
        _ => None,
    }));
    let told = (&*prepared.plan, prepared.verdicts.as_slice());
    let chooses = chooses(&prepared.places, &hosts);
    let ground = runtime.block_on(Ground::of((state, reader), told, (&prepared.places, chooses), &replicas));
    let ground = ground.map_err(|error| storage(&error))?;
    prepared.warnings.extend(ground.lore.trouble.clone());
    let lock = match makes_files(&prepared.plan, &prepared.verdicts) {
        Makes::Nothing => None,
        Makes::Elsewhere if !may_write(Path::new(&submission.root)) => None,
        Makes::Elsewhere | Makes::Here => Some(take_lock(&submission.root, None, state)?),
    };
    let Submission { text, path, root, mut env, umask, secrets, command, ahead, .. } = submission;
    // What is a secret is no part of what is stored.
    env.retain(|(name, _)| !secrets.iter().any(|(secret, _)| secret == name));
    let new = NewRun {
        name: prepared.plan.name.clone(),
        path,
        root,
        command,
        at: clock::now(),
        umask,
        ahead,
        plan: encode_plan(&prepared.plan),
        verdicts: prepared.verdicts.clone(),
        reasons: prepared.reasons.clone(),
        text,
        env: encode_env(&env),
    };
    Ok(Admission { new, prepared, means: Means { env, umask, secrets }, lock, hosts, facts, dir, ground, data })
}

/// Returns whether csync chooses anything by what jobs wait: a host, a partition of the host that they have, or how long they ask for.
fn chooses(places: &Places, hosts: &Hosts) -> bool {
    let has_queues =
        |name: &HostName| hosts.get(name.as_str()).is_some_and(|it| it.batch.and_then(Batch::flavour).is_some());
    places.chooses() || places.names().iter().any(has_queues)
}

/// Where a run writes files, as far as it declares them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Makes {
    Nothing,
    /// Outside the workflow's directory alone: that may be read-only.
    Elsewhere,
    Here,
}

fn makes_files(plan: &Plan, verdicts: &[Verdict]) -> Makes {
    let runs =
        plan.instance_ids().zip(verdicts).filter(|(_, verdict)| !matches!(verdict, Verdict::Left | Verdict::Fresh));
    let mut outputs = runs.flat_map(|(instance, _)| plan.outputs(instance)).map(|&path| plan.path(path)).peekable();
    if outputs.peek().is_none() {
        Makes::Nothing
    } else if outputs.any(|path| !path.starts_with('/') && !path.starts_with("../")) {
        Makes::Here
    } else {
        Makes::Elsewhere
    }
}

/// Takes the lock of a run's directory.
pub(super) fn take_lock(root: &str, run: Option<RunId>, state: &StateDir) -> Result<DirLock, ApiError> {
    let owner =
        Owner { run, pid: std::process::id(), host: host_name(), state_dir: state.root().display().to_string() };
    DirLock::take(Path::new(root), owner.clone()).map_err(|error| files(&error, &owner))
}

/// Returns what the hosts' batch systems leave out of what tasks ask for; refuses what cannot be submitted at all.
fn sayable(prepared: &Prepared, hosts: &Hosts, facts: &BTreeMap<HostName, Facts>) -> Result<Vec<Diagnostic>, ApiError> {
    let places = &prepared.places;
    let here = [HostName::local()];
    let of_task = |task: usize| {
        let task = TaskId(task as u32);
        // Where csync chooses, one host that leaves something out is no reason to refuse the run.
        match places.of_task(task) {
            _ if places.policy(task).is_some() => &[],
            [] => &here[..],
            hosts => hosts,
        }
    };
    let told = unsaid(&prepared.plan, of_task, hosts, facts);
    let (mistakes, warnings): (Vec<_>, Vec<_>) = told.into_iter().partition(|told| told.severity == Severity::Error);
    if mistakes.is_empty() {
        return Ok(warnings);
    }
    let message = "the batch system cannot be asked for that".to_owned();
    Err(ApiError { diagnostics: mistakes, ..refuse(ErrorKind::Invalid, message) })
}

/// Refuses a host of which nobody knows how jobs are started there: taken for one without a batch system, a login node would run
/// them.
fn not_looked_at(host: &HostName, failure: Option<&ProbeFailure>) -> ApiError {
    if let Some(failure) = failure {
        let message = format!("nobody knows how jobs are started on `{host}`: {failure}");
        let hint = format!("`csync hosts probe {host}` tries again, `csync hosts test {host}` says what is in the way");
        return ApiError { hint: Some(hint), ..refuse(ErrorKind::Invalid, message) };
    }
    ApiError {
        hint: Some(format!(
            "`csync hosts probe {host}` finds out; `batch = \"none\"` in hosts.toml says that there is no batch system"
        )),
        ..refuse(ErrorKind::Invalid, format!("nobody has said how jobs are started on `{host}`"))
    }
}

/// Refuses what a coding agent asks for on a host where that is for people to start.
fn for_people(agent: &str, host: &HostName, agents: Agents, submission: &Submission) -> ApiError {
    let command = submission.command.as_deref().unwrap_or("csync submit");
    // A person reads what a program would get as JSON.
    let command = command.strip_prefix("csync --json ").map_or(command.to_owned(), |rest| format!("csync {rest}"));
    let typed = format!("`cd {} && {command}`", sh(&submission.root));
    let hint = match agents {
        Agents::Deny => {
            format!("hosts.toml says so (`[hosts.{host}.policy]`, `agents = \"deny\"`); a person may type {typed}")
        }
        Agents::Ask | Agents::Allow => format!(
            "ask the person to type {typed} in a terminal; `agents = \"allow\"` in `[hosts.{host}.policy]` of hosts.toml lets agents do it"
        ),
    };
    let message = format!("{agent} may not start anything on `{host}` by itself");
    ApiError { hint: Some(hint), ..refuse(ErrorKind::Conflict, message) }
}

/// Returns what probes found.
pub(super) async fn facts_of(reader: &Reader) -> Result<BTreeMap<HostName, Facts>, StoreError> {
    Ok(probed_of(reader).await?.0)
}

/// Returns what probes found of hosts, and which of them came to nothing.
pub(super) async fn probed_of(reader: &Reader) -> Result<(BTreeMap<HostName, Facts>, Failures), StoreError> {
    let (mut facts, mut failures) = (BTreeMap::new(), Failures::new());
    for (host, probed) in reader.probed().await? {
        failures.extend(probed.failure.map(|failure| (host.clone(), failure)));
        facts.extend(probed.facts.map(|found| (host, found)));
    }
    Ok((facts, failures))
}

/// Reads a run back; none when there is none.
pub(super) async fn load(reader: &Reader, state: &StateDir, run: RunId) -> Result<Option<Loaded>, StoreError> {
    let Some(stored) = reader.run(run).await? else { return Ok(None) };
    let Some(plan) = reader.plan(run).await? else { return Ok(None) };
    let records = reader.records(run).await?;
    let marks = reader.marks(run).await?;
    let (facts, failures) = probed_of(reader).await?;
    let ground = if stored.summary.state == RunState::Active {
        let replicas = reader.replicas(Some(&plan.plan.root)).await?;
        let var = |name: &str| plan.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.into());
        let hosts = places::hosts(var, &facts).unwrap_or_default();
        let places = Places::of(&plan.plan, &hosts);
        let chooses = chooses(&places, &hosts);
        Ground::of((state, reader), (&plan.plan, &plan.verdicts), (&places, chooses), &replicas).await?
    } else {
        Ground::default()
    };
    Ok(Some(Loaded { stored, plan, records, marks, facts, failures, ground }))
}

/// Where a run may go.
#[derive(Clone, Copy)]
struct Chosen<'a> {
    places: &'a Places,
    hosts: &'a Hosts,
    facts: &'a BTreeMap<HostName, Facts>,
}

impl Runner {
    /// Takes in a submission: first the store, then the core.
    pub(super) async fn admit(&mut self, admission: Admission, reply: Reply<Submitted>) {
        let Admission { new, prepared, means, lock, hosts, facts, dir, ground, data } = admission;
        let agent = means.env.iter().find(|(name, _)| name == "SSH_AUTH_SOCK").map(|(_, socket)| socket.as_str());
        self.start_sites(&prepared.places, &hosts, &facts, dir.as_ref());
        if !data.is_empty() {
            self.sites.stock.connections(|| connection_settings(&self.state));
            self.sites.stock.know(&hosts);
            self.learn(data);
        }
        self.sites.offer_agent(agent);
        let routes = self.sites.routes(&prepared.places).ahead(new.ahead);
        let head = RunSummary {
            run: RunId(0),
            name: new.name.clone(),
            path: new.path.clone(),
            root: new.root.clone(),
            state: RunState::Active,
            counts: Counts::default(),
            submitted: new.at,
            ended: None,
            command: new.command.clone(),
        };
        let workflow = WorkflowKey::of(&new.root, &new.name);
        let run = match self.store.insert_run(new).await {
            Ok(run) => run,
            Err(error) => {
                self.answer(reply, Err(storage(&error)));
                return;
            }
        };
        if let Err(error) = keep_secrets(&self.state, run, &means.secrets) {
            tracing::warn!(%run, %error, "secrets are kept in memory alone");
        }
        let lock = lock.map(|mut lock| {
            if let Err(error) = lock.name(run) {
                tracing::warn!(%run, error = chain(&error), "the lock of the run's directory does not say its number");
            }
            lock
        });
        let checks = prepared.verdicts.contains(&Verdict::Check);
        self.cares.insert(
            run,
            Care {
                head: RunSummary { run, ..head },
                workflow,
                reasons: prepared.reasons,
                means,
                introduced: false,
                lock,
                memos: checks.then(|| Arc::new(prepared.memos)),
                hashes: prepared.hashes,
                watchers: Vec::new(),
                changed: false,
                used: 0,
            },
        );
        for memo in &prepared.refreshed {
            self.batch.memo(workflow, memo);
        }
        self.batch.event(clock::now(), Some(run), "submitted");
        tracing::info!(%run, instances = prepared.plan.instances.len(), "submitted");
        self.survey(run, &prepared.plan, ground, Chosen { places: &prepared.places, hosts: &hosts, facts: &facts });
        let told = self.tell(Event::Submitted { run, plan: prepared.plan, verdicts: prepared.verdicts, routes });
        let answer = match told {
            Ok(_) => {
                let counts = self.core.run(run).map(Run::counts).unwrap_or_default();
                Ok(Submitted { run, counts, warnings: prepared.warnings })
            }
            Err(error) => {
                self.batch.run(run, RunState::Failed, clock::now(), &Counts::default());
                self.cares.remove(&run);
                Err(illegal(error))
            }
        };
        self.answer(reply, answer);
    }

    /// Tells the core what is known of what a run needs, and where its files lie.
    fn survey(&mut self, run: RunId, plan: &Plan, ground: Ground, chosen: Chosen<'_>) {
        let Ground { lore, lying, seen } = ground;
        let Chosen { places, hosts, facts } = chosen;
        if chooses(places, hosts) {
            let net = net(hosts, &seen.rates, &seen.shared, |host| facts.get(host)?.trip);
            let here = (self.settings.capacity.cpus, clock::now());
            let mut surveyed = survey(&places.names(), hosts, facts, &net, &seen.waits, here);
            seen.starts.iter().for_each(|(host, seconds)| surveyed.told(host, *seconds));
            let Survey { sites, ways } = surveyed;
            let sites = sites.into_iter().map(|site| (self.sites.number(&site.name), site)).collect();
            let mut ends = |(from, to, link)| (self.sites.number(&from), self.sites.number(&to), link);
            let ways = ways.into_iter().map(&mut ends).collect();
            self.tell_or_log(Event::Sites(sites, ways));
        } else if !lore.is_of_use() {
            return;
        }
        let classes = lore.classes.iter().map(|(host, class)| (self.sites.number(host), *class)).collect();
        let mut alike = places.names();
        alike.retain(|host| !host.is_local() && self.sites.stock.shared(host, &plan.root));
        alike.push(HostName::local());
        let alike = self.sites.set(&alike);
        let mut files = Files::new(plan.paths.len(), alike);
        for Lying { path, bytes, hosts } in lying {
            files.lies(path, bytes, self.sites.set(&hosts));
        }
        let containers: BTreeSet<&str> = plan.tasks.iter().filter_map(|task| task.container.as_deref()).collect();
        for container in containers {
            let name = pulled_name(container);
            let copies = name.map(|name| self.sites.stock.copies(IMAGES, &name)).unwrap_or_default();
            for copy in copies {
                files.has_image(container, copy.size.0, self.sites.set(&[copy.host]));
            }
        }
        let outlook = Outlook::new(lore.of_task, classes, files).excluding(places.excluded.clone());
        self.tell_or_log(Event::Outlook(run, Box::new(outlook)));
    }

    /// Takes in a run from the store.
    pub(super) fn restore(&mut self, loaded: Loaded) -> Result<(), ApiError> {
        let Loaded { stored, plan, records, marks, facts, failures, ground } = loaded;
        let Records { mut attempts, in_flight, elsewhere } = records;
        let run = stored.summary.run;
        if self.core.run(run).is_some() {
            return Ok(());
        }
        let active = stored.summary.state == RunState::Active;
        let StoredPlan { plan, verdicts, reasons, env } = plan;
        if active && reasons.contains(&Reason::Sandboxed) {
            // What was asked for in a sandbox never runs outside of one.
            return Err(refuse(ErrorKind::Conflict, "an engine died while it kept this sandbox"));
        }
        let plan = Arc::new(plan);
        let lock =
            (active && makes_files(&plan, &verdicts) != Makes::Nothing).then(|| self.take_back_lock(&stored.summary));
        let secrets = if active { find_secrets(&self.state, run) } else { Vec::new() };
        let care = Care {
            workflow: stored.workflow,
            reasons,
            means: Means { env, umask: stored.umask, secrets },
            introduced: false,
            lock: lock.flatten(),
            memos: None,
            hashes: Hashes::default(),
            watchers: Vec::new(),
            changed: false,
            used: self.turns,
            head: stored.summary.clone(),
        };
        self.cares.insert(run, care);
        if active {
            let asked = attempts.iter().filter(|attempt| attempt.outcome.is_none());
            asked.for_each(|attempt| self.learner.asks(attempt.key, &attempt.grant));
            self.handed.extend(in_flight.into_iter().map(|(key, worker)| (key, Given::Worker(worker))));
        }
        let chosen = if active { self.restore_places(run, &plan, (&facts, failures)) } else { None };
        let routes = chosen.as_ref().map(|(places, _)| self.sites.routes(places)).unwrap_or_default();
        let routes = routes.ahead(stored.ahead);
        for (index, host) in elsewhere {
            let Ok(name) = host.parse::<HostName>() else { continue };
            let host = self.sites.number(&name);
            let Some(attempt) = attempts.get_mut(index) else { continue };
            attempt.host = host;
            if active && attempt.outcome.is_none() {
                self.handed.insert(attempt.key, Given::Host(host));
            }
        }
        let (halt, state) = (stored.halt, stored.summary.state);
        if let Some((places, hosts)) = &chosen {
            self.survey(run, &plan, ground, Chosen { places, hosts, facts: &facts });
        }
        let told = self.tell(Event::Restored { run, plan, verdicts, routes, attempts, marks, halt, state });
        if let Err(error) = told {
            self.cares.remove(&run);
            return Err(illegal(error));
        }
        self.push_out();
        Ok(())
    }

    /// Finds out again where the tasks of a run may run, and sets those hosts to work.
    fn restore_places(
        &mut self,
        run: RunId,
        plan: &Plan,
        (facts, failures): (&BTreeMap<HostName, Facts>, Failures),
    ) -> Option<(Places, Hosts)> {
        let care = self.cares.get(&run)?;
        let var = |name: &str| care.means.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.into());
        let dir = ConfigDir::locate(var).ok();
        match places::hosts(var, facts) {
            Ok(hosts) => {
                let mut places = Places { failures, ..Places::of(plan, &hosts) };
                if let Err(error) = places.exclude((plan, &[]), &hosts, facts, (Asker::Person, self.settings.capacity))
                {
                    tracing::warn!(%run, %error, "the hosts of a task changed since the run was submitted");
                }
                self.start_sites(&places, &hosts, facts, dir.as_ref());
                Some((places, hosts))
            }
            Err(error) => {
                tracing::error!(%run, %error, "the run goes on here, as far as it may");
                None
            }
        }
    }

    fn take_back_lock(&self, head: &RunSummary) -> Option<DirLock> {
        // Who took it in the moment when no engine was there has started by now; going on is what does least harm.
        take_lock(&head.root, Some(head.run), &self.state)
            .inspect_err(
                |error| tracing::warn!(run = %head.run, %error, "the run goes on without the lock of its directory"),
            )
            .ok()
    }

    /// Brings back the runs that were live when the last engine ended.
    pub(super) async fn restore_all(&mut self) -> Result<(), StoreError> {
        let reader = self.store.reader();
        for stored in reader.active_runs().await? {
            let run = stored.summary.run;
            let restored = match load(&reader, &self.state, run).await {
                Ok(Some(loaded)) => self.restore(loaded).map_err(|error| error.message),
                Ok(None) => Err("its plan is missing".to_owned()),
                Err(error @ StoreError::Form { .. }) => Err(chain(&error)),
                Err(error) => return Err(error),
            };
            if let Err(why) = restored {
                tracing::error!(%run, why, "a run cannot be taken up again");
                let now = clock::now();
                self.batch.event(now, Some(run), &format!("given up: {why}"));
                self.batch.run(run, RunState::Failed, now, &Counts::default());
            }
        }
        Ok(())
    }

    /// Returns the attempts in flight on this machine.
    pub(super) fn in_flight(&self) -> Vec<JobKey> {
        let all = self.core.runs().flat_map(Run::in_flight);
        all.filter(|key| !matches!(self.handed.get(key), Some(Given::Host(_)))).collect()
    }

    /// Answers a refusal of something that does not fit the state.
    pub(super) fn refuse_retry(&self, run: RunId) -> Option<ApiError> {
        let (it, care) = self.view(run)?;
        if care.reasons.contains(&Reason::Sandboxed) {
            let command = care.head.command.as_deref().unwrap_or("csync run --image");
            return Some(ApiError {
                hint: Some(format!("`{command}` in {} runs it again", care.head.root)),
                ..refuse(ErrorKind::Conflict, format!("run {run} was a sandbox, which is not run again by itself"))
            });
        }
        let names_secrets = it.plan().tasks.iter().any(|task| !task.secrets.is_empty());
        (names_secrets && care.means.secrets.is_empty()).then(|| ApiError {
            hint: Some("submit the workflow again: what is up to date is not run again".to_owned()),
            ..refuse(ErrorKind::Conflict, format!("the secrets of run {run} were removed when it was over"))
        })
    }
}
