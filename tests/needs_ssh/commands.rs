//! What csync's commands do beside one another: they ask at their terminal, share a budget of connections, and read hosts that speak
//! other languages.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use csync::language::locale::OWN;
use csync::reach::transport::{Budgets, Connections, Exec, Limits, Member, Transport, TransportError, Waits};
use serde_json::{Value, json};

use crate::needs_ssh::login::{QUESTIONS, settings_of, to_double};
use crate::needs_ssh::sshd::{Bed, Unusual};
use crate::needs_ssh::{Line, Masters};
use crate::world::{Done, PATIENCE, until};

const MEMBERS: [Member; 2] = [Member::OpenSsh, Member::Russh];

fn exec(script: &str) -> Exec {
    Exec::new(script).within(PATIENCE)
}

/// Returns a command of csync as a person of the bed gives it, who knows a host by this line of `hosts.toml`.
pub(crate) fn csync(bed: &Bed, hosts: &str, args: &[&str]) -> Command {
    // Written once: another command may be reading it.
    if !bed.path("config.d").exists() {
        std::fs::create_dir(bed.path("config.d")).unwrap();
        std::fs::write(bed.path("config.d/hosts.toml"), hosts).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_csync"));
    command.args(args).env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("TERM", "xterm");
    command.env("HOME", bed.dir.path()).env("CSYNC_STATE", bed.path("state")).env("CSYNC_CONFIG", bed.path("config.d"));
    command.env("CSYNC_SSH_CONFIG", bed.path("config"));
    command
}

/// Gives a command at a terminal, to which a person types what the steps say; returns what came up there.
pub(crate) async fn at_terminal(bed: &Bed, command: Command, steps: Value) -> String {
    let (file, screen) = (bed.path("steps.json"), bed.path("screen.txt"));
    std::fs::write(&file, steps.to_string()).unwrap();
    let person = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/person.py");
    let mut python = Command::new("python3");
    python.arg(person).arg(&file).arg(&screen);
    // Says afterwards how it ended, and whether what is typed is seen again; Ctrl-C is for the command.
    python.args([
        "sh",
        "-c",
        "trap : INT; \"$@\"; echo \"status $?\"; stty -a | grep -o -e '-echo ' -e ' echo '",
        "sh",
    ]);
    python.arg(command.get_program()).args(command.get_args()).env_clear();
    python.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let done = tokio::task::spawn_blocking(move || Done::from(python.output().unwrap())).await.unwrap();
    let shown = std::fs::read_to_string(screen).unwrap();
    assert_eq!(done.code, 0, "{}\n{shown}", done.err);
    shown
}

/// Lets the masters of a login go with the test.
pub(crate) struct Logins(PathBuf);

impl Logins {
    pub(crate) fn of(bed: &Bed) -> Self {
        Self(bed.path("state/ssh"))
    }
}

impl Drop for Logins {
    fn drop(&mut self) {
        for socket in std::fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let mut exit = Command::new("ssh");
            exit.args(["-F", "/dev/null", "-O", "exit", "-S"]).arg(socket.path()).arg("any");
            drop(exit.stderr(Stdio::null()).status());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_through_jump_hosts_outlives_its_terminal() {
    let line = Line::new(3);
    let _logins = Logins::of(&line.bed);
    let login = || csync(&line.bed, "[hosts.far]\nssh = \"host2\"\n", &["login", "far"]);
    let shown = at_terminal(&line.bed, login(), json!([])).await;
    assert!(shown.contains("far is open.") && shown.contains("status 0"), "{shown}");
    // Another one finds each connection, as the engine would.
    let shown = at_terminal(&line.bed, login(), json!([])).await;
    assert!(shown.contains("far is open."), "{shown}");
    assert_eq!([0, 1, 2].map(|host| line.hosts[host].connections()), [1, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_at_a_terminal_asks_there() {
    let (_, seen, bed) = to_double(None, QUESTIONS, "").await;
    let test = || csync(&bed, "[hosts.center]\nssh = \"double\"\n", &["hosts", "test", "center"]);
    let wrong = [json!(["(center) Password:", "wrong\n"]), json!(["(center) Passcode:", "000000\n"])];
    let right = [json!(["(center) Password:", "secrex\u{7f}t\n"]), json!(["(center) Passcode:", "123456\n"])];
    let shown = at_terminal(&bed, test(), json!([&wrong[..], &right[..]].concat())).await;
    assert!(shown.contains("(center) Enter a passcode") && shown.contains("center at me@127.0.0.1"), "{shown}");
    assert!(shown.contains("russh") && shown.contains("status 0") && shown.contains(" echo "), "{shown}");
    assert!(shown.contains("123456") && !shown.contains("secre"), "a secret is not shown: {shown}");
    {
        let seen = seen.lock().unwrap();
        assert_eq!(seen.answers, [["wrong", "000000"], ["secret", "123456"]]);
        assert_eq!(seen.connections, 1);
    }
    // Who does not know the answer leaves, and sees again what is typed.
    let shown = at_terminal(&bed, test(), json!([["(center) Password:", "sec\u{3}"]])).await;
    assert!(shown.contains("status 130") && shown.contains(" echo "), "{shown}");
    // Nobody is there.
    let mut alone = test();
    let alone: Done = alone.stdin(Stdio::null()).output().unwrap().into();
    assert_ne!(alone.code, 0);
    assert!(alone.err.contains("needs a login") && alone.err.contains("`csync login center`"), "{}", alone.err);
    assert_eq!(seen.lock().unwrap().answers.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_ssh_a_command_asks_and_a_login_says_that_nobody_would_keep_it() {
    let (_, seen, bed) = to_double(None, QUESTIONS, "").await;
    let without = |args: &[&str]| {
        let csync = csync(&bed, "[hosts.center]\nssh = \"double\"\n", args);
        let mut command = Command::new("env");
        command.arg(format!("PATH={}", bed.dir.path().display())).arg(csync.get_program()).args(args).env_clear();
        command.envs(csync.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    };
    let login: Done = without(&["login", "center"]).stdin(Stdio::null()).output().unwrap().into();
    assert_eq!(login.code, 4, "{}", login.err);
    for words in ["kept by the system's `ssh`, and there is none here", "`csync hosts test center` asks here"] {
        assert!(login.err.contains(words), "{words}: {}", login.err);
    }
    assert_eq!(seen.lock().unwrap().connections, 0);
    let steps = json!([["(center) Password:", "secret\n"], ["(center) Passcode:", "123456\n"]]);
    let shown = at_terminal(&bed, without(&["hosts", "test", "center"]), steps).await;
    assert!(shown.contains("status 0") && shown.contains("center at me@127.0.0.1"), "{shown}");
    assert_eq!(seen.lock().unwrap().answers, [["secret", "123456"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_asks_for_a_passphrase_once_for_all_hosts_on_the_way() {
    let line = Line::new(3);
    let key = line.bed.key("mine", "ed25519", "open sesame");
    std::fs::copy(line.bed.path("mine.pub"), line.bed.path("authorized")).unwrap();
    line.write_config(&format!("IdentityFile {}", key.display()));
    let test = csync(&line.bed, "[hosts.far]\nssh = \"host2\"\n", &["hosts", "test", "far"]);
    let shown = at_terminal(&line.bed, test, json!([["Passphrase of the key", "open sesame\n"]])).await;
    assert!(shown.contains("status 0") && shown.contains("far at"), "{shown}");
    assert_eq!(shown.matches("Passphrase").count(), 1, "{shown}");
    assert!(!shown.contains("sesame"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_share_a_budget_of_connections() {
    for member in MEMBERS {
        let line = Masters(Line::new(2));
        let host = "far".parse().unwrap();
        // As one process after the other has them.
        let connect = async |jump: u32, far: u32| {
            let mut settings = settings_of(&line.0);
            settings.member = Some(member);
            settings.ssh.limits.per_minute = jump;
            settings.budgets = Budgets { dir: Some(line.0.bed.path("budgets")), waits: None };
            let all = Connections::new(settings);
            let limits = Limits { per_minute: far, ..Limits::default() };
            let way = all.transport(&host, "host1", limits).await.unwrap();
            let done = way.exec(exec("true")).await.map(drop);
            // A warm connection costs nothing of it.
            if done.is_ok() {
                way.exec(exec("true")).await.unwrap();
            }
            all.close().await;
            done
        };
        let held = |done: Result<(), TransportError>, who: &str| match done {
            Err(TransportError::Held { host, wait, .. }) => {
                assert!(host == who && wait.as_secs() > 0, "{host} {wait:?}");
            }
            other => panic!("{member}: {other:?}"),
        };
        connect(9, 2).await.unwrap();
        connect(9, 2).await.unwrap();
        held(connect(9, 2).await, "far");
        let counted = || [0, 1].map(|host| line.0.hosts[host].connections());
        assert_eq!(counted(), [3, 2], "{member}");
        held(connect(3, 3).await, "host0");
        assert_eq!(counted(), [3, 2], "{member}: jump hosts count too");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_beside_one_another_wait_for_their_turn() {
    let line = Line::new(1);
    let hosts = "[hosts.center]\nssh = \"host0\"\npolicy = { connections_per_minute = 3 }\n";
    let mut running: Vec<_> = (0..8)
        .map(|_| {
            let mut test = csync(&line.bed, hosts, &["hosts", "test", "center"]);
            let name = tempfile::NamedTempFile::new_in(line.bed.dir.path()).unwrap();
            let said = name.reopen().unwrap();
            (test.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).spawn().unwrap(), name)
        })
        .collect();
    let waits = |name: &tempfile::NamedTempFile| {
        let said = std::fs::read_to_string(name.path()).unwrap();
        said.contains("for a connection to center: 3 connections within a minute are its limit")
    };
    until("each has ended or waits", || {
        running.iter_mut().all(|(child, name)| child.try_wait().unwrap().is_some() || waits(name))
    });
    let (mut well, mut waiting) = (0, 0);
    for (mut child, name) in running {
        if waits(&name) {
            waiting += 1;
            child.kill().unwrap();
            child.wait().unwrap();
        } else {
            assert!(child.wait().unwrap().success(), "{}", std::fs::read_to_string(name.path()).unwrap());
            well += 1;
        }
    }
    assert_eq!((well, waiting, line.hosts[0].connections()), (3, 5, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_waits_is_made_in_its_turn_however_short_a_command_is() {
    let line = Line::new(1);
    let told = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&told);
    let mut settings = settings_of(&line);
    let waits = Waits::always(move |host, wait, _| noted.lock().unwrap().push((host.to_owned(), wait)));
    settings.budgets = Budgets { dir: Some(line.bed.path("budgets")), waits: None };
    let limits = Limits { per_minute: 1, ..Limits::default() };
    let host = "center".parse().unwrap();
    let first = Connections::new(settings.clone());
    first.transport(&host, "host0", limits).await.unwrap().exec(exec("true")).await.unwrap();
    first.close().await;
    // That was 58 s ago.
    let file = std::fs::read_dir(line.bed.path("budgets")).unwrap().next().unwrap().unwrap().path();
    let at: i64 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    std::fs::write(&file, format!("{}\n", at - 58_000_000)).unwrap();
    settings.budgets.waits = Some(waits);
    let way = Connections::new(settings).transport(&host, "host0", limits).await.unwrap();
    let reply = way.exec(Exec::new("echo in").within(std::time::Duration::from_millis(1500))).await.unwrap();
    assert_eq!(reply.stdout, b"in\n");
    let told = told.lock().unwrap();
    assert!(told.len() == 1 && told[0].0 == "center" && told[0].1.as_secs() < 2, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_speaks_german_is_read_and_its_jobs_speak_it() {
    let mut bed = Bed::new();
    let locales = bed.path("locales");
    std::fs::create_dir(&locales).unwrap();
    let made = Command::new("localedef").args(["-i", "de_DE", "-f", "UTF-8"]).arg(locales.join("de_DE.UTF-8")).output();
    let is_german = made.is_ok_and(|made| made.status.success());
    let sshd = bed.unusual_sshd(&Unusual::lines("AcceptEnv LC_* LOCPATH".to_owned()));
    let key = bed.read(&format!("host-{}.pub", sshd.address));
    bed.append("known_hosts", &format!("[{}]:{} {key}", sshd.address, sshd.port));
    let line = Masters(Line { bed, hosts: vec![sshd] });
    line.0.write_config(&format!("SetEnv LC_ALL=de_DE.UTF-8 LOCPATH={}", locales.display()));
    for member in MEMBERS {
        let host = line.0.way_as_configured(member).await;
        let say = "echo $LC_ALL; stat -c %.3Y /";
        let said = |reply: csync::reach::transport::Reply| {
            let text = String::from_utf8(reply.stdout).unwrap();
            let (locale, time) = text.trim().split_once('\n').unwrap();
            (locale.to_owned(), time.contains('.'))
        };
        let plain = said(host.exec(exec(say)).await.unwrap());
        assert_eq!(plain, ("C".to_owned(), true), "{member}: commands of ours");
        let job = said(host.exec(exec(&format!("{OWN}{say}"))).await.unwrap());
        assert_eq!(job, ("de_DE.UTF-8".to_owned(), !is_german), "{member}: what the login gave");
    }
}
