//! What the accounting of Slurm tells of a step: of its largest task, and of the mean of all of them.

/// Returns how many tasks a step had at a time; none where that is not told. The script of a job is one; a step with one core had one
/// at a time.
pub fn tasks(step: &str, told: Option<f64>, is_one_core: bool) -> Option<f64> {
    let is_script = matches!(step, "batch" | "extern" | "interactive");
    told.filter(|tasks| *tasks >= 1.0).or_else(|| (is_script || is_one_core).then_some(1.0))
}

/// Returns the amount of all tasks of a step together, of that of the largest of them and their mean: of memory it is what they needed each
/// at its peak, which is the most that it can have been. Where the mean is not told all count as much as the largest: who gets too little
/// fails.
pub fn of_all(largest: f64, mean: f64, tasks: f64) -> f64 {
    let each = if mean > 0.0 { mean.min(largest) } else { largest };
    largest.max(each * tasks)
}
