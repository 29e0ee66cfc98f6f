//! What surrounds a command: its directory, its standard input, the files that it reads and makes.
//!
//! Outputs are written in place, since tools see their real paths. Before an attempt old outputs are removed; after one that
//! did not succeed, those that exist are renamed to a hidden sibling `.NAME.failed`. So under the real name there is never a
//! half-written file once the attempt is over. Directories that were there before the attempt are left alone: other tasks may
//! keep things in them.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::model::job::{Job, Outcome};
use crate::model::plan::Fingerprint;

/// Files larger than this are known by size and time alone.
const HASH_MAX: u64 = 256 << 20;

/// What was found before the start.
#[derive(Debug, Default)]
pub(super) struct Staged {
    /// The inputs as they are.
    pub(super) inputs: Vec<Option<Fingerprint>>,
    /// Positions of outputs that are directories already.
    kept: Vec<usize>,
}

/// Makes the job's directories and removes old outputs; returns the positions of outputs that are directories already.
pub(super) fn make_room(job: &Job) -> Result<Vec<usize>, Outcome> {
    make_dir(Path::new(&job.workdir))
        .map_err(|error| refuse(format_args!("the working directory {} cannot be made", job.workdir), &error))?;
    let mut kept = Vec::new();
    for (index, output) in job.outputs.iter().enumerate() {
        let path = Path::new(output);
        let cleared =
            clear(path).map_err(|error| refuse(format_args!("the old output {output} cannot be removed"), &error))?;
        match cleared {
            Cleared::Directory => kept.push(index),
            Cleared::Nothing if let Some(parent) = path.parent() => make_dir(parent)
                .map_err(|error| refuse(format_args!("the directory of the output {output} cannot be made"), &error))?,
            Cleared::Nothing | Cleared::File => {}
        }
    }
    Ok(kept)
}

/// Looks at the inputs.
pub(super) fn look(job: &Job, kept: Vec<usize>) -> Result<Staged, Outcome> {
    let mut inputs = Vec::with_capacity(job.inputs.len());
    for (path, hash) in &job.inputs {
        let print = fingerprint(Path::new(path), *hash)
            .map_err(|error| refuse(format_args!("the input {path} cannot be read"), &error))?;
        inputs.push(print);
    }
    Ok(Staged { inputs, kept })
}

fn refuse(what: std::fmt::Arguments<'_>, error: &io::Error) -> Outcome {
    Outcome::Stage { message: format!("{what}: {error}") }
}

enum Cleared {
    Nothing,
    File,
    Directory,
}

fn clear(path: &Path) -> io::Result<Cleared> {
    match fs::remove_file(path) {
        Ok(()) => Ok(Cleared::File),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Cleared::Nothing)
        }
        Err(_) if fs::symlink_metadata(path)?.is_dir() => Ok(Cleared::Directory),
        Err(error) => Err(error),
    }
}

fn make_dir(path: &Path) -> io::Result<()> {
    // One look for the usual case.
    if path.is_dir() { Ok(()) } else { fs::create_dir_all(path) }
}

/// Looks at what a successful attempt made; an outcome of its own when something is missing.
pub(super) fn collect(job: &Job) -> Result<Vec<Option<Fingerprint>>, Outcome> {
    let mut outputs = Vec::with_capacity(job.outputs.len());
    let mut missing = Vec::new();
    for output in &job.outputs {
        match fingerprint(Path::new(output), true) {
            Ok(None) => missing.push(output.as_str()),
            Ok(print) => outputs.push(print),
            Err(error) => {
                let message = format!("the output {output} cannot be read: {error}");
                return Err(Outcome::Stage { message });
            }
        }
    }
    match missing.as_slice() {
        [] => Ok(outputs),
        [one] => Err(Outcome::Stage { message: format!("the command succeeded but did not make its output {one}") }),
        [first, rest @ ..] => {
            let more = rest.iter().take(9).fold(String::new(), |more, name| more + ", " + name);
            let left = rest.len().saturating_sub(9);
            let end = if left > 0 { format!(" and {left} more") } else { String::new() };
            let count = missing.len();
            let message = format!("the command succeeded but did not make {count} of its outputs: {first}{more}{end}");
            Err(Outcome::Stage { message })
        }
    }
}

/// Moves aside what an attempt made that did not succeed. Returns notes.
pub(super) fn set_aside(job: &Job, staged: &Staged) -> Vec<String> {
    let mut notes = Vec::new();
    for (index, output) in job.outputs.iter().enumerate() {
        let path = Path::new(output);
        if staged.kept.contains(&index) || fs::symlink_metadata(path).is_err() {
            continue;
        }
        let aside = aside_of(path);
        if let Err(error) = replace(path, &aside) {
            notes.push(format!("the unfinished output {output} could not be moved to {}: {error}", aside.display()));
        }
    }
    notes
}

/// Removes what an earlier, failed attempt left aside.
pub(super) fn forget_aside(job: &Job) {
    for output in &job.outputs {
        let aside = aside_of(Path::new(output));
        if fs::remove_file(&aside).is_err_and(|error| error.kind() == io::ErrorKind::IsADirectory) {
            // What cannot be removed is in nobody's way: the next failure replaces it.
            fs::remove_dir_all(&aside).ok();
        }
    }
}

/// Returns where an unfinished output is moved: a hidden sibling, so that moving is one rename.
pub fn aside_of(output: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(output.file_name().unwrap_or_default());
    name.push(".failed");
    output.with_file_name(name)
}

/// Renames over whatever is there, directories too.
fn replace(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to).or_else(|_| {
        if fs::symlink_metadata(to).is_ok_and(|meta| meta.is_dir()) {
            fs::remove_dir_all(to)?;
        } else {
            fs::remove_file(to)?;
        }
        fs::rename(from, to)
    })
}

/// Returns what identifies a file; none when it is not there.
fn fingerprint(path: &Path, hash: bool) -> io::Result<Option<Fingerprint>> {
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if meta.is_dir() {
        let mut total = Fingerprint { size: 0, mtime: mtime(&meta), hash: None };
        for entry in walkdir::WalkDir::new(path).min_depth(1) {
            let meta = entry?.metadata()?;
            total.mtime = total.mtime.max(mtime(&meta));
            if meta.is_file() {
                total.size += meta.len();
            }
        }
        return Ok(Some(total));
    }
    let hash = if hash && meta.is_file() && meta.len() <= HASH_MAX { Some(digest(path)?) } else { None };
    Ok(Some(Fingerprint { size: meta.len(), mtime: mtime(&meta), hash }))
}

fn mtime(meta: &fs::Metadata) -> i64 {
    meta.mtime().saturating_mul(1_000_000).saturating_add(meta.mtime_nsec() / 1000)
}

fn digest(path: &Path) -> io::Result<[u8; 16]> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs::File::open(path)?)?;
    let mut digest = [0; 16];
    hasher.finalize_xof().fill(&mut digest);
    Ok(digest)
}
