//! `csync profile replay`: how well would learning have done on this history?

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::profile::import::{observation, on_all_cores, open_report, read};
use crate::cli::view::words::{many, number};
use crate::decide::learn::limits::{Limits, Past, Way};
use crate::decide::learn::profile::{Profile, Question};
use crate::decide::learn::stakes::Caution;
use crate::language::command::{Signature, TokenKey, signature};
use crate::language::history::PastJob;
use crate::model::observation::{Cut, Observation};

/// Tell how well learning would have done on a history
///
/// Goes through the jobs and asks for what was learned of those that were over, and compares with what was asked for: of memory
/// gigabyte-hours that were held and not used, and attempts that would have failed; of time the hours asked for and not used, and
/// attempts that would have been killed at their limit. Memory is asked for in the order in which jobs ended. A time limit is set when a
/// job begins, is never longer than the one that was asked for, and is what was asked for until three jobs were over; one that is too
/// short is doubled. Jobs that were cut short are not compared; those that their time limit cut are counted, and learned from. Nothing
/// is kept.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The history: `sacct -P`, `qacct`, a trace of Nextflow, a benchmark file of Snakemake
    #[arg(value_name = "TRACE")]
    trace: PathBuf,
    /// As for one who minds failures much
    #[arg(long)]
    safe: bool,
}

/// Names of which it is kept what kind of command they are: they are many where each job has its own.
const NAMES: usize = 100_000;

/// The jobs by kind of command, as they would have been learned from.
#[derive(Default)]
struct Kinds {
    jobs: Vec<Vec<Observation>>,
    numbers: BTreeMap<Signature, usize>,
    names: HashMap<String, Option<usize>>,
}

impl Kinds {
    /// Returns the jobs that are of the same kind; none of what is no command.
    fn of(&mut self, job: &PastJob) -> Option<&mut Vec<Observation>> {
        let known = self.names.get(&job.name).copied();
        let number = known.unwrap_or_else(|| {
            // Nothing is kept: any key tells kinds apart.
            let signature = signature(&[job.words()], &[], &TokenKey::new([0; 32]));
            let number = signature.map(|signature| {
                *self.numbers.entry(signature).or_insert_with(|| {
                    self.jobs.push(Vec::new());
                    self.jobs.len() - 1
                })
            });
            if self.names.len() < NAMES {
                self.names.insert(job.name.clone(), number);
            }
            number
        });
        self.jobs.get_mut(number?)
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
struct Score {
    memory: Memory,
    /// With the limits that were asked for, and with those that would have been learned.
    asked: Limits,
    learned: Limits,
}

/// What came of it for memory.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
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
    let mut kinds = Kinds::default();
    let (input, stem) = open_report(&args.trace)?;
    let mut left = 0;
    let take = |job: PastJob| {
        let seen = observation(&job, 0);
        let is_sound = seen.is_sound() && seen.wall > 0.0 && seen.cut != Cut::Memory;
        match if is_sound { kinds.of(&job) } else { None } {
            Some(jobs) => jobs.push(seen),
            None => left += 1,
        }
    };
    let told = read(input, (&args.trace.display().to_string(), &stem), take, None)?;
    let left = left + told.skipped;
    let caution = if args.safe { Caution::Safe } else { Caution::Balanced };
    let jobs = kinds.jobs;
    let kinds = jobs.len();
    let mut score = Score::default();
    for of_kind in on_all_cores(jobs, |jobs| Score::of(jobs, caution)) {
        score.add(&of_kind);
    }
    if context.json() {
        context.print_json(&score.json(left))?;
        return Ok(Exit::Success);
    }
    let of_kinds = many(u32::try_from(kinds).unwrap_or(u32::MAX), "kind");
    let told = [Some(score.memory.page(&of_kinds)), score.time_page(&of_kinds)];
    context.print(&told.into_iter().flatten().collect::<Vec<_>>().join("\n"))?;
    if left > 0 {
        let lines = many(u32::try_from(left).unwrap_or(u32::MAX), "line");
        context.say(&format!(
            "Left out {lines}: cut short, without run time or command, or with numbers that no machine has."
        ));
    }
    Ok(Exit::Success)
}

impl Score {
    /// Replays the jobs of one command.
    fn of(mut jobs: Vec<Observation>, caution: Caution) -> Self {
        jobs.sort_by_key(|job| job.at);
        let memory = Memory::of(&jobs, caution);
        // Those of which no end is told come first, each after the one before it.
        let untold = jobs.partition_point(|job| job.at == 0);
        if let Some(told) = jobs.get_mut(untold..) {
            told.sort_by(|a, b| times(a).0.total_cmp(&times(b).0));
        }
        let past = || {
            jobs.iter().enumerate().map(|(nth, seen)| Past {
                times: if seen.at == 0 { (nth as f64, nth as f64) } else { times(seen) },
                took: f64::from(seen.wall),
                asked: (seen.asked_time > 0.0).then(|| f64::from(seen.asked_time)),
                seen: *seen,
            })
        };
        Self { memory, asked: Limits::of(past(), Way::Asked), learned: Limits::of(past(), Way::Learned(caution)) }
    }

    fn add(&mut self, other: &Self) {
        self.memory.add(&other.memory);
        self.asked.add(&other.asked);
        self.learned.add(&other.learned);
    }

    fn json(&self, left: u64) -> serde_json::Value {
        let (memory, asked, learned) = (&self.memory, &self.asked, &self.learned);
        json!({
            "jobs": memory.jobs, "predicted": memory.predicted, "used_gbh": memory.used, "asked_waste_gbh": memory.asked,
            "learned_waste_gbh": memory.learned, "failed": memory.failed, "interval_held": memory.held(), "left_out": left,
            "time": {
                "jobs": learned.tasks, "predicted": learned.predicted, "used_h": learned.used,
                "asked_h": asked.hours, "asked_waste_h": asked.wasted(), "asked_killed": asked.cut,
                "learned_h": learned.hours, "learned_waste_h": learned.wasted(), "killed": learned.kills,
                "killed_long": learned.long_kills, "burnt_h": learned.burnt, "interval_held": learned.held.all(),
            },
        })
    }

    /// Says what became of time, where any is known.
    fn time_page(&self, kinds: &str) -> Option<String> {
        let (asked, learned) = (&self.asked, &self.learned);
        let attempts = learned.tasks + asked.cut;
        if attempts == 0 {
            return None;
        }
        let share = |killed: u32, of: u32| 100.0 * f64::from(killed) / f64::from(of.max(1));
        let asked = format!(
            "time: {} of {kinds}, {} predicted from those before.\n\
             time used      {:>12.1} hours\n\
             asked for      {:>12.1} hours unused, {} of {} killed at their limit ({:.1} %)\n",
            many(learned.tasks, "job"),
            number(learned.predicted),
            learned.used,
            asked.wasted(),
            number(asked.cut),
            number(attempts),
            share(asked.cut, attempts),
        );
        let csync = match learned.held.all() {
            Some(held) => format!(
                "csync          {:>12.1} hours unused, {} of {} killed at it ({:.1} %), {:.1} hours burnt so\n\
                 the 80 % interval of time held {:.1} %",
                learned.wasted(),
                number(learned.kills),
                number(learned.tasks),
                share(learned.kills, learned.tasks),
                learned.burnt,
                100.0 * held
            ),
            None => NOTHING.to_owned(),
        };
        Some(asked + &csync)
    }
}

/// What is said where nothing was predicted.
const NOTHING: &str = "csync          predicted nothing: too few jobs of one kind came before another";

/// Returns when a job began and ended, in seconds.
fn times(job: &Observation) -> (f64, f64) {
    let end = f64::from(job.at) * 60.0;
    (end - f64::from(job.wall), end)
}

impl Memory {
    fn of(jobs: &[Observation], caution: Caution) -> Self {
        let mut score = Self::default();
        let mut profile = Profile::default();
        let told = jobs.iter().filter(|job| job.memory > 0.0 && job.cut == Cut::Nothing);
        for (n, seen) in (0u64..).zip(told) {
            let (hours, gb) = (f64::from(seen.wall) / 3600.0, 1e-9);
            let memory = f64::from(seen.memory);
            let seen = Observation { id: n.wrapping_mul(0x9E37_79B9_7F4A_7C15), ..*seen };
            score.jobs += 1;
            score.used += memory * gb * hours;
            // Who asked for nothing asked for what was used.
            let asked = f64::from(seen.asked).max(memory);
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
        score
    }

    fn add(&mut self, other: &Self) {
        self.jobs += other.jobs;
        self.predicted += other.predicted;
        self.asked += other.asked;
        self.learned += other.learned;
        self.used += other.used;
        self.failed += other.failed;
        self.within += other.within;
    }

    fn held(&self) -> Option<f64> {
        (self.predicted > 0).then(|| f64::from(self.within) / f64::from(self.predicted))
    }

    /// Says what became of memory; of none where time alone is known.
    fn page(&self, kinds: &str) -> String {
        if self.jobs == 0 {
            return format!("memory: no job that tells of it, of {kinds}.");
        }
        let csync = match self.held() {
            Some(held) => format!(
                "csync          {:>12.1} GB-hours unused, {} of {} attempts failed first\n\
                 the 80 % interval of memory held {:.1} %",
                self.learned,
                number(self.failed),
                number(self.predicted),
                100.0 * held
            ),
            None => NOTHING.to_owned(),
        };
        let (jobs, predicted) = (many(self.jobs, "job"), number(self.predicted));
        format!(
            "memory: {jobs} of {kinds}, {predicted} predicted from those before.\n\
             memory used    {:>12.1} GB-hours\n\
             asked for      {:>12.1} GB-hours unused\n\
             {csync}",
            self.used, self.asked,
        )
    }
}
