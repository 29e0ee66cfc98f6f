//! The state directory: one per person unless `CSYNC_STATE` says otherwise; everything in it is private (0700, 0600).
//!
//! ```text
//! id                  its name for hosts and processes
//! csync.db            runs, attempts, memos (SQLite)
//! secrets.json        what `csync secret` keeps
//! agreed/             directories whose files may be sent to other machines
//! engine.lock         held by the engine that lives
//! engine.sock         its API      (elsewhere when the path is too long for a socket or lies on a network filesystem)
//! engine.log          its diagnostics
//! ssh/                control sockets of its SSH connections
//! worker.lock, worker.sock, worker.log    the same of the local worker
//! live/               logs of jobs that just started
//! incoming/NAME/      of a submission on a host: what it read, as it was, and what is being fetched of it
//! runs/12/logs/0/345.1.out, .err          logs of instance 345, attempt 1, of run 12
//! runs/12/secrets     0600, while the run lives
//! ```

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::model::api::Stream;
use crate::model::batch::JobName;
use crate::model::id::{JobKey, RunId};

/// Longest path that a Unix socket can have on every system that csync runs on, less one for the final zero.
const SOCKET_PATH_MAX: usize = 100;

/// Longest path of the directory of control sockets: a name of 16 bytes and 18 more that `ssh` puts behind it must fit.
const SSH_DIR_MAX: usize = 104 - 1 - 17 - 17;

/// The state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// No home directory is known.
    #[error("no home directory is known (neither HOME nor XDG_STATE_HOME is set)")]
    NoHome,
    /// It cannot be made or entered.
    #[error("the state directory {path} cannot be used")]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The state directory's layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir {
    root: PathBuf,
    sockets: PathBuf,
}

impl StateDir {
    /// Finds the state directory from environment variables: `CSYNC_STATE`, else `XDG_STATE_HOME/csync`, else
    /// `HOME/.local/state/csync`. Touches nothing.
    ///
    /// # Errors
    /// [`StateDirError::NoHome`].
    pub fn locate(var: impl Fn(&str) -> Option<OsString>) -> Result<Self, StateDirError> {
        let set = |name: &str| var(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = set("CSYNC_STATE")
            .or_else(|| set("XDG_STATE_HOME").map(|dir| dir.join("csync")))
            .or_else(|| set("HOME").map(|home| home.join(".local/state/csync")))
            .ok_or(StateDirError::NoHome)?;
        let root = std::path::absolute(&root).map_err(|source| StateDirError::Unusable { path: root, source })?;
        Ok(Self::at(root, set("XDG_RUNTIME_DIR").as_deref()))
    }

    /// Uses this directory (absolute), with the sockets in it unless their paths would be too long, or it lies on a network
    /// filesystem where sockets do not work.
    pub fn at(root: PathBuf, runtime_dir: Option<&Path>) -> Self {
        let too_long = root.as_os_str().len() + "/engine.sock".len() > SOCKET_PATH_MAX;
        let sockets = if too_long || is_network_filesystem(&root) {
            let name = blake3::hash(root.as_os_str().as_encoded_bytes()).to_hex();
            let name = format!("csync-{}", name.get(..16).unwrap_or_default());
            let user = rustix::process::getuid().as_raw();
            runtime_dir.map_or_else(|| PathBuf::from(format!("/tmp/csync-{user}")), Path::to_path_buf).join(name)
        } else {
            root.clone()
        };
        Self { root, sockets }
    }

    /// Makes the directory and those in it, private to this user.
    ///
    /// # Errors
    /// [`StateDirError::Unusable`] when it cannot be made, is not a directory, or is not ours to write.
    pub fn create(&self) -> Result<(), StateDirError> {
        for dir in [&self.root, &self.sockets, &self.root.join("live"), &self.root.join("runs")] {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)
                .and_then(|()| rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).map_err(io::Error::from))
                .map_err(|source| StateDirError::Unusable { path: dir.clone(), source })?;
        }
        self.name().map_err(|source| StateDirError::Unusable { path: self.id_file(), source })
    }

    /// Gives it a name, unless it has one. One from before there were any keeps that which its path is: its jobs are called so.
    fn name(&self) -> io::Result<()> {
        if self.id_file().exists() || self.database().exists() {
            return Ok(());
        }
        let mut bytes = [0; 16];
        // Fails on kernels before 3.17; the clock and the process tell two machines apart just as well.
        let _filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
        let clock = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        let drawn = format!("{bytes:?} {clock:?} {}", std::process::id());
        let id = blake3::hash(drawn.as_bytes()).to_hex();
        let draft = self.root.join(format!(".id-{}", std::process::id()));
        std::fs::write(&draft, id.get(..16).unwrap_or_default())?;
        // Whoever is first names it: a link takes no other's place. Not every filesystem has them.
        match std::fs::hard_link(&draft, self.id_file()) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => std::fs::rename(&draft, self.id_file()),
            _ => std::fs::remove_file(&draft),
        }
    }

    fn id_file(&self) -> PathBuf {
        self.root.join("id")
    }

    /// Returns the directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the directory of the workflows that look at hosts: they have to do with none of the person's.
    pub fn looks(&self) -> PathBuf {
        self.root.join("looks")
    }

    /// Returns the directory's name for hosts and processes: the variable `CSYNC_STATE_ID` of every job has it, and the names of jobs
    /// and of what they read on hosts begin with it. It was drawn when the directory was made: two machines of one person have
    /// theirs under the same path, and meet on hosts.
    pub fn id(&self) -> String {
        let kept = std::fs::read_to_string(self.id_file()).ok();
        let kept = kept.filter(|id| id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        kept.unwrap_or_else(|| self.hash())
    }

    /// Returns a hash of its path.
    fn hash(&self) -> String {
        let hash = blake3::hash(self.root.as_os_str().as_encoded_bytes()).to_hex();
        hash.get(..16).unwrap_or_default().to_owned()
    }

    /// Returns the database.
    pub fn database(&self) -> PathBuf {
        self.root.join("csync.db")
    }

    /// Returns what was learned, sealed.
    pub fn learned(&self) -> PathBuf {
        self.root.join("learned.db")
    }

    /// Returns the key that opens what was learned.
    pub fn learned_key(&self) -> PathBuf {
        self.root.join("learned.key")
    }

    /// Returns the file of the secrets that a person keeps.
    pub fn secrets(&self) -> PathBuf {
        self.root.join("secrets.json")
    }

    /// Returns the engine's lock.
    pub fn engine_lock(&self) -> PathBuf {
        self.root.join("engine.lock")
    }

    /// Returns the engine's socket.
    pub fn engine_socket(&self) -> PathBuf {
        self.sockets.join("engine.sock")
    }

    /// Returns where the control sockets of `ssh` lie. `ssh` binds to a longer name first, so that their path must be shorter
    /// than that of other sockets.
    pub fn ssh_dir(&self) -> PathBuf {
        let beside = self.sockets.join("ssh");
        if self.sockets != self.root || beside.as_os_str().len() <= SSH_DIR_MAX {
            return beside;
        }
        let user = rustix::process::getuid().as_raw();
        PathBuf::from(format!("/tmp/csync-{user}")).join(self.hash())
    }

    /// Returns where it is kept when connections to hosts were opened.
    pub fn connections_dir(&self) -> PathBuf {
        self.root.join("connections")
    }

    /// Returns where simulated clusters lie, each in a directory of its name.
    pub fn clusters_dir(&self) -> PathBuf {
        self.root.join("simulated")
    }

    /// Returns the directory of a submission on a host, for as long as anything of it is left there.
    pub fn incoming(&self, submission: &JobName) -> PathBuf {
        self.root.join("incoming").join(submission.as_str())
    }

    /// Returns the engine's diagnostics.
    pub fn engine_log(&self) -> PathBuf {
        self.root.join("engine.log")
    }

    /// Returns the worker's lock.
    pub fn worker_lock(&self) -> PathBuf {
        self.root.join("worker.lock")
    }

    /// Returns the worker's socket.
    pub fn worker_socket(&self) -> PathBuf {
        self.sockets.join("worker.sock")
    }

    /// Returns the worker's diagnostics.
    pub fn worker_log(&self) -> PathBuf {
        self.root.join("worker.log")
    }

    /// Returns where logs of jobs lie that just started.
    pub fn live_dir(&self) -> PathBuf {
        self.root.join("live")
    }

    /// Returns where what sandboxes print lies until they are kept as runs.
    pub fn sandbox_dir(&self) -> PathBuf {
        self.root.join("sandboxes")
    }

    /// Returns the directory of a run.
    pub fn run_dir(&self, run: RunId) -> PathBuf {
        self.root.join(format!("runs/{run}"))
    }

    /// Returns a log of an attempt; it exists only where something was written. A thousand instances share a directory.
    pub fn log(&self, key: JobKey, stream: Stream) -> PathBuf {
        let end = match stream {
            Stream::Stdout => "out",
            Stream::Stderr => "err",
        };
        let shard = key.instance.0 / 1000;
        self.root.join(format!("runs/{}/logs/{shard}/{}.{}.{end}", key.run, key.instance, key.attempt))
    }

    /// Returns whether the directory lies on a network filesystem, where SQLite's WAL and file locks cannot be trusted.
    pub fn is_on_network_filesystem(&self) -> bool {
        is_network_filesystem(&self.root)
    }
}

/// Looks at the filesystem of a path, or of its nearest parent that exists.
fn is_network_filesystem(path: &Path) -> bool {
    // NFS, SMB, SMB2, CIFS, AFS, Ceph, Lustre, GPFS, BeeGFS, 9P, FUSE (sshfs), PanFS: statfs(2) and the filesystems' headers.
    const MAGIC: [u32; 12] = [
        0x6969,
        0x517b,
        0xfe53_4d42,
        0xff53_4d42,
        0x5346_414f,
        0x00c3_6400,
        0x0bd0_0bd0,
        0x4750_4653,
        0x1983_0326,
        0x0102_1997,
        0x6573_5546,
        0xaad7_aaea,
    ];
    path.ancestors()
        .find_map(|parent| rustix::fs::statfs(parent).ok())
        .is_some_and(|stat| MAGIC.contains(&(stat.f_type as u32)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::InstanceId;

    fn locate(vars: &[(&str, &str)]) -> Result<StateDir, StateDirError> {
        StateDir::locate(|name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value)))
    }

    #[test]
    fn the_nearest_variable_wins() {
        let root = |vars: &[(&str, &str)]| locate(vars).unwrap().root().to_path_buf();
        assert_eq!(root(&[("HOME", "/h")]), Path::new("/h/.local/state/csync"));
        assert_eq!(root(&[("HOME", "/h"), ("XDG_STATE_HOME", "/x")]), Path::new("/x/csync"));
        assert_eq!(root(&[("HOME", "/h"), ("CSYNC_STATE", "/s"), ("XDG_STATE_HOME", "")]), Path::new("/s"));
        assert!(matches!(locate(&[]), Err(StateDirError::NoHome)));
    }

    #[test]
    fn sockets_move_where_their_path_fits() {
        let deep = format!("/{}", "d".repeat(120));
        let dir = locate(&[("CSYNC_STATE", &deep), ("XDG_RUNTIME_DIR", "/run/user/1000")]).unwrap();
        assert!(dir.engine_socket().starts_with("/run/user/1000"));
        assert!(dir.engine_socket().as_os_str().len() < SOCKET_PATH_MAX);
        let near = locate(&[("CSYNC_STATE", "/s")]).unwrap();
        assert_eq!(near.ssh_dir(), Path::new("/s/ssh"));
        let longer = locate(&[("CSYNC_STATE", &format!("/{}", "d".repeat(75)))]).unwrap();
        assert!(longer.ssh_dir().starts_with("/tmp") && longer.ssh_dir().as_os_str().len() <= SSH_DIR_MAX);
        assert_eq!(near.engine_socket(), Path::new("/s/engine.sock"));
    }

    #[test]
    fn two_machines_have_the_same_path_and_not_the_same_name() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path().join("state"), None);
        let drawn = || {
            state.create().unwrap();
            let id = state.id();
            state.create().unwrap();
            assert_eq!((state.id(), StateDir::at(state.root().to_owned(), None).id()), (id.clone(), id.clone()));
            std::fs::remove_dir_all(state.root()).unwrap();
            id
        };
        let (laptop, desktop) = (drawn(), drawn());
        assert_ne!(laptop, desktop);
        assert!([&laptop, &desktop].iter().all(|id| id.len() == 16));
        // One from before is called as its jobs are.
        state.create().unwrap();
        std::fs::remove_file(state.root().join("id")).unwrap();
        std::fs::write(state.database(), "").unwrap();
        state.create().unwrap();
        assert_eq!(state.id(), state.hash());
    }

    #[test]
    fn logs_are_sharded() {
        let dir = locate(&[("CSYNC_STATE", "/s")]).unwrap();
        let key = JobKey { run: RunId(12), instance: InstanceId(2345), attempt: 1 };
        assert_eq!(dir.log(key, Stream::Stderr), Path::new("/s/runs/12/logs/2/2345.1.err"));
    }
}
