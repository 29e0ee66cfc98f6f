//! `csync report`: an HTML file of a run.

mod critical;
mod facts;
#[cfg(test)]
mod fixtures;
mod page;

use std::path::PathBuf;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::outfile;
use crate::cli::report::critical::Step;
use crate::cli::report::facts::Facts;
use crate::cli::report::page::Page;
use crate::model::api::{RunPlan, Why};
use crate::reach::client::RunRef;
use crate::reach::clock;

/// Failed instances whose commands and last words are in the report.
const FAILURES: usize = 20;

/// Write an HTML report of a run
///
/// The report shows when what ran, how many cores were in use, the critical path, what each task used of what it was granted,
/// how run times and memory were distributed, and the last words of what failed. It is one file that needs nothing else: it
/// opens offline, and can be sent around. Of a run that is not over it shows how things stand.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run: a number or `last`
    #[arg(value_name = "RUN", default_value = "last")]
    run: RunRef,
    /// Where to write it; `csync-run-N.html` without it
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let (plan, failures) = context.block_on(fetch(context, args.run))?;
    let now = clock::now();
    let facts = Facts::new(&plan, now);
    let path = critical::path(&plan, &facts);
    let html = Page { plan: &plan, facts: &facts, path: &path, failures: &failures, now }.html();
    let run = plan.summary.run;
    let output = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("csync-run-{run}.html")));
    outfile::replace(&output, &html)?;
    if context.json() {
        context.print_json(&to_json(&plan, &facts, &path, &output))?;
    } else {
        context.say(&format!("Wrote the report of run {run} to {}", output.display()));
    }
    Ok(Exit::Success)
}

async fn fetch(context: &Context, run: RunRef) -> Result<(RunPlan, Vec<Why>), Failure> {
    let client = context.reach().await?;
    let plan = client.plan(run).await?;
    let mut failures = Vec::new();
    for failed in page::failed(&plan).into_iter().take(FAILURES) {
        let view = &failed.view;
        let whys = client.why(plan.summary.run.into(), &view.label).await?;
        failures.extend(whys.into_iter().find(|why| why.instance.instance == view.instance));
    }
    Ok((plan, failures))
}

fn to_json(plan: &RunPlan, facts: &Facts, path: &[Step], output: &PathBuf) -> serde_json::Value {
    json!({
        "output": output,
        "summary": plan.summary,
        "makespan_s": facts.makespan,
        "tasks": facts.tasks,
        "critical_path": path,
    })
}
