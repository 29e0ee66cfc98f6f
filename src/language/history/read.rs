//! The four formats, line by line.

use crate::language::batch::steps::{of_all, tasks};
use crate::language::history::amounts::{Moment, bytes, clock, minutes, moment, spans};
use crate::language::history::{PastJob, PastWait};
use crate::model::observation::{Cut, Trust};

/// Whose report it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `sacct -P` or `sacct -p`, any columns; also as a database exports them, separated by commas.
    Sacct,
    /// `qacct -j`.
    Qacct,
    /// Nextflow's trace file.
    Nextflow,
    /// A benchmark file of Snakemake.
    Snakemake,
}

impl Format {
    /// Recognizes a report by its first line with text; none when it is no report that is known.
    pub fn of(line: &str) -> Option<Self> {
        if line.starts_with("===") {
            return Some(Self::Qacct);
        }
        let has = |separator: &[char], name: &str| line.split(separator).any(|column| column.trim() == name);
        if ["JobID", "JobIDRaw", "job_id"].iter().any(|name| has(&['|', ','], name)) {
            return Some(Self::Sacct);
        }
        let has = |name| has(&['\t', ','], name);
        if has("max_rss") && has("s") {
            return Some(Self::Snakemake);
        }
        (has("realtime") && (has("process") || has("name"))).then_some(Self::Nextflow)
    }
}

/// Reads a report line by line.
#[derive(Debug)]
pub struct Reader {
    format: Format,
    /// What the report's rows are called where they have no names.
    name: String,
    separator: u8,
    header: Vec<String>,
    places: Places,
    /// Where the cells of the line begin and end.
    cells: Vec<(usize, usize)>,
    pending: Option<PastJob>,
    /// Whether what is pending ended in a way that tells what it needed.
    tells: bool,
    /// Of Slurm: what is known of the steps of what is pending.
    steps: Steps,
    /// What the last job waited, where waits are asked for.
    waits: Option<Waits>,
    /// Lines that made no sense, or told of nothing that can be learned from.
    skipped: u64,
    /// Jobs of which it is not told how many tasks the memory is of.
    partial: u64,
}

/// What tells how many tasks the memory of a step is of.
#[derive(Clone, Copy, Debug, Default)]
struct Steps {
    /// Whether the job has one core, which is one task.
    is_one_core: bool,
    /// Whether a step told of the memory of one of its tasks, and not how many there were.
    is_partial: bool,
    /// Whether a step told what one of its tasks read or wrote, and not how many there were.
    is_io_partial: bool,
}

/// What was read of how long a job waited.
#[derive(Debug, Default)]
struct Waits {
    found: Option<PastWait>,
    /// Of Grid Engine, whose jobs have many lines: the job so far, when it was submitted, and when it started.
    pending: PastWait,
    submitted: Option<Moment>,
    started: Option<Moment>,
}

/// Longest wait that is believed: a year.
const LONGEST: i64 = 366 * 86_400;

impl Reader {
    /// Starts with a report's first line; none when it is no report that is known. `name` is what its rows are called where
    /// they have no names: the file's.
    pub fn new(first: &str, name: &str) -> Option<Self> {
        let format = Format::of(first)?;
        let separator = match format {
            Format::Sacct if first.contains('|') => b'|',
            _ if first.contains('\t') => b'\t',
            _ => b',',
        };
        let header: Vec<String> =
            first.split(char::from(separator)).map(|column| column.trim().trim_matches('"').to_owned()).collect();
        Some(Self {
            format,
            name: name.to_owned(),
            separator,
            places: Places::of(&header),
            header,
            cells: Vec::new(),
            pending: None,
            tells: false,
            steps: Steps::default(),
            waits: None,
            skipped: 0,
            partial: 0,
        })
    }

    /// Has it read how long jobs waited too, which [`Reader::waited`] returns.
    #[must_use]
    pub fn with_waits(self) -> Self {
        Self { waits: Some(Waits::default()), ..self }
    }

    /// Returns how long a job waited that the last line told of, once; also of one that tells nothing else.
    pub fn waited(&mut self) -> Option<PastWait> {
        self.waits.as_mut()?.found.take()
    }

    /// Returns what the columns lack, when nothing can be learned from them.
    pub fn lacks(&self) -> Option<&'static str> {
        let has = |name: &str| self.header.iter().any(|column| column == name);
        let places = &self.places;
        match self.format {
            Format::Sacct if places.wall.is_none() && places.wall_raw.is_none() && places.memory.is_none() => {
                Some("neither run times (Elapsed) nor memory (MaxRSS)")
            }
            Format::Sacct if places.state.is_none() => {
                Some("no State: what failed cannot be told from what needed that much")
            }
            Format::Nextflow if !["peak_rss", "rss", "realtime"].iter().any(|name| has(name)) => {
                Some("neither realtime nor peak_rss")
            }
            _ => None,
        }
    }

    /// Returns whose report it is.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns how many lines told of nothing that can be learned from.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Returns how many jobs it returned without their memory, since it is not told of how many tasks that is.
    pub fn partial(&self) -> u64 {
        self.partial
    }

    /// Reads a line; returns a job when one is complete.
    pub fn line(&mut self, line: &str) -> Option<PastJob> {
        match self.format {
            Format::Sacct => self.sacct(line),
            Format::Qacct => self.qacct(line),
            Format::Nextflow => self.row(line, Self::nextflow),
            Format::Snakemake => self.row(line, Self::snakemake),
        }
    }

    /// Returns the job that the report ended with.
    pub fn end(&mut self) -> Option<PastJob> {
        if let Some(waits) = self.waits.as_mut().filter(|_| self.format == Format::Qacct) {
            waits.close();
        }
        let mut job = self.pending.take()?;
        // Grid Engine says of what it killed that it failed, and not for which of its limits.
        if self.format == Format::Qacct && !self.tells && job.asked_time > 0.0 && job.wall >= job.asked_time {
            (job.cut, self.tells) = (Cut::Time, true);
        }
        let Steps { is_partial: partial, is_io_partial, .. } = std::mem::take(&mut self.steps);
        if partial {
            job.memory = 0.0;
        }
        if is_io_partial {
            job.io = 0.0;
        }
        let of_use = self.tells && (job.memory > 0.0 || job.wall > 0.0);
        self.skipped += u64::from(!of_use);
        self.partial += u64::from(of_use && partial);
        of_use.then_some(job)
    }

    fn row(&mut self, line: &str, read: fn(&Self, &str, &[&str]) -> Option<PastJob>) -> Option<PastJob> {
        if line.trim().is_empty() {
            return None;
        }
        let cells: Vec<&str> = line.split(char::from(self.separator)).map(|cell| cell.trim_matches('"')).collect();
        let job = read(self, line.trim(), &cells);
        self.skipped += u64::from(job.is_none());
        job
    }

    fn cell<'a>(&self, cells: &[&'a str], name: &str) -> Option<&'a str> {
        let place = self.header.iter().position(|column| column == name)?;
        told(cells.get(place)?)
    }

    /// Returns a cell of the line that was split last.
    fn at<'a>(&self, line: &'a str, place: Option<usize>) -> Option<&'a str> {
        let (from, to) = *self.cells.get(place?)?;
        told(line.get(from..to)?)
    }

    fn sacct(&mut self, line: &str) -> Option<PastJob> {
        split(line, self.separator, &mut self.cells);
        let places = self.places;
        let Some(id) = self.at(line, places.id) else {
            self.skipped += u64::from(!line.trim().is_empty());
            return None;
        };
        let memory = self.at(line, places.memory).and_then(|text| bytes(text, 1.0)).unwrap_or(0.0);
        let cpu = self.at(line, places.cpu).and_then(clock).unwrap_or(0.0);
        if let Some((_, step)) = id.split_once('.') {
            // Steps have what the job itself has not; those of one job run after each other, mostly.
            let tasks = tasks(step, self.at(line, places.tasks).and_then(sound), self.steps.is_one_core);
            let amount = |place| self.at(line, place).and_then(|text| bytes(text, 1.0)).unwrap_or(0.0);
            let mean = amount(places.mean);
            let io = [places.read, places.write].map(|(largest, mean)| (amount(largest), amount(mean)));
            self.steps.is_partial |= memory > 0.0 && tasks.is_none();
            self.steps.is_io_partial |= tasks.is_none() && io.iter().any(|(largest, _)| *largest > 0.0);
            if let Some(job) = &mut self.pending {
                let tasks = tasks.unwrap_or(1.0);
                job.memory = job.memory.max(of_all(memory, mean, tasks));
                job.cpu = job.cpu.max(cpu);
                job.io += io.iter().map(|(largest, mean)| of_all(*largest, *mean, tasks)).sum::<f64>();
            }
            return None;
        }
        let done = self.end();
        let state = self.at(line, places.state).unwrap_or_default();
        let (cut, tells) = match state.split(' ').next() {
            Some("COMPLETED" | "CD") => (Cut::Nothing, true),
            Some("TIMEOUT" | "TO") => (Cut::Time, true),
            Some("OUT_OF_MEMORY" | "OOM") => (Cut::Memory, true),
            _ => (Cut::Nothing, false),
        };
        self.tells = tells;
        let number = |text: Option<&str>| text.and_then(sound);
        let wall = number(self.at(line, places.wall_raw)).or_else(|| self.at(line, places.wall).and_then(clock));
        let limit = number(self.at(line, places.limit_minutes)).map(|minutes| minutes * 60.0);
        let limit = limit.or_else(|| number(self.at(line, places.limit_seconds)));
        let told_cores = number(self.at(line, places.cores)).filter(|cores| *cores > 0.0);
        let cores = told_cores.unwrap_or(1.0).max(1.0);
        self.steps = Steps { is_one_core: told_cores == Some(1.0), ..Steps::default() };
        let asked_memory = self.at(line, places.asked).and_then(|text| asked(text, cores)).unwrap_or(0.0);
        let asked_time = limit.or_else(|| self.at(line, places.limit).and_then(clock)).unwrap_or(0.0);
        if self.waits.is_some() {
            let found = self.sacct_wait(line, (id, state), wall.unwrap_or(0.0), (cores, asked_time));
            self.waits = Some(Waits { found, ..Waits::default() });
        }
        self.pending = Some(PastJob {
            id: id.to_owned(),
            name: self.at(line, places.name).unwrap_or(&self.name).to_owned(),
            at: self.at(line, places.end).and_then(minutes).unwrap_or(0),
            memory,
            wall: wall.unwrap_or(0.0),
            cpu,
            asked_memory,
            asked_time,
            cut,
            // Sampled every half minute, of single steps.
            trust: Trust::Low,
            ..PastJob::default()
        });
        done
    }

    /// Reads how long a job of Slurm waited, of the line that was split last.
    fn sacct_wait(&self, line: &str, (id, state): (&str, &str), ran: f64, asked: (f64, f64)) -> Option<PastWait> {
        let places = self.places;
        let at = |place| self.at(line, place).and_then(moment);
        // Who is called off before he starts has a time of that end for a start, in some versions.
        let never = ["PENDING", "PD", "CANCELLED", "CA", "DEADLINE", "DL", "REVOKED", "RV"];
        if ran <= 0.0 && state.split(' ').next().is_none_or(|state| never.contains(&state)) {
            return None;
        }
        let (submitted, started) = (at(places.submit)?, at(places.start)?);
        // What waits for other jobs, for a time or for somebody to release it does not wait for the queue.
        let since = match places.eligible {
            Some(_) => Some(at(places.eligible)?).filter(|eligible| eligible.order() > submitted.order()),
            None => None,
        };
        // Members of an array and parts of a job have one id, and are one lesson.
        let whole = id.find(['_', '+', '[']).and_then(|at| id.get(..at)).unwrap_or(id);
        let wait = PastWait {
            job: whole.to_owned(),
            name: self.at(line, places.name).unwrap_or_default().to_owned(),
            queue: self.at(line, places.partition).map(str::to_owned),
            cores: asked.0 as u32,
            asked: asked.1,
            ..PastWait::default()
        };
        wait.between(submitted, since.unwrap_or(submitted), started)
    }

    fn qacct(&mut self, line: &str) -> Option<PastJob> {
        if line.starts_with("===") {
            let done = self.end();
            self.tells = true;
            self.pending = Some(PastJob { name: self.name.clone(), trust: Trust::Fair, ..PastJob::default() });
            return done;
        }
        // The first line of a report began its first block.
        let job = self.pending.get_or_insert_with(|| {
            self.tells = true;
            PastJob { name: self.name.clone(), trust: Trust::Fair, ..PastJob::default() }
        });
        let (key, value) = line.split_once(char::is_whitespace)?;
        let value = value.trim();
        if let Some(waits) = &mut self.waits {
            waits.qacct(key, value);
        }
        let seconds = || sound(value.trim_end_matches('s'));
        match key {
            "jobnumber" => job.id = format!("{value}{}", job.id),
            "taskid" if value != "undefined" => job.id = format!("{}.{value}", job.id),
            "jobname" => value.clone_into(&mut job.name),
            "ru_wallclock" | "wallclock" => job.wall = seconds().unwrap_or(job.wall),
            "end_time" => job.at = ended(value),
            "cpu" => job.cpu = seconds().unwrap_or(0.0),
            "maxrss" => job.memory = bytes(value, 1.0).filter(|memory| *memory > 0.0).unwrap_or(job.memory),
            "maxvmem" if job.memory <= 0.0 => job.memory = bytes(value, 1.0).unwrap_or(0.0),
            "category" | "hard_resources" => {
                job.asked_time = time_of(value).unwrap_or(job.asked_time);
                job.asked_memory = memory_of(value).unwrap_or(job.asked_memory);
            }
            "failed" | "exit_status" => self.tells &= value.starts_with('0'),
            _ => {}
        }
        None
    }

    fn nextflow(&self, line: &str, cells: &[&str]) -> Option<PastJob> {
        let cell = |name| self.cell(cells, name);
        if cell("status").is_some_and(|status| status != "COMPLETED") || cell("exit").is_some_and(|exit| exit != "0") {
            return None;
        }
        let amount = |name| cell(name).and_then(|text| bytes(text, 1.0)).unwrap_or(0.0);
        let wall = cell("realtime").and_then(spans).unwrap_or(0.0);
        let share = cell("%cpu").and_then(|text| sound(text.trim_end_matches('%'))).unwrap_or(0.0);
        let (peak, last) = (amount("peak_rss"), amount("rss"));
        let at = cell("complete")
            .and_then(|text| text.parse::<f64>().ok().map(|ms| (ms / 6e4) as u32).or_else(|| minutes(text)))
            .unwrap_or(0);
        // Every run of a pipeline numbers its tasks anew.
        let number = cell("task_id").filter(|_| at > 0);
        let job = PastJob {
            id: cell("hash").or(number).unwrap_or(line).to_owned(),
            name: cell("process").or_else(|| cell("name")).unwrap_or(&self.name).to_owned(),
            at,
            input: amount("rchar"),
            memory: if peak > 0.0 { peak } else { last },
            wall,
            cpu: wall * share / 100.0,
            io: amount("rchar") + amount("wchar"),
            asked_memory: amount("memory"),
            asked_time: cell("time").and_then(spans).unwrap_or(0.0),
            trust: Trust::Fair,
            ..PastJob::default()
        };
        (job.memory > 0.0 || job.wall > 0.0).then_some(job)
    }

    fn snakemake(&self, line: &str, cells: &[&str]) -> Option<PastJob> {
        let number = |name| self.cell(cells, name).and_then(sound).unwrap_or(0.0);
        let megabytes = |name| number(name) * 1_048_576.0;
        let job = PastJob {
            // Many files of one name lie in directories of their own, each with one row: nothing but what it says tells it from others.
            id: line.to_owned(),
            name: self.name.clone(),
            memory: megabytes("max_rss"),
            wall: number("s"),
            cpu: number("cpu_time"),
            io: megabytes("io_in") + megabytes("io_out"),
            trust: Trust::Fair,
            ..PastJob::default()
        };
        (job.wall > 0.0).then_some(job)
    }
}

impl PastWait {
    /// Takes from when to when it waited; none where that is nothing that can be.
    fn between(self, submitted: Moment, since: Moment, started: Moment) -> Option<Self> {
        let seconds = started.order() - since.order();
        (0..=LONGEST).contains(&seconds).then(|| Self {
            submitted: submitted.order(),
            since: since.seconds,
            ahead: since.ahead,
            seconds: seconds as f64,
            cores: self.cores.max(1),
            ..self
        })
    }
}

impl Waits {
    /// Takes in a line of a job of Grid Engine.
    fn qacct(&mut self, key: &str, value: &str) {
        let wait = &mut self.pending;
        match key {
            "jobnumber" => value.clone_into(&mut wait.job),
            "jobname" => value.clone_into(&mut wait.name),
            "qname" => wait.queue = told(value).map(str::to_owned),
            "slots" => wait.cores = value.parse().unwrap_or(1),
            "qsub_time" | "submission_time" => self.submitted = moment(value),
            "start_time" => self.started = moment(value),
            "category" => wait.asked = time_of(value).unwrap_or(0.0),
            _ => {}
        }
    }

    /// Ends a job of Grid Engine.
    fn close(&mut self) {
        let Self { pending, submitted, started, .. } = std::mem::take(self);
        let ends = submitted.zip(started).filter(|_| !pending.job.is_empty());
        self.found = ends.and_then(|(submitted, started)| pending.between(submitted, submitted, started));
    }
}

/// Where the columns stand that are read of accounting records.
#[derive(Clone, Copy, Debug, Default)]
struct Places {
    id: Option<usize>,
    name: Option<usize>,
    state: Option<usize>,
    partition: Option<usize>,
    submit: Option<usize>,
    eligible: Option<usize>,
    start: Option<usize>,
    end: Option<usize>,
    wall_raw: Option<usize>,
    wall: Option<usize>,
    limit_minutes: Option<usize>,
    limit_seconds: Option<usize>,
    limit: Option<usize>,
    memory: Option<usize>,
    mean: Option<usize>,
    tasks: Option<usize>,
    asked: Option<usize>,
    cpu: Option<usize>,
    cores: Option<usize>,
    /// What the largest task of a step read, and their mean.
    read: (Option<usize>, Option<usize>),
    write: (Option<usize>, Option<usize>),
}

impl Places {
    /// Finds the columns by their names in `sacct` and in the exports of accounting databases.
    fn of(header: &[String]) -> Self {
        let at = |names: &[&str]| names.iter().find_map(|name| header.iter().position(|column| column == name));
        Self {
            id: at(&["JobID", "JobIDRaw", "job_id"]),
            name: at(&["JobName", "name", "job_name"]),
            state: at(&["State", "state"]),
            partition: at(&["Partition", "partition"]),
            submit: at(&["Submit", "submit_time"]),
            eligible: at(&["Eligible", "eligible_time"]),
            start: at(&["Start", "start_time"]),
            end: at(&["End", "end_time"]),
            wall_raw: at(&["ElapsedRaw", "run_time"]),
            wall: at(&["Elapsed"]),
            limit_minutes: at(&["TimelimitRaw"]),
            limit_seconds: at(&["wallclock_req"]),
            limit: at(&["Timelimit"]),
            memory: at(&["MaxRSS"]),
            mean: at(&["AveRSS"]),
            tasks: at(&["NTasks"]),
            asked: at(&["ReqMem", "mem_req"]),
            cpu: at(&["TotalCPU"]),
            cores: at(&["AllocCPUS", "ReqCPUS", "processors_req"]),
            read: (at(&["MaxDiskRead"]), at(&["AveDiskRead"])),
            write: (at(&["MaxDiskWrite"]), at(&["AveDiskWrite"])),
        }
    }
}

/// Reads when a job of Grid Engine ended, in minutes since 1970; 0 where that is not told. Some kinds write the beginning of 1970 for it,
/// as their clocks show that.
fn ended(text: &str) -> u32 {
    let at = moment(text).filter(|at| at.order() > 86_400);
    at.and_then(|at| u32::try_from(at.order().div_euclid(60)).ok()).unwrap_or(0)
}

/// Reads a number of something: neither below zero nor endless, which is none.
fn sound(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)
}

/// Returns a cell that says something.
fn told(cell: &str) -> Option<&str> {
    Some(cell.trim()).filter(|cell| !cell.is_empty() && *cell != "-" && *cell != "NA")
}

/// Notes where the cells of a line begin and end; a separator inside quotes is none.
fn split(line: &str, separator: u8, cells: &mut Vec<(usize, usize)>) {
    cells.clear();
    let (mut from, mut quoted) = (0, false);
    let mut end = |from: usize, to: usize| {
        let whole = line.as_bytes().get(from..to).unwrap_or_default();
        let inner = whole.len() > 1 && whole.first() == Some(&b'"') && whole.last() == Some(&b'"');
        cells.push(if inner { (from + 1, to - 1) } else { (from, to) });
    };
    for (at, byte) in line.bytes().enumerate() {
        if byte == b'"' && separator == b',' {
            quoted = !quoted;
        } else if byte == separator && !quoted {
            end(from, at);
            from = at + 1;
        }
    }
    end(from, line.len());
}

/// Finds the time that a job of Grid Engine asked for, in its `category`: `-l h_rt=5,h_vmem=2G -pe smp 2`.
fn time_of(category: &str) -> Option<f64> {
    category.split([' ', ',']).find_map(|word| word.strip_prefix("h_rt=")).and_then(clock)
}

/// Finds the memory that a job of Grid Engine asked for there: so much for each slot. None where it takes as many as there are.
fn memory_of(category: &str) -> Option<f64> {
    let each = category.split([' ', ',']).find_map(|word| word.strip_prefix("h_vmem="))?;
    let mut words = category.split_whitespace().skip_while(|word| *word != "-pe").skip(2);
    let slots = words.next().map_or(Some(1.0), |slots| slots.parse::<u32>().ok().map(f64::from))?;
    Some(bytes(each, 1.0)? * slots)
}

/// Reads the memory that a job asked for: `4000M`, `4Gc` for each core, `4Gn` for each node.
fn asked(text: &str, cores: f64) -> Option<f64> {
    let whole = bytes(text, 1_048_576.0)?;
    Some(if text.ends_with('c') { whole * cores } else { whole })
}
