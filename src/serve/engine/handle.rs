//! The runner, seen from everybody else: one method per thing that can be asked of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::spawn_blocking;

use crate::decide::engine::protocol::Capacity;
use crate::decide::engine::run::Run;
use crate::model::api::{
    Affected, ApiError, EngineInfo, ErrorKind, InstancePage, Progress, RetryAsk, RunDetail, RunPlan, RunState,
    RunSummary, Submission, Submitted, Why,
};
use crate::model::facts::{HostReport, NodeReport, QueueForget, QueueReport};
use crate::model::id::RunId;
use crate::model::job::State;
use crate::reach::config::StateDir;
use crate::reach::store::{Reader, RunFilter};
use crate::serve::engine::admit::{Admission, Loaded, load, prepare};
use crate::serve::engine::care::Care;
use crate::serve::engine::done::Done;
use crate::serve::engine::refusal::{leaving, no_run, refuse, storage};
use crate::serve::engine::runner::Runner;
use crate::serve::engine::views::{Seen, join, plan_instances, plan_tasks, select};
use crate::serve::engine::watch::{Interest, Watch};
use crate::serve::engine::why;

/// Something to be done with the runner between two turns of its loop.
pub(super) type Look = Box<dyn FnOnce(&mut Runner) + Send>;
/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, ApiError>>;

/// What the runner is sent.
pub(super) enum Message {
    Look(Look),
    Admit(Box<Admission>, Reply<Submitted>),
    Done(Box<Done>, Reply<Submitted>),
    Restore(Box<Loaded>, Reply<()>),
    Cancel(RunId, Vec<String>, Reply<Affected>),
    Retry(RunId, RetryAsk, Reply<Affected>),
    Forget(Vec<RunId>, Reply<()>),
    KeepProbed(Box<HostReport>, Reply<()>),
    KeepNodes(NodeReport, Reply<()>),
    KeepWaits(Box<QueueReport>, Reply<()>),
    ForgetWaits(QueueForget, Reply<u64>),
    Stop { now: bool, reply: Reply<EngineInfo> },
    Leave,
}

/// A way to the runner; clones lead to the same one.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) to: mpsc::Sender<Message>,
    pub(super) reader: Reader,
    pub(super) state: StateDir,
    /// What jobs may use of this machine.
    pub(super) here: Capacity,
    pub(super) busy: Arc<Busy>,
}

/// How many requests are being answered: an engine that answers is not idle.
#[derive(Debug, Default)]
pub struct Busy {
    count: AtomicUsize,
    pub(super) bell: Notify,
}

/// A request that is being answered.
#[derive(Debug)]
pub struct Answering(Arc<Busy>);

impl Busy {
    /// Counts a request until what is returned is dropped.
    pub fn begin(self: &Arc<Self>) -> Answering {
        self.count.fetch_add(1, Ordering::Relaxed);
        Answering(Arc::clone(self))
    }

    pub(super) fn is_busy(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.bell.notify_one();
        }
    }
}

/// Which instances of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceQuery {
    /// In this state.
    pub state: Option<State>,
    /// Of this task.
    pub task: Option<String>,
    /// With this label: an instance, or a task.
    pub label: Option<String>,
    /// Leave out so many.
    pub offset: u32,
    /// At most so many; [`InstanceQuery::LIMIT`] when it is not said, and never more than [`InstanceQuery::MOST`].
    pub limit: Option<u32>,
}

impl InstanceQuery {
    /// Instances of a page when nobody says how many.
    pub const LIMIT: u32 = 1000;
    /// Instances of a page at most: an answer is made between two turns of the loop.
    pub const MOST: u32 = 10_000;
}

impl Handle {
    /// Returns the count of requests that are being answered.
    pub fn busy(&self) -> &Arc<Busy> {
        &self.busy
    }

    /// Returns the state directory.
    pub fn state_dir(&self) -> &StateDir {
        &self.state
    }

    async fn send(&self, message: Message) -> Result<(), ApiError> {
        self.to.send(message).await.map_err(|_| leaving())
    }

    /// Sends something that is answered, and waits for the answer.
    pub(super) async fn ask<T>(&self, message: impl FnOnce(Reply<T>) -> Message) -> Result<T, ApiError> {
        let (reply, answer) = oneshot::channel();
        self.send(message(reply)).await?;
        answer.await.map_err(|_| leaving())?
    }

    /// Looks at the runner.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&mut Runner) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        self.ask(|reply| {
            Message::Look(Box::new(move |runner| {
                // Fails when who asked has gone.
                reply.send(Ok(look(runner))).ok();
            }))
        })
        .await
    }

    /// Looks at a run, which is brought back from the store when it is over and not in memory any more.
    pub(super) async fn look_at<T: Send + 'static>(
        &self,
        run: RunId,
        look: impl Fn(&Runner, &Run, &Care) -> T + Clone + Send + 'static,
    ) -> Result<T, ApiError> {
        self.with_run(run, move |runner| {
            let (run, care) = runner.view(run)?;
            Some(look(runner, run, care))
        })
        .await
    }

    /// Does something with a run that the runner has; `act` says none when it has not.
    pub(super) async fn with_run<T: Send + 'static>(
        &self,
        run: RunId,
        act: impl Fn(&mut Runner) -> Option<T> + Clone + Send + 'static,
    ) -> Result<T, ApiError> {
        // Twice is enough but for a run that is pushed out of memory again at once by a crowd of others.
        for _ in 0..8 {
            let act = act.clone();
            let look = move |runner: &mut Runner| {
                runner.touch(run);
                act(runner)
            };
            if let Some(seen) = self.look(look).await? {
                return Ok(seen);
            }
            self.bring_back(run).await?;
        }
        Err(refuse(ErrorKind::Internal, format!("run {run} does not stay in memory")))
    }

    /// Brings a run back from the store.
    async fn bring_back(&self, run: RunId) -> Result<(), ApiError> {
        let loaded =
            load(&self.reader, &self.state, run).await.map_err(|error| storage(&error))?.ok_or_else(|| no_run(run))?;
        self.ask(|reply| Message::Restore(Box::new(loaded), reply)).await
    }

    /// Returns what the engine says of itself.
    ///
    /// # Errors
    /// When it is leaving.
    pub async fn info(&self) -> Result<EngineInfo, ApiError> {
        self.look(|runner| runner.info()).await
    }

    /// Returns the run that is meant: the newest of people's when none is named, not one that looks at hosts.
    ///
    /// # Errors
    /// When there is none.
    pub async fn resolve(&self, run: Option<RunId>) -> Result<RunId, ApiError> {
        match run {
            Some(run) => Ok(run),
            None => {
                self.reader.last_run_outside(&self.looks()).await.map_err(|error| storage(&error))?.ok_or_else(|| {
                    ApiError {
                        hint: Some("`csync submit workflow.toml` makes the first".to_owned()),
                        ..refuse(ErrorKind::NotFound, "there is no run yet")
                    }
                })
            }
        }
    }

    fn looks(&self) -> String {
        self.state.looks().to_string_lossy().into_owned()
    }

    /// Lists runs, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn runs(&self, filter: RunFilter) -> Result<Vec<RunSummary>, ApiError> {
        let mut runs: Vec<RunSummary> = self
            .reader
            .runs(filter)
            .await
            .map_err(|error| storage(&error))?
            .into_iter()
            .map(|stored| stored.summary)
            .collect();
        let active: Vec<RunId> =
            runs.iter().filter(|run| run.state == RunState::Active).map(|summary| summary.run).collect();
        if active.is_empty() {
            return Ok(runs);
        }
        let now = self
            .look(move |runner| {
                let summary = |run| runner.view(run).map(|(run, care)| care.summary(run));
                active.into_iter().filter_map(summary).collect::<Vec<_>>()
            })
            .await?;
        for summary in &mut runs {
            if let Some(now) = now.iter().find(|now| now.run == summary.run) {
                summary.clone_from(now);
            }
        }
        runs.retain(|summary| filter.state.is_none_or(|state| summary.state == state));
        Ok(runs)
    }

    /// Takes in a submission.
    ///
    /// # Errors
    /// When the workflow has mistakes, its directory is another run's, or it cannot be stored.
    pub async fn submit(&self, submission: Submission) -> Result<Submitted, ApiError> {
        let reader = self.reader.clone();
        let state = self.state.clone();
        let runtime = tokio::runtime::Handle::current();
        let catalog = self.catalog(&submission).await?;
        let here = self.here;
        let prepared = spawn_blocking(move || prepare(submission, &state, &reader, &runtime, &catalog, here)).await;
        let mut admission =
            prepared.map_err(|error| refuse(ErrorKind::Internal, format!("planning failed: {error}")))??;
        let starts = self.starts(admission.env(), admission.unknown_queues()).await;
        admission.told_starts(starts);
        self.ask(|reply| Message::Admit(Box::new(admission), reply)).await
    }

    /// Returns a run with its tasks.
    ///
    /// # Errors
    /// When there is no such run.
    pub async fn detail(&self, run: RunId) -> Result<RunDetail, ApiError> {
        self.look_at(run, Runner::detail).await
    }

    /// Returns instances of a run.
    ///
    /// # Errors
    /// When there is no such run, or no task or instance of the name that is asked for.
    pub async fn instances(&self, run: RunId, query: InstanceQuery) -> Result<InstancePage, ApiError> {
        let seen = self
            .look_at(run, move |_, run, _| {
                check_names(run, &query)?;
                let (total, page) = select(run, &query);
                Ok((total, page.into_iter().map(|instance| Seen::new(run, instance)).collect::<Vec<_>>()))
            })
            .await?;
        let (total, seen) = seen?;
        let ids: Vec<_> = seen.iter().map(|seen| seen.view.instance).collect();
        let attempts = self.reader.attempts(run, Some(&ids)).await.map_err(|error| storage(&error))?;
        Ok(InstancePage { total, instances: join(seen, &attempts) })
    }

    /// Returns a run whole, for pictures and reports.
    ///
    /// # Errors
    /// When there is no such run.
    pub async fn plan(&self, run: RunId) -> Result<RunPlan, ApiError> {
        let (summary, plan, capacity, seen) = self
            .look_at(run, |runner, run, care| {
                let seen: Vec<_> = run.plan().instance_ids().map(|instance| Seen::new(run, instance)).collect();
                (care.summary(run), Arc::clone(run.plan()), runner.settings.capacity, seen)
            })
            .await?;
        let attempts = self.reader.attempts(run, None).await.map_err(|error| storage(&error))?;
        let made = spawn_blocking(move || RunPlan {
            summary,
            cpus: capacity.cpus,
            mem: capacity.mem,
            tasks: plan_tasks(&plan),
            instances: plan_instances(&plan, join(seen, &attempts)),
        });
        made.await.map_err(|error| refuse(ErrorKind::Internal, error.to_string()))
    }

    /// Follows a run.
    ///
    /// # Errors
    /// When there is no such run.
    pub async fn watch(&self, run: RunId) -> Result<Watch, ApiError> {
        self.watch_for(run, Interest::All).await
    }

    pub(super) async fn watch_for(&self, run: RunId, interest: Interest) -> Result<Watch, ApiError> {
        self.with_run(run, move |runner| runner.care(run).map(|care| care.watch(interest))).await
    }

    /// Returns the next line for a follower.
    ///
    /// # Errors
    /// When the run went away meanwhile.
    pub async fn progress(&self, run: RunId, watch: &Watch) -> Result<Progress, ApiError> {
        let watch = watch.clone();
        self.look(move |runner| runner.progress(run, &watch)).await?.ok_or_else(|| no_run(run))
    }

    /// Waits until a run is over.
    ///
    /// # Errors
    /// When there is no such run, or the engine leaves before.
    pub async fn wait(&self, run: RunId) -> Result<RunSummary, ApiError> {
        // One that is over need not be brought back to say so.
        let stored = self.reader.run(run).await.map_err(|error| storage(&error))?.ok_or_else(|| no_run(run))?;
        if stored.summary.state != RunState::Active {
            // The turn that wrote it lets go of what the run held before it takes in this question.
            self.look(|_| ()).await?;
            return Ok(stored.summary);
        }
        let watch = self.watch_for(run, Interest::End).await?;
        loop {
            let (summary, settled) =
                self.look_at(run, |runner, it, care| (care.summary(it), runner.is_settled(it.id()))).await?;
            // Not before it is written: who asks next would read the store.
            if settled && summary.state != RunState::Active {
                return Ok(summary);
            }
            watch.changed().await;
        }
    }

    /// Says why instances stand where they stand.
    ///
    /// # Errors
    /// When there is no such run, task or instance.
    pub async fn why(&self, run: RunId, label: String) -> Result<Vec<Why>, ApiError> {
        let cases = self.look_at(run, move |runner, run, care| why::cases(run, care, &runner.sites, &label)).await??;
        let ids: Vec<_> = cases.iter().map(why::Case::instance).collect();
        let attempts = self.reader.attempts(run, Some(&ids)).await.map_err(|error| storage(&error))?;
        let state = self.state.clone();
        let made = spawn_blocking(move || why::close(&state, cases, &attempts));
        made.await.map_err(|error| refuse(ErrorKind::Internal, error.to_string()))
    }

    /// Cancels a run, or the instances of these labels.
    ///
    /// # Errors
    /// When there is no such run, task or instance, or it cannot be recorded.
    pub async fn cancel(&self, run: RunId, labels: Vec<String>) -> Result<Affected, ApiError> {
        self.with_run(run, move |runner| runner.view(run).map(drop)).await?;
        self.ask(|reply| Message::Cancel(run, labels, reply)).await
    }

    /// Gives instances another chance: those that failed, or those that are lost.
    ///
    /// # Errors
    /// When there is no such run, task or instance, or another run has its directory by now.
    pub async fn retry(&self, run: RunId, ask: RetryAsk) -> Result<Affected, ApiError> {
        self.with_run(run, move |runner| runner.view(run).map(drop)).await?;
        self.ask(|reply| Message::Retry(run, ask, reply)).await
    }

    /// Tells the engine to leave. Without `now` it refuses while runs are live.
    ///
    /// # Errors
    /// When runs are live.
    pub async fn stop(&self, now: bool) -> Result<EngineInfo, ApiError> {
        self.ask(|reply| Message::Stop { now, reply }).await
    }

    /// Tells the engine to leave, whatever runs.
    pub async fn leave(&self) {
        // Fails when it has left.
        self.send(Message::Leave).await.ok();
    }

    /// Returns the directory of a run.
    pub(super) fn run_dir(&self, run: RunId) -> PathBuf {
        self.state.run_dir(run)
    }

    /// Returns the directory that holds those of all runs.
    pub(super) fn runs_dir(&self) -> PathBuf {
        let dir = self.state.run_dir(RunId(0));
        dir.parent().map(Path::to_path_buf).unwrap_or(dir)
    }
}

/// Refuses a query for a task or an instance that the run does not have.
fn check_names(run: &Run, query: &InstanceQuery) -> Result<(), ApiError> {
    let plan = run.plan();
    if let Some(name) = query.task.as_ref().filter(|name| !plan.tasks.iter().any(|task| task.name == **name)) {
        return Err(why::unknown(run, name));
    }
    if let Some(label) = query.label.as_ref().filter(|label| plan.find(label).is_empty()) {
        return Err(why::unknown(run, label));
    }
    Ok(())
}
