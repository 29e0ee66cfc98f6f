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
    /// The command to run instead.
    pub(super) changed: Option<&'a str>,
    pub(super) micros: u64,
}

/// What became of a command.
#[derive(Debug)]
pub(super) struct Outcome<'a> {
    pub(super) session: &'a str,
    pub(super) id: &'a str,
    /// The command as it ran.
    pub(super) ran: &'a str,
    /// Whether it went well; none where that is not known.
    pub(super) well: Option<bool>,
    pub(super) code: Option<i32>,
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
    /// The command to run instead, as a hash that means something beside the agent's name of the call alone.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) meant: String,
    /// Whether the changed command is what ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) taken: Option<bool>,
    /// How long the answer took, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) micros: Option<u64>,
    /// Whether the command went well; none where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) well: Option<bool>,
    /// The exit code of one that failed, where the agent says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<i32>,
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

/// Returns what a call is kept under: agents' names of calls may begin anew with every session.
fn call_token(session: &str, id: &str) -> String {
    token(&format!("{session}\0{id}"))
}

/// Returns a command's hash. What the agent calls the call is kept nowhere, so nobody can guess a command and try it.
fn command_token(session: &str, id: &str, command: &str) -> String {
    token(&format!("{session}\0{id}\0{command}"))
}

/// Writes down what was said.
pub(super) fn record(state: Option<&Path>, call: &Call<'_>) {
    let meant = call.changed.map(|command| command_token(call.session, call.id, command));
    let entry = Entry {
        call: call_token(call.session, call.id),
        session: token(call.session),
        agent: call.agent.to_owned(),
        kinds: call.kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        changed: Some(call.changed.is_some()),
        meant: meant.unwrap_or_default(),
        micros: Some(call.micros),
        ..Entry::default()
    };
    append(state, entry);
}

/// Writes down what became of a call that something was said to; the same outcome may come twice.
pub(super) fn record_outcome(state: Option<&Path>, outcome: &Outcome<'_>) {
    let call = call_token(outcome.session, outcome.id);
    let Some(path) = state.map(path).filter(|_| !outcome.id.is_empty()) else { return };
    let end = end_of(&path).unwrap_or_default();
    let mut said = end.lines().filter(|line| line.contains(&call)).peekable();
    if said.peek().is_none() {
        return;
    }
    let meant = said.filter_map(|line| serde_json::from_str::<Entry>(line).ok()).find(|entry| !entry.meant.is_empty());
    let ran = command_token(outcome.session, outcome.id, outcome.ran);
    let entry = Entry {
        call,
        taken: meant.map(|entry| entry.meant == ran),
        well: outcome.well,
        code: outcome.code,
        took: outcome.took.filter(|_| outcome.well.is_some()),
        ..Entry::default()
    };
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
