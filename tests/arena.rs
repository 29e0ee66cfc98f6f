//! A world where things go wrong: a directory to work in, a state directory, an environment of its own, and csync itself, whose
//! processes can be found and killed. Nothing that ran in it is left when it goes, whatever state it is in.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use csync::model::api::{InstanceView, RunDetail, Submitted};
use csync::model::id::RunId;
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use tempfile::TempDir;

/// How long anything may take before the test says that it hangs.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// See the module.
pub(crate) struct World {
    dir: TempDir,
    env: Vec<(String, String)>,
}

/// What a command of csync gave.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Expects this exit code.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// Expects words in what was printed, on whichever stream.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(
                self.out.contains(word) || self.err.contains(word),
                "`{word}` is missing:\nstdout:\n{}\nstderr:\n{}",
                self.out,
                self.err
            );
        }
        self
    }

    /// Reads the JSON value on standard output.
    #[track_caller]
    pub(crate) fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error}:\nstdout:\n{}\nstderr:\n{}", self.out, self.err))
    }
}

impl World {
    /// Makes an empty world with two cores.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("csync-test-").tempdir().expect("a temporary directory");
        fs::create_dir(dir.path().join("work")).expect("a directory to work in");
        let home = dir.path().display();
        let path = std::env::var("PATH").expect("PATH is set");
        let env = [
            ("PATH", path),
            ("HOME", home.to_string()),
            ("CSYNC_STATE", format!("{home}/state")),
            ("CSYNC_CPUS", "2".to_owned()),
            ("LC_ALL", "C.UTF-8".to_owned()),
        ];
        Self { dir, env: env.map(|(name, value)| (name.to_owned(), value)).into() }
    }

    /// Sets a variable for what is started from now on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// The directory that commands work in.
    pub(crate) fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// The state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.env
            .iter()
            .find(|(name, _)| name == "CSYNC_STATE")
            .map(|(_, value)| PathBuf::from(value))
            .expect("it is set")
    }

    /// Writes a file, its directories too.
    pub(crate) fn write(&self, path: impl AsRef<Path>, text: impl AsRef<[u8]>) {
        let path = self.work().join(path);
        fs::create_dir_all(path.parent().expect("a file has a directory")).expect("directories");
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Reads a file as text.
    #[track_caller]
    pub(crate) fn read(&self, path: impl AsRef<Path>) -> String {
        let path = self.work().join(path);
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether a file is there.
    pub(crate) fn has(&self, path: impl AsRef<Path>) -> bool {
        self.work().join(path).exists()
    }

    /// csync with this world's environment, not yet started.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.program(env!("CARGO_BIN_EXE_csync"), args)
    }

    /// Any program with this world's environment, not yet started.
    pub(crate) fn program(&self, program: impl AsRef<OsStr>, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.work())
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs csync to its end.
    #[track_caller]
    pub(crate) fn csync(&self, args: &[&str]) -> Ran {
        finish(&mut self.command(args))
    }

    /// Starts csync and leaves it running.
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        self.command(args).spawn().expect("csync starts")
    }

    /// Writes `workflow.toml` with a name and these tasks.
    pub(crate) fn workflow(&self, tasks: &str) {
        self.write("workflow.toml", format!("name = \"journey\"\nschema = 1\n{tasks}"));
    }

    /// Submits `workflow.toml` and stays until the run is over.
    #[track_caller]
    pub(crate) fn submit(&self) -> Ran {
        self.csync(&["submit", "workflow.toml"])
    }

    /// Submits `workflow.toml` and returns the run.
    #[track_caller]
    pub(crate) fn submit_detached(&self) -> RunId {
        self.csync(&["submit", "--detach", "--json", "workflow.toml"]).code(0).json::<Submitted>().run
    }

    /// What is known of a run (`last`, or a number).
    #[track_caller]
    pub(crate) fn detail(&self, run: &str) -> RunDetail {
        self.csync(&["show", run, "--json"]).code(0).json()
    }

    /// All instances of a run's task, or the one of this label.
    #[track_caller]
    pub(crate) fn instances(&self, run: &str, label: &str) -> Vec<InstanceView> {
        let page = self.csync(&["show", run, label, "--json", "-n", "100000"]).code(0);
        page.json::<csync::model::api::InstancePage>().instances
    }

    /// Counters of the last run as words: `3 done, 1 cached`, without those that are zero.
    #[track_caller]
    pub(crate) fn counts(&self) -> String {
        let counts = self.detail("last").summary.counts;
        let named = [
            (counts.pending + counts.ready + counts.queued + counts.running, "to do"),
            (counts.done, "done"),
            (counts.cached, "cached"),
            (counts.failed, "failed"),
            (counts.cancelled, "cancelled"),
            (counts.skipped, "skipped"),
            (counts.lost, "lost"),
        ];
        let words = named.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}"));
        words.collect::<Vec<_>>().join(", ")
    }

    /// The engine's process, if one lives.
    pub(crate) fn engine(&self) -> Option<i32> {
        self.processes().into_iter().find(|pid| has_arguments(*pid, &["engine", "serve"]))
    }

    /// The worker's process, if one lives.
    pub(crate) fn worker(&self) -> Option<i32> {
        self.processes().into_iter().find(|pid| has_arguments(*pid, &["worker"]))
    }

    /// Every process that has this world's state directory in its environment, or (the worker) as an argument.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let state = self.state().display().to_string();
        let variable = format!("CSYNC_STATE={state}");
        let has = |pid: i32, file: &str, word: &str| {
            let words = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            words.split(|byte| *byte == 0).any(|found| found == word.as_bytes())
        };
        all_processes().filter(|&pid| has(pid, "environ", &variable) || has(pid, "cmdline", &state)).collect()
    }

    /// Stops the engine and expects that nothing of this world runs any more.
    #[track_caller]
    pub(crate) fn stop(&self) {
        if self.engine().is_some() {
            self.csync(&["engine", "stop"]).code(0);
        }
        until("everything ends after the engine", || self.processes().is_empty());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let began = Instant::now();
        let dir = self.dir.path().display().to_string();
        loop {
            // Of other state directories in this world too.
            let left: Vec<i32> = all_processes().filter(|&pid| names(pid, &dir)).collect();
            if left.is_empty() || began.elapsed() > DEADLINE {
                break;
            }
            left.into_iter().for_each(kill);
        }
    }
}

/// Ends a process as a crash does.
pub(crate) fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        // An error says that it is gone already.
        let _gone = kill_process(pid, Signal::KILL);
    }
}

/// Waits for a condition.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < DEADLINE, "not within {} s: {what}", DEADLINE.as_secs());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a command to its end; one that hangs is killed and fails the test.
#[track_caller]
pub(crate) fn finish(command: &mut Command) -> Ran {
    let child = command.spawn().expect("the program starts");
    finish_child(child)
}

/// Waits for the end of a command that was started.
#[track_caller]
pub(crate) fn finish_child(child: Child) -> Ran {
    let pid = i32::try_from(child.id()).expect("a process id");
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        let hangs =
            receiver.recv_timeout(2 * DEADLINE).is_err_and(|error| error == std::sync::mpsc::RecvTimeoutError::Timeout);
        if hangs {
            kill(pid);
        }
        hangs
    });
    let output = child.wait_with_output().expect("it can be waited for");
    drop(sender);
    let hung = watch.join().expect("the watch ends");
    assert!(!hung, "hangs; it said: {:?}", Ran::of(&output));
    Ran::of(&output)
}

fn all_processes() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .expect("/proc is there")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| !fs::read(format!("/proc/{pid}/stat")).is_ok_and(|stat| is_zombie(&stat)))
}

/// Whether a process has these words in its environment or its arguments.
fn names(pid: i32, words: &str) -> bool {
    ["environ", "cmdline"].iter().any(|file| {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        pid != std::process::id().cast_signed() && bytes.windows(words.len()).any(|window| window == words.as_bytes())
    })
}

fn is_zombie(stat: &[u8]) -> bool {
    let after_name = stat.iter().rposition(|byte| *byte == b')').unwrap_or(0);
    stat.get(after_name + 2) == Some(&b'Z')
}

fn has_arguments(pid: i32, wanted: &[&str]) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let arguments: Vec<&OsStr> = line.split(|byte| *byte == 0).map(OsStr::from_bytes).collect();
    let is_csync = arguments.first().is_some_and(|program| Path::new(program).file_name() == Some(OsStr::new("csync")));
    is_csync && arguments[1..].windows(wanted.len()).any(|window| window.iter().zip(wanted).all(|(a, b)| a == b))
}
