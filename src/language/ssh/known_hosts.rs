//! `known_hosts` as OpenSSH reads it: hashed names, patterns, `@cert-authority`, `@revoked`, other ports.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use crate::language::base64;

/// What files of known hosts say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownHosts {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    marker: Marker,
    names: Names,
    key: HostKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    None,
    Authority,
    Revoked,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Names {
    /// `|1|salt|hash`.
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
    /// Patterns, lower-case; whether they are negated.
    Patterns(Vec<(bool, String)>),
}

/// A public key as it is written: its type, and its text in base 64.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostKey {
    /// `ssh-ed25519`, `ecdsa-sha2-nistp256`, `ssh-rsa`, ...
    pub kind: String,
    /// The rest.
    pub text: String,
}

/// The name under which a host is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    name: String,
    /// The name without its port: a key that is known by it is trusted on other ports too.
    bare: Option<String>,
}

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the host's.
    Trusted,
    /// The host has others.
    Changed,
    /// The host is not known.
    Unknown,
    /// It must not be trusted.
    Revoked,
}

impl Place {
    /// Makes the name of a host: its alias as it is, else its address, with the port where that is not 22.
    pub fn new(host_name: &str, port: u16, alias: Option<&str>) -> Self {
        if let Some(alias) = alias {
            return Self { name: alias.to_ascii_lowercase(), bare: None };
        }
        let host = host_name.to_ascii_lowercase();
        if port == 22 {
            return Self { name: host, bare: None };
        }
        Self { name: format!("[{host}]:{port}"), bare: Some(host) }
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl KnownHosts {
    /// Adds what a file says; what cannot be read is passed over, as OpenSSH does.
    pub fn add(&mut self, text: &str) {
        self.entries.extend(text.lines().filter_map(read_line));
    }

    /// Judges a key that a host showed.
    pub fn judge(&self, place: &Place, key: &HostKey) -> Verdict {
        if self.entries.iter().any(|entry| entry.marker == Marker::Revoked && entry.key == *key && entry.is_for(place))
        {
            return Verdict::Revoked;
        }
        let mut known = false;
        for entry in self.plain(&place.name) {
            if entry.key == *key {
                return Verdict::Trusted;
            }
            known = true;
        }
        if known {
            return Verdict::Changed;
        }
        let bare = place.bare.as_deref().is_some_and(|bare| self.plain(bare).any(|entry| entry.key == *key));
        if bare { Verdict::Trusted } else { Verdict::Unknown }
    }

    /// Judges the key that signed a host's certificate. It is never [`Verdict::Changed`]: a host may be known by its key too.
    pub fn judge_authority(&self, place: &Place, authority: &HostKey) -> Verdict {
        let is_marked = |marker| {
            self.entries.iter().any(|entry| entry.marker == marker && entry.key == *authority && entry.is_for(place))
        };
        if is_marked(Marker::Revoked) {
            Verdict::Revoked
        } else if is_marked(Marker::Authority) {
            Verdict::Trusted
        } else {
            Verdict::Unknown
        }
    }

    /// Returns whether a host may show a certificate.
    pub fn has_authority(&self, place: &Place) -> bool {
        self.entries.iter().any(|entry| entry.marker == Marker::Authority && entry.is_for(place))
    }

    /// Returns the types of the keys that a host is known by: it is asked for one of these, or a man in the middle could show
    /// a type that is not known yet.
    pub fn kinds(&self, place: &Place) -> Vec<String> {
        let mut kinds: Vec<String> = self.plain(&place.name).map(|entry| entry.key.kind.clone()).collect();
        if kinds.is_empty()
            && let Some(bare) = &place.bare
        {
            kinds = self.plain(bare).map(|entry| entry.key.kind.clone()).collect();
        }
        kinds.dedup();
        kinds
    }

    /// Writes what is known of a host under a name, as a file of known hosts: its keys, and the authorities that vouch for it. What
    /// must not be trusted is among them only as that. Nothing where it is not known.
    pub fn under(&self, place: &Place, name: &str) -> String {
        let mut own: Vec<&Entry> = self.plain(&place.name).collect();
        if let Some(bare) = place.bare.as_deref().filter(|_| own.is_empty()) {
            own.extend(self.plain(bare));
        }
        let marked = |marker| self.entries.iter().filter(move |entry| entry.marker == marker && entry.is_for(place));
        own.extend(marked(Marker::Authority));
        own.retain(|entry| !marked(Marker::Revoked).any(|revoked| revoked.key == entry.key));
        if own.is_empty() {
            return String::new();
        }
        own.extend(marked(Marker::Revoked));
        let line = |entry: &Entry| {
            let first = match entry.marker {
                Marker::None => "",
                Marker::Authority => "@cert-authority ",
                Marker::Revoked => "@revoked ",
            };
            format!("{first}{name} {} {}\n", entry.key.kind, entry.key.text)
        };
        own.into_iter().map(line).collect()
    }

    fn plain<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.marker == Marker::None && entry.names.has(name))
    }
}

impl Entry {
    fn is_for(&self, place: &Place) -> bool {
        self.names.has(&place.name) || place.bare.as_deref().is_some_and(|bare| self.names.has(bare))
    }
}

impl Names {
    fn has(&self, name: &str) -> bool {
        match self {
            Self::Hashed { salt, hash } => {
                let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(salt) else { return false };
                mac.update(name.as_bytes());
                mac.verify_slice(hash).is_ok()
            }
            Self::Patterns(patterns) => {
                let mut found = false;
                for (negated, pattern) in patterns {
                    if matches(pattern.as_bytes(), name.as_bytes()) {
                        if *negated {
                            return false;
                        }
                        found = true;
                    }
                }
                found
            }
        }
    }
}

/// Returns whether a name matches a pattern of `*` and `?`.
pub fn is_match(pattern: &str, name: &str) -> bool {
    matches(pattern.as_bytes(), name.as_bytes())
}

/// Matches `*` and `?`, in time linear in pattern times name.
pub(super) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || Some(byte) == name.get(n) => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, n) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

fn read_line(line: &str) -> Option<Entry> {
    let mut words = line.split_ascii_whitespace();
    let mut names = words.next().filter(|word| !word.starts_with('#'))?;
    let marker = match names {
        "@cert-authority" => Marker::Authority,
        "@revoked" => Marker::Revoked,
        word if word.starts_with('@') => return None,
        _ => Marker::None,
    };
    if marker != Marker::None {
        names = words.next()?;
    }
    let key = HostKey { kind: words.next()?.to_owned(), text: words.next()?.to_owned() };
    Some(Entry { marker, names: read_names(names)?, key })
}

fn read_names(text: &str) -> Option<Names> {
    if let Some(hashed) = text.strip_prefix("|1|") {
        let (salt, hash) = hashed.split_once('|')?;
        return Some(Names::Hashed { salt: base64::decode(salt)?, hash: base64::decode(hash)? });
    }
    if text.starts_with('|') {
        return None;
    }
    let pattern = |text: &str| match text.strip_prefix('!') {
        Some(rest) => (true, rest.to_ascii_lowercase()),
        None => (false, text.to_ascii_lowercase()),
    };
    Some(Names::Patterns(text.split(',').map(pattern).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: &str, text: &str) -> HostKey {
        HostKey { kind: kind.to_owned(), text: text.to_owned() }
    }

    fn known(text: &str) -> KnownHosts {
        let mut known = KnownHosts::default();
        known.add(text);
        known
    }

    #[test]
    fn keys_are_judged() {
        let ours = key("ssh-ed25519", "AAAA");
        let cases = [
            ("h ssh-ed25519 AAAA", 22, Verdict::Trusted),
            ("H ssh-ed25519 AAAA comment here", 22, Verdict::Trusted),
            ("a,h,b ssh-ed25519 AAAA", 22, Verdict::Trusted),
            ("h* ssh-ed25519 AAAA", 22, Verdict::Trusted),
            ("? ssh-ed25519 AAAA", 22, Verdict::Trusted),
            ("*,!h ssh-ed25519 AAAA", 22, Verdict::Unknown),
            ("!h,* ssh-ed25519 AAAA", 22, Verdict::Unknown),
            ("h ssh-ed25519 BBBB", 22, Verdict::Changed),
            ("h ssh-rsa CCCC", 22, Verdict::Changed),
            ("h ssh-rsa CCCC\nh ssh-ed25519 AAAA", 22, Verdict::Trusted),
            ("x ssh-ed25519 AAAA", 22, Verdict::Unknown),
            ("# h ssh-ed25519 AAAA\n\n  ", 22, Verdict::Unknown),
            ("h ssh-ed25519", 22, Verdict::Unknown),
            ("[h]:2222 ssh-ed25519 AAAA", 2222, Verdict::Trusted),
            ("[h]:2222 ssh-ed25519 BBBB", 2222, Verdict::Changed),
            ("[h]:* ssh-ed25519 AAAA", 2222, Verdict::Trusted),
            ("h ssh-ed25519 AAAA", 2222, Verdict::Trusted),
            ("h ssh-ed25519 BBBB", 2222, Verdict::Unknown),
            ("[h]:2222 ssh-ed25519 AAAA", 22, Verdict::Unknown),
            ("h ssh-ed25519 AAAA\n@revoked * ssh-ed25519 AAAA", 22, Verdict::Revoked),
            ("@revoked x ssh-ed25519 AAAA\nh ssh-ed25519 AAAA", 22, Verdict::Trusted),
            ("@cert-authority h ssh-ed25519 AAAA", 22, Verdict::Unknown),
            ("@nonsense h ssh-ed25519 AAAA", 22, Verdict::Unknown),
            ("|2|a|b ssh-ed25519 AAAA", 22, Verdict::Unknown),
            ("|1|!|b ssh-ed25519 AAAA", 22, Verdict::Unknown),
        ];
        for (text, port, verdict) in cases {
            assert_eq!(known(text).judge(&Place::new("h", port, None), &ours), verdict, "{text} at port {port}");
        }
    }

    #[test]
    fn hashed_names_are_those_of_openssh() {
        // A line that OpenSSH wrote for this address.
        let text = "|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= ssh-ed25519 AAAA";
        let place = Place::new("192.168.1.61", 22, None);
        assert_eq!(known(text).judge(&place, &key("ssh-ed25519", "AAAA")), Verdict::Trusted);
        assert_eq!(known(text).judge(&place, &key("ssh-ed25519", "BBBB")), Verdict::Changed);
        assert_eq!(
            known(text).judge(&Place::new("192.168.1.62", 22, None), &key("ssh-ed25519", "AAAA")),
            Verdict::Unknown
        );
    }

    #[test]
    fn authorities_are_judged() {
        let authority = key("ssh-ed25519", "CACA");
        let place = Place::new("n1.example.org", 2222, None);
        for (text, verdict, has) in [
            ("@cert-authority *.example.org ssh-ed25519 CACA", Verdict::Trusted, true),
            ("@cert-authority *.example.org ssh-ed25519 XXXX", Verdict::Unknown, true),
            ("*.example.org ssh-ed25519 CACA", Verdict::Unknown, false),
            ("@cert-authority * ssh-ed25519 CACA\n@revoked * ssh-ed25519 CACA", Verdict::Revoked, true),
        ] {
            assert_eq!(known(text).judge_authority(&place, &authority), verdict, "{text}");
            assert_eq!(known(text).has_authority(&place), has, "{text}");
        }
    }

    #[test]
    fn what_is_known_of_a_host_is_written_under_another_name() {
        let place = Place::new("h.example.org", 2222, None);
        for (text, written) in [
            ("[h.example.org]:2222 ssh-rsa A\nh.example.org ssh-rsa B\nx ssh-rsa C", "n ssh-rsa A\n"),
            ("*.example.org ssh-rsa B comment\nx ssh-rsa C", "n ssh-rsa B\n"),
            (
                "@cert-authority *.example.org ssh-rsa CA\n[h.example.org]:2222 ssh-rsa A",
                "n ssh-rsa A\n@cert-authority n ssh-rsa CA\n",
            ),
            (
                "h.example.org ssh-rsa A\nh.example.org ssh-dss B\n@revoked * ssh-rsa A",
                "n ssh-dss B\n@revoked n ssh-rsa A\n",
            ),
            ("h.example.org ssh-rsa A\n@revoked * ssh-rsa A", ""),
            ("@cert-authority * ssh-rsa CA\n@revoked * ssh-rsa CA", ""),
            ("x ssh-rsa C", ""),
        ] {
            assert_eq!(known(text).under(&place, "n"), written, "{text}");
        }
    }

    #[test]
    fn an_alias_stands_for_name_and_port() {
        let place = Place::new("10.0.0.1", 2222, Some("Cluster"));
        assert_eq!(place.name(), "cluster");
        assert_eq!(known("cluster ssh-rsa A").judge(&place, &key("ssh-rsa", "A")), Verdict::Trusted);
        assert_eq!(known("[10.0.0.1]:2222 ssh-rsa A").judge(&place, &key("ssh-rsa", "A")), Verdict::Unknown);
        assert_eq!(known("cluster ssh-rsa A\ncluster ssh-dss B").kinds(&place), ["ssh-rsa", "ssh-dss"]);
    }
}
