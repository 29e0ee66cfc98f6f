//! An agent that is lent to a host for one transfer, so that it reaches another host with a key that never leaves this machine.
//!
//! A forwarded agent may be used by whoever rules the host that it is forwarded to. This one is OpenSSH's own, private to the
//! transfer, holds copies of the keys of the one target, and is told to sign for that target alone: over this host
//! (`restrict-destination-v00@openssh.com`), as the connections that it is used over say by the signatures of both host keys
//! (`session-bind@openssh.com`). It is forwarded over a connection of its own, by the system's `ssh`, since russh does not show
//! what has to be signed for that; and it ends with the transfer, or with this process, however that ends.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdin, Command};

use crate::language::quote::sh;
use crate::language::ssh::trouble::last_words;
use crate::language::ssh::{Hop, Trouble, Unreached, read_trouble};
use crate::reach::transport::gate::dice;
use crate::reach::transport::native::known_to;
use crate::reach::transport::openssh::{OpenSsh, private_directory};
use crate::reach::transport::remote::{Remote, Wire};
use crate::reach::transport::shell::Pipes;
use crate::reach::transport::{LinkState, TransportError};

/// How long an agent may take to come up, to take a key, or to leave.
const ASKING: Duration = Duration::from_secs(20);

/// How long an agent keeps a key, should everything else fail to end it: as long as a transfer may take.
const LIFE: Duration = Duration::from_hours(24);

/// What the agent is tied to: it ends with this shell, which ends with its input. `ssh-agent` itself only looks every ten seconds.
const TIE: &str = r#"echo up; cat >/dev/null; kill "$SSH_AGENT_PID""#;

/// Who lends one host the keys of this machine for another.
#[derive(Clone, Debug)]
pub struct Lender {
    way: Arc<OpenSsh>,
    holder: Party,
    target: Party,
    hop: Hop,
    /// The agent that logs in to the holder.
    own: Option<String>,
}

/// One of the two hosts, as the agent tells it from others.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Party {
    name: String,
    /// Its keys and authorities, as a file of known hosts says it under this name.
    known: String,
}

/// A host with an agent, until it is dropped.
#[derive(Debug)]
pub struct Lent {
    remote: Remote,
    agent: Agent,
}

/// An agent of ours.
#[derive(Debug)]
struct Agent {
    socket: PathBuf,
    child: Child,
    tie: Option<ChildStdin>,
}

/// A connection that shows an agent to a host.
#[derive(Debug)]
struct Carrier {
    way: Arc<OpenSsh>,
    agent: PathBuf,
    /// The one that logs in.
    own: PathBuf,
}

impl Lender {
    /// Makes who lends the host at the end of a way (the holder) what opens another (the target).
    ///
    /// # Errors
    /// [`TransportError::Configuration`] where the two cannot be told apart, or the key of one is not known here.
    pub(super) fn new(way: Arc<OpenSsh>, holder: Hop, target: Hop) -> Result<Self, TransportError> {
        let unusable = |detail: &str| TransportError::Configuration {
            host: target.address.clone(),
            detail: format!("no key can be lent for it: {detail}"),
        };
        // A certificate is made out to a name without a port.
        let names = if holder.principal == target.principal {
            [&holder, &target].map(|hop| hop.place.name().to_owned())
        } else {
            [&holder, &target].map(|hop| hop.principal.clone())
        };
        let [near, far] = names;
        if near == far {
            return Err(unusable("it has the name of the host that it would be lent to"));
        }
        let party = |hop: &Hop, name: String| {
            let known = known_to(hop).under(&hop.place, &name);
            if known.is_empty() {
                return Err(unusable(&format!("no host key of {} is known here", hop.place.name())));
            }
            Ok(Party { name, known })
        };
        let (near, far) = (party(&holder, near)?, party(&target, far)?);
        Ok(Self { way, holder: near, target: far, hop: target, own: holder.agent })
    }

    /// Returns what the holder runs before it calls the target, and how it calls it: with the lent keys and none of its own, by
    /// none of its settings, and trusting the host keys that are known here.
    pub fn call(&self) -> (String, String) {
        let known = sh(self.target.known.trim_end());
        let before = format!(
            "known=$(mktemp) && trap 'rm -f -- \"$known\"' EXIT && printf '%s\\n' {known} >\"$known\" || exit; "
        );
        let (hop, name) = (&self.hop, &self.target.name);
        let mut words = vec!["ssh -F none -o BatchMode=yes -o ConnectTimeout=20 -o ForwardAgent=no".to_owned()];
        words.push("-o IdentityFile=none -o PreferredAuthentications=publickey".to_owned());
        words.push("-o StrictHostKeyChecking=yes -o GlobalKnownHostsFile=/dev/null".to_owned());
        words.push("-o UserKnownHostsFile=\"\\\"$known\\\"\"".to_owned());
        words.push(sh(&format!("-oHostKeyAlias={name}")).into_owned());
        words.push(format!("-p {} -l {} -- {}", hop.port, sh(&hop.user), sh(&hop.address)));
        (before, words.join(" "))
    }

    /// Starts an agent with the keys of the target, and returns the holder over a connection that carries it.
    ///
    /// # Errors
    /// When there is no agent, or no key that can be given to it.
    pub async fn lend(&self) -> Result<Lent, TransportError> {
        let settings = self.way.settings();
        private_directory(&settings.sockets)?;
        let socket = settings.sockets.join(format!("agent-{:010x}", dice() & 0xff_ffff_ffff));
        let program = |name: &str| match settings.program.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir.join(name),
            _ => PathBuf::from(name),
        };
        let agent = Agent::start(&program("ssh-agent"), socket.clone()).await?;
        self.fill(&program("ssh-add"), &agent).await?;
        // `ssh` forwards an agent only where there is one to log in with. Keys that may go beyond a host may go there as well.
        let own = self
            .own
            .as_ref()
            .filter(|own| UnixStream::connect(own).is_ok())
            .map_or_else(|| socket.clone(), PathBuf::from);
        let carrier = Carrier { way: Arc::clone(&self.way), agent: socket, own };
        Ok(Lent { remote: Remote::new(Arc::new(carrier)), agent })
    }

    /// Gives an agent those keys of the target that are files without a passphrase.
    async fn fill(&self, program: &Path, agent: &Agent) -> Result<(), TransportError> {
        let hosts = agent.socket.with_extension("hosts");
        let unusable = |source| TransportError::File { path: hosts.clone(), source };
        std::fs::write(&hosts, format!("{}{}", self.holder.known, self.target.known)).map_err(unusable)?;
        let (near, far) = (&self.holder.name, &self.target.name);
        let onward = format!("{near}>{}@{far}", self.hop.user);
        let (mut lent, mut refused) = (0, "no file of `IdentityFile` is there".to_owned());
        for key in self.hop.identities.iter().filter(|key| Path::new(key).exists()) {
            let mut command = Command::new(program);
            let life = LIFE.as_secs().to_string();
            command.args(["-q", "-t", &life, "-H"]).arg(&hosts).args(["-h", near, "-h", &onward]).arg(key);
            // Nobody is there to be asked for a passphrase.
            command.env("SSH_AUTH_SOCK", &agent.socket).env("SSH_ASKPASS", "false").env("SSH_ASKPASS_REQUIRE", "force");
            command.stdin(Stdio::null()).kill_on_drop(true);
            match tokio::time::timeout(ASKING, command.output()).await {
                Ok(Ok(output)) if output.status.success() => lent += 1,
                Ok(Ok(output)) => refused = format!("{key}: {}", words(&output.stderr)),
                Ok(Err(error)) => refused = format!("{}: {error}", program.display()),
                Err(_) => refused = format!("{} takes too long", program.display()),
            }
        }
        drop(std::fs::remove_file(&hosts));
        if lent > 0 {
            return Ok(());
        }
        let detail = format!("no key can be lent for it, which takes one in a file without a passphrase: {refused}");
        Err(TransportError::Configuration { host: self.hop.address.clone(), detail })
    }
}

/// Returns the last words of a program, or that it has none.
fn words(stderr: &[u8]) -> String {
    let words = last_words(&String::from_utf8_lossy(stderr));
    if words.is_empty() { "it is not taken, and may have a passphrase".to_owned() } else { words }
}

impl Lent {
    /// Returns the host.
    pub const fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Ends the agent, and waits for that.
    pub async fn end(self) {
        let Self { remote, agent } = self;
        drop(remote);
        agent.end().await;
    }
}

impl Agent {
    async fn start(program: &Path, socket: PathBuf) -> Result<Self, TransportError> {
        let no_program = |source| TransportError::Program { program: program.display().to_string(), source };
        let mut command = Command::new(program);
        // It loads no libraries for whoever is at the far end.
        command.args(["-P", "none", "-a"]).arg(&socket).args(["sh", "-c", TIE]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // What a terminal sends must not end it in the midst of a transfer.
        command.process_group(0);
        let mut child = command.spawn().map_err(no_program)?;
        let (tie, out) = (child.stdin.take(), child.stdout.take());
        let agent = Self { socket, child, tie };
        let mut up = [0; 3];
        let is_up = async {
            match out {
                Some(mut out) => out.read_exact(&mut up).await.is_ok(),
                None => false,
            }
        };
        if tokio::time::timeout(ASKING, is_up).await.unwrap_or(false) {
            return Ok(agent);
        }
        agent.end().await;
        Err(no_program(std::io::Error::other("it did not come up")))
    }

    async fn end(mut self) {
        drop(self.tie.take());
        drop(tokio::time::timeout(ASKING, self.child.wait()).await);
    }
}

impl Wire for Carrier {
    fn host(&self) -> &str {
        Wire::host(&*self.way)
    }

    fn channel(&self) -> BoxFuture<'_, Result<Pipes, TransportError>> {
        self.way.carrying(&self.agent, &self.own).boxed()
    }

    fn judge(&self, words: &str) -> Option<TransportError> {
        let trouble = match read_trouble(words) {
            Trouble::Other => return None,
            // There is none that should have carried it.
            Trouble::ConnectionGone => Trouble::Unreached(Unreached::HungUp),
            trouble => trouble,
        };
        Some(TransportError::from_trouble(self.host(), trouble, last_words(words)))
    }

    fn connect(&self) -> BoxFuture<'_, Result<(), TransportError>> {
        std::future::ready(Ok(())).boxed()
    }

    fn link_state(&self) -> LinkState {
        LinkState::Closed
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}
