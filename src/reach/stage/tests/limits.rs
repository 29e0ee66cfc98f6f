//! Hosts that allow few channels, and connections of which all are taken.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all, try_join_all};
use tokio::process::Command;

use super::*;
use crate::model::units::Timestamp;
use crate::reach::transport::{CHANNELS, Exec, FOR_COMMANDS, LinkState, Member, Pipes, Transport, WhenBusy, Wire};

/// How long is waited for what must happen.
const PATIENCE: Duration = Duration::from_mins(1);

/// This machine, where it refuses channels.
#[derive(Debug)]
struct Narrow {
    /// How many channels it allows at a time.
    most: usize,
    open: Arc<AtomicUsize>,
    /// How many more it refuses, whatever is open.
    refuses: AtomicUsize,
}

/// A channel that is open.
struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Narrow {
    fn host(most: usize, refuses: usize) -> Remote {
        Remote::new(Arc::new(Self { most, open: Arc::default(), refuses: refuses.into() }))
    }
}

impl Wire for Narrow {
    fn host(&self) -> &'static str {
        "narrow"
    }

    fn channel(&self) -> BoxFuture<'_, Result<Pipes, TransportError>> {
        let less = |count: usize| count.checked_sub(1);
        let more = |count: usize| (count < self.most).then_some(count + 1);
        let (exact, relaxed) = (Ordering::SeqCst, Ordering::SeqCst);
        let refused = self.refuses.fetch_update(exact, relaxed, less).is_ok()
            || self.open.fetch_update(exact, relaxed, more).is_err();
        if refused {
            let detail = "open failed: administratively prohibited".to_owned();
            return std::future::ready(Err(TransportError::Channel { host: "narrow".to_owned(), detail })).boxed();
        }
        let held = Held(Arc::clone(&self.open));
        let mut shell = Command::new("/bin/sh");
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = shell.spawn().unwrap();
        let pipes = Pipes {
            stdin: Box::new(child.stdin.take().unwrap()),
            stdout: Box::new(child.stdout.take().unwrap()),
            stderr: Box::new(child.stderr.take().unwrap()),
            keep: Box::new((child, held)),
        };
        std::future::ready(Ok(pipes)).boxed()
    }

    fn judge(&self, _: &str) -> Option<TransportError> {
        None
    }

    fn connect(&self) -> BoxFuture<'_, Result<(), TransportError>> {
        std::future::ready(Ok(())).boxed()
    }

    fn link_state(&self) -> LinkState {
        LinkState::Open { since: Timestamp(0), via: Member::Local }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}

/// Waits for what comes to its end unless it waits for itself.
async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("what holds a channel waits for another one")
}

/// Makes small files and a large one in a directory; returns all of them.
fn fill(dir: &Path) -> HashMap<String, Vec<u8>> {
    fs::create_dir_all(dir.join("out/deep")).unwrap();
    for number in 0..5 {
        fs::write(dir.join(format!("out/deep/{number}")), number.to_string()).unwrap();
    }
    fs::write(dir.join("out/large"), vec![b'x'; usize::try_from(LARGE).unwrap() + 1]).unwrap();
    tree(dir)
}

#[tokio::test]
async fn one_channel_is_enough() {
    let world = World { host: Narrow::host(1, 0), ..World::new() };
    let all = fill(&world.here);
    assert_eq!(in_time(world.bring(&["out"])).await.unwrap().moved, 6);
    assert!(tree(&world.there) == all);
    fs::remove_dir_all(&world.here).unwrap();
    assert_eq!(in_time(world.fetch(&["out"], 1 << 30)).await.unwrap().0.moved, 6);
    assert!(tree(&world.here) == all);
}

#[tokio::test]
async fn more_fetches_than_channels_do_not_wait_for_each_other() {
    let world = World::new();
    for number in 0..3 {
        world.write(&format!("out/{number}"), b"x");
    }
    world.bring(&["out"]).await.unwrap();
    let names = ["out".to_owned()];
    let fetched = (0..CHANNELS * 3).map(|number| {
        let (to, from, names) = (world.dir.path().join(number.to_string()), world.there.to_str().unwrap(), &names);
        let host = &world.host;
        async move {
            fs::create_dir(&to).unwrap();
            fetch(host, from, &to, names, Take::all(), &Meter::default()).await.map(|fetched| fetched.moved.moved)
        }
    });
    let fetched = in_time(try_join_all(fetched)).await.unwrap();
    assert!(fetched.iter().all(|moved| *moved == 3), "{fetched:?}");
}

#[tokio::test]
async fn hosts_that_send_to_each_other_do_not_wait_for_each_other() {
    let world = World::new();
    let ends = ["one", "other"].map(|name| (Narrow::host(1, 0), world.dir.path().join(name)));
    let names = ["out".to_owned()];
    let [all, _] = [0, 1].map(|at| fill(&ends[at].1));
    // Each to a directory of its own, from the one and from the other in turn.
    let relays = (0..6).map(|number| {
        let ((from, source), (to, _)) = (&ends[number % 2], &ends[(number + 1) % 2]);
        let goal = world.dir.path().join(number.to_string()).to_str().unwrap().to_owned();
        let names = &names;
        async move {
            let places = ((from as &dyn Transport, source.to_str().unwrap()), (to as &dyn Transport, goal.as_str()));
            relay(places.0, places.1, names, 1 << 30, None, &Meter::default()).await.map(|(moved, _)| moved.moved)
        }
    });
    assert_eq!(in_time(try_join_all(relays)).await.unwrap(), [6; 6]);
    for number in 0..6 {
        assert!(tree(&world.dir.path().join(number.to_string())) == all, "{number}");
    }
}

#[tokio::test]
async fn a_channel_that_is_refused_is_asked_for_again_and_what_need_not_wait_does_not() {
    // The host has not seen yet that those were closed that it allowed before.
    let late = Narrow::host(1, 2);
    assert!(late.exec(Exec::new("true")).await.unwrap().status.is_success());
    assert!(matches!(Narrow::host(0, 0).exec(Exec::new("true")).await, Err(TransportError::Channel { .. })));

    let host = Local::transport();
    let at_once = || Exec::new("true").when_busy(WhenBusy::Fail);
    let busy = || async {
        loop {
            match host.exec(at_once()).await {
                Ok(_) => tokio::task::yield_now().await,
                Err(busy) => break busy,
            }
        }
    };
    let all = join_all((0..CHANNELS).map(|_| host.exec(Exec::new("sleep 1234567"))));
    let busy = tokio::select! {
        ended = all => panic!("{ended:?}"),
        busy = in_time(async { [busy().await, host.exec(at_once().reading("x")).await.unwrap_err()] }) => busy,
    };
    for busy in busy {
        assert_eq!(busy.to_string(), "local opens no channel: all channels are taken");
    }
    assert!(in_time(host.exec(at_once())).await.unwrap().status.is_success());
}

#[tokio::test]
async fn what_moves_files_leaves_channels_to_commands() {
    // As many as sshd allows by default, and as few as another host does.
    for (host, most) in [(Local::transport(), CHANNELS), (Narrow::host(4, 0), 4), (Narrow::host(3, 0), 3)] {
        let at_once = || Exec::new("true").when_busy(WhenBusy::Fail);
        let open = || async { host.open("cat").await.unwrap() };
        // How many channels it allows shows when more are asked for.
        in_time(try_join_all((0..CHANNELS).map(|_| host.exec(Exec::new("true"))))).await.unwrap();
        let streams = if most == 3 { 2 } else { most - FOR_COMMANDS };
        let mut streams = in_time(join_all((0..streams).map(|_| open()))).await;
        let mut one_more = Box::pin(open());
        for _ in 0..5 {
            tokio::select! {
                biased;
                _ = &mut one_more => panic!("{most}: nothing is left for commands"),
                done = in_time(host.exec(at_once())) => assert!(done.unwrap().status.is_success()),
            }
        }
        // Nor does it take what reads all of some files.
        let summing = in_time(host.exec(at_once().reading_files())).await.unwrap_err();
        assert!(matches!(summing, TransportError::Channel { .. }), "{most}: {summing}");
        assert!(streams.pop().unwrap().wait().await.unwrap().0.is_success());
        assert!(in_time(one_more).await.wait().await.unwrap().0.is_success());
        assert!(in_time(host.exec(at_once().reading_files())).await.unwrap().status.is_success());
    }
}

#[tokio::test]
async fn what_comes_out_the_same_each_time_is_no_fault_of_the_connection() {
    let host = Local::transport();
    let flood = host.exec(Exec::new("seq 1000").printing(99)).await.unwrap_err();
    let error = StageError::from(flood);
    assert!(matches!(&error, StageError::There { host, .. } if host == "local"), "{error:?}");
    assert_eq!(
        error.to_string(),
        "local has more files than can be asked for at a time: their names are more than 99 bytes; let the task pack them into one, as \
         with `tar -cf`"
    );
    let late = |after| StageError::from(TransportError::Deadline { host: "hpc".to_owned(), after });
    assert!(late(SUMMING).to_string().starts_with("hpc does not get done with these files: not within 6 h;"));
    assert!(matches!(late(SUMMING), StageError::There { .. }));
    // A host that does not answer at all is asked again later.
    assert!(matches!(late(Duration::from_mins(1)), StageError::Transport(TransportError::Deadline { .. })));
}
