//! What the runner keeps of a run beside the core: where it came from, what its jobs are given, who watches it.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::decide::engine::run::Run;
use crate::decide::fresh::memos::{Hashes, Memos};
use crate::decide::fresh::reason::Reason;
use crate::model::api::RunSummary;
use crate::model::id::RunId;
use crate::model::task::Task;
use crate::reach::config::StateDir;
use crate::reach::executor::wire::Environment;
use crate::reach::files::lock::DirLock;
use crate::reach::store::WorkflowKey;
use crate::serve::engine::watch::Watcher;

/// What the runner keeps of a run.
#[derive(Debug)]
pub(super) struct Care {
    /// Its head; counters and state are the core's.
    pub(super) head: RunSummary,
    /// Key of its memos.
    pub(super) workflow: WorkflowKey,
    /// Per instance, why it runs or does not.
    pub(super) reasons: Vec<Reason>,
    /// What its jobs are given.
    pub(super) means: Means,
    /// Whether the worker knows its environment.
    pub(super) introduced: bool,
    /// The lock of its directory, while it is not over and makes files.
    pub(super) lock: Option<DirLock>,
    /// Memos that its checks go by; none until they are needed.
    pub(super) memos: Option<Arc<Memos>>,
    /// Contents that are known.
    pub(super) hashes: Hashes,
    /// Who follows it.
    pub(super) watchers: Vec<Watcher>,
    /// Something happened since the watchers were told.
    pub(super) changed: bool,
    /// When it was last asked for, as a count of turns.
    pub(super) used: u64,
}

impl Care {
    /// Returns the head with the core's counters and state.
    pub(super) fn summary(&self, run: &Run) -> RunSummary {
        RunSummary { state: run.state(), counts: run.counts(), ..self.head.clone() }
    }
}

/// What jobs are given: the submitter's environment, umask and secrets.
#[derive(Clone, Default)]
pub(super) struct Means {
    pub(super) env: Vec<(String, String)>,
    pub(super) umask: u32,
    pub(super) secrets: Vec<(String, String)>,
}

impl std::fmt::Debug for Means {
    /// Hides everything: there are secrets in it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Means").finish_non_exhaustive()
    }
}

impl Means {
    /// Returns the environment as the worker is told it.
    pub(super) fn environment(&self, run: RunId) -> Environment {
        Environment { number: run.0, vars: self.env.clone(), umask: self.umask }
    }

    /// Adds the secrets that a task names to the variables of a job of it.
    pub(super) fn give_secrets(&self, task: &Task, env: &mut Vec<(String, String)>) {
        let named = self.secrets.iter().filter(|(name, _)| task.secrets.contains(name));
        env.extend(named.cloned());
    }
}

fn secrets_file(state: &StateDir, run: RunId) -> PathBuf {
    state.run_dir(run).join("secrets")
}

/// Writes a run's secrets where nobody else reads them, for the case that the engine dies before the run is over.
pub(super) fn keep_secrets(state: &StateDir, run: RunId, secrets: &[(String, String)]) -> io::Result<()> {
    if secrets.is_empty() {
        return Ok(());
    }
    std::fs::create_dir_all(state.run_dir(run))?;
    let path = secrets_file(state, run);
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    serde_json::to_writer(&mut file, secrets)?;
    file.flush()
}

/// Reads them back; empty when there are none.
pub(super) fn find_secrets(state: &StateDir, run: RunId) -> Vec<(String, String)> {
    let Ok(file) = File::open(secrets_file(state, run)) else { return Vec::new() };
    serde_json::from_reader(BufReader::new(file)).unwrap_or_else(|error| {
        tracing::warn!(%run, %error, "the secrets of a run cannot be read back");
        Vec::new()
    })
}

/// Forgets them.
pub(super) fn drop_secrets(state: &StateDir, run: RunId) {
    match std::fs::remove_file(secrets_file(state, run)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%run, %error, "the secrets of a run that is over cannot be removed");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn secrets_are_private_and_go_with_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().to_path_buf(), None);
        state.create().unwrap();
        let (run, secrets) = (RunId(3), vec![("TOKEN".to_owned(), "s3cret".to_owned())]);
        keep_secrets(&state, run, &secrets).unwrap();
        let mode = std::fs::metadata(secrets_file(&state, run)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(find_secrets(&state, run), secrets);
        drop_secrets(&state, run);
        drop_secrets(&state, run);
        assert!(find_secrets(&state, run).is_empty());
        assert!(!format!("{:?}", Means { secrets, ..Means::default() }).contains("s3cret"));
    }
}
