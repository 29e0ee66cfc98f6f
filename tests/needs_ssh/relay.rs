//! Who takes slowly what others send: it holds up itself alone, whatever shares a connection with it.

use std::fs;
use std::future::Future;
use std::path::Path;
use std::pin::pin;

use csync::reach::stage::relay;
use csync::reach::transport::{
    ConnectionSettings, Connections, Exec, Get, Limits, Member, Meter, Put, Remote, Transport,
};
use tokio::io::AsyncReadExt;

use crate::needs_ssh::{Line, Masters};
use crate::world::PATIENCE;

const MEMBERS: [Member; 2] = [Member::OpenSsh, Member::Russh];

/// More than any window, and than all that waits in memory.
const LARGE: usize = 112 << 20;

/// More than any window.
const MEDIUM: usize = 40 << 20;

/// Returns a jump host with these options of ssh, and the ways to it and to two hosts behind it, which share its connection.
async fn fan(member: Member, options: &str) -> (Masters, [Remote; 3]) {
    let line = Line::new(3);
    let config = line.bed.read("config").replace("ProxyJump host1", "ProxyJump host0");
    let config = format!("{config}\nHost *\n{options}\n");
    fs::write(line.bed.path("config"), config).unwrap();
    let mut settings = ConnectionSettings::from_env(|_| None, line.bed.path("s"));
    settings.ssh.config = Some(line.bed.path("config"));
    settings.member = Some(member);
    let connections = Connections::new(settings);
    let mut ways = Vec::new();
    for name in ["host0", "host1", "host2"] {
        ways.push(connections.transport(&name.parse().unwrap(), name, Limits::default()).await.unwrap());
    }
    (Masters(line), ways.try_into().unwrap())
}

async fn answers(host: &Remote, when: &str) {
    let reply = host.exec(Exec::new("echo here").within(PATIENCE / 3)).await;
    let reply = reply.unwrap_or_else(|error| panic!("{when}: {} does not answer: {error}", host.host()));
    assert_eq!(reply.stdout, b"here\n");
}

/// Has others answer until nothing moves any more.
async fn answer_until_it_stands(others: &[&Remote], meter: &Meter, when: &str) {
    let (mut done, mut same) = (0, 0);
    while same < 50 {
        for other in others {
            answers(other, when).await;
        }
        same = if meter.done() == done { same + 1 } else { 0 };
        done = meter.done();
    }
}

async fn in_time<T>(work: impl Future<Output = T>, what: &str) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what}: it stands still"))
}

fn make(dir: &Path) {
    fs::create_dir_all(dir.join("small")).unwrap();
    let some: Vec<u8> = (0..5_000_000u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    for number in 0..12u8 {
        fs::write(dir.join(format!("small/{number}")), [&[number], some.as_slice()].concat()).unwrap();
    }
    let all = some.repeat(LARGE.div_ceil(some.len()));
    fs::write(dir.join("large"), &all[..LARGE]).unwrap();
    fs::write(dir.join("medium"), &all[..MEDIUM]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_passed_on_to_a_host_that_is_slow_to_take_it_holds_up_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("from");
    make(&source);
    for member in MEMBERS {
        let (fan, [jump, from, to]) = fan(member, "").await;
        // A file that moves on its own, and a stream of small ones; from the host beside, and from the jump host.
        for (name, from) in [("large", &from), ("small", &from), ("large", &jump), ("small", &jump)] {
            let when = format!("{member:?}, {name} from {}", from.host());
            let target = dir.path().join(format!("{member:?}-{name}-{}", from.host()));
            let (meter, names) = (Meter::default(), [name.to_owned()]);
            let places: [(&dyn Transport, &str); 2] =
                [(from, source.to_str().unwrap()), (&to, target.to_str().unwrap())];
            let mut passing = pin!(relay(places[0], places[1], &names, 1 << 30, None, &meter));
            let meanwhile = async {
                while meter.done() == 0 {
                    tokio::task::yield_now().await;
                }
                fan.0.hosts[2].freeze_sessions();
                in_time(answer_until_it_stands(&[&jump, from], &meter, &when), &when).await;
                fan.0.hosts[2].thaw();
            };
            let passed = tokio::select! {
                passed = &mut passing => panic!("{when}: nobody takes it: {passed:?}"),
                () = meanwhile => in_time(passing, &when).await,
            };
            let (moved, missing) = passed.unwrap_or_else(|error| panic!("{when}: {error}"));
            assert!(missing.is_empty() && moved.moved > 0, "{when}: {moved:?}, {missing:?}");
            let same = |name: &str| fs::read(source.join(name)).unwrap() == fs::read(target.join(name)).unwrap();
            let all: Vec<String> = (0..12).map(|number| format!("small/{number}")).collect();
            let all = if name == "large" { vec![name.to_owned()] } else { all };
            assert!(all.iter().all(|name| same(name)), "{when}: it arrived otherwise");
            fs::remove_dir_all(&target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_read_yet_holds_up_nobody_on_the_same_connection() {
    const MUCH: usize = 64 << 20;
    for member in MEMBERS {
        let (_fan, [jump, host, other]) = fan(member, "").await;
        let mut unread = host.open(&format!("head -c {MUCH} /dev/zero")).await.unwrap();
        for number in 0..200 {
            for host in [&host, &jump, &other] {
                answers(host, &format!("{member:?}, {number}")).await;
            }
        }
        let mut all = Vec::new();
        in_time(unread.split().1.read_to_end(&mut all), "it is read").await.unwrap();
        assert_eq!(all.len(), MUCH);
        assert!(unread.wait().await.unwrap().0.is_success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_both_ways_at_once_through_a_jump_host_arrives() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let here = |name: &str| dir.path().join(name);
    for member in MEMBERS {
        let (_fan, [_, host, _]) = fan(member, "").await;
        let put = |number: u8| Put {
            from: here("medium"),
            to: here(&format!("up{number}")).to_str().unwrap().to_owned(),
            mode: 0o600,
            mtime: None,
            meter: Meter::default(),
        };
        let get = |number: u8| Get {
            from: here("medium").to_str().unwrap().to_owned(),
            to: here(&format!("down{number}")),
            mode: 0o600,
            mtime: None,
            limit: 1 << 30,
            meter: Meter::default(),
        };
        let (puts, gets) = ([put(0), put(1)], [get(0), get(1)]);
        let all =
            async { tokio::try_join!(host.put(&puts[0]), host.get(&gets[0]), host.put(&puts[1]), host.get(&gets[1])) };
        in_time(all, &format!("{member:?}")).await.unwrap();
        for name in ["up0", "up1", "down0", "down1"] {
            assert!(fs::read(here(name)).unwrap() == fs::read(here("medium")).unwrap(), "{member:?}: {name}");
            fs::remove_file(here(name)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_to_a_host_that_takes_nothing_any_more_ends() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    for member in MEMBERS {
        let (fan, [jump, host, _]) = fan(member, "  ServerAliveInterval 1\n  ServerAliveCountMax 2").await;
        // Behind the jump host, and the jump host itself.
        for (number, host) in [(1, &host), (0, &jump)] {
            let when = format!("{member:?}, {}", host.host());
            let put = Put {
                from: dir.path().join("large"),
                to: dir.path().join(format!("{member:?}{number}")).to_str().unwrap().to_owned(),
                mode: 0o600,
                mtime: None,
                meter: Meter::default(),
            };
            let mut sending = pin!(host.put(&put));
            let meanwhile = async {
                while put.meter.done() == 0 {
                    tokio::task::yield_now().await;
                }
                fan.0.hosts[number].freeze_sessions();
            };
            tokio::select! {
                sent = &mut sending => panic!("{when}: nobody was frozen: {sent:?}"),
                () = meanwhile => {}
            }
            in_time(sending, &when).await.unwrap_err();
            fan.0.hosts[number].thaw();
            in_time(host.put(&put), &when).await.unwrap();
            assert!(fs::read(&put.to).unwrap() == fs::read(&put.from).unwrap(), "{when}: it arrived otherwise");
            fs::remove_file(&put.to).unwrap();
        }
    }
}
