//! What a Grid Engine site offers: queues, hosts, parallel environments, which resource means memory.

use std::collections::BTreeMap;

use crate::language::batch::nodes::share;
use crate::language::batch::sge::load::parse_load;
use crate::language::batch::sge::xml::{Piece, attribute, pieces};
use crate::language::batch::text::section_function;
use crate::language::batch::text::{Section, complaint, count, first_line, given, limit, memory, section, sections};
use crate::model::batch::{BatchFacts, Dialect, Flavour, MemoryResource, Partition, PartitionState, PerWhat};
use crate::model::units::Bytes;

/// The script that learns what the site offers.
pub const PROBE: &str = concat!(
    section_function!(),
    "csync_section version qsub -help\n\
     csync_section resources qconf -sc\n\
     csync_section config qconf -sconf\n\
     csync_section hosts qhost -q -xml\n\
     csync_section load qstat -g c\n\
     csync_section queues sh -c 'q=$(qconf -sql) || exit; for i in $q; do qconf -sq \"$i\"; echo; done'\n\
     csync_section environments sh -c 'p=$(qconf -spl) || exit; for i in $p; do qconf -sp \"$i\"; echo; done'\n\
     csync_section gpus sh -c 'g=$(qconf -sc | awk \"\\$1 ~ /^(n?gpus?|cuda)\\$/ {print \\$1; exit}\"); \
     [ -z \"$g\" ] || qhost -F \"$g\"'\n"
);

/// Resources by which sites let memory be asked for, the best first.
const MEMORY: [&str; 8] =
    ["h_vmem", "m_mem_free", "mem_free", "virtual_free", "h_rss", "mem", "memory", "mem_requested"];

/// Resources by which sites let GPUs be asked for.
const GPUS: [&str; 5] = ["gpu", "gpus", "ngpus", "ngpu", "cuda"];

/// A host, as far as it is of interest.
#[derive(Clone, Debug, Default)]
struct Host {
    name: String,
    cores: Option<u32>,
    memory: Option<Bytes>,
    /// Its queues, and whether those start jobs there, now or when there is room.
    queues: BTreeMap<String, bool>,
}

/// Reads what [`PROBE`] printed.
pub fn parse_probe(output: &str) -> BatchFacts {
    let sections = sections(output);
    let text = |name: &str| section(&sections, name).unwrap_or_default();
    let gpus = gpus(text("gpus"));
    let hosts = hosts(text("hosts"));
    let mut partitions: Vec<Partition> = records(text("queues")).iter().filter_map(queue).collect();
    let free = parse_load(text("load"));
    for partition in &mut partitions {
        partition.idle = free.iter().find(|(queue, _)| *queue == partition.name).map(|(_, slots)| *slots);
        for host in &hosts {
            if let Some(serves) = host.queues.get(&partition.name) {
                add_host(partition, host, gpus.get(host.name.as_str()).copied().unwrap_or(0));
                partition.in_service = Some(partition.in_service.unwrap_or(0) + u32::from(*serves));
            }
        }
    }
    let place = |queue: &String| partitions.iter().position(|partition| partition.name == *queue);
    let by_node: Vec<Vec<usize>> = hosts.iter().map(|host| host.queues.keys().filter_map(place).collect()).collect();
    share(&mut partitions, by_node.into_iter());
    let config = records(text("config")).into_iter().next().unwrap_or_default();
    let get = |key: &str| config.get(key).and_then(|value| count(value)).filter(|&limit| limit > 0);
    let notes = [("queues", "queues"), ("hosts", "hosts"), ("environments", "parallel environments")];
    BatchFacts {
        dialect: dialect(&sections),
        version: section(&sections, "version").and_then(first_line).map(version),
        partitions,
        accounts: Vec::new(),
        qos: Vec::new(),
        array_max: get("max_aj_tasks"),
        jobs_max: get("max_u_jobs"),
        cgroups: None,
        notes: notes.into_iter().filter_map(|(name, what)| complaint(&sections, name, what)).collect(),
    }
}

fn version(line: &str) -> String {
    line.split_once(' ').map_or(line, |(_, version)| version).trim().to_owned()
}

/// Chooses by which names cores, memory and GPUs are asked for.
fn dialect(sections: &[Section<'_>]) -> Dialect {
    let environments = records(section(sections, "environments").unwrap_or_default());
    let named = |wanted: fn(&str) -> bool| {
        let found = environments.iter().find(|keys| keys.get("allocation_rule").is_some_and(|rule| wanted(rule)));
        found.and_then(|keys| keys.get("pe_name")).map(|name| (*name).to_owned())
    };
    let resources: Vec<Vec<&str>> = section(sections, "resources")
        .unwrap_or_default()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_whitespace().collect())
        .collect();
    let of = |name: &str| resources.iter().find(|cells| cells.first() == Some(&name) && may_be_asked_for(cells));
    Dialect {
        one_node_environment: named(|rule| rule == "$pe_slots"),
        many_nodes_environment: named(|rule| rule == "$fill_up" || rule == "$round_robin"),
        memory_resource: memory_resource(&resources),
        gpu_resource: GPUS.into_iter().find(|name| of(name).is_some()).map(str::to_owned),
        ..Dialect::of(Flavour::Sge)
    }
}

/// Prefers a resource that is counted down. Without one, `mem_free` at least chooses a host that has the memory, whereas
/// `h_vmem` would only limit address space and kill programs that map more than they use.
fn memory_resource(resources: &[Vec<&str>]) -> Option<MemoryResource> {
    let find = |name: &str| resources.iter().find(|cells| cells.first() == Some(&name) && may_be_asked_for(cells));
    let counted = MEMORY.into_iter().find_map(|name| {
        let per = match find(name)?.get(5)?.to_ascii_uppercase().as_str() {
            "YES" => PerWhat::Slot,
            "JOB" => PerWhat::Job,
            _ => return None,
        };
        Some(MemoryResource { name: name.to_owned(), per })
    });
    counted.or_else(|| find("mem_free").map(|_| MemoryResource { name: "mem_free".to_owned(), per: PerWhat::Load }))
}

/// Whether the fifth column of `qconf -sc` (requestable) allows it.
fn may_be_asked_for(cells: &[&str]) -> bool {
    cells.get(4).is_some_and(|word| !word.eq_ignore_ascii_case("NO"))
}

/// Splits records of `key   value` lines at blank lines; lines that end with a backslash go on.
fn records(text: &str) -> Vec<BTreeMap<&str, &str>> {
    let blocks = text.split("\n\n").map(|block| {
        let keys = block.lines().filter_map(|line| line.split_once(char::is_whitespace));
        keys.map(|(key, value)| (key, value.trim())).collect::<BTreeMap<_, _>>()
    });
    blocks.filter(|keys| !keys.is_empty()).collect()
}

fn queue(keys: &BTreeMap<&str, &str>) -> Option<Partition> {
    // A value for some hosts follows in brackets: `INFINITY,[sgx=24:0:0]`.
    let get = |key: &str| keys.get(key).and_then(|value| value.split(",[").next());
    let batch = get("qtype").is_none_or(|kinds| kinds.contains("BATCH") || given(kinds).is_none());
    let stopped = get("initial_state").is_some_and(|state| state == "disabled");
    Some(Partition {
        name: get("qname")?.to_owned(),
        state: match (batch, stopped) {
            (true, false) => PartitionState::Up,
            (true, true) => PartitionState::Stopped,
            (false, _) => PartitionState::Closed,
        },
        walltime_max: get("h_rt").and_then(limit),
        memory_max: get("h_vmem").filter(|text| *text != "INFINITY").and_then(|text| memory(text, Bytes(1))),
        ..Partition::default()
    })
}

/// Reads `qhost -q -xml`: hosts, and the queues that have slots there.
fn hosts(document: &str) -> Vec<Host> {
    let mut hosts: Vec<Host> = Vec::new();
    let (mut value, mut queue) = ("", "");
    for piece in pieces(document) {
        match piece {
            Piece::Open("host", attributes) => hosts
                .push(Host { name: attribute(attributes, "name").unwrap_or_default().to_owned(), ..Host::default() }),
            Piece::Open("hostvalue", attributes) => value = attribute(attributes, "name").unwrap_or_default(),
            Piece::Open("queue", attributes) => {
                if let (Some(host), Some(name)) = (hosts.last_mut(), attribute(attributes, "name")) {
                    host.queues.insert(name.to_owned(), true);
                }
            }
            Piece::Open("queuevalue", attributes) => {
                value = attribute(attributes, "name").unwrap_or_default();
                queue = attribute(attributes, "qname").unwrap_or_default();
            }
            Piece::Text(text) => {
                let Some(host) = hosts.last_mut() else { continue };
                match value {
                    "num_proc" => host.cores = count(&text),
                    "mem_total" => host.memory = memory(&text, Bytes(1)),
                    "state_string" => {
                        host.queues.insert(queue.to_owned(), serves(&text));
                    }
                    _ => {}
                }
            }
            Piece::Close("hostvalue" | "queuevalue") => value = "",
            Piece::Open(..) | Piece::Close(_) => {}
        }
    }
    hosts
}

/// Returns whether a queue in these states starts jobs on a host, now or when there is room: none of its letters says that the host
/// is not known to be there (`u`), that somebody or a calendar took it out (`d`, `s`, `D`, `C`), or that it is broken (`E`, `c`, `o`).
fn serves(states: &str) -> bool {
    !states.contains(['u', 'd', 's', 'D', 'C', 'E', 'c', 'o'])
}

/// Reads `qhost -F gpu`: GPUs by host.
fn gpus(text: &str) -> BTreeMap<&str, u32> {
    let mut found = BTreeMap::new();
    let mut host = "";
    for line in text.lines() {
        if !line.starts_with(char::is_whitespace) {
            host = line.split_whitespace().next().unwrap_or_default();
        } else if let Some((_, number)) = line.split_once('=')
            && let Some(number) = count(number)
        {
            found.insert(host, number);
        }
    }
    found
}

fn add_host(partition: &mut Partition, host: &Host, gpus: u32) {
    partition.nodes += 1;
    partition.cores_per_node = partition.cores_per_node.max(host.cores);
    partition.memory_per_node = partition.memory_per_node.max(host.memory);
    if gpus > 0 {
        let most = partition.gpus.entry("gpu".to_owned()).or_default();
        *most = gpus.max(*most);
    }
}
