//! What `csync run --image` leaves behind: what the sandbox printed, and how it ended, as a run.
//!
//! It is gathered in files beside the engine's, under the name of this process; the engine gives it a number when it is over. What a
//! csync that was killed gathered is handed in by the next.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use crate::cli::errors::Failure;
use crate::model::api::Stream;
use crate::model::done::DoneRun;
use crate::model::id::{InstanceId, JobKey, RunId};
use crate::model::job::Outcome;
use crate::model::resources::{Meter, Usage};
use crate::model::units::{Bytes, Timestamp};
use crate::reach::client::Client;
use crate::reach::clock;
use crate::reach::config::StateDir;
use crate::reach::docker::{Confined, DockerError, Ending};
use crate::reach::machine::processes;

/// Most that is kept of a stream.
const PRINTED: u64 = 1 << 30;
/// The streams, and the endings of their files.
const STREAMS: [(Stream, &str); 2] = [(Stream::Stdout, "out"), (Stream::Stderr, "err")];
/// Handed in of what others left, at a time.
const MOST_LEFT: usize = 16;

/// A sandbox that runs, as it will be kept.
#[derive(Debug)]
pub(super) struct Record {
    state: StateDir,
    head: DoneRun,
    /// Its files but for their endings.
    stem: PathBuf,
    files: [Option<File>; 2],
    room: [u64; 2],
    lost: u64,
}

impl Record {
    /// Begins to keep. What cannot be written, on a full disk, is not kept, and the sandbox runs all the same.
    pub(super) fn begin(state: &StateDir, head: DoneRun) -> Self {
        let dir = state.sandbox_dir();
        let pid = rustix::process::getpid();
        let birth = processes::stat(pid).map_or(0, |stat| stat.start);
        let stem = dir.join(format!("{}:{birth}", pid.as_raw_pid()));
        let begun = || -> io::Result<[Option<File>; 2]> {
            fs::create_dir_all(&dir)?;
            fs::write(stem.with_extension("json"), serde_json::to_vec(&head)?)?;
            let open = |end: &str| File::create(stem.with_extension(end)).map(Some);
            Ok([open("out")?, open("err")?])
        };
        let files = begun().unwrap_or_else(|error| {
            tracing::warn!(%error, dir = %dir.display(), "what a sandbox prints is not kept");
            [None, None]
        });
        Self { state: state.clone(), head, stem, files, room: [PRINTED; 2], lost: 0 }
    }

    /// Keeps what was printed.
    pub(super) fn write(&mut self, is_error: bool, bytes: &[u8]) {
        let at = usize::from(is_error);
        let (Some(file), Some(room)) = (self.files.get_mut(at), self.room.get_mut(at)) else { return };
        let most = usize::try_from(*room).unwrap_or(usize::MAX).min(bytes.len());
        let kept = bytes.get(..most).unwrap_or_default();
        *room -= kept.len() as u64;
        let written = file.as_mut().is_some_and(|file| file.write_all(kept).is_ok());
        self.lost += if written { bytes.len() - kept.len() } else { bytes.len() } as u64;
    }

    /// Hands it in; none where nothing ran. What others left that died is handed in too.
    pub(super) async fn keep(
        mut self,
        client: Result<Client, Failure>,
        confined: &Result<Confined, DockerError>,
    ) -> Result<Option<RunId>, Failure> {
        self.files = [None, None];
        let ran = self.conclude(confined, clock::now());
        let kept = match client {
            Ok(client) => {
                let kept = if ran { Some(hand_in(&client, &self.state, &self.head, &self.stem).await) } else { None };
                left(&client, &self.state).await;
                kept.transpose()
            }
            Err(failure) => Err(failure),
        };
        forget(&self.stem);
        kept
    }

    /// Notes how it ended; returns whether anything ran.
    fn conclude(&mut self, confined: &Result<Confined, DockerError>, now: Timestamp) -> bool {
        let head = &mut self.head;
        head.ended = now;
        if self.lost > 0 {
            head.notes.push(format!("{} of output dropped", Bytes(self.lost)));
        }
        match confined {
            Ok(confined) => {
                let wall = confined.wall;
                head.started =
                    Some(Timestamp(now.0.saturating_sub(i64::try_from(wall.as_micros()).unwrap_or(i64::MAX))));
                head.outcome = outcome(confined.ending);
                let (user, system) = confined.cpu;
                let (wall, peak_memory, io) = (wall.as_secs_f64(), confined.peak, confined.io);
                head.usage = Usage { wall, user, system, peak_memory, meter: Meter::Cgroup, io };
                true
            }
            Err(error @ DockerError::Gone { .. }) => {
                head.outcome = Outcome::NodeFail;
                head.notes.push(error.to_string());
                true
            }
            // It was refused before anything ran.
            Err(_) => false,
        }
    }
}

fn outcome(ending: Ending) -> Outcome {
    match ending {
        Ending::Exit(0) => Outcome::Success,
        Ending::Exit(code) => {
            let code = i32::try_from(code).unwrap_or(-1);
            Outcome::Exit { code, signal: (129..=192).contains(&code).then_some(code - 128) }
        }
        Ending::Oom => Outcome::Oom,
        Ending::Timeout => Outcome::Timeout,
        Ending::Cancelled => Outcome::Cancelled,
    }
}

/// Has the engine keep one, and gives it what was printed.
async fn hand_in(client: &Client, state: &StateDir, head: &DoneRun, stem: &Path) -> Result<RunId, Failure> {
    let run = client.keep_done(head).await?.run;
    let key = JobKey { run, instance: InstanceId(0), attempt: 1 };
    for (stream, end) in STREAMS {
        let (from, to) = (stem.with_extension(end), state.log(key, stream));
        let is_empty = from.metadata().map_or(true, |meta| meta.len() == 0);
        let moved = || to.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::rename(&from, &to));
        if !is_empty && let Err(error) = moved() {
            tracing::warn!(%run, %error, log = %to.display(), "what a sandbox printed is not kept");
        }
    }
    Ok(run)
}

/// Hands in what others gathered that died, so that what they ran is not lost. One that cannot be kept stays for the next.
async fn left(client: &Client, state: &StateDir) {
    for stem in dead(&state.sandbox_dir()).into_iter().take(MOST_LEFT) {
        let json = stem.with_extension("json");
        let head = fs::read(&json).ok().and_then(|text| serde_json::from_slice::<DoneRun>(&text).ok());
        // Whoever takes the name away keeps it: two may see it at the same moment.
        let mine = stem.with_extension("taken");
        if fs::rename(&json, &mine).is_err() {
            continue;
        }
        if let Some(mut head) = head {
            let written =
                STREAMS.iter().filter_map(|(_, end)| stem.with_extension(end).metadata().ok()?.modified().ok());
            let last = written.max().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
            head.ended = last.map_or(head.asked, |at| Timestamp(i64::try_from(at.as_micros()).unwrap_or(head.asked.0)));
            head.outcome = Outcome::NodeFail;
            head.notes.push("csync was killed while it ran: it ended with it".to_owned());
            if let Err(failure) = hand_in(client, state, &head, &stem).await {
                tracing::warn!(failure = %failure.to_json(), "a sandbox of a csync that died is not kept as a run");
                fs::rename(&mine, &json).ok();
                continue;
            }
        }
        forget(&stem);
    }
}

/// Returns the sandboxes that run now, as far as they were begun by this state directory: each with what asked for it.
pub(super) fn running(state: &StateDir) -> Vec<DoneRun> {
    let living = begun(&state.sandbox_dir()).filter(|stem| !is_left(stem));
    living.filter_map(|stem| serde_json::from_slice(&fs::read(stem.with_extension("json")).ok()?).ok()).collect()
}

/// Returns the files, but for their endings, of those that died.
fn dead(dir: &Path) -> Vec<PathBuf> {
    begun(dir).filter(|stem| is_left(stem)).collect()
}

/// Returns the files, but for their endings, of all.
fn begun(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let paths = fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let json = paths.filter(|path| path.extension().is_some_and(|end| end == "json"));
    json.map(|path| path.with_extension(""))
}

fn is_left(stem: &Path) -> bool {
    stem.file_name().and_then(|name| name.to_str()).is_some_and(is_dead)
}

fn forget(stem: &Path) {
    for end in ["json", "taken", "out", "err"] {
        // Most of them are gone by now.
        fs::remove_file(stem.with_extension(end)).ok();
    }
}

/// Returns whether a process, as `PID:BIRTH`, is no more.
pub(super) fn is_dead(who: &str) -> bool {
    let Some((pid, birth)) = who.split_once(':') else { return false };
    let pid = pid.parse().ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| processes::stat(pid).map(|stat| stat.start) != birth.parse::<u64>().ok())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::api::Submission;
    use crate::model::resources::{Grant, Hold};

    fn head() -> DoneRun {
        DoneRun {
            submission: Submission::default(),
            host: None,
            grant: Grant { cpus: 1, mem: Bytes(1), hold: Hold::Limit, time: None, gpus: 0 },
            asked: Timestamp(5_000),
            started: None,
            ended: Timestamp(5_000),
            outcome: Outcome::Success,
            usage: Usage::default(),
            input: 0,
            notes: Vec::new(),
        }
    }

    #[test]
    fn what_ran_is_concluded_and_what_was_refused_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().to_owned(), None);
        let ended =
            |ending| Confined { ending, wall: Duration::from_secs(2), peak: Bytes(7), cpu: (1.0, 0.5), io: None };
        let gone = || DockerError::Gone { host: "lab".to_owned(), source: io::Error::other("x").into() };
        for (confined, ran, class, notes) in [
            (Ok(ended(Ending::Exit(0))), true, "success", 0),
            (Ok(ended(Ending::Exit(3))), true, "exit", 0),
            (Ok(ended(Ending::Oom)), true, "oom", 0),
            (Ok(ended(Ending::Timeout)), true, "timeout", 0),
            (Ok(ended(Ending::Cancelled)), true, "cancelled", 0),
            (Err(gone()), true, "node_fail", 1),
            (Err(DockerError::NoShell { image: "x".to_owned() }), false, "success", 0),
        ] {
            let mut record = Record::begin(&state, head());
            assert_eq!(record.conclude(&confined, Timestamp(9_000_000)), ran);
            assert_eq!((record.head.outcome.class(), record.head.notes.len()), (class, notes));
            let started = confined.is_ok().then_some(Timestamp(7_000_000));
            assert_eq!(
                (record.head.started, record.head.usage.cpu()),
                (started, if started.is_some() { 1.5 } else { 0.0 })
            );
        }
    }

    #[test]
    fn what_the_living_gather_is_theirs() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().to_owned(), None);
        let mut record = Record::begin(&state, head());
        record.write(false, b"told");
        record.write(true, b"loud");
        assert_eq!(fs::read(record.stem.with_extension("out")).unwrap(), b"told");
        let mine = record.stem.file_name().unwrap().to_str().unwrap().to_owned();
        let (pid, birth) = mine.split_once(':').unwrap();
        let other = state.sandbox_dir().join(format!("{pid}:{}", birth.parse::<u64>().unwrap() + 1));
        fs::write(other.with_extension("json"), "{}").unwrap();
        assert_eq!(dead(&state.sandbox_dir()), [other]);
        assert_eq!(running(&state), [head()]);
        forget(&record.stem);
        assert_eq!(fs::read_dir(state.sandbox_dir()).unwrap().count(), 1);
    }

    #[test]
    fn more_than_is_kept_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().to_owned(), None);
        let mut record = Record::begin(&state, head());
        record.room = [3, 3];
        record.write(false, b"abcde");
        record.write(false, b"f");
        record.conclude(&Err(DockerError::NoShell { image: String::new() }), Timestamp(9));
        assert_eq!((fs::read(record.stem.with_extension("out")).unwrap(), record.lost), (b"abc".to_vec(), 3));
    }
}
