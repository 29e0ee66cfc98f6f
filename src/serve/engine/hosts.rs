//! What is known of hosts.

use std::collections::BTreeMap;

use crate::decide::engine::protocol::Event;
use crate::decide::graph::queues::Queues;
use crate::model::api::{ApiError, ErrorKind};
use crate::model::facts::{HostReport, NodeReport, NodeSight, QueueForget, QueueReport};
use crate::model::host::HostName;
use crate::model::id::HostId;
use crate::serve::engine::handle::{Handle, Message};
use crate::serve::engine::refusal::{refuse, storage};
use crate::serve::engine::runner::Runner;

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

    /// Forgets what was told so; returns of how many jobs.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn forget_waits(&self, ask: QueueForget) -> Result<u64, ApiError> {
        self.ask(|reply| Message::ForgetWaits(ask, reply)).await
    }

    /// Keeps what jobs saw on compute nodes of a host.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn keep_nodes(&self, report: NodeReport) -> Result<(), ApiError> {
        self.ask(|reply| Message::KeepNodes(report, reply)).await
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

impl Runner {
    /// Keeps what jobs of ours saw on compute nodes; where that cannot be kept, others see it again.
    pub(super) async fn keep_nodes(&mut self, host: HostId, nodes: BTreeMap<String, NodeSight>) {
        let Ok(host) = self.sites.name(host).parse() else { return };
        if let Err(error) = self.store.keep_nodes(&NodeReport { host, nodes }).await {
            tracing::warn!(%error, "what jobs saw on compute nodes is not kept");
        }
    }

    /// Has runs that go on go by what is known now of the waits on a host, or on all.
    pub(super) async fn tell_waits(&mut self, host: Option<&HostName>) {
        let seen = match self.store.reader().waits().await {
            Ok(seen) => seen,
            Err(error) => return tracing::warn!(%error, "runs go on by the waits that were known before"),
        };
        let mut queues = Queues::of_hosts(&seen);
        let known: Vec<HostName> = self.sites.names().filter_map(|(_, name)| name.parse().ok()).collect();
        for name in known.iter().filter(|name| host.is_none_or(|host| host == *name)) {
            let queues = queues.remove(name).unwrap_or_default();
            let number = self.sites.number(name);
            self.tell_or_log(Event::Queues(number, queues));
        }
    }
}
