//! The way to a host for a command that a person waits for.

use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::model::api::ErrorKind;
use crate::model::host::Host;
use crate::reach::transport::{Attended, Limits, Local, OpenSsh, Remote, SshSettings, TransportError};

/// Returns the `ssh_config` that takes the place of the person's own, where one is set.
pub(super) fn ssh_config() -> Option<PathBuf> {
    std::env::var_os("CSYNC_SSH_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Makes the way to a host; nothing is opened. Its connection is the engine's too, and stays for a while.
pub(super) fn way(context: &Context, host: &Host, attended: Attended) -> Result<Remote, Failure> {
    let Some(alias) = &host.ssh else { return Ok(Local::transport()) };
    let sockets = context.state_dir()?.ssh_sockets();
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&sockets);
    made.map_err(|error| {
        Failure::new(ErrorKind::Storage, format!("{} cannot be made", sockets.display())).because(&error)
    })?;
    let limits = Limits { per_minute: host.policy.connections_per_minute, ..Limits::default() };
    let settings = SshSettings { config: ssh_config(), limits, attended, ..SshSettings::new(sockets) };
    let destination = alias.as_str().parse().map_err(TransportError::from).map_err(|error| unreached(&error))?;
    let ssh = OpenSsh::new(host.name.as_str(), destination, None, settings).map_err(|error| unreached(&error))?;
    Ok(ssh.transport())
}

/// Makes a failure of a way that leads nowhere.
pub(super) fn unreached(error: &TransportError) -> Failure {
    let failure =
        Failure::new(ErrorKind::Conflict, error.to_string()).because_of_source(error).exiting(Exit::RunFailed);
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
