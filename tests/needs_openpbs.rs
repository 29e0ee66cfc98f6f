//! Work on a real OpenPBS: the stand-in's journeys, and what the stand-in does not know.

use crate::far::{HOSTS, configure, nothing_left, why_says};
use crate::needs_pbs::{Site, adopted, ahead, cancelled, mixed, node_lost, pbs, refused};
use crate::world::until;

#[test]
fn arrays_with_a_failing_member_go_to_openpbs_and_come_back() {
    mixed(Site::Real, true);
}

#[test]
fn an_openpbs_without_history_loses_no_end() {
    mixed(Site::Real, false);
}

#[test]
fn jobs_of_openpbs_are_cancelled_by_csync_and_by_hand() {
    cancelled(Site::Real);
}

#[test]
fn what_openpbs_refuses_or_never_starts_is_explained() {
    refused(Site::Real);
}

#[test]
fn jobs_of_openpbs_are_adopted_and_outlive_their_server() {
    adopted(Site::Real);
}

#[test]
fn a_node_that_openpbs_loses_costs_no_task() {
    node_lost(Site::Real);
}

#[test]
fn what_openpbs_keeps_in_order_goes_ahead() {
    ahead(Site::Real);
}

#[test]
fn what_openpbs_has_no_room_for_waits_and_odd_names_and_its_own_scripts_run() {
    let bed = Site::Real.bed(true);
    bed.write(
        "workflow.toml",
        r#"
name = "odd"
[defaults]
on = "center"
[tasks.odd]
foreach = ["a b", "it's", "say \"so\"", "$HOME;`id`", "ü*?"]
run = "printf '%s' {item} > {outputs}"
outputs = ["odd/{item}"]
"#,
    );
    bed.csync(&["submit"]).exits(0);
    for item in ["a b", "it's", "say \"so\"", "$HOME;`id`", "ü*?"] {
        assert_eq!(bed.read(&format!("odd/{item}")), item);
    }
    nothing_left(&bed, "pbs");
    // A script of PBS's own, by its directives.
    bed.write("job.pbs", "#!/bin/bash\n#PBS -N mine\n#PBS -l select=1:ncpus=2:mem=64mb\n#PBS -l walltime=00:05:00\necho $NCPUS on $PBS_O_HOST\n");
    bed.csync(&["submit", "--yes", "--on", "center", "job.pbs"]).exits(0);
    assert_eq!(bed.csync(&["logs", "last", "mine"]).exits(0).out, "2 on pbs\n");
    // For this user, for everybody, in the queue, in all of them: PBS says each in other words.
    let one = "name = \"one\"\n[tasks.t]\noutputs = [\"made\"]\nrun = \"echo made > made\"\non = \"center\"\n";
    for limit in ["queue workq max_queued = \"[u:alice=1]\"", "server max_queued = \"[o:PBS_ALL=1]\""] {
        bed.now(&format!("manage set {limit}"));
        let held = pbs(&bed, "echo true | qsub -f -h").exits(0).out;
        bed.write("full/workflow.toml", one);
        bed.csync(&["submit", "--detach", "full/workflow.toml"]).exits(0);
        why_says(&bed, "t", &["`center` takes no more jobs now", "Maximum number of jobs"]);
        pbs(&bed, &format!("qdel {held}")).exits(0);
        bed.csync(&["wait", "last"]).exits(0);
        assert_eq!(bed.read("full/made"), "made\n");
        bed.on("laptop", &format!("rm -r {}", bed.path("full").display())).exits(0);
        bed.now(&format!("manage unset {}", limit.split(" =").next().unwrap()));
    }
}

#[test]
fn openpbs_says_when_who_comes_now_would_begin() {
    let bed = Site::Real.bed(true);
    configure(
        &bed,
        &format!("{HOSTS}[hosts.center]\nssh = \"pbs\"\nbatch = \"pbs\"\npolicy = {{ connections_per_minute = 60 }}\n"),
    );
    bed.csync(&["hosts", "probe", "center", "lab"]).exits(0);
    pbs(&bed, "for n in 4 2; do echo sleep 600 | qsub -f -l select=1:ncpus=$n,walltime=3:00:00; done").exits(0);
    until("the second is expected", || pbs(&bed, "qstat -f | grep estimated.start_time").code == 0);
    bed.write(
        "workflow.toml",
        "name = \"w\"\n[tasks.t]\nrun = \"hostname > at\"\noutputs = [\"at\"]\nresources = { cpus = 2 }\non = [\"center\", \"lab\"]\n",
    );
    bed.csync(&["submit", "--policy", "fastest"]).exits(0);
    let chosen = bed.csync(&["why", "--placement", "t"]).exits(0).out;
    assert!(
        chosen.contains("on lab, by the policy") && chosen.contains("center/workq: queue from 1 measurement"),
        "{chosen}"
    );
    assert_eq!(bed.read("at"), "station\n", "{chosen}");
}

#[test]
fn openpbs_measures_and_limits_what_runs_in_a_session_of_its_own() {
    let bed = Site::Real.bed(true);
    bed.write(
        "grow.py",
        "x = bytearray(300 << 20)\nfor i in range(0, len(x), 4096): x[i] = 1\nimport time; time.sleep(600)\n",
    );
    bed.write(
        "workflow.toml",
        "name = \"w\"\n[tasks.large]\ninputs = [\"grow.py\"]\nrun = \"python3 grow.py\"\non = \"center\"\n\
         resources = { mem = \"100MB\", time = \"10m\" }\n",
    );
    bed.csync(&["submit"]).exits(1);
    why_says(&bed, "large", &["out of memory"]);
    let used = pbs(&bed, "qstat -x -f | sed -n 's/.*resources_used.mem = //p'").exits(0).out;
    let used: u32 = used.trim().trim_end_matches("kb").parse().unwrap_or_else(|error| panic!("{error}: {used}"));
    assert!(used > 250 << 10, "{used} kB");
    nothing_left(&bed, "pbs");
}
