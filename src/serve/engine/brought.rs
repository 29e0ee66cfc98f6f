//! Inputs of tasks on this machine that lie on hosts alone: fetched before the task is handed to the worker.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::decide::engine::protocol::Event;
use crate::model::data::{DataFact, within};
use crate::model::host::HostName;
use crate::model::id::JobKey;
use crate::model::job::{Ended, Outcome};
use crate::model::resources::{Grant, Usage};
use crate::reach::clock;
use crate::reach::stage::StageError;
use crate::serve::engine::refusal::chain;
use crate::serve::engine::runner::{Report, Runner};
use crate::serve::site::home::{NotHome, bring_home};
use crate::serve::site::stock::Stock;

/// How often it is told how far files are.
const TELL: Duration = Duration::from_millis(500);

/// What came of fetching what an attempt reads.
pub(super) struct Brought {
    key: JobKey,
    facts: Vec<DataFact>,
    outcome: Result<Grant, Outcome>,
}

/// Attempts whose inputs are being fetched.
pub(super) type Fetching = HashMap<JobKey, AbortHandle>;

impl Runner {
    /// Holds back the attempts that read what lies on hosts alone, and fetches that; returns the others.
    pub(super) fn hold_back(&mut self, starts: Vec<(JobKey, Grant)>) -> Vec<(JobKey, Grant)> {
        let (held, ready): (Vec<_>, Vec<_>) =
            starts.into_iter().partition(|(key, _)| !self.far_inputs(*key).is_empty());
        for (key, grant) in held {
            let (inputs, stock, reports) = (self.far_inputs(key), Arc::clone(&self.sites.stock), self.reports.clone());
            let root = self.core.run(key.run).map(|run| run.plan().root.clone()).unwrap_or_default();
            let fetching = tokio::spawn(async move {
                let mut facts = Vec::new();
                let fetched = {
                    let fetching = fetch_inputs(&stock, key, &root, inputs, &mut facts);
                    tokio::pin!(fetching);
                    loop {
                        match tokio::time::timeout(TELL, &mut fetching).await {
                            Ok(fetched) => break fetched,
                            // Fails when the runner has left, as below.
                            Err(_) => drop(reports.send(Report::Moving(key.run)).await),
                        }
                    }
                };
                let outcome = fetched.map(|()| grant).map_err(|error| Outcome::Stage { message: chain(&error) });
                reports.send(Report::Brought(Brought { key, facts, outcome })).await.ok();
            });
            self.fetching.insert(key, fetching.abort_handle());
        }
        ready
    }

    /// Returns the inputs of an attempt that are not here and lie on a host.
    fn far_inputs(&self, key: JobKey) -> Vec<String> {
        let Some(run) = self.core.run(key.run) else { return Vec::new() };
        let plan = run.plan();
        let stock = &self.sites.stock;
        if !stock.has_any(&plan.root) {
            return Vec::new();
        }
        let names = plan.inputs(key.instance).iter().map(|&path| plan.path(path).to_owned()).collect();
        let is_far = |path: &String| {
            let is_here = Path::new(&plan.root).join(path).symlink_metadata().is_ok();
            !is_here && !stock.copies(&plan.root, path).is_empty()
        };
        stock.spread(&plan.root, names).into_iter().filter(is_far).collect()
    }

    /// Takes in that inputs came, or did not.
    pub(super) fn brought(&mut self, brought: Brought) {
        let Brought { key, facts, outcome } = brought;
        self.learn(facts);
        if self.fetching.remove(&key).is_none() {
            return;
        }
        match outcome {
            Ok(grant) => self.start_later(key, grant),
            Err(outcome) => self.end_unstarted(key, outcome),
        }
    }

    /// Gives up fetching for attempts that are to end; returns those that are the worker's to end.
    pub(super) fn stop_fetching(&mut self, keys: Vec<JobKey>) -> Vec<JobKey> {
        if self.fetching.is_empty() {
            return keys;
        }
        let (fetching, others): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| self.fetching.contains_key(key));
        for key in fetching {
            if let Some(task) = self.fetching.get(&key) {
                task.abort();
            }
            let (reports, outcome) = (self.reports.clone(), Err(Outcome::Cancelled));
            tokio::spawn(async move {
                // Fails when the runner has left.
                reports.send(Report::Brought(Brought { key, facts: Vec::new(), outcome })).await.ok();
            });
        }
        others
    }

    fn end_unstarted(&mut self, key: JobKey, outcome: Outcome) {
        let ended = Ended {
            key,
            outcome,
            started: None,
            ended: clock::now(),
            usage: Usage::default(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            notes: Vec::new(),
            allocation: None,
        };
        self.tell_or_log(Event::Ended(Box::new(ended)));
    }

    /// Takes in what was learned of data, and writes it down.
    pub(super) fn learn(&mut self, facts: Vec<DataFact>) {
        self.sites.stock.take_in(&facts);
        self.batch.data(facts);
    }
}

/// Fetches inputs, each from a host that has it; what another attempt fetches already is waited for.
async fn fetch_inputs(
    stock: &Arc<Stock>,
    key: JobKey,
    root: &str,
    names: Vec<String>,
    facts: &mut Vec<DataFact>,
) -> Result<(), StageError> {
    let here = HostName::local();
    let mut pending = names;
    while !pending.is_empty() {
        let (claim, mine, others) = stock.claim(&here, root, pending);
        let is_lacking = |name: &String| Path::new(root).join(name).symlink_metadata().is_err();
        let lacking: Vec<String> = mine.into_iter().filter(is_lacking).collect();
        bring_home(stock, root, lacking, &[key], facts).await.map_err(in_words)?;
        drop(claim);
        stock.wait(&here, root, &others).await;
        pending = others;
    }
    Ok(())
}

fn in_words(error: NotHome) -> StageError {
    let (host, words) = match error {
        NotHome::Stage(error) => return error,
        NotHome::Unknown(name) => {
            (HostName::local(), format!("nobody knows any more where `{name}` lies; submit again to make it anew"))
        }
        NotHome::Gone(copy) if copy.is_of_dataset() => {
            let (name, dataset, place) = (within(&copy.path).1, copy.dataset(), &copy.place);
            let words = format!(
                "`data:{dataset}/{name}` is gone from {place}; `csync data scan {dataset}` looks which copies are left"
            );
            (copy.host.clone(), words)
        }
        NotHome::Gone(copy) => {
            let words = format!(
                "`{}` is gone from where a task left it, {}, or changed there; submit again to make it anew",
                copy.path, copy.place
            );
            (copy.host.clone(), words)
        }
    };
    StageError::There { host: host.to_string(), action: "cannot give it", words }
}
