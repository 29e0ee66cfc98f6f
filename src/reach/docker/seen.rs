//! What is seen of a container while it runs.

use bollard::container::LogOutput;
use bollard::models::{ContainerBlkioStats, ContainerStatsResponse};

use crate::model::resources::{Flow, Io};
use crate::model::units::Bytes;

/// What was seen of its use.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The most memory.
    pub(super) peak: u64,
    /// The limit of memory that the kernel holds it to.
    pub(super) limit: Option<u64>,
    /// CPU seconds of its own.
    pub(super) user: f64,
    /// CPU seconds of the kernel for it.
    pub(super) system: f64,
    /// Bytes that went to and from its devices; none where its daemon says nothing of them.
    pub(super) io: Option<Io>,
}

impl Seen {
    pub(super) fn take_in(&mut self, stat: &ContainerStatsResponse) {
        if let Some(memory) = &stat.memory_stats {
            self.peak = self.peak.max(memory.max_usage.unwrap_or_default()).max(memory.usage.unwrap_or_default());
            // Nothing is said of one that has ended.
            self.limit = memory.limit.filter(|limit| *limit > 0).or(self.limit);
        }
        // The counts only grow; the last answer, of what has ended, is empty.
        let io = stat.blkio_stats.as_ref().and_then(moved);
        self.io = io.filter(|io| io.total() >= self.io.map_or(0, Io::total)).or(self.io);
        let Some(used) = stat.cpu_stats.as_ref().and_then(|cpu| cpu.cpu_usage.as_ref()) else { return };
        let seconds = |nanos: Option<u64>| nanos.unwrap_or_default() as f64 / 1e9;
        let (total, system) = (seconds(used.total_usage), seconds(used.usage_in_kernelmode));
        // The parts are counted by ticks, the whole by the clock.
        self.system = self.system.max(system.min(total));
        self.user = self.user.max(total - self.system);
    }
}

/// Sums what went to and from a container's devices: `read` and `write`, which the first version of control groups writes large.
fn moved(stats: &ContainerBlkioStats) -> Option<Io> {
    let entries = stats.io_service_bytes_recursive.as_ref().filter(|entries| !entries.is_empty())?;
    let sum = |name: &str| {
        let named = entries.iter().filter(|entry| entry.op.as_ref().is_some_and(|op| op.eq_ignore_ascii_case(name)));
        Bytes(named.filter_map(|entry| entry.value).fold(0, u64::saturating_add))
    };
    Some(Io { read: sum("read"), written: sum("write"), flow: Flow::Devices })
}

/// Hands on what was printed.
pub(super) fn show(print: &mut impl FnMut(bool, &[u8]), line: &LogOutput) {
    match line {
        LogOutput::StdErr { message } => print(true, message),
        LogOutput::StdOut { message } | LogOutput::Console { message } => print(false, message),
        LogOutput::StdIn { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ContainerBlkioStatEntry;

    use super::*;

    fn stat(entries: &[(u64, &str, u64)]) -> ContainerStatsResponse {
        let entry = |(minor, op, value): &(u64, &str, u64)| ContainerBlkioStatEntry {
            major: Some(8),
            minor: Some(*minor),
            op: Some((*op).to_owned()),
            value: Some(*value),
        };
        let blkio = ContainerBlkioStats {
            io_service_bytes_recursive: Some(entries.iter().map(entry).collect()),
            ..ContainerBlkioStats::default()
        };
        ContainerStatsResponse { blkio_stats: Some(blkio), ..ContainerStatsResponse::default() }
    }

    #[test]
    fn what_went_to_all_devices_is_summed_and_never_falls() {
        let mut seen = Seen::default();
        seen.take_in(&ContainerStatsResponse::default());
        assert_eq!(seen.io, None, "its daemon says nothing");
        seen.take_in(&stat(&[(0, "read", 5), (16, "read", 7), (0, "write", 3), (0, "discard", 100)]));
        let told = Some(Io { read: Bytes(12), written: Bytes(3), flow: Flow::Devices });
        assert_eq!(seen.io, told);
        // Of what has ended there is nothing more.
        seen.take_in(&stat(&[]));
        seen.take_in(&stat(&[(0, "Read", 0), (0, "Write", 0), (0, "Total", 0)]));
        assert_eq!(seen.io, told);
    }
}
