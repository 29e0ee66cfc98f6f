//! `csync why`.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::profile::say_if_of_no_use;
use crate::cli::target::Target;
use crate::cli::view;
use crate::cli::view::table::Page;
use crate::cli::view::words::many;
use crate::model::api::{ErrorKind, RunSummary, Why};
use crate::model::host::HostName;
use crate::model::id::RunId;
use crate::model::job::State;
use crate::reach::client::{Client, InstanceQuery};
use crate::reach::clock;

/// Instances explained in full; of more, the first ones.
const SHOWN: usize = 5;

/// Say why a task waits, ran again, or failed
///
/// With its last log lines, its command as it ran, what it used, the node that a batch system ran it on, and what to do.
/// Without a task: the first that failed, or the only one.
#[derive(Debug, clap::Args)]
#[command(override_usage = "csync why [OPTIONS] [RUN] [TASK]")]
pub struct Args {
    /// The run (a number or `last`), and a task or instance of it: `csync why align`, `csync why 12 'align[A]'`
    #[arg(value_name = "RUN] [TASK", num_args = 0..=2)]
    target: Vec<String>,
    /// Say why it went where it went: what it would have cost there, and on the next best host
    #[arg(long)]
    placement: bool,
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

/// Says why instances went where they went.
fn placement(context: &Context, run: RunId, whys: &[Why]) -> Result<Exit, Failure> {
    if context.json() {
        let placed = |why: &Why| {
            let last = why.instance.attempts.iter().rev().find_map(|attempt| Some((attempt, attempt.choice.as_ref()?)));
            json!({
                "instance": why.instance.instance,
                "label": why.instance.label,
                "attempt": last.map(|(attempt, _)| attempt.attempt),
                "host": last.map(|(attempt, _)| attempt.host.as_deref().unwrap_or(HostName::LOCAL)),
                "choice": last.map(|(_, choice)| choice),
            })
        };
        context.print_json(&json!({"run": run, "instances": whys.iter().map(placed).collect::<Vec<_>>()}))?;
        return Ok(Exit::Success);
    }
    let page = Page::stdout(context.paint());
    let texts: Vec<String> = whys.iter().take(SHOWN).map(|why| view::placement::of(&why.instance, page)).collect();
    context.print(&texts.join("\n"))?;
    if whys.len() > SHOWN {
        let more = many((whys.len() - SHOWN) as u32, "more instance");
        context.say(&format!("... and {more}; name one, as `csync show` lists them."));
    }
    Ok(Exit::Success)
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
    say_if_of_no_use(context);
    if args.placement {
        return placement(context, summary.run, &whys);
    }
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
