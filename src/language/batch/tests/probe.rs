//! What sites offer, from recorded replies.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use proptest::prelude::*;

use super::{SLURMS, file, reply, script_output};
use crate::language::batch::{parse_probe, probe_script};
use crate::model::batch::{Account, Flavour, History, MemoryResource, PartitionState, PerWhat, Qos};
use crate::model::units::{Bytes, Walltime};

fn slurm_site(folder: &str, nodes: &str) -> String {
    let out = |name: &str| reply(folder, name).stdout;
    script_output(&[
        ("version", 0, &out("version")),
        ("config", 0, "MaxArraySize            = 1001\nTaskPlugin              = task/cgroup\n"),
        ("partitions", 0, &out("scontrol-partitions-o")),
        ("nodes", 0, nodes),
        ("history", 0, ""),
        ("accounts", 0, "lab42||normal,high|10|500|2-00:00:00\nlab43|long||||\n"),
        ("qos", 0, "normal|||\nhigh|1-00:00:00|5|10\n"),
    ])
}

/// A site whose `qstat` is Torque's in front of a Slurm has no PBS: a table of queues is not taken for queues of it, and what it does not
/// know is told.
#[test]
fn torques_table_of_queues_is_no_site() {
    let table = reply("slurm-torque-22.05", "qstat-Q");
    assert!(table.status == 0 && table.stdout.contains("debug"));
    let server = reply("slurm-torque-22.05", "qstat-B");
    let nodes = reply("slurm-torque-22.05", "pbsnodes");
    let output = script_output(&[
        ("server", server.status, &format!("{}{}", server.stdout, server.stderr)),
        ("queues", table.status, &table.stdout),
        ("nodes", nodes.status, &nodes.stdout),
    ]);
    let facts = parse_probe(Flavour::Pbs, &output);
    assert_eq!((facts.partitions, facts.version, facts.array_max), (Vec::new(), None, None));
    assert!(facts.notes.iter().any(|note| note.contains("limits of the site")), "{:?}", facts.notes);
}

#[test]
fn partitions_of_every_slurm() {
    for (folder, version) in SLURMS.into_iter().zip(["20.11.4", "22.05.8", "24.11.5", "26.05.5"]) {
        let facts = parse_probe(Flavour::Slurm, &slurm_site(folder, &reply(folder, "sinfo-summary-o").stdout));
        assert_eq!(facts.version.as_deref(), Some(version), "{folder}");
        assert_eq!(facts.notes, Vec::<String>::new(), "{folder}");
        assert_eq!(facts.array_max, Some(1000));
        assert_eq!(facts.cgroups, Some(true));
        let [debug, long] = facts.partitions.as_slice() else { panic!("{folder}: {:?}", facts.partitions) };
        assert_eq!((debug.name.as_str(), debug.is_default, debug.state), ("debug", true, PartitionState::Up));
        assert_eq!((debug.walltime_max, debug.walltime_default), (Some(Walltime(3600)), Some(Walltime(300))));
        assert_eq!((debug.nodes, debug.cores_per_node), (3, Some(2)), "{folder}");
        assert_eq!(debug.memory_per_node, Some(Bytes::mib(4000)), "{folder}");
        assert_eq!(debug.features, ["bigmem"], "{folder}");
        assert_eq!((debug.idle, long.idle), (Some(6), Some(4)), "{folder}");
        assert_eq!((debug.in_service, long.in_service), (Some(3), Some(2)), "{folder}");
        let shares = |with: &str| BTreeMap::from([(with.to_owned(), 2)]);
        assert_eq!((&debug.shares, &long.shares), (&shares("long"), &shares("debug")), "{folder}");
        assert_eq!((long.is_default, long.walltime_max, long.nodes), (false, None, 2), "{folder}");
        let account = Account {
            name: "lab42".to_owned(),
            partition: None,
            qos: vec!["normal".to_owned(), "high".to_owned()],
            running_max: Some(10),
            jobs_max: Some(500),
            walltime_max: Some(Walltime(172_800)),
        };
        assert_eq!(facts.accounts[0], account);
        assert_eq!(facts.accounts[1].partition.as_deref(), Some("long"));
        let high = Qos {
            name: "high".to_owned(),
            walltime_max: Some(Walltime(86_400)),
            running_max: Some(5),
            jobs_max: Some(10),
        };
        assert_eq!(facts.qos[1], high);
    }
}

#[test]
fn nodes_of_slurm_that_start_no_jobs_are_out_of_service() {
    // What `sinfo` says of a node that was drained and of one whose daemon was lost.
    let drained = reply("slurm-22.05-cgroup", "sinfo-drain-N").stdout;
    let lost = reply("slurm-22.05-cgroup", "sinfo-nodefail-N").stdout;
    let states = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.split('|').nth(1)).map(str::to_owned).collect()
    };
    let states: Vec<String> = [states(&drained), states(&lost)].concat();
    let serving = |states: &[String]| {
        let node = |(at, state)| format!("debug*|up|1:00:00|1|{state}|n{at}|2|2000|(null)|(null)|0/2/0/2");
        let nodes: Vec<String> = states.iter().enumerate().map(node).collect();
        parse_probe(Flavour::Slurm, &slurm_site("slurm-22.05-cgroup", &nodes.join("\n"))).partitions[0].in_service
    };
    assert_eq!((states.len(), serving(&states)), (10, Some(7)), "{states:?}");
    for (state, serves) in [
        ("allocated", true),
        ("mixed-", true),
        ("completing", true),
        ("reserved", true),
        ("planned", true),
        // Asleep, waking up: a job wakes it.
        ("idle~", true),
        ("mixed#", true),
        ("allocated@", true),
        ("idle*", false),
        ("draining", false),
        ("drained*", false),
        ("maint", false),
        ("idle$", false),
        ("unknown", false),
        ("", true),
    ] {
        assert_eq!(serving(&[state.to_owned()]), Some(u32::from(serves)), "{state}");
    }
    // One without nodes, and one of which nothing was said.
    let none = "debug*|up|1:00:00|0|n/a||0|0|(null)|(null)|0/0/0/0\n";
    let facts = parse_probe(Flavour::Slurm, &slurm_site("slurm-22.05-cgroup", none));
    assert_eq!(facts.partitions.iter().map(|it| it.in_service).collect::<Vec<_>>(), [None, None]);
}

#[test]
fn what_memory_of_slurm_costs() {
    for folder in SLURMS {
        let plain = slurm_site(folder, &reply(folder, "sinfo-summary-o").stdout);
        let of = |text: &str| {
            let debug = parse_probe(Flavour::Slurm, text).partitions.swap_remove(0);
            (debug.memory_max_per_core, debug.has_whole_nodes)
        };
        assert_eq!(of(&plain), (None, false), "{folder}");
        let most = plain.replacen("MaxMemPerNode=UNLIMITED", "MaxMemPerCPU=4096", 1);
        assert_eq!(of(&most), (Some(Bytes::gib(4)), false), "{folder}");
        assert!(of(&plain.replacen("OverSubscribe=NO", "OverSubscribe=EXCLUSIVE", 1)).1, "{folder}");
    }
    let nodes = "big|up|1-00:00:00|2|idle|g[1-2]|48+|512000+|avx|(null)|0/96/0/96\n\
                 big|up|1-00:00:00|1|mixed|g3|32|256000|(null)|(null)|0/32/0/32\n";
    let facts = parse_probe(Flavour::Slurm, &slurm_site("slurm-22.05-cgroup", nodes));
    let [.., big] = facts.partitions.as_slice() else { panic!("{facts:?}") };
    assert_eq!((big.memory_per_node, big.memory_least), (Some(Bytes::mib(512_000)), Some(Bytes::mib(256_000))));
}

#[test]
fn gpus_of_slurm_by_model() {
    let nodes = "gpu|up|1-00:00:00|2|idle|g[1-2]|48+|512000+|avx,ssd|gpu:a100:4(S:0,1),lustre:1|0/96/0/96\n\
                 gpu|up|1-00:00:00|1|mixed|g3|32|256000|(null)|gpu:v100:2,gpu:a100:1|0/32/0/32\n\
                 gpu|up|1-00:00:00|1|idle|g4|32|256000|(null)|gpu:8|0/32/0/32\n";
    let facts = parse_probe(Flavour::Slurm, &slurm_site("slurm-22.05-cgroup", nodes));
    let gpu = &facts.partitions[2];
    let models = [("a100", 4), ("gpu", 8), ("v100", 2)].map(|(model, n)| (model.to_owned(), n));
    assert_eq!(gpu.gpus, BTreeMap::from(models));
    assert_eq!((gpu.nodes, gpu.cores_per_node, gpu.memory_per_node), (4, Some(48), Some(Bytes::mib(512_000))));
    assert_eq!(gpu.features, ["avx", "ssd"]);
    assert_eq!((gpu.idle, facts.partitions[0].idle), (Some(160), None), "of the others nothing was said");
}

#[test]
fn a_slurm_without_accounting_or_controller() {
    let disabled = script_output(&[
        ("config", 0, "AccountingStorageType   = accounting_storage/none\n"),
        ("partitions", 0, ""),
        ("nodes", 0, ""),
        ("history", 1, "Slurm accounting storage is disabled\n"),
        ("accounts", 1, "You are not running a supported accounting_storage plugin\n"),
    ]);
    let facts = parse_probe(Flavour::Slurm, &disabled);
    assert_eq!((facts.dialect.history, facts.notes), (History::Off, vec![]));

    let down = reply("slurm-22.05-cgroup", "ctlddown-sinfo");
    let database = reply("slurm-22.05-cgroup", "dbddown-sacct___");
    let output = script_output(&[
        ("config", 1, &down.stderr),
        ("partitions", 1, &down.stderr),
        ("nodes", 1, &down.stderr),
        ("history", 1, &database.stderr),
    ]);
    let facts = parse_probe(Flavour::Slurm, &output);
    assert_eq!(facts.dialect.history, History::Kept, "a database that is down keeps a history");
    assert!(facts.notes[0].contains("Unable to contact slurm controller"), "{:?}", facts.notes);
    assert_eq!(facts.notes.len(), 5);
}

/// Prints what `qstat -F json` said of queues or the server as `qstat -f` prints it.
fn as_text(json: &str, kind: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    let mut text = String::new();
    for (name, keys) in value[kind].as_object().unwrap() {
        writeln!(text, "{kind}: {name}").unwrap();
        for (key, value) in keys.as_object().unwrap() {
            match value {
                serde_json::Value::Object(parts) => {
                    for (part, value) in parts {
                        writeln!(text, "    {key}.{part} = {}", plain(value)).unwrap();
                    }
                }
                value => writeln!(text, "    {key} = {}", plain(value)).unwrap(),
            }
        }
        text.push('\n');
    }
    text
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn pbs_site(nodes: &str) -> String {
    script_output(&[
        ("server", 0, &as_text(&file("pbs/server_json.json"), "Server")),
        ("queues", 0, &as_text(&file("pbs/queue_json.json"), "Queue")),
        ("nodes", 0, nodes),
    ])
}

#[test]
fn queues_and_nodes_of_pbs() {
    let facts = parse_probe(Flavour::Pbs, &pbs_site(&file("pbs/pbsnodes_txt.txt")));
    assert_eq!(facts.version.as_deref(), Some("23.06.06"));
    assert_eq!((facts.array_max, facts.dialect.history), (Some(10_000), History::Kept));
    let queue = |name: &str| facts.partitions.iter().find(|queue| queue.name == name).unwrap();
    assert_eq!(facts.partitions.len(), 8);
    assert!(queue("workq").is_default && !queue("long").is_default);
    assert_eq!(queue("long").walltime_max, Some(Walltime(86_400)));
    let small = queue("small");
    assert_eq!((small.walltime_default, small.cores_max), (Some(Walltime(300)), Some(2)));
    assert_eq!(queue("closed").state, PartitionState::Closed);
    assert_eq!(queue("stopped").state, PartitionState::Stopped);
    assert_eq!((queue("limited").jobs_max, queue("limited").running_max), (Some(2), Some(1)));
    let work = queue("workq");
    assert_eq!((work.shares.len(), work.shares.get("long")), (7, Some(&2)), "no queue has nodes of its own");
    assert_eq!((work.nodes, work.cores_per_node, work.memory_per_node), (2, Some(4), Some(Bytes::gib(8))));
    assert_eq!(work.gpus, BTreeMap::from([("gpu".to_owned(), 2)]));
    assert_eq!(work.idle, Some(4), "of four each three and one are used");
    assert_eq!(work.in_service, Some(2));
    let down = parse_probe(Flavour::Pbs, &pbs_site(&file("pbs/nodedown_pbsnodes_txt.txt")));
    assert_eq!(down.partitions[0].idle, Some(4), "the other one is down");
    assert_eq!((down.partitions[0].nodes, down.partitions[0].in_service), (2, Some(1)));
    for (states, serves) in [
        ("free", true),
        ("job-busy", true),
        ("job-exclusive", true),
        ("resv-exclusive", true),
        ("offline", false),
        ("offline,job-busy", false),
        ("down,offline", false),
        ("state-unknown,down", false),
        ("stale", false),
        ("maintenance", false),
    ] {
        let node = format!("n1\n     state = {states}\n     resources_available.ncpus = 4\n");
        let facts = parse_probe(Flavour::Pbs, &pbs_site(&node));
        assert_eq!(facts.partitions[0].in_service, Some(u32::from(serves)), "{states}");
    }
}

#[test]
fn nodes_kept_for_a_queue_count_there_alone() {
    let nodes = "n1\n     state = free\n     queue = long\n     resources_available.ncpus = 64\n\
                 n2\n     state = free\n     resources_available.ncpus = 8\n     resources_available.Qlist = small,workq\n";
    let facts = parse_probe(Flavour::Pbs, &pbs_site(nodes));
    let cores = |name: &str| facts.partitions.iter().find(|queue| queue.name == name).unwrap().cores_per_node;
    assert_eq!((cores("long"), cores("small"), cores("closed")), (Some(64), Some(8), None));
    assert!(facts.partitions.iter().all(|queue| queue.idle.is_none()), "nothing is said of what is used");
}

#[test]
fn a_routing_queue_of_pbs_allows_what_a_queue_behind_it_allows() {
    let queues = "Queue: route\n    queue_type = Route\n    enabled = True\n    started = True\n    route_destinations = tiny,big\n\
                  Queue: tiny\n    queue_type = Execution\n    enabled = True\n    started = True\n    from_route_only = True\n\
                  \x20   resources_max.walltime = 00:05:00\n    resources_max.ncpus = 1\n\
                  Queue: big\n    queue_type = Execution\n    enabled = True\n    started = True\n    from_route_only = True\n\
                  \x20   resources_max.walltime = 02:00:00\n\
                  Queue: away\n    queue_type = Route\n    enabled = True\n    started = True\n    route_destinations = tiny,q@other\n";
    let nodes = "n1\n     state = free\n     queue = big\n     resources_available.ncpus = 64\n";
    let output = |queues: &str| {
        script_output(&[
            ("server", 0, "Server: s\n    default_queue = route\n"),
            ("queues", 0, queues),
            ("nodes", 0, nodes),
        ])
    };
    let facts = parse_probe(Flavour::Pbs, &output(queues));
    let [route, tiny, big, away] = facts.partitions.as_slice() else { panic!("{:?}", facts.partitions) };
    assert!(route.is_default && facts.dialect.hands_on);
    assert_eq!(
        (route.routes_to.as_slice(), route.is_routed_only),
        (["tiny".to_owned(), "big".to_owned()].as_slice(), false)
    );
    assert_eq!((route.walltime_max, route.cores_max), (Some(Walltime(7200)), None), "the most generous of each");
    assert_eq!((route.nodes, route.in_service, route.cores_per_node), (1, Some(1), Some(64)));
    assert!(tiny.is_routed_only && big.is_routed_only && tiny.routes_to.is_empty());
    assert_eq!((away.walltime_max, away.nodes), (None, 0), "of another server nothing is known");
    let plain = queues.split("Queue: away").next().unwrap().split_once("Queue: tiny").unwrap().1;
    assert!(!parse_probe(Flavour::Pbs, &output(&format!("Queue: tiny{plain}"))).dialect.hands_on);
}

#[test]
fn a_pbs_without_history_or_server() {
    let output = script_output(&[("server", 0, "Server: x\n    job_history_enable = False\n")]);
    assert_eq!(parse_probe(Flavour::Pbs, &output).dialect.history, History::Off);
    let down = reply("pbs", "down_qstat");
    let facts = parse_probe(Flavour::Pbs, &script_output(&[("server", down.status, &down.stderr)]));
    assert_eq!(facts.notes[0], "limits of the site: Connection refused");
}

fn sge_site(resources: &str) -> String {
    let out = |name: &str| reply("sge-8.1.9", name).stdout;
    script_output(&[
        ("version", 0, &out("version")),
        ("resources", 0, resources),
        ("config", 0, "max_aj_instances             2000\nmax_aj_tasks                 75000\nmax_u_jobs  0\n"),
        ("hosts", 0, &out("qhost-q-j-xml")),
        ("load", 0, &out("qstat-g-c")),
        ("queues", 0, &out("qconf-sq")),
        ("environments", 0, &out("qconf-sp")),
        ("gpus", 0, "HOSTNAME ARCH\nglobal   -\nsgx      lx-amd64\n   hc:gpu=2.000000\n"),
    ])
}

#[test]
fn nodes_that_several_queues_have_are_told() {
    let node = |name: &str, queues: &str| {
        let queues =
            if queues.is_empty() { String::new() } else { format!("     resources_available.Qlist = {queues}\n") };
        format!("{name}\n     state = free\n     resources_available.ncpus = 4\n{queues}")
    };
    let nodes = [node("n1", "workq,long"), node("n2", "long"), node("n3", "long"), node("n4", "small")].concat();
    let facts = parse_probe(Flavour::Pbs, &pbs_site(&nodes));
    let of = |name: &str| facts.partitions.iter().find(|queue| queue.name == name).unwrap();
    let shares = |with: &str| BTreeMap::from([(with.to_owned(), 1)]);
    assert_eq!((of("workq").nodes, &of("workq").shares), (1, &shares("long")));
    assert_eq!((of("long").nodes, &of("long").shares), (3, &shares("workq")));
    assert_eq!((of("small").nodes, of("small").shares.len()), (1, 0));

    let lines = [
        "a*|up|1:00:00|2|idle|n[1-2]|4|1000|(null)|(null)|0/8/0/8",
        "a*|up|1:00:00|1|mixed|n3|4|1000|(null)|(null)|1/3/0/4",
        "b|up|1:00:00|2|idle|n[2-3],x|4|1000|(null)|(null)|0/8/0/8",
        "c|up|1:00:00|1|idle|y|4|1000|(null)|(null)|0/4/0/4",
    ];
    let slurm = parse_probe(Flavour::Slurm, &slurm_site("slurm-22.05-cgroup", &lines.join("\n")));
    let of = |name: &str| &slurm.partitions.iter().find(|it| it.name == name).unwrap().shares;
    assert_eq!((of("a").get("b"), of("b").get("a"), of("c").len()), (Some(&2), Some(&2), 0));

    let host = |name: &str, queues: &[&str]| {
        let queue = |queue: &&str| format!("<queue name='{queue}'/>");
        format!("<host name='{name}'>{}</host>", queues.iter().map(queue).collect::<String>())
    };
    let hosts = [host("h1", &["all.q", "other.q"]), host("h2", &["all.q"])].concat();
    let text = script_output(&[
        ("hosts", 0, &format!("<qhost>{hosts}</qhost>")),
        ("queues", 0, "qname all.q\n\nqname other.q\n"),
    ]);
    let grid = parse_probe(Flavour::Sge, &text);
    let counts: Vec<_> = grid.partitions.iter().map(|it| it.shares.values().sum::<u32>()).collect();
    assert_eq!(counts, [1, 1]);
}

#[test]
fn queues_hosts_and_resources_of_grid_engine() {
    let facts = parse_probe(Flavour::Sge, &sge_site(&reply("sge-8.1.9", "qconf-sc").stdout));
    assert_eq!(facts.version.as_deref(), Some("8.1.9"));
    assert_eq!((facts.array_max, facts.jobs_max), (Some(75_000), None));
    assert_eq!(facts.notes, Vec::<String>::new());
    let [queue] = facts.partitions.as_slice() else { panic!("{:?}", facts.partitions) };
    assert_eq!((queue.name.as_str(), queue.state, queue.walltime_max), ("all.q", PartitionState::Up, None));
    assert_eq!((queue.nodes, queue.cores_per_node, queue.in_service), (1, Some(2), Some(1)));
    assert_eq!(queue.memory_per_node, Some(Bytes((23.5 * f64::from(1 << 30)) as u64)));
    assert_eq!(queue.gpus, BTreeMap::from([("gpu".to_owned(), 2)]));
    assert_eq!(queue.idle, Some(0), "both slots are used");
    assert_eq!(facts.dialect.one_node_environment.as_deref(), Some("smp"));
    assert_eq!(facts.dialect.many_nodes_environment, None);
    // Nothing is counted down there: `h_vmem` would only limit address space.
    let steering = MemoryResource { name: "mem_free".to_owned(), per: PerWhat::Load };
    assert_eq!(facts.dialect.memory_resource, Some(steering));
}

#[test]
fn hosts_of_grid_engine_that_start_no_jobs_are_out_of_service() {
    let resources = reply("sge-8.1.9", "qconf-sc").stdout;
    let no_state = "name='state_string'></queuevalue>";
    assert!(sge_site(&resources).contains(no_state));
    for (states, serves) in [
        ("a", true),
        ("S", true),
        ("au", false),
        ("d", false),
        ("D", false),
        ("E", false),
        ("s", false),
        ("adu", false),
    ] {
        let site = sge_site(&resources).replace(no_state, &format!("name='state_string'>{states}</queuevalue>"));
        let queue = &parse_probe(Flavour::Sge, &site).partitions[0];
        assert_eq!((queue.nodes, queue.in_service), (1, Some(u32::from(serves))), "{states}");
        assert_eq!(queue.cores_per_node, Some(2), "{states}");
    }
}

#[test]
fn memory_is_asked_for_by_what_is_counted() {
    let plain = reply("sge-8.1.9", "qconf-sc").stdout;
    for (line, name, per) in [
        ("h_vmem h_vmem MEMORY <= YES YES 0 0\n", "h_vmem", PerWhat::Slot),
        ("h_vmem h_vmem MEMORY <= YES JOB 0 0\n", "h_vmem", PerWhat::Job),
    ] {
        let without: String = plain.split_inclusive('\n').filter(|line| !line.starts_with("h_vmem")).collect();
        let facts = parse_probe(Flavour::Sge, &sge_site(&format!("{without}{line}gpu gpu INT <= YES YES 0 0\n")));
        assert_eq!(facts.dialect.memory_resource, Some(MemoryResource { name: name.to_owned(), per }));
        assert_eq!(facts.dialect.gpu_resource.as_deref(), Some("gpu"));
    }
}

#[test]
fn the_scripts_are_valid_shell() {
    for flavour in Flavour::ALL {
        let output = std::process::Command::new("sh").args(["-n", "-c", probe_script(flavour)]).output().unwrap();
        assert!(output.status.success(), "{flavour}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

proptest! {
    #[test]
    fn no_output_makes_it_panic(lines in prop::collection::vec("(@@csync (version|nodes|hosts|queues|server|config|resources)|@@csync-status 0|[ -~é\t|=<>]{0,40})", 0..30)) {
        let text = lines.join("\n");
        for flavour in Flavour::ALL {
            let _facts = parse_probe(flavour, &text);
        }
    }
}
