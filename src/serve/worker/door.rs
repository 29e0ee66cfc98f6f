//! The worker's door: the main thread, which listens for an engine and does what it says. One engine at a time: what the one
//! before wrote is read to its end before the next is answered, so that the next learns of all of it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::model::job::Outcome;
use crate::reach::config::StateDir;
use crate::reach::executor::wire::ToWorker;

use super::link::Link;
use super::running::Why;
use super::shop::{Shop, refusal};
use super::vars::Vars;
use super::{Options, WorkerError};

/// How long endings are kept for an engine that does not come.
const PATIENCE: Duration = Duration::from_hours(24);
/// How often a worker without an engine looks whether its state directory is still there.
const LOOK: Duration = Duration::from_mins(1);

/// Opens the socket, in the place of one that was left over: who holds the lock is the only worker.
pub(super) fn listen(state: &StateDir) -> Result<UnixListener, WorkerError> {
    let path = state.worker_socket();
    let open = || {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    open().map_err(|source| WorkerError::File { path: path.clone(), source })
}

/// Serves engines, one after the other, until it is time to leave.
pub(super) fn serve(
    shop: &Arc<Shop>,
    listener: &UnixListener,
    lock: &File,
    options: &Options,
) -> Result<(), WorkerError> {
    let system = |source: io::Error| WorkerError::System { what: "it cannot wait for news", source };
    let mut engine: Option<Engine> = None;
    let mut quiet = Instant::now();
    loop {
        if engine.is_none()
            && let Some(stream) = accept(listener)
        {
            engine = greet(shop, stream);
        }
        let Standing { idle, done, leaving, stuck } = standing(shop);
        if engine.is_some() || !idle {
            quiet = Instant::now();
        }
        if idle {
            shop.strays.clean_unknown();
        }
        let patience = if done { options.idle } else { PATIENCE };
        let left = patience.saturating_sub(quiet.elapsed());
        let lonely = engine.is_none() && idle && (left.is_zero() || is_deleted(lock));
        if lonely || (done && leaving) {
            return Ok(());
        }
        let timeout = engine.is_none().then(|| if idle { left.min(LOOK) } else { LOOK });
        let ready = wait(shop, listener, engine.as_ref(), stuck, timeout).map_err(system)?;
        if ready.bell || ready.engine {
            shop.bell.hush();
            if let Some(link) = &mut shop.office().link {
                link.flush(&shop.bell);
            }
        }
        if ready.engine
            && let Some(connected) = &mut engine
            && !connected.read(shop)
        {
            shop.office().link = None;
            engine = None;
            quiet = Instant::now();
        }
    }
}

/// How the worker stands.
#[expect(clippy::struct_excessive_bools, reason = "each is asked for by itself")]
struct Standing {
    /// Nothing waits or runs.
    idle: bool,
    /// And every ending is acknowledged.
    done: bool,
    /// The engine told it to leave.
    leaving: bool,
    /// Something waits for the socket to take it.
    stuck: bool,
}

fn standing(shop: &Shop) -> Standing {
    let office = shop.office();
    let idle = office.desk.is_idle();
    let stuck = office.link.as_ref().is_some_and(Link::is_stuck);
    Standing { idle, done: idle && office.desk.unacked().len() == 0, leaving: office.leaving, stuck }
}

/// What woke the main thread.
struct Ready {
    engine: bool,
    bell: bool,
}

fn wait(
    shop: &Shop,
    listener: &UnixListener,
    engine: Option<&Engine>,
    stuck: bool,
    timeout: Option<Duration>,
) -> io::Result<Ready> {
    let timeout = timeout.map(|left| Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(left.subsec_nanos()),
    });
    let [event, timer] = shop.bell.fds();
    // The next engine waits at the door while one is there.
    let door = match engine {
        Some(engine) if stuck => PollFd::new(&engine.stream, PollFlags::IN | PollFlags::OUT),
        Some(engine) => PollFd::new(&engine.stream, PollFlags::IN),
        None => PollFd::new(listener, PollFlags::IN),
    };
    let mut fds =
        [door, PollFd::from_borrowed_fd(event, PollFlags::IN), PollFd::from_borrowed_fd(timer, PollFlags::IN)];
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let [door, event, timer] = fds.map(|fd| !fd.revents().is_empty());
    Ok(Ready { engine: engine.is_some() && door, bell: event || timer })
}

fn accept(listener: &UnixListener) -> Option<UnixStream> {
    let (stream, _) = listener.accept().ok()?;
    let peer = rustix::net::sockopt::socket_peercred(stream.as_fd()).ok()?;
    // The socket's mode says the same; this holds where a filesystem ignores modes.
    if peer.uid == rustix::process::getuid() || peer.uid.is_root() { Some(stream) } else { None }
}

fn greet(shop: &Shop, stream: UnixStream) -> Option<Engine> {
    let outgoing = stream.try_clone().and_then(|outgoing| shop.greet(outgoing));
    match outgoing {
        Ok(()) => Some(Engine { stream, text: Vec::new() }),
        Err(error) => {
            tracing::warn!(%error, "cannot greet an engine");
            None
        }
    }
}

/// Whether the lock file has no name any more: the state directory was deleted.
fn is_deleted(lock: &File) -> bool {
    rustix::fs::fstat(lock).is_ok_and(|stat| stat.st_nlink == 0)
}

/// A connected engine, and what was read of its next message.
struct Engine {
    stream: UnixStream,
    text: Vec<u8>,
}

impl Engine {
    /// Reads what there is and does it; returns whether there may be more.
    fn read(&mut self, shop: &Arc<Shop>) -> bool {
        let mut buffer = [0; 16 << 10];
        loop {
            match self.stream.read(&mut buffer) {
                // What is not a whole line was never said.
                Ok(0) => return false,
                Ok(count) => {
                    self.text.extend_from_slice(buffer.get(..count).unwrap_or_default());
                    if !self.obey(shop) {
                        return false;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
    }

    /// Does what the whole lines say; returns whether they could be understood.
    fn obey(&mut self, shop: &Arc<Shop>) -> bool {
        let Some(end) = self.text.iter().rposition(|byte| *byte == b'\n') else { return true };
        let rest = self.text.split_off(end + 1);
        let lines = std::mem::replace(&mut self.text, rest);
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(message) => obey(shop, message),
                Err(error) => {
                    tracing::error!(%error, "an engine's message cannot be read; it is disconnected");
                    return false;
                }
            }
        }
        true
    }
}

fn obey(shop: &Arc<Shop>, message: ToWorker) {
    let mut office = shop.office();
    match message {
        ToWorker::Configure(limits) => {
            for job in office.desk.configure(limits) {
                let outcome = refusal(&job, super::desk::Refusal::TooLarge, &office.desk);
                shop.refuse(&mut office, &job, outcome);
            }
            shop.call_another(&mut office);
        }
        ToWorker::Environment(environment) => office.desk.environment(environment.number, Vars::new(environment)),
        ToWorker::Forget(number) => office.desk.forget(number),
        ToWorker::Start(jobs) => {
            for job in jobs {
                match office.desk.submit(job) {
                    Ok(()) => shop.call_another(&mut office),
                    Err((job, why)) => {
                        let outcome = refusal(&job, why, &office.desk);
                        shop.refuse(&mut office, &job, outcome);
                    }
                }
            }
        }
        ToWorker::Stop(keys) => {
            let grace = Duration::from_millis(office.desk.limits().grace_ms);
            let (dropped, running) = office.desk.stop(&keys);
            for job in dropped {
                shop.refuse(&mut office, &job, Outcome::Cancelled);
            }
            for running in running {
                running.end(Why::Cancelled, grace);
                shop.watch.expect(Instant::now() + grace);
            }
            shop.call_another(&mut office);
        }
        ToWorker::Withdraw(keys) => {
            for job in office.desk.withdraw(&keys) {
                shop.refuse(&mut office, &job, Outcome::Cancelled);
            }
            shop.call_another(&mut office);
        }
        ToWorker::Ack(keys) => {
            office.desk.ack(&keys);
            shop.call_another(&mut office);
        }
        ToWorker::Leave => office.leaving = true,
    }
}
