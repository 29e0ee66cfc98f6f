//! How the dialects make commands, and how they judge replies that are none.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::language::locale::OWN;
use crate::language::quote::sh;
use crate::model::batch::{BatchId, CouldNotAsk, JobName, Members, Refusal, RefusalKind, Reply, Submission, Submitted};
use crate::model::units::Bytes;

/// Which jobs are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    /// All of this user.
    Mine,
    /// These.
    Ids(&'a [BatchId]),
    /// Those with these names.
    Names(&'a [JobName]),
}

/// What is cancelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The submission.
    pub id: BatchId,
    /// Which of its members.
    pub members: Members,
}

/// A command that submits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The text for a POSIX shell, to be run in a subshell of its own.
    pub script: String,
    /// What the dialect cannot say and left out, each in one sentence.
    pub notes: Vec<String>,
}

/// The submission cannot be said in this dialect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsayable {
    /// A path that the batch system would read otherwise.
    #[error("the path `{path}` cannot be told to {system}: it holds `{letter}`")]
    Path {
        /// The path.
        path: String,
        /// Who would misread it.
        system: &'static str,
        /// What it would misread.
        letter: char,
    },
    /// A flag passed through whose name cannot be one.
    #[error("`{0}` is not the name of a flag")]
    Flag(String),
    /// A dependency that the batch system does not keep.
    #[error("{0} cannot be trusted with this dependency")]
    Dependency(&'static str),
    /// Several cores of a Grid Engine whose parallel environments are not known.
    #[error(
        "nobody knows which parallel environment gives {0} slots there: `csync hosts probe` of the host finds it, or `pe` in \
         the task's `sge` names it"
    )]
    Environment(u32),
}

/// What precedes every question: plain messages, times in UTC, a deadline where `timeout` exists.
pub(super) fn preamble(seconds: u32) -> String {
    format!(
        "LC_ALL=C TZ=UTC0 SLURM_TIME_FORMAT=standard SLURM_BITSTR_LEN=0; \
         export LC_ALL TZ SLURM_TIME_FORMAT SLURM_BITSTR_LEN\n{}",
        deadline(seconds)
    )
}

fn deadline(seconds: u32) -> String {
    format!("csync_limit=; if command -v timeout >/dev/null 2>&1; then csync_limit='timeout {seconds}'; fi\n")
}

/// Returns a command that runs with the deadline of the [`preamble`].
pub(super) fn limited(words: &[impl AsRef<str>]) -> String {
    words.iter().fold("$csync_limit".to_owned(), |mut line, word| {
        line.push(' ');
        line.push_str(&sh(word.as_ref()));
        line
    })
}

/// Returns the script that goes to the submission's directory and submits, after `first`. What a question sets is not set here, and
/// what every command of ours sets is taken back: it might reach the job.
pub(super) fn submit_from(directory: &str, first: &str, words: &[String]) -> String {
    format!("{}{OWN}{first}cd {} && {}\n", deadline(60), sh(directory), limited(words))
}

/// Returns a path in the submission's directory, if it holds none of the letters that the system reads otherwise.
pub(super) fn path(
    submission: &Submission,
    file: &str,
    system: &'static str,
    misread: &[char],
) -> Result<String, Unsayable> {
    let path = format!("{}/{file}", submission.directory);
    match path.chars().find(|letter| letter.is_control() || misread.contains(letter)) {
        Some(letter) => Err(Unsayable::Path { path, system, letter }),
        None => Ok(path),
    }
}

/// Returns the flags passed through to one dialect: name and value; `true` is a flag without one.
pub(super) fn raw_flags<'a>(
    submission: &'a Submission,
    prefix: &str,
) -> Result<Vec<(&'a str, Option<&'a str>)>, Unsayable> {
    let mine = submission.raw.iter().filter_map(|(key, value)| Some((key.strip_prefix(prefix)?, value.as_str())));
    mine.filter(|(_, value)| *value != "false")
        .map(|(name, value)| {
            let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            if name.is_empty() || name.starts_with('-') || !name.bytes().all(letters) {
                return Err(Unsayable::Flag(name.to_owned()));
            }
            Ok((name, (!value.is_empty() && value != "true").then_some(value)))
        })
        .collect()
}

/// Returns how many of a unit hold this much, rounded up, at least 1.
pub(super) fn units(bytes: Bytes, unit: Bytes) -> u64 {
    bytes.0.div_ceil(unit.0).max(1)
}

/// Returns one part of an amount that is shared out, rounded up.
pub(super) fn share(bytes: Bytes, parts: u32) -> Bytes {
    Bytes(bytes.0.div_ceil(u64::from(parts.max(1))))
}

/// Prints members as Slurm, PBS and Grid Engine take them: `3`, `1-5`, `2-8:2`.
pub(super) fn ranges(members: &Members) -> Vec<Cow<'static, str>> {
    match members {
        Members::All => Vec::new(),
        Members::One(one) => vec![Cow::Owned(one.to_string())],
        Members::Ranges(ranges) => ranges
            .iter()
            .map(|&(first, last, step)| {
                let mut text = first.to_string();
                if last > first {
                    let _infallible = write!(text, "-{last}");
                }
                if last > first && step > 1 {
                    let _infallible = write!(text, ":{step}");
                }
                Cow::Owned(text)
            })
            .collect(),
    }
}

/// Reads members as batch systems print them: `2-6%2`, `1,3,5-7`, `1-9:2`; none where the list was cut off.
pub(super) fn parse_ranges(text: &str) -> Option<Members> {
    let ranges = text.split('%').next().unwrap_or_default();
    let mut found = Vec::new();
    for part in ranges.split(',') {
        let (range, step) = part.split_once(':').unwrap_or((part, "1"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        found.push((first.trim().parse().ok()?, last.trim().parse().ok()?, step.trim().parse().ok()?));
    }
    Some(match found.as_slice() {
        [(first, last, _)] if first == last => Members::One(*first),
        _ => Members::Ranges(found),
    })
}

/// What a message means for a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Refused, and would be again.
    Refused(RefusalKind),
    /// Nothing was submitted: there are too many jobs.
    Full,
    /// Nothing was submitted; later it may be.
    Later,
    /// It may have been submitted.
    Unknown,
}

/// Judges a reply that holds no id: the first message of the table that is in it decides.
pub(super) fn judge(reply: &Reply<'_>, table: &[(&str, Meaning)]) -> Submitted {
    let message = message(reply);
    if ended_from_outside(reply.status) {
        return Submitted::Unknown(message);
    }
    let known = table.iter().find(|(text, _)| reply.stderr.contains(text) || reply.stdout.contains(text));
    let meaning = match (known, reply.status) {
        (Some((_, meaning)), _) => *meaning,
        // The command was not found, or could not be started.
        (None, 126 | 127) => Meaning::Later,
        (None, 0) => Meaning::Unknown,
        (None, _) if message.is_empty() => Meaning::Unknown,
        (None, _) => Meaning::Refused(RefusalKind::Request),
    };
    match meaning {
        Meaning::Refused(kind) => Submitted::Refused(Refusal { kind, message }),
        Meaning::Full => Submitted::Full(message),
        Meaning::Later => Submitted::Later(message),
        Meaning::Unknown => Submitted::Unknown(message),
    }
}

/// Returns whether a status says that the command did not end by itself: `timeout`'s 124, or a signal. From 153 on PBS has
/// codes of its own.
pub(super) const fn ended_from_outside(status: i32) -> bool {
    matches!(status, 124 | 129..=152)
}

/// Makes the answer of a batch system that gave none.
pub(super) fn could_not_ask(reply: &Reply<'_>) -> CouldNotAsk {
    let why = match (reply.status, message(reply)) {
        (124, _) => "it did not answer in time".to_owned(),
        (status, text) if text.is_empty() => format!("its command ended with status {status} and no message"),
        (_, text) => text,
    };
    CouldNotAsk { why }
}

/// What the commands begin their messages with.
const PREFIXES: [&str; 8] =
    ["sbatch: ", "squeue: ", "sacct: ", "qsub: ", "qstat: ", "error: ", "Unable to run job: ", "job rejected: "];

/// Returns what a command complained of, in one line: without its own name, and without how it is used.
pub(super) fn message(reply: &Reply<'_>) -> String {
    let text = if reply.stderr.trim().is_empty() { reply.stdout } else { reply.stderr };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut found: Vec<&str> = Vec::new();
    for line in lines {
        if !found.is_empty() && line.to_ascii_lowercase().starts_with("usage") {
            break;
        }
        let mut bare = line;
        while let Some(rest) = PREFIXES.iter().find_map(|prefix| bare.strip_prefix(prefix)) {
            bare = rest.trim_start();
        }
        if !bare.is_empty() && bare != "Exiting." && !found.contains(&bare) {
            found.push(bare);
        }
    }
    shortened(found.join("; "))
}

fn shortened(mut text: String) -> String {
    const MOST: usize = 500;
    if text.len() > MOST {
        let end = (0..=MOST).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text
}
