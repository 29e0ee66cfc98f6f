//! Asking `ssh` where it goes for a host.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::language::ssh::Options;
use crate::model::host::SshAlias;

/// How long `ssh -G` may take: it runs what `Match exec` says.
const PATIENCE: Duration = Duration::from_secs(10);

/// `ssh` does not say where it goes.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// There is none.
    #[error("`ssh` cannot be started")]
    NoSsh(#[source] io::Error),
    /// It does not answer.
    #[error("`ssh -G {0}` did not answer within 10 s")]
    Silent(SshAlias),
    /// It refuses.
    #[error("`ssh -G {alias}` failed: {words}")]
    Refused {
        /// For which host.
        alias: SshAlias,
        /// Its words.
        words: String,
    },
}

/// Asks `ssh -G` what holds for a host, with another configuration than the person's where one is given.
///
/// # Errors
/// [`ResolveError`].
pub async fn resolve(alias: &SshAlias, config: Option<&Path>) -> Result<Options, ResolveError> {
    let mut command = Command::new("ssh");
    if let Some(config) = config {
        command.arg("-F").arg(config);
    }
    command.args(["-G", "--", alias.as_str()]).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await;
    let output = output.map_err(|_| ResolveError::Silent(alias.clone()))?.map_err(ResolveError::NoSsh)?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let words = words.lines().last().unwrap_or("no word").trim().to_owned();
        return Err(ResolveError::Refused { alias: alias.clone(), words });
    }
    Ok(Options::read(&String::from_utf8_lossy(&output.stdout)))
}
