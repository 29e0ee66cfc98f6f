//! What `ssh -G HOST` says: one option a line, lower-case key first.

use std::collections::BTreeMap;

use crate::language::ssh::Destination;
use crate::language::ssh::known_hosts::is_match;

/// The options of a host, as `ssh -G` printed them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    values: BTreeMap<String, Vec<String>>,
}

/// What stands for the tokens of a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// `%d`, `~`: the home directory.
    pub home: String,
    /// `%u`: the name on this machine.
    pub user: String,
    /// `%i`: the user's number.
    pub uid: u32,
}

impl Options {
    /// Reads what `ssh -G` printed.
    pub fn read(text: &str) -> Self {
        let mut options = Self::default();
        for line in text.lines() {
            if let Some((key, value)) = line.trim().split_once([' ', '\t']) {
                options.push(key, value.trim());
            }
        }
        options
    }

    /// Adds a value of a key.
    pub(super) fn push(&mut self, key: &str, value: &str) {
        self.values.entry(key.to_ascii_lowercase()).or_default().push(value.to_owned());
    }

    /// Puts one value in the place of a key's others.
    pub(super) fn set(&mut self, key: &str, value: &str) {
        self.values.insert(key.to_owned(), vec![value.to_owned()]);
    }

    /// Returns whether a key has a value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// Returns the keys with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.values.iter().map(|(key, values)| (key.as_str(), values.as_slice()))
    }

    /// Returns the values of a key.
    pub fn all(&self, key: &str) -> &[String] {
        self.values.get(key).map_or(&[], Vec::as_slice)
    }

    /// Returns the value of a key; nothing where it is `none`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.all(key).first().map(String::as_str).filter(|value| !value.eq_ignore_ascii_case("none"))
    }

    /// Returns whether an option is on.
    pub fn is_on(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| matches!(value, "yes" | "true"))
    }

    /// Returns whether an option is off.
    pub fn is_off(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| matches!(value, "no" | "false"))
    }

    /// Returns a number.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.get(key).and_then(|value| value.parse().ok())
    }

    /// Returns the address to connect to.
    pub fn host_name(&self) -> Option<&str> {
        self.get("hostname")
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.number("port").and_then(|port| u16::try_from(port).ok()).unwrap_or(22)
    }

    /// Returns the hosts that the connection is carried through, the first one first.
    ///
    /// # Errors
    /// What is not a destination of plain characters.
    pub fn jumps(&self) -> Result<Vec<Destination>, super::BadDestination> {
        self.get("proxyjump")
            .map_or_else(|| Ok(Vec::new()), |jumps| jumps.split(',').map(|jump| jump.trim().parse()).collect())
    }

    /// Returns the paths of a key with one path in each value, tokens put in: `ssh -G` prints one with spaces without quotation marks.
    ///
    /// # Errors
    /// The value with a token that is not known here.
    pub fn files(&self, key: &str, person: &Person) -> Result<Vec<String>, String> {
        self.expanded(self.all(key).iter().cloned(), person)
    }

    /// Returns the paths of a key with a list of them in one value, tokens put in.
    ///
    /// # Errors
    /// The value with a token that is not known here.
    pub fn paths(&self, key: &str, person: &Person) -> Result<Vec<String>, String> {
        self.expanded(self.all(key).iter().flat_map(|value| split_words(value)), person)
    }

    fn expanded(&self, paths: impl Iterator<Item = String>, person: &Person) -> Result<Vec<String>, String> {
        let named = paths.filter(|path| !path.eq_ignore_ascii_case("none"));
        named.map(|path| self.expand(&path, person).ok_or(path)).collect()
    }

    /// Returns the variable that names the agent's socket, where `IdentityAgent` names one: `$VARIABLE`.
    pub fn agent_variable(&self) -> Option<&str> {
        self.get("identityagent")?.strip_prefix('$').filter(|name| !name.is_empty() && !name.starts_with('{'))
    }

    /// Returns the variables that go along to a host, of those that are set here: by `SendEnv`, then by `SetEnv`, which says their
    /// values.
    pub fn environment(&self, here: &[(String, String)]) -> Vec<(String, String)> {
        let patterns: Vec<String> = self.all("sendenv").iter().flat_map(|value| split_words(value)).collect();
        let wanted = here.iter().filter(|(name, _)| patterns.iter().any(|pattern| is_match(pattern, name))).cloned();
        let set = self.all("setenv").iter().filter_map(|value| value.split_once('='));
        let mut all = BTreeMap::new();
        all.extend(wanted);
        all.extend(set.map(|(name, value)| (name.to_owned(), value.to_owned())));
        all.into_iter().collect()
    }

    /// Puts in `~` and the tokens of a path.
    pub fn expand(&self, path: &str, person: &Person) -> Option<String> {
        let path = path.strip_prefix("~/").map_or_else(|| path.to_owned(), |rest| format!("{}/{rest}", person.home));
        if path.starts_with('~') || path.contains("${") {
            return None;
        }
        let mut expanded = String::with_capacity(path.len());
        let mut letters = path.chars();
        while let Some(letter) = letters.next() {
            if letter != '%' {
                expanded.push(letter);
                continue;
            }
            match letters.next()? {
                '%' => expanded.push('%'),
                'd' => expanded.push_str(&person.home),
                'u' => expanded.push_str(&person.user),
                'i' => expanded.push_str(&person.uid.to_string()),
                'h' => expanded.push_str(self.host_name()?),
                'p' => expanded.push_str(&self.port().to_string()),
                'r' => expanded.push_str(self.get("user")?),
                'n' => expanded.push_str(self.get("host")?),
                'k' => expanded.push_str(self.get("hostkeyalias").or_else(|| self.get("host"))?),
                _ => return None,
            }
        }
        Some(expanded)
    }
}

/// Takes a value apart at spaces outside of quotes.
pub(super) fn split_words(value: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut begun) = (Vec::new(), String::new(), false, false);
    for letter in value.chars() {
        match letter {
            '"' => (quoted, begun) = (!quoted, true),
            letter if letter.is_whitespace() && !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            letter => {
                word.push(letter);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "host hpc\nuser me\nhostname 10.0.0.1\nport 2222\nproxyjump a@b:3,c\nidentityfile ~/.ssh/id_ed25519\n\
        identityfile %d/keys/%r@%h:%p-%n%%\nidentityfile /h/my key\nidentityfile none\nuserknownhostsfile /a \"/b c\"\ncompression no\nconnecttimeout none\n\
        serveraliveinterval 30\nidentitiesonly yes\npubkeyauthentication true\n";

    #[test]
    fn options_are_read() {
        let options = Options::read(TEXT);
        let person = Person { home: "/h".into(), user: "u".into(), uid: 7 };
        assert_eq!((options.host_name(), options.port()), (Some("10.0.0.1"), 2222));
        assert_eq!((options.number("connecttimeout"), options.number("serveraliveinterval")), (None, Some(30)));
        assert!(
            options.is_on("identitiesonly") && options.is_on("pubkeyauthentication") && options.is_off("compression")
        );
        let jumps: Vec<String> = options.jumps().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(jumps, ["a@b:3", "c"]);
        assert_eq!(
            options.files("identityfile", &person).unwrap(),
            ["/h/.ssh/id_ed25519", "/h/keys/me@10.0.0.1:2222-hpc%", "/h/my key"]
        );
        assert_eq!(options.paths("userknownhostsfile", &person).unwrap(), ["/a", "/b c"]);
        for odd in ["~other/k", "%C", "${HOME}/k", "%"] {
            assert_eq!(options.expand(odd, &person), None, "{odd}");
        }
        assert!(Options::read("proxyjump -oProxyCommand=id").jumps().is_err());
        assert!(Options::read("proxyjump none").jumps().unwrap().is_empty());
    }

    #[test]
    fn variables_go_along() {
        let here: Vec<(String, String)> = ["LANG=de", "LC_ALL=C", "LCX=1", "A=here", "SECRET=x"]
            .map(|line| line.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        let sent = |text: &str| {
            let sent = Options::read(text).environment(&here);
            sent.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(sent("host h\n"), Vec::<String>::new());
        assert_eq!(sent("sendenv LANG LC_*\n"), ["LANG=de", "LC_ALL=C"]);
        assert_eq!(sent("sendenv A\nsetenv A=told = so\nsetenv EMPTY=\nsetenv broken\n"), ["A=told = so", "EMPTY="]);
    }

    #[test]
    fn an_agent_may_be_named_by_a_variable() {
        let variable =
            |value: &str| Options::read(&format!("identityagent {value}\n")).agent_variable().map(str::to_owned);
        assert_eq!(variable("$MY_AGENT").as_deref(), Some("MY_AGENT"));
        for other in ["none", "SSH_AUTH_SOCK", "/run/a", "${HOME}/a", "$"] {
            assert_eq!(variable(other), None, "{other}");
        }
    }
}
