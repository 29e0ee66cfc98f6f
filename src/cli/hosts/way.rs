//! The way to a host for a command that a person waits for.

use std::fmt::Write as _;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::language::ssh::Options;
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

/// Says where `ssh` goes, from what `ssh -G` says: `ada@login.example.org:2222 through gate`.
pub(super) fn address(options: &Options) -> String {
    let mut address = format!("{}@{}", options.get("user").unwrap_or("?"), options.host_name().unwrap_or("?"));
    if options.port() != 22 {
        let _ = write!(address, ":{}", options.port());
    }
    match options.get("proxyjump") {
        None | Some("none") => {}
        Some(jumps) => {
            let _ = write!(address, " through {}", jumps.replace(',', ", "));
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_as_people_write_them() {
        let printed = "user ada\nhostname login.example.org\nport 2222\nproxyjump gate,bob@inner:22\nproxyuseip x\n";
        assert_eq!(address(&Options::read(printed)), "ada@login.example.org:2222 through gate, bob@inner:22");
        assert_eq!(address(&Options::read("user a\nhostname h\nport 22\nproxyjump none")), "a@h");
    }
}
