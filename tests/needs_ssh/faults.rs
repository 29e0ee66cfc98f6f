//! What can go wrong with a connection.

use std::time::{Duration, Instant};

use csync::language::ssh::{HostKeyTrouble, Unreached};
use csync::reach::transport::{
    CHANNELS, Exec, Fate, Limits, LinkState, Member, OpenSsh, Status, Transport, TransportError,
};
use futures_util::future::join_all;

use crate::needs_ssh::sshd::{Bed, Unusual};
use crate::needs_ssh::{Line, Masters};
use crate::world::PATIENCE;

pub(super) async fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn exec(script: &str) -> Exec {
    Exec::new(script).within(PATIENCE)
}

const MEMBERS: [Member; 2] = [Member::OpenSsh, Member::Russh];

#[tokio::test(flavor = "multi_thread")]
async fn a_host_has_one_connection_whatever_it_does() {
    for member in MEMBERS {
        let line = Masters(Line::new(3));
        let host = line.0.way(member);
        join_all((0..40).map(|n| host.exec(exec(if n % 2 == 0 { "sleep 0.1" } else { "echo" }))))
            .await
            .into_iter()
            .for_each(|reply| assert!(reply.unwrap().status.is_success()));
        for (number, sshd) in line.0.hosts.iter().enumerate() {
            assert_eq!((sshd.connections(), sshd.logins()), (1, 1), "host{number}");
        }
        assert!(matches!(host.link_state(), LinkState::Open { via, .. } if via == member));
        host.close().await;
        assert_eq!(host.link_state(), LinkState::Closed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_sees_no_more_channels_than_are_meant_for_it() {
    for member in MEMBERS {
        let mut bed = Bed::new();
        // It would allow more.
        let sshd = bed.unusual_sshd(&Unusual::lines("MaxSessions 100"));
        let key = bed.read(&format!("host-{}.pub", sshd.address));
        bed.append("known_hosts", &format!("[{}]:{} {key}", sshd.address, sshd.port));
        let line = Masters(Line { bed, hosts: vec![sshd] });
        line.0.write_config("");
        let host = line.0.way(member);
        let (dir, go) = (line.0.bed.path("running"), line.0.bed.path("go"));
        std::fs::create_dir(&dir).unwrap();
        let running = || std::fs::read_dir(&dir).unwrap().count();
        let script = format!(": > '{}'/$$; while [ ! -e '{}' ]; do sleep 0.05; done", dir.display(), go.display());
        let all = join_all((0..40).map(|_| host.exec(exec(&script))));
        let ((), replies) = tokio::join!(
            async {
                until("as many run as may", || running() >= CHANNELS).await;
                std::fs::write(&go, "").unwrap();
            },
            all
        );
        assert!(replies.into_iter().all(|reply| reply.unwrap().status.is_success()), "{member}");
        let log = line.0.hosts[0].log();
        let sessions = log.matches("Starting session: command").count();
        assert_eq!(
            (sessions, log.matches("Close session").count()),
            (CHANNELS, 0),
            "{member}: they stay, and serve all\n{log}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_is_lost_and_made_again() {
    for member in MEMBERS {
        let line = Masters(Line::new(1));
        let host = line.0.way(member);
        assert!(host.exec(exec("true")).await.unwrap().status.is_success());
        let marker = line.0.bed.path("marker");
        let script = format!("sh -c 'echo $$ >{}; exec sleep 1234567'", marker.display());
        let (lost, ()) = tokio::join!(host.exec(exec(&script)), async {
            until("the command runs", || std::fs::read_to_string(&marker).is_ok_and(|pid| pid.ends_with('\n'))).await;
            line.0.hosts[0].kill_sessions();
        });
        assert!(matches!(lost, Err(TransportError::Lost { fate: Fate::Unknown, .. })), "{lost:?}");
        // A shell that waited is not given anything any more either.
        let reply = host.exec(exec("exit 255")).await.unwrap();
        assert_eq!(reply.status, Status::Exit(255));
        line.0.hosts[0].kill_sessions();
        until("the end of the connection is seen", || host.link_state() == LinkState::Closed).await;
        // The shell that waited may be given a command in the moment of its end: then nobody knows, and nothing wrong is said.
        let mut reply = host.exec(exec("echo x")).await;
        if let Err(TransportError::Lost { .. }) = reply {
            reply = host.exec(exec("echo x")).await;
        }
        assert_eq!(reply.unwrap().stdout, b"x\n");
        assert_eq!(line.0.hosts[0].logins(), 3);
        // What ran when the connection broke runs on: nobody could end it.
        let pid = std::fs::read_to_string(&marker).unwrap().trim().parse().unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL)
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_died_is_replaced() {
    let line = Masters(Line::new(1));
    let way = OpenSsh::new("host0", "host0".parse().unwrap(), None, line.0.settings()).unwrap();
    let socket = way.socket().to_owned();
    let host = way.transport();
    host.exec(exec("true")).await.unwrap();
    // What is left of a master that was killed: a socket that nobody answers on.
    host.close().await;
    until("the master leaves", || !socket.exists()).await;
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    host.exec(exec("true")).await.unwrap();
    assert_eq!(line.0.hosts[0].logins(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_finds_the_connection() {
    let line = Masters(Line::new(1));
    line.0.way(Member::OpenSsh).exec(exec("true")).await.unwrap();
    line.0.way(Member::OpenSsh).exec(exec("true")).await.unwrap();
    assert_eq!(line.0.hosts[0].logins(), 1, "the second found the first one's master");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listens() {
    for member in MEMBERS {
        let mut line = Line::new(1);
        line.hosts[0].stop();
        let limits = Limits { first_backoff: Duration::from_mins(1), ..Limits::default() };
        let host = line.limited_way(member, limits);
        let refused = host.exec(exec("true")).await;
        assert!(matches!(refused, Err(TransportError::Unreached { how: Unreached::Refused, .. })), "{refused:?}");
        assert!(matches!(host.link_state(), LinkState::BackingOff { .. }));
        let held = host.exec(exec("true")).await;
        assert!(matches!(held, Err(TransportError::Held { .. })), "{held:?}");
        assert!(!held.unwrap_err().may_have_run());
    }
}

/// Asks for the trouble of a host whose key is not as it should be.
async fn host_key_trouble(
    member: Member,
    known_hosts: impl FnOnce(&Bed, &str, &str) -> String,
) -> Result<(), TransportError> {
    let line = Masters(Line::new(1));
    let (bed, sshd) = (&line.0.bed, &line.0.hosts[0]);
    let place = format!("[{}]:{}", sshd.address, sshd.port);
    let key = bed.read(&format!("host-{}.pub", sshd.address));
    let text = known_hosts(bed, &place, key.trim());
    std::fs::write(bed.path("known_hosts"), text).unwrap();
    let host = line.0.way(member);
    host.exec(exec("true")).await.map(drop)
}

fn other_key(bed: &Bed, kind: &str) -> String {
    bed.key("other", kind, "");
    bed.read("other.pub").trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn host_keys_are_checked() {
    for member in MEMBERS {
        let how = |result: Result<(), TransportError>| match result {
            Ok(()) => None,
            Err(TransportError::HostKey { how, .. }) => Some(how),
            Err(error) => panic!("{error}"),
        };
        let unknown = host_key_trouble(member, |_, _, _| String::new()).await;
        assert_eq!(how(unknown), Some(HostKeyTrouble::Unknown));
        let changed =
            host_key_trouble(member, |bed, place, _| format!("{place} {}\n", other_key(bed, "ed25519"))).await;
        assert!(changed.as_ref().unwrap_err().hint().unwrap().contains("ssh-keygen -R"));
        assert_eq!(how(changed), Some(HostKeyTrouble::Changed));
        let revoked = host_key_trouble(member, |_, place, key| format!("{place} {key}\n@revoked * {key}\n")).await;
        assert_eq!(how(revoked), Some(HostKeyTrouble::Revoked));
        let pattern = host_key_trouble(member, |_, place, key| format!("[127.0.0.*]:* {key}\n{place}x {key}\n")).await;
        assert_eq!(how(pattern), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_key_is_not_let_in() {
    for member in MEMBERS {
        let line = Line::new(1);
        std::fs::write(line.bed.path("authorized"), "").unwrap();
        let denied = line.way(member).exec(exec("true")).await;
        assert!(matches!(denied, Err(TransportError::Denied { .. })), "{denied:?}");
        assert_eq!(line.hosts[0].logins(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_ask_a_person_needs_a_login() {
    for member in MEMBERS {
        let mut bed = Bed::new();
        let sshd = bed.unusual_sshd(&Unusual::lines(
            "KbdInteractiveAuthentication yes\nAuthenticationMethods publickey,keyboard-interactive",
        ));
        let key = bed.read(&format!("host-{}.pub", sshd.address));
        bed.append("known_hosts", &format!("[{}]:{} {key}", sshd.address, sshd.port));
        let line = Line { bed, hosts: vec![sshd] };
        line.write_config("");
        let host = line.way(member);
        for _ in 0..2 {
            let needs = host.exec(exec("true")).await;
            assert!(matches!(needs, Err(TransportError::NeedsLogin { .. })), "{needs:?}");
        }
        assert!(matches!(host.link_state(), LinkState::NeedsLogin { .. }));
        assert_eq!(line.hosts[0].connections(), 1, "it is not asked again and again");
    }
}

/// A host whose commands go through another program than `/bin/sh -c`.
fn with_login_shell(command: &str) -> Line {
    let mut bed = Bed::new();
    let sshd = bed.unusual_sshd(&Unusual::lines(format!("ForceCommand {command}")));
    let key = bed.read(&format!("host-{}.pub", sshd.address));
    bed.append("known_hosts", &format!("[{}]:{} {key}", sshd.address, sshd.port));
    let line = Line { bed, hosts: vec![sshd] };
    line.write_config("");
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn the_login_shell_does_not_matter() {
    for member in MEMBERS {
        let script = "x=$(printf '%s' 'a!b'); printf '%s\\n' \"$x\" '!!' '$HOME' \\'; printf 'e\\001' >&2; exit 3";
        for shell in ["/bin/tcsh", "/usr/bin/fish", "/bin/zsh", "/bin/bash", "/bin/sh"] {
            let line = Masters(with_login_shell(&format!("{shell} -c \"$SSH_ORIGINAL_COMMAND\"")));
            let host = line.0.way(member);
            let reply = host.exec(exec(script)).await.unwrap_or_else(|error| panic!("{shell}: {error}"));
            assert_eq!(reply.status, Status::Exit(3), "{shell}");
            assert_eq!(reply.stdout, b"a!b\n!!\n$HOME\n'\n", "{shell}");
            assert_eq!(reply.stderr, b"e\x01", "{shell}");
            let reply = host.exec(exec("cat").reading("in")).await.unwrap();
            assert_eq!(reply.stdout, b"in", "{shell}");
        }
    }
}

/// A host whose user has this `.bashrc`.
fn with_bashrc(text: &str) -> Line {
    let home = tempfile::tempdir().unwrap().keep();
    std::fs::write(home.join(".bashrc"), text).unwrap();
    with_login_shell(&format!("env -u SHLVL HOME={} /bin/bash -c \"$SSH_ORIGINAL_COMMAND\"", home.display()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_bashrc_prints_is_dropped() {
    for member in MEMBERS {
        let line = Masters(with_bashrc(
            "echo Welcome; printf 'no newline'; echo warning >&2; set -x; alias exec=false; sh() { false; }; PS4='csync- '",
        ));
        let host = line.0.way(member);
        for _ in 0..3 {
            let reply = host.exec(exec("echo out; echo err >&2; exit 4")).await.unwrap();
            assert_eq!(
                (reply.status, reply.stdout, reply.stderr),
                (Status::Exit(4), b"out\n".to_vec(), b"err\n".to_vec())
            );
        }
        let reply = host.exec(exec("cat").reading("in")).await.unwrap();
        assert_eq!((reply.stdout, reply.stderr), (b"in".to_vec(), vec![]));
        assert!(line.0.hosts[0].logins() == 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bashrc_that_exits_is_named() {
    for member in MEMBERS {
        let line = Masters(with_bashrc("echo this account is closed >&2; exit 255"));
        let host = line.0.way(member);
        let error = host.exec(exec("true")).await.unwrap_err();
        assert!(matches!(error, TransportError::LoginShell { .. }), "{error:?}");
        assert!(error.to_string().contains("this account is closed"), "{error}");
        assert!(!error.may_have_run());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_may_allow_few_channels() {
    for member in MEMBERS {
        let mut bed = Bed::new();
        let sshd = bed.unusual_sshd(&Unusual::lines("MaxSessions 2"));
        let key = bed.read(&format!("host-{}.pub", sshd.address));
        bed.append("known_hosts", &format!("[{}]:{} {key}", sshd.address, sshd.port));
        let line = Masters(Line { bed, hosts: vec![sshd] });
        line.0.write_config("");
        let host = line.0.way(member);
        let all = join_all((0..12).map(|n| host.exec(exec(if n % 3 == 0 { "sleep 0.3; echo" } else { "echo" })))).await;
        for reply in all {
            assert_eq!(reply.unwrap().stdout, b"\n");
        }
        assert_eq!(line.0.hosts[0].logins(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_has_a_budget_of_connections() {
    for member in MEMBERS {
        let line = Masters(Line::new(1));
        let limits = Limits { per_minute: 2, ..Limits::default() };
        let host = line.0.limited_way(member, limits);
        for _ in 0..2 {
            host.exec(exec("true")).await.unwrap();
            host.close().await;
        }
        let held = host.exec(exec("true")).await;
        assert!(matches!(held, Err(TransportError::Held { .. })), "{held:?}");
        assert_eq!(line.0.hosts[0].connections(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_falls_silent_is_lost() {
    for member in MEMBERS {
        let line = Masters(Line::new(1));
        line.0.write_config("ServerAliveInterval 1\nServerAliveCountMax 2");
        let host = line.0.way_as_configured(member).await;
        host.exec(exec("true")).await.unwrap();
        line.0.hosts[0].freeze_sessions();
        let lost = host.exec(exec("true")).await;
        assert!(matches!(lost, Err(TransportError::Lost { fate: Fate::Unknown, .. })), "{member}: {lost:?}");
        assert_eq!(host.exec(exec("echo x")).await.unwrap().stdout, b"x\n", "{member}");
        assert_eq!(line.0.hosts[0].logins(), 2, "{member}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_never_answers_times_out() {
    for member in MEMBERS {
        let mut line = Line::new(1);
        line.hosts[0].stop();
        // Accepts, and says nothing.
        let listener = std::net::TcpListener::bind((line.hosts[0].address.as_str(), line.hosts[0].port)).unwrap();
        line.write_config("ConnectTimeout 1");
        let host = line.way_as_configured(member).await;
        let late = host.exec(exec("true")).await;
        assert!(matches!(late, Err(TransportError::Unreached { how: Unreached::TimedOut, .. })), "{member}: {late:?}");
        drop(listener);
    }
}
