//! What was learned, on its way to another machine with the same key: a file of sealed records.
//!
//! ```text
//! csync-learned 1 NEWLINE    what it is
//! 16 bytes                   which key: a hash of it, which tells nothing else
//! 16 bytes                   which file: a record opens in no other, and at no other place of this one
//! length (4 bytes), sealed   a record: the day of what was added last, and the entry
//! ...
//! length (4 bytes), sealed   nothing: the end, without which the file was cut short
//! ```

use std::io::{self, Read, Write};
use std::path::Path;

use crate::reach::learned::error::LearnedError;
use crate::reach::learned::key::MasterKey;
use crate::reach::learned::record::{self, Entry};
use crate::reach::learned::seal::{Seal, random};

/// How such a file begins, of any version.
pub const BEGINNING: &[u8] = b"csync-learned ";
/// How one of this version begins.
const HEAD: &[u8] = b"csync-learned 1\n";
/// What records are sealed with.
const EXCHANGES: &str = "csync 2026-11 exchanges";
/// What names the key.
const NAMES: &str = "csync 2026-11 names the key of exchanges";
/// Longest record: a hundred times what one has.
const LONGEST: u32 = 1 << 20;

/// A record, and the day on which something was added to it last.
pub type Dated = (i64, Entry);

/// Seals records for others, and opens those of others.
pub(super) struct Exchange {
    seal: Seal,
    name: [u8; 16],
}

impl Exchange {
    pub(super) fn new(master: &MasterKey) -> Self {
        let name = master.derive(NAMES).first_chunk().copied().unwrap_or_default();
        Self { seal: Seal::new(&master.derive(EXCHANGES)), name }
    }

    /// Writes records.
    pub(super) fn write(&self, all: &[Dated], out: &mut impl Write) -> io::Result<()> {
        let none = || io::Error::other("the system has no random numbers");
        let file: [u8; 16] = random().ok_or_else(none)?;
        out.write_all(HEAD)?;
        out.write_all(&self.name)?;
        out.write_all(&file)?;
        let records = all.iter().map(|dated| record::write(dated, &dated.1).map_err(io::Error::other));
        for (record, place) in records.chain([Ok(Vec::new())]).zip(0..) {
            let sealed = self.seal.seal(&at(&file, place), &record?).ok_or_else(none)?;
            let length = u32::try_from(sealed.len()).map_err(io::Error::other)?;
            out.write_all(&length.to_be_bytes())?;
            out.write_all(&sealed)?;
        }
        out.flush()
    }

    /// Reads records: all, or none where one is missing or was changed.
    pub(super) fn read(&self, shown: &Path, key: &Path, input: &mut impl Read) -> Result<Vec<Dated>, LearnedError> {
        let path = || shown.to_path_buf();
        let broken = |source: io::Error| match source.kind() {
            io::ErrorKind::UnexpectedEof => LearnedError::Damaged { path: path() },
            _ => LearnedError::File { path: path(), source },
        };
        let (mut head, mut name, mut file) = ([0; HEAD.len()], [0; 16], [0; 16]);
        input.read_exact(&mut head).map_err(broken)?;
        if head != HEAD {
            return Err(LearnedError::Foreign { path: path() });
        }
        input.read_exact(&mut name).map_err(broken)?;
        if name != self.name {
            return Err(LearnedError::OtherKey { path: path(), key: key.to_path_buf() });
        }
        input.read_exact(&mut file).map_err(broken)?;
        let mut all = Vec::new();
        for place in 0.. {
            let mut length = [0; 4];
            input.read_exact(&mut length).map_err(broken)?;
            let length = u32::from_be_bytes(length);
            let mut sealed = Vec::new();
            if length <= LONGEST {
                input.by_ref().take(u64::from(length)).read_to_end(&mut sealed).map_err(broken)?;
            }
            let opened = self.seal.open(&at(&file, place), &sealed);
            match opened.as_deref() {
                Some([]) => break,
                Some(bytes) => {
                    let record = record::read(bytes, |(_, entry): &mut Dated| entry);
                    all.push(record.ok_or_else(|| LearnedError::Damaged { path: path() })?);
                }
                None => return Err(LearnedError::Damaged { path: path() }),
            }
        }
        Ok(all)
    }
}

/// What a record is bound to.
fn at(file: &[u8; 16], place: u64) -> Vec<u8> {
    [file.as_slice(), &place.to_be_bytes()].concat()
}
