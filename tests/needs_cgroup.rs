//! Memory limits that the kernel enforces: what the wrapper counts, and what is made of it. Needs the right to make a control group.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use csync::decide::outcome::{Asked, Cancel, Evidence, Hearing, Log, Own, Patience, Routing, Verdict, judge};
use csync::language::batch::wrapper::{Ended, Member, Record, Stage, submission_files};
use csync::model::batch::{Answer, CouldNotAsk};
use csync::model::job::{Invocation, Outcome};
use csync::model::resources::Meter;
use csync::model::units::Bytes;

/// A control group of memory, gone with this value.
struct Group(PathBuf);

impl Group {
    fn new(name: &str, limit: u64) -> Self {
        let base = Some(PathBuf::from("/sys/fs/cgroup/memory")).filter(|base| base.is_dir());
        let path = base.unwrap_or_else(|| "/sys/fs/cgroup".into()).join(format!("csync-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        // Version 1, version 2, and where there is one, no room to swap to.
        for (file, value) in [
            ("memory.limit_in_bytes", limit),
            ("memory.memsw.limit_in_bytes", limit),
            ("memory.max", limit),
            ("memory.swap.max", 0),
        ] {
            if path.join(file).exists() {
                fs::write(path.join(file), value.to_string()).unwrap();
            }
        }
        Self(path)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // All in it has ended; what the kernel still counts there is no reason to fail.
        fs::remove_dir(&self.0).ok();
    }
}

/// Runs a script under the wrapper within 80 MiB.
fn run(name: &str, script: &str) -> Ended {
    let group = Group::new(name, 80 << 20);
    let dir = tempfile::tempdir().unwrap();
    let member = Member {
        name: "a".to_owned(),
        label: "a".to_owned(),
        invocation: Invocation::Script(script.to_owned()),
        workdir: dir.path().display().to_string(),
        env: Vec::new(),
        umask: 0o022,
        stdin: None,
        inputs: Vec::new(),
        outputs: Vec::new(),
        time: None,
        grace: 1,
        checkpoint: None,
        output_cap: Some(Bytes::mib(1)),
    };
    for file in submission_files(&["a"]).unwrap().into_iter().chain(member.files().unwrap()) {
        fs::create_dir_all(dir.path().join(&file.path).parent().unwrap()).unwrap();
        fs::write(dir.path().join(file.path), file.content).unwrap();
    }
    let spec = dir.path().join("a/spec");
    fs::write(&spec, format!("{}cgroup={}\n", fs::read_to_string(&spec).unwrap(), group.0.display())).unwrap();
    let enter = "echo $$ > \"$0/cgroup.procs\" && exec sh \"$1/wrapper.sh\" run \"$1\" 1";
    let mut command = Command::new("sh");
    command.args(["-c", enter]).arg(&group.0).arg(dir.path()).stdin(Stdio::null());
    command.status().unwrap();
    let record = Record::parse(&fs::read_to_string(dir.path().join("a/status")).unwrap()).unwrap();
    let Stage::Ended(ended) = record.stage else { panic!("{record:?}") };
    *ended
}

fn outcome(ended: &Ended) -> (Outcome, Option<String>) {
    let nobody = || CouldNotAsk { why: "there is no batch system".to_owned() };
    let evidence = Evidence {
        own: Own::Ended(ended),
        queue: Answer::Unknown(nobody()),
        history: Answer::Unknown(nobody()),
        log: Log::None,
        asked: Asked { mem: Some(Bytes::mib(80)), time: None },
        cancel: Cancel::No,
        patience: Patience::Left,
        routing: Routing::Direct,
        hearing: Hearing::Silent,
    };
    match judge(&evidence).verdict {
        Verdict::Over { outcome, note } => (outcome, note),
        verdict => panic!("{verdict:?}"),
    }
}

const HOG: &str = "python3 -c 'x = bytearray(300 << 20)'";

#[test]
fn what_the_kernel_kills_for_its_memory_is_told_from_other_failures() {
    let ended = run("hog", HOG);
    assert!(ended.oom_kills > Some(0) && ended.usage.meter == Meter::Cgroup, "{ended:?}");
    assert!(ended.usage.peak_memory.0 > 40 << 20 && ended.usage.peak_memory <= Bytes::mib(80), "{ended:?}");
    assert_eq!(outcome(&ended), (Outcome::Oom, None));
    // A script that goes on without the process that was killed has not made what it was to make.
    let ended = run("swallowed", &format!("{HOG} || true"));
    let (out, note) = outcome(&ended);
    assert!(out == Outcome::Oom && note.is_some_and(|note| note.contains("exited with 0")), "{ended:?}");
    // Killed for something else.
    let ended = run("killed", "kill -9 $$");
    assert_eq!((ended.oom_kills, outcome(&ended).0), (Some(0), Outcome::Exit { code: 137, signal: Some(9) }));
}
