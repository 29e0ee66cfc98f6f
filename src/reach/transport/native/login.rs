//! Logging in, in OpenSSH's order: keys and certificates, those of the agent first, then questions, then a password.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{
    Algorithm, Certificate, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, load_openssh_certificate,
};
use russh::{MethodKind, MethodSet};
use tokio::net::UnixStream;

use crate::language::ssh::{Hop, Method};
use crate::reach::transport::native::agent::held;
use crate::reach::transport::native::ask::{Ask, Questions, Seen};
use crate::reach::transport::native::host_key::Checker;
use crate::reach::transport::native::unlock::{Key, Unlocked};

/// Nobody was let in.
#[derive(Debug)]
pub(super) enum NotIn {
    /// A person could still answer something.
    NeedsLogin(String),
    /// Nothing that is here was accepted.
    Denied(String),
    /// The connection broke.
    Broken(russh::Error),
}

impl From<russh::Error> for NotIn {
    fn from(error: russh::Error) -> Self {
        Self::Broken(error)
    }
}

/// Something to be tried.
enum Candidate {
    Agent(AgentIdentity),
    File { path: PathBuf, certificate: Option<Certificate> },
}

/// One login.
pub(super) struct Login<'a> {
    pub(super) host: &'a str,
    pub(super) hop: &'a Hop,
    pub(super) ask: Option<&'a Ask>,
    pub(super) unlocked: &'a Unlocked,
    /// Why a person could help.
    locked: Option<String>,
    /// How often it was answered, by questions and by a password.
    answered: (u32, u32),
}

impl<'a> Login<'a> {
    pub(super) const fn new(host: &'a str, hop: &'a Hop, ask: Option<&'a Ask>, unlocked: &'a Unlocked) -> Self {
        Self { host, hop, ask, unlocked, locked: None, answered: (0, 0) }
    }

    /// Logs in.
    pub(super) async fn run(mut self, handle: &mut Handle<Checker>) -> Result<(), NotIn> {
        let mut agent = self.agent().await;
        let mut candidates = self.candidates().await.into_iter();
        let mut methods = match handle.authenticate_none(&self.hop.user).await? {
            AuthResult::Success => return Ok(()),
            AuthResult::Failure { remaining_methods, .. } => remaining_methods,
        };
        loop {
            if self.hop.methods.contains(&Method::PublicKey) && methods.contains(&MethodKind::PublicKey) {
                let mut progress = None;
                for candidate in candidates.by_ref() {
                    match self.offer(handle, candidate, agent.as_mut()).await? {
                        Some(AuthResult::Success) => return Ok(()),
                        Some(AuthResult::Failure { remaining_methods, partial_success: true }) => {
                            progress = Some(remaining_methods);
                            break;
                        }
                        Some(AuthResult::Failure { .. }) | None => {}
                    }
                }
                if let Some(remaining) = progress {
                    methods = remaining;
                    continue;
                }
            }
            if handle.is_closed() {
                return Err(NotIn::Denied("it hung up on too many keys".to_owned()));
            }
            match self.answer(handle, &methods).await? {
                Some(AuthResult::Success) => return Ok(()),
                Some(AuthResult::Failure { remaining_methods, partial_success }) => {
                    if partial_success {
                        self.answered = (0, 0);
                    }
                    methods = remaining_methods;
                }
                None => break,
            }
        }
        let names: Vec<&str> = methods.iter().map(<&str>::from).collect();
        let detail = format!("it takes {}", names.join(", "));
        match self.locked {
            Some(locked) if self.ask.is_none() => Err(NotIn::NeedsLogin(locked)),
            _ => Err(NotIn::Denied(detail)),
        }
    }

    async fn agent(&self) -> Option<AgentClient<UnixStream>> {
        AgentClient::connect_uds(self.hop.agent.as_ref()?).await.ok()
    }

    /// Returns what is tried, in order. The agent's keys that the configuration names come first, then its others, then files.
    async fn candidates(&self) -> Vec<Candidate> {
        let held = match &self.hop.agent {
            Some(socket) => held(socket).await,
            None => Vec::new(),
        };
        let files: Vec<PathBuf> = self.hop.identities.iter().map(PathBuf::from).collect();
        let mut certificates: Vec<Certificate> =
            self.hop.certificates.iter().filter_map(|path| load_openssh_certificate(path).ok()).collect();
        certificates.extend(files.iter().filter_map(|path| load_openssh_certificate(beside(path, "-cert.pub")).ok()));
        let named: Vec<(PathBuf, Option<PublicKey>)> = files
            .iter()
            .filter(|path| path.exists() || beside(path, ".pub").exists())
            .map(|path| (path.clone(), public_half(path)))
            .collect();
        let is_named = |identity: &AgentIdentity| {
            let key = identity.public_key();
            named.iter().any(|(_, public)| public.as_ref().is_some_and(|public| public.key_data() == key.key_data()))
        };
        let (mut first, others): (Vec<_>, Vec<_>) = held.into_iter().partition(is_named);
        if !self.hop.identities_only {
            first.extend(others);
        }
        let in_agent: Vec<PublicKey> = first.iter().map(|identity| identity.public_key().into_owned()).collect();
        let mut all: Vec<Candidate> = Vec::new();
        for certificate in certificates {
            let holder = |key: &PublicKey| key.key_data() == certificate.public_key();
            if in_agent.iter().any(holder) {
                let comment = String::new();
                all.push(Candidate::Agent(AgentIdentity::Certificate { certificate, comment }));
            } else if let Some((path, _)) =
                named.iter().find(|(_, public)| public.as_ref().is_some_and(|public| holder(public) && signs(public)))
            {
                all.push(Candidate::File { path: path.clone(), certificate: Some(certificate) });
            }
        }
        all.extend(first.into_iter().map(Candidate::Agent));
        let left = |public: &Option<PublicKey>| {
            public.as_ref().is_none_or(|public| !in_agent.iter().any(|held| held.key_data() == public.key_data()))
        };
        all.extend(
            named
                .into_iter()
                .filter(|(path, public)| path.exists() && left(public) && public.as_ref().is_none_or(signs))
                .map(|(path, _)| Candidate::File { path, certificate: None }),
        );
        all
    }

    /// Offers a key; nothing where it cannot be used.
    async fn offer(
        &mut self,
        handle: &mut Handle<Checker>,
        candidate: Candidate,
        agent: Option<&mut AgentClient<UnixStream>>,
    ) -> Result<Option<AuthResult>, NotIn> {
        let user = self.hop.user.as_str();
        match candidate {
            Candidate::Agent(identity) => {
                let Some(agent) = agent else { return Ok(None) };
                let hash = rsa_hash(handle, &identity.public_key()).await?;
                let result = match identity {
                    AgentIdentity::PublicKey { key, .. } => {
                        handle.authenticate_publickey_with(user, key, hash, agent).await
                    }
                    AgentIdentity::Certificate { certificate, .. } => {
                        handle.authenticate_certificate_with(user, certificate, hash, agent).await
                    }
                };
                // An agent that declines to sign is not the end of the login.
                Ok(result.ok())
            }
            Candidate::File { path, certificate } => {
                let Some(key) = self.private_key(&path).await else { return Ok(None) };
                let result = if let Some(certificate) = certificate {
                    handle.authenticate_openssh_cert(user, key, certificate).await?
                } else {
                    let hash = rsa_hash(handle, key.public_key()).await?;
                    handle.authenticate_publickey(user, PrivateKeyWithHashAlg::new(key, hash)).await?
                };
                Ok(Some(result))
            }
        }
    }

    /// Reads a private key; asks for its passphrase, once.
    async fn private_key(&mut self, path: &Path) -> Option<Arc<PrivateKey>> {
        match self.unlocked.read(path).await {
            Key::Plain(key) | Key::Unlocked(key) => Some(key),
            // The next one.
            Key::Unusable => None,
            Key::Locked => {
                let Some(ask) = self.ask else {
                    self.locked = Some(format!("the key {} has a passphrase", path.display()));
                    return None;
                };
                let turn = ask.turn().await;
                self.unlocked.ask(path, self.host, self.hop.prompts, &turn).await
            }
        }
    }

    /// Answers what the host asks; nothing where it asks nothing, nobody is there, or the person was asked often enough: questions
    /// first and then, where those are not asked or were not answered right, for a password.
    async fn answer(&mut self, handle: &mut Handle<Checker>, methods: &MethodSet) -> Result<Option<AuthResult>, NotIn> {
        let interactive = self.hop.methods.contains(&Method::KeyboardInteractive)
            && methods.contains(&MethodKind::KeyboardInteractive);
        let interactive = interactive && self.answered.0 < self.hop.prompts;
        let password = self.hop.methods.contains(&Method::Password)
            && methods.contains(&MethodKind::Password)
            && self.answered.1 < self.hop.prompts;
        if !interactive && !password {
            return Ok(None);
        }
        let Some(ask) = self.ask else {
            let what = if interactive { "it asks questions" } else { "it asks for a password" };
            self.locked.get_or_insert_with(|| what.to_owned());
            return Ok(None);
        };
        if interactive {
            self.answered.0 += 1;
            return self.keyboard_interactive(handle, ask).await;
        }
        self.answered.1 += 1;
        let prompt = format!("Password of {}@{}: ", self.hop.user, self.host);
        let questions = Questions {
            host: self.host.to_owned(),
            instructions: String::new(),
            prompts: vec![(prompt, Seen::Hidden)],
        };
        let Some(password) = ask.ask(questions).await.and_then(|mut answers| answers.pop()) else { return Ok(None) };
        Ok(Some(handle.authenticate_password(&self.hop.user, password).await?))
    }

    async fn keyboard_interactive(&self, handle: &mut Handle<Checker>, ask: &Ask) -> Result<Option<AuthResult>, NotIn> {
        let mut reply = handle.authenticate_keyboard_interactive_start(&self.hop.user, None).await?;
        loop {
            let (name, instructions, prompts) = match reply {
                KeyboardInteractiveAuthResponse::Success => return Ok(Some(AuthResult::Success)),
                KeyboardInteractiveAuthResponse::Failure { remaining_methods, partial_success } => {
                    return Ok(Some(AuthResult::Failure { remaining_methods, partial_success }));
                }
                KeyboardInteractiveAuthResponse::InfoRequest { name, instructions, prompts } => {
                    (name, instructions, prompts)
                }
            };
            // Nothing to answer is answered by nothing.
            let answers = if prompts.is_empty() {
                Vec::new()
            } else {
                let seen = |echo| if echo { Seen::Shown } else { Seen::Hidden };
                let prompts = prompts.into_iter().map(|prompt| (prompt.prompt, seen(prompt.echo))).collect();
                let instructions = [name, instructions].join("\n").trim().to_owned();
                let questions = Questions { host: self.host.to_owned(), instructions, prompts };
                let Some(answers) = ask.ask(questions).await else { return Ok(None) };
                answers
            };
            reply = handle.authenticate_keyboard_interactive_respond(answers).await?;
        }
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Returns whether the private half of a key, in a file, signs here.
pub(in crate::reach::transport) fn signs(key: &PublicKey) -> bool {
    matches!(key.algorithm(), Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::Rsa { .. })
}

/// Says which of the keys of a way is one of a hardware security key: those are `ssh`'s to use, which asks for the touch and the PIN.
pub(in crate::reach::transport) fn hardware_key(hop: &Hop) -> Option<String> {
    let on_hardware = |path: &&String| {
        let kind = public_half(Path::new(path)).map(|key| key.algorithm());
        matches!(kind, Some(Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256))
    };
    let path = hop.identities.iter().find(on_hardware).filter(|_| hop.methods.contains(&Method::PublicKey))?;
    Some(format!("the key {path} is one of a hardware security key"))
}

/// Returns the public half of a key: from the file beside it, else from the key itself. A file may hold no more than that half, which
/// names a key of the agent.
pub(in crate::reach::transport) fn public_half(path: &Path) -> Option<PublicKey> {
    let beside =
        std::fs::read_to_string(beside(path, ".pub")).ok().and_then(|text| PublicKey::from_openssh(&text).ok());
    beside.or_else(|| {
        let text = std::fs::read_to_string(path).ok()?;
        // The public half of an OpenSSH key is readable whether or not the rest is.
        let key = PrivateKey::from_openssh(&text).ok().or_else(|| russh::keys::decode_secret_key(&text, None).ok());
        key.map(|key| key.public_key().clone()).or_else(|| PublicKey::from_openssh(&text).ok())
    })
}

/// Returns the hash with which an RSA key signs: never SHA-1, as with OpenSSH.
async fn rsa_hash(handle: &Handle<Checker>, key: &PublicKey) -> Result<Option<HashAlg>, NotIn> {
    if !key.algorithm().is_rsa() {
        return Ok(None);
    }
    let offered = handle.best_supported_rsa_hash().await?;
    Ok(Some(offered.flatten().unwrap_or(HashAlg::Sha512)))
}

#[cfg(test)]
mod tests {
    use russh::keys::ssh_key::LineEnding;
    use russh::keys::ssh_key::private::{KeypairData, SkEd25519};
    use russh::keys::ssh_key::public::{self, Ed25519PublicKey};

    use super::*;
    use crate::language::ssh::{Options, Person};

    #[test]
    fn keys_on_hardware_are_known_by_either_half_and_never_sign_here() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let half = public::SkEd25519::new(Ed25519PublicKey([7; 32]), "ssh:");
        let key = KeypairData::SkEd25519(SkEd25519::new(half, 1, [1, 2, 3]).unwrap());
        let key = PrivateKey::new(key, "").unwrap();
        assert!(!signs(key.public_key()));
        let hop = |names: &[&str], more: &str| {
            let files: Vec<String> =
                names.iter().map(|name| format!("identityfile {}", path(name).display())).collect();
            let options = Options::read(&format!("host h\nuser u\nhostname h\n{}\n{more}", files.join("\n")));
            Hop::from_options(&options, &Person::default(), None, &[]).unwrap()
        };
        assert_eq!(hardware_key(&hop(&["private", "beside", "only.pub"], "")), None, "nothing is there");
        std::fs::write(path("private"), key.to_openssh(LineEnding::LF).unwrap()).unwrap();
        std::fs::write(path("beside.pub"), key.public_key().to_openssh().unwrap()).unwrap();
        std::fs::write(path("only.pub"), key.public_key().to_openssh().unwrap()).unwrap();
        for name in ["private", "beside", "only.pub"] {
            let why = hardware_key(&hop(&["none", name], "")).unwrap();
            assert!(why.contains(name) && why.contains("hardware"), "{why}");
            assert_eq!(hardware_key(&hop(&[name], "pubkeyauthentication no\n")), None, "no key is tried");
        }
        let plain = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH";
        std::fs::write(path("plain.pub"), plain).unwrap();
        assert_eq!(hardware_key(&hop(&["plain", "none"], "")), None);
        assert!(signs(&public_half(&path("plain.pub")).unwrap()));
    }
}
