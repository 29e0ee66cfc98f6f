//! The engine's routes, typed.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use serde::Serialize;

use crate::model::api::{
    Affected, Clean, Cleaned, DataAsk, DataDone, EngineInfo, InstancePage, Progress, RetryAsk, RunDetail, RunPlan,
    RunState, RunSummary, Selection, StopEngine, Stream, Submission, Submitted, TryHost, Why,
};
use crate::model::data::{DatasetAsk, Holding, ImagesSeen, Replica};
use crate::model::done::DoneRun;
use crate::model::facts::{HostReport, NodeReport, QueueForget, QueueReport};
use crate::model::host::HostName;
use crate::model::id::{InstanceId, RunId};
use crate::model::job::State;
use crate::reach::client::{Chunks, Client, ClientError, Lines, http};

/// Seconds that an engine has to leave.
const FAREWELL: i64 = 30;

/// A run as people name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunRef {
    /// The newest.
    #[default]
    Last,
    /// This one.
    Id(RunId),
}

/// The text names no run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a run is named by its number, as `csync runs` lists it, or `last`")]
pub struct BadRunRef;

impl FromStr for RunRef {
    type Err = BadRunRef;

    fn from_str(text: &str) -> Result<Self, BadRunRef> {
        if text == "last" {
            return Ok(Self::Last);
        }
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let id = text.parse().ok().filter(|_| digits);
        id.map(|id| Self::Id(RunId(id))).ok_or(BadRunRef)
    }
}

impl fmt::Display for RunRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last => f.write_str("last"),
            Self::Id(run) => run.fmt(f),
        }
    }
}

impl From<RunId> for RunRef {
    fn from(run: RunId) -> Self {
        Self::Id(run)
    }
}

/// Which instances of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceQuery {
    /// In this state.
    pub state: Option<State>,
    /// Of this task.
    pub task: Option<String>,
    /// With this label: an instance, or a task.
    pub label: Option<String>,
    /// Leave out so many.
    pub offset: u32,
    /// At most so many.
    pub limit: Option<u32>,
}

/// Which log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogQuery {
    /// Of which instance.
    pub instance: InstanceId,
    /// Of which attempt; the last when none.
    pub attempt: Option<u32>,
    /// Which stream.
    pub stream: Stream,
    /// Go on until the attempt ends.
    pub follow: bool,
    /// Only so many lines of its end.
    pub tail: Option<u32>,
}

impl Client {
    /// Returns what the engine says of itself now.
    pub async fn engine(&self) -> Result<EngineInfo, ClientError> {
        http::get(&self.socket, "/v1/engine").await
    }

    /// Stops the engine and waits until its process is gone. Without `now` it refuses while runs are live.
    pub async fn stop(&self, now: bool) -> Result<(), ClientError> {
        let pid = i32::try_from(self.info.pid).ok().and_then(rustix::process::Pid::from_raw);
        // Opened before it is told to leave: after that, another process may have its number.
        let process = pid.and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok());
        let _leaving: serde_json::Value = http::post(&self.socket, "/v1/engine/stop", &StopEngine { now }).await?;
        let Some(process) = process else { return Ok(()) };
        let gone = tokio::task::spawn_blocking(move || ends_in_time(&process)).await;
        if gone.unwrap_or(false) { Ok(()) } else { Err(ClientError::Stays { pid: self.info.pid, seconds: FAREWELL }) }
    }

    /// Lists runs, newest first.
    pub async fn runs(&self, limit: Option<u32>, state: Option<RunState>) -> Result<Vec<RunSummary>, ClientError> {
        http::get(&self.socket, &query("/v1/runs", &[("limit", text(limit)), ("state", word(state))])).await
    }

    /// Submits a workflow; planning a large one takes its time.
    pub async fn submit(&self, submission: &Submission) -> Result<Submitted, ClientError> {
        http::post_patiently(&self.socket, "/v1/runs", submission).await
    }

    /// Hands in a command that is over, to be kept as a run.
    pub async fn keep_done(&self, done: &DoneRun) -> Result<Submitted, ClientError> {
        http::post(&self.socket, "/v1/runs/done", done).await
    }

    /// Lists what lies on hosts.
    pub async fn data(&self) -> Result<Vec<Replica>, ClientError> {
        http::get(&self.socket, "/v1/data").await
    }

    /// Names directories of hosts as a dataset, and looks at them; large ones take their time.
    pub async fn add_dataset(&self, ask: &DatasetAsk) -> Result<Vec<Holding>, ClientError> {
        http::post_patiently(&self.socket, "/v1/datasets/add", ask).await
    }

    /// Looks at the places of datasets again.
    pub async fn scan_datasets(&self, ask: &DatasetAsk) -> Result<Vec<Holding>, ClientError> {
        http::post_patiently(&self.socket, "/v1/datasets/scan", ask).await
    }

    /// Forgets datasets or places of theirs; the files stay.
    pub async fn forget_datasets(&self, ask: &DatasetAsk) -> Result<Vec<Holding>, ClientError> {
        http::post_patiently(&self.socket, "/v1/datasets/forget", ask).await
    }

    /// Returns the places of all datasets.
    pub async fn datasets(&self) -> Result<Vec<Holding>, ClientError> {
        http::get(&self.socket, "/v1/datasets").await
    }

    /// Fetches files from hosts; large ones take their time.
    pub async fn get_data(&self, ask: &DataAsk) -> Result<DataDone, ClientError> {
        http::post_patiently(&self.socket, "/v1/data/get", ask).await
    }

    /// Moves files to another host; large ones take their time.
    pub async fn move_data(&self, ask: &DataAsk) -> Result<DataDone, ClientError> {
        http::post_patiently(&self.socket, "/v1/data/move", ask).await
    }

    /// Removes copies of files from hosts.
    pub async fn remove_data(&self, ask: &DataAsk) -> Result<DataDone, ClientError> {
        http::post_patiently(&self.socket, "/v1/data/remove", ask).await
    }

    /// Hands over that what was brought to a host for jobs is there no more.
    pub async fn cleaned(&self, host: &HostName) -> Result<(), ClientError> {
        http::post(&self.socket, "/v1/data/cleaned", host).await
    }

    /// Returns a run with its tasks.
    pub async fn run(&self, run: RunRef) -> Result<RunDetail, ClientError> {
        http::get(&self.socket, &format!("/v1/runs/{run}")).await
    }

    /// Returns instances of a run.
    pub async fn instances(&self, run: RunRef, which: &InstanceQuery) -> Result<InstancePage, ClientError> {
        let path = query(
            &format!("/v1/runs/{run}/instances"),
            &[
                ("state", word(which.state)),
                ("task", which.task.clone()),
                ("label", which.label.clone()),
                ("offset", text(Some(which.offset).filter(|&offset| offset > 0))),
                ("limit", text(which.limit)),
            ],
        );
        http::get(&self.socket, &path).await
    }

    /// Follows a run: what it says now, then every change, until it is over.
    pub async fn progress(&self, run: RunRef) -> Result<Lines<Progress>, ClientError> {
        http::stream(&self.socket, &format!("/v1/runs/{run}/progress")).await.map(Lines::new)
    }

    /// Returns a run whole, for pictures and reports.
    pub async fn plan(&self, run: RunRef) -> Result<RunPlan, ClientError> {
        http::get_patiently(&self.socket, &format!("/v1/runs/{run}/plan")).await
    }

    /// Returns why the instances of a label stand where they stand.
    pub async fn why(&self, run: RunRef, label: &str) -> Result<Vec<Why>, ClientError> {
        let path = query(&format!("/v1/runs/{run}/why"), &[("label", Some(label.to_owned()))]);
        http::get(&self.socket, &path).await
    }

    /// Reads a log.
    pub async fn logs(&self, run: RunRef, which: LogQuery) -> Result<Chunks, ClientError> {
        let path = query(
            &format!("/v1/runs/{run}/logs"),
            &[
                ("instance", text(Some(which.instance))),
                ("attempt", text(which.attempt)),
                ("stream", word(Some(which.stream))),
                ("follow", which.follow.then(|| "true".to_owned())),
                ("tail", text(which.tail)),
            ],
        );
        http::stream(&self.socket, &path).await.map(Chunks::new)
    }

    /// Cancels a run, or some of its instances.
    pub async fn cancel(&self, run: RunRef, which: &Selection) -> Result<Affected, ClientError> {
        http::post(&self.socket, &format!("/v1/runs/{run}/cancel"), which).await
    }

    /// Gives instances of a run another chance.
    pub async fn retry(&self, run: RunRef, ask: &RetryAsk) -> Result<Affected, ClientError> {
        http::post(&self.socket, &format!("/v1/runs/{run}/retry"), ask).await
    }

    /// Waits until a run is over.
    pub async fn wait(&self, run: RunRef) -> Result<RunSummary, ClientError> {
        http::get_patiently(&self.socket, &format!("/v1/runs/{run}/wait")).await
    }

    /// Forgets runs.
    pub async fn clean(&self, which: &Clean) -> Result<Cleaned, ClientError> {
        http::post(&self.socket, "/v1/clean", which).await
    }

    /// Has a host tried again now, whatever was wrong with it.
    pub async fn try_host(&self, host: &HostName) -> Result<TryHost, ClientError> {
        http::post(&self.socket, "/v1/hosts/try", &TryHost { host: host.to_string() }).await
    }

    /// Tells which images were seen on a host.
    ///
    /// # Errors
    /// When the engine cannot be spoken to.
    pub async fn keep_images(&self, seen: &ImagesSeen) -> Result<(), ClientError> {
        http::post(&self.socket, "/v1/images", seen).await
    }

    /// Hands over how long jobs waited in the queues of a host.
    pub async fn keep_waits(&self, report: &QueueReport) -> Result<(), ClientError> {
        http::post(&self.socket, "/v1/waits", report).await
    }

    /// Has it forget what was handed over so, of a host or of all; returns of how many jobs.
    pub async fn forget_waits(&self, ask: &QueueForget) -> Result<u64, ClientError> {
        http::post(&self.socket, "/v1/waits/forget", ask).await
    }

    /// Hands over what jobs saw on compute nodes of a host.
    pub async fn keep_nodes(&self, report: &NodeReport) -> Result<(), ClientError> {
        http::post(&self.socket, "/v1/hosts/nodes", report).await
    }

    /// Hands over what a probe found on a host; returns what is known of it now.
    pub async fn keep_probed(&self, report: &HostReport) -> Result<HostReport, ClientError> {
        http::post(&self.socket, "/v1/hosts", report).await
    }
}

/// Waits until a process has ended, or its time to leave has passed.
fn ends_in_time(process: &OwnedFd) -> bool {
    let limit = Timespec { tv_sec: FAREWELL, tv_nsec: 0 };
    loop {
        match poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&limit)) {
            Err(Errno::INTR) => {}
            other => return other.is_ok_and(|ready| ready > 0),
        }
    }
}

fn text(value: Option<impl fmt::Display>) -> Option<String> {
    value.map(|value| value.to_string())
}

/// Returns the name that a unit variant has in JSON.
fn word(value: Option<impl Serialize>) -> Option<String> {
    let value = serde_json::to_value(value?).ok()?;
    value.as_str().map(str::to_owned)
}

/// Appends what is given to a path, percent-encoded.
fn query(path: &str, pairs: &[(&str, Option<String>)]) -> String {
    let mut url = path.to_owned();
    let mut separator = '?';
    for (name, value) in pairs {
        let Some(value) = value else { continue };
        let _ = write!(url, "{separator}{name}=");
        for byte in value.bytes() {
            let plain = byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
            let _ = if plain { write!(url, "{}", char::from(byte)) } else { write!(url, "%{byte:02X}") };
        }
        separator = '&';
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_named_by_number_or_last() {
        assert_eq!("last".parse(), Ok(RunRef::Last));
        assert_eq!("12".parse(), Ok(RunRef::Id(RunId(12))));
        for bad in ["", "align", "+1", "-1", "1.2", "99999999999", "LAST"] {
            assert_eq!(bad.parse::<RunRef>(), Err(BadRunRef), "{bad}");
        }
    }

    #[test]
    fn what_people_call_things_survives_the_url() {
        let url = query("/x", &[("a", None), ("label", Some("t[ä b&c=d%/1]".to_owned())), ("n", text(Some(3)))]);
        assert_eq!(url, "/x?label=t%5B%C3%A4%20b%26c%3Dd%25/1%5D&n=3");
        assert_eq!(word(Some(RunState::Active)).as_deref(), Some("active"));
        assert_eq!(word(None::<State>), None);
    }
}
