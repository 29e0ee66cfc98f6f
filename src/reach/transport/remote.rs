//! A host at the far end of a wire: commands, streams and files, the same over every member.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::reach::transport::files::{Get, Moved, Put, get, put};
use crate::reach::transport::pool::{Pool, Taken};
use crate::reach::transport::shell::{Broken, Pipes};
use crate::reach::transport::stream::Channel;
use crate::reach::transport::{Exec, Fate, IDLE, LinkState, Reply, Share, Transport, TransportError, WhenBusy};

/// A stream to something on a host.
pub type Stream = Box<dyn Bytestream>;

/// What can be read and written.
pub trait Bytestream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytestream for T {}

/// What a member has to know: how to open a channel to a `/bin/sh`.
pub trait Wire: Send + Sync + fmt::Debug + 'static {
    /// Returns the host's name, as messages say it.
    fn host(&self) -> &str;

    /// Opens a channel to a `/bin/sh`, connecting first where there is no connection.
    fn channel(&self) -> BoxFuture<'_, Result<Pipes, TransportError>>;

    /// Opens a stream to a Unix socket of the host, over the same connection.
    fn socket<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Stream, TransportError>> {
        let (host, detail) = (self.host().to_owned(), format!("{path} cannot be reached this way"));
        std::future::ready(Err(TransportError::Channel { host, detail })).boxed()
    }

    /// Says what it means that a shell ended before its hello, by the words on its standard error; nothing when it is not the
    /// connection's fault.
    fn judge(&self, words: &str) -> Option<TransportError>;

    /// Connects where that may take longer than a command may, because somebody is asked or it is waited for the budget of
    /// connections; the time of a command, which is so much, runs from then on.
    fn ready(&self, _within: Duration) -> BoxFuture<'_, Result<(), TransportError>> {
        std::future::ready(Ok(())).boxed()
    }

    /// Connects.
    fn connect(&self) -> BoxFuture<'_, Result<(), TransportError>>;

    /// Returns how the way is.
    fn link_state(&self) -> LinkState;

    /// Closes the connection.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// A host at the far end of a wire.
#[derive(Clone, Debug)]
pub struct Remote {
    pool: Arc<Pool>,
    /// What the host is called where it is spoken of; of a way that several hosts may go, none.
    name: Option<Arc<str>>,
}

impl Remote {
    /// Makes the host behind a wire; nothing is opened.
    pub fn new(wire: Arc<dyn Wire>) -> Self {
        Self { pool: Pool::new(wire, IDLE), name: None }
    }

    /// Calls it by the name that people know it by. What is wrong with the way there still names the way.
    #[must_use]
    pub fn called(self, name: &str) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Makes its shells leave sooner, or later, when nothing runs in them.
    #[must_use]
    pub fn idle_for(self, patience: Duration) -> Self {
        Self { pool: Pool::new(Arc::clone(&self.pool.wire), patience), ..self }
    }

    /// Opens a stream to a Unix socket of the host, over the connection that there is.
    ///
    /// # Errors
    /// When the host cannot be reached, or refuses: nobody listens there, or this account may not.
    pub async fn socket(&self, path: &str) -> Result<Stream, TransportError> {
        self.pool.wire.socket(path).await
    }

    /// Refuses a script with a NUL: a shell drops it silently or stops there.
    fn check(&self, script: &str) -> Result<(), TransportError> {
        if script.contains('\0') {
            return Err(TransportError::BadScript { host: self.host().to_owned() });
        }
        Ok(())
    }

    async fn exec_now(&self, exec: Exec) -> Result<Reply, TransportError> {
        self.check(&exec.script)?;
        if !exec.stdin.is_empty() {
            return self.exec_reading(exec).await;
        }
        match self.exec_once(&exec).await {
            Err(error) if self.was_not_started(&error) => self.exec_once(&exec).await,
            done => done,
        }
    }

    /// Returns whether a shell that waited had gone before it was given anything: then the others have gone too, and a new one
    /// is worth a try.
    fn was_not_started(&self, error: &TransportError) -> bool {
        let so = matches!(error, TransportError::Lost { fate: Fate::NotStarted, .. });
        if so {
            self.pool.forget();
        }
        so
    }

    async fn exec_once(&self, exec: &Exec) -> Result<Reply, TransportError> {
        let mut taken = self.pool.take(exec.share, exec.when_busy).await?;
        let Some(shell) = taken.shell() else { return Err(self.pool.broken(gone(), exec.limit)) };
        match shell.run(&exec.script, exec.limit).await {
            Ok(reply) => {
                taken.give_back();
                Ok(reply)
            }
            Err(broken) => Err(end(taken, broken, exec.limit)),
        }
    }

    /// Runs a command that reads: it has a shell for itself.
    async fn exec_reading(&self, exec: Exec) -> Result<Reply, TransportError> {
        let mut channel = self.open_now(&exec.script, exec.share, exec.when_busy).await?;
        let mut stdout = Vec::new();
        let (stdin, out) = channel.split();
        let write = async {
            // A command need not read all that it is given.
            if stdin.write_all(&exec.stdin).await.is_ok() {
                drop(stdin.shutdown().await);
            }
            Ok(())
        };
        let limit = u64::try_from(exec.limit).unwrap_or(u64::MAX);
        let mut limited = out.take(limit.saturating_add(1));
        let read = async {
            limited.read_to_end(&mut stdout).await?;
            if stdout.len() > exec.limit { Err(Broken::Flood) } else { Ok(()) }
        };
        tokio::try_join!(write, read).map_err(|broken| self.pool.broken(broken, exec.limit))?;
        let (status, stderr) = channel.wait().await?;
        Ok(Reply { status, stdout, stderr })
    }

    async fn open_now(&self, script: &str, share: Share, when_busy: WhenBusy) -> Result<Channel, TransportError> {
        self.check(script)?;
        match self.open_once(script, share, when_busy).await {
            Err(error) if self.was_not_started(&error) => self.open_once(script, share, when_busy).await,
            done => done,
        }
    }

    async fn open_once(&self, script: &str, share: Share, when_busy: WhenBusy) -> Result<Channel, TransportError> {
        let mut taken = self.pool.take(share, when_busy).await?;
        let Some(shell) = taken.shell() else { return Err(self.pool.broken(gone(), 0)) };
        match shell.hand_over(script).await {
            Ok((early, mark)) => Ok(Channel::new(taken, early, mark)),
            Err(broken) => Err(end(taken, broken, 0)),
        }
    }
}

fn gone() -> Broken {
    Broken::Ended("its shell is gone".to_owned())
}

/// Says what went wrong; what goes on printing is ended, what is gone already is not.
fn end(taken: Taken, broken: Broken, limit: usize) -> TransportError {
    let error = taken.pool().broken(broken, limit);
    if matches!(error, TransportError::Lost { .. }) {
        taken.ended();
    }
    error
}

impl Transport for Remote {
    fn host(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.pool.wire.host())
    }

    fn exec(&self, exec: Exec) -> BoxFuture<'_, Result<Reply, TransportError>> {
        let after = exec.deadline;
        async move {
            self.pool.wire.ready(after).await?;
            tokio::time::timeout(after, self.exec_now(exec))
                .await
                .unwrap_or_else(|_| Err(TransportError::Deadline { host: self.host().to_owned(), after }))
        }
        .boxed()
    }

    fn open<'a>(&'a self, script: &'a str) -> BoxFuture<'a, Result<Channel, TransportError>> {
        self.open_now(script, Share::Files, WhenBusy::Wait).boxed()
    }

    fn put<'a>(&'a self, file: &'a Put) -> BoxFuture<'a, Result<Moved, TransportError>> {
        put(self, file).boxed()
    }

    fn get<'a>(&'a self, file: &'a Get) -> BoxFuture<'a, Result<Moved, TransportError>> {
        get(self, file).boxed()
    }

    fn pairing(&self) -> &tokio::sync::Mutex<()> {
        &self.pool.pairing
    }

    fn connect(&self) -> BoxFuture<'_, Result<(), TransportError>> {
        self.pool.wire.connect()
    }

    fn link_state(&self) -> LinkState {
        self.pool.wire.link_state()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.pool.forget();
        self.pool.wire.close()
    }
}
