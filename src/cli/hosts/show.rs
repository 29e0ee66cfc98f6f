//! `csync hosts show`: every value of a host, and what a probe found.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::hosts::nodes::gpu_words;
use crate::cli::hosts::{Known, nodes};
use crate::cli::view::engine::host as describe;
use crate::cli::view::table::{Cell, Column, Page, Table};
use crate::cli::view::words::{ago, cut, duration, many};
use crate::language::hosts::partitions;
use crate::model::batch::{Partition, PartitionState};
use crate::model::facts::{ContainerProgram, Facts, Probed};
use crate::model::host::{Agents, Host, LoginNode, Origin};
use crate::model::units::{Timestamp, Walltime};
use crate::reach::clock;

/// Show a host: every value with who said it, what was found there, its partitions
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The host
    #[arg(value_name = "HOST")]
    host: String,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let known = Known::load(context)?;
    let host = known.host(&args.host)?;
    let nothing = Probed::default();
    let probed = known.probed.get(&host.name).unwrap_or(&nothing);
    let partitions = partitions(host, known.facts(host));
    if context.json() {
        let origins: serde_json::Map<String, serde_json::Value> =
            host.origins.iter().map(|(key, origin)| (key.clone(), origin.to_string().into())).collect();
        let contact = known.contacts.get(&host.name);
        let mut value = json!({ "host": host, "probed": probed, "partitions": partitions, "contact": contact });
        if let Some(host) = value.get_mut("host").and_then(serde_json::Value::as_object_mut) {
            host.insert("origins".to_owned(), origins.into());
        }
        context.print_json(&value)?;
        return Ok(Exit::Success);
    }
    let now = clock::now();
    let mut text = page(host, probed, &partitions, now, Page::stdout(context.paint()));
    if let Some(contact) = known.contacts.get(&host.name) {
        let _ = writeln!(text, "\n{} {}", context.paint().bold("Now"), describe(contact, now));
    }
    context.print(&text)?;
    if probed.facts.is_none() {
        context.say(&format!("`csync hosts probe {}` looks at it.", host.name));
    }
    if let Some(words) = unseen(host, probed.facts.as_ref()) {
        context.say(&words);
    }
    Ok(Exit::Success)
}

/// Says what a probe does not see and nobody said: a look from a login node tells nothing of the network of the nodes behind it.
pub(super) fn unseen(host: &Host, facts: Option<&Facts>) -> Option<String> {
    let told = host.internet.compute.is_some()
        || facts.is_some_and(|facts| facts.nodes.values().any(|sight| sight.internet.is_some()));
    let behind = facts.is_some_and(|facts| facts.batch.is_some()) && !told;
    behind.then(|| {
        format!(
            "Whether compute nodes of {0} see the internet is not seen by a probe: `csync hosts probe --nodes {0}` has a short job in \
             each partition look, and `internet = {{ compute = false }}`, or `true`, below [hosts.{0}] of hosts.toml says it.",
            host.name
        )
    })
}

/// Returns what a host is in one line.
pub(super) fn summary(host: &Host, facts: &Facts) -> String {
    let mut parts = Vec::new();
    match &facts.batch {
        Some(batch) => {
            let version = batch.offers.version.as_deref().unwrap_or("of an unknown version");
            parts.push(format!("{} {version}", batch.flavour()));
            parts.push(many(batch.offers.partitions.len() as u32, "partition"));
        }
        None => parts.push("no batch system".to_owned()),
    }
    parts.extend(facts.machine.cores.map(|cores| many(cores, "core")));
    parts.extend(facts.machine.memory.map(|memory| memory.to_string()));
    for gpu in &facts.machine.gpus {
        parts.push(format!("{} x {}", gpu.count, gpu.model));
    }
    // What hosts.toml says holds.
    let said = host.scratch.as_ref().filter(|_| host.origin("scratch") != Origin::Probed).map(ToString::to_string);
    let found = || facts.scratch.first().map(|it| format!("{}/csync", it.path.trim_end_matches('/')));
    if let Some(path) = said.or_else(found) {
        let around = facts.scratch.iter().find(|it| Path::new(&path).starts_with(&it.path));
        let free = around.and_then(|it| it.free).map_or_else(String::new, |free| format!(" ({free} free)"));
        parts.push(format!("scratch {path}{free}"));
    }
    parts.join(", ")
}

/// A value with its key, and who said it where that is of interest.
type Line = (&'static str, String, String);

fn page(host: &Host, probed: &Probed, partitions: &[Partition], now: Timestamp, page: Page) -> String {
    let mut out = format!("{}\n", page.paint.bold(&host.name));
    lines(&mut out, &configured(host), page);
    if let Some(failure) = &probed.failure {
        let _ = writeln!(out, "\n{} {}", page.paint.red("Last probe failed"), ago(failure.at, now));
        let _ = writeln!(out, "  {}", failure.message);
    }
    if let (Some(facts), Some(at)) = (&probed.facts, probed.at) {
        let _ = writeln!(out, "\n{} {}", page.paint.bold("Found"), ago(at, now));
        lines(&mut out, &found(facts), page);
    }
    if !partitions.is_empty() {
        let _ = write!(out, "\n{}", partition_table(partitions, page));
    }
    if let Some(facts) = &probed.facts {
        out.push_str(&nodes::table(facts, partitions, now, page));
    }
    let notes = probed
        .facts
        .iter()
        .flat_map(|facts| facts.notes.iter().chain(facts.batch.iter().flat_map(|batch| batch.offers.notes.iter())));
    for (index, note) in notes.enumerate() {
        let _ = writeln!(out, "{}{} {note}", if index == 0 { "\n" } else { "" }, page.paint.yellow("note:"));
    }
    out
}

fn lines(out: &mut String, lines: &[Line], page: Page) {
    let keys = lines.iter().map(|(key, _, _)| key.len()).max().unwrap_or(0);
    let origins = lines.iter().map(|(_, _, origin)| origin.len() + 2).max().unwrap_or(0);
    let room = page.width_or(usize::MAX).saturating_sub(keys + 4 + origins).max(20);
    let values = lines.iter().map(|(_, value, _)| console::measure_text_width(value)).max().unwrap_or(0).min(room);
    for (key, value, origin) in lines {
        if origin.is_empty() {
            let indented = format!("\n  {:keys$}  ", "");
            let _ = writeln!(out, "  {key:keys$}  {}", wrap(value, room).join(&indented));
            continue;
        }
        let value = cut(value, values);
        let pad = values - console::measure_text_width(&value).min(values) + 2;
        let _ = writeln!(out, "  {key:keys$}  {value}{:pad$}{}", "", page.paint.dim(origin));
    }
}

/// Breaks a list at its commas into lines of a width.
fn wrap(value: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in value.split_inclusive(", ") {
        match lines.last_mut() {
            Some(line) if console::measure_text_width(line) + console::measure_text_width(part.trim_end()) <= width => {
                line.push_str(part);
            }
            _ => lines.push(part.to_owned()),
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

/// Returns every value that holds for a host.
fn configured(host: &Host) -> Vec<Line> {
    let or = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let list = |words: Vec<String>| if words.is_empty() { "-".to_owned() } else { words.join(", ") };
    let yes = |there: Option<bool>| or(there.map(|there| if there { "yes" } else { "no" }.to_owned()));
    let word =
        |all: &[(LoginNode, &'static str)]| all.iter().find(|(it, _)| *it == host.policy.login_node).map(|it| it.1);
    let agents = Agents::ALL.iter().find(|(agents, _)| *agents == host.policy.agents).map(|it| it.1);
    let mut lines = vec![
        ("ssh", or(host.ssh.as_ref().map(ToString::to_string))),
        ("site", or(host.site.clone())),
        ("batch", or(host.batch.map(|batch| batch.to_string()))),
        ("scratch", or(host.scratch.as_ref().map(ToString::to_string))),
        ("tags", list(host.tags.clone())),
        ("account", or(host.account.clone())),
        ("max_jobs", or(host.max_jobs.map(|most| most.to_string()))),
        ("rate", or(host.rate.map(|rate| rate.to_string()))),
        ("keep_above", host.keep_above.to_string()),
        ("containers", list(host.containers.iter().map(ToString::to_string).collect())),
        ("internet.login", yes(host.internet.login)),
        ("internet.compute", yes(host.internet.compute)),
        ("filesystems", list(host.filesystems.iter().map(ToString::to_string).collect())),
        ("transfer_only", yes(Some(host.transfer_only))),
        ("simulated", or(host.simulated.map(|simulated| simulated.to_string()))),
        ("policy.login_node", or(word(&LoginNode::ALL).map(str::to_owned))),
        ("policy.poll_min", Walltime(host.policy.poll_min.as_secs()).to_string()),
        ("policy.agents", or(agents.map(str::to_owned))),
        ("policy.connections_per_minute", host.policy.connections_per_minute.to_string()),
        ("policy.ask_internet", yes(Some(host.policy.ask_internet))),
    ];
    lines.retain(|(key, _)| match *key {
        "simulated" => host.simulated.is_some(),
        "rate" => host.rate.is_some(),
        _ => true,
    });
    if host.name.is_local() {
        lines.retain(|(key, _)| !matches!(*key, "ssh" | "transfer_only"));
    }
    lines.into_iter().map(|(key, value)| (key, value, host.origin(key).to_string())).collect()
}

/// Returns what a probe found, line by line; what it did not find is left out.
fn found(facts: &Facts) -> Vec<Line> {
    let mut found: Vec<(&'static str, String)> = Vec::new();
    let machine = &facts.machine;
    let words = [
        machine.hostname.clone(),
        machine.distribution.clone().unwrap_or_default(),
        format!("{} {}", machine.kernel, machine.arch),
        machine.cores.map(|cores| many(cores, "core")).unwrap_or_default(),
        machine.memory.map(|memory| memory.to_string()).unwrap_or_default(),
    ];
    found.push(("machine", join(words)));
    for gpu in &machine.gpus {
        found.push(("GPU", gpu_words(gpu)));
    }
    if let Some(batch) = &facts.batch {
        let version = batch.offers.version.clone().unwrap_or_default();
        let bin = batch.bin.as_ref().map(|bin| format!("commands in {bin}")).unwrap_or_default();
        found.push(("batch", join([format!("{} {version}", batch.flavour()).trim_end().to_owned(), bin])));
        let names: Vec<String> = batch.offers.accounts.iter().map(|account| account.name.clone()).collect();
        found.push(("accounts", join(names)));
        found.push(("qos", join(batch.offers.qos.iter().map(|qos| qos.name.clone()))));
        found.push(("array limit", batch.offers.array_max.map(|most| most.to_string()).unwrap_or_default()));
    }
    let login = &facts.account;
    let umask = login.umask.map(|umask| format!("umask {umask:04o}")).unwrap_or_default();
    found.push(("login", join([login.user.clone(), login.home.clone(), login.shell.clone(), umask])));
    found.push(("containers", join(facts.containers.iter().map(runtime_words))));
    let modules = facts.modules.as_ref();
    found.push((
        "modules",
        modules.map(|it| join([it.kind.clone(), it.version.clone().unwrap_or_default()])).unwrap_or_default(),
    ));
    let conda = facts.conda.as_ref();
    found.push((
        "conda",
        conda.map(|it| join([it.path.clone(), it.version.clone().unwrap_or_default()])).unwrap_or_default(),
    ));
    found.push((
        "programs",
        join(facts.tools.iter().map(|(name, version)| match version.as_str() {
            "yes" => name.clone(),
            version => format!("{name} {version}"),
        })),
    ));
    for candidate in &facts.scratch {
        let free = candidate.free.map(|free| format!("{free} free")).unwrap_or_default();
        let shared = if candidate.shared { "shared" } else { "" };
        found.push(("scratch", join([candidate.path.clone(), candidate.why.clone(), shared.to_owned(), free])));
    }
    for quota in &facts.quotas {
        let limit = quota.limit.map_or_else(|| "no limit".to_owned(), |limit| format!("of {limit}"));
        found.push(("quota", format!("{}: {} {limit}", quota.filesystem, quota.used)));
    }
    if let Some(load) = facts.load {
        found.push(("load", format!("{load:.1} processes in the mean of 5 minutes, when it was probed")));
    }
    let offered = facts.batch.as_ref().map(|batch| batch.offers.partitions.as_slice());
    found.push(("shared nodes", offered.map(shared_nodes).unwrap_or_default()));
    found.push(("out of service", offered.and_then(out_of_service).unwrap_or_default()));
    let routes = offered.into_iter().flatten().filter(|it| !it.routes_to.is_empty());
    found.push(("routing", join(routes.map(|it| format!("{} to {}", it.name, it.routes_to.join(" or "))))));
    let idle = facts.batch.iter().flat_map(|batch| &batch.offers.partitions);
    let idle = idle.filter_map(|it| Some(format!("{} in {}", it.idle?, it.name)));
    found.push(("idle cores", join(idle)));
    if let Some(trip) = facts.trip {
        found.push(("answers", format!("in {}", duration(trip))));
    }
    if let Some(skew) = facts.skew {
        found.push(("clock", clock_words(skew.seconds, skew.error)));
    }
    found.into_iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| (key, value, String::new())).collect()
}

/// Says how many nodes partitions have in common.
fn shared_nodes(partitions: &[Partition]) -> String {
    let of = |it: &Partition| {
        let after = it.shares.iter().filter(|(other, _)| **other > it.name);
        after.map(|(other, nodes)| format!("{} in {} and {other}", many(*nodes, "node"), it.name)).collect::<Vec<_>>()
    };
    let mut said: Vec<String> = partitions.iter().flat_map(of).collect();
    let others = said.len().saturating_sub(MOST_NAMED);
    said.truncate(MOST_NAMED);
    if others > 0 {
        said.push(format!("and {others} more pairs"));
    }
    said.join(", ")
}

/// Says how many nodes of each partition start no jobs; none where all do, or nobody told.
pub(super) fn out_of_service(partitions: &[Partition]) -> Option<String> {
    let away = |it: &Partition| {
        let away = it.nodes.saturating_sub(it.in_service?);
        (away > 0).then(|| format!("{away} of {} in {}", many(it.nodes, "node"), it.name))
    };
    let mut said: Vec<String> = partitions.iter().filter_map(away).collect();
    let others = said.len().saturating_sub(MOST_NAMED);
    said.truncate(MOST_NAMED);
    if others > 0 {
        said.push(format!("and some in {}", many(others as u32, "other partition")));
    }
    (!said.is_empty()).then(|| said.join(", "))
}

/// Says what a program that runs containers is, and what it can.
fn runtime_words(program: &ContainerProgram) -> String {
    let said = [
        (program.usable == Some(false)).then_some("not for this account"),
        match (program.tried, program.limits) {
            (Some(true), _) => Some("holds limits: tried"),
            (Some(false), _) => Some("holds no limits: tried"),
            (None, Some(true)) => Some("holds limits, by its own words: not tried"),
            (None, Some(false)) => Some("holds no limits"),
            (None, None) => None,
        },
        program.gpus.map(|usable| if usable { "with GPUs" } else { "without GPUs" }),
    ];
    let said: Vec<&str> = said.into_iter().flatten().collect();
    let said = if said.is_empty() { String::new() } else { format!(" ({})", said.join("; ")) };
    format!("{} {}{said}", program.runtime, program.version)
}

/// Says how far a clock is off.
pub(super) fn clock_words(seconds: f64, error: f64) -> String {
    if seconds.abs() <= error.max(0.05) {
        return "as here".to_owned();
    }
    format!("{} {} ours", duration(seconds.abs()), if seconds > 0.0 { "ahead of" } else { "behind" })
}

fn join(words: impl IntoIterator<Item = String>) -> String {
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ")
}

/// Partitions with nodes out of service that are named one by one.
const MOST_NAMED: usize = 6;

const COLUMNS: &[Column] = &[
    Column::Text("PARTITION"),
    Column::Word("STATE"),
    Column::Number("WALLTIME"),
    Column::Number("NODES"),
    Column::Number("CORES"),
    Column::Number("MEMORY"),
    Column::Extra("GPUS"),
];

fn partition_table(partitions: &[Partition], page: Page) -> String {
    let mut table = Table::new(page, COLUMNS);
    let or = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    for partition in partitions {
        let name = if partition.is_default { format!("{}*", partition.name) } else { partition.name.clone() };
        let state = match partition.state {
            PartitionState::Up => "up",
            PartitionState::Stopped => "stopped",
            PartitionState::Closed => "closed",
        };
        let gpus = partition.gpus.iter().map(|(model, count)| format!("{count} {model}"));
        table.row(vec![
            Cell::new(name),
            Cell::new(state),
            Cell::new(or(partition.walltime_max.map(|time| time.to_string()))),
            Cell::new(or((partition.nodes > 0).then(|| match partition.in_service {
                Some(serving) if serving < partition.nodes => format!("{serving} of {}", partition.nodes),
                _ => partition.nodes.to_string(),
            }))),
            Cell::new(or(partition.cores_per_node.map(|cores| cores.to_string()))),
            Cell::new(or(partition.memory_per_node.map(|memory| memory.to_string()))),
            Cell::new(join(gpus)),
        ]);
    }
    table.print()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::view::Paint;
    use crate::language::hosts::{merge, read};
    use crate::language::probe::parse;
    use crate::model::facts::ProbeFailure;
    use crate::model::host::ContainerRuntime;

    #[test]
    fn a_host_is_shown_with_who_said_what() {
        let facts = parse("csync-0123456789abcdef", include_str!("../../../tests/replies/probe/dash.txt"));
        let text = "[hosts.hpc]\nssh = \"login\"\ntags = [\"gpu\", \"big\"]\n[hosts.hpc.policy]\npoll_min = \"1m\"\n\
            [hosts.hpc.partitions.long]\nwalltime = \"7d\"\nmemory = \"256G\"\ngpus = 2\n";
        let (file, _) = read(text, &[]);
        let hosts = merge(&file, &[], &[("hpc".parse().unwrap(), facts.clone())].into());
        let host = hosts.get("hpc").unwrap();
        let failure = ProbeFailure { at: Timestamp(90_000_000), message: "hpc cannot be reached".to_owned() };
        let probed = Probed { at: Some(Timestamp(0)), facts: Some(facts.clone()), failure: Some(failure) };
        let view = Page { width: Some(80), paint: Paint::new(false) };
        let text = page(host, &probed, &partitions(host, Some(&facts)), Timestamp(120_000_000), view);
        assert!(text.lines().all(|line| console::measure_text_width(line) <= 80), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_summary_names_the_scratch_that_is_used() {
        let mark = "csync-0123456789abcdef";
        let room = "/dev/x 100 50 1048576 50% /scratch";
        let facts = parse(mark, &format!("\n{mark} scratch\nSCRATCH\t/scratch/ada\t{room}\n{mark} end\n"));
        let told = |text: &str| {
            let (file, _) = read(&format!("[hosts.lab]\n{text}"), &[]);
            summary(merge(&file, &[], &[("lab".parse().unwrap(), facts.clone())].into()).get("lab").unwrap(), &facts)
        };
        assert_eq!(told(""), "no batch system, scratch /scratch/ada/csync (1G free)");
        assert_eq!(told("scratch = \"/scratch/ada/mine\"\n"), "no batch system, scratch /scratch/ada/mine (1G free)");
        assert_eq!(told("scratch = \"/other/ada\"\n"), "no batch system, scratch /other/ada");
    }

    #[test]
    fn what_no_probe_sees_is_said_until_somebody_told_it() {
        let facts = parse(
            "csync-0123456789abcdef",
            "\ncsync-0123456789abcdef batch\nflavour=slurm\ncsync-0123456789abcdef end\n",
        );
        assert!(facts.batch.is_some());
        let host = |text: &str| {
            let (file, _) = read(text, &[]);
            merge(&file, &[], &[("hpc".parse().unwrap(), facts.clone())].into()).get("hpc").unwrap().clone()
        };
        let words = unseen(&host("[hosts.hpc]\nssh = \"login\"\n"), Some(&facts)).unwrap();
        assert!(words.contains("`internet = { compute = false }`") && words.contains("[hosts.hpc]"), "{words}");
        let told = host("[hosts.hpc]\nssh = \"login\"\ninternet = { compute = false }\n");
        assert_eq!(unseen(&told, Some(&facts)), None, "somebody told it");
        let plain = Facts { batch: None, ..facts.clone() };
        assert_eq!(unseen(&host("[hosts.hpc]\nssh = \"login\"\n"), Some(&plain)), None, "there are none behind it");
    }

    #[test]
    fn nodes_out_of_service_are_told_by_partition() {
        let part = |name: &str, nodes, in_service| Partition {
            name: name.to_owned(),
            nodes,
            in_service,
            ..Partition::default()
        };
        let all = [part("debug", 3, Some(2)), part("long", 2, Some(2)), part("old", 1, Some(0)), part("dark", 4, None)];
        assert_eq!(out_of_service(&all).as_deref(), Some("1 of 3 nodes in debug, 1 of 1 node in old"));
        assert_eq!(out_of_service(&all[1..2]), None);
        let table = partition_table(&all, Page { width: Some(80), paint: Paint::new(false) });
        let nodes =
            |row: usize| table.lines().nth(row).unwrap().split_whitespace().skip(3).collect::<Vec<_>>().join(" ");
        assert_eq!([1, 2, 3, 4].map(nodes), ["2 of 3 - -", "2 - -", "0 of 1 - -", "4 - -"], "{table}");
        let many: Vec<Partition> = (0..8).map(|n| part(&format!("p{n}"), 2, Some(1))).collect();
        assert!(out_of_service(&many).unwrap().ends_with("1 of 2 nodes in p5, and some in 2 other partitions"));
    }

    #[test]
    fn runtimes_are_told_with_what_they_can() {
        let program = |usable, limits, gpus| ContainerProgram {
            runtime: ContainerRuntime::Podman,
            version: "4.3.1".to_owned(),
            usable,
            limits,
            tried: None,
            gpus,
        };
        for (usable, limits, gpus, words) in [
            (None, None, None, "podman 4.3.1"),
            (Some(true), Some(false), None, "podman 4.3.1 (holds no limits)"),
            (
                Some(false),
                Some(true),
                Some(true),
                "podman 4.3.1 (not for this account; holds limits, by its own words: not tried; with GPUs)",
            ),
        ] {
            assert_eq!(runtime_words(&program(usable, limits, gpus)), words);
        }
        // What was seen counts for more than what is said.
        for (tried, words) in [(true, "holds limits: tried"), (false, "holds no limits: tried")] {
            let program = ContainerProgram { tried: Some(tried), ..program(None, Some(!tried), None) };
            assert_eq!(runtime_words(&program), format!("podman 4.3.1 ({words})"));
        }
    }

    #[test]
    fn clocks_are_told_in_words() {
        for (seconds, error, words) in [
            (0.2, 0.3, "as here"),
            (3599.0, 0.3, "59m 59s ahead of ours"),
            (-2.0, 0.5, "2.0s behind ours"),
            (0.01, 0.0, "as here"),
        ] {
            assert_eq!(clock_words(seconds, error), words);
        }
    }
}
