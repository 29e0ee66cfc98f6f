//! What comes in a stream of `tar` from a host, which is not trusted: every entry is one that was asked for, once, and a file.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use tar::{Archive, Entry, EntryType};

use crate::reach::clock;
use crate::reach::stage::StageError;
use crate::reach::stage::gather::Goal;
use crate::reach::stage::look::here;
use crate::reach::stage::pack::{INBOX, inbox, line_of};
use crate::reach::transport::{Checksum, Meter, Sum};

/// After how long what a transfer left is nobody's.
const OLD: Duration = Duration::from_hours(24);

/// What the name of one begins with that is not locked yet.
const FRESH: &str = ".csync-new-";

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
                // It could not be looked for, and so was asked for as if it were a file.
                EntryType::Directory if name.contains('\n') => {
                    return Err(StageError::Name {
                        name,
                        why: "it is a directory with a line end in its name, and what hosts tell of directories is told in lines; give \
                              it another name in `outputs` and in the command",
                    });
                }
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

/// Files that arrived in a directory of their own, beside where they go; those that are not let in are removed with it.
#[derive(Debug)]
pub(super) struct Arrived {
    to: PathBuf,
    /// Nobody else's is called so.
    inbox: PathBuf,
    /// Names and checksums, in the order in which they came.
    files: Vec<(String, Checksum)>,
    /// Locked as long as this process lives and needs it.
    _held: File,
}

impl Drop for Arrived {
    fn drop(&mut self) {
        // Left where it is, it is in nobody's way, until a later transfer removes it.
        drop(fs::remove_dir_all(&self.inbox));
    }
}

impl Arrived {
    fn new(to: &Path) -> Result<Self, StageError> {
        fs::create_dir_all(to).map_err(|source| here(to, source))?;
        sweep(to);
        let inbox = to.join(inbox());
        let held = hold(&inbox).map_err(|source| here(&inbox, source))?;
        Ok(Self { to: to.to_owned(), inbox, files: Vec::new(), _held: held })
    }

    /// Compares what arrived with what the host says it has; `theirs` is in the order of `names`.
    pub(super) fn compare(&self, names: &[String], theirs: &[Checksum]) -> Result<(), StageError> {
        let theirs: HashMap<&str, &Checksum> = names.iter().map(String::as_str).zip(theirs).collect();
        let differs =
            |(name, sum): &&(String, Checksum)| theirs.get(name.as_str()).is_some_and(|theirs| *theirs != sum);
        match self.files.iter().find(differs) {
            Some((name, _)) => Err(StageError::Changed { path: self.to.join(name) }),
            None => Ok(()),
        }
    }

    /// Returns the checksum of what `cksum` prints of these files.
    pub(super) fn sum<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Checksum {
        let sums: HashMap<&str, Checksum> = self.files.iter().map(|(name, sum)| (name.as_str(), *sum)).collect();
        let mut whole = Sum::default();
        for name in names {
            if let Some(sum) = sums.get(name) {
                whole.update(line_of(name, *sum).as_bytes());
            }
        }
        whole.finish()
    }

    /// Has files go where they gather.
    pub(super) fn gather(&mut self, goal: &Goal) -> Result<(), StageError> {
        for (dir, beside) in goal.gathering() {
            match fs::rename(self.inbox.join(dir), self.inbox.join(beside)) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(here(&self.to.join(dir), source));
                }
                _ => {}
            }
        }
        for (name, _) in &mut self.files {
            *name = goal.name(name);
        }
        Ok(())
    }

    /// Gives all their names: a directory that is not there yet gets its own as a whole.
    pub(super) fn let_in(self) -> Result<(), StageError> {
        let mut top = Level::default();
        for (name, _) in &self.files {
            let (dirs, file) = name.rsplit_once('/').unwrap_or(("", name));
            let dirs = dirs.split('/').filter(|part| !part.is_empty());
            dirs.fold(&mut top, |level, part| level.dirs.entry(part).or_default()).files.push(file);
        }
        top.let_in(&self.inbox, &self.to)
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }
}

/// What arrived in a directory.
#[derive(Debug, Default)]
struct Level<'a> {
    files: Vec<&'a str>,
    dirs: BTreeMap<&'a str, Self>,
}

impl Level<'_> {
    fn let_in(&self, from: &Path, to: &Path) -> Result<(), StageError> {
        for name in &self.files {
            let (part, path) = (from.join(name), to.join(name));
            place(&part, &path).map_err(|source| here(&path, source))?;
        }
        for (name, level) in &self.dirs {
            let (part, path) = (from.join(name), to.join(name));
            // One that is there, even an empty one, stays the one that it is; so does one that somebody makes meanwhile, as soon as
            // something is in it.
            let is_new = fs::symlink_metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
            if is_new && fs::rename(&part, &path).is_ok() {
                continue;
            }
            fs::create_dir_all(&path).map_err(|source| here(&path, source))?;
            level.let_in(&part, &path)?;
        }
        Ok(())
    }
}

/// Gives a file its name. It never takes the place of a directory: the system sees to that.
fn place(part: &Path, path: &Path) -> io::Result<()> {
    match fs::rename(part, path) {
        // A directory here is a link to another filesystem, or one is mounted there.
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let beside = part_of(path);
            let copied = copy(part, &beside).and_then(|()| fs::rename(&beside, path));
            copied.inspect_err(|_| drop(fs::remove_file(&beside)))
        }
        placed => placed,
    }
}

/// Copies a file with its permissions and its time.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let (mut from, mut file) = (File::open(from)?, create(to, 0o600)?);
    let meta = from.metadata()?;
    io::copy(&mut from, &mut file)?;
    file.set_permissions(meta.permissions())?;
    file.set_modified(meta.modified()?)
}

/// Makes a file, not through a link that somebody put there.
fn create(path: &Path, mode: u32) -> io::Result<File> {
    let make = || File::options().write(true).create_new(true).mode(mode).open(path);
    match make() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            make()
        }
        file => file,
    }
}

/// Takes out of a stream what was asked for.
pub(super) fn unpack(asked: &Asked, stream: impl Read, to: &Path, meter: &Meter) -> Result<Arrived, StageError> {
    let mut arrived = Arrived::new(to)?;
    let mut modes = Modes::default();
    // Where the file before went: neighbours lie in one directory.
    let mut made = PathBuf::new();
    asked.each(stream, |name, entry| {
        let part = arrived.inbox.join(name);
        if let Some(dir) = part.parent().filter(|dir| *dir != made) {
            fs::create_dir_all(dir).map_err(|source| here(dir, source))?;
            dir.clone_into(&mut made);
        }
        let sum = write(entry, &part, &mut modes, meter).map_err(|source| here(&to.join(name), source))?;
        arrived.files.push((name.to_owned(), sum));
        Ok(())
    })?;
    Ok(arrived)
}

/// With which permissions files come out right when they are made: the mask and the directory's defaults are the same for all.
#[derive(Debug, Default)]
struct Modes(HashMap<u32, bool>);

impl Modes {
    /// Sees to a file that was made with these permissions.
    fn settle(&mut self, file: &File, mode: u32) -> io::Result<()> {
        let is_right = if let Some(is_right) = self.0.get(&mode) {
            *is_right
        } else {
            let is_right = file.metadata()?.permissions().mode() & 0o777 == mode;
            self.0.insert(mode, is_right);
            is_right
        };
        if is_right { Ok(()) } else { file.set_permissions(fs::Permissions::from_mode(mode)) }
    }
}

/// Writes a file and gives it its time.
fn write(entry: &mut Entry<'_, impl Read>, part: &Path, modes: &mut Modes, meter: &Meter) -> io::Result<Checksum> {
    let size = entry.size();
    let mode = entry.header().mode().unwrap_or(0o644) & 0o777 | 0o600;
    let mtime = entry.header().mtime().unwrap_or(0);
    let mut file = create(part, mode)?;
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
    modes.settle(&file, mode)?;
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(mtime))?;
    Ok(sum)
}

/// Returns the temporary name of a file: a long name plus a suffix would be too long for a filesystem.
pub(super) fn part_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let hash = blake3::hash(name.as_bytes()).to_hex();
    path.with_file_name(format!(".csync-{}.new", hash.get(..16).unwrap_or_default()))
}

/// Makes a directory that nobody sweeps away as long as what is returned is open. It gets its name when it is locked.
fn hold(inbox: &Path) -> io::Result<File> {
    let name = inbox.file_name().unwrap_or_default().to_string_lossy();
    let fresh = inbox.with_file_name(format!("{FRESH}{name}"));
    DirBuilder::new().mode(0o700).create(&fresh)?;
    let held = File::open(&fresh)?;
    // A filesystem without locks: then only its age tells whose it is.
    held.try_lock().ok();
    fs::rename(&fresh, inbox)?;
    Ok(held)
}

/// Removes what transfers left that were ended in the middle: what nobody holds any more, and, where locks do not tell, what is a day
/// old.
fn sweep(to: &Path) {
    let Ok(entries) = fs::read_dir(to) else { return };
    let now = SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(clock::now().0).unwrap_or(0));
    let is_old = |entry: &fs::DirEntry| {
        let time = entry.metadata().and_then(|meta| meta.modified());
        time.is_ok_and(|time| now.duration_since(time).is_ok_and(|age| age > OLD))
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is = |prefix: &str| name.as_encoded_bytes().starts_with(prefix.as_bytes());
        let is_nobodys = || File::open(entry.path()).is_ok_and(|dir| dir.try_lock().is_ok());
        if (is(INBOX) && (is_nobodys() || is_old(&entry))) || (is(FRESH) && is_old(&entry)) {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}
