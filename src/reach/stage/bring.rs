//! From here to a host.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};
use tokio::io::{AsyncWriteExt, copy};
use tokio::task::spawn_blocking;
use tokio_util::io::SyncIoBridge;

use crate::language::quote::sh;
use crate::reach::stage::{BUFFER, LARGE, Moved, StageError, checked, look, words};
use crate::reach::transport::{Exec, Put, Transport};

/// A file that the host lacks.
struct Wanted {
    name: String,
    path: PathBuf,
    meta: Metadata,
}

/// Brings files of the directory `from` to the directory `to` of a host, which is made; directories with all that is in them.
/// Returns when the host has them.
///
/// # Errors
/// When a file cannot be read here, or the host does not take it. What arrived by then need not move again.
pub async fn bring(host: &dyn Transport, from: &Path, to: &str, names: &[String]) -> Result<Moved, StageError> {
    let files = {
        let (from, names) = (from.to_owned(), names.to_vec());
        let found = spawn_blocking(move || files_of(&from, &names)).await;
        found.map_err(|error| here(Path::new("."), io::Error::other(error)))??
    };
    let there = look(host, to, files.iter().map(|file| file.name.as_str())).await?;
    let mut moved = Moved { files: files.len() as u64, ..Moved::default() };
    let lacking = files.into_iter().filter(|file| {
        let seen = there.get(&file.name);
        seen.is_none_or(|seen| (seen.size, seen.mtime) != (file.meta.size(), file.meta.mtime()))
    });
    let (large, small): (Vec<_>, Vec<_>) = lacking.partition(|file| file.meta.size() >= LARGE);
    moved.moved = (large.len() + small.len()) as u64;
    moved.bytes = large.iter().chain(&small).map(|file| file.meta.size()).sum();
    if !small.is_empty() {
        stream(host, to, small).await?;
    }
    for file in large {
        one(host, to, &file).await?;
    }
    Ok(moved)
}

/// Finds what is to be brought: files, and the files of directories.
fn files_of(from: &Path, names: &[String]) -> Result<Vec<Wanted>, StageError> {
    let mut files = Vec::new();
    for name in names {
        let path = from.join(checked(name)?);
        let meta = fs::metadata(&path).map_err(|source| here(&path, source))?;
        if !meta.is_dir() {
            files.push(Wanted { name: name.clone(), path, meta });
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
                let name = format!("{}/{below}", name.trim_end_matches('/'));
                files.push(Wanted { name, path: entry.path().to_owned(), meta });
            }
        }
    }
    Ok(files)
}

/// Sends files as one stream.
async fn stream(host: &dyn Transport, to: &str, files: Vec<Wanted>) -> Result<(), StageError> {
    let to = sh(to);
    let mut channel = host.open(&format!("umask 077; mkdir -p -- {to} && exec tar -xpf - -C {to}")).await?;
    let (ours, theirs) = tokio::io::duplex(BUFFER);
    // Reading files blocks; the stream of the connection does not.
    let packing = spawn_blocking(move || pack(files, SyncIoBridge::new(ours)));
    let (stdin, _) = channel.split();
    let mut theirs = tokio::io::BufReader::with_capacity(BUFFER, theirs);
    // A write that fails is explained by how the command ended.
    let sent = copy(&mut theirs, stdin).await;
    drop(theirs);
    if sent.is_ok() {
        drop(stdin.shutdown().await);
    }
    let packed = packing.await;
    let (status, complaints) = channel.wait().await?;
    match packed {
        Ok(Err(error @ (StageError::Changed { .. } | StageError::Name { .. }))) => Err(error),
        // The other end went away: it says why.
        _ if !status.is_success() => Err(StageError::There {
            host: host.host().to_owned(),
            action: "does not take files",
            words: words(&complaints),
        }),
        Ok(packed) => packed,
        Err(error) => Err(here(Path::new("."), io::Error::other(error))),
    }
}

fn pack(files: Vec<Wanted>, to: impl Write) -> Result<(), StageError> {
    let mut builder = Builder::new(to);
    for file in files {
        pack_one(&mut builder, &file)?;
    }
    let mut to = builder.into_inner().map_err(|source| here(Path::new("."), source))?;
    to.flush().map_err(|source| here(Path::new("."), source))
}

fn pack_one(builder: &mut Builder<impl Write>, file: &Wanted) -> Result<(), StageError> {
    let failed = |source| here(&file.path, source);
    let size = file.meta.size();
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_size(size);
    header.set_mode(file.meta.permissions().mode() & 0o777 | 0o600);
    header.set_mtime(u64::try_from(file.meta.mtime()).unwrap_or(0));
    let mut content = Counted { inner: File::open(&file.path).map_err(failed)?.take(size), read: 0 };
    // `./` keeps a name that begins with `-` from being an option anywhere.
    builder.append_data(&mut header, format!("./{}", file.name), &mut content).map_err(failed)?;
    let meta = fs::metadata(&file.path).map_err(failed)?;
    let same = (meta.size(), meta.mtime(), meta.mtime_nsec()) == (size, file.meta.mtime(), file.meta.mtime_nsec());
    if same && content.read == size { Ok(()) } else { Err(StageError::Changed { path: file.path.clone() }) }
}

/// Counts what was read of a file, which may have become shorter.
struct Counted<R> {
    inner: R,
    read: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(to)?;
        self.read += read as u64;
        Ok(read)
    }
}

/// Sends one large file, from where an earlier try ended.
async fn one(host: &dyn Transport, to: &str, file: &Wanted) -> Result<(), StageError> {
    let target = format!("{}/{}", to.trim_end_matches('/'), file.name);
    let dir = target.rsplit_once('/').map_or(to, |(dir, _)| dir);
    let reply = host.exec(Exec::new(format!("umask 077; mkdir -p -- {}", sh(dir)))).await?;
    if !reply.status.is_success() {
        let host = host.host().to_owned();
        return Err(StageError::There { host, action: "makes no directory", words: words(&reply.stderr) });
    }
    let mode = file.meta.permissions().mode() & 0o777 | 0o600;
    host.put(&Put { from: file.path.clone(), to: target.clone(), mode }).await?;
    // The time is what says next time that it is the same.
    let touch = format!("touch -d @{} -- {}", file.meta.mtime(), sh(&target));
    host.exec(Exec::new(touch)).await?;
    Ok(())
}

fn here(path: &Path, source: io::Error) -> StageError {
    StageError::Here { path: path.to_owned(), source }
}
