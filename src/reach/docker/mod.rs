//! Docker and Podman by their API: over a socket of this machine, or one of a host through its connection. No client program is
//! needed, and no port is opened.

mod archive;
mod error;
mod here;
mod images;
mod left;
mod limits;
mod login;
mod sandbox;
mod seen;
mod task;
mod wire;

pub use archive::image_id;
pub use error::DockerError;
pub use here::runtimes;
pub use images::Held;
pub use left::{ENDING, Left, sweep};
pub use sandbox::{Confined, Ending, Given, Order};
pub use task::{Attached, Over, Spec, Standing};

use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, ContainerCreateResponse};
use bollard::query_parameters::CreateContainerOptions;
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::future::BoxFuture;
use tokio::net::UnixStream;

use crate::language::container::FIND_SOCKETS;
use crate::model::host::{ContainerRuntime, HostName};
use crate::reach::transport::{Exec, Remote, Stream, Transport};

/// How long an answer may take; what streams takes as long as it takes.
const PATIENCE: Duration = Duration::from_mins(2);

/// A daemon.
#[derive(Clone, Debug)]
pub struct Daemon {
    docker: Docker,
    host: String,
    podman: bool,
    /// Whether it is known to take limits and to hold none.
    lax: bool,
    /// Whether its root is who started it: a rootless Podman.
    rootless: bool,
}

impl Daemon {
    /// Connects to a daemon of `host`; `connect` opens a stream to its socket.
    ///
    /// # Errors
    /// When nobody answers as a daemon does.
    pub async fn connect<C>(host: &str, connect: C) -> Result<Self, DockerError>
    where
        C: Fn() -> BoxFuture<'static, std::io::Result<Stream>> + Send + Sync + 'static,
    {
        let none = |detail: String| DockerError::NoDaemon { host: host.to_owned(), detail };
        let pinged = in_time(wire::ping(connect())).await;
        let wire::Greeting { version: spoken, podman } = pinged.map_err(|error| none(words(&error)))?;
        // One that does not say holds what it is asked to, as far as is known.
        let wire::Nature { rootless, lax } =
            if podman { in_time(wire::nature(connect())).await.unwrap_or_default() } else { wire::Nature::default() };
        let version = spoken.as_ref().filter(|&spoken| spoken < API_DEFAULT_VERSION).unwrap_or(API_DEFAULT_VERSION);
        let docker = Docker::connect_with_custom_transport(
            move |request| wire::request(request, connect()),
            Some("http://docker"),
            PATIENCE.as_secs(),
            version,
        );
        let docker = docker.map_err(|error| none(error.to_string()))?;
        let docker = match spoken {
            Some(_) => docker,
            None => docker.negotiate_version().await.map_err(|error| none(words(&error)))?,
        };
        Ok(Self { docker, host: host.to_owned(), podman, lax, rootless })
    }

    /// Connects to a socket of the host at the end of a way.
    ///
    /// # Errors
    /// As [`Daemon::connect`].
    pub async fn over(host: &str, way: &Remote, socket: &str) -> Result<Self, DockerError> {
        let (way, socket) = (way.clone(), socket.to_owned());
        Self::connect(host, move || {
            let (way, socket) = (way.clone(), socket.clone());
            Box::pin(async move { way.socket(&socket).await.map_err(std::io::Error::other) })
        })
        .await
    }

    /// Connects to a socket of this machine.
    ///
    /// # Errors
    /// As [`Daemon::connect`].
    pub async fn at(socket: &str) -> Result<Self, DockerError> {
        let socket = socket.to_owned();
        Self::connect(HostName::LOCAL, move || {
            let socket = socket.clone();
            Box::pin(async move { Ok(Box::new(UnixStream::connect(socket).await?) as Stream) })
        })
        .await
    }

    /// Connects to this machine's daemon; none where nothing listens that this account may use.
    pub async fn here() -> Option<Self> {
        for socket in here::sockets() {
            if let Ok(daemon) = Self::at(&socket).await {
                return Some(daemon);
            }
        }
        None
    }

    /// Connects to the daemon of the host at the end of a way; none where nothing listens that this account may use.
    ///
    /// # Errors
    /// When the host cannot be asked, or who listens does not answer as a daemon does.
    pub async fn found(host: &str, way: &Remote) -> Result<Option<Self>, DockerError> {
        let gone =
            |error: &dyn std::error::Error| DockerError::NoDaemon { host: host.to_owned(), detail: words(error) };
        let reply = way.exec(Exec::new(FIND_SOCKETS)).await.map_err(|error| gone(&error))?;
        let text = String::from_utf8_lossy(&reply.stdout).into_owned();
        match text.lines().find_map(|line| line.strip_prefix("use ")) {
            Some(socket) => Ok(Some(Self::over(host, way, socket).await?)),
            None => Ok(None),
        }
    }

    /// Makes a container. A Podman that has no program of its own to be the first process does without.
    async fn create_container(
        &self,
        options: CreateContainerOptions,
        mut body: ContainerCreateBody,
    ) -> Result<ContainerCreateResponse, Error> {
        match self.docker.create_container(Some(options.clone()), body.clone()).await {
            Err(Error::DockerResponseServerError { message, .. }) if message.contains("container-init") => {
                body.host_config.as_mut().map(|host| host.init.take());
                self.docker.create_container(Some(options), body).await
            }
            done => done,
        }
    }

    /// Returns what it is: Docker or Podman.
    pub fn runtime(&self) -> ContainerRuntime {
        if self.podman { ContainerRuntime::Podman } else { ContainerRuntime::Docker }
    }

    /// Returns the host's name.
    pub fn host(&self) -> &str {
        &self.host
    }
}

async fn in_time<T>(asking: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let late = |_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(late)
}

/// An error with its causes.
fn words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| {
        let cause = cause.to_string();
        if told.ends_with(&cause) { told } else { format!("{told}: {cause}") }
    })
}
