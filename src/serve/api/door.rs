//! Who may come in: processes of this user.

use std::io;
use std::time::Duration;

use axum::serve::Listener;
use rustix::process::getuid;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::sleep;

/// A Unix socket that lets in this user alone. The socket's mode says the same; this holds also where a filesystem ignores
/// modes.
#[derive(Debug)]
pub struct Door(UnixListener);

impl Door {
    /// Guards a socket.
    pub const fn new(listener: UnixListener) -> Self {
        Self(listener)
    }
}

impl Listener for Door {
    type Io = UnixStream;
    type Addr = ();

    async fn accept(&mut self) -> (UnixStream, ()) {
        loop {
            match self.0.accept().await {
                Ok((stream, _)) => match stream.peer_cred() {
                    Ok(peer) if peer.uid() == getuid().as_raw() => return (stream, ()),
                    Ok(peer) => tracing::warn!(user = peer.uid(), "another user was turned away"),
                    Err(error) => tracing::warn!(%error, "somebody unknown was turned away"),
                },
                // Too many open files: waiting lets others close theirs.
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be taken");
                    sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}
