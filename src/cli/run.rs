//! `csync run`: one command as a run.

use std::ffi::OsString;
use std::path::Path;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure, Source};
use crate::cli::follow::interrupts;
use crate::cli::logs::copy;
use crate::cli::submission::{Wishes, WorkflowFile, directory, hand_in, submission};
use crate::cli::view;
use crate::cli::view::words::{duration, outcome};
use crate::model::api::{InstanceView, RunState, RunSummary, Selection, Stream};
use crate::model::id::{InstanceId, RunId};
use crate::model::job::{Outcome, State};
use crate::model::units::{Bytes, Walltime};
use crate::reach::client::{InstanceQuery, LogQuery};

/// Run one command and stay with it
///
/// The command runs here, in this directory and environment, when there is room for it; its standard output and standard
/// error come through, and its exit code is passed on. Its standard input is empty. Ctrl-C cancels it. It is a run like any
/// other: `csync why`, `csync logs` and `csync report` know it, and it always runs.
#[derive(Debug, clap::Args)]
#[command(override_usage = "csync run [OPTIONS] -- COMMAND [ARGUMENT]...")]
pub struct Args {
    /// Call the run so; the command's name when not given
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Cores
    #[arg(short, long, value_name = "N")]
    cpus: Option<u32>,
    /// Memory, at which the command is ended: 512M, 8G
    #[arg(short, long, value_name = "MEMORY")]
    mem: Option<Bytes>,
    /// Walltime, at which the command is ended: 90s, 1h30m, 01:30:00
    #[arg(short, long, value_name = "TIME")]
    time: Option<Walltime>,
    /// GPUs
    #[arg(long, value_name = "N")]
    gpus: Option<u32>,
    /// Run again so many times after it ran out of memory or time, with more of it
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// Do not stay with it
    #[arg(short, long)]
    detach: bool,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let text = workflow(args)?;
    let source = Source { name: "<csync run>".to_owned(), text };
    let file = WorkflowFile { source, path: None, root: directory(Path::new("."))? };
    let submission = submission(&file, Wishes::default())?;
    context.block_on(async {
        let client = context.reach().await?;
        let submitted = hand_in(context, &client, &submission, &file.source).await?;
        if args.detach {
            if context.json() {
                context.print_json(&submitted)?;
            } else if context.quiet() {
                context.print(&submitted.run.to_string())?;
            } else {
                context.print(&format!("Submitted run {}.", submitted.run))?;
                context.say(&format!("`csync logs -f {}` shows what it writes.", submitted.run));
            }
            return Ok(Exit::Success);
        }
        stay(context, submitted.run).await
    })
}

/// Writes the workflow of one task.
fn workflow(args: &Args) -> Result<String, Failure> {
    let mut command = Vec::new();
    for arg in &args.command {
        let Some(arg) = arg.to_str() else {
            return Err(Failure::usage(format!("the argument `{}` is not UTF-8", arg.display()))
                .hint("a run's record is text: put the name into a script, and run that"));
        };
        command.push(toml_string(&arg.replace('{', "{{").replace('}', "}}")));
    }
    let program = args.command.first().map(Path::new).and_then(Path::file_name);
    let task = task_name(&program.unwrap_or_default().to_string_lossy());
    let name = args.name.as_deref().unwrap_or(&task);
    let mut resources = Vec::new();
    resources.extend(args.cpus.map(|cpus| format!("cpus = {cpus}")));
    resources.extend(args.mem.map(|mem| format!("mem = \"{}B\"", mem.0)));
    resources.extend(args.time.map(|time| format!("time = \"{}s\"", time.0)));
    resources.extend(args.gpus.map(|gpus| format!("gpus = {gpus}")));
    let retries = args.retries.map_or(String::new(), |retries| format!("retries = {retries}\n"));
    Ok(format!(
        "name = {}\n\n[tasks.{task}]\nrun = [{}]\ncache = false\n{retries}resources = {{ {} }}\n",
        toml_string(name),
        command.join(", "),
        resources.join(", ")
    ))
}

/// Makes a task's name from a program's.
fn task_name(program: &str) -> String {
    let name: String =
        program.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '-' }).collect();
    let name = name.trim_matches('-');
    match name.chars().next() {
        None => "command".to_owned(),
        Some(first) if first.is_ascii_digit() => format!("run-{name}"),
        Some(_) => name.to_owned(),
    }
}

/// Quotes text for TOML, whose basic strings are those of JSON but for one character.
fn toml_string(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// Shows what the command writes until it ends, and passes its exit code on. Ctrl-C cancels it; a second one leaves.
async fn stay(context: &Context, run: RunId) -> Result<Exit, Failure> {
    let mut interrupts = interrupts()?;
    let over = async {
        output(context, run).await?;
        Ok::<RunSummary, Failure>(context.reach().await?.wait(run.into()).await?)
    };
    let mut over = std::pin::pin!(over);
    let mut cancelled = false;
    let summary = loop {
        tokio::select! {
            summary = &mut over => break summary?,
            _ = interrupts.recv() => {
                if cancelled {
                    return Err(Failure::interrupted(format!("left run {run}, which is being cancelled"))
                        .hint(format!("`csync show {run}` says how it stands")));
                }
                cancelled = true;
                context.reach().await?.cancel(run.into(), &Selection::default()).await?;
            }
        }
    };
    conclude(context, &summary).await
}

/// Copies both streams as they are written, attempt by attempt. With `--json` nothing but the value belongs on standard output.
async fn output(context: &Context, run: RunId) -> Result<(), Failure> {
    for attempt in 1.. {
        let query =
            |stream| LogQuery { instance: InstanceId(0), attempt: Some(attempt), stream, follow: true, tail: None };
        let (json, stdout, stderr) = (context.json(), query(Stream::Stdout), query(Stream::Stderr));
        tokio::try_join!(copy(context, run, stdout, json), copy(context, run, stderr, json))?;
        let page = context.reach().await?.instances(run.into(), &InstanceQuery::default()).await?;
        if page.instances.iter().all(|instance| instance.state.is_over()) {
            break;
        }
    }
    Ok(())
}

async fn conclude(context: &Context, summary: &RunSummary) -> Result<Exit, Failure> {
    let page = context.reach().await?.instances(summary.run.into(), &InstanceQuery::default()).await?;
    let Some(instance) = page.instances.into_iter().next() else {
        return Err(Failure::internal(format!("run {} has no instance", summary.run)));
    };
    let exit = exit(summary.state, &instance);
    if context.json() {
        context.print_json(
            &json!({"run": summary.run, "summary": summary, "instance": instance, "exit_code": exit.number()}),
        )?;
    } else if exit != Exit::Success {
        let how = instance.outcome.as_ref().map_or(view::words::state(instance.state).to_owned(), outcome);
        let usage = instance.attempts.last().and_then(|attempt| attempt.usage);
        let after = usage.map_or(String::new(), |usage| format!(" after {}", duration(usage.wall)));
        context.say(&format!("csync: {how}{after}; `csync why {}` says more.", summary.run));
    }
    Ok(exit)
}

/// Returns the command's exit code, or what stands for the way in which it ended.
fn exit(state: RunState, instance: &InstanceView) -> Exit {
    match (&instance.outcome, instance.state, state) {
        (Some(Outcome::Cancelled), _, _) | (_, State::Cancelled, _) | (_, _, RunState::Cancelled) => Exit::Interrupted,
        (Some(Outcome::Exit { code, .. }), _, _) => Exit::Command(u8::try_from(*code).unwrap_or(u8::MAX)),
        (Some(Outcome::Success), _, _) | (_, _, RunState::Succeeded) => Exit::Success,
        _ => Exit::RunFailed,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cli::view::fixtures;

    fn args(command: &[&str]) -> Args {
        Args {
            name: None,
            cpus: None,
            mem: None,
            time: None,
            gpus: None,
            retries: None,
            detach: false,
            command: command.iter().map(OsString::from).collect(),
        }
    }

    #[test]
    fn a_command_becomes_a_workflow() {
        let full = Args {
            cpus: Some(2),
            mem: Some(Bytes::gib(1)),
            time: Some(Walltime(90)),
            retries: Some(1),
            ..args(&["/usr/bin/awk", "{print $1}", "a \"b\"\n"])
        };
        insta::assert_snapshot!(workflow(&full).unwrap(), @r#"
        name = "awk"

        [tasks.awk]
        run = ["/usr/bin/awk", "{{print $1}}", "a \"b\"\n"]
        cache = false
        retries = 1
        resources = { cpus = 2, mem = "1073741824B", time = "90s" }
        "#);
    }

    #[test]
    fn tasks_are_named_after_programs() {
        for (program, name) in
            [("bwa", "bwa"), ("g++", "g"), ("7z", "run-7z"), ("", "command"), ("é", "command"), ("a.sh", "a-sh")]
        {
            assert_eq!(task_name(program), name);
        }
    }

    #[test]
    fn the_exit_code_is_the_commands() {
        let with = |state, outcome| fixtures::instance("x", state, outcome);
        let code = |code| Outcome::Exit { code, signal: None };
        assert_eq!(exit(RunState::Failed, &with(State::Failed, Some(code(7)))), Exit::Command(7));
        assert_eq!(exit(RunState::Failed, &with(State::Failed, Some(code(300)))), Exit::Command(255));
        assert_eq!(exit(RunState::Failed, &with(State::Failed, Some(Outcome::Oom))), Exit::RunFailed);
        assert_eq!(exit(RunState::Succeeded, &with(State::Done, Some(Outcome::Success))), Exit::Success);
        assert_eq!(exit(RunState::Cancelled, &with(State::Cancelled, None)), Exit::Interrupted);
    }

    proptest! {
        #[test]
        fn every_argument_survives_toml(arg in "[^\\x00]*") {
            let parsed: toml::Table = toml::from_str(&format!("a = {}", toml_string(&arg))).unwrap();
            prop_assert_eq!(parsed["a"].as_str().unwrap(), arg);
        }
    }
}
