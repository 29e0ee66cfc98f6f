//! Heavy work where a login leads, on a cluster that wants it in jobs.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::decide::advise::facts::{Facts, HostFacts, Learned};
use crate::decide::advise::heavy::is_heavy;
use crate::decide::advise::walk::{At, Line, Step};
use crate::decide::advise::{Advice, Kind, Mode};
use crate::language::quote::sh;
use crate::language::shell::{Input, Output, Splice, Stands, Word, read, ssh};
use crate::model::batch::Flavour;
use crate::model::host::Agents;
use crate::model::units::{Bytes, Walltime};

/// Looks for heavy work on login nodes.
pub(super) fn look(line: &Line<'_>, facts: &impl Facts, advice: &mut Vec<Advice>) {
    let here = facts.here();
    for step in &line.steps {
        let host = match &step.at {
            At::Here => here.as_ref(),
            At::There(host, _) => host.as_ref(),
            At::Node(..) | At::Inside => None,
        };
        let Some(host) = host.filter(|host| host.light && host.batch.is_some() && !step.in_job) else { continue };
        let Some(program) = step.program() else { continue };
        if !is_heavy(&step.words, step.head) && !was_heavy(step, program, host, facts) {
            continue;
        }
        let Some(stands) = line.command(step).map(|command| command.stands) else { continue };
        if stands.in_heredoc || stands.substituted || line.forwards(step) {
            continue;
        }
        // Of a pipe the first is spoken of: all of it is one job.
        let before = advice.last().is_some_and(|last| last.kind == Kind::LoginNode && last.command + 1 == step.command);
        if before && step.own && stands.input == Input::Pipe {
            continue;
        }
        advice.push(judge(line, step, program, host, facts));
    }
}

/// From this on a command keeps a machine busy.
const LONG: Walltime = Walltime(600);
const LARGE: Bytes = Bytes::gib(8);

/// Says whether a program of the person's own took long, or much, so far.
fn was_heavy(step: &Step, program: &str, host: &HostFacts, facts: &impl Facts) -> bool {
    let called = step.words.get(step.head).and_then(Word::fixed).unwrap_or_default();
    // Their own stands at a path, or is a script that a shell is given.
    let shell = matches!(program, "bash" | "sh" | "zsh")
        && step.arguments().first().is_some_and(|word| !word.text.starts_with('-'));
    if !called.contains('/') && !shell {
        return false;
    }
    let words: Option<Vec<&str>> = words_of(step);
    let learned = words.and_then(|words| facts.request(&words, &host.name, step.cwd.as_deref()));
    learned.is_some_and(|learned| {
        learned.walltime.is_some_and(|time| time >= LONG) || learned.memory.is_some_and(|memory| memory >= LARGE)
    })
}

/// Returns the program and its arguments, where nothing in them expands.
fn words_of(step: &Step) -> Option<Vec<&str>> {
    step.words.get(step.head..).unwrap_or_default().iter().map(Word::fixed).collect()
}

fn judge(line: &Line<'_>, step: &Step, program: &str, host: &Arc<HostFacts>, facts: &impl Facts) -> Advice {
    // `xargs bwa`, and what a loop gives it: the words are not all that it is started with.
    let words = words_of(step).filter(|_| !step.many);
    let learned = words.as_ref().and_then(|words| facts.request(words, &host.name, step.cwd.as_deref()));
    let name = &host.name;
    let mut text = format!(
        "`{program}` would run on the login node of {name}, where nothing heavy runs (policy.login_node = light)."
    );
    let options = options(host, learned.as_ref());
    let stands = line.command(step).filter(|_| step.own).map(|command| command.stands).unwrap_or_default();
    let piped = stands.input == Input::Pipe || stands.output == Output::Pipe;
    match (host.agents, &words) {
        (agents, _) if piped && agents != Agents::Deny => {
            let _ = write!(
                text,
                " The whole pipe as one job, which takes the files of this directory along: `csync submit {} -- sh -c 'PIPE'`.",
                options.join(" ")
            );
        }
        (Agents::Deny, _) => {
            let _ = write!(text, " Coding agents may start nothing on {name} (policy.agents = deny): a person has to.");
        }
        (_, Some(words)) => {
            let command: Vec<_> = words.iter().map(|word| sh(word)).collect();
            let _ = write!(
                text,
                " As a job, which takes the files of this directory along: `csync submit {} -- {}`.",
                options.join(" "),
                command.join(" ")
            );
        }
        (_, None) => {
            let _ = write!(
                text,
                " As a job, which takes the files of this directory along: `csync submit {} -- COMMAND`.",
                options.join(" ")
            );
        }
    }
    if matches!(&step.at, At::There(..)) && host.batch == Some(Flavour::Slurm) && host.agents != Agents::Deny {
        let _ = write!(text, " What lies on {name} already can be run by `sbatch --wrap` there.");
    }
    if let Some(learned) = &learned {
        let _ = write!(text, " The request is from {}.", learned.source);
    }
    let change = (host.agents != Agents::Deny).then(|| change(line, step, options)).flatten();
    Advice { kind: Kind::LoginNode, text, command: step.command, change }
}

/// Returns the options of `csync submit` for a host and what was learned.
fn options(host: &HostFacts, learned: Option<&Learned>) -> Vec<String> {
    let mut options = vec!["--on".to_owned(), host.name.clone()];
    let Some(learned) = learned else { return options };
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            options.extend([name.to_owned(), value]);
        }
    };
    add("--cpus", learned.cores.map(|cores| cores.min(most_cores(host)).to_string()));
    add("--mem", learned.memory.map(Bytes::exactly));
    add("--time", learned.walltime.map(|walltime| walltime.to_string()));
    options
}

/// Returns the cores of the largest node that a job may have; any number where some partition does not tell.
fn most_cores(host: &HostFacts) -> u32 {
    let open = host.partitions.iter().filter(|partition| partition.is_up);
    open.map(|partition| partition.cores.unwrap_or(u32::MAX)).max().unwrap_or(u32::MAX)
}

/// Returns the submission in the place of an `ssh` that stands alone: nothing reads what it prints, and it reads nothing.
fn change(line: &Line<'_>, step: &Step, options: Vec<String>) -> Option<(Mode, Splice)> {
    let command = line.command(step)?;
    let stands = command.stands;
    let alone = !step.many
        && stands.input == Input::Inherited
        && stands.output == Output::Inherited
        && stands.in_loop.is_none()
        && !stands.redirected
        && !stands.in_function
        && command.assigns.is_empty()
        && line.steps.iter().filter(|other| other.command == step.command && !other.own).count() == 1;
    let call = ssh(&command.words, 0).filter(|_| alone)?;
    let harmless =
        call.call.options.iter().all(|option| matches!(option.name, "q" | "v" | "T" | "x" | "n" | "C" | "4" | "6"));
    let first = call.call.command.filter(|_| harmless)?;
    let remote = call.remote(&command.words)?;
    let script = read(&remote)?;
    let only = script.commands.first().filter(|_| script.commands.len() == 1 && script.loops.is_empty())?;
    if only.stands != Stands::default() || !only.assigns.is_empty() || only.span != (0..remote.len()) {
        return None;
    }
    // The words of the other shell's command, one by one: only what needs no shell.
    let words: Vec<String> = step.words.iter().map(|word| word.fixed().map(str::to_owned)).collect::<Option<_>>()?;
    let mut with = vec!["csync".to_owned(), "submit".to_owned()];
    with.extend(options);
    with.push("--".to_owned());
    with.extend(words);
    let words = 0..command.words.len();
    words.contains(&first).then_some((Mode::Submit, Splice { command: step.command, words, with }))
}
