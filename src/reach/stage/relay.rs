//! From one host to another, over our connections to both: what passes through here is in memory alone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::io::BufReader;
use std::path::PathBuf;

use tokio::io::{AsyncWriteExt, copy};
use tokio::sync::MutexGuard;
use tokio_util::io::SyncIoBridge;

use crate::language::quote::sh;
use crate::reach::stage::bring::make_dir_of;
use crate::reach::stage::direct::{Direct, direct};
use crate::reach::stage::fetch::{Far, Found, Take, find};
use crate::reach::stage::look::{SAID, Seen, list, look, sums};
use crate::reach::stage::pack::{Packing, Unpacked, receiving, send_into};
use crate::reach::stage::unpack::Asked;
use crate::reach::stage::{BUFFER, LARGE, Moved, StageError, WHOLE, streams, words};
use crate::reach::transport::{Checksum, Exec, Landing, Meter, Pull, Transport};

/// A host, and a directory on it.
pub(super) type Place<'a> = (&'a dyn Transport, &'a str);

/// Brings files from a directory of one host to a directory of another, which is made; directories with all that is in them.
/// Returns what moved, and the names that the first does not have. Where the first reaches the second itself, nothing passes here,
/// unless that fails.
///
/// # Errors
/// When a host cannot be asked, the first sends something else or more than `limit`, or the second does not take it. What arrived
/// by then need not move again.
pub async fn relay(
    from: Place<'_>,
    to: Place<'_>,
    names: &[String],
    limit: u64,
    how: Option<&Direct>,
    meter: &Meter,
) -> Result<(Moved, Vec<String>), StageError> {
    let Found { files, dirs, asked, missing, .. } = find(from.0, from.1, names, Take::up_to(limit), None).await?;
    if !asked.is_empty() {
        clear(to, &asked, &files).await?;
    }
    let moved = pass(from, to, files, limit, how, meter).await?;
    if !asked.is_empty() {
        settle(to, &dirs, &asked).await?;
    }
    Ok((moved, missing))
}

/// Removes from directories of a host what is not to be in them, and links in their place: through these another host's would change.
/// What was left there would pass for a part of what comes.
async fn clear(to: Place<'_>, asked: &BTreeMap<String, i64>, files: &[Far]) -> Result<(), StageError> {
    let (host, dir) = to;
    let look =
        sh(r#"for d; do if [ -h "$d" ]; then rm -f -- "$d"; else find "$d" ! -type d -print0 2>/dev/null; fi; done"#);
    let script = format!("cd -- {} 2>/dev/null || exit 0; xargs -0 sh -c {look} sh; exit 0", sh(dir));
    let there = run(to, script, list(asked.keys().map(String::as_str).filter(|dir| !dir.is_empty()))?).await?;
    let files: HashSet<&[u8]> = files.iter().map(|(name, _)| name.as_bytes()).collect();
    let is_stale = |name: &&[u8]| name.strip_prefix(b"./").is_some_and(|name| !files.contains(name));
    // Halves of files are gone on with; what is called so is none of theirs.
    let is_half =
        |name: &[u8]| name.rsplit(|&byte| byte == b'/').next().is_some_and(|last| last.starts_with(b".csync-"));
    let stale = there.split(|&byte| byte == 0).filter(is_stale).filter(|name| !is_half(name));
    let stale: Vec<u8> = stale.flat_map(|name| [name, b"\0"].concat()).collect();
    if stale.is_empty() {
        return Ok(());
    }
    tracing::debug!(host = host.host(), dir, bytes = stale.len(), "what is left in directories goes");
    run(to, format!("cd -- {} && xargs -0 rm -f --", sh(dir)), stale).await.map(drop)
}

/// Makes the directories that no file came in, and has all of them be as young as the source is in which anything changed last: when
/// they were made there says nothing.
async fn settle(to: Place<'_>, dirs: &[String], asked: &BTreeMap<String, i64>) -> Result<(), StageError> {
    let mut script = format!("umask 077; mkdir -p -- {0} && cd -- {0} && xargs -0 mkdir -p -- || exit 1\n", sh(to.1));
    for (dir, mtime) in asked {
        let _infallible =
            writeln!(script, "find {} -type d -exec touch -d @{mtime} {{}} + || exit 1", sh(&format!("./{dir}")));
    }
    run(to, script, list(dirs.iter().map(String::as_str))?).await.map(drop)
}

async fn run((host, _): Place<'_>, script: String, input: Vec<u8>) -> Result<Vec<u8>, StageError> {
    let reply = host.exec(Exec::new(script).reading(input).printing(SAID).reading_files()).await?;
    if reply.status.is_success() {
        return Ok(reply.stdout);
    }
    let host = host.host().to_owned();
    Err(StageError::There { host, action: "does not take a directory", words: words(&reply.stderr) })
}

/// Passes on what the second host lacks of these files.
async fn pass(
    from: Place<'_>,
    to: Place<'_>,
    files: Vec<Far>,
    limit: u64,
    how: Option<&Direct>,
    meter: &Meter,
) -> Result<Moved, StageError> {
    let mut moved = Moved { files: files.len() as u64, ..Moved::default() };
    let lacking = lacking(from, to, files).await?;
    moved.moved = lacking.len() as u64;
    let size = |(_, seen): &Far| seen.map_or(0, |seen| seen.size);
    let total = lacking.iter().map(size).sum();
    meter.expect(total);
    if let Some(how) = how.filter(|_| !lacking.is_empty()) {
        let names: Vec<String> = lacking.iter().map(|(name, _)| name.clone()).collect();
        match direct(from, to, &names, how).await {
            Ok(()) => {
                meter.count(total);
                return Ok(Moved { bytes: total, ..moved });
            }
            Err(error) => {
                let (from, to) = (from.0.host(), to.0.host());
                tracing::warn!(from, to, %error, "files do not go there directly, but through here");
            }
        }
    }
    let (large, small): (Vec<_>, Vec<_>) = lacking.into_iter().partition(|file| size(file) >= LARGE);
    for files in streams(small, size) {
        moved.bytes += files.iter().map(size).sum::<u64>();
        stream(from, to, files, limit, meter).await?;
    }
    for (name, seen) in large {
        if let Some(seen) = seen {
            moved.bytes += one(from, to, &name, seen, meter).await?;
        }
    }
    Ok(moved)
}

/// Leaves out what the second host has already.
async fn lacking(from: Place<'_>, to: Place<'_>, files: Vec<Far>) -> Result<Vec<Far>, StageError> {
    let there = look(to.0, to.1, files.iter().map(|(name, _)| name.as_str())).await?;
    let (mut lacking, mut doubtful) = (Vec::new(), Vec::new());
    for (name, seen) in files {
        match (seen, there.get(&name)) {
            (Some(ours), Some(theirs)) if theirs.is(ours.size, (ours.mtime, ours.nanos)) => {}
            (Some(ours), Some(theirs)) if theirs.size == ours.size && !theirs.is_dir => doubtful.push((name, seen)),
            _ => lacking.push((name, seen)),
        }
    }
    let names = || doubtful.iter().map(|(name, _): &Far| name.as_str());
    let (ours, theirs) = tokio::join!(sums(from.0, from.1, names()), sums(to.0, to.1, names()));
    match (ours?, theirs?) {
        (Some(ours), Some(theirs)) => {
            let same: Vec<bool> = ours.iter().zip(&theirs).map(|(ours, theirs)| ours == theirs).collect();
            lacking.extend(doubtful.into_iter().zip(same).filter(|(_, same)| !same).map(|(file, _)| file));
        }
        _ => lacking.extend(doubtful),
    }
    Ok(lacking)
}

/// What is held until streams to both hosts are open.
type Turn<'a> = (MutexGuard<'a, ()>, Option<MutexGuard<'a, ()>>);

/// Waits for the turn to open streams to two hosts. All wait in one order: who waits holds none that comes behind.
async fn turn<'a>(one: &'a dyn Transport, other: &'a dyn Transport) -> Turn<'a> {
    let place = |host: &dyn Transport| std::ptr::from_ref(host.pairing()).addr();
    let (one_at, other_at) = (place(one), place(other));
    let (first, second) = if one_at <= other_at { (one, other) } else { (other, one) };
    let held = first.pairing().lock().await;
    let other = if one_at == other_at { None } else { Some(second.pairing().lock().await) };
    (held, other)
}

/// Passes small files on: every entry is looked at on its way, as if it were to stay here.
async fn stream(from: Place<'_>, to: Place<'_>, files: Vec<Far>, limit: u64, meter: &Meter) -> Result<(), StageError> {
    let (host, dir) = from;
    let names: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
    let theirs = sums(host, dir, names.iter().map(String::as_str)).await?;
    let theirs: HashMap<String, Checksum> = names.iter().cloned().zip(theirs.unwrap_or_default()).collect();
    let turn = turn(host, to.0).await;
    // Who takes them first: what is sent and not read holds up everybody on the same connection.
    let taking = receiving(to.0, to.1).await?;
    let mut channel = host.open(&format!("{WHOLE}cd -- {} && exec tar $whole -chf - --null -T -", sh(dir))).await?;
    drop(turn);
    let asked = Asked { host: host.host().to_owned(), names: names.iter().cloned().collect(), limit };
    let list = list(names.iter().map(String::as_str))?;
    let (mut ours, stream) = tokio::io::duplex(BUFFER);
    let (stdin, stdout) = channel.split();
    let asking = async {
        drop(stdin.write_all(&list).await);
        drop(stdin.shutdown().await);
    };
    let reading = async {
        let read = copy(stdout, &mut ours).await;
        drop(ours);
        read
    };
    let passing = send_into(taking, to.0, meter, move |packer| {
        let mut lacking: HashSet<String> = names.into_iter().collect();
        asked.each(BufReader::with_capacity(BUFFER, SyncIoBridge::new(stream)), |name, entry| {
            let failed = |source| StageError::Here { path: PathBuf::from(name), source };
            let (size, header) = (entry.size(), entry.header());
            let mode = header.mode().map_err(failed)?;
            let mtime = i64::try_from(header.mtime().map_err(failed)?).unwrap_or(0);
            let added = packer.add(&Packing { name, size, mode, mtime: (mtime, 0) }, entry);
            lacking.remove(name);
            match added {
                Ok(sum) if theirs.get(name).is_none_or(|theirs| *theirs == sum) => Ok(()),
                Ok(_) | Err(Unpacked::Short) => Err(StageError::Changed { path: PathBuf::from(name) }),
                Err(Unpacked::Failed(source)) => Err(failed(source)),
            }
        })?;
        match lacking.into_iter().next() {
            None => Ok(()),
            Some(name) => Err(asked.strange(format!("no `{}`", name.escape_debug()))),
        }
    });
    let ((), _read, passed) = tokio::join!(asking, reading, passing);
    let (status, complaints) = channel.wait().await?;
    match passed {
        Err(StageError::Strange { .. }) if !status.is_success() => {
            let words = words(&complaints);
            Err(StageError::There { host: host.host().to_owned(), action: "does not give files", words })
        }
        passed => passed,
    }
}

/// Passes one large file on, from where an earlier try ended; returns how much moved.
async fn one(from: Place<'_>, to: Place<'_>, name: &str, seen: Seen, meter: &Meter) -> Result<u64, StageError> {
    let (host, dir) = from;
    let target = format!("{}/{name}", to.1.trim_end_matches('/'));
    make_dir_of(to.0, &target).await?;
    let stamp = format!("{}:{dir}:{}.{}", host.host(), seen.mtime, seen.nanos);
    let turn = turn(host, to.0).await;
    let mut landing = Landing::open(to.0, &target, seen.size, &stamp).await?;
    let has = landing.has;
    meter.spare(has);
    let source = sh(&format!("{}/{name}", dir.trim_end_matches('/'))).into_owned();
    // The checksum comes on the other stream of the same channel: nobody who holds one waits for a second.
    let then = format!("cksum <{source} >&2 2>/dev/null; exit 0");
    let mut pull = Pull::open(host, &source, (has, seen.size), &then).await?;
    drop(turn);
    let mut copied = 0;
    loop {
        let chunk = pull.next().await;
        if chunk.is_empty() {
            break;
        }
        copied += chunk.len() as u64;
        if !landing.write(&chunk).await {
            // Nobody needs the rest of it.
            drop(pull);
            return Ok(landing.close(None, 0, None).await.map(|()| copied)?);
        }
        meter.count(chunk.len() as u64);
    }
    let (status, stderr) = pull.wait().await?;
    if has + copied != seen.size && !status.is_success() {
        landing.discard().await;
        let host = host.host().to_owned();
        return Err(StageError::There { host, action: "does not give a file", words: words(&stderr) });
    }
    let sum = String::from_utf8_lossy(&stderr).lines().last().and_then(Checksum::read);
    landing.close(sum, seen.mode & 0o777 | 0o600, Some((seen.mtime, 0))).await?;
    Ok(copied)
}
