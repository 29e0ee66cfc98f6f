//! Records of one turn of the engine's loop, gathered as rows and written in one transaction.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeSeq, Serializer};

use crate::decide::engine::protocol::{Follow, Halt, Mark};
use crate::model::api::{Counts, RunState};
use crate::model::batch::{BatchId, JobName};
use crate::model::choice::Choice;
use crate::model::data::DataFact;
use crate::model::id::{InstanceId, JobKey, RunId};
use crate::model::job::{Ended, Outcome};
use crate::model::plan::Memo;
use crate::model::resources::{Flow, Grant, Hold, Io, Meter};
use crate::model::units::Timestamp;
use crate::reach::store::codec;
use crate::reach::store::error::StoreError;
use crate::reach::store::memos::{WorkflowKey, append_memo};
use crate::reach::store::open::Store;
use crate::reach::store::sql;

/// What a grant's memory means, by its number in the store.
pub(super) const HOLDS: [Hold; 3] = [Hold::Nothing, Hold::Limit, Hold::Room];

/// Records to write together. Kept and cleared by its owner, so that a turn allocates nothing.
#[derive(Debug, Default)]
pub struct Batch {
    attempts: Rows,
    endings: Rows,
    marks: Rows,
    runs: Rows,
    events: Rows,
    sent: Rows,
    closed: Rows,
    untaught: Rows,
    /// Up to this turn, all is learned.
    taught: Option<u64>,
    memos: BTreeMap<WorkflowKey, Vec<u8>>,
    /// Few and seldom: apart from the one statement, which every turn pays for.
    data: Vec<DataFact>,
}

/// Who an attempt is handed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandedTo<'a> {
    /// This local worker, as far as one is known.
    Worker(Option<u64>),
    /// This host, and the partition there, where it is known.
    Host(&'a str, Option<&'a str>),
}

/// A submission on a host that is not over: a job, an array or a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its id, and its job name there.
    pub name: JobName,
    /// The host's name.
    pub host: String,
    /// When it was decided on.
    pub at: Timestamp,
    /// The batch system's id, once that is known.
    pub batch: Option<BatchId>,
    /// The attempts that are its members, in their order.
    pub members: Vec<JobKey>,
}

/// An attempt that ended and that nothing was learned of yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untaught {
    /// Which.
    pub key: JobKey,
    /// Bytes of its inputs.
    pub input: u64,
}

/// A JSON list of lists.
#[derive(Debug, Default)]
struct Rows {
    json: Vec<u8>,
}

impl Rows {
    fn push(&mut self, row: &impl Serialize) {
        let before = self.json.len();
        self.json.push(if before == 0 { b'[' } else { b',' });
        // Writing to memory fails only for maps with keys that are no strings; rows are tuples.
        if serde_json::to_writer(&mut self.json, row).is_err() {
            self.json.truncate(before);
        }
    }

    /// Returns the list, closed; none when nothing was pushed.
    fn closed(&self) -> Option<String> {
        let text = std::str::from_utf8(&self.json).ok().filter(|text| !text.is_empty())?;
        Some(format!("{text}]"))
    }
}

/// A row of an attempt.
struct Handed<'a> {
    who: (RunId, InstanceId, u32, Option<i64>),
    what: (u32, i64, u8, Option<i64>, u32),
    at: i64,
    host: Option<&'a str>,
    choice: Option<&'a Choice>,
    partition: Option<&'a str>,
}

impl Serialize for Handed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { who, what, at, host, choice, partition } = self;
        // As long as it has to be: most attempts have no choice.
        let mut row = serializer.serialize_seq(None)?;
        row.serialize_element(&who.0)?;
        row.serialize_element(&who.1)?;
        row.serialize_element(&who.2)?;
        row.serialize_element(&who.3)?;
        row.serialize_element(&what.0)?;
        row.serialize_element(&what.1)?;
        row.serialize_element(&what.2)?;
        row.serialize_element(&what.3)?;
        row.serialize_element(&what.4)?;
        row.serialize_element(at)?;
        row.serialize_element(host)?;
        if choice.is_some() || partition.is_some() {
            row.serialize_element(choice)?;
        }
        if let Some(partition) = partition {
            row.serialize_element(partition)?;
        }
        row.end()
    }
}

impl Batch {
    /// Adds an attempt that is about to be handed to a worker, or to a host, and what was chosen for it.
    pub fn submitted(&mut self, key: JobKey, grant: &Grant, at: Timestamp, to: HandedTo<'_>, choice: Option<&Choice>) {
        let Grant { cpus, mem, hold, time, gpus } = *grant;
        let (worker, host, partition) = match to {
            HandedTo::Worker(worker) => (worker.map(|worker| worker as i64), None, None),
            HandedTo::Host(host, partition) => (None, Some(host), partition),
        };
        let (mem, enforced, time) = (
            signed(mem.0),
            HOLDS.iter().position(|known| *known == hold).unwrap_or_default() as u8,
            time.map(|time| signed(time.0)),
        );
        let who = (key.run, key.instance, key.attempt, worker);
        self.attempts.push(&Handed { who, what: (cpus, mem, enforced, time, gpus), at: at.0, host, choice, partition });
    }

    /// Adds what is about to be sent to a host, or what became of it since: its id there, once that is known.
    pub fn sent(&mut self, sent: &Sent) {
        let members = serde_json::to_string(&sent.members).unwrap_or_default();
        self.sent.push(&(&sent.name, &sent.host, sent.at.0, &sent.batch, members));
    }

    /// Adds that a submission is over, with all its members.
    pub fn closed(&mut self, name: &JobName) {
        self.closed.push(name);
    }

    /// Adds the end of an attempt.
    pub fn ended(&mut self, ended: &Ended, follow: Follow) {
        let Ended { key, outcome, started, ended, usage, notes, allocation, .. } = ended;
        let (code, signal) = match outcome {
            Outcome::Exit { code, signal } => (Some(*code), *signal),
            _ => (None, None),
        };
        let message = match outcome {
            Outcome::Rejected { message } | Outcome::Stage { message } | Outcome::Spawn { message } => Some(message),
            _ => None,
        };
        let follow = match follow {
            Follow::Final => 0,
            Follow::Retry(at) => at.0.max(1),
        };
        let notes = if notes.is_empty() { None } else { serde_json::to_string(notes).ok() };
        let allocation = allocation.as_ref().and_then(|allocation| serde_json::to_string(allocation).ok());
        let moved = |of: fn(Io) -> u64| usage.io.map(|io| signed(of(io)));
        self.endings.push(&(
            key.run,
            key.instance,
            key.attempt,
            started.map(|at| at.0),
            ended.0,
            outcome.class(),
            code,
            signal,
            message,
            usage.wall,
            usage.user,
            usage.system,
            signed(usage.peak_memory.0),
            meter_name(usage.meter),
            follow,
            // Nested: longer tuples than this one have no JSON.
            (notes, moved(|io| io.read.0), moved(|io| io.written.0), usage.io.map(|io| flow_name(io.flow)), allocation),
        ));
    }

    /// Adds that nothing was learned yet of an attempt, which ended in this turn with so many bytes of inputs. A batch is of one
    /// turn.
    pub fn untaught(&mut self, turn: u64, lesson: &Untaught) {
        let Untaught { key, input } = lesson;
        self.untaught.push(&(turn, key.run, key.instance, key.attempt, signed(*input)));
    }

    /// Adds that all is learned from what ended up to this turn.
    pub fn taught(&mut self, turn: u64) {
        self.taught = self.taught.max(Some(turn));
    }

    /// Returns whether it holds attempts that nothing was learned of yet.
    pub fn has_untaught(&self) -> bool {
        !self.untaught.json.is_empty()
    }

    /// Adds what an instance of a workflow computed, for up-to-date checks of later runs.
    pub fn memo(&mut self, workflow: WorkflowKey, memo: &Memo) {
        append_memo(self.memos.entry(workflow).or_default(), memo);
    }

    /// Adds instances that were settled without an attempt, or by a person.
    pub fn marked(&mut self, run: RunId, mark: Mark, instances: &[(InstanceId, u32)]) {
        self.marks.push(&(run, codec::mark_name(mark), hex(&codec::encode_marked(instances))));
    }

    /// Adds a change of a run's state: it is over with these counts, or active again.
    pub fn run(&mut self, run: RunId, state: RunState, at: Timestamp, counts: &Counts) {
        let over = state != RunState::Active;
        let counts = serde_json::to_string(counts).ok();
        self.runs.push(&(run, Some(state), over.then_some(at.0), counts, None::<Halt>));
    }

    /// Adds that a run starts nothing more, or again.
    pub fn halted(&mut self, run: RunId, halt: Halt) {
        self.runs.push(&(run, None::<RunState>, None::<i64>, None::<String>, Some(halt)));
    }

    /// Adds a sentence to the history of a run, or of the engine.
    pub fn event(&mut self, at: Timestamp, run: Option<RunId>, what: &str) {
        self.events.push(&(at.0, run, what));
    }

    /// Adds what was learned of files on hosts.
    pub fn data(&mut self, facts: Vec<DataFact>) {
        self.data.extend(facts);
    }

    /// Returns what was found out of data.
    pub fn facts(&self) -> &[DataFact] {
        &self.data
    }

    /// Returns whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.memos.is_empty()
            && self.data.is_empty()
            && self.taught.is_none()
            && self.rows().iter().all(|rows| rows.json.is_empty())
    }

    /// Forgets everything, keeping the room.
    pub fn clear(&mut self) {
        let Self { attempts, endings, marks, runs, events, sent, closed, untaught, taught, memos: _, data: _ } = self;
        for rows in [attempts, endings, marks, runs, events, sent, closed, untaught] {
            rows.json.clear();
        }
        *taught = None;
        self.memos.clear();
        self.data.clear();
    }

    fn rows(&self) -> [&Rows; 8] {
        let Self { attempts, endings, marks, runs, events, sent, closed, untaught, taught: _, memos: _, data: _ } =
            self;
        [attempts, endings, marks, runs, events, sent, closed, untaught]
    }

    fn memo_rows(&self) -> Option<String> {
        let mut rows = Rows::default();
        for (workflow, chunk) in &self.memos {
            rows.push(&(hex(&workflow.0), hex(chunk)));
        }
        rows.closed()
    }
}

impl Store {
    /// Writes a batch, all of it or nothing; what is written survives the death of this process.
    ///
    /// # Errors
    /// Nothing was written then, and the same batch may be tried again.
    pub async fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        // First, and again should the rest fail: what is up to date because it lies there has to be known to lie there.
        self.keep_data(&batch.data).await?;
        // On a filesystem without WAL everything is synced anyway.
        let intents = self.wal && !batch.sent.json.is_empty();
        if intents {
            let synced = sqlx::query(sql::SYNC_ALL).execute(&mut self.conn).await;
            synced.map_err(|source| StoreError::from_sqlx(&self.path, source))?;
        }
        let written = sqlx::query(sql::WRITE)
            .bind(batch.attempts.closed())
            .bind(batch.endings.closed())
            .bind(batch.marks.closed())
            .bind(batch.runs.closed())
            .bind(batch.memo_rows())
            .bind(batch.events.closed())
            .bind(batch.sent.closed())
            .bind(batch.closed.closed())
            .bind(batch.untaught.closed())
            .bind(batch.taught.map(signed))
            .execute(&mut self.conn)
            .await;
        if intents {
            // Fails when the connection is broken, which the next statement says too.
            sqlx::query(sql::SYNC_SOME).execute(&mut self.conn).await.ok();
        }
        // One statement: it is taken back by itself when it fails.
        written.map(drop).map_err(|source| StoreError::from_sqlx(&self.path, source))
    }

    /// Ends a string of statements that began a transaction: a failure takes it back.
    pub(super) async fn finish<T>(&mut self, result: Result<T, sqlx::Error>) -> Result<T, StoreError> {
        match result {
            Ok(value) => Ok(value),
            Err(source) => {
                // Fails when SQLite has taken it back by itself (full disk) or nothing had begun.
                let _rolled_back = sqlx::query(sql::ROLLBACK).execute(&mut self.conn).await;
                Err(StoreError::from_sqlx(&self.path, source))
            }
        }
    }
}

/// SQLite's integers are signed; JSON numbers beyond them would become reals.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Returns the name of a meter in the store.
pub(super) const fn meter_name(meter: Meter) -> &'static str {
    match meter {
        Meter::Cgroup => "cgroup",
        Meter::Proc => "proc",
        Meter::Rusage => "rusage",
    }
}

/// Returns the name in the store of what is counted of bytes read and written.
pub(super) const fn flow_name(flow: Flow) -> &'static str {
    match flow {
        Flow::Calls => "calls",
        Flow::Sampled => "sampled",
        Flow::Devices => "devices",
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |half: u8| DIGITS.get(usize::from(half)).copied().unwrap_or_default();
    let mut text = String::with_capacity(bytes.len() * 2);
    text.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    text
}
