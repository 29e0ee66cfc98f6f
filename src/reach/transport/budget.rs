//! How many connections a host gets in a minute from all processes of a person: the engine, and every command beside it.
//!
//! A small file per address says when the last ones were opened, in any order. Its lock is held while it is read and written, never
//! while somebody connects. It is a promise among our own processes and no more: a file that cannot be read, locked or written
//! stops nobody, since each process counts its own connections as well.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::OFlags;

use crate::model::units::Timestamp;
use crate::reach::clock;
use crate::reach::transport::TransportError;
use crate::reach::transport::gate::{Because, Gate, Hold, MINUTE};

/// Most that is read of a file: many times what is written.
const LONGEST: u64 = 1 << 20;

/// Most times that a file keeps.
const MOST: usize = 4096;

/// How long another process may hold a file: it reads and writes a few lines.
const LOCKED: (u32, Duration) = (100, Duration::from_millis(10));

/// By how much clocks of machines that share a directory differ.
const SKEW: Duration = Duration::from_secs(5);

/// How long somebody waits who waits: behind others that wait for the same host.
const PATIENCE: Duration = Duration::from_mins(10);

/// A command that must end sooner than this is not worth its while when it waits.
const QUICK: Duration = Duration::from_secs(30);

type Tell = dyn Fn(&str, Duration, &str) + Send + Sync;

/// Who waits for a connection, and is told for which host, how long and why.
#[derive(Clone)]
pub struct Waits {
    tell: Arc<Tell>,
    /// Whatever connects waits.
    always: bool,
}

impl Waits {
    /// Makes somebody with whom whatever connects waits, however little time a command has.
    pub fn always(tell: impl Fn(&str, Duration, &str) + Send + Sync + 'static) -> Self {
        Self { tell: Arc::new(tell), always: true }
    }

    /// Makes somebody with whom commands wait that may take some time, before their time runs. What has to be quick fails instead.
    pub fn before_commands(tell: impl Fn(&str, Duration, &str) + Send + Sync + 'static) -> Self {
        Self { tell: Arc::new(tell), always: false }
    }
}

impl fmt::Debug for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waits").finish_non_exhaustive()
    }
}

/// The budgets of all hosts.
#[derive(Clone, Debug, Default)]
pub struct Budgets {
    /// Where the files lie; without, each process counts for itself.
    pub dir: Option<PathBuf>,
    /// Who waits where there is nothing left, and is told so; without, the connection fails and says when it can be made.
    pub waits: Option<Waits>,
}

impl Budgets {
    /// Returns the budget of an address, whatever name it has here.
    pub(super) fn of(&self, address: &str, port: u16) -> Budget {
        let name = blake3::hash(format!("{}\n{port}", address.to_ascii_lowercase()).as_bytes()).to_hex();
        let file = self.dir.as_ref().map(|dir| dir.join(name.get(..16).unwrap_or_default()));
        Budget { file, waits: self.waits.clone() }
    }
}

/// The budget of one address.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    file: Option<PathBuf>,
    waits: Option<Waits>,
}

impl Budget {
    /// Returns whether whatever connects waits where nothing is left.
    pub(super) fn is_patient(&self) -> bool {
        self.waits.as_ref().is_some_and(|waits| waits.always)
    }

    /// Waits until there is room for a connection, where that is done before a command that may take so long. Counts none; whoever
    /// comes between takes it away.
    pub(super) async fn room(&self, host: &str, gate: &Mutex<Gate>, within: Duration) {
        let Some(waits) = self.waits.as_ref().filter(|waits| !waits.always && within >= QUICK) else { return };
        let allowed = open(gate).allows(clock::now());
        let held = match allowed {
            Ok(most) => self.look(most, Count::No).await.err(),
            Err(hold) => Some(hold),
        };
        if let Some(hold) = held.filter(|hold| hold.because == Because::Full) {
            (waits.tell)(host, hold.wait, &hold.reason);
            tokio::time::sleep(hold.wait).await;
        }
    }

    /// Asks a gate and this budget for a connection, which is counted when it may be tried; waits where somebody does. `beside` is one
    /// that the gate's state says nothing of.
    pub(super) async fn pass(&self, host: &str, gate: &Mutex<Gate>, beside: bool) -> Result<(), TransportError> {
        let mut left = PATIENCE;
        loop {
            let Err(hold) = self.ask(gate, beside).await else { return Ok(()) };
            let may = hold.because == Because::Full && hold.wait <= left;
            let waits = self.waits.as_ref().filter(|waits| waits.always && may);
            let Some(waits) = waits else { return Err(hold.error(host)) };
            left = left.saturating_sub(hold.wait);
            (waits.tell)(host, hold.wait, &hold.reason);
            tokio::time::sleep(hold.wait).await;
        }
    }

    async fn ask(&self, gate: &Mutex<Gate>, beside: bool) -> Result<(), Hold> {
        let most = open(gate).allows(clock::now())?;
        self.look(most, Count::Yes).await?;
        if beside { open(gate).pass_beside(clock::now()) } else { open(gate).pass(clock::now()) }
    }

    /// Looks into the file.
    async fn look(&self, most: u32, count: Count) -> Result<(), Hold> {
        let Some(file) = self.file.clone() else { return Ok(()) };
        let looked = tokio::task::spawn_blocking(move || look(&file, most, clock::now(), count)).await;
        match looked {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(wait))) => return Err(Hold::full(most, wait)),
            Ok(Err(error)) => tracing::debug!(%error, "connections of other processes are not counted"),
            Err(error) => tracing::warn!(%error, "connections of other processes are not counted"),
        }
        Ok(())
    }
}

/// Whether a connection is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    Yes,
    No,
}

fn open(gate: &Mutex<Gate>) -> MutexGuard<'_, Gate> {
    gate.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts a connection, if fewer than so many were opened within a minute; else returns when the next may be.
fn look(path: &Path, most: u32, now: Timestamp, count: Count) -> io::Result<Option<Duration>> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    // Whatever lies there instead of a file is neither waited for nor followed.
    let odd = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(odd)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    lock(&file)?;
    let mut bytes = Vec::new();
    (&file).take(LONGEST).read_to_end(&mut bytes)?;
    let mut times = within(&String::from_utf8_lossy(&bytes), now);
    let wait = times.len().checked_sub(most as usize).and_then(|over| times.get(over));
    if let Some(first) = wait {
        return Ok(Some(MINUTE.saturating_sub(now.since(*first))));
    }
    if count == Count::No {
        return Ok(None);
    }
    times.push(now);
    let lines: Vec<String> = times.iter().rev().take(MOST).rev().map(|at| at.0.to_string()).collect();
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all((lines.join("\n") + "\n").as_bytes())?;
    Ok(None)
}

/// Returns the times of the last minute, the first one first. Lines that are none are nobody's; so are those of a clock that was
/// set back.
fn within(text: &str, now: Timestamp) -> Vec<Timestamp> {
    let times = text.lines().filter_map(|line| line.trim().parse().ok()).map(Timestamp);
    let mut times: Vec<Timestamp> = times.filter(|at| now.since(*at) < MINUTE && at.since(now) <= SKEW).collect();
    times.sort_unstable();
    times
}

/// Locks a file, which goes with it.
fn lock(file: &File) -> io::Result<()> {
    for _ in 0..LOCKED.0 {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCKED.1),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::WouldBlock, "another process holds it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reach::transport::{Limits, LinkState};

    fn at(seconds: i64) -> Timestamp {
        Timestamp(1_000_000_000 + seconds * 1_000_000)
    }

    fn take(path: &Path, most: u32, now: Timestamp) -> io::Result<Option<Duration>> {
        // Who only looks takes nothing away, and sees what who takes will.
        let seen = look(path, most, now, Count::No);
        let taken = look(path, most, now, Count::Yes);
        assert!(seen.is_err() || seen.unwrap() == *taken.as_ref().unwrap());
        taken
    }

    fn seconds(taken: io::Result<Option<Duration>>) -> Option<u64> {
        taken.unwrap().map(|wait| wait.as_secs())
    }

    #[test]
    fn a_minute_has_a_budget_whoever_asks() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("new/there");
        for (now, wait) in [(0, None), (10, None), (20, Some(40)), (59, Some(1)), (60, None), (61, Some(9)), (70, None)]
        {
            assert_eq!(seconds(take(&file, 2, at(now))), wait, "at {now} s");
        }
        // Who may open more opens more, and who may open fewer waits for the last of them.
        assert_eq!(seconds(take(&file, 3, at(71))), None);
        assert_eq!(seconds(take(&file, 1, at(72))), Some(59));
        assert_eq!(seconds(take(&file, 2, at(72))), Some(58));
    }

    #[test]
    fn at_once_no_more_than_the_budget_pass() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("one");
        let passed: usize = std::thread::scope(|scope| {
            let all: Vec<_> =
                (0..32).map(|_| scope.spawn(|| look(&file, 6, at(0), Count::Yes).unwrap().is_none())).collect();
            all.into_iter().map(|one| usize::from(one.join().unwrap())).sum()
        });
        assert_eq!(passed, 6);
    }

    #[test]
    fn what_is_broken_or_alien_counts_for_nothing_and_does_not_grow() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("one");
        let (soon, late, old) = (at(4).0, at(3600).0, at(-60).0);
        let alien = format!("no time\n-1\n99999999999999999999\n{late}\n{old}\n\u{0}\u{7}\n{soon}\n");
        std::fs::write(&file, [alien.as_bytes(), &[0xff, 0xfe], &vec![b'x'; 3 << 20]].concat()).unwrap();
        assert_eq!(seconds(take(&file, 2, at(0))), None);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{}\n{}\n", soon, at(0).0));
        assert_eq!(seconds(take(&file, 2, at(1))), Some(59));
        let many: Vec<String> = (0..20_000).map(|_| at(0).0.to_string()).collect();
        std::fs::write(&file, many.join("\n")).unwrap();
        assert_eq!(seconds(take(&file, u32::MAX, at(1))), None);
        assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), MOST);
        // Nobody is kept waiting by what is no file, nor by who does not let go of one.
        for odd in ["dir", "link", "pipe"] {
            let path = dir.path().join(odd);
            match odd {
                "dir" => std::fs::create_dir(&path).unwrap(),
                "link" => std::os::unix::fs::symlink(&file, &path).unwrap(),
                _ => rustix::fs::mknodat(
                    rustix::fs::CWD,
                    &path,
                    rustix::fs::FileType::Fifo,
                    rustix::fs::Mode::from_raw_mode(0o600),
                    0,
                )
                .unwrap(),
            }
            assert!(take(&path, 1, at(0)).is_err(), "{odd}");
        }
        let held = File::open(&file).unwrap();
        held.lock().unwrap();
        assert_eq!(take(&file, 1, at(0)).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn addresses_have_a_budget_and_names_have_none() {
        let budgets = Budgets { dir: Some("/b".into()), waits: None };
        let file = |address: &str, port| budgets.of(address, port).file.unwrap();
        assert_eq!(file("login.example.org", 22), file("Login.example.org", 22));
        assert_ne!(file("login.example.org", 22), file("login.example.org", 2222));
        assert_ne!(file("login.example.org", 22), file("other.example.org", 22));
        assert_eq!(Budgets::default().of("h", 22).file, None);
    }

    #[tokio::test]
    async fn who_cannot_count_others_counts_itself_and_who_waits_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { per_minute: 1, ..Limits::default() };
        let gate = || Mutex::new(Gate::new(limits));
        // A directory in the place of its file.
        let budgets = Budgets { dir: Some(dir.path().to_owned()), waits: None };
        let broken = budgets.of("broken", 22);
        std::fs::create_dir_all(broken.file.as_ref().unwrap()).unwrap();
        let one = gate();
        broken.pass("h", &one, false).await.unwrap();
        assert!(matches!(open(&one).state(), LinkState::Connecting { .. }));
        let held = broken.pass("h", &one, false).await.unwrap_err();
        assert!(held.to_string().contains("h is not tried again for"), "{held}");
        // One process after the other.
        budgets.of("h", 22).pass("h", &gate(), false).await.unwrap();
        for beside in [false, true] {
            let held = budgets.of("h", 22).pass("h", &gate(), beside).await.unwrap_err();
            assert!(matches!(&held, TransportError::Held { wait, .. } if wait.as_secs() > 50), "{held}");
            assert!(held.to_string().ends_with("1 connection within a minute is its limit"), "{held}");
        }
        // The one before was opened nearly a minute ago.
        let told = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&told);
        let waits = Waits::always(move |host, _, reason| noted.lock().unwrap().push(format!("{host}: {reason}")));
        let patient = Budgets { waits: Some(waits), ..budgets }.of("h", 22);
        let before = clock::now().0 - 59_900_000;
        std::fs::write(patient.file.as_ref().unwrap(), format!("{before}\n")).unwrap();
        patient.pass("h", &gate(), false).await.unwrap();
        assert_eq!(*told.lock().unwrap(), ["h: 1 connection within a minute is its limit"]);
        // Before a command, if that is not to be quick; and only its turn is waited for, nothing is taken.
        let noted = Arc::clone(&told);
        let waits =
            Waits::before_commands(move |host, _, reason| noted.lock().unwrap().push(format!("{host}: {reason}")));
        let before = Budget { waits: Some(waits), ..patient.clone() };
        let file = before.file.clone().unwrap();
        std::fs::write(&file, format!("{}\n", clock::now().0 - 59_900_000)).unwrap();
        before.room("h", &gate(), Duration::from_secs(4)).await;
        assert!(before.pass("h", &gate(), false).await.is_err() && told.lock().unwrap().len() == 1);
        let kept = std::fs::read_to_string(&file).unwrap();
        before.room("h", &gate(), Duration::from_mins(1)).await;
        assert_eq!((told.lock().unwrap().len(), std::fs::read_to_string(&file).unwrap()), (2, kept));
        before.pass("h", &gate(), false).await.unwrap();
        // What failed is not waited for.
        let failed = gate();
        let error = TransportError::Denied { host: "h".into(), detail: "d".into() };
        open(&failed).failed(clock::now(), &error, 1);
        let held = patient.pass("h", &failed, false).await.unwrap_err();
        assert!(held.to_string().contains("lets nobody in"), "{held}");
        assert_eq!(told.lock().unwrap().len(), 2);
    }
}
