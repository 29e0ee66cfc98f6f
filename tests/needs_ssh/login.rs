//! Being let in, and by whom: keys of all kinds, agents, certificates, questions; and which member is chosen.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use csync::language::ssh::known_hosts::{HostKey, KnownHosts, Place, Verdict};
use csync::language::ssh::{Hop, HostKeyTrouble};
use csync::model::host::HostName;
use csync::reach::transport::{
    Ask, ConnectionSettings, Connections, Exec, Kerberos, Limits, LinkState, Member, Native, NativeSettings, Questions,
    Remote, Seen, Transport, TransportError,
};
use futures_util::FutureExt;
use russh::MethodKind;

use crate::needs_ssh::faults::until;
use crate::needs_ssh::sshd::{Bed, Unusual, run, user};
use crate::needs_ssh::{Line, Masters, double};
use crate::world::PATIENCE;

const MEMBERS: [Member; 2] = [Member::OpenSsh, Member::Russh];

fn exec(script: &str) -> Exec {
    Exec::new(script).within(PATIENCE)
}

/// An agent that ends with the test.
pub(crate) struct Agent {
    pub(crate) socket: std::path::PathBuf,
    child: Child,
}

impl Agent {
    pub(crate) fn start(bed: &Bed) -> Self {
        Self::start_at(bed.path("agent"))
    }

    fn start_at(socket: std::path::PathBuf) -> Self {
        let child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let start = std::time::Instant::now();
        // Its socket is there before it listens.
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(start.elapsed() < PATIENCE, "the agent listens");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Self { socket, child }
    }

    pub(crate) fn add(&self, key: &std::path::Path) {
        run(Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", &self.socket));
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Lets this key alone in, and names it in the configuration.
pub(crate) fn only_key(line: &Line, name: &str, config: &str) {
    std::fs::copy(line.bed.path(&format!("{name}.pub")), line.bed.path("authorized")).unwrap();
    line.write_config(config);
}

async fn is_let_in(line: &Line, member: Member) -> Result<(), TransportError> {
    line.way(member).exec(exec("true")).await.map(|reply| assert!(reply.status.is_success()))
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_all_kinds() {
    for member in MEMBERS {
        for kind in ["ed25519", "ecdsa", "rsa"] {
            let line = Masters(Line::new(1));
            let key = line.0.bed.key("mine", kind, "");
            only_key(&line.0, "mine", &format!("IdentityFile {}", key.display()));
            is_let_in(&line.0, member).await.unwrap_or_else(|error| panic!("{member} {kind}: {error}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_an_agent() {
    for member in MEMBERS {
        for kind in ["ed25519", "rsa", "ecdsa"] {
            let line = Masters(Line::new(1));
            let agent = Agent::start(&line.0.bed);
            // The private half is in the agent alone; other keys are in it too.
            for other in ["other1", "other2"] {
                agent.add(&line.0.bed.key(other, "ed25519", ""));
            }
            let key = line.0.bed.key("mine", kind, "");
            agent.add(&key);
            std::fs::remove_file(&key).unwrap();
            let config = format!("IdentityFile {}\nIdentityAgent {}", key.display(), agent.socket.display());
            only_key(&line.0, "mine", &config);
            is_let_in(&line.0, member).await.unwrap_or_else(|error| panic!("{member} {kind}: {error}"));
            assert!(!line.0.hosts[0].log().contains("Failed publickey"), "the key that is named comes first");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_host_is_asked_with_the_agent_that_there_is_now() {
    for member in MEMBERS {
        let line = Masters(Line::new(2));
        let [first, second] = ["first", "second"].map(|name| Agent::start_at(line.0.bed.path(name)));
        let key = line.0.bed.key("mine", "ed25519", "");
        first.add(&key);
        second.add(&key);
        std::fs::remove_file(&key).unwrap();
        only_key(&line.0, "mine", &format!("IdentityFile {}\nIdentityAgent SSH_AUTH_SOCK", key.display()));
        let socket = |agent: &Agent| agent.socket.to_str().unwrap().to_owned();
        let mut settings = ConnectionSettings { member: Some(member), ..settings_of(&line.0) };
        settings.agent = Some(socket(&first));
        let connections = Connections::new(settings);
        let to =
            async |name: &str| connections.transport(&name.parse().unwrap(), name, Limits::default()).await.unwrap();
        to("host0").await.exec(exec("true")).await.unwrap();
        let gone = socket(&first);
        drop(first);
        std::fs::remove_file(gone).unwrap();
        assert!(connections.offer_agent(&socket(&second)));
        // The jump host is connected, with the agent that is gone.
        let far = to("host1").await;
        far.exec(exec("true")).await.unwrap_or_else(|error| panic!("{member}: {error}"));
        assert_eq!(line.0.hosts[0].connections(), 1, "{member}");
        line.0.hosts[0].kill_sessions();
        until("the end of the connection is seen", || far.link_state() == LinkState::Closed).await;
        for name in ["host1", "host0"] {
            let mut done = to(name).await.exec(exec("true")).await;
            if let Err(TransportError::Lost { .. }) = done {
                done = to(name).await.exec(exec("true")).await;
            }
            done.unwrap_or_else(|error| panic!("{member}: {name}: {error}"));
        }
        assert_eq!(line.0.hosts[0].connections(), 2, "{member}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_named_by_a_variable_is_asked() {
    static SOCKET: OnceLock<String> = OnceLock::new();
    let line = Masters(Line::new(1));
    let agent = Agent::start(&line.0.bed);
    let key = line.0.bed.key("mine", "ed25519", "");
    agent.add(&key);
    std::fs::remove_file(&key).unwrap();
    only_key(&line.0, "mine", &format!("IdentityFile {}\nIdentityAgent $MY_AGENT", key.display()));
    let let_in = async |variables: fn() -> Vec<(String, String)>| {
        let settings = ConnectionSettings { variables, member: Some(Member::Russh), ..settings_of(&line.0) };
        let host =
            Connections::new(settings).transport(&"host0".parse().unwrap(), "host0", Limits::default()).await.unwrap();
        host.exec(exec("true")).await
    };
    let denied = let_in(Vec::new).await;
    assert!(matches!(denied, Err(TransportError::Denied { .. })), "{denied:?}");
    SOCKET.set(agent.socket.display().to_string()).unwrap();
    let_in(|| vec![("MY_AGENT".to_owned(), SOCKET.get().unwrap().clone())]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_go_along_as_ssh_sends_them() {
    let mut bed = Bed::new();
    let sshd = bed.unusual_sshd(&Unusual::lines("AcceptEnv CSYNC_TOLD LC_CSYNC".to_owned()));
    let key = bed.read(&format!("host-{}.pub", sshd.address));
    bed.append("known_hosts", &format!("[{}]:{} {key}", sshd.address, sshd.port));
    let line = Masters(Line { bed, hosts: vec![sshd] });
    line.0.write_config("SetEnv CSYNC_TOLD=\"so it is\" CSYNC_OTHER=x\nSendEnv LC_*");
    for (member, sent) in [(Member::OpenSsh, ""), (Member::Russh, "sent")] {
        let variables: fn() -> Vec<(String, String)> = || {
            [("LC_CSYNC", "sent"), ("CSYNC_KEPT", "secret")].map(|(name, value)| (name.into(), value.into())).to_vec()
        };
        let settings = ConnectionSettings { variables, member: Some(member), ..settings_of(&line.0) };
        let host =
            Connections::new(settings).transport(&"host0".parse().unwrap(), "host0", Limits::default()).await.unwrap();
        let said = host.exec(exec("echo \"$CSYNC_TOLD,$CSYNC_OTHER,$LC_CSYNC,$CSYNC_KEPT\"")).await.unwrap().stdout;
        assert_eq!(String::from_utf8_lossy(&said), format!("so it is,,{sent},\n"), "{member}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_that_cannot_sign_here_is_passed_over() {
    use russh::keys::PrivateKey;
    use russh::keys::ssh_key::LineEnding;
    use russh::keys::ssh_key::private::{KeypairData, SkEd25519};
    use russh::keys::ssh_key::public::{self, Ed25519PublicKey};

    let line = Masters(Line::new(1));
    let mine = line.0.bed.key("mine", "ed25519", "");
    let half = public::SkEd25519::new(Ed25519PublicKey([7; 32]), "ssh:");
    let key = PrivateKey::new(KeypairData::SkEd25519(SkEd25519::new(half, 1, [1, 2, 3]).unwrap()), "").unwrap();
    let odd = line.0.bed.path("odd");
    std::fs::write(&odd, key.to_openssh(LineEnding::LF).unwrap()).unwrap();
    // The host would take it.
    let authorized = format!("{}\n{}", key.public_key().to_openssh().unwrap(), line.0.bed.read("mine.pub"));
    std::fs::write(line.0.bed.path("authorized"), authorized).unwrap();
    line.0.write_config(&format!("IdentityFile {}\nIdentityFile {}", odd.display(), mine.display()));
    is_let_in(&line.0, Member::Russh).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_users() {
    for member in MEMBERS {
        for in_agent in [false, true] {
            let mut bed = Bed::new();
            bed.key("ca", "ed25519", "");
            bed.key("mine", "ed25519", "");
            let name = user();
            run(Command::new("ssh-keygen")
                .args(["-q", "-s"])
                .arg(bed.path("ca"))
                .args(["-I", "id", "-n", &name])
                .arg(bed.path("mine.pub")));
            let trusted = format!("TrustedUserCAKeys {}", bed.path("ca.pub").display());
            let sshd = bed.unusual_sshd(&Unusual::lines(trusted));
            std::fs::write(bed.path("authorized"), "").unwrap();
            let key = bed.read(&format!("host-{}.pub", sshd.address));
            bed.append("known_hosts", &format!("[{}]:{} {key}", sshd.address, sshd.port));
            let line = Masters(Line { bed, hosts: vec![sshd] });
            let mine = line.0.bed.path("mine");
            let agent = Agent::start(&line.0.bed);
            let mut config = format!("IdentityFile {}", mine.display());
            if in_agent {
                agent.add(&mine);
                std::fs::remove_file(&mine).unwrap();
                config = format!("{config}\nIdentityAgent {}", agent.socket.display());
            }
            line.0.write_config(&config);
            is_let_in(&line.0, member).await.unwrap_or_else(|error| panic!("{member}, agent {in_agent}: {error}"));
            std::fs::remove_file(line.0.bed.path("mine-cert.pub")).unwrap();
        }
    }
}

/// Somebody who answers from a list, and notes the questions.
fn answering(answers: &[&[&str]]) -> (Ask, Arc<Mutex<Vec<Questions>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    let answers: Mutex<std::collections::VecDeque<Vec<String>>> =
        Mutex::new(answers.iter().map(|answer| answer.iter().map(|word| (*word).to_owned()).collect()).collect());
    let ask = Ask::new(move |questions| {
        noted.lock().unwrap().push(questions);
        let answer = answers.lock().unwrap().pop_front();
        std::future::ready(answer).boxed()
    });
    (ask, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passphrase_is_asked_for_once() {
    let line = Line::new(3);
    let key = line.bed.key("mine", "ed25519", "open sesame");
    only_key(&line, "mine", &format!("IdentityFile {}", key.display()));
    for member in MEMBERS {
        let needs = is_let_in(&line, member).await;
        assert!(matches!(needs, Err(TransportError::NeedsLogin { .. } | TransportError::Denied { .. })), "{needs:?}");
    }
    let (ask, asked) = answering(&[&["wrong"], &["open sesame"]]);
    let host = line.native(&NativeSettings { ask: Some(ask), ..NativeSettings::default() }).transport();
    host.exec(exec("true")).await.unwrap();
    host.close().await;
    host.exec(exec("true")).await.unwrap();
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 2, "once wrong, once right, and not again for other hosts and connections: {asked:?}");
    assert!(asked[0].prompts[0].0.contains("mine"));
    assert_eq!([0, 1, 2].map(|host| line.hosts[host].logins()), [1, 1, 2]);
}

/// The way to the double, which wants one of these after the key; with more lines of configuration.
pub(crate) async fn to_double(
    ask: Option<Ask>,
    wants: &'static [MethodKind],
    more: &str,
) -> (Remote, Arc<Mutex<double::Seen>>, Bed) {
    let bed = Bed::new();
    let key = bed.key("host", "ed25519", "");
    let (port, seen) = double::start(russh::keys::load_secret_key(&key, None).unwrap(), wants).await;
    bed.append("known_hosts", &format!("[127.0.0.1]:{port} {}", bed.read("host.pub")));
    let config = format!(
        "Host double\nHostName 127.0.0.1\nPort {port}\nUser me\nIdentityFile {}\nIdentitiesOnly yes\nIdentityAgent none\n\
         UserKnownHostsFile {}\nGlobalKnownHostsFile /dev/null\n{more}\n",
        bed.path("user").display(),
        bed.path("known_hosts").display()
    );
    std::fs::write(bed.path("config"), config).unwrap();
    let line = Line { bed, hosts: vec![] };
    let hop: Hop = line.hop("double");
    let host = Native::new("double", hop, None, NativeSettings { ask, ..NativeSettings::default() }).transport();
    (host, seen, line.bed)
}

pub(crate) const QUESTIONS: &[MethodKind] = &[MethodKind::KeyboardInteractive];

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_asked_for_where_no_questions_are() {
    let sent = |seen: &Mutex<double::Seen>| seen.lock().unwrap().answers.concat();
    let password: &[MethodKind] = &[MethodKind::Password];
    let (ask, asked) = answering(&[&["wrong"], &["sesame"]]);
    let (host, seen, _bed) = to_double(Some(ask), password, "").await;
    host.exec(exec("true")).await.unwrap();
    assert_eq!(sent(&seen), ["wrong", "sesame"]);
    {
        let asked = asked.lock().unwrap();
        assert!(asked.iter().all(|it| it.prompts.len() == 1 && it.prompts[0].1 == Seen::Hidden), "{asked:?}");
        assert!(asked[0].prompts[0].0.contains("Password of me@double"), "{asked:?}");
    }
    // Not kept: the next connection asks anew.
    host.close().await;
    assert!(host.exec(exec("true")).await.is_err());
    assert_eq!((asked.lock().unwrap().len(), seen.lock().unwrap().answers.len()), (3, 2), "nobody answered");
    // As often as is configured, and not once more.
    for (more, most) in [("NumberOfPasswordPrompts 1", 1), ("", 3), ("NumberOfPasswordPrompts 5", 5)] {
        let (ask, _) = answering(&[&["wrong"][..]; 6]);
        let (host, seen, _bed) = to_double(Some(ask), password, more).await;
        let denied = host.exec(exec("true")).await;
        assert!(matches!(denied, Err(TransportError::Denied { .. })), "{more}: {denied:?}");
        assert_eq!(sent(&seen), vec!["wrong"; most], "{more}");
    }
    // After questions that were not answered right, as with OpenSSH.
    let both: &[MethodKind] = &[MethodKind::KeyboardInteractive, MethodKind::Password];
    let (ask, _) = answering(&[&["secret", "0"], &["sesame"]]);
    let (host, seen, _bed) = to_double(Some(ask), both, "NumberOfPasswordPrompts 1").await;
    host.exec(exec("true")).await.unwrap();
    assert_eq!(sent(&seen), ["secret", "0", "sesame"]);
    // Where passwords are switched off nobody is asked for one.
    let (ask, asked) = answering(&[&["sesame"]]);
    let (host, _, _bed) = to_double(Some(ask), password, "PasswordAuthentication no").await;
    assert!(matches!(host.exec(exec("true")).await, Err(TransportError::Denied { .. })));
    assert!(asked.lock().unwrap().is_empty());
    let (host, _, _bed) = to_double(None, password, "").await;
    assert!(matches!(host.exec(exec("true")).await, Err(TransportError::NeedsLogin { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_reach_the_person() {
    let (ask, asked) = answering(&[&["secret", "000000"], &["secret", "123456"]]);
    let (host, seen, _bed) = to_double(Some(ask), QUESTIONS, "").await;
    let reply = host.exec(exec("cat; echo err >&2; exit 9").reading("in")).await.unwrap();
    assert_eq!((reply.status.code(), reply.stdout, reply.stderr), (9, b"in".to_vec(), b"err\n".to_vec()));
    host.exec(exec("true")).await.unwrap();
    assert_eq!(seen.lock().unwrap().connections, 1);
    assert_eq!(seen.lock().unwrap().answers.len(), 2, "a wrong code, then the right one");
    let asked = asked.lock().unwrap();
    assert_eq!(asked[0].host, "double");
    assert!(asked[0].instructions.contains("Enter a passcode"));
    assert_eq!(asked[0].prompts.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_to_ask_needs_a_login() {
    let (host, seen, _bed) = to_double(None, QUESTIONS, "").await;
    let needs = host.exec(exec("true")).await;
    assert!(matches!(needs, Err(TransportError::NeedsLogin { .. })), "{needs:?}");
    assert!(matches!(host.link_state(), LinkState::NeedsLogin { .. }));
    assert!(seen.lock().unwrap().answers.is_empty());
    let (refusing, _) = answering(&[]);
    let (host, _, _bed) = to_double(Some(refusing), QUESTIONS, "").await;
    let denied = host.exec(exec("true")).await;
    assert!(matches!(denied, Err(TransportError::Denied { .. })), "{denied:?}");
}

/// What becomes of a host with a certificate, by either member.
async fn certified(
    principal: &str,
    validity: &[&str],
    known: impl Fn(&Bed, &str, &str) -> String,
) -> [Option<HostKeyTrouble>; 2] {
    certified_by("ed25519", principal, validity, known).await
}

/// The same, by an authority with a key of this kind.
async fn certified_by(
    kind: &str,
    principal: &str,
    validity: &[&str],
    known: impl Fn(&Bed, &str, &str) -> String,
) -> [Option<HostKeyTrouble>; 2] {
    let mut outcomes = [None; 2];
    for (member, outcome) in MEMBERS.into_iter().zip(&mut outcomes) {
        let mut bed = Bed::new();
        bed.key("ca", kind, "");
        bed.key("hostkey", "ed25519", "");
        let mut sign = Command::new("ssh-keygen");
        sign.args(["-q", "-h", "-s"]).arg(bed.path("ca")).args(["-I", "host", "-n", principal]).args(validity);
        run(sign.arg(bed.path("hostkey.pub")));
        let certificate = format!("HostCertificate {}", bed.path("hostkey-cert.pub").display());
        let sshd = bed.unusual_sshd(&Unusual { lines: certificate, host_key: Some("hostkey".to_owned()) });
        let place = format!("[{}]:{}", sshd.address, sshd.port);
        let text = known(&bed, &place, bed.read("ca.pub").trim());
        bed.append("known_hosts", &text);
        let line = Masters(Line { bed, hosts: vec![sshd] });
        line.0.write_config("");
        *outcome = match is_let_in(&line.0, member).await {
            Ok(()) => None,
            Err(TransportError::HostKey { how, .. }) => Some(how),
            Err(error) => panic!("{member}: {error}"),
        };
    }
    outcomes
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_hosts() {
    let authority = |_: &Bed, place: &str, ca: &str| format!("@cert-authority {place} {ca}\n");
    assert_eq!(certified("127.0.0.2", &[], authority).await, [None; 2]);
    assert_eq!(certified("127.0.0.2", &[], |_, _, ca| format!("@cert-authority * {ca}\n")).await, [None; 2]);
    // Names in a certificate are no patterns.
    let pattern = certified("127.0.0.*", &[], authority).await;
    assert_eq!(pattern, [Some(HostKeyTrouble::BadCertificate); 2]);
    let not_known = certified("127.0.0.2", &[], |_, place, ca| format!("{place} {ca}\n")).await;
    assert_eq!(not_known, [Some(HostKeyTrouble::Changed); 2], "a plain line makes nobody an authority");
    let revoked = |_: &Bed, place: &str, ca: &str| format!("@cert-authority {place} {ca}\n@revoked * {ca}\n");
    assert_eq!(certified("127.0.0.2", &[], revoked).await, [Some(HostKeyTrouble::Revoked); 2]);
    // A certificate for somebody else, or of another time, is refused by both, in their own words.
    for (principal, validity) in [("elsewhere", [].as_slice()), ("127.0.0.2", &["-V", "20200101:20200102"])] {
        let refused = certified(principal, validity, authority).await;
        assert!(refused.iter().all(Option::is_some), "{principal} {validity:?}: {refused:?}");
    }
    // Of critical options none is known, and who does not know one must refuse.
    let critical = certified("127.0.0.2", &["-O", "critical:only-on-sundays@example.org=yes"], authority).await;
    assert!(critical.iter().all(Option::is_some), "{critical:?}");
    // SHA-1 is no signature any more, whoever's it is.
    let by_rsa = async |hash: &str| certified_by("rsa", "127.0.0.2", &["-t", hash], authority).await;
    assert_eq!(by_rsa("rsa-sha2-512").await, [None; 2]);
    let sha1 = by_rsa("ssh-rsa").await;
    assert!(sha1.iter().all(Option::is_some), "{sha1:?}");
    // Without an authority it is only a key, which may be known.
    let plain = |bed: &Bed, place: &str, _: &str| format!("{place} {}", bed.read("hostkey.pub"));
    assert_eq!(certified("elsewhere", &[], plain).await, [None; 2]);
}

#[test]
fn names_are_found_as_ssh_keygen_finds_them() {
    let bed = Bed::new();
    let key = bed.read("user.pub");
    let key = key.trim();
    let lines = [
        format!("plain.example.org,10.0.0.7 {key}"),
        format!("*.wild.org,!not.wild.org {key}"),
        format!("[ported]:2222 {key}"),
        format!("one?.org {key}"),
        format!("UPPER {key}"),
        format!("hashed.org,hashed2.org {key}"),
        format!("[hashed]:2200 {key}"),
    ];
    std::fs::write(bed.path("hashed"), lines[5..].join("\n") + "\n").unwrap();
    run(Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(bed.path("hashed")));
    std::fs::write(bed.path("all"), lines[..5].join("\n") + "\n" + &bed.read("hashed")).unwrap();
    let mut known = KnownHosts::default();
    known.add(&bed.read("all"));
    let mut words = key.split(' ').map(str::to_owned);
    let ours = HostKey { kind: words.next().unwrap(), text: words.next().unwrap() };
    let mut found = 0;
    for (host, port) in [
        ("plain.example.org", 22),
        ("10.0.0.7", 22),
        ("a.wild.org", 22),
        ("not.wild.org", 22),
        ("wild.org", 22),
        ("ported", 2222),
        ("ported", 22),
        ("one1.org", 22),
        ("one.org", 22),
        ("upper", 22),
        ("UPPER", 22),
        ("hashed.org", 22),
        ("hashed2.org", 22),
        ("hashed", 2200),
        ("hashed", 22),
        ("nobody", 22),
        ("", 22),
    ] {
        let place = Place::new(host, port, None);
        let oracle =
            Command::new("ssh-keygen").arg("-F").arg(place.name()).arg("-f").arg(bed.path("all")).output().unwrap();
        let theirs = oracle.status.success();
        assert_eq!(known.judge(&place, &ours) == Verdict::Trusted, theirs, "{host}:{port}");
        found += usize::from(theirs);
    }
    assert!(found >= 8, "the oracle finds names: {found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_with_capital_letters_is_found_as_openssh_finds_it() {
    for is_hashed in [false, true] {
        for (entry, alias) in
            [("Cluster", "Cluster"), ("cluster", "Cluster"), ("Cluster", "cluster"), ("other", "Cluster")]
        {
            let mut found = Vec::new();
            for member in MEMBERS {
                let line = Line::new(1);
                let sshd = &line.hosts[0];
                let key = line.bed.read(&format!("host-{}.pub", sshd.address));
                let lines = format!("{entry} {}\n", key.trim());
                std::fs::write(line.bed.path("known_hosts"), lines).unwrap();
                if is_hashed {
                    run(Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(line.bed.path("known_hosts")));
                }
                line.write_config(&format!("HostKeyAlias {alias}"));
                let line = Masters(line);
                found.push(match is_let_in(&line.0, member).await {
                    Ok(()) => true,
                    Err(TransportError::HostKey { how: HostKeyTrouble::Unknown, .. }) => false,
                    Err(error) => panic!("{member} {entry} {alias}: {error}"),
                });
            }
            assert_eq!(found[0], found[1], "hashed {is_hashed}: {entry} looked for as {alias}");
        }
    }
}

/// Connections by the line's configuration.
fn connections(line: &Line) -> Connections {
    Connections::new(settings_of(line))
}

pub(crate) fn settings_of(line: &Line) -> ConnectionSettings {
    let vars = |name: &str| (name == "HOME").then(|| "/nowhere".into());
    let mut settings = ConnectionSettings::from_env(vars, line.bed.path("s"));
    settings.ssh.config = Some(line.bed.path("config"));
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_behind_the_same_jump_host_share_its_connection() {
    for extra in ["", "Compression yes"] {
        let line = Masters(Line::new(3));
        line.0.write_config(extra);
        let all = connections(&line.0);
        let expected = if extra.is_empty() { Member::Russh } else { Member::OpenSsh };
        let mut remotes = Vec::new();
        for alias in ["host2", "host1", "host0", "host2"] {
            let host: HostName = alias.parse().unwrap();
            remotes.push(all.transport(&host, alias, Limits::default()).await.unwrap());
        }
        for remote in &remotes {
            remote.exec(exec("true")).await.unwrap();
        }
        for sshd in &line.0.hosts {
            assert_eq!((sshd.connections(), sshd.logins()), (1, 1), "{extra}");
        }
        let states = all.states();
        assert_eq!(states.len(), 3);
        assert!(
            states.values().all(|state| matches!(state, LinkState::Open { via, .. } if *via == expected)),
            "{states:?}"
        );
        all.close().await;
        assert!(all.states().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_member_is_chosen_with_a_reason() {
    let line = Line::new(3);
    let chosen = async |extra: &str, alias: &str| {
        line.write_config(extra);
        connections(&line).choose(alias).await.map(|choice| (choice.member, choice.reason, choice.way.len()))
    };
    let (member, reason, hosts) = chosen("", "host2").await.unwrap();
    assert_eq!((member, hosts), (Member::Russh, 3), "{reason}");
    for (extra, why) in [
        ("ProxyCommand nc %h %p", "ProxyCommand is set"),
        ("Compression yes", "Compression is on"),
        ("StrictHostKeyChecking no", "StrictHostKeyChecking is not strict"),
        ("Ciphers aes256-ctr", "Ciphers is set"),
        ("PKCS11Provider /lib/p.so", "PKCS11Provider is set"),
    ] {
        let (member, reason, _) = chosen(extra, "host0").await.unwrap();
        assert_eq!((member, reason.as_str()), (Member::OpenSsh, why));
    }
    // A key on hardware, of which no more than a file is here.
    let hardware = line.bed.path("id_sk");
    let half = "AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHAAAABHNzaDo=";
    std::fs::write(hardware.with_extension("pub"), format!("sk-ssh-ed25519@openssh.com {half}\n")).unwrap();
    let (member, reason, _) = chosen(&format!("IdentityFile {}", hardware.display()), "host0").await.unwrap();
    assert_eq!(member, Member::OpenSsh);
    assert_eq!(reason, format!("the key {} is one of a hardware security key", hardware.display()));
    // A ticket, wherever it is kept.
    line.write_config("GSSAPIAuthentication yes");
    let mut settings = settings_of(&line);
    settings.kerberos = Kerberos::new(Some("KCM:".to_owned()), None, 0);
    settings.kerberos.klist = "true".into();
    let choice = Connections::new(settings.clone()).choose("host0").await.unwrap();
    assert_eq!((choice.member, choice.reason.contains("Kerberos")), (Member::OpenSsh, true), "{}", choice.reason);
    settings.kerberos.klist = "false".into();
    assert_eq!(Connections::new(settings).choose("host0").await.unwrap().member, Member::Russh);
    line.write_config("");
    let config = line.bed.read("config");
    std::fs::write(line.bed.path("config"), format!("Host host0\nCompression yes\n{config}")).unwrap();
    let (_, reason, _) =
        connections(&line).choose("host2").await.map(|choice| (choice.member, choice.reason, 0)).unwrap();
    assert_eq!(reason, "jump host host0: Compression is on");
    let circle = chosen("ProxyJump host0", "host0").await;
    assert!(matches!(&circle, Err(TransportError::Configuration { .. })), "{circle:?}");
    let broken = chosen("Nonsense yes", "host0").await;
    assert!(
        matches!(&broken, Err(TransportError::Configuration { detail, .. }) if detail.contains("onsense")),
        "{broken:?}"
    );
    for odd in ["-oProxyCommand=touch x", "a b", "$(id)", "x;y"] {
        let refused = connections(&line).choose(odd).await;
        assert!(matches!(refused, Err(TransportError::BadDestination(_))), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_through_ssh_is_found() {
    let line = Masters(Line::new(1));
    let alias = "host0".parse().unwrap();
    // Somebody logs in by hand, as `csync login` does.
    line.0.way(Member::OpenSsh).connect().await.unwrap();
    let all = connections(&line.0);
    let choice = all.choose("host0").await.unwrap();
    assert_eq!(choice.member, Member::OpenSsh, "{}", choice.reason);
    all.transport(&alias, "host0", Limits::default()).await.unwrap().exec(exec("true")).await.unwrap();
    assert_eq!(line.0.hosts[0].logins(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_without_ssh_reads_the_configuration_itself() {
    let line = Line::new(2);
    let without = |line: &Line| {
        let vars = |name: &str| (name == "HOME").then(|| line.bed.dir.path().into());
        let mut settings = ConnectionSettings::from_env(vars, line.bed.path("s"));
        settings.ssh.config = Some(line.bed.path("config"));
        settings.ssh.program = "no-such-ssh".into();
        Connections::new(settings)
    };
    // Its keys and files are those that `ssh -G` names.
    std::fs::create_dir(line.bed.path(".ssh")).unwrap();
    std::fs::rename(line.bed.path("config"), line.bed.path(".ssh/10-hosts")).unwrap();
    std::fs::write(line.bed.path("config"), "Include *-hosts\n").unwrap();
    let all = without(&line);
    let choice = all.choose("host1").await.unwrap();
    assert_eq!((choice.member, choice.way.len()), (Member::Russh, 2), "{}", choice.reason);
    let host = all.transport(&"host1".parse().unwrap(), "host1", Limits::default()).await.unwrap();
    assert_eq!(host.exec(exec("echo in")).await.unwrap().stdout, b"in\n");
    line.write_config("Match exec true\n");
    let refused = without(&line).choose("host1").await;
    assert!(
        matches!(&refused, Err(TransportError::Configuration { detail, .. }) if detail.contains("Match")),
        "{refused:?}"
    );
}
