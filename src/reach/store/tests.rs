//! The store on real files.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::decide::engine::protocol::{Follow, Halt, Mark, Verdict};
use crate::decide::fresh::reason::Reason;
use crate::decide::graph::queues::Wait;
use crate::decide::learn::waits::Waited;
use crate::model::api::{Clean, Counts, RunState};
use crate::model::batch::{BatchId, JobName};
use crate::model::id::{InstanceId, JobKey, RunId};
use crate::model::job::{Ended, Outcome};
use crate::model::plan::{Fingerprint, Memo, Plan};
use crate::model::resources::{Allocation, Flow, Grant, Hold, Io, Meter, Usage};
use crate::model::units::{Bytes, Timestamp, Walltime};

use super::*;

const NOW: Timestamp = Timestamp(1_763_716_220_123_456);

fn place(dir: &Path) -> Place {
    Place { path: dir.join("csync.db"), runs: dir.join("runs"), network: false }
}

fn new_run(name: &str) -> NewRun {
    NewRun {
        name: name.to_owned(),
        path: Some("w.toml".to_owned()),
        root: "/data".to_owned(),
        command: Some("csync submit w.toml".to_owned()),
        at: NOW,
        umask: 0o22,
        ahead: true,
        plan: encode_plan(&Plan { name: name.to_owned(), ..Plan::default() }),
        verdicts: vec![Verdict::Stale, Verdict::Fresh],
        reasons: vec![Reason::NeverRan, Reason::Fresh],
        text: "name = \"w\"".to_owned(),
        env: encode_env(&[("PATH".to_owned(), "/bin".to_owned())]),
    }
}

fn key(run: RunId, instance: u32, attempt: u32) -> JobKey {
    JobKey { run, instance: InstanceId(instance), attempt }
}

fn grant() -> Grant {
    Grant { cpus: 2, mem: Bytes(u64::MAX), hold: Hold::Limit, time: Some(Walltime(60)), gpus: 1 }
}

fn ended(key: JobKey, outcome: Outcome) -> Ended {
    // Each way of counting once, and none.
    let flow = [Flow::Calls, Flow::Sampled, Flow::Devices].get(key.instance.0 as usize % 4).copied();
    let io = flow.map(|flow| Io { read: Bytes(3 << 40), written: Bytes(u64::from(key.instance.0)), flow });
    let usage = Usage { wall: 1.5, user: 0.25, system: 0.125, peak_memory: Bytes(1 << 20), meter: Meter::Proc, io };
    Ended {
        key,
        outcome,
        started: Some(NOW),
        ended: NOW.after(Duration::from_secs(2)),
        usage,
        inputs: Vec::new(),
        outputs: Vec::new(),
        notes: vec!["2 processes \"left\"\nbehind".to_owned()],
        allocation: allocation(key),
    }
}

/// With the least that can be told, with all, and none.
fn allocation(key: JobKey) -> Option<Box<Allocation>> {
    let least = Allocation { node: "it's \"n\\1\"".to_owned(), nodes: 1, ..Allocation::default() };
    let gpu_ids = Some("0,GPU-7".to_owned());
    let most =
        Allocation { cpus: Some(4), mem: Some(Bytes(1 << 40)), gpus: Some(2), gpu_ids, nodes: 3, ..least.clone() };
    [Some(least), Some(most), None].into_iter().nth(key.instance.0 as usize % 3).flatten().map(Box::new)
}

/// One of every outcome, with text that a careless row would break at.
fn outcomes() -> Vec<Outcome> {
    let message = || "it's \"odd\", \\ \n \u{1F9EC} ]".to_owned();
    vec![
        Outcome::Success,
        Outcome::Exit { code: 137, signal: Some(9) },
        Outcome::Exit { code: -1, signal: None },
        Outcome::Oom,
        Outcome::Timeout,
        Outcome::NodeFail,
        Outcome::Preempted,
        Outcome::Cancelled,
        Outcome::Rejected { message: message() },
        Outcome::Stage { message: message() },
        Outcome::Spawn { message: message() },
    ]
}

#[tokio::test]
async fn what_is_written_is_read_by_the_next_engine() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&place(dir.path())).await.unwrap();
    let run = store.insert_run(new_run("w")).await.unwrap();
    let mut batch = Batch::default();
    for (index, outcome) in outcomes().into_iter().enumerate() {
        let key = key(run, index as u32, 1);
        batch.submitted(key, &grant(), NOW, HandedTo::Worker(Some(u64::MAX)), None);
        batch.ended(&ended(key, outcome), if index % 2 == 0 { Follow::Final } else { Follow::Retry(NOW) });
    }
    batch.submitted(key(run, 1, 2), &grant(), NOW, HandedTo::Worker(Some(7)), None);
    batch.ended(&ended(key(run, 500, 1), Outcome::Rejected { message: "too big".to_owned() }), Follow::Final);
    batch.marked(run, Mark::Skipped, &[(InstanceId(900), 0), (InstanceId(901), 3)]);
    batch.marked(run, Mark::Reset, &[(InstanceId(901), 3)]);
    batch.halted(run, Halt::Stopped);
    batch.event(NOW, Some(run), "something happened");
    store.write(&batch).await.unwrap();
    drop(store);

    let reader = Store::open(&place(dir.path())).await.unwrap().reader();
    let attempts = reader.attempts(run, None).await.unwrap();
    assert_eq!(attempts.len(), outcomes().len() + 2);
    for (index, outcome) in outcomes().into_iter().enumerate() {
        let stored = attempts.iter().find(|stored| stored.key == key(run, index as u32, 1)).unwrap();
        let ending = stored.ending.clone().unwrap();
        assert_eq!((ending.outcome, ending.usage), (outcome.clone(), ended(stored.key, outcome.clone()).usage));
        assert_eq!(ending.notes, ended(stored.key, outcome).notes);
        assert_eq!((&ending.allocation, &stored.view().allocation), (&allocation(stored.key), &allocation(stored.key)));
        assert_eq!(ending.follow, if index % 2 == 0 { Follow::Final } else { Follow::Retry(NOW) });
        assert_eq!(stored.worker, Some(u64::MAX));
        assert_eq!(stored.grant, Grant { mem: Bytes(i64::MAX as u64), ..grant() });
    }
    let flying = attempts.iter().find(|stored| stored.key == key(run, 1, 2)).unwrap();
    assert_eq!((flying.ending.clone(), flying.worker, flying.submitted), (None, Some(7), NOW));
    assert_eq!(attempts.iter().find(|stored| stored.key.instance.0 == 500).unwrap().worker, None);
    let some = reader.attempts(run, Some(&[InstanceId(1), InstanceId(3)])).await.unwrap();
    assert_eq!(some.iter().map(|stored| stored.key.to_string()).collect::<Vec<_>>(), ["1.1.1", "1.1.2", "1.3.1"]);
    let marks = [(900, Mark::Skipped, 0), (901, Mark::Skipped, 3), (901, Mark::Reset, 3)];
    assert_eq!(reader.marks(run).await.unwrap(), marks.map(|(id, mark, had)| (InstanceId(id), mark, had)));
    assert_eq!(reader.events(run).await.unwrap(), [(NOW, "something happened".to_owned())]);
    let head = reader.active_runs().await.unwrap().pop().unwrap();
    assert_eq!((head.summary.run, head.halt, head.umask, head.ahead), (run, Halt::Stopped, 0o22, true));
    let plan = reader.plan(run).await.unwrap().unwrap();
    assert_eq!((plan.plan.name.as_str(), plan.verdicts), ("w", vec![Verdict::Stale, Verdict::Fresh]));
    assert_eq!(
        (plan.reasons, plan.env),
        (vec![Reason::NeverRan, Reason::Fresh], vec![("PATH".to_owned(), "/bin".to_owned())])
    );
    assert_eq!(reader.text(run).await.unwrap().as_deref(), Some("name = \"w\""));
}

#[tokio::test]
async fn a_run_ends_and_goes_on_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&place(dir.path())).await.unwrap();
    let run = store.insert_run(new_run("w")).await.unwrap();
    let counts = Counts { done: 3, failed: 1, ..Counts::default() };
    let mut batch = Batch::default();
    batch.run(run, RunState::Failed, NOW, &counts);
    store.write(&batch).await.unwrap();
    let head = store.reader().run(run).await.unwrap().unwrap().summary;
    assert_eq!((head.state, head.ended, head.counts), (RunState::Failed, Some(NOW), counts));
    assert!(store.reader().active_runs().await.unwrap().is_empty());
    batch.clear();
    batch.run(run, RunState::Active, NOW, &Counts::default());
    store.write(&batch).await.unwrap();
    let head = store.reader().run(run).await.unwrap().unwrap().summary;
    assert_eq!((head.state, head.ended), (RunState::Active, None));
}

#[tokio::test]
async fn runs_are_listed_filtered_and_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&place(dir.path())).await.unwrap();
    let mut batch = Batch::default();
    for n in 1u32..=5 {
        let run = store.insert_run(new_run("w")).await.unwrap();
        batch.submitted(key(run, 0, 1), &grant(), NOW, HandedTo::Worker(None), None);
        if n < 5 {
            let state = if n % 2 == 0 { RunState::Failed } else { RunState::Succeeded };
            batch.run(run, state, Timestamp(NOW.0 + i64::from(n) * 1_000_000), &Counts::default());
        }
    }
    store.write(&batch).await.unwrap();
    let reader = store.reader();
    let list = async |state, limit| {
        let runs = reader.runs(RunFilter { state, limit }).await.unwrap();
        runs.iter().map(|run| run.summary.run.0).collect::<Vec<_>>()
    };
    assert_eq!(list(None, None).await, [5, 4, 3, 2, 1]);
    assert_eq!(list(None, Some(2)).await, [5, 4]);
    assert_eq!(list(Some(RunState::Failed), None).await, [4, 2]);
    assert_eq!(list(Some(RunState::Active), None).await, [5]);

    let now = Timestamp(NOW.0 + 10_000_000);
    let runs = |ids: &[u32]| ids.iter().copied().map(RunId).collect::<Vec<_>>();
    for (clean, goes) in [
        (Clean::default(), &[1, 2, 3, 4][..]),
        (Clean { keep: Some(3), ..Clean::default() }, &[1, 2]),
        (Clean { older_than: Some(8), ..Clean::default() }, &[1, 2]),
        (Clean { runs: runs(&[2, 5, 9]), ..Clean::default() }, &[2]),
    ] {
        assert_eq!(reader.cleanable(&clean, now).await.unwrap(), runs(goes), "{clean:?}");
    }
    // A live run stays even when it is asked for by mistake.
    store.delete_runs(&runs(&[1, 2, 3, 4])).await.unwrap();
    assert_eq!(list(None, None).await, [5]);
    assert!(reader.attempts(RunId(1), None).await.unwrap().is_empty());
    assert!(reader.plan(RunId(1)).await.unwrap().is_none());
    drop(store);
    let mut store = Store::open(&place(dir.path())).await.unwrap();
    assert_eq!(store.insert_run(new_run("w")).await.unwrap(), RunId(6), "numbers are not given twice");
}

fn memo(n: u32, definition: u8) -> Memo {
    let mut memo_key = [0; 16];
    memo_key[..4].copy_from_slice(&n.to_le_bytes());
    let print = Fingerprint { size: 1000, mtime: NOW.0, hash: Some([9; 16]) };
    Memo { key: memo_key, definition: [definition; 16], inputs: vec![print; 2], outputs: vec![print] }
}

#[tokio::test]
async fn memos_are_kept_per_workflow_and_merged() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&place(dir.path())).await.unwrap();
    let (ours, other) = (WorkflowKey::of("/data", "w"), WorkflowKey::of("/data", "v"));
    let mut batch = Batch::default();
    for round in 0..40u8 {
        batch.clear();
        for n in 0..10 {
            batch.memo(ours, &memo(n + u32::from(round) * 5, round));
        }
        batch.memo(other, &memo(0, 0));
        store.write(&batch).await.unwrap();
    }
    let before = store.reader().memos(ours).await.unwrap();
    assert_eq!(before.len(), 205);
    let newest = |n: u32| if n < 10 { n / 5 } else { (n / 5).min(39) };
    assert!(before.iter().zip(0..).all(|(memo, n)| u32::from(memo.definition[0]) == newest(n)));
    store.compact_memos(ours).await.unwrap();
    assert_eq!(store.reader().memos(ours).await.unwrap(), before);
    let (chunks,): (i64,) = sqlx::query_as("SELECT count(*) FROM memos WHERE workflow = ?1")
        .bind(ours.0.as_slice())
        .fetch_one(&mut store.conn)
        .await
        .unwrap();
    assert_eq!(chunks, 1);
    assert_eq!(store.reader().memos(other).await.unwrap(), [memo(0, 0)]);
    assert_eq!(store.reader().memos(WorkflowKey::of("/", "")).await.unwrap(), []);
}

#[tokio::test]
async fn a_newer_database_is_left_alone_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&place(dir.path())).await.unwrap();
    for change in ["PRAGMA user_version = 77", "UPDATE about SET value = '9.9.9'"] {
        sqlx::query(change).execute(&mut store.conn).await.unwrap();
    }
    drop(store);
    let error = Store::open(&place(dir.path())).await.unwrap_err();
    let said = format!("{error}; {}", error.hint().unwrap());
    for word in ["9.9.9", env!("CARGO_PKG_VERSION"), "format 77", "CSYNC_STATE"] {
        assert!(said.contains(word), "{said}");
    }
    assert!(matches!(Reader::open(&place(dir.path())).await, Err(StoreError::Newer { .. })));
    assert!(matches!(Reader::open_routing(&place(dir.path()), "/w", &[]).await, Err(StoreError::Newer { .. })));
}

#[tokio::test]
async fn an_older_database_is_not_routed_by() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    assert!(Reader::open_routing(&place, "/w", &[]).await.unwrap().is_none(), "there is none yet");
    let mut store = Store::open(&place).await.unwrap();
    assert!(Reader::open_routing(&place, "/w", &[]).await.unwrap().is_some());
    // Whether it lacks something or not.
    for change in ["PRAGMA user_version = 9", "DROP TABLE shared"] {
        sqlx::query(change).execute(&mut store.conn).await.unwrap();
        assert!(Reader::open_routing(&place, "/w", &[]).await.unwrap().is_none(), "{change}");
    }
    drop(store);
}

#[tokio::test]
async fn what_is_no_database_of_ours_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let mut foreign = Store::open(&place).await.unwrap();
    sqlx::query("PRAGMA application_id = 1").execute(&mut foreign.conn).await.unwrap();
    // Not dropped: a connection that ends later brings its log into whatever the file holds by then.
    foreign.close().await;
    assert!(matches!(Store::open(&place).await, Err(StoreError::Foreign { .. })));
    assert!(matches!(Reader::open_routing(&place, "/w", &[]).await, Err(StoreError::Foreign { .. })));

    std::fs::write(&place.path, "this is no database at all, however long it is ".repeat(200)).unwrap();
    let error = Store::open(&place).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert!(!error.may_pass() && error.hint().unwrap().contains("doctor --repair"));
    assert!(matches!(Reader::open(&place).await, Err(StoreError::Corrupt { .. })));
    assert!(matches!(Reader::open_routing(&place, "/w", &[]).await, Err(StoreError::Corrupt { .. })));

    std::fs::create_dir_all(place.runs.join("41")).unwrap();
    let aside = set_aside(&place, NOW).unwrap();
    assert!(aside.exists() && !place.path.exists());
    let mut store = Store::open(&place).await.unwrap();
    assert_eq!(store.insert_run(new_run("w")).await.unwrap(), RunId(42), "runs on disk keep their numbers");
}

#[tokio::test]
async fn damage_inside_is_found_when_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let mut store = Store::open(&place).await.unwrap();
    assert_eq!(store.check().await.unwrap(), Vec::<String>::new());
    for _ in 0..50 {
        store.insert_run(new_run("w")).await.unwrap();
    }
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut store.conn).await.unwrap();
    store.close().await;
    let mut bytes = std::fs::read(&place.path).unwrap();
    let page = bytes.len() - 4096;
    bytes[page..].fill(0xa5);
    std::fs::write(&place.path, bytes).unwrap();
    let mut store = Store::open(&place).await.unwrap();
    assert!(!store.check().await.unwrap_or(vec!["it cannot even look".to_owned()]).is_empty());
}

#[tokio::test]
async fn a_failed_batch_leaves_nothing_and_can_be_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&place(dir.path())).await.unwrap();
    let run = store.insert_run(new_run("w")).await.unwrap();
    let pages = "PRAGMA max_page_count";
    let (full,): (i64,) = sqlx::query_as("PRAGMA page_count").fetch_one(&mut store.conn).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("{pages} = {full}"))).execute(&mut store.conn).await.unwrap();
    let mut batch = Batch::default();
    for n in 0..10_000 {
        batch.submitted(key(run, n, 1), &grant(), NOW, HandedTo::Worker(None), None);
    }
    let error = store.write(&batch).await.unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }) && error.may_pass(), "{error}");
    assert!(store.reader().attempts(run, None).await.unwrap().is_empty());
    sqlx::query(sqlx::AssertSqlSafe(format!("{pages} = 1000000"))).execute(&mut store.conn).await.unwrap();
    store.write(&batch).await.unwrap();
    assert_eq!(store.reader().attempts(run, None).await.unwrap().len(), 10_000);
}

#[tokio::test]
async fn a_network_filesystem_gets_no_write_ahead_log() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place { network: true, ..place(dir.path()) };
    let mut store = Store::open(&place).await.unwrap();
    store.insert_run(new_run("w")).await.unwrap();
    assert!(!dir.path().join("csync.db-wal").exists());
    assert_eq!(Reader::open(&place).await.unwrap().unwrap().last_run().await.unwrap(), Some(RunId(1)));
}

#[tokio::test]
async fn the_file_is_private_and_absent_until_an_engine_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    assert!(Reader::open(&place).await.unwrap().is_none());
    let _store = Store::open(&place).await.unwrap();
    for file in ["csync.db", "csync.db-wal"] {
        let mode = std::fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert_eq!(Reader::open(&place).await.unwrap().unwrap().last_run().await.unwrap(), None);
}

#[tokio::test]
async fn room_of_forgotten_runs_goes_back_to_the_filesystem() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let mut store = Store::open(&place).await.unwrap();
    let run = store.insert_run(NewRun { text: "x".repeat(4 << 20), ..new_run("w") }).await.unwrap();
    let mut batch = Batch::default();
    batch.run(run, RunState::Succeeded, NOW, &Counts::default());
    store.write(&batch).await.unwrap();
    store.delete_runs(&[run]).await.unwrap();
    store.close().await;
    assert!(std::fs::metadata(&place.path).unwrap().len() < 1 << 20);
}

#[tokio::test]
async fn a_directory_that_is_gone_is_a_clear_refusal() {
    let dir = tempfile::tempdir().unwrap();
    let error = Store::open(&place(&dir.path().join("missing"))).await.unwrap_err();
    assert!(matches!(error, StoreError::NoAccess { .. }), "{error}");
    assert!(error.hint().unwrap().contains("CSYNC_STATE"));
}

#[tokio::test]
async fn what_is_sent_to_a_host_is_known_until_it_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&place(dir.path())).await.unwrap();
    let run = store.insert_run(new_run("w")).await.unwrap();
    let name: JobName = "csync-0123abcd-1-1".parse().unwrap();
    let mut sent = Sent {
        name: name.clone(),
        host: "hpc".to_owned(),
        at: NOW,
        batch: None,
        members: vec![key(run, 0, 1), key(run, 1, 1)],
    };
    let mut batch = Batch::default();
    for key in &sent.members {
        batch.submitted(*key, &grant(), NOW, HandedTo::Host("hpc", Some("long")), None);
    }
    batch.sent(&sent);
    store.write(&batch).await.unwrap();
    let reader = store.reader();
    assert_eq!(reader.submissions().await.unwrap(), [sent.clone()]);
    let records = reader.records(run).await.unwrap();
    assert_eq!(records.in_flight, []);
    assert_eq!(records.elsewhere, [(0, "hpc".to_owned()), (1, "hpc".to_owned())]);
    // How long it waited is told with its partition and what it asked for.
    let mut over = Batch::default();
    over.ended(
        &Ended { started: Some(NOW.after(Duration::from_secs(40))), ..ended(key(run, 0, 1), Outcome::Success) },
        Follow::Final,
    );
    store.write(&over).await.unwrap();
    let waits = reader.waits().await.unwrap();
    assert_eq!(Reader::open_routing(&place(dir.path()), "/w", &[]).await.unwrap().unwrap().1.waits, waits);
    let waited = Waited { submitted: NOW.0 as f64 / 1e6, seconds: 40.0, cores: 2, asked: 60.0 };
    assert_eq!(waits, [Wait { host: "hpc".parse().unwrap(), queue: Some("long".to_owned()), waited, ours: true }]);
    // Its id there is learned later, and is not forgotten by what is said after that.
    sent.batch = Some(BatchId("1234".to_owned()));
    batch.clear();
    batch.sent(&sent);
    store.write(&batch).await.unwrap();
    batch.clear();
    batch.sent(&Sent { batch: None, ..sent.clone() });
    store.write(&batch).await.unwrap();
    assert_eq!(reader.submissions().await.unwrap(), [sent]);
    batch.clear();
    batch.closed(&name);
    store.write(&batch).await.unwrap();
    assert_eq!(reader.submissions().await.unwrap(), []);
}

#[tokio::test]
async fn attempts_of_before_bytes_were_counted_are_read_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let mut store = Store::open(&place).await.unwrap();
    let run = store.insert_run(new_run("w")).await.unwrap();
    let mut batch = Batch::default();
    batch.submitted(key(run, 0, 1), &grant(), NOW, HandedTo::Worker(Some(1)), None);
    batch.ended(&ended(key(run, 0, 1), Outcome::Success), Follow::Final);
    store.write(&batch).await.unwrap();
    // As the format before left it.
    for sql in [
        "ALTER TABLE attempts DROP COLUMN read",
        "ALTER TABLE attempts DROP COLUMN written",
        "ALTER TABLE attempts DROP COLUMN flow",
        "ALTER TABLE attempts DROP COLUMN allocation",
        "DROP TRIGGER rates_added",
        "DROP TRIGGER rates_changed",
        "DROP TRIGGER rates_dropped",
        "DELETE FROM versions WHERE name = 'rates'",
        "DROP TABLE untaught",
        "DROP TABLE waited",
        "DROP TABLE brought",
        "PRAGMA user_version = 10",
    ] {
        sqlx::query("DROP TRIGGER IF EXISTS write_batch").execute(&mut store.conn).await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut store.conn).await.unwrap();
    }
    store.close().await;

    let mut store = Store::open(&place).await.unwrap();
    let stored = store.reader().attempts(run, None).await.unwrap();
    let usage = |io| Usage { io, ..ended(key(run, 0, 1), Outcome::Success).usage };
    assert_eq!(stored[0].ending.as_ref().unwrap().usage, usage(None));
    assert_eq!(stored[0].view().allocation, None, "nobody wrote down where it ran");
    let mut batch = Batch::default();
    batch.ended(&ended(key(run, 1, 1), Outcome::Success), Follow::Final);
    store.write(&batch).await.unwrap();
    let stored = store.reader().attempts(run, Some(&[InstanceId(1)])).await.unwrap();
    assert_eq!(stored[0].ending.as_ref().unwrap().usage.io.map(|io| io.flow), Some(Flow::Sampled));
}

#[tokio::test]
async fn what_nothing_was_learned_of_is_kept_until_that_is_struck_off() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&place(dir.path())).await.unwrap();
    let run = store.insert_run(new_run("w")).await.unwrap();
    assert_eq!(store.reader().untaught_turns().await.unwrap(), None);
    let lesson = |n: u32| Untaught { key: key(run, n, 1), input: u64::from(n) << 40 };
    for turn in 3..9 {
        let mut batch = Batch::default();
        batch.ended(&ended(key(run, turn, 1), Outcome::Success), Follow::Final);
        batch.untaught(u64::from(turn), &lesson(turn));
        batch.untaught(u64::from(turn), &lesson(100 + turn));
        assert!(batch.has_untaught());
        store.write(&batch).await.unwrap();
    }
    let reader = store.reader();
    assert_eq!(reader.untaught_turns().await.unwrap(), Some((3, 8)));
    let some = reader.untaught(4, 7, 2).await.unwrap().unwrap();
    assert_eq!(some, (vec![lesson(4), lesson(104), lesson(5), lesson(105)], 6));
    assert_eq!(reader.untaught(6, 6, 2).await.unwrap().unwrap().1, 7);
    assert_eq!(reader.untaught(9, 20, 2).await.unwrap(), None);
    // Struck off with nothing else, and up to there alone.
    let mut batch = Batch::default();
    batch.taught(6);
    batch.taught(5);
    store.write(&batch).await.unwrap();
    assert_eq!(reader.untaught_turns().await.unwrap(), Some((7, 8)));
    batch.clear();
    assert!(batch.is_empty() && !batch.has_untaught());
}
