//! The lock that makes an engine the only one of its state directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::model::api::{ApiError, ErrorKind};
use crate::reach::client::Client;
use crate::reach::config::StateDir;
use crate::serve::engine::refuse;

/// How long an engine that leaves, or has not begun to listen, is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(1);
/// Pause between two looks: a lock that is let go tells nobody.
const LOOK: Duration = Duration::from_millis(20);

/// The lock, held until it is dropped or this process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock. When somebody has it who does not answer, that one is about to leave, or has just begun: which of the two
    /// shows before long.
    pub(super) async fn take(state: &StateDir) -> Result<Self, ApiError> {
        let path = state.engine_lock();
        let failed = |error: &io::Error| {
            refuse(ErrorKind::Storage, format!("the engine's lock {} cannot be used: {error}", path.display()))
        };
        let open = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(&path);
        let mut file = open.map_err(|error| failed(&error))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(failed(&error)),
                Err(TryLockError::WouldBlock) => {
                    let holder = Holder::read(&mut file);
                    // Nobody here can speak to one of another machine, and waiting would not change that.
                    if holder.is_elsewhere() || is_answered(state).await || Instant::now() >= deadline {
                        return Err(holder.refusal());
                    }
                    sleep(LOOK).await;
                }
            }
        }
        write(&mut file, state.is_on_network_filesystem()).map_err(|error| failed(&error))?;
        Ok(Self { _file: file })
    }
}

/// What the lock's file says of who holds it: its process, its version, its machine. What cannot be read is empty.
#[derive(Debug, Default, PartialEq, Eq)]
struct Holder {
    pid: String,
    version: String,
    machine: String,
}

impl Holder {
    fn read(file: &mut File) -> Self {
        let mut text = String::new();
        if file.rewind().and_then(|()| file.read_to_string(&mut text)).is_err() {
            return Self::default();
        }
        Self::parse(&text)
    }

    fn parse(text: &str) -> Self {
        let mut words = text.split_whitespace().map(str::to_owned);
        let mut next = || words.next().unwrap_or_default();
        Self { pid: next(), version: next(), machine: next() }
    }

    /// Returns whether it lives on another machine, which shares the state directory's filesystem.
    fn is_elsewhere(&self) -> bool {
        !self.machine.is_empty() && self.machine != machine()
    }

    fn refusal(&self) -> ApiError {
        let Self { pid, version, machine } = self;
        let (who, hint) = if pid.is_empty() {
            ("an engine is there already (an unknown process)".to_owned(), SHOWS)
        } else if self.is_elsewhere() {
            (format!("an engine on {machine} uses this state directory (process {pid}, csync {version})"), APART)
        } else {
            (format!("an engine is there already (process {pid}, csync {version})"), SHOWS)
        };
        ApiError { hint: Some(hint.to_owned()), ..refuse(ErrorKind::Conflict, who) }
    }
}

/// Returns what an engine would be refused with, where one on another machine has the state directory. An engine that starts at
/// this moment waits for the look to be over.
pub fn held_elsewhere(state: &StateDir) -> Option<ApiError> {
    let mut file = OpenOptions::new().read(true).write(true).open(state.engine_lock()).ok()?;
    let is_held = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
    let holder = Holder::read(&mut file);
    (is_held && holder.is_elsewhere()).then(|| holder.refusal())
}

/// What helps where the engine is one of this machine.
const SHOWS: &str = "`csync engine status` shows it, `csync engine stop` stops it";
/// What helps where it is one of another, as with a home that machines share.
const APART: &str =
    "use csync there, or give this machine a state of its own: `export CSYNC_STATE=/var/tmp/$USER/csync`";

/// Returns what this machine calls itself.
fn machine() -> String {
    rustix::system::uname().nodename().to_string_lossy().split_whitespace().collect()
}

/// Returns whether an engine answers. That its socket takes a connection is not enough: a process that an engine was just about
/// to start when it was killed has copies of its lock and its socket for a moment more.
async fn is_answered(state: &StateDir) -> bool {
    matches!(timeout(ANSWER, Client::find(state)).await, Ok(Ok(Some(_))))
}

/// Says who holds the lock. Other machines see it once it is on the disk they share.
fn write(file: &mut File, shared: bool) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{} {} {}", std::process::id(), env!("CARGO_PKG_VERSION"), machine())?;
    if shared { file.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_it_is_told_from_what_the_file_says() {
        let here = machine();
        for (text, elsewhere, words) in [
            (
                "12 0.1.0 elsewhere.example\n",
                true,
                "an engine on elsewhere.example uses this state directory (process 12,",
            ),
            (&*format!("12 0.1.0 {here}\n"), false, "an engine is there already (process 12, csync 0.1.0)"),
            ("12 0.1.0\n", false, "an engine is there already (process 12, csync 0.1.0)"),
            ("", false, "an engine is there already (an unknown process)"),
        ] {
            let holder = Holder::parse(text);
            assert_eq!(holder.is_elsewhere(), elsewhere, "{text}");
            assert!(holder.refusal().message.starts_with(words), "{}", holder.refusal());
        }
    }

    #[tokio::test]
    async fn one_of_another_machine_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().to_path_buf(), None);
        state.create().unwrap();
        let first = Lock::take(&state).await.unwrap();
        std::fs::write(state.engine_lock(), "7 0.1.0 elsewhere.example\n").unwrap();
        let refusal = timeout(PATIENCE, Lock::take(&state)).await.unwrap().unwrap_err();
        assert!(refusal.message.contains("elsewhere.example"), "{refusal}");
        assert!(refusal.hint.is_some_and(|hint| hint.contains("CSYNC_STATE")));
        // A lock that its holder left with its death belongs to nobody, whatever the file says.
        drop(first);
        Lock::take(&state).await.unwrap();
        assert_eq!(
            std::fs::read_to_string(state.engine_lock()).unwrap().split(' ').next(),
            Some(&*std::process::id().to_string())
        );
    }

    #[tokio::test]
    async fn the_second_one_learns_who_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().to_path_buf(), None);
        state.create().unwrap();
        let first = Lock::take(&state).await.unwrap();
        let info = crate::model::api::EngineInfo {
            version: "0".to_owned(),
            api: 1,
            pid: 1,
            started: crate::model::units::Timestamp(0),
            state_dir: String::new(),
            idle_leave: None,
            live_runs: 0,
            local: crate::model::api::LocalInfo::default(),
            trouble: None,
            hosts: Vec::new(),
        };
        let answer = axum::routing::get(move || async move { axum::Json(info) });
        let listener = tokio::net::UnixListener::bind(state.engine_socket()).unwrap();
        let server = tokio::spawn(async move {
            axum::serve(listener, axum::Router::new().route("/v1/engine", answer)).await.unwrap();
        });
        let refusal = Lock::take(&state).await.unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::Conflict);
        assert!(refusal.message.contains(&format!("process {}", std::process::id())), "{refusal}");
        // Nobody answers any more, and the lock is let go while the next one waits.
        server.abort();
        let (next, ()) = tokio::join!(Lock::take(&state), async { drop(first) });
        next.unwrap();
    }
}
