//! A command whose input and output are streams.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::task::JoinHandle;

use crate::reach::transport::frame::{Mark, Unmarked, read_to};
use crate::reach::transport::pool::Taken;
use crate::reach::transport::{Status, TransportError};

/// Most that is kept of what a command complains.
const COMPLAINTS: usize = 1 << 20;

/// A command that runs with streams of its own.
///
/// Dropped before [`Channel::wait`] returned, the command is ended on the host. Its output must be read on:
/// what is not read holds up everybody on the same connection.
pub struct Channel {
    stdin: Stdin,
    stdout: Stdout,
    end: JoinHandle<Result<(u32, Vec<u8>), Unmarked>>,
    taken: Option<Taken>,
}

/// What a command reads; shut down, it is at its end.
pub struct Stdin(Option<Box<dyn AsyncWrite + Send + Unpin>>);

/// What a command prints.
pub struct Stdout {
    early: Vec<u8>,
    stream: Box<dyn AsyncRead + Send + Unpin>,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").finish_non_exhaustive()
    }
}

impl Channel {
    /// Takes the streams of a shell that was handed over.
    pub(super) fn new(mut taken: Taken, early: Vec<u8>, mark: Mark) -> Self {
        let empty = || Box::new(tokio::io::empty());
        let (stdin, stdout, mut stderr): (
            Box<dyn AsyncWrite + Send + Unpin>,
            Box<dyn AsyncRead + Send + Unpin>,
            Box<dyn AsyncRead + Send + Unpin>,
        ) = match taken.shell() {
            Some(shell) => (
                std::mem::replace(&mut shell.pipes.stdin, Box::new(tokio::io::sink())),
                std::mem::replace(&mut shell.pipes.stdout, empty()),
                std::mem::replace(&mut shell.pipes.stderr, empty()),
            ),
            None => (Box::new(tokio::io::sink()), empty(), empty()),
        };
        let end = tokio::spawn(async move {
            let mut complaints = Vec::new();
            let (code, _) = read_to(&mut stderr, &mark, &mut complaints, COMPLAINTS).await?;
            Ok((code, complaints))
        });
        Self { stdin: Stdin(Some(stdin)), stdout: Stdout { early, stream: stdout }, end, taken: Some(taken) }
    }

    /// Returns the two streams, to be used side by side.
    pub const fn split(&mut self) -> (&mut Stdin, &mut Stdout) {
        (&mut self.stdin, &mut self.stdout)
    }

    /// Ends the command's input, drops the rest of its output, and waits for its end; returns what it complained too.
    ///
    /// # Errors
    /// [`TransportError::Lost`] when the connection broke: then the command's fate is unknown, and its output may be cut.
    pub async fn wait(mut self) -> Result<(Status, Vec<u8>), TransportError> {
        drop(self.stdin.shutdown().await);
        let rest = tokio::io::copy(&mut self.stdout, &mut tokio::io::sink()).await;
        let end = (&mut self.end).await;
        let Some(taken) = self.taken.take() else { return Ok((Status::Exit(u8::MAX), Vec::new())) };
        let lost = match (end, rest) {
            (Ok(Ok((code, complaints))), Ok(_)) => {
                taken.ended();
                return Ok((Status::from_shell(u8::try_from(code).unwrap_or(u8::MAX)), complaints));
            }
            (Ok(Err(unmarked)), _) => taken.pool().broken(unmarked.into(), COMPLAINTS),
            (Ok(Ok(_)), Err(error)) => taken.pool().broken(error.into(), COMPLAINTS),
            (Err(error), _) => taken.pool().broken(io::Error::other(error).into(), COMPLAINTS),
        };
        if matches!(lost, TransportError::Lost { .. }) {
            taken.ended();
        }
        Err(lost)
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.end.abort();
    }
}

impl AsyncWrite for Stdin {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Some(stream) => Pin::new(stream).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().map_or(Poll::Ready(Ok(())), |stream| Pin::new(stream).poll_flush(cx))
    }

    /// A pipe to a child ends when it is dropped, a channel of SSH when it is told: both are done.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(stream) = &mut self.0 {
            let done = ready!(Pin::new(stream).poll_shutdown(cx));
            self.0 = None;
            return Poll::Ready(done);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stdout {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, to);
        }
        let length = self.early.len().min(to.remaining());
        let rest = self.early.split_off(length);
        to.put_slice(&self.early);
        self.early = rest;
        Poll::Ready(Ok(()))
    }
}
