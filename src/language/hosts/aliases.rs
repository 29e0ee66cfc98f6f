//! The names of hosts in an `ssh_config`. What holds for a host is for `ssh -G` to say; this finds whom to ask about.

use crate::model::host::SshAlias;

/// What one file says about names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SshConfig {
    /// Hosts that are named, each once, in the order of the file.
    pub aliases: Vec<SshAlias>,
    /// Names that csync does not take: other characters than plain ones.
    pub odd: Vec<String>,
    /// Files to read as well, as they are written: patterns, relative to `~/.ssh`.
    pub includes: Vec<String>,
}

/// Finds the names of hosts in the text of an `ssh_config`; patterns name nobody.
pub fn aliases(text: &str) -> SshConfig {
    let mut found = SshConfig::default();
    for line in text.lines() {
        let words = words(line);
        let Some((keyword, arguments)) = words.split_first() else { continue };
        match keyword.to_ascii_lowercase().as_str() {
            "include" => found.includes.extend(arguments.iter().cloned()),
            "host" => arguments.iter().for_each(|name| found.add(name)),
            _ => {}
        }
    }
    found
}

impl SshConfig {
    fn add(&mut self, name: &str) {
        if name.contains(['*', '?', '!']) {
            return;
        }
        match name.parse::<SshAlias>() {
            Ok(alias) if !self.aliases.contains(&alias) => self.aliases.push(alias),
            Ok(_) => {}
            Err(_) => self.odd.push(name.to_owned()),
        }
    }
}

/// Takes a line apart as `ssh` does: words between blanks, quoted ones whole, a `=` behind the keyword, comments left out.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() && !rest.starts_with('#') {
        let word;
        if let Some(quoted) = rest.strip_prefix('"') {
            (word, rest) = quoted.split_once('"').unwrap_or((quoted, ""));
        } else {
            // A keyword ends at `=` too.
            let end = |letter: char| letter.is_whitespace() || letter == '"' || words.is_empty() && letter == '=';
            (word, rest) = rest.split_at(rest.find(end).unwrap_or(rest.len()));
        }
        words.push(word.to_owned());
        rest = rest.trim_start();
        if words.len() == 1 {
            rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_found_and_patterns_are_not() {
        let text = "\
# Host commented
Host hpc-login hpc2   # and why
  HostName login.example.org
Include config.d/* \"more hosts\"
HOST=nas
host = \"backup\" *.lab !old.lab web?
  User ada
Match host bastion exec \"true\"
  Include only-there
Host hpc-login user@x -oProxyCommand=evil é
\tHost\ttab
Hostname not-a-host
";
        let found = aliases(text);
        let names: Vec<&str> = found.aliases.iter().map(SshAlias::as_str).collect();
        assert_eq!(names, ["hpc-login", "hpc2", "nas", "backup", "tab"]);
        assert_eq!(found.odd, ["user@x", "-oProxyCommand=evil", "é"]);
        assert_eq!(found.includes, ["config.d/*", "more hosts", "only-there"]);
        assert_eq!(aliases(""), SshConfig::default());
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in ".{0,200}", soup in "[Hhost \"=#\n*a-z]{0,80}") {
            aliases(&text);
            aliases(&soup);
        }
    }
}
