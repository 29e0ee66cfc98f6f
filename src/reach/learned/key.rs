//! The master key: a file that its owner alone can read, behind a passphrase where somebody wants that.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};

use crate::reach::learned::error::LearnedError;
use crate::reach::learned::seal::{Seal, random};

/// First line of the file.
const HEAD: &str = "csync-key 1";
/// What a passphrase is worked with: 64 MiB, three passes.
const WORK: (u32, u32, u32) = (64 << 10, 3, 1);
/// What a sealed key is bound to.
const PLACE: &[u8] = b"master";
/// Longest key file.
const LONGEST: u64 = 4096;

/// What opens the store, and names the tokens in it.
pub struct MasterKey([u8; 32]);

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

impl MasterKey {
    /// Reads the key; none when there is none.
    ///
    /// # Errors
    /// When others can read it, when it is none, or when it needs a passphrase that was not given.
    pub fn load(path: &Path, passphrase: Option<&str>) -> Result<Option<Self>, LearnedError> {
        let file = |source| LearnedError::File { path: path.to_path_buf(), source };
        let bad = |detail| LearnedError::Key { key: path.to_path_buf(), detail };
        let opened = match OpenOptions::new().read(true).open(path) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(file(error)),
        };
        let meta = opened.metadata().map_err(file)?;
        if meta.mode() & 0o077 != 0 || meta.uid() != rustix::process::geteuid().as_raw() {
            return Err(bad("others can read it, or it is not yours"));
        }
        let mut text = String::new();
        opened.take(LONGEST).read_to_string(&mut text).map_err(file)?;
        let mut lines = text.lines();
        if lines.next() != Some(HEAD) {
            return Err(bad("it is not a key of csync"));
        }
        let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        match words.as_slice() {
            ["plain", key] => from_hex(key).and_then(|key| key.try_into().ok()).map(Self).map(Some),
            ["argon2id", salt, sealed] => {
                let passphrase = passphrase.ok_or_else(|| LearnedError::Passphrase { key: path.to_path_buf() })?;
                let (salt, sealed) = from_hex(salt).zip(from_hex(sealed)).ok_or_else(|| bad("it is damaged"))?;
                let seal = worked(passphrase, &salt).ok_or_else(|| bad("it is damaged"))?;
                let key = seal.open(PLACE, &sealed).ok_or_else(|| bad("the passphrase is wrong"))?;
                key.try_into().ok().map(Self).map(Some)
            }
            _ => None,
        }
        .ok_or_else(|| bad("it is damaged"))
    }

    /// Makes a key and keeps it.
    pub(super) fn make(path: &Path) -> Result<Self, LearnedError> {
        let none = || LearnedError::Key { key: path.to_path_buf(), detail: "the system has no random numbers" };
        let key = Self(random().ok_or_else(none)?);
        write(path, &format!("{HEAD}\nplain {}\n", to_hex(&key.0)), true)?;
        Ok(key)
    }

    /// Derives a key for one purpose.
    pub(super) fn derive(&self, purpose: &str) -> [u8; 32] {
        blake3::derive_key(purpose, &self.0)
    }
}

/// Puts a key behind a passphrase, or (with none) takes it out again.
///
/// # Errors
/// When the key cannot be read or written.
pub fn protect(path: &Path, old: Option<&str>, new: Option<&str>) -> Result<(), LearnedError> {
    let missing = || LearnedError::Key { key: path.to_path_buf(), detail: "there is none yet" };
    let key = MasterKey::load(path, old)?.ok_or_else(missing)?;
    let line = match new {
        None => format!("plain {}", to_hex(&key.0)),
        Some(passphrase) => {
            let sealed = random::<16>().and_then(|salt| {
                let sealed = worked(passphrase, &salt)?.seal(PLACE, &key.0)?;
                Some(format!("argon2id {} {}", to_hex(&salt), to_hex(&sealed)))
            });
            sealed.ok_or_else(|| LearnedError::Key { key: path.to_path_buf(), detail: "it cannot be sealed" })?
        }
    };
    write(path, &format!("{HEAD}\n{line}\n"), false)
}

/// Works a passphrase into a seal.
fn worked(passphrase: &str, salt: &[u8]) -> Option<Seal> {
    let (memory, passes, lanes) = WORK;
    let params = Params::new(memory, passes, lanes, Some(32)).ok()?;
    let mut key = [0; 32];
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon.hash_password_into(passphrase.as_bytes(), salt, &mut key).ok()?;
    Some(Seal::new(&key))
}

/// Writes the file whole or not at all; a first key never replaces one that somebody else has just made.
fn write(path: &Path, text: &str, first: bool) -> Result<(), LearnedError> {
    let file = |source| LearnedError::File { path: path.to_path_buf(), source };
    let aside = path.with_extension(format!("new-{}", std::process::id()));
    let mut options = OpenOptions::new();
    let made = options.write(true).create(true).truncate(true).mode(0o600).open(&aside).and_then(|mut opened| {
        opened.write_all(text.as_bytes())?;
        opened.sync_all()
    });
    let placed =
        made.and_then(|()| if first { std::fs::hard_link(&aside, path) } else { std::fs::rename(&aside, path) });
    if first || placed.is_err() {
        // Left behind, it would be in nobody's way.
        drop(std::fs::remove_file(&aside));
    }
    placed.map_err(file)
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}
