//! The dialects of batch systems: texts of commands out, replies in. Pure: nothing here runs anything.
//!
//! Every function is a match over [`Flavour`] to the function of the same name of one dialect:
//!
//! | dialect | submitted by | asked by | history |
//! |---|---|---|---|
//! | `slurm` | `sbatch` options | `squeue -o` with a delimiter | `sacct -P` |
//! | `pbs` | `qsub` options | `qstat -f -w -t` text | `qstat -x` |
//! | `sge` | `qsub` options | `qstat -xml` | `qacct` |
//!
//! What holds in all three:
//!
//! - Commands are texts for a POSIX shell in which every word went through [`sh`](crate::language::quote::sh).
//! - Replies are judged by their text first, by the exit status second: with several ids asked for, a status speaks of one.
//! - A job that is not in an answer is gone from the queue; whether it ended, and how, is for the history and for its own
//!   record to say. A reply that is no answer is [`CouldNotAsk`], never an empty queue.
//! - Times are asked for in UTC.

pub mod amounts;
pub mod call;
pub mod log;
pub mod nodes;
pub mod pbs;
pub mod room;
pub mod sge;
pub mod slurm;
pub mod steps;
pub mod wrapper;

mod table;
mod text;

#[cfg(test)]
mod tests;

use crate::language::batch::call::{Ask, Call, Target, Unsayable};
use crate::model::batch::{
    BatchFacts, BatchId, Cancelled, CouldNotAsk, Dialect, Ending, Flavour, Queue, Reply, Submission, Submitted,
};
use crate::model::units::Walltime;

/// Returns the script that learns what a batch system offers; read-only, each command with a deadline of its own.
pub const fn probe_script(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::Slurm => slurm::PROBE,
        Flavour::Pbs => pbs::PROBE,
        Flavour::Sge => sge::PROBE,
    }
}

/// Reads what [`probe_script`] printed. What it could not learn stands in the notes.
pub fn parse_probe(flavour: Flavour, output: &str) -> BatchFacts {
    match flavour {
        Flavour::Slurm => slurm::parse_probe(output),
        Flavour::Pbs => pbs::parse_probe(output),
        Flavour::Sge => sge::parse_probe(output),
    }
}

/// Returns the command that submits, or why it cannot be said in this dialect.
pub fn submit(dialect: &Dialect, submission: &Submission) -> Result<Call, Unsayable> {
    match dialect.flavour {
        Flavour::Slurm => slurm::submit(submission),
        Flavour::Pbs => pbs::submit(submission),
        Flavour::Sge => sge::submit(dialect, submission),
    }
}

/// Reads what came of a submission.
pub fn parse_submit(flavour: Flavour, reply: &Reply<'_>) -> Submitted {
    match flavour {
        Flavour::Slurm => slurm::parse_submit(reply),
        Flavour::Pbs => pbs::parse_submit(reply),
        Flavour::Sge => sge::parse_submit(reply),
    }
}

/// Returns the command that asks the queue. It may answer with more jobs than were asked for.
pub fn queue(flavour: Flavour, ask: Ask<'_>) -> String {
    match flavour {
        Flavour::Slurm => slurm::queue(ask),
        Flavour::Pbs => pbs::queue(ask),
        Flavour::Sge => sge::queue(ask),
    }
}

/// Reads the queue's answer.
pub fn parse_queue(flavour: Flavour, reply: &Reply<'_>) -> Result<Queue, CouldNotAsk> {
    match flavour {
        Flavour::Slurm => slurm::parse_queue(reply),
        Flavour::Pbs => pbs::parse_queue(reply),
        Flavour::Sge => sge::parse_queue(reply),
    }
}

/// Returns the command that asks when a job of that size would start, and submits nothing; none where nobody tells.
pub fn start(flavour: Flavour, cpus: u32, time: Option<Walltime>, account: Option<&str>) -> Option<String> {
    match flavour {
        Flavour::Slurm => Some(slurm::start(cpus, time, account)),
        Flavour::Pbs => Some(pbs::start(cpus)),
        Flavour::Sge => None,
    }
}

/// Reads in how many seconds it would start; none where that is not said.
pub fn parse_start(flavour: Flavour, output: &str) -> Option<f64> {
    match flavour {
        Flavour::Slurm => slurm::parse_start(output),
        Flavour::Pbs => pbs::parse_start(output),
        Flavour::Sge => None,
    }
}

/// Returns the command that asks how many cores nobody uses.
pub fn load(flavour: Flavour) -> String {
    match flavour {
        Flavour::Slurm => slurm::load(),
        Flavour::Pbs => pbs::load(),
        Flavour::Sge => sge::load(),
    }
}

/// Reads how many cores nobody uses, by queue; none where that is not told. `queues` are those that are known.
pub fn parse_load(flavour: Flavour, output: &str, queues: &[&str]) -> Vec<(String, u32)> {
    match flavour {
        Flavour::Slurm => slurm::parse_load(output),
        Flavour::Pbs => pbs::parse_load(output, queues),
        Flavour::Sge => sge::parse_load(output),
    }
}

/// Returns the command that asks the history; to be used where the site keeps one.
pub fn history(flavour: Flavour, ask: Ask<'_>) -> String {
    match flavour {
        Flavour::Slurm => slurm::history(ask),
        Flavour::Pbs => pbs::history(ask),
        Flavour::Sge => sge::history(ask),
    }
}

/// Returns the command that asks what else tells how jobs went; to be used where the site keeps no history. The answer reads like
/// one.
pub fn traces(flavour: Flavour, ids: &[BatchId]) -> Option<String> {
    match flavour {
        Flavour::Pbs => Some(pbs::traces(ids)),
        Flavour::Slurm | Flavour::Sge => None,
    }
}

/// Reads the history's answer: at most one ending of each member, the last. One that is not in it is not known (yet).
pub fn parse_history(flavour: Flavour, reply: &Reply<'_>) -> Result<Vec<Ending>, CouldNotAsk> {
    match flavour {
        Flavour::Slurm => slurm::parse_history(reply),
        Flavour::Pbs => pbs::parse_history(reply),
        Flavour::Sge => sge::parse_history(reply),
    }
}

/// Returns the command that cancels all of these in one call. That it was taken does not mean that they are gone: the queue
/// tells.
pub fn cancel(flavour: Flavour, targets: &[Target]) -> String {
    match flavour {
        Flavour::Slurm => slurm::cancel(targets),
        Flavour::Pbs => pbs::cancel(targets),
        Flavour::Sge => sge::cancel(targets),
    }
}

/// Reads what came of a cancel.
pub fn parse_cancel(flavour: Flavour, reply: &Reply<'_>) -> Result<Cancelled, CouldNotAsk> {
    match flavour {
        Flavour::Slurm => slurm::parse_cancel(reply),
        Flavour::Pbs => pbs::parse_cancel(reply),
        Flavour::Sge => sge::parse_cancel(reply),
    }
}

/// Returns whether what comes after a submission is kept until all of it succeeded: PBS lets what comes after an array begin
/// although members failed, and Grid Engine what comes after anything.
pub fn can_be_waited_for(flavour: Flavour, id: &BatchId) -> bool {
    match flavour {
        Flavour::Slurm => true,
        Flavour::Pbs => !id.as_str().contains('['),
        Flavour::Sge => false,
    }
}

/// Returns the variable that tells a member of an array its number. Outside arrays it is unset, or no number.
pub const fn index_variable(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::Slurm => "SLURM_ARRAY_TASK_ID",
        Flavour::Pbs => "PBS_ARRAY_INDEX",
        Flavour::Sge => "SGE_TASK_ID",
    }
}
