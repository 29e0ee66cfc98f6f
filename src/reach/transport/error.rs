//! Why a host did not do what it was asked.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::language::ssh::{BadDestination, HostKeyTrouble, Trouble, Unreached};

/// What became of a command whose connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was not started.
    NotStarted,
    /// It may have run, may still run, may not have started.
    Unknown,
}

/// A host could not be reached, did not let us in, or was lost.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The name is nothing that is given to `ssh`.
    #[error(transparent)]
    BadDestination(#[from] BadDestination),
    /// A script that no shell can be given.
    #[error("a script for {host} has a NUL in it")]
    BadScript {
        /// For which host.
        host: String,
    },
    /// The configuration is not understood or cannot be used.
    #[error("the SSH configuration of {host} cannot be used: {detail}")]
    Configuration {
        /// Of which host.
        host: String,
        /// Why.
        detail: String,
    },
    /// There is no program.
    #[error("`{program}` cannot be started")]
    Program {
        /// Which.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It could not be reached.
    #[error("{host} cannot be reached: {how}{}", said(detail))]
    Unreached {
        /// Which.
        host: String,
        /// How it failed.
        how: Unreached,
        /// In whose words.
        detail: String,
    },
    /// Its key is not trusted.
    #[error("{host} is not trusted: {how}{}", said(detail))]
    HostKey {
        /// Which.
        host: String,
        /// What is wrong.
        how: HostKeyTrouble,
        /// In whose words.
        detail: String,
    },
    /// A person has to answer something first.
    #[error("{host} needs a login: {detail}")]
    NeedsLogin {
        /// Which.
        host: String,
        /// What it asks for.
        detail: String,
    },
    /// It does not let us in.
    #[error("{host} lets nobody in with the keys that are here: {detail}")]
    Denied {
        /// Which.
        host: String,
        /// In whose words.
        detail: String,
    },
    /// It is not tried now.
    #[error("{host} is not tried again for {} s: {reason}", .wait.as_secs())]
    Held {
        /// Which.
        host: String,
        /// For how long.
        wait: Duration,
        /// Why.
        reason: String,
    },
    /// It allows no further channel.
    #[error("{host} opens no channel: {detail}")]
    Channel {
        /// Which.
        host: String,
        /// In whose words.
        detail: String,
    },
    /// The login shell ended before our shell was there.
    #[error("the login shell of {host} ended before a command could start: {detail}")]
    LoginShell {
        /// Which.
        host: String,
        /// Its last words.
        detail: String,
    },
    /// The connection broke.
    #[error("the connection to {host} was lost: {detail}")]
    Lost {
        /// Which.
        host: String,
        /// What became of the command.
        fate: Fate,
        /// What was seen.
        detail: String,
    },
    /// It took too long; it is being ended.
    #[error("{host} did not answer within {} s", .after.as_secs_f32())]
    Deadline {
        /// Which.
        host: String,
        /// How long it was given.
        after: Duration,
    },
    /// It printed too much; it is being ended.
    #[error("a command on {host} printed more than {limit} bytes")]
    Flood {
        /// Which.
        host: String,
        /// How much was allowed.
        limit: usize,
    },
    /// A file here cannot be used.
    #[error("{path} cannot be used")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file there cannot be used.
    #[error("{path} on {host} cannot be used: {detail}")]
    FarFile {
        /// On which host.
        host: String,
        /// Which.
        path: String,
        /// Why.
        detail: String,
    },
}

impl TransportError {
    /// Returns whether the command may have run all the same: then it must be asked for before it is given again.
    pub const fn may_have_run(&self) -> bool {
        matches!(self, Self::Lost { fate: Fate::Unknown, .. } | Self::Deadline { .. } | Self::Flood { .. })
    }

    /// Returns the one command that helps, where there is one.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::HostKey { host, how: HostKeyTrouble::Changed, .. } => format!(
                "ask the administrators whether the key was changed; if it was: `ssh-keygen -R` with the host's address, then `ssh {host}`"
            ),
            Self::HostKey { host, how: HostKeyTrouble::Unknown, .. } => {
                format!("`ssh {host}` shows the key and asks whether to trust it")
            }
            Self::HostKey { host, .. } => format!("ask the administrators of {host}"),
            Self::NeedsLogin { host, .. } => format!("`csync login {host}`"),
            Self::Denied { host, .. } | Self::Unreached { host, .. } => {
                format!("`ssh -v {host}` shows how far it gets")
            }
            Self::Configuration { host, .. } => format!("`ssh -G {host}` shows what is configured"),
            Self::LoginShell { host, .. } => {
                format!("`ssh {host} true` must print nothing and succeed; look at the shell's start files there")
            }
            _ => return None,
        })
    }

    /// Makes an error of what `ssh` said.
    pub(super) fn from_trouble(host: &str, trouble: Trouble, detail: String) -> Self {
        let host = host.to_owned();
        match trouble {
            Trouble::Unreached(how) => Self::Unreached { host, how, detail },
            Trouble::HostKey(how) => Self::HostKey { host, how, detail },
            Trouble::NeedsLogin => Self::NeedsLogin { host, detail },
            Trouble::Denied => Self::Denied { host, detail },
            Trouble::ChannelRefused => Self::Channel { host, detail },
            Trouble::Configuration => Self::Configuration { host, detail },
            Trouble::ConnectionGone => Self::Lost { host, fate: Fate::NotStarted, detail },
            Trouble::Other => Self::Unreached { host, how: Unreached::HungUp, detail },
        }
    }
}

/// Puts somebody's words in brackets, where there are any.
fn said(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(" ({words})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_nothing_is_not_quoted() {
        let of = |trouble, words: &str| TransportError::from_trouble("hpc", trouble, words.to_owned()).to_string();
        assert_eq!(of(Trouble::Other, ""), "hpc cannot be reached: it hung up");
        assert_eq!(of(Trouble::Other, "odd"), "hpc cannot be reached: it hung up (odd)");
        let changed = Trouble::HostKey(HostKeyTrouble::Changed);
        assert_eq!(of(changed, ""), "hpc is not trusted: its host key is not the one that is known");
    }
}
