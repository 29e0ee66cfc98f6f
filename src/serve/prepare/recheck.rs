//! Whether an instance is up to date after all, once what it depends on is over.

use crate::decide::fresh::judge::{Recheck, recheck as judge_again};
use crate::decide::fresh::memos::{Hashes, Memos};
use crate::decide::fresh::reason::Reason;
use crate::model::data::{DATA, Elsewhere, counts};
use crate::model::id::InstanceId;
use crate::model::plan::{Fingerprint, Memo, Plan};
use crate::reach::files::FilesError;
use crate::reach::files::look::Root;

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rechecked {
    /// [`Reason::Fresh`], or why it must run.
    pub reason: Reason,
    /// The memo to write anew, where files were touched and are the same.
    pub refreshed: Option<Memo>,
}

impl Rechecked {
    /// Returns whether it need not run.
    pub fn is_fresh(&self) -> bool {
        self.reason == Reason::Fresh
    }
}

/// Looks at the files of an instance and answers [`Action::Check`](crate::decide::engine::protocol::Action). `root` is the
/// plan's directory, opened once for many; `elsewhere` is what lies on hosts of it. Reads a file only where neither a memo nor `hashes` knows its content.
///
/// # Errors
/// When a file may not be looked at, or read: then the instance had better run, and say so itself.
pub fn recheck(
    root: &Root,
    plan: &Plan,
    memos: &Memos,
    hashes: &Hashes,
    elsewhere: &Elsewhere,
    instance: InstanceId,
) -> Result<Rechecked, FilesError> {
    let (outputs, inputs) = (plan.outputs(instance), plan.inputs(instance));
    let paths = || outputs.iter().chain(inputs).copied();
    let found = |path| {
        let (here, there) = (root.look(plan.path(path))?, elsewhere.get(plan.path(path)));
        let is_here = |path: &str| root.look(path).is_ok_and(|seen| seen.is_some());
        Ok(match plan.producer(path) {
            _ if plan.path(path).starts_with(DATA) => counts(here, there),
            Some(_) => here.or(there),
            None => elsewhere.with(plan.path(path), here, is_here),
        })
    };
    let look = |path| found(path).map(|print: Option<Fingerprint>| print.map(|print| hashes.fill(path, print)));
    let mut seen = paths().map(look).collect::<Result<Vec<Option<Fingerprint>>, FilesError>>()?;
    if let Recheck::Doubtful(doubtful) = judge_again(plan, memos, instance, &seen) {
        // They come in the order in which they were asked about.
        let mut doubtful = doubtful.into_iter().peekable();
        for (path, seen) in paths().zip(&mut seen) {
            if doubtful.next_if_eq(&path).is_some()
                && let Some(print) = seen
            {
                print.hash = root.hash(plan.path(path))?;
            }
        }
    }
    Ok(match judge_again(plan, memos, instance, &seen) {
        Recheck::Fresh(refreshed) => Rechecked { reason: Reason::Fresh, refreshed },
        Recheck::Stale(reason) => Rechecked { reason, refreshed: None },
        // Too large to be read, or gone meanwhile: what cannot be compared has changed.
        Recheck::Doubtful(paths) => {
            let path = paths.first().copied();
            let reason = path.map_or(Reason::NeverRan, |path| {
                if outputs.contains(&path) { Reason::OutputChanged(path) } else { Reason::Input(path) }
            });
            Rechecked { reason, refreshed: None }
        }
    })
}
