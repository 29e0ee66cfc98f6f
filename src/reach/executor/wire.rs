//! What engine and worker say to each other: JSON, one message per line, over `worker.sock`.
//!
//! The worker speaks first ([`FromWorker::Hello`]); the engine answers with [`ToWorker::Configure`], the environments of the
//! runs that it will hand jobs of, and then whatever it wants. Endings are repeated in the next `Hello` until they were
//! acknowledged, so an engine that dies between two messages loses none.

use serde::{Deserialize, Serialize};

use crate::model::id::JobKey;
use crate::model::job::{Ended, Job, News};
use crate::model::units::{Bytes, Timestamp};

/// The version of these messages. Raised whenever an older reader would misunderstand a newer writer.
pub const WIRE: u32 = 1;

/// The variable that names the attempt in every process of a job.
pub const VAR_JOB: &str = "CSYNC_JOB";
/// The variable that names the state directory in every process of a job.
pub const VAR_STATE: &str = "CSYNC_STATE_ID";
/// The variable that the engine and the worker themselves carry: a process with it belongs to no job, whoever started it.
pub const VAR_DETACHED: &str = "CSYNC_DETACHED";

/// The variable that names the program that runs containers by a daemon's API.
pub const VAR_PROGRAM: &str = "CSYNC_PROGRAM";
/// The variable that names the file for what a container used.
pub const VAR_RECORD: &str = "CSYNC_RECORD";

/// The variable that names what the container of a job sees of this machine, a directory per line.
pub const VAR_SHOWN: &str = "CSYNC_SHOWN";

/// From the engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToWorker {
    /// What the worker may use; once per connection, and again when it changes.
    Configure(Limits),
    /// An environment that jobs refer to by number; replaces an earlier one of that number for jobs started from now on.
    Environment(Environment),
    /// No more jobs will refer to this environment.
    Forget(u32),
    /// Start these, in this order, as there is room. A key that is known already is ignored.
    Start(Vec<Job>),
    /// End these, or drop them from the queue. A key that is not known is ignored.
    Stop(Vec<JobKey>),
    /// Drop these from the queue. What runs goes on, and a key that is not known is ignored.
    Withdraw(Vec<JobKey>),
    /// The endings of these are in the journal: forget them.
    Ack(Vec<JobKey>),
    /// Leave as soon as nothing runs and every ending is acknowledged.
    Leave,
}

/// From the worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromWorker {
    /// The first message of a connection.
    Hello(Hello),
    /// What happened, oldest first.
    News(Vec<News>),
}

/// Who the worker is, and what it has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// Its [`WIRE`].
    pub wire: u32,
    /// Version of the program.
    pub version: String,
    /// Random name of this worker process; another one has another.
    pub worker: String,
    /// Its process id.
    pub pid: u32,
    /// What it was handed and has not ended.
    pub live: Vec<Live>,
    /// Endings not acknowledged, oldest first.
    pub endings: Vec<Ended>,
}

/// A job that the worker has, queued or running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// Which attempt.
    pub key: JobKey,
    /// Since when it runs; none while it is queued.
    pub started: Option<Timestamp>,
}

/// What the worker may use, and how it treats jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Cores handed out at a time.
    pub cpus: u32,
    /// Memory handed out at a time, to jobs whose memory is enforced.
    pub mem: Bytes,
    /// GPUs, by index from 0.
    pub gpus: u32,
    /// Largest log of one stream of one job; of a larger one the head and the tail are kept.
    pub log: Bytes,
    /// Milliseconds between the signal that asks a job to end and the one that ends it.
    pub grace_ms: u64,
}

impl Default for Limits {
    /// One core, no memory; logs up to 1 GiB; 10 seconds of grace.
    fn default() -> Self {
        Self { cpus: 1, mem: Bytes(0), gpus: 0, log: Bytes::gib(1), grace_ms: 10_000 }
    }
}

/// The environment of a run.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// By what jobs refer to it.
    pub number: u32,
    /// All variables that a job sees, before its own.
    pub vars: Vec<(String, String)>,
    /// The submission's umask.
    pub umask: u32,
}

impl std::fmt::Debug for Environment {
    /// Hides the variables: there are secrets among them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").field("number", &self.number).field("umask", &self.umask).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{InstanceId, RunId};

    #[test]
    fn messages_are_lines_that_name_themselves() {
        let key = JobKey { run: RunId(1), instance: InstanceId(2), attempt: 3 };
        let text = |message: &ToWorker| serde_json::to_string(message).unwrap();
        assert_eq!(text(&ToWorker::Ack(vec![key])), r#"{"ack":["1.2.3"]}"#);
        assert_eq!(text(&ToWorker::Leave), r#""leave""#);
        let news = FromWorker::News(vec![News::Started { key, at: Timestamp(5_000_000) }]);
        let line = serde_json::to_string(&news).unwrap();
        assert_eq!(line, r#"{"news":[{"news":"started","key":"1.2.3","at":"1970-01-01T00:00:05.000Z"}]}"#);
        assert_eq!(serde_json::from_str::<FromWorker>(&line).unwrap(), news);
    }

    #[test]
    fn debug_hides_variables() {
        let environment = Environment { number: 1, vars: vec![("TOKEN".into(), "s3cret".into())], umask: 0o22 };
        assert!(!format!("{environment:?}").contains("s3cret"));
    }
}
