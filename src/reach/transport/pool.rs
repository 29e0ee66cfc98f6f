//! The shells of one connection: how many at a time, which wait for work, and how those are ended that were given up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::language::ssh::trouble::last_words;
use crate::reach::transport::remote::Wire;
use crate::reach::transport::shell::{Broken, Shell};
use crate::reach::transport::{CHANNELS, FOR_COMMANDS, Fate, Share, TransportError, WhenBusy};

/// How long ending a process group may take.
const ENDING: Duration = Duration::from_secs(30);

/// How long a host has to close a channel that we closed.
const CLOSING: Duration = Duration::from_millis(100);

/// How often a host is asked again for a channel that it refused while none of ours was open: it may not have seen yet that the one
/// before was closed.
const REFUSALS: u32 = 5;

/// The shells of one connection.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) wire: Arc<dyn Wire>,
    slots: Arc<Semaphore>,
    /// The slots that what moves files may have; who has one of these waits for a slot, never the other way round.
    files: Arc<Semaphore>,
    /// How many slots there are: fewer than at first once a host refused a channel.
    limit: AtomicUsize,
    idle: Mutex<Idle>,
    /// How long a shell waits before it leaves.
    patience: Duration,
    /// See [`Transport::pairing`](crate::reach::transport::Transport::pairing).
    pub(super) pairing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Idle {
    /// The one that was used last stands last.
    shells: Vec<(Shell, Instant)>,
    /// Whether somebody waits to let them go.
    reaped: bool,
}

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Idle").field("shells", &self.shells.len()).finish_non_exhaustive()
    }
}

/// A shell in use. Dropped before it was given back or had its end, what it runs is ended on the host.
pub(super) struct Taken {
    shell: Option<Shell>,
    pool: Arc<Pool>,
    _slot: OwnedSemaphorePermit,
    _files: Option<OwnedSemaphorePermit>,
}

/// Returns how many of so many slots what moves files may have. What passes from a host to itself takes two.
const fn for_files(slots: usize) -> usize {
    match slots {
        0..=2 => slots,
        3 => 2,
        _ => slots - FOR_COMMANDS,
    }
}

impl Pool {
    pub(super) fn new(wire: Arc<dyn Wire>, patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            wire,
            slots: Arc::new(Semaphore::new(CHANNELS)),
            files: Arc::new(Semaphore::new(for_files(CHANNELS))),
            limit: AtomicUsize::new(CHANNELS),
            idle: Mutex::default(),
            patience,
            pairing: tokio::sync::Mutex::default(),
        })
    }

    /// Takes a shell: one that waits, or a new one.
    pub(super) async fn take(self: &Arc<Self>, share: Share, when_busy: WhenBusy) -> Result<Taken, TransportError> {
        let mut files = match share {
            Share::Files => Some(self.permit(&self.files, when_busy).await?),
            Share::All => None,
        };
        let (mut again, mut refusals) = (true, 0);
        loop {
            let permit = self.permit(&self.slots, when_busy).await?;
            if let Some(shell) = self.idle_shell() {
                return Ok(self.taken(shell, permit, files.take()));
            }
            self.make_room();
            match self.new_shell().await {
                Ok(shell) => return Ok(self.taken(shell, permit, files.take())),
                // A host that allows fewer channels than sshd does by default: go on with those that it allows.
                Err(error @ TransportError::Channel { .. }) => {
                    let alone = !self.shrink(permit);
                    refusals += u32::from(alone);
                    if when_busy == WhenBusy::Fail || refusals > REFUSALS {
                        return Err(error);
                    }
                    tokio::time::sleep(CLOSING).await;
                }
                // The connection had ended while nobody looked, before anything was sent over it.
                Err(TransportError::Lost { fate: Fate::NotStarted, .. }) if again => again = false,
                Err(error) => return Err(error),
            }
        }
    }

    async fn permit(&self, of: &Arc<Semaphore>, when_busy: WhenBusy) -> Result<OwnedSemaphorePermit, TransportError> {
        let of = Arc::clone(of);
        match when_busy {
            WhenBusy::Wait => of.acquire_owned().await.map_err(|_| self.closed()),
            WhenBusy::Fail => of.try_acquire_owned().map_err(|_| self.busy()),
        }
    }

    /// Lets all shells go that wait.
    pub(super) fn forget(&self) {
        let shells = std::mem::take(&mut self.idle().shells);
        drop(shells);
    }

    fn taken(self: &Arc<Self>, shell: Shell, slot: OwnedSemaphorePermit, files: Option<OwnedSemaphorePermit>) -> Taken {
        Taken { shell: Some(shell), pool: Arc::clone(self), _slot: slot, _files: files }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle_shell(&self) -> Option<Shell> {
        loop {
            let (mut shell, _) = self.idle().shells.pop()?;
            if shell.is_quiet() {
                return Some(shell);
            }
        }
    }

    /// Lets shells go that wait, so that one more channel fits.
    fn make_room(&self) {
        let limit = self.limit.load(Ordering::Relaxed);
        let busy = limit.saturating_sub(self.slots.available_permits());
        let mut idle = self.idle();
        let spare = limit.saturating_sub(busy);
        let surplus = idle.shells.len().saturating_sub(spare);
        idle.shells.drain(..surplus);
    }

    /// Gives a slot up for good, where others remain; or lets shells go that wait.
    fn shrink(&self, permit: OwnedSemaphorePermit) -> bool {
        let mut idle = self.idle();
        if !idle.shells.is_empty() {
            idle.shells.clear();
            return true;
        }
        let limit = self.limit.load(Ordering::Relaxed);
        let alone = limit.saturating_sub(self.slots.available_permits()) <= 1;
        if alone {
            return false;
        }
        let fewer = limit.saturating_sub(1);
        self.limit.store(fewer, Ordering::Relaxed);
        permit.forget();
        if for_files(fewer) < for_files(limit)
            && let Ok(runtime) = Handle::try_current()
        {
            // As soon as there is one that nobody has.
            let files = Arc::clone(&self.files);
            drop(runtime.spawn(async move { files.acquire_owned().await.map(OwnedSemaphorePermit::forget) }));
        }
        true
    }

    async fn new_shell(&self) -> Result<Shell, TransportError> {
        let pipes = self.wire.channel().await?;
        Shell::start(pipes).await.map_err(|no_hello| {
            let words = String::from_utf8_lossy(&no_hello.stderr).into_owned();
            self.wire.judge(&words).unwrap_or_else(|| {
                let detail = last_words(&words);
                let detail = if detail.is_empty() { no_hello.what } else { detail };
                TransportError::LoginShell { host: self.wire.host().to_owned(), detail }
            })
        })
    }

    fn busy(&self) -> TransportError {
        TransportError::Channel { host: self.wire.host().to_owned(), detail: "all channels are taken".to_owned() }
    }

    fn closed(&self) -> TransportError {
        self.lost(Fate::NotStarted, "it was closed")
    }

    pub(super) fn lost(&self, fate: Fate, detail: &str) -> TransportError {
        TransportError::Lost { host: self.wire.host().to_owned(), fate, detail: detail.to_owned() }
    }

    /// Says what a script's failure means.
    pub(super) fn broken(&self, broken: Broken, limit: usize) -> TransportError {
        match broken {
            Broken::Ended(what) => self.lost(Fate::Unknown, &what),
            Broken::Unwritten(what) => self.lost(Fate::NotStarted, &what),
            Broken::Flood => TransportError::Flood { host: self.wire.host().to_owned(), limit },
        }
    }

    fn give_back(self: &Arc<Self>, shell: Shell) {
        let mut idle = self.idle();
        idle.shells.push((shell, Instant::now()));
        if !idle.reaped
            && let Ok(runtime) = Handle::try_current()
        {
            idle.reaped = true;
            drop(runtime.spawn(reap(Arc::downgrade(self))));
        }
    }

    /// Ends a shell and all that it runs, in the background: over a channel beyond the slots, which may all be taken.
    fn end(self: &Arc<Self>, root: u32) {
        let Ok(runtime) = Handle::try_current() else { return };
        let pool = Arc::clone(self);
        drop(runtime.spawn(async move {
            let script = end_script(root);
            let ended = tokio::time::timeout(ENDING, async {
                let mut shell = match pool.idle_shell() {
                    Some(shell) => shell,
                    None => pool.new_shell().await?,
                };
                shell.run(&script, 4096).await.map_err(|broken| pool.broken(broken, 4096))?;
                pool.give_back(shell);
                Ok::<(), TransportError>(())
            });
            match ended.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(host = pool.wire.host(), root, %error, "a command may be left running");
                }
                Err(_) => tracing::warn!(host = pool.wire.host(), root, "a command may be left running"),
            }
        }));
    }
}

/// Returns the script that ends a shell and everything below it.
///
/// Not its process group: what an earlier command left running on purpose is in it too, and must live. All are stopped until
/// none is new, so that none gets away, then ended politely, a second later for good.
fn end_script(root: u32) -> String {
    format!(
        r#"below() {{
            ps -A -o pid= -o ppid= | awk -v root={root} '
                function walk(pid, all, n, i) {{ n = split(below[pid], all, " "); for (i = 1; i <= n; i++) {{ print all[i]; walk(all[i]) }} }}
                {{ below[$2] = below[$2] " " $1 }}
                END {{ walk(root) }}'
        }}
        old=
        if all=$(below); then
            while [ "$all" != "$old" ]; do
                kill -s STOP {root} $all 2>/dev/null
                old=$all
                all=$(below)
            done
            # The shell last: a group that is orphaned while one of it stands still is hung up by the kernel, all of it.
            all="$all {root}"
        else
            all=-{root}
        fi
        kill -s TERM -- $all 2>/dev/null
        for one in $all; do kill -s CONT -- $one 2>/dev/null; done
        (sleep 1; kill -s KILL -- $all) </dev/null >/dev/null 2>&1 &"#
    )
}

/// Lets shells go that waited long enough, until none waits.
async fn reap(pool: Weak<Pool>) {
    loop {
        let next = {
            let Some(pool) = pool.upgrade() else { return };
            let mut idle = pool.idle();
            let now = Instant::now();
            idle.shells.retain(|(_, since)| now.duration_since(*since) < pool.patience);
            let Some((_, since)) = idle.shells.first() else {
                idle.reaped = false;
                return;
            };
            *since + pool.patience
        };
        tokio::time::sleep_until(next).await;
    }
}

impl Taken {
    pub(super) fn shell(&mut self) -> Option<&mut Shell> {
        self.shell.as_mut()
    }

    /// Gives the shell back for the next command.
    pub(super) fn give_back(mut self) {
        if let Some(shell) = self.shell.take() {
            self.pool.give_back(shell);
        }
    }

    /// Lets the shell go that ended by itself, or whose connection is gone.
    pub(super) fn ended(mut self) {
        drop(self.shell.take());
    }

    pub(super) const fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(shell) = self.shell.take() {
            self.pool.end(shell.pid);
        }
    }
}
