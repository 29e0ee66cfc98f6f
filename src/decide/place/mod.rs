//! Where the tasks of a workflow should run, and in what order: earliest finish over hosts that differ in speed, with queues,
//! copies of files that stay where they came, and one transfer at a time per link.
//!
//! Modelling the queue and the data is worth 33 to 136 % of the time until a workflow is done; a cleverer heuristic than earliest
//! finish by upward rank (HEFT, Topcuoglu et al. 2002, IEEE TPDS 13:3) 3 % (measured on `WfInstances`). So the model is rich and
//! the heuristic plain: list schedules in the order of the upward rank, each task where it finishes first, the best of a few,
//! and as much local search as there is patience for.
//!
//! Everything here counts in seconds and bytes as `f64`, and hosts, tasks and files by their position: whoever asks knows
//! their names.

pub mod problem;

pub mod profile;

pub mod timetable;

pub mod rank;

pub mod plan;

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "small whole numbers are exact")]
pub(in crate::decide) mod tests;
