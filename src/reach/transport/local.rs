//! This machine: `/bin/sh` without any connection.

use std::process::Stdio;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::process::{Child, Command};

use crate::model::units::Timestamp;
use crate::reach::clock;
use crate::reach::transport::remote::{Remote, Stream, Wire};
use crate::reach::transport::shell::Pipes;
use crate::reach::transport::{LinkState, Member, TransportError};

/// This machine, as a host.
#[derive(Debug)]
pub struct Local {
    since: Timestamp,
}

impl Local {
    /// Makes the transport to this machine.
    pub fn transport() -> Remote {
        Remote::new(std::sync::Arc::new(Self { since: clock::now() }))
    }
}

impl Wire for Local {
    fn host(&self) -> &'static str {
        "local"
    }

    fn channel(&self) -> BoxFuture<'_, Result<Pipes, TransportError>> {
        // A group of its own, as sshd gives to every command. Not killed when it is dropped: what runs below it is looked for
        // first; a shell that waits ends with its input.
        let child = Command::new("/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        let pipes = match child {
            Ok(child) => Ok(pipes_of(child)),
            Err(source) => Err(TransportError::Program { program: "/bin/sh".to_owned(), source }),
        };
        std::future::ready(pipes).boxed()
    }

    fn socket<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Stream, TransportError>> {
        async move {
            let stream = tokio::net::UnixStream::connect(path).await;
            let stream = stream.map_err(|source| TransportError::File { path: path.into(), source })?;
            Ok(Box::new(stream) as Stream)
        }
        .boxed()
    }

    fn judge(&self, _: &str) -> Option<TransportError> {
        None
    }

    fn connect(&self) -> BoxFuture<'_, Result<(), TransportError>> {
        std::future::ready(Ok(())).boxed()
    }

    fn link_state(&self) -> LinkState {
        LinkState::Open { since: self.since, via: Member::Local }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}

/// Takes the pipes of a child that was given them.
pub(super) fn pipes_of(mut child: Child) -> Pipes {
    Pipes {
        stdin: child.stdin.take().map_or_else(|| Box::new(tokio::io::sink()) as _, |pipe| Box::new(pipe) as _),
        stdout: child.stdout.take().map_or_else(|| Box::new(tokio::io::empty()) as _, |pipe| Box::new(pipe) as _),
        stderr: child.stderr.take().map_or_else(|| Box::new(tokio::io::empty()) as _, |pipe| Box::new(pipe) as _),
        keep: Box::new(child),
    }
}
