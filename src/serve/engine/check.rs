//! Whether instances are up to date after all: asked while a run goes, once what they depend on is over.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use crate::decide::engine::protocol::Event;
use crate::decide::fresh::memos::{Hashes, Memos};
use crate::decide::fresh::reason::Reason;
use crate::model::data::Elsewhere;
use crate::model::id::{InstanceId, RunId};
use crate::model::plan::{Memo, Plan};
use crate::reach::files::look::Root;
use crate::reach::store::{Reader, WorkflowKey};
use crate::serve::engine::refusal::chain;
use crate::serve::engine::runner::{Report, Runner};
use crate::serve::prepare::recheck::recheck;

/// Answers about instances of a run.
pub(super) struct Answers {
    run: RunId,
    /// What the answers go by, for the next questions.
    memos: Arc<Memos>,
    found: Vec<Answer>,
}

struct Answer {
    instance: InstanceId,
    reason: Reason,
    refreshed: Option<Memo>,
}

impl Runner {
    /// Begins to answer questions; one task per run looks at all its files.
    pub(super) fn check(&mut self, questions: Vec<(RunId, InstanceId)>) {
        let mut by_run: BTreeMap<RunId, Vec<InstanceId>> = BTreeMap::new();
        for (run, instance) in questions {
            by_run.entry(run).or_default().push(instance);
        }
        for (run, instances) in by_run {
            let (Some(it), Some(care)) = (self.core.run(run), self.cares.get(&run)) else { continue };
            let plan = Arc::clone(it.plan());
            let files = instances.iter().flat_map(|&it| plan.inputs(it).iter().chain(plan.outputs(it)));
            let hashes = care.hashes.pick(files.copied());
            let elsewhere = self.sites.stock.elsewhere(&plan.root);
            let (memos, workflow) = (care.memos.clone(), care.workflow);
            let (reader, reports) = (self.store.reader(), self.reports.clone());
            tokio::spawn(async move {
                let memos = match memos {
                    Some(memos) => memos,
                    None => Arc::new(read_memos(&reader, workflow).await),
                };
                let table = Arc::clone(&memos);
                let all = instances.clone();
                let looked = spawn_blocking(move || look(&plan, &table, &hashes, &elsewhere, &instances)).await;
                // It panicked, which is reported: they run.
                let found = looked.unwrap_or_else(|_| all.into_iter().map(must_run).collect());
                // Fails when the runner has left.
                reports.send(Report::Checked(Answers { run, memos, found })).await.ok();
            });
        }
    }

    /// Takes in answers.
    pub(super) fn checked(&mut self, answers: Answers) {
        let Answers { run, memos, found } = answers;
        for Answer { instance, reason, refreshed } in found {
            if let Some(care) = self.cares.get_mut(&run) {
                if let Some(known) = care.reasons.get_mut(instance.index()) {
                    *known = reason;
                }
                if let Some(memo) = refreshed {
                    self.batch.memo(care.workflow, &memo);
                }
                care.memos.get_or_insert_with(|| Arc::clone(&memos));
            }
            self.tell_or_log(Event::Checked(run, instance, reason == Reason::Fresh));
        }
    }
}

async fn read_memos(reader: &Reader, workflow: WorkflowKey) -> Memos {
    match reader.memos(workflow).await {
        Ok(memos) => memos.iter().collect(),
        Err(error) => {
            tracing::warn!(error = chain(&error), "memos cannot be read; what they are of runs");
            Memos::default()
        }
    }
}

fn look(plan: &Plan, memos: &Memos, hashes: &Hashes, elsewhere: &Elsewhere, instances: &[InstanceId]) -> Vec<Answer> {
    let root = match Root::open(Path::new(&plan.root)) {
        Ok(root) => root,
        Err(error) => {
            tracing::warn!(error = chain(&error), "files cannot be looked at; what makes them runs");
            return instances.iter().copied().map(must_run).collect();
        }
    };
    let answer = |&instance: &InstanceId| match recheck(&root, plan, memos, hashes, elsewhere, instance) {
        Ok(answer) => Answer { instance, reason: answer.reason, refreshed: answer.refreshed },
        Err(error) => {
            tracing::info!(error = chain(&error), label = plan.label(instance), "cannot be looked at; it runs");
            must_run(instance)
        }
    };
    instances.iter().map(answer).collect()
}

fn must_run(instance: InstanceId) -> Answer {
    Answer { instance, reason: Reason::NeverRan, refreshed: None }
}
