//! How long jobs wait in a queue: an interval from what like jobs waited, the latest most.
//!
//! What a batch system says of a start is a guess of its own, and seldom good; what jobs of like size waited just now is the
//! best that can be known without its inner workings.

/// A job that waited.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Waited {
    /// When it was submitted, in seconds.
    pub submitted: f64,
    /// Seconds until it started.
    pub seconds: f64,
    /// Cores that it asked for.
    pub cores: u32,
    /// Seconds that it asked for.
    pub asked: f64,
}

/// How long a job will wait, in seconds: the narrowest interval that holds eight of ten.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WaitInterval {
    /// Where it begins.
    pub low: f64,
    /// Half wait less.
    pub middle: f64,
    /// Where it ends.
    pub high: f64,
    /// How many jobs it rests on.
    pub n: u32,
}

/// How many jobs make an interval.
const ENOUGH: usize = 5;
/// How many of the latest are looked at.
const LOOKED_AT: usize = 400;
/// Over how many jobs what they say fades to a third.
const FADING: f64 = 60.0;
/// How far apart hours of the day are alike.
const HOURS: f64 = 4.0;
/// What part of the waits an interval is to hold.
const HELD: f64 = 0.8;
/// Submissions within so many seconds say whether the queue grows.
const RECENT: f64 = 6.0 * 3600.0;
/// How much less an interval is to hold where nobody waits.
const SURE: f64 = 0.04;
/// How much more it is to hold where all that came lately wait.
const GROWING: f64 = 0.35;
/// How much less a wait says of a limit twice or half as long: usually, and where enough jobs tell of a limit by themselves.
const TIMES: f64 = 0.25;
const APART: f64 = 1.0;
/// So many jobs tell of a limit by themselves.
const LIKE: f64 = 2.0;

/// Predicts the wait of a job that is submitted now, from jobs of the same partition in the order of their submission that
/// have started; `waiting` are those that still wait, each with the seconds so far, which count as at least that. None when too
/// few are known.
///
/// Where many still wait, the queue grows, and what was before says less: the interval is to hold more then.
pub fn predict(started: &[Waited], waiting: &[Waited], now: f64, cores: u32, asked: f64) -> Option<WaitInterval> {
    let since = |job: &&Waited| now - job.submitted <= RECENT;
    let wait = waiting.iter().rev().take_while(since).count() as f64;
    let went = started.iter().rev().take_while(since).count() as f64;
    let level = HELD - SURE + GROWING * wait / (wait + went).max(1.0);
    interval(started, waiting, now, cores, asked, level.min(0.98))
}

fn interval(
    started: &[Waited],
    waiting: &[Waited],
    now: f64,
    cores: u32,
    asked: f64,
    level: f64,
) -> Option<WaitInterval> {
    let weigh = |job: &Waited, age: usize| {
        let times = (magnitude(job.asked) - magnitude(asked)).abs();
        (-unlike(job, age, now, cores) - TIMES * times).exp() + 1e-6
    };
    let latest = started.iter().rev().take(LOOKED_AT).enumerate();
    let mut all: Vec<(f64, f64)> = latest.map(|(age, job)| (job.seconds.max(0.0), weigh(job, age))).collect();
    let n = all.len();
    if n < ENOUGH {
        return None;
    }
    // What still waits will have waited longer than now: its weight moves onto what did.
    for job in waiting.iter().rev().take(LOOKED_AT) {
        let weight = weigh(job, 0);
        let above: f64 = all.iter().filter(|(seconds, _)| *seconds > job.seconds).map(|(_, weight)| weight).sum();
        if above > 0.0 {
            for (_, other) in all.iter_mut().filter(|(seconds, _)| *seconds > job.seconds) {
                *other *= 1.0 + weight / above;
            }
        } else {
            all.push((job.seconds * 1.5, weight));
        }
    }
    all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let total: f64 = all.iter().map(|(_, weight)| weight).sum();
    let middle = quantile(&all, total, 0.5);
    let (low, high) = narrowest(&all, total * level).unwrap_or((middle, middle));
    Some(WaitInterval { low, middle: middle.clamp(low, high), high, n: n as u32 })
}

/// Returns how much less a job says that was the so-many-th before, by its cores and the hour of the day.
fn unlike(job: &Waited, age: usize, now: f64, cores: u32) -> f64 {
    let hour = |at: f64| (at / 3600.0).rem_euclid(24.0);
    let apart = (f64::from(job.cores.max(1)).log2() - f64::from(cores.max(1)).log2()).abs();
    let hours = (hour(job.submitted) - hour(now)).abs();
    let hours = hours.min(24.0 - hours) / HOURS;
    age as f64 / FADING + 0.5 * apart + 0.25 * hours
}

fn magnitude(asked: f64) -> f64 {
    asked.max(60.0).log2()
}

/// Returns what a job waits that is submitted now and asks for each of these limits: half of those like it wait less.
/// Nothing where too few are known.
///
/// Limits are told apart here also where most jobs ask for another one.
pub fn by_limit(started: &[Waited], now: f64, cores: u32, limits: &[f64]) -> Vec<f64> {
    if started.len() < ENOUGH {
        return Vec::new();
    }
    let latest = started.iter().rev().take(LOOKED_AT).enumerate();
    let mut all: Vec<(f64, f64, f64)> = latest
        .map(|(age, job)| (job.seconds.max(0.0), (-unlike(job, age, now, cores)).exp(), magnitude(job.asked)))
        .collect();
    all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut weighed = Vec::with_capacity(all.len());
    let mut wait = |limit: f64| {
        let limit = magnitude(limit);
        let mut total = 0.0;
        for times in [APART, TIMES] {
            weighed.clear();
            let like = |asked: f64| (-times * (asked - limit).abs()).exp();
            weighed.extend(all.iter().map(|(seconds, weight, asked)| (*seconds, weight * like(*asked))));
            total = weighed.iter().map(|(_, weight)| weight).sum();
            if total >= LIKE {
                break;
            }
        }
        quantile(&weighed, total, 0.5)
    };
    limits.iter().map(|limit| wait(*limit)).collect()
}

/// Returns whether it makes a difference to wait so many seconds or so many: half a minute and a quarter, or more.
pub fn apart(one: f64, other: f64) -> bool {
    (one - other).abs() > (0.25 * one.max(other)).max(30.0)
}

fn quantile(all: &[(f64, f64)], total: f64, share: f64) -> f64 {
    let mut below = 0.0;
    let found = all.iter().find(|(_, weight)| {
        below += weight;
        below >= share * total
    });
    found.or(all.last()).map_or(0.0, |(seconds, _)| *seconds)
}

/// Returns the ends of the narrowest interval that holds so much weight. Many wait for nothing at all: the interval then begins
/// there, and says no more than it must of the others.
fn narrowest(all: &[(f64, f64)], weight: f64) -> Option<(f64, f64)> {
    let (mut from, mut held) = (0, 0.0);
    let mut best: Option<(f64, f64)> = None;
    for (high, more) in all {
        held += more;
        while let Some((low, less)) = all.get(from).filter(|_| held >= weight) {
            if best.is_none_or(|(a, b)| high - low < b - a) {
                best = Some((*low, *high));
            }
            held -= less;
            from += 1;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(submitted: f64, seconds: f64, cores: u32) -> Waited {
        Waited { submitted, seconds, cores, asked: 3600.0 }
    }

    #[test]
    fn small_jobs_are_told_apart_from_large_ones() {
        let past: Vec<Waited> = (0..60)
            .map(|n| job(f64::from(n) * 60.0, if n % 2 == 0 { 30.0 } else { 7200.0 }, if n % 2 == 0 { 1 } else { 256 }))
            .collect();
        let small = predict(&past, &[], 3600.0, 1, 3600.0).expect("enough is known");
        let large = predict(&past, &[], 3600.0, 256, 3600.0).expect("enough is known");
        assert!((small.middle - 30.0).abs() < 1e-9 && (large.middle - 7200.0).abs() < 1e-9, "{small:?} {large:?}");
        assert!(small.low <= small.middle && small.middle <= small.high);
        assert_eq!(predict(&past[..4], &[], 3600.0, 1, 3600.0), None);
    }

    #[test]
    fn the_latest_count_most_and_those_that_still_wait_are_believed() {
        let mut past: Vec<Waited> = (0..300).map(|n| job(f64::from(n) * 10.0, 10.0, 4)).collect();
        past.extend((0..60).map(|n| job(3000.0 + f64::from(n) * 10.0, 900.0, 4)));
        let found = predict(&past, &[], 3600.0, 4, 3600.0).expect("enough is known");
        assert!((found.middle - 900.0).abs() < 1e-9, "{found:?}");
        let stuck: Vec<Waited> = (0..40).map(|_| job(0.0, 5000.0, 4)).collect();
        let found = predict(&past, &stuck, 3600.0, 4, 3600.0).expect("enough is known");
        assert!(found.high >= 5000.0, "{found:?}");
    }

    #[test]
    fn limits_are_told_apart_also_where_most_ask_for_another() {
        const HOUR: f64 = 3600.0;
        let asked = |n: u32| if n.is_multiple_of(8) { HOUR } else { 24.0 * HOUR };
        let past: Vec<Waited> = (0..400_u32)
            .map(|n| Waited {
                seconds: if n.is_multiple_of(8) { 60.0 } else { 20_000.0 },
                asked: asked(n),
                ..job(f64::from(n) * 60.0, 0.0, 4)
            })
            .collect();
        let limits = [0.25, 1.0, 12.0, 24.0, 48.0].map(|hours| hours * HOUR);
        let of = |past: &[Waited]| by_limit(past, 24_000.0, 4, &limits);
        assert_eq!(of(&past)[1..], [60.0, 20_000.0, 20_000.0, 20_000.0]);
        // One job does not tell of a limit by itself; four do not tell of any.
        assert_eq!(of(&past[393..])[1..], [20_000.0; 4]);
        assert_eq!((of(&past[396..]), of(&[])), (vec![], vec![]));
    }

    #[test]
    fn what_was_submitted_at_a_like_hour_counts_more() {
        const HOUR: f64 = 3600.0;
        // For a month one job late in the evening that waits for nothing, and one at noon that waits for an hour.
        let day = |n: i32| {
            [(11.0, HOUR), (23.0, 10.0)].map(|(at, seconds)| job((f64::from(n) * 24.0 + at) * HOUR, seconds, 4))
        };
        let past: Vec<Waited> = (0..30).flat_map(day).collect();
        let middle = |hour: f64| {
            let now = (30.0 * 24.0 + hour) * HOUR;
            predict(&past, &[], now, 4, HOUR).expect("enough is known").middle
        };
        assert_eq!((middle(11.0), middle(13.0)), (HOUR, HOUR));
        // An hour past midnight is close to an hour before it.
        assert_eq!((middle(23.0), middle(1.0)), (10.0, 10.0));
    }
}
