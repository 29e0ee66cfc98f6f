//! Where a job runs: its host, its node, its directory, for a shell and for ports.

use std::sync::Arc;

use crate::cli::context::Context;
use crate::cli::errors::Failure;
use crate::cli::hosts::{Answers, Known, connections, unreached};
use crate::cli::target::Target;
use crate::cli::view::words::{shell_word, state};
use crate::language::batch::wrapper::Whereabouts;
use crate::model::api::{ErrorKind, InstanceView};
use crate::model::batch::Flavour;
use crate::model::host::{Batch, Host};
use crate::model::id::{JobKey, RunId};
use crate::model::job::State;
use crate::reach::client::InstanceQuery;
use crate::reach::store::{Place, Reader};
use crate::reach::transport::{Limits, OpenSsh, Road, Transport};
use crate::serve::site::{prelude, whereabouts};

/// A job that runs.
pub(super) struct Job {
    /// Its run.
    pub(super) run: RunId,
    /// What people call it.
    pub(super) label: String,
    /// The workflow's directory.
    pub(super) root: String,
    /// Where; none is this machine.
    pub(super) there: Option<There>,
}

/// A job on another machine.
pub(super) struct There {
    /// The host that it was handed to.
    pub(super) host: Host,
    /// The way to that host, which is open.
    pub(super) ssh: Arc<OpenSsh>,
    /// Who we are there.
    pub(super) user: Option<String>,
    /// What its wrapper says.
    pub(super) at: Whereabouts,
    /// Shell lines that make the commands of its batch system known.
    pub(super) prelude: String,
}

impl There {
    /// Returns whether it runs on the host itself, and not on a node behind it.
    pub(super) fn is_on_host(&self) -> bool {
        self.at.node == self.at.host
    }

    /// Returns its batch system.
    pub(super) fn flavour(&self) -> Option<Flavour> {
        self.host.batch.and_then(Batch::flavour)
    }
}

/// Finds a job that runs, and opens the way to its host.
pub(super) async fn find(context: &Context, known: &Known, target: &Target) -> Result<Job, Failure> {
    let client = context.reach().await?;
    let summary = client.run(target.run).await?.summary;
    let query = InstanceQuery {
        state: target.label.is_none().then_some(State::Running),
        label: target.label.clone(),
        limit: Some(2),
        ..InstanceQuery::default()
    };
    let page = client.instances(summary.run.into(), &query).await?;
    let instance = the_one(summary.run, page.instances)?;
    let job = |there| Job { run: summary.run, label: instance.label.clone(), root: summary.root.clone(), there };
    let Some((name, attempt)) = instance.attempts.last().and_then(|last| Some((last.host.clone()?, last.attempt)))
    else {
        return Ok(job(None));
    };
    let host = known.host(&name)?;
    let Some(alias) = &host.ssh else { return Ok(job(None)) };
    let key = JobKey { run: summary.run, instance: instance.instance, attempt };
    let (submission, index) = submission(context, key).await?;
    let connections = connections(context, Answers::ForAll)?;
    let limits = Limits { per_minute: host.policy.connections_per_minute, ..Limits::default() };
    let Road { ssh, user } =
        connections.road(&host.name, alias.as_str(), limits).await.map_err(|error| unreached(&error, host))?;
    let way = Arc::clone(&ssh).transport();
    way.connect().await.map_err(|error| unreached(&error, host))?;
    let at = whereabouts(&way, host, &submission, index).await.map_err(|error| unreached(&error, host))?;
    let at = at.ok_or_else(|| {
        Failure::new(ErrorKind::Conflict, format!("`{}` has not said yet where it runs", instance.label))
            .hint("give the command again in a moment")
    })?;
    let system = known.batch_system(host);
    Ok(job(Some(There { host: host.clone(), ssh, user, at, prelude: system.map(prelude).unwrap_or_default() })))
}

/// Returns the instance that is meant, which runs.
fn the_one(run: RunId, instances: Vec<InstanceView>) -> Result<InstanceView, Failure> {
    let mut instances = instances.into_iter();
    let conflict = |message: String| Failure::new(ErrorKind::Conflict, message);
    match (instances.next(), instances.next()) {
        (None, _) => Err(conflict(format!("nothing of run {run} runs now"))
            .hint(format!("`csync show {run}` says how it stands, `csync why {run} TASK` what a task waits for"))),
        (Some(_), Some(_)) => Err(conflict(format!("several jobs of run {run} run"))
            .hint(format!("name one of them, as `csync show {run} --state running` lists them"))),
        (Some(one), None) if one.state != State::Running => {
            let label = shell_word(&one.label);
            Err(conflict(format!("`{}` of run {run} does not run: it is {}", one.label, state(one.state)))
                .hint(format!("`csync why {run} {label}` says more")))
        }
        (Some(one), None) => Ok(one),
    }
}

/// Returns the submission that an attempt went out with, and its number there.
async fn submission(context: &Context, key: JobKey) -> Result<(String, u32), Failure> {
    let unreadable = |error: &dyn std::error::Error| {
        Failure::new(ErrorKind::Storage, error.to_string()).hint("`csync doctor` looks what is wrong")
    };
    let reader = Reader::open(&Place::of(&context.state_dir()?)).await.map_err(|error| unreadable(&error))?;
    let sent = match reader {
        Some(reader) => reader.submissions().await.map_err(|error| unreadable(&error))?,
        None => Vec::new(),
    };
    let found = sent.iter().find_map(|sent| {
        let at = sent.members.iter().position(|member| *member == key)?;
        Some((sent.name.to_string(), at as u32 + 1))
    });
    found.ok_or_else(|| Failure::new(ErrorKind::Conflict, "it has just ended").hint("`csync show` says how"))
}
