//! Jobs run, end, and are told.

use csync::model::api::Stream;
use csync::model::job::{News, Outcome};
use csync::model::resources::{Grant, Hold, Meter};
use csync::model::units::Bytes;
use csync::reach::executor::wire::Limits;

use super::{World, is_alive, key, walltime};

fn log(world: &World, number: u32, stream: Stream) -> String {
    std::fs::read_to_string(world.state.log(key(number), stream)).unwrap_or_default()
}

#[test]
fn a_script_and_an_argument_list_succeed() {
    let mut world = World::new();
    let ended = world.run(world.script(1, "echo out; echo err >&2; echo \"$0\" \"$CSYNC_JOB\" > note"));
    assert_eq!(ended.outcome, Outcome::Success, "{ended:?}");
    assert!(ended.started.is_some() && ended.usage.wall > 0.0 && ended.usage.peak_memory > Bytes(0), "{ended:?}");
    assert_eq!(ended.usage.meter, Meter::Rusage);
    assert_eq!(log(&world, 1, Stream::Stdout), "out\n");
    assert_eq!(log(&world, 1, Stream::Stderr), "err\n");
    assert_eq!(world.read("note"), "test[1] 1.1.1\n");
    let ended = world.run(world.argv(2, &["printf", "%s|", "a b", "$HOME", "'"]));
    assert_eq!(ended.outcome, Outcome::Success);
    assert_eq!(log(&world, 2, Stream::Stdout), "a b|$HOME|'|");
}

#[test]
fn quiet_jobs_make_no_files() {
    let mut world = World::new();
    let jobs = (0..50).map(|number| world.argv(number, &["true"])).collect();
    world.local.start(jobs);
    for number in 0..50 {
        assert_eq!(world.ending(key(number)).outcome, Outcome::Success);
    }
    // One that was slow had its empty logs in their final place for a moment; the directory for that stays.
    let files = walkdir::WalkDir::new(world.state.run_dir(key(0).run)).into_iter().flatten();
    let files: Vec<_> = files.filter(|entry| entry.file_type().is_file()).collect();
    assert!(files.is_empty(), "{files:?}");
    let live = std::fs::read_dir(world.state.live_dir()).unwrap().count();
    assert!(live <= 4, "{live} files of two slots");
}

#[test]
fn exit_codes_and_signals_are_told() {
    let mut world = World::new();
    let exit = |code, signal| Outcome::Exit { code, signal };
    assert_eq!(world.run(world.script(1, "exit 7")).outcome, exit(7, None));
    assert_eq!(world.run(world.script(2, "kill -SEGV $$")).outcome, exit(139, Some(11)));
    assert_eq!(world.run(world.script(3, "false; echo not reached")).outcome, exit(1, None));
    assert_eq!(world.run(world.script(4, "no-such-command-here")).outcome, exit(127, None));
    assert!(log(&world, 3, Stream::Stdout).is_empty());
}

#[test]
fn a_job_that_runs_for_a_while_is_announced_and_can_be_followed_and_stopped() {
    let mut world = World::new();
    world.local.start(vec![world.script(1, "echo first; sleep 1000")]);
    world.started(key(1));
    world.eventually("the log is in its place", || log(&world, 1, Stream::Stdout) == "first\n");
    world.local.stop(vec![key(1)]);
    let ended = world.ending(key(1));
    assert_eq!(ended.outcome, Outcome::Cancelled);
    assert!(ended.usage.wall > 0.0);
}

#[test]
fn queued_jobs_are_dropped_at_once() {
    let mut world = World::with(Limits { cpus: 1, ..Limits::default() });
    world.local.start(vec![world.script(1, "sleep 1000"), world.script(2, "touch ran"), world.script(3, "touch ran")]);
    world.started(key(1));
    world.local.stop(vec![key(2), key(9)]);
    let ended = world.ending(key(2));
    assert_eq!((ended.outcome, ended.started), (Outcome::Cancelled, None));
    world.local.stop(vec![key(1), key(3)]);
    world.ending(key(1));
    world.ending(key(3));
    assert!(!world.exists("ran"));
}

#[test]
fn a_walltime_is_enforced() {
    let mut world = World::with(Limits { cpus: 1, grace_ms: 200, ..Limits::default() });
    let job = walltime(world.script(1, "trap 'echo asked; exit 0' TERM; sleep 1000 & wait"), 1);
    let ended = world.run(job);
    assert_eq!(ended.outcome, Outcome::Timeout);
    assert_eq!(log(&world, 1, Stream::Stdout), "asked\n");
}

#[test]
fn the_environment_is_that_of_the_submission() {
    let mut world = World::new();
    let mut job = world.argv(1, &["env", "-0"]);
    job.env = vec![("MINE".into(), "a=b\nc".into()), ("HOME".into(), "/elsewhere".into())];
    assert_eq!(world.run(job).outcome, Outcome::Success);
    let text = log(&world, 1, Stream::Stdout);
    let mut names: Vec<_> = text.split_terminator('\0').filter_map(|var| Some(var.split_once('=')?.0)).collect();
    names.sort_unstable();
    let expected =
        ["CSYNC_JOB", "CSYNC_RUN", "CSYNC_STATE_ID", "CSYNC_TASK", "HOME", "MINE", "PATH", "PWD", "PYTHONUNBUFFERED"];
    assert_eq!(names, expected);
    assert!(text.contains("MINE=a=b\nc\0") && text.contains("HOME=/elsewhere\0"), "{text}");
}

#[test]
fn jobs_have_the_umask_of_their_submission() {
    let mut world = World::new();
    world.environment(0o077);
    let mut other = world.script(2, "umask; touch open");
    other.environment = 2;
    let vars = vec![("PATH".to_owned(), std::env::var("PATH").unwrap())];
    world.local.environment(csync::reach::executor::wire::Environment { number: 2, vars, umask: 0o002 });
    other.outputs = vec![world.path("made/open")];
    other.invocation = csync::model::job::Invocation::Script("umask; touch made/open".to_owned());
    world.local.start(vec![world.script(1, "umask; touch closed"), other]);
    assert_eq!(world.ending(key(1)).outcome, Outcome::Success);
    assert_eq!(world.ending(key(2)).outcome, Outcome::Success);
    assert_eq!(log(&world, 1, Stream::Stdout), "0077\n");
    assert_eq!(log(&world, 2, Stream::Stdout), "0002\n");
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(world.work().join(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode("closed"), mode("made"), mode("made/open")), (0o600, 0o775, 0o664));
}

#[test]
fn too_large_requests_are_refused_and_the_rest_waits_its_turn() {
    let mut world = World::with(Limits { cpus: 2, mem: Bytes::mib(100), ..Limits::default() });
    let mut large = world.script(1, "true");
    large.grant.cpus = 3;
    let outcome = world.run(large).outcome;
    assert!(matches!(&outcome, Outcome::Rejected { message } if message.contains("3 cores")), "{outcome:?}");
    let greedy = |number| {
        let job = world.script(number, "echo + >> count; test $(wc -l < count) = 1; sleep 0.1; rm count");
        // What is only kept free counts like what is a limit.
        let hold = if number == 3 { Hold::Room } else { Hold::Limit };
        csync::model::job::Job { grant: Grant { mem: Bytes::mib(60), hold, ..job.grant }, ..job }
    };
    let jobs = vec![greedy(2), greedy(3), greedy(4)];
    world.local.start(jobs);
    for number in 2..5 {
        assert_eq!(world.ending(key(number)).outcome, Outcome::Success, "two never run at a time");
    }
}

#[test]
fn a_worker_leaves_when_it_is_told_and_nothing_runs() {
    let mut world = World::new();
    world.local.start(vec![world.script(1, "sleep 0.2")]);
    world.started(key(1));
    world.local.leave();
    let ended = world.ending(key(1));
    assert_eq!(ended.outcome, Outcome::Success);
    let pid = i32::try_from(world.hello.pid).unwrap();
    assert!(is_alive(pid), "it waits for the acknowledgement");
    world.local.ack(vec![key(1)]);
    assert!(matches!(world.event(), csync::reach::executor::LocalEvent::Lost));
    world.lost = true;
    world.eventually("it ends", || !is_alive(pid));
    assert!(!world.state.worker_socket().exists());
}

#[test]
fn endings_survive_the_engine() {
    let limits = Limits { cpus: 1, ..Limits::default() };
    let mut world = World::with(limits);
    world.local.start((1..=3).map(|number| world.script(number, "true")).collect());
    world.local.start(vec![world.script(4, "until test -e go; do sleep 0.01; done"), world.script(5, "true")]);
    world.ending(key(3));
    world.started(key(4));
    world.local.ack(vec![key(2)]);
    world.settle();
    let worker = world.hello.worker.clone();
    world.reconnect(limits);
    assert_eq!(world.hello.worker, worker);
    let ended: Vec<_> = world.hello.endings.iter().map(|ended| ended.key.instance.0).collect();
    assert_eq!(ended, [1, 3]);
    let live: Vec<_> = world.hello.live.iter().map(|live| (live.key.instance.0, live.started.is_some())).collect();
    assert_eq!(live, [(4, true), (5, false)]);
    // A job that it knows is not started again.
    world.local.start(vec![
        world.script(1, "touch again"),
        world.script(4, "touch again"),
        world.script(5, "touch again"),
    ]);
    std::fs::write(world.work().join("go"), "").unwrap();
    world.ending(key(4));
    world.ending(key(5));
    assert!(!world.news.iter().any(|news| matches!(news, News::Ended(_))), "each ending once: {:?}", world.news);
    assert!(!world.exists("again"));
}
