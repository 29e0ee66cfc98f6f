//! `csync worker`: what the engine starts to run jobs; hidden.

use std::error::Error;
use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

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

/// Runs it.
pub(super) fn run(_context: &Context, args: &Args) -> Result<Exit, Failure> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
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
