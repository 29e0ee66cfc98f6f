//! Where an SSH connection goes.

use std::fmt;
use std::str::FromStr;

/// A destination as `ssh` and `ProxyJump` take it: `[user@]host[:port]`, or an alias of `ssh_config`.
///
/// It is made of plain characters alone: `ssh -G` runs what `Match exec` says about a name, tokens of it end up in shells, and
/// a leading `-` would be an option.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    user: Option<String>,
    host: String,
    port: Option<u16>,
}

/// The text is not a destination.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a destination of plain characters: [user@]host[:port]", .0.escape_debug())]
pub struct BadDestination(pub String);

impl Destination {
    /// Returns the host or alias.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the user that the destination itself names.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Returns the port that the destination itself names.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// Returns the arguments of `ssh` that name this destination, host last.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        if let Some(user) = &self.user {
            arguments.extend(["-l".to_owned(), user.clone()]);
        }
        if let Some(port) = self.port {
            arguments.extend(["-p".to_owned(), port.to_string()]);
        }
        arguments.extend(["--".to_owned(), self.host.clone()]);
        arguments
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.port {
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

impl FromStr for Destination {
    type Err = BadDestination;

    fn from_str(text: &str) -> Result<Self, BadDestination> {
        let bad = || BadDestination(text.to_owned());
        let bare = text.strip_prefix("ssh://").unwrap_or(text);
        let (user, address) = match bare.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, bare),
        };
        let (host, port) = split_port(address).ok_or_else(bad)?;
        if !is_host(host) || user.is_some_and(|user| !is_user(user)) {
            return Err(bad());
        }
        let port = port.map(|port| port.parse().ok().filter(|port| *port > 0).ok_or_else(bad)).transpose()?;
        Ok(Self { user: user.map(str::to_owned), host: host.to_owned(), port })
    }
}

/// Splits `host:port`, `[host]:port`, `[host]`, or a bare IPv6 address.
fn split_port(address: &str) -> Option<(&str, Option<&str>)> {
    if let Some(inner) = address.strip_prefix('[') {
        let (host, rest) = inner.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    match address.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Some((address, None)),
        Some((host, port)) => Some((host, Some(port))),
        None => Some((address, None)),
    }
}

fn is_host(host: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':');
    !host.is_empty() && host.len() <= 253 && !host.starts_with(['-', '.']) && host.bytes().all(plain)
}

fn is_user(user: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+' | b'@');
    !user.is_empty() && !user.starts_with('-') && user.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn destinations_print_as_they_were_read() {
        for (text, arguments) in [
            ("hpc", "-- hpc"),
            ("me@hpc.example.org", "-l me -- hpc.example.org"),
            ("me@hpc:2222", "-l me -p 2222 -- hpc"),
            ("me@REALM@hpc", "-l me@REALM -- hpc"),
            ("[::1]:22", "-p 22 -- ::1"),
            ("fe80::1", "-- fe80::1"),
        ] {
            let destination: Destination = text.parse().unwrap();
            assert_eq!(destination.arguments().join(" "), arguments, "{text}");
            assert_eq!(destination.to_string(), text);
        }
        assert_eq!("ssh://me@hpc:22".parse::<Destination>().unwrap().to_string(), "me@hpc:22");
    }

    #[test]
    fn what_could_be_an_option_or_a_command_is_refused() {
        for bad in [
            "",
            "-oProxyCommand=id",
            "@hpc",
            "-l@hpc",
            "hpc;id",
            "$(id)",
            "a b",
            "hpc\n",
            "`id`",
            "hpc:",
            "hpc:0",
            "hpc:x",
            "hpc:99999",
            "*",
            "[::1",
            "[::1]x",
            ".hpc",
            "a'b",
            "a|b",
            "%h",
            "é",
        ] {
            assert_eq!(bad.parse::<Destination>(), Err(BadDestination(bad.to_owned())));
        }
    }

    proptest! {
        #[test]
        fn nothing_but_plain_characters_comes_through(text in "\\PC{0,20}") {
            if let Ok(destination) = text.parse::<Destination>() {
                let host = destination.arguments().pop().unwrap();
                prop_assert!(!host.starts_with('-') && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:".contains(&b)));
            }
        }
    }
}
