//! What compute nodes are, which a look from a login node does not see: told by jobs on real clusters.

use serde_json::Value;

use crate::bed::Bed;
use crate::far::{HOSTS, configure, nothing_left};
use crate::world::until;

/// What `nvidia-smi` of a real machine with one GPU prints, recorded: the bed has none, so that only its reading is tried here. Slurm's
/// own granting of GPUs (gres) is real.
const SMI: &str = r"#!/bin/sh
case $1 in
  --query*) echo 'NVIDIA A100-SXM4-40GB, 40960, 535.54.03' ;;
  *) echo '| NVIDIA-SMI 535.54.03    Driver Version: 535.54.03    CUDA Version: 12.2     |' ;;
esac
";

/// Gives the node n1 a GPU of a partition of its own, and a command that tells of it, which the login node does not have.
fn give_gpu(bed: &Bed) {
    let nodes = "s/^NodeName=n\\[1-2\\] .*/NodeName=n1 CPUs=2 RealMemory=2000 Gres=gpu:a100:1\\nNodeName=n2 CPUs=2 RealMemory=2000/";
    bed.on(
        "login",
        &format!(
            "cd /run/bed/slurm/etc && sed -i '{nodes}' slurm.conf && printf 'GresTypes=gpu\\nPartitionName=gpu Nodes=n1 MaxTime=60 \
             DefMemPerCPU=100\\n' >>slurm.conf && echo 'NodeName=n1 Name=gpu Type=a100 File=/dev/null' >gres.conf"
        ),
    )
    .exits(0);
    let parts = ["slurmctld", "slurmd-n1", "slurmd-n2", "slurmd-n3"];
    for what in ["stop-part", "start-part"] {
        for part in parts {
            bed.now(&format!("{what} {part}"));
        }
    }
    until("its nodes are there", || bed.on("login", "sinfo -h -p debug -t idle -o %D").out.trim() == "3");
    // Every host has its own /tmp; what a session's shell is told, its jobs get.
    bed.on("login", "echo 'PATH=/tmp/bin:$PATH' >~/.bashrc").exits(0);
    bed.on(
        "n1",
        &format!("mkdir /tmp/bin && cat >/tmp/bin/nvidia-smi <<'END'\n{SMI}END\nchmod +x /tmp/bin/nvidia-smi"),
    )
    .exits(0);
}

#[test]
fn jobs_tell_what_compute_nodes_are() {
    let bed = Bed::own(&["slurm", "sge"]);
    configure(&bed, HOSTS);
    give_gpu(&bed);
    let before = bed.csync(&["hosts", "probe", "hpc"]).exits(0);
    assert!(before.err.contains("csync hosts probe --nodes hpc"), "{before:?}");
    assert_eq!(bed.on("login", "squeue -h -t all").out, "", "a probe starts nothing");

    let done = bed.csync(&["hosts", "probe", "--nodes", "hpc", "grid", "lab"]).exits(0);
    let said = done
        .err
        .find("Sends 3 jobs of at most one minute to hpc, each with one core, and a GPU where there are any: to debug");
    assert!(said.is_some() && done.err.contains("lab has no batch system"), "{done:?}");
    for words in [
        "hpc gpu: 1 x NVIDIA A100-SXM4-40GB, 40G each, driver 535.54.03, CUDA 12.2; no internet (n1)",
        "hpc debug: no internet (n",
        "hpc long: no internet (n",
        "grid all.q: no internet (gridx)",
    ] {
        // Whether the job of `debug` met the node with the GPU is Slurm's to choose.
        let met = words.replace("debug: ", "debug: 1 x NVIDIA A100-SXM4-40GB, 40G each, driver 535.54.03, CUDA 12.2; ");
        assert!(done.out.contains(words) || done.out.contains(&met), "`{words}` is missing: {done:?}");
    }
    nothing_left(&bed, "login");
    nothing_left(&bed, "grid");

    let shown = bed.csync(&["hosts", "show", "hpc"]).exits(0);
    assert!(shown.out.contains("Seen by jobs on compute nodes") && shown.out.contains("CUDA 12.2"), "{shown:?}");
    let internet =
        |out: &str| out.lines().find(|line| line.contains("internet.compute")).unwrap_or_default().to_owned();
    // All partitions were seen and say the same: it is the host's.
    let line = internet(&shown.out);
    assert!(line.contains("no ") && line.contains("probed"), "{shown:?}");
    assert!(!shown.err.contains("not seen by a probe"), "{shown:?}");
    let routed = bed.csync(&["route", "--internet", "--json", "--", "wget", "x"]).out;
    let routed: Value = serde_json::from_str(&routed).unwrap();
    assert!(routed.to_string().contains("no_internet"), "{routed}");
    // A probe forgets nothing of it, and a person's word counts more.
    bed.csync(&["hosts", "probe", "hpc"]).exits(0);
    assert!(bed.csync(&["hosts", "show", "hpc"]).exits(0).out.contains("CUDA 12.2"));
    configure(&bed, &HOSTS.replace("tags = [\"cluster\"]", "internet = { compute = true }"));
    let told = bed.csync(&["hosts", "show", "hpc"]).exits(0).out;
    assert!(internet(&told).contains("yes") && internet(&told).contains("hosts.toml"), "{told}");
}

#[test]
fn jobs_that_do_not_start_are_cancelled_in_time_and_nothing_is_made_up() {
    let bed = Bed::own(&["slurm"]);
    configure(&bed, HOSTS);
    bed.on("login", "scontrol update PartitionName=long State=DOWN").exits(0);
    let done = bed.csync(&["hosts", "probe", "--nodes", "--within", "8s", "hpc", "--json"]).exits(1).json();
    let seen = &done["hosts"][0]["nodes"]["partitions"];
    assert_eq!(seen["debug"]["internet"], false, "{done}");
    let failure = seen["long"]["failure"].as_str().unwrap();
    assert!(failure.contains("not over after 8s and was cancelled") && failure.contains("PartitionDown"), "{done}");
    nothing_left(&bed, "login");
    let shown = bed.csync(&["hosts", "show", "hpc", "--json"]).exits(0).json();
    let nodes = shown["probed"]["facts"]["nodes"].as_object().unwrap();
    assert_eq!(nodes.keys().collect::<Vec<_>>(), ["debug"], "{shown}");
    // What one partition told says nothing of all the host, but of that partition.
    assert_eq!(shown["host"]["internet"]["compute"], Value::Null, "{shown}");
    let of = |name: &str| {
        let all = shown["partitions"].as_array().unwrap();
        all.iter().find(|it| it["name"] == name).unwrap()["internet"].clone()
    };
    assert_eq!((of("debug"), of("long")), (Value::Bool(false), Value::Null), "{shown}");
}

#[test]
fn jobs_note_beside_their_tasks_what_their_nodes_are() {
    let bed = Bed::own(&["slurm", "sge"]);
    configure(&bed, HOSTS);
    give_gpu(&bed);
    bed.csync(&["hosts", "probe", "hpc", "grid"]).exits(0);
    let task = |name: &str, host: &str, more: &str| {
        let run = "while [ ! -e $(dirname $CSYNC_MEMBER)/news/look ] && [ ! -e ~/go ]; do sleep 0.1; done; ls $(dirname $CSYNC_MEMBER)";
        format!("[tasks.{name}]\nrun = {run:?}\ncache = false\non = {host:?}\n{more}\n")
    };
    let gpu = "partition = \"gpu\"\nresources = { gpus = 1 }";
    let text = format!("name = \"work\"\n{}{}{}", task("a", "hpc", gpu), task("b", "hpc", ""), task("c", "grid", ""));
    bed.write("workflow.toml", text);
    // They wait for what is noted beside them, which nobody else does.
    bed.csync(&["submit"]).exits(0);
    assert!(bed.csync(&["logs", "last", "a", "--stdout"]).exits(0).out.contains("look.sh"));
    let shown = bed.csync(&["hosts", "show", "hpc"]).exits(0).out;
    let seen = "1 x NVIDIA A100-SXM4-40GB, 40G each, driver 535.54.03, CUDA 12.2; no internet (n1, ";
    assert!(shown.contains(&format!("gpu    {seen}")) && shown.contains("no internet (n"), "{shown}");
    assert!(shown.lines().any(|line| line.starts_with("  debug  ") && line.contains("no internet (n")), "{shown}");
    assert!(!shown.contains("  long   1") && !shown.contains("  long   no"), "nobody was there: {shown}");
    let shown = bed.csync(&["hosts", "show", "grid"]).exits(0).out;
    assert!(shown.contains("all.q  no internet (gridx, "), "{shown}");
    nothing_left(&bed, "login");
    nothing_left(&bed, "grid");
    // It is known now: who comes next has nothing beside it.
    bed.on("login", "touch ~/go").exits(0);
    bed.csync(&["submit", "--only", "a"]).exits(0);
    let listed = bed.csync(&["logs", "last", "a", "--stdout"]).exits(0).out;
    assert!(listed.contains("wrapper.sh") && !listed.contains("look"), "{listed}");
}
