//! A channel of SSH as the pipes of a shell.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

use crate::reach::transport::shell::Pipes;

/// Packets that wait to be read, of 32 KiB each. When they are full, the whole connection waits: readers read on.
const WAITING: usize = 64;

/// What was received of one stream.
struct Received {
    packets: mpsc::Receiver<Bytes>,
    rest: Bytes,
}

/// What is sent. A connection that ended would leave a writer waiting for its window forever.
struct Sent<W> {
    writer: W,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// Closes the channel when it is dropped.
struct Closer {
    half: Option<ChannelWriteHalf<Msg>>,
    _pump: DropGuard,
}

/// Takes a channel apart.
pub(super) fn pipes_of(channel: Channel<Msg>) -> Pipes {
    let (read, write) = channel.split();
    let (out, stdout) = mpsc::channel(WAITING);
    let (err, stderr) = mpsc::channel(WAITING);
    let (ended, closed) = (CancellationToken::new(), CancellationToken::new());
    let writer = write.make_writer();
    drop(tokio::spawn(pump(read, out, err, ended.clone().drop_guard(), closed.clone())));
    Pipes {
        stdin: Box::new(Sent { writer: Box::pin(writer), ended: Box::pin(ended.cancelled_owned()) }),
        stdout: Box::new(Received { packets: stdout, rest: Bytes::new() }),
        stderr: Box::new(Received { packets: stderr, rest: Bytes::new() }),
        keep: Box::new(Closer { half: Some(write), _pump: closed.drop_guard() }),
    }
}

/// Sorts what comes by its stream, until the channel ends or nobody wants it any more.
async fn pump(
    mut read: ChannelReadHalf,
    out: mpsc::Sender<Bytes>,
    err: mpsc::Sender<Bytes>,
    ended: DropGuard,
    closed: CancellationToken,
) {
    loop {
        let message = tokio::select! {
            message = read.wait() => message,
            () = closed.cancelled() => break,
        };
        let (stream, data) = match message {
            Some(ChannelMsg::Data { data }) => (&out, data),
            Some(ChannelMsg::ExtendedData { data, ext: 1 }) => (&err, data),
            // A refused command ends the channel too, as far as its reader is concerned.
            None | Some(ChannelMsg::Close | ChannelMsg::Failure | ChannelMsg::OpenFailure(_)) => break,
            Some(_) => continue,
        };
        tokio::select! {
            // Nobody reads this stream any more; the other may go on.
            _ = stream.send(data) => {}
            () = closed.cancelled() => break,
        }
    }
    drop(ended);
}

impl AsyncRead for Received {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(self.packets.poll_recv(cx)) {
                Some(packet) => self.rest = packet,
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.rest.len().min(to.remaining());
        to.put_slice(&self.rest.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl<W> Sent<W> {
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.ended.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::BrokenPipe.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Sent<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.check(cx)?;
        Pin::new(&mut self.writer).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        if let (Some(half), Ok(runtime)) = (self.half.take(), Handle::try_current()) {
            drop(runtime.spawn(async move { half.close().await }));
        }
    }
}
