//! What a PBS site offers: queues, nodes, limits, whether there is a history.

use std::collections::BTreeMap;

use crate::language::batch::nodes::share;
use crate::language::batch::text::section_function;
use crate::language::batch::text::{attributes, complaint, count, given, limit, memory, section, sections};
use crate::model::batch::{BatchFacts, Dialect, Flavour, History, Partition, PartitionState};
use crate::model::units::Bytes;

/// The script that learns what the site offers. Nodes are boiled down there: a large site has megabytes of them.
pub const PROBE: &str = concat!(
    section_function!(),
    "csync_section server qstat -B -f\n\
     csync_section queues qstat -Q -f\n\
     csync_section nodes sh -c 'n=$(pbsnodes -a) || { s=$?; printf \"%s\\n\" \"$n\"; exit $s; }; \
     printf \"%s\\n\" \"$n\" | grep -E \"^[^ ]|^ +(state|queue|resources_available\\.(ncpus|mem|ngpus|gpu_model|Qlist)|resources_assigned\\.ncpus) = \"'\n"
);

/// A node, as far as it is of interest.
#[derive(Clone, Debug, Default)]
struct Node {
    cores: Option<u32>,
    /// Whether it starts jobs, now or when it is free; none where it does not say.
    serves: Option<bool>,
    memory: Option<Bytes>,
    gpus: u32,
    model: Option<String>,
    /// The queues that it is kept for; empty for all.
    queues: Vec<String>,
    /// Cores that nobody uses; none where it does not say.
    idle: Option<u32>,
}

/// Reads what [`PROBE`] printed.
pub fn parse_probe(output: &str) -> BatchFacts {
    let sections = sections(output);
    let server = records(section(&sections, "server").unwrap_or_default(), "Server: ");
    let server: BTreeMap<&str, String> = server.into_iter().next().map(|(_, keys)| keys).unwrap_or_default();
    let default = server.get("default_queue").map_or("", String::as_str);
    let mut partitions: Vec<Partition> = records(section(&sections, "queues").unwrap_or_default(), "Queue: ")
        .into_iter()
        .map(|(name, keys)| queue(name, &keys, default))
        .collect();
    let found = records(section(&sections, "nodes").unwrap_or_default(), "").into_iter().map(|(_, keys)| node(&keys));
    let by_node: Vec<Vec<usize>> = found.map(|node| add_node(&mut partitions, &node)).collect();
    share(&mut partitions, by_node.into_iter());
    let known = partitions.clone();
    for partition in &mut partitions {
        widen(partition, &known);
    }
    let history = match server.get("job_history_enable").map(String::as_str) {
        Some("True") => History::Kept,
        _ => History::Off,
    };
    let notes = [("server", "limits of the site"), ("queues", "queues"), ("nodes", "nodes")];
    BatchFacts {
        dialect: Dialect {
            history,
            hands_on: partitions.iter().any(|it| !it.routes_to.is_empty()),
            ..Dialect::of(Flavour::Pbs)
        },
        version: server.get("pbs_version").cloned(),
        partitions,
        accounts: Vec::new(),
        qos: Vec::new(),
        array_max: server.get("max_array_size").and_then(|size| count(size)),
        jobs_max: server.get("max_queued").and_then(|limit| of_a_user(limit)),
        cgroups: None,
        notes: notes.into_iter().filter_map(|(name, what)| complaint(&sections, name, what)).collect(),
    }
}

/// Splits text into records: a line at the margin that begins with `prefix` names one, indented lines are its attributes.
fn records<'a>(text: &'a str, prefix: &str) -> Vec<(&'a str, BTreeMap<&'a str, String>)> {
    let mut found: Vec<(&str, usize, usize)> = Vec::new();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        offset += line.len();
        let bare = line.trim_end();
        if let Some(name) = bare.strip_prefix(prefix)
            && !bare.starts_with([' ', '\t'])
            && !name.is_empty()
        {
            found.push((name, offset, offset));
        } else if let Some((_, _, end)) = found.last_mut() {
            *end = offset;
        }
    }
    let keys = |start, end| {
        let keys = attributes(text.get(start..end).unwrap_or_default()).into_iter();
        keys.map(|(key, value)| (key, value.into_owned())).collect()
    };
    found.into_iter().map(|(name, start, end)| (name, keys(start, end))).collect()
}

fn queue(name: &str, keys: &BTreeMap<&str, String>, default: &str) -> Partition {
    let get = |key: &str| keys.get(key).map(String::as_str);
    let state = match (get("enabled"), get("started")) {
        (Some("True") | None, Some("True") | None) => PartitionState::Up,
        (Some("True") | None, _) => PartitionState::Stopped,
        _ => PartitionState::Closed,
    };
    Partition {
        name: name.to_owned(),
        is_default: name == default,
        state,
        routes_to: names(get("route_destinations").unwrap_or_default()),
        is_routed_only: get("from_route_only") == Some("True"),
        walltime_max: get("resources_max.walltime").and_then(limit),
        walltime_default: get("resources_default.walltime").and_then(limit),
        nodes_max: get("resources_max.nodect").and_then(count),
        cores_max: get("resources_max.ncpus").and_then(count),
        memory_max: get("resources_max.mem").and_then(|text| memory(text, Bytes(1))),
        running_max: get("max_run").and_then(of_a_user).or_else(|| get("max_user_run").and_then(count)),
        jobs_max: get("max_queued").and_then(of_a_user),
        ..Partition::default()
    }
}

/// Takes the limit of any user out of `[u:PBS_GENERIC=2],[g:x=5]`.
fn of_a_user(limits: &str) -> Option<u32> {
    limits.split(['[', ']', ',']).find_map(|part| part.trim().strip_prefix("u:PBS_GENERIC=")).and_then(count)
}

fn node(keys: &BTreeMap<&str, String>) -> Node {
    let get = |key: &str| keys.get(key).map(String::as_str).and_then(given);
    let queues = get("queue").or_else(|| get("resources_available.Qlist")).unwrap_or_default();
    let cores = get("resources_available.ncpus").and_then(count);
    let used = get("resources_assigned.ncpus").and_then(count);
    // One that is down, or taken out of service, starts nothing.
    let free = |(cores, used): (u32, u32)| if get("state") == Some("free") { cores.saturating_sub(used) } else { 0 };
    Node {
        cores,
        serves: get("state").map(serves),
        idle: cores.zip(used).map(free),
        memory: get("resources_available.mem").and_then(|text| memory(text, Bytes(1))),
        gpus: get("resources_available.ngpus").and_then(count).unwrap_or(0),
        model: get("resources_available.gpu_model").map(str::to_owned),
        queues: names(queues),
    }
}

fn names(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Returns the largest of some limits, or its own if that is less. None is no limit.
fn largest<T: Ord + Copy>(own: Option<T>, limits: impl Iterator<Item = Option<T>>) -> Option<T> {
    let most = limits.collect::<Option<Vec<T>>>().and_then(|limits| limits.into_iter().max());
    own.into_iter().chain(most).min()
}

/// Gives a routing queue what the most generous of the queues behind it allows and has. Of one on another server nothing is known.
fn widen(partition: &mut Partition, all: &[Partition]) {
    let find = |name: &String| all.iter().find(|it| it.name == *name);
    let Some(behind) = partition.routes_to.iter().map(find).collect::<Option<Vec<_>>>() else { return };
    partition.walltime_max = largest(partition.walltime_max, behind.iter().map(|it| it.walltime_max));
    partition.nodes_max = largest(partition.nodes_max, behind.iter().map(|it| it.nodes_max));
    partition.cores_max = largest(partition.cores_max, behind.iter().map(|it| it.cores_max));
    partition.memory_max = largest(partition.memory_max, behind.iter().map(|it| it.memory_max));
    for it in behind {
        partition.nodes = partition.nodes.max(it.nodes);
        partition.in_service = partition.in_service.max(it.in_service);
        partition.cores_per_node = partition.cores_per_node.max(it.cores_per_node);
        partition.memory_per_node = partition.memory_per_node.max(it.memory_per_node);
        partition.idle = partition.idle.max(it.idle);
        for (model, gpus) in &it.gpus {
            let most = partition.gpus.entry(model.clone()).or_default();
            *most = (*most).max(*gpus);
        }
    }
}

/// Returns whether a node with these states starts jobs, now or when it is free: `job-busy`, `offline,down`.
fn serves(states: &str) -> bool {
    const OUT: [&str; 8] =
        ["down", "initializing", "maintenance", "offline", "stale", "state-unknown", "unknown", "unresolvable"];
    !states.split(',').any(|state| OUT.contains(&state.trim()))
}

/// Counts a node to every queue that it serves; returns their places.
fn add_node(partitions: &mut [Partition], node: &Node) -> Vec<usize> {
    let mut served = Vec::new();
    for (at, partition) in partitions.iter_mut().enumerate() {
        if !node.queues.is_empty() && !node.queues.contains(&partition.name) {
            continue;
        }
        served.push(at);
        partition.nodes += 1;
        if let Some(serves) = node.serves {
            partition.in_service = Some(partition.in_service.unwrap_or(0) + u32::from(serves));
        }
        partition.cores_per_node = partition.cores_per_node.max(node.cores);
        partition.memory_per_node = partition.memory_per_node.max(node.memory);
        partition.idle = partition.idle.into_iter().chain(node.idle).reduce(u32::saturating_add);
        if node.gpus > 0 {
            let most = partition.gpus.entry(node.model.clone().unwrap_or_else(|| "gpu".to_owned())).or_default();
            *most = node.gpus.max(*most);
        }
    }
    served
}
