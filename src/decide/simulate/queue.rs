//! A batch system: jobs of many people in one queue, first come first served, with backfill (EASY; Lifka 1995).

use crate::decide::simulate::luck::Dice;

/// A job of somebody.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Job {
    /// When it is submitted, in seconds.
    pub submitted: f64,
    /// Cores that it asks for.
    pub cores: u32,
    /// Seconds that it asks for.
    pub asked: f64,
    /// Seconds that it runs.
    pub runs: f64,
}

/// A made-up history: more by day than by night, many small jobs and few large ones, and people who ask for too much time.
///
/// `load` is what part of the cores would be busy on average.
pub fn jobs(count: usize, cores: u32, load: f64, seed: u64) -> Vec<Job> {
    let mut dice = Dice::new(seed);
    let draw = |dice: &mut Dice| {
        let wide = 2_u32.pow(dice.below(cores.max(2).ilog2() as usize) as u32);
        let runs = (600.0 * dice.factor(1.4)).clamp(10.0, 86_400.0);
        let asked = (runs * (1.0 + 4.0 * dice.share())).min(172_800.0);
        (if dice.share() < 0.6 { 1 + dice.below(4) as u32 } else { wide }, asked, runs)
    };
    let drawn: Vec<(u32, f64, f64)> = (0..count).map(|_| draw(&mut dice)).collect();
    let area: f64 = drawn.iter().map(|(cores, _, runs)| f64::from(*cores) * runs).sum::<f64>() / count.max(1) as f64;
    let mean = area / (f64::from(cores) * load);
    let mut now = 0.0;
    let mut all = Vec::with_capacity(count);
    for (cores, asked, runs) in drawn {
        let hour = (now / 3600.0) % 24.0;
        let busy = 1.0 + 0.6 * ((hour - 14.0) / 24.0 * std::f64::consts::TAU).cos();
        now += dice.pause(mean / busy);
        all.push(Job { submitted: now, cores, asked, runs });
    }
    all
}

/// Returns when each job starts on so many cores.
pub fn starts(jobs: &[Job], cores: u32) -> Vec<f64> {
    let mut starts = vec![f64::INFINITY; jobs.len()];
    // Running: when they end, when they would have to, and their cores.
    let mut running: Vec<(f64, f64, u32)> = Vec::new();
    let mut waiting: Vec<usize> = Vec::new();
    let (mut next, mut free) = (0, cores);
    loop {
        let arrives = jobs.get(next).map(|job| job.submitted);
        let ends = running.iter().map(|job| job.0).min_by(f64::total_cmp);
        let Some(now) = [arrives, ends].into_iter().flatten().min_by(f64::total_cmp) else { break };
        running.retain(|&(end, _, taken)| {
            let stays = end > now;
            free += if stays { 0 } else { taken };
            stays
        });
        while let Some(job) = jobs.get(next).filter(|job| job.submitted <= now) {
            if job.cores <= cores {
                waiting.push(next);
            }
            next += 1;
        }
        for number in chosen(jobs, &waiting, &running, free, now) {
            let Some(job) = jobs.get(number) else { continue };
            if let Some(start) = starts.get_mut(number) {
                *start = now;
            }
            running.push((now + job.runs.min(job.asked), now + job.asked, job.cores));
            free -= job.cores;
            waiting.retain(|&other| other != number);
        }
    }
    starts
}

/// Returns who starts now: from the head on while there is room, then whoever does not hold up the first that must wait.
fn chosen(jobs: &[Job], waiting: &[usize], running: &[(f64, f64, u32)], free: u32, now: f64) -> Vec<usize> {
    let mut left = free;
    let mut begun: Vec<(f64, u32)> = running.iter().map(|&(_, until, cores)| (until, cores)).collect();
    let mut chosen = Vec::new();
    let mut rest = waiting.iter().filter_map(|&number| Some((number, jobs.get(number)?)));
    let mut held = None;
    for (number, job) in rest.by_ref() {
        if job.cores > left {
            held = Some(job.cores);
            break;
        }
        left -= job.cores;
        begun.push((now + job.asked, job.cores));
        chosen.push(number);
    }
    let Some(wanted) = held else { return chosen };
    begun.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut room, mut shadow) = (left, f64::INFINITY);
    for (until, cores) in begun {
        room += cores;
        if room >= wanted {
            shadow = until;
            break;
        }
    }
    let mut spare = room.saturating_sub(wanted);
    for (number, job) in rest {
        let in_time = now + job.asked <= shadow;
        if job.cores > left || !(in_time || job.cores <= spare) {
            continue;
        }
        left -= job.cores;
        if !in_time {
            spare -= job.cores;
        }
        chosen.push(number);
    }
    chosen
}
