//! `csync submit`: run a workflow.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::along::{Elsewhere, listing};
use crate::cli::by::By;
use crate::cli::command::{Asks, workflow};
use crate::cli::context::Context;
use crate::cli::dry_run::dry_run;
use crate::cli::errors::{Exit, Failure, Source};
use crate::cli::follow::{Followed, conclude, follow};
use crate::cli::script::{Kind, Ready, kind, needs_host, ready};
use crate::cli::submission::{Wishes, WorkflowFile, directory, hand_in, key_value, submission};
use crate::cli::view::words::{counts, cut, many, shell_word};
use crate::model::api::{ErrorKind, Rerun, Selection, Stream, Submission, Submitted};
use crate::model::id::RunId;
use crate::model::job::Outcome;
use crate::reach::client::{Client, InstanceQuery, LogQuery};
use crate::serve::engine::Settings;
use crate::serve::host::host;

/// Lines of a command's output that are shown at its end.
const LINES: u32 = 20;

/// Notes that are shown of an array.
const MOST_NOTES: usize = 10;

/// Run a workflow, or a command
///
/// Checks the workflow, finds out what is up to date, and runs the rest. Then it stays and shows how that goes; Ctrl-C leaves
/// the run to itself, and `csync watch` comes back to it. The exit code is that of the run: 0 when all is well, 1 when
/// something failed. An engine is started in the background when none is running.
///
/// With a command behind `--` it runs that, here or on another machine: `csync submit --on hpc -- python train.py`. The files of
/// this directory go along: those that git tracks and those that it does not ignore, without git all of them, less what
/// `.csyncignore` names (in the way of `.gitignore`). They are shown before the first time; `-n` lists them. The command works
/// in a copy of the directory. What it made or changed there comes back when it is over, also when it failed; a file that was
/// changed here meanwhile is left alone, and what was not brought back stays on the host.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "csync submit [OPTIONS] [FILE]\n       csync submit [OPTIONS] [--on HOST] -- COMMAND [ARGUMENT]..."
)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct Args {
    /// The workflow file; `-` reads standard input [default: workflow.toml]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Set a parameter of `[params]`; may be given several times
    #[arg(short, long = "param", value_name = "KEY=VALUE", value_parser = key_value)]
    params: Vec<(String, String)>,
    /// Run only this task or instance, and what it needs; may be given several times
    #[arg(long, value_name = "TASK")]
    only: Vec<String>,
    /// Run again although it is up to date: everything, or with `--rerun=TASK` that; may be given several times
    #[arg(long, value_name = "TASK", num_args = 0..=1, require_equals = true, default_missing_value = "all")]
    rerun: Vec<String>,
    /// Hand over what waits for jobs of a cluster before those are over, where its batch system keeps the order (Slurm): the
    /// workflow goes on there while this machine sleeps
    #[arg(long)]
    ahead: bool,
    /// What counts where csync chooses among the hosts of `on`; also where those are a list in order of preference
    #[arg(long, value_enum, value_name = "POLICY")]
    policy: Option<By>,
    /// Say what would run, where and why, and run nothing
    #[arg(short = 'n', long, conflicts_with_all = ["detach", "foreground"])]
    dry_run: bool,
    /// Do not stay with the run
    #[arg(short, long)]
    detach: bool,
    /// Be the engine of the run: it ends with this command (for CI and containers)
    #[arg(long, conflicts_with = "detach")]
    foreground: bool,
    #[command(flatten)]
    asks: Asks,
    #[command(flatten)]
    elsewhere: Elsewhere,
    /// A command and its arguments, instead of a workflow
    #[arg(value_name = "COMMAND", last = true)]
    command: Vec<OsString>,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    if !args.command.is_empty() {
        return command(context, args);
    }
    if args.file.is_none() && !args.elsewhere.on.is_empty() && !Path::new("workflow.toml").exists() {
        let failure = Failure::usage("a host is named, and nothing that could run there");
        return Err(failure.hint(
            "write the command behind `--`, as in `csync submit --on HOST -- python train.py`, or name a script",
        ));
    }
    let file = WorkflowFile::read(args.file.as_deref().unwrap_or(Path::new("workflow.toml")))?;
    if let Some(kind) = kind(&file) {
        return script(context, args, &file, kind);
    }
    if args.asks != Asks::default() || !args.elsewhere.on.is_empty() {
        let name = &file.source.name;
        let toml = Path::new(name).extension().is_some_and(|extension| extension == "toml");
        if !toml && !file.source.text.contains("[tasks") {
            let failure =
                Failure::usage(format!("`{name}` is no workflow, and its first line names no program that runs it"));
            let word = shell_word(name);
            return Err(
                failure.hint(format!("write the command behind `--`, as in `csync submit --on HOST -- python {word}`"))
            );
        }
        let failure = Failure::usage(format!(
            "`{name}` is a workflow, and says itself where its tasks run and what they ask for"
        ));
        return Err(failure.hint(
            "write `on` and `resources` in its tasks, or in `[defaults]`; a command stands behind `--`: `csync submit --on HOST -- COMMAND`",
        ));
    }
    let wishes = wishes(args);
    if args.dry_run {
        return dry_run(context, &file.source, &file.root, &wishes);
    }
    let submission = submission(&file, wishes)?;
    hand_over(context, args, &submission, &file.source)
}

/// Runs a script as it is.
fn script(context: &Context, args: &Args, file: &WorkflowFile, kind: Kind) -> Result<Exit, Failure> {
    if args.elsewhere.on.is_empty() {
        return Err(needs_host(file, kind));
    }
    only_workflows_take(args)?;
    args.elsewhere.leaves(context)?;
    let Ready { source, root, path } = ready(context, file, kind, &args.asks, &args.elsewhere)?;
    let mut elsewhere = args.elsewhere.clone();
    // The script goes along whatever is ignored.
    elsewhere.with.push(path);
    if args.dry_run {
        return foresee(context, &elsewhere, &root);
    }
    let tree = elsewhere.tree(context, &root)?;
    let file = WorkflowFile { source, path: None, root };
    let submission = Submission { tree, ..submission(&file, Wishes::default())? };
    hand_over(context, args, &submission, &file.source)
}

/// Refuses options that only mean something for a workflow.
fn only_workflows_take(args: &Args) -> Result<(), Failure> {
    if args.params.is_empty() && args.only.is_empty() && args.rerun.is_empty() {
        return Ok(());
    }
    let failure = Failure::usage("`--param`, `--only` and `--rerun` are for workflows, and none is given");
    Err(failure.hint("leave them out: a command always runs"))
}

/// Runs a command.
fn command(context: &Context, args: &Args) -> Result<Exit, Failure> {
    if let Some(file) = &args.file {
        let failure = Failure::usage(format!("both a file, `{}`, and a command are given", file.display()));
        return Err(failure.hint("give one of them; what belongs to the command stands behind `--`"));
    }
    only_workflows_take(args)?;
    let source = workflow(&args.command, &args.asks, &args.elsewhere.on)?;
    let root = directory(Path::new("."))?;
    if args.dry_run {
        return foresee(context, &args.elsewhere, &root);
    }
    let tree = args.elsewhere.tree(context, &root)?;
    let file = WorkflowFile { source, path: None, root };
    let submission = Submission { tree, ..submission(&file, Wishes::default())? };
    hand_over(context, args, &submission, &file.source)
}

/// Says what would go along with a command.
fn foresee(context: &Context, elsewhere: &Elsewhere, root: &str) -> Result<Exit, Failure> {
    let leaves = elsewhere.leaves(context)?;
    let tree = leaves.then(|| elsewhere.gather(context, root)).transpose()?;
    if context.json() {
        let file = |(name, size): &(String, u64)| json!({ "name": name, "size": size });
        let files: Option<Vec<_>> = tree.as_ref().map(|tree| tree.files.iter().map(file).collect());
        context.print_json(&json!({ "on": elsewhere.on, "files": files }))?;
    } else if let Some(tree) = &tree {
        context.print(&listing(tree))?;
    } else {
        context.print("Would run here, in this directory; nothing is sent.")?;
    }
    Ok(Exit::Success)
}

fn hand_over(context: &Context, args: &Args, submission: &Submission, source: &Source) -> Result<Exit, Failure> {
    if args.foreground {
        return context.block_on(in_foreground(context, submission, source));
    }
    let one_command = submission.tree.is_some() || !args.command.is_empty();
    context.block_on(async {
        let client = context.reach().await?;
        let submitted = hand_in(context, &client, submission, source).await?;
        if args.detach {
            detached(context, &submitted)
        } else {
            attached(context, client, &submitted, one_command).await
        }
    })
}

fn wishes(args: &Args) -> Wishes {
    let rerun = match args.rerun.as_slice() {
        [] => Rerun::Stale,
        some if some.iter().any(|task| task == "all") => Rerun::All,
        some => Rerun::Tasks(some.to_vec()),
    };
    Wishes {
        params: args.params.iter().cloned().collect(),
        only: args.only.clone(),
        rerun,
        ahead: args.ahead,
        policy: args.policy.map(By::into),
    }
}

fn detached(context: &Context, submitted: &Submitted) -> Result<Exit, Failure> {
    let run = submitted.run;
    if context.json() {
        context.print_json(submitted)?;
    } else if context.quiet() {
        context.print(&run.to_string())?;
    } else {
        let instances = many(submitted.counts.total(), "instance");
        context.print(&format!("Submitted run {run}: {instances}, {}.", counts(&submitted.counts, context.paint())))?;
        context.say(&format!("`csync watch {run}` follows it."));
    }
    Ok(Exit::Success)
}

/// Hosts the engine in this process for as long as the run takes.
async fn in_foreground(context: &Context, submission: &Submission, source: &Source) -> Result<Exit, Failure> {
    let settings = Settings::read(|name| std::env::var_os(name))
        .map_err(|error| Failure::usage(error.to_string()).hint(error.hint()))?;
    let hosted = host(context.state_dir()?, settings).await.map_err(|error| match error.kind {
        ErrorKind::Conflict => Failure::from(error)
            .hint("leave out --foreground to hand the run to that engine, or `csync engine stop` first"),
        _ => error.into(),
    })?;
    let done = to_the_end(context, submission, source).await;
    hosted.leave().await?;
    done
}

/// Stays with a run whose engine ends with us: Ctrl-C cancels it, a second one leaves it as it is.
async fn to_the_end(context: &Context, submission: &Submission, source: &Source) -> Result<Exit, Failure> {
    let client = context.reach().await?;
    let run = hand_in(context, &client, submission, source).await?.run;
    let mut followed = follow(context, client.clone(), run).await?;
    if matches!(followed, Followed::Left(_)) {
        context.say(&format!("Cancelling run {run}; Ctrl-C again leaves it."));
        client.cancel(run.into(), &Selection::default()).await?;
        followed = follow(context, client, run).await?;
    }
    conclude(context, run, followed).await
}

async fn attached(
    context: &Context,
    client: Client,
    submitted: &Submitted,
    one_command: bool,
) -> Result<Exit, Failure> {
    let followed = follow(context, client, submitted.run).await?;
    let is_over = matches!(followed, Followed::Over(_));
    let exit = conclude(context, submitted.run, followed).await?;
    if is_over && one_command && !context.json() && !context.quiet() {
        words_of_command(context, submitted.run).await?;
    }
    Ok(exit)
}

/// Shows the end of what the only command of a run printed, and what came of its files.
async fn words_of_command(context: &Context, run: RunId) -> Result<(), Failure> {
    let client = context.reach().await?;
    let page = client.instances(run.into(), &InstanceQuery::default()).await?;
    let [instance] = page.instances.as_slice() else {
        // Of an array the member that was over last tells.
        let last = page.instances.iter().filter_map(|instance| instance.attempts.last());
        for note in last.flat_map(|attempt| &attempt.notes).take(MOST_NOTES) {
            context.say(note);
        }
        return Ok(());
    };
    let Some(attempt) = instance.attempts.last() else { return Ok(()) };
    if instance.outcome == Some(Outcome::Success) {
        let query = LogQuery {
            instance: instance.instance,
            attempt: Some(attempt.attempt),
            stream: Stream::Stdout,
            follow: false,
            tail: Some(LINES),
        };
        let mut chunks = client.logs(run.into(), query).await?;
        let mut log = Vec::new();
        while let Some(chunk) = chunks.next().await? {
            log.extend_from_slice(&chunk);
        }
        let lines: Vec<String> =
            String::from_utf8_lossy(&log).lines().map(|line| format!("  | {}", cut(line, usize::MAX))).collect();
        if !lines.is_empty() {
            context.print(&lines.join("\n"))?;
        }
        if lines.len() == LINES as usize {
            context.say(&format!("`csync logs {run}` prints all of it."));
        }
    }
    for note in &attempt.notes {
        context.say(note);
    }
    Ok(())
}
