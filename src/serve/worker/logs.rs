//! Log files: a pair per slot in `live/`, renamed to its final place once the job is 50 ms old or left something in it, kept for
//! the next job otherwise. A hundred thousand quiet jobs make no file.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::model::api::Stream;
use crate::model::id::JobKey;
use crate::reach::config::StateDir;

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
}

impl Logs {
    /// Names the files of a slot; makes none.
    pub(super) fn of_slot(state: &StateDir, slot: usize) -> Self {
        let log =
            |end: &str| Log { live: state.live_dir().join(format!("{slot}.{end}")), file: None, published: false };
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

    /// Puts what was written into its final place and keeps what is empty for the next job (unless `shared`: somebody who
    /// outlived the job may still hold it). Returns notes.
    pub(super) fn settle(&mut self, state: &StateDir, key: JobKey, shared: bool) -> Vec<String> {
        let mut notes = Vec::new();
        for (log, stream) in self.streams.iter_mut().zip(STREAMS) {
            let place = state.log(key, stream);
            if let Err(error) = log.settle(&place, shared) {
                notes.push(format!("its log {} was lost: {error}", place.display()));
                log.abandon();
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

    fn settle(&mut self, place: &Path, shared: bool) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        if rustix::fs::fstat(file)?.st_size > 0 {
            self.publish(place)?;
            self.file = None;
        } else if shared {
            std::fs::remove_file(if self.published { place } else { &self.live })?;
            self.file = None;
        } else if self.published {
            std::fs::rename(place, &self.live)?;
        }
        self.published = false;
        Ok(())
    }

    /// Starts over with a new file.
    fn abandon(&mut self) {
        self.file = None;
        self.published = false;
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
