//! What `csync hosts` sees of real hosts: behind jump hosts, with login shells of every kind, with and without a batch system.

use serde_json::Value;

use crate::bed::Bed;

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
