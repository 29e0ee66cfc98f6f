//! What is known of hosts.

use crate::model::api::{ApiError, ErrorKind};
use crate::model::facts::{HostReport, QueueReport};
use crate::serve::engine::handle::{Handle, Message};
use crate::serve::engine::refusal::{refuse, storage};

impl Handle {
    /// Returns what probes found.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn hosts(&self) -> Result<Vec<HostReport>, ApiError> {
        let probed = self.reader.probed().await.map_err(|error| storage(&error))?;
        Ok(probed.into_iter().map(|(host, probed)| HostReport { host, probed }).collect())
    }

    /// Tries a host again now, whatever was wrong with it.
    ///
    /// # Errors
    /// When the engine is leaving.
    pub async fn try_host(&self, host: String) -> Result<(), ApiError> {
        self.look(move |runner| runner.sites.try_again(&host)).await
    }

    /// Keeps how long jobs waited in the queues of a host.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn keep_waits(&self, report: QueueReport) -> Result<(), ApiError> {
        self.ask(|reply| Message::KeepWaits(Box::new(report), reply)).await
    }

    /// Keeps what a probe found, and returns what is known of the host now.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn keep_probed(&self, report: HostReport) -> Result<HostReport, ApiError> {
        let host = report.host.clone();
        self.ask(|reply| Message::KeepProbed(Box::new(report), reply)).await?;
        let known = self.hosts().await?.into_iter().find(|known| known.host == host);
        known.ok_or_else(|| refuse(ErrorKind::Internal, "what was kept is not there"))
    }
}
