//! What the server's own log tells of jobs that PBS knows nothing of any more: `qdel -x` takes a job out of the history as well, a
//! routing queue drops one that no queue takes, and without a history all that are over are forgotten.
//!
//! The log is what `tracejob` reads: everybody may, on the host where the server runs, which at a small site is the one to log in
//! to. Elsewhere it is not there, and nothing is told.

use std::fmt::Write as _;

use crate::language::batch::call::preamble;
use crate::language::quote::sh;
use crate::model::batch::BatchId;

/// Most ids that are looked for: they stand in a command line.
const MOST_IDS: usize = 1000;

/// Days that are looked at, as far as there are logs of them: an engine may have been away over a weekend.
const DAYS: u32 = 4;

/// The attribute that marks a record as made here, of a line of the log.
pub(super) const TRACE: &str = "csync_trace";

/// What the log says of jobs that go without having run, as a pattern of `grep -E`.
const LINES: &str = ";Job;[^;]*;(Job to be deleted at request of |Job rejected by all possible destinations|\
                     Route queue lifetime exceeded)";

/// Returns the command that asks the log alone; to be used where no history is kept. The answer reads like the history's.
pub fn traces(ids: &[BatchId]) -> String {
    format!("{}{}exit 0\n", preamble(50), look(ids))
}

/// Returns the part of a script that prints a record for each job of which the log tells why it went: as `qstat` does, so that it is
/// read, and cut down to what is of interest, likewise.
pub(super) fn look(ids: &[BatchId]) -> String {
    let mut wanted = String::new();
    for id in ids.iter().take(MOST_IDS) {
        let _infallible = write!(wanted, "{} ", id.as_str());
    }
    // A member's line has its index between the brackets. The last line of a job counts.
    let awk = format!(
        r#"BEGIN {{ n = split(ids, list, " "); for (i = 1; i <= n; i++) wanted[list[i]] = 1 }}
{{ id = whole = $5; sub(/\[[0-9]+\]/, "[]", whole) }}
id in wanted || whole in wanted {{ said[id] = $6 }}
END {{ for (id in said) printf "Job Id: %s\n    job_state = F\n    substate = %s\n    {TRACE} = True\n    comment = %s\n", id, said[id] ~ /deleted/ ? 91 : 92, said[id] }}"#
    );
    format!(
        "( h=$(tracejob 2>/dev/null | sed -n 's/^default prefix path = //p'); [ -n \"$h\" ] && cd \"$h/server_logs\" 2>/dev/null || exit\n\
         ls | grep -E '^[0-9]{{8}}$' | tail -n {DAYS} | xargs $csync_limit grep -hE {} | awk -F';' -v ids={} {} ) 2>/dev/null\n",
        sh(LINES),
        sh(wanted.trim_end()),
        sh(&awk)
    )
}
