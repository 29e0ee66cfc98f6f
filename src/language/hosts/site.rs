//! Site files: what holds for all hosts of a site. Those of `profiles/sites` are shipped; people put their own into `sites/`
//! beside `hosts.toml`.

use std::str::FromStr;

use crate::language::hosts::read::read_site;
use crate::language::hosts::setting::Said;
use crate::model::batch::Flavour;

/// The site files that are shipped, by name.
const SHIPPED: [(&str, &str); 5] = [
    ("slurm", include_str!("../../../profiles/sites/slurm.toml")),
    ("pbs", include_str!("../../../profiles/sites/pbs.toml")),
    ("sge", include_str!("../../../profiles/sites/sge.toml")),
    ("workstation", include_str!("../../../profiles/sites/workstation.toml")),
    ("archer2", include_str!("../../../profiles/sites/archer2.toml")),
];

/// What a site file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteFile {
    /// Its name, which `site = "..."` gives.
    pub name: String,
    /// Whose site it is, and where its rules are written.
    pub description: Option<String>,
    /// Addresses of its hosts.
    pub hosts: Vec<Pattern>,
    /// What holds for them.
    pub said: Vec<Said>,
}

impl SiteFile {
    /// Returns whether an address is one of the site's.
    pub fn is_of(&self, address: &str) -> bool {
        self.hosts.iter().any(|pattern| pattern.matches(address))
    }
}

/// An address in which `*` stands for anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Returns whether an address fits, whatever its capitals.
    pub fn matches(&self, address: &str) -> bool {
        let address = address.to_ascii_lowercase();
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|first| address.strip_prefix(first)) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            let Some((_, after)) = rest.split_once(part) else { return false };
            rest = after;
        }
        rest.ends_with(last)
    }
}

impl FromStr for Pattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let good = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_' | '*');
        if !text.chars().all(good) {
            return Err("it has other characters than letters, digits, `.`, `-`, `_` and `*`");
        }
        if text.bytes().filter(u8::is_ascii_alphanumeric).count() < 3 {
            return Err("it would fit nearly every host");
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// Returns the site files that are shipped, by name.
pub fn shipped() -> Vec<SiteFile> {
    // A test reads them: they hold no mistake.
    SHIPPED.iter().map(|(name, text)| read_site(name, text).0).collect()
}

/// Returns the name of the site file that holds where none is named.
pub(super) const fn generic(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::Slurm => "slurm",
        Flavour::Pbs => "pbs",
        Flavour::Sge => "sge",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shipped_has_no_mistakes() {
        for (name, text) in SHIPPED {
            let (site, mistakes) = read_site(name, text);
            assert_eq!(mistakes, [], "{name}");
            assert!(!site.said.is_empty() && site.description.is_some(), "{name}");
        }
        for flavour in [Flavour::Slurm, Flavour::Pbs, Flavour::Sge] {
            assert!(SHIPPED.iter().any(|(name, _)| *name == generic(flavour)));
        }
    }

    #[test]
    fn the_examples_in_what_is_shipped_have_no_mistakes_either() {
        for (name, text) in SHIPPED.iter().filter(|(name, _)| *name != "archer2") {
            let examples: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("#: ")).collect();
            let (plain, tables) =
                examples.split_at(examples.iter().position(|l| l.starts_with('[')).unwrap_or(examples.len()));
            let whole = format!("batch = \"slurm\"\n{}\n{}\n", plain.join("\n"), tables.join("\n"));
            let (site, mistakes) = read_site(name, &whole);
            assert_eq!(mistakes, [], "{name}: {whole}");
            assert!(site.said.len() > 3 && !site.hosts.is_empty(), "{name}");
        }
    }

    #[test]
    fn addresses_fit_patterns() {
        for (pattern, address, fits) in [
            ("login*.example.org", "login1.example.org", true),
            ("login*.example.org", "LOGIN.Example.org", true),
            ("login*.example.org", "login1.example.org.evil.net", false),
            ("login*.example.org", "xlogin1.example.org", false),
            ("*.example.org", "a.b.example.org", true),
            ("*.example.org", "example.org", false),
            ("hpc.example.org", "hpc.example.org", true),
            ("hpc.example.org", "hpc.example.orgx", false),
            ("a*bc*bc", "abc", false),
            ("a*bc*bc", "abcxbc", true),
        ] {
            assert_eq!(pattern.parse::<Pattern>().unwrap().matches(address), fits, "{pattern} {address}");
        }
        for bad in ["", "*", "*.*", "a b.c", "login[12].x"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
    }
}
