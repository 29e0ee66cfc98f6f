//! What sites and workflow systems already know of jobs that ran: `sacct` and `qacct` dumps, Nextflow traces, Snakemake
//! benchmarks. Read line by line, in bounded memory; what makes no sense is counted and left out.

use crate::model::observation::{Cut, Trust};

mod amounts;
mod read;

#[cfg(test)]
mod tests;

pub use read::{Format, Reader};

/// A job that ran.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PastJob {
    /// What tells it from others of its name that ended at its time: a number, or all that is said of it.
    pub id: String,
    /// What was run, as far as is told: a command's words, or a name of a job, rule or process.
    pub name: String,
    /// When it ended, in minutes since 1970; 0 when that is not told.
    pub at: u32,
    /// Bytes of input; 0 when that is not told, as the following.
    pub input: f64,
    /// Peak memory in bytes.
    pub memory: f64,
    /// Run time in seconds.
    pub wall: f64,
    /// CPU time in seconds.
    pub cpu: f64,
    /// Bytes read and written.
    pub io: f64,
    /// Memory asked for, in bytes.
    pub asked_memory: f64,
    /// Time asked for, in seconds.
    pub asked_time: f64,
    /// What cut it short.
    pub cut: Cut,
    /// How it was measured.
    pub trust: Trust,
}

/// How long a job waited in a queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PastWait {
    /// The batch system's id of the submission, which members of an array have in common.
    pub job: String,
    /// What the job was called.
    pub name: String,
    /// The partition, where it is told.
    pub queue: Option<String>,
    /// When it was submitted: what tells one try from the next of a job that was put back into the queue.
    pub submitted: i64,
    /// When it could have started first, as the clocks there show it, in seconds since 1970: when it was submitted, or later, when
    /// what it had to wait for was over.
    pub since: i64,
    /// How many seconds the clocks there are ahead of Greenwich, where that is told.
    pub ahead: Option<i32>,
    /// Seconds until it started.
    pub seconds: f64,
    /// Cores.
    pub cores: u32,
    /// Time asked for, in seconds; 0 where that is not told.
    pub asked: f64,
}

impl PastJob {
    /// Returns the words that its command is known by: a process `SAMTOOLS_SORT` of a pipeline is `samtools sort`.
    pub fn words(&self) -> Vec<String> {
        let last = self.name.rsplit(':').next().unwrap_or(&self.name);
        let last = last.split(" (").next().unwrap_or(last);
        if last.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_') {
            return last.to_ascii_lowercase().splitn(2, '_').map(str::to_owned).collect();
        }
        last.split_whitespace().map(str::to_owned).collect()
    }
}
