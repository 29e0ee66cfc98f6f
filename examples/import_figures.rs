//! What importing a long history costs, as a process: a report of `sacct` as large sites have it.
//!
//! ```text
//! import_figures make LINES              writes such a report to standard output, always the same
//! import_figures measure DIR CSYNC       imports one of a million lines and lists what was learned, then one of ten million
//!                                        that comes through a pipe, and prints a table
//! ```
//!
//! `benches/import/run` builds and runs both.

#![expect(clippy::print_stdout, reason = "a figure is printed")]
#![expect(clippy::expect_used, reason = "a measurement that cannot go on says so and ends")]

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use wait4::Wait4;

/// Lines of the report that is imported from a file, and of the one that comes through a pipe.
const LINES: (u64, u64) = (1_000_000, 10_000_000);

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        [_, "make", lines] => make(lines.parse().expect("a number of lines"), io::stdout().lock()),
        [_, "measure", dir, csync] => measure(Path::new(dir), csync),
        _ => println!("import_figures make LINES | measure DIR CSYNC"),
    }
}

/// Writes a report: of each job a line, and one of its only step. Jobs of 2,000 names, which grow with their number.
fn make(lines: u64, to: impl Write) {
    let mut to = BufWriter::with_capacity(1 << 16, to);
    let head = "JobID|JobName|User|Account|Partition|State|ExitCode|Submit|Eligible|Start|End|ElapsedRaw|TimelimitRaw|\
                AllocCPUS|TotalCPU|ReqMem|MaxRSS|NodeList";
    // Fails when who reads has gone.
    let mut write = |line: &str| to.write_all(line.as_bytes()).and_then(|()| to.write_all(b"\n")).is_ok();
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut dice = move |sides: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % sides
    };
    if !write(head) {
        return;
    }
    let names = ["samtools", "bwa", "STAR", "gmx", "python", "fit", "train", "align"];
    for job in 0..lines / 2 {
        let (kind, wait, ran) = (dice(2000), dice(7200), 60 + dice(20_000));
        let name = names.get((kind % 8) as usize).copied().unwrap_or_default();
        let partition = ["long", "short", "gpu"].get((kind % 3) as usize).copied().unwrap_or_default();
        // A job each five seconds, from the first of January of 2026 on.
        let (submitted, state) = (job * 5, ["COMPLETED", "COMPLETED", "COMPLETED", "FAILED"][(dice(4)) as usize % 4]);
        let [submit, start, end] = [submitted, submitted + wait, submitted + wait + ran].map(date);
        let (cores, memory) = (1 << (kind % 5), 200_000 + kind * 3000 + dice(100_000));
        let line = format!(
            "{job}|{name}-{kind}|u{}|lab|{partition}|{state}|0:0|{submit}|{submit}|{start}|{end}|{ran}|1440|{cores}|\
             00:{:02}:00|16G||n{}",
            kind % 50,
            ran % 60,
            kind % 100
        );
        let step =
            format!("{job}.batch|batch||lab||{state}|0:0|{start}|{start}|{start}|{end}|{ran}||{cores}||||{memory}K|n1");
        if !write(&line) || !write(&step) {
            return;
        }
    }
}

/// Returns a point in time as Slurm writes it, so many seconds after the beginning of 2026; all months have 28 days.
fn date(seconds: u64) -> String {
    let days = seconds / 86_400;
    let (year, month, day) = (2026 + days / 336, 1 + days / 28 % 12, 1 + days % 28);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

fn measure(dir: &Path, csync: &str) {
    let (report, me) = (dir.join("jobs.txt"), std::env::current_exe().expect("this program"));
    make(LINES.0, File::create(&report).expect("room for the report"));
    std::fs::create_dir_all(dir.join("config")).expect("a directory for the configuration");
    std::fs::write(dir.join("config/hosts.toml"), "[hosts.hpc]\nbatch = \"slurm\"\n").expect("hosts.toml");
    let report = report.display().to_string();
    let command = |state: &str, args: &[&str]| {
        let mut command = Command::new(csync);
        command.args(args).env("CSYNC_STATE", dir.join(state)).env("CSYNC_CONFIG", dir.join("config"));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    println!("{:<44} {:>8} {:>8} {:>9} {:>8}", "", "s", "goal", "peak MB", "goal");
    let tell = |what: &str, goals: (&str, &str), (wall, peak): (Duration, u64)| {
        let (wall, peak) = (wall.as_secs_f64(), peak as f64 / 1e6);
        println!("{what:<44} {wall:>8.2} {:>8} {peak:>9.1} {:>8}", goals.0, goals.1);
    };
    let import = ["profile", "import", "--hosts", "hpc"];
    tell("import, 1,000,000 lines", ("5", "1000"), done(command("one", &[&import[..], &[&report]].concat()).spawn()));
    tell(
        "again, which changes nothing",
        ("5", "1000"),
        done(command("one", &[&import[..], &[&report]].concat()).spawn()),
    );
    tell("csync profile", ("1", ""), done(command("one", &["profile"]).spawn()));
    tell(
        "csync profile replay, 1,000,000 lines",
        ("", ""),
        done(command("one", &["profile", "replay", &report]).spawn()),
    );
    // A pipe: nothing but memory could hold all of it.
    let through = |args: &[&str]| {
        let many = LINES.1.to_string();
        let mut maker = Command::new(&me).args(["make", &many]).stdout(Stdio::piped()).spawn().expect("it starts");
        let lines = maker.stdout.take().expect("a pipe");
        let found = done(command("two", args).stdin(lines).spawn());
        maker.wait().expect("it ends");
        found
    };
    tell("import, 10,000,000 lines through a pipe", ("", "1000"), through(&[&import[..], &["-"]].concat()));
    tell("csync profile replay, as many", ("", "1000"), through(&["profile", "replay", "-"]));
    for state in ["one", "two"] {
        command(state, &["engine", "stop"]).status().expect("csync starts");
    }
}

/// Waits for a process that has to succeed; returns how long it took and its peak memory.
fn done(begun: io::Result<Child>) -> (Duration, u64) {
    let started = Instant::now();
    let ended = begun.expect("csync starts").wait4().expect("it ends");
    assert!(ended.status.success(), "{}", ended.status);
    (started.elapsed(), ended.rusage.maxrss)
}
