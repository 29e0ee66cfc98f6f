//! Inputs of tasks on this machine that lie on hosts alone: fetched before the task is handed to the worker.

use std::collections::{HashMap, HashSet};
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
use crate::serve::engine::link::Link;
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
#[derive(Debug, Default)]
pub(super) struct Fetching(HashMap<JobKey, Fetch>);

/// How it is with fetching what an attempt reads.
#[derive(Debug)]
enum Fetch {
    /// It is on its way.
    Goes(AbortHandle),
    /// It is to end. What came of it may have been told just before, and counts no more.
    CalledOff,
}

impl Fetching {
    /// Gives fetching up for attempts that are to end; returns these, and those of which nothing is being fetched.
    fn call_off(&mut self, keys: Vec<JobKey>) -> (Vec<JobKey>, Vec<JobKey>) {
        let (fetching, others): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| self.0.contains_key(key));
        for key in &fetching {
            if let Some(Fetch::Goes(task)) = self.0.insert(*key, Fetch::CalledOff) {
                task.abort();
            }
        }
        (fetching, others)
    }

    /// Leaves out the attempts of which something is being fetched: a worker that is new asks for all that it does not have. They are
    /// handed over, or end, once that is over.
    fn without_these(&self, mut starts: Vec<(JobKey, Grant)>) -> Vec<(JobKey, Grant)> {
        starts.retain(|(key, _)| !self.0.contains_key(key));
        starts
    }

    /// Returns what becomes of an attempt by what came of fetching; nothing where that was said before.
    fn over(&mut self, key: JobKey, outcome: Result<Grant, Outcome>) -> Option<Result<Grant, Outcome>> {
        Some(match self.0.remove(&key)? {
            Fetch::Goes(_) => outcome,
            Fetch::CalledOff => Err(Outcome::Cancelled),
        })
    }
}

/// Attempts on this machine that are to end, and those that the worker is to drop if they have not begun.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Endings {
    pub(super) stops: Vec<JobKey>,
    pub(super) withdraws: Vec<JobKey>,
}

impl Endings {
    /// Splits them into those that come before what is started now, and those of what is: the worker knows nothing of it yet, and would
    /// pass over its end.
    pub(super) fn around(self, starts: &[(JobKey, Grant)]) -> (Self, Self) {
        if self == Self::default() {
            return (self, Self::default());
        }
        let starts: HashSet<JobKey> = starts.iter().map(|(key, _)| *key).collect();
        let split = |keys: Vec<JobKey>| keys.into_iter().partition(|key| !starts.contains(key));
        let ((stops, late_stops), (withdraws, late_withdraws)) = (split(self.stops), split(self.withdraws));
        (Self { stops, withdraws }, Self { stops: late_stops, withdraws: late_withdraws })
    }
}

impl Runner {
    /// Holds back the attempts that read what lies on hosts alone, and fetches that; returns the others.
    pub(super) fn hold_back(&mut self, starts: Vec<(JobKey, Grant)>) -> Vec<(JobKey, Grant)> {
        let starts = self.fetching.without_these(starts);
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
            self.fetching.0.insert(key, Fetch::Goes(fetching.abort_handle()));
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
        match self.fetching.over(key, outcome) {
            Some(Ok(grant)) => self.start_later(key, grant),
            Some(Err(outcome)) => self.end_unstarted(key, outcome),
            None => {}
        }
    }

    /// Ends attempts on this machine.
    pub(super) fn end_here(&mut self, Endings { stops, withdraws }: Endings) {
        let (stops, withdraws) = (self.stop_fetching(stops), self.stop_fetching(withdraws));
        let Link::Up { local, .. } = &self.link else { return };
        if !withdraws.is_empty() {
            local.withdraw(withdraws);
        }
        if !stops.is_empty() {
            local.stop(stops);
        }
    }

    /// Gives up fetching for attempts that are to end; returns those that are the worker's to end.
    fn stop_fetching(&mut self, keys: Vec<JobKey>) -> Vec<JobKey> {
        let (fetching, others) = self.fetching.call_off(keys);
        for key in fetching {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{InstanceId, RunId};
    use crate::model::resources::Hold;
    use crate::model::units::Bytes;

    const GRANT: Grant = Grant { cpus: 1, mem: Bytes(1), hold: Hold::Nothing, time: None, gpus: 0 };

    fn key(instance: u32) -> JobKey {
        JobKey { run: RunId(1), instance: InstanceId(instance), attempt: 1 }
    }

    #[tokio::test]
    async fn what_is_called_off_does_not_begin_whatever_was_told_of_it_just_before() {
        let grant = GRANT;
        let mut fetching = Fetching::default();
        let task = tokio::spawn(std::future::pending::<()>());
        for instance in 0..3 {
            fetching.0.insert(key(instance), Fetch::Goes(task.abort_handle()));
        }
        assert_eq!(fetching.over(key(0), Ok(grant)), Some(Ok(grant)));
        let keys = vec![key(0), key(1), key(1), key(2)];
        assert_eq!(fetching.call_off(keys), (vec![key(1), key(1), key(2)], vec![key(0)]));
        assert!(task.await.unwrap_err().is_cancelled());
        // Its inputs had come before it was called off; what tells of that comes behind.
        assert_eq!(fetching.over(key(1), Ok(grant)), Some(Err(Outcome::Cancelled)));
        assert_eq!(fetching.over(key(1), Err(Outcome::Cancelled)), None);
        assert_eq!(fetching.over(key(2), Err(Outcome::Cancelled)), Some(Err(Outcome::Cancelled)));
        assert_eq!(fetching.over(key(3), Ok(grant)), None);
    }

    #[tokio::test]
    async fn what_a_new_worker_asks_for_is_not_fetched_twice() {
        let mut fetching = Fetching::default();
        let task = tokio::spawn(std::future::pending::<()>());
        for instance in 0..2 {
            fetching.0.insert(key(instance), Fetch::Goes(task.abort_handle()));
        }
        fetching.call_off(vec![key(1)]);
        let starts = || (0..3).map(|instance| (key(instance), GRANT)).collect();
        assert_eq!(fetching.without_these(starts()), [(key(2), GRANT)]);
        // What came of it is told once, to whoever waited for it first.
        assert_eq!(fetching.over(key(0), Ok(GRANT)), Some(Ok(GRANT)));
        assert_eq!(fetching.over(key(1), Err(Outcome::Cancelled)), Some(Err(Outcome::Cancelled)));
        assert_eq!(fetching.without_these(starts()), starts());
    }

    #[test]
    fn what_begins_and_ends_in_one_turn_ends_behind_its_beginning() {
        let ends = |stops: &[u32], withdraws: &[u32]| Endings {
            stops: stops.iter().map(|&instance| key(instance)).collect(),
            withdraws: withdraws.iter().map(|&instance| key(instance)).collect(),
        };
        let starts = [1, 3, 5].map(|instance| (key(instance), GRANT));
        let (before, behind) = ends(&[0, 1, 2, 3], &[4, 5]).around(&starts);
        assert_eq!((before, behind), (ends(&[0, 2], &[4]), ends(&[1, 3], &[5])));
    }
}
