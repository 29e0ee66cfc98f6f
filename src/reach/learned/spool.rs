//! What processes saw that do not open the store, as hooks of agents: a line each in a file beside it, sealed before it is written.
//! Whoever opens the store next takes it in.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use crate::model::units::Timestamp;
use crate::reach::learned::error::LearnedError;
use crate::reach::learned::extract::Extract;
use crate::reach::learned::store::{Learned, Lesson, Place};

/// Where a line is sealed for.
const SPOOL: &[u8] = b"csync spool";

/// Largest file: what is beyond is not kept.
const LARGEST: u64 = 1 << 20;

impl Extract {
    /// Writes down what a command taught.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn spool(&self, place: &Place, lesson: &Lesson) -> std::io::Result<()> {
        let path = path(place);
        if std::fs::metadata(&path).is_ok_and(|meta| meta.len() > LARGEST) {
            return Ok(());
        }
        let bytes = postcard::to_stdvec(lesson).map_err(std::io::Error::other)?;
        let sealed = self.seal().seal(SPOOL, &bytes).ok_or(ErrorKind::Other)?;
        let mut line = String::with_capacity(sealed.len() * 2 + 1);
        for byte in sealed {
            let _infallible = write!(line, "{byte:02x}");
        }
        line.push('\n');
        // In one write: two processes do not mix theirs.
        File::options().create(true).append(true).mode(0o600).open(path)?.write_all(line.as_bytes())
    }

    /// Opens a line; none where it is damaged, or of another key.
    fn lesson(&self, line: &str) -> Option<Lesson> {
        let pairs = line.as_bytes().chunks_exact(2);
        let bytes: Option<Vec<u8>> =
            pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
        postcard::from_bytes(&self.seal().open(SPOOL, &bytes?)?).ok()
    }
}

/// Takes what was written down into the store; returns how much of it was new.
///
/// # Errors
/// When the store cannot be written: it is tried again the next time.
pub async fn take_in(learned: &mut Learned, place: &Place, now: Timestamp) -> Result<u32, LearnedError> {
    // Behind a passphrase nothing is written down.
    let Some(extract) = Extract::open(place) else { return Ok(0) };
    let mut new = 0;
    let taken = path(place).with_extension("spool.taken");
    // What a process left that ended over it comes first.
    for _ in 0..2 {
        if let Ok(text) = std::fs::read_to_string(&taken) {
            let lessons = text.lines().filter_map(|line| extract.lesson(line)).collect();
            new += learned.learn(lessons, now).await?;
            // Learned twice it counts once.
            std::fs::remove_file(&taken).ok();
        }
        if std::fs::rename(path(place), &taken).is_err() {
            break;
        }
    }
    // What came in the moment between is taken the next time.
    Ok(new)
}

fn path(place: &Place) -> PathBuf {
    place.path.with_extension("spool")
}
