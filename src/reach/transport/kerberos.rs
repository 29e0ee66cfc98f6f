//! Whether there is a Kerberos ticket: a host that offers GSSAPI may want it, and that is the system's `ssh` to do.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// How long `klist` may take.
const LISTING: Duration = Duration::from_secs(3);

/// Deepest chain of included files.
const DEEPEST: usize = 4;

/// Where tickets would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kerberos {
    /// `KRB5CCNAME`.
    pub cache: Option<String>,
    /// The files of Kerberos' configuration.
    pub config: Vec<PathBuf>,
    /// The person's number.
    pub uid: u32,
    /// What lists tickets.
    pub klist: PathBuf,
}

/// Where tickets lie.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cache {
    File(PathBuf),
    /// In the kernel, with a daemon, in a directory: `klist` knows.
    Elsewhere,
}

impl Kerberos {
    /// Looks where Kerberos itself does, by the values of `KRB5CCNAME` and `KRB5_CONFIG`.
    pub fn new(cache: Option<String>, config: Option<String>, uid: u32) -> Self {
        let files = config.unwrap_or_else(|| "/etc/krb5.conf".to_owned());
        Self { cache, config: files.split(':').map(PathBuf::from).collect(), uid, klist: "klist".into() }
    }

    /// Returns whether there is a ticket, now. Where nobody tells, what is named counts as one, and what only may be there does not.
    pub async fn has_ticket(&self) -> bool {
        let default = || self.config.iter().find_map(|file| default_cache(file, 0));
        let named = self.cache.clone().or_else(default);
        match self.place(named.as_deref()) {
            Cache::File(path) => path.exists(),
            Cache::Elsewhere => self.list().await.unwrap_or(self.cache.is_some()),
        }
    }

    fn place(&self, name: Option<&str>) -> Cache {
        let uid = self.uid.to_string();
        let name = name.map_or_else(|| format!("/tmp/krb5cc_{uid}"), str::to_owned);
        let name = ["%{uid}", "%{euid}", "%{USERID}"].iter().fold(name, |name, token| name.replace(token, &uid));
        let path = name.strip_prefix("FILE:").unwrap_or(&name);
        // A word before a colon is a kind of cache.
        let kind = path.split_once(':').is_some_and(|(kind, _)| kind.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        if path.len() == name.len() && kind || path.contains("%{") {
            Cache::Elsewhere
        } else {
            Cache::File(path.into())
        }
    }

    /// Asks `klist`; nothing where there is none, or no answer.
    async fn list(&self) -> Option<bool> {
        let mut command = Command::new(&self.klist);
        command.arg("-s").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        command.envs(self.cache.iter().map(|cache| ("KRB5CCNAME", cache)));
        let status = tokio::time::timeout(LISTING, command.status()).await.ok()?.ok()?;
        Some(status.success())
    }
}

/// Returns `default_ccache_name` of a file and those that it includes.
fn default_cache(file: &Path, depth: usize) -> Option<String> {
    let text = std::fs::read_to_string(file).ok().filter(|_| depth < DEEPEST)?;
    let mut found = None;
    for line in text.lines().map(str::trim) {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let value = line.split_once('=').filter(|(key, _)| key.trim() == "default_ccache_name");
        let more = match (word, value) {
            (_, Some((_, value))) => Some(value.trim().trim_matches('"').to_owned()),
            ("include", None) => default_cache(Path::new(rest.trim()), depth + 1),
            ("includedir", None) => {
                let entries = std::fs::read_dir(rest.trim()).into_iter().flatten().flatten();
                let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
                files.sort_unstable();
                files.iter().find_map(|file| default_cache(file, depth + 1))
            }
            _ => None,
        };
        found = found.or(more);
    }
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Tickets as they are configured in a directory of the test's own, with a `klist` that ends like this.
    fn tickets(dir: &Path, cache: Option<&str>, klist: Option<&str>) -> Kerberos {
        let program = dir.join("klist");
        if let Some(script) = klist {
            std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let config = vec![dir.join("krb5.conf")];
        Kerberos { cache: cache.map(str::to_owned), config, uid: 4_000_000_001, klist: program }
    }

    #[tokio::test]
    async fn tickets_are_found_wherever_they_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cc");
        std::fs::write(&file, "").unwrap();
        let file = file.to_str().unwrap();
        let has = async |cache: Option<&str>, klist: Option<&str>| tickets(dir.path(), cache, klist).has_ticket().await;
        assert!(has(Some(file), None).await && has(Some(&format!("FILE:{file}")), None).await);
        assert!(!has(Some("/nowhere/cc"), None).await && !has(None, None).await, "a file that is not there");
        for cache in ["KCM:", "KEYRING:persistent:7", "DIR:/run/cc", "API:x"] {
            assert!(has(Some(cache), None).await, "{cache}: it is named, and nobody tells more");
        }
        for cache in ["KCM:", "KEYRING:persistent:7", "DIR:/run/cc"] {
            assert!(has(Some(cache), Some("exit 0")).await, "{cache}");
            assert!(!has(Some(cache), Some("exit 1")).await, "{cache}: none, or it is over");
        }
        assert!(has(Some("KCM:"), Some("[ \"$1$KRB5CCNAME\" = -sKCM: ]")).await, "it is asked about this one");
    }

    #[tokio::test]
    async fn the_configuration_says_where_tickets_are_by_default() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        std::fs::create_dir(dir.path().join("more")).unwrap();
        write("more/kcm", "[libdefaults]\n    default_ccache_name = KCM:\n");
        write(
            "krb5.conf",
            &format!("includedir {}\n[libdefaults]\n  rdns = false\n", dir.path().join("more").display()),
        );
        assert!(!tickets(dir.path(), None, None).has_ticket().await, "nobody named it, and nobody tells");
        assert!(tickets(dir.path(), None, Some("exit 0")).has_ticket().await);
        write(
            "krb5.conf",
            &format!("[libdefaults]\ndefault_ccache_name = FILE:{}/cc_%{{uid}}\n", dir.path().display()),
        );
        assert!(!tickets(dir.path(), None, Some("exit 0")).has_ticket().await);
        write("cc_4000000001", "");
        assert!(tickets(dir.path(), None, Some("exit 1")).has_ticket().await, "it is there from now on");
    }
}
