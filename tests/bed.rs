//! The test bed: a laptop, jump hosts, clusters and a workstation in one user namespace (`tests/testbed/bed.sh`).
//!
//! A test takes [`Bed::shared`] when it breaks nothing: one bed serves all tests of a run, whatever process they are in, and ends
//! some seconds after the last of them. Every test has a laptop's home of its own there, with the keys and the configuration of
//! ssh, and should keep to directories of its own on the hosts ([`Bed::scratch`]). A test that cuts, freezes or crashes takes
//! [`Bed::own`], which no other test sees and which dies with the test's process, however that ends.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use crate::world::{Done, PATIENCE};

/// A bed, with a laptop's home for this test alone.
pub(crate) struct Bed {
    dir: PathBuf,
    home: TempDir,
    life: Life,
}

/// What holds a bed.
enum Life {
    /// A lock that the bed waits for; released with the file.
    Shared { _users: File },
    /// A pipe whose end is the bed's end, and the folder that it lives in.
    Own { tie: Option<ChildStdin>, _dir: TempDir },
}

fn script() -> Command {
    let mut command = Command::new("bash");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed/bed.sh")).stdin(Stdio::null());
    command
}

/// Brings up a bed and returns its tie.
fn up(life: &str, dir: &Path, parts: &[&str]) -> ChildStdin {
    let log = File::create(dir.with_extension("log")).unwrap();
    let mut child = script()
        .args(["up", life])
        .arg(dir)
        .args(parts)
        .stdin(Stdio::piped())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    // Taken out first: `wait` closes the input, and with it a tied bed.
    let tie = child.stdin.take().unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{}", fs::read_to_string(dir.with_extension("log")).unwrap());
    tie
}

impl Bed {
    /// Joins the bed that the tests of this run share; brings it up when there is none.
    pub(crate) fn shared() -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bed");
        fs::create_dir_all(&dir).unwrap();
        let users = File::options().create(true).append(true).open(dir.join("users")).unwrap();
        // A bed that has decided to end holds the lock until it is gone, and looks at the time before it decides.
        users.lock_shared().unwrap();
        users.set_modified(std::time::UNIX_EPOCH + now()).unwrap();
        let first = File::create(dir.join("first")).unwrap();
        first.lock().unwrap();
        if !is_up(&dir) {
            drop(up("--shared", &dir, &["slurm", "sge", "pbs"]));
        }
        drop(first);
        Self { home: home(&dir), dir, life: Life::Shared { _users: users } }
    }

    /// Brings up a bed for this test alone, with these parts: `slurm` (and of it `db`, `munge`, `cgroup`), `sge`, `pbs` ... Laptop, gate and
    /// station are always there.
    pub(crate) fn own(parts: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("csync-bed-").tempdir().unwrap();
        let dir = folder.path().join("bed");
        let tie = up("--tied", &dir, parts);
        Self { home: home(&dir), dir, life: Life::Own { tie: Some(tie), _dir: folder } }
    }

    /// Returns the folder that the bed lives in.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the laptop's home of this test, at the same path inside and outside.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Returns the path of a file in the directory that commands work in.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home().join("work").join(name)
    }

    /// Writes a file there, its directories too.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Reads a file there.
    #[track_caller]
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Returns a command of csync on the laptop.
    pub(crate) fn csync_command(&self, args: &[&str]) -> Command {
        let state = format!("CSYNC_STATE={}", self.home().join("state").display());
        let mut command = self.laptop(&["env", &state, "CSYNC_CPUS=2", "CSYNC_GRACE=1s", env!("CARGO_BIN_EXE_csync")]);
        command.args(args);
        command
    }

    /// Runs csync on the laptop.
    pub(crate) fn csync(&self, args: &[&str]) -> Done {
        self.csync_command(args).output().unwrap().into()
    }

    /// Returns a command on the laptop, in the test's directory there. Killing it kills what it runs; for another signal there
    /// is [`inner_pid`].
    pub(crate) fn laptop(&self, args: &[&str]) -> Command {
        let mut command = script();
        command.args(["run", "--home"]).arg(self.home()).arg(&self.dir).arg("laptop").args(args);
        command.current_dir(self.home().join("work"));
        command
    }

    /// Runs a command through ssh from the laptop.
    pub(crate) fn ssh(&self, host: &str, script: &str) -> Done {
        self.laptop(&["ssh", "-o", "BatchMode=yes", host, script]).output().unwrap().into()
    }

    /// Runs a bash script on a host, without ssh: for looking and for preparing.
    pub(crate) fn on(&self, host: &str, text: &str) -> Done {
        script().arg("run").arg(&self.dir).args([host, "bash", "-c", text]).output().unwrap().into()
    }

    /// Makes a directory for this test on a host; hosts of one cluster share it.
    pub(crate) fn scratch(&self, host: &str) -> String {
        self.on(host, "mktemp -d /mnt/scratch/test-XXXXXX").exits(0).out.trim().to_owned()
    }

    /// Does something to the bed: `cut gate`, `heal gate`, `delay gate 100`, `loss gate 5`, `freeze slurmctld`,
    /// `thaw slurmctld`, `stop-part sshd-login`, `start-part sshd-login`, `crash gate`, `boot gate`.
    #[track_caller]
    pub(crate) fn now(&self, what: &str) {
        assert!(matches!(self.life, Life::Own { .. }), "others use this bed: `{what}` is for a bed of the test's own");
        let mut words = what.split(' ');
        let done: Done = script().args(words.next()).arg(&self.dir).args(words).output().unwrap().into();
        done.exits(0);
    }

    /// Returns how many SSH connections a host has had from other hosts.
    pub(crate) fn logins(&self, host: &str) -> usize {
        let log = fs::read_to_string(self.dir.join("h").join(host).join("sshd.log")).unwrap();
        log.lines().filter(|line| line.starts_with("Connection from 10.")).count()
    }

    /// Returns the process that everything in the bed hangs on.
    pub(crate) fn pid(&self) -> u32 {
        pid_of(&self.dir).unwrap()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Life::Own { tie, .. } = &mut self.life {
            let pid = pid_of(&self.dir);
            drop(tie.take());
            // Its folder goes next: nothing may write there any more.
            let start = Instant::now();
            while pid.is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists()) && start.elapsed() < PATIENCE {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        } else if self.home().join("state/engine.sock").exists() {
            self.csync(&["engine", "stop", "--now"]);
        }
    }
}

/// Returns the process that runs the command which `child` entered the bed for.
pub(crate) fn inner_pid(child: &Child) -> u32 {
    let is_child = |stat: &str| {
        let fields = stat.rsplit_once(") ").map(|(_, fields)| fields)?;
        (fields.split(' ').nth(1)? == child.id().to_string()).then_some(())
    };
    let start = Instant::now();
    loop {
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if is_child(&fs::read_to_string(entry.path().join("stat")).unwrap_or_default()).is_some() {
                return pid;
            }
        }
        assert!(start.elapsed() < PATIENCE, "it runs nothing");
    }
}

/// Reads what comes, up to a line that holds a text.
pub(crate) fn read_until(out: &mut impl Read, text: &str) -> String {
    let mut seen = String::new();
    let mut byte = [0];
    while !seen.contains(text) {
        assert!(out.read(&mut byte).unwrap() > 0, "it ended before `{text}`: {seen}");
        seen.push(char::from(byte[0]));
    }
    seen
}

fn now() -> std::time::Duration {
    std::time::Duration::from_secs(rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec as u64)
}

/// A home with a copy of the laptop's keys.
fn home(dir: &Path) -> TempDir {
    let home = tempfile::Builder::new().prefix("csync-").tempdir().unwrap();
    fs::create_dir(home.path().join("work")).unwrap();
    let copied = Command::new("cp").arg("-pr").arg(dir.join("laptop/.ssh")).arg(home.path()).status().unwrap();
    assert!(copied.success());
    home
}

fn pid_of(dir: &Path) -> Option<u32> {
    fs::read_to_string(dir.join("pid")).ok()?.split(' ').next()?.parse().ok()
}

/// Says whether the bed there is up: ready, and its first process the one that said so.
fn is_up(dir: &Path) -> bool {
    let Ok(text) = fs::read_to_string(dir.join("pid")) else { return false };
    let Some((pid, start)) = text.trim().split_once(' ') else { return false };
    let fields = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let since = fields.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(19));
    dir.join("ready").exists() && since == Some(start)
}
