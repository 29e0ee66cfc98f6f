//! What a container of a local task leaves in a file: where it is, and what it used.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::reach::docker::{Daemon, DockerError, Over};

/// The ending of the names of these files.
pub const ENDING: &str = "box";

/// How long a daemon may take to remove what was left.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is written of a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Left {
    /// The daemon's socket.
    pub socket: String,
    /// What the container is called.
    pub name: String,
    /// How it ended; none while it is there.
    pub used: Option<Over>,
}

impl Left {
    /// Writes it. Where that fails less is known of what the container used, and nothing else is lost.
    pub fn keep(&self, path: &Path) {
        let text = serde_json::to_vec(self).unwrap_or_default();
        if let Err(error) = fs::write(path, text) {
            tracing::warn!(path = %path.display(), %error, "what a container uses cannot be written down");
        }
    }

    /// Reads it, and removes the file. Where no end is written down, the container may be there still: then the file stays for the
    /// next sweep.
    pub fn take(path: &Path) -> Option<Self> {
        let left = Self::read(path);
        if left.as_ref().is_none_or(|left| left.used.is_some()) {
            fs::remove_file(path).ok();
        }
        left
    }

    fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }
}

/// Removes the containers of jobs that a dead worker left, as their files in a directory say. Of those that a daemon does not
/// remove the files stay: the next sweep tries again.
pub async fn sweep(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    for path in files.filter(|path| path.extension().is_some_and(|end| end == ENDING)) {
        let Some(left) = Left::read(&path).filter(|left| left.used.is_none()) else {
            fs::remove_file(&path).ok();
            continue;
        };
        let removed = async {
            Daemon::at(&left.socket).await?.discard(&left.name).await?;
            Ok::<(), DockerError>(())
        };
        match tokio::time::timeout(PATIENCE, removed).await {
            Ok(Ok(())) => {
                fs::remove_file(&path).ok();
                tracing::warn!(container = left.name, "ended a container that a dead worker left");
            }
            Ok(Err(error)) => {
                tracing::warn!(container = left.name, %error, "a container that was left may be there still");
            }
            Err(_) => tracing::warn!(container = left.name, "the daemon does not say whether a container is gone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_no_daemon_removes_is_kept_for_the_next_sweep() {
        let dir = tempfile::tempdir().unwrap();
        let (stays, over) = (dir.path().join("1.1.1.box"), dir.path().join("2.1.1.box"));
        let left = |used| Left { socket: "/nonexistent/docker.sock".to_owned(), name: "csync-1".to_owned(), used };
        left(None).keep(&stays);
        left(Some(Over::default())).keep(&over);
        fs::write(dir.path().join("3.1.1.box"), "{").unwrap();
        sweep(dir.path()).await;
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(names, [stays]);
    }

    #[test]
    fn what_is_written_is_read_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.1.1.box");
        let used = Over { code: 137, oom: true, ..Over::default() };
        let left = Left { socket: "/run/docker.sock".to_owned(), name: "csync-1".to_owned(), used: Some(used) };
        left.keep(&path);
        assert_eq!(Left::take(&path), Some(left.clone()));
        assert_eq!(Left::take(&path), None);
        let open = Left { used: None, ..left };
        open.keep(&path);
        assert_eq!((Left::take(&path), path.exists()), (Some(open), true), "the next sweep looks for it");
    }
}
