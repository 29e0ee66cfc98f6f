//! What goes wrong with a daemon.

use bollard::errors::Error;

/// A daemon did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// There is no daemon, or no way to it.
    #[error("there is no Docker or Podman on {host} that this account may use: {detail}")]
    NoDaemon {
        /// The host.
        host: String,
        /// What was tried.
        detail: String,
    },
    /// It went away.
    #[error("the daemon on {host} went away")]
    Gone {
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: Error,
    },
    /// It has no such image, and got none.
    #[error("there is no image {image} on {host}, and it cannot be pulled there: {detail}")]
    NoImage {
        /// The host.
        host: String,
        /// The image.
        image: String,
        /// In the daemon's words.
        detail: String,
    },
    /// It takes limits and does not hold them.
    #[error("the runtime on {host} does not hold limits of {}", .limits.join(" and of "))]
    Unlimited {
        /// The host.
        host: String,
        /// Which.
        limits: Vec<&'static str>,
    },
    /// The image has no shell to wait in.
    #[error("{image} has no `/bin/sh`, which the sandbox needs")]
    NoShell {
        /// The image.
        image: String,
    },
    /// Something else, in its words.
    #[error("Docker on {host} cannot {action}: {detail}")]
    Refused {
        /// The host.
        host: String,
        /// What it was asked.
        action: &'static str,
        /// In its words.
        detail: String,
    },
}

/// Returns whether the answer says that there is no such thing.
pub(super) fn is_missing(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
}

/// Says what a daemon answered.
pub(super) fn refused(host: &str, action: &'static str, error: Error) -> DockerError {
    match error {
        Error::DockerResponseServerError { message, .. } | Error::DockerStreamError { error: message } => {
            DockerError::Refused { host: host.to_owned(), action, detail: message.trim().to_owned() }
        }
        source => DockerError::Gone { host: host.to_owned(), source },
    }
}
