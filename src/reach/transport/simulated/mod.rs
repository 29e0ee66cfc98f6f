//! A cluster that is none: a directory of this machine, in which the commands of Slurm that csync uses are shell scripts.
//!
//! Its jobs are processes of this machine. Only the cluster is made up: what is submitted, followed, judged and brought back goes
//! the way of every other host.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::process::Command;

use crate::language::quote::sh;
use crate::model::host::{HostName, Simulated as Settings};
use crate::model::units::{Bytes, Timestamp};
use crate::reach::clock;
use crate::reach::transport::local::pipes_of;
use crate::reach::transport::remote::{Remote, Wire};
use crate::reach::transport::shell::Pipes;
use crate::reach::transport::{LinkState, Member, TransportError};

/// The cluster itself.
const CLUSTER: &str = include_str!("cluster.sh");
/// What it answers to.
const COMMANDS: [&str; 7] = ["sbatch", "squeue", "sacct", "scancel", "sinfo", "scontrol", "sacctmgr"];
/// Where it keeps its jobs.
const PLACES: [&str; 13] =
    ["bin", "home", "ids", "jobs", "env", "pending", "running", "over", "exit", "cancel", "down", "oom", "term"];
/// What of our environment a login there has too.
const KEPT: [&str; 6] = ["USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR"];

/// A simulated cluster.
#[derive(Debug)]
pub(super) struct Simulated {
    name: HostName,
    dir: PathBuf,
    settings: Settings,
    since: Timestamp,
}

impl Simulated {
    /// Makes the way to a cluster in a directory; nothing is made there yet.
    pub(super) fn transport(name: HostName, dir: PathBuf, settings: Settings) -> Remote {
        Remote::new(Arc::new(Self { name, dir, settings, since: clock::now() }))
    }

    /// Makes the directory what it must be.
    fn install(&self) -> io::Result<()> {
        for place in PLACES {
            DirBuilder::new().recursive(true).mode(0o700).create(self.dir.join(place))?;
        }
        let Settings { nodes, cores, memory, wait, minute } = self.settings;
        let settings = format!(
            "c_nodes={nodes} c_cores={cores} c_memory={} c_wait={} c_minute={}\n",
            memory.0 / Bytes::mib(1).0,
            wait.0 * 100,
            minute.0.max(1) * 100
        );
        write(&self.dir.join("settings"), &settings, 0o600)?;
        let cluster = self.dir.join("cluster.sh");
        write(&cluster, CLUSTER, 0o600)?;
        let path = cluster.to_string_lossy();
        COMMANDS.into_iter().try_for_each(|command| {
            let script = format!("#!/bin/sh\nexec /bin/sh {} {command} \"$@\"\n", sh(&path));
            write(&self.dir.join("bin").join(command), &script, 0o700)
        })
    }

    fn shell(&self) -> io::Result<Pipes> {
        self.install()?;
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        let mut places = self.dir.join("bin").into_os_string();
        places.push(":");
        places.push(path);
        let child = Command::new("/bin/sh")
            .env_clear()
            .envs(KEPT.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .env("PATH", places)
            .env("HOME", self.dir.join("home"))
            .env("SHELL", "/bin/sh")
            .current_dir(self.dir.join("home"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        Ok(pipes_of(child))
    }

    fn unusable(&self, error: &io::Error) -> TransportError {
        let detail = format!("the simulated cluster in {} cannot be made: {error}", self.dir.display());
        TransportError::Configuration { host: self.name.to_string(), detail }
    }
}

/// Writes a file, unless it holds that already: somebody may be reading it.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    if fs::read(path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(());
    }
    let beside = path.with_extension(format!("{}.part", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
    file.write_all(text.as_bytes())?;
    drop(file);
    fs::rename(&beside, path)
}

impl Wire for Simulated {
    fn host(&self) -> &str {
        self.name.as_str()
    }

    fn channel(&self) -> BoxFuture<'_, Result<Pipes, TransportError>> {
        std::future::ready(self.shell().map_err(|error| self.unusable(&error))).boxed()
    }

    fn judge(&self, _: &str) -> Option<TransportError> {
        None
    }

    fn connect(&self) -> BoxFuture<'_, Result<(), TransportError>> {
        std::future::ready(self.install().map_err(|error| self.unusable(&error))).boxed()
    }

    fn link_state(&self) -> LinkState {
        LinkState::Open { since: self.since, via: Member::Simulated }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}
