//! Keys with a passphrase, where the system's `ssh` connects: `csync login` asks for each once, and for nothing that it need not.

use std::process::Command;

use serde_json::json;

use crate::needs_ssh::Line;
use crate::needs_ssh::commands::{Logins, at_terminal, csync};
use crate::needs_ssh::login::{Agent, QUESTIONS, only_key, to_double};
use crate::needs_ssh::sshd::{Bed, Unusual, run};
use crate::world::until;

const FAR: &str = "[hosts.far]\nssh = \"host2\"\n";
/// What csync asks, and what `ssh` asks.
const OURS: &str = "Passphrase of the key";
const THEIRS: &str = "Enter passphrase for key";

/// The processes of `ssh` that belong to a bed, by what they were started with.
fn of_ssh(bed: &Bed) -> Vec<String> {
    let ours = bed.path("state/ssh").display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.starts_with("ssh") && line.contains(&ours)).collect()
}

/// Asserts that nothing of the keys that were offered is left.
#[track_caller]
fn nothing_is_left(bed: &Bed) {
    let names = std::fs::read_dir(bed.path("state/ssh")).unwrap().flatten().map(|entry| entry.file_name());
    let left: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with("keys-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_asks_for_a_passphrase_once_for_all_hosts_on_the_way() {
    for (kind, with_agent) in [("ed25519", false), ("rsa", true), ("ecdsa", true)] {
        let line = Line::new(3);
        let bed = &line.bed;
        let _logins = Logins::of(bed);
        let key = bed.key("mine", kind, "open sesame");
        let agent = Agent::start(bed);
        let mut config = format!("IdentityFile {}", key.display());
        if with_agent {
            // It holds others, which the hosts do not take.
            for other in ["other1", "other2"] {
                agent.add(&bed.key(other, "ed25519", ""));
                std::fs::remove_file(bed.path(&format!("{other}.pub"))).unwrap();
            }
            config = format!("{config}\nIdentityAgent {}\nIdentitiesOnly no", agent.socket.display());
        }
        only_key(&line, "mine", &config);
        let login = || csync(bed, FAR, &["login", "far"]);
        let steps = json!([[OURS, "open barley\n"], [OURS, "open sesame\n"]]);
        let shown = at_terminal(bed, login(), steps).await;
        assert!(shown.contains("far is open.") && shown.contains("status 0") && shown.contains(" echo "), "{shown}");
        assert_eq!(shown.matches(OURS).count(), 2, "wrong, then right, and not again: {shown}");
        assert!(!shown.contains(THEIRS) && !shown.contains("sesame") && !shown.contains("barley"), "{shown}");
        assert!(shown.contains("(host0) Passphrase"), "under the name of the host that takes it: {shown}");
        assert_eq!([0, 1, 2].map(|host| line.hosts[host].logins()), [1, 1, 1], "{kind}");
        nothing_is_left(bed);
        // What is open needs nothing.
        let shown = at_terminal(bed, login(), json!([])).await;
        assert!(shown.contains("far is open.") && !shown.contains(OURS), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_two_keys_on_the_way_is_asked_for_once() {
    let mut bed = Bed::new();
    let mut hosts = Vec::new();
    for (number, name) in ["one", "two", "one"].into_iter().enumerate() {
        if number < 2 {
            bed.key(name, "ed25519", &format!("open {name}"));
        }
        let lets_in = format!("AuthorizedKeysFile {}", bed.path(&format!("{name}.pub")).display());
        let sshd = bed.unusual_sshd(&Unusual::lines(lets_in));
        let key = bed.read(&format!("host-{}.pub", sshd.address));
        bed.append("known_hosts", &format!("[{}]:{} {key}", sshd.address, sshd.port));
        hosts.push(sshd);
    }
    let line = Line { bed, hosts };
    let bed = &line.bed;
    let _logins = Logins::of(bed);
    let file = |name: &str| format!("IdentityFile {}", bed.path(name).display());
    line.write_config(&format!("{}\n{}", file("one"), file("two")));
    let steps = json!([["one: ", "open one\n"], ["two: ", "open two\n"]]);
    let shown = at_terminal(bed, csync(bed, FAR, &["login", "far"]), steps).await;
    assert!(shown.contains("far is open.") && shown.contains("status 0"), "{shown}");
    assert_eq!((shown.matches(OURS).count(), shown.matches(THEIRS).count()), (2, 0), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passphrase_is_not_asked_for_where_another_key_opens() {
    for in_agent in [true, false] {
        let line = Line::new(2);
        let bed = &line.bed;
        let _logins = Logins::of(bed);
        let (locked, plain) = (bed.key("mine", "ed25519", "open sesame"), bed.key("plain", "ed25519", ""));
        std::fs::write(bed.path("authorized"), bed.read("mine.pub") + &bed.read("plain.pub")).unwrap();
        let agent = Agent::start(bed);
        let mut config = format!("IdentityFile {}\nIdentityFile {}", plain.display(), locked.display());
        if in_agent {
            // No file names it: `ssh` tries it before keys in files all the same.
            agent.add(&plain);
            std::fs::remove_file(bed.path("plain")).unwrap();
            std::fs::remove_file(bed.path("plain.pub")).unwrap();
            let socket = agent.socket.display();
            config = format!("IdentityFile {}\nIdentityAgent {socket}\nIdentitiesOnly no", locked.display());
        }
        line.write_config(&config);
        let login = csync(bed, "[hosts.far]\nssh = \"host1\"\n", &["login", "far"]);
        let shown = at_terminal(bed, login, json!([])).await;
        assert!(shown.contains("far is open.") && !shown.contains("assphrase"), "agent {in_agent}: {shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_ssh_gives_to_the_agent_is_left_to_it() {
    let line = Line::new(3);
    let bed = &line.bed;
    let _logins = Logins::of(bed);
    let key = bed.key("mine", "ed25519", "open sesame");
    let agent = Agent::start(bed);
    let socket = agent.socket.display();
    let config = format!("IdentityFile {}\nIdentityAgent {socket}\nAddKeysToAgent yes", key.display());
    only_key(&line, "mine", &config);
    let shown = at_terminal(bed, csync(bed, FAR, &["login", "far"]), json!([[THEIRS, "open sesame\n"]])).await;
    assert!(shown.contains("far is open.") && !shown.contains(OURS), "{shown}");
    assert_eq!(shown.matches(THEIRS).count(), 1, "{shown}");
    let held = run(Command::new("ssh-add").arg("-l").env("SSH_AUTH_SOCK", &agent.socket));
    assert!(held.contains("mine"), "{held}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_behind_a_locked_key_is_asked_by_ssh_which_shows_what_may_be_seen() {
    let (_, seen, bed) = to_double(None, QUESTIONS, "").await;
    let _logins = Logins::of(&bed);
    run(Command::new("ssh-keygen").args(["-q", "-p", "-P", "", "-N", "open sesame", "-f"]).arg(bed.path("user")));
    let login = || csync(&bed, "[hosts.center]\nssh = \"double\"\n", &["login", "center"]);
    // Who leaves at the first question is not asked the next one by what was left.
    let shown = at_terminal(&bed, login(), json!([["(center) Passphrase of the key", "open\u{3}"]])).await;
    assert!(shown.contains("status 130") && shown.contains(" echo ") && !shown.contains("Password"), "{shown}");
    until("no ssh is left", || of_ssh(&bed).is_empty());
    let steps = json!([
        ["(center) Passphrase of the key", "open sesame\n"],
        ["(me@127.0.0.1) Password:", "secret\n"],
        ["(me@127.0.0.1) Passcode:", "123456\n"],
    ]);
    let shown = at_terminal(&bed, login(), steps).await;
    assert!(shown.contains("center is open.") && shown.contains("status 0"), "{shown}");
    assert!(shown.contains("123456") && !shown.contains("secret") && !shown.contains("sesame"), "{shown}");
    assert_eq!(seen.lock().unwrap().answers, [["secret", "123456"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passphrase_that_is_not_known_ends_well() {
    let line = Line::new(1);
    let bed = &line.bed;
    let _logins = Logins::of(bed);
    let key = bed.key("mine", "ed25519", "open sesame");
    only_key(&line, "mine", &format!("IdentityFile {}", key.display()));
    let login = || csync(bed, "[hosts.far]\nssh = \"host0\"\n", &["login", "far"]);
    // Three times wrong, or nothing at all: as with `ssh`, the next way of logging in, of which there is none.
    for (answers, asked) in [(vec!["a\n", "b\n", "c\n"], 3), (vec!["\n"], 1), (vec!["\u{4}"], 1)] {
        let steps: Vec<_> = answers.iter().map(|keys| json!([OURS, keys])).collect();
        let shown = at_terminal(bed, login(), json!(steps)).await;
        assert!(shown.contains("Permission denied") && shown.contains(" echo "), "{shown}");
        assert!(!shown.contains("status 0") && !shown.contains("is open."), "{shown}");
        assert_eq!((shown.matches(OURS).count(), shown.matches(THEIRS).count()), (asked, 0), "{shown}");
        nothing_is_left(bed);
    }
    // Ctrl-C leaves a directory with a socket that nobody listens at; the next login takes it away.
    let shown = at_terminal(bed, login(), json!([[OURS, "sec\u{3}"]])).await;
    assert!(shown.contains("status 130"), "{shown}");
    until("no ssh is left", || of_ssh(bed).is_empty());
    // An `ssh` that dies while a person is asked takes the question with it.
    let pattern = format!("^ssh .*{}", bed.path("state/ssh").display());
    let kill = json!(["sh", "-c", "kill $(pgrep -f \"$1\")", "sh", pattern]);
    let shown = at_terminal(bed, login(), json!([[OURS, kill]])).await;
    assert!(!shown.contains("status 0") && !shown.contains("is open."), "{shown}");
    assert!(shown.contains("status ") && shown.contains(" echo "), "{shown}");
    nothing_is_left(bed);
    let shown = at_terminal(bed, login(), json!([[OURS, "open sesame\n"]])).await;
    assert!(shown.contains("far is open."), "{shown}");
}
