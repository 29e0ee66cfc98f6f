//! What surrounds a command: its directory, its standard input, the files that it reads and makes.
//!
//! Outputs are written in place, since tools see their real paths. Before an attempt old outputs are removed; after one that
//! did not succeed, those that exist are renamed to a hidden sibling `.NAME.failed`. So under the real name there is never a
//! half-written file once the attempt is over. Directories that were there before the attempt are left alone: other tasks may
//! keep things in them.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::language::manifest::within;
use crate::model::job::{Job, Outcome};
use crate::model::plan::Fingerprint;
use crate::reach::executor::wire::VAR_SHOWN;
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
        Err(error) => {
            let whose = strange(path, &error).unwrap_or_default();
            Err(format!("cannot remove the old output {}: {error}{whose}", path.display()))
        }
    }
}

/// Returns what is wrong with what a container made: an output that is a link to what the container did not see would show it to
/// whoever reads that output.
fn escapes(job: &Job) -> Option<String> {
    let (_, shown) = job.env.iter().find(|(name, _)| name == VAR_SHOWN)?;
    let real = |path: &str| fs::canonicalize(path).ok().and_then(|path| path.into_os_string().into_string().ok());
    let shown: Vec<String> = shown.lines().filter_map(real).collect();
    job.outputs.iter().find_map(|output| {
        let target = real(output).filter(|target| !shown.iter().any(|dir| within(target, dir)))?;
        Some(format!("its output {output} is a link that leads out of what its container sees, to {target}"))
    })
}

/// Looks at what a successful attempt made; an outcome of its own when something is missing.
pub(super) fn collect(job: &Job) -> Result<Vec<Option<Fingerprint>>, Outcome> {
    if let Some(message) = escapes(job) {
        return Err(Outcome::Stage { message });
    }
    let mut outputs = Vec::with_capacity(job.outputs.len());
    let mut missing = Vec::new();
    for output in &job.outputs {
        match fingerprint(Path::new(output), true) {
            Ok(None) => missing.push(output.as_str()),
            Ok(print) => outputs.push(print),
            Err(error) => {
                let whose = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref());
                let whose = whose.and_then(|cause| strange(Path::new(output), cause)).unwrap_or_default();
                return Err(Outcome::Stage { message: told(&error) + &whose });
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

/// Says whose a file is that may not be touched, where it is not this account's: a container that ran as root leaves such.
fn strange(path: &Path, error: &io::Error) -> Option<String> {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return None;
    }
    let me = rustix::process::geteuid().as_raw();
    let owner = |path: &Path| fs::symlink_metadata(path).ok().map(|meta| meta.uid()).filter(|uid| *uid != me);
    let dir = path.parent().and_then(|dir| Some((dir, owner(dir)?)));
    let (whose, uid) = dir.or_else(|| Some((path, owner(path)?)))?;
    Some(belongs(whose, uid, me))
}

fn belongs(path: &Path, uid: u32, me: u32) -> String {
    let whom = if uid == 0 { "root".to_owned() } else { format!("user {uid}") };
    let path = path.display();
    format!(
        "; {path} belongs to {whom}, as what a container makes that ran as {whom}: `sudo chown -R {me} {path}` gives it back"
    )
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::model::id::{InstanceId, JobKey, RunId};
    use crate::model::job::Invocation;
    use crate::model::resources::{Grant, Hold};
    use crate::model::units::Bytes;

    fn job(dir: &Path, outputs: &[&str], shown: Option<&str>) -> Job {
        Job {
            key: JobKey { run: RunId(1), instance: InstanceId(0), attempt: 1 },
            label: String::new(),
            invocation: Invocation::Argv(vec!["true".to_owned()]),
            workdir: dir.display().to_string(),
            environment: 0,
            env: shown.map(|shown| (VAR_SHOWN.to_owned(), shown.to_owned())).into_iter().collect(),
            stdin: None,
            grant: Grant { cpus: 1, mem: Bytes(1), hold: Hold::Nothing, time: None, gpus: 0 },
            checkpoint: None,
            inputs: Vec::new(),
            outputs: outputs.iter().map(|name| dir.join(name).display().to_string()).collect(),
        }
    }

    #[test]
    fn an_output_of_a_container_that_leads_out_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (root, bound) = (dir.path().join("w"), dir.path().join("bound"));
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::create_dir(&bound).unwrap();
        for path in [root.join("plain"), root.join("sub/file"), bound.join("file"), dir.path().join("secret")] {
            fs::write(path, "x").unwrap();
        }
        symlink("sub/file", root.join("inside")).unwrap();
        symlink(bound.join("file"), root.join("to-bound")).unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink("..", root.join("up")).unwrap();
        let shown = format!("{}\n{}", root.display(), bound.display());
        for (output, refused) in
            [("plain", false), ("inside", false), ("to-bound", false), ("out", true), ("up/secret", true)]
        {
            let said = collect(&job(&root, &[output], Some(&shown)));
            let says = |outcome: &Outcome| match outcome {
                Outcome::Stage { message } => message.contains("is a link that leads out of what its container sees"),
                _ => false,
            };
            assert_eq!(said.as_ref().is_err_and(says), refused, "{output}: {said:?}");
            // What runs in no container sees all of it.
            assert!(collect(&job(&root, &[output], None)).is_ok(), "{output}");
        }
    }

    #[test]
    fn whose_a_file_is_that_cannot_be_touched_is_said() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        // Its own: then something else is wrong.
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("mine"), "").unwrap();
        assert_eq!(strange(&dir.path().join("mine"), &denied), None);
        assert_eq!(strange(Path::new("/"), &io::Error::from(io::ErrorKind::NotFound)), None);
        let said = belongs(Path::new("/w/out"), 0, 1000);
        assert!(said.contains("/w/out belongs to root") && said.contains("`sudo chown -R 1000 /w/out`"), "{said}");
    }
}
