//! `hosts.toml` and the site files, read from where they lie.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::language::hosts::{Hosts, HostsFile, SiteFile, merge, read, read_site, shipped};
use crate::model::diagnostic::{Diagnostic, Severity};
use crate::model::facts::Facts;
use crate::model::host::HostName;
use crate::reach::config::config_dir::{ConfigDir, ConfigDirError};

/// The hosts as people configured them.
#[derive(Clone, Debug)]
pub struct HostsConfig {
    /// The text of `hosts.toml`; empty where there is none.
    pub text: String,
    /// What it says.
    pub file: HostsFile,
    /// Site files: those that are shipped, and this person's own in place of those of the same name.
    pub sites: Vec<SiteFile>,
    /// Warnings.
    pub warnings: Vec<Diagnostic>,
}

/// The hosts' configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HostsConfigError {
    /// A file cannot be read.
    #[error(transparent)]
    Dir(#[from] ConfigDirError),
    /// A file has mistakes.
    #[error("{} has mistakes", path.display())]
    Mistakes {
        /// Which.
        path: PathBuf,
        /// Its text.
        text: String,
        /// The mistakes.
        mistakes: Vec<Diagnostic>,
    },
}

impl HostsConfig {
    /// Reads the configuration.
    ///
    /// # Errors
    /// When a file cannot be read or has mistakes.
    pub fn load(dir: &ConfigDir) -> Result<Self, HostsConfigError> {
        let mut sites = shipped();
        for (name, text) in dir.read_sites()? {
            let (site, mistakes) = read_site(&name, &text);
            refuse(dir.sites_dir().join(format!("{name}.toml")), &text, &mistakes)?;
            sites.retain(|other| other.name != name);
            sites.push(site);
        }
        let text = dir.read_hosts()?;
        let names: Vec<&str> = sites.iter().map(|site| site.name.as_str()).collect();
        let (file, warnings) = read(&text, &names);
        refuse(dir.hosts_file(), &text, &warnings)?;
        Ok(Self { text, file, sites, warnings })
    }

    /// Returns the hosts with everything that holds for them, given what was found on them.
    pub fn hosts(&self, facts: &BTreeMap<HostName, Facts>) -> Hosts {
        merge(&self.file, &self.sites, facts)
    }
}

fn refuse(path: PathBuf, text: &str, mistakes: &[Diagnostic]) -> Result<(), HostsConfigError> {
    if mistakes.iter().all(|mistake| mistake.severity != Severity::Error) {
        return Ok(());
    }
    Err(HostsConfigError::Mistakes { path, text: text.to_owned(), mistakes: mistakes.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_site_files_take_the_place_of_shipped_ones() {
        let temp = tempfile::tempdir().unwrap();
        let dir = ConfigDir::locate(|name| (name == "CSYNC_CONFIG").then(|| temp.path().into())).unwrap();
        let empty = HostsConfig::load(&dir).unwrap();
        assert_eq!(empty.hosts(&BTreeMap::new()).iter().count(), 1);
        std::fs::create_dir(dir.sites_dir()).unwrap();
        std::fs::write(dir.sites_dir().join("slurm.toml"), "batch = \"slurm\"\naccount = \"ours\"\n").unwrap();
        std::fs::write(dir.hosts_file(), "[hosts.hpc]\nbatch = \"slurm\"\n").unwrap();
        let hosts = HostsConfig::load(&dir).unwrap().hosts(&BTreeMap::new());
        assert_eq!(hosts.get("hpc").unwrap().account.as_deref(), Some("ours"));
        std::fs::write(dir.sites_dir().join("slurm.toml"), "btach = 1\n").unwrap();
        let error = HostsConfig::load(&dir).unwrap_err();
        assert!(error.to_string().contains("sites/slurm.toml has mistakes"), "{error}");
    }
}
