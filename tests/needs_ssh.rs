//! Every way of SSH against real sshds: the same suite for each, then what can go wrong with a connection.

mod commands;
mod double;
mod faults;
mod login;
mod relay;
pub(crate) mod sshd;
mod unlock;

use std::fmt::Write as _;
use std::sync::Arc;

use csync::language::ssh::{Destination, Hop, Options, Person};
use csync::reach::transport::{
    ConnectionSettings, Connections, Limits, Member, Native, NativeSettings, OpenSsh, Remote, SshSettings,
};

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
    pub(crate) fn openssh_by(&self, settings: &SshSettings) -> Arc<OpenSsh> {
        let mut way = None;
        for number in 0..self.hosts.len() {
            let host = format!("host{number}");
            let destination: Destination = host.parse().unwrap();
            way = Some(OpenSsh::new(host, destination, way, settings.clone()).unwrap());
        }
        way.unwrap()
    }
}

impl Line {
    /// Returns what `ssh -G` says of a host of the line.
    pub(crate) fn options(&self, host: &str) -> Options {
        let config = self.bed.path("config");
        Options::read(&sshd::run(std::process::Command::new("ssh").arg("-F").arg(config).args(["-G", host])))
    }

    pub(crate) fn hop(&self, host: &str) -> Hop {
        let person = Person { home: "/nowhere".to_owned(), user: user(), uid: 0 };
        Hop::from_options(&self.options(host), &person, None, &[]).unwrap()
    }

    /// Returns the way to the last host of the line by this program's own SSH.
    pub(crate) fn native(&self, settings: &NativeSettings) -> Arc<Native> {
        let mut way = None;
        for number in 0..self.hosts.len() {
            let host = format!("host{number}");
            way = Some(Native::new(host.clone(), self.hop(&host), way, settings.clone()));
        }
        way.unwrap()
    }

    /// Returns the way to the last host of the line.
    pub(crate) fn way(&self, member: Member) -> Remote {
        self.limited_way(member, Limits::default())
    }

    /// Returns the way to the first host with all that its configuration says, by this member.
    pub(crate) async fn way_as_configured(&self, member: Member) -> Remote {
        let mut settings = ConnectionSettings::from_env(|_| None, self.bed.path("s"));
        settings.ssh.config = Some(self.bed.path("config"));
        settings.member = Some(member);
        let host = "host0".parse().unwrap();
        Connections::new(settings).transport(&host, "host0", Limits::default()).await.unwrap()
    }

    pub(crate) fn limited_way(&self, member: Member, limits: Limits) -> Remote {
        match member {
            Member::Russh => self.native(&NativeSettings { limits, ..NativeSettings::default() }).transport(),
            _ => self.openssh_by(&SshSettings { limits, ..self.settings() }).transport(),
        }
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

fn subject(length: usize, member: Member) -> Subject {
    let line = Line::new(length);
    let host = line.way(member);
    Subject { host, dir: tempfile::tempdir().unwrap(), _keep: Box::new(Masters(line)) }
}

conforms!(openssh_direct, crate::needs_ssh::subject(1, csync::reach::transport::Member::OpenSsh));
conforms!(openssh_behind_two_jumps, crate::needs_ssh::subject(3, csync::reach::transport::Member::OpenSsh));
conforms!(russh_direct, crate::needs_ssh::subject(1, csync::reach::transport::Member::Russh));
conforms!(russh_behind_two_jumps, crate::needs_ssh::subject(3, csync::reach::transport::Member::Russh));
