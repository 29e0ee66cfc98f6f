//! Logs of attempts: read from the start or from the last lines, to the end or for as long as the attempt lives.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::model::api::{ApiError, ErrorKind, Stream};
use crate::model::id::{InstanceId, JobKey, RunId};
use crate::model::job::State;
use crate::serve::engine::handle::Handle;
use crate::serve::engine::refusal::refuse;
use crate::serve::engine::watch::{Interest, Watch};

/// Bytes read at once.
const CHUNK: usize = 256 << 10;
/// How long a follower waits before it looks whether the log has grown: nobody tells when a job writes.
const LOOK: Duration = Duration::from_millis(100);
/// How long is waited for what an attempt printed on its host.
const BRINGING: Duration = Duration::from_secs(5);

/// Which log, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogQuery {
    /// Of which instance.
    pub instance: InstanceId,
    /// Of which attempt; the last when it is not said.
    pub attempt: Option<u32>,
    /// Which stream.
    pub stream: Stream,
    /// Go on until the attempt is over.
    pub follow: bool,
    /// Only so many lines of its end.
    pub tail: Option<u32>,
}

/// A log being read.
#[derive(Debug)]
pub struct LogReader {
    handle: Handle,
    key: JobKey,
    path: PathBuf,
    file: Option<File>,
    tail: Option<u32>,
    follow: Option<Watch>,
    /// Held for as long as somebody watches; and whether the attempt's host was told.
    watching: Arc<()>,
    told: bool,
}

/// Where an attempt stands, for who follows its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// It has not been handed over.
    Coming,
    /// It is in flight.
    Live,
    /// It is over.
    Over,
}

impl Handle {
    /// Opens a log.
    ///
    /// # Errors
    /// When there is no such run, instance or attempt.
    pub async fn log(&self, run: RunId, query: LogQuery) -> Result<LogReader, ApiError> {
        let LogQuery { instance, attempt, stream, follow, tail } = query;
        let attempts = self
            .look_at(run, move |_, run, _| run.instance_state(instance).map(|_| run.attempts(instance)))
            .await?
            .ok_or_else(|| refuse(ErrorKind::NotFound, format!("run {run} has no instance {instance}")))?;
        let attempt = attempt.unwrap_or(attempts.max(1));
        if attempt == 0 || attempt > attempts.max(1) && !follow {
            let message = format!("instance {instance} of run {run} has had no attempt {attempt}");
            return Err(refuse(ErrorKind::NotFound, message));
        }
        let key = JobKey { run, instance, attempt };
        let follow = if follow { Some(self.watch_for(run, Interest::Instance(instance)).await?) } else { None };
        let path = self.state.log(key, stream);
        let mut reader = LogReader {
            handle: self.clone(),
            key,
            path,
            file: None,
            tail,
            follow,
            watching: Arc::default(),
            told: false,
        };
        reader.bring().await?;
        Ok(reader)
    }

    /// Looks where an attempt stands. A run that went out of memory is over.
    async fn life(&self, key: JobKey) -> Result<Life, ApiError> {
        self.look(move |runner| {
            let Some((run, _)) = runner.view(key.run) else { return Life::Over };
            let attempts = run.attempts(key.instance);
            let over = run.instance_state(key.instance).is_none_or(State::is_over);
            if attempts == key.attempt && runner.handed.contains_key(&key) {
                Life::Live
            } else if attempts >= key.attempt || over {
                Life::Over
            } else {
                Life::Coming
            }
        })
        .await
    }
}

impl LogReader {
    /// Has what the attempt has printed so far brought here, and what it will print while this is alive, if it is on a host.
    async fn bring(&mut self) -> Result<(), ApiError> {
        let (key, by) = (self.key, Arc::downgrade(&self.watching));
        let (to, told) = oneshot::channel();
        self.told = self.handle.look(move |runner| runner.watch_there(key, by, to)).await?;
        if self.told {
            // Fails when its host is not to be had: then there is what is there.
            timeout(BRINGING, told).await.ok();
        }
        Ok(())
    }

    /// Returns the next piece; none at the end.
    ///
    /// # Errors
    /// When the file cannot be read, or the engine leaves.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            // Looked at before reading: what an attempt writes, it has written when it is over.
            let life = match &self.follow {
                Some(_) => self.handle.life(self.key).await?,
                None => Life::Over,
            };
            if life == Life::Live && !self.told {
                self.bring().await?;
                self.told = true;
            }
            if let Some(piece) = self.read().await? {
                return Ok(Some(piece));
            }
            match (&self.follow, life) {
                (Some(watch), Life::Coming | Life::Live) => tokio::select! {
                    () = watch.changed() => {}
                    () = sleep(LOOK) => {}
                },
                _ => return Ok(None),
            }
        }
    }

    async fn read(&mut self) -> Result<Option<Bytes>, ApiError> {
        let (path, file, tail) = (self.path.clone(), self.file.take(), self.tail);
        let read = spawn_blocking(move || read_piece(&path, file, tail)).await;
        let read = read.map_err(|error| refuse(ErrorKind::Internal, error.to_string()))?;
        let unreadable =
            |error| refuse(ErrorKind::Storage, format!("the log {} cannot be read: {error}", self.path.display()));
        let (file, piece) = read.map_err(unreadable)?;
        self.file = file;
        Ok(piece)
    }
}

/// Reads the next piece of a file; opens it first, when it is there by now, and skips all but the last lines.
fn read_piece(path: &Path, file: Option<File>, tail: Option<u32>) -> io::Result<(Option<File>, Option<Bytes>)> {
    let mut file = match file {
        Some(file) => file,
        None => match File::open(path) {
            Ok(mut file) => {
                if let Some(lines) = tail {
                    let start = start_of_last_lines(&mut file, lines as usize)?;
                    file.seek(SeekFrom::Start(start))?;
                }
                file
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((None, None)),
            Err(error) => return Err(error),
        },
    };
    let at = file.stream_position()?;
    let size = file.metadata()?.len();
    if size < at {
        // Its middle was dropped for being too large: what is left of it stands at the end.
        file.seek(SeekFrom::Start(size))?;
    }
    let mut piece = Vec::new();
    (&mut file).take(CHUNK as u64).read_to_end(&mut piece)?;
    let piece = if piece.is_empty() { None } else { Some(Bytes::from(piece)) };
    Ok((Some(file), piece))
}

/// Returns where the last lines begin.
fn start_of_last_lines(file: &mut File, lines: usize) -> io::Result<u64> {
    const BLOCK: u64 = 64 << 10;
    let size = file.seek(SeekFrom::End(0))?;
    if lines == 0 {
        return Ok(size);
    }
    let (mut end, mut found) = (size, 0);
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        let mut block = Vec::new();
        file.take(end - start).read_to_end(&mut block)?;
        for (index, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let after = start + index as u64 + 1;
            // The newline at the very end closes the last line and begins none.
            if after < size {
                found += 1;
                if found == lines {
                    return Ok(after);
                }
            }
        }
        end = start;
    }
    Ok(0)
}

/// Returns the last lines of a file as text, without those that say nothing at its end; empty when there is none.
pub(super) fn last_lines(path: &Path, lines: usize) -> Vec<String> {
    /// Longest part of a line that is shown: a log need not have lines at all.
    const LINE: usize = 500;
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let start = start_of_last_lines(&mut file, lines)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(start.max(size.saturating_sub((lines * LINE) as u64))))?;
        let mut bytes = Vec::new();
        file.take((lines * LINE) as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.trim_end().lines().map(|line| line.chars().take(LINE).collect()).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn the_last_lines_begin_after_the_right_newline() {
        for (text, lines, rest) in [
            ("", 3, ""),
            ("a", 1, "a"),
            ("a\nb\nc\n", 1, "c\n"),
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\nb\n", 9, "a\nb\n"),
            ("a\nb\n", 0, ""),
            ("a\n\n\n", 2, "\n\n"),
        ] {
            let file = file(text);
            let start = start_of_last_lines(&mut file.reopen().unwrap(), lines).unwrap();
            assert_eq!(&text[start as usize..], rest, "{text:?} {lines}");
        }
        let long = "x".repeat(70_000);
        let text = format!("{long}\n{long}\n{long}\n");
        let start = start_of_last_lines(&mut file(&text).reopen().unwrap(), 2).unwrap();
        assert_eq!(start, 70_001);
    }

    #[test]
    fn a_log_is_read_in_pieces_and_grows() {
        let mut log = file("first\nsecond\n");
        let (reader, piece) = read_piece(log.path(), None, Some(1)).unwrap();
        assert_eq!(piece.unwrap(), "second\n");
        let (reader, piece) = read_piece(log.path(), reader, None).unwrap();
        assert_eq!(piece, None);
        log.write_all(b"third\n").unwrap();
        assert_eq!(read_piece(log.path(), reader, None).unwrap().1.unwrap(), "third\n");
        assert!(read_piece(Path::new("/nowhere/log"), None, None).unwrap().1.is_none());
    }

    #[test]
    fn last_lines_are_text_whatever_is_in_the_file() {
        let log = file("one\ntwo\nthree\n\n");
        assert_eq!(last_lines(log.path(), 3), ["two", "three"]);
        let mut odd = file("");
        odd.write_all(b"\xff\xfe broken\n").unwrap();
        assert_eq!(last_lines(odd.path(), 3), ["\u{fffd}\u{fffd} broken"]);
        assert!(last_lines(Path::new("/nowhere/log"), 3).is_empty());
    }
}
