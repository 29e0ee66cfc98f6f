//! `csync fetch`: brings back what a command left on its host.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::hosts::{Answers, Known, connections, unreached, way};
use crate::model::api::ErrorKind;
use crate::model::id::RunId;
use crate::model::units::Bytes;
use crate::reach::client::{InstanceQuery, RunRef};
use crate::reach::stage::StageError;
use crate::serve::site::{Rest, bring_rest, remove, run_of, there};

/// Bring back what a command left on its host
///
/// What a command on another machine made or changed comes back by itself, but for what is too large, and for files that were
/// changed here meanwhile: that stays there, and `csync why` says where. This brings it. What is left behind then is removed
/// by `csync clean --on HOST`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run, a number or `last`
    #[arg(value_name = "RUN", default_value = "last")]
    run: RunRef,
    /// Replace files that were changed here since the submission
    #[arg(long)]
    overwrite: bool,
    /// Bring at most so much: 500M, 20G; everything when not given
    #[arg(long, value_name = "SIZE")]
    max_size: Option<Bytes>,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let known = Known::load(context)?;
    let state = context.state_dir()?;
    let connections = connections(context, Answers::ForAll)?;
    let (told, run) = context.block_on(async {
        let client = context.reach().await?;
        let summary = client.run(args.run).await?.summary;
        let run = summary.run;
        let page = client.instances(run.into(), &InstanceQuery::default()).await?;
        let hosts: BTreeSet<String> =
            page.instances.iter().flat_map(|one| &one.attempts).filter_map(|attempt| attempt.host.clone()).collect();
        let mut told = Vec::new();
        for name in &hosts {
            let host = known.host(name)?;
            let way = way(&connections, host).await.map_err(|error| unreached(&error, host))?;
            let there = there(&way, host, &state).await.map_err(|error| unreached(&error, host))?;
            let kept = there.jobs.iter().filter(|job| job.keeps_results && run_of(&state, &job.name) == Some(run));
            for job in kept {
                let rest = Rest {
                    root: Path::new(&summary.root),
                    since: summary.submitted,
                    overwrite: args.overwrite,
                    most: args.max_size.unwrap_or(Bytes(u64::MAX)),
                };
                let brought = bring_rest(&way, &there, &job.name, rest).await;
                let collected = brought.map_err(|error| match error {
                    StageError::Transport(error) => unreached(&error, host),
                    error => Failure::new(ErrorKind::Storage, error.to_string()).because_of_source(&error).hint(
                        format!("what was not brought is still in {}/jobs/{} on {name}", there.scratch, job.name),
                    ),
                })?;
                if !collected.kept {
                    // Everything is here: nothing is lost with it.
                    let gone = remove(&way, &state, &there, std::slice::from_ref(&job.name), None).await;
                    gone.map_err(|error| unreached(&error, host))?;
                }
                told.push(collected);
            }
        }
        Ok((told, run))
    })?;
    say(context, args, run, &told)
}

fn say(context: &Context, args: &Args, run: RunId, told: &[crate::serve::site::Collected]) -> Result<Exit, Failure> {
    let kept = told.iter().any(|collected| collected.kept);
    if context.json() {
        let notes: Vec<&String> = told.iter().flat_map(|collected| &collected.notes).collect();
        context.print_json(&json!({ "run": run, "notes": notes, "left": kept }))?;
        return Ok(Exit::Success);
    }
    if told.is_empty() {
        context.say(&format!("Nothing of run {run} was left on a host."));
    }
    for note in told.iter().flat_map(|collected| &collected.notes) {
        context.print(note)?;
    }
    if kept && !args.overwrite {
        context.say("`--overwrite` replaces what was changed here.");
    }
    Ok(Exit::Success)
}
