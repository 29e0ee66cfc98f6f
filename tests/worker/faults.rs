//! What jobs do wrong, and what becomes of it.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use csync::model::api::Stream;
use csync::model::job::{Ended, Job, Outcome};
use csync::model::resources::{Flow, Grant, Hold, Meter};
use csync::model::units::Bytes;
use csync::reach::executor::wire::Limits;

use super::{World, is_alive, key, walltime};

/// Reads a pid that a job wrote.
fn pid(world: &World, name: &str) -> i32 {
    world.read(name).trim().parse().expect("a pid")
}

/// Asserts that an ending carries exactly these notes.
fn assert_notes(ended: &Ended, notes: &[&str]) {
    assert_eq!(ended.notes, notes, "{ended:?}");
}

#[test]
fn a_job_that_ignores_the_request_to_end_is_killed() {
    let mut world = World::with(Limits { cpus: 1, grace_ms: 300, ..Limits::default() });
    world.local.start(vec![world.script(1, "trap '' TERM; echo $$ > pid; while :; do sleep 0.05; done")]);
    world.started(key(1));
    world.local.stop(vec![key(1)]);
    let ended = world.ending(key(1));
    assert_eq!(ended.outcome, Outcome::Cancelled);
    assert!(ended.usage.wall >= 0.3, "it had its grace: {ended:?}");
    assert!(!is_alive(pid(&world, "pid")));
}

#[test]
fn a_child_that_left_the_group_is_asked_to_end_too() {
    let mut world = World::with(Limits { cpus: 1, grace_ms: 20_000, ..Limits::default() });
    let inner = "trap 'echo bye > said; exit 0' TERM; touch up; while :; do sleep 0.05; done";
    let outer = format!("trap : TERM; setsid -w bash -c {} & wait || wait", quoted(inner));
    world.local.start(vec![world.script(1, &outer)]);
    world.eventually("the child is up", || world.exists("up"));
    world.local.stop(vec![key(1)]);
    assert_eq!(world.ending(key(1)).outcome, Outcome::Cancelled);
    assert_eq!(world.read("said"), "bye\n");
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[test]
fn background_children_end_with_their_job() {
    let mut world = World::new();
    let ended = world.run(world.script(1, "sleep 1000 & echo $! > pid"));
    assert_eq!(ended.outcome, Outcome::Success);
    assert_notes(&ended, &["1 process left behind was ended"]);
    assert!(!is_alive(pid(&world, "pid")));
}

#[test]
fn daemons_end_with_their_job_and_not_before() {
    let mut world = World::new();
    let daemon = "(setsid sh -c 'echo $$ > daemon; exec sleep 1000' > /dev/null 2>&1 < /dev/null &)";
    let wait = "until test -s daemon; do sleep 0.01; done; touch up; until test -e go; do sleep 0.01; done";
    world.local.start(vec![world.script(1, &format!("{daemon}; {wait}; kill -0 $(cat daemon)"))]);
    world.eventually("the daemon is up", || world.exists("up"));
    // Another job comes and goes meanwhile.
    assert_notes(&world.run(world.script(2, "true")), &[]);
    std::fs::write(world.work().join("go"), "").unwrap();
    let ended = world.ending(key(1));
    assert_eq!(ended.outcome, Outcome::Success, "the daemon lived as long as its job");
    assert_notes(&ended, &["1 process left behind was ended"]);
    assert!(!is_alive(pid(&world, "daemon")));
}

#[test]
fn what_hides_whose_it_is_ends_when_nothing_runs() {
    let mut world = World::new();
    let script = "(setsid env -i /bin/sh -c 'echo $$ > hidden; exec /bin/sleep 1000' > /dev/null 2>&1 &); \
                  until test -s hidden; do sleep 0.01; done; sleep 0.1";
    let ended = world.run(world.script(1, script));
    assert_eq!(ended.outcome, Outcome::Success);
    let hidden = pid(&world, "hidden");
    world.eventually("the hidden process ends", || !is_alive(hidden));
}

#[test]
fn a_log_over_the_limit_keeps_head_and_tail() {
    let limit = 4 << 20;
    let mut world = World::with(Limits { cpus: 1, log: Bytes(limit), ..Limits::default() });
    let flood = "echo first; head -c 200M /dev/zero | tr '\\0' 'x'; echo; echo last";
    let ended = world.run(world.script(1, flood));
    assert_eq!(ended.outcome, Outcome::Success, "{ended:?}");
    assert_notes(&ended, &["198.0M of standard output were left out of its log"]);
    let log = std::fs::read(world.state.log(key(1), Stream::Stdout)).unwrap();
    assert!(log.len() as u64 <= limit, "{} bytes", log.len());
    assert!(log.starts_with(b"first\nxxx") && log.ends_with(b"xxx\nlast\n"));
    let text = String::from_utf8(log).unwrap();
    assert!(text.contains("\n[csync: 198.0M left out here]\n"));
}

#[test]
fn a_log_over_the_limit_is_bounded_while_the_job_runs() {
    let limit = 4 << 20;
    let mut world = World::with(Limits { cpus: 1, log: Bytes(limit), ..Limits::default() });
    let flood = "head -c 64M /dev/zero; until test -e go; do sleep 0.01; done";
    world.local.start(vec![world.script(1, flood)]);
    let log = world.state.log(key(1), Stream::Stdout);
    let room = |path: &Path| std::fs::metadata(path).map(|meta| (meta.len(), meta.blocks() * 512));
    world
        .eventually("the hole is there", || room(&log).is_ok_and(|(size, blocks)| size == 64 << 20 && blocks <= limit));
    std::fs::write(world.work().join("go"), "").unwrap();
    let ended = world.ending(key(1));
    assert_notes(&ended, &["62M of standard output were left out of its log"]);
    assert!(std::fs::metadata(&log).unwrap().len() <= limit);
}

#[test]
fn logs_keep_every_byte() {
    let mut world = World::new();
    assert_eq!(world.run(world.script(1, "printf '\\377\\376\\000\\n\\200'")).outcome, Outcome::Success);
    assert_eq!(std::fs::read(world.state.log(key(1), Stream::Stdout)).unwrap(), b"\xff\xfe\0\n\x80");
}

#[test]
fn a_working_directory_is_made_also_after_a_job_deleted_it() {
    let mut world = World::new();
    for number in 1..=3 {
        let job = world.script(number, "touch here; rm -rf \"$PWD\"; echo gone");
        let ended = world.run(Job { workdir: world.path("a/b"), ..job });
        assert_eq!(ended.outcome, Outcome::Success, "{ended:?}");
        assert!(!world.exists("a/b"));
    }
    std::fs::write(world.work().join("file"), "").unwrap();
    let job = world.script(4, "true");
    let outcome = world.run(Job { workdir: world.path("file/under"), ..job }).outcome;
    assert!(matches!(&outcome, Outcome::Spawn { message } if message.contains("file/under")), "{outcome:?}");
}

#[test]
fn what_cannot_be_started_is_told_in_words() {
    let mut world = World::new();
    std::fs::write(world.work().join("plain"), "echo no\n").unwrap();
    std::fs::write(world.work().join("odd"), "#!/nonexistent/interpreter\n").unwrap();
    std::fs::write(world.work().join("text"), "just text\n").unwrap();
    for name in ["odd", "text"] {
        let path = world.work().join(name);
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let long = "x".repeat(300_000);
    let cases: [(&[&str], &str); 7] = [
        (&["no-such-command-here"], "command not found: no-such-command-here"),
        (&["./missing"], "command not found"),
        (&["./plain"], "permission denied"),
        (&["./odd"], "the interpreter that its first line names does not exist"),
        (&["./text"], "neither a program nor a script"),
        (&["true", &long], "larger than the system allows"),
        (&["printf", "a\0b"], "zero byte"),
    ];
    for (number, (argv, says)) in (1..).zip(cases) {
        let outcome = world.run(world.argv(number, argv)).outcome;
        assert!(matches!(&outcome, Outcome::Spawn { message } if message.contains(says)), "{says}: {outcome:?}");
    }
    assert_eq!(world.run(world.argv(20, &["true"])).outcome, Outcome::Success, "the slot goes on");
}

#[test]
fn a_long_script_runs_like_a_short_one() {
    let mut world = World::new();
    let script = format!(": {}\necho \"$0 $#\"; false; echo not reached", "x".repeat(500_000));
    let ended = world.run(world.script(1, &script));
    assert_eq!(ended.outcome, Outcome::Exit { code: 1, signal: None }, "{ended:?}");
    assert_eq!(std::fs::read_to_string(world.state.log(key(1), Stream::Stdout)).unwrap(), "test[1] 0\n");
    let left = std::fs::read_dir(world.state.live_dir()).unwrap().flatten();
    assert!(!left.into_iter().any(|entry| entry.path().extension().is_some_and(|end| end == "sh")));
}

#[test]
fn standard_input_is_a_file_or_nothing() {
    let mut world = World::new();
    std::fs::write(world.work().join("in"), "text").unwrap();
    let with = |number, stdin: Option<&str>| {
        let job = world.script(number, "cat > out");
        Job { stdin: stdin.map(|name| world.path(name)), ..job }
    };
    let (given, none, missing) = (with(1, Some("in")), with(2, None), with(3, Some("missing")));
    assert_eq!(world.run(given).outcome, Outcome::Success);
    assert_eq!(world.read("out"), "text");
    assert_eq!(world.run(none).outcome, Outcome::Success);
    assert_eq!(world.read("out"), "");
    let outcome = world.run(missing).outcome;
    assert!(matches!(&outcome, Outcome::Stage { message } if message.contains("missing")), "{outcome:?}");
}

#[test]
fn outputs_are_there_or_the_job_failed() {
    let mut world = World::new();
    let with = |number, script: &str, outputs: &[&str]| {
        let job = world.script(number, script);
        Job { outputs: outputs.iter().map(|name| world.path(name)).collect(), ..job }
    };
    let outputs = ["new/dir/a", "b", "c"];
    let jobs = [
        with(1, "echo a > new/dir/a; echo half > b", &outputs),
        with(2, "! test -e b; echo half > b; exit 3", &outputs),
        with(3, "for f in new/dir/a b c; do echo \"$f\" > $f; done", &outputs),
        with(4, "mkdir -p made; echo x > made/x; exit 4", &["made"]),
        with(5, "test -e .made.failed/x; mkdir made; echo y > made/y", &["made"]),
        with(6, "echo z > made/z; exit 6", &["made"]),
    ];
    let [missing, failing, good, failed_dir, dir, again] = jobs;
    let outcome = world.run(missing).outcome;
    assert!(matches!(&outcome, Outcome::Stage { message } if message.ends_with(&world.path("c"))), "{outcome:?}");
    assert!(!world.exists("b") && !world.exists("new/dir/a"), "unfinished outputs do not stand");
    assert_eq!((world.read("new/dir/.a.failed"), world.read(".b.failed")), ("a\n".into(), "half\n".into()));
    assert_eq!(world.run(failing).outcome, Outcome::Exit { code: 3, signal: None });
    assert!(!world.exists("b") && world.exists(".b.failed"));
    let ended = world.run(good);
    assert_eq!(ended.outcome, Outcome::Success, "{ended:?}");
    assert_eq!(ended.outputs.len(), 3);
    assert!(ended.outputs.iter().all(|print| print.is_some_and(|print| print.size > 1 && print.hash.is_some())));
    assert!(!world.exists(".b.failed") && !world.exists("new/dir/.a.failed"), "success forgets failures");
    // A directory that the attempt made is moved aside; one that was there before it stays, others may keep things in it.
    assert_eq!(world.run(failed_dir).outcome, Outcome::Exit { code: 4, signal: None });
    assert!(!world.exists("made"));
    assert_eq!(world.run(dir).outcome, Outcome::Success);
    assert_eq!(world.run(again).outcome, Outcome::Exit { code: 6, signal: None });
    assert!(world.exists("made/y"));
}

#[test]
fn inputs_are_told_as_they_were() {
    let mut world = World::new();
    std::fs::write(world.work().join("in"), "12345").unwrap();
    let mut job = world.script(1, "echo more >> in");
    job.inputs = vec![(world.path("in"), true), (world.path("in"), false), (world.path("none"), true)];
    let ended = world.run(job);
    let [Some(hashed), Some(plain), None] = ended.inputs.as_slice() else { panic!("{ended:?}") };
    assert_eq!((hashed.size, plain.size), (5, 5));
    let hash = *blake3::hash(b"12345").as_bytes();
    assert_eq!((hashed.hash.map(|hash| hash.to_vec()), plain.hash), (Some(hash[..16].to_vec()), None));
}

#[test]
fn memory_over_the_grant_ends_a_job() {
    let mut world = World::new();
    let job = world.script(1, "x=$(head -c 120M /dev/zero | tr '\\0' x); sleep 1000; echo \"$x\"");
    let job = Job { grant: Grant { mem: Bytes::mib(100), hold: Hold::Limit, ..job.grant }, ..job };
    let ended = world.run(job);
    assert_eq!(ended.outcome, Outcome::Oom, "{ended:?}");
    // The same where nobody said that it is too much.
    let job = world.script(2, "head -c 200M /dev/zero | tail > /dev/null");
    let ended = world.run(job);
    assert_eq!(ended.outcome, Outcome::Success);
    assert!(ended.usage.peak_memory >= Bytes::mib(200), "{ended:?}");
}

#[test]
fn a_control_group_measures_and_ends_what_is_over_its_limit() {
    if std::env::var_os("CSYNC_TEST_CGROUP").is_none() {
        eprintln!("skipped: CSYNC_TEST_CGROUP names no directory to make control groups in");
        return;
    }
    let mut world = World::with(Limits { cpus: 1, mem: Bytes::gib(1), ..Limits::default() });
    let with = |number, script: &str| {
        let job = world.script(number, script);
        Job { grant: Grant { mem: Bytes::mib(100), hold: Hold::Limit, ..job.grant }, ..job }
    };
    let small = with(1, "true");
    let large = with(2, "head -c 60M /dev/zero | tail > /dev/null");
    let huge = with(3, "head -c 600M /dev/zero | tail > /dev/null");
    let lost = with(4, "head -c 600M /dev/zero | tail > /dev/null || true");
    let hidden = with(5, "setsid env -i /bin/sleep 1000 > /dev/null 2>&1 < /dev/null & sleep 0.1");
    let ended = world.run(small);
    assert_eq!((ended.outcome, ended.usage.meter), (Outcome::Success, Meter::Cgroup));
    assert!(ended.usage.peak_memory < Bytes::mib(16), "{}: not that of the worker", ended.usage.peak_memory);
    let ended = world.run(large);
    assert_eq!(ended.outcome, Outcome::Success);
    assert!((Bytes::mib(60)..Bytes::mib(90)).contains(&ended.usage.peak_memory), "{}", ended.usage.peak_memory);
    assert_eq!(world.run(huge).outcome, Outcome::Oom);
    let ended = world.run(lost);
    assert_eq!(ended.outcome, Outcome::Success);
    assert_notes(&ended, &["a process of it was ended for want of memory"]);
    assert_notes(&world.run(hidden), &["1 process left behind was ended"]);
}

#[test]
fn longer_jobs_are_measured_by_their_tree() {
    let mut world = World::new();
    // Two processes of 60 MB each: no single one is that large.
    let hold = "head -c 60M /dev/zero | (tail -c 60M; sleep 1) > /dev/null";
    let hold = format!("python3 -c 1 2>/dev/null; ({hold}) & ({hold}) & wait");
    let ended = world.run(world.script(1, &hold));
    assert_eq!(ended.outcome, Outcome::Success);
    assert_eq!(ended.usage.meter, Meter::Proc);
    assert!(ended.usage.peak_memory >= Bytes::mib(60), "{ended:?}");
}

#[test]
fn what_a_job_and_its_children_read_and_wrote_is_told() {
    if !std::path::Path::new("/proc/self/io").exists() {
        eprintln!("skipped: this kernel counts no bytes");
        return;
    }
    let mut world = World::new();
    let io = |ended: &Ended| ended.usage.io.unwrap_or_else(|| panic!("{ended:?}"));
    // Until it was running for a while (bash's second 1 may come a moment after its second 0); what is written into
    // a pipe is read again.
    let script =
        "until [ $SECONDS -ge 2 ]; do sleep 0.05; done; head -c 3M /dev/zero | tail -c 1M > kept; cat kept > /dev/null";
    let ended = world.run(world.script(1, script));
    assert_eq!(ended.outcome, Outcome::Success);
    let mib = |bytes: Bytes| bytes.0 >> 20;
    assert_eq!((mib(io(&ended).read), mib(io(&ended).written), io(&ended).flow), (7, 5, Flow::Calls), "{ended:?}");
    // One that fails or is ended tells it too.
    let ended = world.run(walltime(world.script(2, "head -c 5M /dev/zero > kept; sleep 1000"), 1));
    assert_eq!(ended.outcome, Outcome::Timeout);
    assert_eq!((mib(io(&ended).read), mib(io(&ended).written)), (5, 5), "{ended:?}");
    // What is over at once is not looked at.
    let ended = world.run(world.script(3, "true"));
    assert_eq!(ended.usage.io.is_some(), ended.usage.wall >= 0.1, "{ended:?}");
}

#[test]
fn a_checkpoint_is_asked_for_before_the_end() {
    let mut world = World::with(Limits { cpus: 1, grace_ms: 200, ..Limits::default() });
    let script = "trap 'echo saved >> saved' USR1; trap '' TERM; for i in {1..1000}; do sleep 0.01 || :; done";
    let job = walltime(world.script(1, script), 2);
    let ended = world.run(Job { checkpoint: Some((10, 1)), ..job });
    assert_eq!(ended.outcome, Outcome::Timeout);
    assert_eq!(world.read("saved"), "saved\n", "once");
}

#[test]
fn gpus_are_dealt_out() {
    let mut world = World::with(Limits { cpus: 4, gpus: 2, ..Limits::default() });
    let with = |number, gpus| {
        let job = world
            .script(number, "echo \"$CUDA_VISIBLE_DEVICES\" > gpu$CSYNC_TASK; until test -e go; do sleep 0.01; done");
        Job { label: number.to_string(), grant: Grant { gpus, ..job.grant }, ..job }
    };
    let jobs = vec![with(1, 1), with(2, 1), with(3, 2)];
    world.local.start(jobs);
    world.eventually("two run", || world.exists("gpu1") && world.exists("gpu2"));
    world.started(key(1));
    world.started(key(2));
    assert!(!world.exists("gpu3"));
    std::fs::write(world.work().join("go"), "").unwrap();
    for number in 1..=3 {
        assert_eq!(world.ending(key(number)).outcome, Outcome::Success);
    }
    let mut dealt = [world.read("gpu1"), world.read("gpu2")];
    dealt.sort();
    assert_eq!((dealt, world.read("gpu3")), (["0\n".to_owned(), "1\n".to_owned()], "0,1\n".to_owned()));
}
