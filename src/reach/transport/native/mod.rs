//! SSH in this process (russh), for hosts of which nothing is configured that only OpenSSH can do.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use russh::client::{Config, Handle, connect_stream};
use russh::{AlgorithmKind, ChannelMsg, Disconnect, Preferred, cipher};
use tokio::net::{TcpStream, lookup_host};

use crate::language::ssh::{Hop, HostKeyTrouble, Unreached};
use crate::reach::clock;
use crate::reach::transport::gate::{Gate, dice};
use crate::reach::transport::native::patience::Patient;
use crate::reach::transport::remote::{Remote, Stream, Wire};
use crate::reach::transport::shell::Pipes;
use crate::reach::transport::{Budget, Fate, Limits, LinkState, Member, TransportError};

pub(super) mod agent;
mod ask;
mod host_key;
mod login;
mod patience;
mod pipes;
mod unlock;

pub use ask::{Ask, Questions, Seen};
pub use unlock::Unlocked;

pub(super) use ask::Turn;
pub(super) use host_key::known_to;
use host_key::{Checker, Ended};
use login::{Login, NotIn};
pub(super) use login::{hardware_key, public_half, signs};
pub(super) use unlock::Key;

/// How long logging in may take, beside connecting, where nobody is asked.
const LOGGING_IN: Duration = Duration::from_secs(30);

/// How long a person may take to answer.
const ANSWERING: Duration = Duration::from_mins(5);

/// How long the first command on a jump host may take.
const WAKING: Duration = Duration::from_secs(10);

/// What a host may send before it is acknowledged: enough for a long and fat link.
const WINDOW: u32 = 8 << 20;

/// Ciphers, first choice first: processors do AES, at twice the speed of the other.
const CIPHERS: [cipher::Name; 5] =
    [cipher::AES_256_GCM, cipher::CHACHA20_POLY1305, cipher::AES_256_CTR, cipher::AES_192_CTR, cipher::AES_128_CTR];

/// How this program's own SSH is used.
#[derive(Clone, Debug)]
pub struct NativeSettings {
    /// How long connecting may take where the configuration does not say.
    pub connect_timeout: Duration,
    /// How often a silent host is asked whether it is there, where the configuration does not say.
    pub alive_interval: Duration,
    /// How many connections may be tried.
    pub limits: Limits,
    /// Who answers what a host asks; nobody where nobody is there.
    pub ask: Option<Ask>,
    /// The keys that were unlocked with a passphrase.
    pub unlocked: Unlocked,
    /// How many connections the host gets from all processes.
    pub budget: Budget,
}

impl Default for NativeSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(15),
            alive_interval: Duration::from_secs(10),
            limits: Limits::default(),
            ask: None,
            unlocked: Unlocked::default(),
            budget: Budget::default(),
        }
    }
}

/// A host reached by this program's own SSH.
pub struct Native {
    host: String,
    hop: Hop,
    jump: Option<Arc<Self>>,
    settings: NativeSettings,
    gate: Mutex<Gate>,
    live: Mutex<Option<Arc<Live>>>,
    /// Held by the one who connects.
    flight: tokio::sync::Mutex<()>,
}

/// A connection that somebody is logged in over.
struct Live {
    handle: Handle<Checker>,
    /// What carries it lives as long as it does.
    _below: Option<Arc<Self>>,
    /// Whether a command ran on it: before that, sshd delays small packets.
    awake: tokio::sync::OnceCell<()>,
}

impl fmt::Debug for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Native").field("host", &self.host).field("hop", &self.hop).finish_non_exhaustive()
    }
}

impl Native {
    /// Makes the way to a host; nothing is opened. With a jump host, its connection carries this one.
    pub fn new(host: impl Into<String>, hop: Hop, jump: Option<Arc<Self>>, settings: NativeSettings) -> Arc<Self> {
        let gate = Mutex::new(Gate::new(settings.limits));
        Arc::new(Self {
            host: host.into(),
            hop,
            jump,
            settings,
            gate,
            live: Mutex::default(),
            flight: tokio::sync::Mutex::default(),
        })
    }

    /// Returns the transport over this way.
    pub fn transport(self: Arc<Self>) -> Remote {
        Remote::new(self)
    }

    fn gate(&self) -> std::sync::MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self) -> Option<Arc<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).clone().filter(|live| !live.handle.is_closed())
    }

    fn set_live(&self, live: Option<Arc<Live>>) {
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = live;
    }

    /// Returns the connection, made where there is none.
    async fn ensure(&self) -> Result<Arc<Live>, TransportError> {
        if let Some(live) = self.live() {
            return Ok(live);
        }
        let _flight = self.flight.lock().await;
        if let Some(live) = self.live() {
            return Ok(live);
        }
        let below = match &self.jump {
            Some(jump) => Some(Box::pin(jump.ensure()).await?),
            None => None,
        };
        self.settings.budget.pass(&self.host, &self.gate, false).await?;
        let connected = self.connect_over(below).await;
        let mut gate = self.gate();
        match connected {
            Ok(live) => {
                gate.opened(clock::now(), Member::Russh);
                drop(gate);
                let live = Arc::new(live);
                self.set_live(Some(Arc::clone(&live)));
                Ok(live)
            }
            Err(error) => {
                gate.failed(clock::now(), &error, dice());
                Err(error)
            }
        }
    }

    async fn connect_over(&self, below: Option<Arc<Live>>) -> Result<Live, TransportError> {
        let checker = Checker::new(&self.hop);
        let is_known = checker.is_known();
        let config = Arc::new(self.config(&checker));
        let patience = self.hop.connect_timeout.unwrap_or(self.settings.connect_timeout);
        let connecting = async {
            let limit = self.silence();
            let connected = if let Some(below) = &below {
                below.wake().await;
                let (address, port) = (self.hop.address.as_str(), u32::from(self.hop.port));
                let stream = below.handle.channel_open_direct_tcpip(address, port, "127.0.0.1", 0).await;
                let stream = stream
                    .map_err(|error| self.unreached(Unreached::NoRoute, format!("its jump host says: {error}")))?;
                connect_stream(config, Patient::new(pipes::tunnel_of(stream), limit), checker).await
            } else {
                connect_stream(config, Patient::new(self.tcp().await?, limit), checker).await
            };
            connected.map_err(|ended| self.ended(ended, is_known))
        };
        let mut handle = tokio::time::timeout(patience, connecting)
            .await
            .unwrap_or_else(|_| Err(self.unreached(Unreached::TimedOut, format!("{} s", patience.as_secs()))))?;
        let patience = if self.settings.ask.is_some() { ANSWERING } else { LOGGING_IN };
        let login = Login::new(&self.host, &self.hop, self.settings.ask.as_ref(), &self.settings.unlocked);
        let host = self.host.clone();
        match tokio::time::timeout(patience, login.run(&mut handle)).await {
            Ok(Ok(())) => Ok(Live { handle, _below: below, awake: tokio::sync::OnceCell::new() }),
            Ok(Err(NotIn::NeedsLogin(detail))) => Err(TransportError::NeedsLogin { host, detail }),
            Ok(Err(NotIn::Denied(detail))) => Err(TransportError::Denied { host, detail }),
            Ok(Err(NotIn::Broken(error))) => Err(self.ended(error.into(), is_known)),
            Err(_) => Err(self.unreached(Unreached::TimedOut, format!("no login within {} s", patience.as_secs()))),
        }
    }

    fn alive_interval(&self) -> Duration {
        self.hop.alive_interval.unwrap_or(self.settings.alive_interval)
    }

    /// Returns how long a host may take nothing and say nothing; none where it may for ever.
    fn silence(&self) -> Option<Duration> {
        let times = u32::try_from(self.hop.alive_count).unwrap_or(u32::MAX).saturating_add(1);
        (self.hop.alive_count > 0).then(|| self.alive_interval().saturating_mul(times))
    }

    fn config(&self, checker: &Checker) -> Config {
        Config {
            nodelay: true,
            window_size: WINDOW,
            keepalive_interval: Some(self.alive_interval()),
            keepalive_max: self.hop.alive_count,
            preferred: Preferred {
                cipher: CIPHERS.as_slice().into(),
                key: checker.algorithms().into(),
                host_key_certificates: checker.certificates().into(),
                ..Preferred::DEFAULT
            },
            ..Config::default()
        }
    }

    async fn tcp(&self) -> Result<TcpStream, TransportError> {
        let addresses: Vec<_> = lookup_host((self.hop.address.as_str(), self.hop.port))
            .await
            .map_err(|error| self.unreached(Unreached::Unresolved, error.to_string()))?
            .collect();
        let stream = TcpStream::connect(addresses.as_slice()).await.map_err(|error| self.io(&error))?;
        // Small packets wait for one another otherwise: 40 ms for each command.
        stream.set_nodelay(true).map_err(|error| self.io(&error))?;
        Ok(stream)
    }

    fn unreached(&self, how: Unreached, detail: String) -> TransportError {
        TransportError::Unreached { host: self.host.clone(), how, detail }
    }

    fn io(&self, error: &io::Error) -> TransportError {
        let how = match error.kind() {
            io::ErrorKind::ConnectionRefused => Unreached::Refused,
            io::ErrorKind::TimedOut => Unreached::TimedOut,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Unreached::NoRoute,
            _ => Unreached::HungUp,
        };
        self.unreached(how, error.to_string())
    }

    /// Says why a connection was not made.
    fn ended(&self, ended: Ended, is_known: bool) -> TransportError {
        let host = self.host.clone();
        match ended {
            Ended::HostKey(how, detail) => TransportError::HostKey { host, how, detail },
            // It was asked for the types that it is known by alone.
            Ended::Ssh(russh::Error::NoCommonAlgo { kind: AlgorithmKind::Key, theirs, .. }) if is_known => {
                let detail = format!("it is known by keys of other types than it shows now: {}", theirs.join(", "));
                TransportError::HostKey { host, how: HostKeyTrouble::Changed, detail }
            }
            Ended::Ssh(russh::Error::IO(error)) => self.io(&error),
            Ended::Ssh(error @ (russh::Error::ConnectionTimeout | russh::Error::KeepaliveTimeout)) => {
                self.unreached(Unreached::TimedOut, error.to_string())
            }
            Ended::Ssh(error @ russh::Error::NoCommonAlgo { .. }) => {
                TransportError::Configuration { host, detail: error.to_string() }
            }
            Ended::Ssh(error) => self.unreached(Unreached::HungUp, error.to_string()),
        }
    }

    async fn shell(&self) -> Result<Pipes, TransportError> {
        let live = self.ensure().await?;
        let host = self.host.clone();
        let lost = |error: russh::Error| {
            let fate = Fate::NotStarted;
            TransportError::Lost { host: self.host.clone(), fate, detail: error.to_string() }
        };
        let channel = match live.handle.channel_open_session().await {
            Ok(channel) => channel,
            Err(russh::Error::ChannelOpenFailure(why)) => {
                return Err(TransportError::Channel { host, detail: format!("{why:?}") });
            }
            Err(error) => {
                self.gate().closed();
                return Err(lost(error));
            }
        };
        for (name, value) in &self.hop.env {
            // Nobody says whether the host lets it in, as with `ssh`.
            channel.set_env(false, name, value).await.map_err(lost)?;
        }
        channel.exec(true, "exec /bin/sh").await.map_err(lost)?;
        Ok(pipes::pipes_of(channel))
    }
}

impl Live {
    /// Runs a command that does nothing, once: sshd turns the delay of small packets off when a session runs, and a connection
    /// that only carries others would cost 40 ms for each command. A host that forbids commands is no worse off.
    async fn wake(&self) {
        let run = async {
            let mut channel = self.handle.channel_open_session().await?;
            channel.exec(true, "true").await?;
            while let Some(message) = channel.wait().await {
                if matches!(message, ChannelMsg::Failure | ChannelMsg::Close | ChannelMsg::ExitStatus { .. }) {
                    break;
                }
            }
            channel.close().await
        };
        self.awake
            .get_or_init(|| async {
                if let Ok(Err(error)) = tokio::time::timeout(WAKING, run).await {
                    tracing::debug!(%error, "a jump host runs no command");
                }
            })
            .await;
    }
}

impl Wire for Native {
    fn host(&self) -> &str {
        &self.host
    }

    fn channel(&self) -> BoxFuture<'_, Result<Pipes, TransportError>> {
        self.shell().boxed()
    }

    fn socket<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Stream, TransportError>> {
        async move {
            let live = self.ensure().await?;
            match live.handle.channel_open_direct_streamlocal(path).await {
                Ok(channel) => Ok(pipes::stream_of(channel)),
                Err(russh::Error::ChannelOpenFailure(why)) => {
                    let detail = format!("{path}: {why:?}");
                    Err(TransportError::Channel { host: self.host.clone(), detail })
                }
                Err(error) => {
                    self.gate().closed();
                    let detail = error.to_string();
                    Err(TransportError::Lost { host: self.host.clone(), fate: Fate::NotStarted, detail })
                }
            }
        }
        .boxed()
    }

    fn judge(&self, _: &str) -> Option<TransportError> {
        if self.live().is_some() {
            return None;
        }
        self.gate().closed();
        let detail = "the connection ended".to_owned();
        Some(TransportError::Lost { host: self.host.clone(), fate: Fate::NotStarted, detail })
    }

    fn connect(&self) -> BoxFuture<'_, Result<(), TransportError>> {
        async move {
            self.gate().forgive();
            self.ensure().await.map(drop)
        }
        .boxed()
    }

    fn ready(&self, within: Duration) -> BoxFuture<'_, Result<(), TransportError>> {
        async move {
            if self.live().is_some() {
                return Ok(());
            }
            if self.settings.ask.is_some() || self.settings.budget.is_patient() {
                return self.ensure().await.map(drop);
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
            LinkState::Open { .. } if self.live().is_none() => LinkState::Closed,
            state => state,
        }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            if let Some(live) = self.live() {
                drop(live.handle.disconnect(Disconnect::ByApplication, "", "").await);
            }
            self.set_live(None);
            self.gate().closed();
        }
        .boxed()
    }
}
