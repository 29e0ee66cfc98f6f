//! A world for journeys: a directory to work in, a state directory of its own, and the program.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long a test waits for what must happen: long enough for a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A world. When it ends, its runs are cancelled and its engine and worker leave.
pub(crate) struct World {
    dir: TempDir,
}

/// What a command printed, and its exit code.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    /// Returns what was printed as one JSON value.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("no single JSON value ({error}): {self:?}"))
    }

    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("work")).unwrap();
        Self { dir }
    }

    /// Returns the state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Returns the path of a file in the directory that commands work in.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("work").join(name)
    }

    /// Writes a file there.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Reads a file there.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Returns a command in an environment that holds nothing by chance.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_csync"));
        command
            .args(args)
            .current_dir(self.dir.path().join("work"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path())
            .env("CSYNC_STATE", self.state())
            .env("CSYNC_CPUS", "2")
            .env("CSYNC_GRACE", "1s")
            .env("LANG", "C.UTF-8")
            .env("TZ", "UTC")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn csync(&self, args: &[&str]) -> Done {
        self.command(args).output().unwrap().into()
    }

    /// Starts a command and goes on.
    pub(crate) fn start(&self, args: &[&str]) -> Started {
        let child = self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Started { child: Some(child) }
    }

    /// Returns what a command prints with `--json`.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        self.csync(&args).exits(0).json()
    }

    /// Makes a named pipe: a task that reads it waits until the test opens it.
    pub(crate) fn gate(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !self.state().join("engine.sock").exists() {
            return;
        }
        // Not through `json`: a test that fails must not panic a second time.
        let runs = self.csync(&["runs", "--all", "--state", "running", "--json"]).out;
        let runs: Value = serde_json::from_str(&runs).unwrap_or_default();
        for run in runs["runs"].as_array().into_iter().flatten() {
            self.csync(&["cancel", &run["run"].to_string()]);
            self.csync(&["wait", &run["run"].to_string(), "--timeout", "20s"]);
        }
        self.csync(&["engine", "stop", "--now"]);
    }
}

/// A command that was started. It does not outlive the test.
pub(crate) struct Started {
    child: Option<Child>,
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

impl Started {
    /// Sends it SIGINT, as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        signal(self.child.as_ref().unwrap().id(), "INT");
    }

    /// Reads its standard output up to a text, and returns what came.
    pub(crate) fn until(&mut self, text: &str) -> String {
        let out = self.child.as_mut().unwrap().stdout.as_mut().unwrap();
        let mut seen = Vec::new();
        let mut byte = [0];
        while !String::from_utf8_lossy(&seen).contains(text) {
            assert!(out.read(&mut byte).unwrap() > 0, "it ended before `{text}`: {}", String::from_utf8_lossy(&seen));
            seen.push(byte[0]);
        }
        String::from_utf8(seen).unwrap()
    }

    /// Waits for its end.
    pub(crate) fn done(mut self) -> Done {
        self.child.take().unwrap().wait_with_output().unwrap().into()
    }
}

/// Sends a signal.
pub(crate) fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap().success());
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "still not after {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Opens a gate: what waits to read it goes on.
pub(crate) fn open(gate: &Path) {
    std::fs::write(gate, "go\n").unwrap();
}
