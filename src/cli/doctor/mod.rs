//! `csync doctor`: check this installation and say how to mend it.

mod checks;
mod database;
mod hosts;

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::view::Paint;

/// Check this installation and say how to mend it
///
/// Looks at the state directory, the database, the engine, the shell and the limits of this machine, and at what was last found
/// on the hosts; hosts that are named are connected to and probed anew. Each finding comes with the command that mends it. The
/// exit code is 0 when nothing is in the way of running workflows.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Connect to these hosts and look at them now
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,
    /// Move a damaged database aside and start a new one; runs and what is up to date are forgotten, results are not touched
    #[arg(long)]
    repair: bool,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// As it should be.
    Ok,
    /// Works, and could be better.
    Warning,
    /// In the way of running workflows.
    Problem,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// What was looked at.
    check: Cow<'static, str>,
    /// How it is.
    level: Level,
    /// In words.
    message: String,
    /// What mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl Finding {
    fn ok(check: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { check: check.into(), level: Level::Ok, message: message.into(), fix: None }
    }

    fn warning(check: impl Into<Cow<'static, str>>, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check: check.into(), level: Level::Warning, message: message.into(), fix: Some(fix.into()) }
    }

    fn problem(check: impl Into<Cow<'static, str>>, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check: check.into(), level: Level::Problem, message: message.into(), fix: Some(fix.into()) }
    }
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let mut findings = context.block_on(examine(context, args.repair))?;
    findings.extend(hosts::check(context, &args.hosts)?);
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    if context.json() {
        context.print_json(
            &json!({"csync": env!("CARGO_PKG_VERSION"), "healthy": worst < Level::Problem, "findings": findings}),
        )?;
    } else {
        context.print(&page(&findings, context.paint()))?;
    }
    Ok(if worst == Level::Problem { Exit::RunFailed } else { Exit::Success })
}

async fn examine(context: &Context, repair: bool) -> Result<Vec<Finding>, Failure> {
    let state_dir = context.state_dir()?;
    let mut findings = vec![checks::state_dir(&state_dir)];
    let usable = findings.iter().all(|finding| finding.level < Level::Problem);
    if usable {
        findings.push(checks::filesystem(&state_dir));
        findings.push(checks::space(&state_dir));
        findings.push(checks::sockets(&state_dir));
        findings.extend(checks::index(&state_dir));
    }
    let engine = context.find().await;
    let running = matches!(engine, Ok(Some(_)));
    if usable {
        findings.push(database::check(&state_dir, running, repair).await);
        findings.extend(checks::learned(&state_dir).await);
    }
    findings.extend(checks::engine(&state_dir, engine));
    findings.push(checks::bash());
    findings.push(checks::open_files());
    findings.push(checks::machine());
    findings.push(checks::control_groups());
    findings.push(checks::clock(&state_dir));
    Ok(findings)
}

/// Returns the findings for people: those that are fine in a line each, the others with what mends them.
fn page(findings: &[Finding], paint: Paint) -> String {
    let mut out = String::new();
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0).max(15);
    for finding in findings {
        let mark = match finding.level {
            Level::Ok => paint.green("ok     ").to_string(),
            Level::Warning => paint.yellow("warning").to_string(),
            Level::Problem => paint.red("problem").to_string(),
        };
        let _ = writeln!(out, "{mark}  {:<width$}  {}", finding.check, finding.message);
        if let Some(fix) = &finding.fix {
            let _ = writeln!(out, "{:1$}{2} {fix}", "", width + 11, paint.cyan("fix:"));
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let last = match (count(Level::Problem), count(Level::Warning)) {
        (0, 0) => "All is well.".to_owned(),
        (0, warnings) => format!("Workflows can run; {warnings} of {} checks warn.", findings.len()),
        (problems, _) => format!("{problems} of {} checks found a problem.", findings.len()),
    };
    let _ = writeln!(out, "\n{last}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_listed_with_what_mends_them() {
        let findings = [
            Finding::ok("bash", "5.2.15"),
            Finding::warning("open files", "this shell allows 256", "`ulimit -n 4096`"),
            Finding::problem("database", "it is damaged", "`csync doctor --repair`"),
        ];
        insta::assert_snapshot!(page(&findings, Paint::new(false)));
        assert!(page(&findings[..1], Paint::new(false)).ends_with("All is well.\n"));
    }
}
