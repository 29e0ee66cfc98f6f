//! What was said to agents, and what came of it: one line for each in a file beside the database, without commands, paths or
//! names of hosts. Whatever fails here is let go.

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::reach::clock;

/// Largest file; it begins anew then.
const LARGEST: u64 = 4 << 20;

/// How far back a call is looked for when its outcome comes.
const BACK: u64 = 64 << 10;

/// What was said to a command.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) agent: &'a str,
    pub(super) session: &'a str,
    pub(super) id: &'a str,
    pub(super) kinds: Vec<&'a str>,
    pub(super) changed: bool,
    pub(super) micros: u64,
}

/// What became of a command.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) id: String,
    pub(super) well: bool,
    pub(super) background: bool,
    pub(super) took: Option<f64>,
}

/// A line of the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Entry {
    /// When, in seconds since 1970.
    pub(super) at: i64,
    /// The call, as a hash: what the agent calls it is the agent's business.
    pub(super) call: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) session: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) agent: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) kinds: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) changed: Option<bool>,
    /// How long the answer took, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) micros: Option<u64>,
    /// Whether the command went well; none where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) well: Option<bool>,
    /// How long the command took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) took: Option<f64>,
}

/// Returns where the file lies.
pub(super) fn path(state: &Path) -> PathBuf {
    state.join("advice.jsonl")
}

fn token(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().get(..16).unwrap_or_default().to_owned()
}

/// Writes down what was said.
pub(super) fn record(state: Option<&Path>, call: &Call<'_>) {
    let entry = Entry {
        call: token(call.id),
        session: token(call.session),
        agent: call.agent.to_owned(),
        kinds: call.kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        changed: Some(call.changed),
        micros: Some(call.micros),
        ..Entry::default()
    };
    append(state, entry);
}

/// Writes down what became of a call that something was said to; the same outcome may come twice.
pub(super) fn record_outcome(state: Option<&Path>, outcome: &Outcome) {
    let call = token(&outcome.id);
    let Some(path) = state.map(path).filter(|_| !outcome.id.is_empty()) else { return };
    if !end_of(&path).is_some_and(|end| end.contains(&call)) {
        return;
    }
    // In the background it has just begun: neither its end nor its time is known.
    let known = !outcome.background;
    let entry =
        Entry { call, well: known.then_some(outcome.well), took: outcome.took.filter(|_| known), ..Entry::default() };
    append(state, entry);
}

/// Reads the end of the file.
fn end_of(path: &Path) -> Option<String> {
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(BACK))).ok()?;
    let mut bytes = Vec::new();
    file.take(BACK).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn append(state: Option<&Path>, entry: Entry) {
    let Some(state) = state else { return };
    let entry = Entry { at: clock::now().0 / 1_000_000, ..entry };
    if let Ok(line) = serde_json::to_string(&entry) {
        write(&path(state), &line);
    }
}

/// Says what went wrong.
pub(super) fn log(state: Option<&Path>, what: &str) {
    if let Some(state) = state {
        let line = what.replace('\n', " ");
        write(&state.join("hook.log"), &format!("{} {line}", clock::now()));
    }
}

/// Appends a line, in one write, so that two processes do not mix theirs.
fn write(path: &Path, line: &str) {
    let large = std::fs::metadata(path).is_ok_and(|meta| meta.len() > LARGEST);
    let file =
        std::fs::OpenOptions::new().append(!large).write(true).truncate(large).create(true).mode(0o600).open(path);
    if let Ok(mut file) = file {
        // A full disk is not the agent's trouble.
        drop(file.write_all(format!("{line}\n").as_bytes()));
    }
}

/// Reads the file; lines that make no sense are passed over.
pub(super) fn entries(state: &Path) -> Vec<Entry> {
    let text = std::fs::read_to_string(path(state)).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
