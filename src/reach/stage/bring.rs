//! From here to a host.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::spawn_blocking;

use crate::language::quote::sh;
use crate::reach::clock;
use crate::reach::stage::brought::{Brought, Note, write};
use crate::reach::stage::ledger::{Ledger, Tidy};
use crate::reach::stage::look::{Seen, here, list, look, sums, with_those_above};
use crate::reach::stage::pack::{Bridge, Packer, Packing, Unpacked, send};
use crate::reach::stage::{Filling, LARGE, Moved, StageError, checked, delta, plain, streams, words};
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

    /// Returns whether it is still what it was when it was found; `meta` is of what was read.
    fn is_unchanged(&self, meta: io::Result<Metadata>) -> bool {
        let facts = |meta: &Metadata| (meta.size(), meta.mtime(), meta.mtime_nsec());
        meta.is_ok_and(|meta| facts(&meta) == facts(&self.meta))
    }

    fn is_large(&self) -> bool {
        self.meta.size() >= LARGE
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

/// Brings files of the directory `from` to the directory `to` of a host, which is made; directories with all that is in them. What was
/// brought there before and is no longer here goes, as `tidy` says. Returns when the host has them.
///
/// # Errors
/// When a file cannot be read here, or the host does not take it. What arrived by then need not move again.
pub async fn bring(
    host: &dyn Transport,
    from: &Path,
    to: &str,
    names: &[String],
    tidy: Tidy<'_>,
    meter: &Meter,
) -> Result<Moved, StageError> {
    let names = &outermost(names)?;
    let (found, mut walked) = mpsc::unbounded_channel();
    let finding = {
        let (from, names) = (from.to_owned(), names.clone());
        // Fails when nobody wants the rest.
        spawn_blocking(move || files_of(&from, &names, |files| found.send(files).is_ok()))
    };
    let before = async {
        let lacks = tidy.ledger.lacks(from, tidy.spares).await?;
        if lacks { Brought::read(host, to).await.map(Some) } else { Ok(None) }
    };
    let (roots, brought) = tokio::try_join!(look(host, to, names.iter().map(String::as_str)), before)?;
    let now = clock::now().0 / 1_000_000;
    let mut sorted = Sorted { there: known(names, &roots), ..Sorted::new(tidy.ledger) };
    // First, since one may be in the way of what comes: a file in the place of a directory.
    if let Some(mut brought) = brought {
        let gone = brought.tidy(host, (from, to), tidy.spares).await?;
        tidy.ledger.settle(&brought, gone);
        sorted.brought = Some(brought);
    }
    let (streams, queue) = mpsc::unbounded_channel();
    if roots.values().any(|seen| seen.is_dir) {
        let mut files = Vec::new();
        while let Some(found) = walked.recv().await {
            files.extend(found);
        }
        sorted.look_below(host, to, &files).await?;
        let mut small = sorted.sort(files, meter);
        small.extend(sorted.doubts(host, to, meter).await?);
        for stream in streams_of(small) {
            streams.send(stream).ok();
        }
    }
    let queue = tokio::sync::Mutex::new(queue);
    // Nothing is below what is not there: what is found goes while the rest is looked for.
    let feeding = async {
        let streams = streams;
        while let Some(found) = walked.recv().await {
            streams.send(sorted.sort(found, meter)).ok();
        }
        let doubts = sorted.doubts(host, to, meter).await?;
        for stream in streams_of(doubts) {
            streams.send(stream).ok();
        }
        Ok(())
    };
    let sending = || send_all(host, to, &queue, now, tidy.ledger, meter);
    let sent = tokio::try_join!(feeding, sending(), sending());
    drop(walked);
    // What cannot be read here explains why less was sent than there is.
    let empty = finding.await.map_err(|error| here(Path::new("."), io::Error::other(error)))??;
    sent?;
    let mut moved = sorted.moved;
    sorted.note(host, to, empty).await?;
    for file in sorted.large {
        let has_former = sorted.there.get(&file.name).is_some_and(|seen| seen.size >= LARGE && !seen.is_dir);
        moved.bytes += one(host, to, &file, has_former, now, meter).await?;
    }
    Ok(moved)
}

fn streams_of(files: Vec<Wanted>) -> Vec<Vec<Wanted>> {
    streams(files, |file| file.meta.size())
}

/// Returns what the host has under the names that were asked for.
fn known(names: &[String], roots: &HashMap<String, Seen>) -> HashMap<String, Seen> {
    names.iter().filter_map(|name| Some((plain(name), *roots.get(name)?))).collect()
}

/// Returns the plain names without those of what is in a directory that is named too: that comes with it.
fn outermost(names: &[String]) -> Result<Vec<String>, StageError> {
    let mut all = BTreeSet::new();
    for name in names {
        all.insert(plain(checked(name)?));
    }
    if all.contains("") {
        return Ok(vec![".".to_owned()]);
    }
    let is_outer = |name: &&String| !with_those_above(name).any(|above| above != name.as_str() && all.contains(above));
    Ok(all.iter().filter(is_outer).cloned().collect())
}

/// What becomes of the files that were found.
struct Sorted<'a> {
    /// Takes in what is to be there.
    ledger: &'a Ledger,
    /// What the host has.
    there: HashMap<String, Seen>,
    /// Of the same size as there: their contents are compared.
    doubtful: Vec<Wanted>,
    /// To be sent one by one.
    large: Vec<Wanted>,
    /// What was brought before, once somebody asked.
    brought: Option<Brought>,
    /// What was brought before and got another time.
    touched: Note,
    moved: Moved,
}

impl<'a> Sorted<'a> {
    fn new(ledger: &'a Ledger) -> Self {
        Self {
            ledger,
            there: HashMap::new(),
            doubtful: Vec::new(),
            large: Vec::new(),
            brought: None,
            touched: Note::default(),
            moved: Moved::default(),
        }
    }

    /// Looks for files of which their names, or the directories that they are below, were looked for: in a directory that is not
    /// there no file is.
    async fn look_below(&mut self, host: &dyn Transport, to: &str, files: &[Wanted]) -> Result<(), StageError> {
        let is_below = |name: &str| {
            let mut above = name.match_indices('/').filter_map(|(end, _)| name.get(..end)).chain([""]);
            above.any(|dir| self.there.get(dir).is_some_and(|seen| seen.is_dir))
        };
        let below = files.iter().map(|file| file.name.as_str()).filter(|name| is_below(name));
        let below = look(host, to, below).await?;
        self.there.extend(below);
        Ok(())
    }

    /// Returns what is to be sent of these now.
    fn sort(&mut self, files: Vec<Wanted>, meter: &Meter) -> Vec<Wanted> {
        self.moved.files += files.len() as u64;
        self.ledger.brings(files.iter().map(|file| file.name.as_str()));
        let (mut large, mut small) = (Vec::new(), Vec::new());
        for file in files {
            match self.there.get(&file.name) {
                Some(seen) if seen.is(file.meta.size(), file.time()) => {}
                Some(seen) if seen.size == file.meta.size() && !seen.is_dir => self.doubtful.push(file),
                _ if file.is_large() => large.push(file),
                _ => small.push(file),
            }
        }
        self.add(large, &small, meter);
        small
    }

    /// Returns what is to be sent of those that were in doubt.
    async fn doubts(&mut self, host: &dyn Transport, to: &str, meter: &Meter) -> Result<Vec<Wanted>, StageError> {
        if self.doubtful.is_empty() {
            return Ok(Vec::new());
        }
        let (differing, touched) = differing(host, to, std::mem::take(&mut self.doubtful)).await?;
        if !touched.is_empty() && self.brought.is_none() {
            self.brought = Some(Brought::read(host, to).await?);
        }
        // What a job wrote, and is the same as here, was not brought.
        for file in touched.iter().filter(|file| self.brought.as_ref().is_some_and(|it| it.has(&file.name))) {
            self.touched.file(&file.name, file.meta.size(), file.meta.mtime());
        }
        let (large, small): (Vec<_>, Vec<_>) = differing.into_iter().partition(Wanted::is_large);
        self.add(large, &small, meter);
        Ok(small)
    }

    /// Returns those directories without a file in them that are to be made: not those that were brought before and are there still,
    /// which would be written down once more each time.
    async fn lacking(&mut self, host: &dyn Transport, to: &str, empty: Vec<String>) -> Result<Vec<String>, StageError> {
        let (made, mut lacking): (Vec<_>, Vec<_>) = empty.into_iter().partition(|dir| self.ledger.has_made(dir));
        let unseen = made.iter().map(String::as_str).filter(|dir| !self.there.contains_key(*dir));
        let seen = look(host, to, unseen).await?;
        self.there.extend(seen);
        lacking.extend(made.into_iter().filter(|dir| !self.there.get(dir).is_some_and(|seen| seen.is_dir)));
        Ok(lacking)
    }

    /// Has it written down what does not come in streams, before that comes; and makes directories that have no file in them.
    async fn note(&mut self, host: &dyn Transport, to: &str, empty: Vec<String>) -> Result<(), StageError> {
        let empty = self.lacking(host, to, empty).await?;
        let mut note = std::mem::take(&mut self.touched);
        self.large.iter().for_each(|file| note.file(&file.name, file.meta.size(), file.meta.mtime()));
        for dir in &empty {
            note.dir(dir);
        }
        if note.text().is_empty() {
            return Ok(());
        }
        self.ledger.makes(&empty);
        self.ledger.writes();
        write(host, to, note, empty).await
    }

    /// Takes in what has to move.
    fn add(&mut self, large: Vec<Wanted>, small: &[Wanted], meter: &Meter) {
        let bytes = |files: &[Wanted]| files.iter().map(|file| file.meta.size()).sum::<u64>();
        meter.expect(bytes(&large) + bytes(small));
        self.moved.moved += (large.len() + small.len()) as u64;
        self.moved.bytes += bytes(small);
        self.large.extend(large);
    }
}

/// Sends streams of small files as long as there are any.
async fn send_all(
    host: &dyn Transport,
    to: &str,
    queue: &tokio::sync::Mutex<UnboundedReceiver<Vec<Wanted>>>,
    now: i64,
    ledger: &Ledger,
    meter: &Meter,
) -> Result<(), StageError> {
    loop {
        let Some(files) = queue.lock().await.recv().await else { return Ok(()) };
        if files.is_empty() {
            continue;
        }
        let packing = move |packer: &mut Packer<Bridge>| {
            for file in &files {
                pack(file, now, |packing, content| {
                    packer.brings(packing);
                    packer.add(packing, content)
                })?;
            }
            Ok(())
        };
        ledger.writes();
        send(host, to, meter, packing).await?;
    }
}

/// Finds what is to be brought: files, and the files of directories. Hands it over in pieces that make a stream each, as long as
/// they are taken. Returns the directories in which there is neither a file nor a directory.
fn files_of(
    from: &Path,
    names: &[String],
    mut found: impl FnMut(Vec<Wanted>) -> bool,
) -> Result<Vec<String>, StageError> {
    let mut empty = HashSet::new();
    let mut filling = Filling::default();
    // What is large goes by itself.
    let mut push = |file: Wanted| {
        let size = if file.is_large() { 0 } else { file.meta.size() };
        filling.push(file, size).is_none_or(&mut found)
    };
    for name in names {
        let path = from.join(checked(name)?);
        let meta = fs::metadata(&path).map_err(|source| here(&path, source))?;
        if !meta.is_dir() {
            push(Wanted { name: plain(name), path, meta });
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
            let name = plain(&format!("{name}/{below}"));
            if meta.is_dir() || meta.is_file() {
                empty.remove(name.rsplit_once('/').map_or("", |(dir, _)| dir));
            }
            if meta.is_dir() && !name.is_empty() {
                empty.insert(name.clone());
            }
            if meta.is_file() && !push(Wanted { name, path: entry.path().to_owned(), meta }) {
                return Ok(Vec::new());
            }
        }
    }
    found(filling.files);
    Ok(empty.into_iter().collect())
}

/// Compares files of the same size by their contents. Returns those that differ, and those that do not: these get the time that they
/// have here, so that it is seen next time.
async fn differing(
    host: &dyn Transport,
    to: &str,
    files: Vec<Wanted>,
) -> Result<(Vec<Wanted>, Vec<Wanted>), StageError> {
    let Some(theirs) = sums(host, to, files.iter().map(|file| file.name.as_str())).await? else {
        return Ok((files, Vec::new()));
    };
    let compared = spawn_blocking(move || {
        let mut compared = Vec::new();
        for (file, theirs) in files.into_iter().zip(theirs) {
            let ours = file.sum().map_err(|source| here(&file.path, source))?;
            compared.push((file, ours == theirs));
        }
        Ok::<_, StageError>(compared)
    });
    let compared = compared.await.map_err(|error| here(Path::new("."), io::Error::other(error)))??;
    let (alike, differing): (Vec<_>, Vec<_>) = compared.into_iter().partition(|(_, same)| *same);
    let [alike, differing] =
        [alike, differing].map(|files| files.into_iter().map(|(file, _)| file).collect::<Vec<_>>());
    let mut times = BTreeMap::<i64, Vec<&str>>::new();
    for file in &alike {
        times.entry(file.meta.mtime()).or_default().push(&file.name);
    }
    for (time, names) in times.into_iter().take(TIMES) {
        let names = list(names)?;
        let touch = format!("cd -- {} && xargs -0 touch -d @{time}", sh(to));
        // What keeps its time is compared again next time.
        host.exec(Exec::new(touch).reading(names)).await?;
    }
    Ok((differing, alike))
}

/// Packs a file, and makes sure that it did not change meanwhile.
fn pack(
    file: &Wanted,
    now: i64,
    add: impl FnOnce(&Packing<'_>, &File) -> Result<Checksum, Unpacked>,
) -> Result<(), StageError> {
    let content = File::open(&file.path).map_err(|source| here(&file.path, source))?;
    let (size, mode) = (file.meta.size(), file.meta.permissions().mode());
    match add(&Packing { name: &file.name, size, mode, mtime: file.stamp(now) }, &content) {
        Err(Unpacked::Failed(source)) => Err(here(&file.path, source)),
        Ok(_) if file.is_unchanged(content.metadata()) => Ok(()),
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
        if has_former {
            // Fails where nothing was left, or that is in use: the file itself matters.
            host.exec(Exec::new(delta::forget_partial(&target))).await?;
        }
        let mode = file.meta.permissions().mode() & 0o777 | 0o600;
        let (from, mtime) = (file.path.clone(), Some(file.stamp(now)));
        host.put(&Put { from, to: target, mode, mtime, meter: meter.clone() }).await?.sent
    };
    if file.is_unchanged(fs::metadata(&file.path)) {
        Ok(moved)
    } else {
        Err(StageError::Changed { path: file.path.clone() })
    }
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
