//! Single files, there and back: a stream through `cat` under a temporary name, compared by size and checksum, then renamed; what
//! arrived already of the same file is not sent again.

use std::fs::{File, Metadata, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::language::quote::sh;
use crate::reach::transport::meter::Meter;
use crate::reach::transport::pull::Pull;
use crate::reach::transport::stream::Channel;
use crate::reach::transport::sum::{Checksum, Sum};
use crate::reach::transport::{Exec, Transport, TransportError};

/// How much is read and written at once: large enough to be cheap, small enough for fair shares of a connection.
const BUFFER: usize = 256 * 1024;

/// Buffers between whoever reads and whoever writes: one of them works while the other waits.
const AHEAD: usize = 4;

/// How long reading a file once more may take, on a host.
pub(crate) const SUMMING: Duration = Duration::from_hours(6);

/// A file to be brought to a host.
#[derive(Clone, Debug)]
pub struct Put {
    /// Where it is here.
    pub from: PathBuf,
    /// Where it goes there; its directory must exist.
    pub to: String,
    /// Its permissions there.
    pub mode: u32,
    /// Its modification time there, seconds and nanoseconds since 1970; none is the time of its arrival.
    pub mtime: Option<(i64, u32)>,
    /// Counts what moves.
    pub meter: Meter,
}

/// A file to be brought from a host.
#[derive(Clone, Debug)]
pub struct Get {
    /// Where it is there.
    pub from: String,
    /// Where it goes here; its directory must exist.
    pub to: PathBuf,
    /// Its permissions here.
    pub mode: u32,
    /// Its modification time here; none is the time of its arrival.
    pub mtime: Option<i64>,
    /// The largest that is taken.
    pub limit: u64,
    /// Counts what moves.
    pub meter: Meter,
}

/// What was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// How large the file is.
    pub size: u64,
    /// How much of it went over the connection this time.
    pub sent: u64,
}

/// A file that is being written on a host, under a temporary name.
pub(crate) struct Landing<'a> {
    host: &'a dyn Transport,
    /// Its name, and the one it has meanwhile; neither can be taken for an option.
    name: String,
    part: String,
    size: u64,
    channel: Channel,
    /// What was there of it already.
    pub(crate) has: u64,
}

impl<'a> Landing<'a> {
    /// Opens it. `stamp` tells contents apart: what is there under the same one is gone on with, and what is there of another content
    /// goes, of which nobody needs the rest. The host's name tells halves apart too: where two hosts are one filesystem, both may be
    /// given the same file at once, and each would write into the other's half.
    pub(crate) async fn open(
        host: &'a dyn Transport,
        to: &str,
        size: u64,
        stamp: &str,
    ) -> Result<Self, TransportError> {
        let name = far(to);
        let (halves, part) = far_part(&name, host.host(), &format!("{size}-{stamp}"));
        let script = format!(
            "to={} halves={} part={} size={size}
            umask 077
            [ ! -d \"$to\" ] || {{ echo 'a directory of that name is there' >&2; exit 73; }}
            for half in \"$halves\"*.part; do [ \"$half\" = \"$part\" ] || rm -f -- \"$half\"; done
            has=$(wc -c 2>/dev/null <\"$part\") && [ \"$has\" -le $size ] || has=0
            [ \"$has\" -gt 0 ] || : >\"$part\" || exit 73
            echo $((has))
            cat >>\"$part\" || {{ [ $? -gt 128 ] || rm -f -- \"$part\"; exit 74; }}
            has=$(wc -c <\"$part\") && [ \"$has\" -eq $size ] || {{ echo \"$((has)) of $size bytes arrived\" >&2; exit 75; }}
            cksum <\"$part\"",
            sh(&name),
            sh(&halves),
            sh(&part),
        );
        let mut channel = host.open(&script).await?;
        let mut line = String::new();
        // Byte by byte would be read from below a buffer otherwise.
        let mut greeting = BufReader::with_capacity(64, channel.split().1).take(32);
        let greeted = greeting.read_line(&mut line).await;
        if let Some(has) = greeted.ok().and_then(|_| line.trim().parse().ok()) {
            return Ok(Self { host, name, part, size, channel, has });
        }
        let (status, stderr) = channel.wait().await?;
        Err(far_file(host, to, &stderr, &status.to_string()))
    }

    /// Writes more of it; returns whether the host takes it. Where it does not, [`Landing::close`] says why.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        self.channel.split().0.write_all(bytes).await.is_ok()
    }

    /// Gives it up: where the host is still there, nothing is gone on with. What is full would stay full, and whoever lists the directory
    /// would find it.
    pub(crate) async fn discard(self) {
        // Nobody writes there any more, nor begins to, once that is over.
        if self.channel.wait().await.is_ok() {
            remove_part(self.host, &self.part).await;
        }
    }

    /// Ends it, compares, and gives it its name. Without a checksum to compare with, its size has to do.
    pub(crate) async fn close(
        mut self,
        sum: Option<Checksum>,
        mode: u32,
        mtime: Option<(i64, u32)>,
    ) -> Result<(), TransportError> {
        let (stdin, stdout) = self.channel.split();
        drop(stdin.shutdown().await);
        let mut line = String::new();
        drop(stdout.take(64).read_to_string(&mut line).await);
        let (status, stderr) = self.channel.wait().await?;
        if !matches!(status.code(), 0 | 127) {
            // The host says so: the connection is there.
            remove_part(self.host, &self.part).await;
            return Err(far_file(self.host, &self.name, &stderr, &status.to_string()));
        }
        let (part, name) = (sh(&self.part), sh(&self.name));
        let there = Checksum::read(&line);
        if let (Some(sum), Some(there)) = (sum, there)
            && (sum != there || there.size != self.size)
        {
            // The next try begins anew.
            remove_part(self.host, &self.part).await;
            let detail =
                format!("it has the checksum {there} there, and {sum} here: it was spoilt on its way, or changed");
            return Err(far_file(self.host, &self.name, &[], &detail));
        }
        // Parts of a second are not for every `touch`.
        let touch = mtime.map_or_else(String::new, |(seconds, nanos)| match nanos {
            0 => format!("touch -d @{seconds} {part} && "),
            _ => format!("{{ touch -d @{seconds}.{nanos:09} {part} 2>/dev/null || touch -d @{seconds} {part}; }} && "),
        });
        let script = format!(
            "{{ chmod {:o} {part} && {touch}mv -f {part} {name}; }} || {{ rm -f {part}; exit 74; }}",
            mode & 0o7777
        );
        let reply = self.host.exec(Exec::new(script)).await?;
        if !reply.status.is_success() {
            return Err(far_file(self.host, &self.name, &reply.stderr, &reply.status.to_string()));
        }
        Ok(())
    }
}

/// Removes what arrived of a file. Where that fails, the next try for the same file does it.
async fn remove_part(host: &dyn Transport, part: &str) {
    drop(host.exec(Exec::new(format!("rm -f {}", sh(part)))).await);
}

/// Brings a file to a host.
pub(super) async fn put(host: &dyn Transport, put: &Put) -> Result<Moved, TransportError> {
    let here = |source| TransportError::File { path: put.from.clone(), source };
    let file = File::open(&put.from).map_err(here)?;
    let meta = file.metadata().map_err(here)?;
    let size = meta.len();
    let stamp = format!("{}.{}", meta.mtime(), meta.mtime_nsec());
    let mut landing = Landing::open(host, &put.to, size, &stamp).await?;
    let has = landing.has;
    put.meter.spare(has);
    let (to, mut chunks) = mpsc::channel(AHEAD);
    let reading = spawn_blocking(move || read(file, size, has, &to));
    while let Some(chunk) = chunks.recv().await {
        // A write that fails is explained by how the command ended.
        if !landing.write(&chunk).await {
            break;
        }
        put.meter.count(chunk.len() as u64);
    }
    drop(chunks);
    let sum = match joined(reading).await {
        Ok(sum) => sum,
        Err(source) => {
            landing.discard().await;
            return Err(here(source));
        }
    };
    landing.close(sum, put.mode, put.mtime).await?;
    Ok(Moved { size, sent: size - has.min(size) })
}

/// Reads a file for whoever sends it; returns its checksum, or none when nobody wants the rest. What was sent before is summed too.
fn read(mut file: File, size: u64, has: u64, to: &mpsc::Sender<Bytes>) -> io::Result<Option<Checksum>> {
    let mut sum = Sum::default();
    let mut at = 0;
    while at < size {
        let end = if at < has { has } else { size };
        let most = end - at;
        let mut chunk = vec![0; usize::try_from(most).unwrap_or(BUFFER).min(BUFFER)];
        let read = file.read(&mut chunk)?;
        if read == 0 {
            break;
        }
        chunk.truncate(read);
        sum.update(&chunk);
        if at >= has && to.blocking_send(chunk.into()).is_err() {
            return Ok(None);
        }
        at += read as u64;
    }
    Ok(Some(sum.finish()))
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
    let (part, held) = hold_part(&get.to, &format!("{}:{name}:{stamp}", host.host()))?;
    let here = |source| TransportError::File { path: part.clone(), source };
    // The lock is on what was opened: it holds until the file has its name, whoever is done with it before.
    let file = held.try_clone().map_err(here)?;
    let mut has = file.metadata().map_err(here)?.size();
    if has > size {
        file.set_len(0).map_err(here)?;
        has = 0;
    }
    get.meter.spare(has);
    let received = receive(host, get, &quoted, file, has, size).await;
    let (sum, copied) = match received {
        Ok(received) => received,
        Err(Broken::Here(source)) => return Err(here(source)),
        Err(Broken::There(error)) => return Err(error),
    };
    let reply = host.exec(Exec::new(format!("cksum <{quoted}")).reading_files()).await?;
    if let Some(there) = Checksum::read(&String::from_utf8_lossy(&reply.stdout))
        && there != sum
    {
        drop(std::fs::remove_file(&part));
        let detail = format!("it has the checksum {there} there, and {sum} here: it was spoilt on its way, or changed");
        return Err(far_file(host, &get.from, &[], &detail));
    }
    settle(&part, get).map_err(|source| TransportError::File { path: get.to.clone(), source })?;
    Ok(Moved { size, sent: copied })
}

/// Most that one file is fetched at a time by different callers.
const AT_A_TIME: u32 = 64;

/// Opens what an earlier try left of a file, or begins it, and keeps others from it: two that add to one would spoil it. Whoever comes
/// meanwhile fetches beside it, into the next name; where an earlier try ended, nobody holds the first.
fn hold_part(to: &Path, stamp: &str) -> Result<(PathBuf, File), TransportError> {
    let mut nth = 0;
    loop {
        let part = near_part(to, &if nth == 0 { stamp.to_owned() } else { format!("{stamp}:{nth}") });
        let here = |source| TransportError::File { path: part.clone(), source };
        // Not through a link that somebody put there.
        let file = File::options().create(true).read(true).append(true).mode(0o600).custom_flags(NO_FOLLOW).open(&part);
        let file = file.map_err(here)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if nth < AT_A_TIME => nth += 1,
            Err(TryLockError::WouldBlock) => return Err(here(io::ErrorKind::WouldBlock.into())),
            // Where nothing can be locked, no two of one engine meet all the same: they claim what they fetch.
            Err(TryLockError::Error(_)) => return Ok((part, file)),
            Ok(()) => {
                // Who held it before may have given it its name since it was opened.
                let is_it = |meta: Metadata| Some(meta.ino()) == file.metadata().ok().map(|open| open.ino());
                if std::fs::symlink_metadata(&part).is_ok_and(is_it) {
                    return Ok((part, file));
                }
            }
        }
    }
}

#[expect(clippy::cast_possible_wrap, reason = "a flag, not a number")]
const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;

/// Why a file did not come.
enum Broken {
    Here(io::Error),
    There(TransportError),
}

/// Receives what is lacking of a file; returns the checksum of the whole, and how much came.
async fn receive(
    host: &dyn Transport,
    get: &Get,
    quoted: &str,
    file: File,
    has: u64,
    size: u64,
) -> Result<(Checksum, u64), Broken> {
    let mut pull = Pull::open(host, quoted, (has, size), "").await.map_err(Broken::There)?;
    let (to, chunks) = mpsc::channel(AHEAD);
    let writing = spawn_blocking(move || write(file, has, chunks));
    let mut copied = 0;
    loop {
        let chunk = pull.next().await;
        if chunk.is_empty() {
            break;
        }
        copied += chunk.len() as u64;
        get.meter.count(chunk.len() as u64);
        // Whoever writes says why it does not.
        if to.send(chunk.into()).await.is_err() {
            break;
        }
    }
    drop(to);
    let sum = joined(writing).await.map_err(Broken::Here)?;
    let (status, stderr) = pull.wait().await.map_err(Broken::There)?;
    if !status.is_success() || has + copied != size {
        let otherwise = format!("{status}, {} of {size} bytes arrived", has + copied);
        return Err(Broken::There(far_file(host, &get.from, &stderr, &otherwise)));
    }
    Ok((sum, copied))
}

/// Writes what comes behind what is there; returns the checksum of all.
fn write(mut file: File, has: u64, mut chunks: mpsc::Receiver<Bytes>) -> io::Result<Checksum> {
    let mut sum = Sum::default();
    if has > 0 {
        file.seek(SeekFrom::Start(0))?;
        let mut before = (&file).take(has);
        let mut buffer = vec![0; BUFFER];
        loop {
            match before.read(&mut buffer)? {
                0 => break,
                read => sum.update(buffer.get(..read).unwrap_or(&[])),
            }
        }
    }
    while let Some(chunk) = chunks.blocking_recv() {
        sum.update(&chunk);
        file.write_all(&chunk)?;
    }
    Ok(sum.finish())
}

/// Gives a file its time, its permissions and its name.
fn settle(part: &Path, get: &Get) -> io::Result<()> {
    if let Some(mtime) = get.mtime {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(mtime).unwrap_or(0));
        File::options().append(true).open(part)?.set_modified(time)?;
    }
    std::fs::set_permissions(part, std::fs::Permissions::from_mode(get.mode & 0o7777))?;
    std::fs::rename(part, &get.to)
}

async fn joined<T>(work: JoinHandle<io::Result<T>>) -> io::Result<T> {
    work.await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

/// Keeps a name from being taken for an option.
fn far(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("./{path}") }
}

/// Returns the temporary name beside a file of a host: the same for the same content, so that a later try goes on with it; and how
/// those of all its contents begin.
fn far_part(path: &str, host: &str, stamp: &str) -> (String, String) {
    let (dir, name) = path.rsplit_once('/').unwrap_or((".", path));
    let halves = format!("{dir}/.csync-{}-", hash(&format!("{name}\n{host}")));
    let part = format!("{halves}{}.part", hash(stamp));
    (halves, part)
}

/// Returns the temporary name beside a file here.
fn near_part(path: &Path, stamp: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".csync-{}.part", hash(&format!("{name}\n{stamp}"))))
}

/// A long name plus a suffix would be too long for a filesystem.
fn hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().get(..16).unwrap_or_default().to_owned()
}

fn far_file(host: &dyn Transport, path: &str, stderr: &[u8], otherwise: &str) -> TransportError {
    let words = String::from_utf8_lossy(stderr);
    let detail = words.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or(otherwise).trim().to_owned();
    TransportError::FarFile { host: host.host().to_owned(), path: path.to_owned(), detail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reach::transport::Local;

    fn parts(dir: &Path) -> Vec<String> {
        let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut parts: Vec<String> =
            names.filter(|name| Path::new(name).extension().is_some_and(|it| it == "part")).collect();
        parts.sort();
        parts
    }

    #[tokio::test]
    async fn what_nobody_goes_on_with_does_not_stay() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("it's large").to_str().unwrap().to_owned();
        let host = Local::transport();
        // The connection is lost: it is gone on with.
        let mut cut = Landing::open(&host, &to, 10, "first").await.unwrap();
        assert!(cut.write(b"1").await);
        let first = parts(dir.path());
        assert_eq!(first.len(), 1);
        while std::fs::metadata(dir.path().join(&first[0])).unwrap().len() == 0 {
            tokio::task::yield_now().await;
        }
        drop(cut);
        assert_eq!(parts(dir.path()), first);
        // Of another host that has the same disk, and of another file.
        let (_, others) = far_part(&to, "another", "10-first");
        std::fs::write(&others, "").unwrap();
        std::fs::write(dir.path().join(".csync-0123456789abcdef-0.part"), "").unwrap();
        let mut changed = Landing::open(&host, &to, 10, "second").await.unwrap();
        assert!(!parts(dir.path()).contains(&first[0]), "another content came: nobody needs the half of that");
        assert_eq!(parts(dir.path()).len(), 3);
        assert!(changed.write(b"four").await);
        let said = changed.close(None, 0o600, None).await.unwrap_err().to_string();
        assert!(said.contains("4 of 10 bytes arrived"), "{said}");
        assert_eq!(parts(dir.path()).len(), 2, "the others'");
        let given_up = Landing::open(&host, &to, 10, "third").await.unwrap();
        assert_eq!(parts(dir.path()).len(), 3);
        given_up.discard().await;
        assert_eq!(parts(dir.path()).len(), 2);
        let mut whole = Landing::open(&host, &to, 4, "fourth").await.unwrap();
        assert!(whole.write(b"four").await);
        whole.close(None, 0o600, None).await.unwrap();
        assert_eq!((std::fs::read(&to).unwrap(), parts(dir.path()).len()), (b"four".to_vec(), 2));
    }

    #[tokio::test]
    async fn what_gets_no_name_does_not_stay() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("there").to_str().unwrap().to_owned();
        let host = Local::transport();
        let mut landing = Landing::open(&host, &to, 1, "s").await.unwrap();
        assert!(landing.write(b"1").await);
        // Somebody is faster, with something that does not give way.
        std::fs::create_dir_all(dir.path().join("there").join(parts(dir.path()).remove(0)).join("x")).unwrap();
        landing.close(None, 0o600, None).await.unwrap_err();
        assert_eq!(parts(dir.path()), Vec::<String>::new());
    }
}
