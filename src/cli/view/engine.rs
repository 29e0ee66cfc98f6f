//! The engine, for people.

use std::fmt::Write as _;

use crate::cli::view::table::Page;
use crate::cli::view::words::{cut, elapsed, many};
use crate::model::api::{Breaker, Contact, EngineInfo, Full};
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
    for contact in &info.hosts {
        line("Host", format!("{}: {}", contact.host, host(contact, now)));
    }
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

/// Says how it stands with a host.
pub(in crate::cli) fn host(contact: &Contact, now: Timestamp) -> String {
    let mut text = many(contact.jobs, "job");
    match &contact.breaker {
        Breaker::Closed => {}
        Breaker::Open { since, .. } | Breaker::HalfOpen { since, .. } if let Some(why) = &contact.login => {
            let (host, since) = (&contact.host, elapsed(*since, now));
            let _ = write!(text, ", needs a login since {since} ({}): `csync login {host}`", one_line(why));
        }
        Breaker::Open { why, since, next_try } => {
            let _ = write!(
                text,
                ", cannot be used since {}: {}; next try {}",
                elapsed(*since, now),
                one_line(why),
                soon(*next_try, now)
            );
        }
        Breaker::HalfOpen { why, since } => {
            let _ =
                write!(text, ", could not be used since {}: {}; being tried now", elapsed(*since, now), one_line(why));
        }
    }
    if let Some(Full { why, jobs, next_try }) = &contact.full {
        let next = soon(*next_try, now);
        let _ = write!(text, ", takes no more than {jobs} now: {}; next try {next}, or as jobs end", one_line(why));
    }
    text
}

fn one_line(text: &str) -> String {
    cut(&text.split_whitespace().collect::<Vec<_>>().join(" "), 300)
}

fn soon(at: Timestamp, now: Timestamp) -> String {
    let wait = at.since(now).as_secs();
    if wait == 0 { "now".to_owned() } else { format!("in {}", Walltime(wait)) }
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

    #[test]
    fn hosts() {
        let now = Timestamp(3_600_000_000);
        let contact = |breaker, full| Contact { host: "hpc".parse().unwrap(), breaker, full, jobs: 12, login: None };
        let (since, next_try) = (Timestamp(3_000_000_000), Timestamp(3_612_000_000));
        let why = "no route\nto host".to_owned();
        let full = Full { why: "QOSMaxSubmitJobPerUserLimit".to_owned(), jobs: 12, next_try };
        for (contact, wanted) in [
            (contact(Breaker::Closed, None), "12 jobs"),
            (
                contact(Breaker::Open { why: why.clone(), since, next_try }, None),
                "12 jobs, cannot be used since 10m 00s: no route to host; next try in 12s",
            ),
            (
                contact(Breaker::HalfOpen { why, since }, None),
                "12 jobs, could not be used since 10m 00s: no route to host; being tried now",
            ),
            (
                contact(Breaker::Closed, Some(full)),
                "12 jobs, takes no more than 12 now: QOSMaxSubmitJobPerUserLimit; next try in 12s, or as jobs end",
            ),
        ] {
            assert_eq!(host(&contact, now), wanted);
        }
    }
}
