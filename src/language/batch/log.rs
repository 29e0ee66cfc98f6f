//! What a batch system itself writes into a job's log before it ends the job: often the only word where no history is kept.

use crate::model::batch::EndingClass;

/// Words of batch systems, and what they say of an end. The first line that holds one counts: what follows is its consequence.
const WORDS: &[(&str, EndingClass)] = &[
    // Slurm.
    ("DUE TO TIME LIMIT", EndingClass::Timeout),
    ("DUE TO NODE FAILURE", EndingClass::NodeFail),
    ("DUE TO PREEMPTION", EndingClass::Preempted),
    ("DUE TO JOB REQUEUE", EndingClass::Requeued),
    ("exceeded memory limit", EndingClass::Oom),
    ("Exceeded job memory limit", EndingClass::Oom),
    ("oom-kill event", EndingClass::Oom),
    ("oom_kill event", EndingClass::Oom),
    ("*** CANCELLED AT", EndingClass::Cancelled),
    ("CANCELLED AT", EndingClass::Cancelled),
    // PBS: `=>> PBS: job killed: walltime 23 exceeded limit 10`.
    ("PBS: job killed: walltime", EndingClass::Timeout),
    ("PBS: job killed: mem", EndingClass::Oom),
    ("PBS: job killed: vmem", EndingClass::Oom),
    ("Cgroup mem limit exceeded", EndingClass::Oom),
    ("Cgroup memsw limit exceeded", EndingClass::Oom),
];

/// Most letters of a line that are kept.
const LETTERS: usize = 300;

/// What a batch system said of a job's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastWords {
    /// What it means.
    pub class: EndingClass,
    /// The line.
    pub line: String,
}

/// Reads a job's log as the batch system keeps it.
pub fn last_words(log: &str) -> Option<LastWords> {
    log.lines().find_map(|line| {
        // Jobs print into files of their own: what is here is the batch system's, or the login's.
        let ours = line.starts_with("slurmstepd") || line.starts_with("=>> PBS") || line.contains("limit exceeded");
        let (_, class) = WORDS.iter().filter(|_| ours).find(|(words, _)| line.contains(words))?;
        let line = line.trim().chars().filter(|letter| !letter.is_control()).take(LETTERS).collect();
        Some(LastWords { class: *class, line })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_systems_say_why_they_end_a_job() {
        for (log, class) in [
            (
                "slurmstepd: error: *** JOB 5 ON n1 CANCELLED AT 2026-01-01T00:00:00 DUE TO TIME LIMIT ***",
                EndingClass::Timeout,
            ),
            ("slurmstepd: error: *** JOB 5 ON n1 CANCELLED AT 2026-01-01T00:00:00 ***", EndingClass::Cancelled),
            (
                "slurmstepd: error: *** JOB 5 ON n1 CANCELLED AT x DUE TO NODE FAILURE, SEE SLURMCTLD LOG ***",
                EndingClass::NodeFail,
            ),
            ("hello\nslurmstepd-n1: error: Detected 1 oom_kill event in StepId=5.batch.", EndingClass::Oom),
            (
                "slurmstepd: error: StepId=7.batch exceeded memory limit (434110464 > 104857600), being killed\n\
                 slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT x ***",
                EndingClass::Oom,
            ),
            ("=>> PBS: job killed: walltime 23 exceeded limit 10", EndingClass::Timeout),
            ("=>> PBS: job killed: mem 233472kb exceeded limit 102400kb", EndingClass::Oom),
        ] {
            assert_eq!(last_words(log).map(|words| words.class), Some(class), "{log}");
        }
        for log in ["", "Welcome\n", "my program was CANCELLED AT noon", "slurmstepd: debug: nothing"] {
            assert_eq!(last_words(log), None, "{log}");
        }
        let long = format!("=>> PBS: job killed: walltime\u{1b}[31m {}", "x".repeat(1000));
        let line = last_words(&long).unwrap().line;
        assert!(line.len() == LETTERS && !line.contains('\u{1b}'), "{line}");
    }
}
