//! `csync worker`: what the engine starts to run jobs; hidden.

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args as _, FromArgMatches};
use tracing_subscriber::filter::LevelFilter;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::reach::config::StateDir;
use crate::serve::worker::{self, Options};

/// Run jobs for the engine
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The state directory of the engine
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Seconds to stay without an engine when there is nothing to do
    #[arg(long, value_name = "SECONDS", default_value_t = Options::default().idle.as_secs())]
    pub idle: u64,
    /// A directory to make memory control groups in
    #[arg(long, value_name = "DIR")]
    pub cgroup: Option<PathBuf>,
}

impl Args {
    /// Reads the arguments of `csync worker` without building the other commands and their help: what a process has in memory
    /// when it starts another counts in the peak that the system says of that one. None where they cannot be read so.
    pub(super) fn alone(args: &[OsString]) -> Option<Self> {
        let (_, args) = args.split_first()?;
        if args.first()? != "worker" {
            return None;
        }
        let matches = Self::augment_args(clap::Command::new("worker")).try_get_matches_from(args).ok()?;
        Self::from_arg_matches(&matches).ok()
    }
}

/// Runs it.
pub(super) fn run(_context: &Context, args: &Args) -> Result<Exit, Failure> {
    let level = std::env::var("RUST_LOG").ok().and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::INFO);
    let subscriber = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_ansi(false);
    // On a full disk the log cannot be written, and neither can be said that: saying it where nobody can read it would panic.
    subscriber.log_internal_errors(false).init();
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let state = StateDir::at(args.state.clone(), runtime.as_deref());
    let options = Options { idle: std::time::Duration::from_secs(args.idle), cgroup: args.cgroup.clone() };
    match worker::main(state, &options) {
        Ok(()) => Ok(Exit::Success),
        Err(error) => {
            let failure = Failure::internal(error.to_string());
            Err(match error.source() {
                Some(source) => failure.because(source),
                None => failure,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_is_known_by_its_own_arguments() {
        let alone = |line: &str| Args::alone(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        let args = alone("csync worker --state /s --idle 7").unwrap();
        assert_eq!((args.state, args.idle, args.cgroup), (PathBuf::from("/s"), 7, None));
        for other in
            ["csync", "csync worker", "csync worker --help", "csync worker --state /s --json", "csync runs --state /s"]
        {
            assert!(alone(other).is_none(), "{other}");
        }
    }
}
