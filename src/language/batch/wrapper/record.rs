//! What a member says about its start and its end.

use crate::language::batch::wrapper::unescape;
use crate::model::resources::{Allocation, Flow, Io, Meter, Usage};
use crate::model::units::{Bytes, Timestamp};

/// Longest word that is kept of what a host says about itself.
const LONGEST: usize = 200;

/// What is known of a member from its own record.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The submission's directory, its last name.
    pub submission: String,
    /// The member's directory, its last name.
    pub member: String,
    /// Where it runs.
    pub host: String,
    /// When it started, by that host's clock.
    pub started: Timestamp,
    /// The wrapper's process.
    pub process: Process,
    /// The batch system's id: `12_3`, `12[3].server`, `12.3`; none without a batch system.
    pub batch: Option<String>,
    /// How often the batch system started it again.
    pub restarts: u32,
    /// What the batch system granted, as far as it says.
    pub granted: Granted,
    /// Where it stands.
    pub stage: Stage,
}

/// A process, named beyond reuse of its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it started, in ticks since boot.
    pub birth: u64,
    /// Which boot.
    pub boot: String,
}

impl Process {
    /// Reads what `detach` printed.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let process = Self {
            pid: words.next()?.parse().ok()?,
            birth: words.next()?.parse().ok()?,
            boot: words.next()?.to_owned(),
        };
        words.next().is_none().then_some(process)
    }
}

/// What the batch system's variables say was granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// The node, of several the first, as the batch system calls it.
    pub node: Option<String>,
    /// How many nodes.
    pub nodes: Option<u32>,
    /// Cores on this node.
    pub cpus: Option<u32>,
    /// Memory on this node.
    pub mem: Option<Bytes>,
    /// GPUs on this node.
    pub gpus: Option<u32>,
    /// Which GPUs.
    pub gpu_ids: Option<String>,
}

/// Where a member stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// It runs, or was killed together with its wrapper.
    Started,
    /// It ended.
    Ended(Box<Ended>),
}

/// How a member ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// Why.
    pub how: How,
    /// When, by that host's clock.
    pub at: Timestamp,
    /// Signals that reached the wrapper, without `SIG`, and after how many seconds: what a batch system sends before it kills.
    pub signals: Vec<(String, u64)>,
    /// What it used.
    pub usage: Usage,
    /// Processes that the control group lost to its memory limit; none where it cannot be read.
    pub oom_kills: Option<u64>,
    /// Processes that it left behind, and that were ended.
    pub left: u32,
    /// Bytes of stdout and of stderr beyond the cap.
    pub dropped: (u64, u64),
    /// Something that it printed could not be written: the disk was full.
    pub unwritten: bool,
    /// The directory of an output, which was there when it began and was not when it ended.
    pub gone: Option<String>,
}

/// Why a member ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// By itself or by a signal (`128 + n`), and its outputs are there if this is 0.
    Exit(i32),
    /// It ended well, and these outputs are not there.
    MissingOutputs(Vec<String>),
    /// It was not started: these inputs are not there.
    MissingInputs(Vec<String>),
    /// It could not be started.
    Spawn(String),
    /// The wrapper ended it at its walltime; the code it ended with.
    Walltime(i32),
    /// It was cancelled by `cancel`; the code it ended with, unless it had not started.
    Cancelled(Option<i32>),
    /// The wrapper was killed, and the job was ended after it.
    WrapperKilled,
}

impl Record {
    /// Reads a record. None when it is not whole: half written, or no record at all.
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = Fields::default();
        let mut lines = text.lines();
        (lines.next()? == "csync=1").then_some(())?;
        let mut whole = false;
        for line in lines {
            let (key, value) = line.split_once('=')?;
            whole = key == "end";
            fields.take(key, value);
        }
        whole.then(|| fields.record()).flatten()
    }

    /// Returns where its batch system ran it and what it granted it there; none without one, where the host is all there is.
    pub fn allocation(&self) -> Option<Allocation> {
        self.batch.as_ref()?;
        let Granted { node, nodes, cpus, mem, gpus, gpu_ids } = self.granted.clone();
        let node = shown(&node.unwrap_or_else(|| self.host.clone()));
        let gpu_ids = gpu_ids.map(|ids| shown(&ids));
        Some(Allocation { node, nodes: nodes.unwrap_or(1).max(1), cpus, mem, gpus, gpu_ids })
    }
}

/// Takes a host's word as text that can be shown: no control characters, not endless.
pub fn shown(word: &str) -> String {
    word.chars().filter(|letter| !letter.is_control()).take(LONGEST).collect()
}

/// The lines of a record, read; those of later versions are passed over.
#[derive(Default)]
struct Fields {
    submission: String,
    member: String,
    host: String,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    pid: Option<u32>,
    birth: Option<u64>,
    boot: String,
    batch: Option<String>,
    restarts: u32,
    granted: Granted,
    state: String,
    how: String,
    code: Option<i32>,
    why: String,
    missing: Vec<String>,
    signals: Vec<(String, u64)>,
    cpu: Option<(f64, f64)>,
    proc_cpu: Option<(f64, f64)>,
    proc_peak: Option<u64>,
    cgroup_peak: Option<u64>,
    io: Option<(u64, u64)>,
    proc_io: Option<(u64, u64)>,
    device_io: Option<(u64, u64)>,
    oom_kills: Option<u64>,
    left: u32,
    dropped: (u64, u64),
    unwritten: bool,
    gone: Option<String>,
}

impl Fields {
    fn take(&mut self, key: &str, value: &str) {
        match key {
            "submission" => self.submission = unescape(value),
            "member" => self.member = unescape(value),
            "host" => self.host = unescape(value),
            "started" => self.started = timestamp(value),
            "pid" => self.pid = value.parse().ok(),
            "birth" => self.birth = value.parse().ok(),
            "boot" => value.clone_into(&mut self.boot),
            "batch" => self.batch = Some(unescape(value)),
            "restarts" => self.restarts = value.parse().unwrap_or(0),
            "node" => self.granted.node = Some(unescape(value)).filter(|node| !node.is_empty()),
            "nodes" => self.granted.nodes = value.parse().ok(),
            "granted_cpus" => self.granted.cpus = value.parse().ok(),
            "granted_mem" => self.granted.mem = value.parse().ok().filter(|&bytes| bytes > 0).map(Bytes),
            "granted_gpus" => self.granted.gpus = value.parse().ok(),
            "gpu_ids" => self.granted.gpu_ids = Some(unescape(value)),
            "state" => value.clone_into(&mut self.state),
            _ => self.take_end(key, value),
        }
    }

    fn take_end(&mut self, key: &str, value: &str) {
        match key {
            "how" => value.clone_into(&mut self.how),
            "ended" => self.ended = timestamp(value),
            "code" => self.code = value.parse().ok(),
            "why" => unescape(value).trim_end().clone_into(&mut self.why),
            "missing_input" | "missing_output" => self.missing.push(unescape(value)),
            "signal" => {
                let after =
                    value.split_once(' ').and_then(|(name, after)| Some((name.to_owned(), after.parse().ok()?)));
                self.signals.extend(after);
            }
            "cpu" => self.cpu = times(value),
            "proc_cpu" => self.proc_cpu = ticks(value),
            "proc_peak" => self.proc_peak = value.parse().ok(),
            "cgroup_peak" => self.cgroup_peak = value.parse().ok(),
            "io" => self.io = between(value),
            "proc_io" => self.proc_io = pair(value).filter(|seen| *seen != (0, 0)),
            "device_io" => self.device_io = pair(value),
            "oom_kills" => self.oom_kills = value.parse().ok(),
            "left" => self.left = value.parse().unwrap_or(0),
            "unwritten" => self.unwritten = true,
            "gone_dir" => self.gone = Some(unescape(value)),
            "stdout_dropped" => self.dropped.0 = value.parse().unwrap_or(0),
            "stderr_dropped" => self.dropped.1 = value.parse().unwrap_or(0),
            _ => {}
        }
    }

    fn record(self) -> Option<Record> {
        let started = self.started?;
        let process = Process { pid: self.pid?, birth: self.birth?, boot: self.boot.clone() };
        let stage = match self.state.as_str() {
            "started" => Stage::Started,
            "ended" => Stage::Ended(Box::new(Ended {
                how: self.how()?,
                at: self.ended?,
                usage: self.usage(started),
                signals: self.signals,
                oom_kills: self.oom_kills,
                left: self.left,
                dropped: self.dropped,
                unwritten: self.unwritten,
                gone: self.gone,
            })),
            _ => return None,
        };
        let Self { submission, member, host, batch, restarts, granted, .. } = self;
        Some(Record { submission, member, host, started, process, batch, restarts, granted, stage })
    }

    fn how(&self) -> Option<How> {
        Some(match self.how.as_str() {
            "exit" => How::Exit(self.code?),
            "missing-output" => How::MissingOutputs(self.missing.clone()),
            "missing-input" => How::MissingInputs(self.missing.clone()),
            "spawn" => How::Spawn(self.why.clone()),
            "walltime" => How::Walltime(self.code?),
            "cancelled" => How::Cancelled(self.code),
            "wrapper-killed" => How::WrapperKilled,
            _ => return None,
        })
    }

    /// The better of both measures of CPU: what was waited for counts exactly, what ran away was seen by samples alone.
    fn usage(&self, started: Timestamp) -> Usage {
        let (waited, seen) = (self.cpu.unwrap_or_default(), self.proc_cpu.unwrap_or_default());
        let (user, system) = if seen.0 + seen.1 > waited.0 + waited.1 { seen } else { waited };
        let (peak, meter) = match (self.cgroup_peak, self.proc_peak) {
            (Some(peak), _) => (peak, Meter::Cgroup),
            (None, Some(peak)) => (peak, Meter::Proc),
            (None, None) => (0, Meter::Rusage),
        };
        let wall = self.ended.map_or(0.0, |ended| ended.since(started).as_secs_f64());
        Usage { wall, user, system, peak_memory: Bytes(peak), meter, io: self.moved() }
    }

    /// Likewise the larger of both counts of what was read and written; what devices saw where there is neither.
    fn moved(&self) -> Option<Io> {
        let of = |counted: Option<(u64, u64)>, flow| {
            counted.map(|(read, written)| Io { read: Bytes(read), written: Bytes(written), flow })
        };
        let (waited, seen) = (of(self.io, Flow::Calls), of(self.proc_io, Flow::Sampled));
        let larger = seen.filter(|seen| waited.is_none_or(|waited| waited.total() < seen.total())).or(waited);
        larger.or_else(|| of(self.device_io, Flow::Devices))
    }
}

fn timestamp(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let micros: i64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    Some(Timestamp(seconds.parse::<i64>().ok()?.checked_mul(1_000_000)?.checked_add(micros)?))
}

/// User and system seconds between two lines of `times`: `0m1.23s 0m0.04s 0m9.00s 0m0.10s`.
fn times(text: &str) -> Option<(f64, f64)> {
    let mut fields = text.split_ascii_whitespace().map(|field| {
        let (minutes, seconds) = field.trim_end_matches('s').split_once('m')?;
        Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?)
    });
    let mut next = || fields.next().flatten();
    let (user, system) = (next()?, next()?);
    Some(((next()? - user).max(0.0), (next()? - system).max(0.0)))
}

/// Two numbers.
fn pair(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?)).filter(|_| numbers.next().is_none())
}

/// What was read and written between two counts: `READ WRITTEN READ WRITTEN`.
fn between(text: &str) -> Option<(u64, u64)> {
    let numbers: Vec<u64> = text.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let [read, written, then_read, then_written] = numbers[..] else { return None };
    Some((then_read.checked_sub(read)?, then_written.checked_sub(written)?))
}

/// User and system seconds from ticks: `123 45 100`, the last being ticks per second.
fn ticks(text: &str) -> Option<(f64, f64)> {
    let mut numbers = text.split_ascii_whitespace().map(|word| word.parse::<f64>().ok());
    let (user, system, hertz) = (numbers.next()??, numbers.next()??, numbers.next()??);
    (hertz > 0.0).then(|| (user / hertz, system / hertz))
}
