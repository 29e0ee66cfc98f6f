//! `csync show`: a run, or its instances.

use clap::ValueEnum;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::target::Target;
use crate::cli::view;
use crate::cli::view::table::Page;
use crate::model::api::RunState;
use crate::model::job::State;
use crate::reach::client::InstanceQuery;
use crate::reach::clock;

/// Failed instances listed under a run.
const FAILED_SHOWN: u32 = 10;

/// Show a run, or the instances of one of its tasks
///
/// Without a task: the run, its tasks, and what failed. With a task: its instances, with how each stands.
#[derive(Debug, clap::Args)]
#[command(override_usage = "csync show [OPTIONS] [RUN] [TASK]")]
pub struct Args {
    /// The run (a number or `last`), and one of its tasks or instances to list: `csync show 12 align`
    #[arg(value_name = "RUN] [TASK", num_args = 0..=2)]
    target: Vec<String>,
    /// List the instances in this state
    #[arg(long, value_name = "STATE")]
    state: Option<StateArg>,
    /// List at most so many instances
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    limit: u32,
    /// Leave out so many of the first
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u32,
}

/// An instance's state on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum StateArg {
    /// Waits for other instances
    Pending,
    /// Waits for room
    Ready,
    /// Handed over, not started
    Queued,
    /// Running
    Running,
    /// Succeeded
    Done,
    /// Was up to date
    Cached,
    /// Failed
    Failed,
    /// Cancelled
    Cancelled,
    /// Not run: something before it failed
    Skipped,
    /// No contact
    Lost,
}

impl From<StateArg> for State {
    fn from(state: StateArg) -> Self {
        match state {
            StateArg::Pending => Self::Pending,
            StateArg::Ready => Self::Ready,
            StateArg::Queued => Self::Queued,
            StateArg::Running => Self::Running,
            StateArg::Done => Self::Done,
            StateArg::Cached => Self::Cached,
            StateArg::Failed => Self::Failed,
            StateArg::Cancelled => Self::Cancelled,
            StateArg::Skipped => Self::Skipped,
            StateArg::Lost => Self::Lost,
        }
    }
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let target = Target::parse(&args.target)?;
    let text = context.block_on(async {
        if target.label.is_none() && args.state.is_none() {
            detail(context, &target).await
        } else {
            list(context, args, &target).await
        }
    })?;
    context.print(&text)?;
    Ok(Exit::Success)
}

async fn detail(context: &Context, target: &Target) -> Result<String, Failure> {
    let client = context.reach().await?;
    let detail = client.run(target.run).await?;
    let failed = InstanceQuery { state: Some(State::Failed), limit: Some(FAILED_SHOWN), ..InstanceQuery::default() };
    let failed = client.instances(detail.summary.run.into(), &failed).await?;
    if context.json() {
        return Ok(to_json(&json!({
            "summary": detail.summary, "tasks": detail.tasks, "eta": detail.eta, "logins": detail.logins, "failed": failed.instances,
        })));
    }
    let page = Page::stdout(context.paint());
    let mut text = view::run::detail(&detail, clock::now(), page);
    if failed.total > 0 {
        text.push('\n');
        text.push_str(&view::run::failed(&detail.summary, &failed, &[], page));
    } else if detail.summary.state == RunState::Active {
        context.say(&format!("`csync watch {}` follows it.", detail.summary.run));
    }
    Ok(text)
}

async fn list(context: &Context, args: &Args, target: &Target) -> Result<String, Failure> {
    let client = context.reach().await?;
    let query = InstanceQuery {
        state: args.state.map(State::from),
        label: target.label.clone(),
        offset: args.offset,
        limit: Some(args.limit),
        task: None,
    };
    let page = client.instances(target.run, &query).await?;
    if context.json() {
        return Ok(to_json(&page));
    }
    if page.instances.is_empty() {
        context.say("No instance is like that.");
        return Ok(String::new());
    }
    Ok(view::run::instances(&page, args.offset, clock::now(), Page::stdout(context.paint())))
}

fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
