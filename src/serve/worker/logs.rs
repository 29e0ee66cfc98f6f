//! Log files: a pair per slot in `live/`, renamed to its final place once the job is 50 ms old or left something in it, kept for
//! the next job otherwise. A hundred thousand quiet jobs make no file.
//!
//! A log over the limit loses its middle: while the job runs, by a hole in the file that takes no room on disk; at its end the
//! file is written anew with a line in the place of what is gone. The head and the tail are what people read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, Mode, OFlags};

use crate::model::api::Stream;
use crate::model::id::JobKey;
use crate::model::units::Bytes;
use crate::reach::config::StateDir;

/// Most that is kept of the head, and of the tail, of a log over the limit.
const KEPT_MAX: u64 = 16 << 20;
/// Shortest time between two looks at a log that grows fast.
const SOONEST: Duration = Duration::from_millis(10);

const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

/// Standard output and standard error of the job of a slot.
#[derive(Debug)]
pub(super) struct Logs {
    streams: [Log; 2],
}

#[derive(Debug)]
struct Log {
    /// Where it lies before it has a job's name.
    live: PathBuf,
    /// Open for appending; none until it is made.
    file: Option<File>,
    /// Whether it lies in its final place.
    published: bool,
    /// Where the hole in it ends; 0 when there is none.
    hole: u64,
    /// Its size when it was looked at last.
    seen: Option<(u64, Instant)>,
}

impl Logs {
    /// Names the files of a slot; makes none.
    pub(super) fn of_slot(state: &StateDir, slot: usize) -> Self {
        let log = |end: &str| Log {
            live: state.live_dir().join(format!("{slot}.{end}")),
            file: None,
            published: false,
            hole: 0,
            seen: None,
        };
        Self { streams: [log("out"), log("err")] }
    }

    /// Makes the files that are missing, and returns both for a job to write to.
    pub(super) fn open(&mut self) -> io::Result<[BorrowedFd<'_>; 2]> {
        let [out, err] = &mut self.streams;
        Ok([out.open()?.as_fd(), err.open()?.as_fd()])
    }

    /// Puts both into their final place, where they can be followed.
    pub(super) fn publish(&mut self, state: &StateDir, key: JobKey) -> io::Result<()> {
        for (log, stream) in self.streams.iter_mut().zip(STREAMS) {
            log.publish(&state.log(key, stream))?;
        }
        Ok(())
    }

    /// Cuts logs that are over the limit; returns how soon they should be looked at again at the pace at which they grow. The
    /// error is a message for people, when a log cannot be cut.
    pub(super) fn limit(&mut self, limit: u64, now: Instant) -> Result<Option<Duration>, String> {
        let mut soonest = None;
        for (log, stream) in self.streams.iter_mut().zip(STREAMS) {
            let soon = log.limit(limit, now).map_err(|error| {
                let (name, limit) = (name_of(stream), Bytes(limit));
                format!("{name} passed {limit}, and its file cannot be cut: {error}")
            })?;
            soonest = soon.into_iter().chain(soonest).min();
        }
        Ok(soonest)
    }

    /// Puts what was written into its final place and keeps what is empty for the next job (unless `shared`: somebody who
    /// outlived the job may still hold it). Returns notes.
    pub(super) fn settle(&mut self, state: &StateDir, key: JobKey, shared: bool, limit: u64) -> Vec<String> {
        let mut notes = Vec::new();
        for (log, stream) in self.streams.iter_mut().zip(STREAMS) {
            let place = state.log(key, stream);
            match log.settle(&place, shared, limit) {
                Ok(0) => {}
                Ok(dropped) => {
                    let (dropped, stream) = (Bytes(dropped), name_of(stream));
                    notes.push(format!("{dropped} of {stream} were left out of its log"));
                }
                Err(error) => notes.push(log.strand(&place, key, &error)),
            }
        }
        notes
    }
}

impl Log {
    fn open(&mut self) -> io::Result<&File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => create(&self.live)?,
        };
        Ok(self.file.insert(file))
    }

    fn publish(&mut self, place: &Path) -> io::Result<()> {
        if self.published || self.file.is_none() {
            return Ok(());
        }
        if let Err(error) = std::fs::rename(&self.live, place) {
            let Some(parent) = place.parent().filter(|_| error.kind() == io::ErrorKind::NotFound) else {
                return Err(error);
            };
            std::fs::create_dir_all(parent)?;
            std::fs::rename(&self.live, place)?;
        }
        self.published = true;
        Ok(())
    }

    fn limit(&mut self, limit: u64, now: Instant) -> io::Result<Option<Duration>> {
        let Some(file) = &self.file else { return Ok(None) };
        let size = size_of(file)?;
        let keep = kept(limit);
        let end = size.saturating_sub(keep);
        if size.saturating_sub(self.hole) + keep > limit && end > keep {
            rustix::fs::fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, keep, end - keep)?;
            self.hole = end;
        }
        let (before, at) = self.seen.replace((size, now)).unwrap_or((0, now));
        let grown = size.saturating_sub(before);
        let soon = now.saturating_duration_since(at).mul_f64(limit as f64 / 2.0 / grown.max(1) as f64);
        Ok((grown > 0).then(|| soon.max(SOONEST)))
    }

    /// Returns how many bytes were left out.
    fn settle(&mut self, place: &Path, shared: bool, limit: u64) -> io::Result<u64> {
        let Some(file) = &self.file else { return Ok(0) };
        let size = size_of(file)?;
        let mut dropped = 0;
        if size > 0 {
            self.publish(place)?;
            if let Some(file) = self.file.take()
                && (size > limit || self.hole > 0)
            {
                dropped = size.saturating_sub(2 * kept(limit));
                cut(&file, place, size, limit)?;
            }
        } else if shared {
            std::fs::remove_file(if self.published { place } else { &self.live })?;
            self.file = None;
        } else if self.published {
            std::fs::rename(place, &self.live)?;
        }
        self.reset();
        Ok(dropped)
    }

    /// Leaves what cannot be put in its place where it can be found, starts over with a new file, and says so.
    fn strand(&mut self, place: &Path, key: JobKey, error: &io::Error) -> String {
        let end = self.live.extension().unwrap_or_default().to_string_lossy();
        let stays = if self.published { place.to_path_buf() } else { self.live.with_file_name(format!("{key}.{end}")) };
        if !self.published {
            // Where this fails too, the next job's log takes its place.
            std::fs::rename(&self.live, &stays).ok();
        }
        self.file = None;
        self.reset();
        format!("its log {} stays at {}: {error}", place.display(), stays.display())
    }

    fn reset(&mut self) {
        self.published = false;
        self.hole = 0;
        self.seen = None;
    }
}

fn size_of(file: &File) -> io::Result<u64> {
    Ok(u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0))
}

/// How much is kept of the head, and of the tail, of a log over the limit.
const fn kept(limit: u64) -> u64 {
    if limit / 4 < KEPT_MAX { limit / 4 } else { KEPT_MAX }
}

/// Writes a log anew, without its middle.
fn cut(file: &File, place: &Path, size: u64, limit: u64) -> io::Result<()> {
    let keep = kept(limit);
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(".cut");
    let beside = place.with_file_name(name);
    let mut whole = file;
    let write = || {
        let mut short = create(&beside)?;
        whole.rewind()?;
        io::copy(&mut whole.take(keep), &mut short)?;
        writeln!(short, "\n[csync: {} left out here]", Bytes(size.saturating_sub(2 * keep)))?;
        whole.seek(SeekFrom::Start(size.saturating_sub(keep)))?;
        io::copy(&mut whole.take(keep), &mut short)?;
        std::fs::rename(&beside, place)
    };
    let mut write = write;
    write().inspect_err(|_| {
        // Half of it is of no use.
        std::fs::remove_file(&beside).ok();
    })
}

const fn name_of(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "standard output",
        Stream::Stderr => "standard error",
    }
}

/// Makes a private file to append to, in the place of whatever lies there.
fn create(path: &Path) -> io::Result<File> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::APPEND | OFlags::RDWR | OFlags::CLOEXEC;
    let open = || rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR);
    let file = match open() {
        Err(rustix::io::Errno::EXIST) => {
            std::fs::remove_file(path)?;
            open()
        }
        other => other,
    };
    Ok(File::from(file?))
}
