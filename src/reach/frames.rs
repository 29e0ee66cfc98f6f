//! `csync-frames`, the program for tables of data frames: found beside this one or on PATH, and given rows of CSV, or asked for them.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// Its name.
const NAME: &str = "csync-frames";

/// A table could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FramesError {
    /// The program is not there.
    #[error("{NAME} is not there, which reads and writes Parquet")]
    Absent,
    /// It could not be started.
    #[error("{NAME} cannot be started")]
    Start(#[source] io::Error),
    /// It could not be talked to.
    #[error("{NAME} cannot be given rows")]
    Rows(#[source] io::Error),
    /// It says no.
    #[error("{0}")]
    Said(String),
}

/// Returns the program: beside this one, else on PATH.
fn program() -> Result<PathBuf, FramesError> {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name(NAME));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(NAME));
    beside.into_iter().chain(on_path).find(|program| program.is_file()).ok_or(FramesError::Absent)
}

/// Returns whether a file is a Parquet file, by its first bytes.
pub fn is_parquet(path: &Path) -> bool {
    let mut first = [0; 4];
    File::open(path).and_then(|mut file| file.read_exact(&mut first)).is_ok() && first == *b"PAR1"
}

/// Writes rows of CSV to a Parquet file; `types` says the columns as `NAME=TYPE,...`. The file appears whole or not at all.
///
/// # Errors
/// [`FramesError`].
pub fn write(path: &Path, types: &str, rows: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), FramesError> {
    let mut command = Command::new(program()?);
    command.arg("write").arg(absolute(path)).args(["--types", types]);
    let mut child = command
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(FramesError::Start)?;
    let given = match child.stdin.take() {
        Some(stdin) => {
            let mut stdin = io::BufWriter::new(stdin);
            rows(&mut stdin).and_then(|()| stdin.flush())
        }
        None => Ok(()),
    };
    // What it complains of says more than that it stopped reading.
    end(&mut child)?;
    given.map_err(FramesError::Rows)
}

/// Reads a Parquet file as rows of CSV.
///
/// # Errors
/// [`FramesError`].
pub fn read(path: &Path) -> Result<BufReader<Rows>, FramesError> {
    let mut command = Command::new(program()?);
    command.arg("read").arg(absolute(path));
    let mut child = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(FramesError::Start)?;
    let out = child.stdout.take();
    Ok(BufReader::with_capacity(1 << 16, Rows { child, out }))
}

/// A name that begins with `-` is no option.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn end(child: &mut Child) -> Result<(), FramesError> {
    let mut words = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut words).map_err(FramesError::Rows)?;
    }
    let status = child.wait().map_err(FramesError::Rows)?;
    if status.success() {
        return Ok(());
    }
    let words = words.lines().next().unwrap_or_default();
    let words = words.strip_prefix("csync-frames: ").unwrap_or(words);
    Err(FramesError::Said(if words.is_empty() { format!("{NAME} ended with {status}") } else { words.to_owned() }))
}

/// Rows of a table, as they come.
#[derive(Debug)]
pub struct Rows {
    child: Child,
    out: Option<ChildStdout>,
}

impl Read for Rows {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(out) = &mut self.out else { return Ok(0) };
        let read = out.read(buffer)?;
        if read == 0 && !buffer.is_empty() {
            self.out = None;
            end(&mut self.child).map_err(io::Error::other)?;
        }
        Ok(read)
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        // Whoever reads no further: it ends with its output.
        self.out = None;
        drop(self.child.wait());
    }
}
