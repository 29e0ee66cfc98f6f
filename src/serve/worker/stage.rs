//! What surrounds a command: its directory, its standard input, the files that it reads and makes.
//!
//! Outputs are written in place, since tools see their real paths. Before an attempt old outputs are removed; after one that
//! did not succeed, those that exist are renamed to a hidden sibling `.NAME.failed`. So under the real name there is never a
//! half-written file once the attempt is over. Directories that were there before the attempt are left alone: other tasks may
//! keep things in them.

use std::fs;
use std::io;
use std::path::Path;

use crate::model::job::{Job, Outcome};
use crate::model::plan::Fingerprint;
use crate::reach::files::aside;
use crate::reach::files::look::fingerprint;

/// What was found before the start.
#[derive(Debug, Default)]
pub(super) struct Staged {
    /// The inputs as they are.
    pub(super) inputs: Vec<Option<Fingerprint>>,
    /// Positions of outputs that are directories already.
    kept: Vec<usize>,
}

/// Makes the directories of outputs and removes old outputs; returns the positions of outputs that are directories already.
pub(super) fn make_room(job: &Job) -> Result<Vec<usize>, Outcome> {
    let refuse = |message| Outcome::Stage { message };
    let mut kept = Vec::new();
    for (index, output) in job.outputs.iter().enumerate() {
        let path = Path::new(output);
        match clear(path).map_err(refuse)? {
            Cleared::Directory => kept.push(index),
            Cleared::Nothing if let Some(parent) = path.parent().filter(|parent| !parent.is_dir()) => {
                fs::create_dir_all(parent)
                    .map_err(|error| refuse(format!("cannot make the directory of the output {output}: {error}")))?;
            }
            Cleared::Nothing | Cleared::File => {}
        }
    }
    Ok(kept)
}

/// Looks at the inputs.
pub(super) fn look(job: &Job, kept: Vec<usize>) -> Result<Staged, Outcome> {
    let print = |(path, hash): &(String, bool)| fingerprint(Path::new(path), *hash);
    let inputs = job.inputs.iter().map(print).collect::<Result<_, _>>();
    let inputs = inputs.map_err(|error| Outcome::Stage { message: told(&error) })?;
    Ok(Staged { inputs, kept })
}

enum Cleared {
    Nothing,
    File,
    Directory,
}

fn clear(path: &Path) -> Result<Cleared, String> {
    match fs::remove_file(path) {
        Ok(()) => Ok(Cleared::File),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Cleared::Nothing)
        }
        Err(_) if fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir()) => Ok(Cleared::Directory),
        Err(error) => Err(format!("cannot remove the old output {}: {error}", path.display())),
    }
}

/// Looks at what a successful attempt made; an outcome of its own when something is missing.
pub(super) fn collect(job: &Job) -> Result<Vec<Option<Fingerprint>>, Outcome> {
    let mut outputs = Vec::with_capacity(job.outputs.len());
    let mut missing = Vec::new();
    for output in &job.outputs {
        match fingerprint(Path::new(output), true) {
            Ok(None) => missing.push(output.as_str()),
            Ok(print) => outputs.push(print),
            Err(error) => return Err(Outcome::Stage { message: told(&error) }),
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
        if staged.kept.contains(&index) {
            continue;
        }
        if let Err(error) = aside::set_aside(Path::new(output)) {
            notes.push(format!("an unfinished output stays under its name: {}", told(&error)));
        }
    }
    notes
}

/// Removes what an earlier, failed attempt left aside.
pub(super) fn forget_aside(job: &Job) {
    for output in &job.outputs {
        if let Some(aside) = aside::aside(Path::new(output)) {
            // What cannot be removed is in nobody's way: the next failure replaces it.
            aside::remove(&aside).ok();
        }
    }
}

/// An error with its causes, on one line.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}
