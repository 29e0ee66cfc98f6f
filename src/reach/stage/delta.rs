//! Large files that changed: where both ends have `rsync` and a former version lies where the file goes, only what differs moves.
//!
//! `rsync` here speaks to `rsync` there over a channel of the connection that stands, instead of an `ssh` of its own: what it starts
//! as its remote shell copies between it and two pipes of ours, and tells which command it wants there.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf, absolute};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

use crate::language::quote::sh;
use crate::reach::stage::pack::inbox;
use crate::reach::stage::{BUFFER, Seen, words as words_of};
use crate::reach::transport::{Meter, Transport, TransportError};

/// The remote shell of the `rsync` here. Its words are the host, which we know, and the command; then it copies both ways until
/// `rsync` there has ended. What runs behind `&` reads nothing, unless it is said from where.
const BRIDGE: &str = r#"shift
exec 3<&0
{ printf '%s\n' "$*"; exec cat <&3; } >up &
exec cat <down 3<&-
"#;

/// Where `rsync` there keeps what it has of a file, beside it, so that the next one goes on with that.
const PARTIAL: &str = ".csync-partial";

/// Longest command that `rsync` here may ask for.
const COMMAND: usize = 4096;

/// Which way a file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    There,
    Back,
}

/// Counts what goes the file's way.
struct Tally<'a> {
    way: Way,
    moved: AtomicU64,
    meter: &'a Meter,
}

impl<'a> Tally<'a> {
    const fn new(way: Way, meter: &'a Meter) -> Self {
        Self { way, moved: AtomicU64::new(0), meter }
    }

    fn count(&self, way: Way, bytes: u64) {
        if way == self.way {
            self.moved.fetch_add(bytes, Ordering::Relaxed);
            self.meter.count(bytes);
        }
    }

    /// Says what did not have to move of a file of this size, or why all of it must.
    fn told(&self, host: &dyn Transport, done: Result<(), Unlike>, size: u64) -> Option<u64> {
        let moved = self.moved.load(Ordering::Relaxed);
        match done {
            Ok(()) => {
                self.meter.spare(size.saturating_sub(moved));
                Some(moved)
            }
            Err(error) => {
                self.meter.expect(moved);
                tracing::debug!(host = host.host(), %error, "a changed file moves as a whole");
                None
            }
        }
    }
}

/// Why `rsync` did not do it.
#[derive(Debug, thiserror::Error)]
enum Unlike {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("rsync: {0}")]
    Rsync(String),
    #[error("rsync brought something else")]
    Strange,
}

/// Sends a file to where a former version of it lies. Returns how much moved; none where it must go as a whole, which tells then
/// what was wrong.
pub(super) async fn there(host: &dyn Transport, file: &Path, to: &str, meter: &Meter) -> Option<u64> {
    let size = fs::metadata(file).ok()?.len();
    // It is compared again: its time may be the same.
    let options = ["--ignore-times", "--copy-links", "--times", "--perms", "--chmod=u+rw", "--partial-dir"];
    let mut arguments: Vec<OsString> = options.map(Into::into).into();
    arguments.push(PARTIAL.into());
    arguments.extend([absolute(file).ok()?.into(), far(to)]);
    let tally = Tally::new(Way::There, meter);
    let sent = rsync(host, &arguments, None, &tally).await;
    tally.told(host, sent, size)
}

/// Returns the script that removes what `rsync` left of a file of a host that now moves as a whole.
pub(super) fn forget_partial(file: &str) -> String {
    let (dir, name) = file.rsplit_once('/').unwrap_or((".", file));
    let partial = format!("{dir}/{PARTIAL}");
    format!("rm -f -- {}; rmdir -- {} 2>/dev/null", sh(&format!("{partial}/{name}")), sh(&partial))
}

/// Fetches a file to where a former version of it lies, likewise: `rsync` writes to a directory of its own, in which there must be
/// this one file then, as large as the host said and not larger.
pub(super) async fn back(host: &dyn Transport, from: &str, to: &Path, seen: Seen, meter: &Meter) -> Option<u64> {
    let (dir, name) = (to.parent()?, to.file_name()?);
    let inbox = Inbox::new(&dir.join(inbox())).ok()?;
    let tally = Tally::new(Way::Back, meter);
    let came = fetch(host, from, (dir, name), &inbox.0, seen, &tally).await;
    tally.told(host, came, seen.size)
}

async fn fetch(
    host: &dyn Transport,
    from: &str,
    (dir, name): (&Path, &OsStr),
    inbox: &Path,
    seen: Seen,
    tally: &Tally<'_>,
) -> Result<(), Unlike> {
    let mut basis = OsString::from("--copy-dest=");
    basis.push(absolute(dir)?);
    let options = ["--ignore-times", "--copy-links", "--times", "--no-perms", "--no-devices", "--no-specials"];
    let mut arguments: Vec<OsString> = options.map(Into::into).into();
    arguments.extend([basis, far(from), absolute(inbox)?.join(name).into()]);
    rsync(host, &arguments, Some(seen.size), tally).await?;
    let mut entries = fs::read_dir(inbox)?;
    let only = entries.next().transpose()?.filter(|only| only.file_name() == name);
    let arrived = inbox.join(name);
    let meta = fs::symlink_metadata(&arrived)?;
    if only.is_none() || entries.next().is_some() || !meta.is_file() || meta.size() != seen.size {
        return Err(Unlike::Strange);
    }
    fs::set_permissions(&arrived, fs::Permissions::from_mode(seen.mode & 0o777 | 0o600))?;
    Ok(fs::rename(&arrived, dir.join(name))?)
}

/// A place of a host, as `rsync` takes it: the name before the colon is nobody's.
fn far(path: &str) -> OsString {
    let path = if path.starts_with('/') { path.to_owned() } else { format!("./{path}") };
    format!("host:{path}").into()
}

/// A directory that goes when nobody needs it any more.
struct Inbox(PathBuf);

impl Inbox {
    fn new(path: &Path) -> io::Result<Self> {
        DirBuilder::new().mode(0o700).create(path)?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Runs `rsync` here; no file that it writes may be larger than `most`.
async fn rsync(
    host: &dyn Transport,
    arguments: &[OsString],
    most: Option<u64>,
    tally: &Tally<'_>,
) -> Result<(), Unlike> {
    let ours = Inbox::new(&std::env::temp_dir().join(inbox()))?;
    let (up, down) = (ours.0.join("up"), ours.0.join("down"));
    for pipe in [&up, &down] {
        mknodat(CWD, pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).map_err(io::Error::from)?;
    }
    fs::write(ours.0.join("bridge"), BRIDGE)?;
    // Both ends at once: neither waits for the other to be opened.
    let both = |path: &Path| pipe::OpenOptions::new().read_write(true).open_receiver(path);
    let waiting = both(&up)?;
    let mut down = pipe::OpenOptions::new().read_write(true).open_sender(&down)?;
    let mut child = start(&ours.0, arguments, most)?;
    let talked = talk(host, &mut child, waiting, &up, &mut down, tally).await;
    // Its remote shell is at its end then, and so it is.
    drop(down);
    if let Err(error) = talked {
        child.kill().await?;
        return Err(error);
    }
    let status = child.wait().await?;
    if status.success() { Ok(()) } else { Err(complaint(&ours.0)) }
}

fn start(dir: &Path, arguments: &[OsString], most: Option<u64>) -> io::Result<Child> {
    // In blocks of half a kilobyte, or of a whole one in some shells.
    let limit = most.map_or_else(String::new, |most| format!("ulimit -f {}; ", most / 512 + 64));
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(format!("{limit}exec rsync \"$@\"")).arg("rsync");
    command.args(["--protect-args", "--no-whole-file", "--rsh=/bin/sh ./bridge"]).args(arguments);
    command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(dir.join("words"))?);
    command.env_remove("RSYNC_OLD_ARGS").kill_on_drop(true).spawn()
}

fn complaint(dir: &Path) -> Unlike {
    let words = fs::read(dir.join("words")).unwrap_or_default();
    Unlike::Rsync(words_of(&words))
}

/// Lets both speak until the far one has ended.
async fn talk(
    host: &dyn Transport,
    child: &mut Child,
    mut waiting: pipe::Receiver,
    up: &Path,
    down: &mut pipe::Sender,
    tally: &Tally<'_>,
) -> Result<(), Unlike> {
    let command = tokio::select! {
        command = wanted(&mut waiting) => command?,
        _ = child.wait() => return Err(complaint(up.parent().unwrap_or(up))),
    };
    // From now on its end is seen: somebody else holds the pipe.
    let mut up = pipe::OpenOptions::new().open_receiver(up)?;
    drop(waiting);
    let mut channel = host.open(&format!("exec {command}")).await?;
    let (stdin, stdout) = channel.split();
    let upward = async {
        // A write that fails is explained by how it ended.
        drop(pass(&mut up, stdin, |bytes| tally.count(Way::There, bytes)).await);
        drop(stdin.shutdown().await);
        std::future::pending::<()>().await;
    };
    let downward = pass(stdout, down, |bytes| tally.count(Way::Back, bytes));
    tokio::select! {
        () = upward => {}
        done = downward => done?,
    }
    let (status, words) = channel.wait().await?;
    if status.is_success() { Ok(()) } else { Err(Unlike::Rsync(words_of(&words))) }
}

/// Reads the command: byte by byte, since what comes behind it is not for us.
async fn wanted(from: &mut (impl AsyncRead + Unpin)) -> Result<String, Unlike> {
    let mut command = Vec::new();
    loop {
        match from.read_u8().await? {
            b'\n' => break,
            byte if command.len() < COMMAND => command.push(byte),
            _ => return Err(Unlike::Strange),
        }
    }
    let command = String::from_utf8(command).map_err(|_| Unlike::Strange)?;
    if command.starts_with("rsync --server ") { Ok(command) } else { Err(Unlike::Strange) }
}

async fn pass(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    count: impl Fn(u64),
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(buffer.get(..read).unwrap_or(&[])).await?;
        count(read as u64);
    }
}
