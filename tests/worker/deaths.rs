//! Workers that die, engines that come back, disks that fill.

use std::collections::HashMap;
use std::io::Write as _;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use csync::model::api::Stream;
use csync::model::job::{News, Outcome};
use csync::model::units::Bytes;
use csync::reach::config::StateDir;
use csync::reach::executor::wire::Limits;
use csync::reach::executor::{ConnectError, Launch, Local, SweepError, sweep};
use tokio::sync::mpsc;

use super::{World, is_alive, key};

#[test]
fn nothing_is_left_of_a_worker_that_was_killed() {
    let mut world = World::new();
    let script = "echo $$ > leader; sleep 1000 & echo $! > child; \
                  (setsid sh -c 'echo $$ > daemon; exec sleep 1000' > /dev/null 2>&1 < /dev/null &); \
                  until test -s daemon; do sleep 0.01; done; touch up; sleep 1000";
    world.local.start(vec![world.script(1, script)]);
    world.eventually("all are up", || world.exists("up"));
    let pids = ["leader", "child", "daemon"].map(|name| world.read(name).trim().parse::<i32>().unwrap());
    assert!(matches!(sweep(&world.state), Err(SweepError::WorkerLives)));
    world.kill_worker();
    assert!(pids.iter().all(|pid| is_alive(*pid)), "they outlive it");
    let ended = sweep(&world.state).unwrap();
    assert!(ended >= 3, "{ended}");
    assert!(!pids.iter().any(|pid| is_alive(*pid)));
    assert_eq!(sweep(&world.state).unwrap(), 0);
    // The next worker is another one, and knows of nothing.
    let worker = world.hello.worker.clone();
    world.reconnect(Limits { cpus: 1, ..Limits::default() });
    assert_ne!(world.hello.worker, worker);
    assert!(world.hello.live.is_empty() && world.hello.endings.is_empty());
    world.environment(0o022);
    assert_eq!(world.run(world.script(1, "true")).outcome, Outcome::Success);
}

#[test]
fn the_next_connection_sweeps_by_itself() {
    let mut world = World::new();
    world.local.start(vec![world.script(1, "echo $$ > leader; sleep 1000")]);
    world.eventually("it is up", || world.exists("leader") && !world.read("leader").is_empty());
    let leader = world.read("leader").trim().parse().unwrap();
    world.kill_worker();
    world.reconnect(Limits::default());
    assert!(!is_alive(leader));
}

#[test]
fn endings_come_exactly_once_however_often_the_engine_dies() {
    let limits = Limits { cpus: 2, ..Limits::default() };
    let mut world = World::with(limits);
    let jobs = 200;
    let mut endings: HashMap<u32, u32> = HashMap::new();
    world.local.start((0..jobs).map(|number| world.script(number, "echo + >> $CSYNC_JOB")).collect());
    while endings.len() < jobs as usize {
        // Takes some news, acknowledges half of them, and dies with the rest.
        let mut seen = Vec::new();
        for ended in &world.hello.endings {
            seen.push(ended.key);
        }
        while seen.len() < 17 && seen.len() + endings.len() < jobs as usize {
            if let csync::reach::executor::LocalEvent::News(news) = world.event() {
                seen.extend(news.iter().filter_map(|news| match news {
                    News::Ended(ended) => Some(ended.key),
                    News::Started { .. } => None,
                }));
            }
        }
        let taken = if seen.len() > 8 { seen.len() / 2 } else { seen.len() };
        let taken = &seen[..taken];
        world.local.ack(taken.to_vec());
        world.settle();
        for key in taken {
            *endings.entry(key.instance.0).or_default() += 1;
        }
        world.reconnect(limits);
        let again =
            world.hello.endings.iter().map(|ended| ended.key).chain(world.hello.live.iter().map(|live| live.key));
        let again: Vec<_> = again.collect();
        assert!(taken.iter().all(|key| !again.contains(key)), "what was acknowledged does not come again");
        assert_eq!(again.len() + endings.len(), jobs as usize, "nothing is lost");
    }
    assert!(endings.values().all(|count| *count == 1), "{endings:?}");
    assert!((0..jobs).all(|number| world.read(&key(number).to_string()) == "+\n"), "each ran once");
}

#[test]
fn a_worker_leaves_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::at(dir.path().join("state"), None);
    state.create().unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_csync"))
        .args(["worker", "--idle", "0", "--state"])
        .arg(state.root())
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert!(status.status.success());
    assert_eq!(status.stdout, b"ready\n");
    assert!(!state.worker_socket().exists());
}

#[test]
fn a_worker_without_a_state_directory_finishes_and_leaves() {
    let mut world = World::new();
    world.local.start(vec![world.script(1, "touch up; until test -e go; do sleep 0.01; done; touch done")]);
    world.eventually("it runs", || world.exists("up"));
    let pid = i32::try_from(world.hello.pid).unwrap();
    // The engine is gone, and somebody deleted everything.
    let gone = tokio::runtime::Builder::new_current_thread().build().unwrap();
    std::mem::replace(&mut world.runtime, gone).shutdown_background();
    world.lost = true;
    std::fs::remove_dir_all(world.state.root()).unwrap();
    std::fs::write(world.work().join("go"), "").unwrap();
    world.eventually("the worker leaves", || !is_alive(pid));
    assert!(world.exists("done"));
    world.state.create().unwrap();
}

#[test]
fn a_worker_of_another_version_is_told_from_a_broken_one() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::at(dir.path().to_path_buf(), None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = UnixListener::bind(state.worker_socket()).unwrap();
    let connect = |greeting: &'static str| {
        let listener = listener.try_clone().unwrap();
        let worker = std::thread::spawn(move || writeln!(listener.accept().unwrap().0, "{greeting}").unwrap());
        let (sender, _) = mpsc::channel(1);
        let result = runtime.block_on(Local::connect(&state, Limits::default(), &Launch::default(), sender));
        worker.join().unwrap();
        result.map(|_| ()).expect_err("no connection")
    };
    let error = connect(r#"{"hello":{"wire":99,"version":"9.0.0","pid":42,"new":[]}}"#);
    assert!(matches!(&error, ConnectError::Version { pid: 42, theirs: 99, .. }), "{error:?}");
    assert!(error.to_string().contains("csync 9.0.0"), "{error}");
    assert!(matches!(connect("hello"), ConnectError::Greeting(_)));
}

#[test]
fn a_full_disk_ends_what_writes_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("small");
    std::fs::create_dir(&root).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(&root).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: only root may mount the small file system that this test fills");
        return;
    }
    let result = std::panic::catch_unwind(|| {
        let mut world = World::in_state(StateDir::at(root.clone(), None), Limits { cpus: 1, ..Limits::default() });
        let ended = world.run(world.script(1, "head -c 10M /dev/zero"));
        assert!(matches!(ended.outcome, Outcome::Exit { code: 1, .. }), "{ended:?}");
        let size = std::fs::metadata(world.state.log(key(1), Stream::Stdout)).map_or(0, |meta| meta.len());
        assert!(size > 1 << 20, "{size} bytes of its log are there: {ended:?}");
        assert_eq!(world.run(world.script(2, "true")).outcome, Outcome::Success, "who writes nothing goes on");
        let ended = world.run(world.script(3, "echo something || exit 5"));
        assert_eq!(ended.outcome, Outcome::Exit { code: 5, signal: None });
        assert!(Bytes(size) < Bytes::mib(3));
    });
    let unmounted = Command::new("umount").arg(&root).status().unwrap();
    assert!(unmounted.success());
    result.unwrap();
}
