//! Every statement, so that a test can have SQLite explain each against the present schema.
//!
//! Where several stand in one string, their parameters are plain `?` and are bound in order, across all of them: sqlx takes
//! the gap before a lone `?5` for four parameters more.

/// The formats, oldest first: number `n` brings a database from format `n` to `n + 1`. Append only.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
    include_str!("migrations/0007.sql"),
    include_str!("migrations/0008.sql"),
    include_str!("migrations/0009.sql"),
    include_str!("migrations/0010.sql"),
    include_str!("migrations/0011.sql"),
    include_str!("migrations/0012.sql"),
    include_str!("migrations/0013.sql"),
    include_str!("migrations/0014.sql"),
    include_str!("migrations/0015.sql"),
    include_str!("migrations/0016.sql"),
];

/// What kind of file it is, and whether anything is in it.
pub(super) const FORMAT: &str = "SELECT a.application_id, v.user_version, (SELECT count(*) FROM sqlite_schema) \
    FROM pragma_application_id AS a, pragma_user_version AS v";

/// Who wrote it.
pub(super) const WRITTEN_BY: &str = "SELECT value FROM about WHERE key = 'csync_version'";

/// Says who wrote it.
pub(super) const SET_WRITTEN_BY: &str = "INSERT OR REPLACE INTO about (key, value) VALUES ('csync_version', ?1)";

/// Makes the next run's number larger than this one.
pub(super) const SKIP_RUNS: &str = "INSERT INTO sqlite_sequence (name, seq) VALUES ('runs', ?1)";

/// What writing a batch does. Each list is parsed once by `jsonb_each`. Attempts come before endings, since one that is refused
/// at once has both in one batch.
pub(super) const WRITE_STEPS: [&str; 10] = [
    "INSERT OR REPLACE INTO attempts (run, instance, attempt, worker, cpus, mem, enforced, time, gpus, submitted,
                                      host, choice, partition)
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
               value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12
        FROM jsonb_each(NEW.attempts);",
    "INSERT INTO attempts (run, instance, attempt, started, ended, outcome, code, signal, message, wall, user, system,
                           peak, meter, follow, notes, read, written, flow, allocation)
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
               value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13, value ->> 14,
               value ->> '$[15][0]', value ->> '$[15][1]', value ->> '$[15][2]', value ->> '$[15][3]',
               value ->> '$[15][4]'
        FROM jsonb_each(NEW.endings) WHERE true
        ON CONFLICT (run, instance, attempt) DO UPDATE SET started = excluded.started, ended = excluded.ended,
            outcome = excluded.outcome, code = excluded.code, signal = excluded.signal, message = excluded.message,
            wall = excluded.wall, user = excluded.user, system = excluded.system, peak = excluded.peak,
            meter = excluded.meter, follow = excluded.follow, notes = excluded.notes, read = excluded.read,
            written = excluded.written, flow = excluded.flow, allocation = excluded.allocation;",
    "INSERT INTO marks (run, mark, instances)
        SELECT value ->> 0, value ->> 1, unhex(value ->> 2) FROM jsonb_each(NEW.marks);",
    "UPDATE runs SET state = coalesce(v.value ->> 1, state), ended = iif(v.value ->> 1 IS NULL, ended, v.value ->> 2),
                     counts = coalesce(v.value ->> 3, counts), halt = coalesce(v.value ->> 4, halt)
        FROM jsonb_each(NEW.runs) AS v WHERE run = v.value ->> 0;",
    "INSERT INTO memos (workflow, chunk) SELECT unhex(value ->> 0), unhex(value ->> 1) FROM jsonb_each(NEW.memos);",
    "INSERT INTO events (at, run, what) SELECT value ->> 0, value ->> 1, value ->> 2 FROM jsonb_each(NEW.events);",
    "INSERT INTO submissions (name, host, at, batch, members)
        SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM jsonb_each(NEW.sent) WHERE true
        ON CONFLICT (name) DO UPDATE SET batch = coalesce(excluded.batch, batch), members = excluded.members;",
    "DELETE FROM submissions WHERE name IN (SELECT value FROM jsonb_each(NEW.closed));",
    // All of a batch are of one turn: one row, and no text taken apart.
    "INSERT OR REPLACE INTO untaught (turn, lessons)
        SELECT NEW.untaught ->> '$[0][0]', NEW.untaught WHERE NEW.untaught IS NOT NULL;",
    "DELETE FROM untaught WHERE turn <= NEW.taught;",
];

/// What takes the lists of a batch, as JSON: a row of it is a batch. See [`Store::open`](super::Store::open).
pub(super) const BATCH: &str = "CREATE TEMP VIEW batch AS SELECT NULL AS attempts, NULL AS endings, NULL AS marks, \
    NULL AS runs, NULL AS memos, NULL AS events, NULL AS sent, NULL AS closed, NULL AS untaught, NULL AS taught";

/// Writes a batch: one statement, so one transaction, one round trip to the database's thread and one answer from it.
/// Measured at 2.2 us a record in batches of 100 and 50 us for a batch of two; a statement each costs 200 us.
pub(super) const WRITE: &str = "INSERT INTO batch \
     (attempts, endings, marks, runs, memos, events, sent, closed, untaught, taught) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

/// Returns the statement that makes [`WRITE`] do its steps.
pub(super) fn batch_trigger() -> String {
    format!("CREATE TEMP TRIGGER write_batch INSTEAD OF INSERT ON batch BEGIN {} END", WRITE_STEPS.join("\n"))
}

/// Takes back what a failed batch had begun; fails when nothing had.
pub(super) const ROLLBACK: &str = "ROLLBACK";

/// A new run.
pub(super) const INSERT_RUN: &str = "\
BEGIN IMMEDIATE;
INSERT INTO runs (name, path, root, command, workflow, state, halt, submitted, umask, ahead, version)
    VALUES (?, ?, ?, ?, ?, 'active', 'going', ?, ?, ?, ?);
INSERT INTO plans (run, plan, verdicts, reasons, text, env)
    VALUES (last_insert_rowid(), ?, ?, ?, ?, ?);
COMMIT;";

/// Heads of runs, newest first.
pub(super) const RUNS: &str = "SELECT run, name, path, root, command, workflow, state, halt, submitted, ended, counts, umask, ahead \
    FROM runs WHERE (?1 IS NULL OR state = ?1) ORDER BY run DESC LIMIT ?2";

/// The runs that are not over, oldest first.
pub(super) const ACTIVE: &str = "SELECT run, name, path, root, command, workflow, state, halt, submitted, ended, counts, umask, ahead \
    FROM runs WHERE state = 'active' ORDER BY run";

/// The head of a run.
pub(super) const RUN: &str = "SELECT run, name, path, root, command, workflow, state, halt, submitted, ended, counts, umask, ahead \
    FROM runs WHERE run = ?1";

/// The newest run.
pub(super) const LAST: &str = "SELECT max(run) FROM runs";

/// The newest run of another directory.
pub(super) const LAST_ELSEWHERE: &str = "SELECT max(run) FROM runs WHERE root <> ?1";

/// What a run does.
pub(super) const PLAN: &str = "SELECT plan, verdicts, reasons, env FROM plans WHERE run = ?1";

/// The workflow of a run, as submitted.
pub(super) const TEXT: &str = "SELECT text FROM plans WHERE run = ?1";

/// All attempts of a run.
pub(super) const ATTEMPTS: &str = "SELECT instance, attempt, worker, cpus, mem, enforced, time, gpus, submitted, started, \
    ended, outcome, code, signal, message, wall, user, system, peak, meter, follow, notes, host, choice, \
    read, written, flow, partition, allocation \
    FROM attempts WHERE run = ?1 ORDER BY instance, attempt";

/// The attempts of some instances of a run, given as a JSON list.
pub(super) const ATTEMPTS_OF: &str = "SELECT instance, attempt, worker, cpus, mem, enforced, time, gpus, submitted, started, \
    ended, outcome, code, signal, message, wall, user, system, peak, meter, follow, notes, host, choice, \
    read, written, flow, partition, allocation \
    FROM json_each(?2) AS wanted CROSS JOIN attempts ON run = ?1 AND instance = wanted.value ORDER BY instance, attempt";

/// Instances of a run with an attempt that did not succeed.
pub(super) const UNSUCCESSFUL: &str =
    "SELECT DISTINCT instance FROM attempts WHERE run = ?1 AND outcome <> 'success' ORDER BY instance";

/// The marks of a run.
pub(super) const MARKS: &str = "SELECT mark, instances FROM marks WHERE run = ?1 ORDER BY id";

/// What happened to a run, oldest first.
pub(super) const EVENTS: &str = "SELECT at, what FROM events WHERE run = ?1 ORDER BY id";

/// Runs that are over, newest first, with when they ended.
pub(super) const OVER: &str = "SELECT run, coalesce(ended, submitted), state = 'active' FROM runs ORDER BY run DESC";

/// Forgets runs, given as a JSON list, and gives their pages back.
pub(super) const DELETE_RUNS: &str = "\
BEGIN IMMEDIATE;
DELETE FROM attempts WHERE run IN (SELECT value FROM json_each(?1));
DELETE FROM marks WHERE run IN (SELECT value FROM json_each(?1));
DELETE FROM events WHERE run IN (SELECT value FROM json_each(?1));
DELETE FROM plans WHERE run IN (SELECT value FROM json_each(?1));
DELETE FROM runs WHERE run IN (SELECT value FROM json_each(?1)) AND state <> 'active';
COMMIT;";

/// Gives free pages back to the filesystem.
pub(super) const SHRINK: &str = "PRAGMA incremental_vacuum";

/// The memos of a workflow, oldest chunk first.
pub(super) const MEMOS: &str = "SELECT id, chunk FROM memos WHERE workflow = ?1 ORDER BY id";

/// Sizes of a workflow's chunks, newest first.
pub(super) const MEMO_SIZES: &str = "SELECT id, length(chunk) FROM memos WHERE workflow = ?1 ORDER BY id DESC";

/// The newest chunks of a workflow, from this one on, oldest first.
pub(super) const MEMOS_FROM: &str = "SELECT id, chunk FROM memos WHERE workflow = ?1 AND id >= ?2 ORDER BY id";

/// Puts one chunk where several were. It keeps the number of the oldest, so that chunks keep their order.
pub(super) const REPLACE_MEMOS: &str = "\
BEGIN IMMEDIATE;
DELETE FROM memos WHERE workflow = ? AND id >= ? AND id <= ?;
INSERT INTO memos (id, workflow, chunk) VALUES (?, ?, ?);
COMMIT;";

/// What was sent to hosts and is not over, oldest first.
pub(super) const SUBMISSIONS: &str = "SELECT name, host, at, batch, members FROM submissions ORDER BY at, name";

/// The first and the last turn that attempts ended in of which nothing was learned yet.
pub(super) const UNTAUGHT_TURNS: &str = "SELECT min(turn), max(turn) FROM untaught";

/// Attempts that ended in some turns and of which nothing was learned yet, oldest first.
pub(super) const UNTAUGHT: &str =
    "SELECT turn, lessons FROM untaught WHERE turn >= ?1 AND turn <= ?2 ORDER BY turn LIMIT ?3";

/// An intent to send something to a host is on disk before it is sent, whatever happens to the machine; see
/// [`Store::write`](super::Store::write).
pub(super) const SYNC_ALL: &str = "PRAGMA synchronous = FULL";

/// What is written meanwhile may lose its last moments with the machine.
pub(super) const SYNC_SOME: &str = "PRAGMA synchronous = NORMAL";

/// Keeps what a probe found; what it did not find out stays as it was, and so does what jobs saw on compute nodes.
pub(super) const KEEP_HOST: &str = "INSERT INTO hosts (host, at, facts, failure) VALUES (?1, ?2, ?3, ?4) \
    ON CONFLICT (host) DO UPDATE SET at = coalesce(excluded.at, at), facts = CASE \
        WHEN json_valid(facts) AND json_type(facts, '$.nodes') = 'object' \
        THEN json_set(coalesce(excluded.facts, facts), '$.nodes', json_extract(facts, '$.nodes')) \
        ELSE coalesce(excluded.facts, facts) END, \
    failure = excluded.failure";

/// Keeps what jobs saw on compute nodes of a host that was probed: what they do not tell stays as it was.
pub(super) const KEEP_NODES: &str = "UPDATE hosts SET facts = json_set(facts, '$.nodes', \
        json_patch(coalesce(json_extract(facts, '$.nodes'), '{}'), ?2)) \
    WHERE host = ?1 AND json_valid(facts)";

/// What probes found.
pub(super) const HOSTS: &str = "SELECT host, at, facts, failure FROM hosts ORDER BY host";

/// How often that has changed.
pub(super) const HOSTS_VERSION: &str = "SELECT version FROM versions WHERE name = 'hosts'";

/// Keeps where a copy of a file lies.
pub(super) const KEEP_REPLICA: &str = "INSERT OR REPLACE INTO replicas (root, path, host, place, size, mtime, at) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

/// Forgets the copy of a file on a host, or on all.
pub(super) const DROP_REPLICA: &str =
    "DELETE FROM replicas WHERE root = ?1 AND path = ?2 AND (?3 IS NULL OR host = ?3)";

/// Where copies lie: of one directory's files, or of all.
pub(super) const REPLICAS: &str = "SELECT root, path, host, place, size, mtime, at FROM replicas \
    WHERE ?1 IS NULL OR root = ?1 ORDER BY root, path, host";

/// Keeps what was brought to a host.
pub(super) const KEEP_BROUGHT: &str =
    "INSERT OR REPLACE INTO brought (root, path, host, size, mtime, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

/// Forgets what was brought before some time: centers remove what nobody used for weeks.
pub(super) const DROP_BROUGHT: &str = "DELETE FROM brought WHERE at < ?1";

/// Forgets what was brought to a host.
pub(super) const DROP_BROUGHT_TO: &str = "DELETE FROM brought WHERE host = ?1";

/// What was brought to hosts of one directory's files.
pub(super) const BROUGHT: &str = "SELECT path, host, size, mtime, at FROM brought WHERE root = ?1 ORDER BY path, host";

/// Keeps what a directory has of a dataset.
pub(super) const KEEP_DATASET: &str = "INSERT INTO datasets (name, host, path, looked, trouble, listing) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (name, host, path) DO UPDATE SET looked = excluded.looked, \
    trouble = excluded.trouble, listing = excluded.listing";

/// Forgets a place of a dataset, or all.
pub(super) const DROP_DATASET: &str =
    "DELETE FROM datasets WHERE name = ?1 AND (?2 IS NULL OR host = ?2 AND path = ?3)";

/// What is known of one dataset, or of all.
pub(super) const DATASETS: &str = "SELECT name, host, path, looked, trouble, listing FROM datasets \
    WHERE ?1 IS NULL OR name = ?1 ORDER BY name, rowid";

/// Where some files of a directory lie, given as a JSON list of paths.
pub(super) const REPLICAS_OF: &str = "SELECT DISTINCT it.root, it.path, it.host, it.place, it.size, it.mtime, it.at \
    FROM json_each(?2) AS wanted CROSS JOIN replicas AS it ON it.root = ?1 AND it.path = wanted.value \
    ORDER BY it.path, it.host";

/// Keeps how fast files moved.
pub(super) const KEEP_RATE: &str =
    "INSERT OR REPLACE INTO rates (source, target, rate, bytes, at) VALUES (?1, ?2, ?3, ?4, ?5)";

/// How fast files moved, as one JSON list: sqlx hands over one row a good deal faster than a thousand.
pub(super) const RATES: &str = "SELECT json_group_array(json_array(source, target, rate, bytes, at)) \
    FROM (SELECT source, target, rate, bytes, at FROM rates WHERE abs(rate) < 1e300 ORDER BY source, target)";

/// How long attempts waited on hosts, in which partition, when and with what, in seconds, the newest first: from when they were
/// handed over until they ran, the staging of what was missing there included. With them other jobs of which accounting records
/// told.
pub(super) const WAITS: &str = "SELECT host, partition, submitted / 1e6, (started - submitted) / 1e6, cpus, time, ours FROM ( \
        SELECT *, 1 AS ours FROM (SELECT host, partition, submitted, started, cpus, time FROM attempts \
            WHERE host IS NOT NULL AND started IS NOT NULL AND submitted > 0 ORDER BY submitted DESC LIMIT 2000) \
        UNION ALL \
        SELECT *, 0 FROM (SELECT host, partition, submitted, started, cpus, time FROM waited \
            ORDER BY submitted DESC LIMIT 2000)) \
    ORDER BY submitted DESC";

/// Keeps how long jobs waited that csync did not submit, given as a JSON list; of members of an array the one counts that started
/// first. Of each queue the newest 200 stay, and fewer where there are many queues, so that reading them stays cheap.
pub(super) const KEEP_WAITS: &str = "\
BEGIN IMMEDIATE;
INSERT INTO waited (host, job, partition, submitted, started, cpus, time)
    SELECT ?, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 FROM json_each(?) WHERE true
    ON CONFLICT (host, job, submitted) DO UPDATE SET started = min(started, excluded.started);
DELETE FROM waited WHERE rowid IN (
    SELECT it FROM (
        SELECT rowid AS it, row_number() OVER (PARTITION BY host, partition ORDER BY submitted DESC, job) AS place FROM waited)
    WHERE place > max(20, min(200, 2000 / (SELECT count(*) FROM (SELECT DISTINCT host, partition FROM waited)))));
COMMIT;";

/// Forgets how long jobs waited that csync did not submit: of one host, or of all.
pub(super) const FORGET_WAITS: &str = "DELETE FROM waited WHERE ?1 IS NULL OR host = ?1";

/// What routing a command goes by, in one row: where some files lie, what tells whether links were measured since, whether hosts see directories, what attempts waited, and how often what probes found has changed. All of it
/// is asked for at once and handed over as JSON: between two threads each statement costs more than most of these take.
pub(super) const ROUTING: &str = "SELECT \
    (SELECT json_group_array(json_array(path, host, place, size, mtime, at)) FROM ( \
        SELECT DISTINCT it.path, it.host, it.place, it.size, it.mtime, it.at \
        FROM json_each(?2) AS wanted CROSS JOIN replicas AS it ON it.root = ?1 AND it.path = wanted.value \
        ORDER BY it.path, it.host)), \
    (SELECT json_group_array(json_array(path, host, size, mtime, at)) FROM ( \
        SELECT DISTINCT it.path, it.host, it.size, it.mtime, it.at \
        FROM json_each(?2) AS wanted CROSS JOIN brought AS it ON it.root = ?1 AND it.path = wanted.value \
        ORDER BY it.path, it.host)), \
    (SELECT version FROM versions WHERE name = 'rates'), \
    (SELECT json_group_array(json_array(host, directory, seen, at)) \
        FROM (SELECT host, directory, seen, at FROM shared ORDER BY host, directory)), \
    (SELECT json_group_array(json_array(host, partition, submitted, started - submitted, cpus, time, ours)) FROM ( \
        SELECT * FROM ( \
            SELECT *, 1 AS ours FROM (SELECT host, partition, submitted, started, cpus, time FROM attempts \
                WHERE host IS NOT NULL AND started IS NOT NULL AND submitted > 0 ORDER BY submitted DESC LIMIT 2000) \
            UNION ALL \
            SELECT *, 0 FROM (SELECT host, partition, submitted, started, cpus, time FROM waited \
                ORDER BY submitted DESC LIMIT 2000)) \
        ORDER BY submitted DESC)), \
    (SELECT version FROM versions WHERE name = 'hosts'), \
    (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version)";

/// Keeps whether a host sees a directory.
pub(super) const KEEP_SHARED: &str =
    "INSERT OR REPLACE INTO shared (host, directory, seen, at) VALUES (?1, ?2, ?3, ?4)";

/// Whether hosts see directories.
pub(super) const SHARED: &str = "SELECT host, directory, seen, at FROM shared ORDER BY host, directory";

/// Whether the file is sound.
pub(super) const CHECK: &str = "PRAGMA quick_check(10)";

/// Statements that the test explains; the rest are settings.
#[cfg(test)]
#[rustfmt::skip]
const ALL: &[&str] = &[
    FORMAT, WRITTEN_BY, SET_WRITTEN_BY, SKIP_RUNS, INSERT_RUN, RUNS, ACTIVE, RUN, LAST, LAST_ELSEWHERE, PLAN, TEXT, ATTEMPTS,
    ATTEMPTS_OF, UNSUCCESSFUL, MARKS, EVENTS, OVER, DELETE_RUNS, MEMOS, MEMO_SIZES, MEMOS_FROM, REPLACE_MEMOS,
    SUBMISSIONS, KEEP_HOST, KEEP_NODES, HOSTS, HOSTS_VERSION, KEEP_REPLICA, DROP_REPLICA, REPLICAS, REPLICAS_OF, KEEP_DATASET, DROP_DATASET, DATASETS, KEEP_RATE, RATES, WAITS, KEEP_WAITS, FORGET_WAITS, ROUTING, KEEP_SHARED,
    SHARED, UNTAUGHT_TURNS, UNTAUGHT,
];

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{AssertSqlSafe, ConnectOptions, Executor, Row};

    use super::*;

    #[tokio::test]
    async fn every_statement_fits_the_schema() {
        let mut conn = SqliteConnectOptions::new().in_memory(true).connect().await.unwrap();
        for migration in MIGRATIONS {
            conn.execute(*migration).await.unwrap();
        }
        let new = ["attempts", "endings", "marks", "runs", "memos", "events", "sent", "closed", "untaught", "taught"];
        let steps = WRITE_STEPS.iter().zip(new).map(|(sql, list)| sql.replace(&format!("NEW.{list}"), "?1"));
        let statements: Vec<String> =
            ALL.iter().flat_map(|sql| sql.split_inclusive(';')).map(str::to_owned).chain(steps).collect();
        for sql in statements.iter().filter(|sql| !sql.trim().is_empty()) {
            let plan = conn.fetch_all(sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))).await;
            let plan = plan.unwrap_or_else(|error| panic!("{sql}: {error}"));
            // A table of a million rows is never read from end to end for one run.
            for step in plan.iter().map(|row| row.get::<String, _>("detail")) {
                for table in ["attempts", "memos", "marks", "events", "plans"] {
                    assert!(!step.starts_with(&format!("SCAN {table}")), "{sql}: {step}");
                }
            }
        }
    }
}
