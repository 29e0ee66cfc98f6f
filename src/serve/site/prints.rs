//! What jobs read, as it was before it was brought to them: when they are over, something else may lie here under the same names. It is
//! kept in a file, so that the next engine knows it too.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::language::manifest::absolute;
use crate::model::batch::JobName;
use crate::model::data::{DATA, Elsewhere, above, counts};
use crate::model::id::PathId;
use crate::model::plan::{Fingerprint, Plan};
use crate::model::units::Timestamp;
use crate::reach::config::StateDir;
use crate::reach::files::look::fingerprint;
use crate::reach::store::Sent;
use crate::serve::site::{Means, SiteJob};

/// Version of the file. One of another version is as good as none.
const VERSION: u32 = 1;

/// The file.
#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    /// By path.
    inputs: BTreeMap<String, Fingerprint>,
}

/// Looks at what the jobs of a submission read, and keeps it until nothing of the submission is left.
pub(super) async fn keep(means: &Means, submission: &JobName, jobs: &[SiteJob]) {
    // Jobs that go together are of one directory.
    let Some(root) = jobs.first().map(|job| job.plan.root.clone()) else { return };
    let names = known_before(jobs);
    let (elsewhere, dir) = (means.stock.elsewhere(&root), means.state.incoming(submission));
    let keeping = spawn_blocking(move || {
        let look = |name: String| look(&root, &name, &elsewhere).map(|print| (name, print));
        write(&dir, &Kept { version: VERSION, inputs: names.into_iter().filter_map(look).collect() })
    });
    // A panic there is reported. Without the file, times say what was read.
    if let Ok(Err(error)) = keeping.await {
        tracing::warn!(name = %submission, %error, "what jobs read cannot be kept");
    }
}

/// Forgets what submissions read, and what is left of fetching what they made.
pub(super) fn forget(state: &StateDir, submissions: &[JobName]) {
    for name in submissions {
        // Of most there is something; what cannot be removed is in nobody's way.
        fs::remove_dir_all(state.incoming(name)).ok();
    }
}

fn write(dir: &Path, kept: &Kept) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let new = dir.join("inputs.new");
    fs::write(&new, serde_json::to_vec(kept)?)?;
    fs::rename(new, file(dir))
}

fn file(dir: &Path) -> PathBuf {
    dir.join("inputs")
}

/// Returns those inputs of jobs that are before the jobs begin what they are after: nothing in the run makes them, no job makes anything
/// in them, and for one that is sent ahead nothing is yet to be made in or around them.
fn known_before(jobs: &[SiteJob]) -> BTreeSet<String> {
    let (mut names, mut unmade, mut changing) = (BTreeSet::new(), HashSet::new(), HashSet::new());
    let mut plans = HashSet::new();
    let mut before = None;
    for job in jobs.iter().filter(|job| job.plan.task_of(job.key.instance).cache) {
        let (plan, instance) = (&job.plan, job.key.instance);
        changing.extend(plan.outputs(instance).iter().flat_map(|&path| around(plan.path(path))));
        if !job.after.is_empty() && plans.insert(Arc::as_ptr(plan)) {
            let made = plan.paths.iter().zip(&plan.producers).filter(|(_, producer)| producer.is_some());
            for (path, _) in made {
                unmade.insert(path);
                changing.extend(around(path));
            }
        }
        // Instances that read the same share the list.
        let list = (Arc::as_ptr(plan), plan.instance(instance).inputs);
        if before.replace(list) != Some(list) {
            let inputs = plan.inputs(instance).iter().filter(|&&path| plan.producer(path).is_none());
            names.extend(inputs.map(|&path| plan.path(path)));
        }
    }
    let is_known = |name: &&str| !changing.contains(name) && !above(name).any(|dir| unmade.contains(dir));
    names.into_iter().filter(is_known).map(str::to_owned).collect()
}

/// Returns the directories that a path lies in, the workflow's own among them.
fn around(path: &str) -> impl Iterator<Item = &str> {
    above(path).chain((!path.starts_with('/')).then_some("."))
}

/// Looks at an input that nothing in the run makes.
fn look(root: &str, name: &str, elsewhere: &Elsewhere) -> Option<Fingerprint> {
    let seen = here(root, name);
    if name.starts_with(DATA) {
        return counts(seen, elsewhere.get(name));
    }
    elsewhere.with(name, seen, |path| Path::new(root).join(path).symlink_metadata().is_ok())
}

fn here(root: &str, name: &str) -> Option<Fingerprint> {
    fingerprint(Path::new(&absolute(root, name)), false).ok().flatten()
}

/// How the inputs of a submission were.
#[derive(Debug)]
pub(super) struct Prints {
    /// Before they were brought; none where that was not kept, or is lost.
    kept: Option<BTreeMap<String, Fingerprint>>,
    /// When the submission was decided on.
    since: Timestamp,
}

impl Prints {
    /// Reads what was kept.
    pub(super) fn of(state: &StateDir, sent: &Sent) -> Self {
        let text = fs::read(file(&state.incoming(&sent.name))).ok();
        let kept = text.and_then(|text| serde_json::from_slice::<Kept>(&text).ok());
        let kept = kept.filter(|kept| kept.version == VERSION).map(|kept| kept.inputs);
        Self { kept, since: sent.at }
    }

    /// Returns the fingerprint of an input that a job had; none where nobody knows: then nothing is remembered of the job, and it runs
    /// again.
    pub(super) fn input(&self, plan: &Plan, path: PathId, elsewhere: &Elsewhere) -> Option<Fingerprint> {
        let name = plan.path(path);
        let now = || look(&plan.root, name, elsewhere);
        match (plan.producer(path), &self.kept) {
            (Some(_), _) if name.starts_with(DATA) => now(),
            // Should somebody change it here, what makes it runs again.
            (Some(_), _) => here(&plan.root, name).or_else(|| elsewhere.get(name)),
            (None, Some(kept)) => kept.get(name).copied().or_else(now),
            (None, None) => now().filter(|print| print.mtime < self.since.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{InstanceId, JobKey, RunId};
    use crate::model::units::Bytes;

    fn sent(state: &StateDir) -> Sent {
        fs::create_dir_all(state.root()).unwrap();
        let members = vec![JobKey { run: RunId(1), instance: InstanceId(0), attempt: 1 }];
        let name = "csync-0123abcd-1-0-1".parse().unwrap();
        Sent { name, host: "hpc".to_owned(), at: Timestamp(1_000_000), batch: None, members }
    }

    fn plan(root: &Path) -> Plan {
        let mut plan = Plan { root: root.to_str().unwrap().to_owned(), ..Plan::default() };
        plan.paths.push("in");
        plan.producers.push(None);
        plan
    }

    #[test]
    fn an_input_is_what_it_was_and_where_that_is_lost_what_is_older_than_its_submission() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"), None);
        let (sent, plan, nowhere) = (sent(&state), plan(dir.path()), Elsewhere::default());
        let write_at = |text: &str, seconds: u64| {
            fs::write(dir.path().join("in"), text).unwrap();
            let file = fs::File::options().write(true).open(dir.path().join("in")).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
        };
        let input = || Prints::of(&state, &sent).input(&plan, PathId(0), &nowhere);
        let is = |size: Bytes, seconds: i64| Some(Fingerprint { size: size.0, mtime: seconds * 1_000_000, hash: None });
        // Nothing was kept: what came to lie here after the submission may not be what was read.
        write_at("old", 0);
        assert_eq!(input(), is(Bytes(3), 0));
        write_at("newer", 2);
        assert_eq!(input(), None);
        let inputs = [("in".to_owned(), is(Bytes(3), 0).unwrap())].into();
        write(&state.incoming(&sent.name), &Kept { version: VERSION, inputs }).unwrap();
        assert_eq!(input(), is(Bytes(3), 0), "as it was before");
        // What was not looked at before is what it is now.
        write(&state.incoming(&sent.name), &Kept { version: VERSION, inputs: BTreeMap::new() }).unwrap();
        assert_eq!(input(), is(Bytes(5), 2));
        // Cut off, or of another version: as good as none.
        for text in ["{\"version\":1,\"inp", "{\"version\":2,\"inputs\":{}}"] {
            fs::write(file(&state.incoming(&sent.name)), text).unwrap();
            assert_eq!(input(), None, "{text}");
        }
        forget(&state, std::slice::from_ref(&sent.name));
        assert!(!state.incoming(&sent.name).exists());
    }
}
