//! `csync profile import`, and the reading of histories that `replay` shares.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::profile::{open, place};
use crate::cli::view::words::{many, shell_word};
use crate::decide::learn::profile::Profile;
use crate::decide::learn::summary::Summary;
use crate::language::command::{Signature, TokenKey, signature};
use crate::language::history::{PastJob, Reader};
use crate::model::api::ErrorKind;
use crate::model::observation::Observation;
use crate::reach::clock;
use crate::reach::learned::Entry;

/// Learn from what a site or a workflow system already knows
///
/// Reads `sacct -P -o ALL` (any columns that are there), `qacct -j`, trace files of Nextflow and benchmark files of Snakemake.
/// Jobs are known by their names there: a process `SAMTOOLS_SORT` is `samtools sort`, other names become tokens. Importing a
/// file again changes nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The reports; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The hosts where the jobs ran, by any name that stays the same
    #[arg(long, value_name = "NAME", default_value = "imported")]
    hosts: String,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let place = place(context)?;
    let told = context.block_on(async {
        let mut learned = open(&place).await?;
        let mut taken = Taken::new(learned.tokens().clone());
        for file in &args.files {
            taken.file(file)?;
        }
        let told = taken.told;
        let class = learned.tokens().token("class", &args.hosts);
        let kinds = taken.summaries.len();
        learned.merge(taken.entries(class), clock::now()).await?;
        learned.close().await;
        Ok((told, kinds))
    })?;
    let (told, kinds) = told;
    if context.json() {
        context.print_json(&json!({ "jobs": told.jobs, "skipped": told.skipped, "commands": kinds }))?;
    } else {
        let kinds = many(u32::try_from(kinds).unwrap_or(u32::MAX), "kind");
        context.say(&format!("{} jobs of {kinds} of commands were learned from.", told.jobs));
        if told.skipped > 0 {
            context.say(&format!("{} lines told of nothing that can be learned from.", told.skipped));
        }
    }
    Ok(Exit::Success)
}

/// How much was read.
#[derive(Clone, Copy, Default)]
struct Told {
    jobs: u64,
    skipped: u64,
}

/// What was read, bounded by the number of commands and not of jobs.
struct Taken {
    key: TokenKey,
    /// Each name's place among the summaries, none where it is no command.
    places: HashMap<String, Option<Signature>>,
    summaries: HashMap<Signature, Summary>,
    told: Told,
}

impl Taken {
    fn new(key: TokenKey) -> Self {
        Self { key, places: HashMap::new(), summaries: HashMap::new(), told: Told::default() }
    }

    fn file(&mut self, path: &Path) -> Result<(), Failure> {
        let origin = self.key.token("import", &path.display().to_string()).0 as u64;
        let skipped = read(path, |job| self.job(origin, &job))?;
        self.told.skipped += skipped;
        Ok(())
    }

    fn job(&mut self, origin: u64, job: &PastJob) {
        let key = &self.key;
        if !self.places.contains_key(&job.name) {
            self.places.insert(job.name.clone(), signature(&[job.words()], &[], key));
        }
        let Some(Some(signature)) = self.places.get(&job.name) else {
            self.told.skipped += 1;
            return;
        };
        let id = key.token("past", &format!("{}\0{}\0{}", job.name, job.id, job.at)).0 as u64;
        let added = match self.summaries.get_mut(signature) {
            Some(summary) => summary.add(origin, observation(job, id)),
            None => self.summaries.entry(signature.clone()).or_default().add(origin, observation(job, id)),
        };
        self.told.jobs += u64::from(added);
        self.told.skipped += u64::from(!added);
    }

    fn entries(self, class: crate::language::command::Token) -> Vec<Entry> {
        let known = self.summaries.into_iter().filter(|(_, summary)| !summary.is_empty());
        known.map(|(signature, summary)| Entry { signature, class, profile: Profile::of(summary) }).collect()
    }
}

/// What a job of a history teaches.
pub(super) fn observation(job: &PastJob, id: u64) -> Observation {
    Observation {
        id,
        at: job.at,
        input: job.input as f32,
        memory: job.memory as f32,
        wall: job.wall as f32,
        cpu: job.cpu as f32,
        io: job.io as f32,
        cut: job.cut,
        trust: job.trust,
    }
}

/// Reads a report, job by job; returns how many lines told of nothing.
pub(super) fn read(path: &Path, mut take: impl FnMut(PastJob)) -> Result<u64, Failure> {
    let shown = path.display().to_string();
    let bad = |error: &io::Error| Failure::usage(format!("{shown} cannot be read")).because(error);
    let input: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::with_capacity(1 << 16, File::open(path).map_err(|error| bad(&error))?))
    };
    let name = path.file_stem().map_or_else(|| "stdin".to_owned(), |stem| stem.to_string_lossy().into_owned());
    let unknown = || {
        let failure = Failure::new(ErrorKind::Invalid, format!("{shown} is no report that csync knows"));
        failure.hint(format!(
            "`sacct -P -o ALL > {}` writes one, with the first line that names its columns",
            shell_word("jobs.txt")
        ))
    };
    let mut reader = None;
    for line in input.split(b'\n') {
        let line = line.map_err(|error| bad(&error))?;
        // A name in some old encoding spoils neither the line nor the file.
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches('\r');
        match &mut reader {
            None if line.trim().is_empty() => {}
            None => reader = Some(Reader::new(line, &name).ok_or_else(unknown)?),
            Some(reader) => reader.line(line).into_iter().for_each(&mut take),
        }
    }
    let mut reader = reader.ok_or_else(unknown)?;
    reader.end().into_iter().for_each(&mut take);
    Ok(reader.skipped())
}
