//! From a host to here.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use tar::{Archive, Entry, EntryType};
use tokio::io::{AsyncWriteExt, copy};
use tokio::task::spawn_blocking;
use tokio_util::io::SyncIoBridge;

use crate::language::quote::sh;
use crate::reach::stage::{BUFFER, LARGE, Moved, Seen, StageError, checked, look, words};
use crate::reach::transport::{Get, Transport};

/// Fetches files from the directory `from` of a host into the directory `to`; directories with all that is in them. What is here
/// under a name is replaced when all of the new file has come. Returns what moved, and the names that the host does not have.
///
/// # Errors
/// When the host cannot be asked, sends something else, or a file is larger than `limit`. What came by then is here.
pub async fn fetch(
    host: &dyn Transport,
    from: &str,
    to: &Path,
    names: &[String],
    limit: u64,
) -> Result<(Moved, Vec<String>), StageError> {
    let there = look(host, from, names.iter().map(String::as_str)).await?;
    let odd = |name: &String| name.contains('\n');
    let missing: Vec<String> = names.iter().filter(|name| !there.contains_key(*name) && !odd(name)).cloned().collect();
    let mut moved = Moved { files: names.len() as u64, ..Moved::default() };
    let (mut large, mut small) = (Vec::new(), Vec::new());
    for name in names.iter().filter(|name| there.contains_key(*name) || odd(name)) {
        match there.get(name) {
            Some(seen) if seen.size > limit && !seen.is_dir => {
                return Err(StageError::TooLarge { name: name.clone(), size: seen.size, limit });
            }
            Some(seen) if seen.size >= LARGE && !seen.is_dir => large.push((name, *seen)),
            _ => small.push(name.clone()),
        }
    }
    if !small.is_empty() {
        let (files, bytes) = stream(host, from, to, small, limit).await?;
        moved.moved += files;
        moved.bytes += bytes;
    }
    for (name, seen) in large {
        one(host, from, to, (name, seen), limit).await?;
        moved.moved += 1;
        moved.bytes += seen.size;
    }
    Ok((moved, missing))
}

/// Fetches files as one stream.
async fn stream(
    host: &dyn Transport,
    from: &str,
    to: &Path,
    names: Vec<String>,
    limit: u64,
) -> Result<(u64, u64), StageError> {
    // Links are followed there: what they lead to is what a program here would have read.
    let mut channel = host.open(&format!("cd -- {} && exec tar -chf - --null -T -", sh(from))).await?;
    let list: Vec<u8> = names.iter().flat_map(|name| [b"./", name.as_bytes(), b"\0"].concat()).collect();
    let (mut ours, theirs) = tokio::io::duplex(BUFFER);
    let (stdin, stdout) = channel.split();
    let (host_name, to) = (host.host().to_owned(), to.to_owned());
    let unpacking =
        spawn_blocking(move || unpack(&host_name, SyncIoBridge::new(theirs), &to, &names.into_iter().collect(), limit));
    let asking = async {
        // A write that fails is explained by how the command ended.
        drop(stdin.write_all(&list).await);
        drop(stdin.shutdown().await);
    };
    let reading = async {
        let read = copy(stdout, &mut ours).await;
        drop(ours);
        read
    };
    let ((), _read) = tokio::join!(asking, reading);
    let unpacked = unpacking.await;
    let (status, complaints) = channel.wait().await?;
    let there = |words| StageError::There { host: host.host().to_owned(), action: "does not give files", words };
    match unpacked {
        Ok(Err(error @ StageError::Here { .. })) if status.is_success() => Err(error),
        Ok(Err(error @ (StageError::Strange { .. } | StageError::TooLarge { .. }))) => Err(error),
        _ if !status.is_success() => Err(there(words(&complaints))),
        Ok(unpacked) => unpacked,
        Err(error) => Err(there(error.to_string())),
    }
}

/// Takes out of a stream what was asked for. Whoever wrote it is not trusted.
pub(super) fn unpack(
    host: &str,
    stream: impl Read,
    to: &Path,
    asked: &HashSet<String>,
    limit: u64,
) -> Result<(u64, u64), StageError> {
    let strange = |what: String| StageError::Strange { host: host.to_owned(), what };
    let mut archive = Archive::new(stream);
    let (mut files, mut bytes) = (0, 0u64);
    for entry in archive.entries().map_err(|error| strange(format!("no archive ({error})")))? {
        let mut entry = entry.map_err(|error| strange(format!("a broken archive ({error})")))?;
        let name = plain(&entry).ok_or_else(|| {
            strange(format!(
                "`{}`, which leads out of the directory",
                String::from_utf8_lossy(&entry.path_bytes()).escape_debug()
            ))
        })?;
        if !is_asked(&name, asked) {
            return Err(strange(format!("`{}`, which nobody asked for", name.escape_debug())));
        }
        let path = to.join(&name);
        match entry.header().entry_type() {
            EntryType::Directory => fs::create_dir_all(&path).map_err(|source| StageError::Here { path, source })?,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                bytes += entry.size();
                if bytes > limit {
                    return Err(StageError::TooLarge { name, size: bytes, limit });
                }
                write(&mut entry, &path).map_err(|source| StageError::Here { path, source })?;
                files += 1;
            }
            other => {
                return Err(strange(format!("`{}` as {other:?}, which is no file", name.escape_debug())));
            }
        }
    }
    Ok((files, bytes))
}

/// Returns the name of an entry when every part of it is plain.
fn plain(entry: &Entry<'_, impl Read>) -> Option<String> {
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

/// Returns whether a name was asked for, itself or as a part of a directory.
fn is_asked(name: &str, asked: &HashSet<String>) -> bool {
    let ends = name.match_indices('/').map(|(at, _)| at).chain([name.len()]);
    let mut starts = ends.filter_map(|end| name.get(..end));
    starts.any(|start| asked.contains(start) || asked.contains(&format!("{start}/")))
}

/// Writes a file under a temporary name, gives it its time, and renames it.
fn write(entry: &mut Entry<'_, impl Read>, path: &Path) -> io::Result<()> {
    let part = part_of(path);
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let size = entry.size();
    let mode = entry.header().mode().unwrap_or(0o644) & 0o777 | 0o600;
    let mtime = entry.header().mtime().unwrap_or(0);
    // Not through a link that somebody put there.
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::create_new(&part)?;
    let written = io::copy(entry, &mut file)?;
    if written != size {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{written} of {size} bytes came")));
    }
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(mtime))?;
    drop(file);
    if path.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "a directory of that name is here"));
    }
    fs::rename(&part, path)
}

fn part_of(path: &Path) -> PathBuf {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    path.with_file_name(format!(".{name}.csync-part"))
}

/// Fetches one large file, from where an earlier try ended.
async fn one(
    host: &dyn Transport,
    from: &str,
    to: &Path,
    (name, seen): (&str, Seen),
    limit: u64,
) -> Result<(), StageError> {
    let path = to.join(checked(name)?);
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(|source| StageError::Here { path: dir.to_owned(), source })?;
    }
    let far = format!("{}/{name}", from.trim_end_matches('/'));
    host.get(&Get { from: far, to: path.clone(), mode: 0o644, limit }).await?;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seen.mtime).unwrap_or(0));
    let timed = File::options().append(true).open(&path).and_then(|file| file.set_modified(time));
    timed.map_err(|source| StageError::Here { path, source })
}
