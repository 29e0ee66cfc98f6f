//! A journey of tasks that may go to several hosts: to where their data lies, to where nobody queues, with what was learned.

use std::fs;

use serde_json::Value;

use crate::bed::Bed;
use crate::far::configure;

/// The hosts of the bed; what the workstation makes stays there.
const HOSTS: &str = r#"
[hosts.hpc]
ssh = "login"
batch = "slurm"
policy = { connections_per_minute = 60 }

[hosts.grid]
batch = "sge"
policy = { connections_per_minute = 60 }

[hosts.lab]
ssh = "station"
batch = "none"
keep_above = "1M"
policy = { connections_per_minute = 60 }

[hosts.unseen]
ssh = "nowhere"
"#;

/// Holds as many megabytes as it is told for as long as it takes to be measured.
const GROW: &str = "import sys, time\nheld = bytearray(int(sys.argv[1]) << 20)\ntime.sleep(1.3)\n";

const WORKFLOW: &str = r#"
name = "anywhere"
[params]
mb = "150"

[tasks.make]
outputs = ["big.bin"]
run = "head -c 30000000 /dev/zero > {outputs}"
on = "lab"

[tasks.use]
inputs = ["big.bin"]
outputs = ["used"]
run = "hostname > {outputs}"
resources = { time = "30s" }
on = "any"

[tasks.choose]
outputs = ["chosen"]
run = "hostname > {outputs}"
resources = { time = "30s" }
on = ["hpc", "lab"]

[tasks.grow]
foreach = { range = [1, 3] }
inputs = ["grow.py"]
run = "python3 grow.py {params.mb}"
"#;

/// Returns what was chosen for an instance.
fn choice(bed: &Bed, label: &str) -> Value {
    let told = bed.csync(&["why", "--placement", "--json", label]).exits(0).out;
    let told: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
    told["instances"][0].clone()
}

#[test]
fn tasks_go_where_their_data_lies_with_what_was_learned() {
    let bed = Bed::shared();
    configure(&bed, HOSTS);
    bed.csync(&["hosts", "probe", "hpc", "grid", "lab"]).exits(0);
    bed.write("grow.py", GROW);
    bed.write("workflow.toml", WORKFLOW);
    let dry = bed.csync(&["submit", "--dry-run", "--policy", "fastest"]).exits(0).out;
    assert!(dry.contains("make on lab") && dry.contains("not on unseen: nobody looked at it yet"), "{dry}");
    assert!(dry.contains("if all goes as expected; no plan can take less than "), "{dry}");
    // csync chooses among a list only since it is told to: the order counts no more.
    bed.csync(&["submit", "--policy", "fastest"]).exits(0);
    assert_eq!(bed.read("used"), "station\n", "the file stayed there");
    assert_eq!(bed.read("chosen"), "station\n", "nobody queues there");
    let used = choice(&bed, "use");
    assert_eq!(used["choice"]["placement"]["chosen"]["host"], "lab", "{used}");
    assert_eq!(used["choice"]["placement"]["chosen"]["moved"].as_u64().or(Some(0)), Some(0), "{used}");
    let told = bed.csync(&["why", "--placement", "use"]).exits(0).out;
    assert!(told.contains("on lab, by the policy `fastest`"), "{told}");
    assert!(told.contains("Not on unseen: nobody looked at it yet."), "{told}");
    let chosen = bed.csync(&["why", "--placement", "choose"]).exits(0).out;
    assert!(chosen.contains("hpc: queue "), "the queue that it did not wait in: {chosen}");
    // Where a person said it, nothing was chosen.
    assert!(bed.csync(&["why", "--placement", "make"]).exits(0).out.contains("csync chose no host"));

    // What three attempts needed is asked for the second time; the engine has written it when it has left.
    bed.csync(&["engine", "stop"]).exits(0);
    bed.csync(&["submit", "--only", "grow", "--rerun=grow"]).exits(0);
    let why = bed.csync(&["why", "grow[1]"]).exits(0).out;
    assert!(why.contains("learned from 3 runs"), "{why}");
    let grown = choice(&bed, "grow[1]");
    let asked = grown["choice"]["mem"]["request"].as_f64().unwrap();
    assert!((100e6..400e6).contains(&asked), "{grown}");
    // Twice as much as ever before is more than was asked for: the next attempt has more, though the task allows none.
    bed.csync(&["submit", "--only", "grow", "--rerun=grow", "-p", "mb=600"]).exits(0);
    let why = bed.csync(&["why", "grow[1]"]).exits(0).out;
    assert!(why.contains("out of memory"), "{why}");
    assert!(why.contains("it succeeded"), "{why}");
    let kept = fs::read(bed.home().join("state/learned.db")).unwrap();
    assert!(!kept.windows(7).any(|bytes| bytes == b"grow.py"), "what is learned names nothing");
}
