//! Hosts: their names, what people set for them, and what a probe found.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::batch::Flavour;
use crate::model::units::{Bytes, Price, Walltime};

/// Longest name of a host, as DNS has it.
const LONGEST_NAME: usize = 253;

/// The text does not name a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no name for a host{why}", .text.escape_debug())]
pub struct BadHostName {
    /// What was given.
    pub text: String,
    why: &'static str,
}

/// Says what keeps a text from being a name: names end up in arguments of `ssh`, in paths and in shells, so that nothing but
/// plain characters is let in, and nothing that could be taken for an option or a hidden file.
const fn fault(text: &str) -> Option<&'static str> {
    let bytes = text.as_bytes();
    let Some(first) = bytes.first() else { return Some(": it is empty") };
    if bytes.len() > LONGEST_NAME {
        return Some(": it is too long");
    }
    if matches!(*first, b'-' | b'.') {
        return Some(": it begins with `-` or `.`");
    }
    let mut at = 0;
    while at < bytes.len() {
        #[expect(clippy::indexing_slicing, reason = "the loop's condition")]
        if !(bytes[at].is_ascii_alphanumeric() || matches!(bytes[at], b'.' | b'_' | b'-')) {
            return Some(": letters, digits, `.`, `_` and `-` (A-Z, a-z, 0-9) make one");
        }
        at += 1;
    }
    None
}

macro_rules! plain_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadHostName;

            fn from_str(text: &str) -> Result<Self, BadHostName> {
                match fault(text) {
                    None => Ok(Self(text.to_owned())),
                    Some(why) => Err(BadHostName { text: text.to_owned(), why }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadHostName;

            fn try_from(text: String) -> Result<Self, BadHostName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

plain_name! {
    /// A host as csync knows it: plain characters (`[A-Za-z0-9._-]`), no `-` or `.` in front. `local` is this machine.
    HostName
}

plain_name! {
    /// A host as `ssh_config` knows it, of plain characters too: `ssh -G` runs what `Match exec` says about it.
    SshAlias
}

impl HostName {
    /// This machine's name.
    pub const LOCAL: &str = "local";

    /// Returns the name of this machine.
    pub fn local() -> Self {
        Self(Self::LOCAL.to_owned())
    }

    /// Returns whether it is this machine.
    pub fn is_local(&self) -> bool {
        self.0 == Self::LOCAL
    }
}

/// The text does not name a directory of a host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no directory of a host: {why}", .text.escape_debug())]
pub struct BadHostPath {
    /// What was given.
    pub text: String,
    why: &'static str,
}

/// A directory of a host, as people write it: absolute, or below `~` or a variable of the host (`/scratch/$USER/csync`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct HostPath(String);

impl HostPath {
    /// Returns the path as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the path as one word of a POSIX shell, which ends when a variable in it is not set: a path that lacks a part
    /// is another directory.
    pub fn to_shell(&self) -> String {
        let mut word = "\"".to_owned();
        let mut rest = self.0.as_str();
        if let Some(below) = rest.strip_prefix('~') {
            word.push_str("${HOME:?}");
            rest = below;
        }
        while let Some((before, after)) = rest.split_once('$') {
            let (name, after) = variable(after).unwrap_or(("", after));
            word.push_str(before);
            word.push_str("${");
            word.push_str(name);
            word.push_str(":?}");
            rest = after;
        }
        word.push_str(rest);
        word.push('"');
        word
    }

    /// Returns a directory below this one; `name` is of plain characters.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        Self(format!("{}/{name}", self.0.trim_end_matches('/')))
    }
}

/// Reads the name of a variable behind a `$`: `NAME` or `{NAME}`; returns what follows too.
fn variable(text: &str) -> Option<(&str, &str)> {
    let (braced, inner) = text.strip_prefix('{').map_or((false, text), |inner| (true, inner));
    let length = inner.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(inner.len());
    let (name, rest) = inner.split_at(length);
    if !name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
        return None;
    }
    if braced { rest.strip_prefix('}').map(|rest| (name, rest)) } else { Some((name, rest)) }
}

impl FromStr for HostPath {
    type Err = BadHostPath;

    fn from_str(text: &str) -> Result<Self, BadHostPath> {
        let bad = |why| Err(BadHostPath { text: text.to_owned(), why });
        if text.starts_with('~') && text != "~" && !text.starts_with("~/") {
            return bad("write the home of another user as a whole path");
        }
        if !text.starts_with(['/', '~', '$']) {
            return bad("it begins with `/`, `~/` or a variable such as `$SCRATCH`");
        }
        if text.chars().any(|letter| letter.is_control() || matches!(letter, '"' | '\'' | '`' | '\\')) {
            return bad("quotes, backslashes and control characters cannot stand in it");
        }
        if text.split('$').skip(1).any(|after| variable(after).is_none()) {
            return bad("behind `$` stands the name of a variable");
        }
        if text.split('/').any(|part| part == "..") {
            return bad("`..` cannot stand in it");
        }
        let trimmed = text.trim_end_matches('/');
        Ok(Self(if trimmed.is_empty() { "/" } else { trimmed }.to_owned()))
    }
}

impl TryFrom<String> for HostPath {
    type Error = BadHostPath;

    fn try_from(text: String) -> Result<Self, BadHostPath> {
        text.parse()
    }
}

impl From<HostPath> for String {
    fn from(path: HostPath) -> Self {
        path.0
    }
}

impl fmt::Display for HostPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// How jobs are started on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Batch {
    /// As detached processes: there is no batch system.
    None,
    /// By Slurm.
    Slurm,
    /// By PBS, open or Pro.
    Pbs,
    /// By a Grid Engine.
    Sge,
}

impl Batch {
    /// Every way, as `hosts.toml` spells it.
    pub const ALL: [(Self, &'static str); 4] =
        [(Self::Slurm, "slurm"), (Self::Pbs, "pbs"), (Self::Sge, "sge"), (Self::None, "none")];

    /// Returns the batch system, when there is one.
    pub const fn flavour(self) -> Option<Flavour> {
        match self {
            Self::None => None,
            Self::Slurm => Some(Flavour::Slurm),
            Self::Pbs => Some(Flavour::Pbs),
            Self::Sge => Some(Flavour::Sge),
        }
    }
}

impl From<Option<Flavour>> for Batch {
    fn from(flavour: Option<Flavour>) -> Self {
        match flavour {
            None => Self::None,
            Some(Flavour::Slurm) => Self::Slurm,
            Some(Flavour::Pbs) => Self::Pbs,
            Some(Flavour::Sge) => Self::Sge,
        }
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Self::ALL.iter().find(|(batch, _)| batch == self).map_or("", |(_, text)| text);
        f.pad(text)
    }
}

/// A program that runs containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerRuntime {
    /// Apptainer.
    Apptainer,
    /// Singularity, Apptainer's elder.
    Singularity,
    /// Docker.
    Docker,
    /// Podman.
    Podman,
}

impl ContainerRuntime {
    /// Every runtime, as its command is called.
    pub const ALL: [(Self, &'static str); 4] = [
        (Self::Apptainer, "apptainer"),
        (Self::Singularity, "singularity"),
        (Self::Docker, "docker"),
        (Self::Podman, "podman"),
    ];
}

impl fmt::Display for ContainerRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = Self::ALL.iter().find(|(runtime, _)| runtime == self).map_or("", |(_, text)| text);
        f.pad(text)
    }
}

/// Whether the internet can be reached; none where that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Internet {
    /// From the login node.
    pub login: Option<bool>,
    /// From compute nodes.
    pub compute: Option<bool>,
}

/// What may be done on a login node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoginNode {
    /// Nothing heavy runs there.
    #[default]
    Light,
    /// Whatever a person likes.
    Free,
}

impl LoginNode {
    /// Every choice, as `hosts.toml` spells it.
    pub const ALL: [(Self, &'static str); 2] = [(Self::Light, "light"), (Self::Free, "free")];
}

/// What coding agents may start on a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Agents {
    /// What a person agreed to.
    #[default]
    Ask,
    /// Anything.
    Allow,
    /// Nothing.
    Deny,
}

impl Agents {
    /// Every choice, as `hosts.toml` spells it.
    pub const ALL: [(Self, &'static str); 3] = [(Self::Ask, "ask"), (Self::Allow, "allow"), (Self::Deny, "deny")];
}

/// What csync may do to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// What may run on its login node.
    pub login_node: LoginNode,
    /// Shortest time between two queries of its batch system.
    #[serde(with = "seconds")]
    pub poll_min: Duration,
    /// What coding agents may start there.
    pub agents: Agents,
    /// Most connections that are opened in a minute.
    pub connections_per_minute: u32,
    /// Whether something outside the site may be asked from there, to see whether the internet can be reached. An engine before this
    /// kept hosts without it.
    #[serde(default = "Policy::asks")]
    pub ask_internet: bool,
}

impl Policy {
    const fn asks() -> bool {
        true
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            login_node: LoginNode::default(),
            poll_min: Duration::from_secs(1),
            agents: Agents::default(),
            connections_per_minute: 6,
            ask_internet: Self::asks(),
        }
    }
}

/// What people set for a partition, over what the batch system says of it. None of it is set where nobody did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PartitionSettings {
    /// Longest walltime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub walltime: Option<Walltime>,
    /// Walltime of a job that asks for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_walltime: Option<Walltime>,
    /// Nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<u32>,
    /// Cores of a node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cores: Option<u32>,
    /// Memory of a node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
    /// GPUs of a node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<u32>,
}

/// Who said a value, the weakest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Nobody: what csync does when nothing is said.
    #[default]
    BuiltIn,
    /// The host, when it was probed.
    Probed,
    /// The site file of this name.
    Site(String),
    /// `hosts.toml`, in this line.
    File(u32),
    /// The workflow.
    Workflow,
    /// The command line.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.pad("built-in"),
            Self::Probed => f.pad("probed"),
            Self::Site(name) => f.pad(&format!("site {name}")),
            Self::File(line) => f.pad(&format!("hosts.toml:{line}")),
            Self::Workflow => f.pad("workflow"),
            Self::CommandLine => f.pad("command line"),
        }
    }
}

/// A cluster that is made up on this machine, for the tour and for trying workflows out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Simulated {
    /// Its nodes.
    pub nodes: u32,
    /// Cores of a node.
    pub cores: u32,
    /// Memory of a node.
    pub memory: Bytes,
    /// How long a job waits in the queue, even where there is room.
    pub wait: Walltime,
    /// How long a minute of walltime lasts.
    pub minute: Walltime,
}

impl Default for Simulated {
    fn default() -> Self {
        Self { nodes: 3, cores: 4, memory: Bytes::gib(8), wait: Walltime(0), minute: Walltime(60) }
    }
}

impl fmt::Display for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, cores, memory, wait, minute } = self;
        let s = |count: u32| if count == 1 { "" } else { "s" };
        let (many, more) = (s(*nodes), s(*cores));
        write!(f, "{nodes} node{many}, {cores} core{more}, {memory} each; {wait} in the queue, {minute} a minute")
    }
}

/// A host with everything that holds for it, whoever said it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub name: HostName,
    /// Its name in `ssh_config`; none for this machine itself.
    pub ssh: Option<SshAlias>,
    /// How jobs are started there; none as long as nobody said and it was not probed.
    pub batch: Option<Batch>,
    /// The site file that it follows.
    pub site: Option<String>,
    /// Where job directories live.
    pub scratch: Option<HostPath>,
    /// Words to choose it by (`on = "tag:gpu"`).
    pub tags: Vec<String>,
    /// What its jobs are charged to.
    pub account: Option<String>,
    /// Most jobs of ours that are queued or running there at once.
    pub max_jobs: Option<u32>,
    /// What a core costs per hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Price>,
    /// Outputs larger than this stay there.
    pub keep_above: Bytes,
    /// What runs containers there, the preferred one first.
    pub containers: Vec<ContainerRuntime>,
    /// Whether the internet can be reached from there.
    pub internet: Internet,
    /// Directories that it shares with its compute nodes.
    pub filesystems: Vec<HostPath>,
    /// Whether it only holds data: no job is started there.
    pub transfer_only: bool,
    /// What it is made up of, where it is no real host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simulated: Option<Simulated>,
    /// What csync may do to it.
    pub policy: Policy,
    /// What people set for its partitions, by name.
    pub partitions: BTreeMap<String, PartitionSettings>,
    /// Who said a value, by its key (`policy.poll_min`); built-in when it is not here.
    pub origins: BTreeMap<String, Origin>,
}

impl Host {
    /// Makes a host of which nothing was said but its name: `ssh_config` knows it by the same one.
    pub fn new(name: HostName) -> Self {
        let ssh = (!name.is_local()).then(|| SshAlias(name.0.clone()));
        // This machine needs no batch system to start processes.
        let batch = name.is_local().then_some(Batch::None);
        Self {
            name,
            ssh,
            batch,
            site: None,
            scratch: None,
            tags: Vec::new(),
            account: None,
            max_jobs: None,
            rate: None,
            keep_above: Bytes::gib(1),
            containers: Vec::new(),
            internet: Internet::default(),
            filesystems: Vec::new(),
            transfer_only: false,
            simulated: None,
            policy: Policy::default(),
            partitions: BTreeMap::new(),
            origins: BTreeMap::new(),
        }
    }

    /// Returns who said a value.
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or_default()
    }
}

/// What is known of the way between two hosts that cannot be derived from `ssh_config`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Whether the first reaches the second itself, with a key or an agent that a person opted in.
    pub direct: bool,
    /// Whether it does so with a key of this machine, which an agent of one transfer uses for the second alone.
    pub agent: bool,
}

/// Links by the hosts that they go from and to.
pub type Links = BTreeMap<(HostName, HostName), Link>;

/// Durations as seconds.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(duration.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_is_one_node() {
        let one = Simulated { nodes: 1, cores: 1, ..Simulated::default() };
        assert!(one.to_string().starts_with("1 node, 1 core, 8G each; "), "{one}");
        assert!(Simulated::default().to_string().starts_with("3 nodes, 4 cores, "), "{}", Simulated::default());
    }

    #[test]
    fn names_are_plain() {
        for good in ["hpc", "local", "a.b-c_d", "9", "Login1.cluster.example.org"] {
            assert_eq!(good.parse::<HostName>().unwrap().to_string(), good);
            assert!(good.parse::<SshAlias>().is_ok());
        }
        let long = "a".repeat(254);
        for bad in ["", "-oProxyCommand=x", ".ssh", "a b", "a;b", "a\nb", "$(id)", "é", "a/b", "u@h", long.as_str()] {
            let error = bad.parse::<HostName>().unwrap_err();
            assert!(error.to_string().contains("no name for a host"), "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
            assert!(bad.parse::<SshAlias>().is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<HostName>("\"-x\"").is_err());
        assert!(HostName::local().is_local());
    }

    #[test]
    fn directories_are_filled_in_by_the_host_and_by_nothing_else() {
        for (text, shell) in [
            ("/scratch/$USER/csync", "\"/scratch/${USER:?}/csync\""),
            ("${SCRATCH}/a b;c", "\"${SCRATCH:?}/a b;c\""),
            ("~", "\"${HOME:?}\""),
            ("~/x/", "\"${HOME:?}/x\""),
            ("/", "\"/\""),
            ("/a_$B$C", "\"/a_${B:?}${C:?}\""),
        ] {
            assert_eq!(text.parse::<HostPath>().unwrap().to_shell(), shell, "{text}");
        }
        for bad in
            ["", "x", "./x", "~ada/x", "/a`id`", "/$(id)", "/a\"b", "/a\nb", "/$", "/${A:-b}", "/${A", "/a/../b", "-x"]
        {
            assert!(bad.parse::<HostPath>().is_err(), "{bad}");
        }
        assert_eq!("/a/".parse::<HostPath>().unwrap().join("jobs").as_str(), "/a/jobs");
    }

    #[test]
    fn a_host_of_which_nothing_is_said_goes_by_its_own_name() {
        let host = Host::new("hpc".parse().unwrap());
        assert_eq!((host.ssh.unwrap().as_str(), host.batch), ("hpc", None));
        let local = Host::new(HostName::local());
        assert_eq!((local.ssh, local.batch), (None, Some(Batch::None)));
    }

    #[test]
    fn hosts_go_through_json() {
        let mut host = Host::new("hpc".parse().unwrap());
        host.origins.insert("tags".to_owned(), Origin::File(3));
        host.origins.insert("site".to_owned(), Origin::Site("lab".to_owned()));
        host.partitions.insert("gpu".to_owned(), PartitionSettings { gpus: Some(4), ..PartitionSettings::default() });
        let json = serde_json::to_string(&host).unwrap();
        assert_eq!(serde_json::from_str::<Host>(&json).unwrap(), host);
    }

    #[test]
    fn the_stronger_word_comes_later() {
        let order = [
            Origin::BuiltIn,
            Origin::Probed,
            Origin::Site("z".to_owned()),
            Origin::File(1),
            Origin::Workflow,
            Origin::CommandLine,
        ];
        assert!(order.is_sorted());
        let words: Vec<String> = order.iter().map(ToString::to_string).collect();
        assert_eq!(words.join(", "), "built-in, probed, site z, hosts.toml:1, workflow, command line");
    }

    #[test]
    fn every_choice_has_one_word() {
        for (batch, text) in Batch::ALL {
            assert_eq!((batch.to_string().as_str(), Batch::from(batch.flavour())), (text, batch));
            assert_eq!(serde_json::to_string(&batch).unwrap(), format!("\"{text}\""));
        }
        for (runtime, text) in ContainerRuntime::ALL {
            assert_eq!(serde_json::to_string(&runtime).unwrap(), format!("\"{text}\""));
        }
    }
}
