//! How commands and bytes reach a host: one [`Transport`] trait, and members that behave alike.
//!
//! | member | what it is |
//! |---|---|
//! | [`Local`] | `/bin/sh` on this machine |
//! | [`OpenSsh`] | the system's `ssh` over a control socket: the reference of what is correct |
//! | [`Native`] | SSH in this process, where nothing is configured that only OpenSSH can do |
//! | `Simulated` | a made-up cluster in a directory of this machine |
//!
//! A member only knows how to open a channel to a `/bin/sh` ([`Wire`]). What runs in it, and how replies are framed, is the
//! same for all ([`Remote`]): a shell is started with a command line that every login shell understands (`exec /bin/sh`), says
//! hello (what `.bashrc` printed before that is dropped) and is then fed scripts; each reply ends with a mark that nobody
//! could have guessed and the exit status. So the 255 of `ssh` is never taken for a command's, a connection that broke is
//! never taken for an end, and a shell serves many small commands: its login shell is paid once.
//!
//! A host has one authenticated connection and at most [`CHANNELS`] channels on it at a time. A shell that nothing ran in for
//! [`IDLE`] leaves: no process of ours stays on a login node. What is cancelled or late is ended on the far side too, with all
//! that runs below it.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;

mod budget;
mod connections;
mod error;
mod files;
mod frame;
mod gate;
mod kerberos;
mod keyring;
mod lend;
mod local;
mod meter;
mod native;
mod openssh;
mod pool;
mod pull;
mod remote;
mod shell;
mod simulated;
mod stream;
mod sum;

pub use budget::{Budget, Budgets, Waits};
pub use connections::{Choice, ConnectionSettings, Connections, Road, Step};
pub use error::{Fate, TransportError};
pub use files::{Get, Moved, Put};
pub use gate::{Limits, LinkState, Member};
pub use kerberos::Kerberos;
pub use keyring::Keyring;
pub use lend::{Lender, Lent};
pub use local::Local;
pub use meter::Meter;
pub use native::{Ask, Native, NativeSettings, Questions, Seen, Unlocked};
pub use openssh::{Attended, OpenSsh, SshSettings};
pub use remote::{Bytestream, Remote, Stream, Wire};
pub use shell::Pipes;
pub use stream::Channel;
pub use sum::{Checksum, Sum};

pub(crate) use files::{Landing, SUMMING};
pub(crate) use pull::Pull;

/// Channels on one connection at a time; sshd's `MaxSessions` is 10 unless set, and one is kept to end others.
pub const CHANNELS: usize = 8;

/// Channels of these that streams leave to commands: what is asked, followed and cancelled does not wait for hours of large files.
pub const FOR_COMMANDS: usize = 2;

/// Most bytes of one stream that wait here to be read: all that is asked for at once, be it a stream of small files or the pieces of a
/// large one. Of somebody who sends more, the whole connection waits.
pub(crate) const WAITING: usize = 96 << 20;

/// How long a shell waits for the next command before it leaves.
pub const IDLE: Duration = Duration::from_secs(20);

/// A command for a host.
#[derive(Clone, Debug)]
pub struct Exec {
    /// POSIX sh text. What it leaves running must have its output elsewhere, as with `ssh`.
    pub script: String,
    /// What it reads; nothing is `/dev/null`.
    pub stdin: Vec<u8>,
    /// How long it may take, connecting included.
    pub deadline: Duration,
    /// How many bytes it may print, on each of the two streams.
    pub limit: usize,
    /// What it does where all channels are taken.
    pub when_busy: WhenBusy,
    /// Which channels it may take.
    pub share: Share,
}

/// Which channels to a host may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// All of them: by what is over soon.
    All,
    /// All but [`FOR_COMMANDS`]: by what reads or moves files, which may take hours.
    Files,
}

/// What a command does where all channels to its host are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenBusy {
    /// It waits for one.
    Wait,
    /// It fails with [`TransportError::Channel`]: who holds a channel and waits for a second one may wait for others that do the same.
    Fail,
}

impl Exec {
    /// Makes a command that reads nothing, may take a minute and print 16 MiB.
    pub fn new(script: impl Into<String>) -> Self {
        Self {
            script: script.into(),
            stdin: Vec::new(),
            deadline: Duration::from_mins(1),
            limit: 16 << 20,
            when_busy: WhenBusy::Wait,
            share: Share::All,
        }
    }

    /// Gives it the hours that reading all of some files may take; it leaves channels to what is over soon. Whoever has a stream open
    /// waits for none such.
    #[must_use]
    pub const fn reading_files(mut self) -> Self {
        self.deadline = SUMMING;
        self.share = Share::Files;
        self
    }

    /// Gives it something to read.
    #[must_use]
    pub fn reading(mut self, stdin: impl Into<Vec<u8>>) -> Self {
        self.stdin = stdin.into();
        self
    }

    /// Says how long it may take.
    #[must_use]
    pub const fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Says how much it may print.
    #[must_use]
    pub const fn printing(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Says what it does where all channels are taken.
    #[must_use]
    pub const fn when_busy(mut self, when_busy: WhenBusy) -> Self {
        self.when_busy = when_busy;
        self
    }
}

/// How a command ended, as the shell that ran it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// By itself.
    Exit(u8),
    /// By a signal. Shells say 128 and the signal's number for it; `exit 143` is not told apart from SIGTERM.
    Signal(u8),
}

impl Status {
    /// Reads `$?`.
    pub const fn from_shell(code: u8) -> Self {
        match code {
            129..=192 => Self::Signal(code - 128),
            _ => Self::Exit(code),
        }
    }

    /// Returns `$?`.
    pub const fn code(self) -> u8 {
        match self {
            Self::Exit(code) => code,
            Self::Signal(signal) => signal.saturating_add(128),
        }
    }

    /// Returns whether it is a success.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Exit(0))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// How it ended.
    pub status: Status,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it complained.
    pub stderr: Vec<u8>,
}

/// A way to a host.
pub trait Transport: Send + Sync + fmt::Debug {
    /// Returns the host's name, as messages say it.
    fn host(&self) -> &str;

    /// Runs a command and waits for its end.
    ///
    /// When the future is dropped, or the deadline passes, the command is ended on the host with all that runs below it. What it
    /// left running by then, with a parent that is gone, is left alone.
    fn exec(&self, exec: Exec) -> BoxFuture<'_, Result<Reply, TransportError>>;

    /// Starts a command whose input and output are streams. It leaves channels to commands.
    ///
    /// Whoever has one open waits for no other command of the same host: all channels may be held by those that wait so.
    fn open<'a>(&'a self, script: &'a str) -> BoxFuture<'a, Result<Channel, TransportError>>;

    /// Brings a file to the host, under a temporary name first; goes on where an earlier try ended.
    fn put<'a>(&'a self, put: &'a Put) -> BoxFuture<'a, Result<Moved, TransportError>>;

    /// Brings a file from the host, likewise.
    fn get<'a>(&'a self, get: &'a Get) -> BoxFuture<'a, Result<Moved, TransportError>>;

    /// Returns what is held, of both hosts, by whoever opens streams to two hosts, until both are open. Else those that have one of
    /// the one host and those that have one of the other may wait for each other.
    fn pairing(&self) -> &tokio::sync::Mutex<()>;

    /// Connects, so that the next command finds the way open.
    fn connect(&self) -> BoxFuture<'_, Result<(), TransportError>>;

    /// Returns how the way is.
    fn link_state(&self) -> LinkState;

    /// Closes it; the next command opens it again.
    fn close(&self) -> BoxFuture<'_, ()>;
}
