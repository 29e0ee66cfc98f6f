//! What starting and reaping a process costs at least: `spawn_limit N SLOTS COMMAND...` runs a command N times, SLOTS at once.

use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let mut number = || args.next().and_then(|text| text.parse::<u64>().ok());
    let (Some(n), Some(slots)) = (number(), number()) else { return usage() };
    let Some(program) = args.next() else { return usage() };
    let rest: Vec<String> = args.collect();
    let (next, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..slots {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < n {
                    let status = Command::new(&program).args(&rest).stdin(Stdio::null()).status();
                    if !status.is_ok_and(|status| status.success()) {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    ExitCode::from(u8::from(failed.into_inner() > 0))
}

#[expect(clippy::print_stderr, reason = "an example has no other door")]
fn usage() -> ExitCode {
    eprintln!("usage: spawn_limit N SLOTS COMMAND...");
    ExitCode::from(2)
}
