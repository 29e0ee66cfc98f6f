//! `hosts.toml` and site files: from their texts to the hosts that csync knows, and back into the text without disturbing what
//! people wrote.
//!
//! ```text
//! hosts.toml -> read -> HostsFile  \
//! site files -> read_site -> SiteFile > merge -> Hosts
//! probes -> Facts                  /
//! ```

mod aliases;
mod edit;
mod keys;
mod merge;
mod nfcore;
mod read;
mod setting;
mod site;

#[cfg(test)]
mod tests;

pub use aliases::{SshConfig, aliases};
pub use edit::{BadText, Value, add};
pub use keys::reference;
pub use merge::{Hosts, merge, near, partitions, takes_jobs};
pub use nfcore::{NfCoreSite, read_nf_core};
pub use read::{Entry, HostsFile, read, read_site};
pub use setting::{PartitionSetting, Said, Setting};
pub use site::{Pattern, SiteFile, shipped};
