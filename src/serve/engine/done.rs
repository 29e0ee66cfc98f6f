//! Commands that ran without the engine, kept as runs: sandboxes, which `csync run --image` sees through by itself.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use crate::decide::engine::protocol::{Follow, Verdict};
use crate::decide::fresh::reason::Reason;
use crate::decide::graph::datasets::Catalog;
use crate::model::api::{ApiError, Counts, ErrorKind, RunState, Submission, Submitted};
use crate::model::done::DoneRun;
use crate::model::host::HostName;
use crate::model::id::{InstanceId, JobKey, RunId};
use crate::model::job::{Ended, Outcome, State};
use crate::model::plan::Plan;
use crate::reach::clock;
use crate::reach::store::{HandedTo, NewRun, encode_env, encode_plan};
use crate::serve::engine::handle::{Handle, Message, Reply};
use crate::serve::engine::learner::Asked;
use crate::serve::engine::refusal::{refuse, storage};
use crate::serve::engine::runner::Runner;
use crate::serve::prepare::{self, Planned};

/// A command that is over, with its plan.
pub(super) struct Done {
    new: NewRun,
    plan: Plan,
    told: DoneRun,
}

impl Handle {
    /// Keeps a command that is over as a run.
    ///
    /// # Errors
    /// When it is not one command, or cannot be stored.
    pub async fn keep_done(&self, done: DoneRun) -> Result<Submitted, ApiError> {
        let read = spawn_blocking(move || read(done)).await;
        let done = read.map_err(|error| refuse(ErrorKind::Internal, format!("it cannot be kept: {error}")))??;
        self.ask(|reply| Message::Done(Box::new(done), reply)).await
    }
}

fn read(done: DoneRun) -> Result<Done, ApiError> {
    let asked = &done.submission;
    let Planned { expanded, .. } = prepare::plan(&asked.text, &asked.root, &asked.params, &Catalog::default())?;
    let plan = expanded.plan;
    if plan.instances.len() != 1 {
        return Err(refuse(ErrorKind::Invalid, "only one command is kept as a run that is over"));
    }
    let Submission { text, path, root, env, umask, command, .. } = done.submission.clone();
    let new = NewRun {
        name: plan.name.clone(),
        path,
        root,
        command,
        at: done.asked,
        umask,
        ahead: false,
        plan: encode_plan(&plan),
        verdicts: vec![Verdict::Stale],
        reasons: vec![Reason::Sandboxed],
        text,
        env: encode_env(&env),
    };
    Ok(Done { new, plan, told: done })
}

impl Runner {
    /// Writes a command that is over down as a run. The core hears of it when somebody looks at it, as of every run that is over.
    pub(super) async fn keep_done(&mut self, done: Done, reply: Reply<Submitted>) {
        let Done { new, plan, told } = done;
        let kept = match self.store.insert_run(new).await {
            Ok(run) => Ok(self.note_done(run, plan, told)),
            Err(error) => Err(storage(&error)),
        };
        self.answer(reply, kept);
    }

    fn note_done(&mut self, run: RunId, plan: Plan, done: DoneRun) -> Submitted {
        let DoneRun { host, grant, asked, started, ended, outcome, usage, input, notes, .. } = done;
        let key = JobKey { run, instance: InstanceId(0), attempt: 1 };
        let to = host.as_ref().map_or(HandedTo::Worker(None), |host| HandedTo::Host(host.as_str(), None));
        let (state, became) = match outcome {
            Outcome::Success => (RunState::Succeeded, State::Done),
            Outcome::Cancelled => (RunState::Cancelled, State::Cancelled),
            _ => (RunState::Failed, State::Failed),
        };
        let mut counts = Counts::default();
        *counts.of(became) = 1;
        let (inputs, outputs) = (Vec::new(), Vec::new());
        let ended = Ended { key, outcome, started, ended, usage, inputs, outputs, notes, allocation: None };
        self.batch.submitted(key, &grant, asked, to, None);
        self.batch.ended(&ended, Follow::Final);
        self.batch.run(run, state, ended.ended, &counts);
        self.batch.event(clock::now(), Some(run), "kept: it ran in a sandbox");
        tracing::info!(%run, name = plan.name, "a sandbox is kept as a run");
        let host = host.map_or_else(|| HostName::LOCAL.to_owned(), |host| host.to_string());
        self.learn_of(&ended, Arc::new(plan), host, (Asked::of(&grant), input));
        Submitted { run, counts, warnings: Vec::new() }
    }
}
