//! When a job would start, by what the scheduler expects of those that wait already: nothing asks PBS about a job that is not there.
//!
//! A scheduler that keeps places for its first jobs (`backfill_depth` of them) writes down when they begin. Whoever comes now and
//! asks for as many cores begins after them; one that asks for fewer may find a gap, and nothing is said of it.

use crate::language::batch::call::preamble;
use crate::language::batch::table::c_time;

/// Most that a wait can be. A job without a walltime is taken to run for five years, and what comes after it to wait for those.
const MOST: f64 = 365.0 * 86_400.0;

/// Returns the command that asks when those begin who wait in the default queue and ask for no more cores; submits nothing.
pub fn start(cpus: u32) -> String {
    format!(
        r#"{}date +%s; q=$($csync_limit qstat -B -f | sed -n 's/^ *default_queue = //p'); [ -z "$q" ] || $csync_limit qstat -f -w "$q" | awk -v c={} '
function told() {{ if (s == "Q" && n <= c && e != "") print "start " e; s = e = ""; n = 1 }}
/^Job Id: / {{ told() }}
/^    job_state = / {{ s = $3 }}
/^    Resource_List\.ncpus = / {{ n = $3 + 0 }}
/^    estimated\.start_time = / {{ e = $0; sub(/^[^=]*= /, "", e) }}
END {{ told() }}' | sort -u | head -n 200
"#,
        preamble(10),
        cpus.max(1)
    )
}

/// Reads in how many seconds the last of them begins; none where nobody waits there, or nobody knows.
pub fn parse_start(output: &str) -> Option<f64> {
    let now: f64 = output.lines().find_map(|line| line.trim().parse::<u64>().ok())? as f64;
    let starts = output.lines().filter_map(|line| c_time(line.strip_prefix("start ")?));
    let waits = starts.map(|at| (at.0 as f64 / 1e6 - now).max(0.0)).filter(|wait| *wait < MOST);
    waits.max_by(f64::total_cmp)
}
