//! Upward ranks: how much work hangs on each task.

use crate::decide::place::problem::Problem;

/// Returns the upward rank of each task: its own mean run time and, of those who wait for it, the longest, with the mean time of
/// moving what they read times `weight`.
///
/// `seconds` and `speeds` are what is believed. Shape: one number per task.
pub fn upward(problem: &Problem, seconds: &[f64], speeds: &[f64], weight: f64) -> Vec<f64> {
    let sites = &problem.network.sites;
    let cores: f64 = sites.iter().map(|site| f64::from(site.room.cores)).sum();
    let slowness = sites.iter().zip(speeds).map(|(site, speed)| f64::from(site.room.cores) / speed).sum::<f64>();
    let slowness = if cores > 0.0 { slowness / cores } else { 1.0 };
    let per_byte = mean_per_byte(problem) * weight;
    let mut ranks = vec![0.0; problem.tasks.len()];
    for &task in problem.order.iter().rev() {
        let task = task as usize;
        let after = problem
            .children(task)
            .map(|(child, bytes)| bytes.mul_add(per_byte, ranks.get(child).copied().unwrap_or_default()));
        let longest = after.fold(0.0, f64::max);
        if let (Some(rank), Some(own)) = (ranks.get_mut(task), seconds.get(task)) {
            *rank = own.mul_add(slowness, longest);
        }
    }
    ranks
}

/// Returns the mean seconds a byte between two hosts drawn at random, the same one included.
fn mean_per_byte(problem: &Problem) -> f64 {
    let sites = problem.network.sites.len();
    if sites < 2 {
        return 0.0;
    }
    let pairs = (0..sites).flat_map(|from| (0..sites).filter(move |&to| to != from).map(move |to| (from, to)));
    let rates: Vec<f64> = pairs.filter_map(|(from, to)| Some(problem.network.path(from, to)?.per_byte)).collect();
    if rates.is_empty() {
        return 0.0;
    }
    rates.iter().sum::<f64>() / rates.len() as f64 * (1.0 - 1.0 / sites as f64)
}

/// Returns the tasks by rank, the highest first; what waits comes after what it waits for, also where ranks are equal.
pub fn by_rank(problem: &Problem, ranks: &[f64]) -> Vec<u32> {
    let mut order = problem.order.clone();
    let rank = |task: u32| ranks.get(task as usize).copied().unwrap_or_default();
    order.sort_by(|&a, &b| rank(b).total_cmp(&rank(a)));
    order
}
