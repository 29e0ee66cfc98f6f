//! `csync why`.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::target::Target;
use crate::cli::view;
use crate::cli::view::table::Page;
use crate::cli::view::words::many;
use crate::model::api::ErrorKind;
use crate::model::job::State;
use crate::reach::client::InstanceQuery;
use crate::reach::clock;

/// Instances explained in full; of more, the first ones.
const SHOWN: usize = 5;

/// Say why a task waits, ran again, or failed
///
/// With its last log lines, its command as it ran, what it used, and what to do. Without a task: the first that failed.
#[derive(Debug, clap::Args)]
#[command(override_usage = "csync why [OPTIONS] [RUN] [TASK]")]
pub struct Args {
    /// The run (a number or `last`), and a task or instance of it: `csync why align`, `csync why 12 'align[A]'`
    #[arg(value_name = "RUN] [TASK", num_args = 0..=2)]
    target: Vec<String>,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let target = Target::parse(&args.target)?;
    let (summary, whys) = context.block_on(async {
        let client = context.reach().await?;
        let summary = client.run(target.run).await?.summary;
        let label = if let Some(label) = &target.label {
            label.clone()
        } else {
            let failed = InstanceQuery { state: Some(State::Failed), limit: Some(1), ..InstanceQuery::default() };
            let page = client.instances(summary.run.into(), &failed).await?;
            let first = page.instances.into_iter().next();
            first.map(|first| first.label).ok_or_else(|| {
                Failure::new(ErrorKind::NotFound, format!("nothing failed in run {}", summary.run)).hint(format!(
                    "name a task: `csync why {} TASK`; `csync show {}` lists them",
                    summary.run, summary.run
                ))
            })?
        };
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
