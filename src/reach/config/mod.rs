//! Where csync keeps its things, and what people set.

mod agreed;
mod config_dir;
mod hosts;
mod kept_host;
mod secrets;
mod ssh_config;
mod state_dir;

pub use agreed::Agreed;
pub use config_dir::{ConfigDir, ConfigDirError};
pub use hosts::{HostsConfig, HostsConfigError};
pub use kept_host::KeptHost;
pub use secrets::{Secrets, SecretsError};
pub use ssh_config::ssh_aliases;
pub use state_dir::{StateDir, StateDirError};
