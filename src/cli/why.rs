//! `csync why`.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::target::Target;
use crate::cli::view;
use crate::cli::view::table::Page;
use crate::cli::view::words::many;
use crate::model::api::{ErrorKind, RunSummary};
use crate::model::job::State;
use crate::reach::client::{Client, InstanceQuery};
use crate::reach::clock;

/// Instances explained in full; of more, the first ones.
const SHOWN: usize = 5;

/// Say why a task waits, ran again, or failed
///
/// With its last log lines, its command as it ran, what it used, and what to do. Without a task: the first that failed, or the
/// only one.
#[derive(Debug, clap::Args)]
#[command(override_usage = "csync why [OPTIONS] [RUN] [TASK]")]
pub struct Args {
    /// The run (a number or `last`), and a task or instance of it: `csync why align`, `csync why 12 'align[A]'`
    #[arg(value_name = "RUN] [TASK", num_args = 0..=2)]
    target: Vec<String>,
}

/// Returns what is meant where no task is named.
async fn unnamed(client: &Client, summary: &RunSummary) -> Result<String, Failure> {
    let failed = InstanceQuery { state: Some(State::Failed), limit: Some(1), ..InstanceQuery::default() };
    let only = InstanceQuery { limit: Some(1), ..InstanceQuery::default() };
    let mut page = client.instances(summary.run.into(), &failed).await?;
    if page.instances.is_empty() && summary.counts.total() == 1 {
        page = client.instances(summary.run.into(), &only).await?;
    }
    let first = page.instances.into_iter().next();
    first.map(|first| first.label).ok_or_else(|| {
        let run = summary.run;
        Failure::new(ErrorKind::NotFound, format!("nothing failed in run {run}"))
            .hint(format!("name a task: `csync why {run} TASK`; `csync show {run}` lists them"))
    })
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let target = Target::parse(&args.target)?;
    let (summary, whys) = context.block_on(async {
        let client = context.reach().await?;
        let summary = client.run(target.run).await?.summary;
        let label = if let Some(label) = &target.label { label.clone() } else { unnamed(&client, &summary).await? };
        let whys = client.why(summary.run.into(), &label).await?;
        Ok((summary, whys))
    })?;
    if context.json() {
        context.print_json(&json!({"run": summary.run, "instances": whys}))?;
        return Ok(Exit::Success);
    }
    let page = Page::stdout(context.paint());
    let texts: Vec<String> =
        whys.iter().take(SHOWN).map(|why| view::why::why(summary.run, why, clock::now(), page)).collect();
    context.print(&texts.join("\n"))?;
    if whys.len() > SHOWN {
        context.say(&format!(
            "... and {}; name one, as `csync show` lists them.",
            many((whys.len() - SHOWN) as u32, "more instance")
        ));
    }
    Ok(Exit::Success)
}
