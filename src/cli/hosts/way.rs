//! The ways to hosts for a command that a person waits for.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::hosts::ask::at_terminal;
use crate::cli::view::words::duration;
use crate::language::ssh::Options;
use crate::model::api::ErrorKind;
use crate::model::host::Host;
use crate::reach::transport::{
    Attended, Budgets, ConnectionSettings, Connections, Member, Remote, TransportError, Waits,
};

/// Returns the `ssh_config` that takes the place of the person's own, where one is set.
pub(super) fn ssh_config() -> Option<PathBuf> {
    std::env::var_os("CSYNC_SSH_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Who answers what a host asks: a passphrase, a password, a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Answers {
    /// Nobody: what needs an answer fails.
    Nobody,
    /// The person at this terminal, if there is one, by whatever member reaches the host. The login is this command's.
    Here,
    /// Likewise, and the system's `ssh` keeps the login when this command is over: it is for the engine too.
    ForAll,
}

/// Returns the connections of this command; none is opened.
pub(in crate::cli) fn connections(context: &Context, answers: Answers) -> Result<Connections, Failure> {
    connections_for(context, answers, None)
}

/// Returns the connections of this command, which stay for so long when nothing uses them; none is opened.
pub(in crate::cli) fn connections_for(
    context: &Context,
    answers: Answers,
    persist: Option<Duration>,
) -> Result<Connections, Failure> {
    let state = context.state_dir()?;
    let mut settings = ConnectionSettings::from_env(|name| std::env::var_os(name), state.ssh_dir());
    settings.clusters = state.clusters_dir();
    settings.ssh.config = ssh_config();
    settings.ssh.persist = persist.unwrap_or(settings.ssh.persist);
    let ask = if answers == Answers::Nobody { None } else { at_terminal() };
    // Without a terminal `ssh` may know another way to ask; where nobody but this command profits, that is not tried.
    if ask.is_some() || answers == Answers::ForAll {
        settings.ssh.attended = Attended::Terminal;
    }
    settings.ssh.turns.clone_from(&ask);
    settings.native.ask = ask;
    if answers == Answers::ForAll && has_ssh() {
        settings.member = Some(Member::OpenSsh);
    }
    settings.budgets = Budgets { dir: Some(state.connections_dir()), waits: Some(waits(context)) };
    Ok(Connections::new(settings))
}

/// Returns whether the system has an `ssh`.
pub(in crate::cli) fn has_ssh() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join("ssh").is_file())
}

/// Says to the person that a connection waits for its turn.
fn waits(context: &Context) -> Waits {
    let context = context.clone();
    Waits::always(move |host, wait, reason| {
        let wait = duration(wait.as_secs_f64().ceil());
        context.say(&format!("Waiting {wait} for a connection to {host}: {reason} (`connections_per_minute`)."));
    })
}

/// Returns the way to a host; nothing is connected yet.
pub(in crate::cli) async fn way(connections: &Connections, host: &Host) -> Result<Remote, TransportError> {
    connections.to(host).await
}

/// Makes a failure of a way that leads nowhere.
pub(in crate::cli) fn unreached(error: &TransportError, host: &Host) -> Failure {
    let failure =
        Failure::new(ErrorKind::Conflict, error.to_string()).because_of_source(error).exiting(Exit::RunFailed);
    match hint(error, host) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Returns what helps; commands of `ssh` take its own name of the host.
pub(in crate::cli) fn hint(error: &TransportError, host: &Host) -> Option<String> {
    let hint = error.hint()?;
    match &host.ssh {
        Some(alias) if hint.contains("`ssh") => Some(
            hint.replace(&format!(" {}`", host.name), &format!(" {alias}`"))
                .replace(&format!(" {} true`", host.name), &format!(" {alias} true`")),
        ),
        _ => Some(hint),
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
    fn ssh_is_told_its_own_name_of_a_host() {
        let host = Host { ssh: Some("login".parse().unwrap()), ..Host::new("hpc".parse().unwrap()) };
        let denied = TransportError::Denied { host: "hpc".to_owned(), detail: "no".to_owned() };
        assert!(hint(&denied, &host).unwrap().starts_with("`ssh -v login`"));
        let shell = TransportError::LoginShell { host: "hpc".to_owned(), detail: "no".to_owned() };
        assert!(hint(&shell, &host).unwrap().starts_with("`ssh login true`"));
        let login = TransportError::NeedsLogin { host: "hpc".to_owned(), detail: "a code".to_owned() };
        assert_eq!(hint(&login, &host).unwrap(), "`csync login hpc`");
    }

    #[test]
    fn addresses_are_told_as_people_write_them() {
        let printed = "user ada\nhostname login.example.org\nport 2222\nproxyjump gate,bob@inner:22\nproxyuseip x\n";
        assert_eq!(address(&Options::read(printed)), "ada@login.example.org:2222 through gate, bob@inner:22");
        assert_eq!(address(&Options::read("user a\nhostname h\nport 22\nproxyjump none")), "a@h");
    }
}
