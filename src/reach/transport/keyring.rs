//! The keys in files that a person unlocks, for the system's `ssh`: each `ssh` asks for a passphrase anew, and a way has one for
//! each host on it.
//!
//! While a host is logged in to, `ssh` finds these keys at a socket of ours that speaks as an agent does. A passphrase is asked for by
//! this process, once a command, when a host takes the key; it is handed to nobody, and the open key neither. (As its
//! `SSH_ASKPASS`, this program would hand passphrases out, to whatever `ssh` passes on, and a host words its own questions as it likes;
//! it would have to ask for codes as well, and not know which may be seen.) All else comes from the person's agent, behind ours, or is
//! asked by `ssh` itself.

use std::convert::Infallible;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use russh::keys::signature::Signer;
use russh::keys::ssh_key::Signature;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{HashAlg, PrivateKey};
use tokio::net::{UnixListener, UnixStream};

use crate::language::base64;
use crate::language::ssh::{Hop, Method, Options};
use crate::reach::transport::gate::dice;
use crate::reach::transport::native::agent::{ANSWER, REQUEST, answered, entries, heard, number, say, text};
use crate::reach::transport::native::{Key, Turn, Unlocked, hardware_key, public_half, signs};

/// An agent's answer that it will not.
const FAILURE: u8 = 5;
/// The request for a signature, and the answer.
const SIGN: u8 = 13;
const SIGNED: u8 = 14;
/// What a signature of an RSA key is made with; without either it would be SHA-1.
const SHA256: u32 = 2;
const SHA512: u32 = 4;

/// Most files that `ssh` is told of; it takes a hundred.
const FILES: usize = 90;

/// How the directory of a login begins.
const PREFIX: &str = "keys-";

/// How long the person's agent may take to say what it holds.
const ASKING: Duration = Duration::from_secs(5);

/// How long until a system that has no room for a connection is asked again.
const AGAIN: Duration = Duration::from_millis(100);

/// The keys that a host may be entered with.
#[derive(Clone, Debug)]
pub struct Keyring {
    hop: Hop,
    /// What `IdentityFile` says, as `ssh -G` has it.
    files: Vec<String>,
    unlocked: Unlocked,
}

/// A key in a file.
struct Held {
    path: PathBuf,
    /// Its public half, as it goes over the wire.
    blob: Vec<u8>,
}

/// The keys at a socket, until it is dropped.
pub(super) struct Offer<'a> {
    keyring: &'a Keyring,
    host: &'a str,
    turn: &'a Turn<'a>,
    held: Vec<Held>,
    /// The keys in files, whoever holds them.
    named: Vec<Vec<u8>>,
    listener: UnixListener,
    dir: PathBuf,
    /// Files that name keys of the person's agent.
    others: Vec<PathBuf>,
}

impl Keyring {
    /// Makes the keyring of a host; nothing where `ssh` is better left alone: where it tries no key, gives those that it opened to
    /// the agent, or has keys on hardware, which it tries before those in files.
    pub(super) fn new(options: &Options, hop: Hop, unlocked: Unlocked) -> Option<Self> {
        let adds = !matches!(options.get("addkeystoagent"), None | Some("false" | "no")) && hop.agent.is_some();
        let hardware = !matches!(options.get("pkcs11provider"), None | Some("none")) || hardware_key(&hop).is_some();
        let none = !hop.methods.contains(&Method::PublicKey) || options.number("numberofpasswordprompts") == Some(0);
        let files = options.all("identityfile").to_vec();
        (!adds && !hardware && !none).then_some(Self { hop, files, unlocked })
    }

    /// Offers the keys at a socket in a directory that is ours alone; nothing where none has a passphrase that `ssh` would ask for, or
    /// there can be no socket: then `ssh` asks for what it needs by itself.
    pub(super) async fn offer<'a>(&'a self, sockets: &Path, host: &'a str, turn: &'a Turn<'a>) -> Option<Offer<'a>> {
        let paths: Vec<PathBuf> = self.hop.identities.iter().map(PathBuf::from).collect();
        let (mut held, mut named): (Vec<(Held, bool)>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
        for path in paths {
            // One whose public half is not readable is `ssh`'s to ask for.
            let Some(public) = public_half(&path) else { continue };
            let Ok(blob) = public.to_bytes() else { continue };
            named.push(blob.clone());
            let locked = match self.unlocked.read(&path).await {
                Key::Plain(_) => false,
                Key::Locked | Key::Unlocked(_) => true,
                Key::Unusable => continue,
            };
            if signs(&public) && !held.iter().any(|(held, _)| held.blob == blob) {
                held.push((Held { path, blob }, locked));
            }
        }
        if !held.iter().any(|(_, locked)| *locked) {
            return None;
        }
        let in_agent = tokio::time::timeout(ASKING, self.in_agent()).await.ok()?;
        held.retain(|(held, _)| !in_agent.contains(&held.blob));
        if !held.iter().any(|(_, locked)| *locked) {
            return None;
        }
        let held = held.into_iter().map(|(held, _)| held).collect();
        let is_other = |blob: &Vec<u8>| !self.hop.identities_only && !named.contains(blob);
        let others: Vec<Vec<u8>> = in_agent.into_iter().filter(is_other).collect();
        let offer = self.listen(sockets, host, turn, (held, named), &others);
        if let Err(error) = &offer {
            tracing::warn!(host, %error, "`ssh` asks for each passphrase anew");
        }
        offer.ok()
    }

    fn listen<'a>(
        &'a self,
        sockets: &Path,
        host: &'a str,
        turn: &'a Turn<'a>,
        (held, named): (Vec<Held>, Vec<Vec<u8>>),
        others: &[Vec<u8>],
    ) -> std::io::Result<Offer<'a>> {
        sweep(sockets);
        let dir = sockets.join(format!("{PREFIX}{:010x}", dice() & 0xff_ffff_ffff));
        std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
        let listener = UnixListener::bind(dir.join("s"));
        let mut files = Vec::new();
        let told = others.iter().enumerate().try_for_each(|(number, blob)| {
            let path = dir.join(number.to_string());
            std::fs::write(&path, public_line(blob).ok_or_else(|| std::io::Error::other("an odd key"))?)?;
            files.push(path);
            Ok::<_, std::io::Error>(())
        });
        match (listener, told) {
            (Ok(listener), Ok(())) => {
                Ok(Offer { keyring: self, host, turn, held, named, listener, dir, others: files })
            }
            (Err(error), _) | (_, Err(error)) => {
                drop(std::fs::remove_dir_all(&dir));
                Err(error)
            }
        }
    }

    /// Returns the keys of the person's agent, of whatever kinds.
    async fn in_agent(&self) -> Vec<Vec<u8>> {
        let asked = async { answered(self.agent().await.as_mut()?, &[REQUEST]).await.ok() };
        let answer = asked.await.unwrap_or_default();
        entries(&answer).into_iter().map(|(blob, _)| blob.to_vec()).collect()
    }

    async fn agent(&self) -> Option<UnixStream> {
        UnixStream::connect(self.hop.agent.as_ref()?).await.ok()
    }
}

impl Offer<'_> {
    /// Returns what `ssh` is told; nothing where that cannot be said to it.
    ///
    /// It tries those of an agent's keys first that files name, and would ask for a passphrase before it tried the others of the
    /// agent. So files name those too, in front: then it goes by the order in which the agent tells them.
    pub(super) fn options(&self) -> Option<Vec<String>> {
        let literal = |path: &Path| Some(path.to_str()?.replace('%', "%%"));
        let mut options = vec![format!("IdentityAgent={}", quoted(&literal(&self.dir.join("s"))?)?)];
        if !self.others.is_empty() {
            // With a file named here, those that `ssh` looks at by default are no longer looked at.
            if self.others.len() + self.keyring.files.len() > FILES {
                return None;
            }
            let others = self.others.iter().map(|path| literal(path));
            let files = self.keyring.files.iter().map(|file| Some(file.clone()));
            for file in others.chain(files) {
                options.push(format!("IdentityFile={}", quoted(&file?)?));
            }
        }
        Some(options.into_iter().flat_map(|option| ["-o".to_owned(), option]).collect())
    }

    /// Answers whoever connects; ends with what it is waited for beside.
    pub(super) async fn serve(&self) -> Infallible {
        let me = rustix::process::getuid().as_raw();
        let mut talks = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) if stream.peer_cred().is_ok_and(|peer| peer.uid() == me) => {
                        talks.push(self.talk(stream));
                    }
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(AGAIN).await,
                },
                Some(()) = talks.next() => {}
            }
        }
    }

    /// Answers one `ssh` until it leaves. Each has a connection to the person's agent of its own, which it says things about.
    async fn talk(&self, mut stream: UnixStream) {
        let mut agent = self.keyring.agent().await;
        while let Ok(message) = heard(&mut stream).await {
            let answer = match message.split_first() {
                Some((&REQUEST, _)) => {
                    let theirs = pass(&mut agent, &message).await.unwrap_or_default();
                    listed(&entries(&theirs), &self.held, &self.named)
                }
                Some((&SIGN, rest)) => match Wanted::read(rest).and_then(|wanted| Some((self.of(&wanted)?, wanted))) {
                    Some((held, wanted)) => self.signature(held, &wanted).await.unwrap_or_else(|| vec![FAILURE]),
                    None => pass(&mut agent, &message).await.unwrap_or_else(|| vec![FAILURE]),
                },
                _ => pass(&mut agent, &message).await.unwrap_or_else(|| vec![FAILURE]),
            };
            if say(&mut stream, &answer).await.is_err() {
                return;
            }
        }
    }

    fn of(&self, wanted: &Wanted<'_>) -> Option<&Held> {
        self.held.iter().find(|held| held.blob == wanted.blob)
    }

    /// Signs; asks for the passphrase of a key that is locked.
    async fn signature(&self, held: &Held, wanted: &Wanted<'_>) -> Option<Vec<u8>> {
        let Keyring { hop, unlocked, .. } = self.keyring;
        let key = match unlocked.read(&held.path).await {
            Key::Plain(key) | Key::Unlocked(key) => key,
            Key::Locked => unlocked.ask(&held.path, self.host, hop.prompts, self.turn).await?,
            Key::Unusable => return None,
        };
        signed(&key, wanted)
    }
}

impl Drop for Offer<'_> {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

/// What is to be signed.
#[derive(Debug, PartialEq, Eq)]
struct Wanted<'a> {
    blob: &'a [u8],
    data: &'a [u8],
    flags: u32,
}

impl<'a> Wanted<'a> {
    fn read(message: &'a [u8]) -> Option<Self> {
        let (blob, rest) = text(message)?;
        let (data, rest) = text(rest)?;
        let (flags, _) = number(rest)?;
        Some(Self { blob, data, flags })
    }
}

/// Returns the answer with a signature; none where the key is another one than the public half said, or would sign with SHA-1.
fn signed(key: &Arc<PrivateKey>, wanted: &Wanted<'_>) -> Option<Vec<u8>> {
    if key.public_key().to_bytes().ok()? != wanted.blob {
        return None;
    }
    let signature: Signature = match key.key_data() {
        KeypairData::Rsa(pair) => {
            let hash = match wanted.flags {
                flags if flags & SHA512 != 0 => HashAlg::Sha512,
                flags if flags & SHA256 != 0 => HashAlg::Sha256,
                _ => return None,
            };
            (pair, Some(hash)).try_sign(wanted.data).ok()?
        }
        pair => pair.try_sign(wanted.data).ok()?,
    };
    let signature = Vec::try_from(signature).ok()?;
    let mut answer = vec![SIGNED];
    put(&mut answer, &signature);
    Some(answer)
}

/// Returns the answer what is held: of the keys of the person's agent those first that files name, then its others, then ours.
fn listed(theirs: &[(&[u8], &[u8])], ours: &[Held], named: &[Vec<u8>]) -> Vec<u8> {
    let is_named = |entry: &&(&[u8], &[u8])| named.iter().any(|name| name == entry.0);
    let (mut all, others): (Vec<_>, Vec<_>) = theirs.iter().partition(is_named);
    all.extend(others);
    let comments: Vec<String> = ours.iter().map(|held| held.path.display().to_string()).collect();
    let ours = ours.iter().zip(&comments).map(|(held, comment)| (held.blob.as_slice(), comment.as_bytes()));
    let ours: Vec<_> = ours.filter(|(blob, _)| !theirs.iter().any(|(held, _)| held == blob)).collect();
    let count = u32::try_from(all.len() + ours.len()).unwrap_or_default();
    let mut answer = vec![ANSWER];
    answer.extend(count.to_be_bytes());
    for (blob, comment) in all.into_iter().chain(ours) {
        put(&mut answer, blob);
        put(&mut answer, comment);
    }
    answer
}

/// Adds bytes with their length.
fn put(answer: &mut Vec<u8>, bytes: &[u8]) {
    answer.extend(u32::try_from(bytes.len()).unwrap_or_default().to_be_bytes());
    answer.extend(bytes);
}

/// Asks the person's agent; one that does not answer is gone.
async fn pass(agent: &mut Option<UnixStream>, message: &[u8]) -> Option<Vec<u8>> {
    let answer = answered(agent.as_mut()?, message).await.ok();
    if answer.is_none() {
        *agent = None;
    }
    answer
}

/// Returns the line of a file that names a key.
fn public_line(blob: &[u8]) -> Option<String> {
    let (kind, _) = text(blob)?;
    let kind = std::str::from_utf8(kind).ok().filter(|kind| kind.bytes().all(|byte| byte.is_ascii_graphic()))?;
    Some(format!("{kind} {}\n", base64::encode(blob)))
}

/// Returns a value of a configuration as one word; versions of `ssh` differ in how a quotation mark is written within.
fn quoted(value: &str) -> Option<String> {
    let odd = |letter: char| matches!(letter, '"' | '\\') || letter.is_control();
    (!value.contains(odd) && !value.contains("${")).then(|| format!("\"{value}\""))
}

/// Takes away what logins left that were killed: nobody listens there.
fn sweep(sockets: &Path) {
    for entry in std::fs::read_dir(sockets).into_iter().flatten().flatten() {
        let is_one = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        let refused = |error: std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
        if is_one && std::os::unix::net::UnixStream::connect(entry.path().join("s")).is_err_and(refused) {
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use russh::keys::PublicKey;
    use russh::keys::signature::Verifier;
    use russh::keys::ssh_key::private::Ed25519Keypair;

    use super::*;
    use crate::language::ssh::Person;

    fn key(seed: u8) -> Arc<PrivateKey> {
        let pair = Ed25519Keypair::from_seed(&[seed; 32]);
        Arc::new(PrivateKey::new(KeypairData::Ed25519(pair), "").unwrap())
    }

    fn blob(seed: u8) -> Vec<u8> {
        key(seed).public_key().to_bytes().unwrap()
    }

    #[test]
    fn keys_of_the_agent_stand_before_ours_and_those_that_files_name_before_its_others() {
        let (one, two, three, four) = (blob(1), blob(2), blob(3), blob(4));
        let theirs = [(&one[..], &b"one"[..]), (&two[..], b"two"), (&three[..], b"three")];
        let held = |path: &str, blob: &[u8]| Held { path: PathBuf::from(path), blob: blob.to_vec() };
        let ours = [held("/k/four", &four), held("/k/two", &two)];
        let answer = listed(&theirs, &ours, &[four.clone(), three.clone()]);
        let told: Vec<&[u8]> = entries(&answer).into_iter().map(|(_, comment)| comment).collect();
        assert_eq!(told, [&b"three"[..], b"one", b"two", b"/k/four"], "one that the agent has is its to sign with");
        assert_eq!(entries(&listed(&[], &ours, &[])).len(), 2);
        assert_eq!(listed(&[], &[], &[]), [ANSWER, 0, 0, 0, 0]);
    }

    #[test]
    fn what_is_signed_is_what_was_asked_for_by_the_key_that_was_meant() {
        let mut message = Vec::new();
        put(&mut message, &blob(1));
        put(&mut message, b"data");
        message.extend([0, 0, 0, 0]);
        let wanted = Wanted::read(&message).unwrap();
        assert_eq!(wanted, Wanted { blob: &blob(1), data: b"data", flags: 0 });
        let answer = signed(&key(1), &wanted).unwrap();
        let (kind, rest) = answer.split_first().unwrap();
        let (signature, rest) = text(rest).unwrap();
        assert!(*kind == SIGNED && rest.is_empty());
        let public: PublicKey = key(1).public_key().clone();
        public.key_data().verify(b"data", &Signature::try_from(signature).unwrap()).unwrap();
        assert_eq!(signed(&key(2), &wanted), None, "the file holds another key by now");
        for length in 0..message.len() {
            assert_eq!(Wanted::read(&message[..length]), None, "cut off at {length}");
        }
    }

    #[test]
    fn keys_are_written_as_lines() {
        let line = public_line(&blob(3)).unwrap();
        assert_eq!(PublicKey::from_openssh(&line).unwrap().to_bytes().unwrap(), blob(3));
        assert_eq!(public_line(b"\0\0\0\x03a\nb"), None);
        assert_eq!(public_line(b"\0\0\0\xffab"), None);
    }

    #[test]
    fn ssh_is_left_alone_where_it_would_do_more_than_ask() {
        let made = |agent: Option<&str>, more: &str| {
            let options = Options::read(&format!("host h\nuser u\nhostname h\nidentityfile /nowhere/k\n{more}"));
            let hop = Hop::from_options(&options, &Person::default(), agent, &[]).unwrap();
            Keyring::new(&options, hop, Unlocked::default()).is_some()
        };
        assert!(made(None, "addkeystoagent false\npkcs11provider none") && made(Some("/agent"), ""));
        assert!(!made(Some("/agent"), "addkeystoagent true"), "it asks once by itself");
        assert!(made(None, "addkeystoagent true"), "there is no agent to add it to");
        for more in [
            "pkcs11provider /lib/x.so",
            "pubkeyauthentication no",
            "preferredauthentications password",
            "numberofpasswordprompts 0",
        ] {
            assert!(!made(None, more), "{more}");
        }
    }

    #[test]
    fn values_are_one_word_or_are_not_said() {
        assert_eq!(quoted("~/.ssh/my key").as_deref(), Some("\"~/.ssh/my key\""));
        for odd in ["a\"b", "a\\b", "a\nb", "${HOME}/k"] {
            assert_eq!(quoted(odd), None, "{odd}");
        }
    }

    #[test]
    fn what_killed_logins_left_is_taken_away_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["keys-left", "keys-new", "keys-live", "other"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        drop(std::os::unix::net::UnixListener::bind(path("keys-left/s")).unwrap());
        drop(std::os::unix::net::UnixListener::bind(path("other/s")).unwrap());
        let _live = std::os::unix::net::UnixListener::bind(path("keys-live/s")).unwrap();
        sweep(dir.path());
        assert_eq!(
            ["keys-left", "keys-new", "keys-live", "other"].map(|name| path(name).exists()),
            [false, true, true, true]
        );
    }
}
