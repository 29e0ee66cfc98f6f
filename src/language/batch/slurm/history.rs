//! `sacct`.

use std::collections::HashMap;

use crate::language::batch::call::{Ask, could_not_ask, ended_from_outside, limited, preamble};
use crate::language::batch::slurm::queue::identify;
use crate::language::batch::steps::{of_all, tasks};
use crate::language::batch::table::{Header, iso_time};
use crate::language::batch::text::{clock_ms, count, given, memory};
use crate::model::batch::{BatchId, CouldNotAsk, Ending, EndingClass, JobName, Members, Reading, Reply};
use crate::model::units::{Bytes, Walltime};

/// The columns asked for; the name last, for it is free text.
const FORMAT: &str = "JobID,State,ExitCode,DerivedExitCode,Start,End,ElapsedRaw,TotalCPU,MaxRSS,ReqMem,AllocCPUS,\
                      NTasks,AveRSS,NodeList,Reason,JobName";

/// Returns the command that asks the history, with every start of a job that was sent back to the queue.
pub fn history(ask: Ask<'_>) -> String {
    let mut words = vec!["sacct".to_owned(), "-P".to_owned(), "-D".to_owned(), "-o".to_owned(), FORMAT.to_owned()];
    match ask {
        Ask::Mine => words.push("-Snow-3days".to_owned()),
        Ask::Ids(ids) => {
            // Only so does it tell of jobs that never could have started.
            let ids: Vec<&str> = ids.iter().map(BatchId::as_str).collect();
            words.push(format!("--jobs={}", ids.join(",")));
        }
        Ask::Names(names) => {
            let names: Vec<&str> = names.iter().map(JobName::as_str).collect();
            words.push(format!("--name={}", names.join(",")));
            words.push("-Snow-30days".to_owned());
        }
    }
    format!("{}{} -u \"$(id -un)\"\n", preamble(60), limited(&words))
}

/// Reads what `sacct -P` said; its first line names the columns. Of a job that was sent back, the last start counts.
pub fn parse_history(reply: &Reply<'_>) -> Result<Vec<Ending>, CouldNotAsk> {
    let mut lines = reply.stdout.lines().skip_while(|line| !line.starts_with("JobID|"));
    let header = lines.next().filter(|_| reply.status == 0 && !ended_from_outside(reply.status));
    let header = header.ok_or_else(|| could_not_ask(reply))?;
    let table = Header::read(header, "JobName");
    let columns = Columns::of(&table);
    let mut endings: Vec<Ending> = Vec::new();
    let mut places: HashMap<(BatchId, Option<u32>), usize> = HashMap::new();
    let mut current = None;
    let mut cells = Vec::new();
    for line in lines {
        if table.row(line, &mut cells).is_none() {
            continue;
        }
        let Some(id) = cell(&cells, columns.id) else { continue };
        if id.contains('.') {
            if let Some(ending) = current.and_then(|at| endings.get_mut(at)) {
                columns.add_step(&cells, ending);
            }
            continue;
        }
        current = None;
        let Some(ending) = columns.read(&cells) else { continue };
        let at = *places.entry((ending.id.clone(), ending.member)).or_insert(endings.len());
        current = Some(at);
        match endings.get_mut(at) {
            Some(earlier) => *earlier = ending,
            None => endings.push(ending),
        }
    }
    Ok(endings)
}

/// Where the columns of interest stand.
#[derive(Clone, Copy, Debug)]
struct Columns {
    id: Option<usize>,
    state: Option<usize>,
    exit: Option<usize>,
    start: Option<usize>,
    end: Option<usize>,
    elapsed: Option<usize>,
    cpu: Option<usize>,
    rss: Option<usize>,
    mean: Option<usize>,
    tasks: Option<usize>,
    asked: Option<usize>,
    cores: Option<usize>,
    nodes: Option<usize>,
    reason: Option<usize>,
    name: Option<usize>,
}

impl Columns {
    fn of(header: &Header<'_>) -> Self {
        Self {
            id: header.find("JobID"),
            state: header.find("State"),
            exit: header.find("ExitCode"),
            start: header.find("Start"),
            end: header.find("End"),
            elapsed: header.find("ElapsedRaw"),
            cpu: header.find("TotalCPU"),
            rss: header.find("MaxRSS"),
            mean: header.find("AveRSS"),
            tasks: header.find("NTasks"),
            asked: header.find("ReqMem"),
            cores: header.find("AllocCPUS"),
            nodes: header.find("NodeList"),
            reason: header.find("Reason"),
            name: header.find("JobName"),
        }
    }

    /// Reads the line of a job, or of a member.
    fn read(self, cells: &[&str]) -> Option<Ending> {
        let cell = |at: Option<usize>| cell(cells, at);
        let (id, members) = identify(cell(self.id)?)?;
        let member = match members {
            Members::All => None,
            Members::One(member) => Some(member),
            // Members that wait are not over.
            Members::Ranges(_) => return None,
        };
        let word = cell(self.state)?;
        let start = cell(self.start).and_then(iso_time);
        let reason = cell(self.reason).and_then(given);
        let class = class(word, reason.unwrap_or_default());
        let (exit_code, signal) = cell(self.exit).map(exit_code).unwrap_or_default();
        let elapsed = cell(self.elapsed).and_then(|text| text.parse().ok()).map(Walltime);
        Some(Ending {
            id: BatchId(id.to_owned()),
            member,
            name: cell(self.name).map(str::to_owned),
            class,
            word: word.to_owned(),
            exit_code: exit_code.filter(|_| class != EndingClass::Live),
            signal,
            // Sampling misses the peak that killed it: all that is known is that it wanted more.
            peak_memory: (class == EndingClass::Oom).then(|| self.asked(cells)).flatten().map(Reading::MoreThan),
            cpu_ms: cell(self.cpu).and_then(clock_ms),
            wall: elapsed.map(|elapsed| match class {
                EndingClass::Timeout => Reading::MoreThan(elapsed),
                _ => Reading::Measured(elapsed),
            }),
            start,
            end: cell(self.end).and_then(iso_time),
            node: cell(self.nodes).and_then(given).map(str::to_owned),
            why: reason.map(str::to_owned),
        })
    }

    /// Reads `50M`, `50Mn` (per node), `50Mc` (per core).
    fn asked(self, cells: &[&str]) -> Option<Bytes> {
        let text = cell(cells, self.asked)?;
        let bytes = memory(text, Bytes::mib(1)).filter(|bytes| bytes.0 > 0)?;
        let cores = if text.ends_with('c') { cell(cells, self.cores).and_then(count).unwrap_or(1) } else { 1 };
        Some(Bytes(bytes.0.saturating_mul(u64::from(cores))))
    }

    /// Reads the memory of a step's tasks together; none where it is not told how many there were.
    fn peak(self, cells: &[&str]) -> Option<Bytes> {
        let cell = |at: Option<usize>| cell(cells, at);
        let amount = |at| cell(at).and_then(|text| memory(text, Bytes(1))).filter(|amount| amount.0 > 0);
        let largest = amount(self.rss)?;
        let (_, step) = cell(self.id)?.split_once('.')?;
        let told = cell(self.tasks).and_then(count).map(f64::from);
        let tasks = tasks(step, told, cell(self.cores).and_then(count) == Some(1))?;
        let mean = amount(self.mean).map_or(0.0, |mean| mean.0 as f64);
        Some(Bytes(of_all(largest.0 as f64, mean, tasks) as u64))
    }

    /// Takes in the line of a step: its peak memory, and that it was killed for its memory while the script went on.
    fn add_step(self, cells: &[&str], ending: &mut Ending) {
        let word = cell(cells, self.state).unwrap_or_default();
        if word.starts_with("OUT_OF_ME") && ending.class != EndingClass::Oom {
            ending.why = Some("a step was killed for its memory".to_owned());
        }
        let peak = self.peak(cells);
        match (peak, ending.peak_memory) {
            (Some(peak), None) => ending.peak_memory = Some(Reading::Measured(peak)),
            (Some(peak), Some(Reading::Measured(old))) => ending.peak_memory = Some(Reading::Measured(peak.max(old))),
            (_, _) => {}
        }
    }
}

fn cell<'r>(cells: &[&'r str], at: Option<usize>) -> Option<&'r str> {
    cells.get(at?).copied()
}

/// Reads `3:0` and `0:11`. What killed for memory stands as signal 125, which is none.
fn exit_code(text: &str) -> (Option<i32>, Option<i32>) {
    let Some((code, signal)) = text.split_once(':') else { return (None, None) };
    let signal = signal.parse().ok().filter(|signal| (1..=64).contains(signal));
    (code.parse().ok(), signal)
}

/// Returns the class of a state.
pub(super) fn class(word: &str, reason: &str) -> EndingClass {
    // `CANCELLED by 2101`; a narrow column would say `OUT_OF_ME+`.
    let first = word.split([' ', '+']).next().unwrap_or_default();
    match first {
        "COMPLETED" => EndingClass::Completed,
        "FAILED" => EndingClass::Failed,
        "OUT_OF_MEMORY" | "OUT_OF_ME" => EndingClass::Oom,
        "TIMEOUT" | "DEADLINE" => EndingClass::Timeout,
        "NODE_FAIL" => EndingClass::NodeFail,
        "BOOT_FAIL" => EndingClass::LaunchFailed,
        "PREEMPTED" => EndingClass::Preempted,
        "CANCELLED" if reason.starts_with("Dependency") => EndingClass::NeverRan,
        "CANCELLED" => EndingClass::Cancelled,
        "REQUEUED" | "REVOKED" => EndingClass::Requeued,
        // Waits, runs, or is in a state of a version to come: nothing is concluded from it.
        _ => EndingClass::Live,
    }
}
