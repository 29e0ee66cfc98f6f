//! What `qstat -f` prints: a record a job, reduced to the attributes of interest before it leaves the host.

use std::borrow::Cow;

use crate::language::batch::call::{Ask, could_not_ask, ended_from_outside, preamble};
use crate::language::batch::pbs::traces::look;
use crate::language::batch::text::attributes;
use crate::language::quote::sh;
use crate::model::batch::{BatchId, CouldNotAsk, Members, Reply};

/// The attributes kept, as a pattern of `grep -E`. Of ten thousand jobs the rest, mostly environment, would be 10 MB.
const KEPT: &str = "^(Job Id: |Owner: |    (Job_Name|Job_Owner|job_state|substate|queue|exec_host|stime|mtime|obittime|\
                    comment|Hold_Types|depend|array|Exit_status|run_count|Stageout_status|estimated\\.start_time|\
                    resources_used\\.(cput|mem|walltime|diag_messages)|Resource_List\\.(mem|walltime)) = )";

/// Most ids in one command: each costs the server a connection, and some 500 a minute exhaust the ports of a login node.
const MOST_IDS: usize = 40;

/// What the commands say that did not reach the server, in small letters. Whole phrases: ids hold the server's name, whatever that
/// is, and a server that "could not connect to MOM" was reached itself.
const UNREACHED: [&str; 9] = [
    "cannot connect",
    "couldn't connect",
    "unable to connect",
    "failed to connect",
    "connection refused",
    "connection reset",
    "communication failure",
    "no route to host",
    "reserved ports",
];

/// Returns whether a command did not reach the server, as far as it says so.
pub(super) fn did_not_reach(stderr: &str) -> bool {
    let said = stderr.to_ascii_lowercase();
    UNREACHED.iter().any(|text| said.contains(text))
}

/// What `qstat` says of a job.
#[derive(Clone, Debug)]
pub(super) struct Record<'a> {
    /// The submission's id, `12[].server` of a member too.
    pub(super) id: BatchId,
    /// Which member; all of a plain job, and of an array's own record.
    pub(super) members: Members,
    keys: Vec<(&'a str, Cow<'a, str>)>,
}

impl Record<'_> {
    /// Returns an attribute.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        // A handful of keys: a map would cost more to make than it saves.
        self.keys.iter().find(|(name, _)| *name == key).map(|(_, value)| &**value)
    }

    /// Returns an attribute that is a number.
    pub(super) fn number(&self, key: &str) -> Option<i32> {
        self.get(key)?.trim().parse().ok()
    }

    /// Whether this is the record of an array as a whole.
    pub(super) fn is_array(&self) -> bool {
        self.members == Members::All && self.id.as_str().contains("[]")
    }
}

/// Returns the command that asks for records; `history` is `-x` or nothing. Its status is that of `qstat`.
pub(super) fn ask(ask: Ask<'_>, history: &str) -> String {
    let flags = format!("{history} -f -w -t");
    let print = format!("s=$?; printf 'Owner: %s\\n' \"$(id -un)\"; printf '%s\\n' \"$o\" | grep -E {} ;", sh(KEPT));
    let keep = format!("{print} exit $s");
    let preamble = preamble(50);
    match ask {
        Ask::Ids(ids) if ids.len() <= MOST_IDS => {
            // The history does not know one of them either.
            let more = if history.is_empty() { String::new() } else { format!("[ $s != 153 ] || {}", look(ids)) };
            let ids: Vec<_> = ids.iter().map(|id| sh(id.as_str())).collect();
            format!("{preamble}o=$($csync_limit qstat {flags} {}); {print}\n{more}exit $s\n", ids.join(" "))
        }
        Ask::Names(names) if names.len() <= MOST_IDS => {
            let selects: Vec<_> =
                names.iter().map(|n| format!("$csync_limit qselect {history} -N {}", sh(n.as_str()))).collect();
            // Without any id `qstat` would tell of everything.
            format!(
                "{preamble}set -f; i=$({}) || exit\no=; if [ -n \"$i\" ]; then o=$($csync_limit qstat {flags} $i); fi; {keep}\n",
                selects.join(" && ")
            )
        }
        Ask::Mine | Ask::Ids(_) | Ask::Names(_) => format!("{preamble}o=$($csync_limit qstat {flags}); {keep}\n"),
    }
}

/// Reads the records of this user; none where the server could not be asked. With several ids the exit status speaks of the
/// last that was not known, so that the text is judged first.
pub(super) fn parse<'a>(reply: &Reply<'a>) -> Result<Vec<Record<'a>>, CouldNotAsk> {
    const NO_ANSWER: [&str; 3] = ["not configured to maintain job history", "timed out", "End of File"];
    const GONE: [&str; 2] = ["Unknown Job Id", "Job has finished"];
    let complained = NO_ANSWER.iter().any(|text| reply.stderr.contains(text)) || did_not_reach(reply.stderr);
    let understood = reply.status == 0 || GONE.iter().any(|text| reply.stderr.contains(text));
    if complained || !understood || ended_from_outside(reply.status) {
        return Err(could_not_ask(reply));
    }
    // Commands of another system by the same name write their records otherwise. That none of ours is among them says nothing.
    let is_odd = |part: &str| part.split_once('\n').is_none_or(|(_, rest)| attributes(rest).is_empty());
    // Nor does a table: it is not what was asked for.
    let says_something =
        split(reply.stdout).next().is_some() || reply.stdout.lines().any(|line| line.starts_with("---"));
    if says_something && split(reply.stdout).all(is_odd) {
        return Err(CouldNotAsk { why: "`qstat` answers in the words of another batch system".to_owned() });
    }
    Ok(records(reply.stdout))
}

fn records(text: &str) -> Vec<Record<'_>> {
    let owner = text.lines().find_map(|line| line.strip_prefix("Owner: ")).map(str::trim);
    let mut found = Vec::new();
    for part in split(text) {
        let (head, rest) = part.split_once('\n').unwrap_or((part, ""));
        let Some((id, members)) = identify(head.trim()) else { continue };
        let record = Record { id, members, keys: attributes(rest) };
        let mine = match (owner, record.get("Job_Owner")) {
            (Some(owner), Some(whose)) => whose.split('@').next() == Some(owner),
            _ => true,
        };
        if mine {
            found.push(record);
        }
    }
    found
}

/// Splits at lines `Job Id: `, which begin records.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text.strip_prefix("Job Id:").or_else(|| text.split_once("\nJob Id:").map(|(_, rest)| rest));
    std::iter::from_fn(move || {
        let text = rest?;
        let (part, after) = match text.split_once("\nJob Id:") {
            Some((part, after)) => (part, Some(after)),
            None => (text, None),
        };
        rest = after;
        Some(part)
    })
}

/// Takes `12.server`, `5[].server`, `5[2].server` apart.
fn identify(text: &str) -> Option<(BatchId, Members)> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    match text.split_once('[') {
        Some((number, rest)) => {
            let (index, server) = rest.split_once(']')?;
            let members = if index.is_empty() { Members::All } else { Members::One(index.parse().ok()?) };
            Some((BatchId(format!("{number}[]{server}")), members))
        }
        None => Some((BatchId(text.to_owned()), Members::All)),
    }
}
