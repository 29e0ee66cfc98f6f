//! Cancelling.

use super::{OPENPBS, SLURMS, recorded, said};
use crate::language::batch::call::Target;
use crate::language::batch::{cancel, parse_cancel};
use crate::model::batch::{BatchId, Cancelled, Flavour, Members};

fn command(flavour: Flavour, targets: &[(&str, Members)]) -> String {
    let targets: Vec<Target> = targets
        .iter()
        .map(|(id, members)| Target { id: BatchId((*id).to_owned()), members: members.clone() })
        .collect();
    let script = cancel(flavour, &targets);
    script.lines().last().unwrap().replace("$csync_limit ", "").replace('\'', "")
}

#[test]
fn one_call_cancels_all() {
    let some = || Members::Ranges(vec![(2, 5, 1), (8, 12, 2), (20, 20, 1)]);
    for (flavour, ids, expected) in [
        (Flavour::Slurm, ["7", "8"], "scancel 7 8_3 8_[2-5] 8_8 8_10 8_12 8_20"),
        (Flavour::Pbs, ["7.s", "8[].s"], "qdel 7.s 8[3].s 8[2-5].s 8[8-12:2].s 8[20].s"),
        (Flavour::Sge, ["7", "8"], "qdel 7 8.3 8.2-5 8.8-12:2 8.20"),
    ] {
        let targets = [(ids[0], Members::All), (ids[1], Members::One(3)), (ids[1], some())];
        assert_eq!(command(flavour, &targets), expected);
    }
    let script = cancel(Flavour::Pbs, &[Target { id: BatchId("5[].s".to_owned()), members: Members::All }]);
    assert!(script.contains("'5[].s'"), "brackets are wildcards: {script}");
}

/// Every recorded cancel that was not simply taken.
const NOT_TAKEN: &[(&str, &str)] = &[
    ("openpbs-23.06.06/qdel-down", "not asked"),
    ("openpbs-23.06.06/qdel-node-down", "refused 20.pbs"),
    ("pbs/arr2_qdel_full", "unknown 84[6].pbshead"),
    ("pbs/arr2_qdel_sub_unknown", "refused 84[7].pbshead"),
    ("pbs/down_qdel", "not asked"),
    ("pbs/err_qdel_badid", "not asked"),
    ("pbs/err_qdel_finished", "unknown 0.pbshead"),
    ("pbs/err_qdel_other_user", "refused 18.pbshead"),
    ("pbs/err_qdel_unknown", "unknown 99999.pbshead"),
    ("sge-8.1.9/qdel-nosuch", "unknown 99999"),
    ("slurm-22.05-cgroup/ctlddown-scancel_1", "not asked"),
    ("slurm-22.05-cgroup/mungedown-scancel", "not asked"),
];

#[test]
fn every_recorded_cancel() {
    let folders = SLURMS.map(|folder| (Flavour::Slurm, folder));
    let mut found = Vec::new();
    let mut seen = 0;
    for (flavour, folder) in
        folders.into_iter().chain([(Flavour::Pbs, "pbs"), (Flavour::Pbs, OPENPBS), (Flavour::Sge, "sge-8.1.9")])
    {
        for recorded in recorded(folder) {
            let words = recorded.command.trim_matches(['\'', '"']).trim_start_matches("timeout 100 ");
            if !(words.starts_with("qdel ") || words.starts_with("scancel ")) || words.contains('|') {
                continue;
            }
            seen += 1;
            let said = match parse_cancel(flavour, &recorded.reply()) {
                Ok(cancelled) if cancelled == Cancelled::default() => continue,
                Ok(Cancelled { unknown, refused }) => match (unknown.first(), refused.first()) {
                    (Some(id), _) => format!("unknown {id}"),
                    (None, Some((id, _))) => format!("refused {id}"),
                    (None, None) => continue,
                },
                Err(_) => "not asked".to_owned(),
            };
            found.push((recorded.name.clone(), said));
        }
    }
    found.sort();
    let expected: Vec<_> = NOT_TAKEN.iter().map(|(name, said)| ((*name).to_owned(), (*said).to_owned())).collect();
    assert_eq!(found, expected);
    assert!(seen > 30, "{seen}");
}

#[test]
fn some_go_and_some_do_not() {
    let text = "alice has registered the job-array task 1.2 for deletion\ndenied: job \"77\" does not exist\njob \"1\" task \"9\" does not exist\njob 1 is already in deletion\n";
    let cancelled = parse_cancel(Flavour::Sge, &said(1, text, "")).unwrap();
    assert_eq!(cancelled.unknown, ["77", "1.9", "1"]);
    let text = "qdel: Unknown Job Id 9.s\nqdel: Unauthorized Request  18.s\n";
    let cancelled = parse_cancel(Flavour::Pbs, &said(159, "", text)).unwrap();
    assert_eq!(cancelled.unknown, ["9.s"]);
    assert_eq!(cancelled.refused, [("18.s".to_owned(), "Unauthorized Request".to_owned())]);
    // The server was reached; the node was not. And a server may be called anything.
    let text = "qdel: Server could not connect to MOM 18.s\nqdel: Unknown Job Id 9.interconnect\n";
    let cancelled = parse_cancel(Flavour::Pbs, &said(153, "", text)).unwrap();
    assert_eq!(cancelled.unknown, ["9.interconnect"]);
    assert_eq!(cancelled.refused, [("18.s".to_owned(), "Server could not connect to MOM".to_owned())]);
    let text = "scancel: error: Kill job error on job id 9: Invalid job id specified\n\
                scancel: error: Kill job error on job id 8: Access/permission denied\n";
    let cancelled = parse_cancel(Flavour::Slurm, &said(1, "", text)).unwrap();
    assert_eq!((cancelled.unknown.len(), cancelled.refused.len()), (1, 1));
    assert!(parse_cancel(Flavour::Sge, &said(1, "", "error: commlib error: got select error")).is_err());
    assert!(parse_cancel(Flavour::Slurm, &said(124, "", "")).is_err());
}
