//! One connection of a way to a host, with all that this program's own SSH must know to make it.

use std::time::Duration;

use crate::language::ssh::known_hosts::Place;
use crate::language::ssh::{Options, Person};

/// A way of logging in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Keys and certificates.
    PublicKey,
    /// Questions, answered.
    KeyboardInteractive,
    /// A password.
    Password,
}

/// The methods, the key that switches each, and the name that `PreferredAuthentications` has for it.
const METHODS: [(Method, &str, &str); 3] = [
    (Method::PublicKey, "pubkeyauthentication", "publickey"),
    (Method::KeyboardInteractive, "kbdinteractiveauthentication", "keyboard-interactive"),
    (Method::Password, "passwordauthentication", "password"),
];

/// One connection of a way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The address to connect to.
    pub address: String,
    /// The port.
    pub port: u16,
    /// The user there.
    pub user: String,
    /// The name in `known_hosts`.
    pub place: Place,
    /// What a host certificate must be made out to.
    pub principal: String,
    /// The files of known hosts.
    pub known_hosts: Vec<String>,
    /// The files of private keys; they need not exist.
    pub identities: Vec<String>,
    /// The files of certificates beside those that lie next to the keys.
    pub certificates: Vec<String>,
    /// The socket of an agent.
    pub agent: Option<String>,
    /// Whether an agent's other keys stay out.
    pub identities_only: bool,
    /// Variables for what runs there, as far as the host lets them in.
    pub env: Vec<(String, String)>,
    /// The ways of logging in that are tried.
    pub methods: Vec<Method>,
    /// How often a person is asked for the same thing: a passphrase, answers, a password.
    pub prompts: u32,
    /// How long connecting may take, where it is said.
    pub connect_timeout: Option<Duration>,
    /// How often a silent host is asked whether it is there, where it is said.
    pub alive_interval: Option<Duration>,
    /// How many of these questions may go unanswered.
    pub alive_count: usize,
}

impl Hop {
    /// Takes what matters from a host's options. `agent` is the value of `SSH_AUTH_SOCK`, or of the variable that `IdentityAgent`
    /// names ([`Options::agent_variable`]); `here` are the variables that are set.
    ///
    /// # Errors
    /// Says what is not understood; then the system's `ssh` is the one to ask.
    pub fn from_options(
        options: &Options,
        person: &Person,
        agent: Option<&str>,
        here: &[(String, String)],
    ) -> Result<Self, String> {
        let odd =
            |what: &'static str| move |value: String| format!("{what} has a token that csync does not know: {value}");
        let address = options.host_name().ok_or("HostName is not known")?.to_owned();
        let port = options.port();
        let alias = options.get("hostkeyalias");
        let agent = match options.all("identityagent").first().map(String::as_str) {
            None | Some("SSH_AUTH_SOCK") => agent.map(str::to_owned),
            Some("none") => None,
            Some(_) if options.agent_variable().is_some() => agent.map(str::to_owned),
            Some(path) => Some(options.expand(path, person).ok_or_else(|| odd("IdentityAgent")(path.to_owned()))?),
        };
        let mut known_hosts = options.paths("userknownhostsfile", person).map_err(odd("UserKnownHostsFile"))?;
        known_hosts.extend(options.paths("globalknownhostsfile", person).map_err(odd("GlobalKnownHostsFile"))?);
        let methods = options.get("preferredauthentications");
        let tried = |key: &str, method: &str| {
            !options.is_off(key) && methods.is_none_or(|methods| methods.split(',').any(|one| one == method))
        };
        let seconds = |key: &str| options.number(key).filter(|seconds| *seconds > 0).map(Duration::from_secs);
        Ok(Self {
            place: Place::new(&address, port, alias),
            principal: alias.unwrap_or(&address).to_ascii_lowercase(),
            address,
            port,
            user: options.get("user").ok_or("User is not known")?.to_owned(),
            known_hosts,
            identities: options.files("identityfile", person).map_err(odd("IdentityFile"))?,
            certificates: options.files("certificatefile", person).map_err(odd("CertificateFile"))?,
            agent,
            identities_only: options.is_on("identitiesonly"),
            env: options.environment(here),
            methods: METHODS.iter().filter(|(_, key, name)| tried(key, name)).map(|(method, ..)| *method).collect(),
            prompts: options
                .number("numberofpasswordprompts")
                .and_then(|count| u32::try_from(count).ok())
                .filter(|count| *count > 0)
                .unwrap_or(3),
            connect_timeout: seconds("connecttimeout"),
            alive_interval: seconds("serveraliveinterval"),
            alive_count: options
                .number("serveralivecountmax")
                .and_then(|count| usize::try_from(count).ok())
                .unwrap_or(3),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "host hpc\nuser me\nhostname 10.0.0.1\nport 2222\nidentityfile ~/.ssh/k\nuserknownhostsfile ~/kh /b\n\
        globalknownhostsfile /g\nidentitiesonly yes\nserveraliveinterval 0\nconnecttimeout 7\n";

    #[test]
    fn options_become_a_hop() {
        let person = Person { home: "/h".into(), user: "u".into(), uid: 1 };
        let hop =
            |more: &str| Hop::from_options(&Options::read(&format!("{TEXT}{more}")), &person, Some("/agent"), &[]);
        let plain = hop("").unwrap();
        assert_eq!(plain.known_hosts, ["/h/kh", "/b", "/g"]);
        assert_eq!(
            (plain.identities.as_slice(), plain.agent.as_deref()),
            (["/h/.ssh/k".to_owned()].as_slice(), Some("/agent"))
        );
        assert_eq!(
            (plain.connect_timeout, plain.alive_interval, plain.alive_count),
            (Some(Duration::from_secs(7)), None, 3)
        );
        assert_eq!(plain.place.name(), "[10.0.0.1]:2222");
        assert_eq!(plain.methods, [Method::PublicKey, Method::KeyboardInteractive, Method::Password]);
        assert!(plain.identities_only);
        assert_eq!((plain.prompts, hop("numberofpasswordprompts 1\n").unwrap().prompts), (3, 1));
        assert_eq!(hop("identityagent none\n").unwrap().agent, None);
        assert_eq!(hop("identityagent $MINE\n").unwrap().agent.as_deref(), Some("/agent"), "what the variable says");
        assert!(hop("identityagent ${MINE}/a\n").unwrap_err().contains("IdentityAgent"));
        assert_eq!(hop("setenv A=1\n").unwrap().env, [("A".to_owned(), "1".to_owned())]);
        assert_eq!(hop("identityagent %d/a\n").unwrap().agent.as_deref(), Some("/h/a"));
        let alias = hop("hostkeyalias Cluster\npreferredauthentications publickey\n").unwrap();
        assert_eq!((alias.place.name(), alias.principal.as_str(), alias.methods.len()), ("cluster", "cluster", 1));
        assert!(hop("identityfile %X/k\n").unwrap_err().contains("IdentityFile"));
    }
}
