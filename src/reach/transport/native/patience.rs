//! A stream that ends when its other end takes nothing for too long.
//!
//! russh asks whether somebody is there between what it writes, and not while it writes: one that is frozen, or whose cable is cut, in
//! the middle of a file would be waited for without end.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A stream of which each write is taken in time, be it in part.
pub(super) struct Patient<S> {
    stream: S,
    /// How long is waited; without end where it is none.
    limit: Option<Duration>,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, limit: Option<Duration>) -> Self {
        Self { stream, limit, waiting: None }
    }

    /// Returns what came of a write, or that it took too long.
    fn in_time<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.waiting = None;
            return done;
        }
        let Some(limit) = self.limit else { return done };
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(limit)));
        waiting.as_mut().poll(cx).map(|()| {
            let detail = format!("it took nothing of what was sent for {} s", limit.as_secs());
            Err(io::Error::new(io::ErrorKind::TimedOut, detail))
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, to)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.in_time(cx, done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_flush(cx);
        self.in_time(cx, done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.in_time(cx, done)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn who_takes_nothing_is_not_waited_for_without_end() {
        let (here, mut there) = duplex(10);
        let mut stream = Patient::new(here, Some(Duration::from_millis(20)));
        // As much as there is room for is taken, and more once that was read, however late.
        stream.write_all(&[1; 10]).await.unwrap();
        let late = stream.write_all(&[1; 10]).await.unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        there.read_exact(&mut [0; 10]).await.unwrap();
        stream.write_all(&[1; 10]).await.unwrap();
        // Nobody else gives up.
        let (here, there) = duplex(10);
        let mut stream = Patient::new(here, None);
        stream.write_all(&[1; 10]).await.unwrap();
        tokio::select! {
            written = stream.write_all(&[1; 10]) => panic!("{written:?} and nobody reads"),
            () = sleep(Duration::from_millis(20)) => {}
        }
        drop(there);
    }
}
