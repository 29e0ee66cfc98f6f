//! `csync login`: opens connections that need an answer of a person.

use std::io::{self, IsTerminal};
use std::time::Duration;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::hosts::{Answers, Known, connections_for, has_ssh, unreached, way};
use crate::model::api::ErrorKind;
use crate::model::host::Host;
use crate::reach::transport::{LinkState, Transport, TransportError};

/// How long a connection stays that nothing uses: a day's work without a second code.
const PERSIST: Duration = Duration::from_hours(8);

/// Log in to hosts that ask for something
///
/// For hosts that want a one-time code, a password, or the passphrase of a key. Their connections are opened one after the
/// other, jump hosts first; what they ask comes to this terminal, the passphrase of a key once, and answers are not kept. Jobs
/// that waited for the login go on by themselves: the engine uses the connection that was opened here, until it ends.
///
/// `csync status` says which hosts wait for a login. Without a HOST those are meant.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The hosts
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let names = if args.hosts.is_empty() { waiting(context)? } else { args.hosts.clone() };
    if names.is_empty() {
        context.say("No host waits for a login. `csync login HOST` opens a connection all the same.");
    }
    to(context, &names)
}

/// Opens the connections to hosts, one after the other.
pub(super) fn to(context: &Context, names: &[String]) -> Result<Exit, Failure> {
    let known = Known::load(context)?;
    let mut hosts = Vec::new();
    for name in names {
        hosts.push(known.host(name)?);
    }
    let (mut told, mut failed) = (Vec::new(), None);
    for host in hosts {
        match open(context, host) {
            Ok(()) => told.push(json!({ "host": host.name, "open": true })),
            // The others are asked for all the same.
            Err(failure) if names.len() > 1 => {
                told.push(json!({ "host": host.name, "open": false, "error": failure.to_json() }));
                if !context.json() {
                    context.tell(&failure);
                }
                failed = Some(failure.exit());
            }
            Err(failure) => return Err(failure),
        }
    }
    if context.json() {
        context.print_json(&json!({ "hosts": told }))?;
    }
    Ok(failed.unwrap_or(Exit::Success))
}

/// Returns the hosts that jobs wait for.
fn waiting(context: &Context) -> Result<Vec<String>, Failure> {
    context.block_on(async {
        let Some(client) = context.find().await? else { return Ok(Vec::new()) };
        let waiting = client.info().hosts.iter().filter(|contact| contact.login.is_some());
        Ok(waiting.map(|contact| contact.host.to_string()).collect())
    })
}

/// Opens the connection to one host, and tells the engine.
fn open(context: &Context, host: &Host) -> Result<(), Failure> {
    if host.ssh.is_none() {
        context.say(&format!("{} is this machine: there is nothing to log in to.", host.name));
        return Ok(());
    }
    if !has_ssh() {
        // What this process is let in by ends with it.
        let failure =
            Failure::new(ErrorKind::Conflict, "a login is kept by the system's `ssh`, and there is none here");
        return Err(failure.hint(format!(
            "install the client of OpenSSH; an agent opens keys with a passphrase without it, and `csync hosts test {}` asks here",
            host.name
        )));
    }
    let connections = connections_for(context, Answers::ForAll, Some(PERSIST))?;
    context.block_on(async {
        let way = way(&connections, host).await.map_err(|error| unreached(&error, host))?;
        let was_open = matches!(way.link_state(), LinkState::Open { .. });
        if !was_open {
            context.say(&format!("Connecting to {} ...", host.name));
        }
        way.connect().await.map_err(|error| refused(&error, host))?;
        context.say(&format!("{} is open.", host.name));
        if let Some(client) = context.find().await? {
            client.try_host(&host.name).await?;
        }
        Ok(())
    })
}

fn refused(error: &TransportError, host: &Host) -> Failure {
    let failure = unreached(error, host);
    let asked = matches!(error, TransportError::Denied { .. } | TransportError::NeedsLogin { .. });
    if asked && !io::stdin().is_terminal() {
        return failure.hint(format!("give it at a terminal, where `ssh` can ask: `csync login {}`", host.name));
    }
    failure
}
