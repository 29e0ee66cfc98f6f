//! A copy of the whole directory for a submission to work in, and what came of it: the files that are new or changed there come
//! back, as far as that takes nothing away here.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tokio::task::spawn_blocking;

use crate::language::batch::room::one_line;
use crate::language::ignored::{FILE, Ignored};
use crate::language::quote::sh;
use crate::model::batch::JobName;
use crate::model::units::{Bytes, Timestamp};
use crate::reach::stage::{StageError, Take, fetch};
use crate::reach::transport::{Exec, Meter, Remote, Transport, TransportError};
use crate::serve::site::send::Ground;

/// Most that comes back by itself; the largest files stay there.
pub(super) const RESULTS: Bytes = Bytes(10 << 30);
/// Most files that come back by themselves.
const FILES: usize = 100_000;
/// Most that a host may say of what changed: some millions of files.
const SAID: usize = 256 << 20;
/// Names in a note.
const NAMED: usize = 4;

/// Returns the list of the files that a copy is made of.
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().flat_map(|name| ["./", name, "\0"]).collect()
}

/// Returns the script that makes the copy in a submission's directory `$d`, which has the list in `tree`, and writes down what is in
/// it. A file that is missing is told by the count: the status of the first of two commands in a pipe is lost.
pub(super) fn copy_script(from: &str, files: usize) -> String {
    let from = sh(from);
    format!(
        "mkdir -- \"$d/work\" || exit 111\n\
         if [ -s \"$d/tree\" ]; then (cd -- {from} && exec tar -cf - --null -T \"$d/tree\") | tar -xpf - -C \"$d/work\" || exit 111; fi\n\
         (cd -- \"$d/work\" && find . -type f -printf '%T@ %s %p\\0' | LC_ALL=C sort -z >\"$d/before\") || exit 111\n\
         csync_files=$(tr -cd '\\000' <\"$d/before\" | wc -c)\n\
         [ \"$csync_files\" -eq {files} ] || {{ echo \"$((csync_files)) of {files} files are there\" >&2; exit 111; }}\n"
    )
}

/// A file that is new or changed in the copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) name: String,
    pub(super) size: u64,
    /// Seconds since 1970.
    pub(super) mtime: i64,
}

/// What is to be done with the files that changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sorted {
    /// To be brought, with their sizes.
    pub(super) bring: Vec<(String, u64)>,
    /// Left there: too much.
    pub(super) large: Vec<(String, u64)>,
    /// Left there: something else is here by now.
    pub(super) conflicts: Vec<String>,
}

/// What came of bringing back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// What is to be said about it, a sentence each.
    pub notes: Vec<String>,
    /// Whether something stays there.
    pub kept: bool,
}

/// Brings back what is new or changed. What stays there is marked, so that it is not cleared away with the submission.
pub(super) async fn collect(
    way: &Remote,
    ground: &Ground,
    name: &JobName,
    root: &str,
    since: Timestamp,
    most: Bytes,
) -> Result<Collected, StageError> {
    let directory = ground.submission(name);
    let changed = changed(way, &directory).await?;
    let sorted = {
        let root = root.to_owned();
        let sorting = spawn_blocking(move || sort(Path::new(&root), changed, since, most.0)).await;
        sorting.map_err(|error| StageError::Here {
            path: directory.clone().into(),
            source: std::io::Error::other(error),
        })?
    };
    let mut notes = Vec::new();
    let names: Vec<String> = sorted.bring.iter().map(|(name, _)| name.clone()).collect();
    let kept = !(sorted.large.is_empty() && sorted.conflicts.is_empty());
    let fetched = if names.is_empty() {
        Ok(())
    } else {
        fetch(way, &ground.work(name), Path::new(root), &names, Take::up_to(most.0), &Meter::default()).await.map(drop)
    };
    if kept || fetched.is_err() {
        keep(way, &directory).await?;
    }
    fetched?;
    if !names.is_empty() {
        let bytes = Bytes(sorted.bring.iter().map(|(_, size)| size).sum());
        notes.push(format!(
            "brought back {} ({bytes}): {}",
            files(names.len()),
            some(names.iter().map(String::as_str))
        ));
    }
    if !sorted.conflicts.is_empty() {
        let some = some(sorted.conflicts.iter().map(String::as_str));
        notes.push(format!("not brought back, since something else is here by now: {some}"));
    }
    if !sorted.large.is_empty() {
        let bytes = Bytes(sorted.large.iter().map(|(_, size)| size).sum());
        let some = some(sorted.large.iter().map(|(name, _)| name.as_str()));
        notes.push(format!(
            "left on {}, as they are more than {most}: {} ({bytes}): {some}",
            way.host(),
            files(sorted.large.len())
        ));
    }
    if kept {
        notes.push(format!("on {} they are in {}", way.host(), ground.work(name)));
    }
    Ok(Collected { notes, kept })
}

/// Marks a submission's directory, so that it is not cleared away. Without room for the mark a file that nobody reads any more
/// becomes it; else it is tried again when the host has room, and nothing is cleared away before.
async fn keep(way: &Remote, directory: &str) -> Result<(), StageError> {
    let script = format!("cd -- {} && {{ true >keep || mv -f members keep; }}", sh(directory));
    let reply = way.exec(Exec::new(script)).await?;
    if reply.status.is_success() {
        return Ok(());
    }
    let detail = one_line(&String::from_utf8_lossy(&reply.stderr));
    Err(StageError::Transport(TransportError::FarFile {
        host: way.host().to_owned(),
        path: format!("{directory}/keep"),
        detail,
    }))
}

/// Asks which files are new or changed in a copy. One that is gone with its submission has none.
async fn changed(way: &Remote, directory: &str) -> Result<Vec<Changed>, StageError> {
    let script = format!(
        "cd -- {}/work 2>/dev/null || exit 0\n\
         find . -type f -printf '%T@ %s %p\\0' | LC_ALL=C sort -z | LC_ALL=C comm -z -13 ../before -",
        sh(directory)
    );
    let reply = way.exec(Exec::new(script).printing(SAID).reading_files()).await?;
    if !reply.status.is_success() {
        let words = String::from_utf8_lossy(&reply.stderr).trim().to_owned();
        return Err(StageError::There { host: way.host().to_owned(), action: "does not say what changed", words });
    }
    Ok(reply.stdout.split(|&byte| byte == 0).filter_map(read).collect())
}

/// Reads `TIME SIZE ./NAME`; a name that is not UTF-8 is nobody's.
fn read(entry: &[u8]) -> Option<Changed> {
    let entry = std::str::from_utf8(entry).ok()?;
    let mut parts = entry.splitn(3, ' ');
    let (time, size, name) = (parts.next()?, parts.next()?, parts.next()?);
    let mtime = time.split('.').next()?.parse().ok()?;
    Some(Changed { name: name.strip_prefix("./")?.to_owned(), size: size.parse().ok()?, mtime })
}

/// Decides about every file. Whoever named them is not trusted. The small ones come first: many of them are worth more than one
/// that fills the limit.
pub(super) fn sort(root: &Path, mut changed: Vec<Changed>, since: Timestamp, most: u64) -> Sorted {
    let text = fs::read_to_string(root.join(FILE)).unwrap_or_default();
    let (ignored, _) = Ignored::read(&text);
    changed.sort_by(|a, b| a.size.cmp(&b.size).then_with(|| a.name.cmp(&b.name)));
    let mut sorted = Sorted::default();
    let mut left = most;
    for Changed { name, size, mtime } in changed {
        if name.contains(['\n', '\0']) || ignored.has(&name) {
            continue;
        }
        match here(root, &name, size, mtime, since) {
            Here::Same => {}
            Here::Other => sorted.conflicts.push(name),
            Here::Free if size > left || sorted.bring.len() >= FILES => sorted.large.push((name, size)),
            Here::Free => {
                left -= size;
                sorted.bring.push((name, size));
            }
        }
    }
    sorted.bring.sort_unstable();
    sorted
}

/// What is here under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Here {
    /// Nothing, or what was here before the submission: as it would have been overwritten had the command run here.
    Free,
    /// That very file: it was brought before.
    Same,
    /// What came since the submission, or is no plain file.
    Other,
}

fn here(root: &Path, name: &str, size: u64, mtime: i64, since: Timestamp) -> Here {
    let mut path = root.to_path_buf();
    let parts: Vec<&str> = name.split('/').collect();
    let Some((last, dirs)) = parts.split_last() else { return Here::Other };
    for dir in dirs {
        path.push(dir);
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => {}
            // A link may lead anywhere.
            Ok(_) => return Here::Other,
            Err(_) => return Here::Free,
        }
    }
    path.push(last);
    let Ok(meta) = fs::symlink_metadata(&path) else { return Here::Free };
    if !meta.is_file() {
        return Here::Other;
    }
    if (meta.len(), meta.mtime()) == (size, mtime) {
        return Here::Same;
    }
    let micros = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000).saturating_add(nanos / 1000);
    let touched = micros(meta.mtime(), meta.mtime_nsec()).max(micros(meta.ctime(), meta.ctime_nsec()));
    if touched > since.0 { Here::Other } else { Here::Free }
}

fn files(count: usize) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

fn some<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let mut told: Vec<String> = names.take(NAMED).map(|name| name.escape_debug().to_string()).collect();
    if more > 0 {
        told.push(format!("and {more} more"));
    }
    told.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reach::clock;

    fn changed(name: &str, size: u64) -> Changed {
        Changed { name: name.to_owned(), size, mtime: 7 }
    }

    #[test]
    fn what_changed_is_read() {
        assert_eq!(read(b"7.25 3 ./a b/c"), Some(changed("a b/c", 3)));
        for bad in [&b""[..], b"7.0 3", b"x 3 ./a", b"7.0 3 /etc/passwd", b"7.0 3 ./\xff"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn nothing_is_taken_away_here() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let old = |name: &str| fs::write(root.join(name), "old").unwrap();
        fs::create_dir_all(root.join("sub/dir")).unwrap();
        old("before");
        old(".csyncignore");
        fs::write(root.join(FILE), "*.tmp\n").unwrap();
        std::os::unix::fs::symlink("before", root.join("link")).unwrap();
        std::os::unix::fs::symlink("sub", root.join("way")).unwrap();
        // The grain of a filesystem's clock is some milliseconds.
        let since = clock::now().after(std::time::Duration::from_secs(1));
        let brought = fs::File::create(root.join("brought")).unwrap();
        brought.set_len(5).unwrap();
        brought.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(7)).unwrap();
        let all = [
            ("before", 3),
            ("new/file", 4),
            ("sub/dir", 1),
            ("link", 1),
            ("way/x", 1),
            ("before/below", 1),
            ("brought", 5),
            ("x.tmp", 1),
            (".git/hooks/post-commit", 1),
            (".csyncignore", 1),
            ("large", 100),
        ];
        let all = || all.iter().map(|(name, size)| changed(name, *size)).collect();
        let sorted = sort(root, all(), since, 50);
        assert_eq!(sorted.bring, [("before".to_owned(), 3), ("new/file".to_owned(), 4)]);
        assert_eq!(sorted.large, [("large".to_owned(), 100)]);
        assert_eq!(sorted.conflicts, ["before/below", "link", "sub/dir", "way/x"]);
        // What was written here since the submission stays.
        let sorted = sort(root, all(), Timestamp(0), 50);
        assert_eq!(sorted.bring, [("new/file".to_owned(), 4)]);
        assert!(sorted.conflicts.contains(&"before".to_owned()));
    }

    #[test]
    fn notes_name_a_few() {
        assert_eq!(some(["a", "b\n"].into_iter()), "a, b\\n");
        assert_eq!(some(["a", "b", "c", "d", "e", "f"].into_iter()), "a, b, c, d, and 2 more");
    }
}
