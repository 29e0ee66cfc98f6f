//! Runs and their attempts: taken in, read back, forgotten.

use futures_util::TryStreamExt;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Row, Sqlite};
use tokio::task::{JoinError, spawn_blocking};

use crate::decide::engine::protocol::{AttemptRecord, Follow, Halt, Mark, Verdict};
use crate::decide::fresh::reason::Reason;
use crate::model::api::{AttemptView, Clean, Counts, RunState, RunSummary};
use crate::model::batch::{BadJobName, BatchId};
use crate::model::choice::Choice;
use crate::model::id::{HostId, InstanceId, JobKey, RunId};
use crate::model::job::Outcome;
use crate::model::plan::Plan;
use crate::model::resources::{Allocation, Flow, Grant, Io, Meter, Usage};
use crate::model::units::{Bytes, Timestamp, Walltime};
use crate::reach::store::batch::{HOLDS, Sent, flow_name, meter_name};
use crate::reach::store::codec::{self, BadForm};
use crate::reach::store::error::StoreError;
use crate::reach::store::memos::WorkflowKey;
use crate::reach::store::open::{Reader, Store};
use crate::reach::store::sql;

/// A run to be taken in.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// The workflow's name.
    pub name: String,
    /// Its file.
    pub path: Option<String>,
    /// Its directory.
    pub root: String,
    /// What submitted it.
    pub command: Option<String>,
    /// When.
    pub at: Timestamp,
    /// The submitter's umask.
    pub umask: u32,
    /// `--ahead`.
    pub ahead: bool,
    /// The plan, [encoded](super::encode_plan).
    pub plan: Vec<u8>,
    /// Per instance, whether it runs.
    pub verdicts: Vec<Verdict>,
    /// Per instance, why.
    pub reasons: Vec<Reason>,
    /// The workflow as submitted.
    pub text: String,
    /// The submitter's environment, [encoded](super::encode_env).
    pub env: Vec<u8>,
}

/// The head of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRun {
    /// What people see; counters are zero while it is active.
    pub summary: RunSummary,
    /// Key of its memos.
    pub workflow: WorkflowKey,
    /// Whether it starts attempts.
    pub halt: Halt,
    /// The submitter's umask.
    pub umask: u32,
    /// `--ahead`.
    pub ahead: bool,
}

/// What a run does.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPlan {
    /// The plan.
    pub plan: Plan,
    /// Per instance, whether it was to run.
    pub verdicts: Vec<Verdict>,
    /// Per instance, why.
    pub reasons: Vec<Reason>,
    /// The submitter's environment.
    pub env: Vec<(String, String)>,
}

/// An attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredAttempt {
    /// Which.
    pub key: JobKey,
    /// The worker that it was handed to; none when it was refused before that.
    pub worker: Option<u64>,
    /// The host that it was handed to; none is this machine.
    pub host: Option<String>,
    /// What it was granted.
    pub grant: Grant,
    /// When it was handed over.
    pub submitted: Timestamp,
    /// What was chosen for it.
    pub choice: Option<Choice>,
    /// The partition that it was handed over to, where it is known.
    pub partition: Option<Box<str>>,
    /// How it ended; none while it is in flight.
    pub ending: Option<Ending>,
}

/// The attempts of a run as an engine is told of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Records {
    /// All, oldest first.
    pub attempts: Vec<AttemptRecord>,
    /// Those in flight on this machine, each with the worker that it was handed to.
    pub in_flight: Vec<(JobKey, Option<u64>)>,
    /// Positions of those that were handed to another host, and its name.
    pub elsewhere: Vec<(usize, String)>,
}

/// How a [`StoredAttempt`] ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// When it started; none when it never did.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Timestamp,
    /// Why.
    pub outcome: Outcome,
    /// What it used.
    pub usage: Usage,
    /// What followed.
    pub follow: Follow,
    /// What happened besides.
    pub notes: Vec<String>,
    /// Where a batch system ran it, and what it granted it there.
    pub allocation: Option<Box<Allocation>>,
}

impl StoredAttempt {
    /// Returns what the engine is told of it; it knows hosts by numbers, which are not stored.
    pub fn record(&self) -> AttemptRecord {
        let ending = self.ending.as_ref();
        AttemptRecord {
            host: HostId::LOCAL,
            key: self.key,
            grant: self.grant,
            submitted: self.submitted,
            outcome: ending.map(|ending| ending.outcome.clone()),
            follow: ending.map(|ending| ending.follow),
            started: ending.and_then(|ending| ending.started),
            usage: ending.map(|ending| ending.usage).unwrap_or_default(),
            partition: self.partition.clone(),
        }
    }

    /// Returns what people see of it.
    pub fn view(&self) -> AttemptView {
        let ending = self.ending.as_ref();
        AttemptView {
            attempt: self.key.attempt,
            host: self.host.clone(),
            grant: self.grant,
            submitted: self.submitted,
            started: ending.and_then(|ending| ending.started),
            ended: ending.map(|ending| ending.ended),
            outcome: ending.map(|ending| ending.outcome.clone()),
            // What never began used nothing, which is not a run of no time.
            usage: ending.filter(|ending| ending.started.is_some()).map(|ending| ending.usage),
            notes: ending.map(|ending| ending.notes.clone()).unwrap_or_default(),
            choice: self.choice.clone(),
            allocation: ending.and_then(|ending| ending.allocation.clone()),
        }
    }
}

/// Which runs to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only those in this state.
    pub state: Option<RunState>,
    /// At most so many.
    pub limit: Option<u32>,
}

impl Store {
    /// Takes in a run and gives it its number.
    ///
    /// # Errors
    /// When it cannot be written; nothing of it is there then.
    pub async fn insert_run(&mut self, run: NewRun) -> Result<RunId, StoreError> {
        let workflow = WorkflowKey::of(&run.root, &run.name);
        let inserted = sqlx::query(sql::INSERT_RUN)
            .bind(run.name)
            .bind(run.path)
            .bind(run.root)
            .bind(run.command)
            .bind(workflow.0.to_vec())
            .bind(run.at.0)
            .bind(run.umask)
            .bind(run.ahead)
            .bind(env!("CARGO_PKG_VERSION"))
            .bind(run.plan)
            .bind(codec::encode_verdicts(&run.verdicts))
            .bind(codec::encode_reasons(&run.reasons))
            .bind(run.text)
            .bind(run.env)
            .execute(&mut self.conn)
            .await;
        self.finish(inserted.map(drop)).await?;
        self.reader().last_run().await?.ok_or_else(|| self.bad_form(BadForm { what: "a run", form: "none".to_owned() }))
    }

    /// Forgets runs that are over, with all that belongs to them in the database. Their directories are left to the caller.
    ///
    /// # Errors
    /// When it cannot be written; nothing is forgotten then.
    pub async fn delete_runs(&mut self, runs: &[RunId]) -> Result<(), StoreError> {
        let list = serde_json::to_string(runs).unwrap_or_default();
        let deleted = sqlx::query(sql::DELETE_RUNS).bind(list).execute(&mut self.conn).await;
        self.finish(deleted.map(drop)).await?;
        let shrunk = sqlx::query(sql::SHRINK).fetch_all(&mut self.conn).await;
        shrunk.map(drop).map_err(|source| StoreError::from_sqlx(&self.path, source))
    }

    fn bad_form(&self, BadForm { what, form }: BadForm) -> StoreError {
        StoreError::Form { path: self.path.clone(), what, form }
    }
}

impl Reader {
    fn failed(&self, source: sqlx::Error) -> StoreError {
        StoreError::from_sqlx(&self.path, source)
    }

    fn bad_form(&self, BadForm { what, form }: BadForm) -> StoreError {
        StoreError::Form { path: self.path.clone(), what, form }
    }

    /// Returns heads of runs, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn runs(&self, filter: RunFilter) -> Result<Vec<StoredRun>, StoreError> {
        let state = filter.state.map(state_name);
        let rows = sqlx::query(sql::RUNS).bind(state).bind(filter.limit.map_or(-1, i64::from)).fetch_all(&self.pool);
        self.heads(&rows.await.map_err(|source| self.failed(source))?)
    }

    /// Returns heads of the runs that are not over, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn active_runs(&self) -> Result<Vec<StoredRun>, StoreError> {
        let rows = sqlx::query(sql::ACTIVE).fetch_all(&self.pool);
        self.heads(&rows.await.map_err(|source| self.failed(source))?)
    }

    /// Returns the head of a run; none when there is no such run.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn run(&self, run: RunId) -> Result<Option<StoredRun>, StoreError> {
        let rows = sqlx::query(sql::RUN).bind(run.0).fetch_all(&self.pool);
        Ok(self.heads(&rows.await.map_err(|source| self.failed(source))?)?.pop())
    }

    fn heads(&self, rows: &[SqliteRow]) -> Result<Vec<StoredRun>, StoreError> {
        rows.iter().map(|row| head(row).map_err(|source| self.failed(source))).collect()
    }

    /// Returns the number of the newest run.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn last_run(&self) -> Result<Option<RunId>, StoreError> {
        let (last,): (Option<u32>,) =
            sqlx::query_as(sql::LAST).fetch_one(&self.pool).await.map_err(|source| self.failed(source))?;
        Ok(last.map(RunId))
    }

    /// Returns the number of the newest run that is not of this directory.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn last_run_outside(&self, root: &str) -> Result<Option<RunId>, StoreError> {
        let last = sqlx::query_as(sql::LAST_ELSEWHERE).bind(root).fetch_one(&self.pool);
        let (last,): (Option<u32>,) = last.await.map_err(|source| self.failed(source))?;
        Ok(last.map(RunId))
    }

    /// Returns what a run does.
    ///
    /// # Errors
    /// When the store cannot be read, or another version of csync wrote the plan.
    pub async fn plan(&self, run: RunId) -> Result<Option<StoredPlan>, StoreError> {
        let blobs: Option<Blobs> = sqlx::query_as(sql::PLAN)
            .bind(run.0)
            .fetch_optional(&self.pool)
            .await
            .map_err(|source| self.failed(source))?;
        let Some(blobs) = blobs else { return Ok(None) };
        // Off the caller's thread: a plan of a million instances takes its time.
        let decoded = spawn_blocking(move || decode(&blobs)).await;
        let panicked = |error: JoinError| BadForm { what: "a plan", form: error.to_string() };
        decoded.map_err(panicked).and_then(|decoded| decoded).map(Some).map_err(|error| self.bad_form(error))
    }

    /// Returns the workflow of a run, as submitted.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn text(&self, run: RunId) -> Result<Option<String>, StoreError> {
        let text: Option<(String,)> = sqlx::query_as(sql::TEXT)
            .bind(run.0)
            .fetch_optional(&self.pool)
            .await
            .map_err(|source| self.failed(source))?;
        Ok(text.map(|(text,)| text))
    }

    /// Returns the attempts of a run, by instance and oldest first; those of some instances when they are given.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn attempts(&self, run: RunId, of: Option<&[InstanceId]>) -> Result<Vec<StoredAttempt>, StoreError> {
        let mut attempts = Vec::new();
        let query = match of {
            None => sqlx::query(sql::ATTEMPTS).bind(run.0),
            Some(instances) => {
                sqlx::query(sql::ATTEMPTS_OF).bind(run.0).bind(serde_json::to_string(instances).unwrap_or_default())
            }
        };
        self.each_attempt(run, query, |attempt| attempts.push(attempt)).await?;
        Ok(attempts)
    }

    /// Returns what the engine is told of the attempts of a run.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn records(&self, run: RunId) -> Result<Records, StoreError> {
        let mut all = Records::default();
        let take = |attempt: StoredAttempt| {
            if attempt.ending.is_none() && attempt.host.is_none() {
                all.in_flight.push((attempt.key, attempt.worker));
            }
            let record = attempt.record();
            all.elsewhere.extend(attempt.host.map(|host| (all.attempts.len(), host)));
            all.attempts.push(record);
        };
        self.each_attempt(run, sqlx::query(sql::ATTEMPTS).bind(run.0), take).await?;
        Ok(all)
    }

    /// Returns what was sent to hosts and is not over, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn submissions(&self) -> Result<Vec<Sent>, StoreError> {
        let rows = sqlx::query(sql::SUBMISSIONS).fetch_all(&self.pool).await.map_err(|source| self.failed(source))?;
        rows.iter().map(sent).collect::<Result<_, _>>().map_err(|source| self.failed(source))
    }

    /// Reads attempts one by one: a row is some two kilobytes until it is an attempt, and there may be a million.
    async fn each_attempt(
        &self,
        run: RunId,
        query: Query<'_, Sqlite, SqliteArguments>,
        mut take: impl FnMut(StoredAttempt),
    ) -> Result<(), StoreError> {
        let mut rows = query.fetch(&self.pool);
        while let Some(row) = rows.try_next().await.map_err(|source| self.failed(source))? {
            take(attempt(run, &row).map_err(|source| self.failed(source))?);
        }
        Ok(())
    }

    /// Returns the instances of a run that had an attempt which did not succeed.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn unsuccessful(&self, run: RunId) -> Result<Vec<InstanceId>, StoreError> {
        let rows: Vec<(u32,)> = sqlx::query_as(sql::UNSUCCESSFUL)
            .bind(run.0)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| self.failed(source))?;
        Ok(rows.into_iter().map(|(instance,)| InstanceId(instance)).collect())
    }

    /// Returns the marks of a run, oldest first, each with the attempts that the instance had by then.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn marks(&self, run: RunId) -> Result<Vec<(InstanceId, Mark, u32)>, StoreError> {
        let rows: Vec<(String, Vec<u8>)> =
            sqlx::query_as(sql::MARKS).bind(run.0).fetch_all(&self.pool).await.map_err(|source| self.failed(source))?;
        let mut marks = Vec::new();
        for (name, blob) in rows {
            let mark = codec::mark_of(&name).map_err(|error| self.bad_form(error))?;
            let marked = codec::decode_marked(&blob).map_err(|error| self.bad_form(error))?;
            marks.extend(marked.into_iter().map(|(instance, attempts)| (instance, mark, attempts)));
        }
        Ok(marks)
    }

    /// Returns what happened to a run, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn events(&self, run: RunId) -> Result<Vec<(Timestamp, String)>, StoreError> {
        let rows: Vec<(i64, String)> = sqlx::query_as(sql::EVENTS)
            .bind(run.0)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| self.failed(source))?;
        Ok(rows.into_iter().map(|(at, what)| (Timestamp(at), what)).collect())
    }

    /// Returns the runs that a request to clean means, oldest first: only such as are over.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn cleanable(&self, clean: &Clean, now: Timestamp) -> Result<Vec<RunId>, StoreError> {
        let rows: Vec<(u32, i64, bool)> =
            sqlx::query_as(sql::OVER).fetch_all(&self.pool).await.map_err(|source| self.failed(source))?;
        let keep = clean.keep.unwrap_or(0) as usize;
        let old = |ended: i64| clean.older_than.is_none_or(|age| now.since(Timestamp(ended)).as_secs() >= age);
        let named = |run| clean.runs.is_empty() || clean.runs.contains(&run);
        let mut runs: Vec<_> = rows
            .into_iter()
            .skip(keep)
            .filter(|&(run, ended, active)| !active && named(RunId(run)) && old(ended))
            .map(|(run, ..)| RunId(run))
            .collect();
        runs.reverse();
        Ok(runs)
    }
}

/// A plan, verdicts, reasons and an environment, as they are stored.
type Blobs = (Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>);

fn decode((plan, verdicts, reasons, env): &Blobs) -> Result<StoredPlan, BadForm> {
    Ok(StoredPlan {
        plan: codec::decode_plan(plan)?,
        verdicts: codec::decode_verdicts(verdicts)?,
        reasons: codec::decode_reasons(reasons)?,
        env: codec::decode_env(env)?,
    })
}

const fn state_name(state: RunState) -> &'static str {
    match state {
        RunState::Active => "active",
        RunState::Succeeded => "succeeded",
        RunState::Failed => "failed",
        RunState::Cancelled => "cancelled",
    }
}

/// Reads an enum that is stored by the name that it has in JSON.
fn named<T: serde::de::DeserializeOwned>(row: &SqliteRow, column: usize) -> Result<T, sqlx::Error> {
    let name: String = row.try_get(column)?;
    serde_json::from_value(serde_json::Value::String(name))
        .map_err(|source| sqlx::Error::ColumnDecode { index: column.to_string(), source: source.into() })
}

fn head(row: &SqliteRow) -> Result<StoredRun, sqlx::Error> {
    let counts: Option<String> = row.try_get(10)?;
    let workflow: Vec<u8> = row.try_get(5)?;
    let decode = |source| sqlx::Error::ColumnDecode { index: "counts".to_owned(), source };
    Ok(StoredRun {
        summary: RunSummary {
            run: RunId(row.try_get(0)?),
            name: row.try_get(1)?,
            path: row.try_get(2)?,
            root: row.try_get(3)?,
            command: row.try_get(4)?,
            state: named(row, 6)?,
            submitted: Timestamp(row.try_get(8)?),
            ended: row.try_get::<Option<i64>, _>(9)?.map(Timestamp),
            counts: match counts {
                Some(json) => serde_json::from_str(&json).map_err(|error| decode(error.into()))?,
                None => Counts::default(),
            },
        },
        workflow: WorkflowKey(workflow.try_into().map_err(|_| decode("a workflow's key is 16 bytes".into()))?),
        halt: named(row, 7)?,
        umask: row.try_get(11)?,
        ahead: row.try_get(12)?,
    })
}

fn sent(row: &SqliteRow) -> Result<Sent, sqlx::Error> {
    let decode = |error: Box<dyn std::error::Error + Send + Sync>| sqlx::Error::Decode(error);
    let (name, members): (String, &str) = (row.try_get(0)?, row.try_get(4)?);
    Ok(Sent {
        name: name.parse().map_err(|error: BadJobName| decode(error.into()))?,
        host: row.try_get(1)?,
        at: Timestamp(row.try_get(2)?),
        batch: row.try_get::<Option<String>, _>(3)?.map(BatchId),
        members: serde_json::from_str(members).map_err(|error| decode(error.into()))?,
    })
}

fn attempt(run: RunId, row: &SqliteRow) -> Result<StoredAttempt, sqlx::Error> {
    let bytes = |column| row.try_get::<Option<i64>, _>(column).map(|n| n.unwrap_or(0).unsigned_abs());
    let time = |column| row.try_get::<Option<i64>, _>(column).map(|at| at.map(Timestamp));
    let ended = time(10)?;
    Ok(StoredAttempt {
        key: JobKey { run, instance: InstanceId(row.try_get(0)?), attempt: row.try_get(1)? },
        worker: row.try_get::<Option<i64>, _>(2)?.map(|worker| worker as u64),
        host: row.try_get(22)?,
        grant: Grant {
            cpus: row.try_get::<Option<u32>, _>(3)?.unwrap_or(0),
            mem: Bytes(bytes(4)?),
            hold: row
                .try_get::<Option<u8>, _>(5)?
                .and_then(|at| HOLDS.get(usize::from(at)))
                .copied()
                .unwrap_or_default(),
            time: row.try_get::<Option<i64>, _>(6)?.map(|time| Walltime(time.unsigned_abs())),
            gpus: row.try_get::<Option<u32>, _>(7)?.unwrap_or(0),
        },
        submitted: time(8)?.or(ended).unwrap_or_default(),
        choice: row.try_get::<Option<&str>, _>(23)?.and_then(|json| serde_json::from_str(json).ok()),
        partition: row.try_get::<Option<&str>, _>(27)?.map(Box::from),
        ending: ended.map(|ended| ending(ended, time(9)?, row)).transpose()?,
    })
}

fn ending(ended: Timestamp, started: Option<Timestamp>, row: &SqliteRow) -> Result<Ending, sqlx::Error> {
    let seconds = |column| row.try_get::<Option<f64>, _>(column).map(Option::unwrap_or_default);
    let meter: Option<&str> = row.try_get(19)?;
    let notes: Option<&str> = row.try_get(21)?;
    Ok(Ending {
        started,
        ended,
        outcome: outcome(row)?,
        usage: Usage {
            wall: seconds(15)?,
            user: seconds(16)?,
            system: seconds(17)?,
            peak_memory: Bytes(row.try_get::<Option<i64>, _>(18)?.unwrap_or(0).unsigned_abs()),
            meter: [Meter::Cgroup, Meter::Proc]
                .into_iter()
                .find(|&known| meter == Some(meter_name(known)))
                .unwrap_or_default(),
            io: io(row)?,
        },
        follow: match row.try_get::<Option<i64>, _>(20)? {
            None | Some(0) => Follow::Final,
            Some(at) => Follow::Retry(Timestamp(at)),
        },
        notes: notes.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default(),
        allocation: row.try_get::<Option<&str>, _>(28)?.and_then(|json| serde_json::from_str(json).ok()),
    })
}

fn io(row: &SqliteRow) -> Result<Option<Io>, sqlx::Error> {
    let bytes = |column| row.try_get::<Option<i64>, _>(column).map(|n| n.map(|n| Bytes(n.unsigned_abs())));
    let Some((read, written)) = bytes(24)?.zip(bytes(25)?) else { return Ok(None) };
    let named: Option<&str> = row.try_get(26)?;
    let known = [Flow::Calls, Flow::Sampled].into_iter().find(|&known| named == Some(flow_name(known)));
    // A name of a version to come is believed least.
    Ok(Some(Io { read, written, flow: known.unwrap_or(Flow::Devices) }))
}

fn outcome(row: &SqliteRow) -> Result<Outcome, sqlx::Error> {
    let message = || row.try_get::<Option<String>, _>(14).map(Option::unwrap_or_default);
    Ok(match row.try_get(11)? {
        "success" => Outcome::Success,
        "exit" => Outcome::Exit { code: row.try_get::<Option<i32>, _>(12)?.unwrap_or(-1), signal: row.try_get(13)? },
        "oom" => Outcome::Oom,
        "timeout" => Outcome::Timeout,
        "node_fail" => Outcome::NodeFail,
        "preempted" => Outcome::Preempted,
        "cancelled" => Outcome::Cancelled,
        "rejected" => Outcome::Rejected { message: message()? },
        "stage" => Outcome::Stage { message: message()? },
        "spawn" => Outcome::Spawn { message: message()? },
        other => {
            let source = format!("`{other}` is not an outcome").into();
            return Err(sqlx::Error::ColumnDecode { index: "outcome".to_owned(), source });
        }
    })
}
