//! Many small files to a host, as one stream of `tar`: into a directory of their own beside where they go, where they are compared
//! with what was sent, and from there to their names.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufWriter, Read, Write};

use tar::{Builder, EntryType, Header};
use tokio::io::{AsyncWriteExt, copy_buf};
use tokio::task::spawn_blocking;
use tokio_util::io::SyncIoBridge;

use crate::language::quote::sh;
use crate::reach::stage::brought::{Note, place};
use crate::reach::stage::look::list;
use crate::reach::stage::{BUFFER, StageError, words};
use crate::reach::transport::{Channel, Checksum, Meter, Sum, Transport};

/// Most names in one command.
const NAMES: usize = 200;

/// How the directories of streams begin.
pub(super) const INBOX: &str = ".csync-in-";

/// Names a stream's directory: nobody else's is called so.
pub(super) fn inbox() -> String {
    let mut bytes = [0; 8];
    // Fails on kernels before 3.17; the process and the clock tell streams apart just as well.
    let _filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    format!("{INBOX}{:016x}{:x}{:x}", u64::from_le_bytes(bytes), std::process::id(), clock.tv_nsec)
}

/// A file that goes into a stream.
#[derive(Clone, Debug)]
pub(super) struct Packing<'a> {
    pub(super) name: &'a str,
    pub(super) size: u64,
    pub(super) mode: u32,
    /// Seconds and nanoseconds since 1970.
    pub(super) mtime: (i64, u32),
}

/// What went wrong with one file.
#[derive(Debug)]
pub(super) enum Unpacked {
    /// It cannot be read, or not be written any more.
    Failed(io::Error),
    /// It became shorter.
    Short,
}

/// From where files are read to where the connection is written to; what is small is gathered first, since each write across costs
/// microseconds.
pub(super) type Bridge = BufWriter<SyncIoBridge<tokio::io::DuplexStream>>;

/// Writes a stream.
pub(super) struct Packer<W: Write> {
    builder: Builder<W>,
    names: Vec<String>,
    /// A line of each file that can be named on one.
    sums: Sum,
    list: Vec<u8>,
    /// What is written down as brought.
    note: Note,
    /// Directories that are to be there, whatever is in them.
    dirs: Vec<u8>,
    meter: Meter,
}

impl<W: Write> Packer<W> {
    fn new(to: W, meter: Meter) -> Self {
        Self {
            builder: Builder::new(to),
            names: Vec::new(),
            sums: Sum::default(),
            list: Vec::new(),
            note: Note::default(),
            dirs: Vec::new(),
            meter,
        }
    }

    /// Has it written down that a file was brought.
    pub(super) fn brings(&mut self, file: &Packing<'_>) {
        self.note.file(file.name, file.size, file.mtime.0);
    }

    /// Has it written down what else was brought, or will be, and directories made.
    pub(super) fn note(&mut self, note: &Note, dirs: &[String]) -> Result<(), StageError> {
        self.note = note.clone();
        self.dirs = list(dirs.iter().map(String::as_str))?;
        Ok(())
    }

    /// Adds a file.
    pub(super) fn add(&mut self, file: &Packing<'_>, content: impl Read) -> Result<Checksum, Unpacked> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(file.size);
        header.set_mode(file.mode & 0o777 | 0o600);
        header.set_mtime(u64::try_from(file.mtime.0).unwrap_or(0));
        if file.mtime.1 > 0 {
            let time = format!("{}.{:09}", file.mtime.0, file.mtime.1);
            self.builder.append_pax_extensions([("mtime", time.as_bytes())]).map_err(Unpacked::Failed)?;
        }
        let mut content = Summed { inner: content.take(file.size), sum: Sum::default(), read: 0, meter: &self.meter };
        let name = format!("tree/{}", file.name);
        self.builder.append_data(&mut header, name, &mut content).map_err(Unpacked::Failed)?;
        if content.read != file.size {
            return Err(Unpacked::Short);
        }
        let sum = content.sum.finish();
        self.tell(file.name, sum);
        Ok(sum)
    }

    /// Takes a file into what the host compares.
    fn tell(&mut self, name: &str, sum: Checksum) {
        if is_printed_as_it_is(name) {
            self.list.extend_from_slice(format!("./{name}\0").as_bytes());
            self.sums.update(line_of(name, sum).as_bytes());
        }
        self.names.push(name.to_owned());
    }

    /// Ends it: what the host does with it comes last.
    fn finish(self) -> io::Result<()> {
        self.close()?.flush()
    }

    fn close(mut self) -> io::Result<W> {
        let done = done(&self.names, (!self.list.is_empty()).then(|| self.sums.finish()));
        let all = [
            ("list", self.list.as_slice()),
            ("brought", self.note.text()),
            ("dirs", self.dirs.as_slice()),
            ("done", done.as_bytes()),
        ];
        for (name, text) in all.into_iter().filter(|(name, text)| *name == "done" || !text.is_empty()) {
            let mut header = Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o600);
            self.builder.append_data(&mut header, name, text)?;
        }
        self.builder.into_inner()
    }
}

/// Returns whether `cksum` prints a name as it is.
pub(super) fn is_printed_as_it_is(name: &str) -> bool {
    !name.contains(['\n', '\r', '\\'])
}

/// Returns what `cksum` prints of a file.
pub(super) fn line_of(name: &str, sum: Checksum) -> String {
    format!("{sum} ./{name}\n")
}

/// Sums and counts what is read of a file, which may have become shorter.
struct Summed<'a, R> {
    inner: R,
    sum: Sum,
    read: u64,
    meter: &'a Meter,
}

impl<R: Read> Read for Summed<'_, R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(to)?;
        self.sum.update(to.get(..read).unwrap_or(&[]));
        self.read += read as u64;
        self.meter.count(read as u64);
        Ok(read)
    }
}

/// Returns the end of a stream alone, for files that came another way; with their checksums, in the order of their names.
pub(super) fn closing(names: &[String], sums: &[Checksum]) -> io::Result<Vec<u8>> {
    let mut end = Packer::new(Vec::new(), Meter::default());
    for (name, sum) in names.iter().zip(sums) {
        end.tell(name, *sum);
    }
    end.close()
}

/// Sends what `fill` packs to a directory of a host, which is made.
pub(super) async fn send(
    host: &dyn Transport,
    to: &str,
    meter: &Meter,
    fill: impl FnOnce(&mut Packer<Bridge>) -> Result<(), StageError> + Send + 'static,
) -> Result<(), StageError> {
    send_into(receiving(host, to).await?, host, meter, fill).await
}

/// Opens a stream to a directory of a host, which is made.
pub(super) async fn receiving(host: &dyn Transport, to: &str) -> Result<Channel, StageError> {
    let script = format!(
        r#"umask 077
        [ -d {to} ] || mkdir -p -- {to}; cd -- {to} || exit 73
        find . -maxdepth 1 -name '.csync-in-*' -mtime +1 -exec rm -rf {{}} + 2>/dev/null
        in=./.{inbox}
        mkdir "$in" || exit 73
        trap 'rm -rf "$in"' EXIT
        trap 'exit 143' HUP INT TERM
        tar -xopf - -C "$in" || exit 74
        if [ -e "$in/brought" ]; then mkdir -p -- {place} && mv -f -- "$in/brought" {place}/{inbox} || exit 77; fi
        if [ -e "$in/dirs" ]; then xargs -0 mkdir -p -- <"$in/dirs" || exit 76; fi
        . "$in/done""#,
        to = sh(to),
        place = sh(&place(to)),
        inbox = inbox().trim_start_matches('.'),
    );
    Ok(host.open(&script).await?)
}

/// Sends what `fill` packs through such a stream.
pub(super) async fn send_into(
    mut channel: Channel,
    host: &dyn Transport,
    meter: &Meter,
    fill: impl FnOnce(&mut Packer<Bridge>) -> Result<(), StageError> + Send + 'static,
) -> Result<(), StageError> {
    let (ours, theirs) = tokio::io::duplex(BUFFER);
    let meter = meter.clone();
    // Reading files blocks; the stream of the connection does not.
    let packing = spawn_blocking(move || {
        let ours = BufWriter::with_capacity(BUFFER, SyncIoBridge::new(ours));
        let mut packer = Packer::new(ours, meter);
        fill(&mut packer)?;
        packer.finish().map_err(|source| StageError::Here { path: ".".into(), source })
    });
    let (stdin, _) = channel.split();
    let mut theirs = tokio::io::BufReader::with_capacity(BUFFER, theirs);
    // In large pieces: in small ones each is a packet, and sshd sees to every one of them. A write that fails is explained by how
    // the command ended.
    let sent = copy_buf(&mut theirs, stdin).await;
    drop(theirs);
    if sent.is_ok() {
        drop(stdin.shutdown().await);
    }
    let packed = packing.await;
    let (status, complaints) = channel.wait().await?;
    match packed {
        // The other end went away: it says why.
        Ok(Err(StageError::Here { .. })) if !status.is_success() && sent.is_err() => {}
        Ok(Err(error)) => return Err(error),
        Ok(Ok(())) => {}
        Err(panic) => return Err(StageError::Here { path: ".".into(), source: io::Error::other(panic) }),
    }
    if status.is_success() {
        return Ok(());
    }
    let words = words(&complaints);
    Err(StageError::There { host: host.host().to_owned(), action: "does not take files", words })
}

/// What lies in a directory of a stream.
#[derive(Debug, Default)]
struct Level<'a> {
    files: Vec<&'a str>,
    dirs: BTreeMap<&'a str, Self>,
}

/// Returns the script that compares what arrived in `$in`, and moves it to where it belongs: a directory that is not there yet as a
/// whole, else its files, many in one command.
fn done(names: &[String], sums: Option<Checksum>) -> String {
    let mut top = Level::default();
    for name in names {
        let (dirs, file) = name.rsplit_once('/').unwrap_or(("", name));
        let dirs = dirs.split('/').filter(|part| !matches!(*part, "" | "."));
        dirs.fold(&mut top, |level, part| level.dirs.entry(part).or_default()).files.push(file);
    }
    let mut script = String::new();
    if let Some(sums) = sums {
        // Into a file: `cksum` writes each line by itself, and whoever reads a pipe is woken for each (half of what it costs).
        let _infallible = writeln!(
            script,
            "if command -v cksum >/dev/null; then\n\
             (cd \"$in/tree\" && xargs -0 cksum <../list >../sums)\n\
             [ \"$(cksum <\"$in/sums\")\" = '{sums}' ] || {{ echo 'what arrived is not what was sent' >&2; exit 75; }}\nfi"
        );
    }
    top.script(&mut script, "");
    script
}

impl Level<'_> {
    /// Adds the moves of a directory, `path` with a slash behind it.
    fn script(&self, script: &mut String, path: &str) {
        let into = sh(&format!("./{path}")).into_owned();
        for names in self.files.chunks(NAMES) {
            script.push_str("mv -f --");
            for name in names {
                let _infallible = write!(script, " \"$in\"/tree/{}", sh(&format!("{path}{name}")));
            }
            let _infallible = writeln!(script, " {into} || exit 76");
        }
        let dirs: Vec<_> = self.dirs.iter().map(|(name, level)| (format!("{path}{name}"), level)).collect();
        for dirs in dirs.chunks(NAMES) {
            script.push_str("set --\nfor d in");
            for (dir, _) in dirs {
                let _infallible = write!(script, " {}", sh(dir));
            }
            // A directory that is there, even an empty one, stays the one that it is. One that somebody made meanwhile is not
            // moved into: `mv` renames to a name within a directory, which fails.
            let _infallible = writeln!(
                script,
                "; do [ -e \"./$d\" ] || [ -h \"./$d\" ] || set -- \"$@\" \"$in/tree/$d\"; done\n\
                 [ $# -eq 0 ] || mv -f -- \"$@\" {into} 2>/dev/null"
            );
        }
        for (dir, level) in dirs {
            let there = sh(&format!("./{dir}")).into_owned();
            let _infallible = writeln!(
                script,
                "if [ -d \"$in\"/tree/{} ]; then\n[ -d {there} ] || mkdir -p {there} || exit 76",
                sh(&dir)
            );
            level.script(script, &format!("{dir}/"));
            script.push_str("fi\n");
        }
    }
}
