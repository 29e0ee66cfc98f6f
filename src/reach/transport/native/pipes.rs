//! A channel of SSH as the pipes of a shell, or as a stream that carries another connection.
//!
//! A connection is read by one task, which hands each channel what came for it, and waits where that has no room: then nothing else
//! moves on the connection either, not even what the slow one waits for. russh opens a channel's window again as soon as something
//! came, not when somebody took it, so a window keeps nobody from sending. Hence what comes is taken at once, and waits here.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

use crate::reach::transport::native::WINDOW;
use crate::reach::transport::remote::Stream;
use crate::reach::transport::shell::Pipes;
use crate::reach::transport::{CHANNELS, WAITING};

/// Most that a host sends over the connection that another one carries while that one does not read: the windows of its channels,
/// those in use and as many that are being ended.
const CARRIED: usize = 2 * CHANNELS * WINDOW as usize;

/// What is done where more waits than may.
#[derive(Clone, Copy)]
enum WhenFull {
    /// The connection waits, with everybody on it.
    Wait,
    /// The stream ends.
    End,
}

/// What was received of one stream.
struct Received {
    packets: mpsc::UnboundedReceiver<Bytes>,
    rest: Bytes,
    room: Arc<Semaphore>,
}

/// Where what is received of one stream is put.
struct Inlet {
    packets: mpsc::UnboundedSender<Bytes>,
    room: Arc<Semaphore>,
}

/// A channel as one stream.
struct Tunnel<W> {
    sent: Sent<W>,
    received: Received,
    _closer: Closer,
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

/// Makes the two ends of a stream of which so many bytes may wait.
fn stream(most: usize) -> (Inlet, Received) {
    let (to, packets) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(most));
    (Inlet { packets: to, room: Arc::clone(&room) }, Received { packets, rest: Bytes::new(), room })
}

impl Inlet {
    /// Puts something there, once there is room for it. Nobody may read it any more: then it is dropped.
    async fn put(&self, data: Bytes) {
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        if let Ok(room) = self.room.acquire_many(length).await {
            room.forget();
            drop(self.packets.send(data));
        }
    }

    /// Puts something there, and says whether more is wanted.
    async fn take(&self, data: Bytes, when_full: WhenFull) -> bool {
        if let WhenFull::Wait = when_full {
            self.put(data).await;
            return !self.packets.is_closed();
        }
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let Ok(room) = self.room.try_acquire_many(length) else { return false };
        room.forget();
        self.packets.send(data).is_ok()
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        // Nobody waits for room for what nobody reads.
        self.room.close();
    }
}

/// Takes a channel apart.
pub(super) fn pipes_of(channel: Channel<Msg>) -> Pipes {
    let (read, write) = channel.split();
    let ((out, stdout), (err, stderr)) = (stream(WAITING), stream(WAITING));
    let (ended, closed) = (CancellationToken::new(), CancellationToken::new());
    let writer = write.make_writer();
    drop(tokio::spawn(pump(read, out, err, ended.clone().drop_guard(), closed.clone())));
    Pipes {
        stdin: Box::new(Sent { writer: Box::pin(writer), ended: Box::pin(ended.cancelled_owned()) }),
        stdout: Box::new(stdout),
        stderr: Box::new(stderr),
        keep: Box::new(Closer { half: Some(write), _pump: closed.drop_guard() }),
    }
}

/// Makes a stream of a channel to a socket.
pub(super) fn stream_of(channel: Channel<Msg>) -> Stream {
    one_stream(channel, WAITING, WhenFull::Wait)
}

/// Makes a stream of a channel that carries the connection of another host. It is never waited for: that one may itself wait for its
/// window, which comes over this connection.
pub(super) fn tunnel_of(channel: Channel<Msg>) -> Stream {
    one_stream(channel, CARRIED, WhenFull::End)
}

fn one_stream(channel: Channel<Msg>, most: usize, when_full: WhenFull) -> Stream {
    let (read, write) = channel.split();
    let (inlet, received) = stream(most);
    let (ended, closed) = (CancellationToken::new(), CancellationToken::new());
    let writer = write.make_writer();
    drop(tokio::spawn(carry(read, inlet, when_full, ended.clone().drop_guard(), closed.clone())));
    let sent = Sent { writer: Box::pin(writer), ended: Box::pin(ended.cancelled_owned()) };
    Box::new(Tunnel { sent, received, _closer: Closer { half: Some(write), _pump: closed.drop_guard() } })
}

/// Sorts what comes by its stream, until the channel ends or nobody wants it any more.
async fn pump(mut read: ChannelReadHalf, out: Inlet, err: Inlet, ended: DropGuard, closed: CancellationToken) {
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
            () = stream.put(data) => {}
            () = closed.cancelled() => break,
        }
    }
    drop(ended);
}

/// Takes what comes, until the channel ends, nobody wants it any more, or more waits than may. A far end that sends no more may still
/// read.
async fn carry(
    mut read: ChannelReadHalf,
    inlet: Inlet,
    when_full: WhenFull,
    ended: DropGuard,
    closed: CancellationToken,
) {
    let mut inlet = Some(inlet);
    loop {
        let message = tokio::select! {
            message = read.wait() => message,
            () = closed.cancelled() => break,
        };
        match (message, &inlet) {
            (Some(ChannelMsg::Data { data }), Some(to)) => {
                let is_wanted = tokio::select! {
                    is_wanted = to.take(data, when_full) => is_wanted,
                    () = closed.cancelled() => break,
                };
                if !is_wanted {
                    break;
                }
            }
            (Some(ChannelMsg::Eof), _) => inlet = None,
            (None | Some(ChannelMsg::Close | ChannelMsg::OpenFailure(_)), _) => break,
            (Some(_), _) => {}
        }
    }
    drop(ended);
}

impl AsyncRead for Received {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(self.packets.poll_recv(cx)) {
                Some(packet) => {
                    self.room.add_permits(packet.len());
                    self.rest = packet;
                }
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

impl<W: Unpin> AsyncRead for Tunnel<W> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.received).poll_read(cx, to)
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Tunnel<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.sent).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.sent).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.sent).poll_shutdown(cx)
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        if let (Some(half), Ok(runtime)) = (self.half.take(), Handle::try_current()) {
            drop(runtime.spawn(async move { half.close().await }));
        }
    }
}
