//! What the engine last knew of a host that it works with: for jobs that are there although `hosts.toml` names it no more, and for
//! going on at once after a restart.

use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::host::{Host, HostName};
use crate::model::units::Timestamp;
use crate::reach::config::StateDir;

/// A host as it was configured last, and what was seen there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptHost {
    /// Its configuration.
    pub host: Host,
    /// Where our directory there is, absolute; none while that is not known.
    pub scratch: Option<String>,
}

impl KeptHost {
    /// Returns what is kept of a host. What cannot be read is as good as not there.
    pub fn load(state: &StateDir, host: &HostName) -> Option<Self> {
        let text = std::fs::read(Self::file(state, host)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Keeps it, in place of what was kept before.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, state: &StateDir) -> io::Result<()> {
        let file = Self::file(state, &self.host.name);
        if let Some(dir) = file.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        let new = file.with_extension("new");
        let mut out = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        serde_json::to_writer(&mut out, self)?;
        std::fs::rename(new, file)
    }

    /// Returns when a host's batch system was asked last, by whichever engine.
    pub fn asked(state: &StateDir, host: &HostName) -> Option<Timestamp> {
        let text = std::fs::read_to_string(Self::file(state, host).with_extension("asked")).ok()?;
        text.trim().parse().ok().map(Timestamp)
    }

    /// Keeps when it was asked last. A time cut off by a crash is as good as none.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_asked(state: &StateDir, host: &HostName, at: Timestamp) -> io::Result<()> {
        let file = Self::file(state, host).with_extension("asked");
        std::fs::write(file, format!("{}\n", at.0))
    }

    fn file(state: &StateDir, host: &HostName) -> PathBuf {
        state.root().join("hosts").join(format!("{host}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_kept_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().to_path_buf(), None);
        let name: HostName = "hpc".parse().unwrap();
        assert_eq!(KeptHost::load(&state, &name), None);
        let host = Host { max_jobs: Some(7), ..Host::new(name.clone()) };
        let mut kept = KeptHost { host, scratch: None };
        kept.keep(&state).unwrap();
        kept.scratch = Some("/scratch/ada/csync".to_owned());
        kept.keep(&state).unwrap();
        assert_eq!(KeptHost::load(&state, &name), Some(kept));
        std::fs::write(dir.path().join("hosts/hpc.json"), "{").unwrap();
        assert_eq!(KeptHost::load(&state, &name), None);
        assert_eq!(KeptHost::asked(&state, &name), None);
        KeptHost::keep_asked(&state, &name, Timestamp(-7)).unwrap();
        assert_eq!(KeptHost::asked(&state, &name), Some(Timestamp(-7)));
        std::fs::write(dir.path().join("hosts/hpc.asked"), "soon").unwrap();
        assert_eq!(KeptHost::asked(&state, &name), None);
    }
}
