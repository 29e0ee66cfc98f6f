//! The connections of all hosts: one each, shared by everybody; jump hosts' connections are shared by the hosts behind them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::process::Command;

use crate::language::ssh::config::resolve;
use crate::language::ssh::known_hosts::is_match;
use crate::language::ssh::support::{Circumstances, unsupported};
use crate::language::ssh::trouble::last_words;
use crate::language::ssh::{Destination, Hop, Options, Person};
use crate::model::host::{Host, HostName, Simulated};
use crate::reach::transport::kerberos::Kerberos;
use crate::reach::transport::native::hardware_key;
use crate::reach::transport::{
    Attended, Budget, Budgets, Keyring, Lender, Limits, LinkState, Local, Member, Native, NativeSettings, OpenSsh,
    Remote, SshSettings, Transport, TransportError, simulated,
};

/// Longest chain of jump hosts.
const JUMPS: usize = 8;

/// How long `ssh -G` may take: a `Match exec` runs a command.
const READING: Duration = Duration::from_secs(20);

/// How hosts are reached.
#[derive(Clone, Debug)]
pub struct ConnectionSettings {
    /// How `ssh` is used.
    pub ssh: SshSettings,
    /// Where simulated clusters lie, each in a directory of its name.
    pub clusters: PathBuf,
    /// How this program's own SSH is used.
    pub native: NativeSettings,
    /// Whose configuration it is.
    pub person: Person,
    /// The socket of the person's agent.
    pub agent: Option<String>,
    /// Where a Kerberos ticket would be, which decides about the member.
    pub kerberos: Kerberos,
    /// The variables that are set here.
    pub variables: fn() -> Vec<(String, String)>,
    /// The member for every host, whatever is configured.
    pub member: Option<Member>,
    /// How many connections hosts get from all processes of the person.
    pub budgets: Budgets,
}

impl ConnectionSettings {
    /// Makes the usual settings from environment variables; control sockets go to a directory of ours alone.
    pub fn from_env(var: impl Fn(&str) -> Option<OsString>, sockets: PathBuf) -> Self {
        let text = |name: &str| var(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty());
        let uid = rustix::process::getuid().as_raw();
        Self {
            clusters: sockets.with_file_name("simulated"),
            ssh: SshSettings { agent: text("SSH_AUTH_SOCK"), ..SshSettings::new(sockets) },
            native: NativeSettings::default(),
            person: Person {
                home: text("HOME").unwrap_or_default(),
                user: text("USER").or_else(|| text("LOGNAME")).unwrap_or_default(),
                uid,
            },
            agent: text("SSH_AUTH_SOCK"),
            kerberos: Kerberos::new(text("KRB5CCNAME"), text("KRB5_CONFIG"), uid),
            variables: || {
                let text =
                    |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
                std::env::vars_os().filter_map(text).collect()
            },
            member: None,
            budgets: Budgets::default(),
        }
    }
}

/// How a host is reached, and why so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The member.
    pub member: Member,
    /// Why this one, in words.
    pub reason: String,
    /// The hosts on the way, the host itself last.
    pub way: Vec<Step>,
}

/// One host on a way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name in the configuration.
    pub destination: Destination,
    /// What is configured for it.
    pub options: Options,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.options.get("user").unwrap_or_default();
        write!(f, "{user}@{}:{}", self.options.host_name().unwrap_or(self.destination.host()), self.options.port())
    }
}

/// The way to a host by the system's `ssh`.
#[derive(Clone, Debug)]
pub struct Road {
    /// The way.
    pub ssh: Arc<OpenSsh>,
    /// Who we are there.
    pub user: Option<String>,
}

/// The connections of all hosts.
#[derive(Debug)]
pub struct Connections {
    settings: ConnectionSettings,
    hosts: Mutex<BTreeMap<HostName, Known>>,
    /// Ways by the hosts on them; held while a host becomes known.
    ways: tokio::sync::Mutex<Ways>,
    /// The person's agent.
    agent: Mutex<Agent>,
    /// The simulated clusters that were asked for, as they are configured.
    simulated: Mutex<BTreeMap<HostName, (Simulated, Remote)>>,
}

/// The agent that is asked for keys.
#[derive(Debug, Default)]
struct Agent {
    /// Its socket.
    socket: Option<String>,
    /// How many there were before it.
    nth: u32,
}

#[derive(Clone, Debug)]
struct Known {
    destination: Destination,
    remote: Remote,
    member: Member,
    socket: Option<PathBuf>,
    /// Which agent it is asked with.
    agent: u32,
    /// Those of its jump hosts that were asked with an earlier one, and need none as long as they are connected.
    earlier: Vec<Remote>,
}

/// Ways that became known.
#[derive(Debug, Default)]
struct Ways {
    openssh: BTreeMap<String, Made<OpenSsh>>,
    native: BTreeMap<String, Made<Native>>,
    defaults: Option<Options>,
}

/// A way by one member.
#[derive(Debug)]
struct Made<T> {
    /// Which agent it is asked with.
    agent: u32,
    /// What carries it.
    below: Option<Arc<T>>,
    way: Arc<T>,
}

impl<T> Clone for Made<T> {
    fn clone(&self) -> Self {
        Self { agent: self.agent, below: self.below.clone(), way: Arc::clone(&self.way) }
    }
}

impl<T> Made<T> {
    /// Returns whether it is gone on with where the agent is that one: a way that is open needs none, and one that another carries now
    /// would ask the former to carry it.
    fn is_current(&self, agent: u32, below: Option<&Arc<T>>, is_open: impl Fn(&Arc<T>) -> bool) -> bool {
        let same = self.below.as_ref().map(Arc::as_ptr) == below.map(Arc::as_ptr);
        is_open(&self.way) || (same && self.agent == agent)
    }
}

impl Connections {
    /// Makes connections to nothing yet.
    pub fn new(settings: ConnectionSettings) -> Self {
        let agent = Mutex::new(Agent { socket: settings.agent.clone(), nth: 0 });
        Self {
            settings,
            hosts: Mutex::default(),
            ways: tokio::sync::Mutex::default(),
            agent,
            simulated: Mutex::default(),
        }
    }

    /// Uses another agent where there is none, or the one that there was is gone; returns whether it does. Hosts that are not
    /// connected are asked with it from then on.
    pub fn offer_agent(&self, socket: &str) -> bool {
        let is_socket = |path: &str| std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
        let mut agent = self.agent.lock().unwrap_or_else(PoisonError::into_inner);
        if agent.socket.as_deref().is_some_and(is_socket) || !is_socket(socket) {
            return false;
        }
        *agent = Agent { socket: Some(socket.to_owned()), nth: agent.nth + 1 };
        drop(agent);
        // A way that is being connected has just failed, or is about to: its host becomes known again all the same. Ways are made anew
        // when they are looked for: somebody may be asking `ssh` for one now, which takes long, and hold them all.
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.retain(|_, known| is_open(&known.remote));
        true
    }

    fn agent(&self) -> Option<String> {
        self.agent.lock().unwrap_or_else(PoisonError::into_inner).socket.clone()
    }

    fn nth_agent(&self) -> u32 {
        self.agent.lock().unwrap_or_else(PoisonError::into_inner).nth
    }

    /// Returns the way to a host as it is configured; nothing is connected.
    ///
    /// # Errors
    /// What is wrong with its configuration.
    pub async fn to(&self, host: &Host) -> Result<Remote, TransportError> {
        if let Some(settings) = host.simulated {
            return Ok(self.to_simulated(&host.name, settings));
        }
        let limits = Limits { per_minute: host.policy.connections_per_minute, ..Limits::default() };
        // A host without a name in ssh's configuration is this machine under another name.
        let way = match &host.ssh {
            Some(alias) => self.transport(&host.name, alias.as_str(), limits).await?,
            None => self.transport(&HostName::local(), HostName::LOCAL, limits).await?,
        };
        Ok(way.called(host.name.as_str()))
    }

    fn to_simulated(&self, name: &HostName, settings: Simulated) -> Remote {
        let mut simulated = self.simulated.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, remote)) = simulated.get(name).filter(|(known, _)| *known == settings) {
            return remote.clone();
        }
        let dir = self.settings.clusters.join(name.as_str());
        let remote = simulated::Simulated::transport(name.clone(), dir, settings);
        simulated.insert(name.clone(), (settings, remote.clone()));
        remote
    }

    /// Returns the way to a host, by its name in `ssh_config`; nothing is connected. `local` is this machine.
    ///
    /// # Errors
    /// What is wrong with the name or the configuration.
    pub async fn transport(&self, host: &HostName, alias: &str, limits: Limits) -> Result<Remote, TransportError> {
        if let Some(known) = self.known(host).filter(|known| known.is_of(alias)) {
            return Ok(known.remote);
        }
        let mut ways = self.ways.lock().await;
        if let Some(known) = self.known(host).filter(|known| known.is_of(alias)) {
            return Ok(known.remote);
        }
        let destination: Destination = if host.is_local() { HostName::LOCAL.parse()? } else { alias.parse()? };
        let known = if host.is_local() {
            let agent = self.nth_agent();
            Known {
                destination,
                remote: Local::transport(),
                member: Member::Local,
                socket: None,
                agent,
                earlier: Vec::new(),
            }
        } else {
            let choice = self.choose_among(&mut ways, &destination).await?;
            self.know(&mut ways, host, &choice, limits)?
        };
        let remote = known.remote.clone();
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).insert(host.clone(), known);
        Ok(remote)
    }

    /// Returns the way to a host by the system's `ssh`, whatever member commands go by: for what a person does there.
    ///
    /// # Errors
    /// What is wrong with the name or the configuration.
    pub async fn road(&self, host: &HostName, alias: &str, limits: Limits) -> Result<Road, TransportError> {
        let mut ways = self.ways.lock().await;
        let choice = self.choose_among(&mut ways, &alias.parse()?).await?;
        let user = choice.way.last().and_then(|step| step.options.get("user")).map(str::to_owned);
        Ok(Road { ssh: self.openssh(&mut ways, host, &choice.way, limits)?.0, user })
    }

    /// Returns who lends one host the keys of this machine for another, over a connection of the system's `ssh`; nothing is
    /// connected.
    ///
    /// # Errors
    /// What is wrong with the names or the configuration.
    pub async fn lender(
        &self,
        from: &HostName,
        alias: &str,
        limits: Limits,
        to: &str,
    ) -> Result<Lender, TransportError> {
        let mut ways = self.ways.lock().await;
        let near = self.choose_among(&mut ways, &alias.parse()?).await?.way;
        let far = self.choose_among(&mut ways, &to.parse()?).await?.way;
        let hop = |way: &[Step], name: &str| {
            let step = way.last().ok_or_else(|| unusable(name, "it has no way".to_owned()))?;
            self.hop(step).map_err(|detail| unusable(name, detail))
        };
        let (holder, target) = (hop(&near, alias)?, hop(&far, to)?);
        Lender::new(self.openssh(&mut ways, from, &near, limits)?.0, holder, target)
    }

    /// Says by which member a host is reached, and why.
    ///
    /// # Errors
    /// What is wrong with the name or the configuration.
    pub async fn choose(&self, alias: &str) -> Result<Choice, TransportError> {
        let mut ways = self.ways.lock().await;
        self.choose_among(&mut ways, &alias.parse()?).await
    }

    /// Returns how the ways are to the hosts that were asked for.
    pub fn states(&self) -> BTreeMap<HostName, LinkState> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.iter().map(|(host, known)| (host.clone(), known.remote.link_state())).collect()
    }

    /// Closes all connections.
    pub async fn close(&self) {
        let hosts = std::mem::take(&mut *self.hosts.lock().unwrap_or_else(PoisonError::into_inner));
        for known in hosts.into_values() {
            known.remote.close().await;
        }
        let ways = std::mem::take(&mut *self.ways.lock().await);
        for known in ways.openssh.into_values() {
            known.way.transport().close().await;
        }
        for known in ways.native.into_values() {
            known.way.transport().close().await;
        }
    }

    fn known(&self, host: &HostName) -> Option<Known> {
        let known = self.hosts.lock().unwrap_or_else(PoisonError::into_inner).get(host).cloned()?;
        // Somebody logged in through `ssh` since this one was refused: that connection is the one to use.
        let logged_in = known.member == Member::Russh
            && matches!(known.remote.link_state(), LinkState::NeedsLogin { .. })
            && known.socket.as_ref().is_some_and(|socket| socket.exists());
        // One that became known while another agent was offered: an open connection needs none.
        let is_current =
            is_open(&known.remote) || (known.agent == self.nth_agent() && known.earlier.iter().all(is_open));
        (!logged_in && is_current).then_some(known)
    }

    fn know(&self, ways: &mut Ways, host: &HostName, choice: &Choice, limits: Limits) -> Result<Known, TransportError> {
        // Before any way is made: one that is offered from now on is the next.
        let agent = self.nth_agent();
        let destination = choice.way.last().map(|step| step.destination.clone());
        let destination = destination.ok_or_else(|| unusable(host.as_str(), "it has no way".to_owned()))?;
        let (openssh, jumps) = self.openssh(ways, host, &choice.way, limits)?;
        let socket = Some(openssh.socket().to_owned());
        let (remote, earlier) = match choice.member {
            Member::Russh => {
                let (native, jumps) = self.native(ways, host, &choice.way, limits)?;
                (native.transport(), jumps.into_iter().map(Native::transport).collect())
            }
            Member::OpenSsh | Member::Local | Member::Simulated => {
                (openssh.transport(), jumps.into_iter().map(OpenSsh::transport).collect())
            }
        };
        Ok(Known { destination, remote, member: choice.member, socket, agent, earlier })
    }

    /// Returns the way to a host, and those of its jump hosts that are asked with an earlier agent.
    fn openssh(
        &self,
        ways: &mut Ways,
        host: &HostName,
        steps: &[Step],
        limits: Limits,
    ) -> Result<(Arc<OpenSsh>, Vec<Arc<OpenSsh>>), TransportError> {
        let nth = self.nth_agent();
        let (mut below, mut earlier): (Option<Arc<OpenSsh>>, _) = (None, Vec::new());
        let mut key = String::new();
        for (number, step) in steps.iter().enumerate() {
            let (name, limits) = self.named(host, steps, number, limits);
            key = format!("{key},{}", step.destination);
            let is_current = |known: &&Made<OpenSsh>| {
                known.is_current(nth, below.as_ref(), |way| is_open(&Arc::clone(way).transport()))
            };
            let known = if let Some(known) = ways.openssh.get(&key).filter(is_current) {
                known.clone()
            } else {
                let budget = self.budget(step);
                let (agent, keyring) = (self.agent(), self.keyring(step));
                let settings = SshSettings { limits, keyring, agent, budget, ..self.settings.ssh.clone() }
                    .with_options(&step.options);
                let way = OpenSsh::new(name, step.destination.clone(), below.clone(), settings)?;
                Made { agent: nth, below, way }
            };
            ways.openssh.insert(key.clone(), known.clone());
            if known.agent != nth && number + 1 < steps.len() {
                earlier.push(Arc::clone(&known.way));
            }
            below = Some(known.way);
        }
        let way = below.ok_or_else(|| unusable(host.as_str(), "it has no way".to_owned()))?;
        Ok((way, earlier))
    }

    /// Likewise.
    fn native(
        &self,
        ways: &mut Ways,
        host: &HostName,
        steps: &[Step],
        limits: Limits,
    ) -> Result<(Arc<Native>, Vec<Arc<Native>>), TransportError> {
        let nth = self.nth_agent();
        let (mut below, mut earlier): (Option<Arc<Native>>, _) = (None, Vec::new());
        let mut key = String::new();
        for (number, step) in steps.iter().enumerate() {
            let (name, limits) = self.named(host, steps, number, limits);
            key = format!("{key},{}", step.destination);
            let is_current = |known: &&Made<Native>| {
                known.is_current(nth, below.as_ref(), |way| is_open(&Arc::clone(way).transport()))
            };
            let known = if let Some(known) = ways.native.get(&key).filter(is_current) {
                known.clone()
            } else {
                let hop = self.hop(step).map_err(|detail| unusable(&name, detail))?;
                let budget = self.budget(step);
                let settings = NativeSettings { limits, budget, ..self.settings.native.clone() };
                Made { agent: nth, way: Native::new(name, hop, below.clone(), settings), below }
            };
            ways.native.insert(key.clone(), known.clone());
            if known.agent != nth && number + 1 < steps.len() {
                earlier.push(Arc::clone(&known.way));
            }
            below = Some(known.way);
        }
        let way = below.ok_or_else(|| unusable(host.as_str(), "it has no way".to_owned()))?;
        Ok((way, earlier))
    }

    /// Returns the keys that a person unlocks for a step; nothing where nobody is there, or only `ssh` understands what is configured.
    fn keyring(&self, step: &Step) -> Option<Keyring> {
        self.settings.ssh.turns.as_ref().filter(|_| self.settings.ssh.attended == Attended::Terminal)?;
        Keyring::new(&step.options, self.hop(step).ok()?, self.settings.native.unlocked.clone())
    }

    /// Returns the budget of a step, which all names of its address share.
    fn budget(&self, step: &Step) -> Budget {
        let address = step.options.host_name().unwrap_or(step.destination.host());
        self.settings.budgets.of(address, step.options.port())
    }

    /// Returns the name and the limits of a step: the last one is the host itself. A jump host carries as many connections as the
    /// host behind it may get, where those are more than usual.
    fn named(&self, host: &HostName, steps: &[Step], number: usize, limits: Limits) -> (String, Limits) {
        if number + 1 == steps.len() {
            return (host.to_string(), limits);
        }
        let name = steps.get(number).map(|step| step.destination.to_string()).unwrap_or_default();
        let usual = self.settings.ssh.limits;
        (name, Limits { per_minute: usual.per_minute.max(limits.per_minute), ..usual })
    }

    fn hop(&self, step: &Step) -> Result<Hop, String> {
        let here = (self.settings.variables)();
        let agent = match step.options.agent_variable() {
            None | Some("SSH_AUTH_SOCK") => self.agent(),
            Some(name) => here.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()),
        };
        Hop::from_options(&step.options, &self.settings.person, agent.as_deref(), &here)
    }

    async fn choose_among(&self, ways: &mut Ways, destination: &Destination) -> Result<Choice, TransportError> {
        let mut way = Vec::new();
        self.steps(destination, None, 0, &mut way).await?;
        let (member, reason) = match self.settings.member {
            Some(member) => (member, "it was asked for".to_owned()),
            None => match self.why_openssh(ways, &way).await? {
                Some(why) => (Member::OpenSsh, why),
                None => (Member::Russh, "nothing is configured that only OpenSSH can do".to_owned()),
            },
        };
        Ok(Choice { member, reason, way })
    }

    /// Says why the system's `ssh` must reach a host; nothing where it need not.
    async fn why_openssh(&self, ways: &mut Ways, way: &[Step]) -> Result<Option<String>, TransportError> {
        let defaults = if let Some(defaults) = &ways.defaults {
            defaults.clone()
        } else {
            let defaults = self.read(&["-F", "none"], &"localhost".parse()?).await?;
            ways.defaults.insert(defaults).clone()
        };
        let gssapi = way.iter().any(|step| step.options.is_on("gssapiauthentication"));
        let now = Circumstances { kerberos_ticket: gssapi && self.settings.kerberos.has_ticket().await };
        for (number, step) in way.iter().enumerate() {
            let why = unsupported(&step.options, &defaults, now)
                .or_else(|| self.hop(step).map_or_else(Some, |hop| hardware_key(&hop)));
            if let Some(why) = why {
                let jump =
                    if number + 1 < way.len() { format!("jump host {}: ", step.destination) } else { String::new() };
                return Ok(Some(format!("{jump}{why}")));
            }
        }
        let open = way.last().is_some_and(|step| self.settings.ssh.socket(&step.destination).exists());
        Ok(open.then(|| "a connection of `ssh` is open: somebody logged in".to_owned()))
    }

    /// Adds the hosts on the way to a destination, and itself. A `ProxyJump a,b` reaches `b` through `a`, whatever `b`'s own
    /// configuration says, and `a` as `a`'s does.
    async fn steps(
        &self,
        destination: &Destination,
        jumps: Option<&[Destination]>,
        depth: usize,
        way: &mut Vec<Step>,
    ) -> Result<(), TransportError> {
        if depth > JUMPS {
            return Err(unusable(
                &destination.to_string(),
                format!("more than {JUMPS} jump hosts, or a circle of them"),
            ));
        }
        let options = self.read(&[], destination).await?;
        let own = options.jumps()?;
        let before = jumps.unwrap_or(&own);
        if let Some((last, earlier)) = before.split_last() {
            // The first of a list goes its own way.
            let earlier = (!earlier.is_empty()).then_some(earlier);
            Box::pin(self.steps(last, earlier, depth + 1, way)).await?;
        }
        way.push(Step { destination: destination.clone(), options });
        Ok(())
    }

    /// Asks `ssh` what is configured for a destination, which is of plain characters: `Match exec` sees it.
    async fn read(&self, first: &[&str], destination: &Destination) -> Result<Options, TransportError> {
        let settings = &self.settings.ssh;
        let mut command = Command::new(&settings.program);
        command.args(first);
        if let Some(config) = settings.config.as_ref().filter(|_| first.is_empty()) {
            command.arg("-F").arg(config);
        }
        command.arg("-G").args(destination.arguments()).stdin(Stdio::null()).kill_on_drop(true);
        let name = destination.to_string();
        let output = match tokio::time::timeout(READING, command.output()).await {
            Ok(Ok(output)) => output,
            Ok(Err(source)) if source.kind() == std::io::ErrorKind::NotFound => {
                return self.read_without_ssh(destination, first.is_empty());
            }
            Ok(Err(source)) => {
                return Err(TransportError::Program { program: settings.program.display().to_string(), source });
            }
            Err(_) => {
                return Err(unusable(&name, format!("`ssh -G` took longer than {} s", READING.as_secs())));
            }
        };
        if !output.status.success() {
            return Err(unusable(&name, last_words(&String::from_utf8_lossy(&output.stderr))));
        }
        Ok(Options::read(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Reads the configuration where there is no `ssh`; or what holds without any.
    fn read_without_ssh(&self, destination: &Destination, configured: bool) -> Result<Options, TransportError> {
        let person = &self.settings.person;
        let home = format!("{}/.ssh", person.home);
        let files: Vec<String> = match (&self.settings.ssh.config, configured) {
            (_, false) => Vec::new(),
            (Some(config), true) => vec![config.display().to_string()],
            (None, true) => vec![format!("{home}/config"), "/etc/ssh/ssh_config".to_owned()],
        };
        // Names in an Include are relative to where the file that has it belongs.
        let texts: Vec<String> = files.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect();
        let mut include = |pattern: &str| included(pattern, person, &home);
        resolve(&texts, destination, person, &mut include)
            .map_err(|error| unusable(&destination.to_string(), error.to_string()))
    }
}

/// Reads the files that an `Include` names; wildcards may stand in the last part of a path.
fn included(pattern: &str, person: &Person, home: &str) -> Vec<String> {
    let pattern =
        pattern.strip_prefix("~/").map_or_else(|| pattern.to_owned(), |rest| format!("{}/{rest}", person.home));
    let places = if pattern.starts_with('/') {
        vec![pattern]
    } else {
        vec![format!("{home}/{pattern}"), format!("/etc/ssh/{pattern}")]
    };
    let mut files = Vec::new();
    for place in places {
        let Some((dir, name)) = place.rsplit_once('/') else { continue };
        let mut names: Vec<String> = std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|file| is_match(name, file) && (!file.starts_with('.') || name.starts_with('.')))
            .collect();
        names.sort_unstable();
        files.extend(names.into_iter().map(|file| format!("{dir}/{file}")));
    }
    files.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect()
}

fn is_open(way: &Remote) -> bool {
    matches!(way.link_state(), LinkState::Open { .. })
}

fn unusable(host: &str, detail: String) -> TransportError {
    TransportError::Configuration { host: host.to_owned(), detail }
}

impl Known {
    fn is_of(&self, alias: &str) -> bool {
        self.member == Member::Local
            || alias.parse::<Destination>().is_ok_and(|destination| destination == self.destination)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    /// Waits until somebody writes to a named pipe, or reads it.
    async fn at_pipe<T: Send + 'static>(act: impl FnOnce() -> std::io::Result<T> + Send + 'static) {
        let done = tokio::task::spawn_blocking(act);
        drop(tokio::time::timeout(Duration::from_mins(1), done).await.expect("nobody came").unwrap().unwrap());
    }

    #[tokio::test]
    async fn an_agent_that_is_offered_while_ssh_is_asked_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let (asked, go) = (dir.path().join("asked"), dir.path().join("go"));
        for pipe in [&asked, &go] {
            mknodat(CWD, pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        }
        let program = dir.path().join("ssh");
        let script = format!(
            "#!/bin/sh\nfor last; do :; done\ncase $last in slow) echo >{}; read -r _ <{} ;; esac\n\
             printf 'hostname x\\nuser u\\nport 22\\n'\n",
            asked.display(),
            go.display()
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        let mut settings = ConnectionSettings::from_env(|_| None, dir.path().join("sockets"));
        settings.ssh.program = program;
        settings.member = Some(Member::OpenSsh);
        settings.agent = Some(dir.path().join("gone").display().to_string());
        let connections = Arc::new(Connections::new(settings));
        let reach = |name: &'static str| {
            let connections = Arc::clone(&connections);
            async move { connections.transport(&name.parse().unwrap(), name, Limits::default()).await.unwrap() }
        };
        let way = async |key: &str| Arc::clone(&connections.ways.lock().await.openssh.get(key).unwrap().way);

        drop(reach("quick").await);
        let before = way(",quick").await;
        drop(reach("quick").await);
        assert!(Arc::ptr_eq(&before, &way(",quick").await));
        let slow = tokio::spawn(reach("slow"));
        at_pipe(move || fs::read(asked)).await;
        let new = dir.path().join("new");
        let _listener = UnixListener::bind(&new).unwrap();
        assert!(connections.ways.try_lock().is_err(), "`ssh` is being asked");
        assert!(connections.offer_agent(new.to_str().unwrap()));
        at_pipe(move || fs::write(go, "\n")).await;
        drop(slow.await.unwrap());
        drop(reach("quick").await);
        assert!(!Arc::ptr_eq(&before, &way(",quick").await), "it asks the agent that is gone");
        // It is made anew once.
        let after = way(",quick").await;
        drop(reach("quick").await);
        assert!(Arc::ptr_eq(&after, &way(",quick").await));
        assert!(!connections.offer_agent(new.to_str().unwrap()), "it is there");
    }
}
