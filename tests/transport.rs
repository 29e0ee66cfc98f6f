//! What every transport must do alike: one suite, run here against this machine's shell, and in `needs_ssh` against each of the
//! ways of SSH.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use csync::reach::transport::{
    Exec, Fate, Get, Local, Meter, Moved, Put, Remote, Reply, Status, Transport, TransportError,
};
use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::PATIENCE;

/// A transport under test, with a directory that both of its ends see.
pub(crate) struct Subject {
    pub(crate) host: Remote,
    pub(crate) dir: TempDir,
    /// What must live as long as the host.
    pub(crate) _keep: Box<dyn Any + Send + Sync>,
}

impl Subject {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a script in the directory.
    pub(crate) async fn run(&self, script: &str) -> Reply {
        self.try_run(script).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    pub(crate) async fn try_run(&self, script: &str) -> Result<Reply, TransportError> {
        let script = format!("cd {} || exit 99\n{script}", self.dir.path().display());
        self.host.exec(Exec::new(script).within(PATIENCE).printing(200 << 20)).await
    }
}

/// The checks, each with the name of its test; a module of tests for a way to make a [`Subject`].
macro_rules! conforms {
    ($name:ident, $subject:expr) => {
        mod $name {
            $crate::transport::conforms!(
                @each $subject,
                exit_codes_and_signals,
                whatever_the_host_speaks_it_is_read,
                input_is_read_to_its_end,
                streams_are_kept_apart_and_whole,
                a_hundred_megabytes_come_through,
                a_flood_is_ended,
                commands_do_not_spoil_each_other,
                what_is_late_is_ended_on_the_host,
                what_is_cancelled_is_ended_on_the_host,
                what_was_left_running_on_purpose_stays,
                fifty_at_a_time,
                streams_run_both_ways_at_once,
                files_go_there_and_back,
                files_with_odd_names,
                a_file_goes_on_where_it_was_cut,
                two_that_fetch_one_file_spoil_nothing,
                files_that_cannot_be,
                scripts_that_cannot_be,
                shells_leave_when_nothing_runs_in_them,
            );
        }
    };
    (@each $subject:expr, $($check:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                let subject: $crate::transport::Subject = $subject;
                $crate::transport::$check(&subject).await;
            }
        )+
    };
}
pub(crate) use conforms;

fn local() -> Subject {
    Subject { host: Local::transport(), dir: tempfile::tempdir().unwrap(), _keep: Box::new(()) }
}

conforms!(here, crate::transport::local());

/// Returns whether a process runs whose arguments contain the words.
fn is_running(words: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        std::fs::read(entry.path().join("cmdline")).is_ok_and(|line| {
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            // Not the shell whose script it is.
            line.starts_with(words)
        })
    })
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A time to sleep that no other test sleeps.
fn unique_sleep() -> String {
    let mut bytes = [0; 4];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").unwrap(), &mut bytes).unwrap();
    format!("sleep {}", 100_000 + u64::from(u32::from_ne_bytes(bytes)))
}

/// Numbers with a comma, or complaints in other words, would be misread.
pub(crate) async fn whatever_the_host_speaks_it_is_read(subject: &Subject) {
    let say = "echo \"$LC_ALL\"; env | grep ^LC_ALL=";
    let plain = b"C\nLC_ALL=C\n";
    assert_eq!(subject.run(say).await.stdout, plain);
    let reading = Exec::new(format!("cat >/dev/null; {say}")).within(PATIENCE).reading("x");
    assert_eq!(subject.host.exec(reading).await.unwrap().stdout, plain);
    let mut channel = subject.host.open(say).await.unwrap();
    let mut said = Vec::new();
    channel.split().1.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, plain);
    // A command that changes it changes nothing for the next.
    subject.run("LC_ALL=de; export LC_ALL; unset csync_locale").await;
    assert_eq!(subject.run(say).await.stdout, plain);
}

pub(crate) async fn exit_codes_and_signals(subject: &Subject) {
    for code in [0, 1, 3, 126, 127, 128, 200, 255] {
        assert_eq!(subject.run(&format!("exit {code}")).await.status, Status::Exit(code));
    }
    assert_eq!(subject.run("sh -c 'exit 255'").await.status, Status::Exit(255));
    assert_eq!(subject.run("sh -c 'kill -s TERM $$'").await.status, Status::Signal(15));
    assert_eq!(subject.run("sh -c 'kill -s KILL $$'").await.status, Status::Signal(9));
    assert_eq!(subject.run("no-such-program-here").await.status, Status::Exit(127));
    assert!(Status::Exit(0).is_success());
}

pub(crate) async fn input_is_read_to_its_end(subject: &Subject) {
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let reply = subject.host.exec(Exec::new("cat; exit 7").reading(bytes.clone())).await.unwrap();
    assert_eq!((reply.status, reply.stdout == bytes), (Status::Exit(7), true));
    // What is not read does not hold anybody up.
    let reply = subject.host.exec(Exec::new("head -c 3").reading(vec![b'x'; 10 << 20])).await.unwrap();
    assert_eq!((reply.status, reply.stdout), (Status::Exit(0), b"xxx".to_vec()));
    // Without input there is an end at once.
    assert_eq!(subject.run("cat").await.stdout, b"");
}

pub(crate) async fn streams_are_kept_apart_and_whole(subject: &Subject) {
    let reply = subject.run(r"printf 'a\000\377\n\n'; printf 'b\001' >&2; printf 'no newline'").await;
    assert_eq!(reply.stdout, b"a\0\xff\n\nno newline");
    assert_eq!(reply.stderr, b"b\x01");
    let reply = subject.run("true").await;
    assert_eq!((reply.stdout, reply.stderr), (vec![], vec![]));
    let reply = subject.run("echo").await;
    assert_eq!(reply.stdout, b"\n");
}

pub(crate) async fn a_hundred_megabytes_come_through(subject: &Subject) {
    let reply = subject.run("head -c 100000000 /dev/zero; echo done >&2").await;
    assert_eq!(reply.stdout.len(), 100_000_000);
    assert!(reply.stdout.iter().all(|byte| *byte == 0));
    assert_eq!(reply.stderr, b"done\n");
}

pub(crate) async fn a_flood_is_ended(subject: &Subject) {
    for exec in [Exec::new("yes"), Exec::new("yes").reading("x"), Exec::new("yes >&2")] {
        let flood = subject.host.exec(exec.printing(100_000)).await;
        assert!(matches!(flood, Err(TransportError::Flood { .. })), "{flood:?}");
    }
    assert_eq!(subject.run("echo next").await.stdout, b"next\n");
}

pub(crate) async fn commands_do_not_spoil_each_other(subject: &Subject) {
    for script in [
        "cd /; x=1; umask 0; set -e; set -u; export LEFT=over; exec >/dev/null",
        "if then",
        "exit 3",
        "'",
        "trap 'echo no' EXIT",
    ] {
        subject.run(script).await;
        let reply = subject.run("printf '%s' \"${x-unset} ${LEFT-unset} $(pwd)\"; false; umask").await;
        let expected = format!("unset unset {}0", subject.dir.path().display());
        let said = String::from_utf8(reply.stdout).unwrap();
        assert!(said.starts_with(&expected) && !said.ends_with("0000\n"), "after `{script}`: {said}");
    }
    let broken = subject.run("if then").await;
    assert!(!broken.status.is_success() && !broken.stderr.is_empty());
}

pub(crate) async fn what_is_late_is_ended_on_the_host(subject: &Subject) {
    for wrap in ["SLEEP", "(SLEEP; true); true", "SLEEP | cat", "trap '' TERM; SLEEP & wait"] {
        let sleep = unique_sleep();
        let script = wrap.replace("SLEEP", &sleep);
        // Late is what was seen to run.
        let (late, ()) = tokio::join!(
            subject.host.exec(Exec::new(script).within(Duration::from_secs(3))),
            until("its start", || is_running(&sleep))
        );
        assert!(matches!(late, Err(TransportError::Deadline { .. })), "{late:?}");
        until(&format!("the end of `{wrap}`"), || !is_running(&sleep)).await;
    }
}

pub(crate) async fn what_is_cancelled_is_ended_on_the_host(subject: &Subject) {
    for exec in [Exec::new("SLEEP"), Exec::new("SLEEP").reading("x")] {
        let sleep = unique_sleep();
        let exec = Exec { script: sleep.clone(), ..exec };
        tokio::select! {
            done = subject.host.exec(exec) => panic!("{done:?}"),
            () = until("its start", || is_running(&sleep)) => {}
        }
        until("its end", || !is_running(&sleep)).await;
    }
    let sleep = unique_sleep();
    let channel = subject.host.open(&sleep).await.unwrap();
    until("its start", || is_running(&sleep)).await;
    drop(channel);
    until("its end", || !is_running(&sleep)).await;
}

pub(crate) async fn what_was_left_running_on_purpose_stays(subject: &Subject) {
    let (stays, goes) = (unique_sleep(), unique_sleep());
    let pid = subject.run(&format!("{stays} </dev/null >/dev/null 2>&1 & echo $!")).await.stdout;
    let late = subject.host.exec(Exec::new(&goes).within(Duration::from_secs(2))).await;
    assert!(matches!(late, Err(TransportError::Deadline { .. })), "{late:?}");
    until("the end of what was late", || !is_running(&goes)).await;
    assert!(is_running(&stays), "what an earlier command left is not below a later one");
    subject.run(&format!("kill {}", String::from_utf8(pid).unwrap().trim())).await;
}

pub(crate) async fn fifty_at_a_time(subject: &Subject) {
    let many = join_all((0..50).map(|n| async move { subject.run(&format!("echo {n}; exit {n}")).await })).await;
    for (n, reply) in (0..50).zip(many) {
        assert_eq!((reply.status, reply.stdout), (Status::Exit(n), format!("{n}\n").into_bytes()));
    }
}

pub(crate) async fn streams_run_both_ways_at_once(subject: &Subject) {
    let mut channel =
        subject.host.open("while read -r line; do echo \"got $line\"; done; echo bye >&2; exit 5").await.unwrap();
    let (stdin, stdout) = channel.split();
    for word in ["one", "two"] {
        stdin.write_all(format!("{word}\n").as_bytes()).await.unwrap();
        stdin.flush().await.unwrap();
        let mut line = vec![0; format!("got {word}\n").len()];
        stdout.read_exact(&mut line).await.unwrap();
        assert_eq!(line, format!("got {word}\n").into_bytes());
    }
    let (status, stderr) = channel.wait().await.unwrap();
    assert_eq!((status, stderr), (Status::Exit(5), b"bye\n".to_vec()));
}

/// Makes a file that does not compress and does not repeat.
fn make_file(path: &Path, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom").unwrap(), &mut bytes).unwrap();
    std::fs::write(path, &bytes).unwrap();
    bytes
}

fn put(subject: &Subject, from: &str, to: &str) -> Put {
    Put {
        from: subject.path(from),
        to: subject.path(to).to_str().unwrap().to_owned(),
        mode: 0o640,
        mtime: None,
        meter: Meter::default(),
    }
}

fn get(subject: &Subject, from: &str, to: &str) -> Get {
    Get {
        from: subject.path(from).to_str().unwrap().to_owned(),
        to: subject.path(to),
        mode: 0o600,
        mtime: None,
        limit: 1 << 30,
        meter: Meter::default(),
    }
}

fn mode(path: &Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions()) & 0o7777
}

pub(crate) async fn files_go_there_and_back(subject: &Subject) {
    for size in [0, 1, 64 << 20] {
        let bytes = make_file(&subject.path("here"), size);
        let moved = Moved { size: size as u64, sent: size as u64 };
        assert_eq!(subject.host.put(&put(subject, "here", "there")).await.unwrap(), moved);
        assert!(std::fs::read(subject.path("there")).unwrap() == bytes, "{size} bytes there");
        assert_eq!(mode(&subject.path("there")), 0o640);
        assert_eq!(subject.host.get(&get(subject, "there", "back")).await.unwrap(), moved);
        assert!(std::fs::read(subject.path("back")).unwrap() == bytes, "{size} bytes back");
        assert_eq!(mode(&subject.path("back")), 0o600);
    }
    let left: Vec<_> = std::fs::read_dir(subject.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "nothing temporary is left: {left:?}");
}

pub(crate) async fn files_with_odd_names(subject: &Subject) {
    make_file(&subject.path("here"), 10);
    let long = "n".repeat(255);
    for name in ["a b", "it's", "\"q\"", "new\nline", "-rf", "$HOME", "`id`", "!x", "*", "ü", ".", &long] {
        let name = if name == "." { "..hidden" } else { name };
        let moved = Moved { size: 10, sent: 10 };
        assert_eq!(subject.host.put(&put(subject, "here", name)).await.unwrap(), moved, "{name:?}");
        assert!(subject.path(name).is_file(), "{name:?}");
        assert_eq!(subject.host.get(&get(subject, name, "back")).await.unwrap(), moved, "{name:?}");
        std::fs::remove_file(subject.path(name)).unwrap();
    }
}

pub(crate) async fn a_file_goes_on_where_it_was_cut(subject: &Subject) {
    let bytes = make_file(&subject.path("here"), 8 << 20);
    let file = put(subject, "here", "there");
    let start = |subject: &Subject| {
        std::fs::read_dir(subject.dir.path()).unwrap().flatten().find_map(|entry| {
            let part = entry.path().extension().is_some_and(|end| end == "part");
            part.then(|| entry.metadata().map_or(0, |meta| meta.len()))
        })
    };
    // Cut in the middle, whenever that is.
    let mut cut = false;
    for _ in 0..50 {
        tokio::select! {
            biased;
            () = until("a part", || start(subject).is_some_and(|size| size > 0)) => {}
            done = subject.host.put(&file) => { done.unwrap(); }
        }
        subject.run("true").await;
        if start(subject).is_some() {
            cut = true;
            break;
        }
        std::fs::remove_file(subject.path("there")).unwrap();
    }
    assert!(cut, "some try was cut");
    // Whoever wrote the part is gone.
    until("the end of the writer", || !is_running("cat")).await;
    let has = start(subject).unwrap();
    let moved = subject.host.put(&file).await.unwrap();
    assert_eq!(moved, Moved { size: 8 << 20, sent: (8 << 20) - has });
    assert!(std::fs::read(subject.path("there")).unwrap() == bytes);
    // Another content of the same name and size does not go on with the old one's part.
    std::fs::write(subject.path(".csync-0000000000000000.part"), b"other").unwrap();
    let other = make_file(&subject.path("here"), 8 << 20);
    subject.host.put(&file).await.unwrap();
    assert!(std::fs::read(subject.path("there")).unwrap() == other);
}

/// Returns what an earlier try left, and how much of a file that is.
fn part(subject: &Subject) -> Option<(PathBuf, u64)> {
    let mut entries = std::fs::read_dir(subject.dir.path()).unwrap().flatten().map(|entry| entry.path());
    let part = entries.find(|path| path.extension().is_some_and(|end| end == "part"))?;
    let size = std::fs::metadata(&part).map_or(0, |meta| meta.len());
    Some((part, size))
}

pub(crate) async fn two_that_fetch_one_file_spoil_nothing(subject: &Subject) {
    const SIZE: u64 = 32 << 20;
    let bytes = make_file(&subject.path("there"), SIZE as usize);
    let file = get(subject, "there", "back");
    let (one, other) = tokio::join!(subject.host.get(&file), subject.host.get(&file));
    assert_eq!((one.unwrap().size, other.unwrap().size), (SIZE, SIZE));
    assert!(std::fs::read(subject.path("back")).unwrap() == bytes);
    assert_eq!(part(subject), None, "nothing temporary is left");
    // What was cut goes on, as soon as nobody writes there any more.
    let mut has = 0;
    for _ in 0..50 {
        tokio::select! {
            biased;
            () = until("a part", || part(subject).is_some_and(|(_, size)| size > 0)) => {}
            done = subject.host.get(&file) => { done.unwrap(); }
        }
        if let Some((path, _)) = part(subject) {
            let is_free = || std::fs::File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
            until("the end of the writer", is_free).await;
            has = part(subject).unwrap().1;
            break;
        }
    }
    assert!(has > 0, "some try was cut");
    assert_eq!(subject.host.get(&file).await.unwrap(), Moved { size: SIZE, sent: SIZE - has });
    assert!(std::fs::read(subject.path("back")).unwrap() == bytes);
}

pub(crate) async fn files_that_cannot_be(subject: &Subject) {
    make_file(&subject.path("here"), 100);
    let far = |error: TransportError, words: &str| {
        let said = error.to_string();
        assert!(matches!(error, TransportError::FarFile { .. }) && said.contains(words), "{said}");
    };
    far(subject.host.put(&put(subject, "here", "no/such/dir")).await.unwrap_err(), "no/such/dir");
    far(subject.host.get(&get(subject, "nothing", "back")).await.unwrap_err(), "no such file");
    far(subject.host.get(&get(subject, ".", "back")).await.unwrap_err(), "no such file");
    let small = Get { limit: 99, ..get(subject, "here", "back") };
    far(subject.host.get(&small).await.unwrap_err(), "100 bytes, 99 are allowed");
    let missing = subject.host.put(&put(subject, "nothing", "there")).await.unwrap_err();
    assert!(matches!(missing, TransportError::File { .. }), "{missing}");
    assert!(!subject.path("back").exists());
}

pub(crate) async fn scripts_that_cannot_be(subject: &Subject) {
    let refused = subject.try_run("echo a\0b").await;
    assert!(matches!(refused, Err(TransportError::BadScript { .. })), "{refused:?}");
    // A shell that ends under its command says so; nobody knows what became of it.
    let lost = subject.try_run("kill -s KILL $$").await;
    assert!(matches!(lost, Err(TransportError::Lost { fate: Fate::Unknown, .. })), "{lost:?}");
    assert!(lost.unwrap_err().may_have_run());
    assert_eq!(subject.run("echo next").await.stdout, b"next\n");
    // A long one.
    let long = format!("x='{}'; echo ${{#x}}", "y".repeat(1 << 20));
    assert_eq!(subject.run(&long).await.stdout, b"1048576\n");
}

pub(crate) async fn shells_leave_when_nothing_runs_in_them(subject: &Subject) {
    let host = subject.host.clone().idle_for(Duration::from_millis(200));
    // In a subshell this is the shell's own number.
    let shells = join_all((0..4).map(|_| host.exec(Exec::new("echo $$; sleep 0.1").within(PATIENCE)))).await;
    for shell in shells {
        let pid = String::from_utf8(shell.unwrap().stdout).unwrap().trim().to_owned();
        let place = Path::new("/proc").join(&pid);
        until(&format!("the end of shell {pid}"), || !place.exists()).await;
    }
    let again = host.exec(Exec::new("echo again").within(PATIENCE)).await.unwrap();
    assert_eq!(again.stdout, b"again\n");
}
