//! What is seen of a container while it runs.

use bollard::container::LogOutput;
use bollard::models::ContainerStatsResponse;

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
}

impl Seen {
    pub(super) fn take_in(&mut self, stat: &ContainerStatsResponse) {
        if let Some(memory) = &stat.memory_stats {
            self.peak = self.peak.max(memory.max_usage.unwrap_or_default()).max(memory.usage.unwrap_or_default());
            // Nothing is said of one that has ended.
            self.limit = memory.limit.filter(|limit| *limit > 0).or(self.limit);
        }
        let Some(used) = stat.cpu_stats.as_ref().and_then(|cpu| cpu.cpu_usage.as_ref()) else { return };
        let seconds = |nanos: Option<u64>| nanos.unwrap_or_default() as f64 / 1e9;
        let (total, system) = (seconds(used.total_usage), seconds(used.usage_in_kernelmode));
        // The parts are counted by ticks, the whole by the clock.
        self.system = self.system.max(system.min(total));
        self.user = self.user.max(total - self.system);
    }
}

/// Hands on what was printed.
pub(super) fn show(print: &mut impl FnMut(bool, &[u8]), line: &LogOutput) {
    match line {
        LogOutput::StdErr { message } => print(true, message),
        LogOutput::StdOut { message } | LogOutput::Console { message } => print(false, message),
        LogOutput::StdIn { .. } => {}
    }
}
