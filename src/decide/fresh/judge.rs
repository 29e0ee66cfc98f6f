//! The judgement itself, in two passes: by sizes and times, then by the contents of the few files that these leave in doubt.

use std::collections::HashSet;

use crate::decide::engine::order::{NeededBy, Step, order};
use crate::decide::engine::protocol::Verdict;
use crate::decide::fresh::memos::{Hashes, MemoRef, Memos, definition, key};
use crate::decide::fresh::reason::Reason;
use crate::decide::fresh::select::Selection;
use crate::model::id::{InstanceId, PathId, TaskId};
use crate::model::plan::{Fingerprint, Memo, Plan};

/// Whether a file is the one that a memo speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Same {
    /// Same size and time.
    Untouched,
    /// Another time, same content.
    Touched,
    /// Another time, same size; the content has not been looked at.
    Doubtful,
    /// Another file.
    Changed,
    /// No file.
    Missing,
}

fn compare(recorded: &Fingerprint, seen: Option<&Fingerprint>) -> Same {
    let Some(seen) = seen else { return Same::Missing };
    if seen.size != recorded.size {
        return Same::Changed;
    }
    if seen.mtime == recorded.mtime {
        return Same::Untouched;
    }
    match (recorded.hash, seen.hash) {
        (Some(_), None) => Same::Doubtful,
        (Some(recorded), Some(seen)) if recorded == seen => Same::Touched,
        // Also where no hash was recorded: there is nothing to compare with.
        _ => Same::Changed,
    }
}

/// What was judged of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Per instance.
    pub verdicts: Vec<Verdict>,
    /// Per instance, why.
    pub reasons: Vec<Reason>,
    /// Memos whose files were touched and are the same: with the new times, so that they need not be read next time.
    pub refreshed: Vec<Memo>,
}

/// What the files say of one instance, apart from what comes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    /// All as the memo says; `touched` when some file has another time.
    Holds { touched: bool },
    /// It must run.
    Fails(Reason),
}

/// Judges the instances of a plan.
#[derive(Debug)]
pub struct Judge<'a> {
    plan: &'a Plan,
    selection: &'a Selection,
    /// Per instance, its memo if that has its definition, or why there is nothing to compare.
    memos: Vec<Result<MemoRef<'a>, Reason>>,
    /// What instances would make whose `when` is false.
    unmade: HashSet<PathId>,
}

#[expect(clippy::indexing_slicing, reason = "one element per task or instance of the plan; ids are the plan's own")]
impl<'a> Judge<'a> {
    /// Looks up the memos.
    pub fn new(plan: &'a Plan, memos: &'a Memos, selection: &'a Selection) -> Self {
        let memos = plan.instance_ids().map(|instance| recorded(plan, memos, selection, instance)).collect();
        let left = plan.instance_ids().filter(|it| selection.left.get(it.index()) == Some(&Some(Reason::When)));
        let unmade = left.flat_map(|instance| plan.outputs(instance)).copied().collect();
        Self { plan, selection, memos, unmade }
    }

    /// Returns the paths whose fingerprints the judgement needs, without hashes: files of instances that have a memo, and
    /// inputs that nothing in this run makes. Per path of the plan.
    pub fn paths(&self) -> Vec<bool> {
        let mut wanted = vec![false; self.plan.paths.len()];
        for instance in self.plan.instance_ids().filter(|&instance| self.selection.takes(instance)) {
            let remembered = self.memos[instance.index()].is_ok();
            for &path in self.plan.inputs(instance) {
                let made = self.plan.producer(path).is_some_and(|producer| self.selection.takes(producer));
                wanted[path.index()] |= remembered || !made;
            }
            if remembered {
                for &path in self.plan.outputs(instance) {
                    wanted[path.index()] = true;
                }
            }
        }
        wanted
    }

    /// Returns the paths whose contents decide; `seen` holds what lies on disk, per path of the plan.
    pub fn doubtful(&self, seen: &[Option<Fingerprint>]) -> Vec<PathId> {
        let mut doubtful = Vec::new();
        for instance in self.plan.instance_ids() {
            let Ok(memo) = self.memos[instance.index()] else { continue };
            let before = doubtful.len();
            for (path, recorded) in files(self.plan, instance, memo) {
                match compare(recorded, seen[path.index()].as_ref()) {
                    Same::Doubtful => doubtful.push(path),
                    Same::Untouched | Same::Touched => {}
                    // It runs in any case: what else it reads need not be looked at on its account.
                    Same::Changed | Same::Missing => {
                        doubtful.truncate(before);
                        break;
                    }
                }
            }
        }
        doubtful.sort_unstable();
        doubtful.dedup();
        doubtful
    }

    /// Judges. What is still doubtful counts as changed.
    pub fn judge(&self, seen: &[Option<Fingerprint>]) -> Judgement {
        let mut judgement = Judgement {
            verdicts: vec![Verdict::Stale; self.plan.instances.len()],
            reasons: vec![Reason::NeverRan; self.plan.instances.len()],
            refreshed: Vec::new(),
        };
        // Per instance and task, what of it runs first, if anything.
        let mut before_task: Vec<Option<TaskId>> = vec![None; self.plan.tasks.len()];
        let mut runs: Vec<bool> = vec![false; self.plan.tasks.len()];
        for step in order(self.plan, &NeededBy::new(self.plan)).unwrap_or_default() {
            match step {
                Step::Open(task) => {
                    before_task[task.index()] =
                        self.plan.task(task).needs.iter().copied().find(|need| runs[need.index()]);
                    runs[task.index()] = before_task[task.index()].is_some() && self.plan.instances_of(task).len() == 0;
                }
                Step::Instance(instance) => {
                    let task = self.plan.instance(instance).task;
                    let (verdict, reason) = self.verdict(instance, seen, before_task[task.index()], &mut judgement);
                    runs[task.index()] |= matches!(verdict, Verdict::Stale | Verdict::Check);
                    judgement.verdicts[instance.index()] = verdict;
                    judgement.reasons[instance.index()] = reason;
                }
            }
        }
        judgement
    }

    fn verdict(
        &self,
        instance: InstanceId,
        seen: &[Option<Fingerprint>],
        needs: Option<TaskId>,
        judgement: &mut Judgement,
    ) -> (Verdict, Reason) {
        if let Some(reason) = self.selection.left[instance.index()] {
            return (Verdict::Left, reason);
        }
        let mut upstream = None;
        for &path in self.plan.inputs(instance) {
            let missing = seen[path.index()].is_none();
            match self.plan.producer(path).map(|producer| (producer, judgement.verdicts[producer.index()])) {
                Some((producer, Verdict::Stale | Verdict::Check)) => upstream = upstream.or(Some(producer)),
                Some((_, Verdict::Left)) if missing => return (Verdict::Left, Reason::Absent(path)),
                None if missing && self.unmade.contains(&path) => return (Verdict::Left, Reason::Absent(path)),
                _ => {}
            }
        }
        let memo = match self.memos[instance.index()] {
            Ok(memo) => memo,
            Err(reason) => return (Verdict::Stale, reason),
        };
        let runs_first = |path: PathId| {
            let producer = self.plan.producer(path).map(|producer| judgement.verdicts[producer.index()]);
            matches!(producer, Some(Verdict::Stale | Verdict::Check))
        };
        match (finding(self.plan, instance, memo, seen, runs_first), upstream, needs) {
            (Finding::Fails(reason), ..) => (Verdict::Stale, reason),
            (_, Some(producer), _) => (Verdict::Check, Reason::Upstream(producer)),
            (_, None, Some(task)) => (Verdict::Check, Reason::Needs(task)),
            (Finding::Holds { touched }, None, None) => {
                if touched {
                    judgement.refreshed.extend(refreshed(self.plan, instance, seen, memo));
                }
                (Verdict::Fresh, Reason::Fresh)
            }
        }
    }

    /// Returns the contents that the memos know, where the files are as they were.
    pub fn hashes(&self, seen: &[Option<Fingerprint>]) -> Hashes {
        let mut hashes = Hashes::default();
        for instance in self.plan.instance_ids() {
            let Ok(memo) = self.memos[instance.index()] else { continue };
            for (path, recorded) in files(self.plan, instance, memo) {
                let Some(seen) = seen[path.index()] else { continue };
                match compare(recorded, Some(&seen)) {
                    Same::Untouched => hashes.learn(path, Fingerprint { hash: recorded.hash, ..seen }),
                    _ => hashes.learn(path, seen),
                }
            }
        }
        hashes
    }
}

fn recorded<'a>(
    plan: &Plan,
    memos: &'a Memos,
    selection: &Selection,
    instance: InstanceId,
) -> Result<MemoRef<'a>, Reason> {
    if let Some(reason) = selection.left.get(instance.index()).copied().flatten() {
        return Err(reason);
    }
    if selection.forces(instance) {
        return Err(Reason::Forced);
    }
    remembered(plan, memos, instance)
}

/// Returns the memo of an instance, if it has its present definition.
fn remembered<'a>(plan: &Plan, memos: &'a Memos, instance: InstanceId) -> Result<MemoRef<'a>, Reason> {
    if !plan.task_of(instance).cache {
        return Err(Reason::NotCached);
    }
    if memos.is_empty() {
        return Err(Reason::NeverRan);
    }
    let memo = memos.get(&key(plan, instance)).ok_or(Reason::NeverRan)?;
    let fits = memo.inputs.len() == plan.inputs(instance).len() && memo.outputs.len() == plan.outputs(instance).len();
    if fits && memo.definition == definition(plan, instance) { Ok(memo) } else { Err(Reason::Definition) }
}

/// Returns the files of an instance, each with its recorded fingerprint: outputs first, which are the likelier to be missing.
fn files<'a>(
    plan: &'a Plan,
    instance: InstanceId,
    memo: MemoRef<'a>,
) -> impl Iterator<Item = (PathId, &'a Fingerprint)> {
    let outputs = plan.outputs(instance).iter().copied().zip(memo.outputs);
    outputs.chain(plan.inputs(instance).iter().copied().zip(memo.inputs))
}

/// Compares the files of an instance with its memo, but for the inputs that are made again first.
fn finding(
    plan: &Plan,
    instance: InstanceId,
    memo: MemoRef<'_>,
    seen: &[Option<Fingerprint>],
    runs_first: impl Fn(PathId) -> bool,
) -> Finding {
    let mut any_touched = false;
    let look = |path: PathId| seen.get(path.index()).and_then(Option::as_ref);
    for (&path, recorded) in plan.outputs(instance).iter().zip(memo.outputs) {
        match compare(recorded, look(path)) {
            Same::Untouched => {}
            Same::Touched => any_touched = true,
            Same::Missing => return Finding::Fails(Reason::OutputMissing(path)),
            Same::Doubtful | Same::Changed => return Finding::Fails(Reason::OutputChanged(path)),
        }
    }
    for (&path, recorded) in plan.inputs(instance).iter().zip(memo.inputs) {
        if runs_first(path) {
            continue;
        }
        match compare(recorded, look(path)) {
            Same::Untouched => {}
            Same::Touched => any_touched = true,
            Same::Missing | Same::Doubtful | Same::Changed => return Finding::Fails(Reason::Input(path)),
        }
    }
    Finding::Holds { touched: any_touched }
}

/// Returns the memo with the present times; none when a file is missing.
fn refreshed(plan: &Plan, instance: InstanceId, seen: &[Option<Fingerprint>], memo: MemoRef<'_>) -> Option<Memo> {
    let now = |(&path, recorded): (&PathId, &Fingerprint)| {
        let seen = (*seen.get(path.index())?)?;
        Some(Fingerprint { hash: seen.hash.or(recorded.hash), ..seen })
    };
    Some(Memo {
        key: key(plan, instance),
        definition: memo.definition,
        inputs: plan.inputs(instance).iter().zip(memo.inputs).map(now).collect::<Option<_>>()?,
        outputs: plan.outputs(instance).iter().zip(memo.outputs).map(now).collect::<Option<_>>()?,
    })
}

/// What is found when an instance is asked about again, once all that it depends on is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recheck {
    /// Up to date; with the memo to write anew, where files were touched.
    Fresh(Option<Memo>),
    /// It must run.
    Stale(Reason),
    /// The contents of these files decide.
    Doubtful(Vec<PathId>),
}

/// Asks again about one instance. `seen` holds what lies on disk, in the order of its outputs, then its inputs.
pub fn recheck(plan: &Plan, memos: &Memos, instance: InstanceId, seen: &[Option<Fingerprint>]) -> Recheck {
    let memo = match remembered(plan, memos, instance) {
        Ok(memo) => memo,
        Err(reason) => return Recheck::Stale(reason),
    };
    let mut doubtful = Vec::new();
    let mut touched = false;
    let outputs = plan.outputs(instance).len();
    for (index, (path, recorded)) in files(plan, instance, memo).enumerate() {
        match compare(recorded, seen.get(index).and_then(Option::as_ref)) {
            Same::Untouched => {}
            Same::Touched => touched = true,
            Same::Doubtful => doubtful.push(path),
            Same::Missing if index < outputs => return Recheck::Stale(Reason::OutputMissing(path)),
            Same::Changed if index < outputs => return Recheck::Stale(Reason::OutputChanged(path)),
            Same::Missing | Same::Changed => return Recheck::Stale(Reason::Input(path)),
        }
    }
    if !doubtful.is_empty() {
        return Recheck::Doubtful(doubtful);
    }
    let print = |(index, (_, recorded)): (usize, (PathId, &Fingerprint))| {
        let seen = (*seen.get(index)?)?;
        Some(Fingerprint { hash: seen.hash.or(recorded.hash), ..seen })
    };
    let renewed = || {
        let mut prints = files(plan, instance, memo).enumerate().map(print).collect::<Option<Vec<_>>>()?;
        let inputs = prints.split_off(outputs);
        Some(Memo { key: key(plan, instance), definition: memo.definition, inputs, outputs: prints })
    };
    Recheck::Fresh(if touched { renewed() } else { None })
}
