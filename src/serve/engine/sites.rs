//! The runner and the hosts that jobs are handed over to: their numbers, their sites, and what those report.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use tokio::sync::{mpsc, oneshot};

use crate::decide::engine::limits::{Limits, room};
use crate::decide::engine::protocol::{Capacity, Event, Routes, Stage};
use crate::decide::engine::run::Run;
use crate::decide::outlook::files::Hosts as HostSet;
use crate::language::hosts::Hosts;
use crate::model::api::{Breaker, Contact, Full, LoginWanted};
use crate::model::data::DataFact;
use crate::model::facts::Facts;
use crate::model::host::{Batch as BatchKind, Host, HostName};
use crate::model::id::{HostId, InstanceId, JobKey};
use crate::model::resources::Grant;
use crate::reach::clock;
use crate::reach::config::{ConfigDir, HostsConfig, KeptHost, StateDir};
use crate::reach::store::Sent;
use crate::reach::transport::{Budgets, ConnectionSettings, Waits};
use crate::serve::engine::adviser::hosts_changed;
use crate::serve::engine::runner::{Given, Runner};
use crate::serve::engine::starts::Starts;
use crate::serve::prepare::places::Places;
use crate::serve::site::stock::Stock;
use crate::serve::site::{Means, Order, Reporter, Seen, Site, SiteJob, SiteNews, dialect, prelude};

/// News of sites that wait for the runner.
const MOST_NEWS: usize = 1024;

/// The hosts, numbered as the core knows them.
#[derive(Debug)]
pub(super) struct Sites {
    /// By number; the first is this machine.
    names: Vec<HostName>,
    numbers: HashMap<HostName, HostId>,
    at_work: HashMap<HostId, Site>,
    /// What each of them was configured with.
    known: HashMap<HostId, Known>,
    /// How we stand with those that are at work.
    contacts: HashMap<HostId, Contact>,
    /// What is known of files on them.
    pub(super) stock: Arc<Stock>,
    /// Why attempts wait in queues, in the batch systems' words.
    reasons: HashMap<JobKey, Arc<str>>,
    /// When clusters said lately that they would start a job.
    pub(super) starts: Starts,
    to: mpsc::Sender<(HostId, SiteNews)>,
    pub(super) news: mpsc::Receiver<(HostId, SiteNews)>,
}

/// What a host was configured with.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    host: Host,
    facts: Option<Facts>,
    dir: Option<ConfigDir>,
}

impl Default for Sites {
    fn default() -> Self {
        let (to, news) = mpsc::channel(MOST_NEWS);
        let names = vec![HostName::local()];
        let numbers = HashMap::from([(HostName::local(), HostId::LOCAL)]);
        Self {
            names,
            numbers,
            at_work: HashMap::new(),
            known: HashMap::new(),
            contacts: HashMap::new(),
            stock: Arc::default(),
            reasons: HashMap::new(),
            starts: Starts::default(),
            to,
            news,
        }
    }
}

impl Sites {
    /// Returns the number of a host, which gets one when it has none.
    pub(super) fn number(&mut self, name: &HostName) -> HostId {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        // Nobody has 65,535 hosts.
        let number = HostId(u16::try_from(self.names.len()).unwrap_or(u16::MAX));
        self.names.push(name.clone());
        self.numbers.insert(name.clone(), number);
        number
    }

    /// Returns hosts as a set of their numbers.
    pub(super) fn set(&mut self, names: &[HostName]) -> HostSet {
        names.iter().fold(HostSet::default(), |set, name| set.and(&HostSet::one(self.number(name))))
    }

    /// Returns a host's name.
    /// Iterates over the hosts that have a number.
    pub(super) fn names(&self) -> impl Iterator<Item = (HostId, &str)> {
        self.names.iter().zip(0..).map(|(name, number)| (HostId(number), name.as_str()))
    }

    pub(super) fn name(&self, host: HostId) -> &str {
        self.names.get(host.index()).map_or("", HostName::as_str)
    }

    /// Returns where tasks may run as the core knows it.
    pub(super) fn routes(&mut self, places: &Places) -> Routes {
        let lists: Vec<Vec<HostId>> =
            places.lists.iter().map(|list| list.iter().map(|name| self.number(name)).collect()).collect();
        let policy = |list: u16| places.policies.get(usize::from(list)).copied().flatten();
        let of = |list: u16| (lists.get(usize::from(list)).cloned().unwrap_or_default(), policy(list));
        Routes::placed(places.of_task.iter().map(|&list| of(list)))
    }

    /// Says in words where an attempt on a host stands.
    pub(super) fn in_words(&self, host: HostId, stage: Stage, key: JobKey) -> String {
        let name = self.name(host);
        let contact = self.contacts.get(&host);
        if let Some(why) = contact.and_then(Contact::in_words) {
            return format!("there is no contact with `{name}`: {why}");
        }
        if let (Stage::Given, Some(full)) = (stage, contact.and_then(|contact| contact.full.as_ref())) {
            let Full { why, next_try, .. } = full;
            return format!("`{name}` takes no more jobs now ({why}); more are tried as jobs end, or at {next_try}");
        }
        match stage {
            Stage::Given => format!("it is about to be sent to `{name}`"),
            Stage::StagingIn | Stage::StagingOut if let Some(moving) = self.stock.moving_for(key) => moving.to_string(),
            Stage::StagingIn => format!("its inputs are being brought to `{name}`"),
            Stage::Waiting => match self.reasons.get(&key) {
                Some(reason) => format!("it waits in the queue of `{name}`: {reason}"),
                None => format!("it waits in the queue of `{name}`"),
            },
            Stage::Running => format!("it runs on `{name}`"),
            Stage::StagingOut => format!("its outputs are being fetched from `{name}`"),
            // Asked, and unknown; or asked of an engine that was started just now.
            Stage::Lost => match self.reasons.get(&key) {
                Some(why) => format!(
                    "nobody knows what became of it on `{name}`: {why}; `csync cancel` gives it up, `csync retry --lost` runs it again"
                ),
                None => format!("there is no contact with `{name}`"),
            },
        }
    }

    /// Says in words why nothing goes to any of these hosts; none when one of them can be used.
    pub(super) fn closed_in_words(&self, route: &[HostId]) -> Option<String> {
        let why = |host: &HostId| {
            let why = self.contacts.get(host)?.in_words()?;
            Some(format!("`{}` cannot be used: {why}", self.name(*host)))
        };
        let whys: Option<Vec<String>> = route.iter().map(why).collect();
        whys.filter(|whys| !whys.is_empty()).map(|whys| whys.join("; "))
    }

    /// Returns how we stand with the hosts at work.
    pub(super) fn contacts(&self) -> BTreeMap<HostId, Contact> {
        self.contacts.iter().map(|(&host, contact)| (host, contact.clone())).collect()
    }

    fn breaker(&self, host: HostId) -> Option<&Breaker> {
        self.contacts.get(&host).map(|contact| &contact.breaker)
    }

    fn set_breaker(&mut self, host: HostId, breaker: Breaker) {
        if let Some(contact) = self.contacts.get_mut(&host) {
            contact.login = contact.login.take().filter(|login| match &breaker {
                Breaker::Closed => false,
                // While it is being tried it still waits for the same; another trouble is not mended by a login.
                Breaker::Open { why, .. } | Breaker::HalfOpen { why, .. } => why.ends_with(login.as_str()),
            });
            contact.breaker = breaker;
        }
    }

    /// Returns those of these hosts that wait for a login.
    pub(super) fn logins(&self, of: &BTreeSet<HostId>) -> Vec<LoginWanted> {
        let wanted = of.iter().filter_map(|host| self.contacts.get(host));
        wanted
            .filter_map(|contact| Some(LoginWanted { host: contact.host.clone(), why: contact.login.clone()? }))
            .collect()
    }

    /// Tries a host again now.
    pub(super) fn try_again(&self, name: &str) {
        let of = self.contacts.iter().filter(|(_, contact)| contact.host.as_str() == name);
        for site in of.filter_map(|(host, _)| self.site(*host)) {
            site.tell(Order::Try);
        }
    }

    /// Uses the agent of a person who submits, where the engine has none that lives; hosts that could not be used are tried again.
    pub(super) fn offer_agent(&self, agent: Option<&str>) {
        if agent.is_some_and(|agent| self.stock.offer_agent(agent)) {
            let shut = self.contacts.iter().filter(|(_, contact)| contact.breaker != Breaker::Closed);
            for site in shut.filter_map(|(host, _)| self.site(*host)) {
                site.tell(Order::Try);
            }
        }
    }

    /// Says in words which of these hosts cannot be used now, but for those that wait for a login.
    pub(super) fn away(&self, of: &BTreeSet<HostId>) -> Vec<String> {
        let known = |host: &&HostId| self.contacts.get(host).is_some_and(|contact| contact.login.is_none());
        of.iter().filter(known).filter_map(|&host| self.closed_in_words(&[host])).collect()
    }

    /// Returns the site of a host.
    pub(super) fn site(&self, host: HostId) -> Option<&Site> {
        self.at_work.get(&host)
    }

    /// Sets hosts to work that places name and that are not at work yet, and those anew whose configuration changed; returns them,
    /// with their room. Nothing is connected before there is something to do.
    pub(super) fn start(
        &mut self,
        places: &Places,
        hosts: &Hosts,
        facts: &BTreeMap<HostName, Facts>,
        dir: Option<&ConfigDir>,
        state: &StateDir,
    ) -> Vec<(HostId, Capacity, Arc<Limits>)> {
        let mut started = Vec::new();
        if !places.lists.is_empty() || self.stock.needs_hosts() {
            self.stock.know(hosts);
            self.stock.connections(|| connection_settings(state));
        }
        for name in places.lists.iter().flatten().filter(|name| !name.is_local()) {
            if let Some(host) = hosts.get(name.as_str()) {
                let known = Known { host: host.clone(), facts: facts.get(name).cloned(), dir: dir.cloned() };
                started.extend(self.start_one(known, state));
            }
        }
        started
    }

    /// Sets a host to work, unless it is at work as it is configured.
    fn start_one(&mut self, known: Known, state: &StateDir) -> Option<(HostId, Capacity, Arc<Limits>)> {
        let number = self.number(&known.host.name);
        // Where nobody knows how jobs are started, none is: not even for a run that was taken in when somebody did.
        if known.host.batch.is_none() || self.known.get(&number) == Some(&known) {
            return None;
        }
        let means = self.means(number, &known, state);
        let (room, limits) = (means.room, Arc::clone(&means.limits));
        if let Some(site) = self.at_work.get(&number) {
            site.tell(Order::Configure(Box::new(means)));
        } else {
            self.at_work.insert(number, Site::start(means));
            let host = known.host.name.clone();
            self.contacts.insert(number, Contact { host, breaker: Breaker::Closed, full: None, jobs: 0, login: None });
        }
        self.known.insert(number, known);
        Some((number, room, limits))
    }

    fn means(&mut self, number: HostId, known: &Known, state: &StateDir) -> Means {
        let Known { host, facts, dir } = known;
        let facts = facts.as_ref();
        let connections = self.stock.connections(|| connection_settings(state));
        // A person may know better what a host is than the probe did.
        let flavour = host.batch.and_then(BatchKind::flavour);
        let system = facts.and_then(|facts| facts.batch.as_ref());
        let system = system.filter(|system| Some(system.flavour()) == flavour);
        Means {
            host: host.clone(),
            dialect: dialect(host, facts),
            prelude: system.map(prelude).unwrap_or_default(),
            room: room(host, facts),
            limits: Arc::new(Limits::of(host, facts)),
            nodes: Seen::of(facts),
            cores: facts.and_then(|facts| facts.machine.cores).unwrap_or(1),
            file: dir.as_ref().map(ConfigDir::hosts_file),
            connections,
            stock: Arc::clone(&self.stock),
            state: state.clone(),
            reporter: Reporter::new(number, self.to.clone()),
        }
    }

    /// Reads the configuration of a host again. One that is not named any more is followed as it was.
    fn reload(&mut self, host: HostId, state: &StateDir) -> Option<(HostId, Capacity, Arc<Limits>)> {
        let before = self.known.get(&host)?;
        let facts: BTreeMap<HostName, Facts> =
            before.facts.iter().map(|facts| (before.host.name.clone(), facts.clone())).collect();
        let hosts = match HostsConfig::load(before.dir.as_ref()?) {
            Ok(config) => config.hosts(&facts),
            Err(error) => {
                tracing::warn!(%error, "hosts.toml was changed and cannot be used; what it said before holds on");
                return None;
            }
        };
        self.stock.know(&hosts);
        hosts_changed(state);
        let known = Known { host: hosts.get(before.host.name.as_str())?.clone(), ..before.clone() };
        self.start_one(known, state)
    }
}

/// Returns how hosts are reached, as this process's environment says.
pub(super) fn connection_settings(state: &StateDir) -> ConnectionSettings {
    let mut settings = ConnectionSettings::from_env(|name| std::env::var_os(name), state.ssh_dir());
    settings.clusters = state.clusters_dir();
    // A host that commands beside this engine took the budget of is as well as before: it is waited for.
    let waits = Waits::before_commands(|host, wait, reason| tracing::info!(host, ?wait, reason, "a connection waits"));
    settings.budgets = Budgets { dir: Some(state.connections_dir()), waits: Some(waits) };
    settings.ssh.config = std::env::var_os("CSYNC_SSH_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    settings
}

/// What a host has of the engine before; see [`Order::Adopt`].
type Kept = (Vec<Sent>, Vec<SiteJob>, Vec<JobKey>);

impl Runner {
    /// Sets hosts to work that places name, and says so to the core: what may run there does not go elsewhere meanwhile.
    pub(super) fn start_sites(
        &mut self,
        places: &Places,
        hosts: &Hosts,
        facts: &BTreeMap<HostName, Facts>,
        dir: Option<&ConfigDir>,
    ) {
        let started = self.sites.start(places, hosts, facts, dir, &self.state);
        self.tell_rooms(started);
    }

    fn tell_rooms(&mut self, started: impl IntoIterator<Item = (HostId, Capacity, Arc<Limits>)>) {
        for (host, room, limits) in started {
            self.tell_or_log(Event::Limits(host, limits));
            self.tell_or_log(Event::Room(host, room));
        }
    }

    /// Hands attempts over to their hosts.
    pub(super) fn start_there(
        &mut self,
        starts: Vec<(HostId, JobKey, Grant, Option<Box<str>>)>,
        mut behind: HashMap<JobKey, Vec<JobKey>>,
    ) {
        let mut orders: HashMap<HostId, Vec<SiteJob>> = HashMap::new();
        for (host, key, grant, partition) in starts {
            let job = self.site_job(key, grant);
            let after = behind.remove(&key).unwrap_or_default();
            orders.entry(host).or_default().extend(job.map(|job| SiteJob {
                ahead: !after.is_empty(),
                after,
                partition,
                ..job
            }));
        }
        for (host, jobs) in orders {
            if let Some(site) = self.sites.site(host) {
                site.tell(Order::Start(jobs));
            }
        }
    }

    fn site_job(&self, key: JobKey, grant: Grant) -> Option<SiteJob> {
        let (run, care) = self.view(key.run)?;
        let mut secrets = Vec::new();
        care.means.give_secrets(run.plan().task_of(key.instance), &mut secrets);
        let plan = Arc::clone(run.plan());
        Some(SiteJob {
            key,
            grant,
            plan,
            secrets,
            after: Vec::new(),
            behind: Vec::new(),
            ahead: false,
            partition: None,
        })
    }

    /// Tells hosts to end attempts, or to drop what has not started.
    pub(super) fn stop_there(&self, keys: Vec<(HostId, JobKey)>, order: fn(Vec<JobKey>) -> Order) {
        let mut orders: HashMap<HostId, Vec<JobKey>> = HashMap::new();
        for (host, key) in keys {
            orders.entry(host).or_default().push(key);
        }
        for (host, keys) in orders {
            if let Some(site) = self.sites.site(host) {
                site.tell(order(keys));
            }
        }
    }

    /// Hands to the sites what the engine before had sent to their hosts.
    pub(super) fn adopt_there(&mut self, sent: Vec<Sent>, facts: &BTreeMap<HostName, Facts>) {
        let mut orders: HashMap<HostId, Kept> = HashMap::new();
        for sent in sent {
            if let Ok(name) = sent.host.parse::<HostName>() {
                let host = self.sites.number(&name);
                orders.entry(host).or_default().0.push(sent);
            }
        }
        // What this engine hands over itself, as soon as it goes to work, is nothing that hosts could know.
        let anew: HashSet<JobKey> = self.todo.starts_there.iter().map(|(_, key, ..)| *key).collect();
        let there: Vec<_> = self.core.runs().flat_map(|run| run.in_flight_there().collect::<Vec<_>>()).collect();
        for (host, key, grant) in there.into_iter().filter(|(_, key, _)| !anew.contains(key)) {
            let order = orders.entry(host).or_default();
            let is_in =
                |of: fn(&Run, InstanceId) -> bool| self.core.run(key.run).is_some_and(|run| of(run, key.instance));
            let ahead = is_in(Run::may_have_gone_ahead);
            order.1.extend(self.site_job(key, grant).map(|job| SiteJob { ahead, ..job }));
            order.2.extend(is_in(Run::waits_in_vain).then_some(key));
        }
        for (host, (sent, jobs, vain)) in orders {
            self.start_kept(host, facts);
            if let Some(site) = self.sites.site(host) {
                site.tell(Order::Adopt(sent, jobs, vain));
            } else {
                tracing::warn!(host = self.sites.name(host), "jobs are there, and hosts.toml does not name it");
            }
        }
    }

    /// Sets a host to work as it was known last, when `hosts.toml` does not name it any more: what is there is followed to its end.
    fn start_kept(&mut self, host: HostId, facts: &BTreeMap<HostName, Facts>) {
        if self.sites.site(host).is_some() {
            return;
        }
        let Ok(name) = self.sites.name(host).parse::<HostName>() else { return };
        if let Some(kept) = KeptHost::load(&self.state, &name) {
            let known = Known { host: kept.host, facts: facts.get(&name).cloned(), dir: None };
            let started = self.sites.start_one(known, &self.state);
            self.tell_rooms(started);
        }
    }

    /// Has a host bring what an attempt prints; returns whether the attempt is on one.
    pub(super) fn watch_there(&self, key: JobKey, by: Weak<()>, told: oneshot::Sender<()>) -> bool {
        let Some(Given::Host(host)) = self.handed.get(&key) else { return false };
        let site = self.sites.site(*host);
        site.inspect(|site| site.tell(Order::Watch(key, by, Some(told)))).is_some()
    }

    /// Takes in what a site learned of files and links.
    fn hear_data(&mut self, facts: Vec<DataFact>) {
        for fact in &facts {
            if let DataFact::Rate(rate) = fact {
                let (from, to) = (self.sites.number(&rate.source), self.sites.number(&rate.target));
                self.tell_or_log(Event::Rate(from, to, rate.rate));
            }
        }
        self.batch.data(facts);
    }

    /// Takes in what a site reports.
    pub(super) fn hear_site(&mut self, host: HostId, news: SiteNews) {
        match news {
            SiteNews::Opened(room) => {
                self.sites.set_breaker(host, Breaker::Closed);
                self.mark_all_changed();
                self.tell_or_log(Event::Room(host, room));
                self.tell_or_log(Event::Opened(host));
            }
            SiteNews::Shut(why, next_try) => {
                let since = self.sites.breaker(host).and_then(Breaker::since).unwrap_or_else(clock::now);
                self.sites.set_breaker(host, Breaker::Open { why, since, next_try });
                self.mark_all_changed();
                self.tell_or_log(Event::Shut(host));
            }
            SiteNews::Edited => {
                let reloaded = self.sites.reload(host, &self.state);
                self.tell_rooms(reloaded);
            }
            SiteNews::NeedsLogin(why) => {
                if let Some(contact) = self.sites.contacts.get_mut(&host) {
                    contact.login = Some(why);
                }
                self.mark_all_changed();
            }
            SiteNews::Trying => {
                if let Some(Breaker::Open { why, since, .. }) = self.sites.breaker(host).cloned() {
                    self.sites.set_breaker(host, Breaker::HalfOpen { why, since });
                }
            }
            SiteNews::Room(room, full) => {
                if let Some(contact) = self.sites.contacts.get_mut(&host) {
                    contact.full = full;
                }
                self.tell_or_log(Event::Room(host, room));
            }
            SiteNews::Staged(key, stage) => {
                self.mark_changed(key.run);
                self.tell_or_log(Event::Staged(key, stage));
            }
            SiteNews::Reasons(reasons) => {
                for (key, reason) in reasons {
                    match reason {
                        Some(reason) => drop(self.sites.reasons.insert(key, reason)),
                        None => drop(self.sites.reasons.remove(&key)),
                    }
                }
            }
            SiteNews::Expected(expected) => {
                for (key, at) in expected {
                    self.tell_or_log(Event::Expected(key, at));
                }
            }
            SiteNews::Idle(idle, at) => self.tell_or_log(Event::Idle(host, idle, at)),
            SiteNews::Started(key, at) => {
                self.sites.reasons.remove(&key);
                self.mark_changed(key.run);
                self.tell_or_log(Event::Started(key, at));
            }
            SiteNews::Ended(ended) => {
                self.sites.reasons.remove(&ended.key);
                self.tell_or_log(Event::Ended(ended));
            }
            SiteNews::Adopted(key, how) => {
                self.mark_changed(key.run);
                self.tell_or_log(Event::Adopted(key, how));
            }
            SiteNews::Intend(sent, written) => {
                self.batch.sent(&sent);
                // Answered when it is on disk.
                self.after_commit(move || {
                    written.send(()).ok();
                });
            }
            SiteNews::Known(sent) => self.batch.sent(&sent),
            SiteNews::Closed(name) => self.batch.closed(&name),
            SiteNews::Moving(runs) => runs.into_iter().for_each(|run| self.mark_changed(run)),
            SiteNews::Data(facts) => self.hear_data(facts),
            SiteNews::Nodes(_) => {}
        }
    }
}
