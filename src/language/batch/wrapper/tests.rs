//! The wrapper under every shell that is here.

mod nodes;
mod outputs;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::model::job::Invocation;
use crate::model::resources::{Flow, Io, Meter};
use crate::model::units::{Bytes, Walltime};

const PATIENCE: Duration = Duration::from_mins(1);

/// Runs the shell with busybox's own tools, as on hosts that have no others (Alpine, and wherever busybox-static is `sh`).
const BARE: &str = "env";

/// The shells that may be a host's `/bin/sh`, as far as they are here.
fn shells() -> impl Iterator<Item = Vec<&'static str>> {
    let all: [&[&str]; 6] =
        [&["dash"], &["bash", "--posix"], &["busybox", "sh"], &[BARE, "busybox", "sh"], &["mksh"], &["ksh93"]];
    let there = |shell: &Vec<_>| Command::new(shell[0]).args(&shell[1..]).args(["-c", "exit 0"]).output();
    let there = |shell: &Vec<_>| there(shell).is_ok_and(|done| done.status.success());
    let shells: Vec<_> = all.map(<[_]>::to_vec).into_iter().filter(there).collect();
    assert!(!shells.is_empty(), "bash at least is here");
    shells.into_iter()
}

/// A submission's directory on this machine.
struct Submission {
    dir: TempDir,
}

fn member(name: &str, script: &str) -> Member {
    Member {
        name: name.to_owned(),
        label: name.to_owned(),
        invocation: Invocation::Script(script.to_owned()),
        workdir: String::new(),
        env: Vec::new(),
        umask: 0o022,
        stdin: None,
        inputs: Vec::new(),
        outputs: Vec::new(),
        time: None,
        grace: 10,
        checkpoint: None,
        output_cap: None,
    }
}

impl Submission {
    /// Writes the files of these members; those without a directory to work in get `work`.
    fn new(members: &[Member]) -> Self {
        let dir = tempfile::Builder::new().prefix("it's a dir").tempdir().unwrap();
        let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
        let mut files = submission_files(&names).unwrap();
        for mut member in members.iter().cloned() {
            if member.workdir.is_empty() {
                member.workdir = dir.path().join("work").display().to_string();
            }
            files.extend(member.files().unwrap());
        }
        for file in files {
            let path = dir.path().join(&file.path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file.content).unwrap();
        }
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn root(&self) -> String {
        self.dir.path().display().to_string()
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(name)).unwrap()).into_owned()
    }

    fn record(&self, member: &str) -> Option<Record> {
        Record::parse(&fs::read_to_string(self.path(member).join("status")).ok()?)
    }

    fn ended(&self, member: &str) -> Option<Ended> {
        match self.record(member)?.stage {
            Stage::Ended(ended) => Some(*ended),
            Stage::Started => None,
        }
    }

    fn command(&self, shell: &[&str], index: &str) -> Command {
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).arg(self.path("wrapper.sh")).arg("run").arg(self.dir.path()).arg(index);
        command.current_dir("/").stdin(Stdio::null());
        if shell.contains(&BARE) {
            let (tools, path) = (self.path("tools"), std::env::var("PATH").unwrap_or_default());
            fs::create_dir_all(&tools).unwrap();
            assert!(Command::new("busybox").args(["--install", "-s"]).arg(&tools).status().unwrap().success());
            command.env("PATH", format!("{}:{path}", tools.display()));
        }
        command
    }

    /// Runs the first member to its end; the exit code that a batch system sees, and the record.
    fn run(&self, shell: &[&str]) -> (Option<i32>, Ended) {
        let bounded: Vec<_> = ["timeout", "60"].iter().chain(shell).copied().collect();
        let done = self.command(&bounded, "1").output().unwrap();
        let ended = self.ended("a").unwrap_or_else(|| panic!("{shell:?}: no record: {done:?}"));
        (done.status.code(), ended)
    }

    fn start(&self, shell: &[&str]) -> Child {
        self.command(shell, "1").spawn().unwrap()
    }
}

fn sh(text: &str) -> Output {
    Command::new("sh").args(["-c", text]).output().unwrap()
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "still not: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn lives(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "))
}

fn signal(pid: &str, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), pid.trim()]).status().unwrap().success());
}

/// What a job does, and how it is to end.
#[test]
fn endings_are_told_whatever_the_job_does_to_its_shell() {
    let table: [(&str, i32); 12] = [
        ("true", 0),
        ("exit 3", 3),
        ("false; exit 0", 1),
        ("true | false | true", 1),
        ("echo $nothing", 1),
        ("exec sh -c 'exit 5'", 5),
        ("trap 'exit 9' EXIT; true", 9),
        ("trap '' TERM; exit 4", 4),
        ("kill -9 $$", 137),
        ("kill -SEGV $$", 139),
        ("exec 1>&- 2>&-; exit 6", 6),
        ("nosuchcommand", 127),
    ];
    for shell in shells() {
        for (script, code) in table {
            let submission = Submission::new(&[member("a", script)]);
            let (seen, ended) = submission.run(&shell);
            assert_eq!((seen, ended.how), (Some(code), How::Exit(code)), "{shell:?}: {script}");
        }
    }
}

#[test]
fn a_record_says_where_when_and_under_which_id() {
    let submission = Submission::new(&[member("other", "true"), member("b", "true")]);
    let done = submission
        .command(&["sh"], "")
        .args(["unused"])
        .env("SLURM_JOB_ID", "78")
        .env("SLURM_ARRAY_JOB_ID", "77")
        .env("SLURM_ARRAY_TASK_ID", "2")
        .env("SLURM_CPUS_ON_NODE", "4")
        .env("SLURM_MEM_PER_CPU", "100")
        .env("SLURM_RESTART_COUNT", "1")
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    assert!(submission.record("other").is_none(), "another member was not asked for");
    let record = submission.record("b").unwrap();
    assert_eq!(record.submission, submission.dir.path().file_name().unwrap().to_str().unwrap());
    assert_eq!((record.member.as_str(), record.batch.as_deref(), record.restarts), ("b", Some("77_2"), 1));
    assert_eq!((record.granted.cpus, record.granted.mem), (Some(4), Some(Bytes::mib(400))));
    assert_eq!(record.host, String::from_utf8_lossy(&sh("uname -n").stdout).trim());
    let Stage::Ended(ended) = record.stage else { panic!("it ended") };
    assert!(ended.at >= record.started);
    assert_eq!(submission.read("news/b"), submission.read("b/status"));
}

#[test]
fn grid_engine_is_not_told_to_run_it_again_for_ever() {
    let submission = Submission::new(&[member("a", "exit 99")]);
    let done = submission.command(&["sh"], "").env("JOB_ID", "5").env("SGE_TASK_ID", "undefined").output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert_eq!(submission.ended("a").unwrap().how, How::Exit(99));
    assert_eq!(submission.record("a").unwrap().batch.as_deref(), Some("5"));
}

#[test]
fn hostile_names_values_and_outputs_come_through() {
    const NAME: &str = "a 'b' \"c\" $(d) `e` \\n\n\\ -f;&*";
    for shell in shells() {
        let script =
            "printf '%s|' \"$ODD\" \"$0\"; cat; cat -- \"$IN\"; printf '\\000\\033[31m\\n' | tee -- \"$OUT\" >&2";
        let mut odd = member("a", script);
        odd.label = NAME.to_owned();
        odd.env = [("ODD", NAME), ("IN", NAME), ("OUT", "dir \n/out\\n"), ("UID", "5"), ("IFS", "x")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        odd.inputs = vec![NAME.to_owned()];
        odd.outputs = vec!["dir \n/out\\n".to_owned()];
        let submission = Submission::new(&[odd.clone()]);
        odd.stdin = Some(submission.path("work").join(NAME).display().to_string());
        fs::write(submission.path("a/spec"), {
            odd.workdir = submission.path("work").display().to_string();
            odd.files().unwrap().swap_remove(0).content
        })
        .unwrap();
        fs::create_dir(submission.path("work")).unwrap();
        fs::write(submission.path("work").join(NAME), "in\n").unwrap();
        let (code, ended) = submission.run(&shell);
        assert_eq!((code, ended.how), (Some(0), How::Exit(0)), "{shell:?}: {}", submission.read("a/stderr"));
        assert_eq!(submission.read("a/stdout"), format!("{NAME}|{NAME}|in\nin\n"), "{shell:?}");
        assert_eq!(fs::read(submission.path("a/stderr")).unwrap(), b"\0\x1b[31m\n");
        assert_eq!(fs::read(submission.path("work/dir \n/out\\n")).unwrap(), b"\0\x1b[31m\n");
    }
}

#[test]
fn argument_lists_pass_through_no_shell() {
    for shell in shells() {
        let mut plain = member("a", "");
        plain.invocation =
            Invocation::Argv(["printf", "%s|", "a b", "$HOME", "", "-n\n", "*"].map(str::to_owned).into());
        let submission = Submission::new(&[plain.clone()]);
        assert_eq!(submission.run(&shell).0, Some(0), "{shell:?}");
        assert_eq!(submission.read("a/stdout"), "a b|$HOME||-n\n|*|", "{shell:?}");

        plain.invocation = Invocation::Argv(vec!["no such program".to_owned()]);
        let (_, ended) = Submission::new(&[plain]).run(&shell);
        assert_eq!(ended.how, How::Spawn("no such program is not there".to_owned()), "{shell:?}");
    }
}

#[test]
fn missing_files_are_named() {
    for shell in shells() {
        let mut lacks = member("a", "echo ran; touch there");
        lacks.inputs = vec!["in\nput".to_owned(), "/".to_owned()];
        let submission = Submission::new(&[lacks.clone()]);
        let (code, ended) = submission.run(&shell);
        assert_eq!((code, ended.how), (Some(66), How::MissingInputs(vec!["in\nput".to_owned()])), "{shell:?}");
        assert!(!submission.path("a/stdout").exists(), "it did not run");

        lacks.inputs.clear();
        lacks.outputs = vec!["there".to_owned(), "new/not there".to_owned(), "old".to_owned()];
        let submission = Submission::new(&[lacks]);
        fs::create_dir(submission.path("work")).unwrap();
        fs::write(submission.path("work/old"), "from before").unwrap();
        let (code, ended) = submission.run(&shell);
        let missing = ["new/not there", "old"].map(str::to_owned).to_vec();
        assert_eq!((code, ended.how), (Some(0), How::MissingOutputs(missing)), "{shell:?}");
        assert!(submission.path("work/new").is_dir());
    }
}

#[test]
fn what_a_job_leaves_behind_is_ended() {
    // The second one waits without becoming another program: a process in the middle of that has no environment to be known by.
    let script = "mkfifo hold; sleep 600 & echo $!; setsid sh -c 'echo $$; read -r line <hold' &
        until [ $(wc -l < ../a/stdout) = 2 ]; do :; done";
    for shell in shells() {
        let submission = Submission::new(&[member("a", script)]);
        let (code, ended) = submission.run(&shell);
        assert_eq!((code, ended.left), (Some(0), 2), "{shell:?}");
        assert!(submission.read("a/stdout").lines().all(|pid| !lives(pid)), "{shell:?}");
    }
}

#[test]
fn pbs_is_told_of_the_session_that_the_job_has_of_its_own() {
    // What a session is: the sixth field of `stat`.
    let session = "read -r _ _ _ _ _ s _ </proc/$p/stat; echo $s";
    for shell in shells() {
        let submission = Submission::new(&[member("a", &format!("p=$$; {session} $$"))]);
        let (tools, path) = (submission.path("pbs"), std::env::var("PATH").unwrap());
        fs::create_dir_all(&tools).unwrap();
        let program = format!("#!/bin/sh\nexec >\"${{0%/*}}/told\"\np=$2; {session} $2\n");
        fs::write(tools.join("pbs_attach"), program).unwrap();
        fs::set_permissions(tools.join("pbs_attach"), fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = submission.command(&shell, "1");
        let path = if shell.contains(&BARE) { format!("{}:{path}", submission.path("tools").display()) } else { path };
        command.env("PATH", format!("{}:{path}", tools.display())).env("PBS_JOBCOOKIE", "1");
        assert!(command.status().unwrap().success(), "{shell:?}");
        let (told, own) = (submission.read("pbs/told"), submission.read("a/stdout"));
        // The job's first process leads it.
        assert_eq!(told, own, "{shell:?}");
        let ids: Vec<&str> = own.split_whitespace().collect();
        assert_eq!(ids[0], ids[1], "{shell:?}");
    }
}

#[test]
fn memory_and_cpu_of_the_tree_are_measured() {
    // `tail` keeps what comes through a pipe: 200 MB, in a process two below the job's.
    let script = "{ head -c 200000000 /dev/zero; sleep 1; } | tail -c 200000000 | wc -c
        n=0; while [ $n -lt 200000 ]; do n=$((n + 1)); done";
    for shell in shells() {
        let (code, ended) = Submission::new(&[member("a", script)]).run(&shell);
        assert_eq!((code, ended.usage.meter), (Some(0), Meter::Proc), "{shell:?}");
        let peak = ended.usage.peak_memory.0 as f64 / 2e8;
        assert!((0.95..1.10).contains(&peak), "{shell:?}: {peak}");
        assert!(ended.usage.cpu() > 0.1 && ended.usage.cpu() < 60.0, "{shell:?}: {:?}", ended.usage);
        assert!(ended.usage.wall >= 1.0, "{shell:?}: {:?}", ended.usage);
    }
}

#[test]
fn what_the_tree_read_and_wrote_is_counted() {
    // More than 2^31 bytes, where some shells stop counting; `head` writes what it reads, `tail` reads that again.
    let counted = "head -c 3000000000 /dev/zero >/dev/null; head -c 1000000 /dev/zero | tail -c 1 >/dev/null";
    // Nobody waits for what runs on without its parent: looks at the processes see it.
    let astray = "mkfifo hold; ( { head -c 50000000 /dev/zero | tail -c 1 >/dev/null; read -r line <hold; } & )
        n=0; until awk '$5 >= 100000000 { seen = 1 } END { exit !seen }' ../a/.usage || [ $n = 600 ]; do
        n=$((n + 1)); sleep 0.05; done 2>/dev/null; echo >hold";
    let within = |bytes: Bytes, most: u64| (most..most + most / 100 + 1_000_000).contains(&bytes.0);
    for shell in shells() {
        let (code, ended) = Submission::new(&[member("a", counted)]).run(&shell);
        let Some(io) = ended.usage.io else {
            assert!(!Path::new("/proc/self/io").exists(), "{shell:?}: {ended:?}");
            return;
        };
        assert_eq!((code, io.flow), (Some(0), Flow::Calls), "{shell:?}");
        assert!(within(io.read, 3_002_000_000) && within(io.written, 3_001_000_000), "{shell:?}: {io:?}");
        let (code, ended) = Submission::new(&[member("a", astray)]).run(&shell);
        let io = ended.usage.io.unwrap();
        assert_eq!(code, Some(0), "{shell:?}");
        assert!(within(io.read, 100_000_000) && within(io.written, 50_000_000), "{shell:?}: {io:?}");
    }
}

#[test]
fn what_devices_saw_counts_where_nothing_else_does() {
    let record = |lines: &str| {
        let text = format!(
            "csync=1\nsubmission=s\nmember=a\nhost=h\nstarted=5\npid=1\nbirth=2\nboot=b\nstate=ended\nhow=exit\ncode=0\n\
             ended=9\n{lines}end=1\n"
        );
        let Stage::Ended(ended) = Record::parse(&text).unwrap().stage else { panic!("{text}") };
        ended.usage.io
    };
    let io = |read, written, flow| Some(Io { read: Bytes(read), written: Bytes(written), flow });
    assert_eq!(record("device_io=7 8\n"), io(7, 8, Flow::Devices));
    assert_eq!(record("proc_io=0 0\ndevice_io=7 8\n"), io(7, 8, Flow::Devices), "nobody looked in time");
    assert_eq!(record("proc_io=50 2\ndevice_io=7 8\n"), io(50, 2, Flow::Sampled));
    assert_eq!(record("io=100 10 160 30\nproc_io=50 2\n"), io(60, 20, Flow::Calls));
    assert_eq!(record("io=100 10 101 11\nproc_io=50 2\n"), io(50, 2, Flow::Sampled));
    for broken in ["io=100 10 99 11\n", "io=1 2 3\n", "io=1 2 3 x\n", "proc_io=1\n", "device_io=\n", ""] {
        assert_eq!(record(broken), None, "{broken}");
    }
}

#[test]
fn a_control_group_is_read_where_it_can_be() {
    // Version 1 counts in each task of Slurm's, version 2 for all that is below.
    let first =
        ["memory.max_usage_in_bytes", "task_0/memory.oom_control", "task_1/memory.oom_control", "memory.oom_control"];
    for files in [&first[..], &["memory.peak", "memory.events"]] {
        let submission = Submission::new(&[member("a", "true")]);
        let group = submission.path("group");
        for (n, file) in files.iter().enumerate() {
            fs::create_dir_all(group.join(file).parent().unwrap()).unwrap();
            let kills = [0, 2, 1, 0][n];
            let text = if n == 0 { "12345678\n".to_owned() } else { format!("low 0\noom 3\noom_kill {kills}\n") };
            fs::write(group.join(file), text).unwrap();
        }
        let spec = format!("{}cgroup={}\n", submission.read("a/spec"), group.display());
        fs::write(submission.path("a/spec"), spec).unwrap();
        let (_, ended) = submission.run(&["sh"]);
        assert_eq!((ended.usage.peak_memory, ended.usage.meter), (Bytes(12_345_678), Meter::Cgroup), "{files:?}");
        assert_eq!(ended.oom_kills, Some(if files.len() > 2 { 3 } else { 2 }), "{files:?}");
    }
}

#[test]
fn signals_of_the_batch_system_reach_the_job_and_the_record() {
    let script = "trap 'echo got USR1' USR1; trap 'echo got TERM; exit 7' TERM; echo ready; while :; do sleep 0.05 || true; done";
    for shell in shells() {
        let submission = Submission::new(&[member("a", script)]);
        let mut wrapper = submission.start(&shell);
        let out = || fs::read_to_string(submission.path("a/stdout")).unwrap_or_default();
        until("it is ready", || out().contains("ready"));
        assert_eq!(submission.record("a").unwrap().stage, Stage::Started);
        signal(&wrapper.id().to_string(), "USR1");
        until("the warning arrived", || out().contains("got USR1"));
        signal(&wrapper.id().to_string(), "TERM");
        assert_eq!(wrapper.wait().unwrap().code(), Some(7), "{shell:?}");
        let ended = submission.ended("a").unwrap();
        assert_eq!(ended.how, How::Exit(7), "{shell:?}");
        assert_eq!(ended.signals.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["USR1", "TERM"]);
        assert!(out().contains("got TERM"));
    }
}

#[test]
fn walltime_is_kept_with_a_warning_before_and_a_kill_behind() {
    for shell in shells() {
        let mut long =
            member("a", "trap 'echo warned' USR2; trap 'echo asked' TERM; while :; do sleep 0.05 || true; done");
        long.time = Some(Walltime(2));
        long.grace = 1;
        long.checkpoint = Some(("USR2".to_owned(), 1));
        let submission = Submission::new(&[long]);
        let (code, ended) = submission.run(&shell);
        assert_eq!((code, ended.how), (Some(137), How::Walltime(137)), "{shell:?}");
        assert_eq!(submission.read("a/stdout"), "warned\nasked\n", "{shell:?}");
    }
}

#[test]
fn output_beyond_the_cap_is_counted() {
    for shell in shells() {
        let mut loud = member("a", "head -c 3000000 /dev/zero; echo err >&2; exit 3");
        loud.output_cap = Some(Bytes(1_000_000));
        let submission = Submission::new(&[loud]);
        let (code, ended) = submission.run(&shell);
        assert_eq!((code, ended.how), (Some(3), How::Exit(3)), "{shell:?}");
        assert_eq!(fs::metadata(submission.path("a/stdout")).unwrap().len(), 1_000_000, "{shell:?}");
        // The `head` of busybox takes the rest of its last block along.
        let most = if shell.contains(&BARE) { 4096 } else { 0 };
        assert_eq!((submission.read("a/stderr").as_str(), ended.dropped.1), ("err\n", 0), "{shell:?}");
        assert!((2_000_000 - most..=2_000_000).contains(&ended.dropped.0), "{shell:?}: {:?}", ended.dropped);
    }
}

#[test]
fn a_killed_wrapper_leaves_a_record_and_no_job() {
    for shell in shells() {
        // The job itself kills its parent, which is the wrapper, before all else.
        let script = "kill -9 $PPID; echo $$; exec sleep 600";
        let submission = Submission::new(&[member("a", script)]);
        assert_eq!(submission.start(&shell).wait().unwrap().code(), None);
        until("the record is there", || submission.ended("a").is_some());
        assert_eq!(submission.ended("a").unwrap().how, How::WrapperKilled, "{shell:?}");
        assert!(!lives(&submission.read("a/stdout")), "{shell:?}");
    }
}

#[test]
fn what_a_killed_wrapper_was_told_before_is_in_its_record() {
    for shell in shells() {
        let submission = Submission::new(&[member("a", "trap 'echo told' TERM; while :; do sleep 0.05 || true; done")]);
        let mut run = submission.start(&shell);
        until("it runs", || submission.record("a").is_some() && submission.path("a/.usage").exists());
        signal(&run.id().to_string(), "TERM");
        until("it is written down", || fs::metadata(submission.path("a/.signals")).is_ok_and(|meta| meta.len() > 0));
        signal(&run.id().to_string(), "KILL");
        assert_eq!(run.wait().unwrap().code(), None, "{shell:?}");
        until("the record is there", || submission.ended("a").is_some());
        let ended = submission.ended("a").unwrap();
        assert_eq!((ended.how, ended.signals.len()), (How::WrapperKilled, 1), "{shell:?}");
        assert_eq!(ended.signals[0].0, "TERM", "{shell:?}");
    }
}

#[test]
fn a_job_that_was_started_again_elsewhere_leaves_that_one_alone() {
    for shell in shells() {
        let submission =
            Submission::new(&[Member { outputs: vec!["o".to_owned()], ..member("a", "echo $$; exec sleep 600") }]);
        let mut run = submission.start(&shell);
        until("it runs", || submission.path("a/stdout").exists() && submission.read("a/stdout").ends_with('\n'));
        let process = submission.read("a/stdout");
        // What the other one wrote when it began, on another node.
        let begun = submission.read("a/status");
        let host = begun.lines().find(|line| line.starts_with("host=")).unwrap();
        let theirs = begun.replace(host, "host=elsewhere");
        fs::write(submission.path("a/.theirs"), &theirs).unwrap();
        fs::rename(submission.path("a/.theirs"), submission.path("a/status")).unwrap();
        fs::write(submission.path("a/.spawn"), "theirs").unwrap();
        assert_eq!(run.wait().unwrap().code(), Some(1), "{shell:?}");
        assert!(!lives(&process), "{shell:?}");
        assert_eq!(submission.read("a/status"), theirs, "{shell:?}");
        assert_eq!(submission.read("a/.spawn"), "theirs", "what the other one keeps there stays");
    }
}

#[test]
fn a_job_whose_directory_was_taken_away_does_not_run_on() {
    for shell in shells() {
        let submission = Submission::new(&[member("a", "echo $$; exec sleep 600")]);
        let mut run = submission.start(&shell);
        until("it runs", || submission.path("a/stdout").exists() && submission.read("a/stdout").ends_with('\n'));
        let process = submission.read("a/stdout");
        // The guardian writes there now and then.
        until("it is gone", || {
            drop(fs::remove_dir_all(submission.path("a")));
            !submission.path("a").exists()
        });
        run.wait().unwrap();
        assert!(!lives(&process), "{shell:?}");
    }
}

fn run_text(command: &str) -> String {
    let done = sh(command);
    assert!(done.status.success(), "{command}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}

fn ask(submission: &Submission, request: &NewsRequest) -> News {
    let mut child = Command::new("sh")
        .args(["-c", &news_command(&submission.root())])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(request.text().as_bytes()).unwrap();
    let news = parse_news(&child.wait_with_output().unwrap().stdout);
    assert!(news.complete, "{news:?}");
    news
}

fn is_alive(submission: &Submission, process: &Process) -> bool {
    let mut request = NewsRequest::default();
    request.alive(process, "it");
    ask(submission, &request).alive == [("it".to_owned(), true)]
}

#[test]
fn detached_members_run_so_many_at_once_and_are_started_once() {
    let script = "echo $CSYNC_SCRIPT >> ../log; until [ -e ../go ]; do sleep 0.02; done";
    let submission = Submission::new(&["a", "b", "c", "d"].map(|name| member(name, script)));
    let detach = detach_command(&submission.root(), 2);
    let first = run_text(&detach);
    let crew = Process::parse(&first).expect("a process");
    assert_eq!(run_text(&detach), first, "asked again, it tells of the same one");
    let log = || fs::read_to_string(submission.path("log")).unwrap_or_default().lines().count();
    until("two run", || log() == 2);
    assert!(is_alive(&submission, &crew));
    assert!(!is_alive(&submission, &Process { birth: crew.birth + 1, ..crew.clone() }), "its number was given again");
    assert!(!is_alive(&submission, &Process { boot: "another".to_owned(), ..crew.clone() }), "the host was booted");
    fs::write(submission.path("go"), "").unwrap();
    until("all ended", || ["a", "b", "c", "d"].iter().all(|name| submission.ended(name).is_some()));
    assert_eq!(log(), 4);
    until("nobody stays", || !is_alive(&submission, &crew));
}

#[test]
fn detached_members_are_cancelled() {
    let script = "trap '' TERM; echo $$; sleep 600 & wait; wait; sleep 600";
    let members = ["a", "b", "c"].map(|name| Member { grace: 1, ..member(name, script) });
    let submission = Submission::new(&members);
    let crew = Process::parse(&run_text(&detach_command(&submission.root(), 2))).unwrap();
    let out = |name: &str| fs::read_to_string(submission.path(name).join("stdout")).unwrap_or_default();
    until("two run", || ["a", "b"].iter().all(|name| out(name).ends_with('\n')));
    run_text(&cancel_command(&submission.root(), &[1, 3]));
    until("the first ended", || submission.ended("a").is_some());
    assert_eq!(submission.ended("a").unwrap().how, How::Cancelled(Some(137)));
    assert!(!lives(&out("a")) && lives(&out("b")));
    until("the third never started", || submission.ended("c").is_some());
    assert_eq!(submission.ended("c").unwrap().how, How::Cancelled(None));
    assert!(!submission.path("c/stdout").exists());
    run_text(&cancel_command(&submission.root(), &[]));
    until("all ended", || submission.ended("b").is_some());
    until("nobody stays", || !is_alive(&submission, &crew));
    assert!(!lives(&out("b")));
}

#[test]
fn killing_a_detached_wrapper_is_noticed() {
    let submission = Submission::new(&[member("a", "echo $$; sleep 600")]);
    run_text(&detach_command(&submission.root(), 1));
    until("it runs", || {
        submission.record("a").is_some() && fs::read(submission.path("a/stdout")).is_ok_and(|out| !out.is_empty())
    });
    let process = submission.record("a").unwrap().process;
    assert!(is_alive(&submission, &process));
    signal(&process.pid.to_string(), "KILL");
    until("it is told", || !is_alive(&submission, &process) && submission.ended("a").is_some());
    assert_eq!(submission.ended("a").unwrap().how, How::WrapperKilled);
    assert!(!lives(&submission.read("a/stdout")));
}

#[test]
fn news_tell_what_changed_and_show_pieces_of_files() {
    let submission = Submission::new(&[member("a", "printf 'one\\ntwo\\000'"), member("b", "exit 3")]);
    let stamp = submission.path("stamp").display().to_string();
    submission.run(&["sh"]);
    let stdout = submission.path("a/stdout").display().to_string();
    let mut request = NewsRequest::default();
    request.stamp(&stamp);
    request.since("/no such stamp");
    request.records(&submission.root());
    request.records("/no such directory");
    request.tail(&stdout, 4, 100);
    request.tail(&stdout, 0, 3);
    request.tail("/no such\nfile", 0, 3);
    let news = ask(&submission, &request);
    assert_eq!(news.records, [submission.record("a").unwrap()]);
    let tail = |size, from, bytes: &[u8]| Tail { path: stdout.clone(), size, from, bytes: bytes.to_vec() };
    let gone = Tail { path: "/no such\nfile".to_owned(), ..tail(None, 0, b"") };
    assert_eq!(news.tails, [tail(Some(8), 4, b"two\0"), tail(Some(8), 0, b"one"), gone]);

    // A stamp of its own time: files' times may be coarse.
    let past = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::open(submission.path("news/a")).unwrap().set_modified(past).unwrap();
    fs::File::open(&stamp).unwrap().set_modified(past + Duration::from_secs(1)).unwrap();
    submission.command(&["sh"], "2").status().unwrap();
    let mut request = NewsRequest::default();
    request.since(&stamp);
    request.records(&submission.root());
    assert_eq!(ask(&submission, &request).records, [submission.record("b").unwrap()]);
    let mut request = NewsRequest::default();
    request.record(&submission.path("a").display().to_string());
    assert_eq!(ask(&submission, &request).records, [submission.record("a").unwrap()]);
}

#[test]
fn ten_thousand_records_come_in_one_reply() {
    let submission = Submission::new(&[member("a", "true")]);
    submission.run(&["sh"]);
    let record = submission.read("news/a");
    for number in 0..10_000 {
        let text = record.replace("member=a\n", &format!("member=m{number}\n"));
        fs::write(submission.path(&format!("news/m{number}")), text).unwrap();
    }
    let mut request = NewsRequest::default();
    request.records(&submission.root());
    let news = ask(&submission, &request);
    assert_eq!((news.records.len(), news.unreadable), (10_001, 0));
}

#[test]
fn replies_that_were_cut_off_are_true_as_far_as_they_go() {
    let whole = "csync=1\nsubmission=s\nmember=m\nhost=h\nstarted=5.25\npid=1\nbirth=2\nboot=b\nstate=started\nend=1\n";
    let mut reply = whole.repeat(2);
    reply.push_str("tail 9 0 3 /f\nabc\ndone\n");
    let news = parse_news(reply.as_bytes());
    assert_eq!((news.records.len(), news.tails.len(), news.complete), (2, 1, true));
    assert_eq!(news.records[0].started.0, 5_250_000);
    for cut in 0..reply.len() - 1 {
        let news = parse_news(&reply.as_bytes()[..cut]);
        assert!(news.records.len() <= 2 && news.records.iter().all(|record| record.member == "m"), "{cut}");
        assert!(!news.complete, "{cut}");
    }
    // One that was replaced while it was read.
    let torn = format!("{}{whole}done\n", &whole[..21]);
    let news = parse_news(torn.as_bytes());
    assert_eq!((news.records.len(), news.unreadable), (1, 1));
}

#[test]
fn what_no_file_can_say_is_refused() {
    let bad = |change: fn(&mut Member)| {
        let mut member = member("a", "true");
        change(&mut member);
        member.files().unwrap_err().to_string()
    };
    assert_eq!(bad(|m| m.name = "../a".to_owned()), "`../a` cannot be the name of a job directory");
    assert_eq!(bad(|m| m.name = "news".to_owned()), "`news` cannot be the name of a job directory");
    assert_eq!(bad(|m| m.workdir = "a\0".to_owned()), "there is a zero byte in its workdir");
    assert_eq!(
        bad(|m| m.env = vec![("A;B".to_owned(), String::new())]),
        "`A;B` cannot be the name of an environment variable"
    );
    assert_eq!(bad(|m| m.invocation = Invocation::Argv(Vec::new())), "the command is empty");
    assert!(Path::new("/bin/sh").exists() && submission_files(&["a", "-b"]).is_err());
}

proptest! {
    #[test]
    fn any_value_is_read_as_it_was_written(value in "\\PC{0,20}|[\\\\\nn]{0,8}") {
        let mut text = String::new();
        escape(&value, &mut text);
        prop_assert!(!text.contains('\n'));
        prop_assert_eq!(unescape(&text), value);
    }

    #[test]
    fn any_reply_is_survived(reply in prop::collection::vec(any::<u8>(), 0..200), cut in "(csync=1\n|tail 1 2 3 x\n|end=1\n|pid=1\n){0,9}") {
        let mut bytes = cut.into_bytes();
        bytes.extend(reply);
        parse_news(&bytes);
    }
}
