//! The dialects against what real batch systems said: `tests/replies`, recorded from Slurm, OpenPBS and Grid Engine.

mod cancel;
mod history;
mod load;
mod probe;
mod queue;
mod submit;
mod traces;

use std::fs;
use std::path::PathBuf;

use crate::model::batch::Reply;

/// The recorded Slurms.
pub(super) const SLURMS: [&str; 4] = ["slurm-20.11", "slurm-22.05-cgroup", "slurm-24.11", "slurm-26.05"];

/// What the test bed's own OpenPBS said.
pub(super) const OPENPBS: &str = "openpbs-23.06.06";

/// A recorded reply.
#[derive(Clone, Debug)]
pub(super) struct Recorded {
    /// `folder/name`.
    pub(super) name: String,
    /// What was asked.
    pub(super) command: String,
    /// The exit status.
    pub(super) status: i32,
    /// Standard output.
    pub(super) stdout: String,
    /// Standard error.
    pub(super) stderr: String,
}

impl Recorded {
    /// Returns it as a dialect reads it.
    pub(super) fn reply(&self) -> Reply<'_> {
        Reply { status: self.status, stdout: &self.stdout, stderr: &self.stderr }
    }
}

/// Makes a reply that was not recorded.
pub(super) const fn said<'a>(status: i32, stdout: &'a str, stderr: &'a str) -> Reply<'a> {
    Reply { status, stdout, stderr }
}

pub(super) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/replies")
}

/// Reads a recorded file; not all are UTF-8.
pub(super) fn file(path: &str) -> String {
    let bytes = fs::read(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads all replies of a folder, by its index.
pub(super) fn recorded(folder: &str) -> Vec<Recorded> {
    let index = if folder == "pbs" { "INDEX.tsv" } else { "index.tsv" };
    let lines = file(&format!("{folder}/{index}"));
    let lines = lines.lines().skip(usize::from(folder == "pbs"));
    lines.filter_map(|line| read(folder, &line.split('\t').collect::<Vec<_>>())).collect()
}

/// Reads one reply by its name, without the ending of its file.
pub(super) fn reply(folder: &str, name: &str) -> Recorded {
    let wanted = format!("{folder}/{name}");
    recorded(folder).into_iter().find(|reply| reply.name == wanted).unwrap_or_else(|| panic!("no reply {wanted}"))
}

/// Reads a line of an index; none where only the index was kept.
fn read(folder: &str, cells: &[&str]) -> Option<Recorded> {
    let pbs = folder == "pbs";
    let stem = if pbs { cells[0].rsplit_once('.').unwrap().0 } else { cells[0] };
    let side = |ending: &str| fs::read(root().join(format!("{folder}/{ending}"))).unwrap_or_default();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (out, err) = if pbs {
        (cells[0].to_owned(), format!("{stem}.stderr"))
    } else {
        (format!("{stem}.out"), format!("{stem}.err"))
    };
    if !root().join(format!("{folder}/{out}")).exists() && !root().join(format!("{folder}/{err}")).exists() {
        return None;
    }
    Some(Recorded {
        name: format!("{folder}/{stem}"),
        command: (*cells.last().unwrap()).to_owned(),
        status: cells[1].parse().unwrap(),
        stdout: text(side(&out)),
        stderr: text(side(&err)),
    })
}

/// Prints recorded replies as a script of several commands would have.
pub(super) fn script_output(parts: &[(&str, i32, &str)]) -> String {
    let section =
        |(name, status, text): &(&str, i32, &str)| format!("\n@@csync {name}\n{text}\n@@csync-status {status}\n");
    parts.iter().map(section).collect()
}
