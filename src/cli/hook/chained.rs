//! Another hook that csync's is put behind: it is asked first, as the agent would ask it, and csync judges what it made of the
//! command. What it says on permission is handed on as it is, and then csync changes nothing.
//!
//! The other one takes as long as it takes: what ends it is the agent's own limit, as before. From then on csync's deadline runs;
//! when that passes, or csync's own part fails, what the other said is the answer.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Instant;

use serde::Deserialize;

use crate::cli::errors::Exit;
use crate::cli::hook::fast::{Asked, input, judged, print, record, watch};
use crate::cli::hook::layers;
use crate::cli::hook::lookup::Lookup;
use crate::decide::advise::Mode;
use crate::language::hook::{Event, Moment, Reply, Theirs, read};

/// The option that has the other hook, as JSON.
pub(super) const OPTION: &str = "--chain=";

/// By this code a hook forbids the command; its reason is on standard error.
const FORBIDS: i32 = 2;

/// Most bytes of an answer that are read.
const LARGEST: u64 = 8 << 20;

/// Another hook, as an agent's settings have it.
#[derive(Debug, Deserialize)]
pub(super) struct Other {
    command: String,
    #[serde(default)]
    args: Option<Vec<String>>,
}

impl Other {
    /// Reads one.
    pub(super) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Asks it; returns its answer and its exit code. None where it cannot be started, which changes nothing for an agent.
    fn ask(&self, event: &[u8]) -> Option<(String, i32)> {
        let mut command = Command::new(if self.args.is_some() { &self.command } else { "sh" });
        if let Some(args) = &self.args {
            command.args(args);
        } else {
            command.args(["-c", &self.command]);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let mut answer = Vec::new();
        // It may speak before it has heard everything.
        std::thread::scope(|scope| {
            scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(event)));
            stdout.map(|stdout| stdout.take(LARGEST).read_to_end(&mut answer))
        });
        let code = child.wait().ok()?.code().unwrap_or(1);
        Some((String::from_utf8_lossy(&answer).into_owned(), code))
    }
}

/// Answers an agent with what the other says and what csync does.
pub(super) fn answer(asked: &Asked, other: &Other) -> Exit {
    let Some(bytes) = input() else { return Exit::Success };
    let (answer, code) = other.ask(&bytes).unwrap_or_default();
    if code == FORBIDS {
        print(answer.trim());
        return Exit::Usage;
    }
    let start = Instant::now();
    let theirs = Theirs::read(&answer);
    let alone = if theirs.is_some() { answer.trim() } else { "" };
    let speaking = watch(asked, alone.to_owned());
    let event = read(asked.agent, &bytes).filter(|event| event.moment == Moment::Before);
    // What went wrong stands in the log; the other's answer holds.
    let merged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let event = event?;
        let reply = own(asked, &event, theirs.as_ref(), start);
        if theirs.is_none() && reply.is_none() { None } else { theirs.unwrap_or_default().with(&event, reply.as_ref()) }
    }));
    let line = merged.ok().flatten();
    if !speaking.swap(true, Ordering::AcqRel) {
        print(line.as_deref().unwrap_or(alone));
    }
    Exit::Success
}

/// Returns what csync has to say to the command as the other left it.
fn own(asked: &Asked, event: &Event, theirs: Option<&Theirs>, start: Instant) -> Option<Reply> {
    let typed = event.command.as_ref()?;
    let command = theirs.and_then(Theirs::command).unwrap_or_else(|| typed.clone());
    // A change by csync would go under the other one's word.
    let mode = if theirs.is_some_and(Theirs::decides) { Mode::Advise } else { asked.mode };
    let facts = Lookup::open(asked.state.as_ref());
    let (verdict, reply) = judged(asked.agent, event, &command, mode, &facts);
    let reply = reply.filter(|_| command == *typed || !layers::rules(asked.agent, &event.cwd).fit(typed))?;
    record(asked, event, &verdict, &reply, start);
    Some(reply)
}
