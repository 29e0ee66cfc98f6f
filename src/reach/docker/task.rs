//! A task's command in a container: made, followed, and found again by its name and its labels.

use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::time::Duration;

use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerState, DeviceMapping, DeviceRequest, HostConfig,
    HostConfigLogConfig,
};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, InspectContainerOptions, KillContainerOptionsBuilder,
    ListContainersOptionsBuilder, LogsOptionsBuilder, StartContainerOptions, StatsOptionsBuilder,
    WaitContainerOptionsBuilder,
};
use futures_util::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::model::resources::Io;
use crate::model::units::{Bytes, Timestamp};
use crate::reach::clock;
use crate::reach::docker::error::{is_missing, refused};
use crate::reach::docker::limits::is_over;
use crate::reach::docker::seen::{Seen, show};
use crate::reach::docker::{Daemon, DockerError};

/// The label that names the state directory of who made a container.
const STATE: &str = "csync.state";
/// The label that names the attempt that a container is of.
const JOB: &str = "csync.job";
/// What ends sooner is not measured: to ask costs as much as it does.
pub(super) const YOUNG: Duration = Duration::from_secs(1);

/// What a task's container is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    /// What it is called: no other of the daemon is called so.
    pub name: String,
    /// The image, as the daemon calls it.
    pub image: String,
    /// The command.
    pub command: Vec<String>,
    /// Where it works.
    pub workdir: String,
    /// Variables: `NAME=VALUE`.
    pub env: Vec<String>,
    /// What of the host it sees: `HOST:INSIDE`, `HOST:INSIDE:ro`.
    pub binds: Vec<String>,
    /// Who it is: `UID:GID`.
    pub user: String,
    /// The state directory that it belongs to.
    pub state: String,
    /// The attempt.
    pub job: String,
    /// Cores; 0: as many as there are.
    pub cpus: u32,
    /// Memory, with swap.
    pub memory: Option<Bytes>,
    /// GPUs.
    pub gpus: u32,
    /// Which of them, where some were granted; else all.
    pub gpu_ids: Vec<String>,
    /// Whether they are AMD's, which come by their devices.
    pub amd: bool,
    /// Whether somebody has something for it to read.
    pub stdin: bool,
    /// The file, as it sees it, that it reads as its standard input, where nobody has something for it.
    pub from: Option<String>,
    /// After how long it ends by itself, where nobody was there to end it.
    pub most: Option<Duration>,
    /// The signal that its command answers, which `timeout` would not pass on.
    pub answers: Option<String>,
}

/// How it ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Over {
    /// What the command returned.
    pub code: i64,
    /// Whether that was for want of memory.
    pub oom: bool,
    /// When it started, by the daemon's clock.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// The most memory that it was seen to use.
    pub peak: Bytes,
    /// CPU seconds that it was seen to use, user and system.
    pub cpu: (f64, f64),
    /// What it was seen to read and write.
    #[serde(default)]
    pub io: Option<Io>,
    /// Whether it was seen not to be held to its memory.
    #[serde(default)]
    pub unheld: bool,
}

/// Where a container stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was made, and has not begun.
    Made,
    /// It runs since then.
    Runs(Timestamp),
    /// It is over.
    Over,
}

/// What a container prints, and what it reads.
pub struct Attached {
    output: Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>,
    input: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    /// When it was started from here.
    since: Option<Timestamp>,
}

impl Daemon {
    /// Makes a container, and returns what the daemon warns of. One of that name that is there already is of the same attempt.
    ///
    /// # Errors
    /// When it cannot be made; [`DockerError::NoImage`] where the image is not there.
    pub async fn make(&self, spec: &Spec) -> Result<Option<String>, DockerError> {
        let options = CreateContainerOptionsBuilder::default().name(&spec.name).build();
        match self.create_container(options, body(spec, self.rootless)).await {
            // That an image is for other machines, or that a limit is not held.
            Ok(made) => {
                let mut warnings = made.warnings.into_iter();
                Ok(warnings.find(|warning| warning.contains("platform") || warning.contains("discarded")))
            }
            Err(Error::DockerResponseServerError { status_code: 409, .. }) => Ok(None),
            Err(Error::DockerResponseServerError { status_code: 404, message }) => {
                let (host, image) = (self.host.clone(), spec.image.clone());
                Err(DockerError::NoImage { host, image, detail: message })
            }
            Err(error) => Err(refused(&self.host, "make a container", error)),
        }
    }

    /// Makes a container, and has its image pulled where it is not there.
    ///
    /// # Errors
    /// When the image cannot be had, or the container not be made.
    pub async fn make_pulling(&self, spec: &Spec, told: impl FnOnce() + Send) -> Result<Option<String>, DockerError> {
        match self.make(spec).await {
            Err(DockerError::NoImage { .. }) => {
                told();
                self.pull(&spec.image, |_| {}).await?;
                self.make(spec).await
            }
            done => done,
        }
    }

    /// Starts a container that was made; from its first word on what it prints is heard.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn begin(&self, name: &str, stdin: bool) -> Result<Attached, DockerError> {
        let options =
            AttachContainerOptionsBuilder::default().stdin(stdin).stdout(true).stderr(true).stream(true).build();
        let attached = self.docker.attach_container(name, Some(options)).await;
        let AttachContainerResults { output, input } =
            attached.map_err(|error| refused(&self.host, "attach to a container", error))?;
        let started = self.docker.start_container(name, None::<StartContainerOptions>).await;
        started.map_err(|error| refused(&self.host, "start a container", error))?;
        Ok(Attached { output, input: stdin.then_some(input), since: Some(clock::now()) })
    }

    /// Goes on with a container that somebody else started: what it printed is heard from the beginning.
    pub fn take_up(&self, name: &str) -> Attached {
        let options = LogsOptionsBuilder::default().follow(true).stdout(true).stderr(true).build();
        Attached { output: self.docker.logs(name, Some(options)).boxed(), input: None, since: None }
    }

    /// Returns where a container stands; none where there is none of that name.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub async fn standing(&self, name: &str) -> Result<Option<Standing>, DockerError> {
        Ok(self.state(name).await?.map(|state| match (state.running, time(state.started_at.as_deref())) {
            (Some(true), Some(at)) => Standing::Runs(at),
            (_, None) => Standing::Made,
            (_, Some(_)) => Standing::Over,
        }))
    }

    async fn state(&self, name: &str) -> Result<Option<ContainerState>, DockerError> {
        match self.docker.inspect_container(name, None::<InspectContainerOptions>).await {
            Ok(ContainerInspectResponse { state, .. }) => Ok(Some(state.unwrap_or_default())),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(refused(&self.host, "look at a container", error)),
        }
    }

    /// Waits for a container's end; what it prints is handed to `print` as it comes, standard error with `true`, and signals are
    /// passed on.
    ///
    /// # Errors
    /// When the daemon went away, or somebody removed the container.
    pub async fn attend(
        &self,
        spec: &Spec,
        attached: Attached,
        mut reading: Option<impl AsyncRead + Send + Unpin>,
        mut print: impl FnMut(bool, &[u8]) + Send,
        signals: &mut mpsc::Receiver<String>,
    ) -> Result<Over, DockerError> {
        let Attached { mut output, mut input, since } = attached;
        let name = &*spec.name;
        let mut seen = Seen::default();
        let feeding = async move {
            if let (Some(from), Some(to)) = (&mut reading, &mut input) {
                // Who does not read on is not given more.
                drop(tokio::io::copy(from, to).await);
                drop(to.shutdown().await);
            }
            std::future::pending::<()>().await;
        };
        let mut feeding = pin!(feeding);
        let mut young = pin!(tokio::time::sleep(YOUNG));
        let mut stats = pin!(self.docker.stats(name, Some(StatsOptionsBuilder::default().stream(true).build())));
        let waiting = WaitContainerOptionsBuilder::default().condition("not-running").build();
        let mut ended = pin!(self.docker.wait_container(name, Some(waiting)));
        let (mut open, mut grown, mut watched, mut told, mut code) = (true, false, true, true, None);
        while open || code.is_none() {
            tokio::select! {
                line = output.next(), if open => match line {
                    Some(Ok(line)) => show(&mut print, &line),
                    Some(Err(_)) | None => open = false,
                },
                () = &mut young, if !grown => grown = true,
                stat = stats.next(), if grown && watched && code.is_none() => match stat {
                    Some(Ok(stat)) => seen.take_in(&stat),
                    Some(Err(_)) | None => watched = false,
                },
                end = ended.next(), if code.is_none() => code = Some(match end {
                    Some(Ok(end)) => end.status_code,
                    Some(Err(Error::DockerContainerWaitError { code, .. })) => code,
                    Some(Err(error)) => return Err(refused(&self.host, "say how a container ended", error)),
                    None => return Err(refused(&self.host, "say how a container ended", cut_off())),
                }),
                signal = signals.recv(), if told => match signal {
                    Some(signal) => self.signal(name, &signal).await?,
                    None => told = false,
                },
                () = &mut feeding => {}
            }
        }
        let unheld = spec.memory.zip(seen.limit).is_some_and(|(asked, held)| is_over(asked, held));
        // Of one that succeeded, and was seen from its beginning, there is nothing more to be asked.
        if code == Some(0) && since.is_some() {
            let (peak, cpu, io) = (Bytes(seen.peak), (seen.user, seen.system), seen.io);
            return Ok(Over { code: 0, oom: false, started: since, ended: Some(clock::now()), peak, cpu, io, unheld });
        }
        let last = self.state(name).await?.ok_or_else(|| DockerError::Refused {
            host: self.host.clone(),
            action: "say how a container ended",
            detail: "somebody removed it".to_owned(),
        })?;
        let code = last.exit_code.or(code).unwrap_or_default();
        let full = spec.memory.is_some_and(|limit| code == 137 && seen.peak >= limit.0 / 100 * 99);
        Ok(Over {
            code,
            oom: code != 0 && (last.oom_killed == Some(true) || full),
            started: time(last.started_at.as_deref()),
            ended: time(last.finished_at.as_deref()),
            peak: Bytes(seen.peak),
            cpu: (seen.user, seen.system),
            io: seen.io,
            unheld,
        })
    }

    /// Returns the names of the tasks' containers of a state directory.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub async fn of_state(&self, state: &str) -> Result<Vec<String>, DockerError> {
        let filters = HashMap::from([("label".to_owned(), vec![format!("{STATE}={state}")])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let all = self.docker.list_containers(Some(options)).await;
        let all = all.map_err(|error| refused(&self.host, "list its containers", error))?;
        let names = all.into_iter().filter_map(|container| container.names?.into_iter().next());
        Ok(names.map(|name| name.trim_start_matches('/').to_owned()).collect())
    }

    /// Sends a signal to a container's command, if it runs.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub async fn signal(&self, name: &str, signal: &str) -> Result<(), DockerError> {
        let options = KillContainerOptionsBuilder::default().signal(signal).build();
        match self.docker.kill_container(name, Some(options)).await {
            // The second: it has ended meanwhile, or has not begun.
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(()),
            Err(error) => Err(refused(&self.host, "signal a container", error)),
        }
    }
}

fn cut_off() -> Error {
    std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()
}

/// Reads a daemon's time; of what has not happened it says the year 1.
fn time(text: Option<&str>) -> Option<Timestamp> {
    let at: jiff::Timestamp = text?.parse().ok()?;
    (at.as_microsecond() > 0).then(|| Timestamp(at.as_microsecond()))
}

/// Has a command read a file, and ends it when its time is over: where the image has a `timeout` that is asked as most are, or a
/// `sleep` where signals have to come through; that is nobody's child, so that the command waits for none but its own. A daemon knows
/// no such limit, and who asked for the container may be gone by then. `$1`: how, `$2`: seconds, `$3`: the file.
const LAST: &str = "\
how=$1 most=$2
[ -z \"$3\" ] || exec <\"$3\" || exit 125
shift 3
case $how in
sleep) ( (sleep \"$most\" && kill -KILL -1) </dev/null >/dev/null 2>&1 &) ;;
timeout) if timeout -s KILL 9 true 2>/dev/null; then exec timeout -s KILL \"$most\" \"$@\"; fi ;;
esac
exec \"$@\"";

/// Returns the command that is run.
fn command(spec: &Spec) -> Vec<String> {
    if spec.most.is_none() && spec.from.is_none() {
        return spec.command.clone();
    }
    let how = match spec.most {
        None => "",
        Some(_) if spec.answers.is_some() => "sleep",
        Some(_) => "timeout",
    };
    let most = spec.most.map_or(0, |most| most.as_secs().max(1)).to_string();
    let from = spec.from.as_deref().unwrap_or_default();
    let first = ["/bin/sh", "-c", LAST, "sh", how, &most, from].map(str::to_owned);
    first.into_iter().chain(spec.command.iter().cloned()).collect()
}

/// What a container is made of.
fn body(spec: &Spec, rootless: bool) -> ContainerCreateBody {
    let memory = spec.memory.map(|bytes| i64::try_from(bytes.0).unwrap_or(i64::MAX));
    let all = spec.gpu_ids.is_empty();
    let gpus = DeviceRequest {
        count: all.then_some(-1),
        device_ids: (!all).then(|| spec.gpu_ids.clone()),
        capabilities: Some(vec![vec!["gpu".to_owned()]]),
        ..DeviceRequest::default()
    };
    let device = |path: &str| DeviceMapping {
        path_on_host: Some(path.to_owned()),
        path_in_container: Some(path.to_owned()),
        cgroup_permissions: Some("rwm".to_owned()),
    };
    let host = HostConfig {
        binds: Some(spec.binds.clone()),
        memory,
        memory_swap: memory,
        nano_cpus: (spec.cpus > 0).then(|| i64::from(spec.cpus) * 1_000_000_000),
        device_requests: (spec.gpus > 0 && !spec.amd).then(|| vec![gpus]),
        devices: (spec.gpus > 0 && spec.amd).then(|| vec![device("/dev/kfd"), device("/dev/dri")]),
        init: Some(true),
        // There root is who started it, and others are who they are if it is told so.
        userns_mode: (rootless && !spec.user.is_empty() && spec.user != "0:0").then(|| "keep-id".to_owned()),
        // What is printed can be asked for again.
        log_config: Some(HostConfigLogConfig { typ: Some("json-file".to_owned()), config: None }),
        ..HostConfig::default()
    };
    let labels = HashMap::from([(STATE.to_owned(), spec.state.clone()), (JOB.to_owned(), spec.job.clone())]);
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        // As with Apptainer: what the image itself would run is not asked for.
        entrypoint: Some(Vec::new()),
        cmd: Some(command(spec)),
        env: Some(spec.env.iter().cloned().chain(["HOME=/tmp".to_owned()]).collect()),
        user: Some(spec.user.clone()).filter(|user| !user.is_empty()),
        working_dir: Some(spec.workdir.clone()),
        labels: Some(labels),
        open_stdin: Some(spec.stdin),
        stdin_once: Some(spec.stdin),
        attach_stdin: Some(spec.stdin),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(false),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_in_the_request() {
        let spec = Spec {
            name: "csync-1".to_owned(),
            image: "box:1".to_owned(),
            cpus: 2,
            memory: Some(Bytes::gib(1)),
            gpus: 1,
            user: "7:8".to_owned(),
            state: "ab".to_owned(),
            ..Spec::default()
        };
        let made = body(&spec, true);
        let host = made.host_config.unwrap();
        assert_eq!(
            (host.memory, host.memory_swap, host.nano_cpus),
            (Some(1 << 30), Some(1 << 30), Some(2_000_000_000))
        );
        assert_eq!(host.device_requests.unwrap()[0].capabilities, Some(vec![vec!["gpu".to_owned()]]));
        assert_eq!((host.userns_mode.as_deref(), made.user.as_deref()), (Some("keep-id"), Some("7:8")));
        assert_eq!(made.labels.unwrap()[STATE], "ab");
        // Those that were granted; AMD's by their devices.
        let some = Spec { gpu_ids: vec!["1".to_owned(), "3".to_owned()], ..spec.clone() };
        let request = body(&some, false).host_config.unwrap().device_requests.unwrap().remove(0);
        assert_eq!((request.count, request.device_ids), (None, Some(vec!["1".to_owned(), "3".to_owned()])));
        let amd = body(&Spec { amd: true, ..spec.clone() }, false).host_config.unwrap();
        let devices: Vec<_> = amd.devices.unwrap().into_iter().filter_map(|device| device.path_on_host).collect();
        assert_eq!((devices, amd.device_requests), (vec!["/dev/kfd".to_owned(), "/dev/dri".to_owned()], None));
        let plain = body(&Spec::default(), true).host_config.unwrap();
        assert_eq!((plain.memory, plain.nano_cpus, plain.device_requests, plain.userns_mode), (None, None, None, None));
    }

    #[test]
    fn times_of_daemons_are_read() {
        for (text, found) in [
            ("2026-01-02T03:04:05.123456789Z", Some(1_767_323_045_123_456)),
            ("2026-01-02T05:04:05.5+02:00", Some(1_767_323_045_500_000)),
            ("0001-01-01T00:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(time(Some(text)).map(|at| at.0), found, "{text}");
        }
    }
}
