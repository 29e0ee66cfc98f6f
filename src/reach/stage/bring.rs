//! From here to a host.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tokio::task::spawn_blocking;

use crate::language::quote::sh;
use crate::reach::clock;
use crate::reach::stage::look::{Seen, here, list, look, sums};
use crate::reach::stage::pack::{Bridge, Packer, Packing, Unpacked, send};
use crate::reach::stage::{LARGE, Moved, Queue, StageError, checked, delta, next, plain, streams, words};
use crate::reach::transport::{Checksum, Exec, Meter, Put, Sum, Transport};

/// How long after a file was written it may be written again with the same time, in seconds.
const RACY: i64 = 3;

/// Most times that files of a host are set to.
const TIMES: usize = 64;

/// A file that is to be on the host.
struct Wanted {
    name: String,
    path: PathBuf,
    meta: Metadata,
}

impl Wanted {
    fn time(&self) -> (i64, u32) {
        (self.meta.mtime(), u32::try_from(self.meta.mtime_nsec()).unwrap_or(0))
    }

    /// The time that it gets there. Whole seconds tell later contents apart, unless it may change within this one.
    fn stamp(&self, now: i64) -> (i64, u32) {
        let (seconds, nanos) = self.time();
        (seconds, if seconds + RACY > now { nanos } else { 0 })
    }

    fn is_unchanged(&self) -> bool {
        let facts = |meta: &Metadata| (meta.size(), meta.mtime(), meta.mtime_nsec());
        fs::metadata(&self.path).is_ok_and(|meta| facts(&meta) == facts(&self.meta))
    }

    fn sum(&self) -> io::Result<Checksum> {
        let mut file = File::open(&self.path)?;
        let mut sum = Sum::default();
        let mut buffer = vec![0; usize::try_from(self.meta.size()).unwrap_or(usize::MAX).clamp(1, 256 << 10)];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(sum.finish()),
                read => sum.update(buffer.get(..read).unwrap_or(&[])),
            }
        }
    }
}

/// Brings files of the directory `from` to the directory `to` of a host, which is made; directories with all that is in them.
/// Returns when the host has them.
///
/// # Errors
/// When a file cannot be read here, or the host does not take it. What arrived by then need not move again.
pub async fn bring(
    host: &dyn Transport,
    from: &Path,
    to: &str,
    names: &[String],
    meter: &Meter,
) -> Result<Moved, StageError> {
    let finding = {
        let (from, names) = (from.to_owned(), names.to_vec());
        spawn_blocking(move || files_of(&from, &names))
    };
    let (found, roots) = tokio::join!(finding, look(host, to, names.iter().map(String::as_str)));
    let files = found.map_err(|error| here(Path::new("."), io::Error::other(error)))??;
    let there = looked(host, to, names, roots?, &files).await?;
    let mut moved = Moved { files: files.len() as u64, ..Moved::default() };
    let (mut lacking, mut doubtful) = (Vec::new(), Vec::new());
    for file in files {
        match there.get(&file.name) {
            Some(seen) if seen.is(file.meta.size(), file.time()) => {}
            Some(seen) if seen.size == file.meta.size() && !seen.is_dir => doubtful.push(file),
            _ => lacking.push(file),
        }
    }
    if !doubtful.is_empty() {
        lacking.extend(differing(host, to, doubtful).await?);
    }
    let (large, small): (Vec<_>, Vec<_>) = lacking.into_iter().partition(|file| file.meta.size() >= LARGE);
    moved.moved = (large.len() + small.len()) as u64;
    meter.expect(large.iter().chain(&small).map(|file| file.meta.size()).sum());
    let now = clock::now().0 / 1_000_000;
    moved.bytes += small.iter().map(|file| file.meta.size()).sum::<u64>();
    let queue: Queue<Wanted> = Mutex::new(streams(small, |file| file.meta.size()).into_iter());
    let sending = || send_all(host, to, &queue, now, meter);
    tokio::try_join!(sending(), sending())?;
    for file in large {
        let has_former = there.get(&file.name).is_some_and(|seen| seen.size >= LARGE && !seen.is_dir);
        moved.bytes += one(host, to, &file, has_former, now, meter).await?;
    }
    Ok(moved)
}

/// Looks for files of which their names, or the directories that they are below, were looked for: in a directory that is not there
/// no file is.
async fn looked(
    host: &dyn Transport,
    to: &str,
    names: &[String],
    roots: HashMap<String, Seen>,
    files: &[Wanted],
) -> Result<HashMap<String, Seen>, StageError> {
    let mut there: HashMap<String, Seen> =
        names.iter().filter_map(|name| Some((plain(name), *roots.get(name)?))).collect();
    let is_below = |name: &str| {
        let mut above = name.match_indices('/').filter_map(|(end, _)| name.get(..end)).chain([""]);
        above.any(|dir| there.get(dir).is_some_and(|seen| seen.is_dir))
    };
    let below = files.iter().map(|file| file.name.as_str()).filter(|name| is_below(name));
    let below = look(host, to, below).await?;
    there.extend(below);
    Ok(there)
}

/// Sends streams of small files as long as there are any.
async fn send_all(
    host: &dyn Transport,
    to: &str,
    queue: &Queue<Wanted>,
    now: i64,
    meter: &Meter,
) -> Result<(), StageError> {
    while let Some(files) = next(queue) {
        let packing = move |packer: &mut Packer<Bridge>| {
            for file in &files {
                pack(file, now, |packing, content| packer.add(packing, content))?;
            }
            Ok(())
        };
        send(host, to, meter, packing).await?;
    }
    Ok(())
}

/// Finds what is to be brought: files, and the files of directories.
fn files_of(from: &Path, names: &[String]) -> Result<Vec<Wanted>, StageError> {
    let mut files = Vec::new();
    for name in names {
        let path = from.join(checked(name)?);
        let meta = fs::metadata(&path).map_err(|source| here(&path, source))?;
        if !meta.is_dir() {
            files.push(Wanted { name: plain(name), path, meta });
            continue;
        }
        for entry in walkdir::WalkDir::new(&path).follow_links(true) {
            let entry = entry.map_err(|error| here(&path, error.into()))?;
            let meta = entry.metadata().map_err(|error| here(entry.path(), error.into()))?;
            let below = entry.path().strip_prefix(&path).unwrap_or(Path::new(""));
            let Some(below) = below.to_str() else {
                return Err(StageError::Name {
                    name: below.display().to_string(),
                    why: "it is not UTF-8, so no command can name it",
                });
            };
            if meta.is_file() {
                files.push(Wanted { name: plain(&format!("{name}/{below}")), path: entry.path().to_owned(), meta });
            }
        }
    }
    Ok(files)
}

/// Compares files of the same size by their contents. Returns those that differ; the others get the time that they have here, so
/// that it is seen next time.
async fn differing(host: &dyn Transport, to: &str, files: Vec<Wanted>) -> Result<Vec<Wanted>, StageError> {
    let Some(theirs) = sums(host, to, files.iter().map(|file| file.name.as_str())).await? else { return Ok(files) };
    let compared = spawn_blocking(move || {
        let mut compared = Vec::new();
        for (file, theirs) in files.into_iter().zip(theirs) {
            let ours = file.sum().map_err(|source| here(&file.path, source))?;
            compared.push((file, ours == theirs));
        }
        Ok::<_, StageError>(compared)
    });
    let compared = compared.await.map_err(|error| here(Path::new("."), io::Error::other(error)))??;
    let (mut differing, mut times) = (Vec::new(), BTreeMap::<i64, Vec<String>>::new());
    for (file, same) in compared {
        if same {
            times.entry(file.meta.mtime()).or_default().push(file.name);
        } else {
            differing.push(file);
        }
    }
    for (time, names) in times.into_iter().take(TIMES) {
        let names = list(names.iter().map(String::as_str))?;
        let touch = format!("cd -- {} && xargs -0 touch -d @{time}", sh(to));
        // What keeps its time is compared again next time.
        host.exec(Exec::new(touch).reading(names)).await?;
    }
    Ok(differing)
}

/// Packs a file, and makes sure that it did not change meanwhile.
fn pack(
    file: &Wanted,
    now: i64,
    add: impl FnOnce(&Packing<'_>, File) -> Result<Checksum, Unpacked>,
) -> Result<(), StageError> {
    let content = File::open(&file.path).map_err(|source| here(&file.path, source))?;
    let (size, mode) = (file.meta.size(), file.meta.permissions().mode());
    match add(&Packing { name: &file.name, size, mode, mtime: file.stamp(now) }, content) {
        Err(Unpacked::Failed(source)) => Err(here(&file.path, source)),
        Ok(_) if file.is_unchanged() => Ok(()),
        Ok(_) | Err(Unpacked::Short) => Err(StageError::Changed { path: file.path.clone() }),
    }
}

/// Sends one large file: what differs from the former version that is there, or from where an earlier try ended; returns how much
/// moved.
async fn one(
    host: &dyn Transport,
    to: &str,
    file: &Wanted,
    has_former: bool,
    now: i64,
    meter: &Meter,
) -> Result<u64, StageError> {
    let target = format!("{}/{}", to.trim_end_matches('/'), file.name);
    let unlike = if has_former { delta::there(host, &file.path, &target, meter).await } else { None };
    let moved = if let Some(moved) = unlike {
        moved
    } else {
        make_dir_of(host, &target).await?;
        let mode = file.meta.permissions().mode() & 0o777 | 0o600;
        let (from, mtime) = (file.path.clone(), Some(file.stamp(now)));
        host.put(&Put { from, to: target, mode, mtime, meter: meter.clone() }).await?.sent
    };
    if file.is_unchanged() { Ok(moved) } else { Err(StageError::Changed { path: file.path.clone() }) }
}

/// Makes the directory of a file of a host.
pub(super) async fn make_dir_of(host: &dyn Transport, file: &str) -> Result<(), StageError> {
    let dir = file.rsplit_once('/').map_or(".", |(dir, _)| dir);
    let reply = host.exec(Exec::new(format!("umask 077; mkdir -p -- {}", sh(dir)))).await?;
    if reply.status.is_success() {
        return Ok(());
    }
    let host = host.host().to_owned();
    Err(StageError::There { host, action: "makes no directory", words: words(&reply.stderr) })
}
