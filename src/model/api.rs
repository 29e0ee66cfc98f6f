//! What the engine's HTTP API says and takes; the command line, the console and outside programs see exactly this.
//!
//! JSON. Times are ISO 8601 UTC, durations seconds, memory bytes. Additions are allowed, so readers skip what they do not know.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::choice::{Choice, Policy};
use crate::model::diagnostic::Diagnostic;
use crate::model::host::HostName;
use crate::model::id::{InstanceId, RunId, TaskId};
use crate::model::job::{Outcome, State};
use crate::model::resources::{Allocation, Grant, Usage};
use crate::model::units::{Bytes, Timestamp};

/// Version of this API; a client and an engine that differ here do not talk.
pub const API_VERSION: u32 = 1;

/// `GET /v1/engine`: who answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EngineInfo {
    /// csync's version.
    pub version: String,
    /// [`API_VERSION`] of the engine.
    pub api: u32,
    /// Process id.
    pub pid: u32,
    /// When it started.
    pub started: Timestamp,
    /// State directory, absolute.
    pub state_dir: String,
    /// Seconds without work after which it leaves; none means never.
    pub idle_leave: Option<u64>,
    /// Runs that are not over.
    pub live_runs: u32,
    /// The local executor.
    pub local: LocalInfo,
    /// What keeps it from its work, while something does: a full disk, a worker that cannot be started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// How it stands with the hosts that jobs were handed over to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Contact>,
}

/// How the engine stands with a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Which.
    pub host: HostName,
    /// Whether it is used.
    pub breaker: Breaker,
    /// Why it gets no more jobs, while its batch system takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full: Option<Full>,
    /// Attempts that were handed over to it and are not over.
    #[serde(default)]
    pub jobs: u32,
    /// What it asks a person for, while it is not used for want of a login: `csync login HOST`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
}

impl Contact {
    /// Says why it is not used, and what helps or when it is tried again; none when it is used.
    pub fn in_words(&self) -> Option<String> {
        let why = self.breaker.in_words()?;
        Some(match &self.login {
            Some(login) => format!("it needs a login ({login}): `csync login {}`", self.host),
            None => why,
        })
    }
}

/// A host that a person has to log in to before anything goes on there: `csync login HOST`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginWanted {
    /// The host.
    pub host: HostName,
    /// What it asks for.
    pub why: String,
}

/// `POST /v1/hosts/try`: a host to be tried again now, whatever was wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TryHost {
    /// The host.
    pub host: String,
}

/// A host's circuit breaker: whether it is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Breaker {
    /// It is used.
    Closed,
    /// It could not be used: nothing is handed over to it.
    Open {
        /// Why.
        why: String,
        /// Since when.
        since: Timestamp,
        /// When it is tried again.
        next_try: Timestamp,
    },
    /// It could not be used, and is being tried.
    HalfOpen {
        /// Why it could not.
        why: String,
        /// Since when.
        since: Timestamp,
    },
}

impl Breaker {
    /// Returns its state in one word: `closed`, `open`, `half-open`.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen { .. } => "half-open",
        }
    }

    /// Says why it is not used and when it is tried again; none when it is used.
    pub fn in_words(&self) -> Option<String> {
        match self {
            Self::Closed => None,
            Self::Open { why, next_try, .. } => Some(format!("{why}; next try {next_try}")),
            Self::HalfOpen { why, .. } => Some(format!("{why}; being tried now")),
        }
    }

    /// Returns since when it is not used.
    pub const fn since(&self) -> Option<Timestamp> {
        match self {
            Self::Closed => None,
            Self::Open { since, .. } | Self::HalfOpen { since, .. } => Some(*since),
        }
    }
}

/// A batch system that takes no more jobs of this user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Full {
    /// Why, in its words.
    pub why: String,
    /// How many of ours it is known to take.
    pub jobs: u32,
    /// When more are tried, whether or not jobs end before.
    pub next_try: Timestamp,
}

/// The local machine as an executor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LocalInfo {
    /// Cores that tasks may use.
    pub cpus: u32,
    /// Memory that tasks may use.
    pub mem: Bytes,
    /// Cores in use.
    pub cpus_used: u32,
    /// Memory granted.
    pub mem_used: Bytes,
    /// Jobs running.
    pub running: u32,
    /// Jobs handed over and not started.
    pub queued: u32,
    /// The worker's process id; none when it is not up.
    pub worker_pid: Option<u32>,
}

/// What to run again although it is up to date.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rerun {
    /// Nothing.
    #[default]
    Stale,
    /// Everything.
    All,
    /// These tasks or instances (labels), and what depends on them where their outputs change.
    Tasks(Vec<String>),
}

/// `POST /v1/runs`: a workflow to run. Answered by [`Submitted`] or [`ApiError`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    /// The text of the workflow (TOML).
    pub text: String,
    /// Where the text came from, for messages; none for a generated workflow.
    pub path: Option<String>,
    /// The workflow's directory, absolute: relative paths start here.
    pub root: String,
    /// `-p k=v`.
    pub params: BTreeMap<String, String>,
    /// `--only`: these tasks or instances and what they need.
    pub only: Vec<String>,
    /// `--rerun`.
    pub rerun: Rerun,
    /// `--ahead`.
    #[serde(default)]
    pub ahead: bool,
    /// `--policy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// The submitter's environment, exactly.
    pub env: Vec<(String, String)>,
    /// The submitter's umask.
    pub umask: u32,
    /// Values of the secrets that the workflow names.
    pub secrets: Vec<(String, String)>,
    /// The command line that submitted, for `csync show`.
    pub command: Option<String>,
    /// Files of the directory that go along with every task that runs elsewhere; what the task makes or changes in its copy of the
    /// directory comes back. None: only what tasks declare is moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<Vec<String>>,
}

/// Answer to a [`Submission`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Submitted {
    /// The run.
    pub run: RunId,
    /// Instances by state right after planning.
    pub counts: Counts,
    /// Warnings of the check.
    pub warnings: Vec<Diagnostic>,
}

/// Every refusal: what happened, why, and the command that helps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// Which kind, for programs.
    pub kind: ErrorKind,
    /// What happened and why: a lower-case fragment.
    pub message: String,
    /// What to run or write instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Mistakes in the submitted text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
}

/// Kinds of refusal, each with its exit code (`cli::error`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The workflow has mistakes.
    Invalid,
    /// No such run, task, instance or file.
    NotFound,
    /// Another run writes there, or the request does not fit the state.
    Conflict,
    /// The state directory, database or disk refuses.
    Storage,
    /// Client and engine do not speak the same version.
    Version,
    /// A mistake in csync.
    Internal,
}

/// How many instances are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// See [`State::Pending`].
    pub pending: u32,
    /// See [`State::Ready`].
    pub ready: u32,
    /// See [`State::Queued`].
    pub queued: u32,
    /// See [`State::Running`].
    pub running: u32,
    /// See [`State::Done`].
    pub done: u32,
    /// See [`State::Cached`].
    pub cached: u32,
    /// See [`State::Failed`].
    pub failed: u32,
    /// See [`State::Cancelled`].
    pub cancelled: u32,
    /// See [`State::Skipped`].
    pub skipped: u32,
    /// See [`State::Lost`].
    pub lost: u32,
}

impl Counts {
    /// Returns the counter of a state.
    pub const fn of(&mut self, state: State) -> &mut u32 {
        match state {
            State::Pending => &mut self.pending,
            State::Ready => &mut self.ready,
            State::Queued => &mut self.queued,
            State::Running => &mut self.running,
            State::Done => &mut self.done,
            State::Cached => &mut self.cached,
            State::Failed => &mut self.failed,
            State::Cancelled => &mut self.cancelled,
            State::Skipped => &mut self.skipped,
            State::Lost => &mut self.lost,
        }
    }

    /// Returns the number of instances.
    pub const fn total(&self) -> u32 {
        self.over() + self.pending + self.ready + self.queued + self.running + self.lost
    }

    /// Returns the number of instances to which nothing more will happen.
    pub const fn over(&self) -> u32 {
        self.done + self.cached + self.failed + self.cancelled + self.skipped
    }
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Instances are left to run.
    Active,
    /// Every instance is done, cached, skipped by `when`, or failed with `on_error = "ignore"`.
    Succeeded,
    /// Over, and something failed.
    Failed,
    /// Over by `csync cancel`.
    Cancelled,
}

/// `GET /v1/runs` (newest first; `?limit=`, `?state=`), and the head of `GET /v1/runs/{id}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// The run.
    pub run: RunId,
    /// The workflow's name.
    pub name: String,
    /// Its file, if any.
    pub path: Option<String>,
    /// Its directory.
    pub root: String,
    /// Where it stands.
    pub state: RunState,
    /// Instances by state.
    pub counts: Counts,
    /// When it was submitted.
    pub submitted: Timestamp,
    /// When it was over.
    pub ended: Option<Timestamp>,
    /// What submitted it.
    pub command: Option<String>,
}

/// One task of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskView {
    /// Its name.
    pub name: String,
    /// Its instances by state.
    pub counts: Counts,
    /// Names of the tasks that it waits for: `needs` and by files.
    pub after: Vec<String>,
    /// Summed usage of its ended attempts: wall and CPU summed, peak memory the largest.
    pub usage: Usage,
}

/// `GET /v1/runs/{id}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunDetail {
    /// The head.
    pub summary: RunSummary,
    /// Its tasks in the order of the file.
    pub tasks: Vec<TaskView>,
    /// Estimated seconds until its end, from the mean run time of what ended; none before anything did.
    pub eta: Option<f64>,
    /// Hosts that it waits for, and that wait for a login.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logins: Vec<LoginWanted>,
    /// Files on their way from and to hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moving: Vec<MovingView>,
    /// What tasks made in its directory and lies on hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<HeldView>,
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptView {
    /// From 1.
    pub attempt: u32,
    /// The host that it was handed to; none is this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// What it was granted.
    pub grant: Grant,
    /// When it was handed over.
    pub submitted: Timestamp,
    /// When it started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Why it ended; none while it lives.
    pub outcome: Option<Outcome>,
    /// What it used; none before it is over, and of what never started.
    pub usage: Option<Usage>,
    /// What happened besides.
    pub notes: Vec<String>,
    /// What csync chose for it, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choice>,
    /// Where a batch system ran it, and what it granted it there; none before it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation: Option<Box<Allocation>>,
}

/// One instance: an element of `GET /v1/runs/{id}/instances` (`?state=`, `?task=`, `?label=`, `?offset=`, `?limit=`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceView {
    /// Its id within the run.
    pub instance: InstanceId,
    /// What people call it.
    pub label: String,
    /// Its task.
    pub task: String,
    /// Where it stands.
    pub state: State,
    /// Its attempts, oldest first.
    pub attempts: Vec<AttemptView>,
    /// Outcome of the last attempt.
    pub outcome: Option<Outcome>,
}

/// `GET /v1/runs/{id}/instances`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstancePage {
    /// Instances that the filter lets through, in all.
    pub total: u32,
    /// This page.
    pub instances: Vec<InstanceView>,
}

/// One line of `GET /v1/runs/{id}/progress` (newline-delimited JSON, ends with the run). Sent when something changed, at
/// most ten times a second, and once at the start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The run and its counters.
    pub summary: RunSummary,
    /// Counters of the tasks in the order of the file: of all in the first line, of those that changed in later ones.
    pub tasks: Vec<(String, Counts)>,
    /// Instances running now, longest first, at most 20.
    pub running: Vec<RunningView>,
    /// Instances that were over since the last line, at most 1,000; failed ones are never left out.
    pub ended: Vec<EndedView>,
    /// Estimated seconds to the end.
    pub eta: Option<f64>,
    /// Files on their way from and to hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moving: Vec<MovingView>,
    /// What keeps the engine from going on, in its words: a full disk, a worker that cannot be started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Hosts that it waits for, and that wait for a login.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logins: Vec<LoginWanted>,
    /// Hosts of the run that cannot be used now, and why, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub away: Vec<String>,
    /// True in the last line, which comes when the end of the run is stored.
    pub over: bool,
}

/// Files on their way from one host to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MovingView {
    /// From where.
    pub source: HostName,
    /// Where to.
    pub target: HostName,
    /// What has moved.
    pub done: Bytes,
    /// What is to move.
    pub total: Bytes,
    /// Bytes per second.
    pub rate: f64,
    /// Estimated seconds to the end.
    pub left: Option<f64>,
}

impl fmt::Display for MovingView {
    /// Prints `staging 1.2G of 3.4G to cluster, 45M/s, 50 s left`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "staging {} of {}", self.done, self.total)?;
        match (self.source.is_local(), self.target.is_local()) {
            (true, _) => write!(f, " to {}", self.target)?,
            (false, true) => write!(f, " from {}", self.source)?,
            (false, false) => write!(f, " from {} to {}", self.source, self.target)?,
        }
        if let Some(left) = self.left {
            write!(f, ", {}/s", Bytes(self.rate as u64))?;
            match left.ceil() as u64 {
                seconds @ 0..100 => write!(f, ", {seconds} s left")?,
                seconds => write!(f, ", {} min left", seconds.div_ceil(60))?,
            }
        }
        Ok(())
    }
}

/// How much of a workflow's files lies on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldView {
    /// Which host.
    pub host: HostName,
    /// How many files.
    pub files: u32,
    /// Their size.
    pub bytes: Bytes,
}

/// What is to be done with files that lie on hosts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataAsk {
    /// Absolute paths here: files, or directories with all that is in them.
    pub paths: Vec<String>,
    /// To be moved there.
    #[serde(default)]
    pub to: Option<HostName>,
    /// To be removed from this host alone.
    #[serde(default)]
    pub on: Option<HostName>,
    /// To be removed even where there is no other copy.
    #[serde(default)]
    pub last: bool,
    /// Variables that say where hosts.toml is.
    #[serde(default)]
    pub env: Vec<(String, String)>,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataDone {
    /// The files, as absolute paths here.
    pub paths: Vec<String>,
    /// Bytes that moved, or are gone.
    pub bytes: Bytes,
}

/// A running instance in [`Progress`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunningView {
    /// What people call it.
    pub label: String,
    /// Since when.
    pub since: Timestamp,
    /// The attempt.
    pub attempt: u32,
}

/// An instance that is over, or an attempt that will be followed by another, in [`Progress`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndedView {
    /// What people call it.
    pub label: String,
    /// Its state now; `Ready` when another attempt follows.
    pub state: State,
    /// The attempt; 0 when there was none.
    pub attempt: u32,
    /// Why the attempt ended.
    pub outcome: Option<Outcome>,
    /// What it used.
    pub usage: Option<Usage>,
}

/// `GET /v1/runs/{id}/why?label=`: one per instance that the label names, at most 100.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// The instance.
    pub instance: InstanceView,
    /// Why it stands where it stands, one sentence each, the most important first: what it waits for, why it ran again, why it failed.
    pub reasons: Vec<String>,
    /// The command as it was rendered for the last (or next) attempt.
    pub command: String,
    /// Last lines of its standard error (or output when that is empty), at most 20.
    pub log_tail: Vec<String>,
    /// What to do, one command each.
    pub advice: Vec<String>,
}

/// `GET /v1/runs/{id}/plan`: a run whole, for pictures and reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunPlan {
    /// The head.
    pub summary: RunSummary,
    /// Cores that its tasks may use together.
    pub cpus: u32,
    /// Memory that its tasks may use together.
    pub mem: Bytes,
    /// Its tasks in the order of the file.
    pub tasks: Vec<PlanTask>,
    /// Its instances; [`InstanceView::instance`] is the position here.
    pub instances: Vec<PlanInstance>,
}

/// A task in [`RunPlan`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanTask {
    /// Its name.
    pub name: String,
    /// Tasks that must be over before any of its instances starts: `needs`, without what files say.
    pub needs: Vec<TaskId>,
    /// Position of its first instance; they stand together.
    pub first: u32,
    /// How many instances it has.
    pub count: u32,
}

/// An instance in [`RunPlan`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanInstance {
    /// The instance and its attempts.
    pub view: InstanceView,
    /// Instances whose outputs it reads, each once.
    pub after: Vec<InstanceId>,
}

/// Which of the two streams of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
}

/// `POST /v1/runs/{id}/retry`: which instances are given another chance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryAsk {
    /// Labels: tasks or instances; all that can be when empty.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Those that are lost, which are not waited for any more; without it those that failed, were cancelled or skipped.
    #[serde(default)]
    pub lost: bool,
}

/// `POST /v1/runs/{id}/cancel`: which instances; all (that can be) when empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Labels: tasks or instances.
    #[serde(default)]
    pub labels: Vec<String>,
}

/// Answer to cancel and retry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affected {
    /// How many instances were touched.
    pub instances: u32,
}

/// `POST /v1/engine/stop`. Answered by [`EngineInfo`] before it leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopEngine {
    /// Leave although runs are live (the next engine goes on with them); without it that is refused as a conflict.
    #[serde(default)]
    pub now: bool,
}

/// `POST /v1/clean`: which runs to forget, with their logs. Only runs that are over go; a live one named in `runs` is a conflict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clean {
    /// These runs; all that are over when empty.
    #[serde(default)]
    pub runs: Vec<RunId>,
    /// Only those that were over so many seconds ago.
    #[serde(default)]
    pub older_than: Option<u64>,
    /// All but so many of the newest.
    #[serde(default)]
    pub keep: Option<u32>,
    /// Say what would go and leave it.
    #[serde(default)]
    pub dry_run: bool,
}

/// Answer to [`Clean`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleaned {
    /// The runs that went.
    pub runs: Vec<RunId>,
    /// Bytes of logs that went.
    pub bytes: Bytes,
}
