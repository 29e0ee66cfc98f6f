//! `csync shell`: a shell where a job runs.

use std::io::IsTerminal;
use std::process::Command;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::hosts::Known;
use crate::cli::place::{Job, There, find};
use crate::cli::target::Target;
use crate::language::quote::sh;
use crate::model::batch::Flavour;

/// Open a shell where a job runs, in its directory
///
/// On the node that it runs on, beside it: on Slurm within what was granted to it (`srun --overlap`), elsewhere through ssh to
/// the node, by way of the host. `exit` leaves; the job goes on. Without a task: the only one of the run that runs.
#[derive(Debug, clap::Args)]
#[command(override_usage = "csync shell [OPTIONS] [RUN] [TASK]")]
pub struct Args {
    /// The run (a number or `last`), and a task or instance of it
    #[arg(value_name = "RUN] [TASK", num_args = 0..=2)]
    target: Vec<String>,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let target = Target::parse(&args.target)?;
    let known = Known::load(context)?;
    let job = context.block_on(find(context, &known, &target))?;
    let terminal = std::io::stdin().is_terminal();
    let (mut command, place) = command(&job, terminal);
    if terminal {
        context.say(&format!("{} of run {} on {place}; `exit` leaves.", job.label, job.run));
    }
    let status = command.status().map_err(|error| {
        let program = command.get_program().to_string_lossy().into_owned();
        Failure::usage(format!("`{program}` cannot be started")).because(&error)
    })?;
    Ok(Exit::Command(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// Returns what opens the shell, and where that is.
fn command(job: &Job, terminal: bool) -> (Command, String) {
    let Some(there) = &job.there else {
        let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into());
        let mut command = Command::new(shell);
        command.current_dir(&job.root);
        return (command, "this machine".to_owned());
    };
    let script = script(there, terminal);
    let command = if there.is_on_host() || there.flavour() == Some(Flavour::Slurm) {
        there.ssh.for_person(&script, terminal)
    } else {
        there.ssh.beyond(&there.at.node, there.user.as_deref(), &script, terminal)
    };
    (command, there.at.node.clone())
}

/// Returns the command for the login shell of the host, whatever that is, on one line.
fn script(there: &There, terminal: bool) -> String {
    let inner = format!(
        "cd {} 2>/dev/null; exec \"${{SHELL:-/bin/sh}}\"{}",
        sh(&there.at.workdir),
        if terminal { " -l" } else { "" }
    );
    let (Some(Flavour::Slurm), Some(batch)) = (there.flavour(), &there.at.batch) else {
        return format!("exec /bin/sh -c {}", sh(&inner));
    };
    // An element of an array has a number of its own, which every version of srun takes; old ones know no --overlap, and need none.
    let pty = if terminal { " --pty" } else { "" };
    let srun = format!(
        "{}id=$(squeue -h -o %A -j {batch} 2>/dev/null | head -n 1); overlap=; \
         srun --help 2>/dev/null | grep -q -e --overlap && overlap=--overlap; \
         exec srun --jobid=\"${{id:-{batch}}}\" $overlap{pty} /bin/sh -c {inner}",
        there.prelude.replace('\n', "; "),
        batch = sh(batch),
        inner = sh(&inner),
    );
    format!("exec /bin/sh -c {}", sh(&srun))
}
