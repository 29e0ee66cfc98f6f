//! From a job to a process.
//!
//! `posix_spawn` does not copy the parent's memory maps, which makes it the cheapest way to start a process, but it knows
//! neither a working directory (portably) nor a umask. So each slot's thread has a directory and a umask of its own
//! (`unshare(CLONE_FS)`), which a process that it starts inherits. Where that is not allowed (some containers) slots take turns.

use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nix::sched::{CloneFlags, unshare};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::SigSet;
use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;

use crate::model::job::{Invocation, Job};
use crate::reach::config::StateDir;
use crate::reach::executor::wire::{VAR_JOB, VAR_STATE};

use super::vars::{Own, Vars};

/// One argument may have 128 KiB (`MAX_ARG_STRLEN`); larger scripts go through a file.
const SCRIPT_MAX: usize = 100_000;
const SCRIPT_VAR: &str = "CSYNC_SCRIPT";

/// The umask of what the worker makes for itself.
const PRIVATE: Mode = Mode::from_raw_mode(0o077);

/// Slots without a directory of their own start one process at a time.
static SHARED: Mutex<()> = Mutex::new(());

/// A command line, and what belongs to it.
#[derive(Debug)]
pub(super) struct Prepared {
    program: PathBuf,
    argv: Vec<CString>,
    own: Own,
    /// The script's file, to be removed when the job is over.
    pub(super) script: Option<PathBuf>,
}

/// Makes the command line of a job; the error is a message for people.
pub(super) fn prepare(
    job: &Job,
    vars: &Vars,
    gpus: &[u32],
    state: &StateDir,
    state_id: &str,
) -> Result<Prepared, String> {
    let path = job.env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_str());
    let mut own = own_vars(job, gpus, state_id);
    let mut script = None;
    let (program, words) = match &job.invocation {
        Invocation::Argv(words) => {
            let program = words.first().ok_or("the command is empty")?;
            (vars.find(program, path, &job.workdir)?, words.iter().map(String::as_str).collect())
        }
        Invocation::Script(text) => {
            let bash = vars.find("bash", path, &job.workdir).unwrap_or_else(|_| PathBuf::from("/bin/bash"));
            let mut words = vec!["bash", "-euo", "pipefail", "-c"];
            if text.len() > SCRIPT_MAX {
                let file = state.live_dir().join(format!("{}.sh", job.key));
                write_private(&file, text).map_err(|error| format!("the script cannot be written: {error}"))?;
                own.set(SCRIPT_VAR, &file.to_string_lossy());
                words.push(". \"$CSYNC_SCRIPT\"");
                script = Some(file);
            } else {
                words.push(text);
            }
            words.push(&job.label);
            (bash, words)
        }
    };
    let argv = words.into_iter().map(CString::new).collect::<Result<_, _>>();
    let argv = argv.map_err(|_| "the command has a zero byte in it, which no argument can have")?;
    Ok(Prepared { program, argv, own, script })
}

fn own_vars(job: &Job, gpus: &[u32], state_id: &str) -> Own {
    let mut own = Own::default();
    // The directory that a shell would name after `cd`.
    own.set("PWD", &job.workdir);
    if !gpus.is_empty() {
        let list = gpus.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        own.set("CUDA_VISIBLE_DEVICES", &list);
        own.set("HIP_VISIBLE_DEVICES", &list);
    }
    for (name, value) in &job.env {
        own.set(name, value);
    }
    own.set("CSYNC_RUN", &job.key.run.to_string());
    own.set("CSYNC_TASK", &job.label);
    own.set(VAR_JOB, &job.key.to_string());
    own.set(VAR_STATE, state_id);
    own
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    // A file of this name can only be left over from a worker that died.
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file: File = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// What a slot's thread starts processes with.
#[derive(Debug)]
pub(super) struct Pad {
    null: OwnedFd,
    attributes: PosixSpawnAttr,
    /// What connects these descriptors to the standard streams: quiet jobs have those of the job before.
    actions: Option<([RawFd; 3], PosixSpawnFileActions)>,
    /// Whether directory and umask are the thread's own.
    alone: bool,
    number: usize,
}

impl Pad {
    /// Makes the pad of the calling thread.
    pub(super) fn new(number: usize) -> io::Result<Self> {
        let mut attributes = PosixSpawnAttr::init()?;
        let flags = PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK;
        attributes.set_flags(flags)?;
        attributes.set_pgroup(nix::unistd::Pid::from_raw(0))?;
        // Whoever started the engine may ignore some signals; jobs shall not.
        attributes.set_sigdefault(&SigSet::all())?;
        attributes.set_sigmask(&SigSet::empty())?;
        let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let alone = unshare(CloneFlags::CLONE_FS).is_ok();
        if alone {
            rustix::process::umask(PRIVATE);
        }
        Ok(Self { null, attributes, actions: None, alone, number })
    }

    /// Returns the number of its slot.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Does something with a umask that is nobody else's meanwhile.
    pub(super) fn with_umask<T>(&mut self, umask: u32, act: impl FnOnce(&mut Self) -> T) -> T {
        let turn = (!self.alone).then(|| SHARED.lock().unwrap_or_else(PoisonError::into_inner));
        rustix::process::umask(Mode::from(umask));
        let result = act(self);
        rustix::process::umask(PRIVATE);
        drop(turn);
        result
    }

    /// Starts a process in a directory; within [`Pad::with_umask`]. The directory is made when it is missing.
    pub(super) fn spawn(
        &mut self,
        prepared: &Prepared,
        vars: &Vars,
        workdir: &str,
        streams: [Option<BorrowedFd<'_>>; 3],
    ) -> Result<Pid, String> {
        enter(workdir).map_err(|error| format!("the working directory {workdir} cannot be entered: {error}"))?;
        let fds = streams.map(|fd| fd.map_or_else(|| self.null.as_raw_fd(), |fd| fd.as_raw_fd()));
        let actions = match self.actions.take() {
            Some((same, actions)) if same == fds => actions,
            _ => connect(fds).map_err(|error| format!("its standard streams cannot be connected: {error}"))?,
        };
        let block = vars.with(&prepared.own);
        let spawned = posix_spawn(&prepared.program, &actions, &self.attributes, &prepared.argv, &block);
        self.actions = Some((fds, actions));
        match spawned {
            Ok(pid) => Pid::from_raw(pid.as_raw()).ok_or_else(|| "it has no process id".to_owned()),
            Err(error) => {
                // It may be somewhere else by now.
                vars.forget_programs();
                Err(explain(&io::Error::from(error), prepared.program.as_os_str()))
            }
        }
    }

    /// Lets go of the directory of the last job.
    pub(super) fn leave_directory(&self) {
        if self.alone {
            rustix::process::chdir("/").ok();
        }
    }
}

/// Makes what puts three descriptors in the places of the standard streams.
fn connect(fds: [RawFd; 3]) -> nix::Result<PosixSpawnFileActions> {
    let mut actions = PosixSpawnFileActions::init()?;
    for (fd, number) in fds.into_iter().zip(0..) {
        actions.add_dup2(fd, number)?;
    }
    Ok(actions)
}

fn enter(dir: &str) -> io::Result<()> {
    match rustix::process::chdir(dir) {
        Err(rustix::io::Errno::NOENT) => {
            fs::create_dir_all(dir)?;
            Ok(rustix::process::chdir(dir)?)
        }
        other => Ok(other?),
    }
}

/// Says for people why a command could not be started.
fn explain(error: &io::Error, program: &OsStr) -> String {
    let name = Path::new(program).display();
    match error.kind() {
        io::ErrorKind::NotFound if Path::new(program).exists() => {
            format!("{name} cannot be started: the interpreter that its first line names does not exist")
        }
        io::ErrorKind::NotFound => format!("command not found: {name}"),
        io::ErrorKind::PermissionDenied => format!("permission denied: {name} is not executable"),
        io::ErrorKind::ArgumentListTooLong => {
            format!("{name} cannot be started: its arguments and environment are larger than the system allows")
        }
        _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            format!("{name} is neither a program nor a script with a first line such as `#!/bin/sh`")
        }
        _ if program.as_bytes().contains(&0) => "the program's name has a zero byte in it".to_owned(),
        _ => format!("{name} cannot be started: {error}"),
    }
}
