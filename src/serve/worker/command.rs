//! From a job to a command line of the operating system.
//!
//! The standard library starts a process by `posix_spawn` (which does not copy the parent's memory maps) as long as nothing
//! has to run between fork and exec, and the program is a path. So the program is looked up here.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::Access;

use crate::model::job::{Invocation, Job};
use crate::reach::config::StateDir;
use crate::reach::executor::wire::{Environment, VAR_JOB, VAR_STATE};

/// One argument may have 128 KiB (`MAX_ARG_STRLEN`); larger scripts go through a file.
const SCRIPT_MAX: usize = 100_000;
/// Where programs are looked for when the job has no `PATH`, as shells do.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
const SCRIPT_VAR: &str = "CSYNC_SCRIPT";

/// A command ready to be spawned, but for its standard streams.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The command.
    pub(super) command: Command,
    /// The script's file, to be removed when the job is over.
    pub(super) script: Option<PathBuf>,
}

/// Builds the command; the error is a message for people.
pub(super) fn prepare(
    job: &Job,
    environment: &Environment,
    gpus: &[u32],
    state: &StateDir,
    state_id: &str,
) -> Result<Prepared, String> {
    let path = variable(job, environment, "PATH").unwrap_or(DEFAULT_PATH);
    let mut script = None;
    let mut command = match &job.invocation {
        Invocation::Argv(words) => {
            let (program, args) = words.split_first().ok_or("the command is empty")?;
            let mut command = Command::new(find_program(program, path, &job.workdir)?);
            command.arg0(program).args(args);
            command
        }
        Invocation::Script(text) => {
            let bash = find_program("bash", path, &job.workdir).unwrap_or_else(|_| PathBuf::from("/bin/bash"));
            let mut command = Command::new(bash);
            command.arg0("bash").args(["-euo", "pipefail", "-c"]);
            if text.len() > SCRIPT_MAX {
                let file = state.live_dir().join(format!("{}.sh", job.key));
                write_private(&file, text).map_err(|error| format!("the script cannot be written: {error}"))?;
                command.arg(format!(". \"${SCRIPT_VAR}\""));
                script = Some(file);
            } else {
                command.arg(text);
            }
            command.arg(&job.label);
            command
        }
    };
    command.env_clear().process_group(0).current_dir(&job.workdir);
    command.envs(environment.vars.iter().map(|(name, value)| (name, value)));
    // The directory that a shell would name after `cd`.
    command.env("PWD", &job.workdir);
    if !gpus.is_empty() {
        let list = gpus.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        command.env("CUDA_VISIBLE_DEVICES", &list).env("HIP_VISIBLE_DEVICES", &list);
    }
    command.envs(job.env.iter().map(|(name, value)| (name, value)));
    command.env("CSYNC_RUN", job.key.run.to_string()).env("CSYNC_TASK", &job.label);
    command.env(VAR_JOB, job.key.to_string()).env(VAR_STATE, state_id);
    if let Some(file) = &script {
        command.env(SCRIPT_VAR, file);
    }
    Ok(Prepared { command, script })
}

fn variable<'a>(job: &'a Job, environment: &'a Environment, name: &str) -> Option<&'a str> {
    let find = |vars: &'a [(String, String)]| vars.iter().rev().find(|(key, _)| key == name);
    find(&job.env).or_else(|| find(&environment.vars)).map(|(_, value)| value.as_str())
}

/// Finds a program as a shell would: by its path, or in the directories of `PATH`.
fn find_program(program: &str, path: &str, workdir: &str) -> Result<PathBuf, String> {
    let workdir = Path::new(workdir);
    if program.is_empty() {
        return Err("the command's first word is empty".to_owned());
    }
    if program.contains('/') {
        return Ok(workdir.join(program));
    }
    let mut found = None;
    for dir in path.split(':') {
        let candidate = workdir.join(dir).join(program);
        if rustix::fs::access(&candidate, Access::EXEC_OK).is_ok() && !candidate.is_dir() {
            return Ok(candidate);
        }
        if found.is_none() && candidate.is_file() {
            found = Some(candidate);
        }
    }
    match found {
        Some(file) => Err(format!("permission denied: {} is not executable", file.display())),
        None => Err(format!("command not found: {program} (PATH is {path})")),
    }
}

/// Says for people why a command could not be started.
pub(super) fn explain(error: &io::Error, program: &OsStr, workdir: &str) -> String {
    let name = Path::new(program).display();
    match error.kind() {
        io::ErrorKind::NotFound if !Path::new(workdir).is_dir() => {
            format!("the working directory {workdir} went away before {name} was started")
        }
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
        _ => format!("{name} cannot be started: {error}"),
    }
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

/// Returns the program of a command, for messages.
pub(super) fn program_of(command: &Command) -> OsString {
    command.get_program().to_owned()
}
