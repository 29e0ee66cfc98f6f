//! `csync profile import`, and the reading of histories that `replay` shares.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::hosts::{Answers, Known, connections, unreached, way};
use crate::cli::profile::export::failure;
use crate::cli::profile::waited::{Waited, host_of};
use crate::cli::profile::{Depth, look, open, place};
use crate::cli::view::words::many;
use crate::decide::learn::profile::{JUDGED_ANEW, Profile};
use crate::decide::learn::summary::Summary;
use crate::language::command::{Signature, Token, TokenKey, signature};
use crate::language::history::{PastJob, PastWait, Reader};
use crate::model::api::ErrorKind;
use crate::model::observation::{LONGEST, Observation};
use crate::reach::clock;
use crate::reach::frames;
use crate::reach::learned::{BEGINNING, Entry, Place, class_of};
use crate::reach::transport::{Exec, Status, Transport};
use crate::serve::site::prefix;

/// Learn from what a site or a workflow system already knows
///
/// Reads `sacct -P -o ALL` (any columns that are there), `qacct -j`, trace files of Nextflow and benchmark files of Snakemake;
/// Parquet files with such columns, which takes `csync-frames`; and what `csync profile export --sealed` wrote on a machine with
/// the same key. `--from HOST` has the host's `sacct` or `qacct` tell of your jobs there. Jobs are known by their names: a process
/// `SAMTOOLS_SORT` is `samtools sort`, other names become tokens. Importing a report again, under whatever
/// name, changes nothing.
///
/// With `--from`, and with `--hosts` where that is a host of `hosts.toml`, it also teaches how long jobs wait in the partitions of
/// that host, by their size and the hour: from when a job could start (`Eligible`, else `Submit`) to its `Start`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The reports, or what another machine exported; `-` is standard input
    #[arg(value_name = "FILE", required_unless_present = "from")]
    files: Vec<PathBuf>,
    /// Ask this host for the jobs that you ran there
    #[arg(long, value_name = "HOST", conflicts_with_all = ["files", "hosts"])]
    from: Option<String>,
    /// How many days back to ask it
    #[arg(long, value_name = "DAYS", default_value_t = 90, requires = "from")]
    days: u32,
    /// The host where the jobs ran, as `hosts.toml` or another name that stays the same calls it
    #[arg(long, value_name = "NAME", default_value = IMPORTED)]
    hosts: String,
}

/// What the host is called that nobody named.
const IMPORTED: &str = "imported";

/// How long a host may take to tell of its past jobs.
const TELLING: Duration = Duration::from_mins(5);
/// How much it may tell: a million lines.
const TOLD: usize = 256 << 20;

/// Returns what has a host tell of past jobs.
///
/// Slurm's times are those of the clocks there: their zone is asked for too, and more room than it gives a time by itself, which
/// some versions fill with `#` else. Of Grid Engine nothing goes by when a job ended.
fn telling(days: u32) -> String {
    format!(
        "if command -v sacct >/dev/null 2>&1; then SLURM_TIME_FORMAT=%Y-%m-%dT%H:%M:%S%z; export SLURM_TIME_FORMAT; \
         exec sacct -P -S now-{days}days -o JobID,JobName,State,Submit%30,Eligible%30,Start%30,End%30,ElapsedRaw,\
         TimelimitRaw,AllocCPUS,NTasks,TotalCPU,ReqMem,MaxRSS,AveRSS,MaxDiskRead,AveDiskRead,\
         MaxDiskWrite,AveDiskWrite,Partition%100; fi; \
         if command -v qacct >/dev/null 2>&1; then TZ=UTC0; export TZ; \
         exec qacct -o \"$(id -un)\" -d {days} -j; fi; exit 127"
    )
}

/// Asks a host for the past jobs of who asks.
fn ask(context: &Context, name: &str, days: u32) -> Result<Vec<u8>, Failure> {
    let known = Known::load(context)?;
    let host = known.host(name)?;
    let script = telling(days);
    let answers = if context.is_watched() { Answers::ForAll } else { Answers::Nobody };
    let connections = connections(context, answers)?;
    let reply = context.block_on(async {
        let remote = way(&connections, host).await.map_err(|error| unreached(&error, host))?;
        let reply = remote.exec(Exec::new(script).within(TELLING).printing(TOLD)).await;
        connections.close().await;
        reply.map_err(|error| unreached(&error, host))
    })?;
    if reply.status == Status::Exit(127) {
        let failure = Failure::new(ErrorKind::Invalid, format!("{name} has neither `sacct` nor `qacct`"));
        return Err(failure.hint("`csync profile import FILE` reads what others wrote down"));
    }
    if !reply.status.is_success() {
        let complaint = String::from_utf8_lossy(&reply.stderr);
        let complaint = complaint.lines().next().unwrap_or_default();
        let failure = format!("{name} does not tell of past jobs ({}): {complaint}", reply.status);
        return Err(Failure::new(ErrorKind::Conflict, failure).exiting(Exit::RunFailed));
    }
    Ok(reply.stdout)
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    check(&args.files)?;
    let place = place(context)?;
    let asked = args.from.as_ref().map(|host| ask(context, host, args.days)).transpose()?.unwrap_or_default();
    let name = args.from.as_ref().unwrap_or(&args.hosts);
    let of = if name == IMPORTED { None } else { host_of(context, name)? };
    let own = prefix(&context.state_dir()?);
    let made = Made::by(&place);
    let told = context.block_on(async {
        let mut learned = open(&place).await?;
        let mut taken = Taken { waited: of.as_ref().map(|_| Waited::new(own)), ..Taken::new(learned.tokens().clone()) };
        let mut exchanged = Vec::new();
        for file in &args.files {
            let (mut input, stem) = open_report(file)?;
            let shown = file.display().to_string();
            // A mistake is told once: who reads on after it finds an end.
            let begins = input.fill_buf().map_err(|error| unreadable(&shown, &error))?;
            if begins.starts_with(BEGINNING) {
                exchanged.push(learned.open_exchange(file, &mut input)?);
            } else {
                taken.report(input, (&shown, &stem), Teller::File)?;
            }
        }
        if let Some(host) = &args.from {
            taken.report(asked.as_slice(), (host, host), Teller::Host)?;
        }
        let mut told = taken.told;
        let class = class_of(args.from.as_ref().unwrap_or(&args.hosts), learned.tokens());
        let kinds = taken.kinds.len() + exchanged.iter().map(Vec::len).sum::<usize>();
        let waited = taken.waited.take();
        let before = std::mem::take(&mut taken.before);
        learned.merge(taken.entries(class), &before, clock::now()).await?;
        for records in exchanged {
            told.jobs += u64::from(learned.take(records, clock::now()).await?);
        }
        // Where no engine runs, this is who does a portion of what the day asks for.
        learned.care(clock::now(), place.retention()).await?;
        learned.close().await;
        Ok((told, kinds, waited))
    });
    let (told, kinds, waited) = match told {
        Ok(told) => told,
        Err(failure) => {
            context.block_on(async {
                made.take_back(&place).await;
                Ok(())
            })?;
            return Err(failure);
        }
    };
    let zone = if args.from.is_some() { TimeZone::UTC } else { TimeZone::system() };
    let waits = match waited.zip(of) {
        Some((waited, host)) => waited.hand_over(context, &host, &zone)?,
        None => 0,
    };
    tell(context, name, (told, kinds, waits))?;
    Ok(Exit::Success)
}

/// Says what was learned from, of how many kinds of commands and of how long `name` made how many jobs wait.
fn tell(context: &Context, name: &str, (told, kinds, waits): (Told, usize, usize)) -> Result<(), Failure> {
    if context.json() {
        context.print_json(&json!({
            "jobs": told.jobs, "skipped": told.skipped, "repeated": told.repeated, "crowded": told.crowded,
            "without_memory": told.partial, "commands": kinds, "waits": waits
        }))?;
    } else {
        let count = |count: u64, thing: &str| many(u32::try_from(count).unwrap_or(u32::MAX), thing);
        let was = |count: u64| if count == 1 { "was" } else { "were" };
        let (jobs, kinds) = (count(told.jobs, "job"), count(kinds as u64, "kind"));
        context.say(&format!("{jobs} of {kinds} of commands {} learned from.", was(told.jobs)));
        if waits > 0 {
            context.say(&format!("{} told how long the queues of {name} make jobs wait.", count(waits as u64, "job")));
        }
        if told.repeated > 0 {
            let repeat = if told.repeated == 1 { "repeats" } else { "repeat" };
            context.say(&format!("{} {repeat} what was told already.", count(told.repeated, "line")));
        }
        if told.skipped > 0 {
            context.say(&format!("{} told of nothing that can be learned from.", count(told.skipped, "line")));
        }
        if told.partial > 0 {
            let of = count(told.partial, "job");
            context.warn(&format!(
                "Of {of} no memory was learned: what is told is that of one task, and not how many there were. `sacct -P -o ALL` tells both."
            ));
        }
        if told.crowded > 0 {
            let left = format!("{} {} left out", count(told.crowded, "job"), was(told.crowded));
            context.warn(&format!("{left}: more than {KINDS} kinds of commands are not kept apart."));
        }
    }
    Ok(())
}

/// What an import makes where nothing was learned before. One that fails leaves nothing of it: a new key would be in the way of the one
/// that others share.
struct Made {
    store: bool,
    key: bool,
}

impl Made {
    fn by(place: &Place) -> Self {
        Self { store: !place.path.exists(), key: !place.key.exists() }
    }

    async fn take_back(&self, place: &Place) {
        // Others may have learned something meanwhile; what cannot be looked at is left, too.
        let is_empty =
            look(place, Depth::Index).await.is_ok_and(|looked| looked.is_none_or(|looked| looked.records == 0));
        if !(self.store && is_empty) {
            return;
        }
        let beside = |end: &str| PathBuf::from(format!("{}{end}", place.path.display()));
        let all = ["", "-wal", "-shm"].map(beside);
        let key = self.key.then(|| place.key.clone());
        // What is not there need not go.
        all.into_iter().chain(key).for_each(|path| drop(std::fs::remove_file(path)));
    }
}

/// How much was read.
#[derive(Clone, Copy, Default)]
struct Told {
    jobs: u64,
    /// Lines that tell of nothing.
    skipped: u64,
    /// Jobs that were told already.
    repeated: u64,
    /// Jobs of commands beyond those that are kept apart.
    crowded: u64,
    /// Jobs of whose memory nothing is known: of how many tasks it is was not told.
    partial: u64,
}

/// How many kinds of commands are kept apart; jobs of more are left out, so that memory stays bounded.
const KINDS: usize = 50_000;
/// Observations of a kind that are gathered before they are taken in together.
const GATHERED: usize = 64;
/// Attempts that models are judged by in one import at most: some 2 s of one core. The kinds with the most jobs come first.
const JUDGEMENTS: usize = 200_000;
/// Threads that judge or replay at most.
const MOST_WORKERS: usize = 8;

/// What was read of one kind of command.
#[derive(Default)]
struct Sheaf {
    summary: Summary,
    gathered: Vec<Observation>,
    /// Of each day that this report told of, the job that ended first: when, and which.
    firsts: BTreeMap<u32, (u32, u64)>,
}

impl Sheaf {
    /// Takes in what was gathered, counted by the day; returns how many were new, and how many no job can be like.
    fn bind(&mut self) -> (u32, u32) {
        let mut new = 0;
        self.gathered.sort_by_key(day);
        for of_day in self.gathered.chunk_by(|a, b| day(a) == day(b)) {
            let Some(at) = of_day.first().map(day) else { continue };
            for seen in of_day.iter().filter(|seen| seen.is_sound()) {
                let first = self.firsts.entry(at).or_insert((seen.at, seen.id));
                if seen.at < first.0 {
                    *first = (seen.at, seen.id);
                }
            }
            new += self.summary.add_all(u64::from(at), of_day);
        }
        let unsound = self.gathered.iter().filter(|seen| !seen.is_sound()).count();
        self.gathered.clear();
        (new, u32::try_from(unsound).unwrap_or(u32::MAX))
    }

    /// Gives what was counted by the day the origin by which another report that tells of the same jobs knows it: the first of them.
    /// `of` makes it of a day and that job.
    fn close(&mut self, of: impl Fn(u32, u64) -> u64) {
        for (day, (_, first)) in std::mem::take(&mut self.firsts) {
            self.summary.recount(u64::from(day), of(day, first));
        }
    }
}

/// Returns the day on which a job ended.
const fn day(seen: &Observation) -> u32 {
    seen.at / 1440
}

/// Who tells of past jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Teller {
    /// A host, of all the days that it is asked for: of a day it never tells less than what is so, but of the first and the last.
    Host,
    /// A file: of a day there may be many, each with jobs of its own.
    File,
}

/// What was read, bounded by the number of commands and not of jobs.
struct Taken {
    key: TokenKey,
    /// Each name's place among the sheaves, none where it is no command.
    places: HashMap<String, Option<usize>>,
    kinds: HashMap<Signature, usize>,
    sheaves: Vec<Sheaf>,
    /// The origins that csync before this one counted these reports under, each with the one that what else it counted there goes under.
    before: Vec<(u64, u64)>,
    told: Told,
    /// How long jobs waited, where it is known on which host.
    waited: Option<Waited>,
}

impl Taken {
    fn new(key: TokenKey) -> Self {
        Self {
            key,
            places: HashMap::new(),
            kinds: HashMap::new(),
            sheaves: Vec::new(),
            before: Vec::new(),
            told: Told::default(),
            waited: None,
        }
    }

    /// Takes in what a report says; `name` is where it comes from.
    ///
    /// Jobs count under an origin for each day: the first of that day that the report tells of. So a report tells the same under
    /// whatever name it comes, one that grew tells of its last day anew, and two that have nothing in common count both.
    fn report(&mut self, input: impl BufRead, (name, stem): (&str, &str), teller: Teller) -> Result<(), Failure> {
        self.before(name);
        let mut waited = self.waited.take();
        let mut wait = waited.as_mut().map(|waited| |wait| waited.take(wait));
        let wait = wait.as_mut().map(|wait| wait as &mut dyn FnMut(PastWait));
        let left = read(input, (name, stem), |job| self.job(&job), wait)?;
        self.told.skipped += left.skipped;
        self.told.partial += left.partial;
        self.waited = waited;
        for place in 0..self.sheaves.len() {
            self.bind(place);
        }
        let of_host = |day: u32| format!("host\0{name}\0{day}");
        if teller == Teller::Host {
            // It read no ends of jobs of Grid Engine: all were of the first day.
            self.before(&of_host(0));
        }
        let key = &self.key;
        let origin = |day: u32, first: u64| {
            let name = match teller {
                Teller::Host => of_host(day),
                Teller::File => format!("file\0{day}\0{first:016x}"),
            };
            key.token("import", &name).0 as u64
        };
        self.sheaves.iter_mut().for_each(|sheaf| sheaf.close(origin));
        Ok(())
    }

    /// Notes an origin that csync before this one counted jobs of a report under, which it tells anew.
    fn before(&mut self, name: &str) {
        let [origin, rest] = [name, &format!("before\0{name}")].map(|name| self.key.token("import", name).0 as u64);
        self.before.push((origin, rest));
    }

    fn bind(&mut self, place: usize) {
        let Some(sheaf) = self.sheaves.get_mut(place) else { return };
        let all = sheaf.gathered.len() as u64;
        let (new, unsound) = sheaf.bind();
        self.told.jobs += u64::from(new);
        self.told.skipped += u64::from(unsound);
        self.told.repeated += all.saturating_sub(u64::from(new) + u64::from(unsound));
    }

    fn job(&mut self, job: &PastJob) {
        let Some(place) = self.place(job) else { return };
        let id = self.key.token("past", &format!("{}\0{}\0{}", job.name, job.id, job.at)).0 as u64;
        let Some(sheaf) = self.sheaves.get_mut(place) else { return };
        sheaf.gathered.push(observation(job, id));
        if sheaf.gathered.len() >= GATHERED {
            self.bind(place);
        }
    }

    /// Returns the sheaf that a job belongs to; none for what is no command, and for kinds beyond those kept apart.
    fn place(&mut self, job: &PastJob) -> Option<usize> {
        let known = self.places.get(&job.name).copied();
        let place = known.or_else(|| {
            let place = match signature(&[job.words()], &[], &self.key) {
                None => None,
                Some(signature) => match self.kinds.get(&signature) {
                    Some(place) => Some(*place),
                    None if self.sheaves.len() >= KINDS => return None,
                    None => {
                        self.kinds.insert(signature, self.sheaves.len());
                        self.sheaves.push(Sheaf::default());
                        Some(self.sheaves.len() - 1)
                    }
                },
            };
            // Names are many where each job has its own; they are kept for speed alone.
            if self.places.len() < 2 * KINDS {
                self.places.insert(job.name.clone(), place);
            }
            Some(place)
        });
        self.told.crowded += u64::from(place.is_none());
        self.told.skipped += u64::from(place == Some(None));
        place.flatten()
    }

    fn entries(mut self, class: Token) -> Vec<Entry> {
        let kinds = std::mem::take(&mut self.kinds).into_iter();
        let mut known: Vec<(Signature, Summary)> = kinds
            .filter_map(|(signature, place)| {
                Some((signature, std::mem::take(&mut self.sheaves.get_mut(place)?.summary)))
            })
            .filter(|(_, summary)| !summary.is_empty())
            .collect();
        known.sort_by(|a, b| b.1.count().cmp(&a.1.count()).then_with(|| a.0.cmp(&b.0)));
        let mut left = JUDGEMENTS;
        let judged = |(signature, summary): (Signature, Summary)| {
            let judgements = summary.kept().count().min(JUDGED_ANEW);
            let is_judged = judgements <= left;
            left = left.saturating_sub(judgements);
            (signature, summary, is_judged)
        };
        profiles(known.into_iter().map(judged).collect(), class)
    }
}

/// Makes profiles: judging the models takes three times as long as reading the report.
fn profiles(known: Vec<(Signature, Summary, bool)>, class: Token) -> Vec<Entry> {
    on_all_cores(known, |(signature, summary, is_judged)| {
        let profile = if is_judged { Profile::of(summary) } else { Profile::unjudged(summary) };
        Entry { signature, class, profile }
    })
}

/// Makes something of each, on all cores; returns it in their order.
pub(super) fn on_all_cores<T: Send, R: Send>(all: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get).min(MOST_WORKERS);
    let queue = Mutex::new(all.into_iter().enumerate());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let some = || {
        let mut made = Vec::new();
        while let Some((place, one)) = next() {
            made.push((place, work(one)));
        }
        made
    };
    let mut made: Vec<(usize, R)> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..workers).map(|_| scope.spawn(some)).collect();
        let mut made = some();
        for other in others {
            made.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        made
    });
    made.sort_unstable_by_key(|(place, _)| *place);
    made.into_iter().map(|(_, one)| one).collect()
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
        asked: job.asked_memory as f32,
        // Some systems write a limit that is none as a number that no clock reaches.
        asked_time: Some(job.asked_time as f32).filter(|asked| *asked <= LONGEST).unwrap_or_default(),
        cut: job.cut,
        trust: job.trust,
    }
}

/// Longest line that is read whole; of a longer one the rest is left out.
const LINE: usize = 1 << 20;

/// Opens a report, or standard input for `-`; returns it with the name that its rows have where they have none.
pub(super) fn open_report(path: &Path) -> Result<(Box<dyn BufRead>, String), Failure> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin().lock()), "stdin".to_owned()));
    }
    let stem = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    if frames::is_parquet(path) {
        return Ok((Box::new(frames::read(path).map_err(|error| failure(&error))?), stem));
    }
    let opened = File::open(path)
        .and_then(|file| if file.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) });
    let file = opened.map_err(|error| unreadable(&path.display().to_string(), &error))?;
    Ok((Box::new(BufReader::with_capacity(1 << 16, file)), stem))
}

fn unreadable(shown: &str, error: &io::Error) -> Failure {
    Failure::usage(format!("{shown} cannot be read")).because(error)
}

/// Looks at the beginnings of reports before anything is made of them: a mistake is told at once, and nothing is taken back. What can be
/// read once only is not looked at.
fn check(files: &[PathBuf]) -> Result<(), Failure> {
    for file in files {
        let is_read_once = std::fs::metadata(file).is_ok_and(|meta| !(meta.is_file() || meta.is_dir()));
        if file == Path::new("-") || is_read_once || frames::is_parquet(file) {
            continue;
        }
        let shown = file.display().to_string();
        let failed = |error: io::Error| unreadable(&shown, &error);
        let (mut input, stem) = open_report(file)?;
        if input.fill_buf().map_err(failed)?.starts_with(BEGINNING) {
            continue;
        }
        let mut line = Vec::new();
        while next_line(&mut input, &mut line).map_err(failed)? && line.trim_ascii().is_empty() {}
        let text = String::from_utf8_lossy(&line);
        begin(text.trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n']), (&shown, &stem))?;
    }
    Ok(())
}

/// What could not be learned from a report.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Left {
    /// Lines that told of nothing.
    pub(super) skipped: u64,
    /// Jobs that told nothing of memory, since that of one task says nothing of all.
    pub(super) partial: u64,
}

/// Begins to read a report, with its first line that has text.
fn begin(text: &str, (shown, stem): (&str, &str)) -> Result<Reader, Failure> {
    let hint = format!("`sacct -P -o ALL > {}` writes one, with the first line that names its columns", "jobs.txt");
    let begun = Reader::new(text, stem).ok_or_else(|| {
        let failure = Failure::new(ErrorKind::Invalid, format!("{shown} is no report that csync knows"));
        // `qacct` alone adds all up.
        let is_sum = text.starts_with("Total System Usage") || text.contains("WALLCLOCK");
        failure.hint(if is_sum { "this is a summary: `qacct -j > jobs.txt` tells of each job" } else { &hint })
    })?;
    match begun.lacks() {
        Some(lacks) => Err(Failure::new(ErrorKind::Invalid, format!("{shown} tells {lacks}")).hint(&hint)),
        None => Ok(begun),
    }
}

/// Reads a report, job by job, and how long each waited, where that is wanted; returns what could not be learned from.
pub(super) fn read(
    mut input: impl BufRead,
    (shown, stem): (&str, &str),
    mut take: impl FnMut(PastJob),
    mut wait: Option<&mut dyn FnMut(PastWait)>,
) -> Result<Left, Failure> {
    let mut reader: Option<Reader> = None;
    let mut line = Vec::new();
    while next_line(&mut input, &mut line).map_err(|error| unreadable(shown, &error))? {
        // A name in some old encoding spoils neither the line nor the file.
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\r', '\n']);
        // Spreadsheets mark the beginning of a file so.
        let text = if reader.is_none() { text.trim_start_matches('\u{feff}') } else { text };
        match &mut reader {
            None if text.trim().is_empty() => {}
            None => {
                let begun = begin(text, (shown, stem))?;
                reader = Some(if wait.is_some() { begun.with_waits() } else { begun });
            }
            Some(reader) => {
                reader.line(text).into_iter().for_each(&mut take);
                if let (Some(waited), Some(wait)) = (reader.waited(), &mut wait) {
                    wait(waited);
                }
            }
        }
    }
    // One without a line is no report either.
    let mut reader = reader.map_or_else(|| begin("", (shown, stem)), Ok)?;
    reader.end().into_iter().for_each(&mut take);
    if let (Some(waited), Some(wait)) = (reader.waited(), wait) {
        wait(waited);
    }
    Ok(Left { skipped: reader.skipped(), partial: reader.partial() })
}

/// Reads the next line, of a very long one only its beginning; returns false at the end.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    if input.by_ref().take(LINE as u64).read_until(b'\n', line)? == 0 {
        return Ok(false);
    }
    if line.len() == LINE && line.last() != Some(&b'\n') {
        loop {
            let (used, done) = match input.fill_buf()? {
                [] => (0, true),
                rest => rest.iter().position(|byte| *byte == b'\n').map_or((rest.len(), false), |at| (at + 1, true)),
            };
            input.consume(used);
            if done {
                break;
            }
        }
    }
    Ok(true)
}
