//! Where what a container prints is kept.

use std::fs::{self, File};
use std::io::{self, Write};

use crate::model::api::Stream;
use crate::model::id::JobKey;
use crate::reach::config::StateDir;
use crate::serve::site::send::PRINTED;

/// The logs of an attempt. What is there already was written by the engine before.
pub(super) struct Logs {
    streams: [Option<(File, u64)>; 2],
    room: [u64; 2],
    /// How many bytes had no room.
    pub(super) lost: u64,
}

impl Logs {
    pub(super) fn open(state: &StateDir, key: JobKey) -> Self {
        let open = |stream| {
            let path = state.log(key, stream);
            let opened = || -> io::Result<(File, u64)> {
                path.parent().map_or(Ok(()), fs::create_dir_all)?;
                let file = File::options().create(true).append(true).open(&path)?;
                let there = file.metadata()?.len();
                Ok((file, there))
            };
            opened().inspect_err(|error| tracing::warn!(log = %path.display(), %error, "a log cannot be kept")).ok()
        };
        Self { streams: [open(Stream::Stdout), open(Stream::Stderr)], room: [PRINTED.0; 2], lost: 0 }
    }

    pub(super) fn write(&mut self, is_error: bool, bytes: &[u8]) {
        let at = usize::from(is_error);
        let (Some(Some((file, skip))), Some(room)) = (self.streams.get_mut(at), self.room.get_mut(at)) else { return };
        let passed = usize::try_from(*skip).unwrap_or(usize::MAX).min(bytes.len());
        *skip -= passed as u64;
        let new = bytes.get(passed..).unwrap_or_default();
        let kept = new.get(..usize::try_from(*room).unwrap_or(usize::MAX).min(new.len())).unwrap_or_default();
        *room -= kept.len() as u64;
        self.lost += (new.len() - kept.len()) as u64;
        if file.write_all(kept).is_err() {
            self.lost += kept.len() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{InstanceId, RunId};

    #[test]
    fn what_is_heard_again_is_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().to_owned(), None);
        let key = JobKey { run: RunId(1), instance: InstanceId(0), attempt: 1 };
        Logs::open(&state, key).write(false, b"one\ntw");
        let mut again = Logs::open(&state, key);
        for part in [&b"on"[..], b"e\n", b"two\n", b"three\n"] {
            again.write(false, part);
        }
        assert_eq!(fs::read(state.log(key, Stream::Stdout)).unwrap(), b"one\ntwo\nthree\n");
    }
}
