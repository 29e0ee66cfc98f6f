//! What is submitted, and what came of it.

use std::collections::BTreeMap;
use std::process::Command;

use proptest::prelude::*;

use super::{OPENPBS, Recorded, SLURMS, recorded, said};
use crate::language::batch::call::Unsayable;
use crate::language::batch::{parse_submit, submit};
use crate::model::batch::{
    Array, BatchId, Dialect, Flavour, Gpus, MemberRequest, MemoryResource, PerWhat, RefusalKind, Sharing, Submission,
    Submitted,
};
use crate::model::units::{Bytes, Walltime};

fn submission() -> Submission {
    Submission {
        name: "csync-0a1b2c3d-12-3".parse().unwrap(),
        directory: "/scratch/u/csync/jobs/s".to_owned(),
        script: "batch.sh".to_owned(),
        log: "batch.log".to_owned(),
        array: None,
        request: MemberRequest::default(),
        account: None,
        partition: None,
        qos: None,
        reservation: None,
        constraint: None,
        raw: BTreeMap::new(),
        signal: None,
        after: Vec::new(),
    }
}

fn full() -> Submission {
    Submission {
        array: Some(Array { size: 40, cap: Some(3) }),
        request: MemberRequest {
            cpus: 4,
            mem: Some(Bytes::mib(1500)),
            time: Some(Walltime(5400)),
            gpus: Some(Gpus { count: 2, model: Some("a100".to_owned()) }),
            ..MemberRequest::default()
        },
        account: Some("lab42".to_owned()),
        partition: Some("gpu".to_owned()),
        qos: Some("high".to_owned()),
        signal: Some(("USR1".to_owned(), 300)),
        raw: [("slurm.nice", "5"), ("slurm.hint", "true"), ("slurm.wait", "true"), ("pbs.p", "10"), ("sge.p", "-5")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ..submission()
    }
}

fn sge() -> Dialect {
    Dialect {
        one_node_environment: Some("smp".to_owned()),
        many_nodes_environment: Some("mpi".to_owned()),
        memory_resource: Some(MemoryResource { name: "h_vmem".to_owned(), per: PerWhat::Slot }),
        gpu_resource: Some("gpu".to_owned()),
        ..Dialect::of(Flavour::Sge)
    }
}

fn dialect(flavour: Flavour) -> Dialect {
    if flavour == Flavour::Sge { sge() } else { Dialect::of(flavour) }
}

/// The command without its preamble and the change of directory.
fn command(flavour: Flavour, submission: &Submission) -> String {
    let script = submit(&dialect(flavour), submission).unwrap().script;
    let line = script.lines().last().unwrap();
    line.split_once("$csync_limit ").unwrap().1.replace("/scratch/u/csync/jobs/s", "DIR")
}

#[test]
fn a_plain_job_in_every_dialect() {
    for (flavour, expected) in [
        (
            Flavour::Slurm,
            "sbatch --parsable --no-requeue --export=ALL --job-name=csync-0a1b2c3d-12-3 --output=DIR/batch.log \
             --ntasks=1 --cpus-per-task=1 --nodes=1 DIR/batch.sh",
        ),
        (
            Flavour::Pbs,
            "qsub -f -N csync-0a1b2c3d-12-3 -S /bin/sh -j oe -o DIR/batch.log -r n -l 'select=1:ncpus=1' DIR/batch.sh",
        ),
        (
            Flavour::Sge,
            "qsub -terse -N csync-0a1b2c3d-12-3 -wd DIR/ -S /bin/sh -j y -r n -o DIR/batch.log -w e DIR/batch.sh",
        ),
    ] {
        // Quotes do not matter here; that they are right is the property below.
        assert_eq!(command(flavour, &submission()).replace('\'', ""), expected.replace('\'', ""), "{flavour}");
    }
}

#[test]
fn an_array_with_everything_in_every_dialect() {
    for (flavour, expected, notes) in [
        (
            Flavour::Slurm,
            "sbatch --parsable --no-requeue --export=ALL --job-name=csync-0a1b2c3d-12-3 --output=DIR/batch.log.%a \
             --account=lab42 --partition=gpu --qos=high --array=1-40%3 --ntasks=1 --cpus-per-task=4 --nodes=1 \
             --mem=1500M --time=90 --gres=gpu:a100:2 --signal=B:USR1@300 --hint --nice=5 DIR/batch.sh",
            vec!["`--wait` is csync's own; it was left out"],
        ),
        (
            Flavour::Pbs,
            "qsub -f -N csync-0a1b2c3d-12-3 -S /bin/sh -j oe -J 1-40%3 -o DIR/batch.log.^array_index^ -A lab42 -q gpu \
             -l select=1:ncpus=4:mem=1500mb:ngpus=2 -l walltime=01:30:00 -p 10 DIR/batch.sh",
            vec![
                "PBS has no qos; it was left out",
                "how a GPU's model is asked for differs between PBS sites; it was left out",
            ],
        ),
        (
            Flavour::Sge,
            "qsub -terse -N csync-0a1b2c3d-12-3 -wd DIR/ -S /bin/sh -j y -r n -t 1-40 -tc 3 -o DIR/batch.log.$TASK_ID \
             -P lab42 -q gpu -pe smp 4 -l h_vmem=375M -l h_rt=5400 -l s_rt=5100 -l gpu=1 -w e -p -5 DIR/batch.sh",
            vec!["Grid Engine has no qos and no constraint; they were left out"],
        ),
    ] {
        assert_eq!(command(flavour, &full()).replace('\'', ""), expected, "{flavour}");
        assert_eq!(submit(&dialect(flavour), &full()).unwrap().notes, notes, "{flavour}");
    }
}

#[test]
fn one_member_is_a_plain_job() {
    let one = Submission { array: Some(Array { size: 1, cap: Some(1) }), ..submission() };
    for flavour in Flavour::ALL {
        assert_eq!(command(flavour, &one), command(flavour, &submission()), "{flavour}");
    }
}

#[test]
fn resources_in_every_shape() {
    let request = |nodes, processes, sharing| MemberRequest {
        cpus: 2,
        processes,
        nodes,
        mem: Some(Bytes::gib(10)),
        time: Some(Walltime(61)),
        gpus: Some(Gpus { count: 4, model: None }),
        sharing,
    };
    let cases = [
        (
            request(None, 8, Sharing::Shared),
            "--ntasks=8 --cpus-per-task=2 --mem-per-cpu=640M --time=2 --gpus=4",
            "-l select=8:ncpus=2:mpiprocs=1:ompthreads=2:mem=1280mb:ngpus=1 -l walltime=00:01:01",
            "-pe mpi 16 -l h_vmem=640M -l h_rt=61 -l gpu=1",
        ),
        (
            request(Some(2), 8, Sharing::Exclusive),
            "--ntasks=8 --cpus-per-task=2 --nodes=2 --mem=5120M --time=2 --gres=gpu:2 --exclusive",
            "-l select=2:ncpus=8:mpiprocs=4:ompthreads=2:mem=5120mb:ngpus=2 -l place=scatter:excl -l walltime=00:01:01",
            "-pe mpi 16 -l h_vmem=640M -l h_rt=61 -l gpu=1",
        ),
        (
            request(Some(3), 8, Sharing::Shared),
            "--ntasks=8 --cpus-per-task=2 --nodes=3 --mem=3414M --time=2 --gres=gpu:2",
            "-l select=2:ncpus=6:mpiprocs=3:ompthreads=2:mem=3840mb:ngpus=2+1:ncpus=4:mpiprocs=2:ompthreads=2:mem=2560mb:\
             ngpus=2 -l place=scatter -l walltime=00:01:01",
            "-pe mpi 16 -l h_vmem=640M -l h_rt=61 -l gpu=1",
        ),
        (
            request(Some(1), 1, Sharing::Shared),
            "--ntasks=1 --cpus-per-task=2 --nodes=1 --mem=10240M --time=2 --gres=gpu:4",
            "-l select=1:ncpus=2:mem=10240mb:ngpus=4 -l walltime=00:01:01",
            "-pe smp 2 -l h_vmem=5120M -l h_rt=61 -l gpu=2",
        ),
    ];
    for (request, slurm, pbs, sge) in cases {
        let submission = Submission { request, ..submission() };
        for (flavour, expected) in Flavour::ALL.into_iter().zip([slurm, pbs, sge]) {
            let command = command(flavour, &submission).replace('\'', "");
            assert!(command.contains(expected), "{flavour}: {expected} is not in {command}");
        }
    }
}

#[test]
fn what_is_passed_through_does_not_ask_twice() {
    let pass = |key: &str, value: &str| Submission {
        raw: [(key.to_owned(), value.to_owned())].into(),
        request: MemberRequest { cpus: 4, ..MemberRequest::default() },
        ..submission()
    };
    let pbs = command(Flavour::Pbs, &pass("pbs.l", "select=2:ncpus=8"));
    assert!(pbs.contains("select=2:ncpus=8") && !pbs.contains("ncpus=4"), "{pbs}");
    let sge = command(Flavour::Sge, &pass("sge.pe", "orte 16"));
    assert!(sge.contains("-pe orte 16") && !sge.contains("smp"), "{sge}");
    let foreign = command(Flavour::Slurm, &pass("pbs.l", "x=1"));
    assert!(!foreign.contains("x=1"), "{foreign}");
    let off = command(Flavour::Slurm, &pass("slurm.exclusive", "false"));
    assert!(!off.contains("exclusive"), "{off}");
    for bad in ["slurm.", "slurm.-x", "slurm.a b", "slurm.a\nb"] {
        let refused = submit(&Dialect::of(Flavour::Slurm), &pass(bad, "1"));
        assert!(matches!(refused, Err(Unsayable::Flag(_))), "{bad}: {refused:?}");
    }
}

#[test]
fn a_parallel_environment_is_two_words() {
    let request = MemberRequest { cpus: 4, ..MemberRequest::default() };
    let words = through_sh(Flavour::Sge, &Submission { request, ..submission() });
    let at = words.iter().position(|word| word == "-pe").unwrap();
    assert_eq!(words[at + 1..at + 3], ["smp", "4"]);
}

#[test]
fn dependencies_are_said_where_they_are_kept() {
    let after =
        |ids: &[&str]| Submission { after: ids.iter().map(|id| BatchId((*id).to_owned())).collect(), ..submission() };
    let slurm = command(Flavour::Slurm, &after(&["12", "13"]));
    assert!(slurm.replace('\'', "").contains("--dependency=afterok:12:13 --kill-on-invalid-dep=yes"), "{slurm}");
    let pbs = command(Flavour::Pbs, &after(&["12.s", "13.s"]));
    assert!(pbs.contains("-W 'depend=afterok:12.s:13.s'") || pbs.contains("-W depend=afterok:12.s:13.s"), "{pbs}");
    let array = submit(&Dialect::of(Flavour::Pbs), &after(&["5[].s"]));
    assert_eq!(array, Err(Unsayable::Dependency("PBS")));
    assert_eq!(submit(&sge(), &after(&["7"])), Err(Unsayable::Dependency("Grid Engine")));
}

#[test]
fn paths_that_would_be_read_otherwise_are_refused() {
    let within = |directory: &str| Submission { directory: directory.to_owned(), ..submission() };
    for (flavour, bad) in [
        (Flavour::Slurm, "/a\\b"),
        (Flavour::Slurm, "/a\nb"),
        (Flavour::Pbs, "/a:b"),
        (Flavour::Pbs, "/a^b"),
        (Flavour::Sge, "/a$b"),
        (Flavour::Sge, "/a:b"),
    ] {
        let refused = submit(&dialect(flavour), &within(bad));
        assert!(matches!(refused, Err(Unsayable::Path { .. })), "{flavour} {bad:?}: {refused:?}");
    }
    let slurm = command(Flavour::Slurm, &within("/a%j b"));
    assert!(slurm.contains("/a%%j b/batch.log"), "{slurm}");
}

#[test]
fn memory_that_nobody_counts_only_chooses_a_host() {
    let load =
        Dialect { memory_resource: Some(MemoryResource { name: "mem_free".to_owned(), per: PerWhat::Load }), ..sge() };
    let script = submit(&load, &full()).unwrap().script.replace('\'', "");
    // Checked when it is submitted, a request for what hosts report is refused always.
    assert!(script.contains("-l mem_free=1500M") && script.contains("-w n"), "{script}");
    // One slot for what uses four would be worse than none.
    let bare = Dialect::of(Flavour::Sge);
    assert!(matches!(submit(&bare, &full()), Err(Unsayable::Environment(_))));
    let mut chosen = full();
    chosen.raw.insert("sge.pe".to_owned(), "smp 4".to_owned());
    assert_eq!(submit(&bare, &chosen).unwrap().notes.len(), 3);
}

/// Whether a recorded command is one submission whose answer csync would read.
fn submits(reply: &Recorded) -> bool {
    let command =
        reply.command.trim_matches(['\'', '"']).trim_start_matches("timeout 100 ").trim_start_matches("timeout 20 ");
    let starts = ["sbatch ", "qsub "].iter().any(|tool| command.starts_with(tool));
    let other = ["--version", "-help", "--test-only", "-sync", "-w v", ";", "qsub -I"];
    starts
        && !other.iter().any(|text| command.contains(text) && !command.contains("--wrap"))
        && !command.contains("--test-only")
}

/// Every recorded submission that was not accepted.
const NOT_ACCEPTED: &[(&str, &str)] = &[
    ("openpbs-23.06.06/qsub-acl", "permission"),
    ("openpbs-23.06.06/qsub-down", "later"),
    ("openpbs-23.06.06/qsub-max-alice", "full"),
    ("openpbs-23.06.06/qsub-max-all", "full"),
    ("openpbs-23.06.06/qsub-max-queuable", "full"),
    ("openpbs-23.06.06/qsub-max-queue-alice", "full"),
    ("openpbs-23.06.06/qsub-max-queue-all", "full"),
    ("openpbs-23.06.06/qsub-max-queue-user", "full"),
    ("openpbs-23.06.06/qsub-max-res", "full"),
    ("openpbs-23.06.06/qsub-max-user", "full"),
    ("openpbs-23.06.06/qsub-nodefault", "partition"),
    ("openpbs-23.06.06/qsub-server-max", "over_limit"),
    ("pbs/down_qsub", "later"),
    ("pbs/err_qsub_acl", "permission"),
    ("pbs/err_qsub_array_huge", "array_too_large"),
    ("pbs/err_qsub_array_one", "request"),
    ("pbs/err_qsub_bad_array", "request"),
    ("pbs/err_qsub_bad_dep", "request"),
    ("pbs/err_qsub_bad_mem", "request"),
    ("pbs/err_qsub_bad_name_slash", "request"),
    ("pbs/err_qsub_bad_name_space", "request"),
    ("pbs/err_qsub_bad_option", "request"),
    ("pbs/err_qsub_bad_walltime", "request"),
    ("pbs/err_qsub_limited2", "full"),
    ("pbs/err_qsub_limited3", "full"),
    ("pbs/err_qsub_missing_script", "request"),
    ("pbs/err_qsub_name_dot", "request"),
    ("pbs/err_qsub_name_long", "request"),
    ("pbs/err_qsub_over_ncpus", "over_limit"),
    ("pbs/err_qsub_over_walltime", "over_limit"),
    ("pbs/err_qsub_queue_disabled", "partition"),
    ("pbs/err_qsub_script_is_dir", "request"),
    ("pbs/err_qsub_select_plus_ncpus", "request"),
    ("pbs/err_qsub_unknown_queue", "partition"),
    ("pbs/err_qsub_unknown_resource", "request"),
    ("pbs/err_qsub_unknown_resource_select", "request"),
    ("pbs/flavour_script_args", "request"),
    ("pbs/flavour_sge_cwd", "request"),
    ("pbs/flavour_torque_F", "request"),
    ("pbs/flavour_torque_d", "request"),
    ("pbs/flavour_torque_t", "request"),
    ("pbs/flavour_torque_w", "request"),
    ("pbs/frozen_qsub", "unknown"),
    ("pbs/lspec_03", "request"),
    ("pbs/lspec_15", "request"),
    ("pbs/lspec_17", "request"),
    ("pbs/lspec_18", "request"),
    ("pbs/lspec_20", "request"),
    ("pbs/lspec_22", "request"),
    ("pbs/qsub_arr2_sub_dep", "request"),
    ("pbs/qsub_crlf", "request"),
    ("pbs/qsub_limr0", "full"),
    ("sge-8.1.9/qsub-badpe", "request"),
    ("sge-8.1.9/qsub-badqueue", "partition"),
    ("sge-8.1.9/qsub-badres", "request"),
    ("sge-8.1.9/qsub-impossible", "over_limit"),
    ("sge-8.1.9/qsub-nofile", "request"),
    ("slurm-20.11/sbatch-badopt", "request"),
    ("slurm-20.11/sbatch-badpartition", "partition"),
    ("slurm-20.11/sbatch-badtime", "request"),
    ("slurm-20.11/sbatch-nofile", "request"),
    ("slurm-20.11/sbatch-noshebang", "request"),
    ("slurm-22.05-cgroup/ctlddown-sbatch___wrap_true", "later"),
    ("slurm-22.05-cgroup/mungedown-sbatch", "later"),
    ("slurm-22.05-cgroup/sbatch-badopt", "request"),
    ("slurm-22.05-cgroup/sbatch-badpartition", "partition"),
    ("slurm-22.05-cgroup/sbatch-badtime", "request"),
    ("slurm-22.05-cgroup/sbatch-nofile", "request"),
    ("slurm-22.05-cgroup/sbatch-noshebang", "request"),
    ("slurm-24.11/sbatch-baddep", "dependency"),
    ("slurm-24.11/sbatch-badopt", "request"),
    ("slurm-24.11/sbatch-badpartition", "partition"),
    ("slurm-24.11/sbatch-badtime", "request"),
    ("slurm-24.11/sbatch-nofile", "request"),
    ("slurm-24.11/sbatch-noshebang", "request"),
    ("slurm-24.11/sbatch-toomanycpus", "over_limit"),
    ("slurm-26.05/sbatch-baddep", "dependency"),
    ("slurm-26.05/sbatch-badopt", "request"),
    ("slurm-26.05/sbatch-badpartition", "partition"),
    ("slurm-26.05/sbatch-badtime", "request"),
    ("slurm-26.05/sbatch-nofile", "request"),
    ("slurm-26.05/sbatch-noshebang", "request"),
];

fn class(submitted: &Submitted) -> String {
    match submitted {
        Submitted::Accepted(_) => "accepted".to_owned(),
        Submitted::Refused(refusal) => serde_json::to_value(refusal.kind).unwrap().as_str().unwrap().to_owned(),
        Submitted::Full(_) => "full".to_owned(),
        Submitted::Later(_) => "later".to_owned(),
        Submitted::FullPerhaps(_) => "full_perhaps".to_owned(),
        Submitted::Unknown(_) => "unknown".to_owned(),
    }
}

#[test]
fn every_recorded_submission() {
    let folders = SLURMS.map(|folder| (Flavour::Slurm, folder));
    let others = [
        (Flavour::Pbs, "pbs"),
        (Flavour::Pbs, OPENPBS),
        (Flavour::Pbs, "slurm-torque-22.05"),
        (Flavour::Sge, "sge-8.1.9"),
    ];
    let mut found = Vec::new();
    let mut accepted = 0;
    for (flavour, folder) in folders.into_iter().chain(others) {
        for recorded in recorded(folder).iter().filter(|recorded| submits(recorded)) {
            let submitted = parse_submit(flavour, &recorded.reply());
            let class = class(&submitted);
            match &submitted {
                Submitted::Accepted(id) => {
                    accepted += 1;
                    assert!(recorded.stdout.contains(id.as_str()), "{}: {id}", recorded.name);
                }
                Submitted::Refused(refusal) => assert!(!refusal.message.is_empty(), "{}", recorded.name),
                Submitted::Full(_) | Submitted::FullPerhaps(_) | Submitted::Later(_) | Submitted::Unknown(_) => {}
            }
            if class != "accepted" {
                found.push((recorded.name.clone(), class));
            }
        }
    }
    found.sort();
    let mut expected: Vec<(String, String)> =
        NOT_ACCEPTED.iter().map(|(name, class)| ((*name).to_owned(), (*class).to_owned())).collect();
    expected.sort();
    assert_eq!(found, expected);
    assert!(accepted > 130, "{accepted} were accepted");
}

#[test]
fn a_queue_of_pbs_that_is_full_or_a_server_that_ends_is_waited_for() {
    for (stderr, wanted) in [
        ("qsub: Maximum number of jobs already in queue", "full"),
        ("qsub: would exceed complex's per-user limit", "full"),
        ("qsub: Request not allowed: Server shutting down", "later"),
        ("qsub: Server connection table full", "later"),
        ("qsub: No free connections", "later"),
        ("qsub: PBS server internal error", "unknown"),
        ("qsub: Failed to save job/resv, refer server logs for details", "unknown"),
        ("qsub: Invalid Account", "account"),
        ("qsub: Access from host not allowed, or unknown host", "permission"),
        ("qsub: Queue is not enabled", "partition"),
    ] {
        assert_eq!(class(&parse_submit(Flavour::Pbs, &said(150 + 36, "", stderr))), wanted, "{stderr}");
    }
}

#[test]
fn ids_are_found_among_greetings() {
    for (flavour, stdout, stderr, id) in [
        (Flavour::Slurm, "Welcome to 2 clusters\n1234;cluster\n", "", "1234"),
        (Flavour::Slurm, "1234\nQuota: ok\n", "sbatch: lua: hello", "1234"),
        (Flavour::Pbs, "hello\n5[].pbs-head.example.org\n", "", "5[].pbs-head.example.org"),
        (Flavour::Sge, "23.1-6:1\n", "", "23"),
        (Flavour::Sge, "Your job-array 23.1-6:2 (\"a\") has been submitted\n", "", "23"),
        (
            Flavour::Sge,
            "",
            "Unable to run job: warning: no suitable queues\nYour job 9 (\"a\") has been submitted\n",
            "9",
        ),
    ] {
        let submitted = parse_submit(flavour, &said(0, stdout, stderr));
        assert_eq!(submitted, Submitted::Accepted(BatchId(id.to_owned())), "{flavour} {stdout}");
    }
}

#[test]
fn replies_that_were_not_recorded() {
    let cases = [
        (
            Flavour::Slurm,
            1,
            "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
            "unknown",
        ),
        (
            Flavour::Slurm,
            1,
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller (receive failure)",
            "unknown",
        ),
        (
            Flavour::Slurm,
            1,
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
            "later",
        ),
        (
            Flavour::Slurm,
            1,
            "sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
            "full",
        ),
        (
            Flavour::Slurm,
            1,
            "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
            "full",
        ),
        (
            Flavour::Slurm,
            1,
            "sbatch: error: AssocGrpSubmitJobsLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
            "full",
        ),
        (
            Flavour::Slurm,
            1,
            "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\nsbatch: error: Batch job submission failed: Resource temporarily unavailable",
            "full",
        ),
        (
            Flavour::Slurm,
            1,
            "sbatch: error: QOSMaxWallDurationPerJobLimit\nsbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
            "over_limit",
        ),
        (
            Flavour::Slurm,
            1,
            "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified",
            "account",
        ),
        (
            Flavour::Slurm,
            1,
            "sbatch: error: Batch job submission failed: Invalid job array specification",
            "array_too_large",
        ),
        (
            Flavour::Slurm,
            124,
            "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying",
            "full_perhaps",
        ),
        (Flavour::Slurm, 124, "", "unknown"),
        (Flavour::Slurm, 127, "sh: 1: sbatch: not found", "later"),
        (Flavour::Slurm, 0, "", "unknown"),
        (Flavour::Slurm, 137, "", "unknown"),
        (Flavour::Pbs, 255, "pbs_iff: all reserved ports in use", "later"),
        (Flavour::Sge, 1, "Unable to run job: Error reading answer list from qmaster\nExiting.", "unknown"),
        (
            Flavour::Sge,
            1,
            "Unable to run job: job rejected: the requested project \"nosuch\" does not exist\nExiting.",
            "account",
        ),
        (
            Flavour::Sge,
            1,
            "Unable to run job: job rejected: you tried to submit a job with more than 75000 tasks\nExiting.",
            "array_too_large",
        ),
        (
            Flavour::Sge,
            1,
            "error: commlib error: got select error (Connection refused)\nUnable to run job: unable to send message to qmaster using port 6444 on host \"sge\": got send error.\nExiting.",
            "later",
        ),
        (
            Flavour::Sge,
            1,
            "Unable to run job: job rejected: Only 10 jobs are allowed per user (current job count: 10).\nExiting.",
            "full",
        ),
    ];
    for (flavour, status, stderr, expected) in cases {
        assert_eq!(class(&parse_submit(flavour, &said(status, "", stderr))), expected, "{flavour} {stderr}");
    }
    let Submitted::Refused(refusal) =
        parse_submit(Flavour::Sge, &said(1, "", "Unable to run job: error: no suitable queues\nExiting.\n"))
    else {
        panic!("accepted")
    };
    assert_eq!((refusal.kind, refusal.message.as_str()), (RefusalKind::OverLimit, "no suitable queues"));
}

/// Runs a submission's command with a stand-in that prints its arguments.
fn through_sh(flavour: Flavour, submission: &Submission) -> Vec<String> {
    let tool = if flavour == Flavour::Slurm { "sbatch" } else { "qsub" };
    let script = submit(&dialect(flavour), submission).unwrap().script;
    // Neither directory nor deadline are wanted here.
    let script = script.replace("command -v timeout", "false");
    let stand_in = format!("cd() {{ :; }}\n{tool}() {{ printf '%s\\0' \"$@\"; }}\n{script}");
    let output = Command::new("sh").args(["-c", &stand_in]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().split_terminator('\0').map(str::to_owned).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_value_reaches_the_batch_system_as_it_is(
        account in "[^\0]{1,20}",
        partition in "[ -~\n]{1,20}",
        raw in "[^\0\\s]{1,20}",
        directory in "/[a-z '\"%*?;&|<>()]{1,12}",
    ) {
        prop_assume!(raw != "true" && raw != "false");
        for flavour in Flavour::ALL {
            let submission = Submission {
                account: Some(account.clone()),
                partition: Some(partition.clone()),
                directory: directory.clone(),
                raw: [(format!("{flavour}.x"), raw.clone())].into(),
                ..submission()
            };
            let words = through_sh(flavour, &submission);
            let whole = |text: &str| words.iter().any(|word| word == text);
            let (a, p, x) = match flavour {
                Flavour::Slurm => (format!("--account={account}"), format!("--partition={partition}"), format!("--x={raw}")),
                Flavour::Pbs | Flavour::Sge => (account.clone(), partition.clone(), raw.clone()),
            };
            prop_assert!(whole(&a) && whole(&p) && whole(&x), "{flavour}: {words:?}");
            let script = format!("{directory}/batch.sh");
            prop_assert_eq!(words.last(), Some(&script));
        }
    }

    #[test]
    fn no_reply_makes_it_panic(status in any::<u8>(), stdout in "(?s).{0,80}", stderr in "(?s)(Your job|qdel: |[ -~\n\"])*") {
        for flavour in Flavour::ALL {
            let _submitted = parse_submit(flavour, &said(i32::from(status), &stdout, &stderr));
            let _cancelled = crate::language::batch::parse_cancel(flavour, &said(i32::from(status), &stdout, &stderr));
        }
    }
}
