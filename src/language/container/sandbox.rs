//! What a script from somebody else may use, and what it is shown.

use crate::model::units::{Bytes, Walltime};

/// Where it works, and where its files are.
pub const WORK: &str = "/work";
/// Who it is: nobody.
pub const NOBODY: &str = "65534:65534";

/// The limits of a sandbox. There is no network, the image is read-only, and nothing of the host is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// Cores.
    pub cpus: u32,
    /// Memory, with what lies in [`WORK`] and `/tmp`; there is no swap.
    pub memory: Bytes,
    /// Processes and threads at a time.
    pub pids: u32,
    /// Room in [`WORK`], and again in `/tmp`.
    pub disk: Bytes,
    /// How long it may run.
    pub time: Walltime,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self { cpus: 2, memory: Bytes::gib(4), pids: 512, disk: Bytes::gib(1), time: Walltime(600) }
    }
}

/// A limit as the runtime holds it; none where it holds none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Memory.
    pub memory: Option<u64>,
    /// Processes.
    pub pids: Option<u64>,
}

impl Sandbox {
    /// Returns which limits a runtime took and does not hold.
    pub fn ignored(&self, held: Held) -> Vec<&'static str> {
        let mut ignored = Vec::new();
        // Rounded to pages.
        if held.memory.is_none_or(|held| held > self.memory.0 + (1 << 20)) {
            ignored.push("memory");
        }
        if held.pids.is_none_or(|held| held == 0 || held > u64::from(self.pids)) {
            ignored.push("processes");
        }
        ignored
    }
}

/// A file that cannot be given to a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFile {
    /// Its name leads out of the directory.
    #[error("`{0}` leads out of this directory")]
    Escapes(String),
    /// No name.
    #[error("there is a file without a name")]
    Empty,
}

/// Returns the name under which a file that is named relative to the working directory lies in [`WORK`].
///
/// # Errors
/// When it leads out of the working directory.
pub fn inside(name: &str) -> Result<String, BadFile> {
    if name.starts_with('/') {
        return Err(BadFile::Escapes(name.to_owned()));
    }
    let mut parts = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(BadFile::Escapes(name.to_owned())),
            part => parts.push(part),
        }
    }
    if parts.is_empty() { Err(BadFile::Empty) } else { Ok(parts.join("/")) }
}

/// Prints, in POSIX sh, where daemons listen: `use SOCKET` where this account may speak to it, `denied SOCKET` where not.
pub const FIND_SOCKETS: &str = "\
run=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}
for s in \"${DOCKER_HOST#unix://}\" /var/run/docker.sock \"$run/docker.sock\" \"${CONTAINER_HOST#unix://}\" \"$run/podman/podman.sock\" /run/podman/podman.sock; do
  [ -S \"$s\" ] || continue
  if [ -w \"$s\" ]; then echo \"use $s\"; else echo \"denied $s\"; fi
done";
