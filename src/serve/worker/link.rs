//! The line to the engine: news are gathered and sent in few writes, by whichever thread has the last one.
//!
//! A batch goes out when little waits in the queue (the engine may be what everybody waits for), when it has as many news as
//! jobs wait, or 64, or after 20 ms. What the socket does not take at once, the main thread sends when it can.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

/// News sent at once at the latest.
const BATCH: usize = 64;
/// Age of the oldest unsent news at which they are sent. Each batch costs the engine a turn and a commit: with 5 ms, ten thousand
/// jobs of no length were nine hundred of them.
const AGE: Duration = Duration::from_millis(20);

/// How other threads wake the main thread: at once, or when a batch is old.
#[derive(Debug)]
pub(super) struct Bell {
    event: OwnedFd,
    timer: OwnedFd,
}

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            timer: rustix::time::timerfd_create(
                TimerfdClockId::Monotonic,
                TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
            )?,
        })
    }

    /// Wakes the main thread.
    pub(super) fn ring(&self) {
        // Fails only when it rings already.
        _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    /// Wakes the main thread when a batch that begins now is old.
    fn arm(&self) {
        let value = Timespec { tv_sec: 0, tv_nsec: i64::from(AGE.subsec_nanos()) };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        // Fails for no value that stands here.
        _ = rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once);
    }

    /// Makes it silent again.
    pub(super) fn hush(&self) {
        let mut count = [0; 8];
        for fd in [&self.event, &self.timer] {
            // Nothing to read: it did not ring.
            _ = rustix::io::read(fd, &mut count);
        }
    }

    pub(super) fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.event.as_fd(), self.timer.as_fd()]
    }
}

/// A connection's outgoing side.
#[derive(Debug)]
pub(super) struct Link {
    stream: UnixStream,
    /// News of the batch, joined by commas.
    batch: Vec<u8>,
    count: usize,
    since: Option<Instant>,
    /// Whole messages, and how much of them is sent.
    out: Vec<u8>,
    sent: usize,
    broken: bool,
}

impl Link {
    /// Opens the line with the first message.
    pub(super) fn new(stream: UnixStream, hello: &[u8]) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let mut link =
            Self { stream, batch: Vec::new(), count: 0, since: None, out: hello.to_vec(), sent: 0, broken: false };
        link.out.push(b'\n');
        link.send();
        Ok(link)
    }

    /// Adds news, in JSON; [`Link::flush`] or [`Link::wait`] follows.
    pub(super) fn push(&mut self, news: &[u8]) {
        if self.count > 0 {
            self.batch.push(b',');
        }
        self.batch.extend_from_slice(news);
        self.count += 1;
    }

    /// Lets the batch wait for more, unless it has waited enough: in time, or for how many jobs wait still.
    pub(super) fn wait(&mut self, waiting: usize, bell: &Bell) {
        let now = Instant::now();
        match self.since {
            None if self.count > 0 => {
                self.since = Some(now);
                bell.arm();
            }
            Some(since) if self.count >= BATCH.min(waiting) || now.saturating_duration_since(since) >= AGE => {
                self.flush(bell);
            }
            None | Some(_) => {}
        }
    }

    /// Sends the batch.
    pub(super) fn flush(&mut self, bell: &Bell) {
        if self.count > 0 {
            self.out.extend_from_slice(b"{\"news\":[");
            self.out.append(&mut self.batch);
            self.out.extend_from_slice(b"]}\n");
            self.count = 0;
            self.since = None;
        }
        if !self.send() {
            bell.ring();
        }
    }

    /// Returns whether something waits for the socket to take it.
    pub(super) fn is_stuck(&self) -> bool {
        !self.out.is_empty() && !self.broken
    }

    /// Sends what the socket takes; returns whether that is everything.
    fn send(&mut self) -> bool {
        while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty() && !self.broken) {
            match (&self.stream).write(rest) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The engine is gone: its next one gets all of it in the Hello. The main thread reads the end of the stream.
                Err(_) => self.broken = true,
            }
        }
        self.out.clear();
        self.sent = 0;
        true
    }
}
