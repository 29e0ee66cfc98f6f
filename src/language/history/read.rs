//! The four formats, line by line.

use crate::language::history::PastJob;
use crate::language::history::amounts::{bytes, clock, minutes, spans};
use crate::model::observation::{Cut, Trust};

/// Whose report it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `sacct -P`, any columns.
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
        if line.split('|').any(|column| column == "JobID" || column == "JobIDRaw") {
            return Some(Self::Sacct);
        }
        let columns: Vec<&str> = line.split(['\t', ',']).collect();
        let has = |name: &str| columns.contains(&name);
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
    separator: char,
    header: Vec<String>,
    pending: Option<PastJob>,
    /// Whether what is pending ended in a way that tells what it needed.
    tells: bool,
    /// Lines that made no sense, or told of nothing that can be learned from.
    skipped: u64,
    rows: u64,
}

impl Reader {
    /// Starts with a report's first line; none when it is no report that is known. `name` is what its rows are called where
    /// they have no names: the file's.
    pub fn new(first: &str, name: &str) -> Option<Self> {
        let format = Format::of(first)?;
        let separator = match format {
            Format::Sacct => '|',
            _ if first.contains('\t') => '\t',
            _ => ',',
        };
        let header = first.split(separator).map(|column| column.trim().to_owned()).collect();
        Some(Self {
            format,
            name: name.to_owned(),
            separator,
            header,
            pending: None,
            tells: false,
            skipped: 0,
            rows: 0,
        })
    }

    /// Returns whose report it is.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns how many lines told of nothing that can be learned from.
    pub fn skipped(&self) -> u64 {
        self.skipped
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
        let job = self.pending.take()?;
        let of_use = self.tells && (job.memory > 0.0 || job.wall > 0.0);
        self.skipped += u64::from(!of_use);
        of_use.then_some(job)
    }

    fn row(&mut self, line: &str, read: fn(&Self, &[&str]) -> Option<PastJob>) -> Option<PastJob> {
        if line.trim().is_empty() {
            return None;
        }
        self.rows += 1;
        let cells: Vec<&str> = line.split(self.separator).collect();
        let job = read(self, &cells);
        self.skipped += u64::from(job.is_none());
        job
    }

    fn cell<'a>(&self, cells: &[&'a str], name: &str) -> Option<&'a str> {
        let place = self.header.iter().position(|column| column == name)?;
        cells.get(place).map(|cell| cell.trim()).filter(|cell| !cell.is_empty() && *cell != "-" && *cell != "NA")
    }

    fn sacct(&mut self, line: &str) -> Option<PastJob> {
        let cells: Vec<&str> = line.split('|').collect();
        let id = self.cell(&cells, "JobID").or_else(|| self.cell(&cells, "JobIDRaw"))?;
        let memory = self.cell(&cells, "MaxRSS").and_then(|text| bytes(text, 1.0)).unwrap_or(0.0);
        let cpu = self.cell(&cells, "TotalCPU").and_then(clock).unwrap_or(0.0);
        if id.contains('.') {
            // Steps have what the job itself has not; those of one job run after each other, mostly.
            let io =
                ["MaxDiskRead", "MaxDiskWrite"].map(|name| self.cell(&cells, name).and_then(|text| bytes(text, 1.0)));
            if let Some(job) = &mut self.pending {
                job.memory = job.memory.max(memory);
                job.cpu = job.cpu.max(cpu);
                job.io += io.into_iter().flatten().sum::<f64>();
            }
            return None;
        }
        let done = self.end();
        let (cut, tells) = match self.cell(&cells, "State").unwrap_or_default().split(' ').next() {
            Some("COMPLETED") => (Cut::Nothing, true),
            Some("TIMEOUT") => (Cut::Time, true),
            Some("OUT_OF_MEMORY") => (Cut::Memory, true),
            _ => (Cut::Nothing, false),
        };
        let wall = self.cell(&cells, "ElapsedRaw").and_then(|text| text.parse().ok());
        let limit =
            self.cell(&cells, "TimelimitRaw").and_then(|text| text.parse::<f64>().ok()).map(|minutes| minutes * 60.0);
        self.tells = tells;
        self.pending = Some(PastJob {
            id: id.to_owned(),
            name: self.cell(&cells, "JobName").unwrap_or(&self.name).to_owned(),
            at: self.cell(&cells, "End").and_then(minutes).unwrap_or(0),
            memory,
            wall: wall.or_else(|| self.cell(&cells, "Elapsed").and_then(clock)).unwrap_or(0.0),
            cpu,
            // `4000M`, `4Gc` (a core) and `4Gn` (a node) begin alike.
            asked_memory: self.cell(&cells, "ReqMem").and_then(|text| bytes(text, 1_048_576.0)).unwrap_or(0.0),
            asked_time: limit.or_else(|| self.cell(&cells, "Timelimit").and_then(clock)).unwrap_or(0.0),
            cut,
            // Sampled every half minute, of single steps.
            trust: Trust::Low,
            ..PastJob::default()
        });
        done
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
        let seconds = || value.trim_end_matches('s').parse::<f64>().ok().filter(|seconds| *seconds >= 0.0);
        match key {
            "jobnumber" => job.id = format!("{value}{}", job.id),
            "taskid" if value != "undefined" => job.id = format!("{}.{value}", job.id),
            "jobname" => value.clone_into(&mut job.name),
            "ru_wallclock" | "wallclock" => job.wall = seconds().unwrap_or(job.wall),
            "cpu" => job.cpu = seconds().unwrap_or(0.0),
            "maxrss" => job.memory = bytes(value, 1.0).filter(|memory| *memory > 0.0).unwrap_or(job.memory),
            "maxvmem" if job.memory <= 0.0 => job.memory = bytes(value, 1.0).unwrap_or(0.0),
            "failed" | "exit_status" => self.tells &= value.starts_with('0'),
            _ => {}
        }
        None
    }

    fn nextflow(&self, cells: &[&str]) -> Option<PastJob> {
        let cell = |name| self.cell(cells, name);
        if cell("status").is_some_and(|status| status != "COMPLETED") || cell("exit").is_some_and(|exit| exit != "0") {
            return None;
        }
        let amount = |name| cell(name).and_then(|text| bytes(text, 1.0)).unwrap_or(0.0);
        let wall = cell("realtime").and_then(spans).unwrap_or(0.0);
        let share = cell("%cpu").and_then(|text| text.trim_end_matches('%').parse::<f64>().ok()).unwrap_or(0.0);
        let (peak, last) = (amount("peak_rss"), amount("rss"));
        let job = PastJob {
            id: cell("hash").or_else(|| cell("task_id")).unwrap_or_default().to_owned(),
            name: cell("process").or_else(|| cell("name")).unwrap_or(&self.name).to_owned(),
            at: cell("complete")
                .and_then(|text| text.parse::<f64>().ok().map(|ms| (ms / 6e4) as u32).or_else(|| minutes(text)))
                .unwrap_or(0),
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

    fn snakemake(&self, cells: &[&str]) -> Option<PastJob> {
        let number = |name| self.cell(cells, name).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        let megabytes = |name| number(name) * 1_048_576.0;
        let job = PastJob {
            id: self.rows.to_string(),
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
