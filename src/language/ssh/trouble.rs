//! What `ssh` says on its standard error when it fails, read into what went wrong.

use std::fmt;

/// Why a host could not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreached {
    /// Nothing listens there.
    Refused,
    /// There is no way there.
    NoRoute,
    /// No answer in time.
    TimedOut,
    /// The name is unknown.
    Unresolved,
    /// The other side hung up before anybody was authenticated.
    HungUp,
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "the connection was refused",
            Self::NoRoute => "there is no route to it",
            Self::TimedOut => "it did not answer in time",
            Self::Unresolved => "its name cannot be resolved",
            Self::HungUp => "it hung up",
        })
    }
}

/// What is wrong with the key that a host showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostKeyTrouble {
    /// The host is known by other keys.
    Changed,
    /// The host is not known.
    Unknown,
    /// The key is marked as revoked.
    Revoked,
    /// Its certificate is not valid for this host now.
    BadCertificate,
}

impl fmt::Display for HostKeyTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Changed => "its host key is not the one that is known",
            Self::Unknown => "its host key is not known",
            Self::Revoked => "its host key is revoked",
            Self::BadCertificate => "its host certificate is not valid here",
        })
    }
}

/// What made `ssh` fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The host could not be reached.
    Unreached(Unreached),
    /// Its key is not trusted.
    HostKey(HostKeyTrouble),
    /// No key was accepted; a person could still answer a question.
    NeedsLogin,
    /// Nothing that we have was accepted.
    Denied,
    /// The other side allows no further channel.
    ChannelRefused,
    /// The connection that should have carried this is gone.
    ConnectionGone,
    /// The configuration or the command line was not understood.
    Configuration,
    /// Something else.
    Other,
}

/// Signs of trouble, the most telling first: a changed key is followed by "verification failed", and a jump host that hangs up
/// by the target's end.
const SIGNS: [(&str, Trouble); 26] = [
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", Trouble::HostKey(HostKeyTrouble::Changed)),
    ("REVOKED HOST KEY DETECTED", Trouble::HostKey(HostKeyTrouble::Revoked)),
    ("is marked as revoked", Trouble::HostKey(HostKeyTrouble::Revoked)),
    ("Certificate invalid", Trouble::HostKey(HostKeyTrouble::BadCertificate)),
    ("certificate not yet valid", Trouble::HostKey(HostKeyTrouble::BadCertificate)),
    ("host key is known for", Trouble::HostKey(HostKeyTrouble::Unknown)),
    ("Host key verification failed", Trouble::HostKey(HostKeyTrouble::Unknown)),
    ("Session open refused by peer", Trouble::ChannelRefused),
    ("administratively prohibited", Trouble::ChannelRefused),
    ("Permission denied (", Trouble::Denied),
    ("Too many authentication failures", Trouble::Denied),
    ("Bad configuration option", Trouble::Configuration),
    ("bad configuration options", Trouble::Configuration),
    ("Bad owner or permissions", Trouble::Configuration),
    ("command-line line 0", Trouble::Configuration),
    ("Connection refused", Trouble::Unreached(Unreached::Refused)),
    ("No route to host", Trouble::Unreached(Unreached::NoRoute)),
    ("Network is unreachable", Trouble::Unreached(Unreached::NoRoute)),
    ("timed out", Trouble::Unreached(Unreached::TimedOut)),
    ("Timeout, server", Trouble::Unreached(Unreached::TimedOut)),
    ("Could not resolve hostname", Trouble::Unreached(Unreached::Unresolved)),
    ("Name or service not known", Trouble::Unreached(Unreached::Unresolved)),
    ("Control socket connect", Trouble::ConnectionGone),
    ("mux_client_", Trouble::ConnectionGone),
    ("Connection closed by", Trouble::Unreached(Unreached::HungUp)),
    ("Connection reset by", Trouble::Unreached(Unreached::HungUp)),
];

/// Methods of authentication that a person answers.
const ASKING: [&str; 2] = ["keyboard-interactive", "password"];

/// Says what a host would ask a person for, by what `ssh` wrote when nobody was there.
pub fn asks_for(text: &str) -> Option<&'static str> {
    let (_, methods) = text.rsplit_once("Permission denied (")?;
    if methods.contains("keyboard-interactive") {
        Some("it asks questions")
    } else {
        methods.contains("password").then_some("it asks for a password")
    }
}

/// Reads what `ssh` wrote to its standard error.
///
/// "Permission denied" is [`Trouble::NeedsLogin`] where the host would have asked a person something.
pub fn read_trouble(text: &str) -> Trouble {
    let found = SIGNS.iter().find(|(sign, _)| text.contains(sign)).map(|(_, trouble)| *trouble);
    match found {
        Some(Trouble::Denied) => {
            let methods = text.rsplit_once("Permission denied (").map_or("", |(_, rest)| rest);
            if ASKING.iter().any(|method| methods.contains(method)) { Trouble::NeedsLogin } else { Trouble::Denied }
        }
        Some(trouble) => trouble,
        None if text.contains("Connection closed") || text.contains("kex_exchange_identification") => {
            Trouble::Unreached(Unreached::HungUp)
        }
        None => Trouble::Other,
    }
}

/// Returns the last lines of what `ssh` said, on one line and without the art of a changed key's warning.
pub fn last_words(text: &str) -> String {
    let plain = |line: &&str| !line.is_empty() && !line.starts_with('@') && !line.starts_with("debug");
    let mut lines: Vec<&str> = text.lines().map(str::trim).filter(plain).collect();
    if lines.len() > 3 {
        lines.drain(..lines.len() - 3);
    }
    let clean = |letter: char| if letter.is_control() { ' ' } else { letter };
    lines.join("; ").chars().map(clean).take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_said_is_told_apart() {
        let cases = [
            ("ssh: connect to host h port 1: Connection refused", Trouble::Unreached(Unreached::Refused)),
            ("ssh: connect to host h port 22: Connection timed out", Trouble::Unreached(Unreached::TimedOut)),
            ("ssh: connect to host h port 22: No route to host", Trouble::Unreached(Unreached::NoRoute)),
            ("ssh: Could not resolve hostname h: Name or service not known", Trouble::Unreached(Unreached::Unresolved)),
            ("kex_exchange_identification: Connection closed by remote host", Trouble::Unreached(Unreached::HungUp)),
            (
                "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
                Trouble::HostKey(HostKeyTrouble::Changed),
            ),
            (
                "@ WARNING: REVOKED HOST KEY DETECTED! @\nHost key verification failed.",
                Trouble::HostKey(HostKeyTrouble::Revoked),
            ),
            (
                "No ED25519 host key is known for [h]:1 and you have requested strict checking.\r\nHost key verification failed.",
                Trouble::HostKey(HostKeyTrouble::Unknown),
            ),
            ("me@h: Permission denied (publickey).", Trouble::Denied),
            ("me@h: Permission denied (publickey,keyboard-interactive).", Trouble::NeedsLogin),
            ("me@h: Permission denied (publickey,password).", Trouble::NeedsLogin),
            (
                "mux_client_request_session: session request failed: Session open refused by peer",
                Trouble::ChannelRefused,
            ),
            ("mux_client_request_session: read from master failed: Broken pipe", Trouble::ConnectionGone),
            ("Control socket connect(/s): No such file or directory", Trouble::ConnectionGone),
            ("c: line 3: Bad configuration option: nonsense", Trouble::Configuration),
            ("something new", Trouble::Other),
        ];
        for (text, expected) in cases {
            assert_eq!(read_trouble(text), expected, "{text}");
        }
    }

    #[test]
    fn last_words_are_one_clean_line() {
        assert_eq!(last_words("@@@@\ndebug1: x\na\r\nb\x1b[1m\nc\nd\n"), "b [1m; c; d");
        assert_eq!(last_words(""), "");
    }
}
