//! `csync hosts`: the machines that work can run on.

mod ask;
mod import;
mod list;
mod nodes;
mod probe;
mod prompt;
mod show;
mod test;
mod way;

pub(super) use nodes::words as node_words;
pub(super) use way::{Answers, connections, connections_for, has_ssh, hint, unreached, way};

use std::collections::BTreeMap;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure, Source};
use crate::language::hosts::Hosts;
use crate::model::api::Contact;
use crate::model::api::ErrorKind;
use crate::model::facts::{BatchSystem, Facts, Probed};
use crate::model::host::{Batch, Host, HostName};
use crate::model::units::Walltime;
use crate::reach::config::{ConfigDir, ConfigDirError, HostsConfig, HostsConfigError};
use crate::reach::machine::processes;
use crate::reach::store::{Place, Reader, StoreError};
use crate::reach::transport::TransportError;

/// Name the machines that work can run on, and look at them
///
/// They stand in `hosts.toml` (`~/.config/csync`, or where `CSYNC_CONFIG` says), which is yours to edit. How they are reached
/// is for `~/.ssh/config` to say. Without a command, they are listed.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

impl Args {
    /// Returns whether it may change what is known of hosts.
    pub(super) fn may_change(&self) -> bool {
        matches!(self.command, Some(Command::Import(_) | Command::Probe(_)))
    }
}

/// What to do with them.
#[derive(Debug, clap::Subcommand)]
enum Command {
    Import(import::Args),
    Probe(probe::Args),
    List(list::Args),
    Show(show::Args),
    Test(test::Args),
}

/// Sends jobs to hosts that see what their compute nodes are, and waits so long at most; returns what is known of each host then, and
/// whether something is not. Jobs are made in a later room.
pub(super) type Look =
    fn(&Context, &[HostName], Walltime) -> Result<(BTreeMap<HostName, serde_json::Value>, bool), Failure>;

/// Runs it.
pub(super) fn run(context: &Context, args: &Args, look: Look) -> Result<Exit, Failure> {
    match &args.command {
        Some(Command::Import(args)) => import::run(context, args),
        Some(Command::Probe(args)) => probe::run(context, args, look),
        Some(Command::Show(args)) => show::run(context, args),
        Some(Command::Test(args)) => test::run(context, args),
        Some(Command::List(_)) | None => list::run(context),
    }
}

/// What is known of the hosts.
pub(super) struct Known {
    dir: ConfigDir,
    config: HostsConfig,
    pub(super) hosts: Hosts,
    pub(super) probed: BTreeMap<HostName, Probed>,
    /// How the running engine stands with those that it works with.
    pub(super) contacts: BTreeMap<HostName, Contact>,
}

impl Known {
    /// Reads the configuration and what probes found. Starts no engine.
    pub(super) fn load(context: &Context) -> Result<Self, Failure> {
        let place = Place::of(&context.state_dir()?);
        let probed = context.block_on(async {
            match Reader::open(&place).await.map_err(|error| unreadable(&error))? {
                Some(reader) => reader.probed().await.map_err(|error| unreadable(&error)),
                None => Ok(BTreeMap::new()),
            }
        })?;
        Self::with(context, probed)
    }

    /// Reads the configuration alone.
    pub(super) fn configured(context: &Context) -> Result<Self, Failure> {
        Self::with(context, BTreeMap::new())
    }

    fn with(context: &Context, probed: BTreeMap<HostName, Probed>) -> Result<Self, Failure> {
        let dir = ConfigDir::locate(|name| std::env::var_os(name))?;
        let config = HostsConfig::load(&dir)?;
        let facts: BTreeMap<HostName, Facts> =
            probed.iter().filter_map(|(host, probed)| Some((host.clone(), probed.facts.clone()?))).collect();
        let hosts = config.hosts(&facts);
        // An engine that cannot be asked is for `csync status` to explain.
        let contacts = context.block_on(async { Ok(context.find().await.ok().flatten()) })?;
        let contacts = contacts.map(|client| client.info().hosts.clone()).unwrap_or_default();
        let contacts = contacts.into_iter().map(|contact| (contact.host.clone(), contact)).collect();
        Ok(Self { dir, config, hosts, probed, contacts })
    }

    /// Finds a host.
    pub(super) fn host(&self, name: &str) -> Result<&Host, Failure> {
        self.hosts.get(name).ok_or_else(|| {
            let failure = Failure::new(ErrorKind::NotFound, format!("there is no host `{}`", name.escape_debug()));
            failure.hint(match crate::language::hosts::near(name, &self.hosts) {
                Some(near) => format!("did you mean `{near}`? `csync hosts list` names them all"),
                None => format!("`csync hosts import {name}` takes it from ~/.ssh/config; `csync hosts list` names those that are known"),
            })
        })
    }

    /// Returns what a probe found of a host's batch system, where it is the one that holds.
    pub(super) fn batch_system(&self, host: &Host) -> Option<&BatchSystem> {
        let system = self.facts(host)?.batch.as_ref()?;
        (Some(system.flavour()) == host.batch.and_then(Batch::flavour)).then_some(system)
    }

    /// Returns what probes found on a host.
    pub(super) fn facts(&self, host: &Host) -> Option<&Facts> {
        self.probed.get(&host.name)?.facts.as_ref()
    }
}

/// Looks at a host now, and keeps nothing.
pub(super) fn look_now(context: &Context, host: &Host) -> Result<Result<Facts, TransportError>, Failure> {
    let connections = way::connections(context, Answers::Here)?;
    context.block_on(async { Ok(probe::look_at(&connections, host).await) })
}

pub(super) fn unreadable(error: &StoreError) -> Failure {
    Failure::new(ErrorKind::Storage, error.to_string())
        .because_of_source(error)
        .hint("`csync doctor` looks what is wrong")
}

impl From<ConfigDirError> for Failure {
    fn from(error: ConfigDirError) -> Self {
        let hint = match &error {
            ConfigDirError::NoHome => "set HOME, or CSYNC_CONFIG to a directory".to_owned(),
            ConfigDirError::Changed { .. } => "give the command again".to_owned(),
            ConfigDirError::Unreadable { path, .. } | ConfigDirError::Unwritable { path, .. } => {
                format!("`ls -l {}` shows whose it is", path.display())
            }
        };
        Self::new(ErrorKind::Storage, error.to_string()).because_of_source(&error).hint(hint)
    }
}

impl From<HostsConfigError> for Failure {
    fn from(error: HostsConfigError) -> Self {
        match error {
            HostsConfigError::Dir(error) => error.into(),
            HostsConfigError::Mistakes { path, text, mistakes } => {
                Self::mistakes(mistakes, Source { name: path.display().to_string(), text })
            }
        }
    }
}

/// Says whose a sandbox is: this process's, of this state directory.
pub(super) fn owner(context: &Context) -> Result<String, Failure> {
    let pid = rustix::process::getpid();
    let birth = processes::stat(pid).map_or(0, |stat| stat.start);
    Ok(format!("{}:{}:{birth}", context.state_dir()?.id(), pid.as_raw_pid()))
}
