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
//!   record to say. A reply that is no answer is [`CouldNotAsk`](crate::model::batch::CouldNotAsk), never an empty queue.
//! - Times are asked for in UTC.

pub mod pbs;
pub mod sge;
pub mod slurm;

mod text;

#[cfg(test)]
mod tests;

use crate::model::batch::{BatchFacts, Flavour};

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
