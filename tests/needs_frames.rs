//! Tables of data frames: what was learned as Parquet, and histories that come as Parquet. Needs `csync-frames` beside `csync`.

use std::path::Path;
use std::process::{Command, Output};

use crate::world::World;

fn frames(args: &[&str], input: Option<&Path>) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_csync")).with_file_name("csync-frames");
    let mut command = Command::new(program);
    command.args(args);
    if let Some(input) = input {
        command.stdin(std::fs::File::open(input).unwrap());
    }
    command.output().unwrap()
}

#[test]
fn histories_and_what_was_learned_go_through_parquet() {
    let world = World::new();
    let mut lines = vec!["JobID,JobName,State,ElapsedRaw,MaxRSS,ReqMem,End".to_owned()];
    lines.extend((0..40).map(|n| format!("{n},align,COMPLETED,600,{}M,8G,2026-11-20T{:02}:00:00", 900 + n, n % 24)));
    world.write("jobs.csv", &(lines.join("\n") + "\n"));
    let table = world.path("jobs.parquet").display().to_string();
    let types = "JobID=u64,JobName=str,State=str,ElapsedRaw=i64,MaxRSS=str,ReqMem=str,End=str";
    let made = frames(&["write", &table, "--types", types], Some(&world.path("jobs.csv")));
    assert!(made.status.success(), "{made:?}");
    let told = world.json(&["profile", "import", "jobs.parquet"]);
    assert_eq!((&told["jobs"], &told["skipped"]), (&40.into(), &0.into()), "{told}");

    // Row by row the same as CSV, numbers as numbers.
    let exported = world.csync(&["profile", "export"]).exits(0).out;
    assert_eq!(exported.lines().count(), 41, "{exported}");
    world.csync(&["profile", "export", "--parquet", "out.parquet"]).exits(0);
    let read = frames(&["read", &world.path("out.parquet").display().to_string()], None);
    let read = String::from_utf8(read.stdout).unwrap();
    let (mut rows, mut wanted) = (read.lines(), exported.lines());
    assert_eq!(rows.next(), wanted.next());
    for (row, wanted) in rows.by_ref().zip(wanted.by_ref()) {
        for (cell, wanted) in row.split(',').zip(wanted.split(',')) {
            let same = cell == wanted || cell.parse::<f64>().ok() == wanted.parse::<f64>().ok();
            assert!(same, "{row}: {wanted}");
        }
        assert_eq!(row.split(',').count(), 11);
    }
    assert_eq!((rows.next(), wanted.next()), (None, None));

    // One that is cut, and one that tells nothing that can be learned from.
    let whole = std::fs::read(world.path("jobs.parquet")).unwrap();
    std::fs::write(world.path("cut.parquet"), &whole[..whole.len() / 2]).unwrap();
    let refused = world.csync(&["profile", "import", "cut.parquet"]).exits(2).err;
    assert!(refused.contains("cut.parquet cannot be read"), "{refused}");
    let refused = world.csync(&["profile", "import", "out.parquet"]).exits(2).err;
    assert!(refused.contains("is no report that csync knows"), "{refused}");
    assert_eq!(world.json(&["profile"])["profiles"][0]["runs"], 40, "nothing was lost or learned twice");
}
