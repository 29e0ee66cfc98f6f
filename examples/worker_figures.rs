//! What the local worker costs per job, against starting the same command by `posix_spawn` (see `spawn_limit`), in turn.
//!
//! ```text
//! cargo build --release --bin csync && cargo run --release --example worker_figures -- 10000 2 3 true
//! ```
//! A single argument with a blank in it is a script, run by bash on both sides.
//!
//! Drives a worker over its socket as the engine does, with jobs handed over ahead of room, but without a journal. Prints CPU
//! seconds of the worker with its jobs, of the client's side of the wire, and both as ratios to the limit.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that people run by hand")]

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use csync::model::id::{InstanceId, JobKey, RunId};
use csync::model::job::{Invocation, Job, News, Outcome};
use csync::model::resources::{Grant, Hold};
use csync::model::units::Bytes;
use csync::reach::config::StateDir;
use csync::reach::executor::wire::{Environment, Limits};
use csync::reach::executor::{Launch, Local, LocalEvent};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;
use wait4::Wait4;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A connection, and what is heard over it.
type Connection = (Local, mpsc::Receiver<LocalEvent>);

/// Jobs handed over ahead of room, as the engine does.
const AHEAD: usize = 64;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [count, slots, rounds, command @ ..] = args.as_slice() else {
        eprintln!("usage: worker_figures COUNT SLOTS ROUNDS (SCRIPT | COMMAND ARGUMENT...)");
        return ExitCode::from(2);
    };
    match measure(count, slots, rounds, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("worker_figures: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(count: &str, slots: &str, rounds: &str, command: &[String]) -> Result<()> {
    let here = std::env::current_exe()?;
    let bin = here.parent().and_then(Path::parent).ok_or("no target directory")?;
    for _ in 0..rounds.parse::<u32>()? {
        let limit = limit(&bin.join("examples/spawn_limit"), count, slots, command)?;
        let figures = worker(&bin.join("csync"), count.parse()?, slots.parse()?, command)?;
        let ratio = |part: Duration| part.as_secs_f64() / limit;
        println!(
            "limit {limit:.3} CPU s | worker {:.3} ({:.3} x) | with the wire {:.3} ({:.3} x) | per job {:.0} us in the \
             worker itself, {:.0} us in the client | wall {:.2} s, peak {} KiB",
            figures.worker.as_secs_f64(),
            ratio(figures.worker),
            (figures.worker + figures.client).as_secs_f64(),
            ratio(figures.worker + figures.client),
            figures.own.as_secs_f64() * 1e6 / count.parse::<f64>()?,
            figures.client.as_secs_f64() * 1e6 / count.parse::<f64>()?,
            figures.wall.as_secs_f64(),
            figures.peak >> 10,
        );
    }
    Ok(())
}

/// CPU seconds of starting the command so often.
fn limit(program: &Path, count: &str, slots: &str, command: &[String]) -> Result<f64> {
    let words = match command {
        [script] if script.contains(' ') => vec!["bash", "-c", script],
        words => words.iter().map(String::as_str).collect(),
    };
    let output = Command::new(program).args([count, slots]).args(words).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split(' ').next().ok_or("spawn_limit printed nothing")?.parse()?)
}

struct Figures {
    worker: Duration,
    client: Duration,
    wall: Duration,
    peak: u64,
    own: Duration,
}

fn worker(program: &Path, count: u32, slots: u32, command: &[String]) -> Result<Figures> {
    let dir = std::env::temp_dir().join(format!("csync-figures-{}", std::process::id()));
    let state = StateDir::at(dir.clone(), None);
    state.create()?;
    let worker = start(program, &dir)?;
    let pid = worker.id();
    let (begin, cpu) = (Instant::now(), cpu());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = runtime.block_on(drive(&state, count, slots, command))?;
    let wall = begin.elapsed();
    let client = self::cpu().saturating_sub(cpu);
    let (peak, own) = (peak(pid)?, own(pid)?);
    runtime.block_on(leave(local))?;
    let used = worker.wait4()?.rusage;
    std::fs::remove_dir_all(&dir)?;
    Ok(Figures { worker: used.utime + used.stime, client, wall, peak, own })
}

fn start(program: &Path, dir: &Path) -> Result<Child> {
    let mut worker = Command::new(program)
        .args(["worker", "--state"])
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let stdout = worker.stdout.take().ok_or("the worker has no output")?;
    BufReader::new(stdout).read_line(&mut line)?;
    if line == "ready\n" { Ok(worker) } else { Err(format!("the worker says {line:?}").into()) }
}

async fn drive(state: &StateDir, count: u32, slots: u32, command: &[String]) -> Result<Connection> {
    let (sender, mut events) = mpsc::channel(64);
    let limits = Limits { cpus: slots, mem: Bytes::gib(1), ..Limits::default() };
    let launch = Launch { program: Some(PathBuf::from("/nonexistent")), cgroup: None };
    let local = Local::connect(state, limits, &launch, sender).await?.local;
    local.environment(Environment { number: 1, vars: std::env::vars().collect(), umask: 0o022 });
    let mut jobs = (0..count).map(|number| job(number, command));
    let mut ended = 0;
    local.start(jobs.by_ref().take(AHEAD + slots as usize).collect());
    while ended < count {
        match events.recv().await {
            Some(LocalEvent::News(news)) => {
                let mut keys = Vec::new();
                for news in news {
                    if let News::Ended(end) = news {
                        if end.outcome != Outcome::Success {
                            return Err(format!("a job failed: {end:?}").into());
                        }
                        keys.push(end.key);
                    }
                }
                ended += u32::try_from(keys.len())?;
                let more: Vec<_> = jobs.by_ref().take(keys.len()).collect();
                local.ack(keys);
                if !more.is_empty() {
                    local.start(more);
                }
            }
            Some(LocalEvent::Lost) | None => return Err("the worker is gone".into()),
        }
    }
    Ok((local, events))
}

/// Tells the worker to leave, and waits until it closes the connection.
async fn leave((local, mut events): Connection) -> Result<()> {
    local.leave();
    while let Some(LocalEvent::News(_)) = events.recv().await {}
    Ok(())
}

fn job(number: u32, command: &[String]) -> Job {
    Job {
        key: JobKey { run: RunId(1), instance: InstanceId(number), attempt: 1 },
        label: format!("job[{number}]"),
        invocation: match command {
            [program] if !program.contains(' ') => Invocation::Argv(vec![program.clone()]),
            [script] => Invocation::Script(script.clone()),
            words => Invocation::Argv(words.to_vec()),
        },
        workdir: std::env::temp_dir().to_string_lossy().into_owned(),
        environment: 1,
        env: Vec::new(),
        stdin: None,
        grant: Grant { cpus: 1, mem: Bytes::mib(64), hold: Hold::Nothing, time: None, gpus: 0 },
        checkpoint: None,
        inputs: Vec::new(),
        outputs: Vec::new(),
    }
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Peak resident memory of a process that runs.
fn peak(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    Ok(kib.ok_or("the peak of the worker's memory cannot be read")? << 10)
}

/// CPU time of a process itself, without its children.
fn own(pid: u32) -> Result<Duration> {
    let mut nanos = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        nanos += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}
