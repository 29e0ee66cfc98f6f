//! The hook itself: one JSON value on standard input, one line or nothing on standard output, exit code 0 whatever happens.
//!
//! Nothing heavy is touched on this way: no command line is built, no runtime started, no database opened. A thread of its own
//! ends the process in silence when the deadline passes.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::cli::errors::Exit;
use crate::cli::hook::calls::{self, Call, Outcome};
use crate::cli::hook::chained::{self, Other};
use crate::cli::hook::layers;
use crate::cli::hook::lesson;
use crate::cli::hook::lookup::{Lookup, Stale};
use crate::decide::advise::{Mode, Verdict, advise};
use crate::language::hook::{Agent, Event, Moment, Reply, Scanner, read, render};
use crate::reach::advice::refresh_in_background;
use crate::reach::config::StateDir;

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_millis(50);

/// Most bytes of an event that are read.
const LARGEST: u64 = 8 << 20;

/// A call of the hook.
pub(super) struct Asked {
    pub(super) agent: Agent,
    pub(super) mode: Mode,
    pub(super) state: Option<StateDir>,
}

impl Asked {
    pub(super) fn root(&self) -> Option<&Path> {
        self.state.as_ref().map(StateDir::root)
    }
}

/// Answers an agent, where these are the arguments of its hook. Options that are not known are passed over: a hook that fails
/// for them would disturb every command of a session.
pub(crate) fn alone(args: &[OsString]) -> Option<Exit> {
    let [_, hook, agent, rest @ ..] = args else { return None };
    let agent = Agent::named(agent.to_str().filter(|_| hook == "hook")?)?;
    if rest.iter().any(|arg| matches!(arg.to_str(), Some("--help" | "-h"))) {
        return None;
    }
    let mode = rest.iter().fold(Mode::Advise, |mode, arg| match arg.to_str() {
        Some("--rewrite" | "--rewrite=options") => Mode::Rewrite,
        Some("--rewrite=submit") => Mode::Submit,
        _ => mode,
    });
    let state = StateDir::locate(|name| std::env::var_os(name)).ok();
    let asked = Asked { agent, mode, state };
    let log = asked.root().map(Path::to_path_buf);
    std::panic::set_hook(Box::new(move |info| calls::log(log.as_deref(), &format!("panic: {info}"))));
    if let Some(other) = rest.iter().find_map(|arg| Other::read(arg.to_str()?.strip_prefix(chained::OPTION)?)) {
        return Some(chained::answer(&asked, &other));
    }
    let speaking = watch(&asked, agent.silence().to_owned());
    // What went wrong stands in the log; the agent goes on.
    drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| answer(&asked, &speaking))));
    if !speaking.swap(true, Ordering::AcqRel) {
        print(agent.silence());
    }
    Some(Exit::Success)
}

/// Ends the process when the deadline passes and nothing was said yet, with these words where there are any. Who speaks takes the
/// word first: true means that it is taken.
#[expect(clippy::exit, reason = "the thread that answers may hang in a system call: nothing else ends it")]
pub(super) fn watch(asked: &Asked, last: String) -> Arc<AtomicBool> {
    let speaking = Arc::new(AtomicBool::new(false));
    let (word, state) = (Arc::clone(&speaking), asked.root().map(Path::to_path_buf));
    let deadline = std::env::var("CSYNC_HOOK_DEADLINE_MS").ok().and_then(|text| text.parse().ok());
    let deadline = deadline.map_or(DEADLINE, Duration::from_millis);
    let watcher = std::thread::Builder::new().stack_size(64 << 10).spawn(move || {
        std::thread::sleep(deadline);
        if !word.swap(true, Ordering::AcqRel) {
            print(&last);
            calls::log(state.as_deref(), "the deadline passed");
            std::process::exit(0);
        }
    });
    // Without a thread there is no deadline; the answer is as good.
    drop(watcher);
    speaking
}

/// Prints a line, where there is one.
pub(super) fn print(line: &str) {
    if !line.is_empty() {
        let mut out = std::io::stdout().lock();
        // Whoever does not listen misses nothing that matters.
        drop(out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()));
    }
}

fn answer(asked: &Asked, speaking: &AtomicBool) {
    let Some(bytes) = input() else { return };
    let start = Instant::now();
    let Some(event) = read(asked.agent, &bytes) else { return };
    match event.moment {
        Moment::Before => before(asked, &event, start, speaking),
        Moment::After { well, unknown } => {
            let reply = event.command.as_ref().filter(|_| asked.agent.is_told_after()).and_then(|command| {
                let facts = Lookup::open(asked.state.as_ref());
                judged(asked.agent, &event, command, Mode::Advise, &facts).1
            });
            say(asked, &event, reply.as_ref(), speaking);
            after(asked, &event, (!unknown).then_some(well));
        }
        Moment::Start => {
            say(asked, &event, None, speaking);
            refresh_in_background();
        }
        Moment::End | Moment::Other => say(asked, &event, None, speaking),
    }
}

/// Writes down what became of a command, and what is learned of it.
fn after(asked: &Asked, event: &Event, well: Option<bool>) {
    let ran = event.command.as_deref().unwrap_or_default();
    let (session, id, took, code) = (event.session.as_str(), event.call.as_str(), event.took, event.code);
    calls::record_outcome(asked.root(), &Outcome { session, id, ran, well, code, took });
    if well == Some(true) {
        lesson::keep(asked, event, ran);
    }
}

/// Judges a command.
fn before(asked: &Asked, event: &Event, start: Instant, speaking: &AtomicBool) {
    let Some(command) = &event.command else { return say(asked, event, None, speaking) };
    let facts = Lookup::open(asked.state.as_ref());
    // What an agent does not take is not said to have been changed.
    let mode = if event.takes_changes(asked.agent) { asked.mode } else { Mode::Advise };
    let (verdict, reply) = judged(asked.agent, event, command, mode, &facts);
    say(asked, event, reply.as_ref(), speaking);
    if let Some(reply) = &reply {
        record(asked, event, &verdict, reply, start);
    }
    if facts.stale(asked.root()) == Stale::Yes {
        refresh_in_background();
    }
}

/// Writes down what was said.
pub(super) fn record(asked: &Asked, event: &Event, verdict: &Verdict, reply: &Reply, start: Instant) {
    let call = Call {
        agent: asked.agent.name(),
        session: &event.session,
        id: &event.call,
        kinds: verdict.advice.iter().map(|piece| piece.kind.name()).collect(),
        changed: reply.command.as_deref(),
        micros: u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX),
    };
    calls::record(asked.root(), &call);
}

/// Judges a command by what is known, and by the person's own rules: where one fits, nothing is said.
pub(super) fn judged(
    agent: Agent,
    event: &Event,
    command: &str,
    mode: Mode,
    facts: &Lookup,
) -> (Verdict, Option<Reply>) {
    let verdict = advise(command, &event.cwd, mode, facts);
    let forbidden = !verdict.advice.is_empty() && layers::rules(agent, &event.cwd).fit(command);
    let reply = if forbidden { None } else { reply(command, &verdict) };
    (verdict, reply)
}

/// Puts a verdict into words: facts, no orders.
pub(super) fn reply(command: &str, verdict: &Verdict) -> Option<Reply> {
    if verdict.advice.is_empty() {
        return None;
    }
    let mut lines: Vec<String> = verdict.advice.iter().map(|piece| format!("csync: {}", piece.text)).collect();
    if let Some(changed) = &verdict.rewritten {
        lines.push(format!("csync: the command was changed from `{command}` to `{changed}` before it ran."));
    }
    Some(Reply { text: lines.join("\n"), command: verdict.rewritten.clone() })
}

/// Prints the answer, whole or not at all.
fn say(asked: &Asked, event: &Event, reply: Option<&Reply>, speaking: &AtomicBool) {
    let Some(line) = render(asked.agent, event, reply) else {
        speaking.store(true, Ordering::Release);
        return;
    };
    if !speaking.swap(true, Ordering::AcqRel) {
        print(&line);
    }
}

/// Reads one JSON value. The stream may stay open behind it.
pub(super) fn input() -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(16 << 10);
    let mut stdin = std::io::stdin().lock().take(LARGEST);
    let mut chunk = [0; 8 << 10];
    let mut scanner = Scanner::default();
    loop {
        let length = stdin.read(&mut chunk).ok().filter(|length| *length > 0)?;
        let came = chunk.get(..length)?;
        bytes.extend_from_slice(came);
        if let Some(end) = scanner.feed(came) {
            bytes.truncate(end);
            return Some(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_agents_take_the_short_way() {
        for args in [
            &["csync", "hook"][..],
            &["csync", "hook", "install"],
            &["csync", "run", "claude"],
            &["csync", "hook", "claude", "--help"],
        ] {
            let args: Vec<OsString> = args.iter().map(OsString::from).collect();
            assert!(alone(&args).is_none(), "{args:?}");
        }
    }
}
