//! A line's commands as what runs where: through wrappers, shells in shells, `ssh`, and containers.

use std::sync::Arc;

use crate::decide::advise::facts::{Facts, HostFacts};
use crate::language::shell::{
    Command, Document, File, Input, LoopKind, Opened, Output, Script, Stands, Word, call, guessed_ssh, in_terminal,
    inner_script, read, reads_input, ssh, unwrap,
};

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
    /// Whether it is started again and again as it is.
    pub(super) again: bool,
    /// Whether it stands in a text that only the shell here knows wholly, or that comes from elsewhere.
    pub(super) open: bool,
    /// Whether it runs as another user, who has other settings.
    pub(super) as_other: bool,
    /// Whether it is given a terminal of its own.
    pub(super) has_terminal: bool,
    /// The loops around it, each by a number of its own.
    pub(super) loops: Vec<(usize, LoopKind)>,
    /// Its directory, where that is known.
    pub(super) cwd: Option<String>,
    /// What its standard input brings it, where that is known.
    input: Option<Arc<str>>,
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
        absolute(path, self.cwd.as_deref())
    }
}

/// Returns an absolute path, where the directory is known.
pub(super) fn absolute(path: &str, cwd: Option<&str>) -> Option<String> {
    let path = path.strip_prefix("./").unwrap_or(path);
    if path.starts_with('/') {
        return Some(path.to_owned());
    }
    (!path.starts_with('~') && !path.split('/').any(|part| part == "..")).then_some(())?;
    let cwd = cwd?;
    Some(if path == "." { cwd.to_owned() } else { format!("{}/{path}", cwd.trim_end_matches('/')) })
}

/// A file that a shell opens for a command.
#[derive(Clone, Debug)]
pub(super) struct Redirect {
    /// The command of the line that it is for, or is in.
    pub(super) command: usize,
    /// The file.
    pub(super) file: File,
    /// Where the shell runs.
    pub(super) at: At,
    /// Its directory, where that is known.
    pub(super) cwd: Option<String>,
}

/// A line, with everything that runs because of it.
#[derive(Debug)]
pub(super) struct Line<'s> {
    /// The line.
    pub(super) script: &'s Script,
    /// What runs, in order.
    pub(super) steps: Vec<Step>,
    /// What is opened for it.
    pub(super) redirects: Vec<Redirect>,
    /// The number of the next loop.
    fresh: usize,
}

impl<'s> Line<'s> {
    pub(super) fn new(script: &'s Script, cwd: &str, facts: &impl Facts) -> Self {
        let mut line = Self { script, steps: Vec::new(), redirects: Vec::new(), fresh: script.loops.len() };
        let mut cwd = cwd.starts_with('/').then(|| cwd.to_owned());
        let text: Arc<str> = script.text.as_str().into();
        if script.commands.is_empty() {
            line.open(script, 0, 0, &At::Here, cwd.as_ref());
        }
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
                again: false,
                open: false,
                as_other: false,
                has_terminal: false,
                loops: loops(script, command.stands, 0),
                input: input(script, index, cwd.as_deref(), Some(facts)),
                cwd: cwd.clone(),
            };
            line.open(script, index, index, &At::Here, cwd.as_ref());
            line.add(step, &script.defines, facts, 0);
            moved(command, &mut cwd);
        }
        line
    }

    /// Adds the files that are opened for a command of a text.
    fn open(&mut self, script: &Script, index: usize, command: usize, at: &At, cwd: Option<&String>) {
        for file in script.files.iter().filter(|file| script.opener(file) == index) {
            let redirect = Redirect { command, file: file.clone(), at: at.clone(), cwd: cwd.cloned() };
            self.redirects.push(redirect);
        }
    }

    /// Returns the command of the line that a step belongs to.
    pub(super) fn command(&self, step: &Step) -> Option<&'s Command> {
        self.script.commands.get(step.command)
    }

    /// Says whether the command that a step belongs to is an `ssh` that is there for something else than to run a command.
    pub(super) fn forwards(&self, step: &Step) -> bool {
        let call = self.command(step).and_then(|command| guessed_ssh(&command.words, unwrap(&command.words)?.head));
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
        step.again |= found.again;
        // What is not known to be the program is not changed.
        step.own &= !found.unsure;
        step.as_other |= found.as_other;
        step.has_terminal |= found.has_terminal;
        let inner = if depth < DEEPEST { inner_text(&step, facts) } else { None };
        let next = if depth < DEEPEST { started(&step) } else { Vec::new() };
        let as_other = step.as_other || matches!(step.program(), Some("su" | "runuser"));
        let frame = Step { words: Vec::new(), head: 0, own: false, as_other, ..step.clone() };
        self.steps.push(step);
        if let Some(Inner { text, at, cwd, open, has_terminal, input }) = inner {
            let open = frame.open || open;
            let has_terminal = (frame.has_terminal && at == frame.at) || has_terminal;
            self.add_text(&text, &Step { at, open, has_terminal, cwd, input, ..frame.clone() }, facts, depth + 1);
        }
        for Started { words, how } in next {
            let mut step = Step { words, ..frame.clone() };
            match how {
                How::Inside => (step.at, step.cwd) = (At::Inside, None),
                How::InJob => step.in_job = true,
                How::InTerminal => step.has_terminal = true,
                How::ForEach => step.many = true,
            }
            self.add(step, defines, facts, depth + 1);
        }
    }

    /// Adds the commands of a text; each of them is like `frame` but for its words.
    fn add_text<F: Facts>(&mut self, text: &str, frame: &Step, facts: &F, depth: usize) {
        let Some(script) = read(text) else { return };
        let first = self.fresh;
        self.fresh += script.loops.len();
        let mut cwd = frame.cwd.clone();
        let text: Arc<str> = text.into();
        if script.commands.is_empty() {
            self.open(&script, 0, frame.command, &frame.at, cwd.as_ref());
        }
        for (index, inner) in script.commands.iter().enumerate().take(MOST) {
            self.open(&script, index, frame.command, &frame.at, cwd.as_ref());
            if inner.stands.in_heredoc || self.steps.len() >= MOST * 2 {
                continue;
            }
            let many = frame.many || inner.stands.in_loop.is_some();
            let words = inner.words.clone();
            let own = loops(&script, inner.stands, first);
            let loops = own.into_iter().chain(frame.loops.iter().copied()).collect();
            let none: Option<&F> = None;
            let input = match inner.stands.input {
                Input::Inherited => frame.input.clone(),
                _ => input(&script, index, None, none),
            };
            let step = Step { text: Arc::clone(&text), words, many, loops, input, cwd: cwd.clone(), ..frame.clone() };
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
    /// Whether something of it is known to the shell here alone, or it comes from elsewhere.
    open: bool,
    /// Whether that is given a terminal.
    has_terminal: bool,
    /// What is left on its standard input.
    input: Option<Arc<str>>,
}

/// Returns what standard input brings a command: a here-document, or a small file of this machine.
fn input(script: &Script, index: usize, cwd: Option<&str>, facts: Option<&impl Facts>) -> Option<Arc<str>> {
    let command = script.commands.get(index)?;
    // A file is only opened where something may run it.
    let runs = |word: &Word| {
        let name = word.fixed().unwrap_or_default();
        matches!(name.rsplit('/').next(), Some("ssh" | "bash" | "sh" | "dash" | "zsh" | "ksh"))
    };
    let facts = facts.filter(|_| command.words.iter().any(runs));
    let read = |name: &str| facts?.batch_script(&absolute(name, cwd)?).map(Arc::from);
    match command.stands.input {
        Input::Here => {
            let of = |document: &&Document| script.first_of(&document.of) == Some(index);
            script.documents.iter().rev().find(of).map(|document| document.text.as_str().into())
        }
        Input::File => {
            let opened = |file: &&File| !file.is_written && script.first_of(&file.span) == Some(index);
            read(script.files.iter().rev().find(opened)?.word.fixed()?)
        }
        // `cat FILE |`
        Input::Pipe => match script.commands.get(index.checked_sub(1)?)? {
            Command { words, stands, .. } if stands.output == Output::Pipe => match words.as_slice() {
                [cat, file] if cat.fixed() == Some("cat") => read(file.fixed()?),
                _ => None,
            },
            _ => None,
        },
        Input::Inherited => None,
    }
}

/// Returns the text that a program hands to a shell.
fn inner_text(step: &Step, facts: &impl Facts) -> Option<Inner> {
    let words = step.words.get(step.head..)?;
    let here = |text: &str, known: bool| Inner {
        text: text.to_owned(),
        at: step.at.clone(),
        cwd: step.cwd.clone(),
        open: !known,
        has_terminal: false,
        input: step.input.clone(),
    };
    let of = |word: &Word| here(word.shown(), word.fixed().is_some());
    if let Some(text) = inner_script(words) {
        return Some(of(text));
    }
    if reads_input(words) {
        return step.input.as_deref().map(|text| Inner { input: None, ..here(text, false) });
    }
    // These hand what they are given to a shell, which takes it apart again.
    let around = step.words.get(..step.head)?.iter().filter_map(Word::fixed);
    let around: Vec<&str> = around.map(|word| word.rsplit('/').next().unwrap_or(word)).collect();
    let first = words.first()?;
    if first.shown().contains(' ') && around.iter().any(|name| matches!(*name, "watch" | "parallel")) {
        return Some(of(first));
    }
    if first.fixed() == Some("-c") && around.last() == Some(&"flock") {
        return words.get(1).map(of);
    }
    if matches!(step.program(), Some("su" | "runuser")) {
        let names =
            |word: &Word| word.text.starts_with('-') && !word.text.starts_with("--") && word.text.ends_with('c');
        let at = step.arguments().iter().position(|word| names(word) || word.text == "--command")?;
        return step.arguments().get(at + 1).map(|text| Inner { cwd: None, ..of(text) });
    }
    if let Some(Opened::Text(text, known)) = in_terminal(words) {
        return Some(Inner { has_terminal: true, input: None, ..here(text, known) });
    }
    let call = guessed_ssh(&step.words, step.head)?;
    let destination = step.words.get(call.destination)?.fixed()?;
    let name = host_of(destination);
    let at = match facts.host(name) {
        Some(found) if found.is_node => At::Node(found.host, name.to_owned()),
        found => At::There(found.map(|found| found.host), name.to_owned()),
    };
    // What is typed there, in a way.
    let input = step.input.clone().filter(|_| !call.call.has(&["n", "N", "f", "W", "O"]));
    let Some(command) = call.call.command else {
        let text = input?.to_string();
        return Some(Inner { text, at, cwd: None, open: true, has_terminal: false, input: None });
    };
    let known = ssh(&step.words, step.head).is_some();
    let open = !known || step.words.get(command..)?.iter().any(|word| word.fixed().is_none());
    let text = call.shown(&step.words)?;
    Some(Inner { text, at, cwd: None, open, has_terminal: false, input })
}

/// A command that a program starts.
struct Started {
    words: Vec<Word>,
    how: How,
}

/// How a command is started.
enum How {
    /// In a container.
    Inside,
    /// In a job.
    InJob,
    /// In a terminal that is made for it.
    InTerminal,
    /// For each of the files that are found.
    ForEach,
}

/// Returns the commands that a program starts.
fn started(step: &Step) -> Vec<Started> {
    let of = |at: usize, how: How| {
        step.words.get(at..).map(|words| Started { words: words.to_vec(), how }).into_iter().collect()
    };
    match step.program() {
        Some("find" | "gfind") => return executed(step.arguments()),
        Some("fd" | "fdfind") => {
            let runs = |word: &Word| matches!(word.text.as_str(), "-x" | "-X" | "--exec" | "--exec-batch");
            let at = step.arguments().iter().position(runs);
            return at.map_or_else(Vec::new, |at| of(step.head + at + 2, How::ForEach));
        }
        Some("tmux") => {
            return match step.words.get(step.head..).and_then(in_terminal) {
                Some(Opened::Words(at)) => of(step.head + at, How::InTerminal),
                _ => Vec::new(),
            };
        }
        _ => {}
    }
    let Some(call) = call(&step.words, step.head) else { return Vec::new() };
    let how = match call.program {
        "docker" | "podman" | "apptainer" | "singularity" => How::Inside,
        // Their command is a script of the other machine, or of this one; `srun` starts a program.
        "srun" | "salloc" | "qrsh" | "bsub" => How::InJob,
        _ => return Vec::new(),
    };
    call.command.map_or_else(Vec::new, |at| of(at, how))
}

/// Returns what `find` starts for what it finds.
fn executed(arguments: &[Word]) -> Vec<Started> {
    let mut found = Vec::new();
    let mut rest = arguments;
    let starts = |word: &Word| matches!(word.text.as_str(), "-exec" | "-execdir" | "-ok" | "-okdir");
    while let Some(at) = rest.iter().position(starts) {
        rest = rest.get(at + 1..).unwrap_or_default();
        let ends = |at: &usize| match rest.get(*at).map(|word| word.text.as_str()) {
            Some("+") => at.checked_sub(1).and_then(|before| rest.get(before)).is_some_and(|word| word.text == "{}"),
            end => end == Some(";"),
        };
        let end = (0..rest.len()).find(ends).unwrap_or(rest.len());
        let words = rest.get(..end).unwrap_or_default().to_vec();
        found.push(Started { words, how: How::ForEach });
        rest = rest.get(end..).unwrap_or_default();
    }
    found
}

/// Takes the host out of `user@host` and `ssh://user@host:port`.
pub(super) fn host_of(destination: &str) -> &str {
    let (uri, rest) = destination.strip_prefix("ssh://").map_or((false, destination), |rest| (true, rest));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    if uri { host.split([':', '/']).next().unwrap_or(host) } else { host }
}
