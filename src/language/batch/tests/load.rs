//! How many cores nobody uses, from recorded replies.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{file, reply};
use crate::language::batch::{load, parse_load};
use crate::model::batch::Flavour;

fn of(flavour: Flavour, output: &str, queues: &[&str]) -> Vec<(String, u32)> {
    parse_load(flavour, output, queues)
}

fn named(found: &[(&str, u32)]) -> Vec<(String, u32)> {
    found.iter().map(|(name, idle)| ((*name).to_owned(), *idle)).collect()
}

/// Runs the command where `program` prints this.
fn told(flavour: Flavour, program: &str, text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (stub, said) = (dir.path().join(program), dir.path().join("said"));
    std::fs::write(&said, text).unwrap();
    std::fs::write(&stub, format!("#!/bin/sh\ncat {}\n", said.display())).unwrap();
    std::fs::set_permissions(&stub, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh").args(["-c", &load(flavour)]).env("PATH", path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn slurm_tells_of_partitions() {
    let said = "debug|4/2/0/6\nlong|0/4/0/4\nlong|1/3/0/4\nweird|x\n\nno\n";
    assert_eq!(told(Flavour::Slurm, "sinfo", said), said);
    assert_eq!(of(Flavour::Slurm, said, &[]), named(&[("debug", 2), ("long", 7)]));
}

#[test]
fn pbs_tells_of_nodes() {
    let queues = ["workq", "gpuq"];
    let said = |text: &str| of(Flavour::Pbs, &told(Flavour::Pbs, "pbsnodes", text), &queues);
    assert_eq!(said(&file("pbs/pbsnodes_txt.txt")), named(&[("workq", 4), ("gpuq", 4)]), "of four each three and one");
    assert_eq!(said(&file("pbs/nodedown_pbsnodes_txt.txt")), named(&[("workq", 4), ("gpuq", 4)]), "one is down");
    let node =
        |name: &str, keys: &str| format!("{name}\n     state = free\n     resources_available.ncpus = 8\n{keys}\n");
    let kept = node("n1", "     queue = gpuq\n") + &node("n2", "     resources_available.Qlist = gpuq,other\n");
    let busy = node("n3", "     resources_assigned.ncpus = 8\n");
    assert_eq!(said(&format!("{kept}{busy}")), named(&[("workq", 0), ("gpuq", 16)]));
    assert_eq!(said(&busy), named(&[("workq", 0), ("gpuq", 0)]), "nothing is idle, and that is told");
    assert_eq!(said(""), []);
    let torque = file("slurm-torque-22.05/pbsnodes.out");
    assert!(torque.contains("np = 2"));
    assert_eq!(said(&torque), [], "not that nothing is idle: nodes of Torque are told in other words");
}

#[test]
fn grid_engine_tells_of_queues() {
    let busy = reply("sge-8.1.9", "qstat-g-c").stdout;
    assert_eq!(told(Flavour::Sge, "qstat", &busy), busy);
    assert_eq!(of(Flavour::Sge, &busy, &[]), named(&[("all.q", 0)]));
    let other = "CLUSTER QUEUE   CQLOAD   USED    RES  NEW  AVAIL  TOTAL aoACDS  cdsuE\n-----\nbig.q  -NA-  2  0  9  30  32  0  0\n";
    assert_eq!(of(Flavour::Sge, other, &[]), named(&[("big.q", 30)]));
    assert_eq!(of(Flavour::Sge, "error: commlib error\n", &[]), []);
}
