//! What comes in a stream of `tar` from a host, which is not trusted: every entry is one that was asked for, once, and a file.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use tar::{Archive, Entry, EntryType};

use crate::reach::stage::StageError;
use crate::reach::stage::look::here;
use crate::reach::transport::{Checksum, Meter, Sum};

/// Who sends, and what may come.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The host's name.
    pub(super) host: String,
    /// Names of files, plain.
    pub(super) names: HashSet<String>,
    /// Most bytes.
    pub(super) limit: u64,
}

impl Asked {
    pub(super) fn strange(&self, what: String) -> StageError {
        StageError::Strange { host: self.host.clone(), what }
    }

    /// Goes through a stream and hands over every file in it.
    pub(super) fn each<R: Read>(
        &self,
        stream: R,
        mut take: impl FnMut(&str, &mut Entry<'_, R>) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let mut archive = Archive::new(stream);
        let mut bytes = 0u64;
        let mut seen = HashSet::new();
        for entry in archive.entries().map_err(|error| self.strange(format!("no archive ({error})")))? {
            let mut entry = entry.map_err(|error| self.strange(format!("a broken archive ({error})")))?;
            let name = name_of(&entry).ok_or_else(|| {
                let name = String::from_utf8_lossy(&entry.path_bytes()).escape_debug().to_string();
                self.strange(format!("`{name}`, which leads out of the directory"))
            })?;
            if !self.names.contains(&name) {
                return Err(self.strange(format!("`{}`, which nobody asked for", name.escape_debug())));
            }
            match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {}
                other => return Err(self.strange(format!("`{}` as {other:?}, which is no file", name.escape_debug()))),
            }
            if !seen.insert(name.clone()) {
                return Err(self.strange(format!("`{}` twice", name.escape_debug())));
            }
            bytes = bytes.saturating_add(entry.size());
            if bytes > self.limit {
                return Err(StageError::TooLarge { name, size: bytes, limit: self.limit });
            }
            take(&name, &mut entry)?;
        }
        Ok(())
    }
}

/// Returns the name of an entry when every part of it is plain.
fn name_of(entry: &Entry<'_, impl Read>) -> Option<String> {
    let path = entry.path().ok()?;
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str()?.to_owned()),
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(parts.join("/"))
}

/// Files that arrived under temporary names; those that are not let in are removed.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    /// Name, temporary path, path, checksum.
    files: Vec<(String, PathBuf, PathBuf, Checksum)>,
}

impl Drop for Arrived {
    fn drop(&mut self) {
        for (_, part, ..) in &self.files {
            // Left where it is, it is in nobody's way.
            drop(fs::remove_file(part));
        }
    }
}

impl Arrived {
    /// Compares what arrived with what the host says it has; `theirs` is in the order of `names`.
    pub(super) fn compare(&self, names: &[String], theirs: &[Checksum]) -> Result<(), StageError> {
        let theirs: std::collections::HashMap<&str, &Checksum> = names.iter().map(String::as_str).zip(theirs).collect();
        let differs = |(name, _, _, sum): &&(String, PathBuf, PathBuf, Checksum)| {
            theirs.get(name.as_str()).is_some_and(|theirs| *theirs != sum)
        };
        match self.files.iter().find(differs) {
            Some((_, _, path, _)) => Err(StageError::Changed { path: path.clone() }),
            None => Ok(()),
        }
    }

    /// Gives all their names.
    pub(super) fn let_in(mut self) -> Result<(), StageError> {
        let mut files = std::mem::take(&mut self.files).into_iter();
        // A file never takes the place of a directory: the system sees to that.
        let failed = files.find_map(|(_, part, path, _)| {
            let error = fs::rename(&part, &path).err()?;
            drop(fs::remove_file(&part));
            Some(here(&path, error))
        });
        self.files.extend(files);
        failed.map_or(Ok(()), Err)
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }
}

/// Takes out of a stream what was asked for, under temporary names.
pub(super) fn unpack(asked: &Asked, stream: impl Read, to: &Path, meter: &Meter) -> Result<Arrived, StageError> {
    let mut arrived = Arrived::default();
    // Where the file before went: neighbours lie in one directory.
    let mut made = PathBuf::new();
    asked.each(stream, |name, entry| {
        let path = to.join(name);
        let part = part_of(&path);
        if let Some(dir) = path.parent().filter(|dir| *dir != made) {
            fs::create_dir_all(dir).map_err(|source| here(dir, source))?;
            dir.clone_into(&mut made);
        }
        let written = write(entry, &part, meter);
        // One that was not finished is removed with the others.
        let sum = written.as_ref().copied().unwrap_or(Sum::default().finish());
        arrived.files.push((name.to_owned(), part, path.clone(), sum));
        written.map(drop).map_err(|source| here(&path, source))
    })?;
    Ok(arrived)
}

/// Writes a file and gives it its time.
fn write(entry: &mut Entry<'_, impl Read>, part: &Path, meter: &Meter) -> io::Result<Checksum> {
    let size = entry.size();
    let mode = entry.header().mode().unwrap_or(0o644) & 0o777 | 0o600;
    let mtime = entry.header().mtime().unwrap_or(0);
    // Not through a link that somebody put there.
    let mut file = match File::create_new(part) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(part)?;
            File::create_new(part)?
        }
        file => file?,
    };
    let mut sum = Sum::default();
    let mut buffer = vec![0; usize::try_from(size).unwrap_or(usize::MAX).clamp(1, 128 << 10)];
    loop {
        let read = entry.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        sum.update(bytes);
        file.write_all(bytes)?;
        meter.count(read as u64);
    }
    let sum = sum.finish();
    if sum.size != size {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{} of {size} bytes came", sum.size)));
    }
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(mtime))?;
    Ok(sum)
}

/// Returns the temporary name of a file: a long name plus a suffix would be too long for a filesystem.
pub(super) fn part_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let hash = blake3::hash(name.as_bytes()).to_hex();
    path.with_file_name(format!(".csync-{}.new", hash.get(..16).unwrap_or_default()))
}
