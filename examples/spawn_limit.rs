//! The limit that no runner of commands can beat: starts a command N times by `posix_spawn`, so many at a time, and waits.
//!
//! ```text
//! cargo run --release --example spawn_limit -- 10000 2 true
//! ```
//! Prints CPU seconds (this process and the commands), wall seconds, and the milliseconds of CPU that each command cost.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that people run by hand")]

use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use wait4::Wait4;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let numbers = args.first().zip(args.get(1)).and_then(|(n, k)| Some((n.parse().ok()?, k.parse().ok()?)));
    let (Some((count, slots)), Some(command)) = (numbers, args.get(2..).filter(|command| !command.is_empty())) else {
        eprintln!("usage: spawn_limit COUNT SLOTS COMMAND [ARGUMENT...]");
        return ExitCode::from(2);
    };
    let begin = Instant::now();
    match spawn_all(count, slots, command) {
        Ok(children) => {
            let own = clock_gettime(ClockId::ProcessCPUTime);
            let own = Duration::new(own.tv_sec.unsigned_abs(), u32::try_from(own.tv_nsec).unwrap_or(0));
            let cpu = (own + children).as_secs_f64();
            let each = cpu * 1000.0 / count as f64;
            let itself = own.as_secs_f64() * 1e6 / count as f64;
            let wall = begin.elapsed().as_secs_f64();
            println!("{cpu:.3} CPU s, {wall:.3} wall s, {each:.3} CPU ms each ({itself:.0} us in the parent)");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("spawn_limit: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all; returns the CPU time of the commands.
fn spawn_all(count: usize, slots: usize, command: &[String]) -> std::io::Result<Duration> {
    let next = AtomicUsize::new(0);
    let slot = || {
        let mut used = Duration::ZERO;
        while next.fetch_add(1, Ordering::Relaxed) < count {
            let (program, args) = command.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
            let mut command = Command::new(program);
            command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let ended = command.spawn()?.wait4()?;
            if !ended.status.success() {
                return Err(std::io::Error::other(format!("{program}: {}", ended.status)));
            }
            used += ended.rusage.utime + ended.rusage.stime;
        }
        Ok(used)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..slots.max(1)).map(|_| scope.spawn(slot)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(std::io::Error::other("panic")))).sum()
    })
}
