//! Memory control groups: the kernel counts and bounds the memory of a whole process tree.
//!
//! Used where somebody gave this user a group to make groups in: a directory named by hand, or one delegated to the user
//! (version 2, by systemd for example). Root may write everywhere, which is no permission: it has to name a directory.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use crate::model::units::Bytes;

/// The two interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A directory to make groups in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    version: Version,
    dir: PathBuf,
}

impl Groups {
    /// Uses the directory that was named, or finds one that was delegated to this user. None where there is none of use: then
    /// memory is sampled.
    pub fn find(named: Option<&Path>) -> Option<Self> {
        match named {
            Some(dir) => Self::at(dir),
            None if rustix::process::getuid().is_root() => None,
            None => {
                let own = fs::read_to_string("/proc/self/cgroup").ok()?;
                let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
                let (mount, path) = unified(&own, &mounts)?;
                let user = rustix::process::getuid().as_raw();
                // Ours, and not that of a process: a group with processes in it cannot have groups with controllers below it.
                let above = path.ancestors().skip(1).map(|path| mount.join(path.strip_prefix("/").unwrap_or(path)));
                let is_delegated = |dir: &PathBuf| fs::metadata(dir).is_ok_and(|meta| meta.uid() == user);
                above.take_while(is_delegated).find_map(|dir| Self::at(&dir))
            }
        }
    }

    /// Looks whether a directory is of use.
    fn at(dir: &Path) -> Option<Self> {
        let version = if dir.join("memory.limit_in_bytes").exists() {
            Version::One
        } else if has_memory(&fs::read_to_string(dir.join("cgroup.subtree_control")).ok()?) {
            Version::Two
        } else {
            return None;
        };
        rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).ok()?;
        Some(Self { version, dir: dir.to_path_buf() })
    }

    /// Makes a group with a limit, or takes over one of this name.
    ///
    /// Caches that a job filled keep its group alive in the kernel, out of sight, after it was removed. So version 1 keeps
    /// groups for the next job until [`Groups::clear`]; version 2 cannot forget the peak of the job before, and makes new ones.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn make(&self, name: &str, limit: Bytes) -> io::Result<Group> {
        let dir = self.dir.join(name);
        match fs::create_dir(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let mut group = Group { version: self.version, dir, parent: self.dir.clone(), killed_before: 0 };
        let limit = limit.0.to_string();
        match self.version {
            Version::One => {
                group.write("memory.limit_in_bytes", &limit)?;
                // Where swap is counted, none is given; where it is not, there is nothing to bound.
                group.write("memory.memsw.limit_in_bytes", &limit).ok();
                group.write("memory.max_usage_in_bytes", "0")?;
            }
            Version::Two => {
                group.write("memory.max", &limit)?;
                group.write("memory.swap.max", "0").ok();
                // All of a job dies, or none of it.
                group.write("memory.oom.group", "1").ok();
            }
        }
        group.killed_before = group.kills();
        Ok(group)
    }

    /// Removes groups whose names begin so and that nobody is in.
    pub fn clear(&self, prefix: &str) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                // One that has processes in it stays.
                fs::remove_dir(entry.path()).ok();
            }
        }
    }
}

/// A group with a limit.
#[derive(Debug)]
pub struct Group {
    version: Version,
    dir: PathBuf,
    parent: PathBuf,
    killed_before: u64,
}

impl Group {
    /// Moves the calling thread into the group, so that what it starts begins there; false where only whole processes can be
    /// moved ([`Group::adopt`]).
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn enter(&self) -> io::Result<bool> {
        match self.version {
            Version::One => self.write("tasks", "0").map(|()| true),
            Version::Two => Ok(false),
        }
    }

    /// Moves the calling thread back.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn leave(&self) -> io::Result<()> {
        match self.version {
            Version::One => fs::write(self.parent.join("tasks"), "0"),
            Version::Two => Ok(()),
        }
    }

    /// Moves a process into the group, with what it started meanwhile.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn adopt(&self, tree: impl IntoIterator<Item = Pid>) -> io::Result<()> {
        tree.into_iter().try_for_each(|pid| self.write("cgroup.procs", &pid.to_string()))
    }

    /// Returns the processes in it.
    pub fn members(&self) -> Vec<Pid> {
        let text = fs::read_to_string(self.dir.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok().and_then(Pid::from_raw)).collect()
    }

    /// Returns the memory that cannot be taken back by dropping caches: what programs allocated, and what they map.
    pub fn used(&self) -> Option<Bytes> {
        let text = fs::read_to_string(self.dir.join("memory.stat")).ok()?;
        let keys = match self.version {
            Version::One => ["total_rss", "total_mapped_file"],
            Version::Two => ["anon", "file_mapped"],
        };
        let value = |key: &str| -> Option<u64> {
            text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok())
        };
        Some(Bytes(value(keys[0])? + value(keys[1])?))
    }

    /// Returns, once nobody is in it, the largest memory that programs had, at least: the largest ever charged, less the caches
    /// that are left. None where the kernel does not say.
    pub fn peak(&self) -> Option<Bytes> {
        let (largest, now) = match self.version {
            Version::One => ("memory.max_usage_in_bytes", "memory.usage_in_bytes"),
            Version::Two => ("memory.peak", "memory.current"),
        };
        let read = |name| fs::read_to_string(self.dir.join(name)).ok()?.trim().parse::<u64>().ok();
        Some(Bytes(read(largest)?.saturating_sub(read(now)?)))
    }

    /// Returns whether the kernel ended something in it because it was over its limit.
    pub fn ran_out(&self) -> bool {
        self.kills() > self.killed_before
    }

    fn kills(&self) -> u64 {
        let name = match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        let text = fs::read_to_string(self.dir.join(name)).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or(0)
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        fs::write(self.dir.join(name), text)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.version == Version::Two {
            // One that somebody is still in is removed by `clear`.
            fs::remove_dir(&self.dir).ok();
        }
    }
}

/// Finds where version 2 is mounted, and which group of it this process is in.
fn unified(own: &str, mounts: &str) -> Option<(PathBuf, PathBuf)> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    // 35 23 0:31 ROOT MOUNT OPTIONS - cgroup2 SOURCE OPTIONS
    let mount = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        after.starts_with("cgroup2 ").then(|| before.split(' ').nth(4))?
    })?;
    Some((PathBuf::from(mount), PathBuf::from(path)))
}

fn has_memory(controllers: &str) -> bool {
    controllers.split_whitespace().any(|name| name == "memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_hierarchy_is_found() {
        let own = "4:memory:/x\n0::/user.slice/user-1000.slice/user@1000.service/app.slice/term.scope\n";
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        let (mount, path) = unified(own, mounts).unwrap();
        assert_eq!(mount, Path::new("/sys/fs/cgroup/unified"));
        assert!(path.starts_with("/user.slice") && path.ends_with("term.scope"));
        assert_eq!(unified("4:memory:/x\n", mounts), None);
        assert_eq!(unified(own, "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"), None);
    }

    #[test]
    fn a_directory_says_which_version_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let with = |name: &str, text: &str| {
            fs::write(dir.path().join(name), text).unwrap();
            Groups::find(Some(dir.path())).map(|groups| groups.version)
        };
        assert_eq!(Groups::find(Some(dir.path())), None);
        assert_eq!(with("cgroup.subtree_control", "cpu pids\n"), None);
        assert_eq!(with("cgroup.subtree_control", "cpu memory pids\n"), Some(Version::Two));
        assert_eq!(with("memory.limit_in_bytes", "0"), Some(Version::One));
    }
}
