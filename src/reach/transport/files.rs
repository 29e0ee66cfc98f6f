//! Single files, there and back: a stream through `cat` under a temporary name, then renamed; what arrived already of the same
//! file is not sent again.

use std::io::SeekFrom;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWriteExt, BufReader};

use crate::language::quote::sh;
use crate::reach::transport::{Exec, Transport, TransportError};

/// How much is read and written at once: large enough to be cheap, small enough for fair shares of a connection.
const BUFFER: usize = 256 * 1024;

/// A file to be brought to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// Where it is here.
    pub from: PathBuf,
    /// Where it goes there; its directory must exist.
    pub to: String,
    /// Its permissions there.
    pub mode: u32,
}

/// A file to be brought from a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Get {
    /// Where it is there.
    pub from: String,
    /// Where it goes here; its directory must exist.
    pub to: PathBuf,
    /// Its permissions here.
    pub mode: u32,
    /// The largest that is taken.
    pub limit: u64,
}

/// What was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// How large the file is.
    pub size: u64,
    /// How much of it went over the connection this time.
    pub sent: u64,
}

/// Brings a file to a host.
pub(super) async fn put(host: &dyn Transport, put: &Put) -> Result<Moved, TransportError> {
    let here = |source| TransportError::File { path: put.from.clone(), source };
    let mut file = File::open(&put.from).await.map_err(here)?;
    let meta = file.metadata().await.map_err(here)?;
    let size = meta.len();
    let name = far(&put.to);
    let part = far_part(&name, &format!("{size}-{}.{}", meta.mtime(), meta.mtime_nsec()));
    let script = format!(
        "to={} part={} size={size}
        umask 077
        has=$(wc -c 2>/dev/null <\"$part\") && [ \"$has\" -le $size ] || has=0
        [ \"$has\" -gt 0 ] || : >\"$part\" || exit 73
        echo $((has))
        cat >>\"$part\" || exit 74
        has=$(wc -c <\"$part\") && [ \"$has\" -eq $size ] || {{ echo \"$((has)) of $size bytes arrived\" >&2; exit 75; }}
        chmod {:o} \"$part\" && mv -f \"$part\" \"$to\"",
        sh(&name),
        sh(&part),
        put.mode & 0o7777
    );
    let mut channel = host.open(&script).await?;
    let (stdin, stdout) = channel.split();
    let mut stdout = BufReader::new(stdout);
    let mut line = String::new();
    let greeted = (&mut stdout).take(32).read_line(&mut line).await;
    let has: Option<u64> = greeted.ok().and_then(|_| line.trim().parse().ok());
    if let Some(has) = has {
        file.seek(SeekFrom::Start(has)).await.map_err(here)?;
        // A write that fails is explained by how the command ended.
        let mut file = BufReader::with_capacity(BUFFER, file.take(size - has.min(size)));
        drop(tokio::io::copy_buf(&mut file, stdin).await);
        drop(stdin.shutdown().await);
    }
    let (status, stderr) = channel.wait().await?;
    match has {
        Some(has) if status.is_success() => Ok(Moved { size, sent: size - has.min(size) }),
        _ => Err(far_file(host, &put.to, &stderr, &status.to_string())),
    }
}

/// Brings a file from a host.
pub(super) async fn get(host: &dyn Transport, get: &Get) -> Result<Moved, TransportError> {
    let name = far(&get.from);
    let quoted = sh(&name);
    // Time and inode tell two files of the same name apart, where `stat` can say them.
    let look = format!(
        "[ -f {quoted} ] || {{ echo 'no such file' >&2; exit 66; }}
        size=$(wc -c <{quoted}) && echo \"$((size)) $(stat -L -c %Y.%i -- {quoted} 2>/dev/null || stat -L -f %m.%i -- {quoted} 2>/dev/null)\""
    );
    let reply = host.exec(Exec::new(look)).await?;
    let stamp = String::from_utf8_lossy(&reply.stdout).trim().to_owned();
    let size: Option<u64> = stamp.split(' ').next().and_then(|size| size.parse().ok());
    let Some(size) = size.filter(|_| reply.status.is_success()) else {
        return Err(far_file(host, &get.from, &reply.stderr, &reply.status.to_string()));
    };
    if size > get.limit {
        let detail = format!("it has {size} bytes, {} are allowed", get.limit);
        return Err(TransportError::FarFile { host: host.host().to_owned(), path: get.from.clone(), detail });
    }
    let part = near_part(&get.to, &format!("{}:{name}:{stamp}", host.host()));
    let here = |source| TransportError::File { path: part.clone(), source };
    let mut file = File::options().create(true).append(true).mode(0o600).open(&part).await.map_err(here)?;
    let mut has = file.metadata().await.map_err(here)?.size();
    if has > size {
        file.set_len(0).await.map_err(here)?;
        has = 0;
    }
    let script = if has == 0 { format!("exec cat <{quoted}") } else { format!("exec tail -c +{} <{quoted}", has + 1) };
    let mut channel = host.open(&script).await?;
    let (_, stdout) = channel.split();
    // Never more than was announced: a file that grows, or a host that lies, fills no disk.
    let mut limited = BufReader::with_capacity(BUFFER, stdout.take(size - has));
    let copied = tokio::io::copy_buf(&mut limited, &mut file).await.map_err(here);
    file.flush().await.map_err(here)?;
    let (status, stderr) = channel.wait().await?;
    let copied = copied?;
    if !status.is_success() || has + copied != size {
        return Err(far_file(host, &get.from, &stderr, &format!("{status}, {} of {size} bytes arrived", has + copied)));
    }
    file.set_permissions(std::fs::Permissions::from_mode(get.mode & 0o7777)).await.map_err(here)?;
    drop(file);
    tokio::fs::rename(&part, &get.to).await.map_err(|source| TransportError::File { path: get.to.clone(), source })?;
    Ok(Moved { size, sent: copied })
}

/// Keeps a name from being taken for an option.
fn far(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("./{path}") }
}

/// Returns the temporary name beside a file of a host: the same for the same content, so that a later try goes on with it.
fn far_part(path: &str, stamp: &str) -> String {
    let (dir, name) = path.rsplit_once('/').unwrap_or((".", path));
    format!("{dir}/{}", part_name(name, stamp))
}

/// Returns the temporary name beside a file here.
fn near_part(path: &Path, stamp: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(part_name(&name, stamp))
}

/// A long name plus a suffix would be too long for a filesystem.
fn part_name(name: &str, stamp: &str) -> String {
    let hash = blake3::hash(format!("{name}\n{stamp}").as_bytes()).to_hex();
    format!(".csync-{}.part", hash.get(..16).unwrap_or_default())
}

fn far_file(host: &dyn Transport, path: &str, stderr: &[u8], otherwise: &str) -> TransportError {
    let words = String::from_utf8_lossy(stderr);
    let detail = words.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or(otherwise).trim().to_owned();
    TransportError::FarFile { host: host.host().to_owned(), path: path.to_owned(), detail }
}
