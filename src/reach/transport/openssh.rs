//! The system's OpenSSH: one master per host behind a control socket, every shell a client of it.
//!
//! The master goes to the background once somebody is authenticated, and leaves by itself when nothing used it for a while: it
//! outlives this program, so that a second factor is asked for once, and `csync login` can open it for the engine.

use std::future::pending;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use crate::language::quote::sh;
use crate::language::ssh::trouble::{asks_for, last_words};
use crate::language::ssh::{Destination, Options, Trouble, Unreached, read_trouble};
use crate::reach::clock;
use crate::reach::transport::gate::{Gate, dice};
use crate::reach::transport::keyring::Keyring;
use crate::reach::transport::local::pipes_of;
use crate::reach::transport::remote::{Remote, Stream, Wire};
use crate::reach::transport::shell::Pipes;
use crate::reach::transport::{Ask, Budget, Fate, Limits, LinkState, Member, TransportError};

/// Longest path of a control socket: `sun_path` has 104 bytes on some systems, and `ssh` binds to the name with 17 more.
const SOCKET_MAX: usize = 104 - 1 - 17;

/// How long a person may take to answer.
const ANSWERING: Duration = Duration::from_mins(5);

/// How long logging in may take beyond the time to connect.
const LOGGING_IN: Duration = Duration::from_secs(30);

/// How long the first command on a jump host may take.
const WAKING: Duration = Duration::from_secs(10);

/// How long a master may take to answer through its socket.
const ASKING: Duration = Duration::from_secs(5);
/// How long until one that turned us away is asked again.
const ASKING_AGAIN: Duration = Duration::from_millis(100);

/// Who is there to answer what a host asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attended {
    /// Nobody: what would need an answer fails.
    #[default]
    No,
    /// A person at the terminal of this process.
    Terminal,
}

/// How `ssh` is used.
#[derive(Clone, Debug)]
pub struct SshSettings {
    /// The program.
    pub program: PathBuf,
    /// A configuration instead of the person's.
    pub config: Option<PathBuf>,
    /// Where control sockets lie: a directory of ours alone, with a short path.
    pub sockets: PathBuf,
    /// How long connecting may take where the configuration does not say.
    pub connect_timeout: Duration,
    /// How often a silent host is asked whether it is there, where the configuration does not say; it is given up after a few.
    pub alive_interval: Duration,
    /// How many of these questions may go unanswered.
    pub alive_count: u64,
    /// How long a connection stays that nothing uses.
    pub persist: Duration,
    /// How many connections may be tried.
    pub limits: Limits,
    /// Who is there to answer.
    pub attended: Attended,
    /// Who takes turns in asking that person.
    pub turns: Option<Ask>,
    /// The keys that this person unlocks, where that is not left to `ssh`.
    pub keyring: Option<Keyring>,
    /// The socket of the agent that is asked: the person's, whatever this process was started with.
    pub agent: Option<String>,
    /// How many connections the host gets from all processes.
    pub budget: Budget,
}

impl SshSettings {
    /// Makes the usual settings.
    pub fn new(sockets: PathBuf) -> Self {
        Self {
            program: PathBuf::from("ssh"),
            config: None,
            sockets,
            connect_timeout: Duration::from_secs(15),
            alive_interval: Duration::from_secs(10),
            alive_count: 3,
            persist: Duration::from_mins(10),
            limits: Limits::default(),
            attended: Attended::No,
            turns: None,
            keyring: None,
            agent: None,
            budget: Budget::default(),
        }
    }

    /// Takes over what is configured for a host, where that is more than nothing.
    #[must_use]
    pub fn with_options(mut self, options: &Options) -> Self {
        let seconds = |key: &str| options.number(key).filter(|seconds| *seconds > 0).map(Duration::from_secs);
        if let Some(timeout) = seconds("connecttimeout") {
            self.connect_timeout = timeout;
        }
        if let Some(interval) = seconds("serveraliveinterval") {
            self.alive_interval = interval;
            self.alive_count = options.number("serveralivecountmax").unwrap_or(self.alive_count);
        }
        self
    }

    /// Returns the control socket of a destination.
    pub fn socket(&self, destination: &Destination) -> PathBuf {
        let identity = format!("{destination}\n{}", self.config.as_deref().unwrap_or(Path::new("")).display());
        let hash = blake3::hash(identity.as_bytes()).to_hex();
        self.sockets.join(hash.get(..16).unwrap_or_default())
    }
}

/// A host reached by the system's OpenSSH.
#[derive(Debug)]
pub struct OpenSsh {
    host: String,
    destination: Destination,
    jump: Option<Arc<Self>>,
    settings: SshSettings,
    socket: PathBuf,
    gate: Mutex<Gate>,
    /// Held by the one who connects.
    flight: tokio::sync::Mutex<()>,
}

impl OpenSsh {
    /// Makes the way to a host; nothing is opened. With a jump host, its connection carries this one; without, `ssh` does what
    /// the configuration says.
    ///
    /// # Errors
    /// [`TransportError::Configuration`] where the control socket's path would be too long.
    pub fn new(
        host: impl Into<String>,
        destination: Destination,
        jump: Option<Arc<Self>>,
        settings: SshSettings,
    ) -> Result<Arc<Self>, TransportError> {
        let host = host.into();
        let socket = settings.socket(&destination);
        if socket.as_os_str().len() > SOCKET_MAX {
            let detail = format!("the path of its control socket, {}, is too long", socket.display());
            return Err(TransportError::Configuration { host, detail });
        }
        let gate = Mutex::new(Gate::new(settings.limits));
        Ok(Arc::new(Self { host, destination, jump, settings, socket, gate, flight: tokio::sync::Mutex::default() }))
    }

    /// Returns the transport over this way.
    pub fn transport(self: Arc<Self>) -> Remote {
        Remote::new(self)
    }

    /// Returns the control socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    fn gate(&self) -> std::sync::MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `ssh` with what every use of it over the master has in common.
    fn command(&self) -> Command {
        self.command_over(&self.socket, "no")
    }

    /// Returns `ssh` with what every use of it here has in common: `agent` is what is forwarded of one.
    fn command_over(&self, control: &Path, agent: &str) -> Command {
        let mut command = Command::new(&self.settings.program);
        if let Some(config) = &self.settings.config {
            command.arg("-F").arg(config);
        }
        command.arg("-S").arg(control).args(["-T", "-e", "none"]);
        command.args(["-o", &format!("ForwardAgent={agent}")]);
        for option in
            ["LogLevel=INFO", "ForwardX11=no", "ClearAllForwardings=yes", "PermitLocalCommand=no", "RemoteCommand=none"]
        {
            command.args(["-o", option]);
        }
        match &self.settings.agent {
            Some(agent) => command.env("SSH_AUTH_SOCK", agent),
            None => command.env_remove("SSH_AUTH_SOCK"),
        };
        if self.settings.attended == Attended::No {
            command.args(["-o", "BatchMode=yes"]);
            // A jump host's own `ssh` does not hear of BatchMode: it asks a program that has no answer.
            command.env("SSH_ASKPASS", "false").env("SSH_ASKPASS_REQUIRE", "force");
        }
        command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Returns `ssh` as a person's command is run over this way, which is open: `terminal` says whether it gets one.
    pub fn for_person(&self, script: &str, terminal: bool) -> std::process::Command {
        let mut command = self.over(terminal);
        command.args(self.destination.arguments()).arg(script);
        command
    }

    /// Returns `ssh` as a person's command is run on a node behind this host, through it.
    pub fn beyond(&self, node: &str, user: Option<&str>, script: &str, terminal: bool) -> std::process::Command {
        let mut command = self.to_node(node, user, terminal);
        command.arg(script);
        command
    }

    /// Returns `ssh` as a stream to a port of a machine that this host reaches.
    pub fn port(&self, machine: &str, port: u16) -> std::process::Command {
        let mut command = self.over(false);
        command.arg("-W").arg(format!("{machine}:{port}")).args(self.destination.arguments());
        command
    }

    /// Returns `ssh` as a stream to a port that a node behind this host has for itself alone.
    pub fn port_beyond(&self, node: &str, user: Option<&str>, port: u16) -> std::process::Command {
        let mut command = self.to_node(node, user, false);
        // Options may follow the name of the host.
        command.arg("-W").arg(format!("127.0.0.1:{port}"));
        command
    }

    /// Returns `ssh` as a client of the master, for a person.
    fn over(&self, terminal: bool) -> std::process::Command {
        let mut command = std::process::Command::new(&self.settings.program);
        if let Some(config) = &self.settings.config {
            command.arg("-F").arg(config);
        }
        command.arg("-S").arg(&self.socket).args(["-o", "ControlMaster=no", "-o", "ProxyCommand=false"]);
        command.args(["-o", "ClearAllForwardings=yes", "-o", "RemoteCommand=none", "-o", "LogLevel=ERROR"]);
        command.arg(if terminal { "-t" } else { "-T" });
        command
    }

    /// Returns `ssh` to a node behind this host. Nodes have keys of their own, which are looked up under their names.
    fn to_node(&self, node: &str, user: Option<&str>, terminal: bool) -> std::process::Command {
        let mut command = std::process::Command::new(&self.settings.program);
        if let Some(config) = &self.settings.config {
            command.arg("-F").arg(config);
        }
        command.args(["-o", "ControlPath=none", "-o"]);
        command.arg(format!("ProxyCommand={}", self.proxy_command()));
        command.args(["-o", "ClearAllForwardings=yes", "-o", "RemoteCommand=none", "-o", "LogLevel=ERROR"]);
        if !terminal {
            command.args(["-o", "BatchMode=yes"]);
        }
        if let Some(user) = user {
            command.args(["-l", user]);
        }
        command.arg(if terminal { "-t" } else { "-T" }).arg(node);
        command
    }

    /// Returns `ssh` as a client of the master. It never makes a connection of its own: that would be a second login.
    fn client(&self) -> Command {
        let mut command = self.command();
        command.args(["-o", "ControlMaster=no", "-o", "ProxyCommand=false"]);
        command
    }

    /// Returns the command that carries a connection through this host's.
    fn proxy_command(&self) -> String {
        let program = self.settings.program.to_string_lossy();
        let mut words = vec![sh(&program).into_owned()];
        let config = self.settings.config.as_ref().map(|path| path.to_string_lossy());
        words.extend(config.iter().flat_map(|path| ["-F".to_owned(), sh(path).into_owned()]));
        let socket = self.socket.to_string_lossy();
        words.extend(["-S".to_owned(), sh(&socket).into_owned()]);
        words.extend(["-o", "ControlMaster=no", "-o", "ProxyCommand=false", "-o", "LogLevel=ERROR"].map(str::to_owned));
        let fixed = words.join(" ").replace('%', "%%");
        let target = self.destination.arguments().join(" ");
        format!("{fixed} -W '[%h]:%p' {target}")
    }

    /// Connects unless there is a connection.
    async fn ensure(&self) -> Result<(), TransportError> {
        if matches!(self.link_state(), LinkState::Open { .. }) {
            return Ok(());
        }
        let _flight = self.flight.lock().await;
        if self.socket.exists() {
            if self.is_answering().await {
                if !matches!(self.gate().state(), LinkState::Open { .. }) {
                    self.gate().opened(clock::now(), Member::OpenSsh);
                }
                return Ok(());
            }
            drop(std::fs::remove_file(&self.socket));
        }
        if let Some(jump) = &self.jump {
            Box::pin(jump.ensure()).await?;
            jump.wake().await;
        }
        self.settings.budget.pass(&self.host, &self.gate, false).await?;
        let opened = self.open_master().await;
        let mut gate = self.gate();
        match &opened {
            Ok(()) => gate.opened(clock::now(), Member::OpenSsh),
            Err(error) => gate.failed(clock::now(), error, dice()),
        }
        opened
    }

    /// Starts a master; it is in the background, and somebody authenticated, once `ssh` returned.
    async fn open_master(&self) -> Result<(), TransportError> {
        private_directory(&self.settings.sockets)?;
        let mut command = self.command();
        command.args(["-f", "-N", "-o", "ControlMaster=yes"]);
        command.args(["-o", &format!("ControlPersist={}", self.settings.persist.as_secs())]);
        self.connecting(&mut command);
        let patience =
            self.settings.connect_timeout + if self.settings.attended == Attended::No { LOGGING_IN } else { ANSWERING };
        // Two that ask at once could not be told apart.
        let turn = match &self.settings.turns {
            Some(turns) if self.settings.attended == Attended::Terminal => Some(turns.turn().await),
            _ => None,
        };
        let offer = match (&self.settings.keyring, &turn) {
            (Some(keyring), Some(turn)) => keyring.offer(&self.settings.sockets, &self.host, turn).await,
            _ => None,
        };
        let offer = offer.and_then(|offer| Some((offer.options()?, offer)));
        command.args(offer.iter().flat_map(|(options, _)| options)).args(self.destination.arguments());
        let child = self.spawn(&mut command)?;
        let serve = async {
            match &offer {
                Some((_, offer)) => offer.serve().await,
                None => pending().await,
            }
        };
        let ended = async {
            tokio::select! {
                ended = outcome(child) => ended,
                never = serve => match never {},
            }
        };
        let Ok((success, words)) = tokio::time::timeout(patience, ended).await else {
            return Err(self.unreached(Unreached::TimedOut, format!("no login within {} s", patience.as_secs())));
        };
        if success {
            return Ok(());
        }
        let trouble = match read_trouble(&words) {
            // Somebody at the terminal was asked already.
            Trouble::NeedsLogin if self.settings.attended == Attended::Terminal => Trouble::Denied,
            Trouble::ConnectionGone => Trouble::Unreached(Unreached::HungUp),
            trouble => trouble,
        };
        let detail = asks_for(&words).filter(|_| trouble == Trouble::NeedsLogin).map(str::to_owned);
        Err(TransportError::from_trouble(&self.host, trouble, detail.unwrap_or_else(|| last_words(&words))))
    }

    /// Adds how a connection is made and watched.
    fn connecting(&self, command: &mut Command) {
        command.args(["-o", &format!("ConnectTimeout={}", self.settings.connect_timeout.as_secs())]);
        command.args(["-o", &format!("ServerAliveInterval={}", self.settings.alive_interval.as_secs())]);
        command.args(["-o", &format!("ServerAliveCountMax={}", self.settings.alive_count)]);
        if let Some(jump) = &self.jump {
            command.args(["-o", &format!("ProxyCommand={}{}", self.detached(), jump.proxy_command())]);
        }
    }

    /// Returns what goes before a command that is to outlive a person's terminal, where there is such a program: the master leaves the
    /// terminal's session by itself, what carries its connection does not, and would be hung up with the terminal.
    fn detached(&self) -> &'static str {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let is_there = || std::env::split_paths(&path).any(|dir| dir.join("setsid").is_file());
        if self.settings.attended == Attended::Terminal && is_there() { "setsid " } else { "" }
    }

    /// Opens a channel over a connection of its own, which shows the host the agent at a socket of this machine, and ends with the
    /// channel; the agent at `own` logs in. It counts like every connection; nobody is asked anything for it.
    pub(super) async fn carrying(&self, agent: &Path, own: &Path) -> Result<Pipes, TransportError> {
        if let Some(jump) = &self.jump {
            Box::pin(jump.ensure()).await?;
            jump.wake().await;
        }
        self.settings.budget.pass(&self.host, &self.gate, true).await?;
        // Tokens are put into a path, and a space would end it.
        let value = |path: &Path| format!("\"{}\"", path.to_string_lossy().replace('%', "%%"));
        let mut command = self.command_over(Path::new("none"), &value(agent));
        command.args(["-o", "ControlMaster=no", "-o", "BatchMode=yes", "-o", &format!("IdentityAgent={}", value(own))]);
        self.connecting(&mut command);
        command.args(self.destination.arguments()).arg("exec /bin/sh");
        let child = self.spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        Ok(pipes_of(child))
    }

    /// Returns how `ssh` is used.
    pub(super) const fn settings(&self) -> &SshSettings {
        &self.settings
    }

    fn unreached(&self, how: Unreached, detail: String) -> TransportError {
        TransportError::Unreached { host: self.host.clone(), how, detail }
    }

    fn spawn(&self, command: &mut Command) -> Result<Child, TransportError> {
        command
            .spawn()
            .map_err(|source| TransportError::Program { program: self.settings.program.display().to_string(), source })
    }

    /// Runs a command that does nothing: sshd sends small packets at once only where a session ran, and a connection that only
    /// carries others would delay theirs. A jump host that forbids commands is no worse off.
    async fn wake(&self) {
        let mut command = self.client();
        command.args(self.destination.arguments()).arg("true");
        if let Ok(child) = self.spawn(&mut command) {
            drop(tokio::time::timeout(WAKING, outcome(child)).await);
        }
    }

    /// Gives an order to the master; returns whether it obeyed.
    async fn order(&self, order: &str) -> bool {
        let mut command = self.client();
        command.args(["-O", order]).args(self.destination.arguments());
        let Ok(child) = self.spawn(&mut command) else { return false };
        tokio::time::timeout(ASKING, outcome(child)).await.is_ok_and(|(success, _)| success)
    }

    /// Asks the master at the socket. Where somebody listens, it is asked until its time is over: one that has just logged a
    /// person in must not be taken for left over, and its socket away.
    async fn is_answering(&self) -> bool {
        let asked = async {
            loop {
                if self.order("check").await {
                    return true;
                }
                if std::os::unix::net::UnixStream::connect(&self.socket).is_err() {
                    return false;
                }
                tokio::time::sleep(ASKING_AGAIN).await;
            }
        };
        tokio::time::timeout(ASKING, asked).await.unwrap_or(false)
    }
}

/// Waits for the end of a child and what it said. What it left in the background may hold its standard error open.
async fn outcome(mut child: Child) -> (bool, String) {
    let mut words = Vec::new();
    let Some(mut stderr) = child.stderr.take() else { return (false, String::new()) };
    let status = loop {
        let mut chunk = [0; 4096];
        tokio::select! {
            biased;
            read = stderr.read(&mut chunk) => match read {
                Ok(length) if length > 0 => words.extend(chunk.iter().take(length.min(4096))),
                _ => break child.wait().await,
            },
            status = child.wait() => {
                while let Some(Ok(length)) = stderr.read(&mut chunk).now_or_never() {
                    if length == 0 {
                        break;
                    }
                    words.extend(chunk.iter().take(length));
                }
                break status;
            }
        }
    };
    (status.is_ok_and(|status| status.success()), String::from_utf8_lossy(&words).into_owned())
}

/// Makes a directory that is ours alone, or refuses: whoever can put a socket there could read what we send.
pub(super) fn private_directory(dir: &Path) -> Result<(), TransportError> {
    let unusable = |source| TransportError::File { path: dir.to_path_buf(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unusable)?;
    let me = rustix::process::getuid().as_raw();
    let refused = |path: &Path, why: &str| {
        let why = std::io::Error::new(std::io::ErrorKind::PermissionDenied, why.to_owned());
        TransportError::File { path: path.to_path_buf(), source: why }
    };
    let meta = std::fs::symlink_metadata(dir).map_err(unusable)?;
    if !meta.is_dir() || meta.uid() != me || meta.permissions().mode() & 0o077 != 0 {
        return Err(refused(dir, "it is not a directory of this user alone"));
    }
    // Whoever can rename a directory above it can put another in its place.
    for above in dir.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
        let meta =
            std::fs::metadata(above).map_err(|source| TransportError::File { path: above.to_path_buf(), source })?;
        let shared = meta.permissions().mode() & 0o022 != 0 && meta.permissions().mode() & 0o1000 == 0;
        if shared || (meta.uid() != me && meta.uid() != 0) {
            return Err(refused(above, "others can write there, and it is to hold control sockets"));
        }
    }
    Ok(())
}

impl Wire for OpenSsh {
    fn host(&self) -> &str {
        &self.host
    }

    fn channel(&self) -> BoxFuture<'_, Result<Pipes, TransportError>> {
        async move {
            self.ensure().await?;
            let mut command = self.client();
            command.args(self.destination.arguments()).arg("exec /bin/sh");
            let child = self.spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
            Ok(pipes_of(child))
        }
        .boxed()
    }

    /// Through a socket beside the control socket, which the master passes on and takes away when it leaves.
    fn socket<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Stream, TransportError>> {
        async move {
            self.ensure().await?;
            let hash = blake3::hash(path.as_bytes()).to_hex();
            let mut name = self.socket.as_os_str().to_owned();
            name.push(hash.get(..6).unwrap_or_default());
            let near = PathBuf::from(name);
            if let Ok(stream) = UnixStream::connect(&near).await {
                return Ok(Box::new(stream) as Stream);
            }
            // Without a configuration, whose own forwardings would be asked for as well: the master knows where it goes.
            let mut command = Command::new(&self.settings.program);
            command.args(["-F", "none", "-o", "StreamLocalBindUnlink=yes", "-o", "StreamLocalBindMask=0177", "-S"]);
            command.arg(&self.socket).args(["-O", "forward", "-L"]).arg(format!("{}:{path}", near.display()));
            command.arg(&self.host).kill_on_drop(true);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            let (success, words) = outcome(self.spawn(&mut command)?).await;
            let refused = |detail: String| TransportError::Channel { host: self.host.clone(), detail };
            if !success {
                return Err(refused(format!("{path}: {}", last_words(&words))));
            }
            let stream = UnixStream::connect(&near).await.map_err(|error| refused(format!("{path}: {error}")))?;
            Ok(Box::new(stream) as Stream)
        }
        .boxed()
    }

    fn judge(&self, words: &str) -> Option<TransportError> {
        let trouble = match read_trouble(words) {
            Trouble::ChannelRefused => Trouble::ChannelRefused,
            // Where the master is gone, the client turns to its proxy, which is none.
            _ if words.contains("UNKNOWN port") => Trouble::ConnectionGone,
            trouble => trouble,
        };
        match trouble {
            Trouble::ConnectionGone => {
                self.gate().closed();
                let detail = last_words(words);
                Some(TransportError::Lost { host: self.host.clone(), fate: Fate::NotStarted, detail })
            }
            Trouble::ChannelRefused => Some(TransportError::from_trouble(&self.host, trouble, last_words(words))),
            _ => None,
        }
    }

    fn connect(&self) -> BoxFuture<'_, Result<(), TransportError>> {
        async move {
            self.gate().forgive();
            self.ensure().await
        }
        .boxed()
    }

    fn ready(&self, within: Duration) -> BoxFuture<'_, Result<(), TransportError>> {
        async move {
            if self.settings.attended == Attended::Terminal || self.settings.budget.is_patient() {
                return self.ensure().await;
            }
            // Where there is a socket, somebody is connected, or is found not to be.
            if self.socket.exists() {
                return Ok(());
            }
            if let Some(jump) = &self.jump {
                jump.ready(within).await?;
            }
            self.settings.budget.room(&self.host, &self.gate, within).await;
            Ok(())
        }
        .boxed()
    }

    fn link_state(&self) -> LinkState {
        match self.gate().state() {
            // The master takes its socket away when it leaves.
            LinkState::Open { .. } if !self.socket.exists() => LinkState::Closed,
            state => state,
        }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            if self.socket.exists() {
                self.order("exit").await;
            }
            self.gate().closed();
        }
        .boxed()
    }
}
