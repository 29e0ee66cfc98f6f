//! `qstat -xml`.

use crate::language::batch::call::{Ask, could_not_ask, ended_from_outside, parse_ranges, preamble};
use crate::language::batch::sge::xml::{Piece, pieces};
use crate::language::batch::table::iso_time;
use crate::model::batch::{BatchId, CouldNotAsk, Members, Prospect, Queue, QueueState, Queued, Reply};

/// Returns the command that asks the queue; it always tells of all jobs of this user. Members of an array that wait are one
/// entry; with text in place of XML, names would be cut.
pub fn queue(_ask: Ask<'_>) -> String {
    format!("{}$csync_limit qstat -u \"$(id -un)\" -xml\n", preamble(30))
}

/// What an entry says.
#[derive(Clone, Debug, Default)]
struct Entry {
    id: String,
    name: Option<String>,
    word: String,
    start: Option<String>,
    queue: Option<String>,
    tasks: Option<String>,
}

/// Reads what it said. A document that was cut off is no answer.
pub fn parse_queue(reply: &Reply<'_>) -> Result<Queue, CouldNotAsk> {
    if reply.status != 0 || ended_from_outside(reply.status) {
        return Err(could_not_ask(reply));
    }
    let mut jobs = Vec::new();
    let mut entry = Entry::default();
    let mut tag = "";
    let mut depth = 0usize;
    let mut whole = false;
    for piece in pieces(reply.stdout) {
        match piece {
            Piece::Open(name, _) => {
                depth += 1;
                tag = name;
                if name == "job_list" {
                    entry = Entry::default();
                }
            }
            Piece::Text(text) => entry.set(tag, text.into_owned()),
            Piece::Close(name) => {
                depth = depth.saturating_sub(1);
                tag = "";
                if name == "job_list" {
                    jobs.extend(std::mem::take(&mut entry).read());
                }
                whole |= name == "job_info" && depth == 0;
            }
        }
    }
    if whole { Ok(Queue::new(jobs)) } else { Err(could_not_ask(reply)) }
}

impl Entry {
    fn set(&mut self, tag: &str, text: String) {
        match tag {
            "JB_job_number" => self.id = text,
            "full_job_name" => self.name = Some(text),
            "JB_name" => {
                self.name.get_or_insert(text);
            }
            "state" => self.word = text,
            "JAT_start_time" => self.start = Some(text),
            "queue_name" => self.queue = Some(text),
            "tasks" => self.tasks = Some(text),
            _ => {}
        }
    }

    fn read(self) -> Option<Queued> {
        if self.id.is_empty() || !self.id.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let (queue, host) = match self.queue.as_deref().and_then(|place| place.split_once('@')) {
            Some((queue, host)) => (Some(queue.to_owned()), Some(host.to_owned())),
            None => (self.queue, None),
        };
        let (state, prospect) = state(&self.word);
        Some(Queued {
            id: BatchId(self.id),
            members: self.tasks.as_deref().map_or(Members::All, |tasks| parse_ranges(tasks).unwrap_or(Members::All)),
            name: self.name,
            state,
            word: self.word,
            over: None,
            reason: None,
            prospect,
            partition: queue,
            node: host,
            start: self.start.as_deref().and_then(iso_time),
        })
    }
}

/// Reads the letters of a state: `qw`, `hqw`, `Eqw`, `r`, `t`, `dr`, `Rq`, `s`, `T`, `z`.
fn state(word: &str) -> (QueueState, Prospect) {
    let has = |letter: char| word.contains(letter);
    if has('E') {
        // Waits until somebody clears the error; csync does not.
        (QueueState::Stuck, Prospect::Blocked)
    } else if has('d') {
        (QueueState::Ending, Prospect::Normal)
    } else if has('z') {
        (QueueState::Over, Prospect::Normal)
    } else if has('s') || has('S') || has('T') {
        (QueueState::Suspended, Prospect::Normal)
    } else if has('r') || has('t') {
        (QueueState::Running, Prospect::Normal)
    } else if has('h') {
        (QueueState::Held, Prospect::Blocked)
    } else {
        (QueueState::Waiting, Prospect::Normal)
    }
}

/// Returns the command that asks why jobs are in error or do not start.
pub fn explain(ids: &[BatchId]) -> String {
    let ids: Vec<&str> = ids.iter().map(BatchId::as_str).collect();
    format!("{}$csync_limit qstat -j {}\n", preamble(30), crate::language::quote::sh(&ids.join(",")))
}

/// Reads the reasons out of what `qstat -j` said: of errors first, else of the scheduler.
pub fn parse_explain(reply: &Reply<'_>) -> Vec<(BatchId, String)> {
    let mut found: Vec<(BatchId, String)> = Vec::new();
    let mut error = false;
    for line in reply.stdout.lines() {
        let Some((key, value)) = line.split_once(':').map(|(key, value)| (key.trim(), value.trim())) else { continue };
        if key == "job_number" {
            found.push((BatchId(value.to_owned()), String::new()));
            error = false;
        } else if let Some((_, why)) = found.last_mut() {
            if key.starts_with("error reason") {
                // `11/21/2026 03:31:10 [2101:738]: error: can't chdir to ...`
                let text = value.split_once("]:").map_or(value, |(_, text)| text.trim());
                text.strip_prefix("error: ").unwrap_or(text).clone_into(why);
                error = true;
            } else if key == "scheduling info" && !error {
                value.clone_into(why);
            }
        }
    }
    found.retain(|(_, why)| !why.is_empty());
    found
}
