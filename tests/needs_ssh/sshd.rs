//! Real sshds on loopback addresses, as the user who runs the tests, with keys and configuration of their own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::world::PATIENCE;

/// A directory with keys, and the sshds that were started for it.
pub(crate) struct Bed {
    pub(crate) dir: TempDir,
    next: u8,
}

/// A running sshd.
pub(crate) struct Sshd {
    pub(crate) address: String,
    pub(crate) port: u16,
    log: PathBuf,
    child: Child,
}

/// What is unusual about an sshd.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unusual {
    /// Lines of its configuration, before the usual ones: the first counts.
    pub(crate) lines: String,
    /// The name of its host key among the bed's; a new one where it is none.
    pub(crate) host_key: Option<String>,
}

impl Unusual {
    pub(crate) fn lines(lines: impl Into<String>) -> Self {
        Self { lines: lines.into(), ..Self::default() }
    }
}

impl Bed {
    /// Makes a bed with a user key, which every sshd of it lets in.
    pub(crate) fn new() -> Self {
        let bed = Self { dir: tempfile::tempdir().unwrap(), next: 2 };
        bed.key("user", "ed25519", "");
        std::fs::copy(bed.path("user.pub"), bed.path("authorized")).unwrap();
        std::fs::write(bed.path("known_hosts"), "").unwrap();
        bed
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes a key.
    pub(crate) fn key(&self, name: &str, kind: &str, passphrase: &str) -> PathBuf {
        let path = self.path(name);
        run(Command::new("ssh-keygen").args(["-q", "-t", kind, "-N", passphrase, "-C", name, "-f"]).arg(&path));
        path
    }

    /// Adds to a file of the bed.
    pub(crate) fn append(&self, name: &str, text: &str) {
        let old = std::fs::read_to_string(self.path(name)).unwrap_or_default();
        std::fs::write(self.path(name), old + text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Starts an sshd and makes its host key known.
    pub(crate) fn sshd(&mut self) -> Sshd {
        let sshd = self.unusual_sshd(&Unusual::default());
        let key = self.read(&format!("host-{}.pub", sshd.address));
        self.append("known_hosts", &format!("[{}]:{} {key}", sshd.address, sshd.port));
        sshd
    }

    /// Starts an sshd; its host key is not made known.
    pub(crate) fn unusual_sshd(&mut self, unusual: &Unusual) -> Sshd {
        if rustix::process::getuid().is_root() {
            // Debian's sshd, as root, wants its empty directory.
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let address = format!("127.0.0.{}", self.next);
        self.next += 1;
        let host_key = unusual
            .host_key
            .as_ref()
            .map_or_else(|| self.key(&format!("host-{address}"), "ed25519", ""), |name| self.path(name));
        // Somebody else may take the port between the look and the start: then another one is tried.
        for _ in 0..10 {
            let port = TcpListener::bind((address.as_str(), 0)).unwrap().local_addr().unwrap().port();
            if let Some(sshd) = self.try_start(&address, port, &host_key, &unusual.lines) {
                return sshd;
            }
        }
        panic!("no sshd could be started; its log: {}", self.read(&format!("sshd-{address}.log")));
    }

    fn try_start(&self, address: &str, port: u16, host_key: &Path, lines: &str) -> Option<Sshd> {
        let config = self.path(&format!("sshd-{address}.conf"));
        let log = self.path(&format!("sshd-{address}.log"));
        // SHLVL: without it every bash runs the tester's own `.bashrc`.
        let text = format!(
            "{lines}\nPort {port}\nListenAddress {address}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nLogLevel VERBOSE\n\
             SetEnv SHLVL=5\n",
            host_key.display(),
            self.path("authorized").display(),
        );
        std::fs::write(&config, text).unwrap();
        drop(std::fs::remove_file(&log));
        let mut child = Command::new(sshd_program())
            .args(["-D", "-f"])
            .arg(&config)
            .arg("-E")
            .arg(&log)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sshd starts");
        let start = Instant::now();
        loop {
            if std::fs::read_to_string(&log).is_ok_and(|text| text.contains("Server listening")) {
                return Some(Sshd { address: address.to_owned(), port, log, child });
            }
            if child.try_wait().unwrap().is_some() {
                return None;
            }
            assert!(start.elapsed() < PATIENCE, "sshd listens");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Sshd {
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Returns how many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.log().matches("Connection from ").count()
    }

    /// Returns how often somebody was let in.
    pub(crate) fn logins(&self) -> usize {
        self.log()
            .lines()
            .filter(|line| line.contains("Accepted ") && line.contains(" for ") && line.contains(" port "))
            .count()
    }

    /// Kills what serves the connections, not what listens.
    pub(crate) fn kill_sessions(&self) {
        self.signal_sessions(rustix::process::Signal::KILL);
    }

    /// Stops what serves the connections: they stay open, and silent.
    pub(crate) fn freeze_sessions(&self) {
        self.signal_sessions(rustix::process::Signal::STOP);
    }

    /// Stops all of it: who is connected hears nothing any more, and who connects neither.
    pub(crate) fn freeze(&self) {
        self.signal_all(rustix::process::Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal_all(rustix::process::Signal::CONT);
    }

    fn signal_all(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
        self.signal_sessions(signal);
    }

    fn signal_sessions(&self, signal: rustix::process::Signal) {
        let below = below(self.child.id());
        assert!(!below.is_empty() || signal == rustix::process::Signal::CONT, "somebody is connected");
        for pid in below {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            // It may be gone already with the one above it.
            let _: Result<(), _> = rustix::process::kill_process(pid, signal);
        }
    }

    /// Ends it with all its connections.
    pub(crate) fn stop(&mut self) {
        let below = below(self.child.id());
        drop(self.child.kill());
        drop(self.child.wait());
        for pid in below.into_iter().filter_map(rustix::process::Pid::from_raw) {
            let _: Result<(), _> = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The processes named sshd below a process.
fn below(root: u32) -> Vec<i32> {
    let mut found = Vec::new();
    let mut look = vec![root];
    while let Some(pid) = look.pop() {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()) {
            let name = std::fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
            if name.starts_with("sshd") {
                found.push(i32::try_from(child).unwrap());
                look.push(child);
            }
        }
    }
    found
}

fn sshd_program() -> &'static str {
    // sshd wants to be called by its whole name.
    if Path::new("/usr/sbin/sshd").exists() { "/usr/sbin/sshd" } else { "/usr/bin/sshd" }
}

/// Runs a command that must succeed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The name of the user who runs the tests.
pub(crate) fn user() -> String {
    run(Command::new("id").arg("-un")).trim().to_owned()
}
