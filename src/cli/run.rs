//! `csync run`: one command as a run.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::along::Elsewhere;
use crate::cli::command::{Asks, workflow};
use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::follow::interrupts;
use crate::cli::logs::copy;
use crate::cli::sandboxed::{self, Wanted};
use crate::cli::script::is_command;
use crate::cli::submission::{Wishes, WorkflowFile, directory, hand_in, submission};
use crate::cli::view;
use crate::cli::view::words::{after, outcome};
use crate::model::api::{InstanceView, RunState, RunSummary, Selection, Stream, Submission};
use crate::model::id::{InstanceId, RunId};
use crate::model::job::{Outcome, State};
use crate::reach::client::{InstanceQuery, LogQuery};

/// Run one command and stay with it
///
/// The command runs here, in this directory and environment, when there is room for it; its standard output and standard
/// error come through, and its exit code is passed on. Its standard input is empty. Ctrl-C cancels it. It is a run like any
/// other: `csync why`, `csync logs` and `csync report` know it, and it always runs. With `--on` it runs on another machine: see
/// `csync help submit` for what goes there and what comes back.
///
/// With `--image` it runs in a sandbox, by the Docker or Podman of this machine or of the host of `--on`, whose socket is
/// reached over SSH: as nobody, without a network, on a read-only image, with 2 cores, 4 GiB and 10 minutes unless `--cpus`,
/// `--mem` and `--time` say otherwise. A script of this directory goes along and is run by what its name says; what it prints
/// comes through, and nothing of it is left on the host. When it is over it is a run like any other, which `csync retry` alone
/// does not take.
#[derive(Debug, clap::Args)]
#[command(override_usage = "csync run [OPTIONS] -- COMMAND [ARGUMENT]...")]
pub struct Args {
    #[command(flatten)]
    asks: Asks,
    #[command(flatten)]
    elsewhere: Elsewhere,
    /// Run it in a sandbox of this image: no network, nothing of the host but the script and what `--files` names
    #[arg(long, value_name = "IMAGE", conflicts_with_all = ["detach", "with", "max_size", "yes", "gpus", "nodes", "processes", "partition", "account", "qos", "retries"])]
    image: Option<String>,
    /// With `--image`: a file that goes along, of this directory; may stand behind the script too
    #[arg(long, value_name = "FILE", requires = "image", value_delimiter = ',')]
    files: Vec<PathBuf>,
    /// Do not stay with it
    #[arg(short, long)]
    detach: bool,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    if let Some(image) = &args.image {
        let ([] | [_]) = args.elsewhere.on.as_slice() else {
            return Err(Failure::usage("a sandbox runs on one host").hint("name one with `--on`"));
        };
        let on = args.elsewhere.on.first().map(String::as_str);
        let wanted = Wanted { image, on, files: &args.files, asks: &args.asks, command: &args.command };
        return sandboxed::run(context, &wanted);
    }
    is_command(&args.command, &args.elsewhere.on)?;
    let source = workflow(&args.command, &args.asks, &args.elsewhere.on)?;
    let file = WorkflowFile { source, path: None, root: directory(Path::new("."))? };
    let tree = args.elsewhere.tree(context, &file.root)?;
    let submission = Submission { tree, ..submission(&file, Wishes::default())? };
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
    let far = instance.attempts.last().filter(|attempt| attempt.host.is_some()).cloned();
    if context.json() {
        context.print_json(
            &json!({"run": summary.run, "summary": summary, "instance": instance, "exit_code": exit.number()}),
        )?;
    } else if exit != Exit::Success {
        let how = instance.outcome.as_ref().map_or(view::words::state(instance.state).to_owned(), outcome);
        let usage = instance.attempts.last().and_then(|attempt| attempt.usage);
        let ran = instance.outcome.as_ref().zip(usage);
        let after = ran.map_or_else(String::new, |(outcome, usage)| after(outcome, &usage));
        context.say(&format!("csync: {how}{after}; `csync why {}` says more.", summary.run));
    }
    // What became of the files of a command elsewhere.
    for note in far.iter().flat_map(|attempt| &attempt.notes) {
        context.say(&format!("csync: {note}"));
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
    use super::*;
    use crate::cli::view::fixtures;

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
}
