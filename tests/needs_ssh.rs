//! Every way of SSH against real sshds: the same suite for each, then what can go wrong with a connection.

mod faults;
pub(crate) mod sshd;

use std::fmt::Write as _;
use std::sync::Arc;

use csync::language::ssh::Destination;
use csync::reach::transport::{OpenSsh, SshSettings};

use crate::transport::{Subject, conforms};
use sshd::{Bed, Sshd, user};

/// A bed with hosts in a line: the first is reached directly, the others through those before them.
pub(crate) struct Line {
    pub(crate) bed: Bed,
    pub(crate) hosts: Vec<Sshd>,
}

impl Line {
    pub(crate) fn new(length: usize) -> Self {
        let mut bed = Bed::new();
        let hosts = (0..length).map(|_| bed.sshd()).collect();
        let line = Self { bed, hosts };
        line.write_config("");
        line
    }

    /// Writes an `ssh_config` with the aliases `host0`, `host1`, ...; the extra lines count for all of them.
    pub(crate) fn write_config(&self, extra: &str) {
        let mut config = String::new();
        for (number, sshd) in self.hosts.iter().enumerate() {
            let jump = number.checked_sub(1).map_or_else(String::new, |before| format!("ProxyJump host{before}\n"));
            let _ = write!(config, "Host host{number}\nHostName {}\nPort {}\n{jump}", sshd.address, sshd.port);
        }
        let _ = write!(
            config,
            "Host *\n{extra}\nUser {}\nIdentityFile {}\nIdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile {}\n\
             GlobalKnownHostsFile /dev/null\nStrictHostKeyChecking yes\n",
            user(),
            self.bed.path("user").display(),
            self.bed.path("known_hosts").display(),
        );
        std::fs::write(self.bed.path("config"), config).unwrap();
    }

    pub(crate) fn settings(&self) -> SshSettings {
        SshSettings { config: Some(self.bed.path("config")), ..SshSettings::new(self.bed.path("s")) }
    }

    /// Returns the way to the last host of the line, each host's connection carrying the next one's.
    pub(crate) fn openssh(&self) -> Arc<OpenSsh> {
        let mut way = None;
        for number in 0..self.hosts.len() {
            let host = format!("host{number}");
            let destination: Destination = host.parse().unwrap();
            way = Some(OpenSsh::new(host, destination, way, self.settings()).unwrap());
        }
        way.unwrap()
    }
}

/// Lets masters go that would stay in the background.
pub(crate) struct Masters(pub(crate) Line);

impl Drop for Masters {
    fn drop(&mut self) {
        for socket in std::fs::read_dir(self.0.bed.path("s")).into_iter().flatten().flatten() {
            let mut exit = std::process::Command::new("ssh");
            exit.args(["-F", "/dev/null", "-O", "exit", "-S"]).arg(socket.path()).arg("any");
            drop(exit.stderr(std::process::Stdio::null()).status());
        }
    }
}

fn openssh(length: usize) -> Subject {
    let line = Line::new(length);
    let host = line.openssh().transport();
    Subject { host, dir: tempfile::tempdir().unwrap(), _keep: Box::new(Masters(line)) }
}

conforms!(openssh_direct, crate::needs_ssh::openssh(1));
conforms!(openssh_behind_two_jumps, crate::needs_ssh::openssh(3));
