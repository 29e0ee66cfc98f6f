//! Containers on hosts: what runs them there, and the daemon that does.

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::hosts::{Answers, Known, connections, unreached, way};
use crate::language::container::FIND_SOCKETS;
use crate::model::api::ErrorKind;
use crate::model::host::{ContainerRuntime, Host, HostName};
use crate::reach::docker::{Daemon, DockerError, runtimes};
use crate::reach::transport::{Exec, Remote, Transport};

/// A host, and the way to it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) host: Host,
    pub(super) way: Remote,
}

impl Place {
    /// Finds the way to a host; nothing is connected yet.
    pub(super) async fn find(context: &Context, known: &Known, name: Option<&str>) -> Result<Self, Failure> {
        let host = known.host(name.unwrap_or(HostName::LOCAL))?.clone();
        if host.transfer_only {
            let failure = Failure::usage(format!("`{}` only holds data: nothing is started there", host.name));
            return Err(failure.hint("`csync hosts list` names the others"));
        }
        let connections = connections(context, Answers::Here)?;
        let way = way(&connections, &host).await.map_err(|error| unreached(&error, &host))?;
        Ok(Self { host, way })
    }

    /// Connects to the daemon of the host; none where nothing listens that this account may use.
    pub(super) async fn daemon(&self) -> Result<Option<Daemon>, Failure> {
        Ok(match self.socket().await? {
            Found::Socket(socket) => {
                Some(Daemon::over(self.host.name.as_str(), &self.way, &socket).await.map_err(|error| failed(&error))?)
            }
            // Where nothing else runs containers, to go on would be to say something else in the end.
            Found::Denied(socket) if self.is_for_docker() => return Err(self.denied(&socket)),
            Found::Denied(_) | Found::Nothing => None,
        })
    }

    /// Returns whether Docker alone runs containers there, as far as that is known.
    fn is_for_docker(&self) -> bool {
        if self.host.name.is_local() {
            return runtimes().is_empty();
        }
        matches!(self.host.containers.as_slice(), [ContainerRuntime::Docker])
    }

    fn denied(&self, socket: &str) -> Failure {
        let host = &self.host.name;
        Failure::new(ErrorKind::Conflict, format!("this account may not use the Docker of {host} ({socket})"))
            .hint(format!("who may is in the group of that socket: `ls -l {socket}` on {host}"))
            .exiting(Exit::RunFailed)
    }

    /// Connects to the daemon of the host.
    pub(super) async fn needed_daemon(&self) -> Result<Daemon, Failure> {
        let host = &self.host.name;
        let failure = match self.socket().await? {
            Found::Socket(socket) => {
                return Daemon::over(host.as_str(), &self.way, &socket).await.map_err(|error| failed(&error));
            }
            Found::Denied(socket) => self.denied(&socket),
            Found::Nothing => Failure::new(ErrorKind::Conflict, format!("no Docker and no Podman listens on {host}"))
                .why("a sandbox needs one that holds limits: Apptainer and Singularity hold none")
                .hint("Podman listens after `systemctl --user start podman.socket`"),
        };
        Err(failure.exiting(Exit::RunFailed))
    }

    async fn socket(&self) -> Result<Found, Failure> {
        let reply = self.way.exec(Exec::new(FIND_SOCKETS)).await.map_err(|error| unreached(&error, &self.host))?;
        let text = String::from_utf8_lossy(&reply.stdout).into_owned();
        let mut denied = Found::Nothing;
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("use", socket)) => return Ok(Found::Socket(socket.to_owned())),
                Some(("denied", socket)) => denied = Found::Denied(socket.to_owned()),
                _ => {}
            }
        }
        Ok(denied)
    }
}

enum Found {
    Socket(String),
    Denied(String),
    Nothing,
}

fn asks_for_login(detail: &str) -> bool {
    ["denied", "unauthorized", "no basic auth credentials", "authentication required"]
        .iter()
        .any(|words| detail.contains(words))
}

/// Says what a daemon did not do.
pub(super) fn failed(error: &DockerError) -> Failure {
    let kind = match error {
        DockerError::NoImage { .. } => ErrorKind::NotFound,
        _ => ErrorKind::Conflict,
    };
    let failure = Failure::new(kind, error.to_string()).because_of_source(error).exiting(Exit::RunFailed);
    match error {
        DockerError::Refused { host, detail, .. } | DockerError::NoImage { host, detail, .. }
            if detail.contains("no space left") =>
        {
            failure.hint(format!("`docker image prune` on {host} removes images that nothing is made of any more"))
        }
        DockerError::NoImage { detail, image, .. } if asks_for_login(detail) => {
            let registry = image.split_once('/').map_or("", |(registry, _)| registry);
            failure.hint(format!(
                "where the image is not public, `docker login {registry}` on this machine lets csync in too"
            ))
        }
        DockerError::NoImage { host, .. } if host == HostName::LOCAL => failure
            .hint("`csync images list` says which there are; `csync images push FILE` loads what `docker save` wrote"),
        DockerError::NoImage { host, image, .. } => {
            failure.hint(format!("`csync images push {image} --on {host}` takes it there from this machine"))
        }
        DockerError::Unlimited { .. } => failure
            .hint("a rootless Podman holds none without systemd's delegation: run it on another host, or by Docker"),
        DockerError::Gone { .. } => {
            failure.hint("nothing of it is known any more; see whether the daemon runs, and run it again")
        }
        _ => failure,
    }
}
