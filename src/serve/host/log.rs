//! Diagnostics: lines in `engine.log`, which does not grow without end.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use tracing_subscriber::EnvFilter;

use crate::reach::config::StateDir;

/// A log larger than this is put aside when an engine starts.
const MOST_BYTES: u64 = 10 << 20;

/// Writes diagnostics to standard error, which the starter has led to `engine.log`. `RUST_LOG` says how much.
pub(super) fn begin(state: &StateDir) {
    let shortened = shorten(&state.engine_log());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,sqlx=warn"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false);
    // On a full disk the log cannot be written, and neither can be said that: saying it where nobody can read it would panic.
    let subscriber = subscriber.log_internal_errors(false);
    // Fails when the process that hosts the engine has one already.
    subscriber.try_init().ok();
    if let Err(error) = shortened {
        tracing::warn!(%error, "the log cannot be shortened");
    }
}

/// Copies a long log to a second file, in place of the one before, and empties it. Not renamed: this process has it open, and
/// whoever looks for its last words looks there.
fn shorten(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.len() > MOST_BYTES => {}
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => return Ok(()),
    }
    std::fs::copy(path, path.with_extension("log.1"))?;
    OpenOptions::new().write(true).open(path)?.set_len(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("engine.log");
        shorten(&path).unwrap();
        std::fs::write(&path, "short").unwrap();
        shorten(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"short");
        std::fs::write(&path, vec![b'x'; MOST_BYTES as usize + 1]).unwrap();
        shorten(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
        assert_eq!(std::fs::metadata(dir.path().join("engine.log.1")).unwrap().len(), MOST_BYTES + 1);
    }
}
