//! What journeys to far hosts share: the hosts of the bed as `hosts.toml` has them, and what is left on them.

use std::fs;
use std::process::Stdio;

use csync::reach::config::StateDir;

use crate::bed::{Bed, read_until};
use crate::world::until;

/// The hosts of the bed.
pub(crate) const HOSTS: &str = r#"
[hosts.hpc]
ssh = "login"
batch = "slurm"
tags = ["cluster"]
policy = { connections_per_minute = 60 }

[hosts.grid]
batch = "sge"
policy = { connections_per_minute = 60 }

[hosts.lab]
ssh = "station"
batch = "none"
policy = { connections_per_minute = 60 }
"#;

/// Writes `hosts.toml`.
pub(crate) fn configure(bed: &Bed, hosts: &str) {
    let dir = bed.home().join(".config/csync");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("hosts.toml"), hosts).unwrap();
}

/// Puts lines before all others into this test's configuration of ssh: the first that says something counts.
pub(crate) fn configure_ssh(bed: &Bed, lines: &str) {
    let path = bed.home().join(".ssh/config");
    let before = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("Host *\n{lines}\n{before}")).unwrap();
}

/// Returns the process id of the engine, as the machine sees it.
pub(crate) fn engine_pid(bed: &Bed) -> u32 {
    let state = bed.home().join("state");
    let wanted = format!("CSYNC_STATE={}", state.display());
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let is_ours = environment.split(|&byte| byte == 0).any(|variable| variable == wanted.as_bytes());
        if is_ours && String::from_utf8_lossy(&line).contains("engine\0serve") {
            return pid;
        }
    }
    panic!("no engine runs");
}

/// Tasks that say when they start, wait to be let go, and make a file.
pub(crate) struct Held<'a> {
    bed: &'a Bed,
    /// The host where they say it.
    host: &'a str,
    trace: String,
    count: u32,
}

impl<'a> Held<'a> {
    /// Submits so many that may run on these hosts (`["hpc", "lab"]`), with these further lines of the task. They say it below a
    /// directory of `host`.
    pub(crate) fn submit(bed: &'a Bed, host: &'a str, on: &str, count: u32, more: &str) -> Self {
        let held = Self { bed, host, trace: bed.scratch(host), count };
        bed.write("held.toml", held.workflow(on, more));
        bed.csync(&["submit", "--detach", "held.toml"]).exits(0);
        held
    }

    fn workflow(&self, on: &str, more: &str) -> String {
        let Self { trace, count, .. } = self;
        format!(
            r#"
name = "held"
[tasks.t]
foreach = {{ range = [1, {count}] }}
outputs = ["out/{{item}}"]
run = "mkdir -p {trace}; echo $CSYNC_JOB >> {trace}/started; while [ ! -e {trace}/go ]; do sleep 0.1; done; echo {{item}} > {{outputs}}"
on = {on}
{more}
"#
        )
    }

    /// Returns the attempts that started, `RUN.INSTANCE.ATTEMPT` a line, in their order.
    pub(crate) fn started(&self) -> Vec<String> {
        self.started_on(self.host)
    }

    /// Returns the attempts that started on another host.
    pub(crate) fn started_on(&self, host: &str) -> Vec<String> {
        let text = self.bed.on(host, &format!("cat {}/started 2>/dev/null", self.trace)).out;
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until all of them run.
    pub(crate) fn run(&self) {
        until("all of them run", || self.started().len() >= self.count as usize);
    }

    /// Lets them go.
    pub(crate) fn release(&self) {
        self.release_on(self.host);
    }

    /// Lets those go that run on another host.
    pub(crate) fn release_on(&self, host: &str) {
        self.bed.on(host, &format!("touch {}/go", self.trace)).exits(0);
    }

    /// Waits for the end; each made its file, ran once, and nothing is left.
    #[track_caller]
    pub(crate) fn done_once(&self) {
        self.bed.csync(&["wait", "last"]).exits(0);
        let mut started: Vec<String> =
            self.started().iter().map(|key| key.split('.').nth(1).unwrap().to_owned()).collect();
        started.sort();
        let wanted: Vec<String> = (0..self.count).map(|n| n.to_string()).collect();
        assert_eq!(started, wanted, "each ran once");
        for n in 1..=self.count {
            assert_eq!(self.bed.read(&format!("out/{n}")), format!("{n}\n"));
        }
        nothing_left(self.bed, self.host);
    }
}

/// Waits until a host has no job, no process and no job directory of ours any more.
#[track_caller]
pub(crate) fn nothing_left(bed: &Bed, host: &str) {
    let id = state_id(bed);
    let (queue, nodes): (&str, &[&str]) = match host {
        "login" => ("squeue -h -o %j", &["login", "n1", "n2", "n3"]),
        "grid" => ("qstat -r", &["gridx"]),
        "pbs" => ("/opt/pbs/bin/qstat -f", &["pbs"]),
        _ => ("true", std::slice::from_ref(&host)),
    };
    until("the queue has none of ours", || !bed.on(host, queue).out.contains(&format!("csync-{id}-")));
    // The job's own mark; and the shell that looks must not find itself.
    let find = format!("grep -slE 'CSYNC_MEMBER=.*csync-{id}-' /proc/[0-9]*/environ");
    for node in nodes {
        until("no process of ours is there", || bed.on(node, &find).out.is_empty());
    }
    // The second is where a probe finds a disk for it.
    let find = format!("ls -d ~/.csync/jobs/csync-{id}-* /mnt/scratch/*/csync/jobs/csync-{id}-* 2>/dev/null");
    until("no job directory of ours is there", || bed.on(host, &find).out.is_empty());
}

/// Returns the short name that this test's csync has in the names of jobs.
pub(crate) fn state_id(bed: &Bed) -> String {
    StateDir::at(bed.home().join("state"), None).id()[..8].to_owned()
}

/// Waits until `why` says all of these words of a task of the last run; returns all that it says.
#[track_caller]
pub(crate) fn why_says(bed: &Bed, task: &str, words: &[&str]) -> String {
    let mut said = String::new();
    let start = std::time::Instant::now();
    loop {
        let done = bed.csync(&["why", "last", task]);
        said.clear();
        said.push_str(&done.out);
        said.push_str(&done.err);
        if words.iter().all(|word| said.contains(word)) {
            return said;
        }
        assert!(start.elapsed() < crate::world::PATIENCE, "`{words:?}` is not all in:\n{said}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// Submits a workflow attached, and waits until it prints this; then leaves it as Ctrl-C does. Returns what it printed.
#[track_caller]
pub(crate) fn submit_says(bed: &Bed, file: &str, words: &str) -> String {
    let mut child = bed.csync_command(&["submit", file]);
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let said = read_until(child.stderr.as_mut().unwrap(), words);
    child.kill().unwrap();
    child.wait().unwrap();
    said
}
