//! `csync hook refresh`: makes the index that the hook looks things up in. Hidden: it is made whenever hosts change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::hook::lookup::{META_KEY, Meta, Stamp, host_key, index_path, name_key, tried_path};
use crate::cli::hosts::Known;
use crate::decide::advise::{Route, host_facts, names};
use crate::language::ssh::config::resolve;
use crate::language::ssh::{Options, Person};
use crate::model::api::ErrorKind;
use crate::model::host::{Host, SshAlias};
use crate::reach::config::ConfigDir;
use crate::reach::index::IndexWriter;

/// Most names that `ssh` itself is asked about, where its configuration cannot be read without it.
const MOST_ASKED: usize = 100;

/// Make the index of hosts anew
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// Runs it.
pub(super) fn run(context: &Context, _args: &Args) -> Result<Exit, Failure> {
    let count = make(context)?;
    context.say(&format!("The hook knows {count} things about your hosts."));
    Ok(Exit::Success)
}

/// Starts it and does not wait.
pub(super) fn in_background() {
    let Ok(program) = std::env::current_exe() else { return };
    let mut command = Command::new(program);
    command.args(["--quiet", "hook", "refresh"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    // Without it the index stays as old as it is.
    drop(command.spawn());
}

/// Makes the index, and tells nobody when that fails: the command that changed the hosts did its work.
pub(in crate::cli) fn after_change(context: &Context) {
    if let Err(error) = make(context) {
        tracing::debug!(?error, "the index for agents was not made");
    }
}

/// Makes the index; returns how many records it has. What cannot be made is not tried again before `hosts.toml` changes.
fn make(context: &Context) -> Result<usize, Failure> {
    let state = context.state_dir()?;
    state.create()?;
    let dir = ConfigDir::locate(|name| std::env::var_os(name))?;
    let stamp = Stamp::of(&dir.hosts_file());
    let tried = tried_path(state.root());
    match make_of(context, state.root(), stamp.clone()) {
        Ok(count) => {
            drop(std::fs::remove_file(tried));
            Ok(count)
        }
        Err(failure) => {
            drop(std::fs::write(tried, stamp.to_string()));
            Err(failure)
        }
    }
}

fn make_of(context: &Context, state: &Path, stamp: Stamp) -> Result<usize, Failure> {
    let known = Known::load(context)?;
    let hosts: Vec<&Host> = known.hosts.iter().collect();
    let probed: BTreeMap<String, _> = known
        .probed
        .iter()
        .filter_map(|(name, probed)| Some((name.as_str().to_owned(), probed.facts.as_ref()?)))
        .collect();
    let mut writer = IndexWriter::default();
    for host in &hosts {
        let name = host.name.as_str();
        writer.add(&host_key(name), &host_facts(host, probed.get(name).copied()));
    }
    let mut ssh = SshWords::read();
    for (name, facts) in names(&hosts, &probed, &mut |name| ssh.route(context, name)) {
        writer.add(&name_key(&name), &facts);
    }
    let uname = rustix::system::uname();
    let own = uname.nodename().to_str().unwrap_or_default();
    let is_here =
        |name: &&String| probed.get(*name).is_some_and(|facts| !own.is_empty() && facts.machine.hostname == own);
    let here = probed.keys().filter(|name| *name != "local").find(is_here).cloned();
    writer.add(META_KEY, &Meta { here, hosts: stamp });
    let count = writer.len();
    writer.write(&index_path(state)).map_err(|error| {
        Failure::new(ErrorKind::Storage, "the index for coding agents cannot be written").because_of_source(&error)
    })?;
    Ok(count)
}

/// `ssh_config`, as it is written.
struct SshWords {
    texts: Vec<String>,
    person: Person,
    ssh_dir: PathBuf,
    config: Option<PathBuf>,
    asked: usize,
}

impl SshWords {
    fn read() -> Self {
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        let config = std::env::var_os("CSYNC_SSH_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
        let files = match &config {
            Some(path) => vec![path.clone()],
            None => vec![home.join(".ssh/config"), PathBuf::from("/etc/ssh/ssh_config")],
        };
        let person = Person {
            user: std::env::var("USER").unwrap_or_default(),
            home: home.to_string_lossy().into_owned(),
            uid: rustix::process::getuid().as_raw(),
        };
        let texts = files.iter().map(|path| std::fs::read_to_string(path).unwrap_or_default()).collect();
        Self { texts, person, ssh_dir: home.join(".ssh"), config, asked: 0 }
    }

    /// Returns what `ssh` makes of a name.
    fn route(&mut self, context: &Context, name: &str) -> Option<Route> {
        let destination = name.parse().ok()?;
        let dir = self.ssh_dir.clone();
        let found = resolve(&self.texts, &destination, &self.person, &mut |pattern| included(&dir, pattern));
        let options = match found {
            Ok(options) => options,
            Err(_) if self.asked < MOST_ASKED => {
                self.asked += 1;
                let alias: SshAlias = name.parse().ok()?;
                let config = self.config.as_deref();
                context.block_on(async { Ok(crate::reach::probe::resolve(&alias, config).await.ok()) }).ok()??
            }
            Err(_) => return None,
        };
        Some(self.route_of(name, &options))
    }

    fn route_of(&self, name: &str, options: &Options) -> Route {
        Route {
            host_name: options.host_name().unwrap_or(name).to_owned(),
            jump: options.get("proxyjump").map(str::to_owned),
            by_command: options.get("proxycommand").is_some(),
            user: options.get("user").filter(|user| *user != self.person.user).map(str::to_owned),
            port: options.port(),
        }
    }
}

/// Reads the files that an `Include` names; patterns are followed in the last part alone.
fn included(dir: &Path, pattern: &str) -> Vec<String> {
    let home = dir.parent().unwrap_or(dir);
    let path = pattern.strip_prefix("~/").map_or_else(|| dir.join(pattern), |below| home.join(below));
    let (Some(parent), Some(last)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Vec::new();
    };
    let Ok(glob) = crate::language::manifest::matcher(last) else { return Vec::new() };
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(|name| glob.is_match(name)))
        .collect();
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect()
}
