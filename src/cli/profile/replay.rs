//! `csync profile replay`: how well would learning have done on this history?

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::profile::import::{observation, open_report, read};
use crate::cli::view::words::many;
use crate::decide::learn::profile::{Profile, Question};
use crate::decide::learn::stakes::Caution;
use crate::language::history::PastJob;
use crate::model::observation::{Cut, Observation};

/// Tell how well learning would have done on a history
///
/// Goes through the jobs in the order of their ends, asks for what was learned of those before, and compares with what was
/// asked for: gigabyte-hours that were held and not used, and attempts that would have failed. Jobs that were cut short, or of which
/// memory and run time are not known, are left out. Nothing is kept.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The history: `sacct -P`, `qacct`, a trace of Nextflow, a benchmark file of Snakemake
    #[arg(value_name = "TRACE")]
    trace: PathBuf,
    /// As for one who minds failures much
    #[arg(long)]
    safe: bool,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
struct Score {
    jobs: u32,
    predicted: u32,
    /// GB-hours.
    asked: f64,
    learned: f64,
    used: f64,
    failed: u32,
    within: u32,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let mut jobs: BTreeMap<String, Vec<Job>> = BTreeMap::new();
    let (input, stem) = open_report(&args.trace)?;
    let mut left = 0;
    let take = |job: PastJob| {
        let seen = observation(&job, 0);
        if job.cut == Cut::Nothing && seen.is_sound() && seen.memory > 0.0 && seen.wall > 0.0 {
            let kept = Job { seen, asked: job.asked_memory };
            jobs.entry(job.words().join(" ")).or_default().push(kept);
        } else {
            left += 1;
        }
    };
    let skipped = read(input, (&args.trace.display().to_string(), &stem), take, None)?;
    let left = left + skipped;
    let caution = if args.safe { Caution::Safe } else { Caution::Balanced };
    let mut score = Score::default();
    for jobs in jobs.values_mut() {
        jobs.sort_by_key(|job| job.seen.at);
        replay(jobs, caution, &mut score);
    }
    let held = (score.predicted > 0).then(|| f64::from(score.within) / f64::from(score.predicted));
    if context.json() {
        context.print_json(&json!({
            "jobs": score.jobs, "predicted": score.predicted, "used_gbh": score.used, "asked_waste_gbh": score.asked,
            "learned_waste_gbh": score.learned, "failed": score.failed, "interval_held": held, "left_out": left,
        }))?;
        return Ok(Exit::Success);
    }
    let csync = match held {
        Some(held) => format!(
            "csync          {:>12.1} GB-hours unused, {} of {} attempts failed first\n\
             the 80 % interval held {:.1} %",
            score.learned,
            score.failed,
            score.predicted,
            100.0 * held
        ),
        None => "csync          predicted nothing: too few jobs of one kind came before another".to_owned(),
    };
    context.print(&format!(
        "{} jobs of {} kinds, {} predicted from those before.\n\
         memory used    {:>12.1} GB-hours\n\
         asked for      {:>12.1} GB-hours unused\n\
         {csync}",
        score.jobs,
        jobs.len(),
        score.predicted,
        score.used,
        score.asked,
    ))?;
    if left > 0 {
        let lines = many(u32::try_from(left).unwrap_or(u32::MAX), "line");
        context.say(&format!(
            "Left out {lines}: cut short, without memory or run time, or with numbers that no machine has."
        ));
    }
    Ok(Exit::Success)
}

/// What is kept of a job, of which there may be millions.
struct Job {
    seen: Observation,
    asked: f64,
}

fn replay(jobs: &[Job], caution: Caution, score: &mut Score) {
    let mut profile = Profile::default();
    for (n, Job { seen, asked }) in (0u64..).zip(jobs) {
        let (hours, gb) = (f64::from(seen.wall) / 3600.0, 1e-9);
        let memory = f64::from(seen.memory);
        let seen = Observation { id: n.wrapping_mul(0x9E37_79B9_7F4A_7C15), ..*seen };
        score.jobs += 1;
        score.used += memory * gb * hours;
        // Who asked for nothing asked for what was used.
        let asked = asked.max(memory);
        score.asked += (asked - memory) * gb * hours;
        let question = Question { input: f64::from(seen.input), grain: 1_048_576.0, caution };
        let Some(found) = profile.memory(question) else {
            score.learned += (asked - memory) * gb * hours;
            profile.observe(0, seen);
            continue;
        };
        score.predicted += 1;
        score.within += u32::from((found.low..=found.high).contains(&memory));
        let mut request = found.request;
        score.failed += u32::from(request < memory);
        while request < memory {
            score.learned += request * gb * hours;
            request = profile.memory_after(request);
        }
        score.learned += (request - memory) * gb * hours;
        profile.observe(0, seen);
    }
}
