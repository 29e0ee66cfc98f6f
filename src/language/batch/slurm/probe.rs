//! What a Slurm site offers: partitions, accounts, qos, limits, whether there is a history.

use std::collections::{BTreeMap, HashMap};

use crate::language::batch::nodes::{node_names, share};
use crate::language::batch::text::section_function;
use crate::language::batch::text::{Section, complaint, count, first_line, given, limit, memory, section, sections};
use crate::model::batch::{Account, BatchFacts, Dialect, Flavour, History, Partition, PartitionState, Qos};
use crate::model::units::Bytes;

/// The script that learns what the site offers.
pub const PROBE: &str = concat!(
    section_function!(),
    "csync_section version sbatch --version\n\
     csync_section config scontrol show config\n\
     csync_section partitions scontrol -o show partitions\n\
     csync_section nodes sinfo -h -a -o '%P|%a|%l|%D|%T|%N|%c|%m|%f|%G|%C'\n\
     csync_section history sacct -n -X -S now -o JobID\n\
     csync_section accounts sacctmgr -nP show assoc user=\"$(id -un)\" \
     format=Account,Partition,QOS,MaxJobs,MaxSubmitJobs,MaxWall\n\
     csync_section qos sacctmgr -nP show qos format=Name,MaxWall,MaxJobsPerUser,MaxSubmitJobsPerUser\n"
);

/// Reads what [`PROBE`] printed.
pub fn parse_probe(output: &str) -> BatchFacts {
    let sections = sections(output);
    let config = section(&sections, "config").unwrap_or_default();
    let history = history(&sections, config);
    let mut partitions = partitions(section(&sections, "partitions").unwrap_or_default());
    let told = partitions.len();
    for line in section(&sections, "nodes").unwrap_or_default().lines() {
        add_nodes(&mut partitions, told, line);
    }
    let mut by_node: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, partition) in partitions.iter().enumerate() {
        for node in partition.node_names.iter().flat_map(|list| node_names(list)) {
            let of = by_node.entry(node).or_default();
            // A node whose state changes while it is asked for stands in two lists.
            if of.last() != Some(&at) {
                of.push(at);
            }
        }
    }
    share(&mut partitions, by_node.into_values());
    let mut notes: Vec<String> = [("partitions", "partitions"), ("nodes", "nodes"), ("config", "limits of the site")]
        .into_iter()
        .filter_map(|(name, what)| complaint(&sections, name, what))
        .collect();
    if history == History::Kept {
        notes.extend(complaint(&sections, "history", "history of jobs"));
        notes.extend(complaint(&sections, "accounts", "accounts"));
    }
    BatchFacts {
        dialect: Dialect { history, ..Dialect::of(Flavour::Slurm) },
        version: section(&sections, "version").and_then(first_line).and_then(version),
        partitions,
        accounts: section(&sections, "accounts").unwrap_or_default().lines().filter_map(account).collect(),
        qos: section(&sections, "qos").unwrap_or_default().lines().filter_map(qos).collect(),
        // The largest index is one less; ours begin with 1.
        array_max: setting(config, "MaxArraySize").and_then(count).map(|size| size.saturating_sub(1)),
        jobs_max: None,
        cgroups: setting(config, "TaskPlugin").map(|plugins| plugins.contains("cgroup")),
        notes,
    }
}

/// Takes the number out of `slurm-wlm 22.05.8`.
fn version(line: &str) -> Option<String> {
    line.split_whitespace().last().filter(|word| word.starts_with(|c: char| c.is_ascii_digit())).map(str::to_owned)
}

/// There is a history where accounting is stored; a database that is down now keeps one nevertheless.
fn history(sections: &[Section<'_>], config: &str) -> History {
    let disabled = sections.iter().any(|s| s.name == "history" && s.text.contains("accounting storage is disabled"));
    let storage = setting(config, "AccountingStorageType");
    let none = storage.is_some_and(|storage| storage.ends_with("/none") || storage == "(null)");
    if disabled || none { History::Off } else { History::Kept }
}

/// Finds a line `Key    = value` of `scontrol show config`.
fn setting<'a>(config: &'a str, key: &str) -> Option<&'a str> {
    config.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == key).then(|| value.trim())
    })
}

fn partitions(text: &str) -> Vec<Partition> {
    text.lines().filter_map(partition).collect()
}

/// Reads a line `PartitionName=debug Key=value ...`.
fn partition(line: &str) -> Option<Partition> {
    let keys: BTreeMap<&str, &str> = line.split_whitespace().filter_map(|word| word.split_once('=')).collect();
    let get = |key: &str| keys.get(key).copied();
    let mib = |key: &str| get(key).and_then(|value| memory(value, Bytes::mib(1)));
    let accounts = get("AllowAccounts").filter(|accounts| *accounts != "ALL");
    Some(Partition {
        name: get("PartitionName")?.to_owned(),
        is_default: get("Default") == Some("YES"),
        state: state(get("State").unwrap_or("UP")),
        walltime_max: get("MaxTime").and_then(limit),
        walltime_default: get("DefaultTime").and_then(limit),
        nodes: get("TotalNodes").and_then(count).unwrap_or(0),
        nodes_max: get("MaxNodes").and_then(count),
        memory_max: mib("MaxMemPerNode"),
        memory_default_per_core: mib("DefMemPerCPU"),
        memory_max_per_core: mib("MaxMemPerCPU"),
        has_whole_nodes: get("OverSubscribe") == Some("EXCLUSIVE"),
        accounts: accounts.map(|names| names.split(',').map(str::to_owned).collect()).unwrap_or_default(),
        ..Partition::default()
    })
}

fn state(word: &str) -> PartitionState {
    match word.to_ascii_uppercase().as_str() {
        "UP" => PartitionState::Up,
        "DOWN" => PartitionState::Stopped,
        _ => PartitionState::Closed,
    }
}

/// Adds a line of `sinfo`: nodes of one kind in one partition. The nodes of the first `told` partitions are counted already;
/// others are new.
fn add_nodes(partitions: &mut Vec<Partition>, told: usize, line: &str) {
    let cells: Vec<&str> = line.split('|').collect();
    let [name, avail, time, nodes, state_of_nodes, names, cores, mem, features, gres, used] = cells.as_slice() else {
        return;
    };
    let plain = name.trim_end_matches('*');
    let known = partitions.iter().position(|partition| partition.name == plain);
    let at = known.unwrap_or_else(|| {
        partitions.push(Partition {
            name: plain.to_owned(),
            is_default: name.ends_with('*'),
            state: state(avail),
            walltime_max: limit(time),
            ..Partition::default()
        });
        partitions.len() - 1
    });
    let Some(partition) = partitions.get_mut(at) else { return };
    let number = count(nodes).unwrap_or(0);
    if at >= told {
        partition.nodes += number;
    }
    // A partition without nodes has a line that says so.
    if number > 0 {
        let serving = if serves(state_of_nodes) { number } else { 0 };
        partition.in_service = Some(partition.in_service.unwrap_or(0).saturating_add(serving));
    }
    if let Some(names) = given(names).filter(|names| !partition.node_names.iter().any(|known| known == names)) {
        partition.node_names.push(names.to_owned());
    }
    partition.cores_per_node = partition.cores_per_node.max(count(cores));
    let mem = memory(mem, Bytes::mib(1));
    partition.memory_per_node = partition.memory_per_node.max(mem);
    partition.memory_least = partition.memory_least.into_iter().chain(mem).min();
    // Allocated, idle, other, in all.
    if let Some(idle) = used.split('/').nth(1).and_then(count) {
        partition.idle = Some(partition.idle.unwrap_or(0).saturating_add(idle));
    }
    for feature in given(features).into_iter().flat_map(|features| features.split(',')) {
        if !partition.features.iter().any(|known| known == feature) {
            partition.features.push(feature.to_owned());
        }
    }
    for (model, gpus) in gpus(gres) {
        let most = partition.gpus.entry(model).or_default();
        *most = gpus.max(*most);
    }
}

/// Returns whether nodes in a state start jobs, now or when they are free or awake: `*` marks those that do not answer, `$` those
/// in a reservation for maintenance. What sleeps to save power is woken for a job.
fn serves(state: &str) -> bool {
    const OUT: [&str; 14] = [
        "blocked", "down", "drain", "drained", "draining", "error", "fail", "failing", "future", "inval", "maint",
        "npc", "perfctrs", "unknown",
    ];
    let word = state.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    let marks = state.get(word.len()..).unwrap_or_default();
    !marks.contains(['*', '$']) && !OUT.contains(&word.to_ascii_lowercase().as_str())
}

/// Reads the GPUs out of `gpu:a100:4(S:0-1),lustre:1`: how many of each model.
fn gpus(gres: &str) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    for part in split_outside_brackets(gres) {
        let part = part.split('(').next().unwrap_or_default();
        let mut words = part.split(':');
        if words.next() != Some("gpu") {
            continue;
        }
        let words: Vec<&str> = words.collect();
        let (model, number) = match words.as_slice() {
            [] => ("gpu", 1),
            [one] => one.parse().map_or((*one, 1), |number| ("gpu", number)),
            [model, number, ..] => (*model, number.parse().unwrap_or(1)),
        };
        *found.entry(model.to_owned()).or_default() += number;
    }
    found
}

/// Splits at commas; those in `(S:0,1)` are of the part.
fn split_outside_brackets(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0i32;
    text.split(move |c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    })
}

fn account(line: &str) -> Option<Account> {
    let cells: Vec<&str> = line.split('|').collect();
    let [name, partition, qos, running, jobs, wall] = cells.as_slice() else { return None };
    Some(Account {
        name: given(name)?.to_owned(),
        partition: given(partition).map(str::to_owned),
        qos: given(qos).into_iter().flat_map(|names| names.split(',')).map(str::to_owned).collect(),
        running_max: count(running),
        jobs_max: count(jobs),
        walltime_max: limit(wall),
    })
}

fn qos(line: &str) -> Option<Qos> {
    let cells: Vec<&str> = line.split('|').collect();
    let [name, wall, running, jobs] = cells.as_slice() else { return None };
    Some(Qos {
        name: given(name)?.to_owned(),
        walltime_max: limit(wall),
        running_max: count(running),
        jobs_max: count(jobs),
    })
}
