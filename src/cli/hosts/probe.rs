//! `csync hosts probe`: looks at hosts, and keeps what it saw.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::hosts::show::{summary, unseen};
use crate::cli::hosts::way::{Answers, connections, hint, way};
use crate::cli::hosts::{Known, Look, owner};
use crate::language::hosts::{Value, add};
use crate::model::facts::{ContainerProgram, Facts, HostReport, ProbeFailure, Probed};
use crate::model::host::{Host, HostName, Origin};
use crate::model::units::Walltime;
use crate::reach::clock;
use crate::reach::docker::Daemon;
use crate::reach::probe::probe;
use crate::reach::transport::{Connections, TransportError};

/// Look at hosts: batch system, limits, machine, programs, scratch
///
/// One connection each; nothing is changed there. What was found is kept, and `csync hosts show` prints it. The batch system and
/// the directory for scratch are added to `hosts.toml` where it says nothing of them, so that they stay what they are until you
/// change them. Without names, all hosts are looked at.
///
/// With `--limits` a container runs there for a moment, which says what limits of memory and processes the kernel holds it to; what
/// a daemon says of itself may be wrong. Nothing is pulled for that: without an image it is not tried.
///
/// A look at a login node does not see what compute nodes are. With `--nodes` a job of at most one minute and one core goes to each
/// partition (with one GPU where there are any), sees which GPUs there are with their memory, driver and CUDA level, and whether the
/// internet can be reached from there; that is kept by partition. What `hosts.toml` says counts more. Jobs that are not over in time
/// are cancelled, and their partitions stay as they were known.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The hosts
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,
    /// Keep nothing and write nothing: only show what is found
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Run a container there too, by its Docker or Podman and of an image that is there, and see whether its limits hold
    #[arg(long)]
    limits: bool,
    /// Send a short job to each partition, and see what its compute nodes are
    #[arg(long, requires = "hosts", conflicts_with = "dry_run")]
    nodes: bool,
    /// Wait no longer than this for those jobs: 90s, 1h30m, 01:30:00
    #[arg(long, value_name = "TIME", default_value = "5m", requires = "nodes")]
    within: Walltime,
}

/// What came of looking at one host.
struct Looked {
    name: HostName,
    result: Result<Facts, TransportError>,
    /// What was added to `hosts.toml`.
    added: Vec<String>,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args, look_there: Look) -> Result<Exit, Failure> {
    let known = Known::load(context)?;
    let hosts: Vec<&Host> = if args.hosts.is_empty() {
        known.hosts.iter().collect()
    } else {
        args.hosts.iter().map(|name| known.host(name)).collect::<Result<_, _>>()?
    };
    let mut looked = context.block_on(look(context, &hosts, args, &known))?;
    if !args.dry_run {
        for one in &mut looked {
            one.added = fix(&known, one)?;
        }
    }
    if !context.json() {
        let file = known.dir.hosts_file();
        for one in looked.iter().filter(|one| !one.added.is_empty()) {
            let verb = if one.added.len() == 1 { "was" } else { "were" };
            let what = one.added.join(" and ");
            context.say(&format!("{what} of {} {verb} added to {}.", one.name, file.display()));
        }
        if let [one] = looked.as_slice()
            && one.result.is_ok()
            && !args.dry_run
        {
            context.say(&format!("`csync hosts show {}` prints all of it.", one.name));
        }
    }
    let mut failed = looked.iter().any(|one| one.result.is_err());
    let mut sights = BTreeMap::new();
    if args.nodes {
        let seen = looked.iter().filter(|one| one.result.is_ok()).map(|one| one.name.clone());
        let (told, is_short) = look_there(context, &seen.collect::<Vec<_>>(), args.within)?;
        sights = told;
        failed |= is_short;
    }
    if context.json() {
        let hosts: Vec<_> = looked.iter().map(|one| to_json(one, sights.remove(&one.name))).collect();
        context.print_json(&json!({ "hosts": hosts, "dry_run": args.dry_run }))?;
    }
    Ok(if failed { Exit::RunFailed } else { Exit::Success })
}

fn to_json(one: &Looked, nodes: Option<serde_json::Value>) -> serde_json::Value {
    let mut told = match &one.result {
        Ok(facts) => json!({ "name": one.name, "facts": facts, "added": one.added }),
        Err(error) => json!({ "name": one.name, "failure": error.to_string(), "hint": error.hint() }),
    };
    if let (Some(nodes), Some(told)) = (nodes, told.as_object_mut()) {
        told.insert("nodes".to_owned(), nodes);
    }
    told
}

/// Looks at hosts, all at once; then, one after the other, at those that ask a person something.
async fn look(context: &Context, hosts: &[&Host], args: &Args, known: &Known) -> Result<Vec<Looked>, Failure> {
    let client = if args.dry_run { None } else { Some(context.reach().await?) };
    let connections = connections(context, Answers::Nobody)?;
    let mut waiting = FuturesUnordered::new();
    for (index, host) in hosts.iter().enumerate() {
        let connections = &connections;
        waiting
            .push(async move { (index, look_at(connections, host).await.map(|facts| remember(facts, host, known))) });
    }
    let mut results: Vec<(usize, Result<Facts, TransportError>)> = Vec::new();
    let mut asking = Vec::new();
    while let Some((index, result)) = waiting.next().await {
        match result {
            Err(TransportError::NeedsLogin { .. }) if context.is_watched() => asking.push(index),
            result => {
                tell(context, hosts, index, &result, args)?;
                results.push((index, result));
            }
        }
    }
    drop(waiting);
    let attended = self::connections(context, Answers::ForAll)?;
    for index in asking {
        let Some(host) = hosts.get(index) else { continue };
        let result = look_at(&attended, host).await.map(|facts| remember(facts, host, known));
        tell(context, hosts, index, &result, args)?;
        results.push((index, result));
    }
    results.sort_by_key(|(index, _)| *index);
    let mut looked = Vec::new();
    for (index, mut result) in results {
        let Some(host) = hosts.get(index) else { continue };
        if let Ok(facts) = &mut result {
            keep_tried(&mut facts.containers, known.facts(host).map(|facts| &*facts.containers).unwrap_or_default());
            if args.limits {
                try_limits(context, &attended, host, &mut facts.containers).await?;
            }
        }
        if let Some(client) = &client {
            let report = HostReport { host: host.name.clone(), probed: probed(&result) };
            client.keep_probed(&report).await?;
        }
        looked.push(Looked { name: host.name.clone(), result, added: Vec::new() });
    }
    Ok(looked)
}

/// Brings in what jobs saw on compute nodes before.
fn remember(facts: Facts, host: &Host, known: &Known) -> Facts {
    let nodes = known.facts(host).map(|facts| facts.nodes.clone()).unwrap_or_default();
    Facts { nodes, ..facts }
}

/// Keeps what was tried before of programs that are the same still.
fn keep_tried(programs: &mut [ContainerProgram], before: &[ContainerProgram]) {
    for program in programs {
        let same = before.iter().find(|before| before.runtime == program.runtime && before.version == program.version);
        program.tried = same.and_then(|before| before.tried);
    }
}

/// Tries whether a host's daemon holds limits, and says how that went.
async fn try_limits(
    context: &Context,
    connections: &Connections,
    host: &Host,
    programs: &mut [ContainerProgram],
) -> Result<(), Failure> {
    let tried = async {
        let way = way(connections, host).await.map_err(|error| error.to_string())?;
        let daemon = Daemon::found(host.name.as_str(), &way).await.map_err(|error| error.to_string())?;
        let daemon = daemon.ok_or("no Docker and no Podman listens that this account may use")?;
        let runtime = daemon.runtime();
        let program = programs.iter_mut().find(|program| program.runtime == runtime);
        let program = program.ok_or("its daemon is there, and not its command")?;
        let owner = owner(context).map_err(|failure| failure.to_string())?;
        program.tried = daemon.try_limits(&owner).await.map_err(|error| error.to_string())?;
        Ok(match program.tried {
            Some(true) => format!("its {runtime} holds limits of memory and processes: a container read them back"),
            Some(false) => format!("its {runtime} takes limits of memory or processes and does not hold them"),
            None => format!("whether its {runtime} holds limits was not tried: there is no image with a shell"),
        })
    };
    let told: Result<String, String> = tried.await;
    if !context.json() {
        context.print(&match told {
            Ok(told) => format!("{}: {told}", host.name),
            Err(why) => format!("{}: whether limits hold was not tried: {why}", host.name),
        })?;
    }
    Ok(())
}

/// Looks at one host.
pub(super) async fn look_at(connections: &Connections, host: &Host) -> Result<Facts, TransportError> {
    let transport = way(connections, host).await?;
    probe(&transport, host.policy).await
}

fn probed(result: &Result<Facts, TransportError>) -> Probed {
    let now = clock::now();
    match result {
        Ok(facts) => Probed { at: Some(now), facts: Some(facts.clone()), failure: None },
        Err(error) => {
            Probed { failure: Some(ProbeFailure { at: now, message: error.to_string() }), ..Probed::default() }
        }
    }
}

/// Says how it went, as soon as that is known.
fn tell(
    context: &Context,
    hosts: &[&Host],
    index: usize,
    result: &Result<Facts, TransportError>,
    args: &Args,
) -> Result<(), Failure> {
    let Some(host) = hosts.get(index).filter(|_| !context.json()) else { return Ok(()) };
    let paint = context.paint();
    match result {
        Ok(facts) => {
            context.print(&format!("{}: {}", paint.bold(&host.name), summary(host, facts)))?;
            facts.notes.iter().for_each(|note| context.say(&format!("  note: {note}")));
            if let Some(words) = unseen(host, Some(facts)).filter(|_| !args.nodes) {
                context.say(&format!("  note: {words}"));
            }
        }
        Err(error) => {
            context.print(&format!("{}: {}", paint.bold(&host.name), paint.red(error)))?;
            if let Some(hint) = hint(error, host) {
                context.say(&format!("  help: {hint}"));
            }
        }
    }
    Ok(())
}

/// Adds to `hosts.toml` what must not change by itself: where job directories live and who starts the jobs.
fn fix(known: &Known, one: &Looked) -> Result<Vec<String>, Failure> {
    let Ok(facts) = &one.result else { return Ok(Vec::new()) };
    if one.name.is_local() || !known.config.file.hosts.iter().any(|entry| entry.name == one.name) {
        return Ok(Vec::new());
    }
    // As it is now: the file may have been written for the host before this one.
    let config = crate::reach::config::HostsConfig::load(&known.dir)?;
    let hosts = config.hosts(&[(one.name.clone(), facts.clone())].into());
    let Some(host) = hosts.get(one.name.as_str()) else { return Ok(Vec::new()) };
    let mut keys = Vec::new();
    if let (Some(batch), Origin::Probed, false) = (host.batch, host.origin("batch"), host.transfer_only) {
        keys.push(("batch", Value::Text(batch.to_string())));
    }
    if let (Some(scratch), Origin::Probed, false) = (&host.scratch, host.origin("scratch"), host.transfer_only) {
        keys.push(("scratch", Value::Text(scratch.to_string())));
    }
    let (text, added) = add(&config.text, &one.name, &keys)
        .map_err(|error| Failure::internal("a file that was read cannot be added to").because(&error))?;
    if !added.is_empty() {
        known.dir.write_hosts(&config.text, &text)?;
    }
    Ok(added)
}
