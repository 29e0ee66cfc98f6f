//! The engine, for people.

use std::fmt::Write as _;

use crate::cli::view::table::Page;
use crate::cli::view::words::{elapsed, many};
use crate::model::api::EngineInfo;
use crate::model::units::{Timestamp, Walltime};

/// Returns what the engine says of itself; `ours` when it is of this version.
pub(in crate::cli) fn engine(info: &EngineInfo, ours: bool, now: Timestamp, page: Page) -> String {
    let paint = page.paint;
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "{} {value}", paint.bold(format_args!("{name:<8}")));
    };
    let leaves = match info.idle_leave {
        Some(seconds) if info.live_runs == 0 => format!(", leaves after {} without work", Walltime(seconds)),
        _ => String::new(),
    };
    line("Engine", format!("csync {}, process {}, up {}{leaves}", info.version, info.pid, elapsed(info.started, now)));
    let local = &info.local;
    line(
        "Machine",
        format!(
            "{} of {} in use, {} of {} of memory granted",
            local.cpus_used,
            many(local.cpus, "core"),
            local.mem_used,
            local.mem
        ),
    );
    line("Jobs", format!("{} running, {} queued", local.running, local.queued));
    if let Some(trouble) = &info.trouble {
        let _ = writeln!(out, "{}: {trouble}", paint.red("trouble"));
    }
    if !ours {
        let _ = writeln!(
            out,
            "{}: this is csync {}; `csync engine restart` starts an engine of this version, and live runs go on.",
            paint.yellow("note"),
            env!("CARGO_PKG_VERSION")
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::view::Paint;
    use crate::cli::view::fixtures;

    #[test]
    fn an_engine() {
        let page = Page { width: Some(80), paint: Paint::new(false) };
        let text = engine(&fixtures::engine(0), true, fixtures::now(), page);
        let other = engine(&fixtures::engine(1), false, fixtures::now(), page);
        insta::assert_snapshot!(format!("{text}\n{other}"));
    }
}
