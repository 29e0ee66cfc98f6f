//! `csync submit`: run a workflow.

use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::dry_run::dry_run;
use crate::cli::errors::{Exit, Failure, Source};
use crate::cli::follow::{Followed, conclude, follow};
use crate::cli::submission::{Wishes, WorkflowFile, hand_in, key_value, submission};
use crate::cli::view::words::{counts, many};
use crate::model::api::{ErrorKind, Rerun, Selection, Submission, Submitted};
use crate::reach::client::Client;
use crate::serve::engine::Settings;
use crate::serve::host::host;

/// Run a workflow
///
/// Checks the workflow, finds out what is up to date, and runs the rest. Then it stays and shows how that goes; Ctrl-C leaves
/// the run to itself, and `csync watch` comes back to it. The exit code is that of the run: 0 when all is well, 1 when
/// something failed. An engine is started in the background when none is running.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The workflow file; `-` reads standard input
    #[arg(value_name = "FILE", default_value = "workflow.toml")]
    file: PathBuf,
    /// Set a parameter of `[params]`; may be given several times
    #[arg(short, long = "param", value_name = "KEY=VALUE", value_parser = key_value)]
    params: Vec<(String, String)>,
    /// Run only this task or instance, and what it needs; may be given several times
    #[arg(long, value_name = "TASK")]
    only: Vec<String>,
    /// Run again although it is up to date: everything, or with `--rerun=TASK` that; may be given several times
    #[arg(long, value_name = "TASK", num_args = 0..=1, require_equals = true, default_missing_value = "all")]
    rerun: Vec<String>,
    /// Say what would run, and why, and run nothing
    #[arg(short = 'n', long, conflicts_with_all = ["detach", "foreground"])]
    dry_run: bool,
    /// Do not stay with the run
    #[arg(short, long)]
    detach: bool,
    /// Be the engine of the run: it ends with this command (for CI and containers)
    #[arg(long, conflicts_with = "detach")]
    foreground: bool,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let file = WorkflowFile::read(&args.file)?;
    let wishes = wishes(args);
    if args.dry_run {
        return dry_run(context, &file.source, &file.root, &wishes);
    }
    let submission = submission(&file, wishes)?;
    if args.foreground {
        return context.block_on(in_foreground(context, &submission, &file.source));
    }
    context.block_on(async {
        let client = context.reach().await?;
        let submitted = hand_in(context, &client, &submission, &file.source).await?;
        if args.detach { detached(context, &submitted) } else { attached(context, client, &submitted).await }
    })
}

fn wishes(args: &Args) -> Wishes {
    let rerun = match args.rerun.as_slice() {
        [] => Rerun::Stale,
        some if some.iter().any(|task| task == "all") => Rerun::All,
        some => Rerun::Tasks(some.to_vec()),
    };
    Wishes { params: args.params.iter().cloned().collect(), only: args.only.clone(), rerun }
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

async fn attached(context: &Context, client: Client, submitted: &Submitted) -> Result<Exit, Failure> {
    let followed = follow(context, client, submitted.run).await?;
    conclude(context, submitted.run, followed).await
}
