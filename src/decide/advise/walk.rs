//! A line's commands as what runs where: through wrappers, shells in shells, `ssh`, and containers.

use std::sync::Arc;

use crate::decide::advise::facts::{Facts, HostFacts};
use crate::language::shell::{Command, LoopKind, Means, Script, Stands, Word, call, inner_script, read, ssh, unwrap};

/// Deepest nesting of texts in texts.
const DEEPEST: usize = 3;

/// Most commands of a line that are looked at.
const MOST: usize = 64;

/// Where a command runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// On this machine.
    Here,
    /// Where `ssh` leads: the host, where it is known, and its name.
    There(Option<Arc<HostFacts>>, String),
    /// On a compute node of the host, by its name.
    Node(Arc<HostFacts>, String),
    /// In a container, or where else nobody knows.
    Inside,
}

/// A command that runs somewhere.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Step {
    /// The command of the line that it is, or is in.
    pub(super) command: usize,
    /// The text that its words stand in.
    pub(super) text: Arc<str>,
    /// Its words.
    pub(super) words: Vec<Word>,
    /// The word of the program that does the work.
    pub(super) head: usize,
    /// Where it runs.
    pub(super) at: At,
    /// Whether it is the line's own command, whose words can be changed: not one in a text.
    pub(super) own: bool,
    /// Whether a job of a batch system runs it.
    pub(super) in_job: bool,
    /// Whether it is started more than once, or with more words.
    pub(super) many: bool,
    /// Whether it runs as another user, who has other settings.
    pub(super) as_other: bool,
    /// The loops around it, each by a number of its own.
    pub(super) loops: Vec<(usize, LoopKind)>,
    /// Its directory, where that is known.
    pub(super) cwd: Option<String>,
}

impl Step {
    /// Returns the program without its directory.
    pub(super) fn program(&self) -> Option<&str> {
        let name = self.words.get(self.head)?.fixed()?;
        Some(name.rsplit('/').next().unwrap_or(name))
    }

    /// Returns the arguments.
    pub(super) fn arguments(&self) -> &[Word] {
        self.words.get(self.head + 1..).unwrap_or_default()
    }

    /// Returns a word as it is written, quotes and expansions and all.
    pub(super) fn written(&self, word: &Word) -> &str {
        self.text.get(word.span.clone()).unwrap_or_default()
    }

    /// Returns an absolute path for an argument, where the directory is known.
    pub(super) fn absolute(&self, path: &str) -> Option<String> {
        let path = path.strip_prefix("./").unwrap_or(path);
        if path.starts_with('/') {
            return Some(path.to_owned());
        }
        (!path.starts_with('~') && !path.split('/').any(|part| part == "..")).then_some(())?;
        let cwd = self.cwd.as_ref()?;
        Some(if path == "." { cwd.clone() } else { format!("{}/{path}", cwd.trim_end_matches('/')) })
    }
}

/// A line, with everything that runs because of it.
#[derive(Debug)]
pub(super) struct Line<'s> {
    /// The line.
    pub(super) script: &'s Script,
    /// What runs, in order.
    pub(super) steps: Vec<Step>,
    /// The number of the next loop.
    fresh: usize,
}

impl<'s> Line<'s> {
    pub(super) fn new(script: &'s Script, cwd: &str, facts: &impl Facts) -> Self {
        let mut line = Self { script, steps: Vec::new(), fresh: script.loops.len() };
        let mut cwd = cwd.starts_with('/').then(|| cwd.to_owned());
        let text: Arc<str> = script.text.as_str().into();
        for (index, command) in script.commands.iter().enumerate().take(MOST) {
            let step = Step {
                command: index,
                text: Arc::clone(&text),
                words: command.words.clone(),
                head: 0,
                at: At::Here,
                own: true,
                in_job: false,
                many: false,
                as_other: false,
                loops: loops(script, command.stands, 0),
                cwd: cwd.clone(),
            };
            line.add(step, &script.defines, facts, 0);
            moved(command, &mut cwd);
        }
        line
    }

    /// Returns the command of the line that a step belongs to.
    pub(super) fn command(&self, step: &Step) -> Option<&'s Command> {
        self.script.commands.get(step.command)
    }

    /// Says whether the command that a step belongs to is an `ssh` that is there for something else than to run a command.
    pub(super) fn forwards(&self, step: &Step) -> bool {
        let call = self.command(step).and_then(|command| ssh(&command.words, unwrap(&command.words)?.head));
        call.is_some_and(|ssh| ssh.call.has(&["D", "L", "N", "O", "R", "W", "w"]))
    }

    fn add(&mut self, mut step: Step, defines: &[String], facts: &impl Facts, depth: usize) {
        // What a function or an alias of the line does under a program's name is not the program's doing.
        let named = step.words.first().and_then(Word::fixed);
        let Some(found) =
            unwrap(&step.words).filter(|_| !named.is_some_and(|name| defines.iter().any(|own| own == name)))
        else {
            return;
        };
        step.head = found.head;
        step.many |= found.many;
        step.as_other |= found.as_other;
        let inner = if depth < DEEPEST { inner_text(&step, facts) } else { None };
        let next = if depth < DEEPEST { started(&step) } else { None };
        let frame = Step { words: Vec::new(), head: 0, own: false, ..step.clone() };
        self.steps.push(step);
        if let Some(Inner { text, at, cwd, open }) = inner {
            let many = frame.many || open;
            self.add_text(&text, &Step { at, many, cwd, ..frame.clone() }, facts, depth + 1);
        }
        if let Some((words, inside, in_job)) = next {
            let (at, cwd) = if inside { (At::Inside, None) } else { (frame.at.clone(), frame.cwd.clone()) };
            let in_job = frame.in_job || in_job;
            self.add(Step { words, at, in_job, cwd, ..frame }, defines, facts, depth + 1);
        }
    }

    /// Adds the commands of a text; each of them is like `frame` but for its words.
    fn add_text(&mut self, text: &str, frame: &Step, facts: &impl Facts, depth: usize) {
        let Some(script) = read(text) else { return };
        let first = self.fresh;
        self.fresh += script.loops.len();
        let mut cwd = frame.cwd.clone();
        let text: Arc<str> = text.into();
        for inner in script.commands.iter().take(MOST) {
            if inner.stands.in_heredoc || self.steps.len() >= MOST * 2 {
                continue;
            }
            let many = frame.many || inner.stands.in_loop.is_some();
            let words = inner.words.clone();
            let own = loops(&script, inner.stands, first);
            let loops = own.into_iter().chain(frame.loops.iter().copied()).collect();
            let step = Step { text: Arc::clone(&text), words, many, loops, cwd: cwd.clone(), ..frame.clone() };
            self.add(step, &script.defines, facts, depth);
            moved(inner, &mut cwd);
        }
    }
}

/// Returns the loops around a command of a text, whose first loop has this number.
fn loops(script: &Script, stands: Stands, first: usize) -> Vec<(usize, LoopKind)> {
    let around = std::iter::successors(stands.in_loop, |at| script.loops.get(*at)?.outer);
    around.filter_map(|at| Some((first + at, script.loops.get(at)?.kind))).collect()
}

/// Follows `cd`: where it leads, where that is known.
fn moved(command: &Command, cwd: &mut Option<String>) {
    if command.stands.apart || !matches!(command.head(), Some("cd" | "pushd" | "popd")) {
        return;
    }
    let to = match command.words.as_slice() {
        [_, to] if command.head() == Some("cd") && command.stands.in_loop.is_none() => to.fixed(),
        _ => None,
    };
    *cwd = to.filter(|to| !to.starts_with('-') && !to.split('/').any(|part| part == "..")).and_then(|to| {
        let below = cwd.as_ref().map(|cwd| format!("{}/{to}", cwd.trim_end_matches('/')));
        if to.starts_with('/') { Some(to.to_owned()) } else { below }
    });
}

/// A text that a program hands to a shell.
struct Inner {
    text: String,
    /// Where that runs.
    at: At,
    /// In which directory.
    cwd: Option<String>,
    /// Whether more follows, which only the shell here knows.
    open: bool,
}

/// Returns the text that a program hands to a shell.
fn inner_text(step: &Step, facts: &impl Facts) -> Option<Inner> {
    let words = step.words.get(step.head..)?;
    let here = |text: &str| Inner { text: text.to_owned(), at: step.at.clone(), cwd: step.cwd.clone(), open: false };
    if let Some(text) = inner_script(words) {
        return Some(here(text));
    }
    // These hand what they are given to a shell, which takes it apart again.
    let around = step.words.get(..step.head)?.iter().filter_map(Word::fixed);
    let mut shells = around.filter(|word| matches!(word.rsplit('/').next(), Some("watch" | "parallel")));
    if let Some(text) = words.first()?.fixed().filter(|text| text.contains(' ') && shells.next().is_some()) {
        return Some(here(text));
    }
    let call = ssh(&step.words, step.head)?;
    let destination = step.words.get(call.destination)?.fixed()?;
    let name = host_of(destination);
    let at = match facts.host(name) {
        Some(found) if found.is_node => At::Node(found.host, name.to_owned()),
        found => At::There(found.map(|found| found.host), name.to_owned()),
    };
    match call.remote(&step.words) {
        Some(text) => Some(Inner { text, at, cwd: None, open: false }),
        None => Some(Inner { text: beginning(step.words.get(call.call.command?..)?)?, at, cwd: None, open: true }),
    }
}

/// Returns what the other side's shell is given, up to the last word that nothing in it expands before.
fn beginning(words: &[Word]) -> Option<String> {
    let known = words.iter().take_while(|word| word.means == Means::Itself).count();
    let parts: Vec<&str> = words.iter().take(known + 1).map(|word| word.text.as_str()).collect();
    let text = parts.join(" ");
    // The last word may go on.
    Some(text.get(..text.rfind([' ', '\n', '\t'])?)?.to_owned())
}

/// Returns the command that a program starts, whether that runs in a container, and whether in a job.
fn started(step: &Step) -> Option<(Vec<Word>, bool, bool)> {
    let call = call(&step.words, step.head)?;
    let inside = match call.program {
        "docker" | "podman" | "apptainer" | "singularity" => true,
        // Their command is a script of the other machine, or of this one; `srun` starts a program.
        "srun" | "salloc" | "qrsh" | "bsub" => false,
        _ => return None,
    };
    Some((step.words.get(call.command?..)?.to_vec(), inside, !inside))
}

/// Takes the host out of `user@host` and `ssh://user@host:port`.
pub(super) fn host_of(destination: &str) -> &str {
    let (uri, rest) = destination.strip_prefix("ssh://").map_or((false, destination), |rest| (true, rest));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    if uri { host.split([':', '/']).next().unwrap_or(host) } else { host }
}
