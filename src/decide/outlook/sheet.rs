//! What a task would cost on a host, and which of several is the better one.

use crate::decide::graph::estimate::Estimate;
use crate::decide::learn::waits::apart;
use crate::decide::outlook::files::Hosts;
use crate::decide::outlook::parts::QueueId;
use crate::model::id::HostId;

/// What a task costs on a host, in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Sheet {
    /// The host.
    pub host: HostId,
    /// The queue.
    pub queue: QueueId,
    /// Until what was bound there before leaves room.
    pub behind: f64,
    /// Until its cores are there at all.
    pub(super) opens: f64,
    /// Until the batch system starts it.
    pub wait: Estimate,
    /// Until its inputs are there, from when the links are free.
    pub transfer: Estimate,
    /// Until the links are free.
    pub blocked: f64,
    /// Hosts that inputs come from.
    pub from: Hosts,
    /// Bytes that come.
    pub moved: f64,
    /// While it runs.
    pub run: Estimate,
    /// What counts against the host for what is not sure.
    pub penalty: f64,
    /// All of that.
    pub total: f64,
    /// What the policy counts before that.
    pub(super) first: f64,
}

impl Sheet {
    /// Returns whether this host is the better one; of two alike the first by number.
    pub fn is_better_than(&self, other: &Self) -> bool {
        let order = self.first.total_cmp(&other.first).then(self.total.total_cmp(&other.total));
        order.then(self.host.cmp(&other.host)).is_lt()
    }

    /// Returns after how many seconds it starts there.
    fn starts(&self) -> f64 {
        self.behind.max(self.blocked + self.transfer.middle) + self.wait.middle
    }
}

/// Returns the sheet of the queue where a task goes, of those of one host: the first that it fits, unless it starts so much sooner
/// in another that it is worth to tell them apart.
pub fn best_queue(sheets: &[Sheet]) -> Option<&Sheet> {
    let (first, others) = sheets.split_first()?;
    let worth = |other: &&Sheet| other.starts() < first.starts() && apart(first.starts(), other.starts());
    Some(others.iter().filter(worth).fold(first, |best, other| if other.is_better_than(best) { other } else { best }))
}
