//! `ssh_config` where there is no `ssh` to ask: what [`Options`] needs of it, in the form in which `ssh -G` would say it.
//!
//! `Match` is refused with the reason: it may run commands and depends on what only `ssh` knows.

use crate::language::ssh::known_hosts::matches;
use crate::language::ssh::options::split_words;
use crate::language::ssh::{Destination, Options, Person};

/// Deepest nesting of `Include`, as OpenSSH has it.
const DEEPEST: usize = 16;

/// Keys whose values add up; of all others the first one counts.
const MANY: [&str; 7] =
    ["identityfile", "certificatefile", "sendenv", "setenv", "localforward", "remoteforward", "dynamicforward"];

/// What holds where nothing is configured and this program's own SSH asks for it.
const DEFAULTS: [(&str, &str); 8] = [
    ("port", "22"),
    ("stricthostkeychecking", "ask"),
    ("pubkeyauthentication", "yes"),
    ("kbdinteractiveauthentication", "yes"),
    ("passwordauthentication", "yes"),
    ("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2"),
    ("globalknownhostsfile", "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"),
    ("serveralivecountmax", "3"),
];

/// The keys that are tried where none is configured.
const IDENTITIES: [&str; 3] = ["~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519"];

/// A configuration cannot be read without `ssh`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NeedsSsh {
    /// It has a `Match` that only `ssh` can judge.
    #[error("`Match {0}` can only be judged by `ssh`, which is not installed")]
    Match(String),
    /// It includes itself.
    #[error("files are included more than {DEEPEST} deep")]
    TooDeep,
    /// A line makes no sense.
    #[error("the line `{0}` is not understood")]
    Line(String),
    /// A host name has a token that is not known here.
    #[error("HostName `{0}` has a token that is not understood")]
    HostName(String),
}

/// A walk through the files, with what holds for one host.
struct Walk<'a> {
    host: &'a str,
    include: &'a mut dyn FnMut(&str) -> Vec<String>,
    options: Options,
}

/// Reads what is configured for a destination. The texts are those of the person's file and the system's, in this order;
/// `include` returns the texts of the files that an `Include` names.
///
/// # Errors
/// [`NeedsSsh`].
pub fn resolve(
    texts: &[String],
    destination: &Destination,
    person: &Person,
    include: &mut dyn FnMut(&str) -> Vec<String>,
) -> Result<Options, NeedsSsh> {
    let mut walk = Walk { host: destination.host(), include, options: Options::default() };
    walk.options.push("host", destination.host());
    // The command line comes first, as with `ssh`.
    if let Some(user) = destination.user() {
        walk.options.push("user", user);
    }
    if let Some(port) = destination.port() {
        walk.options.push("port", &port.to_string());
    }
    for text in texts {
        walk.read(text, true, 0)?;
    }
    let mut options = walk.options;
    let host_name = options.get("hostname").map_or_else(
        || Some(destination.host().to_owned()),
        |name| {
            let expanded = name.replace("%h", destination.host()).replace("%%", "%");
            (!expanded.contains('%')).then_some(expanded)
        },
    );
    let host_name =
        host_name.ok_or_else(|| NeedsSsh::HostName(options.get("hostname").unwrap_or_default().to_owned()))?;
    options.set("hostname", &host_name);
    for (key, value) in DEFAULTS.into_iter().chain([("user", person.user.as_str())]) {
        if !options.has(key) {
            options.push(key, value);
        }
    }
    if !options.has("identityfile") {
        for path in IDENTITIES {
            options.push("identityfile", path);
        }
    }
    Ok(options)
}

impl Walk<'_> {
    /// Reads a file; what comes before the first `Host` holds where the file was included.
    fn read(&mut self, text: &str, included_where: bool, depth: usize) -> Result<(), NeedsSsh> {
        if depth > DEEPEST {
            return Err(NeedsSsh::TooDeep);
        }
        let mut holds = included_where;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (key, value) = split_line(line).ok_or_else(|| NeedsSsh::Line(line.to_owned()))?;
            match key.as_str() {
                "host" => holds = included_where && is_meant(value, self.host),
                "match" if value.eq_ignore_ascii_case("all") => holds = included_where,
                "match" => return Err(NeedsSsh::Match(value.to_owned())),
                "include" => {
                    for pattern in split_words(value) {
                        for text in (self.include)(&pattern) {
                            self.read(&text, holds, depth + 1)?;
                        }
                    }
                }
                _ if holds => self.add(&key, value),
                _ => {}
            }
        }
        Ok(())
    }

    fn add(&mut self, key: &str, value: &str) {
        let key = match key {
            "challengeresponseauthentication" | "keyboardinteractiveauthentication" => "kbdinteractiveauthentication",
            key => key,
        };
        if key == "setenv" {
            // As `ssh -G` prints them: one a line. The first line counts.
            let first = !self.options.has(key);
            split_words(value).iter().filter(|_| first).for_each(|word| self.options.push(key, word));
            return;
        }
        // A ProxyCommand is a whole line, and lists of files are taken apart where they are used.
        let words = split_words(value);
        let value = match (key, words.as_slice()) {
            ("proxycommand" | "userknownhostsfile" | "globalknownhostsfile", _) => value,
            (_, [word]) => word,
            _ => value,
        };
        // Of ProxyJump and ProxyCommand the one that comes first counts.
        let other = match key {
            "proxyjump" => "proxycommand",
            "proxycommand" => "proxyjump",
            _ => "",
        };
        if MANY.contains(&key) || !self.options.has(key) && !self.options.has(other) {
            self.options.push(key, value);
        }
    }
}

/// Splits a line into its key, lower-case, and its value: at spaces, or at one `=`.
fn split_line(line: &str) -> Option<(String, &str)> {
    let end = line.find(|letter: char| letter.is_whitespace() || letter == '=')?;
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let value = rest.strip_prefix('=').unwrap_or(rest).trim();
    (!key.is_empty() && !value.is_empty()).then(|| (key.to_ascii_lowercase(), value))
}

/// Returns whether the patterns of a `Host` line are meant for a host.
fn is_meant(patterns: &str, host: &str) -> bool {
    let mut meant = false;
    for pattern in split_words(patterns) {
        match pattern.strip_prefix('!') {
            Some(not) if matches(not.as_bytes(), host.as_bytes()) => return false,
            Some(_) => {}
            None => meant |= matches(pattern.as_bytes(), host.as_bytes()),
        }
    }
    meant
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# comment\nHost hpc\n  HostName = %h.example.org\n  User ada\n  ProxyJump j1,j2\n  IdentityFile \"~/.ssh/my key\"\n\
        Host j* !j2\n\tPort 2222\nHost *.org hpc\nUser nobody\nIdentityFile ~/.ssh/two\nInclude extra\nHost *\nServerAliveInterval 30\n";

    fn read(text: &str, destination: &str) -> Result<Options, NeedsSsh> {
        let person = Person { home: "/h".into(), user: "me".into(), uid: 1 };
        let mut include = |name: &str| match name {
            "extra" => vec!["Compression yes\nHost other\nCompression no\nHost hpc\nConnectTimeout 7\n".to_owned()],
            "itself" => vec!["Include itself\n".to_owned()],
            _ => vec![],
        };
        resolve(&[text.to_owned()], &destination.parse().unwrap(), &person, &mut include)
    }

    #[test]
    fn blocks_patterns_and_includes() {
        let hpc = read(TEXT, "hpc").unwrap();
        assert_eq!((hpc.host_name(), hpc.get("user"), hpc.port()), (Some("hpc.example.org"), Some("ada"), 22));
        assert_eq!(hpc.all("identityfile"), ["~/.ssh/my key", "~/.ssh/two"]);
        assert_eq!((hpc.get("compression"), hpc.number("connecttimeout")), (Some("yes"), Some(7)));
        assert_eq!(hpc.number("serveraliveinterval"), Some(30));
        assert_eq!(hpc.jumps().unwrap().len(), 2);
        assert_eq!((read(TEXT, "j1").unwrap().port(), read(TEXT, "j2").unwrap().port()), (2222, 22));
        let other = read(TEXT, "bob@other:99").unwrap();
        assert_eq!((other.host_name(), other.get("user"), other.port()), (Some("other"), Some("bob"), 99));
        assert_eq!(other.all("identityfile").len(), 3);
        assert_eq!(other.get("compression"), None, "an Include counts where it stands");
        assert_eq!(read(TEXT, "plain").unwrap().get("user"), Some("me"));
    }

    #[test]
    fn what_only_ssh_can_judge_is_refused() {
        assert_eq!(read("Match exec \"id\"\nUser x\n", "h"), Err(NeedsSsh::Match("exec \"id\"".to_owned())));
        assert_eq!(read("Match all\nUser x\n", "h").unwrap().get("user"), Some("x"));
        assert_eq!(read("Include itself\n", "h"), Err(NeedsSsh::TooDeep));
        assert_eq!(read("Nonsense\n", "h"), Err(NeedsSsh::Line("Nonsense".to_owned())));
        assert_eq!(read("HostName %L.x\n", "h"), Err(NeedsSsh::HostName("%L.x".to_owned())));
        assert_eq!(read("ProxyJump a\nProxyCommand nc\n", "h").unwrap().get("proxycommand"), None);
    }
}
