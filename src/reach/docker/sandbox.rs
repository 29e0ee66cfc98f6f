//! A command of somebody else's, in a container that holds it.

use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use bollard::container::{AttachContainerResults, LogOutput};
use bollard::models::{
    ContainerCreateBody, HostConfig, Mount, MountType, MountVolumeOptions, MountVolumeOptionsDriverConfig,
};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptions, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder, StatsOptionsBuilder, UploadToContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use bytes::Bytes as Chunk;
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::language::container::{Held, NOBODY, Sandbox, WORK};
use crate::model::resources::Io;
use crate::model::units::Bytes;
use crate::reach::docker::error::refused;
use crate::reach::docker::seen::{Seen, show};
use crate::reach::docker::task::YOUNG;
use crate::reach::docker::{Daemon, DockerError};

/// The label of what this program started, with the words of who did.
const LABEL: &str = "csync.owner";

/// Says what limits its control group holds, of either version of these, and waits for its files before it becomes the command.
/// When the other end of its standard input is gone, so is who asked for it: then everything in it ends.
const WAITING: &str = "\
at=/sys/fs/cgroup mem= pids=
for f in $at/memory.max $at/memory/memory.limit_in_bytes; do [ ! -r $f ] || read -r mem <$f; done
for f in $at/pids.max $at/pids/pids.max; do [ ! -r $f ] || read -r pids <$f; done
echo \"csync ${mem:-?} ${pids:-?}\"
read -r csync_go || exit 125
exec 3<&0
(while read -r csync_go; do :; done; kill -KILL -1) <&3 3<&- &
exec \"$@\" </dev/null 3<&-";

/// How long a daemon may take to say what limits it holds.
const LIMITS: Duration = Duration::from_secs(20);

/// A file for a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Its name in the directory that the command works in: relative, without `..`.
    pub name: String,
    /// What it holds.
    pub content: Vec<u8>,
    /// Whether it is a program.
    pub executable: bool,
}

/// What is run.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// The image, as the daemon calls it.
    pub image: &'a str,
    /// The command.
    pub command: &'a [String],
    /// Variables: `NAME=VALUE`.
    pub env: &'a [String],
    /// Its files.
    pub files: &'a [Given],
    /// Its limits.
    pub sandbox: Sandbox,
    /// Whose it is: what is left of one that died is found by that.
    pub owner: &'a str,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself.
    Exit(i64),
    /// Over its memory.
    Oom,
    /// Over its time.
    Timeout,
    /// It was told to.
    Cancelled,
}

/// What it did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Confined {
    /// How it ended.
    pub ending: Ending,
    /// How long it ran.
    pub wall: Duration,
    /// The most memory that it was seen to use.
    pub peak: Bytes,
    /// The CPU seconds that it was seen to use: its own, and the kernel's for it.
    pub cpu: (f64, f64),
    /// The bytes that it was seen to read from devices and write to them.
    pub io: Option<Io>,
}

impl Daemon {
    /// Runs a command in a sandbox that was made for it. What it prints is handed to `print` as it comes, standard error with `true`; it is ended
    /// when `cancel` is done. Nothing of it is left.
    ///
    /// # Errors
    /// When it could not be started, the daemon does not hold its limits, or went away.
    pub async fn confine(
        &self,
        made: &str,
        order: &Order<'_>,
        print: impl FnMut(bool, &[u8]) + Send,
        cancel: impl Future<Output = ()> + Send,
    ) -> Result<Confined, DockerError> {
        let done = self.follow(made, order, print, cancel).await;
        // Whatever happened: nothing of it stays, its files included.
        let gone = self.discard(made).await;
        let done = done?;
        gone.map(|()| done)
    }

    /// Removes what this owner's other runs left.
    ///
    /// # Errors
    /// When the daemon does not answer.
    pub async fn sweep(&self, is_left: impl Fn(&str) -> bool) -> Result<usize, DockerError> {
        let filters = HashMap::from([("label".to_owned(), vec![LABEL.to_owned()])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let all = self.docker.list_containers(Some(options)).await;
        let all = all.map_err(|error| refused(&self.host, "list its containers", error))?;
        let mut swept = 0;
        for container in all {
            let owner = container.labels.as_ref().and_then(|labels| labels.get(LABEL));
            if let (Some(id), Some(true)) = (&container.id, owner.map(|owner| is_left(owner))) {
                self.discard(id).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// Makes a sandbox for a command.
    ///
    /// # Errors
    /// When it cannot be made; [`DockerError::NoImage`] where the image is not there.
    pub async fn prepare(&self, order: &Order<'_>) -> Result<String, DockerError> {
        let platform = CreateContainerOptions::default();
        match self.create_container(platform, body(order)).await {
            Ok(created) => Ok(created.id),
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, message }) => {
                let (host, image) = (self.host.clone(), order.image.to_owned());
                Err(DockerError::NoImage { host, image, detail: message })
            }
            Err(error) => Err(refused(&self.host, "make a container", error)),
        }
    }

    /// Removes a container, whatever it does, with what belongs to it.
    ///
    /// # Errors
    /// When the daemon does not do it.
    pub async fn discard(&self, id: &str) -> Result<(), DockerError> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.docker.remove_container(id, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) if super::error::is_missing(&error) => Ok(()),
            Err(error) => Err(refused(&self.host, "remove a container", error)),
        }
    }

    /// Runs a command in a sandbox that was made for it, as [`Daemon::confine`] does; what is left of it is for the caller to
    /// [discard](Daemon::discard), however it ends.
    ///
    /// # Errors
    /// As [`Daemon::confine`].
    pub async fn follow(
        &self,
        id: &str,
        order: &Order<'_>,
        mut print: impl FnMut(bool, &[u8]) + Send,
        cancel: impl Future<Output = ()> + Send,
    ) -> Result<Confined, DockerError> {
        let host = &self.host;
        let options =
            AttachContainerOptionsBuilder::default().stdin(true).stdout(true).stderr(true).stream(true).build();
        let attached = self.docker.attach_container(id, Some(options)).await;
        let AttachContainerResults { mut output, input } =
            attached.map_err(|error| refused(host, "attach to a container", error))?;
        let started = self.docker.start_container(id, None::<bollard::query_parameters::StartContainerOptions>).await;
        started.map_err(|error| match error {
            bollard::errors::Error::DockerResponseServerError { message, .. } if message.contains("/bin/sh") => {
                DockerError::NoShell { image: order.image.to_owned() }
            }
            error => refused(host, "start a container", error),
        })?;
        // Nothing of it runs before its limits are known to hold.
        let mut seen = Seen::default();
        let (held, rest) = self.held(id, &mut output, &mut seen).await?;
        for (is_error, bytes) in rest {
            print(is_error, &bytes);
        }
        let ignored = order.sandbox.ignored(held);
        if !ignored.is_empty() {
            return Err(DockerError::Unlimited { host: host.clone(), limits: ignored });
        }
        // Held to the end: with it ends the sandbox.
        let _leash = self.give(id, order, input).await?;
        let began = Instant::now();
        let mut young = pin!(tokio::time::sleep(YOUNG));
        let mut stats = pin!(self.docker.stats(id, Some(StatsOptionsBuilder::default().stream(true).build())));
        let waiting = WaitContainerOptionsBuilder::default().condition("not-running").build();
        let mut ended = pin!(self.docker.wait_container(id, Some(waiting)));
        let mut deadline = pin!(tokio::time::sleep(Duration::from_secs(order.sandbox.time.0)));
        let mut cancel = pin!(cancel);
        let (mut open, mut grown, mut watched, mut why, mut code) = (true, false, true, None, None);
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
                    Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => code,
                    Some(Err(error)) => return Err(refused(host, "say how a container ended", error)),
                    None => return Err(refused(host, "say how a container ended", std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into())),
                }),
                () = &mut deadline, if why.is_none() => {
                    why = Some(Ending::Timeout);
                    self.kill(id).await?;
                }
                () = &mut cancel, if why.is_none() => {
                    why = Some(Ending::Cancelled);
                    self.kill(id).await?;
                }
            }
        }
        let code = code.unwrap_or_default();
        let ending = match why {
            Some(why) => why,
            None if code != 0 && self.was_oom(id, code, &seen, order.sandbox.memory).await => Ending::Oom,
            None => Ending::Exit(code),
        };
        let (peak, cpu) = (Bytes(seen.peak), (seen.user, seen.system));
        Ok(Confined { ending, wall: began.elapsed(), peak, cpu, io: seen.io })
    }

    async fn kill(&self, id: &str) -> Result<(), DockerError> {
        let options = KillContainerOptionsBuilder::default().signal("KILL").build();
        match self.docker.kill_container(id, Some(options)).await {
            // The second: it has ended meanwhile.
            Ok(()) | Err(bollard::errors::Error::DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(()),
            Err(error) => Err(refused(&self.host, "end a container", error)),
        }
    }

    /// Gives a container its files, and lets it go on, as long as what is returned is held.
    async fn give(
        &self,
        id: &str,
        order: &Order<'_>,
        mut input: Pin<Box<dyn AsyncWrite + Send>>,
    ) -> Result<Pin<Box<dyn AsyncWrite + Send>>, DockerError> {
        if !order.files.is_empty() {
            let upload = UploadToContainerOptionsBuilder::default().path(WORK).build();
            let files = archive(order.files).map_err(|error| refused(&self.host, "take files", error.into()))?;
            let sent = self.docker.upload_to_container(id, Some(upload), bollard::body_full(files)).await;
            sent.map_err(|error| refused(&self.host, "take files", error))?;
        }
        let told = async {
            input.write_all(b"\n").await?;
            input.flush().await
        };
        told.await.map_err(|error| refused(&self.host, "begin", error.into()))?;
        Ok(input)
    }

    /// Finds out what limits a container is held to: it says so itself, or the daemon does.
    async fn held(&self, id: &str, output: &mut Printed, seen: &mut Seen) -> Result<(Held, Rest), DockerError> {
        Ok(match tokio::time::timeout(LIMITS, first_words(output)).await {
            Ok(Some((held, rest))) if held.memory.is_some() => (held, rest),
            // It does not see its control group.
            Ok(said) => (self.limits(id, seen).await?, said.map(|(_, rest)| rest).unwrap_or_default()),
            Err(_) => (Held::default(), Rest::new()),
        })
    }

    /// Reads the limits back, as the kernel holds them.
    async fn limits(&self, id: &str, seen: &mut Seen) -> Result<Held, DockerError> {
        let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
        let mut stats = pin!(self.docker.stats(id, Some(options)));
        let mut held = Held::default();
        let read = async {
            while let Some(Ok(stat)) = stats.next().await {
                held.memory = stat.memory_stats.as_ref().and_then(|memory| memory.limit);
                held.pids = stat.pids_stats.as_ref().and_then(|pids| pids.limit);
                seen.take_in(&stat);
                if held.memory.is_some() {
                    break;
                }
            }
        };
        drop(tokio::time::timeout(LIMITS, read).await);
        Ok(held)
    }

    /// Returns whether a container was ended for want of memory. Podman does not say it: then a kill at the limit is one.
    async fn was_oom(&self, id: &str, code: i64, seen: &Seen, limit: Bytes) -> bool {
        let state = self.docker.inspect_container(id, None::<bollard::query_parameters::InspectContainerOptions>).await;
        let said = state.ok().and_then(|container| container.state).and_then(|state| state.oom_killed);
        said == Some(true) || code == 137 && seen.peak >= limit.0 / 100 * 99
    }
}

/// What a container prints.
type Printed = Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;

/// What came behind the first line: standard error with `true`.
type Rest = Vec<(bool, Vec<u8>)>;

/// Reads the line in which a container says what limits it is held to; what came besides is handed back.
async fn first_words(output: &mut Printed) -> Option<(Held, Rest)> {
    let (mut line, mut rest) = (Vec::new(), Rest::new());
    loop {
        show(
            &mut |is_error: bool, bytes: &[u8]| {
                if is_error {
                    rest.push((true, bytes.to_vec()));
                } else {
                    line.extend_from_slice(bytes);
                }
            },
            &output.next().await?.ok()?,
        );
        let Some(at) = memchr::memchr(b'\n', &line) else { continue };
        let behind = line.split_off(at + 1);
        if !behind.is_empty() {
            rest.push((false, behind));
        }
        return Some((read_held(&String::from_utf8_lossy(&line)), rest));
    }
}

/// Reads what a container says of its limits: `csync MEMORY PROCESSES`.
fn read_held(line: &str) -> Held {
    let mut words = line.split_ascii_whitespace().skip(1).map(|word| word.parse().ok());
    Held { memory: words.next().flatten(), pids: words.next().flatten() }
}

/// What a container is made of.
fn body(order: &Order<'_>) -> ContainerCreateBody {
    let limits = order.sandbox;
    let signed = |bytes: Bytes| i64::try_from(bytes.0).unwrap_or(i64::MAX);
    let text = |text: &str| text.to_owned();
    // A filesystem in memory that has a size, and that files can be put into from outside.
    let work = Mount {
        target: Some(text(WORK)),
        typ: Some(MountType::VOLUME),
        volume_options: Some(MountVolumeOptions {
            no_copy: Some(true),
            driver_config: Some(MountVolumeOptionsDriverConfig {
                name: Some(text("local")),
                options: Some(HashMap::from([
                    (text("type"), text("tmpfs")),
                    (text("device"), text("tmpfs")),
                    (text("o"), format!("size={},mode=1777,nosuid,nodev", limits.disk.0)),
                ])),
            }),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    };
    let room = format!("size={},mode=1777,nosuid,nodev", limits.disk.0);
    // A volume takes a while to be made and removed; nothing is put where nothing is given.
    let memory = if order.files.is_empty() { vec!["/tmp", WORK] } else { vec!["/tmp"] };
    let host = HostConfig {
        network_mode: Some(text("none")),
        readonly_rootfs: Some(true),
        cap_drop: Some(vec![text("ALL")]),
        // Seccomp is the runtime's own, which is the default as long as nobody says otherwise.
        security_opt: Some(vec![text("no-new-privileges")]),
        pids_limit: Some(i64::from(limits.pids)),
        memory: Some(signed(limits.memory)),
        memory_swap: Some(signed(limits.memory)),
        nano_cpus: Some(i64::from(limits.cpus) * 1_000_000_000),
        ipc_mode: Some(text("private")),
        init: Some(true),
        tmpfs: Some(memory.into_iter().map(|place| (text(place), room.clone())).collect()),
        mounts: order.files.first().map(|_| vec![work]),
        ..HostConfig::default()
    };
    let env = order.env.iter().cloned().chain([format!("HOME={WORK}"), text("TMPDIR=/tmp")]).collect();
    let waiting = ["/bin/sh", "-c", WAITING, "sh"].into_iter().map(text);
    ContainerCreateBody {
        image: Some(text(order.image)),
        entrypoint: Some(Vec::new()),
        cmd: Some(waiting.chain(order.command.iter().cloned()).collect()),
        env: Some(env),
        user: Some(text(NOBODY)),
        working_dir: Some(text(WORK)),
        labels: Some(HashMap::from([(text(LABEL), text(order.owner))])),
        open_stdin: Some(true),
        stdin_once: Some(true),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(false),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

/// Packs files, all of them nobody's.
fn archive(files: &[Given]) -> std::io::Result<Chunk> {
    let mut builder = tar::Builder::new(Vec::new());
    let header = |size: usize, mode: u32, kind: tar::EntryType| {
        let mut header = tar::Header::new_gnu();
        header.set_size(size as u64);
        header.set_mode(mode);
        header.set_uid(65534);
        header.set_gid(65534);
        header.set_entry_type(kind);
        header
    };
    let mut dirs = std::collections::BTreeSet::new();
    for file in files {
        // Directories of its own: those that the daemon makes are root's.
        for (at, _) in file.name.match_indices('/') {
            let dir = file.name.get(..at).unwrap_or_default();
            if dirs.insert(dir) {
                builder.append_data(&mut header(0, 0o755, tar::EntryType::Directory), dir, &[][..])?;
            }
        }
        let mode = if file.executable { 0o755 } else { 0o644 };
        builder.append_data(
            &mut header(file.content.len(), mode, tar::EntryType::Regular),
            &file.name,
            &*file.content,
        )?;
    }
    Ok(builder.into_inner()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_says_them() {
        for (line, memory, pids) in [
            ("csync 67108864 512\n", Some(67_108_864), Some(512)),
            ("csync 9223372036854771712 max\n", Some(9_223_372_036_854_771_712), None),
            ("csync max ?\n", None, None),
            ("rubbish\n", None, None),
        ] {
            assert_eq!(read_held(line), Held { memory, pids }, "{line}");
        }
    }
}
