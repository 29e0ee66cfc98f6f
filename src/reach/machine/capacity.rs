//! What this machine gives to jobs: the cores and the memory that this process may use, GPUs.

use std::path::Path;

use sysinfo::{MemoryRefreshKind, System};

use crate::model::units::Bytes;

/// Cores, memory and GPUs of this machine, as far as this process may use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Cores: those that this process may run on (affinity, cpuset) within the quota of its control group; at least 1.
    pub cpus: u32,
    /// Memory: that of the machine, or the limit of the control group.
    pub mem: Bytes,
    /// GPUs that have a driver.
    pub gpus: u32,
}

/// Looks at the machine; what people set (`CSYNC_CPUS`, `CSYNC_MEM`) goes before what is found.
pub fn room(cpus: Option<u32>, mem: Option<Bytes>) -> Room {
    Room { cpus: cpus.unwrap_or_else(found_cpus).max(1), mem: mem.unwrap_or_else(found_memory), gpus: found_gpus() }
}

/// Returns the name of this machine.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The standard library counts the affinity mask and the quota of the control group.
fn found_cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX))
}

fn found_memory() -> Bytes {
    let mut system = System::new();
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let machine = system.total_memory();
    let group = system.cgroup_limits().map_or(machine, |limits| limits.total_memory);
    Bytes(if group > 0 { group.min(machine) } else { machine })
}

fn found_gpus() -> u32 {
    let nvidia = entries(Path::new("/proc/driver/nvidia/gpus")).count();
    // Nodes of AMD's driver include processors, which have no SIMD units.
    let amd = entries(Path::new("/sys/class/kfd/kfd/topology/nodes")).filter(|node| {
        let properties = std::fs::read_to_string(node.join("properties")).unwrap_or_default();
        properties.lines().any(|line| line.strip_prefix("simd_count ").is_some_and(|count| count.trim() != "0"))
    });
    u32::try_from(nvidia + amd.count()).unwrap_or(u32::MAX)
}

fn entries(dir: &Path) -> impl Iterator<Item = std::path::PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_set_goes_first() {
        let set = room(Some(3), Some(Bytes::gib(5)));
        assert_eq!((set.cpus, set.mem), (3, Bytes::gib(5)));
        assert_eq!(room(Some(0), None).cpus, 1);
    }

    #[test]
    fn the_machine_has_something() {
        let found = room(None, None);
        assert!(found.cpus >= 1 && found.mem >= Bytes::mib(64), "{found:?}");
        assert!(!host_name().is_empty());
    }
}
