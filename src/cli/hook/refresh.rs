//! `csync hook refresh`: makes the index that the hook looks things up in. Hidden: it is made whenever hosts change.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::hook::lookup::{Meta, Stamp, tried_path};
use crate::cli::hosts::Known;
use crate::decide::advise::{Route, host_facts, names};
use crate::language::ssh::config::resolve;
use crate::language::ssh::{Options, Person};
use crate::model::api::ErrorKind;
use crate::model::data::{Rate, Replica};
use crate::model::host::{Host, SshAlias};
use crate::reach::advice::{self, META_KEY, copy, data_key, host_key, name_key, rate_key};
use crate::reach::clock;
use crate::reach::config::{ConfigDir, StateDir};
use crate::reach::index::IndexWriter;
use crate::reach::learned::{Extract, Learned, LearnedError, Place, Stamp as StoreStamp, take_in};
use crate::reach::store::{Place as StorePlace, Reader, StoreError};

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
    match make_of(context, &state, stamp.clone()) {
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

fn make_of(context: &Context, state: &StateDir, stamp: Stamp) -> Result<usize, Failure> {
    // What the engine learns from here on is put into the new one.
    let _lock = advice::lock(state.root()).map_err(|error| written(&error))?;
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
    // One that is made up runs here, and this machine is no login node for that.
    let is_real = |name: &str| hosts.iter().any(|host| host.name.as_str() == name && host.simulated.is_none());
    let is_here = |name: &&String| {
        is_real(name) && probed.get(*name).is_some_and(|facts| !own.is_empty() && facts.machine.hostname == own)
    };
    let here = probed.keys().filter(|name| *name != "local").find(is_here).cloned();
    writer.add(META_KEY, &Meta { here, hosts: stamp });
    // What has no room is what comes last: of a hundred thousand copies the oldest.
    let (replicas, rates) = data(context, state);
    add_rates(rates, &mut writer);
    add_learned(context, state, &mut writer);
    add_copies(replicas, &mut writer);
    let count = writer.len();
    let left = writer.write(&advice::path(state.root())).map_err(|error| written(&error))?;
    Ok(count.saturating_sub(usize::try_from(left).unwrap_or(usize::MAX)))
}

fn written(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(ErrorKind::Storage, "the index for coding agents cannot be written").because_of_source(error)
}

/// Returns the copies of files that lie on hosts, and how fast files moved. Hosts are known without them.
fn data(context: &Context, state: &StateDir) -> (Vec<Replica>, Vec<Rate>) {
    let place = StorePlace::of(state);
    let read = context.block_on(async {
        let read = async {
            let Some(reader) = Reader::open(&place).await? else { return Ok((Vec::new(), Vec::new())) };
            Ok::<_, StoreError>((reader.replicas(None).await?, reader.rates().await?))
        };
        Ok(read.await)
    });
    read.ok().and_then(Result::ok).unwrap_or_default()
}

/// Adds copies by their paths here, the newest first.
fn add_copies(mut replicas: Vec<Replica>, writer: &mut IndexWriter) {
    replicas.sort_by_key(|replica| std::cmp::Reverse(replica.at));
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut copies: Vec<(String, Vec<_>)> = Vec::new();
    for replica in &replicas {
        let key = data_key(&replica.here());
        let at = *places.entry(key).or_insert_with_key(|key| {
            copies.push((key.clone(), Vec::new()));
            copies.len() - 1
        });
        if let Some((_, all)) = copies.get_mut(at) {
            all.push(copy(replica));
        }
    }
    for (key, copies) in &copies {
        writer.add(key, copies);
    }
}

/// Adds how fast files moved.
fn add_rates(mut rates: Vec<Rate>, writer: &mut IndexWriter) {
    // The first record of a key counts: the newest rate.
    rates.sort_by_key(|rate| std::cmp::Reverse(rate.at));
    for rate in &rates {
        writer.add(&rate_key(rate.source.as_str(), rate.target.as_str()), &rate.rate);
    }
}

/// Adds what was learned of commands, sealed. Behind a passphrase it stays where it is.
fn add_learned(context: &Context, state: &StateDir, writer: &mut IndexWriter) {
    let place = Place::of(state);
    let Some(extract) = Extract::open(&place).filter(|_| place.path.exists()) else { return };
    let read = context.block_on(async {
        let read = async {
            let now = clock::now();
            let mut learned = Learned::open(&place, None, now).await?;
            take_in(&mut learned, &place, now).await?;
            // Who closes it last brings the log into the file: the stamp is of what then stands still.
            learned.close().await;
            let before = StoreStamp::of(&place);
            let mut learned = Learned::open(&place, None, now).await?;
            let all = learned.all().await?;
            let is_whole = learned.unreadable() == 0;
            learned.close().await;
            let stamp = before.filter(|before| is_whole && StoreStamp::of(&place).as_ref() == Some(before));
            Ok::<_, LearnedError>((all, stamp))
        };
        Ok(read.await)
    });
    if let Ok(Ok((entries, stamp))) = read {
        extract.add_all(&entries, writer);
        if let Some(stamp) = stamp {
            extract.add_stamp(&stamp, writer);
        }
    }
}

/// Makes the store of what is learned, and its key: without one, nothing that hooks see can be sealed.
pub(super) fn prepare_to_learn(context: &Context) -> Result<(), Failure> {
    let state = context.state_dir()?;
    state.create()?;
    let place = Place::of(&state);
    if place.path.exists() {
        return Ok(());
    }
    context.block_on(async {
        // Commands are judged without it.
        if let Ok(learned) = Learned::open(&place, None, clock::now()).await {
            learned.close().await;
        }
        Ok(())
    })
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
