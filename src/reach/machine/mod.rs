//! This machine: cores, memory, processes.

mod capacity;
pub mod cgroup;
pub mod processes;

pub use capacity::{Room, host_name, room};
