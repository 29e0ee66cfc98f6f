//! From a host to here.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Mutex;

use tokio::io::{AsyncWriteExt, copy};
use tokio::task::spawn_blocking;
use tokio_util::io::SyncIoBridge;

use crate::language::quote::sh;
use crate::reach::stage::gather::Goal;
use crate::reach::stage::look::{here, list, look, sum_of_sums, sum_up, sums, walk, with_those_above};
use crate::reach::stage::pack::is_printed_as_it_is;
use crate::reach::stage::unpack::{Asked, unpack};
use crate::reach::stage::{
    BUFFER, LARGE, MOST_FILES, Moved, Queue, Seen, StageError, WHOLE, delta, next, plain, streams, words,
};
use crate::reach::transport::{Get, Meter, Sum, Transport, TransportError, WhenBusy};

/// How much a host's `tar` writes at once, in half kilobytes: each piece is a packet.
const RECORD: u32 = 64;

/// What is taken of what a host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Take {
    /// Most bytes in all: more is an error.
    pub limit: u64,
    /// What is larger than this stays there: files, and directories with all that is in them. Those that are here already are
    /// brought up to date: what else lies in them is not ours to remove.
    pub leave: u64,
}

impl Take {
    /// Takes everything.
    pub const fn all() -> Self {
        Self::up_to(1 << 50)
    }

    /// Takes everything, unless it is more than this.
    pub const fn up_to(limit: u64) -> Self {
        Self { limit, leave: u64::MAX }
    }
}

/// What came of fetching.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// What moved.
    pub moved: Moved,
    /// Names that the host does not have.
    pub missing: Vec<String>,
    /// Files and directories that stay there.
    pub left: Vec<(String, Seen)>,
}

/// A file of a host; without facts where its name cannot be told in a line.
pub(super) type Far = (String, Option<Seen>);

/// What a host has of what is asked for.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) files: Vec<Far>,
    /// All directories, for those that have no file in them.
    pub(super) dirs: Vec<String>,
    /// Those that were asked for, and when anything in them changed last.
    pub(super) asked: BTreeMap<String, i64>,
    /// What the host does not have.
    pub(super) missing: Vec<String>,
    /// What stays there.
    left: Vec<(String, Seen)>,
}

/// Finds files, and all files of directories, on a host. `here` is where they would come to.
///
/// # Errors
/// When the host cannot be asked, or has more than the limits.
pub(super) async fn find(
    host: &dyn Transport,
    from: &str,
    names: &[String],
    Take { limit, leave }: Take,
    here: Option<&Path>,
) -> Result<Found, StageError> {
    let there = look(host, from, names.iter().map(String::as_str)).await?;
    let mut found = Found::default();
    let mut dirs = Vec::new();
    for name in names {
        match there.get(name) {
            Some(seen) if seen.is_dir => dirs.push(name.clone()),
            Some(seen) if seen.size > leave => found.left.push((name.clone(), *seen)),
            Some(seen) => found.files.push((plain(name), Some(*seen))),
            // Cannot be looked for: whether it is there shows when it is asked for.
            None if name.contains('\n') => found.files.push((plain(name), None)),
            None => found.missing.push(name.clone()),
        }
    }
    let walked = walk(host, from, &dirs).await?;
    let stays = |name: &str, whole: Seen| whole.size > leave && !here.is_some_and(|here| has_any(&here.join(name)));
    for (name, whole) in sum_up(&dirs, &walked) {
        if stays(&name, whole) {
            found.left.push((name, whole));
        } else {
            found.asked.insert(plain(&name), whole.mtime);
        }
    }
    for (name, seen) in walked {
        if !with_those_above(&name).any(|dir| found.asked.contains_key(dir)) && !found.asked.contains_key("") {
            continue;
        }
        if seen.is_dir {
            found.dirs.push(name);
        } else {
            found.files.push((name, Some(seen)));
        }
    }
    let mut total = 0u64;
    for (name, seen) in &found.files {
        total = total.saturating_add(seen.map_or(0, |seen| seen.size));
        if total > limit {
            return Err(StageError::TooLarge { name: name.clone(), size: total, limit });
        }
    }
    if found.files.len() > MOST_FILES {
        let what = format!("{} files, more than the {MOST_FILES} that are taken at a time", found.files.len());
        return Err(StageError::Strange { host: host.host().to_owned(), what });
    }
    Ok(found)
}

/// Returns whether there is a directory here with anything in it, or a link to one.
fn has_any(path: &Path) -> bool {
    let is_empty = || fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => !is_empty(),
        Ok(meta) => meta.is_symlink() && path.is_dir(),
        Err(_) => false,
    }
}

/// Fetches files from the directory `from` of a host into the directory `to`; directories with all that is in them. What is here
/// under a name is replaced when all of the new file has come; a directory that is not here yet gets its name when all that is in it
/// has.
///
/// # Errors
/// When the host cannot be asked, sends something else, or there are more bytes than `limit`. What came by then is here.
pub async fn fetch(
    host: &dyn Transport,
    from: &str,
    to: &Path,
    names: &[String],
    take: Take,
    meter: &Meter,
) -> Result<Fetched, StageError> {
    let Found { files, dirs, asked, missing, left } = find(host, from, names, take, Some(to)).await?;
    let limit = take.limit;
    let mut to = Goal::new(to, asked.keys().map(String::as_str));
    to.tidy(&files);
    let to = &to;
    let fresh: HashSet<&str> =
        dirs.iter().map(String::as_str).filter(|dir| fs::symlink_metadata(to.at(dir)).is_err()).collect();
    let mut moved = Moved { files: files.len() as u64, ..Moved::default() };
    let lacking = lacking(host, from, to, files, &fresh).await?;
    moved.moved = lacking.len() as u64;
    let size = |(_, seen): &Far| seen.map_or(0, |seen| seen.size);
    meter.expect(lacking.iter().map(size).sum());
    let (large, small): (Vec<_>, Vec<_>) = lacking.into_iter().partition(|file| size(file) >= LARGE);
    moved.bytes += small.iter().map(size).sum::<u64>();
    let queue: Queue<Far> = Mutex::new(streams(small, size).into_iter());
    let fetching = || fetch_all(host, from, to, &queue, limit, meter);
    tokio::try_join!(fetching(), fetching())?;
    for (name, seen) in large {
        if let Some(seen) = seen {
            moved.bytes += one(host, from, to, (&name, seen), limit, meter).await?;
        }
    }
    to.let_in(&dirs, &asked)?;
    Ok(Fetched { moved, missing, left })
}

/// Leaves out what is here with the same content: of files with the same size, the host is asked for the checksums. In a directory
/// that is not here yet, `fresh`, there is none.
async fn lacking(
    host: &dyn Transport,
    from: &str,
    to: &Goal,
    files: Vec<Far>,
    fresh: &HashSet<&str>,
) -> Result<Vec<Far>, StageError> {
    let alike = |(name, seen): &Far| {
        if name.rsplit_once('/').is_some_and(|(dir, _)| fresh.contains(dir)) {
            return false;
        }
        let meta = fs::symlink_metadata(to.at(name)).ok().filter(fs::Metadata::is_file);
        meta.zip(*seen).is_some_and(|(meta, seen)| meta.len() == seen.size)
    };
    let (alike, mut lacking): (Vec<_>, Vec<_>) = files.into_iter().partition(alike);
    let Some(theirs) = sums(host, from, alike.iter().map(|(name, _)| name.as_str())).await? else {
        lacking.extend(alike);
        return Ok(lacking);
    };
    let to = to.clone();
    let compared = spawn_blocking(move || {
        let differs = |(far, theirs): (Far, _)| {
            let mut sum = Sum::default();
            let path = to.at(&far.0);
            let read = File::open(&path).and_then(|file| read_through(file, &mut sum));
            (read.is_err() || sum.finish() != theirs || set_time(&path, far.1).is_err()).then_some(far)
        };
        alike.into_iter().zip(theirs).filter_map(differs).collect::<Vec<_>>()
    });
    lacking.extend(compared.await.map_err(|error| here(Path::new("."), io::Error::other(error)))?);
    Ok(lacking)
}

fn read_through(mut file: File, sum: &mut Sum) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            read => sum.update(buffer.get(..read).unwrap_or(&[])),
        }
    }
}

fn set_time(path: &Path, seen: Option<Seen>) -> io::Result<()> {
    let Some(seen) = seen else { return Ok(()) };
    let time = std::time::Duration::from_secs(u64::try_from(seen.mtime).unwrap_or(0));
    File::options().append(true).open(path)?.set_modified(std::time::SystemTime::UNIX_EPOCH + time)
}

/// Fetches streams of small files as long as there are any.
async fn fetch_all(
    host: &dyn Transport,
    from: &str,
    to: &Goal,
    queue: &Queue<Far>,
    limit: u64,
    meter: &Meter,
) -> Result<(), StageError> {
    while let Some(files) = next(queue) {
        stream(host, from, to, files, limit, meter).await?;
    }
    Ok(())
}

/// Fetches files as one stream.
async fn stream(
    host: &dyn Transport,
    from: &str,
    to: &Goal,
    files: Vec<Far>,
    limit: u64,
    meter: &Meter,
) -> Result<(), StageError> {
    let names: Vec<String> = files.into_iter().map(|(name, _)| name).collect();
    // Links are followed there: what they lead to is what a program here would have read.
    let mut channel =
        host.open(&format!("{WHOLE}cd -- {} && exec tar $whole -b {RECORD} -chf - --null -T -", sh(from))).await?;
    let list = list(names.iter().map(String::as_str))?;
    let (mut ours, theirs) = tokio::io::duplex(BUFFER);
    let (stdin, stdout) = channel.split();
    let asked = Asked { host: host.host().to_owned(), names: names.iter().cloned().collect(), limit };
    let (meter, goal) = (meter.clone(), to.clone());
    // An archive is read in pieces of half a kilobyte, and each across the bridge costs microseconds.
    let unpacking = spawn_blocking(move || {
        let theirs = BufReader::with_capacity(BUFFER, SyncIoBridge::new(theirs));
        unpack(&asked, theirs, goal.root(), &meter)
    });
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
    let told = || names.iter().map(String::as_str).filter(|name| is_printed_as_it_is(name));
    // Meanwhile, if that takes no waiting: all channels may be held by streams that would wait for one more.
    let summing = sum_of_sums(host, from, told(), WhenBusy::Fail);
    let ((), _read, whole) = tokio::join!(asking, reading, summing);
    let unpacked = unpacking.await;
    let (status, complaints) = channel.wait().await?;
    let there = |words| StageError::There { host: host.host().to_owned(), action: "does not give files", words };
    let mut arrived = match unpacked {
        Ok(Err(error @ StageError::Here { .. })) if status.is_success() => return Err(error),
        Ok(Err(error @ (StageError::Strange { .. } | StageError::TooLarge { .. }))) => return Err(error),
        _ if !status.is_success() => return Err(there(words(&complaints))),
        Ok(unpacked) => unpacked?,
        Err(error) => return Err(there(error.to_string())),
    };
    if arrived.len() != names.len() {
        return Err(there(format!("{} of {} files came", arrived.len(), names.len())));
    }
    let whole = match whole {
        Err(StageError::Transport(TransportError::Channel { .. })) => {
            sum_of_sums(host, from, told(), WhenBusy::Wait).await
        }
        said => said,
    };
    // What differs, or what has another name there than here, is looked for one by one.
    let sums = if whole?.is_some_and(|whole| whole == arrived.sum(told())) && told().count() == names.len() {
        None
    } else {
        sums(host, from, names.iter().map(String::as_str)).await?
    };
    let to = to.clone();
    let let_in = spawn_blocking(move || {
        if let Some(sums) = sums {
            arrived.compare(&names, &sums)?;
        }
        arrived.gather(&to)?;
        arrived.let_in()
    });
    let_in.await.map_err(|error| there(error.to_string()))?
}

/// Fetches one large file: what differs from the former version that is here, or from where an earlier try ended; returns how much
/// moved.
async fn one(
    host: &dyn Transport,
    from: &str,
    to: &Goal,
    (name, seen): (&str, Seen),
    limit: u64,
    meter: &Meter,
) -> Result<u64, StageError> {
    let path = to.at(name);
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(|source| here(dir, source))?;
    }
    let far = format!("{}/{name}", from.trim_end_matches('/'));
    let former = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_file() && meta.len() >= LARGE);
    if former && let Some(moved) = delta::back(host, &far, &path, seen, meter).await {
        return Ok(moved);
    }
    let (mode, mtime, meter) = (seen.mode & 0o777 | 0o600, Some(seen.mtime), meter.clone());
    Ok(host.get(&Get { from: far, to: path, mode, mtime, limit, meter }).await?.sent)
}
