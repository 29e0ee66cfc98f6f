//! What `csync hosts` sees of real hosts: behind jump hosts, with login shells of every kind, with and without a batch system.

use serde_json::Value;

use crate::bed::Bed;
use crate::far::{HOSTS, configure, nothing_left, why_says};

/// Returns what was found on a host.
fn facts<'j>(probed: &'j Value, name: &str) -> &'j Value {
    let hosts = probed["hosts"].as_array().unwrap();
    &hosts.iter().find(|host| host["name"] == name).unwrap_or_else(|| panic!("{name}: {probed}"))["facts"]
}

#[test]
fn hosts_are_seen_as_they_are_over_one_connection_each() {
    let bed = Bed::own(&["slurm", "sge"]);
    let hosts = ["login", "login2", "grid", "station", "station-noisy", "station-tcsh", "login-fish"];
    let args: Vec<&str> = ["hosts", "import"].into_iter().chain(hosts).collect();
    bed.csync(&args).exits(0);
    let before = bed.logins("grid");
    let probed = bed.csync(&["hosts", "probe", "--json"]).exits(0).json();
    assert_eq!(bed.logins("grid") - before, 1, "one connection");
    for name in ["login", "login2", "login-fish"] {
        let batch = &facts(&probed, name)["batch"];
        assert_eq!(batch["offers"]["dialect"]["flavour"], "slurm", "{name}: {batch}");
        assert!(batch["offers"]["version"].as_str().unwrap().contains('.'), "{name}: {batch}");
        let partitions = batch["offers"]["partitions"].as_array().unwrap();
        assert!(partitions.iter().any(|partition| partition["nodes"].as_u64() > Some(1)), "{name}: {batch}");
    }
    // A login shell alone knows where its commands are.
    assert_eq!(facts(&probed, "login2")["batch"]["bin"], "/opt/slurm/bin");
    assert_eq!(facts(&probed, "grid")["batch"]["offers"]["dialect"]["flavour"], "sge", "{}", facts(&probed, "grid"));
    for name in ["station", "station-noisy", "station-tcsh"] {
        let facts = facts(&probed, name);
        assert_eq!(
            (&facts["batch"], &facts["machine"]["hostname"]),
            (&Value::Null, &"station".into()),
            "{name}: {facts}"
        );
        assert!(facts["skew"]["seconds"].as_f64().unwrap().abs() < 1.0, "{name}: {facts}");
    }
    let file = std::fs::read_to_string(bed.home().join(".config/csync/hosts.toml")).unwrap();
    assert!(file.contains("[hosts.grid]\nssh = \"grid\"\nbatch = \"sge\"\nscratch = "), "{file}");
    let tested = bed.csync(&["hosts", "test", "login"]).exits(0).out;
    assert!(tested.contains("login at ") && tested.contains("round trip"), "{tested}");
    let doctor = bed.csync(&["doctor"]).exits(0).out;
    assert!(doctor.contains("host grid") && !doctor.contains("problem  host"), "{doctor}");
}

#[test]
fn nodes_that_are_out_of_service_are_told_and_waited_for() {
    let bed = Bed::own(&["slurm", "sge"]);
    configure(&bed, HOSTS);
    bed.on("login", "scontrol update NodeName=n2 State=DRAIN Reason='bad disk'").exits(0);
    bed.on("grid", "qmod -d all.q@gridx").exits(0);
    let probed = bed.csync(&["hosts", "probe", "hpc", "grid", "--json"]).exits(0).json();
    let counted = |host: &str, partition: &str| {
        let all = facts(&probed, host)["batch"]["offers"]["partitions"].as_array().unwrap();
        let it = all.iter().find(|it| it["name"] == partition).unwrap_or_else(|| panic!("{partition}: {all:?}"));
        (it["nodes"].as_u64(), it["in_service"].as_u64())
    };
    assert_eq!((counted("hpc", "debug"), counted("grid", "all.q")), ((Some(3), Some(2)), (Some(1), Some(0))));
    let shown = bed.csync(&["hosts", "show", "hpc"]).exits(0).out;
    assert!(shown.contains("2 of 3") && shown.contains("1 of 3 nodes in debug"), "{shown}");
    let listed = bed.csync(&["hosts", "list"]).exits(0).out;
    assert!(listed.contains("hpc: out of service 1 of 3 nodes in debug"), "{listed}");
    assert!(listed.contains("grid: out of service 1 of 1 node in all.q"), "{listed}");
    // More nodes than are in service now: no reason to refuse it.
    bed.write(
        "workflow.toml",
        "name = \"wide\"\n[tasks.t]\nresources = { nodes = 3, processes = 3, time = \"5m\" }\non = \"hpc\"\n\
         outputs = [\"made\"]\nrun = \"echo $SLURM_JOB_NUM_NODES > made\"\n",
    );
    let checked = bed.csync(&["check"]).exits(0);
    assert!(!checked.err.contains("asks for"), "{}", checked.err);
    bed.csync(&["submit", "--detach"]).exits(0);
    why_says(&bed, "t", &["it waits in the queue of `hpc`"]);
    bed.on("login", "scontrol update NodeName=n2 State=RESUME").exits(0);
    bed.csync(&["wait", "last"]).exits(0);
    assert_eq!(bed.read("made"), "3\n");
    nothing_left(&bed, "login");
    bed.on("grid", "qmod -e all.q@gridx").exits(0);
    let again = bed.csync(&["hosts", "probe", "hpc", "grid", "--json"]).exits(0).json();
    assert_eq!(facts(&again, "grid")["batch"]["offers"]["partitions"][0]["in_service"], 1, "{again}");
    let listed = bed.csync(&["hosts", "list"]).exits(0).out;
    assert!(!listed.contains("out of service"), "{listed}");
}
