//! The runner and the hosts that jobs are handed over to: their numbers, their sites, and what those report.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::decide::engine::limits::{Limits, room};
use crate::decide::engine::protocol::{Capacity, Event, Routes, Stage};
use crate::language::hosts::Hosts;
use crate::model::api::{Breaker, Contact, Full};
use crate::model::facts::Facts;
use crate::model::host::{Batch as BatchKind, Host, HostName};
use crate::model::id::{HostId, JobKey};
use crate::model::resources::Grant;
use crate::reach::clock;
use crate::reach::config::StateDir;
use crate::reach::store::Sent;
use crate::reach::transport::{ConnectionSettings, Connections};
use crate::serve::engine::runner::Runner;
use crate::serve::prepare::places::Places;
use crate::serve::site::{Means, Order, Reporter, Site, SiteJob, SiteNews, dialect, prelude};

/// News of sites that wait for the runner.
const MOST_NEWS: usize = 1024;

/// The hosts, numbered as the core knows them.
#[derive(Debug)]
pub(super) struct Sites {
    /// By number; the first is this machine.
    names: Vec<HostName>,
    numbers: HashMap<HostName, HostId>,
    at_work: HashMap<HostId, Site>,
    /// How we stand with those that are at work.
    contacts: HashMap<HostId, Contact>,
    connections: Option<Arc<Connections>>,
    to: mpsc::Sender<(HostId, SiteNews)>,
    pub(super) news: mpsc::Receiver<(HostId, SiteNews)>,
}

impl Default for Sites {
    fn default() -> Self {
        let (to, news) = mpsc::channel(MOST_NEWS);
        let names = vec![HostName::local()];
        let numbers = HashMap::from([(HostName::local(), HostId::LOCAL)]);
        Self { names, numbers, at_work: HashMap::new(), contacts: HashMap::new(), connections: None, to, news }
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

    /// Returns a host's name.
    pub(super) fn name(&self, host: HostId) -> &str {
        self.names.get(host.index()).map_or("", HostName::as_str)
    }

    /// Returns where tasks may run as the core knows it.
    pub(super) fn routes(&mut self, places: &Places) -> Routes {
        let lists: Vec<Vec<HostId>> =
            places.lists.iter().map(|list| list.iter().map(|name| self.number(name)).collect()).collect();
        Routes::new(places.of_task.iter().map(|&list| lists.get(usize::from(list)).cloned().unwrap_or_default()))
    }

    /// Says in words where an attempt on a host stands.
    pub(super) fn in_words(&self, host: HostId, stage: Stage) -> String {
        let name = self.name(host);
        let contact = self.contacts.get(&host);
        if let Some(why) = contact.and_then(|contact| contact.breaker.in_words()) {
            return format!("there is no contact with `{name}`: {why}");
        }
        if let (Stage::Given, Some(full)) = (stage, contact.and_then(|contact| contact.full.as_ref())) {
            let Full { why, next_try, .. } = full;
            return format!("`{name}` takes no more jobs now ({why}); more are tried as jobs end, or at {next_try}");
        }
        match stage {
            Stage::Given => format!("it is about to be sent to `{name}`"),
            Stage::StagingIn => format!("its inputs are being brought to `{name}`"),
            Stage::Waiting => format!("it waits in the queue of `{name}`"),
            Stage::Running => format!("it runs on `{name}`"),
            Stage::StagingOut => format!("its outputs are being fetched from `{name}`"),
            Stage::Lost => format!("there is no contact with `{name}`"),
        }
    }

    /// Says in words why nothing goes to any of these hosts; none when one of them can be used.
    pub(super) fn closed_in_words(&self, route: &[HostId]) -> Option<String> {
        let why = |host: &HostId| {
            let why = self.contacts.get(host)?.breaker.in_words()?;
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
            contact.breaker = breaker;
        }
    }

    /// Returns the site of a host.
    pub(super) fn site(&self, host: HostId) -> Option<&Site> {
        self.at_work.get(&host)
    }

    /// Sets hosts to work that places name and that are not at work yet; returns them, with their room. Nothing is connected before
    /// there is something to do.
    pub(super) fn start(
        &mut self,
        places: &Places,
        hosts: &Hosts,
        facts: &BTreeMap<HostName, Facts>,
        state: &StateDir,
    ) -> Vec<(HostId, Capacity, Arc<Limits>)> {
        let mut started = Vec::new();
        for name in places.lists.iter().flatten().filter(|name| !name.is_local()) {
            if let Some(host) = hosts.get(name.as_str()) {
                started.extend(self.start_one(host, facts.get(name), state));
            }
        }
        started
    }

    /// Sets a host to work, unless it is at work.
    fn start_one(
        &mut self,
        host: &Host,
        facts: Option<&Facts>,
        state: &StateDir,
    ) -> Option<(HostId, Capacity, Arc<Limits>)> {
        let number = self.number(&host.name);
        // Where nobody knows how jobs are started, none is: not even for a run that was taken in when somebody did.
        if host.batch.is_none() || self.at_work.contains_key(&number) {
            return None;
        }
        let connections = self.connections.get_or_insert_with(|| {
            let mut settings = ConnectionSettings::from_env(|name| std::env::var_os(name), state.ssh_dir());
            settings.ssh.config =
                std::env::var_os("CSYNC_SSH_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
            Arc::new(Connections::new(settings))
        });
        let (room, limits) = (room(host, facts), Arc::new(Limits::of(host, facts)));
        // A person may know better what a host is than the probe did.
        let known = facts.and_then(|facts| facts.batch.as_ref());
        let known = known.filter(|system| Some(system.flavour()) == host.batch.and_then(BatchKind::flavour));
        let site = Site::start(Means {
            host: host.clone(),
            dialect: dialect(host, facts),
            prelude: known.map(prelude).unwrap_or_default(),
            room,
            limits: Arc::clone(&limits),
            cores: facts.and_then(|facts| facts.machine.cores).unwrap_or(1),
            connections: Arc::clone(connections),
            state: state.clone(),
            reporter: Reporter::new(number, self.to.clone()),
        });
        self.at_work.insert(number, site);
        self.contacts
            .insert(number, Contact { host: host.name.clone(), breaker: Breaker::Closed, full: None, jobs: 0 });
        Some((number, room, limits))
    }
}

impl Runner {
    /// Sets hosts to work that places name, and says so to the core: what may run there does not go elsewhere meanwhile.
    pub(super) fn start_sites(&mut self, places: &Places, hosts: &Hosts, facts: &BTreeMap<HostName, Facts>) {
        for (host, room, limits) in self.sites.start(places, hosts, facts, &self.state) {
            self.tell_or_log(Event::Limits(host, limits));
            self.tell_or_log(Event::Room(host, room));
        }
    }

    /// Hands attempts over to their hosts.
    pub(super) fn start_there(&mut self, starts: Vec<(HostId, JobKey, Grant)>) {
        let mut orders: HashMap<HostId, Vec<SiteJob>> = HashMap::new();
        for (host, key, grant) in starts {
            orders.entry(host).or_default().extend(self.site_job(key, grant));
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
        Some(SiteJob { key, grant, plan: Arc::clone(run.plan()), secrets })
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
    pub(super) fn adopt_there(&mut self, sent: Vec<Sent>) {
        let mut orders: HashMap<HostId, (Vec<Sent>, Vec<SiteJob>)> = HashMap::new();
        for sent in sent {
            if let Ok(name) = sent.host.parse::<HostName>() {
                let host = self.sites.number(&name);
                orders.entry(host).or_default().0.push(sent);
            }
        }
        let there: Vec<_> = self.core.runs().flat_map(|run| run.in_flight_there().collect::<Vec<_>>()).collect();
        for (host, key, grant) in there {
            orders.entry(host).or_default().1.extend(self.site_job(key, grant));
        }
        for (host, (sent, jobs)) in orders {
            if let Some(site) = self.sites.site(host) {
                site.tell(Order::Adopt(sent, jobs));
            } else {
                tracing::warn!(host = self.sites.name(host), "jobs are there, and hosts.toml does not name it");
            }
        }
    }

    /// Takes in what a site reports.
    pub(super) fn hear_site(&mut self, host: HostId, news: SiteNews) {
        match news {
            SiteNews::Opened(room) => {
                self.sites.set_breaker(host, Breaker::Closed);
                self.tell_or_log(Event::Room(host, room));
                self.tell_or_log(Event::Opened(host));
            }
            SiteNews::Shut(why, next_try) => {
                let since = self.sites.breaker(host).and_then(Breaker::since).unwrap_or_else(clock::now);
                self.sites.set_breaker(host, Breaker::Open { why, since, next_try });
                self.tell_or_log(Event::Shut(host));
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
            SiteNews::Started(key, at) => {
                self.mark_changed(key.run);
                self.tell_or_log(Event::Started(key, at));
            }
            SiteNews::Ended(ended) => self.tell_or_log(Event::Ended(ended)),
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
        }
    }
}
